// What an installation remembers: the rows of Chatwoot's own tables, as far as webhooks show them.
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
  updatedAt: Instant;
  contactInboxes: Map<number, ContactInbox>;
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
  displayId: number;
  uuid: string;
  inbox: Inbox;
  contact: Contact;
  contactInbox: ContactInbox;
  status: Status;
  assignee: Agent | Bot | null;
  team: Team | null;
  labels: string[];
  priority: Priority | null;
  snoozedUntil: Instant | null;
  waitingSince: Instant | null;
  firstReplyCreatedAt: Instant | null;
  agentLastSeenAt: Instant | null;
  contactLastSeenAt: Instant | null;
  lastActivityAt: Instant;
  createdAt: Instant;
  updatedAt: Instant;
  customAttributes: Attributes;
  additionalAttributes: Attributes;
  /** The customer's answer to the survey. */
  csat: { rating: number; feedback: string | null } | null;
  /** In order of creation, without the activity messages, which no webhook shows. */
  messages: Message[];
}

export const MESSAGE_TYPES = ["incoming", "outgoing", "activity", "template"] as const;
export type MessageType = "incoming" | "outgoing" | "template";

export const DELIVERY_STATUSES = ["sent", "delivered", "read", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

export interface Message {
  id: number;
  conversation: Conversation;
  type: MessageType;
  contentType: "text" | "incoming_email" | "input_csat" | "input_select";
  content: string | null;
  private: boolean;
  sender: Contact | Agent | Bot | null;
  status: DeliveryStatus;
  /** The status in the newest payload that showed one: a message that was never the last public one shows none. */
  shownStatus: DeliveryStatus | null;
  sourceId: string | null;
  contentAttributes: Attributes;
  additionalAttributes: Attributes;
  attachments: Attachment[];
  createdAt: Instant;
  updatedAt: Instant;
}

export interface Attachment {
  id: number;
  fileType: "image" | "audio" | "video" | "file";
  extension: string;
  contentType: string;
  dataUrl: string;
  thumbUrl: string;
  fileSize: number;
  width: number | null;
  height: number | null;
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
