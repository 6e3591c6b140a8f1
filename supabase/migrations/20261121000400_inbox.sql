-- Webhook deliveries, bytes first. What was signed is kept as it came, so that anything we read wrongly, or cannot read
-- yet, can be read again. Reading happens here and not at the edge: a replay then takes the very same path.
create schema inbox;
comment on schema inbox is 'Raw webhook deliveries, what became of each, and the reading of Chatwoot''s payloads.';
revoke all on schema inbox from public;
grant usage on schema inbox to authenticated, service_role;

create table inbox.deliveries (
  account_id bigint not null,
  delivery_id text not null,
  received_at timestamptz not null,
  signed_at timestamptz,
  proof text not null,
  headers jsonb,
  body bytea,
  body_sha256 bytea not null,
  event text,
  outcome text not null,
  reason text,
  note text,
  redeliveries integer not null default 0,
  conflicts integer not null default 0,
  last_repeated_at timestamptz,
  last_conflict_sha256 bytea,
  replayed_at timestamptz,
  purged_at timestamptz,
  constraint deliveries_pkey primary key (account_id, delivery_id),
  constraint deliveries_account_id_positive check (account_id > 0),
  constraint deliveries_delivery_id_bounded check (length(delivery_id) between 1 and 200),
  constraint deliveries_body_bounded check (octet_length(body) <= 1048576),
  constraint deliveries_headers_is_object check (jsonb_typeof(headers) = 'object'),
  constraint deliveries_proof_known check (proof in ('signature', 'url_secret')),
  constraint deliveries_outcome_known check (outcome in ('applied', 'ignored', 'dead')),
  constraint deliveries_reason_unless_applied check ((outcome = 'applied') = (reason is null)),
  constraint deliveries_body_until_purged check ((body is null) = (purged_at is not null))
);
comment on table inbox.deliveries is 'Each webhook delivery once, as the bytes that were signed. No API role may read the bytes or headers.';
comment on column inbox.deliveries.account_id is 'The account whose secret proved the delivery.';
comment on column inbox.deliveries.delivery_id is 'X-Chatwoot-Delivery, or sha256: and the hash of the body where the sender gave none.';
comment on column inbox.deliveries.received_at is 'When it first arrived (UTC).';
comment on column inbox.deliveries.signed_at is 'When Chatwoot signed it (UTC); null for senders that do not sign.';
comment on column inbox.deliveries.proof is 'How the sender proved itself: signature, or url_secret, which is weaker since URLs get logged.';
comment on column inbox.deliveries.headers is 'The headers kept as evidence, lower-case names; null once purged.';
comment on column inbox.deliveries.body is 'The body, byte for byte; null once purged.';
comment on column inbox.deliveries.body_sha256 is 'SHA-256 of the body, kept for ever.';
comment on column inbox.deliveries.event is 'The event the payload names; null when it cannot be read.';
comment on column inbox.deliveries.outcome is 'applied to the mirror, ignored on purpose, or dead: could not be read or applied.';
comment on column inbox.deliveries.reason is 'Why it was ignored or is dead; null when applied.';
comment on column inbox.deliveries.note is 'What had to be mended to read it; null for nothing.';
comment on column inbox.deliveries.redeliveries is 'How often the same delivery id came again.';
comment on column inbox.deliveries.conflicts is 'How often it came again with another body. The first is kept.';
comment on column inbox.deliveries.last_repeated_at is 'When it last came again (UTC); null for never.';
comment on column inbox.deliveries.last_conflict_sha256 is 'SHA-256 of the last differing body; null for none.';
comment on column inbox.deliveries.replayed_at is 'When it was last read again (UTC); null for never.';
comment on column inbox.deliveries.purged_at is 'When bytes and headers were deleted by the retention setting (UTC); null while they are there.';
-- For replay and purge, which only look at what still has its bytes, and for the last day's health.
create index deliveries_unpurged_idx on inbox.deliveries (account_id, received_at) where purged_at is null;
-- Each insert would otherwise read the growing table to vacuum it all at once; small and often suits an append.
alter table inbox.deliveries set (autovacuum_vacuum_insert_scale_factor = 0.05);
-- What needs a person's eye, and what a replay asks for: few rows in any history.
create index deliveries_dead_idx on inbox.deliveries (account_id, received_at) where outcome = 'dead';
alter table inbox.deliveries enable row level security;
create policy "Members see what became of their accounts' deliveries" on inbox.deliveries
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts see what became of all deliveries" on inbox.deliveries for select to analyst using (true);
-- Column by column: neither bytes nor headers, for anyone.
grant select (account_id, delivery_id, received_at, signed_at, proof, body_sha256, event, outcome, reason, note,
  redeliveries, conflicts, last_repeated_at, replayed_at, purged_at)
  on inbox.deliveries to authenticated, analyst, service_role;

