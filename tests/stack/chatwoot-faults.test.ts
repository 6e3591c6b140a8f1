// What goes wrong around the local Chatwoot when it is told to: webhooks on their way, and answers of its REST API.
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Fault } from "../../local/chatwoot/faults.ts";
import { type ChatwootEvent, createInstallation } from "../../local/chatwoot/installation.ts";
import { applyDial } from "../../local/chatwoot/webhooks.ts";
import {
  converse,
  type Desk,
  minute,
  type Received,
  type Receiver,
  signatureOf,
  START,
  startReceiver,
  useChatwoots,
} from "./chatwoot-server.support.ts";

const open = useChatwoots();
const receivers: Receiver[] = [];
afterEach(async () => {
  await Promise.all(receivers.splice(0).map((receiver) => receiver.stop()));
});
const receive = async (options?: Parameters<typeof startReceiver>[0]) => {
  const receiver = await startReceiver(options);
  receivers.push(receiver);
  return receiver;
};
const idOf = ({ headers }: Received) => headers["x-chatwoot-delivery"];

/** A conversation with so many messages from the customer; their webhooks are still to be sent. */
function chatter(desk: Desk, id: number, number: number): ChatwootEvent[] {
  return Array.from(
    { length: number },
    (_, index) =>
      desk.chatwoot.installation.customerWrites(minute(index), id, { text: `Message ${index}` }).events
        .filter(({ name }) => name === "message_created"),
  ).flat();
}

describe("webhooks", () => {
  test("go to each that asked for the event, signed with its secret, each under an id of its own", async () => {
    const desk = await open();
    const [all, some, none] = [await receive(), await receive(), await receive()];
    await desk.chatwoot.createWebhook({ url: all.url, secret: "first" });
    await desk.chatwoot.createWebhook({ url: some.url, secret: "second", subscriptions: ["message_created"] });
    await desk.chatwoot.createWebhook({ url: none.url, subscriptions: ["webwidget_triggered"] });
    const { id } = await converse(desk);

    const { events } = await desk.chatwoot.perform(
      minute(1),
      (shop, at) => shop.customerWrites(at, id, { text: "Hi <3" }),
    );
    await desk.chatwoot.drain();

    expect(all.received.map(({ json }) => json.event).sort()).toEqual(events.map(({ name }) => name).sort());
    expect(some.received).toHaveLength(1);
    expect(none.received).toEqual([]);
    const [here] = all.received.filter(({ json }) => json.event === "message_created");
    const [there] = some.received;
    expect(there.body).toBe(here.body);
    expect(there.body).toContain("Hi \\u003c3");
    expect(idOf(there)).not.toBe(idOf(here));
    expect(here.headers["x-chatwoot-signature"]).toBe(signatureOf("first", here));
    expect(there.headers["x-chatwoot-signature"]).toBe(signatureOf("second", there));
    expect(there.headers).toMatchObject({
      "x-chatwoot-timestamp": String(START.getTime() / 1000),
      "user-agent": "Ruby",
      "content-type": "application/json",
      accept: "application/json",
    });
    expect(desk.chatwoot.webhooks).toMatchObject({
      events: events.length + 1,
      accepted: events.length + 1,
      refused: 0,
    });
  });

  test("of an older row, which has no secret, are not signed", async () => {
    const desk = await open();
    const receiver = await receive();
    await desk.chatwoot.createWebhook({ url: receiver.url });
    await desk.rows("update webhooks set secret = null");
    await desk.chatwoot.perform(minute(1), (shop, at) => shop.newContact(at, { name: "Dana" }));
    await desk.chatwoot.drain();
    expect(Object.keys(receiver.received[0].headers).filter((name) => name.startsWith("x-"))).toEqual([
      "x-chatwoot-delivery",
    ]);
  });

  test("are sent once, whatever is answered, and by ten workers", async () => {
    const desk = await open();
    const { id } = await converse(desk);
    const refusing = await receive({ status: 503, pause: 200 });
    await desk.chatwoot.createWebhook({ url: refusing.url, subscriptions: ["message_created"] });
    await desk.chatwoot.dispatch(chatter(desk, id, 25));
    await desk.chatwoot.drain();

    expect(refusing.received).toHaveLength(25);
    expect(new Set(refusing.received.map(idOf)).size).toBe(25);
    expect(refusing.mostAtOnce()).toBe(10);
    expect(desk.chatwoot.webhooks).toMatchObject({ accepted: 0, refused: 25 });
  });

  test("that nobody listens to are lost, and those without an answer after five seconds", async () => {
    const desk = await open();
    const gone = await startReceiver();
    await gone.stop();
    const silent = await receive({ status: null });
    await desk.chatwoot.createWebhook({ url: gone.url });
    await desk.chatwoot.createWebhook({ url: silent.url });
    const began = performance.now();
    await desk.chatwoot.perform(minute(1), (shop, at) => shop.newContact(at, { name: "Dana" }));
    await desk.chatwoot.drain();
    expect(performance.now() - began).toBeGreaterThan(4_900);
    expect(silent.received).toHaveLength(1);
    expect(desk.chatwoot.webhooks).toMatchObject({ events: 2, refused: 2 });
  });

  test("that wait when Chatwoot is stopped are lost", async () => {
    const desk = await open({ webhooks: { delayMilliseconds: 3_600_000 } });
    const { id } = await converse(desk);
    const receiver = await receive();
    const { chatwoot } = desk;
    await chatwoot.createWebhook({ url: receiver.url, subscriptions: ["message_created"] });
    await chatwoot.dispatch(chatter(desk, id, 20));
    await desk.restart();
    expect(chatwoot.webhooks.discarded + receiver.received.length).toBe(20);
    expect(chatwoot.webhooks.discarded).toBeGreaterThan(15);
    // The message itself is not.
    expect((await desk.ask(`conversations/${id}/messages?after=0`)).json.payload).toHaveLength(20);
  });
});

