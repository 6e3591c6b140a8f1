// Conversations told message by message into the mirror, with drafts proposed, decided on and sent on the way.
import type { Sql } from "../support/database.ts";

let lastDisplay = 1000;
let lastMessage = 100_000;

const at = (time: string) => `2026-11-10T${time}Z`;

export interface Said {
  /** Chatwoot's id of the message; the next one where none is given. */
  id?: number;
  /** The mark of the action that it was sent by. */
  mark?: string | null;
  agent?: number;
  status?: string;
}

/** One conversation of account 1. Every step is worked off at once, as a webhook is, unless steps are told to wait. */
export class Story {
  readonly display = ++lastDisplay;
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  async begin(time = "10:00:00") {
    await this.sql.rows(
      `insert into chatwoot.agents (account_id, kind, agent_id, name, version_at)
      values (1, 'user', 7, 'Maria Costa', now()), (1, 'user', 8, 'Ben Okafor', now()) on conflict do nothing`,
    );
    await this.sql.rows(
      `insert into chatwoot.contacts (account_id, contact_id, name, email, version_at)
      values (1, $1, 'Ana Alves', 'ana@customer.example', now())`,
      [this.display],
    );
    await this.sql.rows(
      `insert into chatwoot.conversations (account_id, display_id, inbox_id, contact_id, status, labels, created_at, version_at)
      values (1, $1, 3, $2, 'open', '{}', $3, $3)`,
      [this.display, this.display, at(time)],
    );
    return this;
  }

  async message(time: string, type: string, content: string | null, sender: [string, number] | null, said: Said & {
    private?: boolean;
    attributes?: object;
  } = {}): Promise<number> {
    const id = said.id ?? ++lastMessage;
    await this.sql.rows(
      `insert into chatwoot.messages (account_id, message_id, conversation_display_id, inbox_id, message_type, content_type,
        content, private, sender_kind, sender_id, attachments, content_attributes, created_at, delivery_status, version_at)
      values (1, $1, $2, 3, $3, 'text', $4, $5, $6, $7, '[]', $8, $9, $10, $9)`,
      [
        id,
        this.display,
        type,
        content,
        said.private ?? false,
        sender?.[0] ?? null,
        sender?.[1] ?? null,
        JSON.stringify(said.attributes ?? (said.mark ? { occ_action: said.mark } : {})),
        at(time),
        said.status ?? "sent",
      ],
    );
    await this.workOff(time);
    return id;
  }

  customer(time: string, content: string, said: Said = {}) {
    return this.message(time, "incoming", content, ["contact", this.display], said);
  }

  agent(time: string, content: string, said: Said = {}) {
    return this.message(time, "outgoing", content, ["user", said.agent ?? 7], said);
  }

  /** Chatwoot's own line that the status changed. */
  async status(time: string, status: string) {
    await this.message(time, "activity", `was marked ${status}`, null, {
      attributes: { activity: { type: "conversation_status_changed", status } },
    });
    await this.sql.rows("update chatwoot.conversations set status = $2 where account_id = 1 and display_id = $1", [
      this.display,
      status,
    ]);
  }

  workOff(time: string) {
    return this.sql.rows("select ledger.work_off(as_of => $1)", [at(time)]);
  }

  /** A draft of another maker than retrieval, to the newest message. */
  async draft(time: string, message: number, body: string, confidence = 0.9, maker = "model:test"): Promise<number> {
    const rows = await this.sql.rows<{ id: string }>(
      "select replies.propose_draft(1, $1, $2, $3, '1', $4, $5, '{}', $6) as id",
      [this.display, message, maker, body, confidence, at(time)],
    );
    return Number(rows[0].id);
  }

  /** Somebody takes it in hand, and so sees it. */
  claim(time: string, draft: number) {
    return this.sql.rows("select replies.claim_draft(1, $1, $2)", [draft, at(time)]);
  }

  /** Approves it; returns the mark its message will carry. */
  async approve(time: string, draft: number, finalText: string | null = null, grades: object | null = null) {
    await this.sql.rows("select replies.approve_draft(1, $1, $2, $3, false, $4)", [
      draft,
      finalText,
      grades && JSON.stringify(grades),
      at(time),
    ]);
    return await this.sql.value<string>(
      "select mark from actions.outbox where account_id = 1 and source = 'draft:' || $1::text",
      [draft],
    );
  }

  /** The dispatcher's record of it. */
  settled(time: string, draft: number, message: number | null, state = "sent") {
    return this.sql.rows(
      `update actions.outbox set state = $3, message_id = $4, settled_at = $2, problem = case $3 when 'dead' then 'HTTP 422' end
      where account_id = 1 and source = 'draft:' || $1::text`,
      [draft, at(time), state, message],
    );
  }

  /** Approves, sends, and tells of what was sent. */
  async send(time: string, draft: number, text: string, finalText: string | null = null): Promise<number> {
    const mark = await this.approve(time, draft, finalText);
    const message = await this.agent(time, text, { mark });
    await this.settled(time, draft, message);
    return message;
  }

  outcome(draft: number) {
    return outcomeOf(this.sql, draft);
  }
}

/** What became of a draft, as the room keeps it. */
export async function outcomeOf(sql: Sql, draft: number) {
  const [row] = await sql.rows<Record<string, unknown>>(
    `select outcome, is_final, edit_distance, round(edit_ratio::numeric, 4)::text as edit_ratio, edit_method, draft_length,
      sent_length, reply_message_id::int, reply_agent_id::int, outcome_at is not null as is_settled
    from replies.drafts where account_id = 1 and draft_id = $1`,
    [draft],
  );
  return row;
}

/** The eight drafts of the fixture, each in a conversation of its own. Returns their ids. */
export async function eightDrafts(sql: Sql): Promise<number[]> {
  const refund = "Your refund was issued today.";
  const sent = async (body: string, text: string) => {
    const story = await new Story(sql).begin();
    const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where is it?"), body);
    await story.claim("10:01:00", draft);
    await story.send("10:02:00", draft, text, text === body ? null : text);
    return draft;
  };
  const ids = [
    await sent(refund, refund),
    await sent(refund, "Your refund was issued yesterday."),
    await sent("Please restart the app.", "Hi Ana, please restart the app and tell me if it works."),
    await sent("Your parcel is late.", "I have opened a claim with the courier."),
  ];
  const begun = async (confidence = 0.9) => {
    const story = await new Story(sql).begin();
    const message = await story.customer("10:00:05", "Where is it?");
    const draft = await story.draft("10:00:10", message, refund, confidence);
    ids.push(draft);
    return { story, draft };
  };
  const discarded = await begun();
  await discarded.story.claim("10:01:00", discarded.draft);
  await discarded.story.agent("10:05:00", "Which order number do you mean, please?");
  const superseded = await begun();
  await superseded.story.agent("10:05:00", refund);
  const expired = await begun();
  await expired.story.claim("10:01:00", expired.draft);
  await expired.story.status("10:05:00", "resolved");
  const abstained = await begun(0.1);
  await abstained.story.agent("10:05:00", "Let me look that up.");
  return ids;
}
