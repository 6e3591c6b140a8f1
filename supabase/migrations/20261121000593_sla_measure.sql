-- Measuring: from episodes, spans and events to clocks, by the versions of policies that held. Nothing is written here, so
-- that the present, any earlier instant and what never was are measured in one way.
create type sla.asked as (
  account_id bigint, display_id bigint, episode integer, since timestamptz, first_wait integer, first_started_at timestamptz
);
comment on type sla.asked is 'An episode whose clocks are asked for: all that were not over before since. Of a part of its waits, which one is the first response and when it started.';

create type sla.part as (
  account_id bigint, display_id bigint, episode integer, clock text, instance integer, span_number integer,
  started_at timestamptz, stopped_at timestamptz, stopped_as text,
  applied_at timestamptz, applied_until timestamptz, policy_id bigint, version integer, target_seconds integer,
  calendar_id bigint, warn_shares numeric[], is_last boolean,
  part integer, state text, is_active boolean, active_from timestamptz, active_until timestamptz,
  seconds double precision, seconds_before double precision, due_at timestamptz
);
comment on type sla.part is
  'An interval of a clock under one target: counted or paused, its length and what was used up before, and the instant due if the target was used up in it; of the last counted one of a stopped clock, when it would have been.';

create function sla.spent(account_id bigint, calendar_id bigint, since timestamptz, until timestamptz)
returns double precision
-- Definer, so that a view may call it for somebody who may not name the calendars.
language plpgsql stable security definer set search_path = '' as $$
declare
  v_calendar ledger.calendars;
begin
  if spent.until <= spent.since then
    return 0;
  elsif spent.calendar_id is null then
    return extract(epoch from spent.until - spent.since)::double precision;
  end if;
  select * into v_calendar from ledger.calendars
  where calendars.account_id = spent.account_id and calendars.calendar_id = spent.calendar_id;
  if not found then
    return 0;
  end if;
  -- An instant decades off is a mistake of whoever wrote it, and must not stop the others.
  return ledger.business_seconds(spent.account_id, spent.calendar_id, greatest(spent.since, v_calendar.built_from),
    least(spent.until, v_calendar.built_until));
end
$$;
comment on function sla.spent is
  'ledger.business_seconds, as far as the calendar is worked out: nothing before and after.';

create function sla.due(account_id bigint, calendar_id bigint, since timestamptz, seconds double precision)
returns timestamptz
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_calendar ledger.calendars;
  v_since timestamptz;
begin
  if due.calendar_id is null or due.seconds <= 0 then
    return due.since + interval '1 second' * greatest(due.seconds, 0);
  end if;
  select * into v_calendar from ledger.calendars
  where calendars.account_id = due.account_id and calendars.calendar_id = due.calendar_id;
  if not found then
    return null;
  end if;
  v_since := least(greatest(due.since, v_calendar.built_from), v_calendar.built_until);
  begin
    return ledger.business_due(due.account_id, due.calendar_id, v_since, due.seconds);
  exception when sqlstate 'OC422' then
    -- Not worked out so far: rare, and to ask beforehand takes longer than this block.
    return null;
  end;
end
$$;
comment on function sla.due is
  'ledger.business_due, as far as the calendar is worked out: null where the target is not used up in it.';

create function sla.facts_now(account_id bigint, display_id bigint, attributes text[]) returns jsonb
language sql stable security invoker set search_path = '' as $$
  -- A condition names up to 200 characters: of what is longer it only matters that it is there.
  select coalesce(jsonb_object_agg(told.attribute, case when length(told.entry::text) > 300 then '"…"' else told.entry end), '{}')
  from (select named.attribute, case
      when named.attribute = 'language' then to_jsonb(coalesce(mirrored.additional_attributes ->> 'conversation_language',
        mirrored.additional_attributes ->> 'browser_language'))
      when named.attribute like 'contact.%' then contacts.custom_attributes -> substr(named.attribute, 9)
      else mirrored.custom_attributes -> substr(named.attribute, 14) end as entry
  from unnest(facts_now.attributes) as named (attribute)
  join chatwoot.conversations as mirrored
    on mirrored.account_id = facts_now.account_id and mirrored.display_id = facts_now.display_id
  left join chatwoot.contacts on contacts.account_id = mirrored.account_id and contacts.contact_id = mirrored.contact_id
  where named.attribute = 'language' or named.attribute like 'contact.%' or named.attribute like 'conversation.%'
  ) as told
