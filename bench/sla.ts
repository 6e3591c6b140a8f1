// What service levels cost on a long history: the sweep, which runs every minute; the clocks, which every webhook waits
// for; a simulation and the reads. And whether the probability of a breach is worth more than the plain countdown.
import { Client } from "pg";
import { migrate } from "../local/migrate.ts";
import { freePort } from "../local/ports.ts";
import { startPostgres } from "../local/postgres/server.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import type { BenchOptions } from "./run.ts";
import {
  ACCOUNTS,
  addResolved,
  addRunning,
  addWaits,
  makeAccounts,
  makeDue,
  makeUndue,
  TARGETS,
} from "./sla-history.ts";

const MOST_GENERATION_SECONDS = 180;
const MOST_IDLE_MILLISECONDS = 5;
const MOST_DUE_MILLISECONDS = 500;
const MOST_GROWTH = 1.3;
const MOST_CLOCK_MILLISECONDS = 2;
const MOST_SIMULATION_SECONDS = 60;
const MOST_READ_MILLISECONDS = 1000;

const MESSAGES = 24;

interface Size {
  conversations: number;
  /** Clocks that run, and how many of them are due in one sweep. */
  running: number;
  due: number;
  idleSweeps: number;
  dueSweeps: number;
  webhooks: number;
  waits: number;
}
const FULL: Size = {
  conversations: 1_000_000,
  running: 50_000,
  due: 1000,
  idleSweeps: 201,
  dueSweeps: 11,
  webhooks: 200,
  waits: 48_000,
};
const QUICK: Size = {
  conversations: 10_000,
  running: 2000,
  due: 50,
  idleSweeps: 21,
  dueSweeps: 3,
  webhooks: 10,
  waits: 12_000,
};

interface Finding {
  what: string;
  found: string;
  target: string;
  reached: boolean;
}

export async function sla({ quick, conversations }: BenchOptions): Promise<boolean> {
  const size = sizeOf(quick ? QUICK : FULL, conversations);
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
    if (quick || conversations !== null) {
      console.log("A small run: its numbers do not mean what those of a whole one do.");
    }
    await makeAccounts(client);

    const few = Math.floor(size.conversations / 10);
    const window = Math.min(50_000, few);
    // All of it is over by now: no conversation takes two days.
    const end = new Date(Date.now() - 2 * 86_400_000);
    progress(`a history of ${few} conversations, ${size.running} running clocks`);
    const admin = new Client({ connectionString: postgres.adminUrl });
    await admin.connect();
    stops.push(() => admin.end());
    let generation = await makeHistory(client, admin, async () => {
      await addResolved(client, { from: 0, until: few, window, end });
      await addRunning(client, size.running);
    });
    progress("sweeps");
    const small = { conversations: few, ...await measureSweeps(client, size), ...await measureReads(client) };
    progress(`a history of ${size.conversations} conversations`);
    generation += await makeHistory(
      client,
      admin,
      () => addResolved(client, { from: few, until: size.conversations, window, end }),
    );
    progress("sweeps");
    const { conversations: all } = size;
    const large = { conversations: all, ...await measureSweeps(client, size), ...await measureReads(client) };
    progress(`clocks of ${size.webhooks * 2} webhooks, with a policy and without`);
    const clocks = await measureClocks(client, size.webhooks);
    progress(`a simulation of ${window} conversations`);
    const simulation = await measureSimulation(client, end);
    progress("learning how long customers wait");
    const { seconds: learning, foresights } = await measureForesight(client, size.waits);

    foresights.forEach(printForesight);
    console.log(`\nsla.learn_waits: ${learning.toFixed(1)} s\n`);
    const findings = judge(size, { generation, small, large, clocks, simulation, foresights });
    printTable(
      ["", "what", "found", "target"],
      findings.map(({ reached, ...finding }) => ({ "": reached ? "reached" : "MISSED", ...finding })),
    );
    return findings.every(({ reached }) => reached);
  } finally {
    await stop();
  }
}

