// The end of the story, for a mirror to be compared with: one object a row of the mirror, its keys the columns there.
import { BOT, TIME_ZONE } from "./furniture.ts";
import { normaliseText, WEEKDAYS, workingDay } from "./payloads.ts";
import {
  type Agent,
  type Bot,
  CHANNEL_CLASS,
  type Contact,
  type Conversation,
  type CsatResponse,
  type Inbox,
  type Message,
  type ReportingEvent,
} from "./records.ts";
import { type Instant, microTime } from "./serialise.ts";
import type { State } from "./state.ts";

export const isSurvey = (message: Message): boolean => message.contentType === "input_csat";

/**
 * What a mirror learns through: Chatwoot's own tables show everything to the microsecond, REST shows no activity of the
 * statistics and few fractions of a second, webhooks show neither Chatwoot's own notes nor most delivery states.
 */
export type Door = "database" | "rest" | "webhooks";

export type FinalState = ReturnType<typeof finalState>;

const SECOND = 1_000_000;
const MILLISECOND = 1_000;
const cut = (instant: Instant, grain: number) => microTime(instant - instant % grain);
const cutOrNull = (instant: Instant | null, grain: number) => instant === null ? null : cut(instant, grain);

const KINDS = { User: "user", Contact: "contact", AgentBot: "agent_bot" } as const;
const kindOf = (person: Agent | Bot | Contact | null) => person === null ? null : KINDS[person.kind];

// How fine an instant of creation is to be had through each door.
const GRAINS = {
  database: { conversation: 1, reply: 1, message: 1 },
  rest: { conversation: SECOND, reply: SECOND, message: SECOND },
  webhooks: { conversation: SECOND, reply: MILLISECOND, message: MILLISECOND },
};

