-- Learning: what all evidence together says a conversation went through, and what that changes in its log.
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
          lag(lines.at) over (partition by lines.account_id, lines.display_id
            order by lines.at, lines.source, lines.value, lines.source_id) as last_at
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
      select told.account_id, told.display_id, told.field, told.at, told.trust, told.place, told.previous, told.source,
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
        select evidence.*, row_number() over in_order as place, lead(evidence.previous) over in_order as next_previous,
          lead(evidence.trust) over in_order as next_trust, lead(evidence.at) over in_order as next_at,
          lead(evidence.value) over in_order as next_value
        from evidence
        -- To the last word, since what is told again must come in the order in which it was.
        window in_order as (partition by evidence.account_id, evidence.display_id, evidence.field
          order by evidence.at, evidence.trust, evidence.is_later, evidence.value, evidence.previous, evidence.source,
            evidence.source_id)
      ) as told
    ), chained as (
      select begun.*, lag(begun.value) over in_order as before
      from begun
      window in_order as (partition by begun.account_id, begun.display_id, begun.field order by begun.place)
    ), reopened as (
      -- Resolved twice, it was opened in between, though Chatwoot lost the opening. When is not known, only that it was
      -- before the second time.
      select again.account_id, again.display_id, again.field, again.at, again.place, again.source, again.source_id
      from (
        select chained.*, max(case when chained.trust = 0 then chained.held_since
          when chained.value <> chained.before or (chained.is_lone and chained.value = 'resolved') then chained.at end)
          over (partition by chained.account_id, chained.display_id order by chained.place
            rows between unbounded preceding and 1 preceding) as resolved_at
        from chained where chained.field = 'status'
      ) as again
      where again.trust = 2 and again.is_lone and again.value = 'resolved' and again.before = 'resolved'
        and again.resolved_at < again.at - interval '1 minute'
    )
    select row(facts.account_id, null, facts.display_id, facts.kind, facts.occurred_at,
      -- Counted at the end, since more evidence that changes nothing must move nothing.
      case when facts.step = 0 then 0 else row_number() over (partition by facts.account_id, facts.display_id, facts.kind,
        facts.occurred_at, facts.step = 0 order by facts.place, facts.step) end, null, facts.value, facts.previous, null, null,
      facts.source, facts.source_id, null, null)::ledger.events
    from (
      select chained.account_id, chained.display_id, case chained.field when 'status' then 'created' else chained.field end as kind,
        chained.created_at as occurred_at, chained.place, 0 as step, chained.value, '' as previous, chained.source,
        chained.display_id::text as source_id
      from chained where chained.is_begin and (chained.field = 'status' or chained.value not in ('', '[]'))
      union all
      -- Something changed unseen in between: when is not known, only that it was before.
      select chained.account_id, chained.display_id, chained.field, chained.at, chained.place, 1, chained.previous,
        chained.before, chained.source, chained.source_id
      from chained where chained.trust > 0 and chained.previous <> chained.before
      union all
      select chained.account_id, chained.display_id, chained.field, chained.at, chained.place, 2, chained.value,
        coalesce(chained.previous, chained.before), chained.source, chained.source_id
      from chained where chained.trust > 0 and chained.value <> coalesce(chained.previous, chained.before)
      union all
      select reopened.account_id, reopened.display_id, reopened.field, reopened.at, reopened.place, 1, 'open', 'resolved',
        reopened.source, reopened.source_id
      from reopened
      union all
      select reopened.account_id, reopened.display_id, reopened.field, reopened.at, reopened.place, 2, 'resolved', 'open',
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
