// What the tests of calendars share.
import { DAY, HOUR, type WeeklySpan } from "../support/calendar-reference.ts";
import type { Sql, TestDatabase } from "../support/database.ts";

export const week = (weekdays: number[], start_minute: number, end_minute: number): WeeklySpan[] =>
  weekdays.map((weekday) => ({ weekday, start_minute, end_minute }));

export const WORKDAYS = [1, 2, 3, 4, 5];
export const EVERY_DAY = [0, 1, 2, 3, 4, 5, 6];
export const NINE_TO_FIVE = week(WORKDAYS, 540, 1020);
export const HOLIDAYS = [{ date: "2026-12-24", start_minute: 540, end_minute: 780 }, {
  date: "2026-12-25",
  closed: true,
}];

/** The calendars of the fixtures. */
export const CALENDARS = {
  "A": { zone: "Europe/Berlin", weekly: NINE_TO_FIVE, exceptions: [] },
  "A′": { zone: "Europe/Berlin", weekly: NINE_TO_FIVE, exceptions: HOLIDAYS },
  "B": {
    zone: "Europe/Berlin",
    weekly: [...week(WORKDAYS, 540, 720), ...week(WORKDAYS, 780, 1080)],
    exceptions: [],
  },
  "C": { zone: "America/New_York", weekly: week(EVERY_DAY, 1320, 1800), exceptions: [] },
  "D": { zone: "Europe/Berlin", weekly: week(EVERY_DAY, 0, 1440), exceptions: [] },
};

export type Touch = { what: string; id: number; since: string | null };

const TOUCHES = `
  drop function if exists ledger.touch_calendar(bigint, bigint, timestamptz);
  drop function if exists ledger.touch_scope(bigint, text, bigint);
  create function ledger.touch_calendar(account_id bigint, calendar_id bigint, since timestamptz) returns void
  language sql set search_path = ''
  as $$ insert into pg_temp.touches (what, id, since) values ('calendar', calendar_id, since) $$;
  create function ledger.touch_scope(account_id bigint, scope text, scope_id bigint) returns void
  language sql set search_path = ''
  as $$ insert into pg_temp.touches (what, id, since) values (scope, scope_id, null) $$;`;

/** A test's work, rolled back, in which it is written down what a change says must be computed again. */
export function withTouches(database: TestDatabase, work: (sql: Sql) => Promise<void>): Promise<void> {
  return database.rolledBack(async (sql) => {
    await sql.rows(
      "create temporary table touches (place integer generated always as identity, what text, id integer, since timestamptz) on commit drop",
    );
    await sql.rows(TOUCHES);
    await work(sql);
  });
}

/** What has been touched since it was last asked. */
export async function touches(sql: Sql): Promise<Touch[]> {
  const rows = await sql.rows<Touch>("select what, id, since::text from pg_temp.touches order by place");
  await sql.rows("truncate pg_temp.touches");
  return rows;
}

/** Saves a calendar of account 1 and returns its id. */
export function save(sql: Sql, name: string, options: {
  zone?: string;
  weekly?: unknown;
  exceptions?: unknown;
  validFrom?: string | null;
  asOf?: string;
  calendarId?: number;
  accountId?: number;
} = {}): Promise<number> {
  return sql.value<number>(
    `select ledger.save_calendar($1, $2, $3, $4, $5, $6, coalesce($7, now()), $8)::integer`,
    [
      options.accountId ?? 1,
      name,
      options.zone ?? "Europe/Berlin",
      JSON.stringify(options.weekly ?? NINE_TO_FIVE),
      JSON.stringify(options.exceptions ?? []),
      options.validFrom ?? null,
      options.asOf ?? null,
      options.calendarId ?? null,
    ],
  );
}

/** Business seconds between two instants, given with their offset or as UTC. */
export const seconds = (sql: Sql, calendarId: number | null, from: string, until: string) =>
  sql.value<number>("select ledger.business_seconds(1, $1, $2, $3)", [calendarId, from, until]);

/** The due instant in UTC to the second or finer; null for never. */
export const due = (sql: Sql, calendarId: number | null, from: string, target: number) =>
  sql.value<string | null>(
    `select to_char(ledger.business_due(1, $1, $2, $3) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || 'Z'`,
    [calendarId, from, target],
  );

/** All spans of a calendar, whole, for comparing. */
export const spansOf = (sql: Sql, calendarId: number) =>
  sql.rows(
    `select starts_at::text, ends_at::text, closed_until::text, business_before::text, business_shift::text
    from ledger.calendar_spans where account_id = 1 and calendar_id = $1 order by starts_at`,
    [calendarId],
  );

export { DAY, HOUR };
