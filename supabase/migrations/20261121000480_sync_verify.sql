-- The proof. A door reads what a day's conversations are in the source, as canonical facts, and this compares them with
-- the mirror. Facts hold only what the door can say, so the mirror is asked for the same and no more.
create table sync.verifications (
  account_id bigint not null,
  verification_id bigint generated always as identity,
  door text not null,
  since timestamptz not null,
  until timestamptz not null,
  state text not null default 'queued',
  cursor jsonb not null default '{}',
  problem text,
  requested_at timestamptz not null,
  requested_by text not null,
  finished_at timestamptz,
  constraint verifications_pkey primary key (account_id, verification_id),
  constraint verifications_range_forward check (since < until),
  constraint verifications_state_known check (state in ('queued', 'running', 'done', 'failed')),
  constraint verifications_finished_iff_ended check ((finished_at is not null) = (state in ('done', 'failed')))
);
comment on table sync.verifications is 'Each comparison of the mirror with a source that was asked for.';
comment on column sync.verifications.account_id is 'Chatwoot''s account id.';
comment on column sync.verifications.verification_id is 'Number of the comparison.';
comment on column sync.verifications.door is 'The source compared with: rest or database.';
comment on column sync.verifications.since is 'Conversations that began at or after this instant (UTC).';
comment on column sync.verifications.until is 'And before this one (UTC).';
comment on column sync.verifications.state is 'queued, running, done, or failed.';
comment on column sync.verifications.cursor is 'How far it has come, in the door''s own terms.';
comment on column sync.verifications.problem is 'Why it failed; null otherwise.';
comment on column sync.verifications.requested_at is 'When it was asked for (UTC).';
comment on column sync.verifications.requested_by is 'Who asked, as in the decision log.';
comment on column sync.verifications.finished_at is 'When it ended (UTC); null until then.';
create unique index verifications_open_key on sync.verifications (account_id, door, since, until)
  where finished_at is null;

create index verifications_finished_at_idx on sync.verifications (finished_at);

create table sync.verified_days (
  account_id bigint not null,
  verification_id bigint not null,
  day date not null,
  entity text not null,
  source_rows bigint not null,
  mirror_rows bigint not null,
  source_hash bigint not null,
  mirror_hash bigint not null,
  differing bigint not null,
  healed bigint not null,
  constraint verified_days_pkey primary key (account_id, verification_id, day, entity),
  constraint verified_days_verification_fkey foreign key (account_id, verification_id)
    references sync.verifications (account_id, verification_id) on delete cascade,
  constraint verified_days_entity_known check (entity in ('contacts', 'conversations', 'messages'))
);
comment on table sync.verified_days is 'What a comparison found, one row a day and entity. Everything counts to the UTC day on which its conversation began.';
comment on column sync.verified_days.account_id is 'Chatwoot''s account id.';
comment on column sync.verified_days.verification_id is 'The comparison.';
comment on column sync.verified_days.day is 'UTC day on which the conversations began.';
comment on column sync.verified_days.entity is 'contacts, conversations or messages of that day''s conversations.';
comment on column sync.verified_days.source_rows is 'Rows in the source.';
comment on column sync.verified_days.mirror_rows is 'Rows in the mirror, without those it knows to be deleted, before anything was healed.';
comment on column sync.verified_days.source_hash is 'Hashes of the source''s rows, all added by exclusive or.';
comment on column sync.verified_days.mirror_hash is 'The same of the mirror; equal when every fact of every row is.';
comment on column sync.verified_days.differing is 'Rows that were missing, surplus or different.';
comment on column sync.verified_days.healed is 'How many of them are right now.';

create table sync.differences (
  account_id bigint not null,
  verification_id bigint not null,
  entity text not null,
  id bigint not null,
  day date not null,
  kind text not null,
  fields text[],
  is_healed boolean not null default false,
  constraint differences_pkey primary key (account_id, verification_id, entity, id),
  constraint differences_verification_fkey foreign key (account_id, verification_id)
    references sync.verifications (account_id, verification_id) on delete cascade,
  constraint differences_kind_known check (kind in ('missing', 'surplus', 'different'))
);
comment on table sync.differences is 'Each row that a comparison found to differ, up to 10,000 a comparison.';
comment on column sync.differences.account_id is 'Chatwoot''s account id.';
comment on column sync.differences.verification_id is 'The comparison.';
comment on column sync.differences.entity is 'contacts, conversations or messages.';
comment on column sync.differences.id is 'Contact id, conversation number or message id.';
comment on column sync.differences.day is 'UTC day on which the conversation began.';
comment on column sync.differences.kind is 'missing in the mirror, surplus in it (gone from Chatwoot), or different.';
comment on column sync.differences.fields is 'Columns that differed; null unless different.';
comment on column sync.differences.is_healed is 'Whether the mirror was then put right.';

