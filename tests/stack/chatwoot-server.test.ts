// The local Chatwoot's REST API, asked over HTTP: what is shown, and how.
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Answered,
  converse,
  type Desk,
  type Json,
  minute,
  START,
  useChatwoots,
} from "./chatwoot-server.support.ts";

const open = useChatwoots();
const bad = ({ status, json }: Answered) => ({ status, json });

describe("one conversation", () => {
  let desk: Desk;
  let id: number;
  let contact: number;
  let question: number;
  let reply: number;
  beforeAll(async () => {
    desk = await open();
    ({ id, contact } = await converse(desk));
    const { installation } = desk.chatwoot;
    const [agent] = installation.agents;
    question = installation.customerWrites(minute(1), id, { text: "My <b>invoice</b> & me\n" }).id;
    installation.assign(minute(2), id, agent);
    installation.assignTeam(minute(3), id, "billing");
    installation.addLabel(minute(4), id, "vip");
    installation.addLabel(minute(4), id, "billing");
    reply = installation.agentReplies(minute(5), id, {
      agent,
      text: "Here it is.",
      attach: ["invoice.png", "voice.ogg"],
      inReplyTo: question,
    }).id;
    installation.setPriority(minute(6), id, "high");
    await desk.chatwoot.dispatch([]);
  });
  const show = async (number = id) => (await desk.ask(`conversations/${number}`)).json;

  test("has exactly these keys, and no more", async () => {
    const conversation = await show();
    expect(Object.keys(conversation).sort()).toEqual(
      `account_id additional_attributes agent_last_seen_at assignee_last_seen_at can_reply contact_last_seen_at created_at
      custom_attributes first_reply_created_at id inbox_id labels last_activity_at last_non_activity_message messages meta
      muted priority sla_policy_id snoozed_until status timestamp unread_count updated_at uuid waiting_since`.split(
        /\s+/,
      ),
    );
    expect(Object.keys(conversation.meta).sort()).toEqual(
      ["assignee", "assignee_type", "channel", "hmac_verified", "sender", "team"],
    );
    expect(conversation.meta.sender).toEqual({
      additional_attributes: {},
      availability_status: "offline",
      email: "dana-1@mail.example",
      id: contact,
      name: "Dana <&>",
      phone_number: null,
      blocked: false,
      identifier: null,
      thumbnail: "",
      custom_attributes: {},
      last_activity_at: Math.floor(minute(1).getTime() / 1000),
      created_at: START.getTime() / 1000,
    });
    expect(conversation.meta.assignee).toMatchObject({
      id: 7,
      account_id: 1,
      email: "ravi@acme-outdoor.example",
      available_name: "Ravi",
      name: "Ravi Shah",
      role: "agent",
    });
    expect(conversation.meta).toMatchObject({ assignee_type: "User", channel: "Channel::WebWidget" });
    expect(Object.keys(conversation.meta.team)).toEqual(
      ["id", "name", "description", "allow_auto_assign", "icon", "icon_color", "account_id", "is_member"],
    );
  });

  test("mixes epochs, floats and ISO, and says 0 for never", async () => {
    const [row] = await desk.rows(
      "select extract(epoch from updated_at)::float8 as updated, extract(epoch from last_activity_at)::float8 as activity from conversations",
    );
    const { text, json } = await desk.ask(`conversations/${id}`);
    expect(json).toMatchObject({
      created_at: START.getTime() / 1000,
      last_activity_at: Math.floor(row.activity),
      timestamp: Math.floor(row.activity),
      first_reply_created_at: minute(5).getTime() / 1000,
      waiting_since: 0,
      contact_last_seen_at: minute(1).getTime() / 1000,
      assignee_last_seen_at: 0,
      snoozed_until: null,
      priority: "high",
      status: "open",
      labels: ["vip", "billing"],
      unread_count: 0,
      sla_policy_id: null,
    });
    expect(json.updated_at).toBe(row.updated);
    expect(text).toMatch(/"updated_at":\d+\.\d+,/);

    await desk.chatwoot.perform(minute(10), (shop, at) => shop.snooze(at, id, new Date("2026-12-01T08:00:00.123Z")));
    expect((await show()).snoozed_until).toBe("2026-12-01T08:00:00.123Z");
    await desk.chatwoot.perform(minute(11), (shop, at) => shop.reopen(at, id));
  });

  test("escapes <, > and &, and shows the content as it is stored", async () => {
    const { text, json } = await desk.ask(`conversations/${id}/messages`);
    expect(text).toContain("My \\u003cb\\u003einvoice\\u003c/b\\u003e \\u0026 me\\n");
    expect(text).not.toMatch(/[<>&]/);
    expect(json.payload.find((message: Json) => message.id === question).content).toBe("My <b>invoice</b> & me\n");
  });

  test("shows the last message of any kind, and the last that is none of Chatwoot's own notes", async () => {
    const conversation = await show();
    const [last] = await desk.rows("select id, message_type from messages order by id desc limit 1");
    expect(last.message_type).toBe(2);
    expect(conversation.messages).toHaveLength(1);
    expect(conversation.messages[0]).toMatchObject({
      id: last.id,
      message_type: 2,
      sender_type: null,
      sender_id: null,
    });
    const spoken = conversation.last_non_activity_message;
    expect(spoken).toMatchObject({ id: reply, sender_type: "User", sender_id: 7, account_id: 1, conversation_id: id });
    expect(Object.keys(spoken).sort()).toEqual(
      `account_id additional_attributes attachments content content_attributes content_type conversation conversation_id
      created_at external_source_ids id inbox_id message_type private processed_message_content sender sender_id
      sender_type sentiment source_id status updated_at`.split(/\s+/),
    );
    expect(spoken.updated_at).toMatch(/^2026-11-20T09:05:00\.\d{3}Z$/);
    expect(spoken.conversation).toEqual({
      assignee_id: 7,
      unread_count: 0,
      last_activity_at: conversation.last_activity_at,
      contact_inbox: { source_id: expect.any(String) },
    });
  });

  test("without an assignee and a team, has no such keys, and without messages an empty list", async () => {
    const { id: bare } = await converse(desk, "email");
    const conversation = await show(bare);
    expect(conversation.meta).not.toHaveProperty("assignee");
    expect(conversation.meta).not.toHaveProperty("assignee_type");
    expect(conversation.meta).not.toHaveProperty("team");
    expect(conversation).toMatchObject({
      messages: [],
      last_non_activity_message: null,
      first_reply_created_at: 0,
      agent_last_seen_at: 0,
    });
    expect(conversation.meta.sender).not.toHaveProperty("last_activity_at");
  });

  test("is with a bot in the bot's inbox", async () => {
    const { id: pending } = await converse(desk, "help_centre");
    expect((await show(pending)).meta).toMatchObject({
      assignee_type: "AgentBot",
      assignee: { id: 7, name: "Trail Guide", type: "agent_bot" },
    });
  });

  test("that is not there, or not a number that any could have", async () => {
    for (const path of ["conversations/4711", "conversations/4711/messages", "conversations/99999999999999999999"]) {
      expect(bad(await desk.ask(path)), path).toEqual({ status: 404, json: { error: "Resource could not be found" } });
    }
  });

  test("its messages have exactly these keys", async () => {
    const { meta, payload } = (await desk.ask(`conversations/${id}/messages`)).json;
    expect(Object.keys(meta)).toEqual(
      ["labels", "additional_attributes", "contact", "assignee", "agent_last_seen_at", "assignee_last_seen_at"],
    );
    expect(meta).toMatchObject({ labels: ["vip", "billing"], assignee: { id: 7, type: "user" } });
    expect(meta.contact).toMatchObject({ id: contact, type: "contact" });
    expect(meta.agent_last_seen_at).toMatch(/^2026-11-20T09:\d\d:\d\d\.\d{3}Z$/);
    expect(meta.assignee_last_seen_at).toBe(null);

    const common = `content content_attributes content_type conversation_id created_at id inbox_id message_type private
      source_id status`.split(/\s+/);
    const byId = new Map<number, Json>(payload.map((message: Json) => [message.id, message]));
    expect(Object.keys(byId.get(question)).sort()).toEqual([...common, "sender"].sort());
    expect(Object.keys(byId.get(reply)).sort()).toEqual([...common, "sender", "attachments"].sort());
    expect(Object.keys(payload.find((message: Json) => message.message_type === 2)).sort()).toEqual(common.sort());
    expect(byId.get(question)).toMatchObject({
      created_at: minute(1).getTime() / 1000,
      content_attributes: {},
      sender: { id: contact, type: "contact", email: "dana-1@mail.example" },
    });
    expect(byId.get(reply)).toMatchObject({
      conversation_id: id,
      content_attributes: { in_reply_to: question },
      sender: { id: 7, name: "Ravi Shah", available_name: "Ravi", type: "user" },
      attachments: [
        { file_type: "image", extension: "png", width: 1200, message_id: reply, account_id: 1 },
        { file_type: "audio", extension: "ogg", thumb_url: "" },
      ],
    });
  });
});

