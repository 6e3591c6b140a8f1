-- The database door's ticks: how far it has come with each source, and whose turn it is. A step is one transaction and one batch: it reads,
-- merges and moves the cursor together, so that a step cut short never happened and is simply done again.

create function sync.database_known(entity text, account_id bigint, after_key bigint, upto_key bigint) returns bigint[]
language plpgsql stable security invoker set search_path = '' as $$
begin
  return case database_known.entity
    when 'contacts' then array(select existing.contact_id from chatwoot.contacts as existing
      where existing.account_id = database_known.account_id and existing.deleted_at is null
        and existing.contact_id > database_known.after_key and existing.contact_id <= database_known.upto_key)
    when 'conversations' then array(select existing.display_id from chatwoot.conversations as existing
      where existing.account_id = database_known.account_id and existing.deleted_at is null
        and existing.display_id > database_known.after_key and existing.display_id <= database_known.upto_key)
    when 'messages' then array(select existing.message_id from chatwoot.messages as existing
      where existing.account_id = database_known.account_id and existing.deleted_at is null
        and existing.message_id > database_known.after_key and existing.message_id <= database_known.upto_key)
    else '{}'::bigint[] end;
end
$$;
comment on function sync.database_known is 'Keys of the mirror''s rows in a range that are not deleted, where deletions are looked for.';

create function sync.database_bury(entity text, account_id bigint, ids bigint[], deleted_at timestamptz) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_row record;
  v_changed bigint := 0;
begin
  for v_row in
    select gone.id, parents.display_id from unnest(database_bury.ids) as gone (id)
    left join chatwoot.messages as existing on database_bury.entity = 'messages'
      and existing.account_id = database_bury.account_id and existing.message_id = gone.id
    left join chatwoot.conversations as parents on parents.account_id = existing.account_id
      and parents.display_id = existing.conversation_display_id and parents.deleted_at is null
    -- A deleted conversation takes its messages with it, and no door says so of each.
    where database_bury.entity <> 'messages' or parents.display_id is not null
    order by gone.id
  loop
    v_changed := v_changed + chatwoot.bury(rtrim(database_bury.entity, 's'), database_bury.account_id, v_row.id,
      database_bury.deleted_at, v_row.display_id)::integer;
  end loop;
  return v_changed;
end
$$;
comment on function sync.database_bury is 'Marks rows of the mirror as deleted in Chatwoot; returns how many were not yet.';

create function sync.database_settle(state jsonb, name text, newest jsonb, as_of timestamptz) returns jsonb
-- A row gets its key and its updated_at before its transaction commits. So reading begins again at what was the newest
-- two minutes ago, told by our clock alone: Chatwoot's may differ.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_ring jsonb := database_settle.state -> database_settle.name;
begin
  if v_ring ? 'newest' then
    if (v_ring ->> 'at')::timestamptz > database_settle.as_of - interval '2 minutes' then
      return database_settle.state;
    end if;
    v_ring := jsonb_build_object('from', v_ring -> 'newest');
  end if;
  if v_ring -> 'from' is distinct from database_settle.newest then
    v_ring := jsonb_build_object('from', v_ring -> 'from', 'newest', database_settle.newest, 'at', database_settle.as_of);
  end if;
  return database_settle.state || jsonb_build_object(database_settle.name, v_ring);
end
$$;
comment on function sync.database_settle is
  'The state after everything up to newest was read: under name, from is where to begin next time, and newest waits to take its place.';

