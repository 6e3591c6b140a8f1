-- Numbers over many episodes: volume, backlog, reopens, ratings, what bots achieved, and when it all happens. Counts come
-- with their denominators, since those add up where a rate does not. Whatever carries one of the flags spam, test,
-- imported, merged_child or deleted is in n_excluded and in no other number; analytics.exclusions says why.
--
-- Days and months are the account's own: each is a pair of instants, and what falls between them is looked up by them.
-- So a question about last week reads last week, and a day of 23 hours is a day.

-- A resolve or a reopen is looked up by when it was, what is not over by that it is not over.
create index episodes_last_resolved_idx on ledger.episodes (last_resolved_at, account_id) where status = 'resolved';
create index episodes_unresolved_idx on ledger.episodes (account_id, inbox_id) where status <> 'resolved';
create index spans_resolved_started_idx on ledger.spans (started_at, account_id)
  where kind = 'state' and value = 'resolved';
create index spans_resolved_ended_idx on ledger.spans (ended_at, account_id)
  where kind = 'state' and value = 'resolved';

create function analytics.wilson_lower(successes bigint, trials bigint) returns double precision
language sql immutable parallel safe security invoker set search_path = '' as $$
  -- 1.96 with all the digits a double has: the normal distribution's 97.5 %.
  select (p + z2 / (2 * n) - sqrt(z2) * sqrt((p * (1 - p) + z2 / (4 * n)) / n)) / (1 + z2 / n)
  from (select wilson_lower.successes::double precision / wilson_lower.trials as p,
    wilson_lower.trials::double precision as n, 1.959963984540054 ^ 2 as z2) as given
  where wilson_lower.trials > 0
$$;
comment on function analytics.wilson_lower is
  'Lower end of the Wilson 95 % interval of a share, 0 to 1: what the true share hardly lies below. Null without trials. Rank by it where numbers are small.';

create function analytics.wilson_upper(successes bigint, trials bigint) returns double precision
language sql immutable parallel safe security invoker set search_path = '' as $$
  select (p + z2 / (2 * n) + sqrt(z2) * sqrt((p * (1 - p) + z2 / (4 * n)) / n)) / (1 + z2 / n)
  from (select wilson_upper.successes::double precision / wilson_upper.trials as p,
    wilson_upper.trials::double precision as n, 1.959963984540054 ^ 2 as z2) as given
  where wilson_upper.trials > 0
$$;
comment on function analytics.wilson_upper is
  'Upper end of the Wilson 95 % interval of a share, 0 to 1: what the true share hardly lies above. Null without trials.';

create function analytics.kaplan_meier_median(seconds double precision[], is_over boolean[]) returns double precision
language sql immutable parallel safe security invoker set search_path = '' as $$
  select min(survival.seconds) from (
    select steps.seconds, exp(sum(case when steps.ended = steps.at_risk then '-Infinity'
      else ln(1 - steps.ended::double precision / steps.at_risk) end) over (order by steps.seconds)) as share
    from (
      select cases.seconds, count(*) filter (where cases.is_over) as ended,
        sum(count(*)) over (order by cases.seconds desc) as at_risk
      from unnest(kaplan_meier_median.seconds, kaplan_meier_median.is_over) as cases (seconds, is_over)
      where cases.seconds is not null and cases.is_over is not null
      group by cases.seconds
    ) as steps
  ) as survival
  -- A product of logarithms misses one half by the last digit.
  where survival.share <= 0.5 + 1e-9
$$;
comment on function analytics.kaplan_meier_median is
  'Median of lengths of which some still run (is_over false), by Kaplan and Meier; null while fewer than half are over. Over rows: kaplan_meier_median(array_agg(seconds), array_agg(is_over)).';

create view analytics.spans with (security_invoker = true) as
select
  spans.account_id, spans.display_id, spans.episode, spans.kind, spans.number, spans.value, spans.started_at,
  spans.ended_at, spans.ended_at is null as is_running,
  extract(epoch from coalesce(spans.ended_at, now()) - spans.started_at)::double precision as seconds,
  extract(epoch from case when spans.ended_at is null
      then ledger.business_clock(spans.account_id, episodes.calendar_id, now()) else spans.ended_business_at end
    - spans.started_business_at)::double precision as seconds_business,
  spans.opened_by, spans.closed_by, spans.closed_as, spans.actor_id
from ledger.spans
left join ledger.episodes on episodes.account_id = spans.account_id and episodes.display_id = spans.display_id
  and episodes.episode = spans.episode;
comment on view analytics.spans is
  'The intervals that the numbers of an episode are made of: waits of the customer, states, who held it. What still runs is counted up to now.';

