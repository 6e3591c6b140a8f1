// What the Data API must survive: hostile requests, the real client, functions behind it, and a database that is gone.
import type { IncomingMessage, ServerResponse } from "node:http";
import { connect } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import fc from "fast-check";
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { fromDatabase } from "../../local/api/errors.ts";
import { startApi } from "../../local/api/server.ts";
import { ask, type Asked, KEYS, openShop, type Shop, signToken } from "./data-api.support.ts";

const functions = {
  slugs: { open: { verifyJwt: false }, closed: { verifyJwt: true } },
  forward(slug: string, request: IncomingMessage, response: ServerResponse) {
    response.end(JSON.stringify({ slug, method: request.method, url: request.url }));
    return Promise.resolve();
  },
};

let shop: Shop;
beforeAll(async () => {
  shop = await openShop({ functions });
}, 60_000);
afterAll(() => shop?.stop());

const get = (path: string, asked?: Asked) => ask(shop.api, path, asked);
const SECRETS = [KEYS.secretKey, KEYS.publishableKey, KEYS.jwtSecret, "authenticator:postgres", "/local/api/"];

describe("hostile requests", () => {
  afterEach(async () => {
    // Whatever was tried, the rows are still there and nothing was said that should not be.
    const { rows } = await shop.admin.query("select count(*)::int as customers from shop.customers");
    expect(rows).toEqual([{ customers: 3 }]);
    for (const secret of SECRETS) expect(shop.log.join("\n")).not.toContain(secret);
  });

  const INJECTIONS = [
    "'; drop table shop.customers; --",
    '"; drop table shop.customers; --',
    '") from shop.customers; drop table shop.customers; --',
    "1) or (1=1",
    "$1",
    "\\'; select 1; --",
    "id) union select 1 --",
    "/* */ id",
    '"id\\", (select usename from pg_user limit 1) as \\"x"',
    '"\\" from pg_user; drop table shop.customers; --"',
    "💥'\"\\",
    '{",}',
    "a".repeat(10_000),
    "(".repeat(1000),
    "not.".repeat(1000),
    "__proto__",
    "constructor",
    "hasOwnProperty",
  ];
  const POSITIONS: [string, (text: string) => [string, Asked]][] = [
    ["table", (text) => [text, {}]],
    ["function", (text) => [`rpc/${text}`, { body: {} }]],
    [
      "argument name",
      (text) => ["rpc/add", { body: { a: 1, [JSON.parse(JSON.stringify(decodeURIComponent(text)))]: 1 } }],
    ],
    ["argument", (text) => [`rpc/setting?name=${text}`, {}]],
    ["column in select", (text) => [`customers?select=${text}`, {}]],
    ["alias", (text) => [`customers?select=${text}:id`, {}]],
    ["cast", (text) => [`customers?select=id::${text}`, {}]],
    ["JSON path", (text) => [`customers?select=profile->${text}`, {}]],
    ["embed", (text) => [`customers?select=${text}(id)`, {}]],
    ["embed hint", (text) => [`customers?select=orders!${text}(id)`, {}]],
    ["filtered column", (text) => [`customers?${text}=eq.1`, {}]],
    ["operator", (text) => [`customers?name=${text}.1`, {}]],
    ["modifier", (text) => [`customers?name=fts(${text}).a`, {}]],
    ["value", (text) => [`customers?name=eq.${text}`, {}]],
    ["is", (text) => [`customers?name=is.${text}`, {}]],
    ["list", (text) => [`customers?name=in.(${text})`, {}]],
    ["array", (text) => [`customers?tags=cs.{${text}}`, {}]],
    ["search", (text) => [`customers?notes=wfts.${text}`, {}]],
    ["tree", (text) => [`customers?or=(${text})`, {}]],
    ["value in a tree", (text) => [`customers?or=(name.eq.${text},id.eq.1)`, {}]],
    ["order", (text) => [`customers?order=${text}`, {}]],
    ["limit", (text) => [`customers?limit=${text}`, {}]],
    ["offset", (text) => [`customers?offset=${text}`, {}]],
    ["on_conflict", (text) => [
      `customers?on_conflict=${text}`,
      { body: { id: 1, name: "Ada" }, prefer: "resolution=ignore-duplicates" },
    ]],
    ["columns", (text) => [`customers?columns=${text}`, { body: { id: 9 } }]],
    ["column of a row", (text) => ["customers", { body: { id: 9, [decodeURIComponent(text)]: 1 } }]],
    ["updated column", (text) => ["customers?id=eq.9", { method: "PATCH", body: { [decodeURIComponent(text)]: 1 } }]],
    ["deleted", (text) => [`customers?id=eq.${text}`, { method: "DELETE" }]],
    ["key", (text) => ["customers", { key: headerSafe(text) }]],
    ["token", (text) => ["customers", { token: headerSafe(text) }]],
    ["profile", (text) => ["customers", { headers: { "accept-profile": headerSafe(text) } }]],
    ["prefer", (text) => ["customers", { prefer: headerSafe(text) }]],
    ["accept", (text) => ["customers", { accept: headerSafe(text) }]],
    ["range", (text) => ["customers", { headers: { range: headerSafe(text) } }]],
    ["cookie", (text) => ["customers?id=eq.1", { headers: { cookie: `a=${headerSafe(text)}` } }]],
  ];
  const headerSafe = (text: string) => encodeURIComponent(decodeURIComponent(text)).slice(0, 8000);

  test.each(POSITIONS)("SQL as %s is never run and never a 5xx", async (_name, at) => {
    for (const injection of INJECTIONS) {
      const answer = await get(...at(encodeURIComponent(injection)));

      expect(answer.status, `${injection.slice(0, 60)}: ${answer.text}`).toBeLessThan(500);
      for (const secret of SECRETS) expect(answer.text).not.toContain(secret);
    }
  });

  test.each([
    ["broken percent-encoding", "customers?name=eq.%zz", 400],
    ["half a percent-encoding", "customers?name=eq.%", 400],
    ["percent-encoded bytes that are no UTF-8", "customers?name=eq.%ff%fe", 400],
    ["a NUL in a value", "customers?name=eq.a%00b", 400],
    ["a NUL in a name", "customers?na%00me=eq.a", 400],
    ["a NUL in the table", "custo%00mers", 400],
    ["broken percent-encoding in the table", "%zz", 400],
    ["trees nested too deep", `customers?or=${"(and".repeat(30)}(id.eq.1)${")".repeat(30)}`, 400],
    ["embeds nested too deep", `customers?select=${"orders(customers(".repeat(15)}id${"))".repeat(15)}`, 400],
    ["a path too long", `customers?select=profile${"->a".repeat(50)}`, 400],
    ["too many parameters", `customers?${"id=eq.1&".repeat(1001)}`, 400],
    ["a list of 8,000 numbers", `customers?select=id&id=in.(${Array.from({ length: 8000 }, (_, n) => n)})`, 200],
    ["a URL beyond the limit", `customers?name=eq.${"a".repeat(70_000)}`, 431],
  ])("%s", async (_name, path, status) => {
    expect((await get(path)).status).toBe(status);
  });

  test.each([
    ["no JSON at all", "", "PGRST102"],
    ["half of it", '{"id":', "PGRST102"],
    ["bytes that are no UTF-8", new Uint8Array([0x22, 0xff, 0x22]), "PGRST102"],
    ["a NUL in a string", '{"id":9,"name":"a\\u0000b"}', "22P05"],
    ["a lone surrogate", '{"id":9,"name":"\\ud800"}', "22P02"],
    ["a number beyond int", '{"id":99999999999,"name":"a"}', "22003"],
    ["a number no one can hold", '{"id":9,"name":"a","credit":1e200000}', "22003"],
    ["a key that is a prototype", '{"id":9,"__proto__":{"name":"a"}}', "PGRST204"],
  ])("a body with %s", async (_name, body, code) => {
    expect(await get("customers", { body })).toMatchObject({ status: 400, json: { code } });
  });

  test("bodies are refused by type, by encoding and beyond 10 MiB", async () => {
    const big = new Uint8Array(10 * 1024 * 1024 + 1);
    const typed = await get("customers", { body: "a,b", headers: { "content-type": "text/csv" } });
    const packed = await get("customers", { body: "x", headers: { "content-encoding": "gzip" } });

    expect(typed).toMatchObject({ status: 400, json: { code: "PGRST102" } });
    expect(packed.status).toBe(415);
    expect(await statusOfRaw(`content-length: ${big.length}\r\n\r\n`)).toBe(413);
    expect(await statusOfRaw(`transfer-encoding: chunked\r\n\r\n${chunksOf(11)}`)).toBe(413);
  });

  test("5,000 random queries: no 5xx, nothing changed", async () => {
    const word = fc.oneof(
      fc.constantFrom("id", "name", "profile", "eq", "not", "in", "or", "and", "is", "any", "order", "select", "limit"),
      fc.constantFrom("(", ")", ".", ",", "->", "->>", "::", ":", "!", '"', "{", "}", "*", "&", "=", "null", "1", "'"),
      fc.string({ maxLength: 5, unit: "grapheme" }),
    );
    const query = fc.array(word, { maxLength: 12 }).map((words) => words.map(encodeSome).join(""));
    const prefix = fc.constantFrom("?", "?select=", "?or=(", "?id=", "?order=", "?profile->", "?select=orders(");
    const cases = fc.sample(fc.tuple(prefix, query), { numRuns: 5000, seed: 20261121 });
    for (let at = 0; at < cases.length; at += 50) {
      const answers = await Promise.all(
        cases.slice(at, at + 50).map(([start, rest]) => get(`customers${start}${rest}`)),
      );

      answers.forEach(({ status, text }, index) => {
        expect(status, `${cases[at + index].join("")}: ${text}`).toBeLessThan(500);
      });
    }
  }, 60_000);
});

