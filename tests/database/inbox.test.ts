import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  contactEvent,
  conversation,
  conversationEvent,
  inboxEvent,
  messageEvent,
  nestedMessage,
  type Payload,
  typing,
  widgetTriggered,
} from "../fixtures/webhooks.ts";
import { type Sql, useDatabase } from "../support/database.ts";
import { countOf, deliver, kept, MIRROR, mirror } from "./deliver.ts";

const database = useDatabase();

const sha256 = (body: string | Buffer) => createHash("sha256").update(body).digest();

async function expectEmptyMirror(sql: Sql): Promise<void> {
  expect(await mirror(sql)).toEqual(Object.fromEntries(MIRROR.map((table) => [table, []])));
}

describe("what becomes of a delivery", () => {
  test("one that can be read is kept byte for byte and applied", () =>
    database.rolledBack(async (sql) => {
      const body = JSON.stringify(messageEvent("message_created"), null, 3);

      const outcome = await deliver(sql, { id: "d1", body, headers: { "user-agent": "Chatwoot" } });

      expect(outcome).toBe("applied");
      expect(await kept(sql, "d1")).toEqual({
        event: "message_created",
        outcome: "applied",
        reason: null,
        note: null,
        redeliveries: 0,
        conflicts: 0,
        body: Buffer.from(body),
        body_sha256: sha256(body),
      });
      await sql.resultsEqual("select message_id, content, sender_kind, sender_id from chatwoot.messages", [
        { message_id: "9001", content: "My invoice 4711 is wrong", sender_kind: "contact", sender_id: "205" },
      ]);
      await sql.resultsEqual("select display_id, status, contact_id from chatwoot.conversations", [
        { display_id: "42", status: "open", contact_id: "205" },
      ]);
    }));

  test("the same delivery again is counted and changes nothing", () =>
    database.rolledBack(async (sql) => {
      const delivery = { id: "d1", body: messageEvent("message_created") };
      await deliver(sql, delivery);
      const before = await mirror(sql, { whole: true });

      expect(await deliver(sql, delivery)).toBe("duplicate");
      expect(await deliver(sql, delivery)).toBe("duplicate");

      expect(await mirror(sql, { whole: true })).toEqual(before);
      expect(await kept(sql, "d1")).toMatchObject({ outcome: "applied", redeliveries: 2, conflicts: 0 });
      expect(await countOf(sql, "inbox.deliveries")).toBe(1);
    }));

  test("the same id with another body leaves the first in place and records the conflict", () =>
    database.rolledBack(async (sql) => {
      const first = JSON.stringify(contactEvent("contact_created"));
      const second = JSON.stringify(contactEvent("contact_created", { name: "Mallory" }));
      await deliver(sql, { id: "d1", body: first });

      expect(await deliver(sql, { id: "d1", body: second })).toBe("duplicate");
      expect(await deliver(sql, { id: "d1", body: first })).toBe("duplicate");

      expect(await kept(sql, "d1")).toMatchObject({ body: Buffer.from(first), redeliveries: 2, conflicts: 1 });
      expect(await sql.value("select last_conflict_sha256 from inbox.deliveries")).toEqual(sha256(second));
      expect(await sql.value("select name from chatwoot.contacts")).toBe("Dana");
    }));

  test("two accounts may use the same delivery id", () =>
    database.rolledBack(async (sql) => {
      const other = contactEvent("contact_created", { account: { id: 2, name: "Other" } });

      expect(await deliver(sql, { id: "d1", body: contactEvent("contact_created") })).toBe("applied");
      expect(await deliver(sql, { account: 2, id: "d1", body: other })).toBe("applied");

      expect(await countOf(sql, "inbox.deliveries")).toBe(2);
    }));

  test.each([
    { name: "typing on", body: typing(), reason: "Typing says nothing that lasts." },
    {
      name: "typing off",
      body: typing({ event: "conversation_typing_off" }),
      reason: "Typing says nothing that lasts.",
    },
    { name: "an unknown event", body: { event: "call_started" }, reason: "The event call_started is not known." },
    {
      name: "an unknown event with dots",
      body: { event: "message.created", id: 1 },
      reason: "The event message.created is not known.",
    },
    { name: "no event at all", body: conversation(), reason: "The payload names no event." },
    { name: "an event that is no text", body: { event: { of: 1 } }, reason: "The payload names no event." },
    { name: "an empty object", body: {}, reason: "The payload names no event." },
    {
      name: "an automation event of no known shape",
      body: { event: "automation_event.message_created" },
      reason: "The event automation_event.message_created is not known.",
    },
    {
      name: "an inbox event that does not say of which inbox",
      body: inboxEvent("inbox_updated", { working_hours: [], account: undefined }),
      reason: "The payload does not say which inbox it is about.",
    },
    {
      name: "an inbox event without working hours",
      body: inboxEvent("inbox_created", { working_hours: undefined, account: undefined }),
      reason: "The payload does not say which inbox it is about.",
    },
  ])("ignored, and kept with the reason: $name", ({ body, reason }) =>
    database.rolledBack(async (sql) => {
      const text = JSON.stringify(body);

      expect(await deliver(sql, { id: "d1", body: text })).toBe("ignored");

      expect(await kept(sql, "d1")).toMatchObject({ outcome: "ignored", reason, body: Buffer.from(text) });
      await expectEmptyMirror(sql);
    }));

  const nested = (depth: number) =>
    '{"event":"contact_created","id":1,"deep":'.concat("[".repeat(depth), "]".repeat(depth), "}");

  test.each([
    { name: "bytes that are not UTF-8", body: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), reason: /not UTF-8/ },
    { name: "a NUL byte", body: Buffer.from([0x7b, 0x00, 0x7d]), reason: /not UTF-8/ },
    { name: "an empty body", body: "", reason: /not JSON/ },
    { name: "half a body", body: JSON.stringify(contactEvent("contact_created")).slice(0, -9), reason: /not JSON/ },
    { name: "form values", body: "event=contact_created&id=1", reason: /not JSON/ },
    { name: "a byte order mark", body: "\ufeff{}", reason: /not JSON/ },
    { name: "NaN", body: '{"event":"contact_created","id":NaN}', reason: /not JSON/ },
    { name: "two documents", body: "{}{}", reason: /not JSON/ },
    { name: "a JSON text", body: '"contact_created"', reason: /not an object/ },
    { name: "a JSON number", body: "42", reason: /not an object/ },
    { name: "null", body: "null", reason: /not an object/ },
    { name: "a JSON array", body: `[${JSON.stringify(contactEvent("contact_created"))}]`, reason: /not an object/ },
    { name: "a depth of 100,000", body: nested(100_000), reason: /nested too deep/ },
    {
      name: "the number 1e200000",
      body: '{"event":"contact_created","id":1e200000}',
      reason: /number that is too large/,
    },
    { name: "a 20-digit id", body: '{"event":"contact_created","id":12345678901234567890}', reason: /^22003/ },
    { name: "a fraction as id", body: { event: "contact_created", id: 1.5 }, reason: /^22P02/ },
    { name: "a negative id", body: { event: "contact_created", id: -1 }, reason: /^23514/ },
    { name: "no id", body: { event: "contact_created", name: "Dana" }, reason: /^OC422: .*has no id/ },
    {
      name: "a message without its conversation",
      body: messageEvent("message_created", { conversation: null }),
      reason: /^OC422: The (message|conversation) has no id/,
    },
    {
      name: "a status that does not exist",
      body: conversationEvent("conversation_updated", { status: "closed" }),
      reason: /^23514.*conversations_status_known/,
    },
    {
      name: "an instant that means something else at every reading",
      body: conversationEvent("conversation_updated", { updated_at: "now" }),
      reason: /^22007: Not an instant$/,
    },
  ])("dead, and kept with the reason: $name", ({ body, reason }) =>
    database.rolledBack(async (sql) => {
      const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));

      expect(await deliver(sql, { id: "d1", body: bytes })).toBe("dead");

      const row = await kept(sql, "d1");
      expect(row).toMatchObject({ outcome: "dead", body: bytes, body_sha256: sha256(bytes) });
      expect(row?.reason).toMatch(reason);
      await expectEmptyMirror(sql);
    }));

  test.each([
    { name: "a depth of 10", body: nested(10) },
    { name: "2^53 - 1 as id", body: '{"event":"contact_created","id":9007199254740991}', id: "9007199254740991" },
    { name: "2^53 + 1 as id", body: '{"event":"contact_created","id":9007199254740993}', id: "9007199254740993" },
    { name: "an id as text", body: { event: "contact_created", id: "7" }, id: "7" },
    {
      name: "keys that are dangerous elsewhere",
      body: '{"event":"contact_created","id":1,"__proto__":{"id":9},"constructor":{"prototype":{"id":9}}}',
    },
    {
      name: "a key given twice, of which the last counts",
      body: '{"event":"x","event":"contact_created","id":9,"id":1}',
    },
    { name: "keys nobody knows", body: contactEvent("contact_created", { id: 1, new_in_version_9: { a: [1] } }) },
    { name: "keys that are missing", body: { event: "contact_created", id: 1 } },
    { name: "white space around it", body: '\r\n\t {"event":"contact_created","id":1}\n' },
  ])("applied all the same: $name", ({ body, id = "1" }) =>
    database.rolledBack(async (sql) => {
      expect(await deliver(sql, { id: "d1", body })).toBe("applied");

      expect(await kept(sql, "d1")).toMatchObject({ event: "contact_created", reason: null, note: null });
      await sql.resultsEqual("select contact_id from chatwoot.contacts", [{ contact_id: id }]);
    }));

  test("a depth of 6,000 is kept, whether or not this server's stack can read it", () =>
    database.rolledBack(async (sql) => {
      const outcome = await deliver(sql, { id: "d1", body: nested(6_000) });

      expect(["applied", "dead"]).toContain(outcome);
      expect((await kept(sql, "d1"))?.body).toEqual(Buffer.from(nested(6_000)));
    }));
});

