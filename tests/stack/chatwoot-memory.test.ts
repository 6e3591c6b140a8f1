// A Chatwoot with a memory: rows as Chatwoot writes them, and an installation that goes on where it stopped.
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { playDay } from "../../local/chatwoot/day.ts";
import { historyOf } from "../../local/chatwoot/history.ts";
import { type ChatwootEvent, createInstallation, type Installation } from "../../local/chatwoot/installation.ts";
import { businessSeconds } from "../../local/chatwoot/local-time.ts";
import { type Memory, openMemory } from "../../local/chatwoot/memory.ts";
import { loadScenarios } from "../../local/chatwoot/scenarios.ts";

const START = new Date("2026-11-20T09:00:00Z");
const minute = (minutes: number) => new Date(START.getTime() + minutes * 60_000);
const installationOptions = { seed: 1, start: START, lateJobs: 0 };

const databases: string[] = [];
const memories: Memory[] = [];
const clients: Client[] = [];
let admin: Client;

beforeAll(async () => {
  admin = new Client({ connectionString: inject("adminUrl") });
  await admin.connect();
});
afterAll(async () => {
  await Promise.all(memories.map((memory) => memory.close()));
  await Promise.all(clients.map((client) => client.end()));
  for (const name of databases) await admin.query(`drop database if exists ${name} with (force)`);
  await admin.end();
});

/** An empty database, as a Chatwoot is given one. */
async function emptyDatabase(): Promise<string> {
  const name = `chatwoot_${randomUUID().replaceAll("-", "")}`;
  await admin.query(`create database ${name}`);
  databases.push(name);
  const url = new URL(inject("adminUrl"));
  url.pathname = `/${name}`;
  return url.href;
}

async function open(url: string): Promise<Memory> {
  const memory = await openMemory({ url, installationOptions });
  memories.push(memory);
  return memory;
}

async function rowsOf(url: string) {
  const client = new Client({ connectionString: url });
  await client.connect();
  clients.push(client);
  return async (query: string, values: unknown[] = []) => (await client.query(query, values)).rows;
}

/** A conversation, or two of one contact, in a fresh memory. */
async function desk(inbox: Parameters<Installation["newConversation"]>[1]["inbox"] = "website") {
  const url = await emptyDatabase();
  const memory = await open(url);
  const { installation } = memory;
  const contact = installation.newContact(minute(0), { name: "Dana", email: "dana@mail.example" }).id;
  const id = installation.newConversation(minute(0), { contact, inbox }).id;
  return { url, memory, installation, contact, id, rows: await rowsOf(url) };
}

const wire = (events: Iterable<ChatwootEvent>) => [...events].map(({ at, deliveryId, body }) => [at, deliveryId, body]);

