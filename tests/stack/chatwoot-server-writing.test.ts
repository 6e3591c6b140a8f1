// What the local Chatwoot's REST API changes, the webhooks that follow, and what it refuses.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  converse,
  type Desk,
  type Json,
  minute,
  type Received,
  type Receiver,
  startReceiver,
  useChatwoots,
} from "./chatwoot-server.support.ts";

const open = useChatwoots();
let desk: Desk;
let receiver: Receiver;
beforeAll(async () => {
  desk = await open({ now: () => minute(60) });
  receiver = await startReceiver();
  await desk.chatwoot.createWebhook({ url: receiver.url, secret: "secret" });
});
afterAll(() => receiver.stop());

const post = (path: string, body?: unknown, asking = {}) => desk.ask(path, { method: "POST", body, ...asking });
const show = async (id: number) => (await desk.ask(`conversations/${id}`)).json;

/** The webhooks that the work brings about. */
async function webhooksOf(work: () => Promise<unknown>): Promise<Json[]> {
  await desk.chatwoot.drain();
  const before = receiver.received.length;
  await work();
  await desk.chatwoot.drain();
  return receiver.received.slice(before).map(({ json }: Received) => json);
}

describe("a message", () => {
  test("is a public reply unless told, by whoever's token it is, and a webhook tells of it", async () => {
    const { id } = await converse(desk);
    let answer: Json;
    const told = await webhooksOf(async () => {
      answer = await post(`conversations/${id}/messages`, { content: "We fixed <it>.", echo_id: "e-1" });
    });

    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({
      content: "We fixed <it>.",
      message_type: 1,
      private: false,
      conversation_id: id,
      sender: { id: 1, name: "Noor Haddad", type: "user" },
      echo_id: "e-1",
    });
    expect(told.find(({ event }) => event === "message_created")).toMatchObject({
      id: answer.json.id,
      content: "We fixed <it>.",
      sender: { id: 1 },
    });
    expect(await desk.rows("select content, sender_id::int from messages where id = $1", [answer.json.id])).toEqual([
      { content: "We fixed <it>.", sender_id: 1 },
    ]);
    expect(await show(id)).toMatchObject({ waiting_since: 0, first_reply_created_at: minute(60).getTime() / 1000 });
  });

  test("is sent again when it is asked for again: nothing makes it the same", async () => {
    const { id } = await converse(desk);
    const twice = [1, 2].map(() => post(`conversations/${id}/messages`, { content: "Hello", echo_id: "same" }));
    const [one, other] = await Promise.all(twice);
    expect(one.json.id).not.toBe(other.json.id);
  });

  test("is a note when it is private, and has an agent as its sender", async () => {
    const { id } = await converse(desk);
    const token = await desk.agentToken();
    const { json } = await post(`conversations/${id}/messages`, { content: "Look", private: true }, { token });
    expect(json).toMatchObject({ private: true, message_type: 1, sender: { id: 7, name: "Ravi Shah" } });
  });

  test("keeps attributes of its content, and the id it has elsewhere", async () => {
    const { id } = await converse(desk, "whatsapp");
    const { id: question } = await desk.chatwoot.perform(
      minute(61),
      (shop, at) => shop.customerWrites(at, id, { text: "Why?" }),
    );
    const { json } = await post(`conversations/${id}/messages`, {
      content: "Because.",
      content_attributes: JSON.stringify({ in_reply_to: question }),
      source_id: "elsewhere-1",
    });
    expect(json).toMatchObject({ content_attributes: { in_reply_to: question }, source_id: "elsewhere-1" });
    const note = await post(`conversations/${id}/messages`, {
      content: "x",
      private: true,
      content_attributes: { a: 1 },
    });
    expect(note.json.content_attributes).toEqual({ a: 1 });
  });

  test("comes in only through an API inbox", async () => {
    const api = await converse(desk, "api");
    const incoming = { content: "Hello", message_type: "incoming" };
    expect((await post(`conversations/${api.id}/messages`, incoming)).json).toMatchObject({
      message_type: 0,
      sender: { id: api.contact, type: "contact" },
    });
    const website = await converse(desk);
    expect(await post(`conversations/${website.id}/messages`, incoming)).toMatchObject({
      status: 422,
      json: { error: "Incoming messages are only allowed in Api inboxes" },
    });
  });

  test.each([
    { content: "x".repeat(150_001) },
    { content: "x", message_type: "activity" },
  ])("that cannot be is refused: $message_type", async (body) => {
    const { id } = await converse(desk);
    expect(await post(`conversations/${id}/messages`, body)).toMatchObject({
      status: 422,
      json: { error: expect.any(String) },
    });
    expect(
      await desk.rows(
        "select from messages join conversations on conversations.id = conversation_id where display_id = $1",
        [id],
      ),
    )
      .toEqual([]);
  });

  test("is a bot's with a bot's token", async () => {
    await desk.rows(`insert into access_tokens (id, owner_type, owner_id, token, created_at, updated_at)
      values (101, 'AgentBot', 7, 'bot-7', now(), now())`);
    const { id } = await converse(desk, "help_centre");
    const { json } = await post(`conversations/${id}/messages`, { content: "Beep" }, { token: "bot-7" });
    expect(json.sender).toMatchObject({ id: 7, type: "agent_bot" });
    expect((await post(`conversations/${id}/toggle_status`, { status: "open" }, { token: "bot-7" })).json.payload)
      .toMatchObject({ success: null, current_status: "open" });
    expect((await show(id)).meta).not.toHaveProperty("assignee");
  });
});

