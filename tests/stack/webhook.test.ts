// A signed webhook from its sender to its rows, with nothing in between replaced: each case says what the sender is
// answered and what the database then holds.
import { Buffer } from "node:buffer";
import { createHash, createHmac } from "node:crypto";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { serialise } from "../../local/chatwoot/serialise.ts";
import { signatureHeaders } from "../../local/chatwoot/sign.ts";
import { startPostgres } from "../../local/postgres/server.ts";
import { conversation, conversationEvent, messageEvent, START, typing } from "../fixtures/webhooks.ts";
import {
  CONFIDENTIAL,
  LARGEST_ACCOUNT,
  nowSeconds,
  OTHER_ACCOUNT_SECRET,
  PREVIOUS_SECRET,
  rawHead,
  SECRET,
  sendRaw,
  signed,
  URL_SECRET,
} from "../functions/door.ts";
import { type Answered, useWebhookDoor } from "./webhook.support.ts";

const LIMIT = 1_048_576;
const UNPROVEN = {
  code: "OC401",
  message: "The webhook's origin could not be verified.",
  hint: "Compare the webhook's secret in Chatwoot with CHATWOOT_WEBHOOK_SECRETS, and the clocks of both servers.",
};
/** As Rails would write it, so that writing it anew gives other bytes. */
const BODY = serialise(messageEvent("message_created", { content: "2 < 3 & ça marche 👍" }));

const door = useWebhookDoor();
const answers: string[] = [];

beforeEach(() => door.clear());
afterAll(() => {
  // Of every test above: nothing that was answered or logged holds a secret.
  const told = [...answers, ...door.logged].join("\n");
  for (const secret of CONFIDENTIAL) expect(told).not.toContain(secret);
});

async function post(body: string | Uint8Array, headers?: Record<string, string>, path?: string): Promise<Answered> {
  const answered = await door.post(body, { headers, path });
  answers.push(answered.text, JSON.stringify([...answered.headers]));
  return answered;
}

/** The same bytes with one bit changed at this place, counted from the end where it is negative. */
function flipBit(text: string | Uint8Array, place: number): Buffer {
  const bytes = Buffer.from(text);
  bytes[place < 0 ? bytes.length + place : place] ^= 1;
  return bytes;
}

const hmac = (content: string, secret = SECRET) => createHmac("sha256", secret).update(content).digest("hex");
const sha256 = (body: string | Uint8Array) => createHash("sha256").update(body).digest("hex");
const change = (name: string, value: (right: string) => string) => () => {
  const headers = signed(BODY);
  return { ...headers, [name]: value(headers[name]) };
};
const without = (...names: string[]) => () =>
  Object.fromEntries(Object.entries(signed(BODY)).filter(([name]) => !names.includes(name)));

test("a webhook becomes a delivery with its bytes, and rows of the mirror", async () => {
  const at = nowSeconds();

  const { status, answer } = await post(BODY, { ...signed(BODY, { at }), "x-chatwoot-delivery": "delivery-1" });

  expect({ status, answer }).toEqual({ status: 200, answer: { delivery_id: "delivery-1", outcome: "applied" } });
  expect(await door.kept()).toEqual([{
    account_id: "1",
    delivery_id: "delivery-1",
    proof: "signature",
    event: "message_created",
    outcome: "applied",
    reason: null,
    note: null,
    redeliveries: 0,
    conflicts: 0,
    signed_at: new Date(at * 1000),
    headers: {
      "content-type": "application/json",
      "user-agent": "Ruby",
      "x-chatwoot-delivery": "delivery-1",
      "x-chatwoot-signature": `sha256=${hmac(`${at}.${BODY}`)}`,
      "x-chatwoot-timestamp": String(at),
    },
    body: Buffer.from(BODY),
  }]);
  expect(await door.rows("select message_id, content, sender_kind, sender_id from chatwoot.messages")).toEqual([
    { message_id: "9001", content: "2 < 3 & ça marche 👍", sender_kind: "contact", sender_id: "205" },
  ]);
  expect(await door.counts()).toMatchObject({ "chatwoot.conversations": 1, "chatwoot.contacts": 1 });
});

