// occ webhook: signs as Chatwoot does, says why a signature does not match, and sends a sample of everything.
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sign } from "../../cli/shared/signature.ts";
import { EVENTS } from "../../local/chatwoot/rest-webhooks.ts";
import { occ, printed } from "./occ.support.ts";

// Computed with Chatwoot's own libraries.
const VECTOR = {
  secret: "Zk3vQ9mXy7RtB2nHc8LpWd4J",
  timestamp: "1795165201",
  body:
    '{"account":{"id":1,"name":"Acme \\u0026 Co"},"content":"2 \\u003c 3 – ça marche 👍","created_at":"2026-11-20T09:00:00.412Z","id":9001,"updated_at":1795165200.0,"event":"message_created"}',
  signature: "sha256=c5cec6a63e48e71e640e3076c65ecb9dd7ada595b67c8d9862e40a9f579eca41",
};
const OTHER = "CANARYotherSecretCANARY0";
const NOW = new Date(1795165203_000);

let folder: string;
let server: Server;
let url: string;
let answer = { status: 200, body: '{"outcome":"applied"}', headers: {} as Record<string, string> };
const received: { headers: Record<string, unknown>; body: Buffer }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-webhook-"));
  server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    received.push({ headers: request.headers, body: Buffer.concat(parts) });
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers }).end(answer.body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

const env = { OCC_WEBHOOK_SECRET: VECTOR.secret, OCC_HOME: "/nonexistent" };

test("signs as Chatwoot does", async () => {
  const ran = await occ(["webhook", "sign", "--timestamp", VECTOR.timestamp], { env, input: VECTOR.body });

  expect([ran.exit, ran.out]).toEqual([
    0,
    `Content-Type: application/json\nX-Chatwoot-Timestamp: ${VECTOR.timestamp}\nX-Chatwoot-Signature: ${VECTOR.signature}\n`,
  ]);
});

test("what it signs, it verifies", async () => {
  const body = '{"event":"message_created"}';
  const signed = await occ(["webhook", "sign"], { env, input: body });
  await writeFile(join(folder, "body.json"), body);
  await writeFile(join(folder, "headers.txt"), signed.out);

  const ran = await occ(["webhook", "verify", "--file", "body.json", "--headers", "headers.txt"], {
    env,
    calledFrom: folder,
  });

  expect([ran.exit, ran.out]).toEqual([0, "✔ The signature is right, made with the secret.\n"]);
});

describe("says why a signature does not match", () => {
  const { body, signature, timestamp, secret } = VECTOR;
  const seconds = Number(timestamp);
  const made = (content: string, key = secret) => sign(Buffer.from(content), { secret: key, timestamp: seconds });
  const bodyOnly = "sha256=63dc69a442ae6d4874066abfb747f7438edc918bc962934c5ec871b1a1151731";

  const CASES: {
    name: string;
    reason: string;
    body?: string | Uint8Array;
    signature?: string;
    timestamp?: string;
    secrets?: string[];
    now?: Date;
  }[] = [
    { name: "nothing is wrong", reason: "valid" },
    { name: "the body alone was hashed", reason: "body_only", signature: bodyOnly },
    { name: "a line break was added", reason: "trailing_newline", body: `${body}\n` },
    { name: "a Windows line break was added", reason: "trailing_newline", body: `${body}\r\n` },
    { name: "a line break was cut off", reason: "trailing_newline", signature: made(`${body}\n`) },
    { name: "JSON.stringify wrote it anew", reason: "reserialised", body: JSON.stringify(JSON.parse(body)) },
    {
      name: "it was written anew with indentation",
      reason: "reserialised",
      signature: made(JSON.stringify(JSON.parse(body), null, 2)),
    },
    {
      name: "Python wrote it anew before it was signed",
      reason: "reserialised",
      body: '{"b":[1,{"c":"ä"}],"a":true}',
      signature: made('{"b": [1, {"c": "\\u00e4"}], "a": true}'),
    },
    { name: "its encoding was changed", reason: "re_encoded", body: Buffer.from(Buffer.from(body).toString("latin1")) },
    { name: "it begins with a byte order mark", reason: "re_encoded", body: `\uFEFF${body}` },
    { name: "it is old", reason: "wrong_clock", now: new Date((seconds + 301) * 1000) },
    { name: "a clock is ahead", reason: "wrong_clock", now: new Date((seconds - 301) * 1000) },
    { name: "it is just new enough", reason: "valid", now: new Date((seconds + 300) * 1000) },
    { name: "the second secret signed it", reason: "wrong_secret", secrets: [OTHER, secret] },
    { name: "the first of two signed it", reason: "valid", secrets: [secret, OTHER] },
    { name: "the secret has a line break", reason: "secret_padded", secrets: [`${secret}\n`] },
    {
      name: "the secret was taken as base64",
      reason: "secret_decoded",
      signature: signedWith(Buffer.from(secret, "base64")),
    },
    {
      name: "the timestamp is in milliseconds",
      reason: "malformed_timestamp",
      timestamp: `${seconds}000`,
      signature: sign(Buffer.from(body), { secret, timestamp: seconds * 1000 }),
    },
    { name: "there is no timestamp", reason: "malformed_timestamp", timestamp: "" },
    {
      name: "it is in base64",
      reason: "malformed_signature",
      signature: Buffer.from(signature.slice(7), "hex").toString("base64"),
    },
    {
      name: "its digits are capitals",
      reason: "malformed_signature",
      signature: `sha256=${signature.slice(7).toUpperCase()}`,
    },
    { name: "its prefix is missing", reason: "malformed_signature", signature: signature.slice(7) },
    { name: "there is none", reason: "malformed_signature", signature: "" },
    { name: "it was sent twice", reason: "malformed_signature", signature: `${signature}, ${signature}` },
    { name: "it is another secret altogether", reason: "unknown", secrets: [OTHER] },
    { name: "the body is another one", reason: "unknown", body: '{"event":"message_updated"}' },
  ];

  // As sign(), with a key that is no text.
  function signedWith(key: Uint8Array): string {
    return `sha256=${createHmac("sha256", key).update(`${timestamp}.${body}`).digest("hex")}`;
  }

  test.each(CASES)("$name: $reason", async (given) => {
    const args = ["webhook", "verify", "--json"];
    args.push("--signature", given.signature ?? signature, "--timestamp", given.timestamp ?? timestamp);
    for (const one of given.secrets ?? []) args.push("--secret", one);
    const now = (given.now ?? NOW).toISOString();

    const ran = await occ([...args, "--now", now], { env, input: given.body ?? body });

    expect(ran.json(), ran.all).toMatchObject({ ok: given.reason === "valid", reason: given.reason });
    expect(ran.exit).toBe(given.reason === "valid" ? 0 : 1);
    expect(ran.all).not.toContain(secret);
  });
});

describe("sends", () => {
  test("a signed sample of every event type", async () => {
    received.length = 0;
    answer = { status: 200, body: '{"outcome":"applied"}', headers: {} };

    const ran = await occ(["webhook", "send", "--to", url], { env });

    expect(ran.exit, ran.all).toBe(0);
    expect(received.map(({ body }) => JSON.parse(body.toString()).event)).toEqual(EVENTS);
    for (const { headers, body } of received) {
      const timestamp = Number(headers["x-chatwoot-timestamp"]);
      expect(headers["x-chatwoot-signature"]).toBe(sign(body, { secret: VECTOR.secret, timestamp }));
      expect(headers["x-chatwoot-delivery"]).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  test("only the events that are named", async () => {
    received.length = 0;

    await occ(["webhook", "send", "--to", url, "--event", "inbox_updated", "--event", "contact_created"], { env });

    expect(received.map(({ body }) => JSON.parse(body.toString()).event)).toEqual(["contact_created", "inbox_updated"]);
  });

  test.each([
    {
      name: "refused",
      given: { status: 401, body: '{"code":"OC401"}', headers: {} },
      says: /does not know this secret/,
    },
    { name: "not found", given: { status: 404, body: "<!doctype html>", headers: {} }, says: /functions deploy/ },
    { name: "redirected", given: { status: 302, body: "", headers: { location: "/CANARY" } }, says: /not accepted/ },
  ])("and says when they are $name", async ({ given: { status, body, headers }, says }) => {
    answer = { status, body, headers: { ...headers as Record<string, string> } };

    const ran = await occ(["webhook", "send", "--to", url, "--event", "message_created"], { env });

    expect([ran.exit, ran.out]).toEqual([1, expect.stringMatching(says)]);
  });

  test.each([
    { name: "a name that does not exist", to: "https://nowhere.invalid/hook", exit: 3, says: /nowhere\.invalid/ },
    { name: "no TLS", to: "https://127.0.0.1:PORT/hook", exit: 3, says: /speaks no TLS/ },
    { name: "no URL", to: "nowhere", exit: 2, says: /is no URL/ },
    {
      name: "a hosted project's own function",
      to: "https://abcdefghijklmnopqrst.supabase.co/functions/v1/chatwoot-webhook",
      exit: 2,
      says: /would stay there/,
    },
  ])("not to $name", async ({ to, exit, says }) => {
    const ran = await occ(["webhook", "send", "--to", to.replace("PORT", new URL(url).port)], {
      env,
      timeoutMilliseconds: 2_000,
    });

    expect([ran.exit, ran.error], ran.all).toEqual([exit, expect.stringMatching(says)]);
  });
});

test.each([
  {
    name: "no secret",
    args: ["sign"],
    env: { OCC_HOME: "/nonexistent", CHATWOOT_WEBHOOK_SECRETS: "{}" },
    says: /no webhook secret/,
  },
  {
    name: "secrets that are no JSON",
    args: ["sign"],
    env: { CHATWOOT_WEBHOOK_SECRETS: "CANARYsecret" },
    exit: 1,
    says: /malformed/,
  },
  { name: "no signature", args: ["verify"], env, says: /no signature to verify/ },
  {
    name: "a file that is not there",
    args: ["sign", "--file", "nowhere.json"],
    env,
    says: /cannot be read \(ENOENT\)/,
  },
  {
    name: "an event that does not exist",
    args: ["send", "--event", "message_deleted"],
    env,
    says: /no event "message_deleted"/,
  },
  {
    name: "body and secret from the same place",
    args: ["sign", "--secret-stdin"],
    env,
    input: OTHER,
    says: /cannot both come/,
  },
])("$args.0 with $name", async ({ args, env: given, exit = 2, input = "{}", says }) => {
  const ran = await occ(["webhook", ...args], { env: given as Record<string, string>, input });

  expect([ran.exit, ran.error], ran.all).toEqual([exit, expect.stringMatching(says)]);
});

test("no secret was printed", () => {
  expect(printed.join("\n")).not.toMatch(/CANARY|Zk3vQ9mXy7RtB2nHc8LpWd4J/);
});
