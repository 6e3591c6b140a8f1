// The door's rules, with the clock as an argument.
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  BODY_LIMIT_BYTES,
  type Delivery,
  type Outside,
  receiveWebhook,
  type Recorded,
} from "../../supabase/functions/chatwoot-webhook/handler.ts";
import { digestUrlSecrets, importSigningKeys } from "../../supabase/functions/chatwoot-webhook/proof.ts";
import { readSettings } from "../../supabase/functions/chatwoot-webhook/settings.ts";
import {
  CONFIDENTIAL,
  ENVIRONMENT,
  LARGEST_ACCOUNT,
  OTHER_ACCOUNT_SECRET,
  PREVIOUS_SECRET,
  SECRET,
  signed,
  URL_SECRET,
} from "./door.ts";

// The vector of Chatwoot's own signing code.
const VECTOR = {
  at: 1795165201,
  body: '{"account":{"id":1,"name":"Acme \\u0026 Co"},"content":"2 \\u003c 3 – ça marche 👍",' +
    '"created_at":"2026-11-20T09:00:00.412Z","id":9001,"updated_at":1795165200.0,"event":"message_created"}',
  signature: "sha256=c5cec6a63e48e71e640e3076c65ecb9dd7ada595b67c8d9862e40a9f579eca41",
};
const HEADERS = { "x-chatwoot-timestamp": String(VECTOR.at), "x-chatwoot-signature": VECTOR.signature };

const settings = readSettings(ENVIRONMENT);
const signingKeys = await importSigningKeys(settings.signingSecrets);
const urlSecrets = await digestUrlSecrets(settings.urlSecrets);

interface Attempt {
  body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  headers?: Record<string, string> | [string, string][];
  path?: string;
  method?: string;
  at?: number;
  outside?: Partial<Outside>;
}

async function knock(attempt: Attempt) {
  const stored: Delivery[] = [];
  const log: string[] = [];
  const method = attempt.method ?? "POST";
  const init: RequestInit & { duplex: "half" } = { method, headers: attempt.headers ?? HEADERS, duplex: "half" };
  if (method === "POST") init.body = attempt.body ?? VECTOR.body;
  const request = new Request(`http://door${attempt.path ?? "/chatwoot-webhook"}`, init);
  const response = await receiveWebhook(request, {
    now: () => new Date((attempt.at ?? VECTOR.at) * 1000),
    toleranceSeconds: settings.toleranceSeconds,
    bodyMilliseconds: 1_000,
    discardMilliseconds: 20,
    signingKeys,
    urlSecrets,
    record: (delivery) => {
      stored.push(delivery);
      return Promise.resolve({
        data: [{ outcome: "applied" }],
        error: null,
        status: 200,
      });
    },
    log: (line) => log.push(line),
    encodeHex: (bytes) => Buffer.from(bytes).toString("hex"),
    timingSafeEqual: (one, other) => timingSafeEqual(new Uint8Array(one), new Uint8Array(other)),
    ...attempt.outside,
  });
  const text = await response.text();
  for (const secret of CONFIDENTIAL) expect(text + log.join("\n")).not.toContain(secret);
  return { status: response.status, headers: response.headers, answer: JSON.parse(text), stored, log };
}

async function expectRefused(attempt: Attempt) {
  const { status, answer, stored } = await knock(attempt);

  expect(stored).toEqual([]);
  expect(status).toBe(401);
  expect(answer).toEqual({
    code: "OC401",
    message: "The webhook's origin could not be verified.",
    hint: "Compare the webhook's secret in Chatwoot with CHATWOOT_WEBHOOK_SECRETS, and the clocks of both servers.",
  });
}

