// The checks themselves: what each finds in what it reads, how it says so, and what is kept of it.
import { describe, expect, test } from "vitest";
import { member, Sql, useDatabase } from "../support/database.ts";
import { converse, count, type Found, makeDay, readChecks } from "./live-status.support.ts";
import { addArrivals, HOLIDAY, later, learn, makeAccount, ZONE } from "./alerts.support.ts";

const database = useDatabase();
const NOW = "2026-11-16T10:00:00Z";

const checks = (sql: Sql, at: string = NOW) => readChecks(sql, "select * from ops.sample_database(1, $1)", [at]);

describe("an account's checks", () => {
  test("with nothing there: all is well or cannot be told, and nothing fails", () =>
    database.rolledBack(async (sql) => {
      const found = Object.values(await checks(sql));

      expect(found.map(({ name }) => name).sort()).toEqual([
        ...["audit_chain", "breaches", "dead_deliveries", "dead_deliveries", "first_response", "ledger_lag", "outbox"],
        ...["queue", "queue_pressure"],
      ]);
      expect(new Set(found.map(({ state }) => state))).toEqual(new Set(["ok"]));
    }));

  test("the sync: at work, behind, never tried, paused and stopped, each with what to do", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        "insert into sync.sources (account_id, door, base_url) values (1, 'rest', 'https://chat.example.com')",
      );
      const lag = async (columns: string) => {
        await sql.rows(`update sync.sources set ${columns} where account_id = 1`);
        return (await checks(sql))["sync_lag/rest"];
      };

      expect(await lag("state = 'active'")).toMatchObject({ state: "unknown", value: null });
      expect(await lag("last_success_at = timestamptz '2026-11-16T09:59:30Z'")).toMatchObject({
        state: "ok",
        value: 30,
      });
      expect(
        await lag("last_success_at = timestamptz '2026-11-16T09:10:00Z', problem = 'Chatwoot failed to answer (502).'"),
      )
        .toMatchObject({
          state: "fail",
          value: 3000,
          message: "The rest door last worked 50 minutes ago: Chatwoot failed to answer (502).",
        });
      expect(await lag("state = 'stopped', hint = 'Set a token.'")).toMatchObject({
        state: "fail",
        hint: "Set a token.",
      });
      expect(await lag("state = 'paused'")).toMatchObject({ state: "ok", value: 0, hint: null });
    }));

  test("dead webhooks of the last day, with the commonest reason; what is older or was read since does not count", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `insert into inbox.deliveries (account_id, delivery_id, received_at, proof, body, body_sha256, outcome, reason)
        select 1, 'd' || hours, $1::timestamptz - hours * interval '1 hour', 'signature', '', '',
          case hours when 3 then 'applied' else 'dead' end, case hours when 3 then null else 'The body is not JSON.' end
        from unnest('{1,2,3,30}'::integer[]) as hours`,
        [NOW],
      );

      expect((await checks(sql))["dead_deliveries/webhook"]).toMatchObject({
        ...{ state: "warn", value: 2, hint: expect.stringMatching(/replay_deliveries/) },
        message: "2 webhooks of the last day could not be read, most of them: The body is not JSON.",
      });
    }));

  test("approved actions: due, tried again later, held back while sending is off, given up; each in words", () =>
    database.rolledBack(async (sql) => {
      const outbox = async (rows: [state: string, created: number, first: number | null, next: number][]) => {
        await sql.rows("delete from actions.outbox where true");
        for (const [state, created, first, next] of rows) {
          await sql.rows(
            `insert into actions.outbox (account_id, display_id, kind, arguments, state, created_at, created_by,
              first_attempted_at, next_attempt_at, floor_message_id, settled_at)
            values (1, 1, 'note', '{}', $1, $2, 'user:a', $3, $4, 0,
              case when $1 = 'dead' then $4::timestamptz end)`,
            [state, later(NOW, created), first === null ? null : later(NOW, first), later(NOW, next)],
          );
        }
        return await checks(sql);
      };
      expect((await outbox([["pending", -1, null, -1]])).outbox).toMatchObject({ state: "ok", value: 60 });
      expect((await outbox([["pending", -40, null, -40], ["pending", -2, null, -2]])).outbox).toMatchObject({
        ...{ state: "fail", value: 2400, hint: expect.stringMatching(/sending_status/) },
        message: "Approved actions that are due and not carried out: 2, the oldest for 40 minutes.",
      });
      // Given up three days ago, and sent anew a moment ago.
      expect((await outbox([["pending", -5000, null, 0]])).outbox).toMatchObject({ state: "ok", value: 0 });
      expect((await outbox([["pending", -90, -90, 30]])).outbox).toMatchObject({
        ...{ state: "warn", value: 0, message: "Approved actions that failed and are tried again later: 1." },
      });
      const dead = await outbox([["dead", -90, -90, -60], ["dead", -9000, -9000, -1500]]);
      expect(dead["dead_deliveries/outbox"]).toMatchObject({ state: "warn", value: 1 });
      await sql.rows(`select ops.set_setting(1, 'sending', '"off"')`);
      expect((await outbox([["pending", -4000, null, -4000], ["pending", -90, -90, 30]])).outbox).toMatchObject({
        ...{ state: "ok", value: 0, message: "Sending is off, which holds back approved actions: 2." },
      });
    }));

  test("numbers that lag, by what waits longest; a conversation that cannot be counted at all does not count", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `insert into ledger.queue (account_id, display_id, queued_at, problem) values (1, 1, $1::timestamptz - interval '3 hours', 'x'),
          (1, 2, $1::timestamptz - interval '15 minutes', null), (2, 3, $1::timestamptz - interval '1 day', null)`,
        [NOW],
      );

      expect((await checks(sql)).ledger_lag).toMatchObject({ state: "warn", value: 900 });
    }));

  test("the queue: a few are not many for a small team, and what is much is learnt from the weeks before", () =>
    database.rolledBack(async (sql) => {
      const waiting = async (customers: number) => {
        const rows = await sql.rows<Found>(
          "select * from ops.sample_queue(1, array[$1::timestamptz], array[$2::bigint])",
          [
            NOW,
            customers,
          ],
        );
        return rows.find(({ name }) => name === "queue_pressure");
      };
      expect(await waiting(30)).toMatchObject({ state: "ok", value: 1.2 });
      expect(await waiting(50)).toMatchObject({ state: "fail", value: 2 });
      // Monday, ten o'clock.
      await sql.rows("insert into ops.normal_hours values (1, 'queue', 10, '{3,4,5,2}', now())");
      expect(await waiting(12)).toMatchObject({ state: "ok", value: 1.2 });
      expect(await waiting(20)).toMatchObject({ state: "fail", value: 2 });
      await sql.rows("update ops.normal_hours set samples = '{40,50,60,44}' where account_id = 1");
      expect(await waiting(80)).toMatchObject({ state: "warn", message: expect.stringMatching(/up to 52/) });
    }));

  test("first replies: half of those who wrote, the waiting included, waited so long; below five there is nothing to judge by", () =>
    database.rolledBack(async (sql) => {
      await makeDay(sql);
      const first = async () => {
        await count(sql);
        return (await checks(sql, await sql.value<string>("select now()::text"))).first_response;
      };
      for (const [index, minutes] of [5, 20, 40, 45].entries()) {
        await converse(sql, index + 1, {}, [[minutes + 10, "customer"], [10, "us"]]);
      }
      expect(await first()).toMatchObject({ state: "ok", value: 0 });
      // Still without a reply after fifty minutes.
      await converse(sql, 5, { waiting_since: "now() - interval '50 minutes'" }, [[50, "customer"]]);
      expect(await first()).toMatchObject({
        state: "fail",
        value: 2400,
        message: expect.stringMatching(/^Half of the 5 customers .* 40 minutes/),
      });
      // Replied to long ago: not of this hour.
      await converse(sql, 6, {}, [[200, "customer"], [90, "us"]]);
      expect(await first()).toMatchObject({ value: 2400 });
    }));

  test("promises broken within the hour, as the clocks have it; and who waits", () =>
    database.rolledBack(async (sql) => {
      await makeDay(sql);
      await sql.rows("select sla.add_default_policy(1, timestamptz '2020-01-01')");
      for (let display = 1; display <= 5; display++) {
        await converse(sql, display, { waiting_since: "now() - interval '30 minutes'" }, [[30, "customer"]]);
      }
      await converse(sql, 6, {}, [[10, "customer"], [5, "us"]]);
      await converse(sql, 7, {}, [[300, "customer"], [200, "us"]]);
      await count(sql);

      const found = await checks(sql, await sql.value<string>("select now()::text"));

      expect(found.breaches).toMatchObject({ state: "fail", value: 5, hint: expect.stringMatching(/sla_board/) });
      expect(found.queue).toMatchObject({
        value: 5,
        message: "5 customers wait for a reply, the first of them for 30 minutes.",
      });
    }));

  test("without a policy, first replies that were not there after fifteen minutes, each in the hour it became late", () =>
    database.rolledBack(async (sql) => {
      await makeDay(sql);
      for (let display = 1; display <= 4; display++) {
        await converse(sql, display, { waiting_since: "now() - interval '30 minutes'" }, [[30, "customer"]]);
      }
      await converse(sql, 5, {}, [[40, "customer"], [10, "us"]]);
      await converse(sql, 6, {}, [[10, "customer"], [5, "us"]]);
      await converse(sql, 7, {}, [[300, "customer"], [200, "us"]]);
      await converse(sql, 8, {}, [[90, "customer"]]);
      await converse(sql, 9, { labels: "'{spam}'" }, [[30, "customer"]]);
      await count(sql);
      const at = (minutes: number) => sql.value<string>("select (now() + $1 * interval '1 minute')::text", [minutes]);

      const { breaches } = await checks(sql, await at(0));
      expect(breaches).toMatchObject({
        ...{ state: "fail", value: 5, hint: expect.stringMatching(/live_status/) },
        message: "First replies that were not there after 15 minutes of business hours, within the last hour: 5.",
      });
      expect((await checks(sql, await at(60))).breaches).toMatchObject({ state: "ok", value: 0, hint: null });
      // A policy that promises more time: its clocks count, and nothing else.
      await sql.rows(
        `select sla.save_policy(1, 'Slow', '[]', '{"first_response": {"seconds": 36000, "hours": "24x7"}}', 1)`,
      );
      expect((await checks(sql, await at(0))).breaches).toMatchObject({ state: "ok", value: 0 });
    }));

  test("a decision log that was tampered with is found, portion by portion, and stays found until it is whole", () =>
    database.rolledBack(async (sql) => {
      for (let entry = 0; entry < 25; entry++) {
        await sql.rows("select audit.log(1, 'test', 'entry', '{}', 'done')");
      }
      const round = async () => {
        const found = [];
        for (let portion = 0; portion < 4; portion++) {
          const [row] = await sql.rows<{ audit_broken_entry: string | null; audit_reason: string | null }>(
            "select audit_broken_entry, audit_reason from ops.verify_audit(1, $1::timestamptz + $2 * interval '1 minute', 10)",
            [NOW, portion],
          );
          found.push(row.audit_broken_entry);
        }
        return found;
      };
      expect(await round()).toEqual([null, null, null, null]);
      await sql.rows("alter table audit.decision_log disable trigger refuse_change");
      await sql.rows(`update audit.decision_log set evidence = '{"a": 1}' where account_id = 1 and entry = 17`);

      expect(await round()).toContain("17");
      expect((await checks(sql)).audit_chain).toMatchObject({
        ...{ state: "fail", value: 1, message: expect.stringMatching(/entry 17 was changed after it was written/) },
      });
      await sql.rows("update audit.decision_log set evidence = '{}' where account_id = 1 and entry = 17");
      expect((await round()).at(-1)).toBeNull();
      // The end cut off: the head vouches for what is missing.
      await sql.rows("delete from audit.decision_log where account_id = 1 and entry > 20");
      expect(await round()).toContain("21");
    }));
});

