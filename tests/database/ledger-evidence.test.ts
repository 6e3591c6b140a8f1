// Single cases of what doors tell, and what the ledger makes of them: corrections, silence, and things that cannot be.
import fc from "fast-check";
import type { Client } from "pg";
import { expect, test } from "vitest";
import { createInstallation } from "../../local/chatwoot/installation.ts";
import {
  assignedMeta,
  conversationEvent,
  iso,
  messageEvent,
  nestedMessage,
  type Payload,
  privateNote,
  START,
  surveyAnswer,
} from "../fixtures/webhooks.ts";
import { useDatabase } from "../support/database.ts";
import { deliver } from "./deliver.ts";
import { drawSeeds, ledger, once, queued, record, refreshAll, unlike } from "./ledger-doors.support.ts";

const database = useDatabase();

/** Work in a database that is empty again afterwards. */
async function alone(work: (client: Client) => Promise<void>): Promise<void> {
  const client = await database.connect();
  const { rows: [{ ours }] } = await client.query(
    `select string_agg(oid::regclass::text, ', ') as ours
    from pg_class where relkind = 'r' and relnamespace::regnamespace::text in ('chatwoot', 'inbox', 'ledger')`,
  );
  await client.query(`truncate ${ours}`);
  await work(client);
}

let number = 0;
const tell = async (client: Client, ...payloads: Payload[]) => {
  for (const payload of payloads) {
    expect(await deliver(client, { id: `told-${++number}`, body: payload })).toBe("applied");
  }
};

/** Nothing waits, and making everything again changes nothing. */
async function isSettled(client: Client): Promise<void> {
  expect(await queued(client)).toEqual([]);
  const before = await ledger(client, { isExact: true });
  await refreshAll(client);
  expect(unlike(before, await ledger(client, { isExact: true }))).toEqual([]);
}

const events = async (client: Client, kind: string) =>
  (await client.query(
    `select (extract(epoch from occurred_at) - $2::integer)::double precision as after, value, previous, class, source
    from ledger.events where kind = $1 and unlearnt_at is null order by occurred_at, place`,
    [kind, START],
  )).rows;

const episode = async (client: Client) =>
  (await client.query("select * from analytics.episodes order by 1, 2, 3")).rows[0];

const changed = (after: number, attributes: Payload, changes: Record<string, [unknown, unknown]>) =>
  conversationEvent("conversation_updated", {
    ...attributes,
    updated_at: START + after,
    changed_attributes: [
      ...Object.entries(changes).map(([key, [previous_value, current_value]]) => ({
        [key]: { previous_value, current_value },
      })),
      { updated_at: { previous_value: iso(START), current_value: iso(START + after) } },
    ],
  });

const reply = (after: number, changes: Payload = {}, status = "sent") =>
  messageEvent("message_created", {
    id: 9002,
    content: "Let me look",
    message_type: "outgoing",
    created_at: iso(START + after),
    sender: { id: 7, name: "Ravi Shah", email: "ravi@acme-outdoor.example", type: "user" },
    conversation: {
      ...conversationEvent("", {
        updated_at: START + after + 0.02,
        messages: [nestedMessage({
          id: 9002,
          message_type: 1,
          status,
          sender_type: "User",
          sender_id: 7,
          created_at: START + after,
          updated_at: iso(START + after + (status === "sent" ? 0 : 5)),
        })],
      }),
      event: undefined,
    },
    ...changes,
  });

test("a failed reply counts no wait, and does once it is delivered after all (FX-30)", () =>
  alone(async (client) => {
    await tell(
      client,
      conversationEvent("conversation_created"),
      messageEvent("message_created"),
      reply(60, {}, "failed"),
    );
    expect(await events(client, "message")).toMatchObject([{ class: "customer" }, { class: "failed" }]);
    expect(await episode(client)).toMatchObject({ frt: null, waiting: true, human_replies: 0 });

    const delivered = reply(60, { event: "message_updated" }, "delivered");
    const nested = delivered.conversation as { messages: Payload[] };
    nested.messages[0].updated_at = iso(START + 90);
    await tell(client, delivered);
    expect(await events(client, "message")).toMatchObject([{ class: "customer" }, { class: "human" }]);
    expect((await episode(client)).frt).toBeCloseTo(59.588, 3);
    await isSettled(client);
  }));

