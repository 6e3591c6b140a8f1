// Works out the `changed_attributes` of a save: columns before against columns after.
import type { Attributes, Contact, Conversation, Inbox } from "./records.ts";
import { type Instant, isoTime } from "./serialise.ts";

export const nullableTime = (instant: Instant | null) => instant === null ? null : isoTime(instant);

// Columns of a save, by the names and in the forms `changed_attributes` uses.
export const columns = (conversation: Conversation): Attributes => ({
  status: conversation.status,
  assignee_id: conversation.assignee?.kind === "User" ? conversation.assignee.id : null,
  assignee_agent_bot_id: conversation.assignee?.kind === "AgentBot" ? conversation.assignee.id : null,
  team_id: conversation.team?.id ?? null,
  snoozed_until: nullableTime(conversation.snoozedUntil),
  priority: conversation.priority,
  waiting_since: nullableTime(conversation.waitingSince),
  first_reply_created_at: nullableTime(conversation.firstReplyCreatedAt),
  custom_attributes: conversation.customAttributes,
  cached_label_list: conversation.labels.join(", "),
  label_list: conversation.labels,
});

export const contactColumns = (contact: Contact): Attributes => ({
  name: contact.name,
  email: contact.email,
  phone_number: contact.phoneNumber,
  identifier: contact.identifier,
  blocked: contact.blocked,
  custom_attributes: contact.customAttributes,
  additional_attributes: contact.additionalAttributes,
  last_activity_at: nullableTime(contact.lastActivityAt),
});

export const inboxColumns = (inbox: Inbox): Attributes => ({
  csat_survey_enabled: inbox.csatSurveyEnabled,
  greeting_enabled: inbox.greetingMessage !== null,
  greeting_message: inbox.greetingMessage,
});

// Values are replaced and never changed in place, so identity is enough to see a change.
export const differences = (before: Attributes, after: Attributes): Attributes[] =>
  Object.keys(after).filter((key) => before[key] !== after[key]).map((key) => ({
    [key]: { previous_value: before[key], current_value: after[key] },
  }));
