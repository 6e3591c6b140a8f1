// The Chatwoot of npm start: a day of support played in it, its webhooks sent with losses on purpose, and the sync that
// finds what was lost.
import { Client } from "pg";
import { lastHourFolder, loadScenarios } from "./chatwoot/scenarios.ts";
import { playDay, playFrom } from "./chatwoot/day.ts";
import { type Chatwoot, startChatwoot } from "./chatwoot/server.ts";
import type { Receiver } from "./receiver.ts";
import type { Settings } from "./settings.ts";
import { DEMO, type Stack } from "./stack.ts";

/** One in ten webhooks is lost and one in twenty comes twice: worse than most days, and the same every time. */
const LOSSES = { drop: 0.1, duplicate: 0.05, seed: 20 };

/** The database of the Chatwoot, beside the one of the stack. */
const DATABASE = "chatwoot";

/** The endpoint that notifications go to. It is added anew at each start: the receiver's port is, and so is the secret. */
const ENDPOINT = "npm start";

/** Stricter than the default policy that supabase/seed.sql brings, for what may hurt somebody. */
const SAFETY = {
  name: "Safety",
  conditions: [{ attribute: "label", operator: "in", values: ["safety", "injury"] }],
  targets: {
    first_response: { seconds: 600, hours: "24x7" },
    next_response: { seconds: 1800, hours: "24x7" },
    periodic_update: { seconds: 3600, hours: "24x7" },
    resolution: { seconds: 28_800, hours: "24x7", pauses: ["snoozed"] },
  },
};

const HOUR = 3_600_000;

/** Of the scenarios of the last hour, those that begin after this minute are played when all else is done. */
const LAST_MINUTES = 50;

export interface DemoOptions {
  /** Where notifications are to go. */
  receiver: Receiver;
  /** Told of each step, one line each. */
  say: (line: string) => void;
}

/** Starts the Chatwoot of the demo, tells it of the webhook and the stack of it, and on the first run plays a day. */
export async function startDemo(stack: Stack, settings: Settings, { receiver, say }: DemoOptions): Promise<Chatwoot> {
  const admin = new Client({ connectionString: stack.postgres.adminUrl });
  await admin.connect();
  try {
    const { rowCount } = await admin.query("select from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await admin.query(`create database ${DATABASE}`);
  } finally {
    await admin.end();
  }
  const url = new URL(stack.postgres.adminUrl);
  url.pathname = `/${DATABASE}`;
  const chatwoot = await startChatwoot({ url: url.href, port: settings.chatwootPort, webhooks: LOSSES });
  const client = new Client({ connectionString: stack.postgres.url });
  // Ctrl-C ends the database first; whatever is asked then fails by itself.
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows: [{ is_played }] } = await client.query(
      "select exists (select from sync.sources where account_id = $1) as is_played",
      [DEMO.accountId],
    );
    if (is_played) {
      say("The demo day is here from an earlier start.");
      await connectReceiver(client, receiver);
    } else {
      await playFirstDay({ stack, chatwoot, client, say });
      // Now, and not before: played in seconds, a day is late with every reply until the next webhook.
      await connectReceiver(client, receiver);
      await playLastMinutes(chatwoot, client);
    }
    return chatwoot;
  } catch (error) {
    await chatwoot.stop();
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
}

// An endpoint is told of nothing that was before it.
async function connectReceiver(client: Client, receiver: Receiver): Promise<void> {
  await client.query(
    `select api.remove_notification_endpoint(account_id, endpoint_id)
    from api.notification_endpoints where account_id = $1 and name = $2`,
    [DEMO.accountId, ENDPOINT],
  );
  const { rows: [{ signing_secret }] } = await client.query(
    "select signing_secret from api.add_notification_endpoint($1, $2, $3, 'standard', array['sla.*'])",
    [DEMO.accountId, ENDPOINT, receiver.url],
  );
  receiver.expectSignature(signing_secret);
}

