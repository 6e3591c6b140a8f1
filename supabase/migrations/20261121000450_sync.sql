-- The second way in. Chatwoot sends each webhook once and none at all for many changes, so what it knows is also read on
-- purpose: over its REST API or from its own tables. Both doors make the records that webhooks make and hand them to the
-- same merges. Here is what they share: where each account's Chatwoot is and how the reading stands. The doors
-- themselves are in the two files after this one, and the proof that the mirror is complete in the one after those.
create schema sync;
comment on schema sync is 'Sources of the mirror beside the webhooks: the REST door and the database door, how they stand, and the proof.';
revoke all on schema sync from public;
grant usage on schema sync to authenticated, service_role;

create extension if not exists http with schema extensions;

create table sync.sources (
  account_id bigint not null,
  door text not null,
  state text not null default 'active',
  base_url text,
  source_schema text,
  changed_until timestamptz,
  backfill jsonb,
  backfill_started_at timestamptz,
  backfill_finished_at timestamptz,
  backfill_done bigint not null default 0,
  backfill_total bigint,
  cursor jsonb not null default '{}',
  failures integer not null default 0,
  retry_at timestamptz,
  problem text,
  hint text,
  problem_at timestamptz,
  last_attempt_at timestamptz,
  last_success_at timestamptz,
  requests bigint not null default 0,
  rows_read bigint not null default 0,
  rows_changed bigint not null default 0,
  refusals jsonb not null default '{}',
  constraint sources_pkey primary key (account_id, door),
  constraint sources_account_id_positive check (account_id > 0),
  constraint sources_door_known check (door in ('rest', 'database')),
  constraint sources_state_known check (state in ('active', 'paused', 'stopped')),
  constraint sources_place_fits_door check (
    (door = 'rest') = (base_url is not null) and (door = 'database') = (source_schema is not null))
);
comment on table sync.sources is 'Each way in which an account''s Chatwoot is read, and how far the reading has come.';
comment on column sync.sources.account_id is 'Chatwoot''s account id.';
comment on column sync.sources.door is 'rest (Chatwoot''s REST API) or database (Chatwoot''s own tables).';
comment on column sync.sources.state is 'active; paused by a person; or stopped by the sync itself until a person mends something.';
comment on column sync.sources.base_url is 'Where Chatwoot is, without a slash at the end; REST door only.';
comment on column sync.sources.source_schema is 'Schema that holds Chatwoot''s tables or foreign tables; database door only.';
comment on column sync.sources.changed_until is 'Everything that changed in the source up to here has been read (UTC); null before the first time.';
comment on column sync.sources.backfill is 'How far the reading of the history is, in the door''s own terms; null when it is done or has not begun.';
comment on column sync.sources.backfill_started_at is 'When the reading of the history began (UTC).';
comment on column sync.sources.backfill_finished_at is 'When the whole history had been read (UTC); null until then.';
comment on column sync.sources.backfill_done is 'Conversations (REST) or rows (database) of the history read so far.';
comment on column sync.sources.backfill_total is 'How many there were in all when last counted; null when unknown.';
comment on column sync.sources.cursor is 'What the door has to remember from tick to tick, in its own terms.';
comment on column sync.sources.failures is 'Failed attempts since the last that worked.';
comment on column sync.sources.retry_at is 'Not tried again before this instant (UTC); null for at once.';
comment on column sync.sources.problem is 'What went wrong last; null when nothing has since the last success. Never a secret.';
comment on column sync.sources.hint is 'What to do about the problem.';
comment on column sync.sources.problem_at is 'When it went wrong (UTC).';
comment on column sync.sources.last_attempt_at is 'When the source was last tried (UTC).';
comment on column sync.sources.last_success_at is 'When a tick last ended well (UTC).';
comment on column sync.sources.requests is 'Requests sent since the source was set up; 0 for the database door.';
comment on column sync.sources.rows_read is 'Rows read since the source was set up.';
comment on column sync.sources.rows_changed is 'Rows of the mirror that this door changed: what no webhook had told.';
comment on column sync.sources.refusals is 'Answers that were refused or failed, counted by kind.';

