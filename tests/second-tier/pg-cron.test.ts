// The real pg_cron on a Postgres of the system runs a job of ours with no client connected.
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { expect, test } from "vitest";
import { withScratchPostgres } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";

const binaries = process.env.OCC_POSTGRES_BIN;

async function connected<Value>(url: string, work: (client: Client) => Promise<Value>): Promise<Value> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return await work(client).finally(() => client.end());
}

test.runIf(binaries)(
  "pg_cron purges raw bytes by itself while nobody is connected",
  { timeout: 240_000 },
  () =>
    withScratchPostgres(readSettings({}).projectRoot, async (postgres) => {
      await connected(postgres.url, async (client) => {
        for (const [id, age] of [["old", "36 days"], ["young", "34 days"]]) {
          await client.query(
            "select inbox.record(1, $1, '{}', '{}', 'signature', null, now() - $2::interval)",
            [id, age],
          );
        }
        const jobs = await client.query("select jobname from cron.job where username = 'postgres' order by jobname");
        expect(jobs.rows.map((row) => row.jobname)).toContain("inbox-purge-bodies");
      });

      // Its schedule is each minute; nothing but the database runs meanwhile.
      await sleep(75_000);

      await connected(postgres.url, async (client) => {
        const deliveries = await client.query(
          "select delivery_id, body is null as is_purged from inbox.deliveries order by 1",
        );
        expect(deliveries.rows).toEqual([{ delivery_id: "old", is_purged: true }, {
          delivery_id: "young",
          is_purged: false,
        }]);
        const runs = await client.query(
          "select distinct status, username from cron.job_run_details where command like '%purge_bodies%' and status <> 'running'",
        );
        expect(runs.rows).toEqual([{ status: "succeeded", username: "postgres" }]);
      });
    }, {
      binaries,
      settings: { shared_preload_libraries: "pg_cron", "cron.use_background_workers": "on" },
      prepare: "create extension pg_cron; grant usage on schema cron to postgres;",
    }),
);