test("a deleted message still counts: it was written", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"), reply(60));
    const before = await ledger(client);
    await tell(
      client,
      reply(60, {
        event: "message_updated",
        content: "This message was deleted",
        content_attributes: { deleted: true },
      }),
    );
    expect(unlike(before, await ledger(client))).toEqual([]);
    await isSettled(client);
  }));

test("a bot's question that is edited into an answer is one", () =>
  alone(async (client) => {
    const bot = { id: 7, name: "Trail Guide", type: "agent_bot" };
    await tell(
      client,
      conversationEvent("conversation_created", { status: "pending" }),
      messageEvent("message_created"),
    );
    await tell(client, reply(30, { content: "Which order?", sender: bot }));
    expect(await events(client, "message")).toMatchObject([{ value: "" }, { class: "bot", value: "question" }]);
    await tell(
      client,
      reply(30, {
        event: "message_updated",
        content: "It is on its way.",
        sender: bot,
        conversation: conversationEvent("", { updated_at: START + 50 }),
      }),
    );
    expect(await events(client, "message")).toMatchObject([{ value: "" }, { class: "bot", value: "" }]);
    await isSettled(client);
  }));

test("a message that moves in time, or to another conversation, counts where and when it is", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"), reply(60));
    await client.query(
      "update chatwoot.messages set created_at = created_at + interval '1 hour' where message_id = 9002",
    );
    await client.query("call ledger.tick()");
    expect((await episode(client)).frt).toBeCloseTo(3659.588, 3);
    await isSettled(client);

    await client.query(
      "insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at) select 1, 43, 3, created_at, version_at from chatwoot.conversations",
    );
    await client.query("update chatwoot.messages set conversation_display_id = 43 where message_id = 9001");
    await client.query("call ledger.tick()");
    expect(await episode(client)).toMatchObject({ display_id: "42", is_outbound: true, customer_messages: 0 });
    await isSettled(client);
  }));

test("of two ratings the last holds, and the first is kept as what was known before", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    await tell(client, surveyAnswer(null, { after: 500 }), surveyAnswer({ rating: 2, feedback_message: null }));
    expect(await episode(client)).toMatchObject({ csat_rating: 2, surveyed: true });
    await tell(client, surveyAnswer({ rating: 5, feedback_message: "Sorry" }, { after: 650 }));
    expect(await episode(client)).toMatchObject({ csat_rating: 5 });
    const { rows } = await client.query(
      "select value, unlearnt_at is null as holds from ledger.events where kind = 'csat' order by event_id",
    );
    expect(rows).toEqual([{ value: "2", holds: false }, { value: "5", holds: true }]);
    await isSettled(client);
  }));

test("what a report said on Monday can be asked on Tuesday, after a late correction", () =>
  alone(async (client) => {
    const resolved = { status: "resolved", waiting_since: 0 };
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    await tell(client, changed(7200, resolved, { status: ["open", "resolved"] }));
    const asked = "select * from ledger.episodes_at(1, $1, $2)";
    const asOf = new Date((START + 10_000) * 1000);
    const { rows: [{ monday }] } = await client.query("select clock_timestamp() as monday");
    const { rows: said } = await client.query(asked, [asOf, null]);
    expect(said).toMatchObject([{ frt: null, ttr_first: 7200 - 0.412, closed_unreplied: true }]);

    await tell(client, reply(60), changed(600, resolved, { status: ["open", "resolved"] }));
    const { rows: [now] } = await client.query(asked, [asOf, null]);
    expect(now).toMatchObject({ closed_unreplied: false });
    expect(now.ttr_first).toBeCloseTo(599.588, 3);
    expect((await client.query(asked, [asOf, monday])).rows).toEqual(said);
    await isSettled(client);
  }));