create table sync.runs (
  account_id bigint not null,
  run_id bigint generated always as identity,
  door text not null,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  outcome text not null,
  requests integer not null,
  rows_read bigint not null,
  rows_changed bigint not null,
  problem text,
  constraint runs_pkey primary key (account_id, run_id),
  constraint runs_outcome_known check (outcome in ('done', 'idle', 'failed', 'stopped'))
);
comment on table sync.runs is 'Each tick of each source, for seven days.';
comment on column sync.runs.account_id is 'Chatwoot''s account id.';
comment on column sync.runs.run_id is 'Number of the run.';
comment on column sync.runs.door is 'rest or database.';
comment on column sync.runs.started_at is 'When the tick turned to this source (UTC).';
comment on column sync.runs.finished_at is 'When it was done with it (UTC).';
comment on column sync.runs.outcome is 'done; idle (nothing was new); failed (tried again later); stopped (needs a person).';
comment on column sync.runs.requests is 'Requests sent; 0 for the database door.';
comment on column sync.runs.rows_read is 'Rows read.';
comment on column sync.runs.rows_changed is 'Rows of the mirror that changed.';
comment on column sync.runs.problem is 'What went wrong; null for nothing.';
create index runs_finished_at_idx on sync.runs (finished_at);

create function sync.check_base_url(url text, allow_private boolean) returns text
-- By form alone, since SQL cannot resolve names: a public name needs dots and ends in letters, and that leaves out every
-- way to write an address in numbers (decimal, octal, hexadecimal, shortened, IPv6), and the names a private network
-- uses. A public name that resolves to a private address is not caught here.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_parts text[] := regexp_match(check_base_url.url, '^(https?)://([^/?#]*)((?:/[^?#]*)?)$', 'i');
  v_host text;
  v_port text;
  v_problem text;
begin
  v_host := lower(substring(v_parts[2] from '^(\[[0-9a-fA-F:.]+\]|[^:]*)'));
  v_port := substring(v_parts[2] from length(v_host) + 1);
  v_problem := case
    when check_base_url.url is null or length(check_base_url.url) > 500 then 'must be given, with 500 characters at most'
    when check_base_url.url ~ '[^\x21-\x7e]' then 'may hold no spaces, control characters or letters beyond ASCII'
    when v_parts is null then 'must begin with https:// and hold no ? or #'
    when strpos(v_parts[2], '@') > 0 then 'may hold no user name or password'
    when v_port <> '' and not (v_port ~ '^:\d{1,5}$' and substring(v_port from 2)::integer between 1 and 65535)
      then 'names no valid port'
    when v_host = '' then 'names no host'
    when check_base_url.allow_private then null
    when lower(v_parts[1]) <> 'https' then 'must begin with https://, or the token could be read on the way'
    when v_host !~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$'
      or v_host ~ '(^|\.)(localhost|local|localdomain|internal|intranet|lan|home|corp|private|arpa|test|invalid|svc|cluster|consul|onion|fritz\.box)$'
      then 'must be a public name such as chat.example.com, not an address or a name of a private network'
  end;
  if v_problem is not null then
    -- The URL itself may hold a password, so it is not repeated.
    raise exception 'The base URL %', v_problem using errcode = 'OC422',
      hint = 'Give the address of your Chatwoot as the browser shows it up to the first single slash. For a Chatwoot in your own network, the project''s backend sets sync_private_hosts.';
  end if;
  return lower(v_parts[1]) || '://' || v_host || v_port || rtrim(v_parts[3], '/');
end
$$;
comment on function sync.check_base_url is
  'The base URL of a Chatwoot in its normal form, without a slash at the end. Raises OC422 for what could lead into a private network, unless that is allowed; and always for credentials and schemes other than http(s).';

