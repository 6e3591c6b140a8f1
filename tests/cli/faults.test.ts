// Everything that goes wrong on the way to Chatwoot and to the database, for every command: one sentence, a next step,
// an exit code, and nothing written.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { timingSafeEqual } from "node:crypto";
import { createServer, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createSocketServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { privateNote } from "../../cli/connect.ts";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { receiveProposal, sha256 } from "../../supabase/functions/gold-replies/handler.ts";
import { useDatabase } from "../support/database.ts";
import { occ, printed, type Ran } from "./occ.support.ts";
import { SELF_SIGNED } from "./self-signed.ts";

const database = useDatabase();
const chatwootDatabase = useDatabase();
const oldDatabase = useDatabase();
const SECRET_KEY = "sb_secret_CANARYkeyCANARYkey";
const AGENT_TOKEN = "CANARYagentTokenCANARY00";
const WRONG_TOKEN = "CANARYwrongTokenCANARY00";

let chatwoot: Chatwoot;
let folder: string;
let client: Client;
let admin: Client;
let closed: number;
const servers: Server[] = [];
// The gold-reply function as it is, with a token that nobody knows; or what stands in its place.
const takesGold = (tokens: string[] | null) => async (method: string): Promise<Response> =>
  receiveProposal(new Request("http://127.0.0.1/functions/v1/gold-replies", { method }), {
    tokens: tokens === null ? null : await Promise.all(tokens.map(sha256)),
    bodyMilliseconds: 1_000,
    discardMilliseconds: 1_000,
    record: () => Promise.reject(new Error("Nothing is to be stored.")),
    log: () => {},
    timingSafeEqual: (one, other) => timingSafeEqual(new Uint8Array(one), new Uint8Array(other)),
  });
const GOLD = takesGold(["CANARYtokenOfTheGoldReplyDoor"]);
let gold: (method: string) => Promise<Response> | Response = GOLD;

async function answerGold(method: string, response: ServerResponse): Promise<void> {
  const { status, headers, text } = await Promise.resolve(gold(method)).then(async (answer) => ({
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    text: await answer.text(),
  }));
  response.writeHead(status, headers).end(text);
}

const at = { api: "", selfSigned: "", silent: 0, html: "" };

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-faults-"));
  chatwoot = await startChatwoot({ url: chatwootDatabase.adminUrl });
  const shop = new Client({ connectionString: chatwootDatabase.adminUrl });
  await shop.connect();
  await shop.query(
    `insert into access_tokens (owner_type, owner_id, token, created_at, updated_at) values ('User', 7, $1, now(), now())`,
    [AGENT_TOKEN],
  ).finally(() => shop.end());
  client = await database.connect();
  admin = await database.connect("supabase_admin");
  // Functions that are there and trust nobody, and a Data API that is empty.
  const api = await listen(createServer((request, response) => {
    request.resume();
    if (request.url === "/functions/v1/gold-replies") return void answerGold(request.method ?? "", response);
    const isFunction = request.url?.startsWith("/functions/v1/chatwoot-webhook") === true;
    response.writeHead(isFunction ? request.method === "GET" ? 405 : 401 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(isFunction ? { code: request.method === "GET" ? "OC405" : "OC401" } : []));
  }));
  const html = await listen(createServer((_request, response) => {
    response.writeHead(404, { "content-type": "text/html" }).end("<!doctype html><title>Nothing here</title>");
  }));
  const selfSigned = await listen(createTlsServer(SELF_SIGNED, (_request, response) => response.end("{}")));
  Object.assign(at, {
    api: `http://127.0.0.1:${api}`,
    html: `http://127.0.0.1:${html}`,
    selfSigned: `https://127.0.0.1:${selfSigned}`,
    silent: await listen(createSocketServer((socket) => socket.on("error", () => {}))),
  });
  const gone = createSocketServer();
  closed = await listen(gone);
  await new Promise((done) => gone.close(done));
});

afterEach(async () => {
  gold = GOLD;
  chatwoot.turnFaults({ rate: 0, location: "/app/login" });
  chatwoot.requests.length = 0;
  await client.query("delete from sync.sources where true");
  await client.query("delete from vault.secrets where true");
});

afterAll(async () => {
  for (const server of servers) {
    if ("closeAllConnections" in server) (server as ReturnType<typeof createServer>).closeAllConnections();
    server.close();
  }
  await chatwoot?.stop();
  await rm(folder, { recursive: true, force: true });
});

