-- The database door: Chatwoot's own tables, in a schema of this database or as foreign tables, read by SQL alone.
--
-- Each version of Chatwoot has other columns, so every statement is put together from what is there (a plan); what is
-- missing is read as what its absence meant, and noted. Nothing of ours ever depends on a table of Chatwoot's (no view,
-- no typed reference), since that would stand in the way of its migrations.
--
-- How news is found, table by table, in steps that each commit:
--   tail     rows with a greater key than before; for two minutes again and again, as a row may be committed late;
--   changed  rows by updated_at where that is indexed;
--   recent   without such an index, in a large table, the newest rows once more;
--   sweep    rows in the order of their key, compared in all that is mirrored. It alone finds what moves no updated_at,
--            and what was deleted. A small table is swept whole at every tick; a large one a piece at a time, and not at
--            all while Postgres counts no writes to it.

create function sync.database_template(
  entity text, names jsonb, is_foreign boolean, is_careful boolean,
  out relation text, out key text, out source text, out known text, out fields jsonb, out extras text
)
-- Everything in braces is replaced: {table}, {table.column}, and {match column} by the choice of rows.
-- The account is compared as a sum, so that no index of it is taken for a better way than the key: one customer's rows
-- may be all there are. What belongs to a row is looked up row by row in this database, which `offset 0` holds the
-- planner to, as without statistics it would read whole tables for each batch; from another database it comes as joins
-- and groups, which are sent there whole.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_fence text := case when database_template.is_foreign then '' else 'offset 0' end;
  v_conversation text := 'left join lateral (select {conversations.id} as id, {conversations.display_id} as display_id
    from {conversations} as conversations where {conversations.id} = %s ' || v_fence || ') as parent on true';
  v_has_tags boolean := database_template.names ->> 'tags' <> '(select where false)'
    and database_template.names ->> 'taggings' <> '(select where false)';
