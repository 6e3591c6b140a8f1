// Chatwoot's rows as its REST API shows them. Everything is read from the tables, so that they are the one truth.
import type { Pool } from "pg";
import type { Attributes } from "./records.ts";
import { float } from "./serialise.ts";

export const PAGE = 25;

const STATUSES = ["open", "resolved", "pending", "snoozed"];
const PRIORITIES = ["low", "medium", "high", "urgent"];
const DELIVERY = ["sent", "delivered", "read", "failed"];
const CONTENT_TYPES = [
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
];
const FILE_TYPES = ["image", "audio", "video", "file", "location", "fallback", "share", "story_mention", "contact"];

const iso = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
const epoch = (column: string) => `coalesce(floor(extract(epoch from ${column}))::bigint, 0)`;

// deno-lint-ignore no-explicit-any -- A row as pg gives it, whose columns stand in the query right above.
type Row = any;

const contactColumns = (name: string) =>
  `json_build_object('id', ${name}.id, 'name', ${name}.name, 'email', ${name}.email, 'phone_number', ${name}.phone_number,
    'identifier', ${name}.identifier, 'blocked', ${name}.blocked, 'additional_attributes', ${name}.additional_attributes,
    'custom_attributes', ${name}.custom_attributes, 'created_at', ${epoch(`${name}.created_at`)},
    'last_activity_at', ${epoch(`${name}.last_activity_at`)})`;

const AVAILABLE_NAME = "coalesce(nullif(users.display_name, ''), users.name)";

/** A contact as REST shows it: with instants and presence, and without a type. */
export function restContact(contact: Row): Attributes {
  return {
    additional_attributes: contact.additional_attributes,
    availability_status: "offline",
    email: contact.email,
    id: contact.id,
    name: contact.name,
    phone_number: contact.phone_number,
    blocked: contact.blocked,
    identifier: contact.identifier,
    thumbnail: "",
    custom_attributes: contact.custom_attributes,
    // Absent, not null, while the contact has never been active.
    ...(contact.last_activity_at === 0 ? {} : { last_activity_at: contact.last_activity_at }),
    created_at: contact.created_at,
  };
}

const pushContact = (contact: Row): Attributes => ({
  additional_attributes: contact.additional_attributes,
  custom_attributes: contact.custom_attributes,
  email: contact.email,
  id: contact.id,
  identifier: contact.identifier,
  name: contact.name,
  phone_number: contact.phone_number,
  thumbnail: "",
  blocked: contact.blocked,
  type: "contact",
});

const AGENT_COLUMNS = `users.id, account_users.account_id, users.email, users.name, ${AVAILABLE_NAME} as available_name,
  account_users.auto_offline, account_users.role, account_users.custom_role_id`;

const restAgent = (agent: Row): Attributes => ({
  id: agent.id,
  account_id: agent.account_id,
  availability_status: "offline",
  auto_offline: agent.auto_offline ?? true,
  confirmed: true,
  email: agent.email,
  provider: "email",
  available_name: agent.available_name,
  name: agent.name,
  role: agent.role === 1 ? "administrator" : "agent",
  thumbnail: "",
  custom_role_id: agent.custom_role_id ?? null,
});

const MESSAGES =
  `select messages.id, messages.content, messages.account_id, messages.inbox_id, conversations.display_id,
    messages.message_type, ${epoch("messages.created_at")} as created_at, ${iso("messages.updated_at")} as updated_at,
    messages.private, messages.status, messages.source_id, messages.content_type,
    messages.content_attributes #>> '{}' as content_attributes, messages.sender_type, messages.sender_id,
    messages.additional_attributes, conversations.assignee_id, ${
    epoch("conversations.last_activity_at")
  } as last_activity_at,
    contact_inboxes.source_id as contact_source_id,
    case messages.sender_type
      when 'Contact' then (select ${contactColumns("contacts")} from contacts where contacts.id = messages.sender_id)
      when 'User' then (select json_build_object('id', users.id, 'name', users.name, 'available_name', ${AVAILABLE_NAME})
        from users where users.id = messages.sender_id)
      when 'AgentBot' then (select json_build_object('id', agent_bots.id, 'name', agent_bots.name)
        from agent_bots where agent_bots.id = messages.sender_id) end as sender,
    (select json_agg(json_build_object('id', attachments.id, 'file_type', attachments.file_type,
        'extension', attachments.extension, 'key', blobs.key, 'filename', blobs.filename,
        'content_type', blobs.content_type, 'byte_size', blobs.byte_size, 'metadata', blobs.metadata) order by attachments.id)
      from attachments
      left join active_storage_attachments as files on files.record_type = 'Attachment' and files.record_id = attachments.id
      left join active_storage_blobs as blobs on blobs.id = files.blob_id
      where attachments.message_id = messages.id) as attachments
  from messages
  join conversations on conversations.id = messages.conversation_id
  left join contact_inboxes on contact_inboxes.id = conversations.contact_inbox_id`;

