-- What analysts read: names for facts, no logic. Every view runs with the rights of whoever asks, so row security
-- decides which accounts they see.
create schema analytics;
comment on schema analytics is 'Views for analysts, over SQL or supabase-js.';
revoke all on schema analytics from public;
grant usage on schema analytics to authenticated, analyst, service_role;

create view analytics.conversations with (security_invoker = true) as
select
  conversations.account_id, conversations.display_id as conversation_id, conversations.inbox_id,
  inboxes.name as inbox_name, conversations.channel, conversations.status, conversations.priority,
  conversations.labels, conversations.contact_id, contacts.name as contact_name,
  conversations.assignee_kind, conversations.assignee_id, agents.name as assignee_name,
  conversations.team_id, teams.name as team_name, conversations.created_at, conversations.first_reply_created_at,
  conversations.waiting_since, conversations.snoozed_until, conversations.last_activity_at,
  nullif(conversations.version_at, '-infinity') as updated_at,
  conversations.additional_attributes, conversations.custom_attributes, conversations.deleted_at
from chatwoot.conversations
left join chatwoot.inboxes on inboxes.account_id = conversations.account_id and inboxes.inbox_id = conversations.inbox_id
left join chatwoot.contacts
  on contacts.account_id = conversations.account_id and contacts.contact_id = conversations.contact_id
left join chatwoot.agents on agents.account_id = conversations.account_id
  and agents.kind = conversations.assignee_kind and agents.agent_id = conversations.assignee_id
left join chatwoot.teams on teams.account_id = conversations.account_id and teams.team_id = conversations.team_id;
comment on view analytics.conversations is 'One row a conversation, as Chatwoot shows it now.';

create view analytics.messages with (security_invoker = true) as
select
  messages.account_id, messages.message_id, messages.conversation_display_id as conversation_id, messages.inbox_id,
  messages.message_type, messages.content_type, messages.private as is_private, messages.content,
  messages.sender_kind, messages.sender_id, coalesce(agents.name, contacts.name) as sender_name,
  messages.delivery_status, messages.created_at, messages.deleted_at,
  jsonb_array_length(messages.attachments) as attachment_count, messages.attachments, messages.content_attributes,
  csat_responses.rating as csat_rating, csat_responses.feedback_message as csat_feedback
from chatwoot.messages
left join chatwoot.agents on agents.account_id = messages.account_id
  and agents.kind = messages.sender_kind and agents.agent_id = messages.sender_id
left join chatwoot.contacts on contacts.account_id = messages.account_id
  and messages.sender_kind = 'contact' and contacts.contact_id = messages.sender_id
left join chatwoot.csat_responses on csat_responses.account_id = messages.account_id
  and csat_responses.message_id = messages.message_id;
comment on view analytics.messages is 'One row a message or private note.';

create view analytics.volume_by_day with (security_invoker = true) as
with zones as materialized (
  -- From the tables: within ops.setting() the analyst, who may not name what is in ops, would be refused.
  select accounts.account_id, coalesce(settings.value, definitions.default_value) #>> '{}' as time_zone
  from chatwoot.accounts
  join ops.setting_definitions as definitions on definitions.name = 'reporting_time_zone'
  left join ops.settings on settings.account_id = accounts.account_id and settings.name = definitions.name
), facts as (
  select conversations.account_id, conversations.created_at, 'conversation' as kind
  from chatwoot.conversations where conversations.created_at is not null and conversations.deleted_at is null
  union all
  select messages.account_id, messages.created_at, case
    when messages.private then 'note' when messages.message_type = 'incoming' then 'incoming'
    when messages.message_type = 'outgoing' then 'outgoing' else 'automatic' end
  from chatwoot.messages where messages.created_at is not null
)
select
  facts.account_id, (facts.created_at at time zone coalesce(zones.time_zone, 'UTC'))::date as day,
  coalesce(zones.time_zone, 'UTC') as time_zone,
  count(*) filter (where facts.kind = 'conversation') as conversations,
  count(*) filter (where facts.kind = 'incoming') as incoming_messages,
  count(*) filter (where facts.kind = 'outgoing') as outgoing_messages,
  count(*) filter (where facts.kind = 'automatic') as automatic_messages,
  count(*) filter (where facts.kind = 'note') as private_notes
from facts left join zones on zones.account_id = facts.account_id
group by 1, 2, 3;
comment on view analytics.volume_by_day is 'Conversations begun and messages written, one row an account and local day on which there were any.';

create view analytics.channel_breakdown with (security_invoker = true) as
select
  conversations.account_id, conversations.channel, conversations.inbox_id, inboxes.name as inbox_name,
  count(*) as conversations,
  count(*) filter (where conversations.status = 'open') as open_conversations,
  count(*) filter (where conversations.status = 'pending') as pending_conversations,
  count(*) filter (where conversations.status = 'snoozed') as snoozed_conversations,
  count(*) filter (where conversations.status = 'resolved') as resolved_conversations,
  count(*) filter (where conversations.waiting_since is not null) as waiting_conversations,
  min(conversations.waiting_since) as longest_waiting_since,
  count(*)::numeric / sum(count(*)) over (partition by conversations.account_id) as share
from chatwoot.conversations
left join chatwoot.inboxes on inboxes.account_id = conversations.account_id and inboxes.inbox_id = conversations.inbox_id
where conversations.created_at is not null and conversations.deleted_at is null
group by conversations.account_id, conversations.channel, conversations.inbox_id, inboxes.name;
comment on view analytics.channel_breakdown is 'Conversations by channel and inbox, as they stand now.';