describe("a conversation", () => {
  let id: number;
  beforeAll(async () => {
    ({ id } = await converse(desk));
  });

  test("is assigned to an agent, to an administrator, and to nobody by an id that nobody has", async () => {
    const assign = async (assignee: unknown) =>
      await post(`conversations/${id}/assignments`, { assignee_id: assignee });
    const told = await webhooksOf(async () => {
      expect((await assign(8)).json).toMatchObject({ id: 8, email: "mira@acme-outdoor.example", role: "agent" });
    });
    expect(told.map(({ event }) => event)).toEqual(["conversation_updated"]);
    expect((await show(id)).meta.assignee.id).toBe(8);
    expect((await assign(1)).json).toMatchObject({ id: 1, role: "administrator" });
    for (const nobody of [999, 0, null]) {
      await assign(7);
      const answer = await assign(nobody);
      expect(answer).toMatchObject({ status: 200, text: "null" });
      expect((await show(id)).meta).not.toHaveProperty("assignee");
    }
    expect((await post(`conversations/${id}/assignments`, { assignee_id: 7, assignee_type: "AgentBot" })).status).toBe(
      501,
    );
  });

  test("is assigned to a team, unless an agent is named as well", async () => {
    const assign = (body: unknown) => post(`conversations/${id}/assignments`, body);
    expect((await assign({ team_id: 2 })).json).toEqual({
      id: 2,
      name: "products",
      description: null,
      allow_auto_assign: true,
      account_id: 1,
      created_at: "2026-11-20T09:00:00.000Z",
      updated_at: "2026-11-20T09:00:00.000Z",
      icon: "",
      icon_color: "",
    });
    await assign({ team_id: 3, assignee_id: 7 });
    expect((await show(id)).meta).toMatchObject({ team: { id: 2 }, assignee: { id: 7 } });
    expect(await assign({ team_id: 99 })).toMatchObject({ status: 200, text: "null" });
    expect((await show(id)).meta).not.toHaveProperty("team");
  });

  test("has its labels replaced, all in one change", async () => {
    const label = (labels: unknown) => post(`conversations/${id}/labels`, { labels });
    expect((await label(["vip", "size", "vip"])).json).toEqual({ payload: ["vip", "size"] });
    const told = await webhooksOf(async () => {
      expect((await label(["size", "refund"])).json).toEqual({ payload: ["size", "refund"] });
    });
    expect((await desk.ask(`conversations/${id}/labels`)).json).toEqual({ payload: ["size", "refund"] });
    const lists = told.map(({ changed_attributes }) => changed_attributes.find((change: Json) => change.label_list));
    expect(lists[0]).toEqual({ label_list: { previous_value: ["vip", "size"], current_value: ["size", "refund"] } });
    // Once or, as is known of labels, twice; but not once for each label.
    expect(new Set(lists.map((list) => JSON.stringify(list))).size).toBe(1);

    expect(await webhooksOf(() => label(["refund", "size"]))).toEqual([]);
    expect((await label([])).json).toEqual({ payload: [] });
    expect((await show(id)).labels).toEqual([]);
  });

  test("changes its status, to and fro or as told", async () => {
    const toggle = async (body: unknown) => (await post(`conversations/${id}/toggle_status`, body)).json.payload;
    const told = await webhooksOf(async () => {
      expect(await toggle({})).toEqual({
        success: true,
        conversation_id: id,
        current_status: "resolved",
        snoozed_until: null,
      });
    });
    expect(told.map(({ event }) => event).sort()).toEqual(["conversation_status_changed", "conversation_updated"]);
    expect((await toggle({})).current_status).toBe("open");
    expect((await toggle({ status: "pending" })).current_status).toBe("pending");
    expect((await toggle({})).current_status).toBe("open");
    expect(await toggle({ status: "snoozed", snoozed_until: 1795251600 })).toMatchObject({
      current_status: "snoozed",
      snoozed_until: "2026-11-21T09:00:00.000Z",
    });
    expect((await toggle({ status: "open" })).snoozed_until).toBe(null);
    expect((await show(id)).status).toBe("open");
    expect(await post(`conversations/${id}/toggle_status`, { status: "closed" })).toMatchObject({ status: 500 });
  });

  test("opened by an agent is that agent's", async () => {
    await post(`conversations/${id}/assignments`, { assignee_id: null });
    await post(`conversations/${id}/toggle_status`, { status: "resolved" });
    await post(`conversations/${id}/toggle_status`, { status: "open" }, { token: await desk.agentToken() });
    expect((await show(id)).meta.assignee.id).toBe(7);
  });

  test("changes its priority, or has none, with an empty answer", async () => {
    const prioritise = (priority: unknown) => post(`conversations/${id}/toggle_priority`, { priority });
    expect(await prioritise("urgent")).toMatchObject({ status: 200, text: "" });
    expect((await show(id)).priority).toBe("urgent");
    await prioritise(null);
    expect((await show(id)).priority).toBe(null);
    expect((await prioritise("whenever")).status).toBe(500);
  });

  test("has all its attributes replaced", async () => {
    const attribute = (attributes: unknown) =>
      post(`conversations/${id}/custom_attributes`, { custom_attributes: attributes });
    expect((await attribute({ order: 4711, tier: "gold" })).json).toEqual({
      custom_attributes: { order: 4711, tier: "gold" },
    });
    await attribute({ order: 4712 });
    expect((await show(id)).custom_attributes).toEqual({ order: 4712 });
  });

  test("that was looked at says so, tells nobody, and is no newer for it", async () => {
    await post(`conversations/${id}/assignments`, { assignee_id: 7 });
    const before = await show(id);
    desk.chatwoot.setNow(minute(90));
    const told = await webhooksOf(async () => {
      const { json } = await post(`conversations/${id}/update_last_seen`, {}, { token: await desk.agentToken() });
      expect(json).toMatchObject({
        agent_last_seen_at: minute(90).getTime() / 1000,
        assignee_last_seen_at: minute(90).getTime() / 1000,
        updated_at: before.updated_at,
      });
    });
    expect(told).toEqual([]);
  });

  test("is deleted with its messages, and no webhook says so", async () => {
    const other = await converse(desk);
    await post(`conversations/${other.id}/messages`, { content: "Hello" });
    const told = await webhooksOf(async () => {
      expect(await desk.ask(`conversations/${other.id}`, { method: "DELETE" })).toMatchObject({
        status: 200,
        text: "",
      });
    });
    expect(told).toEqual([]);
    for (const path of ["", "/messages", "/labels"]) {
      expect((await desk.ask(`conversations/${other.id}${path}`)).status).toBe(404);
    }
    expect(await desk.rows("select from conversations where display_id = $1", [other.id])).toEqual([]);
  });

  test.each([
    "messages",
    "assignments",
    "labels",
    "toggle_status",
    "toggle_priority",
    "custom_attributes",
    "update_last_seen",
  ])(
    "that is not there: %s",
    async (path) => {
      expect(await post(`conversations/4711/${path}`, {})).toMatchObject({
        status: 404,
        json: { error: "Resource could not be found" },
      });
    },
  );
});

