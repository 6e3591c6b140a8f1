// The reference the database's ledger is held against meets every numbered fixture itself, and the laws no ledger may
// break.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CORNERS } from "../fixtures/ledger-corners.ts";
import { type CalendarName, NUMBERED, SETTLED } from "../fixtures/ledger-fixtures.ts";
import { OUTCOMES } from "../fixtures/ledger-outcomes.ts";
import { type LedgerEvent, readLedger } from "../support/ledger-reference.ts";
import { timelines } from "../support/ledger-timelines.ts";

const DAY = 86_400_000;
const HOUR = 3_600_000;
const MONDAY = Date.parse("2026-11-16T00:00:00Z");

/** Open time since a Monday in winter, when Berlin's 09:00 to 17:00 is 08:00 to 16:00 UTC. */
function readCalendarA(at: number): number {
  const days = Math.floor((at - MONDAY) / DAY);
  const weekday = ((days % 7) + 7) % 7;
  const openDays = Math.floor(days / 7) * 5 + Math.min(weekday, 5);
  const today = weekday < 5 ? at - MONDAY - days * DAY - 8 * HOUR : 0;
  return openDays * 8 * HOUR + Math.min(Math.max(today, 0), 8 * HOUR);
}

const CLOCKS: Record<CalendarName, (at: number) => number> = { A: readCalendarA };

const parameters = { numRuns: Number(process.env.OCC_LEDGER_RUNS ?? 2000) };

describe("fixture", () => {
  test.each([...NUMBERED, ...SETTLED, ...CORNERS])("$name", ({ events, options, calendar, readings }) => {
    const businessClock = calendar === null ? undefined : CLOCKS[calendar];
    for (const { asOf, episodes, conversation = {} } of readings) {
      const read = readLedger(events, { ...options, asOf, businessClock });

      expect(read.episodes).toHaveLength(episodes.length);
      episodes.forEach((expected, index) => expect(read.episodes[index]).toMatchObject(expected));
      expect(read.conversation).toMatchObject(conversation);
    }
  });

  test.each(OUTCOMES)("FX-19 episode $episode: $story", (expected) => {
    const { episodes } = readLedger(expected.events, { ...expected.options, asOf: expected.asOf });

    expect(episodes).toHaveLength(1);
    expect(episodes[0]).toMatchObject({
      ai_eligible: expected.eligible,
      ai_involved: expected.involved,
      ai_answered: expected.answered,
      ai_class: expected.outcome,
    });
    if (expected.claim) expect(episodes[0].durable).toBe(expected.claim.durable);
  });

  test("FX-19 in shares", () => {
    const read = OUTCOMES.map(({ events, options, asOf }) => readLedger(events, { ...options, asOf }).episodes[0]);
    const count = (isCounted: (episode: typeof read[number]) => boolean) => read.filter(isCounted).length;

    expect({
      eligible: count((episode) => episode.ai_eligible),
      involved: count((episode) => episode.ai_involved),
      answered: count((episode) => episode.ai_answered),
      claimed: count((episode) => episode.ai_class === "claimed_resolved"),
      durable: count((episode) => episode.ai_class === "claimed_resolved" && episode.durable === true),
      handedOff: count((episode) => episode.ai_class === "handed_off"),
      assisted: count((episode) => episode.ai_class === "assisted"),
      abandoned: count((episode) => episode.ai_class === "abandoned"),
    }).toEqual({
      eligible: 9,
      involved: 7,
      answered: 5,
      claimed: 3,
      durable: 2,
      handedOff: 2,
      assisted: 1,
      abandoned: 1,
    });
  });
});

