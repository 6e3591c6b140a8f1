-- A Chatwoot whose tables are in another Postgres: made reachable as foreign tables, by postgres_fdw, from a URL in Vault.
-- And a Chatwoot in this one: what of its tables the Data API's roles could reach, and how to close it.

create function sync.percent_decoded(value text) returns text
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return convert_from(decode((
    select string_agg(case when pieces.piece[1] like '\%%' then substring(pieces.piece[1] from 2)
      else encode(convert_to(pieces.piece[1], 'UTF8'), 'hex') end, '' order by pieces.place)
    from regexp_matches(percent_decoded.value, '%[0-9a-fA-F]{2}|[^%]+', 'g') with ordinality as pieces (piece, place)
  ), 'hex'), 'UTF8');
end
$$;
comment on function sync.percent_decoded is 'The text with %XX replaced by the bytes they stand for.';

create function sync.check_database_url(
  url text, allow_private boolean,
  out host text, out port integer, out database text, out login text, out password text, out sslmode text
)
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_parts text[] := regexp_match(check_database_url.url,
    '^postgres(?:ql)?://([^:@/?#\s]+):([^:@/?#\s]+)@(\[[0-9a-fA-F:.]+\]|[^:@/?#\s\[\]]+)(?::(\d{1,5}))?/([^:@/?#\s]+)(?:\?sslmode=([a-z-]+))?$');
  v_problem text;
begin
  v_problem := case
    when check_database_url.url is null or length(check_database_url.url) > 2000 then 'must be there, with 2000 characters at most'
    when v_parts is null then 'must look like postgresql://user:password@host:5432/database?sslmode=require, with no other parameter'
    when array_to_string(array[v_parts[1], v_parts[2], v_parts[5]], ' ') ~ '%(?![0-9a-fA-F]{2})|%00'
      then 'holds a % that is not followed by two hexadecimal digits'
    when coalesce(v_parts[4]::integer, 5432) not between 1 and 65535 then 'names no valid port'
    when coalesce(v_parts[6], 'require') not in ('disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full')
      then 'names an sslmode that there is not'
    when not check_database_url.allow_private and coalesce(v_parts[6], 'require') in ('disable', 'allow', 'prefer')
      then 'must ask for TLS, or the password could be read on the way: sslmode=require or stricter'
  end;
  if v_problem is null then
    begin
      perform sync.check_base_url('https://' || v_parts[3], check_database_url.allow_private);
      database := sync.percent_decoded(v_parts[5]);
      login := sync.percent_decoded(v_parts[1]);
      password := sync.percent_decoded(v_parts[2]);
    exception
      when sqlstate 'OC422' then
        v_problem := 'must name a public host such as db.example.com, not an address or a name of a private network';
      when character_not_in_repertoire then
        v_problem := 'is not UTF-8 once it is decoded';
    end;
  end if;
  if v_problem is not null then
    -- It holds a password, so it is not repeated.
    raise exception 'The database URL %', v_problem using errcode = 'OC422',
      hint = 'Write each of : / ? # @ % in user, password or database as % and two digits (@ is %40). For a database in your own network, the project''s backend sets sync_private_hosts.';
  end if;
  host := trim(both '[]' from v_parts[3]);
  port := coalesce(v_parts[4]::integer, 5432);
  sslmode := coalesce(v_parts[6], 'require');
end
$$;
comment on function sync.check_database_url is
  'The parts of a postgresql:// URL, decoded. Raises OC422 for what could lead into a private network or sends a password in clear, unless that is allowed; and for any other parameter.';

create function sync.require_backend(account_id bigint) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  perform sync.require_account(require_backend.account_id);
  if access.actor() like 'user:%' then
    raise exception 'The database door is opened by the project''s backend, not by a member of an account'
      using errcode = 'OC403', hint = 'Call it with the secret key or by SQL.';
  end if;
end
$$;
comment on function sync.require_backend is 'Returns when the caller is the project''s backend (OC403) and the account can be one (OC422).';

create function sync.relation_shape(schema_name text) returns jsonb
language sql stable security invoker set search_path = '' as $$
  select jsonb_object_agg(tables.relname || '.' || attributes.attname,
    format_type(attributes.atttypid, attributes.atttypmod))
  from pg_catalog.pg_class as tables
  join pg_catalog.pg_attribute as attributes on attributes.attrelid = tables.oid
  where tables.relnamespace = (select schemas.oid from pg_catalog.pg_namespace as schemas
      where schemas.nspname = relation_shape.schema_name)
    and tables.relkind = 'f' and attributes.attnum > 0 and not attributes.attisdropped