const encodeSome = (text: string) => /^[&=]$/.test(text) ? text : encodeURIComponent(text);
const chunksOf = (megabytes: number) =>
  `${(1024 * 1024).toString(16)}\r\n${"a".repeat(1024 * 1024)}\r\n`.repeat(megabytes) + "0\r\n\r\n";

/** A POST over a bare socket, which fetch would mend or refuse. */
function statusOfRaw(rest: string): Promise<number> {
  const { hostname, port } = new URL(shop.api.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {}); // The server may close while we still write.
    let text = "";
    socket.on("data", (chunk) => text += chunk);
    socket.on("close", () => {
      const status = /^HTTP\/1.1 (\d+)/.exec(text)?.[1];
      return status === undefined ? reject(new Error("closed without an answer")) : resolve(Number(status));
    });
    socket.write(`POST /rest/v1/customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\napikey: ${KEYS.secretKey}\r\n`);
    socket.write(`content-type: application/json\r\n${rest}`);
  });
}

test("supabase-js under Deno: every call of the subset", async () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const script = fileURLToPath(new URL("data-api.supabase-js.ts", import.meta.url));

  const { all, exitCode } = await execa("deno", [
    "run",
    "--node-modules-dir=manual",
    "--allow-net=127.0.0.1",
    "--allow-env",
    "--allow-read",
    script,
  ], {
    cwd: root,
    preferLocal: true,
    localDir: root,
    all: true,
    reject: false,
    env: { API_URL: shop.api.url, API_KEY: KEYS.secretKey, NO_COLOR: "1" },
  });

  expect(exitCode, all).toBe(0);
}, 60_000);