$$;
comment on function sla.facts_now is 'Those of the attributes that Chatwoot keeps no history of, as they are now; null for what is missing.';

create function sla.parts(
  asked sla.asked[], episodes ledger.episodes[], spans ledger.spans[], policies sla.policies[], as_of timestamptz
) returns setof sla.part
language plpgsql stable security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  -- What nobody asks for is not worked out.
  v_clocks text[] := array(select distinct named.clock from unnest(parts.policies) as policies
    cross join lateral jsonb_object_keys(policies.targets) as named (clock));
  v_attributes text[] := array(select distinct entries.entry ->> 'attribute' from unnest(parts.policies) as policies
    cross join lateral jsonb_array_elements(policies.conditions) as entries (entry));
  v_noted text[];
  v_kinds text[];
begin
  v_noted := array(select named.attribute from unnest(v_attributes) as named (attribute)
    where named.attribute = 'language' or named.attribute like 'contact.%' or named.attribute like 'conversation.%');
  v_kinds := array['priority']
    || case when 'label' = any (v_attributes) then array['labels'] else '{}' end
    || case when 'team_id' = any (v_attributes) or exists (select from ledger.calendar_uses as uses
      join unnest(parts.asked) as asked on asked.account_id = uses.account_id where uses.scope = 'team')
      then array['team'] else '{}' end;
  return query
  with own as materialized (
    select told.account_id, told.display_id, told.episode,
      array_agg(row(told.*)::ledger.spans order by told.number) filter (where told.kind = 'wait') as waits,
      array_agg(row(told.*)::ledger.spans order by told.number) filter (where told.kind = 'state') as states
    from (
      select spans.* from unnest(parts.spans) as spans
      union all
      -- Being resolved is no span while it lasts, and what waits on in it waits.
      select episodes.account_id, episodes.display_id, episodes.episode, 'state', episodes.states + 1, 'resolved',
        episodes.state_since, episodes.state_since_business, null, null, null, null, null, null
      from unnest(parts.episodes) as episodes where episodes.status = 'resolved'
    ) as told
    group by told.account_id, told.display_id, told.episode
  ), cases as materialized (
    select told.account_id, told.display_id, told.episode, told.is_outbound, told.started_at, told.inbox_id, told.human_replies,
      mirrored.channel,
      case when told.status = 'resolved' then told.last_resolved_at end as resolved_at, asked.since,
      coalesce(own.waits, '{}'::ledger.spans[]) as waits, coalesce(own.states, '{}'::ledger.spans[]) as states,
      gone.at as gone_at, gone.why as gone_as,
      coalesce(asked.first_wait, chosen.number) as first_wait,
      coalesce(asked.first_started_at, chosen.started_at) as first_started_at
    from unnest(parts.asked) as asked
    join unnest(parts.episodes) as told on told.account_id = asked.account_id and told.display_id = asked.display_id
      and told.episode = asked.episode
    left join own on own.account_id = told.account_id and own.display_id = told.display_id and own.episode = told.episode
    left join chatwoot.conversations as mirrored
      on mirrored.account_id = told.account_id and mirrored.display_id = told.display_id
    left join lateral (
      select endings.at, endings.why from (
        select merges.merged_at as at, 'merged' as why from ledger.merges
        where merges.account_id = told.account_id and merges.child_display_id = told.display_id
        union all
        select mirrored.deleted_at, 'deleted'
        union all
        select max(labels.occurred_at), 'spam' from ledger.events as labels
        where told.labels like '%"spam"%' and labels.display_id = told.display_id and labels.account_id = told.account_id
          and labels.kind = 'labels' and labels.kind <> 'message' and labels.unlearnt_at is null
          and labels.occurred_at <= parts.as_of
          and labels.value like '%"spam"%' and labels.previous not like '%"spam"%'
      ) as endings
      where endings.at <= parts.as_of order by endings.at, endings.why limit 1
    ) as gone on true
    -- The first response is owed in the first wait that is not the bot's alone, from when the bot lets go.
    left join lateral (
      select waits.number, case when exists (
          select from unnest(own.states) as states
          where states.value = 'bot' and states.started_at < person.started_at
            and coalesce(states.ended_at, 'infinity') > waits.started_at)
        then greatest(person.started_at, waits.started_at) else waits.started_at end as started_at
      from unnest(own.waits) with ordinality as waits
      cross join lateral (
        select states.started_at from unnest(own.states) as states
        where states.value in ('open', 'third_party', 'snoozed') and coalesce(states.ended_at, 'infinity') > waits.started_at
          -- What was answered at once waited at that instant.
          and (states.started_at < coalesce(waits.ended_at, 'infinity') or states.started_at <= waits.started_at)
        order by states.number limit 1
      ) as person
      order by waits.number limit 1
    ) as chosen on asked.first_wait is null and told.is_outbound is false
  ), instances as materialized (
    select cases.account_id, cases.display_id, cases.episode, cases.inbox_id, cases.channel, made.clock,
      made.instance, made.span_number, made.started_at,
      least(made.stopped_at, cases.gone_at) as stopped_at,
      case when cases.gone_at < coalesce(made.stopped_at, 'infinity') then cases.gone_as
        when made.stopped_at is not null then made.stopped_as end as stopped_as
    from cases
    cross join lateral (
      select case waits.number when cases.first_wait then 'first_response' else 'next_response' end as clock,
        case waits.number when cases.first_wait then 1 else waits.number - coalesce(cases.first_wait, 0) end as instance,
        waits.number as span_number,
        case waits.number when cases.first_wait then cases.first_started_at else waits.started_at end as started_at,
        waits.ended_at as stopped_at, waits.closed_as as stopped_as
      from unnest(cases.waits) as waits
      where (cases.is_outbound or waits.number >= cases.first_wait) and coalesce(waits.ended_at, 'infinity') >= cases.since
      union all
      select named.clock, 1, null, cases.started_at, cases.resolved_at, 'resolved'
      from unnest('{resolution,requester_wait,agent_work}'::text[]) as named (clock)
      where named.clock = any (v_clocks) and coalesce(cases.resolved_at, 'infinity') >= cases.since
      union all
      select 'periodic_update', replies.instance, null, replies.occurred_at, replies.stopped_at, replies.stopped_as
      from (
        select said.occurred_at, said.instance,
          least(said.next_at, resolves.at) as stopped_at,
          case when resolves.at < coalesce(said.next_at, 'infinity') then 'resolved' else 'reply' end as stopped_as
        from (
          select messages.occurred_at, lead(messages.occurred_at) over (order by messages.occurred_at, messages.place) as next_at,
            row_number() over (order by messages.occurred_at, messages.place)::integer as instance
          from ledger.events as messages
          where messages.account_id = cases.account_id and messages.unlearnt_at is null and messages.class = 'human'
            and messages.display_id = any (array(select cases.display_id union all select merges.child_display_id
              from ledger.merges where merges.account_id = cases.account_id
                and merges.parent_display_id = cases.display_id and merges.merged_at <= parts.as_of))
            and messages.occurred_at >= cases.started_at and messages.occurred_at <= parts.as_of
            and messages.occurred_at < coalesce((select episodes.started_at from unnest(parts.episodes) as episodes
              where episodes.account_id = cases.account_id and episodes.display_id = cases.display_id
                and episodes.episode = cases.episode + 1), 'infinity')
        ) as said
        left join lateral (
          select min(ends.at) as at from (
            select states.started_at as at from unnest(cases.states) as states
              where states.value = 'resolved' and states.number > 1
            union all
            select cases.resolved_at
          ) as ends
          where ends.at >= said.occurred_at
        ) as resolves on true
        where coalesce(said.next_at, 'infinity') >= cases.since
      ) as replies
      where 'periodic_update' = any (v_clocks) and coalesce(replies.stopped_at, 'infinity') >= cases.since
        -- A word after the resolve promises nothing. Of one instant the message comes before the change.
        and not exists (select from unnest(cases.states) as states where states.value = 'resolved' and states.number > 1
          and states.started_at < replies.occurred_at and coalesce(states.ended_at, 'infinity') >= replies.occurred_at)
    ) as made
    where made.clock = any (v_clocks) and made.started_at <= coalesce(made.stopped_at, 'infinity')
      and made.started_at < coalesce(cases.gone_at, 'infinity')
  ), cuts as (
    select instances.account_id, instances.display_id, instances.episode, instances.inbox_id, instances.channel,
      instances.clock, instances.instance, instances.span_number, instances.started_at, instances.stopped_at,
      instances.stopped_as, cut.at, lead(cut.at) over (partition by instances.account_id, instances.display_id, instances.episode,
      instances.clock, instances.instance order by cut.at) as next_at
    from instances
    cross join lateral (
      select instances.started_at as at
      union
      select changes.occurred_at from ledger.events as changes
      where changes.display_id = instances.display_id and changes.account_id = instances.account_id
        and changes.kind <> 'message' and changes.kind = any (v_kinds) and changes.unlearnt_at is null
        and changes.occurred_at > instances.started_at
        and changes.occurred_at < coalesce(instances.stopped_at, 'infinity') and changes.occurred_at <= parts.as_of
      union
      select bounds.at from unnest(parts.policies) as policies
      cross join lateral (values (policies.valid_from), (policies.valid_until)) as bounds (at)
      where policies.account_id = instances.account_id and bounds.at > instances.started_at
        and bounds.at < coalesce(instances.stopped_at, 'infinity') and bounds.at <= parts.as_of
      union
      select facts.known_from from sla.facts
      where facts.account_id = instances.account_id and facts.display_id = instances.display_id
        and facts.known_from > instances.started_at and facts.known_from < coalesce(instances.stopped_at, 'infinity')
        and facts.known_from <= parts.as_of
    ) as cut
  ), chosen as (
    select cuts.*, held.policy_id, held.version, (held.target ->> 'seconds')::integer as target_seconds,
      case held.target ->> 'hours' when 'business' then ledger.calendar_for(cuts.account_id, held.team_id, cuts.inbox_id)
        when '24x7' then null else (held.target ->> 'hours')::bigint end as calendar_id,
      held.rules -> 'pauses' as pauses, held.rules -> 'warn_at' as warn_at
    from cuts
    left join lateral (
      select policies.policy_id, policies.version, policies.targets -> cuts.clock as rules,
        coalesce(policies.targets -> cuts.clock -> 'priorities' -> then_it_was.priority,
          policies.targets -> cuts.clock -> 'priorities' -> 'default') as target, then_it_was.team_id
      from (
        select
          (select told.value from ledger.events as told where told.display_id = cuts.display_id
            and told.account_id = cuts.account_id and told.kind = 'priority' and told.unlearnt_at is null
            and told.occurred_at <= cuts.at order by told.occurred_at desc, told.place desc limit 1) as priority,
          case when 'team' = any (v_kinds) then (select nullif(told.value, '')::bigint from ledger.events as told
            where told.display_id = cuts.display_id and told.account_id = cuts.account_id and told.kind = 'team'
              and told.unlearnt_at is null and told.occurred_at <= cuts.at
            order by told.occurred_at desc, told.place desc limit 1) end as team_id,
          case when 'labels' = any (v_kinds) then (select told.value::jsonb from ledger.events as told
            where told.display_id = cuts.display_id and told.account_id = cuts.account_id and told.kind = 'labels'
              and told.unlearnt_at is null and told.occurred_at <= cuts.at
            order by told.occurred_at desc, told.place desc limit 1) end as labels,
          -- What no policy has asked for before was not noted: then it is as it is now.
          case when v_noted = '{}' then '{}' else sla.facts_now(cuts.account_id, cuts.display_id, v_noted)
            || coalesce((select facts.facts from sla.facts
              where facts.account_id = cuts.account_id and facts.display_id = cuts.display_id
                and facts.known_from <= cuts.at order by facts.known_from desc limit 1), '{}') end as facts
      ) as then_it_was
      join unnest(parts.policies) as policies on policies.account_id = cuts.account_id and policies.valid_from <= cuts.at
        and cuts.at < coalesce(policies.valid_until, 'infinity')
      where policies.conditions = '[]' or sla.matches(policies.conditions,
        then_it_was.facts || jsonb_build_object('inbox_id', cuts.inbox_id, 'channel', cuts.channel,
          'team_id', then_it_was.team_id, 'label', then_it_was.labels, 'priority', then_it_was.priority))
      -- Of one that was retired and one that took its place, the newer one.
      order by policies.position, policies.policy_id desc, policies.version desc limit 1
    ) as held on true
  ), turned as (
    -- A new version with the same target is no change.
    select chosen.*, case when row_number() over in_order > 1
      and (chosen.policy_id, chosen.target_seconds, chosen.calendar_id, chosen.pauses)
      is not distinct from (lag(chosen.policy_id) over in_order, lag(chosen.target_seconds) over in_order,
        lag(chosen.calendar_id) over in_order, lag(chosen.pauses) over in_order) then 0 else 1 end as is_turn
    from chosen
    window in_order as (partition by chosen.account_id, chosen.display_id, chosen.episode, chosen.clock, chosen.instance
      order by chosen.at)
  ), numbered as (
    select turned.*, sum(turned.is_turn) over (partition by turned.account_id, turned.display_id, turned.episode,
      turned.clock, turned.instance order by turned.at) as segment
    from turned
  ), segments as (
    select numbered.account_id, numbered.display_id, numbered.episode, numbered.clock, numbered.instance, numbered.segment,
      min(numbered.at) as applied_at, max(coalesce(numbered.next_at, 'infinity')) as applied_until,
      (array_agg(numbered.policy_id order by numbered.at))[1] as policy_id,
      (array_agg(numbered.version order by numbered.at))[1] as version,
      (array_agg(numbered.target_seconds order by numbered.at))[1] as target_seconds,
      (array_agg(numbered.calendar_id order by numbered.at))[1] as calendar_id,
      (array_agg(numbered.pauses order by numbered.at))[1] as pauses,
      (array_agg(numbered.warn_at order by numbered.at desc))[1] as warn_at,
      min(numbered.span_number) as span_number, min(numbered.started_at) as started_at, min(numbered.stopped_at) as stopped_at,
      min(numbered.stopped_as) as stopped_as
    from numbered
    group by numbered.account_id, numbered.display_id, numbered.episode, numbered.clock, numbered.instance, numbered.segment
  ), targeted as (
    select placed.*, placed.segment = placed.last_targeted as is_last,
      -- Where no target is left, the clock ends with the last one.
      case when placed.segment = placed.last_targeted and placed.last_targeted < placed.last_segment
        then placed.applied_until else placed.stopped_at end as ends_at,
      case when placed.segment = placed.last_targeted and placed.last_targeted < placed.last_segment
        then 'policy' else placed.stopped_as end as ends_as
    from (
      select segments.*, max(segments.segment) over of_clock as last_segment,
        max(segments.segment) filter (where segments.target_seconds is not null) over of_clock as last_targeted
      from segments
      window of_clock as (partition by segments.account_id, segments.display_id, segments.episode, segments.clock, segments.instance)
    ) as placed
    where placed.target_seconds is not null
  ), pieces as (
    select targeted.*, piece.part, piece.state, piece.is_active, piece.active_from, piece.active_until,
      case when not piece.is_active then 0
        when piece.active_until is null then null
        else sla.spent(targeted.account_id, targeted.calendar_id, piece.active_from, piece.active_until) end as seconds
    from targeted
    left join own on own.account_id = targeted.account_id and own.display_id = targeted.display_id
      and own.episode = targeted.episode
    cross join lateral (
      select targeted.pauses = '[]' and targeted.clock in ('first_response', 'next_response', 'periodic_update') as is_plain
    ) as shape
    cross join lateral (
      select 1 as part, null as state, true as is_active, targeted.started_at as active_from, targeted.ends_at as active_until
      where shape.is_plain
      union all
      select row_number() over (order by states.number)::integer, states.value,
        not targeted.pauses ? states.value and (states.value <> 'resolved'
          or targeted.clock in ('first_response', 'next_response', 'periodic_update')),
        greatest(states.started_at, targeted.started_at), least(states.ended_at, targeted.ends_at)
      from unnest(own.states) as states
      where not shape.is_plain and states.started_at < coalesce(targeted.ends_at, 'infinity')
        and coalesce(states.ended_at, 'infinity') > greatest(states.started_at, targeted.started_at)
    ) as piece
  ), summed as (
    select pieces.*,
      coalesce(sum(pieces.seconds) over (of_segment order by pieces.part rows between unbounded preceding and 1 preceding), 0)
        as seconds_before,
      pieces.is_active and max(pieces.part) filter (where pieces.is_active) over of_segment = pieces.part as is_last_active
    from pieces
    window of_segment as (partition by pieces.account_id, pieces.display_id, pieces.episode, pieces.clock, pieces.instance,
      pieces.segment)
  )
  select summed.account_id, summed.display_id, summed.episode, summed.clock, summed.instance, summed.span_number,
    summed.started_at, summed.ends_at, summed.ends_as, summed.applied_at, summed.applied_until, summed.policy_id,
    summed.version, summed.target_seconds, summed.calendar_id,
    array(select (entries.entry #>> '{}')::numeric from jsonb_array_elements(summed.warn_at) as entries (entry)), summed.is_last,
    summed.part, summed.state, summed.is_active, summed.active_from, summed.active_until, summed.seconds,
    summed.seconds_before, case when due.at < coalesce(summed.active_until, 'infinity') or summed.is_last_active then due.at end
  from summed
  cross join lateral (
    select case
      when not summed.is_active or summed.seconds_before > summed.target_seconds
        or (summed.seconds_before + summed.seconds < summed.target_seconds and not summed.is_last_active) then null
      else sla.due(summed.account_id, summed.calendar_id, summed.active_from,
        summed.target_seconds - summed.seconds_before) end as at
  ) as due;
end
$$;
comment on function sla.parts is
  'What the clocks of episodes are made of, by the given versions of policies, from episodes, spans and events up to as_of. No row for a clock without a target.';

create function sla.measure(
  asked sla.asked[], episodes ledger.episodes[], spans ledger.spans[], policies sla.policies[], as_of timestamptz
) returns sla.clocks[]
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan as $$
begin
  if measure.policies = '{}' then
    return '{}'::sla.clocks[];
  end if;
  return array(
    with parts as materialized (
      select * from sla.parts(measure.asked, measure.episodes, measure.spans, measure.policies, measure.as_of)
    ), segments as (
      select parts.account_id, parts.display_id, parts.episode, parts.clock, parts.instance, parts.applied_at,
        min(parts.applied_until) as applied_until, bool_or(parts.is_last) as is_last, min(parts.policy_id) as policy_id,
        min(parts.version) as version, min(parts.target_seconds) as target_seconds, min(parts.calendar_id) as calendar_id,
        min(parts.warn_shares) as warn_shares, min(parts.span_number) as span_number, min(parts.started_at) as started_at,
        min(parts.stopped_at) as stopped_at, min(parts.stopped_as) as stopped_as,
        min(parts.due_at) filter (where parts.due_at < coalesce(parts.active_until, 'infinity')) as due_at,
        min(parts.due_at) as would_be_due_at,
        coalesce(sum(parts.seconds), 0) as elapsed,
        max(parts.active_from) filter (where parts.is_active and parts.active_until is null) as running_since
      from parts
      group by parts.account_id, parts.display_id, parts.episode, parts.clock, parts.instance, parts.applied_at
    ), breached as (
      select segments.account_id, segments.display_id, segments.episode, segments.clock, segments.instance,
        min(exceeded.at) as breach_at
      from segments
      cross join lateral (select greatest(segments.due_at, segments.applied_at) as at where segments.due_at is not null)
        as exceeded
      where exceeded.at < segments.applied_until and exceeded.at < coalesce(segments.stopped_at, 'infinity')
        and exceeded.at < measure.as_of
      group by segments.account_id, segments.display_id, segments.episode, segments.clock, segments.instance
    )
    select row(last_one.account_id, last_one.display_id, last_one.episode, last_one.clock, last_one.instance,
      last_one.span_number, last_one.policy_id, last_one.version,
      case when last_one.stopped_at is not null then 'stopped' when last_one.running_since is not null then 'running'
        else 'paused' end,
      case when breached.breach_at is not null then 'breached'
        when last_one.stopped_at is null then null
        when last_one.stopped_as in ('merged', 'deleted', 'spam', 'policy') then 'cancelled'
        when last_one.clock = 'first_response' and last_one.stopped_as = 'resolved' then 'cancelled'
        else 'met' end,
      last_one.started_at, last_one.stopped_at, last_one.stopped_as, last_one.applied_at, last_one.target_seconds,
      last_one.calendar_id, last_one.running_since, last_one.elapsed,
      case when last_one.stopped_at is not null then last_one.would_be_due_at
        when last_one.running_since is not null or breached.breach_at is not null then last_one.due_at end,
      breached.breach_at, last_one.warn_shares, warned.at,
      case when last_one.running_since is not null and last_one.stopped_at is null and breached.breach_at is null
        then least(last_one.due_at, warned.first_at) end)::sla.clocks
    from segments as last_one
    left join breached using (account_id, display_id, episode, clock, instance)
    cross join lateral (
      select coalesce(array_agg(reached.at order by reached.share), '{}') as at, min(reached.at) as first_at
      from (
        select shares.share, case
          when last_one.target_seconds * shares.share <= last_one.elapsed then last_one.running_since
          else sla.due(last_one.account_id, last_one.calendar_id, last_one.running_since,
            last_one.target_seconds * shares.share - last_one.elapsed) end as at
        from unnest(last_one.warn_shares) as shares (share)
        where last_one.running_since is not null and last_one.stopped_at is null
      ) as reached
    ) as warned
    where last_one.is_last
  );
end
$$;
comment on function sla.measure is
  'The clocks of episodes at as_of (rows of sla.clocks), from their spans and the events up to then, by the given versions of policies.';