function sender(message: Row): Attributes {
  if (message.sender === null) return {};
  switch (message.sender_type) {
    case "Contact":
      return { sender: pushContact(message.sender) };
    case "User":
      return { sender: { ...message.sender, avatar_url: "", type: "user", availability_status: null, thumbnail: "" } };
    default:
      return { sender: { ...message.sender, avatar_url: "", type: "agent_bot" } };
  }
}

function attachments(message: Row, baseUrl: string): Attributes {
  if (message.attachments === null) return {};
  const storage = `${baseUrl}/rails/active_storage`;
  return {
    attachments: message.attachments.map((file: Row) => {
      const fileType = FILE_TYPES[file.file_type];
      const { width = null, height = null } = file.metadata === null ? {} : JSON.parse(file.metadata);
      return {
        id: file.id,
        message_id: message.id,
        file_type: fileType,
        account_id: message.account_id,
        extension: file.extension,
        content_type: file.content_type,
        data_url: `${storage}/blobs/redirect/${file.key}/${file.filename}`,
        thumb_url: fileType === "image" ? `${storage}/representations/redirect/${file.key}/${file.filename}` : "",
        file_size: file.byte_size,
        width,
        height,
        ...(fileType === "audio" ? { transcribed_text: "" } : {}),
      };
    }),
  };
}

const contentAttributes = (message: Row): unknown =>
  message.content_attributes === null ? {} : JSON.parse(message.content_attributes);

/** A message of the message endpoints: no updated_at, no account, no additional attributes. */
export function restMessage(message: Row, baseUrl: string): Attributes {
  return {
    id: message.id,
    content: message.content,
    inbox_id: message.inbox_id,
    conversation_id: message.display_id,
    message_type: message.message_type,
    content_type: CONTENT_TYPES[message.content_type],
    status: DELIVERY[message.status],
    content_attributes: contentAttributes(message),
    created_at: message.created_at,
    private: message.private,
    source_id: message.source_id,
    ...sender(message),
    ...attachments(message, baseUrl),
  };
}

function pushMessage(message: Row, baseUrl: string): Attributes {
  return {
    id: message.id,
    content: message.content,
    account_id: message.account_id,
    inbox_id: message.inbox_id,
    conversation_id: message.display_id,
    message_type: message.message_type,
    created_at: message.created_at,
    updated_at: message.updated_at,
    private: message.private,
    status: DELIVERY[message.status],
    source_id: message.source_id,
    content_type: CONTENT_TYPES[message.content_type],
    content_attributes: contentAttributes(message),
    sender_type: message.sender_type,
    sender_id: message.sender_id,
    external_source_ids: {},
    additional_attributes: message.additional_attributes,
    processed_message_content: message.content,
    sentiment: {},
    conversation: {
      assignee_id: message.assignee_id,
      unread_count: 0,
      last_activity_at: message.last_activity_at,
      contact_inbox: { source_id: message.contact_source_id },
    },
    ...attachments(message, baseUrl),
    ...sender(message),
  };
}

