// Rows as the REST API shows them: what to select, and the JSON it becomes.
import { type Attributes, CONTENT_TYPES, DELIVERY_STATUSES, PRIORITIES, STATUSES } from "./records.ts";
import { float } from "./serialise.ts";

const FILE_TYPES = ["image", "audio", "video", "file", "location", "fallback", "share", "story_mention", "contact"];

export const iso = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
export const epoch = (column: string) => `coalesce(floor(extract(epoch from ${column}))::bigint, 0)`;

// deno-lint-ignore no-explicit-any -- A row as pg gives it, whose columns stand in the query right above.
export type Row = any;

export const contactColumns = (name: string) =>
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

export const pushContact = (contact: Row): Attributes => ({
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

const AVAILABILITIES = ["online", "offline", "busy"];

export const AGENT_COLUMNS =
  `users.id, account_users.account_id, users.email, users.name, ${AVAILABLE_NAME} as available_name,
  account_users.availability, account_users.auto_offline, account_users.role, account_users.custom_role_id`;

export const restAgent = (agent: Row): Attributes => ({
  id: agent.id,
  account_id: agent.account_id,
  // Nobody is ever signed in here.
  availability_status: agent.auto_offline === false ? AVAILABILITIES[agent.availability] ?? null : "offline",
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

export const MESSAGES =
  `select messages.id, messages.content, messages.account_id, messages.inbox_id, conversations.display_id,
    messages.message_type, messages.created_at as created_order, ${epoch("messages.created_at")} as created_at, ${
    iso("messages.updated_at")
  } as updated_at,
    messages.private, messages.status, messages.source_id, messages.content_type,
    messages.content_attributes #>> '{}' as content_attributes, messages.sender_type, messages.sender_id,
    messages.additional_attributes, messages.processed_message_content, conversations.assignee_id, ${
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
    status: DELIVERY_STATUSES[message.status],
    content_attributes: contentAttributes(message),
    created_at: message.created_at,
    private: message.private,
    source_id: message.source_id,
    ...sender(message),
    ...attachments(message, baseUrl),
  };
}

/** A message inside a conversation: with the instant of its last change, and less of its conversation. */
function pushMessage(message: Row, unread: number, baseUrl: string): Attributes {
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
    status: DELIVERY_STATUSES[message.status],
    source_id: message.source_id,
    content_type: CONTENT_TYPES[message.content_type],
    content_attributes: contentAttributes(message),
    sender_type: message.sender_type,
    sender_id: message.sender_id,
    external_source_ids: {},
    additional_attributes: message.additional_attributes,
    processed_message_content: message.processed_message_content,
    sentiment: {},
    conversation: {
      assignee_id: message.assignee_id,
      unread_count: unread,
      last_activity_at: message.last_activity_at,
      contact_inbox: { source_id: message.contact_source_id },
    },
    ...attachments(message, baseUrl),
    ...sender(message),
  };
}

export const LABELS = `coalesce((select json_agg(tags.name order by taggings.id) from taggings
  join tags on tags.id = taggings.tag_id where taggings.taggable_id = conversations.id
    and taggings.taggable_type = 'Conversation' and taggings.context = 'labels'), '[]')`;

export const CONVERSATIONS = `select conversations.*, inboxes.channel_type, ${contactColumns("contacts")} as contact,
    (extract(epoch from conversations.updated_at))::double precision as updated_epoch,
    ${epoch("conversations.created_at")} as created_epoch, ${epoch("conversations.last_activity_at")} as activity_epoch,
    ${epoch("conversations.waiting_since")} as waiting_epoch,
    ${epoch("conversations.first_reply_created_at")} as first_reply_epoch,
    ${epoch("conversations.agent_last_seen_at")} as agent_seen_epoch,
    ${epoch("conversations.assignee_last_seen_at")} as assignee_seen_epoch,
    ${epoch("conversations.contact_last_seen_at")} as contact_seen_epoch,
    ${iso("conversations.snoozed_until")} as snoozed_iso,
    ${LABELS} as labels,
    (select to_json(found) from (select ${AGENT_COLUMNS} from users left join account_users
      on account_users.user_id = users.id and account_users.account_id = conversations.account_id
      where users.id = conversations.assignee_id) as found) as assignee,
    (select json_build_object('id', agent_bots.id, 'name', agent_bots.name) from agent_bots
      where agent_bots.id = conversations.assignee_agent_bot_id) as bot,
    (select to_jsonb(teams) || '{"is_member": true}' from teams where teams.id = conversations.team_id) as team,
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

export function restTeam(team: Row): Attributes {
  return {
    id: team.id,
    name: team.name,
    description: team.description,
    allow_auto_assign: team.allow_auto_assign,
    icon: team.icon ?? "",
    icon_color: team.icon_color ?? "",
    account_id: team.account_id,
    is_member: team.is_member,
  };
}

export function restConversation(row: Row, messages: Map<number, Row>, baseUrl: string): Attributes {
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
    messages: last === undefined ? [] : [pushMessage(last, row.unread, baseUrl)],
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
    last_non_activity_message: spoken === undefined ? null : pushMessage(spoken, row.unread, baseUrl),
    last_activity_at: row.activity_epoch,
    priority: row.priority === null ? null : PRIORITIES[row.priority],
    waiting_since: row.waiting_epoch,
    sla_policy_id: row.sla_policy_id,
  };
}
