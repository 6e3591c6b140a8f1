-- Health: what was found when somebody last looked, kept so that "since when" has an answer. Looking is one job a minute;
-- here is where its findings go. Everything later (alerts, live status, the public page) reads these tables and nothing
-- else, so that what woke a person up can be seen afterwards, minute by minute.
insert into ops.setting_definitions (name, kind, minimum, maximum, choices, default_value, is_for_project, description) values
  ('health_retention_days', 'integer', 1, 90, null, '7', false,
    'Days that each single health check is kept; what it was hour by hour stays for 400 days.');

-- 0 is the whole project: an account has a positive number, and a key takes no null.
create table ops.health_checks (
  account_id bigint not null,
  name text not null,
  subject text not null,
  state text not null,
  value double precision,
  unit text,
  message text not null,
  hint text,
  since timestamptz not null,
  checked_at timestamptz not null,
  constraint health_checks_pkey primary key (account_id, name, subject),
  constraint health_checks_account_id_known check (account_id >= 0),
  constraint health_checks_state_known check (state in ('ok', 'warn', 'fail', 'unknown')),
  constraint health_checks_texts_bounded check (length(name) between 1 and 100 and length(subject) <= 200
    and length(message) between 1 and 1000 and length(hint) <= 1000)
);
comment on table ops.health_checks is 'What each check found last, one row a check and subject.';
comment on column ops.health_checks.account_id is 'Chatwoot''s account id; 0 for the whole project.';
comment on column ops.health_checks.name is 'Name of the check, such as webhook_arrival.';
comment on column ops.health_checks.subject is 'What of it was looked at, such as inbox:3 or a job; empty where there is only one.';
comment on column ops.health_checks.state is 'ok; warn (look at it today); fail (look at it now); unknown (cannot be told yet).';
comment on column ops.health_checks.value is 'What was measured, in unit; null where it could not be.';
comment on column ops.health_checks.unit is 'Unit of the value.';
comment on column ops.health_checks.message is 'What was found. Never a secret.';
comment on column ops.health_checks.hint is 'What to do about it; null where there is nothing to do.';
comment on column ops.health_checks.since is 'Since when the state is what it is (UTC).';
comment on column ops.health_checks.checked_at is 'When somebody looked (UTC).';

create table ops.health_history (
  account_id bigint not null,
  name text not null,
  subject text not null,
  checked_at timestamptz not null,
  state text not null,
  value double precision,
  constraint health_history_pkey primary key (account_id, name, subject, checked_at),
  constraint health_history_state_known check (state in ('ok', 'warn', 'fail', 'unknown'))
);
comment on table ops.health_history is 'What each check found minute by minute, kept for health_retention_days.';
comment on column ops.health_history.account_id is 'Chatwoot''s account id; 0 for the whole project.';
comment on column ops.health_history.name is 'Name of the check.';
comment on column ops.health_history.subject is 'What of it was looked at.';
comment on column ops.health_history.checked_at is 'When somebody looked (UTC).';
comment on column ops.health_history.state is 'ok, warn, fail or unknown.';
comment on column ops.health_history.value is 'What was measured; null where it could not be.';

create table ops.health_hours (
  account_id bigint not null,
  name text not null,
  subject text not null,
  hour timestamptz not null,
  n_ok integer not null,
  n_warn integer not null,
  n_fail integer not null,
  n_unknown integer not null,
  n_values integer not null,
  total double precision not null,
  minimum double precision,
  maximum double precision,
  constraint health_hours_pkey primary key (account_id, name, subject, hour)
);
comment on table ops.health_hours is 'What each check found hour by hour, kept for 400 days.';
comment on column ops.health_hours.account_id is 'Chatwoot''s account id; 0 for the whole project.';
comment on column ops.health_hours.name is 'Name of the check.';
comment on column ops.health_hours.subject is 'What of it was looked at.';
comment on column ops.health_hours.hour is 'Begin of the hour (UTC).';
comment on column ops.health_hours.n_ok is 'How often it was ok.';
comment on column ops.health_hours.n_warn is 'How often it was warn.';
comment on column ops.health_hours.n_fail is 'How often it was fail.';
comment on column ops.health_hours.n_unknown is 'How often it was unknown.';
comment on column ops.health_hours.n_values is 'How often something was measured.';
comment on column ops.health_hours.total is 'Sum of what was measured: divided by n_values, the mean.';
comment on column ops.health_hours.minimum is 'Smallest value; null for none.';
comment on column ops.health_hours.maximum is 'Largest value; null for none.';
create index health_hours_hour_idx on ops.health_hours (hour);

