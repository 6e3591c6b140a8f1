// Endpoints, news and the steps of the sending, without its requests.
import { randomUUID } from "node:crypto";
import type { Sql } from "../support/database.ts";

export const AS_OF = "2026-11-20T09:00:00Z";
export const at = (seconds: number) => new Date(Date.parse(AS_OF) + seconds * 1000).toISOString();
export const SLACK_URL = "https://hooks.slack.example/services/T0/B0/slack-path-secret";

export type Options = Record<string, unknown>;

/** Adds an endpoint and returns its number and secret. */
export async function add(
  sql: Sql,
  options: Options = {},
): Promise<{ endpoint_id: string; signing_secret: string | null }> {
  const given: Options = {
    ...{ account_id: 1, name: `endpoint ${randomUUID()}`, url: SLACK_URL, format: "slack", as_of: AS_OF },
    ...options,
  };
  const names = Object.keys(given);
  const [row] = await sql.rows<{ endpoint_id: string; signing_secret: string | null }>(
    `select * from ops.add_notification_endpoint(${names.map((name, index) => `${name} => $${index + 1}`).join(", ")})`,
    names.map((name) => given[name]),
  );
  return row;
}

/** Tells something about the key. */
export const notify = (
  sql: Sql,
  key: string,
  { severity = "warning", kind = "sla.breach", as_of = AS_OF, account = 1 } = {},
) =>
  sql.value<string | null>("select ops.notify($1, $2, $3, $4, $5, $6, $7)", [
    account,
    kind,
    key,
    `About ${key}`,
    { conversation: 7 },
    severity,
    as_of,
  ]);

export interface Claim {
  account_id: string;
  endpoint_id: string;
  message_id: string;
}

/** The message whose turn it is, as the sending claims it. */
export const claim = async (sql: Sql, as_of = AS_OF): Promise<Claim | null> => {
  const [row] = await sql.rows<Claim>("select * from ops.claim_message($1)", [as_of]);
  return row.message_id === null ? null : row;
};

/** The keys of what is in a message. */
export const keysOf = async (sql: Sql, { account_id, endpoint_id, message_id }: Claim) =>
  (await sql.rows<{ dedupe_key: string }>(
    `select notifications.dedupe_key from ops.notification_deliveries as deliveries
      join ops.notifications using (account_id, notification_id)
      where account_id = $1 and endpoint_id = $2 and message_id = $3 order by delivery_id`,
    [account_id, endpoint_id, message_id],
  )).map((row) => row.dedupe_key);

/** Notes what became of a message; no kind means that the receiver took it. */
export const settle = (
  sql: Sql,
  { account_id, endpoint_id, message_id }: Claim,
  as_of: string,
  kind: string | null = null,
) =>
  sql.rows("select ops.settle_message($1, $2, $3, $4, $5, 500, $6, 'Look there.', null)", [
    account_id,
    endpoint_id,
    message_id,
    as_of,
    kind,
    kind === null ? null : `It was ${kind}.`,
  ]);

/** Everything that goes out at that instant, as lists of keys, taken by every receiver. */
export async function sendAll(sql: Sql, as_of: string): Promise<string[][]> {
  const messages: string[][] = [];
  for (let claimed = await claim(sql, as_of); claimed !== null; claimed = await claim(sql, as_of)) {
    messages.push(await keysOf(sql, claimed));
    await settle(sql, claimed, as_of);
  }
  return messages;
}
