// The mirror's rows in the words of an installation's final state, and what differs between the two.
import { isDeepStrictEqual } from "node:util";
import type { ClientBase } from "pg";
import type { FinalState } from "../../local/chatwoot/final-state.ts";

/** Each table of the mirror with the columns that make a row's key, besides the account. */
export const MIRROR_KEYS = {
  accounts: [],
  inboxes: ["inbox_id"],
  agents: ["kind", "agent_id"],
  teams: ["team_id"],
  labels: ["title"],
  contacts: ["contact_id"],
  conversations: ["display_id"],
  messages: ["message_id"],
  csat_responses: ["message_id"],
  reporting_events: ["event_id"],
} as const;
export type MirrorTable = keyof typeof MIRROR_KEYS;
export type MirrorRow = Record<string, unknown>;

// What the mirror keeps for itself, to know newer from older.
const BOOKKEEPING = ["version_at", "field_versions", "delivery_status_at"];

/**
 * The rows of one table: instants as text to the microsecond, and without what is deleted in Chatwoot. A deleted message
 * stays in both, since Chatwoot keeps its row.
 */
export async function mirrorRows(client: ClientBase, table: MirrorTable, { account = 1 } = {}): Promise<MirrorRow[]> {
  const { rows: columns } = await client.query<{ name: string; is_instant: boolean }>(
    `select attname as name, atttypid = 'timestamptz'::regtype as is_instant from pg_attribute
    where attrelid = ('chatwoot.' || $1)::regclass and attnum > 0 and not attisdropped and attname <> all ($2)`,
    [table, BOOKKEEPING],
  );
  const isBuried = table !== "messages" && columns.some(({ name }) => name === "deleted_at");
  const shown = columns.filter(({ name }) => name !== "deleted_at" || table === "messages").map((
    { name, is_instant },
  ) => is_instant ? `to_char(${name} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${name}` : name);
  const { rows } = await client.query<{ row: MirrorRow }>(
    `select to_json(found) as row from (
      select ${shown.join(", ")} from chatwoot.${table}
      where account_id = $1 ${isBuried ? "and deleted_at is null" : ""}
      order by ${["account_id", ...MIRROR_KEYS[table]].join(", ")}) as found`,
    [account],
  );
  return rows.map(({ row }) => row);
}

export interface Difference {
  table: MirrorTable;
  expected: MirrorRow | null;
  found: MirrorRow | null;
}

export interface Comparison {
  tables?: readonly MirrorTable[];
  /** Columns that are not compared, by table. */
  without?: Partial<Record<MirrorTable, readonly string[]>>;
}

/** At most ten rows a table that differ, lack or are too many: thousands of equal ones would hide them. */
export async function differencesFrom(
  state: FinalState,
  client: ClientBase,
  { tables = ["contacts", "conversations", "messages", "csat_responses"], without = {} }: Comparison = {},
): Promise<Difference[]> {
  const all: Difference[] = [];
  for (const table of tables) {
    const hidden = new Set(without[table] ?? []);
    // When a message was deleted, only Chatwoot's own tables tell; that it was, every door does.
    const compared = (row: MirrorRow): MirrorRow =>
      Object.fromEntries(
        Object.entries(row).filter(([name]) => !hidden.has(name)).map(([name, value]) => [
          name,
          name === "deleted_at" ? value !== null : value,
        ]),
      );
    const keyOf = (row: MirrorRow) => MIRROR_KEYS[table].map((column) => row[column]).join(" ");
    const isSettled = (row: MirrorRow) => !state.unsettled.has(Number(row.message_id));
    const expected: MirrorRow[] = state[table];
    const left = new Map(
      (await mirrorRows(client, table)).filter(isSettled).map((row) => [keyOf(row), compared(row)]),
    );
    const differing: Difference[] = [];
    for (const row of expected.filter(isSettled)) {
      const found = left.get(keyOf(row)) ?? null;
      left.delete(keyOf(row));
      if (!isDeepStrictEqual(found, compared(row))) differing.push({ table, expected: compared(row), found });
    }
    differing.push(...[...left.values()].map((found) => ({ table, expected: null, found })));
    all.push(...differing.slice(0, 10));
  }
  return all;
}