/** The administrator's access token of the demo's Chatwoot; null where there is none. */
export async function demoToken(stackUrl: string): Promise<string | null> {
  const url = new URL(stackUrl);
  url.username = "supabase_admin";
  url.pathname = `/${DATABASE}`;
  const client = new Client({ connectionString: url.href });
  try {
    await client.connect();
    const { rows } = await client.query(
      `select token from access_tokens join account_users on user_id = owner_id
      where owner_type = 'User' and role = 1 limit 1`,
    );
    return rows[0]?.token ?? null;
  } catch {
    return null;
  } finally {
    await client.end().catch(() => {});
  }
}

interface FirstDay {
  stack: Stack;
  chatwoot: Chatwoot;
  client: Client;
  say: (line: string) => void;
}

async function playFirstDay({ stack, chatwoot, client, say }: FirstDay): Promise<void> {
  await chatwoot.createWebhook({
    url: `${stack.info.functions_url}/chatwoot-webhook`,
    secret: stack.info.demo.webhook_secret,
  });
  const date = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  // Nobody drafts a reply to what was answered yesterday.
  await client.query("select ops.set_setting($1, 'draft_replies', 'false')", [DEMO.accountId]);
  // Since ever, so that the day before is measured by it as well.
  await client.query(
    "select api.save_sla_policy($1, $2, $3, $4, place => 100, valid_from => '-infinity')",
    [DEMO.accountId, SAFETY.name, JSON.stringify(SAFETY.conditions), SAFETY.targets],
  );
  say(`… playing ${date} and the last hour in a Chatwoot of its own`);
  const { installation } = chatwoot;
  const { events } = playDay({ date, scenarios: await loadScenarios(), seed: 20, installation });
  const scenarios = (await loadScenarios(lastHourFolder)).filter(({ steps: [first] }) => first.at < LAST_MINUTES);
  events.push(...playFrom(new Date(Date.now() - HOUR), { scenarios, installation }));
  const began = performance.now();
  await chatwoot.dispatch(events);
  await chatwoot.drain();
  const seconds = (performance.now() - began) / 1000;
  const { events: all, accepted, dropped, doubled, refused } = chatwoot.webhooks;
  say(
    `${all} webhooks: ${accepted} accepted in ${
      seconds.toFixed(1)
    } s, ${doubled} of them second copies, and ${dropped} ` +
      `dropped on purpose.`,
  );
  if (refused > 0) say(`${refused} were refused, which they should not be: look at the lines above.`);
  await recover({ stack, chatwoot, client, say });
}

// As an operator would: the setting, the token, the address; then cron does the rest, and here is not waited for.
async function recover({ chatwoot, client, say }: FirstDay): Promise<void> {
  const account = [DEMO.accountId];
  // For the Chatwoot, and for the receiver of notifications: both are on this machine.
  await client.query("select ops.set_setting($1, 'sync_private_hosts', 'true')", account);
  // The Chatwoot is this machine's own, so there is nobody to be considerate of.
  await client.query("select ops.set_setting($1, 'sync_requests_per_minute', '2000')", account);
  await client.query("select api.set_sync_token($1, $2)", [DEMO.accountId, chatwoot.token]);
  const before = await count(client);
  const began = performance.now();
  await client.query("select api.set_rest_source($1, $2)", [DEMO.accountId, chatwoot.url]);
  // A cron tick may be at work already; then this one ends at once and the next goes on.
  let status = { is_done: false, problem: null as string | null };
  for (let tries = 0; tries < 60 && !status.is_done; tries++) {
    await client.query("call sync.tick_rest()");
    status = (await client.query(
      `select backfill_finished_at is not null and not exists (
          select from sync.conversation_reads where account_id = $1 and due_at <= now()) as is_done, problem
      from sync.sources where account_id = $1 and door = 'rest'`,
      account,
    )).rows[0];
    if (!status.is_done) await new Promise((resolve) => setTimeout(resolve, 500));
  }
  const after = await count(client);
  const seconds = (performance.now() - began) / 1000;
  if (!status.is_done) {
    say(`The sync is still at work: ${status.problem ?? "see api.sync_status"}.`);
    return;
  }
  const messages = after.messages - before.messages;
  const activities = after.activities - before.activities;
  say(
    `The sync then read that Chatwoot in ${
      seconds.toFixed(1)
    } s and recovered ${messages} messages whose webhooks were ` +
      `lost, ${activities} activity messages, which have none, and ${
        after.changed - messages - activities
      } rows that ` +
      `were behind.`,
  );
  say(`Compared with that Chatwoot, every fact its API shows of ${await prove(client)}.`);
  // Cron would do it within the minute.
  await client.query("call ledger.tick()");
}