/** What a mirror must end with that heard or read everything through this door, in whatever order and however often. */
export function finalState(state: State, door: Door) {
  const account_id = state.account.id;
  const grain = GRAINS[door];

  const contactRow = (contact: Contact) => ({
    account_id,
    contact_id: contact.id,
    name: contact.name,
    email: contact.email,
    phone_number: contact.phoneNumber,
    identifier: contact.identifier,
    blocked: contact.blocked,
    additional_attributes: contact.additionalAttributes,
    custom_attributes: contact.customAttributes,
  });

  const conversationRow = (conversation: Conversation) => ({
    account_id,
    display_id: conversation.displayId,
    database_id: door === "database" ? conversation.id : null,
    inbox_id: conversation.inbox.id,
    contact_id: conversation.contact.id,
    channel: CHANNEL_CLASS[conversation.inbox.channel],
    status: conversation.status,
    priority: conversation.priority,
    assignee_kind: kindOf(conversation.assignee),
    assignee_id: conversation.assignee?.id ?? null,
    team_id: conversation.team?.id ?? null,
    labels: [...new Set(conversation.labels)].sort(),
    // REST shows it with a message alone.
    contact_source_id: door === "rest" && conversation.messages.length + conversation.activities.length === 0
      ? null
      : conversation.contactInbox.sourceId,
    additional_attributes: conversation.additionalAttributes,
    custom_attributes: conversation.customAttributes,
    snoozed_until: cutOrNull(conversation.snoozedUntil, MILLISECOND),
    // A wait that ends with the conversation is only forgotten in silence; nobody waits for what is resolved.
    waiting_since: conversation.status === "resolved" ? null : cutOrNull(conversation.waitingSince, SECOND),
    first_reply_created_at: cutOrNull(conversation.firstReplyCreatedAt, grain.reply),
    agent_last_seen_at: cutOrNull(conversation.agentLastSeenAt, SECOND),
    contact_last_seen_at: cutOrNull(conversation.contactLastSeenAt, SECOND),
    last_activity_at: cut(conversation.lastActivityAt, SECOND),
    created_at: cut(conversation.createdAt, grain.conversation),
  });

  const messageRow = (message: Message) => ({
    account_id,
    message_id: message.id,
    conversation_display_id: message.conversation.displayId,
    inbox_id: message.conversation.inbox.id,
    message_type: message.type,
    content_type: message.contentType,
    content: normaliseText(message.content),
    private: message.private,
    sender_kind: kindOf(message.sender),
    sender_id: message.sender?.id ?? null,
    source_id: message.sourceId,
    attachments: message.attachments.map(({ id, fileType, extension }) => ({ id, file_type: fileType, extension })),
    content_attributes: message.contentAttributes,
    additional_attributes: message.additionalAttributes,
    created_at: cut(message.createdAt, grain.message),
    delivery_status: door === "webhooks" ? message.shownStatus : message.status,
    // Only the tables know when; through the other doors it is when it was noticed.
    deleted_at: message.contentAttributes.deleted === true ? microTime(message.updatedAt) : null,
  });

  const csatRow = ({ message, rating, feedback, createdAt }: CsatResponse) => ({
    account_id,
    message_id: message.id,
    conversation_display_id: message.conversation.displayId,
    rating,
    feedback_message: feedback,
    first_answered_at: cut(createdAt, grain.message),
  });

  const reportingRow = (event: ReportingEvent) => ({
    account_id,
    event_id: event.id,
    name: event.name,
    conversation_display_id: event.conversation.displayId,
    inbox_id: event.inboxId,
    user_id: event.userId,
    value: event.value,
    value_in_business_hours: event.valueInBusinessHours,
    event_started_at: microTime(event.startedAt),
    event_ended_at: microTime(event.endedAt),
    created_at: microTime(event.createdAt),
  });

  const inboxRow = (inbox: Inbox) => ({
    account_id,
    inbox_id: inbox.id,
    name: inbox.name,
    channel: CHANNEL_CLASS[inbox.channel],
    time_zone: TIME_ZONE,
    working_hours_enabled: inbox.workingHoursEnabled,
    working_hours: WEEKDAYS.map((day) => {
      const { id: _id, inbox_id: _inbox, account_id: _account, ...hours } = workingDay(day, inbox, state.account);
      return { ...hours, open_all_day: false };
    }),
    greeting_enabled: inbox.greetingMessage !== null,
    csat_survey_enabled: inbox.csatSurveyEnabled,
    auto_assignment_enabled: inbox.autoAssignment,
    allow_messages_after_resolved: true,
    lock_to_single_conversation: false,
    reauthorization_required: null,
    created_at: microTime(inbox.createdAt),
  });

  const agentRow = (person: Agent | Bot) => ({
    account_id,
    kind: KINDS[person.kind],
    agent_id: person.id,
    name: person.name,
    available_name: person.kind === "User" ? person.availableName : null,
    email: person.kind === "User" ? person.email : null,
    // As at first: nobody changes it, and webhooks do not tell it.
    availability: person.kind === "User" && door !== "webhooks" ? "online" : null,
  });

  const byNumber = <Key extends string, Row extends Record<Key, number>>(rows: Row[], key: Key): Row[] =>
    rows.sort((one, other) => one[key] - other[key]);
  const messages = [...state.messages.values()];
  const told = door === "webhooks" ? messages.filter(({ type }) => type !== "activity") : messages;
  const titles = [
    ...[...state.labels.values()].map(({ title }) => title),
    ...[...state.conversations.values()].flatMap(({ labels }) => labels),
  ];
  return {
    accounts: [{ account_id, name: state.account.name }],
    inboxes: Object.values(state.inboxes).map(inboxRow),
    agents: [BOT, ...byNumber([state.administrator, ...state.agents.values()], "id")].map(agentRow),
    teams: byNumber([...state.teams.values()].map(({ id, name }) => ({ account_id, team_id: id, name })), "team_id"),
    /** Those of the account and those on conversations; a mirror may know more, since it forgets none. */
    labels: [...new Set(titles)].sort().map((title) => ({ account_id, title })),
    contacts: byNumber([...state.contacts.values()].map(contactRow), "contact_id"),
    conversations: byNumber([...state.conversations.values()].map(conversationRow), "display_id"),
    messages: byNumber(told.map(messageRow), "message_id"),
    csat_responses: byNumber([...state.csatResponses.values()].map(csatRow), "message_id"),
    /** Those of conversations that are still there. */
    reporting_events: door === "database"
      ? byNumber([...state.reportingEvents.values()].map(reportingRow), "event_id")
      : [],
    /** Messages whose last two states came in payloads of one instant: webhooks alone cannot tell which was the last. */
    unsettled: new Set(
      door === "webhooks"
        ? told.filter(({ shown, contentAttributes }) =>
          shown?.isSettled === false && contentAttributes.deleted !== true
        )
          .map(({ id }) => id)
        : [],
    ),
  };
}