interface Measured {
  /** Seconds. */
  generation: number;
  small: Stage;
  large: Stage;
  clocks: Clocks;
  simulation: Simulation;
  foresights: Foresight[];
}
/** Of a history of so many conversations. */
type Stage = { conversations: number } & Sweeps & Reads;

function judge(size: Size, { generation, small, large, clocks, simulation, foresights }: Measured): Finding[] {
  const atMost = (what: string, value: number, most: number, unit: string, digits = 2): Finding => ({
    what,
    found: `${value.toFixed(digits)} ${unit}`,
    target: `≤ ${most} ${unit}`,
    reached: value <= most,
  });
  const of = ({ conversations }: Stage) => `${conversations} conversations`;
  return [
    atMost(
      `writing ${of(large)} and ${size.running} running clocks`,
      generation,
      MOST_GENERATION_SECONDS,
      "s",
      1,
    ),
    atMost(`sweep, nothing due, ${of(small)}, median`, small.idle, MOST_IDLE_MILLISECONDS, "ms"),
    atMost(`the same, ${of(large)}`, large.idle, MOST_IDLE_MILLISECONDS, "ms"),
    atMost("the latter ÷ the former", large.idle / small.idle, MOST_GROWTH, "×"),
    atMost(`sweep, ${size.due} due, ${of(small)}, median`, small.due, MOST_DUE_MILLISECONDS, "ms"),
    atMost(`the same, ${of(large)}`, large.due, MOST_DUE_MILLISECONDS, "ms"),
    atMost("the latter ÷ the former", large.due / small.due, MOST_GROWTH, "×"),
    atMost(
      `clocks of a webhook: ${clocks.with.toFixed(2)} ms with the default policy, ${clocks.without.toFixed(2)} without`,
      clocks.with - clocks.without,
      MOST_CLOCK_MILLISECONDS,
      "ms",
    ),
    atMost(
      `simulate_sla, 90 days, ${simulation.conversations} conversations`,
      simulation.seconds,
      MOST_SIMULATION_SECONDS,
      "s",
      1,
    ),
    ...[small, large].flatMap((stage) => [
      atMost(
        `sla_attainment of a week (${stage.rows} rows), ${of(stage)}`,
        stage.attainment,
        MOST_READ_MILLISECONDS,
        "ms",
        0,
      ),
      atMost(`sla_at_risk, 200 of ${size.running}, ${of(stage)}`, stage.atRisk, MOST_READ_MILLISECONDS, "ms", 0),
    ]),
    ...foresights.map(({ hours, probability, countdown }) => ({
      what: `Brier score of breach_probability, ${hours}, and of the countdown`,
      found: probability.toFixed(4),
      target: `< ${countdown.toFixed(4)}`,
      reached: probability < countdown,
    })),
  ];
}

