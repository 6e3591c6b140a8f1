// The whole stack with a Chatwoot beside it: connected, proven, examined; then one thing broken at a time.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { useStack } from "../support/stack.ts";
import { occ, printed, type Running } from "./occ.support.ts";

const { stack, settings, logged } = useStack();
let chatwoot: Chatwoot;
let folder: string;
let client: Client;

const NOON = new Date(Date.now() - 3_600_000);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-cli-"));
  const admin = new Client({ connectionString: stack().postgres.adminUrl });
  await admin.connect();
  await admin.query("create database chatwoot").finally(() => admin.end());
  chatwoot = await openChatwoot();
  await chatwoot.createWebhook({
    url: `${stack().info.functions_url}/chatwoot-webhook`,
    secret: stack().info.demo.webhook_secret,
  });
  client = new Client({ connectionString: stack().postgres.adminUrl });
  await client.connect();
  await chatwoot.perform(NOON, (shop, at) => shop.newContact(at, { name: "Dana" }));
  const [contact] = chatwoot.installation.contacts();
  const { id } = await chatwoot.perform(
    NOON,
    (shop, at) => shop.newConversation(at, { contact: contact.id, inbox: "website" }),
  );
  await chatwoot.perform(NOON, (shop, at) => shop.customerWrites(at, id, { text: "Hello?" }));
  await chatwoot.drain();
});

afterAll(async () => {
  await client?.end();
  await chatwoot?.stop();
  await rm(folder, { recursive: true, force: true });
});

function openChatwoot(): Promise<Chatwoot> {
  const url = new URL(stack().postgres.adminUrl);
  url.pathname = "/chatwoot";
  return startChatwoot({ url: url.href, port: settings().chatwootPort });
}

function here(args: string[], env: Record<string, string> = {}, running: Running = {}) {
  const { home, apiPort, dbPort, chatwootPort } = settings();
  return occ(args, {
    env: {
      OCC_HOME: home,
      OCC_API_PORT: String(apiPort),
      OCC_DB_PORT: String(dbPort),
      OCC_CHATWOOT_PORT: String(chatwootPort),
      OCC_FUNCTION_SECRETS_FILE: join(folder, "functions.env"),
      ...env,
    },
    calledFrom: folder,
    ...running,
  });
}

interface Line {
  name: string;
  title: string;
  state: string;
  message: string;
  next: string | null;
}

async function red(command: "doctor" | "smoke"): Promise<Line[]> {
  const { json } = await here([command, "--json", ...(command === "smoke" ? ["--evidence", "evidence"] : [])]);
  const told = json() as { lines?: Line[]; steps?: Line[] };
  // A minute that turns while something is broken leaves its mark in what cron saw, and that is not looked at here.
  const seenByCron = command === "doctor" ? ["cron"] : ["jobs", "health"];
  return (told.lines ?? told.steps ?? []).filter(({ name, state }) => state === "fail" && !seenByCron.includes(name));
}

test("Ctrl-C in the middle of connecting leaves whole steps, and the next run does the others", async () => {
  const keyboard = new AbortController();

  const stopped = await here(["connect"], {}, {
    signal: keyboard.signal,
    onOutput: (text) => void (text.includes("Webhook 1 now has the events") && keyboard.abort()),
  });

  expect([stopped.exit, stopped.error], stopped.all).toEqual([130, expect.stringContaining("Stopped by Ctrl-C")]);
  expect((await client.query("select from sync.sources")).rowCount).toBe(0);
  expect(await readdir(folder)).toEqual([]);
});

test("connects, and repeating it changes nothing", async () => {
  const first = await here(["connect"]);
  expect(first.all, first.all).toContain("Connected.");
  expect(first.exit).toBe(0);
  expect(first.out).toContain("! Chatwoot 4.16.2 refuses to call private addresses");

  const again = await here(["connect", "--json"]);

  expect(again.json()).toMatchObject({ ok: true, changed: 0, account_id: "1", chatwoot_version: "4.16.2" });
  expect(await readdir(folder)).toEqual([]);
});

test("a sync that had stopped goes on once connected again, and one that a person paused stays so", async () => {
  await client.query("update sync.sources set state = 'stopped' where true");

  const resumed = await here(["connect"]);

  expect(resumed.out).toContain("+ The sync had stopped, and goes on.");
  await asPostgres("select api.pause_sync(1, 'rest')");
  expect((await here(["connect", "--json"])).json()).toMatchObject({ changed: 0 });
  expect((await here(["smoke", "--json", "--evidence", "paused"])).json()).toMatchObject({
    steps: expect.arrayContaining([
      expect.objectContaining({ name: "sync", state: "fail", next: "select api.resume_sync(1, 'rest');" }),
    ]),
  });
  await asPostgres("select api.resume_sync(1, 'rest')");
  await rm(join(folder, "paused"), { recursive: true });
});