$$;
comment on function sync.relation_shape is 'Each column of the foreign tables in a schema, with its type.';

create function sync.import_foreign(server_name text, schema_name text) returns void
-- Only what is read: of columns that are not there, nobody here can read passwords and tokens.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_statement text;
begin
  execute format('import foreign schema public limit to (%s) from server %I into %I options (import_default ''false'')',
    (select string_agg(distinct quote_ident(columns.relation), ', ') from sync.database_columns() as columns),
    import_foreign.server_name, import_foreign.schema_name);
  for v_statement in
    select format('alter foreign table %I.%I %s', import_foreign.schema_name, tables.relname,
      string_agg(format('drop column %I', attributes.attname), ', '))
    from pg_catalog.pg_class as tables
    join pg_catalog.pg_attribute as attributes on attributes.attrelid = tables.oid
    where tables.relnamespace = import_foreign.schema_name::regnamespace and tables.relkind = 'f'
      and attributes.attnum > 0 and not attributes.attisdropped
      and not exists (select from sync.database_columns() as columns
        where columns.relation = tables.relname and columns.name = attributes.attname)
    group by tables.relname
  loop
    execute v_statement;
  end loop;
  execute format('create foreign table %I.source_statistics (schemaname name, relname name, n_tup_ins bigint,
    n_tup_upd bigint, n_tup_del bigint) server %I options (schema_name ''pg_catalog'', table_name ''pg_stat_user_tables'')',
    import_foreign.schema_name, import_foreign.server_name);
  execute format('create foreign table %I.source_indexes (schemaname name, tablename name, indexdef text) server %I
    options (schema_name ''pg_catalog'', table_name ''pg_indexes'')', import_foreign.schema_name, import_foreign.server_name);
end
$$;
comment on function sync.import_foreign is 'Makes foreign tables of Chatwoot''s tables, with the columns that are read and no others.';

create function sync.connect_foreign(account_id bigint, secret_name text default null, as_of timestamptz default now())
returns text
-- Definer: the server, its tables and the login there belong to the one who runs the ticks.
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_server constant text := 'chatwoot_' || connect_foreign.account_id;
  v_schema constant text := 'chatwoot_source_' || connect_foreign.account_id;
  v_next constant text := v_schema || '_next';
  v_secret text := coalesce(connect_foreign.secret_name, 'chatwoot_database_url_' || connect_foreign.account_id);
  v_place record;
  v_server_options text[];
  v_login_options text[];
  v_is_known boolean;
  v_is_changed boolean := false;
  v_message text;
  v_detail text;
begin
  perform sync.require_backend(connect_foreign.account_id);
  select checked.* into v_place
  from vault.decrypted_secrets as secrets
  cross join lateral sync.check_database_url(secrets.decrypted_secret,
    sync.allows_private_hosts(connect_foreign.account_id)) as checked
  where secrets.name = v_secret;
  if not found then
    raise exception 'There is no secret % in Vault', v_secret using errcode = 'OC404',
      hint = 'Put the URL of Chatwoot''s database there: select vault.create_secret($1, $2), with the URL and this name as parameters.';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('sync.foreign', connect_foreign.account_id));
  begin
    create extension if not exists postgres_fdw with schema extensions;
  exception when insufficient_privilege or undefined_file or feature_not_supported then
    raise exception 'The extension postgres_fdw is not there and cannot be made' using errcode = 'OC422',
      hint = 'Enable postgres_fdw under Database, Extensions; elsewhere a superuser creates it and grants usage on the foreign data wrapper postgres_fdw to postgres.';
  end;
  -- One that hangs must not hold up the other sources: neither on a lock, nor over a query, nor by saying nothing.
  v_server_options := array['connect_timeout=10', 'dbname=' || v_place.database, 'fetch_size=1000', 'host=' || v_place.host,
    'keep_connections=off', 'keepalives_count=3', 'keepalives_idle=10', 'keepalives_interval=5',
    'options=-c lock_timeout=5000 -c statement_timeout=30000', 'port=' || v_place.port, 'sslmode=' || v_place.sslmode,
    'tcp_user_timeout=30000', 'truncatable=false', 'updatable=false', 'use_remote_estimate=true'];
  v_login_options := array['password=' || v_place.password, 'user=' || v_place.login];
  select servers.srvoptions @> v_server_options and servers.srvoptions <@ v_server_options
      and mappings.umoptions @> v_login_options and mappings.umoptions <@ v_login_options into v_is_known
  from pg_catalog.pg_foreign_server as servers
  left join pg_catalog.pg_user_mappings as mappings on mappings.srvid = servers.oid and mappings.usename = current_user
  where servers.srvname = v_server;
  if v_is_known is not true then
    v_is_changed := true;
    execute format('drop schema if exists %I cascade', v_schema);
    execute format('drop server if exists %I cascade', v_server);
    execute format('create server %I foreign data wrapper postgres_fdw options (%s)', v_server, (
      select string_agg(format('%I %L', split_part(options.option, '=', 1),
        substring(options.option from position('=' in options.option) + 1)), ', ')
      from unnest(v_server_options) as options (option)));
    execute format('create user mapping for current_user server %I options (user %L, password %L)',
      v_server, v_place.login, v_place.password);
  end if;
  begin
    execute format('create schema %I', v_next);
    perform sync.import_foreign(v_server, v_next);
  exception when others then
    get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
    -- What the other side says names host and user, and never the password.
    raise exception 'Chatwoot''s database could not be read: %', left(concat_ws(' ', v_message, nullif(v_detail, '')), 500)
      using errcode = 'OC422', hint = 'Check the URL in Vault, that the database lets this project connect, and that its user may read schema public.';
  end;
  if not sync.relation_shape(v_next) ? 'conversations.display_id' then
    raise exception 'There are no tables of Chatwoot in that database' using errcode = 'OC422',
      hint = 'The URL must end with the name of Chatwoot''s database, often chatwoot_production.';
  end if;
  if sync.relation_shape(v_next) is distinct from sync.relation_shape(v_schema) then
    v_is_changed := true;
    execute format('drop schema if exists %I cascade', v_schema);
    execute format('alter schema %I rename to %I', v_next, v_schema);
  else
    execute format('drop schema %I cascade', v_next);
  end if;
  if v_is_changed then
    perform audit.log(connect_foreign.account_id, 'sync.foreign_connected', 'sync:database', jsonb_build_object(
      'host', v_place.host, 'port', v_place.port, 'database', v_place.database, 'user', v_place.login), 'done',
      as_of => connect_foreign.as_of);
  end if;
  return v_schema;