test("notes, activity lines and failed messages move no clock (P13)", () =>
  alone(async (client) => {
    const installation = createInstallation({ seed: 1, start: new Date(START * 1000), lateJobs: 0 });
    const at = (seconds: number) => new Date((START + seconds) * 1000);
    const contact = installation.newContact(at(0), { name: "Dana" });
    const { id, events: first } = installation.newConversation(at(1), { contact: contact.id, inbox: "website" });
    const [agent] = installation.agents;
    const told = [
      ...first,
      ...installation.customerWrites(at(2), id, { text: "Hello" }).events,
      ...installation.agentReplies(at(300), id, { agent, text: "Hi" }).events,
      ...installation.customerWrites(at(400), id, { text: "And?" }).events,
    ];
    await record(client, once(told));
    const clocks = async () => {
      const { rows: [{ row }] } = await client.query(
        `select to_jsonb(episodes) - array['as_of', 'notes', 'wait_current', 'wait_current_business', 'wait_total',
          'wait_total_business', 'wait_longest', 'wait_longest_business', 'requester_wait', 'requester_wait_business',
          'agent_work', 'agent_work_business', 'unassigned_s', 'unassigned_s_business'] as row from analytics.episodes`,
      );
      return row;
    };
    const before = await clocks();
    await record(client, once(installation.note(at(500), id, { agent, text: "Old plan" }).events));
    expect(await clocks()).toEqual(before);
    await client.query(
      `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
          sender_kind, sender_id, delivery_status, content, created_at, version_at)
        select 1, 77001, $1::bigint, 'activity', false, 'text', null, null::bigint, null, 'Assigned to Ravi', $2::timestamptz, $2::timestamptz
        union all select 1, 77002, $1, 'outgoing', false, 'text', 'user', 7, 'failed', 'Lost', $2, $2`,
      [id, at(510)],
    );
    await client.query("call ledger.tick()");
    expect(await clocks()).toEqual(before);
    await isSettled(client);
  }));

test("a customer, an inbox and an instant of creation that change are counted anew", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"), reply(60));
    await client.query("update chatwoot.conversations set contact_id = 206, inbox_id = 4 where display_id = 42");
    await client.query("call ledger.tick()");
    expect(await episode(client)).toMatchObject({ contact_id: "206", inbox_id: "4" });
    await isSettled(client);
    await client.query(
      "update chatwoot.conversations set created_at = created_at + interval '200 milliseconds' where display_id = 42",
    );
    await client.query("call ledger.tick()");
    expect(await events(client, "created")).toMatchObject([{ after: 0.2, value: "open" }]);
    await isSettled(client);
  }));

// Read on purpose hours after it changed without a trace, and then told of again.
test("what changed in silence stays where it was found, whatever comes later", () =>
  alone(async (client) => {
    const read = (after: number, changes: Payload, readAfter: number) =>
      client.query(
        `select chatwoot.merge_conversations(array[jsonb_populate_record(null::chatwoot.conversations, $1::jsonb)],
          to_timestamp($2))`,
        [
          {
            account_id: 1,
            display_id: 42,
            inbox_id: 3,
            contact_id: 205,
            status: "open",
            labels: [],
            created_at: iso(START),
            version_at: iso(START + after),
            ...changes,
          },
          START + readAfter,
        ],
      );
    const assigned = { assignee_kind: "user", assignee_id: 7 };
    await read(1, {}, 2);
    await read(1000, assigned, 1060);
    await read(1000, {}, 20_000);
    await client.query("call ledger.tick()");
    const silent = [
      { after: 1000, value: "user:7", source: "snapshot" },
      { after: 20_000, value: "", source: "snapshot" },
    ];
    expect(await events(client, "assignee")).toMatchObject(silent);
    await read(20_060, { priority: "high" }, 20_061);
    await client.query("call ledger.tick()");
    expect(await events(client, "assignee")).toMatchObject(silent);
    await isSettled(client);
  }));

