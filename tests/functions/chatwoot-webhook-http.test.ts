// The door as it is deployed: in Deno, over HTTP, with its own wiring, clock and client.
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  applied,
  CONFIDENTIAL,
  type Door,
  LARGEST_ACCOUNT,
  nowSeconds,
  openDoor,
  OTHER_ACCOUNT_SECRET,
  PREVIOUS_SECRET,
  rawHead,
  SECRET,
  SECRET_KEY,
  sendRaw,
  signed,
  URL_SECRET,
} from "./door.ts";

const LIMIT = 1_048_576;
const BODY =
  '{"account":{"id":1},"content":"2 \\u003c 3 – ça marche 👍","updated_at":1795165200.0,"event":"message_created"}';

let door: Door;
const answers: string[] = [];

beforeAll(async () => {
  door = await openDoor();
}, 60_000);
beforeEach(() => {
  door.calls.length = 0;
  door.answerWith(applied);
});
afterAll(async () => {
  await door.stop();
  // Of every test above: nothing that was answered or logged holds a secret.
  for (const secret of CONFIDENTIAL) expect([...answers, ...door.log].join("\n")).not.toContain(secret);
});

async function post(body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>, path = "") {
  const response = await fetch(`${door.url}${path}`, { method: "POST", body, headers });
  const text = await response.text();
  answers.push(text, JSON.stringify([...response.headers]));
  return { status: response.status, headers: response.headers, answer: JSON.parse(text) };
}

test("a signed webhook becomes one call of api.record_webhook, as the service, with the bytes as they came", async () => {
  const at = nowSeconds();

  const { status, answer } = await post(BODY, { ...signed(BODY, { at }), "x-chatwoot-delivery": "evt-1" });

  expect({ status, answer }).toEqual({ status: 200, answer: { delivery_id: "evt-1", outcome: "applied" } });
  expect(door.calls).toHaveLength(1);
  const [call] = door.calls;
  expect(call.path).toBe("/rest/v1/rpc/record_webhook");
  expect(call.headers["content-profile"]).toBe("api");
  expect(call.headers.apikey).toBe(SECRET_KEY);
  expect(call.arguments).toEqual({
    account_id: "1",
    delivery_id: "evt-1",
    body: `\\x${Buffer.from(BODY).toString("hex")}`,
    headers: {
      "content-type": "application/json",
      "user-agent": "Ruby",
      "x-chatwoot-delivery": "evt-1",
      "x-chatwoot-signature": expect.stringMatching(/^sha256=[0-9a-f]{64}$/),
      "x-chatwoot-timestamp": String(at),
    },
    proof: "signature",
    signed_at: new Date(at * 1000).toISOString(),
  });
});

test.each([
  { name: "the current secret", secret: SECRET, accountId: "1" },
  { name: "the previous secret", secret: PREVIOUS_SECRET, accountId: "1" },
  { name: "an account beyond 2^53", secret: OTHER_ACCOUNT_SECRET, accountId: LARGEST_ACCOUNT },
])("signed with $name", async ({ secret, accountId }) => {
  expect((await post(BODY, signed(BODY, { secret }))).status).toBe(200);
  expect(door.calls[0].arguments.account_id).toBe(accountId);
});

test("an account's own path takes that account's webhooks only", async () => {
  expect((await post(BODY, signed(BODY), "/1")).status).toBe(200);
  expect((await post(BODY, signed(BODY), `/${LARGEST_ACCOUNT}`)).status).toBe(401);
  expect(door.calls).toHaveLength(1);
});

test("a secret in the URL lets in a sender that never signs, and goes no further", async () => {
  expect((await post(BODY, {}, `?secret=${URL_SECRET}`)).status).toBe(200);
  expect(door.calls[0].arguments).toMatchObject({ account_id: "1", proof: "url_secret", signed_at: null });
  expect(JSON.stringify(door.calls[0])).not.toContain(URL_SECRET);
});