describe("a right signature", () => {
  test("Chatwoot's own vector is stored byte for byte and acknowledged", async () => {
    const headers = { ...HEADERS, "x-chatwoot-delivery": "0b9f2b1e-7d5c-4a43-9a42-2d1f3c4b5a69" };

    const { status, answer, stored, log } = await knock({ headers });

    expect({ status, answer }).toEqual({
      status: 200,
      answer: { delivery_id: "0b9f2b1e-7d5c-4a43-9a42-2d1f3c4b5a69", outcome: "applied" },
    });
    expect(stored).toHaveLength(1);
    expect(Buffer.from(stored[0].body).toString()).toBe(VECTOR.body);
    expect(stored[0]).toMatchObject({
      accountId: "1",
      deliveryId: "0b9f2b1e-7d5c-4a43-9a42-2d1f3c4b5a69",
      proof: "signature",
      signedAt: new Date("2026-11-20T09:00:01Z"),
    });
    expect(log).toEqual([]);
  });

  test.each([-300, -299, 299, 300])("is accepted %i seconds from our clock", async (seconds) => {
    expect((await knock({ at: VECTOR.at + seconds })).status).toBe(200);
  });

  test("is accepted in the last fraction of the 300th second", async () => {
    expect((await knock({ at: VECTOR.at + 300.999 })).status).toBe(200);
  });

  test.each([
    { name: "the current secret", secret: SECRET, accountId: "1" },
    { name: "the previous secret", secret: PREVIOUS_SECRET, accountId: "1" },
    { name: "another account's secret", secret: OTHER_ACCOUNT_SECRET, accountId: LARGEST_ACCOUNT },
  ])("by $name speaks for account $accountId", async ({ secret, accountId }) => {
    const { status, stored } = await knock({ headers: signed(VECTOR.body, { secret, at: VECTOR.at }) });

    expect(status).toBe(200);
    expect(stored[0].accountId).toBe(accountId);
  });

  test.each([
    { name: "empty", size: 0 },
    { name: "of one byte", size: 1 },
    { name: "just past the first buffer", size: 16_385 },
    { name: "of exactly the limit", size: BODY_LIMIT_BYTES },
  ])("over a body $name is stored whole", async ({ size }) => {
    const body = new Uint8Array(size).map((_, index) => index % 251);

    const { status, stored } = await knock({ body, headers: signed(body, { at: VECTOR.at }) });

    expect(status).toBe(200);
    expect(Buffer.compare(stored[0].body, body)).toBe(0);
  });

  test("over bytes that are no UTF-8 is stored: reading them is the database's task", async () => {
    const body = new Uint8Array([0x7b, 0xff, 0x00, 0xc3]);

    const { stored } = await knock({ body, headers: signed(body, { at: VECTOR.at }) });

    expect([...stored[0].body]).toEqual([0x7b, 0xff, 0x00, 0xc3]);
  });

  test("under an account's own path is looked for among that account's secrets only", async () => {
    expect((await knock({ path: "/chatwoot-webhook/1" })).status).toBe(200);
    await expectRefused({ path: `/chatwoot-webhook/${LARGEST_ACCOUNT}` });
    await expectRefused({ path: "/chatwoot-webhook/2" });
    await expectRefused({ path: "/chatwoot-webhook/1/2" });
    await expectRefused({ path: "/chatwoot-webhook/1%00" });
  });
});