begin
  known := 'true';
  extras := 'null::bigint[], null::bigint[], null::bigint[]';
  case database_template.entity
    when 'contacts' then
      relation := 'contacts';
      key := '{contacts.id}';
      source := '{contacts} as contacts where {match contacts.id} and {contacts.account_id} + 0 = $1';
      fields := jsonb_build_object('account_id', '$1', 'contact_id', '{contacts.id}', 'name', '{contacts.name}',
        'email', '{contacts.email}', 'phone_number', '{contacts.phone_number}', 'identifier', '{contacts.identifier}',
        'blocked', 'coalesce({contacts.blocked}, false)',
        'additional_attributes', 'coalesce({contacts.additional_attributes}, ''{}'')',
        'custom_attributes', 'coalesce({contacts.custom_attributes}, ''{}'')', 'version_at', '{contacts.updated_at}');
    when 'conversations' then
      relation := 'conversations';
      key := '{conversations.display_id}';
      source := '{conversations} as conversations
        left join lateral (select {inboxes.channel_type} as channel from {inboxes} as inboxes
          where {inboxes.id} = {conversations.inbox_id} ' || v_fence || ') as place on true
        left join lateral (select {contact_inboxes.source_id} as source_id from {contact_inboxes} as contact_inboxes
          where {contact_inboxes.id} = {conversations.contact_inbox_id} ' || v_fence || ') as visit on true '
        || case
        when not v_has_tags then 'cross join lateral (select array_agg(distinct titles.title collate "C"
            order by titles.title collate "C") as list
          from unnest(string_to_array({conversations.cached_label_list}, '', '')) as titles (title)) as tagged'
        when database_template.is_foreign then 'left join (
          select {conversations.id} as conversation_id, array_agg(distinct {tags.name}::text) as list
          from {conversations} as conversations
          join {taggings} as taggings on {taggings.taggable_id} = {conversations.id}
          join {tags} as tags on {tags.id} = {taggings.tag_id}
          where {match conversations.display_id} and {conversations.account_id} = $1
            and {taggings.taggable_type} = ''Conversation'' and {taggings.context} = ''labels''
          group by {conversations.id}
        ) as tagged on tagged.conversation_id = {conversations.id}'
        else 'cross join lateral (select array_agg(distinct named.name collate "C" order by named.name collate "C") as list
          from {taggings} as taggings
          cross join lateral (select {tags.name}::text as name from {tags} as tags
            where {tags.id} = {taggings.tag_id} offset 0) as named
          where {taggings.taggable_id} = {conversations.id} and {taggings.taggable_type} = ''Conversation''
            and {taggings.context} = ''labels'') as tagged' end
        || ' where {match conversations.display_id} and {conversations.account_id} = $1';
      known := '{conversations.status} between 0 and 3 and {conversations.display_id} > 0';
      extras := 'array_agg({conversations.contact_id}), null::bigint[], null::bigint[]';
      fields := jsonb_build_object('account_id', '$1', 'display_id', '{conversations.display_id}',
        'database_id', '{conversations.id}', 'inbox_id', '{conversations.inbox_id}',
        'contact_id', '{conversations.contact_id}', 'channel', 'place.channel',
        'status', '(array[''open'', ''resolved'', ''pending'', ''snoozed''])[1 + {conversations.status}]',
        'priority', '(array[''low'', ''medium'', ''high'', ''urgent''])[1 + {conversations.priority}]',
        'assignee_kind', 'case when {conversations.assignee_id} is not null then ''user''
          when {conversations.assignee_agent_bot_id} is not null then ''agent_bot'' end',
        'assignee_id', 'coalesce({conversations.assignee_id}::bigint, {conversations.assignee_agent_bot_id}::bigint)',
        'team_id', '{conversations.team_id}',
        'labels', case when database_template.is_foreign and v_has_tags
          -- The other database may sort otherwise.
          then 'coalesce((select array_agg(titles.title order by titles.title collate "C") from unnest(tagged.list)
            as titles (title)), ''{}'')' else 'coalesce(tagged.list, ''{}'')' end,
        'contact_source_id', 'visit.source_id',
        'additional_attributes', 'coalesce({conversations.additional_attributes}, ''{}'')',
        'custom_attributes', 'coalesce({conversations.custom_attributes}, ''{}'')',
        'snoozed_until', 'date_trunc(''milliseconds'', {conversations.snoozed_until})',
        -- Cleared on resolving, but not by every way there.
        'waiting_since', 'case when {conversations.status} <> 1 then date_trunc(''second'', {conversations.waiting_since}) end',
        'first_reply_created_at', '{conversations.first_reply_created_at}',
        'agent_last_seen_at', 'date_trunc(''second'', {conversations.agent_last_seen_at})',
        'contact_last_seen_at', 'date_trunc(''second'', {conversations.contact_last_seen_at})',
        'last_activity_at', 'date_trunc(''second'', {conversations.last_activity_at})',
        'created_at', '{conversations.created_at}', 'version_at', '{conversations.updated_at}');
    when 'messages' then
      relation := 'messages';
      key := '{messages.id}';
      -- Few messages have files: those of the batch are collected once, for each to look up its own.
      source := '(select jsonb_object_agg(attached.message_id, attached.files) as files from (
          select {attachments.message_id} as message_id, jsonb_agg(jsonb_build_object(''id'', {attachments.id},
            ''file_type'', coalesce((array[''image'', ''audio'', ''video'', ''file'', ''location'', ''fallback'', ''share'',
              ''story_mention'', ''contact'', ''ig_reel'', ''ig_post'', ''ig_story'', ''embed''])
              [1 + {attachments.file_type}], ''unknown_'' || {attachments.file_type}),
            ''extension'', nullif({attachments.extension}, '''')) order by {attachments.id}) as files
          from {attachments} as attachments where {match attachments.message_id} group by {attachments.message_id}
        ) as attached) as shelf cross join {messages} as messages '
        || format(v_conversation, '{messages.conversation_id}')
        || ' where {match messages.id} and {messages.account_id} + 0 = $1';
      known := '{messages.message_type} between 0 and 3 and parent.display_id is not null';
      extras := 'array_agg(parent.display_id),
        array_agg({messages.sender_id}) filter (where {messages.sender_type} = ''User''),
        array_agg({messages.sender_id}) filter (where {messages.sender_type} = ''AgentBot'')';
      fields := jsonb_build_object('account_id', '$1', 'message_id', '{messages.id}',
        'conversation_display_id', 'parent.display_id', 'inbox_id', '{messages.inbox_id}',
        'message_type', '(array[''incoming'', ''outgoing'', ''activity'', ''template''])[1 + {messages.message_type}]',
        'content_type', 'coalesce((array[''text'', ''input_text'', ''input_textarea'', ''input_email'', ''input_select'',
          ''cards'', ''form'', ''article'', ''incoming_email'', ''input_csat'', ''integrations'', ''sticker'',
          ''voice_call''])[1 + {messages.content_type}], ''unknown_'' || {messages.content_type})',
        -- Called only where it would change something, as a call is dear.
        'content', 'case when {messages.content_type} = 9 then chatwoot.canonical_text(regexp_replace({messages.content},
            ''\s*https?://\S+/survey/responses/[0-9a-f-]{36}\s*$'', ''''))
          when position(E''\n'' in {messages.content}) > 0 or position(E''\r'' in {messages.content}) > 0
          then chatwoot.canonical_text({messages.content}) else {messages.content} end',
        'private', 'coalesce({messages.private}, false)',
        'sender_kind', 'case when {messages.sender_id} is null then null else case {messages.sender_type}
          when ''Contact'' then ''contact'' when ''User'' then ''user'' when ''AgentBot'' then ''agent_bot''
          else nullif(left(lower(replace(regexp_replace({messages.sender_type}, ''([a-z0-9])([A-Z])'', ''\1_\2'', ''g''),
            ''::'', ''_'')), 50), '''') end end',
        'sender_id', 'case when {messages.sender_type} <> '''' then {messages.sender_id} end',
        'source_id', '{messages.source_id}',
        'attachments', 'coalesce(shelf.files -> {messages.id}::text, ''[]'')',
        'content_attributes', 'case when {messages.content_attributes} is null then ''{}'''
          -- At once for nearly all; one that jsonb refuses fails the batch, which is then read again with care.
          || case when database_template.is_careful then '' else ' when {messages.content_attributes} #>> ''{}'' like ''{%''
            then ({messages.content_attributes} #>> ''{}'')::jsonb' end
          || ' else sync.database_attributes({messages.content_attributes}::text) end',
        'additional_attributes', 'coalesce({messages.additional_attributes}, ''{}'')',
        'created_at', '{messages.created_at}',
        'delivery_status', '(array[''sent'', ''delivered'', ''read'', ''failed''])[1 + {messages.status}]',
        'delivery_status_at', '{messages.updated_at}',
        -- Chatwoot keeps the row of a deleted message, and says so in its attributes.
        'deleted_at', 'case when {messages.content_attributes}::text like ''%deleted%'' then
          case when sync.database_attributes({messages.content_attributes}::text) ->> ''deleted'' = ''true''
            then {messages.updated_at} end end',
        'version_at', '{messages.updated_at}');
    when 'csat_responses' then
      relation := 'csat_survey_responses';
      key := '{csat_survey_responses.id}';
      source := '{csat_survey_responses} as csat_survey_responses '
        || format(v_conversation, '{csat_survey_responses.conversation_id}')
        || ' where {match csat_survey_responses.id} and {csat_survey_responses.account_id} + 0 = $1';
      known := '{csat_survey_responses.rating} between 1 and 5 and parent.display_id is not null and exists (
        select from chatwoot.messages as mirrored
        where mirrored.account_id = $1 and mirrored.message_id = {csat_survey_responses.message_id})';
      fields := jsonb_build_object('account_id', '$1', 'message_id', '{csat_survey_responses.message_id}',
        'conversation_display_id', 'parent.display_id', 'rating', '{csat_survey_responses.rating}',
        'feedback_message', '{csat_survey_responses.feedback_message}',
        'first_answered_at', '{csat_survey_responses.created_at}', 'version_at', '{csat_survey_responses.updated_at}');
    when 'reporting_events' then
      relation := 'reporting_events';
      key := '{reporting_events.id}';
      source := '{reporting_events} as reporting_events '
        || format(v_conversation, '{reporting_events.conversation_id}')
        || ' where {match reporting_events.id} and {reporting_events.account_id} + 0 = $1';
      fields := jsonb_build_object('account_id', '$1', 'event_id', '{reporting_events.id}',
        'name', '{reporting_events.name}', 'conversation_display_id', 'parent.display_id',
        'inbox_id', '{reporting_events.inbox_id}', 'user_id', '{reporting_events.user_id}',
        'value', '{reporting_events.value}', 'value_in_business_hours', '{reporting_events.value_in_business_hours}',
        'event_started_at', '{reporting_events.event_start_time}',
        'event_ended_at', '{reporting_events.event_end_time}', 'created_at', '{reporting_events.created_at}');
  end case;
end
$$;
comment on function sync.database_template is 'How the rows of one table of the mirror are read from Chatwoot''s tables, as templates.';

create function sync.database_statement(
  entity text, names jsonb, is_foreign boolean, is_by_key boolean, is_careful boolean default false
) returns text
-- $1 is the account; rows are those with a key above $2 and up to $3, or those whose key is in $4.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_parts record;
  v_match text := case when database_statement.is_by_key then '\1 = any ($4)' else '(\1 > $2 and \1 <= $3)' end;
begin
  v_parts := sync.database_template(database_statement.entity, database_statement.names, database_statement.is_foreign,
    database_statement.is_careful);
  return sync.database_fill(
    regexp_replace(
      format('select array_agg(row(%s)::chatwoot.%I) filter (where %s), array_agg(%s), %s from %s',
        (select string_agg(coalesce(v_parts.fields ->> attributes.attname, 'null'), ', ' order by attributes.attnum)
          from pg_catalog.pg_attribute as attributes
          where attributes.attrelid = format('chatwoot.%I', database_statement.entity)::regclass
            and attributes.attnum > 0 and not attributes.attisdropped),
        database_statement.entity, v_parts.known, v_parts.key, v_parts.extras, v_parts.source),
      '\{match ([a-z_.]+)\}', replace(v_match, '\1', '{\1}'), 'g'),
    database_statement.names);
end
$$;
comment on function sync.database_statement is
  'The SQL that reads rows of one table of the mirror: an array of them, the keys of all that were looked at, and ids of what belongs to them.';

create function sync.database_is_indexed(source_schema text, relation text) returns boolean
-- For tables of another database its catalogue is asked, where connect_foreign has put it.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_is_indexed boolean;
begin
  if sync.database_has_foreign(database_is_indexed.source_schema, 'source_indexes') then
    execute format('select exists (select from %I.source_indexes as indexes where indexes.tablename = $1
      and indexes.schemaname = ''public'' and indexes.indexdef ~ ''USING btree \(updated_at[,) ]'')',
      database_is_indexed.source_schema) into v_is_indexed using database_is_indexed.relation;
    return v_is_indexed;
  end if;
  return exists (
    select from pg_catalog.pg_index as indexes
    join pg_catalog.pg_attribute as attributes
      on attributes.attrelid = indexes.indrelid and attributes.attnum = indexes.indkey[0]
    where indexes.indrelid = to_regclass(format('%I.%I', database_is_indexed.source_schema, database_is_indexed.relation))
      and attributes.attname = 'updated_at' and indexes.indisvalid and indexes.indpred is null);
end
$$;
comment on function sync.database_is_indexed is 'Whether the table has an index that begins with updated_at.';

create function sync.database_writes(source_schema text, relations text[]) returns bigint
-- Postgres tells of a write some seconds late, so this only ever spares work that the next tick would do as well.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_writes bigint;
begin
  if sync.database_has_foreign(database_writes.source_schema, 'source_statistics') then
    execute format('select sum(counted.n_tup_ins + counted.n_tup_upd + counted.n_tup_del)
      from %I.source_statistics as counted where counted.schemaname = ''public'' and counted.relname = any ($1)',
      database_writes.source_schema) into v_writes using database_writes.relations;
    return v_writes;
  elsif current_setting('track_counts') <> 'on' then
    return null;
  end if;
  select case when bool_and(tables.relkind = 'r') then sum(pg_stat_get_tuples_inserted(tables.oid)
    + pg_stat_get_tuples_updated(tables.oid) + pg_stat_get_tuples_deleted(tables.oid)) end into v_writes
  from unnest(database_writes.relations) as named (name)
  join pg_catalog.pg_class as tables on tables.oid = to_regclass(format('%I.%I', database_writes.source_schema, named.name));
  return v_writes;
end
$$;
comment on function sync.database_writes is
  'How many rows of these tables were ever written, as far as Postgres has counted; null where it cannot be known.';

create function sync.database_plan(source_schema text) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_shape record;
  v_names jsonb;
  v_plan jsonb;
  v_parts record;
  v_entity text;
  v_walk text;
  v_missing constant text := '(select where false)';
begin
  v_shape := sync.database_shape(database_plan.source_schema);
  v_names := v_shape.names;
  v_plan := jsonb_build_object('source_schema', database_plan.source_schema, 'drift', v_shape.drift,
    'is_foreign', v_shape.is_foreign, 'entities', '{}'::jsonb, 'lists', '{}'::jsonb);
  foreach v_entity in array array['contacts', 'conversations', 'messages', 'csat_responses', 'reporting_events'] loop
    v_parts := sync.database_template(v_entity, v_names, v_shape.is_foreign, false);
    continue when v_names ->> v_parts.relation = v_missing
      or (v_entity = 'messages' and not v_plan -> 'entities' ? 'conversations')
      or (v_entity = 'csat_responses' and not v_plan -> 'entities' ? 'messages');
    -- Numbers of conversations have an index with the account; other keys are walked whosever they are, so that a batch
    -- is bounded in what it looks at and not only in what it finds.
    v_walk := format('from {%1$s} as %1$I where %2$s', v_parts.relation,
      case v_entity when 'conversations' then '{conversations.account_id} = $1' else '$1 = $1' end);
    v_plan := jsonb_set(v_plan, array['entities', v_entity], jsonb_strip_nulls(jsonb_build_object(
      'by_range', sync.database_statement(v_entity, v_names, v_shape.is_foreign, false),
      'by_key', sync.database_statement(v_entity, v_names, v_shape.is_foreign, true),
      'by_range_with_care', case when v_entity = 'messages' then
        sync.database_statement(v_entity, v_names, v_shape.is_foreign, false, true) end,
      'by_key_with_care', case when v_entity = 'messages' then
        sync.database_statement(v_entity, v_names, v_shape.is_foreign, true, true) end,
      'next', sync.database_fill(format(
        'select coalesce(max(ahead.key) filter (where ahead.before < 2000000), $2),
          count(*) < $3 and coalesce(bool_and(ahead.before < 2000000), true)
        from (select sized.key, sum(sized.size) over (order by sized.key rows unbounded preceding) - sized.size as before
          from (select %1$s as key, %2$s as size %3$s and %1$s > $2 order by %1$s limit $3) as sized) as ahead',
        v_parts.key,
        -- As stored, mostly compressed. Asked of another database, the rows would come twice.
        case when v_entity = 'messages' and not v_shape.is_foreign then 'coalesce(pg_column_size({messages.content}), 0)
          + coalesce(pg_column_size({messages.content_attributes}), 0)' else '0' end, v_walk), v_names),
      'newest', sync.database_fill(format('select coalesce(min(newest.key), 0)
        from (select %1$s as key %2$s order by %1$s desc limit $2) as newest', v_parts.key, v_walk), v_names),
      'estimate', sync.database_fill(format('explain (format json) select from {%1$s} as %1$I where {%1$s.account_id} = ',
        v_parts.relation), v_names),
      'changed', case when v_names ? ('stored ' || v_parts.relation || '.updated_at')
          and sync.database_is_indexed(database_plan.source_schema, v_parts.relation)
        then sync.database_fill(format(
          'select array_agg(newer.key) filter (where newer.account_id = $1),
            (array_agg(newer.changed_at order by newer.changed_at desc, newer.id desc))[1],
            (array_agg(newer.id order by newer.changed_at desc, newer.id desc))[1], count(*)
          from (select %1$s as key, {%2$s.id} as id, {%2$s.account_id} as account_id, {%2$s.updated_at} as changed_at
            from {%2$s} as %2$I
            where {stored %2$s.updated_at} >= $2 {stored as %2$s.updated_at}
              and ({stored %2$s.updated_at} > $2 {stored as %2$s.updated_at} or {%2$s.id} > $3)
            order by {stored %2$s.updated_at}, {%2$s.id} limit $4) as newer', v_parts.key, v_parts.relation), v_names) end,
      -- A day of it, for the proof: numbers, ids and contacts of the conversations, ids of their messages.
      'between', case when v_entity = 'conversations' and v_names ? 'stored conversations.created_at' then sync.database_fill(
        'select array_agg({conversations.display_id}), array_agg({conversations.id}),
          array_agg(distinct {conversations.contact_id}) filter (where {conversations.contact_id} is not null)
        from {conversations} as conversations where {conversations.account_id} = $1
          and {stored conversations.created_at} >= $2 {stored as conversations.created_at}
          and {stored conversations.created_at} < $3 {stored as conversations.created_at}', v_names) end,
      'of_conversations', case when v_entity = 'messages' then sync.database_fill('select array_agg({messages.id})
        from {messages} as messages where {messages.account_id} = $1 and {messages.conversation_id} = any ($2)', v_names) end,
      'last_change', sync.database_fill(format('select $1 || jsonb_build_object(''changed'', jsonb_build_object(''from'',
        max({%1$s.updated_at}) at time zone ''UTC'')) from {%1$s} as %1$I', v_parts.relation), v_names),
      'writes', to_jsonb(array[v_parts.relation] || case v_entity
        when 'conversations' then array['taggings', 'tags', 'contact_inboxes', 'inboxes']
        when 'messages' then array['attachments'] else '{}'::text[] end))));
  end loop;
  return jsonb_set(v_plan, '{lists}', (
    select coalesce(jsonb_object_agg(lists.name, sync.database_fill(lists.sql, v_names)), '{}')
    from (values
      ('accounts', 'accounts', 'select jsonb_object_agg({accounts.id}, jsonb_build_object(''name'', {accounts.name}))
        from {accounts} as accounts where {accounts.id} = $1'),
      ('inboxes', 'inboxes', 'select jsonb_object_agg({inboxes.id}, jsonb_build_object(''name'', {inboxes.name},
          ''channel'', {inboxes.channel_type}, ''time_zone'', {inboxes.timezone},
          ''working_hours_enabled'', {inboxes.working_hours_enabled}, ''greeting_enabled'', {inboxes.greeting_enabled},
          ''csat_survey_enabled'', {inboxes.csat_survey_enabled},
          ''auto_assignment_enabled'', {inboxes.enable_auto_assignment},
          ''allow_messages_after_resolved'', {inboxes.allow_messages_after_resolved},
          ''lock_to_single_conversation'', {inboxes.lock_to_single_conversation}, ''created_at'', {inboxes.created_at})'
        || case when v_names ->> 'working_hours' = v_missing then '' else ' || jsonb_build_object(''working_hours'', weeks.days)'
          end || ')
        from {inboxes} as inboxes left join (
          select {working_hours.inbox_id} as inbox_id, jsonb_agg(jsonb_build_object(
            ''day_of_week'', {working_hours.day_of_week}, ''open_hour'', {working_hours.open_hour},
            ''open_minutes'', {working_hours.open_minutes}, ''close_hour'', {working_hours.close_hour},
            ''close_minutes'', {working_hours.close_minutes}, ''closed_all_day'', {working_hours.closed_all_day},
            ''open_all_day'', {working_hours.open_all_day}) order by {working_hours.day_of_week}) as days
          from {working_hours} as working_hours group by {working_hours.inbox_id}
        ) as weeks on weeks.inbox_id = {inboxes.id}
        where {inboxes.account_id} = $1'),
      ('user', 'account_users', 'select jsonb_object_agg({users.id}, jsonb_build_object(''name'', {users.name},
          ''available_name'', coalesce(nullif(btrim({users.display_name}), ''''), {users.name}), ''email'', {users.email},
          -- Whether somebody is signed in, only Chatwoot''s memory knows.
          ''availability'', case when {account_users.availability} = 1 then ''offline''
            when {account_users.auto_offline} is distinct from false then null
            when {account_users.availability} = 0 then ''online'' when {account_users.availability} = 2 then ''busy'' end))
        from {users} as users join {account_users} as account_users on {account_users.user_id} = {users.id}
        where {account_users.account_id} = $1'),
      ('former user', 'users', 'select jsonb_object_agg({users.id}, jsonb_build_object(''name'', {users.name},
          ''available_name'', coalesce(nullif(btrim({users.display_name}), ''''), {users.name}), ''email'', {users.email}))
        from {users} as users where {users.id} = any ($2)'),
      ('agent_bot', 'agent_bots', 'select jsonb_object_agg({agent_bots.id}, jsonb_build_object(''name'', {agent_bots.name}))
        from {agent_bots} as agent_bots where coalesce({agent_bots.account_id} = $1, true)'),
      ('teams', 'teams', 'select jsonb_object_agg({teams.id}, jsonb_build_object(''name'', {teams.name}))
        from {teams} as teams where {teams.account_id} = $1'),
      ('labels', 'labels', 'select jsonb_agg({labels.title} order by {labels.title})
        from {labels} as labels where {labels.account_id} = $1 and {labels.title} is not null')
    ) as lists (name, relation, sql)
    where v_names ->> lists.relation <> v_missing
      and (lists.relation <> 'account_users' or v_names ->> 'users' <> v_missing)));
end
$$;
comment on function sync.database_plan is
  'Everything the database door will run against a schema: statements for each table as it is today, and what is missing in it.';

create function sync.database_agents(plan jsonb, account_id bigint, kind text, ids bigint[], read_at timestamptz)
returns bigint
-- Who wrote or was assigned but has left: no list of the account shows them any more.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_statement text := database_agents.plan -> 'lists'
    ->> case database_agents.kind when 'user' then 'former user' else 'agent_bot' end;
  v_unknown bigint[] := array(select asked.id from (select distinct unnest(database_agents.ids) as id) as asked
    where asked.id > 0 and not exists (select from chatwoot.agents as existing
      where existing.account_id = database_agents.account_id and existing.kind = database_agents.kind
        and existing.agent_id = asked.id));
  v_found jsonb;
  v_id bigint;
  v_added bigint := 0;
begin
  if v_statement is null or v_unknown = '{}' then
    return 0;
  end if;
  execute v_statement into v_found using database_agents.account_id, v_unknown;
  foreach v_id in array v_unknown loop
    continue when not coalesce(v_found ? v_id::text, false);
    perform chatwoot.merge_agent(database_agents.account_id, database_agents.kind, v_id, v_found -> v_id::text,
      database_agents.read_at);
    if database_agents.kind = 'user' then
      perform chatwoot.bury('user', database_agents.account_id, v_id, database_agents.read_at);
    end if;
    v_added := v_added + 1;
  end loop;
  return v_added;
end
$$;
comment on function sync.database_agents is
  'Reads people or bots by id that the mirror does not know yet; people count as gone, since those who are not come with the account''s list.';

create function sync.database_read(
  plan jsonb, entity text, account_id bigint, after_key bigint, upto_key bigint, keys bigint[], read_at timestamptz,
  is_following boolean, out seen bigint[], out rows_read bigint, out rows_changed bigint, out skipped bigint
)
-- Agents before contacts, contacts before conversations, conversations before messages, as everywhere.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_statement text := database_read.plan -> 'entities' -> database_read.entity
    ->> case when database_read.keys is null then 'by_range' else 'by_key' end;
  v_contacts chatwoot.contacts[];
  v_conversations chatwoot.conversations[];
  v_messages chatwoot.messages[];
  v_csat_responses chatwoot.csat_responses[];
  v_reporting_events chatwoot.reporting_events[];
  v_parents bigint[];
  v_users bigint[];
  v_bots bigint[];
  v_read record;
begin
  rows_read := 0;
  rows_changed := 0;
  case database_read.entity
    when 'contacts' then
      execute v_statement into v_contacts, seen, v_parents, v_users, v_bots
        using account_id, after_key, upto_key, keys;
      if v_contacts is not null then
        rows_changed := chatwoot.merge_contacts(v_contacts, database_read.read_at);
      end if;
      rows_read := coalesce(cardinality(v_contacts), 0);
      skipped := coalesce(cardinality(seen), 0) - rows_read;
    when 'conversations' then
      execute v_statement into v_conversations, seen, v_parents, v_users, v_bots
        using account_id, after_key, upto_key, keys;
      if v_conversations is not null then
        if database_read.is_following and database_read.plan -> 'entities' ? 'contacts' then
          v_read := sync.database_read(database_read.plan, 'contacts', database_read.account_id, null, null, v_parents,
            database_read.read_at, false);
          rows_read := v_read.rows_read;
          rows_changed := v_read.rows_changed;
        end if;
        rows_changed := rows_changed + chatwoot.merge_conversations(v_conversations, database_read.read_at);
        perform chatwoot.merge_labels(database_read.account_id, titles.list)
        from (select jsonb_agg(distinct tagged.title) as list
          from unnest(v_conversations) as told cross join lateral unnest(told.labels) as tagged (title)) as titles
        where titles.list is not null;
        rows_read := rows_read + cardinality(v_conversations);
      end if;
      skipped := coalesce(cardinality(seen), 0) - coalesce(cardinality(v_conversations), 0);
    when 'messages' then
      begin
        execute v_statement into v_messages, seen, v_parents, v_users, v_bots
          using account_id, after_key, upto_key, keys;
      exception when data_exception or program_limit_exceeded then
        execute database_read.plan #>> array['entities', 'messages',
            case when database_read.keys is null then 'by_range_with_care' else 'by_key_with_care' end]
          into v_messages, seen, v_parents, v_users, v_bots using account_id, after_key, upto_key, keys;
      end;
      if v_messages is not null then
        rows_changed :=
          sync.database_agents(database_read.plan, database_read.account_id, 'user', v_users, database_read.read_at)
          + sync.database_agents(database_read.plan, database_read.account_id, 'agent_bot', v_bots, database_read.read_at);
        -- The newest messages tell which conversations have changed as well.
        v_parents := array(select asked.id from (select distinct unnest(v_parents) as id) as asked
          where asked.id is not null and (database_read.is_following or not exists (
            select from chatwoot.conversations as existing
            where existing.account_id = database_read.account_id and existing.display_id = asked.id)));
        if v_parents <> '{}' then
          v_read := sync.database_read(database_read.plan, 'conversations', database_read.account_id, null, null,
            v_parents, database_read.read_at, database_read.is_following);
          rows_read := v_read.rows_read;
          rows_changed := rows_changed + v_read.rows_changed;
          if cardinality(v_read.seen) is distinct from cardinality(v_parents) or exists (
            select from unnest(v_parents) as asked (id) where not exists (select from chatwoot.conversations as existing
              where existing.account_id = database_read.account_id and existing.display_id = asked.id))
          then
            v_messages := array(select told from unnest(v_messages) as told where exists (
              select from chatwoot.conversations as existing where existing.account_id = told.account_id
                and existing.display_id = told.conversation_display_id));
          end if;
        end if;
        rows_changed := rows_changed + chatwoot.merge_messages(v_messages, database_read.read_at);
        rows_read := rows_read + cardinality(v_messages);
      end if;
      skipped := coalesce(cardinality(seen), 0) - coalesce(cardinality(v_messages), 0);
    when 'csat_responses' then
      execute v_statement into v_csat_responses, seen, v_parents, v_users, v_bots
        using account_id, after_key, upto_key, keys;
      if v_csat_responses is not null then
        rows_changed := chatwoot.merge_csat_responses(v_csat_responses);
        rows_read := cardinality(v_csat_responses);
      end if;
      skipped := coalesce(cardinality(seen), 0) - rows_read;
    when 'reporting_events' then
      execute v_statement into v_reporting_events, seen, v_parents, v_users, v_bots
        using account_id, after_key, upto_key, keys;
      if v_reporting_events is not null then
        rows_changed := chatwoot.record_reporting_events(v_reporting_events);
        rows_read := cardinality(v_reporting_events);
      end if;
      skipped := 0;
  end case;
  seen := coalesce(seen, '{}');
end
$$;
comment on function sync.database_read is
  'Reads rows of one table (a range of keys, or these keys) with what they need to stand on, and merges them; seen are the keys there were, rows_changed what changed in the mirror, skipped how many were of a kind that is not known or of something that is not there.';

create function sync.database_list(
  plan jsonb, list text, account_id bigint, read_at timestamptz, out rows_read bigint, out rows_changed bigint
)
-- What an account has few of is read whole each time.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_statement text := database_list.plan -> 'lists' ->> database_list.list;
  -- Before the source is looked at: what came in afterwards is not missing there.
  v_known bigint[] := case database_list.list
    when 'inboxes' then array(select existing.inbox_id from chatwoot.inboxes as existing
      where existing.account_id = database_list.account_id and existing.deleted_at is null)
    when 'teams' then array(select existing.team_id from chatwoot.teams as existing
      where existing.account_id = database_list.account_id and existing.deleted_at is null)
    when 'user' then array(select existing.agent_id from chatwoot.agents as existing
      where existing.account_id = database_list.account_id and existing.kind = 'user' and existing.deleted_at is null)
    else '{}'::bigint[] end;
  v_target constant text := case database_list.list when 'inboxes' then 'inbox' when 'teams' then 'team'
    else database_list.list end;
  v_table constant regclass := 'chatwoot.' || case when database_list.list in ('user', 'agent_bot') then 'agents'
    else database_list.list end;
  v_found jsonb;
  v_key jsonb;
  v_row record;
  v_id bigint;
begin
  rows_read := 0;
  rows_changed := 0;
  if v_statement is null then
    return;
  end if;
  execute v_statement into v_found using database_list.account_id, null::bigint[];
  if database_list.list = 'labels' then
    rows_read := coalesce(jsonb_array_length(v_found), 0);
    perform chatwoot.merge_labels(database_list.account_id, v_found);
    return;
  elsif database_list.list = 'accounts' and v_found is null then
    raise exception 'There is no account % in schema %', database_list.account_id, database_list.plan ->> 'source_schema'
      using errcode = 'OC404', hint = 'Chatwoot''s tables must be those of this account: see docs/sync.md.';
  end if;
  for v_row in
    select told.key::bigint as id, told.value as record from jsonb_each(coalesce(v_found, '{}')) as told order by 1
  loop
    rows_read := rows_read + 1;
    v_key := case database_list.list when 'accounts' then '{}' when 'inboxes' then jsonb_build_object('inbox_id', v_row.id)
      when 'teams' then jsonb_build_object('team_id', v_row.id)
      else jsonb_build_object('kind', database_list.list, 'agent_id', v_row.id) end
      || jsonb_build_object('account_id', database_list.account_id);
    if chatwoot.is_news(v_table, v_key, v_row.record) then
      rows_changed := rows_changed + case database_list.list
        when 'accounts' then chatwoot.merge_account(database_list.account_id, v_row.record, database_list.read_at)
        when 'inboxes' then chatwoot.merge_inbox(database_list.account_id, v_row.id, v_row.record, database_list.read_at)
        when 'teams' then chatwoot.merge_team(database_list.account_id, v_row.id, v_row.record, database_list.read_at)
        else chatwoot.merge_agent(database_list.account_id, database_list.list, v_row.id, v_row.record,
          database_list.read_at) end::integer;
    end if;
    if v_target in ('inbox', 'team', 'user') and not v_row.id = any (v_known) then
      rows_changed := rows_changed
        + chatwoot.revive(v_target, database_list.account_id, v_row.id, database_list.read_at)::integer;
    end if;
  end loop;
  foreach v_id in array v_known loop
    if v_found is null or not v_found ? v_id::text then
      rows_changed := rows_changed
        + chatwoot.bury(v_target, database_list.account_id, v_id, database_list.read_at)::integer;
    end if;
  end loop;
end
$$;
comment on function sync.database_list is
  'Reads a short list of the account (accounts, inboxes, user, agent_bot, teams, labels) whole, merges what is news and marks what is gone.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'sync'::regnamespace and functions.proname like 'database\_%'
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
