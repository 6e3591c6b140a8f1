// Conversations and policies of the SLA reference, told to the database; and what the database says of their clocks, in
// the words of the reference.
import type { ClientBase } from "pg";
import { tellTimelines } from "./ledger-sql.ts";
import {
  type Calendars,
  type Clock,
  type ClockName,
  CLOCKS,
  HORIZON,
  type PolicyVersion,
  slaClocks,
  type SlaTimeline,
} from "./sla-reference.ts";
import type { SlaStory } from "./sla-timelines.ts";

export interface SlaAccount {
  account: number;
  policies: readonly PolicyVersion[];
  calendars: Calendars;
  stories: readonly Pick<SlaStory, "timeline">[];
}

export interface Disagreement {
  story: SlaTimeline;
  policies: readonly PolicyVersion[];
  asOf: number;
  reference: Record<string, unknown>[];
  database: Record<string, unknown>[];
}

/** An account's calendars by the reference's numbers, and the inboxes that its conversations came into. */
export interface ToldAccount {
  calendars: Map<number, number>;
  inboxes: Map<number, number>;
}

const instant = (at: number) => new Date(at).toISOString();

/** The rest of what was told until an instant. */
export async function tellMore(client: ClientBase, { account, stories }: SlaAccount, since: number): Promise<void> {
  await tellTimelines(
    client,
    stories.map(({ timeline: { events, options } }) => ({
      events: events.filter(({ at }) => at > since),
      whole: events,
      options: { ...options, asOf: Infinity },
    })),
    account,
    { isMore: true },
  );
  await tellChanges(client, account, stories.map(({ timeline }) => timeline), (at) => at > since);
}

/** Writes calendars, conversations with their logs, merges and policies of an account, the conversations numbered from 1. */
export async function tellAccount(client: ClientBase, told: SlaAccount, until = Infinity): Promise<ToldAccount> {
  const { account, stories } = told;
  const calendars = await tellCalendars(client, told);
  await tellTimelines(
    client,
    stories.map(({ timeline: { events, options } }) => ({
      events: events.filter(({ at }) => at <= until),
      whole: events,
      options: { ...options, asOf: Infinity },
    })),
    account,
  );
  await tellChanges(client, account, stories.map(({ timeline }) => timeline), (at) => at <= until);
  await tellPolicies(client, told, calendars);
  const { rows } = await client.query(
    "select display_id::integer, inbox_id::integer from chatwoot.conversations where account_id = $1",
    [account],
  );
  return { calendars, inboxes: new Map(rows.map(({ display_id, inbox_id }) => [display_id, inbox_id])) };
}

async function tellCalendars(client: ClientBase, { account, calendars }: SlaAccount): Promise<Map<number, number>> {
  const numbers = new Map<number, number>();
  for (const [number, versions] of calendars.byId) {
    let id = 0;
    for (const { validFrom, timeZone, weekly } of versions) {
      const { rows } = await client.query(
        "select ledger.save_calendar($1, $2, $3, $4, valid_from => $5)::integer as id",
        [
          account,
          `Calendar ${number}`,
          timeZone,
          JSON.stringify(weekly),
          validFrom === -Infinity ? null : instant(validFrom / 1000),
        ],
      );
      id = rows[0].id;
    }
    await client.query("select ledger.reach_calendar($1, $2, $3, $4)", [
      account,
      id,
      instant(HORIZON.from),
      instant(HORIZON.until),
    ]);
    numbers.set(number, id);
  }
  const uses: [scope: string, id: number, calendar: number][] = [
    ...calendars.account === undefined ? [] : [["account", 0, calendars.account] as [string, number, number]],
    ...[...calendars.teams ?? []].map(([team, one]) => ["team", team, one] as [string, number, number]),
    ...[...calendars.inboxes ?? []].map(([inbox, one]) => ["inbox", inbox, one] as [string, number, number]),
  ];
  for (const [scope, id, calendar] of uses) {
    await client.query("select ledger.use_calendar($1, $2, $3, $4)", [account, scope, id, numbers.get(calendar)]);
  }
  return numbers;
}