describe("a wrong signature is refused, and nothing is stored:", () => {
  const hex = VECTOR.signature.slice(7);
  test.each([
    { name: "one bit of the body changed", body: VECTOR.body.replace("9001", "9000") },
    { name: "a space after the body", body: `${VECTOR.body} ` },
    { name: "the body parsed and written again", body: JSON.stringify(JSON.parse(VECTOR.body)) },
    { name: "an empty body", body: "" },
    { name: "the timestamp a second off", headers: { ...HEADERS, "x-chatwoot-timestamp": String(VECTOR.at + 1) } },
    { name: "one bit of the signature changed", signature: `sha256=${hex.replace(/1$/, "0")}` },
    { name: "the first bit of the signature changed", signature: `sha256=${hex.replace(/^c/, "4")}` },
    {
      name: "the body signed without its timestamp",
      signature: "sha256=" + "63dc69a442ae6d4874066abfb747f7438edc918bc962934c5ec871b1a1151731",
    },
    { name: "signed with an unknown secret", headers: signed(VECTOR.body, { secret: "x".repeat(24), at: VECTOR.at }) },
    { name: "signed with an empty secret", headers: signed(VECTOR.body, { secret: "", at: VECTOR.at }) },
    { name: "upper-case hex", signature: `sha256=${hex.toUpperCase()}` },
    { name: "one letter upper-case", signature: `sha256=${hex.replace("c", "C")}` },
    { name: "an upper-case scheme", signature: `SHA256=${hex}` },
    { name: "no scheme", signature: hex },
    { name: "another scheme", signature: `sha1=${hex}` },
    { name: "an empty signature", signature: "" },
    { name: "the scheme alone", signature: "sha256=" },
    { name: "63 digits", signature: `sha256=${hex.slice(1)}` },
    { name: "65 digits", signature: `sha256=${hex}0` },
    { name: "a digit that is none", signature: `sha256=${hex.slice(1)}g` },
    { name: "base64", signature: `sha256=${Buffer.from(hex, "hex").toString("base64")}` },
    { name: "two signatures in one header", signature: `${VECTOR.signature},${VECTOR.signature}` },
    { name: "a very long signature", signature: `sha256=${"a".repeat(8_000)}` },
    {
      name: "the signature header twice",
      headers: [...Object.entries(HEADERS), ["x-chatwoot-signature", VECTOR.signature]],
    },
    {
      name: "the timestamp header twice",
      headers: [...Object.entries(HEADERS), ["x-chatwoot-timestamp", String(VECTOR.at)]],
    },
    { name: "no signature header", headers: { "x-chatwoot-timestamp": String(VECTOR.at) } },
    { name: "no timestamp header", headers: { "x-chatwoot-signature": VECTOR.signature } },
    { name: "no header at all", headers: {} },
  ] as (Attempt & { name: string; signature?: string })[])("$name", async ({ signature, headers, body }) => {
    await expectRefused({
      body,
      headers: headers ?? (signature === undefined ? HEADERS : { ...HEADERS, "x-chatwoot-signature": signature }),
    });
  });

  test.each([-86_400, -301, 301, 86_400])("a right one %i seconds from our clock", async (seconds) => {
    await expectRefused({ at: VECTOR.at + seconds });
  });

  test.each([
    `${VECTOR.at}000`,
    `${VECTOR.at}.0`,
    `+${VECTOR.at}`,
    `-${VECTOR.at}`,
    `0${VECTOR.at}`,
    "1.795165201e9",
    "0x6b000000",
    "2026-11-20T09:00:01Z",
    "",
    "NaN",
    "Infinity",
    `${VECTOR.at},${VECTOR.at}`,
    "9".repeat(400),
  ])("a right one whose timestamp reads %s", async (timestamp) => {
    const headers = signed(VECTOR.body, { at: VECTOR.at });

    await expectRefused({ headers: { ...headers, "x-chatwoot-timestamp": timestamp } });
  });

  test("a right one over milliseconds, as a sender of another kind would make it", async () => {
    await expectRefused({ headers: signed(VECTOR.body, { at: VECTOR.at * 1000 }) });
  });

  test("the payload is another account's: the database says so, the sender hears what every stranger hears", async () => {
    const record = () => Promise.resolve<Recorded>({ data: [{ outcome: "refused" }], error: null, status: 200 });

    await expectRefused({ outside: { record } });
  });
});

describe("a secret in the URL", () => {
  const path = `/chatwoot-webhook?secret=${URL_SECRET}`;

  test("lets in a sender that never signs, as the weaker proof", async () => {
    const { status, stored } = await knock({ headers: { "user-agent": "rest-client" }, path });

    expect(status).toBe(200);
    expect(stored[0]).toMatchObject({ accountId: "1", proof: "url_secret", signedAt: null });
    expect(JSON.stringify(stored[0])).not.toContain(URL_SECRET);
  });

  test("is no way round a wrong signature", async () => {
    await expectRefused({ path, headers: { ...HEADERS, "x-chatwoot-signature": VECTOR.signature.replace(/1$/, "0") } });
    await expectRefused({ path, headers: { ...HEADERS, "x-chatwoot-signature": "" } });
    await expectRefused({ path, at: VECTOR.at + 301 });
  });

  test("is recorded as signed where the signature is right as well", async () => {
    expect((await knock({ path })).stored[0].proof).toBe("signature");
  });

  test.each([
    "/chatwoot-webhook?secret=",
    "/chatwoot-webhook?secret",
    "/chatwoot-webhook?secret=wrong",
    `/chatwoot-webhook?secret=${URL_SECRET}0`,
    `/chatwoot-webhook?secret=${URL_SECRET.slice(1)}`,
    `/chatwoot-webhook?secret=${URL_SECRET.toLowerCase()}`,
    `/chatwoot-webhook?Secret=${URL_SECRET}`,
    `/chatwoot-webhook?secret=${SECRET}`,
    `/chatwoot-webhook?secret=${URL_SECRET}&secret=${URL_SECRET}`,
    `/chatwoot-webhook/${LARGEST_ACCOUNT}?secret=${URL_SECRET}`,
  ])("%s opens nothing", async (wrong) => {
    await expectRefused({ path: wrong, headers: {} });
  });

  test("opens nothing where none is configured", async () => {
    await expectRefused({ path, headers: {}, outside: { urlSecrets: [] } });
  });
});

