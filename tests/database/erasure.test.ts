// A customer is erased: nothing personal is left in any table, no number moves, and no door brings a word back.
import { describe, expect, test } from "vitest";
import { type Payload } from "../fixtures/webhooks.ts";
import { type Sql, useDatabase } from "../support/database.ts";
import { deliver } from "./deliver.ts";
import { agentWrites, BEGIN, customerWrites, draftsOf, goldReply, REFUND, statusBecomes } from "./drafting.support.ts";

const database = useDatabase();

/** Stands in whatever the customer wrote, is called, or was told. */
const CANARY = "CANARY-OF-DANA";
const ROOMS = ["access", "actions", "audit", "chatwoot", "inbox", "ledger", "ops", "replies", "sla", "sync"];
const NUMBERS = [
  "analytics.episodes",
  "analytics.spans",
  "analytics.events",
  "analytics.response_times",
  "analytics.resolution_times",
  "analytics.csat",
  "analytics.volume_by_day",
  "analytics.volume_by_hour",
  "analytics.channel_breakdown",
  "analytics.ai_outcomes",
  "analytics.sla_clocks",
  "analytics.sla_attainment",
  "analytics.draft_performance",
  "analytics.wait_credits",
  "analytics.reopen_rates",
  "analytics.backlog_by_day",
  "analytics.agent_load",
];

const personal = {
  account: { id: 1, name: "Acme Outdoor" },
  additional_attributes: { city: CANARY },
  custom_attributes: { plan: "pro", nickname: CANARY },
  email: `${CANARY}@mail.example`,
  id: 205,
  identifier: `crm-${CANARY}`,
  name: `Dana ${CANARY}`,
  phone_number: "+4930123456",
  blocked: false,
};
const around: Payload = {
  contact_inbox: { id: 1, contact_id: 205, source_id: CANARY },
  meta: { sender: { ...personal, type: "contact" }, assignee: null, assignee_type: null, team: null },
  custom_attributes: { order_number: CANARY },
  additional_attributes: { browser_language: "de", mail_subject: CANARY },
};
const file = { id: 71, file_type: "image", extension: "png", data_url: `https://files.example/${CANARY}` };
const dana = (id: number, content: string | null, after: number, changes: Payload = {}) => ({
  id,
  content,
  after,
  with: around,
  changes: {
    sender: personal,
    source_id: `<${CANARY}@mail.example>`,
    content_attributes: { email: { subject: CANARY } },
    ...changes,
  },
});

/** A reply within a minute, to whoever pays, as Dana does. */
async function promise(sql: Sql): Promise<void> {
  await sql.rows(
    "select sla.save_policy(1, 'Pro', $1, $2, valid_from => now() - interval '2 days', as_of => now() - interval '2 days')",
    [
      JSON.stringify([{ attribute: "contact.plan", operator: "in", values: ["pro"] }, {
        attribute: "contact.nickname",
        operator: "exists",
      }]),
      JSON.stringify({ first_response: { priorities: { default: { seconds: 60, hours: "24x7" } } } }),
    ],
  );
  const told = { event: "contact_updated", ...personal, changed_attributes: [], updated_at: new Date().toISOString() };
  expect(await deliver(sql, { id: "told", body: told, signedAt: new Date(Date.now() + 1000).toISOString() })).toBe(
    "applied",
  );
}

/** Dana asks, is answered from a draft and by hand, rates; Ben, who stays, asks too. */
async function begin(sql: Sql): Promise<void> {
  await promise(sql);
  await goldReply(sql, { body: "Hello {{contact.first_name}}, refunds reach your card within five working days." });
  await customerWrites(sql, dana(9101, `${REFUND} ${CANARY}`, 0));
  const [draft] = await draftsOf(sql);
  expect(draft).toMatchObject({ state: "open" });
  await sql.rows("select replies.approve_draft(1, $1, $2)", [draft.draft_id, `Dear ${CANARY}, five working days.`]);
  const [{ mark }] = await sql.rows("select mark from actions.outbox where kind = 'reply'");
  await sql.rows(
    `update actions.outbox set state = 'sent', settled_at = now(), leased_until = null, request = jsonb_build_object('body', arguments),
      problem = 'Chatwoot said ${CANARY}' where true`,
  );
  const reply = { content_attributes: { occ_action: mark }, source_id: CANARY };
  await agentWrites(sql, {
    id: 9102,
    content: `Dear ${CANARY}, five working days.`,
    after: 240,
    with: around,
    changes: reply,
  });
  await customerWrites(sql, dana(9103, null, 300, { attachments: [file] }));
  await agentWrites(sql, { id: 9104, content: `${CANARY}, thank you.`, after: 360, with: around });
  await agentWrites(sql, {
    id: 9105,
    content: "Is that all?",
    after: 361,
    with: around,
    changes: { sender: { id: 3, name: "Bot", type: "agent_bot" } },
  });
  await agentWrites(sql, { id: 9106, content: CANARY, after: 362, with: around, changes: { private: true } });
  await statusBecomes(sql, { after: 400 });
  await sql.rows(
    `insert into chatwoot.csat_responses (account_id, message_id, conversation_display_id, rating, feedback_message, first_answered_at, version_at)
    values (1, 9104, 42, 2, $1, now(), now())`,
    [CANARY],
  );
  await sql.rows("select ops.notify(1, 'actions.failed', 'once', 'Conversation 42', $1, 'warning')", [
    JSON.stringify({ display_id: 42, problem: CANARY, action_id: 1 }),
  ]);
  await sql.rows("select ops.raise_alert(1, 'replies.learn_failed', 'conversation 42', $1, 'x')", [CANARY]);
  expect(await deliver(sql, { id: "half", body: `{"event": "contact_updated", "email": "${personal.email}"` })).toBe(
    "dead",
  );
  await customerWrites(sql, { id: 9201, conversation: 43, contact: 206, content: "Where is my parcel?", after: 30 });
  await agentWrites(sql, { id: 9202, conversation: 43, contact: 206, content: "On its way.", after: 90 });
  await refresh(sql);
}