const CONVERSATIONS = `select conversations.*, inboxes.channel_type, ${contactColumns("contacts")} as contact,
    (extract(epoch from conversations.updated_at))::double precision as updated_epoch,
    ${epoch("conversations.created_at")} as created_epoch, ${epoch("conversations.last_activity_at")} as activity_epoch,
    ${epoch("conversations.waiting_since")} as waiting_epoch,
    ${epoch("conversations.first_reply_created_at")} as first_reply_epoch,
    ${epoch("conversations.agent_last_seen_at")} as agent_seen_epoch,
    ${epoch("conversations.assignee_last_seen_at")} as assignee_seen_epoch,
    ${epoch("conversations.contact_last_seen_at")} as contact_seen_epoch,
    ${iso("conversations.snoozed_until")} as snoozed_iso,
    coalesce((select json_agg(tags.name order by taggings.id) from taggings join tags on tags.id = taggings.tag_id
      where taggings.taggable_id = conversations.id and taggings.taggable_type = 'Conversation'
        and taggings.context = 'labels'), '[]') as labels,
    (select to_json(found) from (select ${AGENT_COLUMNS} from users left join account_users
      on account_users.user_id = users.id and account_users.account_id = conversations.account_id
      where users.id = conversations.assignee_id) as found) as assignee,
    (select json_build_object('id', agent_bots.id, 'name', agent_bots.name) from agent_bots
      where agent_bots.id = conversations.assignee_agent_bot_id) as bot,
    (select to_json(teams) from teams where teams.id = conversations.team_id) as team,
    (select count(*) from (select from messages where messages.conversation_id = conversations.id
      and messages.message_type = 0
      and messages.created_at > coalesce(conversations.agent_last_seen_at, '-infinity') limit 10) as unread) as unread,
    (select messages.id from messages where messages.conversation_id = conversations.id
      order by messages.created_at desc, messages.id desc limit 1) as last_message_id,
    (select messages.id from messages where messages.conversation_id = conversations.id and messages.message_type <> 2
      order by messages.created_at desc, messages.id desc limit 1) as last_non_activity_message_id
  from conversations
  join inboxes on inboxes.id = conversations.inbox_id
  left join contacts on contacts.id = conversations.contact_id`;

function restTeam(team: Row): Attributes {
  return {
    id: team.id,
    name: team.name,
    description: team.description,
    allow_auto_assign: team.allow_auto_assign,
    icon: team.icon ?? "",
    icon_color: team.icon_color ?? "",
    account_id: team.account_id,
    is_member: true,
  };
}

function restConversation(row: Row, messages: Map<number, Row>, baseUrl: string): Attributes {
  const last = messages.get(row.last_message_id);
  const spoken = messages.get(row.last_non_activity_message_id);
  return {
    meta: {
      sender: row.contact.id === null ? {} : restContact(row.contact),
      channel: row.channel_type,
      ...(row.assignee !== null ? { assignee: restAgent(row.assignee), assignee_type: "User" } : {}),
      ...(row.assignee === null && row.bot !== null
        ? { assignee: { ...row.bot, avatar_url: "", type: "agent_bot" }, assignee_type: "AgentBot" }
        : {}),
      ...(row.team !== null ? { team: restTeam(row.team) } : {}),
      hmac_verified: false,
    },
    id: row.display_id,
    messages: last === undefined ? [] : [pushMessage(last, baseUrl)],
    account_id: row.account_id,
    uuid: row.uuid,
    additional_attributes: row.additional_attributes,
    agent_last_seen_at: row.agent_seen_epoch,
    assignee_last_seen_at: row.assignee_seen_epoch,
    can_reply: true,
    contact_last_seen_at: row.contact_seen_epoch,
    custom_attributes: row.custom_attributes,
    inbox_id: row.inbox_id,
    labels: row.labels,
    muted: row.contact.blocked ?? false,
    snoozed_until: row.snoozed_iso,
    status: STATUSES[row.status],
    created_at: row.created_epoch,
    updated_at: float(row.updated_epoch),
    timestamp: row.activity_epoch,
    first_reply_created_at: row.first_reply_epoch,
    unread_count: row.unread,
    last_non_activity_message: spoken === undefined ? null : pushMessage(spoken, baseUrl),
    last_activity_at: row.activity_epoch,
    priority: row.priority === null ? null : PRIORITIES[row.priority],
    waiting_since: row.waiting_epoch,
    sla_policy_id: row.sla_policy_id,
  };
}

