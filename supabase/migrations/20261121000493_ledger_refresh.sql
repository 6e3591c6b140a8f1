-- Keeping the ledger true. What is new stands in the queue; a refresh works it off: first the log, from the mirror and the
-- evidence, then episodes and spans, from the log. One function does it for one conversation or ten thousand. A webhook
-- refreshes its own conversation within its transaction where that costs little; everything else is worked off by cron.
create table ledger.conversations (
  account_id bigint not null,
  display_id bigint not null,
  events bigint not null,
  episodes integer not null,
  refreshed_at timestamptz not null,
  customer_messages bigint,
  human_replies bigint,
  bot_replies bigint,
  notes bigint,
  turns bigint,
  resolutions bigint,
  reopens bigint,
  wait_longest_ended numeric,
  wait_longest_ended_business numeric,
  wait_ended numeric,
  wait_ended_business numeric,
  open_ended numeric,
  open_ended_business numeric,
  third_party_ended numeric,
  third_party_ended_business numeric,
  snoozed_ended numeric,
  snoozed_ended_business numeric,
  bot_ended numeric,
  bot_ended_business numeric,
  unassigned_ended numeric,
  unassigned_ended_business numeric,
  unknown_holder_ended numeric,
  constraint conversations_pkey primary key (account_id, display_id)
);
comment on table ledger.conversations is 'How far the ledger of each conversation is, and what its episodes before the last one add up to.';
comment on column ledger.conversations.account_id is 'Chatwoot''s account id.';
comment on column ledger.conversations.display_id is 'The conversation''s number in its account.';
comment on column ledger.conversations.events is 'Rows ever written to its log: what walking it from the beginning costs at most.';
comment on column ledger.conversations.episodes is 'Number of its episodes.';
comment on column ledger.conversations.refreshed_at is 'When its numbers were last made (UTC).';

