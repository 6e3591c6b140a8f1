-- Erasing a customer: what is personal goes, what numbers are made of stays. Statistics rest on instants, classes, states
-- and ids, none of which says anything about a person once the words are gone; so the rows stay and the words leave them.
-- What is left of a row is written in one place, the without_words functions: the erasure itself uses them, and so do
-- triggers that stand behind every door, since Chatwoot may tell of an erased customer again tomorrow.
create table chatwoot.erased_contacts (
  account_id bigint not null,
  contact_id bigint not null,
  erased_at timestamptz not null,
  constraint erased_contacts_pkey primary key (account_id, contact_id)
);
comment on table chatwoot.erased_contacts is 'Customers who were erased: no door brings their words back.';
comment on column chatwoot.erased_contacts.account_id is 'Chatwoot''s account id.';
comment on column chatwoot.erased_contacts.contact_id is 'Chatwoot''s contact id.';
comment on column chatwoot.erased_contacts.erased_at is 'When they were erased first (UTC).';

create table chatwoot.erased_conversations (
  account_id bigint not null,
  display_id bigint not null,
  contact_id bigint not null,
  deleted_at timestamptz,
  constraint erased_conversations_pkey primary key (account_id, display_id)
);
comment on table chatwoot.erased_conversations is 'Conversations of erased customers, also those they began later: no door brings their words back.';
comment on column chatwoot.erased_conversations.account_id is 'Chatwoot''s account id.';
comment on column chatwoot.erased_conversations.display_id is 'The conversation''s number in its account.';
comment on column chatwoot.erased_conversations.contact_id is 'The customer who was erased.';
comment on column chatwoot.erased_conversations.deleted_at is 'Since when it was deleted in Chatwoot when it was erased here (UTC); null for not. Stays so: that Chatwoot then deletes the customer too must move no number.';

create table ops.erasures (
  account_id bigint not null,
  erasure_id bigint generated always as identity,
  kind text not null,
  subject_id bigint not null,
  erased_at timestamptz not null,
  erased_by text not null,
  deleted jsonb not null,
  hash bytea not null,
  constraint erasures_pkey primary key (account_id, erasure_id),
  constraint erasures_kind_known check (kind in ('contact', 'account'))
);
comment on table ops.erasures is 'Receipts: what was erased, when and by whom. Never changed, and kept when the account itself is removed.';
comment on column ops.erasures.account_id is 'Chatwoot''s account id.';
comment on column ops.erasures.erasure_id is 'Number of the receipt.';
comment on column ops.erasures.kind is 'contact (a customer) or account (everything of an account).';
comment on column ops.erasures.subject_id is 'Id of the contact or the account.';
comment on column ops.erasures.erased_at is 'When (UTC).';
comment on column ops.erasures.erased_by is 'By whom, as in the decision log.';
comment on column ops.erasures.deleted is 'Rows that were deleted, or emptied of what was personal, by table.';
comment on column ops.erasures.hash is 'SHA-256 of the receipt; the decision log has it too, so that neither can be changed alone.';

-- What is left of a row.
create function chatwoot.without_words(contact chatwoot.contacts) returns chatwoot.contacts
language plpgsql immutable security invoker set search_path = '' as $$
begin
  contact.name := null;
  contact.email := null;
  contact.phone_number := null;
  contact.identifier := null;
  contact.additional_attributes := null;
  contact.custom_attributes := null;
  return contact;
end
$$;
comment on function chatwoot.without_words(chatwoot.contacts) is 'What is left of an erased customer: the id, and whether they are blocked.';

create function chatwoot.without_words(conversation chatwoot.conversations) returns chatwoot.conversations
language plpgsql immutable security invoker set search_path = '' as $$
begin
  conversation.contact_source_id := null;
  conversation.additional_attributes := null;
  conversation.custom_attributes := null;
  return conversation;
end
$$;
comment on function chatwoot.without_words(chatwoot.conversations) is 'What is left of an erased customer''s conversation: ids, states, labels and instants.';

