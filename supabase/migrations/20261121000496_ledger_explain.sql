-- Any number, taken apart: the intervals or events it is made of and those it is not, each with the rule that says so and
-- with the events that opened and closed it, which name their source rows. It is read from the same walk as the number,
-- so it can be asked of any instant; that the parts add up is what the tests hold it to.
create type ledger.placed_event as (
  place bigint, episode integer, event_id bigint, kind text, class text, value text, occurred_at timestamptz,
  actor_id bigint, source_id text, value_before text
);
comment on type ledger.placed_event is
  'An event in its place in the order of its conversation, with the episode it belongs to (null before the first), and of a status what it was before.';

create type ledger.metric_part as (
  episode integer, what text, is_counted boolean, why text, started_at timestamptz, started_business_at timestamptz,
  ended_at timestamptz, ended_business_at timestamptz, opened_by bigint, closed_by bigint, sign integer
);
comment on type ledger.metric_part is
  'An interval or event that a metric counts, or does not, and why. Both clocks are null where no length is meant, ended_at while it runs.';

create function ledger.place_events(
  account_id bigint, display_id bigint, as_of timestamptz, learnt_by timestamptz, episodes ledger.episodes[],
  spans ledger.spans[]
) returns ledger.placed_event[]
language plpgsql stable security definer set search_path = '' as $$
begin
  return array(
    -- In the order of ledger.walk, and beside what it walks also what could not be delivered.
    with told as (
      select row_number() over (order by events.occurred_at, array_position(
          '{created,message,status,assignee,team,priority,labels,csat}'::text[], events.kind), events.place) as place,
        events.event_id, events.kind, events.class, events.value, events.occurred_at,
        case when events.actor_kind = 'user' then events.actor_id end as actor_id, events.source_id
      from (
        select own.* from ledger.events as own
        where own.display_id = place_events.display_id and own.account_id = place_events.account_id
          and own.occurred_at <= place_events.as_of
        union all
        select merged.* from ledger.merges
        join ledger.events as merged on merged.display_id = merges.child_display_id
          and merged.account_id = merges.account_id and merged.kind = 'message'
          and merged.occurred_at <= place_events.as_of
        where merges.account_id = place_events.account_id and merges.parent_display_id = place_events.display_id
          and merges.merged_at <= place_events.as_of
      ) as events
      where case when place_events.learnt_by is null then events.unlearnt_at is null
        else events.learnt_at <= place_events.learnt_by
          and (events.unlearnt_at is null or events.unlearnt_at > place_events.learnt_by) end
    ), statuses as (
      select told.event_id, lag(told.value, 1, 'open') over (order by told.place) as value_before
      from told where told.kind in ('created', 'status')
    ), begins as (
      select episodes.episode, told.place, lead(told.place) over (order by told.place) as next_place
      from unnest(place_events.episodes) as episodes
      left join unnest(place_events.spans) as spans
        on spans.episode = episodes.episode and spans.kind = 'state' and spans.number = 1
      join told on told.event_id = coalesce(spans.opened_by, episodes.state_event)
    )
    select row(told.place, begins.episode, told.event_id, told.kind, told.class, told.value, told.occurred_at,
      told.actor_id, told.source_id, statuses.value_before)::ledger.placed_event
    from told
    left join begins on told.place >= begins.place and (begins.next_place is null or told.place < begins.next_place)
    left join statuses on statuses.event_id = told.event_id
    order by told.place);
end
$$;
comment on function ledger.place_events is 'The events of a conversation up to as_of in the order of ledger.walk, each with its episode.';

create function ledger.explain_spans(
  metric text, is_business boolean, as_of timestamptz, business_at timestamptz, episodes ledger.episodes[],
  spans ledger.spans[]
) returns setof ledger.metric_part
-- What is made of spans: waits, states, holders.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_kind text := case
    when explain_spans.metric in ('reply_time', 'wait_total', 'wait_longest', 'wait_current', 'waiting') then 'wait'
    when explain_spans.metric = 'bot_reply_time' then 'bot_wait'
    when explain_spans.metric in ('unassigned_s', 'assignees', 'stations', 'reassignments') then 'holder'
    else 'state' end;
  v_states text[] := case explain_spans.metric when 'requester_wait' then array['open', 'third_party']
    when 'agent_work' then array['open'] when 'agent_wait' then array['snoozed'] when 'on_hold' then array['third_party']
    when 'bot_phase' then array['bot'] when 'ttr_active' then array['resolved'] when 'ttr_human' then array['bot']
    else array[]::text[] end;