/** Every number is made anew, from the beginning. */
async function refresh(sql: Sql): Promise<void> {
  await sql.rows(
    `select ledger.refresh(array(select row(account_id, display_id, '-infinity', '-infinity', '-infinity', now(), 0, null, null)::ledger.queue
      from chatwoot.conversations), now())`,
  );
  await sql.rows(
    `select sla.refresh(array(select row(account_id, display_id, 1, '-infinity', null, null)::sla.asked from chatwoot.conversations), now())`,
  );
}

async function numbers(sql: Sql): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const view of NUMBERS) {
    // Numbers of rows are given out anew when a log is; what is learnt says when.
    const rows = await sql.rows(
      `select to_jsonb(rows) - 'contact_name' as row from ${view} as rows where account_id = 1 order by 1`,
    );
    found[view] = rows.map(({ row }) => row);
  }
  return found;
}

/** Every column of every table in which the text still stands. */
async function placesOf(sql: Sql, text: string): Promise<string[]> {
  const columns = await sql.rows<{ relation: string; name: string; type: string }>(
    `select attributes.attrelid::regclass::text as relation, quote_ident(attributes.attname) as name, attributes.atttypid::regtype::text as type
    from pg_attribute as attributes join pg_class as tables on tables.oid = attributes.attrelid
    where tables.relkind = 'r' and tables.relnamespace::regnamespace::text = any ($1) and attributes.attnum > 0
      and not attributes.attisdropped and attributes.atttypid::regtype::text !~ '^(bigint|integer|smallint|boolean|timestamp|double|numeric|interval|date)'
    order by 1, 2`,
    [ROOMS],
  );
  expect(columns.length).toBeGreaterThan(200);
  const places: string[] = [];
  for (const { relation, name, type } of columns) {
    const found = type === "bytea"
      ? `position(convert_to($1, 'UTF8') in ${name}) > 0`
      : `position(lower($1) in lower(${name}::text)) > 0`;
    if (await sql.value(`select exists (select from ${relation} where ${found})`, [text])) {
      places.push(`${relation}.${name}`);
    }
  }
  return places;
}

const erase = (sql: Sql, dryRun = false) => sql.value<Payload>("select api.erase_contact(1, 205, $1)", [dryRun]);

