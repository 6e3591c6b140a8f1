-- Service levels for analysts: every clock as it stands this second, what was breached, and how much was kept.
create view analytics.sla_clocks with (security_invoker = true) as
select clocks.account_id, clocks.display_id, clocks.episode, clocks.clock, clocks.instance, clocks.policy_id, clocks.version,
  named.name as policy_name, told.inbox_id, inboxes.name as inbox_name, nullif(told.team, '')::bigint as team_id,
  -- Subqueries and not joins: they are looked up only for whoever asks for them.
  coalesce(
    (select spans.actor_id from ledger.spans
      where spans.account_id = clocks.account_id and spans.display_id = clocks.display_id
        and spans.episode = clocks.episode and spans.kind = 'wait' and spans.number = clocks.span_number),
    (select case when holders.value like 'user:%' then split_part(holders.value, ':', 2)::bigint end from ledger.spans as holders
      where holders.account_id = clocks.account_id and holders.display_id = clocks.display_id
        and holders.episode = clocks.episode and holders.kind = 'holder' and holders.started_at <= coalesce(now_is.decided_at, now())
      order by holders.number desc limit 1)) as agent_id,
  (select nullif(changes.value, '') from ledger.events as changes
    where changes.display_id = clocks.display_id and changes.account_id = clocks.account_id and changes.kind = 'priority'
      and changes.unlearnt_at is null and changes.occurred_at <= coalesce(now_is.decided_at, now())
    order by changes.occurred_at desc, changes.place desc limit 1) as priority,
  clocks.state, clocks.started_at, clocks.stopped_at, clocks.stopped_as,
  clocks.target_seconds, clocks.calendar_id, clocks.applied_at, clocks.due_at, now_is.breach_at, now_is.outcome, now_is.decided_at,
  now_is.settled_at,
  spent.seconds as elapsed, spent.seconds - clocks.target_seconds as overrun, spent.seconds / clocks.target_seconds as consumed,
  clocks.clock = 'next_response' and clocks.stopped_as = 'resolved' as closed_unanswered,
  case when now_is.outcome = 'cancelled' then case when clocks.stopped_as = 'resolved' then 'closed_unreplied' else clocks.stopped_as end
    when told.labels <> '[]' and told.labels::jsonb ? 'spam' then 'spam'
    when told.labels <> '[]' and told.labels::jsonb ? 'test' then 'test'
    when told.labels <> '[]' and told.labels::jsonb ? 'imported' then 'imported' end as excluded_as
from sla.clocks
left join sla.policies as named on named.account_id = clocks.account_id and named.policy_id = clocks.policy_id
  and named.version = clocks.version
-- Looked up one by one: whoever asks for a week must not read the episodes of all years.
left join lateral (
  select episodes.inbox_id, episodes.team, episodes.labels from ledger.episodes
  where episodes.account_id = clocks.account_id and episodes.display_id = clocks.display_id
    and episodes.episode = clocks.episode limit 1
) as told on true
left join chatwoot.inboxes on inboxes.account_id = clocks.account_id and inboxes.inbox_id = told.inbox_id
cross join lateral (
  select coalesce(clocks.breach_at, case when clocks.state = 'running' and clocks.due_at < now()
    then greatest(clocks.due_at, clocks.applied_at) end) as breach_at
) as late
cross join lateral (
  select late.breach_at, case when late.breach_at is not null then 'breached' else clocks.outcome end as outcome,
    least(clocks.stopped_at, late.breach_at) as decided_at, least(clocks.stopped_at, clocks.breach_at) as settled_at
) as now_is
cross join lateral (
  select clocks.elapsed + case when clocks.running_since is null then 0
    else sla.spent(clocks.account_id, clocks.calendar_id, clocks.running_since, now()) end as seconds
) as spent;
comment on view analytics.sla_clocks is
  'Every clock as it stands now: a breach shows the second it happens, whatever the sweep did. elapsed, overrun and target_seconds are seconds of the clock''s hours.';

create view analytics.sla_breaches with (security_invoker = true) as
select clocks.account_id, clocks.display_id, clocks.episode, clocks.clock, clocks.instance, clocks.policy_id, clocks.version,
  clocks.policy_name, clocks.inbox_id, clocks.inbox_name, clocks.team_id, clocks.agent_id, clocks.priority,
  coalesce(found.due_at, clocks.due_at) as due_at, clocks.breach_at, clocks.started_at, clocks.stopped_at, clocks.stopped_as,
  clocks.target_seconds, clocks.elapsed, clocks.overrun, found.found_at,
  case when holding.holder <> '' then holding.holder end as held_by, coalesce(parked.seconds, 0) as parked_while_waiting,
  clocks.excluded_as
