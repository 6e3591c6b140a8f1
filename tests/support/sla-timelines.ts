// Random conversations under random policies: priorities, teams and labels that change, policies that come and go, and
// targets that run out at the very instant of an event.
import fc from "fast-check";
import type { CalendarVersion } from "./calendar-reference.ts";
import { type LedgerEvent, readEpisodes, type State } from "./ledger-reference.ts";
import { timelines } from "./ledger-timelines.ts";
import {
  type AttributeChange,
  type Calendars,
  type ClockName,
  CLOCKS,
  type ClockTarget,
  type Condition,
  type Hours,
  type PolicyVersion,
  type SlaTimeline,
} from "./sla-reference.ts";

export interface SlaCase {
  timeline: SlaTimeline;
  policies: PolicyVersion[];
  calendars: Calendars;
  asOf: number;
}

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
export const BASE = Date.parse("2026-11-16T08:00:00Z");

const hours = (weekdays: number[], ...spans: [from: number, until: number][]) =>
  weekdays.flatMap((weekday) =>
    spans.map(([from, until]) => ({ weekday, start_minute: from * 60, end_minute: until * 60 }))
  );
const always = (timeZone: string, weekly: CalendarVersion["weekly"]): CalendarVersion[] => [
  { validFrom: -Infinity, timeZone, weekly, exceptions: [] },
];
const WORKDAYS = [1, 2, 3, 4, 5];

export const CALENDAR_A = 1;
export const CALENDAR_B = 2;
export const CALENDAR_C = 3;
/** The calendars A, B and C of the facts (§3.5), by number; B gets other hours in the middle of a morning. */
export const HOURS: ReadonlyMap<number, CalendarVersion[]> = new Map([
  [CALENDAR_A, always("Europe/Berlin", hours(WORKDAYS, [9, 17]))],
  [CALENDAR_B, [
    ...always("Europe/Berlin", hours(WORKDAYS, [9, 12], [13, 18])),
    {
      validFrom: Date.parse("2026-11-18T10:00:00Z") * 1000,
      timeZone: "Europe/Berlin",
      weekly: hours([1, 3, 5], [10, 20]),
      exceptions: [],
    },
  ]],
  [CALENDAR_C, always("America/New_York", hours([0, 1, 2, 3, 4, 5, 6], [22, 30]))],
]);

/** Team 1 keeps hours of its own; the account keeps A, or none at all. */
export const calendarUses: fc.Arbitrary<Calendars> = fc.constantFrom(
  { byId: HOURS, account: CALENDAR_A, teams: new Map([[1, CALENDAR_C]]) },
  { byId: HOURS, account: CALENDAR_A, teams: new Map([[1, CALENDAR_C]]), inboxes: new Map([[1, CALENDAR_B]]) },
  { byId: HOURS },
);

const priority = fc.constantFrom("", "low", "medium", "high", "urgent");
const team = fc.constantFrom(null, 1, 2);
const label = fc.constantFrom("vip", "billing");

const seconds = fc.oneof(
  // As long as the silences of the timelines often are, to the second.
  { weight: 6, arbitrary: fc.constantFrom(1, 60, 900, 900, 1800, 1800, 3600, 3600, 14_400, 86_400) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 7200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 20 * 86_400 }) },
);
const someHours: fc.Arbitrary<Hours> = fc.constantFrom<Hours>(
  "24x7",
  "24x7",
  "business",
  "business",
  CALENDAR_A,
  CALENDAR_B,
  CALENDAR_C,
);
const pausing = fc.subarray<State>(["snoozed", "third_party", "bot"]);

const target: fc.Arbitrary<ClockTarget> = fc.record({
  hours: someHours,
  pauses: fc.option(pausing, { nil: undefined }),
  priorities: fc.record({
    urgent: fc.record({ seconds, hours: fc.option(someHours, { nil: undefined }) }),
    high: fc.record({ seconds }),
    default: fc.record({ seconds }),
  }, { requiredKeys: [] }).filter((priorities) => Object.keys(priorities).length > 0),
});

const targets: fc.Arbitrary<PolicyVersion["targets"]> = fc.tuple(
  fc.subarray([...CLOCKS], { minLength: 1 }),
  fc.array(target, { minLength: CLOCKS.length, maxLength: CLOCKS.length }),
).map(([names, all]) => Object.fromEntries(names.map((name, index): [ClockName, ClockTarget] => [name, all[index]])));

const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({
    attribute: fc.constant("priority" as const),
    operator: fc.constantFrom("is" as const, "is_not" as const),
    value: fc.constantFrom("low", "high", "urgent"),
  }),
  fc.record({
    attribute: fc.constant("priority" as const),
    operator: fc.constantFrom("in" as const, "not_in" as const),
    value: fc.constant<string[]>(["high", "urgent"]),
  }),
  fc.record({
    attribute: fc.constant("team_id" as const),
    operator: fc.constantFrom("is" as const, "is_not" as const),
    value: fc.constantFrom(1, 2),
  }),
  fc.record({
    attribute: fc.constant("label" as const),
    operator: fc.constantFrom("is" as const, "is_not" as const),
    value: label,
  }),
  fc.record({
    attribute: fc.constantFrom("priority" as const, "team_id" as const, "label" as const),
    operator: fc.constantFrom("exists" as const, "missing" as const),
  }),
  fc.record({
    attribute: fc.constant("inbox_id" as const),
    operator: fc.constantFrom("is" as const, "is_not" as const),
    value: fc.constantFrom(1, 2),
  }),
);