describe("what is normal", () => {
  test(
    "is counted in busy minutes by hour of the week in the account's zone, holidays and outages left out",
    () =>
      database.rolledBack(async (sql) => {
        await makeAccount(sql);
        await addArrivals(sql, "2026-09-10T00:00:00Z", "2026-10-17T00:00:00Z", 0.3);
        await sql.rows(
          `insert into ops.alerts (account_id, kind, subject, message, raised_at, last_raised_at, resolved_at)
        values (1, 'channel.outage', 'inbox:1', 'x', '2026-10-05T08:10:00Z', '2026-10-05T08:10:00Z', '2026-10-05T09:10:00Z')`,
        );

        await learn(sql, "2026-10-17T00:00:00Z");

        const samples = (subject: string, hour: number) =>
          sql.value<number>(
            "select cardinality(samples) from ops.normal_hours where subject = $1 and hour_of_week = $2",
            [
              subject,
              hour,
            ],
          );
        // Thursdays from 10 September on, without the holiday; Mondays at ten in Berlin with one outage.
        expect(new Date(HOLIDAY).getUTCDay()).toBe(4);
        expect(await samples("webhook", 3 * 24 + 12)).toBe(4);
        expect(await samples("webhook", 4 * 24 + 12)).toBe(5);
        expect([await samples("inbox:1", 10), await samples("inbox:2", 10), await samples("inbox:1", 12)]).toEqual([
          4,
          5,
          5,
        ]);
        const counted = await sql.value<number>(
          `select count(distinct date_trunc('minute', received_at))::int from inbox.deliveries
        where received_at >= '2026-10-13T08:00:00Z' and received_at < '2026-10-13T09:00:00Z'`,
        );
        // Tuesday, ten o'clock in Berlin.
        expect(
          await sql.value(
            "select samples[1]::int from ops.normal_hours where subject = 'webhook' and hour_of_week = 34",
          ),
        )
          .toBe(counted);
        expect(await sql.value("select ops.hour_of_week('2026-10-13T08:30:00Z', $1)", [ZONE])).toBe(34);
        expect(await sql.value("select min(minute) >= '2026-10-07' from ops.arrivals")).toBe(true);
      }),
    30_000,
  );
});