create function inbox.mend(json_text text) returns text
-- People do write U+0000 and half emoji; jsonb takes neither. Doubled backslashes and whole pairs step aside first, as
-- control characters, which JSON text cannot contain (one that is there all the same stays an error); then every
-- surrogate that is left is a lone one. No lookaround, which takes quadratic time on hostile text.
language sql immutable security invoker set search_path = '' as $$
  select replace(replace(
    regexp_replace(replace(
      regexp_replace(
        replace(translate(mend.json_text, E'\x01\x02', E'\x03\x03'), '\\', E'\x01'),
        '\\(u[dD][89abAB][0-9a-fA-F]{2})\\(u[dD][c-fC-F][0-9a-fA-F]{2})', E'\x02\\1\x02\\2', 'g'),
      '\u0000', U&'\FFFD'),
      '\\u[dD][89a-fA-F][0-9a-fA-F]{2}', U&'\FFFD', 'g'),
    E'\x02', '\'), E'\x01', '\\')
$$;
comment on function inbox.mend is 'JSON text with \u0000 and lone surrogates replaced by U+FFFD; everything else as it was.';

create function inbox.read(body bytea, out payload jsonb, out problem text, out note text)
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_text text;
begin
  begin
    v_text := convert_from(read.body, 'UTF8');
  exception when character_not_in_repertoire or untranslatable_character then
    problem := 'The body is not UTF-8.';
    return;
  end;
  -- As it came; and if that fails on a character, once more with such characters mended.
  loop
    begin
      payload := v_text::jsonb;
    exception
      when untranslatable_character or invalid_text_representation then
        problem := 'The body is not JSON.';
      when statement_too_complex then
        problem := 'The JSON is nested too deep to be read.';
      when numeric_value_out_of_range then
        problem := 'The JSON holds a number that is too large to be read.';
      when program_limit_exceeded then
        problem := 'The JSON holds a value that is too large to be read.';
    end;
    exit when problem is distinct from 'The body is not JSON.' or note is not null;
    problem := null;
    note := 'Characters that Postgres cannot hold (U+0000, lone surrogates) were read as U+FFFD.';
    v_text := inbox.mend(v_text);
  end loop;
  if problem is not null then
    note := null;
  elsif jsonb_typeof(payload) <> 'object' then
    payload := null;
    problem := 'The JSON is not an object.';
  end if;
end
$$;
comment on function inbox.read is 'Parses a body: either payload (an object), or problem; note says what had to be mended.';

create function inbox.foreign_account(account_id bigint, payload jsonb) returns text
-- Every place in which a payload may name its account; older versions of Chatwoot fill only some of them.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_named text;
begin
  foreach v_named in array array[payload #>> '{account,id}', payload #>> '{conversation,account,id}',
    payload #>> '{messages,0,account_id}', payload #>> '{conversation,messages,0,account_id}',
    payload #>> '{contact,account,id}', payload #>> '{sender,account,id}',
    payload #>> '{current_conversation,account,id}', payload #>> '{working_hours,0,account_id}',
    payload #>> '{channel,account_id}', payload #>> '{user,account,id}']
  loop
    -- However it is spelt (7, "7", 7.0). What is no number at all is for the reading to trip over.
    if v_named <> account_id::text and v_named ~ '^\s*\d{1,40}(\.0{1,20})?\s*$' and v_named::numeric <> account_id then
      return v_named;
    end if;
  end loop;
  return null;
end
$$;
comment on function inbox.foreign_account is 'Another account that the payload names, as text; null when it names this one or none.';

-- The readers below are in PL/pgSQL although one expression would do: before Postgres 18 an SQL function that cannot be
-- inlined is planned anew at every call, and these run many times an event.

create function inbox.without_absent(record jsonb, source jsonb, fields text[], keys text[]) returns jsonb
-- What a payload does not mention must not overwrite what is known.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return record - array(
    select pairs.field from unnest(fields, keys) as pairs (field, key) where not source ? pairs.key);
end
$$;
comment on function inbox.without_absent is 'The record without the fields whose key (same place in keys) is missing from the source.';

create function inbox.contact_record(contact jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_record jsonb := jsonb_build_object('name', contact -> 'name', 'email', contact -> 'email',
    'phone_number', contact -> 'phone_number', 'identifier', contact -> 'identifier',
    'blocked', contact -> 'blocked',
    'additional_attributes', contact -> 'additional_attributes', 'custom_attributes', contact -> 'custom_attributes');
  v_keys text[] := array['name', 'email', 'phone_number', 'identifier', 'blocked', 'additional_attributes',
    'custom_attributes'];
begin
  if contact ?& v_keys then
    return v_record;
  end if;
  return inbox.without_absent(v_record, contact, v_keys, v_keys);
end
$$;
comment on function inbox.contact_record is 'The canonical record of a contact, from any of its shapes in a webhook.';

create function inbox.kind_of(sender jsonb) returns text
language plpgsql immutable security invoker set search_path = '' as $$
begin
  -- A contact in a message has no type at all.
  return case when jsonb_typeof(sender) = 'object' then coalesce(sender ->> 'type', 'contact') end;
end
$$;
comment on function inbox.kind_of is 'contact, user, agent_bot or captain_assistant; null when there is no sender.';

create function inbox.conversation_record(conversation jsonb) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_meta jsonb := coalesce(conversation -> 'meta', '{}');
  v_record jsonb := jsonb_build_object(
    'inbox_id', conversation -> 'inbox_id', 'channel', conversation -> 'channel', 'status', conversation -> 'status',
    'priority', conversation -> 'priority', 'labels', chatwoot.canonical_labels(conversation -> 'labels'),
    'contact_source_id', conversation #> '{contact_inbox,source_id}',
    'additional_attributes', conversation -> 'additional_attributes',
    'custom_attributes', conversation -> 'custom_attributes',
    'snoozed_until', date_trunc('milliseconds', chatwoot.instant(conversation -> 'snoozed_until')),
    -- Chatwoot clears it on resolving without telling, so a payload may still show it.
    'waiting_since', case when conversation ->> 'status' is distinct from 'resolved'
      then date_trunc('second', chatwoot.instant(conversation -> 'waiting_since')) end,
    'first_reply_created_at', chatwoot.instant(conversation -> 'first_reply_created_at'),
    'agent_last_seen_at', date_trunc('second', chatwoot.instant(conversation -> 'agent_last_seen_at')),
    'contact_last_seen_at', date_trunc('second', chatwoot.instant(conversation -> 'contact_last_seen_at')),
    'last_activity_at', date_trunc('second', chatwoot.instant(conversation -> 'last_activity_at')),
    'created_at', chatwoot.instant(conversation -> 'created_at'),
    'contact_id', v_meta #> '{sender,id}',
    'assignee_kind', coalesce(v_meta #>> '{assignee,type}',
      case when v_meta #>> '{assignee,id}' is not null then 'user' end),
    'assignee_id', v_meta #> '{assignee,id}', 'team_id', v_meta #> '{team,id}');
  v_keys text[] := array['inbox_id', 'channel', 'status', 'priority', 'labels', 'contact_inbox',
    'additional_attributes', 'custom_attributes', 'snoozed_until', 'waiting_since',
    'first_reply_created_at', 'agent_last_seen_at', 'contact_last_seen_at', 'last_activity_at', 'created_at'];
begin
  if conversation ?& v_keys and v_meta ?& array['sender', 'assignee', 'team'] then
    return v_record;
  end if;
  return inbox.without_absent(
    inbox.without_absent(v_record, conversation, array['inbox_id', 'channel', 'status', 'priority', 'labels',
      'contact_source_id', 'additional_attributes', 'custom_attributes', 'snoozed_until', 'waiting_since', 'first_reply_created_at', 'agent_last_seen_at', 'contact_last_seen_at', 'last_activity_at',
      'created_at'], v_keys),
    v_meta, array['contact_id', 'assignee_kind', 'assignee_id', 'team_id'],
    array['sender', 'assignee', 'assignee', 'team']);
end
$$;
comment on function inbox.conversation_record is 'The canonical record of a conversation, from its shape in a webhook.';

create function inbox.message_record(message jsonb, conversation_display_id bigint, inbox_id jsonb) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_record jsonb := jsonb_build_object(
    'conversation_display_id', message_record.conversation_display_id, 'inbox_id', message_record.inbox_id,
    -- A word at the top of an event, a number everywhere else.
    'message_type', case message ->> 'message_type' when '0' then 'incoming' when '1' then 'outgoing'
      when '2' then 'activity' when '3' then 'template' else message ->> 'message_type' end,
    'content_type', message -> 'content_type', 'private', message -> 'private',
    -- The top of an event appends the survey's link, the nested copy of the same row does not.
    'content', chatwoot.canonical_text(case when message ->> 'content_type' = 'input_csat' then regexp_replace(
      message ->> 'content', '\s*https?://\S+/survey/responses/[0-9a-f-]{36}\s*$', '') else message ->> 'content' end),
    'sender_kind', inbox.kind_of(message -> 'sender'), 'sender_id', message #> '{sender,id}',
    'source_id', message -> 'source_id', 'attachments', chatwoot.canonical_attachments(message -> 'attachments'),
    'content_attributes', message -> 'content_attributes',
    'additional_attributes', message -> 'additional_attributes',
    'created_at', chatwoot.instant(message -> 'created_at'));
  v_keys text[] := array['message_type', 'content_type', 'content', 'private', 'source_id', 'content_attributes',
    'additional_attributes', 'created_at'];
begin
  if message ?& v_keys then
    return v_record;
  end if;
  return inbox.without_absent(v_record, message, v_keys, v_keys);
end
$$;
comment on function inbox.message_record is 'The canonical record of a message, from either of its shapes in a webhook.';

create function inbox.payload_instant(payload jsonb, conversation jsonb) returns timestamptz
-- Chatwoot reads the rows when it sends, so all that a payload says was true at or after the newest instant it shows.
-- That, and not the time of arrival, orders what has no version of its own: the queue cannot change it.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_instant timestamptz := greatest(chatwoot.instant(conversation -> 'updated_at'),
    chatwoot.instant(conversation -> 'last_activity_at'), chatwoot.instant(payload -> 'created_at'),
    chatwoot.instant(payload -> 'updated_at'), chatwoot.instant(conversation #> '{messages,0,updated_at}'));
begin
  if jsonb_typeof(payload -> 'changed_attributes') = 'array' then
    v_instant := greatest(v_instant, (
      select max(chatwoot.instant(changes.change #> '{updated_at,current_value}'))
      from jsonb_array_elements(payload -> 'changed_attributes') as changes (change)
      where changes.change ? 'updated_at'));
  end if;
  return v_instant;
end
$$;
comment on function inbox.payload_instant is 'The newest instant that a payload shows; null when it shows none.';

create function inbox.apply_message(
  account_id bigint, message jsonb, conversation_display_id bigint, inbox_id jsonb, version_at timestamptz,
  delivery_status text, updated_at timestamptz, seen_at timestamptz
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_message_id bigint := (apply_message.message ->> 'id')::bigint;
  v_is_deleted boolean := coalesce(apply_message.message #>> '{content_attributes,deleted}' = 'true', false);
  v_answer jsonb := apply_message.message #> '{content_attributes,submitted_values,csat_survey_response}';
begin
  perform chatwoot.merge_message(apply_message.account_id, v_message_id,
    inbox.message_record(apply_message.message, apply_message.conversation_display_id, apply_message.inbox_id),
    apply_message.version_at, apply_message.delivery_status, apply_message.updated_at,
    case when v_is_deleted then coalesce(apply_message.updated_at, apply_message.seen_at) end);
  -- The rating comes as a number or as text, from the customer's browser.
  if v_answer ->> 'rating' ~ '^[1-5]$' then
    perform chatwoot.merge_csat_response(apply_message.account_id, v_message_id,
      jsonb_build_object('conversation_display_id', apply_message.conversation_display_id,
        'rating', (v_answer ->> 'rating')::integer)
      -- The words come later than the rating; an answer without them says nothing of them.
      || case when v_answer ->> 'feedback_message' is not null
        then jsonb_build_object('feedback_message', v_answer -> 'feedback_message') else '{}' end,
      apply_message.version_at);
  end if;
end
$$;
comment on function inbox.apply_message is 'Merges one message, and the survey answer inside it.';

create function inbox.agent_record(agent jsonb) returns jsonb
-- No shape has all of these.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return inbox.without_absent(
    jsonb_build_object('name', agent -> 'name', 'available_name', agent -> 'available_name', 'email', agent -> 'email'),
    agent, array['name', 'available_name', 'email'], array['name', 'available_name', 'email']);
end
$$;
comment on function inbox.agent_record is 'The canonical record of a person or bot, from any of the sender shapes.';

create function inbox.people(payload jsonb, conversation jsonb) returns table (kind text, id bigint, record jsonb)
-- Sorted, agents before contacts: whoever merges them takes the rows in the same order as everybody else.
language plpgsql stable security invoker set search_path = '' as $$
begin
  return query with named as (
    select inbox.kind_of(people.person) as kind, (people.person ->> 'id')::bigint as id, people.person
    from (
      values (payload -> 'sender'), (conversation #> '{meta,assignee}'),
        ((conversation #> '{meta,sender}') || '{"type": "contact"}'), ((payload -> 'contact') || '{"type": "contact"}')
      union all
      select messages.message -> 'sender'
      from jsonb_array_elements(nullif(conversation -> 'messages', 'null')) as messages (message)
    ) as people (person)
    where jsonb_typeof(people.person) = 'object' and people.person ->> 'id' is not null
  ), recorded as (
    select distinct named.kind, named.id, case when named.kind = 'contact' then inbox.contact_record(named.person)
      else inbox.agent_record(named.person) end as record
    from named
  )
  select recorded.kind, recorded.id, recorded.record from recorded
  order by recorded.kind = 'contact', recorded.kind, recorded.id, recorded.record;
end
$$;
comment on function inbox.people is 'Everybody a payload names (writer, assignee, customer), each with a canonical record.';

create function inbox.messages(payload jsonb, conversation jsonb, shape text, shown_at timestamptz, seen_at timestamptz)
returns table (message_id bigint, message jsonb, version_at timestamptz, delivery_status text, updated_at timestamptz)
-- A message event and the conversation inside it hold the same row twice: read once, so they are one. Only the nested
-- copy has its version and delivery status; only the outer one is sure to be the message the event is about.
-- A note, or an older message, is not nested; and editing it moves no instant that the event shows. So of copies that
-- show the same, the one signed later counts as newer: a microsecond for each second, which reorders nothing else.
language plpgsql stable security invoker set search_path = '' as $$
begin
  return query with nested as (
    select (elements.message ->> 'id')::bigint as message_id, elements.message,
      chatwoot.instant(elements.message -> 'updated_at') as updated_at
    from jsonb_array_elements(nullif(conversation -> 'messages', 'null')) as elements (message)
  ), outer_one as (
    -- A case, since a planner that knows the payload reads what it selects before it looks at a where.
    select case when messages.shape = 'message' then (payload ->> 'id')::bigint end as message_id, payload as message
    where messages.shape = 'message'
  )
  select coalesce(outer_one.message_id, nested.message_id), coalesce(outer_one.message, nested.message),
    coalesce(nested.updated_at, messages.shown_at + make_interval(secs =>
      least(greatest(extract(epoch from messages.seen_at - messages.shown_at), 0), 900000)::double precision / 1000000)),
    nested.message ->> 'status', nested.updated_at
  from outer_one full join nested on nested.message_id = outer_one.message_id
  order by 1;
end
$$;
comment on function inbox.messages is 'Every message of a payload once, in order of id, with its version and, where told, its delivery status.';

create function inbox.apply(
  account_id bigint, payload jsonb, seen_at timestamptz, is_alone boolean default false, out outcome text, out reason text
)
-- Rows are taken in one order whatever the event (account, inbox, team, agents, contacts, conversation, messages,
-- labels, and by key within each), so two events never wait for each other in a circle. A message told of in two
-- conversations has the ledger count both anew, so before all rows its id is locked: where the payload is alone in its
-- transaction, since one of many would hold rows already, and run out of locks.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_event text := case when jsonb_typeof(payload -> 'event') = 'string' then payload ->> 'event' end;
  v_shape text;
  v_conversation jsonb;
  v_version timestamptz;
  v_inbox_id bigint;
  v_display_id bigint;
  v_person record;
  v_message record;
begin
  v_shape := case
    when v_event in ('conversation_created', 'conversation_updated', 'conversation_status_changed',
      'conversation_opened', 'conversation_resolved') then 'conversation'
    when v_event in ('message_created', 'message_updated') then 'message'
    when v_event in ('contact_created', 'contact_updated') then 'contact'
    when v_event in ('inbox_created', 'inbox_updated') then 'inbox'
    when v_event = 'webwidget_triggered' then 'webwidget'
    when v_event in ('conversation_typing_on', 'conversation_typing_off') then 'typing'
    -- Rules and macros send the conversation or the message they ran on.
    when v_event like 'automation_event.%' or v_event = 'macro.executed' then
      case when payload ? 'meta' then 'conversation' when payload ? 'conversation' then 'message' end
  end;
  v_conversation := nullif(case v_shape when 'conversation' then payload when 'message' then payload -> 'conversation'
    when 'webwidget' then payload -> 'current_conversation' end, 'null');
  -- The event has no id of the inbox but in its working hours.
  v_inbox_id := case v_shape when 'inbox' then coalesce(payload #>> '{working_hours,0,inbox_id}', payload ->> 'inbox_id')
    else coalesce(v_conversation ->> 'inbox_id', payload #>> '{inbox,id}') end::bigint;
  outcome := 'ignored';
  reason := case
    when v_event is null then 'The payload names no event.'
    when v_shape is null then format('The event %s is not known.', left(v_event, 100))
    when v_shape = 'typing' then 'Typing says nothing that lasts.'
    when v_shape = 'inbox' and v_inbox_id is null then 'The payload does not say which inbox it is about.'
  end;
  if reason is not null then
    return;
  end if;
  if (v_shape in ('contact', 'message', 'conversation') and payload ->> 'id' is null)
    or (v_shape = 'message' and v_conversation ->> 'id' is null)
  then
    raise exception 'The % has no id', v_shape using errcode = 'OC422',
      hint = 'Once it can be read, read it again: select inbox.replay(…).';
  end if;
  if jsonb_typeof(v_conversation -> 'messages') = 'array' and jsonb_array_length(v_conversation -> 'messages') > 100
    or jsonb_typeof(v_conversation -> 'labels') = 'array' and jsonb_array_length(v_conversation -> 'labels') > 1000
  then
    raise exception 'The conversation nests more than 100 messages or 1000 labels' using errcode = 'OC422',
      hint = 'Chatwoot nests one message at most: find out who sent this.';
  end if;
  outcome := 'applied';
  -- A contact's creation and the opening of a widget show no instant. Delivered late they would outrank newer news, so
  -- they count as older than all that shows one, and among themselves in the order they were signed.
  v_version := coalesce(inbox.payload_instant(payload, v_conversation), apply.seen_at - interval '1000 years');

  perform pg_advisory_xact_lock(hashtextextended('message ' || told.message_id, apply.account_id))
  from (
    select (elements.message ->> 'id')::bigint as message_id
    from jsonb_array_elements(nullif(v_conversation -> 'messages', 'null')) as elements (message)
    union
    select case when v_shape = 'message' then (payload ->> 'id')::bigint end
    order by 1
  ) as told where apply.is_alone and told.message_id is not null;
  if payload #>> '{account,name}' is not null then
    perform chatwoot.merge_account(apply.account_id, jsonb_build_object('name', payload #> '{account,name}'), v_version);
  end if;
  if v_inbox_id is not null then
    perform chatwoot.merge_inbox(apply.account_id, v_inbox_id,
      case when v_shape = 'inbox' then inbox.inbox_record(payload) else '{}' end
      || case when payload #>> '{inbox,name}' is not null and payload #>> '{inbox,id}' = v_inbox_id::text
        then jsonb_build_object('name', payload #> '{inbox,name}') else '{}' end
      || case when v_conversation ->> 'channel' is not null
        then jsonb_build_object('channel', v_conversation -> 'channel') else '{}' end, v_version);
  end if;
  if v_conversation #>> '{meta,team,id}' is not null then
    perform chatwoot.merge_team(apply.account_id, (v_conversation #>> '{meta,team,id}')::bigint,
      jsonb_build_object('name', v_conversation #> '{meta,team,name}'), v_version);
  end if;
  for v_person in select people.kind, people.id, people.record from inbox.people(payload, v_conversation) as people loop
    if v_person.kind = 'contact' then
      perform chatwoot.merge_contact(apply.account_id, v_person.id, v_person.record, v_version);
    else
      perform chatwoot.merge_agent(apply.account_id, v_person.kind, v_person.id, v_person.record, v_version);
    end if;
  end loop;
  if v_shape = 'contact' then
    perform chatwoot.merge_contact(apply.account_id, (payload ->> 'id')::bigint, inbox.contact_record(payload), v_version);
  end if;
  if v_conversation is null then
    return;
  end if;

  v_display_id := (v_conversation ->> 'id')::bigint;
  perform chatwoot.merge_conversation(apply.account_id, v_display_id, inbox.conversation_record(v_conversation),
    coalesce(chatwoot.instant(v_conversation -> 'updated_at'), v_version));
  if v_shape = 'conversation' then
    perform ledger.observe_changes(apply.account_id, v_display_id, payload -> 'changed_attributes',
      chatwoot.instant(v_conversation -> 'updated_at'));
  end if;
  for v_message in select * from inbox.messages(payload, v_conversation, v_shape, v_version, apply.seen_at) loop
    perform inbox.apply_message(apply.account_id, v_message.message, v_display_id,
      coalesce(v_message.message -> 'inbox_id', v_message.message #> '{inbox,id}', v_conversation -> 'inbox_id'),
      v_message.version_at, v_message.delivery_status, v_message.updated_at, apply.seen_at);
  end loop;
  perform chatwoot.merge_labels(apply.account_id, v_conversation -> 'labels');
  perform ledger.follow(apply.account_id, v_display_id);
end
$$;
comment on function inbox.apply is
  'Merges one parsed payload into the mirror. seen_at orders payloads that show no instant; is_alone: nothing else is merged in this transaction. Raises when a value is of the wrong type.';

create function inbox.inbox_record(payload jsonb) returns jsonb
language sql stable security invoker set search_path = '' as $$
  select inbox.without_absent(
    jsonb_build_object(
      'time_zone', payload -> 'timezone', 'working_hours_enabled', payload -> 'working_hours_enabled',
      'working_hours', (
        select jsonb_agg(jsonb_build_object('day_of_week', days.day -> 'day_of_week', 'open_hour', days.day -> 'open_hour',
          'open_minutes', days.day -> 'open_minutes', 'close_hour', days.day -> 'close_hour',
          'close_minutes', days.day -> 'close_minutes', 'closed_all_day', days.day -> 'closed_all_day',
          'open_all_day', days.day -> 'open_all_day') order by days.place)
        from jsonb_array_elements(payload -> 'working_hours') with ordinality as days (day, place)),
      'greeting_enabled', payload -> 'greeting_enabled', 'csat_survey_enabled', payload -> 'csat_survey_enabled',
      'auto_assignment_enabled', payload -> 'enable_auto_assignment',
      'allow_messages_after_resolved', payload -> 'allow_messages_after_resolved',
      'lock_to_single_conversation', payload -> 'lock_to_single_conversation',
      'created_at', chatwoot.instant(payload -> 'created_at')),
    payload,
    array['time_zone', 'working_hours_enabled', 'working_hours', 'greeting_enabled', 'csat_survey_enabled',
      'auto_assignment_enabled', 'allow_messages_after_resolved', 'lock_to_single_conversation', 'created_at'],
    array['timezone', 'working_hours_enabled', 'working_hours', 'greeting_enabled', 'csat_survey_enabled',
      'enable_auto_assignment', 'allow_messages_after_resolved', 'lock_to_single_conversation', 'created_at'])
  || coalesce((
    select jsonb_build_object('reauthorization_required', changes.change #> '{reauthorization_required,current_value}')
    from jsonb_array_elements(case when jsonb_typeof(payload -> 'changed_attributes') = 'array'
      then payload -> 'changed_attributes' else '[]' end) as changes (change)
    where changes.change ? 'reauthorization_required' limit 1), '{}')
$$;
comment on function inbox.inbox_record is 'The canonical record of an inbox event; named fields only, so that no credential of the channel comes along.';

create function inbox.settle(account_id bigint, body bytea, seen_at timestamptz, is_alone boolean default false,
  out event text, out outcome text, out reason text, out note text)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_read record;
  v_state text;
  v_message text;
begin
  v_read := inbox.read(settle.body);
  note := v_read.note;
  event := left(case when jsonb_typeof(v_read.payload -> 'event') = 'string' then v_read.payload ->> 'event' end, 200);
  if v_read.problem is not null then
    outcome := 'dead';
    reason := v_read.problem;
    return;
  end if;
  if inbox.foreign_account(settle.account_id, v_read.payload) is not null then
    outcome := 'refused';
    return;
  end if;
  begin
    select applied.outcome, applied.reason into outcome, reason
    from inbox.apply(settle.account_id, v_read.payload, settle.seen_at, settle.is_alone) as applied;
  exception when others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
    -- Trouble of the moment is the sender's to try again; anything else is a fault of this payload or of our reading,
    -- which a retry would only repeat.
    if v_state like any (array['08%', '25%', '40%', '53%', '55%', '57%', '58%']) then
      raise;
    end if;
    outcome := 'dead';
    -- A complaint about a value quotes it after a colon, and a reason outlives the bytes.
    if v_state like '22%' then
      v_message := regexp_replace(v_message, ': .*$', '');
    end if;
    reason := left(format('%s: %s', v_state, v_message), 500);
  end;
end
$$;
comment on function inbox.settle is
  'Reads a body and applies it, as inbox.apply does: outcome applied, ignored, dead, or refused when it belongs to another account. Raises only what may pass by itself.';

create function inbox.record(
  account_id bigint, delivery_id text, body bytea, headers jsonb, proof text, signed_at timestamptz,
  as_of timestamptz default now()
) returns text
-- Definer: nobody but this function writes deliveries or the mirror.
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_sha256 bytea := sha256(record.body);
  v_settled record;
begin
  -- Copies of a delivery take turns: of two at once that differ, only the one that is kept may reach the mirror.
  perform pg_advisory_xact_lock(hashtextextended(record.delivery_id, record.account_id));
  if not exists (select from inbox.deliveries where deliveries.account_id = record.account_id
    and deliveries.delivery_id = record.delivery_id)
  then
    v_settled := inbox.settle(record.account_id, record.body, coalesce(record.signed_at, record.as_of), is_alone => true);
    if v_settled.outcome = 'refused' then
      return 'refused';
    end if;
    insert into inbox.deliveries (account_id, delivery_id, received_at, signed_at, proof, headers, body, body_sha256,
      event, outcome, reason, note)
    values (record.account_id, record.delivery_id, record.as_of, record.signed_at, record.proof, record.headers,
      record.body, v_sha256, v_settled.event, v_settled.outcome, v_settled.reason, v_settled.note);
    return v_settled.outcome;
  end if;
  update inbox.deliveries as existing
  set redeliveries = existing.redeliveries + 1, last_repeated_at = record.as_of,
    conflicts = existing.conflicts + (existing.body_sha256 <> v_sha256)::integer,
    last_conflict_sha256 = case when existing.body_sha256 <> v_sha256 then v_sha256
      else existing.last_conflict_sha256 end
  where existing.account_id = record.account_id and existing.delivery_id = record.delivery_id;
  return 'duplicate';
end
$$;
comment on function inbox.record is
  'Stores a proven delivery once and applies it in the same transaction. Outcome applied, ignored, dead, duplicate, or refused (another account''s payload; nothing stored).';

create function inbox.replay(
  account_id bigint, since timestamptz default '-infinity', until timestamptz default 'infinity',
  outcomes text[] default array['applied', 'ignored', 'dead'], as_of timestamptz default now()
) returns table (outcome text, deliveries bigint)
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_delivery record;
  v_settled record;
  v_counts jsonb := '{}'::jsonb;
begin
  perform access.require_role(replay.account_id, 'admin');
  for v_delivery in
    select existing.delivery_id, existing.body, coalesce(existing.signed_at, existing.received_at) as seen_at
    from inbox.deliveries as existing
    where existing.account_id = replay.account_id and existing.purged_at is null
      and existing.received_at >= replay.since and existing.received_at < replay.until
      and existing.outcome = any (replay.outcomes)
    order by existing.received_at, existing.delivery_id
  loop
    v_settled := inbox.settle(replay.account_id, v_delivery.body, v_delivery.seen_at);
    -- Its secret proved it, so it was never refused; a later reading that would refuse it leaves it dead.
    if v_settled.outcome = 'refused' then
      v_settled.outcome := 'dead';
      v_settled.reason := 'The payload names another account.';
    end if;
    update inbox.deliveries as existing
    set event = v_settled.event, outcome = v_settled.outcome, reason = v_settled.reason, note = v_settled.note,
      replayed_at = replay.as_of
    where existing.account_id = replay.account_id and existing.delivery_id = v_delivery.delivery_id;
    v_counts := v_counts || jsonb_build_object(v_settled.outcome,
      coalesce((v_counts ->> v_settled.outcome)::bigint, 0) + 1);
  end loop;
  perform audit.log(replay.account_id, 'deliveries.replayed', 'deliveries', jsonb_build_object('since', replay.since,
    'until', replay.until, 'outcomes', to_jsonb(replay.outcomes), 'deliveries', v_counts), 'done', as_of => replay.as_of);
  return query select counts.key, counts.value::bigint from jsonb_each_text(v_counts) as counts order by counts.key;
end
$$;
comment on function inbox.replay is
  'Reads kept deliveries of an account again (all, or those received in [since, until) with these outcomes) and merges them; safe to repeat. One row an outcome. Admins only (OC403).';

create function inbox.purge_bodies(as_of timestamptz default now(), batch_size integer default 5000) returns bigint
language sql volatile security invoker set search_path = '' as $$
  with accounts as (
    -- One step an account through the index, however many deliveries each has.
    with recursive walk as (
      (select deliveries.account_id from inbox.deliveries where deliveries.purged_at is null
        order by deliveries.account_id limit 1)
      union all
      select (select deliveries.account_id from inbox.deliveries
        where deliveries.purged_at is null and deliveries.account_id > walk.account_id
        order by deliveries.account_id limit 1)
      from walk where walk.account_id is not null
    )
    select walk.account_id, (ops.setting(walk.account_id, 'raw_retention_days') #>> '{}')::integer as retention_days
    from walk where walk.account_id is not null
  ), old as materialized (
    select expired.account_id, expired.delivery_id from accounts cross join lateral (
      select deliveries.account_id, deliveries.delivery_id, deliveries.received_at from inbox.deliveries
      where deliveries.account_id = accounts.account_id and deliveries.purged_at is null
        and deliveries.received_at < purge_bodies.as_of - make_interval(days => accounts.retention_days)
      order by deliveries.received_at
      limit purge_bodies.batch_size
    ) as expired
    -- Oldest first, whoever's it is: one busy account must not keep the others waiting.
    order by expired.received_at
    limit purge_bodies.batch_size
  ), purged as (
    update inbox.deliveries as existing set body = null, headers = null, purged_at = purge_bodies.as_of
    from old where existing.account_id = old.account_id and existing.delivery_id = old.delivery_id
    returning existing.account_id
  )
  select count(*) from purged
$$;
comment on function inbox.purge_bodies is
  'Deletes bytes and headers older than each account''s raw_retention_days, at most one batch; returns how many. What became of a delivery stays.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions where functions.pronamespace = 'inbox'::regnamespace
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function inbox.record to service_role;
grant execute on function inbox.replay to authenticated, service_role;
