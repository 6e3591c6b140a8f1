// The reference that the database's SLA clocks are held against meets every numbered fixture and settled reading itself,
// and the laws no clock may break.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SLA_CORNERS, SLA_NUMBERED, SLA_POLICIES, SLA_SETTLED } from "../fixtures/sla-fixtures.ts";
import { elapsed } from "../support/calendar-reference.ts";
import { type Clock, dueIfResumed, riskOf, slaClocks } from "../support/sla-reference.ts";
import { CALENDAR_A, HOURS, type SlaCase, slaCases } from "../support/sla-timelines.ts";

const SEED = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env.OCC_SLA_RUNS ?? 2000);
const parameters = { numRuns: RUNS, seed: SEED };
console.log(`sla: seed ${SEED} (OCC_TEST_SEED=${SEED} repeats it, OCC_SLA_RUNS=20000 runs long)`);

const CALENDARS = { byId: HOURS, account: CALENDAR_A };
const SECOND = 1000;

describe("fixture", () => {
  test.each([...SLA_NUMBERED, ...SLA_SETTLED, ...SLA_POLICIES, ...SLA_CORNERS])(
    "$name",
    ({ timeline, policies, readings }) => {
      for (const { asOf, clocks } of readings) {
        const found = slaClocks(timeline, { policies, calendars: CALENDARS, asOf }).map((clock) => ({
          ...clock,
          risk: riskOf(clock, asOf),
          dueIfResumed: dueIfResumed(clock, CALENDARS, asOf),
        }));

        expect(found).toHaveLength(clocks.length);
        expect(found).toMatchObject(clocks);
      }
    },
  );

  test("FX-06 attainment leaves the cancelled one out: 1 of 2", () => {
    const asOf = Date.parse("2026-11-16T12:00:00Z");
    const counted = SLA_NUMBERED.filter(({ name }) => name.startsWith("FX-06")).flatMap(({ timeline, policies }) =>
      slaClocks(timeline, { policies, calendars: CALENDARS, asOf })
    ).filter(({ outcome }) => outcome === "met" || outcome === "breached");

    expect(counted.filter(({ outcome }) => outcome === "met").length / counted.length).toBe(0.5);
  });

  test("FX-13 shares of the target used up", () => {
    const shares = SLA_NUMBERED.filter(({ name }) => name.startsWith("FX-13")).map(
      ({ timeline, policies, readings }) => {
        const [clock] = slaClocks(timeline, { policies, calendars: CALENDARS, asOf: readings[0].asOf });
        return Math.round(clock.elapsed / clock.target * 10_000) / 10_000;
      },
    );

    expect(shares).toEqual([0.5, 0, 0.8333, 2, 0.875, 0.9167]);
  });
});

