// What the REST door makes of Chatwoot's answers, without HTTP: the shapes are those of facts/chatwoot.md §4 and A.6.
import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import { deliver, mirror } from "./deliver.ts";

const database = useDatabase();

const READ_AT = "2026-11-20T10:05:00Z";

type Json = Record<string, unknown>;

const contact = {
  additional_attributes: {},
  availability_status: "offline",
  email: "dana@example.com",
  id: 205,
  name: "Dana",
  phone_number: null,
  blocked: false,
  identifier: null,
  thumbnail: "",
  custom_attributes: { plan: "pro" },
  last_activity_at: 1795165200,
  created_at: 1795164900,
};
const activity = {
  id: 9006,
  content: "Conversation was marked resolved by Ravi Shah",
  account_id: 1,
  inbox_id: 3,
  conversation_id: 42,
  message_type: 2,
  created_at: 1795168800,
  updated_at: "2026-11-20T10:00:00.711Z",
  private: false,
  status: "sent",
  source_id: null,
  content_type: "text",
  content_attributes: { activity: { type: "conversation_status_changed", status: "resolved" } },
  sender_type: null,
  sender_id: null,
  external_source_ids: {},
  additional_attributes: {},
  processed_message_content: "Conversation was marked resolved by Ravi Shah",
  sentiment: {},
  conversation: {
    assignee_id: 7,
    unread_count: 0,
    last_activity_at: 1795168800,
    contact_inbox: { source_id: "3f0c7a8e-6a0a-4b1e-9a53-6f6d0b1f2a77" },
  },
};
const assignee = {
  id: 7,
  account_id: 1,
  availability_status: "online",
  auto_offline: true,
  confirmed: true,
  email: "ravi@acme.example",
  provider: "email",
  available_name: "Ravi",
  name: "Ravi Shah",
  role: "agent",
  thumbnail: "",
  custom_role_id: null,
};
const team = { id: 2, name: "billing", description: null, allow_auto_assign: true, icon: "", icon_color: "" };

const shown = (changes: Json = {}, meta: Json = {}) => ({
  meta: {
    sender: contact,
    channel: "Channel::WebWidget",
    assignee,
    assignee_type: "User",
    team: { ...team, account_id: 1, is_member: true },
    hmac_verified: false,
    ...meta,
  },
  id: 42,
  messages: [activity],
  account_id: 1,
  uuid: "b1f7a2de-8f0c-4c11-9d0e-2a1f7c3b9e55",
  additional_attributes: {},
  agent_last_seen_at: 1795168790,
  assignee_last_seen_at: 1795168790,
  can_reply: true,
  contact_last_seen_at: 1795165200,
  custom_attributes: {},
  inbox_id: 3,
  labels: ["vip", "billing"],
  muted: false,
  snoozed_until: null,
  status: "resolved",
  created_at: 1795165200,
  updated_at: 1795168800.713,
  timestamp: 1795168800,
  first_reply_created_at: 1795165650,
  unread_count: 0,
  last_non_activity_message: null,
  last_activity_at: 1795168800,
  priority: "high",
  waiting_since: 0,
  sla_policy_id: null,
  ...changes,
});

const listed = (id: number, changes: Json = {}) => ({
  id,
  content: `Message ${id}`,
  inbox_id: 3,
  conversation_id: 42,
  message_type: 0,
  content_type: "text",
  status: "sent",
  content_attributes: {},
  created_at: 1795165200 + id,
  private: false,
  source_id: null,
  sender: { ...contact, type: "contact" },
  ...changes,
});

const merge = (sql: Sql, conversations: unknown[], readAt = READ_AT) =>
  sql.value<string>(
    `select sync.rest_merge_conversations(1, array(select jsonb_array_elements($1::jsonb)), $2)`,
    [JSON.stringify(conversations), readAt],
  ).then(Number);

const mergeMessages = (sql: Sql, payload: unknown[], readAt = READ_AT) =>
  sql.value<string>("select sync.rest_merge_messages(1, 42, $1, $2)", [
    JSON.stringify({ meta: { labels: [], contact: { ...contact, type: "contact" } }, payload }),
    readAt,
  ]).then(Number);

const queue = (sql: Sql, conversations: unknown[], { priority = 0, asOf = READ_AT } = {}) =>
  sql.rows("select sync.rest_queue(1, array(select jsonb_array_elements($1::jsonb)), $2, $3)", [
    JSON.stringify(conversations),
    priority,
    asOf,
  ]);