describe("what cannot be proven is answered alike and leaves nothing", () => {
  const other = signed("another body");
  test.each<{ name: string; body?: string | Uint8Array; headers?: () => Record<string, string>; path?: string }>([
    { name: "the first bit of the body changed", body: flipBit(BODY, 0), headers: () => signed(BODY) },
    { name: "a bit in the middle of the body changed", body: flipBit(BODY, 700), headers: () => signed(BODY) },
    { name: "the last bit of the body changed", body: flipBit(BODY, -1), headers: () => signed(BODY) },
    { name: "a byte more", body: `${BODY}\n`, headers: () => signed(BODY) },
    { name: "a byte less", body: BODY.slice(0, -1), headers: () => signed(BODY) },
    { name: "a byte order mark before it", body: `\uFEFF${BODY}`, headers: () => signed(BODY) },
    { name: "the body written anew", body: JSON.stringify(JSON.parse(BODY)), headers: () => signed(BODY) },
    { name: "no body under the signature of one", body: "", headers: () => signed(BODY) },
    { name: "the timestamp's last bit changed", headers: change("x-chatwoot-timestamp", (at) => `${flipBit(at, -1)}`) },
    { name: "the signature's first bit changed", headers: change("x-chatwoot-signature", flipHex(0)) },
    { name: "the signature's last bit changed", headers: change("x-chatwoot-signature", flipHex(63)) },
    { name: "the signature of another body", headers: () => other },
    { name: "another secret", headers: () => signed(BODY, { secret: "aSecretThatNobodyHasSet1" }) },
    { name: "the secret in other letters", headers: () => signed(BODY, { secret: SECRET.toLowerCase() }) },
    { name: "the URL's secret as the signing one", headers: () => signed(BODY, { secret: URL_SECRET }) },
    { name: "no headers", headers: () => ({}) },
    { name: "no signature", headers: without("x-chatwoot-signature") },
    { name: "no timestamp", headers: without("x-chatwoot-timestamp") },
    { name: "an empty signature", headers: change("x-chatwoot-signature", () => "") },
    { name: "an empty timestamp", headers: change("x-chatwoot-timestamp", () => "") },
    { name: "a signature without its scheme", headers: change("x-chatwoot-signature", (right) => right.slice(7)) },
    { name: "another scheme", headers: change("x-chatwoot-signature", (right) => right.replace("256", "1")) },
    {
      name: "upper-case hex",
      headers: change("x-chatwoot-signature", (right) => `sha256=${right.slice(7).toUpperCase()}`),
    },
    { name: "an upper-case scheme", headers: change("x-chatwoot-signature", (right) => right.replace("sha", "SHA")) },
    {
      name: "a digit of the signature missing",
      headers: change("x-chatwoot-signature", (right) => right.slice(0, -1)),
    },
    { name: "a digit of the signature too many", headers: change("x-chatwoot-signature", (right) => `${right}0`) },
    {
      name: "two signatures, the right one first",
      headers: change("x-chatwoot-signature", (right) => `${right}, ${right}`),
    },
    { name: "the body signed alone", headers: change("x-chatwoot-signature", () => `sha256=${hmac(BODY)}`) },
    {
      name: "signed without the full stop",
      headers: change("x-chatwoot-signature", () => `sha256=${hmac(`${nowSeconds()}${BODY}`)}`),
    },
    { name: "301 seconds old", headers: () => signed(BODY, { at: nowSeconds() - 301 }) },
    { name: "a day old", headers: () => signed(BODY, { at: nowSeconds() - 86_400 }) },
    { name: "milliseconds", headers: () => signed(BODY, { at: Date.now() }) },
    { name: "seconds with a fraction", headers: () => signed(BODY, { at: nowSeconds() + 0.5 }) },
    { name: "seconds below zero", headers: () => signed(BODY, { at: -nowSeconds() }) },
    { name: "seconds in exponent form", headers: change("x-chatwoot-timestamp", (at) => `${Number(at) / 1e9}e9`) },
    { name: "seconds with a nought before them", headers: change("x-chatwoot-timestamp", (at) => `0${at}`) },
    { name: "the path of another account", path: `/${LARGEST_ACCOUNT}` },
    { name: "the path of an account that is not known", path: "/2" },
    { name: "a wrong secret in the URL", headers: () => ({}), path: `?secret=${SECRET}` },
    { name: "an empty secret in the URL", headers: () => ({}), path: "?secret=" },
    { name: "two secrets in the URL", headers: () => ({}), path: `?secret=${URL_SECRET}&secret=${URL_SECRET}` },
    {
      name: "the right secret in the URL of another account",
      headers: () => ({}),
      path: `/${LARGEST_ACCOUNT}?secret=${URL_SECRET}`,
    },
    {
      name: "the right secret in the URL and a wrong signature",
      headers: () => other,
      path: `?secret=${URL_SECRET}`,
    },
    {
      name: "a payload of another account, rightly signed",
      ...bySigner(serialise(messageEvent("message_created", { account: { id: 2, name: "Elsewhere" } })), SECRET),
    },
    {
      name: "a payload whose conversation is another account's",
      ...bySigner(serialise(typing()), OTHER_ACCOUNT_SECRET),
    },
    {
      name: "a payload of another account, by the URL's secret",
      body: serialise(messageEvent("message_created", { account: { id: 2, name: "Elsewhere" } })),
      headers: () => ({}),
      path: `?secret=${URL_SECRET}`,
    },
    {
      name: "an account named twice, the other one last",
      ...bySigner('{"event":"contact_created","id":5,"account":{"id":1},"account":{"id":2}}', SECRET),
    },
  ])("$name", async ({ body = BODY, headers = () => signed(body), path }) => {
    const { status, answer } = await post(body, headers(), path);

    expect({ status, answer }).toEqual({ status: 401, answer: UNPROVEN });
    await door.expectNothingStored();
  });

  test("301 seconds ahead", async () => {
    const { status, answer } = await withinOneSecond((now) => post(BODY, signed(BODY, { at: now + 301 })));

    expect({ status, answer }).toEqual({ status: 401, answer: UNPROVEN });
    await door.expectNothingStored();
  });

  test.each(["X-Chatwoot-Signature", "X-Chatwoot-Timestamp"])("%s sent twice, both right", async (name) => {
    const headers = signed(BODY);
    const head = rawHead({ ...headers, "content-length": Buffer.byteLength(BODY) });
    const twice = head.replace("\r\n\r\n", `\r\n${name}: ${headers[name.toLowerCase()]}\r\n\r\n`);

    expect(await sendRaw(door.port(), [twice, BODY])).toBe(401);
    await door.expectNothingStored();
  });
});

