// The rule of the mirror, for every kind of row: of each field the newest value stays, in whatever order the records
// come and however often.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

type Row = Record<string, unknown>;

const text = fc.constantFrom(null, "", "a", "b", "ä");
const flag = fc.constantFrom(null, true, false);
const id = fc.constantFrom<unknown>(null, 1, 7, "12");
const instant = fc.constantFrom<unknown>(
  null,
  "2026-11-20T09:00:00Z",
  "2026-11-20T10:00:00+01:00",
  "2026-11-20T09:00:00.5Z",
);
const availability = fc.constantFrom(null, "online", "busy", "offline");
const json = fc.constantFrom<unknown>(null, {}, { a: 1 }, { a: 1.0, b: [2] });

/** Fields that come together or not at all are in one group. */
const single = (fields: Record<string, fc.Arbitrary<unknown>>) =>
  Object.entries(fields).map(([name, value]) => fc.record({ [name]: value }) as fc.Arbitrary<Row>);

const pair = (kind: string, kinds: string[], key: string) =>
  fc.constantFrom<Row>(
    { [kind]: null, [key]: null },
    ...kinds.flatMap((name) => [3, 7].map((number) => ({ [kind]: name, [key]: number }))),
  );

interface Kind {
  table: string;
  groups: fc.Arbitrary<Row>[];
  /** With account, record and version as $1 to $3, and the further arguments as an object in $4. */
  merge: string;
  /** Fields beside the record, each a register of its own. */
  further?: fc.Arbitrary<Row>;
  before?: string;
}

const KINDS: Record<string, Kind> = {
  account: {
    table: "accounts",
    groups: single({ name: text }),
    merge: "chatwoot.merge_account($1, $2, $3)",
  },
  inbox: {
    table: "inboxes",
    groups: single({
      name: text,
      channel: text,
      time_zone: text,
      working_hours: json,
      csat_survey_enabled: flag,
      created_at: instant,
    }),
    merge: "chatwoot.merge_inbox($1, 3, $2, $3)",
  },
  agent: {
    table: "agents",
    groups: single({ name: text, available_name: text, email: text, availability }),
    merge: "chatwoot.merge_agent($1, 'user', 7, $2, $3)",
  },
  team: {
    table: "teams",
    groups: single({ name: text }),
    merge: "chatwoot.merge_team($1, 2, $2, $3)",
  },
  contact: {
    table: "contacts",
    groups: single({
      name: text,
      email: text,
      phone_number: text,
      identifier: text,
      blocked: flag,
      additional_attributes: json,
      custom_attributes: json,
    }),
    merge: "chatwoot.merge_contact($1, 205, $2, $3)",
  },
  conversation: {
    table: "conversations",
    groups: [
      pair("assignee_kind", ["user", "agent_bot"], "assignee_id"),
      ...single({
        inbox_id: id,
        contact_id: id,
        channel: text,
        status: fc.constantFrom(null, "open", "resolved", "pending", "snoozed"),
        priority: fc.constantFrom(null, "low", "urgent"),
        team_id: id,
        labels: fc.constantFrom(null, [], ["x"], ["x", "y, z"]),
        contact_source_id: text,
        additional_attributes: json,
        custom_attributes: json,
        snoozed_until: instant,
        waiting_since: instant,
        first_reply_created_at: instant,
        agent_last_seen_at: instant,
        contact_last_seen_at: instant,
        last_activity_at: instant,
        created_at: instant,
      }),
    ],
    merge: "chatwoot.merge_conversation($1, 42, $2, $3)",
  },
  message: {
    table: "messages",
    groups: [
      pair("sender_kind", ["contact", "user"], "sender_id"),
      fc.constant({ conversation_display_id: 42 }),
      ...single({
        inbox_id: id,
        message_type: fc.constantFrom(null, "incoming", "template"),
        content_type: text,
        content: text,
        private: flag,
        source_id: text,
        attachments: json,
        content_attributes: json,
        additional_attributes: json,
        created_at: instant,
      }),
    ],
    merge:
      `chatwoot.merge_message($1, 9001, '{"conversation_display_id": 42}' || $2::jsonb, $3, $4::jsonb ->> 'delivery_status',
      ($4::jsonb ->> 'delivery_status_at')::timestamptz, ($4::jsonb ->> 'deleted_at')::timestamptz)`,
    further: fc.record({
      delivery_status: fc.constantFrom(null, "sent", "delivered", "read", "failed"),
      delivery_status_at: instant,
      deleted_at: instant,
    }),
    before: "select chatwoot.merge_conversation($1, 42, '{\"status\": \"open\"}', '2026-11-20T08:00:00Z')",
  },
  "survey answer": {
    table: "csat_responses",
    groups: [
      fc.constant({ conversation_display_id: 42 }),
      ...single({ rating: fc.constantFrom(null, 1, 5), feedback_message: text }),
    ],
    merge: `chatwoot.merge_csat_response($1, 9010, '{"conversation_display_id": 42}' || $2::jsonb, $3)`,
    before: `select chatwoot.merge_conversation($1, 42, '{"status": "open"}', '2026-11-20T08:00:00Z'),
      chatwoot.merge_message($1, 9010, '{"conversation_display_id": 42}', '2026-11-20T08:00:00Z')`,
  },
};

