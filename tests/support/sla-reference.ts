// What the SLA clocks of one conversation should say, worked out from the metric definitions alone (facts §4). It shares
// no code with the database: each clock's life is cut out of the episode's steps, and time is laid out piece by piece.
import { type CalendarVersion, openSpans } from "./calendar-reference.ts";
import {
  type LedgerEvent,
  type LedgerOptions,
  type ReadEpisode,
  readEpisodes,
  type State,
} from "./ledger-reference.ts";

export const CLOCKS = [
  "first_response",
  "next_response",
  "resolution",
  "requester_wait",
  "agent_work",
  "periodic_update",
] as const;
export type ClockName = typeof CLOCKS[number];

/** 24 hours on 7 days, the calendar of team, inbox or account, or a calendar by its number. */
export type Hours = "24x7" | "business" | number;

export interface PriorityTarget {
  seconds: number;
  /** Instead of the clock's. */
  hours?: Hours;
}

export interface ClockTarget {
  hours: Hours;
  /** States in which the clock stands still; without them those of DEFAULT_PAUSES. */
  pauses?: State[];
  /** By priority; `default` for every other one and for none. */
  priorities: Record<string, PriorityTarget>;
}

export type Attribute = "priority" | "team_id" | "label" | "inbox_id";
export type Operator = "is" | "is_not" | "in" | "not_in" | "exists" | "missing";

export interface Condition {
  attribute: Attribute;
  operator: Operator;
  value?: string | number | (string | number)[];
}

export interface PolicyVersion {
  policy: number;
  version: number;
  /** The first policy that matches holds, by position. */
  position: number;
  /** Milliseconds since the epoch; it holds from the first instant on, and no more at the second. */
  validFrom: number;
  validUntil: number | null;
  conditions: Condition[];
  targets: Partial<Record<ClockName, ClockTarget>>;
}

export interface Calendars {
  byId: ReadonlyMap<number, CalendarVersion[]>;
  /** The calendar used by a team, an inbox, the account. */
  teams?: ReadonlyMap<number, number>;
  inboxes?: ReadonlyMap<number, number>;
  account?: number;
}

/** What changed of a conversation besides what the ledger measures; what is left out stays as it was. */
export interface AttributeChange {
  at: number;
  /** Empty for none. */
  priority?: string;
  team?: number | null;
  labels?: string[];
}

export interface SlaTimeline {
  events: LedgerEvent[];
  changes: AttributeChange[];
  inbox: number;
  options: Omit<LedgerOptions, "asOf" | "businessClock">;
  /** When it became part of another conversation. */
  mergedAt?: number;
}

export interface SlaSettings {
  policies: readonly PolicyVersion[];
  calendars: Calendars;
  /** Inclusive: an event at that very instant counts. */
  asOf: number;
}

/** Instants in milliseconds since the epoch, lengths in seconds. */
export interface Clock {
  episode: number;
  clock: ClockName;
  instance: number;
  /** Of the target in force last. */
  policy: number;
  version: number;
  target: number;
  /** Null for 24 hours on 7 days. */
  calendar: number | null;
  /** Since when that target is in force. */
  appliedAt: number;
  startedAt: number;
  stoppedAt: number | null;
  stoppedAs: StoppedAs | null;
  state: "running" | "paused" | "stopped";
  /** Null while it is not decided. */
  outcome: "met" | "breached" | "cancelled" | "closed_unanswered" | null;
  /** By that calendar, from the start to the stop or the end of what is read. */
  elapsed: number;
  /** Null while it is paused, unless it is past. Of a stopped clock, what it was due last. */
  dueAt: number | null;
  breachAt: number | null;
  overrun: number;
}

/** `policy` when no target is left. */
export type StoppedAs = "reply" | "resolved" | "merged" | "policy";

interface Interval {
  from: number;
  until: number;
}

interface Life {
  clock: ClockName;
  instance: number;
  startedAt: number;
  stop: { at: number; as: StoppedAs } | null;
}

interface Target {
  policy: number;
  version: number;
  seconds: number;
  calendar: number | null;
  pauses: readonly State[];
}

/** A target from an instant on; null where none is in force. */
interface Segment {
  from: number;
  target: Target | null;
}

export const DEFAULT_PAUSES: Record<ClockName, readonly State[]> = {
  first_response: [],
  next_response: [],
  resolution: ["snoozed", "bot"],
  requester_wait: ["snoozed", "bot"],
  agent_work: ["snoozed", "third_party", "bot"],
  periodic_update: [],
};

const WHOLE = ["resolution", "requester_wait", "agent_work"] as const satisfies ClockName[];
const isWhole = (clock: ClockName) => (WHOLE as readonly ClockName[]).includes(clock);

