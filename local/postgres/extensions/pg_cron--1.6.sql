-- The tables and functions of pg_cron 1.6. The jobs are run by local/worker, which reads cron.job each second.
create schema cron;

create sequence cron.jobid_seq;
create table cron.job (
  jobid bigint primary key default nextval('cron.jobid_seq'),
  schedule text not null,
  command text not null,
  nodename text not null default 'localhost',
  nodeport integer not null default coalesce(inet_server_port(), current_setting('port')::integer),
  database text not null default current_database(),
  username text not null default current_user,
  active boolean not null default true,
  jobname text,
  constraint jobname_username_uniq unique (jobname, username)
);
alter sequence cron.jobid_seq owned by cron.job.jobid;
alter table cron.job enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);

create sequence cron.runid_seq;
create table cron.job_run_details (
  jobid bigint,
  runid bigint primary key default nextval('cron.runid_seq'),
  job_pid integer,
  database text,
  username text,
  command text,
  status text,
  return_message text,
  start_time timestamptz,
  end_time timestamptz
);
alter sequence cron.runid_seq owned by cron.job_run_details.runid;
alter table cron.job_run_details enable row level security;
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);

select pg_catalog.pg_extension_config_dump('cron.job', '');
select pg_catalog.pg_extension_config_dump('cron.jobid_seq', '');
select pg_catalog.pg_extension_config_dump('cron.job_run_details', '');
select pg_catalog.pg_extension_config_dump('cron.runid_seq', '');

create function cron.field_is_valid(field text, low integer, high integer, names text[]) returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  element text;
  part text[];
  bound text;
  bounds integer[];
begin
  -- string_to_array keeps an empty element, so '1,' is refused.
  foreach element in array string_to_array(lower(field), ',') loop
    part := regexp_match(element, '^(?:\*|([a-z0-9]{1,9})(?:-([a-z0-9]{1,9}))?)(?:/(\d{1,9}))?$');
    if part is null or part[3]::integer = 0 then
      return false;
    end if;
    if part[1] is not null and part[2] is null and part[3] is not null then
      return false; -- A step needs a range: '5/20' means nothing to Vixie's parser.
    end if;
    bounds := '{}';
    foreach bound in array array_remove(part[1:2], null) loop
      if bound = any (names) then
        bounds := bounds || array_position(names, bound) - 1 + low;
      elsif bound ~ '^\d+$' and bound::integer between low and high then
        bounds := bounds || bound::integer;
      else
        return false;
      end if;
    end loop;
    if bounds[1] > bounds[2] then
      return false;
    end if;
  end loop;
  return true;
end
$$;
comment on function cron.field_is_valid is 'Whether one field of a schedule is a list of numbers, names, ranges and steps.';

create function cron.schedule_is_valid(schedule text) returns boolean
language plpgsql immutable set search_path = '' as $$
declare
  field text[] := regexp_split_to_array(trim(schedule, E' \t\n'), '[ \t\n]+');
  months text[] := '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}';
  days text[] := '{sun,mon,tue,wed,thu,fri,sat}';
begin
  if length(schedule) > 1000 then
    return false;
  end if;
  if array_length(field, 1) = 1 then
    return field[1] in (
      '@reboot', '@restart', '@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'
    );
  end if;
  if array_length(field, 1) = 2 then
    return field[1] ~ '^0*[1-5]?\d$' and field[1] !~ '^0+$' and lower(field[2]) in ('second', 'seconds');
  end if;
  return array_length(field, 1) = 5
    and cron.field_is_valid(field[1], 0, 59, '{}')
    and cron.field_is_valid(field[2], 0, 23, '{}')
    and (field[3] = '$' or cron.field_is_valid(field[3], 1, 31, '{}'))
    and cron.field_is_valid(field[4], 1, 12, months)
    and cron.field_is_valid(field[5], 0, 7, days);
end
$$;
comment on function cron.schedule_is_valid is 'Whether the schedule is five fields, a word such as @daily, or 1 to 59 seconds.';

-- Nobody may write cron.job, and a definer function cannot see who called it. A view can: the default of a column is
-- computed as the caller, and nobody but the superuser may set that column.
create view cron.job_change as
select null::text as action, null::bigint as jobid, null::text as jobname, null::text as schedule, null::text as command,
  null::text as database, null::text as username, null::boolean as active, null::name as caller
where false;
alter view cron.job_change alter column caller set default current_user;