create function sync.mirror_facts(account_id bigint, entity text, ids bigint[]) returns table (id bigint, facts jsonb)
language plpgsql stable security invoker set search_path = '' as $$
begin
  case mirror_facts.entity
    when 'contacts' then
      return query select rows.contact_id, to_jsonb(rows) from chatwoot.contacts as rows
      where rows.account_id = mirror_facts.account_id and rows.contact_id = any (mirror_facts.ids)
        and rows.deleted_at is null;
    when 'conversations' then
      return query select rows.display_id, to_jsonb(rows) from chatwoot.conversations as rows
      where rows.account_id = mirror_facts.account_id and rows.display_id = any (mirror_facts.ids)
        and rows.deleted_at is null;
    when 'messages' then
      return query select rows.message_id, to_jsonb(rows) from chatwoot.messages as rows
      where rows.account_id = mirror_facts.account_id and rows.message_id = any (mirror_facts.ids)
        -- A message that was deleted in the conversation is still there, and says so.
        and (rows.deleted_at is null or rows.content_attributes ->> 'deleted' = 'true');
  end case;
end
$$;
comment on function sync.mirror_facts is 'The mirror''s rows of those ids as JSON, without what is known to be gone from Chatwoot.';

create function sync.erased(account_id bigint, entity text, ids bigint[]) returns bigint[]
language plpgsql stable security invoker set search_path = '' as $$
begin
  if not exists (select from chatwoot.erased_contacts as known where known.account_id = erased.account_id) then
    return '{}'::bigint[];
  end if;
  return case erased.entity
    when 'contacts' then array(select known.contact_id from chatwoot.erased_contacts as known
      where known.account_id = erased.account_id and known.contact_id = any (erased.ids))
    when 'conversations' then array(select known.display_id from chatwoot.erased_conversations as known
      where known.account_id = erased.account_id and known.display_id = any (erased.ids))
    when 'messages' then array(
      select messages.message_id from chatwoot.messages
      where messages.account_id = erased.account_id and messages.message_id = any (erased.ids)
        and (exists (select from chatwoot.erased_conversations as known
            where known.account_id = messages.account_id and known.display_id = messages.conversation_display_id)
          or (messages.sender_kind = 'contact' and exists (select from chatwoot.erased_contacts as known
            where known.account_id = messages.account_id and known.contact_id = messages.sender_id)))) end;
end
$$;
comment on function sync.erased is 'Which of those ids belong to customers who were erased here: what is left of them is not compared.';

create function sync.said(facts jsonb, mirror jsonb, door text) returns jsonb
-- A door is not blamed for what it does not say. REST shows instants of creation in whole seconds.
language plpgsql stable security invoker set search_path = '' as $$
begin
  return (
    select jsonb_object_agg(names.name, case
      when said.door = 'rest' and names.name in ('created_at', 'first_reply_created_at')
        then to_jsonb(date_trunc('second', (said.mirror ->> names.name)::timestamptz))
      else said.mirror -> names.name end)
    from jsonb_object_keys(said.facts) as names (name)
    where names.name <> all (array['account_id', 'version_at', 'field_versions', 'delivery_status_at', 'deleted_at']));
end
$$;
comment on function sync.said is 'Of a row of the mirror (or of the source itself) what the source''s facts speak of, as finely as the door can.';

create function sync.compare(
  account_id bigint, verification_id bigint, door text, day date, entity text,
  ids bigint[], facts jsonb[], mirror_ids bigint[]
) returns bigint[]
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_asked bigint[] := array(select unnest(compare.ids) union select unnest(compare.mirror_ids));
  v_erased bigint[] := sync.erased(compare.account_id, compare.entity, v_asked);
  v_differing bigint[];