describe("lists of conversations", () => {
  const NUMBER = 60;
  let desk: Desk;
  const list = async (query: string, asking = {}) => (await desk.ask(`conversations?${query}`, asking)).json.data;
  const numbers = async (query: string) => (await list(query)).payload.map(({ id }: Json) => id);
  const upTo = (least: number, most: number) => Array.from({ length: most - least + 1 }, (_, index) => least + index);

  beforeAll(async () => {
    desk = await open();
    const { installation } = desk.chatwoot;
    const contact = installation.newContact(minute(0), { name: "Dana", email: "dana@mail.example" }).id;
    for (let number = 1; number <= NUMBER; number++) {
      installation.newConversation(minute(number), { contact, inbox: number <= 50 ? "website" : "email" });
    }
    for (const id of upTo(1, 10)) installation.resolve(minute(100 + id), id);
    installation.snooze(minute(120), 11, null);
    installation.assign(minute(130), 12, installation.agents[0]);
    installation.assign(minute(131), 13, installation.state.administrator);
    installation.assignTeam(minute(140), 14, "orders");
    installation.addLabel(minute(150), 15, "vip");
    installation.addLabel(minute(151), 16, "size");
    await desk.chatwoot.dispatch([]);
    desk.chatwoot.setNow(minute(200));
  });

  test("are of open ones, 25 a page, newest activity first, and say nothing of pages", async () => {
    const answer = (await desk.ask("conversations")).json;
    expect(Object.keys(answer)).toEqual(["data"]);
    expect(Object.keys(answer.data)).toEqual(["meta", "payload"]);
    expect(answer.data.meta).toEqual({ mine_count: 1, assigned_count: 2, unassigned_count: 47, all_count: 49 });
    expect(answer.data.payload).toHaveLength(25);
    const activity = answer.data.payload.map((conversation: Json) => conversation.last_activity_at);
    expect(activity).toEqual([...activity].sort().reverse());
    expect(new Set(answer.data.payload.map(({ status }: Json) => status))).toEqual(new Set(["open"]));
    expect(await numbers("page=2")).toHaveLength(24);
    expect(await numbers("page=3")).toEqual([]);
    expect(await numbers("page=x")).toEqual(await numbers("page=1"));
  });

  test("all of them, by creation", async () => {
    expect(await numbers("status=all&sort_by=created_at_asc&page=1")).toEqual(upTo(1, 25));
    expect(await numbers("status=all&sort_by=created_at_asc&page=3")).toEqual(upTo(51, 60));
    expect(await numbers("status=all&sort_by=created_at_desc")).toEqual(upTo(36, 60).reverse());
  });

  test("by last activity, either way, and by that when the order is unknown", async () => {
    const oldest = await numbers("sort_by=last_activity_at_asc");
    expect(oldest[0]).toBe(15);
    expect(await numbers("sort_by=last_activity_at_desc")).toEqual(await numbers(""));
    expect(await numbers("sort_by=colour")).toEqual(await numbers(""));
  });

  test("of one status or several; of none when the status is unknown", async () => {
    expect((await numbers("status=resolved")).sort((one: number, other: number) => one - other)).toEqual(upTo(1, 10));
    expect(await numbers("status=snoozed")).toEqual([11]);
    expect(await numbers("status[]=snoozed&status[]=resolved")).toHaveLength(11);
    expect(await list("status=closed")).toEqual({
      meta: { mine_count: 0, assigned_count: 0, unassigned_count: 0, all_count: 0 },
      payload: [],
    });
  });

  test("by inbox, team and label", async () => {
    expect(await numbers("inbox_id=5&sort_by=created_at_asc")).toEqual(upTo(51, 60));
    expect(await numbers("team_id=1")).toEqual([14]);
    expect((await numbers("labels[]=vip&labels[]=size")).sort()).toEqual([15, 16]);
    expect(await numbers("inbox_id=999")).toEqual([]);
  });

  test("by assignee, and the counts do not follow that", async () => {
    expect((await numbers("assignee_type=assigned")).sort()).toEqual([12, 13]);
    expect(await numbers("assignee_type=me")).toEqual([13]);
    expect(await numbers("assignee_type=unassigned&sort_by=created_at_asc")).not.toContain(12);
    expect((await list("assignee_type=me")).meta.all_count).toBe(49);
    const token = await desk.agentToken();
    expect((await list("assignee_type=me", { token })).payload.map(({ id }: Json) => id)).toEqual([12]);
    expect((await desk.ask("conversations/meta?assignee_type=me")).json).toEqual({
      meta: { mine_count: 1, assigned_count: 2, unassigned_count: 47, all_count: 49 },
    });
  });

  test("by their last change: no pages, still open ones unless told, measured from the server's clock", async () => {
    // 190 minutes ago is before all but the first nine.
    expect(await numbers(`status=all&updated_within=${190 * 60}&page=2`)).toHaveLength(NUMBER);
    expect(await numbers(`updated_within=${190 * 60}`)).toHaveLength(49);
    expect((await numbers(`status=all&updated_within=${81 * 60}`)).sort()).toEqual([11, 12, 13, 14, 15, 16]);

    desk.chatwoot.setNow(minute(210));
    expect((await numbers(`status=all&updated_within=${81 * 60}`)).sort()).toEqual([12, 13, 14, 15, 16]);
    expect(await numbers("status=all&updated_within=0")).toEqual([]);
    desk.chatwoot.setNow(minute(200));
  });

  test("are made from the tables: a row changed there is shown at once", async () => {
    await desk.rows("update conversations set priority = 3 where display_id = 60");
    expect((await desk.ask("conversations/60")).json.priority).toBe("urgent");
  });
});

