-- Keeping the clocks: the ledger calls this when a conversation changed, and a saved policy queues what it can move.
create function sla.note_facts(given sla.asked[], as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_now record;
  v_before jsonb;
begin
  for v_now in
    select asked.account_id, asked.display_id, sla.facts_now(asked.account_id, asked.display_id, named.attributes) as facts
    from (select distinct given_ones.account_id, given_ones.display_id from unnest(note_facts.given) as given_ones) as asked
    cross join lateral (
      select array_agg(distinct entries.entry ->> 'attribute') as attributes from sla.policies
      cross join lateral jsonb_array_elements(policies.conditions) as entries (entry)
      where policies.account_id = asked.account_id and policies.valid_until is null
    ) as named
  loop
    -- What is asked for the first time was never noted: it counts as having always been so.
    update sla.facts as existing set facts = v_now.facts || existing.facts
    where existing.account_id = v_now.account_id and existing.display_id = v_now.display_id
      and not existing.facts ?& array(select jsonb_object_keys(v_now.facts));
    select facts.facts into v_before from sla.facts
    where facts.account_id = v_now.account_id and facts.display_id = v_now.display_id
    order by facts.known_from desc limit 1;
    if v_before is null or v_before || v_now.facts <> v_before then
      insert into sla.facts (account_id, display_id, known_from, facts)
      select v_now.account_id, v_now.display_id, case when v_before is null then '-infinity' else note_facts.as_of end,
        coalesce(v_before, '{}') || v_now.facts
      where v_now.facts <> '{}'
      on conflict on constraint facts_pkey do update set facts = excluded.facts;
    end if;
  end loop;
end
$$;
comment on function sla.note_facts is 'Keeps what policies ask of customers and conversations that Chatwoot keeps no history of, where it changed.';

create function sla.refresh(given sla.asked[], as_of timestamptz default now()) returns bigint
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_policies sla.policies[];
  v_episodes ledger.episodes[];
  v_asked sla.asked[];
  v_spans ledger.spans[];
  v_clocks sla.clocks[];
  v_keys jsonb;
  v_given sla.asked[];
  v_count bigint;
begin
  v_policies := array(select row(policies.*)::sla.policies from sla.policies
    where policies.account_id in (select asked.account_id from unnest(refresh.given) as asked));
  if v_policies = '{}' then
    return 0;
  end if;
  if exists (select from unnest(v_policies) as policies
    cross join lateral jsonb_array_elements(policies.conditions) as entries (entry)
    where policies.valid_until is null and (entries.entry ->> 'attribute' = 'language' or entries.entry ->> 'attribute' like 'con%.%'))
  then
    perform sla.note_facts(refresh.given, refresh.as_of);
  end if;
  -- Spam cancels what came before it, and taken back revives it.
  v_given := array(
    select row(asked.account_id, asked.display_id, asked.episode, case when isfinite(asked.since) and exists (
        select from ledger.events as changes where changes.display_id = asked.display_id
          and changes.account_id = asked.account_id and changes.kind = 'labels' and changes.kind <> 'message'
          and changes.occurred_at >= asked.since and changes.value || changes.previous like '%"spam"%')
      then '-infinity' else asked.since end, null, null)::sla.asked
    from unnest(refresh.given) as asked);
  v_episodes := array(
    select row(episodes.*)::ledger.episodes from unnest(v_given) as asked
    join ledger.conversations as known on known.account_id = asked.account_id and known.display_id = asked.display_id
    join ledger.episodes on episodes.account_id = asked.account_id and episodes.display_id = asked.display_id
      and (episodes.last_event_at >= asked.since or episodes.episode = known.episodes));
  v_asked := array(
    select row(told.account_id, told.display_id, told.episode, asked.since, first_one.span_number, first_one.started_at)::sla.asked
    from unnest(v_episodes) as told
    join unnest(v_given) as asked on asked.account_id = told.account_id and asked.display_id = told.display_id
    left join sla.clocks as first_one on first_one.account_id = told.account_id and first_one.display_id = told.display_id
      and first_one.episode = told.episode and first_one.clock = 'first_response' and first_one.instance = 1
      and first_one.started_at < asked.since and told.is_outbound is false);
  v_spans := array(
    select row(spans.*)::ledger.spans from unnest(v_asked) as asked
    join unnest(v_episodes) as told on told.account_id = asked.account_id and told.display_id = asked.display_id
      and told.episode = asked.episode
    join ledger.spans on spans.account_id = asked.account_id and spans.display_id = asked.display_id
      and spans.episode = asked.episode
    -- Of a long thread only the waits that are not long over.
    where spans.kind = 'state' or (spans.kind = 'wait' and (coalesce(spans.ended_at, 'infinity') >= asked.since
      or (asked.first_wait is null and told.is_outbound is not true))));
  v_clocks := sla.measure(v_asked, v_episodes, v_spans, v_policies, refresh.as_of);
  -- Looked up and not joined: of a long thread there are thousands.
  v_keys := coalesce((select jsonb_object_agg(concat_ws('/', told.account_id, told.display_id, told.episode, told.clock,
    told.instance), true) from unnest(v_clocks) as told), '{}');
  delete from sla.clocks as old using unnest(v_given) as asked
  where old.account_id = asked.account_id and old.display_id = asked.display_id
    and (not isfinite(asked.since) or coalesce(old.stopped_at, 'infinity') >= asked.since)
    and not v_keys ? concat_ws('/', old.account_id, old.display_id, old.episode, old.clock, old.instance);
  insert into sla.clocks as existing
  select told.* from unnest(v_clocks) as told
  on conflict on constraint clocks_pkey do update set span_number = excluded.span_number, policy_id = excluded.policy_id,
    version = excluded.version, state = excluded.state, outcome = excluded.outcome, started_at = excluded.started_at,
    stopped_at = excluded.stopped_at, stopped_as = excluded.stopped_as, applied_at = excluded.applied_at,
    target_seconds = excluded.target_seconds, calendar_id = excluded.calendar_id, running_since = excluded.running_since,
    elapsed = excluded.elapsed, due_at = excluded.due_at, breach_at = excluded.breach_at, warn_shares = excluded.warn_shares,
    warn_at = excluded.warn_at, attention_at = excluded.attention_at
  where existing is distinct from excluded;
  get diagnostics v_count = row_count;
  perform ops.raise_alert(never.account_id, 'sla.never_due', 'sla_policy:' || never.policy_id,
    format('A clock of policy %s is never due: its calendar does not open for so long within what is worked out', never.policy_id),
    'Give the policy another target or other hours (api.save_sla_policy), or the calendar more of them (api.save_calendar).',
    refresh.as_of)
  from (select distinct told.account_id, told.policy_id from unnest(v_clocks) as told
    where told.state = 'running' and told.due_at is null) as never;
  -- What is known now may undo what was found, and begin a clock later that has the number of another.
  delete from sla.warnings as old using unnest(v_given) as asked
  where old.account_id = asked.account_id and old.display_id = asked.display_id
    and not exists (select from sla.clocks as told where told.account_id = old.account_id
      and told.display_id = old.display_id and told.episode = old.episode and told.clock = old.clock
      and told.instance = old.instance and told.started_at <= old.warned_at);
  delete from sla.breaches as old using unnest(v_given) as asked
  where old.account_id = asked.account_id and old.display_id = asked.display_id
    and not exists (select from sla.clocks as told where told.account_id = old.account_id
      and told.display_id = old.display_id and told.episode = old.episode and told.clock = old.clock
      and told.instance = old.instance and told.breach_at is not null);
  perform sla.record_breaches(array(select row(told.*)::sla.clocks from unnest(v_clocks) as told where told.breach_at is not null),
    refresh.as_of);
  return v_count;
end
$$;
comment on function sla.refresh is
  'Brings the clocks of conversations up to date with their spans; of the given only account_id, display_id and since are read. Returns how many rows changed.';

create function sla.touch(account_id bigint, valid_from timestamptz, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into ledger.queue as existing (account_id, display_id, walk_since, queued_at)
  -- Since then: what has gone on after it is walked whole, what has not goes on from its end.
  select episodes.account_id, episodes.display_id, touch.valid_from, touch.as_of
  from ledger.episodes
  where episodes.account_id = touch.account_id
    and (episodes.status <> 'resolved' or episodes.last_event_at >= touch.valid_from)
  union
  -- A clock may run on in what is resolved.
  select clocks.account_id, clocks.display_id, touch.valid_from, touch.as_of
  from sla.clocks where clocks.account_id = touch.account_id and clocks.state <> 'stopped'
  order by 1, 2
  on conflict on constraint queue_pkey do update
    set walk_since = least(existing.walk_since, excluded.walk_since), retry_at = null;
end
$$;
comment on function sla.touch is 'Puts on the ledger''s queue what a change of policies from valid_from on can move.';
