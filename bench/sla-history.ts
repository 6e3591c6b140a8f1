// The made-up history that bench/sla.ts measures on, written by statements over sets: the ledger itself would work on a
// million conversations for longer than all measurements take.
import type { Client } from "pg";

/** Of the history, whose clocks count all 24 hours; of the two that webhooks are sent to; of the one that is learnt from. */
export const ACCOUNTS = { history: 1, withPolicy: 2, withoutPolicy: 3, waits: 4 };

const WINDOW_DAYS = 90;
/** What runs stands behind all that is resolved. */
const FIRST_RUNNING = 100_000_000;

export const TARGETS = {
  first_response: { seconds: 14_400, hours: "24x7", priorities: { urgent: { seconds: 7200, hours: "24x7" } } },
  next_response: { seconds: 28_800, hours: "24x7" },
  resolution: { seconds: 86_400, hours: "24x7" },
};

const WEEK = [1, 2, 3, 4, 5].map((weekday) => ({ weekday, start_minute: 540, end_minute: 1020 }));

/** The accounts' business hours, policies and one endpoint that is told of breaches. */
export async function makeAccounts(client: Client): Promise<void> {
  for (const account of Object.values(ACCOUNTS)) {
    const { rows: [{ id }] } = await client.query(
      "select ledger.save_calendar($1, 'Office', 'UTC', $2, '[]', '-infinity') as id",
      [account, JSON.stringify(WEEK)],
    );
    await client.query("select ledger.use_calendar($1, 'account', 0, $2)", [account, id]);
    await client.query(
      `insert into chatwoot.inboxes (account_id, inbox_id, name, version_at)
      select $1, number, 'Inbox ' || number, '2020-01-01' from generate_series(1, 6) as number`,
      [account],
    );
  }
  await client.query("select sla.save_policy($1, 'All', '[]', $2, 100, null, '-infinity')", [
    ACCOUNTS.history,
    JSON.stringify(TARGETS),
  ]);
  for (const account of [ACCOUNTS.withPolicy, ACCOUNTS.waits]) {
    await client.query("select sla.add_default_policy($1, timestamptz '2020-01-01')", [account]);
  }
  // The sweep writes its delivery, too; nobody is there who would send it.
  await client.query(
    `insert into ops.notification_endpoints (account_id, name, format, origin, minimum_severity, time_zone, critical_at_once,
      digest_minutes, created_at) values ($1, 'Receiver', 'slack', 'https://example.com', 'warning', 'UTC', true, 0, now())`,
    [ACCOUNTS.history],
  );
}

export interface History {
  /** Conversations so far, and how many there will be. */
  from: number;
  until: number;
  /** How many of them fall into the last 90 days; it went on like this before. */
  window: number;
  /** When the last of them began. */
  end: Date;
}

/**
 * Adds resolved conversations: two waits, a reply each, a snooze in every fourth, and the clocks that come of it. What
 * only a simulation reads (mirror and log) is there for the last 90 days.
 */
