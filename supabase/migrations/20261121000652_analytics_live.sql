-- How it is going, this second, in one row an account: for a page that asks every few seconds and a person who looks for
-- one. Nothing here reads the history: what is open is found among the unresolved, what happened today by its instant, and
-- what was measured in the small tables of the health checks.
create index conversations_deleted_idx on chatwoot.conversations (account_id, display_id) where deleted_at is not null;

-- Who has no answer yet: few among those that are open.
create index episodes_unanswered_idx on ledger.episodes (account_id, display_id)
where status <> 'resolved' and first_human_at is null and is_outbound is false;

create function ops.default_target_seconds() returns integer
language sql immutable parallel safe security invoker set search_path = '' as $$ select 900 $$;
comment on function ops.default_target_seconds is
  'Seconds of business hours within which a first response is in time where an account has no policy.';

create view ops.late_first_responses with (security_invoker = true) as
select every.account_id, every.display_id, every.episode, every.calendar_id, every.inbox_id, every.team, every.holder,
  every.started_at, every.target_business_at, every.answered_at, every.ended_at
from (
  select told.account_id, told.display_id, told.episode, told.calendar_id, told.inbox_id, told.team, told.holder, told.labels,
    coalesce(told.clock_started_at, told.first_customer_at) as started_at,
    coalesce(told.clock_started_business_at, told.first_customer_business_at)
      + ops.default_target_seconds() * interval '1 second' as target_business_at,
    told.first_human_at as answered_at, told.first_human_at as ended_at, told.first_human_business_at as ended_business_at
  from ledger.episodes as told
  where told.first_human_at is not null and told.is_outbound is false
  union all
  select told.account_id, told.display_id, told.episode, told.calendar_id, told.inbox_id, told.team, told.holder, told.labels,
    coalesce(told.clock_started_at, told.first_customer_at),
    coalesce(told.clock_started_business_at, told.first_customer_business_at)
      + ops.default_target_seconds() * interval '1 second',
    null, told.last_resolved_at, told.last_resolved_business_at
  from ledger.episodes as told
  where told.status = 'resolved' and told.first_human_at is null and told.is_outbound is false and told.is_clock_settled
  union all
  -- While a bot holds it, nobody is late yet.
  select told.account_id, told.display_id, told.episode, told.calendar_id, told.inbox_id, told.team, told.holder, told.labels,
    coalesce(told.clock_started_at, told.first_customer_at),
    coalesce(told.clock_started_business_at, told.first_customer_business_at)
      + ops.default_target_seconds() * interval '1 second',
    null, 'infinity', 'infinity'
  from ledger.episodes as told
  where told.status <> 'resolved' and told.first_human_at is null and told.is_outbound is false and told.is_clock_settled
) as every
where every.ended_business_at > every.target_business_at
  and (every.labels = '[]' or not every.labels::jsonb ?| '{spam,test,imported}')
  and (every.account_id, every.display_id) not in (
    select merges.account_id, merges.child_display_id from ledger.merges
    union all
    select gone.account_id, gone.display_id from chatwoot.conversations as gone where gone.deleted_at is not null);
comment on view ops.late_first_responses is
  'First responses that the default target was too short for, or will be: what an account without policies is measured by. Of those that still wait all are here; whether their target has run out the reader asks the business clock.';
comment on column ops.late_first_responses.account_id is 'Chatwoot''s account id.';
comment on column ops.late_first_responses.display_id is 'The conversation''s number in its account.';
comment on column ops.late_first_responses.episode is 'Number of the episode within the conversation.';
comment on column ops.late_first_responses.calendar_id is 'The calendar whose business clock it is measured by; null for none.';
comment on column ops.late_first_responses.inbox_id is 'Inbox.';
comment on column ops.late_first_responses.team is 'Team; empty for none.';
comment on column ops.late_first_responses.holder is 'Who holds it; empty for nobody.';
comment on column ops.late_first_responses.started_at is 'From when on the customer waits for a person (UTC).';
comment on column ops.late_first_responses.target_business_at is 'What the business clock shows when the target runs out.';
comment on column ops.late_first_responses.answered_at is 'The first response (UTC); null for none.';
comment on column ops.late_first_responses.ended_at is 'The first response, or else the end of the conversation (UTC); infinity while the customer waits.';
grant select on ops.late_first_responses to authenticated, analyst, service_role;
revoke all on function ops.default_target_seconds from public, anon, authenticated, service_role;
-- In views, which run with the rights of whoever asks; it names no customer.
grant execute on function ops.default_target_seconds, ledger.business_due to authenticated, analyst, service_role;

