// Sending again what could not be sent: when it may, what is looked at first, and what never leaves any more.
import type { Client } from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import {
  agentWrites,
  customerWrites,
  decisionsOf,
  draftsOf,
  HAPPENINGS,
  openDraft,
  outbox,
  REFUND,
} from "./drafting.support.ts";

const database = useDatabase();

const approve = (sql: Sql, draft: string, extra = "") =>
  sql.value<string>(`select api.approve_draft(1, $1${extra})`, [draft]);
const settles = (sql: Sql, action: string, state = "dead") =>
  sql.rows("update actions.outbox set state = $2, settled_at = now() where action_id = $1", [action, state]);

describe("after the customer was erased nothing is sent any more, whatever is overridden", () => {
  const erased = (sql: Sql) => sql.rows("select api.erase_contact(1, 205, false)");

  test.each(["dead", "dry_run"])("not the reply of a draft that is %s", (state) =>
    database.rolledBack(async (sql) => {
      const action = await approve(sql, await openDraft(sql));
      await settles(sql, action, state);
      await erased(sql);

      for (const extra of ["", ", override => true"]) {
        const refused = await sql.throws("OC409", `select api.retry_action(1, $1${extra})`, [action]);
        expect(refused.message).toContain("was erased");
        expect(refused.hint).toContain("Chatwoot");
      }
      expect((await outbox(sql, "reply"))[0]).toMatchObject({ state, arguments: {} });
    }));

  test.each([["note", '{"content": "Called her"}'], ["set_status", '{"status": "resolved"}']])(
    "not a %s that somebody asked for",
    (kind, args) =>
      database.rolledBack(async (sql) => {
        await openDraft(sql);
        const action = await sql.value<string>("select api.enqueue_action(1, 42, $1, $2)", [kind, args]);
        await settles(sql, action);
        await erased(sql);

        expect((await sql.throws("OC409", "select api.retry_action(1, $1)", [action])).message).toContain("was erased");
        expect((await sql.throws("OC409", "select api.enqueue_action(1, 42, $1, $2)", [kind, args])).message)
          .toContain("was erased");
        expect(await sql.value("select count(*)::int from actions.outbox where state = 'pending'")).toBe(0);
      }),
  );

  test("not a draft, whose words are gone, nor a new one", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      await erased(sql);

      for (const extra of ["", ", override => true", ", final_text => 'Five days.', override => true"]) {
        const refused = await sql.throws("OC409", `select api.approve_draft(1, $1${extra})`, [draft]);
        expect(refused.message).toContain("was erased");
      }
      const proposed = "select api.propose_draft(1, 42, 9101, 'model:writer', '1', 'Five days.', 0.9)";
      expect((await sql.throws("OC409", proposed)).message).toContain("was erased");
      expect(await outbox(sql, "reply")).toEqual([]);
      expect(await draftsOf(sql)).toHaveLength(1);
      expect((await decisionsOf(sql)).map(({ action }) => action)).not.toContain("draft.overridden");
    }));

  test("not what a dispatcher has just taken: it is withdrawn, without its words", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      const action = await sql.value<string>(`select api.enqueue_action(1, 42, 'reply', '{"content": "Five days."}')`);
      const [claimed] = await sql.rows("select * from actions.claim(now())");
      expect(claimed.action_id).toBe(action);
      await sql.rows("insert into chatwoot.erased_contacts (account_id, contact_id, erased_at) values (1, 205, now())");
      await sql.rows(
        "insert into chatwoot.erased_conversations (account_id, display_id, contact_id) values (1, 42, 205) on conflict do nothing",
      );

      await sql.rows("select actions.send(1, $1, $2, false, now(), now() + interval '1 minute')", [
        ...[action, claimed.lease],
      ]);

      expect((await outbox(sql, "reply"))[0]).toMatchObject({ state: "cancelled", arguments: {} });
      expect(await sql.value("select outcome from audit.decision_log where action = 'action.cancelled'")).toBe(
        "cancelled",
      );
    }));
});

/** A draft that was approved and could not be sent. */
const failed = async (sql: Sql, body?: string): Promise<{ draft: string; action: string }> => {
  const draft = await openDraft(sql, body ? { body } : {});
  const action = await approve(sql, draft);
  await settles(sql, action);
  return { draft, action };
};
const retry = (sql: Sql, action: string, extra = "") => sql.rows(`select api.retry_action(1, $1${extra})`, [action]);
const stateOf = (sql: Sql, action: string) =>
  sql.value<string>("select state from actions.outbox where action_id = $1", [action]);

