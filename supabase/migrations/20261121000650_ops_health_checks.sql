-- The looking itself. Each check says what it found, how bad it is and what to do, in words for somebody who has just been
-- woken up. Checks that read only our own tables are functions of an instant; those that ask Chatwoot send one request at
-- a time, with no lock held and within a budget, so that a Chatwoot that hangs holds up nobody.
create function ops.ago(since timestamptz, as_of timestamptz) returns text
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case when seconds < 120 then format('%s seconds', seconds)
    when seconds < 7200 then format('%s minutes', seconds / 60)
    when seconds < 172800 then format('%s hours', seconds / 3600)
    else format('%s days', seconds / 86400) end
  from (select greatest(extract(epoch from ago.as_of - ago.since), 0)::bigint as seconds) as length
$$;
comment on function ops.ago is 'How long ago, in words: the largest unit that fits.';

create function ops.probe_chatwoot(
  account_id bigint, path text, with_token boolean, until timestamptz,
  out status integer, out milliseconds double precision, out kind text, out problem text, out hint text, out body jsonb
)
-- Beside sync.rest_request, since reachability is also asked of those whose token is missing or wrong.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_base_url text;
  v_token text;
  v_milliseconds integer := least(5000, greatest(1000,
    (extract(epoch from probe_chatwoot.until - clock_timestamp()) * 1000)::integer));
  v_started_at timestamptz;
  v_response extensions.http_response;
  v_message text;
begin
  begin
    v_base_url := sync.check_base_url((select sources.base_url from sync.sources
      where sources.account_id = probe_chatwoot.account_id and sources.door = 'rest'),
      sync.allows_private_hosts(probe_chatwoot.account_id));
  exception when sqlstate 'OC422' then
    get stacked diagnostics problem = message_text, hint = pg_exception_hint;
    kind := 'base_url';
    return;
  end;
  if probe_chatwoot.with_token then
    v_token := sync.token(probe_chatwoot.account_id);
    if v_token is null then
      kind := 'no_token';
      problem := 'There is no Chatwoot token for this account.';
      hint := 'Copy the access token of an administrator from Chatwoot and set it: select api.set_sync_token(…).';
      return;
    end if;
  end if;
  perform extensions.http_set_curlopt('CURLOPT_TIMEOUT_MS', v_milliseconds::text),
    extensions.http_set_curlopt('CURLOPT_CONNECTTIMEOUT', ceil(v_milliseconds / 1000.0)::text);
  v_started_at := clock_timestamp();
  begin
    v_response := extensions.http((case when probe_chatwoot.path = '/' then 'HEAD' else 'GET' end,
      v_base_url || probe_chatwoot.path, case when v_token is not null then array[
        extensions.http_header('api-access-token', v_token), extensions.http_header('Accept', 'application/json')] end,
      null, null)::extensions.http_request);
    milliseconds := extract(epoch from clock_timestamp() - v_started_at) * 1000;
    status := v_response.status;
  exception when others then
    get stacked diagnostics v_message = message_text;
    select failure.kind, failure.problem, failure.hint into kind, problem, hint
    from sync.rest_transport_failure(v_message, v_base_url, ceil(v_milliseconds / 1000.0)::integer) as failure;
    return;
  end;
  if status >= 500 or (probe_chatwoot.path <> '/' and status not between 200 and 299) then
    select refusal.kind, refusal.problem, refusal.hint into kind, problem, hint from sync.rest_refusal(status,
      case when octet_length(v_response.content) < 10000
        then substring(v_response.content from '"errors?":\s*\[?\s*"([^"\\]{1,100})') end) as refusal;
    if kind = 'missing' and probe_chatwoot.path = '/api' then
      -- Every Chatwoot has it: so answers a platform whose application is gone.
      kind := 'page';
      problem := 'What answers at /api is not Chatwoot (404): perhaps its server or its domain is gone.';
      hint := 'Open the base URL in a browser: is it Chatwoot that answers?';
    end if;
  elsif probe_chatwoot.path = '/api' then
    if coalesce(octet_length(v_response.content), 0) < 10000 then
      body := (inbox.read(extensions.text_to_bytea(v_response.content))).payload;
    end if;
    if body ->> 'queue_services' = 'failing' or body ->> 'data_services' = 'failing' then
      kind := 'services';
      problem := format('Chatwoot says of itself that %s.', concat_ws(' and ',
        case when body ->> 'queue_services' = 'failing' then 'its Redis is failing' end,
        case when body ->> 'data_services' = 'failing' then 'its database is failing' end));
      hint := 'Look at Chatwoot''s Redis and Postgres: memory, disk, connections.';
    elsif body -> 'data_services' is null then
      kind := 'page';
      problem := 'What answers at /api is not Chatwoot: perhaps a page of a proxy, or of a Chatwoot in maintenance.';
      hint := 'Open the base URL in a browser: is it Chatwoot that answers?';
    end if;
  end if;
end
$$;
comment on function ops.probe_chatwoot is
  'Asks the account''s Chatwoot for a path, with its token or without, and says how long the answer took and what is wrong; kind is null when nothing is. Waits five seconds at most.';

create function ops.sample_chatwoot(account_id bigint, as_of timestamptz, until timestamptz, slow_milliseconds integer default 2000)
returns setof ops.health_sample
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_probe record;
  v_name text;
  v_broken integer := 0;
  v_is_asked boolean := false;
  v_is_reached boolean := true;
  v_first text;
  v_hint text;
