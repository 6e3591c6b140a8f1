// Turns records into webhook payloads: the same record looks different at the top level, nested, and as a sender.
// Key order and the mix of epoch seconds, floats and ISO strings are Chatwoot's (facts/chatwoot.md §2).
import {
  type Account,
  type Agent,
  type Attachment,
  type Attributes,
  type Bot,
  CHANNEL_CLASS,
  type Contact,
  type ContactInbox,
  type Conversation,
  type Inbox,
  type Message,
  MESSAGE_TYPES,
} from "./records.ts";
import { CLOSING_HOUR, OPENING_HOUR, TIME_ZONE } from "./furniture.ts";
import { epochFloat, epochSeconds, type Instant, isoTime } from "./serialise.ts";

/** The installation as far as payloads need it. */
export interface Surroundings {
  account: Account;
  /** Where attachments and the satisfaction survey are reached. */
  baseUrl: string;
  /** Decides whether a channel's reply window is still open. */
  now: Instant;
}

const orZero = (instant: Instant | null) => instant === null ? 0 : epochSeconds(instant);
const orNull = (instant: Instant | null) => instant === null ? null : isoTime(instant);

/** The conversation object of every conversation event, nested in message and typing events too. */
export function conversationPayload(conversation: Conversation, surroundings: Surroundings): Attributes {
  const newest = newestPublicMessage(conversation);
  return {
    additional_attributes: conversation.additionalAttributes,
    can_reply: canReply(conversation, surroundings.now),
    channel: CHANNEL_CLASS[conversation.inbox.channel],
    contact_inbox: contactInboxRow(conversation.contactInbox),
    id: conversation.displayId,
    inbox_id: conversation.inbox.id,
    messages: newest === null ? [] : [pushMessage(newest, surroundings)],
    labels: [...conversation.labels],
    meta: {
      sender: pushContact(conversation.contact),
      assignee: conversation.assignee === null ? null : pushPerson(conversation.assignee),
      assignee_type: conversation.assignee?.kind ?? null,
      team: conversation.team === null
        ? null
        : { id: conversation.team.id, name: conversation.team.name, icon: "", icon_color: "" },
      hmac_verified: false,
    },
    status: conversation.status,
    custom_attributes: conversation.customAttributes,
    snoozed_until: orNull(conversation.snoozedUntil),
    unread_count: unreadCount(conversation),
    first_reply_created_at: orNull(conversation.firstReplyCreatedAt),
    priority: conversation.priority,
    waiting_since: orZero(conversation.waitingSince),
    agent_last_seen_at: orZero(conversation.agentLastSeenAt),
    contact_last_seen_at: orZero(conversation.contactLastSeenAt),
    last_activity_at: epochSeconds(conversation.lastActivityAt),
    timestamp: epochSeconds(conversation.lastActivityAt),
    created_at: epochSeconds(conversation.createdAt),
    updated_at: epochFloat(conversation.updatedAt),
    account: { ...surroundings.account },
  };
}

/** The top level of `message_created` and `message_updated`. */
export function webhookMessage(message: Message, surroundings: Surroundings): Attributes {
  const { conversation } = message;
  show(message);
  return {
    account: { ...surroundings.account },
    additional_attributes: message.additionalAttributes,
    content_attributes: message.contentAttributes,
    content_type: message.contentType,
    content: withSurveyLink(message, surroundings),
    conversation: conversationPayload(conversation, surroundings),
    created_at: isoTime(message.createdAt),
    id: message.id,
    inbox: { id: conversation.inbox.id, name: conversation.inbox.name },
    message_type: message.type,
    private: message.private,
    sender: message.sender === null ? null : webhookSender(message.sender, surroundings.account),
    source_id: message.sourceId,
    ...(message.attachments.length === 0 ? {} : { attachments: attachmentPayloads(message, surroundings) }),
  };
}

/** A contact at the top level of contact events, and as the sender of a message: without a `type`. */
export function webhookContact(contact: Contact, account: Account): Attributes {
  return {
    account: { ...account },
    additional_attributes: contact.additionalAttributes,
    avatar: "",
    custom_attributes: contact.customAttributes,
    email: contact.email,
    id: contact.id,
    identifier: contact.identifier,
    name: contact.name,
    phone_number: contact.phoneNumber,
    thumbnail: "",
    blocked: contact.blocked,
  };
}