describe("pages of messages", () => {
  const NUMBER = 130;
  let desk: Desk;
  let id: number;
  let ids: number[];
  const page = async (query: string) =>
    (await desk.ask(`conversations/${id}/messages?${query}`)).json.payload.map((message: Json) => message.id);

  beforeAll(async () => {
    desk = await open();
    ({ id } = await converse(desk));
    const { installation } = desk.chatwoot;
    const [agent] = installation.agents;
    for (let number = 0; number < NUMBER - 2; number++) {
      installation.customerWrites(minute(number + 1), id, { text: `Message ${number}` });
    }
    installation.note(minute(NUMBER), id, { agent, text: "Note" });
    installation.setPriority(minute(NUMBER), id, "low");
    installation.assign(minute(NUMBER + 1), id, agent);
    await desk.chatwoot.dispatch([]);
    ids = (await desk.rows("select id from messages order by id")).map((row) => row.id);
    expect(ids).toHaveLength(NUMBER);
  });

  test("none asked for: the newest 20, oldest first", async () => {
    expect(await page("")).toEqual(ids.slice(-20));
  });

  test("before: the 20 that come before it", async () => {
    expect(await page(`before=${ids[50]}`)).toEqual(ids.slice(30, 50));
    expect(await page(`before=${ids[3]}`)).toEqual(ids.slice(0, 3));
  });

  test("after: up to 100 that come after it, from the beginning with 0", async () => {
    expect(await page("after=0")).toEqual(ids.slice(0, 100));
    expect(await page(`after=${ids[99]}`)).toEqual(ids.slice(100));
    expect(await page(`after=${ids.at(-1)}`)).toEqual([]);
  });

  test("after and before: from the one to the other, of which the first is in and the last is not", async () => {
    expect(await page(`after=${ids[5]}&before=${ids[128]}`)).toEqual(ids.slice(5, 128));
  });

  test("without what customers do not see", async () => {
    expect(await page(`after=${ids[100]}&filter_internal_messages=1`)).toEqual(ids.slice(101, -2));
  });

  test("filtered by id and ordered by creation, which may be two things", async () => {
    await desk.rows("update messages set created_at = '2020-01-01' where id = $1", [ids[110]]);
    expect((await page(`after=${ids[105]}`))[0]).toBe(ids[110]);
    expect(await page("")).not.toContain(ids[110]);
    await desk.rows("update messages set created_at = '2026-11-20 12:00' where id = $1", [ids[120]]);
    expect((await page("")).at(-1)).toBe(ids[120]);
    await desk.rows("update messages set created_at = '2026-11-20 10:51' where id = $1", [ids[110]]);
  });

  test("a deleted message stays, without its text", async () => {
    const { json } = await desk.ask(`conversations/${id}/messages/${ids[120]}`, { method: "DELETE" });
    expect(json).toMatchObject({ content: "This message was deleted", content_attributes: { deleted: true } });
    expect(await page("")).toContain(ids[120]);
    expect((await desk.ask(`conversations/${id}/messages/1`, { method: "DELETE" })).status).toBe(404);
    const other = await converse(desk);
    expect((await desk.ask(`conversations/${other.id}/messages/${ids[121]}`, { method: "DELETE" })).status).toBe(404);
    // Chatwoot's own notes cannot be deleted here.
    expect((await desk.ask(`conversations/${id}/messages/${ids.at(-1)}`, { method: "DELETE" })).status).toBe(401);
  });
});

