-- The tables of Chatwoot (v4.16) that a mirror reads, with its columns, types, defaults and indexes (facts §8): no foreign
-- keys, times without a zone, numbers for enums, ids of two widths. Names carry no schema, so the search_path decides
-- where they land; Chatwoot itself uses public.
--
-- Left out: the trigram indexes (they need an extension) and the tables that nobody here reads. The two tables of Rails'
-- storage hold what an attachment's address is made of. At the end stands one table that Chatwoot does not have.

create table accounts (
  id serial primary key,
  name varchar not null,
  created_at timestamp not null,
  updated_at timestamp not null,
  locale integer default 0,
  domain varchar(100),
  support_email varchar(100),
  feature_flags bigint default 0 not null,
  auto_resolve_duration integer,
  limits jsonb default '{}',
  custom_attributes jsonb default '{}',
  status integer default 0,
  internal_attributes jsonb default '{}' not null,
  settings jsonb default '{}',
  feature_flags_ext_1 bigint default 0 not null
);
create index index_accounts_on_status on accounts (status);

create table users (
  id serial primary key,
  provider varchar default 'email' not null,
  uid varchar default '' not null,
  encrypted_password varchar default '' not null,
  reset_password_token varchar,
  reset_password_sent_at timestamp,
  remember_created_at timestamp,
  sign_in_count integer default 0 not null,
  current_sign_in_at timestamp,
  last_sign_in_at timestamp,
  current_sign_in_ip varchar,
  last_sign_in_ip varchar,
  confirmation_token varchar,
  confirmed_at timestamp,
  confirmation_sent_at timestamp,
  unconfirmed_email varchar,
  name varchar not null,
  display_name varchar,
  email varchar,
  tokens json,
  created_at timestamp not null,
  updated_at timestamp not null,
  pubsub_token varchar,
  availability integer default 0,
  ui_settings jsonb default '{}',
  custom_attributes jsonb default '{}',
  type varchar,
  message_signature text,
  otp_secret varchar,
  consumed_timestep integer,
  otp_required_for_login boolean default false,
  otp_backup_codes text
);
create index index_users_on_email on users (email);
create index index_users_on_otp_required_for_login on users (otp_required_for_login);
create unique index index_users_on_otp_secret on users (otp_secret);
create unique index index_users_on_pubsub_token on users (pubsub_token);
create unique index index_users_on_reset_password_token on users (reset_password_token);
create unique index index_users_on_uid_and_provider on users (uid, provider);

create table account_users (
  id bigserial primary key,
  account_id bigint,
  user_id bigint,
  role integer default 0,
  inviter_id bigint,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  active_at timestamp,
  availability integer default 0 not null,
  auto_offline boolean default true not null,
  custom_role_id bigint,
  agent_capacity_policy_id bigint
);
create unique index uniq_user_id_per_account_id on account_users (account_id, user_id);
create index index_account_users_on_account_id on account_users (account_id);
create index index_account_users_on_agent_capacity_policy_id on account_users (agent_capacity_policy_id);
create index index_account_users_on_custom_role_id on account_users (custom_role_id);
create index index_account_users_on_user_id on account_users (user_id);