/** Smaller histories have fewer running clocks, too. */
function sizeOf(size: Size, conversations: number | null): Size {
  if (conversations === null) return size;
  const running = Math.min(size.running, Math.ceil(conversations / 10) * 2);
  return { ...size, conversations, running, due: Math.min(size.due, Math.floor(running / 2 / size.dueSweeps)) };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function median(values: number[]): number {
  return values.sort((one, other) => one - other)[values.length >> 1];
}

/** Returns the seconds it took. */
async function makeHistory(client: Client, admin: Client, make: () => Promise<void>): Promise<number> {
  return await timed(async () => {
    // The statements write what the triggers would only queue.
    await client.query("alter table chatwoot.conversations disable trigger user");
    await make();
    await client.query("alter table chatwoot.conversations enable trigger user");
    await client.query("vacuum (analyze) sla.clocks, sla.breaches, ledger.spans, ledger.episodes, ledger.events");
    await client.query("analyze ledger.conversations, chatwoot.conversations");
    // Or it would begin while something is measured.
    await admin.query("checkpoint");
  });
}

interface Sweeps {
  idle: number;
  due: number;
}

/** Medians in milliseconds, of sweeps that commit. */
async function measureSweeps(client: Client, size: Size): Promise<Sweeps> {
  const sweep = async (expected: number) => {
    const start = performance.now();
    const { rows: [{ looked }] } = await client.query({ name: "sweep", text: "select sla.sweep()::integer as looked" });
    const milliseconds = performance.now() - start;
    if (looked !== expected) throw new Error(`A sweep looked at ${looked} clocks and not at ${expected}.`);
    return milliseconds;
  };
  const due: number[] = [];
  for (let number = 0; number < size.dueSweeps; number++) {
    await makeDue(client, number * size.due + 1, (number + 1) * size.due);
    due.push(await sweep(size.due));
  }
  const { rows: [{ told }] } = await client.query("select count(*)::integer as told from ops.notifications");
  if (told !== size.due * size.dueSweeps) {
    throw new Error(`${told} notifications of ${size.due * size.dueSweeps} breaches.`);
  }
  // After them, so that what they left in the index is in the way.
  const idle: number[] = [];
  for (let number = 0; number < size.idleSweeps; number++) idle.push(await sweep(0));
  await makeUndue(client);
  return { idle: median(idle), due: median(due) };
}

interface Reads {
  attainment: number;
  atRisk: number;
  /** Of the attainment. */
  rows: number;
}

/** Medians in milliseconds. */
async function measureReads(client: Client): Promise<Reads> {
  const attainment: number[] = [];
  const atRisk: number[] = [];
  let rows = 0;
  for (let number = 0; number < 5; number++) {
    attainment.push(
      await timed(async () => {
        rows = (await client.query(
          `select * from analytics.sla_attainment where account_id = $1 and day >= current_date - 10 and day < current_date - 3`,
          [ACCOUNTS.history],
        )).rows.length;
      }) * 1000,
    );
    atRisk.push(await timed(() => client.query("select * from api.sla_at_risk($1)", [ACCOUNTS.history])) * 1000);
  }
  if (rows === 0) throw new Error("The week has no decided clocks.");
  return { attainment: median(attainment), atRisk: median(atRisk), rows };
}

interface Clocks {
  with: number;
  without: number;
}

/** Medians in milliseconds of what it takes to follow a message in an account with the default policy and in one without. */
async function measureClocks(client: Client, webhooks: number): Promise<Clocks> {
  const at = "timestamptz '2026-11-18 09:30Z'";
  const message =
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
      sender_kind, sender_id, content_attributes, additional_attributes, created_at, version_at)
    select account, account * 100000000::bigint + n * 100 + m, n, case when m % 2 = 1 then 'incoming' else 'outgoing' end,
      false, 'text', case when m % 2 = 1 then 'contact' else 'user' end, 1 + m % 5, '{}', '{}',
      ${at} + m * interval '1 minute', ${at}`;
  const accounts = `unnest(array[${ACCOUNTS.withPolicy}, ${ACCOUNTS.withoutPolicy}]) as account`;
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, status, created_at, version_at)
    select account, n, 1, 'open', ${at}, ${at} from ${accounts}, generate_series(1, ${webhooks}) as n`,
  );
  await client.query(
    `${message} from ${accounts}, generate_series(1, ${webhooks}) as n, generate_series(1, ${MESSAGES}) as m`,
  );
  await client.query(
    `insert into ledger.changes (account_id, display_id, changed_at, field, fingerprint, previous, value)
    select account, n, ${at} + told.minute * interval '1 minute', told.field,
      md5(told.previous || '|' || told.value)::uuid, told.previous, told.value
    from ${accounts}, generate_series(1, ${webhooks}) as n, (values (3, 'assignee', '', 'user:2'),
      (8, 'status', 'open', 'snoozed'), (12, 'status', 'snoozed', 'open'), (15, 'team', '', '1'),
      (18, 'priority', '', 'high')) as told (minute, field, previous, value)`,
  );
  const asOf = `${at} + interval '1 hour'`;
  await client.query("select ledger.mark(account_id, display_id, states_since => '-infinity') from ledger.queue");
  await client.query(`call ledger.tick(${asOf}, interval '1 hour')`);
  await client.query("vacuum (analyze) ledger.events, ledger.spans, ledger.episodes, ledger.conversations, sla.clocks");
  const found = new Map<number, number[]>([[ACCOUNTS.withPolicy, []], [ACCOUNTS.withoutPolicy, []]]);
  // A customer's message and a reply to each conversation, by turns in the one account and in the other.
  for (let number = 0; number < webhooks * 2; number++) {
    const conversation = 1 + number % webhooks;
    const place = MESSAGES + 1 + Math.floor(number / webhooks);
    const order = [...found.entries()];
    for (const [account, milliseconds] of number % 2 === 0 ? order : order.reverse()) {
      await client.query(
        `${message} from (values (${account}, ${conversation}, ${place})) as told (account, n, m)`,
      );
      const seconds = await timed(() =>
        client.query({
          name: "follow",
          text: `select ledger.follow($1, $2, ${asOf})`,
          values: [account, conversation],
        })
      );
      milliseconds.push(seconds * 1000);
    }
  }
  const { rows: [{ left, clocks }] } = await client.query(
    `select (select count(*)::integer from ledger.queue) as left,
      (select count(*)::integer from sla.clocks where account_id = ${ACCOUNTS.withPolicy} and span_number is not null) as clocks`,
  );
  if (left > 0) throw new Error(`${left} conversations were left on the queue.`);
  if (clocks < webhooks * MESSAGES / 2) throw new Error(`Only ${clocks} waits were measured.`);
  return {
    with: median(found.get(ACCOUNTS.withPolicy)!),
    without: median(found.get(ACCOUNTS.withoutPolicy)!),
  };
}

