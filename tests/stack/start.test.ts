// npm start, info and reset as a person at a terminal meets them: what they print, what they refuse, what they leave.
import { Buffer } from "node:buffer";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { signatureHeaders } from "../../local/chatwoot/sign.ts";
import { freePort } from "../../local/ports.ts";
import { removeHome, temporaryHome } from "../../local/scratch.ts";
import { readSettings, UserError } from "../../local/settings.ts";
import { type StackInfo, startStack } from "../../local/stack.ts";

const { projectRoot } = readSettings({});
const STARTED = 90_000;

type Place = Record<"OCC_HOME" | "OCC_API_PORT" | "OCC_DB_PORT" | "OCC_CHATWOOT_PORT", string>;

const homes: string[] = [];
const children: ChildProcess[] = [];

async function newPlace(): Promise<Place> {
  const home = await temporaryHome();
  homes.push(home);
  const [api, db, chatwoot] = [await freePort(), await freePort(), await freePort()].map(String);
  return { OCC_HOME: home, OCC_API_PORT: api, OCC_DB_PORT: db, OCC_CHATWOOT_PORT: chatwoot };
}

afterAll(async () => {
  for (const child of children) if (isRunning(child)) signalGroup(child, "SIGKILL");
  // Postgres ends by itself once nobody is left who started it.
  for (const home of homes) await until(() => processesOf(home).length === 0);
  for (const home of homes) await removeHome(home);
});

const isRunning = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

/** As a terminal does with Ctrl-C: everyone in the foreground hears it. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  process.kill(-Number(child.pid), signal);
}

interface Run {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Until this was printed; fails when the process ends before. */
  printed(text: string): Promise<void>;
  exited: Promise<number | null>;
}

function run(command: string[], env: Record<string, string>): Run {
  const [file, ...args] = command;
  const child = spawn(file, args, {
    cwd: projectRoot,
    env: { ...process.env, ...env },
    // A group of its own, as a shell gives to what runs in the foreground.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  const told = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => told[name] += text);
  }
  const exited = once(child, "close").then(([code]) => code as number | null);
  return {
    child,
    exited,
    stdout: () => told.stdout,
    // What npm says of itself depends on its version and the machine's settings.
    stderr: () => told.stderr.split("\n").filter((line) => !/^npm (warn|error|notice)/i.test(line)).join("\n").trim(),
    async printed(text) {
      await until(() => told.stdout.includes(text) || !isRunning(child), STARTED);
      expect(told.stdout, told.stderr).toContain(text);
    },
  };
}

const npmStart = (env: Record<string, string>) => run(["npm", "start"], env);
const command = (name: string, env: Record<string, string>, ...args: string[]) =>
  run([process.execPath, "local/bootstrap.mjs", name, ...args], env);

async function until(isSo: () => boolean, milliseconds = 15_000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!isSo() && performance.now() < end) await sleep(100);
}

/** All that run; not those that ended and wait for whoever adopted them to ask how. */
const processes = () =>
  execFileSync("ps", ["-A", "-o", "pid=,ppid=,stat=,args="], { encoding: "utf8", maxBuffer: 16 * 1024 * 1024 })
    .split("\n").flatMap((line) => {
      const [, pid, parent, state, args] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s*(.*)$/.exec(line) ?? [];
      return pid === undefined || state.startsWith("Z") ? [] : [{ pid: Number(pid), parent: Number(parent), args }];
    });

function hasPsql(): boolean {
  try {
    execFileSync("psql", ["--version"]);
    return true;
  } catch {
    return false;
  }
}

/** Whatever mentions the home in its command line: Postgres and Deno do. */
const processesOf = (home: string) => processes().filter(({ args }) => args.includes(home));

/** A process and all that it started, and those started. */
function family(pid: number): number[] {
  const all = processes();
  const found = [pid];
  for (const member of found) found.push(...all.filter(({ parent }) => parent === member).map((child) => child.pid));
  return found;
}

/** Asserts that all these processes end soon, and that nothing of the home runs any more. */
async function expectGone(pids: number[], home: string): Promise<void> {
  const left = () => processes().filter(({ pid, args }) => pids.includes(pid) || args.includes(home));
  await until(() => left().length === 0);
  expect(left()).toEqual([]);
}

