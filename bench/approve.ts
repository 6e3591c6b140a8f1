// How long a customer waits after the approval: from api.approve_draft to the message in Chatwoot, through the outbox that
// cron works off, over some minutes, since cron counts minutes and the seams between its jobs are part of it.
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { createRandom } from "../local/chatwoot/random.ts";
import { startChatwoot } from "../local/chatwoot/server.ts";
import { freePort } from "../local/ports.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import { DEMO, startStack } from "../local/stack.ts";
import type { BenchOptions } from "./run.ts";

const MOST_SECONDS = 6;
const MEAN_GAP_MILLISECONDS = 1500;
const QUESTION = "How long does a refund take until the money is back on my card?";

export async function approve({ quick }: BenchOptions): Promise<boolean> {
  const total = quick ? 5 : 200;
  const progress = (step: string) => console.error(`… ${step}`);
  const home = await temporaryHome();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const stack = await startStack({
      ...readSettings({}),
      home,
      apiPort: await freePort(),
      dbPort: await freePort(),
      chatwootPort: await freePort(),
    }, { progress });
    stops.push(stack.stop);
    const client = new Client({ connectionString: stack.postgres.url });
    await client.connect();
    stops.push(() => client.end());
    const admin = new Client({ connectionString: stack.postgres.adminUrl });
    await admin.connect();
    await admin.query("create database chatwoot").finally(() => admin.end());
    const url = new URL(stack.postgres.adminUrl);
    url.pathname = "/chatwoot";
    const chatwoot = await startChatwoot({ url: url.href });
    stops.push(chatwoot.stop);
    await chatwoot.createWebhook({
      url: `${stack.info.functions_url}/chatwoot-webhook`,
      secret: stack.info.demo.webhook_secret,
    });
    const account = DEMO.accountId;
    await client.query("select ops.set_setting($1, 'sync_private_hosts', 'true')", [account]);
    // The budget is Chatwoot's protection, and not what is measured.
    await client.query("select ops.set_setting($1, 'actions_requests_per_minute', '600')", [account]);
    await client.query("select api.set_sync_token($1, $2), api.set_rest_source($1, $3)", [
      account,
      chatwoot.token,
      chatwoot.url,
    ]);

    progress(`${total} customers write`);
    for (let number = 1; number <= total; number++) {
      const contact = await chatwoot.perform(new Date(), (shop, at) => shop.newContact(at, { name: "Ana Example" }));
      const made = await chatwoot.perform(
        new Date(),
        (shop, at) => shop.newConversation(at, { contact: contact.id, inbox: "website" }),
      );
      await chatwoot.perform(new Date(), (shop, at) => shop.customerWrites(at, made.id, { text: QUESTION }));
      if (number % 20 === 0) await chatwoot.drain();
    }
    await chatwoot.drain();
    const { rows: drafts } = await client.query<{ draft_id: string }>(
      "select draft_id from api.approval_queue where account_id = $1",
      [account],
    );
    if (drafts.length < total) throw new Error(`Only ${drafts.length} of ${total} customers have a draft.`);
    // Until cron's first minute has begun.
    for (;;) {
      const { rows: [{ is_running }] } = await client.query(
        "select exists (select from cron.job_run_details where command like '%actions.dispatch%' and status = 'running') as is_running",
      );
      if (is_running) break;
      await sleep(500);
    }
    progress("a person approves one after the other");
    const random = createRandom(7);
    for (const { draft_id } of drafts) {
      await client.query("select api.approve_draft($1, $2, final_text => $3)", [
        account,
        draft_id,
        `Three to five days, Ana. (${draft_id})`,
      ]);
      await sleep(random.integer(0, 2 * MEAN_GAP_MILLISECONDS));
    }
    for (let tries = 0; tries < 120; tries++) {
      const { rows: [{ left }] } = await client.query(
        "select count(*)::int as left from api.actions where state in ('pending', 'sending')",
      );
      if (left === 0) break;
      await sleep(500);
    }
    const { rows: [told] } = await client.query(
      `select count(*)::int as replies,
        percentile_cont(0.5) within group (order by seconds) as p50, percentile_cont(0.95) within group (order by seconds) as p95,
        max(seconds) as longest
      from (select extract(epoch from actions.settled_at - drafts.decided_at)::double precision as seconds
        from api.drafts join api.actions using (account_id, action_id) where actions.state = 'sent') as sent`,
    );
    const posted = [...chatwoot.installation.state.messages.values()]
      .filter((message) => message.content?.startsWith("Three to five days")).length;
    const isReached = told.replies === total && posted === total && told.p95 <= MOST_SECONDS;
    printTable(["replies", "posted", "p50", "p95", "longest"], [{
      replies: told.replies,
      posted,
      p50: `${told.p50.toFixed(2)} s`,
      p95: `${told.p95.toFixed(2)} s`,
      longest: `${told.longest.toFixed(2)} s`,
    }]);
    console.log(`${isReached ? "reached" : "missed"}: each once, p95 of approval to posted ≤ ${MOST_SECONDS} s`);
    return isReached;
  } finally {
    for (const stop of stops.reverse()) await stop().catch(() => {});
    await removeHome(home);
  }
}