create function chatwoot.without_words(message chatwoot.messages) returns chatwoot.messages
-- What the ledger classes a message by stays, and nothing of it can hold a word.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_attributes jsonb := message.content_attributes;
begin
  -- A bot that asked still has asked.
  message.content := case when message.sender_kind not in ('user', 'contact') and message.content ~ '\?\s*$' then '?' end;
  message.source_id := null;
  message.attachments := (
    select coalesce(jsonb_agg(jsonb_build_object('id', files.file -> 'id', 'file_type', files.file -> 'file_type', 'extension', null)
      order by files.place), '[]')
    from jsonb_array_elements(case when jsonb_typeof(message.attachments) = 'array' then message.attachments end)
      with ordinality as files (file, place));
  message.content_attributes := jsonb_strip_nulls(jsonb_build_object(
    'automation_rule_id', case when v_attributes ->> 'automation_rule_id' ~ '^\d{1,18}$' then v_attributes -> 'automation_rule_id'
      when v_attributes ->> 'automation_rule_id' is not null then '0' end,
    'external_echo', case when v_attributes ->> 'external_echo' = 'true' then true end,
    'deleted', case when v_attributes ->> 'deleted' = 'true' then true end,
    'occ_action', case when v_attributes ->> 'occ_action' ~ '^[0-9a-f-]{36}$' then v_attributes -> 'occ_action' end,
    'activity', case when v_attributes #>> '{activity,type}' = 'conversation_status_changed'
        and v_attributes #>> '{activity,status}' in ('open', 'resolved', 'pending', 'snoozed')
      then jsonb_build_object('type', 'conversation_status_changed', 'status', v_attributes #> '{activity,status}') end));
  message.additional_attributes := jsonb_strip_nulls(jsonb_build_object(
    'campaign_id', case when message.additional_attributes ->> 'campaign_id' ~ '^\d{1,18}$'
        then message.additional_attributes -> 'campaign_id'
      when message.additional_attributes ->> 'campaign_id' is not null then '0' end));
  return message;
end
$$;
comment on function chatwoot.without_words(chatwoot.messages) is
  'What is left of a message of an erased customer: ids, kind, sender, instants, number and kind of its files; ? where a bot asked.';

create function chatwoot.without_words(answer chatwoot.csat_responses) returns chatwoot.csat_responses
language plpgsql immutable security invoker set search_path = '' as $$
begin
  answer.feedback_message := null;
  return answer;
end
$$;
comment on function chatwoot.without_words(chatwoot.csat_responses) is 'What is left of an erased customer''s survey answer: the rating and when.';

-- Rows as they are in a table, emptied; how many that changed.
create function chatwoot.strip_contacts(account_id bigint, contact_ids bigint[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  update chatwoot.contacts as existing
  set (name, email, phone_number, identifier, additional_attributes, custom_attributes) = (
    select bare.name, bare.email, bare.phone_number, bare.identifier, bare.additional_attributes, bare.custom_attributes
    from chatwoot.without_words(existing) as bare)
  where existing.account_id = strip_contacts.account_id and existing.contact_id = any (strip_contacts.contact_ids)
    and existing is distinct from chatwoot.without_words(existing);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function chatwoot.strip_contacts is 'Takes the words out of contacts; returns how many had any.';

create function chatwoot.strip_conversations(account_id bigint, display_ids bigint[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  update chatwoot.conversations as existing
  set (contact_source_id, additional_attributes, custom_attributes, deleted_at) = (
    select bare.contact_source_id, bare.additional_attributes, bare.custom_attributes, erased.deleted_at
    from chatwoot.without_words(existing) as bare)
  from chatwoot.erased_conversations as erased
  where existing.account_id = strip_conversations.account_id and existing.display_id = any (strip_conversations.display_ids)
    and erased.account_id = existing.account_id and erased.display_id = existing.display_id
    and (existing is distinct from chatwoot.without_words(existing) or existing.deleted_at is distinct from erased.deleted_at);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function chatwoot.strip_conversations is 'Takes the words out of erased conversations, and keeps them as deleted or not as they were; returns how many changed.';

create function chatwoot.strip_messages(account_id bigint, message_ids bigint[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  update chatwoot.messages as existing
  set (content, source_id, attachments, content_attributes, additional_attributes) = (
    select bare.content, bare.source_id, bare.attachments, bare.content_attributes, bare.additional_attributes
    from chatwoot.without_words(existing) as bare)
  where existing.account_id = strip_messages.account_id and existing.message_id = any (strip_messages.message_ids)
    and existing is distinct from chatwoot.without_words(existing);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function chatwoot.strip_messages is 'Takes the words out of messages; returns how many had any.';

create function chatwoot.strip_answers(account_id bigint, message_ids bigint[]) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  update chatwoot.csat_responses as existing set feedback_message = (chatwoot.without_words(existing)).feedback_message
  where existing.account_id = strip_answers.account_id and existing.message_id = any (strip_answers.message_ids)
    and existing is distinct from chatwoot.without_words(existing);
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function chatwoot.strip_answers is 'Takes the words out of survey answers; returns how many had any.';

-- Behind every door, once a statement: a look at each row would make reading a history a third slower. What is written and
-- emptied in one transaction nobody else ever sees.
create function chatwoot.tg_keep_contacts_erased() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_contacts) then
    perform chatwoot.strip_contacts(told.account_id, told.contact_ids)
    from (
      select news.account_id, array_agg(news.contact_id) as contact_ids from news
      join chatwoot.erased_contacts as erased on erased.account_id = news.account_id and erased.contact_id = news.contact_id
      group by news.account_id
    ) as told;
  end if;
  return null;
end
$$;
comment on function chatwoot.tg_keep_contacts_erased is 'Trigger: what is told of an erased customer is kept without words.';

create function chatwoot.tg_keep_conversations_erased() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_contacts) then
    insert into chatwoot.erased_conversations (account_id, display_id, contact_id)
    select news.account_id, news.display_id, news.contact_id from news
    join chatwoot.erased_contacts as erased on erased.account_id = news.account_id and erased.contact_id = news.contact_id
    order by news.account_id, news.display_id
    on conflict do nothing;
    -- Once erased it stays so, whoever Chatwoot says it belongs to now.
    perform chatwoot.strip_conversations(told.account_id, told.display_ids)
    from (
      select news.account_id, array_agg(news.display_id) as display_ids from news
      join chatwoot.erased_conversations as erased on erased.account_id = news.account_id and erased.display_id = news.display_id
      group by news.account_id
    ) as told;
  end if;
  return null;
end
$$;
comment on function chatwoot.tg_keep_conversations_erased is 'Trigger: what is told of an erased customer''s conversation is kept without words, and a new one of theirs is remembered as such.';

create function chatwoot.tg_keep_messages_erased() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_contacts) then
    perform chatwoot.strip_messages(told.account_id, told.message_ids)
    from (
      select news.account_id, array_agg(news.message_id) as message_ids from news
      where exists (select from chatwoot.erased_conversations as erased
          where erased.account_id = news.account_id and erased.display_id = news.conversation_display_id)
        or (news.sender_kind = 'contact' and exists (select from chatwoot.erased_contacts as erased
          where erased.account_id = news.account_id and erased.contact_id = news.sender_id))
      group by news.account_id
    ) as told;
  end if;
  return null;
end
$$;
comment on function chatwoot.tg_keep_messages_erased is 'Trigger: messages of an erased customer, or in their conversations, are kept without words.';

create function chatwoot.tg_keep_answers_erased() returns trigger
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_contacts) then
    perform chatwoot.strip_answers(told.account_id, told.message_ids)
    from (
      select news.account_id, array_agg(news.message_id) as message_ids from news
      join chatwoot.erased_conversations as erased
        on erased.account_id = news.account_id and erased.display_id = news.conversation_display_id
      group by news.account_id
    ) as told;
  end if;
  return null;
end
$$;
comment on function chatwoot.tg_keep_answers_erased is 'Trigger: survey answers of erased customers are kept without words.';

create trigger keep_inserted_erased after insert on chatwoot.contacts
referencing new table as news for each statement execute function chatwoot.tg_keep_contacts_erased();
create trigger keep_updated_erased after update on chatwoot.contacts
referencing new table as news for each statement execute function chatwoot.tg_keep_contacts_erased();
create trigger keep_inserted_erased after insert on chatwoot.conversations
referencing new table as news for each statement execute function chatwoot.tg_keep_conversations_erased();
create trigger keep_updated_erased after update on chatwoot.conversations
referencing new table as news for each statement execute function chatwoot.tg_keep_conversations_erased();
create trigger keep_inserted_erased after insert on chatwoot.messages
referencing new table as news for each statement execute function chatwoot.tg_keep_messages_erased();
create trigger keep_updated_erased after update on chatwoot.messages
referencing new table as news for each statement execute function chatwoot.tg_keep_messages_erased();
create trigger keep_inserted_erased after insert on chatwoot.csat_responses
referencing new table as news for each statement execute function chatwoot.tg_keep_answers_erased();
create trigger keep_updated_erased after update on chatwoot.csat_responses
referencing new table as news for each statement execute function chatwoot.tg_keep_answers_erased();

create function inbox.refers(payload jsonb, out display_id text, out contact_ids text[])
-- As text: a payload is anybody's, and a wrong type is no reason to fail here.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_event text := payload ->> 'event';
  v_conversation jsonb := case
    when v_event like 'message%' or v_event like 'conversation_typing%' then payload -> 'conversation'
    when v_event = 'webwidget_triggered' then payload -> 'current_conversation'
    when payload ? 'meta' then payload
    else payload -> 'conversation' end;
begin
  display_id := v_conversation ->> 'id';
  contact_ids := array_remove(array[
    case when v_event like 'contact%' then payload ->> 'id' end,
    payload #>> '{contact,id}', payload #>> '{contact_inbox,contact_id}', v_conversation #>> '{contact_inbox,contact_id}',
    v_conversation #>> '{meta,sender,id}',
    -- A sender without an account is a customer; agents say that they are users.
    case when coalesce(payload #>> '{sender,type}', 'contact') = 'contact' then payload #>> '{sender,id}' end,
    case when coalesce(payload #>> '{user,type}', 'contact') = 'contact' then payload #>> '{user,id}' end], null);
end
$$;
comment on function inbox.refers is 'Which conversation and customers a payload is about, as it says.';

create function inbox.tg_keep_delivery_erased() returns trigger
-- What it said is in the mirror by now, without words; the bytes are not kept at all.
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_named record;
begin
  if new.body is null or not exists (select from chatwoot.erased_contacts as erased where erased.account_id = new.account_id) then
    return new;
  end if;
  v_named := inbox.refers((inbox.read(new.body)).payload);
  if exists (select from chatwoot.erased_conversations as erased
      where erased.account_id = new.account_id and erased.display_id::text = v_named.display_id)
    or exists (select from chatwoot.erased_contacts as erased
      where erased.account_id = new.account_id and erased.contact_id::text = any (v_named.contact_ids))
  then
    new.body := null;
    new.headers := null;
    new.purged_at := new.received_at;
    new.reason := regexp_replace(new.reason, '^(\w{5}): .*$', '\1: …');
  end if;
  return new;
end
$$;
comment on function inbox.tg_keep_delivery_erased is 'Trigger: of a delivery about an erased customer the bytes are not kept.';
create trigger keep_erased before insert on inbox.deliveries
for each row execute function inbox.tg_keep_delivery_erased();

create function sla.tg_keep_facts() returns trigger
-- With the attributes gone, every policy that asks for one would seem to have changed its answer.
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_conversations as erased
    where erased.account_id = new.account_id and erased.display_id = new.display_id)
  then
    return null;
  end if;
  return new;
end
$$;
comment on function sla.tg_keep_facts is 'Trigger: of an erased customer nothing more is noted, so that what a policy knew before still holds.';
create trigger keep_erased before insert on sla.facts for each row execute function sla.tg_keep_facts();

create function replies.tg_keep_outcome() returns trigger
-- The words to compare are gone, so what was measured before stands.
language plpgsql volatile security definer set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_conversations as erased
    where erased.account_id = new.account_id and erased.display_id = new.display_id)
  then
    new.edit_distance := old.edit_distance;
    new.edit_ratio := old.edit_ratio;
    new.edit_method := old.edit_method;
    new.draft_length := old.draft_length;
    new.sent_length := old.sent_length;
    new.measured_of := old.measured_of;
    new.outcome := old.outcome;
    new.outcome_at := old.outcome_at;
    new.is_final := old.is_final;
  end if;
  return new;
end
$$;
comment on function replies.tg_keep_outcome is 'Trigger: what became of a draft for an erased customer is not measured again.';
create trigger keep_erased before update on replies.drafts for each row execute function replies.tg_keep_outcome();

create function ops.write_receipt(account_id bigint, kind text, subject_id bigint, deleted jsonb, as_of timestamptz) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_actor text := access.actor();
  v_hash bytea := sha256(convert_to(jsonb_build_array(write_receipt.account_id, write_receipt.kind, write_receipt.subject_id,
    to_char(write_receipt.as_of at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), v_actor, write_receipt.deleted)::text, 'UTF8'));
  v_erasure_id bigint;
begin
  insert into ops.erasures (account_id, kind, subject_id, erased_at, erased_by, deleted, hash)
  values (write_receipt.account_id, write_receipt.kind, write_receipt.subject_id, write_receipt.as_of, v_actor,
    write_receipt.deleted, v_hash)
  returning erasure_id into v_erasure_id;
  perform audit.log(write_receipt.account_id, write_receipt.kind || '.erased', write_receipt.kind || ':' || write_receipt.subject_id,
    jsonb_build_object('erasure_id', v_erasure_id, 'deleted', write_receipt.deleted, 'receipt_sha256', encode(v_hash, 'hex')),
    'done', as_of => write_receipt.as_of);
  return jsonb_build_object('erasure_id', v_erasure_id, 'account_id', write_receipt.account_id, 'kind', write_receipt.kind,
    'subject_id', write_receipt.subject_id, 'erased_at', write_receipt.as_of, 'erased_by', v_actor,
    'deleted', write_receipt.deleted, 'sha256', encode(v_hash, 'hex'), 'is_dry_run', false);
end
$$;
comment on function ops.write_receipt is 'Keeps a receipt, logs it without personal data, and returns it.';

create function ops.erase_words(account_id bigint, contact_id bigint, as_of timestamptz) returns jsonb
-- The order matters: first nothing may measure or notice any more, then the words go. Whoever calls undoes it for a trial.
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_counts jsonb := '{}'::jsonb;
  v_count bigint;
  v_displays bigint[];
  v_marks text[];
  v_review jsonb;
begin
  v_displays := array(
    select mirrored.display_id from chatwoot.conversations as mirrored
    where mirrored.account_id = erase_words.account_id and mirrored.contact_id = erase_words.contact_id
    union
    select erased.display_id from chatwoot.erased_conversations as erased
    where erased.account_id = erase_words.account_id and erased.contact_id = erase_words.contact_id
    order by 1);
  -- What may stand in a text and can only be them. A name is anybody's.
  v_marks := array(
    select distinct told.mark from chatwoot.contacts as contacts
    cross join lateral unnest(array[contacts.email, contacts.phone_number, contacts.identifier]) as told (mark)
    where contacts.account_id = erase_words.account_id and contacts.contact_id = erase_words.contact_id
      and length(told.mark) >= 6);

  -- Of the facts that policies ask for only what a policy names stays, since that is the shop's own word.
  update sla.facts as existing set facts = kept.facts
  from (
    select facts.display_id, facts.known_from, jsonb_object_agg(entries.key, case
      when exists (select from sla.policies cross join lateral jsonb_array_elements(policies.conditions) as conditions (condition)
        where policies.account_id = erase_words.account_id and conditions.condition ->> 'attribute' = entries.key
          and conditions.condition -> 'values' @> to_jsonb(entries.value #>> '{}')) then entries.value
      when entries.value in ('null', '[]', '""') then entries.value
      else '"…"' end) as facts
    from sla.facts cross join lateral jsonb_each(facts.facts) as entries
    where facts.account_id = erase_words.account_id and facts.display_id = any (v_displays)
    group by facts.display_id, facts.known_from
  ) as kept
  where existing.account_id = erase_words.account_id and existing.display_id = kept.display_id
    and existing.known_from = kept.known_from and existing.facts is distinct from kept.facts;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('sla.facts', v_count);

  -- Nobody is to answer any more, and nothing that waits may leave.
  perform replies.close_draft(drafts.account_id, drafts.draft_id, 'superseded', 'deleted', erase_words.as_of)
  from replies.drafts
  where drafts.account_id = erase_words.account_id and drafts.display_id = any (v_displays) and drafts.state = 'open';
  perform actions.cancel(pending.account_id, pending.action_id, 'The customer was erased', erase_words.as_of)
  from actions.outbox as pending
  where pending.account_id = erase_words.account_id and pending.display_id = any (v_displays) and pending.state = 'pending';
  if exists (select from actions.outbox as pending where pending.account_id = erase_words.account_id
    and pending.display_id = any (v_displays) and pending.state in ('pending', 'sending'))
  then
    raise exception 'An action in a conversation of this customer is being sent just now' using errcode = 'OC409',
      hint = 'Try again in a minute.';
  end if;

  insert into chatwoot.erased_contacts (account_id, contact_id, erased_at)
  values (erase_words.account_id, erase_words.contact_id, erase_words.as_of) on conflict do nothing;
  insert into chatwoot.erased_conversations (account_id, display_id, contact_id, deleted_at)
  select mirrored.account_id, mirrored.display_id, erase_words.contact_id, mirrored.deleted_at from chatwoot.conversations as mirrored
  where mirrored.account_id = erase_words.account_id and mirrored.display_id = any (v_displays)
  on conflict do nothing;

  delete from replies.measures_due as due
  where due.account_id = erase_words.account_id and due.display_id = any (v_displays);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('replies.measures_due', v_count);
  update replies.drafts as existing set
    body = case when existing.body is not null then '…' end,
    final_text = case when existing.final_text is not null then '…' end,
    -- The words of a person or of Chatwoot; the other reasons are codes.
    reason = case when existing.state in ('rejected', 'failed') then '…' else existing.reason end,
    evidence = jsonb_strip_nulls(jsonb_build_object('held_out', existing.evidence -> 'held_out', 'floor', existing.evidence -> 'floor',
      'question_characters', existing.evidence -> 'question_characters'))
  where existing.account_id = erase_words.account_id and existing.display_id = any (v_displays)
    and (coalesce(existing.body, '…') <> '…' or coalesce(existing.final_text, '…') <> '…'
      or (existing.state in ('rejected', 'failed') and existing.reason <> '…')
      or existing.evidence - '{held_out,floor,question_characters}'::text[] <> '{}');
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('replies.drafts', v_count);
  update actions.outbox as existing set arguments = '{}', request = null, problem = null, hint = null
  where existing.account_id = erase_words.account_id and existing.display_id = any (v_displays)
    and (existing.arguments <> '{}' or existing.request is not null or existing.problem is not null or existing.hint is not null);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('actions.outbox', v_count);

  v_counts := v_counts || jsonb_build_object(
    'chatwoot.messages', chatwoot.strip_messages(erase_words.account_id, array(
      select messages.message_id from chatwoot.messages
      where messages.account_id = erase_words.account_id and (messages.conversation_display_id = any (v_displays)
        or (messages.sender_kind = 'contact' and messages.sender_id = erase_words.contact_id)))),
    'chatwoot.csat_responses', chatwoot.strip_answers(erase_words.account_id, array(
      select answers.message_id from chatwoot.csat_responses as answers
      where answers.account_id = erase_words.account_id and answers.conversation_display_id = any (v_displays))),
    'chatwoot.conversations', chatwoot.strip_conversations(erase_words.account_id, v_displays),
    'chatwoot.contacts', chatwoot.strip_contacts(erase_words.account_id, array[erase_words.contact_id]));

  update inbox.deliveries as existing set body = null, headers = null, purged_at = erase_words.as_of,
    reason = regexp_replace(existing.reason, '^(\w{5}): .*$', '\1: …')
  from (
    select kept.delivery_id, named.display_id, named.contact_ids,
      exists (select from unnest(v_marks) as marks (mark) where position(convert_to(marks.mark, 'UTF8') in kept.body) > 0) as is_marked
    from inbox.deliveries as kept
    cross join lateral inbox.read(kept.body) as told
    cross join lateral inbox.refers(told.payload) as named
    where kept.account_id = erase_words.account_id and kept.purged_at is null
  ) as told
  where existing.account_id = erase_words.account_id and existing.delivery_id = told.delivery_id
    and (told.display_id = any (v_displays::text[]) or erase_words.contact_id::text = any (told.contact_ids) or told.is_marked);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('inbox.deliveries', v_count);

  -- A gold reply is the shop's own text and stays where a person approved it; where it came from, and what was asked, do not.
  delete from replies.gold_replies as existing
  where existing.account_id = erase_words.account_id and existing.source_display_id = any (v_displays) and existing.status = 'proposed';
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('replies.gold_replies.proposed', v_count);
  update replies.gold_reply_versions as existing set questions = '{}'
  from replies.gold_replies as library
  where library.account_id = erase_words.account_id and library.source_display_id = any (v_displays)
    and existing.account_id = library.account_id and existing.gold_reply_id = library.gold_reply_id and existing.questions <> '{}';
  update replies.gold_replies as existing set source_display_id = null, source_message_id = null, source_author = null, questions = '{}'
  where existing.account_id = erase_words.account_id and existing.source_display_id = any (v_displays);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('replies.gold_replies', v_count);

  update ops.notifications as existing set body = kept.body
  from (
    select notifications.notification_id, coalesce(jsonb_object_agg(entries.key, entries.value)
      filter (where entries.key not in ('problem', 'hint', 'what_to_do', 'reason', 'message')), '{}') as body
    from ops.notifications cross join lateral jsonb_each(notifications.body) as entries
    where notifications.account_id = erase_words.account_id
      and notifications.body ->> 'display_id' = any (v_displays::text[])
    group by notifications.notification_id
  ) as kept
  where existing.account_id = erase_words.account_id and existing.notification_id = kept.notification_id
    and existing.body is distinct from kept.body;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('ops.notifications', v_count);
  update ops.alerts as existing set message = 'What this alert said was erased with the customer.', hint = null
  where existing.account_id = erase_words.account_id
    and existing.subject in (select 'conversation ' || displays.display_id from unnest(v_displays) as displays (display_id))
    and existing.message <> 'What this alert said was erased with the customer.';
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('ops.alerts', v_count);
  -- An error may quote what it stumbled over.
  update ledger.queue as existing set problem = null
  where existing.account_id = erase_words.account_id and existing.display_id = any (v_displays) and existing.problem is not null;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('ledger.queue', v_count);
  update sync.conversation_reads as existing set problem = null
  where existing.account_id = erase_words.account_id and existing.display_id = any (v_displays) and existing.problem is not null;
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('sync.conversation_reads', v_count);

  v_review := (select jsonb_agg(library.gold_reply_id order by library.gold_reply_id) from replies.gold_replies as library
    where library.account_id = erase_words.account_id and exists (select from unnest(v_marks) as marks (mark)
      where position(lower(marks.mark) in lower(concat_ws(' ', library.title, library.body, library.channels::text,
        array_to_string(library.questions, ' ')))) > 0));
  return jsonb_build_object('conversations', cardinality(v_displays),
    'deleted', coalesce((select jsonb_object_agg(counts.key, counts.value) from jsonb_each(v_counts) as counts where counts.value <> '0'), '{}'),
    'gold_replies_to_review', coalesce(v_review, '[]'));
end
$$;
comment on function ops.erase_words is
  'Deletes what is personal of a customer in every room and remembers them as erased; returns rows by table, and gold replies that name them.';

create function ops.erase_contact(account_id bigint, contact_id bigint, dry_run boolean default true, as_of timestamptz default now())
returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_found jsonb;
  v_receipt jsonb;
begin
  perform access.require_role(erase_contact.account_id, 'admin');
  if not exists (select from chatwoot.contacts where contacts.account_id = erase_contact.account_id
      and contacts.contact_id = erase_contact.contact_id)
    and not exists (select from chatwoot.conversations as mirrored where mirrored.account_id = erase_contact.account_id
      and mirrored.contact_id = erase_contact.contact_id)
  then
    raise exception 'Account % has no contact %', erase_contact.account_id, coalesce(erase_contact.contact_id::text, 'null')
      using errcode = 'OC404', hint = 'The number stands in the address of the contact''s page in Chatwoot.';
  end if;
  begin
    v_found := ops.erase_words(erase_contact.account_id, erase_contact.contact_id, erase_contact.as_of);
    if erase_contact.dry_run is not false then
      -- Variables outlive it, writes do not.
      raise exception 'only tried' using errcode = 'TRIAL';
    end if;
  exception when sqlstate 'TRIAL' then
    null;
  end;
  if erase_contact.dry_run is not false or v_found -> 'deleted' = '{}' then
    return jsonb_build_object('account_id', erase_contact.account_id, 'kind', 'contact', 'subject_id', erase_contact.contact_id,
      'is_dry_run', erase_contact.dry_run is not false) || v_found;
  end if;
  v_receipt := ops.write_receipt(erase_contact.account_id, 'contact', erase_contact.contact_id, v_found -> 'deleted', erase_contact.as_of);
  return v_receipt || v_found;
end
$$;
comment on function ops.erase_contact is
  'Erases a customer: words, names and addresses go, ids and instants stay, so that no number moves. Unless dry_run is false it only tells what would go. Safe to repeat; a receipt is written where anything went. Admins only. Errors: OC403, OC404, OC409.';

create function ops.erase_account(account_id bigint, confirmation text, as_of timestamptz default now()) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_counts jsonb := '{}'::jsonb;
  v_table record;
  v_count bigint;
begin
  perform sync.require_backend(erase_account.account_id);
  if erase_account.account_id < 1 or erase_account.confirmation is distinct from 'erase account ' || erase_account.account_id then
    raise exception 'The confirmation does not fit the account' using errcode = 'OC422',
      hint = format('Say ''erase account %s''. There is no way back but a copy of the database.', erase_account.account_id);
  end if;
  delete from sync.sources where sources.account_id = erase_account.account_id;
  perform sync.disconnect_foreign(erase_account.account_id, erase_account.as_of);
  delete from vault.secrets
  where secrets.name in ('chatwoot_api_token_' || erase_account.account_id, 'chatwoot_database_url_' || erase_account.account_id)
    or secrets.name like any (array['notification\_url\_' || erase_account.account_id || '\_%',
      'notification\_secret\_' || erase_account.account_id || '\_%']);
  get diagnostics v_count = row_count;
  v_counts := v_counts || jsonb_build_object('vault.secrets', v_count);
  for v_table in
    select tables.oid::regclass as name from pg_catalog.pg_class as tables
    join pg_catalog.pg_attribute as columns on columns.attrelid = tables.oid and columns.attname = 'account_id' and not columns.attisdropped
    where tables.relkind in ('r', 'p') and not tables.relispartition
      and tables.relnamespace = any (array['access', 'actions', 'chatwoot', 'inbox', 'ledger', 'ops', 'replies', 'sla', 'sync']::regnamespace[])
      and tables.oid <> 'ops.erasures'::regclass
    -- What points at another table goes before it; what a deletion writes of words goes last.
    order by not exists (select from pg_catalog.pg_constraint as keys where keys.conrelid = tables.oid and keys.contype = 'f'),
      tables.oid = 'replies.term_frequencies'::regclass, tables.oid::regclass::text
  loop
    execute format('delete from %s as rows where rows.account_id = $1', v_table.name) using erase_account.account_id;
    get diagnostics v_count = row_count;
    v_counts := v_counts || jsonb_build_object(v_table.name::text, v_count);
  end loop;
  v_counts := coalesce((select jsonb_object_agg(counts.key, counts.value) from jsonb_each(v_counts) as counts where counts.value <> '0'), '{}');
  if v_counts = '{}' then
    return jsonb_build_object('account_id', erase_account.account_id, 'kind', 'account', 'deleted', v_counts);
  end if;
  return ops.write_receipt(erase_account.account_id, 'account', erase_account.account_id, v_counts, erase_account.as_of);
end
$$;
comment on function ops.erase_account is
  'Removes an account from every room, and its secrets from Vault; the decision log and the receipts stay. confirmation is ''erase account <id>''. The project''s backend only. Errors: OC403, OC422.';

create function api.erase_contact(account_id bigint, contact_id bigint, dry_run boolean default true) returns jsonb
language sql volatile security invoker set search_path = ''
as $$ select ops.erase_contact(erase_contact.account_id, erase_contact.contact_id, erase_contact.dry_run) $$;
comment on function api.erase_contact is
  'Erases a customer: words, names and addresses go, ids and instants stay, so that no number moves; returns the receipt. Unless dry_run is false it only tells what would go. Safe to repeat. Admins only. Errors: OC403, OC404, OC409.';

create function api.erase_account(account_id bigint, confirmation text) returns jsonb
language sql volatile security invoker set search_path = ''
as $$ select ops.erase_account(erase_account.account_id, erase_account.confirmation) $$;
comment on function api.erase_account is
  'Removes an account from every room, and its secrets from Vault; the decision log and the receipts stay. confirmation is ''erase account <id>''. With the secret key only. Errors: OC403, OC422.';

create view api.erasures with (security_invoker = true) as
select receipts.account_id, receipts.erasure_id, receipts.kind, receipts.subject_id, receipts.erased_at, receipts.erased_by,
  receipts.deleted, encode(receipts.hash, 'hex') as sha256
from ops.erasures as receipts;
comment on view api.erasures is 'Receipts of what was erased.';
comment on column api.erasures.account_id is 'Chatwoot''s account id.';
comment on column api.erasures.erasure_id is 'Number of the receipt.';
comment on column api.erasures.kind is 'contact (a customer) or account (everything of an account).';
comment on column api.erasures.subject_id is 'Id of the contact or the account.';
comment on column api.erasures.erased_at is 'When (UTC).';
comment on column api.erasures.erased_by is 'By whom, as in the decision log.';
comment on column api.erasures.deleted is 'Rows that were deleted, or emptied of what was personal, by table.';
comment on column api.erasures.sha256 is 'Hash of the receipt, as in the decision log.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.oid::regprocedure::text ~ '^(chatwoot\.(without_words|strip_|tg_keep_)|inbox\.(refers|tg_keep_)|sla\.tg_keep_|replies\.tg_keep_|(ops|api)\.(erase_|write_receipt))'
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
alter table chatwoot.erased_contacts enable row level security;
alter table chatwoot.erased_conversations enable row level security;
alter table ops.erasures enable row level security;
create policy "Members read their accounts' rows" on chatwoot.erased_contacts
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Members read their accounts' rows" on chatwoot.erased_conversations
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Members read their accounts' receipts" on ops.erasures
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
grant select on chatwoot.erased_contacts, chatwoot.erased_conversations to authenticated, service_role;
grant select on ops.erasures, api.erasures to authenticated, service_role;
grant execute on function ops.erase_contact, api.erase_contact to authenticated, service_role;
grant execute on function ops.erase_account, api.erase_account to service_role;