/** Reads of one account, each from the tables as they are at that moment. */
export function createReader(pool: Pool, { accountId, baseUrl }: { accountId: number; baseUrl: string }) {
  const rows = async (text: string, values: unknown[] = []): Promise<Row[]> => (await pool.query(text, values)).rows;

  const conversationsWhere = async (tail: string, values: unknown[]): Promise<Attributes[]> => {
    const found = await rows(`${CONVERSATIONS} where conversations.account_id = ${accountId} and ${tail}`, values);
    const ids = found.flatMap((row) => [row.last_message_id, row.last_non_activity_message_id]).filter((id) =>
      id !== null
    );
    const nested = await rows(`${MESSAGES} where messages.id = any ($1)`, [ids]);
    const messages = new Map(nested.map((message) => [message.id, message]));
    return found.map((row) => restConversation(row, messages, baseUrl));
  };

  return {
    rows,

    async conversation(id: number): Promise<Attributes | null> {
      return (await conversationsWhere("conversations.display_id = $1", [id]))[0] ?? null;
    },

    /** The list, its filters and its counts; without pages where updated_within is asked for. */
    async conversations(query: URLSearchParams, now: Date): Promise<Attributes> {
      const values: unknown[] = [];
      const value = (given: unknown) => `$${values.push(given)}`;
      const conditions: string[] = [];
      const statuses = query.has("status[]") ? query.getAll("status[]") : [query.get("status") ?? "open"];
      if (!statuses.includes("all")) {
        conditions.push(`conversations.status = any (${value(statuses.map((name) => STATUSES.indexOf(name)))})`);
      }
      for (const [name, column] of [["inbox_id", "inbox_id"], ["team_id", "team_id"]]) {
        if (query.has(name)) conditions.push(`conversations.${column} = ${value(Number(query.get(name)) || 0)}`);
      }
      if (query.has("labels[]")) {
        conditions.push(`exists (select from taggings join tags on tags.id = taggings.tag_id
          where taggings.taggable_id = conversations.id and taggings.taggable_type = 'Conversation'
            and tags.name = any (${value(query.getAll("labels[]"))}))`);
      }
      const within = query.get("updated_within");
      if (within !== null) {
        const since = new Date(now.getTime() - Number(within) * 1000);
        conditions.push(`conversations.updated_at > ${value(since.toISOString().slice(0, -1))}`);
      }
      const all = conditions.length === 0 ? "true" : conditions.join(" and ");
      const assigned = "conversations.assignee_id is not null";
      const [counts] = await rows(
        `select count(*) as all_count, count(*) filter (where ${assigned}) as assigned_count,
          count(*) filter (where not (${assigned})) as unassigned_count
        from conversations where account_id = ${accountId} and ${all}`,
        values,
      );
      const type = query.get("assignee_type");
      const side = type === "assigned" ? ` and ${assigned}` : type === "unassigned" ? ` and not (${assigned})` : "";
      const sorts: Record<string, string> = {
        last_activity_at_asc: "last_activity_at",
        last_activity_at_desc: "last_activity_at desc",
        created_at_asc: "created_at",
        created_at_desc: "created_at desc",
        priority_asc: "priority",
        priority_desc: "priority desc nulls last",
        waiting_since_asc: "waiting_since",
        waiting_since_desc: "waiting_since desc nulls last",
      };
      const order = sorts[query.get("sort_by") ?? ""] ?? sorts.last_activity_at_desc;
      const page = Math.max(1, Number(query.get("page") ?? 1) || 1);
      const paging = within === null ? ` limit ${PAGE} offset ${(page - 1) * PAGE}` : "";
      const payload = await conversationsWhere(
        `${all}${side} order by conversations.${order}, conversations.id${paging}`,
        values,
      );
      return {
        data: {
          meta: {
            mine_count: 0,
            assigned_count: counts.assigned_count,
            unassigned_count: counts.unassigned_count,
            all_count: counts.all_count,
          },
          payload,
        },
      };
    },

    /** Messages of a conversation by Chatwoot's rules of paging; null when there is no such conversation. */
    async messages(id: number, query: URLSearchParams): Promise<Attributes | null> {
      const [conversation] = await rows(
        `select conversations.*, ${contactColumns("contacts")} as contact, ${iso("agent_last_seen_at")} as seen_iso,
          coalesce((select json_agg(tags.name order by taggings.id) from taggings join tags on tags.id = taggings.tag_id
            where taggings.taggable_id = conversations.id and taggings.taggable_type = 'Conversation'), '[]') as labels
        from conversations left join contacts on contacts.id = conversations.contact_id
        where conversations.account_id = $1 and display_id = $2`,
        [accountId, id],
      );
      if (conversation === undefined) return null;
      const after = query.has("after") ? Number(query.get("after")) : null;
      const before = query.has("before") ? Number(query.get("before")) : null;
      const visible = query.has("filter_internal_messages")
        ? " and not messages.private and messages.message_type <> 2"
        : "";
      const where = `${MESSAGES} where messages.conversation_id = $1${visible}`;
      const forward = "order by messages.created_at, messages.id";
      const newest = (condition: string) =>
        `select * from (${where} ${condition} order by messages.created_at desc, messages.id desc limit 20) as messages
          order by created_at, id`;
      const values = [conversation.id, after ?? before, before].slice(0, after !== null && before !== null ? 3 : 2);
      const found = after !== null && before !== null
        ? await rows(`${where} and messages.id >= $2 and messages.id < $3 ${forward} limit 1000`, values)
        : after !== null
        ? await rows(`${where} and messages.id > $2 ${forward} limit 100`, values)
        : before !== null
        ? await rows(newest("and messages.id < $2"), values)
        : await rows(newest(""), [conversation.id]);
      return {
        meta: {
          labels: conversation.labels,
          additional_attributes: conversation.additional_attributes,
          contact: pushContact(conversation.contact),
          ...(conversation.assignee_id === null ? {} : { assignee: { id: conversation.assignee_id, type: "user" } }),
          agent_last_seen_at: conversation.seen_iso,
          assignee_last_seen_at: null,
        },
        payload: found.map((message) => restMessage(message, baseUrl)),
      };
    },

    async message(id: number): Promise<Attributes | null> {
      const [found] = await rows(`${MESSAGES} where messages.id = $1`, [id]);
      return found === undefined ? null : restMessage(found, baseUrl);
    },

    async agents(): Promise<Attributes[]> {
      const found = await rows(
        `select ${AGENT_COLUMNS} from users join account_users on account_users.user_id = users.id
        where account_users.account_id = $1 order by users.id`,
        [accountId],
      );
      return found.map(restAgent);
    },

    async teams(): Promise<Attributes[]> {
      return (await rows("select * from teams where account_id = $1 order by id", [accountId])).map(restTeam);
    },

    async labels(): Promise<Attributes[]> {
      return await rows(
        "select id, title, description, color, show_on_sidebar from labels where account_id = $1 order by title",
        [accountId],
      );
    },

    async agentBots(): Promise<Attributes[]> {
      return await rows(
        "select id, name, description, outgoing_url, bot_type, account_id from agent_bots order by id",
      );
    },

    async cannedResponses(): Promise<Attributes[]> {
      return await rows(
        `select id, account_id, short_code, content, ${iso("created_at")} as created_at, ${
          iso("updated_at")
        } as updated_at
        from canned_responses where account_id = $1 order by id`,
        [accountId],
      );
    },

    /** Inboxes with their working hours; an administrator is shown the secrets too. */
    async inboxes(): Promise<Attributes[]> {
      return await rows(
        `select inboxes.id, inboxes.name, inboxes.channel_id, inboxes.channel_type, inboxes.greeting_enabled,
          inboxes.greeting_message, inboxes.working_hours_enabled, inboxes.enable_email_collect,
          inboxes.csat_survey_enabled, inboxes.enable_auto_assignment, inboxes.auto_assignment_config,
          inboxes.out_of_office_message, inboxes.timezone, inboxes.allow_messages_after_resolved,
          inboxes.lock_to_single_conversation, inboxes.business_name, '' as avatar_url, 'friendly' as sender_name_type,
          (select json_agg(json_build_object('day_of_week', working_hours.day_of_week, 'closed_all_day', closed_all_day,
              'open_hour', open_hour, 'open_minutes', open_minutes, 'close_hour', close_hour,
              'close_minutes', close_minutes, 'open_all_day', open_all_day) order by working_hours.day_of_week)
            from working_hours where working_hours.inbox_id = inboxes.id) as working_hours,
          channel_api.webhook_url, channel_api.identifier as inbox_identifier, channel_api.hmac_token, channel_api.secret
        from inboxes left join channel_api
          on channel_api.id = inboxes.channel_id and inboxes.channel_type = 'Channel::Api'
        where inboxes.account_id = $1 order by inboxes.id`,
        [accountId],
      );
    },

    async contact(id: number): Promise<Attributes | null> {
      const [found] = await rows(
        `select ${contactColumns("contacts")} as contact from contacts where account_id = $1 and id = $2`,
        [accountId, id],
      );
      return found === undefined ? null : restContact(found.contact);
    },

    /** 15 a page, and only those with an address of some kind. */
    async contacts(page: number): Promise<{ count: number; payload: Attributes[] }> {
      const identified = `account_id = $1 and (coalesce(email, '') <> '' or coalesce(phone_number, '') <> ''
        or coalesce(identifier, '') <> '')`;
      const [{ count }] = await rows(`select count(*) from contacts where ${identified}`, [accountId]);
      const found = await rows(
        `select ${contactColumns("contacts")} as contact from contacts where ${identified} order by id
        limit 15 offset ${(page - 1) * 15}`,
        [accountId],
      );
      return { count, payload: found.map(({ contact }) => restContact(contact)) };
    },

    /** Survey answers, 25 a page, a bare array. */
    async surveyAnswers(query: URLSearchParams): Promise<Attributes[]> {
      const at = (name: string) => query.has(name) ? Number(query.get(name)) : null;
      const page = Math.max(1, Number(query.get("page") ?? 1) || 1);
      const found = await rows(
        `select answers.id, answers.rating, answers.feedback_message, answers.csat_review_notes, answers.account_id,
          answers.message_id, ${contactColumns("contacts")} as contact, conversations.display_id as conversation_id,
          ${epoch("answers.created_at")} as created_at
        from csat_survey_responses as answers
        join conversations on conversations.id = answers.conversation_id
        left join contacts on contacts.id = answers.contact_id
        where answers.account_id = $1
          and ($2::double precision is null or extract(epoch from answers.created_at) >= $2)
          and ($3::double precision is null or extract(epoch from answers.created_at) < $3)
        order by answers.created_at ${query.get("sort") === "created_at" ? "" : "desc"}, answers.id
        limit ${PAGE} offset ${(page - 1) * PAGE}`,
        [accountId, at("since"), at("until")],
      );
      return found.map((answer) => ({ ...answer, contact: restContact(answer.contact) }));
    },

    /** What reports are counted from, newest first; conversation_id is the database's own here. */
    async reportingEvents(query: URLSearchParams): Promise<Attributes> {
      const page = Math.max(1, Number(query.get("page") ?? 1) || 1);
      const found = await rows(
        `select id, name, value, value_in_business_hours, ${iso("event_start_time")} as event_start_time,
          ${iso("event_end_time")} as event_end_time, account_id, inbox_id, user_id, conversation_id,
          ${iso("created_at")} as created_at, ${iso("updated_at")} as updated_at, count(*) over () as total
        from reporting_events
        where account_id = $1 and ($2::text is null or name = $2) order by created_at desc, id desc
        limit ${PAGE} offset ${(page - 1) * PAGE}`,
        [accountId, query.get("name")],
      );
      const count = found[0]?.total ?? 0;
      return {
        payload: found.map(({ total: _total, ...event }) => event),
        meta: { count, current_page: page, total_pages: Math.ceil(count / PAGE) },
      };
    },
  };
}

export type Reader = ReturnType<typeof createReader>;
