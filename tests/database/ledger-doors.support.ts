// Histories told through inbox.record, what the local Chatwoot really did meanwhile, and the ledger's rows to compare.
import { isDeepStrictEqual } from "node:util";
import type { ClientBase } from "pg";
import type { ChatwootEvent, OnWrite } from "../../local/chatwoot/engine.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import type { Conversation } from "../../local/chatwoot/records.ts";

/** The seeds of a test file: new ones each time, or the one that is to be repeated. Printed. */
export function drawSeeds(name: string, count: number): number[] {
  const seeds = process.env.OCC_TEST_SEED
    ? [Number(process.env.OCC_TEST_SEED)]
    : Array.from({ length: count }, (_, index) => (Date.now() + index * 7919) % 2 ** 31);
  console.log(`${name}: seeds ${seeds.join(", ")} (OCC_TEST_SEED=… repeats one)`);
  return seeds;
}

export const FIELDS = ["status", "assignee", "team", "priority", "labels"] as const;
export type Field = (typeof FIELDS)[number];

/** One value that a field took, and when, in microseconds. */
export interface Step {
  at: number;
  value: string;
}

/** Each conversation's fields as they went, in the words of the log. The first step is how it was created. */
export type Truth = Map<number, Record<Field, Step[]>>;

const words = ({ status, assignee, team, priority, labels }: Conversation): Record<Field, string> => ({
  status,
  assignee: assignee === null ? "" : `${assignee.kind === "User" ? "user" : "agent_bot"}:${assignee.id}`,
  team: String(team?.id ?? ""),
  priority: priority ?? "",
  labels: `[${[...labels].sort().map((label) => JSON.stringify(label)).join(", ")}]`,
});

/** Remembers what a Chatwoot does to conversations. */
export function watch(): { truth: Truth; onWrite: OnWrite } {
  const truth: Truth = new Map();
  return {
    truth,
    onWrite(conversation, at) {
      const known = truth.get(conversation.displayId) ??
        { status: [], assignee: [], team: [], priority: [], labels: [] };
      truth.set(conversation.displayId, known);
      const now = words(conversation);
      for (const field of FIELDS) {
        if (known[field].at(-1)?.value !== now[field]) known[field].push({ at, value: now[field] });
      }
    },
  };
}

/** The same of the log. */
export async function logged(client: ClientBase): Promise<Truth> {
  const { rows } = await client.query(
    `select display_id::integer, case kind when 'created' then 'status' else kind end as field, value,
        (extract(epoch from occurred_at) * 1000000)::bigint as at
      from ledger.events
      where unlearnt_at is null and kind in ('created', 'status', 'assignee', 'team', 'priority', 'labels')
      order by display_id, occurred_at, kind = 'created' desc, place`,
  );
  const log: Truth = new Map();
  for (const { display_id, field, value, at } of rows) {
    const known = log.get(display_id) ?? { status: [], assignee: [], team: [], priority: [], labels: [] };
    log.set(display_id, known);
    known[field as Field].push({ at: Number(at), value });
  }
  return log;
}

export interface Sent {
  deliveryId: string;
  event: ChatwootEvent;
}

export const once = (events: readonly ChatwootEvent[]): Sent[] =>
  events.map((event) => ({ deliveryId: event.deliveryId, event }));

/** Each delivery is a transaction of its own, as at the webhook door. */
export async function record(client: ClientBase, sent: readonly Sent[]): Promise<void> {
  for (const { deliveryId, event } of sent) {
    await client.query({
      name: "record",
      text: "select inbox.record(1, $1, $2, '{}', 'signature', $3)",
      values: [deliveryId, Buffer.from(event.body), event.at],
    });
  }
}

export function shuffle<Item>(items: readonly Item[], seed: number): Item[] {
  const random = createRandom(seed);
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.integer(0, last);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

export type Rows = Record<string, unknown>[];

export interface Ledger {
  events: Rows;
  episodes: Rows;
  spans: Rows;
  conversations: Rows;
}

// An event by what it says, since its number hangs on when it was learnt.
const named = (column: string) =>
  `(select concat_ws(' ', events.kind, events.occurred_at, events.place, events.value) from ledger.events
    where events.account_id = rows.account_id and events.event_id = rows.${column}) as ${column}`;
function queries(isExact: boolean): Record<keyof Ledger, string> {
  const referring = (table: string, columns: string[], order: string) =>
    `select to_jsonb(rows)${
      isExact ? "" : ` - array[${columns.map((column) => `'${column}'`)}] || to_jsonb(named)`
    } as row from ledger.${table} as rows cross join lateral (select ${columns.map(named).join(", ")}) as named
    where rows.display_id = coalesce($1, rows.display_id) order by ${order}`;
  return {
    events: isExact
      ? `select to_jsonb(rows) as row from ledger.events as rows
        where display_id = coalesce($1, display_id) order by event_id`
      : `select to_jsonb(rows) - array['event_id', 'learnt_at', 'unlearnt_at'] as row from ledger.events as rows
        where display_id = coalesce($1, display_id) and unlearnt_at is null
        order by display_id, occurred_at, kind, place, value, source, source_id`,
    episodes: referring(
      "episodes",
      ["waiting_event", "bot_waiting_event", "state_event", "holder_event"],
      "rows.display_id, rows.episode",
    ),
    spans: referring(
      "spans",
      ["opened_by", "closed_by"],
      "rows.display_id, rows.episode, rows.kind, rows.number",
    ),
    conversations: `select to_jsonb(rows) - array['refreshed_at'${isExact ? "" : ", 'events'"}] as row
      from ledger.conversations as rows where display_id = coalesce($1, display_id) order by display_id`,
  };
}

/** The ledger, of one conversation or all: exact, or without what hangs on when and how often it was told. */
export async function ledger(
  client: ClientBase,
  { conversation = null as number | null, isExact = false } = {},
): Promise<Ledger> {
  const found: Partial<Ledger> = {};
  for (const [name, text] of Object.entries(queries(isExact))) {
    const { rows } = await client.query(text, [conversation]);
    found[name as keyof Ledger] = rows.map(({ row }) => row);
  }
  return found as Ledger;
}

/** Where two ledgers are not the same, at most a few; empty when they are. */
export function unlike(one: Ledger, other: Ledger): unknown[] {
  return (Object.keys(one) as (keyof Ledger)[]).flatMap((table) =>
    Array.from({ length: Math.max(one[table].length, other[table].length) }, (_, index) => ({
      table,
      one: one[table][index],
      other: other[table][index],
    })).filter((pair) => !isDeepStrictEqual(pair.one, pair.other))
  ).slice(0, 6);
}

/** Makes everything again from the beginning. */
export async function refreshAll(client: ClientBase, conversation: number | null = null): Promise<void> {
  await client.query(
    `select ledger.mark(account_id, display_id, '-infinity', '-infinity', '-infinity') from chatwoot.conversations
    where display_id = coalesce($1, display_id)`,
    [conversation],
  );
  while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
}

/** What is still on the queue. */
export async function queued(client: ClientBase): Promise<Rows> {
  return (await client.query("select display_id, problem from ledger.queue order by 1")).rows;
}
