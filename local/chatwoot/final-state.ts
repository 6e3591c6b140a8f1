// The end of the story, for a mirror to be compared with.
import { nullableTime } from "./changes.ts";
import { withSurveyLink } from "./payloads.ts";
import type { Contact, Conversation, Message } from "./records.ts";
import { epochSeconds } from "./serialise.ts";

export const isSurvey = (message: Message): boolean => message.contentType === "input_csat";

export type FinalState = ReturnType<typeof finalState>;

/** What a mirror that heard every event must end with, in whatever order and however often it heard them. */
export function finalState({ contacts, conversations, messages, baseUrl }: {
  contacts: Map<number, Contact>;
  conversations: Map<number, Conversation>;
  messages: Map<number, Message>;
  baseUrl: string;
}) {
  return {
    contacts: [...contacts.values()].map((contact) => ({
      id: contact.id,
      name: contact.name,
      email: contact.email,
      phone_number: contact.phoneNumber,
      identifier: contact.identifier,
      blocked: contact.blocked,
      custom_attributes: contact.customAttributes,
    })),
    conversations: [...conversations.values()].map((conversation) => ({
      id: conversation.displayId,
      inbox_id: conversation.inbox.id,
      contact_id: conversation.contact.id,
      status: conversation.status,
      assignee_type: conversation.assignee?.kind ?? null,
      assignee_id: conversation.assignee?.id ?? null,
      team_id: conversation.team?.id ?? null,
      labels: [...conversation.labels].sort(),
      priority: conversation.priority,
      /** Epoch seconds; null when nobody waits. */
      waiting_since: conversation.waitingSince === null ? null : epochSeconds(conversation.waitingSince),
      snoozed_until: nullableTime(conversation.snoozedUntil),
      first_reply_created_at: nullableTime(conversation.firstReplyCreatedAt),
      csat: conversation.csat,
    })),
    messages: [...messages.values()].map((message) => ({
      id: message.id,
      conversation_id: message.conversation.displayId,
      message_type: message.type,
      content_type: message.contentType,
      content: withSurveyLink(message, { baseUrl }),
      private: message.private,
      sender_type: message.sender?.kind ?? null,
      sender_id: message.sender?.id ?? null,
      source_id: message.sourceId,
      deleted: message.contentAttributes.deleted === true,
      attachment_ids: message.attachments.map(({ id }) => id),
      /** Only the newest public message of a conversation shows its status: this is the last that was shown, or null. */
      delivery_status: message.shownStatus,
    })),
  };
}