test("an account that never had an SLA policy gets the default one, and what a team did itself stays", async () => {
  const promise = async (...flags: string[]) => {
    const { json } = await here(["connect", "--json", ...flags]);
    const told = json() as { changed: number; steps: { step: string; state: string; message: string }[] };
    return { changed: told.changed, ...told.steps.find(({ step }) => step === "sla_policy") };
  };
  const inForce = async () => {
    const { rows } = await client.query("select name from sla.policies where account_id = 1 and valid_until is null");
    return rows.map(({ name }) => name);
  };
  const doctor = async () => {
    const { json } = await here(["doctor", "--json"]);
    return (json().lines as Line[]).find(({ name }) => name === "account_1_sla_policy");
  };
  expect(await promise()).toMatchObject({ changed: 0, state: "unchanged", message: "The account has 1 SLA policy." });
  await client.query("delete from sla.policies where account_id = 1");

  const left = await promise("--no-sla-policy");

  expect(left).toMatchObject({ changed: 0, state: "note", message: expect.stringContaining("nothing is promised") });
  expect(await inForce()).toEqual([]);
  const warned = await doctor();
  expect(warned).toMatchObject({ state: "warn", message: expect.stringContaining("nothing is promised") });

  const added = await promise();

  expect(added).toMatchObject({ changed: 1, state: "changed", message: expect.stringContaining("the default one") });
  expect(await inForce()).toEqual(["Default"]);
  expect(await doctor()).toMatchObject({ state: "ok", message: "1 in force" });
  expect(await promise()).toMatchObject({ changed: 0, state: "unchanged" });

  await asPostgres("select api.retire_sla_policy(1, 1)");

  expect(await promise()).toMatchObject({
    changed: 0,
    message: "The account's SLA policies are retired, and stay so.",
  });
  expect(await inForce()).toEqual([]);
  expect(await doctor()).toMatchObject({ state: "ok", message: expect.stringContaining("retired") });
  await asPostgres(warned?.next ?? "");
  expect(await inForce()).toEqual(["Default"]);
});

test("reads the history with sync backfill, and proves it with verify-sync", async () => {
  const backfill = await here(["sync", "backfill"]);
  expect(backfill.out, backfill.all).toContain("✔ The whole history is here.");

  const verified = await here(["verify-sync", "--since", "1d"]);

  expect(verified.out, verified.all).toContain("✔ All equal");
  expect([backfill.exit, verified.exit]).toEqual([0, 0]);
});

test("doctor finds nothing missing", async () => {
  const { exit, all } = await here(["doctor"]);

  expect([exit, all.split("\n").filter((line) => line.startsWith("✘"))], all).toEqual([0, []]);
  expect(all).toContain("Nothing is missing.");
});

test("smoke is green, also with a note, and leaves evidence", async () => {
  const before = chatwoot.installation.conversations()[0].messages.length;
  const { exit, all } = await here(["smoke", "--write", "--conversation", "1", "--evidence", "evidence"]);

  expect([exit, all.split("\n").filter((line) => line.startsWith("✘"))], all).toEqual([0, []]);
  const files = (await readdir(join(folder, "evidence"))).sort();
  expect(files).toEqual([expect.stringMatching(/^smoke-.*Z\.json$/), expect.stringMatching(/^smoke-.*Z\.md$/)]);
  const evidence = JSON.parse(await readFile(join(folder, "evidence", files[0]), "utf8"));
  expect(evidence).toMatchObject({ passed: true, installation: { account: "1", chatwoot_version: "4.16.2" } });
  expect(await readFile(join(folder, "evidence", files[1]), "utf8")).toContain("# Smoke test: passed");
  const { messages } = chatwoot.installation.conversations()[0];
  expect(messages.slice(before).map(({ contentAttributes }) => contentAttributes.deleted)).toEqual([true]);
  const { rows } = await client.query("select from cron.job where jobname = 'occ-smoke'");
  expect(rows).toEqual([]);
});