describe("law", () => {
  const isClose = (one: number, other: number) => Math.abs(one - other) < 1e-6;

  test("what comes after the as-of instant changes nothing (P3)", () =>
    fc.assert(
      fc.property(timelines(), ({ events, options }) => {
        const known = events.filter(({ at }) => at <= options.asOf);

        expect(readLedger(events, options)).toEqual(readLedger(known, options));
      }),
      parameters,
    ));

  test("the order in which events are given changes nothing (P1)", () =>
    fc.assert(
      fc.property(
        timelines().chain(({ events, options }) =>
          fc.shuffledSubarray(events, { minLength: events.length }).map((shuffled) => ({ events, shuffled, options }))
        ),
        ({ events, shuffled, options }) => {
          expect(readLedger(shuffled, options)).toEqual(readLedger(events, options));
        },
      ),
      parameters,
    ));

  test("an active time to resolve is the sum of the states, bot phase included (P7)", () =>
    fc.assert(
      fc.property(timelines(), ({ events, options }) => {
        for (const episode of readLedger(events, { ...options, businessClock: readCalendarA }).episodes) {
          if (episode.ttr_active === null || episode.ttr_active_business === null) continue;
          const { agent_work, agent_wait, on_hold, bot_phase } = episode;
          const business = episode.agent_work_business + episode.agent_wait_business + episode.on_hold_business +
            episode.bot_phase_business;
          expect(isClose(episode.ttr_active, agent_work + agent_wait + on_hold + bot_phase)).toBe(true);
          expect(isClose(episode.ttr_active_business, business)).toBe(true);
          expect(isClose(episode.requester_wait, agent_work + on_hold)).toBe(true);
        }
      }),
      parameters,
    ));

  test("a note or a failed message changes nothing (P13)", () =>
    fc.assert(
      fc.property(timelines(), fc.constantFrom("note", "failed"), fc.nat(), ({ events, options }, name, place) => {
        // Its own id comes after all others, as the id of a message that is sent last at that instant would.
        const { at } = events[place % events.length];
        const added: LedgerEvent = { at, kind: "message", class: name, author: 1, id: 1000 };

        expect(readLedger([...events, added], options)).toEqual(readLedger(events, options));
      }),
      parameters,
    ));

  test("a status or an assignee said twice is said once", () =>
    fc.assert(
      fc.property(timelines(), fc.nat(), ({ events, options }, place) => {
        const changes = events.filter(({ kind }) => kind === "status" || kind === "assignee");
        fc.pre(changes.length > 0);
        const repeated = changes[place % changes.length];

        expect(readLedger([...events, repeated], options)).toEqual(readLedger(events, options));
      }),
      parameters,
    ));

  test("business time never exceeds calendar time (P6)", () =>
    fc.assert(
      fc.property(timelines(), ({ events, options }) => {
        for (const episode of readLedger(events, { ...options, businessClock: readCalendarA }).episodes) {
          for (const name of ["frt", "frt_customer", "wait_total", "wait_longest", "ttr_full", "ttr_human"] as const) {
            expect(episode[`${name}_business`] ?? 0).toBeLessThanOrEqual((episode[name] ?? 0) + 1e-6);
            expect(episode[`${name}_business`] === null).toBe(episode[name] === null);
          }
        }
      }),
      parameters,
    ));

  test("every human reply, customer message and resolve of an episode's conversation is in exactly one episode", () =>
    fc.assert(
      fc.property(timelines(), ({ events, options }) => {
        const { episodes, conversation } = readLedger(events, options);
        const known = events.filter(({ at }) => at <= options.asOf);
        const said = (name: string) => known.filter((event) => event.class === name).length;
        const resolutions = episodes.reduce((sum, episode) => sum + episode.resolutions, 0);

        expect(conversation.human_replies).toBe(said("human"));
        expect(conversation.customer_messages).toBe(said("customer"));
        expect(resolutions).toBeLessThanOrEqual(conversation.resolutions);
      }),
      parameters,
    ));

  test("holders, states and waits stay inside their episode", () =>
    fc.assert(
      fc.property(timelines(), ({ events, options }) => {
        for (const episode of readLedger(events, options).episodes) {
          const { agent_work, agent_wait, on_hold, bot_phase, wait_longest, wait_total } = episode;
          const held = Object.values(episode.held).reduce((sum, one) => sum + one, 0);
          expect(isClose(held + episode.unassigned_s, agent_work + agent_wait + on_hold + bot_phase)).toBe(true);
          expect(wait_longest === null ? 0 : wait_longest).toBeLessThanOrEqual(wait_total ?? 0);
          expect(episode.waiting).toBe(episode.wait_current !== null);
          expect(episode.assignees).toBeLessThanOrEqual(episode.stations);
          if (episode.stations > 0) expect(episode.reassignments).toBeLessThan(episode.stations);
          if (episode.frt !== null) expect(episode.frt).toBeLessThanOrEqual(episode.frt_customer ?? -1);
        }
      }),
      parameters,
    ));

  test("random timelines meet what they are there for", () => {
    const seen = { episodes: 0, reopens: 0, handOffs: 0, outbound: 0, unreplied: 0, durable: 0, onTheGap: 0, long: 0 };
    for (const { events, options } of fc.sample(timelines(), parameters.numRuns)) {
      const { episodes } = readLedger(events, options);
      const resolves = events.filter(({ status }) => status === "resolved");
      const gap = options.episodeGap * 1000;
      if (episodes.length > 1) seen.episodes++;
      if (episodes.some(({ reopens }) => reopens > 0)) seen.reopens++;
      if (episodes.some(({ handoff_s }) => handoff_s !== null)) seen.handOffs++;
      if (episodes.some(({ is_outbound }) => is_outbound)) seen.outbound++;
      if (episodes.some(({ closed_unreplied }) => closed_unreplied)) seen.unreplied++;
      if (episodes.some(({ durable }) => durable === true)) seen.durable++;
      if (resolves.some((resolve) => events.some(({ at }) => at === resolve.at + gap))) seen.onTheGap++;
      if (events.length > 30) seen.long++;
    }

    for (const [what, times] of Object.entries(seen)) {
      expect(times, what).toBeGreaterThan(parameters.numRuns / 50);
    }
  });
});
