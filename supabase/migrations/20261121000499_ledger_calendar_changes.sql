-- How the hours of a calendar are changed: by an admin through api, or by a rule that follows the working hours of an
-- inbox in Chatwoot. Either way what was wrong with the input is said in one sentence, and the change is in the log.
create function ledger.is_time_zone(name text) returns boolean
-- What `at time zone` takes is more than names: offsets and abbreviations, which know no summer time, or turn east to west.
language sql stable security invoker set search_path = '' as $$
  select coalesce((is_time_zone.name = 'UTC' or is_time_zone.name ~ '^(?!posix/)[A-Z][A-Za-z_]+/')
    and exists (select from pg_timezone_names as zones where zones.name = is_time_zone.name), false)
$$;
comment on function ledger.is_time_zone is 'Whether it is the IANA name of a time zone that Postgres knows.';

create function ledger.whole_number(entry jsonb, key text, smallest integer, largest integer, place text) returns integer
language plpgsql stable security invoker set search_path = '' as $$
begin
  if jsonb_typeof(entry -> key) = 'number' and (entry ->> key)::numeric = trunc((entry ->> key)::numeric)
    and (entry ->> key)::numeric between whole_number.smallest and whole_number.largest
  then
    return (entry ->> key)::numeric::integer;
  end if;
  raise exception '%: % must be a whole number from % to %, not %', place, key, whole_number.smallest, whole_number.largest,
    coalesce(left((entry -> key)::text, 50), 'missing')
    using errcode = 'OC422', hint = case key when 'weekday' then '0 is Sunday, 6 is Saturday.'
      else 'Minutes after the midnight that the day begins with; 22:00 to 06:00 is 1320 to 1800.' end;
end
$$;
comment on function ledger.whole_number is 'The whole number under the key, in its limits; else raises OC422 naming the place.';

create function ledger.normal_hours(hours jsonb, kind text) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  c_is_weekly constant boolean := normal_hours.kind = 'weekly';
  c_most constant integer := case when c_is_weekly then 50 else 1000 end;
  c_keys constant text[] := case when c_is_weekly then array['weekday', 'start_minute', 'end_minute']
    else array['date', 'closed', 'start_minute', 'end_minute'] end;
  c_shape constant text := case when c_is_weekly
    then 'An entry is {"weekday": 1, "start_minute": 540, "end_minute": 1020}: Mondays from 09:00 to 17:00.'
    else 'An entry is {"date": "2026-12-25", "closed": true} or {"date": "2026-12-24", "start_minute": 540, "end_minute": 780}.'
    end;
  v_entry jsonb;
  v_place text;
  v_number integer := 0;
  v_unknown text;
  v_date date;
  v_start integer;
  v_end integer;
  v_read jsonb[] := '{}'::jsonb[];
  v_clash record;
