// What became of a draft: the numbered fixture, and the same outcome in whatever order its parts become known.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Sql, useDatabase } from "../support/database.ts";
import { eightDrafts, outcomeOf, Story } from "./drafts.support.ts";

const database = useDatabase();

describe("FX-18: eight drafts", () => {
  test("each is measured and classed as given", () =>
    database.rolledBack(async (sql) => {
      const drafts = await eightDrafts(sql);

      const told = [];
      for (const draft of drafts) told.push(await outcomeOf(sql, draft));

      const used = (
        outcome: string,
        edit_distance: number,
        edit_ratio: string,
        draft_length: number,
        sent_length: number,
      ) =>
        expect.objectContaining({
          outcome,
          edit_distance,
          edit_ratio,
          edit_method: "levenshtein",
          draft_length,
          sent_length,
        });
      expect(told).toEqual([
        used("verbatim", 0, "0.0000", 29, 29),
        used("light", 5, "0.1515", 29, 33),
        used("heavy", 33, "0.6000", 23, 55),
        used("rewrite", 30, "0.7692", 20, 39),
        expect.objectContaining({ outcome: "discarded", is_settled: true }),
        expect.objectContaining({ outcome: "superseded", edit_ratio: null }),
        expect.objectContaining({ outcome: "expired", reply_message_id: null, edit_ratio: null }),
        expect.objectContaining({ outcome: "abstained", edit_ratio: null, reply_agent_id: 7 }),
      ]);
    }));

  test("the rates are as given", () =>
    database.rolledBack(async (sql) => {
      await eightDrafts(sql);

      const [rates] = await sql.rows(
        `select drafts::int, shown::int, eligible::int, ready::int, accepted::int, used::int, n_undecided::int,
          round(coverage::numeric, 4)::text as coverage, round(verbatim_rate::numeric, 4)::text as verbatim_rate,
          round(acceptance::numeric, 4)::text as acceptance, round(use_rate::numeric, 4)::text as use_rate,
          round(edit_ratio_mean::numeric, 4)::text as mean, round(edit_ratio_p50::numeric, 4)::text as median,
          round(edit_ratio_weighted::numeric, 4)::text as weighted
        from analytics.draft_performance where account_id = 1 and by = 'account' and arm = 'shown'`,
      );

      expect(rates).toEqual({
        drafts: 7,
        shown: 6,
        eligible: 7,
        ready: 6,
        accepted: 2,
        used: 4,
        n_undecided: 0,
        coverage: "0.8571",
        verbatim_rate: "0.1667",
        acceptance: "0.3333",
        use_rate: "0.6667",
        mean: "0.3802",
        median: "0.3758",
        weighted: "0.4359",
      });
    }));

  test("kitten and sitting are three apart", () =>
    database.rolledBack(async (sql) => {
      const [row] = await sql.rows(
        "select distance, method, round(distance / 7.0, 4)::text as ratio from replies.edit_distance('kitten', 'sitting')",
      );

      expect(row).toEqual({ distance: 3, method: "levenshtein", ratio: "0.4286" });
    }));
});

