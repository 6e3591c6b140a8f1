-- The proof, for the REST door: the range's conversations page by page in the order in which they began, then the messages
-- of each. One request a step, like everything this door does, so how far it is stands in sync.verifications.cursor:
--   page, size, seek     the next page; how large pages are; how far to step back while the first one is looked for
--   upper, boundary      up to which second conversations have been compared, and which of that second itself
--   suspects, gone, alive  in the mirror but not on the page: to be asked for one by one, and what came of it
--   todo                 conversations whose messages are to be compared: {id, day, after}
--   contacts             those of the last day that have been compared
--   is_last, problem, failures

create function sync.rest_facts(target regclass, record jsonb) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_row jsonb;
begin
  -- Through the table's own types, so that equal values are written equally.
  execute format('select to_jsonb(given) from jsonb_populate_record(null::%s, $1) as given', rest_facts.target)
    into v_row using rest_facts.record;
  return (select jsonb_object_agg(fields.key, fields.value) from jsonb_each(v_row) as fields
    where rest_facts.record ? fields.key);
end
$$;
comment on function sync.rest_facts is 'A canonical record as the mirror''s table would show it, with the fields that it has.';

create function sync.rest_verify_next(
  account_id bigint, out task text, out path text, out query text, out array_at text[], out id bigint
)
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_asked sync.verifications;
  v_path text := '/api/v1/accounts/' || rest_verify_next.account_id || '/conversations';
