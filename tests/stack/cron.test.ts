// pg_cron's interface, and jobs that really run: by the clock, as their user, one at a time, across restarts and resets.
import { execa } from "execa";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { dueBetween, readSchedule } from "../../local/worker/schedule.ts";
import { useWorker } from "./worker.support.ts";

const VALID = [
  ...["* * * * *", "*/5 * * * *", "0 10 * * 1-5", "0,30 9-17/2 1,15 jan-mar,DEC mon,Fri", "59 23 31 12 7", "0 0 $ * *"],
  ...["  5 4 * * *  ", "5\t4 * * *", "*/90 * * * *", "1 seconds", "59 seconds", "30 second", "30 Seconds"],
  ...["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@reboot"],
];
const INVALID = [
  ...["", "nonsense", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *"],
  ...["* * * * 8", "*/0 * * * *", "5/20 * * * *", "1, * * * *", "20-10 * * * *", "0 0 $,1 * *", "0 0 * * $"],
  ...["-5 * * * *", "mon * * * *", "* * * foo *", "0 seconds", "60 seconds", "1.5 seconds", "-1 seconds", "5 minutes"],
  ...["@fortnightly", "9999999999 * * * *"],
];

describe("when a schedule is due", () => {
  test.each([
    ["0 10 * * *", "2026-11-23T10:00Z", true],
    ["0 10 * * *", "2026-11-23T10:01Z", false],
    ["*/15 9-17 * * mon-fri", "2026-11-23T17:45Z", true],
    ["*/15 9-17 * * mon-fri", "2026-11-22T17:45Z", false],
    ["0 0 $ * *", "2026-02-28T00:00Z", true],
    ["0 0 $ * *", "2028-02-28T00:00Z", false],
    ["0 0 $ * *", "2028-02-29T00:00Z", true],
    // Day of month and weekday both given: either.
    ["0 0 13 * 5", "2026-11-13T00:00Z", true],
    ["0 0 13 * 5", "2026-11-20T00:00Z", true],
    ["0 0 13 * 5", "2026-10-13T00:00Z", true],
    ["0 0 13 * 5", "2026-11-19T00:00Z", false],
    // A stepped star is still a star: both.
    ["0 0 */2 * 5", "2026-11-13T00:00Z", true],
    ["0 0 */2 * 5", "2026-11-20T00:00Z", false],
    ["0 0 */2 * 5", "2026-11-17T00:00Z", false],
    ["0 0 * * 7", "2026-11-22T00:00Z", true],
    ["0 0 * * 0", "2026-11-22T00:00Z", true],
    ["*/90 * * * *", "2026-11-22T05:00Z", true],
    ["*/90 * * * *", "2026-11-22T05:30Z", false],
    ["@weekly", "2026-11-22T00:00Z", true],
    ["@hourly", "2026-11-22T07:00Z", true],
  ])("%s at %s: %s", (text, moment, expected) => {
    const schedule = readSchedule(text);

    expect(schedule?.kind === "minutes" && schedule.isDue(new Date(moment))).toBe(expected);
  });

  test.each([
    ["every minute missed by five is made up", "* * * * *", 5, 5],
    ["wildcards missed by an hour run once", "* * * * *", 60, 1],
    ["a fixed time missed by an hour runs", "30 12 * * *", 60, 1],
    ["what was missed by more than three hours is forgotten", "30 12 * * *", 181, 0],
    ["no minute passed", "* * * * *", 0, 0],
    ["the clock went back", "* * * * *", -30, 0],
  ])("%s", (_, text, passed, expected) => {
    const last = Date.parse("2026-11-22T12:00Z") / 60_000;
    const schedule = readSchedule(text);

    expect(schedule?.kind === "minutes" && dueBetween(schedule, last, last + passed)).toBe(expected);
  });
});

// A Postgres of the system brings the real pg_cron, which needs no proof of ours.
describe.skipIf(process.env.OCC_POSTGRES_BIN)("pg_cron", () => {
  const server = useWorker();
  const { run, until } = server;
  const outcomes = "select status, return_message from cron.job_run_details order by runid";

  beforeAll(async () => {
    await run(
      "create extension if not exists pg_cron; create table public.seen (at timestamptz default clock_timestamp(), what text)",
    );
  });
  afterEach(async () => {
    await run("select cron.unschedule(jobid) from cron.job", [], "supabase_admin");
    await run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg_cron'");
    await until("select from pg_stat_activity where application_name = 'pg_cron'", (rows) => rows.length === 0);
    await sleep(50);
    await run("truncate public.seen; delete from cron.job_run_details where true");
  });

  test.each(VALID)("takes the schedule '%s'", async (schedule) => {
    const rows = await run("begin; select cron.schedule('job', '" + schedule + "', 'select 1') > 0 as scheduled");

    expect(rows).toEqual([{ scheduled: true }]);
    expect(readSchedule(schedule)).not.toBeNull();
  });

  test.each(INVALID)("refuses the schedule '%s'", async (schedule) => {
    await expect(run("select cron.schedule('job', $1, 'select 1')", [schedule]))
      .rejects.toMatchObject({ code: "22023", message: `invalid schedule: ${schedule}` });
  });

  test("scheduling a name again changes the job and keeps its id", async () => {
    const [first] = await run("select cron.schedule('nightly', '0 3 * * *', 'select 1') as id");
    const [second] = await run("select cron.schedule('nightly', '0 4 * * *', 'select 2') as id");

    expect(second.id).toBe(first.id);
    expect(await run("select jobname, schedule, command, username, database, active from cron.job")).toEqual([
      {
        jobname: "nightly",
        schedule: "0 4 * * *",
        command: "select 2",
        username: "postgres",
        database: "postgres",
        active: true,
      },
    ]);
  });

  test("the same name of another user is another job", async () => {
    await run("select cron.schedule('nightly', '0 3 * * *', 'select 1')");
    await run("select cron.schedule('nightly', '0 3 * * *', 'select 1')", [], "supabase_admin");

    expect(await run("select username from cron.job order by username")).toEqual([
      { username: "postgres" },
      { username: "supabase_admin" },
    ]);
  });

  test("unscheduling takes a name or an id, and raises for what is not there", async () => {
    await run("select cron.schedule('by_name', '0 3 * * *', 'select 1')");
    const [{ id }] = await run("select cron.schedule('0 3 * * *', 'select 1') as id");

    expect(await run("select cron.unschedule('by_name') as done")).toEqual([{ done: true }]);
    expect(await run(`select cron.unschedule(${id}) as done`)).toEqual([{ done: true }]);
    expect(await run("select from cron.job")).toEqual([]);
    await expect(run("select cron.unschedule('by_name')")).rejects.toThrow(
      "could not find valid entry for job 'by_name'",
    );
    await expect(run(`select cron.unschedule(${id})`)).rejects.toThrow(`could not find valid entry for job ${id}`);
  });

  test("altering a job changes what is given", async () => {
    const [{ id }] = await run("select cron.schedule('job', '0 3 * * *', 'select 1') as id");

    await run("select cron.alter_job($1, schedule => '5 seconds', active => false)", [id]);

    expect(await run("select schedule, command, active from cron.job")).toEqual([
      { schedule: "5 seconds", command: "select 1", active: false },
    ]);
    await expect(run("select cron.alter_job($1, schedule => 'never')", [id])).rejects.toThrow(
      "invalid schedule: never",
    );
    await expect(run("select cron.alter_job(0, active => true)")).rejects.toThrow(
      "Job 0 does not exist or you don't own it",
    );
  });

  test.each([
    "insert into cron.job (schedule, command) values ('* * * * *', 'select 1')",
    "update cron.job set command = 'select 2'",
    "delete from cron.job",
    "insert into cron.job_change (action, schedule, command, caller) values ('schedule', '* * * * *', 'x', 'supabase_admin')",
    "select cron.schedule_in_database('job', '* * * * *', 'select 1', 'postgres', 'supabase_admin')",
    "set role service_role; select cron.schedule('job', '* * * * *', 'select 1')",
    "set role anon; select * from cron.job",
    "create trigger t after insert on cron.job_run_details execute function pg_catalog.suppress_redundant_updates_trigger()",
  ])("postgres may not: %s", async (statement) => {
    await expect(run(statement)).rejects.toMatchObject({ code: "42501" });
  });

  test("a job belongs to whom the calling function runs as, not to who called it", async () => {
    await run(`create function public.enable() returns bigint language sql security definer set search_path = ''
      as $$ select cron.schedule('enabled', '0 3 * * *', 'select 1') $$; grant execute on function public.enable to service_role`);
    await run("set role service_role; select public.enable()", [], "authenticator");

    expect(await run("select username from cron.job")).toEqual([{ username: "postgres" }]);
    await run("drop function public.enable");
  });

  test("a job of some seconds runs with nobody connected, as its user with that user's settings", async () => {
    await run(`select cron.schedule('beat', '1 seconds', $$insert into public.seen (what)
      values (concat_ws(' ', session_user, current_setting('search_path'), current_setting('application_name')))$$)`);
    await sleep(3300);

    const seen = await run("select what from public.seen");
    expect(seen.length).toBeGreaterThanOrEqual(2);
    expect(seen[0].what).toBe('postgres "$user", public, extensions pg_cron');
    const [details] = await until(
      `select job_run_details.*, job.jobid = job_run_details.jobid as same, end_time >= start_time as ordered
       from cron.job_run_details, cron.job order by runid`,
      (rows) => rows[0]?.status === "succeeded",
    );
    expect(details).toMatchObject({
      same: true,
      ordered: true,
      status: "succeeded",
      return_message: "INSERT 0 1",
      database: "postgres",
      username: "postgres",
      job_pid: expect.any(Number),
    });
  });

  test("several statements are one transaction", async () => {
    await run(
      "select cron.schedule('both', '1 seconds', $$insert into public.seen (what) values ('half'); select 1 / 0$$)",
    );

    const [first] = await until(outcomes, ([row]) => row?.status === "failed");
    expect(first.return_message).toBe("ERROR:  division by zero\n");
    expect(await run("select from public.seen")).toEqual([]);
  });

  test("a procedure called alone commits as it goes", async () => {
    await run(`create procedure public.steps() language plpgsql as $$ begin
      insert into public.seen (what) values ('kept');
      commit;
      insert into public.seen (what) values ('lost');
      raise 'stopped half way' using hint = 'Look.';
    end $$`);
    await run("select cron.schedule('steps', '1 seconds', 'call public.steps()')");

    const [first] = await until(outcomes, ([row]) => row?.status === "failed");
    expect(first.return_message).toMatch(
      /^ERROR: {2}stopped half way\nHINT: {2}Look\.\nCONTEXT: {2}PL\/pgSQL function/,
    );
    const seen = await run("select what from public.seen");
    expect(new Set(seen.map((row) => row.what))).toEqual(new Set(["kept"]));
  });

  test("a job never runs twice at a time, and a waiting run starts when the other ends", async () => {
    await run("select cron.schedule('slow', '1 seconds', 'select pg_sleep(1.7)')");

    const runs = await until<{ gap: number | null }>(
      `select extract(epoch from start_time - lag(end_time) over (order by runid))::float as gap
       from cron.job_run_details where status = 'succeeded'`,
      (rows) => rows.length >= 3,
    );
    for (const { gap } of runs.slice(1)) expect(gap).toSatisfy((seconds: number) => seconds >= 0 && seconds < 0.5);
  });

  test("different jobs run side by side, and an unscheduled or inactive one no more", async () => {
    await run(
      "select cron.schedule('one', '1 seconds', 'select pg_sleep(3)'), cron.schedule('two', '1 seconds', 'select pg_sleep(3)')",
    );
    await until("select from cron.job_run_details where status = 'running'", (rows) => rows.length === 2);
    await run("select cron.unschedule('one')");
    await run("select cron.alter_job(jobid, active => false) from cron.job");
    await until("select from cron.job_run_details where status = 'succeeded'", (rows) => rows.length === 2);
    await sleep(1500);

    expect(await run(outcomes)).toHaveLength(2);
  });

  test("a user who cannot log in is a failed run, and the other jobs go on", async () => {
    await run("create role nobody_there nologin; grant usage on schema cron to nobody_there");
    await run("set role nobody_there; select cron.schedule('hopeless', '1 seconds', 'select 1')", [], "supabase_admin");
    await run("select cron.schedule('beat', '1 seconds', 'select 1')");

    await until(outcomes, (rows) => rows.some((row) => row.status === "succeeded"));
    const failed = await until(
      "select return_message from cron.job_run_details where status = 'failed'",
      (rows) => rows.length > 0,
    );
    expect(failed[0].return_message).toContain("connection failed");
  });

  test("a run cut by a restart of Postgres is marked so, and jobs go on", async () => {
    await run("select cron.schedule('long', '1 seconds', 'select pg_sleep(60)')");
    await until(outcomes, ([row]) => row?.status === "running");
    await server.restartPostgres();

    const [first] = await until(outcomes, ([row, next]) => row?.status === "failed" && next?.status === "running");
    expect(first.return_message).toMatch(/^server restarted$|terminating connection due to administrator command/);
    expect(await run("select from pg_stat_activity where application_name = 'pg_cron scheduler'")).toHaveLength(1);
  });

  test("a run cut by a restart of the worker ends and is marked so", async () => {
    await run("select cron.schedule('long', '1 seconds', 'select pg_sleep(60)')");
    await until(outcomes, ([row]) => row?.status === "running");
    await server.stopWorker();
    expect(await run("select from pg_stat_activity where application_name like 'pg_cron%'")).toEqual([]);
    await run("select cron.schedule('booted', '@reboot', $$insert into public.seen (what) values ('booted')$$)");
    await server.restartWorker();

    const [first] = await run(outcomes);
    expect(first).toEqual({ status: "failed", return_message: "server restarted" });
    await until("select from public.seen", (rows) => rows.length === 1);
    // The next start is its time, not this one.
    await run("select cron.schedule('late', '@reboot', $$insert into public.seen (what) values ('late')$$)");
    await sleep(1500);
    expect(await run("select what from public.seen")).toEqual([{ what: "booted" }]);
  });

  test("supabase db push and db reset work, and the worker goes on", async () => {
    const folder = await mkdtemp(join(tmpdir(), "occ-push-"));
    await mkdir(join(folder, "supabase", "migrations"), { recursive: true });
    await writeFile(join(folder, "supabase", "config.toml"), 'project_id = "push"\n[db]\nmajor_version = 17\n');
    await writeFile(
      join(folder, "supabase", "migrations", "20261121000000_jobs.sql"),
      `create extension if not exists pg_cron;
       create extension if not exists http with schema extensions;
       create extension if not exists supabase_vault;
       create schema beats;
       create table beats.beats (at timestamptz default now(), method text default (extensions.http_header('a', 'b')).field);
       select cron.schedule('beat', '1 seconds', 'insert into beats.beats default values');`,
    );
    const supabase = (...args: string[]) =>
      execa("node_modules/.bin/supabase", [...args, `--remote=${server.url()}`, "--yes", "--workdir", folder], {
        env: { SUPABASE_TELEMETRY_DISABLED: "1" },
        all: true,
      });
    const beats = () => until("select from beats.beats", (rows) => rows.length > 0);
    try {
      await supabase("db", "push");
      await beats();
      await run("select cron.schedule('stray', '0 0 * * *', 'select 1')");
      await supabase("db", "reset");
      await beats();

      expect(await run("select jobname from cron.job")).toEqual([{ jobname: "beat" }]);
      expect(await run("select count(*)::int as schemas from pg_namespace where nspname in ('cron', 'vault')")).toEqual(
        [{ schemas: 2 }],
      );
      await until(outcomes, (rows) => rows.some((row) => row.status === "succeeded"));
    } finally {
      await rm(folder, { recursive: true, force: true });
      await run("create table if not exists public.seen (at timestamptz default clock_timestamp(), what text)");
    }
  });
});
