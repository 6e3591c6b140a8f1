// Each record as rows of Chatwoot's tables: numbers for enums, times without a zone, attributes of messages encoded twice.
import { BOT, TIME_ZONE } from "./furniture.ts";
import { WEEKDAYS, workingDay } from "./payloads.ts";
import {
  type Agent,
  type Attributes,
  CHANNEL_CLASS,
  type Contact,
  CONTENT_TYPES,
  type Conversation,
  type CsatResponse,
  DELIVERY_STATUSES,
  FILE_KINDS,
  type Inbox,
  type Label,
  type Message,
  MESSAGE_TYPES,
  PRIORITIES,
  type ReportingEvent,
  STATUSES,
  type Tag,
  type Team,
} from "./records.ts";
import { type Instant, microTime, serialise } from "./serialise.ts";
import type { Kind, State } from "./state.ts";

/** Every table that is written, in the order in which it is. */
export const TABLES = [
  "accounts",
  "users",
  "account_users",
  "access_tokens",
  "agent_bots",
  "channel_api",
  "inboxes",
  "inbox_members",
  "agent_bot_inboxes",
  "working_hours",
  "teams",
  "team_members",
  "canned_responses",
  "labels",
  "tags",
  "contacts",
  "contact_inboxes",
  "conversations",
  "taggings",
  "messages",
  "attachments",
  "active_storage_blobs",
  "active_storage_attachments",
  "csat_survey_responses",
  "reporting_events",
] as const;
export type Table = (typeof TABLES)[number];

export interface Row {
  table: Table;
  /** Always with an id. Columns that are not named keep their defaults. */
  values: Attributes & { id: number };
}

const time = (instant: Instant) => microTime(instant).slice(0, -1);
const timeOrNull = (instant: Instant | null) => instant === null ? null : time(instant);
const times = (created: Instant, updated: Instant = created) => ({
  created_at: time(created),
  updated_at: time(updated),
});

/** Non-empty attributes are JSON in a JSON string, empty ones are no value at all. */
const encodedTwice = (attributes: Attributes) => Object.keys(attributes).length === 0 ? null : serialise(attributes);

// What belongs to no record of its own.
function accountRows(state: State): Row[] {
  const { account, administrator, accessToken, start } = state;
  return [
    { table: "accounts", values: { id: account.id, name: account.name, ...times(start) } },
    userRow(administrator, start),
    accountUserRow(administrator, state, 1),
    {
      table: "access_tokens",
      values: { id: 1, owner_type: "User", owner_id: administrator.id, token: accessToken, ...times(start) },
    },
    { table: "agent_bots", values: { id: BOT.id, name: BOT.name, account_id: account.id, ...times(start) } },
    ...state.cannedResponses.map(({ id, shortCode, content }): Row => ({
      table: "canned_responses",
      values: { id, account_id: account.id, short_code: shortCode, content, ...times(start) },
    })),
  ];
}

const userRow = (agent: Agent, start: Instant): Row => ({
  table: "users",
  values: {
    id: agent.id,
    uid: agent.email,
    name: agent.name,
    display_name: agent.availableName,
    email: agent.email,
    confirmed_at: time(start),
    ...times(start),
  },
});

const accountUserRow = (agent: Agent, { account, start }: State, role: 0 | 1): Row => ({
  table: "account_users",
  // Nobody is ever signed in here, so that what they set is what shows.
  values: { id: agent.id, account_id: account.id, user_id: agent.id, role, auto_offline: false, ...times(start) },
});

function inboxRows(inbox: Inbox, { account, agents }: State): Row[] {
  const { id, channelRow, createdAt } = inbox;
  return [
    {
      table: "inboxes",
      values: {
        id,
        channel_id: id,
        account_id: account.id,
        name: inbox.name,
        channel_type: CHANNEL_CLASS[inbox.channel],
        enable_auto_assignment: inbox.autoAssignment,
        greeting_enabled: inbox.greetingMessage !== null,
        greeting_message: inbox.greetingMessage,
        working_hours_enabled: inbox.workingHoursEnabled,
        timezone: TIME_ZONE,
        csat_survey_enabled: inbox.csatSurveyEnabled,
        ...times(createdAt, inbox.updatedAt),
      },
    },
    ...(inbox.channel === "api"
      ? [{ table: "channel_api", values: { ...channelRow, id, ...times(createdAt) } } as const]
      : []),
    ...(inbox.bot === null ? [] : [
      {
        table: "agent_bot_inboxes",
        values: { id, inbox_id: id, agent_bot_id: inbox.bot.id, account_id: account.id, ...times(createdAt) },
      } as const,
    ]),
    ...WEEKDAYS.map((day): Row => ({
      table: "working_hours",
      values: { ...workingDay(day, inbox, account), id: id * 7 + day, ...times(createdAt) },
    })),
    ...[...agents.keys()].map((agent): Row => ({
      table: "inbox_members",
      values: { id: agent * 1000 + id, user_id: agent, inbox_id: id, ...times(createdAt) },
    })),
  ];
}

