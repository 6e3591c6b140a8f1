// The real pg_cron sends what a person asked for, while nobody is connected.
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { expect, test } from "vitest";
import { startChatwoot } from "../../local/chatwoot/server.ts";
import { withScratchPostgres } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";
import { startHttpClient } from "../../local/worker/worker.ts";

const binaries = process.env.OCC_POSTGRES_BIN;

async function connected<Value>(url: string, work: (client: Client) => Promise<Value>): Promise<Value> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return await work(client).finally(() => client.end());
}

test.runIf(binaries)(
  "pg_cron sends a reply with no client connected, and one that comes while its job lingers within seconds",
  { timeout: 400_000 },
  () =>
    withScratchPostgres(readSettings({}).projectRoot, async (postgres) => {
      await connected(postgres.adminUrl, (client) => client.query("create database chatwoot owner postgres"));
      const database = new URL(postgres.url);
      database.pathname = "/chatwoot";
      const http = await startHttpClient({ adminUrl: postgres.adminUrl });
      const chatwoot = await startChatwoot({ url: database.href });
      try {
        const { installation } = chatwoot;
        const contact = installation.newContact(new Date(), { name: "Dana" }).id;
        const id = installation.newConversation(new Date(), { contact, inbox: "website" }).id;
        installation.customerWrites(new Date(), id, { text: "Where is my order?" });
        await chatwoot.dispatch([]);
        // pg_cron misses what it is told amid the catalogue changes of the migrations; told again, it hears.
        await sleep(2_000);
        const reply = (text: string) =>
          connected(postgres.url, (client) =>
            client.query("select api.enqueue_action(1, $1, 'reply', $2)", [id, JSON.stringify({ content: text })]));
        const posted = async (number: number) => {
          for (const end = Date.now() + 180_000; Date.now() < end; await sleep(100)) {
            const replies = installation.conversation(id).messages.filter(({ type }) =>
              type === "outgoing"
            );
            if (replies.length >= number) return replies.map(({ content }) => content);
          }
          throw new Error("Nothing was posted within three minutes.");
        };
        await connected(postgres.url, async (client) => {
          await client.query(
            "insert into chatwoot.conversations (account_id, display_id, version_at) values (1, $1, now())",
            [
              id,
            ],
          );
          await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
          await client.query("select api.set_sync_token(1, $1)", [chatwoot.token]);
          await client.query("select api.set_rest_source(1, $1)", [chatwoot.url]);
          await client.query("select cron.schedule(jobname, schedule, command) from cron.job");
        });
        await reply("It leaves today.");
        expect(await posted(1)).toEqual(["It leaves today."]);

        await reply("It has left.");
        const began = Date.now();

        expect(await posted(2)).toEqual(["It leaves today.", "It has left."]);
        // Five of them are the pause between one job and the next.
        expect(Date.now() - began).toBeLessThan(15_000);
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