begin
  foreach v_name in array array['chatwoot_root', 'chatwoot_api', 'chatwoot_read'] loop
    if not v_is_reached then
      -- Who does not pick up is not rung three times: that is the time of the accounts after it.
      return next (sample_chatwoot.account_id, v_name, '', 'fail', null, 'milliseconds',
        'Not asked, since Chatwoot did not answer the request before this one.', v_hint, sample_chatwoot.as_of)::ops.health_sample;
      v_broken := v_broken + 1;
      continue;
    end if;
    v_probe := ops.probe_chatwoot(sample_chatwoot.account_id,
      case v_name when 'chatwoot_root' then '/' when 'chatwoot_api' then '/api' else '/api/v1/profile' end,
      v_name = 'chatwoot_read', sample_chatwoot.until);
    v_is_asked := v_is_asked or v_probe.kind is distinct from 'base_url';
    -- A wrong token is our trouble and not Chatwoot's.
    if v_probe.kind in ('timeout', 'transport', 'server_error', 'services', 'page') then
      v_broken := v_broken + 1;
      v_first := coalesce(v_first, v_probe.problem);
      v_hint := coalesce(v_hint, v_probe.hint);
      v_is_reached := v_probe.kind not in ('timeout', 'transport');
    end if;
    return next (sample_chatwoot.account_id, v_name, '',
      case when v_probe.kind in ('no_token', 'base_url') then 'unknown' when v_probe.kind = 'throttled' then 'warn'
        when v_probe.kind is not null then 'fail'
        when v_probe.milliseconds > sample_chatwoot.slow_milliseconds then 'warn' else 'ok' end,
      v_probe.milliseconds, 'milliseconds',
      coalesce(v_probe.problem, format('Answered in %s ms.', round(v_probe.milliseconds))),
      case when v_probe.kind is not null then v_probe.hint
        when v_probe.milliseconds > sample_chatwoot.slow_milliseconds
        then 'Chatwoot is slow: look at its server''s load and at its Postgres.' end,
      sample_chatwoot.as_of)::ops.health_sample;
  end loop;
  return next (sample_chatwoot.account_id, 'service', 'chatwoot',
    case when not v_is_asked then 'unknown' when v_broken > 0 then 'fail' else 'ok' end, case when v_is_asked then v_broken end,
    'failing requests of 3', case when not v_is_asked then 'Chatwoot cannot be asked: ' || v_probe.problem
      when v_broken > 0 then 'Chatwoot is down: ' || v_first else 'Chatwoot answers.' end,
    case when not v_is_asked then v_probe.hint when v_broken > 0 then v_hint end, sample_chatwoot.as_of)::ops.health_sample;
end
$$;
comment on function ops.sample_chatwoot is
  'The checks chatwoot_root, chatwoot_api and chatwoot_read, one request each, and what they say of the service together.';

create function ops.outbox_backlog(account_id bigint, as_of timestamptz)
returns table (waiting bigint, oldest_at timestamptz, retried bigint, held bigint, dead bigint)
language sql stable security invoker set search_path = '' as $$
  with settings as materialized (
    select ops.setting(outbox_backlog.account_id, 'sending') = '"off"' as is_off
  )
  select count(*) filter (where outbox.state <> 'dead' and outbox.next_attempt_at <= outbox_backlog.as_of and not settings.is_off),
    -- One that was sent anew waits since then.
    min(coalesce(outbox.first_attempted_at, outbox.next_attempt_at))
      filter (where outbox.state <> 'dead' and outbox.next_attempt_at <= outbox_backlog.as_of and not settings.is_off),
    count(*) filter (where outbox.state <> 'dead' and outbox.next_attempt_at > outbox_backlog.as_of and not settings.is_off),
    count(*) filter (where outbox.state <> 'dead' and settings.is_off),
    count(*) filter (where outbox.state = 'dead')
  from actions.outbox
  cross join settings
  where outbox.account_id = outbox_backlog.account_id and (outbox.state in ('pending', 'sending')
    or (outbox.state = 'dead' and outbox.settled_at > outbox_backlog.as_of - interval '24 hours'))
$$;
comment on function ops.outbox_backlog is
  'Approved actions that are due and not carried out: how many, since when the oldest; how many failed and are tried again later; how many are held back while sending is off; and how many were given up in the last day.';

create function ops.verify_audit(account_id bigint, as_of timestamptz default now(), batch_size integer default 1000)
returns ops.health_accounts
-- A portion a minute, round and round: what is new is looked at within minutes, what is old once a round.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account ops.health_accounts;
  v_head audit.chain_heads;
  v_row record;
