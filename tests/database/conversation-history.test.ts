// A conversation read again in order, the approvals, and a reply that becomes a gold reply: what is told, and to whom.
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { Story } from "./drafts.support.ts";

const database = useDatabase();

interface Row {
  at: string;
  kind: string;
  actor: string | null;
  summary: string;
  details: Record<string, unknown>;
  source: string;
  place: string;
}

const history = (sql: Sql, display: number, most = 200, after: string | null = null) =>
  sql.rows<Row & Record<string, unknown>>("select * from api.conversation_history(1, $1, $2, $3)", [
    display,
    most,
    after,
  ]);

const REPLY = "Hi Ana,\n\nyour parcel left on Monday. Write to me at maria@shop.example.\n\nBest regards,\nMaria Costa";

/** A customer asks, a draft is approved with grades and sent, and the conversation is resolved. */
async function answered(sql: Sql) {
  const story = await new Story(sql).begin();
  const asked = await story.customer("10:00:05", "Where is my parcel? Ana Alves, +351 912 345 678");
  const draft = await story.draft("10:00:10", asked, "Your parcel left on Monday.");
  await story.message("10:00:30", "outgoing", "Customer is waiting", ["user", 8], { private: true });
  const mark = await story.approve("10:01:00", draft, REPLY, { tone: 5, accuracy: 4 });
  const reply = await story.agent("10:01:02", REPLY, { mark });
  await story.settled("10:01:03", draft, reply);
  await story.status("10:03:00", "resolved");
  return { story, draft, reply };
}

