// Reads an installation back from its tables.
import type { PoolClient } from "pg";
import { UserError } from "../settings.ts";
import { ADMINISTRATOR, AGENTS, BOT, createInboxes, TEAMS } from "./furniture.ts";
import { createRandom } from "./random.ts";
import {
  type Agent,
  type Attachment,
  type Attributes,
  type Bot,
  type Contact,
  type ContactInbox,
  CONTENT_TYPES,
  type Conversation,
  DELIVERY_STATUSES,
  FILE_KINDS,
  type Inbox,
  type Message,
  MESSAGE_TYPES,
  PRIORITIES,
  STATUSES,
  type Tagging,
} from "./records.ts";
import { type Instant, readTime } from "./serialise.ts";
import { type Counters, everything, KINDS, type State } from "./state.ts";

interface Progress {
  baseUrl: string;
  start: Instant;
  clock: Instant;
  next: Counters;
  random: number;
}

interface Times {
  created_at: string;
  updated_at: string;
}
interface UserRow {
  id: number;
  name: string;
  display_name: string;
  email: string;
}
interface InboxRow extends Times {
  id: number;
  csat_survey_enabled: boolean;
  greeting_message: string | null;
}
interface ContactRow extends Times {
  id: number;
  name: string;
  email: string | null;
  phone_number: string | null;
  identifier: string | null;
  blocked: boolean;
  custom_attributes: Attributes;
  additional_attributes: Attributes;
  last_activity_at: string | null;
}
interface ContactInboxRow extends Times {
  id: number;
  contact_id: number;
  inbox_id: number;
  source_id: string;
  pubsub_token: string;
}
interface ConversationRow extends Times {
  id: number;
  display_id: number;
  uuid: string;
  inbox_id: number;
  contact_id: number;
  contact_inbox_id: number;
  status: number;
  assignee_id: number | null;
  assignee_agent_bot_id: number | null;
  team_id: number | null;
  priority: number | null;
  snoozed_until: string | null;
  waiting_since: string | null;
  first_reply_created_at: string | null;
  agent_last_seen_at: string | null;
  assignee_last_seen_at: string | null;
  contact_last_seen_at: string | null;
  last_activity_at: string;
  custom_attributes: Attributes;
  additional_attributes: Attributes;
}
interface MessageRow extends Times {
  id: number;
  conversation_id: number;
  message_type: number;
  content_type: number;
  content: string | null;
  private: boolean;
  status: number;
  source_id: string | null;
  sender_type: "Contact" | "User" | "AgentBot" | null;
  sender_id: number;
  content_attributes: string | null;
  additional_attributes: Attributes;
}
interface AttachmentRow {
  id: number;
  message_id: number;
  file_type: number;
  extension: string;
  created_at: string;
  key: string;
  filename: string;
  content_type: string;
  byte_size: number;
  metadata: string;
}
interface CsatRow extends Times {
  id: number;
  message_id: number;
  rating: number;
  feedback_message: string | null;
  contact_id: number;
  assigned_agent_id: number | null;
}
interface ReportingRow {
  id: number;
  name: string;
  conversation_id: number;
  inbox_id: number;
  user_id: number | null;
  value: number;
  value_in_business_hours: number;
  event_start_time: string;
  event_end_time: string;
  created_at: string;
}

const timeOrNull = (text: string | null) => text === null ? null : readTime(text);
const times = ({ created_at, updated_at }: Times) => ({
  createdAt: readTime(created_at),
  updatedAt: readTime(updated_at),
});

/** A record that another one names. The tables have no foreign keys, so nothing else vouches for it. */
function named<Record>(records: Map<number, Record>, id: number, kind: string): Record {
  const record = records.get(id);
  if (record === undefined) {
    throw new UserError(`The tables name a ${kind} ${id} that they do not hold: begin with an empty database again.`);
  }
  return record;
}

const byId = <Item extends { id: number }>(items: readonly Item[]) => new Map(items.map((item) => [item.id, item]));

