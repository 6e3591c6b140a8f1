// The checks of the project as a whole: the jobs of cron, the size of the database, its slowest calls; and cron's records.
import { describe, expect, test } from "vitest";
import { Sql, useDatabase } from "../support/database.ts";
import { converse, count, makeDay, readChecks } from "./live-status.support.ts";
import { later } from "./alerts.support.ts";

const database = useDatabase();
const NOW = "2026-11-16T10:00:00Z";

const project = (sql: Sql, at = NOW) => readChecks(sql, "select * from ops.sample_project($1)", [at]);

describe("the project's checks", () => {
  const run = (sql: Sql, job: string, states: string, minutesAgo: number) =>
    sql.rows(
      `insert into ops.job_runs (run_id, job, started_at, ended_at, state, seconds, message)
      select coalesce((select max(run_id) from ops.job_runs), 0) + place, $1, $2::timestamptz - ($3 - place) * interval '1 minute',
        $2::timestamptz - ($3 - place) * interval '1 minute', case letter when 'o' then 'succeeded' else 'failed' end, 1,
        case letter when 'x' then 'ERROR: it broke' end
      from regexp_split_to_table($4, '') with ordinality as letters (letter, place)`,
      [job, NOW, minutesAgo, states],
    );

  test.each<[string, string, number, { state: string; value: number; message?: RegExp }]>([
    ["a job that runs", "ooooo", 5, { state: "ok", value: 0 }],
    ["one that failed twice", "oooxx", 5, { state: "warn", value: 2 }],
    ["one that failed three times in a row", "ooxxx", 5, {
      state: "fail",
      value: 3,
      message: /^The job sla-sweep has failed 3 times in a row\.$/,
    }],
    ["one that failed and was well again", "xxxxo", 5, { state: "ok", value: 0 }],
    ["one that has not run for ten minutes", "ooooo", 15, {
      state: "fail",
      value: 9,
      message: /has not run to its end for 10 minutes/,
    }],
  ])("%s", (_name, states, minutesAgo, { state, value, message = /./ }) =>
    database.rolledBack(async (sql) => {
      await run(sql, "sla-sweep", states, minutesAgo);

      expect((await project(sql))["cron_alive/sla-sweep"]).toMatchObject({
        ...{ state, value, message: expect.stringMatching(message) },
      });
    }));

  test("one that is new has had no time yet; one that has never run is missed from when it was first seen", () =>
    database.rolledBack(async (sql) => {
      await run(sql, "ledger-refresh", "o", 30 * 1440);
      expect((await project(sql))["cron_alive/sla-sweep"]).toMatchObject({ state: "ok", value: 0 });
      await sql.rows(
        "insert into ops.health_history values (0, 'cron_alive', 'sla-sweep', $1::timestamptz - interval '6 minutes', 'ok', 0)",
        [NOW],
      );
      expect((await project(sql))["cron_alive/sla-sweep"]).toMatchObject({ state: "fail", value: 5 });
    }));

  test("one that a restart of the server cut off is not to blame", () =>
    database.rolledBack(async (sql) => {
      await run(sql, "sla-sweep", "oox", 3);
      await sql.rows("update ops.job_runs set message = 'server restarted' where state = 'failed'");
      expect((await project(sql))["cron_alive/sla-sweep"]).toMatchObject({ state: "ok", value: 0 });
    }));

  test("one of ours that was removed or switched off is found, said how to bring back, and an alert until it is back", () =>
    withCronRecords(async (sql, asCron) => {
      await sql.rows("insert into chatwoot.accounts (account_id, name, version_at) values (1, 'Shop', now())");
      await run(sql, "ledger-extend-calendars", "ooo", 5);
      const look = async (minute: number) => {
        const at = later(NOW, minute);
        await sql.rows(
          "select ops.record_checks(array(select row(told.*)::ops.health_sample from ops.sample_project($1) as told))",
          [at],
        );
        await sql.rows("select ops.evaluate_alerts(1, $1)", [at]);
        return (await project(sql, at))["cron_alive/ledger-extend-calendars"];
      };
      const alerts = () =>
        sql.rows(
          "select subject, resolved_at is null as lasts from ops.alerts where kind = 'cron.stopped' and subject = 'ledger-extend-calendars' order by alert_id",
        );
      expect(await look(0)).toMatchObject({ state: "ok", value: 0 });

      await sql.rows("select cron.unschedule('ledger-extend-calendars')");
      const missing = await look(1);
      expect(missing).toMatchObject({
        ...{ state: "fail", value: 3, message: "The job ledger-extend-calendars is missing." },
        hint:
          "Schedule it again: select cron.schedule('ledger-extend-calendars', '47 2 * * *', 'select ledger.extend_calendars()');",
      });
      // However long it stays so.
      for (let minute = 2; minute < 120; minute += 2) await look(minute);
      expect(await alerts()).toEqual([{ subject: "ledger-extend-calendars", lasts: true }]);

      await sql.rows(String(missing.hint).replace("Schedule it again: ", ""));
      for (const minute of [121, 122, 123, 124]) expect(await look(minute)).toMatchObject({ state: "ok", value: 0 });
      expect(await alerts()).toEqual([{ subject: "ledger-extend-calendars", lasts: false }]);

      await switchOff(sql, asCron, "ledger-extend-calendars");
      const switchedOff = await look(125);
      expect(switchedOff).toMatchObject({ state: "fail", message: "The job ledger-extend-calendars is switched off." });
      await sql.rows(String(switchedOff.hint).replace("Schedule it again: ", ""));
      expect(await look(126)).toMatchObject({ state: "ok", value: 0 });
    }));

  test("one that is not ours makes nothing unhealthy: not when it is off or overdue; that it fails in a row is told", () =>
    withCronRecords(async (sql, asCron) => {
      await sql.rows("select cron.schedule('theirs', '* * * * *', 'select 1')");
      await run(sql, "theirs", "o", 60);
      expect((await project(sql))["cron_alive/theirs"]).toMatchObject({ state: "ok", value: 0 });
      await run(sql, "theirs", "xxx", 3);
      expect((await project(sql))["cron_alive/theirs"]).toMatchObject({ state: "warn", value: 3 });
      await sql.rows(
        "select ops.record_checks(array(select row(told.*)::ops.health_sample from ops.sample_project($1) as told))",
        [NOW],
      );
      expect(await sql.value("select ops.public_status($1)", [NOW])).toMatchObject({
        ...{ status: "ok", services: { jobs: "ok" } },
      });
      await switchOff(sql, asCron, "theirs");
      expect((await project(sql))["cron_alive/theirs"]).toBeUndefined();
    }));

  test("what pg_stat_statements names as slowest of our calls is told by its name alone; unread, nothing is told", async () => {
    const client = await database.connect("supabase_admin");
    await client.query("begin");
    try {
      const sql = new Sql(client);
      expect(await sql.value("select ops.slowest_statement()")).toBe("");
      await sql.rows(`create view extensions.pg_stat_statements as
        select query, mean_exec_time::double precision, calls::bigint from (values
          ($q$select * from api.decision_log where subject = 'Ada'$q$, 812.4, 9), ('call sla.tick()', 40, 900),
          ('select analytics.metrics_by(1)', 9000, 2), ('select secret from theirs', 70000, 50)
        ) as told (query, mean_exec_time, calls)`);
      expect(await sql.value("select ops.slowest_statement()")).toBe(
        " The slowest of our calls on average: api.decision_log (812 ms).",
      );
      // Where it cannot be read, as where it is of another version, the checks go on without it.
      await sql.rows("alter view extensions.pg_stat_statements rename column mean_exec_time to mean_time");
      expect(await sql.value("select ops.slowest_statement()")).toBe("");
      await sql.rows("alter view extensions.pg_stat_statements rename column mean_time to mean_exec_time");
      await sql.rows("grant select on extensions.pg_stat_statements to postgres");
      await sql.as("postgres", null, async () => {
        expect((await project(sql)).slow_queries.message).toBe("No job has ended in the last hour.");
        await run(sql, "sla-sweep", "o", 3);
        expect((await project(sql)).slow_queries.message).toBe(
          "The slowest job of the last hour was sla-sweep: 1.0 s. The slowest of our calls on average: api.decision_log (812 ms).",
        );
      });
    } finally {
      await client.query("rollback");
    }
  });

  test("the slowest job is none of those that stay until their minute is over", () =>
    database.rolledBack(async (sql) => {
      await run(sql, "sla-sweep", "o", 3);
      await run(sql, "actions-dispatch", "o", 2);
      await sql.rows("update ops.job_runs set seconds = 59 where job = 'actions-dispatch'");
      expect((await project(sql)).slow_queries).toMatchObject({
        ...{ value: 1, message: expect.stringMatching(/^The slowest job of the last hour was sla-sweep: 1\.0 s/) },
      });
    }));

  test("a breach that became known after the last sweep is not late", () =>
    database.rolledBack(async (sql) => {
      await makeDay(sql);
      await sql.rows("select sla.add_default_policy(1, timestamptz '2020-01-01')");
      await converse(sql, 1, { waiting_since: "now() - interval '30 minutes'" }, [[30, "customer"]]);
      await count(sql);
      const now = await sql.value<string>("select now()::text");
      await sql.rows("update sla.clocks set attention_at = now() - interval '20 minutes' where account_id = 1");
      expect((await project(sql, now)).sla_sweep).toMatchObject({ state: "fail", value: 1200 });
      await sql.rows(`insert into ops.job_runs (run_id, job, started_at, ended_at, state, seconds)
        values (1, 'sla-sweep', now() - interval '1 minute', now() - interval '1 minute', 'succeeded', 0.1)`);
      expect((await project(sql, now)).sla_sweep).toMatchObject({ state: "ok", value: 60 });
      // One that was not done by the end of its budget has left some.
      await sql.rows("update ops.job_runs set seconds = 31 where run_id = 1");
      expect((await project(sql, now)).sla_sweep).toMatchObject({ state: "fail", value: 1200 });
    }));

  test("the database is too large for the disk that the rule knows of", () =>
    database.rolledBack(async (sql) => {
      expect((await project(sql)).database_size).toMatchObject({ state: "ok" });
      await sql.rows(`select ops.set_alert_rule(1, 'disk.full', '{"threshold": 2, "clear_threshold": 1}')`);
      expect((await project(sql)).database_size).toMatchObject({ state: "warn" });
    }));

  test("one that could not run while everything stood still is not to blame", () =>
    database.rolledBack(async (sql) => {
      await run(sql, "sync-purge-verifications", "o", 10 * 1440);
      expect((await project(sql))["cron_alive/sync-purge-verifications"]).toMatchObject({ state: "fail", value: 8 });
      await sql.rows(
        `insert into ops.service_intervals (account_id, service, state, started_at, ended_at, reason)
        values (0, 'checks', 'unmeasured', $1::timestamptz - interval '9 days', $1, 'Paused')`,
        [NOW],
      );
      expect((await project(sql))["cron_alive/sync-purge-verifications"]).toMatchObject({ state: "ok", value: 0 });
    }));

  test("one that is at work for longer than its interval is not missed", () =>
    database.rolledBack(async (sql) => {
      await run(sql, "sla-sweep", "o", 12);
      await sql.rows(
        "insert into ops.job_runs (run_id, job, started_at, state) values (99, 'sla-sweep', $1, 'running')",
        [
          later(NOW, -10),
        ],
      );

      expect((await project(sql))["cron_alive/sla-sweep"]).toMatchObject({ state: "ok", value: 0 });
    }));

  test.each([
    ["* * * * *", 60],
    ["*/5 * * * *", 300],
    ["10 seconds", 10],
    ["17 * * * *", 3600],
    ["23 3 * * *", 86_400],
    ["0 0 1 * *", 31 * 86_400],
  ])("the schedule %s is every %i seconds", (schedule, seconds) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select ops.job_seconds($1)", [schedule])).toBe(seconds);
    }));

  test("a run that never ends holds up no other's record, and one that was cut off ends when it began", () =>
    withCronRecords(async (sql, asCron) => {
      const insert = (runs: string, status: string) =>
        asCron(() =>
          sql.rows(
            `insert into cron.job_run_details (jobid, runid, username, command, status, start_time)
            select jobid, 1000000 + run, 'postgres', 'call sla.tick()', $2, $1::timestamptz - interval '1 hour'
            from cron.job, ${runs} as run where jobname = 'sla-sweep'`,
            [NOW, status],
          )
        );
      await insert("generate_series(1, 1)", "running");
      await insert("generate_series(2, 30)", "failed");
      for (let batch = 0; batch < 4; batch++) await sql.rows("select ops.copy_job_runs($1, 10)", [NOW]);

      await sql.resultsEqual("select state, ended_at, count(*)::int from ops.job_runs group by 1, 2 order by 1", [
        { state: "failed", ended_at: new Date(later(NOW, -60)), count: 29 },
        { state: "running", ended_at: null, count: 1 },
      ]);
    }));

  test("runs of cron are copied with their names, ended once they have ended, and cleared after 30 days", () =>
    withCronRecords(async (sql, asCron) => {
      const [{ jobid }] = await sql.rows("select jobid from cron.job where jobname = 'sla-sweep'");
      const insert = (runid: number, status: string, start: string, end: string | null) =>
        asCron(() =>
          sql.rows(
            `insert into cron.job_run_details (jobid, runid, username, command, status, return_message, start_time, end_time)
            values ($1, $2, 'postgres', 'call sla.tick()', $3, 'CALL', $4, $5)`,
            [jobid, runid, status, start, end],
          )
        );
      await insert(1_000_001, "succeeded", later(NOW, -2), later(NOW, -1));
      await insert(1_000_002, "running", later(NOW, -1), null);
      expect(await sql.value("select ops.copy_job_runs($1)", [NOW])).toBe("2");
      await asCron(() =>
        sql.rows("update cron.job_run_details set status = 'failed', end_time = $1 where runid = 1000002", [NOW])
      );
      expect(await sql.value("select ops.copy_job_runs($1)", [NOW])).toBe("1");
      await sql.resultsEqual("select job, state, seconds from ops.job_runs order by run_id", [
        { job: "sla-sweep", state: "succeeded", seconds: 60 },
        { job: "sla-sweep", state: "failed", seconds: 60 },
      ]);
      await sql.rows("select ops.copy_job_runs($1::timestamptz + interval '31 days')", [NOW]);
      expect(await sql.value("select count(*)::int from ops.job_runs")).toBe(0);
    }));
});

// pg_cron writes its records as its superuser; what reads them runs as postgres.
type AsCron = (write: () => Promise<unknown>) => Promise<void>;

const switchOff = (sql: Sql, asCron: AsCron, job: string) =>
  asCron(() => sql.rows("update cron.job set active = false where jobname = $1", [job]));

async function withCronRecords(
  work: (sql: Sql, asCron: AsCron) => Promise<void>,
): Promise<void> {
  const client = await database.connect("supabase_admin");
  await client.query("begin");
  try {
    await client.query("delete from cron.job_run_details where true");
    await client.query("set local role postgres");
    await work(new Sql(client), async (write) => {
      await client.query("reset role");
      await write();
      await client.query("set local role postgres");
    });
  } finally {
    await client.query("rollback");
  }
}
