// Notifications on the wire: what receivers get, what they may do wrong, and what is left behind where.
import { createHmac } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import { type AddressInfo } from "node:net";
import { join } from "node:path";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../../local/migrate.ts";
import { freePort } from "../../local/ports.ts";
import { readSettings } from "../../local/settings.ts";
import { useWorker } from "./worker.support.ts";

const START = new Date("2026-11-20T09:00:00Z");
const later = (seconds: number) => new Date(START.getTime() + seconds * 1000);
const CANARY = "canary-8f3a1c";

const worker = useWorker();
let pool: pg.Pool;
const rows = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
  (await pool.query<Row>(text, values)).rows;

beforeAll(async () => {
  await migrate(readSettings({}).projectRoot, { url: worker.url(), withSeed: false });
  pool = new pg.Pool({ connectionString: worker.url(), max: 6 });
  pool.on("error", () => {});
  // The tests are the clock.
  await rows("select cron.unschedule(jobid) from cron.job");
  await rows("select ops.set_setting(account, 'sync_private_hosts', 'true') from unnest(array[1, 2]) as account");
});
afterAll(() => pool?.end());

interface Got {
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
  // deno-lint-ignore no-explicit-any -- What arrived is looked at from outside, whatever it is.
  json: any;
}

interface Receiver {
  url: string;
  got: Got[];
  /** What it answers from now on. */
  answer: (response: ServerResponse, got: Got) => void;
}

const open = new Set<Server>();

async function receiver(answer: Receiver["answer"] = (response) => response.end("ok")): Promise<Receiver> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const got = {
      path: request.url ?? "",
      headers: request.headers,
      body,
      json: body === "" ? null : JSON.parse(body),
    };
    self.got.push(got);
    response.on("error", () => {});
    self.answer(response, got);
  });
  open.add(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const self: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/${CANARY}?key=${CANARY}`,
    got: [],
    answer,
  };
  return self;
}

beforeEach(async () => {
  await rows("delete from ops.notification_endpoints where true");
  await rows("delete from ops.notifications where true");
  await rows("delete from ops.alerts where true");
  await rows("delete from vault.secrets where name like 'notification%'");
});
afterEach(async () => {
  for (const server of open) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  open.clear();
});

interface Endpoint {
  id: string;
  secret: string;
}

async function add(url: string, options: Record<string, unknown> = {}): Promise<Endpoint> {
  const given: Record<string, unknown> = {
    ...{ account_id: 1, name: `to ${new URL(url).port} ${Math.random()}`, url, format: "standard", as_of: START },
    ...options,
  };
  const names = Object.keys(given);
  const [row] = await rows<{ endpoint_id: string; signing_secret: string }>(
    `select * from ops.add_notification_endpoint(${names.map((name, index) => `${name} => $${index + 1}`).join(", ")})`,
    names.map((name) => given[name]),
  );
  return { id: row.endpoint_id, secret: row.signing_secret };
}

const notify = async (key: string, severity = "warning", as_of = START) =>
  (await rows<{ id: string }>(
    "select ops.notify(1, 'sla.breach', $1, $2, $3, $4, $5) as id",
    [key, `About ${key}`, { conversation: 7, agent: "Grüße 🔔" }, severity, as_of],
  ))[0].id;

const tell = async (count: number, prefix = "news ") => {
  for (let number = 1; number <= count; number++) await notify(prefix + number);
};
const tick = (at: Date, budget = "20 seconds") => rows("call ops.deliver_notifications($1, $2)", [at, budget]);
const deliveries = () =>
  rows<Record<string, unknown>>(
    `select endpoint_id, state, attempts, last_status, problem, next_attempt_at, message_id
      from api.notification_deliveries order by delivery_id`,
  );
const endpoint = async ({ id }: Endpoint) =>
  (await rows<Record<string, unknown>>("select * from api.notification_endpoints where endpoint_id = $1", [id]))[0];

/** As a receiver of Standard Webhooks checks it, with nothing of ours. */
function isSigned(secret: string, { headers, body }: Got): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const expected = createHmac("sha256", key)
    .update(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`).digest("base64");
  return headers["webhook-signature"] === `v1,${expected}`;
}