async function tellChanges(
  client: ClientBase,
  account: number,
  timelines: readonly SlaTimeline[],
  isTold: (at: number) => boolean,
): Promise<void> {
  const events: Record<string, unknown>[] = [];
  const merges: Record<string, unknown>[] = [];
  timelines.forEach(({ changes, mergedAt }, index) => {
    const display_id = index + 1;
    if (mergedAt !== undefined && isTold(mergedAt)) {
      merges.push({ child_display_id: display_id, parent_display_id: 1_000_000, merged_at: instant(mergedAt) });
    }
    changes.forEach(({ at, priority, team, labels }, place) => {
      if (!isTold(at)) return;
      const add = (kind: string, value: string) =>
        events.push({ display_id, kind, place, value, occurred_at: instant(at), source_id: `${kind} ${place}` });
      if (priority !== undefined) add("priority", priority);
      if (team !== undefined) add("team", String(team ?? ""));
      if (labels !== undefined) add("labels", JSON.stringify(labels));
    });
  });
  await client.query(
    `insert into ledger.events (account_id, display_id, kind, occurred_at, place, value, source, source_id, learnt_at)
      select $1, display_id, kind, occurred_at, place, value, 'change', source_id, now()
      from json_populate_recordset(null::ledger.events, $2)`,
    [account, JSON.stringify(events)],
  );
  await client.query(
    `insert into ledger.merges (account_id, child_display_id, parent_display_id, merged_at)
      select $1, child_display_id, parent_display_id, merged_at from json_populate_recordset(null::ledger.merges, $2)`,
    [account, JSON.stringify(merges)],
  );
}

async function tellPolicies(
  client: ClientBase,
  { account, policies }: SlaAccount,
  calendars: Map<number, number>,
): Promise<void> {
  for (const { policy, version, position, validFrom, validUntil, conditions, targets } of policies) {
    const numbered = JSON.stringify(
      targets,
      (key, value) => key === "hours" && typeof value === "number" ? calendars.get(value) : value,
    );
    await client.query(
      `insert into sla.policies (account_id, policy_id, version, name, position, conditions, targets, valid_from, valid_until,
          changed_at, changed_by)
        values ($1, $2, $3, $4, $5, sla.read_conditions($6), sla.read_targets($1, $7), $8, $9, now(), 'test')`,
      [
        account,
        policy,
        version,
        `Policy ${policy}`,
        position,
        JSON.stringify(conditions),
        numbered,
        instant(validFrom),
        validUntil === null ? null : instant(validUntil),
      ],
    );
  }
}

const COLUMNS =
  `told.display_id, told.episode, told.clock, told.instance, told.policy_id, told.version, told.target_seconds, told.calendar_id,
  told.applied_at, told.started_at, told.stopped_at, told.stopped_as, told.state, told.outcome, told.due_at, told.breach_at,
  told.elapsed + case when told.running_since is null then 0 else ledger.business_seconds(told.account_id, told.calendar_id,
    told.running_since, $2) end as elapsed`;

type Rows = Map<number, Record<string, unknown>[]>;

/** The clocks of all conversations of an account as the database works them out for an instant, by conversation. */
export async function measuredClocks(client: ClientBase, account: number, asOf: number): Promise<Rows> {
  const { rows } = await client.query(
    `with walked as materialized (
      select told.episodes, told.spans from ledger.walk(ledger.requests(array(
        select row(given.account_id, given.display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue
        from chatwoot.conversations as given where given.account_id = $1), $2), $2) as told
    )
    select ${COLUMNS} from walked
    cross join lateral unnest(sla.measure(
      array(select row(every.account_id, every.display_id, every.episode, '-infinity', null, null)::sla.asked
        from unnest(walked.episodes) as every),
      walked.episodes, walked.spans,
      array(select row(policies.*)::sla.policies from sla.policies where policies.account_id = $1), $2)) as told`,
    [account, instant(asOf)],
  );
  return byConversation(rows);
}