test("what changed in silence right after a change is later than that change", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    await tell(client, changed(100, { meta: assignedMeta }, { assignee_id: [null, 7], team_id: [null, 2] }));
    await client.query(
      `select chatwoot.merge_conversations(array_agg(jsonb_populate_record(rows, '{"assignee_id": null, "assignee_kind": null}')),
        to_timestamp($1)) from chatwoot.conversations as rows`,
      [START + 5000],
    );
    await client.query("call ledger.tick()");
    expect(await events(client, "assignee")).toMatchObject([
      { after: 100, value: "user:7", source: "change" },
      { after: 5000, value: "", source: "snapshot" },
    ]);
    await isSettled(client);
  }));

test("what is shown twice in one instant has one place there, whatever was shown long before", () =>
  alone(async (client) => {
    // Which of the two comes first hangs on a hash, so there are several.
    for (let id = 1; id <= 8; id++) {
      const shown = (after: number, labels: string[]) =>
        conversationEvent("conversation_updated", { id, updated_at: START + after, labels, changed_attributes: null });
      await tell(client, conversationEvent("conversation_created", { id, labels: ["a"] }));
      await tell(client, shown(1000, ["a"]), shown(1000, [`b-${id}`]));
    }
    await client.query("call ledger.tick()");
    expect(await events(client, "labels")).toContainEqual(expect.objectContaining({ after: 1000, value: '["b-1"]' }));
    await isSettled(client);
  }));

test("what went and came back is back, though only its going was told", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    // The job ran late, so the body shows the conversation reopened already; the webhook of that is lost.
    const resolved = changed(100, {}, { status: ["open", "resolved"] });
    await tell(client, { ...resolved, updated_at: START + 130.5 });
    expect(await events(client, "status")).toMatchObject([
      { after: 100, value: "resolved", source: "change" },
      { after: 130.5, value: "open", source: "snapshot" },
    ]);
    await tell(
      client,
      conversationEvent("conversation_updated", { updated_at: START + 9000, changed_attributes: null }),
    );
    expect(await events(client, "status")).toHaveLength(2);
    await isSettled(client);
  }));

test("two changes to the same within a millisecond are told in one order, however many conversations have them", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"));
    await client.query(
      `select chatwoot.merge_conversations(array_agg(jsonb_populate_record(rows, jsonb_build_object('display_id', number))))
      from chatwoot.conversations as rows cross join generate_series(1001, 1300) as number`,
    );
    const resolvedFrom = (previous: string) =>
      client.query(
        `select ledger.observe_changes(account_id, display_id, $1, to_timestamp($2))
        from chatwoot.conversations where display_id > 1000`,
        [JSON.stringify([{ status: { previous_value: previous, current_value: "resolved" } }]), START + 100],
      );
    await resolvedFrom("snoozed");
    await resolvedFrom("pending");
    while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
    const { rows } = await client.query(
      `select count(*)::integer as conversations, log from (
        select string_agg(previous || ' ' || value, ', ' order by occurred_at, place) as log
        from ledger.events where display_id > 1000 and kind = 'status' and unlearnt_at is null group by display_id) as logs
      group by log`,
    );
    expect(rows).toEqual([
      { conversations: 300, log: "open pending, pending resolved, resolved snoozed, snoozed resolved" },
    ]);
    await isSettled(client);
  }));

test("evidence from before all that was known tells the beginning anew", () =>
  alone(async (client) => {
    const late = { updated_at: START + 90_000, meta: assignedMeta, priority: "high" };
    await tell(client, conversationEvent("conversation_created", late));
    expect(await events(client, "assignee")).toMatchObject([{ after: 0, value: "?" }, { value: "user:7" }]);
    const earlier = changed(40_000, late, { assignee_id: [8, 7], team_id: [null, 2], priority: ["low", "high"] });
    await tell(client, { ...earlier, updated_at: START + 90_000 });
    expect(await events(client, "assignee")).toMatchObject([{ after: 0, value: "user:8" }, { value: "user:7" }]);
    expect(await events(client, "priority")).toMatchObject([{ after: 0, value: "low" }, { value: "high" }]);
    await isSettled(client);
  }));