const environment = (changes: Record<string, string | undefined> = {}) => ({
  OCC_DB_URL: database.url,
  OCC_API_URL: at.api,
  OCC_SECRET_KEY: SECRET_KEY,
  OCC_FUNCTION_SECRETS_FILE: join(folder, "functions.env"),
  ...changes,
});

/** One sentence, one next step, no stack trace, and not silence. */
function expectOneProblem({ exit, error, all }: Ran, expected: { exit: number; says: RegExp }): void {
  expect(error, all).toMatch(expected.says);
  expect([exit, all], all).toEqual([expected.exit, expect.not.stringMatching(/\n {4}at |\[object |undefined|NaN/)]);
  expect(error.trim().split("\n").filter((line) => line.startsWith("→")), all).toHaveLength(1);
}

async function expectNothingWritten(): Promise<void> {
  const { rows } = await client.query(
    "select (select count(*) from sync.sources) as sources, (select count(*) from vault.secrets) as secrets",
  );
  expect(rows).toEqual([{ sources: "0", secrets: "0" }]);
  expect(chatwoot.requests.filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
  expect(await readdir(folder)).toEqual([]);
}

// No clock runs here; one that has just run is not waited for.
async function runCron(): Promise<void> {
  await admin.query(
    `insert into cron.job_run_details (jobid, runid, status, start_time, end_time)
    select jobid, (select coalesce(max(runid), 0) + 1 from cron.job_run_details), 'succeeded', now(), now()
    from cron.job limit 1`,
  );
}

interface ChatwootFault {
  name: string;
  says: RegExp;
  exit: number;
  /** What doctor and smoke say, where the account is connected already. */
  later?: RegExp;
  url?: () => string;
  token?: string;
  account?: string;
  break?: () => void;
  /** Cannot come to pass once connected: the address is checked as it is kept. */
  onlyConnect?: boolean;
}

const spoil = (kind: Parameters<Chatwoot["turnFaults"]>[0]["kinds"], location?: string) => () =>
  chatwoot.turnFaults({ rate: 1, kinds: kind, ...(location === undefined ? {} : { location }) });

const CHATWOOT_FAULTS: ChatwootFault[] = [
  { name: "a wrong token", token: WRONG_TOKEN, exit: 4, says: /does not know this access token \(401\)/ },
  {
    name: "an agent's token",
    token: AGENT_TOKEN,
    exit: 4,
    says: /Ravi Shah's, agent in account 1, and may not: register the webhook/,
    later: /lacks the permission|agent of account 1/,
  },
  {
    name: "no token at all",
    token: "",
    exit: 2,
    says: /no access token to work with/,
    onlyConnect: true,
  },
  { name: "half a token", token: "abc", exit: 4, says: /no Chatwoot access token/, onlyConnect: true },
  {
    name: "another account",
    account: "77",
    exit: 4,
    says: /does not belong to account 77 but to 1/,
    onlyConnect: true,
  },
  {
    name: "an account that is no number",
    account: "acme",
    exit: 2,
    says: /"acme" is no Chatwoot account/,
    onlyConnect: true,
  },
  {
    name: "an address with a path",
    url: () => `${chatwoot.url}/app/accounts/1/dashboard`,
    exit: 2,
    says: /goes on after the host[\s\S]*→ Give only http:\/\/127/,
    onlyConnect: true,
  },
  { name: "an address that is none", url: () => "chat.example.com", exit: 2, says: /is no URL/, onlyConnect: true },
  {
    name: "an address with a password",
    url: () => "https://me:CANARYpassword@chat.example.com",
    exit: 2,
    says: /holds a user name or password/,
    onlyConnect: true,
  },
  {
    name: "http over the internet",
    url: () => "http://chat.example.com",
    exit: 2,
    says: /token could be read/,
    onlyConnect: true,
  },
  { name: "a redirect", break: spoil(["redirect"]), exit: 3, says: /redirects, and a redirect would take the token/ },
  {
    name: "a redirect elsewhere",
    break: spoil(["redirect"], "https://chat.example.com/login?token=CANARYlocation"),
    exit: 3,
    says:
      /redirects to https:\/\/chat\.example\.com, [\s\S]*→ Give the address it leads to: https:\/\/chat\.example\.com/,
  },
  {
    name: "a certificate nobody trusts",
    url: () => at.selfSigned,
    exit: 3,
    says: /TLS certificate of 127\.0\.0\.1:\d+ is not valid/,
  },
  {
    name: "no TLS where it is expected",
    url: () => chatwoot.url.replace("http:", "https:"),
    exit: 3,
    says: /speaks no TLS/,
  },
  {
    name: "a name that does not exist",
    url: () => "https://chatwoot.invalid",
    exit: 3,
    says: /chatwoot\.invalid (does not exist|could not be looked up)/,
  },
  {
    name: "no network",
    url: () => "https://[100::1]",
    exit: 3,
    says: /no way from this machine|did not answer within|broke off|listens/,
  },
  { name: "nothing that listens", url: () => `http://127.0.0.1:${closed}`, exit: 3, says: /Nothing listens at 127/ },
  { name: "no answer in time", break: spoil(["timeout"]), exit: 3, says: /did not answer within/ },
  { name: "a web page", break: spoil(["html"]), exit: 3, says: /web page \(200\) and not with JSON/ },
  { name: "another server's page", url: () => at.html, exit: 3, says: /web page \(404\)/ },
  { name: "an error of Chatwoot's own", break: spoil(["500"]), exit: 3, says: /error of its own \(500\)/ },
  { name: "too many requests", break: spoil(["429"]), exit: 3, says: /refuses more requests/ },
  { name: "half an answer", break: spoil(["truncated"]), exit: 3, says: /did not answer as Chatwoot does/ },
  { name: "another shape", break: spoil(["wrong_shape"]), exit: 3, says: /did not answer as Chatwoot does/ },
  { name: "a connection that breaks", break: spoil(["disconnect"]), exit: 3, says: /broke off/ },
];

describe("Chatwoot", () => {
  test.each(CHATWOOT_FAULTS)("connect with $name", async (fault) => {
    fault.break?.();

    const ran = await occ(["connect"], {
      env: environment({
        OCC_CHATWOOT_URL: fault.url?.() ?? chatwoot.url,
        OCC_CHATWOOT_ACCOUNT: fault.account ?? "1",
        OCC_CHATWOOT_TOKEN: fault.token ?? chatwoot.token,
      }),
      timeoutMilliseconds: 1000,
    });

    expectOneProblem(ran, fault);
    await expectNothingWritten();
  });

  // What was right once and is not any more.
  async function connected(fault: ChatwootFault): Promise<void> {
    await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    await client.query("select api.set_rest_source(1, $1)", [fault.url?.() ?? chatwoot.url]);
    await client.query("select api.set_sync_token(1, $1)", [fault.token ?? chatwoot.token]);
    await runCron();
    fault.break?.();
  }

  test.each(CHATWOOT_FAULTS.filter(({ onlyConnect }) => !onlyConnect))("doctor with $name", async (fault) => {
    await connected(fault);

    const { exit, json } = await occ(["doctor", "--json"], { env: environment(), timeoutMilliseconds: 1000 });

    const lines = json().lines as { name: string; state: string; message: string; next: string }[];
    const line = lines.find(({ name }) => name === "account_1_chatwoot");
    expect([exit, line?.state, `${line?.message}\n→ ${line?.next}`]).toEqual([
      1,
      "fail",
      expect.stringMatching(fault.later ?? fault.says),
    ]);
  });

  test.each(CHATWOOT_FAULTS.filter(({ onlyConnect }) => !onlyConnect))("smoke with $name", async (fault) => {
    await connected(fault);
    const evidence = join(folder, "evidence");

    const { exit, json } = await occ(["smoke", "--json", "--account", "1", "--evidence", evidence], {
      env: environment(),
      timeoutMilliseconds: 1000,
    });

    const steps = json().steps as { name: string; state: string; message: string; next: string }[];
    const step = steps.find(({ name }) => name === "chatwoot");
    expect([exit, step?.state, `${step?.message}\n→ ${step?.next}`]).toEqual([
      1,
      "fail",
      expect.stringMatching(fault.later ?? fault.says),
    ]);
    expect(await readdir(evidence)).toHaveLength(2);
    await rm(evidence, { recursive: true });
  });
});

const COMMANDS = [
  ["connect", "--chatwoot-url", "http://127.0.0.1:1", "--account", "1"],
  ["doctor"],
  ["smoke"],
  ["replay", "--account", "1"],
  ["verify-sync", "--account", "1"],
  ["sync", "backfill", "--account", "1"],
  ["chatwoot-env"],
];

interface DatabaseFault {
  name: string;
  url: () => string;
  exit: number;
  says: RegExp;
}

const changed = (change: (url: URL) => void) => () => {
  const url = new URL(database.url);
  change(url);
  return url.href;
};

const DATABASE_FAULTS: DatabaseFault[] = [
  { name: "a URL that is none", url: () => "db.example.com", exit: 2, says: /does not begin with postgresql/ },
  {
    name: "the placeholder as password",
    url: () => "postgresql://postgres:[YOUR-PASSWORD]@db.example.com:5432/postgres",
    exit: 2,
    says: /placeholder/,
  },
  {
    name: "nothing that listens",
    url: changed((url) => url.port = String(closed)),
    exit: 3,
    says: /No database listens/,
  },
  {
    name: "a name that does not exist",
    url: () => "postgresql://postgres:CANARYpassword@db.invalid/postgres?sslmode=require",
    exit: 3,
    says: /(does not exist|could not be looked up)/,
  },
  {
    name: "a wrong password",
    url: changed((url) => url.password = "CANARYpassword"),
    exit: 4,
    says: /refuses the password of postgres/,
  },
  {
    name: "another database's name",
    url: changed((url) => url.pathname = "/nowhere"),
    exit: 3,
    says: /no such database/,
  },
  { name: "no TLS", url: changed((url) => url.search = "?sslmode=require"), exit: 3, says: /offers no TLS/ },
  { name: "no answer", url: changed((url) => url.port = String(at.silent)), exit: 3, says: /did not answer in time/ },
  {
    name: "a web server",
    url: changed((url) => url.port = new URL(at.html).port),
    exit: 3,
    says: /hung up|speaks|broke off/,
  },
];

describe("the database", () => {
  const table = DATABASE_FAULTS.flatMap((fault) => COMMANDS.map((args) => ({ ...fault, args, command: args[0] })));

  test.each(table)("$command with $name", async ({ args, url, exit, says }) => {
    // connect asks Chatwoot first, which has to be there.
    const shown = args.map((argument) => argument === "http://127.0.0.1:1" ? chatwoot.url : argument);

    const ran = await occ(shown, {
      env: environment({ OCC_DB_URL: url(), OCC_CHATWOOT_TOKEN: chatwoot.token }),
      timeoutMilliseconds: 1000,
    });

    expectOneProblem(ran, { exit, says });
    await expectNothingWritten();
  });

  test.each(COMMANDS.map((args) => ({ command: args.join(" "), args })))(
    "$command without a stack that runs",
    async ({ args }) => {
      const ran = await occ(args, {
        env: { OCC_HOME: folder, OCC_API_PORT: String(closed), OCC_CHATWOOT_TOKEN: WRONG_TOKEN },
      });

      expectOneProblem(ran, {
        exit: 3,
        says: /No stack answers on port \d+ of this machine\.\n→ Start it with npm start/,
      });
      expect(await readdir(folder)).toEqual([]);
    },
  );
});

describe("other versions of Chatwoot", () => {
  const WEBHOOK = "http://127.0.0.1:1/functions/v1/chatwoot-webhook";

  test("one that does not sign is told of, with what to do, before anything is written", async () => {
    const old = await startChatwoot({ url: oldDatabase.adminUrl, version: "4.10.1" });
    try {
      const ran = await occ(["connect", "--chatwoot-url", old.url, "--account", "1"], {
        env: environment({ OCC_CHATWOOT_TOKEN: old.token }),
      });

      expectOneProblem(ran, {
        exit: 1,
        says: /4\.10\.1 does not sign webhooks; 4\.11\.2 is the first[\s\S]*CHATWOOT_WEBHOOK_URL_SECRETS/,
      });
      expect(old.requests.filter(({ method }) => method === "POST")).toEqual([]);
    } finally {
      await old.stop();
    }
  });

  test.each([
    { version: "4.13.2", says: null },
    { version: "4.14.0", says: /upgrade Chatwoot to 4\.14\.1 and set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true/ },
    { version: "4.16.2", says: /: set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in Chatwoot's environment/ },
  ])("$version and an address of a private network", ({ version, says }) => {
    const note = privateNote({ version }, WEBHOOK);

    if (says === null) expect(note).toBeNull();
    else expect(note).toMatch(says);
    expect(privateNote({ version }, "https://abcdefghijklmnopqrst.supabase.co/functions/v1/chatwoot-webhook"))
      .toBeNull();
  });

  test.each([
    { version: "4.13.2", answered: "called" },
    { version: "4.16.2", answered: "not called" },
  ])("$version: the local one is $answered at a private address", async ({ version, answered }) => {
    let calls = 0;
    const port = await listen(createServer((request, response) => {
      calls++;
      request.resume();
      response.writeHead(401).end();
    }));
    const strict = await startChatwoot({ url: oldDatabase.adminUrl, version, allowPrivateNetwork: false });
    try {
      await strict.createWebhook({ url: `http://127.0.0.1:${port}/${version}`, subscriptions: ["contact_created"] });

      await strict.perform(new Date(), (shop, now) => shop.newContact(now, { name: "Dana" }));
      await strict.drain();

      expect([calls > 0 ? "called" : "not called", strict.webhooks.refused > 0]).toEqual([answered, true]);
    } finally {
      await strict.stop();
    }
  });
});

describe("the project's API", () => {
  const FAULTS = [
    { name: "nothing that listens", api: () => `http://127.0.0.1:${closed}`, says: /Nothing listens/ },
    {
      name: "a name that does not exist",
      api: () => "https://api.invalid",
      says: /does not exist|could not be looked up/,
    },
    { name: "a certificate nobody trusts", api: () => at.selfSigned, says: /TLS certificate/ },
    { name: "no TLS", api: () => at.api.replace("http:", "https:"), says: /speaks no TLS/ },
    { name: "no answer", api: () => `http://127.0.0.1:${at.silent}`, says: /did not answer within/ },
    { name: "a web page", api: () => at.html, says: /not deployed|is not this project's|is no Data API/ },
  ];
  const table = FAULTS.flatMap((fault) => ["doctor", "smoke"].map((command) => ({ ...fault, command })));

  test.each(table)("$command with $name", async ({ command, api, says }) => {
    await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    await client.query("select api.set_rest_source(1, $1)", [chatwoot.url]);
    const evidence = join(folder, "evidence");

    const { exit, json } = await occ(
      [command, "--account", "1", "--json", ...(command === "smoke" ? ["--evidence", evidence] : [])],
      { env: environment({ OCC_API_URL: api() }), timeoutMilliseconds: 1000 },
    );

    const { lines, steps } = json() as Record<string, { name: string; state: string; message: string; next: string }[]>;
    const step = (lines ?? steps).find(({ name }) => name === "function");
    expect([exit, step]).toEqual([
      1,
      expect.objectContaining({
        state: "fail",
        message: expect.stringMatching(says),
        next: expect.stringMatching(/\w/),
      }),
    ]);
    await rm(evidence, { recursive: true, force: true });
  });
});

describe("the gold-reply function", () => {
  const platform = (status: number, code: string) => () => Response.json({ code, message: "…" }, { status });
  const FAULTS = [
    { name: "not deployed", gold: platform(404, "NOT_FOUND"), says: /not deployed\n.*functions deploy gold-replies/ },
    {
      name: "behind a Supabase key",
      gold: platform(401, "UNAUTHORIZED_NO_AUTH_HEADER"),
      says: /verify_jwt is on\)\n.*supabase\/config\.toml: npx supabase functions deploy gold-replies/,
    },
    {
      name: "without a token",
      state: "warn",
      gold: takesGold(null),
      says: /GOLD_REPLIES_TOKEN is not set.*\n.*GOLD_REPLIES_TOKEN=<a token of your own> .*\.env\.example/,
    },
    {
      name: "not able to start",
      gold: platform(503, "BOOT_ERROR"),
      says: /does not start: most likely GOLD_REPLIES_TOKEN is malformed\n.*GOLD_REPLIES_TOKEN=<a token of your own>/,
    },
    { name: "another program", gold: () => Response.json({}), says: /\(200\).* not this project's\b.*\n.*OCC_API_URL/ },
  ];
  const table = FAULTS.flatMap((fault) => ["doctor", "smoke"].map((command) => ({ ...fault, command })));

  async function looked(command: string) {
    await runCron();
    const evidence = join(folder, "evidence");
    const { json } = await occ(
      [command, "--account", "1", "--json", ...(command === "smoke" ? ["--evidence", evidence] : [])],
      { env: environment(), timeoutMilliseconds: 1000 },
    );
    await rm(evidence, { recursive: true, force: true });
    const { lines, steps } = json() as Record<string, { name: string; state: string; message: string; next: string }[]>;
    return (lines ?? steps).filter(({ state }) => state !== "ok");
  }

  test.each(table)("$name is one more line in $command, red where something is broken", async (fault) => {
    await client.query("select api.set_rest_source(1, 'https://chat.example.com')");
    const before = (await looked(fault.command)).map(({ name }) => name);
    gold = fault.gold;

    const after = await looked(fault.command);

    const more = after.filter(({ name }) => !before.includes(name));
    expect(more.map(({ name, state, message, next }) => [name, state, `${message}\n→ ${next}`])).toEqual([
      ["gold_replies", fault.state ?? "fail", expect.stringMatching(fault.says)],
    ]);
  });
});

test.each([["doctor"], ["smoke", "--evidence", "evidence"], ["replay"], ["verify-sync"], ["sync", "backfill"]])(
  "%s %s of an account that is not here",
  async (...args) => {
    const words = args.filter((word) => word !== undefined);
    const ran = await occ([...words, "--account", "77"], { env: environment(), calledFrom: folder });

    expect([ran.exit, ran.all], ran.all).toEqual([
      1,
      expect.stringMatching(/→ .*occ connect --account 77/),
    ]);
    await rm(join(folder, "evidence"), { recursive: true, force: true });
  },
);

describe("a token that is typed in", () => {
  const connect = ["connect", "--account", "1", "--chatwoot-url"];

  test("is taken, and not shown", async () => {
    const ran = await occ([...connect, chatwoot.url], { env: environment(), typed: `${WRONG_TOKEN}X\x7f\r` });

    expect(ran.all).toContain("The access token (not shown): \n");
    expectOneProblem(ran, { exit: 4, says: /does not know this access token/ });
  });

  test("is not waited for after Ctrl-C", async () => {
    const ran = await occ([...connect, chatwoot.url], { env: environment(), typed: "abc\x03" });

    expect([ran.exit, ran.error], ran.all).toEqual([130, expect.stringContaining("Stopped by Ctrl-C")]);
  });
});

test("Ctrl-C ends waiting for standard input", async () => {
  const keyboard = new AbortController();
  setTimeout(() => keyboard.abort(), 50);

  const ran = await occ(["webhook", "sign", "--secret-stdin", "--file", "/dev/null"], {
    signal: keyboard.signal,
    typed: "",
  });

  expect([ran.exit, ran.error], ran.all).toEqual([130, expect.stringContaining("Stopped by Ctrl-C")]);
});

test("what a server says cannot steer the terminal", async () => {
  const answers: Record<string, unknown> = {
    "/api": { version: "4.16.2" },
    "/api/v1/profile": { id: 1, name: "\x1b[2JEve\u202e\x07\x9b31m", accounts: [{ id: 2, name: "\x1b]0;x\x07" }] },
  };
  const port = await listen(createServer((request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(answers[request.url ?? ""] ?? {}));
  }));

  const ran = await occ(["connect", "--chatwoot-url", `http://127.0.0.1:${port}`, "--account", "1"], {
    env: environment({ OCC_CHATWOOT_TOKEN: WRONG_TOKEN }),
  });

  expectOneProblem(ran, { exit: 4, says: /The token is .*Eve.*, who does not belong to account 1 but to 2/ });
  expect(ran.all).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
});

test("a secret behind a mistyped option is not repeated", async () => {
  const ran = await occ(["connect", "--tokn=CANARYtypedToken"], { env: environment() });

  expectOneProblem(ran, { exit: 2, says: /Unknown option '--tokn'/ });
});

test("a trailing slash is the same address", async () => {
  const ran = await occ(["connect", "--chatwoot-url", `${chatwoot.url}/`, "--account", "1"], {
    env: environment({ OCC_CHATWOOT_TOKEN: AGENT_TOKEN }),
  });

  expect(ran.out).toContain(`answers at ${chatwoot.url} in`);
});

test.each([
  {
    name: "the API's address with a path",
    env: { OCC_API_URL: "https://x.supabase.co/rest/v1" },
    says: /goes on after the host/,
  },
  { name: "no API address", env: { OCC_API_URL: undefined }, says: /needs the project's API address/ },
  { name: "no secret key", env: { OCC_SECRET_KEY: undefined }, says: /needs the project's secret key/ },
  { name: "no database", env: { OCC_DB_URL: undefined }, says: /not its database/ },
  { name: "an unknown option", args: ["--fast"], env: {}, says: /Unknown option '--fast'/ },
  { name: "--write without a conversation", args: ["--write"], env: {}, says: /needs a conversation/ },
])("smoke with $name is wrong usage", async ({ env, args = [], says }) => {
  expectOneProblem(await occ(["smoke", ...args], { env: environment(env) }), { exit: 2, says });
});

test("no token, key or password was printed", () => {
  const everything = printed.join("\n");

  expect(everything.length).toBeGreaterThan(10_000);
  expect(everything).not.toContain("CANARY");
  expect(everything).not.toContain(chatwoot.token);
});