create view analytics.wait_credits with (security_invoker = true) as
select
  waits.account_id, waits.display_id, waits.episode, waits.number,
  (select nullif(teams.value, '')::bigint from ledger.events as teams
    where teams.display_id = waits.display_id and teams.account_id = waits.account_id and teams.kind = 'team'
      and teams.unlearnt_at is null and teams.occurred_at <= waits.started_at
    order by teams.occurred_at desc, teams.place desc limit 1) as team_id,
  credits.holder, waits.started_at, waits.ended_at, credits.seconds::double precision as seconds,
  case when whole.seconds > 0 then credits.seconds / whole.seconds else 1 end::double precision as share,
  waits.closed_as, waits.ended_at is null as is_running,
  episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_excluded
from ledger.spans as waits
join analytics.episodes on episodes.account_id = waits.account_id and episodes.display_id = waits.display_id
  and episodes.episode = waits.episode
cross join lateral (select greatest(coalesce(waits.ended_at, now()), waits.started_at) as until) as ends
cross join lateral (select extract(epoch from ends.until - waits.started_at) as seconds) as whole
cross join lateral (
  select parts.holder, sum(parts.seconds) as seconds
  from (
    with held as materialized (
      select holders.value as holder, extract(epoch from least(coalesce(holders.ended_at, ends.until), ends.until)
        - greatest(holders.started_at, waits.started_at)) as seconds
      from ledger.spans as holders
      where holders.account_id = waits.account_id and holders.display_id = waits.display_id
        and holders.episode = waits.episode and holders.kind = 'holder'
        and (holders.started_at < ends.until or holders.started_at = waits.started_at)
        and (holders.ended_at > waits.started_at or holders.ended_at is null)
    )
    select held.holder, held.seconds from held
    union all
    -- What was resolved is with nobody, also while the customer has written and the status has not followed yet.
    select '', whole.seconds - coalesce(sum(held.seconds), 0) from held
    having whole.seconds > coalesce(sum(held.seconds), 0) or count(*) = 0
  ) as parts
  group by parts.holder
) as credits
where waits.kind = 'wait';
comment on view analytics.wait_credits is
  'Whose the waits of customers were: one row a wait and holder, credited with the time the holder had it while the customer waited. The seconds of a wait''s rows add up to the wait, their shares to 1. The team is the one it was with when the wait began.';

create view analytics.events with (security_invoker = true) as
select
  events.account_id, events.event_id, events.display_id, events.kind, events.occurred_at, events.place, events.class,
  events.value, events.previous, events.actor_kind, events.actor_id,
  nullif(case when events.kind = 'assignee' then events.value else coalesce((
    select held.value from ledger.events as held
    where held.display_id = events.display_id and held.account_id = events.account_id and held.kind = 'assignee'
      and held.unlearnt_at is null and held.occurred_at <= events.occurred_at
    order by held.occurred_at desc, held.place desc limit 1), '') end, '?') as assignee_at_event,
  events.source, events.source_id, events.learnt_at
from ledger.events where events.unlearnt_at is null;
comment on view analytics.events is 'The log of every conversation as it is known now, each event with the row it comes from.';

create view analytics.time_zones with (security_invoker = true) as
-- From the tables: within ops.setting() the analyst, who may not name what is in ops, would be refused.
select accounts.account_id, coalesce(settings.value, definitions.default_value) #>> '{}' as time_zone
-- An older Chatwoot names its inboxes and not its account.
from (select account_id from chatwoot.accounts union select account_id from chatwoot.inboxes) as accounts
join ops.setting_definitions as definitions on definitions.name = 'reporting_time_zone'
left join ops.settings on settings.account_id = accounts.account_id and settings.name = definitions.name;
comment on view analytics.time_zones is 'The zone whose midnight parts the days of each account: its setting reporting_time_zone.';

create view analytics.days with (security_invoker = true) as
select bounds.account_id, bounds.day, bounds.time_zone, bounds.starts_at, bounds.ends_at
from (
  select zones.account_id, dates.day, zones.time_zone,
    -- A midnight that comes twice counts from the first; one that never comes reads as the next instant there is.
    case when ((midnights.this_one - interval '1 hour') at time zone zones.time_zone)::date = dates.day
      then midnights.this_one - interval '1 hour' else midnights.this_one end as starts_at,
    case when ((midnights.next_one - interval '1 hour') at time zone zones.time_zone)::date = dates.day + 1
      then midnights.next_one - interval '1 hour' else midnights.next_one end as ends_at
  from analytics.time_zones as zones
  cross join lateral (
    -- A message of long before there was a Chatwoot is a mistake, and its days would be hundreds of thousands.
    select greatest(episodes.started_at, timestamptz '2010-01-01T00:00:00Z') as started_at from ledger.episodes
    where episodes.account_id = zones.account_id order by episodes.started_at limit 1
  ) as first_one
  cross join lateral (
    select (first_one.started_at at time zone zones.time_zone)::date + numbers.number as day
    from generate_series(0, (now() at time zone zones.time_zone)::date
      - (first_one.started_at at time zone zones.time_zone)::date) as numbers (number)
  ) as dates
  cross join lateral (
    select dates.day::timestamp at time zone zones.time_zone as this_one,
      (dates.day + 1)::timestamp at time zone zones.time_zone as next_one
  ) as midnights
) as bounds
-- A date that a zone left out has no instants.
where bounds.starts_at < bounds.ends_at;
comment on view analytics.days is
  'Every local day from an account''s first episode to today, with the instants at which it begins and ends: to be joined to anything that has an instant.';

