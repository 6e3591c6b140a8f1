// Scenarios as data, the day they make, long histories, and the sender that carries them.
import { createServer } from "node:http";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { playDay, playFrom } from "../../local/chatwoot/day.ts";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { CATEGORIES, lastHourFolder, loadScenarios, SCENARIO_CHANNELS } from "../../local/chatwoot/scenarios.ts";
import { send } from "../../local/chatwoot/sender.ts";
import { signature } from "../../local/chatwoot/sign.ts";
import { mirrorOf, type Told } from "./chatwoot.mirror.ts";
import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";

const body = (event: ChatwootEvent) => JSON.parse(event.body);

describe("scenarios", () => {
  test("there are enough, in every category, channel and language", async () => {
    const scenarios = await loadScenarios();
    const counted = (key: "category" | "channel" | "language" | "urgency", value: string) =>
      scenarios.filter((scenario) => scenario[key] === value).length;

    expect(scenarios.length).toBeGreaterThanOrEqual(26);
    for (const category of CATEGORIES) expect([category, counted("category", category) >= 5]).toEqual([category, true]);
    for (const channel of SCENARIO_CHANNELS) {
      expect([channel, counted("channel", channel) >= 3]).toEqual([channel, true]);
    }
    for (const language of ["de", "fr", "es"]) {
      expect([language, counted("language", language) >= 3]).toEqual([language, true]);
    }
    for (const urgency of ["low", "medium", "high", "urgent"]) expect(counted("urgency", urgency)).toBeGreaterThan(1);
    expect(new Set(scenarios.map(({ tone }) => tone)).size).toBeGreaterThan(20);
    expect(scenarios.filter(({ known_answer }) => !known_answer).length).toBeGreaterThan(4);
  });

  test("every verb is used somewhere", async () => {
    const used = new Set((await loadScenarios()).flatMap(({ steps }) => steps.map((step) => step.do)));

    expect([...used].sort()).toEqual([
      "add_label",
      "agent_replies",
      "agent_writes_reply",
      "assign",
      "assign_team",
      "bot_replies",
      "customer_types",
      "customer_writes",
      "delete_message",
      "delivery",
      "edit_reply",
      "hand_off",
      "note",
      "open_widget",
      "rate",
      "remove_label",
      "resolve",
      "set_custom_attributes",
      "set_priority",
      "snooze",
      "snooze_ends",
      "update_contact",
    ]);
  });

  const sound = {
    id: "a-b",
    title: "A sound one",
    category: "billing",
    urgency: "low",
    handling: "Answer it as well as you can.",
    language: "en",
    channel: "sms",
    tone: "plain",
    contact: { name: "N", phone_number: "+447700900001" },
    known_answer: true,
    gold_reply: "refund-late-en",
    labels: ["refund"],
    team: "billing",
    steps: [{ at: 0, do: "customer_writes", text: "Hi" }, { at: 1, do: "resolve" }],
  };

  test.each([
    {
      name: "a known answer that is not named",
      scenario: { ...sound, gold_reply: null },
      fault: "a-b: gold_reply must name the gold reply",
    },
    {
      name: "an unknown verb",
      scenario: { ...sound, steps: [...sound.steps, { at: 2, do: "dance" }] },
      fault: "a-b: steps.2.do",
    },
    {
      name: "steps out of order",
      scenario: { ...sound, steps: [{ ...sound.steps[0], at: 5 }, sound.steps[1]] },
      fault: "must not come before",
    },
    { name: "no phone on SMS", scenario: { ...sound, contact: { name: "N" } }, fault: "needs a phone number" },
    {
      name: "an agent nobody knows",
      scenario: { ...sound, steps: [sound.steps[0], { at: 1, do: "assign", agent: "Zoe" }] },
      fault: "must be one of Ravi",
    },
    {
      name: "a message without anything",
      scenario: { ...sound, steps: [{ at: 0, do: "customer_writes" }, sound.steps[1]] },
      fault: "needs a text",
    },
    { name: "a field too many", scenario: { ...sound, colour: "red" }, fault: "colour" },
  ])("$name is refused with its file and place", async ({ scenario, fault }) => {
    const folder = await mkdtemp(join(tmpdir(), "occ-scenarios-"));
    try {
      await writeFile(join(folder, "one.json"), JSON.stringify([sound]).replace("a-b", "c-d"));
      await writeFile(join(folder, "two.json"), JSON.stringify([scenario]));

      await expect(loadScenarios(folder)).rejects.toThrow(/two\.json, a-b: /);
      await expect(loadScenarios(folder)).rejects.toThrow(fault);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

function shuffled<Item>(items: Item[]): Item[] {
  const random = createRandom(1);
  return items.map((item) => ({ item, place: random.next() })).sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
}

describe("a day and a history", () => {
  const day = async (seed: number) => playDay({ date: "2026-11-20", scenarios: await loadScenarios(), seed });

  test("the same seed gives the same bytes, another seed others", async () => {
    const wire = ({ events }: { events: Iterable<ChatwootEvent> }) =>
      [...events].map(({ at, deliveryId, body }) => `${at.toISOString()} ${deliveryId} ${body}`).join("\n");
    const history = (seed: number) => wire(historyOf({ conversations: 5, events: 200, seed }));

    expect(wire(await day(7))).toBe(wire(await day(7)));
    expect(wire(await day(8))).not.toBe(wire(await day(7)));
    expect(history(7)).toBe(history(7));
    expect(history(8)).not.toBe(history(7));
  });

  test("a day lies within its local day, in order, under delivery ids of its own", async () => {
    const { events, conversations } = await day(7);

    const times = events.map(({ at }) => at.getTime());
    expect(times).toEqual([...times].sort((one, other) => one - other));
    expect(times[0]).toBeGreaterThanOrEqual(Date.parse("2026-11-19T23:00:00Z"));
    expect(times.at(-1)).toBeLessThan(Date.parse("2026-11-20T23:00:00Z"));
    expect(new Set(events.map(({ deliveryId }) => deliveryId)).size).toBe(events.length);
    for (const { deliveryId } of events) {
      expect(deliveryId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
    expect(new Set(conversations.values()).size).toBe(conversations.size);
  });

  test("the last hour of the demo is played to the second, after its day", async () => {
    const { events, installation } = await day(7);
    const begin = new Date("2026-11-21T09:00:00Z");
    const scenarios = await loadScenarios(lastHourFolder);

    const hour = playFrom(begin, { scenarios, installation });

    expect(hour[0].at.toISOString().slice(0, 19)).toBe("2026-11-21T09:00:00");
    const minutes = hour.map(({ at }) => (at.getTime() - begin.getTime()) / 60_000);
    expect(minutes).toEqual([...minutes].sort((one, other) => one - other));
    expect(minutes.at(-1)).toBeLessThan(60);
    const ids = [...await loadScenarios(), ...scenarios].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(new Set([...events, ...hour].map(({ deliveryId }) => deliveryId)).size).toBe(events.length + hour.length);
  });

  test("local midnight is right on the day the clocks change", async () => {
    const scenarios = (await loadScenarios()).filter(({ id }) => id === "parcel-asleep-in-depot");

    const first = (date: string) => playDay({ date, scenarios, seed: 1 }).events[1].at.toISOString().slice(0, 15);

    expect([first("2026-10-24"), first("2026-10-25"), first("2026-10-26")]).toEqual([
      "2026-10-24T06:1",
      "2026-10-25T06:1",
      "2026-10-26T07:1",
    ]);
    expect(() => playDay({ date: "20.11.2026", scenarios, seed: 1 })).toThrow("is no day");
  });

  test.each([
    { order: "in order", arrange: (told: Told[]) => told },
    { order: "backwards", arrange: (told: Told[]) => [...told].reverse() },
    { order: "shuffled and doubled", arrange: (told: Told[]) => shuffled([...told, ...told]) },
  ])("told $order, a history of exactly the length asked for ends in its final state", ({ arrange }) => {
    const { events, installation } = historyOf({ conversations: 40, events: 2000, seed: 3 });
    const told = [...events].map((event) => body(event));

    const mirror = mirrorOf(arrange(told));

    expect(told).toHaveLength(2000);
    const { unsettled, ...final } = installation.finalState("webhooks");
    expect(final.conversations).toHaveLength(40);
    // The mirror above keeps few of the columns.
    for (const kind of ["contacts", "conversations", "messages", "csat_responses"] as const) {
      const settled = (row: unknown) => !unsettled.has(Number(Object(row).message_id));
      const rows: unknown[] = final[kind];
      expect(rows.filter(settled), kind).toMatchObject(mirror[kind].filter(settled));
    }
    expect(unsettled.size).toBeLessThan(final.messages.length / 20);
  });

  test("no version of a conversation stands for two states", () => {
    const states = new Map<string, string>();
    const { events } = historyOf({ conversations: 20, events: 2000, seed: 5 });
    for (const event of events) {
      const payload = body(event);
      const conversation = payload.conversation ?? (payload.meta === undefined ? null : payload);
      if (conversation === null) continue;
      const { status, labels, priority, waiting_since, meta } = conversation;
      const state = JSON.stringify([status, labels, priority, waiting_since, meta.team, meta.assignee]);
      const version = `${conversation.id} at ${conversation.updated_at}`;
      expect([version, states.get(version) ?? state]).toEqual([version, state]);
      states.set(version, state);
    }
  });
});

describe("sender", () => {
  interface Received {
    headers: NodeJS.Dict<string | string[]>;
    body: string;
  }
  const received: Received[] = [];
  let open = 0;
  let most = 0;
  let url = "";
  const server = createServer((request, response) => {
    most = Math.max(most, ++open);
    const parts: Buffer[] = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      received.push({ headers: request.headers, body: Buffer.concat(parts).toString() });
      setImmediate(() => {
        open--;
        if (request.url === "/hang") return;
        response.writeHead(request.url === "/broken" ? 500 : 200).end(`answer ${received.length}`);
      });
    });
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const secret = "Zk3vQ9mXy7RtB2nHc8LpWd4J";
  const fresh = () => {
    received.length = 0;
    most = 0;
  };

  test("every event arrives once, signed over its own bytes at the moment of sending", async () => {
    fresh();
    const events = [...historyOf({ conversations: 5, events: 100, seed: 1 }).events];

    const answers = await send(events, { url, secret, now: () => new Date(1795165201_999) });

    expect(answers.map(({ status }) => status)).toEqual(Array(100).fill(200));
    expect(answers.map(({ deliveryId }) => deliveryId)).toEqual(events.map(({ deliveryId }) => deliveryId));
    expect(received).toHaveLength(100);
    expect(most).toBeLessThanOrEqual(10);
    for (const { headers, body } of received) {
      expect(headers["x-chatwoot-timestamp"]).toBe("1795165201");
      const right = signature(Buffer.from(body), { secret, timestamp: 1795165201 });
      expect(headers["x-chatwoot-signature"]).toBe(right);
      expect(headers["user-agent"]).toBe("Ruby");
    }
    expect(received.map(({ body }) => body).sort()).toEqual(events.map(({ body }) => body).sort());
  });

  test("kept in order, each conversation's events arrive as they happened", async () => {
    fresh();
    const events = [...historyOf({ conversations: 5, events: 200, seed: 2 }).events];

    await send(events, { url, secret, ordered: true, concurrency: 4 });

    const position = new Map(received.map(({ headers }, index) => [String(headers["x-chatwoot-delivery"]), index]));
    for (const conversation of [1, 2, 3, 4, 5]) {
      const own = events.filter((event) => event.conversation === conversation).map((event) => event.deliveryId);
      const positions = own.map((id) => position.get(id) ?? -1);
      expect(positions).toEqual([...positions].sort((one, other) => one - other));
    }
  });

  test("a refusal, a silence and a closed port are told once each and never tried again", async () => {
    fresh();
    const event = { deliveryId: null, body: "{}" };

    const [broken] = await send([event], { url: `${url}/broken`, secret: null });
    const [silent] = await send([event], { url: `${url}/hang`, secret: null, timeoutMilliseconds: 100 });
    const [closed] = await send([event], { url: "http://127.0.0.1:1/", secret: null });

    expect(broken).toMatchObject({ status: 500, text: "answer 1", error: null });
    expect(silent).toMatchObject({ status: null, text: "", error: expect.stringMatching(/timeout/i) });
    expect(closed).toMatchObject({ status: null, error: expect.stringContaining("ECONNREFUSED") });
    expect(received).toHaveLength(2);
    expect(received[0].headers).not.toHaveProperty("x-chatwoot-signature");
    expect(received[0].headers).not.toHaveProperty("x-chatwoot-delivery");
  });

  test("a user and password in the URL become a header and appear in no error", async () => {
    fresh();

    await send([{ deliveryId: null, body: "{}" }], { url: url.replace("//", "//hook:s3cret@"), secret: null });
    const [closed] = await send([{ deliveryId: null, body: "{}" }], { url: "http://u:s3cret@127.0.0.1:1/", secret });

    expect(received[0].headers.authorization).toBe(`Basic ${Buffer.from("hook:s3cret").toString("base64")}`);
    expect(JSON.stringify(closed)).not.toContain("s3cret");
    await expect(send([], { url: "ftp://x.example", secret })).rejects.toThrow("begins with http://");
  });
});