describe("api.conversation_history", () => {
  test("tells messages, changes, drafts, decisions and actions in one order", () =>
    database.rolledBack(async (sql) => {
      const { story, draft, reply } = await answered(sql);

      const told = await history(sql, story.display);

      expect(told.map(({ kind, source }) => `${kind} (${source})`)).toEqual([
        "created (ledger.events)",
        "customer_message (chatwoot.messages)",
        "draft (replies.drafts)",
        "draft.suggested (audit.decision_log)",
        "note (chatwoot.messages)",
        "action.enqueued (audit.decision_log)",
        "draft.approved (audit.decision_log)",
        "action (actions.outbox)",
        "reply (chatwoot.messages)",
        "activity (chatwoot.messages)",
        "status (ledger.events)",
      ]);
      const of = (kind: string) => told.find((row) => row.kind === kind);
      expect(of("reply")).toMatchObject({
        actor: "user:7",
        summary: REPLY.replaceAll(/\s+/g, " "),
        details: { message_id: reply, name: "Maria Costa", content: REPLY, draft_id: draft },
      });
      expect(of("draft")?.details).toMatchObject({ body: "Your parcel left on Monday.", outcome: "heavy" });
      expect(of("draft.approved")).toMatchObject({
        actor: "database:postgres",
        details: { evidence: { grades: { tone: 5, accuracy: 4 } }, outcome: "approved" },
      });
      expect(of("action")).toMatchObject({
        summary: "reply: sent",
        details: { from: `draft:${draft}`, message_id: reply },
      });
      expect(of("status")?.summary).toBe("open → resolved");
    }));

  test("comes in pages that join without gap or overlap, also where much happens at one instant", () =>
    database.rolledBack(async (sql) => {
      const { story } = await answered(sql);
      for (let index = 0; index < 8; index++) await story.customer("10:04:00", `Line ${index}`);
      const whole = await history(sql, story.display);

      for (const most of [1, 3, 7]) {
        const joined = [];
        for (let page = await history(sql, story.display, most); page.length > 0;) {
          joined.push(...page);
          page = await history(sql, story.display, most, page[page.length - 1].place);
        }
        expect(joined).toEqual(whole);
      }
    }));

  test("tells an exceeded service level where it was exceeded, and a rating where it was given", () =>
    database.rolledBack(async (sql) => {
      const { story } = await answered(sql);
      await sql.rows(
        `insert into sla.breaches (account_id, display_id, episode, clock, instance, due_at, breach_at, found_at, is_announced)
        values (1, $1, 1, 'first_response', 1, '2026-11-10T10:00:40Z', '2026-11-10T10:00:40Z', now(), true)`,
        [story.display],
      );
      const survey = await story.message("10:04:00", "template", "Please rate", null);
      await sql.rows(
        "update chatwoot.messages set content_type = 'input_csat' where account_id = 1 and message_id = $1",
        [
          survey,
        ],
      );
      await sql.rows(
        `insert into chatwoot.csat_responses (account_id, message_id, conversation_display_id, rating, first_answered_at, version_at)
        values (1, $1, $2, 4, '2026-11-10T10:05:00Z', now())`,
        [survey, story.display],
      );
      await story.workOff("10:05:00");

      const told = await history(sql, story.display);

      const kinds = told.map((row) => row.kind);
      expect(kinds.indexOf("sla_breach")).toBe(kinds.indexOf("note") + 1);
      expect(told[kinds.indexOf("sla_breach")].summary).toBe("first_response was due at 2026-11-10T10:00:40Z");
      expect(told[kinds.length - 1]).toMatchObject({ kind: "rating", summary: "4", actor: "contact" });
    }));

  test("keeps what is held out from everybody until the customer is answered", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'draft_hold_out_percent', '90')");
      let story: Story;
      let draft: number;
      do {
        story = await new Story(sql).begin();
        draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), "On Monday.");
      } while (await sql.value("select state <> 'held_out' from replies.drafts where draft_id = $1", [draft]));
      const body = async () => (await history(sql, story.display)).find((row) => row.kind === "draft")?.details.body;

      expect(await body()).toBeUndefined();
      await story.agent("10:05:00", "It is on its way.");
      expect(await body()).toBe("On Monday.");
    }));

  test("finds the decisions of one conversation by index, and of no other", () =>
    database.rolledBack(async (sql) => {
      const { story } = await answered(sql);
      await answered(sql);

      await sql.rows("set local enable_seqscan = off");
      const plan = await sql.rows(
        `explain select from audit.decision_log
        where left(evidence ->> 'display_id', 20) = $1 and account_id = 1 and decided_at >= '-infinity'`,
        [String(story.display)],
      );

      expect(JSON.stringify(plan)).toContain("decision_log_conversation_idx");
      const decisions = (await history(sql, story.display)).filter((row) => row.source === "audit.decision_log");
      expect(decisions).toHaveLength(3);
    }));

  test.each([
    { name: "no such conversation", args: [1, 99, 200, null], code: "OC404" },
    { name: "no conversation named", args: [1, null, 200, null], code: "OC404" },
    { name: "no rows wanted", args: [1, 1, 0, null], code: "OC422" },
    { name: "too many", args: [1, 1, 1001, null], code: "OC422" },
    { name: "a place that is none", args: [1, 1, 10, "1' or true"], code: "OC422" },
    { name: "a place far beyond", args: [1, 1, 10, "99999999999999999/2/1"], code: "OC422" },
  ])("refuses: $name", ({ args, code }) =>
    database.rolledBack(async (sql) => {
      await sql.throws(code, "select * from api.conversation_history($1, $2, $3, $4)", args);
    }));
});

