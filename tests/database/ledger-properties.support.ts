// Random timelines as doors tell them: as records of conversations and messages, changes, lines and reporting events, each
// a piece that can come at any time and more than once. Told in rounds, each round's pieces of all conversations at once.
import type { ClientBase } from "pg";
import { createRandom, type Random } from "../../local/chatwoot/random.ts";
import type { LedgerEvent, MessageClass } from "../support/ledger-reference.ts";
import type { Timeline } from "../support/ledger-timelines.ts";

/** The statement that takes in many pieces of a kind, one of each key at most. */
const STATEMENTS = {
  message: `select chatwoot.merge_messages(array(
    select told from json_populate_recordset(null::chatwoot.messages, $1) as told))`,
  conversation: `select chatwoot.merge_conversations(array(
    select told from json_populate_recordset(null::chatwoot.conversations, $1) as told))`,
  // Each was read at an instant of its own.
  reading: `select chatwoot.merge_conversations(
      array[json_populate_record(null::chatwoot.conversations, told -> 'record')], (told ->> 'read_at')::timestamptz)
    from json_array_elements($1) as told`,
  change: `select ledger.observe_changes((told ->> 'account_id')::bigint, (told ->> 'display_id')::bigint,
      told::jsonb -> 'changed_attributes', (told ->> 'updated_at')::timestamptz)
    from json_array_elements($1) as told`,
  answer: `select chatwoot.merge_csat_responses(array(
    select told from json_populate_recordset(null::chatwoot.csat_responses, $1) as told))`,
  report: `select chatwoot.record_reporting_events(array(
    select told from json_populate_recordset(null::chatwoot.reporting_events, $1) as told))`,
};
type Kind = keyof typeof STATEMENTS;
const KINDS = Object.keys(STATEMENTS) as Kind[];

export interface Piece {
  kind: Kind;
  /** No statement takes two of one key. */
  key: number;
  /** When it happened, in milliseconds: the order in which pieces should come. */
  at: number;
  told: Record<string, unknown>;
}

export interface Evidence {
  display_id: number;
  pieces: Piece[];
  /** What happened, with the classes that the messages ended with. */
  truth: LedgerEvent[];
  /** Whether the pieces tell all of it, so that the log must be the truth. */
  isWhole: boolean;
}

const SECOND = 1000;
const iso = (milliseconds: number, microseconds = 0) =>
  new Date(milliseconds).toISOString().replace("Z", `${String(microseconds).padStart(3, "0")}Z`);

interface World {
  status: string;
  assignee: string | null;
  team_id: number | null;
  priority: string | null;
  labels: string[];
}