test("what occ sends to try the way does not count as a webhook of Chatwoot's", () =>
  database.rolledBack(async (sql) => {
    await makeAccount(sql);
    const arrive = (id: string, minute: number) =>
      sql.rows(
        `insert into inbox.deliveries (account_id, delivery_id, received_at, proof, body, body_sha256, outcome)
        values (1, $1, $2, 'signature', '', '', 'applied')`,
        [id, later(NOW, minute)],
      );
    await arrive("occ-smoke-1", -9);
    await arrive("d1", -7);
    await arrive("occ-connect-1", -7);
    await arrive("occasional", -5);
    await arrive("occ-smoke-2", -3);

    await learn(sql, NOW);

    await sql.resultsEqual("select subject, minute from ops.arrivals order by minute", [
      { subject: "webhook", minute: new Date(later(NOW, -7)) },
      { subject: "webhook", minute: new Date(later(NOW, -5)) },
    ]);
  }));

test(
  "in another time zone, or after a back-fill, what is normal is learnt anew from what is there, each week once",
  () =>
    database.rolledBack(async (sql) => {
      await makeAccount(sql);
      await addArrivals(sql, "2026-09-10T00:00:00Z", "2026-10-10T00:00:00Z", 0.3);
      await learn(sql, "2026-10-10T00:00:00Z");
      const sample = (hour: number) =>
        sql.rows("select samples from ops.normal_hours where subject = 'webhook' and hour_of_week = $1", [hour]);
      const before = await sample(34);

      // Tokyo is seven hours ahead of Berlin in summer.
      await sql.rows(`select ops.set_setting(1, 'reporting_time_zone', '"Asia/Tokyo"')`);
      await learn(sql, "2026-10-10T00:01:00Z");
      expect(await sample(34 + 7)).toEqual(before);

      await sql.rows(`insert into sync.sources (account_id, door, base_url, backfill_finished_at)
      values (1, 'rest', 'https://chat.example.com', '2026-10-10T00:01:30Z')`);
      await learn(sql, "2026-10-10T00:02:00Z");
      await learn(sql, "2026-10-10T00:03:00Z");
      expect(await sample(34 + 7)).toEqual(before);
    }),
  30_000,
);

