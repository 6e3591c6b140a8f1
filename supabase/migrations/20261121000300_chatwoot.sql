-- The mirror: what Chatwoot knows, as of the newest news we have. Every door (webhook, REST, Chatwoot's own tables)
-- turns what it reads into one canonical record, a JSON object whose keys are column names here, and hands it to the
-- merge_* function of its kind with its version: an instant at or before which the record was true.
--
-- Each field is a register that keeps its newest value: the greatest (version, value) wins. That rule is commutative,
-- associative and idempotent, so the mirror ends the same through whichever door, in whatever order and however often a
-- fact arrives, and a record that lacks a field says nothing about it. Records are nearly always complete, so a row
-- keeps one version for all its fields; only where they differ does field_versions hold them one by one.
--
-- What the doors show differently is written in one way here, whichever door it came through: labels sorted, texts as
-- webhooks show them, instants no finer than the coarsest door shows them. Those of creation and of the
-- first reply never change, so of two readings the finer one stands. What no two readings agree on, or what can be worked
-- out (unread messages, an open reply window), and addresses that open a file to whoever has them, are not kept.
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
  availability text,
  deleted_at timestamptz,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint agents_pkey primary key (account_id, kind, agent_id),
  -- Open to kinds that a later Chatwoot may bring; contacts have a table of their own.
  constraint agents_kind_bounded check (length(kind) between 1 and 50 and kind <> 'contact'),
  constraint agents_agent_id_positive check (agent_id > 0),
  constraint agents_availability_known check (availability in ('online', 'busy', 'offline'))
);
comment on table chatwoot.agents is 'Those who answer: people, bots and assistants. Their ids overlap, so the kind is part of the key.';
comment on column chatwoot.agents.kind is 'user, agent_bot, captain_assistant, or what a later Chatwoot adds.';
comment on column chatwoot.agents.agent_id is 'Chatwoot''s id within the kind.';
comment on column chatwoot.agents.name is 'Full name.';
comment on column chatwoot.agents.available_name is 'Display name shown to customers.';
comment on column chatwoot.agents.email is 'E-mail address; bots have none.';
comment on column chatwoot.agents.availability is
  'Of a person: online, busy or offline, as of the last reading of the list of agents (each ten minutes over REST, each tick of the database door). REST shows it as Chatwoot shows it to others; the tables only what was set, so that there it is null unless that is offline or stands whoever is signed in (auto_offline off). Webhooks do not tell it. Null when not known.';