/** What doors could tell of a timeline. Some of it is never told, or only roughly. */
export function evidenceOf(timeline: Timeline, display_id: number, inbox_id: number, seed: number): Evidence {
  const random = createRandom(seed);
  const isWhole = random.chance(0.4);
  const isTold = (share: number) => isWhole || random.chance(share);
  const pieces: Piece[] = [];
  // Ids of the account, with room before and after.
  const messageId = (id: number) => display_id * 1000 + 100 + id;
  const add = (kind: Kind, key: number, at: number, told: Record<string, unknown>) =>
    pieces.push({ kind, key, at, told });
  const truth: LedgerEvent[] = timeline.events.map((event) => ({ ...event }));
  const asking = truth.find((event) => event.class === "auto");
  // An answer long after it was asked for, when there may be another episode.
  if (asking && !truth.some(({ kind }) => kind === "csat") && random.chance(0.8)) {
    const { at, id } = truth[truth.length - 1];
    truth.push({
      at: at + random.integer(0, 3_600_000),
      kind: "csat",
      id: id + 1,
      rating: 4,
      surveyMessageId: asking.id,
    });
  }
  const [{ at: base, status: begun = "open" }] = truth;
  const surveys = new Set(truth.map(({ surveyMessageId }) => surveyMessageId));
  const world: World = { status: begun, assignee: null, team_id: null, priority: null, labels: [] };
  let last = { at: base, microseconds: 0 };

  const record = (at: number) => {
    const [, kind, id] = /^(\w+):(\d+)$/.exec(world.assignee ?? "") ?? [];
    const microseconds = last.at === at
      ? Math.min(last.microseconds + random.integer(1, 30), 999)
      : random.integer(0, 99);
    last = { at, microseconds };
    return {
      display_id,
      inbox_id,
      contact_id: display_id,
      status: world.status,
      priority: world.priority,
      assignee_kind: kind ?? null,
      assignee_id: id ? Number(id) : null,
      team_id: world.team_id,
      labels: world.labels,
      // Some payloads give whole seconds.
      created_at: iso(!isWhole && random.chance(0.2) ? base - base % SECOND : base),
      version_at: iso(at, microseconds),
    };
  };
  // What is read shows what had changed by then, so it is read before the next thing happens.
  let next = truth[1]?.at ?? base;
  const read = (at: number, told = record(at)) =>
    add("reading", display_id, at, {
      record: told,
      read_at: iso(at + random.integer(0, Math.min(next - at, random.pick([30 * SECOND, 36_000 * SECOND])))),
    });
  if (isTold(0.9)) add("conversation", display_id, base, record(base));
  else read(base);

  const change = (at: number, changes: Partial<World>) => {
    const before = { ...world };
    Object.assign(world, changes);
    const attributes: Record<string, { previous_value: unknown; current_value: unknown }>[] = [];
    const tell = (key: string, previous_value: unknown, current_value: unknown) =>
      previous_value !== current_value && attributes.push({ [key]: { previous_value, current_value } });
    const idOf = (kind: string, holder: string | null) =>
      holder?.startsWith(kind) ? Number(holder.split(":")[1]) : null;
    tell("status", before.status, world.status);
    tell("assignee_id", idOf("user:", before.assignee), idOf("user:", world.assignee));
    tell("assignee_agent_bot_id", idOf("agent_bot:", before.assignee), idOf("agent_bot:", world.assignee));
    tell("team_id", before.team_id, world.team_id);
    tell("priority", before.priority, world.priority);
    if (attributes.length === 0) return;
    if (isTold(0.7)) {
      const updated_at = { previous_value: iso(base), current_value: iso(at) };
      add("change", display_id, at, {
        display_id,
        changed_attributes: [...attributes, { updated_at }],
        updated_at: iso(at),
      });
    }
    const told = record(at);
    if (random.chance(0.6)) add("conversation", display_id, at, told);
    if (random.chance(0.1)) read(at, told);
    // What moves no updated_at is seen by a reading alone.
    if (!isWhole && next > at + SECOND && random.chance(0.3)) {
      world.labels = random.pick([[], ["billing"], ["billing", "urgent"], ["refund"]]);
      read(at, { ...told, labels: world.labels });
    }
    if (before.status === world.status) return;
    if (random.chance(0.4)) {
      const lag = random.integer(0, isWhole ? 900 : 5000);
      addMessage(at + lag, 500 + pieces.length, {
        message_type: "activity",
        content_attributes: { activity: { type: "conversation_status_changed", status: world.status } },
      });
    }
    if (random.chance(0.3) && (world.status === "resolved" || world.status === "open")) {
      const name = world.status === "resolved" ? "conversation_resolved" : "conversation_opened";
      const event_id = display_id * 1000 + pieces.length;
      const event_ended_at = iso(at);
      add("report", event_id, at, {
        event_id,
        conversation_display_id: display_id,
        name,
        event_ended_at,
        created_at: event_ended_at,
      });
    }
  };

  const addMessage = (
    at: number,
    id: number,
    { version = at, ...said }: Record<string, unknown> & { version?: number },
  ) =>
    add("message", messageId(id), version, {
      message_id: messageId(id),
      conversation_display_id: display_id,
      inbox_id,
      message_type: "outgoing",
      content_type: "text",
      content: "Hello",
      private: false,
      created_at: iso(at),
      version_at: iso(version),
      ...said,
    });
  const person = (author?: number | null) =>
    author ? { sender_kind: "user", sender_id: author } : { content_attributes: { external_echo: true } };

  for (const [index, event] of truth.entries()) {
    const { at, id, kind, author } = event;
    next = truth[index + 1]?.at ?? at + 60 * SECOND;
    if (kind === "status" && event.status) change(at, { status: event.status });
    else if (kind === "assignee") change(at, { assignee: event.assignee ?? null });
    else if (kind === "csat") {
      const message_id = messageId(event.surveyMessageId as number);
      const answer = {
        message_id,
        conversation_display_id: display_id,
        rating: event.rating,
        first_answered_at: iso(at),
      };
      add("answer", message_id, at, { ...answer, version_at: iso(at) });
      if (random.chance(0.3)) {
        add("answer", message_id, at + SECOND, { ...answer, feedback_message: "Quick", version_at: iso(at + SECOND) });
      }
    } else if (kind === "message") {
      const said: Record<MessageClass, Record<string, unknown>> = {
        customer: { message_type: "incoming", sender_kind: "contact", sender_id: display_id },
        human: person(author),
        bot: { sender_kind: "agent_bot", sender_id: 3, content: event.question ? "Which order?" : "It is on its way." },
        auto: surveys.has(id)
          ? { message_type: "template", content_type: "input_csat" }
          : random.pick([{ message_type: "template" }, {
            ...person(author),
            content_attributes: { automation_rule_id: 4 },
          }]),
        note: { ...person(author ?? 1), private: true },
        failed: person(author),
      };
      const words = said[event.class as MessageClass];
      const isOurs = event.class === "human" || event.class === "failed";
      const sent = isOurs ? { delivery_status: "sent", delivery_status_at: iso(at) } : {};
      addMessage(at, id, { ...words, ...sent });
      if (event.class === "failed" || (isOurs && random.chance(0.15))) {
        const failed = { delivery_status: "failed", delivery_status_at: iso(at + 3 * SECOND) };
        addMessage(at, id, { ...words, ...failed, version: at + 3 * SECOND });
      }
      // Delivered after all: it counts from when it was first sent.
      if (isOurs && (event.class === "human" || random.chance(0.2))) {
        const delivered = { delivery_status: "delivered", delivery_status_at: iso(at + 60 * SECOND) };
        addMessage(at, id, { ...words, ...delivered, version: at + 60 * SECOND });
        event.class = "human";
      }
    }
    if (random.chance(0.1)) {
      change(at, { team_id: random.pick([null, 1, 2]), priority: random.pick([null, "low", "high"]) });
    }
  }
  if (random.chance(0.3)) {
    const end = next;
    next += 36_000 * SECOND;
    read(end);
  }
  // Of two changes within a millisecond only one knows what was before, if at all.
  const instants = pieces.filter(({ kind }) => kind === "change").map(({ at }) => at);
  return { display_id, pieces, truth, isWhole: isWhole && new Set(instants).size === instants.length };
}

