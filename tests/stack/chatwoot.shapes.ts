// The shapes of Chatwoot's payloads, key by key and in order, transcribed from facts/chatwoot.md §2 and Appendix A.
import { Float } from "../../local/chatwoot/serialise.ts";

/** A kind, `|null` after it where null may stand; `any` for free objects. */
type Kind = string;
export type Shape = Kind | { [key: string]: Shape } | [Shape] | null;

const account = { id: "integer", name: "string" };

const plainContact = {
  additional_attributes: "object",
  custom_attributes: "object",
  email: "string|null",
  id: "integer",
  identifier: "string|null",
  name: "string",
  phone_number: "string|null",
  thumbnail: "string",
  blocked: "boolean",
};
export const pushContact = { ...plainContact, type: "=contact" };
export const contact = {
  account,
  additional_attributes: "object",
  avatar: "string",
  custom_attributes: "object",
  email: "string|null",
  id: "integer",
  identifier: "string|null",
  name: "string",
  phone_number: "string|null",
  thumbnail: "string",
  blocked: "boolean",
};
export const user = { id: "integer", name: "string", email: "string", type: "=user" };
export const bot = { id: "integer", name: "string", type: "=agent_bot" };
export const pushUser = {
  id: "integer",
  name: "string",
  available_name: "string",
  avatar_url: "string",
  type: "=user",
  availability_status: "null",
  thumbnail: "string",
};
export const pushBot = { id: "integer", name: "string", avatar_url: "string", type: "=agent_bot" };
export const team = { id: "integer", name: "string", icon: "string", icon_color: "string" };

const contactInbox = {
  id: "integer",
  contact_id: "integer",
  inbox_id: "integer",
  source_id: "string",
  created_at: "iso",
  updated_at: "iso",
  hmac_verified: "boolean",
  pubsub_token: "string",
};

export const image = {
  id: "integer",
  message_id: "integer",
  file_type: "=image",
  account_id: "integer",
  extension: "string",
  content_type: "string",
  data_url: "string",
  thumb_url: "string",
  file_size: "integer",
  width: "integer",
  height: "integer",
};

export const nestedMessage = (more: Record<string, Shape>) => ({
  id: "integer",
  content: "string|null",
  account_id: "integer",
  inbox_id: "integer",
  conversation_id: "integer",
  message_type: "integer",
  created_at: "integer",
  updated_at: "iso",
  private: "boolean",
  status: "string",
  source_id: "string|null",
  content_type: "string",
  content_attributes: "object",
  sender_type: "string|null",
  sender_id: "integer|null",
  external_source_ids: "object",
  additional_attributes: "object",
  processed_message_content: "string|null",
  sentiment: "object",
  conversation: {
    assignee_id: "integer|null",
    unread_count: "integer",
    last_activity_at: "integer",
    contact_inbox: { source_id: "string" },
  },
  ...more,
});

interface ConversationParts {
  message?: Shape;
  assignee?: Shape;
  assigneeType?: string;
  team?: Shape;
}
export const conversation = (
  { message, assignee = "null", assigneeType = "null", team = "null" }: ConversationParts,
) => ({
  additional_attributes: "object",
  can_reply: "boolean",
  channel: "string",
  contact_inbox: contactInbox,
  id: "integer",
  inbox_id: "integer",
  messages: (message === undefined ? "empty" : [message]) as Shape,
  labels: "strings",
  meta: { sender: pushContact, assignee, assignee_type: assigneeType, team, hmac_verified: "boolean" },
  status: "string",
  custom_attributes: "object",
  snoozed_until: "iso|null",
  unread_count: "integer",
  first_reply_created_at: "iso|null",
  priority: "string|null",
  waiting_since: "integer",
  agent_last_seen_at: "integer",
  contact_last_seen_at: "integer",
  last_activity_at: "integer",
  timestamp: "integer",
  created_at: "integer",
  updated_at: "float",
  account,
});

interface MessageParts {
  conversation: Shape;
  sender: Shape;
  attachments?: Shape;
  event: string;
}
export const message = ({ conversation, sender, attachments, event }: MessageParts) => ({
  account,
  additional_attributes: "object",
  content_attributes: "object",
  content_type: "string",
  content: "string|null",
  conversation,
  created_at: "iso",
  id: "integer",
  inbox: account,
  message_type: "string",
  private: "boolean",
  sender,
  source_id: "string|null",
  ...(attachments === undefined ? {} : { attachments }),
  event: `=${event}`,
});

export const inbox = {
  allow_messages_after_resolved: "boolean",
  lock_to_single_conversation: "boolean",
  auto_assignment_config: "object",
  enable_auto_assignment: "boolean",
  enable_email_collect: "boolean",
  greeting_enabled: "boolean",
  greeting_message: "string|null",
  csat_survey_enabled: "boolean",
  business_name: "null",
  sender_name_type: "string",
  timezone: "string",
  out_of_office_message: "null",
  working_hours_enabled: "boolean",
  working_hours: [{
    id: "integer",
    inbox_id: "integer",
    account_id: "integer",
    day_of_week: "integer",
    closed_all_day: "boolean",
    open_hour: "integer|null",
    open_minutes: "integer|null",
    close_hour: "integer|null",
    close_minutes: "integer|null",
    created_at: "iso",
    updated_at: "iso",
    open_all_day: "boolean",
  }] as [Shape],
  created_at: "iso",
  updated_at: "iso",
  channel: "object",
  account,
};

/** Every place where a payload differs from a shape; order of keys included. */
export function faults(value: unknown, shape: Shape, path = "payload"): string[] {
  if (shape === null) return value === null ? [] : [`${path} is not null`];
  if (typeof shape === "string") return isOfKind(value, shape) ? [] : [`${path} is not ${shape}: ${String(value)}`];
  if (Array.isArray(shape)) {
    if (!Array.isArray(value) || value.length === 0) return [`${path} is not a filled list`];
    return value.flatMap((item, index) => faults(item, shape[0], `${path}[${index}]`));
  }
  if (typeof value !== "object" || value === null) return [`${path} is not an object`];
  const keys = Object.keys(value).join(" ");
  const wanted = Object.keys(shape).join(" ");
  if (keys !== wanted) return [`${path} has the keys ${keys} instead of ${wanted}`];
  return Object.entries(value).flatMap(([key, item]) => faults(item, shape[key], `${path}.${key}`));
}

function isOfKind(value: unknown, kind: Kind): boolean {
  if (kind.startsWith("=")) return value === kind.slice(1);
  return kind.split("|").some((one) => {
    switch (one) {
      case "null":
        return value === null;
      case "integer":
        return Number.isInteger(value);
      case "float":
        return value instanceof Float;
      case "iso":
        return typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value);
      case "object":
        return typeof value === "object" && value !== null && !Array.isArray(value);
      case "strings":
        return Array.isArray(value) && value.every((item) => typeof item === "string");
      case "empty":
        return Array.isArray(value) && value.length === 0;
      case "string":
        return typeof value === "string";
      case "boolean":
        return typeof value === "boolean";
      default:
        throw new Error(`There is no kind ${one}.`);
    }
  });
}
