// A Chatwoot in this very database: what of it the Data API could reach, and the proof that the mirror is equal to it.
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { openMemory } from "../../local/chatwoot/memory.ts";
import { useDatabase } from "../support/database.ts";
import { addBasics, differences, makeTables, setSource, source, tick } from "./sync-database.support.ts";

const START = new Date("2026-11-20T07:00:00Z");
const later = (instant: Date, seconds: number) => new Date(instant.getTime() + seconds * 1000);

const open = useDatabase();

test("everything that is open is listed with the statement that closes it, and nothing once they ran", async () => {
  const client = await open.connect();
  await makeTables(client);
  await client.query("grant select on messages to anon; grant select (name) on contacts to authenticated");
  await client.query("grant usage on sequence tags_id_seq to anon; grant update on teams to public");
  await client.query("create view everything as select * from users; grant select on everything to authenticated");
  await client.query("alter default privileges in schema public grant select on tables to anon");

  const { rows: found } = await client.query("select kind, name, role, privileges, remedy from sync.open_relations()");

  const listed = (kind: string, name: string, role: string) =>
    found.find((row) => row.kind === kind && row.name === name && row.role === role)?.privileges ?? "";
  expect(listed("table", "messages", "anon")).toMatch(/select/);
  expect(listed("table", "contacts", "authenticated")).toMatch(/select/);
  expect(listed("table", "teams", "anon")).toMatch(/update/);
  expect(listed("sequence", "tags_id_seq", "anon")).toMatch(/usage/);
  expect(listed("view", "everything", "authenticated")).toMatch(/select/);
  expect(listed("function", "public.accounts_after_insert_row_tr()", "anon")).toBe("execute");
  expect(listed("default privileges", "tables that postgres makes", "anon")).toMatch(/select/);

  for (const remedy of new Set(found.map((row) => row.remedy))) await client.query(remedy);

  expect((await client.query("select * from sync.open_relations()")).rows).toEqual([]);
  // Chatwoot itself works on, triggers included.
  await addBasics(client);
  await client.query("insert into tags (name) values ('vip')");
});

test("a schema that is not there has nothing open", async () => {
  const client = await open.connect();

  expect((await client.query("select * from sync.open_relations('nowhere')")).rows).toEqual([]);
});

const proof = useDatabase();

test("verifying compares every fact, heals whatever differs however it came about, and then finds nothing", async () => {
  const client = await proof.connect();
  const memory = await openMemory({ url: proof.url, installationOptions: { seed: 11, start: START } });
  const { events, installation } = historyOf({
    conversations: 20,
    events: 600,
    seed: 11,
    start: START,
    installation: memory.installation,
  });
  const last = [...events].at(-1)!.at;
  await memory.save();
  await setSource(client);
  await tick(client, later(last, 60));
  const [one, two, three] = (await client.query(
    "select message_id from chatwoot.messages where deleted_at is null order by md5(message_id::text) limit 3",
  )).rows.map(({ message_id }) => message_id);
  for (
    const change of [
      `update chatwoot.messages set content = 'never said', version_at = now() + interval '1 year' where message_id = ${one}`,
      `delete from chatwoot.csat_responses where message_id = ${two}`,
      `delete from chatwoot.messages where message_id = ${two}`,
      `delete from chatwoot.csat_responses where message_id = ${three}`,
      `update public.messages set content = 'changed in silence' where id = ${three}`,
      "update chatwoot.conversations set priority = 'urgent', labels = '{made up}' where display_id = 1",
      "update chatwoot.contacts set name = 'Nobody' where contact_id = (select min(contact_id) from chatwoot.contacts)",
      "select chatwoot.merge_conversation(1, 4711, jsonb_build_object('created_at', '2026-11-20T08:00:00Z'), now())",
    ]
  ) await client.query(change);

  const verify = "select * from sync.verify(1, '2026-11-19', '2026-11-23', $1)";
  const { rows: first } = await client.query(verify, [later(last, 120)]);
  const { rows: again } = await client.query(verify, [later(last, 7200)]);

  const sum = (rows: Record<string, unknown>[], column: string) =>
    rows.reduce((total, row) => total + Number(row[column]), 0);
  expect(first.every(({ state, is_equal }) => state === "done" && is_equal)).toBe(true);
  expect([sum(first, "differing"), sum(first, "healed")]).toEqual([6, 6]);
  // The hashes tell it without the counts: they part where something differed, and nowhere else.
  for (const row of [...first, ...again]) {
    expect(row.source_hash === row.mirror_hash, `${row.day} ${row.entity}`).toBe(Number(row.differing) === 0);
  }
  expect(sum(again, "differing")).toBe(0);
  expect(sum(again, "source_rows")).toBe(sum(again, "mirror_rows"));
  const { rows: kinds } = await client.query(
    "select entity, id::integer, kind, fields from sync.differences order by 1, 2",
  );
  expect(kinds).toEqual(expect.arrayContaining([
    { entity: "conversations", id: 1, kind: "different", fields: ["labels", "priority"] },
    { entity: "conversations", id: 4711, kind: "surplus", fields: null },
    { entity: "messages", id: Number(two), kind: "missing", fields: null },
    { entity: "messages", id: Number(one), kind: "different", fields: ["content"] },
  ]));
  await client.query("update public.messages set content = $1 where id = $2", [
    installation.state.messages.get(Number(three))?.content,
    three,
  ]);
  await tick(client, later(last, 10_000));
  expect(await differences(client, installation.finalState("database"))).toEqual([]);
  await memory.close();
});