create view analytics.live_status with (security_invoker = true) as
select
  zones.account_id, now() as as_of, zones.time_zone, looks.checked_at,
  case when looks.checked_at is null or looks.checked_at < now() - interval '3 minutes' then 'unknown'
    when uptime.is_down then 'down' when coalesce(services.state, 'unknown') = 'unknown' then 'unknown' else 'up' end as service_state,
  uptime.share as uptime_30d,
  jsonb_build_object('since', services.since, 'message', services.message, 'hint', services.hint,
    'first_check_at', uptime.began_at, 'measured_seconds', uptime.measured, 'down_seconds', uptime.down,
    'unmeasured_seconds', uptime.unmeasured, 'downtimes', uptime.downtimes, 'checks', looks.checks) as service,
  jsonb_build_object('chatwoot_api', answers.told, 'first_response', replies.told) as response_times,
  jsonb_build_object('open', load.open, 'pending', load.pending, 'snoozed', load.snoozed,
    'resolved_today', today.resolved, 'waiting', load.waiting, 'waiting_longest_seconds', load.longest_wait,
    'waiting_usual', normal.usual, 'waiting_pressure', load.waiting / greatest(coalesce(normal.usual, 25), 10)) as conversations,
  kept.compliance as sla_compliance,
  jsonb_build_object('clock', 'first_response', 'measured_by', kept.measured_by, 'met_today', kept.met,
    'breached_today', kept.breached, 'overdue_now', kept.overdue, 'breaches', coalesce(kept.breaches, '[]')) as sla,
  coalesce(load.channels, '[]') as channels,
  coalesce(load.agents, '[]') as agents,
  coalesce(alerts.told, '[]') as alerts
from analytics.time_zones as zones
-- Each of these is one row, and runs once an account.
cross join lateral (
  select max(checks.checked_at) filter (where checks.account_id = 0) as checked_at,
    jsonb_agg(jsonb_build_object('name', checks.name, 'subject', nullif(checks.subject, ''), 'state', checks.state,
      'since', checks.since, 'message', checks.message, 'hint', checks.hint) order by checks.state, checks.name, checks.subject)
      filter (where checks.state in ('warn', 'fail')) as checks
  from ops.health_checks as checks
  where checks.account_id in (0, zones.account_id) and checks.checked_at > now() - interval '1 hour'
) as looks
left join ops.health_checks as services on services.account_id = zones.account_id and services.name = 'service'
  and services.subject = 'chatwoot'