describe("what people write but jsonb refuses", () => {
  const NOTED = /U\+FFFD/;

  test.each([
    { name: "U+0000", written: String.raw`a\u0000b`, read: "a\ufffdb", noted: true },
    { name: "a lone high surrogate", written: String.raw`a\ud83db`, read: "a\ufffdb", noted: true },
    { name: "a lone low surrogate", written: String.raw`a\udE00b`, read: "a\ufffdb", noted: true },
    {
      name: "two high surrogates and a low one",
      written: String.raw`\ud83d\ud83d\ude00`,
      read: "\ufffd\u{1f600}",
      noted: true,
    },
    { name: "surrogates the wrong way round", written: String.raw`\ude00\ud83d`, read: "\ufffd\ufffd", noted: true },
    { name: "a pair beside U+0000", written: String.raw`\ud83d\ude00\u0000`, read: "\u{1f600}\ufffd", noted: true },
    { name: "a pair", written: String.raw`\ud83d\ude00`, read: "\u{1f600}", noted: false },
    { name: "an escaped backslash before u0000", written: String.raw`\\u0000`, read: String.raw`\u0000`, noted: false },
    {
      name: "an escaped backslash before u0000, beside a real U+0000",
      written: String.raw`\\u0000\u0000\\\u0000\\\\ud83d`,
      read: String.raw`\u0000` + "\ufffd\\\ufffd" + String.raw`\\ud83d`,
      noted: true,
    },
    { name: "an escaped control character", written: String.raw`\u0001\n`, read: "\u0001\n", noted: false },
    {
      name: "an escaped control character beside U+0000",
      written: String.raw`\u0001\u0000`,
      read: "\u0001\ufffd",
      noted: true,
    },
  ])("$name reads as it must, and is applied", ({ written, read, noted }) =>
    database.rolledBack(async (sql) => {
      const body = `{"event":"contact_created","id":1,"name":"${written}"}`;

      expect(await deliver(sql, { id: "d1", body })).toBe("applied");

      expect(await sql.value("select name from chatwoot.contacts")).toBe(read);
      const row = await kept(sql, "d1");
      expect(row?.body).toEqual(Buffer.from(body));
      if (noted) expect(row?.note).toMatch(NOTED);
      else expect(row?.note).toBeNull();
    }));

  test("mending does not make JSON of what is none", () =>
    database.rolledBack(async (sql) => {
      expect(await deliver(sql, { id: "d1", body: String.raw`{"event":"\u0000",` })).toBe("dead");
      expect(await kept(sql, "d1")).toMatchObject({ reason: "The body is not JSON.", note: null });
    }));
});

