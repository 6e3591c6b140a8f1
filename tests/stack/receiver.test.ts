// The receiver of npm start: it takes what is signed, once, and nothing else.
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type Receiver, startReceiver } from "../../local/receiver.ts";

const SECRET = `whsec_${Buffer.from("a key of thirty-two bytes, or so").toString("base64")}`;
const news = (title: string) => ({
  type: "sla.breach",
  timestamp: "2026-11-20T10:00:00.000Z",
  data: { title, severity: "critical", body: {} },
});

let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.expectSignature(SECRET);
});
afterAll(() => receiver.stop());

interface Sending {
  id?: string;
  secret?: string;
  age?: number;
  signature?: string;
}

async function send(body: unknown, { id = crypto.randomUUID(), secret = SECRET, age = 0, signature }: Sending = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const seconds = Math.floor(Date.now() / 1000) - age;
  const right = createHmac("sha256", Buffer.from(secret.slice(6), "base64")).update(`${id}.${seconds}.${text}`);
  const response = await fetch(receiver.url, {
    method: "POST",
    body: text,
    headers: {
      "webhook-id": id,
      "webhook-timestamp": String(seconds),
      "webhook-signature": signature ?? `v1,${right.digest("base64")}`,
    },
  });
  return response.status;
}

test("a signed notification is taken, and whoever follows is told", async () => {
  const told: string[] = [];
  receiver.follow(({ title }) => told.push(title));

  expect(await send(news("late"))).toBe(204);

  expect(receiver.received).toEqual([
    { kind: "sla.breach", title: "late", severity: "critical", at: "2026-11-20T10:00:00.000Z" },
  ]);
  expect(told).toEqual(["late"]);
});

test("a digest is taken apart", async () => {
  const body = {
    type: "notifications.digest",
    timestamp: "2026-11-20T10:00:00.000Z",
    data: { account_id: 1, count: 2, notifications: [news("one"), news("two")] },
  };

  expect(await send(body)).toBe(204);

  expect(receiver.received.map(({ title }) => title)).toEqual(["one", "two"]);
});

test("the same message sent again is answered and not counted", async () => {
  await send(news("late"), { id: "msg_1" });

  expect(await send(news("late"), { id: "msg_1" })).toBe(204);

  expect(receiver.received).toHaveLength(1);
});

test.each<{ name: string; body?: unknown; sending: Sending; status: number }>([
  { name: "another's secret", sending: { secret: `whsec_${btoa("somebody else's")}` }, status: 401 },
  { name: "no signature", sending: { signature: "" }, status: 401 },
  { name: "a signature that is none", sending: { signature: "v1,abc v1 ,,v2" }, status: 401 },
  { name: "an old message", sending: { age: 400 }, status: 401 },
  { name: "one from the future", sending: { age: -400 }, status: 401 },
  { name: "signed, but no JSON", body: "{", sending: {}, status: 422 },
  { name: "signed, but no notification", body: { type: "x" }, sending: {}, status: 422 },
  { name: "too much", body: "x".repeat(1_000_001), sending: {}, status: 413 },
])("refused: $name", async ({ body = news("late"), sending, status }) => {
  expect(await send(body, sending)).toBe(status);

  expect(receiver.received).toEqual([]);
});