/** Who wrote or types, as the top level shows it. */
export function webhookSender(sender: Contact | Agent | Bot, account: Account): Attributes {
  switch (sender.kind) {
    case "Contact":
      return webhookContact(sender, account);
    case "User":
      return { id: sender.id, name: sender.name, email: sender.email, type: "user" };
    case "AgentBot":
      return { id: sender.id, name: sender.name, type: "agent_bot" };
  }
}

export function inboxPayload(inbox: Inbox, account: Account): Attributes {
  return {
    allow_messages_after_resolved: true,
    lock_to_single_conversation: false,
    auto_assignment_config: {},
    enable_auto_assignment: inbox.autoAssignment,
    enable_email_collect: true,
    greeting_enabled: inbox.greetingMessage !== null,
    greeting_message: inbox.greetingMessage,
    csat_survey_enabled: inbox.csatSurveyEnabled,
    business_name: null,
    sender_name_type: "friendly",
    timezone: TIME_ZONE,
    out_of_office_message: null,
    working_hours_enabled: inbox.workingHoursEnabled,
    working_hours: WEEKDAYS.map((day) => ({
      ...workingDay(day, inbox, account),
      created_at: isoTime(inbox.createdAt),
      updated_at: isoTime(inbox.createdAt),
      open_all_day: false,
    })),
    created_at: isoTime(inbox.createdAt),
    updated_at: isoTime(inbox.updatedAt),
    channel: inbox.channelRow,
    account: { ...account },
  };
}

export function contactInboxRow(contactInbox: ContactInbox): Attributes {
  return {
    id: contactInbox.id,
    contact_id: contactInbox.contact.id,
    inbox_id: contactInbox.inbox.id,
    source_id: contactInbox.sourceId,
    created_at: isoTime(contactInbox.createdAt),
    updated_at: isoTime(contactInbox.createdAt),
    hmac_verified: false,
    pubsub_token: contactInbox.pubsubToken,
  };
}

/** Text as webhooks show it: no backslash before a line break, no line breaks at the end. */
export const normaliseText = (text: string | null): string | null =>
  text === null ? null : text.replace(/\\(?=\r?\n)/g, "").replace(/[\r\n]+$/, "");

/** The text at the top level; outside the widget a survey is a link that the customer follows. */
export function withSurveyLink(message: Message, { baseUrl }: Pick<Surroundings, "baseUrl">): string | null {
  const text = normaliseText(message.content);
  if (message.contentType !== "input_csat" || message.conversation.inbox.channel === "widget") return text;
  return `${text} ${baseUrl}/survey/responses/${message.conversation.uuid}`;
}

function pushMessage(message: Message, surroundings: Surroundings): Attributes {
  const { conversation } = message;
  const { account } = surroundings;
  message.shownStatus = message.status;
  show(message);
  const content = normaliseText(message.content);
  return {
    id: message.id,
    content,
    account_id: account.id,
    inbox_id: conversation.inbox.id,
    conversation_id: conversation.displayId,
    message_type: MESSAGE_TYPES.indexOf(message.type),
    created_at: epochSeconds(message.createdAt),
    updated_at: isoTime(message.updatedAt),
    private: message.private,
    status: message.status,
    source_id: message.sourceId,
    content_type: message.contentType,
    content_attributes: message.contentAttributes,
    sender_type: message.sender?.kind ?? null,
    sender_id: message.sender?.id ?? null,
    external_source_ids: {},
    additional_attributes: message.additionalAttributes,
    processed_message_content: content,
    sentiment: {},
    conversation: {
      assignee_id: conversation.assignee?.kind === "User" ? conversation.assignee.id : null,
      unread_count: unreadCount(conversation),
      last_activity_at: epochSeconds(conversation.lastActivityAt),
      contact_inbox: { source_id: conversation.contactInbox.sourceId },
    },
    ...(message.attachments.length === 0 ? {} : { attachments: attachmentPayloads(message, surroundings) }),
    ...(message.sender === null ? {} : {
      sender: message.sender.kind === "Contact" ? pushContact(message.sender) : pushPerson(message.sender),
    }),
  };
}

const pushContact = (contact: Contact): Attributes => ({
  additional_attributes: contact.additionalAttributes,
  custom_attributes: contact.customAttributes,
  email: contact.email,
  id: contact.id,
  identifier: contact.identifier,
  name: contact.name,
  phone_number: contact.phoneNumber,
  thumbnail: "",
  blocked: contact.blocked,
  type: "contact",
});

