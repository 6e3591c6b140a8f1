// Postgres killed with -9 in the middle of a tick, again and again: both doors go on and end equal, nothing doubled.
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { startChatwoot } from "../../local/chatwoot/server.ts";
import { migrate } from "../../local/migrate.ts";
import { readSettings } from "../../local/settings.ts";
import { differencesFrom } from "../support/mirror-rows.ts";
import { useWorker } from "./worker.support.ts";

const START = new Date("2026-11-20T07:00:00Z");
const CRASHES = 4;
const worker = useWorker();

test.each(["rest", "database"] as const)(
  "the %s door, after each crash, goes on where it was",
  { timeout: 180_000 },
  async (door) => {
    const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
    console.log(`crash: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
    const random = createRandom(seed);
    if (door === "rest") await migrate(readSettings({}).projectRoot, { url: worker.url(), withSeed: false });
    // The test is the clock.
    await worker.run("select cron.unschedule(jobid) from cron.job");
    const [{ tables }] = await worker.run(
      `select string_agg(oid::regclass::text, ', ') as tables from pg_class
      where relkind = 'r' and relnamespace::regnamespace::text in ('chatwoot', 'sync')`,
    );
    await worker.run(`truncate ${tables}`);
    const database = `chatwoot_${door}`;
    await worker.run(`create database ${database}`);
    const url = new URL(worker.url());
    url.pathname = `/${database}`;
    const chatwoot = await startChatwoot({ url: url.href, seed, start: START });
    try {
      const { events } = historyOf({
        conversations: 40,
        events: 1200,
        seed,
        start: START,
        installation: chatwoot.installation,
      });
      let now = START;
      for (const { at } of events) now = at;
      await chatwoot.dispatch([]);
      now = new Date(now.getTime() + 60_000);
      chatwoot.setNow(now);
      await worker.run("select ops.set_setting(1, 'sync_private_hosts', 'true')");
      await worker.run("select ops.set_setting(1, 'sync_requests_per_minute', '2000')");
      if (door === "rest") {
        await worker.run("select api.set_sync_token(1, $1)", [chatwoot.token]);
        await worker.run("select api.set_rest_source(1, $1)", [chatwoot.url]);
      } else {
        await worker.run("select vault.create_secret($1, 'chatwoot_database_url_1')", [
          `postgresql://postgres:postgres@127.0.0.1:${url.port}/${database}?sslmode=disable`,
        ]);
        await worker.run("select api.set_database_source(1, api.connect_foreign(1))");
      }

      for (let crash = 0; crash < CRASHES; crash++) {
        const victim = new Client({ connectionString: worker.url() });
        victim.on("error", () => {});
        await victim.connect();
        const ticking = victim.query(`call sync.tick_${door}($1)`, [now]).catch(() => {});
        await sleep(random.integer(20, door === "rest" ? 700 : 200));
        await worker.crashPostgres();
        await ticking;
        await victim.end().catch(() => {});
        await worker.restartWorker();
      }
      for (let minute = 0; minute < 40; minute++) {
        now = new Date(now.getTime() + 60_000);
        chatwoot.setNow(now);
        await worker.run(`call sync.tick_${door}($1)`, [now]);
      }

      const [source] = await worker.run("select problem, backfill, backfill_done, backfill_total from sync.sources");
      expect(source).toMatchObject({ problem: null, backfill: null });
      expect(Number(source.backfill_done)).toBe(Number(source.backfill_total));
      const client = new Client({ connectionString: worker.url() });
      await client.connect();
      const differences = await differencesFrom(chatwoot.installation.finalState(door), client, {
        without: {
          csat_responses: ["first_answered_at"],
          ...(door === "rest" ? { messages: ["additional_attributes"] } : {}),
        },
      }).finally(() => client.end());
      expect(differences).toEqual([]);
    } finally {
      await chatwoot.stop();
    }
  },
);
