// What is read on purpose is merged by the thousand: it must end as it would one by one, write nothing that is known, and
// stand above webhooks of the same version whatever the clocks.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

const SEED = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const U = "2026-11-20T09:00:00.123456Z";
const READ_AT = "2026-11-20T10:00:00Z";
const later = (instant: string, seconds: number) => new Date(Date.parse(instant) + seconds * 1000).toISOString();

type Row = Record<string, unknown>;

const contact = (changes: Row = {}): Row => ({
  account_id: 1,
  contact_id: 205,
  name: "Dana",
  email: "dana@example.com",
  phone_number: null,
  identifier: null,
  blocked: false,
  additional_attributes: {},
  custom_attributes: {},
  version_at: U,
  ...changes,
});

const conversation = (changes: Row = {}): Row => ({
  account_id: 1,
  display_id: 42,
  database_id: null,
  inbox_id: 3,
  contact_id: 205,
  channel: "Channel::WebWidget",
  status: "open",
  priority: null,
  assignee_kind: null,
  assignee_id: null,
  team_id: null,
  labels: [],
  contact_source_id: "a",
  additional_attributes: {},
  custom_attributes: {},
  snoozed_until: null,
  waiting_since: null,
  first_reply_created_at: null,
  agent_last_seen_at: null,
  contact_last_seen_at: null,
  last_activity_at: "2026-11-20T09:00:00Z",
  created_at: "2026-11-20T09:00:00Z",
  version_at: U,
  ...changes,
});

const message = (changes: Row = {}): Row => ({
  account_id: 1,
  message_id: 9001,
  conversation_display_id: 42,
  inbox_id: 3,
  message_type: "incoming",
  content_type: "text",
  content: "Hello",
  private: false,
  sender_kind: "contact",
  sender_id: 205,
  source_id: null,
  attachments: [],
  content_attributes: {},
  additional_attributes: {},
  created_at: "2026-11-20T09:00:00Z",
  delivery_status: "sent",
  delivery_status_at: U,
  deleted_at: null,
  version_at: U,
  ...changes,
});

type Table = "contacts" | "conversations" | "messages";

/** Merges whole records as one set; returns how many rows changed. */
const merge = (sql: Sql, table: Table, rows: Row[], readAt: string | null = null) =>
  sql.value<string>(
    `select chatwoot.merge_${table}(array(
      select given from jsonb_populate_recordset(null::chatwoot.${table}, $1) as given), $2)`,
    [JSON.stringify(rows), readAt],
  ).then(Number);

const standing = (sql: Sql, table: Table) =>
  sql.value<Row>(`select jsonb_agg(to_jsonb(rows) - 'account_id' order by rows) from chatwoot.${table} as rows`);

const VERSIONS = [0, 1, 120].map((seconds) => later("2026-11-20T09:00:00Z", seconds));

const CASES: { table: Table; row: fc.Arbitrary<Row> }[] = [
  {
    table: "contacts",
    row: fc.record({
      contact_id: fc.constantFrom(205, 206),
      name: fc.constantFrom("Dana", "Dana Ford", null),
      blocked: fc.boolean(),
      version_at: fc.constantFrom(...VERSIONS),
    }).map(contact),
  },
  {
    table: "conversations",
    row: fc.record({
      display_id: fc.constantFrom(42, 43),
      status: fc.constantFrom("open", "resolved"),
      labels: fc.constantFrom([], ["vip"]),
      created_at: fc.constantFrom("2026-11-20T09:00:00Z", "2026-11-20T09:00:00.4Z", null),
      first_reply_created_at: fc.constantFrom(null, "2026-11-20T09:07:30Z", "2026-11-20T09:07:30.108Z"),
      version_at: fc.constantFrom(...VERSIONS),
    }).map(conversation),
  },
  {
    table: "messages",
    row: fc.record({
      message_id: fc.constantFrom(9001, 9002),
      content: fc.constantFrom("Hello", "Hello!", null),
      delivery_status: fc.constantFrom("sent", "read"),
      delivery_status_at: fc.constantFrom(null, ...VERSIONS),
      deleted_at: fc.constantFrom(null, null, ...VERSIONS),
      version_at: fc.constantFrom(...VERSIONS),
      // A status comes with its version or not at all.
    }).map((row) => message({ ...row, delivery_status: row.delivery_status_at === null ? null : row.delivery_status })),
  },
];

