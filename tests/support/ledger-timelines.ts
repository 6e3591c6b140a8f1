// Random timelines of one conversation, plausible and nasty: bursts within a millisecond, statuses in any order, silences
// that end exactly at the episode gap or the durable window and a millisecond to either side, bots, notes, failed sends.
import fc from "fast-check";
import type { LedgerEvent, LedgerOptions, MessageClass, Status } from "./ledger-reference.ts";

export interface Timeline {
  /** In order of time, then of what came first at the source; instants are whole milliseconds. */
  events: LedgerEvent[];
  options: LedgerOptions;
}

/** How far the next event lies: so long after the one before, or so far from the end of a window after a resolve. */
type Pause = { after: number } | { window: "episodeGap" | "durable"; offset: number };

type Happening =
  | { kind: "message"; class: MessageClass; author: number | null; question: boolean }
  | { kind: "status"; status: Status }
  | { kind: "assignee"; assignee: string | null }
  | { kind: "csat"; rating: number }
  // The pairs the source sends: each part is an event of its own, `lag` milliseconds apart.
  | { kind: "reopening"; status: Status; lag: number }
  | { kind: "closing"; lag: number };

interface Move {
  pause: Pause;
  happening: Happening;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const pause: fc.Arbitrary<Pause> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 0, 0, 1).map((after) => ({ after })) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 2 * MINUTE }).map((after) => ({ after })) },
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 12 * HOUR }).map((after) => ({ after })) },
  // Whole seconds are what the source mostly sends, and what meets by chance.
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 7200 }).map((seconds) => ({ after: seconds * SECOND })) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 40 * DAY }).map((after) => ({ after })) },
  {
    weight: 3,
    arbitrary: fc.record({
      window: fc.constantFrom("episodeGap" as const, "episodeGap" as const, "durable" as const),
      offset: fc.constantFrom(-1, 0, 1),
    }),
  },
);

const status = fc.constantFrom<Status>("open", "resolved", "pending", "snoozed");
const lag = fc.oneof(fc.constantFrom(0, 1), fc.integer({ min: 0, max: 2 * SECOND }));
const author = fc.option(fc.integer({ min: 1, max: 3 }), { freq: 8 });

const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("message" as const),
      class: fc.constantFrom<MessageClass>(
        ...["customer", "customer", "customer", "human", "human", "bot", "auto", "note", "failed"] as const,
      ),
      author,
      question: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("status" as const), status }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("assignee" as const),
      assignee: fc.constantFrom("user:1", "user:2", "user:3", "agent_bot:3", null, null),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("csat" as const), rating: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("reopening" as const),
      status: fc.constantFrom<Status>("open", "pending"),
      lag,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("closing" as const), lag }) },
);

const CUSTOMER: Happening = { kind: "message", class: "customer", author: null, question: false };

const windows = fc.record({
  episodeGap: fc.constantFrom(259_200, 259_200, 259_200, 3600, 1_209_600),
  durable: fc.constantFrom(604_800, 604_800, 7200),
  hasBot: fc.constantFrom(true, false, null),
});

/** Between one event and sixty; `base` is the instant of creation. */
export function timelines({ base = Date.parse("2026-11-16T08:00:00Z"), longest = 60 } = {}): fc.Arbitrary<Timeline> {
  return fc.record({
    windows,
    first: status,
    // Without a word nothing is measured, so most begin with one.
    isAsked: fc.constantFrom(true, true, true, false),
    moves: fc.array(fc.record({ pause, happening }), { maxLength: longest - 1, size: "max" }),
    asOf: fc.record({
      // A share of the timeline's events, so that it still means something when the timeline shrinks.
      reach: fc.oneof({ weight: 2, arbitrary: fc.constant(1) }, fc.double({ min: 0, max: 1, noNaN: true })),
      after: fc.oneof(fc.constantFrom(-1, 0, 1), fc.integer({ min: 0, max: 30 * DAY })),
    }),
  }).map(({ windows: chosen, first, isAsked, moves, asOf }) => {
    const asked: Move = { pause: { after: 0 }, happening: CUSTOMER };
    const events = play(base, first, isAsked ? [asked, ...moves] : moves, chosen).slice(0, longest);
    const reached = events[Math.min(events.length - 1, Math.floor(asOf.reach * events.length))];
    return { events, options: { ...chosen, asOf: reached.at + asOf.after } };
  });
}

function play(
  base: number,
  first: Status,
  moves: readonly Move[],
  options: Pick<LedgerOptions, "episodeGap" | "durable">,
): LedgerEvent[] {
  const events: LedgerEvent[] = [{ at: base, kind: "created", id: 1, status: first }];
  let now = base;
  let resolvedAt: number | null = null;
  const surveys: number[] = [];
  const add = (event: Omit<LedgerEvent, "at" | "id">) => {
    const id = events.length + 1;
    events.push({ at: now, id, ...event });
    if (event.class === "auto") surveys.push(id);
    if (event.status === "resolved") resolvedAt = now;
  };
  for (const { pause: { ...gap }, happening: what } of moves) {
    if ("after" in gap) now += gap.after;
    else now = Math.max(now, (resolvedAt ?? now) + options[gap.window] * SECOND + gap.offset);
    if (what.kind === "reopening") {
      add({ kind: "message", class: "customer" });
      now += what.lag;
      add({ kind: "status", status: what.status });
    } else if (what.kind === "closing") {
      add({ kind: "status", status: "resolved" });
      now += what.lag;
      add({ kind: "message", class: "auto" });
    } else if (what.kind === "csat") {
      // A conversation is asked once, and an answer to a survey that was never sent is no answer.
      const surveyMessageId = surveys.shift();
      if (surveyMessageId !== undefined && !events.some(({ kind }) => kind === "csat")) {
        add({ kind: "csat", rating: what.rating, surveyMessageId });
      }
    } else if (what.kind === "message") {
      const { class: name, author: writer, question } = what;
      if (name === "bot") add({ kind: "message", class: name, question });
      else if (name === "human" || name === "note" || name === "failed") {
        add({ kind: "message", class: name, author: writer });
      } else add({ kind: "message", class: name });
    } else {
      add(what);
    }
  }
  return events;
}