create function sync.allows_private_hosts(account_id bigint) returns boolean
language sql stable security invoker set search_path = ''
as $$ select ops.setting(allows_private_hosts.account_id, 'sync_private_hosts') = 'true' $$;
comment on function sync.allows_private_hosts is 'Whether the setting sync_private_hosts is on for the account.';

create function sync.token(account_id bigint) returns text
-- Definer, and granted to nobody: only the doors read it, inside the call that sends it.
language sql stable security definer set search_path = '' as $$
  select secrets.decrypted_secret from vault.decrypted_secrets as secrets
  where secrets.name = 'chatwoot_api_token_' || token.account_id
$$;
comment on function sync.token is 'The account''s Chatwoot token from Vault; null when there is none.';

create function sync.begin(account_id bigint, door text, as_of timestamptz) returns void
language sql volatile security invoker set search_path = '' as $$
  update sync.sources as existing set last_attempt_at = begin.as_of
  where existing.account_id = begin.account_id and existing.door = begin.door
$$;
comment on function sync.begin is 'Notes that a tick turns to the source.';

create function sync.record_run(
  account_id bigint, door text, as_of timestamptz, outcome text, requests integer, rows_read bigint, rows_changed bigint,
  problem text
) returns void
language sql volatile security invoker set search_path = '' as $$
  with counted as (
    update sync.sources as existing set requests = existing.requests + record_run.requests,
      rows_read = existing.rows_read + record_run.rows_read, rows_changed = existing.rows_changed + record_run.rows_changed
    where existing.account_id = record_run.account_id and existing.door = record_run.door
    returning existing.last_attempt_at
  )
  insert into sync.runs (account_id, door, started_at, finished_at, outcome, requests, rows_read, rows_changed, problem)
  select record_run.account_id, record_run.door, least(coalesce(counted.last_attempt_at, record_run.as_of), record_run.as_of),
    record_run.as_of, record_run.outcome, record_run.requests, record_run.rows_read, record_run.rows_changed,
    record_run.problem
  from counted
$$;
comment on function sync.record_run is 'Adds a run to the source''s history and its numbers to the source.';

