-- The REST door, second part: what is asked next, and what becomes of each answer. How changes are found:
--   changes   every tick, one request: conversations whose updated_at moved since the last time, and two minutes more;
--   reads     the messages of those, from so far back that the last ones are seen again; and once more when the
--             conversation has been quiet for 10 minutes, 30, 90 and so on for two days, since editing or deleting a
--             message and its delivery move no updated_at;
--   recent    every 10 minutes, one request: all conversations of the last two days, since being looked at and losing an
--             agent, team or label move no updated_at either, and one that is missing there may be deleted;
--   lists     every 10 minutes: people, teams, inboxes, labels, survey answers. Conversations that name somebody who is
--             gone are read one by one, however old;
--   history   page by page, after all that. It begins anew when the last tick is over a week ago.
-- A change that moves no updated_at of a conversation quiet for over two days is found by api.verify_sync.

create function sync.rest_look_again(account_id bigint, display_ids bigint[], as_of timestamptz) returns void
language sql volatile security invoker set search_path = '' as $$
  insert into sync.conversation_reads as existing (account_id, display_id, priority, due_at, is_show_due)
  select distinct rest_look_again.account_id, given.display_id, 1, rest_look_again.as_of, true
  from unnest(rest_look_again.display_ids) as given (display_id) order by 2
  on conflict on constraint conversation_reads_pkey do update set is_show_due = true,
    priority = case when existing.due_at is null then 1 else least(existing.priority, 1) end,
    due_at = least(existing.due_at, excluded.due_at)
$$;
comment on function sync.rest_look_again is 'Queues conversations to be read themselves, not only their messages.';

create function sync.rest_look_back(account_id bigint, display_id bigint, read_until_message_id bigint) returns bigint
-- One answer holds 100: sixty known ones to see again, and room for what is new.
language sql stable security invoker set search_path = '' as $$
  select least(coalesce(rest_look_back.read_until_message_id, 0), coalesce((
    select messages.message_id from chatwoot.messages
    where messages.account_id = rest_look_back.account_id and messages.conversation_display_id = rest_look_back.display_id
    order by messages.message_id desc offset 60 limit 1), 0))
$$;
comment on function sync.rest_look_back is 'The message after which a conversation is read again: never beyond what has been read to the end.';

create function sync.rest_next(
  source sync.sources, tick_at timestamptz, as_of timestamptz,
  out task text, out path text, out query text, out array_at text[], out id bigint
)
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_account text := '/api/v1/accounts/' || (rest_next.source).account_id;
  v_cursor jsonb := (rest_next.source).cursor;
  v_read sync.conversation_reads;