test("a bot's hand-off that Chatwoot reported tells that a bot had it", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created", { updated_at: START + 90_000 }));
    expect(await events(client, "created")).toMatchObject([{ value: "open" }]);
    await client.query(
      `insert into chatwoot.reporting_events (account_id, event_id, name, conversation_display_id, event_ended_at, created_at)
      values (1, 5001, 'conversation_bot_handoff', 42, to_timestamp($1), now())`,
      [START + 50_000],
    );
    await client.query("call ledger.tick()");
    expect(await events(client, "created")).toMatchObject([{ value: "pending" }]);
    expect(await events(client, "status")).toMatchObject([{ after: 50_000, value: "open", source: "reporting_event" }]);
    await isSettled(client);
  }));

test("resolved twice within a minute: the second is not taken for the first", () =>
  alone(async (client) => {
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    await tell(client, changed(10, { status: "resolved" }, { status: ["open", "resolved"] }));
    await tell(client, changed(20, { status: "open" }, { status: ["resolved", "open"] }));
    // The webhook of the second resolve is lost; Chatwoot's own lines of both are read later.
    await client.query(
      `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
          content_attributes, content, created_at, version_at)
        select 1, 77000 + told.after, 42, 'activity', false, 'text',
          '{"activity": {"type": "conversation_status_changed", "status": "resolved"}}',
          'Conversation was marked resolved', to_timestamp($1 + told.after + 0.03), now()
        from unnest(array[10, 30]) as told (after)`,
      [START],
    );
    await client.query("call ledger.tick()");
    expect(await events(client, "status")).toMatchObject([
      { after: 10, value: "resolved" },
      { after: 20, value: "open" },
      { after: 30.03, value: "resolved", source: "activity" },
    ]);
    await isSettled(client);
  }));

test("instants of long ago and of the far future, and none at all, are kept and stop nothing", () =>
  alone(async (client) => {
    for (const [index, after] of [-START + 1, 9_999 * 31_557_600 - START - 1e9].entries()) {
      const id = 50 + index;
      const conversation = { id, created_at: START + after, updated_at: START + after, messages: [] };
      await tell(client, conversationEvent("conversation_created", conversation));
      await tell(
        client,
        messageEvent("message_created", {
          id: 9100 + index,
          created_at: START + after,
          conversation: conversationEvent("", conversation),
        }),
      );
    }
    const nowhere = { id: 60, created_at: null, messages: [] };
    await tell(client, conversationEvent("conversation_created", nowhere));
    await tell(client, messageEvent("message_created", { id: 9200, conversation: conversationEvent("", nowhere) }));
    await tell(
      client,
      messageEvent("message_created", {
        id: 9201,
        message_type: undefined,
        conversation: conversationEvent("", nowhere),
      }),
    );
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"), reply(60));
    expect(await queued(client)).toEqual([]);
    const { rows } = await client.query("select display_id, customer_messages, frt from analytics.episodes order by 1");
    expect(rows.map(({ display_id }) => Number(display_id))).toEqual([42, 50, 51, 60]);
    expect(rows[0].frt).toBeCloseTo(59.588, 3);
    await isSettled(client);
  }));

test("a thousand labels and ids beyond the exact numbers of JavaScript", () =>
  alone(async (client) => {
    const labels = Array.from({ length: 1000 }, (_, index) => `label-${index}`);
    const huge = "9007199254740993";
    const body = JSON.stringify(
      changed(30, { labels, meta: { ...assignedMeta, assignee: { ...assignedMeta.assignee, id: "HUGE" } } }, {
        label_list: [[], labels],
        assignee_id: [null, "HUGE"],
      }),
    ).replaceAll('"HUGE"', huge);
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    expect(await deliver(client, { id: "huge", body })).toBe("applied");
    expect(await events(client, "assignee")).toMatchObject([{ after: 30, value: `user:${huge}` }]);
    const [, , list] = await events(client, "labels");
    expect(JSON.parse(list.value)).toHaveLength(1000);
    expect(await queued(client)).toEqual([]);
    await isSettled(client);
  }));