const reads = (sql: Sql) => sql.rows("select * from sync.conversation_reads order by display_id");

describe("a conversation as REST shows it", () => {
  test("becomes the row that its webhook makes", () =>
    database.rolledBack(async (sql) => {
      const webhook = {
        ...shown({ labels: ["billing", "vip"], first_reply_created_at: "2026-11-20T09:07:30.000Z" }),
        channel: "Channel::WebWidget",
        contact_inbox: { id: 310, source_id: "3f0c7a8e-6a0a-4b1e-9a53-6f6d0b1f2a77" },
        meta: {
          sender: { ...contact, type: "contact" },
          assignee: { ...assignee, type: "user" },
          assignee_type: "User",
          team: { id: 2, name: "billing" },
        },
        account: { id: 1, name: "Acme" },
        event: "conversation_updated",
      };
      expect(await deliver(sql, { id: "a", body: webhook })).toBe("applied");
      const through = await mirror(sql);
      await sql.rows(
        "truncate chatwoot.conversations, chatwoot.messages, chatwoot.csat_responses, chatwoot.contacts, chatwoot.agents, chatwoot.teams, chatwoot.labels",
      );

      await merge(sql, [shown()]);

      const again = await mirror(sql);
      for (const table of ["conversations", "messages", "contacts", "agents", "teams", "labels"]) {
        expect(again[table], table).toEqual(through[table]);
      }
      expect(again.messages).toHaveLength(1);
    }));

  test("with nobody and nothing: what is absent means none, and 0 means never", () =>
    database.rolledBack(async (sql) => {
      const { assignee: _assignee, assignee_type: _type, team: _team, ...meta } = shown().meta;
      await merge(sql, [shown()]);
      await merge(sql, [{
        ...shown({ updated_at: 1795168801.5, first_reply_created_at: 0, agent_last_seen_at: 0, labels: [] }),
        meta,
      }]);

      expect(await sql.rows("select * from chatwoot.conversations")).toMatchObject([{
        assignee_kind: null,
        assignee_id: null,
        team_id: null,
        agent_last_seen_at: null,
        labels: [],
      }]);
    }));

  test.each([
    ["a bot, slim", { id: 7, name: "Guide" }, "AgentBot", "agent_bot"],
    ["an assistant", { id: 7, name: "Captain" }, "Captain::Assistant", "captain_assistant"],
    ["a person, before 4.8.0", assignee, undefined, "user"],
  ])("assigned to %s", (_name, assigned, type, kind) =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown({}, { assignee: assigned, assignee_type: type })]);

      expect(await sql.rows("select assignee_kind, assignee_id from chatwoot.conversations"))
        .toEqual([{ assignee_kind: kind, assignee_id: "7" }]);
      expect(await sql.rows("select kind from chatwoot.agents")).toEqual([{ kind }]);
    }));

  test("without a message does not say the customer's id in the channel", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      await merge(sql, [shown({ messages: [], updated_at: 1795168802.1, status: "open" })]);

      expect(await sql.rows("select status, contact_source_id from chatwoot.conversations"))
        .toEqual([{ status: "open", contact_source_id: "3f0c7a8e-6a0a-4b1e-9a53-6f6d0b1f2a77" }]);
    }));

  test("read again and unchanged writes nothing", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      const before = await mirror(sql, { whole: true });

      expect(await merge(sql, [shown()], "2026-11-20T10:06:00Z")).toBe(0);
      expect(await mirror(sql, { whole: true })).toEqual(before);
    }));

  test("outranks a webhook of the same updated_at, and loses to a later one", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown({ labels: [] })]);
      const { meta, ...rest } = shown();
      const webhook = { ...rest, channel: meta.channel, meta, event: "conversation_updated" };
      await deliver(sql, { id: "same", body: { ...webhook, labels: ["stale"] } });
      expect(await sql.value("select labels from chatwoot.conversations")).toEqual([]);

      await deliver(sql, { id: "later", body: { ...webhook, labels: ["new"], updated_at: 1795168800.72 } });
      expect(await sql.value("select labels from chatwoot.conversations")).toEqual(["new"]);
    }));

  test("alive takes back that it was deleted", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      await sql.rows("select chatwoot.bury('conversation', 1, 42, '2026-11-20T10:04:00Z')");
      await merge(sql, [shown()]);

      expect(await sql.value("select deleted_at from chatwoot.conversations")).toBeNull();
    }));

  test("with a value of a wrong kind does not keep the others out", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("insert into sync.sources (account_id, door, base_url) values (1, 'rest', 'https://a.example')");
      const given = [shown(), shown({ id: 43, created_at: "tomorrow" }), shown({ id: 44, messages: [] })];

      await sql.rows("select sync.rest_apply_conversations(1, $1, $2, 0::smallint, $2)", [
        JSON.stringify(given),
        READ_AT,
      ]);
      expect((await reads(sql)).map((row) => row.display_id)).toEqual(["42", "44"]);
      expect(await sql.value("select refusals from sync.sources")).toEqual({ wrong_shape: 1 });
      await sql.throws("22000", "select sync.rest_apply_conversations(1, $1, $2, 0::smallint, $2)", [
        JSON.stringify([given[1]]),
        READ_AT,
      ]);
    }));
});

