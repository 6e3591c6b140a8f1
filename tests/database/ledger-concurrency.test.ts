// Several at once on one ledger, work that is stopped halfway, and a thread so long that nobody may read it twice.
import type { Client } from "pg";
import { expect, test } from "vitest";
import { conversation, conversationEvent, iso, messageEvent, type Payload, START } from "../fixtures/webhooks.ts";
import { useDatabase } from "../support/database.ts";
import { deliver } from "./deliver.ts";
import { ledger, queued, refreshAll, unlike } from "./ledger-doors.support.ts";

const database = useDatabase();

let number = 0;
const tell = async (client: Client, payload: Payload): Promise<void> => {
  expect(await deliver(client, { id: `told-${++number}`, body: payload })).toBe("applied");
};

/** A message of that conversation, so many seconds after the start. */
function message(display_id: number, id: number, after: number, isReply = false): Payload {
  return messageEvent("message_created", {
    id,
    created_at: iso(START + after),
    ...(isReply
      ? { message_type: "outgoing", sender: { id: 7, name: "Ravi Shah", email: "ravi@acme.example", type: "user" } }
      : {}),
    conversation: conversation({ id: display_id, updated_at: START + after + 0.1, messages: [] }),
  });
}

async function begin(client: Client, display_id: number): Promise<void> {
  await tell(client, conversationEvent("conversation_created", { id: display_id, messages: [] }));
  await tell(client, message(display_id, 100 * display_id, 1));
}

async function isRight(client: Client, display_id: number, expected: Record<string, unknown>): Promise<void> {
  expect((await queued(client)).filter((row) => row.display_id === String(display_id))).toEqual([]);
  const { rows } = await client.query("select * from analytics.episodes where display_id = $1", [display_id]);
  expect(rows).toMatchObject([expected]);
  const before = await ledger(client, { conversation: display_id, isExact: true });
  await refreshAll(client, display_id);
  expect(unlike(before, await ledger(client, { conversation: display_id, isExact: true }))).toEqual([]);
}

test("two webhooks of one conversation at once: the second waits for the first, and counts both", async () => {
  const [one, other] = await Promise.all([database.connect(), database.connect()]);
  await begin(one, 1);
  await one.query("begin");
  await tell(one, message(1, 101, 61, true));
  const second = tell(other, message(1, 102, 121));
  await database.untilWaiting(other);
  await one.query("commit");
  await second;
  await isRight(one, 1, { frt: 60, customer_messages: 2, human_replies: 1, waiting: true });
});

test("one message id told of two conversations at once: they take turns instead of locking each other out", async () => {
  const [one, other, holder] = await Promise.all([database.connect(), database.connect(), database.connect()]);
  await begin(one, 2);
  await begin(one, 3);
  // The message is the second conversation's, and whoever moves it counts both anew. Of people and an inbox, which the two
  // would take turns at already, nothing is told.
  const nobody = { account: { id: 1 }, inbox: null, sender: null };
  const told = (display_id: number) =>
    messageEvent("message_updated", {
      ...nobody,
      id: 200,
      conversation: { id: display_id, status: "resolved", updated_at: START + 60 + display_id, created_at: START },
    });
  await holder.query("begin");
  await holder.query("select from chatwoot.messages where message_id = 200 for update");
  const toThird = tell(one, told(3));
  await database.untilWaiting(one);
  const toSecond = tell(other, told(2));
  await database.untilWaiting(other);
  await holder.query("commit");
  await Promise.all([toThird, toSecond]);
  const { rows } = await one.query("select conversation_display_id from chatwoot.messages where message_id = 200");
  expect(rows).toEqual([{ conversation_display_id: "3" }]);
  await isRight(one, 3, { customer_messages: 2, status: "resolved" });
});

test("a webhook that comes while cron is at its conversation waits, and counts", async () => {
  const [cron, door] = await Promise.all([database.connect(), database.connect()]);
  await begin(door, 4);
  await door.query("select ledger.mark(1, 4, '-infinity', '-infinity', '-infinity')");
  await cron.query("begin");
  expect((await cron.query("select ledger.work_off()")).rows).toEqual([{ work_off: "1" }]);
  const told = tell(door, message(4, 401, 61, true));
  await database.untilWaiting(door);
  await cron.query("commit");
  await told;
  await isRight(door, 4, { frt: 60 });
});

test("cron passes over a conversation that a webhook is at, and takes it the next time", async () => {
  const [cron, door] = await Promise.all([database.connect(), database.connect()]);
  await begin(door, 5);
  await door.query("select ledger.mark(1, 5, '-infinity', '-infinity', '-infinity')");
  await door.query("begin");
  await door.query("select from ledger.queue where display_id = 5 for update");
  await cron.query("call ledger.tick()");
  expect(await queued(cron)).toMatchObject([{ display_id: "5", problem: null }]);
  await door.query("commit");
  await cron.query("call ledger.tick()");
  await isRight(door, 5, { waiting: true });
});

test("of two ticks at once the second ends at once", async () => {
  const [first, second, blocker] = await Promise.all([database.connect(), database.connect(), database.connect()]);
  await begin(first, 6);
  await first.query("select ledger.mark(1, 6, '-infinity', '-infinity', '-infinity')");
  await blocker.query("begin");
  await blocker.query("lock table ledger.conversations in access exclusive mode");
  const ticking = first.query("call ledger.tick()");
  await database.untilWaiting(first);
  await second.query("call ledger.tick()");
  await blocker.query("commit");
  await ticking;
  await isRight(first, 6, { waiting: true });
});