create function ledger.state_facts(asked ledger.queue[]) returns ledger.events[]
-- What all evidence together says of status, assignee, team, priority and labels. Order of trust:
-- 1. a change that a webhook told: exact to the millisecond, with what was before;
-- 2. Chatwoot's own lines and reporting events: a status and an instant, a moment late. As many of them give way as there
--    are changes to the same status within the minute before;
-- 3. a snapshot: surely so at its instant, so what differs from before changed then at the latest. It gives way to a
--    change of the same field in its millisecond.
-- All of them come at or after what they tell, so of several that say the same the earliest is the nearest.
-- Two resolves in a row tell of an opening in between, which then nothing else does.
language plpgsql stable security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return array(
    with ranges as materialized (
      select asked.account_id, asked.display_id, mirrored.created_at, asked.states_since as since
      from unnest(state_facts.asked) as asked
      join chatwoot.conversations as mirrored
        on mirrored.account_id = asked.account_id and mirrored.display_id = asked.display_id
      where asked.states_since is not null and mirrored.created_at is not null
    ), lines as materialized (
      select told.account_id, told.display_id, told.created_at, told.at, told.value, told.source, told.source_id,
        -- No other line just before that it could be a second word of.
        coalesce(told.last_at, '-infinity') < told.at - interval '1 minute' as is_lone
      from (
        select lines.*, count(*) over (partition by lines.account_id, lines.display_id, lines.source, lines.value
          order by lines.at range between interval '1 minute' preceding and current row) as lines,
          lag(lines.at) over (partition by lines.account_id, lines.display_id order by lines.at, lines.source) as last_at
        from (
          select ranges.account_id, ranges.display_id, ranges.created_at, ranges.since, reports.event_ended_at as at,
            case reports.name when 'conversation_resolved' then 'resolved' else 'open' end as value,
            'reporting_event' as source, reports.event_id::text as source_id
          from ranges
          join chatwoot.reporting_events as reports on reports.conversation_display_id = ranges.display_id
            and reports.account_id = ranges.account_id and reports.event_ended_at >= ranges.since - interval '1 minute'
          where reports.name in ('conversation_resolved', 'conversation_opened', 'conversation_bot_handoff')
          union all
          select ranges.account_id, ranges.display_id, ranges.created_at, ranges.since, lines.created_at,
            lines.content_attributes #>> '{activity,status}', 'activity', lines.message_id::text
          from ranges
          join chatwoot.messages as lines on lines.conversation_display_id = ranges.display_id
            and lines.account_id = ranges.account_id and lines.created_at >= ranges.since - interval '1 minute'
          where lines.message_type = 'activity'
            and lines.content_attributes #>> '{activity,type}' = 'conversation_status_changed'
            and lines.content_attributes #>> '{activity,status}' in ('open', 'resolved', 'pending', 'snoozed')
        ) as lines
      ) as told
      cross join lateral (
        select count(*) as number, max(changes.changed_at) as last from ledger.changes
        where changes.account_id = told.account_id and changes.display_id = told.display_id
          and changes.field = 'status' and changes.value = told.value
          and changes.changed_at between told.at - interval '1 minute' and told.at + interval '1 second'
      ) as changed
      where told.at >= told.since and told.lines > changed.number
        and (changed.last is null or changed.last < told.at - interval '1 second')
    ), seen as materialized (
      -- What looks as it did just before says nothing new, unless something is told to have happened in between, or in
      -- the millisecond of what was just before, which then did not have the last word itself.
      select shown.*,
        lag(shown.fingerprint) over in_order is distinct from shown.fingerprint
          or coalesce(lag(shown.changed_at, 2) over in_order
            >= date_trunc('milliseconds', lag(shown.changed_at) over in_order), false) as is_new,
        lag(shown.fingerprint) over in_order is not null
          and lag(shown.changed_at) over in_order = shown.changed_at as is_silent
      from (
        select ranges.account_id, ranges.display_id, ranges.created_at, snapshots.changed_at, snapshots.seen_at,
          snapshots.fingerprint, snapshots.status, snapshots.assignee, snapshots.team, snapshots.priority, snapshots.labels
        from ranges
        join ledger.snapshots on snapshots.account_id = ranges.account_id and snapshots.display_id = ranges.display_id
          and snapshots.changed_at >= ranges.since
        union all
        select ranges.account_id, ranges.display_id, ranges.created_at, changes.changed_at, '-infinity', null, null, null,
          null, null, null
        from ranges
        join ledger.changes on changes.account_id = ranges.account_id and changes.display_id = ranges.display_id
          and changes.changed_at >= ranges.since
        union all
        select lines.account_id, lines.display_id, lines.created_at, lines.at, '-infinity', null, null, null, null, null, null
        from lines
      ) as shown
      window in_order as (partition by shown.account_id, shown.display_id
        order by shown.changed_at, shown.seen_at, shown.fingerprint nulls first)
    ), evidence as (
      select ranges.account_id, ranges.display_id, ranges.created_at, changes.field, changes.changed_at as at, 1 as trust,
        changes.previous, changes.value, 'change' as source,
        to_char(changes.changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as source_id,
        -- Of two within a millisecond the one comes later that begins where the other ends.
        exists (select from ledger.changes as others where others.account_id = changes.account_id
          and others.display_id = changes.display_id and others.field = changes.field
          and others.changed_at = changes.changed_at and others.value = changes.previous
          and others.fingerprint <> changes.fingerprint) as is_later, false as is_lone, null::timestamptz as held_since
      from ranges
      join ledger.changes on changes.account_id = ranges.account_id and changes.display_id = ranges.display_id
        and changes.changed_at >= ranges.since
      union all
      select lines.account_id, lines.display_id, lines.created_at, 'status', lines.at, 2, null, lines.value, lines.source,
        lines.source_id, false, lines.is_lone, null
      from lines
      union all
      select seen.account_id, seen.display_id, seen.created_at, fields.field,
        -- What differs without a later updated_at changed in silence: known no sooner than it was read.
        case when seen.is_silent and isfinite(seen.seen_at) then seen.seen_at else seen.changed_at end, 3,
        null, fields.value, 'snapshot', to_char(seen.changed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), false, false, null
      from seen
      cross join lateral (values ('status', seen.status), ('assignee', seen.assignee), ('team', seen.team),
        ('priority', seen.priority), ('labels', seen.labels)) as fields (field, value)
      where seen.fingerprint is not null and (seen.is_new or seen.is_silent)
        and ((seen.is_silent and isfinite(seen.seen_at)) or not exists (select from ledger.changes
          where changes.account_id = seen.account_id and changes.display_id = seen.display_id
            and changes.field = fields.field and changes.changed_at = date_trunc('milliseconds', seen.changed_at)))
      union all
      -- What held before the range; null for a whole history, whose begin is worked out below.
      select ranges.account_id, ranges.display_id, ranges.created_at, fields.field, '-infinity', 0, null, case when isfinite(ranges.since)
        then coalesce(before.value, case fields.field when 'labels' then '[]' else '' end) end, 'conversation', '', false,
        false, coalesce(before.occurred_at, ranges.created_at)
      from ranges
      cross join (values ('status'), ('assignee'), ('team'), ('priority'), ('labels')) as fields (field)
      left join lateral (
        select events.value, events.occurred_at from ledger.events
        where isfinite(ranges.since) and events.display_id = ranges.display_id and events.account_id = ranges.account_id
          and events.unlearnt_at is null and events.occurred_at < ranges.since and events.kind <> 'message'
          and (events.kind = fields.field or (fields.field = 'status' and events.kind = 'created'))
        order by events.occurred_at desc, events.kind = 'status' desc, events.place desc limit 1
      ) as before on true
    ), begun as (
      select told.account_id, told.display_id, told.field, told.at, told.trust, told.is_later, told.previous, told.source,
        told.source_id, told.is_lone, told.held_since, case when told.value is not null then told.value
          when told.next_previous is not null then told.next_previous
          when told.next_trust = 3 and told.next_at <= told.created_at + interval '5 seconds' then told.next_value
          when told.field = 'labels' then '[]'
          when told.field = 'status' then case
            when told.next_trust = 3 and told.next_value in ('open', 'pending') then told.next_value
            -- A line tells of a change: what was opened was not open, and anything but pending leaves a line of its own.
            when told.next_trust = 2 and told.next_value = 'open' then 'pending'
            else 'open' end
          -- Seen only long after: nobody can say whose it was from the start.
          when told.field = 'assignee' and told.next_value <> '' then '?'
          else '' end as value,
        told.trust = 0 and told.value is null as is_begin, told.created_at
      from (
        select evidence.*, lead(evidence.previous) over in_order as next_previous,
          lead(evidence.trust) over in_order as next_trust, lead(evidence.at) over in_order as next_at,
          lead(evidence.value) over in_order as next_value
        from evidence
        window in_order as (partition by evidence.account_id, evidence.display_id, evidence.field
          order by evidence.at, evidence.trust, evidence.is_later, evidence.value)
      ) as told
    ), chained as (
      select begun.*, lag(begun.value) over in_order as before,
        row_number() over (partition by begun.account_id, begun.display_id, begun.field, begun.at
          order by begun.trust, begun.is_later, begun.value) as number
      from begun
      window in_order as (partition by begun.account_id, begun.display_id, begun.field
        order by begun.at, begun.trust, begun.is_later, begun.value)
    ), reopened as (
      -- Resolved twice, it was opened in between, though Chatwoot lost the opening. When is not known, only that it was
      -- before the second time.
      select again.account_id, again.display_id, again.field, again.at, again.number, again.source, again.source_id
      from (
        select chained.*, max(case when chained.trust = 0 then chained.held_since
          when chained.value <> chained.before or (chained.is_lone and chained.value = 'resolved') then chained.at end)
          over (partition by chained.account_id, chained.display_id order by chained.at, chained.trust, chained.is_later,
            chained.value rows between unbounded preceding and 1 preceding) as resolved_at
        from chained where chained.field = 'status'
      ) as again
      where again.trust = 2 and again.is_lone and again.value = 'resolved' and again.before = 'resolved'
        and again.resolved_at < again.at - interval '1 minute'
    )
    select row(facts.account_id, null, facts.display_id, facts.kind, facts.occurred_at, facts.place, null, facts.value,
      facts.previous, null, null, facts.source, facts.source_id, null, null)::ledger.events
    from (
      select chained.account_id, chained.display_id, case chained.field when 'status' then 'created' else chained.field end as kind,
        chained.created_at as occurred_at, 0 as place, chained.value, '' as previous, chained.source,
        chained.display_id::text as source_id
      from chained where chained.is_begin and (chained.field = 'status' or chained.value not in ('', '[]'))
      union all
      -- Something changed unseen in between: when is not known, only that it was before.
      select chained.account_id, chained.display_id, chained.field, chained.at, 2 * chained.number, chained.previous,
        chained.before, chained.source, chained.source_id
      from chained where chained.trust > 0 and chained.previous <> chained.before
      union all
      select chained.account_id, chained.display_id, chained.field, chained.at, 2 * chained.number + 1, chained.value,
        coalesce(chained.previous, chained.before), chained.source, chained.source_id
      from chained where chained.trust > 0 and chained.value <> coalesce(chained.previous, chained.before)
      union all
      select reopened.account_id, reopened.display_id, reopened.field, reopened.at, 2 * reopened.number, 'open', 'resolved',
        reopened.source, reopened.source_id
      from reopened
      union all
      select reopened.account_id, reopened.display_id, reopened.field, reopened.at, 2 * reopened.number + 1, 'resolved', 'open',
        reopened.source, reopened.source_id
      from reopened
    ) as facts
  );
end
$$;
comment on function ledger.state_facts is
  'What status, assignee, team, priority and labels went through from states_since on: rows of ledger.events without numbers and instants of learning.';

create function ledger.learn(asked ledger.queue[], as_of timestamptz)
returns table (account_id bigint, display_id bigint, changed_since timestamptz, added bigint)
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_asked ledger.queue[] := learn.asked;
  v_facts ledger.events[] := '{}'::ledger.events[];
  v_news ledger.events[];
  v_event ledger.events;
begin
  if exists (select from unnest(v_asked) as asked where asked.states_since is not null) then
    -- Evidence weighs on what is told up to a minute later. What may change how a conversation began changes everything.
    v_asked := array(
      select row(asked.account_id, asked.display_id, asked.messages_since,
        case when asked.states_since is null then null
          when born.occurred_at = mirrored.created_at
            -- A snapshot tells all, so what comes after one is no beginning.
            and exists (select from ledger.snapshots where snapshots.account_id = asked.account_id
              and snapshots.display_id = asked.display_id
              and snapshots.changed_at < asked.states_since - interval '2 minutes')
            -- What changed in silence stands later in the log than the snapshot that shows it.
            and not exists (select from ledger.events where events.display_id = asked.display_id
              and events.account_id = asked.account_id and events.occurred_at >= asked.states_since - interval '2 minutes'
              and events.unlearnt_at is null and events.kind <> 'message' and events.source = 'snapshot'
              and events.source_id::timestamptz < asked.states_since - interval '2 minutes')
            then asked.states_since - interval '2 minutes'
          else '-infinity' end,
        asked.walk_since, asked.queued_at, asked.attempts, asked.retry_at, asked.problem)::ledger.queue
      from unnest(learn.asked) as asked
      left join chatwoot.conversations as mirrored
        on mirrored.account_id = asked.account_id and mirrored.display_id = asked.display_id
      left join lateral (
        select events.occurred_at from ledger.events
        where events.display_id = asked.display_id and events.account_id = asked.account_id and events.kind = 'created'
          and events.unlearnt_at is null
        order by events.occurred_at limit 1
      ) as born on true);
    v_facts := ledger.state_facts(v_asked);
  end if;
  v_facts := v_facts || array(
    select row(asked.account_id, null, asked.display_id, 'message', messages.created_at, messages.message_id,
      messages.class, messages.value, '', messages.sender_kind, messages.sender_id, 'message', messages.message_id::text,
      null, null)::ledger.events
    from unnest(v_asked) as asked
    cross join lateral (
      select told.created_at, told.message_id, told.sender_kind, told.sender_id,
        ledger.message_class(told.message_type, told.private, told.content_type, told.sender_kind, told.delivery_status,
          told.content_attributes, told.additional_attributes) as class,
        case when told.content_type = 'input_csat' then 'survey'
          when told.sender_kind not in ('user', 'contact') and told.content ~ '\?\s*$' then 'question' else '' end as value
      from chatwoot.messages as told
      where told.conversation_display_id = asked.display_id and told.account_id = asked.account_id
        and told.created_at >= asked.messages_since
    ) as messages
    where asked.messages_since is not null and messages.class is not null
    union all
    select row(asked.account_id, null, asked.display_id, 'csat', answers.first_answered_at, answers.message_id, null,
      answers.rating::text, '', 'contact', null, 'csat_response', answers.message_id::text, null, null)::ledger.events
    from unnest(v_asked) as asked
    join chatwoot.csat_responses as answers on answers.conversation_display_id = asked.display_id
      and answers.account_id = asked.account_id
    where asked.messages_since is not null and answers.rating is not null and answers.first_answered_at is not null);
  -- What is both told and held stays. Grouped and not joined, and what is held looked up conversation by conversation,
  -- since then no plan is slow, also one made while the table was empty.
  v_news := array(
    select row(both_sides.account_id, max(both_sides.event_id), both_sides.display_id, both_sides.kind,
      both_sides.occurred_at, both_sides.place, both_sides.class, both_sides.value, both_sides.previous,
      both_sides.actor_kind, both_sides.actor_id, both_sides.source, both_sides.source_id, null, null)::ledger.events
    from (
      select facts.* from unnest(v_facts) as facts
      union all
      select held.* from unnest(v_asked) as asked
      cross join lateral (
        select events.* from ledger.events
        where events.display_id = asked.display_id and events.account_id = asked.account_id
          and events.unlearnt_at is null and events.occurred_at >= least(asked.messages_since, asked.states_since)
        offset 0
      ) as held
      where held.occurred_at >= case when held.kind = 'message' then asked.messages_since
        when held.kind = 'csat' then null else asked.states_since end
      union all
      -- An answer may be to a survey of long ago.
      select held.* from unnest(v_asked) as asked
      cross join lateral (
        select events.* from chatwoot.csat_responses as answers
        join ledger.events on events.display_id = asked.display_id and events.account_id = asked.account_id
          and events.kind = 'csat' and events.place = answers.message_id and events.unlearnt_at is null
        where answers.conversation_display_id = asked.display_id and answers.account_id = asked.account_id
        offset 0
      ) as held
      where asked.messages_since is not null
    ) as both_sides
    group by both_sides.account_id, both_sides.display_id, both_sides.kind, both_sides.occurred_at, both_sides.place,
      both_sides.class, both_sides.value, both_sides.previous, both_sides.actor_kind, both_sides.actor_id,
      both_sides.source, both_sides.source_id
    having count(*) = 1);
  foreach v_event in array v_news loop
    if v_event.event_id is not null then
      update ledger.events as existing set unlearnt_at = learn.as_of
      where existing.account_id = v_event.account_id and existing.display_id = v_event.display_id
        and existing.event_id = v_event.event_id;
    end if;
  end loop;
  insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, value, previous, actor_kind,
    actor_id, source, source_id, learnt_at)
  select news.account_id, news.display_id, news.kind, news.occurred_at, news.place, news.class, news.value, news.previous,
    news.actor_kind, news.actor_id, news.source, news.source_id, learn.as_of
  from unnest(v_news) as news where news.event_id is null;
  return query
  select news.account_id, news.display_id,
    -- A rating may be for an episode that is long over.
    min(case when news.kind = 'csat' then '-infinity' else news.occurred_at end),
    count(*) filter (where news.event_id is null)
  from unnest(v_news) as news
  group by news.account_id, news.display_id;
