// Older and newer versions of Chatwoot, and rows that no version should hold.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";
import { add, addBasics, AT, makeTables, message, mirrored, setSource, source, tick } from "./sync-database.support.ts";

const NOW = new Date("2026-11-20T10:00:00Z");
const later = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000);

const columns = useDatabase();

test(
  "any column but the keys, and any table but conversations, may be missing: noted, and read as what it meant",
  async () => {
    const client = await columns.connect();
    await makeTables(client);
    await addBasics(client);
    await setSource(client);
    await tick(client, NOW);
    expect((await source(client)).cursor).not.toHaveProperty("drift");
    const { rows } = await client.query("select relation, name, absent from sync.database_columns()");
    const drops = [
      ...rows.filter(({ absent }) => absent !== null).map(({ relation, name }) => ({
        sql: `alter table ${relation} drop column ${name} cascade`,
        note: `${relation}.${name} is missing`,
      })),
      ...[...new Set(rows.map(({ relation }) => relation))].filter((name) => name !== "conversations").map((name) => ({
        sql: `drop table ${name} cascade`,
        note: `table ${name} is missing`,
      })),
      ...rows.filter(({ absent, relation }) => absent === null && relation !== "conversations").map((
        { relation, name },
      ) => ({ sql: `alter table ${relation} drop column ${name} cascade`, note: `table ${relation} lacks ${name}` })),
    ];

    for (const { sql, note } of drops) {
      await client.query("begin");
      await client.query(sql);
      const { rows: [{ plan }] } = await client.query("select sync.database_plan('public') as plan");
      expect(plan.drift, sql).toEqual([expect.stringContaining(note)]);
      for (const task of ["accounts", "inboxes", "user", "agent_bot", "teams", "labels", ...TABLES]) {
        for (const place of TABLES.includes(task) ? ["{}", '{"phase": "sweep"}'] : ["{}"]) {
          const { rows: [step] } = await client.query("select * from sync.database_step(1, $1, $2, $3, $4)", [
            task,
            later(1),
            plan,
            place,
          ]);
          expect(step.problem, `${sql}: ${task}`).toBe(null);
        }
      }
      expect(await mirrored(client, "conversations", "display_id", 1), sql).toMatchObject({ deleted_at: null });
      await client.query("rollback");
    }
  },
  120_000,
);

const TABLES = ["contacts", "conversations", "messages", "csat_responses", "reporting_events"];

const old = useDatabase();

const people = useDatabase();

test("whether somebody is available is known where the tables alone decide it", async () => {
  const client = await people.connect();
  await makeTables(client);
  await addBasics(client);
  await setSource(client);
  const told = async (change: string, minutes: number) => {
    await client.query(`update account_users set ${change} where user_id = 7`);
    await tick(client, later(minutes));
    const { rows } = await client.query(
      "select availability from chatwoot.agents where kind = 'user' and agent_id = 7",
    );
    expect((await source(client)).problem).toBe(null);
    return rows.map(({ availability }) => availability);
  };

  // With auto_offline, as Chatwoot has it, whoever is not signed in is shown as offline.
  expect(await told("availability = 0, auto_offline = true", 0)).toEqual([null]);
  expect(await told("availability = 0, auto_offline = false", 1)).toEqual(["online"]);
  expect(await told("availability = 2", 2)).toEqual(["busy"]);
  expect(await told("availability = 1, auto_offline = true", 3)).toEqual(["offline"]);
  expect(await told("availability = 2", 4)).toEqual([null]);

  await client.query("alter table account_users drop column availability, drop column auto_offline");
  await tick(client, later(5));

  expect(await source(client)).toMatchObject({
    problem: null,
    cursor: {
      drift: [
        "account_users.auto_offline is missing: read as null",
        "account_users.availability is missing: read as null",
      ],
    },
  });
});