interface Simulation {
  seconds: number;
  conversations: number;
}

async function measureSimulation(client: Client, end: Date): Promise<Simulation> {
  const simulate = (targets: object, days: number) =>
    client.query(
      `select * from api.simulate_sla($1, $2, $4::timestamptz - $3 * interval '1 day', $4)`,
      [ACCOUNTS.history, JSON.stringify([{ conditions: [], targets }]), days, end.toISOString()],
    );
  // The policy that was in force changes nothing: a check of what was written.
  const { rows: same } = await simulate(TARGETS, 7);
  const differing = same.reduce((sum, row) => sum + row.newly_breached.length + row.no_longer_breached.length, 0);
  if (differing > 0 || same.length !== 3) throw new Error(`${differing} conversations differ under their own policy.`);
  const stricter = {
    first_response: { seconds: 900, hours: "business", priorities: { urgent: { seconds: 300, hours: "24x7" } } },
    next_response: { seconds: 3600, hours: "business", priorities: { urgent: { seconds: 900, hours: "24x7" } } },
    resolution: { seconds: 28_800, hours: "business" },
  };
  const seconds = await timed(() => simulate(stricter, 90));
  const { rows: [{ conversations }] } = await client.query(
    `select count(distinct display_id)::integer as conversations from ledger.episodes where account_id = $1
      and started_at >= $2::timestamptz - interval '90 days' and started_at < $2`,
    [ACCOUNTS.history, end.toISOString()],
  );
  return { seconds, conversations };
}

interface Foresight {
  hours: string;
  n: number;
  unknown: number;
  probability: number;
  countdown: number;
  constant: number;
  deviation: number;
  bins: Record<string, string | number>[];
}

const DAYS_LEARNT = 90;

