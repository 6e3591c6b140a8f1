// A small shop whose customers write, by webhook: what is told here goes through the same door as Chatwoot's own.
import type { Client } from "pg";
import { expect } from "vitest";
import { conversation, iso, messageEvent, nestedMessage, type Payload } from "../fixtures/webhooks.ts";
import type { Sql } from "../support/database.ts";
import { deliver } from "./deliver.ts";

type Querying = Sql | Client;

/** An hour ago: drafts are made only where what the customer wrote is not long past. */
export const BEGIN = Math.floor(Date.now() / 1000) - 3600;
export const at = (seconds: number) => iso(BEGIN + seconds);

export const REFUND = "How long does a refund take until it is back on my card?";
export const PARCEL = "My parcel has not arrived, where is it now?";
export const REFUND_ANSWER = "Hello, refunds reach your card within five working days.";

let deliveries = 0;

export interface Said {
  account?: number;
  conversation?: number;
  id: number;
  content?: string | null;
  /** Seconds after the beginning. */
  after?: number;
  status?: "open" | "pending" | "snoozed" | "resolved";
  contact?: number;
  blocked?: boolean;
  /** What differs in the conversation. */
  with?: Payload;
  /** What differs in the message. */
  changes?: Payload;
  event?: "message_created" | "message_updated";
}

const customer = (id: number, account: number, blocked = false) => ({
  account: { id: account, name: "Acme Outdoor" },
  additional_attributes: {},
  custom_attributes: {},
  email: `customer-${id}@mail.example`,
  id,
  identifier: null,
  name: "Dana Berg",
  phone_number: null,
  blocked,
});

const agent = { id: 7, name: "Ravi Shah", email: "ravi@acme-outdoor.example", type: "user" };

function spoken(said: Said, message: Payload & { message_type: "incoming" | "outgoing" }): Payload {
  const { account = 1, conversation: display = 42, id, after = 0, status = "open", contact = 205 } = said;
  const isCustomer = message.message_type === "incoming";
  const person = customer(contact, account, said.blocked);
  const nested = nestedMessage({
    id,
    content: said.content ?? null,
    account_id: account,
    conversation_id: display,
    message_type: isCustomer ? 0 : 1,
    created_at: BEGIN + after,
    updated_at: at(after),
    sender_type: isCustomer ? "Contact" : "User",
    sender_id: isCustomer ? contact : agent.id,
    sender: isCustomer ? { ...person, type: "contact" } : agent,
    private: message.private ?? false,
    content_attributes: message.content_attributes ?? {},
    processed_message_content: said.content ?? null,
  });
  const around = conversation({
    id: display,
    status,
    messages: [nested],
    labels: [],
    contact_inbox: { source_id: `visitor-${contact}` },
    meta: { sender: { ...person, type: "contact" }, assignee: null, assignee_type: null, team: null },
    custom_attributes: {},
    created_at: BEGIN,
    timestamp: BEGIN + after,
    last_activity_at: BEGIN + after,
    waiting_since: BEGIN,
    updated_at: BEGIN + after + 0.5,
    account: { id: account, name: "Acme Outdoor" },
    ...said.with,
  });
  return messageEvent(said.event ?? "message_created", {
    account: { id: account, name: "Acme Outdoor" },
    conversation: around,
    id,
    content: said.content ?? null,
    created_at: at(after),
    sender: isCustomer ? person : agent,
    ...message,
    ...said.changes,
  });
}

async function tell(sql: Querying, account: number, body: Payload): Promise<void> {
  deliveries += 1;
  expect(await deliver(sql, { account, id: `told-${deliveries}`, body, signedAt: new Date().toISOString() })).toBe(
    "applied",
  );
}

/** The customer writes. */
export const customerWrites = (sql: Querying, said: Said) =>
  tell(sql, said.account ?? 1, spoken(said, { message_type: "incoming" }));

/** An agent answers in Chatwoot. */
export const agentWrites = (sql: Querying, said: Said) =>
  tell(sql, said.account ?? 1, spoken(said, { message_type: "outgoing" }));

/** The status changes. */
export function statusBecomes(
  sql: Querying,
  { account = 1, conversation: display = 42, before = "open", status = "resolved", after = 60, contact = 205 } = {},
): Promise<void> {
  const said = { account, conversation: display, id: 1, after, status: status as Said["status"], contact };
  const { conversation: around } = spoken(said, { message_type: "incoming" }) as { conversation: Payload };
  return tell(sql, account, {
    ...around,
    messages: [],
    event: "conversation_status_changed",
    changed_attributes: [
      { status: { previous_value: before, current_value: status } },
      { updated_at: { previous_value: at(0), current_value: iso(BEGIN + after + 0.5) } },
    ],
  });
}