describe("the delivery's id", () => {
  const digest = `sha256:${createHash("sha256").update(VECTOR.body).digest("hex")}`;

  test.each([
    { name: "Chatwoot's", sent: "0b9f2b1e-7d5c-4a43-9a42-2d1f3c4b5a69", id: "0b9f2b1e-7d5c-4a43-9a42-2d1f3c4b5a69" },
    { name: "128 characters", sent: "a".repeat(128), id: "a".repeat(128) },
    { name: "129 characters", sent: "a".repeat(129), id: digest },
    { name: "empty", sent: "", id: digest },
    { name: "with a space", sent: "a b", id: digest },
    { name: "with a quote", sent: "a'b", id: digest },
    { name: "beyond ASCII", sent: "\u00e9", id: digest },
    { name: "absent", sent: null, id: digest },
  ])("sent $name", async ({ sent, id }) => {
    const { stored } = await knock({ headers: sent === null ? HEADERS : { ...HEADERS, "x-chatwoot-delivery": sent } });

    expect(stored[0].deliveryId).toBe(id);
  });
});

test("only headers that explain a delivery are kept, and only so much of them", async () => {
  const headers = {
    ...HEADERS,
    "content-type": "application/json",
    "user-agent": "R".repeat(5_000),
    authorization: "Bearer token",
    apikey: "key",
    cookie: "session=1",
    "x-forwarded-for": "203.0.113.9",
  };

  const { stored } = await knock({ headers });

  expect(stored[0].headers).toEqual({ ...HEADERS, "content-type": "application/json", "user-agent": "R".repeat(512) });
});

describe("what is no webhook", () => {
  test.each(["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])("%s is answered 405", async (method) => {
    const { status, headers, answer, stored } = await knock({ method });

    expect(stored).toEqual([]);
    expect({ status, allow: headers.get("allow"), code: answer.code }).toEqual({
      status: 405,
      allow: "POST",
      code: "OC405",
    });
  });

  test.each(["gzip", "deflate", "br", "identity, gzip", "x-unknown", ""])(
    "content-encoding %s is answered 415",
    async (encoding) => {
      const { status, stored } = await knock({ headers: { ...HEADERS, "content-encoding": encoding } });

      expect({ status, stored }).toEqual({ status: 415, stored: [] });
    },
  );

  test.each(["identity", "Identity"])("content-encoding %s is no encoding", async (encoding) => {
    expect((await knock({ headers: { ...HEADERS, "content-encoding": encoding } })).status).toBe(200);
  });

  test("a body that never ends is left at the limit, and its sender told to stop", async () => {
    let sent = 0;
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536));
      },
      cancel: () => void (cancelled = true),
    });

    const { status, stored } = await knock({ body });

    expect({ status, stored, cancelled }).toEqual({ status: 413, stored: [], cancelled: true });
    expect(sent).toBeLessThan(6 * BODY_LIMIT_BYTES);
  });

  test("one byte beyond the limit is too much", async () => {
    const body = new Uint8Array(BODY_LIMIT_BYTES + 1);

    const { status, stored } = await knock({ body, headers: signed(body, { at: VECTOR.at }) });

    expect({ status, stored }).toEqual({ status: 413, stored: [] });
  });

  test("a Content-Length beyond the limit is believed, without waiting for the body", async () => {
    const body = new ReadableStream<Uint8Array>();

    const { status } = await knock({ body, headers: { ...HEADERS, "content-length": String(BODY_LIMIT_BYTES + 1) } });

    expect(status).toBe(413);
  });

  test("a sender that stalls is answered 408", async () => {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array(10)) });

    const { status, stored, answer } = await knock({ body, outside: { bodyMilliseconds: 20 } });

    expect({ status, stored, code: answer.code }).toEqual({ status: 408, stored: [], code: "OC408" });
  });

  test("a connection that breaks is answered 400", async () => {
    const body = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error("reset")) });

    expect((await knock({ body })).status).toBe(400);
  });
});