end
$$;
comment on function sync.connect_foreign is
  'Makes a Chatwoot in another Postgres readable: takes its URL from Vault (chatwoot_database_url_<account> unless named) and makes foreign tables; returns their schema, for set_database_source. Again, it brings them up to date or changes nothing. The password then also stands in pg_user_mappings, for postgres alone to see. The project''s backend only; logged. Errors: OC403, OC404, OC422.';

create function sync.disconnect_foreign(account_id bigint, as_of timestamptz default now()) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_schema constant text := 'chatwoot_source_' || disconnect_foreign.account_id;
  v_is_there boolean := exists (select from pg_catalog.pg_foreign_server as servers
    where servers.srvname = 'chatwoot_' || disconnect_foreign.account_id);
  v_reader bigint;
begin
  perform sync.require_backend(disconnect_foreign.account_id);
  -- Of whichever account: a Chatwoot may serve several.
  select min(existing.account_id) into v_reader from sync.sources as existing
  where existing.source_schema = v_schema and existing.state = 'active';
  if v_reader is not null then
    raise exception 'The database door of account % still reads these tables', v_reader
      using errcode = 'OC409', hint = 'Pause it first: select api.pause_sync(…, ''database'').';
  end if;
  execute format('drop schema if exists %I cascade', v_schema);
  execute format('drop server if exists %I cascade', 'chatwoot_' || disconnect_foreign.account_id);
  if v_is_there then
    perform audit.log(disconnect_foreign.account_id, 'sync.foreign_disconnected', 'sync:database', '{}', 'done',
      as_of => disconnect_foreign.as_of);
  end if;
  return v_is_there;
end
$$;
comment on function sync.disconnect_foreign is
  'Takes away the foreign tables and the login that connect_foreign made; true when there were any. The secret in Vault stays. The project''s backend only; logged. Errors: OC403, OC409, OC422.';

create function sync.missing_indexes(account_id bigint) returns table (relation text, statement text)
language sql stable security definer set search_path = '' as $$
  select named.relation, format('create index concurrently if not exists index_%1$s_on_updated_at on %2$s.%1$I (updated_at);',
    named.relation, case when to_regclass(format('%I.source_indexes', sources.source_schema)) is null
      then quote_ident(sources.source_schema) else 'public' end)
  from sync.sources
  cross join unnest(array['contacts', 'conversations', 'messages', 'csat_survey_responses']) as named (relation)
  where sources.account_id = missing_indexes.account_id and sources.door = 'database'
    and to_regclass(format('%I.%I', sources.source_schema, named.relation)) is not null
    and not sync.database_is_indexed(sources.source_schema, named.relation)
  order by 1