/** The clocks of one conversation as of an instant, those of an episode together, in the order of CLOCKS. */
export function slaClocks(timeline: SlaTimeline, settings: SlaSettings): Clock[] {
  const { mergedAt = Infinity } = timeline;
  const end = Math.min(settings.asOf, mergedAt);
  const episodes = readEpisodes(timeline.events, { ...timeline.options, asOf: end });
  return episodes.flatMap((episode, index) => {
    const states = statesOf(episode);
    return livesOf(episode, states)
      .map((life) => settings.asOf >= mergedAt && life.stop === null ? { ...life, stop: mergedStop(mergedAt) } : life)
      .flatMap((life) => {
        const clock = measure(life, states, timeline, { ...settings, asOf: end });
        return clock === null ? [] : [{ episode: index + 1, ...clock }];
      });
  });
}

const mergedStop = (at: number) => ({ at, as: "merged" as const });

/** The states in order, the last one without an end; a state left at the instant it was entered is none. */
function statesOf(episode: ReadEpisode): (Interval & { state: State })[] {
  const changes = episode.steps.flatMap((step) => step.kind === "status" ? [{ at: step.at, state: step.to }] : []);
  return [{ at: episode.startedAt, state: episode.state }, ...changes]
    .map(({ at, state }, index, all) => ({ state, from: at, until: all[index + 1]?.at ?? Infinity }))
    .filter(({ from, until }) => from < until);
}

/** When each clock of the episode starts and stops. */
function livesOf(episode: ReadEpisode, states: (Interval & { state: State })[]): Life[] {
  const waits = waitsOf(episode).map((wait) => ({ ...wait, since: personSince(wait, states) }));
  // The first wait in which a person has the conversation is the first response's, and those before are the bot's.
  const first = episode.isOutbound ? -1 : waits.findIndex(({ since }) => since !== null);
  const later = episode.isOutbound ? waits : first < 0 ? [] : waits.slice(first + 1);
  const last = episode.steps.findLast((step) => step.kind === "status");
  const resolved = last?.to === "resolved" ? { at: last.at, as: "resolved" as const } : null;
  return [
    ...(first < 0 ? [] : [{
      clock: "first_response" as const,
      instance: 1,
      startedAt: waits[first].since as number,
      stop: waits[first].stop,
    }]),
    ...later.map(({ from, stop }, index) => ({
      clock: "next_response" as const,
      instance: index + 1,
      startedAt: from,
      stop,
    })),
    ...WHOLE.map((clock) => ({ clock, instance: 1, startedAt: episode.startedAt, stop: resolved })),
    ...updatesOf(episode).map(({ from, stop }, index) => ({
      clock: "periodic_update" as const,
      instance: index + 1,
      startedAt: from,
      stop,
    })),
  ];
}

interface Wait {
  from: number;
  stop: { at: number; as: "reply" | "resolved" } | null;
}

function waitsOf(episode: ReadEpisode): Wait[] {
  const waits: Wait[] = [];
  let running: Wait | null = null;
  for (const step of episode.steps) {
    if (running === null && step.kind === "message" && step.class === "customer") {
      waits.push(running = { from: step.at, stop: null });
    }
    if (running === null) continue;
    if (step.kind === "message" && step.class === "human") running.stop = { at: step.at, as: "reply" };
    if (step.kind === "status" && step.to === "resolved") running.stop = { at: step.at, as: "resolved" };
    if (running.stop !== null) running = null;
  }
  return waits;
}

/** When a wait becomes one for a person: with its begin, or when the bot let go; null while no person had it. */
function personSince({ from, stop }: Wait, states: (Interval & { state: State })[]): number | null {
  const during = states.filter((span) =>
    span.until > from && (span.from <= from || span.from < (stop?.at ?? Infinity))
  );
  const person = during.find(({ state }) => state !== "bot" && state !== "resolved");
  if (person === undefined) return null;
  const hadBot = during.some((span) => span.state === "bot" && span.from < person.from);
  return hadBot ? person.from : from;
}

/** From each reply of a person to the next one or to a resolve. */
function updatesOf(episode: ReadEpisode): Wait[] {
  const updates: Wait[] = [];
  let isResolved = false;
  for (const step of episode.steps) {
    const running = updates.at(-1)?.stop === null ? updates[updates.length - 1] : null;
    if (step.kind === "status") isResolved = step.to === "resolved";
    if (isResolved && running) running.stop = { at: step.at, as: "resolved" };
    if (step.kind !== "message" || step.class !== "human") continue;
    if (running) running.stop = { at: step.at, as: "reply" };
    // A word after the resolve promises nothing.
    updates.push({ from: step.at, stop: isResolved ? { at: step.at, as: "resolved" } : null });
  }
  return updates;
}