function bySigner(body: string, secret: string) {
  return { body, headers: () => signed(body, { secret }) };
}

function flipHex(place: number) {
  return (right: string) => {
    const digits = right.slice(7).split("");
    digits[place] = (parseInt(digits[place], 16) ^ 1).toString(16);
    return `sha256=${digits.join("")}`;
  };
}

/** Repeats the work until it began and ended within the same second, so that both clocks read the same one. */
async function withinOneSecond<Value>(work: (now: number) => Promise<Value>): Promise<Value> {
  for (;;) {
    const now = nowSeconds();
    const value = await work(now);
    if (nowSeconds() === now) return value;
  }
}

describe("what is proven is stored under its account", () => {
  test.each([
    { name: "the previous secret", headers: () => signed(BODY, { secret: PREVIOUS_SECRET }) },
    { name: "299 seconds old", headers: () => signed(BODY, { at: nowSeconds() - 299 }) },
    { name: "299 seconds ahead", headers: () => signed(BODY, { at: nowSeconds() + 299 }) },
    { name: "the account's own path", path: "/1" },
    { name: "a content-encoding of identity", headers: () => ({ ...signed(BODY), "content-encoding": "identity" }) },
  ])("$name", async ({ headers = () => signed(BODY), path }) => {
    const { status, answer } = await post(BODY, headers(), path);

    expect({ status, answer }).toEqual({
      status: 200,
      answer: { delivery_id: `sha256:${sha256(BODY)}`, outcome: "applied" },
    });
    expect(await door.kept()).toMatchObject([{
      account_id: "1",
      delivery_id: `sha256:${sha256(BODY)}`,
      outcome: "applied",
    }]);
    expect(await door.counts()).toMatchObject({ "chatwoot.messages": 1 });
  });

  test("the largest account id there is", async () => {
    const body = `{"event":"contact_created","id":5,"name":"Dana","account":{"id":${LARGEST_ACCOUNT},"name":"Big"}}`;

    const { answer } = await post(body, signed(body, { secret: OTHER_ACCOUNT_SECRET }));

    expect(answer.outcome).toBe("applied");
    expect(await door.kept()).toMatchObject([{ account_id: LARGEST_ACCOUNT, event: "contact_created" }]);
    expect(await door.rows("select account_id, contact_id, name from chatwoot.contacts")).toEqual([
      { account_id: LARGEST_ACCOUNT, contact_id: "5", name: "Dana" },
    ]);
  });

  test("headers as Chatwoot's own HTTP client sends them", async () => {
    const deliveryId = "2f6b3c1e-9a51-4d0e-8b77-0c5d5e2f1a90";
    const headers = signatureHeaders(Buffer.from(BODY), { secret: SECRET, timestamp: nowSeconds(), deliveryId });

    expect((await post(BODY, headers)).answer).toEqual({ delivery_id: deliveryId, outcome: "applied" });
    expect(await door.kept()).toMatchObject([{ delivery_id: deliveryId, proof: "signature" }]);
  });

  test.each([
    { name: "too long", id: "x".repeat(129) },
    { name: "with a space", id: "a b" },
    { name: "with what SQL might heed", id: "a'; drop table inbox.deliveries; --" },
    { name: "empty", id: "" },
  ])("a delivery id that is $name gives way to the body's hash", async ({ id }) => {
    expect((await post(BODY, { ...signed(BODY), "x-chatwoot-delivery": id })).status).toBe(200);
    expect(await door.kept()).toMatchObject([{ delivery_id: `sha256:${sha256(BODY)}` }]);
  });
});