end
$$;
comment on function ledger.learn is
  'Brings the log of conversations up to what the mirror and the evidence say; one row a conversation that changed, with the instant of the earliest change.';

create function ledger.requests(
  given ledger.queue[], as_of timestamptz default 'infinity', learnt_by timestamptz default null
) returns ledger.walk_request[]
language plpgsql stable security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return array(
    select row(given.account_id, given.display_id,
      coalesce(given.walk_since > last_one.last_event_at and last_one.calendar_id is not distinct from calendars.calendar_id
        and last_one.calendar_revision is not distinct from calendars.revision, false),
      make_interval(secs => coalesce(own.episode_gap_seconds, shared.episode_gap_seconds, 259200)),
      make_interval(secs => coalesce(own.durable_seconds, shared.durable_seconds, 604800)),
      coalesce(own.has_bot, shared.has_bot), calendars.calendar_id, calendars.revision, mirrored.inbox_id,
      mirrored.contact_id)::ledger.walk_request
    from unnest(requests.given) as given
    left join chatwoot.conversations as mirrored
      on mirrored.account_id = given.account_id and mirrored.display_id = given.display_id
    left join ledger.rules as own on own.account_id = given.account_id and own.inbox_id = mirrored.inbox_id
    left join ledger.rules as shared on shared.account_id = given.account_id and shared.inbox_id = 0
    left join lateral (
      -- The team as it was then.
      select nullif(events.value, '')::bigint as team_id from ledger.events
      where isfinite(requests.as_of) and events.display_id = given.display_id and events.account_id = given.account_id
        and events.kind = 'team' and events.occurred_at <= requests.as_of
        and case when requests.learnt_by is null then events.unlearnt_at is null
          else events.learnt_at <= requests.learnt_by
            and (events.unlearnt_at is null or events.unlearnt_at > requests.learnt_by) end
      order by events.occurred_at desc, events.place desc limit 1
    ) as then_team on true
    left join lateral (
      select chosen.calendar_id, kept.revision
      from (select ledger.calendar_for(given.account_id,
        case when isfinite(requests.as_of) then then_team.team_id else mirrored.team_id end, mirrored.inbox_id)
        as calendar_id) as chosen
      left join ledger.calendars as kept on kept.account_id = given.account_id and kept.calendar_id = chosen.calendar_id
    ) as calendars on true
    left join lateral (
      select episodes.last_event_at, episodes.calendar_id, episodes.calendar_revision
      from ledger.episodes
      where not isfinite(requests.as_of) and episodes.account_id = given.account_id
        and episodes.display_id = given.display_id
      order by episodes.episode desc limit 1
    ) as last_one on true
    order by given.account_id, given.display_id
  );
