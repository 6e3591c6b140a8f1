// Deciding about drafts: who may, what is refused and why, and that approving and enqueueing are one.
import type { Client } from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { member, type Role, type Sql, useDatabase } from "../support/database.ts";
import {
  agentWrites,
  at,
  customerWrites,
  decisionsOf,
  type Draft,
  draftsOf,
  goldReply,
  HAPPENINGS,
  openDraft,
  outbox,
  REFUND,
  REFUND_ANSWER,
} from "./drafting.support.ts";

const database = useDatabase();

const approver = (sql: Sql) => member(sql, 1, "approver");
const signedIn = <Value>(sql: Sql, user: string, work: () => Promise<Value>) => sql.as("authenticated", user, work);
const approve = (sql: Sql, draft: string, extra = "") =>
  sql.value<string>(`select api.approve_draft(1, $1${extra})`, [draft]);
const only = async (sql: Sql): Promise<Draft> => (await draftsOf(sql))[0];

describe("approving", () => {
  test("sends the draft as it is: one action, one entry in the log, and who decided", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const user = await approver(sql);

      const action = await signedIn(
        sql,
        user,
        () => approve(sql, draft, `, grades => '{"tone":5,"accuracy":4,"policy":5}'`),
      );

      expect(await outbox(sql, "reply")).toMatchObject([{
        ...{ action_id: action, display_id: "42", source: `draft:${draft}`, state: "pending" },
        arguments: { content: REFUND_ANSWER },
      }]);
      expect(await only(sql)).toMatchObject({
        ...{ state: "approved", final_text: REFUND_ANSWER, action_id: action, decided_by: `user:${user}` },
        ...{ is_override: false, grades: { tone: 5, accuracy: 4, policy: 5 }, shown_by: "decision" },
      });
      expect((await decisionsOf(sql)).at(-1)).toMatchObject({
        action: "draft.approved",
        actor: `user:${user}`,
        evidence: { display_id: 42, action_id: Number(action), is_changed: false, is_override: false },
      });
    }));

  test("other words are sent in its place", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);

      await approve(sql, draft, ", final_text => 'In a week, Dana.'");

      expect((await outbox(sql, "reply"))[0].arguments.content).toBe("In a week, Dana.");
      expect(await only(sql)).toMatchObject({ body: REFUND_ANSWER, final_text: "In a week, Dana." });
    }));

  test("the approver's name in Chatwoot is put in; whoever has none is told what is missing", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql, { body: "Five days. {{agent.name}}" });
      const user = await approver(sql);
      await sql.as("authenticated", user, async () => {
        const refused = await sql.throws("OC422", "select api.approve_draft(1, $1)", [draft]);
        expect(refused.message).toContain("agent.name");
        expect(refused.hint).toContain("final_text");
      });
      await sql.rows("update auth.users set email = 'Ravi@acme-outdoor.example' where id = $1", [user]);
      await sql.rows(
        `insert into chatwoot.agents (account_id, kind, agent_id, name, available_name, email, version_at)
        values (1, 'user', 7, 'Ravi Shah', 'Ravi', 'ravi@acme-outdoor.example', now()),
          (1, 'user', 3, 'Somebody Else', null, 'else@acme-outdoor.example', now()),
          (2, 'user', 2, 'Of another account', null, 'ravi@acme-outdoor.example', now())`,
      );

      await signedIn(sql, user, () => approve(sql, draft));

      expect((await outbox(sql, "reply"))[0].arguments.content).toBe("Five days. Ravi");
      // Nobody edited anything: what was proposed is told with the name as well.
      expect(await only(sql)).toMatchObject({ body: "Five days. Ravi", missing: [] });
    }));

  test("who has no name in Chatwoot signs with that of the token's owner, whom the customer will see", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql, { body: "Five days. {{agent.first_name}}" });
      await sql.rows(
        `insert into chatwoot.agents (account_id, kind, agent_id, name, email, version_at)
        values (1, 'user', 7, 'Ravi Shah', 'ravi@acme-outdoor.example', now()),
          (1, 'user', 1, 'Acme Outdoor', 'team@acme-outdoor.example', now())`,
      );
      await sql.rows("insert into actions.accounts (account_id, agent_id) values (1, 7)");

      await approve(sql, draft);

      expect((await outbox(sql, "reply"))[0].arguments.content).toBe("Five days. Ravi");
    }));

  test("a variable that nobody can fill never leaves, whoever approves and whatever they say", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql, { body: "Order {{order.number}} is on its way." });
      for (
        const extra of [
          "",
          ", override => true",
          ", final_text => 'Order {{order.number}}'",
          ", final_text => 'Order {{ order.number }} and {{no.such}}'",
        ]
      ) {
        const refused = await sql.throws("OC422", `select api.approve_draft(1, $1${extra})`, [draft]);
        expect(refused.message).toContain("order.number");
      }
      expect(await outbox(sql, "reply")).toEqual([]);
      expect(await only(sql)).toMatchObject({ state: "open", missing: ["order.number"] });

      await approve(sql, draft, ", final_text => 'Order A-20418 is on its way.'");

      expect((await outbox(sql, "reply"))[0].arguments.content).toBe("Order A-20418 is on its way.");
    }));

  test.each([
    { name: "nothing but white space", extra: ", final_text => E' \\n '", says: "final_text" },
    { name: "too long a text", extra: ", final_text => repeat('x', 10001)", says: "final_text" },
    { name: "a grade of 0", extra: `, grades => '{"tone":0}'`, says: "grades" },
    { name: "a grade of 6", extra: `, grades => '{"tone":6}'`, says: "grades" },
    { name: "half a grade", extra: `, grades => '{"tone":4.5}'`, says: "grades" },
    { name: "a grade in words", extra: `, grades => '{"tone":"5"}'`, says: "grades" },
    { name: "no grade", extra: `, grades => '{"tone":null}'`, says: "grades" },
    { name: "a grade of something else", extra: `, grades => '{"speed":5}'`, says: "grades" },
    { name: "a list of grades", extra: `, grades => '[5,5,5]'`, says: "grades" },
  ])("$name is refused", ({ extra, says }) =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);

      const refused = await sql.throws("OC422", `select api.approve_draft(1, $1${extra})`, [draft]);

      expect(refused.message).toContain(says);
      expect(refused.hint).toBeTruthy();
    }));

  test("the longest text, one grade alone and none at all are let through", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("savepoint here");
      for (const grades of ["null", "'{}'", `'{"policy":1}'`, "'null'"]) {
        await approve(sql, draft, `, final_text => repeat('x', 10000), grades => ${grades}`);
        await sql.rows("rollback to savepoint here");
      }
      await approve(sql, draft, `, grades => '{"tone":5.0}'`);

      expect((await only(sql)).grades).toEqual({ tone: 5 });
    }));

  test("a note that has not left is taken back", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'draft_notes', 'true')");
      await approve(sql, await openDraft(sql));

      expect((await outbox(sql, "note")).map(({ state }) => state)).toEqual(["cancelled"]);
    }));
});

