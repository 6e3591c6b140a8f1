// Tables too large to be compared whole at every tick: what finds which change, and how soon.
import type { Client } from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";
import { add, addBasics, makeTables, message, mirrored, setSource, source, tick } from "./sync-database.support.ts";

const database = useDatabase();
const NOW = new Date("2026-11-20T10:00:00Z");
let minutes = 0;
const next = () => new Date(NOW.getTime() + ++minutes * 60_000);
const MANY = 45_000;

let client: Client;
const content = async (id: number) => (await mirrored(client, "messages", "message_id", id))?.content;
const change = (sql: string) => client.query(sql);

/** Until Postgres has counted what this connection wrote, which it otherwise does some seconds later. */
const counted = () => client.query("select pg_stat_force_next_flush()");

async function tickUntil(isTrue: () => Promise<boolean>, most: number): Promise<number> {
  for (let ticks = 1; ticks <= most; ticks++) {
    await tick(client, next());
    if (await isTrue()) return ticks;
  }
  return Infinity;
}

beforeAll(async () => {
  client = await database.connect();
  await makeTables(client);
  await addBasics(client);
  await change(`insert into messages (id, account_id, inbox_id, conversation_id, message_type, content, sender_type,
      sender_id, created_at, updated_at)
    select 10000 + number, 1, 3, 900, 0, 'Message ' || number, 'Contact', 205, instant, instant
    from generate_series(1, ${MANY}) as numbers (number),
      lateral (select timestamp '2026-11-20 09:01:00' + number * interval '1 millisecond' as instant) as instants`);
  await change("select setval('messages_id_seq', 100000)");
  await counted();
  await setSource(client);
  await tick(client, next());
  expect(await source(client)).toMatchObject({ problem: null, backfill_finished_at: expect.anything() });
  // Until the table was once compared whole, and nothing waits to be read again.
  await tickUntil(async () => (await source(client)).cursor.messages.swept_at !== undefined, 10);
  await tick(client, next());
  await tick(client, next());
}, 60_000);

describe.sequential("a table of 45,000 messages", () => {
  test("is left alone while nothing is written to it", async () => {
    const before = (await source(client)).cursor;
    const reads =
      "select idx_tup_fetch + seq_tup_read as rows from pg_stat_user_tables where relname = 'messages' and schemaname = 'public'";
    await counted();
    const { rows: [{ rows: first }] } = await client.query(reads);

    const now = next();
    await tick(client, now);

    await counted();
    const { rows: [{ rows: last }] } = await client.query(reads);
    expect((await source(client)).cursor).toEqual(before);
    expect(await source(client)).toMatchObject({ changed_until: now, problem: null });
    expect(Number(last) - Number(first)).toBeLessThan(100);
  });

  test("new rows are found at the next tick, with their conversation and its contact", async () => {
    await change("update conversations set priority = 3, updated_at = '2026-11-20 10:30:00'");
    await change("update contacts set name = 'Dana D.', updated_at = '2026-11-20 10:30:00'");
    const id = await add(client, "messages", message({ content: "new" }));

    await tick(client, next());

    expect(await content(id)).toBe("new");
    expect(await mirrored(client, "conversations", "display_id", 1)).toMatchObject({ priority: "urgent" });
    expect(await mirrored(client, "contacts", "contact_id", 205)).toMatchObject({ name: "Dana D." });
  });

  test("a row that was committed after later ones is found within two minutes", async () => {
    const [slow, quick] = [200_001, 200_002];
    await add(client, "messages", message({ id: quick, content: "quick" }));
    await tick(client, next());
    expect(await content(quick)).toBe("quick");
    await add(client, "messages", message({ id: slow, content: "slow" }));

    await tick(client, next());

    expect(await content(slow)).toBe("slow");
  });

  test("without an index on updated_at, recent rows are read again at the next tick", async () => {
    await change("update messages set content = 'edited', updated_at = '2026-11-20 10:40:00' where id = 54900");
    await counted();

    await tick(client, next());

    expect(await content(54_900)).toBe("edited");
  });

  test("and old ones, silent changes and deletions within a few ticks", async () => {
    await change("update messages set content = 'old and edited', updated_at = '2026-11-20 10:41:00' where id = 10010");
    await change("update messages set content = 'changed in silence' where id = 32000");
    await change("delete from messages where id = 45000");
    await counted();

    expect(
      await tickUntil(
        async () =>
          await content(10_010) === "old and edited" && await content(32_000) === "changed in silence" &&
          (await mirrored(client, "messages", "message_id", 45_000))?.deleted_at !== null,
        6,
      ),
    ).toBeLessThanOrEqual(6);

    expect((await mirrored(client, "messages", "message_id", 44_999))?.deleted_at).toBe(null);
  });

  test("what is missing is named as statements to run, and none once they ran", async () => {
    const { rows } = await client.query("select * from sync.missing_indexes(1)");
    expect(rows).toContainEqual({
      relation: "messages",
      statement:
        "create index concurrently if not exists index_messages_on_updated_at on public.messages (updated_at);",
    });
    for (const { statement } of rows) await change(statement);

    expect((await client.query("select * from sync.missing_indexes(1)")).rows).toEqual([]);
  });

  test("with the index, any change that moves updated_at is found at the next tick", async () => {
    await tick(client, next());
    await change("update messages set content = 'edited again', updated_at = '2026-11-20 11:30:00' where id = 10020");

    const now = next();
    await tick(client, now);

    expect(await content(10_020)).toBe("edited again");
    expect(await source(client)).toMatchObject({ changed_until: now, problem: null });
  });

  test("many changes of one instant are all found", async () => {
    await change("update messages set content = 'all at once', updated_at = '2026-11-20 11:31:00' where id <= 30000");

    await tick(client, next());

    const { rows } = await client.query(
      "select count(*)::integer as found from chatwoot.messages where content = 'all at once'",
    );
    expect(rows).toEqual([{ found: 20_001 }]);
  });
});