describe("what arrives", () => {
  test("the standard form: type, timestamp and data, signed so that a receiver can check it", async () => {
    const to = await receiver();
    const { secret } = await add(to.url);
    const id = await notify("k", "critical");

    await tick(START);

    expect(to.got).toHaveLength(1);
    const [got] = to.got;
    expect(isSigned(secret, got)).toBe(true);
    expect(isSigned(secret, { ...got, body: got.body + " " })).toBe(false);
    expect(got.headers["content-type"]).toBe("application/json");
    expect(got.headers["webhook-id"]).toMatch(/^msg_[0-9a-f]{32}$/);
    expect(got.headers["webhook-timestamp"]).toBe(String(START.getTime() / 1000));
    expect(got.path).toBe(`/hook/${CANARY}?key=${CANARY}`);
    expect(got.json).toEqual({
      type: "sla.breach",
      timestamp: START.toISOString(),
      data: {
        ...{ account_id: 1, notification_id: Number(id), severity: "critical", title: "About k", escalation: 0 },
        body: { conversation: 7, agent: "Grüße 🔔" },
      },
    });
    await tick(later(60));
    expect(to.got).toHaveLength(1);
  });

  test("the form of Slack: text that stands alone, blocks, and no signature", async () => {
    const to = await receiver();
    await add(to.url, { format: "slack" });
    const id = await notify("k <!here>", "critical");

    await tick(START);

    const [{ json, headers }] = to.got;
    expect(headers).not.toHaveProperty("webhook-signature");
    expect(json.text.split("\n")).toEqual([
      "*[critical]* About k &lt;!here&gt;",
      "*agent:* Grüße 🔔",
      "*conversation:* 7",
      `sla.breach · ${START.toISOString()} · notification ${id} of account 1`,
    ]);
    expect(json.blocks.map((block: { type: string }) => block.type)).toEqual(["section", "section", "context"]);
  });

  test("a digest in both forms", async () => {
    const [standard, slack] = [await receiver(), await receiver()];
    const { secret } = await add(standard.url, { digest_minutes: 15 });
    await add(slack.url, { digest_minutes: 15, format: "slack" });
    await tell(3);
    await tick(later(899));
    expect([...standard.got, ...slack.got]).toEqual([]);

    await tick(later(900));

    expect(standard.got).toHaveLength(1);
    expect(isSigned(secret, standard.got[0])).toBe(true);
    expect(standard.got[0].json).toMatchObject({ type: "notifications.digest", data: { account_id: 1, count: 3 } });
    expect(standard.got[0].json.data.notifications.map((item: { data: { title: string } }) => item.data.title)).toEqual(
      ["About news 1", "About news 2", "About news 3"],
    );
    expect(slack.got.map(({ json }) => json.text)).toEqual([
      "*3 notifications:* 3 sla.breach\n*[warning]* About news 1\n*[warning]* About news 2\n*[warning]* About news 3",
    ]);
  });

  test("an escalation says that it is one, until somebody acknowledges", async () => {
    const to = await receiver();
    await add(to.url, { format: "slack", escalate_after_seconds: 300 });
    const id = await notify("k", "critical");
    await tick(START);
    expect(to.got).toEqual([]);

    await tick(later(300));
    await tick(later(600));
    await rows("select api.acknowledge_notification(1, $1)", [id]);
    await tick(later(900));

    expect(to.got.map(({ json }) => json.text.split("\n")[0])).toEqual(
      Array(2).fill("*[critical]* Still not acknowledged: About k"),
    );
    expect(new Set(to.got.map(({ body }) => body)).size).toBe(1);
  });
});

const PAGE = "<!DOCTYPE html><html><body>Sign in to the Wi-Fi</body></html>";
const elsewhere = (location: string) => (response: ServerResponse) => response.writeHead(307, { location }).end();