create table ops.service_intervals (
  account_id bigint not null,
  service text not null,
  state text not null,
  started_at timestamptz not null,
  ended_at timestamptz,
  reason text not null,
  constraint service_intervals_pkey primary key (account_id, service, started_at),
  constraint service_intervals_state_known check (state in ('down', 'unmeasured')),
  constraint service_intervals_in_order check (ended_at >= started_at),
  constraint service_intervals_reason_bounded check (length(reason) between 1 and 1000)
);
comment on table ops.service_intervals is 'When a service was down, and when nobody looked: what uptime is worked out from. Kept for 400 days.';
comment on column ops.service_intervals.account_id is 'Chatwoot''s account id; 0 for the whole project.';
comment on column ops.service_intervals.service is 'chatwoot (the account''s Chatwoot), or checks (the looking itself).';
comment on column ops.service_intervals.state is 'down, or unmeasured: nobody looked, so nobody knows.';
comment on column ops.service_intervals.started_at is 'The first check that found it so, or the last one before the gap (UTC).';
comment on column ops.service_intervals.ended_at is 'The first check that found it otherwise (UTC); null while it lasts.';
comment on column ops.service_intervals.reason is 'What was found.';
create unique index service_intervals_open_key on ops.service_intervals (account_id, service) where ended_at is null;

create table ops.health_accounts (
  account_id bigint not null,
  began_at timestamptz not null,
  time_zone text not null default 'UTC',
  noted_until timestamptz,
  learned_until timestamptz,
  audit_entry bigint not null default 0,
  audit_hash bytea,
  audit_whole_at timestamptz,
  audit_broken_entry bigint,
  audit_reason text,
  constraint health_accounts_pkey primary key (account_id)
);
comment on table ops.health_accounts is 'How far the watching of each account is.';
comment on column ops.health_accounts.account_id is 'Chatwoot''s account id; 0 for the whole project.';
comment on column ops.health_accounts.began_at is 'When the watching began, or began anew after a back-fill (UTC).';
comment on column ops.health_accounts.time_zone is 'The zone whose hours of the week were learnt.';
comment on column ops.health_accounts.noted_until is 'Arrivals have been noted up to here (UTC); null before the first time.';
comment on column ops.health_accounts.learned_until is 'What is normal has been learnt up to this full hour (UTC); null before the first time.';
comment on column ops.health_accounts.audit_entry is 'The decision log has been checked up to this entry; 0 at the beginning of a round.';
comment on column ops.health_accounts.audit_hash is 'Hash of that entry.';
comment on column ops.health_accounts.audit_whole_at is 'When a round over the whole decision log last ended well (UTC); null for never.';
comment on column ops.health_accounts.audit_broken_entry is 'First entry found broken; null for none.';
comment on column ops.health_accounts.audit_reason is 'Why it is broken; null for none.';

-- pg_cron's own record goes by job number, knows no rest of the week and may be read by its owner alone.
create table ops.job_runs (
  run_id bigint not null,
  job text not null,
  started_at timestamptz,
  ended_at timestamptz,
  state text not null,
  seconds double precision,
  message text,
  constraint job_runs_pkey primary key (run_id),
  constraint job_runs_state_known check (state in ('running', 'succeeded', 'failed')),
  constraint job_runs_texts_bounded check (length(job) <= 200 and length(message) <= 500)
);
comment on table ops.job_runs is 'Each run of each job of cron, for 30 days; of the whole project.';
comment on column ops.job_runs.run_id is 'pg_cron''s number of the run.';
comment on column ops.job_runs.job is 'Name of the job; its number where it has been removed.';
comment on column ops.job_runs.started_at is 'When it began (UTC); null while it waits to begin.';
comment on column ops.job_runs.ended_at is 'When it ended (UTC); null while it runs.';
comment on column ops.job_runs.state is 'running, succeeded or failed.';
comment on column ops.job_runs.seconds is 'How long it took; null while it runs.';
comment on column ops.job_runs.message is 'What pg_cron was told at the end: the result''s size, or the error.';
create index job_runs_job_idx on ops.job_runs (job, run_id desc);
create index job_runs_ended_at_idx on ops.job_runs (ended_at);
create index job_runs_running_idx on ops.job_runs (run_id) where state = 'running';

