// What holds of the views over many episodes whatever the timelines are (P10, P12, P16), and who counts what.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { member } from "../support/database.ts";
import { timelines } from "../support/ledger-timelines.ts";
import { percentile, seed, useTimelines } from "./analytics-metrics.support.ts";

const { inZone, rolledBack, tell } = useTimelines();

describe("properties", () => {
  const sample = (from = "2026-01-05") =>
    fc.sample(timelines({ base: Date.parse(`${from}T08:00:00Z`), longest: 25 }), { numRuns: 80, seed });
  const groups = [
    "account",
    "day",
    "week",
    "month",
    "inbox",
    "channel",
    "team",
    "agent",
    "priority",
    "weekday",
    "hour",
  ];
  const all = (by: string) => `select * from analytics.metrics_by(1, '2025-12-01', '2026-12-31', '${by}')`;

  test("P10: every grouping adds up, and its percentiles are those of its rows", () =>
    rolledBack(async (sql) => {
      await tell(sample(), { zone: "Europe/Berlin" });
      const [{ now }] = await sql.rows("select now()");
      const rows = (await sql.rows(
        "select *, to_char(started_at at time zone 'Europe/Berlin', 'YYYY-MM') as month from analytics.episodes",
      )).filter(({ started_at }) => started_at < now);

      for (const by of groups) {
        const told = await sql.rows(all(by));
        for (const count of ["n_included", "asked", "replied", "frt_n", "reply_time_n", "ttr_full_n"]) {
          const whole = (await sql.rows(all("account")))[0][count];
          expect(told.reduce((sum, row) => sum + Number(row[count]), 0), `${by} ${count}`).toBe(Number(whole));
        }
      }
      for (const { group_key: group, ...row } of await sql.rows(all("month"))) {
        const own = rows.filter(({ month }) => month === group);
        expect(Number(row.n_included)).toBe(own.length);
        for (const metric of ["frt", "ttr_full", "reply_time"]) {
          const values = own.flatMap((one) => one[metric] ?? []);
          for (const [suffix, share] of [["p50", 0.5], ["p75", 0.75]] as const) {
            const found = row[`${metric}_${suffix}`];
            if (values.length === 0) expect(found).toBeNull();
            else expect(found, `${group} ${metric} ${suffix}`).toBeCloseTo(percentile(values, share), 3);
          }
        }
      }
      for (const view of ["response_times", "resolution_times", "teams", "inboxes", "channels", "episodes_by_day"]) {
        expect(Number(await sql.value(`select sum(n_included) from analytics.${view}`)), view).toBe(rows.length);
      }
    }), 60_000);

  test("P10: by the day of the reply there are as many replies, and all of what was asked", () =>
    rolledBack(async (sql) => {
      await tell(sample("2026-06-01"), { zone: "Europe/Berlin" });
      // What lies ahead of now has no day yet.
      await sql.rows("delete from ledger.episodes where started_at > now() - interval '40 days'");
      const whole = (await sql.rows(all("account")))[0];
      const [days] = await sql.rows(
        `select sum(frt_n) as frt_n, sum(frt_any_n) as frt_any_n, sum(reply_time_n) as reply_time_n, sum(replied) as replied,
          sum(asked) as asked, sum(n_waiting) as n_waiting, sum(closed_unreplied) as closed_unreplied,
          max(longest_wait) as longest_wait from analytics.response_times_by_stop`,
      );
      const [rows] = await sql.rows(
        `select count(frt_any) as frt_any_n, count(*) filter (where customer_messages > 0 and not is_outbound) as asked
        from analytics.episodes`,
      );

      expect(Number(days.frt_n)).toBeGreaterThan(0);
      for (const count of ["frt_n", "reply_time_n", "n_waiting", "closed_unreplied", "longest_wait"]) {
        expect(days[count], count).toEqual(whole[count]);
      }
      expect(days.replied).toBe(days.frt_n);
      for (const count of ["frt_any_n", "asked"]) expect(days[count], count).toBe(rows[count]);
    }));

  test("whoever held them, the credits of a wait add up to it", () =>
    rolledBack(async (sql) => {
      await tell(sample());

      expect(await sql.value("select count(*) from analytics.wait_credits where holder <> ''")).not.toBe("0");
      await sql.resultsEqual(
        `select waits.display_id, waits.number, waits.seconds, sum(credits.seconds) as credited, sum(credits.share) as share
        from analytics.spans as waits
        left join analytics.wait_credits as credits using (account_id, display_id, episode, number)
        where waits.kind = 'wait' and waits.started_at < now()
        group by waits.display_id, waits.episode, waits.number, waits.seconds
        having not coalesce(abs(sum(credits.seconds) - waits.seconds) < 1e-6 and abs(sum(credits.share) - 1) < 1e-9, false)`,
        [],
      );
    }));

  test("P12: another zone for the report moves days, and no duration", () =>
    rolledBack(async (sql) => {
      await tell(sample());
      const whole = `select frt_n, frt_mean, frt_p50, reply_time_p75, ttr_full_p50, ttr_first_business_p50
        from analytics.metrics_by(1, '2025-12-01', '2030-12-31')`;
      const perDay =
        "select string_agg(day || ' ' || n_included, ',' order by day, inbox_id) from analytics.response_times";
      // What lies ahead of now has no day yet, and the end of today differs from zone to zone.
      await sql.rows("delete from ledger.episodes where started_at > now() - interval '2 days'");
      const before = await sql.rows(whole);
      const days = await sql.value(perDay);

      await inZone("Pacific/Apia");

      expect(await sql.rows(whole)).toEqual(before);
      expect(await sql.value(perDay)).not.toBe(days);
    }));

  const VIEWS = [
    "agent_load",
    "agents",
    "ai_episodes",
    "ai_outcomes",
    "backlog_age",
    "backlog_by_day",
    "backlog_now",
    "channels",
    "csat",
  ]
    .concat("csat_by_month", "days", "episodes", "episodes_by_day", "events", "exclusions", "hour_of_week", "inboxes")
    .concat(
      "labels",
      "months",
      "reopen_rates",
      "reply_survival",
      "resolution_times",
      "response_times",
      "response_times_by_stop",
      "spans",
      "teams",
    )
    .concat("channel_breakdown", "time_zones", "volume_by_day", "volume_by_hour", "wait_credits");

  test(
    "P16: a member counts their own account's rows alone, as if there were no other; an analyst all",
    () =>
      rolledBack(async (sql) => {
        // Few days: each of them is asked many times.
        const told = sample("2026-09-01");
        await tell(told.slice(0, 38), { zone: "Europe/Berlin" });
        await tell(told.slice(38), { account: 2 });
        // So that every view has rows: a label, one that is left out, something in hand.
        await sql.rows(`update ledger.episodes set labels = '["billing"]' where display_id % 2 = 0`);
        await sql.rows(`update ledger.episodes set labels = '["spam"]' where display_id % 7 = 0`);
        await sql.rows("update ledger.episodes set status = 'open', holder = 'user:1' where display_id = 1");
        // As a server does by itself, which a transaction that is rolled back does not let it.
        await sql.rows("analyze ledger.episodes, ledger.spans, ledger.events, chatwoot.conversations");
        const ada = await member(sql, 1, "viewer");
        const nobody = await member(sql, 3, "viewer");
        // The last digits of a sum hang on the order of its rows, and that on the plan.
        const round = (_: string, value: unknown) =>
          typeof value === "number" ? Math.floor(value * 1000 + 0.123) : value;
        const read = async (view: string, where = "") =>
          (await sql.rows(`select * from analytics.${view} ${where}`)).map((row) => JSON.stringify(row, round)).sort();

        for (const view of VIEWS) {
          const own = await read(view, "where account_id = 1");
          const every = await read(view);
          expect(own.length, view).toBeGreaterThan(0);
          expect(every.length, view).toBeGreaterThan(own.length);
          await sql.as("authenticated", ada, async () => expect(await read(view), view).toEqual(own));
          await sql.as("authenticated", nobody, async () => expect(await read(view), view).toEqual([]));
          await sql.as("analyst", null, async () => expect(await read(view), view).toEqual(every));
          await sql.as("anon", null, async () => {
            await sql.throws("42501", `select * from analytics.${view}`);
          });
        }
        const other = "select * from analytics.metrics_by(2, '2026-01-01', '2026-12-31')";
        expect(await sql.rows(other)).toHaveLength(1);
        await sql.as("authenticated", ada, async () => expect(await sql.rows(other)).toEqual([]));
        await sql.as("analyst", null, async () => expect(await sql.rows(other)).toHaveLength(1));
      }),
    120_000,
  );

  test.each([
    { name: "a grouping that does not exist", call: "1, '2026-01-01', '2026-01-02', 'colour'" },
    { name: "days the wrong way round", call: "1, '2026-01-02', '2026-01-01'" },
    { name: "no day", call: "1, null, '2026-01-01'" },
    { name: "a day without end", call: "1, '2026-01-01', 'infinity'" },
  ])("metrics_by refuses $name", ({ call }) =>
    rolledBack(async (sql) => {
      expect((await sql.throws("OC422", `select * from analytics.metrics_by(${call})`)).hint).toMatch(/^Give /);
    }));
});
