-- What analysts read: names for facts, no logic. Every view runs with the rights of whoever asks, so row security
-- decides which accounts they see.

-- Postgres would compile the wider views for half a second to save a few milliseconds. No view can say so itself.
do $$
begin
  execute format('alter database %I set jit = off', current_database());
exception when insufficient_privilege then
  raise notice 'jit stays as it is: only the owner of the database may turn it off';
end
$$;

create schema analytics;
comment on schema analytics is 'Views for analysts, over SQL or supabase-js.';
revoke all on schema analytics from public;
grant usage on schema analytics to authenticated, analyst, service_role;

create view analytics.messages with (security_invoker = true) as
select
  messages.account_id, messages.message_id, messages.conversation_display_id as display_id, messages.inbox_id,
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
  select conversations.account_id, conversations.created_at, 'conversation' as kind,
    conversations.labels && '{spam,test,imported}' or merges.merged_at is not null or conversations.deleted_at is not null
      as is_excluded
  from chatwoot.conversations
  left join ledger.merges
    on merges.account_id = conversations.account_id and merges.child_display_id = conversations.display_id
  where conversations.created_at is not null
  union all
  select messages.account_id, messages.created_at, case
    when messages.private then 'note' when messages.message_type = 'incoming' then 'incoming'
    when messages.message_type = 'outgoing' then 'outgoing' else 'automatic' end,
    conversations.labels && '{spam,test,imported}' or conversations.deleted_at is not null
  from chatwoot.messages
  -- What is part of another conversation counts there.
  left join ledger.merges
    on merges.account_id = messages.account_id and merges.child_display_id = messages.conversation_display_id
  left join chatwoot.conversations on conversations.account_id = messages.account_id
    and conversations.display_id = coalesce(merges.parent_display_id, messages.conversation_display_id)
  where messages.created_at is not null
)
select
  facts.account_id, (facts.created_at at time zone coalesce(zones.time_zone, 'UTC'))::date as day,
  coalesce(zones.time_zone, 'UTC') as time_zone,
  count(*) filter (where facts.kind = 'conversation' and facts.is_excluded is not true) as conversations,
  count(*) filter (where facts.kind = 'incoming' and facts.is_excluded is not true) as incoming_messages,
  count(*) filter (where facts.kind = 'outgoing' and facts.is_excluded is not true) as outgoing_messages,
  count(*) filter (where facts.kind = 'automatic' and facts.is_excluded is not true) as automatic_messages,
  count(*) filter (where facts.kind = 'note' and facts.is_excluded is not true) as private_notes,
  count(*) filter (where facts.kind = 'conversation' and facts.is_excluded is not true) as n_included,
  count(*) filter (where facts.kind = 'conversation' and facts.is_excluded) as n_excluded
from facts left join zones on zones.account_id = facts.account_id
group by 1, 2, 3;
comment on view analytics.volume_by_day is 'Conversations begun and messages written, one row an account and local day on which there were any. Messages of what is left out are in no number; those of a merged conversation count.';

create view analytics.channel_breakdown with (security_invoker = true) as
select
  conversations.account_id, conversations.channel, conversations.inbox_id, inboxes.name as inbox_name,
  count(*) filter (where inclusion.is_included) as conversations,
  count(*) filter (where inclusion.is_included and conversations.status = 'open') as open_conversations,
  count(*) filter (where inclusion.is_included and conversations.status = 'pending') as pending_conversations,
  count(*) filter (where inclusion.is_included and conversations.status = 'snoozed') as snoozed_conversations,
  count(*) filter (where inclusion.is_included and conversations.status = 'resolved') as resolved_conversations,
  count(*) filter (where inclusion.is_included and conversations.waiting_since is not null) as waiting_conversations,
  min(conversations.waiting_since) filter (where inclusion.is_included) as longest_waiting_since,
  count(*) filter (where inclusion.is_included)::numeric
    / nullif(sum(count(*) filter (where inclusion.is_included)) over (partition by conversations.account_id), 0) as share,
  count(*) filter (where inclusion.is_included) as n_included,
  count(*) filter (where not inclusion.is_included) as n_excluded
from chatwoot.conversations
left join ledger.merges
  on merges.account_id = conversations.account_id and merges.child_display_id = conversations.display_id
cross join lateral (
  select conversations.deleted_at is null and merges.merged_at is null
    and not coalesce(conversations.labels && '{spam,test,imported}', false) as is_included
) as inclusion
left join chatwoot.inboxes on inboxes.account_id = conversations.account_id and inboxes.inbox_id = conversations.inbox_id
where conversations.created_at is not null
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

grant select on all tables in schema analytics to authenticated, analyst, service_role;
