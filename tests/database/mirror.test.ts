// What a payload's news become in the mirror.
import { describe, expect, test } from "vitest";
import {
  assignedMeta,
  conversation,
  conversationEvent,
  inboxEvent,
  iso,
  messageEvent,
  nestedMessage,
  type Payload,
  privateNote,
  START,
  surveyAnswer,
  widgetTriggered,
} from "../fixtures/webhooks.ts";
import { type Sql, useDatabase } from "../support/database.ts";
import { deliver, mirror } from "./deliver.ts";

const database = useDatabase();

let next = 0;
const apply = async (sql: Sql, ...payloads: Payload[]) => {
  for (const body of payloads) expect(await deliver(sql, { id: `d${next++}`, body })).toBe("applied");
};

describe("a conversation", () => {
  test.each([
    { name: "conversation_created", shape: conversationEvent },
    { name: "conversation_updated", shape: conversationEvent },
    { name: "conversation_status_changed", shape: conversationEvent },
    { name: "conversation_opened", shape: conversationEvent },
    { name: "conversation_resolved", shape: conversationEvent },
    { name: "automation_event.conversation_updated", shape: conversationEvent },
    { name: "macro.executed", shape: conversationEvent },
    {
      name: "message_created",
      shape: (event: string, changes: Payload) => messageEvent(event, { conversation: conversation(changes) }),
    },
    {
      name: "message_updated",
      shape: (event: string, changes: Payload) => messageEvent(event, { conversation: conversation(changes) }),
    },
    {
      name: "automation_event.message_created",
      shape: (event: string, changes: Payload) => messageEvent(event, { conversation: conversation(changes) }),
    },
    {
      name: "webwidget_triggered",
      shape: (_: string, changes: Payload) => widgetTriggered({ current_conversation: conversation(changes) }),
    },
  ])("takes its status from $name", ({ name, shape }) =>
    database.rolledBack(async (sql) => {
      await apply(sql, conversationEvent("conversation_created"));

      await apply(sql, shape(name, { status: "snoozed", updated_at: START + 900 }));

      await sql.resultsEqual("select status from chatwoot.conversations", [{ status: "snoozed" }]);
    }));

  test("is whole after one event: people, team, labels, times", () =>
    database.rolledBack(async (sql) => {
      const changes = {
        meta: assignedMeta,
        labels: ["billing", "vip"],
        priority: "high",
        snoozed_until: iso(START + 3600),
      };
      await apply(sql, conversationEvent("conversation_updated", changes));

      await sql.resultsEqual(
        `select display_id, inbox_id, contact_id, channel, status, priority, assignee_kind, assignee_id, team_id, labels,
          contact_source_id, custom_attributes, snoozed_until, waiting_since, first_reply_created_at,
          agent_last_seen_at, contact_last_seen_at, last_activity_at, created_at from chatwoot.conversations`,
        [{
          display_id: "42",
          inbox_id: "3",
          contact_id: "205",
          channel: "Channel::WebWidget",
          status: "open",
          priority: "high",
          assignee_kind: "user",
          assignee_id: "7",
          team_id: "2",
          labels: ["billing", "vip"],
          contact_source_id: "widget-visitor-1",
          custom_attributes: { order: 4711 },
          snoozed_until: new Date((START + 3600) * 1000),
          waiting_since: new Date(START * 1000),
          first_reply_created_at: null,
          agent_last_seen_at: null,
          contact_last_seen_at: new Date(START * 1000),
          last_activity_at: new Date(START * 1000),
          created_at: new Date(START * 1000),
        }],
      );
      await sql.resultsEqual("select name from chatwoot.teams", [{ name: "billing" }]);
      await sql.resultsEqual("select kind, agent_id, available_name from chatwoot.agents", [
        { kind: "user", agent_id: "7", available_name: "Ravi" },
      ]);
    }));

  test.each([
    { written: 0, read: null },
    { written: START, read: new Date(START * 1000) },
    { written: START + 0.5, read: new Date(START * 1000) },
    { written: iso(START), read: new Date(START * 1000) },
    { written: null, read: null },
  ])("reads waiting_since $written as $read", ({ written, read }) =>
    database.rolledBack(async (sql) => {
      await apply(sql, conversationEvent("conversation_updated", { waiting_since: written }));

      expect(await sql.value("select waiting_since from chatwoot.conversations")).toEqual(read);
    }));

  test("nobody waits in one that is resolved, whatever an old payload still shows", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, conversationEvent("conversation_updated", { status: "resolved", waiting_since: START }));

      expect(await sql.value("select waiting_since from chatwoot.conversations")).toBeNull();
    }));

  test("keeps what a sparse payload does not mention", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, conversationEvent("conversation_updated", { meta: assignedMeta, priority: "high" }));

      await apply(sql, {
        event: "conversation_updated",
        id: 42,
        status: "pending",
        updated_at: START + 60,
        account: { id: 1 },
      });

      await sql.resultsEqual("select status, priority, assignee_id, labels from chatwoot.conversations", [
        { status: "pending", priority: "high", assignee_id: "7", labels: ["billing"] },
      ]);
    }));

  test("is unassigned when its assignee is null, and bots are not people of the same id", () =>
    database.rolledBack(async (sql) => {
      const bot = {
        ...assignedMeta,
        assignee: { id: 7, name: "Trail Guide", avatar_url: "", type: "agent_bot" },
        assignee_type: "AgentBot",
      };
      const standing = "select assignee_kind, assignee_id from chatwoot.conversations";

      await apply(sql, conversationEvent("conversation_updated", { meta: assignedMeta }));
      await apply(sql, conversationEvent("conversation_updated", { meta: bot, updated_at: START + 60 }));
      await sql.resultsEqual(standing, [{ assignee_kind: "agent_bot", assignee_id: "7" }]);

      await apply(sql, conversationEvent("conversation_updated", { updated_at: START + 120 }));
      await sql.resultsEqual(standing, [{ assignee_kind: null, assignee_id: null }]);
      await sql.resultsEqual("select kind, name from chatwoot.agents order by kind", [
        { kind: "agent_bot", name: "Trail Guide" },
        { kind: "user", name: "Ravi Shah" },
      ]);
    }));

  test("every label ever seen is remembered, also from news that came late", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, conversationEvent("conversation_updated", { labels: ["vip"], updated_at: START + 60 }));
      await apply(
        sql,
        conversationEvent("conversation_updated", { labels: ["billing", "refund"], updated_at: START + 30 }),
      );

      await sql.resultsEqual("select title from chatwoot.labels order by title", [
        { title: "billing" },
        { title: "refund" },
        { title: "vip" },
      ]);
      expect(await sql.value("select labels from chatwoot.conversations")).toEqual(["vip"]);
    }));
});