const teamRows = ({ id, name }: Team, { account, agents, start }: State): Row[] => [
  { table: "teams", values: { id, name, account_id: account.id, ...times(start) } },
  ...[...agents.keys()].map((agent): Row => ({
    table: "team_members",
    values: { id: agent * 1000 + id, team_id: id, user_id: agent, ...times(start) },
  })),
];

const labelRows = ({ id, title, createdAt }: Label, { account }: State): Row[] => [{
  table: "labels",
  values: { id, title, show_on_sidebar: true, account_id: account.id, ...times(createdAt) },
}];

const tagRows = ({ id, name, uses }: Tag): Row[] => [{ table: "tags", values: { id, name, taggings_count: uses } }];

function contactRows(contact: Contact, { account }: State): Row[] {
  const isIdentified = [contact.email, contact.phoneNumber, contact.identifier].some(Boolean);
  return [
    {
      table: "contacts",
      values: {
        id: contact.id,
        name: contact.name,
        email: contact.email,
        phone_number: contact.phoneNumber,
        account_id: account.id,
        additional_attributes: contact.additionalAttributes,
        identifier: contact.identifier,
        custom_attributes: contact.customAttributes,
        last_activity_at: timeOrNull(contact.lastActivityAt),
        // A visitor of whom anything is known is a lead.
        contact_type: isIdentified ? 1 : 0,
        blocked: contact.blocked,
        ...times(contact.createdAt, contact.updatedAt),
      },
    },
    ...contact.contactInboxes.map((contactInbox): Row => ({
      table: "contact_inboxes",
      values: {
        id: contactInbox.id,
        contact_id: contact.id,
        inbox_id: contactInbox.inbox.id,
        source_id: contactInbox.sourceId,
        pubsub_token: contactInbox.pubsubToken,
        ...times(contactInbox.createdAt),
      },
    })),
  ];
}

function conversationRows(conversation: Conversation, { account }: State): Row[] {
  const { assignee } = conversation;
  return [
    {
      table: "conversations",
      values: {
        id: conversation.id,
        account_id: account.id,
        inbox_id: conversation.inbox.id,
        status: STATUSES.indexOf(conversation.status),
        assignee_id: assignee?.kind === "User" ? assignee.id : null,
        contact_id: conversation.contact.id,
        display_id: conversation.displayId,
        contact_last_seen_at: timeOrNull(conversation.contactLastSeenAt),
        agent_last_seen_at: timeOrNull(conversation.agentLastSeenAt),
        additional_attributes: conversation.additionalAttributes,
        contact_inbox_id: conversation.contactInbox.id,
        uuid: conversation.uuid,
        last_activity_at: time(conversation.lastActivityAt),
        team_id: conversation.team?.id ?? null,
        snoozed_until: timeOrNull(conversation.snoozedUntil),
        custom_attributes: conversation.customAttributes,
        assignee_last_seen_at: timeOrNull(conversation.assigneeLastSeenAt),
        first_reply_created_at: timeOrNull(conversation.firstReplyCreatedAt),
        priority: conversation.priority === null ? null : PRIORITIES.indexOf(conversation.priority),
        waiting_since: timeOrNull(conversation.waitingSince),
        cached_label_list: conversation.labels.join(", "),
        assignee_agent_bot_id: assignee?.kind === "AgentBot" ? assignee.id : null,
        ...times(conversation.createdAt, conversation.updatedAt),
      },
    },
    ...conversation.taggings.map(({ id, tag, createdAt }): Row => ({
      table: "taggings",
      values: {
        id,
        tag_id: tag.id,
        taggable_type: "Conversation",
        taggable_id: conversation.id,
        context: "labels",
        created_at: time(createdAt),
      },
    })),
  ];
}