describe("a payload of another account than the secret's", () => {
  const other = { id: 2, name: "Other" };

  test.each<{ place: string; body: Payload }>([
    { place: "account.id", body: conversationEvent("conversation_updated", { account: other }) },
    {
      place: "conversation.account.id",
      body: messageEvent("message_created", { account: undefined, conversation: conversation({ account: other }) }),
    },
    {
      place: "messages[0].account_id",
      body: conversationEvent("conversation_created", {
        account: undefined,
        messages: [nestedMessage({ account_id: 2 })],
      }),
    },
    {
      place: "conversation.messages[0].account_id",
      body: messageEvent("message_created", {
        account: undefined,
        conversation: conversation({ account: undefined, messages: [nestedMessage({ account_id: 2 })] }),
      }),
    },
    {
      place: "contact.account.id",
      body: widgetTriggered({ account: undefined, contact: { id: 205, account: other } }),
    },
    {
      place: "sender.account.id",
      body: messageEvent("message_created", { sender: { id: 205, name: "Dana", account: other } }),
    },
    {
      place: "current_conversation.account.id",
      body: widgetTriggered({ account: undefined, current_conversation: conversation({ account: other }) }),
    },
    { place: "account.id as text", body: contactEvent("contact_created", { account: { id: "2" } }) },
    {
      place: "account.id beyond 2^63",
      body: contactEvent("contact_created", { account: { id: "92233720368547758080" } }),
    },
    {
      place: "working_hours[0].account_id",
      body: inboxEvent("inbox_updated", {
        account: undefined,
        working_hours: [{ id: 15, inbox_id: 3, account_id: 2, day_of_week: 0 }],
      }),
    },
    {
      place: "channel.account_id",
      body: inboxEvent("inbox_updated", { account: undefined, working_hours: [], channel: { id: 3, account_id: 2 } }),
    },
    {
      place: "user.account.id",
      body: typing({
        conversation: conversation({ account: undefined, messages: [] }),
        user: { id: 205, account: other },
      }),
    },
    {
      place: "account.id of an event that is ignored",
      body: typing({ conversation: conversation({ account: other }) }),
    },
  ])("is refused and nothing of it kept: $place", ({ body }) =>
    database.rolledBack(async (sql) => {
      expect(await deliver(sql, { id: "d1", body })).toBe("refused");

      expect(await countOf(sql, "inbox.deliveries")).toBe(0);
      await expectEmptyMirror(sql);
    }));

  test.each([
    { name: "an inbox's", body: inboxEvent("inbox_updated", { id: "abc" }) },
    { name: "a widget's", body: widgetTriggered({ id: "abc" }) },
    {
      name: "a widget's in a conversation",
      body: widgetTriggered({ id: "abc", current_conversation: conversation() }),
    },
  ])(
    "an id that nothing hangs on may be anything: $name, time after time",
    ({ body }) =>
      database.rolledBack(async (sql) => {
        // So often that Postgres has tried a plan for this payload and one for any.
        for (let time = 0; time < 8; time++) expect(await deliver(sql, { id: `d${time}`, body })).toBe("applied");
      }),
  );

  test("a payload that names no account, as older versions send it, is taken for the secret's", () =>
    database.rolledBack(async (sql) => {
      const body = conversationEvent("conversation_created", { account: undefined, messages: [] });

      expect(await deliver(sql, { id: "d1", body })).toBe("applied");

      expect(await sql.value("select account_id from chatwoot.conversations")).toBe("1");
    }));
});