describe("a message", () => {
  test("a private note is not the public message nested in its conversation", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, privateNote());

      await sql.resultsEqual(
        "select message_id, private, content, message_type, sender_kind, sender_id, delivery_status from chatwoot.messages order by 1",
        [
          {
            message_id: "9001",
            private: false,
            content: "My invoice 4711 is wrong",
            message_type: "incoming",
            sender_kind: "contact",
            sender_id: "205",
            delivery_status: "sent",
          },
          {
            message_id: "9003",
            private: true,
            content: "Customer is on the old plan",
            message_type: "outgoing",
            sender_kind: "user",
            sender_id: "7",
            delivery_status: null,
          },
        ],
      );
    }));

  test("its delivery goes forward only, though the news of it come mixed up", () =>
    database.rolledBack(async (sql) => {
      const withStatus = (status: string, after: number) =>
        conversationEvent("conversation_updated", {
          messages: [nestedMessage({ status, updated_at: iso(START + after) })],
          updated_at: START + after,
        });

      await apply(sql, withStatus("read", 30), withStatus("sent", 10), withStatus("delivered", 20));

      await sql.resultsEqual("select delivery_status, delivery_status_at from chatwoot.messages", [
        { delivery_status: "read", delivery_status_at: new Date((START + 30) * 1000) },
      ]);
    }));

  test("once deleted stays deleted, and says since when", () =>
    database.rolledBack(async (sql) => {
      const deleted = { content: "This message was deleted", content_attributes: { deleted: true } };
      const gone = messageEvent("message_updated", {
        ...deleted,
        conversation: conversation({
          messages: [nestedMessage({ ...deleted, updated_at: iso(START + 60) })],
          updated_at: START + 60,
        }),
      });

      await apply(sql, gone, messageEvent("message_created"));

      await sql.resultsEqual("select content, deleted_at from chatwoot.messages", [
        { content: "This message was deleted", deleted_at: new Date((START + 60) * 1000) },
      ]);
    }));
});