/** Learns from 90 days and foretells the next 30, for a target of one hour: of business hours, and of all hours. */
async function measureForesight(client: Client, waits: number): Promise<{ seconds: number; foresights: Foresight[] }> {
  const start = "2026-03-02Z";
  const learntAt = `timestamptz '${start}' + interval '${DAYS_LEARNT} days'`;
  await addWaits(client, waits, start);
  const seconds = await timed(() => client.query(`select sla.learn_waits(${learntAt})`));
  const foresights: Foresight[] = [];
  for (const hours of ["business", "24x7"]) {
    await client.query("select setseed(0.75)");
    // An age says nothing about the length of its wait: it is drawn first, and a wait that is over by then is not shown.
    const { rows } = await client.query<{ probability: number | null; consumed: number; breached: number }>(
      `with shown as materialized (
        select waits.*, due.at as due_at, waits.started_at + random() * (due.at - waits.started_at) as looked_at
        from (
          select spans.started_at, spans.ended_at, episodes.inbox_id,
            case $2 when 'business' then ledger.calendar_for(spans.account_id, null, null) end as calendar_id
          from ledger.spans join ledger.episodes using (account_id, display_id, episode)
          where spans.account_id = $1 and spans.kind = 'wait' and spans.started_at >= ${learntAt}
        ) as waits
        cross join lateral (select ledger.business_due($1, waits.calendar_id, waits.started_at, 3600) as at) as due
      )
      select sla.breach_probability(past, spent.seconds, 3600) as probability, spent.seconds / 3600 as consumed,
        (shown.ended_at > shown.due_at)::integer as breached
      from shown
      cross join lateral (
        select ledger.business_seconds($1, shown.calendar_id, shown.started_at, shown.looked_at) as seconds
      ) as spent
      left join sla.past_waits as past on past.account_id = $1 and past.inbox_id = shown.inbox_id and past.hours = $2
        and past.hour_class = sla.hour_class(shown.started_at, 'UTC')
      where shown.looked_at < shown.ended_at`,
      [ACCOUNTS.waits, hours],
    );
    foresights.push({ hours, ...judgeForesight(rows) });
  }
  return { seconds, foresights };
}

function judgeForesight(
  rows: { probability: number | null; consumed: number; breached: number }[],
): Omit<Foresight, "hours"> {
  const foretold = rows.flatMap(({ probability, ...row }) => probability === null ? [] : [{ ...row, probability }]);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const brier = (read: (row: typeof foretold[number]) => number) =>
    mean(foretold.map((row) => (read(row) - row.breached) ** 2));
  const share = mean(foretold.map(({ breached }) => breached));
  const bins = Array.from({ length: 10 }, (_, bin) => {
    const clocks = foretold.filter(({ probability }) => Math.min(Math.floor(probability * 10), 9) === bin);
    return {
      clocks: clocks.length,
      foretold: mean(clocks.map(({ probability }) => probability)),
      breached: mean(clocks.map(({ breached }) => breached)),
    };
  });
  return {
    n: foretold.length,
    unknown: rows.length - foretold.length,
    probability: brier(({ probability }) => probability),
    countdown: brier(({ consumed }) => Math.min(consumed, 1)),
    constant: brier(() => share),
    deviation: bins.reduce(
      (sum, { clocks, foretold, breached }) => clocks === 0 ? sum : sum + clocks * Math.abs(foretold - breached),
      0,
    ) / foretold.length,
    bins: bins.map(({ clocks, foretold, breached }, bin) => ({
      foretold: `${(bin / 10).toFixed(1)} to ${((bin + 1) / 10).toFixed(1)}`,
      clocks,
      "mean foretold": clocks === 0 ? "" : foretold.toFixed(3),
      breached: clocks === 0 ? "" : breached.toFixed(3),
    })),
  };
}

function printForesight({ hours, bins, n, unknown, probability, countdown, constant, deviation }: Foresight): void {
  console.log(`\nHow often a target of one hour (${hours}) was breached, by the probability foretold\n`);
  printTable(["foretold", "clocks", "mean foretold", "breached"], bins);
  console.log(
    `\nOver ${n} clocks at random ages: Brier score ${probability.toFixed(4)}, of the plain countdown ` +
      `${countdown.toFixed(4)}, of always the same share ${constant.toFixed(4)}; foretold and breached differ by ` +
      `${deviation.toFixed(3)} in the mean. Too few past waits for a probability: ${unknown} more.`,
  );
}
