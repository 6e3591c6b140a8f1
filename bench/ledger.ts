// What the ledger costs: to refresh a conversation of thirty events, to go on with one of fifty thousand messages, and to
// make all numbers of a long history again; and how long after a webhook its numbers can be read.
import { Client } from "pg";
import { freePort } from "../local/ports.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import { DEMO, startStack } from "../local/stack.ts";
import { startGenerator } from "./generator.ts";
import type { BenchOptions } from "./run.ts";

const MOST_REFRESH_MILLISECONDS = 5;
const MOST_LONG_MILLISECONDS = 50;
const LEAST_CONVERSATIONS_A_SECOND = 1000;
const LEAST_LINEARITY = 0.8;
const MOST_READABLE_MILLISECONDS = 2000;

const MESSAGES = 24;
const PER_SECOND = 50;

interface Size {
  short: number;
  histories: [number, number];
  thread: number;
  refreshes: number;
  seconds: number;
}
const FULL: Size = { short: 10_000, histories: [10_000, 100_000], thread: 50_000, refreshes: 200, seconds: 60 };
const QUICK: Size = { short: 200, histories: [200, 400], thread: 500, refreshes: 10, seconds: 2 };

export async function ledger({ quick }: BenchOptions): Promise<boolean> {
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
    const settings = { ...readSettings({}), home, apiPort: await freePort(), dbPort: await freePort() };
    const stack = await startStack(settings, { progress, log: (line) => console.error(line) });
    stops.push(stack.stop);
    const client = new Client({ connectionString: stack.postgres.url });
    await client.connect();
    stops.push(() => client.end());
    await client.query("set statement_timeout = 0");
    await client.query("select cron.unschedule('ledger-refresh')");
    if (quick) console.log("A quick run: too short for its numbers to mean anything.");

    progress(`webhooks, ${PER_SECOND} a second for ${size.seconds} s`);
    const generator = startGenerator();
    stops.push(generator.stop);
    await generator.open({
      databaseUrl: stack.postgres.url,
      apiUrl: stack.info.api_url,
      secretKey: stack.info.secret_key,
      accountId: DEMO.accountId,
      webhookSecret: stack.info.demo.webhook_secret,
      conversations: 500,
      events: 20_000,
      seed: 20,
    });
    // Both isolates and plans want to be warm.
    await generator.draw(PER_SECOND * 5);
    await generator.run({ target: "webhook", connections: 16 });
    await generator.draw(PER_SECOND * size.seconds);
    const sent = await generator.run({ target: "webhook", connections: 16, perSecond: PER_SECOND });
    const { rows: [{ waiting }] } = await client.query("select count(*)::integer as waiting from ledger.queue");
    const readable = sent.milliseconds[Math.ceil(sent.milliseconds.length * 0.95) - 1];

    const rebuilds: { conversations: number; perSecond: number }[] = [];
    let told = 0;
    for (const conversations of size.histories) {
      progress(`numbers of ${conversations} conversations, made from nothing`);
      await tell(client, told, conversations);
      told = conversations;
      await client.query("truncate ledger.events, ledger.episodes, ledger.spans");
      await client.query(
        "select ledger.mark(account_id, display_id, '-infinity', '-infinity', '-infinity') from ledger.conversations",
      );
      const seconds = await timed(() => client.query("call ledger.tick(null, interval '1 hour')"));
      const { rows: [{ left }] } = await client.query("select count(*)::integer as left from ledger.queue");
      if (left > 0) throw new Error(`${left} conversations were left on the queue.`);
      const { rows: [{ all }] } = await client.query("select count(*)::integer as all from ledger.conversations");
      rebuilds.push({ conversations: all, perSecond: all / seconds });
    }

    progress("new messages, one by one");
    const short = await newMessages(client, 2_000_000, MESSAGES, size.refreshes);
    const long = await newMessages(client, 3_000_000, size.thread, size.refreshes);

    printTable(["what", "found", "target"], [
      {
        what: `refresh after a new message, ${MESSAGES + 6} events before it, median`,
        found: `${short.toFixed(2)} ms`,
        target: `≤ ${MOST_REFRESH_MILLISECONDS} ms`,
      },
      {
        what: `the same in a thread of ${size.thread} messages`,
        found: `${long.toFixed(2)} ms`,
        target: `≤ ${MOST_LONG_MILLISECONDS} ms`,
      },
      ...rebuilds.map(({ conversations, perSecond }) => ({
        what: `all numbers of ${conversations} conversations from mirror and evidence`,
        found: `${perSecond.toFixed(0)} conversations/s`,
        target: `≥ ${LEAST_CONVERSATIONS_A_SECOND}/s`,
      })),
      {
        what: "the larger one's pace as a part of the smaller one's",
        found: (rebuilds[1].perSecond / rebuilds[0].perSecond).toFixed(2),
        target: `≥ ${LEAST_LINEARITY}`,
      },
      {
        what: `webhook sent → numbers readable at ${PER_SECOND}/s, p95 (${waiting} left to cron)`,
        found: `${readable.toFixed(0)} ms`,
        target: `≤ ${MOST_READABLE_MILLISECONDS} ms`,
      },
    ]);
    return short <= MOST_REFRESH_MILLISECONDS && long <= MOST_LONG_MILLISECONDS &&
      rebuilds.every(({ perSecond }) => perSecond >= LEAST_CONVERSATIONS_A_SECOND) &&
      rebuilds[1].perSecond >= LEAST_LINEARITY * rebuilds[0].perSecond && waiting === 0 &&
      readable <= MOST_READABLE_MILLISECONDS;
  } finally {
    await stop();
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

/** Adds conversations of thirty events each to the mirror and the evidence, up to that many, and works them off. */
async function tell(client: Client, from: number, conversations: number): Promise<void> {
  const range = [from + 1, conversations];
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, status, created_at, version_at)
    select 2, 1000000 + n, 1, 'resolved', timestamptz '2026-01-05' + n * interval '3 minutes',
      timestamptz '2026-01-05' + n * interval '3 minutes' from generate_series($1::integer, $2::integer) as n`,
    range,
  );
  await client.query(
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
      sender_kind, sender_id, content_attributes, additional_attributes, created_at, version_at)
    select 2, n * 100::bigint + m, 1000000 + n, case when m % 2 = 1 then 'incoming' else 'outgoing' end, m % 8 = 0, 'text',
      case when m % 2 = 1 then 'contact' else 'user' end, 1 + m % 5, '{}', '{}',
      timestamptz '2026-01-05' + n * interval '3 minutes' + m * interval '7 minutes', timestamptz '2026-01-05'
    from generate_series($1::integer, $2::integer) as n, generate_series(1, ${MESSAGES}) as m`,
    range,
  );
  await client.query(
    `insert into ledger.changes (account_id, display_id, changed_at, field, fingerprint, previous, value)
    select 2, 1000000 + n, timestamptz '2026-01-05' + n * interval '3 minutes' + told.minute * interval '1 minute',
      told.field, md5(told.previous || '|' || told.value)::uuid, told.previous, told.value
    from generate_series($1::integer, $2::integer) as n, (values (3, 'assignee', '', 'user:2'),
      (60, 'status', 'open', 'snoozed'), (80, 'status', 'snoozed', 'open'), (100, 'priority', '', 'high'),
      (180, 'status', 'open', 'resolved')) as told (minute, field, previous, value)`,
    range,
  );
  await client.query("select ledger.mark(account_id, display_id, states_since => '-infinity') from ledger.queue");
  await client.query("call ledger.tick(null, interval '1 hour')");
}

