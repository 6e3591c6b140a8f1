// The runbooks, tried: what docs/runbooks says to do is done here, on a whole stack with a Chatwoot beside it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "../../local/ports.ts";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { useStack } from "../support/stack.ts";
import { occ } from "../cli/occ.support.ts";

const [OLD, NEW] = ["theOldSecretOfTheWebhook0", "theNewSecretOfTheWebhook0"];
const SECRETS = JSON.stringify({ "1": [NEW, OLD] });
const { stack, settings } = useStack({
  secrets: { CHATWOOT_WEBHOOK_SECRETS: SECRETS, GOLD_REPLIES_TOKEN: "theTokenOfTheGoldReplyDoor" },
});
let chatwoot: Chatwoot;
let folder: string;
let client: Client;
let conversation: number;
let clock = Date.now() - 2 * 3_600_000;

const next = () => new Date(clock += 1000);
const databaseOf = (name: string) => {
  const url = new URL(stack().postgres.adminUrl);
  url.pathname = `/${name}`;
  return url.href;
};
const open = (port: number) => startChatwoot({ url: databaseOf("chatwoot"), port });

async function inDatabase<Row = Record<string, unknown>>(url: string, ...texts: string[]): Promise<Row[]> {
  const one = new Client({ connectionString: url });
  one.on("error", () => {});
  await one.connect();
  try {
    let rows: Row[] = [];
    for (const text of texts) rows = (await one.query(text)).rows as Row[];
    return rows;
  } finally {
    await one.end();
  }
}

async function rows<Row = Record<string, unknown>>(text: string, values: unknown[] = []): Promise<Row[]> {
  return (await client.query(text, values)).rows as Row[];
}

const connected = async () => {
  client = new Client({ connectionString: stack().postgres.url });
  client.on("error", () => {});
  await client.connect();
};

function here(...args: string[]) {
  const { home, apiPort, dbPort } = settings();
  return occ(args, {
    env: {
      OCC_HOME: home,
      OCC_API_PORT: String(apiPort),
      OCC_DB_PORT: String(dbPort),
      OCC_CHATWOOT_PORT: new URL(chatwoot.url).port,
      OCC_FUNCTION_SECRETS_FILE: join(folder, "functions.env"),
    },
    calledFrom: folder,
  });
}

async function proveEqual(): Promise<void> {
  // Within an hour the same range gives the same comparison, and this one is about now.
  await rows("delete from sync.verifications where true");
  const backfill = await here("sync", "backfill");
  expect(backfill.exit, backfill.all).toBe(0);
  const verified = await here("verify-sync", "--since", "2d");
  expect([verified.exit, verified.out], verified.all).toEqual([0, expect.stringContaining("✔ All equal")]);
}

const writes = (text: string, id = conversation) =>
  chatwoot.perform(next(), (shop, at) => shop.customerWrites(at, id, { text }));

const texts = async () =>
  (await rows<{ content: string }>(
    "select content from chatwoot.messages where content is not null order by message_id",
  ))
    .map(({ content }) => content);

const dispatch = () => rows("call actions.dispatch(budget => '5 seconds')");
const posted = () =>
  chatwoot.installation.conversation(conversation).messages.filter(({ type }) => type === "outgoing")
    .map(({ content }) => content);

async function newConversation(name: string): Promise<{ contact: number; id: number }> {
  const contact = chatwoot.installation.newContact(next(), { name, email: `${name.toLowerCase()}@mail.example` }).id;
  const { id } = await chatwoot.perform(next(), (shop, at) => shop.newConversation(at, { contact, inbox: "website" }));
  return { contact, id };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-runbooks-"));
  await inDatabase(stack().postgres.adminUrl, "create database chatwoot");
  chatwoot = await open(settings().chatwootPort);
  await chatwoot.createWebhook({
    url: `${stack().info.functions_url}/chatwoot-webhook`,
    secret: OLD,
  });
  await writeFile(join(folder, "functions.env"), `CHATWOOT_WEBHOOK_SECRETS='${SECRETS}'\n`);
  await connected();
  ({ id: conversation } = await newConversation("Dana"));
  await writes("The first");
  await chatwoot.drain();
});