from analytics.sla_clocks as clocks
left join sla.breaches as found on found.account_id = clocks.account_id and found.display_id = clocks.display_id
  and found.episode = clocks.episode and found.clock = clocks.clock and found.instance = clocks.instance
left join lateral (
  select holders.value as holder from ledger.spans as holders
  where holders.account_id = clocks.account_id and holders.display_id = clocks.display_id
    and holders.episode = clocks.episode and holders.kind = 'holder' and holders.started_at <= clocks.breach_at
  order by holders.number desc limit 1
) as holding on true
left join lateral (
  select sum(extract(epoch from least(coalesce(waits.ended_at, now()), coalesce(states.ended_at, now()), coalesce(clocks.stopped_at, now()))
    - greatest(waits.started_at, states.started_at, clocks.started_at)))::double precision as seconds
  from ledger.spans as waits
  join ledger.spans as states on states.account_id = waits.account_id and states.display_id = waits.display_id
    and states.episode = waits.episode and states.kind = 'state' and states.value in ('snoozed', 'third_party')
    and states.started_at < coalesce(waits.ended_at, 'infinity') and coalesce(states.ended_at, 'infinity') > waits.started_at
  where waits.account_id = clocks.account_id and waits.display_id = clocks.display_id and waits.episode = clocks.episode
    and waits.kind = 'wait'
    and greatest(waits.started_at, states.started_at, clocks.started_at)
      < least(coalesce(waits.ended_at, now()), coalesce(states.ended_at, now()), coalesce(clocks.stopped_at, now()))
) as parked on true
where clocks.breach_at is not null;
comment on view analytics.sla_breaches is
  'Every breach up to this second: when it was due and exceeded, by how much, who held it then, and for how long it stood parked while the customer waited.';

create view analytics.sla_attainment with (security_invoker = true) as
select counted.*, counted.n_met::double precision / nullif(counted.n_met + counted.n_breached, 0) as attainment,
  counted.conversations_met::double precision / nullif(counted.conversations, 0) as conversation_attainment
from (
  select days.account_id, days.day, days.time_zone, of_day.*
  from analytics.days
  cross join lateral (
    select clocks.clock, clocks.policy_id, clocks.policy_name, clocks.inbox_id, clocks.inbox_name, clocks.team_id, clocks.agent_id, clocks.priority,
    count(*) filter (where clocks.outcome = 'met' and clocks.excluded_as is null) as n_met,
    count(*) filter (where clocks.outcome = 'breached' and clocks.excluded_as is null) as n_breached,
    count(*) filter (where clocks.closed_unanswered and clocks.outcome = 'met' and clocks.excluded_as is null) as n_closed_unanswered,
    count(distinct clocks.display_id) filter (where clocks.excluded_as is null and clocks.outcome in ('met', 'breached')) as conversations,
    count(distinct clocks.display_id) filter (where clocks.excluded_as is null and clocks.outcome in ('met', 'breached'))
      - count(distinct clocks.display_id) filter (where clocks.excluded_as is null and clocks.outcome = 'breached') as conversations_met,
    count(*) filter (where clocks.excluded_as is null) as n_included,
    count(*) filter (where clocks.excluded_as is not null) as n_excluded
    from analytics.sla_clocks as clocks
    where clocks.account_id = days.account_id
      -- What is settled is found by index, what the sweep has not come by for among the few that have not stopped.
      and ((clocks.settled_at >= days.starts_at and clocks.settled_at < days.ends_at)
        or (clocks.settled_at is null and clocks.state = 'running' and clocks.due_at < now()
          and clocks.decided_at >= days.starts_at and clocks.decided_at < days.ends_at))
    group by 1, 2, 3, 4, 5, 6, 7, 8
  ) as of_day
) as counted;
comment on view analytics.sla_attainment is
  'Promises kept, by the local day on which each was decided, clock, policy, inbox, team, agent and priority: clocks (n_met of n_met + n_breached, which add up over rows) and conversations (all their clocks of the row met; these do not add up: ask analytics.sla_conversations).';

create view analytics.sla_conversations with (security_invoker = true) as
select clocks.account_id, clocks.display_id, clocks.episode, min(clocks.inbox_id) as inbox_id, min(clocks.team_id) as team_id,
  max(clocks.decided_at) as decided_at, count(*) filter (where clocks.outcome = 'met') as n_met,
  count(*) filter (where clocks.outcome = 'breached') as n_breached,
  count(*) filter (where clocks.outcome = 'breached') = 0 as met