describe("the same outcome in whatever order its parts become known", () => {
  const draftText = "Please restart the app.";
  const sentText = "Please restart the app now.";

  /** A conversation with an approved draft, and everything that is still to become known of it. */
  async function approved(sql: Sql) {
    const story = await new Story(sql).begin();
    const asked = await story.customer("10:00:05", "It hangs");
    const draft = await story.draft("10:00:10", asked, draftText);
    const mark = await story.approve("10:01:00", draft, sentText);
    const reply = 900_000 + story.display;
    const steps: Record<string, () => Promise<unknown>> = {
      message: () => story.agent("10:01:02", sentText, { id: reply, mark }),
      record: () => story.settled("10:01:03", draft, reply),
      thanks: () => story.customer("10:02:00", "Thank you, it works"),
      resolved: () => story.status("10:03:00", "resolved"),
      nudge: () => sql.rows("select replies.learn(1, $1)", [story.display]),
    };
    return { story, draft, reply, steps };
  }

  test("message, dispatcher's record, thanks and resolve, in every order and some of them twice", () =>
    database.rolledBack(async (sql) => {
      const names = ["message", "record", "thanks", "resolved", "nudge", "nudge"];
      const orders = fc.sample(fc.shuffledSubarray(names, { minLength: names.length }), { numRuns: 24, seed: 5 });
      const told = [];
      for (const order of orders) {
        const { story, draft, reply, steps } = await approved(sql);
        for (const name of order) await steps[name]();
        const { reply_message_id, ...outcome } = await outcomeOf(sql, draft);
        expect(reply_message_id).toBe(reply);
        const [later] = await sql.rows(
          `select to_char(replied_at at time zone 'UTC', 'HH24:MI:SS') as replied_at,
            to_char(resolved_at at time zone 'UTC', 'HH24:MI:SS') as resolved_at, reopened_at, state
          from replies.drafts where account_id = 1 and draft_id = $1`,
          [draft],
        );
        told.push({ ...outcome, ...later });
        expect(await sql.value("select replies.learn(1, $1)", [story.display]), "again changes nothing").toBe(0);
      }

      expect(new Set(told.map((each) => JSON.stringify(each)))).toEqual(
        new Set([JSON.stringify({
          outcome: "light",
          is_final: true,
          edit_distance: 4,
          edit_ratio: "0.1481",
          edit_method: "levenshtein",
          draft_length: 23,
          sent_length: 27,
          reply_agent_id: 7,
          is_settled: true,
          replied_at: "10:01:02",
          resolved_at: "10:03:00",
          reopened_at: null,
          state: "sent",
        })]),
      );
    }));

  test("the reply is known before the customer's message of which it is the answer is placed", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const first = await story.customer("10:00:05", "It hangs");
      const draft = await story.draft("10:00:10", first, draftText);
      await story.claim("10:00:20", draft);
      await story.agent("10:05:00", draftText);
      expect(await story.outcome(draft)).toMatchObject({ outcome: "verbatim", is_final: true });

      // Late, and earlier than the reply that was taken for the answer.
      const earlier = await story.agent("10:04:00", "Which version do you have?");

      expect(await story.outcome(draft)).toMatchObject({ outcome: "discarded", reply_message_id: earlier });
    }));

  test("edited later: measured by what it says now", () =>
    database.rolledBack(async (sql) => {
      const { story, draft, steps } = await approved(sql);
      await steps.message();
      await steps.record();

      await sql.rows("update chatwoot.messages set content = $2 where account_id = 1 and message_id = $1", [
        900_000 + story.display,
        draftText,
      ]);

      expect(await story.outcome(draft)).toMatchObject({ outcome: "verbatim", edit_distance: 0 });
    }));

  test.each([["before the record", ["message", "deleted", "record"]], ["after it", ["message", "record", "deleted"]]])(
    "deleted later, %s: it was sent all the same, and the outbox knows its words",
    (_, order) =>
      database.rolledBack(async (sql) => {
        const { story, draft, reply, steps } = await approved(sql);
        steps.deleted = () =>
          sql.rows(
            `update chatwoot.messages set deleted_at = '2026-11-10T10:09:00Z', content = 'This message was deleted',
              content_attributes = '{"deleted": true}' where account_id = 1 and message_id = $1`,
            [reply],
          );

        for (const name of order) await steps[name]();

        expect(await story.outcome(draft)).toMatchObject({
          outcome: "light",
          edit_distance: 4,
          reply_message_id: reply,
        });
      }),
  );

  test("somebody's own reply is deleted later: what it said is gone, so it counts as discarded", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "It hangs"), draftText);
      await story.claim("10:00:20", draft);
      const reply = await story.agent("10:05:00", draftText);
      expect(await story.outcome(draft)).toMatchObject({ outcome: "verbatim" });

      await sql.rows("update chatwoot.messages set deleted_at = now() where account_id = 1 and message_id = $1", [
        reply,
      ]);

      expect(await story.outcome(draft)).toMatchObject({ outcome: "discarded", edit_ratio: null, is_settled: true });
    }));

  test("delivery fails later: nothing has reached the customer, and it is undecided again", () =>
    database.rolledBack(async (sql) => {
      const { story, draft, reply, steps } = await approved(sql);
      await steps.message();
      await steps.record();

      await sql.rows(
        "update chatwoot.messages set delivery_status = 'failed' where account_id = 1 and message_id = $1",
        [
          reply,
        ],
      );
      await story.workOff("10:02:00");
      expect(await story.outcome(draft)).toMatchObject({ outcome: null, reply_message_id: null, is_settled: false });

      await story.agent("10:06:00", "I will call you this afternoon, if that suits you.");
      expect(await story.outcome(draft)).toMatchObject({ outcome: "discarded", is_settled: true });
    }));

  test("who is opened again is known, and the gold reply counts it once", () =>
    database.rolledBack(async (sql) => {
      const { story, draft, steps } = await approved(sql);
      await sql.rows(
        `insert into replies.gold_replies (account_id, title, body, language, status, origin, content_hash, proposed_at,
          proposed_by, decided_at, decided_by) values (1, 'Restart', 'Restart', 'en', 'approved', 'seed', '', now(), 'x', now(), 'x')`,
      );
      await sql.rows(
        `update replies.drafts set gold_reply_version = 1, gold_reply_id = (select max(gold_reply_id) from replies.gold_replies)
        where account_id = 1 and draft_id = $1`,
        [draft],
      );
      const counters = async () => {
        await sql.rows("select replies.count_drafts()");
        const [row] = await sql.rows(
          "select shown::int, used::int, edited::int, reopened::int from replies.gold_replies where account_id = 1",
        );
        return row;
      };
      expect(await counters()).toEqual({ shown: 1, used: 0, edited: 0, reopened: 0 });
      for (const name of ["record", "message", "resolved"]) await steps[name]();
      expect(await counters()).toEqual({ shown: 1, used: 1, edited: 1, reopened: 0 });

      await story.customer("11:00:00", "It hangs again");
      await story.status("11:00:00", "open");

      expect(await counters()).toEqual({ shown: 1, used: 1, edited: 1, reopened: 1 });
      expect(await counters(), "counted once").toEqual({ shown: 1, used: 1, edited: 1, reopened: 1 });
      expect(await story.outcome(draft)).toMatchObject({ outcome: "light" });
    }));
});