afterAll(async () => {
  await client?.end().catch(() => {});
  await chatwoot?.stop();
  await rm(folder, { recursive: true, force: true });
});

test("first connection: connect, read the history, prove it", async () => {
  const connect = await here("connect");
  expect(connect.exit, connect.all).toBe(0);

  await proveEqual();

  const doctor = await here("doctor");
  expect(doctor.exit, doctor.all).toBe(0);
});

test("secret rotation: a second webhook beside the first, and no event falls between", async () => {
  const url = `${stack().info.functions_url}/chatwoot-webhook`;
  const copies = async (text: string) => {
    const [{ id }] = await rows("select max(message_id) as id from chatwoot.messages");
    await writes(text);
    await chatwoot.drain();
    expect(await rows("select content from chatwoot.messages where message_id > $1", [id])).toEqual([{
      content: text,
    }]);
    return await rows(
      `select outcome from inbox.deliveries where event = 'message_created' and position(convert_to($1, 'UTF8') in body) > 0`,
      [text],
    );
  };
  const applied = { outcome: "applied" };

  await chatwoot.createWebhook({ url: `${url}/1`, secret: NEW });
  expect(await copies("By both webhooks")).toEqual([applied, applied]);
  expect((await here("doctor")).all).toContain("2 webhooks lead here");

  await inDatabase(databaseOf("chatwoot"), `delete from webhooks where url = '${url}'`);
  expect(await copies("By the new webhook alone")).toEqual([applied]);
  const doctor = await here("doctor");
  expect(doctor.all).not.toContain("webhooks lead here");
  expect(doctor.all).toContain("✔ Account 1, webhook");
});

test("token rotation: no delivery is lost, and what waits to be sent is sent once", async () => {
  await rows("select api.enqueue_action(1, $1, 'reply', '{\"content\": \"Before\"}')", [conversation]);
  await dispatch();
  await writes("While the old token holds");

  // Chatwoot takes the old token away the moment it makes a new one.
  await inDatabase(
    databaseOf("chatwoot"),
    "update access_tokens set token = 'theNewTokenOfAnAdministrator' where true",
  );
  await writes("While there is no token");
  await rows("select api.enqueue_action(1, $1, 'reply', '{\"content\": \"Between\"}')", [conversation]);
  await dispatch();
  expect(await rows("select state from actions.outbox order by action_id")).toEqual([{ state: "sent" }, {
    state: "pending",
  }]);
  expect(await rows("select state from actions.accounts")).toEqual([{ state: "stopped" }]);

  await rows("select api.set_sync_token(1, 'theNewTokenOfAnAdministrator')");
  await writes("With the new token");
  for (let tries = 0; tries < 10 && posted().length < 2; tries++) await dispatch();
  await chatwoot.drain();

  expect(posted()).toEqual(["Before", "Between"]);
  expect(await texts()).toEqual(
    expect.arrayContaining(["While the old token holds", "While there is no token", "With the new token"]),
  );
  expect(await rows("select from inbox.deliveries where outcome = 'dead'")).toEqual([]);
  await proveEqual();
});

