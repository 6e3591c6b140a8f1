// What runs beside Postgres on a hosted project and cannot be an SQL extension: the clock of pg_cron, the client of http.
import { Client } from "pg";
import { startCron } from "./cron.ts";
import { startHttp } from "./http.ts";

export interface WorkerOptions {
  /** As the superuser, in the database that holds the jobs. */
  adminUrl: string;
  log?: (line: string) => void;
}

export interface Worker {
  stop(): Promise<void>;
}

/** Runs cron jobs and HTTP requests until stopped; a lost or restarted Postgres is waited for. */
export async function startWorker({ adminUrl, log = () => {} }: WorkerOptions): Promise<Worker> {
  const http = await startHttp();
  try {
    const cron = await startCron({ adminUrl, log, onConnect: (client) => announce(client, http.conninfo) });
    return {
      stop: async () => {
        await cron.stop((client) => announce(client, ""));
        await http.stop();
      },
    };
  } catch (error) {
    await http.stop();
    throw error;
  }
}

/** Runs HTTP requests alone, for a Postgres that has the real pg_cron. */
export async function startHttpClient({ adminUrl }: WorkerOptions): Promise<Worker> {
  const http = await startHttp();
  const tell = async (conninfo: string) => {
    const client = new Client({ connectionString: adminUrl });
    await client.connect();
    await announce(client, conninfo).finally(() => client.end());
  };
  await tell(http.conninfo);
  return { stop: () => tell("").finally(() => http.stop()) };
}

// A file in the data folder: unlike a table it is closed to pg_read_all_data, and it outlives `supabase db reset`.
async function announce(client: Client, conninfo: string): Promise<void> {
  await client.query("begin");
  const { rows: [{ object }] } = await client.query("select lo_from_bytea(0, $1) as object", [Buffer.from(conninfo)]);
  await client.query("select lo_export($1, 'http-worker')", [object]);
  await client.query("select lo_unlink($1)", [object]);
  await client.query("commit");
}
