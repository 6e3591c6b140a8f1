// The Chatwoot to talk to: what it sends must be what the real one sends, or all that is tested with it proves nothing.
import { describe, expect, test } from "vitest";
import { AGENTS } from "../../local/chatwoot/furniture.ts";
import { type ChatwootEvent, createInstallation } from "../../local/chatwoot/installation.ts";
import { epochFloat, float, isoTime, serialise } from "../../local/chatwoot/serialise.ts";
import { signature, signatureHeaders } from "../../local/chatwoot/sign.ts";
import * as shapes from "./chatwoot.shapes.ts";
import { Buffer } from "node:buffer";

const [ravi, mira] = AGENTS;
const START = new Date("2026-11-20T09:00:00Z");
const minute = (minutes: number) => new Date(START.getTime() + minutes * 60_000);

/** An installation whose jobs run at once, with one conversation in it. */
function desk(inbox: Parameters<Installation["newConversation"]>[1]["inbox"] = "website", lateJobs = 0) {
  const installation = createInstallation({ seed: 1, start: START, lateJobs });
  const contact = installation.newContact(minute(0), {
    name: "Dana",
    email: "dana@mail.example",
    phoneNumber: "+4930123456",
  });
  const conversation = installation.newConversation(minute(0), { contact: contact.id, inbox });
  return { installation, contact, conversation, id: conversation.id };
}
type Installation = ReturnType<typeof createInstallation>;