describe("what is kept", () => {
  const record = (sql: Sql, values: (number | null)[], state = "ok") =>
    sql.value(
      `select ops.record_checks(array(select row(1, 'queue', '', $1, given.value, 'customers', 'm', null,
        $2::timestamptz + (given.place - 1) * interval '1 minute')::ops.health_sample
      from unnest($3::double precision[]) with ordinality as given (value, place)))`,
      [state, NOW, values],
    );

  test("each minute, each hour, and how it stands since when; recorded again it changes nothing", () =>
    database.rolledBack(async (sql) => {
      const kept = async () => {
        await sql.resultsEqual("select n_ok, n_values, total, minimum, maximum from ops.health_hours", [
          { n_ok: 4, n_values: 3, total: 9, minimum: 1, maximum: 6 },
        ]);
        expect(await sql.value("select count(*)::int from ops.health_history")).toBe(4);
        const [now] = await sql.rows("select value, checked_at from ops.health_checks");
        expect(now).toEqual({ value: 6, checked_at: new Date(later(NOW, 3)) });
      };
      expect(await record(sql, [1, 2, null, 6])).toBe("4");
      await kept();
      expect(await record(sql, [1, 2, null, 6])).toBe("0");
      await kept();
      // Beside what is known only what is new is counted.
      expect(await record(sql, [1, 2, null, 6, 7])).toBe("1");
      await sql.resultsEqual("select n_ok, n_values, total, maximum from ops.health_hours", [
        { n_ok: 5, n_values: 4, total: 16, maximum: 7 },
      ]);
    }));

  test("single checks for as long as the account chose, hours for 400 days", () =>
    database.rolledBack(async (sql) => {
      await record(sql, [1, 2]);
      await sql.rows("select ops.set_setting(1, 'health_retention_days', '2')");
      expect(await sql.value("select ops.purge_health($1)", [later(NOW, 2 * 1440)])).toBe("0");
      expect(await sql.value("select ops.purge_health($1)", [later(NOW, 2 * 1440 + 1)])).toBe("1");
      expect(await sql.value("select count(*)::int from ops.health_hours")).toBe(1);
      await sql.rows("select ops.purge_health($1)", [later(NOW, 401 * 1440)]);
      expect(await sql.value("select count(*)::int from ops.health_hours")).toBe(0);
    }));

  test("that nobody looked for more than three minutes, so that uptime is not claimed for it", () =>
    database.rolledBack(async (sql) => {
      const look = async (at: string) => {
        await sql.rows("select ops.note_gap($1)", [at]);
        await sql.rows(
          "select ops.record_checks(array[row(0, 'cron_alive', '', 'ok', 0, '', 'Checks run.', null, $1::timestamptz)::ops.health_sample])",
          [at],
        );
      };
      const find = (minute: number) =>
        sql.rows(
          "select ops.record_checks(array[row(1, 'service', 'chatwoot', 'fail', 3, '', 'Down', null, $1::timestamptz)::ops.health_sample])",
          [later(NOW, minute)],
        );
      for (const minute of [0, 1, 3]) await look(later(NOW, minute));
      await find(2);
      for (const minute of [13, 14]) await look(later(NOW, minute));
      await find(14);

      const interval = (account_id: string, service: string, state: string, from: number, until: number | null) => ({
        ...{ account_id, service, state, started_at: new Date(later(NOW, from)) },
        ended_at: until === null ? null : new Date(later(NOW, until)),
      });
      await sql.resultsEqual(
        "select account_id, service, state, started_at, ended_at from ops.service_intervals order by started_at",
        [
          interval("1", "chatwoot", "down", 2, 3),
          interval("0", "checks", "unmeasured", 3, 13),
          interval("1", "chatwoot", "down", 14, null),
        ],
      );
    }));
});

