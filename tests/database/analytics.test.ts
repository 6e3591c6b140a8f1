import { describe, expect, test } from "vitest";
import {
  conversationEvent,
  iso,
  messageEvent,
  nestedMessage,
  type Payload,
  START,
  story,
} from "../fixtures/webhooks.ts";
import { member, type Role, type Sql, useDatabase } from "../support/database.ts";
import { deliver } from "./deliver.ts";

const database = useDatabase();

const ANALYTICS = ["conversations", "messages", "volume_by_day", "channel_breakdown", "inbox_health"].map((name) =>
  `analytics.${name}`
);
const API = ["deliveries", "decision_log", "members", "settings"].map((name) => `api.${name}`);

const apply = async (sql: Sql, events: Payload[], account = 1) => {
  for (const [index, body] of events.entries()) {
    expect(await deliver(sql, { account, id: `d${index}`, body: JSON.parse(forAccount(body, account)) })).toBe(
      "applied",
    );
  }
};

/** The same story in another account: everything the same but the account. */
const forAccount = (payload: Payload, account: number) =>
  JSON.stringify(payload).replaceAll('"account":{"id":1,', `"account":{"id":${account},`)
    .replaceAll('"account_id":1,', `"account_id":${account},`);

describe("what the views say", () => {
  test("analytics.conversations: one row a conversation, with names for ids", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, story());

      await sql.resultsEqual(
        `select display_id, inbox_name, channel, status, priority, labels, contact_name, assignee_kind, assignee_name,
          team_name, created_at, waiting_since, updated_at, deleted_at from analytics.conversations`,
        [{
          display_id: "42",
          inbox_name: "Website",
          channel: "Channel::WebWidget",
          status: "resolved",
          priority: "high",
          labels: ["billing", "vip"],
          contact_name: "Dana",
          assignee_kind: "user",
          assignee_name: "Ravi Shah",
          team_name: "billing",
          created_at: new Date(START * 1000),
          waiting_since: null,
          updated_at: new Date((START + 700.25) * 1000),
          deleted_at: null,
        }],
      );
    }));

  test("analytics.messages: one row a message, with its writer and the survey's answer", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, story());

      await sql.resultsEqual(
        `select message_id, display_id, message_type, is_private, sender_kind, sender_name, attachment_count, csat_rating,
          csat_feedback from analytics.messages order by message_id`,
        [
          written("9001", { message_type: "incoming", sender_kind: "contact", sender_name: "Dana" }),
          written("9003", {
            message_type: "outgoing",
            is_private: true,
            sender_kind: "user",
            sender_name: "Ravi Shah",
          }),
          written("9010", { message_type: "template", csat_rating: 5, csat_feedback: "Fast!" }),
        ],
      );
    }));

  function written(message_id: string, rest: Record<string, unknown>) {
    const usual = { is_private: false, sender_kind: null, sender_name: null, csat_rating: null, csat_feedback: null };
    return { message_id, display_id: "42", attachment_count: 0, ...usual, ...rest };
  }

  test.each([
    {
      zone: "UTC",
      days: [
        { day: "2026-03-28", conversations: 1, incoming: 2 },
        { day: "2026-03-29", conversations: 0, incoming: 2 },
        { day: "2026-03-30", conversations: 0, incoming: 0 },
      ],
    },
    {
      // Clocks go forward at 01:00Z on 29 March: midnight is at 23:00Z before that and at 22:00Z after.
      zone: "Europe/Berlin",
      days: [
        { day: "2026-03-28", conversations: 1, incoming: 1 },
        { day: "2026-03-29", conversations: 0, incoming: 2 },
        { day: "2026-03-30", conversations: 0, incoming: 1 },
      ],
    },
    {
      // Clocks went forward weeks before: midnight is at 04:00Z.
      zone: "America/New_York",
      days: [
        { day: "2026-03-28", conversations: 1, incoming: 2 },
        { day: "2026-03-29", conversations: 0, incoming: 2 },
        { day: "2026-03-30", conversations: 0, incoming: 0 },
      ],
    },
  ])(
    "analytics.volume_by_day: a day begins at midnight in $zone, also when clocks change",
    ({ zone, days }) =>
      database.rolledBack(async (sql) => {
        await sql.rows("select ops.set_setting(1, 'reporting_time_zone', to_jsonb($1::text))", [zone]);
        const began = Date.parse("2026-03-28T12:00:00Z") / 1000;
        await apply(sql, [
          conversationEvent("conversation_created", {
            messages: [],
            created_at: began,
            last_activity_at: began,
            updated_at: began,
          }),
          ...["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"].map((
            at,
            index,
          ) => incoming(9100 + index, Date.parse(at) / 1000, began)),
        ]);

        const rows = await sql.rows(
          `select to_char(day, 'YYYY-MM-DD') as day, time_zone, conversations::int, incoming_messages::int as incoming, outgoing_messages::int,
          automatic_messages::int, private_notes::int from analytics.volume_by_day order by day`,
        );

        const expected = days.filter((day) => day.conversations + day.incoming > 0);
        expect(rows).toEqual(expected.map((day) => ({
          time_zone: zone,
          outgoing_messages: 0,
          automatic_messages: 0,
          private_notes: 0,
          ...day,
        })));
      }),
  );

  function incoming(id: number, at: number, began: number): Payload {
    const nested = nestedMessage({ id, created_at: at, updated_at: iso(at) });
    const conversation = conversationEvent("", {
      messages: [nested],
      created_at: began,
      last_activity_at: at,
      updated_at: at,
    });
    return messageEvent("message_created", { id, created_at: iso(at), conversation });
  }

  test("analytics.volume_by_day: each kind of message is counted as what it is", () =>
    database.rolledBack(async (sql) => {
      await apply(sql, [...story(), incomingReply()]);

      await sql.resultsEqual(
        `select conversations::int, incoming_messages::int, outgoing_messages::int, automatic_messages::int, private_notes::int
        from analytics.volume_by_day`,
        [{ conversations: 1, incoming_messages: 1, outgoing_messages: 1, automatic_messages: 1, private_notes: 1 }],
      );
    }));

  function incomingReply(): Payload {
    const sender = { id: 7, name: "Ravi Shah", email: "ravi@acme-outdoor.example", type: "user" };
    return messageEvent("message_created", {
      id: 9004,
      message_type: "outgoing",
      sender,
      content: "Here is the new one.",
    });
  }

  test("analytics.channel_breakdown: conversations by channel and inbox, and their share", () =>
    database.rolledBack(async (sql) => {
      const later = START + 60;
      await apply(sql, [
        conversationEvent("conversation_created", { id: 1, status: "open", messages: [] }),
        conversationEvent("conversation_created", { id: 2, status: "pending", waiting_since: 0, messages: [] }),
        conversationEvent("conversation_created", { id: 3, status: "snoozed", waiting_since: later, messages: [] }),
        conversationEvent("conversation_created", {
          id: 4,
          status: "resolved",
          inbox_id: 5,
          channel: "Channel::Email",
          messages: [],
        }),
        conversationEvent("conversation_created", {
          id: 5,
          status: "open",
          inbox_id: 5,
          channel: "Channel::Email",
          messages: [],
        }),
      ]);
      await sql.rows("select chatwoot.bury('conversation', 1, 5, now())");

      await sql.resultsEqual(
        `select channel, inbox_id, conversations::int, open_conversations::int as open, pending_conversations::int as pending,
          snoozed_conversations::int as snoozed, resolved_conversations::int as resolved, waiting_conversations::int as waiting,
          longest_waiting_since, share::float8 from analytics.channel_breakdown order by channel`,
        [
          {
            channel: "Channel::Email",
            inbox_id: "5",
            ...counts(1, 0, 0, 0, 1, 0),
            longest_waiting_since: null,
            share: 0.25,
          },
          {
            ...{ channel: "Channel::WebWidget", inbox_id: "3", ...counts(3, 1, 1, 1, 0, 2) },
            longest_waiting_since: new Date(START * 1000),
            share: 0.75,
          },
        ],
      );
    }));

  const counts = (
    conversations: number,
    open: number,
    pending: number,
    snoozed: number,
    resolved: number,
    waiting: number,
  ) => ({
    conversations,
    open,
    pending,
    snoozed,
    resolved,
    waiting,
  });

  test("analytics.inbox_health: deliveries of the last day by outcome, with their lag", () =>
    database.rolledBack(async (sql) => {
      const event = conversationEvent("conversation_created");
      const signed = (seconds: number) => new Date(Date.now() - 60_000 - seconds * 1000).toISOString();
      const receivedAt = new Date(Date.now() - 60_000).toISOString();
      for (const [id, lag] of [1, 2, 9].entries()) {
        await deliver(sql, { id: `a${id}`, body: event, signedAt: signed(lag), receivedAt });
      }
      await deliver(sql, { id: "a0", body: event, receivedAt });
      await deliver(sql, { id: "a0", body: "{}", receivedAt });
      for (const id of ["x1", "x2"]) await deliver(sql, { id, body: "nonsense", signedAt: null, receivedAt });
      await deliver(sql, { id: "x3", body: "[]", signedAt: null, receivedAt });
      await deliver(sql, {
        id: "old",
        body: "nonsense",
        receivedAt: new Date(Date.now() - 25 * 3_600_000).toISOString(),
      });

      await sql.resultsEqual(
        `select outcome, deliveries::int, redeliveries::int, conflicts::int, round(lag_seconds_median::numeric)::int as median,
          round(lag_seconds_p95::numeric, 1)::float8 as p95, seconds_since_last between 0 and 300 as recent, most_frequent_reason as reason
        from analytics.inbox_health order by outcome`,
        [
          {
            outcome: "applied",
            deliveries: 3,
            redeliveries: 2,
            conflicts: 1,
            median: 2,
            p95: 8.3,
            recent: true,
            reason: null,
          },
          {
            ...{ outcome: "dead", deliveries: 3, redeliveries: 0, conflicts: 0, median: null, p95: null, recent: true },
            reason: "The body is not JSON.",
          },
        ],
      );
    }));
});