/** The installation these tables hold; null when they hold none. */
export async function readState(client: PoolClient): Promise<State | null> {
  // As JSON, so that big numbers are numbers and times without a zone are text.
  const rowsOf = async <Row>(relation: string): Promise<Row[]> =>
    (await client.query<{ row: Row }>(`select to_json(rows) as row from ${relation} as rows order by rows.id`)).rows
      .map(({ row }) => row);
  const [account] = await rowsOf<{ id: number; name: string }>("accounts");
  if (account === undefined) return null;
  const { rows: [kept] } = await client.query<{ state: Progress }>(
    "select state from local_installation where account_id = $1",
    [account.id],
  );
  if (kept === undefined) throw new UserError(`Account ${account.id} was not made here: give an empty database.`);
  const { baseUrl, start, clock, next, random } = kept.state;

  const inboxes = createInboxes({ accountId: account.id, at: start });
  const inboxById = byId<Inbox>(Object.values(inboxes));
  for (const row of await rowsOf<InboxRow>("inboxes")) {
    Object.assign(named(inboxById, row.id, "inbox"), {
      csatSurveyEnabled: row.csat_survey_enabled,
      greetingMessage: row.greeting_message,
      ...times(row),
    });
  }

  const users = byId(
    (await rowsOf<UserRow>("users")).map((row): Agent =>
      [ADMINISTRATOR, ...AGENTS].find(({ id }) => id === row.id) ??
        { kind: "User", id: row.id, name: row.name, availableName: row.display_name, email: row.email }
    ),
  );
  const members = await rowsOf<{ id: number; user_id: number; role: number }>("account_users");
  const agents = byId(members.filter(({ role }) => role === 0).map(({ user_id }) => named(users, user_id, "user")));
  const administrators = members.filter(({ role }) => role === 1).map(({ user_id }) => named(users, user_id, "user"));
  const [administrator = ADMINISTRATOR] = administrators;
  const [{ token }] = await rowsOf<{ token: string }>("access_tokens");

  const teams = byId(
    (await rowsOf<{ id: number; name: string }>("teams")).map(({ id, name }) =>
      TEAMS.find((team) => team.id === id) ?? { id, name }
    ),
  );
  const labels = byId((await rowsOf<{ id: number; title: string; created_at: string }>("labels")).map((row) => ({
    id: row.id,
    title: row.title,
    createdAt: readTime(row.created_at),
  })));
  const tags = byId((await rowsOf<{ id: number; name: string; taggings_count: number }>("tags")).map((row) => ({
    id: row.id,
    name: row.name,
    uses: row.taggings_count,
  })));

  const contacts = byId((await rowsOf<ContactRow>("contacts")).map((row): Contact => ({
    kind: "Contact",
    id: row.id,
    name: row.name,
    email: row.email,
    phoneNumber: row.phone_number,
    identifier: row.identifier,
    blocked: row.blocked,
    customAttributes: row.custom_attributes,
    additionalAttributes: row.additional_attributes,
    lastActivityAt: timeOrNull(row.last_activity_at),
    ...times(row),
    contactInboxes: [],
  })));
  const contactInboxes = byId((await rowsOf<ContactInboxRow>("contact_inboxes")).map((row): ContactInbox => {
    const contact = named(contacts, row.contact_id, "contact");
    const contactInbox = {
      id: row.id,
      contact,
      inbox: named(inboxById, row.inbox_id, "inbox"),
      sourceId: row.source_id,
      pubsubToken: row.pubsub_token,
      createdAt: readTime(row.created_at),
    };
    contact.contactInboxes.push(contactInbox);
    return contactInbox;
  }));

  const assigneeOf = (row: ConversationRow): Agent | Bot | null =>
    row.assignee_id !== null ? named(users, row.assignee_id, "user") : row.assignee_agent_bot_id === null ? null : BOT;
  const conversations = byId((await rowsOf<ConversationRow>("conversations")).map((row): Conversation => ({
    id: row.id,
    displayId: row.display_id,
    uuid: row.uuid,
    inbox: named(inboxById, row.inbox_id, "inbox"),
    contact: named(contacts, row.contact_id, "contact"),
    contactInbox: named(contactInboxes, row.contact_inbox_id, "contact inbox"),
    status: STATUSES[row.status],
    assignee: assigneeOf(row),
    team: row.team_id === null ? null : named(teams, row.team_id, "team"),
    labels: [],
    taggings: [],
    priority: row.priority === null ? null : PRIORITIES[row.priority],
    snoozedUntil: timeOrNull(row.snoozed_until),
    waitingSince: timeOrNull(row.waiting_since),
    firstReplyCreatedAt: timeOrNull(row.first_reply_created_at),
    agentLastSeenAt: timeOrNull(row.agent_last_seen_at),
    assigneeLastSeenAt: timeOrNull(row.assignee_last_seen_at),
    contactLastSeenAt: timeOrNull(row.contact_last_seen_at),
    lastActivityAt: readTime(row.last_activity_at),
    ...times(row),
    customAttributes: row.custom_attributes,
    additionalAttributes: row.additional_attributes,
    messages: [],
    activities: [],
    reportingEvents: [],
  })));
  for (const row of await rowsOf<{ id: number; tag_id: number; taggable_id: number; created_at: string }>("taggings")) {
    const conversation = named(conversations, row.taggable_id, "conversation");
    const tagging: Tagging = { id: row.id, tag: named(tags, row.tag_id, "tag"), createdAt: readTime(row.created_at) };
    conversation.taggings.push(tagging);
    conversation.labels.push(tagging.tag.name);
  }

  const senderOf = ({ sender_type, sender_id }: MessageRow): Message["sender"] => {
    switch (sender_type) {
      case "Contact":
        return named(contacts, sender_id, "contact");
      case "User":
        return named(users, sender_id, "user");
      case "AgentBot":
        return BOT;
      case null:
        return null;
    }
  };
  const messages = byId((await rowsOf<MessageRow>("messages")).map((row): Message => {
    const conversation = named(conversations, row.conversation_id, "conversation");
    const message: Message = {
      id: row.id,
      conversation,
      type: MESSAGE_TYPES[row.message_type],
      contentType: CONTENT_TYPES[row.content_type],
      content: row.content,
      private: row.private,
      sender: senderOf(row),
      status: DELIVERY_STATUSES[row.status],
      shownStatus: null,
      shown: null,
      sourceId: row.source_id,
      contentAttributes: row.content_attributes === null ? {} : JSON.parse(row.content_attributes),
      additionalAttributes: row.additional_attributes,
      attachments: [],
      ...times(row),
    };
    (message.type === "activity" ? conversation.activities : conversation.messages).push(message);
    return message;
  }));
  const files = `(select attachments.*, blobs.key, blobs.filename, blobs.content_type, blobs.byte_size, blobs.metadata
    from attachments
    join active_storage_attachments as links on links.record_type = 'Attachment' and links.record_id = attachments.id
    join active_storage_blobs as blobs on blobs.id = links.blob_id)`;
  for (const row of await rowsOf<AttachmentRow>(files)) {
    const { width, height } = JSON.parse(row.metadata);
    const attachment: Attachment = {
      id: row.id,
      fileType: FILE_KINDS[row.file_type],
      extension: row.extension,
      contentType: row.content_type,
      key: row.key,
      fileName: row.filename,
      fileSize: row.byte_size,
      width,
      height,
      createdAt: readTime(row.created_at),
    };
    named(messages, row.message_id, "message").attachments.push(attachment);
  }

  const answers = (await rowsOf<CsatRow>("csat_survey_responses")).map((row) => ({
    id: row.id,
    message: named(messages, row.message_id, "message"),
    rating: row.rating,
    feedback: row.feedback_message,
    contactId: row.contact_id,
    assignedAgentId: row.assigned_agent_id,
    ...times(row),
  }));
  const reportingEvents = byId((await rowsOf<ReportingRow>("reporting_events")).map((row) => {
    const conversation = named(conversations, row.conversation_id, "conversation");
    const event = {
      id: row.id,
      name: row.name,
      conversation,
      inboxId: row.inbox_id,
      userId: row.user_id,
      value: row.value,
      valueInBusinessHours: row.value_in_business_hours,
      startedAt: readTime(row.event_start_time),
      endedAt: readTime(row.event_end_time),
      createdAt: readTime(row.created_at),
    };
    conversation.reportingEvents.push(event);
    return event;
  }));

  const state = {
    account: { id: account.id, name: account.name },
    baseUrl,
    start,
    administrator,
    accessToken: token,
    inboxes,
    cannedResponses: (await rowsOf<{ id: number; short_code: string; content: string }>("canned_responses")).map((
      row,
    ) => ({ id: row.id, shortCode: row.short_code, content: row.content })),
    agents,
    formerAgents: new Map([...users].filter(([id]) => !agents.has(id) && id !== administrator.id)),
    teams,
    labels,
    tags,
    contacts,
    conversations: new Map([...conversations.values()].map((conversation) => [conversation.displayId, conversation])),
    messages,
    csatResponses: new Map(answers.map((answer) => [answer.message.id, answer])),
    reportingEvents,
    next,
    clock,
    random: createRandom(random),
  };
  const touched = everything(state);
  for (const kind of KINDS) touched[kind].clear();
  return { ...state, touched };
}