describe("who may", () => {
  const roles = ["viewer", "operator", "approver", "admin"] as const;

  test.each(roles)(
    "a %s of the account reads the history and the approvals",
    (role) =>
      database.rolledBack(async (sql) => {
        const { story, draft } = await answered(sql);
        const user = await member(sql, 1, role);

        await sql.as("authenticated", user, async () => {
          expect(await history(sql, story.display)).toHaveLength(11);
          expect(await sql.rows("select draft_id::int, decision, action_state, grades from api.approvals_history"))
            .toEqual([
              { draft_id: draft, decision: "approved", action_state: "sent", grades: { tone: 5, accuracy: 4 } },
            ]);
          expect(await sql.rows("select draft_id::int from analytics.drafts")).toEqual([{ draft_id: draft }]);
          expect(await sql.rows("select used::int from analytics.draft_performance where by = 'account'")).toEqual([{
            used: 1,
          }]);
        });
      }),
  );

  test.each(roles)("an %s of another account is told nothing", (role) =>
    database.rolledBack(async (sql) => {
      const { story, reply } = await answered(sql);
      const user = await member(sql, 2, role);

      await sql.as("authenticated", user, async () => {
        await sql.throws("OC403", "select * from api.conversation_history(1, $1)", [story.display]);
        await sql.throws("OC403", "select * from api.promote_to_gold(1, $1)", [reply]);
        expect(await sql.rows("select from api.approvals_history")).toEqual([]);
        for (const view of ["drafts", "draft_performance", "draft_hold_out", "gold_reply_edits"]) {
          expect(await sql.rows(`select from analytics.${view}`), view).toEqual([]);
        }
      });
    }));

  test("whoever is not signed in, and the analyst, may call none of it; the analyst reads the views", () =>
    database.rolledBack(async (sql) => {
      const { story, reply } = await answered(sql);

      for (const role of ["anon", "analyst"] as const) {
        await sql.as(role, null, async () => {
          await sql.throws("42501", "select * from api.conversation_history(1, $1)", [story.display]);
          await sql.throws("42501", "select * from api.promote_to_gold(1, $1)", [reply]);
          await sql.throws("42501", "select from api.approvals_history");
        });
      }
      await sql.as("analyst", null, async () => {
        expect(await sql.value("select count(*)::int from analytics.drafts")).toBe(1);
        expect(await sql.value("select used::int from analytics.draft_performance where by = 'account'")).toBe(1);
      });
      await sql.as("anon", null, () => sql.throws("42501", "select from analytics.drafts").then(() => {}));
      await sql.as("service_role", null, async () => {
        expect(await history(sql, story.display)).toHaveLength(11);
      });
    }));

  test.each(["viewer", "operator"])("a %s promotes nothing", (role) =>
    database.rolledBack(async (sql) => {
      const { reply } = await answered(sql);
      const user = await member(sql, 1, role);

      await sql.as("authenticated", user, () =>
        sql.throws("OC403", "select * from api.promote_to_gold(1, $1)", [reply]).then());
    }));

  test.each(["authenticated", "service_role", "analyst", "anon"] as const)(
    "nobody signed in as %s works the room by hand",
    (role) =>
      database.rolledBack(async (sql) => {
        const user = await member(sql, 1, "admin");
        await sql.as(role, user, async () => {
          await sql.throws("42501", "select replies.learn(1, 1)");
          await sql.throws("42501", "select replies.count_drafts()");
          await sql.throws("42501", "call replies.tick()");
          await sql.throws("42501", "select * from replies.measures_due");
          await sql.throws("42501", "update replies.drafts set outcome = 'verbatim' where true");
        });
      }),
  );
});