describe("messages as REST lists them", () => {
  test("are merged at the instant of the reading; unchanged they write nothing", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      expect(await mergeMessages(sql, [listed(9001), listed(9002, { sender: { ...assignee, type: "user" } })]))
        .toBeGreaterThan(1);
      const before = await mirror(sql, { whole: true });
      const rows = await sql.rows("select * from chatwoot.messages where message_id < 9006 order by message_id");
      expect(rows).toMatchObject([
        { message_type: "incoming", sender_kind: "contact", sender_id: "205", additional_attributes: null },
        { sender_kind: "user", sender_id: "7", delivery_status: "sent" },
      ]);

      expect(
        await mergeMessages(
          sql,
          [listed(9001), listed(9002, { sender: { ...assignee, type: "user" } })],
          "2026-11-20T11:00:00Z",
        ),
      )
        .toBe(0);
      expect(await mirror(sql, { whole: true })).toEqual(before);
    }));

  test("edited, delivered, deleted", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      await mergeMessages(sql, [listed(9001), listed(9002), listed(9003)]);
      await mergeMessages(sql, [
        listed(9001, { content: "Corrected\\\nby hand\n" }),
        listed(9002, { status: "read" }),
        listed(9003, { content: "This message was deleted", content_attributes: { deleted: true } }),
      ], "2026-11-20T10:30:00Z");
      // An older copy that comes late.
      await mergeMessages(sql, [listed(9003)], "2026-11-20T10:29:00Z");

      expect(
        await sql.rows("select content, delivery_status, deleted_at from chatwoot.messages where message_id < 9006"),
      )
        .toEqual([
          { content: "Corrected\nby hand", delivery_status: "sent", deleted_at: null },
          { content: "Message 9002", delivery_status: "read", deleted_at: null },
          {
            content: "This message was deleted",
            delivery_status: "sent",
            deleted_at: new Date("2026-11-20T10:30:00Z"),
          },
        ]);
    }));
});

