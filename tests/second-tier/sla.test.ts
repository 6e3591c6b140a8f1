// The real pg_cron finds a breach that no event tells of, and its notification arrives, while nobody is connected.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { expect, test } from "vitest";
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
  "pg_cron finds a breach and tells of it with no client connected",
  { timeout: 400_000 },
  () =>
    withScratchPostgres(readSettings({}).projectRoot, async (postgres) => {
      const received: { type: string; data: Record<string, unknown> }[] = [];
      const receiver = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          received.push(JSON.parse(Buffer.concat(chunks).toString("utf8")));
          response.end("ok");
        });
      });
      await new Promise<void>((listening) => receiver.listen(0, "127.0.0.1", listening));
      const http = await startHttpClient({ adminUrl: postgres.adminUrl });
      try {
        // pg_cron misses what it is told amid the catalogue changes of the migrations; told again, it hears.
        await sleep(2_000);
        const due = await connected(postgres.url, async (client) => {
          await client.query("select cron.schedule(jobname, schedule, command) from cron.job");
          await client.query("insert into chatwoot.accounts (account_id, version_at) values (1, now())");
          await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
          await client.query("select ops.add_notification_endpoint(1, 'Here', $1, 'standard')", [
            `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
          ]);
          await client.query(
            `select sla.save_policy(1, 'All', '[]',
              '{"first_response": {"seconds": 3600, "hours": "24x7", "warn_at": []}}', null, null, '-infinity')`,
          );
          // Due in ten seconds, when nobody is there any more.
          await client.query(
            `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
            values (1, 1, 3, now() - interval '59 minutes 50 seconds', now())`,
          );
          await client.query(
            `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private,
              content_type, sender_kind, sender_id, content, created_at, version_at)
            values (1, 1, 1, 'incoming', false, 'text', 'contact', 7, 'text', now() - interval '59 minutes 50 seconds', now())`,
          );
          await client.query("call ledger.tick()");
          expect((await client.query("select from sla.breaches")).rowCount).toBe(0);
          const { rows } = await client.query("select now() + interval '10 seconds' as due");
          return (rows[0].due as Date).getTime();
        });
        const end = Date.now() + 300_000;
        while (received.length === 0 && Date.now() < end) await sleep(2_000);
        expect(received).toMatchObject([{ type: "sla.breach" }]);
        const { rows } = await connected(
          postgres.url,
          (client) =>
            client.query(
              `select breaches.breach_at, breaches.found_at > breaches.breach_at as is_found_later from sla.breaches`,
            ),
        );
        expect(rows).toHaveLength(1);
        expect(rows[0].is_found_later).toBe(true);
        expect(Math.abs(rows[0].breach_at.getTime() - due)).toBeLessThan(1_000);
      } finally {
        await http.stop();
        receiver.close();
      }
    }, {
      binaries,
      settings: { shared_preload_libraries: "pg_cron", "cron.use_background_workers": "on" },
      prepare: "create extension pg_cron; grant usage on schema cron to postgres;",
    }),
);
