-- What is merged by the thousand as well as one by one is merged in sets. Each element is a whole record: every column of
-- it is said. A webhook's version is in version_at as it stands. What was read on purpose gives its updated_at there, and
-- read_at, when it was read; then a row that already says the same is not written again.

create function chatwoot.read_version(updated_at timestamptz, read_at timestamptz) returns timestamptz
-- Some changes in Chatwoot move no updated_at. A microsecond for each second that had passed puts a reading above a
-- webhook of the same updated_at and a later reading above an earlier one, yet never above a change that came after
-- it, even where our clock and Chatwoot's are hours apart.
language plpgsql stable security invoker set search_path = '' as $$
begin
  return read_version.updated_at + interval '1 microsecond'
    * (1 + least(greatest(floor(extract(epoch from read_version.read_at - read_version.updated_at)), 0), 1e9));
end
$$;
comment on function chatwoot.read_version is
  'The version of a record of this updated_at that was read on purpose at read_at: a microsecond later for each second between.';

create function chatwoot.least_version(version_at timestamptz, read_at timestamptz) returns timestamptz
language plpgsql stable security invoker set search_path = '' as $$
begin
  return case when least_version.read_at is null then least_version.version_at
    else least_version.version_at - interval '1 millisecond' - interval '1 microsecond'
      * (2 + least(greatest(1.000002 * extract(epoch from least_version.read_at - least_version.version_at), 0), 1e9)) end;
end
$$;
comment on function chatwoot.least_version is
  'The updated_at behind a version of read_version, or up to a few milliseconds less, as webhooks show no finer; without read_at the version itself.';

create function chatwoot.merge_contacts(given chatwoot.contacts[], read_at timestamptz default null) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_told chatwoot.contacts[] := merge_contacts.given;
  v_added bigint := 0;
  v_changed bigint := 0;
  v_row chatwoot.contacts;
  v_is_changed boolean;
begin
  if merge_contacts.read_at is not null then
    v_told := array(select row(told.account_id, told.contact_id, told.name, told.email, told.phone_number,
      told.identifier, told.blocked, told.additional_attributes, told.custom_attributes, null,
      chatwoot.read_version(told.version_at, merge_contacts.read_at), null)::chatwoot.contacts
      from unnest(merge_contacts.given) as told);
    -- Most of a history is not known yet, and this is the quick way in.
    insert into chatwoot.contacts select told.* from unnest(v_told) as told on conflict do nothing;
    get diagnostics v_added = row_count;
    if v_added = cardinality(v_told) then
      return v_added;
    end if;
  end if;
  -- Twice the question what is news: before, of what was read, so that nothing known is written; and after, for what is
  -- no newer as a whole but may be in part.
  for v_round in 1..2 loop
    if v_round = 2 or merge_contacts.read_at is not null then
      v_told := array(
        select distinct on (told.account_id, told.contact_id) row(told.*)::chatwoot.contacts
        from unnest(v_told) as told
        left join chatwoot.contacts as existing
          on existing.account_id = told.account_id and existing.contact_id = told.contact_id
        where existing.contact_id is null or existing.field_versions is not null
          or existing.deleted_at < merge_contacts.read_at
          or existing.version_at < chatwoot.least_version(told.version_at, merge_contacts.read_at)
          or (existing.version_at <= told.version_at
            and (existing.name, existing.email, existing.phone_number, existing.identifier, existing.blocked,
              existing.additional_attributes, existing.custom_attributes)
            is distinct from (told.name, told.email, told.phone_number, told.identifier, told.blocked,
              told.additional_attributes, told.custom_attributes))
        order by told.account_id, told.contact_id, told.version_at desc);
      exit when v_told = '{}';
    end if;
    exit when v_round = 2;
    insert into chatwoot.contacts as rows select told.* from unnest(v_told) as told
    on conflict on constraint contacts_pkey do update set
      name = excluded.name, email = excluded.email, phone_number = excluded.phone_number,
      identifier = excluded.identifier, blocked = excluded.blocked,
      additional_attributes = excluded.additional_attributes, custom_attributes = excluded.custom_attributes,
      deleted_at = case when rows.deleted_at >= coalesce(merge_contacts.read_at, excluded.version_at)
        then rows.deleted_at end,
      version_at = excluded.version_at, field_versions = null
    where excluded.version_at > rows.version_at;
    get diagnostics v_changed = row_count;
    if v_changed = cardinality(v_told) then
      return v_added + v_changed;
    end if;
  end loop;
  foreach v_row in array v_told loop
    v_is_changed := chatwoot.merge_fields('chatwoot.contacts',
      jsonb_build_object('account_id', v_row.account_id, 'contact_id', v_row.contact_id),
      to_jsonb(v_row) - array['account_id', 'contact_id', 'deleted_at', 'version_at', 'field_versions'], v_row.version_at);
    v_is_changed := chatwoot.revive('contact', v_row.account_id, v_row.contact_id, merge_contacts.read_at) or v_is_changed;
    v_changed := v_changed + v_is_changed::integer;
  end loop;
  return v_added + v_changed;