describe("whatever people do", () => {
  test("each wait with drafts has one final draft, every outcome fits what happened, and learning again changes nothing", () =>
    database.rolledBack(async (sql) => {
      const steps = fc.constantFrom(
        "customer",
        "customer",
        "draft",
        "draft",
        "claim",
        "reject",
        "send",
        "agent",
        "resolved",
        "open",
      );
      for (const plan of fc.sample(fc.array(steps, { minLength: 6, maxLength: 16 }), { numRuns: 60, seed: 11 })) {
        const story = await new Story(sql).begin();
        let minute = 0;
        let asked = 0;
        let draft = 0;
        for (const step of plan) {
          const time = `11:${String(++minute).padStart(2, "0")}:00`;
          // What is refused, such as a second decision, is no part of the story.
          await sql.rows("savepoint step");
          try {
            if (step === "customer") asked = await story.customer(time, `Question ${minute}`);
            else if (step === "draft") {
              draft = await story.draft(time, asked, `Answer number ${minute}`, 0.9, `model:m${minute}`);
            } else if (step === "claim") await story.claim(time, draft);
            else if (step === "reject") {
              await sql.rows("select replies.reject_draft(1, $1, 'No', $2)", [draft, `2026-11-10T${time}Z`]);
            } else if (step === "send") {
              await story.send(time, draft, `Answer number ${minute + 7}`, `Answer number ${minute + 7}`);
            } else if (step === "agent") await story.agent(time, "Something quite different, written by hand.");
            else await story.status(time, step);
          } catch (error) {
            if (!/^OC/.test((error as { code?: string }).code ?? "")) throw error;
            await sql.rows("rollback to savepoint step");
          }
        }
        await sql.rows("select replies.learn(1, $1)", [story.display]);

        expect(await sql.value("select replies.learn(1, $1)", [story.display]), plan.join()).toBe(0);
        const faults = await sql.rows(
          `with waits as (
            select drafts.*, spans.number as wait, spans.closed_as from replies.drafts
            left join ledger.spans on spans.account_id = 1 and spans.display_id = drafts.display_id and spans.kind = 'wait'
              and drafts.customer_message_at >= spans.started_at
              and (spans.ended_at is null or drafts.customer_message_at <= spans.ended_at)
            where drafts.account_id = 1 and drafts.display_id = $1
          )
          select 'not one final draft' as fault from waits where wait is not null group by wait having count(*) filter (where is_final) <> 1
          union all
          select 'outcome ' || coalesce(outcome, 'null') || ' of ' || state || ' ' || coalesce(closed_as, 'open') from waits
          where not case
            when state = 'sent' then outcome in ('verbatim', 'light', 'heavy', 'rewrite')
            when state = 'rejected' then outcome = 'discarded'
            when not is_final then outcome = 'superseded'
            when closed_as = 'reply' and shown_at is not null then outcome = 'discarded'
            when closed_as = 'reply' then outcome = 'superseded'
            when closed_as = 'resolved' then outcome = 'expired'
            else outcome is null or outcome = state end
          union all
          select 'settled while somebody waits' from waits where closed_as is null and wait is not null and outcome_at is not null
            and state <> 'sent'
          union all
          select 'ratio' from waits where edit_ratio not between 0 and 1 or (edit_ratio is null) <> (edit_distance is null)`,
          [story.display],
        );
        expect(faults, plan.join()).toEqual([]);
      }
      const seen = await sql.rows("select distinct outcome from replies.drafts where outcome is not null order by 1");
      expect(seen.map((row) => row.outcome)).toEqual(["discarded", "expired", "light", "superseded"]);
    }));
});