/** Asserts that it ended with one sentence for people, and no trace of the code. */
async function expectRefused(refused: Run, sentence: RegExp): Promise<void> {
  expect(await refused.exited, refused.stderr()).toBe(1);
  expect(refused.stderr()).toMatch(sentence);
  expect(refused.stderr().split("\n")).toHaveLength(1);
  expect(refused.stdout() + refused.stderr()).not.toMatch(/\n\s+at /);
}

async function deliveries(dbUrl: string): Promise<number> {
  const client = new Client({ connectionString: dbUrl });
  await client.connect();
  try {
    return (await client.query("select count(*)::integer as count from inbox.deliveries")).rows[0].count;
  } finally {
    await client.end();
  }
}

describe("the life of one stack", () => {
  let place: Place;
  let started: Run;
  let info: StackInfo;
  let stored: number;
  beforeAll(async () => {
    place = await newPlace();
  });

  test("npm start plays a day, prints what an analyst sees, and keeps serving", async () => {
    started = npmStart(place);
    await started.printed("Ready. API");

    const [, all, accepted, doubled, dropped] =
      /(\d+) webhooks: (\d+) accepted .* s, (\d+) of them second copies, and (\d+) dropped on purpose/
        .exec(started.stdout())?.map(Number) ?? [];
    expect(all).toBeGreaterThan(500);
    expect(dropped).toBeGreaterThan(30);
    expect(accepted).toBe(all + doubled - dropped);
    expect(started.stdout()).toMatch(/recovered [1-9]\d* messages whose webhooks were lost/);
    expect(started.stdout()).toMatch(
      /every fact its API shows of 31 conversations, \d{3} messages and 31 contacts: all equal/,
    );
    for (
      const title of [
        "What came in, by channel and inbox",
        "The day in numbers",
        "Who waits longest",
        "How the webhooks arrived",
        "How complete the mirror is",
        "Service levels, this second",
        "Late, due next and paused",
        "Breaches, which no event brings",
      ]
    ) {
      expect(started.stdout()).toContain(title);
    }
    expect(started.stdout()).toMatch(/Channel::Email +Support mail +\d+/);
    expect(started.stdout()).toContain(`psql "postgresql://postgres:postgres@127.0.0.1:${place.OCC_DB_PORT}/postgres"`);
    expect(started.stdout()).toContain(`curl "http://127.0.0.1:${place.OCC_API_PORT}/rest/v1/channel_breakdown`);
    expect(started.stderr()).toBe("");
    expect(isRunning(started.child)).toBe(true);
  }, STARTED + 10_000);

  test("it shows a breach that no event brought, a pause, and what is due next, to the second", () => {
    const instant = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`;
    const stdout = started.stdout();
    // Urgent gives five minutes. Nothing happened when they were over, and a second later it was known.
    expect(stdout).toMatch(new RegExp(`32 +first_response +breached +urgent +Default +300 +1\\.\\d\\d +${instant}`));
    expect(stdout).toMatch(new RegExp(`32 +first_response +Default +(${instant}) +\\1 +${instant}`));
    expect(stdout).toMatch(new RegExp(`33 +first_response +at_risk +urgent +Default +300 +0\\.\\d\\d +${instant}`));
    expect(stdout).toMatch(new RegExp(`31 +resolution +paused +Safety +28800 +0\\.04 +${instant}`));
  });

  test("and a receiver on this machine got the breach, signed", () => {
    expect(started.stdout()).toMatch(
      /A receiver at http:\/\/127\.0\.0\.1:\d+ got [1-9]\d* notifications?, each signed/,
    );
    expect(started.stdout()).toContain("Conversation 32 is past its first response");
  });

  test(
    "a draft waits with a line to approve it by; pasted, it sends the reply, which is told and counted",
    async () => {
      expect(started.stdout()).toMatch(
        /Drafts that wait for a person\n.*\n.*\n(.*\n)*? +\d+ +33 +Callum Reid .*Charged twice/,
      );
      const line = /or with supabase-js:\n +(npm run --silent info .*)/.exec(started.stdout())?.[1] ?? "";
      const draft = /draft_id: (\d+)/.exec(line)?.[1];
      const pasted = run(["bash", "-c", line], place);
      expect(await pasted.exited, pasted.stderr()).toBe(0);
      expect(pasted.stdout()).toContain("error: null");

      const client = new Client({
        connectionString: `postgresql://postgres:postgres@127.0.0.1:${place.OCC_DB_PORT}/postgres`,
      });
      await client.connect();
      try {
        // Cron would, from its next minute on.
        await client.query("call actions.dispatch(budget => '5 seconds')");
        await started.printed(`Draft ${draft} went to conversation 33`);
        await started.printed("In analytics.draft_performance by category: billing, drafts ");
        expect(started.stdout()).toMatch(
          /by category: billing, drafts \d, shown 1, accepted 1, acceptance 100 % \(21 to 100 %\)\./,
        );
        const { rows } = await client.query(
          "select accepted::int, shown > 0 as is_shown from analytics.draft_performance where account_id = 1 and by = 'account'",
        );
        expect(rows).toEqual([{ accepted: 1, is_shown: true }]);

        if (!hasPsql()) return console.log("There is no psql on this machine's PATH: its line is not pasted.");
        const psql = /it is sent:\n +(psql .*)/.exec(started.stdout())?.[1] ?? "";
        const again = run(["bash", "-c", psql], {});
        expect(await again.exited).toBe(1);
        expect(again.stderr()).toContain(`Draft ${draft} was approved at`);
        const { rows: [other] } = await client.query("select draft_id, display_id from api.approval_queue limit 1");
        const approved = run(["bash", "-c", psql.replace(`, ${draft})`, `, ${other.draft_id})`)], {});
        expect(await approved.exited, approved.stderr()).toBe(0);
        await client.query("call actions.dispatch(budget => '5 seconds')");
        await started.printed(`Draft ${other.draft_id} went to conversation ${other.display_id}`);
      } finally {
        await client.end();
      }
    },
    60_000,
  );

  test("npm run info -- --json tells what a program needs", async () => {
    const asked = run(["npm", "run", "info", "--", "--json"], place);

    expect(await asked.exited, asked.stderr()).toBe(0);
    // npm prints two lines of its own first.
    info = JSON.parse(asked.stdout().slice(asked.stdout().indexOf("\n{")));
    expect(info).toEqual({
      api_url: `http://127.0.0.1:${place.OCC_API_PORT}`,
      functions_url: `http://127.0.0.1:${place.OCC_API_PORT}/functions/v1`,
      db_url: `postgresql://postgres:postgres@127.0.0.1:${place.OCC_DB_PORT}/postgres`,
      publishable_key: expect.stringMatching(/^sb_publishable_/),
      secret_key: expect.stringMatching(/^sb_secret_/),
      demo: {
        account_id: "1",
        webhook_secret: expect.stringMatching(/^\w{24}$/),
        gold_replies_token: expect.stringMatching(/^[\w-]{32}$/),
        access_token: expect.stringMatching(/^ey/),
        chatwoot_url: `http://127.0.0.1:${place.OCC_CHATWOOT_PORT}`,
        chatwoot_token: expect.stringMatching(/^\w{24}$/),
      },
    });
  });

  test("and the same for people", async () => {
    const asked = command("info", place);

    expect(await asked.exited).toBe(0);
    for (const value of [info.api_url, info.publishable_key, info.secret_key, info.demo.webhook_secret]) {
      expect(asked.stdout()).toContain(value);
    }
  });

  test("no secret is printed by npm start", () => {
    const told = started.stdout() + started.stderr();
    for (
      const secret of [
        info.secret_key,
        info.demo.webhook_secret,
        info.demo.gold_replies_token,
        info.demo.access_token,
        info.demo.chatwoot_token,
      ]
    ) {
      expect(told).not.toContain(secret);
    }
  });

  test("with those keys the printed question can be asked again over REST", async () => {
    const [, question] = /curl "([^"]+)"/.exec(started.stdout()) ?? [];
    const headers = {
      "accept-profile": "analytics",
      apikey: info.publishable_key,
      authorization: `Bearer ${info.demo.access_token}`,
    };

    const rows = await (await fetch(question, { headers })).json() as { channel: string; conversations: number }[];

    expect(rows.length).toBeGreaterThanOrEqual(4);
    expect(rows.map(({ channel }) => channel)).toContain("Channel::Email");
  });

  test("and a webhook signed with the demo's secret is taken", async () => {
    const body = Buffer.from('{"event":"contact_created","id":1,"name":"Dana","account":{"id":1}}');
    const headers = signatureHeaders(body, {
      secret: info.demo.webhook_secret,
      timestamp: Math.floor(Date.now() / 1000),
      deliveryId: "11111111-1111-4111-8111-111111111111",
    });

    const response = await fetch(`${info.functions_url}/chatwoot-webhook`, { method: "POST", body, headers });

    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ delivery_id: "11111111-1111-4111-8111-111111111111", outcome: "applied" });
    stored = await deliveries(info.db_url);
  });

  test("a second npm start in the same place is refused", async () => {
    await expectRefused(command("start", place), /^Port \d+ is taken.*OCC_API_PORT/);
    const elsewhere = await newPlace();
    await expectRefused(
      command("start", { ...elsewhere, OCC_HOME: place.OCC_HOME }),
      /^This stack is running already.*OCC_HOME/,
    );
    expect(isRunning(started.child)).toBe(true);
  });

  test("ports taken by others are refused, each by the name of its variable", async () => {
    const elsewhere = await newPlace();
    const stranger = createServer().listen(0, "127.0.0.1");
    await once(stranger, "listening");
    const address = stranger.address();
    const taken = String(typeof address === "object" ? address?.port : address);
    try {
      await expectRefused(
        command("start", { ...elsewhere, OCC_API_PORT: taken }),
        new RegExp(`^Port ${taken} is taken.*OCC_API_PORT`),
      );
      await expectRefused(
        command("start", { ...elsewhere, OCC_DB_PORT: taken }),
        new RegExp(`Port ${taken} is taken.*OCC_DB_PORT`),
      );
    } finally {
      stranger.close();
    }
    expect(processesOf(elsewhere.OCC_HOME)).toEqual([]);
  });

  test("npm run reset under a running stack is refused", async () => {
    await expectRefused(command("reset", place), /still running.*Ctrl-C/);
    expect(await deliveries(info.db_url)).toBe(stored);
  });

  test("Ctrl-C ends everything within fifteen seconds", async () => {
    const members = family(Number(started.child.pid));
    expect(members.length).toBeGreaterThan(4);
    const began = performance.now();

    signalGroup(started.child, "SIGINT");
    await started.exited;
    await expectGone(members, place.OCC_HOME);

    expect(performance.now() - began).toBeLessThan(15_000);
    expect(started.stdout()).toContain("Stopping …");
    expect(started.stderr()).toBe("");
  }, 30_000);

  test("npm run info of a stopped stack says how to start it", async () => {
    await expectRefused(command("info", place, "--json"), /^No stack answers on port \d+: start it with npm start/);
  });

  test("the next start has the data of the one before", async () => {
    started = npmStart(place);
    await started.printed("Ready. API");

    expect(started.stdout()).toContain("The demo day is here from an earlier start.");
    expect(started.stdout()).not.toContain("… playing");
    expect(await deliveries(info.db_url)).toBe(stored);
  }, STARTED + 10_000);

  test("killed without warning, it leaves no process behind, and the next start works", async () => {
    const members = family(Number(started.child.pid));
    const main = processes().filter(({ pid, args }) => members.includes(pid) && args.includes("local/start.ts"));
    expect(main.length).toBeGreaterThan(0);

    for (const { pid } of main) process.kill(pid, "SIGKILL");
    await started.exited;
    await expectGone(members, place.OCC_HOME);

    started = npmStart(place);
    await started.printed("Ready. API");
    expect(await deliveries(info.db_url)).toBe(stored);
  }, STARTED + 30_000);

  test("terminated, it ends as with Ctrl-C", async () => {
    const members = family(Number(started.child.pid));

    process.kill(Number(started.child.pid), "SIGTERM");
    await expectGone(members, place.OCC_HOME);
  }, 30_000);

  test("data made by other migrations is refused, with the way out", async () => {
    const record = join(place.OCC_HOME, "migrations.json");
    const made = JSON.parse(await readFile(record, "utf8"));
    const [first] = Object.keys(made);
    await writeFile(record, JSON.stringify({ ...made, [first]: "0".repeat(64) }));

    const refused = command("start", place);

    await expectRefused(refused, new RegExp(`${first.replaceAll(".", "\\.")} has changed.*npm run reset`));
    await expectGone(family(Number(refused.child.pid)), place.OCC_HOME);
  }, 30_000);

  test("npm run reset clears it, and leaves what is not its own", async () => {
    await writeFile(join(place.OCC_HOME, "notes.txt"), "mine");

    const reset = command("reset", place);

    expect(await reset.exited, reset.stderr()).toBe(0);
    expect(reset.stdout()).toContain(`Cleared ${place.OCC_HOME}`);
    expect(execFileSync("ls", ["-A", place.OCC_HOME], { encoding: "utf8" }).trim()).toBe("notes.txt");
  });
});