describe("senders that never sign", () => {
  const automation = serialise({ ...messageEvent("message_created"), event: "automation_event.message_created" });
  const macro = serialise({ ...conversationEvent("conversation_updated"), event: "macro.executed" });

  test.each([
    { name: "a rule's webhook", body: automation, event: "automation_event.message_created" },
    { name: "a macro's webhook", body: macro, event: "macro.executed" },
    { name: "any event of an older Chatwoot", body: BODY, event: "message_created" },
  ])("$name comes in by the URL's secret, which is kept as the weaker proof", async ({ body, event }) => {
    const headers = { "content-type": "application/json" };

    const first = await post(body, headers, `?secret=${URL_SECRET}`);
    const again = await post(body, headers, `/1?secret=${URL_SECRET}`);

    const delivery_id = `sha256:${sha256(body)}`;
    expect([first.answer, again.answer]).toEqual([{ delivery_id, outcome: "applied" }, {
      delivery_id,
      outcome: "duplicate",
    }]);
    expect(await door.kept()).toMatchObject([
      {
        account_id: "1",
        delivery_id,
        proof: "url_secret",
        signed_at: null,
        event,
        headers,
        redeliveries: 1,
        conflicts: 0,
      },
    ]);
    expect(await door.counts()).toMatchObject({ "chatwoot.conversations": 1, "chatwoot.messages": 1 });
  });
});

describe("the same delivery again", () => {
  test("is counted, and changes nothing else", async () => {
    const headers = () => ({ ...signed(BODY), "x-chatwoot-delivery": "evt-1" });

    expect((await post(BODY, headers())).answer.outcome).toBe("applied");
    const before = await door.counts();
    expect((await post(BODY, headers())).answer).toEqual({ delivery_id: "evt-1", outcome: "duplicate" });

    expect(await door.kept()).toMatchObject([{ delivery_id: "evt-1", redeliveries: 1, conflicts: 0 }]);
    expect(await door.counts()).toEqual(before);
  });

  test("with another body: the first is kept and the conflict recorded", async () => {
    const second = BODY.replace("ça marche", "ça ne marche pas");
    const id = { "x-chatwoot-delivery": "evt-1" };

    expect((await post(BODY, { ...signed(BODY), ...id })).answer.outcome).toBe("applied");
    expect((await post(second, { ...signed(second), ...id })).answer.outcome).toBe("duplicate");

    expect(await door.kept()).toMatchObject([{ body: Buffer.from(BODY), redeliveries: 1, conflicts: 1 }]);
    expect(await door.rows("select encode(last_conflict_sha256, 'hex') as hash from inbox.deliveries")).toEqual([
      { hash: sha256(second) },
    ]);
    expect(await door.rows("select content from chatwoot.messages")).toEqual([{ content: "2 < 3 & ça marche 👍" }]);
  });
});