create type ops.health_sample as (
  account_id bigint,
  name text,
  subject text,
  state text,
  value double precision,
  unit text,
  message text,
  hint text,
  checked_at timestamptz
);
comment on type ops.health_sample is 'One finding of one check, on its way into the tables.';

create function ops.record_checks(given ops.health_sample[]) returns bigint
-- Whole sets, so that the history of a month is written by the same statements as that of a minute.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
  v_change record;
begin
  with kept as (
    insert into ops.health_history (account_id, name, subject, checked_at, state, value)
    select told.account_id, told.name, told.subject, told.checked_at, told.state, told.value
    from unnest(record_checks.given) as told
    on conflict on constraint health_history_pkey do nothing
    returning health_history.account_id, health_history.name, health_history.subject, health_history.checked_at,
      health_history.state, health_history.value
  ), counted as (
    -- Of what was told before, its hour knows already.
    insert into ops.health_hours as existing (account_id, name, subject, hour, n_ok, n_warn, n_fail, n_unknown, n_values,
      total, minimum, maximum)
    select kept.account_id, kept.name, kept.subject, date_trunc('hour', kept.checked_at, 'UTC'),
      count(*) filter (where kept.state = 'ok'), count(*) filter (where kept.state = 'warn'),
      count(*) filter (where kept.state = 'fail'), count(*) filter (where kept.state = 'unknown'), count(kept.value),
      coalesce(sum(kept.value), 0), min(kept.value), max(kept.value)
    from kept
    group by 1, 2, 3, 4 order by 1, 2, 3, 4
    on conflict on constraint health_hours_pkey do update set n_ok = existing.n_ok + excluded.n_ok,
      n_warn = existing.n_warn + excluded.n_warn, n_fail = existing.n_fail + excluded.n_fail,
      n_unknown = existing.n_unknown + excluded.n_unknown, n_values = existing.n_values + excluded.n_values,
      total = existing.total + excluded.total, minimum = least(existing.minimum, excluded.minimum),
      maximum = greatest(existing.maximum, excluded.maximum)
  )
  select count(*) into v_count from kept;
  insert into ops.health_checks as existing (account_id, name, subject, state, value, unit, message, hint, since, checked_at)
  select distinct on (told.account_id, told.name, told.subject) told.account_id, told.name, told.subject, told.state,
    told.value, told.unit, left(told.message, 1000), left(told.hint, 1000), told.checked_at, told.checked_at
  from unnest(record_checks.given) as told
  order by told.account_id, told.name, told.subject, told.checked_at desc
  on conflict on constraint health_checks_pkey do update set state = excluded.state, value = excluded.value,
    unit = excluded.unit, message = excluded.message, hint = excluded.hint, checked_at = excluded.checked_at,
    since = case when existing.state = excluded.state then existing.since else excluded.checked_at end
  where existing.checked_at <= excluded.checked_at;
  for v_change in
    select changes.account_id, changes.state, changes.message, changes.checked_at
    from (
      select told.account_id, told.state, told.message, told.checked_at,
        lag(told.state) over (partition by told.account_id order by told.checked_at) as before
      from unnest(record_checks.given) as told
      where told.name = 'service' and told.subject = 'chatwoot' and told.state <> 'unknown'
    ) as changes
    where changes.before is null or (changes.before = 'fail') <> (changes.state = 'fail')
    order by changes.account_id, changes.checked_at
  loop
    if v_change.state = 'fail' then
      insert into ops.service_intervals (account_id, service, state, started_at, reason)
      values (v_change.account_id, 'chatwoot', 'down', v_change.checked_at, left(v_change.message, 1000))
      on conflict do nothing;
    else
      update ops.service_intervals as existing set ended_at = greatest(v_change.checked_at, existing.started_at)
      where existing.account_id = v_change.account_id and existing.service = 'chatwoot' and existing.ended_at is null;
    end if;
  end loop;
  return v_count;