end
$$;
comment on function ledger.requests is
  'How each conversation is walked. walk_since is the earliest change: after the stored end only the tail is walked, else all.';

create function ledger.refresh(given ledger.queue[], as_of timestamptz default now(), most_events bigint default null)
returns bigint
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_walks ledger.queue[];
  v_requests ledger.walk_request[];
  v_long ledger.walk_request[];
  v_walked record;
begin
  with learnt as materialized (
    select * from ledger.learn(refresh.given, refresh.as_of)
  ), counted as (
    insert into ledger.conversations as existing (account_id, display_id, events, episodes, refreshed_at)
    select learnt.account_id, learnt.display_id, learnt.added, 0, refresh.as_of from learnt
    order by learnt.account_id, learnt.display_id
    on conflict on constraint conversations_pkey do update set events = existing.events + excluded.events
    returning 1
  ), changed as (
    select every.account_id, every.display_id, min(every.since) as since
    from (
      select given.account_id, given.display_id, given.walk_since as since from unnest(refresh.given) as given
      union all
      select learnt.account_id, learnt.display_id, learnt.changed_since from learnt
    ) as every
    where every.since is not null
    group by every.account_id, every.display_id
  )
  select array_agg(row(walks.account_id, walks.display_id, null, null, walks.since, refresh.as_of, 0, null, null)::ledger.queue)
  into v_walks
  from (
    select every.account_id, every.display_id, min(every.since) as since
    from (
      select changed.account_id, changed.display_id, changed.since from changed
      union all
      select merges.account_id, merges.parent_display_id, changed.since
      from changed join ledger.merges on merges.account_id = changed.account_id
        and merges.child_display_id = changed.display_id
    ) as every
    group by every.account_id, every.display_id
  ) as walks;
  v_requests := ledger.requests(v_walks);
  if refresh.most_events is not null then
    v_long := array(select row(requests.*)::ledger.walk_request from unnest(v_requests) as requests
      join ledger.conversations as known on known.account_id = requests.account_id and known.display_id = requests.display_id
      where not requests.is_tail and known.events > refresh.most_events);
    if v_long <> '{}' then
      perform ledger.mark(long.account_id, long.display_id, walk_since => '-infinity', as_of => refresh.as_of)
      from unnest(v_long) as long;
      v_requests := array(select row(requests.*)::ledger.walk_request from unnest(v_requests) as requests
        where not exists (select from unnest(v_long) as long where long.account_id = requests.account_id
          and long.display_id = requests.display_id));
    end if;
  end if;
  if v_requests = '{}' then
    return 0;
  end if;
  v_walked := ledger.walk(v_requests);
  delete from ledger.episodes as old using unnest(v_requests) as requests
  where not requests.is_tail and old.account_id = requests.account_id and old.display_id = requests.display_id;
  delete from ledger.spans as old using unnest(v_requests) as requests
  where not requests.is_tail and old.account_id = requests.account_id and old.display_id = requests.display_id;
  if exists (select from unnest(v_requests) as requests where requests.is_tail) then
    delete from ledger.episodes as old using unnest(v_walked.episodes) as told
    where old.account_id = told.account_id and old.display_id = told.display_id and old.episode = told.episode;
    delete from ledger.spans as old using unnest(v_walked.spans) as told
    where old.account_id = told.account_id and old.display_id = told.display_id and old.episode = told.episode
      and old.kind = told.kind and old.number = told.number;
  end if;
  insert into ledger.episodes select told.* from unnest(v_walked.episodes) as told;
  insert into ledger.spans select told.* from unnest(v_walked.spans) as told;
  insert into ledger.conversations as existing (account_id, display_id, events, episodes, refreshed_at, customer_messages,
    human_replies, bot_replies, notes, turns, resolutions, reopens, wait_longest_ended, wait_longest_ended_business,
    wait_ended, wait_ended_business, open_ended, open_ended_business, third_party_ended,
    third_party_ended_business, snoozed_ended, snoozed_ended_business, bot_ended, bot_ended_business,
    unassigned_ended, unassigned_ended_business,
    unknown_holder_ended)
  select requests.account_id, requests.display_id, 0, coalesce(last_one.episode, 0), refresh.as_of, earlier.*
  from unnest(v_requests) as requests
  left join lateral (
    select max(episodes.episode) as episode from ledger.episodes
    where episodes.account_id = requests.account_id and episodes.display_id = requests.display_id
  ) as last_one on true
  left join lateral (
    select sum(before.customer_messages), sum(before.human_replies), sum(before.bot_replies), sum(before.notes),
      sum(before.turns), sum(before.resolutions), sum(before.reopens), max(before.wait_longest_ended),
      max(before.wait_longest_ended_business),
      sum(before.wait_ended), sum(before.wait_ended_business), sum(before.open_ended),
      sum(before.open_ended_business), sum(before.third_party_ended), sum(before.third_party_ended_business),
      sum(before.snoozed_ended), sum(before.snoozed_ended_business), sum(before.bot_ended),
      sum(before.bot_ended_business), sum(before.unassigned_ended), sum(before.unassigned_ended_business),
      sum(before.unknown_holder_ended)
    from ledger.episodes as before
    where last_one.episode > 1 and before.account_id = requests.account_id and before.display_id = requests.display_id
      and before.episode < last_one.episode
  ) as earlier on true
  order by requests.account_id, requests.display_id
  on conflict on constraint conversations_pkey do update set episodes = excluded.episodes,
    refreshed_at = excluded.refreshed_at, customer_messages = excluded.customer_messages,
    human_replies = excluded.human_replies, bot_replies = excluded.bot_replies, notes = excluded.notes,
    turns = excluded.turns, resolutions = excluded.resolutions, reopens = excluded.reopens,
    wait_longest_ended = excluded.wait_longest_ended,
    wait_longest_ended_business = excluded.wait_longest_ended_business,
    wait_ended = excluded.wait_ended, wait_ended_business = excluded.wait_ended_business,
    open_ended = excluded.open_ended, open_ended_business = excluded.open_ended_business,
    third_party_ended = excluded.third_party_ended,
    third_party_ended_business = excluded.third_party_ended_business,
    snoozed_ended = excluded.snoozed_ended, snoozed_ended_business = excluded.snoozed_ended_business,
    bot_ended = excluded.bot_ended, bot_ended_business = excluded.bot_ended_business,
    unassigned_ended = excluded.unassigned_ended,
    unassigned_ended_business = excluded.unassigned_ended_business,
    unknown_holder_ended = excluded.unknown_holder_ended;
  -- The clocks of service level policies run on these spans.
  perform sla.refresh(array(
    select row(requests.account_id, requests.display_id, null,
      case when requests.is_tail then walks.walk_since else '-infinity' end, null, null)::sla.asked
    from unnest(v_requests) as requests
    join unnest(v_walks) as walks on walks.account_id = requests.account_id and walks.display_id = requests.display_id),
    refresh.as_of);
  return cardinality(v_requests);
