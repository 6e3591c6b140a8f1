-- The database door, first part: which of Chatwoot's tables and columns it reads, what stands in for those that a version
-- lacks, and what is in the schema it was pointed at.

create function sync.database_columns() returns table (relation text, name text, absent text)
-- Nothing else is ever selected: these tables hold passwords and tokens too.
language sql immutable security invoker set search_path = '' as $$
  values
    ('accounts', 'id', null), ('accounts', 'name', 'null::text'),
    ('users', 'id', null), ('users', 'name', 'null::text'), ('users', 'display_name', 'null::text'),
    ('users', 'email', 'null::text'),
    ('account_users', 'account_id', null), ('account_users', 'user_id', null),
    ('account_users', 'availability', 'null::integer'), ('account_users', 'auto_offline', 'null::boolean'),
    ('agent_bots', 'id', null), ('agent_bots', 'name', 'null::text'), ('agent_bots', 'account_id', 'null::bigint'),
    ('teams', 'id', null), ('teams', 'account_id', null), ('teams', 'name', 'null::text'),
    ('labels', 'account_id', null), ('labels', 'title', null),
    ('inboxes', 'id', null), ('inboxes', 'account_id', null), ('inboxes', 'name', 'null::text'),
    ('inboxes', 'channel_type', 'null::text'), ('inboxes', 'timezone', '''UTC'''),
    ('inboxes', 'working_hours_enabled', 'false'), ('inboxes', 'greeting_enabled', 'false'),
    ('inboxes', 'csat_survey_enabled', 'false'), ('inboxes', 'enable_auto_assignment', 'true'),
    ('inboxes', 'allow_messages_after_resolved', 'true'), ('inboxes', 'lock_to_single_conversation', 'false'),
    ('inboxes', 'created_at', 'null::timestamptz'),
    ('working_hours', 'inbox_id', null), ('working_hours', 'day_of_week', null),
    ('working_hours', 'closed_all_day', 'false'), ('working_hours', 'open_all_day', 'false'),
    ('working_hours', 'open_hour', 'null::integer'), ('working_hours', 'open_minutes', 'null::integer'),
    ('working_hours', 'close_hour', 'null::integer'), ('working_hours', 'close_minutes', 'null::integer'),
    ('contacts', 'id', null), ('contacts', 'account_id', null), ('contacts', 'updated_at', null),
    ('contacts', 'created_at', 'null::timestamptz'), ('contacts', 'name', 'null::text'),
    ('contacts', 'email', 'null::text'), ('contacts', 'phone_number', 'null::text'),
    ('contacts', 'identifier', 'null::text'), ('contacts', 'blocked', 'false'),
    ('contacts', 'additional_attributes', '''{}''::jsonb'), ('contacts', 'custom_attributes', '''{}''::jsonb'),
    ('contact_inboxes', 'id', null), ('contact_inboxes', 'source_id', 'null::text'),
    ('conversations', 'id', null), ('conversations', 'account_id', null), ('conversations', 'display_id', null),
    ('conversations', 'updated_at', null), ('conversations', 'status', null), ('conversations', 'inbox_id', null),
    ('conversations', 'created_at', 'null::timestamptz'), ('conversations', 'contact_id', 'null::bigint'),
    ('conversations', 'contact_inbox_id', 'null::bigint'), ('conversations', 'priority', 'null::integer'),
    ('conversations', 'assignee_id', 'null::bigint'), ('conversations', 'assignee_agent_bot_id', 'null::bigint'),
    ('conversations', 'team_id', 'null::bigint'), ('conversations', 'cached_label_list', 'null::text'),
    ('conversations', 'additional_attributes', '''{}''::jsonb'), ('conversations', 'custom_attributes', '''{}''::jsonb'),
    ('conversations', 'snoozed_until', 'null::timestamptz'), ('conversations', 'waiting_since', 'null::timestamptz'),
    ('conversations', 'first_reply_created_at', 'null::timestamptz'),
    ('conversations', 'agent_last_seen_at', 'null::timestamptz'),
    ('conversations', 'contact_last_seen_at', 'null::timestamptz'),
    ('conversations', 'last_activity_at', 'null::timestamptz'),
    ('taggings', 'tag_id', null), ('taggings', 'taggable_type', null), ('taggings', 'taggable_id', null),
    ('taggings', 'context', null), ('tags', 'id', null), ('tags', 'name', null),
    ('messages', 'id', null), ('messages', 'account_id', null), ('messages', 'conversation_id', null),
    ('messages', 'updated_at', null), ('messages', 'message_type', null),
    ('messages', 'created_at', 'null::timestamptz'), ('messages', 'inbox_id', 'null::bigint'),
    ('messages', 'content', 'null::text'), ('messages', 'content_type', '0'), ('messages', 'private', 'false'),
    ('messages', 'status', 'null::integer'), ('messages', 'source_id', 'null::text'),
    ('messages', 'content_attributes', 'null::json'), ('messages', 'additional_attributes', '''{}''::jsonb'),
    ('messages', 'sender_type', 'null::text'), ('messages', 'sender_id', 'null::bigint'),
    ('attachments', 'id', null), ('attachments', 'message_id', null), ('attachments', 'file_type', '0'),
    ('attachments', 'extension', 'null::text'),
    ('csat_survey_responses', 'id', null), ('csat_survey_responses', 'account_id', null),
    ('csat_survey_responses', 'conversation_id', null), ('csat_survey_responses', 'message_id', null),
    ('csat_survey_responses', 'rating', null), ('csat_survey_responses', 'updated_at', null),
    ('csat_survey_responses', 'created_at', 'null::timestamptz'),
    ('csat_survey_responses', 'feedback_message', 'null::text'),
    ('reporting_events', 'id', null), ('reporting_events', 'account_id', null), ('reporting_events', 'created_at', null),
    ('reporting_events', 'name', 'null::text'), ('reporting_events', 'conversation_id', 'null::bigint'),
    ('reporting_events', 'inbox_id', 'null::bigint'), ('reporting_events', 'user_id', 'null::bigint'),
    ('reporting_events', 'value', 'null::double precision'),
    ('reporting_events', 'value_in_business_hours', 'null::double precision'),
    ('reporting_events', 'event_start_time', 'null::timestamptz'),
    ('reporting_events', 'event_end_time', 'null::timestamptz')
$$;
comment on function sync.database_columns is
  'The columns of Chatwoot''s tables that are read, with the SQL that stands in where a version lacks one; absent is null where the table cannot be read without it.';

create function sync.database_is_trusted(owner oid) returns boolean
-- Reading a table runs what its owner put there: casts, policies, expressions of indexes. Whoever has our rights anyway
-- gains nothing by it.
language sql stable security invoker set search_path = '' as $$
  select pg_has_role(
    case when database_is_trusted.owner = 'pg_database_owner'::regrole
      then (select databases.datdba from pg_catalog.pg_database as databases where databases.datname = current_database())
      else database_is_trusted.owner end,
    (select rooms.nspowner from pg_catalog.pg_namespace as rooms where rooms.nspname = 'sync'), 'member')
$$;
comment on function sync.database_is_trusted is 'Whether an owner of tables or of a schema has the rights of the owner of this room as well.';

create function sync.database_has_foreign(source_schema text, name text) returns boolean
language sql stable security invoker set search_path = '' as $$
  select exists (
    select from pg_catalog.pg_class as tables
    join pg_catalog.pg_namespace as schemas on schemas.oid = tables.relnamespace
    where schemas.nspname = database_has_foreign.source_schema and tables.relname = database_has_foreign.name
      and tables.relkind = 'f' and sync.database_is_trusted(tables.relowner) and sync.database_is_trusted(schemas.nspowner))
$$;
comment on function sync.database_has_foreign is 'Whether the schema holds this foreign table, as connect_foreign makes it.';

create function sync.database_shape(source_schema text, out names jsonb, out drift jsonb, out is_foreign boolean)
-- Tables only, of owners with our rights, and in them columns of Postgres's own types: a view, or the cast of a type, could
-- run anything with the rights of whoever reads it.
language sql stable security invoker set search_path = '' as $$
  with wanted as materialized (
    select columns.relation, columns.name, columns.absent, types.oid as type, tables.relkind, owners.stranger,
      attributes.attnum is not null as is_there,
      owners.stranger is null and bool_and(columns.absent is not null or types.oid is not null) over by_relation
        as is_readable,
      array_agg(columns.name) filter (where columns.absent is null and types.oid is null) over by_relation
        as indispensable
    from sync.database_columns() as columns
    left join (pg_catalog.pg_class as tables
      join pg_catalog.pg_namespace as schemas on schemas.oid = tables.relnamespace)
      on schemas.nspname = database_shape.source_schema and tables.relname = columns.relation
        and tables.relkind in ('r', 'p', 'f')
    left join lateral (select case
      when not sync.database_is_trusted(tables.relowner) then tables.relowner
      when not sync.database_is_trusted(schemas.nspowner) then schemas.nspowner end as stranger) as owners on true
    left join pg_catalog.pg_attribute as attributes on attributes.attrelid = tables.oid
      and attributes.attname = columns.name and attributes.attnum > 0 and not attributes.attisdropped
    left join pg_catalog.pg_type as types on types.oid = attributes.atttypid
      and types.typnamespace = 'pg_catalog'::regnamespace
    window by_relation as (partition by columns.relation)
  ), named (name, sql) as (
    select wanted.relation || '.' || wanted.name, case
      when not wanted.is_readable or wanted.type is null then coalesce(wanted.absent, 'null::bigint')
      -- Rails keeps UTC in columns without a zone.
      when wanted.type = 'timestamp'::regtype then format('(%I.%I at time zone ''UTC'')', wanted.relation, wanted.name)
      else format('%I.%I', wanted.relation, wanted.name) end
    from wanted
    union all
    -- Stored as it is, for comparisons that an index should serve.
    select format('stored %s.%s', wanted.relation, wanted.name), format('%I.%I', wanted.relation, wanted.name)
    from wanted where wanted.is_readable and wanted.type in ('timestamp'::regtype, 'timestamptz'::regtype)
    union all
    select format('stored as %s.%s', wanted.relation, wanted.name),
      case wanted.type when 'timestamp'::regtype then 'at time zone ''UTC''' else '' end
    from wanted where wanted.is_readable and wanted.type in ('timestamp'::regtype, 'timestamptz'::regtype)
    union all
    select distinct wanted.relation, case when wanted.is_readable
      then format('%I.%I', database_shape.source_schema, wanted.relation) else '(select where false)' end
    from wanted
  ), noted (note) as (
    select distinct case
      when wanted.relkind is null then format('table %s is missing: nothing is read of it', wanted.relation)
      when wanted.stranger is not null then format(
        'table %s belongs to %s, which does not have the rights of %s: nothing is read of it', wanted.relation,
        pg_get_userbyid(wanted.stranger), (select pg_get_userbyid(rooms.nspowner) from pg_catalog.pg_namespace as rooms
          where rooms.nspname = 'sync'))
      when not wanted.is_readable then format('table %s lacks %s: nothing is read of it', wanted.relation,
        array_to_string(wanted.indispensable, ', '))
      else format('%s.%s %s: read as %s', wanted.relation, wanted.name,
        case when wanted.is_there then 'has a type that is not Postgres''s own' else 'is missing' end,
        regexp_replace(wanted.absent, '::.*$', '')) end
    from wanted where not wanted.is_readable or wanted.type is null
  )
  select (select jsonb_object_agg(named.name, named.sql) from named),
    (select coalesce(jsonb_agg(noted.note order by noted.note), '[]') from noted),
    (select coalesce(bool_or(wanted.relkind = 'f'), false) from wanted)
$$;
comment on function sync.database_shape is
  'What a schema holds of Chatwoot''s tables: names maps each table and column to the SQL that reads it, drift lists what is missing and how it is read instead.';

create function sync.database_fill(template text, names jsonb) returns text
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_sql text := database_fill.template;
  v_name record;
begin
  for v_name in select pairs.key, pairs.value from jsonb_each_text(database_fill.names) as pairs loop
    v_sql := replace(v_sql, '{' || v_name.key || '}', v_name.value);
  end loop;
  return v_sql;
end
$$;
comment on function sync.database_fill is 'The template with each {name} replaced.';

create function sync.database_attributes(value text) returns jsonb
-- Chatwoot writes JSON as a JSON string in a JSON column, used to write it plainly, and keeps what jsonb refuses (U+0000,
-- half an emoji).
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_value jsonb;
begin
  if database_attributes.value is null or database_attributes.value in ('{}', '"{}"', '""', 'null') then
    return '{}'::jsonb;
  end if;
  begin
    v_value := database_attributes.value::jsonb;
    if jsonb_typeof(v_value) = 'string' then
      v_value := (v_value #>> '{}')::jsonb;
    end if;
  exception when data_exception or program_limit_exceeded then
    begin
      v_value := inbox.mend(database_attributes.value)::jsonb;
      if jsonb_typeof(v_value) = 'string' then
        v_value := inbox.mend(v_value #>> '{}')::jsonb;
      end if;
    exception when data_exception or program_limit_exceeded then
      v_value := null;
    end;
  end;
  return case when jsonb_typeof(v_value) = 'object' then v_value else '{}'::jsonb end;
end
$$;
comment on function sync.database_attributes is
  'An object from the text of a JSON column, encoded once or twice, with characters mended that jsonb cannot hold; {} for null and for what is no object.';

revoke all on function sync.database_columns, sync.database_is_trusted, sync.database_has_foreign, sync.database_shape, sync.database_fill, sync.database_attributes
  from public, anon, authenticated, service_role;