begin
  with source as (
    select given.id, sync.said(given.facts, given.facts, compare.door) as facts
    from unnest(compare.ids, compare.facts) as given (id, facts)
    where given.id <> all (v_erased)
  ), mirror as (
    select rows.id, rows.facts
    from sync.mirror_facts(compare.account_id, compare.entity,
      array(select unnest(v_asked) except select unnest(v_erased))) as rows
  ), paired as (
    select coalesce(source.id, mirror.id) as id, source.facts as source_facts,
      case when source.id is null then mirror.facts
        else sync.said(source.facts, mirror.facts, compare.door) end as mirror_facts,
      case when mirror.id is null then 'missing' when source.id is null then 'surplus'
        when source.facts <> sync.said(source.facts, mirror.facts, compare.door) then 'different' end as kind
    from source full join mirror on mirror.id = source.id
  ), counted as (
    insert into sync.verified_days as existing
      (account_id, verification_id, day, entity, source_rows, mirror_rows, source_hash, mirror_hash, differing, healed)
    select compare.account_id, compare.verification_id, compare.day, compare.entity,
      count(paired.source_facts), count(paired.mirror_facts),
      coalesce(bit_xor(hashtextextended(paired.source_facts::text, paired.id)), 0),
      coalesce(bit_xor(hashtextextended(paired.mirror_facts::text, paired.id)), 0), count(paired.kind), 0
    from paired
    on conflict on constraint verified_days_pkey do update set
      -- A day may come in several portions.
      source_rows = existing.source_rows + excluded.source_rows, mirror_rows = existing.mirror_rows + excluded.mirror_rows,
      source_hash = existing.source_hash # excluded.source_hash, mirror_hash = existing.mirror_hash # excluded.mirror_hash,
      differing = existing.differing + excluded.differing
  ), listed as (
    insert into sync.differences (account_id, verification_id, entity, id, day, kind, fields)
    select compare.account_id, compare.verification_id, compare.entity, paired.id, compare.day, paired.kind,
      case when paired.kind = 'different' then array(
        select names.name from jsonb_object_keys(paired.source_facts) as names (name)
        where paired.source_facts -> names.name is distinct from paired.mirror_facts -> names.name order by 1) end
    from paired
    where paired.kind is not null and (
      select count(*) from sync.differences as known
      where known.account_id = compare.account_id and known.verification_id = compare.verification_id) < 10000
    order by paired.id limit 10000
    on conflict on constraint differences_pkey do nothing
  )
  select array_agg(paired.id order by paired.id) into v_differing from paired where paired.kind is not null;
  return coalesce(v_differing, '{}'::bigint[]);
end
$$;
comment on function sync.compare is
  'Compares facts of the source with the mirror, adds to the day''s counts and hashes, lists what differs and returns those ids. mirror_ids are the ids that the mirror holds for that day.';

create function sync.distrust(account_id bigint, entity text, ids bigint[], read_at timestamptz) returns void
-- What the source contradicts must not win by its version. But a row newer than the reading may be right: it is left,
-- unless it claims to come from the future.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  case distrust.entity
    when 'contacts' then
      update chatwoot.contacts as rows set version_at = '-infinity', field_versions = '{}'
      where rows.account_id = distrust.account_id and rows.contact_id = any (distrust.ids)
        and (rows.version_at <= distrust.read_at or rows.version_at > distrust.read_at + interval '1 hour');
    when 'conversations' then
      update chatwoot.conversations as rows
      set version_at = '-infinity', field_versions = '{}', created_at = null, first_reply_created_at = null
      where rows.account_id = distrust.account_id and rows.display_id = any (distrust.ids)
        and (rows.version_at <= distrust.read_at or rows.version_at > distrust.read_at + interval '1 hour');
    when 'messages' then
      update chatwoot.messages as rows
      set version_at = '-infinity', field_versions = '{}', created_at = null, delivery_status_at = null,
        deleted_at = null
      where rows.account_id = distrust.account_id and rows.message_id = any (distrust.ids)
        and (rows.version_at <= distrust.read_at or rows.version_at > distrust.read_at + interval '1 hour');
  end case;
end
$$;
comment on function sync.distrust is 'Lets whatever is merged next win over those rows of the mirror, unless they are newer than read_at.';