describe("a draft that was decided", () => {
  test.each([
    { name: "approved", by: "select api.approve_draft(1, $1)", says: /was approved at 20/ },
    { name: "rejected", by: "select api.reject_draft(1, $1, 'Not true any more')", says: /was rejected at 20/ },
  ])(
    "$name: cannot be decided, taken in hand or gone over again, and says since when",
    ({ by, says }) =>
      database.rolledBack(async (sql) => {
        const draft = await openDraft(sql);
        const user = await approver(sql);
        await sql.as("authenticated", user, () => sql.rows(by, [draft]));
        for (
          const again of [
            "select api.approve_draft(1, $1)",
            "select api.approve_draft(1, $1, override => true)",
            "select api.reject_draft(1, $1, 'No')",
            "select api.claim_draft(1, $1)",
          ]
        ) {
          const refused = await sql.throws("OC409", again, [draft]);
          expect(refused.message).toMatch(says);
          expect(`${refused.message}${(refused as { detail?: string }).detail}`).not.toContain("@");
        }
        expect((await outbox(sql, "reply")).length).toBe(by.includes("approve") ? 1 : 0);
      }),
  );

  test.each(["held_out", "abstained"])("%s: there is nothing to decide", (state) =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows(
        `update replies.drafts set state = $2, reason = 'low_confidence', body = case when $2 = 'held_out' then body end
        where draft_id = $1`,
        [draft, state],
      );
      await sql.throws("OC409", "select api.approve_draft(1, $1, override => true)", [draft]);
      await sql.throws("OC409", "select api.claim_draft(1, $1)", [draft]);
    }));

  test("withdrawn: what can be done then is said, and works", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const action = await approve(sql, draft);
      await sql.value("select api.cancel_action(1, $1)", [action]);

      const { hint = "" } = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]) as { hint?: string };

      expect(hint).toContain("api.enqueue_action(1, 42, 'reply'");
      await sql.rows(hint.slice(hint.indexOf("select"), -1));
      expect((await outbox(sql, "reply")).map(({ state }) => state)).toEqual(["cancelled", "pending"]);
    }));

  test("what became of its reply shows: sent, or failed with the reason, and sent after all", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const action = await approve(sql, draft);
      const becomes = (state: string, problem: string | null = null) =>
        sql.rows(
          `update actions.outbox set state = $2, problem = $3, settled_at = case when $2 <> 'pending' then now() end
          where action_id = $1`,
          [action, state, problem],
        );

      await becomes("dead", "Chatwoot says: contact has no e-mail address");
      expect(await only(sql)).toMatchObject({
        state: "failed",
        reason: "Chatwoot says: contact has no e-mail address",
      });
      expect((await decisionsOf(sql)).at(-1)).toMatchObject({ action: "draft.failed", evidence: { display_id: 42 } });
      const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]);
      expect(refused.hint).toContain(`api.retry_action(1, ${action})`);
      await becomes("pending");
      expect(await only(sql)).toMatchObject({ state: "approved", reason: null });
      await becomes("sent");

      expect(await only(sql)).toMatchObject({ state: "sent", reason: null });
    }));

  test("one that nobody approved is not touched by an action that names it", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("select actions.enqueue(1, 42, 'reply', $2, 'draft:' || $1)", [draft, { content: "x" }]);
      await sql.rows("update actions.outbox set state = 'sent', settled_at = now()");

      expect((await only(sql)).state).toBe("open");
    }));
});