$$;
comment on function sync.missing_indexes is
  'Indexes on Chatwoot''s tables that would let every tick find all changes of a large Chatwoot, as statements to run in its database; none when they are there. Without them a large table is gone through piece by piece.';

create function sync.open_relations(source_schema text default 'public')
returns table (kind text, name text, role text, privileges text, remedy text)
-- Chatwoot's tables have no row level security: whoever may select sees every account, passwords and tokens included.
language sql stable security invoker set search_path = '' as $$
  with schemas as (
    select namespaces.oid from pg_catalog.pg_namespace as namespaces where namespaces.nspname = open_relations.source_schema
  ), roles as (
    select existing.oid, existing.rolname from pg_catalog.pg_roles as existing where existing.rolname in ('anon', 'authenticated')
  )
  select case relations.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view'
      when 'f' then 'foreign table' else 'table' end,
    relations.relname::text, roles.rolname::text, string_agg(asked.privilege, ', ' order by asked.place),
    format('revoke all on %s %I.%I from public, anon, authenticated;',
      case relations.relkind when 'S' then 'sequence' else 'table' end, open_relations.source_schema, relations.relname)
  from pg_catalog.pg_class as relations
  join schemas on schemas.oid = relations.relnamespace
  cross join roles
  cross join unnest(case relations.relkind when 'S' then array['usage', 'select', 'update']
    else array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'] end)
    with ordinality as asked (privilege, place)
  where relations.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and case
    when relations.relkind = 'S' then has_sequence_privilege(roles.oid, relations.oid, asked.privilege)
    when asked.privilege in ('delete', 'truncate', 'trigger') then has_table_privilege(roles.oid, relations.oid, asked.privilege)
    else has_any_column_privilege(roles.oid, relations.oid, asked.privilege) end
    and not exists (select from pg_catalog.pg_depend as members where members.classid = 'pg_catalog.pg_class'::regclass
      and members.objid = relations.oid and members.deptype = 'e')
  group by relations.oid, relations.relname, relations.relkind, roles.rolname
  union all
  select 'function', functions.oid::regprocedure::text, roles.rolname::text, 'execute',
    format('revoke all on routine %s from public, anon, authenticated;', functions.oid::regprocedure)
  from pg_catalog.pg_proc as functions
  join schemas on schemas.oid = functions.pronamespace
  cross join roles
  where has_function_privilege(roles.oid, functions.oid, 'execute')
    and not exists (select from pg_catalog.pg_depend as members where members.classid = 'pg_catalog.pg_proc'::regclass
      and members.objid = functions.oid and members.deptype = 'e')
  union all
  -- What Chatwoot's next migration makes would be open again. Those of the platform's own roles are not ours to change.
  select 'default privileges', format('%s that %s makes', kinds.plural, makers.rolname), roles.rolname::text,
    string_agg(lower(granted.privilege_type), ', ' order by granted.privilege_type),
    format('alter default privileges for role %I%s revoke all on %s from anon, authenticated;', makers.rolname,
      case when defaults.defaclnamespace <> 0 then format(' in schema %I', open_relations.source_schema) else '' end,
      kinds.plural)
  from pg_catalog.pg_default_acl as defaults
  join pg_catalog.pg_roles as makers on makers.oid = defaults.defaclrole
  cross join lateral aclexplode(defaults.defaclacl) as granted
  join roles on roles.oid = granted.grantee
  join (values ('r', 'tables'), ('S', 'sequences'), ('f', 'functions')) as kinds (letter, plural)
    on kinds.letter = defaults.defaclobjtype::text
  where (defaults.defaclnamespace = 0 or defaults.defaclnamespace = (select schemas.oid from schemas))
    and pg_has_role('postgres', makers.oid, 'member')
  group by kinds.plural, makers.rolname, roles.rolname, defaults.defaclnamespace
  order by 1, 2, 3
$$;
comment on function sync.open_relations is
  'What in the schema of Chatwoot''s tables the roles of the Data API may reach, and the statement that closes each; no row when all is closed.';

revoke all on function sync.percent_decoded, sync.check_database_url, sync.require_backend, sync.relation_shape,
  sync.import_foreign, sync.connect_foreign, sync.disconnect_foreign, sync.missing_indexes, sync.open_relations
  from public, anon, authenticated, service_role;
grant execute on function sync.connect_foreign, sync.disconnect_foreign, sync.missing_indexes, sync.open_relations
  to service_role;