describe("the queue", () => {
  const asRead = (sql: Sql, updatedAt: string) =>
    sql.rows("update sync.conversation_reads set read_updated_at = $1, due_at = null where true", [updatedAt]);
  const due = async (sql: Sql) => (await reads(sql)).map((row) => row.due_at !== null);

  test("takes what changed since it was read, and nothing twice", () =>
    database.rolledBack(async (sql) => {
      await queue(sql, [shown()]);
      expect(await reads(sql)).toMatchObject([{
        display_id: "42",
        priority: 0,
        due_at: new Date(READ_AT),
        contact_id: "205",
      }]);
      await asRead(sql, "2026-11-20T10:00:00.713Z");

      await queue(sql, [shown()]);
      expect(await due(sql)).toEqual([false]);
      await queue(sql, [shown({ updated_at: 1795168900 })]);
      expect(await due(sql)).toEqual([true]);
    }));

  test("lets one that failed rest, unless it changed once more", () =>
    database.rolledBack(async (sql) => {
      await queue(sql, [shown()]);
      await sql.rows("select sync.rest_note_failure(1, 42, $1, 'No')", [READ_AT]);
      const [{ due_at: resting }] = await reads(sql);
      expect(resting.getTime()).toBeGreaterThan(Date.parse(READ_AT) + 20_000);

      await queue(sql, [shown()], { asOf: "2026-11-20T10:05:01Z" });
      expect((await reads(sql))[0].due_at).toEqual(resting);
      await queue(sql, [shown({ updated_at: 1795168900 })], { asOf: "2026-11-20T10:05:02Z" });
      expect((await reads(sql))[0].due_at).toEqual(new Date("2026-11-20T10:05:02Z"));
    }));

  test("tries a hopeless one once a day", () =>
    database.rolledBack(async (sql) => {
      await queue(sql, [shown()]);
      for (let i = 0; i < 9; i++) await sql.rows("select sync.rest_note_failure(1, 42, $1, 'No')", [READ_AT]);

      expect(await reads(sql)).toMatchObject([{
        failures: 9,
        problem: "No",
        due_at: new Date("2026-11-21T10:05:00Z"),
      }]);
    }));

  test("reads everything again where contacts were merged, and asks for the other contact", () =>
    database.rolledBack(async (sql) => {
      await queue(sql, [shown()]);
      await asRead(sql, "2026-11-20T10:00:00.713Z");
      await queue(sql, [shown({}, { sender: { ...contact, id: 300 } })]);

      expect(await reads(sql)).toMatchObject([{
        contact_id: "300",
        walk_after_message_id: "0",
        due_at: new Date(READ_AT),
      }]);
      expect(await sql.rows("select contact_id from sync.contact_checks")).toEqual([{ contact_id: "205" }]);
    }));

  test("buries only who is missing twice, a minute apart", () =>
    database.rolledBack(async (sql) => {
      await merge(sql, [shown()]);
      await queue(sql, [shown()]);
      const missing = (at: string) => sql.value("select sync.rest_note_missing(1, 42, $1, $1)", [at]);

      expect(await missing("2026-11-20T10:06:00Z")).toBe("0");
      expect(await missing("2026-11-20T10:06:30Z")).toBe("0");
      expect(await missing("2026-11-20T10:07:01Z")).toBe("1");
      expect(await sql.value("select deleted_at from chatwoot.conversations")).toEqual(
        new Date("2026-11-20T10:06:00Z"),
      );
      expect(await reads(sql)).toMatchObject([{ due_at: new Date("2026-11-21T10:07:01Z") }]);
      expect(await missing("2026-11-21T10:07:02Z")).toBe("0");
      expect(await due(sql)).toEqual([false]);
    }));
});

describe("the pages of the history", () => {
  const page = async (sql: Sql, backfill: Json, rows: number, total: number | null) =>
    (await sql.rows("select backfill from sync.rest_apply_page(1, $1, $2, $2, $3)", [
      JSON.stringify({
        data: {
          meta: total === null ? {} : { all_count: total },
          payload: Array.from({ length: rows }, (_, i) => shown({ id: Number(backfill.page) * 100 + i, messages: [] })),
        },
      }),
      READ_AT,
      JSON.stringify(backfill),
    ]))[0].backfill;

  test.each([
    { name: "a full page leads to the next", given: { page: 1, pass: 1 }, rows: 25, total: 60, next: 2 },
    { name: "a page of another size too", given: { page: 1, pass: 1 }, rows: 10, total: 60, next: 2 },
    {
      name: "a short one ends it",
      given: { page: 3, pass: 3, size: 25, total: 60 },
      rows: 10,
      total: 60,
      next: undefined,
    },
    {
      name: "an empty one ends it",
      given: { page: 4, pass: 3, size: 25, total: 60 },
      rows: 0,
      total: 60,
      next: undefined,
    },
    {
      name: "without a count, a short one ends it",
      given: { page: 2, pass: 1, size: 25 },
      rows: 10,
      total: null,
      next: undefined,
    },
    {
      name: "when some went it steps back",
      given: { page: 9, pass: 1, size: 25, total: 300 },
      rows: 25,
      total: 270,
      next: 7,
    },
    {
      name: "never before the first",
      given: { page: 1, pass: 1, size: 25, total: 300 },
      rows: 25,
      total: 200,
      next: 1,
    },
    {
      name: "when too few were listed it begins anew",
      given: { page: 3, pass: 1, size: 25, total: 60 },
      rows: 10,
      total: 60,
      next: 1,
    },
  ])("$name", ({ given, rows, total, next }) =>
    database.rolledBack(async (sql) => {
      expect((await page(sql, given, rows, total)).page).toBe(next);
    }));
});

