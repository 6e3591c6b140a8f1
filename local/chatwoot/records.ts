// What an installation remembers: the rows of Chatwoot's own tables, as far as webhooks or a mirror show them.
import type { Instant } from "./serialise.ts";

export type Attributes = Record<string, unknown>;

export interface Account {
  id: number;
  name: string;
}

export const CHANNELS = ["widget", "email", "sms", "whatsapp", "api"] as const;
export type Channel = (typeof CHANNELS)[number];

export const CHANNEL_CLASS: Record<Channel, string> = {
  widget: "Channel::WebWidget",
  email: "Channel::Email",
  sms: "Channel::TwilioSms",
  whatsapp: "Channel::Whatsapp",
  api: "Channel::Api",
};

export interface Inbox {
  id: number;
  name: string;
  channel: Channel;
  /** An active agent bot: conversations then begin, and reopen, as pending. */
  bot: Bot | null;
  /** The older assignment engine: picks an agent in the transaction that opens, and loses the status event by it. */
  autoAssignment: boolean;
  /** Whether its working hours are in force; without them Chatwoot counts no business hours. */
  workingHoursEnabled: boolean;
  csatSurveyEnabled: boolean;
  greetingMessage: string | null;
  /** The channel's row, credentials included, as `inbox_updated` shows it. */
  channelRow: Attributes;
  createdAt: Instant;
  updatedAt: Instant;
}

export interface Agent {
  kind: "User";
  id: number;
  name: string;
  availableName: string;
  email: string;
}

export interface Bot {
  kind: "AgentBot";
  id: number;
  name: string;
}

export interface Team {
  id: number;
  name: string;
}

export interface CannedResponse {
  id: number;
  shortCode: string;
  content: string;
}

/** A label the account has made known. The tag of the same name stays when the label goes. */
export interface Label {
  id: number;
  title: string;
  createdAt: Instant;
}

/** The name behind labels, shared by all accounts of an installation. */
export interface Tag {
  id: number;
  name: string;
  uses: number;
}

export interface Tagging {
  id: number;
  tag: Tag;
  createdAt: Instant;
}

export interface Contact {
  kind: "Contact";
  id: number;
  name: string;
  email: string | null;
  phoneNumber: string | null;
  identifier: string | null;
  blocked: boolean;
  customAttributes: Attributes;
  additionalAttributes: Attributes;
  lastActivityAt: Instant | null;
  createdAt: Instant;
  updatedAt: Instant;
  /** The first of an inbox is the one in use; a merge of contacts brings further ones. */
  contactInboxes: ContactInbox[];
}

export interface ContactInbox {
  id: number;
  contact: Contact;
  inbox: Inbox;
  sourceId: string;
  pubsubToken: string;
  createdAt: Instant;
}

export const STATUSES = ["open", "resolved", "pending", "snoozed"] as const;
export type Status = (typeof STATUSES)[number];

export const PRIORITIES = ["low", "medium", "high", "urgent"] as const;
export type Priority = (typeof PRIORITIES)[number];

export interface Conversation {
  /** Chatwoot's own id of the row, which neither webhooks nor REST show. */
  id: number;
  displayId: number;
  uuid: string;
  inbox: Inbox;
  contact: Contact;
  contactInbox: ContactInbox;
  status: Status;
  assignee: Agent | Bot | null;
  team: Team | null;
  labels: string[];
  /** One for each label, in the same order. */
  taggings: Tagging[];
  priority: Priority | null;
  snoozedUntil: Instant | null;
  waitingSince: Instant | null;
  firstReplyCreatedAt: Instant | null;
  agentLastSeenAt: Instant | null;
  assigneeLastSeenAt: Instant | null;
  contactLastSeenAt: Instant | null;
  lastActivityAt: Instant;
  createdAt: Instant;
  updatedAt: Instant;
  customAttributes: Attributes;
  additionalAttributes: Attributes;
  /** In order of creation. */
  messages: Message[];
  /** What Chatwoot itself notes between them ("Assigned to …"); no webhook shows these. */
  activities: Message[];
  reportingEvents: ReportingEvent[];
}

export const MESSAGE_TYPES = ["incoming", "outgoing", "activity", "template"] as const;
export type MessageType = (typeof MESSAGE_TYPES)[number];

export const CONTENT_TYPES = [
  "text",
  "input_text",
  "input_textarea",
  "input_email",
  "input_select",
  "cards",
  "form",
  "article",
  "incoming_email",
  "input_csat",
  "integrations",
  "sticker",
  "voice_call",
] as const;
export type ContentType = (typeof CONTENT_TYPES)[number];

export const DELIVERY_STATUSES = ["sent", "delivered", "read", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

export interface Message {
  id: number;
  conversation: Conversation;
  type: MessageType;
  contentType: ContentType;
  content: string | null;
  private: boolean;
  sender: Contact | Agent | Bot | null;
  status: DeliveryStatus;
  /** The status in the newest payload that showed one: a message that was never the last public one shows none. */
  shownStatus: DeliveryStatus | null;
  /** Of the payloads that showed it: the newest instant in them, and what it was like then. */
  shown: Shown | null;
  sourceId: string | null;
  contentAttributes: Attributes;
  additionalAttributes: Attributes;
  attachments: Attachment[];
  createdAt: Instant;
  updatedAt: Instant;
}

/**
 * A payload of a message says only when its conversation last changed, and an edit does not change that. Two payloads of
 * one instant that show two states cannot be put in order by anybody who has only them.
 */
export interface Shown {
  instant: Instant;
  updatedAt: Instant;
  isSettled: boolean;
}

/** A row of Chatwoot's own statistics, written once. */
export interface ReportingEvent {
  id: number;
  name: string;
  conversation: Conversation;
  inboxId: number;
  userId: number | null;
  /** Seconds. */
  value: number;
  valueInBusinessHours: number;
  startedAt: Instant;
  endedAt: Instant;
  createdAt: Instant;
}

/** The customer's answer to a survey. */
export interface CsatResponse {
  id: number;
  message: Message;
  rating: number;
  feedback: string | null;
  contactId: number;
  assignedAgentId: number | null;
  createdAt: Instant;
  updatedAt: Instant;
}

export const FILE_KINDS = ["image", "audio", "video", "file"] as const;

export interface Attachment {
  id: number;
  fileType: (typeof FILE_KINDS)[number];
  extension: string;
  contentType: string;
  /** With the name of the file it makes the address. */
  key: string;
  fileName: string;
  fileSize: number;
  width: number | null;
  height: number | null;
  createdAt: Instant;
}

const FILE_TYPES: Record<string, { fileType: Attachment["fileType"]; contentType: string }> = {
  jpg: { fileType: "image", contentType: "image/jpeg" },
  png: { fileType: "image", contentType: "image/png" },
  ogg: { fileType: "audio", contentType: "audio/ogg" },
  mp4: { fileType: "video", contentType: "video/mp4" },
  pdf: { fileType: "file", contentType: "application/pdf" },
};

/** What a file's name says about it; null for kinds this shop's customers never send. */
export function fileKind(
  name: string,
): { extension: string; fileType: Attachment["fileType"]; contentType: string } | null {
  const extension = name.slice(name.lastIndexOf(".") + 1).toLowerCase();
  const kind = FILE_TYPES[extension];
  return kind === undefined ? null : { extension, ...kind };
}