test("an old Chatwoot is read, and what an upgrade brings is found at the next tick", async () => {
  const client = await old.connect();
  await makeTables(client);
  await addBasics(client);
  for (
    const column of [
      "conversations.waiting_since",
      "conversations.first_reply_created_at",
      "conversations.assignee_agent_bot_id",
      "conversations.cached_label_list",
      "contacts.blocked",
      "reporting_events.value_in_business_hours",
    ]
  ) await client.query(`alter table ${column.replace(".", " drop column ")}`);
  await client.query("drop table csat_survey_responses");
  await setSource(client);

  await tick(client, NOW);

  expect((await source(client)).problem).toBe(null);
  expect((await source(client)).cursor.drift).toEqual([
    "contacts.blocked is missing: read as false",
    "conversations.assignee_agent_bot_id is missing: read as null",
    "conversations.cached_label_list is missing: read as null",
    "conversations.first_reply_created_at is missing: read as null",
    "conversations.waiting_since is missing: read as null",
    "reporting_events.value_in_business_hours is missing: read as null",
    "table csat_survey_responses is missing: nothing is read of it",
  ]);
  expect(await mirrored(client, "contacts", "contact_id", 205)).toMatchObject({ blocked: false });
  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({
    waiting_since: null,
    assignee_kind: "user",
    assignee_id: 7,
    contact_source_id: "visit-1",
    labels: [],
  });

  await client.query(`alter table conversations add waiting_since timestamp(6) default '${AT}'`);
  await client.query("alter table contacts add blocked boolean not null default true");
  await tick(client, later(1));

  expect(await mirrored(client, "contacts", "contact_id", 205)).toMatchObject({ blocked: true });
  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({
    waiting_since: "2026-11-20T09:00:00+00:00",
  });
  expect((await source(client)).cursor.drift).toHaveLength(5);
});

test("without taggings, labels come from the list that conversations keep", async () => {
  const client = await old.connect();
  await client.query("drop table taggings");
  await client.query("alter table conversations add cached_label_list text default 'vip, billing, vip'");

  await tick(client, later(2));

  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({ labels: ["billing", "vip"] });
});

const empty = useDatabase();

test("tables of another Chatwoot bury nothing: the source fails and says why", async () => {
  const client = await empty.connect();
  await makeTables(client);
  await addBasics(client);
  await setSource(client);
  await tick(client, NOW);
  await client.query("truncate accounts, conversations, messages, contacts, inboxes, account_users");

  await tick(client, later(1));

  expect(await source(client)).toMatchObject({ problem: "OC404: There is no account 1 in schema public", failures: 1 });
  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({ deleted_at: null });
});

test("tables that went away altogether are a problem, not an empty Chatwoot", async () => {
  const client = await empty.connect();
  await client.query("drop table conversations cascade");

  await tick(client, later(60));

  expect((await source(client)).problem).toBe(
    "OC404: There are no tables of Chatwoot in schema public that can be read",
  );
  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({ deleted_at: null });
});

const hostile = useDatabase();

test("contents that jsonb cannot hold, and attributes that are no object, are read as far as they can be", async () => {
  const client = await hostile.connect();
  await makeTables(client);
  await addBasics(client);
  const twice = (text: string) => JSON.stringify(text);
  const rows: [number, string | null, unknown][] = [
    [9010, null, {}],
    [9011, '{"in_reply_to": 9001}', { in_reply_to: 9001 }],
    [9012, twice('{"in_reply_to": 9001}'), { in_reply_to: 9001 }],
    [9013, twice('{"text": "a\\u0000b"}'), { text: "a\ufffdb" }],
    [9014, twice('{"text": "half \\ud83d"}'), { text: "half \ufffd" }],
    [9015, '{"text": "a\\u0000b \\udc00"}', { text: "a\ufffdb \ufffd" }],
    [9016, twice('{"text": "whole \\ud83d\\ude00, \\\\u0000"}'), { text: "whole 😀, \\u0000" }],
    [9017, twice("not json at all"), {}],
    [9018, "[1, 2]", {}],
    [9019, '"\\u0000"', {}],
    [9020, twice('{"deep": ' + "[".repeat(20_000) + "]".repeat(20_000) + "}"), {}],
    [9021, twice('{"number": 1e400000}'), {}],
    [9022, '""', {}],
    [9023, "null", {}],
    [9024, twice(twice('{"thrice": 1}')), {}],
  ];
  for (const [id, attributes] of rows) {
    await add(client, "messages", message({ id, content: "x", content_attributes: attributes }));
  }
  await setSource(client);

  await tick(client, NOW);

  expect((await source(client)).problem).toBe(null);
  for (const [id, , expected] of rows) {
    expect((await mirrored(client, "messages", "message_id", id))?.content_attributes, String(id)).toEqual(expected);
  }
});

