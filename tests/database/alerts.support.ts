// A generated history to judge alerts by: arrivals with nights, weekends and holidays, and the readings of every check.
import type { Sql } from "../support/database.ts";

export const ZONE = "Europe/Berlin";
/** A Thursday that the calendar knows to be closed, and one that no calendar knows of and is as quiet. */
export const HOLIDAY = "2026-10-15";
export const BRIDGE_DAY = "2026-10-22";

const MINUTE = 60_000;
export const later = (from: string, minutes: number) => new Date(Date.parse(from) + minutes * MINUTE).toISOString();

/** Account 1 in Berlin: three inboxes, opening hours on weekdays, the holiday. */
export async function makeAccount(sql: Sql): Promise<void> {
  await sql.rows("insert into chatwoot.accounts (account_id, name, version_at) values (1, 'Shop', '2026-01-01')");
  await sql.rows(`insert into chatwoot.inboxes (account_id, inbox_id, name, version_at)
    select 1, number, 'Inbox ' || number, '2026-01-01' from generate_series(1, 3) as number`);
  await sql.rows("select ops.set_setting(1, 'reporting_time_zone', $1)", [JSON.stringify(ZONE)]);
  const week = [1, 2, 3, 4, 5].map((weekday) => ({ weekday, start_minute: 480, end_minute: 1080 }));
  const calendar = await sql.value("select ledger.save_calendar(1, 'Office', $1, $2, $3, '-infinity')", [
    ZONE,
    JSON.stringify(week),
    JSON.stringify([{ date: HOLIDAY, closed: true }]),
  ]);
  await sql.rows("select ledger.use_calendar(1, 'account', 0, $1)", [calendar]);
}

/**
 * Customers' messages, two webhooks each: forty busy minutes an hour in the busiest inbox by day, two in the quietest; a
 * fifth of that on weekends and holidays, next to nothing by night.
 */