describe("who sees which rows", () => {
  async function twoAccounts(sql: Sql): Promise<{ ada: string; none: string }> {
    await apply(sql, story(), 1);
    await apply(sql, story(), 2);
    await sql.rows(
      "select ops.set_setting(account_id, 'raw_retention_days', '20') from unnest(array[1, 2]) as account_id",
    );
    const ada = await member(sql, 1, "viewer");
    await member(sql, 2, "viewer");
    const none = await member(sql, 3, "admin");
    await sql.rows("delete from access.members where user_id = $1", [none]);
    return { ada, none };
  }
  const accounts = async (sql: Sql, view: string) =>
    (await sql.rows<{ id: number }>(`select distinct account_id::int as id from ${view} order by 1`)).map(({ id }) =>
      id
    );

  test("a member sees their own account in every view of analytics and api, and no other", () =>
    database.rolledBack(async (sql) => {
      const { ada } = await twoAccounts(sql);

      await sql.as("authenticated", ada, async () => {
        for (const view of [...ANALYTICS, ...API]) expect(await accounts(sql, view), view).toEqual([1]);
      });
    }));

  test("someone signed in who belongs to no account sees no row", () =>
    database.rolledBack(async (sql) => {
      const { none } = await twoAccounts(sql);

      await sql.as("authenticated", none, async () => {
        for (const view of [...ANALYTICS, ...API]) expect(await accounts(sql, view), view).toEqual([]);
      });
    }));

  test("the analyst sees every account in analytics, in the account's own time zone", () =>
    database.rolledBack(async (sql) => {
      await twoAccounts(sql);
      await sql.rows("select ops.set_setting(2, 'reporting_time_zone', '\"Asia/Tokyo\"')");

      await sql.as("analyst", null, async () => {
        for (const view of ANALYTICS) expect(await accounts(sql, view), view).toEqual([1, 2]);
        await sql.resultsEqual("select distinct account_id, time_zone from analytics.volume_by_day order by 1", [
          { account_id: "1", time_zone: "UTC" },
          { account_id: "2", time_zone: "Asia/Tokyo" },
        ]);
      });
    }));

  test("the analyst reads nothing else: no other room, no table, no change", () =>
    database.rolledBack(async (sql) => {
      await twoAccounts(sql);
      const relations = await sql.rows<{ name: string }>(
        `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relkind in ('r', 'v') and nspname in ('access', 'audit', 'ops', 'chatwoot', 'inbox', 'api', 'auth', 'cron')`,
      );
      expect(relations.length).toBeGreaterThan(20);

      await sql.as("analyst", null, async () => {
        for (const { name } of relations) {
          // cron's own tables are open to everyone who may name them; the analyst may not.
          await sql.throws("42501", `select * from ${name}`);
        }
        await sql.throws("42501", "create table analytics.mine ()");
      });
    }));

  test("anon sees nothing at all", () =>
    database.rolledBack(async (sql) => {
      await twoAccounts(sql);

      await sql.as("anon", null, async () => {
        for (const view of [...ANALYTICS, ...API]) await sql.throws("42501", `select * from ${view}`);
      });
    }));

  test("the service role sees every account, and the bytes of none", () =>
    database.rolledBack(async (sql) => {
      await twoAccounts(sql);

      await sql.as("service_role", null, async () => {
        for (const view of [...ANALYTICS, ...API]) expect(await accounts(sql, view), view).toEqual([1, 2]);
        await sql.throws("42501", "select body from inbox.deliveries");
      });
    }));

  test.each<{ role: Role; relation: string }>([
    { role: "authenticated", relation: "analytics.messages" },
    { role: "authenticated", relation: "analytics.conversations" },
    { role: "authenticated", relation: "api.deliveries" },
    { role: "authenticated", relation: "api.decision_log" },
  ])(
    "who is asking is found out once a query, not once a row: $relation",
    ({ role, relation }) =>
      database.rolledBack(async (sql) => {
        const { ada } = await twoAccounts(sql);

        await sql.as(role, ada, async () => {
          const plan = await sql.value<[{ Plan: PlanNode }]>(
            `explain (format json, verbose, analyze, timing off) select * from ${relation}`,
          );
          const asking = nodes(plan[0].Plan).filter((node) =>
            JSON.stringify({ ...node, Plans: [] }).includes("my_account_ids")
          );

          expect(asking.length).toBeGreaterThan(0);
          for (const node of asking) expect(node["Actual Loops"], JSON.stringify(node)).toBeLessThanOrEqual(1);
        });
      }),
  );

  interface PlanNode {
    "Actual Loops": number;
    Plans?: PlanNode[];
  }
  const nodes = (plan: PlanNode): PlanNode[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];
});