// What a receiver may do wrong, and what is noted of it.
const FAULTS: Record<string, { says: RegExp; status: number | null; answer: Receiver["answer"]; isFinal?: true }> = {
  "a 500": { says: /failed to answer \(500\)/, status: 500, answer: (to) => to.writeHead(500).end(CANARY) },
  "no answer": { says: /within 5 seconds/, status: null, answer: () => {} },
  "an answer that never ends": {
    says: /within 5 seconds/,
    status: null,
    answer: (to) => void to.writeHead(200).write("o"),
  },
  "a broken connection": { says: /connection broke/, status: null, answer: (to) => void to.destroy() },
  "a page in HTML": {
    says: /page in HTML/,
    status: 200,
    answer: (to) => void to.writeHead(200, { "content-type": "text/html" }).end(PAGE),
  },
  "a huge answer": { says: /connection broke/, status: null, answer: (to) => void to.end("x".repeat(40_000_000)) },
  "401": { says: /refused the request \(401\)/, status: 401, answer: (to) => void to.writeHead(401).end() },
  "404": { says: /refused the request \(404\)/, status: 404, answer: (to) => void to.writeHead(404).end() },
  "422": { says: /as it is \(422\)/, status: 422, answer: (to) => void to.writeHead(422).end() },
  "429": {
    says: /for now \(429\)/,
    status: 429,
    answer: (to) => void to.writeHead(429, { "retry-after": "120" }).end(),
  },
  "410": { says: /gone for good/, status: 410, answer: (to) => void to.writeHead(410).end(), isFinal: true },
  "a redirect": {
    says: /leads elsewhere/,
    status: 200,
    answer: (to, { path }) => path === "/moved" ? void to.end("ok") : elsewhere("/moved")(to),
    isFinal: true,
  },
  "a redirect without an end": { says: /leads elsewhere/, status: null, answer: elsewhere("/again"), isFinal: true },
};