describe("when something has happened since", () => {
  test.each(HAPPENINGS)(
    "$name: refused with the news, and sent on an explicit override, which is logged",
    ({ name, by, kind }) =>
      database.rolledBack(async (sql) => {
        const draft = await openDraft(sql);
        await by(sql);
        const before = await outbox(sql, "reply");

        const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]);
        expect(refused.message).toContain(name);
        expect(refused.hint).toContain("override => true");
        expect(JSON.parse((refused as unknown as { detail: string }).detail)).toMatchObject([{ kind }]);
        expect(await outbox(sql, "reply")).toEqual(before);
        await approve(sql, draft, ", override => true");

        expect(await only(sql)).toMatchObject({ state: "approved", is_override: true });
        const log = await decisionsOf(sql);
        expect(log.at(-1)?.action).toBe("draft.approved");
        expect(log.filter(({ action }) => action === "draft.overridden")).toMatchObject([{
          evidence: { display_id: 42, news: [{ kind }] },
        }]);
        expect(await outbox(sql, "reply")).toHaveLength(before.length + 1);
      }),
  );

  test.each(HAPPENINGS.slice(0, 3))(
    "$name, where the ledger has not been by: refused all the same",
    ({ name, by }) =>
      database.rolledBack(async (sql) => {
        const draft = await openDraft(sql);
        await sql.rows(
          "insert into ledger.queue (account_id, display_id, queued_at, problem) values (1, 42, now(), 'wait')",
        );
        await by(sql);
        expect((await only(sql)).state).toBe("open");

        const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]);

        expect(refused.message).toContain(name);
        await sql.resultsEqual("select jsonb_array_length(news) as news from api.approval_queue", [{ news: 1 }]);
      }),
  );

  test("an edited message, where the ledger has not been by", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("update chatwoot.messages set content = 'Something else' where message_id = 9101");

      const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]);

      expect(refused.message).toContain("changed or deleted a message");
    }));

  test("another answer that still waits to be sent, from before the draft", () =>
    database.rolledBack(async (sql) => {
      const first = await openDraft(sql);
      await approve(sql, first);
      await customerWrites(sql, { id: 9102, content: REFUND, after: 60 });
      const [, second] = await draftsOf(sql);

      const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [second.draft_id]);

      expect(refused.message).toContain("another answer is on its way");
    }));

  test("another answer that left before its webhook, from before the draft", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      const [first] = await draftsOf(sql);
      await approve(sql, first.draft_id);
      await customerWrites(sql, { id: 9102, content: REFUND, after: 30 });
      await sql.rows(
        "update actions.outbox set state = 'sent', message_id = 9103, settled_at = now() + interval '1 minute' where kind = 'reply'",
      );
      const second = (await draftsOf(sql))[1];
      await sql.rows("update actions.outbox set created_at = created_at - interval '1 minute' where kind = 'reply'");

      const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [second.draft_id]);

      expect(refused.message).toContain("another answer is on its way");
    }));

  test("a conversation that a bot has again", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("update ledger.episodes set state = 'bot' where display_id = 42");

      const refused = await sql.throws("OC409", "select api.approve_draft(1, $1)", [draft]);

      expect(refused.message).toContain("no customer waits for a person");
    }));

  test("in a deleted conversation not even an override sends anything", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("select chatwoot.bury('conversation', 1, 42, now())");

      await sql.throws("OC409", "select api.approve_draft(1, $1, override => true)", [draft]);
    }));

  test("an override where nothing has happened is an approval like any other", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await approve(sql, draft, ", override => true");

      expect((await only(sql)).is_override).toBe(false);
      expect((await decisionsOf(sql)).map(({ action }) => action)).not.toContain("draft.overridden");
    }));

  test("notes, bots, rules and failed messages are no news", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const bot = { sender: { id: 3, name: "Helper", type: "agent_bot" } };
      await agentWrites(sql, { id: 9102, content: "Looks odd", after: 10, changes: { private: true } });
      await agentWrites(sql, { id: 9103, content: "One moment", after: 20, changes: bot });
      const rule = { content_attributes: { automation_rule_id: 4 } };
      await agentWrites(sql, { id: 9104, content: "We are closed", after: 30, changes: rule });

      await approve(sql, draft);

      expect((await only(sql)).state).toBe("approved");
    }));

  test("going over the news with an old draft ends the new one: one answer a wait", () =>
    database.rolledBack(async (sql) => {
      const old = await openDraft(sql);
      await customerWrites(sql, { id: 9102, content: REFUND, after: 60 });
      await approve(sql, old, ", override => true");

      expect((await draftsOf(sql)).map(({ state, reason, is_final }) => [state, reason, is_final])).toEqual([
        ["approved", null, true],
        ["superseded", "overridden", false],
      ]);
    }));
});