const nested = (depth: number, open = "[", close = "]") =>
  `{"event":"contact_created","id":5,"custom_attributes":{"x":${open.repeat(depth)}${close.repeat(depth)}}}`;
const contact = (rest: string) => `{"event":"contact_created",${rest}}`;

describe("bodies", () => {
  test.each<
    {
      name: string;
      body: string | Uint8Array;
      outcome: string;
      reason?: RegExp;
      note?: RegExp;
      mirror?: object[];
      event?: string | null;
    }
  >([
    { name: "no bytes", body: "", outcome: "dead", reason: /^The body is not JSON/, event: null },
    { name: "not JSON", body: "event=message_created", outcome: "dead", reason: /^The body is not JSON/, event: null },
    { name: "JSON cut short", body: BODY.slice(0, -1), outcome: "dead", reason: /^The body is not JSON/, event: null },
    {
      name: "a control character that JSON does not allow",
      body: contact('"id":5,"name":"Da\u0001na"'),
      outcome: "dead",
      reason: /^The body is not JSON/,
      event: null,
    },
    { name: "a list", body: `[${BODY}]`, outcome: "dead", reason: /not an object/, event: null },
    { name: "bytes that are not UTF-8", body: flipTo(BODY, 0xff), outcome: "dead", reason: /not UTF-8/, event: null },
    { name: "a NUL byte", body: flipTo(BODY, 0), outcome: "dead", reason: /not UTF-8/, event: null },
    { name: "gzip that does not say so", body: gzipSync(BODY), outcome: "dead", reason: /not UTF-8/, event: null },
    {
      name: "an unknown event",
      body: '{"event":"conversation_exploded","id":1}',
      outcome: "ignored",
      reason: /conversation_exploded is not known/,
      event: "conversation_exploded",
    },
    {
      name: "no event",
      body: '{"id":1,"account":{"id":1}}',
      outcome: "ignored",
      reason: /names no event/,
      event: null,
    },
    {
      name: "an event that is no text",
      body: '{"event":["contact_created"],"id":1}',
      outcome: "ignored",
      reason: /names no event/,
      event: null,
    },
    {
      name: "typing",
      body: serialise(typing()),
      outcome: "ignored",
      reason: /Typing says nothing/,
      event: "conversation_typing_on",
    },
    { name: "a depth of 10", body: nested(10), outcome: "applied", mirror: [{ contact_id: "5" }] },
    { name: "a depth of 100,000", body: nested(100_000), outcome: "dead", reason: /nested too deep/, event: null },
    {
      name: "objects to a depth of 100,000",
      body: nested(100_000, '{"a":', "}").replace(":}", ":1}"),
      outcome: "dead",
      reason: /nested too deep/,
      event: null,
    },
    {
      name: "2^53 - 1 as id",
      body: contact('"id":9007199254740991'),
      outcome: "applied",
      mirror: [{ contact_id: "9007199254740991" }],
    },
    {
      name: "2^53 + 1 as id",
      body: contact('"id":9007199254740993'),
      outcome: "applied",
      mirror: [{ contact_id: "9007199254740993" }],
    },
    {
      name: "2^63 - 1 as id",
      body: contact('"id":9223372036854775807'),
      outcome: "applied",
      mirror: [{ contact_id: "9223372036854775807" }],
    },
    {
      name: "an id of 20 digits",
      body: contact('"id":99999999999999999999'),
      outcome: "dead",
      reason: /^22003: .*out of range/,
    },
    {
      name: "an id of 20 digits as text",
      body: contact('"id":"99999999999999999999"'),
      outcome: "dead",
      reason: /^22003: .*out of range/,
    },
    { name: "an id below zero", body: contact('"id":-5'), outcome: "dead", reason: /^23514: / },
    { name: "no id", body: contact('"name":"Dana"'), outcome: "dead", reason: /^OC422: The contact has no id/ },
    {
      name: "a number beyond all numbers",
      body: contact('"id":1e999999'),
      outcome: "dead",
      reason: /too large to be read/,
      event: null,
    },
    {
      name: "keys that are dangerous in JavaScript",
      body: contact(
        '"id":5,"__proto__":{"id":6},"constructor":{"prototype":{}},"custom_attributes":{"__proto__":{"isAdmin":true},"toString":1}',
      ),
      outcome: "applied",
      mirror: [{ contact_id: "5", custom_attributes: JSON.parse('{"__proto__":{"isAdmin":true},"toString":1}') }],
    },
    {
      name: "a key twice, the last of which counts",
      body: contact('"id":6,"id":5,"name":"A","name":"B"'),
      outcome: "applied",
      mirror: [{ contact_id: "5", name: "B" }],
    },
    {
      name: "the event twice",
      body: contact('"id":5,"event":"conversation_typing_on"'),
      outcome: "ignored",
      reason: /Typing/,
      event: "conversation_typing_on",
    },
    {
      name: "U+0000",
      body: contact('"id":5,"name":"Da\\u0000na \\\\u0000"'),
      outcome: "applied",
      note: /U\+0000/,
      mirror: [{ name: "Da\uFFFDna \\u0000" }],
    },
    {
      name: "half an emoji",
      body: contact('"id":5,"name":"Dana \\ud83d!"'),
      outcome: "applied",
      note: /lone surrogates/,
      mirror: [{ name: "Dana \uFFFD!" }],
    },
    {
      name: "a byte order mark, rightly signed",
      body: `\uFEFF${BODY}`,
      outcome: "dead",
      reason: /not JSON/,
      event: null,
    },
  ])("$name: $outcome", async ({ body, outcome, reason, note, mirror = [], event = "contact_created" }) => {
    const { status, answer } = await post(body);

    const delivery_id = `sha256:${sha256(body)}`;
    expect({ status, answer }).toEqual({ status: 200, answer: { delivery_id, outcome } });
    expect(await door.kept()).toMatchObject([{
      delivery_id,
      event,
      outcome,
      reason: reason ? expect.stringMatching(reason) : null,
      note: note ? expect.stringMatching(note) : null,
    }]);
    expect((await door.kept())[0].body.equals(Buffer.from(body)), "the bytes are kept as they came").toBe(true);
    const contacts = await door.rows("select contact_id, name, custom_attributes from chatwoot.contacts");
    expect(contacts).toMatchObject(mirror);
    const { "inbox.deliveries": deliveries, "chatwoot.contacts": mirrored, ...others } = await door.counts();
    expect({ deliveries, mirrored, others: Object.values(others).filter((count) => count > 0) })
      .toEqual({ deliveries: 1, mirrored: mirror.length, others: [] });
  });

  test("a depth of 6,000 is kept, whether or not this server's stack can read it", async () => {
    const { status, answer } = await post(nested(6_000));

    expect({ status, outcome: answer.outcome }).toEqual({
      status: 200,
      outcome: expect.stringMatching(/^(applied|dead)$/),
    });
    expect(await door.kept()).toMatchObject([{ outcome: answer.outcome }]);
    expect(await door.counts()).toMatchObject({ "chatwoot.contacts": answer.outcome === "applied" ? 1 : 0 });
  });
});