const pushPerson = (person: Agent | Bot): Attributes =>
  person.kind === "AgentBot" ? { id: person.id, name: person.name, avatar_url: "", type: "agent_bot" } : {
    id: person.id,
    name: person.name,
    available_name: person.availableName,
    avatar_url: "",
    type: "user",
    // The job that builds account webhooks has no current account to look the presence up in.
    availability_status: null,
    thumbnail: "",
  };

/** Where a file is fetched, and for pictures a smaller one; the addresses redirect to the storage. */
export function attachmentUrls(attachment: Attachment, baseUrl: string): { dataUrl: string; thumbUrl: string } {
  const { key, fileName } = attachment;
  const storage = `${baseUrl}/rails/active_storage`;
  const isImage = attachment.fileType === "image";
  return {
    dataUrl: `${storage}/blobs/redirect/${key}/${fileName}`,
    thumbUrl: isImage ? `${storage}/representations/redirect/${key}/${fileName}` : "",
  };
}

const attachmentPayloads = (message: Message, { account, baseUrl }: Surroundings): Attributes[] =>
  message.attachments.map((attachment: Attachment) => ({
    id: attachment.id,
    message_id: message.id,
    file_type: attachment.fileType,
    account_id: account.id,
    extension: attachment.extension,
    content_type: attachment.contentType,
    data_url: attachmentUrls(attachment, baseUrl).dataUrl,
    thumb_url: attachmentUrls(attachment, baseUrl).thumbUrl,
    file_size: attachment.fileSize,
    width: attachment.width,
    height: attachment.height,
    ...(attachment.fileType === "audio" ? { transcribed_text: "" } : {}),
  }));

/** Sunday first, as Chatwoot counts them. */
export const WEEKDAYS = [0, 1, 2, 3, 4, 5, 6];

/** A row of an inbox's working hours, up to its two times. */
export function workingDay(day: number, inbox: Inbox, account: Account): Attributes {
  const closed = day === 0 || day === 6;
  return {
    id: inbox.id * 7 + day,
    inbox_id: inbox.id,
    account_id: account.id,
    day_of_week: day,
    closed_all_day: closed,
    open_hour: closed ? null : OPENING_HOUR,
    open_minutes: closed ? null : 0,
    close_hour: closed ? null : CLOSING_HOUR,
    close_minutes: closed ? null : 0,
  };
}

// The newest instant that a payload about this message shows, as a receiver reads it.
function instantShown({ conversation, createdAt }: Message): Instant {
  const newest = newestPublicMessage(conversation);
  return Math.max(
    conversation.updatedAt,
    conversation.lastActivityAt - conversation.lastActivityAt % 1_000_000,
    createdAt - createdAt % 1000,
    newest === null ? 0 : newest.updatedAt - newest.updatedAt % 1000,
  );
}

function show(message: Message): void {
  const instant = instantShown(message);
  const { shown, updatedAt } = message;
  if (shown === null || instant > shown.instant) {
    message.shown = { instant, updatedAt, isSettled: true };
  } else if (shown.updatedAt !== updatedAt) {
    message.shown = { instant, updatedAt, isSettled: false };
  }
}

function newestPublicMessage(conversation: Conversation): Message | null {
  for (let index = conversation.messages.length - 1; index >= 0; index--) {
    if (!conversation.messages[index].private) return conversation.messages[index];
  }
  return null;
}

const UNREAD_LIMIT = 10;

function unreadCount(conversation: Conversation): number {
  const seen = conversation.agentLastSeenAt ?? 0;
  let count = 0;
  for (let index = conversation.messages.length - 1; index >= 0 && count < UNREAD_LIMIT; index--) {
    const message = conversation.messages[index];
    if (message.createdAt <= seen) break;
    if (message.type === "incoming") count++;
  }
  return count;
}

const WHATSAPP_WINDOW = 24 * 60 * 60 * 1_000_000;

// WhatsApp lets a business answer freely for a day after the customer's last message; the others always do.
function canReply(conversation: Conversation, now: Instant): boolean {
  if (conversation.inbox.channel !== "whatsapp") return true;
  for (let index = conversation.messages.length - 1; index >= 0; index--) {
    const message = conversation.messages[index];
    if (message.type === "incoming") return now - message.createdAt < WHATSAPP_WINDOW;
  }
  return false;
}