test("stopped halfway it leaves the queue as it was, and no lock behind", async () => {
  const [stopped, other, blocker] = await Promise.all([database.connect(), database.connect(), database.connect()]);
  await begin(stopped, 7);
  await stopped.query("select ledger.mark(1, 7, '-infinity', '-infinity', '-infinity')");
  const before = await queued(other);
  await blocker.query("begin");
  await blocker.query("lock table ledger.episodes in access exclusive mode");
  await stopped.query("set statement_timeout = 300");
  await expect(stopped.query("select ledger.work_off()")).rejects.toMatchObject({ code: "57014" });
  await expect(stopped.query("call ledger.tick()")).rejects.toMatchObject({ code: "57014" });
  // An error is told before its locks are gone.
  await stopped.query("reset statement_timeout");
  await blocker.query("commit");
  expect(await queued(other)).toEqual(before);
  // The session that was stopped is still there.
  await other.query("call ledger.tick()");
  await isRight(other, 7, { waiting: true });
});

const THREAD = 50_000;

type Touched = Record<string, { read: number; written: number }>;

/** How many rows of each table the work reads and writes, told by Postgres's own count of this session. */
async function touching(client: Client, work: () => Promise<void>): Promise<Touched> {
  const count = async () => {
    const { rows } = await client.query(
      `select schemaname || '.' || relname as name, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::integer as read,
        (n_tup_ins + n_tup_upd + n_tup_del)::integer as written
      from pg_stat_xact_user_tables where schemaname in ('ledger', 'chatwoot')`,
    );
    return rows as { name: string; read: number; written: number }[];
  };
  // Within a transaction nothing of it is handed on to the server's statistics.
  await client.query("begin");
  const before = new Map((await count()).map((row) => [row.name, row]));
  await work();
  const after = await count();
  await client.query("commit");
  return Object.fromEntries(after.map(({ name, read, written }) => [
    name,
    { read: read - (before.get(name)?.read ?? 0), written: written - (before.get(name)?.written ?? 0) },
  ]));
}

test(`a thread of ${THREAD.toLocaleString("en")} messages: what is new costs its own step, what is late is left to cron`, async () => {
  const client = await database.connect();
  const now = Math.floor(Date.now() / 1000) - 60;
  const first = now - 10 * THREAD;
  const later = (payload: Payload, id: number, at: number): Payload => ({
    ...payload,
    id,
    created_at: iso(at),
    conversation: conversation({ id: 9, created_at: first, updated_at: now + 0.5, messages: [] }),
  });
  await tell(
    client,
    conversationEvent("conversation_created", { id: 9, created_at: first, updated_at: first + 0.1, messages: [] }),
  );
  await client.query(
    `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
        sender_kind, sender_id, content, created_at, version_at)
      select 1, 1000000 + numbers.number, 9, case numbers.number % 2 when 1 then 'incoming' else 'outgoing' end, false, 'text',
        case numbers.number % 2 when 1 then 'contact' else 'user' end, 7, 'text', to_timestamp($1 + 10 * numbers.number), now()
      from generate_series(1, $2::integer) as numbers (number)`,
    [first, THREAD],
  );
  // A thread among others, or reading all there is would be as well.
  await client.query(
    `with others as (
      insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
      select 1, 1000 + numbers.number, 3, to_timestamp($1::integer), now() from generate_series(1, 500) as numbers (number)
      returning display_id
    )
    insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, content_type,
        sender_kind, sender_id, content, created_at, version_at)
      select 1, 3000000 + others.display_id * 100 + numbers.number, others.display_id, 'incoming', false, 'text', 'contact', 7, 'text',
        to_timestamp($1::integer + 10 * numbers.number), now()
      from others cross join generate_series(1, 20) as numbers (number)`,
    [first],
  );
  await client.query("call ledger.tick()");
  // As autovacuum does after so many rows.
  await client.query("analyze");
  const numbers =
    "select customer_messages, human_replies, frt, waiting, cardinality(reply_time) as waits from analytics.episodes where display_id = 9";
  expect((await client.query(numbers)).rows).toEqual([
    { customer_messages: THREAD / 2, human_replies: THREAD / 2, frt: 10, waiting: false, waits: THREAD / 2 - 1 },
  ]);

  const followed = await touching(client, () => tell(client, later(message(9, 0, 0), 2_000_001, now + 1)));
  for (const table of ["ledger.events", "ledger.episodes", "ledger.spans", "chatwoot.messages"]) {
    expect(followed[table]?.written ?? 0, table).toBeLessThanOrEqual(10);
    expect(followed[table]?.read ?? 0, table).toBeLessThanOrEqual(100);
  }
  expect(await queued(client)).toEqual([]);
  expect((await client.query(numbers)).rows).toMatchObject([{ customer_messages: THREAD / 2 + 1, waiting: true }]);

  // Between the first message and its answer.
  const left = await touching(client, () => tell(client, later(message(9, 0, 0, true), 2_000_002, first + 15)));
  for (const table of ["ledger.events", "ledger.episodes", "ledger.spans"]) {
    expect(left[table]?.written ?? 0, table).toBe(0);
    expect(left[table]?.read ?? 0, table).toBeLessThanOrEqual(100);
  }
  expect(await queued(client)).toMatchObject([{ display_id: "9", problem: null }]);
  await client.query("call ledger.tick()");
  expect(await queued(client)).toEqual([]);
  expect((await client.query(numbers)).rows).toEqual([
    { customer_messages: THREAD / 2 + 1, human_replies: THREAD / 2 + 1, frt: 5, waiting: true, waits: THREAD / 2 - 1 },
  ]);
});