describe("a survey", () => {
  const answers = "select message_id, conversation_display_id, rating, feedback_message from chatwoot.csat_responses";
  const answered = (rating: number, feedback_message: string | null) => [
    { message_id: "9010", conversation_display_id: "42", rating, feedback_message },
  ];

  test.each([{ rating: 5 }, { rating: "5" }])(
    "is answered with $rating, as number or as text",
    ({ rating }) =>
      database.rolledBack(async (sql) => {
        await apply(sql, surveyAnswer({ rating, feedback_message: "Fast!" }));

        await sql.resultsEqual(answers, answered(5, "Fast!"));
      }),
  );

  test.each([[0, 1], [1, 0]])(
    "stars first and words later are one answer, in whatever order they come",
    (...order) =>
      database.rolledBack(async (sql) => {
        const parts = [
          surveyAnswer({ rating: 4, feedback_message: null }),
          surveyAnswer({ rating: 4, feedback_message: "Fine" }, { after: 660 }),
        ];

        await apply(sql, ...order.map((part) => parts[part]));

        await sql.resultsEqual(answers, answered(4, "Fine"));
        expect(await sql.value("select first_answered_at from chatwoot.csat_responses")).toEqual(
          new Date((START + 600) * 1000),
        );
      }),
  );

  test.each([null, { rating: 0 }, { rating: 6 }, { rating: "" }, { rating: null }, { rating: "good" }, {
    feedback_message: "words alone",
  }])(
    "is not answered by %j",
    (answer) =>
      database.rolledBack(async (sql) => {
        await apply(sql, surveyAnswer(answer));

        await sql.resultsEqual(answers, []);
        expect(await sql.value("select content_type from chatwoot.messages where message_id = 9010")).toBe(
          "input_csat",
        );
      }),
  );
});

describe("an inbox", () => {
  test("has its settings and no credential of its channel, and its name from messages", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, inboxEvent("inbox_updated"), messageEvent("message_created"));

      await sql.resultsEqual(
        `select inbox_id, name, channel, time_zone, working_hours_enabled, jsonb_array_length(working_hours) as days,
          working_hours -> 1 ->> 'open_hour' as opens, csat_survey_enabled, reauthorization_required from chatwoot.inboxes`,
        [{
          inbox_id: "3",
          name: "Website",
          channel: "Channel::WebWidget",
          time_zone: "Europe/Berlin",
          working_hours_enabled: true,
          days: 2,
          opens: "9",
          csat_survey_enabled: true,
          reauthorization_required: null,
        }],
      );
    }));

  test("says when its channel has lost its authorisation", () =>
    database.rolledBack(async (sql) => {
      await apply(
        sql,
        inboxEvent("inbox_updated", {
          changed_attributes: [{ reauthorization_required: { previous_value: false, current_value: true } }],
        }),
      );

      expect(await sql.value("select reauthorization_required from chatwoot.inboxes")).toBe(true);
    }));
});