const rowsOf = async <Row>(sql: Querying, text: string, values: unknown[] = []): Promise<Row[]> =>
  ("rows" in sql ? await sql.rows(text, values) : (await sql.query(text, values)).rows) as Row[];

/** An approved gold reply; returns its id. */
export async function goldReply(
  sql: Querying,
  {
    account = 1,
    title = "Refund time",
    body = REFUND_ANSWER,
    questions = [REFUND],
    channels = {},
    category = null as
      | string
      | null,
  } = {},
): Promise<string> {
  const [{ gold_reply_id }] = await rowsOf<{ gold_reply_id: string }>(
    sql,
    `insert into replies.gold_replies (account_id, status, title, body, category, language, channels, questions, origin,
      content_hash, proposed_at, proposed_by, decided_at, decided_by)
    values ($1, 'approved', $2, $3, $4, 'en', $5, $6, 'person', sha256(convert_to($2, 'UTF8')), now(), 'test', now(), 'test')
    returning gold_reply_id`,
    [account, title, body, category, channels, questions],
  );
  return gold_reply_id;
}

export interface Draft {
  draft_id: string;
  display_id: string;
  state: string;
  reason: string | null;
  body: string | null;
  [column: string]: unknown;
}

/** The drafts of a conversation, in the order in which they were made. */
export const draftsOf = (sql: Querying, { account = 1, conversation: display = 42 } = {}) =>
  rowsOf<Draft>(
    sql,
    "select * from replies.drafts where account_id = $1 and display_id = $2 order by draft_id",
    [account, display],
  );

/** What the decision log says of the drafts of a conversation, in order. */
export const decisionsOf = (sql: Querying, { account = 1, conversation: display = 42 } = {}) =>
  rowsOf<{ action: string; actor: string; evidence: Payload; outcome: string }>(
    sql,
    `select action, actor, evidence, outcome from audit.decision_log
    where account_id = $1 and evidence ->> 'display_id' = $2::text and action like 'draft.%' order by entry`,
    [account, String(display)],
  );

/** What stands in the outbox, oldest first. */
export const outbox = (sql: Querying, kind: "note" | "reply") =>
  rowsOf<{ action_id: string; state: string; source: string; arguments: { content: string }; display_id: string }>(
    sql,
    "select action_id, state, source, arguments, display_id from actions.outbox where kind = $1 order by action_id",
    [kind],
  );

/** The customer of conversation 42 asks how long a refund takes, and a draft answers. Returns its id. */
export async function openDraft(sql: Querying, said: Partial<Said> & { body?: string } = {}): Promise<string> {
  const { body, ...rest } = said;
  await goldReply(sql, { account: rest.account, ...(body ? { body } : {}) });
  await customerWrites(sql, { id: 9101, content: REFUND, ...rest });
  const drafts = await draftsOf(sql, { account: rest.account, conversation: rest.conversation });
  expect(drafts.map(({ state }) => state)).toEqual(["open"]);
  return drafts[0].draft_id;
}

/** What speaks against sending a draft, in the words of the refusal. */
export const HAPPENINGS: { name: string; by: (sql: Sql) => Promise<unknown>; kind: string }[] = [
  {
    name: "the customer has written again",
    by: (sql) => customerWrites(sql, { id: 9102, content: "It is solved, thank you!", after: 60 }),
    kind: "customer_wrote",
  },
  {
    name: "somebody has answered",
    by: (sql) => agentWrites(sql, { id: 9102, content: "Five days.", after: 60 }),
    kind: "answered",
  },
  { name: "it has been resolved", by: (sql) => statusBecomes(sql), kind: "resolved" },
  {
    name: "another answer is on its way",
    by: (sql) => sql.rows("select actions.enqueue(1, 42, 'reply', $1)", [{ content: "Five days." }]),
    kind: "answer_on_its_way",
  },
  {
    name: "the customer has been blocked",
    by: (sql) => sql.rows("update chatwoot.contacts set blocked = true where contact_id = 205"),
    kind: "blocked",
  },
  {
    name: "the draft has expired",
    by: (sql) => sql.rows("select replies.expire_drafts(now() + interval '73 hours')"),
    kind: "not_decided",
  },
];
