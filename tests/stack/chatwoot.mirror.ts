// deno-lint-ignore no-explicit-any -- Parsed JSON, read here only by keys that the shape tests vouch for.
export type Told = Record<string, any>;

// The smallest mirror that could work: whatever carries the higher version wins.
export function mirrorOf(payloads: Told[]) {
  const contacts = new Map<number, { version: string; row: unknown }>();
  const conversations = new Map<number, { version: number; row: Record<string, unknown> }>();
  const messages = new Map<number, { version: number; row: Record<string, unknown> }>();
  const statuses = new Map<number, { version: string; status: string }>();
  const answers = new Map<number, { version: number; csat: unknown }>();
  const keepNewer = <Row extends { version: number | string }>(rows: Map<number, Row>, id: number, row: Row) => {
    const known = rows.get(id);
    if (known === undefined || known.version < row.version) rows.set(id, row);
  };
  for (const payload of payloads) {
    if (payload.event.startsWith("contact_")) {
      const { id, name, email, phone_number, identifier, blocked, custom_attributes } = payload;
      const changes = Object.assign({}, ...(payload.changed_attributes ?? []));
      const row = { id, name, email, phone_number, identifier, blocked, custom_attributes };
      keepNewer(contacts, id, { version: changes.updated_at?.current_value ?? "", row });
      continue;
    }
    const conversation = payload.conversation ?? payload;
    const version = conversation.updated_at;
    keepNewer(conversations, conversation.id, {
      version,
      row: {
        id: conversation.id,
        inbox_id: conversation.inbox_id,
        contact_id: conversation.meta.sender.id,
        status: conversation.status,
        assignee_type: conversation.meta.assignee_type,
        assignee_id: conversation.meta.assignee?.id ?? null,
        team_id: conversation.meta.team?.id ?? null,
        labels: [...conversation.labels].sort(),
        priority: conversation.priority,
        waiting_since: conversation.waiting_since === 0 ? null : conversation.waiting_since,
        snoozed_until: conversation.snoozed_until,
        first_reply_created_at: conversation.first_reply_created_at,
      },
    });
    for (const shown of conversation.messages) {
      keepNewer(statuses, shown.id, { version: shown.updated_at, status: shown.status });
    }
    if (!payload.event.startsWith("message_")) continue;
    const values = payload.content_attributes.submitted_values?.csat_survey_response;
    if (values !== undefined) {
      const csat = { rating: Number(values.rating), feedback: values.feedback_message };
      keepNewer(answers, conversation.id, { version, csat });
    }
    keepNewer(messages, payload.id, {
      version,
      row: {
        id: payload.id,
        conversation_id: conversation.id,
        message_type: payload.message_type,
        content_type: payload.content_type,
        content: payload.content,
        private: payload.private,
        sender_type: payload.sender === null ? null : senderTypes[payload.sender.type ?? "contact"],
        sender_id: payload.sender?.id ?? null,
        source_id: payload.source_id,
        deleted: payload.content_attributes.deleted === true,
        attachment_ids: (payload.attachments ?? []).map(({ id }: { id: number }) => id),
      },
    });
  }
  const byId = <Row>(rows: Map<number, Row>) => [...rows].sort(([one], [other]) => one - other);
  return {
    contacts: byId(contacts).map(([, { row }]) => row),
    conversations: byId(conversations).map(([id, { row }]) => ({ ...row, csat: answers.get(id)?.csat ?? null })),
    messages: byId(messages).map(([id, { row }]) => ({ ...row, delivery_status: statuses.get(id)?.status ?? null })),
  };
}
const senderTypes: Record<string, string> = { contact: "Contact", user: "User", agent_bot: "AgentBot" };