/** The median of what it takes to follow one more message of each of as many conversations, or of one long thread. */
async function newMessages(client: Client, first: number, messages: number, refreshes: number): Promise<number> {
  const isLong = messages > MESSAGES;
  const conversations = isLong ? 1 : refreshes;
  const at = "timestamptz '2026-02-01'";
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, status, created_at, version_at)
    select 2, ${first} + n, 1, 'open', ${at}, ${at} from generate_series(1, ${conversations}) as n`,
  );
  const message =
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private,
      content_type, sender_kind, sender_id, content_attributes, additional_attributes, created_at, version_at)
    select 2, ${first} * 10000::bigint + n * 1000000::bigint + m, ${first} + n,
      case when m % 2 = 1 then 'incoming' else 'outgoing' end, false, 'text',
      case when m % 2 = 1 then 'contact' else 'user' end, 1 + m % 5, '{}', '{}', ${at} + m * interval '1 minute', ${at}`;
  await client.query(
    `${message} from generate_series(1, ${conversations}) as n, generate_series(1, ${messages}) as m`,
  );
  await client.query("select ledger.mark(account_id, display_id, states_since => '-infinity') from ledger.queue");
  await client.query("call ledger.tick(null, interval '1 hour')");
  await client.query("analyze ledger.events, ledger.spans, ledger.episodes");
  const milliseconds: number[] = [];
  for (let number = 0; number < refreshes; number++) {
    const conversation = isLong ? 1 : number + 1;
    await client.query(
      `${message} from generate_series(${conversation}, ${conversation}) as n,
        generate_series(${messages + 1 + (isLong ? number : 0)}, ${messages + 1 + (isLong ? number : 0)}) as m`,
    );
    const seconds = await timed(() =>
      client.query({ name: "follow", text: "select ledger.follow(2, $1)", values: [first + conversation] })
    );
    milliseconds.push(seconds * 1000);
  }
  const { rows: [{ left }] } = await client.query("select count(*)::integer as left from ledger.queue");
  if (left > 0) throw new Error(`${left} conversations were left on the queue.`);
  milliseconds.sort((one, other) => one - other);
  return milliseconds[milliseconds.length >> 1];
}