export async function addArrivals(sql: Sql, since: string, until: string, seed: number): Promise<void> {
  await sql.rows("select setseed($1)", [seed]);
  await sql.rows("alter table chatwoot.messages disable trigger user");
  await sql.rows(
    `create temporary table arrived on commit drop as
    with hours as materialized (
      select hour, case when extract(isodow from clock) > 5 or clock::date in ('${HOLIDAY}', '${BRIDGE_DAY}') then 0.2 else 1 end
        * case when extract(hour from clock) between 9 and 17 then 1 when extract(hour from clock) between 7 and 8 then 0.5
          when extract(hour from clock) between 18 and 21 then 0.4 else 0.03 end / 60 as pace
      from generate_series($1::timestamptz, $2::timestamptz - interval '1 minute', interval '1 hour') as hour
      cross join lateral (select hour at time zone '${ZONE}' as clock) as local
    )
    select hours.hour + numbers.number * interval '1 minute' as minute, rates.inbox_id
    from hours
    cross join (values (1, 40), (2, 12), (3, 2)) as rates (inbox_id, rate)
    cross join generate_series(0, 59) as numbers (number)
    -- With the number in it, or the dice would be thrown once an hour.
    where random() + 0 * numbers.number < rates.rate * hours.pace`,
    [since, until],
  );
  await sql.rows(
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, inbox_id, message_type,
      private, created_at, version_at)
    select 1, extract(epoch from minute)::bigint * 10 + inbox_id, 1, inbox_id, 'incoming', false,
      minute + interval '20 seconds', minute from arrived`,
  );
  await sql.rows(`insert into inbox.deliveries (account_id, delivery_id, received_at, proof, body, body_sha256, event,
      outcome)
    select 1, extract(epoch from minute) || ':' || inbox_id || ':' || copies, minute + interval '21 seconds', 'signature',
      '', '', 'message_created', 'applied' from arrived, generate_series(1, 2) as copies`);
  await sql.rows("drop table arrived");
  await sql.rows("alter table chatwoot.messages enable trigger user");
}

/** Takes out what arrived in a time, as if it had been lost. */
export async function lose(sql: Sql, since: string, until: string, inboxId: number | null = null): Promise<void> {
  if (inboxId === null) {
    await sql.rows("delete from inbox.deliveries where received_at >= $1 and received_at < $2", [since, until]);
  } else {
    await sql.rows(
      "delete from inbox.deliveries where received_at >= $1 and received_at < $2 and delivery_id like $3",
      [
        since,
        until,
        `%:${inboxId}:%`,
      ],
    );
  }
  await sql.rows(
    "delete from chatwoot.messages where created_at >= $1 and created_at < $2 and ($3::bigint is null or inbox_id = $3)",
    [since, until, inboxId],
  );
}

/** Notes and learns all that is there until then, as the minutes before would have. */
export async function learn(sql: Sql, until: string): Promise<void> {
  while (await sql.value<boolean>("select ops.note_arrivals(1, $1)", [until]));
  await sql.rows("select ops.learn_normal(1, $1)", [until]);
}

const every = (step: string) =>
  `array(select generate_series($1::timestamptz + interval '${step}', $2::timestamptz, interval '${step}'))`;
const instants = every("5 minutes");

/** Lives through a time in one go: arrivals are noted, judged and learnt, alerts evaluated. */
export async function live(sql: Sql, since: string, until: string): Promise<void> {
  await sql.rows("select ops.note_arrivals(1, $1)", [until]);
  await sql.rows(
    `select ops.record_checks(array(select row(told.*)::ops.health_sample from ops.sample_arrivals(1, ${instants}) as told))`,
    [since, until],
  );
  await sql.rows("select ops.evaluate_alerts(1, $1)", [until]);
  await sql.rows("select ops.learn_normal(1, $1)", [until]);
}

/** Customers who wait: few by night, some twenty by day, more on Mondays. */
export async function addQueue(sql: Sql, since: string, until: string, step = "5 minutes"): Promise<void> {
  await sql.rows(
    `select ops.record_checks(array(select row(told.*)::ops.health_sample
      from (select array_agg(made.instant) as instants, array_agg(made.customers) as customers from (
        select instant, round((case when extract(isodow from clock) > 5 or clock::date in ('${HOLIDAY}', '${BRIDGE_DAY}') then 4
            when extract(hour from clock) between 8 and 18 then 20 else 6 end
          * case when extract(isodow from clock) = 1 then 1.5 else 1 end) * (0.7 + 0.6 * random()))::bigint as customers
        from unnest(${every(step)}) as instant
        cross join lateral (select instant at time zone '${ZONE}' as clock) as local
      ) as made) as series
      cross join lateral ops.sample_queue(1, series.instants, series.customers) as told))`,
    [since, until],
  );
}

interface Reading {
  name: string;
  subject: string;
  /** An expression of instant and random(). */
  value: string;
}
/** What the other checks read in ordinary times, with the trouble that is ordinary, too. */
export const READINGS: Reading[] = [
  // A request of two thousand fails, and now and then the one after it.
  { name: "service", subject: "chatwoot", value: "(random() < 0.0005)::integer" },
  { name: "first_response", subject: "", value: "500 + 1000 * random() * random()" },
  { name: "breaches", subject: "", value: "floor(4 * random())" },
  { name: "sync_lag", subject: "rest", value: "20 + case when random() < 0.002 then 1700 else 200 * random() end" },
  { name: "cron_alive", subject: "ledger-refresh", value: "case when random() < 0.002 then 2 else 0 end", account: 0 },
  { name: "dead_deliveries", subject: "webhook", value: "0" },
  { name: "audit_chain", subject: "", value: "0" },
  {
    name: "database_size",
    subject: "",
    value: "4000 + extract(epoch from instant - timestamptz '2026-10-01') / 86400 * 10",
    account: 0,
  },
].map((reading) => ({ account: 1, ...reading }));

/** Records those readings at every step of a time. */
export async function addReadings(sql: Sql, since: string, until: string): Promise<void> {
  const readings = READINGS.map((reading) => {
    const { account, name, subject, value } = { account: 1, ...reading };
    return `select ${account}, '${name}', '${subject}', 'ok', (${value})::double precision, '', 'Read.', null, instant
      from unnest(${instants}) as instant`;
  });
  await sql.rows(
    `select ops.record_checks(array(select row(told.*)::ops.health_sample from (${
      readings.join(" union all ")
    }) as told))`,
    [since, until],
  );
}

interface Kind {
  name: string;
  subject?: string;
  account?: number;
  bad: number;
  /** Neither bad nor over. */
  between?: number;
}
/** What each kind reads when it is bad. */
export const KINDS: Record<string, Kind> = {
  "service.down": { name: "service", subject: "chatwoot", bad: 2 },
  "queue.high": { name: "queue_pressure", bad: 2.5, between: 1.6 },
  "sla.breaches": { name: "breaches", bad: 6, between: 3 },
  "channel.outage": { name: "channel_arrival", subject: "inbox:3", bad: 20, between: 8 },
  "response.slow": { name: "first_response", bad: 2400, between: 1500 },
  "webhook.silent": { name: "webhook_arrival", bad: 20, between: 8 },
  "sync.stopped": { name: "sync_lag", subject: "rest", bad: 4000, between: 1000 },
  "cron.stopped": { name: "cron_alive", subject: "sla-sweep", account: 0, bad: 4, between: 2 },
  "deliveries.dead": { name: "dead_deliveries", subject: "webhook", bad: 1 },
  "audit.broken": { name: "audit_chain", bad: 1 },
  "disk.full": { name: "database_size", account: 0, bad: 7000, between: 6200 },
};

/**
 * Trouble of a day that is over before anybody need know: of each kind that waits at all, two stretches in which every
 * minute is bad, each one reading shorter than the kind waits for, with a good or a middling reading at both ends. What
 * was read in those minutes otherwise is not kept, so this goes first.
 */
export async function addCrossings(sql: Sql, day: string): Promise<void> {
  const kinds = Object.entries(KINDS).map(([kind, { name, subject = "", account = 1, bad, between = 0 }]) =>
    `('${kind}', '${name}', '${subject}', ${account}, ${bad}::double precision, ${between}::double precision)`
  );
  await sql.rows(
    `select ops.record_checks(array(
      select row(kinds.account, kinds.name, kinds.subject, case when is_bad then 'fail' else 'ok' end,
        case when is_bad then kinds.bad when steps.step < 0 then 0 else kinds.between end, '', 'Crossed.', null,
        begins.at + steps.step * interval '1 minute')::ops.health_sample
      from (values ${kinds.join(", ")}) as kinds (kind, name, subject, account, bad, between)
      join ops.alert_rules as rules on rules.account_id = 0 and rules.kind = kinds.kind and rules.for_seconds > 0
      cross join generate_series(1, 2) as times
      -- By day and by night, each day at another minute.
      cross join lateral (select date_trunc('minute', $1::timestamptz + (times * 12 - 11) * interval '1 hour' + random() * interval '10 hours')
        as at) as begins
      cross join lateral generate_series(-1, rules.for_seconds / 60) as steps (step)
      cross join lateral (select steps.step >= 0 and steps.step < rules.for_seconds / 60 as is_bad) as judged))`,
    [day],
  );
}

/** Records one reading a minute. */
export async function read(
  sql: Sql,
  { name, subject = "", values, from, account = 1 }: {
    name: string;
    subject?: string;
    values: (number | null)[];
    from: string;
    account?: number;
  },
): Promise<string> {
  await sql.rows(
    `select ops.record_checks(array(select row($1::bigint, $2, $3, 'ok', given.value, '', 'It reads ' || coalesce(given.value, 0), 'Do this.',
        $4::timestamptz + (given.place - 1) * interval '1 minute')::ops.health_sample
      from unnest($5::double precision[]) with ordinality as given (value, place)))`,
    [account, name, subject, from, values],
  );
  const end = later(from, values.length - 1);
  await sql.rows("select ops.evaluate_alerts(1, $1)", [end]);
  return later(end, 1);
}

export interface Raised {
  kind: string;
  subject: string;
  raised_at: Date;
  resolved_at: Date | null;
}
export const raised = (sql: Sql) =>
  sql.rows<Raised>("select kind, subject, raised_at, resolved_at from ops.alerts order by raised_at, kind, subject");

/** What was told to endpoints, in order. */
export const told = (sql: Sql) =>
  sql.rows<{ kind: string; severity: string; news: string; title: string }>(
    "select kind, severity, body ->> 'news' as news, title from ops.notifications order by created_at, notification_id",
  );