describe("the tables", () => {
  test("an account brings sequences of its own, and its conversations are numbered from the first", async () => {
    const { memory, installation, contact, rows } = await desk();
    installation.newConversation(minute(1), { contact, inbox: "email" });
    await memory.save();

    expect(await rows("select relname from pg_class where relname like '%dpid_seq%' order by 1")).toEqual([
      { relname: "camp_dpid_seq_1" },
      { relname: "conv_dpid_seq_1" },
    ]);
    const found = await rows("select id, display_id from conversations order by id");
    expect(found.map(({ display_id }) => display_id)).toEqual([1, 2]);
    expect(found[0].id).toBeGreaterThan(18_000);
    expect(
      await rows(
        "insert into conversations (account_id, inbox_id, created_at, updated_at, display_id) values (1, 3, now(), now(), 99) returning id, display_id",
      ),
    )
      .toEqual([{ id: found[1].id + 1, display_id: 3 }]);
  });

  test("attributes of a message are JSON in a JSON string, and no value when empty", async () => {
    const { memory, installation, id, rows } = await desk();
    const plain = installation.customerWrites(minute(1), id, { text: "Hello\n" }).id;
    const reply = installation.agentReplies(minute(2), id, {
      agent: installation.agents[0],
      text: "Hi",
      inReplyTo: plain,
      attach: ["plan.png"],
    }).id;
    await memory.save();

    const found = await rows(
      "select id, content, content_attributes::text, json_typeof(content_attributes) as kind, additional_attributes from messages order by id",
    );
    expect(found).toEqual([
      { id: plain, content: "Hello\n", content_attributes: null, kind: null, additional_attributes: {} },
      {
        id: reply,
        content: "Hi",
        content_attributes: `"{\\"in_reply_to\\":${plain}}"`,
        kind: "string",
        additional_attributes: {},
      },
    ]);
    expect(await rows("select file_type, extension, message_id from attachments")).toEqual([
      { file_type: 0, extension: "png", message_id: reply },
    ]);
  });

  test("times have no zone, hold UTC and are exact to the microsecond", async () => {
    const { memory, installation, id, rows } = await desk();
    await memory.save();

    const [found] = await rows(`select pg_typeof(updated_at)::text as kind,
      (extract(epoch from updated_at at time zone 'UTC') * 1000000)::bigint::text as instant from conversations`);
    expect(found).toEqual({
      kind: "timestamp without time zone",
      instant: String(installation.conversation(id).updatedAt),
    });
  });

  test("enums are numbers, and the lowest priority is not none", async () => {
    const { memory, installation, id, rows } = await desk("whatsapp");
    installation.customerWrites(minute(1), id, { text: "Hm", attach: ["note.ogg"] });
    installation.agentReplies(minute(2), id, { agent: installation.agents[1], text: "Yes?" });
    installation.deliveryStatus(minute(3), id, { status: "read" });
    installation.setPriority(minute(4), id, "low");
    installation.snooze(minute(5), id, null);
    await memory.save();

    expect(await rows("select status, priority from conversations")).toEqual([{ status: 3, priority: 0 }]);
    expect(await rows("select message_type, content_type, status from messages order by id")).toEqual([
      { message_type: 0, content_type: 0, status: 0 },
      { message_type: 1, content_type: 0, status: 2 },
      { message_type: 2, content_type: 0, status: 0 },
    ]);
    expect(await rows("select file_type from attachments")).toEqual([{ file_type: 1 }]);
    expect(await rows("select role, count(*)::integer from account_users group by role order by role")).toEqual([
      { role: 0, count: 4 },
      { role: 1, count: 1 },
    ]);
  });

  test("what Chatwoot notes itself has no sender, and no webhook tells of it", async () => {
    const { memory, installation, id, rows } = await desk();
    const [ravi] = installation.agents;
    const events = [
      ...installation.assign(minute(1), id, ravi).events,
      ...installation.assignTeam(minute(2), id, "billing").events,
      ...installation.resolve(minute(3), id).events,
    ];
    await memory.save();

    expect(
      await rows(
        `select content, sender_type, sender_id, message_type, (content_attributes #>> '{}')::json as attributes
        from messages order by id`,
      ),
    ).toEqual(
      [
        ["Assigned to Ravi Shah by Noor Haddad", { activity: { type: "assignee_changed" } }],
        ["Assigned to billing by Ravi Shah", { activity: { type: "team_changed" } }],
        [
          "Conversation was marked resolved by Ravi Shah",
          { activity: { type: "conversation_status_changed", status: "resolved" } },
        ],
      ].map(([content, attributes]) => ({ content, sender_type: null, sender_id: null, message_type: 2, attributes })),
    );
    expect(events.filter(({ name }) => name.startsWith("message"))).toEqual([]);
    expect(events.flatMap(({ payload }) => payload.messages)).toEqual([]);
  });

  test("a label is a tag of all accounts, a tagging and a text beside the conversation", async () => {
    const { memory, installation, id, rows } = await desk();
    installation.addLabel(minute(1), id, "refund");
    installation.addLabel(minute(2), id, "vip");
    installation.removeLabel(minute(3), id, "refund");
    await memory.save();

    expect(await rows("select cached_label_list from conversations")).toEqual([{ cached_label_list: "vip" }]);
    expect(
      await rows(
        `select tags.name, taggings.taggable_type, taggings.context, taggable_id = conversations.id as is_its_id
        from taggings join tags on tags.id = tag_id cross join conversations`,
      ),
    ).toEqual([{ name: "vip", taggable_type: "Conversation", context: "labels", is_its_id: true }]);
    expect(await rows("select name, taggings_count from tags order by id")).toEqual([
      { name: "refund", taggings_count: 0 },
      { name: "vip", taggings_count: 1 },
    ]);
    expect(await rows("select title from labels order by id")).toEqual([{ title: "refund" }, { title: "vip" }]);
  });

  test("an answer to a survey is one row, whose agent is the one of the first answer", async () => {
    const { memory, installation, id, rows } = await desk("email");
    const [ravi, mira] = installation.agents;
    installation.assign(minute(1), id, ravi);
    installation.resolve(minute(2), id, { survey: true });
    const prompt = installation.rate(minute(3), id, { rating: 2 }).id;
    installation.assign(minute(4), id, mira);
    installation.rate(minute(5), id, { rating: 4, feedback: "Better" });
    await memory.save();

    expect(
      await rows(
        "select message_id::integer, rating, feedback_message, assigned_agent_id::integer from csat_survey_responses",
      ),
    )
      .toEqual([{ message_id: prompt, rating: 4, feedback_message: "Better", assigned_agent_id: ravi.id }]);
  });

  test("it writes to no tables that it did not make", async () => {
    const url = await emptyDatabase();
    const rows = await rowsOf(url);
    await rows("create table accounts (id integer)");

    await expect(open(url)).rejects.toThrow("belong to a Chatwoot that was not made here");
  });
});

