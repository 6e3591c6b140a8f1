// How many signed webhooks a second are stored and applied, next to what the disk and Postgres could do at best; how
// long one takes when the door is half as busy as it can be; and where the time goes.
import { arch, cpus, release, totalmem, type } from "node:os";
import { Client } from "pg";
import { freePort } from "../local/ports.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { printTable } from "../local/print.ts";
import { readSettings } from "../local/settings.ts";
import { DEMO, type Stack, startStack } from "../local/stack.ts";
import { type Generator, startGenerator } from "./generator.ts";
import type { Measured, Run, Target } from "./load.ts";
import { type Processors, readProcessors } from "./processors.ts";
import type { BenchOptions } from "./run.ts";

const CONNECTIONS = 16;
const LEAST_RATIO = 0.15;
const MOST_P99_MILLISECONDS = 100;
const MOST_P99_GROWTH = 1.5;

interface Size {
  conversations: number;
  pairs: number;
  /** Webhooks in a pair, and deliveries of each hop. */
  events: number;
  /** How often the ceiling inserts each body of a pair, so that both sides take seconds. */
  repeat: number;
  warmUp: number;
  alone: number;
  openLoops: number;
  openLoopSeconds: number;
  filler: number;
}

const FULL: Size = {
  conversations: 4000,
  pairs: 5,
  events: 3000,
  repeat: 5,
  warmUp: 2000,
  alone: 300,
  openLoops: 3,
  openLoopSeconds: 10,
  filler: 1_000_000,
};
const QUICK: Size = {
  conversations: 200,
  pairs: 2,
  events: 300,
  repeat: 2,
  warmUp: 100,
  alone: 30,
  openLoops: 1,
  openLoopSeconds: 2,
  filler: 0,
};

interface Bench {
  size: Size;
  generator: Generator;
  database: Client;
}

/** One run of the generator, and what each process spent on it. */
interface Sample extends Measured {
  perSecond: number;
  spent: Processors;
}

export async function ingest({ quick }: BenchOptions): Promise<boolean> {
  const size = quick ? QUICK : FULL;
  const home = await temporaryHome();
  const progress = (step: string) => console.error(`… ${step}`);
  const stops: (() => Promise<void>)[] = [];
  const end = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await removeHome(home);
  };
  // Asked twice after a Ctrl-C: by the signal, and by the measurement it cuts short.
  let ending: Promise<void> | null = null;
  const stop = () => ending ??= end();
  // Once: a second Ctrl-C ends at once, and Postgres's watchdog stops what is left.
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    const settings = { ...readSettings({}), home, apiPort: await freePort(), dbPort: await freePort() };
    const stack = await startStack(settings, { progress, log: tell });
    stops.push(stack.stop);
    const database = new Client({ connectionString: stack.postgres.adminUrl });
    await database.connect();
    stops.push(() => database.end());
    await database.query(
      "create table public.bench_ceiling (id bigint generated always as identity primary key, body bytea not null);" +
        "alter table public.bench_ceiling owner to postgres",
    );
    const generator = startGenerator();
    stops.push(generator.stop);
    await openHistory(generator, { stack, size });
    return await measureAll({ size, generator, database }, progress);
  } finally {
    await stop();
  }
}

// Each refusal is logged, and one of the hops is nothing but refusals.
function tell(line: string): void {
  if (!line.includes("OC401")) console.error(line);
}

async function openHistory(generator: Generator, { stack, size }: { stack: Stack; size: Size }): Promise<void> {
  await generator.open({
    databaseUrl: stack.postgres.url,
    apiUrl: stack.info.api_url,
    secretKey: stack.info.secret_key,
    accountId: DEMO.accountId,
    webhookSecret: stack.info.demo.webhook_secret,
    conversations: size.conversations,
    // More than can be needed: it is made as it is drawn.
    events: size.conversations * 50,
    seed: 20,
  });
}