cross join lateral (
  select counted.is_down, counted.began_at, counted.down, counted.unmeasured, lengths.measured, counted.downtimes,
    case when lengths.measured > 0 then greatest(1 - counted.down / lengths.measured, 0) end as share
  from (
    select firsts.began_at, coalesce(bool_or(gaps.state = 'down' and gaps.ended_at is null), false) as is_down,
      coalesce(sum(gaps.seconds) filter (where gaps.state = 'down'), 0) as down,
      coalesce(sum(gaps.seconds) filter (where gaps.state = 'unmeasured'), 0) as unmeasured,
      coalesce(jsonb_agg(jsonb_build_object('started_at', gaps.started_at, 'ended_at', gaps.ended_at,
        'seconds', round(gaps.seconds::numeric), 'state', gaps.state, 'reason', gaps.reason) order by gaps.started_at desc)
        filter (where gaps.place <= 50), '[]') as downtimes
    from (
      select case when min(hours.hour) is not null then greatest(min(hours.hour), now() - interval '30 days') end as began_at from ops.health_hours as hours
      where hours.account_id = zones.account_id and hours.name = 'service' and hours.subject = 'chatwoot'
    ) as firsts
    left join lateral (
      select intervals.*, row_number() over (order by intervals.started_at desc) as place,
        extract(epoch from coalesce(intervals.ended_at, now()) - greatest(intervals.started_at, firsts.began_at))::double precision
          as seconds
      from ops.service_intervals as intervals
      where ((intervals.account_id = zones.account_id and intervals.service = 'chatwoot')
          or (intervals.account_id = 0 and intervals.service = 'checks'))
        and coalesce(intervals.ended_at, now()) > firsts.began_at
    ) as gaps on true
    group by firsts.began_at
  ) as counted
  cross join lateral (
    select extract(epoch from now() - counted.began_at)::double precision - counted.unmeasured as measured
  ) as lengths
) as uptime
cross join lateral (
  select jsonb_build_object('hours', 24, 'n', count(history.value), 'median_ms', round((percentile_cont(0.5) within group (order by history.value))::numeric),
    'p90_ms', round((percentile_cont(0.9) within group (order by history.value))::numeric),
    'p99_ms', round((percentile_cont(0.99) within group (order by history.value))::numeric)) as told
  from ops.health_history as history
  where history.account_id = zones.account_id and history.name = 'chatwoot_api' and history.subject = ''
    and history.checked_at > now() - interval '24 hours'
) as answers
cross join lateral (
  select (date_trunc('day', now() at time zone zones.time_zone)) at time zone zones.time_zone as midnight
) as days
-- The replies themselves, since three of the numbers below are taken from them.
cross join lateral (
  select jsonb_build_object('hours', 24, 'n', count(*), 'median_seconds', percentile_cont(0.5) within group (order by firsts.seconds),
      -- Of few, the ends say nothing.
      'p90_seconds', case when count(*) >= 20 then percentile_cont(0.9) within group (order by firsts.seconds) end,
      'p99_seconds', case when count(*) >= 200 then percentile_cont(0.99) within group (order by firsts.seconds) end) as told,
    count(*) filter (where firsts.first_human_at >= days.midnight and firsts.seconds <= ops.default_target_seconds())
      as within_target,
    array_agg(firsts.inbox_id) as inboxes, array_agg(firsts.seconds) as lengths
  from (
    select episodes.inbox_id, episodes.first_human_at, extract(epoch from episodes.first_human_business_at
      - coalesce(episodes.clock_started_business_at, episodes.first_customer_business_at))::double precision as seconds
    from ledger.episodes
    where episodes.first_human_at > now() - interval '24 hours' and episodes.first_human_at <= now()
      and episodes.account_id = zones.account_id and episodes.is_outbound is false
      and (episodes.labels = '[]' or not episodes.labels::jsonb ?| '{spam,test,imported}')
  ) as firsts
  where firsts.seconds is not null
) as replies
cross join lateral (
  select count(*) as resolved from ledger.episodes
  where episodes.status = 'resolved' and episodes.last_resolved_at >= days.midnight
    -- No day is longer, and of an instant that it can work out beforehand the planner knows how few rows lie after it.
    and episodes.last_resolved_at > now() - interval '26 hours'
    and episodes.last_resolved_at <= now() and episodes.account_id = zones.account_id
    and (episodes.labels = '[]' or not episodes.labels::jsonb ?| '{spam,test,imported}')
) as today
left join lateral (
  select case when cardinality(weeks.samples) >= 3
    then (select percentile_cont(0.75) within group (order by sample) from unnest(weeks.samples) as sample) end as usual
  from ops.normal_hours as weeks
  where weeks.account_id = zones.account_id and weeks.subject = 'queue'
    and weeks.hour_of_week = extract(isodow from now() at time zone zones.time_zone) * 24 - 24
      + extract(hour from now() at time zone zones.time_zone)
) as normal on true
cross join lateral (
  with unresolved as materialized (
    select episodes.inbox_id, episodes.status, episodes.holder,
      case when episodes.status = 'open' then extract(epoch from now() - episodes.waiting_since)::double precision end as wait
    from ledger.episodes
    where episodes.account_id = zones.account_id and episodes.status <> 'resolved'
      and (episodes.labels = '[]' or not episodes.labels::jsonb ?| '{spam,test,imported}')
      -- Asked of nobody in particular, so that the few there are stand ready in a hash.
      and (episodes.account_id, episodes.display_id) not in (
        select merges.account_id, merges.child_display_id from ledger.merges
        union all
        select gone.account_id, gone.display_id from chatwoot.conversations as gone where gone.deleted_at is not null)
  ), grouped as materialized (
    select unresolved.inbox_id, unresolved.holder, count(*) filter (where unresolved.status = 'open') as open,
      count(*) filter (where unresolved.status = 'pending') as pending,
      count(*) filter (where unresolved.status = 'snoozed') as snoozed,
      count(unresolved.wait) as waiting, max(unresolved.wait) as longest_wait
    from unresolved group by unresolved.inbox_id, unresolved.holder
  ), writers as (
    -- What Chatwoot says of who is signed in is some minutes old, or not known; who has written of late was there.
    select messages.sender_kind as kind, messages.sender_id as agent_id, max(messages.created_at) as last_wrote_at
    from chatwoot.messages
    where messages.created_at > now() - interval '1 hour' and messages.account_id = zones.account_id
      and messages.message_type in ('outgoing', 'template') and messages.sender_kind <> 'contact'
    group by messages.sender_kind, messages.sender_id
  )
  select coalesce(sum(grouped.open), 0)::bigint as open, coalesce(sum(grouped.pending), 0)::bigint as pending,
    coalesce(sum(grouped.snoozed), 0)::bigint as snoozed, coalesce(sum(grouped.waiting), 0)::bigint as waiting,
    max(grouped.longest_wait) as longest_wait,
    (
      select jsonb_agg(jsonb_build_object('inbox_id', inboxes.inbox_id, 'name', inboxes.name, 'channel', inboxes.channel,
          'open', coalesce(held.open, 0), 'pending', coalesce(held.pending, 0), 'snoozed', coalesce(held.snoozed, 0),
          'waiting', coalesce(held.waiting, 0), 'longest_wait_seconds', held.longest_wait,
          'started_today', coalesce(begun.number, 0), 'first_responses_24h', coalesce(firsts.number, 0),
          'first_response_median_seconds', firsts.median, 'arrivals', arrivals.state, 'arrivals_message', arrivals.message)
        order by coalesce(held.waiting, 0) desc, coalesce(held.open, 0) desc, inboxes.inbox_id)
      from chatwoot.inboxes
      left join (select parts.inbox_id, sum(parts.open) as open, sum(parts.pending) as pending, sum(parts.snoozed) as snoozed,
          sum(parts.waiting) as waiting, max(parts.longest_wait) as longest_wait
        from grouped as parts group by parts.inbox_id) as held on held.inbox_id = inboxes.inbox_id
      left join (select episodes.inbox_id, count(*) as number from ledger.episodes
        where episodes.started_at >= days.midnight and episodes.started_at > now() - interval '26 hours'
          and episodes.started_at <= now() and episodes.account_id = zones.account_id
          and (episodes.labels = '[]' or not episodes.labels::jsonb ?| '{spam,test,imported}')
          and (episodes.account_id, episodes.display_id) not in (
            select merges.account_id, merges.child_display_id from ledger.merges
            union all
            select gone.account_id, gone.display_id from chatwoot.conversations as gone where gone.deleted_at is not null)
        group by episodes.inbox_id) as begun on begun.inbox_id = inboxes.inbox_id
      left join (select pairs.inbox_id, count(*) as number, percentile_cont(0.5) within group (order by pairs.seconds) as median
        from unnest(replies.inboxes, replies.lengths) as pairs (inbox_id, seconds)
        group by pairs.inbox_id) as firsts on firsts.inbox_id = inboxes.inbox_id
      left join ops.health_checks as arrivals on arrivals.account_id = zones.account_id
        and arrivals.name = 'channel_arrival' and arrivals.subject = 'inbox:' || inboxes.inbox_id
      where inboxes.account_id = zones.account_id and inboxes.deleted_at is null
    ) as channels,
    (
      select jsonb_agg(jsonb_build_object('kind', held.kind, 'agent_id', held.agent_id,
          'name', coalesce(agents.available_name, agents.name), 'availability', agents.availability,
          'open', held.open, 'waiting', held.waiting, 'longest_wait_seconds', held.longest_wait, 'last_wrote_at', held.last_wrote_at,
          'is_active', held.last_wrote_at is not null) order by held.waiting desc, held.open desc, held.last_wrote_at desc nulls last, held.kind, held.agent_id)
      from (
        select people.kind, people.agent_id, coalesce(sum(people.open), 0) as open, coalesce(sum(people.waiting), 0) as waiting,
          max(people.longest_wait) as longest_wait, max(people.last_wrote_at) as last_wrote_at
        from (
          select case when parts.holder in ('', '?') then 'nobody' else split_part(parts.holder, ':', 1) end as kind,
            case when parts.holder not in ('', '?') then split_part(parts.holder, ':', 2)::bigint end as agent_id,
            parts.open, parts.waiting, parts.longest_wait, null::timestamptz as last_wrote_at
          from grouped as parts
          union all
          select writers.kind, writers.agent_id, 0, 0, null, writers.last_wrote_at from writers
          union all
          -- Who holds nothing could take something.
          select idle.kind, idle.agent_id, 0, 0, null, null from chatwoot.agents as idle
          where idle.account_id = zones.account_id and idle.deleted_at is null
        ) as people
        group by people.kind, people.agent_id
        order by 4 desc, 3 desc, max(people.last_wrote_at) desc nulls last limit 200
      ) as held
      left join chatwoot.agents on agents.account_id = zones.account_id and agents.kind = held.kind
        and agents.agent_id = held.agent_id
      where agents.deleted_at is null or held.open > 0
    ) as agents
  from grouped
) as load
cross join lateral (
  select policies.is_there,
    case when policies.is_there then 'policies'
      else format('%s minutes of business hours', ops.default_target_seconds() / 60) end as measured_by,
    numbers.met, numbers.breached, numbers.met::double precision / nullif(numbers.met + numbers.breached, 0) as compliance,
    case when policies.is_there then promised.overdue else unpromised.overdue end as overdue,
    case when policies.is_there then promised.breaches else unpromised.breaches end as breaches
  from (select exists (select from sla.policies where policies.account_id = zones.account_id and policies.valid_until is null)
    as is_there offset 0) as policies
  -- Of the two only the one that counts is read.
  cross join lateral (
    select count(*) filter (where clocks.outcome = 'met') as met,
      count(*) filter (where clocks.outcome = 'breached') as breached,
      -- Late for some seconds, and the sweep has not come by.
      (select count(*) from sla.clocks as due where policies.is_there and due.state = 'running' and due.due_at < now()
        and due.due_at >= days.midnight and due.due_at > now() - interval '26 hours' and due.account_id = zones.account_id and due.breach_at is null
        and due.clock = 'first_response') as unnoticed,
      (select count(*) from sla.clocks as due where policies.is_there and due.state = 'running' and due.due_at < now()
        and due.account_id = zones.account_id and due.clock = 'first_response') as overdue,
      (select jsonb_agg(jsonb_build_object('display_id', newest.display_id, 'clock', newest.clock, 'due_at', newest.due_at,
          'breach_at', newest.breach_at, 'answered_at', case when newest.stopped_as = 'reply' then newest.stopped_at end,
          'overdue_seconds', round(extract(epoch from coalesce(newest.stopped_at, now()) - newest.breach_at)),
          'target_seconds', newest.target_seconds, 'inbox_id', episodes.inbox_id, 'team_id', nullif(episodes.team, '')::bigint,
          'holder', nullif(episodes.holder, '')) order by newest.breach_at desc)
        from (select clocks.* from sla.clocks
          where policies.is_there and clocks.breach_at >= now() - interval '7 days' and clocks.breach_at <= now()
            and clocks.account_id = zones.account_id and clocks.outcome = 'breached'
          order by clocks.breach_at desc limit 20) as newest
        left join ledger.episodes on episodes.account_id = newest.account_id and episodes.display_id = newest.display_id
          and episodes.episode = newest.episode) as breaches
    from sla.clocks
    where policies.is_there and least(clocks.stopped_at, clocks.breach_at) >= days.midnight
      and least(clocks.stopped_at, clocks.breach_at) > now() - interval '26 hours'
      and least(clocks.stopped_at, clocks.breach_at) <= now()
      and clocks.account_id = zones.account_id and clocks.clock = 'first_response'
  ) as promised
  cross join lateral (
    -- Each calendar's clock is read twice, and not once a conversation: what it showed at midnight and shows now says of
    -- each target whether it ran out today.
    with hours as materialized (
      select coalesce(every.calendar_id, 0) as calendar,
        ledger.business_clock(zones.account_id, every.calendar_id, days.midnight) as midnight_business,
        ledger.business_clock(zones.account_id, every.calendar_id, now()) as now_business
      from (select calendars.calendar_id from ledger.calendars where calendars.account_id = zones.account_id
        union all select null) as every
      where not policies.is_there
    ), late as materialized (
      select hours.calendar, told.*, told.target_business_at > hours.midnight_business as is_today
      from hours
      join ops.late_first_responses as told on coalesce(told.calendar_id, 0) = hours.calendar
        and told.target_business_at < hours.now_business
      where not policies.is_there and told.account_id = zones.account_id
        and told.ended_at >= days.midnight and told.ended_at > now() - interval '26 hours'
    )
    select count(*) filter (where late.is_today) as breached, count(*) filter (where late.ended_at = 'infinity') as overdue,
      (select jsonb_agg(jsonb_build_object('display_id', newest.display_id, 'clock', 'first_response', 'due_at', newest.due_at,
          'breach_at', newest.due_at, 'answered_at', newest.answered_at,
          'overdue_seconds', round(extract(epoch from least(newest.ended_at, now()) - newest.due_at)),
          'target_seconds', ops.default_target_seconds(), 'inbox_id', newest.inbox_id, 'team_id', nullif(newest.team, '')::bigint,
          'holder', nullif(newest.holder, '')) order by newest.due_at desc)
        from (
          -- Within a calendar the targets run out in the order of its clock, so the newest 20 are among these.
          select few.*, ledger.business_due(few.account_id, few.calendar_id, few.started_at, ops.default_target_seconds()) as due_at
          from hours
          cross join lateral (select late.* from late where late.is_today and late.calendar = hours.calendar
            order by late.target_business_at desc limit 20) as few
          order by due_at desc limit 20
        ) as newest) as breaches
    from late
  ) as unpromised
  cross join lateral (
    select case when policies.is_there then promised.met else replies.within_target end as met,
      case when policies.is_there then promised.breached + promised.unnoticed else unpromised.breached end as breached
  ) as numbers
) as kept
cross join lateral (
  select jsonb_agg(jsonb_build_object('alert_id', raised.alert_id, 'kind', raised.kind, 'subject', raised.subject,
    'severity', raised.severity, 'message', raised.message, 'hint', raised.hint, 'since', raised.raised_at,
    'acknowledged_by', raised.acknowledged_by, 'snoozed_until', raised.snoozed_until)
    order by raised.severity desc, raised.raised_at) as told
  from (select alerts.* from ops.alerts where alerts.account_id = zones.account_id and alerts.resolved_at is null
    order by alerts.severity desc, alerts.raised_at limit 50) as raised
) as alerts;
comment on view analytics.live_status is
  'One row an account, this second: service uptime, response times (Chatwoot''s API and the team''s), conversations, service levels, channels, agents, and the alerts that last. For a page that asks every few seconds.';