begin
  insert into ops.health_accounts (account_id, began_at) values (verify_audit.account_id, verify_audit.as_of)
  on conflict on constraint health_accounts_pkey do nothing;
  select * into v_account from ops.health_accounts as accounts
  where accounts.account_id = verify_audit.account_id for no key update;
  -- The head first: what is added after it belongs to the next look.
  select * into v_head from audit.chain_heads as heads where heads.account_id = verify_audit.account_id;
  v_account.audit_broken_entry := null;
  v_account.audit_reason := null;
  for v_row in
    select log.entry, log.hash, log.previous_hash, audit.entry_hash(log) as expected_hash
    from audit.decision_log as log
    where log.account_id = verify_audit.account_id and log.entry > v_account.audit_entry
      and log.entry <= v_head.entry
    order by log.entry limit verify_audit.batch_size
  loop
    v_account.audit_reason := case
      when v_row.entry <> v_account.audit_entry + 1 then 'an entry before this one is missing'
      when v_row.previous_hash is distinct from v_account.audit_hash then 'does not follow from the entry before'
      when v_row.hash <> v_row.expected_hash then 'was changed after it was written' end;
    if v_account.audit_reason is not null then
      v_account.audit_broken_entry := v_row.entry;
      exit;
    end if;
    v_account.audit_entry := v_row.entry;
    v_account.audit_hash := v_row.hash;
  end loop;
  if v_head.account_id is null and exists (select from audit.decision_log as log
    where log.account_id = verify_audit.account_id)
  then
    v_account.audit_broken_entry := 1;
    v_account.audit_reason := 'has no head that vouches for what follows it';
  elsif v_account.audit_reason is null and v_account.audit_entry >= coalesce(v_head.entry, 0) then
    -- The end of a round.
    if v_account.audit_hash is distinct from v_head.hash and v_head.entry = v_account.audit_entry and v_head.entry > 0 then
      v_account.audit_broken_entry := v_account.audit_entry;
      v_account.audit_reason := 'is not the entry that was written last';
    else
      v_account.audit_whole_at := verify_audit.as_of;
    end if;
    v_account.audit_entry := 0;
    v_account.audit_hash := null;
  elsif v_account.audit_reason is null and not exists (select from audit.decision_log as log
    where log.account_id = verify_audit.account_id and log.entry = v_account.audit_entry + 1)
  then
    v_account.audit_broken_entry := v_account.audit_entry + 1;
    v_account.audit_reason := 'is missing, with what came after it';
  end if;
  if v_account.audit_reason is not null then
    v_account.audit_entry := 0;
    v_account.audit_hash := null;
  end if;
  update ops.health_accounts as existing set audit_entry = v_account.audit_entry, audit_hash = v_account.audit_hash,
    audit_whole_at = v_account.audit_whole_at,
    audit_broken_entry = case when v_account.audit_whole_at = verify_audit.as_of then null
      else coalesce(v_account.audit_broken_entry, existing.audit_broken_entry) end,
    audit_reason = case when v_account.audit_whole_at = verify_audit.as_of then null
      else coalesce(v_account.audit_reason, existing.audit_reason) end
  where existing.account_id = verify_audit.account_id
  returning existing.* into v_account;
  return v_account;
end
$$;
comment on function ops.verify_audit is
  'Checks the next portion of the account''s decision log and begins again at its end; what is broken stays noted until a whole round has found it whole. Returns how far it is.';

create function ops.sample_queue(account_id bigint, instants timestamptz[], waiting bigint[], addition text default '')
returns setof ops.health_sample
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_zone text := ops.setting(sample_queue.account_id, 'reporting_time_zone') #>> '{}';
begin
  return query
  select sample_queue.account_id, told.name, '', told.state, told.value, told.unit, told.message, told.hint, counted.instant
  from unnest(sample_queue.instants, sample_queue.waiting) as counted (instant, customers)
  left join ops.normal_hours as normal on normal.account_id = sample_queue.account_id and normal.subject = 'queue'
    and normal.hour_of_week = ops.hour_of_week(counted.instant, v_zone)
  cross join lateral (select ops.high_of(normal.samples) as usual) as known
  -- A small team must not be woken for three; and what is not known yet is taken to be much.
  cross join lateral (
    select counted.customers / greatest(coalesce(known.usual, 25), 10) as pressure
  ) as measured
  cross join lateral (values
    ('queue', 'ok', counted.customers::double precision, 'customers',
      format('%s customers wait for a reply%s.', counted.customers, sample_queue.addition), null),
    ('queue_pressure', case when measured.pressure >= 2 then 'fail' when measured.pressure >= 1.5 then 'warn' else 'ok' end,
      measured.pressure, 'times the usual',
      format('%s customers wait for a reply%s; usual at this hour of the week is up to %s.', counted.customers,
        sample_queue.addition, coalesce(round(known.usual)::text, 'not known yet, taken as 25')),
      case when measured.pressure >= 1.5 then 'Look at analytics.live_status: who is there, who holds most, which channel grew. Then move people, or answer the common question once.' end)
  ) as told (name, state, value, unit, message, hint);
end
$$;
comment on function ops.sample_queue is 'The checks queue and queue_pressure: how many wait, alone and against what is usual at that hour of the week.';

create function ops.sample_database(account_id bigint, as_of timestamptz) returns setof ops.health_sample
language plpgsql volatile security invoker set search_path = '' set jit = off as $$
declare
  v_count bigint;
  v_seconds double precision;
  v_oldest timestamptz;
  v_has_policy boolean;
  v_row record;