test.each([
  [401, "Invalid Access Token", "unauthorized", "api.set_sync_token"],
  [401, "You need to sign in or sign up before continuing.", "unauthorized", "proxy"],
  [401, "You are not authorized to do this action", "unauthorized", "administrator"],
  [401, "Account is suspended", "unauthorized", "resume_sync"],
  [401, "irgendetwas auf Deutsch", "unauthorized", "administrator"],
  [403, "API access is not enabled for this account", "forbidden", "plans"],
  [404, null, "missing", "base URL"],
  [418, "<script>", "client_error", "log"],
  [429, null, "throttled", "sync_requests_per_minute"],
  [503, "<h1>secret</h1>", "server_error", "log"],
])("%i %s is told in our own words", (status, error, kind, hint) =>
  database.rolledBack(async (sql) => {
    const [row] = await sql.rows("select * from sync.rest_refusal($1, $2)", [status, error]);

    expect(row.kind).toBe(kind);
    expect(row.hint).toContain(hint);
    expect(row.problem).toContain(String(status));
    if (error !== null) expect(`${row.problem} ${row.hint}`).not.toContain(error);
  }));

describe("the instant of a reading", () => {
  const AS_OF = "2026-11-20T10:00:00Z";

  test.each([
    ["Fri, 20 Nov 2026 09:58:00 GMT", "2026-11-20T09:58:00Z"],
    ["Sat, 21 Nov 2026 09:59:00 GMT", "2026-11-21T09:59:00Z"],
    ["Mon, 99 Foo 2026 10:00:00 GMT", AS_OF],
    ["Fri, 20 Nov 2026 99:99:99 GMT", AS_OF],
    ["2026-11-20T09:58:00Z", AS_OF],
    // A clock so wrong would let later truths lose for years.
    ["Sat, 21 Nov 2099 10:00:00 GMT", AS_OF],
    ["Thu, 01 Jan 1970 00:00:00 GMT", AS_OF],
    [null, AS_OF],
  ])("is by Chatwoot's Date %s: %s", (date, expected) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select sync.rest_date($1, $2)", [date, AS_OF])).toEqual(new Date(expected));
    }));
});

test("numbers that no Chatwoot has leave the status readable", () =>
  database.rolledBack(async (sql) => {
    await sql.rows("select api.set_rest_source(1, 'https://chat.acme.example')");
    for (const count of ["9e18", "9223372036854775807", "20000000000", '"1e30"', "-5"]) {
      const answer = `{"data": {"meta": {"all_count": ${count}}, "payload": []}}`;
      const page = await sql.value('select sync.rest_apply_page(1, $1, now(), now(), \'{"page": 1, "pass": 1}\')', [
        answer,
      ]);
      expect(page).toBeDefined();
      const [{ total }] = await sql.rows(
        'select total::float8 from sync.rest_apply_page(1, $1, now(), now(), \'{"page": 1, "pass": 1}\')',
        [answer],
      );
      expect(total, count).toBeGreaterThanOrEqual(0);
      expect(total, count).toBeLessThanOrEqual(1e9);
    }
    // A door may know of as many, and have come far.
    for (const [total, done] of [["9000000000000000000", 1], ["1000", 100]]) {
      await sql.rows(
        `update sync.sources set backfill_total = $1, backfill_done = $2, last_attempt_at = now(),
          backfill_started_at = now() - interval '1 hour' where account_id = 1`,
        [total, done],
      );
      const [{ hours }] = await sql.rows(
        "select extract(epoch from backfill_expected_at - now())::float8 / 3600 as hours from api.sync_status",
      );
      expect(hours).toEqual(total === "1000" ? 9 : null);
    }
  }));

test("a source whose step breaks fails alone, and the next one has its turn", async () => {
  const client = await database.connect();
  await client.query(
    "select api.set_rest_source(1, 'https://one.example'), api.set_rest_source(2, 'https://two.example')",
  );
  await client.query("select api.set_sync_token(1, 'aaaaaaaaaaaaaaaa')");
  // What nobody foresaw: here, an instant that is none.
  await client.query(`update sync.sources set cursor = '{"probed_at": "Mon, 99 Foo"}' where account_id = 1`);

  await client.query("call sync.tick_rest($1, '2 seconds')", [READ_AT]);

  const { rows } = await client.query(
    "select account_id::int, state, failures, problem, last_attempt_at is not null as is_tried from sync.sources order by 1",
  );
  expect(rows).toEqual([
    { account_id: 1, state: "active", failures: 1, problem: expect.stringContaining("22007"), is_tried: true },
    {
      account_id: 2,
      state: "stopped",
      failures: 1,
      problem: expect.stringContaining("no Chatwoot token"),
      is_tried: true,
    },
  ]);
  expect(rows[0].problem).not.toContain("Foo");
});

