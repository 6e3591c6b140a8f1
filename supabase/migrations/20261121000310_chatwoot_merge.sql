-- The doors of the mirror: the functions that merge a record into it, by the rule at the top of the file before this one.
-- Nobody else writes there. Here the rule itself, the forms that all doors share, and what an account has few of.
create function chatwoot.instant(value jsonb) returns timestamptz
-- Chatwoot writes instants in two ways, epoch seconds (0 for none) and ISO 8601, often both in one payload.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_text text := instant.value #>> '{}';
begin
  if v_text is null or v_text in ('', '0', '0.0') then
    return null;
  -- The two forms Chatwoot writes, told apart without a regular expression since this runs a dozen times an event.
  elsif jsonb_typeof(instant.value) = 'number' and length(v_text) <= 24 and instant.value::numeric between 0 and 1e12 then
    return to_timestamp(instant.value::double precision);
  elsif v_text like '2___-__-__T__:__:__.___Z' then
    return v_text::timestamptz;
  elsif v_text ~ '^\d{1,12}(\.\d{1,9})?$' then
    return to_timestamp(v_text::double precision);
  -- Checked by form, since Postgres would also take 'now' and 'tomorrow', which mean something else at every replay.
  elsif v_text ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?( ?UTC|Z|[+-]\d\d:?\d\d)$' then
    return v_text::timestamptz;
  end if;
  raise exception 'Not an instant: %', left(v_text, 60) using errcode = '22007';
end
$$;
comment on function chatwoot.instant is
  'Reads an instant from epoch seconds (number or text; 0 is null) or ISO 8601 with zone. Raises 22007 for anything else.';

create function chatwoot.merge_fields(target regclass, key jsonb, fields jsonb, version_at timestamptz) returns boolean
-- The rule itself, field by field, for any table of the mirror. The merge_* functions spare it where they can.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_version bigint := (extract(epoch from merge_fields.version_at) * 1000000)::bigint;
  v_key_match text := (select string_agg(format('rows.%1$I = given.%1$I', names.name), ' and ')
    from jsonb_object_keys(merge_fields.key) as names (name));
  v_existing_row text := format('select to_jsonb(rows) from %s as rows where %s for update', merge_fields.target, v_key_match);
  v_not_fields text[] := array['version_at', 'field_versions', 'deleted_at', 'delivery_status', 'delivery_status_at',
    'first_answered_at', 'database_id', 'created_at', 'first_reply_created_at']
    || array(select jsonb_object_keys(merge_fields.key));
  v_existing jsonb;
  v_given jsonb;
  v_versions jsonb;
  v_known_versions jsonb;
  v_taken text[];
  v_finer jsonb;
  v_added bigint;