describe("a claim", () => {
  const claim = (sql: Sql, draft: string, asOf: number) =>
    sql.value<Date>("select replies.claim_draft(1, $1, $2)", [draft, at(asOf)]);

  test("keeps others off until it ends, and its holder renews, releases or decides", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const [one, other] = [await approver(sql), await approver(sql)];
      expect(await signedIn(sql, one, () => claim(sql, draft, 0))).toEqual(new Date(at(600)));
      await sql.as("authenticated", other, async () => {
        const refused = await sql.throws("OC409", "select replies.claim_draft(1, $1, $2)", [draft, at(599)]);
        expect(refused.message).toContain("in somebody else's hands until");
        await sql.throws("OC409", "select replies.approve_draft(1, $1, as_of => $2)", [draft, at(599)]);
        await sql.throws("OC409", "select replies.reject_draft(1, $1, 'No', $2)", [draft, at(599)]);
        await sql.throws("OC409", "select replies.release_draft(1, $1, $2)", [draft, at(599)]);
      });
      expect(await signedIn(sql, one, () => claim(sql, draft, 300))).toEqual(new Date(at(900)));
      await sql.as(
        "authenticated",
        other,
        () => sql.throws("OC409", "select replies.claim_draft(1, $1, $2)", [draft, at(899)]),
      );

      expect(await signedIn(sql, other, () => claim(sql, draft, 900))).toEqual(new Date(at(1500)));
      expect(await signedIn(sql, other, () => sql.value("select replies.release_draft(1, $1, $2)", [draft, at(901)])))
        .toBe(true);
      expect(await signedIn(sql, other, () => sql.value("select replies.release_draft(1, $1, $2)", [draft, at(901)])))
        .toBe(false);
      await signedIn(sql, one, () => claim(sql, draft, 902));
      await signedIn(sql, one, () => sql.rows("select replies.approve_draft(1, $1, as_of => $2)", [draft, at(903)]));

      expect(await only(sql)).toMatchObject({
        state: "approved",
        shown_by: "claim",
        shown_at: new Date(at(0)),
        claimed_by: null,
      });
      expect((await decisionsOf(sql)).map(({ action, actor }) => [action, actor])).toEqual([
        ["draft.suggested", "rule:retrieval"],
        ["draft.claimed", `user:${one}`],
        ["draft.claimed", `user:${other}`],
        ["draft.released", `user:${other}`],
        ["draft.claimed", `user:${one}`],
        ["draft.approved", `user:${one}`],
      ]);
    }));

  test("does not outlive the role: an approver who was revoked meanwhile decides nothing", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const [user] = [await approver(sql), await member(sql, 1, "admin")];
      await signedIn(sql, user, () => sql.rows("select api.claim_draft(1, $1)", [draft]));
      for (const role of ["operator", null]) {
        await sql.rows("select ops.set_member(1, $1, $2)", [user, role]);
        await sql.as("authenticated", user, async () => {
          await sql.throws("OC403", "select api.approve_draft(1, $1)", [draft]);
          await sql.throws("OC403", "select api.reject_draft(1, $1, 'No')", [draft]);
        });
      }
      expect(await outbox(sql, "reply")).toEqual([]);
    }));
});