describe("which reply it is held against", () => {
  const text = "Your parcel arrives on Monday.";

  test("whoever saw it and wrote nearly the same by hand has used it", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await story.claim("10:01:00", draft);

      await story.agent("10:05:00", "Hi Ana,\n\nYour parcel arrives on Tuesday.\n\nBest regards,\nBen Okafor", {
        agent: 8,
      });

      expect(await story.outcome(draft)).toMatchObject({ outcome: "light", edit_distance: 4, reply_agent_id: 8 });
    }));

  test("what was shown only after the reply was not shown", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await sql.rows(
        "update replies.drafts set shown_at = '2026-11-10T10:06:00Z', shown_by = 'note' where account_id = 1 and draft_id = $1",
        [draft],
      );

      await story.agent("10:05:00", text);

      expect(await story.outcome(draft)).toMatchObject({ outcome: "superseded", edit_ratio: null });
    }));

  test("a customer who writes again leaves the first draft behind; the reply is the second one's", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const first = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await story.claim("10:01:00", first);
      const second = await story.draft("10:02:10", await story.customer("10:02:05", "My parcel!"), text);
      expect(await story.outcome(first)).toMatchObject({ is_final: false });

      const reply = await story.send("10:03:00", second, text);

      expect(await story.outcome(first)).toMatchObject({
        outcome: "superseded",
        is_final: false,
        reply_message_id: reply,
      });
      expect(await story.outcome(second)).toMatchObject({
        outcome: "verbatim",
        is_final: true,
        reply_message_id: reply,
      });
    }));

  test("a draft that was sent although the customer had written again is the one of its wait", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const first = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      const second = await story.draft("10:02:10", await story.customer("10:02:05", "My parcel!"), "Which one is it?");
      await sql.rows("select replies.approve_draft(1, $1, override => true, as_of => '2026-11-10T10:03:00Z')", [first]);
      const mark = await sql.value<string>("select mark from actions.outbox where source = 'draft:' || $1::text", [
        first,
      ]);

      await story.agent("10:03:01", text, { mark });

      expect(await story.outcome(first)).toMatchObject({ outcome: "verbatim", is_final: true });
      expect(await story.outcome(second)).toMatchObject({ outcome: "superseded", is_final: false });
    }));

  test("each wait has a reply of its own, also where all of it is told in whole seconds", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const first = await story.draft("10:00:00", await story.customer("10:00:00", "Where?"), text);
      await story.claim("10:00:00", first);
      const one = await story.agent("10:00:00", text);
      const second = await story.draft(
        "10:00:00",
        await story.customer("10:00:00", "And the other one?"),
        "On Tuesday.",
      );
      await story.claim("10:00:00", second);
      const two = await story.agent("10:00:00", "On Tuesday.");

      expect(await story.outcome(first)).toMatchObject({ outcome: "verbatim", reply_message_id: one });
      expect(await story.outcome(second)).toMatchObject({ outcome: "verbatim", reply_message_id: two });
    }));

  test("a rejected draft is discarded, whatever is written instead", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await sql.rows("select replies.reject_draft(1, $1, 'Wrong day', '2026-11-10T10:01:00Z')", [draft]);

      await story.agent("10:05:00", text);

      expect(await story.outcome(draft)).toMatchObject({ outcome: "discarded", edit_ratio: null, is_settled: true });
    }));

  test("what could not be sent is judged by what was written instead", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await story.approve("10:01:00", draft);
      await story.settled("10:02:00", draft, null, "dead");
      expect(await story.outcome(draft)).toMatchObject({ outcome: null, is_settled: false });

      await story.agent("10:05:00", text);

      expect(await story.outcome(draft)).toMatchObject({ outcome: "verbatim", is_settled: true });
    }));

  test("whose name is put in with the approval is no edit", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const draft = await story.draft(
        "10:00:10",
        await story.customer("10:00:05", "Where?"),
        "This is {{agent.name}}: on Monday.",
      );
      await story.send("10:01:00", draft, "This is Maria Costa: on Monday.", "This is Maria Costa: on Monday.");

      expect(await story.outcome(draft)).toMatchObject({ outcome: "verbatim", edit_distance: 0 });
    }));

  test("nobody sees what is held out, and its reply counts for the control", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'draft_hold_out_percent', '90')");
      let story = await new Story(sql).begin();
      let draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      while (await sql.value("select state <> 'held_out' from replies.drafts where draft_id = $1", [draft])) {
        story = await new Story(sql).begin();
        draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      }

      const reply = await story.agent("10:05:00", text);

      expect(await story.outcome(draft)).toMatchObject({ outcome: null, reply_message_id: reply, is_settled: true });
    }));

  test("the line between light and heavy is the account's to draw", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'draft_light_percent', '10')");
      const story = await new Story(sql).begin();
      const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), text);
      await story.send("10:01:00", draft, "Your parcel arrives on Tuesday.", "Your parcel arrives on Tuesday.");

      expect(await story.outcome(draft)).toMatchObject({ outcome: "heavy", edit_ratio: "0.1290" });
    }));
});