test("a long range is gone on with by the ticks", async () => {
  const client = await proof.connect();
  const { rows: [{ id }] } = await client.query(
    `insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
    values (1, 'database', '2026-01-01', '2026-12-31', $1, 'test') returning verification_id as id`,
    [START],
  );

  await tick(client, later(START, 1_000_000));

  expect((await source(client)).problem).toBe(null);
  const { rows } = await client.query("select state from sync.verifications where verification_id = $1", [id]);
  expect(rows).toEqual([{ state: "done" }]);
});

test("comparisons of ten years leave the tick its end, the source its success and the others their turn", async () => {
  const client = await proof.connect();
  await client.query("create schema second");
  await makeTables(client, "second");
  await addBasics(client, { account: 2, schema: "second" });
  await setSource(client, "second", 2);
  for (let shift = 0; shift < 5; shift++) {
    await client.query(
      `insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
      values (1, 'database', '2016-11-20', '2026-11-20'::timestamptz + make_interval(secs => $2), $1, 'test')`,
      [START, shift],
    );
  }
  await client.query("set statement_timeout = '20s'");
  const now = later(START, 2_000_000);

  await tick(client, now, "1 second");

  expect(await source(client)).toMatchObject({ failures: 0, problem: null, last_success_at: now, changed_until: now });
  expect(await source(client, 2)).toMatchObject({ failures: 0, last_success_at: now });
  const { rows } = await client.query(
    "select state, cursor from sync.verifications where finished_at is null order by verification_id",
  );
  expect(rows).toHaveLength(5);
  expect(rows[0]).toMatchObject({ state: "running", cursor: { day: expect.any(String) } });
  await client.query("delete from sync.verifications where finished_at is null");
}, 30_000);

test("a paused source is not read, not even for a comparison that was asked for before", async () => {
  const client = await proof.connect();
  await client.query("select api.set_rest_source(1, 'https://chat.acme.example')");
  const ask = "select * from sync.verify(1, '2026-11-19', '2026-11-24', $1)";
  await client.query(
    `insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
    values (1, 'database', '2026-11-19', '2026-11-24', $1, 'test')`,
    [START],
  );
  await client.query("select api.pause_sync(1, 'database')");

  const { rows } = await client.query(ask, [later(START, 3_000_000)]);

  expect(rows.map(({ door, state }) => `${door} ${state}`)).toEqual(["database queued", "rest queued"]);
});
