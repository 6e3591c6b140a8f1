-- The event log, and what it is made from. Messages, survey answers and reporting events stand in the mirror. What a
-- conversation itself went through (status, assignee, team, priority, labels) no door tells whole, so each door's words
-- are kept here as evidence, and the log is what all evidence together says. It never depends on the order in which
-- evidence came: the same evidence gives the same log.
--
-- The log is never rewritten. When more becomes known, what no longer holds gets the instant at which that was learnt,
-- and what holds instead is added. So it can be asked what happened, and also what was known of it on a certain day.
create table ledger.rules (
  account_id bigint not null,
  inbox_id bigint not null,
  episode_gap_seconds integer,
  durable_seconds integer,
  has_bot boolean,
  constraint rules_pkey primary key (account_id, inbox_id),
  constraint rules_inbox_id_known check (inbox_id >= 0),
  constraint rules_episode_gap_bounded check (episode_gap_seconds between 0 and 31536000),
  constraint rules_durable_bounded check (durable_seconds between 0 and 31536000)
);
comment on table ledger.rules is 'How an inbox is counted, where that differs from the account, and how the account is where that differs from the default.';
comment on column ledger.rules.account_id is 'Chatwoot''s account id.';
comment on column ledger.rules.inbox_id is 'The inbox; 0 for all that say nothing themselves.';
comment on column ledger.rules.episode_gap_seconds is 'Seconds after a resolve within which a reopened conversation goes on with the same episode; null for the account''s, else 259200 (72 hours).';
comment on column ledger.rules.durable_seconds is 'Seconds without a reopen after which a resolve counts as durable; null for the account''s, else 604800 (7 days).';
comment on column ledger.rules.has_bot is 'Whether a bot takes new conversations: pending then is its work. False: pending is waiting for a third party. Null: pending from the start or after a resolve is a bot''s work, since only a bot makes that.';

create table ledger.snapshots (
  account_id bigint not null,
  display_id bigint not null,
  changed_at timestamptz not null,
  fingerprint uuid not null,
  seen_at timestamptz not null,
  status text,
  assignee text not null,
  team text not null,
  priority text not null,
  labels text not null,
  constraint snapshots_pkey primary key (account_id, display_id, changed_at, fingerprint)
);
comment on table ledger.snapshots is 'Evidence: what a conversation was seen to be at one of its own instants of change.';
comment on column ledger.snapshots.account_id is 'Chatwoot''s account id.';
comment on column ledger.snapshots.display_id is 'The conversation''s number in its account.';
comment on column ledger.snapshots.changed_at is 'Chatwoot''s updated_at of what was seen (UTC).';
comment on column ledger.snapshots.fingerprint is 'Tells apart what was seen differently at one updated_at.';
comment on column ledger.snapshots.seen_at is 'When it was read on purpose, the first time (UTC); -infinity when Chatwoot sent it.';
comment on column ledger.snapshots.status is 'open, resolved, pending or snoozed.';
comment on column ledger.snapshots.assignee is 'Kind and id, such as user:7; empty for nobody.';
comment on column ledger.snapshots.team is 'Team id; empty for none.';
comment on column ledger.snapshots.priority is 'Priority; empty for none.';
comment on column ledger.snapshots.labels is 'JSON array of titles, sorted.';

create table ledger.changes (
  account_id bigint not null,
  display_id bigint not null,
  changed_at timestamptz not null,
  field text not null,
  fingerprint uuid not null,
  previous text not null,
  value text not null,
  constraint changes_pkey primary key (account_id, display_id, field, changed_at, fingerprint),
  constraint changes_field_known check (field in ('status', 'assignee', 'team', 'priority', 'labels'))
);
comment on table ledger.changes is 'Evidence: changes that webhooks told of, with what was before.';
comment on column ledger.changes.account_id is 'Chatwoot''s account id.';
comment on column ledger.changes.display_id is 'The conversation''s number in its account.';
comment on column ledger.changes.changed_at is 'When it changed (UTC, milliseconds).';
comment on column ledger.changes.field is 'status, assignee, team, priority or labels.';
comment on column ledger.changes.fingerprint is 'Tells apart what changed twice in one millisecond.';
comment on column ledger.changes.previous is 'What it was before, as in ledger.snapshots; empty for nothing.';
comment on column ledger.changes.value is 'What it became, as in ledger.snapshots; empty for nothing.';