begin
  -- Who waits: few rows, however long the history.
  select count(*), min(mirrored.waiting_since) into v_count, v_oldest from chatwoot.conversations as mirrored
  where mirrored.account_id = sample_database.account_id and mirrored.waiting_since is not null
    and mirrored.status = 'open' and mirrored.deleted_at is null;
  return query select * from ops.sample_queue(sample_database.account_id, array[sample_database.as_of], array[v_count],
    coalesce(', the first of them for ' || ops.ago(v_oldest, sample_database.as_of), ''));

  -- First replies of the last hour, and those who wait for theirs with what they have waited so far.
  select count(*), percentile_cont(0.5) within group (order by cases.seconds) into v_count, v_seconds
  from (
    select extract(epoch from episodes.first_human_business_at
      - coalesce(episodes.clock_started_business_at, episodes.first_customer_business_at)) as seconds
    from ledger.episodes
    where episodes.first_human_at > sample_database.as_of - interval '1 hour'
      and episodes.first_human_at <= sample_database.as_of and episodes.account_id = sample_database.account_id
      and episodes.is_outbound is false
    union all
    select extract(epoch from ledger.business_clock(episodes.account_id, episodes.calendar_id, sample_database.as_of)
      - episodes.waiting_since_business)
    from chatwoot.conversations as mirrored
    join ledger.episodes on episodes.account_id = mirrored.account_id and episodes.display_id = mirrored.display_id
      and episodes.status <> 'resolved' and episodes.first_human_at is null and episodes.waiting_since_business is not null
      and episodes.is_outbound is false
    where mirrored.account_id = sample_database.account_id and mirrored.waiting_since is not null
      and mirrored.status = 'open' and mirrored.deleted_at is null
      -- Whoever has waited for longer is told of by the service levels.
      and mirrored.waiting_since > sample_database.as_of - interval '1 day'
  ) as cases
  where cases.seconds is not null;
  if v_count < 5 then
    v_seconds := 0;
  end if;
  return next (sample_database.account_id, 'first_response', '',
    case when v_seconds >= 1800 then 'fail' when v_seconds >= 900 then 'warn' else 'ok' end, v_seconds, 'seconds',
    case when v_count < 5 then 'Fewer than five first replies or waits in the last hour: nothing to judge by.'
      else format('Half of the %s customers of the last hour have waited %s minutes of business hours or more for their first reply.',
        v_count, round(v_seconds / 60)) end,
    case when v_seconds >= 900 then 'Look at analytics.live_status: agents and queue.' end,
    sample_database.as_of)::ops.health_sample;

  v_has_policy := exists (select from sla.policies
    where policies.account_id = sample_database.account_id and policies.valid_until is null);
  if v_has_policy then
    select count(*) into v_count from sla.clocks
    where clocks.breach_at > sample_database.as_of - interval '1 hour' and clocks.breach_at <= sample_database.as_of
      and clocks.account_id = sample_database.account_id and clocks.outcome = 'breached';
  else
    with hours as materialized (
      select coalesce(every.calendar_id, 0) as calendar,
        ledger.business_clock(sample_database.account_id, every.calendar_id, sample_database.as_of - interval '1 hour') as since,
        ledger.business_clock(sample_database.account_id, every.calendar_id, sample_database.as_of) as until
      from (select calendars.calendar_id from ledger.calendars where calendars.account_id = sample_database.account_id
        union all select null) as every
    )
    select count(*) into v_count
    from hours
    join ops.late_first_responses as late on coalesce(late.calendar_id, 0) = hours.calendar
      and late.target_business_at > hours.since and late.target_business_at < hours.until
    where late.account_id = sample_database.account_id and late.ended_at > sample_database.as_of - interval '1 hour';
  end if;
  return next (sample_database.account_id, 'breaches', '', case when v_count >= 5 then 'fail' when v_count > 0 then 'warn' else 'ok' end,
    v_count, 'breaches', case when v_has_policy then format('Promises broken within the last hour: %s.', v_count)
      else format('First replies that were not there after %s minutes of business hours, within the last hour: %s.',
        ops.default_target_seconds() / 60, v_count) end,
    case when v_count = 0 then null when v_has_policy then 'Who is late now and who is next: select * from api.sla_board'
      else 'Who is late: select sla -> ''breaches'' from analytics.live_status. To promise something else: select api.save_sla_policy(…).' end,
    sample_database.as_of)::ops.health_sample;

  for v_row in
    select sources.door, sources.state, sources.problem, sources.hint, sources.last_success_at, sources.backfill_finished_at,
      extract(epoch from greatest(sample_database.as_of - coalesce(sources.last_success_at, sources.problem_at,
        sources.last_attempt_at), case when coalesce(sources.last_success_at, sources.problem_at, sources.last_attempt_at)
        is not null then interval '0' end))::double precision as lag
    from sync.sources where sources.account_id = sample_database.account_id
  loop
    return next (sample_database.account_id, 'sync_lag', v_row.door,
      case when v_row.state = 'paused' then 'ok' when v_row.state = 'stopped' then 'fail' when v_row.lag is null then 'unknown'
        when v_row.lag >= 1800 then 'fail' when v_row.lag >= 600 then 'warn' else 'ok' end,
      case v_row.state when 'paused' then 0 when 'stopped' then greatest(v_row.lag, 1800) else v_row.lag end, 'seconds',
      case when v_row.state = 'paused' then format('The %s door is paused by a person.', v_row.door)
        when v_row.state = 'stopped' then format('The %s door has stopped: %s', v_row.door, coalesce(v_row.problem, 'no reason is known'))
        when v_row.lag is null then format('The %s door has not been tried yet.', v_row.door)
        when v_row.last_success_at is null then format('The %s door has never worked: %s', v_row.door, coalesce(v_row.problem, 'no reason is known'))
        when v_row.lag >= 600 then format('The %s door last worked %s ago%s', v_row.door,
          ops.ago(v_row.last_success_at, sample_database.as_of), coalesce(': ' || v_row.problem, '.'))
        else format('The %s door last worked %s ago.', v_row.door, ops.ago(v_row.last_success_at, sample_database.as_of)) end,
      case when v_row.state = 'stopped' or (v_row.state = 'active' and v_row.lag >= 600)
        then coalesce(v_row.hint, 'Look at api.sync_status and at the job sync-' || v_row.door || ' in ops.job_runs.') end,
      sample_database.as_of)::ops.health_sample;
  end loop;

  select backlog.* into v_row
  from ops.outbox_backlog(sample_database.account_id, sample_database.as_of) as backlog;
  v_seconds := coalesce(extract(epoch from sample_database.as_of - v_row.oldest_at), 0);
  return next (sample_database.account_id, 'outbox', '', case when v_seconds >= 1800 then 'fail' when v_seconds >= 300 or v_row.retried > 0 then 'warn' else 'ok' end,
    v_seconds, 'seconds', case
      -- A person wished so, as with a door of the sync that is paused.
      when v_row.held > 0 then format('Sending is off, which holds back approved actions: %s.', v_row.held)
      when v_row.waiting > 0 then format('Approved actions that are due and not carried out: %s, the oldest for %s.', v_row.waiting,
        ops.ago(v_row.oldest_at, sample_database.as_of))
      when v_row.retried > 0 then format('Approved actions that failed and are tried again later: %s.', v_row.retried)
      else 'Nothing waits to be carried out in Chatwoot.' end,
    case when v_seconds >= 300 then 'Look at api.sending_status: is the sending stopped, or Chatwoot down?'
      when v_row.retried > 0 then 'Why: select action_id, kind, problem, hint from api.actions where state = ''pending'' and problem is not null' end,
    sample_database.as_of)::ops.health_sample;
  return next (sample_database.account_id, 'dead_deliveries', 'outbox', case when v_row.dead > 0 then 'warn' else 'ok' end, v_row.dead,
    'dead', format('Approved actions that were given up in the last day: %s.', v_row.dead),
    case when v_row.dead > 0 then 'What and why: select * from api.actions where state = ''dead''; then api.retry_action(…). What need not be sent any more counts for a day.' end,
    sample_database.as_of)::ops.health_sample;
  select count(*), mode() within group (order by dead.reason) as reason into v_row from inbox.deliveries as dead
  where dead.account_id = sample_database.account_id and dead.outcome = 'dead'
    and dead.received_at > sample_database.as_of - interval '24 hours' and dead.received_at <= sample_database.as_of;
  return next (sample_database.account_id, 'dead_deliveries', 'webhook', case when v_row.count > 0 then 'warn' else 'ok' end, v_row.count,
    'dead', case when v_row.count = 0 then 'Every webhook of the last day could be read.'
      else format('%s webhooks of the last day could not be read, most of them: %s', v_row.count, v_row.reason) end,
    case when v_row.count > 0 then 'Once it can be read: select * from api.replay_deliveries(…). Nothing is lost: the bytes are kept, and the sync brings what they said.' end,
    sample_database.as_of)::ops.health_sample;

  select queue.queued_at into v_oldest from ledger.queue
  where queue.account_id = sample_database.account_id and queue.problem is null order by queue.queued_at limit 1;
  v_seconds := coalesce(extract(epoch from sample_database.as_of - v_oldest), 0);
  return next (sample_database.account_id, 'ledger_lag', '', case when v_seconds >= 3600 then 'fail' when v_seconds >= 600 then 'warn' else 'ok' end,
    greatest(v_seconds, 0), 'seconds', case when v_oldest is null then 'The numbers show all that is known.'
      else format('The numbers do not show yet what came in %s ago.', ops.ago(v_oldest, sample_database.as_of)) end,
    case when v_seconds >= 600 then 'Look at the job ledger-refresh in ops.job_runs, and at api.ledger_status. After a back-fill it is normal for a while.' end,
    sample_database.as_of)::ops.health_sample;

  select * into v_row from ops.verify_audit(sample_database.account_id, sample_database.as_of) as verified;
  return next (sample_database.account_id, 'audit_chain', '', case when v_row.audit_reason is null then 'ok' else 'fail' end,
    (v_row.audit_reason is not null)::integer, 'broken chains',
    case when v_row.audit_reason is null then 'The decision log is whole as far as it has been looked at.'
      else format('The decision log is broken: entry %s %s.', v_row.audit_broken_entry, v_row.audit_reason) end,
    case when v_row.audit_reason is not null then 'Somebody or something with the owner''s rights has written to audit.decision_log. Keep a copy of the database now, then: select * from api.verify_decision_log(…).' end,
    sample_database.as_of)::ops.health_sample;