from analytics.sla_clocks as clocks
where clocks.outcome in ('met', 'breached') and clocks.excluded_as is null
group by clocks.account_id, clocks.display_id, clocks.episode;
comment on view analytics.sla_conversations is
  'One row an episode with a decided clock: met when all of them were. Those without a policy, and excluded ones, have none.';
grant select on analytics.sla_clocks, analytics.sla_breaches, analytics.sla_attainment, analytics.sla_conversations
  to authenticated, analyst, service_role;

create function sla.at_risk(account_id bigint, as_of timestamptz default null, most integer default 200)
returns table (
  display_id bigint, episode integer, clock text, instance integer, class text, inbox_id bigint, team_id bigint, holder text,
  priority text, policy_id bigint, started_at timestamptz, target_seconds integer, elapsed double precision,
  remaining double precision, consumed double precision, due_at timestamptz, if_resumed_due_at timestamptz,
  breach_at timestamptz, breach_probability double precision
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_as_of timestamptz := coalesce(at_risk.as_of, now());
  v_zone text := ops.setting(at_risk.account_id, 'reporting_time_zone') #>> '{}';
  v_clocks sla.clocks[];
begin
  perform access.require_role(at_risk.account_id, 'viewer');
  if coalesce(at_risk.most, 0) not between 1 and 10000 then
    raise exception 'most must be from 1 to 10000, not %', coalesce(at_risk.most::text, 'null')
      using errcode = 'OC422', hint = 'So many that are late, so many due soonest, and so many paused.';
  end if;
  -- What stands now is stored; any other instant is worked out.
  if at_risk.as_of is null then
    v_clocks := array(
      -- Of each a share of its own: what is long late must not hide what can still be kept.
      select row(nearest.*)::sla.clocks from (
        (select clocks.* from sla.clocks
          where clocks.account_id = at_risk.account_id and clocks.state <> 'stopped' and clocks.due_at >= v_as_of
          order by clocks.due_at limit at_risk.most)
        union all
        (select clocks.* from sla.clocks
          where clocks.account_id = at_risk.account_id and clocks.state <> 'stopped' and clocks.due_at < v_as_of
          order by clocks.due_at desc limit at_risk.most)
        union all
        (select clocks.* from sla.clocks
          where clocks.account_id = at_risk.account_id and clocks.state <> 'stopped' and clocks.due_at is null
          limit at_risk.most)
      ) as nearest);
  else
    v_clocks := array(select row(told.*)::sla.clocks from sla.clocks_at(at_risk.account_id, v_as_of) as told
      where told.state <> 'stopped');
  end if;
  return query
  select told.display_id, told.episode, told.clock, told.instance,
    case when late.breach_at is not null then 'breached' when told.state = 'paused' then 'paused'
      when spent.seconds >= coalesce((select min(shares.share) from unnest(told.warn_shares) as shares (share)), 0.75) * told.target_seconds
        or told.due_at - v_as_of <= interval '900 seconds' then 'at_risk'
      else 'ok' end,
    episodes.inbox_id, nullif(episodes.team, '')::bigint, nullif(episodes.holder, ''), nullif(episodes.priority, ''), told.policy_id,
    told.started_at, told.target_seconds, spent.seconds, told.target_seconds - spent.seconds,
    spent.seconds / told.target_seconds, told.due_at,
    case when told.state = 'paused' then sla.due(told.account_id, told.calendar_id, v_as_of,
      greatest(told.target_seconds - spent.seconds, 0)) end,
    late.breach_at,
    case when late.breach_at is not null then 1
      when told.clock in ('first_response', 'next_response') and told.state = 'running' then sla.breach_probability(past, spent.seconds, told.target_seconds) end
  from unnest(v_clocks) as told
  left join ledger.episodes on episodes.account_id = told.account_id and episodes.display_id = told.display_id
    and episodes.episode = told.episode
  left join sla.past_waits as past on past.account_id = told.account_id and past.inbox_id = episodes.inbox_id
    and past.hour_class = sla.hour_class(told.started_at, v_zone)
    and past.hours = case when told.calendar_id is null then '24x7' else 'business' end
  cross join lateral (
    select told.elapsed + case when told.running_since is null then 0
      else sla.spent(told.account_id, told.calendar_id, told.running_since, v_as_of) end as seconds
  ) as spent
  cross join lateral (
    select coalesce(told.breach_at, case when told.state = 'running' and told.due_at < v_as_of
      then greatest(told.due_at, told.applied_at) end) as breach_at
  ) as late
  order by told.due_at nulls last, told.display_id, told.clock, told.instance;
end
$$;
comment on function sla.at_risk is
  'The clocks that have not stopped, due soonest first: class breached, at_risk, ok or paused. Viewers and above. Errors: OC403, OC422.';
revoke all on function sla.at_risk from public, anon, authenticated, service_role;
grant execute on function sla.at_risk to authenticated, service_role;

do $$
declare
  v_comment record;
begin
  for v_comment in
    with words (name, words) as (values
      ('account_id', 'Chatwoot''s account id.'), ('display_id', 'The conversation''s number in its account.'),
      ('episode', 'Number of the episode within the conversation, from 1.'),
      ('clock', 'first_response, next_response, resolution, requester_wait, agent_work or periodic_update.'),
      ('instance', 'Number within episode and clock, from 1.'), ('policy_id', 'The policy in force last.'),
      ('version', 'The version of it that set the target.'), ('policy_name', 'Name of the policy.'),
      ('inbox_id', 'Inbox it came in through.'), ('inbox_name', 'Name of the inbox; null until a payload says it.'),
      ('team_id', 'Team it is with now; null for none.'),
      ('agent_id', 'Who replied; else the person who held it when it was decided; null for nobody.'),
      ('priority', 'Priority when it was decided, or now; null for none.'), ('state', 'running, paused or stopped.'),
      ('started_at', 'Begin (UTC).'), ('stopped_at', 'End (UTC); null while it runs or pauses.'),
      ('stopped_as', 'reply, resolved, merged, deleted, spam or policy; null while it runs or pauses.'),
      ('target_seconds', 'The target, in seconds of its hours.'),
      ('calendar_id', 'The calendar of those hours; null for 24 hours on 7 days.'),
      ('applied_at', 'From when on the target holds (UTC).'),
      ('due_at', 'When the target is used up (UTC); of a stopped one, when it would have been; null while paused.'),
      ('breach_at', 'When it was exceeded (UTC); null while it is not.'),
      ('outcome', 'met, breached or cancelled; null while undecided.'),
      ('decided_at', 'When it was met or breached, whichever came first (UTC); null while undecided.'),
      ('settled_at', 'decided_at as written down so far (UTC): null until the sweep or a refresh has found it. This one has an index.'),
      ('elapsed', 'Seconds used up, of the clock''s hours.'),
      ('overrun', 'Seconds over the last target, of the clock''s hours; negative while in time, and where a target became longer after the breach.'),
      ('consumed', 'Share of the target used up.'),
      ('closed_unanswered', 'Whether a resolve ended it and no reply; counted met when in time.'),
      ('excluded_as', 'Why it does not count: closed_unreplied, merged, deleted, spam, test, imported, policy; null when it counts.'),
      ('found_at', 'When the sweep or a refresh wrote it down (UTC); null when neither has yet.'),
      ('held_by', 'Who held it when it was exceeded, such as user:7; null for nobody.'),
      ('parked_while_waiting', 'Seconds for which it was snoozed or pending for a third party while the customer waited.'),
      ('day', 'Local date in time_zone on which the clocks were decided.'), ('time_zone', 'The zone whose midnight parts the days.'),
      ('n_met', 'Clocks met.'), ('n_breached', 'Clocks breached.'),
      ('n_closed_unanswered', 'Of those met, ended by a resolve without a reply.'),
      ('conversations', 'Conversations with a clock met or breached.'),
      ('conversations_met', 'Of these, those without a breach.'), ('n_included', 'Clocks counted.'),
      ('n_excluded', 'Clocks not counted; analytics.sla_clocks says why in excluded_as.'),
      ('attainment', 'Share of clocks met, 0 to 1; null without any.'),
      ('conversation_attainment', 'Share of conversations without a breach, 0 to 1; null without any.'),
      ('met', 'Whether all its decided clocks were met.')
    )
    select columns.attrelid::regclass as view_name, columns.attname as name, words.words
    from pg_attribute as columns
    join words on words.name = columns.attname
    where columns.attnum > 0 and columns.attrelid in ('analytics.sla_clocks'::regclass, 'analytics.sla_breaches'::regclass,
      'analytics.sla_attainment'::regclass, 'analytics.sla_conversations'::regclass)
  loop
    execute format('comment on column %s.%I is %L', v_comment.view_name, v_comment.name, v_comment.words);
  end loop;
end
$$;
