// A small day that can be counted by hand, as the doors and the ledger leave it behind.
import type { Sql } from "../support/database.ts";

// All within some minutes, so that midnight is not in between but where a test runs at midnight: the zone is chosen so
// that it is noon.
export async function makeDay(sql: Sql): Promise<void> {
  await sql.rows(
    "insert into chatwoot.accounts (account_id, name, version_at) values (1, 'Shop', now()), (2, 'Other', now())",
  );
  const zone = await sql.value<string>(
    `select name from pg_timezone_names where name ~ '^(Pacific|Asia|America|Europe|Africa)/'
      and extract(hour from now() at time zone name) between 11 and 13 limit 1`,
  );
  await sql.rows("select ops.set_setting(1, 'reporting_time_zone', $1)", [JSON.stringify(zone)]);
  await sql.rows(`insert into chatwoot.inboxes (account_id, inbox_id, name, channel, version_at) values
    (1, 1, 'Shop', 'Channel::WebWidget', now()), (1, 2, 'Mail', 'Channel::Email', now())`);
  await sql.rows(`insert into chatwoot.agents (account_id, kind, agent_id, name, version_at) values
    (1, 'user', 7, 'Ada', now()), (1, 'agent_bot', 7, 'Robot', now())`);
}

/** A conversation with messages so many minutes ago. */
export const converse = async (
  sql: Sql,
  displayId: number,
  columns: Record<string, string>,
  messages: [number, string, string?][],
) => {
  const all: Record<string, string> = {
    account_id: "1",
    display_id: String(displayId),
    inbox_id: "1",
    status: "'open'",
    labels: "'{}'",
    created_at: `now() - interval '${Math.max(...messages.map(([ago]) => ago))} minutes'`,
    version_at: `now() - interval '${Math.max(...messages.map(([ago]) => ago))} minutes'`,
    ...columns,
  };
  await sql.rows(`insert into chatwoot.conversations (${Object.keys(all)}) values (${Object.values(all)})`);
  // As every door does with what it has read.
  await sql.rows(
    `select ledger.observe(array(select row(mirrored.*)::chatwoot.conversations from chatwoot.conversations as mirrored
      where account_id = 1 and display_id = $1))`,
    [displayId],
  );
  for (const [index, [ago, from, sender]] of messages.entries()) {
    await sql.rows(
      `insert into chatwoot.messages (account_id, message_id, conversation_display_id, inbox_id, message_type, private,
        sender_kind, sender_id, content, created_at, version_at)
      values (1, $1, $2, ${all.inbox_id}, $3, false, $4, 7, 'x', now() - $5 * interval '1 minute', now())`,
      [
        displayId * 100 + index,
        displayId,
        from === "customer" ? "incoming" : "outgoing",
        sender ?? (from === "customer" ? "contact" : "user"),
        ago,
      ],
    );
  }
};
/** Makes the ledger's numbers of all that is there. */
export const count = async (sql: Sql) => {
  const rows = "array(select row(queue.*)::ledger.queue from ledger.queue)";
  await sql.rows(`select ledger.refresh(${rows}, now())`);
  await sql.rows("delete from ledger.queue where account_id = 1");
};

/** What a check found. */
export interface Found {
  name: string;
  subject: string;
  state: string;
  value: number | null;
  message: string;
  hint: string | null;
}

/** Rows of a query of checks, by their name and subject. */
export async function readChecks(sql: Sql, text: string, values: unknown[]): Promise<Record<string, Found>> {
  const rows = await sql.rows<Found>(text, values);
  return Object.fromEntries(rows.map((row) => [row.subject ? `${row.name}/${row.subject}` : row.name, row]));
}