begin
  return query
  with told as (
    select spans.*, told.state_event,
      row_number() over (partition by spans.episode order by case when explain_spans.is_business
        then coalesce(spans.ended_business_at, explain_spans.business_at) - spans.started_business_at
        else coalesce(spans.ended_at, explain_spans.as_of) - spans.started_at end desc, spans.number) as length_rank,
      lag(spans.value) over (partition by spans.episode order by spans.number) as value_before,
      row_number() over (partition by spans.episode, spans.value order by spans.number) as times,
      told.status = 'resolved' and told.last_resolved_at is not null as is_resolved, told.had_person,
      told.unknown_holder_ended = 0 and (told.holder <> '?' or told.holder_since is null) as is_known
    from unnest(explain_spans.spans) as spans
    join unnest(explain_spans.episodes) as told on told.episode = spans.episode
    where spans.kind = v_kind
  ), judged as (
    select told.*, case explain_spans.metric
        when 'reply_time' then told.value = 'later' and coalesce(told.closed_as, '') = 'reply'
        when 'wait_longest' then told.length_rank = 1
        when 'wait_current' then told.ended_at is null
        when 'waiting' then told.ended_at is null
        when 'unassigned_s' then told.value = '' and told.is_known
        when 'assignees' then told.value like 'user:%' and told.times = 1
        when 'stations' then told.value like 'user:%' and told.value is distinct from told.value_before
        when 'reassignments' then told.value like 'user:%' and told.value_before like 'user:%'
          and told.value <> told.value_before
        when 'ttr_active' then told.value = any (v_states) and told.is_resolved
        when 'ttr_human' then told.value = any (v_states) and told.is_resolved and told.had_person
        else v_kind in ('wait', 'bot_wait') or told.value = any (v_states) end as is_counted
    from told
    where explain_spans.metric not in ('ttr_active', 'ttr_human') or told.value = any (v_states)
  )
  select judged.episode,
    case v_kind when 'state' then 'state ' || judged.value when 'holder' then 'holder ' || case judged.value
      when '' then 'nobody' when '?' then 'unknown' else judged.value end
      when 'wait' then 'wait' else 'wait for a bot' end,
    judged.is_counted,
    case
      when explain_spans.metric = 'reply_time' then case
        when judged.is_counted then 'from the first message of this wait to the reply of a person'
        when judged.closed_as = 'reply' then 'the first response: measured by frt, not by reply_time'
        when judged.closed_as = 'resolved' then 'ended by a resolve, not by a reply'
        else 'nobody has replied yet' end
      when explain_spans.metric = 'wait_longest' then case when judged.is_counted then 'the longest wait'
        else 'another wait was longer' end
      when explain_spans.metric in ('wait_current', 'waiting') then case when judged.is_counted then 'goes on'
        else 'is over' end
      when explain_spans.metric = 'wait_total' then case judged.closed_as when 'reply' then 'ended by the reply of a person'
        when 'resolved' then 'ended by a resolve; a wait all the same' else 'goes on, counted up to as_of' end
      when explain_spans.metric = 'bot_reply_time' then 'from the first message nobody had answered to the answer of a bot'
      when explain_spans.metric = 'unassigned_s' then case
        when not judged.is_known then 'nobody can say whose it was for part of the time, so the sum is not known'
        when judged.is_counted then 'nobody had it' else 'somebody had it' end
      when explain_spans.metric = 'assignees' then case when judged.is_counted then 'this person had it for the first time'
        when judged.value like 'user:%' then 'this person had had it before' else 'no person' end
      when explain_spans.metric = 'stations' then case when judged.is_counted then 'a person got it'
        when judged.value like 'user:%' then 'the same person went on with it' else 'no person' end
      when explain_spans.metric = 'reassignments' then case when judged.is_counted then 'straight from another person'
        when judged.value like 'user:%' then 'not from another person' else 'no person' end
      when explain_spans.metric = 'ttr_active' then case when judged.is_counted then 'resolved in between: taken off'
        else 'is not resolved' end
      when explain_spans.metric = 'ttr_human' then case when judged.is_counted then 'a bot had it: taken off'
        when judged.is_resolved then 'no person ever had it' else 'is not resolved' end
      when judged.is_counted then case when judged.ended_at is null then 'in that state, counted up to as_of'
        else 'in that state' end
      when judged.value = 'resolved' then 'resolved: nothing is to be done'
      else 'measured by ' || case judged.value when 'open' then 'agent_work' when 'snoozed' then 'agent_wait'
        when 'third_party' then 'on_hold' else 'bot_phase' end end,
    judged.started_at, judged.started_business_at, judged.ended_at, judged.ended_business_at, judged.opened_by,
    judged.closed_by, case when explain_spans.metric in ('ttr_active', 'ttr_human') then -1 else 1 end
  from judged
  union all
  -- Never is 0, and not null: said by a part without length.
  select told.episode, 'never', true, case explain_spans.metric when 'unassigned_s' then 'somebody always had it: 0'
    else 'never in that state: 0' end, told.started_at, told.started_business_at, told.started_at,
    told.started_business_at, null, null, 1
  from unnest(explain_spans.episodes) as told
  where case when explain_spans.metric = 'unassigned_s'
      then told.unknown_holder_ended = 0 and (told.holder <> '?' or told.holder_since is null)
      else explain_spans.metric in ('requester_wait', 'agent_work', 'agent_wait', 'on_hold', 'bot_phase') end
    and not exists (select from judged where judged.episode = told.episode and judged.is_counted)
  union all
  select told.episode, 'nobody waits', true, 'no wait goes on', null, null, null, null, null, null, -1
  from unnest(explain_spans.episodes) as told
  where explain_spans.metric = 'waiting' and told.waiting_since is null;
