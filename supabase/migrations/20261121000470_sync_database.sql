-- The database door: Chatwoot's own tables, in a schema of this database or as foreign tables, read by SQL alone.
--
-- Each version of Chatwoot has other columns, so every statement is put together from what is there (a plan); what is
-- missing is read as what its absence meant, and noted. Nothing of ours ever depends on a table of Chatwoot's (no view,
-- no typed reference), since that would stand in the way of its migrations.
--
-- How changes are found, table by table, in steps that each commit:
--   tail    rows with a greater key than before, and once more for two minutes, as a row may be committed late;
--   changed rows by updated_at, where it is indexed; else the newest rows are read again (recent);
--   sweep   rows in the order of their key, compared in all that is mirrored: it alone finds what moves no updated_at,
--           and what was deleted. Small tables are swept whole at every tick, large ones a piece at a time, and not at
--           all while Postgres counts no writes on them.

create function sync.database_columns() returns table (relation text, name text, absent text)
-- What is read, and what it is where a version of Chatwoot lacks it; null for what cannot be done without.
-- Nothing else is ever selected: tables of Chatwoot hold passwords and tokens too.
language sql immutable security invoker set search_path = '' as $$
  values
    ('accounts', 'id', null), ('accounts', 'name', 'null::text'),
    ('users', 'id', null), ('users', 'name', 'null::text'), ('users', 'display_name', 'null::text'),
    ('users', 'email', 'null::text'),
    ('account_users', 'account_id', null), ('account_users', 'user_id', null),
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
    ('contact_inboxes', 'id', null), ('contact_inboxes', 'source_id', null),
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
    ('reporting_events', 'updated_at', 'null::timestamptz'), ('reporting_events', 'name', 'null::text'),
    ('reporting_events', 'conversation_id', 'null::bigint'), ('reporting_events', 'inbox_id', 'null::bigint'),
    ('reporting_events', 'user_id', 'null::bigint'), ('reporting_events', 'value', 'null::double precision'),
    ('reporting_events', 'value_in_business_hours', 'null::double precision'),
    ('reporting_events', 'event_start_time', 'null::timestamptz'),
    ('reporting_events', 'event_end_time', 'null::timestamptz')
$$;
comment on function sync.database_columns is
  'The columns of Chatwoot''s tables that the database door reads, with the SQL that stands in for one that is missing; null where its table cannot be read without.';

create function sync.database_shape(source_schema text, out names jsonb, out drift text[], out is_foreign boolean)
-- Tables only: a view could run anything with the rights of whoever reads it.
language plpgsql stable security invoker set search_path = '' as $$
begin
  with present as materialized (
    select tables.relname::text as relation, attributes.attname::text as name, attributes.atttypid as type, tables.relkind
    from pg_catalog.pg_class as tables
    join pg_catalog.pg_namespace as schemas on schemas.oid = tables.relnamespace
    join pg_catalog.pg_attribute as attributes on attributes.attrelid = tables.oid
    where schemas.nspname = database_shape.source_schema and tables.relkind in ('r', 'p', 'f')
      and attributes.attnum > 0 and not attributes.attisdropped
      and tables.relname in (select columns.relation from sync.database_columns() as columns)
  ), wanted as materialized (
    select columns.relation, columns.name, columns.absent, present.type,
      bool_and(columns.absent is not null or present.name is not null) over (partition by columns.relation) as is_readable,
      bool_or(present.name is not null) over (partition by columns.relation) as is_there
    from sync.database_columns() as columns
    left join present on present.relation = columns.relation and present.name = columns.name
  )
  select jsonb_object_agg(pieces.name, pieces.sql), coalesce((select bool_or(present.relkind = 'f') from present), false)
  into names, is_foreign
  from (
    select wanted.relation || '.' || wanted.name as name, case
      when not wanted.is_readable then coalesce(wanted.absent, 'null::bigint')
      when wanted.type is null then wanted.absent
      -- Rails keeps UTC in columns without a zone.
      when wanted.type = 'timestamp'::regtype then format('(%I.%I at time zone ''UTC'')', wanted.relation, wanted.name)
      else format('%I.%I', wanted.relation, wanted.name) end as sql
    from wanted
    union all
    -- An instant in the column's own type, as an index has it.
    select 'raw ' || wanted.relation || '.' || wanted.name, format('%I.%I', wanted.relation, wanted.name)
    from wanted where wanted.type in ('timestamp'::regtype, 'timestamptz'::regtype)
    union all
    select 'to raw ' || wanted.relation || '.' || wanted.name,
      case wanted.type when 'timestamp'::regtype then 'at time zone ''UTC''' else '' end
    from wanted where wanted.type in ('timestamp'::regtype, 'timestamptz'::regtype)
    union all
    select distinct wanted.relation, case when wanted.is_readable
      then format('%I.%I', database_shape.source_schema, wanted.relation) else '(select where false)' end
    from wanted
  ) as pieces;
  select coalesce(array_agg(notes.note order by notes.note), '{}') into drift
  from (
    select distinct case
      when not wanted.is_there then format('table %s is missing: nothing is read of it', wanted.relation)
      when not wanted.is_readable then format('table %s lacks %s: nothing is read of it', wanted.relation,
        string_agg(wanted.name, ', ') filter (where wanted.type is null and wanted.absent is null)
          over (partition by wanted.relation))
      when wanted.type is null then format('%s.%s is missing: read as %s', wanted.relation, wanted.name,
        regexp_replace(wanted.absent, '::.*$', '')) end as note
    from (
      select columns.relation, columns.name, columns.absent,
        attributes.atttypid as type, tables.oid is not null as is_there,
        bool_and(columns.absent is not null or attributes.attname is not null) over (partition by columns.relation)
          as is_readable
      from sync.database_columns() as columns
      left join pg_catalog.pg_class as tables on tables.relname = columns.relation and tables.relkind in ('r', 'p', 'f')
        and tables.relnamespace = (select schemas.oid from pg_catalog.pg_namespace as schemas
          where schemas.nspname = database_shape.source_schema)
      left join pg_catalog.pg_attribute as attributes on attributes.attrelid = tables.oid
        and attributes.attname = columns.name and not attributes.attisdropped
    ) as wanted
  ) as notes where notes.note is not null;
end
$$;
