-- The sending. A claim is committed before anything is sent, so that whatever becomes of the job the action is known to be
-- in doubt. Then one transaction holds the action's row, makes sure that the lease is still its own, sends and notes what
-- became of it: a dispatcher that was thought dead finds its lease lost, and one that is at work cannot be overtaken. An
-- action in doubt is looked for in Chatwoot first, not before half a minute after its request: Chatwoot ends one after
-- fifteen seconds, so that what is not there by then does not come any more.
create function actions.back_off(attempts integer, chance double precision default random()) returns interval
language sql volatile security invoker set search_path = '' as $$
  select make_interval(secs => (1 + 0.2 * back_off.chance)
    * ('{30,60,300,900,1800,3600,10800,21600,43200,72000,72000}'::double precision[])[least(greatest(back_off.attempts, 1), 11)])
$$;
comment on function actions.back_off is
  'How long to wait after so many tries: half a minute at first, twenty hours at last, up to 20 % more by chance; twelve tries in about 72 hours.';

create function actions.budget(tokens double precision, refilled_at timestamptz, per_minute integer, as_of timestamptz)
returns double precision
language sql immutable security invoker set search_path = '' as $$
  select least(greatest(budget.per_minute / 4.0, 3), case when budget.refilled_at is null then budget.per_minute
    else budget.tokens + greatest(extract(epoch from budget.as_of - budget.refilled_at), 0) * budget.per_minute / 60.0 end)
$$;
comment on function actions.budget is
  'Requests that may be sent now: they come back evenly, so many a minute, and a quarter of a minute''s worth is saved up.';

create function actions.source_version(account_id bigint) returns text
-- Definer, and granted to nobody, since it looks into Vault: for when the token was kept, not at the token.
language sql stable security definer set search_path = '' as $$
  select sources.base_url || ' ' || extract(epoch from secrets.updated_at)::text
  from sync.sources
  join vault.secrets on secrets.name = 'chatwoot_api_token_' || source_version.account_id
  where sources.account_id = source_version.account_id and sources.door = 'rest'
$$;
comment on function actions.source_version is 'Another one for each address and each setting of the token; null where either is missing.';

create function actions.next_action(account_id bigint, as_of timestamptz, is_open boolean) returns bigint
language sql stable security invoker set search_path = '' as $$
  select waiting.action_id
  from actions.outbox as waiting
  where waiting.account_id = next_action.account_id and waiting.state in ('pending', 'sending')
    and waiting.next_attempt_at <= next_action.as_of and coalesce(waiting.leased_until <= next_action.as_of, true)
    -- A dry run needs no Chatwoot, unless to look for what was sent before it.
    and (next_action.is_open or waiting.doubt_since is null)
    and not exists (
      select from actions.outbox as others where others.account_id = next_action.account_id
        and others.display_id = waiting.display_id and others.state in ('pending', 'sending')
        and (others.action_id < waiting.action_id
          or (others.action_id > waiting.action_id and others.leased_until > next_action.as_of)))
  order by waiting.action_id limit 1
$$;
comment on function actions.next_action is
  'The oldest action of the account that is due, and of its conversation the oldest that is not over; null for none.';