create view analytics.inbox_health with (security_invoker = true) as
select
  deliveries.account_id, deliveries.outcome, count(*) as deliveries,
  sum(deliveries.redeliveries)::bigint as redeliveries, sum(deliveries.conflicts)::bigint as conflicts,
  max(deliveries.received_at) as last_received_at,
  extract(epoch from now() - max(deliveries.received_at)) as seconds_since_last,
  percentile_cont(0.5) within group (order by extract(epoch from deliveries.received_at - deliveries.signed_at))
    as lag_seconds_median,
  percentile_cont(0.95) within group (order by extract(epoch from deliveries.received_at - deliveries.signed_at))
    as lag_seconds_p95,
  mode() within group (order by deliveries.reason) as most_frequent_reason
from inbox.deliveries
where deliveries.received_at > now() - interval '24 hours' and deliveries.purged_at is null
group by deliveries.account_id, deliveries.outcome;
comment on view analytics.inbox_health is 'Webhook deliveries first received in the last 24 hours, one row an account and outcome.';

do $$
declare
  v_comment record;
begin
  -- A column that only passes a fact on carries the words of the fact.
  for v_comment in
    select views.relname as view_name, columns.attname as column_name, described.description
    from pg_class as views
    join pg_attribute as columns on columns.attrelid = views.oid and columns.attnum > 0
    join (values
      ('account_id', 'Chatwoot''s account id.'), ('conversation_id', 'The conversation''s number in its account, as the dashboard shows it.'),
      ('inbox_id', 'Inbox it came in through.'), ('inbox_name', 'Name of the inbox; null until a payload says it.'),
      ('channel', 'Class name of the channel, such as Channel::WebWidget.'),
      ('status', 'open, resolved, pending or snoozed.'), ('priority', 'low, medium, high, urgent; null for none.'),
      ('labels', 'Titles of its labels.'), ('contact_id', 'The customer.'), ('contact_name', 'Name of the customer.'),
      ('assignee_kind', 'user or agent_bot; null when unassigned.'),
      ('assignee_id', 'Id of the assignee within its kind; null when unassigned.'), ('assignee_name', 'Name of the assignee.'),
      ('team_id', 'Team; null for none.'), ('team_name', 'Name of the team.'), ('created_at', 'When it began or was written (UTC).'),
      ('first_reply_created_at', 'When a person first replied (UTC); null until then.'),
      ('waiting_since', 'Since when the customer waits for a reply (UTC); null when nobody waits.'),
      ('snoozed_until', 'When a snooze ends (UTC); null when not snoozed or without end.'),
      ('last_activity_at', 'When something last happened (UTC).'), ('updated_at', 'Chatwoot''s own time of the last change (UTC).'),
      ('additional_attributes', 'Browser, referer, mail subject and the like.'),
      ('custom_attributes', 'What the shop keeps about the conversation.'),
      ('deleted_at', 'Earliest instant at which it is known to be deleted in Chatwoot (UTC); null while it is not.'),
      ('message_id', 'Chatwoot''s message id.'), ('message_type', 'incoming, outgoing, activity or template.'),
      ('content_type', 'text, input_csat, cards and so on.'), ('is_private', 'True for a note that only agents see.'),
      ('content', 'What was written; null for attachments alone.'),
      ('sender_kind', 'contact, user, agent_bot or captain_assistant; null when Chatwoot itself wrote.'),
      ('sender_id', 'Id of the sender within its kind.'), ('sender_name', 'Name of the sender.'),
      ('delivery_status', 'sent, delivered, read or failed; null until a payload says it.'),
      ('attachment_count', 'Number of attachments.'), ('attachments', 'Attachments as Chatwoot describes them.'),
      ('content_attributes', 'Reply reference, parsed e-mail, form values and so on.'),
      ('csat_rating', 'Rating given to this survey message, 1 (worst) to 5; null for none.'),
      ('csat_feedback', 'Words given with the rating; null for none.'),
      ('day', 'Local date in time_zone.'), ('time_zone', 'IANA zone of the day: the setting reporting_time_zone.'),
      ('incoming_messages', 'Messages of customers.'), ('outgoing_messages', 'Public replies of people and bots.'),
      ('automatic_messages', 'Greetings, surveys, and other templates.'), ('private_notes', 'Notes that only agents see.'),
      ('conversations', 'Number of conversations.'), ('open_conversations', 'Of these, open.'),
      ('pending_conversations', 'Of these, pending.'), ('snoozed_conversations', 'Of these, snoozed.'),
      ('resolved_conversations', 'Of these, resolved.'), ('waiting_conversations', 'Of these, with a customer waiting for a reply.'),
      ('longest_waiting_since', 'Since when the longest of them waits (UTC); null when none does.'),
      ('share', 'Share of the account''s conversations, 0 to 1.'), ('outcome', 'applied, ignored or dead.'),
      ('deliveries', 'Number of deliveries.'), ('redeliveries', 'How often one of them came again.'),
      ('conflicts', 'How often one came again with another body.'), ('last_received_at', 'When the newest arrived (UTC).'),
      ('seconds_since_last', 'Seconds since the newest arrived.'),
      ('lag_seconds_median', 'Median of the seconds from signing to arrival; null when none was signed.'),
      ('lag_seconds_p95', '95th percentile of the same.'),
      ('most_frequent_reason', 'The most frequent reason of this outcome; null when applied.')
    ) as described (name, description) on described.name = columns.attname
    where views.relnamespace = 'analytics'::regnamespace
  loop
    execute format('comment on column analytics.%I.%I is %L', v_comment.view_name, v_comment.column_name, v_comment.description);
  end loop;
end
$$;
grant select on all tables in schema analytics to authenticated, analyst, service_role;