test("rejecting takes a reason, which is kept and logged", () =>
  database.rolledBack(async (sql) => {
    const draft = await openDraft(sql);
    for (const reason of [null, "", " \n", "x".repeat(1001)]) {
      await sql.throws("OC422", "select api.reject_draft(1, $1, $2)", [draft, reason]);
    }
    await sql.rows("select api.reject_draft(1, $1, $2)", [draft, " The policy is new "]);

    expect(await only(sql)).toMatchObject({ state: "rejected", reason: "The policy is new", shown_by: "decision" });
    expect((await decisionsOf(sql)).at(-1)).toMatchObject({
      action: "draft.rejected",
      evidence: { display_id: 42, reason: "The policy is new" },
    });
    await sql.rows("select replies.refresh('{1}', '{42}')");
    expect(await draftsOf(sql)).toHaveLength(1);
  }));

describe("who may", () => {
  const calls = [
    "select api.claim_draft(1, $1)",
    "select api.release_draft(1, $1)",
    "select api.approve_draft(1, $1)",
    "select api.reject_draft(1, $1, 'No')",
  ];
  const as = async (sql: Sql, role: Role, user: string | null, draft: string, error: string | null) => {
    for (const call of calls) {
      await sql.rows("savepoint one");
      await sql.as(role, user, async () => {
        if (error === null) await sql.rows(call, [draft]);
        else await sql.throws(error, call, [draft]);
      });
      await sql.rows("rollback to savepoint one");
    }
  };

  test.each([
    { role: "viewer", error: "OC403" },
    { role: "operator", error: "OC403" },
    { role: "approver", error: null },
    { role: "admin", error: null },
  ])("$role: $error", ({ role, error }) =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await as(sql, "authenticated", await member(sql, 1, role), draft, error);
    }));

  test("nobody without a role in the account, whatever theirs is elsewhere", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await as(sql, "authenticated", await member(sql, 2, "admin"), draft, "OC403");
      await as(sql, "authenticated", "00000000-0000-4000-8000-000000000000", draft, "OC403");
      await as(sql, "anon", null, draft, "42501");
      await as(sql, "analyst", null, draft, "42501");
      await as(sql, "service_role", null, draft, null);
    }));

  test("an admin of another account finds no draft under their own account's number, and sees none", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const user = await member(sql, 2, "admin");
      await sql.as("authenticated", user, async () => {
        await sql.throws("OC404", "select api.approve_draft(2, $1)", [draft]);
        for (const view of ["approval_queue", "drafts"]) {
          expect(await sql.rows(`select * from api.${view}`)).toEqual([]);
        }
      });
      for (const role of ["viewer", "approver"]) {
        await sql.as("authenticated", await member(sql, 1, role), async () => {
          for (const view of ["approval_queue", "drafts"]) {
            expect(await sql.rows(`select * from api.${view}`)).toHaveLength(1);
          }
        });
      }
      await sql.as("anon", null, () => sql.throws("42501", "select * from api.approval_queue"));
    }));

  test("proposing is for the project's backend alone", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      const propose = "select api.propose_draft(1, 42, 9101, 'model:writer', '1', 'Five days.', 0.9)";
      await sql.as("authenticated", await member(sql, 1, "admin"), () => sql.throws("42501", propose));
      await sql.as("anon", null, () => sql.throws("42501", propose));
      await sql.as("analyst", null, () => sql.throws("42501", propose));
      await sql.as("service_role", null, () => sql.rows(propose));
      await sql.as("authenticated", await member(sql, 1, "admin"), () =>
        sql.throws("42501", "select replies.propose_draft(1, 42, 9101, 'model:writer', '1', 'Five days.', 0.9)"));
    }));

  test("nobody writes to the table itself", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      for (const role of ["authenticated", "service_role", "analyst", "anon"] as const) {
        await sql.as(role, null, async () => {
          await sql.throws("42501", "update replies.drafts set state = 'approved'");
          await sql.throws("42501", "delete from replies.drafts");
        });
      }
    }));
});