test("a Chatwoot that cannot put away what was done says so when it stops, and keeps no connection", async () => {
  const desk = await open();
  await desk.rows(`create function refuse() returns trigger language plpgsql as
    $$ begin raise exception 'The disk is full.'; end $$`);
  await desk.rows("create trigger refuse before insert on contacts execute function refuse()");
  await expect(desk.chatwoot.perform(minute(1), (shop, at) => shop.newContact(at, { name: "Dana" }))).rejects.toThrow(
    "The disk is full.",
  );
  await desk.ask("agents");
  const others = `select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`;
  const before = (await desk.rows(others)).map(({ pid }) => pid);
  expect(before).not.toEqual([]);

  await expect(desk.restart()).rejects.toThrow("The disk is full.");

  await expect.poll(async () => (await desk.rows(others)).filter(({ pid }) => before.includes(pid))).toEqual([]);
  await desk.rows("drop trigger refuse on contacts");
  await desk.chatwoot.perform(minute(2), (shop, at) => shop.newContact(at, { name: "Ines" }));
  expect(await desk.rows("select name from contacts")).toEqual([{ name: "Ines" }]);
});

describe("the dial of the webhooks", () => {
  test("loses and doubles, counted in all and by conversation", async () => {
    const desk = await open({ webhooks: { drop: 0.3, duplicate: 0.1, seed: 4 } });
    const receiver = await receive();
    await desk.chatwoot.createWebhook({ url: receiver.url, subscriptions: ["message_created"] });
    const [one, other] = [await converse(desk), await converse(desk)];
    await desk.chatwoot.dispatch([...chatter(desk, one.id, 200), ...chatter(desk, other.id, 200)]);
    await desk.chatwoot.drain();

    const { events, dropped, doubled, conversations } = desk.chatwoot.webhooks;
    expect(events).toBe(400);
    expect(dropped).toBeGreaterThan(90);
    expect(dropped).toBeLessThan(150);
    expect(doubled).toBeGreaterThan(12);
    expect(doubled).toBeLessThan(50);
    expect(receiver.received).toHaveLength(400 - dropped + doubled);
    for (const { id } of [one, other]) {
      const sent = receiver.received.filter(({ json }) => json.conversation.id === id).length;
      const counts = conversations.get(id);
      expect(counts).toEqual({ sent, dropped: expect.any(Number), doubled: expect.any(Number) });
      expect(200 - (counts?.dropped ?? 0) + (counts?.doubled ?? 0)).toBe(sent);
    }
    // The second copies have the body of the first; half of them its delivery id too.
    const bodies = new Map(receiver.received.map(({ body }) => [body, 0]));
    expect(bodies.size).toBe(400 - dropped);
    const repeated = receiver.received.length - new Set(receiver.received.map(idOf)).size;
    expect(repeated).toBeGreaterThan(doubled * 0.2);
    expect(repeated).toBeLessThan(doubled * 0.8);
  });

  test("holds them back, so that they come late and in another order", async () => {
    const desk = await open({ webhooks: { delayMilliseconds: 1_500 } });
    const { id } = await converse(desk);
    const receiver = await receive();
    await desk.chatwoot.createWebhook({ url: receiver.url, subscriptions: ["message_created"] });
    const began = performance.now();
    await desk.chatwoot.dispatch(chatter(desk, id, 40));
    await desk.chatwoot.drain();

    const late = receiver.received.map(({ at }) => at - began);
    expect(Math.max(...late)).toBeGreaterThan(1_000);
    expect(late.filter((milliseconds) => milliseconds < 750).length).toBeGreaterThan(5);
    const ids = receiver.received.map(({ json }) => json.id);
    expect(ids).toHaveLength(40);
    expect(ids).not.toEqual([...ids].sort((one, other) => one - other));
  });

  test("lets a body show the records as they are when it is sent, and drops what is gone by then", async () => {
    const desk = await open();
    const [kept, deleted] = [await converse(desk), await converse(desk)];
    const receiver = await receive();
    await desk.chatwoot.createWebhook({ url: receiver.url, subscriptions: ["message_created"] });
    const events = [...chatter(desk, kept.id, 1), ...chatter(desk, deleted.id, 1)];
    desk.chatwoot.installation.setPriority(minute(5), kept.id, "urgent");
    desk.chatwoot.installation.deleteConversation(minute(6), deleted.id);

    await desk.chatwoot.dispatch(events);
    await desk.chatwoot.drain();
    expect(receiver.received.map(({ json }) => json.conversation.priority)).toEqual([null, null]);

    desk.chatwoot.turnWebhooks({ snapshotAtSend: true });
    await desk.chatwoot.dispatch(events);
    await desk.chatwoot.drain();
    expect(receiver.received.slice(2).map(({ json }) => json.conversation.priority)).toEqual(["urgent"]);
    expect(desk.chatwoot.webhooks.discarded).toBe(1);
  });
});

