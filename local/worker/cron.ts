// The clock of pg_cron: reads cron.job each second and runs what is due, each run in a connection of its own.
import { Client, DatabaseError, Pool, type QueryResult } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { dueBetween, readSchedule, type Schedule } from "./schedule.ts";

const MAX_RUNNING = 32;
const MINUTE = 60_000;
const CONNECT_TIMEOUT_MS = 5_000;

interface JobRow {
  /** The id, and which creation of the extension it belongs to: ids start again at 1 after drop and create. */
  key: string;
  jobid: string;
  schedule: string;
  command: string;
  database: string;
  username: string;
}

interface Job {
  row: JobRow;
  schedule: Schedule | null;
  pending: number;
  isActive: boolean;
  isRunning: boolean;
  lastStart: number;
}

interface Outcome {
  runid: string;
  status: "succeeded" | "failed";
  message: string;
  endedAt: Date;
}

export interface CronOptions {
  adminUrl: string;
  log: (line: string) => void;
  /** Called on every new connection of the scheduler, before any job runs. */
  onConnect: (client: Client) => Promise<void>;
}

export interface CronScheduler {
  stop(farewell: (client: Client) => Promise<void>): Promise<void>;
}

/** Starts the scheduler; rejects when the first connection fails, later ones are tried again and again. */
export async function startCron({ adminUrl, log, onConnect }: CronOptions): Promise<CronScheduler> {
  const jobs = new Map<string, Job>();
  const running = new Map<string, Client>();
  // Ended while the scheduler had no connection; written as soon as it has one again.
  const unwritten: Outcome[] = [];
  let scheduler: Client | null = null;
  // Jobs that begin together write of themselves at once, which one connection does not do.
  const records = new Pool({ connectionString: adminUrl, max: 2, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  records.on("error", () => {});
  let lastMinute = Math.floor(Date.now() / MINUTE);
  let isFirstRead = true;
  const stopping = new AbortController();

  const connect = async () => {
    const client = new Client({
      connectionString: adminUrl,
      application_name: "pg_cron scheduler",
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    });
    client.on("error", () => {
      if (scheduler === client) scheduler = null;
    });
    await client.connect();
    try {
      await client.query("set statement_timeout = '10s'; set lock_timeout = '5s'; set search_path = ''");
      await onConnect(client);
      for (let outcome; (outcome = unwritten[0]); unwritten.shift()) await write(client, outcome);
      await unlessDropped(client.query(
        `update cron.job_run_details set status = 'failed', return_message = 'server restarted', end_time = now()
         where status in ('starting', 'running') and not runid = any ($1::bigint[])`,
        [[...running.keys()]],
      ));
    } catch (error) {
      client.end().catch(() => {});
      throw error;
    }
    scheduler = client;
    return client;
  };

  const readJobs = async (client: Client) => {
    const result = await unlessDropped(client.query<JobRow>(
      `select 'cron.job'::regclass::oid || ':' || jobid as key, jobid, schedule, command, database, username
       from cron.job where active order by jobid`,
    ));
    const rows = result?.rows ?? [];
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, job] of jobs) {
      if (keys.has(key)) continue;
      // Unscheduled or inactive: what still runs may end, what waits does not begin.
      Object.assign(job, { isActive: false, pending: 0 });
      if (!job.isRunning) jobs.delete(key);
    }
    for (const row of rows) {
      const known = jobs.get(row.key);
      if (known?.row.schedule === row.schedule) Object.assign(known, { row, isActive: true });
      else {
        const schedule = readSchedule(row.schedule);
        if (schedule === null) {
          log(`cron job ${row.jobid}: the schedule "${row.schedule}" cannot be read, so it never runs`);
        }
        const { pending = 0, isRunning = false, lastStart = Date.now() } = known ?? {};
        const job = { row, schedule, isActive: true, pending, isRunning, lastStart };
        if (known) Object.assign(known, job);
        else jobs.set(row.key, job);
        if (isFirstRead && schedule?.kind === "reboot") jobs.get(row.key)!.pending = 1;
      }
    }
    if (result) isFirstRead = false;
  };

  const noteDue = () => {
    const now = Date.now();
    const thisMinute = Math.floor(now / MINUTE);
    for (const job of jobs.values()) {
      if (!job.isActive) continue;
      if (job.schedule?.kind === "seconds") {
        if (job.pending === 0 && now - job.lastStart >= job.schedule.seconds * 1000 - 50) job.pending = 1;
      } else if (job.schedule?.kind === "minutes") {
        job.pending += dueBetween(job.schedule, lastMinute, thisMinute);
      }
    }
    // A clock set back a little must not run minutes twice.
    if (thisMinute > lastMinute || thisMinute < lastMinute - 180) lastMinute = thisMinute;
  };

  const startPending = () => {
    let places = MAX_RUNNING - [...jobs.values()].filter((job) => job.isRunning).length;
    for (const job of jobs.values()) {
      if (job.pending === 0 || job.isRunning || places-- <= 0) continue;
      job.pending--;
      job.isRunning = true;
      job.lastStart = Date.now();
      void run(job.row)
        .catch((error) => log(`cron job ${job.row.jobid}: ${words(error)}`))
        .finally(() => {
          job.isRunning = false;
          // A run that was waited for starts at once, not at the next second.
          if (scheduler && !stopping.signal.aborted) startPending();
        });
    }
  };

  const run = async ({ jobid, command, database, username }: JobRow) => {
    const begun = await unlessDropped(records.query<{ runid: string }>(
      `insert into cron.job_run_details (jobid, database, username, command, status)
       values ($1, $2, $3, $4, 'starting') returning runid`,
      [jobid, database, username, command],
    ));
    const runid = begun?.rows[0].runid;
    if (runid === undefined) return;
    const client = new Client({
      connectionString: loginUrl(adminUrl, username, database),
      application_name: "pg_cron",
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    });
    // The query's own promise tells the same; without a listener Node would end the process.
    client.on("error", () => {});
    running.set(runid, client);
    let outcome: Pick<Outcome, "status" | "message"> | null;
    try {
      await client.connect().catch((error) => {
        throw new Error(`connection failed: ${words(error)}`);
      });
      await records.query(
        "update cron.job_run_details set status = 'running', job_pid = $2, start_time = clock_timestamp() where runid = $1",
        [runid, pidOf(client)],
      );
      outcome = { status: "succeeded", message: feedback(await client.query(command)) };
    } catch (error) {
      // A connection lost without a word is a server gone: the next connection marks the run so.
      const isLost = !(error instanceof DatabaseError) && pidOf(client) !== null;
      outcome = isLost ? null : { status: "failed", message: words(error) };
    } finally {
      client.end().catch(() => {});
    }
    running.delete(runid);
    if (outcome === null || stopping.signal.aborted) return;
    const ended = { runid, ...outcome, endedAt: new Date() };
    if (scheduler) await write(records, ended).catch(() => unwritten.push(ended));
    else unwritten.push(ended);
  };

  const loop = async () => {
    for (let failures = 0; !stopping.signal.aborted;) {
      try {
        const client = scheduler ?? await connect();
        failures = 0;
        await readJobs(client);
        noteDue();
        startPending();
        await pause(1000 - Date.now() % 1000);
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (failures++ === 0) log(`cron: waiting for Postgres (${words(error).trim()})`);
        await pause(Math.min(250 * 2 ** failures, 5000));
      }
    }
  };
  const pause = (milliseconds: number) => sleep(milliseconds, undefined, { signal: stopping.signal }).catch(() => {});

  await connect();
  const looping = loop();
  return {
    stop: async (farewell) => {
      stopping.abort();
      const client = scheduler;
      if (client) {
        const pids = [...running.values()].map(pidOf).filter((pid) => pid !== null);
        // Cut short as by a restart: the next start marks these runs so.
        await client.query("select pg_terminate_backend(pid) from unnest($1::integer[]) as pid", [pids]).catch(
          () => {},
        );
        await farewell(client).catch(() => {});
        await client.end().catch(() => {});
      }
      await looping;
      await records.end().catch(() => {});
    },
  };
}

