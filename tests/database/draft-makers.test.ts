// Another maker of drafts than retrieval, such as a language model: what it proposes goes the way of every draft.
import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import { agentWrites, decisionsOf, draftsOf, openDraft, outbox } from "./drafting.support.ts";

const database = useDatabase();

const approve = (sql: Sql, draft: string) => sql.value<string>("select api.approve_draft(1, $1)", [draft]);

describe("another maker", () => {
  const propose = (
    sql: Sql,
    { message = 9101, body = "Five days, Dana.", confidence = 0.9, maker = "model:writer" } = {},
  ) =>
    sql.value<string>("select api.propose_draft(1, 42, $1, $2, '2026-11', $3, $4, '{\"passages\":[3]}')", [
      ...[message, maker, body, confidence],
    ]);

  test("its draft takes the place of an open one, and goes the same way", () =>
    database.rolledBack(async (sql) => {
      const first = await openDraft(sql);
      const draft = await propose(sql);

      expect(await draftsOf(sql)).toMatchObject([
        { draft_id: first, state: "superseded", reason: "proposed_again", is_final: false },
        {
          draft_id: draft,
          state: "open",
          maker: "model:writer",
          maker_version: "2026-11",
          body: "Five days, Dana.",
          is_final: true,
        },
      ]);
      expect((await decisionsOf(sql)).at(-1)).toMatchObject({ action: "draft.suggested", actor: "model:writer" });
      expect(await propose(sql)).toBe(draft);
      await sql.throws("OC409", "select api.propose_draft(1, 42, 9101, 'model:writer', '2026-11', 'Six days.', 0.9)");
      await approve(sql, draft);
      expect((await outbox(sql, "reply"))[0].arguments.content).toBe("Five days, Dana.");
    }));

  test("unsure, it is kept back, and what lay there stays", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      await propose(sql, { confidence: 0.39 });

      expect(await draftsOf(sql)).toMatchObject([
        { state: "open", is_final: true },
        { state: "abstained", reason: "low_confidence", is_final: false, body: null },
      ]);
    }));

  test("its variables are filled in by type, and those that cannot be are named", () =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      const draft = await propose(sql, { body: "Hi {{contact.first_name}}, order {{order.number}}." });

      expect((await draftsOf(sql)).find(({ draft_id }) => draft_id === draft)).toMatchObject({
        body: "Hi Dana, order {{order.number}}.",
        missing: ["order.number"],
      });
    }));

  test("nothing is proposed to a message that is not the newest, where nobody waits, or over somebody's hands", () =>
    database.rolledBack(async (sql) => {
      const draft = await openDraft(sql);
      const call = "select api.propose_draft(1, $1, $2, 'model:writer', '1', 'x', 0.9)";
      await sql.throws("OC404", call, [43, 9101]);
      await sql.throws("OC409", call, [42, 9100]);
      await sql.throws("OC409", call, [42, null]);
      await sql.rows("savepoint open");
      await sql.rows("select api.claim_draft(1, $1)", [draft]);
      await sql.throws("OC409", call, [42, 9101]);
      await sql.rows("rollback to savepoint open");
      await approve(sql, draft);
      await sql.throws("OC409", call, [42, 9101]);
      await sql.rows("rollback to savepoint open");
      await agentWrites(sql, { id: 9102, content: "Five days.", after: 60 });

      expect((await sql.throws("OC409", call, [42, 9101])).message).toContain("no customer waits");
    }));

  test.each([
    { name: "a maker that says it is retrieval", values: ["retrieval", "1", "x", 0.9, "{}"] },
    { name: "a maker without a name", values: ["model:", "1", "x", 0.9, "{}"] },
    { name: "no version", values: ["model:a", " ", "x", 0.9, "{}"] },
    { name: "no text", values: ["model:a", "1", " ", 0.9, "{}"] },
    { name: "too long a text", values: ["model:a", "1", "x".repeat(10_001), 0.9, "{}"] },
    { name: "no confidence", values: ["model:a", "1", "x", null, "{}"] },
    { name: "more than certainty", values: ["model:a", "1", "x", 1.1, "{}"] },
    { name: "a confidence that is no number", values: ["model:a", "1", "x", "NaN", "{}"] },
    { name: "evidence that is no object", values: ["model:a", "1", "x", 0.9, "[]"] },
    { name: "no evidence at all", values: ["model:a", "1", "x", 0.9, null] },
    { name: "too much evidence", values: ["model:a", "1", "x", 0.9, JSON.stringify({ a: "x".repeat(16_000) })] },
  ])("$name is refused", ({ values }) =>
    database.rolledBack(async (sql) => {
      await openDraft(sql);
      const refused = await sql.throws("OC422", "select api.propose_draft(1, 42, 9101, $1, $2, $3, $4, $5)", values);
      expect(refused.hint).toBeTruthy();
    }));
});