describe("the approval queue", () => {
  test("shows who waits since when, what was asked and suggested, the clock and the news; longest wait first", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select api.save_sla_policy(1, 'All', '[]', $1, valid_from => '-infinity')", [
        { first_response: { seconds: 600, hours: "24x7" }, resolution: { seconds: 86_400, hours: "24x7" } },
      ]);
      await goldReply(sql);
      await customerWrites(sql, { conversation: 43, id: 9201, content: REFUND, after: 3400, contact: 206 });
      await customerWrites(sql, { id: 9101, content: `${REFUND} ${"x".repeat(600)}` });
      await customerWrites(sql, { conversation: 44, id: 9301, content: REFUND, after: 3550, contact: 207 });
      const [older] = await draftsOf(sql);
      await sql.rows("select api.claim_draft(1, $1)", [older.draft_id]);
      await sql.rows("select actions.enqueue(1, 43, 'reply', $1)", [{ content: "Five days." }]);

      const rows = await sql.rows("select * from api.approval_queue");
      expect(rows).toMatchObject([
        {
          ...{ account_id: "1", draft_id: older.draft_id, display_id: "42", customer: "Dana Berg", inbox: "Website" },
          ...{ draft: REFUND_ANSWER, gold_reply_title: "Refund time", missing: [], claimed_by: "database:postgres" },
          ...{ sla_clock: "first_response", sla_breached: true, sla_due_at: new Date(at(600)), news: null },
          customer_words: `${REFUND} ${"x".repeat(600)}`.slice(0, 500),
        },
        {
          ...{ display_id: "43", claimed_by: null, claimed_until: null, sla_breached: false },
          news: [{ kind: "answer_on_its_way" }],
        },
        { display_id: "44", news: null },
      ]);
      expect(Math.abs(rows[0].waiting_seconds - 3600)).toBeLessThan(300);
    }));

  test("a claim that has run out is nobody's", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await sql.rows("select replies.claim_draft(1, $1, now() - interval '1 hour')", [draft]);

      await sql.resultsEqual("select claimed_by, claimed_until from api.approval_queue", [
        { claimed_by: null, claimed_until: null },
      ]);
    }));
});