describe("when the database", () => {
  test.each([
    { name: "is not reached", status: 0, code: "" },
    { name: "has no connection", status: 503, code: "PGRST000" },
    { name: "has no free connection", status: 504, code: "PGRST003" },
    { name: "is read only", status: 405, code: "25006" },
    { name: "cancels the statement", status: 500, code: "57014" },
    { name: "cannot serialise", status: 500, code: "40001" },
    { name: "finds a deadlock", status: 500, code: "40P01" },
    { name: "waits for a lock", status: 500, code: "55P03" },
    { name: "lacks the function", status: 404, code: "PGRST202" },
    { name: "denies permission", status: 401, code: "42501" },
    { name: "raises", status: 400, code: "P0001" },
    { name: "misses a row it refers to", status: 409, code: "23503" },
    { name: "answers in another form", status: 500, code: undefined },
  ])("$name, the sender is asked to come again", async ({ status, code }) => {
    const error = { code, message: `${SECRET} leaked`, details: SECRET, hint: SECRET };
    const record = () => Promise.resolve<Recorded>({ data: null, error, status });

    const result = await knock({ outside: { record } });

    expect({ status: result.status, retryAfter: result.headers.get("retry-after"), code: result.answer.code })
      .toEqual({ status: 503, retryAfter: "10", code: "OC503" });
    expect(result.log).toHaveLength(1);
  });

  test.each([{ status: 409, code: "23505" }, { status: 400, code: "23505" }])(
    "already has it ($status, $code), it is acknowledged as a duplicate",
    async ({ status, code }) => {
      const record = () => Promise.resolve<Recorded>({ data: null, error: { code }, status });

      const result = await knock({ headers: { ...HEADERS, "x-chatwoot-delivery": "one" }, outside: { record } });

      expect({ status: result.status, answer: result.answer })
        .toEqual({ status: 200, answer: { delivery_id: "one", outcome: "duplicate" } });
    },
  );

  test("ends a deadlock at our expense, the same delivery is handed over once more", async () => {
    const seen: Delivery[] = [];
    const record = (delivery: Delivery) => {
      seen.push(delivery);
      return Promise.resolve<Recorded>(
        seen.length === 1
          ? { data: null, error: { code: "40P01" }, status: 500 }
          : { data: [{ outcome: "applied" }], error: null, status: 200 },
      );
    };

    const result = await knock({ outside: { record } });

    expect(result.status).toBe(200);
    expect(seen).toHaveLength(2);
    expect(seen[1]).toEqual(seen[0]);
  });

  test.each(["applied", "duplicate", "ignored", "dead"])("says %s, it is acknowledged as that", async (outcome) => {
    const record = () => Promise.resolve<Recorded>({ data: [{ outcome }], error: null, status: 200 });

    const { status, answer } = await knock({
      headers: { ...HEADERS, "x-chatwoot-delivery": "one" },
      outside: { record },
    });

    expect({ status, answer }).toEqual({ status: 200, answer: { delivery_id: "one", outcome } });
  });

  test.each([null, [], {}, [{}], [{ outcome: 1 }], [{ outcome: "lost" }]])(
    "answers %j, nothing is acknowledged",
    async (data) => {
      const record = () => Promise.resolve<Recorded>({ data, error: null, status: 200 });

      expect((await knock({ outside: { record } })).status).toBe(503);
    },
  );

  test("makes the client throw, the sender is asked to come again", async () => {
    const { status, log } = await knock({ outside: { record: () => Promise.reject(new TypeError(SECRET)) } });

    expect({ status, log }).toEqual({ status: 503, log: ["OC503 unexpected TypeError"] });
  });
});