describe("what is deleted in Chatwoot", () => {
  const AT = "2026-11-21T00:00:00Z";
  const tables: Record<string, string> = {
    conversation: "conversations",
    contact: "contacts",
    inbox: "inboxes",
    message: "messages",
  };
  const targets = [
    { target: "conversation", id: 42 },
    { target: "contact", id: 205 },
    { target: "inbox", id: 3 },
    { target: "message", id: 9001 },
  ];

  test.each(targets)(
    "stays deleted, whether its row came before or after: $target",
    ({ target, id }) =>
      database.rolledBack(async (sql) => {
        const events = [messageEvent("message_created"), inboxEvent("inbox_updated")];
        const bury = (at: string) => sql.value<boolean>("select chatwoot.bury($1, 1, $2, $3, 42)", [target, id, at]);
        const rows = async () => (await mirror(sql))[tables[target]];

        await apply(sql, ...events);
        expect(await bury(AT)).toBe(true);
        const after = await rows();
        await sql.rows("delete from chatwoot.messages where account_id = 1");
        for (const table of ["conversations", "contacts", "inboxes"]) {
          await sql.rows(`delete from chatwoot.${table} where account_id = 1`);
        }
        if (target === "message") {
          await sql.rows("select chatwoot.merge_conversation(1, 42, '{}', '2026-01-01T00:00:00Z')");
        }
        expect(await bury(AT)).toBe(true);
        await apply(sql, ...events);

        expect(await rows()).toEqual(after);
        expect(after).toMatchObject([{ deleted_at: "2026-11-21T00:00:00+00:00" }]);
        // The earliest instant counts, and telling it again is no news.
        expect(await bury(AT)).toBe(false);
        expect(await bury("2026-11-22T00:00:00Z")).toBe(false);
        expect(await bury("2026-11-20T23:00:00Z")).toBe(true);
      }),
  );

  test("nothing else can be buried", () =>
    database.rolledBack(async (sql) => {
      for (const target of ["label", null]) {
        const error = await sql.throws("OC422", "select chatwoot.bury($1, 1, 1, now())", [target]);
        expect(error.hint).toContain("conversation, contact, inbox, team, user, message");
      }
    }));
});

describe("rows are taken in one order, so that two events never wait for each other in a circle", () => {
  const ORDER = [
    "accounts",
    "inboxes where inbox_id = 3",
    "teams where team_id = 2",
    "agents where agent_id = 7",
    "contacts where contact_id = 205",
    "contacts where contact_id = 206",
    "conversations where display_id = 42",
    "messages where message_id = 9001",
    "messages where message_id = 9003",
  ];
  const inCopy = { id: 206, name: "Robin", additional_attributes: {}, custom_attributes: {} };
  let clock = 0;

  /** Minutes apart, so that the names that come with every event are written each time as well. */
  const news = (): Record<string, () => Payload> => {
    const at = START + (clock += 90);
    const moved = { updated_at: at, last_activity_at: at, meta: assignedMeta };
    return {
      "a message of a second customer": () =>
        messageEvent("message_created", { sender: inCopy, conversation: conversation(moved) }),
      "a message in a second customer's conversation": () =>
        messageEvent("message_created", {
          conversation: conversation({ ...moved, meta: { ...assignedMeta, sender: inCopy } }),
        }),
      "a note beside the newest public message": () =>
        privateNote({ conversation: conversation({ ...moved, messages: [nestedMessage({ updated_at: iso(at) })] }) }),
      "a conversation": () =>
        conversationEvent("conversation_updated", { ...moved, messages: [nestedMessage({ updated_at: iso(at) })] }),
    };
  };

  test.each(Object.keys(news()))("%s", async (name) => {
    const [holder, sender, other] = await Promise.all([database.connect(), database.connect(), database.connect()]);
    for (const payload of Object.values(news())) await deliver(sender, { id: `d${next++}`, body: payload() });
    let waits = 0;

    for (const [place, row] of ORDER.entries()) {
      await holder.query("begin");
      await holder.query(`select from chatwoot.${row} for update`);
      let isDone = false;
      const delivery = deliver(sender, { id: `d${next++}`, body: news()[name]() }).finally(() => isDone = true);
      try {
        while (!isDone && !await database.isWaiting(sender));
        if (!isDone) {
          waits++;
          // Whoever waits for a row holds none that comes after it.
          for (const later of ORDER.slice(place + 1)) {
            const free = await other.query(`select from chatwoot.${later} for update skip locked`);
            expect(free.rowCount, `${later} while waiting for ${row}`).toBe(1);
          }
        }
      } finally {
        await holder.query("rollback");
      }
      expect(await delivery).toBe("applied");
    }

    expect(waits).toBeGreaterThanOrEqual(6);
  });
});