/** The pieces as they come: in order, a bit late, or in any order; and some of them again. */
export function disturb(pieces: readonly Piece[], random: Random): Piece[] {
  const lateness = random.pick([0, 60_000, 86_400_000, Infinity]);
  const placeOf = (at: number) => lateness === Infinity ? random.next() : at + random.next() * lateness;
  return pieces
    .flatMap((piece) => random.chance(0.2) ? [piece, piece] : [piece])
    .map((piece, index) => ({ piece, index, place: placeOf(piece.at) }))
    .sort((one, other) => one.place - other.place || one.index - other.index)
    .map(({ piece }) => piece);
}

/** Tells pieces of many conversations, those of one key in the order given, in as few statements as can be. */
export async function tellPieces(client: ClientBase, account_id: number, lists: readonly Piece[][]): Promise<void> {
  // The first piece of every key, then the second of those that have one, and so on.
  const passes: Map<string, Piece[]>[] = [];
  for (const list of lists) {
    const seen = new Map<string, number>();
    for (const piece of list) {
      const name = `${piece.kind} ${piece.key}`;
      const pass = seen.get(name) ?? 0;
      seen.set(name, pass + 1);
      passes[pass] ??= new Map(KINDS.map((kind) => [kind, []]));
      passes[pass].get(piece.kind)?.push(piece);
    }
  }
  for (const pass of passes) {
    for (const [kind, pieces] of pass) {
      if (pieces.length === 0) continue;
      const told = pieces.map(({ told }) =>
        "record" in told ? { ...told, record: { ...told.record as object, account_id } } : { ...told, account_id }
      );
      await client.query({ name: kind, text: STATEMENTS[kind as Kind], values: [JSON.stringify(told)] });
    }
  }
}