test.each([
  { name: "one bit of the body changed", headers: () => signed(BODY.replace("2", "3")) },
  { name: "299 seconds old, signature changed", headers: () => flip(signed(BODY, { at: nowSeconds() - 299 })) },
  { name: "302 seconds old", headers: () => signed(BODY, { at: nowSeconds() - 302 }) },
  { name: "302 seconds ahead", headers: () => signed(BODY, { at: nowSeconds() + 302 }) },
  { name: "milliseconds", headers: () => signed(BODY, { at: Date.now() }) },
  { name: "unsigned", headers: () => ({}) },
  { name: "unsigned, wrong secret in the URL", headers: () => ({}), path: `?secret=${SECRET}` },
  { name: "wrongly signed, right secret in the URL", headers: () => flip(signed(BODY)), path: `?secret=${URL_SECRET}` },
])("$name: 401, and the database is not asked", async ({ headers, path }) => {
  const { status, answer } = await post(BODY, headers(), path);

  expect({ status, code: answer.code, calls: door.calls }).toEqual({ status: 401, code: "OC401", calls: [] });
});

test.each([-290, 290])("%i seconds from the clock is near enough", async (seconds) => {
  expect((await post(BODY, signed(BODY, { at: nowSeconds() + seconds }))).status).toBe(200);
});

test("a signature header sent twice is refused, even when both are right", async () => {
  const headers = signed(BODY);
  const head = rawHead({ ...headers, "content-length": Buffer.byteLength(BODY) });
  const twice = head.replace("\r\n\r\n", `\r\nX-Chatwoot-Signature: ${headers["x-chatwoot-signature"]}\r\n\r\n`);

  expect(await sendRaw(door.port, [twice, BODY])).toBe(401);
  expect(await sendRaw(door.port, [head, BODY])).toBe(200);
  expect(door.calls).toHaveLength(1);
});

describe("sizes", () => {
  test.each([{ size: 0, status: 200 }, { size: LIMIT, status: 200 }, { size: LIMIT + 1, status: 413 }])(
    "$size bytes are answered $status, in one piece or in chunks",
    async ({ size, status }) => {
      const body = Buffer.alloc(size, "a");
      const headers = signed(body);
      const half = size >> 1;
      const chunk = (part: Uint8Array) => [`${part.length.toString(16)}\r\n`, part, "\r\n"];
      const chunks = [body.subarray(0, half), body.subarray(half)].filter((part) => part.length > 0).flatMap(chunk);

      const whole = await sendRaw(door.port, [rawHead({ ...headers, "content-length": size }), body]);
      const chunked = await sendRaw(door.port, [
        rawHead({ ...headers, "transfer-encoding": "chunked" }),
        ...chunks,
        "0\r\n\r\n",
      ]);

      expect({ whole, chunked }).toEqual({ whole: status, chunked: status });
      expect(door.calls).toHaveLength(status === 200 ? 2 : 0);
    },
  );

  test("one byte a chunk is read like any other body", async () => {
    const parts = Array.from(Buffer.from(BODY), (byte) => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]));

    const status = await sendRaw(door.port, [
      rawHead({ ...signed(BODY), "transfer-encoding": "chunked" }),
      ...parts,
      "0\r\n\r\n",
    ]);

    expect(status).toBe(200);
  });

  test("chunks without end are cut off, and the sender hears why", async () => {
    const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536), Buffer.from("\r\n")]);
    const head = rawHead({ ...signed(""), "transfer-encoding": "chunked" });

    expect(await sendRaw(door.port, [head, ...Array.from({ length: 40 }, () => chunk)])).toBe(413);
    expect(door.calls).toEqual([]);
  });

  test("a Content-Length that says more than is allowed is refused without the body", async () => {
    expect(await sendRaw(door.port, [rawHead({ ...signed(BODY), "content-length": LIMIT + 1 }), "{"])).toBe(413);
  });

  test.each(["10", "-1", "abc", "1, 2", "99999999999999999999"])(
    "a Content-Length of %s never reaches the database",
    async (length) => {
      const status = await sendRaw(door.port, [rawHead({ ...signed(BODY), "content-length": length }), BODY]);

      expect(status).toBeGreaterThanOrEqual(400);
      expect(status).toBeLessThan(500);
      expect(door.calls).toEqual([]);
    },
  );

  test("a refusal before the body is read still reaches whoever is sending it", async () => {
    const body = Buffer.alloc(LIMIT, "a");
    const unsigned = [rawHead({ "content-length": LIMIT }), body];

    expect(await Promise.all(Array.from({ length: 10 }, () => sendRaw(door.port, unsigned)))).toEqual(
      Array(10).fill(401),
    );
  });

  test("a compressed body is refused as it is, however large it would become", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * LIMIT));

    const { status, answer } = await post(new Uint8Array(bomb), { ...signed(bomb), "content-encoding": "gzip" });

    expect({ status, code: answer.code, calls: door.calls }).toEqual({ status: 415, code: "OC415", calls: [] });
  });
});