async function measureAll(bench: Bench, progress: (step: string) => void): Promise<boolean> {
  const { size } = bench;
  await describeMachine(bench);

  progress("warming up");
  await warmUp(bench, "ceiling");
  await warmUp(bench, "webhook");

  progress(`${size.pairs} pairs, ceiling and webhooks in turn`);
  const pairs = await measurePairs(bench);
  const ratio = median(pairs.map((pair) => pair.webhook.perSecond / pair.ceiling.perSecond));
  const perSecond = median(pairs.map((pair) => pair.webhook.perSecond));
  printPairs(pairs, ratio);

  progress("each hop by itself");
  const webhook = pairs[Math.floor(pairs.length / 2)].webhook;
  printHops(await measureHops(bench));
  printSpending(webhook, median(pairs.map((pair) => pair.ceiling.perSecond)));

  progress("open loop at half of that");
  const half = perSecond / 2;
  const young = await measureOpenLoop(bench, half);
  const rows = [{ deliveries: await countDeliveries(bench), ...young }];
  if (size.filler > 0) {
    await fill(bench, progress);
    progress("warming up, open loop again");
    await warmUp(bench, "webhook");
    const deliveries = await countDeliveries(bench);
    rows.push({ deliveries, ...await measureOpenLoop(bench, half) });
  }
  const growth = rows[rows.length - 1].p99 / rows[0].p99;
  printOpenLoops(rows, half);
  return judge({ ratio, p99: rows[0].p99, growth: size.filler > 0 ? growth : null });
}

async function warmUp(bench: Bench, target: Target): Promise<void> {
  await bench.generator.draw(bench.size.warmUp);
  await sample(bench, { target, connections: CONNECTIONS });
}

async function sample(bench: Bench, run: Run): Promise<Sample> {
  const before = readProcessors();
  const measured = await bench.generator.run(run);
  const spent = readProcessors().since(before, { sender: measured.cpuSeconds });
  refuseFailures(run.target, measured.answers);
  return { ...measured, perSecond: measured.events / measured.seconds, spent };
}

const GOOD_ANSWERS: Record<Target, string[]> = {
  ceiling: ["inserted"],
  sql: ["applied", "ignored"],
  rpc: ["applied", "ignored"],
  gateway: ["status 200"],
  refused: ["status 401"],
  webhook: ["applied", "ignored"],
};

// Fast and wrong is no measurement.
function refuseFailures(target: Target, answers: Record<string, number>): void {
  const wrong = Object.entries(answers).filter(([answer]) => !GOOD_ANSWERS[target].includes(answer));
  if (wrong.length === 0) return;
  const list = wrong.map(([answer, count]) => `${count} × ${answer}`).join(", ");
  throw new Error(`Deliveries sent to "${target}" were answered otherwise than they should be: ${list}`);
}

interface Pair {
  ceiling: Sample;
  webhook: Sample;
}

async function measurePairs(bench: Bench): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let number = 0; number < bench.size.pairs; number++) {
    await bench.generator.draw(bench.size.events);
    const ceiling = await sample(bench, { target: "ceiling", connections: CONNECTIONS, repeat: bench.size.repeat });
    const webhook = await sample(bench, { target: "webhook", connections: CONNECTIONS });
    pairs.push({ ceiling, webhook });
  }
  return pairs;
}

function printPairs(pairs: Pair[], ratio: number): void {
  console.log(`\nThroughput on ${CONNECTIONS} connections, events/s (the same bytes on both sides of a pair)\n`);
  printTable(["pair", "bytes", "ceiling", "webhooks", "ratio", "others"], [
    ...pairs.map(({ ceiling, webhook }, index) => ({
      pair: index + 1,
      bytes: webhook.bytes.toFixed(0),
      ceiling: ceiling.perSecond.toFixed(0),
      webhooks: webhook.perSecond.toFixed(0),
      ratio: (webhook.perSecond / ceiling.perSecond).toFixed(3),
      others: share(Math.max(othersOf(ceiling), othersOf(webhook))),
    })),
    { pair: "median", ratio: ratio.toFixed(3), ...medians(pairs) },
  ]);
}

const medians = (pairs: Pair[]) => ({
  ceiling: median(pairs.map(({ ceiling }) => ceiling.perSecond)).toFixed(0),
  webhooks: median(pairs.map(({ webhook }) => webhook.perSecond)).toFixed(0),
});

const HOPS: { target: Target; what: string }[] = [
  { target: "ceiling", what: "one insert (the ceiling)" },
  { target: "sql", what: "SQL: select inbox.record(…)" },
  { target: "rpc", what: "Data API → SQL" },
  { target: "gateway", what: "gateway alone (/health)" },
  { target: "refused", what: "gateway → function, answers 401" },
  { target: "webhook", what: "gateway → function → Data API → SQL" },
];