create table ledger.events (
  account_id bigint not null,
  event_id bigint generated always as identity,
  display_id bigint not null,
  kind text not null,
  occurred_at timestamptz not null,
  place bigint not null,
  class text,
  value text not null default '',
  previous text not null default '',
  actor_kind text,
  actor_id bigint,
  source text not null,
  source_id text not null,
  learnt_at timestamptz not null,
  unlearnt_at timestamptz,
  -- With the conversation, so that no plan takes the key for the way to a conversation's events and reads the account's.
  constraint events_pkey primary key (account_id, display_id, event_id),
  constraint events_kind_known check (kind in ('created', 'message', 'status', 'assignee', 'team', 'priority', 'labels', 'csat')),
  constraint events_class_known check ((kind = 'message') = (class is not null)
    and class in ('customer', 'human', 'bot', 'auto', 'note', 'failed'))
);
comment on table ledger.events is 'The event log of every conversation, append only: nothing is deleted, and of a row only unlearnt_at is ever set, once.';
comment on column ledger.events.account_id is 'Chatwoot''s account id.';
comment on column ledger.events.event_id is 'Number of the event.';
comment on column ledger.events.display_id is 'The conversation''s number in its account.';
comment on column ledger.events.kind is 'created, message, status, assignee, team, priority, labels or csat. Of one instant they count in this order.';
comment on column ledger.events.occurred_at is 'When it happened (UTC).';
comment on column ledger.events.place is 'Order among events of one kind and instant: a message''s id, or the place in a chain of changes.';
comment on column ledger.events.class is 'Of a message: customer, human, bot, auto (rules, campaigns, templates), note, or failed (not delivered).';
comment on column ledger.events.value is 'What it became: a status; an assignee such as user:7 (? where unknown); a team''s id; a priority; a JSON array of labels; a rating. Of a message: survey when it asks for a rating, question when a bot ends with a question mark. Empty for none.';
comment on column ledger.events.previous is 'What it was before; empty for none, or where nothing is before.';
comment on column ledger.events.actor_kind is 'Who did it: user, contact, agent_bot and so on; null when nobody is named.';
comment on column ledger.events.actor_id is 'Id of the actor within its kind.';
comment on column ledger.events.source is 'Which row says so: message, csat_response, conversation, change or snapshot (of ledger), reporting_event, activity (a message of Chatwoot''s own).';
comment on column ledger.events.source_id is 'Key of that row within the conversation: a message''s or reporting event''s id, or the instant of a change or snapshot.';
comment on column ledger.events.learnt_at is 'When it was learnt (UTC).';
comment on column ledger.events.unlearnt_at is 'When it was learnt that it was not so (UTC); null while it holds.';
-- Not beginning with account_id, as with messages; and so that reading on from an instant reads nothing before it.
create index events_conversation_idx on ledger.events (display_id, account_id, occurred_at);
-- What is not a message is rare in a long thread.
create index events_states_idx on ledger.events (display_id, account_id, occurred_at) where kind <> 'message';

create table ledger.merges (
  account_id bigint not null,
  child_display_id bigint not null,
  parent_display_id bigint not null,
  merged_at timestamptz not null,
  constraint merges_pkey primary key (account_id, child_display_id),
  constraint merges_not_itself check (child_display_id <> parent_display_id)
);
comment on table ledger.merges is 'Conversations that a person declared to be part of another: their messages count there, from then on.';
comment on column ledger.merges.account_id is 'Chatwoot''s account id.';
comment on column ledger.merges.child_display_id is 'The conversation that counts no more by itself.';
comment on column ledger.merges.parent_display_id is 'The conversation its messages count in.';
comment on column ledger.merges.merged_at is 'From when on they are one (UTC).';
create index merges_parent_idx on ledger.merges (account_id, parent_display_id);

create table ledger.queue (
  account_id bigint not null,
  display_id bigint not null,
  messages_since timestamptz,
  states_since timestamptz,
  walk_since timestamptz,
  queued_at timestamptz not null,
  attempts integer not null default 0,
  retry_at timestamptz,
  problem text,
  constraint queue_pkey primary key (account_id, display_id)
);
comment on table ledger.queue is 'Conversations whose numbers do not show yet what is known.';
comment on column ledger.queue.account_id is 'Chatwoot''s account id.';
comment on column ledger.queue.display_id is 'The conversation''s number in its account.';
comment on column ledger.queue.messages_since is 'Instant of the earliest message that changed (UTC); null for none.';
comment on column ledger.queue.states_since is 'Instant of the earliest new evidence (UTC); null for none.';
comment on column ledger.queue.walk_since is 'Instant from which on episodes are to be counted again for other reasons (UTC), such as a calendar; null for none.';
comment on column ledger.queue.queued_at is 'When the first of it came in (UTC).';
comment on column ledger.queue.attempts is 'How often it failed.';
comment on column ledger.queue.retry_at is 'Not tried again before this instant (UTC); null for at once.';
comment on column ledger.queue.problem is 'What went wrong last; null when nothing did.';
create index queue_queued_at_idx on ledger.queue (queued_at);