create table chatwoot.teams (
  account_id bigint not null,
  team_id bigint not null,
  name text,
  deleted_at timestamptz,
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
  blocked boolean,
  additional_attributes jsonb,
  custom_attributes jsonb,
  deleted_at timestamptz,
  version_at timestamptz not null,
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
comment on column chatwoot.contacts.blocked is 'Whether the contact is blocked.';
comment on column chatwoot.contacts.additional_attributes is 'What Chatwoot found out: city, country, company.';
comment on column chatwoot.contacts.custom_attributes is 'What the shop keeps about the customer.';

create table chatwoot.conversations (
  account_id bigint not null,
  display_id bigint not null,
  database_id bigint,
  inbox_id bigint,
  contact_id bigint,
  channel text,
  status text,
  priority text,
  assignee_kind text,
  assignee_id bigint,
  team_id bigint,
  labels text[],
  contact_source_id text,
  additional_attributes jsonb,
  custom_attributes jsonb,
  snoozed_until timestamptz,
  waiting_since timestamptz,
  first_reply_created_at timestamptz,
  agent_last_seen_at timestamptz,
  contact_last_seen_at timestamptz,
  last_activity_at timestamptz,
  created_at timestamptz,
  deleted_at timestamptz,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint conversations_pkey primary key (account_id, display_id),
  constraint conversations_display_id_positive check (display_id > 0),
  constraint conversations_status_known check (status in ('open', 'resolved', 'pending', 'snoozed')),
  constraint conversations_priority_known check (priority in ('low', 'medium', 'high', 'urgent')),
  constraint conversations_assignee_whole check ((assignee_kind is null) = (assignee_id is null))
);
comment on table chatwoot.conversations is 'Conversations, keyed by the number people see (per account).';
comment on column chatwoot.conversations.display_id is 'The conversation''s number in its account, as the dashboard shows it.';
comment on column chatwoot.conversations.database_id is 'Chatwoot''s own id of the row; null until the database door tells it.';
comment on column chatwoot.conversations.inbox_id is 'Inbox it came in through.';
comment on column chatwoot.conversations.contact_id is 'The customer.';
comment on column chatwoot.conversations.channel is 'Class name of the channel.';
comment on column chatwoot.conversations.status is 'open, resolved, pending or snoozed.';
comment on column chatwoot.conversations.priority is 'low, medium, high, urgent; null for none.';
comment on column chatwoot.conversations.assignee_kind is 'user or agent_bot; null when unassigned.';
comment on column chatwoot.conversations.assignee_id is 'Id of the assignee within its kind; null when unassigned.';
comment on column chatwoot.conversations.team_id is 'Team; null for none.';
comment on column chatwoot.conversations.labels is 'Titles of its labels, sorted.';
comment on column chatwoot.conversations.contact_source_id is 'The customer''s id in the channel.';
comment on column chatwoot.conversations.additional_attributes is 'Browser, referer, mail subject and the like.';
comment on column chatwoot.conversations.custom_attributes is 'What the shop keeps about the conversation.';
comment on column chatwoot.conversations.snoozed_until is 'When a snooze ends (UTC, milliseconds); null when not snoozed or without end.';
comment on column chatwoot.conversations.waiting_since is 'Since when the customer waits for a reply (UTC, whole seconds); null when nobody waits.';
comment on column chatwoot.conversations.first_reply_created_at is 'When a person first replied (UTC, as finely as a door has shown it); null until then.';
comment on column chatwoot.conversations.agent_last_seen_at is 'When an agent last looked (UTC, whole seconds); null for never.';
comment on column chatwoot.conversations.contact_last_seen_at is 'When the customer last looked (UTC, whole seconds); null for never.';
comment on column chatwoot.conversations.last_activity_at is 'When something last happened (UTC, whole seconds).';
comment on column chatwoot.conversations.created_at is 'When it began (UTC, as finely as a door has shown it).';
-- The instant first: an index that begins with account_id looks as good as the primary key to a planner without
-- statistics, and a new project has none. Then every look at one conversation would read all of them.
create index conversations_created_at_idx on chatwoot.conversations (created_at, account_id);

-- From Chatwoot's own id, by which its tables refer to a conversation.
create index conversations_database_id_idx on chatwoot.conversations (database_id, account_id)
  where database_id is not null;
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
  delivery_status_at timestamptz,
  deleted_at timestamptz,
  version_at timestamptz not null,
  field_versions jsonb,
  constraint messages_pkey primary key (account_id, message_id),
  constraint messages_message_id_positive check (message_id > 0),
  constraint messages_message_type_known check (message_type in ('incoming', 'outgoing', 'activity', 'template')),
  constraint messages_sender_whole check ((sender_kind is null) = (sender_id is null)),
  constraint messages_sender_kind_bounded check (length(sender_kind) between 1 and 50)
);
-- No foreign key to the conversation: checked row by row it would cost a back-fill a third of its time, and Chatwoot has
-- none to keep either. Every door merges the conversation first.
comment on table chatwoot.messages is 'Messages and private notes.';
comment on column chatwoot.messages.message_id is 'Chatwoot''s message id.';
comment on column chatwoot.messages.conversation_display_id is 'The conversation it belongs to.';
comment on column chatwoot.messages.inbox_id is 'The inbox it went through.';
comment on column chatwoot.messages.message_type is 'incoming, outgoing, activity or template.';
comment on column chatwoot.messages.content_type is 'text, input_csat, cards and so on.';
comment on column chatwoot.messages.content is 'What was written, without backslashes before line breaks and without line breaks at the end; null for attachments alone.';
comment on column chatwoot.messages.private is 'True for a note that only agents see.';
comment on column chatwoot.messages.sender_kind is 'contact, user, agent_bot, captain_assistant or what a later Chatwoot adds; null when Chatwoot itself wrote.';
comment on column chatwoot.messages.sender_id is 'Id of the sender within its kind.';
comment on column chatwoot.messages.source_id is 'The message''s id in the channel.';
comment on column chatwoot.messages.attachments is 'Array of {id, file_type, extension} by id; empty for none. The files are fetched in Chatwoot.';
comment on column chatwoot.messages.content_attributes is 'Reply reference, parsed e-mail, form values and so on.';
comment on column chatwoot.messages.additional_attributes is 'Campaign and template details.';
comment on column chatwoot.messages.created_at is 'When it was written (UTC, as finely as a door has shown it).';
comment on column chatwoot.messages.delivery_status is 'sent, delivered, read or failed; null until a payload says it.';
comment on column chatwoot.messages.delivery_status_at is 'What newer is measured by, for delivery_status, which few payloads carry (UTC); null until one does.';
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
  constraint csat_responses_rating_known check (rating between 1 and 5)
);
comment on table chatwoot.csat_responses is 'Answers of customers to satisfaction surveys, one a survey message.';
comment on column chatwoot.csat_responses.message_id is 'The survey message that was answered.';
comment on column chatwoot.csat_responses.conversation_display_id is 'The conversation it belongs to.';
comment on column chatwoot.csat_responses.rating is '1 (worst) to 5 (best).';
comment on column chatwoot.csat_responses.feedback_message is 'What the customer wrote beside it; null for nothing.';
comment on column chatwoot.csat_responses.first_answered_at is 'Earliest instant at which the answer is known to have been there (UTC).';
create index csat_responses_conversation_idx on chatwoot.csat_responses (conversation_display_id, account_id);