describe("law", () => {
  const read = ({ timeline: about, policies, calendars, asOf }: SlaCase, at = asOf) =>
    slaClocks(about, { policies, calendars, asOf: at });
  const key = ({ episode, clock, instance }: Clock) => `${episode} ${clock} ${instance}`;
  const byKey = (all: Clock[]) => new Map(all.map((clock) => [key(clock), clock]));

  test("what comes after the as-of instant changes nothing (P3)", () =>
    fc.assert(
      fc.property(slaCases, (told) => {
        const { timeline: about, asOf } = told;
        const known = {
          ...about,
          events: about.events.filter(({ at }) => at <= asOf),
          changes: about.changes.filter(({ at }) => at <= asOf),
        };

        expect(read(told)).toEqual(read({ ...told, timeline: known }));
      }),
      parameters,
    ));

  test("what is breached stays so, at the same instant, and overruns never shrink under one target (P3)", () =>
    fc.assert(
      fc.property(slaCases, fc.integer({ min: 0, max: 30 * 86_400_000 }), (told, later) => {
        const then = byKey(read(told, told.asOf + later));
        for (const clock of read(told)) {
          const same = then.get(key(clock));
          expect(same).toBeDefined();
          expect(same?.startedAt).toBe(clock.startedAt);
          if (clock.breachAt !== null) expect(same).toMatchObject({ breachAt: clock.breachAt, outcome: "breached" });
          if (same !== undefined && same.appliedAt === clock.appliedAt && same.calendar === clock.calendar) {
            expect(same.elapsed).toBeGreaterThanOrEqual(clock.elapsed);
          }
        }
      }),
      parameters,
    ));

  test("elapsed adds up: what passes between two instants while it runs is the open time between them (P4)", () =>
    fc.assert(
      fc.property(slaCases, fc.integer({ min: 1, max: 7 * 86_400_000 }), (told, later) => {
        // Nothing happens in between, so that a clock that runs goes on running.
        const known = told.timeline.events.filter(({ at }) => at <= told.asOf);
        const changes = told.timeline.changes.filter(({ at }) => at <= told.asOf);
        const { mergedAt = Infinity, ...about } = told.timeline;
        fc.pre(mergedAt > told.asOf);
        const still = {
          ...told,
          policies: told.policies.filter(({ validFrom }) => validFrom <= told.asOf).map((one) => ({
            ...one,
            validUntil: one.validUntil !== null && one.validUntil <= told.asOf ? one.validUntil : null,
          })),
          timeline: { ...about, events: known, changes },
        };
        const then = byKey(read(still, told.asOf + later));
        for (const clock of read(still)) {
          const same = then.get(key(clock));
          const hours = clock.calendar === null ? null : told.calendars.byId.get(clock.calendar);
          const open = hours
            ? elapsed(hours, told.asOf * 1000, (told.asOf + later) * 1000) / 1_000_000
            : later / SECOND;
          const passed = clock.state === "running" ? open : 0;
          expect(same?.elapsed).toBeCloseTo(clock.elapsed + passed, 6);
        }
      }),
      parameters,
    ));

  test("due is the first instant at which the target is used up (P5)", () =>
    fc.assert(
      fc.property(slaCases, (told) => {
        for (const clock of read(told)) {
          if (clock.state !== "running" || clock.dueAt === null || clock.dueAt <= told.asOf) continue;
          // As if nothing more happened.
          const still = {
            ...told,
            policies: told.policies.map((one) => ({
              ...one,
              validFrom: one.validFrom <= told.asOf ? one.validFrom : Infinity,
              validUntil: one.validUntil !== null && one.validUntil <= told.asOf ? one.validUntil : null,
            })),
            timeline: {
              ...told.timeline,
              mergedAt: undefined,
              events: told.timeline.events.filter(({ at }) => at <= told.asOf),
              changes: told.timeline.changes.filter(({ at }) => at <= told.asOf),
            },
          };
          const at = (instant: number) => byKey(read(still, instant)).get(key(clock));
          expect(at(clock.dueAt)?.elapsed).toBe(clock.target);
          expect(at(clock.dueAt - 1)?.elapsed).toBeLessThan(clock.target);
          expect(at(clock.dueAt)?.outcome).toBe(clock.outcome);
          expect(at(clock.dueAt + 1)).toMatchObject({ outcome: "breached" });
          if (clock.outcome === null) expect(at(clock.dueAt + 1)).toMatchObject({ breachAt: clock.dueAt });
        }
      }),
      parameters,
    ));

  test("breached exactly if time passes what was due, whatever happened (P11)", () =>
    fc.assert(
      fc.property(slaCases, (told) => {
        for (const clock of read(told)) {
          const { outcome, breachAt, startedAt, stoppedAt, dueAt, elapsed: used, target, overrun } = clock;
          const end = stoppedAt ?? told.asOf;
          expect(outcome === "breached").toBe(breachAt !== null);
          if (breachAt !== null) {
            expect(breachAt).toBeGreaterThan(startedAt);
            expect(breachAt).toBeLessThan(end);
          }
          // Late is who is over the target for longer than it holds.
          if (clock.appliedAt < end) {
            if (clock.state === "running" && dueAt !== null && dueAt < end) expect(outcome).toBe("breached");
            if (used > target) expect(outcome).toBe("breached");
          }
          expect(overrun).toBeCloseTo(used - target, 6);
          expect(Math.round(used * SECOND)).toBeLessThanOrEqual(end - startedAt);
          if (clock.state === "paused" && breachAt === null) expect(dueAt).toBeNull();
          if (clock.state !== "stopped") expect(stoppedAt).toBeNull();
        }
      }),
      parameters,
    ));

  test("a note or a failed message changes no clock (P13)", () =>
    fc.assert(
      fc.property(slaCases, fc.constantFrom("note", "failed"), fc.nat(), (told, name, place) => {
        const { events } = told.timeline;
        const { at } = events[place % events.length];
        const added = { at, kind: "message" as const, class: name, author: 1, id: 1000 };

        expect(read({ ...told, timeline: { ...told.timeline, events: [...events, added] } })).toEqual(read(told));
      }),
      parameters,
    ));

  test("the order in which events are given changes nothing (P1)", () =>
    fc.assert(
      fc.property(
        slaCases.chain((told) =>
          fc.shuffledSubarray(told.timeline.events, { minLength: told.timeline.events.length })
            .map((shuffled) => ({ told, shuffled }))
        ),
        ({ told, shuffled }) => {
          expect(read({ ...told, timeline: { ...told.timeline, events: shuffled } })).toEqual(read(told));
        },
      ),
      parameters,
    ));

  test("a policy split into versions that say the same changes nothing but the version", () =>
    fc.assert(
      fc.property(slaCases, fc.integer({ min: 0, max: 30 * 86_400 }), (told, after) => {
        const split = told.policies.flatMap((one) => {
          const cut = Math.max(one.validFrom, 0) + after * SECOND + 1;
          return one.validUntil !== null && cut >= one.validUntil
            ? [one]
            : [{ ...one, validUntil: cut }, { ...one, validFrom: cut }];
        });

        expect(read({ ...told, policies: split })).toEqual(read(told));
      }),
      parameters,
    ));

  test("random cases meet what they are there for", () => {
    const seen: Record<string, number> = {};
    const see = (what: string, isSeen: boolean) => seen[what] = (seen[what] ?? 0) + Number(isSeen);
    for (const told of fc.sample(slaCases, parameters)) {
      const all = read(told);
      see("met", all.some(({ outcome }) => outcome === "met"));
      see("breached while running", all.some(({ outcome, state }) => outcome === "breached" && state === "running"));
      see("breached and stopped", all.some(({ outcome, state }) => outcome === "breached" && state === "stopped"));
      see("cancelled", all.some(({ outcome }) => outcome === "cancelled"));
      see("closed unanswered", all.some(({ outcome }) => outcome === "closed_unanswered"));
      see("paused", all.some(({ state }) => state === "paused"));
      see("target changed", all.some(({ appliedAt, startedAt }) => appliedAt > startedAt));
      see("late by the change", all.some(({ breachAt, appliedAt }) => breachAt !== null && breachAt === appliedAt));
      see("lowered after a breach", all.some(({ breachAt, appliedAt }) => breachAt !== null && breachAt < appliedAt));
      see("no target any more", all.some(({ stoppedAs }) => stoppedAs === "policy"));
      see("on time to the instant", all.some(({ dueAt, stoppedAt }) => dueAt !== null && dueAt === stoppedAt));
    }
    console.log(seen);
    for (const [what, times] of Object.entries(seen)) expect(times, what).toBeGreaterThan(RUNS / 400);
  });
});