end
$$;
comment on function ledger.refresh is
  'Brings log, episodes and spans of the given conversations up to date; returns how many were walked. One whose log has more than most_events and cannot be gone on with is put on the queue instead.';

create function ledger.follow(account_id bigint, display_id bigint, as_of timestamptz default now()) returns boolean
-- Called for every webhook, within its transaction.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_queued ledger.queue;
  v_known record;
  v_problem text;
begin
  select queued.* into v_queued from ledger.queue as queued
  where queued.account_id = follow.account_id and queued.display_id = follow.display_id and queued.problem is null
  for update;
  if not found then
    return false;
  end if;
  select known.events, last_one.last_event_at into v_known
  from ledger.conversations as known
  left join ledger.episodes as last_one on last_one.account_id = known.account_id
    and last_one.display_id = known.display_id and last_one.episode = known.episodes
  where known.account_id = follow.account_id and known.display_id = follow.display_id;
  -- What reaches far back in a long conversation is left to cron, so that its webhooks stay quick.
  if v_known.events > 500 and (v_queued.walk_since is not null
    or least(v_queued.messages_since, v_queued.states_since) < v_known.last_event_at - interval '1 hour')
  then
    return false;
  end if;
  begin
    delete from ledger.queue as queued
    where queued.account_id = follow.account_id and queued.display_id = follow.display_id;
    perform ledger.refresh(array[v_queued], follow.as_of, 500);
  exception when others then
    -- The webhook is kept whatever becomes of the numbers; cron tries again.
    get stacked diagnostics v_problem = message_text;
    update ledger.queue as queued set problem = left(v_problem, 500), attempts = queued.attempts + 1
    where queued.account_id = follow.account_id and queued.display_id = follow.display_id;
    return false;
  end;
  return true;