describe("what no table could hold is refused, and stops nothing that comes after", () => {
  const deep = `{"a":${"[".repeat(200)}${"]".repeat(200)}}`;
  // Drawn, so that Postgres cannot make it short.
  const long = Array.from({ length: 400 }, (_, index) => createHash("sha1").update(`${index}`).digest("hex")).join("");
  let id: number;
  beforeAll(async () => {
    ({ id } = await converse(desk));
  });

  test.each([
    { what: "a null character", path: "messages", body: { content: "a\0b" }, status: 422 },
    { what: "half a character", path: "messages", body: '{"content":"\\ud83d"}', status: 422 },
    {
      what: "a null character in JSON",
      path: "messages",
      body: { content_attributes: '{"a":"\\u0000"}' },
      status: 422,
    },
    { what: "what is no JSON", path: "messages", body: { content_attributes: "{" }, status: 422 },
    { what: "a long id of elsewhere", path: "messages", body: { content: "x", source_id: long }, status: 422 },
    { what: "a null character", path: "labels", body: { labels: ["a\0"] }, status: 500 },
    { what: "a long title", path: "labels", body: { labels: [long] }, status: 422 },
    { what: "a null character", path: "custom_attributes", body: { custom_attributes: { "a\0": 1 } }, status: 500 },
    { what: "deep nesting", path: "custom_attributes", body: `{"custom_attributes":${deep}}`, status: 500 },
    { what: "deep nesting in JSON", path: "custom_attributes", body: { custom_attributes: deep }, status: 500 },
    {
      what: "a word for a time",
      path: "toggle_status",
      body: { status: "snoozed", snoozed_until: "soon" },
      status: 500,
    },
    { what: "no such time", path: "toggle_status", body: { status: "snoozed", snoozed_until: 1e12 }, status: 500 },
  ])("$what in $path", async ({ path, body, status }) => {
    const before = await show(id);
    expect((await post(`conversations/${id}/${path}`, body)).status).toBe(status);
    expect(await show(id)).toEqual(before);
    expect((await post(`conversations/${id}/labels`, { labels: [`after ${before.updated_at}`] })).status).toBe(200);
  });
});