describe("when something has happened since a reply could not be sent", () => {
  const changes: typeof HAPPENINGS = [
    ...HAPPENINGS.slice(0, 5),
    {
      name: "the customer has changed or deleted a message",
      by: (sql) => sql.rows("update chatwoot.messages set content = 'Something else' where message_id = 9101"),
      kind: "message_changed",
    },
    {
      name: "no customer waits for a person any more",
      by: (sql) => sql.rows("update ledger.episodes set state = 'bot' where display_id = 42"),
      kind: "not_waiting",
    },
  ];

  test.each(changes)(
    "$name: not sent again but on an override, which is logged and stays told",
    ({ name, by, kind }) =>
      database.rolledBack(async (sql) => {
        const { action } = await failed(sql);
        await retry(sql, action);
        await settles(sql, action);
        await by(sql);

        const refused = await sql.throws("OC409", "select api.retry_action(1, $1)", [action]);
        expect(refused.message).toContain(name);
        expect(refused.hint).toContain("api.retry_action(…, override => true)");
        expect(await stateOf(sql, action)).toBe("dead");
        await retry(sql, action, ", override => true");

        expect(await stateOf(sql, action)).toBe("pending");
        expect((await draftsOf(sql))[0]).toMatchObject({ state: "approved", is_override: true, is_final: true });
        const log = await decisionsOf(sql);
        expect(log.filter(({ action }) => action === "draft.overridden")).toMatchObject([{
          evidence: { display_id: 42, news: [{ kind }] },
        }]);
      }),
  );

  test.each(changes)("$name, after a dry run: the same", ({ name, by }) =>
    database.rolledBack(async (sql) => {
      const action = await approve(sql, await openDraft(sql));
      await settles(sql, action, "dry_run");
      await by(sql);

      const refused = await sql.throws("OC409", "select api.retry_action(1, $1)", [action]);

      expect(refused.message).toContain(name);
    }));

  test("what was gone over stays so, whatever is retried later without it", () =>
    database.rolledBack(async (sql) => {
      const { action } = await failed(sql);
      const said = { id: 9102, content: "Five days.", after: 60 };
      await agentWrites(sql, said);
      await retry(sql, action, ", override => true");
      await settles(sql, action);
      await sql.rows("update chatwoot.messages set delivery_status = 'failed' where message_id = 9102");
      await sql.rows("select ledger.work_off()");

      await retry(sql, action);

      expect((await draftsOf(sql))[0]).toMatchObject({ state: "approved", is_override: true });
    }));

  test("going over it ends the draft made since: one answer a wait", () =>
    database.rolledBack(async (sql) => {
      const { action } = await failed(sql);
      await customerWrites(sql, { id: 9102, content: REFUND, after: 60 });
      expect((await draftsOf(sql)).map(({ state }) => state)).toEqual(["failed", "open"]);

      await retry(sql, action, ", override => true");

      expect((await draftsOf(sql)).map(({ state, reason, is_final }) => [state, reason, is_final])).toEqual([
        ["approved", null, true],
        ["superseded", "overridden", false],
      ]);
    }));

  test("another maker's draft to the same words is ended as well", () =>
    database.rolledBack(async (sql) => {
      const { action } = await failed(sql);
      await sql.rows("select api.propose_draft(1, 42, 9101, 'model:writer', '1', 'In five days.', 0.9)");
      expect((await draftsOf(sql)).map(({ state }) => state)).toEqual(["failed", "open"]);

      await retry(sql, action);

      expect((await draftsOf(sql)).map(({ state, is_final }) => [state, is_final])).toEqual([
        ["approved", true],
        ["superseded", false],
      ]);
    }));
});

describe("a reply that died in doubt and did arrive", () => {
  const arrived = async (sql: Sql, { action }: { action: string }) => {
    const mark = await sql.value<string>("select mark from actions.outbox where action_id = $1", [action]);
    await agentWrites(sql, {
      ...{ id: 9102, content: "Five days.", after: 60 },
      changes: { content_attributes: { occ_action: mark } },
    });
  };

  test.each([
    { name: "in doubt", doubt: "now()" },
    { name: "and was thought refused", doubt: "null" },
  ])(
    "$name: is no news of its own, and is looked for before anything is sent",
    ({ doubt }) =>
      database.rolledBack(async (sql) => {
        const reply = await failed(sql);
        await sql.rows(`update actions.outbox set doubt_since = ${doubt} where action_id = $1`, [reply.action]);
        await arrived(sql, reply);

        await retry(sql, reply.action);

        expect((await draftsOf(sql))[0]).toMatchObject({ is_override: false });
        const [claimed] = await sql.rows("select action_id, is_in_doubt from actions.claim(now())");
        expect(claimed).toEqual({ action_id: reply.action, is_in_doubt: true });
      }),
  );

  test("does not speak for a message of somebody else", () =>
    database.rolledBack(async (sql) => {
      const reply = await failed(sql);
      await agentWrites(sql, { id: 9102, content: "Five days.", after: 60 });

      expect((await sql.throws("OC409", "select api.retry_action(1, $1)", [reply.action])).message).toContain(
        "somebody has answered",
      );
    }));
});