create function sync.database_advance(
  plan jsonb, account_id bigint, entity text, read_at timestamptz,
  inout state jsonb, inout place jsonb, out rows_read bigint, out rows_changed bigint, out changed_until timestamptz
)
-- state lasts, place is where this tick is; null when it is through. The limits: 5,000 rows a batch; 20,000 rows of the
-- account, or ten times as many of others', swept in a tick; the newest 2,000 read again where updated_at has no index.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_parts jsonb := database_advance.plan -> 'entities' -> database_advance.entity;
  v_phase text := coalesce(database_advance.place ->> 'phase', 'tail');
  v_limit integer := coalesce((database_advance.place ->> 'limit')::integer, 5000);
  v_skips boolean := database_advance.place ? 'skip';
  v_most constant bigint := 9223372036854775807;
  v_after bigint;
  v_upto bigint;
  v_is_last boolean;
  v_writes bigint;
  v_known bigint[];
  v_keys bigint[];
  v_changed_at timestamptz;
  v_changed_id bigint;
  v_rows bigint;
  v_newest jsonb;
  v_skipped bigint := 0;
  v_read record;
begin
  rows_read := 0;
  rows_changed := 0;
  -- Whatever was refused for its size or a value is behind us by now.
  place := place - array['limit', 'skip'];
  if v_limit < 5000 then
    place := place || jsonb_build_object('limit', least(v_limit * 10, 5000));
  end if;

  if place ? 'gone' then
    -- Looked at once more, in a transaction of its own: what a webhook brought in between is not gone.
    v_keys := array(select jsonb_array_elements_text(place -> 'gone')::bigint);
    v_read := sync.database_read(plan, entity, account_id, null, null, v_keys, read_at, false);
    rows_changed := v_read.rows_changed + sync.database_bury(entity, account_id,
      array(select gone.id from unnest(v_keys) as gone (id) where not gone.id = any (v_read.seen)), read_at);
    place := place - 'gone';
    if place ? 'is_swept' then
      place := null;
      changed_until := read_at;
    end if;
    return;
  end if;

  case v_phase
    when 'tail' then
      v_after := coalesce((place ->> 'after')::bigint, (state #>> '{tail,from}')::bigint, 0);
      execute v_parts ->> 'next' into v_upto, v_is_last using account_id, v_after, v_limit;
      if v_upto > v_after and not v_skips then
        v_read := sync.database_read(plan, entity, account_id, v_after, v_upto, null, read_at, not v_parts ? 'changed');
        rows_read := v_read.rows_read;
        rows_changed := v_read.rows_changed;
      end if;
      if v_is_last then
        state := sync.database_settle(state, 'tail', to_jsonb(v_upto), read_at);
        place := (place - 'after') || '{"phase": "changed"}';
      else
        -- Much to catch up with: should this tick end here, the next goes on one batch before.
        state := state || jsonb_build_object('tail', jsonb_build_object('from', v_after));
        place := place || jsonb_build_object('phase', 'tail', 'after', v_upto);
      end if;

    when 'changed' then
      place := place || '{"phase": "sweep"}';
      if v_parts ? 'changed' then
        v_changed_at := coalesce(
          coalesce(place ->> 'changed_at', state #>> '{changed,from}')::timestamp at time zone 'UTC', '-infinity');
        v_changed_id := coalesce((place ->> 'changed_id')::bigint, v_most);
        execute v_parts ->> 'changed' into v_keys, v_changed_at, v_changed_id, v_rows
          using account_id, v_changed_at, v_changed_id, v_limit;
        v_newest := coalesce(to_jsonb(v_changed_at at time zone 'UTC'), place -> 'changed_at', state #> '{changed,from}');
        if v_keys is not null and not v_skips then
          v_read := sync.database_read(plan, entity, account_id, null, null, v_keys, read_at, false);
          rows_read := v_read.rows_read;
          rows_changed := v_read.rows_changed;
        end if;
        if v_rows = v_limit then
          state := state || jsonb_build_object('changed', jsonb_build_object('from',
            coalesce(place -> 'changed_at', state #> '{changed,from}')));
          place := place || jsonb_build_object('phase', 'changed', 'changed_at', v_newest, 'changed_id', v_changed_id);
        else
          state := sync.database_settle(state, 'changed', v_newest, read_at);
          place := place - array['changed_at', 'changed_id'];
        end if;
      elsif state ? 'is_large' and entity in ('contacts', 'conversations', 'messages') then
        v_writes := sync.database_writes(plan ->> 'source_schema',
          array(select jsonb_array_elements_text(v_parts -> 'writes')));
        if not v_skips and (v_writes is null or v_writes is distinct from (state ->> 'recent_writes')::bigint) then
          execute v_parts ->> 'newest' into v_after using account_id, least(v_limit, 2000);
          v_read := sync.database_read(plan, entity, account_id, v_after - 1, v_most, null, read_at, false);
          rows_read := v_read.rows_read;
          rows_changed := v_read.rows_changed;
          state := state || jsonb_build_object('recent_writes', v_writes);
        end if;
      end if;

    when 'sweep' then
      if not place ? 'from' then
        v_writes := sync.database_writes(plan ->> 'source_schema',
          array(select jsonb_array_elements_text(v_parts -> 'writes')));
        if state ? 'is_large' and not state ? 'sweep' and v_writes = (state ->> 'writes')::bigint
          and (state ->> 'swept_at')::timestamptz > read_at - interval '1 day'
        then
          place := null;
          changed_until := read_at;
          return;
        end if;
        place := place || coalesce(state -> 'sweep', jsonb_build_object('after', 0, 'from', read_at, 'writes', v_writes))
          || jsonb_build_object('is_whole', not state ? 'sweep', 'rows', 0, 'walked', 0, 'is_counted', v_writes is not null);
      end if;
      v_after := (place ->> 'after')::bigint;
      execute v_parts ->> 'next' into v_upto, v_is_last using account_id, v_after, v_limit;
      if v_is_last then
        v_upto := v_most;
      end if;
      v_known := sync.database_known(entity, account_id, v_after, v_upto);
      if not v_skips then
        v_read := sync.database_read(plan, entity, account_id, v_after, v_upto, null, read_at, false);
        -- What was compared and is the same counts as not read, or the numbers would say how often and not how much.
        rows_read := v_read.rows_changed;
        rows_changed := v_read.rows_changed;
        v_rows := cardinality(v_read.seen);
        v_skipped := v_read.skipped;
        v_keys := array(select known.id from unnest(v_known) as known (id) except select unnest(v_read.seen));
        if v_keys <> '{}' then
          place := place || jsonb_build_object('gone', to_jsonb(v_keys));
        end if;
      end if;
      place := place || jsonb_build_object('after', v_upto, 'rows', (place ->> 'rows')::bigint + coalesce(v_rows, 0),
        'walked', (place ->> 'walked')::bigint + v_limit,
        'skipped', coalesce((place ->> 'skipped')::bigint, 0) + v_skipped);
      if v_is_last then
        -- Beside a large table a middling one waits for writes as well, or its comparison would be most of the tick.
        state := case when (place ->> 'is_whole')::boolean
            and ((place ->> 'rows')::bigint <= 1000 or not (plan -> 'is_large')::boolean)
          then state - array['sweep', 'is_large', 'swept_at', 'writes']
          else (state - 'sweep') || jsonb_build_object('is_large', true, 'swept_at', place -> 'from', 'writes', place -> 'writes')
          end;
        state := (state - 'skipped') || case when (place ->> 'skipped')::bigint > 0
          then jsonb_build_object('skipped', place -> 'skipped') else '{}' end;
        if place ? 'gone' then
          place := place || '{"is_swept": true}';
        else
          place := null;
          changed_until := read_at;
        end if;
      elsif (place ->> 'rows')::bigint >= 5000 or (place ->> 'walked')::bigint >= 50000 then
        state := state || jsonb_build_object('is_large', true, 'sweep',
          jsonb_build_object('after', v_upto, 'from', place -> 'from', 'writes', place -> 'writes',
            'skipped', place -> 'skipped'));
        if (place ->> 'rows')::bigint >= (case when (place ->> 'is_counted')::boolean then 20000 else 2000 end)
          or (place ->> 'walked')::bigint >= 200000
        then
          changed_until := case when v_parts ? 'changed' then read_at else (state ->> 'swept_at')::timestamptz end;
          place := case when place ? 'gone' then place || '{"is_swept": true}' end;
        end if;
      end if;
  end case;
end
$$;
comment on function sync.database_advance is
  'One batch of looking for news in one table: of its tail, of what changed, of the sweep. changed_until is how far the table is known when the tick is through with it.';

create function sync.database_backfill(
  plan jsonb, source sync.sources, read_at timestamptz,
  inout place jsonb, out backfill jsonb, out state jsonb, out entity text, out rows_read bigint, out rows_changed bigint
)
-- Oldest first, so that a stranger's history fills up the way it happened; what changes meanwhile is found afterwards.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_parts jsonb;
  v_limit integer := coalesce((database_backfill.place ->> 'limit')::integer, 5000);
  v_skips boolean := database_backfill.place ? 'skip';
  v_entities constant text[] := array['contacts', 'conversations', 'messages', 'csat_responses', 'reporting_events'];
  v_after bigint;
  v_upto bigint;
  v_is_last boolean;
  v_read record;
begin
  rows_read := 0;
  rows_changed := 0;
  backfill := source.backfill;
  entity := backfill ->> 'entity';
  state := coalesce(source.cursor -> entity, '{}');
  place := (place - array['limit', 'skip'])
    || case when v_limit < 5000 then jsonb_build_object('limit', least(v_limit * 10, 5000)) else '{}' end;
  v_parts := plan -> 'entities' -> entity;
  v_is_last := v_parts is null;
  if v_parts is not null then
    v_after := (backfill ->> 'after')::bigint;
    if v_after = 0 and v_parts ? 'changed' and not state ? 'changed' then
      -- Remembered before the first row is read.
      execute v_parts ->> 'last_change' into state using state;
    end if;
    execute v_parts ->> 'next' into v_upto, v_is_last using source.account_id, v_after, v_limit;
    if v_upto > v_after and not v_skips then
      v_read := sync.database_read(plan, entity, source.account_id, v_after, v_upto, null, read_at, false);
      rows_read := v_read.rows_read;
      rows_changed := v_read.rows_changed;
    end if;
    backfill := backfill || jsonb_build_object('after', v_upto);
    if v_is_last then
      state := state || jsonb_build_object('tail', jsonb_build_object('from', v_upto));
    end if;
  end if;
  if v_is_last then
    entity := v_entities[array_position(v_entities, entity) + 1];
    backfill := case when entity is not null then jsonb_build_object('entity', entity, 'after', 0) end;
    entity := source.backfill ->> 'entity';
    place := case when backfill is not null then place end;
  end if;
end
$$;
comment on function sync.database_backfill is 'One batch of the history; place is null when that was the last.';

create function sync.database_estimate(plan jsonb, account_id bigint) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_statement text;
  v_explained json;
  v_rows bigint := 0;
begin
  for v_statement in
    select parts.value ->> 'estimate' from jsonb_each(database_estimate.plan -> 'entities') as parts
  loop
    execute v_statement || database_estimate.account_id into v_explained;
    v_rows := v_rows + (v_explained #>> '{0,Plan,Plan Rows}')::bigint;
  end loop;
  return v_rows;
end
$$;
comment on function sync.database_estimate is 'How many rows the planner expects the account''s history to have: counting them would take as long as reading them.';

create function sync.database_step(
  account_id bigint, task text, as_of timestamptz, inout plan jsonb, inout place jsonb,
  out rows_read bigint, out rows_changed bigint, out changed_until timestamptz,
  out kind text, out problem text, out hint text
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_source sync.sources;
  v_step record;
  v_drift jsonb;
  v_state text;
  v_message text;
  v_detail text;
  v_context text;
  v_given jsonb := database_step.place;
begin
  rows_read := 0;
  rows_changed := 0;
  changed_until := as_of;
  -- A crash may take the last steps back, whole, and they are done again: no commit needs to wait for the disk.
  perform set_config('synchronous_commit', 'off', true);
  -- Everything here is looked up by key, in tables that may be new and without statistics.
  perform set_config('enable_seqscan', 'off', true);
  perform set_config('jit', 'off', true);
  -- A migration of Chatwoot may hold its tables for long; the other sources need not wait for it.
  perform set_config('lock_timeout', '5s', true);
  select * into v_source from sync.sources as existing
  where existing.account_id = database_step.account_id and existing.door = 'database' and existing.state = 'active'
    and existing.source_schema = coalesce(database_step.plan ->> 'source_schema', existing.source_schema);
  if not found then
    -- Paused or moved meanwhile.
    kind := 'ended';
    place := null;
    return;
  end if;
  begin
    if task = 'plan' then
      plan := sync.database_plan(v_source.source_schema);
      if not plan -> 'entities' ? 'conversations' then
        raise exception 'There are no tables of Chatwoot in schema % that can be read', v_source.source_schema
          using errcode = 'OC404', hint = (
            select string_agg('The ' || notes.note, '; ' order by notes.note) || '. See docs/sync.md.'
            from jsonb_array_elements_text(plan -> 'drift') as notes (note) where notes.note like 'table conversations %');
      end if;
      place := null;
      v_drift := (plan -> 'drift') || coalesce((
        select jsonb_agg(notes.note order by notes.note)
        from jsonb_each(v_source.cursor - 'drift') as entities (name, state)
        cross join lateral (
          select jsonb_array_elements(coalesce(entities.state -> 'refused', '[]'))
          union all
          select to_jsonb(format('%s: %s rows left out, of a kind that is not known or of a conversation that is not there',
            entities.name, entities.state -> 'skipped')) where entities.state ? 'skipped'
        ) as notes (note)), '[]');
      if coalesce(v_source.cursor -> 'drift', '[]') <> v_drift then
        raise notice 'Account %: %', account_id, array_to_string(array(select jsonb_array_elements_text(v_drift)), '; ');
        update sync.sources as existing set cursor = existing.cursor || jsonb_build_object('drift', v_drift)
        where existing.account_id = database_step.account_id and existing.door = 'database';
      end if;
    elsif task = 'backfill' then
      if v_source.backfill_finished_at is not null then
        place := null;
        return;
      end if;
      if v_source.backfill is null then
        update sync.sources as existing set backfill = '{"entity": "contacts", "after": 0}', backfill_started_at = as_of,
          backfill_done = 0, backfill_total = sync.database_estimate(database_step.plan, database_step.account_id)
        where existing.account_id = database_step.account_id and existing.door = 'database'
        returning * into v_source;
      end if;
      v_step := sync.database_backfill(plan, v_source, as_of, place);
      place := v_step.place;
      rows_read := v_step.rows_read;
      rows_changed := v_step.rows_changed;
      update sync.sources as existing set backfill = v_step.backfill,
        cursor = existing.cursor || jsonb_build_object(v_step.entity, v_step.state),
        backfill_done = existing.backfill_done + v_step.rows_read,
        backfill_total = case when v_step.backfill is null then existing.backfill_done + v_step.rows_read
          else greatest(existing.backfill_total, existing.backfill_done + v_step.rows_read) end,
        backfill_finished_at = case when v_step.backfill is null then as_of end
      where existing.account_id = database_step.account_id and existing.door = 'database'
        and existing.source_schema = v_source.source_schema;
    elsif task in ('accounts', 'inboxes', 'user', 'agent_bot', 'teams', 'labels') then
      v_step := sync.database_list(plan, task, account_id, as_of);
      rows_read := v_step.rows_changed;
      rows_changed := v_step.rows_changed;
      place := null;
    elsif task = 'verify' then
      place := (
        select case when sync.verify_database(asked.account_id, asked.verification_id, as_of, interval '0') then '{}'
          else '{"is_waiting": true}' end::jsonb
        from sync.verifications as asked
        where asked.account_id = database_step.account_id and asked.door = 'database' and asked.finished_at is null
        order by asked.verification_id limit 1);
    elsif not plan -> 'entities' ? task then
      place := null;
    else
      v_step := sync.database_advance(
        plan || jsonb_build_object('is_large', coalesce(v_source.cursor -> 'messages' ? 'is_large', false)),
        account_id, task, as_of, coalesce(v_source.cursor -> task, '{}'), place);
      place := v_step.place;
      rows_read := v_step.rows_read;
      rows_changed := v_step.rows_changed;
      changed_until := v_step.changed_until;
      if v_step.state is distinct from coalesce(v_source.cursor -> task, '{}') then
        update sync.sources as existing set cursor = existing.cursor || jsonb_build_object(task, v_step.state)
        where existing.account_id = database_step.account_id and existing.door = 'database'
          and existing.source_schema = v_source.source_schema;
      end if;
    end if;
  exception when query_canceled or others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
      hint = pg_exception_hint, v_context = pg_exception_context;
    -- What is cancelled is the whole tick, unless it was the other database that gave up.
    if v_state = '57014' and v_context not like '%remote SQL command%' then
      raise;
    end if;
    rows_read := 0;
    rows_changed := 0;
    place := v_given;
    -- A complaint about a value quotes it after a colon.
    v_message := v_state || ': '
      || case when v_state like '22%' then regexp_replace(v_message, ': .*$', '') else v_message end;
    if v_state like any (array['22%', '23%', '54%']) and (task = 'backfill' or plan -> 'entities' ? task) then
      place := sync.database_narrow(account_id, task, v_source, v_given, v_message);
      return;
    end if;
    kind := 'sqlstate_' || v_state;
    problem := case when v_state like '08%' and v_detail <> '' then v_message || ' (' || v_detail || ')' else v_message end;
    hint := coalesce(nullif(hint, ''), case
      when v_state like '08%' then 'Is Chatwoot''s database up, and do host, port, database and user in Vault fit? select sync.connect_foreign(…) reads them again.'
      when v_state = '28P01' then 'The password in Vault is not that of the user: put it right and call sync.connect_foreign(…) again.'
      when v_state = '42501' then 'Let the role postgres (or the user of the foreign server) read Chatwoot''s tables: grant select on all tables in schema … to ….'
      when v_state in ('55P03', '57014') then
        'Somebody holds a lock on Chatwoot''s tables or they are very slow just now, as while Chatwoot is being upgraded. It is tried again by itself.'
      when v_state like '42%' then 'Chatwoot''s tables may have changed. Foreign tables follow once select sync.connect_foreign(…) is called again; others by themselves.'
      else 'It is tried again by itself.' end);
  end;
end
$$;
comment on function sync.database_step is
  'One transaction of a tick: makes the plan, reads a list or a batch, and moves the cursor. problem is what went wrong; nothing of the step then stands.';

create function sync.database_narrow(account_id bigint, task text, source sync.sources, place jsonb, message text)
returns jsonb
-- One row that does not fit must not hold up all others: smaller batches close in on it, and alone it is left out.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_limit integer := coalesce((database_narrow.place ->> 'limit')::integer, 5000);
  v_entity text := case when database_narrow.task = 'backfill' then database_narrow.source.backfill ->> 'entity'
    else database_narrow.task end;
  v_refused jsonb := coalesce(database_narrow.source.cursor #> array[v_entity, 'refused'], '[]');
  v_note text;
begin
  if database_narrow.place ? 'gone' then
    return database_narrow.place - 'gone';
  elsif v_limit > 1 then
    return database_narrow.place || jsonb_build_object('limit', v_limit / 10 + (v_limit < 10)::integer);
  end if;
  v_note := format('%s: a row after %s does not fit and is left out (%s)', v_entity,
    coalesce(database_narrow.place ->> 'after', database_narrow.place ->> 'changed_id',
      database_narrow.source.backfill ->> 'after'),
    database_narrow.message);
  if not v_refused ? v_note and jsonb_array_length(v_refused) < 20 then
    update sync.sources as existing set cursor = existing.cursor || jsonb_build_object(v_entity,
      coalesce(existing.cursor -> v_entity, '{}') || jsonb_build_object('refused', v_refused || to_jsonb(v_note)))
    where existing.account_id = database_narrow.account_id and existing.door = 'database';
  end if;
  return database_narrow.place || '{"skip": true}';
end
$$;
comment on function sync.database_narrow is 'The place with a smaller batch after a row that does not fit, or with that row left out once it is alone.';

create procedure sync.tick_database(as_of timestamptz default null, budget interval default '45 seconds')
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_accounts bigint[] := array(select sources.account_id from sync.sources
    where sources.door = 'database' and sources.state = 'active'
      and (sources.retry_at is null or sources.retry_at <= coalesce(tick_database.as_of, pg_catalog.clock_timestamp()))
    order by sources.last_attempt_at nulls first, sources.account_id);
  v_account bigint;
  v_sources_left integer := pg_catalog.cardinality(v_accounts);
  v_share_end timestamptz;
  v_task text;
  v_plan jsonb;
  v_place jsonb;
  v_step record;
  v_rows_read bigint;
  v_rows_changed bigint;
  v_until timestamptz;
begin
  foreach v_account in array v_accounts loop
    -- Whoever comes first leaves the others their share.
    v_share_end := pg_catalog.clock_timestamp() + (v_end - pg_catalog.clock_timestamp()) / v_sources_left;
    v_sources_left := v_sources_left - 1;
    continue when not pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('sync.database', v_account));
    perform pg_catalog.set_config('synchronous_commit', 'off', true);
    perform sync.begin(v_account, 'database', coalesce(tick_database.as_of, pg_catalog.clock_timestamp()));
    commit;
    v_plan := null;
    v_rows_read := 0;
    v_rows_changed := 0;
    v_until := 'infinity';
    <<tasks>>
    foreach v_task in array array['plan', 'accounts', 'inboxes', 'user', 'agent_bot', 'teams', 'labels', 'backfill',
      'contacts', 'conversations', 'messages', 'csat_responses', 'reporting_events', 'verify']
    loop
      v_place := '{}';
      loop
        v_step := sync.database_step(v_account, v_task,
          coalesce(tick_database.as_of, pg_catalog.clock_timestamp()), v_plan, v_place);
        commit;
        v_plan := v_step.plan;
        v_place := v_step.place;
        v_rows_read := v_rows_read + v_step.rows_read;
        v_rows_changed := v_rows_changed + v_step.rows_changed;
        exit tasks when v_step.kind is not null;
        if pg_catalog.clock_timestamp() >= v_share_end then
          -- A comparison that is not through leaves everything before it read.
          v_until := case when v_task = 'verify' then v_until end;
          exit tasks;
        end if;
        if v_place is null then
          -- Null where a large table was not yet swept once.
          v_until := case when v_until is not null and v_step.changed_until is not null
            then least(v_until, v_step.changed_until) end;
          exit;
        end if;
      end loop;
    end loop;
    perform pg_catalog.set_config('synchronous_commit', 'off', true);
    if v_step.kind is null then
      perform sync.succeed(v_account, 'database', coalesce(tick_database.as_of, pg_catalog.clock_timestamp()), 0,
        v_rows_read, v_rows_changed);
      update sync.sources as existing set changed_until = v_until
      where existing.account_id = v_account and existing.door = 'database' and v_until is not null;
    elsif v_step.kind <> 'ended' then
      perform sync.fail(v_account, 'database', coalesce(tick_database.as_of, pg_catalog.clock_timestamp()), v_step.kind,
        v_step.problem, v_step.hint, 0, v_rows_read, v_rows_changed);
    end if;
    commit;
    perform pg_catalog.pg_advisory_unlock(pg_catalog.hashtextextended('sync.database', v_account));
    commit;
  end loop;
end
$$;
comment on procedure sync.tick_database is
  'One round through all sources of the database door that are due, each with an equal share of the budget. A null as_of is now. Commits after every batch; a source somebody else is at is left to them.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'sync'::regnamespace and functions.proname like any (array['database\_%', 'tick\_database'])
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