test("a sender that goes away in the middle leaves nothing behind, and the door open", async () => {
  const socket = await import("node:net").then(({ connect }) => connect(door.port, "127.0.0.1"));
  socket.write(`${rawHead({ ...signed(BODY), "content-length": 500 })}{"half":`, () => socket.destroy());
  await new Promise((resolve) => socket.on("close", resolve));

  expect((await post(BODY, signed(BODY))).status).toBe(200);
  expect(door.calls).toHaveLength(1);
});

test.each(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])("%s is answered 405, without CORS headers", async (method) => {
  const response = await fetch(door.url, { method });

  expect(response.status).toBe(405);
  expect(response.headers.get("allow")).toBe("POST");
  expect([...response.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
});

describe("when the Data API", () => {
  test.each([
    { status: 503, code: "PGRST001", expected: 503 },
    { status: 504, code: "PGRST003", expected: 503 },
    { status: 500, code: "57014", expected: 503 },
    { status: 404, code: "PGRST202", expected: 503 },
    { status: 401, code: "42501", expected: 503 },
    { status: 409, code: "23505", expected: 200 },
  ])("answers $status $code, the door answers $expected", async ({ status, code, expected }) => {
    door.answerWith((_call, response) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify({ code, message: SECRET, details: SECRET_KEY, hint: null }));
    });

    const result = await post(BODY, { ...signed(BODY), "x-chatwoot-delivery": "evt-2" });

    expect(result.status).toBe(expected);
    expect(result.headers.get("retry-after")).toBe(expected === 503 ? "10" : null);
    expect(door.calls).toHaveLength(1);
  });

  test("breaks the connection, the sender is asked to come again", async () => {
    door.answerWith((_call, response) => response.destroy());

    expect((await post(BODY, signed(BODY))).status).toBe(503);
  });

  test("answers a page of HTML, nothing is acknowledged", async () => {
    door.answerWith((_call, response) => response.writeHead(200, { "content-type": "text/html" }).end("<html></html>"));

    expect((await post(BODY, signed(BODY))).status).toBe(503);
  });

  test("is silent, the sender is told before Chatwoot would hang up", async () => {
    door.answerWith(() => {});
    const started = Date.now();

    const { status } = await post(BODY, signed(BODY));

    expect(status).toBe(503);
    expect(Date.now() - started).toBeLessThan(5_000);
  }, 10_000);
});

test("a hundred at once are each answered with their own id", async () => {
  const ids = Array.from({ length: 100 }, (_, index) => `evt-${index}`);

  const results = await Promise.all(ids.map((id) => post(BODY, { ...signed(BODY), "x-chatwoot-delivery": id })));

  expect(results.map(({ answer }) => answer.delivery_id)).toEqual(ids);
});

function flip(headers: Record<string, string>): Record<string, string> {
  const signature = headers["x-chatwoot-signature"];
  return { ...headers, "x-chatwoot-signature": signature.slice(0, -1) + (signature.endsWith("0") ? "1" : "0") };
}