describe("the note of a draft", () => {
  const deadNote = async (sql: Sql) => {
    await sql.rows("select ops.set_setting(1, 'draft_notes', 'true')");
    const draft = await openDraft(sql);
    const [note] = await outbox(sql, "note");
    await settles(sql, note.action_id);
    return { draft, note: note.action_id };
  };

  test("is posted after all while nobody has decided", () =>
    database.rolledBack(async (sql) => {
      const { note } = await deadNote(sql);

      await retry(sql, note);

      expect(await stateOf(sql, note)).toBe("pending");
    }));

  test.each([
    { name: "approved", by: "select api.approve_draft(1, $1)", says: "was approved at" },
    { name: "rejected", by: "select api.reject_draft(1, $1, 'Not true any more')", says: "was rejected at" },
    {
      name: "superseded",
      by: "select replies.close_draft(1, $1, 'superseded', 'customer_wrote', now())",
      says: "is superseded since",
    },
  ])(
    "is not when it is $name: it would ask people for what is decided",
    ({ by, says }) =>
      database.rolledBack(async (sql) => {
        const { draft, note } = await deadNote(sql);
        await sql.rows(by, [draft]);

        for (const extra of ["", ", override => true"]) {
          const refused = await sql.throws("OC409", `select api.retry_action(1, $1${extra})`, [note]);
          expect(refused.message).toContain(says);
        }
        expect(await stateOf(sql, note)).toBe("dead");
      }),
  );

  test("is not where the draft has another one by now", () =>
    database.rolledBack(async (sql) => {
      const { draft, note } = await deadNote(sql);
      await sql.rows("select replies.enqueue_note(drafts, now()) from replies.drafts where draft_id = $1", [draft]);

      expect((await sql.throws("OC409", "select api.retry_action(1, $1)", [note])).message).toContain("another note");
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
  const failure = (work: Promise<unknown>) => work.then(() => null, (error) => error as Error & { code: string });
  let display = 500;
  /** A draft whose reply could not be sent, and one of another maker to the same words. */
  const committed = async () => {
    const sql = await database.connect();
    display += 1;
    const told = { account: 9, conversation: display };
    const first = await openDraft(sql as never, { ...told, id: 10_000 + display });
    const { rows: [{ action }] } = await sql.query("select api.approve_draft(9, $1) as action", [first]);
    await sql.query("update actions.outbox set state = 'dead', settled_at = now() where action_id = $1", [action]);
    await sql.query("select api.propose_draft(9, $1, $2, 'model:writer', '1', 'In five days.', 0.9)", [
      ...[display, 10_000 + display],
    ]);
    const [, second] = await draftsOf(sql, told);
    return { sql, action, second: second.draft_id };
  };
  const replies = async (sql: Client) =>
    (await sql.query("select state from actions.outbox where kind = 'reply' and display_id = $1 order by action_id", [
      display,
    ])).rows.map(({ state }) => state);

  test("a retry beside the approval of a later draft: whoever comes second is told, and one answer goes out", async () => {
    const { sql, action, second } = await committed();
    const [one, other] = [await begun(), await begun()];

    await one.query("select api.approve_draft(9, $1)", [second]);
    const retried = failure(other.query("select api.retry_action(9, $1)", [action]));
    await database.untilWaiting(other);
    await one.query("commit");

    expect(await retried).toMatchObject({ code: "OC409", message: expect.stringContaining("is on its way") });
    expect(await replies(sql)).toEqual(["dead", "pending"]);
  });

  test("and the other way round", async () => {
    const { sql, action, second } = await committed();
    const [one, other] = [await begun(), await begun()];

    await one.query("select api.retry_action(9, $1)", [action]);
    const approved = failure(other.query("select api.approve_draft(9, $1)", [second]));
    await database.untilWaiting(other);
    await one.query("commit");

    expect(await approved).toMatchObject({ code: "OC409", message: expect.stringContaining("is on its way") });
    expect(await replies(sql)).toEqual(["pending"]);
  });

  test("what somebody else has in hand is not waited for", async () => {
    const { sql, action } = await committed();
    const one = await begun();

    await one.query("select from actions.outbox where action_id = $1 for no key update", [action]);

    expect(await failure(sql.query("select actions.retry(9, $1)", [action]))).toMatchObject({ code: "OC409" });
  });
});