export async function addResolved(client: Client, { from, until, window, end }: History): Promise<void> {
  await client.query("drop table if exists pg_temp.told");
  await client.query("select setseed(0.5)");
  // Log-normal lengths, the first wait some 40 minutes in the middle, cut so that all is over two days later.
  await client.query(`create temporary table told as
    select n as display_id, 1 + n % 6 as inbox_id, 1 + n % 20 as agent_id, n % 20 = 0 as is_urgent, made.started_at,
      made.started_at + made.first * interval '1 second' as replied_at,
      made.started_at + (made.first + 600) * interval '1 second' as asked_at,
      made.started_at + (made.first + 600 + made.second) * interval '1 second' as answered_at,
      case when n % 4 = 0
        then made.started_at + (made.first + 600 + made.second + made.rest / 2) * interval '1 second' end as woken_at,
      made.started_at + (made.first + 600 + made.second + made.rest) * interval '1 second' as resolved_at
    from (
      select n, timestamptz '${end.toISOString()}' - n * interval '${WINDOW_DAYS} days' / ${window} as started_at,
        least(${logNormal(2400, 1.3)}, 43200)::integer as first, least(${
    logNormal(3600, 1.3)
  }, 43200)::integer as second,
        least(${logNormal(14400, 1.3)}, 72000)::integer as rest
      from generate_series(${from} + 1, ${until}) as n
    ) as made`);
  await client.query("analyze told");
  const account = ACCOUNTS.history;
  await client.query(`insert into ledger.conversations (account_id, display_id, events, episodes, refreshed_at)
    select ${account}, display_id, 8, 1, resolved_at from told`);
  await client.query(`insert into ledger.episodes (${EPISODE_COLUMNS})
    select ${
    episode({
      account,
      display: "display_id",
      inbox: "inbox_id",
      status: "'resolved'",
      holder: "'user:' || agent_id",
      priority: "case when is_urgent then 'urgent' else '' end",
      startedAt: "started_at",
      lastAt: "resolved_at",
      resolvedAt: "resolved_at",
      waits: 2,
      states: "case when woken_at is null then 2 else 4 end",
      replies: 2,
    })
  } from told`);
  await client.query(`insert into ledger.spans (account_id, display_id, episode, kind, number, value, started_at,
      started_business_at, ended_at, ended_business_at, closed_as, actor_id)
    select ${account}, told.display_id, 1, spans.kind, spans.number, spans.value, spans.started_at, spans.started_at,
      spans.ended_at, spans.ended_at, spans.closed_as, spans.actor_id
    from told
    cross join lateral (values
      ('wait', 1, 'first', told.started_at, told.replied_at, 'reply', told.agent_id),
      ('wait', 2, 'later', told.asked_at, told.answered_at, 'reply', told.agent_id),
      ('holder', 1, 'user:' || told.agent_id, told.started_at, null, null, null),
      ('state', 1, 'open', told.started_at, case when told.woken_at is null then told.resolved_at else told.answered_at end,
        'change', null),
      ('state', 2, case when told.woken_at is null then 'resolved' else 'snoozed' end,
        case when told.woken_at is null then told.resolved_at else told.answered_at end, told.woken_at,
        case when told.woken_at is not null then 'change' end, null),
      ('state', 3, 'open', told.woken_at, told.resolved_at, 'change', null),
      ('state', 4, 'resolved', case when told.woken_at is not null then told.resolved_at end, null, null, null)
    ) as spans (kind, number, value, started_at, ended_at, closed_as, actor_id)
    where spans.started_at is not null`);
  await client.query(`insert into sla.clocks (account_id, display_id, episode, clock, instance, span_number, policy_id,
      version, state, outcome, started_at, stopped_at, stopped_as, applied_at, target_seconds, elapsed, due_at, breach_at,
      warn_shares, warn_at)
    select ${account}, told.display_id, 1, clocks.clock, 1, clocks.span_number, 1, 1, 'stopped',
      case when late.is_late then 'breached' else 'met' end, clocks.started_at, clocks.stopped_at, clocks.stopped_as,
      clocks.started_at, clocks.target, clocks.elapsed, due.at, case when late.is_late then due.at end, '{0.75}', '{}'
    from told
    cross join lateral (values
      ('first_response', 1, told.started_at, told.replied_at, 'reply', case when told.is_urgent
        then ${TARGETS.first_response.priorities.urgent.seconds} else ${TARGETS.first_response.seconds} end,
        extract(epoch from told.replied_at - told.started_at)::double precision),
      ('next_response', 2, told.asked_at, told.answered_at, 'reply', ${TARGETS.next_response.seconds},
        extract(epoch from told.answered_at - told.asked_at)::double precision),
      ('resolution', null, told.started_at, told.resolved_at, 'resolved', ${TARGETS.resolution.seconds},
        extract(epoch from told.resolved_at - told.started_at
          - coalesce(told.woken_at - told.answered_at, interval '0'))::double precision)
    ) as clocks (clock, span_number, started_at, stopped_at, stopped_as, target, elapsed)
    cross join lateral (select clocks.started_at + clocks.target * interval '1 second'
      + case when clocks.clock = 'resolution' and told.woken_at is not null
          and clocks.started_at + clocks.target * interval '1 second' >= told.answered_at
        then told.woken_at - told.answered_at else interval '0' end as at) as due
    cross join lateral (select clocks.elapsed > clocks.target as is_late) as late`);
  await client.query(
    `insert into sla.breaches (account_id, display_id, episode, clock, instance, due_at, breach_at, found_at, is_announced)
    select account_id, display_id, episode, clock, instance, due_at, breach_at, breach_at, true from sla.clocks
    where account_id = ${account} and display_id between ${from} + 1 and ${until} and breach_at is not null`,
  );
  await client.query(
    `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, value, actor_kind,
      actor_id, source, source_id, learnt_at)
    select ${account}, told.display_id, events.kind, events.at, events.place, events.class, events.value,
      events.actor_kind, case events.actor_kind when 'user' then told.agent_id end,
      case events.kind when 'message' then 'message' else 'change' end, events.place::text, events.at
    from told
    cross join lateral (values
      ('created', told.started_at, 1, null, '', 'contact'),
      ('message', told.started_at, 2, 'customer', '', 'contact'),
      ('priority', told.started_at, 3, null, case when told.is_urgent then 'urgent' end, null),
      ('assignee', told.started_at, 4, null, 'user:' || told.agent_id, null),
      ('message', told.replied_at, 5, 'human', '', 'user'),
      ('message', told.asked_at, 6, 'customer', '', 'contact'),
      ('message', told.answered_at, 7, 'human', '', 'user'),
      ('status', case when told.woken_at is not null then told.answered_at end, 8, null, 'snoozed', 'user'),
      ('status', told.woken_at, 9, null, 'open', null),
      ('status', told.resolved_at, 10, null, 'resolved', 'user')
    ) as events (kind, at, place, class, value, actor_kind)
    where events.at is not null and events.value is not null and told.display_id <= ${window}`,
  );
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, status, created_at, version_at)
    select ${account}, display_id, inbox_id, 'resolved', started_at, started_at from told where display_id <= ${window}`,
  );
  // That the mirror told the ledger of them is what the rows above say already.
  await client.query("delete from ledger.queue where account_id = $1", [account]);
  await client.query("drop table told");
}

/** Adds open conversations, each with a first response and a resolution to come; nothing is due for more than an hour. */
export async function addRunning(client: Client, clocks: number): Promise<void> {
  const account = ACCOUNTS.history;
  await client.query(`create temporary table told as
    select ${FIRST_RUNNING} + n as display_id, 1 + n % 6 as inbox_id, now() - random() * interval '45 minutes' as started_at
    from generate_series(1, ${Math.ceil(clocks / 2)}) as n`);
  await client.query(`insert into ledger.conversations (account_id, display_id, events, episodes, refreshed_at)
    select ${account}, display_id, 2, 1, started_at from told`);
  await client.query(`insert into ledger.episodes (${EPISODE_COLUMNS})
    select ${
    episode({
      account,
      display: "display_id",
      inbox: "inbox_id",
      status: "'open'",
      holder: "''",
      priority: "''",
      startedAt: "started_at",
      lastAt: "started_at",
      resolvedAt: "null::timestamptz",
      waits: 1,
      states: "1",
      replies: 0,
    })
  } from told`);
  await client.query(`insert into ledger.spans (account_id, display_id, episode, kind, number, value, started_at,
      started_business_at)
    select ${account}, display_id, 1, kind, 1, value, started_at, started_at
    from told, (values ('wait', 'first'), ('state', 'open')) as spans (kind, value)`);
  await client.query(`insert into sla.clocks (account_id, display_id, episode, clock, instance, span_number, policy_id,
      version, state, started_at, applied_at, target_seconds, running_since, elapsed, due_at, warn_shares, warn_at, attention_at)
    select ${account}, display_id, 1, clock, 1, span_number, 1, 1, 'running', started_at, started_at, target, started_at, 0,
      started_at + target * interval '1 second', '{0.75}', array[started_at + 0.75 * target * interval '1 second'],
      started_at + 0.75 * target * interval '1 second'
    from told, (values ('first_response', 1, ${TARGETS.first_response.seconds}),
      ('resolution', null, ${TARGETS.resolution.seconds})) as clocks (clock, span_number, target)`);
  await client.query("drop table told");
}

/** Makes the first responses of the open conversations from..until late since this minute. */
export async function makeDue(client: Client, from: number, until: number): Promise<void> {
  await client.query(
    `update sla.clocks set due_at = now() - interval '1 second' * (1 + display_id % 50),
      attention_at = now() - interval '1 second' * (1 + display_id % 50)
    where account_id = $1 and clock = 'first_response' and display_id between ${FIRST_RUNNING} + $2 and ${FIRST_RUNNING} + $3`,
    [ACCOUNTS.history, from, until],
  );
}

/** Undoes it, with what the sweep wrote. */
export async function makeUndue(client: Client): Promise<void> {
  const open = `account_id = ${ACCOUNTS.history} and display_id > ${FIRST_RUNNING}`;
  await client.query(`update sla.clocks set due_at = started_at + target_seconds * interval '1 second',
    attention_at = warn_at[1], outcome = null, breach_at = null where ${open} and breach_at is not null`);
  await client.query(`delete from sla.breaches where ${open}`);
  await client.query("truncate ops.notifications, ops.notification_deliveries");
  await client.query("vacuum (analyze) sla.clocks, sla.breaches");
}

/**
 * Waits of 120 days: each inbox has its speed, each day its own; a part of the questions is hard; at night and on
 * weekends a few people answer and the rest waits for the morning. The model knows none of this.
 */
export async function addWaits(client: Client, waits: number, start: string): Promise<void> {
  const account = ACCOUNTS.waits;
  await client.query("select setseed(0.25)");
  await client.query(`create temporary table told as
    with days as materialized (
      select day, ${logNormal(1, 0.3)} as slowness from generate_series(0, 119) as day
    ), asked as materialized (
      select n, 1 + n % 6 as inbox_id, days.slowness, timestamptz '${start}' + days.day * interval '1 day'
        + case when random() < 0.8 then 8 + 10 * random() else 24 * random() end * interval '1 hour' as started_at
      from generate_series(1, ${waits}) as n join days on days.day = n % 120
    ), hours as (
      select asked.*, extract(hour from started_at at time zone 'UTC') as hour,
        extract(isodow from started_at at time zone 'UTC') as weekday, random() as luck,
        -- Three minutes in the quickest inbox, an hour and a half in the slowest; half as long again over lunch.
        180 * 2 ^ (inbox_id - 1) * slowness
          * case when random() < 0.2 then 6 * ${logNormal(1, 1.2)} else ${logNormal(1, 0.9)} end as seconds
      from asked
    )
    select n as display_id, inbox_id, started_at, started_at + interval '1 second' * case
      when weekday > 5 and luck < 0.7 then extract(epoch from date_trunc('week', started_at at time zone 'UTC')
        at time zone 'UTC' + interval '7 days 9 hours' - started_at)::double precision + seconds
      when weekday > 5 then 2 * seconds
      when hour >= 18 and luck < 0.85 then extract(epoch from date_trunc('day', started_at at time zone 'UTC')
        at time zone 'UTC' + interval '1 day 9 hours' - started_at)::double precision + seconds
      when hour < 7 and luck < 0.85 then extract(epoch from date_trunc('day', started_at at time zone 'UTC')
        at time zone 'UTC' + interval '9 hours' - started_at)::double precision + seconds
      when hour in (12, 13) then 1.5 * seconds
      else seconds end as replied_at
    from hours`);
  await client.query(`insert into ledger.episodes (${EPISODE_COLUMNS})
    select ${
    episode({
      account,
      display: "display_id",
      inbox: "inbox_id",
      status: "'resolved'",
      holder: "''",
      priority: "''",
      startedAt: "started_at",
      lastAt: "replied_at",
      resolvedAt: "replied_at",
      waits: 1,
      states: "1",
      replies: 1,
    })
  } from told`);
  await client.query(`insert into ledger.spans (account_id, display_id, episode, kind, number, value, started_at,
      started_business_at, ended_at, ended_business_at, closed_as)
    select ${account}, display_id, 1, 'wait', 1, 'first', started_at,
      ledger.business_clock(${account}, calendar_id, started_at), replied_at,
      ledger.business_clock(${account}, calendar_id, replied_at), 'reply'
    from told, (select ledger.calendar_for(${account}, null, null) as calendar_id) as office`);
  await client.query("drop table told");
  await client.query("analyze ledger.episodes, ledger.spans");
}

/** A draw from the log-normal distribution with that median. */
function logNormal(median: number, sigma: number): string {
  return `${median} * exp(${sigma} * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))`;
}

interface Episode {
  account: number;
  display: string;
  inbox: string;
  status: string;
  holder: string;
  priority: string;
  startedAt: string;
  lastAt: string;
  resolvedAt: string;
  waits: number;
  states: string;
  replies: number;
}

/** Columns and values of an episode. Its readings of the business clock are those of the wall: nothing reads them. */
function episodeValues(told: Episode): Record<string, string | number> {
  const resolved = told.status === "'resolved'" ? 1 : 0;
  return {
    account_id: told.account,
    display_id: told.display,
    episode: 1,
    inbox_id: told.inbox,
    durable: "interval '7 days'",
    is_outbound: "false",
    status: told.status,
    state: told.status,
    holder: told.holder,
    team: "''",
    priority: told.priority,
    labels: "'[]'",
    started_at: told.startedAt,
    started_business_at: told.startedAt,
    last_event_at: told.lastAt,
    first_resolved_at: told.resolvedAt,
    last_resolved_at: told.resolvedAt,
    is_clock_settled: "true",
    state_since: told.lastAt,
    state_since_business: told.lastAt,
    waits: told.waits,
    bot_waits: 0,
    states: told.states,
    holders: 1,
    customer_messages: told.waits,
    human_replies: told.replies,
    bot_replies: 0,
    notes: 0,
    turns: told.waits,
    is_in_turn: "false",
    is_replied: told.replies > 0 ? "true" : "false",
    had_person: "true",
    resolutions: resolved,
    reopens: 0,
    resolutions_until: resolved,
    reopens_until: 0,
    people: "'{}'",
    stations: 1,
    reassignments: 0,
    ai_is_eligible: "false",
    ai_is_involved: "false",
    ai_is_answered: "false",
    ...Object.fromEntries(
      ["open", "third_party", "snoozed", "bot", "resolved", "unassigned"].flatMap((state) => [
        [`${state}_ended`, 0],
        [`${state}_ended_business`, 0],
      ]),
    ),
    unknown_holder_ended: 0,
  };
}

function episode(told: Episode): string {
  return Object.values(episodeValues(told)).join(", ");
}

const EPISODE_COLUMNS = Object.keys(episodeValues({} as Episode)).join(", ");