begin
  if coalesce(jsonb_typeof(normal_hours.hours), '') <> 'array' then
    raise exception '% must be an array', normal_hours.kind using errcode = 'OC422', hint = c_shape;
  end if;
  if jsonb_array_length(normal_hours.hours) > c_most then
    raise exception '% has % entries, more than %', normal_hours.kind, jsonb_array_length(normal_hours.hours), c_most
      using errcode = 'OC422', hint = 'Join spans that touch, and leave out dates that are long past.';
  end if;
  for v_entry in select entries.entry from jsonb_array_elements(normal_hours.hours) as entries (entry) loop
    v_number := v_number + 1;
    v_place := format('%s, entry %s', normal_hours.kind, v_number);
    if jsonb_typeof(v_entry) <> 'object' then
      raise exception '% must be an object', v_place using errcode = 'OC422', hint = c_shape;
    end if;
    select keys.name into v_unknown from jsonb_object_keys(v_entry) as keys (name)
    where keys.name <> all (c_keys) order by keys.name limit 1;
    if found then
      raise exception '% has the unknown key "%"', v_place, left(v_unknown, 50) using errcode = 'OC422', hint = c_shape;
    end if;
    if not c_is_weekly then
      begin
        -- The pattern first: a date can also be written as today, or as infinity.
        v_date := case when jsonb_typeof(v_entry -> 'date') = 'string' and v_entry ->> 'date' ~ '^(19|20)\d\d-\d\d-\d\d$'
          then (v_entry ->> 'date')::date end;
      exception when datetime_field_overflow or invalid_datetime_format then
        v_date := null;
      end;
      if v_date is null then
        raise exception '%: date must be a day from 1900 to 2099 such as "2026-12-25", not %', v_place,
          coalesce(left((v_entry -> 'date')::text, 50), 'missing') using errcode = 'OC422', hint = c_shape;
      end if;
      if v_entry ? 'closed' then
        if v_entry -> 'closed' <> 'true' or v_entry ?| array['start_minute', 'end_minute'] then
          raise exception '%: closed can only be true, and stands without minutes', v_place
            using errcode = 'OC422', hint = c_shape;
        end if;
        v_read := v_read || jsonb_build_object('date', to_char(v_date, 'YYYY-MM-DD'), 'closed', true);
        continue;
      end if;
    end if;
    v_start := ledger.whole_number(v_entry, 'start_minute', 0, 1439, v_place);
    v_end := ledger.whole_number(v_entry, 'end_minute', 1, 2880, v_place);
    if v_end <= v_start then
      raise exception '% ends (minute %) when or before it starts (minute %)', v_place, v_end, v_start
        using errcode = 'OC422', hint = 'For an end on the next day add 1440: 22:00 to 06:00 is 1320 to 1800.';
    end if;
    v_read := v_read || (jsonb_build_object('start_minute', v_start, 'end_minute', v_end) || case when c_is_weekly
      then jsonb_build_object('weekday', ledger.whole_number(v_entry, 'weekday', 0, 6, v_place))
      else jsonb_build_object('date', to_char(v_date, 'YYYY-MM-DD')) end);
  end loop;

  with spans as (
    select entries.place, entries.entry ->> 'date' as day, entries.entry ? 'closed' as is_closed,
      coalesce((entries.entry ->> 'weekday')::integer, 0) * 1440 + (entries.entry ->> 'start_minute')::integer as starts,
      coalesce((entries.entry ->> 'weekday')::integer, 0) * 1440 + (entries.entry ->> 'end_minute')::integer as ends
    from unnest(v_read) with ordinality as entries (entry, place)
  )
  select least(one.place, other.place) as one, greatest(one.place, other.place) as other into v_clash
  from spans as one join spans as other on one.place <> other.place and one.day is not distinct from other.day
    and (one.is_closed
      or one.starts <= other.starts and one.ends > other.starts
      -- The night from Saturday to Sunday.
      or c_is_weekly and one.ends - 10080 > other.starts)
  order by 1, 2 limit 1;
  if found then
    raise exception '%: entries % and % overlap', normal_hours.kind, v_clash.one, v_clash.other
      using errcode = 'OC422', hint = 'Make one entry of both, or let one end where the other starts.';
  end if;
  -- In one order, so that equal hours are equal.
  return coalesce((
    select jsonb_agg(entries.entry order by entries.entry ->> 'date', entries.entry -> 'weekday',
      entries.entry -> 'start_minute')
    from unnest(v_read) as entries (entry)
  ), '[]');
end
$$;
comment on function ledger.normal_hours is
  'Checks the spans of a week (kind weekly) or the exceptions of dates (kind exceptions) and returns them in one order; else raises OC422.';

