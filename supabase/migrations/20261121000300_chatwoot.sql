-- The mirror: what Chatwoot knows, as of the newest news we have. Every door (webhook, REST, Chatwoot's own tables)
-- turns what it reads into one canonical record, a JSON object whose keys are column names here, and hands it to the
-- merge_* function of its kind with its version: an instant at or before which the record was true.
--
-- Each field is a register that keeps its newest value: the greatest (version, value) wins. That rule is commutative,
-- associative and idempotent, so the mirror ends the same through whichever door, in whatever order and however often a
-- fact arrives, and a record that lacks a field says nothing about it. Records are nearly always complete, so a row
-- keeps one version for all its fields; only where they differ does field_versions hold them one by one.
create schema chatwoot;
comment on schema chatwoot is 'The mirror of Chatwoot: accounts, inboxes, agents, teams, contacts, conversations, messages, labels, CSAT.';
revoke all on schema chatwoot from public;

create table chatwoot.accounts (
  account_id bigint not null,
  name text,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint accounts_pkey primary key (account_id),
  constraint accounts_account_id_positive check (account_id > 0)
);
comment on table chatwoot.accounts is 'Chatwoot accounts.';
comment on column chatwoot.accounts.name is 'Name of the account; null until a payload says it.';

create table chatwoot.inboxes (
  account_id bigint not null,
  inbox_id bigint not null,
  name text,
  channel text,
  time_zone text,
  working_hours_enabled boolean,
  working_hours jsonb,
  greeting_enabled boolean,
  csat_survey_enabled boolean,
  auto_assignment_enabled boolean,
  allow_messages_after_resolved boolean,
  lock_to_single_conversation boolean,
  reauthorization_required boolean,
  created_at timestamptz,
  deleted_at timestamptz,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint inboxes_pkey primary key (account_id, inbox_id),
  constraint inboxes_inbox_id_positive check (inbox_id > 0)
);
comment on table chatwoot.inboxes is 'Inboxes: the places customers write to. No credential of a channel is ever kept here.';
comment on column chatwoot.inboxes.inbox_id is 'Chatwoot''s inbox id.';
comment on column chatwoot.inboxes.name is 'Name of the inbox; null until a message says it.';
comment on column chatwoot.inboxes.channel is 'Class name of the channel, such as Channel::WebWidget.';
comment on column chatwoot.inboxes.time_zone is 'IANA zone of the working hours.';
comment on column chatwoot.inboxes.working_hours_enabled is 'Whether the working hours are in force.';
comment on column chatwoot.inboxes.working_hours is 'One object a weekday (0 Sunday): open_hour, open_minutes, close_hour, close_minutes, closed_all_day, open_all_day.';
comment on column chatwoot.inboxes.greeting_enabled is 'Whether a first message is greeted.';
comment on column chatwoot.inboxes.csat_survey_enabled is 'Whether a survey is sent after resolving.';
comment on column chatwoot.inboxes.auto_assignment_enabled is 'Whether conversations are assigned by themselves.';
comment on column chatwoot.inboxes.allow_messages_after_resolved is 'Whether a customer may write on after resolving.';
comment on column chatwoot.inboxes.lock_to_single_conversation is 'Whether a contact has one conversation here for ever.';
comment on column chatwoot.inboxes.reauthorization_required is 'Whether the channel has lost its authorisation.';
comment on column chatwoot.inboxes.created_at is 'When the inbox was made (UTC).';

create table chatwoot.agents (
  account_id bigint not null,
  kind text not null,
  agent_id bigint not null,
  name text,
  available_name text,
  email text,
  avatar_url text,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint agents_pkey primary key (account_id, kind, agent_id),
  -- Open to kinds that a later Chatwoot may bring; contacts have a table of their own.
  constraint agents_kind_bounded check (length(kind) between 1 and 50 and kind <> 'contact'),
  constraint agents_agent_id_positive check (agent_id > 0)
);
comment on table chatwoot.agents is 'Those who answer: people, bots and assistants. Their ids overlap, so the kind is part of the key.';
comment on column chatwoot.agents.kind is 'user, agent_bot, captain_assistant, or what a later Chatwoot adds.';
comment on column chatwoot.agents.agent_id is 'Chatwoot''s id within the kind.';
comment on column chatwoot.agents.name is 'Full name.';
comment on column chatwoot.agents.available_name is 'Display name shown to customers.';
comment on column chatwoot.agents.email is 'E-mail address; bots have none.';
comment on column chatwoot.agents.avatar_url is 'Picture; empty when there is none.';

create table chatwoot.teams (
  account_id bigint not null,
  team_id bigint not null,
  name text,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint teams_pkey primary key (account_id, team_id),
  constraint teams_team_id_positive check (team_id > 0)
);
comment on table chatwoot.teams is 'Teams that conversations are assigned to.';
comment on column chatwoot.teams.team_id is 'Chatwoot''s team id.';
comment on column chatwoot.teams.name is 'Name, lower case as Chatwoot stores it.';

create table chatwoot.labels (
  account_id bigint not null,
  title text not null,
  constraint labels_pkey primary key (account_id, title),
  -- Chatwoot's own limit; and an index entry has one too.
  constraint labels_title_bounded check (length(title) between 1 and 255)
);
comment on table chatwoot.labels is 'Every label that has been seen on a conversation.';
comment on column chatwoot.labels.title is 'Title of the label, lower case as Chatwoot stores it.';

create table chatwoot.contacts (
  account_id bigint not null,
  contact_id bigint not null,
  name text,
  email text,
  phone_number text,
  identifier text,
  avatar_url text,
  blocked boolean,
  additional_attributes jsonb,
  custom_attributes jsonb,
  deleted_at timestamptz,
  version_at timestamptz not null,
  digest bigint,
  field_versions jsonb,
  constraint contacts_pkey primary key (account_id, contact_id),
  constraint contacts_contact_id_positive check (contact_id > 0)
);
comment on table chatwoot.contacts is 'Customers.';
comment on column chatwoot.contacts.contact_id is 'Chatwoot''s contact id.';
comment on column chatwoot.contacts.name is 'Name as the customer or an agent gave it.';
comment on column chatwoot.contacts.email is 'E-mail address.';
comment on column chatwoot.contacts.phone_number is 'Phone number, E.164.';
comment on column chatwoot.contacts.identifier is 'The shop''s own id of the customer.';
comment on column chatwoot.contacts.avatar_url is 'Picture; empty when there is none.';
comment on column chatwoot.contacts.blocked is 'Whether the contact is blocked.';
comment on column chatwoot.contacts.additional_attributes is 'What Chatwoot found out: city, country, company.';
comment on column chatwoot.contacts.custom_attributes is 'What the shop keeps about the customer.';

create table chatwoot.conversations (
  account_id bigint not null,
  display_id bigint not null,
  inbox_id bigint,
  contact_id bigint,
  channel text,
  status text,
  priority text,
  assignee_kind text,
  assignee_id bigint,
  team_id bigint,
  labels text[],
  can_reply boolean,
  contact_source_id text,
  additional_attributes jsonb,
  custom_attributes jsonb,
  unread_count integer,
  snoozed_until timestamptz,
  waiting_since timestamptz,
  first_reply_created_at timestamptz,
  agent_last_seen_at timestamptz,
  contact_last_seen_at timestamptz,
  last_activity_at timestamptz,
  created_at timestamptz,
  deleted_at timestamptz,
  version_at timestamptz not null,
  digest bigint,
  field_versions jsonb,
  constraint conversations_pkey primary key (account_id, display_id),
  constraint conversations_display_id_positive check (display_id > 0),
  constraint conversations_status_known check (status in ('open', 'resolved', 'pending', 'snoozed')),
  constraint conversations_priority_known check (priority in ('low', 'medium', 'high', 'urgent')),
  constraint conversations_assignee_whole check ((assignee_kind is null) = (assignee_id is null))
);
comment on table chatwoot.conversations is 'Conversations, keyed by the number people see (per account).';
comment on column chatwoot.conversations.display_id is 'The conversation''s number in its account, as the dashboard shows it.';
comment on column chatwoot.conversations.inbox_id is 'Inbox it came in through.';
comment on column chatwoot.conversations.contact_id is 'The customer.';
comment on column chatwoot.conversations.channel is 'Class name of the channel.';
comment on column chatwoot.conversations.status is 'open, resolved, pending or snoozed.';
comment on column chatwoot.conversations.priority is 'low, medium, high, urgent; null for none.';
comment on column chatwoot.conversations.assignee_kind is 'user or agent_bot; null when unassigned.';
comment on column chatwoot.conversations.assignee_id is 'Id of the assignee within its kind; null when unassigned.';
comment on column chatwoot.conversations.team_id is 'Team; null for none.';
comment on column chatwoot.conversations.labels is 'Titles of its labels.';
comment on column chatwoot.conversations.can_reply is 'Whether the channel''s reply window is open.';
comment on column chatwoot.conversations.contact_source_id is 'The customer''s id in the channel.';
comment on column chatwoot.conversations.additional_attributes is 'Browser, referer, mail subject and the like.';
comment on column chatwoot.conversations.custom_attributes is 'What the shop keeps about the conversation.';
comment on column chatwoot.conversations.unread_count is 'Customer messages the agents have not seen; Chatwoot stops counting at 10.';
comment on column chatwoot.conversations.snoozed_until is 'When a snooze ends (UTC); null when not snoozed or without end.';
comment on column chatwoot.conversations.waiting_since is 'Since when the customer waits for a reply (UTC); null when nobody waits.';
comment on column chatwoot.conversations.first_reply_created_at is 'When a person first replied (UTC); null until then.';
comment on column chatwoot.conversations.agent_last_seen_at is 'When an agent last looked (UTC); null for never.';
comment on column chatwoot.conversations.contact_last_seen_at is 'When the customer last looked (UTC); null for never.';
comment on column chatwoot.conversations.last_activity_at is 'When something last happened (UTC).';
comment on column chatwoot.conversations.created_at is 'When it began (UTC).';
-- The instant first: an index that begins with account_id looks as good as the primary key to a planner without
-- statistics, and a new project has none. Then every look at one conversation would read all of them.
create index conversations_created_at_idx on chatwoot.conversations (created_at, account_id);

-- The waiting list, longest first: few rows, however long the history.
create index conversations_waiting_idx on chatwoot.conversations (account_id, waiting_since)
  where waiting_since is not null;

create table chatwoot.messages (
  account_id bigint not null,
  message_id bigint not null,
  conversation_display_id bigint not null,
  inbox_id bigint,
  message_type text,
  content_type text,
  content text,
  private boolean,
  sender_kind text,
  sender_id bigint,
  source_id text,
  attachments jsonb,
  content_attributes jsonb,
  additional_attributes jsonb,
  created_at timestamptz,
  delivery_status text,
  updated_at timestamptz,
  deleted_at timestamptz,
  version_at timestamptz not null,
  digest bigint,
  field_versions jsonb,
  constraint messages_pkey primary key (account_id, message_id),
  constraint messages_conversation_fkey foreign key (conversation_display_id, account_id)
    references chatwoot.conversations (display_id, account_id),
  constraint messages_message_id_positive check (message_id > 0),
  constraint messages_message_type_known check (message_type in ('incoming', 'outgoing', 'activity', 'template')),
  constraint messages_sender_whole check ((sender_kind is null) = (sender_id is null)),
  constraint messages_sender_kind_bounded check (length(sender_kind) between 1 and 50)
);
comment on table chatwoot.messages is 'Messages and private notes.';
comment on column chatwoot.messages.message_id is 'Chatwoot''s message id.';
comment on column chatwoot.messages.conversation_display_id is 'The conversation it belongs to.';
comment on column chatwoot.messages.inbox_id is 'The inbox it went through.';
comment on column chatwoot.messages.message_type is 'incoming, outgoing, activity or template.';
comment on column chatwoot.messages.content_type is 'text, input_csat, cards and so on.';
comment on column chatwoot.messages.content is 'What was written; null for attachments alone.';
comment on column chatwoot.messages.private is 'True for a note that only agents see.';
comment on column chatwoot.messages.sender_kind is 'contact, user, agent_bot, captain_assistant or what a later Chatwoot adds; null when Chatwoot itself wrote.';
comment on column chatwoot.messages.sender_id is 'Id of the sender within its kind.';
comment on column chatwoot.messages.source_id is 'The message''s id in the channel.';
comment on column chatwoot.messages.attachments is 'Array of attachments as Chatwoot describes them; empty for none.';
comment on column chatwoot.messages.content_attributes is 'Reply reference, parsed e-mail, form values and so on.';
comment on column chatwoot.messages.additional_attributes is 'Campaign and template details.';
comment on column chatwoot.messages.created_at is 'When it was written (UTC).';
comment on column chatwoot.messages.delivery_status is 'sent, delivered, read or failed; null until a payload says it.';
comment on column chatwoot.messages.updated_at is 'Chatwoot''s own time of the last change (UTC), the version of delivery_status; null until a payload says it.';
-- Neither begins with account_id, as with conversations.
create index messages_conversation_idx on chatwoot.messages (conversation_display_id, account_id, created_at);
create index messages_created_at_idx on chatwoot.messages (created_at, account_id);

create table chatwoot.csat_responses (
  account_id bigint not null,
  message_id bigint not null,
  conversation_display_id bigint not null,
  rating smallint,
  feedback_message text,
  first_answered_at timestamptz,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint csat_responses_pkey primary key (account_id, message_id),
  constraint csat_responses_message_fkey foreign key (account_id, message_id)
    references chatwoot.messages (account_id, message_id),
  constraint csat_responses_rating_known check (rating between 1 and 5)
);
comment on table chatwoot.csat_responses is 'Answers of customers to satisfaction surveys, one a survey message.';
comment on column chatwoot.csat_responses.message_id is 'The survey message that was answered.';
comment on column chatwoot.csat_responses.conversation_display_id is 'The conversation it belongs to.';
comment on column chatwoot.csat_responses.rating is '1 (worst) to 5 (best).';
comment on column chatwoot.csat_responses.feedback_message is 'What the customer wrote beside it; null for nothing.';
comment on column chatwoot.csat_responses.first_answered_at is 'Earliest instant at which the answer is known to have been there (UTC).';

do $$
declare
  v_table text;
begin
  for v_table in
    select tables.relname from pg_class as tables
    where tables.relnamespace = 'chatwoot'::regnamespace and tables.relkind = 'r'
  loop
    execute format('alter table chatwoot.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on chatwoot.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on chatwoot.%I for select to analyst using (true)', v_table);
    -- No usage on the schema goes with it: these roles reach the rows through the views of analytics alone.
    execute format('grant select on chatwoot.%I to authenticated, analyst, service_role', v_table);
    execute format('comment on column chatwoot.%I.account_id is %L', v_table, 'Chatwoot''s account id.');
  end loop;
  for v_table in
    select attributes.attrelid::regclass::text from pg_attribute as attributes
    join pg_class as tables on tables.oid = attributes.attrelid
    where tables.relnamespace = 'chatwoot'::regnamespace and tables.relkind = 'r' and attributes.attname = 'version_at'
  loop
    execute format('comment on column %s.version_at is %L', v_table,
      'What newer is measured by: an instant at or before which what stands here was true (UTC); a thousand years early where a payload shows none, a thousand years late once deleted.');
    execute format('comment on column %s.field_versions is %L', v_table,
      'Version of each field that has been told of, in microseconds since 1970; null when all are of version_at.');
  end loop;
  for v_table in select unnest(array['contacts', 'conversations', 'messages']) loop
    execute format('comment on column chatwoot.%I.digest is %L', v_table,
      'Hash of the record last taken whole, to know a repetition by; null after fields were taken one by one.');
  end loop;
  for v_table in select unnest(array['inboxes', 'contacts', 'conversations', 'messages']) loop
    execute format('comment on column chatwoot.%I.deleted_at is %L', v_table,
      'Earliest instant at which it is known to be deleted in Chatwoot (UTC); null while it is not.');
  end loop;
end
$$;

create function chatwoot.instant(value jsonb) returns timestamptz
-- Chatwoot writes instants in two ways, epoch seconds (0 for none) and ISO 8601, often both in one payload.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_text text := instant.value #>> '{}';
begin
  if v_text is null or v_text in ('', '0', '0.0') then
    return null;
  -- The two forms Chatwoot writes, told apart without a regular expression since this runs a dozen times an event.
  elsif jsonb_typeof(instant.value) = 'number' and length(v_text) <= 24 and instant.value::numeric between 0 and 1e12 then
    return to_timestamp(instant.value::double precision);
  elsif v_text like '2___-__-__T__:__:__.___Z' then
    return v_text::timestamptz;
  elsif v_text ~ '^\d{1,12}(\.\d{1,9})?$' then
    return to_timestamp(v_text::double precision);
  -- Checked by form, since Postgres would also take 'now' and 'tomorrow', which mean something else at every replay.
  elsif v_text ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?( ?UTC|Z|[+-]\d\d:?\d\d)$' then
    return v_text::timestamptz;
  end if;
  raise exception 'Not an instant: %', left(v_text, 60) using errcode = '22007';
end
$$;
comment on function chatwoot.instant is
  'Reads an instant from epoch seconds (number or text; 0 is null) or ISO 8601 with zone. Raises 22007 for anything else.';

create function chatwoot.merge_fields(target regclass, key jsonb, fields jsonb, version_at timestamptz) returns boolean
-- The rule itself, field by field, for any table of the mirror. The merge_* functions spare it where they can.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_version bigint := (extract(epoch from merge_fields.version_at) * 1000000)::bigint;
  v_key_match text := (select string_agg(format('rows.%1$I = sought.%1$I', names.name), ' and ')
    from jsonb_object_keys(merge_fields.key) as names (name));
  v_not_fields text[] := array['version_at', 'digest', 'field_versions', 'deleted_at', 'delivery_status', 'updated_at',
    'first_answered_at'] || array(select jsonb_object_keys(merge_fields.key));
  v_existing jsonb;
  v_given jsonb;
  v_versions jsonb;
  v_known_versions jsonb;
  v_taken text[];
begin
  -- Through the table's own types and back, so that equal values are written equally.
  execute format('select to_jsonb(given) from jsonb_populate_record(null::%s, $1) as given', merge_fields.target)
    into v_given using merge_fields.key || merge_fields.fields;
  execute format('insert into %1$s select given.* from jsonb_populate_record(null::%1$s, $1) as given
    on conflict do nothing', merge_fields.target)
    using v_given || jsonb_build_object('version_at', merge_fields.version_at, 'field_versions', coalesce(
      (select jsonb_object_agg(names.name, v_version) from jsonb_object_keys(merge_fields.fields) as names (name)), '{}'));
  if found then
    return true;
  end if;
  execute format('select to_jsonb(rows) from %1$s as rows, jsonb_populate_record(null::%1$s, $1) as sought
    where %2$s for update of rows', merge_fields.target, v_key_match)
    into strict v_existing using v_given;
  v_known_versions := coalesce(nullif(v_existing -> 'field_versions', 'null'), (
    select jsonb_object_agg(names.name,
      (extract(epoch from (v_existing ->> 'version_at')::timestamptz) * 1000000)::bigint)
    from jsonb_object_keys(v_existing) as names (name)
    where names.name <> all (v_not_fields)));
  select array_agg(names.name) into v_taken
  from jsonb_object_keys(merge_fields.fields) as names (name)
  where not v_known_versions ? names.name
    or v_version > (v_known_versions ->> names.name)::bigint
    or (v_version = (v_known_versions ->> names.name)::bigint
      and (v_given -> names.name)::text collate "C" > (v_existing -> names.name)::text collate "C");
  v_versions := v_known_versions || coalesce(
    (select jsonb_object_agg(names.name, v_version) from jsonb_object_keys(merge_fields.fields) as names (name)
      where not v_known_versions ? names.name or v_version > (v_known_versions ->> names.name)::bigint), '{}');
  if v_taken is null and v_versions = v_known_versions then
    return false;
  end if;
  v_existing := v_existing
    || coalesce((select jsonb_object_agg(names.name, v_given -> names.name) from unnest(v_taken) as names (name)), '{}')
    || jsonb_build_object(
      'version_at', greatest((v_existing ->> 'version_at')::timestamptz, merge_fields.version_at),
      -- One version for all, and none that is missing: the row is whole again.
      'field_versions', case when exists (select from jsonb_each(v_versions) as versions
          where versions.value <> to_jsonb((extract(epoch from greatest((v_existing ->> 'version_at')::timestamptz,
            merge_fields.version_at)) * 1000000)::bigint))
        or exists (select from jsonb_object_keys(v_existing) as names (name)
          where names.name <> all (v_not_fields) and not v_versions ? names.name)
        then v_versions end);
  if v_existing ? 'digest' then
    v_existing := v_existing || '{"digest": null}';
  end if;
  execute format('update %1$s as rows set (%3$s) = (select %4$s from jsonb_populate_record(null::%1$s, $1) as merged)
    from jsonb_populate_record(null::%1$s, $1) as sought where %2$s', merge_fields.target, v_key_match,
    (select string_agg(quote_ident(names.name), ', ' order by names.name) from jsonb_object_keys(v_existing) as names (name)),
    (select string_agg('merged.' || quote_ident(names.name), ', ' order by names.name)
      from jsonb_object_keys(v_existing) as names (name)))
    using v_existing;
  return v_taken is not null;
end
$$;
comment on function chatwoot.merge_fields is
  'Merges the given fields of one row into a table of the mirror, each by its own version; true when a value was taken.';

create function chatwoot.is_known(existing jsonb, record jsonb, version_at timestamptz) returns boolean
-- Names of accounts, inboxes, agents and teams come with every event. Writing each sighting would make every event of
-- an account queue for the same few rows, so an unchanged name is stamped anew once a minute of event time. A name
-- changed back and forth within that minute, and reordered, may stand wrong until the next event carries it again.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_minute_before bigint := (extract(epoch from is_known.version_at) * 1000000)::bigint - 60000000;
  v_versions jsonb := nullif(is_known.existing -> 'field_versions', 'null');
begin
  if v_versions is null and
    (extract(epoch from (is_known.existing ->> 'version_at')::timestamptz) * 1000000)::bigint < v_minute_before
  then
    return is_known.record = '{}';
  end if;
  return not exists (
    select from jsonb_each(is_known.record) as given (name, value)
    where is_known.existing -> given.name is distinct from given.value
      or (v_versions is not null and coalesce((v_versions ->> given.name)::bigint < v_minute_before, true)));
end
$$;
comment on function chatwoot.is_known is
  'Whether each field of the record stands in the existing row, told of at most a minute before this version.';

create function chatwoot.merge_account(account_id bigint, record jsonb, version_at timestamptz) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.accounts as rows where rows.account_id = merge_account.account_id
    and chatwoot.is_known(to_jsonb(rows), merge_account.record, merge_account.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.accounts', jsonb_build_object('account_id', merge_account.account_id),
    merge_account.record, merge_account.version_at);
end
$$;
comment on function chatwoot.merge_account is 'Merges a record {name} of an account; true when something changed.';

create function chatwoot.merge_inbox(account_id bigint, inbox_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.inboxes as rows
    where rows.account_id = merge_inbox.account_id and rows.inbox_id = merge_inbox.inbox_id
    and chatwoot.is_known(to_jsonb(rows), merge_inbox.record, merge_inbox.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.inboxes',
    jsonb_build_object('account_id', merge_inbox.account_id, 'inbox_id', merge_inbox.inbox_id),
    merge_inbox.record, merge_inbox.version_at);
end
$$;
comment on function chatwoot.merge_inbox is 'Merges a record of an inbox, keys as the columns; true when something changed.';

create function chatwoot.merge_agent(
  account_id bigint, kind text, agent_id bigint, record jsonb, version_at timestamptz
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.agents as rows
    where rows.account_id = merge_agent.account_id and rows.kind = merge_agent.kind
    and rows.agent_id = merge_agent.agent_id and chatwoot.is_known(to_jsonb(rows), merge_agent.record, merge_agent.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.agents',
    jsonb_build_object('account_id', merge_agent.account_id, 'kind', merge_agent.kind, 'agent_id', merge_agent.agent_id),
    merge_agent.record, merge_agent.version_at);
end
$$;
comment on function chatwoot.merge_agent is
  'Merges a record {name, available_name, email, avatar_url} of a person or bot; true when something changed.';

create function chatwoot.merge_team(account_id bigint, team_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.teams as rows
    where rows.account_id = merge_team.account_id and rows.team_id = merge_team.team_id
    and chatwoot.is_known(to_jsonb(rows), merge_team.record, merge_team.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.teams',
    jsonb_build_object('account_id', merge_team.account_id, 'team_id', merge_team.team_id),
    merge_team.record, merge_team.version_at);
end
$$;
comment on function chatwoot.merge_team is 'Merges a record {name} of a team; true when something changed.';

create function chatwoot.merge_labels(account_id bigint, titles jsonb) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into chatwoot.labels (account_id, title)
  select distinct merge_labels.account_id, given.title
  from jsonb_array_elements_text(nullif(merge_labels.titles, 'null')) as given (title)
  where length(given.title) between 1 and 255 and not exists (
    select from chatwoot.labels where labels.account_id = merge_labels.account_id and labels.title = given.title)
  order by 2
  on conflict do nothing;
end
$$;
comment on function chatwoot.merge_labels is 'Remembers label titles (an array of texts) that were not known yet.';

create function chatwoot.merge_contact(account_id bigint, contact_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_digest bigint := hashtextextended(merge_contact.record::text, 0);
  v_existing record;
begin
  select rows.version_at, rows.digest, rows.field_versions is null as is_whole into v_existing
  from chatwoot.contacts as rows
  where rows.account_id = merge_contact.account_id and rows.contact_id = merge_contact.contact_id;
  if v_existing.is_whole and (v_existing.version_at > merge_contact.version_at
    or (v_existing.version_at = merge_contact.version_at and v_existing.digest = v_digest))
  then
    return false;
  end if;
  if merge_contact.record ?& array['name', 'email', 'phone_number', 'identifier', 'avatar_url', 'blocked',
    'additional_attributes', 'custom_attributes']
  then
    insert into chatwoot.contacts as rows
    select given.* from jsonb_populate_record(null::chatwoot.contacts, merge_contact.record || jsonb_build_object(
      'account_id', merge_contact.account_id, 'contact_id', merge_contact.contact_id,
      'version_at', merge_contact.version_at, 'digest', v_digest)) as given
    on conflict on constraint contacts_pkey do update set
      name = excluded.name, email = excluded.email, phone_number = excluded.phone_number,
      identifier = excluded.identifier, avatar_url = excluded.avatar_url, blocked = excluded.blocked,
      additional_attributes = excluded.additional_attributes, custom_attributes = excluded.custom_attributes,
      version_at = excluded.version_at, digest = excluded.digest, field_versions = null
    where excluded.version_at > rows.version_at;
    if found then
      return true;
    end if;
  end if;
  return chatwoot.merge_fields('chatwoot.contacts',
    jsonb_build_object('account_id', merge_contact.account_id, 'contact_id', merge_contact.contact_id),
    merge_contact.record, merge_contact.version_at);
end
$$;
comment on function chatwoot.merge_contact is 'Merges a record of a contact, keys as the columns; true when something may have changed.';

create function chatwoot.merge_conversation(account_id bigint, display_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_digest bigint := hashtextextended(merge_conversation.record::text, 0);
  v_existing record;
begin
  select rows.version_at, rows.digest, rows.field_versions is null as is_whole into v_existing
  from chatwoot.conversations as rows
  where rows.account_id = merge_conversation.account_id and rows.display_id = merge_conversation.display_id;
  if v_existing.is_whole and (v_existing.version_at > merge_conversation.version_at
    or (v_existing.version_at = merge_conversation.version_at and v_existing.digest = v_digest))
  then
    return false;
  end if;
  if merge_conversation.record ?& array['inbox_id', 'contact_id', 'channel', 'status', 'priority', 'assignee_kind',
    'assignee_id', 'team_id', 'labels', 'can_reply', 'contact_source_id', 'additional_attributes', 'custom_attributes',
    'unread_count', 'snoozed_until', 'waiting_since', 'first_reply_created_at', 'agent_last_seen_at',
    'contact_last_seen_at', 'last_activity_at', 'created_at']
  then
    insert into chatwoot.conversations as rows
    select given.* from jsonb_populate_record(null::chatwoot.conversations, merge_conversation.record
      || jsonb_build_object('account_id', merge_conversation.account_id, 'display_id', merge_conversation.display_id,
        'version_at', merge_conversation.version_at, 'digest', v_digest))
      as given
    on conflict on constraint conversations_pkey do update set
      inbox_id = excluded.inbox_id, contact_id = excluded.contact_id, channel = excluded.channel,
      status = excluded.status, priority = excluded.priority, assignee_kind = excluded.assignee_kind,
      assignee_id = excluded.assignee_id, team_id = excluded.team_id, labels = excluded.labels,
      can_reply = excluded.can_reply, contact_source_id = excluded.contact_source_id,
      additional_attributes = excluded.additional_attributes, custom_attributes = excluded.custom_attributes,
      unread_count = excluded.unread_count, snoozed_until = excluded.snoozed_until,
      waiting_since = excluded.waiting_since, first_reply_created_at = excluded.first_reply_created_at,
      agent_last_seen_at = excluded.agent_last_seen_at, contact_last_seen_at = excluded.contact_last_seen_at,
      last_activity_at = excluded.last_activity_at, created_at = excluded.created_at,
      version_at = excluded.version_at, digest = excluded.digest, field_versions = null
    where excluded.version_at > rows.version_at;
    if found then
      return true;
    end if;
  end if;
  return chatwoot.merge_fields('chatwoot.conversations',
    jsonb_build_object('account_id', merge_conversation.account_id, 'display_id', merge_conversation.display_id),
    merge_conversation.record, merge_conversation.version_at);
end
$$;
comment on function chatwoot.merge_conversation is
  'Merges a record of a conversation, keys as the columns; true when something may have changed.';

create function chatwoot.merge_message(
  account_id bigint, message_id bigint, record jsonb, version_at timestamptz,
  delivery_status text default null, updated_at timestamptz default null, deleted_at timestamptz default null
) returns boolean
-- The status of delivery is a register of its own: only some payloads carry it, and those carry its exact version.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  -- Without created_at, which one shape of a message shows to the millisecond and the other to the second: the coarser
  -- one of a version that is here already says nothing new.
  v_digest bigint := hashtextextended((merge_message.record - 'created_at')::text, 0);
  v_created_at timestamptz := (merge_message.record ->> 'created_at')::timestamptz;
  v_existing record;
  v_is_changed boolean := false;
  v_is_new boolean;
begin
  select rows.version_at, rows.digest, rows.created_at, rows.updated_at, rows.delivery_status, rows.deleted_at,
    rows.field_versions is null as is_whole into v_existing
  from chatwoot.messages as rows
  where rows.account_id = merge_message.account_id and rows.message_id = merge_message.message_id;
  if v_existing.is_whole is not true or v_existing.version_at < merge_message.version_at
    or (v_existing.version_at = merge_message.version_at and (v_existing.digest is distinct from v_digest
      or (v_existing.created_at is distinct from v_created_at and (v_existing.created_at > v_created_at) is not true)))
  then
    if merge_message.record ?& array['conversation_display_id', 'inbox_id', 'message_type', 'content_type', 'content',
      'private', 'sender_kind', 'sender_id', 'source_id', 'attachments', 'content_attributes', 'additional_attributes',
      'created_at']
    then
      insert into chatwoot.messages as rows
      select given.* from jsonb_populate_record(null::chatwoot.messages, merge_message.record || jsonb_build_object(
        'account_id', merge_message.account_id, 'message_id', merge_message.message_id,
        'version_at', merge_message.version_at, 'digest', v_digest,
        'delivery_status', case when merge_message.updated_at is not null then merge_message.delivery_status end,
        'updated_at', merge_message.updated_at, 'deleted_at', merge_message.deleted_at)) as given
      on conflict on constraint messages_pkey do update set
        conversation_display_id = excluded.conversation_display_id, inbox_id = excluded.inbox_id,
        message_type = excluded.message_type, content_type = excluded.content_type, content = excluded.content,
        private = excluded.private, sender_kind = excluded.sender_kind, sender_id = excluded.sender_id,
        source_id = excluded.source_id, attachments = excluded.attachments,
        content_attributes = excluded.content_attributes, additional_attributes = excluded.additional_attributes,
        created_at = excluded.created_at, version_at = excluded.version_at, digest = excluded.digest,
        field_versions = null
      where excluded.version_at > rows.version_at
      returning rows.xmax = 0 into v_is_new;
      v_is_changed := found;
      if v_is_new then
        return true;
      end if;
    end if;
    if not v_is_changed then
      v_is_changed := chatwoot.merge_fields('chatwoot.messages',
        jsonb_build_object('account_id', merge_message.account_id, 'message_id', merge_message.message_id),
        merge_message.record, merge_message.version_at);
    end if;
  end if;
  -- Both registers only ever move one way, so what was read above and is not older needs no statement.
  if merge_message.updated_at > coalesce(v_existing.updated_at, '-infinity') or (
    merge_message.updated_at = v_existing.updated_at
    and coalesce(v_existing.delivery_status, '') collate "C" < merge_message.delivery_status collate "C")
  then
    update chatwoot.messages as rows
    set delivery_status = merge_message.delivery_status, updated_at = merge_message.updated_at
    where rows.account_id = merge_message.account_id and rows.message_id = merge_message.message_id
      and (rows.updated_at is null or rows.updated_at < merge_message.updated_at or (
        rows.updated_at = merge_message.updated_at
        and coalesce(rows.delivery_status, '') collate "C" < merge_message.delivery_status collate "C"));
    v_is_changed := v_is_changed or found;
  end if;
  if merge_message.deleted_at < coalesce(v_existing.deleted_at, 'infinity') then
    update chatwoot.messages as rows set deleted_at = merge_message.deleted_at
    where rows.account_id = merge_message.account_id and rows.message_id = merge_message.message_id
      and (rows.deleted_at is null or rows.deleted_at > merge_message.deleted_at);
    v_is_changed := v_is_changed or found;
  end if;
  return v_is_changed;
end
$$;
comment on function chatwoot.merge_message is
  'Merges a record of a message, keys as the columns; its delivery status by updated_at, its deletion by the earliest; true when something may have changed.';

create function chatwoot.merge_csat_response(account_id bigint, message_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_is_changed boolean := chatwoot.merge_fields('chatwoot.csat_responses',
    jsonb_build_object('account_id', merge_csat_response.account_id, 'message_id', merge_csat_response.message_id),
    merge_csat_response.record, merge_csat_response.version_at);
begin
  update chatwoot.csat_responses as rows set first_answered_at = merge_csat_response.version_at
  where rows.account_id = merge_csat_response.account_id and rows.message_id = merge_csat_response.message_id
    and (rows.first_answered_at is null or rows.first_answered_at > merge_csat_response.version_at);
  return v_is_changed or found;
end
$$;
comment on function chatwoot.merge_csat_response is
  'Merges a record {conversation_display_id, rating, feedback_message} of a survey answer; true when something changed.';

create function chatwoot.bury(target text, account_id bigint, id bigint, deleted_at timestamptz, conversation_display_id bigint default null)
returns boolean
-- A row is made where there is none, so that a late event cannot bring back what was deleted before it arrived.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  case bury.target
    when 'conversation' then
      insert into chatwoot.conversations as rows (account_id, display_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint conversations_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'contact' then
      insert into chatwoot.contacts as rows (account_id, contact_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint contacts_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'inbox' then
      insert into chatwoot.inboxes as rows (account_id, inbox_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint inboxes_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'message' then
      insert into chatwoot.messages as rows
        (account_id, message_id, conversation_display_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.conversation_display_id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint messages_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    else
      raise exception 'Nothing called % can be buried', coalesce(bury.target, 'null')
        using errcode = 'OC422', hint = 'One of conversation, contact, inbox, message.';
  end case;
  return found;
end
$$;
comment on function chatwoot.bury is
  'Marks a conversation, contact, inbox or message as deleted in Chatwoot, known or not yet; true when that is news. A message needs its conversation.';

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
