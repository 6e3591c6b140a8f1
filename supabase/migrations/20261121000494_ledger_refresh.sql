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
  -- The clocks of service level policies run on these spans. What went to and fro very often is left to cron.
  perform sla.refresh(array(
    select row(requests.account_id, requests.display_id, null,
      case when requests.is_tail then walks.walk_since else '-infinity' end, null, null)::sla.asked
    from unnest(v_requests) as requests
    join unnest(v_walks) as walks on walks.account_id = requests.account_id and walks.display_id = requests.display_id
    where refresh.most_events is null or not exists (select from ledger.episodes where episodes.account_id = requests.account_id
      and episodes.display_id = requests.display_id and episodes.states > 60)),
    refresh.as_of);
  if refresh.most_events is not null then
    perform ledger.mark(requests.account_id, requests.display_id, walk_since => walks.walk_since, as_of => refresh.as_of)
    from unnest(v_requests) as requests
    join unnest(v_walks) as walks on walks.account_id = requests.account_id and walks.display_id = requests.display_id
    where exists (select from sla.policies where policies.account_id = requests.account_id)
      and exists (select from ledger.episodes where episodes.account_id = requests.account_id
        and episodes.display_id = requests.display_id and episodes.states > 60);
  end if;
  -- And whoever waits now gets a draft.
  perform replies.refresh(array(select requests.account_id from unnest(v_requests) as requests),
    array(select requests.display_id from unnest(v_requests) as requests), refresh.as_of);
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
