// Whatever ends a tick: the next one goes on where the last step was committed, and nothing is read as twice there.
import { Client } from "pg";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { ChatwootEvent } from "../../local/chatwoot/engine.ts";
import { historyOf } from "../../local/chatwoot/history.ts";
import { openMemory } from "../../local/chatwoot/memory.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { useDatabase } from "../support/database.ts";
import { add, addBasics, differences, makeTables, setSource, source, tick } from "./sync-database.support.ts";

const START = new Date("2026-11-20T07:00:00Z");
const later = (instant: Date, seconds: number) => new Date(instant.getTime() + seconds * 1000);
const KILLS = 50;

const database = useDatabase();

test(`killed at ${KILLS} random points, it resumes and converges`, async () => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`sync-database-killed: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
  const random = createRandom(seed);
  const client = await database.connect();
  const memory = await openMemory({ url: database.url, installationOptions: { seed, start: START } });
  const { events, installation } = historyOf({
    conversations: 60,
    events: 4000,
    seed,
    start: START,
    silentChanges: true,
    installation: memory.installation,
  });
  const play = (most: number): ChatwootEvent[] => {
    const drawn: ChatwootEvent[] = [];
    for (let left = most; left > 0; left--) {
      const { value, done } = events.next();
      if (done) break;
      drawn.push(value);
    }
    return drawn;
  };
  let now = later(play(3000).at(-1)!.at, 60);
  await memory.save();
  await setSource(client);

  let cut = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const victim = new Client({ connectionString: database.url });
    victim.on("error", () => {});
    await victim.connect();
    const { rows: [{ pid }] } = await victim.query("select pg_backend_pid() as pid");
    const ticking = victim.query("call sync.tick_database($1)", [now]).then(() => 0, () => 1);
    await sleep(random.integer(0, 150));
    await client.query("select pg_terminate_backend($1, 10000)", [pid]);
    cut += await ticking;
    await victim.end().catch(() => {});
    now = later(play(20).at(-1)?.at ?? now, 60);
    await memory.save();
  }
  expect(cut).toBeGreaterThan(KILLS / 5);
  play(Infinity);
  await memory.save();
  now = later(now, 86_400);
  await tick(client, now);
  await tick(client, later(now, 60));

  expect(await source(client)).toMatchObject({ problem: null, backfill: null, changed_until: later(now, 60) });
  expect(await differences(client, installation.finalState("database"))).toEqual([]);
  const { rows } = await client.query(`select backfill_done = backfill_total as is_counted_once from sync.sources`);
  expect(rows).toEqual([{ is_counted_once: true }]);
  await memory.close();
}, 120_000);

const turns = useDatabase();

test("while one tick is at a source, another leaves it alone and ends at once", async () => {
  const [client, rival] = await Promise.all([turns.connect(), turns.connect()]);
  await makeTables(client);
  await addBasics(client);
  await setSource(client);
  await rival.query("select pg_advisory_lock(hashtextextended('sync.database', 1))");

  await tick(client, START);
  expect((await source(client)).last_attempt_at).toBe(null);

  await rival.query("select pg_advisory_unlock(hashtextextended('sync.database', 1))");
  await tick(client, START);
  expect(await source(client)).toMatchObject({ last_attempt_at: START, problem: null });
});

test("a source that is paused, stopped or resting is not read", async () => {
  const client = await turns.connect();
  const now = later(START, 600);
  for (
    const [change, undo] of [
      ["state = 'paused'", "state = 'active'"],
      ["state = 'stopped'", "state = 'active'"],
      [`retry_at = '${later(now, 1).toISOString()}'`, "retry_at = null"],
    ]
  ) {
    await client.query(`update sync.sources set ${change} where true`);
    await tick(client, now);
    expect((await source(client)).last_attempt_at, change).toEqual(START);
    await client.query(`update sync.sources set ${undo} where true`);
  }

  await tick(client, now);
  expect((await source(client)).last_attempt_at).toEqual(now);
});

test("no budget still gives every source its turn, and each reads its own account", async () => {
  const client = await turns.connect();
  await client.query("create schema second");
  await makeTables(client, "second");
  await addBasics(client, { account: 2, schema: "second" });
  await add(client, "contacts", { id: 206, account_id: 2, name: "Max" }, "second");
  await setSource(client, "second", 2);

  for (let ticks = 0; ticks < 3; ticks++) await tick(client, later(START, 700 + ticks), "0 seconds");

  expect((await source(client, 2)).last_attempt_at).toEqual(later(START, 702));
  expect((await source(client)).last_attempt_at).toEqual(later(START, 702));
  await tick(client, later(START, 800));
  expect(await source(client, 2)).toMatchObject({ problem: null, changed_until: later(START, 800) });
  const { rows } = await client.query("select account_id, contact_id from chatwoot.contacts order by 1, 2");
  expect(rows.map(({ account_id, contact_id }) => `${account_id} ${contact_id}`)).toEqual(["1 205", "2 205", "2 206"]);
});

test("a lock on one Chatwoot's tables is that source's problem, and the next one has its turn", async () => {
  const client = await turns.connect();
  const migration = await turns.connect();
  await migration.query("begin; lock table public.conversations in access exclusive mode");
  await client.query("set lock_timeout = 0; set statement_timeout = '20s'");

  await tick(client, later(START, 900), "2 seconds");

  await migration.query("rollback");
  expect(await source(client)).toMatchObject({
    failures: 1,
    problem: expect.stringMatching(/^55P03/),
    hint: expect.stringContaining("lock"),
  });
  expect(await source(client, 2)).toMatchObject({ failures: 0, last_success_at: later(START, 900) });
  await tick(client, later(START, 1000));
  expect(await source(client)).toMatchObject({ failures: 0, problem: null });
}, 30_000);