test("texts, senders, kinds and files of every sort", async () => {
  const client = await hostile.connect();
  const huge = "lorem ".repeat(300_000);
  await add(client, "messages", message({ id: 9100, content: huge }));
  await add(client, "messages", message({ id: 9101, content: "one\\\ntwo\r\n\n" }));
  await add(
    client,
    "messages",
    message({ id: 9102, content: null, message_type: 2, sender_type: null, sender_id: null }),
  );
  await add(client, "messages", message({ id: 9103, content: "a", sender_type: "Captain::Assistant", sender_id: 1 }));
  await add(client, "messages", message({ id: 9104, content: "b", sender_type: "Some::NewThing", sender_id: 2 }));
  await add(client, "messages", message({ id: 9105, content: "c", sender_type: "", sender_id: 2 }));
  await add(client, "messages", message({ id: 9106, content: "d", sender_type: "User", sender_id: null }));
  await add(client, "messages", message({ id: 9107, content: "e", content_type: 99, status: 77 }));
  await add(client, "messages", message({ id: 9108, content: "f", message_type: 9 }));
  await add(client, "messages", message({ id: 9109, content: "g", conversation_id: 123456 }));
  await add(client, "messages", message({ id: 9110, content: "h", content_attributes: '{"deleted": true}' }));
  await add(client, "attachments", { id: 12, message_id: 9107, account_id: 1, file_type: 99, extension: "" });
  await add(client, "attachments", { id: 11, message_id: 9107, account_id: 1, file_type: 3, extension: "pdf" });

  await tick(client, later(1));

  expect((await source(client)).problem).toBe(null);
  const row = (id: number) => mirrored(client, "messages", "message_id", id);
  expect((await row(9100))?.content).toBe(huge);
  expect(await row(9101)).toMatchObject({ content: "one\ntwo" });
  expect(await row(9102)).toMatchObject({
    content: null,
    message_type: "activity",
    sender_kind: null,
    sender_id: null,
  });
  expect(await row(9103)).toMatchObject({ sender_kind: "captain_assistant", sender_id: 1 });
  expect(await row(9104)).toMatchObject({ sender_kind: "some_new_thing", sender_id: 2 });
  expect(await row(9105)).toMatchObject({ sender_kind: null, sender_id: null });
  expect(await row(9106)).toMatchObject({ sender_kind: null, sender_id: null });
  expect(await row(9107)).toMatchObject({
    content_type: "unknown_99",
    delivery_status: null,
    attachments: [{ id: 11, file_type: "file", extension: "pdf" }, {
      id: 12,
      file_type: "unknown_99",
      extension: null,
    }],
  });
  // Of a kind that is not known, and of a conversation that is not there.
  expect(await row(9108)).toBe(null);
  expect(await row(9109)).toBe(null);
  expect(await row(9110)).toMatchObject({ deleted_at: "2026-11-20T09:00:00.123456+00:00" });
  expect((await source(client)).cursor.messages.skipped).toBe(2);

  await tick(client, later(2));
  expect((await source(client)).cursor.drift).toEqual([
    "messages: 2 rows left out, of a kind that is not known or of a conversation that is not there",
  ]);
});