// Few and some minutes apart, so that many records are of the same instant, and names unchanged for a while come too.
const VERSIONS = [0, 2, 4, 6].map((minutes) => new Date(Date.UTC(2026, 10, 20, 9, minutes)).toISOString());

interface Merged {
  record: Row;
  version: string;
  further: Row;
}

const recordsOf = ({ groups, further = fc.constant({}) }: Kind): fc.Arbitrary<Merged[]> => {
  const whole = fc.tuple(...groups);
  const partial = fc.tuple(...groups.map((group) => fc.option(group, { nil: {}, freq: 2 })));
  const record = fc.oneof(whole, whole, partial).map((parts) => Object.assign({}, ...parts) as Row);
  return fc.array(
    fc.record({ record, version: fc.constantFrom(...VERSIONS), further }),
    { minLength: 2, maxLength: 6 },
  );
};

const FINEST = ["created_at", "first_reply_created_at"];

let nextAccount = 1;

/** Merges the records in an account of their own and returns the row that they end in. */
async function mergeAll(sql: Sql, kind: Kind, records: Merged[]): Promise<Row> {
  const account = nextAccount++;
  if (kind.before) await sql.rows(kind.before, [account]);
  for (const { record, version, further } of records) {
    const values: unknown[] = [account, JSON.stringify(record), version];
    if (kind.further) values.push(JSON.stringify(further));
    await sql.rows(`select ${kind.merge}`, values);
  }
  return await sql.value(
    `select to_jsonb(rows) - array['account_id', 'version_at', 'field_versions'] from chatwoot.${kind.table} as rows
    where account_id = $1`,
    [account],
  );
}

test.each(Object.entries(KINDS))("a row of kind %s ends the same in any order, doubled or not", async (_, kind) => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);

  await fc.assert(
    fc.asyncProperty(
      recordsOf(kind).chain((records) =>
        fc.record({
          records: fc.constant(records),
          mixed: fc.shuffledSubarray([...records, ...records], { minLength: records.length * 2 }),
        })
      ),
      ({ records, mixed }) =>
        database.rolledBack(async (sql) => {
          const inOrder = await mergeAll(sql, kind, records);

          expect(await mergeAll(sql, kind, mixed)).toEqual(inOrder);
          expect(await mergeAll(sql, kind, records.toReversed())).toEqual(inOrder);
        }),
    ),
    { seed, numRuns: 60 },
  );
});

test.each(Object.entries(KINDS))("of each field of kind %s the newest value stays", async (_, kind) => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  const distinct = fc.uniqueArray(recordsOf(kind).map((records) => records[0]), {
    selector: ({ version }) => version,
    minLength: 2,
    maxLength: VERSIONS.length,
  });

  await fc.assert(
    fc.asyncProperty(distinct, (records) =>
      database.rolledBack(async (sql) => {
        const row = await mergeAll(sql, kind, records);

        // Nothing comes after a deletion.
        const age = ({ version, further }: Merged) => `${further.deleted_at ? 1 : 0} ${version}`;
        const oldestFirst = records.toSorted((one, other) => age(one) < age(other) ? -1 : 1);
        const newest: Row = Object.assign({}, ...oldestFirst.map(({ record }) => record));
        // Written by the table's own types, as the row is.
        const expected = await sql.value<Row>(
          `select to_jsonb(jsonb_populate_record(null::chatwoot.${kind.table}, $1))`,
          [newest],
        );
        for (const field of Object.keys(newest)) {
          // These never change: of several readings the finest stands, which is the greatest.
          if (FINEST.includes(field)) continue;
          expect(row[field], field).toEqual(expected[field]);
        }
        for (const field of FINEST.filter((name) => name in newest)) {
          const readings = records.map(({ record }) => record[field]).filter((value) => typeof value === "string");
          const finest = readings.length === 0 ? null : Math.max(...readings.map((value) => Date.parse(value)));
          expect(row[field] === null ? null : Date.parse(String(row[field])), field).toBe(finest);
        }
      })),
    { seed, numRuns: 25 },
  );
});