test("a webhook storm: every event is stored, and the numbers catch up", async () => {
  const ids = [];
  for (let number = 0; number < 20; number++) ids.push((await newConversation(`Customer ${number}`)).id);
  await chatwoot.drain();
  const before = { ...chatwoot.webhooks };
  const kept = Number((await rows("select count(*) from inbox.deliveries"))[0].count);
  const events: ChatwootEvent[] = [];
  for (let number = 0; number < 200; number++) {
    events.push(
      ...chatwoot.installation.customerWrites(next(), ids[number % ids.length], { text: `Storm ${number}` }).events,
    );
  }
  const started = Date.now();

  await chatwoot.dispatch(events);
  await chatwoot.drain();

  const seconds = (Date.now() - started) / 1000;
  const accepted = chatwoot.webhooks.accepted - before.accepted;
  expect(chatwoot.webhooks.refused).toBe(before.refused);
  expect(accepted).toBeGreaterThanOrEqual(400);
  expect(Number((await rows("select count(*) from inbox.deliveries"))[0].count) - kept).toBe(accepted);
  expect(await rows("select distinct outcome from inbox.deliveries where event like 'message%'")).toEqual([{
    outcome: "applied",
  }]);
  expect(seconds).toBeLessThan(30);
  await rows("call ledger.tick()");
  expect(await rows("select from ledger.queue")).toEqual([]);
  expect(
    await rows("select sum(customer_messages)::int as written from analytics.episodes where display_id = any ($1)", [
      ids,
    ]),
  ).toEqual([{ written: 200 }]);
});

test("a full disk: what a read-only database refused is there once it can be written to", async () => {
  const maintenance = databaseOf("chatwoot");
  const readOnly = (value: string) =>
    inDatabase(
      maintenance,
      `alter database postgres set default_transaction_read_only = ${value}`,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres'",
    );
  const { refused } = chatwoot.webhooks;
  await readOnly("on");
  await writes("While the disk was full");
  await chatwoot.drain();
  await connected();
  expect(chatwoot.webhooks.refused).toBeGreaterThan(refused);
  await expect(rows("select api.set_setting(1, 'raw_retention_days', '7')")).rejects.toThrow("read-only transaction");
  // A session that asks for it may make room.
  await rows("set session characteristics as transaction read write");
  await rows("select api.set_setting(1, 'raw_retention_days', '7'), inbox.purge_bodies()");

  await client.end();
  await readOnly("off");
  await connected();
  expect(await texts()).not.toContain("While the disk was full");
  await proveEqual();

  expect((await texts()).filter((text) => text === "While the disk was full")).toHaveLength(1);
});

test("an upgrade of Chatwoot: what happened while it was down, and the new version, are no trouble", async () => {
  await chatwoot.stop();
  chatwoot = await startChatwoot({ url: databaseOf("chatwoot"), port: settings().chatwootPort, version: "4.17.0" });
  await writes("After the upgrade");
  await chatwoot.drain();

  await proveEqual();

  expect(await texts()).toContain("After the upgrade");
  expect((await here("smoke", "--evidence", "evidence", "--json")).json()).toMatchObject({
    steps: expect.arrayContaining([expect.objectContaining({ name: "accepted", state: "ok" })]),
  });
});

test("Chatwoot moved to another host: the same history is recognised, and what came meanwhile is there", async () => {
  await chatwoot.stop();
  chatwoot = await open(await freePort());
  await writes("On the new host");

  await rows("select api.set_rest_source(1, $1)", [chatwoot.url]);
  expect(await rows("select problem from api.sync_status where door = 'rest'")).toEqual([
    { problem: expect.stringContaining("The token of the former address was deleted") },
  ]);
  await rows("select api.set_sync_token(1, 'theNewTokenOfAnAdministrator')");
  await chatwoot.drain();

  await proveEqual();
  expect((await texts()).filter((text) => text === "On the new host")).toHaveLength(1);
});