end
$$;
comment on function ops.sample_database is
  'Every check of an account that reads our own tables but the arrivals: queue, first_response, breaches, sync_lag, outbox, dead_deliveries, ledger_lag, audit_chain.';

create function ops.job_seconds(schedule text) returns integer
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case
    when job_seconds.schedule ~ '^\s*\d+\s+seconds?\s*$' then substring(job_seconds.schedule from '\d+')::integer
    when fields[1] = '*' then 60
    when fields[1] ~ '^\*/\d+$' then 60 * substring(fields[1] from '\d+')::integer
    when fields[2] = '*' then 3600
    when fields[3] = '*' and fields[4] = '*' and fields[5] = '*' then 86400
    else 31 * 86400 end
  from (select regexp_split_to_array(trim(job_seconds.schedule), '\s+') as fields) as parts
$$;
comment on function ops.job_seconds is 'About how many seconds lie between two runs of a schedule of cron; for rare ones a month.';

create function ops.sample_project(as_of timestamptz) returns setof ops.health_sample
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_row record;
  v_bytes bigint := pg_database_size(current_database());
  v_growth double precision;
  -- Whoever has a larger disk has said so.
  v_full double precision := (select coalesce(max(rules.threshold) filter (where rules.account_id > 0), max(rules.threshold))
    from ops.alert_rules as rules where rules.kind = 'disk.full');
  v_oldest timestamptz;
  v_swept_at timestamptz;
  v_seconds double precision;
  -- While everything stood still no job is to blame, and a daily one has until tomorrow.
  v_gap_until timestamptz := (select max(intervals.ended_at) from ops.service_intervals as intervals
    where intervals.account_id = 0 and intervals.service = 'checks');