const instant = fc.oneof(
  fc.constantFrom(BASE, BASE + HOUR, BASE + DAY),
  fc.integer({ min: -3600, max: 30 * 86_400 }).map((after) => BASE + after * SECOND),
);

/** Versions of one policy, each until the next; the last one for ever or until it is withdrawn. */
function versions(policy: number, position: number): fc.Arbitrary<PolicyVersion[]> {
  return fc.record({
    since: fc.oneof({ weight: 3, arbitrary: fc.constant([BASE - DAY]) }, fc.constant([])),
    changes: fc.uniqueArray(instant, { maxLength: 2 }),
    isWithdrawn: fc.boolean(),
    contents: fc.array(fc.record({ conditions: fc.array(condition, { maxLength: 2 }), targets }), {
      minLength: 3,
      maxLength: 3,
    }),
    isSaid: fc.boolean(),
  }).map(({ since, changes, isWithdrawn, contents, isSaid }) => {
    const instants = [...new Set([...since, ...changes])].toSorted((one, other) => one - other);
    if (instants.length === 0) instants.push(BASE - DAY);
    const withdrawn = isWithdrawn && instants.length > 1 ? instants.pop() : undefined;
    return instants.map((validFrom, index) => ({
      policy,
      version: index + 1,
      position,
      validFrom,
      validUntil: instants[index + 1] ?? withdrawn ?? null,
      // At times a new version says what the one before said.
      ...contents[isSaid ? 0 : index],
    }));
  });
}

export const policies: fc.Arbitrary<PolicyVersion[]> = fc.tuple(
  fc.option(versions(1, 1)),
  fc.option(versions(2, 2)),
  versions(3, 3),
).map((all) => all.flatMap((one) => one ?? []));

type Change = Omit<AttributeChange, "at">;
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 3, arbitrary: priority.map((value): Change => ({ priority: value })) },
  { weight: 1, arbitrary: team.map((value): Change => ({ team: value })) },
  { weight: 1, arbitrary: fc.subarray(["billing", "vip"]).map((value): Change => ({ labels: value })) },
);

export interface Reach {
  /** A share of the timeline's events. */
  reach: number;
  after: number;
}

const reach: fc.Arbitrary<Reach> = fc.record({
  reach: fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
  after: fc.oneof(
    fc.constantFrom(0, 0, 1),
    fc.integer({ min: 0, max: 4 * HOUR }),
    fc.integer({ min: 0, max: 30 * DAY }),
  ),
});

export interface SlaStory {
  timeline: SlaTimeline;
  asOf: number;
}

// Silences of round lengths, so that targets often run out at the very instant of an event.
const ROUND = [900 * SECOND, 1800 * SECOND, HOUR, 4 * HOUR];

/** The same events, each silence of a minute and more as long as the nearest round one. */
function rounded(events: LedgerEvent[]): LedgerEvent[] {
  let now = events[0].at;
  return events.map((event, index) => {
    const silence = index === 0 ? 0 : event.at - events[index - 1].at;
    const nearest = ROUND.toSorted((one, other) => Math.abs(one - silence) - Math.abs(other - silence))[0];
    now += silence < 60 * SECOND ? silence : nearest;
    return { ...event, at: now };
  });
}

/** False where a reply falls on the instant of the reopen after it that begins an episode: whose it is no instant tells. */
function isTold({ events, options }: SlaTimeline): boolean {
  const starts = readEpisodes(events, { ...options, asOf: Infinity });
  return starts.every(({ startedAt, steps }) =>
    events.every(({ at, id, class: name }) =>
      at !== startedAt || name !== "human" || steps.some((step) => step.kind === "message" && step.id === id)
    )
  );
}

/** A conversation with what changes of it, and an instant to read it at. */
export function slaStories({ longest = 25 } = {}): fc.Arbitrary<SlaStory> {
  return fc.record({
    timeline: timelines({ base: BASE, longest }),
    isRound: fc.boolean(),
    first: fc.record({ priority, team, labels: fc.subarray(["billing", "vip"]) }),
    changes: fc.array(fc.record({ place: reach, change }), { maxLength: 5 }),
    merge: fc.option(reach, { freq: 8 }),
    asOf: reach,
  }).map(({ timeline: { events: said, options: { asOf: _, ...options } }, isRound, first, changes, merge, asOf }) => {
    const events = isRound ? rounded(said) : said;
    const at = ({ reach: share, after }: Reach) =>
      events[Math.min(events.length - 1, Math.floor(share * events.length))].at + after;
    const later = changes.map(({ place, change: what }) => ({ at: at(place), ...what }));
    const timeline: SlaTimeline = {
      events,
      changes: [{ at: BASE, ...first }, ...later.toSorted((one, other) => one.at - other.at)],
      // Inboxes differ by whether they have a bot.
      inbox: options.hasBot === true ? 1 : options.hasBot === false ? 2 : 3,
      options,
    };
    if (merge !== null) {
      const mergedAt = at(merge);
      timeline.mergedAt = mergedAt;
      // It goes on in the other one.
      timeline.events = events.filter((event) => event.at <= mergedAt);
    }
    return { timeline, asOf: at(asOf) };
  }).filter(({ timeline }) => isTold(timeline));
}

export const slaCases: fc.Arbitrary<SlaCase> = fc.record({ story: slaStories(), policies, calendars: calendarUses })
  .map(
    ({ story, ...settings }) => ({ ...story, ...settings }),
  );
