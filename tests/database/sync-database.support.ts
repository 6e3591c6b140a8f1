// A test database with Chatwoot's tables in schema public, an installation that writes to them, and ticks of the
// database door at chosen instants.
import { readFile } from "node:fs/promises";
import type { Client } from "pg";
import type { ChatwootEvent } from "../../local/chatwoot/engine.ts";
import type { FinalState } from "../../local/chatwoot/final-state.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { type Difference, differencesFrom, MIRROR_KEYS, type MirrorTable } from "../support/mirror-rows.ts";

export const TABLES = Object.keys(MIRROR_KEYS) as MirrorTable[];

export async function setSource(client: Client, schema = "public", account = 1): Promise<void> {
  await client.query("select sync.set_database_source($1, $2)", [account, schema]);
}

/** One round of the database door, as if it were then. */
export async function tick(client: Client, asOf: Date, budget = "45 seconds"): Promise<void> {
  await client.query("call sync.tick_database($1, $2)", [asOf, budget]);
}

// deno-lint-ignore no-explicit-any -- A row of sync.sources, whose columns each test picks from.
export async function source(client: Client, account = 1): Promise<any> {
  const { rows } = await client.query("select * from sync.sources where account_id = $1 and door = 'database'", [
    account,
  ]);
  return rows[0];
}

/** What of the mirror is not as Chatwoot's tables have it; the messages of deleted conversations went with them. */
export async function differences(client: Client, truth: FinalState): Promise<Difference[]> {
  await client.query("begin");
  try {
    for (const table of ["csat_responses", "messages", "reporting_events"]) {
      await client.query(
        `delete from chatwoot.${table} as rows using chatwoot.conversations as gone where gone.deleted_at is not null
        and gone.account_id = rows.account_id and gone.display_id = rows.conversation_display_id`,
      );
    }
    return await differencesFrom(truth, client, {
      tables: TABLES.filter((table) => table !== "labels"),
      // Webhooks only tell roughly when an answer was first there, and the earliest telling stays.
      without: { csat_responses: ["first_answered_at"] },
    });
  } finally {
    await client.query("rollback");
  }
}

/** Some of the webhooks are lost, some come twice, and none in order. Returns how many were lost. */
export async function deliverBadly(
  client: Client,
  events: readonly ChatwootEvent[],
  { seed, lost = 0.3, doubled = 0.1 }: { seed: number; lost?: number; doubled?: number },
): Promise<number> {
  const random = createRandom(seed);
  const kept = events.filter(() => !random.chance(lost));
  const sent = [...kept, ...kept.filter(() => random.chance(doubled))];
  for (let last = sent.length - 1; last > 0; last--) {
    const other = random.integer(Math.max(0, last - 50), last);
    [sent[last], sent[other]] = [sent[other], sent[last]];
  }
  for (const { deliveryId, body, at } of sent) {
    await client.query({
      name: "record",
      text: "select inbox.record(1, $1, $2, '{}', 'signature', $3)",
      values: [deliveryId, Buffer.from(body), at],
    });
  }
  return events.length - kept.length;
}

/** Chatwoot's tables in that schema, empty. */
export async function makeTables(client: Client, schema = "public"): Promise<void> {
  const sql = await readFile(new URL("../../local/chatwoot/schema.sql", import.meta.url), "utf8");
  await client.query(`set search_path = ${schema}, pg_catalog`);
  await client.query(sql);
  await client.query("reset search_path");
}

export const AT = "2026-11-20 09:00:00.123456";

type Row = Record<string, unknown>;

/** Adds a row as Rails would write it; instants are AT unless told. Returns its id. */
export async function add(client: Client, table: string, row: Row, schema = "public"): Promise<number> {
  const { rows: columns } = await client.query<{ name: string }>(
    `select attname as name from pg_attribute where attrelid = $1::regclass and attname in ('created_at', 'updated_at')
    and not attisdropped`,
    [`${schema}.${table}`],
  );
  const whole = { ...Object.fromEntries(columns.map(({ name }) => [name, AT])), ...row };
  const names = Object.keys(whole);
  const { rows } = await client.query(
    `insert into ${schema}.${table} (${names.join(", ")}) values (${names.map((_, place) => `$${place + 1}`)})
    returning id`,
    Object.values(whole),
  );
  return rows[0].id;
}

/** An account with an inbox, a person, a customer and one conversation of one message. */
export async function addBasics(client: Client, { account = 1, schema = "public" } = {}): Promise<void> {
  await add(client, "accounts", { id: account, name: "Acme" }, schema);
  await add(client, "inboxes", {
    id: 3,
    channel_id: 1,
    account_id: account,
    name: "Website",
    channel_type: "Channel::WebWidget",
  }, schema);
  await add(
    client,
    "users",
    { id: 7, name: "Ravi Shah", email: "ravi@acme.example", encrypted_password: "secret" },
    schema,
  );
  await add(client, "account_users", { account_id: account, user_id: 7 }, schema);
  await add(client, "contacts", { id: 205, account_id: account, name: "Dana" }, schema);
  await add(client, "contact_inboxes", { id: 310, contact_id: 205, inbox_id: 3, source_id: "visit-1" }, schema);
  await add(client, "conversations", {
    id: 900,
    account_id: account,
    inbox_id: 3,
    contact_id: 205,
    contact_inbox_id: 310,
    assignee_id: 7,
    waiting_since: AT,
    last_activity_at: AT,
  }, schema);
  await add(client, "messages", message({ id: 9001, account_id: account, content: "Hello" }), schema);
}

export const message = (row: Row): Row => ({
  account_id: 1,
  inbox_id: 3,
  conversation_id: 900,
  message_type: 0,
  sender_type: "Contact",
  sender_id: 205,
  ...row,
});

/** The mirror's row of a message, as JSON. */
export async function mirrored(client: Client, table: string, key: string, id: number): Promise<Row | null> {
  const { rows } = await client.query(`select to_jsonb(rows) as row from chatwoot.${table} as rows where ${key} = $1`, [
    id,
  ]);
  return rows[0]?.row ?? null;
}