begin
  for v_row in
    select told.jobname, told.last_success_at, told.failures, told.is_ours, told.is_active, told.is_missing, told.remedy,
      -- A job may take longer than its interval, as in a back-fill; then it is at work and none is missed.
      -- Of a job that others made it is not known what they expect of it; one of ours that cannot run at all is bad at once.
      greatest(told.failures, case when not told.is_active then 3 end, case when told.is_at_work or not told.is_ours then 0 else floor(extract(epoch from sample_project.as_of
        - greatest(told.last_success_at, v_gap_until)) / told.seconds - 1)::integer end, 0) as missed
    from (
      select jobs.jobname, ops.job_seconds(jobs.schedule) as seconds, jobs.is_ours, jobs.is_active,
        jobs.is_missing, jobs.remedy,
        -- One that has never run to its end has had the time since it was first seen.
        coalesce(goods.last_success_at, (select history.checked_at from ops.health_history as history
          where history.account_id = 0 and history.name = 'cron_alive' and history.subject = jobs.jobname
          order by history.checked_at limit 1), sample_project.as_of) as last_success_at,
        lasts.failures, exists (
          select from ops.job_runs as busy where busy.job = jobs.jobname and busy.state = 'running'
            and busy.started_at > sample_project.as_of - interval '15 minutes') as is_at_work
      from (
        select coalesce(ours.job, there.jobname) as jobname, coalesce(there.schedule, ours.schedule) as schedule,
          ours.job is not null as is_ours, coalesce(there.active, false) as is_active,
          there.jobname is null as is_missing,
          -- Scheduling one that is switched off would leave it so.
          case when there.jobname is not null then format('select cron.unschedule(%L); ', ours.job) else '' end
            || format('select cron.schedule(%L, %L, %L);', ours.job, ours.schedule, ours.command) as remedy
        from ops.jobs() as ours
        full join (select distinct on (named.jobname) named.jobname, named.schedule, named.active from cron.job as named
          where named.jobname is not null order by named.jobname, named.active desc) as there on there.jobname = ours.job
        -- One of others that is switched off is as they wish.
        where ours.job is not null or there.active
      ) as jobs
      cross join lateral (
        -- In a row: those after the last that went well.
        select count(*) filter (where runs.state = 'failed' and runs.run_id > coalesce(runs.last_good, 0)
            -- What a restart cut off is no fault of the job; one that never gets to its end is missed.
            and coalesce(runs.message, '') not in ('server restarted', 'The record of the run is gone.')) as failures
        from (
          select latest.*, max(latest.run_id) filter (where latest.state = 'succeeded') over () as last_good
          from (select recent.run_id, recent.state, recent.message from ops.job_runs as recent
            where recent.job = jobs.jobname and recent.state <> 'running' order by recent.run_id desc limit 10) as latest
        ) as runs
      ) as lasts
      left join lateral (
        select goods.started_at as last_success_at from ops.job_runs as goods
        where goods.job = jobs.jobname and goods.state = 'succeeded' order by goods.run_id desc limit 1
      ) as goods on true
    ) as told
  loop
    return next (0, 'cron_alive', v_row.jobname, case when v_row.missed >= 3 and v_row.is_ours then 'fail' when v_row.failures > 0 then 'warn' else 'ok' end,
      v_row.missed, 'runs missed or failed',
      -- Without the error's own words, which may quote another account's data: every account sees this.
      case when v_row.is_missing then format('The job %s is missing.', v_row.jobname)
        when not v_row.is_active then format('The job %s is switched off.', v_row.jobname)
        when v_row.failures = 1 then format('The last run of the job %s failed.', v_row.jobname)
        when v_row.failures > 0 then format('The job %s has failed %s times in a row.', v_row.jobname, v_row.failures)
        when v_row.missed >= 3 then format('The job %s has not run to its end for %s.', v_row.jobname,
          ops.ago(v_row.last_success_at, sample_project.as_of))
        else format('The job %s runs.', v_row.jobname) end,
      case when not v_row.is_active then 'Schedule it again: ' || v_row.remedy
        when v_row.missed > 0 then format('Why: select message, * from ops.job_runs where job = %L order by run_id desc limit 5, with the secret key or as the owner; then run by hand what it calls.', v_row.jobname) end,
      sample_project.as_of)::ops.health_sample;
  end loop;
  return next (0, 'cron_alive', '', 'ok', 0, 'runs missed or failed', 'Checks run.', null, sample_project.as_of)::ops.health_sample;

  select min(clocks.attention_at) into v_oldest from sla.clocks where clocks.attention_at < sample_project.as_of;
  -- A sweep that came to its end left nothing that was due: what is older became known after it.
  v_swept_at := (select swept.started_at from ops.job_runs as swept
    where swept.job = 'sla-sweep' and swept.state = 'succeeded' and swept.seconds < 30 order by swept.run_id desc limit 1);
  v_seconds := case when v_oldest is null then 0
    else greatest(extract(epoch from sample_project.as_of - greatest(v_oldest, v_swept_at)), 0) end;
  return next (0, 'sla_sweep', '', case when v_seconds >= 600 then 'fail' when v_seconds >= 180 then 'warn' else 'ok' end, v_seconds,
    'seconds', case when v_seconds < 180 then 'Breaches and warnings are told of in time.'
      else format('A breach or warning that was due %s ago has not been told of.', ops.ago(greatest(v_oldest, v_swept_at), sample_project.as_of)) end,
    case when v_seconds >= 180 then 'Look at the job sla-sweep in ops.job_runs; by hand: call sla.tick().' end,
    sample_project.as_of)::ops.health_sample;

  select (v_bytes / 1048576.0 - hours.maximum) / nullif(extract(epoch from sample_project.as_of - hours.hour) / 86400, 0)
  into v_growth
  from ops.health_hours as hours
  where hours.account_id = 0 and hours.name = 'database_size' and hours.subject = ''
    and hours.hour <= sample_project.as_of - interval '1 day' and hours.hour >= sample_project.as_of - interval '8 days'
  order by hours.hour limit 1;
  return next (0, 'database_size', '', case when v_bytes >= v_full * 1048576 then 'warn' else 'ok' end, v_bytes / 1048576.0, 'megabytes',
    format('The database holds %s%s.', pg_size_pretty(v_bytes),
      case when v_growth is not null then format(', %s MB %s a day over the last days', round(abs(v_growth)),
        case when v_growth < 0 then 'less' else 'more' end) else '' end),
    case when v_bytes >= v_full * 1048576 then 'Enlarge the disk, or lower raw_retention_days; what is largest: select oid::regclass, pg_size_pretty(pg_total_relation_size(oid)) from pg_class where relkind = ''r'' order by pg_total_relation_size(oid) desc limit 10. The alert disk.full has the size from which on it is too much.' end,
    sample_project.as_of)::ops.health_sample;

  select runs.job, runs.seconds into v_row from ops.job_runs as runs
  where runs.ended_at > sample_project.as_of - interval '1 hour' and runs.seconds is not null
    -- Those that stay and look until their minute is over are as long as that by design.
    and not exists (select from cron.job as staying where staying.jobname = runs.job and staying.command like '%linger => true%')
  order by runs.seconds desc limit 1;
  v_seconds := v_row.seconds;
  return next (0, 'slow_queries', '', case when v_seconds is null then 'unknown' when v_seconds >= 120 then 'warn' else 'ok' end,
    v_seconds, 'seconds', case when v_seconds is null then 'No job has ended in the last hour.'
      else format('The slowest job of the last hour was %s: %s s.%s', v_row.job, round(v_seconds::numeric, 1), ops.slowest_statement()) end,
    case when v_seconds >= 120 then format('select * from ops.job_runs where job = %L order by run_id desc limit 20: since when?', v_row.job) end,
    sample_project.as_of)::ops.health_sample;
