-- The proof, for the database door: a day's conversations, with their contacts and messages, read from Chatwoot's tables
-- and handed to the comparison.

create function sync.database_facts(
  plan jsonb, entity text, account_id bigint, keys bigint[], out ids bigint[], out facts jsonb[], out unreadable bigint[]
)
language plpgsql stable security invoker set search_path = '' as $$
begin
  execute format('select array(select (to_jsonb(told) ->> %L)::bigint from unnest(answer.given) as told),
      array(select to_jsonb(told) from unnest(answer.given) as told), answer.seen
    from (%s) as answer (given, seen, parents, users, bots)',
    case entity when 'contacts' then 'contact_id' when 'conversations' then 'display_id' else 'message_id' end,
    coalesce(plan #>> array['entities', entity, 'by_key_with_care'], plan #>> array['entities', entity, 'by_key']))
  into ids, facts, unreadable using account_id, null::bigint, null::bigint, keys;
  unreadable := array(select unnest(unreadable) except select unnest(ids));
end
$$;
comment on function sync.database_facts is
  'Canonical rows of these keys, as JSON, straight from Chatwoot''s tables; unreadable are those that are there but of a kind that is not known.';

create function sync.database_compare(
  plan jsonb, account_id bigint, verification_id bigint, day date, entity text, keys bigint[], mirror_ids bigint[],
  as_of timestamptz
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_read record;
  v_differing bigint[];
begin
  v_read := sync.database_facts(plan, entity, account_id, keys);
  -- What cannot be read is there all the same: the mirror's row of it is neither right nor surplus.
  v_differing := sync.compare(account_id, verification_id, 'database', day, entity, v_read.ids, v_read.facts,
    array(select unnest(mirror_ids) except select unnest(v_read.unreadable)));
  if v_differing = '{}' then
    return;
  end if;
  perform sync.distrust(account_id, entity, v_differing, as_of);
  perform sync.database_read(plan, entity, account_id, null, null, v_differing, as_of, false);
  perform sync.database_bury(entity, account_id,
    array(select surplus.id from unnest(v_differing) as surplus (id) where not surplus.id = any (v_read.ids)), as_of);
  perform sync.note_healed(account_id, verification_id, 'database', day, entity, v_read.ids, v_read.facts, v_differing);
end
$$;
comment on function sync.database_compare is 'Compares rows of one day with the mirror and puts right what differs.';

create function sync.verify_database_day(
  plan jsonb, verification sync.verifications, day date, as_of timestamptz
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account_id bigint := (verify_database_day.verification).account_id;
  v_asked bigint := (verify_database_day.verification).verification_id;
  v_from timestamptz := greatest((verify_database_day.verification).since, verify_database_day.day::timestamp at time zone 'UTC');
  v_upto timestamptz := least((verify_database_day.verification).until, (verify_database_day.day + 1)::timestamp at time zone 'UTC');
  v_known bigint[] := array(select existing.display_id from chatwoot.conversations as existing
    where existing.account_id = v_account_id and existing.created_at >= v_from
      and existing.created_at < v_upto and existing.deleted_at is null);
  v_ids bigint[];
  v_conversations bigint[];
  v_contacts bigint[];
  v_messages bigint[];
  v_size constant integer := 1000;
begin
  execute plan #>> '{entities,conversations,between}' into v_conversations, v_ids, v_contacts
    using v_account_id, v_from, v_upto;
  v_contacts := array(select unnest(v_contacts) union
    select existing.contact_id from chatwoot.conversations as existing
    join chatwoot.contacts on contacts.account_id = existing.account_id and contacts.contact_id = existing.contact_id
      and contacts.deleted_at is null
    where existing.account_id = v_account_id and existing.display_id = any (v_known));
  for v_part in 0..(cardinality(v_contacts) - 1) / v_size loop
    perform sync.database_compare(plan, v_account_id, v_asked, day, 'contacts',
      v_contacts[v_part * v_size + 1:(v_part + 1) * v_size], v_contacts[v_part * v_size + 1:(v_part + 1) * v_size], as_of);
  end loop;
  v_conversations := array(select unnest(v_conversations) union select unnest(v_known) order by 1);
  for v_part in 0..(cardinality(v_conversations) - 1) / v_size loop
    perform sync.database_compare(plan, v_account_id, v_asked, day, 'conversations',
      v_conversations[v_part * v_size + 1:(v_part + 1) * v_size],
      v_conversations[v_part * v_size + 1:(v_part + 1) * v_size], as_of);
  end loop;
  if v_ids is not null then
    execute plan #>> '{entities,messages,of_conversations}' into v_messages using v_account_id, v_ids;
  end if;
  v_messages := array(select unnest(v_messages) union
    select existing.message_id from chatwoot.messages as existing
    where existing.account_id = v_account_id and existing.conversation_display_id = any (v_known)
      and existing.deleted_at is null order by 1);
  for v_part in 0..(cardinality(v_messages) - 1) / v_size loop
    perform sync.database_compare(plan, v_account_id, v_asked, day, 'messages',
      v_messages[v_part * v_size + 1:(v_part + 1) * v_size], array(
        select existing.message_id from chatwoot.messages as existing
        where existing.account_id = v_account_id and existing.deleted_at is null
          and existing.message_id = any (v_messages[v_part * v_size + 1:(v_part + 1) * v_size])), as_of);
  end loop;
end
$$;
comment on function sync.verify_database_day is 'Compares the conversations that began on one day, with their contacts and messages.';

create function sync.verify_database(account_id bigint, verification_id bigint, as_of timestamptz, budget interval)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_end timestamptz := clock_timestamp() + verify_database.budget;
  v_asked sync.verifications;
  v_plan jsonb;
  v_day date;
  v_cursor jsonb;
  v_state text;
  v_constraint text;
begin
  loop
    select * into v_asked from sync.verifications as asked
    where asked.account_id = verify_database.account_id and asked.verification_id = verify_database.verification_id
      and asked.finished_at is null
    for update;
    if not found then
      return true;
    end if;
    if v_plan is null then
      select sync.database_plan(sources.source_schema) into v_plan from sync.sources
      where sources.account_id = verify_database.account_id and sources.door = 'database';
      if not coalesce(v_plan -> 'entities' ?& array['contacts', 'conversations', 'messages'], false)
        or not v_plan #> '{entities,conversations}' ? 'between'
      then
        perform sync.finish_verification(verify_database.account_id, verify_database.verification_id, verify_database.as_of,
          'Chatwoot''s tables are not there, or not whole: see drift in api.sync_status.');
        return true;
      end if;
    end if;
    v_cursor := v_asked.cursor;
    v_day := coalesce((v_cursor ->> 'day')::date, (v_asked.since at time zone 'UTC')::date);
    begin
      perform sync.verify_database_day(v_plan, v_asked, v_day, verify_database.as_of);
      v_cursor := (v_cursor - 'tries') || jsonb_build_object('day', v_day + 1);
    exception when data_exception or integrity_constraint_violation or program_limit_exceeded or raise_exception then
      -- One row that does not fit must not hold up all other days. Codes and names alone, since a message quotes values.
      get stacked diagnostics v_state = returned_sqlstate, v_constraint = constraint_name;
      if coalesce((v_cursor ->> 'tries')::integer, 0) < 2 then
        v_cursor := v_cursor || jsonb_build_object('day', v_day, 'tries', coalesce((v_cursor ->> 'tries')::integer, 0) + 1);
      else
        v_cursor := (v_cursor - 'tries') || jsonb_build_object('day', v_day + 1,
          'problem', case when length(v_cursor ->> 'problem') > 350 then rtrim(v_cursor ->> 'problem', ' …') || ' …'
            else concat_ws(', ', v_cursor ->> 'problem',
              format('%s (%s)', v_day, concat_ws(' ', v_state, nullif(v_constraint, '')))) end);
      end if;
    end;
    if (v_cursor ->> 'day')::date::timestamp at time zone 'UTC' >= v_asked.until then
      perform sync.finish_verification(verify_database.account_id, verify_database.verification_id, verify_database.as_of,
        case when v_cursor ? 'problem' then
          format('Not compared, since a row does not fit the mirror: %s. All other days were.', v_cursor ->> 'problem') end);
      return true;
    end if;
    update sync.verifications as existing set state = 'running', cursor = v_cursor
    where existing.account_id = verify_database.account_id and existing.verification_id = verify_database.verification_id;
    exit when clock_timestamp() >= v_end;
  end loop;
  return false;
end
$$;
comment on function sync.verify_database is
  'Compares one day after the other with Chatwoot''s tables until the budget is used up, at least one; true when the comparison has ended. A day that fails three times is left out and named at the end.';

revoke all on function sync.database_facts, sync.database_compare, sync.verify_database_day, sync.verify_database
  from public, anon, authenticated, service_role;
