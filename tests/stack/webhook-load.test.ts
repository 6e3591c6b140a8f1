// Many webhooks at once: copies of one, two secrets at a time, a whole day, and long histories in no order at all.
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { Agent, request } from "undici";
import { afterAll, beforeEach, expect, test } from "vitest";
import { playDay } from "../../local/chatwoot/day.ts";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { Installation } from "../../local/chatwoot/installation.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { loadScenarios } from "../../local/chatwoot/scenarios.ts";
import { type Answer, send } from "../../local/chatwoot/sender.ts";
import { serialise } from "../../local/chatwoot/serialise.ts";
import { contactEvent, messageEvent } from "../fixtures/webhooks.ts";
import { PREVIOUS_SECRET, SECRET, signed } from "../functions/door.ts";
import { differencesFrom } from "../support/mirror-rows.ts";
import { useWebhookDoor } from "./webhook.support.ts";

const door = useWebhookDoor();
const agents: Agent[] = [];

beforeEach(() => door.clear());
afterAll(() => Promise.all(agents.map((agent) => agent.close())));

interface Sent {
  body: string;
  headers: Record<string, string>;
}

/** Sends them over so many connections, each of which sends its next when it has its answer. */
async function flood(deliveries: Sent[], connections: number): Promise<string[]> {
  const agent = new Agent({ connections, pipelining: 1 });
  agents.push(agent);
  const answers: string[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: connections }, async () => {
    while (next < deliveries.length) {
      const { body, headers } = deliveries[next++];
      const response = await request(door.url(), { method: "POST", body, headers, dispatcher: agent });
      const answer = await response.body.json() as { outcome?: string; code?: string };
      answers.push(`${response.statusCode} ${answer.outcome ?? answer.code}`);
    }
  }));
  return answers;
}

const tally = (names: string[]) => {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
};

const outcomes = (answers: Answer[]) =>
  tally(
    answers.map(({ status, text, error }) => `${status} ${status === 200 ? JSON.parse(text).outcome : error ?? text}`),
  );

test("one delivery 1,000 times on 50 connections is applied once and stored once", async () => {
  const body = serialise(messageEvent("message_created"));
  const copy = { body, headers: { ...signed(body), "x-chatwoot-delivery": "evt-1" } };

  const answers = await flood(Array.from({ length: 1_000 }, () => copy), 50);

  expect(tally(answers)).toEqual({ "200 applied": 1, "200 duplicate": 999 });
  expect(await door.kept()).toMatchObject([{
    delivery_id: "evt-1",
    outcome: "applied",
    redeliveries: 999,
    conflicts: 0,
  }]);
  expect(await door.counts()).toMatchObject({ "chatwoot.messages": 1, "chatwoot.conversations": 1 });
});

test("the same delivery id with 200 different bodies at once: one is applied, the others are conflicts", async () => {
  const deliveries = Array.from({ length: 200 }, (_, number) => {
    const body = serialise(contactEvent("contact_created", { name: `Name ${number}` }));
    return { body, headers: { ...signed(body), "x-chatwoot-delivery": "evt-1" } };
  });

  const answers = await flood(deliveries, 50);

  expect(tally(answers)).toEqual({ "200 applied": 1, "200 duplicate": 199 });
  const [{ body, redeliveries, conflicts }] = await door.kept();
  expect({ redeliveries, conflicts }).toEqual({ redeliveries: 199, conflicts: 199 });
  expect(await door.rows("select name from chatwoot.contacts")).toEqual([{ name: JSON.parse(body.toString()).name }]);
});

test("while a secret is being changed, webhooks signed with either are taken", async () => {
  const deliveries = Array.from({ length: 600 }, (_, number) => {
    const body = serialise(contactEvent("contact_updated", { id: 1 + number, name: `Customer ${number}` }));
    const headers = signed(body, { secret: number % 2 === 0 ? SECRET : PREVIOUS_SECRET });
    return { body, headers: { ...headers, "x-chatwoot-delivery": randomUUID() } };
  });

  expect(tally(await flood(deliveries, 20))).toEqual({ "200 applied": 600 });
  expect(await door.counts()).toMatchObject({ "inbox.deliveries": 600, "chatwoot.contacts": 600 });
});

/** Asserts that the mirror holds what the installation ended with; a failure shows only the rows that differ. */
async function expectMirrorOf(installation: Installation): Promise<void> {
  // When an answer was first there, webhooks only tell roughly.
  const without = { csat_responses: ["first_answered_at"] };
  const client = await door.connect();
  try {
    expect(await differencesFrom(installation.finalState("webhooks"), client, { without })).toEqual([]);
  } finally {
    client.release();
  }
}

test("a whole day of support, ten workers and no order: the mirror ends as the installation did", async () => {
  const { events, installation } = playDay({ date: "2026-11-20", scenarios: await loadScenarios(), seed: 20 });

  const answers = await send(events, { url: door.url(), secret: SECRET, concurrency: 10 });

  const typing = events.filter(({ name }) => name.startsWith("conversation_typing_")).length;
  expect(outcomes(answers)).toEqual({ "200 applied": events.length - typing, "200 ignored": typing });
  expect(await door.counts()).toMatchObject({ "inbox.deliveries": events.length });
  await expectMirrorOf(installation);
});

// More of them, without HTTP, in tests/database/shuffle.test.ts.
const EVENTS = 4_000;
const CONVERSATIONS = 80;

test(
  `${EVENTS} events of ${CONVERSATIONS} conversations, shuffled and doubled, end as told once and in order`,
  async () => {
    const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
    console.log(`load: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
    const random = createRandom(seed);
    const { events: told, installation } = historyOf({ conversations: CONVERSATIONS, events: EVENTS, seed });
    const events = [...told];
    const doubled = [...events, ...events];
    for (let last = doubled.length - 1; last > 0; last--) {
      const other = random.integer(0, last);
      [doubled[last], doubled[other]] = [doubled[other], doubled[last]];
    }
    const deliveries = doubled.map(({ body, deliveryId }) => ({
      body,
      headers: { ...signed(Buffer.from(body)), "x-chatwoot-delivery": deliveryId },
    }));

    const { "503 OC503": late = 0, ...answers } = tally(await flood(deliveries, 16));

    // A machine with other work may answer the first of a burst too late, yet stores them.
    expect(Object.keys(answers).sort()).toEqual(["200 applied", "200 duplicate", "200 ignored"]);
    expect(Object.values(answers).reduce((sum, number) => sum + number, late)).toBe(2 * EVENTS);
    const stored = "select count(*)::integer as deliveries, sum(redeliveries)::integer as redeliveries, " +
      "sum(conflicts)::integer as conflicts from inbox.deliveries";
    await expect.poll(() => door.rows(stored), { timeout: 10_000 })
      .toEqual([{ deliveries: EVENTS, redeliveries: EVENTS, conflicts: 0 }]);
    expect(await door.counts()).toMatchObject({ "chatwoot.conversations": CONVERSATIONS });
    await expectMirrorOf(installation);
  },
  400_000,
);