begin
  select * into v_asked from sync.verifications as asked
  where asked.account_id = rest_verify_next.account_id and asked.door = 'rest' and asked.finished_at is null
  order by asked.verification_id limit 1;
  if not found then
    return;
  end if;
  if v_asked.cursor #> '{suspects,0}' is not null then
    task := 'verify_show';
    id := (v_asked.cursor #>> '{suspects,0}')::bigint;
    path := v_path || '/' || id;
  elsif v_asked.cursor #> '{todo,0}' is not null then
    task := 'verify_messages';
    id := (v_asked.cursor #>> '{todo,0,id}')::bigint;
    path := v_path || '/' || id || '/messages';
    query := 'after=' || (v_asked.cursor #>> '{todo,0,after}');
    array_at := '{payload}';
  else
    task := 'verify_page';
    -- As far as the mirror is whole, the page on which the range begins is known.
    id := coalesce((v_asked.cursor ->> 'page')::bigint, 1 + (
      select count(*) from chatwoot.conversations as rows
      where rows.account_id = rest_verify_next.account_id and rows.created_at < v_asked.since and rows.deleted_at is null) / 25);
    path := v_path;
    query := 'status=all&sort_by=created_at_asc&page=' || id;
    array_at := '{data,payload}';
  end if;
end
$$;
comment on function sync.rest_verify_next is 'The next request of the oldest comparison that was asked for; task is null when there is none.';

create function sync.rest_verify_conversations(
  verification sync.verifications, day date, conversations jsonb[], gone bigint[], contacts jsonb,
  read_at timestamptz, as_of timestamptz
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account_id bigint := (rest_verify_conversations.verification).account_id;
  v_asked bigint := (rest_verify_conversations.verification).verification_id;
  v_ids bigint[];
  v_facts jsonb[];
  v_differing bigint[];
  v_row record;
  v_changed bigint := 0;
begin
  select array_agg(people.id), array_agg(people.facts) into v_ids, v_facts
  from (
    select distinct on (people.id) people.id, sync.rest_facts('chatwoot.contacts', people.record) as facts
    from unnest(rest_verify_conversations.conversations) as given (conversation),
      lateral (select (given.conversation #>> '{meta,sender,id}')::bigint as id,
        inbox.contact_record(given.conversation #> '{meta,sender}') as record) as people
    where not rest_verify_conversations.contacts @> to_jsonb(people.id)
    order by people.id
  ) as people;
  v_ids := coalesce(v_ids, '{}');
  v_differing := sync.compare(v_account_id, v_asked, 'rest', rest_verify_conversations.day, 'contacts', v_ids,
    coalesce(v_facts, '{}'), v_ids);
  if v_differing <> '{}' then
    perform sync.distrust(v_account_id, 'contacts', v_differing, rest_verify_conversations.read_at);
    for v_row in select told.id, told.facts from unnest(v_ids, v_facts) as told (id, facts)
      where told.id = any (v_differing) order by told.id
    loop
      v_changed := v_changed + sync.rest_merge_person(v_account_id, 'contact', v_row.id, v_row.facts,
        rest_verify_conversations.read_at);
    end loop;
    perform sync.note_healed(v_account_id, v_asked, 'rest', rest_verify_conversations.day, 'contacts', v_ids, v_facts, v_differing);
  end if;

  select coalesce(array_agg((given.conversation ->> 'id')::bigint), '{}'),
    coalesce(array_agg(sync.rest_facts('chatwoot.conversations', inbox.conversation_record(sync.rest_conversation(given.conversation)))), '{}')
  into v_ids, v_facts
  from unnest(rest_verify_conversations.conversations) as given (conversation);
  v_differing := sync.compare(v_account_id, v_asked, 'rest', rest_verify_conversations.day, 'conversations', v_ids, v_facts,
    rest_verify_conversations.gone);
  if v_differing <> '{}' then
    perform sync.distrust(v_account_id, 'conversations', v_differing, rest_verify_conversations.read_at);
    v_changed := v_changed + sync.rest_merge_conversations(v_account_id, array(
      select given.conversation from unnest(rest_verify_conversations.conversations) as given (conversation)
      where (given.conversation ->> 'id')::bigint = any (v_differing)), rest_verify_conversations.read_at);
    for v_row in select lost.id from unnest(rest_verify_conversations.gone) as lost (id) order by 1 loop
      v_changed := v_changed + chatwoot.bury('conversation', v_account_id, v_row.id, rest_verify_conversations.read_at)::integer;
    end loop;
    insert into sync.contact_checks (account_id, contact_id, due_at)
    select distinct v_account_id, rows.contact_id, rest_verify_conversations.as_of from chatwoot.conversations as rows
    where rows.account_id = v_account_id and rows.display_id = any (rest_verify_conversations.gone)
      and rows.contact_id is not null order by 2
    on conflict do nothing;
    perform sync.note_healed(v_account_id, v_asked, 'rest', rest_verify_conversations.day, 'conversations', v_ids, v_facts, v_differing);
  end if;
  return v_changed;
end
$$;
comment on function sync.rest_verify_conversations is
  'Compares conversations that began on a day, and their contacts, with the mirror and puts right what differs; gone are those that are only in the mirror. Returns how many rows changed.';

create function sync.rest_verify_page(
  verification sync.verifications, page bigint, answer jsonb, read_at timestamptz, as_of timestamptz,
  inout cursor jsonb, out changed bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account_id bigint := (rest_verify_page.verification).account_id;
  -- REST shows whole seconds.
  v_since timestamptz := date_trunc('second', (rest_verify_page.verification).since);
  v_until timestamptz := date_trunc('second', (rest_verify_page.verification).until);
  v_items jsonb[] := array(select items.item
    from jsonb_array_elements(rest_verify_page.answer #> '{data,payload}') as items (item));
  v_listed bigint[] := array(select (items.item ->> 'id')::bigint from unnest(v_items) as items (item));
  v_total bigint := (rest_verify_page.answer #>> '{data,meta,all_count}')::bigint;
  v_rows integer := cardinality(v_items);
  v_size bigint := greatest(v_rows, (cursor ->> 'size')::bigint, 1);
  v_seek bigint := coalesce((cursor ->> 'seek')::bigint, 1);
  v_lower timestamptz;
  v_upper timestamptz;
  v_boundary bigint[];
  v_is_last boolean;
  v_candidates bigint[];
  v_fresh jsonb[];
  v_day record;
  v_contacts jsonb;
begin
  changed := 0;
  cursor := cursor || jsonb_build_object('size', v_size, 'page', rest_verify_page.page);
  if not cursor ? 'upper' then
    if rest_verify_page.page > 1 and coalesce(chatwoot.instant(v_items[1] -> 'created_at') >= v_since, true) then
      cursor := cursor || jsonb_build_object('seek', v_seek * 2, 'page',
        greatest(1, least(rest_verify_page.page - v_seek, ceil(v_total::numeric / v_size)::bigint)));
      return;
    end if;
    cursor := cursor || jsonb_build_object('upper', v_since, 'boundary', '[]'::jsonb, 'contacts', '[]'::jsonb);
  end if;
  v_lower := (cursor ->> 'upper')::timestamptz;
  v_boundary := array(select listed.id::bigint from jsonb_array_elements_text(cursor -> 'boundary') as listed (id));
  v_is_last := v_rows = 0 or chatwoot.instant(v_items[v_rows] -> 'created_at') >= v_until
    or coalesce((rest_verify_page.page - 1) * v_size + v_rows >= v_total, v_rows < v_size);
  -- The last second of a page may go on on the next one, so the mirror is asked for it only then.
  v_upper := case when v_is_last then least(v_until, date_trunc('second', rest_verify_page.read_at - interval '60 seconds'))
    else greatest(v_lower, chatwoot.instant(v_items[v_rows] -> 'created_at')) end;
  v_candidates := array(
    select rows.display_id from chatwoot.conversations as rows
    where rows.account_id = v_account_id and rows.deleted_at is null
      and rows.created_at >= v_lower and rows.created_at < v_upper
      and rows.display_id <> all (v_boundary) and rows.display_id <> all (v_listed)
      and not coalesce(cursor -> 'alive' @> to_jsonb(rows.display_id), false) order by 1);
  -- Pages shift while they are read, so who is not on one is asked for before it is called gone.
  if exists (select from unnest(v_candidates) as lost (id)
    where not coalesce(cursor -> 'gone' @> to_jsonb(lost.id), false))
  then
    cursor := cursor || jsonb_build_object('suspects', (select jsonb_agg(lost.id)
      from unnest(v_candidates) as lost (id) where not coalesce(cursor -> 'gone' @> to_jsonb(lost.id), false)));
    return;
  end if;
  v_fresh := array(
    select items.item from unnest(v_items) as items (item),
      lateral (select chatwoot.instant(items.item -> 'created_at') as created_at, (items.item ->> 'id')::bigint as id) as told
    where told.created_at >= v_since and told.created_at < v_until
      and (told.created_at > v_lower or (told.created_at = v_lower and told.id <> all (v_boundary))));
  v_contacts := cursor -> 'contacts';
  for v_day in
    select days.day, coalesce(array_agg(days.item) filter (where days.item is not null), '{}') as items,
      coalesce(array_agg(days.id) filter (where days.item is null), '{}') as gone
    from (
      select (chatwoot.instant(items.item -> 'created_at') at time zone 'UTC')::date as day, items.item, null::bigint as id
      from unnest(v_fresh) as items (item)
      union all
      select (rows.created_at at time zone 'UTC')::date, null, rows.display_id from chatwoot.conversations as rows
      where rows.account_id = v_account_id and rows.display_id = any (v_candidates)
    ) as days
    group by days.day order by days.day
  loop
    changed := changed + sync.rest_verify_conversations(rest_verify_page.verification, v_day.day, v_day.items, v_day.gone,
      case when cursor ->> 'day' = v_day.day::text then v_contacts else '[]' end, rest_verify_page.read_at, rest_verify_page.as_of);
    v_contacts := case when cursor ->> 'day' = v_day.day::text then v_contacts else '[]' end
      || (select coalesce(jsonb_agg(distinct items.item #> '{meta,sender,id}'), '[]') from unnest(v_day.items) as items (item));
    cursor := cursor || jsonb_build_object('day', v_day.day);
  end loop;
  cursor := (cursor - array['gone', 'alive', 'seek']) || jsonb_build_object('contacts', v_contacts, 'is_last', v_is_last,
    'total', v_total, 'upper', v_upper,
    -- Where some went, those behind them moved up; what has been compared is not compared again.
    'page', greatest(1, rest_verify_page.page + 1 - ceil(greatest((cursor ->> 'total')::bigint - v_total, 0)::numeric / v_size)::bigint),
    'boundary', (select coalesce(jsonb_agg(same.id), '[]') from (
      select unnest(v_boundary) as id where v_upper = v_lower
      union select (items.item ->> 'id')::bigint from unnest(v_items) as items (item)
      where chatwoot.instant(items.item -> 'created_at') = v_upper) as same),
    'todo', (select coalesce(jsonb_agg(jsonb_build_object('id', items.item -> 'id', 'after', 0, 'day',
        (chatwoot.instant(items.item -> 'created_at') at time zone 'UTC')::date)), '[]')
      from unnest(v_fresh) as items (item)));
end
$$;
comment on function sync.rest_verify_page is
  'Compares a page of conversations with the mirror, or notes which have to be asked for first; returns the cursor and how many rows changed.';

create function sync.rest_verify_messages(
  verification sync.verifications, answer jsonb, read_at timestamptz, inout cursor jsonb, out changed bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account_id bigint := (rest_verify_messages.verification).account_id;
  v_asked bigint := (rest_verify_messages.verification).verification_id;
  v_display_id bigint := (cursor #>> '{todo,0,id}')::bigint;
  v_day date := (cursor #>> '{todo,0,day}')::date;
  v_after bigint := (cursor #>> '{todo,0,after}')::bigint;
  v_all bigint[] := array(select (elements.message ->> 'id')::bigint
    from jsonb_array_elements(rest_verify_messages.answer -> 'payload') as elements (message) order by 1 desc);
  -- Ten are left for the next answer, which is ordered by time and not by id.
  v_limit bigint := case when cardinality(v_all) >= 100 then v_all[11] end;
  v_ids bigint[];
  v_facts jsonb[];
  v_differing bigint[];
  v_row record;
begin
  changed := 0;
  select coalesce(array_agg(told.id), '{}'), coalesce(array_agg(sync.rest_facts('chatwoot.messages',
    inbox.message_record(told.message, v_display_id, told.message -> 'inbox_id')
      || jsonb_build_object('delivery_status', told.message -> 'status'))), '{}')
  into v_ids, v_facts
  from (
    select (elements.message ->> 'id')::bigint as id, elements.message
    from jsonb_array_elements(rest_verify_messages.answer -> 'payload') as elements (message)
  ) as told
  where v_limit is null or told.id <= v_limit;
  v_differing := sync.compare(v_account_id, v_asked, 'rest', v_day, 'messages', v_ids, v_facts, array(
    select rows.message_id from chatwoot.messages as rows
    where rows.account_id = v_account_id and rows.conversation_display_id = v_display_id and rows.message_id > v_after
      and (rows.message_id <= coalesce(v_limit, v_all[1])
        or (v_limit is null and rows.created_at < rest_verify_messages.read_at - interval '60 seconds'))
      -- One that was found gone before is no news.
      and (rows.deleted_at is null or rows.message_id = any (v_ids))));
  if v_differing <> '{}' then
    perform sync.distrust(v_account_id, 'messages', v_differing, rest_verify_messages.read_at);
    for v_row in
      select told.id, elements.message
      from unnest(v_differing) as told (id)
      left join jsonb_array_elements(rest_verify_messages.answer -> 'payload') as elements (message)
        on (elements.message ->> 'id')::bigint = told.id
      order by told.id
    loop
      changed := changed + case when v_row.message is null
        then chatwoot.bury('message', v_account_id, v_row.id, rest_verify_messages.read_at, v_display_id)::integer
        else sync.rest_merge_message(v_account_id, v_display_id, v_row.message, rest_verify_messages.read_at) end;
    end loop;
    perform sync.note_healed(v_account_id, v_asked, 'rest', v_day, 'messages', v_ids, v_facts, v_differing);
  end if;
  cursor := case when v_limit is not null then jsonb_set(cursor, '{todo,0,after}', to_jsonb(v_limit)) else cursor #- '{todo,0}' end;
end
$$;
comment on function sync.rest_verify_messages is 'Compares messages of one conversation with the mirror and puts right what differs; returns the cursor and how many rows changed.';

create function sync.rest_verify_apply(
  account_id bigint, task text, id bigint, kind text, answer jsonb, read_at timestamptz, as_of timestamptz
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_asked sync.verifications;
  v_cursor jsonb;
  v_applied record;
  v_changed bigint := 0;
begin
  select * into v_asked from sync.verifications as asked
  where asked.account_id = rest_verify_apply.account_id and asked.door = 'rest' and asked.finished_at is null
  order by asked.verification_id limit 1 for update;
  if not found then
    return 0;
  end if;
  v_cursor := case when rest_verify_apply.kind is null then v_asked.cursor - 'failures' else v_asked.cursor end;
  case
    when rest_verify_apply.kind is null and rest_verify_apply.task = 'verify_page' then
      v_applied := sync.rest_verify_page(v_asked, rest_verify_apply.id, rest_verify_apply.answer, rest_verify_apply.read_at, rest_verify_apply.as_of, v_cursor);
      v_changed := v_applied.changed;
      v_cursor := v_applied.cursor;
    when rest_verify_apply.kind is null and rest_verify_apply.task = 'verify_messages' then
      v_applied := sync.rest_verify_messages(v_asked, rest_verify_apply.answer, rest_verify_apply.read_at, v_cursor);
      v_changed := v_applied.changed;
      v_cursor := v_applied.cursor;
    when rest_verify_apply.task = 'verify_show' and (rest_verify_apply.kind is null or rest_verify_apply.kind = 'missing') then
      if rest_verify_apply.kind is null then
        v_changed := sync.rest_apply_conversations(rest_verify_apply.account_id, jsonb_build_array(rest_verify_apply.answer),
          rest_verify_apply.read_at, 1::smallint, rest_verify_apply.as_of);
      end if;
      v_cursor := (v_cursor #- '{suspects,0}') || jsonb_build_object(
        case when rest_verify_apply.kind is null then 'alive' else 'gone' end,
        coalesce(v_cursor -> case when rest_verify_apply.kind is null then 'alive' else 'gone' end, '[]')
          || to_jsonb(rest_verify_apply.id));
    when rest_verify_apply.task = 'verify_messages' and rest_verify_apply.kind = 'missing' then
      -- Deleted since its page was read; the recent conversations will show it.
      v_cursor := v_cursor #- '{todo,0}';
    when rest_verify_apply.task = 'verify_messages' and rest_verify_apply.kind = 'too_large' then
      v_cursor := (v_cursor #- '{todo,0}') || jsonb_build_object('problem',
        format('The messages of conversation %s are too large to be compared.', rest_verify_apply.id));
    else
      v_cursor := v_cursor || jsonb_build_object('failures', coalesce((v_cursor ->> 'failures')::integer, 0) + 1);
      if (v_cursor ->> 'failures')::integer >= 10 then
        perform sync.finish_verification(v_asked.account_id, v_asked.verification_id, rest_verify_apply.as_of,
          format('Chatwoot gave no answer that can be compared, ten times in a row (%s).', rest_verify_apply.kind));
        return 0;
      end if;
  end case;
  update sync.verifications as existing set state = 'running', cursor = v_cursor
  where existing.account_id = v_asked.account_id and existing.verification_id = v_asked.verification_id;
  if (v_cursor ->> 'is_last')::boolean and v_cursor -> 'todo' = '[]' and v_cursor #> '{suspects,0}' is null then
    perform sync.finish_verification(v_asked.account_id, v_asked.verification_id, rest_verify_apply.as_of, v_cursor ->> 'problem');
  end if;
  return v_changed;
end
$$;
comment on function sync.rest_verify_apply is
  'Takes a comparison one answer further, or notes that there was none (kind); returns how many rows changed.';

do $$
declare
  v_routine regprocedure;
begin
  for v_routine in
    select routines.oid::regprocedure from pg_proc as routines
    where routines.pronamespace = 'sync'::regnamespace
      and (routines.proname like 'rest\_verify%' or routines.proname in ('rest_facts', 'rest_distrust'))
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_routine);
  end loop;
end
$$;
