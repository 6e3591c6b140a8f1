// Bodies made to hurt, and histories made to confuse: each is kept, in bounded time, and read as it was meant.
import { expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";
import { deliver, kept } from "./deliver.ts";

const database = useDatabase();
const ACCOUNT = { id: 1, name: "Acme" };

/** A private note as its event tells it: the conversation's instant moves neither by an edit nor by a deletion. */
const note = (changes: Record<string, unknown>) => ({
  event: "message_updated",
  account: ACCOUNT,
  id: 100,
  content: "card 4111 1111",
  content_type: "text",
  content_attributes: {},
  additional_attributes: {},
  message_type: "outgoing",
  private: true,
  source_id: null,
  created_at: "2026-11-20T09:00:00.412Z",
  sender: { id: 7, name: "Ravi", email: "ravi@acme.example", type: "user" },
  conversation: { id: 42, inbox_id: 3, updated_at: 1795165200.5, messages: [], account: ACCOUNT },
  ...changes,
});

test.each([
  { name: "half emoji by the thousand", body: `{"event":"x","a":"${"\\udc00".repeat(174_000)}"}`, outcome: "ignored" },
  { name: "a half emoji beside a number too large", body: '{"event":"x","a":"\\ud800","b":1e200000}', outcome: "dead" },
  {
    name: "ten thousand nested messages",
    body: JSON.stringify({
      event: "conversation_updated",
      id: 42,
      messages: Array.from({ length: 10_000 }, (_, id) => ({ id: id + 1, sender: { id: id + 1, type: "user" } })),
    }),
    outcome: "dead",
  },
  {
    name: "labels by the ten thousand",
    body: JSON.stringify({ event: "conversation_updated", id: 42, labels: Array(10_000).fill("x") }),
    outcome: "dead",
  },
])("$name are kept well within the door's patience", ({ body, outcome }) =>
  database.rolledBack(async (sql) => {
    await sql.rows("set local statement_timeout = '3500ms'");

    expect(await deliver(sql, { id: "d1", body })).toBe(outcome);

    expect((await kept(sql, "d1"))?.body).toHaveLength(Buffer.byteLength(body));
  }));

test.each([
  { name: "deletion after the note", order: ["note", "deletion"] },
  { name: "deletion before the note", order: ["deletion", "note"] },
])("what a deleted note said is gone: $name", ({ order }) =>
  database.rolledBack(async (sql) => {
    const bodies: Record<string, { body: unknown; signedAt: string }> = {
      note: { body: note({ event: "message_created" }), signedAt: "2026-11-20T09:00:01Z" },
      deletion: {
        body: note({ content: "This message was deleted", content_attributes: { deleted: true } }),
        signedAt: "2026-11-20T09:05:00Z",
      },
    };

    for (const id of order) await deliver(sql, { id, ...bodies[id] });

    await sql.resultsEqual("select content, content_attributes, deleted_at from chatwoot.messages", [{
      content: "This message was deleted",
      content_attributes: { deleted: true },
      deleted_at: new Date("2026-11-20T09:05:00Z"),
    }]);
  }));

test.each([["first", "second"], ["second", "first"]])(
  "an edited note says what was written last (%s, %s)",
  (...order) =>
    database.rolledBack(async (sql) => {
      const edits: Record<string, { body: unknown; signedAt: string }> = {
        first: { body: note({ content: "zebra" }), signedAt: "2026-11-20T09:01:00Z" },
        second: { body: note({ content: "aardvark" }), signedAt: "2026-11-20T09:02:00Z" },
      };

      for (const id of order) await deliver(sql, { id, ...edits[id] });

      expect(await sql.value("select content from chatwoot.messages")).toBe("aardvark");
    }),
);

test("words given after the rating are kept, though nothing else of the conversation has changed", () =>
  database.rolledBack(async (sql) => {
    const answer = (response: unknown) =>
      note({
        content_type: "input_csat",
        content_attributes: { submitted_values: { csat_survey_response: response } },
      });

    await deliver(sql, { id: "rated", body: answer({ rating: 5 }) });
    await deliver(sql, { id: "explained", body: answer({ rating: 5, feedback_message: "Fast!" }) });

    await sql.resultsEqual("select rating, feedback_message from chatwoot.csat_responses", [{
      rating: 5,
      feedback_message: "Fast!",
    }]);
  }));

test("a kind of sender that is not known yet does not cost the message", () =>
  database.rolledBack(async (sql) => {
    const body = note({ sender: { id: 5, name: "New", type: "robot" } });

    expect(await deliver(sql, { id: "d1", body })).toBe("applied");

    await sql.resultsEqual("select sender_kind, sender_id from chatwoot.messages", [{
      sender_kind: "robot",
      sender_id: "5",
    }]);
  }));

test.each(["2", " 2 "])("an account spelt %j is still another account", (id) =>
  database.rolledBack(async (sql) => {
    expect(await deliver(sql, { id: "d1", body: note({ account: { id, name: "Other" } }) })).toBe("refused");
  }));

test("an account spelt 2.0 is still another account", () =>
  database.rolledBack(async (sql) => {
    expect(await deliver(sql, { id: "d1", body: '{"event":"contact_created","id":1,"account":{"id":2.0}}' })).toBe(
      "refused",
    );
  }));

test("the reason of a dead delivery does not quote the payload", () =>
  database.rolledBack(async (sql) => {
    await deliver(sql, { id: "d1", body: note({ id: "my secret text" }) });

    const row = await kept(sql, "d1");
    expect(row).toMatchObject({ outcome: "dead" });
    expect(row?.reason).toContain("22P02");
    expect(row?.reason).not.toContain("secret");
  }));

test("a whole number with a fraction of zero is kept as a whole number, and retention goes on", () =>
  database.rolledBack(async (sql) => {
    await deliver(sql, { account: 8, id: "old", body: "{}", receivedAt: "2026-01-01T00:00:00Z" });

    await sql.rows("select api.set_setting(8, 'raw_retention_days', '37.0')");

    expect(await sql.value("select value::text from ops.settings where account_id = 8")).toBe("37");
    expect(await sql.value("select inbox.purge_bodies('2026-03-01T00:00:00Z')")).toBe("1");
  }));

test("a busy account does not keep another's old bytes from being purged", () =>
  database.rolledBack(async (sql) => {
    for (let number = 1; number <= 5; number++) {
      await deliver(sql, { account: 7, id: `busy-${number}`, body: "{}", receivedAt: "2026-01-02T00:00:00Z" });
    }
    await deliver(sql, { account: 8, id: "older", body: "{}", receivedAt: "2026-01-01T00:00:00Z" });

    await sql.rows("select inbox.purge_bodies('2026-06-01T00:00:00Z', 2)");

    expect(await sql.value("select purged_at is not null from inbox.deliveries where delivery_id = 'older'")).toBe(
      true,
    );
  }));

test("two admins cannot remove each other at once", async () => {
  const [one, other] = [await database.connect(), await database.connect()];
  const ids = ["00000000-0000-4000-8000-0000000000a1", "00000000-0000-4000-8000-0000000000a2"];
  for (const id of ids) {
    await one.query("insert into auth.users (id, email) values ($1, $2)", [id, `${id}@example.com`]);
    await one.query("insert into access.members (account_id, user_id, role) values (77, $1, 'admin')", [id]);
  }

  await one.query("begin");
  await one.query("select api.set_member(77, $1, 'viewer')", [ids[1]]);
  const second = other.query("select api.set_member(77, $1, 'viewer')", [ids[0]]).then(
    () => "done",
    (error) => error.code,
  );
  await one.query("select pg_sleep(0.2)");
  await one.query("commit");

  expect(await second).toBe("OC409");
  await one.query("delete from access.members where account_id = 77");
});