describe("erasing a customer", () => {
  test("leaves nothing personal anywhere, and every number as it was", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      const before = await numbers(sql);
      expect((await placesOf(sql, CANARY)).length).toBeGreaterThan(12);

      const receipt = await erase(sql);

      expect(await placesOf(sql, CANARY)).toEqual([]);
      expect(await placesOf(sql, "+4930123456")).toEqual([]);
      expect(await numbers(sql)).toEqual(before);
      await refresh(sql);
      expect(await numbers(sql)).toEqual(before);
      expect(before["analytics.draft_performance"]).not.toEqual([]);
      expect(before["analytics.sla_clocks"]).not.toEqual([]);
      expect(receipt).toMatchObject({
        kind: "contact",
        subject_id: 205,
        conversations: 1,
        is_dry_run: false,
        deleted: { "chatwoot.contacts": 1, "chatwoot.conversations": 1, "chatwoot.messages": 6, "replies.drafts": 2 },
      });
    }));

  test("says first what it would delete, and changes nothing", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      const places = await placesOf(sql, CANARY);

      const told = await erase(sql, true);

      expect(await placesOf(sql, CANARY)).toEqual(places);
      expect(await sql.rows("select from ops.erasures")).toEqual([]);
      const { deleted } = await erase(sql);
      expect(told).toMatchObject({ is_dry_run: true, deleted: deleted as Payload });
    }));

  test("leaves a receipt that the decision log vouches for, without personal data", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);

      const receipt = await erase(sql);

      const [kept] = await sql.rows("select * from api.erasures");
      expect(kept).toMatchObject({
        kind: "contact",
        subject_id: "205",
        deleted: receipt.deleted,
        sha256: receipt.sha256,
      });
      const [entry] = await sql.rows("select * from api.decision_log where action = 'contact.erased'");
      expect(entry).toMatchObject({
        subject: "contact:205",
        outcome: "done",
        evidence: { receipt_sha256: receipt.sha256 },
      });
      expect(await sql.rows("select first_broken_entry from audit.verify(1)")).toEqual([{ first_broken_entry: null }]);
    }));

  test("once more finds nothing and writes nothing", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await erase(sql);

      expect(await erase(sql)).toMatchObject({ deleted: {}, conversations: 1 });
      expect(await sql.rows("select from ops.erasures")).toHaveLength(1);
    }));

  test("leaves everybody else alone", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      const others = () =>
        sql.rows(
          `select to_jsonb(rows) from chatwoot.messages as rows where conversation_display_id = 43
          union all select to_jsonb(rows) from chatwoot.contacts as rows where contact_id = 206
          union all select to_jsonb(rows) - 'body' from inbox.deliveries as rows where encode(body, 'escape') like '%"id":43,%' order by 1`,
        );
      const before = await others();
      expect(before.length).toBeGreaterThan(4);

      await erase(sql);

      expect(await others()).toEqual(before);
    }));

  test("is for admins; a customer who is not there is refused", () =>
    database.rolledBack(async (sql) => {
      const stranger = "00000000-0000-4000-8000-00000000000a";
      await sql.as("authenticated", stranger, () => sql.throws("OC403", "select api.erase_contact(1, 205, false)"));
      await sql.throws("OC404", "select api.erase_contact(1, 205, false)");
    }));

  test("leaves a promise that still runs as it was, though what it rested on is gone", () =>
    database.rolledBack(async (sql) => {
      await promise(sql);
      await customerWrites(sql, dana(9101, REFUND, 0));
      const clocks = () =>
        sql.rows("select state, target_seconds, applied_at, due_at from sla.clocks where display_id = 42");
      const before = await clocks();
      expect(before).toMatchObject([{ target_seconds: 60 }]);

      await erase(sql);
      await sql.rows(
        "select sla.refresh(array[row(1, 42, 1, '-infinity', null, null)::sla.asked], now() + interval '1 minute')",
      );
      await sql.rows(
        "select sla.refresh(array[row(1, 42, 1, '-infinity', null, null)::sla.asked], now() + interval '2 minutes')",
      );

      expect(await clocks()).toEqual(before);
    }));

  test("waits until what is being sent has been", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await sql.rows(
        "update actions.outbox set state = 'sending', settled_at = null, leased_until = now() where kind = 'reply'",
      );

      await sql.throws("OC409", "select api.erase_contact(1, 205, false)");
    }));

  test("withdraws a draft and a reply that nobody sent yet", () =>
    database.rolledBack(async (sql) => {
      await goldReply(sql);
      await customerWrites(sql, dana(9101, REFUND, 0));
      await sql.rows(`select actions.enqueue(1, 42, 'reply', '{"content": "${CANARY}"}', null, now())`);

      await erase(sql);

      expect((await draftsOf(sql)).map(({ state }) => state)).toEqual(["superseded"]);
      expect(await sql.rows("select distinct state from actions.outbox where kind = 'reply'")).toEqual([{
        state: "cancelled",
      }]);
      expect(await placesOf(sql, CANARY)).toEqual([]);
    }));
});

describe("after that", () => {
  test("webhooks about the customer bring numbers and no words", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await erase(sql);

      await customerWrites(sql, dana(9107, `Again ${CANARY}`, 500));
      await customerWrites(sql, { ...dana(9301, CANARY, 510), conversation: 44 });
      await customerWrites(sql, { ...dana(9101, `${REFUND} ${CANARY} edited`, 520), event: "message_updated" });
      expect(
        await deliver(sql, { id: "late", body: { event: "contact_updated", ...personal, changed_attributes: [] } }),
      ).toBe("applied");

      expect(await placesOf(sql, CANARY)).toEqual([]);
      expect(await sql.value("select count(*)::int from chatwoot.messages where message_id in (9107, 9301)")).toBe(2);
      expect(await sql.rows("select display_id::int from chatwoot.erased_conversations order by 1")).toEqual([{
        display_id: 42,
      }, { display_id: 44 }]);
      expect(await sql.value("select customer_messages from analytics.conversations where display_id = 42")).not
        .toBeNull();
    }));

  test("a sync that reads the customer again brings no words", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await erase(sql);

      await sql.rows(
        `select chatwoot.merge_contacts(array[jsonb_populate_record(null::chatwoot.contacts, $1)], now() + interval '1 day')`,
        [JSON.stringify({ ...personal, account_id: 1, contact_id: 205, version_at: new Date((BEGIN + 900) * 1000) })],
      );
      await sql.rows(
        `select chatwoot.merge_messages(array[jsonb_populate_record(null::chatwoot.messages, $1)], now() + interval '1 day')`,
        [
          JSON.stringify({
            ...{
              account_id: 1,
              message_id: 9101,
              conversation_display_id: 42,
              content: CANARY,
              message_type: "incoming",
            },
            ...{ sender_kind: "contact", sender_id: 205, content_attributes: { text: CANARY }, attachments: [file] },
            ...{ version_at: new Date((BEGIN + 900) * 1000), created_at: new Date(BEGIN * 1000) },
          }),
        ],
      );

      expect(await placesOf(sql, CANARY)).toEqual([]);
    }));
});