describe("statistics", () => {
  const AT = "2026-11-20T";
  const at = (time: string) => new Date(`${AT}${time}Z`);
  const told = (query: string) =>
    `select name, value::integer, value_in_business_hours::integer as business, user_id from (${query}) as events order by id`;

  test("the example of the facts, row by row", async () => {
    const { memory, installation, contact, rows } = await desk("api");
    const [ravi, mira] = installation.agents;
    const id = installation.newConversation(at("10:00:00"), { contact, inbox: "api" }).id;
    installation.customerWrites(at("10:00:00"), id, { text: "Hello" });
    installation.assign(at("10:01:00"), id, mira);
    installation.agentReplies(at("10:07:30"), id, { agent: ravi, text: "Hello" });
    installation.customerWrites(at("10:20:00"), id, { text: "And?" });
    installation.customerWrites(at("10:25:00"), id, { text: "Well?" });
    installation.agentReplies(at("10:40:00"), id, { agent: ravi, text: "Here" });
    installation.resolve(at("11:00:00"), id);
    installation.customerWrites(at("11:30:00"), id, { text: "Once more" });
    installation.agentReplies(at("11:35:00"), id, { agent: ravi, text: "Yes" });
    installation.resolve(at("12:00:00"), id);
    await memory.save();

    // Begun at ten here. The inbox has no working hours in force, so none are counted.
    expect(await rows(told("select * from reporting_events"))).toEqual([
      ["first_response", 450, 7],
      ["reply_time", 1200, 8],
      ["conversation_resolved", 3600, 8],
      ["conversation_opened", 1800, 8],
      ["reply_time", 300, 8],
      ["conversation_resolved", 7200, 8],
    ].map(([name, value, user_id]) => ({ name, value, business: 0, user_id })));
  });

  test("a bot's hand-off counts once, its own resolution only where no person wrote", async () => {
    const { memory, installation, contact, id, rows } = await desk("help_centre");
    const other = installation.newConversation(minute(1), { contact, inbox: "help_centre" }).id;
    installation.botReplies(minute(2), other, { text: "Done" });
    installation.resolve(minute(3), other);
    installation.handOff(minute(4), id);
    installation.note(minute(5), id, { agent: installation.agents[0], text: "Mine" });
    installation.resolve(minute(6), id);
    installation.customerWrites(minute(7), id, { text: "Again" });
    installation.handOff(minute(8), id);
    await memory.save();

    const names = await rows("select name, conversation_id from reporting_events order by id");
    const of = (conversation: number) =>
      names.filter((row) => row.conversation_id === installation.conversation(conversation).id).map(({ name }) => name);
    expect(of(other)).toEqual(["conversation_resolved", "conversation_bot_resolved"]);
    expect(of(id)).toEqual([
      "conversation_opened",
      "conversation_bot_handoff",
      "conversation_resolved",
      "conversation_opened",
    ]);
  });

  test("business hours are counted in the shop's zone, over a weekend and a change of clocks", () => {
    const seconds = (from: string, to: string) => businessSeconds(Date.parse(from) * 1000, Date.parse(to) * 1000);

    // Friday 16:30 to Monday 09:30 in Berlin, in November and across the end of summer time.
    expect(seconds("2026-11-20T15:30:00Z", "2026-11-23T08:30:00Z")).toBe(3600);
    expect(seconds("2026-10-23T14:30:00Z", "2026-10-26T08:30:00Z")).toBe(3600);
    expect(seconds("2026-11-21T09:00:00Z", "2026-11-22T09:00:00Z")).toBe(0);
    expect(seconds("2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z")).toBe(5 * 8 * 3600);
  });
});

