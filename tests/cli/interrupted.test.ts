// Ctrl-C in the middle of everything, and the commands over the data: what was done is whole, and the next run goes on.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { readSettings } from "../../local/settings.ts";
import { useDatabase } from "../support/database.ts";
import { occ, printed, type Running } from "./occ.support.ts";

const database = useDatabase();
const TOKEN = "CANARYtokenCANARYtoken00";
const DEAD = 1200;

let client: Client;
let folder: string;
let server: Server;
let silent: string;
let isAsked = false;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-interrupted-"));
  client = await database.connect();
  // Takes every request and answers none.
  server = createServer((request) => {
    request.resume();
    isAsked = true;
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  silent = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  await client.query("delete from inbox.deliveries where true");
  await client.query("delete from sync.verifications where true");
  await client.query("delete from sync.sources where true");
  isAsked = false;
});

async function withDeadDeliveries(): Promise<void> {
  await client.query(
    `insert into inbox.deliveries (account_id, delivery_id, received_at, proof, headers, body, body_sha256, event, outcome, reason)
    select 1, 'dead-' || number, now() - make_interval(secs => number / 3), 'signature', '{}', body, sha256(body),
      'conversation_typing_on', 'dead', 'It was not understood then.'
    from generate_series(1, $1::integer) as numbers (number),
      lateral convert_to('{"event":"conversation_typing_on","account":{"id":1}}', 'UTF8') as body`,
    [DEAD],
  );
}

/** Runs it, and presses Ctrl-C when that is printed. */
async function interruptAt(pattern: RegExp, args: string[], running: Running = {}) {
  const keyboard = new AbortController();
  return await occ(args, {
    env: { OCC_DB_URL: database.url },
    ...running,
    signal: keyboard.signal,
    onOutput: (text) => void (pattern.test(text) && keyboard.abort()),
  });
}

const counts = async () =>
  (await client.query("select outcome, count(*)::int from inbox.deliveries group by outcome order by outcome")).rows;

// Three came at each instant, so that no window of 500 can end where it is full.
test("replay: what was read again stays, and the next run reads the rest", async () => {
  await withDeadDeliveries();

  const stopped = await interruptAt(/499 of 1200/, ["replay", "--account", "1"]);

  expect([stopped.exit, stopped.error]).toEqual([
    130,
    expect.stringMatching(/499 of 1200 were read again, and all of those are kept/),
  ]);
  expect(await counts()).toEqual([{ outcome: "dead", count: 701 }, { outcome: "ignored", count: 499 }]);

  const rest = await occ(["replay", "--account", "1"], { env: { OCC_DB_URL: database.url } });

  expect([rest.exit, rest.out]).toEqual([0, expect.stringMatching(/ignored +701/)]);
  expect(await counts()).toEqual([{ outcome: "ignored", count: 1200 }]);
});

test("replay: counts only, where that is asked", async () => {
  await withDeadDeliveries();

  const ran = await occ(["replay", "--account", "1", "--dry-run", "--since", "5m", "--json"], {
    env: { OCC_DB_URL: database.url },
  });

  expect(ran.json()).toMatchObject({ ok: true, found: expect.any(Number), account_id: "1" });
  expect(Number(ran.json().found)).toBeGreaterThan(800);
  expect(await counts()).toEqual([{ outcome: "dead", count: DEAD }]);
});

test("replay: what is dead still is a finding", async () => {
  await withDeadDeliveries();
  await client.query("update inbox.deliveries set body = '{', body_sha256 = sha256('{') where delivery_id = 'dead-7'");

  const ran = await occ(["replay", "--account", "1"], { env: { OCC_DB_URL: database.url } });

  expect([ran.exit, ran.out]).toEqual([1, expect.stringMatching(/✘ Dead still: 1\.\n→ Why: select reason/)]);
});

async function withSource(): Promise<void> {
  await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
  await client.query("select api.set_rest_source(1, $1)", [silent]);
  await client.query("select api.set_sync_token(1, $1)", [TOKEN]);
}

test.each([
  { command: "sync backfill", args: ["sync", "backfill"], says: /cron goes on where it was/ },
  { command: "verify-sync", args: ["verify-sync", "--since", "2d"], says: /comparison goes on by cron/ },
])("$command: says that cron goes on", async ({ args, says }) => {
  await withSource();

  const ran = await interruptAt(/ 0 %|not known|\d+ of /, [...args, "--account", "1"]);

  expect([ran.exit, ran.error], ran.all).toEqual([130, expect.stringMatching(says)]);
});