// Customers who wait now: one is about to be let down, and nothing will happen in Chatwoot to tell it by.
async function playLastMinutes(chatwoot: Chatwoot, client: Client): Promise<void> {
  const scenarios = (await loadScenarios(lastHourFolder)).filter(({ steps: [first] }) => first.at >= LAST_MINUTES);
  const { installation } = chatwoot;
  const account = [DEMO.accountId];
  // From here on a waiting customer gets a draft, and agents see it beside the conversation.
  for (const name of ["draft_replies", "draft_notes"]) {
    await client.query("select ops.set_setting($1, $2, 'true')", [...account, name]);
  }
  // Without losses, so that there is no need to wait for the sync.
  chatwoot.turnWebhooks({ drop: 0, duplicate: 0 });
  await chatwoot.dispatch(playFrom(new Date(Date.now() - HOUR), { scenarios, installation }));
  await chatwoot.drain();
  chatwoot.turnWebhooks(LOSSES);
  // What cron does each minute: count what is known, find what came due, and tell of it.
  await repeat(client, {
    until:
      `select not exists (select from sla.clocks where attention_at < now() + interval '3 seconds' and account_id = $1)
      and not exists (select from sla.breaches where not is_announced and account_id = $1) as done`,
    values: account,
    acts: ["call ledger.tick()", "call sla.tick()"],
  });
  await repeat(client, {
    until:
      `select not exists (select from actions.outbox where account_id = $1 and state in ('pending', 'sending')) as done`,
    values: account,
    acts: ["call actions.dispatch(budget => '1 second')"],
  });
  await repeat(client, {
    until: "select pending = 0 as done from api.notification_endpoints where account_id = $1 and name = $2",
    values: [...account, ENDPOINT],
    acts: ["call ops.deliver_notifications()"],
  });
}

// For five seconds at most: cron may be at the same work, and then goes on with it.
async function repeat(client: Client, { until, values, acts }: { until: string; values: string[]; acts: string[] }) {
  for (let tries = 0; tries < 25; tries++) {
    for (const act of acts) await client.query(act);
    const { rows: [{ done }] } = await client.query(until, values);
    if (done) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

// The proof, as anybody may ask for it; cron would go on with it, and here it is called instead.
async function prove(client: Client): Promise<string> {
  const asked = "select state, entity, source_rows, healed, is_equal from api.verify_sync($1, $2, $3)";
  const range = [DEMO.accountId, new Date(Date.now() - 3 * 86_400_000), new Date()];
  for (let tries = 0; tries < 20; tries++) {
    const { rows } = await client.query(asked, range);
    if (rows.every(({ state }) => state === "done")) {
      const sum = (entity: string) =>
        rows.filter((row) => row.entity === entity).reduce((total, row) => total + Number(row.source_rows), 0);
      const healed = rows.reduce((total, row) => total + Number(row.healed), 0);
      const verdict = rows.some(({ is_equal }) => !is_equal)
        ? "not all equal, see api.sync_differences"
        : healed > 0
        ? `all equal now, ${healed} put right`
        : "all equal";
      return `${sum("conversations")} conversations, ${sum("messages")} messages and ${
        sum("contacts")
      } contacts: ${verdict}`;
    }
    await client.query("call sync.tick_rest()");
  }
  return "still at work, see api.verify_sync";
}

async function count(client: Client): Promise<{ messages: number; activities: number; changed: number }> {
  const { rows: [row] } = await client.query(
    `select count(*) filter (where message_type <> 'activity')::int as messages,
      count(*) filter (where message_type = 'activity')::int as activities,
      (select coalesce(max(rows_changed), 0)::int from sync.sources where account_id = $1) as changed
    from chatwoot.messages where account_id = $1`,
    [DEMO.accountId],
  );
  return row;
}
