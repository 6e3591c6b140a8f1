// The real pg_cron works off the ledger's queue while nobody is connected.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Client } from "pg";
import { expect, test } from "vitest";
import { withScratchPostgres } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";

const binaries = process.env.OCC_POSTGRES_BIN;
const CONVERSATIONS = 1_200;

async function connected<Value>(url: string, work: (client: Client) => Promise<Value>): Promise<Value> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return await work(client).finally(() => client.end());
}

const WORKED_OFF = {
  queued: 0,
  episodes: CONVERSATIONS,
  // Of each the answer came after a minute.
  frt: [60],
  runs: [{ status: "succeeded", username: "postgres" }],
};

async function found(client: Client) {
  const { rows: [numbers] } = await client.query(
    `select (select count(*)::integer from ledger.queue) as queued, count(*)::integer as episodes,
      coalesce(array_agg(distinct frt), '{}') as frt from analytics.episodes`,
  );
  const { rows: runs } = await client.query(
    `select distinct status, username from cron.job_run_details
    where command = 'call ledger.tick()' and status not in ('starting', 'running')`,
  );
  return { ...numbers, runs };
}

test.runIf(binaries)(
  "pg_cron drains the queue with no client connected",
  { timeout: 300_000 },
  () =>
    withScratchPostgres(readSettings({}).projectRoot, async (postgres) => {
      // pg_cron looks once a second whether its jobs changed, and misses it when more than 4096 other changes of the
      // catalogue came meanwhile, as right after the migrations. So it is told again in a calm moment.
      await sleep(2_000);
      await connected(postgres.url, async (client) => {
        await client.query("select cron.schedule(jobname, schedule, command) from cron.job");
        // More than a batch, written as the doors of the sync do: all at once and not followed.
        await client.query(
          `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
        select 1, numbers.number, 3, '2026-11-20T09:00Z', now() from generate_series(1, ${CONVERSATIONS}) as numbers (number)`,
        );
        await client.query(
          `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private,
            content_type, sender_kind, sender_id, content, created_at, version_at)
          select 1, 2 * numbers.number + replies.is_reply::integer, numbers.number,
            case when replies.is_reply then 'outgoing' else 'incoming' end, false, 'text',
            case when replies.is_reply then 'user' else 'contact' end, 7, 'text',
            timestamptz '2026-11-20T09:00:01Z' + case when replies.is_reply then interval '1 minute' else '0' end, now()
          from generate_series(1, ${CONVERSATIONS}) as numbers (number)
          cross join (values (false), (true)) as replies (is_reply)`,
        );
        expect(await found(client)).toMatchObject({ queued: CONVERSATIONS, episodes: 0 });
      });

      const end = Date.now() + 200_000;
      let last;
      do {
        await sleep(5_000);
        last = await connected(postgres.url, found);
      } while (!isDeepStrictEqual(last, WORKED_OFF) && Date.now() < end);
      expect(last).toEqual(WORKED_OFF);
    }, {
      binaries,
      settings: { shared_preload_libraries: "pg_cron", "cron.use_background_workers": "on" },
      prepare: "create extension pg_cron; grant usage on schema cron to postgres;",
    }),
);