create function actions.claim(
  as_of timestamptz, out account_id bigint, out action_id bigint, out lease integer, out is_in_doubt boolean
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_id bigint;
  v_account actions.accounts;
  v_action actions.outbox;
  v_is_dry boolean;
  v_is_open boolean;
  v_version text;
  v_tokens double precision;
  v_cost integer;
begin
  for v_id in
    select accounts.account_id from actions.accounts
    where exists (select from actions.outbox as waiting where waiting.account_id = accounts.account_id
      and waiting.state in ('pending', 'sending') and waiting.next_attempt_at <= claim.as_of)
      and ops.setting(accounts.account_id, 'sending') <> '"off"'
    order by accounts.served_at nulls first, accounts.account_id
  loop
    v_is_dry := ops.setting(v_id, 'sending') = '"dry_run"';
    v_version := actions.source_version(v_id);
    -- Once to see whether it is worth a lock, and once more under it, where nobody else chooses.
    for v_look in 1..2 loop
      if v_look = 1 then
        select * into v_account from actions.accounts where accounts.account_id = v_id;
      else
        select * into v_account from actions.accounts where accounts.account_id = v_id for no key update;
      end if;
      v_is_open := (v_account.state = 'active' or v_account.checked_with is distinct from v_version)
        and coalesce(v_account.retry_at <= claim.as_of, true);
      v_action := null;
      exit when not v_is_open and not v_is_dry;
      action_id := actions.next_action(v_id, claim.as_of, v_is_open);
      if v_look = 1 then
        select * into v_action from actions.outbox as chosen
        where chosen.account_id = v_id and chosen.action_id = claim.action_id;
      else
        -- Never waited for, since whoever sends may wait for the account.
        select * into v_action from actions.outbox as chosen
        where chosen.account_id = v_id and chosen.action_id = claim.action_id and chosen.state in ('pending', 'sending')
        for no key update skip locked;
      end if;
      exit when v_action.action_id is null;
      v_cost := case when v_is_dry and v_action.doubt_since is null then 0
        else 1 + (v_action.doubt_since is not null or v_action.kind in ('add_labels', 'remove_labels',
          'set_custom_attributes'))::integer end;
      v_tokens := actions.budget(v_account.tokens, v_account.refilled_at,
        (ops.setting(v_id, 'actions_requests_per_minute') #>> '{}')::integer, claim.as_of);
      if v_tokens < v_cost then
        v_action := null;
        exit;
      end if;
    end loop;
    continue when v_action.action_id is null;
    if v_account.state = 'stopped' and v_is_open then
      perform actions.resume(v_id, claim.as_of, 'rule:actions');
    end if;
    update actions.accounts as existing set tokens = v_tokens - v_cost, refilled_at = claim.as_of,
      served_at = clock_timestamp(),
      -- While it is in trouble, one at a time tries whether it is over.
      retry_at = case when existing.failures > 0 then claim.as_of + interval '1 minute' else existing.retry_at end
    where existing.account_id = v_id;
    update actions.outbox as existing set state = 'sending', lease = existing.lease + 1,
      leased_until = claim.as_of + interval '1 minute', attempts = least(existing.attempts + 1, 13),
      first_attempted_at = coalesce(existing.first_attempted_at, claim.as_of), last_attempted_at = claim.as_of,
      -- Whatever becomes of this dispatcher.
      doubt_since = coalesce(existing.doubt_since, claim.as_of)
    where existing.account_id = v_id and existing.action_id = v_action.action_id;
    account_id := v_id;
    action_id := v_action.action_id;
    lease := v_action.lease + 1;
    is_in_doubt := v_action.doubt_since is not null;
    return;
  end loop;
  action_id := null;
end
$$;
comment on function actions.claim is
  'Leases the next action that is due for a minute, the accounts in turn. All null when nothing is due.';

create function actions.stop(account_id bigint, as_of timestamptz, problem text, hint text) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update actions.accounts as existing set state = 'stopped', problem = stop.problem, hint = stop.hint,
    problem_at = stop.as_of, retry_at = null, checked_with = actions.source_version(stop.account_id)
  where existing.account_id = stop.account_id and existing.state = 'active';
  if not found then
    return;
  end if;
  perform ops.raise_alert(stop.account_id, 'actions.stopped', 'sending',
    'Nothing is sent to Chatwoot any more: ' || stop.problem, stop.hint, stop.as_of);
  perform ops.notify(stop.account_id, 'actions.stopped', format('actions.stopped:%s', extract(epoch from stop.as_of)),
    'Nothing is sent to Chatwoot any more', jsonb_build_object('problem', stop.problem, 'hint', stop.hint), 'critical',
    stop.as_of);
  perform audit.log(stop.account_id, 'sending.stopped', 'sending', jsonb_build_object('problem', stop.problem), 'stopped',
    actor => 'rule:actions', as_of => stop.as_of);
end
$$;
comment on function actions.stop is
  'Sends nothing more for the account until a person mends it: alerted, notified and logged. problem and hint must hold no secret.';

create function actions.finish(
  action actions.outbox, state text, as_of timestamptz, status integer, request jsonb, message_id bigint, problem text, hint text,
  is_found boolean
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update actions.outbox as existing set state = finish.state, settled_at = finish.as_of, leased_until = null,
    doubt_since = case when finish.state = 'dead' then existing.doubt_since end,
    last_status = coalesce(finish.status, existing.last_status), request = coalesce(finish.request, existing.request),
    message_id = finish.message_id, problem = left(finish.problem, 1000), hint = left(finish.hint, 1000)
  where existing.account_id = (finish.action).account_id and existing.action_id = (finish.action).action_id;
  perform ops.resolve_alert((finish.action).account_id, 'actions.broken', 'action:' || (finish.action).action_id, finish.as_of);
  perform audit.log((finish.action).account_id,
    case finish.state when 'sent' then 'action.sent' when 'dry_run' then 'action.dry_run' else 'action.failed' end,
    'action:' || (finish.action).action_id, jsonb_build_object('display_id', (finish.action).display_id,
      'kind', (finish.action).kind, 'source', (finish.action).source, 'attempts', (finish.action).attempts)
      || case finish.state
        when 'sent' then jsonb_build_object('message_id', finish.message_id, 'was_there', finish.is_found)
        when 'dead' then jsonb_build_object('problem', finish.problem) else '{}' end,
    case finish.state when 'dead' then 'failed' else finish.state end, actor => 'rule:actions', as_of => finish.as_of);
  if finish.state = 'dead' then
    perform ops.notify((finish.action).account_id, 'actions.failed',
      format('actions.failed:%s:%s', (finish.action).action_id, (finish.action).lease),
      format('Conversation %s: %s was not done', (finish.action).display_id, replace((finish.action).kind, '_', ' ')),
      jsonb_build_object('action_id', (finish.action).action_id, 'display_id', (finish.action).display_id,
        'kind', (finish.action).kind, 'problem', finish.problem, 'hint', finish.hint), 'warning', finish.as_of);
  end if;
end
$$;
comment on function actions.finish is 'Notes that an action is over: sent, dry_run or dead, the last also told to people; logged.';

create function actions.note_success(account_id bigint, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account actions.accounts;
begin
  select * into v_account from actions.accounts as existing
  where existing.account_id = note_success.account_id for no key update;
  if v_account.failures = 0 and v_account.problem is null then
    return;
  end if;
  update actions.accounts as existing set failures = 0, retry_at = null, problem = null, hint = null, problem_at = null
  where existing.account_id = note_success.account_id;
  -- What waited for Chatwoot waits no longer. One that failed more often fails by itself, and keeps its pace.
  update actions.outbox as existing
  set next_attempt_at = greatest(note_success.as_of, existing.last_attempted_at + interval '30 seconds')
  where existing.account_id = note_success.account_id and existing.action_id = any (array(
    select waiting.action_id from actions.outbox as waiting
    where waiting.account_id = note_success.account_id and waiting.state = 'pending' and waiting.attempts between 1 and 2
      and waiting.next_attempt_at > note_success.as_of
    -- One that somebody is withdrawing is not waited for.
    for no key update skip locked));
  perform ops.resolve_alert(note_success.account_id, 'actions.failing', 'sending', note_success.as_of);
end
$$;
comment on function actions.note_success is 'Notes that Chatwoot answered properly; after failures all that waited for it falls due.';

create function actions.note_failure(account_id bigint, as_of timestamptz, rests boolean, problem text, hint text) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_since timestamptz;
begin
  update actions.accounts as existing set failures = existing.failures + 1, problem = left(note_failure.problem, 1000),
    hint = left(note_failure.hint, 1000), problem_at = coalesce(existing.problem_at, note_failure.as_of),
    retry_at = case when note_failure.rests or existing.failures >= 2
      then note_failure.as_of + sync.back_off(existing.failures + 1) end
  where existing.account_id = note_failure.account_id
  returning existing.problem_at into v_since;
  if v_since <= note_failure.as_of - interval '15 minutes' then
    perform ops.raise_alert(note_failure.account_id, 'actions.failing', 'sending',
      'For over a quarter of an hour nothing could be sent to Chatwoot: ' || note_failure.problem, note_failure.hint,
      note_failure.as_of);
  end if;
end
$$;
comment on function actions.note_failure is
  'Notes that Chatwoot did not answer properly, and lets the account rest, longer each time; after a quarter of an hour an alert.';

create function actions.settle(
  action actions.outbox, is_in_doubt boolean, as_of timestamptz, stage text, kind text, status integer, problem text, hint text,
  words text, request jsonb, message_id bigint
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_id bigint := (settle.action).account_id;
  v_kind text := coalesce(settle.kind, 'none');
  v_problem text := case when v_kind = 'missing' and settle.stage <> 'check'
      then 'Chatwoot does not have the conversation (any more), or does not show it to the token''s owner (404).'
      else settle.problem end || coalesce(' Chatwoot says: ' || settle.words, '');
  -- The words of the sync, with the names of here.
  v_hint text := replace(replace(settle.hint, 'api.resume_sync', 'api.resume_sending'), 'sync_requests_per_minute',
    'actions_requests_per_minute');
  v_is_final boolean := v_kind in ('missing', 'client_error', 'not_kept', 'exhausted') and settle.stage in ('look', 'send')
    and settle.status is distinct from 408;
  v_needs_person boolean := v_kind in ('no_token', 'base_url', 'unauthorized', 'forbidden', 'redirected')
    or (settle.stage = 'check' and v_kind in ('missing', 'client_error'));
  -- Definitely not sent: it did not come so far, or Chatwoot refused.
  v_is_clear boolean := not settle.is_in_doubt and settle.stage <> 'send'
    or settle.stage = 'send' and (v_is_final or v_kind in ('throttled', 'unauthorized', 'forbidden', 'no_token', 'base_url'))
    or v_kind = 'exhausted';
  -- Whatever says nothing of this action is no try of it.
  v_counts boolean := not (v_needs_person or v_kind = 'throttled' or settle.stage in ('check', 'off'));
  v_next_at timestamptz;
begin
  if v_kind = 'none' and settle.stage in ('look', 'send') then
    perform actions.note_success(v_id, settle.as_of);
    perform actions.finish(action, 'sent', settle.as_of, settle.status, settle.request, settle.message_id, null, null,
      settle.stage = 'look');
    return;
  elsif v_kind = 'none' and settle.stage = 'dry_run' then
    perform actions.finish(action, 'dry_run', settle.as_of, null, settle.request, null, null, null, false);
    return;
  end if;
  if v_kind = 'exhausted' or (v_is_clear and v_counts and (settle.action).attempts >= 12 and not v_is_final) then
    v_is_final := true;
    v_problem := 'Twelve tries in three days did not bring it to Chatwoot. ' || coalesce(v_problem, (settle.action).problem, '');
  elsif v_is_final and settle.stage = 'look' and settle.is_in_doubt then
    v_problem := v_problem || ' Whether an earlier try arrived could not be found out.';
  elsif not v_is_final and not v_needs_person and v_counts and (settle.action).attempts > 12 then
    v_is_final := true;
    v_problem := v_problem || ' Whether one of the twelve tries arrived could not be found out.';
  elsif settle.stage = 'check' and not v_needs_person and (settle.action).first_attempted_at < settle.as_of - interval '72 hours' then
    v_is_final := true;
    v_problem := 'Chatwoot could not be reached for three days. ' || v_problem;
  end if;
  -- The account before the log, as everywhere: two who took them the other way round would wait for each other.
  case
    when settle.stage = 'off' then null;
    when v_needs_person then
      perform actions.stop(v_id, settle.as_of, left(v_problem, 1000), v_hint);
    when v_kind = 'throttled' then
      update actions.accounts as existing set retry_at = settle.as_of + interval '1 minute' * (1 + 0.2 * random()),
        problem = v_problem, hint = v_hint, problem_at = coalesce(existing.problem_at, settle.as_of)
      where existing.account_id = v_id;
    when v_kind in ('missing', 'client_error', 'not_kept', 'exhausted') and v_is_final then
      perform actions.note_success(v_id, settle.as_of);
    when v_kind <> 'internal' then
      perform actions.note_failure(v_id, settle.as_of, coalesce(settle.status, 0) <> 500, v_problem, v_hint);
    else null;
  end case;
  -- A look begins half a minute after the try, the last one too.
  v_next_at := settle.as_of + actions.back_off(case when (settle.action).attempts < 12 then (settle.action).attempts else 1 end);
  update actions.outbox as existing set state = 'pending', leased_until = null,
    attempts = existing.attempts - (not v_counts)::integer,
    doubt_since = case when not v_is_clear then existing.doubt_since end,
    -- The half minute before a look counts from the end of the request, which may have begun long after the claim.
    last_attempted_at = settle.as_of,
    next_attempt_at = case when v_counts then v_next_at else existing.next_attempt_at end,
    last_status = coalesce(settle.status, existing.last_status),
    problem = coalesce(left(v_problem, 1000), existing.problem), hint = coalesce(left(v_hint, 1000), existing.hint)
  where existing.account_id = v_id and existing.action_id = (settle.action).action_id and not v_is_final;
  if v_is_final then
    if v_is_clear then
      update actions.outbox as existing set doubt_since = null
      where existing.account_id = v_id and existing.action_id = (settle.action).action_id;
    end if;
    perform actions.finish(action, 'dead', settle.as_of, settle.status, settle.request, null, v_problem,
      coalesce(v_hint, 'Look in Chatwoot whether it is there; if it is not: select api.retry_action(…).'), false);
  end if;
end
$$;
comment on function actions.settle is
  'Notes what became of an action that a dispatcher had: over, or to be tried again and whether in doubt; and what that says of the account.';

create function actions.send(
  account_id bigint, action_id bigint, lease integer, is_in_doubt boolean, as_of timestamptz, until timestamptz
) returns boolean
-- as_of null is the clock, which goes on while Chatwoot is waited for.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_action actions.outbox;
  v_sending jsonb := ops.setting(send.account_id, 'sending');
  v_done record;
begin
  select * into v_action from actions.outbox as existing
  where existing.account_id = send.account_id and existing.action_id = send.action_id and existing.state = 'sending'
    and existing.lease = send.lease and existing.leased_until > coalesce(send.as_of, clock_timestamp())
  for no key update skip locked;
  if not found then
    return false;
  end if;
  -- Erased after the claim, or while it was put here.
  if exists (select from chatwoot.erased_conversations as erased
    where erased.account_id = v_action.account_id and erased.display_id = v_action.display_id)
  then
    update actions.outbox as existing set state = 'cancelled', settled_at = coalesce(send.as_of, clock_timestamp()),
      leased_until = null, arguments = '{}', request = null, problem = 'The customer was erased', hint = null
    where existing.account_id = send.account_id and existing.action_id = send.action_id;
    perform audit.log(v_action.account_id, 'action.cancelled', 'action:' || v_action.action_id, jsonb_build_object(
      'display_id', v_action.display_id, 'kind', v_action.kind, 'source', v_action.source,
      'reason', 'The customer was erased'), 'cancelled', actor => 'rule:actions',
      as_of => coalesce(send.as_of, clock_timestamp()));
    return true;
  end if;
  if v_sending = '"off"' then
    perform actions.settle(v_action, send.is_in_doubt, coalesce(send.as_of, clock_timestamp()), 'off', null, null, null, null,
      null, null, null);
    return true;
  end if;
  v_done := actions.perform(v_action, send.is_in_doubt, v_sending = '"dry_run"', coalesce(send.as_of, clock_timestamp()),
    send.until);
  perform actions.settle(v_action, send.is_in_doubt, coalesce(send.as_of, clock_timestamp()), v_done.stage, v_done.kind,
    v_done.status, v_done.problem, v_done.hint, v_done.words, v_done.request, v_done.message_id);
  if v_done.is_checked then
    update actions.accounts as existing set checked_at = coalesce(send.as_of, clock_timestamp()),
      checked_with = v_done.version, agent_id = v_done.agent_id
    where existing.account_id = send.account_id;
  end if;
  return true;
end
$$;
comment on function actions.send is
  'Sends an action that was claimed and notes what became of it, while the lease is the caller''s own; false when it was lost. Holds the action''s row and no other while Chatwoot is waited for.';

create function actions.note_breakage(account_id bigint, action_id bigint, lease integer, is_in_doubt boolean, as_of timestamptz, state text)
returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_action actions.outbox;
begin
  select * into v_action from actions.outbox as existing
  where existing.account_id = note_breakage.account_id and existing.action_id = note_breakage.action_id
    and existing.state = 'sending' and existing.lease = note_breakage.lease
  for no key update skip locked;
  if found then
    perform actions.settle(v_action, note_breakage.is_in_doubt, note_breakage.as_of, 'send', 'internal', null,
      format('What became of it could not be noted (%s).', note_breakage.state),
      'It is looked for and tried again by itself. If it stays so, report it.', null, null, null);
  end if;
end
$$;
comment on function actions.note_breakage is 'Notes that a sending was broken off by an error of ours, so that it is in doubt.';

create procedure actions.dispatch(
  as_of timestamptz default null, budget interval default '20 seconds', linger boolean default false
)
-- Commits before and after each action, so nothing is set for the whole of it and every name is written out.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_claim record;
begin
  loop
    exit when pg_catalog.clock_timestamp() >= v_end;
    v_claim := actions.claim(coalesce(dispatch.as_of, pg_catalog.clock_timestamp()));
    commit;
    if v_claim.action_id is null then
      exit when not linger;
      perform pg_catalog.pg_sleep(least(1, greatest(0, extract(epoch from v_end - pg_catalog.clock_timestamp()))));
      continue;
    end if;
    begin
      perform actions.send(v_claim.account_id, v_claim.action_id, v_claim.lease, v_claim.is_in_doubt, dispatch.as_of, v_end);
    exception when others then
      begin
        perform actions.note_breakage(v_claim.account_id, v_claim.action_id, v_claim.lease, v_claim.is_in_doubt,
          coalesce(dispatch.as_of, pg_catalog.clock_timestamp()), sqlstate);
      exception when others then
        -- Left to its lease, and looked for when that has ended; the others go on.
        perform ops.raise_alert(v_claim.account_id, 'actions.broken', 'action:' || v_claim.action_id,
          pg_catalog.format('What became of action %s cannot be noted (%s).', v_claim.action_id, sqlstate),
          'Look into the log of Postgres. It is looked for and tried again each minute.',
          coalesce(dispatch.as_of, pg_catalog.clock_timestamp()));
      end;
    end;
    commit;
  end loop;
end
$$;
comment on procedure actions.dispatch is
  'Sends what is due, one action at a time, within the budget; for cron. With linger it looks again each second until the budget is over. Two at once share the work, and what one leaves in doubt is looked for before it is sent again.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'actions'::regnamespace
      and functions.proname not in ('request', 'withdraw', 'retry', 'resume_sending')
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