/** The clocks of all conversations of an account as they are stored, read at an instant, by conversation. */
export async function storedClocks(client: ClientBase, account: number, asOf: number): Promise<Rows> {
  const { rows } = await client.query(`select ${COLUMNS} from sla.clocks as told where told.account_id = $1`, [
    account,
    instant(asOf),
  ]);
  return byConversation(rows);
}

function byConversation(rows: Record<string, unknown>[]): Rows {
  const found: Rows = new Map();
  for (const row of rows) {
    const display = Number(row.display_id);
    found.set(display, [...found.get(display) ?? [], row]);
  }
  return found;
}

const FIELDS = [
  "episode clock instance policy version target calendar appliedAt startedAt stoppedAt stoppedAs state outcome elapsed dueAt",
  "breachAt",
].join(" ").split(" ");

/** Rows of sla.clocks in the words of the reference. */
export function fromRows(rows: Record<string, unknown>[], calendars: Map<number, number>): Record<string, unknown>[] {
  const numbers = new Map([...calendars].map(([number, id]) => [id, number]));
  const time = (value: unknown) => value === null ? null : (value as Date).getTime();
  return inOrder(
    rows.filter(({ started_at, stopped_at }) => time(started_at) !== time(stopped_at)).map((row) => ({
      episode: row.episode,
      clock: row.clock,
      instance: row.instance,
      policy: Number(row.policy_id),
      version: row.version,
      target: row.target_seconds,
      calendar: row.calendar_id === null ? null : numbers.get(Number(row.calendar_id)),
      appliedAt: time(row.applied_at),
      startedAt: time(row.started_at),
      stoppedAt: time(row.stopped_at),
      stoppedAs: row.stopped_as,
      state: row.state,
      outcome: row.outcome,
      elapsed: Math.round(Number(row.elapsed) * 1000) / 1000,
      dueAt: time(row.due_at),
      breachAt: time(row.breach_at),
    })),
  );
}

/** The reference's clocks, as they can be told apart in the database. */
export function fromClocks(clocks: readonly Clock[]): Record<string, unknown>[] {
  return inOrder(
    // Of what begins and ends in one instant only some are clocks there.
    clocks.filter(({ startedAt, stoppedAt }) => startedAt !== stoppedAt).map((clock) => {
      const told = {
        ...clock,
        // Closed in time: told apart by what stopped it.
        outcome: clock.outcome === "closed_unanswered" ? "met" : clock.outcome,
        elapsed: Math.round(clock.elapsed * 1000) / 1000,
      };
      return Object.fromEntries(FIELDS.map((name) => [name, told[name as keyof Clock]]));
    }),
  );
}

/** By episode, then in the order of CLOCKS, then by instance. */
function inOrder(clocks: Record<string, unknown>[]): Record<string, unknown>[] {
  const key = ({ episode, clock, instance }: Record<string, unknown>) =>
    (Number(episode) * CLOCKS.length + CLOCKS.indexOf(clock as ClockName)) * 10_000 + Number(instance);
  return clocks.toSorted((one, other) => key(one) - key(other));
}

/** What database and reference say differently of an account's conversations at an instant. */
export function compareSla(
  told: SlaAccount,
  { calendars, inboxes }: ToldAccount,
  rows: Rows,
  asOf: number,
): Disagreement[] {
  return told.stories.flatMap(({ timeline }, index) => {
    const display = index + 1;
    const story = { ...timeline, inbox: inboxes.get(display) ?? timeline.inbox };
    const reference = fromClocks(slaClocks(story, { ...told, asOf }));
    const database = fromRows(rows.get(display) ?? [], calendars);
    if (JSON.stringify(reference) === JSON.stringify(database)) return [];
    return [{ story, policies: told.policies, asOf, reference, database }];
  });
}

/** The one with the fewest events and versions of policies. */
export function smallest(found: readonly Disagreement[]): Disagreement | undefined {
  const size = ({ story, policies }: Disagreement) => story.events.length + story.changes.length + policies.length;
  return [...found].sort((one, other) => size(one) - size(other))[0];
}