describe("going on", () => {
  // Two histories after each other, with or without a restart between them.
  const play = (installation: Installation, seed: number) =>
    wire(
      historyOf({ conversations: 15, events: 900, seed, silentChanges: true, installation }).events,
    );

  test("what is read back and played on ends as what was played in one go", async () => {
    const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
    console.log(`memory: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
    const whole = createInstallation(installationOptions);
    const expected = [play(whole, seed), play(whole, seed + 1)];
    const url = await emptyDatabase();

    const first = await open(url);
    const before = play(first.installation, seed);
    await first.save();
    const again = await open(url);
    const after = play(again.installation, seed + 1);
    await again.save();

    expect(before).toEqual(expected[0]);
    expect(after).toEqual(expected[1]);
    expect(again.installation.finalState()).toEqual(whole.finalState());
    expect((await open(url)).installation.finalState()).toEqual(whole.finalState());
  });

  test("a save after each verb leaves the same rows as one save at the end", async () => {
    const [often, once] = [await desk(), await desk()];
    const histories = [often, once].map(({ installation }) =>
      historyOf({ conversations: 4, events: 200, seed: 3, silentChanges: true, installation }).events
    );

    for (const _ of histories[0]) await often.memory.save();
    expect([...histories[1]]).toHaveLength(200);
    await once.memory.save();

    for (const table of ["conversations", "messages", "contacts", "contact_inboxes", "taggings", "tags", "users"]) {
      const query = `select to_json(rows) as row from ${table} as rows order by id`;
      expect(await often.rows(query), table).toEqual(await once.rows(query));
    }
  });

  test("only what changed is written", async () => {
    const { url, memory, installation, id } = await desk();
    expect((await memory.save()).inserted).toBeGreaterThan(100);

    expect(await memory.save()).toEqual({ inserted: 0, updated: 0, deleted: 0 });
    installation.setPriority(minute(1), id, "high");
    expect(await memory.save()).toEqual({ inserted: 0, updated: 1, deleted: 0 });
    installation.setPriority(minute(2), id, "high");
    expect(await memory.save()).toEqual({ inserted: 0, updated: 0, deleted: 0 });
    installation.customerWrites(minute(3), id, { text: "Hello" });
    // The message; its conversation and the contact, who was last active then.
    expect(await memory.save()).toEqual({ inserted: 1, updated: 2, deleted: 0 });
    const again = await open(url);
    expect(await again.save()).toEqual({ inserted: 0, updated: 0, deleted: 0 });
    again.installation.deleteConversation(minute(4), id);
    expect(await again.save()).toEqual({ inserted: 0, updated: 0, deleted: 2 });
  });

  test("what could not be written is written by the next save, under the numbers it was given", async () => {
    const { memory, installation, contact, rows } = await desk();
    await memory.save();
    await rows("alter table conversations add constraint shut check (priority is null)");
    installation.newConversation(minute(1), { contact, inbox: "email" });
    const id = installation.newConversation(minute(2), { contact, inbox: "email" }).id;
    installation.setPriority(minute(3), id, "urgent");

    await expect(memory.save()).rejects.toThrow("shut");
    await rows("alter table conversations drop constraint shut");
    await memory.save();

    expect(await rows("select display_id, priority from conversations order by id")).toEqual([
      { display_id: 1, priority: null },
      { display_id: 2, priority: null },
      { display_id: 3, priority: 3 },
    ]);
  });

  test("a connection that is cut is made anew", async () => {
    const { memory, installation, id, rows } = await desk();
    await memory.save();
    await rows(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    installation.setPriority(minute(1), id, "high");

    await memory.save().catch(() => memory.save());

    expect(await rows("select priority from conversations")).toEqual([{ priority: 2 }]);
  });

  test("a day of support, and a history of 10,000 events, are put away in seconds", async () => {
    const day = await open(await emptyDatabase());
    playDay({ date: "2026-11-20", scenarios: await loadScenarios(), seed: 7, installation: day.installation });
    const long = await open(await emptyDatabase());
    const { events } = historyOf({
      conversations: 200,
      events: 10_000,
      seed: 7,
      silentChanges: true,
      installation: long.installation,
    });
    expect([...events]).toHaveLength(10_000);

    for (const memory of [day, long]) {
      const started = performance.now();
      expect((await memory.save()).inserted).toBeGreaterThan(500);
      expect(performance.now() - started).toBeLessThan(10_000);
    }
  });
});

describe("in silence", () => {
  test("an agent looks: no webhook, no new version", async () => {
    const { memory, installation, id, rows } = await desk();
    const [ravi] = installation.agents;
    installation.assign(minute(1), id, ravi);
    const version = installation.conversation(id).updatedAt;

    const outcome = installation.agentOpens(minute(2), id, { agent: ravi });
    await memory.save();

    expect(outcome.events).toEqual([]);
    expect(installation.conversation(id).updatedAt).toBe(version);
    const [seen] = await rows("select agent_last_seen_at, assignee_last_seen_at from conversations");
    expect(seen.agent_last_seen_at).not.toBeNull();
    expect(seen.assignee_last_seen_at).toEqual(seen.agent_last_seen_at);
  });

  test("an agent leaves, a team and a label go: conversations lose them without a new version", async () => {
    const { memory, installation, id, rows } = await desk();
    const [ravi, mira] = installation.agents;
    installation.assign(minute(1), id, ravi);
    installation.assignTeam(minute(2), id, "orders");
    installation.addLabel(minute(3), id, "vip");
    installation.addLabel(minute(4), id, "refund");
    const said = installation.note(minute(5), id, { agent: ravi, text: "Mine" }).id;
    await memory.save();
    const version = await rows("select updated_at from conversations");

    const outcomes = [
      installation.removeAgent(minute(6), ravi.id),
      installation.deleteTeam(minute(7), "orders"),
      installation.deleteLabel(minute(8), "vip"),
    ];
    await memory.save();

    expect(outcomes.flatMap(({ events }) => events)).toEqual([]);
    expect(await rows("select updated_at from conversations")).toEqual(version);
    expect(await rows("select assignee_id, team_id, cached_label_list from conversations")).toEqual([
      { assignee_id: null, team_id: null, cached_label_list: "refund" },
    ]);
    const counts = `select (select count(*)::integer from account_users where user_id = 7) as members,
      (select count(*)::integer from inbox_members where user_id = 7) as inboxes,
      (select count(*)::integer from users where id = 7) as users,
      (select count(*)::integer from team_members where team_id = 1 or user_id = 7) as team_members,
      (select count(*)::integer from teams where name = 'orders') as teams,
      (select count(*)::integer from labels where title = 'vip') as labels,
      (select count(*)::integer from taggings) as taggings`;
    expect(await rows(counts)).toEqual([
      { members: 0, inboxes: 0, users: 1, team_members: 0, teams: 0, labels: 0, taggings: 1 },
    ]);
    expect(installation.agents).not.toContain(ravi);
    expect(installation.agents).toContain(mira);
    expect(installation.finalState().messages.find(({ message_id }) => message_id === said)?.sender_id).toBe(ravi.id);
    expect(() => installation.assignTeam(minute(9), id, "orders")).toThrow('There is no team "orders"');
  });

  test("a conversation goes with all that hangs on it, and its number is not given again", async () => {
    const { memory, installation, contact, id, rows } = await desk();
    installation.customerWrites(minute(1), id, { attach: ["tent.jpg"] });
    installation.addLabel(minute(2), id, "vip");
    installation.resolve(minute(3), id, { survey: true });
    installation.rate(minute(4), id, { rating: 5 });
    await memory.save();

    const { events } = installation.deleteConversation(minute(5), id);
    const next = installation.newConversation(minute(6), { contact, inbox: "website" });
    await memory.save();

    expect(events).toEqual([]);
    expect(next.id).toBe(2);
    const tables = [
      "messages",
      "attachments",
      "active_storage_blobs",
      "taggings",
      "csat_survey_responses",
      "reporting_events",
    ];
    for (const table of tables) expect(await rows(`select * from ${table}`), table).toEqual([]);
    expect(await rows("select display_id from conversations")).toEqual([{ display_id: 2 }]);
    expect(() => installation.customerWrites(minute(7), id, { text: "Hello?" })).toThrow("There is no conversation 1");
  });

  test("a contact goes with its conversations", async () => {
    const { memory, installation, contact, id, rows } = await desk();
    installation.customerWrites(minute(1), id, { text: "Hello" });
    await memory.save();

    expect(installation.deleteContact(minute(2), contact).events).toEqual([]);
    await memory.save();

    for (const table of ["contacts", "contact_inboxes", "conversations", "messages"]) {
      expect(await rows(`select * from ${table}`), table).toEqual([]);
    }
    expect(installation.finalState()).toMatchObject({ contacts: [], conversations: [], messages: [] });
  });

  test("contacts are merged: all moves to one, who is updated only where it learnt something", async () => {
    const { memory, installation, contact, rows } = await desk();
    const other =
      installation.newContact(minute(1), { name: "D.", email: "d@mail.example", phoneNumber: "+4930123" }).id;
    const third = installation.newContact(minute(1), { name: "D." }).id;
    const moved = installation.newConversation(minute(2), { contact: other, inbox: "website" }).id;
    const said = installation.customerWrites(minute(3), moved, { text: "It's me" }).id;
    await memory.save();

    const merged = installation.mergeContacts(minute(4), { into: contact, from: other });
    const silent = installation.mergeContacts(minute(5), { into: contact, from: third });
    await memory.save();

    expect(merged.events.map(({ name }) => name)).toEqual(["contact_updated"]);
    expect(silent.events).toEqual([]);
    expect(await rows("select id, name, email, phone_number from contacts")).toEqual([
      { id: contact, name: "Dana", email: "dana@mail.example", phone_number: "+4930123" },
    ]);
    expect(await rows("select distinct contact_id::integer from conversations")).toEqual([{ contact_id: contact }]);
    expect(await rows("select sender_id::integer from messages where id = $1", [said])).toEqual([
      { sender_id: contact },
    ]);
    expect(await rows("select distinct contact_id::integer, count(*)::integer from contact_inboxes group by 1"))
      .toEqual([
        { contact_id: contact, count: 2 },
      ]);
    // Whoever writes next is still the one of the conversation.
    installation.customerWrites(minute(6), moved, { text: "Still me" });
    expect((await memory.save()).inserted).toBe(1);
  });

  test("an event built again shows what happened since, and knows when its record is gone", async () => {
    const { installation, id } = await desk();
    const [created] = installation.customerWrites(minute(1), id, { text: "Hello" }).events;
    expect(created.rebuild()).toBe(created.body);

    installation.setPriority(minute(2), id, "urgent");

    const again = JSON.parse(created.rebuild());
    expect(again).toMatchObject({ event: "message_created", content: "Hello", conversation: { priority: "urgent" } });
    expect(JSON.parse(created.body).conversation.priority).toBeNull();
    expect(created.isGone()).toBe(false);
    installation.deleteConversation(minute(3), id);
    expect(created.isGone()).toBe(true);
  });
});