create table chatwoot.reporting_events (
  account_id bigint not null,
  event_id bigint not null,
  name text,
  conversation_display_id bigint,
  inbox_id bigint,
  user_id bigint,
  value double precision,
  value_in_business_hours double precision,
  event_started_at timestamptz,
  event_ended_at timestamptz,
  created_at timestamptz not null,
  constraint reporting_events_pkey primary key (account_id, event_id)
);
comment on table chatwoot.reporting_events is 'What Chatwoot''s own reports are counted from, each row as Chatwoot wrote it once.';
comment on column chatwoot.reporting_events.event_id is 'Chatwoot''s id of the event.';
comment on column chatwoot.reporting_events.name is 'first_response, reply_time, conversation_resolved and so on.';
comment on column chatwoot.reporting_events.conversation_display_id is 'The conversation it belongs to; null when that is gone.';
comment on column chatwoot.reporting_events.inbox_id is 'The inbox at the time.';
comment on column chatwoot.reporting_events.user_id is 'The person it is credited to; null for none.';
comment on column chatwoot.reporting_events.value is 'Length in seconds as Chatwoot counts it.';
comment on column chatwoot.reporting_events.value_in_business_hours is 'Length in seconds of business hours; 0 also where none are set.';
comment on column chatwoot.reporting_events.event_started_at is 'Begin of the length (UTC).';
comment on column chatwoot.reporting_events.event_ended_at is 'End of the length (UTC).';
comment on column chatwoot.reporting_events.created_at is 'When Chatwoot wrote it (UTC).';
create index reporting_events_conversation_idx on chatwoot.reporting_events (conversation_display_id, account_id)
  where conversation_display_id is not null;

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
  for v_table in select unnest(array['inboxes', 'agents', 'teams', 'contacts', 'conversations', 'messages']) loop
    execute format('comment on column chatwoot.%I.deleted_at is %L', v_table,
      'Earliest instant at which it is known to be deleted in Chatwoot (UTC); null while it is not.');
  end loop;
end
$$;