create function cron.apply_job_change() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  caller_is_superuser boolean := (select rolsuper from pg_catalog.pg_roles where rolname = new.caller);
begin
  if new.schedule is not null and not cron.schedule_is_valid(new.schedule) then
    raise invalid_parameter_value using
      message = format('invalid schedule: %s', new.schedule),
      hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
  end if;
  if new.database is not null and not exists (select from pg_catalog.pg_database where datname = new.database) then
    raise invalid_catalog_name using message = format('database "%s" does not exist', new.database);
  end if;
  if new.username is not null then
    if new.username <> new.caller and not caller_is_superuser then
      raise insufficient_privilege using message = 'must be superuser to create a job for another role';
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = new.username) then
      raise undefined_object using message = format('role "%s" does not exist', new.username);
    end if;
  end if;

  if new.action = 'schedule' then
    if new.schedule is null then
      raise 'schedule can not be NULL' using errcode = 'XX000';
    end if;
    if new.command is null then
      raise 'command can not be NULL' using errcode = 'XX000';
    end if;
    -- An existing job keeps its id and whether it is active.
    insert into cron.job as existing (jobname, schedule, command, database, username, active)
    values (
      new.jobname, new.schedule, new.command, coalesce(new.database, current_database()),
      coalesce(new.username, new.caller), coalesce(new.active, true)
    )
    on conflict on constraint jobname_username_uniq
    do update set schedule = excluded.schedule, command = excluded.command
    returning existing.jobid into new.jobid;
  elsif new.action = 'alter' then
    update cron.job set
      schedule = coalesce(new.schedule, job.schedule),
      command = coalesce(new.command, job.command),
      database = coalesce(new.database, job.database),
      username = coalesce(new.username, job.username),
      active = coalesce(new.active, job.active)
    where job.jobid = new.jobid and (job.username = new.caller or caller_is_superuser);
    if not found then
      raise 'Job % does not exist or you don''t own it', new.jobid using errcode = 'XX000';
    end if;
  elsif new.jobid is not null then
    delete from cron.job where job.jobid = new.jobid and (job.username = new.caller or caller_is_superuser);
    if not found then
      raise 'could not find valid entry for job %', new.jobid using errcode = 'XX000';
    end if;
  else
    delete from cron.job where job.jobname = new.jobname and job.username = new.caller;
    if not found then
      raise 'could not find valid entry for job ''%''', new.jobname using errcode = 'XX000';
    end if;
  end if;
  return new;
end
$$;
create trigger apply_job_change instead of insert on cron.job_change
for each row execute function cron.apply_job_change();

create function cron.schedule(schedule text, command text) returns bigint
language plpgsql strict set search_path = '' as $$
declare
  changed_id bigint;
begin
  insert into cron.job_change (action, schedule, command)
  values ('schedule', schedule.schedule, schedule.command) returning jobid into changed_id;
  return changed_id;
end
$$;
comment on function cron.schedule(text, text) is 'schedule a pg_cron job';

create function cron.schedule(job_name text, schedule text, command text) returns bigint
language plpgsql set search_path = '' as $$
declare
  changed_id bigint;
begin
  if job_name is null then
    raise 'job_name can not be NULL' using errcode = 'XX000';
  end if;
  insert into cron.job_change (action, jobname, schedule, command)
  values ('schedule', job_name, schedule.schedule, schedule.command) returning jobid into changed_id;
  return changed_id;
end
$$;
comment on function cron.schedule(text, text, text) is 'schedule a pg_cron job';

create function cron.schedule_in_database(
  job_name text, schedule text, command text, database text, username text default null, active boolean default true
) returns bigint
language plpgsql set search_path = '' as $$
declare
  changed_id bigint;
begin
  insert into cron.job_change (action, jobname, schedule, command, database, username, active)
  values (
    'schedule', job_name, schedule_in_database.schedule, schedule_in_database.command, schedule_in_database.database,
    schedule_in_database.username, schedule_in_database.active
  ) returning jobid into changed_id;
  return changed_id;
end
$$;
comment on function cron.schedule_in_database is 'schedule a pg_cron job in another database';

create function cron.alter_job(
  job_id bigint, schedule text default null, command text default null, database text default null,
  username text default null, active boolean default null
) returns void
language sql set search_path = '' as $$
  insert into cron.job_change (action, jobid, schedule, command, database, username, active)
  values (
    'alter', job_id, alter_job.schedule, alter_job.command, alter_job.database, alter_job.username, alter_job.active
  );
$$;
comment on function cron.alter_job is 'Alter the job identified by job_id. Any option left as NULL will not be modified.';

create function cron.unschedule(job_id bigint) returns boolean
language sql strict set search_path = '' as $$
  insert into cron.job_change (action, jobid) values ('unschedule', job_id) returning true;
$$;
comment on function cron.unschedule(bigint) is 'unschedule a pg_cron job';

create function cron.unschedule(job_name text) returns boolean
language sql strict set search_path = '' as $$
  insert into cron.job_change (action, jobname) values ('unschedule', job_name) returning true;
$$;
comment on function cron.unschedule(text) is 'unschedule a pg_cron job';

grant select on cron.job to public;
grant select, delete on cron.job_run_details to public;
grant insert (action, jobid, jobname, schedule, command, database, username, active), select on cron.job_change to public;
revoke execute on function cron.schedule_in_database, cron.alter_job from public;

-- What the platform grants once the extension is there; its schema is open to no other role.
do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'postgres' and not rolsuper) then
    grant usage on schema cron to postgres with grant option;
    grant execute on all functions in schema cron to postgres with grant option;
    grant select on cron.job to postgres with grant option;
    grant select, insert, update, delete on cron.job_run_details to postgres with grant option;
    grant usage on sequence cron.runid_seq to postgres;
  end if;
end
$$;