describe("the dial applied to a list of events", () => {
  const shop = createInstallation({ seed: 1, start: START });
  const contact = shop.newContact(minute(0), { name: "Dana" }).id;
  const { id } = shop.newConversation(minute(0), { contact, inbox: "website" });
  const events = Array.from(
    { length: 1_000 },
    (_, index) => shop.setPriority(minute(index), id, index % 2 ? "low" : "high"),
  )
    .flatMap((outcome) => outcome.events);
  const dial = { drop: 0.3, duplicate: 0.1, delayMilliseconds: 300_000, reorder: true };
  const shape = (seed: number) =>
    applyDial(events, { ...dial, seed }).map(({ event, deliveryId, late }) => [event.at, deliveryId, late]);

  test("gives them all, in order and in time, when nothing is turned", () => {
    expect(applyDial(events, {})).toEqual(events.map((event) => ({ event, deliveryId: event.deliveryId, late: 0 })));
  });

  test("loses 30 %, doubles 10 % and spreads the rest over minutes, in order of arrival", () => {
    const deliveries = applyDial(events, { ...dial, seed: 2 });
    const kept = new Set(deliveries.map(({ event }) => event));
    expect(kept.size / events.length).toBeCloseTo(0.7, 1);
    expect((deliveries.length - kept.size) / kept.size).toBeCloseTo(0.1, 1);
    const late = deliveries.map((delivery) => delivery.late);
    expect(late).toEqual([...late].sort((one, other) => one - other));
    expect(late[0]).toBeLessThan(10_000);
    expect(late.at(-1)).toBeGreaterThan(290_000);
    expect(late.at(-1)).toBeLessThanOrEqual(300_000);
  });

  test("does the same again with the same seed, and something else with another", () => {
    expect(shape(3)).toEqual(shape(3));
    expect(shape(3)).not.toEqual(shape(4));
  });

  test("changes the order alone, when only that is asked for", () => {
    const shuffled = applyDial(events, { reorder: true }).map(({ event }) => event);
    expect(shuffled).not.toEqual(events);
    expect(new Set(shuffled)).toEqual(new Set(events));
  });
});

