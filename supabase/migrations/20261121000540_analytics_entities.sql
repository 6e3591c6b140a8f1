-- Times and rates of a group of episodes, the same columns whatever it is grouped by. Percentiles neither add nor average,
-- so each grouping is taken from the rows, and for any other there is analytics.metrics_by. A mean of response times never
-- stands without how many were answered and how many still wait.

-- Written once: the numbers of a group, from rows of analytics.episodes and one row more for each later reply.
do $$
declare
  c_included constant text := 'not episodes.flags && ''{spam,test,imported,merged_child,deleted}''';
  v_metric text;
  v_core text[] := array['frt', 'reply_time', 'ttr_full'];
  v_responses text[] := array['frt', 'frt_customer', 'frt_any', 'reply_time'];
  v_resolutions text[] := array['ttr_first', 'ttr_full', 'ttr_active', 'ttr_human'];
  v_every text[] := array['frt', 'frt_customer', 'frt_any', 'ttr_first', 'ttr_full', 'ttr_active', 'ttr_human'];
  v_cases text;
  v_counts text := '';
  v_inner text[];
  v_outer text[];
  v_view record;
  v_clock text;
  v_both text;
begin
  -- The rows that are counted: {from} and {where} say which, {key} by what.
  v_cases := 'select {key}, ' || c_included || ' as is_included, parts.is_episode,
      episodes.customer_messages, episodes.replied, episodes.waiting, episodes.closed_unreplied, episodes.status,
      episodes.first_resolved_at, episodes.reopens, episodes.durable, episodes.wait_current, parts.reply_time,
      parts.reply_time_business';
  foreach v_metric in array v_every loop
    v_cases := v_cases || format(',
      case when parts.is_episode then episodes.%1$I end as %1$I, case when parts.is_episode then episodes.%2$I end as %2$I',
      v_metric, v_metric || '_business');
  end loop;
  v_cases := v_cases || '
    from {from}
    cross join lateral (
      select true as is_episode, null::double precision as reply_time, null::double precision as reply_time_business
      union all
      select false, {replies}
    ) as parts
    where {where}
    -- Else each sum works its numbers out anew.
    offset 0';

  -- What is counted of the episodes, and what of that is shown.
  v_both := '
    count(*) filter (where cases.is_included and cases.is_episode) as n_included,
    count(*) filter (where not cases.is_included and cases.is_episode) as n_excluded,
    count(*) filter (where cases.is_included and cases.is_episode and cases.customer_messages > 0) as asked,
    count(*) filter (where cases.is_included and cases.is_episode and cases.replied) as replied,
    count(*) filter (where cases.is_included and cases.is_episode and cases.waiting) as n_waiting,
    max(cases.wait_current) filter (where cases.is_included and cases.is_episode) as longest_wait,
    count(*) filter (where cases.is_included and cases.is_episode and cases.closed_unreplied) as closed_unreplied,
    count(*) filter (where cases.is_included and cases.is_episode and cases.status = ''resolved'') as n_resolved,
    count(*) filter (where cases.is_included and cases.is_episode and cases.status <> ''resolved'') as n_unresolved,
    count(*) filter (where cases.is_included and cases.is_episode and cases.reopens > 0) as reopened,
    count(*) filter (where cases.is_included and cases.is_episode and cases.durable is not null) as durable_known,
    count(*) filter (where cases.is_included and cases.is_episode and cases.durable) as durable';

  for v_view in
    select * from (values
      -- name, period, keys, their columns, metrics, shown of the counts, names for ids, description
      ('response_times', 'day', 'episodes.inbox_id, episodes.team_id', array['inbox_id', 'team_id'], v_responses,
        array['asked', 'replied', 'response_rate', 'n_waiting', 'longest_wait', 'closed_unreplied'],
        'How long customers wait for a reply, by the local day on which the episode began, inbox and team. Numbers of past days move while their last customers wait: n_waiting says how many.'),
      ('resolution_times', 'day', 'episodes.inbox_id, episodes.team_id', array['inbox_id', 'team_id'], v_resolutions,
        array['n_resolved', 'n_unresolved', 'reopened', 'durable', 'durable_known', 'durable_rate'],
        'How long episodes take until they are resolved, by the local day on which they began, inbox and team. What is open has no ttr_full yet: n_unresolved says how many.'),
      ('teams', 'month', 'episodes.team_id', array['team_id'], v_core, null,
        'Each team by the local month in which its episodes began. An episode counts for the team it ended with.'),
      ('inboxes', 'month', 'episodes.inbox_id', array['inbox_id'], v_core, null,
        'Each inbox by the local month in which its episodes began.'),
      ('channels', 'month', 'episodes.channel', array['channel'], v_core, null,
        'Each kind of channel by the local month in which its episodes began.'),
      ('labels', 'month', 'titles.label', array['label'], v_core, null,
        'Each label by the local month in which its episodes began. An episode with two labels counts for both.')
    ) as views (name, period, keys, columns, metrics, counts, description)
  loop
    v_inner := '{}';
    v_outer := '{}';
    foreach v_metric in array v_view.metrics loop
      v_inner := v_inner || format('
    count(cases.%1$I) filter (where cases.is_included) as %2$I, avg(cases.%1$I) filter (where cases.is_included) as %3$I',
        v_metric, v_metric || '_n', v_metric || '_mean');
      v_outer := v_outer || format('counted.%I, counted.%I', v_metric || '_n', v_metric || '_mean');
      foreach v_clock in array array['', '_business'] loop
        v_inner := v_inner || format('
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by cases.%1$I) filter (where cases.is_included) as %1$I',
          v_metric || v_clock);
        v_outer := v_outer || format('counted.%1$I[1] as %2$I, counted.%1$I[2] as %3$I,
  case when counted.%6$I >= 20 then counted.%1$I[3] end as %4$I, case when counted.%6$I >= 40 then counted.%1$I[4] end as %5$I',
          v_metric || v_clock, v_metric || v_clock || '_p50', v_metric || v_clock || '_p75', v_metric || v_clock || '_p90',
          v_metric || v_clock || '_p95', v_metric || '_n');
      end loop;
    end loop;
    v_counts := array_to_string(array(
      select case shown.name
        when 'response_rate' then 'counted.replied::double precision / nullif(counted.asked, 0) as response_rate'
        when 'durable_rate' then 'counted.durable::double precision / nullif(counted.durable_known, 0) as durable_rate,
  analytics.wilson_lower(counted.durable, counted.durable_known) as durable_rate_low,
  analytics.wilson_upper(counted.durable, counted.durable_known) as durable_rate_high'
        else format('counted.%I', shown.name) end
      from unnest(coalesce(v_view.counts, array['asked', 'replied', 'response_rate', 'n_waiting', 'longest_wait',
        'closed_unreplied', 'n_resolved', 'n_unresolved', 'reopened', 'durable', 'durable_known', 'durable_rate'])) as shown (name)), ', ');
    execute format($view$create view analytics.%1$I with (security_invoker = true) as
select periods.account_id, periods.%2$I, periods.time_zone, %3$s, counted.n_included, counted.n_excluded, %4$s,
  %5$s
from analytics.%6$I as periods
cross join lateral (
  select %7$s,%8$s,%9$s
  from (
    %10$s
  ) as cases
  group by %7$s
) as counted
%11$s$view$,
      v_view.name, v_view.period,
      array_to_string(array(select 'counted.' || keys.name || case keys.name when 'inbox_id' then ', inboxes.name as inbox_name'
        when 'team_id' then ', teams.name as team_name' else '' end from unnest(v_view.columns) as keys (name)), ', '),
      v_counts, array_to_string(v_outer, E',\n  '), v_view.period || 's',
      array_to_string(array(select 'cases.' || keys.name from unnest(v_view.columns) as keys (name)), ', '),
      v_both, array_to_string(v_inner, ','),
      -- Both clocks in one look-up.
      replace(replace(replace(replace(v_cases, '{replies}', 'extract(epoch from spans.ended_at - spans.started_at)::double precision,
        extract(epoch from spans.ended_business_at - spans.started_business_at)::double precision
      from ledger.spans where spans.account_id = episodes.account_id and spans.display_id = episodes.display_id
        and spans.episode = episodes.episode and spans.kind = ''wait'' and spans.value = ''later'' and spans.closed_as = ''reply'''),
        '{key}', v_view.keys), '{from}', 'analytics.episodes' || case v_view.name
        when 'labels' then ' cross join lateral unnest(episodes.labels) as titles (label)' else '' end), '{where}',
        'episodes.account_id = periods.account_id and episodes.started_at >= periods.starts_at
      and episodes.started_at < periods.ends_at'),
      case when 'inbox_id' = any (v_view.columns) then 'left join chatwoot.inboxes on inboxes.account_id = periods.account_id
  and inboxes.inbox_id = counted.inbox_id
' else '' end || case when 'team_id' = any (v_view.columns) then 'left join chatwoot.teams on teams.account_id = periods.account_id
  and teams.team_id = counted.team_id' else '' end);
    execute format('comment on view analytics.%I is %L', v_view.name, v_view.description);
    continue when v_view.name <> 'response_times';

    -- The same by the day on which the reply was given. A scan of everything, since a reply is not found by its day.
    execute format($view$create view analytics.response_times_by_stop with (security_invoker = true) as
select counted.account_id, counted.day, counted.time_zone, counted.inbox_id, inboxes.name as inbox_name, counted.team_id,
  teams.name as team_name, counted.n_included, counted.n_excluded, %1$s,
  %2$s
from (
  select cases.account_id, (cases.stopped_at at time zone zones.time_zone)::date as day, zones.time_zone, cases.inbox_id,
    cases.team_id,
    count(distinct (cases.display_id, cases.episode)) filter (where cases.is_included) as n_included,
    count(distinct (cases.display_id, cases.episode)) filter (where not cases.is_included) as n_excluded,
    count(*) filter (where cases.is_included and cases.is_asked) as asked,
    count(*) filter (where cases.is_included and cases.what = 'first') as replied,
    count(*) filter (where cases.is_included and cases.what = 'waiting') as n_waiting,
    max(cases.wait_current) filter (where cases.is_included) as longest_wait,
    count(*) filter (where cases.is_included and cases.what = 'closed') as closed_unreplied,%3$s
  from (
    select episodes.account_id, episodes.inbox_id, episodes.team_id, episodes.display_id, episodes.episode,
      inclusion.is_included, parts.*
    from analytics.episodes
    cross join lateral (select %4$s as is_included offset 0) as inclusion
    cross join lateral (
      select 'first' as what, true as is_asked, episodes.first_human_at as stopped_at, episodes.frt, episodes.frt_business,
        episodes.frt_customer, episodes.frt_customer_business, null::double precision as frt_any,
        null::double precision as frt_any_business, null::double precision as reply_time,
        null::double precision as reply_time_business, null::double precision as wait_current
      where episodes.frt is not null
      union all
      select 'any', false, episodes.first_customer_at + make_interval(secs => episodes.frt_any), null, null, null, null,
        episodes.frt_any, episodes.frt_any_business, null, null, null
      where episodes.frt_any is not null
      union all
      select 'later', false, spans.ended_at, null, null, null, null, null, null,
        extract(epoch from spans.ended_at - spans.started_at)::double precision,
        extract(epoch from spans.ended_business_at - spans.started_business_at)::double precision, null
      from ledger.spans where spans.account_id = episodes.account_id and spans.display_id = episodes.display_id
        and spans.episode = episodes.episode and spans.kind = 'wait' and spans.value = 'later' and spans.closed_as = 'reply'
      union all
      select 'closed', true, episodes.ended_at, null, null, null, null, null, null, null, null, null
      where episodes.closed_unreplied
      union all
      -- Who has no reply yet counts today. What was closed unanswered and opened again may be without anybody who waits.
      select case when episodes.waiting then 'waiting' else 'unanswered' end, unanswered.is_asked, now(), null, null, null,
        null, null, null, null, null, episodes.wait_current
      from (
        select episodes.first_human_at is null and episodes.customer_messages > 0 and not episodes.is_outbound
          and not episodes.closed_unreplied as is_asked
      ) as unanswered
      where episodes.waiting or unanswered.is_asked
    ) as parts
  ) as cases
  join analytics.time_zones as zones on zones.account_id = cases.account_id
  group by 1, 2, 3, 4, 5
) as counted
left join chatwoot.inboxes on inboxes.account_id = counted.account_id and inboxes.inbox_id = counted.inbox_id
left join chatwoot.teams on teams.account_id = counted.account_id and teams.team_id = counted.team_id$view$,
      v_counts, array_to_string(v_outer, E',\n  '), array_to_string(v_inner, ','), c_included);
    comment on view analytics.response_times_by_stop is
      'How long customers waited for the replies that were given, by the local day of the reply, inbox and team: past days do not move. What was closed unanswered counts on the day it was closed, who waits now counts today.';
  end loop;

  -- By anything, between any two days.
  v_inner := '{}';
  v_outer := '{}';
  foreach v_metric in array array['frt', 'frt_customer', 'reply_time', 'ttr_first', 'ttr_full'] loop
    v_outer := v_outer || format('%I bigint, %I double precision', v_metric || '_n', v_metric || '_mean');
    v_inner := v_inner || format('counted.%I, counted.%I', v_metric || '_n', v_metric || '_mean');
    v_counts := format('
      count(cases.%1$I) filter (where cases.is_included) as %2$I, avg(cases.%1$I) filter (where cases.is_included) as %3$I',
      v_metric, v_metric || '_n', v_metric || '_mean');
    foreach v_clock in array array['', '_business'] loop
      v_counts := v_counts || format(',
      percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by cases.%1$I) filter (where cases.is_included) as %1$I',
        v_metric || v_clock);
      v_outer := v_outer || format('%I double precision, %I double precision, %I double precision, %I double precision',
        v_metric || v_clock || '_p50', v_metric || v_clock || '_p75', v_metric || v_clock || '_p90', v_metric || v_clock || '_p95');
      v_inner := v_inner || format('counted.%1$I[1], counted.%1$I[2], case when counted.%2$I >= 20 then counted.%1$I[3] end,
      case when counted.%2$I >= 40 then counted.%1$I[4] end', v_metric || v_clock, v_metric || '_n');
    end loop;
    v_both := v_both || ',' || v_counts;
  end loop;
  execute format($function$create function analytics.metrics_by(
  account_id bigint, since date, until date, by text default 'account'
) returns table (
  group_key text, n_included bigint, n_excluded bigint, asked bigint, replied bigint, response_rate double precision,
  n_waiting bigint, longest_wait double precision, closed_unreplied bigint, n_resolved bigint, n_unresolved bigint,
  reopened bigint, durable bigint, durable_known bigint, durable_rate double precision,
  durable_rate_low double precision, durable_rate_high double precision,
  %1$s
)
language plpgsql stable security invoker set search_path = '' as $body$
declare
  v_zone text := (select zones.time_zone from analytics.time_zones as zones where zones.account_id = metrics_by.account_id);
  v_since timestamptz;
  v_until timestamptz;
begin
  if metrics_by.by is null or metrics_by.by not in ('account', 'day', 'week', 'month', 'inbox', 'channel', 'team', 'agent', 'label',
    'priority', 'weekday', 'hour')
  then
    raise exception 'There is no grouping by %%', coalesce(metrics_by.by, 'null') using errcode = 'OC422',
      hint = 'Give account, day, week, month, weekday, hour, inbox, channel, team, agent, label or priority.';
  end if;
  if metrics_by.since is null or metrics_by.until is null or metrics_by.since > metrics_by.until
    or metrics_by.since < date '1970-01-01' or metrics_by.until > date '2999-12-31'
  then
    raise exception 'No days from %% until %%', coalesce(metrics_by.since::text, 'null'), coalesce(metrics_by.until::text, 'null')
      using errcode = 'OC422', hint = 'Give two local dates, the earlier one first; both days are counted.';
  end if;
  -- The same instants as in analytics.days, so that the numbers of days and of longer times agree.
  select min(days.starts_at), max(days.ends_at) into v_since, v_until from analytics.days
  where days.account_id = metrics_by.account_id and days.day between metrics_by.since and metrics_by.until;
  return query
  select counted.group_key, counted.n_included, counted.n_excluded, counted.asked, counted.replied,
    -- Who did not answer what nobody answered? Each agent's rate would be 1.
    case when metrics_by.by <> 'agent' then counted.replied::double precision / nullif(counted.asked, 0) end,
    counted.n_waiting, counted.longest_wait,
    counted.closed_unreplied, counted.n_resolved, counted.n_unresolved, counted.reopened, counted.durable,
    counted.durable_known, counted.durable::double precision / nullif(counted.durable_known, 0),
    analytics.wilson_lower(counted.durable, counted.durable_known),
    analytics.wilson_upper(counted.durable, counted.durable_known),
    %2$s
  from (
    select cases.group_key,%3$s
    from (
    %4$s
    ) as cases
    group by cases.group_key
  ) as counted
  order by 1;
end
$body$ $function$, array_to_string(v_outer, E',\n  '), array_to_string(v_inner, E',\n    '), v_both,
    -- By names of analytics alone, which whoever calls it may use.
    replace(replace(replace(replace(v_cases, '{replies}', 'replies.seconds, replies.business
      from unnest(episodes.reply_time, episodes.reply_time_business) as replies (seconds, business)'),
      '{key}', 'groups.group_key'), '{from}', $groups$analytics.episodes
    cross join lateral (
      select titles.label as group_key from unnest(episodes.labels) as titles (label) where metrics_by.by = 'label'
      union all
      select case metrics_by.by when 'account' then episodes.account_id::text when 'inbox' then episodes.inbox_id::text
        when 'channel' then episodes.channel when 'team' then episodes.team_id::text
        when 'agent' then episodes.first_reply_author::text when 'priority' then episodes.priority
        when 'day' then to_char(episodes.started_at at time zone v_zone, 'YYYY-MM-DD')
        when 'week' then to_char(episodes.started_at at time zone v_zone, 'IYYY-"W"IW')
        when 'month' then to_char(episodes.started_at at time zone v_zone, 'YYYY-MM')
        when 'weekday' then extract(dow from episodes.started_at at time zone v_zone)::text
        when 'hour' then to_char(episodes.started_at at time zone v_zone, 'HH24') end
      where metrics_by.by <> 'label'
    ) as groups$groups$), '{where}', 'episodes.account_id = metrics_by.account_id and episodes.started_at >= v_since
      and episodes.started_at < v_until'));
end
$$;
comment on function analytics.metrics_by is
  'Times and rates of the episodes that began from one local day to another (both counted), by account, day, week, month, weekday (0 is Sunday), hour, inbox, channel, team, agent (who gave the first reply), label or priority; group_key is the id, title or date. By agent response_rate is null: what nobody answered is nobody''s. For every grouping that no view has: percentiles cannot be added up. Errors: OC422.';

create view analytics.agents with (security_invoker = true) as
select
  months.account_id, months.month, months.time_zone, counted.agent_id, agents.name as agent_name, counted.n_included,
  counted.n_excluded, counted.first_replies, counted.replies, counted.resolved, counted.held, counted.held_business,
  counted.frt[1] as frt_p50, counted.frt[2] as frt_p75,
  case when counted.first_replies >= 20 then counted.frt[3] end as frt_p90,
  case when counted.first_replies >= 40 then counted.frt[4] end as frt_p95,
  counted.frt_business[1] as frt_business_p50, counted.frt_business[2] as frt_business_p75,
  case when counted.first_replies >= 20 then counted.frt_business[3] end as frt_business_p90,
  case when counted.first_replies >= 40 then counted.frt_business[4] end as frt_business_p95,
  counted.reply_time[1] as reply_time_p50, counted.reply_time[2] as reply_time_p75,
  case when counted.replies >= 20 then counted.reply_time[3] end as reply_time_p90,
  case when counted.replies >= 40 then counted.reply_time[4] end as reply_time_p95,
  counted.reply_time_business[1] as reply_time_business_p50, counted.reply_time_business[2] as reply_time_business_p75,
  case when counted.replies >= 20 then counted.reply_time_business[3] end as reply_time_business_p90,
  case when counted.replies >= 40 then counted.reply_time_business[4] end as reply_time_business_p95,
  counted.n_waiting, counted.durable, counted.durable_known,
  counted.durable::double precision / nullif(counted.durable_known, 0) as durable_rate,
  analytics.wilson_lower(counted.durable, counted.durable_known) as durable_rate_low,
  analytics.wilson_upper(counted.durable, counted.durable_known) as durable_rate_high,
  counted.csat_answered, counted.csat_positive,
  counted.csat_positive::double precision / nullif(counted.csat_answered, 0) as csat,
  analytics.wilson_lower(counted.csat_positive, counted.csat_answered) as csat_low,
  analytics.wilson_upper(counted.csat_positive, counted.csat_answered) as csat_high,
  (counted.csat_positive + 10 * 0.8::double precision) / (nullif(counted.csat_answered, 0) + 10) as csat_shrunken
from analytics.months
cross join lateral (
  select credits.agent_id,
    count(distinct (credits.display_id, credits.episode)) filter (where credits.is_included) as n_included,
    count(distinct (credits.display_id, credits.episode)) filter (where not credits.is_included) as n_excluded,
    count(credits.frt) filter (where credits.is_included) as first_replies,
    count(credits.reply_time) filter (where credits.is_included) as replies,
    count(*) filter (where credits.is_included and credits.what = 'resolved') as resolved,
    count(credits.durable) filter (where credits.is_included and credits.what = 'resolved') as durable_known,
    count(*) filter (where credits.is_included and credits.what = 'resolved' and credits.durable) as durable,
    coalesce(sum(credits.held) filter (where credits.is_included), 0) as held,
    coalesce(sum(credits.held_business) filter (where credits.is_included), 0) as held_business,
    count(*) filter (where credits.is_included and credits.what = 'waiting') as n_waiting,
    count(credits.rating) filter (where credits.is_included) as csat_answered,
    count(*) filter (where credits.is_included and credits.rating >= 4) as csat_positive,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by credits.frt)
      filter (where credits.is_included) as frt,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by credits.frt_business)
      filter (where credits.is_included) as frt_business,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by credits.reply_time)
      filter (where credits.is_included) as reply_time,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by credits.reply_time_business)
      filter (where credits.is_included) as reply_time_business
  from (
    select parts.*, episodes.display_id, episodes.episode, episodes.durable,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included
    from analytics.episodes
    cross join lateral (
      select 'first_reply' as what, episodes.first_reply_author as agent_id, episodes.frt, episodes.frt_business,
        null::double precision as reply_time, null::double precision as reply_time_business,
        null::double precision as held, null::double precision as held_business, null::smallint as rating
      where episodes.first_reply_author is not null
      union all
      select case spans.kind when 'wait' then 'reply' else 'held' end,
        case spans.kind when 'wait' then spans.actor_id else split_part(spans.value, ':', 2)::bigint end, null, null,
        case spans.kind when 'wait' then spans.seconds end, case spans.kind when 'wait' then spans.seconds_business end,
        case spans.kind when 'holder' then spans.seconds end, case spans.kind when 'holder' then spans.seconds_business end,
        null
      from analytics.spans
      where spans.account_id = episodes.account_id and spans.display_id = episodes.display_id
        and spans.episode = episodes.episode
        and ((spans.kind = 'wait' and spans.value = 'later' and spans.closed_as = 'reply' and spans.actor_id is not null)
          or (spans.kind = 'holder' and spans.value like 'user:%'))
      union all
      select 'resolved', episodes.resolved_by_id, null, null, null, null, null, null, null
      where episodes.last_resolved_at is not null and episodes.resolved_by_kind = 'user'
      union all
      select 'waiting', split_part(episodes.holder, ':', 2)::bigint, null, null, null, null, null, null, null
      where episodes.waiting and episodes.holder like 'user:%'
      union all
      select 'rated', episodes.csat_author, null, null, null, null, null, null, episodes.csat_rating
      where episodes.csat_author is not null and episodes.csat_rating is not null
    ) as parts
    where episodes.account_id = months.account_id
      and episodes.started_at >= months.starts_at and episodes.started_at < months.ends_at
    offset 0
  ) as credits
  group by credits.agent_id
) as counted
left join chatwoot.agents on agents.account_id = months.account_id and agents.kind = 'user'
  and agents.agent_id = counted.agent_id;
comment on view analytics.agents is
  'Each agent by the local month in which the episodes began: what they wrote counts for them, whoever it was assigned to. n_waiting are customers who wait in what they hold. What they have in hand now: agent_load.';

revoke all on function analytics.metrics_by from public, anon, authenticated, service_role;
grant execute on function analytics.metrics_by to authenticated, analyst, service_role;
grant select on all tables in schema analytics to authenticated, analyst, service_role;