create function ledger.message_class(
  message_type text, is_private boolean, content_type text, sender_kind text, delivery_status text,
  content_attributes jsonb, additional_attributes jsonb
) returns text
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return case
    when message_class.is_private then 'note'
    when message_class.message_type = 'incoming' then 'customer'
    when message_class.message_type = 'activity' then null
    when message_class.message_type = 'template' or message_class.content_type = 'input_csat' then 'auto'
    -- Only what we send can fail, and what came out later counts after all, from when it was first sent.
    when message_class.delivery_status = 'failed' then 'failed'
    when message_class.content_attributes ->> 'automation_rule_id' is not null
      or message_class.additional_attributes ->> 'campaign_id' is not null then 'auto'
    when message_class.sender_kind = 'user' or message_class.content_attributes ->> 'external_echo' = 'true' then 'human'
    when message_class.sender_kind = 'contact' then 'customer'
    when message_class.sender_kind is not null then 'bot'
    else 'auto'
  end;
end
$$;
comment on function ledger.message_class is
  'What a message counts as: customer, human, bot, auto, note, failed; null for Chatwoot''s own activity lines.';

create function ledger.mark(
  account_id bigint, display_id bigint, messages_since timestamptz default null, states_since timestamptz default null,
  walk_since timestamptz default null, as_of timestamptz default now()
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into ledger.queue as existing (account_id, display_id, messages_since, states_since, walk_since, queued_at)
  values (mark.account_id, mark.display_id, mark.messages_since, mark.states_since, mark.walk_since, mark.as_of)
  on conflict on constraint queue_pkey do update set
    messages_since = least(existing.messages_since, excluded.messages_since),
    states_since = least(existing.states_since, excluded.states_since),
    walk_since = least(existing.walk_since, excluded.walk_since), retry_at = null;
end
$$;
comment on function ledger.mark is 'Puts a conversation on the queue, or widens what is to be done for it there.';

create function ledger.observe(given chatwoot.conversations[], read_at timestamptz default null) returns void
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
  with told as (
    select distinct on (conversations.account_id, conversations.display_id) conversations.account_id,
      conversations.display_id, conversations.version_at as changed_at, conversations.status,
      -- A kind that a later Chatwoot adds is somebody, nobody knows who.
      case when conversations.assignee_kind !~ '^[a-z_]{1,30}$' then '?'
        else coalesce(conversations.assignee_kind || ':' || conversations.assignee_id, '') end as assignee,
      coalesce(conversations.team_id::text, '') as team, coalesce(conversations.priority, '') as priority,
      to_jsonb(coalesce(conversations.labels, '{}'))::text as labels
    from unnest(observe.given) as conversations
    where conversations.status is not null and isfinite(conversations.version_at)
    order by conversations.account_id, conversations.display_id, conversations.version_at desc
  ), added as (
    insert into ledger.snapshots as existing
      (account_id, display_id, changed_at, fingerprint, seen_at, status, assignee, team, priority, labels)
    select told.account_id, told.display_id, told.changed_at,
      md5(concat_ws('|', told.status, told.assignee, told.team, told.priority, told.labels))::uuid,
      coalesce(observe.read_at, '-infinity'), told.status, told.assignee, told.team, told.priority, told.labels
    from told
    on conflict on constraint snapshots_pkey do update set seen_at = excluded.seen_at
    where excluded.seen_at < existing.seen_at
    returning existing.account_id, existing.display_id, existing.changed_at, existing.fingerprint
  )
  -- What is as it was just before says nothing new, unless something is told to have happened in between.
  insert into ledger.queue as existing (account_id, display_id, messages_since, states_since, queued_at)
  select added.account_id, added.display_id,
    -- Of one that is new all messages are, and those that come with it need not say so one by one.
    case when before.fingerprint is null then '-infinity'::timestamptz end,
    case when before.fingerprint is null then '-infinity' else added.changed_at end, now()
  from added
  left join lateral (
    select snapshots.fingerprint, snapshots.changed_at from ledger.snapshots
    where snapshots.account_id = added.account_id and snapshots.display_id = added.display_id
      and snapshots.changed_at < added.changed_at
    order by snapshots.changed_at desc, snapshots.seen_at desc, snapshots.fingerprint desc limit 1
  ) as before on true
  where added.fingerprint is distinct from before.fingerprint
    -- Of two readings at one instant nobody knows which came later, so the next one decides.
    or exists (select from ledger.snapshots as beside where beside.account_id = added.account_id
      and beside.display_id = added.display_id and beside.fingerprint <> before.fingerprint
      and beside.changed_at between date_trunc('milliseconds', before.changed_at) and before.changed_at)
    or exists (select from ledger.events where events.display_id = added.display_id
      and events.account_id = added.account_id and events.occurred_at >= date_trunc('milliseconds', before.changed_at)
      and events.occurred_at <= added.changed_at and events.unlearnt_at is null and events.kind <> 'message'
      and events.source in ('change', 'activity', 'reporting_event'))
  order by added.account_id, added.display_id
  on conflict on constraint queue_pkey do update
    set messages_since = least(existing.messages_since, excluded.messages_since),
      states_since = least(existing.states_since, excluded.states_since), retry_at = null;
end
$$;
comment on function ledger.observe is
  'Keeps what conversations were seen to be, version_at their own updated_at. read_at is when they were read on purpose, null for what was sent.';

create function ledger.observe_changes(account_id bigint, display_id bigint, changed_attributes jsonb, updated_at timestamptz)
returns void
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  -- Single-key objects, in no order; Chatwoot sends some ten, and forty are more than its columns.
  v_changes jsonb := case when jsonb_typeof(observe_changes.changed_attributes) = 'array' then (
    select jsonb_object_agg(pairs.key, pairs.value)
    from jsonb_array_elements(observe_changes.changed_attributes) with ordinality as elements (change, number)
    cross join lateral jsonb_each(case when jsonb_typeof(elements.change) = 'object' then elements.change else '{}' end) as pairs
    where elements.number <= 40 and jsonb_typeof(pairs.value) = 'object'
      and pairs.key in ('updated_at', 'status', 'assignee_id', 'assignee_agent_bot_id', 'team_id', 'priority', 'label_list')) end;
  v_at timestamptz := observe_changes.updated_at;
  v_instant text;
begin
  if v_changes is null or not v_changes ?| array['status', 'assignee_id', 'assignee_agent_bot_id', 'team_id', 'priority', 'label_list'] then
    return;
  end if;
  v_instant := v_changes #>> '{updated_at,current_value}';
  -- The body is of when it was sent; this is of when it changed.
  if v_instant ~ '^2\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d(\.\d{1,6})?Z$' then
    v_at := v_instant::timestamptz;
  end if;
  if v_at is null then
    return;
  end if;
  with told (field, previous, value) as (
    select 'status', v_changes #>> '{status,previous_value}', v_changes #>> '{status,current_value}'
    where v_changes #>> '{status,previous_value}' in ('open', 'resolved', 'pending', 'snoozed')
      and v_changes #>> '{status,current_value}' in ('open', 'resolved', 'pending', 'snoozed')
    union all
    select 'assignee',
      coalesce('user:' || (v_changes #>> '{assignee_id,previous_value}'),
        'agent_bot:' || (v_changes #>> '{assignee_agent_bot_id,previous_value}'), ''),
      coalesce('user:' || (v_changes #>> '{assignee_id,current_value}'),
        'agent_bot:' || (v_changes #>> '{assignee_agent_bot_id,current_value}'), '')
    where v_changes ?| array['assignee_id', 'assignee_agent_bot_id']
    union all
    select 'team', coalesce(v_changes #>> '{team_id,previous_value}', ''), coalesce(v_changes #>> '{team_id,current_value}', '')
    where v_changes ? 'team_id'
    union all
    select 'priority', coalesce(v_changes #>> '{priority,previous_value}', ''), coalesce(v_changes #>> '{priority,current_value}', '')
    where v_changes ? 'priority'
    union all
    select 'labels', chatwoot.canonical_labels(v_changes #> '{label_list,previous_value}')::text,
      chatwoot.canonical_labels(v_changes #> '{label_list,current_value}')::text
    where jsonb_typeof(v_changes #> '{label_list,previous_value}') = 'array'
      and jsonb_typeof(v_changes #> '{label_list,current_value}') = 'array'
  ), added as (
    insert into ledger.changes as existing (account_id, display_id, changed_at, field, fingerprint, previous, value)
    select observe_changes.account_id, observe_changes.display_id, date_trunc('milliseconds', v_at), told.field,
      md5(told.previous || '|' || told.value)::uuid, told.previous, told.value
    from told
    where told.previous <> told.value and case told.field
      when 'assignee' then told.previous || ' ' || told.value ~ '^((user|agent_bot):\d{1,18})? ((user|agent_bot):\d{1,18})?$'
      when 'team' then told.previous || ' ' || told.value ~ '^\d{0,18} \d{0,18}$'
      when 'priority' then length(told.previous || told.value) <= 100
      else length(told.previous || told.value) <= 100000 end
    on conflict do nothing
    returning existing.changed_at
  )
  insert into ledger.queue as existing (account_id, display_id, states_since, queued_at)
  select observe_changes.account_id, observe_changes.display_id, min(added.changed_at), now() from added having count(*) > 0
  on conflict on constraint queue_pkey do update
    set states_since = least(existing.states_since, excluded.states_since), retry_at = null;
end
$$;
comment on function ledger.observe_changes is
  'Keeps what a webhook says has changed (changed_attributes as sent; what cannot be read is passed over). updated_at stands in where it names no instant.';

create function ledger.observe_messages() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
  -- Of an update only what moves a number: a class, an instant, a conversation.
  if tg_op = 'INSERT' then
    insert into ledger.queue as existing (account_id, display_id, messages_since, states_since, queued_at)
    select news.account_id, news.conversation_display_id,
      min(news.created_at) filter (where news.message_type is distinct from 'activity'),
      min(news.created_at) filter (where news.message_type = 'activity'
        and news.content_attributes #>> '{activity,type}' = 'conversation_status_changed'), now()
    from news where news.created_at is not null
      and (news.message_type is distinct from 'activity' or news.content_attributes #>> '{activity,type}' = 'conversation_status_changed')
    group by news.account_id, news.conversation_display_id
    order by news.account_id, news.conversation_display_id
    -- A history read in order touches a conversation again and again; what is on the queue already stays as it is.
    on conflict on constraint queue_pkey do update set
      messages_since = least(existing.messages_since, excluded.messages_since),
      states_since = least(existing.states_since, excluded.states_since), retry_at = null
    where existing.retry_at is not null
      or excluded.messages_since < coalesce(existing.messages_since, 'infinity')
      or excluded.states_since < coalesce(existing.states_since, 'infinity');
    return null;
  end if;
  insert into ledger.queue as existing (account_id, display_id, messages_since, states_since, queued_at)
  select touched.account_id, touched.display_id, min(touched.since) filter (where touched.message_type is distinct from 'activity'),
    min(touched.since) filter (where touched.message_type = 'activity'), now()
  from (
    select news.account_id, conversations.display_id, least(news.created_at, olds.created_at) as since, news.message_type
    from news join olds on olds.account_id = news.account_id and olds.message_id = news.message_id
    cross join lateral (values (news.conversation_display_id), (olds.conversation_display_id)) as conversations (display_id)
    where (news.created_at, news.conversation_display_id, news.message_type, news.private, news.content_type,
        news.sender_kind, news.sender_id, news.content_attributes ->> 'automation_rule_id',
        news.content_attributes ->> 'external_echo', news.additional_attributes ->> 'campaign_id',
        news.delivery_status = 'failed', news.sender_kind not in ('user', 'contact') and news.content ~ '\?\s*$')
      is distinct from (olds.created_at, olds.conversation_display_id, olds.message_type, olds.private, olds.content_type,
        olds.sender_kind, olds.sender_id, olds.content_attributes ->> 'automation_rule_id',
        olds.content_attributes ->> 'external_echo', olds.additional_attributes ->> 'campaign_id',
        olds.delivery_status = 'failed', olds.sender_kind not in ('user', 'contact') and olds.content ~ '\?\s*$')
  ) as touched
  where touched.since is not null and touched.display_id is not null
  group by touched.account_id, touched.display_id
  order by touched.account_id, touched.display_id
  on conflict on constraint queue_pkey do update set
    messages_since = least(existing.messages_since, excluded.messages_since),
    states_since = least(existing.states_since, excluded.states_since), retry_at = null;
  return null;
end
$$;
comment on function ledger.observe_messages is 'Trigger: puts the conversations of new messages, and of changed ones where it matters, on the queue.';
create trigger observe_inserted_messages after insert on chatwoot.messages
referencing new table as news for each statement execute function ledger.observe_messages();
create trigger observe_updated_messages after update on chatwoot.messages
referencing old table as olds new table as news for each statement execute function ledger.observe_messages();

create function ledger.observe_conversations() returns trigger
-- Their states come as evidence; here what else a number hangs on.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    -- One of which only a part was told: there is no evidence, but an instant of creation.
    insert into ledger.queue as existing (account_id, display_id, states_since, walk_since, queued_at)
    select news.account_id, news.display_id, '-infinity', case when told.account_id is not null then '-infinity'::timestamptz end,
      now()
    from news
    -- Its messages may have come before it, and were counted without its inbox and customer.
    left join ledger.conversations as told on told.account_id = news.account_id and told.display_id = news.display_id
    where news.created_at is not null and (told.account_id is not null or not exists (select from ledger.snapshots
      where snapshots.account_id = news.account_id and snapshots.display_id = news.display_id))
    order by news.account_id, news.display_id
    on conflict on constraint queue_pkey do update
      set states_since = excluded.states_since, walk_since = least(existing.walk_since, excluded.walk_since), retry_at = null;
    return null;
  end if;
  insert into ledger.queue as existing (account_id, display_id, states_since, walk_since, queued_at)
  select news.account_id, news.display_id, '-infinity', '-infinity', now()
  from news join olds on olds.account_id = news.account_id and olds.display_id = news.display_id
  where (news.created_at, news.inbox_id, news.contact_id, news.deleted_at)
    is distinct from (olds.created_at, olds.inbox_id, olds.contact_id, olds.deleted_at)
  order by news.account_id, news.display_id
  on conflict on constraint queue_pkey do update
    set states_since = excluded.states_since, walk_since = excluded.walk_since, retry_at = null;
  return null;
end
$$;
comment on function ledger.observe_conversations is 'Trigger: puts conversations on the queue whose begin, inbox, customer or deletion changed, and new ones that nothing else tells of.';
create trigger observe_inserted_conversations after insert on chatwoot.conversations
referencing new table as news for each statement execute function ledger.observe_conversations();
create trigger observe_updated_conversations after update on chatwoot.conversations
referencing old table as olds new table as news for each statement execute function ledger.observe_conversations();

create function ledger.observe_answers() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into ledger.queue as existing (account_id, display_id, messages_since, queued_at)
  select news.account_id, news.conversation_display_id, min(news.first_answered_at), now() from news
  where news.first_answered_at is not null and news.conversation_display_id is not null
  group by news.account_id, news.conversation_display_id
  order by news.account_id, news.conversation_display_id
  on conflict on constraint queue_pkey do update
    set messages_since = least(existing.messages_since, excluded.messages_since), retry_at = null
    where existing.retry_at is not null or excluded.messages_since < coalesce(existing.messages_since, 'infinity');
  return null;
end
$$;
comment on function ledger.observe_answers is 'Trigger: puts the conversations of survey answers on the queue.';
create trigger observe_inserted_answers after insert on chatwoot.csat_responses
referencing new table as news for each statement execute function ledger.observe_answers();
create trigger observe_updated_answers after update on chatwoot.csat_responses
referencing new table as news for each statement execute function ledger.observe_answers();

create function ledger.observe_reporting_events() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into ledger.queue as existing (account_id, display_id, states_since, queued_at)
  select news.account_id, news.conversation_display_id, min(news.event_ended_at), now() from news
  where news.event_ended_at is not null and news.conversation_display_id is not null
    and news.name in ('conversation_resolved', 'conversation_opened', 'conversation_bot_handoff')
  group by news.account_id, news.conversation_display_id
  order by news.account_id, news.conversation_display_id
  on conflict on constraint queue_pkey do update
    set states_since = least(existing.states_since, excluded.states_since), retry_at = null
    where existing.retry_at is not null or excluded.states_since < coalesce(existing.states_since, 'infinity');
  return null;
end
$$;
comment on function ledger.observe_reporting_events is 'Trigger: puts the conversations of Chatwoot''s reporting events on the queue.';
create trigger observe_reporting_events after insert on chatwoot.reporting_events
referencing new table as news for each statement execute function ledger.observe_reporting_events();