describe("webhooks", () => {
  const url = "https://project.example/functions/v1/chatwoot-webhook";

  test("are made with a secret of Chatwoot's own, listed, changed and deleted", async () => {
    const { status, json } = await post("webhooks", {
      webhook: { name: "supabase", url, secret: "mine", subscriptions: ["message_created"] },
    });
    expect(status).toBe(200);
    const { webhook } = json.payload;
    expect(webhook).toEqual({
      id: expect.any(Number),
      name: "supabase",
      url,
      account_id: 1,
      subscriptions: ["message_created"],
      secret: expect.stringMatching(/^[1-9A-HJ-NP-Za-km-z]{24}$/),
    });
    const { webhooks } = (await desk.ask("webhooks")).json.payload;
    expect(webhooks.at(-1)).toEqual(webhook);

    const changed = await desk.ask(`webhooks/${webhook.id}`, {
      method: "PATCH",
      body: { name: "project", secret: "mine" },
    });
    expect(changed.json.payload.webhook).toEqual({ ...webhook, name: "project" });
    expect(await desk.ask(`webhooks/${webhook.id}`, { method: "PATCH", body: { url: receiver.url } })).toMatchObject({
      status: 422,
      json: { message: "Url has already been taken", attributes: ["url"] },
    });
    expect(await desk.ask(`webhooks/${webhook.id}`, { method: "DELETE" })).toMatchObject({ status: 200, text: "" });
    for (const method of ["PATCH", "DELETE"]) {
      expect((await desk.ask(`webhooks/${webhook.id}`, { method, body: { name: "x" } })).status).toBe(404);
    }
  });

  test("take flat parameters, and hear of the eight classic events unless told", async () => {
    const { json } = await post("webhooks", { url });
    expect(json.payload.webhook.subscriptions).toHaveLength(8);
    expect(json.payload.webhook.subscriptions).not.toContain("conversation_typing_on");
    await desk.ask(`webhooks/${json.payload.webhook.id}`, { method: "DELETE" });
  });

  test.each([
    { name: "no parameters", body: {}, json: { error: "param is missing or the value is empty: webhook" } },
    { name: "no url", body: { name: "x" }, json: { message: "Url is invalid", attributes: ["url"] } },
    { name: "not http", body: { url: "ftp://x.example" }, json: { message: "Url is invalid", attributes: ["url"] } },
    {
      name: "no subscription",
      body: { url, subscriptions: [] },
      json: { message: "Subscriptions Invalid events", attributes: ["subscriptions"] },
    },
    {
      name: "an unknown event",
      body: { webhook: { url, subscriptions: ["message_created", "message_deleted"] } },
      json: { message: "Subscriptions Invalid events", attributes: ["subscriptions"] },
    },
  ])("are refused with $name", async ({ body, json }) => {
    const before = (await desk.ask("webhooks")).text;
    expect(await post("webhooks", body)).toMatchObject({ status: 422, json });
    expect((await desk.ask("webhooks")).text).toBe(before);
  });

  test("twice for one address are refused", async () => {
    expect(await post("webhooks", { url: receiver.url })).toMatchObject({
      status: 422,
      json: { message: "Url has already been taken", attributes: ["url"] },
    });
  });
});