describe("long texts", () => {
  test("are left to cron, which measures them exactly and withdraws and counts on the way", async () => {
    const client = await database.connect();
    const sql = new Sql(client);
    const long = (seed: number) => fc.sample(fc.constantFrom(..."etaoin shrdlu"), { numRuns: 700, seed }).join("");
    const story = await new Story(sql).begin();
    const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), long(1));
    await story.send("10:01:00", draft, long(2), long(2));
    expect(await story.outcome(draft)).toMatchObject({ outcome: null, edit_ratio: null, is_settled: false });

    await client.query("call replies.tick('2026-11-10T10:02:00Z')");

    const told = await story.outcome(draft);
    expect(told).toMatchObject({ outcome: "rewrite", edit_method: "bit_parallel", is_settled: true });
    expect(await sql.value("select count(*)::int from replies.measures_due")).toBe(0);
    const [{ distance }] = await sql.rows(
      `select replies.sequence_distance(string_to_array(replies.normalise($1), null),
        string_to_array(replies.normalise($2), null)) as distance`,
      [long(1), long(2)],
    );
    expect(told.edit_distance).toBe(distance);
    expect(await sql.value("select replies.learn(1, $1)", [story.display])).toBe(0);
    await client.query("call replies.tick('2026-11-10T10:03:00Z')");
    expect(await story.outcome(draft)).toEqual(told);
  });
});

test("a webhook that brings the reply and a dispatcher that records it at the same time: the second sees both", async () => {
  const [webhook, dispatcher] = [await database.connect(), await database.connect()];
  const story = await new Story(new Sql(webhook)).begin();
  const draft = await story.draft("10:00:10", await story.customer("10:00:05", "It hangs"), "Your parcel is late.");
  await story.claim("10:00:20", draft);
  await story.approve("10:01:00", draft);

  await webhook.query("begin");
  // Without its mark, as Chatwoot may lose it: only the record says which message it was, and that it is no own reply.
  const reply = await story.agent("10:01:02", "I have opened a claim with the courier.");
  const recording = dispatcher.query(
    "update actions.outbox set state = 'sent', message_id = $2, settled_at = now() where source = 'draft:' || $1::text",
    [draft, reply],
  );
  await database.untilWaiting(dispatcher);
  await webhook.query("commit");
  await recording;

  expect(await story.outcome(draft)).toMatchObject({ outcome: "rewrite", reply_message_id: reply, is_settled: true });
});