end
$$;
comment on function ops.sample_project is
  'The checks of the whole project: cron_alive (one row a job, also for one of ours that is missing, and one for the checks themselves), sla_sweep, database_size, slow_queries.';

create function ops.slowest_statement() returns text
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_view text := to_regclass('extensions.pg_stat_statements')::text;
  v_told text;
begin
  if v_view is null then
    return '';
  end if;
  -- Only the names of our own functions: anything else might quote what a person typed.
  execute format($statement$
    select named.name || ' (' || round(statements.mean_exec_time::numeric) || ' ms)'
    from %s as statements
    cross join lateral (select substring(statements.query
      from '\m((?:access|audit|ops|inbox|sync|ledger|sla|actions|replies|analytics|api)\.[a-z_]+)') as name) as named
    where named.name is not null and statements.calls >= 3
    order by statements.mean_exec_time desc limit 1$statement$, v_view) into v_told;
  return coalesce(' The slowest of our calls on average: ' || v_told || '.', '');
exception when others then
  -- Not every installation lets its owner read it.
  return '';
end
$$;
comment on function ops.slowest_statement is 'The slowest of our own calls by pg_stat_statements, in words; empty where that is not there.';

create function ops.watched_accounts() returns bigint[]
language sql stable security invoker set search_path = '' as $$
  select coalesce(array_agg(every.account_id order by every.account_id), '{}') from (
    select accounts.account_id from chatwoot.accounts
    union select inboxes.account_id from chatwoot.inboxes
    union select sources.account_id from sync.sources
  ) as every
$$;
comment on function ops.watched_accounts is 'Every account there is anything to watch of.';