test.each([
  { command: "sync backfill", args: ["sync", "backfill", "--wait", "0"], says: /✘ rest: not done yet/ },
  {
    command: "verify-sync",
    args: ["verify-sync", "--since", "2d", "--wait", "0"],
    says: /✘ The comparison is still at work/,
  },
])("$command: what is not done is a finding, with what to do", async ({ args, says }) => {
  await withSource();

  const ran = await occ([...args, "--account", "1"], { env: { OCC_DB_URL: database.url } });

  expect([ran.exit, ran.out], ran.all).toEqual([1, expect.stringMatching(says)]);
  expect(ran.out).toContain("→ ");
});

test.each([
  { args: ["replay", "--outcome", "lost"], says: /no outcome "lost"/ },
  { args: ["replay", "--since", "yesterday"], says: /no instant/ },
  { args: ["replay", "--since", "1h", "--until", "2h"], says: /not after/ },
  { args: ["verify-sync", "--since", "2026-11-20", "--until", "2026-11-19"], says: /not after/ },
  { args: ["verify-sync", "--wait", "long"], says: /--wait is "long"/ },
  { args: ["sync", "backfill", "--account", "0"], says: /"0" is no Chatwoot account/ },
])("$args is wrong usage", async ({ args, says }) => {
  const ran = await occ(args, { env: { OCC_DB_URL: database.url } });

  expect([ran.exit, ran.error], ran.all).toEqual([2, expect.stringMatching(says)]);
});

test.each([["verify-sync"], ["sync", "backfill"]])("%s %s of another account's number says so", async (...args) => {
  const ran = await occ([...args, "--account", "77"], { env: { OCC_DB_URL: database.url } });

  expect([ran.exit, ran.error], ran.all).toEqual([
    1,
    expect.stringMatching(/Account 77 is not known here[\s\S]*→ Check the number, or connect it/),
  ]);
});

test("smoke leaves no evidence and no job", async () => {
  await withSource();

  const ran = await interruptAt(/SQL answers/, ["smoke", "--account", "1", "--evidence", "evidence"], {
    env: { OCC_DB_URL: database.url, OCC_API_URL: silent, OCC_SECRET_KEY: "sb_secret_CANARYkey" },
    calledFrom: folder,
  });

  expect([ran.exit, ran.error]).toEqual([130, expect.stringMatching(/Stopped by Ctrl-C/)]);
  expect(await readdir(folder)).toEqual([]);
  expect((await client.query("select from cron.job where jobname = 'occ-smoke'")).rowCount).toBe(0);
});

test("connect writes nothing before all is checked", async () => {
  const keyboard = new AbortController();
  setTimeout(() => keyboard.abort(), 300);

  const ran = await occ(["connect", "--chatwoot-url", silent, "--account", "1"], {
    env: { OCC_DB_URL: database.url, OCC_API_URL: silent, OCC_CHATWOOT_TOKEN: TOKEN },
    signal: keyboard.signal,
  });

  expect([ran.exit, ran.error]).toEqual([
    130,
    expect.stringMatching(/Stopped by Ctrl-C; nothing is left half-written/),
  ]);
  expect((await client.query("select from sync.sources")).rowCount).toBe(0);
});

test("a process ends at Ctrl-C with 130 and a sentence, and its token stands nowhere", async () => {
  const { projectRoot } = readSettings({});
  const child = spawn(process.execPath, ["--import", "tsx", "cli/occ.ts", "connect", "--chatwoot-url", silent], {
    cwd: projectRoot,
    env: {
      ...process.env,
      OCC_DB_URL: database.url,
      OCC_API_URL: silent,
      OCC_CHATWOOT_ACCOUNT: "1",
      OCC_CHATWOOT_TOKEN: TOKEN,
    },
  });
  let told = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => told += part);
  const ended = new Promise<number | null>((done) => child.on("exit", done));
  while (!isAsked) await new Promise((done) => setTimeout(done, 20));

  child.kill("SIGINT");

  expect([await ended, told]).toEqual([
    130,
    expect.stringMatching(/^Stopped by Ctrl-C[^\n]*\n→ Run the same command again/),
  ]);
  printed.push(told);
});

test("no secret was printed", () => expect(printed.join("\n")).not.toContain("CANARY"));