function measure(
  whole: Life,
  states: (Interval & { state: State })[],
  timeline: SlaTimeline,
  settings: SlaSettings,
): Omit<Clock, "episode"> | null {
  const segments = segmentsOf(whole, timeline, settings);
  const last = segments.findLast(({ target }) => target !== null);
  if (last === undefined || last.target === null) return null;
  // Without a target a clock is at an end, whatever comes after.
  const left = segments[segments.indexOf(last) + 1];
  const life: Life = left === undefined ? whole : { ...whole, stop: { at: left.from, as: "policy" } };
  const { stop, startedAt } = life;
  const end = stop?.at ?? settings.asOf;

  let breachAt: number | null = null;
  segments.forEach(({ from, target }, index) => {
    if (target === null) return;
    // Each target is measured from the clock's start by its own hours and pauses, as if it had always been in force.
    const due = dueOf(activeOf(life, states, target), openOf(target, settings), target.seconds);
    if (due === null) return;
    // Nobody is late before the target was there, and whoever is on time to the instant is on time.
    const breached = Math.max(due, from);
    if (breached < (segments[index + 1]?.from ?? end)) breachAt = Math.min(breachAt ?? Infinity, breached);
  });

  const { target, from: appliedAt } = last;
  const active = activeOf(life, states, target);
  const state = stop !== null ? "stopped" : active.at(-1)?.until === Infinity ? "running" : "paused";
  const elapsed = openWithin(active, openOf(target, settings), end)
    .reduce((sum, { from, until }) => sum + until - from, 0) / 1000;
  return {
    clock: life.clock,
    instance: life.instance,
    policy: target.policy,
    version: target.version,
    target: target.seconds,
    calendar: target.calendar,
    appliedAt,
    startedAt,
    stoppedAt: stop?.at ?? null,
    stoppedAs: stop?.as ?? null,
    state,
    outcome: breachAt !== null ? "breached" : outcomeOf(life),
    elapsed,
    // Of a paused clock only what is past already is known.
    dueAt: state === "paused" && breachAt === null
      ? null
      : dueOf(state === "paused" ? active : unending(active), openOf(target, settings), target.seconds),
    breachAt,
    overrun: elapsed - target.seconds,
  };
}

/** Of a clock that is not late. */
function outcomeOf({ clock, stop }: Life): Clock["outcome"] {
  if (stop === null) return null;
  if (stop.as === "merged" || stop.as === "policy") return "cancelled";
  if (stop.as === "resolved" && clock === "first_response") return "cancelled";
  if (stop.as === "resolved" && clock === "next_response") return "closed_unanswered";
  return "met";
}

/** What is in force over a life. A new version that says the same is no change. */
function segmentsOf({ clock, startedAt, stop }: Life, timeline: SlaTimeline, settings: SlaSettings): Segment[] {
  const { policies, asOf } = settings;
  const instants = [
    ...timeline.changes.map(({ at }) => at),
    ...policies.flatMap(({ validFrom, validUntil }) => validUntil === null ? [validFrom] : [validFrom, validUntil]),
  ].filter((at) => at > startedAt && (stop === null ? at <= asOf : at < stop.at));
  return [startedAt, ...new Set(instants)]
    .toSorted((one, other) => one - other)
    .map((from) => ({ from, target: inForce(clock, from, timeline, settings) }))
    .filter(({ target }, index, all) => index === 0 || !isSame(all[index - 1].target, target));
}

function isSame(one: Target | null, other: Target | null): boolean {
  return one?.policy === other?.policy && one?.seconds === other?.seconds && one?.calendar === other?.calendar &&
    one?.pauses.toSorted().join() === other?.pauses.toSorted().join();
}

/** The target of the first policy that matches the conversation as it is at an instant. */
function inForce(
  clock: ClockName,
  at: number,
  timeline: SlaTimeline,
  { policies, calendars }: SlaSettings,
): Target | null {
  const { priority = "", team = null, labels = [] } = attributesAt(timeline, at);
  const has: Record<Attribute, (string | number)[]> = {
    priority: priority === "" ? [] : [priority],
    team_id: team === null ? [] : [team],
    label: labels,
    inbox_id: [timeline.inbox],
  };
  const policy = policies
    .filter(({ validFrom, validUntil }) => validFrom <= at && (validUntil === null || at < validUntil))
    .toSorted((one, other) => one.position - other.position)
    .find(({ conditions }) => conditions.every((condition) => holds(condition, has[condition.attribute])));
  const target = policy?.targets[clock];
  const chosen = target?.priorities[priority] ?? target?.priorities.default;
  if (policy === undefined || target === undefined || chosen === undefined) return null;
  const hours = chosen.hours ?? target.hours;
  const business = calendars.teams?.get(team ?? Number.NaN) ?? calendars.inboxes?.get(timeline.inbox) ??
    calendars.account ?? null;
  const calendar = hours === "24x7" ? null : hours === "business" ? business : hours;
  const { pauses = DEFAULT_PAUSES[clock] } = target;
  return { policy: policy.policy, version: policy.version, seconds: chosen.seconds, calendar, pauses };
}

