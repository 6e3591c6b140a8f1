// Stories of one conversation, told to the database as its event log, and what its service level clocks then say.
import type { Sql } from "../support/database.ts";

const WEEK = [1, 2, 3, 4, 5].map((weekday) => ({ weekday, start_minute: 540, end_minute: 1020 }));
export const utc = (time: string, day = "2026-11-16") => `${time.includes("T") ? time : `${day}T${time}`}Z`;

export type Happening = [time: string, what: string];

/** Writes the log of one conversation of account 1: "customer", "human 7", "status snoozed", "priority urgent" … */
export async function tell(sql: Sql, display: number, happenings: Happening[], { day = "2026-11-16", inbox = 1 } = {}) {
  const rows = happenings.map(([time, what], index) => {
    const [word] = what.split(" ");
    const value = what.slice(word.length + 1);
    const isMessage = ["customer", "human", "bot", "note", "auto"].includes(word);
    return {
      kind: isMessage ? "message" : word,
      class: isMessage ? word : null,
      value: isMessage ? "" : value,
      actor_kind: word === "human" ? "user" : null,
      actor_id: word === "human" ? Number(value || 7) : null,
      occurred_at: utc(time, day),
      place: index + 1,
    };
  });
  await sql.rows(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
    values (1, $1, $2, $3, $3) on conflict do nothing`,
    [display, inbox, rows[0].occurred_at],
  );
  await sql.rows(
    `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, value, actor_kind, actor_id, source,
      source_id, learnt_at)
    select 1, $1, kind, occurred_at, place, class, value, actor_kind, actor_id,
      case kind when 'message' then 'message' else 'change' end, place::text, now()
    from json_populate_recordset(null::ledger.events, $2)`,
    [display, JSON.stringify(rows)],
  );
  await sql.rows("delete from ledger.queue where account_id = 1");
}

/** A policy for everything, since ever. */
export const policy = (
  sql: Sql,
  targets: object,
  { name = "All", conditions = [] as object[], place = 100, from = "-infinity" } = {},
) =>
  sql.rows("select sla.save_policy(1, $1, $2, $3, $4, null, $5) as id", [
    name,
    JSON.stringify(conditions),
    JSON.stringify(targets),
    place,
    from,
  ]);

export async function calendarA(sql: Sql): Promise<number> {
  const [{ id }] = await sql.rows<{ id: string }>(
    `select ledger.save_calendar(1, 'A', 'Europe/Berlin', $1, '[]', '-infinity') as id`,
    [JSON.stringify(WEEK)],
  );
  await sql.rows("select ledger.use_calendar(1, 'account', 0, $1)", [id]);
  return Number(id);
}

/** The clocks of a conversation at an instant; of each only what the test names. */
export async function clocks(sql: Sql, display: number, asOf: string, day?: string) {
  const rows = await sql.rows<Record<string, unknown>>(
    `select clock, instance, state, outcome, stopped_as, target_seconds,
      to_char(due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') as due_at,
      to_char(breach_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') as breach_at,
      elapsed + case when running_since is null then 0
        else sla.spent(account_id, calendar_id, running_since, $2) end as elapsed
    from sla.clocks_at(1, $2, array[$1::bigint]) order by clock, instance`,
    [display, utc(asOf, day)],
  );
  return Object.fromEntries(rows.map((row) => [`${row.clock} ${row.instance}`, row]));
}