describe("everything else that is read", () => {
  let desk: Desk;
  beforeAll(async () => {
    desk = await open();
    const { installation } = desk.chatwoot;
    for (let number = 0; number < 32; number++) {
      const at = minute(number * 2);
      // Every eighth is a visitor of whom nothing is known.
      const email = number % 8 === 0 ? null : `customer-${99 - number}@mail.example`;
      const contact = installation.newContact(at, { name: `Customer ${number}`, email }).id;
      const { id } = installation.newConversation(at, { contact, inbox: "website" });
      installation.customerWrites(at, id, { text: "Hello" });
      installation.assign(at, id, number === 0 ? null : installation.agents[0]);
      installation.agentReplies(at, id, { agent: installation.agents[0], text: "Hello" });
      installation.resolve(at, id, { survey: true });
      if (number < 30) installation.rate(at, id, { rating: 1 + number % 5, feedback: number === 0 ? null : "Fine" });
    }
    installation.addLabel(minute(99), 1, "vip");
    await desk.chatwoot.dispatch([]);
  });

  test("the account", async () => {
    expect((await desk.ask("/api/v1/accounts/1")).json).toMatchObject({
      id: 1,
      name: "Acme Outdoor",
      settings: {},
      features: {},
    });
  });

  test("contacts: 15 a page, with the page as it was asked for, and only those with an address", async () => {
    const first = (await desk.ask("contacts?page=1")).json;
    expect(first.meta).toEqual({ count: 28, current_page: "1" });
    expect(first.payload).toHaveLength(15);
    expect(first.payload.every(({ email }: Json) => email !== null)).toBe(true);
    expect((await desk.ask("contacts?page=2")).json.payload).toHaveLength(13);
    const emails = async (sort: string) =>
      (await desk.ask(`contacts?sort=${sort}`)).json.payload.map(({ email }: Json) => email);
    expect((await emails("email"))[0]).toBe("customer-68@mail.example");
    expect((await emails("-email"))[0]).toBe("customer-98@mail.example");
  });

  test("one contact, an anonymous one too", async () => {
    const [{ id }] = await desk.rows("select id from contacts where email is null order by id limit 1");
    expect((await desk.ask(`contacts/${id}`)).json.payload).toMatchObject({ id, email: null, name: "Customer 0" });
    expect((await desk.ask("contacts/1")).status).toBe(404);
  });

  test("satisfaction: a bare array, 25 a page, in either order, in a time", async () => {
    const newest = (await desk.ask("csat_survey_responses")).json;
    expect(newest).toHaveLength(25);
    expect(newest[0].created_at).toBeGreaterThan(newest[24].created_at);
    expect((await desk.ask("csat_survey_responses?page=2")).json).toHaveLength(5);
    const oldest = (await desk.ask("csat_survey_responses?sort=created_at")).json;
    expect(oldest[0]).toMatchObject({
      id: 1,
      rating: 1,
      feedback_message: null,
      account_id: 1,
      conversation_id: 1,
      contact: { name: "Customer 0" },
    });
    expect(oldest[0]).not.toHaveProperty("assigned_agent");
    expect(oldest[1]).toMatchObject({ feedback_message: "Fine", assigned_agent: { id: 7, name: "Ravi Shah" } });
    const [since, until] = [oldest[3].created_at, oldest[6].created_at];
    expect((await desk.ask(`csat_survey_responses?since=${since}&until=${until}&sort=created_at`)).json)
      .toEqual(oldest.slice(3, 6));
  });

  test.each(["csat_survey_responses?since=yesterday", "reporting_events?until=2026-11-20"])(
    "%s is more than it can take",
    async (path) => {
      expect(bad(await desk.ask(path))).toEqual({ status: 500, json: { status: 500, error: "Internal Server Error" } });
    },
  );

  test("reporting events: newest first, with the conversation's own id", async () => {
    const { payload, meta } = (await desk.ask("reporting_events?name=first_response")).json;
    expect(meta).toEqual({ count: 32, current_page: 1, total_pages: 2 });
    expect(payload).toHaveLength(25);
    expect(Object.keys(payload[0])).toEqual(
      `id name value value_in_business_hours event_start_time event_end_time account_id inbox_id user_id conversation_id
      created_at updated_at`.split(/\s+/),
    );
    expect(payload[0].conversation_id).toBeGreaterThan(18_000);
    expect(payload[0].created_at > payload[24].created_at).toBe(true);
    const beyond = (await desk.ask("reporting_events?name=first_response&page=3")).json;
    expect(beyond).toEqual({ payload: [], meta: { count: 32, current_page: 3, total_pages: 2 } });
    const { meta: none } = (await desk.ask("reporting_events?inbox_id=4")).json;
    expect(none.count).toBe(0);
    const { meta: nobody } = (await desk.ask("reporting_events?name=first_response&user_id=8")).json;
    expect(nobody.count).toBe(0);
    expect((await desk.ask("reporting_events?name=conversation_resolved")).text).toMatch(/"value":\d+\.\d/);
  });

  test("agents: a bare array with the administrators, and without whoever was removed", async () => {
    const agents = (await desk.ask("agents")).json;
    expect(agents.map(({ id, role }: Json) => [id, role])).toEqual(
      [[1, "administrator"], [7, "agent"], [8, "agent"], [9, "agent"], [10, "agent"]],
    );
    const available = async () =>
      (await desk.ask("agents")).json.map(({ availability_status: status }: Json) => status).join();
    expect(await available()).toBe("online,online,online,online,online");
    await desk.rows("update account_users set availability = user_id - 7 where user_id in (8, 9)");
    expect(await available()).toBe("online,online,offline,busy,online");
    await desk.rows("update account_users set availability = 0, auto_offline = user_id = 8 where user_id in (8, 9)");
    expect(await available()).toBe("online,online,offline,online,online");
    await desk.chatwoot.perform(minute(200), (shop, at) => shop.removeAgent(at, 10));
    expect((await desk.ask("agents")).json).toHaveLength(4);
  });

  test("teams, and who is in them", async () => {
    const teams = (await desk.ask("teams")).json;
    expect(teams.map(({ id, name }: Json) => [id, name])[3]).toEqual([4, "billing"]);
    expect(teams[0].is_member).toBe(false);
    expect((await desk.ask("teams", { token: await desk.agentToken() })).json[0].is_member).toBe(true);
    expect((await desk.ask("teams/1/team_members")).json.map(({ id }: Json) => id)).toContain(7);
    expect((await desk.ask("teams/99/team_members")).status).toBe(404);
  });

  test("labels and canned responses", async () => {
    expect((await desk.ask("labels")).json).toEqual({
      payload: [{ id: 1, title: "vip", description: null, color: expect.anything(), show_on_sidebar: true }],
    });
    const canned = (await desk.ask("canned_responses")).json;
    expect(canned[0]).toEqual({
      id: 1,
      account_id: 1,
      short_code: "greeting",
      content: expect.stringContaining("{{contact.name}}"),
      created_at: "2026-11-20T09:00:00.000Z",
      updated_at: "2026-11-20T09:00:00.000Z",
    });
    expect((await desk.ask("canned_responses?search=REFUND")).json).toHaveLength(1);
  });

  test("inboxes with their hours; secrets are for administrators", async () => {
    const { payload } = (await desk.ask("inboxes")).json;
    expect(payload.map(({ id }: Json) => id)).toEqual([3, 4, 5, 6, 7, 8]);
    expect(payload[0]).toMatchObject({
      name: "Website",
      channel_type: "Channel::WebWidget",
      timezone: "Europe/Berlin",
    });
    expect(payload[0].working_hours).toHaveLength(7);
    expect(payload[0].working_hours[1]).toMatchObject({ day_of_week: 1, open_hour: 9, close_hour: 17 });
    expect(payload[5]).toMatchObject({ channel_type: "Channel::Api", secret: expect.stringMatching(/^.{24}$/) });
    expect(payload[0]).not.toHaveProperty("secret");

    const shown = (await desk.ask("inboxes", { token: await desk.agentToken() })).json.payload;
    expect(shown).toHaveLength(6);
    expect(shown[5]).not.toHaveProperty("secret");
    expect(shown[5]).not.toHaveProperty("hmac_token");
  });

  test("agent bots", async () => {
    expect((await desk.ask("agent_bots")).json).toMatchObject([{ id: 7, name: "Trail Guide", account_id: 1 }]);
  });

  test("after a restart, the same", async () => {
    const before = (await desk.ask("conversations?status=all&sort_by=created_at_asc")).text;
    await desk.restart({ seed: 99 });
    const normalised = (text: string) => text.replaceAll(/127\.0\.0\.1:\d+/g, "");
    expect(normalised((await desk.ask("conversations?status=all&sort_by=created_at_asc")).text)).toBe(
      normalised(before),
    );
  });
});