test("a job that was removed is one red line, with the statement that brings it back", async () => {
  await client.query("delete from cron.job where jobname = 'sync-rest'");

  const lines = await red("doctor");

  expect(lines).toEqual([
    expect.objectContaining({
      name: "jobs",
      message: expect.stringContaining("sync-rest is missing"),
      next: expect.stringContaining("cron.schedule('sync-rest', '* * * * *', 'call sync.tick_rest()')"),
    }),
  ]);
  await asPostgres(lines[0].next ?? "");
  // In between cron may have seen that it was gone.
  await client.query("call ops.check_health()");
  expect(await red("doctor")).toEqual([]);
});

test("health that nobody looks after is red in smoke, and what is no more is not", async () => {
  const health = async () => {
    const { json } = await here(["smoke", "--json", "--evidence", "health"]);
    return (json().steps as Line[]).find(({ name }) => name === "health");
  };
  await client.query(`insert into ops.health_checks values
    (0, 'cron_alive', 'removed-long-ago', 'fail', 9, '', 'It was removed.', null, now() - interval '2 days', now() - interval '2 days')`);
  expect(await health()).not.toMatchObject({ state: "fail" });
  await client.query("update cron.job set active = false where jobname = 'ops-check-health'");
  expect(await health()).toMatchObject({
    state: "fail",
    message: "nobody looks: the job ops-check-health is missing or switched off",
  });
  await client.query("update cron.job set active = true where jobname = 'ops-check-health'");
  await client.query("delete from ops.health_checks where subject = 'removed-long-ago'");
  await rm(join(folder, "health"), { recursive: true });
});

test("a run that a restart of the server cut off is no finding, another that failed is", async () => {
  const fail = async (message: string) => {
    await client.query(
      `insert into cron.job_run_details (jobid, runid, command, status, return_message, start_time, end_time)
      select jobid, -1, command, 'failed', $1, now() + interval '1 minute', now() from cron.job where jobname = 'sla-sweep'`,
      [message],
    );
    const told = [await here(["doctor", "--json"]), await here(["smoke", "--json", "--evidence", "cut-off"])];
    await client.query("delete from cron.job_run_details where runid = -1");
    return told.map(({ out }) => out.includes(`failed: ${message}`));
  };

  expect(await fail("server restarted")).toEqual([false, false]);
  expect(await fail("ERROR: it broke")).toEqual([true, true]);
  await rm(join(folder, "cut-off"), { recursive: true });
});

test("a grant that was revoked is one red line, with the grant", async () => {
  await asPostgres("revoke select on analytics.conversations from authenticated");

  const lines = await red("doctor");

  expect(lines.map(({ name, message, next }) => [name, message, next])).toEqual([
    [
      "grants",
      "authenticated lacks select on analytics.conversations.",
      "grant select on analytics.conversations to authenticated;",
    ],
  ]);
  await asPostgres(lines[0].next ?? "");
  expect(await red("doctor")).toEqual([]);
});

test("a policy that asks nothing any more, and one too many, are red lines with what takes them back", async () => {
  await asPostgres(`alter policy "Members read their accounts' alerts" on ops.alerts using (true)`);
  await asPostgres("create policy everybody on inbox.deliveries for select to anon using (true)");

  const lines = await red("doctor");

  expect(lines.map(({ message, next }) => [message, next])).toEqual([
    [
      "The policy inbox.deliveries: everybody (select to anon, every row) is none of this checkout's.",
      'drop policy "everybody" on inbox.deliveries;',
    ],
    [
      "The policy ops.alerts: Members read their accounts' alerts allows select to authenticated, every row, and not select to authenticated.",
      expect.stringContaining(`drop policy "Members read their accounts' alerts" on ops.alerts;`),
    ],
  ]);
  await asPostgres(lines[0].next ?? "");
  await asPostgres(
    `alter policy "Members read their accounts' alerts" on ops.alerts
    using (account_id = any (array(select access.my_account_ids())))`,
  );
  expect(await red("doctor")).toEqual([]);
});

test("an extension that is missing is red in doctor, and in smoke where it is needed", async () => {
  await asPostgres("drop extension http");

  const [doctor, smoke] = [await red("doctor"), await red("smoke")];

  expect(doctor.filter(({ name }) => name === "extensions")).toEqual([
    expect.objectContaining({
      message: "The extension http is missing.",
      next: "create extension if not exists http with schema extensions;",
    }),
  ]);
  expect(smoke).toContainEqual(expect.objectContaining({
    name: "sync",
    message: expect.stringContaining("lacks a part of this project"),
    next: expect.stringContaining("occ doctor"),
  }));
  await asPostgres(doctor[0].next ?? "");
  expect(await red("doctor")).toEqual([]);
});