begin
  -- Through the table's own types and back, so that equal values are written equally.
  execute format('select to_jsonb(given), (%2$s) from jsonb_populate_record(null::%1$s, $1) as given', merge_fields.target,
    v_existing_row)
    into v_given, v_existing using merge_fields.key || merge_fields.fields;
  if v_existing is null then
    execute format('insert into %1$s select given.* from jsonb_populate_record(null::%1$s, $1) as given
      on conflict do nothing', merge_fields.target)
      using v_given || jsonb_build_object('version_at', merge_fields.version_at, 'field_versions', coalesce(
        (select jsonb_object_agg(names.name, v_version) from jsonb_object_keys(merge_fields.fields) as names (name)
          where names.name <> all (v_not_fields)), '{}'));
    get diagnostics v_added = row_count;
    if v_added > 0 then
      return true;
    end if;
    -- Somebody else was quicker, and has committed.
    execute format('select (%2$s) from jsonb_populate_record(null::%1$s, $1) as given', merge_fields.target, v_existing_row)
      into strict v_existing using v_given;
  end if;
  v_known_versions := coalesce(nullif(v_existing -> 'field_versions', 'null'), (
    select jsonb_object_agg(names.name,
      (extract(epoch from (v_existing ->> 'version_at')::timestamptz) * 1000000)::bigint)
    from jsonb_object_keys(v_existing) as names (name)
    where names.name <> all (v_not_fields)));
  select array_agg(names.name) into v_taken
  from jsonb_object_keys(merge_fields.fields) as names (name)
  where names.name <> all (v_not_fields) and (
    not v_known_versions ? names.name
    or v_version > (v_known_versions ->> names.name)::bigint
    or (v_version = (v_known_versions ->> names.name)::bigint
      and (v_given -> names.name)::text collate "C" > (v_existing -> names.name)::text collate "C"));
  v_versions := v_known_versions || coalesce(
    (select jsonb_object_agg(names.name, v_version) from jsonb_object_keys(merge_fields.fields) as names (name)
      where names.name <> all (v_not_fields)
        and (not v_known_versions ? names.name or v_version > (v_known_versions ->> names.name)::bigint)), '{}');
  -- These never change, and a coarse reading is a fine one cut short: the greatest is the finest, whatever its version.
  v_finer := (select jsonb_object_agg(names.name, v_given -> names.name)
    from unnest(array['created_at', 'first_reply_created_at']) as names (name)
    where merge_fields.fields ? names.name and (v_given ->> names.name)::timestamptz
      > coalesce((v_existing ->> names.name)::timestamptz, '-infinity'));
  if v_taken is null and v_finer is null and v_versions = v_known_versions then
    return false;
  end if;
  v_existing := v_existing
    || coalesce((select jsonb_object_agg(names.name, v_given -> names.name) from unnest(v_taken) as names (name)), '{}')
    || coalesce(v_finer, '{}')
    || jsonb_build_object(
      'version_at', greatest((v_existing ->> 'version_at')::timestamptz, merge_fields.version_at),
      -- One version for all, and none that is missing: the row is whole again.
      'field_versions', case when exists (select from jsonb_each(v_versions) as versions
          where versions.value <> to_jsonb((extract(epoch from greatest((v_existing ->> 'version_at')::timestamptz,
            merge_fields.version_at)) * 1000000)::bigint))
        or exists (select from jsonb_object_keys(v_existing) as names (name)
          where names.name <> all (v_not_fields) and not v_versions ? names.name)
        then v_versions end);
  execute format('update %1$s as rows set (%3$s) = (select %4$s from jsonb_populate_record(null::%1$s, $1) as merged)
    from jsonb_populate_record(null::%1$s, $1) as given where %2$s', merge_fields.target, v_key_match,
    (select string_agg(quote_ident(names.name), ', ' order by names.name) from jsonb_object_keys(v_existing) as names (name)),
    (select string_agg('merged.' || quote_ident(names.name), ', ' order by names.name)
      from jsonb_object_keys(v_existing) as names (name)))
    using v_existing;
  return v_taken is not null or v_finer is not null;
end
$$;
comment on function chatwoot.merge_fields is
  'Merges the given fields of one row into a table of the mirror, each by its own version; true when a value was taken.';

create function chatwoot.is_known(existing jsonb, record jsonb, version_at timestamptz) returns boolean
-- Names of accounts, inboxes, agents and teams come with every event. Writing each sighting would make every event of
-- an account queue for the same few rows, so an unchanged name is stamped anew once a minute of event time. A name
-- changed back and forth within that minute, and reordered, may stand wrong until the next event carries it again.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_minute_before bigint := (extract(epoch from is_known.version_at) * 1000000)::bigint - 60000000;
  v_versions jsonb := nullif(is_known.existing -> 'field_versions', 'null');
begin
  if v_versions is null and
    (extract(epoch from (is_known.existing ->> 'version_at')::timestamptz) * 1000000)::bigint < v_minute_before
  then
    return is_known.record = '{}';
  end if;
  return not exists (
    select from jsonb_each(is_known.record) as given (name, value)
    where is_known.existing -> given.name is distinct from given.value
      or (v_versions is not null and coalesce((v_versions ->> given.name)::bigint < v_minute_before, true)));
end
$$;
comment on function chatwoot.is_known is
  'Whether each field of the record stands in the existing row, told of at most a minute before this version.';

create function chatwoot.merge_account(account_id bigint, record jsonb, version_at timestamptz) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.accounts as rows where rows.account_id = merge_account.account_id
    and chatwoot.is_known(to_jsonb(rows), merge_account.record, merge_account.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.accounts', jsonb_build_object('account_id', merge_account.account_id),
    merge_account.record, merge_account.version_at);
end
$$;
comment on function chatwoot.merge_account is 'Merges a record {name} of an account; true when something changed.';

create function chatwoot.merge_inbox(account_id bigint, inbox_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.inboxes as rows
    where rows.account_id = merge_inbox.account_id and rows.inbox_id = merge_inbox.inbox_id
    and chatwoot.is_known(to_jsonb(rows), merge_inbox.record, merge_inbox.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.inboxes',
    jsonb_build_object('account_id', merge_inbox.account_id, 'inbox_id', merge_inbox.inbox_id),
    merge_inbox.record, merge_inbox.version_at);
end
$$;
comment on function chatwoot.merge_inbox is 'Merges a record of an inbox, keys as the columns; true when something changed.';

create function chatwoot.merge_agent(
  account_id bigint, kind text, agent_id bigint, record jsonb, version_at timestamptz
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.agents as rows
    where rows.account_id = merge_agent.account_id and rows.kind = merge_agent.kind
    and rows.agent_id = merge_agent.agent_id and chatwoot.is_known(to_jsonb(rows), merge_agent.record, merge_agent.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.agents',
    jsonb_build_object('account_id', merge_agent.account_id, 'kind', merge_agent.kind, 'agent_id', merge_agent.agent_id),
    merge_agent.record, merge_agent.version_at);
end
$$;
comment on function chatwoot.merge_agent is
  'Merges a record {name, available_name, email, availability} of a person or bot; true when something changed.';

create function chatwoot.merge_team(account_id bigint, team_id bigint, record jsonb, version_at timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.teams as rows
    where rows.account_id = merge_team.account_id and rows.team_id = merge_team.team_id
    and chatwoot.is_known(to_jsonb(rows), merge_team.record, merge_team.version_at))
  then
    return false;
  end if;
  return chatwoot.merge_fields('chatwoot.teams',
    jsonb_build_object('account_id', merge_team.account_id, 'team_id', merge_team.team_id),
    merge_team.record, merge_team.version_at);
end
$$;
comment on function chatwoot.merge_team is 'Merges a record {name} of a team; true when something changed.';

create function chatwoot.merge_labels(account_id bigint, titles jsonb) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  insert into chatwoot.labels (account_id, title)
  select distinct merge_labels.account_id, given.title
  from jsonb_array_elements_text(nullif(merge_labels.titles, 'null')) as given (title)
  where length(given.title) between 1 and 255 and not exists (
    select from chatwoot.labels where labels.account_id = merge_labels.account_id and labels.title = given.title)
  order by 2
  on conflict do nothing;
end
$$;
comment on function chatwoot.merge_labels is 'Remembers label titles (an array of texts) that were not known yet.';

create function chatwoot.canonical_text(content text) returns text
-- Webhooks show a text without backslashes before line breaks and without line breaks at its end, REST and the tables as
-- it was stored. The shorter form is the one that every door can give.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if strpos(canonical_text.content, E'\n') = 0 and strpos(canonical_text.content, E'\r') = 0 then
    return canonical_text.content;
  end if;
  return rtrim(replace(replace(canonical_text.content, E'\\\n', E'\n'), E'\\\r\n', E'\r\n'), E'\r\n');
end
$$;
comment on function chatwoot.canonical_text is 'A message''s text as every door can show it; null for null.';

create function chatwoot.canonical_labels(labels jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if jsonb_typeof(canonical_labels.labels) <> 'array' or jsonb_array_length(canonical_labels.labels) < 2 then
    return canonical_labels.labels;
  end if;
  return (select jsonb_agg(distinct titles.title collate "C" order by titles.title collate "C")
    from jsonb_array_elements_text(canonical_labels.labels) as titles (title));
end
$$;
comment on function chatwoot.canonical_labels is 'An array of label titles, each once and sorted; anything else as it is.';

create function chatwoot.canonical_attachments(attachments jsonb) returns jsonb
-- The address of a file opens it to whoever has it, for ever, so it stays in Chatwoot.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if jsonb_typeof(canonical_attachments.attachments) is distinct from 'array'
    or canonical_attachments.attachments = '[]'
  then
    return '[]'::jsonb;
  end if;
  return (select jsonb_agg(jsonb_build_object('id', files.file -> 'id', 'file_type', files.file -> 'file_type',
      'extension', nullif(files.file ->> 'extension', '')) order by (files.file ->> 'id')::numeric)
    from jsonb_array_elements(canonical_attachments.attachments) as files (file));
end
$$;
comment on function chatwoot.canonical_attachments is 'Attachments of any door as an array of {id, file_type, extension} by id; empty for none.';

create function chatwoot.is_news(target regclass, key jsonb, record jsonb) returns boolean
-- For what is read again and again: only what differs is worth a write.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_given jsonb;
  v_existing jsonb;
begin
  execute format('select to_jsonb(given) from jsonb_populate_record(null::%s, $1) as given', is_news.target)
    into v_given using is_news.key || is_news.record;
  execute format('select to_jsonb(rows) from %1$s as rows, jsonb_populate_record(null::%1$s, $1) as sought where %2$s',
    is_news.target, (select string_agg(format('rows.%1$I = sought.%1$I', names.name), ' and ')
      from jsonb_object_keys(is_news.key) as names (name))) into v_existing using is_news.key;
  return v_existing is null or exists (
    select from jsonb_object_keys(is_news.record) as names (name)
    where case when names.name in ('created_at', 'first_reply_created_at')
      then coalesce((v_given ->> names.name)::timestamptz > (v_existing ->> names.name)::timestamptz,
        v_existing -> names.name = 'null' and v_given -> names.name <> 'null')
      else v_given -> names.name is distinct from v_existing -> names.name end);
end
$$;
comment on function chatwoot.is_news is
  'Whether the row of that key is missing or differs from the record in a field the record has; a coarser instant of creation is no news.';

create function chatwoot.revive(target text, account_id bigint, id bigint, seen_at timestamptz) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  case revive.target
    when 'conversation' then
      update chatwoot.conversations as rows set deleted_at = null
      where rows.account_id = revive.account_id and rows.display_id = revive.id and rows.deleted_at < revive.seen_at;
    when 'contact' then
      update chatwoot.contacts as rows set deleted_at = null
      where rows.account_id = revive.account_id and rows.contact_id = revive.id and rows.deleted_at < revive.seen_at;
    when 'inbox' then
      update chatwoot.inboxes as rows set deleted_at = null
      where rows.account_id = revive.account_id and rows.inbox_id = revive.id and rows.deleted_at < revive.seen_at;
    when 'team' then
      update chatwoot.teams as rows set deleted_at = null
      where rows.account_id = revive.account_id and rows.team_id = revive.id and rows.deleted_at < revive.seen_at;
    when 'user' then
      update chatwoot.agents as rows set deleted_at = null
      where rows.account_id = revive.account_id and rows.kind = 'user' and rows.agent_id = revive.id
        and rows.deleted_at < revive.seen_at;
    else
      raise exception 'Nothing called % can be revived', coalesce(revive.target, 'null')
        using errcode = 'OC422', hint = 'One of conversation, contact, inbox, team, user.';
  end case;
  return found;
end
$$;
comment on function chatwoot.revive is
  'Takes back that a conversation, contact, inbox, team or user is deleted, since the source showed it at seen_at; true when that is news.';

create function chatwoot.bury(target text, account_id bigint, id bigint, deleted_at timestamptz, conversation_display_id bigint default null)
returns boolean
-- A row is made where there is none, so that a late event cannot bring back what was deleted before it arrived.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  case bury.target
    when 'conversation' then
      insert into chatwoot.conversations as rows (account_id, display_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint conversations_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'contact' then
      insert into chatwoot.contacts as rows (account_id, contact_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint contacts_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'inbox' then
      insert into chatwoot.inboxes as rows (account_id, inbox_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint inboxes_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'team' then
      insert into chatwoot.teams as rows (account_id, team_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint teams_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'user' then
      insert into chatwoot.agents as rows (account_id, kind, agent_id, deleted_at, version_at, field_versions)
      values (bury.account_id, 'user', bury.id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint agents_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    when 'message' then
      insert into chatwoot.messages as rows
        (account_id, message_id, conversation_display_id, deleted_at, version_at, field_versions)
      values (bury.account_id, bury.id, bury.conversation_display_id, bury.deleted_at, '-infinity', '{}')
      on conflict on constraint messages_pkey do update set deleted_at = excluded.deleted_at
      where rows.deleted_at is null or rows.deleted_at > excluded.deleted_at;
    else
      raise exception 'Nothing called % can be buried', coalesce(bury.target, 'null')
        using errcode = 'OC422', hint = 'One of conversation, contact, inbox, team, user, message.';
  end case;
  return found;
end
$$;
comment on function chatwoot.bury is
  'Marks a conversation, contact, inbox, team, user or message as deleted in Chatwoot, known or not yet; true when that is news. A message needs its conversation.';