test("the public status says in words what is down, never whose", () =>
  database.rolledBack(async (sql) => {
    const status = (at: string) => sql.value<Record<string, unknown>>("select ops.public_status($1)", [at]);
    expect(await status(NOW)).toEqual({
      status: "fail",
      checked_at: null,
      services: { database: "ok", checks: "fail" },
    });
    const record = (account: number, name: string, subject: string, state: string) =>
      sql.rows(
        "select ops.record_checks(array[row($1::bigint, $2, $3, $4, 1, '', 'secret words', 'secret hint', $5::timestamptz)::ops.health_sample])",
        [account, name, subject, state, NOW],
      );
    await record(0, "cron_alive", "", "ok");
    await record(777, "service", "chatwoot", "ok");
    expect(await status(later(NOW, 2))).toMatchObject({
      ...{ status: "ok", services: { database: "ok", checks: "ok", jobs: "ok", chatwoot: "ok" } },
    });
    await record(777, "outbox", "", "fail");
    expect(await status(later(NOW, 2))).toMatchObject({ status: "ok", services: { sending: "fail" } });
    await record(777, "checks", "alerts", "fail");
    expect(await status(later(NOW, 2))).toMatchObject({ status: "fail", services: { checks: "fail" } });
    await record(777, "checks", "alerts", "ok");
    expect(await status(later(NOW, 2))).toMatchObject({ status: "ok", services: { checks: "ok" } });
    await record(778, "service", "chatwoot", "fail");
    const down = await status(later(NOW, 2));
    expect(down).toMatchObject({ status: "fail", services: { chatwoot: "fail" } });
    expect(JSON.stringify(down)).not.toMatch(/777|778|secret/);
    expect(await status(later(NOW, 4))).toMatchObject({ status: "fail", services: { checks: "fail" } });
    for (const role of ["anon", "authenticated"] as const) {
      await sql.as(role, null, () => sql.throws("42501", "select api.public_status()"));
    }
    expect(await sql.as("service_role", null, () => sql.value("select api.public_status() ->> 'status'"))).toBe("fail");
  }));

test("members see the project's checks and their own, nobody another account's; runs of cron are the backend's", () =>
  database.rolledBack(async (sql) => {
    await sql.rows(
      `select ops.record_checks(array(select row(account, 'queue', '', 'ok', 1, '', 'm', null, now())::ops.health_sample
      from unnest('{0,1,2}'::bigint[]) as account))`,
    );
    const viewer = await member(sql, 1, "viewer");
    await sql.as("authenticated", viewer, async () => {
      await sql.resultsEqual("select account_id from api.health_checks order by account_id nulls first", [
        { account_id: null },
        { account_id: "1" },
      ]);
      await sql.throws("42501", "select * from api.job_runs");
      await sql.throws("42501", "select * from ops.job_runs");
    });
    // Whoever has signed up is not yet a member of anything.
    await sql.as("authenticated", "00000000-0000-4000-8000-0000000000ff", async () => {
      expect(await sql.rows("select * from api.health_checks")).toEqual([]);
      expect(await sql.rows("select * from ops.alert_rules")).toEqual([]);
    });
    expect(await sql.as("service_role", null, () => sql.rows("select * from api.job_runs"))).toEqual([]);
  }));