end
$$;
comment on function ops.record_checks is
  'Writes down what checks found: as they stand now, minute by minute and hour by hour, and when Chatwoot was down. Returns how many were new.';

create function ops.copy_job_runs(as_of timestamptz default now(), batch_size integer default 5000) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
  v_last bigint := coalesce((select max(runs.run_id) from ops.job_runs as runs), 0);
  -- What ran when last looked is looked at again, beside what is new: one that never ends must not hold up the others.
  v_running bigint[] := array(select runs.run_id from ops.job_runs as runs where runs.state = 'running');
begin
  insert into ops.job_runs as existing (run_id, job, started_at, ended_at, state, seconds, message)
  select told.runid, left(coalesce(jobs.jobname, told.jobid::text), 200), told.start_time,
    -- Of what a restart cut off pg_cron notes no end.
    case when told.status = 'failed' then coalesce(told.end_time, told.start_time, copy_job_runs.as_of) else told.end_time end,
    case when told.status in ('succeeded', 'failed') then told.status else 'running' end,
    extract(epoch from told.end_time - told.start_time)::double precision, left(told.return_message, 500)
  from (
    (select newer.* from cron.job_run_details as newer where newer.runid > v_last order by newer.runid limit copy_job_runs.batch_size)
    union all
    select again.* from cron.job_run_details as again where again.runid = any (v_running)
  ) as told
  left join cron.job as jobs on jobs.jobid = told.jobid
  on conflict on constraint job_runs_pkey do update set started_at = excluded.started_at, ended_at = excluded.ended_at,
    state = excluded.state, seconds = excluded.seconds, message = excluded.message
  where existing.state = 'running' and excluded.state <> 'running';
  get diagnostics v_count = row_count;
  -- Its record is gone with a restart of the server, or was cleared away: it runs no more.
  update ops.job_runs as existing set state = 'failed', message = 'The record of the run is gone.',
    ended_at = coalesce(existing.started_at, copy_job_runs.as_of)
  where existing.state = 'running' and not exists (
    select from cron.job_run_details as told where told.runid = existing.run_id);
  with old as materialized (
    select runs.run_id from ops.job_runs as runs
    where runs.ended_at < copy_job_runs.as_of - interval '30 days' limit copy_job_runs.batch_size
  )
  delete from ops.job_runs as existing using old where existing.run_id = old.run_id;
  return v_count;
end
$$;
comment on function ops.copy_job_runs is
  'Copies pg_cron''s new records into ops.job_runs, and deletes those over 30 days old, a batch each; returns how many were new or have ended.';

create function ops.purge_health(as_of timestamptz default now(), batch_size integer default 20000) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  with accounts as (
    select distinct checks.account_id, checks.name, checks.subject,
      make_interval(days => (ops.setting(checks.account_id, 'health_retention_days') #>> '{}')::integer) as retention
    from ops.health_checks as checks
  ), old as materialized (
    -- One step a check through the key, however long its history.
    select expired.account_id, expired.name, expired.subject, expired.checked_at
    from accounts cross join lateral (
      select history.account_id, history.name, history.subject, history.checked_at from ops.health_history as history
      where history.account_id = accounts.account_id and history.name = accounts.name
        and history.subject = accounts.subject and history.checked_at < purge_health.as_of - accounts.retention
      order by history.checked_at limit purge_health.batch_size
    ) as expired
    limit purge_health.batch_size
  )
  delete from ops.health_history as existing using old
  where existing.account_id = old.account_id and existing.name = old.name and existing.subject = old.subject
    and existing.checked_at = old.checked_at;
  get diagnostics v_count = row_count;
  delete from ops.health_hours as existing where existing.hour < purge_health.as_of - interval '400 days';
  delete from ops.service_intervals as existing where existing.ended_at < purge_health.as_of - interval '400 days';
  -- Of an inbox, a job or a source that is no more.
  delete from ops.health_checks as existing where existing.checked_at < purge_health.as_of - interval '1 day'
    and not exists (select from ops.health_history as history where history.account_id = existing.account_id
      and history.name = existing.name and history.subject = existing.subject);
  return v_count;
end
$$;
comment on function ops.purge_health is
  'Deletes single checks beyond each account''s health_retention_days, one batch, and hours and downtimes over 400 days old; returns how many single checks.';