end
$$;
comment on function ledger.follow is
  'Refreshes a conversation that is on the queue if that costs little; false when there was nothing to do or it is left to cron.';

create function ledger.work_off(batch_size integer default 250, as_of timestamptz default now()) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_batch ledger.queue[];
  v_one ledger.queue;
  v_problem text;
begin
  -- Webhooks of these conversations wait until this is done, so it must be soon: few of them, and of long ones one.
  v_batch := array(
    select row(batch.account_id, batch.display_id, batch.messages_since, batch.states_since, batch.walk_since,
      batch.queued_at, batch.attempts, batch.retry_at, batch.problem)::ledger.queue
    from (
      select queued.*, sum(coalesce(known.events, 30)) over (order by queued.queued_at, queued.account_id, queued.display_id)
        as events, row_number() over (order by queued.queued_at, queued.account_id, queued.display_id) as number
      from (
        select waiting.* from ledger.queue as waiting
        where waiting.retry_at is null or waiting.retry_at <= work_off.as_of
        order by waiting.queued_at, waiting.account_id, waiting.display_id
        limit work_off.batch_size for update skip locked
      ) as queued
      left join ledger.conversations as known
        on known.account_id = queued.account_id and known.display_id = queued.display_id
    ) as batch
    where batch.events <= 10000 or batch.number = 1);
  begin
    delete from ledger.queue as queued using unnest(v_batch) as batch
    where queued.account_id = batch.account_id and queued.display_id = batch.display_id;
    perform ledger.refresh(v_batch, work_off.as_of);
    return cardinality(v_batch);
  exception when others then
    null;
  end;
  -- One of them is the trouble: one by one, so that it alone stays behind.
  foreach v_one in array v_batch loop
    begin
      delete from ledger.queue as queued
      where queued.account_id = v_one.account_id and queued.display_id = v_one.display_id;
      perform ledger.refresh(array[v_one], work_off.as_of);
    exception when others then
      get stacked diagnostics v_problem = message_text;
      update ledger.queue as queued set problem = left(v_problem, 500), attempts = queued.attempts + 1,
        retry_at = work_off.as_of + least(interval '1 minute' * 2 ^ least(queued.attempts, 10), interval '6 hours')
      where queued.account_id = v_one.account_id and queued.display_id = v_one.display_id;
    end;
  end loop;
  return cardinality(v_batch);