end
$$;
comment on function ledger.explain_spans is 'The parts of a metric that is made of waits, states or holders.';

create function ledger.explain_lengths(
  metric text, episodes ledger.episodes[], spans ledger.spans[], events ledger.placed_event[]
) returns setof ledger.metric_part
-- What is one length between two instants of an episode.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_is_response boolean := explain_lengths.metric in ('frt', 'frt_customer', 'frt_any');
begin
  return query
  with found as (
    select told as this, told.episode,
      (select held from unnest(explain_lengths.spans) as held
        join unnest(explain_lengths.events) as closers on closers.event_id = held.closed_by
        where held.episode = told.episode and held.kind = 'state' and held.value = 'bot' and closers.value = 'open'
        order by held.number limit 1) as bot_span,
      (select closers.event_id from unnest(explain_lengths.spans) as spans
        join unnest(explain_lengths.events) as closers on closers.event_id = spans.closed_by
        where spans.episode = told.episode and spans.kind = 'state' and spans.value = 'bot' and closers.value = 'open'
          and closers.place > marks.first_customer and closers.occurred_at = told.clock_started_at
        order by closers.place limit 1) as clock_event,
      marks.*
    from unnest(explain_lengths.episodes) as told
    cross join lateral (
      select min(events.place) as first_place,
        min(events.place) filter (where events.class = 'customer') as first_customer,
        min(events.place) filter (where events.class = 'human') as first_human,
        min(events.place) filter (where events.class in ('human', 'bot')) as first_any,
        min(events.place) filter (where events.kind = 'status' and events.value = 'resolved'
          and events.value_before <> 'resolved') as first_resolve,
        max(events.place) filter (where events.kind = 'status' and events.value = 'resolved'
          and events.value_before <> 'resolved') as last_resolve
      from unnest(explain_lengths.events) as events where events.episode = told.episode
    ) as marks
  ), pairs as (
    select found.episode, (found.this).is_outbound, found.first_customer,
      case when explain_lengths.metric = 'frt_any' then found.first_any else found.first_human end as response,
      (found.this).status = 'resolved' and (found.this).last_resolved_at is not null as is_resolved,
      (found.this).had_person, ends.*
    from found
    cross join lateral (
      select (found.this).first_customer_at as started_at, (found.this).first_customer_business_at as started_business_at,
        case when explain_lengths.metric = 'frt_any' then (found.this).first_any_at else (found.this).first_human_at end
          as ended_at,
        case when explain_lengths.metric = 'frt_any' then (found.this).first_any_business_at
          else (found.this).first_human_business_at end as ended_business_at,
        (explain_lengths.events)[found.first_customer].event_id as opened_by,
        (explain_lengths.events)[case when explain_lengths.metric = 'frt_any' then found.first_any
          else found.first_human end].event_id as closed_by
      where explain_lengths.metric in ('frt_customer', 'frt_any')
        or explain_lengths.metric = 'frt' and (found.this).clock_started_at is null
      union all
      select (found.this).clock_started_at, (found.this).clock_started_business_at, (found.this).first_human_at,
        (found.this).first_human_business_at, found.clock_event,
        (explain_lengths.events)[found.first_human].event_id
      where explain_lengths.metric = 'frt' and (found.this).clock_started_at is not null
      union all
      select (found.this).bot_started_at, (found.this).bot_started_business_at, (found.this).handed_off_at,
        (found.this).handed_off_business_at, (found.bot_span).opened_by, (found.bot_span).closed_by
      where explain_lengths.metric = 'handoff_s'
      union all
      select (found.this).started_at, (found.this).started_business_at, (found.this).first_resolved_at,
        (found.this).first_resolved_business_at, (explain_lengths.events)[found.first_place].event_id,
        (explain_lengths.events)[found.first_resolve].event_id
      where explain_lengths.metric = 'ttr_first'
      union all
      select (found.this).started_at, (found.this).started_business_at, (found.this).last_resolved_at,
        (found.this).last_resolved_business_at, (explain_lengths.events)[found.first_place].event_id,
        (explain_lengths.events)[found.last_resolve].event_id
      where explain_lengths.metric in ('ttr_full', 'ttr_active', 'ttr_human')
      union all
      select (found.this).first_assigned_at, (found.this).first_assigned_business_at, (found.this).last_resolved_at,
        (found.this).last_resolved_business_at, stations.first_event,
        (explain_lengths.events)[found.last_resolve].event_id
      from ledger.stations(found.episode, explain_lengths.spans) as stations
      where explain_lengths.metric = 'first_assignment_to_resolve'
      union all
      select (found.this).last_assigned_at, (found.this).last_assigned_business_at, (found.this).last_resolved_at,
        (found.this).last_resolved_business_at, stations.last_event,
        (explain_lengths.events)[found.last_resolve].event_id
      from ledger.stations(found.episode, explain_lengths.spans) as stations
      where explain_lengths.metric = 'last_assignment_to_resolve'
    ) as ends
  )
  select pairs.episode,
    case when v_is_response then 'response' when explain_lengths.metric = 'handoff_s' then 'bot phase before the hand-off'
      when explain_lengths.metric like '%assignment%' then 'assigned' else 'whole' end,
    judged.is_counted,
    case
      when v_is_response then case
        when pairs.is_outbound then 'we started it, so there is no first response'
        when pairs.started_at is null then 'the customer has written nothing'
        when pairs.ended_at is not null then case explain_lengths.metric
          when 'frt' then case when pairs.opened_by is distinct from (explain_lengths.events)[pairs.first_customer].event_id
            then 'from the hand-off to the first message of a person'
            else 'from the customer''s first message to the first message of a person' end
          when 'frt_customer' then 'from the customer''s first message to the first message of a person'
          else 'from the customer''s first message to the first answer of a bot or person' end
        when pairs.is_resolved then 'closed without a reply'
        else 'nobody has replied yet' end
      when explain_lengths.metric = 'handoff_s' then case when judged.is_counted then 'until the bot''s first hand-off'
        else 'no bot handed it off' end
      when explain_lengths.metric = 'ttr_first' then case when judged.is_counted then 'from the begin to the first resolve'
        else 'was never resolved' end
      when not pairs.is_resolved then 'is not resolved'
      when explain_lengths.metric like '%assignment%' then case when not judged.is_counted then 'no person ever got it'
        when explain_lengths.metric like 'first%' then 'from the first time a person got it to the last resolve'
        else 'from the last time another person got it to the last resolve' end
      when not judged.is_counted then 'no person ever had it'
      else 'from the begin to the last resolve' end,
    pairs.started_at, pairs.started_business_at,
    -- Not resolved now: the last resolve is no end.
    case when v_is_response or judged.is_counted then pairs.ended_at end,
    case when v_is_response or judged.is_counted then pairs.ended_business_at end,
    pairs.opened_by, case when v_is_response or judged.is_counted then pairs.closed_by end, 1
  from pairs
  cross join lateral (select pairs.started_at is not null and pairs.ended_at is not null and case
    when v_is_response then pairs.is_outbound is false
    when explain_lengths.metric in ('ttr_first', 'handoff_s') then true
    when explain_lengths.metric = 'ttr_human' then pairs.is_resolved and pairs.had_person
    else pairs.is_resolved end as is_counted) as judged
  union all
  -- What came between the customer's first message and the response.
  select found.episode, case events.class when 'note' then 'note' when 'auto' then 'automatic message'
      when 'failed' then 'failed message' when 'bot' then 'message of a bot' else 'hand-off' end, false,
    case events.class when 'note' then 'the customer does not see it' when 'auto' then 'written by no one'
      when 'failed' then 'could not be delivered' when 'bot' then 'a bot is no person'
      else 'the clock of frt starts here, not at the customer''s first message' end,
    events.occurred_at, null, events.occurred_at, null, events.event_id, events.event_id, 1
  from found
  join unnest(explain_lengths.events) as events on events.episode = found.episode
  where v_is_response and (found.this).is_outbound is false and events.place > found.first_customer
    and (events.place < case when explain_lengths.metric = 'frt_any' then found.first_any else found.first_human end
      or case when explain_lengths.metric = 'frt_any' then found.first_any else found.first_human end is null)
    and (events.class in ('note', 'auto', 'failed', 'bot')
      or explain_lengths.metric = 'frt' and events.event_id = found.clock_event)
  union all
  select waits.episode, 'wait', false, 'measured by reply_time, not by ' || explain_lengths.metric, waits.started_at,
    waits.started_business_at, waits.ended_at, waits.ended_business_at, waits.opened_by, waits.closed_by, 1
  from unnest(explain_lengths.spans) as waits
  where v_is_response and waits.kind = 'wait' and waits.value = 'later' and coalesce(waits.closed_as, '') = 'reply';