create view analytics.months with (security_invoker = true) as
select
  days.account_id, date_trunc('month', days.day::timestamp)::date as month, days.time_zone,
  min(days.starts_at) as starts_at, max(days.ends_at) as ends_at
from analytics.days
group by days.account_id, date_trunc('month', days.day::timestamp)::date, days.time_zone;
comment on view analytics.months is
  'Every local month from an account''s first episode to now, with the instants at which it begins and ends; the first begins with the day of that episode.';

create view analytics.exclusions with (security_invoker = true) as
select days.account_id, days.day, days.time_zone, counted.reason, counted.episodes
from analytics.days
cross join lateral (
  select flags.reason, count(*) as episodes
  from analytics.episodes
  cross join lateral unnest(episodes.flags) as flags (reason)
  where episodes.account_id = days.account_id
    and episodes.started_at >= days.starts_at and episodes.started_at < days.ends_at
    and flags.reason in ('spam', 'test', 'imported', 'merged_child', 'deleted')
  group by flags.reason
) as counted;
comment on view analytics.exclusions is
  'What n_excluded stands for: episodes by the local day of their begin and by reason. One with two reasons is counted under both.';

create view analytics.episodes_by_day with (security_invoker = true) as
select days.account_id, days.day, days.time_zone, counted.inbox_id, inboxes.name as inbox_name,
  counted.episodes_created, counted.outbound_started, counted.reopened, counted.resolutions,
  counted.conversations_resolved, counted.contacts_helped, counted.n_included, counted.n_excluded
from analytics.days
cross join lateral (
  select happenings.inbox_id,
    count(*) filter (where happenings.is_included and happenings.what = 'created') as episodes_created,
    count(*) filter (where happenings.is_included and happenings.what = 'created' and happenings.is_outbound)
      as outbound_started,
    count(*) filter (where happenings.is_included and happenings.what = 'reopened') as reopened,
    count(*) filter (where happenings.is_included and happenings.what = 'resolved') as resolutions,
    count(distinct happenings.display_id) filter (where happenings.is_included and happenings.what = 'resolved')
      as conversations_resolved,
    count(distinct happenings.contact_id) filter (where happenings.is_included and happenings.what = 'resolved')
      as contacts_helped,
    count(*) filter (where happenings.is_included and happenings.what = 'created') as n_included,
    count(*) filter (where not happenings.is_included and happenings.what = 'created') as n_excluded
  from (
    select 'created' as what, episodes.inbox_id, episodes.display_id, episodes.contact_id, episodes.is_outbound,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included
    from analytics.episodes
    where episodes.account_id = days.account_id
      and episodes.started_at >= days.starts_at and episodes.started_at < days.ends_at
    union all
    select 'resolved', episodes.inbox_id, episodes.display_id, episodes.contact_id, episodes.is_outbound,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}'
    from analytics.episodes
    where episodes.account_id = days.account_id and episodes.status = 'resolved'
      and episodes.last_resolved_at >= days.starts_at and episodes.last_resolved_at < days.ends_at
    union all
    -- A resolve that a reopen ended. The first state of an episode was resolved before it.
    select 'resolved', episodes.inbox_id, episodes.display_id, episodes.contact_id, episodes.is_outbound,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}'
    from ledger.spans
    join analytics.episodes on episodes.account_id = spans.account_id and episodes.display_id = spans.display_id
      and episodes.episode = spans.episode
    where spans.account_id = days.account_id and spans.kind = 'state' and spans.value = 'resolved' and spans.number > 1
      and spans.started_at >= days.starts_at and spans.started_at < days.ends_at
    union all
    select 'reopened', episodes.inbox_id, episodes.display_id, episodes.contact_id, episodes.is_outbound,
      not episodes.flags && '{spam,test,imported,merged_child,deleted}'
    from ledger.spans
    join analytics.episodes on episodes.account_id = spans.account_id and episodes.display_id = spans.display_id
      and episodes.episode = spans.episode
    where spans.account_id = days.account_id and spans.kind = 'state' and spans.value = 'resolved' and spans.number > 1
      and spans.ended_at >= days.starts_at and spans.ended_at < days.ends_at
  ) as happenings
  group by happenings.inbox_id
) as counted
left join chatwoot.inboxes on inboxes.account_id = days.account_id and inboxes.inbox_id = counted.inbox_id;
comment on view analytics.episodes_by_day is
  'Volume: episodes created, reopened and resolved, by the local day on which that happened and by inbox; only where something did.';