describe("the dial of the answers", () => {
  let desk: Desk;
  beforeAll(async () => {
    desk = await open();
  });
  const only = (kind: Fault) => desk.chatwoot.turnFaults({ rate: 1, kinds: [kind], paths: /agents/ });
  const lastStatus = () => desk.chatwoot.requests.at(-1)?.status;

  test.each(
    [
      {
        kind: "500",
        status: 500,
        type: "application/json; charset=utf-8",
        text: '{"status":500,"error":"Internal Server Error"}',
      },
      { kind: "429", status: 429, type: "text/plain", text: "Retry later\n" },
      { kind: "401", status: 401, type: "application/json; charset=utf-8", text: '{"error":"Invalid Access Token"}' },
      {
        kind: "404",
        status: 404,
        type: "application/json; charset=utf-8",
        text: '{"error":"Resource could not be found"}',
      },
      { kind: "html", status: 200, type: "text/html", text: expect.stringContaining("<!doctype html>") },
      { kind: "truncated", status: 200, type: "application/json; charset=utf-8", json: undefined },
      { kind: "wrong_content_type", status: 200, type: "application/octet-stream", json: expect.anything() },
      { kind: "wrong_shape", status: 200, type: "application/json; charset=utf-8", json: expect.anything() },
    ] as const,
  )("$kind", async ({ kind, ...answer }) => {
    only(kind);
    expect(await desk.ask("agents")).toMatchObject(answer);
    expect(lastStatus()).toBe(answer.status);
    expect(desk.chatwoot.faults[kind]).toBe(1);
  });

  test("a redirect, to another path or another host", async () => {
    only("redirect");
    const elsewhere = await desk.ask("agents");
    expect([elsewhere.status, elsewhere.headers.get("location")]).toEqual([302, "/app/login"]);
    desk.chatwoot.turnFaults({ location: "https://elsewhere.example/agents" });
    expect((await desk.ask("agents")).headers.get("location")).toBe("https://elsewhere.example/agents");
  });

  test("more than 10 MB, and bytes that are no UTF-8", async () => {
    only("too_large");
    expect((await desk.ask("agents")).text.length).toBeGreaterThan(10 * 1024 * 1024);
    only("invalid_utf8");
    const bytes = await (await fetch(`${desk.chatwoot.url}/api/v1/accounts/1/agents`)).arrayBuffer();
    expect(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes)).toThrow();
  });

  test("no answer until the caller leaves, and a connection that breaks", async () => {
    only("timeout");
    await expect(fetch(`${desk.chatwoot.url}/api/v1/accounts/1/agents`, { signal: AbortSignal.timeout(200) })).rejects
      .toThrow();
    expect(lastStatus()).toBe(null);
    only("disconnect");
    await expect(desk.ask("agents")).rejects.toThrow();
    expect(lastStatus()).toBe(null);
  });

  test.each(
    [
      { kind: "accepted_500", status: 500 },
      { kind: "accepted_html", status: 200 },
      { kind: "accepted_disconnect", status: null },
      { kind: "accepted_timeout", status: null },
    ] as const,
  )("$kind: what was asked is done, and only the answer is lost", async ({ kind, status }) => {
    const { installation } = desk.chatwoot;
    const before = new Date();
    const contact = installation.newContact(before, { name: "Dana" }).id;
    const id = installation.newConversation(before, { contact, inbox: "website" }).id;
    await desk.chatwoot.dispatch([]);
    desk.chatwoot.turnFaults({ rate: 1, kinds: [kind], paths: /messages/, methods: ["POST"] });

    const answer = await fetch(`${desk.chatwoot.url}/api/v1/accounts/1/conversations/${id}/messages`, {
      method: "POST",
      headers: { "api-access-token": desk.chatwoot.token },
      body: JSON.stringify({ content: "Hello" }),
      signal: AbortSignal.timeout(1_000),
    }).catch(() => null);

    expect(answer?.status ?? null).toBe(status);
    const { json } = await desk.ask(`conversations/${id}/messages`);
    expect(json.payload.map(({ content }: { content: string }) => content)).toEqual(["Hello"]);
    desk.chatwoot.turnFaults({ rate: 0, methods: ["GET", "POST"] });
  });

  test("only where told, and as often as told, the same with the same seed", async () => {
    const statuses = async (seed: number) => {
      desk.chatwoot.turnFaults({ rate: 0.3, kinds: ["500", "404"], paths: /agents/, seed });
      const found: number[] = [];
      for (let tries = 0; tries < 60; tries++) found.push((await desk.ask("agents")).status);
      return found;
    };
    const first = await statuses(5);
    const wrong = first.filter((status) => status !== 200).length;
    expect(wrong).toBeGreaterThan(8);
    expect(wrong).toBeLessThan(30);
    expect(await statuses(5)).toEqual(first);
    expect(await statuses(6)).not.toEqual(first);
    desk.chatwoot.turnFaults({ rate: 1 });
    expect((await desk.ask("labels")).status).toBe(200);
  });
});