describe.each(CASES)("$table", ({ table, row }) => {
  test("merged as a set end as they do one by one, in any order and doubled", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { minLength: 1, maxLength: 5 }).chain((rows) =>
          fc.record({
            rows: fc.constant(rows),
            mixed: fc.shuffledSubarray([...rows, ...rows], { minLength: rows.length }),
          })
        ),
        ({ rows, mixed }) =>
          database.rolledBack(async (sql) => {
            await merge(
              sql,
              "conversations",
              [conversation(), conversation({ display_id: 43 })].slice(0, table === "messages" ? 2 : 0),
            );
            await sql.rows("savepoint before");
            for (const one of [...rows, ...mixed]) await merge(sql, table, [one]);
            const oneByOne = await standing(sql, table);
            await sql.rows("rollback to savepoint before");

            // A set holds each row once; what is doubled comes in a further set.
            const sets: Row[][] = [];
            for (const one of [...mixed, ...rows]) {
              const key = (other: Row) => JSON.stringify([other.contact_id, other.display_id, other.message_id]);
              const free = sets.find((set) => !set.some((other) => key(other) === key(one)));
              if (free) free.push(one);
              else sets.push([one]);
            }
            for (const set of sets) await merge(sql, table, set);

            expect(await standing(sql, table)).toEqual(oneByOne);
          }),
      ),
      { seed: SEED, numRuns: 40 },
    );
  });
});