/** The text with one of its bytes, inside a string, replaced. */
function flipTo(text: string, byte: number): Buffer {
  const bytes = Buffer.from(text);
  bytes[bytes.indexOf("marche")] = byte;
  return bytes;
}

describe("sizes", () => {
  const padded = (size: number) => {
    const [head, tail] = ['{"event":"contact_created","id":5,"padding":"', '"}'];
    return Buffer.from(`${head}${"x".repeat(size - head.length - tail.length)}${tail}`);
  };
  const chunked = (body: Uint8Array, size: number) => {
    const parts: (string | Uint8Array)[] = [];
    for (let from = 0; from < body.length; from += size) {
      const part = body.subarray(from, from + size);
      parts.push(`${part.length.toString(16)}\r\n`, part, "\r\n");
    }
    return [...parts, "0\r\n\r\n"];
  };

  test.each([
    { name: "at the limit", body: padded(LIMIT), status: 200 },
    { name: "one byte above it", body: padded(LIMIT + 1), status: 413 },
    { name: "three times the limit", body: padded(3 * LIMIT), status: 413 },
  ])("$name, in one piece and in chunks: $status", async ({ body, status }) => {
    const whole = await post(body);
    const headers = rawHead({ ...signed(body), "x-chatwoot-delivery": "in-chunks", "transfer-encoding": "chunked" });
    const inChunks = await sendRaw(door.port(), [headers, ...chunked(body, 100_000)]);

    expect({ whole: whole.status, inChunks }).toEqual({ whole: status, inChunks: status });
    if (status !== 200) {
      expect(whole.answer.code).toBe("OC413");
      await door.expectNothingStored();
      return;
    }
    expect(await door.kept()).toMatchObject([
      { delivery_id: "in-chunks", outcome: "applied" },
      { delivery_id: `sha256:${sha256(body)}`, outcome: "applied" },
    ]);
    expect((await door.kept()).map((row) => row.body.equals(body))).toEqual([true, true]);
  });

  test("one byte a chunk", async () => {
    const body = Buffer.from(contact('"id":5'));

    expect(
      await sendRaw(door.port(), [rawHead({ ...signed(body), "transfer-encoding": "chunked" }), ...chunked(body, 1)]),
    )
      .toBe(200);
    expect(await door.kept()).toMatchObject([{ body, outcome: "applied" }]);
  });

  test("a Content-Length below the body: the bytes it covers are not those that were signed", async () => {
    const head = rawHead({ ...signed(BODY), "content-length": Buffer.byteLength(BODY) - 10 });

    // 400 where the gateway first stumbles over the rest, which is no request.
    expect([400, 401]).toContain(await sendRaw(door.port(), [head, BODY]));
    await door.expectNothingStored();
  });

  test("a Content-Length above the limit is believed at once", async () => {
    expect(await sendRaw(door.port(), [rawHead({ ...signed(BODY), "content-length": LIMIT + 1 }), BODY])).toBe(413);
    await door.expectNothingStored();
  });

  test("a Content-Length above the body, and the sender hangs up: nothing is stored", async () => {
    const socket = connect(door.port(), "127.0.0.1");
    socket.write(rawHead({ ...signed(BODY), "content-length": Buffer.byteLength(BODY) + 10 }));
    socket.write(BODY);
    await sleep(200);
    socket.destroy();
    // What came after it has been answered, so whatever became of it has happened.
    expect((await post(BODY, {})).status).toBe(401);
    await sleep(300);

    await door.expectNothingStored();
  });

  test.each([
    ["content-length twice, unlike", { "content-length": `5\r\ncontent-length: ${Buffer.byteLength(BODY)}` }],
    ["a length and chunks at once", { "content-length": Buffer.byteLength(BODY), "transfer-encoding": "chunked" }],
    ["a length that is no number", { "content-length": "many" }],
  ])("%s is refused and leaves nothing", async (_, length) => {
    expect(await sendRaw(door.port(), [rawHead({ ...signed(BODY), ...length }), BODY])).toBe(400);
    await door.expectNothingStored();
  });

  test.each(["gzip", "deflate", "br", "GZIP", "gzip, identity", "x-unheard-of"])(
    "content-encoding %s is refused unread, a bomb or not",
    async (encoding) => {
      const bomb = gzipSync(Buffer.alloc(20 * LIMIT));

      const { status, answer } = await post(bomb, { ...signed(bomb), "content-encoding": encoding });

      expect({ status, code: answer.code }).toEqual({ status: 415, code: "OC415" });
      await door.expectNothingStored();
    },
  );
});

