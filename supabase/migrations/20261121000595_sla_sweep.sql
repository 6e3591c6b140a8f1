-- The sweep: writes down what came to pass while nothing happened. It reads the clocks that are due, by index, and no
-- others. Nothing waits for it: every view compares due_at with now.
create function sla.announce(kind text, given sla.clocks[], shares numeric[], as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  perform ops.notify(told.account_id, announce.kind,
    -- With the instant: what turned out to be none must not silence what comes later.
    format('%s/%s/%s/%s/%s/%s', announce.kind, told.display_id, told.episode, told.clock, told.instance,
      coalesce(announce.shares[told.number] || '/', '')
        || to_char(coalesce(told.breach_at, told.started_at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
    case announce.kind when 'sla.breach'
      then format('Conversation %s is past its %s', told.display_id, replace(told.clock, '_', ' '))
      else format('Conversation %s has used %s %% of its %s', told.display_id, round(announce.shares[told.number] * 100), replace(told.clock, '_', ' ')) end,
    jsonb_build_object('display_id', told.display_id, 'episode', told.episode, 'clock', told.clock, 'instance', told.instance,
      'due_at', told.due_at, 'breach_at', told.breach_at, 'target_seconds', told.target_seconds,
      'policy_id', told.policy_id, 'version', told.version, 'share', announce.shares[told.number]),
    case announce.kind when 'sla.breach' then 'critical' else 'warning' end::ops.notification_severity, announce.as_of)
  from unnest(announce.given) with ordinality as told (account_id, display_id, episode, clock, instance, span_number, policy_id,
    version, state, outcome, started_at, stopped_at, stopped_as, applied_at, target_seconds, calendar_id, running_since, elapsed,
    due_at, breach_at, warn_shares, warn_at, attention_at, number);
end
$$;
comment on function sla.announce is 'Notifies of breaches (sla.breach), or of warnings (sla.warning) with the share that each clock reached.';

create function sla.record_breaches(given sla.clocks[], as_of timestamptz) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  insert into sla.breaches as existing (account_id, display_id, episode, clock, instance, due_at, breach_at, found_at, is_announced)
  select told.account_id, told.display_id, told.episode, told.clock, told.instance, coalesce(told.due_at, told.breach_at),
    told.breach_at, record_breaches.as_of,
    -- Of a history that comes in late nobody wants to be woken up; after hours of downtime they do.
    told.breach_at <= record_breaches.as_of - interval '1 day'
  from unnest(record_breaches.given) as told
  on conflict on constraint breaches_pkey do update set due_at = excluded.due_at, breach_at = excluded.breach_at,
    is_announced = excluded.is_announced
  where existing.breach_at <> excluded.breach_at;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;
comment on function sla.record_breaches is 'Writes down breaches, each once; returns how many are new or moved. The sweep notifies of them.';

create function sla.announce_breaches(as_of timestamptz, batch_size integer) returns bigint
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_told sla.clocks[];
begin
  with untold as materialized (
    select breaches.account_id, breaches.display_id, breaches.episode, breaches.clock, breaches.instance
    from sla.breaches
    where not breaches.is_announced
      -- While more is known of a conversation than is counted, a reply may be on its way.
      and not exists (select from ledger.queue where queue.account_id = breaches.account_id
        and queue.display_id = breaches.display_id and queue.problem is null
        and queue.queued_at > announce_breaches.as_of - interval '10 minutes')
    order by breaches.account_id, breaches.display_id limit announce_breaches.batch_size for update skip locked
  ), announced as (
    update sla.breaches as existing set is_announced = true from untold
    where existing.account_id = untold.account_id and existing.display_id = untold.display_id
      and existing.episode = untold.episode and existing.clock = untold.clock and existing.instance = untold.instance
    returning existing.account_id, existing.display_id, existing.episode, existing.clock, existing.instance
  )
  select coalesce(array_agg(row(told.*)::sla.clocks), '{}') into v_told
  from announced join sla.clocks as told using (account_id, display_id, episode, clock, instance);
  perform sla.announce('sla.breach', v_told, null, announce_breaches.as_of);
  return cardinality(v_told);
end
$$;
comment on function sla.announce_breaches is 'Notifies of breaches that were written down, each once, at most a batch; returns how many.';

create function sla.sweep(as_of timestamptz default now(), batch_size integer default 1000) returns bigint
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_due sla.clocks[];
  v_breached sla.clocks[];
  v_warned sla.clocks[];
  v_shares numeric[];
begin
  v_due := array(
    select row(clocks.*)::sla.clocks from sla.clocks
    where clocks.attention_at < sweep.as_of
    order by clocks.attention_at limit sweep.batch_size for update skip locked);
  if v_due = '{}' then
    return sla.announce_breaches(sweep.as_of, sweep.batch_size);
  end if;
  with found as (
    update sla.clocks as existing set breach_at = greatest(told.due_at, told.applied_at), outcome = 'breached', attention_at = null
    from unnest(v_due) as told
    where existing.account_id = told.account_id and existing.display_id = told.display_id and existing.episode = told.episode
      and existing.clock = told.clock and existing.instance = told.instance and told.due_at < sweep.as_of
    returning existing.*
  )
  select coalesce(array_agg(row(found.*)::sla.clocks), '{}') into v_breached from found;
  perform sla.record_breaches(v_breached, sweep.as_of);
  with given as (
    insert into sla.warnings (account_id, display_id, episode, clock, instance, share, warned_at)
    select told.account_id, told.display_id, told.episode, told.clock, told.instance, reached.share, sweep.as_of
    from unnest(v_due) as told
    cross join lateral unnest(told.warn_shares, told.warn_at) as reached (share, at)
    where reached.at < sweep.as_of and (told.due_at is null or told.due_at >= sweep.as_of)
    on conflict on constraint warnings_pkey do nothing
    returning account_id, display_id, episode, clock, instance, share
  )
  select coalesce(array_agg(row(told.*)::sla.clocks order by told.display_id, given.share), '{}'),
    coalesce(array_agg(given.share order by told.display_id, given.share), '{}') into v_warned, v_shares
  from given join unnest(v_due) as told using (account_id, display_id, episode, clock, instance);
  perform sla.announce('sla.warning', v_warned, v_shares, sweep.as_of);
  update sla.clocks as existing set attention_at = (
    select min(next_ones.at) from unnest(told.warn_at || told.due_at) as next_ones (at) where next_ones.at >= sweep.as_of)
  from unnest(v_due) as told
  where existing.account_id = told.account_id and existing.display_id = told.display_id and existing.episode = told.episode
    and existing.clock = told.clock and existing.instance = told.instance and (told.due_at is null or told.due_at >= sweep.as_of);
  perform sla.announce_breaches(sweep.as_of, sweep.batch_size);
  return cardinality(v_due);
end
$$;
comment on function sla.sweep is
  'Writes down the breaches and warnings of clocks that are due, at most a batch, with their true instants, and notifies; returns how many clocks or breaches it was busy with.';

create function sla.settle_policies(as_of timestamptz) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_policy sla.policies;
  v_count bigint := 0;
begin
  -- What began while a policy was being saved did not see it.
  for v_policy in
    select policies.* from sla.policies
    where not policies.is_settled
      and greatest(policies.changed_at, policies.valid_until) < settle_policies.as_of - interval '10 seconds'
    for update skip locked
  loop
    perform sla.touch(v_policy.account_id, coalesce(v_policy.valid_until, v_policy.valid_from), settle_policies.as_of);
    update sla.policies as existing set is_settled = true
    where existing.account_id = v_policy.account_id and existing.policy_id = v_policy.policy_id
      and existing.version = v_policy.version;
    v_count := v_count + 1;
  end loop;
  return v_count;
end
$$;
comment on function sla.settle_policies is 'Queues once more what policies saved a moment ago can move; returns how many policies.';

create procedure sla.tick(as_of timestamptz default null, budget interval default '30 seconds')
-- No SET clause: a procedure that commits cannot have one.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
begin
  loop
    exit when not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('sla.tick', 0));
    perform sla.settle_policies(coalesce(tick.as_of, pg_catalog.now()));
    exit when sla.sweep(as_of => coalesce(tick.as_of, pg_catalog.now())) = 0;
    commit;
    exit when pg_catalog.clock_timestamp() >= v_end;
  end loop;
end
$$;
comment on procedure sla.tick is 'Sweeps batch by batch until nothing is due or the budget is used up. For cron; ends at once while another is at it.';

create function sla.clocks_at(account_id bigint, as_of timestamptz default now(), display_ids bigint[] default null)
returns setof sla.clocks
language plpgsql stable security definer set search_path = '' as $$
declare
  v_batch bigint[];
  v_last bigint := 0;
  v_walked record;
  v_policies sla.policies[];
begin
  perform access.require_role(clocks_at.account_id, 'viewer');
  perform ledger.refuse_instant(clocks_at.as_of);
  v_policies := array(select row(policies.*)::sla.policies from sla.policies
    where policies.account_id = clocks_at.account_id and policies.valid_from <= clocks_at.as_of);
  loop
    v_batch := array(
      select mirrored.display_id from chatwoot.conversations as mirrored
      where mirrored.account_id = clocks_at.account_id and mirrored.display_id > v_last
        and (clocks_at.display_ids is null or mirrored.display_id = any (clocks_at.display_ids))
        and (mirrored.created_at <= clocks_at.as_of or mirrored.created_at is null)
      order by mirrored.display_id limit 100);
    exit when v_batch = '{}';
    v_last := v_batch[cardinality(v_batch)];
    v_walked := ledger.walk(ledger.requests(array(
      select row(clocks_at.account_id, batch.display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue
      from unnest(v_batch) as batch (display_id)), clocks_at.as_of), clocks_at.as_of);
    return query
    select told.* from unnest(sla.measure(
      array(select row(episodes.account_id, episodes.display_id, episodes.episode, '-infinity', null, null)::sla.asked
        from unnest(v_walked.episodes) as episodes),
      v_walked.episodes, v_walked.spans, v_policies, clocks_at.as_of)) as told;
  end loop;
end
$$;
comment on function sla.clocks_at is
  'The clocks as they were at as_of (inclusive), by what is known now: of all conversations of the account or of those named. Viewers and above. Errors: OC403, OC422.';

create function sla.explain(account_id bigint, display_id bigint, as_of timestamptz default now())
returns table (
  episode integer, clock text, instance integer, policy_id bigint, policy_name text, version integer, applied_at timestamptz,
  applied_until timestamptz, target_seconds integer, calendar_id bigint, part integer, state text, counted boolean, why text,
  started_at timestamptz, ended_at timestamptz, seconds double precision, due_at timestamptz, opened_by bigint, closed_by bigint
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_walked record;
begin
  perform access.require_role(explain.account_id, 'viewer');
  perform ledger.refuse_instant(explain.as_of);
  if not exists (select from chatwoot.conversations as mirrored
    where mirrored.account_id = explain.account_id and mirrored.display_id = explain.display_id)
  then
    raise exception 'There is no conversation % in account %', coalesce(explain.display_id::text, 'null'), explain.account_id
      using errcode = 'OC404', hint = 'Its number stands in its address in Chatwoot, and in analytics.conversations as display_id.';
  end if;
  v_walked := ledger.walk(ledger.requests(array[
    row(explain.account_id, explain.display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue], explain.as_of),
    explain.as_of);
  return query
  select told.episode, told.clock, told.instance, told.policy_id, named.name, told.version, told.applied_at,
    nullif(told.applied_until, 'infinity'), told.target_seconds, told.calendar_id, told.part, told.state, told.is_active,
    case when told.is_active and told.due_at < coalesce(told.active_until, 'infinity')
        and greatest(told.due_at, told.applied_at) < least(told.applied_until, explain.as_of)
        then 'The target was used up in this part.'
      when told.is_active then 'It ran.'
      when told.state = 'resolved' then 'Resolved: it did not run.'
      else format('%s: the policy lets it pause then.', told.state) end,
    told.active_from, told.active_until,
    case when not told.is_active then 0 else coalesce(told.seconds,
      sla.spent(told.account_id, told.calendar_id, told.active_from, explain.as_of)) end,
    told.due_at, wait.opened_by, wait.closed_by
  from sla.parts(
    array(select row(episodes.account_id, episodes.display_id, episodes.episode, '-infinity', null, null)::sla.asked
      from unnest(v_walked.episodes) as episodes),
    v_walked.episodes, v_walked.spans, array(select row(policies.*)::sla.policies from sla.policies
      where policies.account_id = explain.account_id and policies.valid_from <= explain.as_of), explain.as_of) as told
  left join sla.policies as named on named.account_id = told.account_id and named.policy_id = told.policy_id
    and named.version = told.version
  left join unnest(v_walked.spans) as wait on wait.kind = 'wait' and wait.episode = told.episode and wait.number = told.span_number
  order by told.episode, told.clock, told.instance, told.applied_at, told.part;
end
$$;
comment on function sla.explain is
  'What the clocks of a conversation are made of: one row a part under one target, counted or not and why. Viewers and above. Errors: OC403, OC404, OC422.';

create function sla.follow_facts() returns trigger
-- A customer who becomes important, or an attribute that a policy asks for.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if not exists (select from sla.policies where policies.valid_until is null
    and policies.conditions::text like case tg_table_name when 'contacts' then '%"contact.%' else '%"%' end)
  then
    return null;
  end if;
  if tg_table_name = 'contacts' then
    insert into ledger.queue as existing (account_id, display_id, walk_since, queued_at)
    select mirrored.account_id, mirrored.display_id, now(), now()
    from news join olds on olds.account_id = news.account_id and olds.contact_id = news.contact_id
    join chatwoot.conversations as mirrored
      on mirrored.account_id = news.account_id and mirrored.contact_id = news.contact_id and mirrored.status <> 'resolved'
    where news.custom_attributes is distinct from olds.custom_attributes
    order by 1, 2
    on conflict on constraint queue_pkey do update set walk_since = coalesce(existing.walk_since, excluded.walk_since);
  else
    insert into ledger.queue as existing (account_id, display_id, walk_since, queued_at)
    select news.account_id, news.display_id, now(), now()
    from news join olds on olds.account_id = news.account_id and olds.display_id = news.display_id
    where (news.custom_attributes, news.additional_attributes)
      is distinct from (olds.custom_attributes, olds.additional_attributes)
    order by 1, 2
    on conflict on constraint queue_pkey do update set walk_since = coalesce(existing.walk_since, excluded.walk_since);
  end if;
  return null;
end
$$;
comment on function sla.follow_facts is 'Trigger: puts the conversations whose customer or own attributes changed on the ledger''s queue, where policies ask for any.';
create trigger follow_facts after update on chatwoot.contacts
referencing old table as olds new table as news for each statement execute function sla.follow_facts();
create trigger follow_facts after update on chatwoot.conversations
referencing old table as olds new table as news for each statement execute function sla.follow_facts();

do $$
declare
  v_table text;
  v_function regprocedure;
begin
  foreach v_table in array array['policies', 'clocks', 'breaches', 'warnings', 'facts'] loop
    execute format('alter table sla.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on sla.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on sla.%I for select to analyst using (true)', v_table);
    execute format('grant select on sla.%I to authenticated, analyst, service_role', v_table);
  end loop;
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'sla'::regnamespace and functions.prokind = 'f'
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
  revoke all on procedure sla.tick from public, anon, authenticated, service_role;
end
$$;
grant execute on function sla.save_policy, sla.retire_policy, sla.add_default_policy, sla.clocks_at, sla.explain to authenticated, service_role;
grant execute on function sla.spent to authenticated, analyst, service_role;