test("a webhook signed with another secret is one red line, with what to do", async () => {
  await chatwoot.createWebhook({
    url: `${stack().info.functions_url}/chatwoot-webhook`,
    secret: "CANARYsecretOfAnotherOne",
  });

  const [doctor, smoke] = [await red("doctor"), await red("smoke")];

  expect(doctor.map(({ name, next }) => [name, next])).toEqual([
    ["account_1_webhook", "occ connect --account 1"],
  ]);
  expect(smoke.map(({ name, message, next }) => [name, message, next])).toEqual([
    [
      "accepted",
      "the function does not know the secret with which Chatwoot signs",
      expect.stringContaining("occ connect --account 1, then restart npm start"),
    ],
  ]);

  const connect = await here(["connect"]);

  expect(connect.exit).toBe(1);
  expect(connect.error).toContain("Restart the stack");
  expect(await readFile(join(folder, "functions.env"), "utf8")).toBe(
    `CHATWOOT_WEBHOOK_SECRETS='{"1":["CANARYsecretOfAnotherOne"]}'\n`,
  );
  await chatwoot.createWebhook({
    url: `${stack().info.functions_url}/chatwoot-webhook`,
    secret: stack().info.demo.webhook_secret,
    subscriptions: ["message_created"],
  });
  expect((await here(["connect"])).exit).toBe(0);
});

test("secrets that the function could not read are one red line, without their values", async () => {
  const file = join(folder, "functions.env");
  const before = await readFile(file, "utf8");
  await writeFile(file, `CHATWOOT_WEBHOOK_SECRETS='{"1": "CANARYnoListOfSecrets"}'\n`);

  const lines = await red("doctor");

  expect(lines.map(({ name, message }) => [name, message])).toContainEqual([
    "secrets",
    expect.stringContaining("CHATWOOT_WEBHOOK_SECRETS is malformed: each account id has an array of secrets"),
  ]);
  expect((await here(["connect"])).error).toMatch(/is malformed\.\n→ Write/);
  await writeFile(file, before);
});

test("a Chatwoot that stopped is red where it is asked, and nowhere else", async () => {
  await chatwoot.stop();
  try {
    const [doctor, smoke] = [await red("doctor"), await red("smoke")];

    expect(doctor.map(({ name, next }) => [name, next])).toEqual([
      ["account_1_chatwoot", expect.stringContaining("Look whether Chatwoot runs")],
    ]);
    expect(smoke.map(({ name, next }) => [name, next])).toEqual([
      ["chatwoot", expect.stringContaining("Look whether Chatwoot runs")],
      ["sync", expect.stringContaining("Look whether Chatwoot runs")],
    ]);
  } finally {
    chatwoot = await openChatwoot();
  }
});

test("no secret was printed, logged or kept in evidence", async () => {
  const { info } = stack();
  const canaries = [
    chatwoot.token,
    info.secret_key,
    info.demo.webhook_secret,
    info.demo.access_token,
    "CANARY",
  ];
  const files = await readdir(join(folder, "evidence"));
  const written = await Promise.all(files.map((file) => readFile(join(folder, "evidence", file), "utf8")));
  const everything = [...printed, ...logged, ...written].join("\n");
  for (const canary of canaries) expect(everything.includes(canary)).toBe(false);
  expect(await tablesThatHold(canaries)).toEqual([]);
});

/** The tables of the project's database, Vault's and cron's too, in which one of them stands in clear. */
async function tablesThatHold(texts: string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', schemas.nspname, tables.relname) as name
    from pg_class as tables join pg_namespace as schemas on schemas.oid = tables.relnamespace
    where tables.relkind = 'r' and schemas.nspname not in ('pg_catalog', 'information_schema')`,
  );
  expect(rows.length).toBeGreaterThan(60);
  const found: string[] = [];
  for (const { name } of rows) {
    const held = await client.query(
      `select from ${name} as kept where exists (
        select from unnest($1::text[]) as texts (text) where strpos(kept::text, texts.text) > 0
          or strpos(kept::text, encode(convert_to(texts.text, 'UTF8'), 'hex')) > 0) limit 1`,
      [texts],
    );
    if (held.rowCount !== 0) found.push(name);
  }
  return found;
}

async function asPostgres(statement: string): Promise<void> {
  const owner = new Client({ connectionString: stack().postgres.url });
  await owner.connect();
  await owner.query(statement).finally(() => owner.end());
}