describe("functions behind the same door", () => {
  const call = async (path: string, headers: Record<string, string> = {}, method = "POST") => {
    const response = await fetch(`${shop.api.url}/functions/v1/${path}`, { method, headers });
    return { status: response.status, text: await response.text() };
  };

  test("the handler sees the path with its slug and without the prefix", async () => {
    const { text } = await call("open/more?a=1");

    expect(JSON.parse(text)).toEqual({ slug: "open", method: "POST", url: "/open/more?a=1" });
  });

  test("verify_jwt lets keys and valid tokens in, and preflights", async () => {
    const token = await signToken({ role: "authenticated" });
    const forged = await signToken({ role: "authenticated" }, "y".repeat(32));
    const statuses = await Promise.all([
      call("closed"),
      call("closed", { authorization: `Bearer ${forged}` }),
      call("closed", { authorization: "Bearer nonsense" }),
      call("closed", { authorization: `Bearer ${token}` }),
      call("closed", { apikey: KEYS.publishableKey }),
      call("closed", {}, "OPTIONS"),
    ]);

    expect(statuses.map(({ status }) => status)).toEqual([401, 401, 401, 200, 200, 200]);
  });

  test.each(["nope", "__proto__", "constructor", "", "open%2f..", "../rest"])("no function %s", async (slug) => {
    expect((await call(slug)).status).toBe(404);
  });

  test("health and unknown paths", async () => {
    const paths = ["/health", "/", "/rest", "/auth/v1/token"];
    const statuses = await Promise.all(paths.map(async (path) => (await fetch(shop.api.url + path)).status));

    expect(statuses).toEqual([200, 404, 404, 404]);
  });
});

