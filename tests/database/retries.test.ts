// Sending again what could not be sent: when it may, what is looked at first, and what never leaves any more.
import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import { decisionsOf, draftsOf, openDraft, outbox } from "./drafting.support.ts";

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