test("changed_attributes may say anything: the rest of the webhook counts, and so do the numbers", () =>
  alone(async (client) => {
    const [seed] = drawSeeds("ledger-evidence", 1);
    const value = fc.oneof(
      fc.constantFrom<unknown>(null, 7, -7, 1e300, 2 ** 63, "", "open", "resolved", "user:7", "x".repeat(3_000)),
      fc.constantFrom<unknown>(
        iso(START + 30),
        "2026-19-39T29:59:59Z",
        "2026-02-30T10:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
        "2999-12-31T23:59:59.999Z",
        "infinity",
        "now",
      ),
      fc.constantFrom<unknown>(["a", "b"], ["a", null], [["a"]], {}, [], true, ["\u0001"]),
      fc.jsonValue({ maxDepth: 2 }),
    );
    const key = fc.oneof(
      fc.constantFrom(
        "updated_at",
        "status",
        "assignee_id",
        "assignee_agent_bot_id",
        "team_id",
        "priority",
        "label_list",
      ),
      fc.string(),
    );
    const change = fc.oneof(
      { weight: 6, arbitrary: fc.record({ previous_value: value, current_value: value }, { requiredKeys: [] }) },
      { weight: 1, arbitrary: value },
    );
    const attributes = fc.oneof(
      { weight: 8, arbitrary: fc.array(fc.dictionary(key, change, { maxKeys: 3 }), { maxLength: 8 }) },
      { weight: 1, arbitrary: value },
      { weight: 1, arbitrary: fc.array(value, { maxLength: 50 }) },
    );
    const samples = fc.sample(attributes, { numRuns: 400, seed });
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    for (const [index, changed_attributes] of samples.entries()) {
      const body = JSON.stringify(
        conversationEvent("conversation_updated", { changed_attributes, updated_at: START + 1 + index, messages: [] }),
      );
      // What no Postgres can hold, no conversation can say.
      if (body.includes("\\u0000")) continue;
      await deliver(client, { id: `odd-${index}`, body });
      const kept = "select outcome, reason from inbox.deliveries where delivery_id = $1";
      const { rows } = await client.query(kept, [`odd-${index}`]);
      // A webhook that shows a wrong instant is put aside whole, as everywhere.
      if (rows[0].outcome === "dead") expect(rows[0].reason).toMatch(/^2200[78]/);
      else expect(rows, JSON.stringify(changed_attributes)).toEqual([{ outcome: "applied", reason: null }]);
    }
    await tell(client, reply(600));
    expect(await queued(client)).toEqual([]);
    expect((await episode(client)).frt).toBeCloseTo(599.588, 3);
    await isSettled(client);
  }));

test("one conversation that cannot be counted keeps its webhooks and holds up no other", () =>
  alone(async (client) => {
    const other = { id: 43, messages: [] };
    await tell(client, conversationEvent("conversation_created"), messageEvent("message_created"));
    await tell(client, conversationEvent("conversation_created", other));
    await client.query(
      "alter table ledger.episodes add constraint broken check (display_id <> 42 or human_replies = 0)",
    );
    try {
      await tell(client, reply(60));
      const [waiting] = await queued(client);
      expect(waiting).toMatchObject({ display_id: "42", problem: expect.stringContaining("broken") });
      expect((await client.query("select from chatwoot.messages where message_id = 9002")).rowCount).toBe(1);
      expect((await client.query("select from inbox.deliveries where outcome <> 'applied'")).rowCount).toBe(0);

      await client.query("select ledger.mark(1, 43, '-infinity', '-infinity', '-infinity')");
      await client.query("call ledger.tick()");
      const { rows } = await client.query(
        "select display_id, attempts, retry_at > now() as is_later from ledger.queue",
      );
      expect(rows).toEqual([{ display_id: "42", attempts: 2, is_later: true }]);
      await tell(client, privateNote());
      expect(await queued(client)).toHaveLength(1);
    } finally {
      await client.query("alter table ledger.episodes drop constraint broken");
    }
    await client.query("call ledger.tick(now() + interval '1 day')");
    expect((await episode(client)).frt).toBeCloseTo(59.588, 3);
    expect(await episode(client)).toMatchObject({ notes: 1 });
    await isSettled(client);
  }));
