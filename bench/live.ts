// What a page that asks every few seconds costs on a long history: analytics.live_status, as a member of the account reads
// it; and a whole round of health checks, which cron runs each minute.
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { migrate } from "../local/migrate.ts";
import { freePort } from "../local/ports.ts";
import { startPostgres } from "../local/postgres/server.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import type { BenchOptions } from "./run.ts";
import { ACCOUNTS, addResolved, addRunning, makeAccounts } from "./sla-history.ts";

const MOST_READ_MILLISECONDS = 100;
const MOST_CHECK_MILLISECONDS = 1000;

const FULL = { conversations: 1_000_000, window: 100_000, running: 50_000, messages: 5000, reads: 51, checks: 11 };
const QUICK = { conversations: 10_000, window: 10_000, running: 2000, messages: 200, reads: 5, checks: 2 };

export async function live({ quick }: BenchOptions): Promise<boolean> {
  const size = quick ? QUICK : FULL;
  const progress = (step: string) => console.error(`… ${step}`);
  const home = await temporaryHome();
  const stops: (() => Promise<void>)[] = [];
  let ending: Promise<void> | null = null;
  const end = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await removeHome(home);
  };
  const stop = () => ending ??= end();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    const postgres = await startPostgres({
      home,
      port: await freePort(),
      progress,
      settings: { statement_timeout: "0", max_wal_size: "8GB", autovacuum: "off" },
    });
    stops.push(postgres.stop);
    await migrate(readSettings({}).projectRoot, { url: postgres.url, withSeed: false });
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    stops.push(() => client.end());
    if (quick) console.log("A small run: its numbers do not mean what those of a whole one do.");
    await makeAccounts(client);
    progress(`a history of ${size.conversations} conversations, ${size.running / 2} of them open`);
    await client.query("alter table chatwoot.conversations disable trigger user");
    await addResolved(client, { from: 0, until: size.conversations, window: size.window, end: new Date() });
    await addRunning(client, size.running);
    await addPresent(client, size.messages);
    await client.query("alter table chatwoot.conversations enable trigger user");
    const admin = new Client({ connectionString: postgres.adminUrl });
    await admin.connect();
    stops.push(() => admin.end());
    await admin.query("vacuum (analyze)");
    await admin.query("checkpoint");

    progress("health checks");
    // The first ones learn what is normal.
    for (let round = 0; round < 3; round++) await client.query("call ops.check_health()");
    const checks = await medianOf(size.checks, () => client.query("call ops.check_health()"));
    progress("reads");
    const member = await addMember(client);
    const reads = await medianOf(size.reads, () => client.query("select * from analytics.live_status"));
    await client.query("begin");
    await client.query("select set_config('request.jwt.claims', $1, true)", [
      JSON.stringify({ role: "authenticated", sub: member }),
    ]);
    await client.query("set local role authenticated");
    const asMember = await medianOf(size.reads, () => client.query("select * from analytics.live_status"));
    const { rows } = await client.query("select conversations, sla, uptime_30d from analytics.live_status");
    await client.query("rollback");
    console.log(JSON.stringify({ ...rows[0], sla: { ...rows[0].sla, breaches: rows[0].sla.breaches.length } }), "\n");

    const of = `${size.conversations} conversations, ${size.running / 2} open`;
    const findings = [
      { what: `live_status, one account, as a member, median, ${of}`, found: asMember, most: MOST_READ_MILLISECONDS },
      { what: "live_status, all accounts, as the owner, median", found: reads, most: MOST_READ_MILLISECONDS },
      { what: "a round of health checks without Chatwoot, median", found: checks, most: MOST_CHECK_MILLISECONDS },
    ];
    printTable(
      ["", "what", "found", "target"],
      findings.map(({ what, found, most }) => ({
        "": found <= most ? "reached" : "MISSED",
        what,
        found: `${found.toFixed(1)} ms`,
        target: `≤ ${most} ms`,
      })),
    );
    return findings.every(({ found, most }) => found <= most);
  } finally {
    await stop();
  }
}

/** What is there now beside the history: who holds what, what was written in the last hour, a month of uptime. */
export async function addPresent(client: Client, messages: number): Promise<void> {
  const account = ACCOUNTS.history;
  await client.query(
    `insert into chatwoot.agents (account_id, kind, agent_id, name, version_at)
    select $1, case when n > 35 then 'agent_bot' else 'user' end, n, 'Agent ' || n, now() from generate_series(1, 40) as n`,
    [account],
  );
  // Four of five are held by somebody, half of them wait for a reply.
  await client.query(
    `update ledger.episodes set holder = case when display_id % 5 = 0 then '' when display_id % 50 > 45
        then 'agent_bot:' || 36 + display_id % 5 else 'user:' || 1 + display_id % 35 end,
      waiting_since = case when display_id % 2 = 0 then started_at end,
      waiting_since_business = case when display_id % 2 = 0 then started_business_at end
    where account_id = $1 and status <> 'resolved'`,
    [account],
  );
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, status, waiting_since, created_at, version_at)
    select account_id, display_id, inbox_id, status, waiting_since, started_at, started_at from ledger.episodes
    where account_id = $1 and status <> 'resolved'`,
    [account],
  );
  await client.query(
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, inbox_id, message_type, sender_kind,
      sender_id, private, created_at, version_at)
    select $1, n, 1 + n % 1000, 1 + n % 6, case when n % 2 = 0 then 'incoming' else 'outgoing' end,
      case when n % 2 = 0 then 'contact' else 'user' end, 1 + n % 35, false, now() - random() * interval '65 minutes', now()
    from generate_series(1, $2) as n`,
    [account, messages],
  );
  await client.query(
    `insert into ops.health_history (account_id, name, subject, checked_at, state, value)
    select $1, 'chatwoot_api', '', minute, 'ok', 80 + 40 * random()
    from generate_series(now() - interval '7 days', now() - interval '1 minute', interval '1 minute') as minute`,
    [account],
  );
  await client.query(
    `insert into ops.health_hours (account_id, name, subject, hour, n_ok, n_warn, n_fail, n_unknown, n_values, total)
    select $1, names.name, names.subject, hour, 60, 0, 0, 0, 60, 60 * random() * 12
    from generate_series(date_trunc('hour', now() - interval '60 days'), now(), interval '1 hour') as hour
    cross join (values ('service', 'chatwoot'), ('chatwoot_api', ''), ('queue', '')) as names (name, subject)`,
    [account],
  );
  await client.query(
    `insert into ops.service_intervals (account_id, service, state, started_at, ended_at, reason)
    select $1, 'chatwoot', 'down', now() - n * interval '12 hours', now() - n * interval '12 hours' + interval '3 minutes', 'Down'
    from generate_series(1, 60) as n`,
    [account],
  );
}

export async function addMember(client: Client): Promise<string> {
  const id = randomUUID();
  await client.query("insert into auth.users (id, email) values ($1, 'member@example.com')", [id]);
  await client.query("insert into access.members (account_id, user_id, role) values ($1, $2, 'viewer')", [
    ACCOUNTS.history,
    id,
  ]);
  return id;
}

/** In milliseconds. */
async function medianOf(times: number, work: () => Promise<unknown>): Promise<number> {
  const found: number[] = [];
  for (let time = 0; time < times; time++) {
    const start = performance.now();
    await work();
    found.push(performance.now() - start);
  }
  return found.sort((one, other) => one - other)[times >> 1];
}