end
$$;
comment on function ledger.work_off is 'Refreshes the conversations that wait longest, at most a batch; returns how many. One that fails is tried again later, with its problem beside it.';

create procedure ledger.tick(as_of timestamptz default null, budget interval default '45 seconds')
-- No SET clause: a procedure that commits cannot have one.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_batches integer := 0;
begin
  loop
    -- Of the transaction, since one of the session would outlive a tick that is stopped.
    exit when not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('ledger.tick', 0));
    exit when ledger.work_off(as_of => coalesce(tick.as_of, pg_catalog.now())) = 0;
    commit;
    v_batches := v_batches + 1;
    -- A history that comes all at once makes large tables of empty ones, and plans made for empty ones must not stay.
    if v_batches in (1, 10, 100) then
      analyze ledger.events, ledger.spans, ledger.episodes, ledger.conversations;
    end if;
    exit when pg_catalog.clock_timestamp() >= v_end;
  end loop;
end
$$;
comment on procedure ledger.tick is 'Works off the queue, batch by batch, until it is empty or the budget is used up. For cron; ends at once while another is at it.';

create function ledger.touch_calendar(account_id bigint, calendar_id bigint, since timestamptz) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_touched bigint;
begin
  -- What ended before is as it was.
  insert into ledger.queue as existing (account_id, display_id, walk_since, queued_at)
  select episodes.account_id, episodes.display_id, '-infinity'::timestamptz, now()
  from ledger.episodes
  where episodes.account_id = touch_calendar.account_id and episodes.calendar_id = touch_calendar.calendar_id
    and (episodes.status <> 'resolved' or episodes.last_event_at >= touch_calendar.since)
  union
  -- A policy may name a calendar of its own.
  select clocks.account_id, clocks.display_id, '-infinity', now()
  from sla.clocks
  where clocks.account_id = touch_calendar.account_id and clocks.calendar_id = touch_calendar.calendar_id
    and (clocks.state <> 'stopped' or clocks.stopped_at >= touch_calendar.since)
  order by 1, 2
  on conflict on constraint queue_pkey do update set walk_since = excluded.walk_since;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;