create function sync.succeed(
  account_id bigint, door text, as_of timestamptz, requests integer, rows_read bigint, rows_changed bigint
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update sync.sources as existing set failures = 0, retry_at = null, problem = null, hint = null, problem_at = null,
    last_success_at = succeed.as_of
  where existing.account_id = succeed.account_id and existing.door = succeed.door;
  perform ops.resolve_alert(succeed.account_id, 'sync.failing', succeed.door, succeed.as_of);
  perform sync.record_run(succeed.account_id, succeed.door, succeed.as_of,
    case when succeed.rows_changed > 0 then 'done' else 'idle' end, succeed.requests, succeed.rows_read,
    succeed.rows_changed, null);
end
$$;
comment on function sync.succeed is 'Notes that a tick of the source ended well, with what it read and changed.';

create function sync.back_off(failures integer) returns interval
-- Jitter, so that many sources that failed together do not come back together.
language sql volatile security invoker set search_path = '' as $$
  select make_interval(secs => least(900, 30 * power(2, least(greatest(back_off.failures - 1, 0), 10)))
    * (0.8 + 0.4 * random()))
$$;
comment on function sync.back_off is 'How long to wait after so many failures in a row: 30 seconds doubling to 15 minutes, 20 % more or less.';

create function sync.fail(
  account_id bigint, door text, as_of timestamptz, kind text, problem text, hint text,
  requests integer default 0, rows_read bigint default 0, rows_changed bigint default 0
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update sync.sources as existing set failures = existing.failures + 1,
    retry_at = fail.as_of + sync.back_off(existing.failures + 1),
    problem = left(fail.problem, 500), hint = left(fail.hint, 500), problem_at = fail.as_of,
    refusals = existing.refusals || jsonb_build_object(fail.kind, coalesce((existing.refusals ->> fail.kind)::bigint, 0) + 1)
  where existing.account_id = fail.account_id and existing.door = fail.door;
  perform sync.record_run(fail.account_id, fail.door, fail.as_of, 'failed', fail.requests, fail.rows_read,
    fail.rows_changed, left(fail.problem, 500));
  if exists (select from sync.sources as existing
    where existing.account_id = fail.account_id and existing.door = fail.door and existing.failures > 1
      -- Where there never was one, since it was first tried.
      and coalesce(existing.last_success_at, (select min(runs.started_at) from sync.runs
        where runs.account_id = fail.account_id and runs.door = fail.door)) < fail.as_of - interval '1 hour')
  then
    perform ops.raise_alert(fail.account_id, 'sync.failing', fail.door,
      format('The sync through the %s door has had no success for over an hour: %s', fail.door, fail.problem), fail.hint,
      fail.as_of);
  end if;
end
$$;
comment on function sync.fail is
  'Notes that a tick failed: counts the kind and lets the source rest, longer each time. problem and hint must hold no secret.';

create function sync.stop(
  account_id bigint, door text, as_of timestamptz, problem text, hint text,
  requests integer default 0, rows_read bigint default 0, rows_changed bigint default 0
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update sync.sources as existing set state = 'stopped', failures = existing.failures + 1, retry_at = null,
    problem = left(stop.problem, 500), hint = left(stop.hint, 500), problem_at = stop.as_of,
    refusals = existing.refusals || jsonb_build_object('stopped', coalesce((existing.refusals ->> 'stopped')::bigint, 0) + 1)
  -- Paused meanwhile, it stays so.
  where existing.account_id = stop.account_id and existing.door = stop.door and existing.state = 'active';
  if found then
    perform sync.record_run(stop.account_id, stop.door, stop.as_of, 'stopped', stop.requests, stop.rows_read,
      stop.rows_changed, left(stop.problem, 500));
    perform ops.raise_alert(stop.account_id, 'sync.stopped', stop.door,
      format('The sync through the %s door has stopped: %s', stop.door, stop.problem), stop.hint, stop.as_of);
    perform audit.log(stop.account_id, 'sync.stopped', 'sync:' || stop.door,
      jsonb_build_object('problem', left(stop.problem, 500)), 'done', actor => 'rule:sync', as_of => stop.as_of);
  end if;
end
$$;
comment on function sync.stop is
  'Stops the source until a person resumes it, raises an alert and logs it. problem and hint must hold no secret.';

create function sync.purge_runs(as_of timestamptz default now(), batch_size integer default 5000) returns bigint
language sql volatile security invoker set search_path = '' as $$
  with old as materialized (
    select runs.account_id, runs.run_id from sync.runs
    where runs.finished_at < purge_runs.as_of - interval '7 days'
    order by runs.finished_at limit purge_runs.batch_size
  ), gone as (
    delete from sync.runs as existing using old
    where existing.account_id = old.account_id and existing.run_id = old.run_id returning existing.run_id
  )
  select count(*) from gone
$$;
comment on function sync.purge_runs is 'Deletes runs that ended over 7 days ago, one batch; returns how many.';

-- What people do with a source. Definer, since nobody but these functions and the doors writes here.

create function sync.require_account(account_id bigint) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  perform access.require_role(require_account.account_id, 'admin');
  if require_account.account_id is null or require_account.account_id < 1 then
    raise exception 'account_id % is no Chatwoot account', coalesce(require_account.account_id::text, 'null')
      using errcode = 'OC422', hint = 'Give the number that stands in the address of your Chatwoot dashboard.';
  end if;
end
$$;
comment on function sync.require_account is 'Returns when the caller is an admin of the account (OC403) and it can be one (OC422).';

create function sync.set_source(account_id bigint, door text, base_url text, source_schema text, as_of timestamptz)
returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_before sync.sources;
begin
  select * into v_before from sync.sources as existing
  where existing.account_id = set_source.account_id and existing.door = set_source.door for update;
  if v_before.base_url is not distinct from set_source.base_url
    and v_before.source_schema is not distinct from set_source.source_schema
  then
    return;
  end if;
  -- Another place may be another Chatwoot: everything is read anew, and what is the same is not written again.
  insert into sync.sources as existing (account_id, door, base_url, source_schema)
  values (set_source.account_id, set_source.door, set_source.base_url, set_source.source_schema)
  on conflict on constraint sources_pkey do update set
    base_url = excluded.base_url, source_schema = excluded.source_schema, state = 'active', changed_until = null,
    backfill = null, backfill_started_at = null, backfill_finished_at = null, backfill_done = 0, backfill_total = null,
    cursor = '{}', failures = 0, retry_at = null, problem = null, hint = null, problem_at = null;
  -- A token is a person's: whoever may name another server must not have it sent there.
  if substring(v_before.base_url from '^https?://[^/]+') <> substring(set_source.base_url from '^https?://[^/]+') then
    delete from vault.secrets where secrets.name = 'chatwoot_api_token_' || set_source.account_id;
    if found then
      update sync.sources as existing set problem_at = set_source.as_of,
        problem = 'The token of the former address was deleted, since this one leads to another server.',
        hint = 'Set the token for this one: select api.set_sync_token(…).'
      where existing.account_id = set_source.account_id and existing.door = set_source.door;
    end if;
  end if;
  perform ops.resolve_alert(set_source.account_id, 'sync.stopped', set_source.door, set_source.as_of);
  perform audit.log(set_source.account_id, 'sync.source_set', 'sync:' || set_source.door, jsonb_build_object(
    'before', coalesce(v_before.base_url, v_before.source_schema),
    'after', coalesce(set_source.base_url, set_source.source_schema)), 'done', as_of => set_source.as_of);
end
$$;
comment on function sync.set_source is 'Sets where a source is, logged; the same again changes nothing, another place starts from the beginning, and another server without the token.';

create function sync.set_rest_source(account_id bigint, base_url text, as_of timestamptz default now()) returns text
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_base_url text;
begin
  perform sync.require_account(set_rest_source.account_id);
  v_base_url := sync.check_base_url(set_rest_source.base_url, sync.allows_private_hosts(set_rest_source.account_id));
  perform sync.set_source(set_rest_source.account_id, 'rest', v_base_url, null, set_rest_source.as_of);
  return v_base_url;
end
$$;
comment on function sync.set_rest_source is
  'Sets where the account''s Chatwoot answers, for the REST door; returns the URL in its normal form. Another scheme, host or port deletes the token from Vault. Admins only; logged. Errors: OC403, OC422.';

create function sync.set_database_source(account_id bigint, source_schema text, as_of timestamptz default now())
returns text
-- A schema is the whole project's, and so is every account in it: a member of one could name the data of another.
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform sync.require_account(set_database_source.account_id);
  if access.actor() like 'user:%' then
    raise exception 'The database door is opened by the project''s backend, not by a member of an account'
      using errcode = 'OC403', hint = 'Call it with the secret key or by SQL.';
  end if;
  if set_database_source.source_schema is null
    or set_database_source.source_schema in ('chatwoot', 'inbox', 'sync', 'analytics', 'api')
    or to_regclass(format('%I.conversations', set_database_source.source_schema)) is null
    or to_regclass(format('%I.messages', set_database_source.source_schema)) is null
  then
    raise exception 'There are no Chatwoot tables in schema %', coalesce(set_database_source.source_schema, 'null')
      using errcode = 'OC422',
        hint = 'Chatwoot makes them in public. For a Chatwoot in another database: sync.connect_foreign(…), see docs/sync.md.';
  end if;
  perform sync.set_source(set_database_source.account_id, 'database', null, set_database_source.source_schema,
    set_database_source.as_of);
  return set_database_source.source_schema;
end
$$;
comment on function sync.set_database_source is
  'Sets which schema holds Chatwoot''s tables, for the database door; returns it. The project''s backend only; logged. Errors: OC403, OC422.';

create function sync.set_state(account_id bigint, door text, state text, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_before text;
begin
  perform sync.require_account(set_state.account_id);
  select existing.state into v_before from sync.sources as existing
  where existing.account_id = set_state.account_id and existing.door = set_state.door for update;
  if not found then
    raise exception 'Account % has no % source', set_state.account_id, coalesce(set_state.door, 'null')
      using errcode = 'OC404', hint = 'The sources there are: select account_id, door from api.sync_status.';
  end if;
  -- Resuming also ends a wait: whoever asks wants it tried now.
  update sync.sources as existing set state = set_state.state,
    failures = case when set_state.state = 'active' then 0 else existing.failures end,
    retry_at = case when set_state.state = 'active' then null else existing.retry_at end
  where existing.account_id = set_state.account_id and existing.door = set_state.door;
  if v_before <> set_state.state then
    perform ops.resolve_alert(set_state.account_id, 'sync.stopped', set_state.door, set_state.as_of);
    perform audit.log(set_state.account_id, 'sync.state_set', 'sync:' || set_state.door,
      jsonb_build_object('before', v_before, 'after', set_state.state), 'done', as_of => set_state.as_of);
  end if;
end
$$;
comment on function sync.set_state is
  'Sets a source to active or paused; logged. Admins only. Errors: OC403, OC404.';

create function sync.set_token(account_id bigint, token text, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_name text := 'chatwoot_api_token_' || set_token.account_id;
  v_secret_id uuid;
begin
  perform sync.require_account(set_token.account_id);
  -- It travels in a header, where a line break would begin another one.
  if coalesce(set_token.token, '') !~ '^[\x21-\x7e]{8,200}$' then
    raise exception 'That is no Chatwoot access token' using errcode = 'OC422',
      hint = 'Copy it from Chatwoot: profile settings, access token, of an administrator.';
  end if;
  -- A tick that is about to stop the source comes before or after all of this.
  perform from sync.sources as existing
  where existing.account_id = set_token.account_id and existing.door = 'rest' for update;
  select secrets.id into v_secret_id from vault.secrets where secrets.name = v_name;
  if found then
    perform vault.update_secret(v_secret_id, set_token.token);
  else
    perform vault.create_secret(set_token.token, v_name, 'Chatwoot access token of the REST door');
  end if;
  perform audit.log(set_token.account_id, 'sync.token_set', 'sync:rest', '{}', 'done', as_of => set_token.as_of);
  if exists (select from sync.sources as existing
    where existing.account_id = set_token.account_id and existing.door = 'rest' and existing.state = 'stopped')
  then
    perform sync.set_state(set_token.account_id, 'rest', 'active', set_token.as_of);
  end if;
end
$$;
comment on function sync.set_token is
  'Keeps the account''s Chatwoot token in Vault and resumes a stopped REST source; logged without the token. Admins only. Errors: OC403, OC422.';

do $$
declare
  v_table text;
begin
  for v_table in
    select tables.relname from pg_class as tables
    where tables.relnamespace = 'sync'::regnamespace and tables.relkind = 'r'
  loop
    execute format('alter table sync.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on sync.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on sync.%I for select to analyst using (true)', v_table);
    execute format('grant select on sync.%I to authenticated, analyst, service_role', v_table);
  end loop;
end
$$;

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions where functions.pronamespace = 'sync'::regnamespace
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function sync.set_rest_source, sync.set_database_source, sync.set_state, sync.set_token
  to authenticated, service_role;