describe("what was read on purpose", () => {
  test("is not written again when it says the same", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, "contacts", [contact()]);
      await merge(sql, "conversations", [conversation()]);
      await merge(sql, "messages", [message()]);
      const places = `select array[(select ctid from chatwoot.contacts), (select ctid from chatwoot.conversations),
        (select ctid from chatwoot.messages)]::text`;
      const before = await sql.value(places);

      for (const seconds of [0, 60, 86_400]) {
        expect(await merge(sql, "contacts", [contact()], later(READ_AT, seconds))).toBe(0);
        expect(await merge(sql, "conversations", [conversation()], later(READ_AT, seconds))).toBe(0);
        expect(await merge(sql, "messages", [message()], later(READ_AT, seconds))).toBe(0);
      }

      expect(await sql.value(places)).toBe(before);
    }));

  test("outranks a webhook of the same version, and a later reading an earlier one", () =>
    database.rolledBack(async (sql) => {
      const status = "select status from chatwoot.conversations";
      await merge(sql, "conversations", [conversation({ status: "resolved" })]);
      await merge(sql, "conversations", [conversation({ status: "open" })], READ_AT);
      await merge(sql, "conversations", [conversation({ status: "resolved" })]);
      expect(await sql.value(status)).toBe("open");

      await merge(sql, "conversations", [conversation({ status: "snoozed" })], later(READ_AT, 5));
      await merge(sql, "conversations", [conversation({ status: "open" })], READ_AT);
      expect(await sql.value(status)).toBe("snoozed");
    }));

  test.each([-86_400, 0, 86_400])(
    "never outranks a change that came after it, our clock off by %d seconds",
    (skew) =>
      database.rolledBack(async (sql) => {
        await merge(sql, "conversations", [conversation({ status: "open" })], later(READ_AT, skew));

        // Half a second after the reading, by Chatwoot's own clock.
        await merge(sql, "conversations", [conversation({ status: "resolved", version_at: later(READ_AT, 0.5) })]);

        expect(await sql.value("select status from chatwoot.conversations")).toBe("resolved");
      }),
  );

  test("stamps a version it is newer than, so that a late webhook between the two loses", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, "conversations", [conversation({ status: "open" })]);
      await merge(sql, "conversations", [conversation({ status: "open", version_at: later(U, 20) })], READ_AT);

      await merge(sql, "conversations", [conversation({ status: "resolved", version_at: later(U, 10) })]);

      expect(await sql.value("select status from chatwoot.conversations")).toBe("open");
    }));

  test("revives what was taken for deleted before, by old news or new", () =>
    database.rolledBack(async (sql) => {
      const deleted = "select deleted_at is not null from chatwoot.conversations";
      await merge(sql, "conversations", [conversation()]);
      await sql.rows("select chatwoot.bury('conversation', 1, 42, $1)", [READ_AT]);

      await merge(sql, "conversations", [conversation({ status: "resolved", version_at: later(U, 1) })]);
      await merge(sql, "conversations", [conversation()], later(READ_AT, -60));
      expect(await sql.value(deleted)).toBe(true);

      expect(await merge(sql, "conversations", [conversation({ version_at: later(U, 1) })], later(READ_AT, 60))).toBe(
        1,
      );
      expect(await sql.value(deleted)).toBe(false);
    }));

  test("tells Chatwoot's own id once, and finer instants without being newer", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, "conversations", [conversation({ version_at: later(U, 60) })]);

      await merge(
        sql,
        "conversations",
        [conversation({ database_id: 18233, created_at: "2026-11-20T09:00:00.412345Z" })],
        READ_AT,
      );
      await merge(sql, "conversations", [conversation({ version_at: later(U, 90) })]);

      const [row] = await sql.rows("select database_id, created_at::text from chatwoot.conversations");
      expect(row.database_id).toBe("18233");
      expect(row.created_at).toContain("09:00:00.412345");
    }));

  test("deleted stays deleted, though older copies come later", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, "conversations", [conversation()]);
      const gone = message({ content: "Deleted", content_attributes: { deleted: true }, deleted_at: U });
      await merge(sql, "messages", [gone], READ_AT);

      await merge(sql, "messages", [message({ version_at: later(READ_AT, 3600) })]);

      await sql.resultsEqual("select content, deleted_at is not null as gone from chatwoot.messages", [
        { content: "Deleted", gone: true },
      ]);
    }));

  test("is no news when nothing it says differs, whatever it leaves out", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, "conversations", [conversation()]);
      await merge(sql, "messages", [message({ created_at: "2026-11-20T09:00:00.412Z" })]);
      const isNews = (record: Row, id = 9001) =>
        sql.value(
          "select chatwoot.is_news('chatwoot.messages', jsonb_build_object('account_id', 1, 'message_id', $1::bigint), $2)",
          [
            id,
            JSON.stringify(record),
          ],
        );

      expect(await isNews({ content: "Hello", created_at: "2026-11-20T09:00:00Z", sender_id: "205" })).toBe(false);
      expect(await isNews({ content: "Hello!" })).toBe(true);
      expect(await isNews({ created_at: "2026-11-20T09:00:00.412345Z" })).toBe(true);
      expect(await isNews({ content: "Hello" }, 9002)).toBe(true);
    }));
});

test.each([
  { text: "one line", kept: "one line" },
  { text: "two\nlines\n\n", kept: "two\nlines" },
  { text: "a break\\\nkept", kept: "a break\nkept" },
  { text: "a break\\\r\nkept\r\n", kept: "a break\r\nkept" },
  { text: "two \\\\\nbackslashes", kept: "two \\\nbackslashes" },
  { text: "at the end \\", kept: "at the end \\" },
  { text: "\n", kept: "" },
  { text: null, kept: null },
])("the text $text is kept as $kept", ({ text, kept }) =>
  database.rolledBack(async (sql) => {
    expect(await sql.value("select chatwoot.canonical_text($1)", [text])).toBe(kept);
  }));