test("a customer is erased: over the Data API, with a receipt; Chatwoot may tell of them again", async () => {
  const { contact, id } = await newConversation("Canary");
  await writes("Words of Canary", id);
  await chatwoot.drain();
  await rows("call ledger.tick()");
  const erase = async (dry_run: boolean) => {
    const { info } = stack();
    const answer = await fetch(`${info.api_url}/rest/v1/rpc/erase_contact`, {
      method: "POST",
      headers: { apikey: info.secret_key, "content-type": "application/json", "content-profile": "api" },
      body: JSON.stringify({ account_id: 1, contact_id: contact, dry_run }),
    });
    expect(answer.status).toBe(200);
    return await answer.json();
  };
  const before = await rows("select customer_messages, started_at from analytics.episodes order by display_id");

  expect(await erase(true)).toMatchObject({
    is_dry_run: true,
    deleted: { "chatwoot.contacts": 1, "chatwoot.messages": 1 },
  });
  const receipt = await erase(false);

  expect(receipt).toMatchObject({ erased_by: "service_role", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(await erase(true)).toMatchObject({ deleted: {} });
  expect(await rows("select customer_messages, started_at from analytics.episodes order by display_id")).toEqual(
    before,
  );
  await writes("More words of Canary", id);
  await chatwoot.drain();
  expect((await texts()).filter((text) => text.includes("Canary"))).toEqual([]);
  await proveEqual();
  expect((await texts()).filter((text) => text.includes("Canary"))).toEqual([]);
  expect(await rows("select name from chatwoot.contacts where contact_id = $1", [contact])).toEqual([{ name: null }]);
});

test("the database restored to yesterday: nothing is sent twice, and the mirror is equal again", async () => {
  await chatwoot.drain();
  const { adminUrl } = stack().postgres;
  const maintenance = new URL(adminUrl);
  maintenance.pathname = "/template1";
  const { id: kept, contact } = await newConversation("Yesterday");
  await rows("select api.enqueue_action(1, $1, 'reply', '{\"content\": \"Sent after the backup\"}')", [conversation]);
  await chatwoot.drain();
  await copy(maintenance.href, "postgres", "yesterday");

  // Today: the reply leaves, customers write, one of them is erased.
  for (let tries = 0; tries < 10 && !posted().includes("Sent after the backup"); tries++) await dispatch();
  await writes("Written after the backup");
  await chatwoot.drain();
  await rows("select api.erase_contact(1, $1, false)", [contact]);
  const receipts = await rows<{ subject_id: string }>(
    "select subject_id from api.erasures where kind = 'contact' order by erasure_id",
  );
  // As the runbook says: with another token in Chatwoot the copy can send nothing, however soon it begins.
  await inDatabase(databaseOf("chatwoot"), "update access_tokens set token = 'theTokenAfterTheRestore' where true");
  await copy(maintenance.href, "yesterday", "postgres");
  await dispatch();

  // Then what is in doubt, who was erased, the token, and the proof.
  expect((await texts()).includes("Written after the backup")).toBe(false);
  await rows("delete from sync.verifications where true");
  await rows("update actions.outbox set doubt_since = created_at where state = 'pending' and doubt_since is null");
  await rows("select api.erase_contact(1, $1, false)", [receipts.at(-1)?.subject_id]);
  await rows("select api.set_sync_token(1, 'theTokenAfterTheRestore')");
  for (let tries = 0; tries < 10; tries++) {
    await dispatch();
    if ((await rows("select from actions.outbox where state in ('pending', 'sending')")).length === 0) break;
  }
  await proveEqual();

  expect(posted().filter((text) => text === "Sent after the backup")).toHaveLength(1);
  expect(await rows("select distinct state from actions.outbox")).toEqual([{ state: "sent" }]);
  expect((await texts()).filter((text) => text === "Written after the backup")).toHaveLength(1);
  expect(await rows("select name from chatwoot.contacts where contact_id = $1", [contact])).toEqual([{ name: null }]);
  expect(kept).toBeGreaterThan(0);
  expect(await rows("select first_broken_entry from audit.verify(1)")).toEqual([{ first_broken_entry: null }]);
});

/** A database in the place of another, as a restore does it: nobody may be connected to either. */
async function copy(maintenance: string, from: string, to: string): Promise<void> {
  await client.end();
  await inDatabase(
    maintenance,
    ...["postgres", from].map((name) => `alter database ${name} allow_connections false`),
    `select pg_terminate_backend(pid) from pg_stat_activity where datname in ('${from}', '${to}')`,
    `drop database if exists ${to} with (force)`,
    `create database ${to} template ${from} owner postgres`,
    `alter database postgres allow_connections true`,
  );
  await connected();
}