describe("and in Chatwoot", () => {
  test("deleting the customer there too moves no number", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await erase(sql);
      const before = await numbers(sql);

      await sql.rows("select chatwoot.bury('conversation', 1, 42, now()), chatwoot.bury('contact', 1, 205, now())");

      await refresh(sql);
      expect(await numbers(sql)).toEqual(before);
      expect(await sql.value("select deleted_at from chatwoot.conversations where display_id = 42")).toBeNull();
    }));

  test("a comparison with Chatwoot passes over them, and over nobody else", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await erase(sql);
      const differing = (entity: string, ids: number[]) =>
        sql.value(`select sync.compare(1, 1, 'rest', '2026-11-20', $1, $2, array_fill($3::jsonb, array[2]), '{}')`, [
          entity,
          ids,
          JSON.stringify({ additional_attributes: { city: CANARY } }),
        ]);
      await sql.rows(
        `insert into sync.verifications (account_id, verification_id, door, since, until, state, cursor, requested_at, requested_by)
        overriding system value values (1, 1, 'rest', now() - interval '1 day', now(), 'queued', '{}', now(), 'test')`,
      );

      expect(await differing("contacts", [205, 206])).toEqual(["206"]);
      expect(await differing("conversations", [42, 43])).toEqual(["43"]);
      expect(await differing("messages", [9101, 9201])).toEqual(["9201"]);
    }));
});

describe("removing an account", () => {
  test("leaves its decision log and its receipts, and nothing else; other accounts stay", () =>
    database.rolledBack(async (sql) => {
      await begin(sql);
      await customerWrites(sql, { account: 2, id: 1, conversation: 7, content: "Another shop's customer" });
      await sql.rows(
        "select vault.create_secret('x', 'chatwoot_api_token_1'), vault.create_secret('y', 'chatwoot_api_token_12')",
      );
      const entries = await sql.value<string>("select max(entry) from audit.decision_log where account_id = 1");
      await sql.throws("OC422", "select api.erase_account(1, 'yes')");

      const receipt = await sql.value<Payload>("select api.erase_account(1, 'erase account 1')");

      const left = await sql.rows<{ name: string }>(
        `select relation.name from (select attributes.attrelid::regclass::text as name from pg_attribute as attributes
          join pg_class as tables on tables.oid = attributes.attrelid where tables.relkind = 'r' and attributes.attname = 'account_id'
          and tables.relnamespace::regnamespace::text = any ($1)) as relation
        where (xpath('/row/found/text()', query_to_xml(format('select exists (select from %s where account_id = 1) as found', relation.name),
          true, true, '')))[1]::text = 'true' order by 1`,
        [ROOMS],
      );
      expect(left.map(({ name }) => name)).toEqual(["audit.chain_heads", "audit.decision_log", "ops.erasures"]);
      expect(await sql.rows("select from chatwoot.messages where account_id = 2")).toHaveLength(1);
      expect(await sql.rows("select name from vault.secrets where name like 'chatwoot_api_token_1%'")).toEqual([{
        name: "chatwoot_api_token_12",
      }]);
      expect(await sql.rows("select entries::int, first_broken_entry from audit.verify(1)")).toEqual([
        { entries: Number(entries) + 1, first_broken_entry: null },
      ]);
      expect(receipt).toMatchObject({ kind: "account", deleted: { "chatwoot.conversations": 2, "vault.secrets": 1 } });
      expect(await sql.value("select api.erase_account(1, 'erase account 1')")).toMatchObject({ deleted: {} });
    }));

  test("needs the secret key", () =>
    database.rolledBack(async (sql) => {
      const admin = "00000000-0000-4000-8000-00000000000a";
      await sql.as("authenticated", admin, () => sql.throws("42501", "select api.erase_account(1, 'erase account 1')"));
    }));
});