describe("a request that got no answer", () => {
  const BASE = "https://chat.acme.example";
  const ELSEWHERE = "Chatwoot's address leads elsewhere: a redirect would take the token along.";
  const NOT_CONNECTED = "Chatwoot's server could not be connected to.";

  test.each([
    [BASE, "Failed to connect to chat.acme.example port 443 after 3 ms: Couldn't connect to server", NOT_CONNECTED],
    [BASE, "Could not resolve host: chat.acme.example", NOT_CONNECTED],
    [`${BASE}:8443/x`, "Failed to connect to Chat.Acme.Example port 8443 after 3 ms: Refused", NOT_CONNECTED],
    ["http://[::1]:3000", "Failed to connect to ::1 port 3000 after 0 ms: Could not connect to server", NOT_CONNECTED],
    [
      BASE,
      "Failed to connect to chat.acme.example port 443 after 5001 ms: Timeout was reached",
      "Chatwoot did not answer within 15 seconds.",
    ],
    [
      BASE,
      "Operation timed out after 15001 milliseconds with 0 bytes received",
      "Chatwoot did not answer within 15 seconds.",
    ],
    [
      BASE,
      "Recv failure: Connection reset by peer",
      "The connection to Chatwoot broke, or what came over it is not HTTP.",
    ],
    [BASE, "Received HTTP/0.9 when not allowed", "The connection to Chatwoot broke, or what came over it is not HTTP."],
    // Only a redirect leads there, and what is open there is nobody's business.
    [BASE, "Failed to connect to chat.acme.example port 22 after 3 ms: Couldn't connect to server", ELSEWHERE],
    [BASE, "Failed to connect to 10.0.0.8 port 443 after 5001 ms: Timeout was reached", ELSEWHERE],
    [BASE, "Could not resolve host: db.internal", ELSEWHERE],
  ])("from %s, %j, is told in fixed words", (base, message, problem) =>
    database.rolledBack(async (sql) => {
      await sql.resultsEqual(
        "select problem, hint is not null as has_hint from sync.rest_transport_failure($1, $2, 15)",
        [
          { problem, has_hint: true },
        ],
        [message, base],
      );
    }));
});

test("whether somebody is available is what the list of agents says, and no webhook takes it away", () =>
  database.rolledBack(async (sql) => {
    const list = (agents: Json[], readAt: string) =>
      sql.rows("select * from sync.rest_apply_list(1, 'agents', $1, $2, $2, '{}')", [JSON.stringify(agents), readAt]);
    const told = () =>
      sql.rows("select agent_id, availability from chatwoot.agents where kind = 'user' order by agent_id");
    const other = { ...assignee, id: 8, name: "Mira", availability_status: "offline" };

    await list([{ ...assignee, availability_status: "busy" }, other], "2026-11-20T10:00:00Z");
    expect(await told()).toEqual([
      { agent_id: "7", availability: "busy" },
      { agent_id: "8", availability: "offline" },
    ]);

    const { availability_status: _status, ...silent } = other;
    await merge(sql, [shown()], "2026-11-20T10:01:00Z");
    const sender = { id: 7, name: "Ravi S. Shah", available_name: "Ravi", type: "user", availability_status: null };
    const body = {
      ...{ event: "message_created", id: 9001, content: "Hello", message_type: 1, created_at: "2026-11-20T10:02:00Z" },
      ...{ private: false, content_type: "text", content_attributes: {}, source_id: null, additional_attributes: {} },
      ...{ sender, account: { id: 1, name: "Acme" }, inbox: { id: 3, name: "Website" } },
      conversation: { ...shown({ messages: [], updated_at: 1795168920.5 }, { assignee: sender }), event: undefined },
    };
    expect(await deliver(sql, { id: "a", body, signedAt: "2026-11-20T10:02:00Z" })).toBe("applied");
    const names = () => sql.rows("select name, availability from chatwoot.agents order by agent_id");
    expect(await names()).toContainEqual({ name: "Ravi S. Shah", availability: "busy" });

    await list([{ ...assignee, name: "Ravi S. Shah", availability_status: "busy" }, silent], "2026-11-20T10:03:00Z");
    expect(await names()).toEqual([
      { name: "Ravi S. Shah", availability: "busy" },
      { name: "Mira", availability: "offline" },
    ]);

    await list([{ ...assignee, availability_status: "on leave" }, other], "2026-11-20T10:10:00Z");
    expect(await told()).toMatchObject([{ availability: null }, { availability: "offline" }]);
  }));