comment on function ledger.touch_calendar is 'Puts on the queue what a change of that calendar from since on can move; returns how many conversations.';

create function ledger.touch_scope(account_id bigint, scope text, scope_id bigint) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_touched bigint;
begin
  insert into ledger.queue as existing (account_id, display_id, walk_since, queued_at)
  select mirrored.account_id, mirrored.display_id, '-infinity', now()
  from chatwoot.conversations as mirrored
  where mirrored.account_id = touch_scope.account_id
    and case touch_scope.scope when 'inbox' then mirrored.inbox_id = touch_scope.scope_id
      when 'team' then mirrored.team_id = touch_scope.scope_id else true end
  order by 1, 2
  on conflict on constraint queue_pkey do update set walk_since = excluded.walk_since;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;
comment on function ledger.touch_scope is 'Puts on the queue the conversations of an account, inbox or team; returns how many.';

do $$
declare
  v_table text;
  v_function regprocedure;
  v_column text;
begin
  foreach v_table in array array['rules', 'snapshots', 'changes', 'events', 'merges', 'queue', 'episodes', 'spans', 'conversations'] loop
    execute format('alter table ledger.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on ledger.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on ledger.%I for select to analyst using (true)', v_table);
    execute format('grant select on ledger.%I to authenticated, analyst, service_role', v_table);
  end loop;
  for v_column in
    select columns.attname from pg_attribute as columns
    where columns.attrelid = 'ledger.conversations'::regclass and columns.attnum > 0
      and col_description(columns.attrelid, columns.attnum) is null
  loop
    execute format('comment on column ledger.conversations.%I is %L', v_column,
      format('%s of all its episodes before the last; null when there is one.', v_column));
  end loop;
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'ledger'::regnamespace
      and functions.proname = any (array['message_class', 'mark', 'observe', 'observe_changes', 'observe_messages',
        'observe_conversations', 'observe_answers', 'observe_reporting_events', 'take', 'new_episode', 'running_spans',
        'walk', 'add_ended', 'state_facts', 'learn', 'requests', 'refresh', 'follow', 'work_off', 'touch_calendar',
        'touch_scope'])
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
  revoke all on procedure ledger.tick from public, anon, authenticated, service_role;
end
$$;
