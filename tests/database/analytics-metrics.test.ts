// The views over many episodes, against the fixtures and properties of docs/metrics.md. Timelines are told to the event
// log, walked through, and read back through the views alone.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  A,
  assigned,
  at,
  B,
  created,
  customer,
  human,
  PLAIN,
  resolved,
  says,
  timeline,
} from "../fixtures/ledger-fixtures.ts";
import { OUTCOMES } from "../fixtures/ledger-outcomes.ts";
import type { Sql } from "../support/database.ts";
import { type LedgerEvent, readLedger } from "../support/ledger-reference.ts";
import { timelines } from "../support/ledger-timelines.ts";
import {
  answered,
  calmZone,
  clock,
  opening,
  percentile,
  plain,
  seed,
  useTimelines,
} from "./analytics-metrics.support.ts";

const { inZone, rolledBack, tell, walk } = useTimelines();
const DAY = 86_400_000;

describe("backlog", () => {
  const fixture14 = plain(
    timeline(["2026-11-16T08:00:00", created("open"), customer], ["2026-11-17T10:00:00", resolved]),
    opening("2026-11-16T22:30:00"),
    timeline(["2026-11-16T23:30:00", created("open"), customer], ["2026-11-17T23:15:00", resolved]),
    timeline(
      ["2026-11-17T09:00:00", created("open"), customer],
      ["2026-11-17T12:00:00", { kind: "status", status: "snoozed" }],
      ["2026-11-18T09:00:00", { kind: "status", status: "open" }],
    ),
    timeline(["2026-11-15T09:00:00", created("open"), customer], ["2026-11-16T22:59:59", resolved]),
  );
  const days =
    `select to_char(day, 'DD') as day, backlog_start::int as start, created::int, reopened::int, resolved::int,
    backlog_end::int as end, open_end::int as open, snoozed_end::int as snoozed
    from analytics.backlog_by_day where account_id = 1 and day between '2026-11-16' and '2026-11-18' order by day`;

  test("FX-14: at midnight in Berlin, with the identity of its parts", () =>
    rolledBack(async (sql) => {
      await tell(fixture14, { zone: "Europe/Berlin" });

      await sql.resultsEqual(days, [
        { day: "16", start: 1, created: 2, reopened: 0, resolved: 1, end: 2, open: 2, snoozed: 0 },
        { day: "17", start: 2, created: 2, reopened: 0, resolved: 1, end: 3, open: 2, snoozed: 1 },
        { day: "18", start: 3, created: 0, reopened: 0, resolved: 1, end: 2, open: 2, snoozed: 0 },
      ]);
    }));

  test("FX-14: at midnight in UTC the 16th ends with three", () =>
    rolledBack(async (sql) => {
      await tell(fixture14);

      expect((await sql.rows(days))[0]).toMatchObject({ day: "16", end: 3 });
    }));

  test("what is left out is in no number but n_excluded", () =>
    rolledBack(async (sql) => {
      await tell(fixture14, { zone: "Europe/Berlin" });
      await sql.rows(`update ledger.episodes set labels = '["spam"]' where display_id = 2`);

      expect((await sql.rows(days)).map(({ end }) => end)).toEqual([1, 2, 1]);
      await sql.resultsEqual(
        "select n_included::int, n_excluded::int from analytics.backlog_by_day where day = '2026-11-16'",
        [{ n_included: 1, n_excluded: 1 }],
      );
      await sql.resultsEqual("select day::text, reason, episodes::int from analytics.exclusions", [
        { day: "2026-11-16", reason: "spam", episodes: 1 },
      ]);
      await sql.resultsEqual("select n_included::int, n_excluded::int, n_waiting::int from analytics.backlog_now", [
        { n_included: 1, n_excluded: 1, n_waiting: 1 },
      ]);
    }));

  const ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
    .concat("America/Sao_Paulo", "America/Havana", "UTC");

  test(
    "P8: on random timelines the identity holds each day, and the reference counts the same, in every zone",
    () =>
      rolledBack(async (sql) => {
        console.log(`backlog: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
        const told = fc.sample(timelines({ base: Date.parse("2024-01-01T08:00:00Z"), longest: 30 }), {
          numRuns: 60,
          seed,
        });
        await tell(told);
        for (const zone of ZONES) {
          await inZone(zone);
          const rows = await sql.rows<Record<string, number> & { day: string; ends_at: Date }>(
            `select backlog.day::text, days.ends_at, backlog_start::int, created::int, reopened::int, resolved::int,
            backlog_end::int, open_end::int, snoozed_end::int, pending_end::int,
            lag(backlog_end, 1, 0::bigint) over (order by backlog.day)::int as before
          from analytics.backlog_by_day as backlog join analytics.days using (account_id, day) order by backlog.day`,
          );

          const broken = rows.filter((day) =>
            day.backlog_end !== day.backlog_start + day.created + day.reopened - day.resolved ||
            day.backlog_end !== day.open_end + day.snoozed_end + day.pending_end || day.backlog_start !== day.before
          );
          expect(broken, zone).toEqual([]);
          for (const { ends_at, backlog_end, day } of rows.filter((_, index) => index % 7 === 0)) {
            const asOf = ends_at.getTime() - 1;
            // All episodes but a conversation's last one are over.
            const open = told.filter(({ events, options }) => {
              if (events[0].at > asOf) return false;
              const { conversation, episodes } = readLedger(events, { ...options, asOf });
              return episodes.length > 0 && conversation.status !== "resolved";
            });
            expect(backlog_end, `${zone} ${day}`).toBe(open.length);
          }
        }
      }),
    120_000,
  );

  test("days part time without a gap, and agree with what the zone calls them", () =>
    rolledBack(async (sql) => {
      await tell(plain(opening("2010-01-01T12:00:00")));
      for (const zone of ZONES) {
        await inZone(zone);
        await sql.resultsEqual(
          `select day from (select day, starts_at, ends_at, lead(starts_at) over (order by day) as next, time_zone
            from analytics.days) as days
          where next <> ends_at or (starts_at at time zone time_zone)::date <> day
            or ((ends_at - interval '1 microsecond') at time zone time_zone)::date <> day`,
          [],
        );
      }
      await inZone("Pacific/Apia");
      await sql.resultsEqual("select from analytics.days where day = '2011-12-30'", []);
    }));
});

describe("response times", () => {
  test("FX-06: a mean never without who was not answered", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(
        plain(
          timeline([ago(10_800), created("open"), customer], [ago(10_500), resolved]),
          opening(ago(10_800)),
          answered(ago(7200), 600),
        ),
      );

      const [row] = await sql.rows(
        `select frt_n::int, frt_mean, closed_unreplied::int, n_waiting::int, longest_wait, asked::int, replied::int,
          response_rate from analytics.metrics_by(1, current_date - 2, current_date + 2)`,
      );

      expect(row).toMatchObject({ frt_n: 1, frt_mean: 600, closed_unreplied: 1, n_waiting: 1, asked: 3, replied: 1 });
      expect(row.response_rate).toBeCloseTo(1 / 3, 6);
      expect(row.longest_wait).toBeCloseTo(10_800, 1);
    }));

  const FIFTEEN = [60, 120, 180, 240, 300, 600, 900, 1800, 3600, 86_400];

  test("FX-15: percentiles are interpolated, and hidden where there are too few values", () =>
    rolledBack(async (sql) => {
      await tell(plain(...FIFTEEN.map((seconds) => answered(at("09:00:00"), seconds))));

      await sql.resultsEqual(
        "select frt_n::int, frt_mean, frt_p50, frt_p75, frt_p90, frt_p95, frt_business_p50 from analytics.response_times",
        [{
          frt_n: 10,
          frt_mean: 9420,
          frt_p50: 450,
          frt_p75: 1575,
          frt_p90: null,
          frt_p95: null,
          frt_business_p50: 450,
        }],
      );
    }));

  test.each([
    { n: 19, p90: false, p95: false },
    { n: 20, p90: true, p95: false },
    { n: 39, p90: true, p95: false },
    { n: 40, p90: true, p95: true },
  ])("p90 is shown from 20 values on, p95 from 40: $n", ({ n, p90, p95 }) =>
    rolledBack(async (sql) => {
      const values = Array.from({ length: n }, (_, index) => (index + 1) * 60);
      await tell(plain(...values.map((seconds) => answered(at("09:00:00"), seconds))));

      const [row] = await sql.rows("select frt_p90, frt_p95 from analytics.response_times");
      expect(row.frt_p90 === null ? null : Math.round(row.frt_p90 * 1000)).toBe(
        p90 ? Math.round(percentile(values, 0.9) * 1000) : null,
      );
      expect(row.frt_p95 === null ? null : Math.round(row.frt_p95 * 1000)).toBe(
        p95 ? Math.round(percentile(values, 0.95) * 1000) : null,
      );
    }));

  test("FX-15: the percentile of two days is taken from both, not from their percentiles", () =>
    rolledBack(async (sql) => {
      const x = [60, 120, 180].map((seconds) => answered(at("2026-11-16T09:00:00"), seconds));
      const y = [600, 900, 1800, 3600, 7200].map((seconds) => answered(at("2026-11-17T09:00:00"), seconds));
      await tell(plain(...x, ...y));

      await sql.resultsEqual("select frt_p50 from analytics.response_times order by day", [
        { frt_p50: 120 },
        { frt_p50: 1800 },
      ]);
      await sql.resultsEqual("select frt_p50 from analytics.metrics_by(1, '2026-11-16', '2026-11-17')", [
        { frt_p50: 750 },
      ]);
    }));

  test("FX-23: half the customers have a reply after 400 seconds, those who wait counted", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(
        plain(
          ...[100, 200, 400, 600].map((seconds) => answered(ago(1000), seconds)),
          opening(ago(300)),
          opening(ago(500)),
        ),
        { zone: calmZone() },
      );

      const [row] = await sql.rows(
        "select n_included::int, n_replied::int, n_waiting::int, frt_median, frt_p50 from analytics.reply_survival",
      );
      expect(row).toEqual({ n_included: 6, n_replied: 4, n_waiting: 2, frt_median: 400, frt_p50: 300 });
    }));

  test.each([
    { name: "nothing", seconds: [], over: [], median: null },
    { name: "fewer than half are over", seconds: [1, 2, 3], over: [true, false, false], median: null },
    { name: "exactly half are left", seconds: [1, 2, 3, 4], over: [true, true, true, true], median: 2 },
    { name: "one that ends when another is lost", seconds: [5, 5, 9], over: [true, false, true], median: 9 },
  ])("Kaplan and Meier: $name", ({ seconds, over, median }) =>
    rolledBack(async (sql) => {
      expect(await sql.value("select analytics.kaplan_meier_median($1, $2)", [seconds, over])).toBe(median);
    }));
});

describe("people", () => {
  test("FX-22 and FX-30: what was held, and what was written, counts for who held and who wrote it", () =>
    rolledBack(async (sql) => {
      await tell(plain(
        timeline(
          ["08:50:00", created("open"), customer],
          ["09:00:00", assigned("user:1")],
          ["09:30:00", assigned("user:2")],
          ["10:00:00", assigned("user:1")],
          ["10:20:00", assigned(null)],
          ["10:30:00", assigned("user:2")],
          ["11:00:00", resolved],
        ),
        timeline(
          ["09:00:00", created("open"), customer],
          ["09:05:00", says("failed", { author: A })],
          ["09:20:00", human(B)],
          ["10:00:00", customer],
          ["10:10:00", says("bot")],
          ["10:15:00", human(A)],
          ["10:30:00", resolved],
        ),
      ));

      await sql.resultsEqual(
        `select agent_id::int as agent, held, first_replies::int, frt_p50, replies::int, reply_time_p50, resolved::int
        from analytics.agents order by agent_id`,
        [
          { agent: A, held: 3000, first_replies: 0, frt_p50: null, replies: 1, reply_time_p50: 900, resolved: 1 },
          { agent: B, held: 3600, first_replies: 1, frt_p50: 1200, replies: 0, reply_time_p50: null, resolved: 1 },
        ],
      );
    }));

  test("what an agent has in hand now", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(plain(
        [...opening(ago(600)), ...timeline([ago(500), { ...assigned("user:1"), id: 9 }])],
        [...answered(ago(900), 60), ...timeline([ago(500), { ...assigned("user:1"), id: 9 }])],
        [...opening(ago(400)), ...timeline([ago(300), { ...assigned("user:1"), id: 9 }])],
      ));
      await sql.rows("update ledger.episodes set priority = 'urgent' where display_id = 3");

      const [row] = await sql.rows(
        `select open::int, n_waiting::int, urgent_waiting::int as urgent, longest_wait, load_points::float8 as points
        from analytics.agent_load where agent_id = 1`,
      );
      expect(row).toMatchObject({ open: 3, n_waiting: 2, urgent: 1, points: 3.25 });
      expect(row.longest_wait).toBeCloseTo(600, 1);
    }));
});

describe("satisfaction", () => {
  const RATINGS = [5, 5, 4, 3, 1, 2, 5, null, null, 4];
  const asked = (rating: number | null): LedgerEvent[] =>
    timeline(
      ["2026-11-02T09:00:00", created("open"), customer],
      ["2026-11-02T09:10:00", human(A)],
      ["2026-11-02T10:00:00", assigned(null), resolved],
      ["2026-11-02T10:00:01", says("auto", { id: 50 })],
      ["2026-11-02T11:00:00", { kind: "csat", rating: rating ?? 1, surveyMessageId: 50, id: 51 }],
    ).filter(({ kind }) => kind !== "csat" || rating !== null);

  async function survey(sql: Sql): Promise<void> {
    await tell(plain(...RATINGS.map(asked)));
    // Of conversations without an answer the survey has to be known as one all the same.
    await sql.rows("update ledger.events set value = 'survey' where class = 'auto'");
    await sql.rows("update ledger.events set learnt_at = occurred_at");
    await walk();
  }
  const rates = `select author_id::int as author, delivered::int, answered::int, response_rate, positive::int, csat,
    round(csat_low::numeric, 4)::float8 as low, round(csat_high::numeric, 4)::float8 as high, rating_mean as mean,
    round(csat_shrunken::numeric, 4)::float8 as shrunken,
    round(csat_without_neutral::numeric, 4)::float8 as without_neutral, improved::int, worsened::int
    from analytics.csat_by_month`;

  test("FX-16: rates with their interval, credited to who wrote last before the survey", () =>
    rolledBack(async (sql) => {
      await survey(sql);

      await sql.resultsEqual(rates, [{
        ...{ author: A, delivered: 10, answered: 8, response_rate: 0.8, positive: 5, csat: 0.625, low: 0.3057 },
        ...{ high: 0.8632, shrunken: 0.7222, mean: 3.625, without_neutral: 0.7143, improved: 0, worsened: 0 },
      }]);
    }));

  test("FX-16: shrunken beside the agent too, and null where nobody answered", () =>
    rolledBack(async (sql) => {
      await survey(sql);
      const shrunken = "select round(csat_shrunken::numeric, 4)::float8 as csat from analytics.";

      await sql.resultsEqual(`${shrunken}agents where agent_id = ${A}`, [{ csat: 0.7222 }]);
      await sql.rows("delete from ledger.events where kind = 'csat'");
      await walk();
      await sql.resultsEqual(`${shrunken}agents where agent_id = ${A}`, [{ csat: null }]);
      await sql.resultsEqual(`${shrunken}csat_by_month`, [{ csat: null }]);
    }));

  const rateAgain = (sql: Sql, after: string) =>
    sql.rows(
      `with before as (
        update ledger.events set unlearnt_at = occurred_at + $1::interval
        where kind = 'csat' and value = '3' returning *
      )
      insert into ledger.events (account_id, display_id, kind, occurred_at, place, value, source, source_id, learnt_at)
      select account_id, display_id, kind, occurred_at, place, '5', source, source_id, unlearnt_at from before`,
      [after],
    );

  test("FX-16: the 3 that becomes a 5 two days later counts as 5, and as improved", () =>
    rolledBack(async (sql) => {
      await survey(sql);
      await rateAgain(sql, "2 days");

      expect((await sql.rows(rates))[0]).toMatchObject({ positive: 6, csat: 0.75, improved: 1, worsened: 0 });
      await sql.resultsEqual("select first_rating, rating, flip from analytics.csat where flip is not null", [
        { first_rating: 3, rating: 5, flip: "improved" },
      ]);
    }));

  test("a rating changed after more than seven days stays what it was", () =>
    rolledBack(async (sql) => {
      await survey(sql);
      await rateAgain(sql, "169 hours");

      expect((await sql.rows(rates))[0]).toMatchObject({ csat: 0.625, improved: 0 });
    }));

  test.each([
    { k: 50, n: 80, low: 0.5155, high: 0.7231 },
    { k: 2, n: 2, low: 0.3424, high: 1 },
    { k: 0, n: 0, low: null, high: null },
  ])("Wilson: $k of $n", ({ k, n, low, high }) =>
    rolledBack(async (sql) => {
      await sql.resultsEqual(
        `select round(analytics.wilson_lower($1, $2)::numeric, 4)::float8 as low,
          round(analytics.wilson_upper($1, $2)::numeric, 4)::float8 as high`,
        [{ low, high }],
        [k, n],
      );
    }));
});

test("FX-19: what became of the bot's part, each rate beside what it is divided by", () =>
  rolledBack(async (sql) => {
    // Long enough ago that every claim has lasted or not; the first customer says so by a rating.
    const told = OUTCOMES.map(({ events, options, asOf, episode }) => {
      const last = events.length + 1;
      const surveyed: LedgerEvent[] = episode !== 1 ? [] : [
        { at: at("09:07:00"), kind: "message", id: last, class: "auto" },
        { at: at("09:08:00"), kind: "csat", id: last + 1, rating: 5, surveyMessageId: last },
      ];
      const shifted = [...events, ...surveyed].map((event) => ({ ...event, at: event.at - 60 * DAY }));
      return { events: shifted, options: { ...options, asOf } };
    });
    await tell(told);

    await sql.resultsEqual(
      `select sum(eligible)::int as eligible, sum(involved)::int as involved, sum(answered)::int as answered,
        sum(claimed_resolved)::int as claimed, sum(confirmed)::int as confirmed, sum(handed_off)::int as handed_off,
        sum(assisted)::int as assisted, sum(abandoned)::int as abandoned, sum(undecided)::int as undecided,
        sum(durable)::int as durable, sum(not_durable)::int as not_durable, sum(closed_by_inactivity)::int as inactivity
      from analytics.ai_outcomes`,
      [{
        ...{
          eligible: 9,
          involved: 7,
          answered: 5,
          claimed: 3,
          confirmed: 1,
          handed_off: 2,
          assisted: 1,
          abandoned: 1,
        },
        // The abandoned one was left alone, too.
        ...{ undecided: 0, durable: 2, not_durable: 1, inactivity: 2 },
      }],
    );
    await sql.resultsEqual(
      `select display_id::int as episode, close_reason, is_durable from analytics.ai_episodes
      where ai_class = 'claimed_resolved' order by 1`,
      [
        { episode: 1, close_reason: "customer_spoke_last", is_durable: true },
        { episode: 2, close_reason: "inactivity", is_durable: true },
        { episode: 5, close_reason: "after_last_answer", is_durable: false },
      ],
    );
  }));

test("a claim that did not last stays so, however well a person resolved it later", () =>
  rolledBack(async (sql) => {
    const events = timeline(
      ["2026-09-01T09:00:00", created("pending"), customer],
      ["2026-09-01T09:00:10", says("bot")],
      ["2026-09-01T09:10:00", resolved],
      ["2026-09-03T09:10:00", customer, { kind: "status", status: "pending" }],
      ["2026-09-03T09:20:00", human(A)],
      ["2026-09-03T09:30:00", resolved],
    );
    await tell([{ events, options: { ...PLAIN, hasBot: true, asOf: 0 } }]);

    await sql.resultsEqual(
      "select ai_class, ai_episodes.is_durable, durable from analytics.ai_episodes join analytics.episodes using (account_id, display_id, episode, ai_class)",
      [{ ai_class: "claimed_resolved", is_durable: false, durable: true }],
    );
  }));

describe("hours of the week", () => {
  const sunday = `select sum(episodes_created)::int as count, sum(hours)::float8 as hours,
    (sum(episodes_created) / sum(hours))::float8 as rate from analytics.volume_by_hour where weekday = 0 and hour = 2`;

  test("FX-25: an hour that comes twice is two hours, one that does not come is none", () =>
    rolledBack(async (sql) => {
      const moments = ["2026-03-29T00:30:00", "2026-03-29T01:30:00"].concat(
        ["2026-10-18T00:30:00", "2026-10-25T00:30:00", "2026-10-25T01:30:00"],
      );
      await tell(plain(...moments.map(opening)), { zone: "Europe/Berlin" });

      await sql.resultsEqual(`${sunday} and day between '2026-10-18' and '2026-10-25'`, [
        { count: 3, hours: 3, rate: 1 },
      ]);
      await sql.resultsEqual(
        `select hour, hours::float8, episodes_created::int as count from analytics.volume_by_hour
        where day = '2026-03-29' and hour between 1 and 3 order by hour`,
        [{ hour: 1, hours: 1, count: 1 }, { hour: 3, hours: 1, count: 1 }],
      );
      await sql.resultsEqual(
        `select hours = (select sum(hours) from analytics.volume_by_hour where weekday = 0 and hour = 2) as same,
          episodes_created::int as count from analytics.hour_of_week where weekday = 0 and hour = 2`,
        [{ same: true, count: 3 }],
      );
    }));

  test("Lord Howe turns its clock by half an hour", () =>
    rolledBack(async (sql) => {
      await tell(plain(opening("2026-04-03T00:30:00")), { zone: "Australia/Lord_Howe" });

      await sql.resultsEqual(
        `select day::text, hours::float8 from analytics.volume_by_hour
        where hour = 1 and day between '2026-04-04' and '2026-04-05' order by day`,
        [{ day: "2026-04-04", hours: 1 }, { day: "2026-04-05", hours: 1.5 }],
      );
    }));
});

describe("reopens", () => {
  const told = plain(
    timeline(
      ["2026-10-01T09:00:00", created("open"), customer],
      ["2026-10-01T10:00:00", resolved],
      ["2026-10-02T10:00:00", customer, { kind: "status", status: "open" }],
      ["2026-10-02T11:00:00", resolved],
    ),
    timeline(["2026-10-01T09:00:00", created("open"), customer], ["2026-10-01T12:00:00", resolved]),
  );

  test("by the day of the resolve, and volume as resolves, conversations and customers", () =>
    rolledBack(async (sql) => {
      await tell(told);
      await sql.rows("update ledger.episodes set contact_id = 5");

      await sql.resultsEqual(
        `select day::text, first_resolved::int as first, reopened::int, reopen_rate, resolutions_mature::int as resolves,
          durable::int, durable_rate from analytics.reopen_rates order by day`,
        [
          { day: "2026-10-01", first: 2, reopened: 1, reopen_rate: 0.5, resolves: 2, durable: 1, durable_rate: 0.5 },
          { day: "2026-10-02", first: 0, reopened: 0, reopen_rate: null, resolves: 1, durable: 1, durable_rate: 1 },
        ],
      );
      await sql.resultsEqual(
        `select day::text, episodes_created::int as created, reopened::int, resolutions::int,
          conversations_resolved::int as conversations, contacts_helped::int as contacts
        from analytics.episodes_by_day order by day`,
        [
          { day: "2026-10-01", created: 2, reopened: 0, resolutions: 2, conversations: 2, contacts: 1 },
          { day: "2026-10-02", created: 0, reopened: 1, resolutions: 1, conversations: 1, contacts: 1 },
        ],
      );
    }));

  test("a rate waits until the whole day can say it", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(
        plain(timeline(
          [ago(7200), created("open"), customer],
          [ago(3600), resolved],
          [ago(1800), customer, { kind: "status", status: "open" }],
        )),
        { zone: calmZone() },
      );

      await sql.resultsEqual(
        "select first_resolved::int as first, reopened::int, first_resolved_mature::int as mature, reopen_rate from analytics.reopen_rates",
        [{ first: 1, reopened: 1, mature: 0, reopen_rate: null }],
      );
    }));
});
