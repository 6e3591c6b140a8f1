// Deliveries as the webhook door hands them on, and the mirror as it stands afterwards.
import type { Client } from "pg";
import type { Sql } from "../support/database.ts";

export const MIRROR = [
  "accounts",
  "inboxes",
  "agents",
  "teams",
  "labels",
  "contacts",
  "conversations",
  "messages",
  "csat_responses",
] as const;

type Querying = Sql | Client;

export interface Delivery {
  account?: number;
  id: string;
  body: unknown;
  signedAt?: string | null;
  headers?: Record<string, string>;
  receivedAt?: string;
}

const rowsOf = async (sql: Querying, text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
  "rows" in sql ? await sql.rows(text, values) : (await sql.query(text, values)).rows;

/** Records one delivery; a body that is neither text nor bytes is written as JSON. Returns its outcome. */
export async function deliver(sql: Querying, delivery: Delivery): Promise<string> {
  const { account = 1, id, body, signedAt = "2026-11-20T09:00:05Z", headers = {}, receivedAt = null } = delivery;
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const [row] = await rowsOf(
    sql,
    "select inbox.record($1, $2, $3, $4, 'signature', $5, coalesce($6, now())) as outcome",
    [account, id, bytes, headers, signedAt, receivedAt],
  );
  return row.outcome as string;
}

/** How a delivery was kept. */
export async function kept(sql: Querying, id: string): Promise<Record<string, unknown> | undefined> {
  const columns = "event, outcome, reason, note, redeliveries, conflicts, body, body_sha256";
  return (await rowsOf(sql, `select ${columns} from inbox.deliveries where delivery_id = $1`, [id]))[0];
}

/** Every row of an account's mirror; without the columns that only help to merge, unless whole is asked for. */
export async function mirror(sql: Querying, { account = 1, whole = false } = {}): Promise<Record<string, unknown[]>> {
  const state: Record<string, unknown[]> = {};
  for (const table of MIRROR) {
    const without = whole ? "" : " - array['version_at', 'field_versions']";
    const query =
      `select to_jsonb(rows)${without} as row from chatwoot.${table} as rows where account_id = $1 order by 1`;
    const found = await rowsOf(sql, query, [account]);
    state[table] = found.map(({ row }) => row);
  }
  return state;
}

export async function countOf(sql: Querying, table: string): Promise<number> {
  return Number((await rowsOf(sql, `select count(*) from ${table}`))[0].count);
}