interface Hop {
  what: string;
  alone: Sample;
  together: Sample;
}

async function measureHops(bench: Bench): Promise<Hop[]> {
  const hops: Hop[] = [];
  for (const { target, what } of HOPS) {
    await warmUp(bench, target);
    await bench.generator.draw(bench.size.alone);
    const alone = await sample(bench, { target, connections: 1 });
    await bench.generator.draw(bench.size.events);
    hops.push({ what, alone, together: await sample(bench, { target, connections: CONNECTIONS }) });
  }
  return hops;
}

function printHops(hops: Hop[]): void {
  console.log(`\nEach hop by itself: milliseconds of one delivery at a time, events/s on ${CONNECTIONS} connections\n`);
  printTable(
    ["way", "p50", "p99", "events/s"],
    hops.map(({ what, alone, together }) => ({
      way: what,
      p50: percentile(alone.milliseconds, 50).toFixed(2),
      p99: percentile(alone.milliseconds, 99).toFixed(2),
      "events/s": together.perSecond.toFixed(0),
    })),
  );
}

function printSpending(webhook: Sample, ceiling: number): void {
  const { spent, seconds, events } = webhook;
  if (spent.seconds === null) return console.log("\nProcessor time by process is only told by Linux.");
  const parts = Object.entries(spent.seconds).sort(([, one], [, other]) => other - one);
  const total = parts.reduce((sum, [, used]) => sum + used, 0);
  const cores = cpus().length;
  console.log(`\nProcessor time of a webhook, at full load\n`);
  printTable(["process", "milliseconds", "share"], [
    ...parts.map(([name, used]) => ({
      process: name,
      milliseconds: (used * 1000 / events).toFixed(3),
      share: share(used / total),
    })),
    { process: "all", milliseconds: (total * 1000 / events).toFixed(3), share: "" },
  ]);
  const busy = total / seconds / cores;
  const others = othersOf(webhook);
  console.log(
    `\nThese kept ${cores} processors busy to ${share(busy)}, everything else on the machine to ${share(others)}.`,
  );
  const [[largest]] = parts;
  console.log(
    busy + others > 0.85
      ? `What limits it: the processors, most of all the work of ${largest}.`
      : `What limits it: waiting (disk, locks, the next hop), since the processors have time left; most work: ${largest}.`,
  );
  console.log(
    `At this ceiling a ratio of ${LEAST_RATIO} leaves a webhook ${
      (cores * 1000 / (LEAST_RATIO * ceiling)).toFixed(3)
    } ms of processor time in all; it takes ${(total * 1000 / events).toFixed(3)}.`,
  );
}

/** How much of the processors something else kept busy meanwhile, from 0 to 1: what makes a run worth nothing. */
function othersOf({ spent, seconds }: Sample): number {
  const ours = Object.values(spent.seconds ?? {}).reduce((sum, used) => sum + used, 0);
  return spent.seconds === null ? 0 : Math.max(spent.busySeconds - ours, 0) / seconds / cpus().length;
}

const share = (part: number) => `${(part * 100).toFixed(0)} %`;

interface Latency {
  others: number;
  p50: number;
  p99: number;
  most: number;
  reached: number;
}

/** The median of several runs, as one checkpoint or neighbour would otherwise decide. */
async function measureOpenLoop(bench: Bench, perSecond: number): Promise<Latency> {
  const samples: Sample[] = [];
  for (let number = 0; number < bench.size.openLoops; number++) {
    await bench.generator.draw(Math.ceil(perSecond * bench.size.openLoopSeconds));
    samples.push(await sample(bench, { target: "webhook", connections: CONNECTIONS, perSecond }));
  }
  const middle = (read: (sample: Sample) => number) => median(samples.map(read));
  return {
    p50: middle(({ milliseconds }) => percentile(milliseconds, 50)),
    p99: middle(({ milliseconds }) => percentile(milliseconds, 99)),
    most: middle(({ milliseconds }) => percentile(milliseconds, 100)),
    reached: middle((one) => one.perSecond),
    others: middle(othersOf),
  };
}