comment on column analytics.live_status.account_id is 'Chatwoot''s account id.';
comment on column analytics.live_status.as_of is 'The instant of the row (UTC).';
comment on column analytics.live_status.time_zone is 'The zone in which today is meant.';
comment on column analytics.live_status.checked_at is 'When health was last checked (UTC); null for never. Older than three minutes: cron stands still.';
comment on column analytics.live_status.service_state is 'up, down, or unknown: nothing was checked of late, or there is no REST door through which Chatwoot can be asked.';
comment on column analytics.live_status.uptime_30d is 'Share of the measured time of the last 30 days in which Chatwoot answered, 0 to 1; null before the first check.';
comment on column analytics.live_status.service is 'since when it is so, seconds measured, down and unmeasured in 30 days, the newest 50 downtimes (state down, or unmeasured: nobody looked) and the checks that are not ok.';
comment on column analytics.live_status.response_times is 'chatwoot_api: milliseconds of the last 24 hours (n, median, p90, p99); first_response: the team''s, seconds of business hours, of the replies of the last 24 hours (p90 from 20 on, p99 from 200 on).';
comment on column analytics.live_status.conversations is 'open, pending, snoozed, resolved_today, waiting (customers without a reply) and what is usual of that at this hour of the week (null until three weeks are known).';
comment on column analytics.live_status.sla_compliance is 'Share of today''s first responses in time, 0 to 1: by the account''s policies, or by the default target (15 minutes of business hours) where it has none; null for none yet. One that is still waited for counts as too late once it is.';
comment on column analytics.live_status.sla is 'First responses in time and too late today, overdue now, and the newest 20 breaches with who holds them: of the last week and any clock, or where the account has no policy of today.';
comment on column analytics.live_status.channels is 'One object an inbox: load, longest wait, begun today, first responses, and whether customers write as usual.';
comment on column analytics.live_status.agents is 'One object a person or bot (200 at most, the busiest first), and one for what nobody holds: availability of a person as of the last reading of Chatwoot''s list (online, busy or offline; null where not known), open load, customers who wait, longest wait, and when they last wrote within the hour.';
comment on column analytics.live_status.alerts is 'Alerts that last, worst first, at most 50.';
grant select on analytics.live_status to authenticated, analyst, service_role;