end
$$;
comment on function chatwoot.merge_contacts is
  'Merges whole records of contacts; returns how many rows changed. read_at is when they were read on purpose, null for what was sent.';

create function chatwoot.merge_contact(account_id bigint, contact_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if merge_contact.record ?& array['name', 'email', 'phone_number', 'identifier', 'blocked', 'additional_attributes',
    'custom_attributes']
  then
    return chatwoot.merge_contacts(array[jsonb_populate_record(null::chatwoot.contacts, merge_contact.record
      || jsonb_build_object('account_id', merge_contact.account_id, 'contact_id', merge_contact.contact_id,
        'version_at', merge_contact.version_at))]) > 0;
  end if;
  return chatwoot.merge_fields('chatwoot.contacts',
    jsonb_build_object('account_id', merge_contact.account_id, 'contact_id', merge_contact.contact_id),
    merge_contact.record, merge_contact.version_at);
end
$$;
comment on function chatwoot.merge_contact is 'Merges a record of a contact, keys as the columns, whole or in part; true when something may have changed.';

create function chatwoot.merge_conversations(given chatwoot.conversations[], read_at timestamptz default null)
returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_told chatwoot.conversations[] := merge_conversations.given;
  v_added bigint := 0;
  v_changed bigint := 0;
  v_row chatwoot.conversations;
  v_is_changed boolean;
begin
  -- The mirror keeps the newest alone; what was before it is evidence too.
  perform ledger.observe(merge_conversations.given, merge_conversations.read_at);
  if merge_conversations.read_at is not null then
    v_told := array(select row(told.account_id, told.display_id, told.database_id, told.inbox_id, told.contact_id,
      told.channel, told.status, told.priority, told.assignee_kind, told.assignee_id, told.team_id, told.labels,
      told.contact_source_id, told.additional_attributes, told.custom_attributes, told.snoozed_until,
      told.waiting_since, told.first_reply_created_at, told.agent_last_seen_at, told.contact_last_seen_at,
      told.last_activity_at, told.created_at, null,
      chatwoot.read_version(told.version_at, merge_conversations.read_at), null)::chatwoot.conversations
      from unnest(merge_conversations.given) as told);
    insert into chatwoot.conversations select told.* from unnest(v_told) as told on conflict do nothing;
    get diagnostics v_added = row_count;
    if v_added = cardinality(v_told) then
      return v_added;
    end if;
  end if;
  -- Twice the question what is news: before, of what was read, so that nothing known is written; and after, for what is
  -- no newer as a whole but may be in part.
  for v_round in 1..2 loop
    if v_round = 2 or merge_conversations.read_at is not null then
      v_told := array(
        select distinct on (told.account_id, told.display_id) row(told.*)::chatwoot.conversations
        from unnest(v_told) as told
        left join chatwoot.conversations as existing
          on existing.account_id = told.account_id and existing.display_id = told.display_id
        where existing.display_id is null or existing.field_versions is not null
          or existing.deleted_at < merge_conversations.read_at
          or existing.version_at < chatwoot.least_version(told.version_at, merge_conversations.read_at)
          or existing.database_id is distinct from coalesce(told.database_id, existing.database_id)
          or coalesce(existing.created_at < told.created_at, told.created_at is not null and existing.created_at is null)
          or coalesce(existing.first_reply_created_at < told.first_reply_created_at,
            told.first_reply_created_at is not null and existing.first_reply_created_at is null)
          or (existing.version_at <= told.version_at
            and (existing.inbox_id, existing.contact_id, existing.channel, existing.status, existing.priority,
              existing.assignee_kind, existing.assignee_id, existing.team_id, existing.labels, existing.contact_source_id,
              existing.additional_attributes, existing.custom_attributes, existing.snoozed_until, existing.waiting_since,
              existing.agent_last_seen_at, existing.contact_last_seen_at, existing.last_activity_at)
            is distinct from (told.inbox_id, told.contact_id, told.channel, told.status, told.priority,
              told.assignee_kind, told.assignee_id, told.team_id, told.labels, told.contact_source_id,
              told.additional_attributes, told.custom_attributes, told.snoozed_until, told.waiting_since,
              told.agent_last_seen_at, told.contact_last_seen_at, told.last_activity_at))
        order by told.account_id, told.display_id, told.version_at desc);
      exit when v_told = '{}';
    end if;
    exit when v_round = 2;
    insert into chatwoot.conversations as rows select told.* from unnest(v_told) as told
    on conflict on constraint conversations_pkey do update set
      database_id = coalesce(rows.database_id, excluded.database_id), inbox_id = excluded.inbox_id,
      contact_id = excluded.contact_id, channel = excluded.channel, status = excluded.status,
      priority = excluded.priority, assignee_kind = excluded.assignee_kind, assignee_id = excluded.assignee_id,
      team_id = excluded.team_id, labels = excluded.labels, contact_source_id = excluded.contact_source_id,
      additional_attributes = excluded.additional_attributes, custom_attributes = excluded.custom_attributes,
      snoozed_until = excluded.snoozed_until, waiting_since = excluded.waiting_since,
      first_reply_created_at = greatest(rows.first_reply_created_at, excluded.first_reply_created_at),
      agent_last_seen_at = excluded.agent_last_seen_at, contact_last_seen_at = excluded.contact_last_seen_at,
      last_activity_at = excluded.last_activity_at, created_at = greatest(rows.created_at, excluded.created_at),
      deleted_at = case when rows.deleted_at >= coalesce(merge_conversations.read_at, excluded.version_at)
        then rows.deleted_at end,
      version_at = excluded.version_at, field_versions = null
    where excluded.version_at > rows.version_at;
    get diagnostics v_changed = row_count;
    if v_changed = cardinality(v_told) then
      return v_added + v_changed;
    end if;
  end loop;
  foreach v_row in array v_told loop
    update chatwoot.conversations as existing set database_id = v_row.database_id
    where existing.account_id = v_row.account_id and existing.display_id = v_row.display_id
      and existing.database_id is null and v_row.database_id is not null;
    v_is_changed := chatwoot.merge_fields('chatwoot.conversations',
      jsonb_build_object('account_id', v_row.account_id, 'display_id', v_row.display_id),
      to_jsonb(v_row) - array['account_id', 'display_id', 'database_id', 'deleted_at', 'version_at', 'field_versions'],
      v_row.version_at);
    v_is_changed := chatwoot.revive('conversation', v_row.account_id, v_row.display_id, merge_conversations.read_at) or v_is_changed;
    v_changed := v_changed + v_is_changed::integer;
  end loop;
  return v_added + v_changed;
end
$$;
comment on function chatwoot.merge_conversations is
  'Merges whole records of conversations; returns how many rows changed. read_at is when they were read on purpose, null for what was sent.';

create function chatwoot.merge_conversation(account_id bigint, display_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_is_changed boolean;
begin
  if merge_conversation.record ?& array['inbox_id', 'contact_id', 'channel', 'status', 'priority', 'assignee_kind',
    'assignee_id', 'team_id', 'labels', 'contact_source_id', 'additional_attributes', 'custom_attributes',
    'snoozed_until', 'waiting_since', 'first_reply_created_at', 'agent_last_seen_at', 'contact_last_seen_at',
    'last_activity_at', 'created_at']
  then
    return chatwoot.merge_conversations(array[jsonb_populate_record(null::chatwoot.conversations,
      merge_conversation.record || jsonb_build_object('account_id', merge_conversation.account_id,
        'display_id', merge_conversation.display_id, 'version_at', merge_conversation.version_at))]) > 0;
  end if;
  v_is_changed := chatwoot.merge_fields('chatwoot.conversations',
    jsonb_build_object('account_id', merge_conversation.account_id, 'display_id', merge_conversation.display_id),
    merge_conversation.record, merge_conversation.version_at);
  -- A part of a record is evidence too, of what it says; for the rest stands what the mirror holds.
  perform ledger.observe(array(
    select jsonb_populate_record(existing, merge_conversation.record
      || jsonb_build_object('version_at', merge_conversation.version_at))
    from chatwoot.conversations as existing
    where existing.account_id = merge_conversation.account_id and existing.display_id = merge_conversation.display_id
      and existing.deleted_at is null));
  return v_is_changed;
end
$$;
comment on function chatwoot.merge_conversation is
  'Merges a record of a conversation, keys as the columns, whole or in part; true when something may have changed.';

create function chatwoot.merge_delivery_status(
  account_id bigint, message_id bigint, delivery_status text, delivery_status_at timestamptz, deleted_at timestamptz
) returns boolean
-- Registers of their own: only some payloads carry the status, and those carry its exact version.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_is_changed boolean;
begin
  update chatwoot.messages as rows set delivery_status = merge_delivery_status.delivery_status,
    delivery_status_at = merge_delivery_status.delivery_status_at
  where rows.account_id = merge_delivery_status.account_id and rows.message_id = merge_delivery_status.message_id
    and (rows.delivery_status_at < merge_delivery_status.delivery_status_at
      or (rows.delivery_status_at is null and merge_delivery_status.delivery_status_at is not null)
      or (rows.delivery_status_at = merge_delivery_status.delivery_status_at
        and coalesce(rows.delivery_status, '') collate "C" < merge_delivery_status.delivery_status collate "C"));
  v_is_changed := found;
  if merge_delivery_status.deleted_at is not null then
    update chatwoot.messages as rows set deleted_at = merge_delivery_status.deleted_at
    where rows.account_id = merge_delivery_status.account_id and rows.message_id = merge_delivery_status.message_id
      and (rows.deleted_at is null or rows.deleted_at > merge_delivery_status.deleted_at);
    v_is_changed := v_is_changed or found;
  end if;
  return v_is_changed;
end
$$;
comment on function chatwoot.merge_delivery_status is
  'Merges a message''s delivery status, by its own version, and its deletion, the earliest known; true when something changed.';

create function chatwoot.merge_messages(given chatwoot.messages[], read_at timestamptz default null) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_told chatwoot.messages[] := merge_messages.given;
  v_added bigint := 0;
  v_changed bigint := 0;
  v_row chatwoot.messages;
  v_is_changed boolean;
begin
  if merge_messages.read_at is not null then
    v_told := array(select row(told.account_id, told.message_id, told.conversation_display_id, told.inbox_id,
      told.message_type, told.content_type, told.content, told.private, told.sender_kind, told.sender_id,
      told.source_id, told.attachments, told.content_attributes, told.additional_attributes, told.created_at,
      told.delivery_status, told.delivery_status_at, told.deleted_at,
      chatwoot.read_version(told.version_at, merge_messages.read_at)
        + case when told.deleted_at is null then interval '0' else interval '1000 years' end, null)::chatwoot.messages
      from unnest(merge_messages.given) as told);
    insert into chatwoot.messages select told.* from unnest(v_told) as told on conflict do nothing;
    get diagnostics v_added = row_count;
    if v_added = cardinality(v_told) then
      return v_added;
    end if;
  end if;
  -- Twice the question what is news: before, of what was read, so that nothing known is written; and after, for what is
  -- no newer as a whole but may be in part.
  for v_round in 1..2 loop
    if v_round = 2 or merge_messages.read_at is not null then
      v_told := array(
        select distinct on (told.account_id, told.message_id) row(told.*)::chatwoot.messages
        from unnest(v_told) as told
        left join chatwoot.messages as existing
          on existing.account_id = told.account_id and existing.message_id = told.message_id
        where existing.message_id is null or existing.field_versions is not null
          or existing.version_at < chatwoot.least_version(told.version_at, merge_messages.read_at)
          or coalesce(existing.created_at < told.created_at, told.created_at is not null and existing.created_at is null)
          or coalesce(existing.delivery_status_at < case when merge_messages.read_at is null then told.delivery_status_at
              else date_trunc('milliseconds', told.delivery_status_at) end,
            told.delivery_status_at is not null and existing.delivery_status_at is null)
          or (existing.delivery_status_at <= told.delivery_status_at
            and existing.delivery_status is distinct from told.delivery_status)
          or coalesce(told.deleted_at < existing.deleted_at, told.deleted_at is not null and existing.deleted_at is null)
          or (existing.version_at <= told.version_at
            and (existing.conversation_display_id, existing.inbox_id, existing.message_type, existing.content_type,
              existing.content, existing.private, existing.sender_kind, existing.sender_id, existing.source_id,
              existing.attachments, existing.content_attributes, existing.additional_attributes)
            is distinct from (told.conversation_display_id, told.inbox_id, told.message_type, told.content_type,
              told.content, told.private, told.sender_kind, told.sender_id, told.source_id, told.attachments,
              told.content_attributes, told.additional_attributes))
        order by told.account_id, told.message_id, told.version_at desc);
      exit when v_told = '{}';
    end if;
    exit when v_round = 2;
    insert into chatwoot.messages as rows select told.* from unnest(v_told) as told
    on conflict on constraint messages_pkey do update set
      conversation_display_id = excluded.conversation_display_id, inbox_id = excluded.inbox_id,
      message_type = excluded.message_type, content_type = excluded.content_type, content = excluded.content,
      private = excluded.private, sender_kind = excluded.sender_kind, sender_id = excluded.sender_id,
      source_id = excluded.source_id, attachments = excluded.attachments,
      content_attributes = excluded.content_attributes, additional_attributes = excluded.additional_attributes,
      created_at = greatest(rows.created_at, excluded.created_at),
      delivery_status = case when excluded.delivery_status_at > coalesce(rows.delivery_status_at, '-infinity')
        or (excluded.delivery_status_at = rows.delivery_status_at
          and excluded.delivery_status collate "C" > coalesce(rows.delivery_status, '') collate "C")
        then excluded.delivery_status else rows.delivery_status end,
      delivery_status_at = greatest(rows.delivery_status_at, excluded.delivery_status_at),
      deleted_at = least(rows.deleted_at, excluded.deleted_at),
      version_at = excluded.version_at, field_versions = null
    where excluded.version_at > rows.version_at;
    get diagnostics v_changed = row_count;
    if v_changed = cardinality(v_told) then
      return v_added + v_changed;
    end if;
  end loop;
  foreach v_row in array v_told loop
    v_is_changed := chatwoot.merge_fields('chatwoot.messages',
      jsonb_build_object('account_id', v_row.account_id, 'message_id', v_row.message_id),
      to_jsonb(v_row) - array['account_id', 'message_id', 'delivery_status', 'delivery_status_at', 'deleted_at',
        'version_at', 'field_versions'], v_row.version_at);
    v_is_changed := chatwoot.merge_delivery_status(v_row.account_id, v_row.message_id, v_row.delivery_status,
      v_row.delivery_status_at, v_row.deleted_at) or v_is_changed;
    v_changed := v_changed + v_is_changed::integer;
  end loop;
  return v_added + v_changed;
end
$$;
comment on function chatwoot.merge_messages is
  'Merges whole records of messages whose conversations are there; delivery status by delivery_status_at, deletion by the earliest. Returns how many rows changed. read_at is when they were read on purpose, null for what was sent.';

create function chatwoot.merge_message(
  account_id bigint, message_id bigint, record jsonb, version_at timestamptz,
  delivery_status text default null, delivery_status_at timestamptz default null, deleted_at timestamptz default null
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  -- Nothing comes after a deletion: what was deleted must not return with an older copy that seems newer.
  v_version_at timestamptz := merge_message.version_at
    + case when merge_message.deleted_at is null then interval '0' else interval '1000 years' end;
  v_is_changed boolean;
begin
  if merge_message.record ?& array['conversation_display_id', 'inbox_id', 'message_type', 'content_type', 'content',
    'private', 'sender_kind', 'sender_id', 'source_id', 'attachments', 'content_attributes', 'additional_attributes',
    'created_at']
  then
    return chatwoot.merge_messages(array[jsonb_populate_record(null::chatwoot.messages, merge_message.record
      || jsonb_build_object('account_id', merge_message.account_id, 'message_id', merge_message.message_id,
        'version_at', v_version_at, 'deleted_at', merge_message.deleted_at,
        'delivery_status', case when merge_message.delivery_status_at is not null then merge_message.delivery_status end,
        'delivery_status_at', merge_message.delivery_status_at))]) > 0;
  end if;
  v_is_changed := chatwoot.merge_fields('chatwoot.messages',
    jsonb_build_object('account_id', merge_message.account_id, 'message_id', merge_message.message_id),
    merge_message.record, v_version_at);
  return chatwoot.merge_delivery_status(merge_message.account_id, merge_message.message_id,
    merge_message.delivery_status, merge_message.delivery_status_at, merge_message.deleted_at) or v_is_changed;
end
$$;
comment on function chatwoot.merge_message is
  'Merges a record of a message, keys as the columns, whole or in part; its delivery status by delivery_status_at, its deletion by the earliest; true when something may have changed.';

create function chatwoot.merge_csat_response(
  account_id bigint, message_id bigint, record jsonb, version_at timestamptz, first_answered_at timestamptz default null
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_is_changed boolean := chatwoot.merge_fields('chatwoot.csat_responses',
    jsonb_build_object('account_id', merge_csat_response.account_id, 'message_id', merge_csat_response.message_id),
    merge_csat_response.record, merge_csat_response.version_at);
begin
  merge_csat_response.first_answered_at := coalesce(merge_csat_response.first_answered_at, merge_csat_response.version_at);
  update chatwoot.csat_responses as rows set first_answered_at = merge_csat_response.first_answered_at
  where rows.account_id = merge_csat_response.account_id and rows.message_id = merge_csat_response.message_id
    -- The earliest second, and of readings within it the greatest, since REST cuts them short.
    and (rows.first_answered_at is null
      or date_trunc('second', rows.first_answered_at) > date_trunc('second', merge_csat_response.first_answered_at)
      or (date_trunc('second', rows.first_answered_at) = date_trunc('second', merge_csat_response.first_answered_at)
        and rows.first_answered_at < merge_csat_response.first_answered_at));
  return v_is_changed or found;
end
$$;
comment on function chatwoot.merge_csat_response is
  'Merges a record {conversation_display_id, rating, feedback_message} of a survey answer; first_answered_at is version_at unless given, and the earliest stays; true when something changed.';

create function chatwoot.merge_csat_responses(given chatwoot.csat_responses[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_added bigint;
  v_changed bigint := 0;
  v_row record;
begin
  -- Words come later than the rating, so a record without them says nothing of them; but nothing is known yet either.
  insert into chatwoot.csat_responses
  select told.account_id, told.message_id, told.conversation_display_id, told.rating, told.feedback_message,
    coalesce(told.first_answered_at, told.version_at), told.version_at, null
  from unnest(merge_csat_responses.given) as told
  order by told.account_id, told.message_id
  on conflict do nothing;
  get diagnostics v_added = row_count;
  if v_added = cardinality(merge_csat_responses.given) then
    return v_added;
  end if;
  for v_row in
    select told.* from unnest(merge_csat_responses.given) as told
    left join chatwoot.csat_responses as existing
      on existing.account_id = told.account_id and existing.message_id = told.message_id
    where existing.message_id is null or existing.rating is distinct from told.rating
      or existing.feedback_message is distinct from coalesce(told.feedback_message, existing.feedback_message)
      or date_trunc('second', existing.first_answered_at) > coalesce(told.first_answered_at, told.version_at)
    order by told.account_id, told.message_id, told.version_at
  loop
    v_changed := v_changed + chatwoot.merge_csat_response(v_row.account_id, v_row.message_id,
      jsonb_strip_nulls(jsonb_build_object('conversation_display_id', v_row.conversation_display_id,
        'rating', v_row.rating, 'feedback_message', v_row.feedback_message)), v_row.version_at,
      v_row.first_answered_at)::integer;
  end loop;
  return v_added + v_changed;
end
$$;
comment on function chatwoot.merge_csat_responses is
  'Merges survey answers whose messages are there, version_at their last change; returns how many changed. No feedback_message says nothing of it.';

create function chatwoot.record_reporting_events(given chatwoot.reporting_events[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_added bigint;
begin
  insert into chatwoot.reporting_events
  select told.* from unnest(record_reporting_events.given) as told
  order by told.account_id, told.event_id
  on conflict do nothing;
  get diagnostics v_added = row_count;
  return v_added;
end
$$;
comment on function chatwoot.record_reporting_events is 'Adds reporting events that were not known yet; returns how many. Chatwoot never changes one.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'chatwoot'::regnamespace
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