test.each(["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])("%s stores nothing", async (method) => {
  const withBody = !["GET", "HEAD"].includes(method);
  const response = await fetch(door.url(), { method, headers: signed(BODY), body: withBody ? BODY : undefined });
  await response.body?.cancel();

  expect({ status: response.status, allow: response.headers.get("allow") }).toEqual({ status: 405, allow: "POST" });
  await door.expectNothingStored();
});

describe("when it cannot be stored now", () => {
  const headers = () => ({ ...signed(BODY), "x-chatwoot-delivery": "evt-1" });
  const expectLater = ({ status, answer, headers: sent }: Answered) =>
    expect({ status, code: answer.code, retryAfter: sent.get("retry-after") })
      .toEqual({ status: 503, code: "OC503", retryAfter: "10" });
  /** Until no session of the Data API waits for a lock any more: the server gives up on its own. */
  const untilNobodyWaits = async () => {
    const waiting = "select from pg_stat_activity where usename = 'authenticator' and wait_event_type = 'Lock'";
    while ((await door.rows(waiting)).length > 0) await sleep(50);
  };
  let release = async () => {};
  afterEach(() => release());

  async function hold(statement: string): Promise<void> {
    const holder = await door.connect();
    await holder.query("begin");
    await holder.query(statement);
    release = async () => {
      release = async () => {};
      await holder.query("rollback");
      holder.release();
    };
  }

  test("the inbox stays locked: 503, nothing stored, and the same delivery is applied afterwards", async () => {
    await hold("lock table inbox.deliveries in access exclusive mode");

    expectLater(await post(BODY, headers()));
    await untilNobodyWaits();
    await release();

    await door.expectNothingStored();
    expect((await post(BODY, headers())).answer).toEqual({ delivery_id: "evt-1", outcome: "applied" });
    expect(await door.kept()).toMatchObject([{ delivery_id: "evt-1", outcome: "applied", redeliveries: 0 }]);
  });

  test.each([
    { held: "too long: 503, and neither delivery nor mirror is half written", isTooLong: true, again: "applied" },
    { held: "until after the answer: 503, and it is applied all the same, once", isTooLong: false, again: "duplicate" },
  ])("its conversation is locked $held", async ({ isTooLong, again }) => {
    const created = serialise(conversationEvent("conversation_created", { messages: [] }));
    const reply = serialise(messageEvent("message_created", {
      id: 9002,
      conversation: conversation({ messages: [], status: "pending", updated_at: START + 60.5 }),
    }));
    const later = () => ({ ...signed(reply), "x-chatwoot-delivery": "evt-1" });
    expect((await post(created)).answer.outcome).toBe("applied");
    const before = await door.counts();
    await hold("select from chatwoot.conversations for update");

    expectLater(await post(reply, later()));
    if (isTooLong) await untilNobodyWaits();
    expect(await door.counts()).toEqual(before);
    await release();
    await untilNobodyWaits();

    expect((await post(reply, later())).answer).toEqual({ delivery_id: "evt-1", outcome: again });
    expect(await door.rows("select display_id, status from chatwoot.conversations")).toEqual([
      { display_id: "42", status: "pending" },
    ]);
    expect(await door.rows("select message_id from chatwoot.messages")).toEqual([{ message_id: "9002" }]);
  });

  test("released in time, a waiting delivery is applied", async () => {
    await hold("lock table inbox.deliveries in access exclusive mode");

    const [answered] = await Promise.all([post(BODY, headers()), sleep(500).then(() => release())]);

    expect(answered.answer).toEqual({ delivery_id: "evt-1", outcome: "applied" });
    expect(await door.kept()).toMatchObject([{ delivery_id: "evt-1", outcome: "applied", redeliveries: 0 }]);
  });

  test("the database is gone: 503 at once; and once it is back, the same delivery is applied", async () => {
    const { home, dbPort } = door.settings();
    await door.stack().postgres.stop();

    const began = performance.now();
    expectLater(await post(BODY, headers()));
    expect(performance.now() - began).toBeLessThan(5_000);
    // A refusal needs no database.
    expect((await post(BODY, {})).status).toBe(401);

    const postgres = await startPostgres({ home, port: dbPort, settings: { fsync: "off" } });
    try {
      await door.expectNothingStored();
      const answered = await post(BODY, headers());
      expect(answered.answer).toEqual({ delivery_id: "evt-1", outcome: "applied" });
      expect(await door.kept()).toMatchObject([{ delivery_id: "evt-1", outcome: "applied", redeliveries: 0 }]);
    } finally {
      await door.stack().stop();
      await postgres.stop();
    }
  });
});