function attributesAt({ changes }: SlaTimeline, at: number): Omit<AttributeChange, "at"> {
  return changes.filter((change) => change.at <= at).toSorted((one, other) => one.at - other.at).reduce(
    (known, { at: _, ...change }) => ({ ...known, ...change }),
    {},
  );
}

function holds({ operator, value }: Condition, has: (string | number)[]): boolean {
  const asked = value === undefined ? [] : Array.isArray(value) ? value : [value];
  const isAny = has.some((one) => asked.map(String).includes(String(one)));
  if (operator === "exists") return has.length > 0;
  if (operator === "missing") return has.length === 0;
  return operator === "is" || operator === "in" ? isAny : !isAny;
}

/** When the clock runs: in no state that pauses it, and one of the whole episode not while resolved. */
function activeOf(
  { clock, startedAt, stop }: Life,
  states: (Interval & { state: State })[],
  { pauses }: Target,
): Interval[] {
  const active: Interval[] = [];
  for (const { state, ...span } of states) {
    if (pauses.includes(state) || (isWhole(clock) && state === "resolved")) continue;
    const from = Math.max(span.from, startedAt);
    const until = Math.min(span.until, stop?.at ?? Infinity);
    if (from >= until) continue;
    const before = active.at(-1);
    if (before?.until === from) before.until = until;
    else active.push({ from, until });
  }
  return active;
}

/** As if what ran last had gone on running. */
function unending(active: Interval[]): Interval[] {
  return active.map(({ from, until }, index) => ({ from, until: index === active.length - 1 ? Infinity : until }));
}

/** The open parts of what is active, up to an instant. */
function openWithin(active: Interval[], open: Interval[], end: number): Interval[] {
  const parts: Interval[] = [];
  for (const { from, until } of active) {
    for (const span of open) {
      if (span.from >= until || span.from >= end) break;
      const part = { from: Math.max(from, span.from), until: Math.min(until, span.until, end) };
      if (part.from < part.until) parts.push(part);
    }
  }
  return parts;
}

/** When so many seconds are used up; at the very instant of a pause, only when it goes on. */
function dueOf(active: Interval[], open: Interval[], seconds: number): number | null {
  let left = seconds * 1000;
  for (const interval of active) {
    if (left === 0) return interval.from;
    for (const { from, until } of openWithin([interval], open, Infinity)) {
      if (left <= until - from && from + left < interval.until) return from + left;
      left -= Math.min(left, until - from);
    }
  }
  return null;
}

/** How far the reference works a calendar out. */
export const HORIZON = { from: Date.parse("2026-11-01T00:00:00Z"), until: Date.parse("2031-01-01T00:00:00Z") };
const opened = new WeakMap<CalendarVersion[], Interval[]>();

/** When a calendar is open, in milliseconds; always, without one. */
function openOf(
  { calendar }: Pick<Target, "calendar">,
  { calendars: { byId } }: Pick<SlaSettings, "calendars">,
): Interval[] {
  if (calendar === null) return [{ from: -Infinity, until: Infinity }];
  const versions = byId.get(calendar);
  if (versions === undefined) throw new Error(`There is no calendar ${calendar}.`);
  let spans = opened.get(versions);
  if (spans === undefined) {
    spans = openSpans(versions, HORIZON.from * 1000, HORIZON.until * 1000).map(([from, until]) => ({
      from: from / 1000,
      until: until / 1000,
    }));
    opened.set(versions, spans);
  }
  return spans;
}

/** When a clock would be due if it ran on from an instant. */
export function dueIfResumed({ target, calendar, elapsed }: Clock, calendars: Calendars, at: number): number | null {
  return dueOf([{ from: at, until: Infinity }], openOf({ calendar }, { calendars }), Math.max(target - elapsed, 0));
}

export type Risk = "ok" | "at_risk" | "breached" | "paused" | "stopped";

/** How urgent a clock is (facts §4.5): at risk from three quarters of its target on, or a quarter of an hour before. */
export function riskOf({ state, outcome, elapsed, target, dueAt }: Clock, asOf: number): Risk {
  if (state === "stopped") return "stopped";
  if (outcome === "breached") return "breached";
  if (state === "paused") return "paused";
  return elapsed / target >= 0.75 || (dueAt !== null && dueAt - asOf <= 900_000) ? "at_risk" : "ok";
}