describe("the door's call", () => {
  test("the service role records through api.record_webhook and gets the outcome back", () =>
    database.rolledBack(async (sql) => {
      const body = Buffer.from(JSON.stringify(contactEvent("contact_created")));

      await sql.as("service_role", null, () =>
        sql.resultsEqual(
          "select * from api.record_webhook(1, 'd1', $1, '{\"a\": \"b\"}', 'url_secret', null)",
          [{ outcome: "applied" }],
          [body],
        ));

      await sql.resultsEqual("select proof, signed_at, headers from inbox.deliveries", [
        { proof: "url_secret", signed_at: null, headers: { a: "b" } },
      ]);
    }));

  test.each(["anon", "authenticated", "analyst"] as const)(
    "%s may not record",
    (role) =>
      database.rolledBack(async (sql) => {
        for (
          const call of [
            "api.record_webhook(1, 'x', '', '{}', 'signature', null)",
            "inbox.record(1, 'x', '', '{}', 'signature', null)",
          ]
        ) {
          await sql.as(role, null, () => sql.throws("42501", `select ${call}`));
        }
      }),
  );

  test.each([
    { name: "no account", account: "null", id: "'x'", body: "''::bytea", headers: "'{}'", sqlstate: "23502" },
    { name: "account 0", account: "0", id: "'x'", body: "'{}'::bytea", headers: "'{}'", sqlstate: "23514" },
    {
      name: "an id of 201 characters",
      account: "1",
      id: "repeat('x', 201)",
      body: "'{}'::bytea",
      headers: "'{}'",
      sqlstate: "23514",
    },
    { name: "an empty id", account: "1", id: "''", body: "'{}'::bytea", headers: "'{}'", sqlstate: "23514" },
    {
      name: "headers that are no object",
      account: "1",
      id: "'x'",
      body: "'{}'::bytea",
      headers: "'[]'",
      sqlstate: "23514",
    },
    {
      name: "a body over 1 MiB",
      account: "1",
      id: "'x'",
      body: "convert_to(repeat(' ', 1048577), 'UTF8')",
      headers: "'{}'",
      sqlstate: "23514",
    },
  ])(
    "a caller's own mistake is an error and stores nothing: $name",
    ({ account, id, body, headers, sqlstate }) =>
      database.rolledBack(async (sql) => {
        await sql.throws(sqlstate, `select inbox.record(${account}, ${id}, ${body}, ${headers}, 'signature', null)`);

        expect(await countOf(sql, "inbox.deliveries")).toBe(0);
      }),
  );
});
