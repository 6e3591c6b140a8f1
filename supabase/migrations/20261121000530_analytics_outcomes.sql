-- More numbers over many episodes: what is open now, how well it lasts, what customers and bots made of it, and when
-- customers come. The rules are those of 000520_analytics_metrics.

create view analytics.backlog_now with (security_invoker = true) as
select
  counted.account_id, counted.inbox_id, inboxes.name as inbox_name, counted.team_id, teams.name as team_name,
  counted.n_included, counted.n_excluded, counted.open, counted.snoozed, counted.pending, counted.n_waiting,
  counted.unassigned, counted.longest_wait,
  counted.age[1] as age_p50, counted.age[2] as age_p75,
  case when counted.n_included >= 20 then counted.age[3] end as age_p90,
  case when counted.n_included >= 40 then counted.age[4] end as age_p95
from (
  select cases.account_id, cases.inbox_id, cases.team_id,
    count(*) filter (where cases.is_included) as n_included, count(*) filter (where not cases.is_included) as n_excluded,
    count(*) filter (where cases.is_included and cases.status = 'open') as open,
    count(*) filter (where cases.is_included and cases.status = 'snoozed') as snoozed,
    count(*) filter (where cases.is_included and cases.status = 'pending') as pending,
    count(*) filter (where cases.is_included and cases.waiting) as n_waiting,
    count(*) filter (where cases.is_included and cases.holder is null) as unassigned,
    max(cases.wait_current) filter (where cases.is_included) as longest_wait,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (
      order by extract(epoch from now() - cases.started_at)::double precision) filter (where cases.is_included) as age
  from (
    select episodes.account_id, episodes.inbox_id, episodes.team_id, episodes.status, episodes.waiting, episodes.holder,
      episodes.wait_current, episodes.started_at, inclusion.is_included
    from analytics.episodes
    -- Offset 0: worked out once, not once for each sum.
    cross join lateral (select not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included offset 0)
      as inclusion
    where episodes.status <> 'resolved'
  ) as cases
  group by cases.account_id, cases.inbox_id, cases.team_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = counted.account_id and inboxes.inbox_id = counted.inbox_id
left join chatwoot.teams on teams.account_id = counted.account_id and teams.team_id = counted.team_id;
comment on view analytics.backlog_now is
  'What is not resolved now, by inbox and team: how much, how old, and how long the one who waits longest has waited.';

create view analytics.backlog_age with (security_invoker = true) as
select
  counted.account_id, counted.inbox_id, inboxes.name as inbox_name, counted.n_included, counted.n_excluded,
  counted.age[1] as age_p50, counted.age[2] as age_p75,
  case when counted.n_included >= 20 then counted.age[3] end as age_p90,
  case when counted.n_included >= 40 then counted.age[4] end as age_p95,
  counted.since_reply_n, counted.since_reply[1] as since_reply_p50, counted.since_reply[2] as since_reply_p75,
  case when counted.since_reply_n >= 20 then counted.since_reply[3] end as since_reply_p90,
  case when counted.since_reply_n >= 40 then counted.since_reply[4] end as since_reply_p95
from (
  select cases.account_id, cases.inbox_id,
    count(*) filter (where cases.is_included) as n_included, count(*) filter (where not cases.is_included) as n_excluded,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by cases.age) filter (where cases.is_included) as age,
    count(cases.since_reply) filter (where cases.is_included) as since_reply_n,
    percentile_cont(array[0.5, 0.75, 0.9, 0.95]) within group (order by cases.since_reply)
      filter (where cases.is_included) as since_reply
  from (
    select episodes.account_id, episodes.inbox_id, inclusion.is_included,
      extract(epoch from now() - episodes.started_at)::double precision as age,
      extract(epoch from now() - last_one.occurred_at)::double precision as since_reply
    from analytics.episodes
    cross join lateral (select not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included offset 0)
      as inclusion
    left join lateral (
      -- A message of ours that no wait ended with is one, too. Of what was merged into it the messages count here.
      select max(latest.occurred_at) as occurred_at
      from (
        select episodes.display_id
        union all
        select merges.child_display_id from ledger.merges
        where merges.account_id = episodes.account_id and merges.parent_display_id = episodes.display_id
      ) as sources
      cross join lateral (
        select words.occurred_at from ledger.events as words
        where words.display_id = sources.display_id and words.account_id = episodes.account_id
          and words.occurred_at >= episodes.first_human_at and words.class = 'human' and words.unlearnt_at is null
        order by words.occurred_at desc limit 1
      ) as latest
    ) as last_one on true
    where episodes.status <> 'resolved'
  ) as cases
  group by cases.account_id, cases.inbox_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = counted.account_id and inboxes.inbox_id = counted.inbox_id;
comment on view analytics.backlog_age is
  'How old what is not resolved now is, by inbox: since its begin, and since a person last wrote to the customer. What nobody has answered yet is in the first and not in the second: n_included and since_reply_n say how many.';

create view analytics.agent_load with (security_invoker = true) as
select
  counted.account_id, counted.agent_id, agents.name as agent_name, counted.n_included, counted.n_excluded, counted.open,
  counted.snoozed, counted.pending, counted.n_waiting, counted.urgent_waiting, counted.longest_wait, counted.load_points
from (
  select cases.account_id, cases.agent_id,
    count(*) filter (where cases.is_included) as n_included, count(*) filter (where not cases.is_included) as n_excluded,
    count(*) filter (where cases.is_included and cases.status = 'open') as open,
    count(*) filter (where cases.is_included and cases.status = 'snoozed') as snoozed,
    count(*) filter (where cases.is_included and cases.status = 'pending') as pending,
    count(*) filter (where cases.is_included and cases.waiting) as n_waiting,
    count(*) filter (where cases.is_included and cases.waiting and cases.priority = 'urgent') as urgent_waiting,
    max(cases.wait_current) filter (where cases.is_included) as longest_wait,
    coalesce(sum(case when not cases.waiting then 0.25 when cases.priority = 'urgent' then 2 else 1 end)
      filter (where cases.is_included), 0) as load_points
  from (
    select episodes.account_id, split_part(episodes.holder, ':', 2)::bigint as agent_id, episodes.status,
      episodes.waiting, episodes.priority, episodes.wait_current, inclusion.is_included
    from analytics.episodes
    cross join lateral (select not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included offset 0)
      as inclusion
    where episodes.status <> 'resolved' and episodes.holder like 'user:%'
  ) as cases
  group by cases.account_id, cases.agent_id
) as counted
left join chatwoot.agents on agents.account_id = counted.account_id and agents.kind = 'user'
  and agents.agent_id = counted.agent_id;
comment on view analytics.agent_load is
  'What each agent has in hand now. load_points: 1 for a customer who waits for us, 2 when urgent, a quarter for the others.';

create view analytics.reopen_rates with (security_invoker = true) as
select
  days.account_id, days.day, days.time_zone, counted.inbox_id, inboxes.name as inbox_name, counted.team_id,
  teams.name as team_name, counted.n_included, counted.n_excluded, counted.first_resolved, counted.reopened,
  counted.first_resolved_mature, counted.reopened_mature,
  counted.reopened_mature::double precision / nullif(counted.first_resolved_mature, 0) as reopen_rate,
  analytics.wilson_lower(counted.reopened_mature, counted.first_resolved_mature) as reopen_rate_low,
  analytics.wilson_upper(counted.reopened_mature, counted.first_resolved_mature) as reopen_rate_high,
  counted.resolutions_mature, counted.durable,
  counted.durable::double precision / nullif(counted.resolutions_mature, 0) as durable_rate,
  analytics.wilson_lower(counted.durable, counted.resolutions_mature) as durable_rate_low,
  analytics.wilson_upper(counted.durable, counted.resolutions_mature) as durable_rate_high
from analytics.days
cross join lateral (
  select resolves.inbox_id, resolves.team_id,
    count(*) filter (where resolves.is_included) as n_included,
    count(*) filter (where not resolves.is_included) as n_excluded,
    count(*) filter (where resolves.is_included and resolves.is_first) as first_resolved,
    count(*) filter (where resolves.is_included and resolves.is_first and resolves.is_reopened) as reopened,
    -- Only when the whole day can say it: who was reopened at once is known before who was not.
    count(*) filter (where resolves.is_included and resolves.is_first and days.ends_at + rules.episode_gap <= now())
      as first_resolved_mature,
    count(*) filter (where resolves.is_included and resolves.is_first and resolves.is_reopened
      and days.ends_at + rules.episode_gap <= now()) as reopened_mature,
    count(*) filter (where resolves.is_included and days.ends_at + resolves.durable_within <= now()) as resolutions_mature,
    count(*) filter (where resolves.is_included and days.ends_at + resolves.durable_within <= now() and resolves.durable)
      as durable
  from (
    select episodes.inbox_id, episodes.team_id,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included,
      episodes.resolutions = 1 as is_first, false as is_reopened, told.durable as durable_within, episodes.durable
    from analytics.episodes
    join ledger.episodes as told on told.account_id = episodes.account_id and told.display_id = episodes.display_id
      and told.episode = episodes.episode
    where episodes.account_id = days.account_id and episodes.status = 'resolved'
      and episodes.last_resolved_at >= days.starts_at and episodes.last_resolved_at < days.ends_at
    union all
    select episodes.inbox_id, episodes.team_id,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}',
      not exists (select from ledger.spans as earlier where earlier.account_id = spans.account_id
        and earlier.display_id = spans.display_id and earlier.episode = spans.episode and earlier.kind = 'state'
        and earlier.value = 'resolved' and earlier.number > 1 and earlier.number < spans.number),
      true, told.durable, spans.ended_at > spans.started_at + told.durable
    from ledger.spans
    join analytics.episodes on episodes.account_id = spans.account_id and episodes.display_id = spans.display_id
      and episodes.episode = spans.episode
    join ledger.episodes as told on told.account_id = spans.account_id and told.display_id = spans.display_id
      and told.episode = spans.episode
    where spans.account_id = days.account_id and spans.kind = 'state' and spans.value = 'resolved' and spans.number > 1
      and spans.started_at >= days.starts_at and spans.started_at < days.ends_at
  ) as resolves
  cross join lateral (
    select make_interval(secs => coalesce((
      select coalesce(own.episode_gap_seconds, shared.episode_gap_seconds)
      from (values (true)) as one (row)
      left join ledger.rules as own on own.account_id = days.account_id and own.inbox_id = resolves.inbox_id
      left join ledger.rules as shared on shared.account_id = days.account_id and shared.inbox_id = 0
    ), 259200)) as episode_gap
  ) as rules
  group by resolves.inbox_id, resolves.team_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = days.account_id and inboxes.inbox_id = counted.inbox_id
left join chatwoot.teams on teams.account_id = days.account_id and teams.team_id = counted.team_id;
comment on view analytics.reopen_rates is
  'How well resolves last, by the local day of the resolve, inbox and team. A rate waits until the whole day can say it: the episode gap after its end for reopens, the durable window for durable.';

create view analytics.reply_survival with (security_invoker = true) as
select
  months.account_id, months.month, months.time_zone, counted.inbox_id, inboxes.name as inbox_name, counted.n_included,
  counted.n_excluded, counted.n_replied, counted.n_waiting, counted.n_closed, counted.frt_median, counted.frt_p50
from analytics.months
cross join lateral (
  select cases.inbox_id,
    count(*) filter (where cases.is_included) as n_included, count(*) filter (where not cases.is_included) as n_excluded,
    count(*) filter (where cases.is_included and cases.is_replied) as n_replied,
    count(*) filter (where cases.is_included and not cases.is_replied and cases.waiting) as n_waiting,
    count(*) filter (where cases.is_included and not cases.is_replied and not cases.waiting) as n_closed,
    analytics.kaplan_meier_median(array_agg(cases.seconds) filter (where cases.is_included),
      array_agg(cases.is_replied) filter (where cases.is_included)) as frt_median,
    percentile_cont(0.5) within group (order by cases.seconds) filter (where cases.is_included and cases.is_replied)
      as frt_p50
  from (
    select episodes.inbox_id, episodes.first_human_at is not null as is_replied, episodes.waiting,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included,
      -- Who has no reply has waited until now, or until it was closed: no less than that.
      extract(epoch from coalesce(episodes.first_human_at, case when episodes.waiting then now() else episodes.ended_at end)
        - coalesce(told.clock_started_at, episodes.first_customer_at))::double precision as seconds
    from analytics.episodes
    join ledger.episodes as told on told.account_id = episodes.account_id and told.display_id = episodes.display_id
      and told.episode = episodes.episode
    where episodes.account_id = months.account_id
      and episodes.started_at >= months.starts_at and episodes.started_at < months.ends_at
      and told.is_outbound is false and episodes.first_customer_at is not null
      -- While a bot has it, nobody is waited for yet.
      and (told.is_clock_settled or told.clock_started_at is not null or episodes.first_human_at is not null)
    offset 0
  ) as cases
  where cases.seconds is not null
  group by cases.inbox_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = months.account_id and inboxes.inbox_id = counted.inbox_id;
comment on view analytics.reply_survival is
  'How long customers wait for a person''s first reply, those who still wait counted too (Kaplan and Meier), by the local month in which the episode began and by inbox. A median of the answered alone looks best when most are unanswered.';

create view analytics.volume_by_hour with (security_invoker = true) as
select
  days.account_id, days.day, days.time_zone, extract(dow from days.day)::integer as weekday, hours.hour,
  hours.hours, coalesce(counted.n_included, 0) as episodes_created, coalesce(counted.n_included, 0) as n_included,
  coalesce(counted.n_excluded, 0) as n_excluded
from analytics.days
cross join lateral (
  -- No zone's clock changes by less than a quarter of an hour.
  select extract(hour from quarters.at at time zone days.time_zone)::integer as hour, count(*) * 0.25 as hours
  from generate_series(days.starts_at, least(days.ends_at, now()) - interval '1 microsecond', interval '15 minutes')
    as quarters (at)
  group by 1
) as hours
left join lateral (
  select cases.hour, count(*) filter (where cases.is_included) as n_included,
    count(*) filter (where not cases.is_included) as n_excluded
  from (
    select extract(hour from episodes.started_at at time zone days.time_zone)::integer as hour,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included
    from analytics.episodes
    where episodes.account_id = days.account_id
      and episodes.started_at >= days.starts_at and episodes.started_at < days.ends_at
    offset 0
  ) as cases
  group by cases.hour
) as counted on counted.hour = hours.hour;
comment on view analytics.volume_by_hour is
  'Episodes by the local hour in which they began, one row an hour of every day. hours is how long that hour was: 2 where clocks went back, no row where they went forward, less at the hour that still runs.';

create view analytics.hour_of_week with (security_invoker = true) as
select
  volume_by_hour.account_id, volume_by_hour.time_zone, volume_by_hour.weekday, volume_by_hour.hour,
  sum(volume_by_hour.hours) as hours, sum(volume_by_hour.episodes_created)::bigint as episodes_created,
  (sum(volume_by_hour.episodes_created) / sum(volume_by_hour.hours))::double precision as episodes_per_hour,
  sum(volume_by_hour.n_included)::bigint as n_included, sum(volume_by_hour.n_excluded)::bigint as n_excluded
from analytics.volume_by_hour
group by volume_by_hour.account_id, volume_by_hour.time_zone, volume_by_hour.weekday, volume_by_hour.hour;
comment on view analytics.hour_of_week is
  'When customers come: episodes for each hour that carried the name, such as Sunday 02, since the first episode. Of a shorter time: the same sums over analytics.volume_by_hour.';

create view analytics.csat with (security_invoker = true) as
select
  episodes.account_id, episodes.display_id, episodes.episode, episodes.started_at, episodes.inbox_id, episodes.channel,
  episodes.team_id, surveys.created_at as surveyed_at, answers.answered_at, answers.rating, answers.first_rating,
  answers.rating >= 4 as is_positive,
  case when answers.first_rating < 4 and answers.rating >= 4 then 'improved'
    when answers.first_rating >= 4 and answers.rating < 4 then 'worsened' end as flip,
  episodes.csat_author as author_id, agents.name as author_name,
  case when episodes.human_replies > 0 and episodes.bot_replies > 0 then 'mixed'
    when episodes.human_replies > 0 then 'human' when episodes.bot_replies > 0 then 'bot' end as answered_by,
  inclusion.is_excluded
from analytics.episodes
cross join lateral (select episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_excluded offset 0)
  as inclusion
join ledger.episodes as told on told.account_id = episodes.account_id and told.display_id = episodes.display_id
  and told.episode = episodes.episode
left join chatwoot.messages as surveys on surveys.account_id = told.account_id
  and surveys.message_id = told.survey_message_id
left join lateral (
  select min(ratings.occurred_at) as answered_at,
    (array_agg(ratings.value::smallint order by ratings.learnt_at, ratings.event_id))[1] as first_rating,
    coalesce(
      (array_agg(ratings.value::smallint order by ratings.learnt_at desc, ratings.event_id desc)
        filter (where ratings.learnt_at <= ratings.occurred_at + interval '168 hours'))[1],
      (array_agg(ratings.value::smallint order by ratings.learnt_at, ratings.event_id))[1]) as rating
  from ledger.events as ratings
  where ratings.display_id = told.display_id and ratings.account_id = told.account_id and ratings.kind = 'csat'
    and ratings.source_id = told.survey_message_id::text
  having bool_or(ratings.unlearnt_at is null)
) as answers on true
left join chatwoot.agents on agents.account_id = episodes.account_id and agents.kind = 'user'
  and agents.agent_id = episodes.csat_author
where told.survey_message_id is not null;
comment on view analytics.csat is
  'Satisfaction surveys that reached the customer, one row an episode, with the last person who wrote before the survey. Whoever rates again is counted with the last rating of 7 days; the first is kept beside it.';

create view analytics.csat_by_month with (security_invoker = true) as
select
  counted.account_id, counted.month, counted.time_zone, counted.author_id, agents.name as author_name,
  counted.n_included, counted.n_excluded, counted.delivered, counted.answered,
  counted.answered::double precision / nullif(counted.delivered, 0) as response_rate,
  counted.positive, counted.positive::double precision / nullif(counted.answered, 0) as csat,
  analytics.wilson_lower(counted.positive, counted.answered) as csat_low,
  analytics.wilson_upper(counted.positive, counted.answered) as csat_high,
  -- As if ten more had answered, eight of them content.
  (counted.positive + 10 * 0.8::double precision) / (nullif(counted.answered, 0) + 10) as csat_shrunken,
  counted.rating_sum, counted.rating_sum::double precision / nullif(counted.answered, 0) as rating_mean,
  counted.neutral,
  counted.positive::double precision / nullif(counted.answered - counted.neutral, 0) as csat_without_neutral,
  counted.improved, counted.worsened
from (
  select csat.account_id,
    date_trunc('month', coalesce(csat.answered_at, csat.surveyed_at, csat.started_at) at time zone zones.time_zone)::date
      as month,
    zones.time_zone, csat.author_id,
    count(*) filter (where not csat.is_excluded) as n_included, count(*) filter (where csat.is_excluded) as n_excluded,
    count(*) filter (where not csat.is_excluded) as delivered,
    count(*) filter (where not csat.is_excluded and csat.rating is not null) as answered,
    count(*) filter (where not csat.is_excluded and csat.is_positive) as positive,
    count(*) filter (where not csat.is_excluded and csat.rating = 3) as neutral,
    coalesce(sum(csat.rating) filter (where not csat.is_excluded), 0) as rating_sum,
    count(*) filter (where not csat.is_excluded and csat.flip = 'improved') as improved,
    count(*) filter (where not csat.is_excluded and csat.flip = 'worsened') as worsened
  from analytics.csat
  join analytics.time_zones as zones on zones.account_id = csat.account_id
  group by 1, 2, 3, 4
) as counted
left join chatwoot.agents on agents.account_id = counted.account_id and agents.kind = 'user'
  and agents.agent_id = counted.author_id;
comment on view analytics.csat_by_month is
  'Ratings by the local month of the answer (of the survey, where there is none) and by who wrote last before the survey. Rank by csat_low or csat_shrunken: two good ratings of two say little.';

create view analytics.ai_episodes with (security_invoker = true) as
select
  episodes.account_id, episodes.display_id, episodes.episode, episodes.started_at, episodes.inbox_id, episodes.ai_class,
  episodes.ai_answered, episodes.csat_rating,
  case when episodes.ai_class = 'claimed_resolved' then coalesce(first_resolve.is_durable, episodes.durable) end as is_durable,
  case when episodes.ai_class = 'claimed_resolved' then episodes.csat_rating >= 4 end as is_confirmed,
  case when episodes.ai_class in ('claimed_resolved', 'abandoned') then
    case when last_word.class = 'customer' then 'customer_spoke_last'
      when episodes.first_resolved_at - last_word.occurred_at >= interval '1 hour' then 'inactivity'
      else 'after_last_answer' end end as close_reason,
  case when episodes.ai_class in ('claimed_resolved', 'abandoned')
    then extract(epoch from episodes.first_resolved_at - last_word.occurred_at)::double precision end as silence_before_close,
  episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_excluded
from analytics.episodes
left join lateral (
  select spans.ended_at > spans.started_at + told.durable as is_durable
  from ledger.spans
  join ledger.episodes as told on told.account_id = spans.account_id and told.display_id = spans.display_id
    and told.episode = spans.episode
  where spans.account_id = episodes.account_id and spans.display_id = episodes.display_id
    and spans.episode = episodes.episode and spans.kind = 'state' and spans.value = 'resolved' and spans.number > 1
    and episodes.reopens > 0
  order by spans.number limit 1
) as first_resolve on true
left join lateral (
  select words.class, words.occurred_at from ledger.events as words
  where words.display_id = episodes.display_id and words.account_id = episodes.account_id and words.kind = 'message'
    and words.class in ('customer', 'human', 'bot') and words.unlearnt_at is null
    and words.occurred_at between episodes.started_at and episodes.first_resolved_at
  order by words.occurred_at desc, words.place desc limit 1
) as last_word on true
where episodes.ai_involved;
comment on view analytics.ai_episodes is
  'Episodes in which a bot had a part, and what became of it: claimed_resolved, handed_off, assisted, abandoned or open; how a claimed or abandoned one was closed, and whether that lasted.';

create view analytics.ai_outcomes with (security_invoker = true) as
select
  days.account_id, days.day, days.time_zone, counted.inbox_id, inboxes.name as inbox_name, counted.n_included,
  counted.n_excluded, counted.eligible, counted.involved, counted.answered, counted.claimed_resolved, counted.handed_off,
  counted.assisted, counted.abandoned, counted.undecided, counted.confirmed, counted.durable, counted.not_durable,
  counted.closed_by_inactivity, counted.closed_customer_spoke_last, counted.closed_after_last_answer,
  counted.involved::double precision / nullif(counted.eligible, 0) as involvement_rate,
  counted.answered::double precision / nullif(counted.involved, 0) as answer_rate,
  counted.claimed_resolved::double precision / nullif(counted.involved, 0) as claimed_rate,
  counted.confirmed::double precision / nullif(counted.involved, 0) as confirmed_rate,
  counted.claimed_resolved::double precision / nullif(counted.eligible, 0) as automation_rate,
  -- Of those alone that had the time to come back.
  counted.durable::double precision / nullif(counted.durable + counted.not_durable, 0) as durable_share,
  analytics.wilson_lower(counted.durable, counted.durable + counted.not_durable) as durable_share_low,
  analytics.wilson_upper(counted.durable, counted.durable + counted.not_durable) as durable_share_high
from analytics.days
cross join lateral (
  select cases.inbox_id,
    count(*) filter (where cases.is_included) as n_included, count(*) filter (where not cases.is_included) as n_excluded,
    count(*) filter (where cases.is_included and cases.ai_eligible) as eligible,
    count(*) filter (where cases.is_included and cases.ai_involved) as involved,
    count(*) filter (where cases.is_included and cases.ai_answered) as answered,
    count(*) filter (where cases.is_included and cases.ai_class = 'claimed_resolved') as claimed_resolved,
    count(*) filter (where cases.is_included and cases.ai_class = 'handed_off') as handed_off,
    count(*) filter (where cases.is_included and cases.ai_class = 'assisted') as assisted,
    count(*) filter (where cases.is_included and cases.ai_class = 'abandoned') as abandoned,
    count(*) filter (where cases.is_included and cases.ai_class = 'open') as undecided,
    count(*) filter (where cases.is_included and cases.is_confirmed) as confirmed,
    count(*) filter (where cases.is_included and cases.is_durable) as durable,
    count(*) filter (where cases.is_included and not cases.is_durable) as not_durable,
    count(*) filter (where cases.is_included and cases.close_reason = 'inactivity') as closed_by_inactivity,
    count(*) filter (where cases.is_included and cases.close_reason = 'customer_spoke_last') as closed_customer_spoke_last,
    count(*) filter (where cases.is_included and cases.close_reason = 'after_last_answer') as closed_after_last_answer
  from (
    select episodes.inbox_id, not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included,
      episodes.ai_eligible, episodes.ai_involved, episodes.ai_answered, episodes.ai_class, ai_episodes.is_confirmed,
      ai_episodes.is_durable, ai_episodes.close_reason
    from analytics.episodes
    left join analytics.ai_episodes on ai_episodes.account_id = episodes.account_id
      and ai_episodes.display_id = episodes.display_id and ai_episodes.episode = episodes.episode
    where episodes.account_id = days.account_id
      and episodes.started_at >= days.starts_at and episodes.started_at < days.ends_at
    offset 0
  ) as cases
  group by cases.inbox_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = days.account_id and inboxes.inbox_id = counted.inbox_id;
comment on view analytics.ai_outcomes is
  'What bots achieved, by the local day on which the episode began and by inbox: claimed_resolved + handed_off + assisted + abandoned + undecided = involved. Every rate stands beside what it is divided by; sum those to go up.';

grant select on all tables in schema analytics to authenticated, analyst, service_role;
