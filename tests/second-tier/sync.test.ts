// The real pg_cron runs the sync while nobody is connected: one account through REST, another through Chatwoot's tables.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Client } from "pg";
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { FinalState } from "../../local/chatwoot/final-state.ts";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { withScratchPostgres } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";
import { startHttpClient } from "../../local/worker/worker.ts";
import { differencesFrom } from "../support/mirror-rows.ts";

const binaries = process.env.OCC_POSTGRES_BIN;

async function connected<Value>(url: string, work: (client: Client) => Promise<Value>): Promise<Value> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return await work(client).finally(() => client.end());
}

/** A Chatwoot in a database of its own, with a history whose webhooks nobody hears. */
async function aChatwoot(adminUrl: string, database: string): Promise<Chatwoot> {
  await connected(adminUrl, (client) => client.query(`create database ${database} owner postgres`));
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  const start = new Date(Date.now() - 6 * 3_600_000);
  const chatwoot = await startChatwoot({ url: url.href, seed: 5, start });
  const { events } = historyOf({
    conversations: 8,
    events: 200,
    seed: 5,
    start,
    installation: chatwoot.installation,
  });
  for (const _event of events);
  await chatwoot.dispatch([]);
  return chatwoot;
}

// What a tick of each door is to have left behind; a first one that lasts is gone on with a minute later.
const WHOLE = {
  sources: [
    { door: "database", state: "active", problem: null, is_whole: true },
    { door: "rest", state: "active", problem: null, is_whole: true },
  ],
  runs: [
    { command: "call sync.tick_database()", status: "succeeded", username: "postgres" },
    { command: "call sync.tick_rest()", status: "succeeded", username: "postgres" },
  ],
  differences: [],
};

async function found(client: Client, truth: FinalState) {
  const { rows: sources } = await client.query(
    "select door, state, problem, backfill_finished_at is not null as is_whole from sync.sources order by door",
  );
  const { rows: runs } = await client.query(
    "select distinct command, status, username from cron.job_run_details where command like 'call sync%' and status <> 'running' order by 1",
  );
  const differences = await differencesFrom(truth, client, { without: { csat_responses: ["first_answered_at"] } });
  return { sources, runs, differences };
}

test.runIf(binaries)(
  "pg_cron reads Chatwoot through both doors by itself while nobody is connected",
  { timeout: 400_000 },
  () =>
    withScratchPostgres(readSettings({}).projectRoot, async (postgres) => {
      const http = await startHttpClient({ adminUrl: postgres.adminUrl });
      const chatwoot = await aChatwoot(postgres.adminUrl, "chatwoot");
      try {
        const truth: FinalState = chatwoot.installation.finalState("database");
        await connected(postgres.url, async (client) => {
          const { port } = new URL(postgres.adminUrl);
          await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
          await client.query("select ops.set_setting(1, 'sync_requests_per_minute', '2000')");
          await client.query("select api.set_sync_token(1, $1), api.set_rest_source(1, $2)", [
            chatwoot.token,
            chatwoot.url,
          ]);
          await client.query("select vault.create_secret($1, 'chatwoot_database_url_1')", [
            `postgresql://supabase_admin:postgres@127.0.0.1:${port}/chatwoot?sslmode=disable`,
          ]);
          await client.query("select api.set_database_source(1, api.connect_foreign(1))");
        });

        // pg_cron looks once a second whether its jobs changed, and misses it when more than 4096 other changes of the
        // catalogue came meanwhile, as foreign tables right after the migrations do. So it is told again in a calm moment.
        await sleep(2_000);
        await connected(
          postgres.url,
          (client) => client.query("select cron.schedule(jobname, schedule, command) from cron.job"),
        );

        // Both are called at each whole minute, and between two looks nobody is connected.
        const end = Date.now() + 300_000;
        let last;
        do {
          await sleep(5_000);
          last = await connected(postgres.url, (client) => found(client, truth));
        } while (!isDeepStrictEqual(last, WHOLE) && Date.now() < end);
        expect(last).toEqual(WHOLE);
      } finally {
        await chatwoot.stop();
        await http.stop();
      }
    }, {
      binaries,
      settings: { shared_preload_libraries: "pg_cron", "cron.use_background_workers": "on" },
      prepare: "create extension pg_cron; grant usage on schema cron to postgres;",
    }),
);
