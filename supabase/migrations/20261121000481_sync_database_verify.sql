-- The proof, for the database door: a day's conversations, with their contacts and messages, read from Chatwoot's tables
-- and handed to the comparison.

create function sync.database_facts(
  plan jsonb, entity text, account_id bigint, keys bigint[], out ids bigint[], out facts jsonb[]
)
language plpgsql stable security invoker set search_path = '' as $$
begin
  execute format('select array_agg((to_jsonb(told) ->> %L)::bigint), array_agg(to_jsonb(told))
    from (%s) as answer (given, seen, parents, users, bots) cross join lateral unnest(answer.given) as told',
    case entity when 'contacts' then 'contact_id' when 'conversations' then 'display_id' else 'message_id' end,
    coalesce(plan #>> array['entities', entity, 'by_key_with_care'], plan #>> array['entities', entity, 'by_key']))
  into ids, facts using account_id, null::bigint, null::bigint, keys;
  ids := coalesce(ids, '{}');
  facts := coalesce(facts, '{}');
end
$$;
comment on function sync.database_facts is 'Canonical rows of these keys, as JSON, straight from Chatwoot''s tables.';

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
  v_differing := sync.compare(account_id, verification_id, 'database', day, entity, v_read.ids, v_read.facts, mirror_ids);
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

create function sync.verify_database(account_id bigint, verification_id bigint, as_of timestamptz, budget interval)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_end timestamptz := clock_timestamp() + verify_database.budget;
  v_asked sync.verifications;
  v_plan jsonb;
  v_day date;
  v_from timestamptz;
  v_upto timestamptz;
  v_ids bigint[];
  v_conversations bigint[];
  v_known bigint[];
  v_contacts bigint[];
  v_messages bigint[];
  v_size constant integer := 1000;
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
    v_day := coalesce((v_asked.cursor ->> 'day')::date, (v_asked.since at time zone 'UTC')::date);
    v_from := greatest(v_asked.since, v_day::timestamp at time zone 'UTC');
    v_upto := least(v_asked.until, (v_day + 1)::timestamp at time zone 'UTC');
    v_known := array(select existing.display_id from chatwoot.conversations as existing
      where existing.account_id = verify_database.account_id and existing.created_at >= v_from
        and existing.created_at < v_upto and existing.deleted_at is null);
    execute v_plan #>> '{entities,conversations,between}' into v_conversations, v_ids, v_contacts
      using verify_database.account_id, v_from, v_upto;
    v_contacts := array(select unnest(v_contacts) union
      select existing.contact_id from chatwoot.conversations as existing
      join chatwoot.contacts on contacts.account_id = existing.account_id and contacts.contact_id = existing.contact_id
        and contacts.deleted_at is null
      where existing.account_id = verify_database.account_id and existing.display_id = any (v_known));
    for v_part in 0..(cardinality(v_contacts) - 1) / v_size loop
      perform sync.database_compare(v_plan, verify_database.account_id, verify_database.verification_id, v_day, 'contacts',
        v_contacts[v_part * v_size + 1:(v_part + 1) * v_size], v_contacts[v_part * v_size + 1:(v_part + 1) * v_size],
        verify_database.as_of);
    end loop;
    v_conversations := array(select unnest(v_conversations) union select unnest(v_known) order by 1);
    for v_part in 0..(cardinality(v_conversations) - 1) / v_size loop
      perform sync.database_compare(v_plan, verify_database.account_id, verify_database.verification_id, v_day,
        'conversations', v_conversations[v_part * v_size + 1:(v_part + 1) * v_size],
        v_conversations[v_part * v_size + 1:(v_part + 1) * v_size], verify_database.as_of);
    end loop;
    if v_ids is not null then
      execute v_plan #>> '{entities,messages,of_conversations}' into v_messages using verify_database.account_id, v_ids;
    else
      v_messages := null;
    end if;
    v_messages := array(select unnest(v_messages) union
      select existing.message_id from chatwoot.messages as existing
      where existing.account_id = verify_database.account_id and existing.conversation_display_id = any (v_known)
        and existing.deleted_at is null order by 1);
    for v_part in 0..(cardinality(v_messages) - 1) / v_size loop
      perform sync.database_compare(v_plan, verify_database.account_id, verify_database.verification_id, v_day, 'messages',
        v_messages[v_part * v_size + 1:(v_part + 1) * v_size], array(
          select existing.message_id from chatwoot.messages as existing
          where existing.account_id = verify_database.account_id and existing.deleted_at is null
            and existing.message_id = any (v_messages[v_part * v_size + 1:(v_part + 1) * v_size])), verify_database.as_of);
    end loop;
    if v_upto >= v_asked.until then
      perform sync.finish_verification(verify_database.account_id, verify_database.verification_id, verify_database.as_of);
      return true;
    end if;
    update sync.verifications as existing set state = 'running', cursor = jsonb_build_object('day', v_day + 1)
    where existing.account_id = verify_database.account_id and existing.verification_id = verify_database.verification_id;
    exit when clock_timestamp() >= v_end;
  end loop;
  return false;
end
$$;
comment on function sync.verify_database is
  'Compares one day after the other with Chatwoot''s tables until the budget is used up, at least one; true when the comparison has ended.';

revoke all on function sync.database_facts, sync.database_compare, sync.verify_database
  from public, anon, authenticated, service_role;