/** A refresh of some of what waits: none, a batch, what a webhook would do for each, or as a set. */
export async function refreshSome(client: ClientBase, account: number, random: Random): Promise<void> {
  const every = random.integer(1, 5);
  const some = `account_id = $1 and display_id % ${every} = ${random.integer(0, every - 1)}`;
  const ways = [
    () => Promise.resolve(),
    () => client.query("select ledger.work_off($1)", [random.pick([1, 7, 250, 2000])]),
    () =>
      client.query(
        `select ledger.follow(waiting.account_id, waiting.display_id)
        from (select account_id, display_id from ledger.queue where ${some} order by 1, 2 offset 0) as waiting`,
        [account],
      ),
    () =>
      client.query(
        `with taken as (delete from ledger.queue where ${some} returning *)
        select ledger.refresh(array(select row(taken.*)::ledger.queue from taken), now(), $2)`,
        [account, random.pick([null, 12])],
      ),
  ];
  await random.pick(ways)();
}

export async function workOff(client: ClientBase): Promise<void> {
  while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
}

export interface Difference {
  table: string;
  display_id: number;
  one: unknown;
  other: unknown;
}

// A reference to an event by what the event says, since its number hangs on when it was learnt.
const said = (column: string) =>
  `'${column}', (select concat_ws(' ', events.kind, events.occurred_at, events.place, events.value, events.class)
    from ledger.events where events.account_id = rows.account_id and events.display_id = rows.display_id
      and events.event_id = rows.${column})`;

const TABLES = {
  events: {
    from: "ledger.events as rows where rows.unlearnt_at is null",
    row: "to_jsonb(rows) - '{event_id,learnt_at,unlearnt_at}'::text[]",
    order: "rows.occurred_at, rows.kind, rows.place, rows.value, rows.source, rows.source_id",
  },
  episodes: {
    from: "ledger.episodes as rows where true",
    row: `to_jsonb(rows) || jsonb_build_object(${
      ["waiting_event", "bot_waiting_event", "state_event", "holder_event"].map(said).join(", ")
    })`,
    order: "rows.episode",
  },
  spans: {
    from: "ledger.spans as rows where true",
    row: `to_jsonb(rows) || jsonb_build_object(${["opened_by", "closed_by"].map(said).join(", ")})`,
    order: "rows.episode, rows.kind, rows.number",
  },
  // Rows written to the log, and when: that hangs on how it was told.
  conversations: {
    from: "ledger.conversations as rows where true",
    row: "to_jsonb(rows) - '{events,refreshed_at}'::text[]",
    order: "rows.display_id",
  },
  numbers: { from: "analytics.episodes as rows where true", row: "to_jsonb(rows)", order: "rows.episode" },
} as const;
export type Table = keyof typeof TABLES;

/** Conversations whose ledgers in two accounts are not the same, the shortest first; empty when all are. */
export async function differing(
  client: ClientBase,
  accounts: [number, number],
  { tables = Object.keys(TABLES) as Table[], without = [] as string[] } = {},
): Promise<Difference[]> {
  const found: Difference[] = [];
  for (const table of tables) {
    const { from, row, order } = TABLES[table];
    const { rows } = await client.query(
      `with told as materialized (
        select rows.account_id, rows.display_id, jsonb_agg((${row}) - $3::text[] order by ${order}) as said
        from ${from} and rows.account_id in ($1, $2) group by rows.account_id, rows.display_id
      )
      select display_id::integer, one.said as one, other.said as other
      from (select * from told where account_id = $1) as one
      full join (select * from told where account_id = $2) as other using (display_id)
      where one.said is distinct from other.said
      order by length(coalesce(one.said, other.said)::text) limit 3`,
      [...accounts, ["account_id", "calendar_id", ...without]],
    );
    found.push(...rows.map((differs) => ({ table, ...differs })));
  }
  return found;
}