describe("at the same time", () => {
  const opened: Client[] = [];
  const begun = async (): Promise<Client> => {
    const client = await database.connect();
    await client.query("begin");
    opened.push(client);
    return client;
  };
  afterEach(async () => {
    for (const client of opened.splice(0)) await client.query("rollback");
  });
  let display = 500;
  const committedDraft = async (sql: Client): Promise<[string, number]> => {
    display += 1;
    return [await openDraft(sql as never, { account: 9, conversation: display, id: 10_000 + display }), display];
  };
  const failure = (work: Promise<unknown>) => work.then(() => null, (error) => error as Error & { code: string });

  test("two approve: one wins, the other is told when, and one reply goes out", async () => {
    const sql = await database.connect();
    const [draft] = await committedDraft(sql);
    const [one, other] = [await begun(), await begun()];

    await one.query("select api.approve_draft(9, $1)", [draft]);
    const second = failure(other.query("select api.approve_draft(9, $1, 'Mine')", [draft]));
    await database.untilWaiting(other);
    await one.query("commit");

    expect(await second).toMatchObject({ code: "OC409", message: expect.stringMatching(/was approved at 20\d\d-/) });
    const sent = await sql.query("select arguments from actions.outbox where source = $1", [`draft:${draft}`]);
    expect(sent.rows).toMatchObject([{ arguments: { content: REFUND_ANSWER } }]);
  });

  test("one claims while another approves: whoever is first has it", async () => {
    const sql = await database.connect();
    const [draft] = await committedDraft(sql);
    const [one, other] = [await begun(), await begun()];

    await one.query("select api.reject_draft(9, $1, 'Wrong')", [draft]);
    const second = failure(other.query("select api.claim_draft(9, $1)", [draft]));
    await database.untilWaiting(other);
    await one.query("commit");

    expect(await second).toMatchObject({ code: "OC409" });
  });

  test("the customer writes while somebody approves: the approver is told", async () => {
    const sql = await database.connect();
    const [draft, conversation] = await committedDraft(sql);
    const [webhook, person] = [await begun(), await begun()];

    await customerWrites(webhook, { account: 9, conversation, id: 20_000 + conversation, content: REFUND, after: 60 });
    const approval = failure(person.query("select api.approve_draft(9, $1)", [draft]));
    await database.untilWaiting(person);
    await webhook.query("commit");

    expect(await approval).toMatchObject({ code: "OC409", message: expect.stringContaining("written again") });
  });

  test("approving and enqueueing are one: rolled back, there is neither", async () => {
    const sql = await database.connect();
    const [draft, conversation] = await committedDraft(sql);
    const one = await begun();

    await one.query("select api.approve_draft(9, $1)", [draft]);
    await one.query("rollback");

    expect((await draftsOf(sql, { account: 9, conversation }))[0].state).toBe("open");
    expect((await sql.query("select from actions.outbox where source = $1", [`draft:${draft}`])).rowCount).toBe(0);
    expect((await decisionsOf(sql, { account: 9, conversation })).map(({ action }) => action)).toEqual([
      "draft.suggested",
    ]);
  });
});