begin
  if coalesce((v_cursor ->> 'probed_at')::timestamptz <= rest_next.as_of - interval '1 hour', true) then
    task := 'probe';
    path := v_account || '/conversations';
    return;
  end if;

  select lists.name, lists.array_at into task, array_at
  from (values (1, 'account', null::text[]), (2, 'agents', '{}'), (3, 'agent_bots', '{}'), (4, 'teams', '{}'),
    (5, 'inboxes', '{payload}'), (6, 'labels', '{payload}'), (7, 'csat_survey_responses', '{}')) as lists (place, name, array_at)
  where coalesce((v_cursor #>> array['lists', lists.name])::timestamptz <= rest_next.as_of - interval '10 minutes', true)
  order by lists.place limit 1;
  if found then
    path := v_account || case when task <> 'account' then '/' || task else '' end;
    if task = 'csat_survey_responses' then
      query := format('sort=created_at&since=%s&until=%s&page=%s', v_cursor #>> '{csat,since}',
        v_cursor #>> '{csat,until}', v_cursor #>> '{csat,page}');
    end if;
    return;
  end if;

  if (rest_next.source).changed_until < rest_next.tick_at then
    task := 'changes';
    path := v_account || '/conversations';
    query := 'status=all&updated_within=' || 120
      + ceil(extract(epoch from rest_next.as_of - (rest_next.source).changed_until))::bigint;
    array_at := '{data,payload}';
    return;
  end if;

  if coalesce((v_cursor ->> 'swept_at')::timestamptz <= rest_next.as_of - interval '10 minutes', true) then
    task := 'recent';
    path := v_account || '/conversations';
    id := coalesce((v_cursor ->> 'sweep_seconds')::bigint, 172800);
    query := 'status=all&updated_within=' || id;
    array_at := '{data,payload}';
    return;
  end if;

  select due.* into v_read
  from (values (0), (1), (2)) as queues (priority)
  cross join lateral (
    select reads.* from sync.conversation_reads as reads
    where reads.account_id = (rest_next.source).account_id and reads.priority = queues.priority
      and reads.due_at <= rest_next.as_of
    order by reads.due_at, reads.display_id limit 1
  ) as due
  order by queues.priority limit 1;
  if found then
    id := v_read.display_id;
    path := v_account || '/conversations/' || id;
    if v_read.is_show_due then
      task := 'show';
      return;
    end if;
    task := 'read';
    path := path || '/messages';
    array_at := '{payload}';
    query := case
      when v_read.walk_before_message_id = 0 then null
      when v_read.walk_before_message_id > 0 then 'before=' || v_read.walk_before_message_id
      else 'after=' || coalesce(v_read.walk_after_message_id,
        sync.rest_look_back(v_read.account_id, v_read.display_id, v_read.read_until_message_id)) end;
    return;
  end if;

  select checks.contact_id into id from sync.contact_checks as checks
  where checks.account_id = (rest_next.source).account_id and checks.due_at <= rest_next.as_of
  order by checks.due_at, checks.contact_id limit 1;
  if found then
    task := 'contact';
    path := v_account || '/contacts/' || id;
    return;
  end if;

  select verifying.* into task, path, query, array_at, id
  from sync.rest_verify_next((rest_next.source).account_id) as verifying;
  if task is not null then
    return;
  end if;

  if (rest_next.source).backfill ? 'page' then
    task := 'history';
    path := v_account || '/conversations';
    query := 'status=all&sort_by=created_at_asc&page=' || ((rest_next.source).backfill ->> 'page');
    array_at := '{data,payload}';
  end if;
end
$$;
comment on function sync.rest_next is 'The next request of a source, most urgent first; task is null when there is nothing to do.';

create function sync.rest_apply_list(
  account_id bigint, task text, answer jsonb, read_at timestamptz, as_of timestamptz,
  inout cursor jsonb, out changed bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_items jsonb := case when jsonb_typeof(rest_apply_list.answer) = 'array' then rest_apply_list.answer
    else rest_apply_list.answer -> 'payload' end;
  v_ids bigint[];
  v_gone bigint[];
  v_item jsonb;
  v_key jsonb;
  v_record jsonb;
  v_titles text[];
begin
  changed := 0;
  if rest_apply_list.task not in ('account', 'labels') then
    v_ids := array(select (items.item ->> 'id')::bigint from jsonb_array_elements(v_items) as items (item));
    if array_position(v_ids, null) is not null then
      raise exception 'An item has no id' using errcode = '22000';
    end if;
  end if;
  case rest_apply_list.task
    when 'account' then
      v_key := jsonb_build_object('account_id', rest_apply_list.account_id);
      v_record := jsonb_build_object('name', rest_apply_list.answer -> 'name');
      if chatwoot.is_news('chatwoot.accounts', v_key, v_record) then
        changed := chatwoot.merge_account(rest_apply_list.account_id, v_record, rest_apply_list.read_at)::integer;
      end if;

    when 'agents', 'agent_bots' then
      -- The token's owner is one of the agents.
      if rest_apply_list.task = 'agents' and cardinality(v_ids) = 0 then
        raise exception 'The list of agents is empty' using errcode = '22000';
      end if;
      for v_item in select items.item from jsonb_array_elements(v_items) as items (item)
        order by (items.item ->> 'id')::bigint
      loop
        changed := changed + sync.rest_merge_person(rest_apply_list.account_id,
          case rest_apply_list.task when 'agents' then 'user' else 'agent_bot' end, (v_item ->> 'id')::bigint,
          inbox.agent_record(v_item) || case when rest_apply_list.task = 'agents' and v_item ? 'availability_status'
            then jsonb_build_object('availability', case when v_item ->> 'availability_status' in ('online', 'busy', 'offline')
              then v_item ->> 'availability_status' end) else '{}' end,
          rest_apply_list.read_at);
        if rest_apply_list.task = 'agents' then
          changed := changed + chatwoot.revive('user', rest_apply_list.account_id, (v_item ->> 'id')::bigint,
            rest_apply_list.read_at)::integer;
        end if;
      end loop;
      if rest_apply_list.task = 'agents' then
        v_gone := array(select rows.agent_id from chatwoot.agents as rows
          where rows.account_id = rest_apply_list.account_id and rows.kind = 'user' and rows.deleted_at is null
            and rows.version_at <= rest_apply_list.read_at and rows.agent_id <> all (v_ids) order by 1);
        perform chatwoot.bury('user', rest_apply_list.account_id, gone.id, rest_apply_list.read_at)
        from unnest(v_gone) as gone (id);
        perform sync.rest_look_again(rest_apply_list.account_id, array(
          select rows.display_id from chatwoot.conversations as rows
          where rows.account_id = rest_apply_list.account_id and rows.assignee_kind = 'user'
            and rows.assignee_id = any (v_gone) and rows.deleted_at is null), rest_apply_list.as_of)
        where cardinality(v_gone) > 0;
      end if;

    when 'teams' then
      for v_item in select items.item from jsonb_array_elements(v_items) as items (item)
        order by (items.item ->> 'id')::bigint
      loop
        v_key := jsonb_build_object('account_id', rest_apply_list.account_id, 'team_id', v_item -> 'id');
        v_record := jsonb_build_object('name', v_item -> 'name');
        if chatwoot.is_news('chatwoot.teams', v_key, v_record) then
          changed := changed + chatwoot.merge_team(rest_apply_list.account_id, (v_item ->> 'id')::bigint, v_record,
            rest_apply_list.read_at)::integer;
        end if;
        changed := changed + chatwoot.revive('team', rest_apply_list.account_id, (v_item ->> 'id')::bigint,
          rest_apply_list.read_at)::integer;
      end loop;
      v_gone := array(select rows.team_id from chatwoot.teams as rows
        where rows.account_id = rest_apply_list.account_id and rows.deleted_at is null
          and rows.version_at <= rest_apply_list.read_at and rows.team_id <> all (v_ids) order by 1);
      perform chatwoot.bury('team', rest_apply_list.account_id, gone.id, rest_apply_list.read_at)
      from unnest(v_gone) as gone (id);
      perform sync.rest_look_again(rest_apply_list.account_id, array(
        select rows.display_id from chatwoot.conversations as rows
        where rows.account_id = rest_apply_list.account_id and rows.team_id = any (v_gone)
          and rows.deleted_at is null), rest_apply_list.as_of)
      where cardinality(v_gone) > 0;

    when 'inboxes' then
      for v_item in select items.item from jsonb_array_elements(v_items) as items (item)
        order by (items.item ->> 'id')::bigint
      loop
        v_key := jsonb_build_object('account_id', rest_apply_list.account_id, 'inbox_id', v_item -> 'id');
        -- Named fields alone: what an administrator is shown of an inbox includes its passwords.
        v_record := inbox.inbox_record(v_item - 'changed_attributes')
          || inbox.without_absent(jsonb_build_object('name', v_item -> 'name', 'channel', v_item -> 'channel_type',
              'reauthorization_required', v_item -> 'reauthorization_required'), v_item,
            array['name', 'channel', 'reauthorization_required'], array['name', 'channel_type', 'reauthorization_required']);
        if chatwoot.is_news('chatwoot.inboxes', v_key, v_record) then
          changed := changed + chatwoot.merge_inbox(rest_apply_list.account_id, (v_item ->> 'id')::bigint, v_record,
            rest_apply_list.read_at)::integer;
        end if;
        changed := changed + chatwoot.revive('inbox', rest_apply_list.account_id, (v_item ->> 'id')::bigint,
          rest_apply_list.read_at)::integer;
      end loop;
      v_gone := array(select rows.inbox_id from chatwoot.inboxes as rows
        where rows.account_id = rest_apply_list.account_id and rows.deleted_at is null
          and rows.version_at <= rest_apply_list.read_at and rows.inbox_id <> all (v_ids) order by 1);
      perform chatwoot.bury('inbox', rest_apply_list.account_id, gone.id, rest_apply_list.read_at)
      from unnest(v_gone) as gone (id);

    when 'labels' then
      perform chatwoot.merge_labels(rest_apply_list.account_id, jsonb_path_query_array(v_items, '$[*].title'));
      v_titles := array(select gone.title from jsonb_array_elements_text(coalesce(cursor -> 'labels', '[]')) as gone (title)
        where not v_items @> jsonb_build_array(jsonb_build_object('title', gone.title)));
      perform sync.rest_look_again(rest_apply_list.account_id, array(
        select rows.display_id from chatwoot.conversations as rows
        where rows.account_id = rest_apply_list.account_id and rows.labels && v_titles
          and rows.deleted_at is null), rest_apply_list.as_of)
      where cardinality(v_titles) > 0;
      cursor := cursor || jsonb_build_object('labels', jsonb_path_query_array(v_items, '$[*].title'));

    when 'csat_survey_responses' then
      changed := sync.rest_apply_csat(rest_apply_list.account_id, v_items, rest_apply_list.read_at, rest_apply_list.as_of);
      if cardinality(v_ids) >= 25 then
        cursor := jsonb_set(cursor, '{csat,page}', to_jsonb((cursor #>> '{csat,page}')::integer + 1));
        return;
      end if;
      cursor := jsonb_set(cursor, '{csat}', jsonb_build_object('done_at', floor(extract(epoch from rest_apply_list.as_of))));
  end case;
  cursor := cursor || jsonb_build_object('lists',
    coalesce(cursor -> 'lists', '{}') || jsonb_build_object(rest_apply_list.task, rest_apply_list.as_of));
end
$$;
comment on function sync.rest_apply_list is
  'Merges one of the account''s lists, buries what is no longer in it and queues the conversations that name it; returns the cursor and how many rows changed.';

create function sync.rest_apply_csat(account_id bigint, answers jsonb, read_at timestamptz, as_of timestamptz)
returns bigint
-- An answer is in its message as well, and giving it moves nothing of the conversation: so the message is read again.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_row record;
  v_record jsonb;
  v_is_news boolean;
  v_changed bigint := 0;
begin
  for v_row in
    select (answers.answer ->> 'message_id')::bigint as message_id,
      (answers.answer ->> 'conversation_id')::bigint as display_id,
      (answers.answer ->> 'rating')::smallint as rating, answers.answer ->> 'feedback_message' as feedback,
      chatwoot.instant(answers.answer -> 'created_at') as created_at
    from jsonb_array_elements(rest_apply_csat.answers) as answers (answer) order by 1
  loop
    v_record := jsonb_strip_nulls(jsonb_build_object('conversation_display_id', v_row.display_id,
      'rating', v_row.rating, 'feedback_message', v_row.feedback));
    v_is_news := chatwoot.is_news('chatwoot.csat_responses',
      jsonb_build_object('account_id', rest_apply_csat.account_id, 'message_id', v_row.message_id), v_record);
    continue when not v_is_news and not exists (
      select from chatwoot.csat_responses as rows where rows.account_id = rest_apply_csat.account_id
        and rows.message_id = v_row.message_id and rows.first_answered_at > v_row.created_at);
    if exists (select from chatwoot.messages as rows
      where rows.account_id = rest_apply_csat.account_id and rows.message_id = v_row.message_id)
    then
      v_changed := v_changed + chatwoot.merge_csat_response(rest_apply_csat.account_id, v_row.message_id, v_record,
        rest_apply_csat.read_at, v_row.created_at)::integer;
    end if;
    continue when not v_is_news;
    insert into sync.conversation_reads as existing (account_id, display_id, priority, due_at, is_show_due)
    values (rest_apply_csat.account_id, v_row.display_id, 0, rest_apply_csat.as_of, true)
    on conflict on constraint conversation_reads_pkey do update set priority = 0,
      due_at = least(existing.due_at, excluded.due_at),
      -- One that was never read to the end will be, from its beginning.
      walk_after_message_id = case when existing.read_updated_at is not null
        -- From before the survey, but not from beyond what has been read: what is between would never be.
        then least(existing.walk_after_message_id, v_row.message_id - 1,
          sync.rest_look_back(existing.account_id, existing.display_id, existing.read_until_message_id))
        else existing.walk_after_message_id end;
  end loop;
  return v_changed;
end
$$;
comment on function sync.rest_apply_csat is 'Merges listed survey answers and queues their messages where an answer was news; returns how many rows changed.';

create function sync.rest_apply_messages(
  account_id bigint, display_id bigint, answer jsonb, read_at timestamptz, as_of timestamptz,
  out changed bigint, out is_first boolean
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_read sync.conversation_reads;
  v_ids bigint[] := array(select (elements.message ->> 'id')::bigint
    from jsonb_array_elements(rest_apply_messages.answer -> 'payload') as elements (message) order by 1 desc);
  v_age interval;
begin
  changed := 0;
  is_first := false;
  if not exists (select from chatwoot.conversations as rows
    where rows.account_id = rest_apply_messages.account_id and rows.display_id = rest_apply_messages.display_id)
  then
    perform sync.rest_look_again(rest_apply_messages.account_id, array[rest_apply_messages.display_id], rest_apply_messages.as_of);
    return;
  end if;
  changed := sync.rest_merge_messages(rest_apply_messages.account_id, rest_apply_messages.display_id,
    rest_apply_messages.answer, rest_apply_messages.read_at);
  select * into v_read from sync.conversation_reads as existing
  where existing.account_id = rest_apply_messages.account_id and existing.display_id = rest_apply_messages.display_id;
  if v_read.walk_before_message_id is not null and cardinality(v_ids) >= 20
    and v_ids[cardinality(v_ids)] > coalesce(v_read.read_until_message_id, 0)
  then
    update sync.conversation_reads as existing set walk_before_message_id = v_ids[cardinality(v_ids)]
    where existing.account_id = v_read.account_id and existing.display_id = v_read.display_id;
    return;
  elsif v_read.walk_before_message_id is null and cardinality(v_ids) >= 100 then
    -- Ten are read twice: an answer is ordered by time, and two messages of one moment may have their ids the other way.
    update sync.conversation_reads as existing set walk_after_message_id = v_ids[11]
    where existing.account_id = v_read.account_id and existing.display_id = v_read.display_id;
    return;
  end if;
  is_first := v_read.read_updated_at is null;
  v_age := greatest(rest_apply_messages.read_at - coalesce(v_read.source_updated_at, rest_apply_messages.read_at), interval '0');
  update sync.conversation_reads as existing set priority = 1,
    read_updated_at = coalesce(existing.source_updated_at, rest_apply_messages.read_at),
    read_until_message_id = greatest(existing.read_until_message_id, v_ids[1],
      case when existing.walk_before_message_id is not null then (
        select max(rows.message_id) from chatwoot.messages as rows
        where rows.account_id = v_read.account_id and rows.conversation_display_id = v_read.display_id) end),
    walk_after_message_id = null, walk_before_message_id = null, missing_since = null, failures = 0, problem = null,
    due_at = case when v_age < interval '2 days'
      then rest_apply_messages.as_of + least(greatest(interval '10 minutes', 2 * v_age), interval '2 days 1 second' - v_age) end
  where existing.account_id = v_read.account_id and existing.display_id = v_read.display_id;
end
$$;
comment on function sync.rest_apply_messages is
  'Merges messages of a conversation and notes how far its reading is and when it is due again; is_first when it has now been read to the end for the first time.';

create function sync.rest_note_missing(account_id bigint, display_id bigint, read_at timestamptz, as_of timestamptz)
returns bigint
-- Not found is no proof: answers go astray. Only who is still missing a minute later is buried; and looked for once more
-- a day after that.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_read sync.conversation_reads;
  v_is_news boolean;
begin
  select * into v_read from sync.conversation_reads as existing
  where existing.account_id = rest_note_missing.account_id and existing.display_id = rest_note_missing.display_id;
  if v_read.missing_since is null or not v_read.is_show_due
    or v_read.missing_since > rest_note_missing.read_at - interval '60 seconds'
  then
    update sync.conversation_reads as existing set is_show_due = true,
      missing_since = coalesce(existing.missing_since, rest_note_missing.read_at),
      due_at = rest_note_missing.as_of + interval '61 seconds', priority = 1
    where existing.account_id = v_read.account_id and existing.display_id = v_read.display_id;
    return 0;
  end if;
  v_is_news := chatwoot.bury('conversation', v_read.account_id, v_read.display_id, v_read.missing_since);
  insert into sync.contact_checks (account_id, contact_id, due_at)
  select v_read.account_id, v_read.contact_id, rest_note_missing.as_of where v_read.contact_id is not null
  on conflict do nothing;
  update sync.conversation_reads as existing set priority = 1, failures = 0, problem = null,
    due_at = case when v_is_news then rest_note_missing.as_of + interval '1 day' end
  where existing.account_id = v_read.account_id and existing.display_id = v_read.display_id;
  return v_is_news::integer;
end
$$;
comment on function sync.rest_note_missing is 'Notes that a conversation was not found; the second time it is buried, and its contact is looked for. Returns how many rows changed.';

create function sync.rest_note_missing_contact(account_id bigint, contact_id bigint, read_at timestamptz, as_of timestamptz)
returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update sync.contact_checks as existing set missing_since = rest_note_missing_contact.read_at,
    due_at = rest_note_missing_contact.as_of + interval '61 seconds'
  where existing.account_id = rest_note_missing_contact.account_id
    and existing.contact_id = rest_note_missing_contact.contact_id and existing.missing_since is null;
  if found then
    return 0;
  end if;
  delete from sync.contact_checks as existing
  where existing.account_id = rest_note_missing_contact.account_id
    and existing.contact_id = rest_note_missing_contact.contact_id;
  return chatwoot.bury('contact', rest_note_missing_contact.account_id, rest_note_missing_contact.contact_id,
    rest_note_missing_contact.read_at)::integer;
end
$$;
comment on function sync.rest_note_missing_contact is 'Notes that a contact was not found; the second time it is buried. Returns how many rows changed.';

create function sync.rest_note_failure(account_id bigint, display_id bigint, as_of timestamptz, problem text) returns void
language sql volatile security invoker set search_path = '' as $$
  update sync.conversation_reads as existing set failures = existing.failures + 1, problem = left(rest_note_failure.problem, 500),
    due_at = rest_note_failure.as_of
      + case when existing.failures >= 8 then interval '1 day' else sync.back_off(existing.failures + 1) end
  where existing.account_id = rest_note_failure.account_id and existing.display_id = rest_note_failure.display_id
$$;
comment on function sync.rest_note_failure is 'Lets one conversation rest whose reading failed, longer each time and a day from the eighth on, so that it keeps no other waiting.';

create function sync.rest_apply_page(
  account_id bigint, answer jsonb, read_at timestamptz, as_of timestamptz, inout backfill jsonb, out changed bigint,
  out total bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_page bigint := (backfill ->> 'page')::bigint;
  v_rows integer := jsonb_array_length(rest_apply_page.answer #> '{data,payload}');
  v_size bigint := greatest(v_rows, (backfill ->> 'size')::bigint, 1);
  v_before bigint := (backfill ->> 'total')::bigint;
  v_pass integer := (backfill ->> 'pass')::integer;
begin
  -- More than any Chatwoot has is no number to reckon with.
  total := case when rest_apply_page.answer #>> '{data,meta,all_count}' is not null
    then least(greatest((rest_apply_page.answer #>> '{data,meta,all_count}')::numeric, 0), 1000000000) end;
  changed := 0;
  if v_rows > 0 then
    changed := sync.rest_apply_conversations(rest_apply_page.account_id, rest_apply_page.answer #> '{data,payload}',
      rest_apply_page.read_at, 2::smallint, rest_apply_page.as_of);
  end if;
  backfill := jsonb_build_object('pass', v_pass, 'size', v_size, 'total', total);
  if total < v_before then
    -- Some are gone, and those behind them moved up, perhaps onto pages that were read.
    backfill := backfill || jsonb_build_object('page', greatest(1, v_page - ceil((v_before - total)::numeric / v_size)::bigint));
  elsif v_rows > 0 and coalesce((v_page - 1) * v_size + v_rows < total, v_rows = v_size) then
    backfill := backfill || jsonb_build_object('page', v_page + 1);
  elsif v_pass < 3 and total > (select count(*) from sync.conversation_reads as reads
    where reads.account_id = rest_apply_page.account_id and reads.source_updated_at is not null)
  then
    -- One went and one came between two pages: the number alone does not show it.
    backfill := backfill || jsonb_build_object('page', 1, 'pass', v_pass + 1);
  end if;
end
$$;
comment on function sync.rest_apply_page is 'Merges a page of the history and says in backfill which is next; without page when all are listed.';

create function sync.rest_apply_recent(
  account_id bigint, answer jsonb, read_at timestamptz, as_of timestamptz, seconds bigint
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_items jsonb := rest_apply_recent.answer #> '{data,payload}';
  v_changed bigint := sync.rest_apply_conversations(rest_apply_recent.account_id, v_items, rest_apply_recent.read_at,
    0::smallint, rest_apply_recent.as_of);
  v_listed bigint[] := array(select (items.item ->> 'id')::bigint from jsonb_array_elements(v_items) as items (item));
  -- The edges of the window may be off a little.
  v_since timestamptz := rest_apply_recent.read_at - make_interval(secs => rest_apply_recent.seconds) + interval '60 seconds';
  v_until timestamptz := rest_apply_recent.read_at - interval '60 seconds';
begin
  -- Who was listed with an instant inside the window, or is known by webhook to have been active in it, and is not there
  -- now may be deleted.
  insert into sync.conversation_reads as existing
    (account_id, display_id, priority, due_at, is_show_due, missing_since, contact_id)
  select rest_apply_recent.account_id, lost.display_id, 1, rest_apply_recent.as_of + interval '61 seconds', true,
    rest_apply_recent.read_at, lost.contact_id
  from (
    select rows.display_id, rows.contact_id from chatwoot.conversations as rows
    left join sync.conversation_reads as reads
      on reads.account_id = rows.account_id and reads.display_id = rows.display_id
    where rows.account_id = rest_apply_recent.account_id and rows.deleted_at is null
      and greatest(rows.last_activity_at, reads.source_updated_at) between v_since and v_until
      and reads.missing_since is null
  ) as lost
  where lost.display_id <> all (v_listed) order by 2
  on conflict on constraint conversation_reads_pkey do update set is_show_due = true,
    missing_since = excluded.missing_since, due_at = excluded.due_at, priority = 1;
  return v_changed;
end
$$;
comment on function sync.rest_apply_recent is
  'Merges the conversations that changed within so many seconds, queues those that changed, and has those looked for that should be among them; returns how many rows changed.';