describe("api.promote_to_gold", () => {
  test("proposes what was sent with whose words it is, names and numbers as variables, the customer's words as a question", () =>
    database.rolledBack(async (sql) => {
      const { story, draft, reply } = await answered(sql);
      await sql.rows("update chatwoot.contacts set phone_number = '+351 912 345 678' where contact_id = $1", [
        story.display,
      ]);
      const user = await member(sql, 1, "approver");

      const [promoted] = await sql.as(
        "authenticated",
        user,
        () =>
          sql.rows(
            "select * from api.promote_to_gold(1, draft_id => $1, title => 'Parcel has left', category => 'shipping')",
            [draft],
          ),
      );

      expect(promoted).toMatchObject({ is_new: true });
      const [gold] = await sql.rows("select * from replies.gold_replies where account_id = 1 and gold_reply_id = $1", [
        promoted.gold_reply_id,
      ]);
      expect(gold).toMatchObject({
        status: "proposed",
        origin: "promotion",
        title: "Parcel has left",
        category: "shipping",
        source_display_id: String(story.display),
        source_message_id: String(reply),
        source_author: "Maria Costa",
      });
      expect(gold.body).toContain("Hi {{contact.first_name}},");
      expect(gold.body).toContain("Best regards,\n{{agent.name}}");
      expect(gold.body).not.toMatch(/Ana|Maria|maria@/);
      expect(gold.questions[0]).toContain("Where is my parcel?");
      expect(gold.questions[0]).not.toMatch(/Ana|Alves|912/);
      const [entry] = await sql.rows(
        "select actor, subject, evidence from audit.decision_log where action = 'gold_reply.promoted'",
      );
      expect(entry).toMatchObject({
        actor: `user:${user}`,
        subject: `gold_reply:${promoted.gold_reply_id}`,
        evidence: {
          display_id: story.display,
          message_id: reply,
          draft_id: draft,
          author: "user:7",
          grades: { tone: 5, accuracy: 4 },
          outcome: "heavy",
        },
      });
    }));

  test("the same reply again is the same gold reply, by message or by draft", () =>
    database.rolledBack(async (sql) => {
      const { draft, reply } = await answered(sql);
      const [first] = await sql.rows("select * from api.promote_to_gold(1, message_id => $1)", [reply]);

      const [again] = await sql.rows("select * from api.promote_to_gold(1, draft_id => $1)", [draft]);

      expect(again).toEqual({ gold_reply_id: first.gold_reply_id, is_new: false });
      expect(await sql.value("select count(*)::int from audit.decision_log where action = 'gold_reply.promoted'")).toBe(
        1,
      );
    }));

  test("an agent's own reply, without any draft, is promoted as well", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      await story.customer("10:00:05", "\u202eWhere?");
      const reply = await story.agent("10:05:00", "It is in Lisbon.", { agent: 8 });

      const [promoted] = await sql.rows("select * from api.promote_to_gold(1, $1)", [reply]);

      const [gold] = await sql.rows(
        "select title, body, questions, source_author from replies.gold_replies where gold_reply_id = $1",
        [
          promoted.gold_reply_id,
        ],
      );
      expect(gold).toEqual({
        title: "It is in Lisbon.",
        body: "It is in Lisbon.",
        questions: ["Where?"],
        source_author: "Ben Okafor",
      });
    }));

  test("only what has reached a customer", () =>
    database.rolledBack(async (sql) => {
      const story = await new Story(sql).begin();
      const asked = await story.customer("10:00:05", "Where?");
      const draft = await story.draft("10:00:10", asked, "On Monday.");
      const note = await story.message("10:01:00", "outgoing", "A note", ["user", 7], { private: true });
      const failed = await story.agent("10:02:00", "Refused", { status: "failed" });

      for (const message of [asked, note, failed]) {
        await sql.throws("OC409", "select * from api.promote_to_gold(1, $1)", [message]);
      }
      await sql.throws("OC409", "select * from api.promote_to_gold(1, draft_id => $1)", [draft]);
      await sql.throws("OC404", "select * from api.promote_to_gold(1, 1)");
      await sql.throws("OC404", "select * from api.promote_to_gold(1, draft_id => 999999)");
      await sql.throws("OC422", "select * from api.promote_to_gold(1)");
      await sql.throws("OC422", "select * from api.promote_to_gold(1, 1, 1)");
    }));

  test.each([
    [
      "words of their own only",
      "Ana ate a banana, ANA did.",
      { Ana: "contact.first_name" },
      "{{contact.first_name}} ate a banana, {{contact.first_name}} did.",
    ],
    ["the longest first", "Ana Alves", { Ana: "contact.first_name", "Ana Alves": "contact.name" }, "{{contact.name}}"],
    ["what is a pattern to others is a name", "a.*b and axxb", { "a.*b": "contact.name" }, "{{contact.name}} and axxb"],
    ["one letter is no name", "A is a letter", { A: "contact.name" }, "A is a letter"],
  ])("names: %s", (_, given, names, expected) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select replies.without_names($1, $2)", [given, JSON.stringify(names)])).toBe(expected);
    }));
});

test("api.approvals_history tells rejections with their reason, and what could not be sent with the problem", () =>
  database.rolledBack(async (sql) => {
    const story = await new Story(sql).begin();
    const rejected = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), "On Monday.");
    await sql.rows("select replies.reject_draft(1, $1, 'Wrong day', '2026-11-10T10:00:30Z')", [rejected]);
    const other = await new Story(sql).begin();
    const failed = await other.draft("10:00:10", await other.customer("10:00:05", "Where?"), "On Monday.");
    await other.approve("10:00:12", failed);
    await other.settled("10:01:00", failed, null, "dead");

    const told = await sql.rows(
      `select draft_id::int, decision, reason, action_state, problem, seconds_to_decide, final_text
      from api.approvals_history order by draft_id`,
    );

    expect(told).toEqual([
      {
        draft_id: rejected,
        decision: "rejected",
        reason: "Wrong day",
        action_state: null,
        problem: null,
        seconds_to_decide: 20,
        final_text: null,
      },
      {
        draft_id: failed,
        decision: "approved",
        reason: null,
        action_state: "dead",
        problem: "HTTP 422",
        seconds_to_decide: 2,
        final_text: "On Monday.",
      },
    ]);
    expect(await sql.rows("select draft_id::int from analytics.drafts where is_quick_approval")).toEqual([{
      draft_id: failed,
    }]);
  }));