function printOpenLoops(rows: (Latency & { deliveries: number })[], perSecond: number): void {
  console.log(
    `\nOpen loop, ${perSecond.toFixed(0)} webhooks/s at random moments: milliseconds from the moment each was due\n`,
  );
  printTable(
    ["deliveries in the inbox", "events/s", "p50", "p99", "longest", "others"],
    rows.map((row) => ({
      "deliveries in the inbox": row.deliveries,
      "events/s": row.reached.toFixed(0),
      p50: row.p50.toFixed(1),
      p99: row.p99.toFixed(1),
      longest: row.most.toFixed(1),
      others: share(row.others),
    })),
  );
}

async function countDeliveries({ database }: Bench): Promise<number> {
  const { rows } = await database.query("select count(*)::integer as deliveries from inbox.deliveries");
  return rows[0].deliveries;
}

// Rows as record() leaves them, a month of them, all still with their bytes; only the bodies are shorter.
const FILL = `insert into inbox.deliveries
  (account_id, delivery_id, received_at, signed_at, proof, headers, body, body_sha256, event, outcome)
select 1, gen_random_uuid(), moments.at, moments.at, 'signature',
  '{"user-agent": "Ruby", "content-type": "application/json"}',
  convert_to(rpad('{"event":"message_created","content":"' || numbers.number, 298, md5(numbers.number::text)) || '"}', 'UTF8'),
  sha256(numbers.number::text::bytea), 'message_created', 'applied'
from generate_series($1::integer, $2::integer) as numbers (number)
cross join lateral (select now() - interval '30 days' + numbers.number * interval '2.5 seconds' as at) as moments`;
const FILL_BATCH = 100_000;

async function fill({ size, database }: Bench, progress: (step: string) => void): Promise<void> {
  for (let first = 1; first <= size.filler; first += FILL_BATCH) {
    await database.query(FILL, [first, Math.min(first + FILL_BATCH - 1, size.filler)]);
    progress(`${Math.min(first + FILL_BATCH - 1, size.filler)} of ${size.filler} older deliveries`);
  }
  // In life these rows came over a month and were vacuumed and written back long ago.
  await database.query("vacuum (analyze) inbox.deliveries");
  await database.query("checkpoint");
}

async function describeMachine({ database, size }: Bench): Promise<void> {
  const { rows: [postgres] } = await database.query(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync,
      current_setting('synchronous_commit') as synchronous_commit, current_setting('shared_buffers') as shared_buffers`,
  );
  const [processor] = cpus();
  console.log(
    `Machine: ${cpus().length} × ${processor.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
      `${type()} ${release()} ${arch()}; Node ${process.versions.node}, Postgres ${postgres.version} ` +
      `(fsync ${postgres.fsync}, synchronous_commit ${postgres.synchronous_commit}, ` +
      `shared_buffers ${postgres.shared_buffers}).`,
  );
  console.log("Sender, gateway, function and Postgres share these processors; one sender process serves both sides.");
  console.log('"others": how busy everything else kept the processors meanwhile. Measure again where that is much.');
  if (size === QUICK) console.log("A quick run: too short for its numbers to mean anything.");
}

function judge({ ratio, p99, growth }: { ratio: number; p99: number; growth: number | null }): boolean {
  const targets = [
    { what: `ratio ${ratio.toFixed(3)}, at least ${LEAST_RATIO}`, reached: ratio >= LEAST_RATIO },
    {
      what: `p99 at half load ${p99.toFixed(1)} ms, at most ${MOST_P99_MILLISECONDS}`,
      reached: p99 <= MOST_P99_MILLISECONDS,
    },
    ...(growth === null ? [] : [{
      what: `p99 with a full inbox ${growth.toFixed(2)} ×, at most ${MOST_P99_GROWTH}`,
      reached: growth <= MOST_P99_GROWTH,
    }]),
  ];
  console.log();
  for (const { what, reached } of targets) console.log(`${reached ? "reached" : "MISSED "}  ${what}`);
  return targets.every(({ reached }) => reached);
}

function percentile(sorted: number[], percent: number): number {
  return sorted[Math.max(Math.ceil(sorted.length * percent / 100) - 1, 0)];
}

function median(values: number[]): number {
  return percentile([...values].sort((one, other) => one - other), 50);
}