describe("what changes under a running API", () => {
  test("a new function is found without being announced, once the last look is half a second old", async () => {
    await shop.admin.query("create function shop.fresh() returns int language sql as 'select 7'");
    await shop.admin.query("grant execute on function shop.fresh to service_role");

    await expect.poll(async () => (await get("rpc/fresh", { body: {} })).json, { timeout: 3000 }).toBe(7);
  });

  test("notify pgrst reloads schema and role settings", async () => {
    await shop.admin.query("alter table shop.events add column extra int");
    await shop.admin.query("alter role anon set statement_timeout = '1234ms'");
    await shop.admin.query("notify pgrst, 'reload schema'");

    const insert = () => get("events?select=extra", { body: { extra: 1 }, prefer: "return=representation" });
    const timeout = () => get("rpc/setting?name=statement_timeout", { key: KEYS.publishableKey });

    await expect.poll(async () => (await insert()).status, { timeout: 3000 }).toBe(201);
    expect((await timeout()).json).toBe("1234ms");
    await shop.admin.query("alter role anon set statement_timeout = '3s'");
  });

  test("a column added to a table that is read with * shows at once", async () => {
    await get("titles", { headers: { "accept-profile": "books" } });
    await shop.admin.query("alter table books.titles add column year int");

    const answer = await get("titles", { headers: { "accept-profile": "books" } });

    expect(answer.json).toEqual([{ id: 1, title: "Emma", year: null }]);
  });
});

describe("a database in trouble", () => {
  test.each(["", "handling=strict, max-affected=1"])(
    "a connection that is cut is 503, and the next request is served (%s)",
    async (prefer) => {
      const cut = get("rpc/hold", { body: { seconds: 3 }, prefer });
      await expect.poll(async () => {
        const { rowCount } = await shop.admin.query(
          // Once it is at it: cut before, it would be asked anew.
          "select pg_terminate_backend(pid) from pg_stat_activity where query like '%hold%' and wait_event = 'PgSleep'",
        );
        return rowCount;
      }, { timeout: 2000 }).toBeGreaterThan(0);

      expect(await cut).toMatchObject({ status: 503 });
      expect((await get("rpc/setting?name=role")).status).toBe(200);
    },
  );

  test("a listener that was cut comes back and hears the next notice", async () => {
    await shop.admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'data-api listener'",
    );
    await expect.poll(() => shop.log, { timeout: 5000 }).toContain("The database is back.");
    await shop.admin.query("alter table shop.events add column late int");
    await shop.admin.query("notify pgrst");

    await expect.poll(async () => (await get("events", { body: { late: 1 } })).status, { timeout: 3000 }).toBe(201);
  });

  test.each([
    ["timeout exceeded when trying to connect", 504, "PGRST003"],
    ["Connection terminated unexpectedly", 503, "PGRST001"],
    ["something with sb_secret_x in it", 500, "PGRSTX00"],
  ])('the driver\'s "%s" is %i %s', (message, status, code) => {
    const { status: seen, code: said, message: told } = fromDatabase(new Error(message), false);

    expect([seen, said]).toEqual([status, code]);
    expect(told).not.toContain("sb_secret_x");
  });

  test("40 slow requests queue for 20 connections and all are answered", async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => get("rpc/hold", { body: { seconds: 0.1 } })),
    );

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  });

  test("no database at the start says so; one that goes away is PGRST000", async () => {
    const nowhere = new URL(shop.authenticatorUrl);
    nowhere.port = "1";
    const options = { port: 0, host: "127.0.0.1", keys: KEYS, schemas: ["shop"], maxRows: 10 };
    await expect(startApi({ ...options, databaseUrl: nowhere.href })).rejects.toThrow(/ECONNREFUSED/);

    const name = `gone_${process.pid}`;
    await shop.admin.query(`create database ${name}`);
    const there = { authenticator: new URL(shop.authenticatorUrl), admin: new URL(shop.adminUrl) };
    for (const url of Object.values(there)) url.pathname = `/${name}`;
    const admin = new pg.Client({ connectionString: there.admin.href });
    await admin.connect();
    await admin.query("create schema shop; create function shop.known() returns int language sql as 'select 1'");
    await admin.end();
    const api = await startApi({ ...options, databaseUrl: there.authenticator.href });
    await shop.admin.query(`drop database ${name} with (force)`);
    const answer = await ask(api, "rpc/known", { body: {} });
    const code = async () => Object(await ask(api, "rpc/unknown", { body: {} }).then(({ json }) => json)).code;
    await expect.poll(code, { timeout: 3000 }).toBe("PGRST002");
    await api.stop();

    expect(answer).toMatchObject({ status: 503, json: { code: "PGRST000" } });
    for (const secret of SECRETS) expect(answer.text).not.toContain(secret);
  });

  test("settings of one request are gone in the next", async () => {
    const token = await signToken({ role: "authenticated", sub: "someone" });
    await Promise.all(Array.from({ length: 30 }, () => get("rpc/setting?name=role", { token })));

    const client = new pg.Client({ connectionString: shop.authenticatorUrl });
    await client.connect();
    const { rows } = await client.query("select current_user as role");
    await client.end();
    const claims = await get("rpc/setting?name=request.jwt.claims");

    expect([rows, claims.json]).toEqual([[{ role: "authenticator" }], '{"role":"service_role"}']);
  });
});