// `supabase db reset` drops pg_cron and creates it again under a scheduler that goes on.
async function unlessDropped<T>(query: Promise<T>): Promise<T | null> {
  try {
    return await query;
  } catch (error) {
    if (error instanceof DatabaseError && error.code === "42P01") return null;
    throw error;
  }
}

async function write(client: Client | Pool, { runid, status, message, endedAt }: Outcome): Promise<void> {
  await unlessDropped(client.query(
    // Our clock counts milliseconds, Postgres's microseconds: a short run must not end before it began.
    `update cron.job_run_details set status = $2, return_message = $3, end_time = greatest($4, start_time)
     where runid = $1`,
    [runid, status, message, endedAt],
  ));
}

// A real login, since only that brings the role's own settings (search_path, timeouts). Locally all logins share one
// password, the superuser's.
function loginUrl(adminUrl: string, username: string, database: string): string {
  const url = new URL(adminUrl);
  url.username = encodeURIComponent(username);
  url.pathname = `/${encodeURIComponent(database)}`;
  return url.href;
}

function pidOf(client: Client): number | null {
  return (client as unknown as { processID: number | null }).processID;
}

function feedback(results: QueryResult | QueryResult[]): string {
  const result = [results].flat().at(-1);
  if (!result?.command) return "";
  if (result.fields.length > 0) return `${result.rows.length} row${result.rows.length === 1 ? "" : "s"}`;
  if (result.command === "INSERT") return `INSERT 0 ${result.rowCount ?? 0}`;
  return result.rowCount === null ? result.command : `${result.command} ${result.rowCount}`;
}

// As libpq prints an error, one part a line.
function words(error: unknown): string {
  if (!(error instanceof DatabaseError)) return error instanceof Error ? error.message : String(error);
  const parts = [
    `${error.severity}:  ${error.message}`,
    error.detail && `DETAIL:  ${error.detail}`,
    error.hint && `HINT:  ${error.hint}`,
    error.where && `CONTEXT:  ${error.where}`,
  ];
  return parts.filter(Boolean).join("\n") + "\n";
}