create function ops.note_gap(as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_last timestamptz := (select checks.checked_at from ops.health_checks as checks
    where checks.account_id = 0 and checks.name = 'cron_alive' and checks.subject = '');
begin
  if v_last < note_gap.as_of - interval '3 minutes' then
    insert into ops.service_intervals (account_id, service, state, started_at, ended_at, reason)
    values (0, 'checks', 'unmeasured', v_last, note_gap.as_of,
      'Nothing was checked: cron or the database was stopped, or the job ops-check-health had been removed.')
    on conflict do nothing;
    -- Whether it was down for all of the gap nobody knows: if it still is, that is a downtime of its own.
    update ops.service_intervals as existing set ended_at = greatest(v_last, existing.started_at)
    where existing.service = 'chatwoot' and existing.ended_at is null;
  end if;
end
$$;
comment on function ops.note_gap is 'Notes that nobody looked since the last check, where that is over three minutes ago; downtimes that lasted end with that check.';

create procedure ops.check_health(as_of timestamptz default null, budget interval default '20 seconds')
-- No SET clause: a procedure that commits cannot have one. Every name is written out.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_at timestamptz := coalesce(check_health.as_of, pg_catalog.clock_timestamp());
  v_accounts bigint[];
  v_account bigint;
  v_samples ops.health_sample[];
  v_state text;
  v_is_more boolean;
begin
  perform ops.copy_job_runs(v_at);
  commit;
  perform ops.note_gap(v_at);
  perform ops.record_checks(array(select row(told.*)::ops.health_sample from ops.sample_project(v_at) as told));
  commit;
  v_accounts := ops.watched_accounts();
  foreach v_account in array v_accounts loop
    begin
      perform ops.note_arrivals(v_account, v_at);
      perform ops.learn_normal(v_account, v_at);
      v_samples := array(select row(told.*)::ops.health_sample from ops.sample_database(v_account, v_at) as told)
        || array(select row(told.*)::ops.health_sample from ops.sample_arrivals(v_account, array[v_at]) as told)
        || row(v_account, 'checks', '', 'ok', 0, 'failures', 'The account is checked.', null, v_at)::ops.health_sample;
      perform ops.record_checks(v_samples);
    exception when others then
      -- What goes wrong with one account must not leave the others unwatched, nor go unseen itself.
      get stacked diagnostics v_state = returned_sqlstate;
      perform ops.record_checks(array[row(v_account, 'checks', '', 'fail', 1, 'failures',
        pg_catalog.format('The account could not be checked (%s).', v_state),
        'Run it by hand to see the error: select * from ops.sample_database(…, now()).', v_at)::ops.health_sample]);
    end;
    commit;
  end loop;
  -- Whose turn was longest ago comes first, so that a Chatwoot that hangs costs the others no more than this once.
  v_accounts := array(select sources.account_id from sync.sources
    left join ops.health_checks as checks on checks.account_id = sources.account_id and checks.name = 'service'
      and checks.subject = 'chatwoot'
    where sources.door = 'rest' order by checks.checked_at nulls first, sources.account_id);
  foreach v_account in array v_accounts loop
    exit when pg_catalog.clock_timestamp() >= v_end;
    begin
      v_samples := array(select row(told.*)::ops.health_sample from ops.sample_chatwoot(v_account, v_at, v_end) as told)
        || row(v_account, 'checks', 'chatwoot', 'ok', 0, 'failures', 'Chatwoot is asked.', null, v_at)::ops.health_sample;
    exception when others then
      -- Such as a token that Vault cannot decrypt.
      get stacked diagnostics v_state = returned_sqlstate;
      v_samples := array[row(v_account, 'checks', 'chatwoot', 'fail', 1, 'failures',
          pg_catalog.format('Chatwoot could not be asked (%s).', v_state),
          'Run it by hand to see the error: select * from ops.sample_chatwoot(…, now(), now()). If it is the token, set it again: select api.set_sync_token(…).',
          v_at)::ops.health_sample,
        row(v_account, 'service', 'chatwoot', 'unknown', null, 'failing requests of 3',
          pg_catalog.format('Chatwoot could not be asked (%s).', v_state), null, v_at)::ops.health_sample];
    end;
    commit;
    perform ops.record_checks(v_samples);
    commit;
  end loop;
  foreach v_account in array ops.watched_accounts() loop
    begin
      perform ops.evaluate_alerts(v_account, v_at);
      perform ops.record_checks(array[row(v_account, 'checks', 'alerts', 'ok', 0, 'failures', 'The alerts are evaluated.', null,
        v_at)::ops.health_sample]);
    exception when others then
      get stacked diagnostics v_state = returned_sqlstate;
      perform ops.record_checks(array[row(v_account, 'checks', 'alerts', 'fail', 1, 'failures',
        pg_catalog.format('The alerts of the account could not be evaluated (%s).', v_state),
        'Run it by hand to see the error: select ops.evaluate_alerts(…).', v_at)::ops.health_sample]);
    end;
    commit;
  end loop;
  -- What is left of the budget goes into the past: what is normal is learnt a day at a time.
  foreach v_account in array ops.watched_accounts() loop
    v_is_more := true;
    while v_is_more and pg_catalog.clock_timestamp() < v_end loop
      begin
        v_is_more := ops.note_arrivals(v_account, v_at);
      exception when others then
        -- It was told of above.
        v_is_more := false;
      end;
      commit;
    end loop;
  end loop;
end
$$;
comment on procedure ops.check_health is
  'Looks at everything once, writes down what it found and evaluates the alerts; for cron, each minute. as_of takes the place of the clock for all but the budget.';

-- Who first replied in the last hour is asked each minute.
create index episodes_first_human_idx on ledger.episodes (first_human_at, account_id) where first_human_at is not null;