create function sync.note_healed(
  account_id bigint, verification_id bigint, door text, day date, entity text, ids bigint[], facts jsonb[],
  differing bigint[]
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_healed bigint[];
begin
  select array_agg(found.id) into v_healed
  from unnest(note_healed.differing) as found (id)
  left join unnest(note_healed.ids, note_healed.facts) as given (id, facts) on given.id = found.id
  left join sync.mirror_facts(note_healed.account_id, note_healed.entity, note_healed.differing) as mirror
    on mirror.id = found.id
  where case when given.id is null then mirror.id is null
    else sync.said(given.facts, given.facts, note_healed.door) = sync.said(given.facts, mirror.facts, note_healed.door) end;
  update sync.differences as existing set is_healed = true
  where existing.account_id = note_healed.account_id and existing.verification_id = note_healed.verification_id
    and existing.entity = note_healed.entity and existing.id = any (v_healed);
  update sync.verified_days as existing set healed = existing.healed + coalesce(cardinality(v_healed), 0)
  where existing.account_id = note_healed.account_id and existing.verification_id = note_healed.verification_id
    and existing.day = note_healed.day and existing.entity = note_healed.entity;
  return coalesce(cardinality(v_healed), 0);
end
$$;
comment on function sync.note_healed is 'Looks again at rows that differed and counts those that are right now; returns how many.';

create function sync.finish_verification(account_id bigint, verification_id bigint, as_of timestamptz, problem text default null)
returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_row sync.verifications;
  v_differing bigint;
  v_healed bigint;
begin
  update sync.verifications as existing set finished_at = finish_verification.as_of,
    state = case when finish_verification.problem is null then 'done' else 'failed' end,
    problem = left(finish_verification.problem, 500)
  where existing.account_id = finish_verification.account_id
    and existing.verification_id = finish_verification.verification_id and existing.finished_at is null
  returning * into v_row;
  if not found then
    return;
  end if;
  select coalesce(sum(days.differing), 0), coalesce(sum(days.healed), 0) into v_differing, v_healed
  from sync.verified_days as days
  where days.account_id = v_row.account_id and days.verification_id = v_row.verification_id;
  perform audit.log(v_row.account_id, 'sync.verified', 'sync:' || v_row.door, jsonb_build_object('since', v_row.since,
    'until', v_row.until, 'differing', v_differing, 'healed', v_healed, 'problem', v_row.problem),
    case when v_row.problem is not null then 'failed' when v_differing = v_healed then 'equal' else 'differs' end,
    actor => 'rule:sync', as_of => finish_verification.as_of);
  if v_differing > v_healed then
    perform ops.raise_alert(v_row.account_id, 'sync.differs', v_row.door,
      format('Rows of the mirror that still differ from Chatwoot after healing: %s', v_differing - v_healed),
      'They are listed in api.sync_differences. Verify again; if they stay, report them.', finish_verification.as_of);
  elsif v_row.problem is null then
    perform ops.resolve_alert(v_row.account_id, 'sync.differs', v_row.door, finish_verification.as_of);
  end if;
end
$$;
comment on function sync.finish_verification is 'Ends a comparison, well or with a problem; logged, and an alert where something could not be healed.';

create function sync.verify(
  account_id bigint, since timestamptz, until timestamptz, as_of timestamptz default now()
) returns table (
  verification_id bigint, door text, state text, problem text, finished_at timestamptz, day date, entity text,
  source_rows bigint, mirror_rows bigint, source_hash bigint, mirror_hash bigint, differing bigint, healed bigint,
  is_equal boolean
)
language plpgsql volatile security definer set search_path = '' set lock_timeout = '5s' as $$
declare
  v_verification record;
  v_open text[];
begin
  perform access.require_role(verify.account_id, 'operator');
  if verify.since is null or verify.until is null or verify.since >= verify.until
    or not isfinite(verify.since) or not isfinite(verify.until) or verify.until - verify.since > interval '3660 days'
  then
    raise exception 'The range to verify must have an end after its beginning, at most ten years later'
      using errcode = 'OC422', hint = 'Such as since => now() - interval ''7 days'', until => now().';
  end if;
  if not exists (select from sync.sources as existing
    where existing.account_id = verify.account_id and existing.state = 'active')
  then
    raise exception 'Account % has no active source to compare with', verify.account_id
      using errcode = 'OC404', hint = 'Set one up: docs/sync.md. Or resume it: select api.resume_sync(…).';
  end if;
  select array_agg(distinct format('%s to %s', asked.since, asked.until)) into v_open from sync.verifications as asked
  where asked.account_id = verify.account_id and asked.finished_at is null and asked.requested_by <> 'rule:sync'
    and (asked.since <> verify.since or asked.until <> verify.until);
  if cardinality(v_open) >= 3 then
    raise exception 'Account % has three comparisons under way, which is as many as there may be', verify.account_id
      using errcode = 'OC409', hint = 'Ask again when one has ended, or with the range of one: ' || array_to_string(v_open[:3], ', ') || '.';
  end if;
  insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
  select existing.account_id, existing.door, verify.since, verify.until, verify.as_of, access.actor()
  from sync.sources as existing
  where existing.account_id = verify.account_id and existing.state = 'active'
    -- Asked again while it is at work, or within the hour after it found all right: that one's answer.
    and not exists (
      select from sync.verifications as asked
      where asked.account_id = existing.account_id and asked.door = existing.door and asked.since = verify.since
        and asked.until = verify.until and asked.state <> 'failed'
        and (asked.finished_at is null or (asked.finished_at > verify.as_of - interval '1 hour' and not exists (
          select from sync.verified_days as days where days.account_id = asked.account_id
            and days.verification_id = asked.verification_id and days.differing > days.healed))))
  on conflict do nothing;
  for v_verification in
    select asked.verification_id from sync.verifications as asked
    join sync.sources on sources.account_id = asked.account_id and sources.door = asked.door and sources.state = 'active'
    where asked.account_id = verify.account_id and asked.door = 'database' and asked.since = verify.since
      and asked.until = verify.until and asked.finished_at is null
  loop
    -- SQL alone and quick, so the first days need no waiting for cron.
    perform sync.verify_database(verify.account_id, v_verification.verification_id, verify.as_of, interval '4 seconds');
  end loop;
  return query
    select asked.verification_id, asked.door, asked.state, asked.problem, asked.finished_at, days.day, days.entity,
      days.source_rows, days.mirror_rows, days.source_hash, days.mirror_hash, days.differing, days.healed,
      days.differing = days.healed
    from (
      select distinct on (latest.door) latest.* from sync.verifications as latest
      where latest.account_id = verify.account_id and latest.since = verify.since and latest.until = verify.until
      order by latest.door, latest.verification_id desc
    ) as asked
    left join sync.verified_days as days
      on days.account_id = asked.account_id and days.verification_id = asked.verification_id
    order by asked.door, days.day, days.entity;
end
$$;
comment on function sync.verify is
  'Asks for a comparison of the mirror with each active source, heals what differs, and returns how far it is: one row a day and entity. Three ranges at a time. Operators and above. Errors: OC403, OC404, OC409, OC422.';

create function sync.purge_verifications(as_of timestamptz default now(), batch_size integer default 100) returns bigint
language sql volatile security invoker set search_path = '' as $$
  with old as materialized (
    select asked.account_id, asked.verification_id from sync.verifications as asked
    where asked.finished_at < purge_verifications.as_of - interval '90 days'
    order by asked.finished_at limit purge_verifications.batch_size
  ), gone as (
    delete from sync.verifications as existing using old
    where existing.account_id = old.account_id and existing.verification_id = old.verification_id
    returning existing.verification_id
  )
  select count(*) from gone
$$;
comment on function sync.purge_verifications is 'Deletes comparisons that ended over 90 days ago with all they found, one batch; returns how many.';

create function sync.request_verifications(as_of timestamptz default now()) returns bigint
-- Nobody has to remember to ask. Three days cover what REST looks at again by itself, and a day on which cron stood still.
language sql volatile security invoker set search_path = '' as $$
  with asked as (
    insert into sync.verifications (account_id, door, since, until, requested_at, requested_by)
    select sources.account_id, sources.door,
      (date_trunc('day', request_verifications.as_of at time zone 'UTC') - interval '3 days') at time zone 'UTC',
      date_trunc('day', request_verifications.as_of at time zone 'UTC') at time zone 'UTC',
      request_verifications.as_of, 'rule:sync'
    from sync.sources where sources.state = 'active' and sources.backfill_finished_at is not null
      -- Where they do not come to an end, more of them would not either.
      and (select count(*) from sync.verifications as open where open.account_id = sources.account_id
        and open.door = sources.door and open.finished_at is null and open.requested_by = 'rule:sync') < 3
    on conflict do nothing
    returning 1
  )
  select count(*) from asked
$$;
comment on function sync.request_verifications is 'Asks for a comparison of the last three days with each active source; returns how many were asked for.';

do $$
declare
  v_table text;
begin
  for v_table in
    select tables.relname from pg_class as tables
    where tables.relnamespace = 'sync'::regnamespace and tables.relkind = 'r' and not tables.relrowsecurity
  loop
    execute format('alter table sync.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on sync.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on sync.%I for select to analyst using (true)', v_table);
    execute format('grant select on sync.%I to authenticated, analyst, service_role', v_table);
  end loop;
end
$$;

revoke all on function sync.mirror_facts, sync.erased, sync.said, sync.compare, sync.distrust, sync.note_healed,
  sync.finish_verification, sync.verify, sync.request_verifications,
  sync.purge_verifications from public, anon, authenticated, service_role;
grant execute on function sync.verify to authenticated, service_role;
