-- The numbers of each episode and conversation, as columns. The instants stand in the ledger; here one is taken from
-- another, and what still runs is counted up to now.

-- Written once and used twice: by the view, up to now, and by the function that reads any earlier instant.
do $$
declare
  v_lengths text := '';
  v_clock text;
  v_columns text;
  v_from text;
begin
  foreach v_clock in array array['', '_business'] loop
    -- Pairs of columns differ by the clock they were read from: {at} is _at or _business_at, {b} is nothing or _business.
    v_lengths := v_lengths || replace(replace(replace($lengths$,
  case when told.is_outbound is false
    then extract(epoch from told.first_human{at} - coalesce(told.clock_started{at}, told.first_customer{at})) end::double precision as frt{b},
  case when told.is_outbound is false
    then extract(epoch from told.first_human{at} - told.first_customer{at}) end::double precision as frt_customer{b},
  case when told.is_outbound is false
    then extract(epoch from told.first_any{at} - told.first_customer{at}) end::double precision as frt_any{b},
  (select array_agg(extract(epoch from spans.ended{at} - spans.started{at})::double precision order by spans.number)
    from {spans} as spans where spans.account_id = told.account_id and spans.display_id = told.display_id
      and spans.episode = told.episode and spans.kind = 'wait' and spans.value = 'later' and spans.closed_as = 'reply')
    as reply_time{b},
  (select array_agg(extract(epoch from spans.ended{at} - spans.started{at})::double precision order by spans.number)
    from {spans} as spans where spans.account_id = told.account_id and spans.display_id = told.display_id
      and spans.episode = told.episode and spans.kind = 'bot_wait') as bot_reply_time{b},
  case when told.wait_ended is not null or told.waiting_since is not null
    then coalesce(told.wait_ended{b}, 0) + case when told.waiting_since is not null
      then extract(epoch from {now} - told.waiting_since{b}) else 0 end end::double precision as wait_total{b},
  greatest(told.wait_longest_ended{b}, case when told.waiting_since is not null
    then extract(epoch from {now} - told.waiting_since{b}) end)::double precision as wait_longest{b},
  case when told.waiting_since is not null then extract(epoch from {now} - told.waiting_since{b}) end::double precision as wait_current{b},
  extract(epoch from told.first_resolved{at} - told.started{at})::double precision as ttr_first{b},
  case when told.status = 'resolved' then extract(epoch from told.last_resolved{at} - told.started{at}) end::double precision as ttr_full{b},
  case when told.status = 'resolved'
    then extract(epoch from told.last_resolved{at} - told.started{at}) - told.resolved_ended{b} end::double precision as ttr_active{b},
  case when told.status = 'resolved' and told.had_person
    then extract(epoch from told.last_resolved{at} - told.started{at}) - told.bot_ended{b} end::double precision as ttr_human{b},
  (told.open_ended{b} + told.third_party_ended{b} + case when told.state in ('open', 'third_party')
    then extract(epoch from {now} - told.state_since{b}) else 0 end)::double precision as requester_wait{b},
  (told.open_ended{b} + case when told.state = 'open'
    then extract(epoch from {now} - told.state_since{b}) else 0 end)::double precision as agent_work{b},
  (told.snoozed_ended{b} + case when told.state = 'snoozed'
    then extract(epoch from {now} - told.state_since{b}) else 0 end)::double precision as agent_wait{b},
  (told.third_party_ended{b} + case when told.state = 'third_party'
    then extract(epoch from {now} - told.state_since{b}) else 0 end)::double precision as on_hold{b},
  (told.bot_ended{b} + case when told.state = 'bot'
    then extract(epoch from {now} - told.state_since{b}) else 0 end)::double precision as bot_phase{b},
  extract(epoch from told.handed_off{at} - told.bot_started{at})::double precision as handoff_s{b},
  case when told.unknown_holder_ended = 0 and (told.holder <> '?' or told.holder_since is null)
    then told.unassigned_ended{b} + case when told.holder = '' and told.holder_since is not null
      then extract(epoch from {now} - told.holder_since{b}) else 0 end end::double precision as unassigned_s{b},
  case when told.status = 'resolved' then extract(epoch from told.last_resolved{at} - told.first_assigned{at}) end::double precision
    as first_assignment_to_resolve{b},
  case when told.status = 'resolved' then extract(epoch from told.last_resolved{at} - told.last_assigned{at}) end::double precision
    as last_assignment_to_resolve{b}$lengths$,
      '{at}', v_clock || '_at'), '{b}', v_clock), '{now}', case v_clock when '' then 'reading.as_of' else 'reading.business_at' end);
  end loop;
  v_columns := $columns$
  told.account_id, told.display_id, told.episode, told.started_at,
  case when told.status = 'resolved' then told.last_resolved_at end as ended_at, reading.as_of as as_of,
  told.status, told.inbox_id, mirrored.channel, nullif(told.team, '')::bigint as team_id, told.contact_id,
  nullif(told.priority, '') as priority, array(select jsonb_array_elements_text(told.labels::jsonb)) as labels,
  nullif(told.holder, '') as holder,
  array_remove(array[
    case when told.labels <> '[]' and told.labels::jsonb ? 'spam' then 'spam' end,
    case when told.labels <> '[]' and told.labels::jsonb ? 'test' then 'test' end,
    case when told.labels <> '[]' and told.labels::jsonb ? 'imported' then 'imported' end,
    case when merges.merged_at <= reading.as_of then 'merged_child' end,
    case when told.is_outbound then 'outbound_started' end,
    case when told.customer_messages = 0 then 'no_customer_message' end,
    case when mirrored.deleted_at <= reading.as_of then 'deleted' end], null) as flags,
  told.calendar_id, coalesce(told.is_outbound, false) as is_outbound, told.first_customer_at, told.handed_off_at, told.first_human_at, told.first_resolved_at,
  told.last_resolved_at, told.waiting_since,
  told.waiting_since is not null as waiting$columns$ || v_lengths || $columns$,
  told.reopens, told.resolutions, told.resolutions_until, told.reopens_until,
  case when told.last_resolved_at is null then null
    when told.reopened_at <= told.last_resolved_at + told.durable then false
    when told.last_resolved_at + told.durable <= reading.as_of then true end as durable,
  case when {without_fcr} or told.status <> 'resolved' or told.last_resolved_at is null or told.contact_id is null then null
    when exists (
      select from ledger.episodes as later
      where later.contact_id = told.contact_id and later.account_id = told.account_id
        and later.started_at > told.last_resolved_at and later.started_at <= told.last_resolved_at + interval '7 days'
        and later.started_at <= reading.as_of
        -- What is part of another conversation is no new one.
        and not exists (select from ledger.merges as joined where joined.account_id = later.account_id
          and joined.child_display_id = later.display_id and joined.merged_at <= reading.as_of)) then false
    when told.last_resolved_at + interval '7 days' <= reading.as_of then true end as fcr,
  told.customer_messages, told.human_replies, told.bot_replies, told.notes, told.turns,
  case when told.status = 'resolved' and told.last_resolved_at is not null then told.human_replies = 1 end as one_touch,
  case when told.status = 'resolved' and told.last_resolved_at is not null then told.turns = 1 end as one_turn,
  case when told.status = 'resolved' and told.last_resolved_at is not null then told.human_replies = 0 and told.bot_replies > 0 end as zero_touch,
  case when told.customer_messages > 0 then told.is_replied end as replied,
  told.status = 'resolved' and told.last_resolved_at is not null and told.customer_messages > 0 and told.human_replies = 0 and told.is_outbound is false
    as closed_unreplied,
  cardinality(told.people) as assignees, told.stations, told.reassignments,
  case when told.is_outbound is false then told.first_reply_author end as first_reply_author, told.last_author, told.resolved_by_kind, told.resolved_by_id,
  told.csat_rating, told.csat_answered_at,
  case when told.survey_message_id is not null then told.survey_author end as csat_author,
  told.survey_message_id is not null as surveyed,
  told.ai_is_eligible and told.is_outbound is false as ai_eligible,
  told.ai_is_involved and told.ai_is_eligible and told.is_outbound is false as ai_involved,
  told.ai_is_involved and told.ai_is_eligible and told.is_outbound is false and told.ai_is_answered as ai_answered,
  case when told.ai_is_involved and told.ai_is_eligible and told.is_outbound is false
    then coalesce(told.ai_ended_as, 'open') end as ai_class$columns$;
  v_from := $from$