create view analytics.backlog_by_day with (security_invoker = true) as
select
  account_days.account_id, account_days.day, account_days.time_zone,
  (sum(account_days.created + account_days.reopened - account_days.resolved) over until_then
    - (account_days.created + account_days.reopened - account_days.resolved))::bigint as backlog_start,
  account_days.created, account_days.reopened, account_days.resolved,
  sum(account_days.created + account_days.reopened - account_days.resolved) over until_then::bigint as backlog_end,
  sum(account_days.open) over until_then::bigint as open_end,
  sum(account_days.snoozed) over until_then::bigint as snoozed_end,
  sum(account_days.bot + account_days.third_party) over until_then::bigint as pending_end,
  sum(account_days.bot) over until_then::bigint as bot_end,
  sum(account_days.third_party) over until_then::bigint as third_party_end,
  account_days.n_included, account_days.n_excluded
from (
  select days.account_id, days.day, days.time_zone, coalesce(flows.created, 0) as created,
    coalesce(flows.reopened, 0) as reopened, coalesce(flows.resolved, 0) as resolved, coalesce(flows.open, 0) as open,
    coalesce(flows.snoozed, 0) as snoozed, coalesce(flows.bot, 0) as bot, coalesce(flows.third_party, 0) as third_party,
    coalesce(flows.n_included, 0) as n_included, coalesce(flows.n_excluded, 0) as n_excluded
  from analytics.days
  left join (
    select changes.account_id, (changes.at at time zone zones.time_zone)::date as day,
      sum(changes.created) filter (where changes.is_included) as created,
      sum(changes.reopened) filter (where changes.is_included) as reopened,
      sum(changes.resolved) filter (where changes.is_included) as resolved,
      sum(changes.step) filter (where changes.is_included and changes.state = 'open') as open,
      sum(changes.step) filter (where changes.is_included and changes.state = 'snoozed') as snoozed,
      sum(changes.step) filter (where changes.is_included and changes.state = 'bot') as bot,
      sum(changes.step) filter (where changes.is_included and changes.state = 'third_party') as third_party,
      sum(changes.created) filter (where changes.is_included) as n_included,
      sum(changes.created) filter (where not changes.is_included) as n_excluded
    from (
      -- Each state begins and ends; what is resolved now has no end, and so is no span.
      select spans.account_id, inclusion.is_included,
        spans.value as state, edges.at, edges.step,
        case when spans.number = 1 and (spans.value = 'resolved') = (edges.step = -1) then 1 else 0 end as created,
        case when spans.number > 1 and spans.value = 'resolved' and edges.step = -1 then 1 else 0 end as reopened,
        case when spans.number > 1 and spans.value = 'resolved' and edges.step = 1 then 1 else 0 end as resolved
      from ledger.spans
      join analytics.episodes on episodes.account_id = spans.account_id and episodes.display_id = spans.display_id
        and episodes.episode = spans.episode
      -- Offset 0: worked out once, not once for each sum.
      cross join lateral (select not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included offset 0)
        as inclusion
      cross join lateral (values (spans.started_at, 1), (spans.ended_at, -1)) as edges (at, step)
      where spans.kind = 'state' and edges.at is not null
      union all
      select episodes.account_id, inclusion.is_included, 'resolved', episodes.last_resolved_at, 1, 0, 0, 1
      from analytics.episodes
      cross join lateral (select not episodes.flags && '{spam,test,imported,merged_child,deleted}' as is_included offset 0)
        as inclusion
      where episodes.status = 'resolved' and episodes.last_resolved_at is not null
    ) as changes
    join analytics.time_zones as zones on zones.account_id = changes.account_id
    group by changes.account_id, (changes.at at time zone zones.time_zone)::date
  ) as flows on flows.account_id = days.account_id and flows.day = days.day
) as account_days
window until_then as (partition by account_days.account_id, account_days.time_zone order by account_days.day);
comment on view analytics.backlog_by_day is
  'Episodes not resolved at the end of each local day, today''s up to now: backlog_end = backlog_start + created + reopened - resolved, and also open_end + snoozed_end + pending_end.';

revoke all on function analytics.wilson_lower, analytics.wilson_upper, analytics.kaplan_meier_median
  from public, anon, authenticated, service_role;
-- Who reads a view also runs what it calls.
grant execute on function analytics.wilson_lower, analytics.wilson_upper, analytics.kaplan_meier_median
  to authenticated, analyst, service_role;
grant select on all tables in schema analytics to authenticated, analyst, service_role;