function messageRows(message: Message, { account }: State): Row[] {
  return [
    {
      table: "messages",
      values: {
        id: message.id,
        content: message.content,
        account_id: account.id,
        inbox_id: message.conversation.inbox.id,
        conversation_id: message.conversation.id,
        message_type: MESSAGE_TYPES.indexOf(message.type),
        private: message.private,
        status: DELIVERY_STATUSES.indexOf(message.status),
        source_id: message.sourceId,
        content_type: CONTENT_TYPES.indexOf(message.contentType),
        content_attributes: encodedTwice(message.contentAttributes),
        sender_type: message.sender?.kind ?? null,
        sender_id: message.sender?.id ?? null,
        additional_attributes: message.additionalAttributes,
        processed_message_content: message.content,
        ...times(message.createdAt, message.updatedAt),
      },
    },
    ...message.attachments.flatMap((attachment): Row[] => {
      const { id, createdAt } = attachment;
      const created_at = time(createdAt);
      const file = { name: "file", record_type: "Attachment", record_id: id, blob_id: id };
      return [
        {
          table: "attachments",
          values: {
            id,
            file_type: FILE_KINDS.indexOf(attachment.fileType),
            message_id: message.id,
            account_id: account.id,
            extension: attachment.extension,
            ...times(createdAt),
          },
        },
        {
          table: "active_storage_blobs",
          values: {
            id,
            key: attachment.key,
            filename: attachment.fileName,
            content_type: attachment.contentType,
            metadata: JSON.stringify({ identified: true, width: attachment.width, height: attachment.height }),
            byte_size: attachment.fileSize,
            service_name: "local",
            created_at,
          },
        },
        { table: "active_storage_attachments", values: { id, ...file, created_at } },
      ];
    }),
  ];
}

const csatRows = (response: CsatResponse, { account }: State): Row[] => [{
  table: "csat_survey_responses",
  values: {
    id: response.id,
    account_id: account.id,
    conversation_id: response.message.conversation.id,
    message_id: response.message.id,
    rating: response.rating,
    feedback_message: response.feedback,
    contact_id: response.contactId,
    assigned_agent_id: response.assignedAgentId,
    ...times(response.createdAt, response.updatedAt),
  },
}];

const reportingRows = (event: ReportingEvent, { account }: State): Row[] => [{
  table: "reporting_events",
  values: {
    id: event.id,
    name: event.name,
    value: event.value,
    account_id: account.id,
    inbox_id: event.inboxId,
    user_id: event.userId,
    conversation_id: event.conversation.id,
    value_in_business_hours: event.valueInBusinessHours,
    event_start_time: time(event.startedAt),
    event_end_time: time(event.endedAt),
    ...times(event.createdAt),
  },
}];

/** The rows of one record; none when it is gone. A person who was removed stays a user, but not of this account. */
export function rowsOf(state: State, kind: Kind, id: number): Row[] {
  const rows = <Item>(item: Item | undefined, make: (item: Item, state: State) => Row[]) =>
    item === undefined ? [] : make(item, state);
  switch (kind) {
    case "account":
      return accountRows(state);
    case "agents": {
      const former = state.formerAgents.get(id);
      const agentRows = (agent: Agent) => [userRow(agent, state.start), accountUserRow(agent, state, 0)];
      return former === undefined ? rows(state.agents.get(id), agentRows) : [userRow(former, state.start)];
    }
    case "inboxes":
      return rows(Object.values(state.inboxes).find((inbox) => inbox.id === id), inboxRows);
    case "teams":
      return rows(state.teams.get(id), teamRows);
    case "labels":
      return rows(state.labels.get(id), labelRows);
    case "tags":
      return rows(state.tags.get(id), tagRows);
    case "contacts":
      return rows(state.contacts.get(id), contactRows);
    case "conversations":
      return rows(state.conversations.get(id), conversationRows);
    case "messages":
      return rows(state.messages.get(id), messageRows);
    case "csatResponses":
      return rows(state.csatResponses.get(id), csatRows);
    case "reportingEvents":
      return rows(state.reportingEvents.get(id), reportingRows);
  }
}