left join chatwoot.conversations as mirrored
  on mirrored.account_id = told.account_id and mirrored.display_id = told.display_id
left join ledger.merges on merges.account_id = told.account_id and merges.child_display_id = told.display_id
$from$;
  execute format($view$create view analytics.episodes with (security_invoker = true) as
select %s
from ledger.episodes as told
%s$view$, replace(replace(replace(replace(v_columns, '{spans}', 'ledger.spans'), '{without_fcr}', 'false'), 'reading.as_of', 'now()'),
    -- Asked of what still runs alone.
    'reading.business_at', 'ledger.business_clock(told.account_id, told.calendar_id, now())'), v_from);

  execute format($function$create function ledger.episodes_at(
  account_id bigint, as_of timestamptz, learnt_by timestamptz default null, display_ids bigint[] default null
) returns setof analytics.episodes
language plpgsql stable security definer set search_path = '' as $body$
declare
  v_batch bigint[];
  v_last bigint := 0;
begin
  loop
    v_batch := array(
      select mirrored.display_id from chatwoot.conversations as mirrored
      where mirrored.account_id = episodes_at.account_id and mirrored.display_id > v_last
        and (episodes_at.display_ids is null or mirrored.display_id = any (episodes_at.display_ids))
        and (mirrored.created_at <= episodes_at.as_of or mirrored.created_at is null)
      -- Lists of waits are gathered from the spans of the whole batch: a small one.
      order by mirrored.display_id limit 20);
    exit when v_batch = '{}';
    v_last := v_batch[cardinality(v_batch)];
    return query
    with walked as materialized (
      select told.episodes, told.spans
      from ledger.walk(ledger.requests(array(
          select row(episodes_at.account_id, batch.display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue
          from unnest(v_batch) as batch (display_id)), episodes_at.as_of, episodes_at.learnt_by),
        episodes_at.as_of, episodes_at.learnt_by) as told
    ), spans as materialized (
      select spans.* from walked cross join lateral unnest(walked.spans) as spans
    )
    select %s
    from walked
    cross join lateral unnest(walked.episodes) as told
    cross join lateral (select episodes_at.as_of,
      ledger.business_clock(told.account_id, told.calendar_id, episodes_at.as_of) as business_at) as reading
    %s;
  end loop;
end
$body$ $function$, replace(replace(v_columns, '{spans}', 'spans'), '{without_fcr}', 'episodes_at.learnt_by is not null'), v_from);
end
$$;
-- One row a conversation: first and last episode, and what lies between.
do $$
declare
  v_lengths text := '';
  v_b text;
begin
  foreach v_b in array array['', '_business'] loop
    v_lengths := v_lengths || replace($lengths$,
  first_one.frt{b}, first_one.frt_customer{b}, first_one.frt_any{b}, first_one.ttr_first{b}, first_one.handoff_s{b},
  (select array_agg(extract(epoch from spans.ended{c} - spans.started{c})::double precision order by spans.episode, spans.number)
    from ledger.spans where spans.account_id = conversations.account_id and spans.display_id = conversations.display_id
      and spans.kind = 'wait' and spans.value = 'later' and spans.closed_as = 'reply') as reply_time{b},
  (select array_agg(extract(epoch from spans.ended{c} - spans.started{c})::double precision order by spans.episode, spans.number)
    from ledger.spans where spans.account_id = conversations.account_id and spans.display_id = conversations.display_id
      and spans.kind = 'bot_wait') as bot_reply_time{b},
  case when totals.wait_ended is not null or last_one.wait_total is not null
    then coalesce(totals.wait_ended{b}, 0) + coalesce(last_one.wait_total{b}, 0) end::double precision as wait_total{b},
  greatest(totals.wait_longest_ended{b}::double precision, last_one.wait_longest{b}) as wait_longest{b},
  last_one.wait_current{b}, last_one.ttr_full{b}, last_one.ttr_active{b}, last_one.ttr_human{b},
  coalesce(totals.open_ended{b} + totals.third_party_ended{b}, 0)::double precision + last_one.requester_wait{b} as requester_wait{b},
  coalesce(totals.open_ended{b}, 0)::double precision + last_one.agent_work{b} as agent_work{b},
  coalesce(totals.snoozed_ended{b}, 0)::double precision + last_one.agent_wait{b} as agent_wait{b},
  coalesce(totals.third_party_ended{b}, 0)::double precision + last_one.on_hold{b} as on_hold{b},
  coalesce(totals.bot_ended{b}, 0)::double precision + last_one.bot_phase{b} as bot_phase{b},
  case when coalesce(totals.unknown_holder_ended, 0) = 0
    then coalesce(totals.unassigned_ended{b}, 0)::double precision + last_one.unassigned_s{b} end as unassigned_s{b},
  last_one.first_assignment_to_resolve{b}, last_one.last_assignment_to_resolve{b}$lengths$, '{b}', v_b);
    v_lengths := replace(v_lengths, '{c}', v_b || '_at');
  end loop;
  execute format($view$create view analytics.conversations with (security_invoker = true) as
select
  conversations.account_id, conversations.display_id, conversations.inbox_id,
  inboxes.name as inbox_name, conversations.channel, conversations.status, conversations.priority,
  conversations.labels, conversations.contact_id, contacts.name as contact_name,
  conversations.assignee_kind, conversations.assignee_id, agents.name as assignee_name,
  conversations.team_id, teams.name as team_name, conversations.created_at, conversations.first_reply_created_at,
  conversations.waiting_since, conversations.snoozed_until, conversations.last_activity_at,
  nullif(conversations.version_at, '-infinity') as updated_at,
  conversations.additional_attributes, conversations.custom_attributes, conversations.deleted_at, now() as as_of,
  array(select distinct flags.flag from unnest(
    array_remove(array_remove(last_one.flags, 'outbound_started'), 'no_customer_message')
      || case when first_one.is_outbound then array['outbound_started'] end
      || case when coalesce(totals.customer_messages, 0) + coalesce(last_one.customer_messages, 0) = 0
        then array['no_customer_message'] end) as flags (flag) order by 1) as flags,
  coalesce(totals.episodes, 0) as episodes, first_one.started_at, last_one.started_at as last_started_at, last_one.calendar_id,
  coalesce(last_one.waiting, false) as waiting%s,
  coalesce(last_one.resolutions_until, 0) as resolutions, coalesce(last_one.reopens_until, 0) as reopens_raw,
  coalesce(totals.reopens, 0) + coalesce(last_one.reopens, 0) as reopens, last_one.durable, last_one.fcr,
  coalesce(totals.customer_messages, 0) + coalesce(last_one.customer_messages, 0) as customer_messages,
  coalesce(totals.human_replies, 0) + coalesce(last_one.human_replies, 0) as human_replies,
  coalesce(totals.bot_replies, 0) + coalesce(last_one.bot_replies, 0) as bot_replies,
  coalesce(totals.notes, 0) + coalesce(last_one.notes, 0) as notes,
  coalesce(totals.turns, 0) + coalesce(last_one.turns, 0) as turns,
  last_one.one_touch, last_one.one_turn, last_one.zero_touch, last_one.replied, last_one.closed_unreplied,
  (select count(distinct holders.person) from ledger.episodes as told cross join lateral unnest(told.people) as holders (person)
    where told.account_id = conversations.account_id and told.display_id = conversations.display_id) as assignees,
  (select coalesce(sum(told.stations), 0) from ledger.episodes as told
    where told.account_id = conversations.account_id and told.display_id = conversations.display_id) as stations,
  (select coalesce(sum(told.reassignments), 0) from ledger.episodes as told
    where told.account_id = conversations.account_id and told.display_id = conversations.display_id) as reassignments,
  first_one.first_reply_author, last_one.resolved_by_kind, last_one.resolved_by_id, totals.refreshed_at
from chatwoot.conversations
left join chatwoot.inboxes on inboxes.account_id = conversations.account_id and inboxes.inbox_id = conversations.inbox_id
left join chatwoot.contacts
  on contacts.account_id = conversations.account_id and contacts.contact_id = conversations.contact_id
left join chatwoot.agents on agents.account_id = conversations.account_id
  and agents.kind = conversations.assignee_kind and agents.agent_id = conversations.assignee_id
left join chatwoot.teams on teams.account_id = conversations.account_id and teams.team_id = conversations.team_id
left join ledger.conversations as totals
  on totals.account_id = conversations.account_id and totals.display_id = conversations.display_id
left join analytics.episodes as first_one on first_one.account_id = conversations.account_id
  and first_one.display_id = conversations.display_id and first_one.episode = 1
left join analytics.episodes as last_one on last_one.account_id = conversations.account_id
  and last_one.display_id = conversations.display_id and last_one.episode = totals.episodes$view$, v_lengths);
end
$$;
comment on view analytics.conversations is
  'One row a conversation, as Chatwoot shows it now, with its numbers up to now: metric ids as columns, in seconds, business hours as _business. frt, frt_customer, frt_any, ttr_first and handoff_s are the first episode''s; ttr_full, ttr_active, ttr_human, durable, fcr, wait_current, waiting, replied, closed_unreplied, one_touch, one_turn, zero_touch, first_assignment_to_resolve and last_assignment_to_resolve the last one''s; the others are of all.';
comment on view analytics.episodes is 'One row an episode, up to now: metric ids as columns, in seconds, business hours as _business.';
comment on function ledger.episodes_at is
  'The rows of analytics.episodes as they were at as_of (inclusive): of all conversations of the account or of those named; as known now, or as it was known at learnt_by, then without fcr, which hangs on other conversations.';
revoke all on function ledger.episodes_at from public, anon, authenticated, service_role;
grant execute on function ledger.business_clock to authenticated, analyst, service_role;
grant select on analytics.episodes, analytics.conversations to authenticated, analyst, service_role;