create table access_tokens (
  id bigserial primary key,
  owner_type varchar,
  owner_id bigint,
  token varchar,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index index_access_tokens_on_owner_type_and_owner_id on access_tokens (owner_type, owner_id);
create unique index index_access_tokens_on_token on access_tokens (token);

create table inboxes (
  id serial primary key,
  channel_id integer not null,
  account_id integer not null,
  name varchar not null,
  created_at timestamp not null,
  updated_at timestamp not null,
  channel_type varchar,
  enable_auto_assignment boolean default true,
  greeting_enabled boolean default false,
  greeting_message varchar,
  email_address varchar,
  working_hours_enabled boolean default false,
  out_of_office_message varchar,
  timezone varchar default 'UTC',
  enable_email_collect boolean default true,
  csat_survey_enabled boolean default false,
  allow_messages_after_resolved boolean default true,
  auto_assignment_config jsonb default '{}',
  lock_to_single_conversation boolean default false not null,
  portal_id bigint,
  sender_name_type integer default 0 not null,
  business_name varchar,
  csat_config jsonb default '{}' not null
);
create index index_inboxes_on_account_id on inboxes (account_id);
create index index_inboxes_on_channel_id_and_channel_type on inboxes (channel_id, channel_type);
create index index_inboxes_on_portal_id on inboxes (portal_id);

create table inbox_members (
  id serial primary key,
  user_id integer not null,
  inbox_id integer not null,
  created_at timestamp not null,
  updated_at timestamp not null
);
create unique index index_inbox_members_on_inbox_id_and_user_id on inbox_members (inbox_id, user_id);
create index index_inbox_members_on_inbox_id on inbox_members (inbox_id);

create table channel_api (
  id bigserial primary key,
  account_id integer not null,
  webhook_url varchar,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  identifier varchar,
  hmac_token varchar,
  hmac_mandatory boolean default false,
  additional_attributes jsonb default '{}',
  secret varchar
);
create unique index index_channel_api_on_hmac_token on channel_api (hmac_token);
create unique index index_channel_api_on_identifier on channel_api (identifier);

create table contacts (
  id serial primary key,
  name varchar default '',
  email varchar,
  phone_number varchar,
  account_id integer not null,
  created_at timestamp not null,
  updated_at timestamp not null,
  additional_attributes jsonb default '{}',
  identifier varchar,
  custom_attributes jsonb default '{}',
  last_activity_at timestamp,
  contact_type integer default 0,
  middle_name varchar default '',
  last_name varchar default '',
  location varchar default '',
  country_code varchar default '',
  blocked boolean default false not null,
  company_id bigint
);
create index index_contacts_on_lower_email_account_id on contacts (lower((email)::text), account_id);
create index index_contacts_on_account_id_and_contact_type on contacts (account_id, contact_type);
create index index_contacts_on_nonempty_fields on contacts (account_id, email, phone_number, identifier)
  where email <> '' or phone_number <> '' or identifier <> '';
create index index_contacts_on_account_id_and_last_activity_at on contacts (account_id, last_activity_at);
create index index_contacts_on_account_id on contacts (account_id);
create index index_resolved_contact_account_id on contacts (account_id)
  where email <> '' or phone_number <> '' or identifier <> '';
create index index_contacts_on_blocked on contacts (blocked);
create index index_contacts_on_company_id on contacts (company_id);
create unique index uniq_email_per_account_contact on contacts (email, account_id);
create unique index uniq_identifier_per_account_contact on contacts (identifier, account_id);
create index index_contacts_on_phone_number_and_account_id on contacts (phone_number, account_id);

create table contact_inboxes (
  id bigserial primary key,
  contact_id bigint,
  inbox_id bigint,
  source_id text not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  hmac_verified boolean default false,
  pubsub_token varchar
);
create index index_contact_inboxes_on_contact_id on contact_inboxes (contact_id);
create unique index index_contact_inboxes_on_inbox_id_and_source_id on contact_inboxes (inbox_id, source_id);
create index index_contact_inboxes_on_inbox_id on contact_inboxes (inbox_id);
create unique index index_contact_inboxes_on_pubsub_token on contact_inboxes (pubsub_token);
create index index_contact_inboxes_on_source_id on contact_inboxes (source_id);

create table conversations (
  id serial primary key,
  account_id integer not null,
  inbox_id integer not null,
  status integer default 0 not null,
  assignee_id integer,
  created_at timestamp not null,
  updated_at timestamp not null,
  contact_id bigint,
  display_id integer not null,
  contact_last_seen_at timestamp,
  agent_last_seen_at timestamp,
  additional_attributes jsonb default '{}',
  contact_inbox_id bigint,
  uuid uuid default gen_random_uuid() not null,
  identifier varchar,
  last_activity_at timestamp default current_timestamp not null,
  team_id bigint,
  campaign_id bigint,
  snoozed_until timestamp,
  custom_attributes jsonb default '{}',
  assignee_last_seen_at timestamp,
  first_reply_created_at timestamp,
  priority integer,
  sla_policy_id bigint,
  waiting_since timestamp(6),
  cached_label_list text,
  assignee_agent_bot_id bigint
);
create unique index index_conversations_on_account_id_and_display_id on conversations (account_id, display_id);
create index index_conversations_on_id_and_account_id on conversations (account_id, id);
create index conv_acid_inbid_stat_asgnid_idx on conversations (account_id, inbox_id, status, assignee_id);
create index index_conversations_on_account_id on conversations (account_id);
create index index_conversations_on_assignee_id_and_account_id on conversations (assignee_id, account_id);
create index index_conversations_on_campaign_id on conversations (campaign_id);
create index index_conversations_on_contact_id on conversations (contact_id);
create index index_conversations_on_contact_inbox_id on conversations (contact_inbox_id);
create index index_conversations_on_first_reply_created_at on conversations (first_reply_created_at);
create index index_conversations_on_identifier_and_account_id on conversations (identifier, account_id);
create index index_conversations_on_inbox_id on conversations (inbox_id);
create index index_conversations_on_priority on conversations (priority);
create index index_conversations_on_status_and_account_id on conversations (status, account_id);
create index index_conversations_on_status_and_priority on conversations (status, priority);
create index index_conversations_on_team_id on conversations (team_id);
create unique index index_conversations_on_uuid on conversations (uuid);
create index index_conversations_on_waiting_since on conversations (waiting_since);

create table messages (
  id serial primary key,
  content text,
  account_id integer not null,
  inbox_id integer not null,
  conversation_id integer not null,
  message_type integer not null,
  created_at timestamp not null,
  updated_at timestamp not null,
  private boolean default false not null,
  status integer default 0,
  source_id text,
  content_type integer default 0 not null,
  content_attributes json default '{}',
  sender_type varchar,
  sender_id bigint,
  external_source_ids jsonb default '{}',
  additional_attributes jsonb default '{}',
  processed_message_content text,
  sentiment jsonb default '{}'
);
create index idx_messages_account_content_created on messages (account_id, content_type, created_at);
create index index_messages_on_account_created_type on messages (account_id, created_at, message_type);
create index index_messages_on_additional_attributes_campaign_id
  on messages using gin ((additional_attributes -> 'campaign_id'));
create index index_messages_on_account_id_and_inbox_id on messages (account_id, inbox_id);
create index index_messages_on_account_id on messages (account_id);
create index index_messages_on_conversation_account_type_created
  on messages (conversation_id, account_id, message_type, created_at);
create index index_messages_on_conversation_id on messages (conversation_id);
create index index_messages_on_created_at on messages (created_at);
create index index_messages_on_inbox_id on messages (inbox_id);
create index index_messages_on_sender_and_created on messages (sender_type, sender_id, created_at);
create index index_messages_on_sender_type_and_sender_id on messages (sender_type, sender_id);
create index index_messages_on_source_id on messages (source_id);

create table attachments (
  id serial primary key,
  file_type integer default 0,
  external_url varchar,
  coordinates_lat double precision default 0.0,
  coordinates_long double precision default 0.0,
  message_id integer not null,
  account_id integer not null,
  created_at timestamp not null,
  updated_at timestamp not null,
  fallback_title varchar,
  extension varchar,
  meta jsonb default '{}'
);
create index index_attachments_on_account_id on attachments (account_id);
create index index_attachments_on_message_id on attachments (message_id);

create table labels (
  id bigserial primary key,
  title varchar,
  description text,
  color varchar default '#1f93ff' not null,
  show_on_sidebar boolean,
  account_id bigint,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index index_labels_on_account_id on labels (account_id);
create unique index index_labels_on_title_and_account_id on labels (title, account_id);

create table tags (
  id serial primary key,
  name varchar,
  taggings_count integer default 0
);
create unique index index_tags_on_name on tags (name);

create table taggings (
  id serial primary key,
  tag_id integer,
  taggable_type varchar,
  taggable_id integer,
  tagger_type varchar,
  tagger_id integer,
  context varchar(128),
  created_at timestamp
);
create index index_taggings_on_context on taggings (context);
create unique index taggings_idx on taggings (tag_id, taggable_id, taggable_type, context, tagger_id, tagger_type);
create index index_taggings_on_tag_id on taggings (tag_id);
create index index_taggings_on_taggable_id_and_taggable_type_and_context
  on taggings (taggable_id, taggable_type, context);
create index taggings_idy on taggings (taggable_id, taggable_type, tagger_id, context);
create index index_taggings_on_taggable_id on taggings (taggable_id);
create index index_taggings_on_taggable_type on taggings (taggable_type);
create index index_taggings_on_tagger_id_and_tagger_type on taggings (tagger_id, tagger_type);
create index index_taggings_on_tagger_id on taggings (tagger_id);

create table teams (
  id bigserial primary key,
  name varchar not null,
  description text,
  allow_auto_assign boolean default true,
  account_id bigint not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  icon varchar default '',
  icon_color varchar default ''
);
create index index_teams_on_account_id on teams (account_id);
create unique index index_teams_on_name_and_account_id on teams (name, account_id);

create table team_members (
  id bigserial primary key,
  team_id bigint not null,
  user_id bigint not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create unique index index_team_members_on_team_id_and_user_id on team_members (team_id, user_id);
create index index_team_members_on_team_id on team_members (team_id);
create index index_team_members_on_user_id on team_members (user_id);

create table canned_responses (
  id serial primary key,
  account_id integer not null,
  short_code varchar,
  content text,
  created_at timestamp not null,
  updated_at timestamp not null
);

create table conversation_participants (
  id bigserial primary key,
  account_id bigint not null,
  user_id bigint not null,
  conversation_id bigint not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index index_conversation_participants_on_account_id on conversation_participants (account_id);
create index index_conversation_participants_on_conversation_id on conversation_participants (conversation_id);
create unique index index_conversation_participants_on_user_id_and_conversation_id
  on conversation_participants (user_id, conversation_id);
create index index_conversation_participants_on_user_id on conversation_participants (user_id);

create table mentions (
  id bigserial primary key,
  user_id bigint not null,
  conversation_id bigint not null,
  account_id bigint not null,
  mentioned_at timestamp not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index index_mentions_on_account_id on mentions (account_id);
create index index_mentions_on_conversation_id on mentions (conversation_id);
create unique index index_mentions_on_user_id_and_conversation_id on mentions (user_id, conversation_id);
create index index_mentions_on_user_id on mentions (user_id);

create table reporting_events (
  id bigserial primary key,
  name varchar,
  value double precision,
  account_id integer,
  inbox_id integer,
  user_id integer,
  conversation_id integer,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  value_in_business_hours double precision,
  event_start_time timestamp,
  event_end_time timestamp
);
create index reporting_events__account_id__name__created_at on reporting_events (account_id, name, created_at);
create index index_reporting_events_for_response_distribution
  on reporting_events (account_id, name, inbox_id, created_at);
create index index_reporting_events_on_account_id on reporting_events (account_id);
create index index_reporting_events_on_conversation_id on reporting_events (conversation_id);
create index index_reporting_events_on_created_at on reporting_events (created_at);
create index index_reporting_events_on_inbox_id on reporting_events (inbox_id);
create index index_reporting_events_on_name on reporting_events (name);
create index index_reporting_events_on_user_id on reporting_events (user_id);

create table csat_survey_responses (
  id bigserial primary key,
  account_id bigint not null,
  conversation_id bigint not null,
  message_id bigint not null,
  rating integer not null,
  feedback_message text,
  contact_id bigint not null,
  assigned_agent_id bigint,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  csat_review_notes text,
  review_notes_updated_at timestamp(6),
  review_notes_updated_by_id bigint
);
create index index_csat_survey_responses_on_account_id on csat_survey_responses (account_id);
create index index_csat_survey_responses_on_assigned_agent_id on csat_survey_responses (assigned_agent_id);
create index index_csat_survey_responses_on_contact_id on csat_survey_responses (contact_id);
create index index_csat_survey_responses_on_conversation_id on csat_survey_responses (conversation_id);
create unique index index_csat_survey_responses_on_message_id on csat_survey_responses (message_id);
create index index_csat_survey_responses_on_review_notes_updated_by_id
  on csat_survey_responses (review_notes_updated_by_id);

create table working_hours (
  id bigserial primary key,
  inbox_id bigint,
  account_id bigint,
  day_of_week integer not null,
  closed_all_day boolean default false,
  open_hour integer,
  open_minutes integer,
  close_hour integer,
  close_minutes integer,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  open_all_day boolean default false
);
create index index_working_hours_on_account_id on working_hours (account_id);
create index index_working_hours_on_inbox_id on working_hours (inbox_id);

create table sla_policies (
  id bigserial primary key,
  name varchar not null,
  first_response_time_threshold double precision,
  next_response_time_threshold double precision,
  only_during_business_hours boolean default false,
  account_id bigint not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  description varchar,
  resolution_time_threshold double precision
);
create index index_sla_policies_on_account_id on sla_policies (account_id);

create table applied_slas (
  id bigserial primary key,
  account_id bigint not null,
  sla_policy_id bigint not null,
  conversation_id bigint not null,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  sla_status integer default 0
);
create unique index index_applied_slas_on_account_sla_policy_conversation
  on applied_slas (account_id, sla_policy_id, conversation_id);
create index index_applied_slas_on_account_id on applied_slas (account_id);
create index index_applied_slas_on_conversation_id on applied_slas (conversation_id);
create index index_applied_slas_on_sla_policy_id on applied_slas (sla_policy_id);

create table sla_events (
  id bigserial primary key,
  applied_sla_id bigint not null,
  conversation_id bigint not null,
  account_id bigint not null,
  sla_policy_id bigint not null,
  inbox_id bigint not null,
  event_type integer,
  meta jsonb default '{}',
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null
);
create index index_sla_events_on_account_id on sla_events (account_id);
create index index_sla_events_on_applied_sla_id on sla_events (applied_sla_id);
create index index_sla_events_on_conversation_id on sla_events (conversation_id);
create index index_sla_events_on_inbox_id on sla_events (inbox_id);
create index index_sla_events_on_sla_policy_id on sla_events (sla_policy_id);

create table webhooks (
  id bigserial primary key,
  account_id integer,
  inbox_id integer,
  url text,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  webhook_type integer default 0,
  subscriptions jsonb default '["conversation_status_changed", "conversation_updated", "conversation_created",
    "contact_created", "contact_updated", "message_created", "message_updated", "webwidget_triggered"]',
  name varchar,
  secret varchar
);
create unique index index_webhooks_on_account_id_and_url on webhooks (account_id, url);

create table agent_bots (
  id bigserial primary key,
  name varchar,
  description varchar,
  outgoing_url varchar,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  account_id bigint,
  bot_type integer default 0,
  bot_config jsonb default '{}',
  secret varchar
);
create index index_agent_bots_on_account_id on agent_bots (account_id);

create table agent_bot_inboxes (
  id bigserial primary key,
  inbox_id integer,
  agent_bot_id integer,
  status integer default 0,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  account_id integer
);

create table custom_attribute_definitions (
  id bigserial primary key,
  attribute_display_name varchar,
  attribute_key varchar,
  attribute_display_type integer default 0,
  default_value integer,
  attribute_model integer default 0,
  account_id bigint,
  created_at timestamp(6) not null,
  updated_at timestamp(6) not null,
  attribute_description text,
  attribute_values jsonb default '[]',
  regex_pattern varchar,
  regex_cue varchar
);
create index index_custom_attribute_definitions_on_account_id on custom_attribute_definitions (account_id);
create unique index attribute_key_model_index
  on custom_attribute_definitions (attribute_key, attribute_model, account_id);

-- Rails keeps the files of attachments in two tables of its own, whatever the model.
create table active_storage_blobs (
  id bigserial primary key,
  key varchar not null,
  filename varchar not null,
  content_type varchar,
  metadata text,
  byte_size bigint not null,
  checksum varchar,
  created_at timestamp not null,
  service_name varchar not null
);
create unique index index_active_storage_blobs_on_key on active_storage_blobs (key);

create table active_storage_attachments (
  id bigserial primary key,
  name varchar not null,
  record_type varchar not null,
  record_id bigint not null,
  blob_id bigint not null,
  created_at timestamp not null
);
create unique index index_active_storage_attachments_uniqueness
  on active_storage_attachments (record_type, record_id, name, blob_id);
create index index_active_storage_attachments_on_blob_id on active_storage_attachments (blob_id);

-- An account has sequences of its own, made with it; they number its campaigns and its conversations.
create function accounts_after_insert_row_tr() returns trigger language plpgsql as $$
begin
  execute format('create sequence if not exists conv_dpid_seq_%s', new.id);
  execute format('create sequence if not exists camp_dpid_seq_%s', new.id);
  return null;
end
$$;
create trigger accounts_after_insert_row_tr after insert on accounts
  for each row execute function accounts_after_insert_row_tr();

create function conversations_before_insert_row_tr() returns trigger language plpgsql as $$
begin
  new.display_id := nextval('conv_dpid_seq_' || new.account_id);
  return new;
end
$$;
create trigger conversations_before_insert_row_tr before insert on conversations
  for each row execute function conversations_before_insert_row_tr();

-- Not Chatwoot's: what the local installation must know beyond its rows in order to go on where it stopped.
create table local_installation (
  account_id integer primary key,
  state jsonb not null
);