describe("a receiver that answers with", () => {
  test.each(Object.entries(FAULTS))(
    "%s: the one beside it gets all in the same tick, and later it gets what it missed, once",
    async (_name, { says, status, answer, isFinal }) => {
      const [bad, good] = [await receiver(answer), await receiver()];
      const [toBad, toGood] = [await add(bad.url), await add(good.url)];
      await tell(15);
      const began = Date.now();

      await tick(START);

      expect(Date.now() - began).toBeLessThan(12_000);
      expect(good.got.filter(({ json }) => json.type === "sla.breach").map(({ json }) => json.data.title).sort())
        .toEqual(
          Array.from({ length: 15 }, (_, index) => `About news ${index + 1}`).sort(),
        );
      expect(await endpoint(toGood)).toMatchObject({ state: "active", failures: 0, problem: null, pending: "0" });
      const ill = await endpoint(toBad);
      expect(ill.problem).toMatch(says);
      expect(ill.hint).toBeTruthy();
      expect(`${ill.problem} ${ill.hint}`).not.toMatch(/Wi-Fi|canary/);
      const [first] = (await deliveries()).filter(({ endpoint_id, attempts }) =>
        endpoint_id === toBad.id && attempts === 1
      );
      if (status !== null) expect(first.last_status).toBe(status);
      // The first request only; where it led to itself, that was followed.
      if (!isFinal) expect(new Set(bad.got.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
      bad.answer = (response) => response.end("ok");
      bad.got.length = 0;

      if (isFinal) {
        expect(ill.state).toBe("dead");
        await tick(later(600));
        expect(bad.got).toEqual([]);
        expect((await rows("select kind, subject, resolved_at from api.alerts"))[0])
          .toEqual({ kind: "notifications.endpoint_dead", subject: `endpoint:${toBad.id}`, resolved_at: null });
        expect(good.got.at(-1)?.json.type).toBe("notifications.endpoint_dead");
        await rows("select ops.set_notification_endpoint_state(1, $1, 'active', $2)", [toBad.id, later(601)]);
      }
      await tick(later(29));
      for (const seconds of [650, 1300, 2600]) await tick(later(seconds));

      const titles = bad.got.map(({ json }) => json.data.title);
      expect(titles.sort()).toEqual(Array.from({ length: 15 }, (_, index) => `About news ${index + 1}`).sort());
      expect(bad.got.every((got) => isSigned(toBad.secret, got))).toBe(true);
      expect(
        bad.got.some(({ headers }) => headers["webhook-id"] === `msg_${String(first.message_id).replaceAll("-", "")}`),
      )
        .toBe(true);
      expect(await endpoint(toBad)).toMatchObject({ state: "active", failures: 0, problem: null, pending: "0" });
    },
  );

  test("what is no fault: 204, 201 with a place to look, bytes that are no text", async () => {
    const answers: Receiver["answer"][] = [
      (to) => void to.writeHead(204).end(),
      (to) => void to.writeHead(201, { location: "/jobs/1" }).end("{}"),
      (to) => void to.writeHead(200, { "content-type": "text/html" }).end("ok"),
      (to) => void to.end(Buffer.from([0xff, 0x00, 0xfe])),
    ];
    for (const answer of answers) await add((await receiver(answer)).url);
    await notify("k");

    await tick(START);

    expect((await deliveries()).map(({ state }) => state)).toEqual(Array(4).fill("sent"));
  });

  test("nothing, since nobody listens: the connection is refused and said to be", async () => {
    const to = await add(`http://127.0.0.1:${await freePort()}/${CANARY}`);
    await notify("k");

    await tick(START);

    expect(await endpoint(to)).toMatchObject({
      failures: 1,
      problem: expect.stringMatching(/could not be connected to/),
    });
  });

  test("a redirect into another network tells nobody what is open there", async () => {
    const closed = await freePort();
    const to = await add((await receiver(elsewhere(`http://127.0.0.1:${closed}/`))).url);
    await notify("k");

    await tick(START);

    expect(await endpoint(to)).toMatchObject({ state: "dead", problem: "The receiver's address leads elsewhere." });
  });

  test("a host that may no longer be reached is not asked", async () => {
    const receiving = await receiver();
    const to = await add(receiving.url);
    await notify("k");
    await rows("select ops.set_setting(1, 'sync_private_hosts', 'false')");

    await tick(START);

    await rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    expect(receiving.got).toEqual([]);
    expect(await endpoint(to)).toMatchObject({ state: "dead", problem: expect.stringMatching(/may not be used/) });
  });
});

test("two that hang cost the tick its budget and no more, and the one that works nothing", async () => {
  const hanging = [];
  for (let number = 0; number < 2; number++) hanging.push(await receiver(() => {}));
  for (const { url } of hanging) await add(url);
  const good = await receiver();
  await add(good.url);
  await tell(2);
  await tick(START);
  expect(hanging.map(({ got }) => got.length)).toEqual([1, 1]);
  await tell(10, "more ");
  const began = Date.now();
  let doneAfter = 0;
  good.answer = (response, { json }) => {
    if (json.data.title === "About more 10") doneAfter = Date.now() - began;
    response.end("ok");
  };

  // Their time has come again, but those that work go first.
  await tick(later(45), "7 seconds");

  expect(good.got).toHaveLength(12);
  expect(doneAfter).toBeLessThan(3000);
  expect(Date.now() - began).toBeLessThan(9000);
});

test("twelve failures are the end: the reason is kept, people are told, and activating brings the last day", async () => {
  const [bad, good] = [await receiver((to) => void to.writeHead(500).end()), await receiver()];
  const toBad = await add(bad.url, { name: "Pager" });
  await add(good.url, { kinds: ["notifications.*"], format: "slack" });
  await notify("k");
  let now = START;
  const gaps: number[] = [];
  for (let tries = 0; tries < 12; tries++) {
    await tick(now);
    const { retry_at, state } = await endpoint(toBad) as { retry_at: Date; state: string };
    expect(state).toBe(tries === 11 ? "dead" : "active");
    gaps.push((retry_at.getTime() - now.getTime()) / 1000);
    // It has microseconds, which a Date cuts off: so a moment before it, whatever they are.
    await tick(new Date(retry_at.getTime() - 1));
    expect(bad.got).toHaveLength(tries + 1);
    now = new Date(retry_at.getTime() + 1);
  }

  await tick(later(90_000));

  expect(new Set(bad.got.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  expect(bad.got).toHaveLength(12);
  // Half a minute, two minutes doubling to an hour, each a fifth more or less.
  [30, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600, 3600].forEach((expected, index) => {
    expect(gaps[index]).toBeGreaterThanOrEqual(expected * 0.8 - 1);
    expect(gaps[index]).toBeLessThanOrEqual(expected * 1.2 + 1);
  });
  expect((await deliveries())[0]).toMatchObject({
    ...{ state: "dead", attempts: 12, last_status: 500 },
    problem: "The receiver failed to answer (500).",
  });
  expect(good.got.map(({ json }) => json.text.split("\n")[0])).toEqual([
    "*[warning]* Nothing is sent to the endpoint Pager any more",
  ]);
  expect(await rows("select message, hint from api.alerts where resolved_at is null")).toEqual([{
    message: "Nothing is sent to the endpoint Pager any more: The receiver failed to answer (500).",
    hint: expect.stringMatching(/look at the receiver's log.*set_notification_endpoint_state/),
  }]);
  expect(
    await rows(
      "select actor from audit.decision_log where action = 'notification_endpoint.given_up' order by entry desc limit 1",
    ),
  )
    .toEqual([{ actor: "rule:notifications" }]);
  await notify("meanwhile", "critical", now);
  bad.answer = (response) => response.end("ok");
  await rows("select ops.set_notification_endpoint_state(1, $1, 'active', $2)", [toBad.id, now]);
  await tick(now);
  expect(bad.got.slice(12).map(({ json }) => json.data.title)).toEqual(["About k"]);
  expect(await rows("select from api.alerts where resolved_at is null")).toEqual([]);
});

test("two ticks at once share the work: each notification once to each receiver", async () => {
  const slowly: Receiver["answer"] = (response) => void setTimeout(() => response.end("ok"), 40);
  const receivers = [await receiver(slowly), await receiver(slowly), await receiver(slowly)];
  for (const { url } of receivers) await add(url);
  await tell(12);

  await Promise.all([tick(START), tick(START), tick(START)]);
  // Whoever came while another one had an endpoint may have gone; what was left is for the next tick.
  await tick(later(1));

  for (const { got } of receivers) {
    expect(got.map(({ json }) => json.data.title).sort()).toEqual(
      Array.from({ length: 12 }, (_, index) => `About news ${index + 1}`).sort(),
    );
  }
  expect((await deliveries()).every(({ state, attempts }) => state === "sent" && attempts === 1)).toBe(true);
});

test("a tick that is killed in the middle of a request: sent again under the same id when the lease is over", async () => {
  const to = await receiver(() => {});
  const { secret } = await add(to.url);
  await notify("k");
  const client = new pg.Client({ connectionString: worker.url() });
  client.on("error", () => {});
  await client.connect();
  const killed = client.query("call ops.deliver_notifications($1)", [START]).catch((error: Error) => error);
  await worker.until("select 1", () => to.got.length === 1);
  await rows(
    "select pg_terminate_backend(pid) from pg_stat_activity where query like 'call ops.deliver%' and pid <> pg_backend_pid()",
  );
  expect(await killed).toBeInstanceOf(Error);
  to.answer = (response) => response.end("ok");

  await tick(later(59));
  expect(to.got).toHaveLength(1);
  await tick(later(60));

  expect(to.got).toHaveLength(2);
  expect(to.got[1].headers["webhook-id"]).toBe(to.got[0].headers["webhook-id"]);
  expect(to.got[1].body).toBe(to.got[0].body);
  expect(isSigned(secret, to.got[1])).toBe(true);
  expect((await deliveries())[0]).toMatchObject({ state: "sent", attempts: 2 });
});

test("ten thousand at once are drained in bounded requests", async () => {
  // As in a quiet project: whatever is planned is planned for tables that were empty.
  await rows("analyze ops.notifications, ops.notification_deliveries, ops.notification_endpoints");
  const [standard, slack] = [await receiver(), await receiver()];
  await add(standard.url);
  await add(slack.url, { format: "slack" });
  await rows(
    "select count(ops.notify(1, 'sla.breach', i::text, 'Breach ' || i, as_of => $1)) from generate_series(1, 10000) as i",
    [
      START,
    ],
  );

  const left = "select from ops.notification_deliveries where state = 'pending' limit 1";
  // One tick where the machine has nothing else to do.
  for (let minute = 0; minute < 10 && (await rows(left)).length > 0; minute++) await tick(later(60 * minute));

  expect(standard.got).toHaveLength(100);
  expect(slack.got).toHaveLength(10);
  expect(standard.got.reduce((sum, { json }) => sum + json.data.notifications.length, 0)).toBe(10_000);
  expect(await rows("select distinct state from ops.notification_deliveries")).toEqual([{ state: "sent" }]);
}, 120_000);

test("by cron, with nobody connected, news arrives", async () => {
  const to = await receiver();
  await add(to.url);
  await rows("select ops.notify(1, 'sla.breach', 'k', 'By itself')");
  await rows("select cron.schedule('ops-deliver-notifications', '1 seconds', 'call ops.deliver_notifications()')");

  await worker.until("select 1", () => to.got.length > 0);

  await rows("select cron.unschedule('ops-deliver-notifications')");
  expect(to.got[0].json.data.title).toBe("By itself");
  expect(Math.abs(Number(to.got[0].headers["webhook-timestamp"]) - Date.now() / 1000)).toBeLessThan(60);
});

test("a URL's path and a signing secret are in no table, view, log or error; only Vault can give them back", async () => {
  const secrets = [CANARY];
  // Those that make a tick wait have no words that could give anything away.
  const quick = Object.entries(FAULTS).filter(([, { says }]) => !says.source.includes("seconds"));
  for (const [, { answer }] of quick) {
    secrets.push((await add((await receiver(answer)).url)).secret);
  }
  const { id, secret } = await add((await receiver()).url);
  secrets.push(secret);
  await add(`http://127.0.0.1:${await freePort()}/${CANARY}`);
  await add(`http://nowhere.invalid/${CANARY}`);
  await notify("k", "critical");
  await tick(START);
  await rows("select ops.test_notification(1, $1, $2)", [id, START]);
  await tick(later(60));
  await rows("select api.set_notification_endpoint_state(1, $1, 'paused')", [id]);
  await rows("select api.remove_notification_endpoint(1, $1)", [id]);
  const refused = await pool.query(
    "select ops.add_notification_endpoint(1, 'x', $1, 'slack')",
    [`https://127.0.0.1/${CANARY}#`],
  ).catch((error: Error) => JSON.stringify([error, error.message, error.stack]));

  const tables = await rows<{ name: string }>(
    `select oid::regclass::text as name from pg_class where relkind in ('r', 'v', 'm')
      and relnamespace::regnamespace::text in ('access', 'audit', 'ops', 'sync', 'api', 'analytics', 'cron', 'vault')
      and oid::regclass::text <> 'vault.decrypted_secrets'`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const text = JSON.stringify(await rows(`select to_jsonb(kept) as row from ${name} as kept`));
    for (const secret of secrets) if (text.includes(secret.replace("whsec_", ""))) found.push(name);
  }
  const [{ folder }] = await worker.run<{ folder: string }>(
    "select current_setting('data_directory') as folder",
    [],
    "supabase_admin",
  );
  const log = await readFile(join(folder, "..", "postgres.log"), "utf8");

  expect(tables.length).toBeGreaterThan(20);
  expect(found).toEqual([]);
  expect(refused).toEqual(expect.stringMatching(/URL of the endpoint/));
  for (const secret of secrets) {
    expect(log).not.toContain(secret);
    expect(worker.log.join("\n")).not.toContain(secret);
    expect(refused).not.toContain(secret);
  }
});
