// deno-lint-ignore no-explicit-any -- Parsed JSON, read here only by keys that the shape tests vouch for.
export type Told = Record<string, any>;

// The newest instant a payload shows; cut to whole units where it is shown in them.
function instantOf(payload: Told, conversation: Told): number {
  const iso = (text: string | undefined) => text === undefined ? 0 : Date.parse(text) / 1000;
  return Math.max(
    conversation.updated_at,
    conversation.last_activity_at,
    typeof payload.created_at === "string" ? iso(payload.created_at) : payload.created_at,
    iso(conversation.messages[0]?.updated_at),
  );
}

// The smallest mirror that could work: whatever carries the higher version wins. Rows in the words of the mirror.
export function mirrorOf(payloads: Told[]) {
  const contacts = new Map<number, { version: string; row: unknown }>();
  const conversations = new Map<number, { version: number; row: Record<string, unknown> }>();
  const messages = new Map<number, { version: number; row: Record<string, unknown> }>();
  const statuses = new Map<number, { version: string; status: string }>();
  const answers = new Map<number, { version: number; row: Record<string, unknown> }>();
  const keepNewer = <Row extends { version: number | string }>(rows: Map<number, Row>, id: number, row: Row) => {
    const known = rows.get(id);
    if (known === undefined || known.version < row.version) rows.set(id, row);
  };
  for (const payload of payloads) {
    if (payload.event.startsWith("contact_")) {
      const { id, name, email, phone_number, identifier, blocked, custom_attributes } = payload;
      const changes = Object.assign({}, ...(payload.changed_attributes ?? []));
      const row = { contact_id: id, name, email, phone_number, identifier, blocked, custom_attributes };
      keepNewer(contacts, id, { version: changes.updated_at?.current_value ?? "", row });
      continue;
    }
    const conversation = payload.conversation ?? payload;
    keepNewer(conversations, conversation.id, {
      version: conversation.updated_at,
      row: {
        display_id: conversation.id,
        inbox_id: conversation.inbox_id,
        contact_id: conversation.meta.sender.id,
        status: conversation.status,
        assignee_kind: kinds[conversation.meta.assignee_type] ?? null,
        assignee_id: conversation.meta.assignee?.id ?? null,
        team_id: conversation.meta.team?.id ?? null,
        labels: [...conversation.labels].sort(),
        priority: conversation.priority,
        waiting_since: conversation.waiting_since === 0
          ? null
          : new Date(conversation.waiting_since * 1000).toISOString().replace("000Z", "000000Z"),
        snoozed_until: conversation.snoozed_until?.replace("Z", "000Z") ?? null,
        first_reply_created_at: conversation.first_reply_created_at?.replace("Z", "000Z") ?? null,
      },
    });
    for (const shown of conversation.messages) {
      keepNewer(statuses, shown.id, { version: shown.updated_at, status: shown.status });
    }
    if (!payload.event.startsWith("message_")) continue;
    const version = instantOf(payload, conversation);
    const deleted = payload.content_attributes.deleted === true;
    const values = payload.content_attributes.submitted_values?.csat_survey_response;
    if (values !== undefined) {
      const row = { message_id: payload.id, rating: Number(values.rating), feedback_message: values.feedback_message };
      keepNewer(answers, payload.id, { version, row });
    }
    keepNewer(messages, payload.id, {
      // Nothing comes after a deletion.
      version: deleted ? Infinity : version,
      row: {
        message_id: payload.id,
        conversation_display_id: conversation.id,
        message_type: payload.message_type,
        content_type: payload.content_type,
        content: payload.content?.replace(/ https:\S+\/survey\/responses\/\S+$/, "") ?? null,
        private: payload.private,
        sender_kind: payload.sender === null ? null : payload.sender.type ?? "contact",
        sender_id: payload.sender?.id ?? null,
        source_id: payload.source_id,
        content_attributes: payload.content_attributes,
        attachments: (payload.attachments ?? []).map(({ id, file_type, extension }: Told) => ({
          id,
          file_type,
          extension,
        })),
      },
    });
  }
  const byId = <Row>(rows: Map<number, Row>) => [...rows].sort(([one], [other]) => one - other);
  return {
    contacts: byId(contacts).map(([, { row }]) => row),
    conversations: byId(conversations).map(([, { row }]) => row),
    messages: byId(messages).map(([id, { row }]) => ({ ...row, delivery_status: statuses.get(id)?.status ?? null })),
    csat_responses: byId(answers).map(([, { row }]) => row),
  };
}
const kinds: Record<string, string> = { User: "user", AgentBot: "agent_bot" };