const names = (events: ChatwootEvent[]) => events.map(({ name }) => name);
const body = (event: ChatwootEvent) => JSON.parse(event.body);
const named = (events: ChatwootEvent[], name: string) => {
  const found = events.find((event) => event.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${names(events).join(", ")}`);
  return found;
};
const changedKeys = (event: ChatwootEvent) =>
  (body(event).changed_attributes as Record<string, unknown>[]).map((change) => Object.keys(change)[0]);

describe("serialisation", () => {
  test.each([
    { name: "whole float", value: float(1795165200), text: "1795165200.0" },
    { name: "float with microseconds", value: epochFloat(1795165200431287), text: "1795165200.431287" },
    { name: "large float", value: float(1e16), text: "1.0e+16" },
    { name: "small float", value: float(0.00001234), text: "1.234e-05" },
    { name: "zero float", value: float(0), text: "0.0" },
    { name: "integer", value: 1795165200, text: "1795165200" },
    { name: "integer past 2^53", value: 9007199254740993n, text: "9007199254740993" },
    { name: "time, cut not rounded", value: isoTime(1795165200412999), text: '"2026-11-20T09:00:00.412Z"' },
    { name: "time on the second", value: isoTime(1795165200000000), text: '"2026-11-20T09:00:00.000Z"' },
    { name: "date", value: new Date("2026-11-20T09:00:00.4Z"), text: '"2026-11-20T09:00:00.400Z"' },
    { name: "angle brackets and ampersand", value: "<a & b>", text: String.raw`"\u003ca \u0026 b\u003e"` },
    { name: "line separators", value: "\u2028\u2029", text: String.raw`"\u2028\u2029"` },
    { name: "slash and other scripts stay", value: "a/b – ça 👍 שלום", text: '"a/b – ça 👍 שלום"' },
    { name: "escapes", value: 'a"\\\n\t\u0001', text: String.raw`"a\"\\\n\t\u0001"` },
    { name: "keys are escaped too", value: { "a&b": null }, text: String.raw`{"a\u0026b":null}` },
    {
      name: "order of keys",
      value: { z: 1, a: [true, false, null], m: {} },
      text: '{"z":1,"a":[true,false,null],"m":{}}',
    },
    { name: "no number", value: float(Number.NaN), text: "null" },
  ])("$name", ({ value, text }) => {
    expect(serialise(value)).toBe(text);
  });

  test("refuses what is neither null nor left out", () => {
    expect(() => serialise({ attachments: undefined })).toThrow("cannot hold a value of type undefined");
  });
});

describe("signature", () => {
  const vector = serialise({
    account: { id: 1, name: "Acme & Co" },
    content: "2 < 3 – ça marche 👍",
    created_at: "2026-11-20T09:00:00.412Z",
    id: 9001,
    updated_at: float(1795165200),
    event: "message_created",
  });
  const secret = "Zk3vQ9mXy7RtB2nHc8LpWd4J";
  const SIGNATURE = "sha256=c5cec6a63e48e71e640e3076c65ecb9dd7ada595b67c8d9862e40a9f579eca41";

  test("the vector of the facts, byte for byte", () => {
    expect(Buffer.byteLength(vector)).toBe(189);
    expect(signature(Buffer.from(vector), { secret, timestamp: 1795165201 })).toBe(SIGNATURE);
  });

  test("every header of a request, and none of the signing ones without a secret", () => {
    const always = {
      "Content-Type": "application/json",
      "Accept": "application/json",
      "User-Agent": "Ruby",
      "Accept-Encoding": "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
    };
    const deliveryId = "0b8a1cf2-5a3c-4a8e-9f0e-1d2c3b4a5968";

    expect(signatureHeaders(Buffer.from(vector), { secret, timestamp: 1795165201, deliveryId })).toEqual({
      ...always,
      "X-Chatwoot-Delivery": deliveryId,
      "X-Chatwoot-Timestamp": "1795165201",
      "X-Chatwoot-Signature": SIGNATURE,
    });
    expect(signatureHeaders(Buffer.from(vector), { secret: null, timestamp: 1, deliveryId: null })).toEqual(always);
  });
});

describe("shapes", () => {
  test("contact_created and contact_updated", () => {
    const { installation, contact } = desk();

    const updated = installation.updateContact(minute(1), contact.id, { name: "Dana Berg" });

    expect(shapes.faults(contact.events[0].payload, { ...shapes.contact, event: "=contact_created" })).toEqual([]);
    const change = { name: { previous_value: "=Dana", current_value: "=Dana Berg" } };
    const touched = { updated_at: { previous_value: "iso", current_value: "iso" } };
    const { changed_attributes, ...rest } = updated.events[0].payload;
    expect(shapes.faults(rest, { ...shapes.contact, event: "=contact_updated" })).toEqual([]);
    expect(Object.keys(updated.events[0].payload).at(-1)).toBe("changed_attributes");
    expect((changed_attributes as unknown[]).flatMap((item, index) => shapes.faults(item, [change, touched][index])))
      .toEqual([]);
    expect(installation.updateContact(minute(2), contact.id, { name: "Dana Berg" }).events).toEqual([]);
  });

  test("conversation_created before its first message", () => {
    const { conversation } = desk();

    const shape = { ...shapes.conversation({}), event: "=conversation_created" };
    expect(shapes.faults(conversation.events[0].payload, shape)).toEqual([]);
    expect(conversation.events[0].body).toMatch(/"updated_at":\d{10}\.\d{1,6},/);
  });

  test("an incoming message, nested once more in its conversation", () => {
    const { installation, id } = desk();

    const [created] = installation.customerWrites(minute(1), id, { text: "Hello" }).events;

    const conversation = shapes.conversation({ message: shapes.nestedMessage({ sender: shapes.pushContact }) });
    const shape = shapes.message({ conversation, sender: shapes.contact, event: "message_created" });
    expect(shapes.faults(created.payload, shape)).toEqual([]);
    expect(body(created).message_type).toBe("incoming");
    expect(body(created).conversation.messages[0].message_type).toBe(0);
  });

  test("an agent's reply with an image, to an assigned conversation of a team", () => {
    const { installation, id } = desk();
    installation.assign(minute(1), id, ravi);
    installation.assignTeam(minute(1), id, "billing");

    const [created] = installation.agentReplies(minute(2), id, { agent: ravi, attach: ["plan.png"] }).events;

    const nested = shapes.nestedMessage({ attachments: [shapes.image], sender: shapes.pushUser });
    const parts = { message: nested, assignee: shapes.pushUser, assigneeType: "=User", team: shapes.team };
    const shape = shapes.message({
      conversation: shapes.conversation(parts),
      sender: shapes.user,
      attachments: [shapes.image],
      event: "message_created",
    });
    expect(shapes.faults(created.payload, shape)).toEqual([]);
    expect(body(created).content).toBeNull();
  });

  test("a bot's reply", () => {
    const { installation, id } = desk("help_centre");

    const [created] = installation.botReplies(minute(1), id, { text: "Hi", items: ["Yes"] }).events;

    const nested = shapes.nestedMessage({ sender: shapes.pushBot });
    const conversation = shapes.conversation({ message: nested, assignee: shapes.pushBot, assigneeType: "=AgentBot" });
    expect(
      shapes.faults(created.payload, shapes.message({ conversation, sender: shapes.bot, event: "message_created" })),
    )
      .toEqual([]);
    expect(body(created).conversation.messages[0].conversation.assignee_id).toBeNull();
  });

  test("the survey prompt has no sender: null at the top, absent when nested", () => {
    const { installation, id } = desk();

    const { events } = installation.resolve(minute(1), id, { survey: true });

    const conversation = shapes.conversation({ message: shapes.nestedMessage({}) });
    const shape = shapes.message({ conversation, sender: "null", event: "message_created" });
    expect(shapes.faults(named(events, "message_created").payload, shape)).toEqual([]);
  });

  test("status events: null changes on one, the whole save on the other", () => {
    const { installation, id } = desk();

    const { events } = installation.resolve(minute(1), id);

    expect(names(events)).toEqual(["conversation_status_changed", "conversation_updated"]);
    const [status, update] = events;
    const shape = shapes.conversation({});
    const ending = { event: "=conversation_status_changed", changed_attributes: "null" };
    expect(shapes.faults(status.payload, { ...shape, ...ending })).toEqual([]);
    expect(body(update).changed_attributes).toEqual([
      { status: { previous_value: "open", current_value: "resolved" } },
      { updated_at: { previous_value: expect.any(String), current_value: expect.any(String) } },
    ]);
    expect(body(update).waiting_since).toBe(0);
  });

  test("a label: both columns of it, and the list as text", () => {
    const { installation, id } = desk();
    installation.addLabel(minute(1), id, "billing");

    const [update] = installation.addLabel(minute(2), id, "vip").events;

    const changes = Object.assign({}, ...body(update).changed_attributes);
    expect(changes.cached_label_list).toEqual({ previous_value: "billing", current_value: "billing, vip" });
    expect(changes.label_list).toEqual({ previous_value: ["billing"], current_value: ["billing", "vip"] });
  });

  test("typing, the opened widget and an inbox", () => {
    const { installation, id, contact } = desk();

    const typing = installation.typing(minute(1), id, { who: ravi, on: true, private: true }).events[0];
    const opened = installation.widgetOpened(minute(2), { contact: contact.id, inbox: "website" }).events[0];
    const inbox = installation.updateInbox(minute(3), "website", { csatSurveyEnabled: true }).events[0];

    const conversation = shapes.conversation({});
    expect(shapes.faults(typing.payload, {
      event: "=conversation_typing_on",
      user: shapes.user,
      conversation,
      is_private: "boolean",
    })).toEqual([]);
    expect(shapes.faults(opened.payload, {
      id: "integer",
      contact: shapes.contact,
      inbox: { id: "integer", name: "string" },
      account: { id: "integer", name: "string" },
      current_conversation: conversation,
      source_id: "string",
      event: "=webwidget_triggered",
      event_info: "object",
    })).toEqual([]);
    const { changed_attributes, ...rest } = inbox.payload;
    expect(shapes.faults(rest, { ...shapes.inbox, event: "=inbox_updated" })).toEqual([]);
    expect(changed_attributes).toHaveLength(2);
    expect(Object.keys(body(inbox).channel)).toContain("hmac_token");
    expect(names(installation.createInbox(minute(4), "api").events)).toEqual(["inbox_created"]);
  });

  test("webhook text loses backslashes before line breaks and the line breaks at the end", () => {
    const { installation, id } = desk();

    const [created] = installation.customerWrites(minute(1), id, { text: "one\\\ntwo\\three\n\n" }).events;

    expect(body(created).content).toBe("one\ntwo\\three");
    expect(body(created).conversation.messages[0].content).toBe("one\ntwo\\three");
  });
});

describe("life cycle", () => {
  test("what follows an incoming message, first and later", () => {
    const { installation, id } = desk();

    const first = installation.customerWrites(minute(1), id, { text: "Hello" }).events;
    const again = installation.customerWrites(minute(2), id, { text: "Anybody?" }).events;
    installation.agentReplies(minute(3), id, { agent: ravi, text: "Yes" });
    const later = installation.customerWrites(minute(4), id, { text: "Good" }).events;

    expect(names(first)).toEqual(["message_created", "contact_updated"]);
    expect(names(again)).toEqual(["message_created", "contact_updated"]);
    expect(names(later)).toEqual(["message_created", "conversation_updated", "contact_updated"]);
    expect(changedKeys(later[1])).toEqual(["waiting_since", "updated_at"]);
    expect(changedKeys(later[2])).toEqual(["last_activity_at", "updated_at"]);
  });

  test("the first reply is set once and ends the wait; notes and prompts do neither", () => {
    const { installation, id } = desk();
    installation.note(minute(1), id, { agent: ravi, text: "Hm" });
    expect(installation.conversation(id).firstReplyCreatedAt).toBeNull();

    const [, update] = installation.agentReplies(minute(2), id, { agent: ravi, text: "Hello" }).events;
    const firstReply = installation.conversation(id).firstReplyCreatedAt;
    const second = installation.agentReplies(minute(3), id, { agent: mira, text: "Hello again" }).events;

    expect(changedKeys(update)).toEqual(["waiting_since", "first_reply_created_at", "updated_at"]);
    expect(body(update).waiting_since).toBe(0);
    expect(names(second)).toEqual(["message_created"]);
    expect(installation.conversation(id).firstReplyCreatedAt).toBe(firstReply);
  });

  test("a private note travels, but the conversation in it still shows the last public message", () => {
    const { installation, id } = desk();
    const said = installation.customerWrites(minute(1), id, { text: "Hello" });

    const [created] = installation.note(minute(2), id, { agent: ravi, text: "Old plan" }).events;

    expect(body(created)).toMatchObject({ private: true, message_type: "outgoing", content: "Old plan" });
    expect(body(created).conversation.messages[0].id).toBe(said.id);
  });

  test("every message makes a new version of its conversation, a note too, but no later change of one does", () => {
    const { installation, id } = desk();
    const said = installation.customerWrites(minute(1), id, { text: "Hello" });

    const noted = installation.note(minute(2), id, { agent: ravi, text: "Old plan" });
    const later = [
      ...installation.editMessage(minute(3), said.id, "Hello!").events,
      ...installation.deleteMessage(minute(4), noted.id).events,
    ];

    const versions = [said.events[0], ...noted.events].map((event) =>
      body(event).conversation.updated_at * 1000 - Date.parse(body(event).created_at)
    );
    // Later than the message itself, by the touch that follows its insert.
    for (const behind of versions) expect(behind).toBeGreaterThan(0.999);
    const version = body(noted.events[0]).conversation.updated_at;
    expect(later.map((event) => body(event).conversation.updated_at)).toEqual([version, version]);
  });

  test("a resolved conversation reopens when the customer writes, before the message is told", () => {
    const { installation, id } = desk();
    installation.resolve(minute(1), id);

    const { events } = installation.customerWrites(minute(2), id, { text: "Not yet!" });

    expect(names(events)).toEqual([
      "conversation_status_changed",
      "conversation_updated",
      "message_created",
      "conversation_updated",
      "contact_updated",
    ]);
    expect(installation.conversation(id).status).toBe("open");
  });

  test("with a bot it begins and reopens as pending; the hand-off opens it and lets the bot go", () => {
    const { installation, id, conversation } = desk("help_centre");
    expect(body(conversation.events[0])).toMatchObject({ status: "pending", meta: { assignee_type: "AgentBot" } });
    installation.botReplies(minute(1), id, { text: "Hi" });

    const { events } = installation.handOff(minute(2), id);
    installation.resolve(minute(3), id);
    installation.customerWrites(minute(4), id, { text: "Again" });

    expect(names(events)).toEqual(["conversation_status_changed", "conversation_updated"]);
    expect(changedKeys(events[1])).toEqual(["status", "assignee_agent_bot_id", "waiting_since", "updated_at"]);
    expect(body(events[1]).meta.assignee).toBeNull();
    expect(installation.conversation(id).status).toBe("pending");
  });

  test("a snooze ends by time or by the customer, and its end is forgotten", () => {
    const { installation, id } = desk();

    const snoozed = installation.snooze(minute(1), id, minute(90)).events;
    installation.customerWrites(minute(2), id, { text: "Still there?" });

    expect(body(snoozed[1])).toMatchObject({ status: "snoozed", snoozed_until: "2026-11-20T10:30:00.000Z" });
    expect(installation.conversation(id)).toMatchObject({ status: "open", snoozedUntil: null });
  });

  test("the older assignment engine loses the status event of an opening", () => {
    const { installation, id } = desk("sms");
    installation.assign(minute(1), id, null);
    installation.resolve(minute(2), id);

    const { events } = installation.customerWrites(minute(3), id, { text: "Hello" });

    const [update] = events;
    expect(names(events)).not.toContain("conversation_status_changed");
    expect(changedKeys(update)).toEqual(["assignee_id", "updated_at"]);
    expect(body(update).status).toBe("open");
  });

  test("a blocked contact reopens nothing", () => {
    const { installation, id, contact } = desk();
    installation.resolve(minute(1), id);
    installation.updateContact(minute(2), contact.id, { blocked: true });

    installation.customerWrites(minute(3), id, { text: "Hey!" });

    expect(installation.conversation(id).status).toBe("resolved");
  });

  test("unread messages are counted to ten and no further", () => {
    const { installation, id } = desk();
    const counts = Array.from(
      { length: 12 },
      (_, index) =>
        body(installation.customerWrites(minute(index), id, { text: "Hello?" }).events[0]).conversation.unread_count,
    );

    expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10]);
    const [reply] = installation.agentReplies(minute(20), id, { agent: ravi, text: "Here" }).events;
    expect(body(reply).conversation.unread_count).toBe(0);
  });

  test("a WhatsApp reply is created once and updated three times", () => {
    const { installation, id } = desk("whatsapp");
    installation.customerWrites(minute(0), id, { text: "Hola" });

    const events = [
      ...installation.agentReplies(minute(1), id, { agent: ravi, text: "Hola" }).events,
      ...installation.deliveryStatus(minute(2), id, { status: "delivered" }).events,
      ...installation.deliveryStatus(minute(3), id, { status: "read" }).events,
      ...installation.deliveryStatus(minute(4), id, { status: "delivered" }).events,
    ].filter(({ name }) => name.startsWith("message"));

    expect(names(events)).toEqual(["message_created", "message_updated", "message_updated", "message_updated"]);
    expect(events.map((event) => body(event).conversation.messages[0].status)).toEqual([
      "sent",
      "sent",
      "delivered",
      "read",
    ]);
    expect(body(events[1]).source_id).toMatch(/^wamid\./);
  });

  test("a deleted message keeps its id and loses all else", () => {
    const { installation, id } = desk();
    const said = installation.customerWrites(minute(1), id, { text: "My PIN is 1234", attach: ["card.jpg"] });

    const [update] = installation.deleteMessage(minute(2), said.id).events;

    expect(body(update)).toMatchObject({ id: said.id, content: "This message was deleted", content_type: "text" });
    expect(body(update).content_attributes).toEqual({ deleted: true });
    expect(body(update)).not.toHaveProperty("attachments");
  });

  test("a rating and its comment are two updates, and a number or text by channel", () => {
    const widget = desk("website");
    const mail = desk("email");
    const rate = ({ installation, id }: ReturnType<typeof desk>) => {
      installation.resolve(minute(1), id, { survey: true });
      return installation.rate(minute(2), id, { rating: 4, feedback: "Fine" }).events.map((event) =>
        body(event).content_attributes.submitted_values.csat_survey_response
      );
    };

    expect(rate(widget)).toEqual([{ rating: 4, feedback_message: null }, { rating: 4, feedback_message: "Fine" }]);
    expect(rate(mail).map(({ rating }) => rating)).toEqual(["4", "4"]);
    const { csat_responses, messages } = mail.installation.finalState();
    expect(csat_responses).toMatchObject([{ conversation_display_id: 1, rating: 4, feedback_message: "Fine" }]);
    expect(messages.find(({ content_type }) => content_type === "input_csat")?.content).toMatch(/conversation$/);
  });

  test("a survey is a link at the top level, but within the widget and in the row it is not", () => {
    const prompted = (inbox: "email" | "website") => {
      const { installation, id } = desk(inbox);
      const prompt = named(installation.resolve(minute(1), id, { survey: true }).events, "message_created");
      return { installation, prompt: body(prompt) };
    };

    const mail = prompted("email");

    const link = / https:\/\/.+\/survey\/responses\/[0-9a-f-]{36}$/;
    expect(mail.prompt.content).toMatch(link);
    expect(mail.prompt.conversation.messages[0].content).not.toMatch(link);
    expect(mail.installation.finalState().messages.at(-1)?.content).not.toMatch(link);
    expect(prompted("website").prompt.content).not.toMatch(link);
  });

  test("jobs that run late show what came after, but the changes of their own moment", () => {
    const { installation, id } = desk("website", 1);

    const [created, update] = installation.agentReplies(minute(1), id, { agent: ravi, text: "Hello" }).events;

    expect(body(created).conversation.waiting_since).toBe(0);
    expect(body(created).conversation.updated_at).toBe(body(update).updated_at);
  });

  test("time never goes back, whatever moment a verb is given", () => {
    const { installation, id } = desk();
    const [one] = installation.setPriority(minute(60), id, "high").events;

    const [other] = installation.setPriority(minute(5), id, "low").events;

    expect(body(other).updated_at).toBeGreaterThan(body(one).updated_at);
  });

  test("a file of an unknown kind and a conversation that is not there are refused by name", () => {
    const { installation, id } = desk();

    expect(() => installation.customerWrites(minute(1), id, { attach: ["virus.exe"] })).toThrow(
      '"virus.exe" is no file',
    );
    expect(() => installation.resolve(minute(1), 404)).toThrow("There is no conversation 404");
  });
});
