// A Postgres and a worker of a test file's own, since a worker serves a whole server.
import { setTimeout as sleep } from "node:timers/promises";
import { Client, type QueryResultRow } from "pg";
import { afterAll, beforeAll } from "vitest";
import { freePort } from "../../local/ports.ts";
import { type Postgres, startPostgres } from "../../local/postgres/server.ts";
import { removeHome, temporaryHome } from "../../local/scratch.ts";
import { startWorker, type Worker } from "../../local/worker/worker.ts";

export interface WorkerServer {
  /** As postgres. */
  url(): string;
  log: string[];
  /** One statement in a connection that lives no longer. */
  run<Row extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[], as?: string): Promise<Row[]>;
  /** Runs a query until its rows satisfy, then returns them. */
  until<Row extends QueryResultRow = QueryResultRow>(text: string, satisfied: (rows: Row[]) => boolean): Promise<Row[]>;
  restartPostgres(): Promise<void>;
  /** Ends Postgres as a power cut does (kill -9), and starts it again. */
  crashPostgres(): Promise<void>;
  restartWorker(): Promise<void>;
  stopWorker(): Promise<void>;
}

/** Starts both before the file's tests; to be called at the top of it. */
export function useWorker(): WorkerServer {
  let home: string;
  let port: number;
  let postgres: Postgres;
  let worker: Worker | null = null;
  const log: string[] = [];
  const start = () => startPostgres({ home, port, settings: { fsync: "off" }, binaries: process.env.OCC_POSTGRES_BIN });
  const stopWorker = async () => {
    await worker?.stop();
    worker = null;
  };
  const startOurs = async () => {
    worker = await startWorker({ adminUrl: postgres.adminUrl, log: (line) => log.push(line) });
  };
  const run: WorkerServer["run"] = async (text, values = [], as = "postgres") => {
    const url = new URL(postgres.url);
    url.username = as;
    const client = new Client({ connectionString: url.href });
    await client.connect();
    try {
      // Without values by the simple protocol, so that a test may send several statements.
      const results = [values.length > 0 ? await client.query(text, values) : await client.query(text)].flat();
      return results.at(-1)?.rows ?? [];
    } finally {
      await client.end();
    }
  };
  beforeAll(async () => {
    home = await temporaryHome();
    port = await freePort();
    postgres = await start();
    await startOurs();
  });
  afterAll(async () => {
    await stopWorker();
    await postgres?.stop();
    await removeHome(home);
  });
  return {
    url: () => postgres.url,
    log,
    run,
    until: async (text, satisfied) => {
      for (const deadline = Date.now() + 20_000;;) {
        const rows = await run(text);
        if (satisfied(rows as never)) return rows as never;
        if (Date.now() > deadline) {
          throw new Error(`still not after 20 s: ${text} gives ${JSON.stringify(rows)}; ${log}`);
        }
        await sleep(100);
      }
    },
    restartPostgres: async () => {
      await postgres.stop();
      postgres = await start();
    },
    async crashPostgres() {
      const [{ file }] = await run<{ file: string }>(
        "select pg_read_file('postmaster.pid') as file",
        [],
        "supabase_admin",
      );
      process.kill(Number(file.split("\n")[0]), "SIGKILL");
      await postgres.stop();
      // What was at work ends its statement first, and holds the memory of the old one meanwhile.
      for (const deadline = Date.now() + 30_000;;) {
        try {
          postgres = await start();
          return;
        } catch (error) {
          if (Date.now() > deadline || !String(error).includes("shared memory")) throw error;
          await sleep(200);
        }
      }
    },
    stopWorker,
    restartWorker: async () => {
      await stopWorker();
      await startOurs();
    },
  };
}