end
$$;
comment on function ledger.explain_lengths is 'The parts of a metric that is one length between two instants.';

create function ledger.stations(episode integer, spans ledger.spans[], out first_event bigint, out last_event bigint)
language plpgsql immutable security invoker set search_path = '' as $$
begin
  select (array_agg(told.opened_by order by told.number))[1], (array_agg(told.opened_by order by told.number desc))[1]
  into stations.first_event, stations.last_event
  from (
    select held.number, held.opened_by, held.value, lag(held.value) over (order by held.number) as value_before
    from unnest(stations.spans) as held where held.episode = stations.episode and held.kind = 'holder'
  ) as told
  where told.value like 'user:%' and told.value is distinct from told.value_before;
end
$$;
comment on function ledger.stations is 'The events by which a person got an episode for the first and for the last time.';

create function ledger.explain_counts(
  metric text, episodes ledger.episodes[], events ledger.placed_event[]
) returns setof ledger.metric_part
-- What is a number of events: one part an event.
language plpgsql stable security invoker set search_path = '' as $$
begin
  if explain_counts.metric = 'episodes' then
    return query
    select told.episode, 'episode', true, case when told.episode = 1 then 'the first message'
        else 'nothing had been open for longer than the episode gap' end, told.started_at, told.started_business_at,
      case when told.status = 'resolved' then told.last_resolved_at end,
      case when told.status = 'resolved' then told.last_resolved_business_at end, begins.event_id, null::bigint, 1
    from unnest(explain_counts.episodes) as told
    left join lateral (select events.event_id from unnest(explain_counts.events) as events
      where events.episode = told.episode order by events.place limit 1) as begins on true;
    return;
  elsif explain_counts.metric in ('resolutions', 'resolutions_until', 'reopens', 'reopens_raw', 'reopens_until') then
    return query
    with changes as (
      select events.*, events.place = min(events.place) over (partition by events.episode) as is_first
      from unnest(explain_counts.events) as events
    )
    select shown.episode, case when changes.value = 'resolved' then 'resolve' else 'reopen' end,
      explain_counts.metric <> 'reopens' or (not changes.is_first and exists (
        select from changes as earlier where earlier.episode = changes.episode and earlier.place < changes.place
          and earlier.kind = 'status' and earlier.value = 'resolved' and earlier.value_before <> 'resolved')),
      case when explain_counts.metric <> 'reopens' then case
          when changes.episode is null then 'before anybody had spoken'
          when changes.episode is distinct from shown.episode then 'in an earlier episode'
          when changes.value = 'resolved' then 'became resolved' else 'was resolved before' end
        when changes.is_first then 'later than the episode gap: it begins a new episode'
        when changes.episode is null then 'before anybody had spoken'
        when exists (select from changes as earlier where earlier.episode = changes.episode
          and earlier.place < changes.place and earlier.kind = 'status' and earlier.value = 'resolved'
          and earlier.value_before <> 'resolved') then 'within the episode gap'
        else 'was resolved since before this episode began' end,
      changes.occurred_at, null::timestamptz, changes.occurred_at, null::timestamptz, changes.event_id,
      changes.event_id, 1
    from changes
    cross join lateral (
      select changes.episode where explain_counts.metric not like '%until'
      union all
      select told.episode from unnest(explain_counts.episodes) as told
      where explain_counts.metric like '%until' and told.episode >= coalesce(changes.episode, 1)
    ) as shown
    where changes.kind = 'status' and (changes.value = 'resolved') <> (changes.value_before = 'resolved')
      and (changes.value = 'resolved') = (explain_counts.metric like 'resolutions%');
    return;
  end if;
  return query
  select said.episode, case said.class when 'customer' then 'message of the customer' when 'human' then 'message of a person'
      when 'bot' then 'message of a bot' when 'note' then 'note' when 'auto' then 'automatic message'
      else 'failed message' end,
    judged.is_counted,
    case when explain_counts.metric = 'turns' then case
        when judged.is_counted then 'begins a turn' when said.class = 'human' then 'goes on with the turn'
        else 'not of a person' end
      when judged.is_counted then 'counts' when said.class = 'failed' then 'could not be delivered'
      when said.class = 'note' then 'the customer does not see it' when said.class = 'auto' then 'written by no one'
      else 'not of a person' end,
    said.occurred_at, null::timestamptz, said.occurred_at, null::timestamptz, said.event_id, said.event_id, 1
  from (
    select events.*, lag(events.class) over (partition by events.episode, events.class in ('human', 'customer')
      order by events.place) as class_before
    from unnest(explain_counts.events) as events
    where events.kind = 'message' and events.episode is not null
  ) as said
  cross join lateral (select case explain_counts.metric when 'customer_messages' then said.class = 'customer'
      when 'human_replies' then said.class = 'human' when 'bot_replies' then said.class = 'bot'
      when 'notes' then said.class = 'note'
      else said.class = 'human' and said.class_before is distinct from 'human' end as is_counted) as judged
  where judged.is_counted or explain_counts.metric in ('human_replies', 'turns') and said.class <> 'customer';
end
$$;
comment on function ledger.explain_counts is 'The parts of a metric that counts events.';

revoke all on function ledger.place_events, ledger.explain_spans, ledger.explain_lengths, ledger.stations,
  ledger.explain_counts from public, anon, authenticated, service_role;