test("Ctrl-C in the middle of a first start leaves no process, and the next start is refused nothing", async () => {
  const place = await newPlace();
  const started = npmStart(place);
  await started.printed("… creating the database");
  const members = family(Number(started.child.pid));

  signalGroup(started.child, "SIGINT");
  await started.exited;

  await expectGone(members, place.OCC_HOME);
}, 60_000);

test.each<{ name: string; env: Record<string, string>; sentence: RegExp }>([
  {
    name: "a port that is no number",
    env: { OCC_API_PORT: "many" },
    sentence: /^OCC_API_PORT is "many", which is no port/,
  },
  { name: "a port out of range", env: { OCC_DB_PORT: "65536" }, sentence: /^OCC_DB_PORT is "65536", which is no port/ },
  { name: "the port 0", env: { OCC_API_PORT: "0" }, sentence: /^OCC_API_PORT is "0"/ },
])("$name is refused", async ({ env, sentence }) => {
  await expectRefused(command("start", env), sentence);
});

test("an option that info does not know is refused", async () => {
  await expectRefused(command("info", {}, "--jsn"), /^"--jsn" is not known here/);
});

describe("supabase/functions/.env", () => {
  // A project of its own, so that the checkout's file stays as it is: it is read before anything is started.
  test.each([
    {
      name: "without the secrets",
      text: "OTHER=1\n",
      sentence: /does not set CHATWOOT_WEBHOOK_SECRETS: copy the line from \.env\.example/,
    },
    {
      name: "not JSON",
      text: "CHATWOOT_WEBHOOK_SECRETS=topsecretword\n",
      sentence: /CHATWOOT_WEBHOOK_SECRETS in .* is malformed/,
    },
    {
      name: "of another shape",
      text: `CHATWOOT_WEBHOOK_SECRETS='{"1": "topsecretword"}'\n`,
      sentence: /CHATWOOT_WEBHOOK_SECRETS in .* is malformed/,
    },
  ])("$name is refused before anything starts, without showing its value", async ({ text, sentence }) => {
    const place = await newPlace();
    const project = join(place.OCC_HOME, "project");
    await mkdir(join(project, "supabase", "functions"), { recursive: true });
    await cp(join(projectRoot, "supabase", "config.toml"), join(project, "supabase", "config.toml"));
    await writeFile(join(project, "supabase", "functions", ".env"), text);
    const settings = { ...readSettings({ ...place }), projectRoot: project };

    const failure = await startStack(settings).then((stack) => stack.stop(), (error: Error) => error);

    expect(failure).toBeInstanceOf(UserError);
    expect(failure?.message).toMatch(sentence);
    expect(failure?.message).not.toContain("topsecretword");
    expect(processesOf(place.OCC_HOME)).toEqual([]);
    await rm(project, { recursive: true });
  });
});