test("one row that the mirror refuses is left out and named; its neighbours are read", async () => {
  const client = await hostile.connect();
  await client.query("alter table chatwoot.messages add constraint test_only check (content <> 'poison')");
  const ids = Array.from({ length: 40 }, (_, index) => 9200 + index);
  for (const id of ids) await add(client, "messages", message({ id, content: id === 9217 ? "poison" : "fine" }));

  await tick(client, later(3));

  expect((await source(client)).problem).toBe(null);
  const { rows } = await client.query(
    "select count(*)::integer as found from chatwoot.messages where content = 'fine'",
  );
  expect(rows).toEqual([{ found: 39 }]);
  await tick(client, later(4));
  expect((await source(client)).cursor.drift).toContainEqual(
    expect.stringMatching(/^messages: a row after 9216 does not fit and is left out \(23514: .*test_only/),
  );
});

test("a conversation of unknown status is left out with its messages, and a known one keeps what it had", async () => {
  const client = await hostile.connect();
  await add(client, "conversations", { id: 901, account_id: 1, inbox_id: 3, contact_id: 205, status: 8 });
  await add(client, "messages", message({ id: 9300, conversation_id: 901, content: "x" }));
  await client.query("update public.conversations set status = 9 where id = 900");

  await tick(client, later(5));

  expect((await source(client)).problem).toBe(null);
  expect(await mirrored(client, "conversations", "display_id", 2)).toBe(null);
  expect(await mirrored(client, "messages", "message_id", 9300)).toBe(null);
  expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({ status: "open", deleted_at: null });
});

test("nor does a comparison take for deleted what it cannot read", async () => {
  const client = await hostile.connect();
  await client.query("update public.messages set message_type = 7 where id = 9200");
  const before = await mirrored(client, "conversations", "display_id", 1);

  const { rows } = await client.query("select * from sync.verify(1, '2026-11-19', '2026-11-22', $1)", [later(10)]);

  expect(rows.length).toBeGreaterThan(0);
  expect(await mirrored(client, "conversations", "display_id", 1)).toEqual(before);
  expect(await mirrored(client, "messages", "message_id", 9200)).toMatchObject({ deleted_at: null, content: "fine" });
  expect((await client.query("select from sync.differences where kind = 'surplus'")).rows).toEqual([]);
});

const poisoned = useDatabase();

test("a day that cannot be compared is named after three tries, without a value; the others are compared", async () => {
  const client = await poisoned.connect();
  await makeTables(client);
  await addBasics(client);
  await add(client, "conversations", {
    id: 901,
    account_id: 1,
    inbox_id: 3,
    contact_id: 205,
    created_at: "2026-11-21 09:00:00",
  });
  await add(client, "messages", message({ id: 9002, conversation_id: 901, content: "fine" }));
  await setSource(client);
  await tick(client, NOW);
  await client.query("alter table chatwoot.messages add constraint test_only check (content <> 'poison')");
  await client.query("update public.messages set content = 'poison' where id = 9001");
  await client.query("update chatwoot.messages set content = 'never said' where message_id = 9002");
  await client.query(
    `insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
    values (1, 'database', '2026-11-19', '2026-11-22', $1, 'rule:sync')`,
    [NOW],
  );

  await tick(client, later(1));

  expect(await source(client)).toMatchObject({ failures: 0, problem: null });
  const { rows } = await client.query("select state, problem from sync.verifications");
  expect(rows).toEqual([{ state: "failed", problem: expect.stringMatching(/2026-11-20 \(23514 test_only\)/) }]);
  expect(rows[0].problem).not.toMatch(/poison|2026-11-21/);
  expect(await mirrored(client, "messages", "message_id", 9002)).toMatchObject({ content: "fine" });

  const asked = await client.query("select state from sync.verify(1, '2026-11-19', '2026-11-22', $1)", [later(2)]);
  expect(asked.rows[0]).toEqual({ state: "failed" });
});

const strangers = useDatabase();

test("a column of a type that is not Postgres's own is not read, since reading it could run anything", async () => {
  const client = await strangers.connect();
  await makeTables(client);
  await addBasics(client);
  await client.query("create table public.ran (by text)");
  await client.query("create type public.sly as enum ('Dana')");
  await client.query(`create function public.run(sly) returns text language sql as
    $$ insert into public.ran values (current_user); select 'Dana'::text $$`);
  await client.query("create cast (sly as text) with function public.run(sly) as assignment");
  await client.query("alter table contacts alter name drop default, alter name type sly using name::text::sly");
  await client.query("delete from public.ran");
  // Nor is what stands beside the tables taken for ours.
  await client.query(
    "create view public.source_indexes as select public.run('Dana') as tablename, ''::text as schemaname, ''::text as indexdef",
  );
  await setSource(client);

  await tick(client, NOW);

  expect((await client.query("select * from public.ran")).rows).toEqual([]);
  expect(await source(client)).toMatchObject({ problem: null });
  expect((await source(client)).cursor.drift).toEqual([
    "contacts.name has a type that is not Postgres's own: read as null",
  ]);
});

test("tables of a role without our rights are not read: whoever owns a table runs code in those who read it", async () => {
  const client = await strangers.connect();
  const admin = await strangers.connect("supabase_admin");
  const role = `chatwoot_${randomUUID().slice(0, 8)}`;
  await admin.query(`create role ${role}`);
  try {
    await admin.query(`alter table public.labels owner to ${role}`);
    await tick(client, later(1));
    expect(await source(client)).toMatchObject({ problem: null });
    expect((await source(client)).cursor.drift).toContain(
      `table labels belongs to ${role}, which does not have the rights of postgres: nothing is read of it`,
    );

    await admin.query(`alter table public.labels owner to postgres; alter schema public owner to ${role}`);
    await tick(client, later(2));
    expect(await source(client)).toMatchObject({
      problem: "OC404: There are no tables of Chatwoot in schema public that can be read",
      hint: expect.stringContaining(`belongs to ${role}`),
    });

    await admin.query(`grant postgres to ${role}`);
    await tick(client, later(20));
    expect(await source(client)).toMatchObject({ problem: null });
  } finally {
    await admin.query(`alter schema public owner to pg_database_owner; drop role ${role}`);
  }
});