create function ledger.put_hours(
  account_id bigint, calendar_id bigint, time_zone text, weekly jsonb, exceptions jsonb, valid_from timestamptz,
  as_of timestamptz
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_before ledger.calendar_versions;
begin
  perform from ledger.calendars as calendars
  where calendars.account_id = put_hours.account_id and calendars.calendar_id = put_hours.calendar_id
  for update;
  select * into v_before from ledger.calendar_versions as versions
  where versions.account_id = put_hours.account_id and versions.calendar_id = put_hours.calendar_id
    and versions.valid_from <= put_hours.valid_from
  order by versions.valid_from desc limit 1;
  if (v_before.time_zone, v_before.weekly, v_before.exceptions)
    is not distinct from (put_hours.time_zone, put_hours.weekly, put_hours.exceptions)
  then
    return false;
  end if;
  insert into ledger.calendar_versions (account_id, calendar_id, valid_from, time_zone, weekly, exceptions)
  values (put_hours.account_id, put_hours.calendar_id, put_hours.valid_from, put_hours.time_zone, put_hours.weekly,
    put_hours.exceptions)
  on conflict on constraint calendar_versions_pkey do update
  set time_zone = excluded.time_zone, weekly = excluded.weekly, exceptions = excluded.exceptions;
  update ledger.calendars as existing
  set revision = existing.revision + 1, built_until = greatest(existing.built_until, ledger.horizon(put_hours.as_of)),
    time_zone = (
      select newest.time_zone from ledger.calendar_versions as newest
      where newest.account_id = put_hours.account_id and newest.calendar_id = put_hours.calendar_id
      order by newest.valid_from desc limit 1)
  where existing.account_id = put_hours.account_id and existing.calendar_id = put_hours.calendar_id;
  perform ledger.build_calendar(put_hours.account_id, put_hours.calendar_id, put_hours.valid_from);
  perform ledger.check_calendar(put_hours.account_id, put_hours.calendar_id, put_hours.as_of);
  perform ledger.touch_calendar(put_hours.account_id, put_hours.calendar_id, put_hours.valid_from);
  return true;
end
$$;
comment on function ledger.put_hours is
  'Lets these hours hold in a calendar from valid_from to its next version, and works out what changes; false when they hold already.';

create function ledger.save_calendar(
  account_id bigint, name text, time_zone text, weekly jsonb, exceptions jsonb default '[]',
  valid_from timestamptz default null, as_of timestamptz default now(), calendar_id bigint default null
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_calendar ledger.calendars;
  v_weekly jsonb;
  v_exceptions jsonb;
  v_valid_from timestamptz := save_calendar.valid_from;
  v_is_changed boolean;
begin
  perform access.require_role(save_calendar.account_id, 'admin');
  if save_calendar.account_id is null or save_calendar.account_id < 1 then
    raise exception 'account_id % is no Chatwoot account', coalesce(save_calendar.account_id::text, 'null')
      using errcode = 'OC422', hint = 'Give the number that stands in the address of your Chatwoot dashboard.';
  end if;
  if coalesce(length(save_calendar.name), 0) not between 1 and 100 then
    raise exception 'The name of a calendar has 1 to 100 characters' using errcode = 'OC422',
      hint = 'Give it a short name, such as "Support, Berlin".';
  end if;
  if not ledger.is_time_zone(save_calendar.time_zone) then
    raise exception 'time_zone must be the IANA name of a time zone, not %',
      coalesce('"' || left(save_calendar.time_zone, 50) || '"', 'null')
      using errcode = 'OC422', hint = 'Such as "Europe/Berlin"; all of them: select name from pg_timezone_names.';
  end if;
  if save_calendar.valid_from = 'infinity' then
    raise exception 'valid_from is never' using errcode = 'OC422',
      hint = 'Give the instant from which the hours hold, or -infinity for ever since.';
  end if;
  v_weekly := ledger.normal_hours(save_calendar.weekly, 'weekly');
  v_exceptions := ledger.normal_hours(coalesce(save_calendar.exceptions, '[]'), 'exceptions');

  -- One change of an account's calendars at a time: two could otherwise both make the one of this name.
  perform pg_advisory_xact_lock(hashtextextended('ledger.calendars', save_calendar.account_id));
  select * into v_calendar from ledger.calendars as calendars
  where calendars.account_id = save_calendar.account_id and case
    when save_calendar.calendar_id is null then calendars.name = save_calendar.name and calendars.inbox_id is null
    else calendars.calendar_id = save_calendar.calendar_id end;
  if not found and save_calendar.calendar_id is not null then
    perform ledger.refuse_unknown(save_calendar.account_id, save_calendar.calendar_id);
  end if;
  if v_calendar.inbox_id is not null then
    raise exception 'Calendar % follows the working hours of inbox % in Chatwoot', v_calendar.calendar_id,
      v_calendar.inbox_id
      using errcode = 'OC409',
        hint = 'Change them in Chatwoot, or save a calendar of your own and use it for the inbox: api.use_calendar.';
  end if;
  if v_calendar.name <> save_calendar.name and exists (
    select from ledger.calendars as calendars where calendars.account_id = save_calendar.account_id
      and calendars.name = save_calendar.name and calendars.inbox_id is null)
  then
    raise exception 'Another calendar is called "%"', save_calendar.name
      using errcode = 'OC409', hint = 'Choose another name: select calendar_id, name from api.calendars.';
  end if;
  if v_calendar.calendar_id is null then
    insert into ledger.calendars
      (account_id, name, time_zone, revision, built_from, built_until, changed_at, changed_by)
    values (save_calendar.account_id, save_calendar.name, save_calendar.time_zone, 0, '2010-01-01T00:00:00Z',
      ledger.horizon(save_calendar.as_of), save_calendar.as_of, access.actor())
    returning * into v_calendar;
    v_valid_from := coalesce(v_valid_from, '-infinity');
  end if;
  v_valid_from := coalesce(v_valid_from, save_calendar.as_of);
  v_is_changed := ledger.put_hours(save_calendar.account_id, v_calendar.calendar_id, save_calendar.time_zone, v_weekly,
    v_exceptions, v_valid_from, save_calendar.as_of);
  if v_is_changed or v_calendar.name <> save_calendar.name then
    update ledger.calendars as existing
    set name = save_calendar.name, changed_at = save_calendar.as_of, changed_by = access.actor()
    where existing.account_id = save_calendar.account_id and existing.calendar_id = v_calendar.calendar_id;
    perform audit.log(save_calendar.account_id, 'calendar.saved', 'calendar:' || v_calendar.calendar_id,
      jsonb_build_object('name', save_calendar.name)
      || case when v_calendar.name <> save_calendar.name then jsonb_build_object('name_before', v_calendar.name)
        else '{}' end
      || case when v_is_changed then jsonb_build_object('valid_from', v_valid_from, 'time_zone', save_calendar.time_zone,
        'weekly', v_weekly, 'exceptions', v_exceptions) else '{}' end,
      'done', as_of => save_calendar.as_of);
  end if;
  return v_calendar.calendar_id;
end
$$;
comment on function ledger.save_calendar is
  'Saves the hours of a calendar from valid_from to its next version (admins only), logged; returns its id. It is the one with that id, else the one with that name, else a new one. valid_from null: since ever for a new one, else from as_of on. Errors: OC403, OC404, OC409, OC422.';

create function ledger.refuse_unknown(account_id bigint, calendar_id bigint) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  if not exists (
    select from ledger.calendars as calendars
    where calendars.account_id = refuse_unknown.account_id and calendars.calendar_id = refuse_unknown.calendar_id)
  then
    raise exception 'There is no calendar % in account %', coalesce(refuse_unknown.calendar_id::text, 'null'),
      refuse_unknown.account_id
      using errcode = 'OC404', hint = 'The calendars there are: select calendar_id, name from api.calendars.';
  end if;
end
$$;
comment on function ledger.refuse_unknown is 'Raises OC404 when the account has no such calendar.';

create function ledger.delete_calendar(account_id bigint, calendar_id bigint, as_of timestamptz default now())
returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_name text;
  v_uses text;
begin
  perform access.require_role(delete_calendar.account_id, 'admin');
  perform pg_advisory_xact_lock(hashtextextended('ledger.calendars', delete_calendar.account_id));
  perform ledger.refuse_unknown(delete_calendar.account_id, delete_calendar.calendar_id);
  select string_agg(uses.scope || case when uses.scope_id > 0 then ' ' || uses.scope_id else '' end, ', '
    order by uses.scope, uses.scope_id) into v_uses
  from ledger.calendar_uses as uses
  where uses.account_id = delete_calendar.account_id and uses.calendar_id = delete_calendar.calendar_id;
  if v_uses is not null then
    raise exception 'Calendar % is in use: %', delete_calendar.calendar_id, v_uses using errcode = 'OC409',
      hint = 'Give those another calendar, or none, first: api.use_calendar.';
  end if;
  select string_agg(distinct policies.name, ', ') into v_uses
  from sla.policies
  cross join lateral jsonb_path_query(policies.targets, '$.*.priorities.*.hours') as named (hours)
  where policies.account_id = delete_calendar.account_id and named.hours = to_jsonb(delete_calendar.calendar_id);
  if v_uses is not null then
    raise exception 'Calendar % is what service level policies were or are counted by: %', delete_calendar.calendar_id, v_uses
      using errcode = 'OC409', hint = 'Their versions are kept, so that the past can be counted again; and so is the calendar.';
  end if;
  if exists (select from ledger.episodes where episodes.account_id = delete_calendar.account_id
    and episodes.calendar_id = delete_calendar.calendar_id)
  then
    raise exception 'Calendar % is still what episodes were counted by', delete_calendar.calendar_id using errcode = 'OC409',
      hint = 'They are being counted anew: try again when api.ledger_status shows nothing queued.';
  end if;
  delete from ledger.calendar_spans as spans
  where spans.account_id = delete_calendar.account_id and spans.calendar_id = delete_calendar.calendar_id;
  delete from ledger.calendars as existing
  where existing.account_id = delete_calendar.account_id and existing.calendar_id = delete_calendar.calendar_id
  returning existing.name into v_name;
  perform ops.resolve_alert(delete_calendar.account_id, 'ledger.calendar_closed',
    'calendar:' || delete_calendar.calendar_id, delete_calendar.as_of);
  perform audit.log(delete_calendar.account_id, 'calendar.deleted', 'calendar:' || delete_calendar.calendar_id,
    jsonb_build_object('name', v_name), 'done', as_of => delete_calendar.as_of);
end
$$;
comment on function ledger.delete_calendar is
  'Deletes a calendar that nothing uses (admins only), logged. Errors: OC403, OC404, OC409.';

create function ledger.put_use(
  account_id bigint, scope text, scope_id bigint, calendar_id bigint, actor text, actor_version text,
  as_of timestamptz
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_before bigint;
begin
  select uses.calendar_id into v_before from ledger.calendar_uses as uses
  where uses.account_id = put_use.account_id and uses.scope = put_use.scope and uses.scope_id = put_use.scope_id;
  if found and v_before is not distinct from put_use.calendar_id then
    return;
  end if;
  insert into ledger.calendar_uses (account_id, scope, scope_id, calendar_id, changed_at, changed_by)
  values (put_use.account_id, put_use.scope, put_use.scope_id, put_use.calendar_id, put_use.as_of, put_use.actor)
  on conflict on constraint calendar_uses_pkey do update
  set calendar_id = excluded.calendar_id, changed_at = excluded.changed_at, changed_by = excluded.changed_by;
  perform audit.log(put_use.account_id, 'calendar.used', put_use.scope || ':' || put_use.scope_id,
    jsonb_build_object('before', v_before, 'after', put_use.calendar_id), 'done', put_use.actor, put_use.actor_version,
    put_use.as_of);
  if v_before is distinct from put_use.calendar_id then
    perform ledger.touch_scope(put_use.account_id, put_use.scope, put_use.scope_id);
  end if;
end
$$;
comment on function ledger.put_use is 'Lets a calendar hold for an account, inbox or team, and logs it, unless it does already.';

create function ledger.use_calendar(
  account_id bigint, scope text, scope_id bigint, calendar_id bigint, as_of timestamptz default now()
) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(use_calendar.account_id, 'admin');
  if coalesce(use_calendar.scope, '') not in ('account', 'inbox', 'team') then
    raise exception 'scope must be account, inbox or team, not %', coalesce('"' || left(use_calendar.scope, 50) || '"', 'null')
      using errcode = 'OC422', hint = 'The team''s calendar goes before the inbox''s, the inbox''s before the account''s.';
  end if;
  if use_calendar.scope = 'account' and coalesce(use_calendar.scope_id, 0) <> 0 then
    raise exception 'For the scope account, scope_id must be 0, not %', use_calendar.scope_id
      using errcode = 'OC422', hint = 'The account itself is the argument account_id.';
  end if;
  if use_calendar.scope <> 'account' and coalesce(use_calendar.scope_id, 0) < 1 then
    raise exception 'scope_id must be the number of the %, not %', use_calendar.scope,
      coalesce(use_calendar.scope_id::text, 'null')
      using errcode = 'OC422', hint = 'It stands in the address of its settings in Chatwoot.';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('ledger.calendars', use_calendar.account_id));
  if use_calendar.calendar_id is not null then
    perform ledger.refuse_unknown(use_calendar.account_id, use_calendar.calendar_id);
  end if;
  perform ledger.put_use(use_calendar.account_id, use_calendar.scope, coalesce(use_calendar.scope_id, 0),
    use_calendar.calendar_id, access.actor(), null, use_calendar.as_of);
end
$$;
comment on function ledger.use_calendar is
  'Lets a calendar hold for an account (scope_id 0), inbox or team (admins only), logged. calendar_id null: none of its own, and no import gives it one. Errors: OC403, OC404, OC422.';

create function ledger.read_working_hours(days jsonb) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_day jsonb;
  v_place text;
  v_weekly jsonb := '[]'::jsonb;
begin
  if coalesce(jsonb_typeof(read_working_hours.days), '') <> 'array' then
    raise exception 'working_hours must be an array' using errcode = 'OC422';
  end if;
  for v_day in select entries.entry from jsonb_array_elements(read_working_hours.days) as entries (entry) loop
    v_place := format('working_hours, day %s', coalesce(left((v_day -> 'day_of_week')::text, 50), 'missing'));
    -- A day that is not there is closed, as it is in Chatwoot.
    if v_day -> 'closed_all_day' = 'true' then
      continue;
    end if;
    v_weekly := v_weekly || (jsonb_build_object('weekday', v_day -> 'day_of_week') || case
      -- Chatwoot stores 00:00 to 23:59, and its own reports lose the last minute of each such day.
      when v_day -> 'open_all_day' = 'true' then jsonb_build_object('start_minute', 0, 'end_minute', 1440)
      else jsonb_build_object(
        'start_minute', ledger.whole_number(v_day, 'open_hour', 0, 23, v_place) * 60
          + ledger.whole_number(v_day, 'open_minutes', 0, 59, v_place),
        'end_minute', ledger.whole_number(v_day, 'close_hour', 0, 23, v_place) * 60
          + ledger.whole_number(v_day, 'close_minutes', 0, 59, v_place)) end);
  end loop;
  return ledger.normal_hours(v_weekly, 'weekly');
end
$$;
comment on function ledger.read_working_hours is
  'The weekly spans that an inbox''s working hours in Chatwoot mean; OC422 when they cannot be read.';

create function ledger.import_working_hours(
  account_id bigint, inbox_id bigint default null, as_of timestamptz default now()
) returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  c_actor constant text := 'rule:import_working_hours';
  c_version constant text := '1';
  c_always constant jsonb := (
    select jsonb_agg(jsonb_build_object('weekday', days.day, 'start_minute', 0, 'end_minute', 1440) order by days.day)
    from generate_series(0, 6) as days (day));
  v_inbox chatwoot.inboxes;
  v_calendar ledger.calendars;
  v_subject text;
  v_zone text;
  v_weekly jsonb;
  v_valid_from timestamptz;
  v_imported integer := 0;
begin
  perform pg_advisory_xact_lock(hashtextextended('ledger.calendars', import_working_hours.account_id));
  for v_inbox in
    select * from chatwoot.inboxes as inboxes
    where inboxes.account_id = import_working_hours.account_id
      and (import_working_hours.inbox_id is null or inboxes.inbox_id = import_working_hours.inbox_id)
    order by inboxes.inbox_id
  loop
    v_subject := 'inbox:' || v_inbox.inbox_id;
    select * into v_calendar from ledger.calendars as calendars
    where calendars.account_id = v_inbox.account_id and calendars.inbox_id = v_inbox.inbox_id;
    -- Nothing to say while Chatwoot has not said it, nor where hours never were in force.
    if v_inbox.working_hours_enabled is null or v_inbox.working_hours_enabled and v_inbox.working_hours is null
      or not v_inbox.working_hours_enabled and v_calendar.calendar_id is null
    then
      continue;
    end if;
    if v_inbox.working_hours_enabled then
      v_zone := coalesce(nullif(v_inbox.time_zone, ''), 'UTC');
      begin
        if not ledger.is_time_zone(v_zone) then
          raise exception '"%" is no IANA time zone that Postgres knows', left(v_zone, 50) using errcode = 'OC422';
        end if;
        v_weekly := ledger.read_working_hours(v_inbox.working_hours);
      exception when sqlstate 'OC422' then
        -- An alert and no error: this may run within a webhook, whose other facts are good.
        perform ops.raise_alert(v_inbox.account_id, 'ledger.working_hours', v_subject,
          format('The working hours of inbox %s cannot be read, those before them stay in force: %s', v_inbox.inbox_id,
            sqlerrm),
          'Save the working hours again in Chatwoot, or give the inbox a calendar: api.save_calendar, api.use_calendar.',
          import_working_hours.as_of);
        continue;
      end;
    else
      -- Hours that were in force stay so for the past. From now on the calendar is open day and night.
      v_zone := v_calendar.time_zone;
      v_weekly := c_always;
    end if;
    perform ops.resolve_alert(v_inbox.account_id, 'ledger.working_hours', v_subject, import_working_hours.as_of);
    v_valid_from := (
      select greatest(max(versions.valid_from), import_working_hours.as_of) from ledger.calendar_versions as versions
      where versions.account_id = v_inbox.account_id and versions.calendar_id = v_calendar.calendar_id
      having count(*) > 0);
    if v_calendar.calendar_id is null then
      -- Since when they hold, Chatwoot does not tell: the first known hours count for all that was before.
      v_valid_from := '-infinity';
      insert into ledger.calendars
        (account_id, name, time_zone, inbox_id, revision, built_from, built_until, changed_at, changed_by)
      values (v_inbox.account_id, 'Chatwoot inbox ' || v_inbox.inbox_id, v_zone, v_inbox.inbox_id, 0,
        '2010-01-01T00:00:00Z', ledger.horizon(import_working_hours.as_of), import_working_hours.as_of, c_actor)
      returning * into v_calendar;
    end if;
    if ledger.put_hours(v_inbox.account_id, v_calendar.calendar_id, v_zone, v_weekly, '[]', v_valid_from,
      import_working_hours.as_of)
    then
      update ledger.calendars as existing set changed_at = import_working_hours.as_of, changed_by = c_actor
      where existing.account_id = v_inbox.account_id and existing.calendar_id = v_calendar.calendar_id;
      perform audit.log(v_inbox.account_id, 'calendar.imported', 'calendar:' || v_calendar.calendar_id,
        jsonb_build_object('inbox_id', v_inbox.inbox_id, 'reason', case when v_inbox.working_hours_enabled
          then 'working hours in Chatwoot' else 'working hours switched off in Chatwoot' end,
          'valid_from', v_valid_from, 'time_zone', v_zone, 'weekly', v_weekly),
        'done', c_actor, c_version, import_working_hours.as_of);
      v_imported := v_imported + 1;
    end if;
    -- A row is there when a person chose, even to have none.
    if not exists (
      select from ledger.calendar_uses as uses
      where uses.account_id = v_inbox.account_id and uses.scope = 'inbox' and uses.scope_id = v_inbox.inbox_id)
    then
      perform ledger.put_use(v_inbox.account_id, 'inbox', v_inbox.inbox_id, v_calendar.calendar_id, c_actor, c_version,
        import_working_hours.as_of);
    end if;
  end loop;
  return v_imported;
end
$$;
comment on function ledger.import_working_hours is
  'Makes calendars of the inboxes'' working hours in Chatwoot, one inbox or all of the account; changed hours hold from as_of on. What a person chose for an inbox stays. Returns how many changed; hours that cannot be read are an alert (ledger.working_hours).';

create function ledger.tg_import_inserted_hours() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_inbox record;
begin
  for v_inbox in
    select inserted.account_id, inserted.inbox_id from inserted
    where inserted.working_hours_enabled order by inserted.account_id, inserted.inbox_id
  loop
    perform ledger.import_working_hours(v_inbox.account_id, v_inbox.inbox_id);
  end loop;
  return null;
end
$$;
comment on function ledger.tg_import_inserted_hours is 'Imports the working hours of new inboxes.';

create function ledger.tg_import_updated_hours() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_inbox record;
begin
  for v_inbox in
    select updated.account_id, updated.inbox_id
    from updated join replaced using (account_id, inbox_id)
    where (updated.time_zone, updated.working_hours_enabled, updated.working_hours)
      is distinct from (replaced.time_zone, replaced.working_hours_enabled, replaced.working_hours)
    order by updated.account_id, updated.inbox_id
  loop
    perform ledger.import_working_hours(v_inbox.account_id, v_inbox.inbox_id);
  end loop;
  return null;
end
$$;
comment on function ledger.tg_import_updated_hours is 'Imports the working hours of inboxes where they changed.';

create trigger import_inserted_hours after insert on chatwoot.inboxes
referencing new table as inserted for each statement execute function ledger.tg_import_inserted_hours();
create trigger import_updated_hours after update on chatwoot.inboxes
referencing old table as replaced new table as updated
for each statement execute function ledger.tg_import_updated_hours();

revoke all on function ledger.is_time_zone, ledger.whole_number, ledger.normal_hours, ledger.put_hours,
  ledger.save_calendar, ledger.refuse_unknown, ledger.delete_calendar, ledger.put_use, ledger.use_calendar,
  ledger.read_working_hours, ledger.import_working_hours, ledger.tg_import_inserted_hours,
  ledger.tg_import_updated_hours from public, anon, authenticated, service_role;
grant execute on function ledger.save_calendar, ledger.delete_calendar, ledger.use_calendar
  to authenticated, service_role;
