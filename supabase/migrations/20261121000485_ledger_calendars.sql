-- Business hours. A calendar's open time is worked out once, as spans between instants, each with the open time before
-- it; after that a duration in business hours is the difference of two look-ups, and a due time is one more.
create schema ledger;
comment on schema ledger is 'Calendars, the normalised event log, episodes, spans: what every metric is read from.';
revoke all on schema ledger from public;
grant usage on schema ledger to authenticated, service_role;

create table ledger.calendars (
  account_id bigint not null,
  calendar_id bigint generated always as identity,
  name text not null,
  time_zone text not null,
  inbox_id bigint,
  revision integer not null default 1,
  built_from timestamptz not null,
  built_until timestamptz not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint calendars_pkey primary key (account_id, calendar_id),
  constraint calendars_account_id_positive check (account_id > 0),
  constraint calendars_name_bounded check (length(name) between 1 and 100),
  constraint calendars_built_in_order check (built_from < built_until)
);
comment on table ledger.calendars is 'Calendars of business hours. What is open when stands in their versions.';
comment on column ledger.calendars.account_id is 'Chatwoot''s account id.';
comment on column ledger.calendars.calendar_id is 'Number of the calendar, unique in the project.';
comment on column ledger.calendars.name is 'What people call it; unique in the account among those that people made.';
comment on column ledger.calendars.time_zone is 'IANA zone of its newest version.';
comment on column ledger.calendars.inbox_id is 'The inbox whose working hours it follows; null for a calendar that a person made.';
comment on column ledger.calendars.revision is 'Rises with every change of its hours.';
comment on column ledger.calendars.built_from is 'From when on its spans are worked out (UTC).';
comment on column ledger.calendars.built_until is 'Until when its spans are worked out (UTC).';
comment on column ledger.calendars.changed_at is 'When its name or its hours were last changed (UTC).';
comment on column ledger.calendars.changed_by is 'Who changed it last, as in the decision log.';
create unique index calendars_name_key on ledger.calendars (account_id, name) where inbox_id is null;
create unique index calendars_inbox_id_key on ledger.calendars (account_id, inbox_id) where inbox_id is not null;

create table ledger.calendar_versions (
  account_id bigint not null,
  calendar_id bigint not null,
  valid_from timestamptz not null,
  time_zone text not null,
  weekly jsonb not null,
  exceptions jsonb not null,
  constraint calendar_versions_pkey primary key (account_id, calendar_id, valid_from),
  constraint calendar_versions_calendar_fkey foreign key (account_id, calendar_id)
    references ledger.calendars (account_id, calendar_id) on delete cascade,
  constraint calendar_versions_valid_from_not_never check (valid_from < 'infinity')
);
comment on table ledger.calendar_versions is 'What is open when, one row from valid_from to the next version; nothing is open before the first.';
comment on column ledger.calendar_versions.account_id is 'Chatwoot''s account id.';
comment on column ledger.calendar_versions.calendar_id is 'The calendar.';
comment on column ledger.calendar_versions.valid_from is 'From when on it holds (UTC); -infinity for ever since.';
comment on column ledger.calendar_versions.time_zone is 'IANA zone of its weekdays, dates and minutes; here, so that a move of the office does not move the past.';
comment on column ledger.calendar_versions.weekly is 'Array of {weekday, start_minute, end_minute}, weekday 0 is Sunday; minutes past 1440 are in the days after.';
comment on column ledger.calendar_versions.exceptions is 'Array of {date, closed: true} or {date, start_minute, end_minute}: what is open instead of the weekday''s spans on that local date.';

create table ledger.calendar_uses (
  account_id bigint not null,
  scope text not null,
  scope_id bigint not null,
  calendar_id bigint,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint calendar_uses_pkey primary key (account_id, scope, scope_id),
  constraint calendar_uses_calendar_fkey foreign key (account_id, calendar_id)
    references ledger.calendars (account_id, calendar_id),
  constraint calendar_uses_scope_known check (scope in ('account', 'inbox', 'team')),
  constraint calendar_uses_scope_id_fits check (scope_id >= 0 and (scope = 'account') = (scope_id = 0))
);
comment on table ledger.calendar_uses is 'Which calendar holds where. The team''s goes before the inbox''s, the inbox''s before the account''s.';
comment on column ledger.calendar_uses.account_id is 'Chatwoot''s account id.';
comment on column ledger.calendar_uses.scope is 'account, inbox or team.';
comment on column ledger.calendar_uses.scope_id is 'The inbox or team; 0 for the account.';
comment on column ledger.calendar_uses.calendar_id is 'The calendar; null where a person chose to have none of its own, so that no import gives it one.';
comment on column ledger.calendar_uses.changed_at is 'When it was last changed (UTC).';
comment on column ledger.calendar_uses.changed_by is 'Who changed it last, as in the decision log.';
create index calendar_uses_calendar_idx on ledger.calendar_uses (account_id, calendar_id);

-- No foreign key: thousands of rows are written at once, and always by the function that has the calendar locked.
create table ledger.calendar_spans (
  account_id bigint not null,
  calendar_id bigint not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  closed_until timestamptz not null,
  business_before interval not null,
  business_shift interval not null,
  constraint calendar_spans_pkey primary key (account_id, calendar_id, starts_at),
  constraint calendar_spans_business_before_key unique (account_id, calendar_id, business_before),
  constraint calendar_spans_in_order check (starts_at < ends_at and ends_at <= closed_until)
);
comment on table ledger.calendar_spans is 'When each calendar is open, worked out from its versions: spans that neither overlap nor touch.';
comment on column ledger.calendar_spans.account_id is 'Chatwoot''s account id.';
comment on column ledger.calendar_spans.calendar_id is 'The calendar.';
comment on column ledger.calendar_spans.starts_at is 'Opening (UTC).';
comment on column ledger.calendar_spans.ends_at is 'Closing (UTC), no longer open.';
comment on column ledger.calendar_spans.closed_until is 'The next opening, or the end of what is worked out (UTC).';
comment on column ledger.calendar_spans.business_before is 'Open time from 2010-01-01 UTC to the opening, in hours without days; below zero before 2010.';
-- Only hours: a day in an interval would be as long as the time zone of the session makes it.
comment on column ledger.calendar_spans.business_shift is 'What, added to an instant of the span, gives the business clock: 1970 plus the open time before; hours without days.';

create function ledger.business_clock(account_id bigint, calendar_id bigint, at timestamptz) returns timestamptz
-- PL/pgSQL keeps its plan; definer, so that a view may call it for somebody who may not name the table.
language plpgsql stable security definer set search_path = '' as $$
declare
  v_reading timestamptz;
  v_closed_until timestamptz;
begin
  if business_clock.calendar_id is null or business_clock.at is null then
    return business_clock.at;
  end if;
  select least(business_clock.at, spans.ends_at) + spans.business_shift, spans.closed_until
  into v_reading, v_closed_until
  from ledger.calendar_spans as spans
  where spans.account_id = business_clock.account_id and spans.calendar_id = business_clock.calendar_id
    and spans.starts_at <= business_clock.at
  order by spans.starts_at desc limit 1;
  if business_clock.at <= v_closed_until then
    return v_reading;
  end if;
  return ledger.first_reading(business_clock.account_id, business_clock.calendar_id, business_clock.at);
end
$$;
comment on function ledger.business_clock is
  'The business clock at that instant: 1970 plus the calendar''s open time until then, so that the difference of two readings is a duration in business hours. Without a calendar the instant itself. Errors: OC404, OC422.';

create function ledger.first_reading(account_id bigint, calendar_id bigint, at timestamptz) returns timestamptz
language plpgsql stable security definer set search_path = '' as $$
declare
  v_calendar ledger.calendars;
  v_reading timestamptz;
begin
  select * into v_calendar from ledger.calendars as calendars
  where calendars.account_id = first_reading.account_id and calendars.calendar_id = first_reading.calendar_id;
  if not found then
    raise exception 'There is no calendar % in account %', first_reading.calendar_id, first_reading.account_id
      using errcode = 'OC404', hint = 'The calendars there are: select calendar_id, name from api.calendars.';
  end if;
  if first_reading.at not between v_calendar.built_from and v_calendar.built_until then
    raise exception 'Calendar % is worked out from % to %, and % is not in it', v_calendar.calendar_id,
      v_calendar.built_from, v_calendar.built_until, first_reading.at
      using errcode = 'OC422',
        hint = 'Work it out further: select ledger.reach_calendar(account_id, calendar_id, since, until).';
  end if;
  select spans.starts_at + spans.business_shift into v_reading
  from ledger.calendar_spans as spans
  where spans.account_id = first_reading.account_id and spans.calendar_id = first_reading.calendar_id
  order by spans.starts_at limit 1;
  return coalesce(v_reading, timestamptz 'epoch');
end
$$;
comment on function ledger.first_reading is
  'The business clock of an instant before the calendar first opens. Errors: OC404 when there is no such calendar, OC422 when it is not worked out so far.';

create function ledger.business_seconds(account_id bigint, calendar_id bigint, since timestamptz, until timestamptz)
returns double precision
language plpgsql stable security definer set search_path = '' as $$
begin
  if business_seconds.until <= business_seconds.since then
    return 0;
  end if;
  return extract(epoch from
    ledger.business_clock(business_seconds.account_id, business_seconds.calendar_id, business_seconds.until)
    - ledger.business_clock(business_seconds.account_id, business_seconds.calendar_id, business_seconds.since));
end
$$;
comment on function ledger.business_seconds is
  'Seconds in [from, until) during which the calendar is open, all of them without a calendar; 0 when until is not after from. Errors: OC404, OC422.';

create function ledger.business_due(
  account_id bigint, calendar_id bigint, since timestamptz, seconds double precision
) returns timestamptz
language plpgsql stable security definer set search_path = '' as $$
declare
  -- 400 days, in hours: a day could have 23 of them in the time zone of the session.
  c_patience constant interval := interval '9600 hours';
  v_target timestamptz;
  v_due timestamptz;
  v_ends_at timestamptz;
begin
  if business_due.since is null or business_due.seconds is null then
    return null;
  end if;
  -- 31,557,600,000 seconds are a thousand years, which an instant can still be added to.
  if business_due.seconds = 'NaN' or business_due.seconds > 31557600000 then
    raise exception '% is no number of seconds to wait', business_due.seconds
      using errcode = 'OC422', hint = 'Give seconds from 0 to 31557600000.';
  end if;
  if business_due.seconds <= 0 then
    return business_due.since;
  end if;
  -- A second times a number stays in the part of an interval that no time zone stretches.
  if business_due.calendar_id is null then
    return business_due.since + interval '1 second' * business_due.seconds;
  end if;
  v_target := ledger.business_clock(business_due.account_id, business_due.calendar_id, business_due.since)
    + interval '1 second' * business_due.seconds;
  -- Strictly before: a target that is used up at closing is due at closing, not at the next opening.
  select v_target - spans.business_shift, spans.ends_at into v_due, v_ends_at
  from ledger.calendar_spans as spans
  where spans.account_id = business_due.account_id and spans.calendar_id = business_due.calendar_id
    and spans.business_before < v_target - timestamptz 'epoch'
  order by spans.business_before desc limit 1;
  if v_due <= v_ends_at and v_due - business_due.since <= c_patience then
    return v_due;
  end if;
  -- Rare from here on: a long target, or a calendar that closes for good.
  if ledger.longest_wait(business_due.account_id, business_due.calendar_id, business_due.since, v_due) > c_patience
  then
    return null;
  end if;
  if v_due <= v_ends_at then
    return v_due;
  end if;
  raise exception 'Calendar % is not worked out so far that % business seconds from % end in it',
    business_due.calendar_id, business_due.seconds, business_due.since
    using errcode = 'OC422',
      hint = 'Give fewer seconds, or work it out further: select ledger.reach_calendar(account_id, calendar_id, since, until).';
end
$$;
comment on function ledger.business_due is
  'The earliest instant by which the calendar was open for so many seconds since from; null when it opens no more within 400 days of where it stands. Errors: OC404, OC422.';

create function ledger.longest_wait(account_id bigint, calendar_id bigint, since timestamptz, until timestamptz)
returns interval
language sql stable security definer set search_path = '' as $$
  -- The end of what is worked out counts as an opening: a wait that reaches it may be longer, not shorter.
  select max(waits.length) from (
    select spans.closed_until - greatest(spans.ends_at, longest_wait.since) as length
    from ledger.calendar_spans as spans
    where spans.account_id = longest_wait.account_id and spans.calendar_id = longest_wait.calendar_id
      and spans.closed_until > longest_wait.since and spans.ends_at < coalesce(longest_wait.until, 'infinity')
    union all
    select coalesce((
      select min(spans.starts_at) from ledger.calendar_spans as spans
      where spans.account_id = longest_wait.account_id and spans.calendar_id = longest_wait.calendar_id
    ), calendars.built_until) - longest_wait.since
    from ledger.calendars
    where calendars.account_id = longest_wait.account_id and calendars.calendar_id = longest_wait.calendar_id
  ) as waits
$$;
comment on function ledger.longest_wait is
  'How long the calendar is closed at a stretch between from and an instant at which it is open.';

create function ledger.calendar_for(account_id bigint, team_id bigint, inbox_id bigint) returns bigint
language plpgsql stable security definer set search_path = '' as $$
begin
  return coalesce(
    (select uses.calendar_id from ledger.calendar_uses as uses
      where uses.account_id = calendar_for.account_id and uses.scope = 'team' and uses.scope_id = calendar_for.team_id),
    (select uses.calendar_id from ledger.calendar_uses as uses
      where uses.account_id = calendar_for.account_id and uses.scope = 'inbox' and uses.scope_id = calendar_for.inbox_id),
    (select uses.calendar_id from ledger.calendar_uses as uses
      where uses.account_id = calendar_for.account_id and uses.scope = 'account' and uses.scope_id = 0));
end
$$;
comment on function ledger.calendar_for is
  'The calendar that holds for a conversation: the team''s, else the inbox''s, else the account''s; null for none, which is 24 hours on 7 days.';

create function ledger.build_calendar(account_id bigint, calendar_id bigint, since timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  -- Where the open time is zero. Fixed, so that spans before it can be added without moving every reading after it.
  c_anchor constant timestamptz := '2010-01-01T00:00:00Z'::timestamptz;
  v_calendar ledger.calendars;
  v_since timestamptz;
  v_before interval;
begin
  select * into strict v_calendar from ledger.calendars as calendars
  where calendars.account_id = build_calendar.account_id and calendars.calendar_id = build_calendar.calendar_id
  for update;
  -- A span that is open at since, or closes just then, is made anew as a whole, as it may become longer or shorter.
  v_since := coalesce((
    select min(spans.starts_at) from ledger.calendar_spans as spans
    where spans.account_id = build_calendar.account_id and spans.calendar_id = build_calendar.calendar_id
      and spans.ends_at >= build_calendar.since and spans.starts_at <= build_calendar.since
  ), greatest(build_calendar.since, v_calendar.built_from));
  delete from ledger.calendar_spans as spans
  where spans.account_id = build_calendar.account_id and spans.calendar_id = build_calendar.calendar_id
    and spans.starts_at >= v_since;
  select spans.business_before + (spans.ends_at - spans.starts_at) into v_before
  from ledger.calendar_spans as spans
  where spans.account_id = build_calendar.account_id and spans.calendar_id = build_calendar.calendar_id
    and spans.starts_at < v_since
  order by spans.starts_at desc limit 1;

  with clipped as (
    select held.time_zone, held.weekly, held.exceptions, greatest(held.valid_from, v_since) as clip_from,
      least(lead(held.valid_from) over (order by held.valid_from), v_calendar.built_until) as clip_until
    from ledger.calendar_versions as held
    where held.account_id = build_calendar.account_id and held.calendar_id = build_calendar.calendar_id
  ), versions as (
    select * from clipped where clipped.clip_from < clipped.clip_until
  ), days as (
    -- From two days before, since a span of a day may end in the second day after it.
    select versions.clip_from, days.day
    from versions
    cross join lateral (
      select (versions.clip_from at time zone versions.time_zone)::date + offsets.days as day
      from generate_series(-2,
        (versions.clip_until at time zone versions.time_zone)::date
        - (versions.clip_from at time zone versions.time_zone)::date + 1) as offsets (days)
    ) as days
  ), replaced as (
    select versions.clip_from, entries.date as day, entries.start_minute, entries.end_minute
    from versions
    cross join lateral jsonb_to_recordset(versions.exceptions)
      as entries (date date, start_minute integer, end_minute integer)
  ), walls as (
    select days.clip_from, days.day, entries.start_minute, entries.end_minute
    from days
    join (
      select versions.clip_from, spans.weekday, spans.start_minute, spans.end_minute
      from versions
      cross join lateral jsonb_to_recordset(versions.weekly)
        as spans (weekday integer, start_minute integer, end_minute integer)
    ) as entries on entries.clip_from = days.clip_from and entries.weekday = extract(dow from days.day)::integer
    where not exists (select from replaced where replaced.clip_from = days.clip_from and replaced.day = days.day)
    union all
    select days.clip_from, days.day, replaced.start_minute, replaced.end_minute
    from days join replaced on replaced.clip_from = days.clip_from and replaced.day = days.day
    where replaced.start_minute is not null
  ), opened as (
    -- Each end by itself through the rules of the zone: a night may have 7 hours, or 9.
    select
      greatest((walls.day + walls.start_minute * interval '1 minute') at time zone versions.time_zone, versions.clip_from)
        as starts_at,
      least((walls.day + walls.end_minute * interval '1 minute') at time zone versions.time_zone, versions.clip_until)
        as ends_at
    from walls join versions on versions.clip_from = walls.clip_from
  ), marked as (
    select opened.starts_at, opened.ends_at,
      opened.starts_at > max(opened.ends_at) over (
        order by opened.starts_at, opened.ends_at rows between unbounded preceding and 1 preceding) as is_apart
    from opened where opened.starts_at < opened.ends_at
  ), numbered as (
    select marked.starts_at, marked.ends_at,
      count(*) filter (where marked.is_apart) over (order by marked.starts_at, marked.ends_at) as place
    from marked
  ), merged as (
    select min(numbered.starts_at) as starts_at, max(numbered.ends_at) as ends_at
    from numbered group by numbered.place
  ), measured as (
    -- In microseconds: exact, and without the days that an interval would make of them.
    select merged.starts_at, merged.ends_at,
      coalesce(sum((extract(epoch from merged.ends_at - merged.starts_at) * 1000000)::bigint) over (
        order by merged.starts_at rows between unbounded preceding and 1 preceding), 0) as length_before,
      sum((extract(epoch from greatest(least(merged.ends_at, c_anchor) - merged.starts_at, interval '0')) * 1000000)::bigint)
        over () as length_before_anchor
    from merged
  ), counted as (
    select measured.starts_at, measured.ends_at,
      lead(measured.starts_at, 1, v_calendar.built_until) over (order by measured.starts_at) as closed_until,
      measured.length_before
        + coalesce((extract(epoch from v_before) * 1000000)::bigint, -measured.length_before_anchor) as before
    from measured
  )
  insert into ledger.calendar_spans
    (account_id, calendar_id, starts_at, ends_at, closed_until, business_before, business_shift)
  select build_calendar.account_id, build_calendar.calendar_id, counted.starts_at, counted.ends_at, counted.closed_until,
    interval '1 microsecond' * counted.before::double precision,
    interval '1 microsecond'
      * (counted.before - (extract(epoch from counted.starts_at) * 1000000)::bigint)::double precision
  from counted;
  update ledger.calendar_spans as existing
  set closed_until = coalesce((
    select min(spans.starts_at) from ledger.calendar_spans as spans
    where spans.account_id = build_calendar.account_id and spans.calendar_id = build_calendar.calendar_id
      and spans.starts_at >= v_since
  ), v_calendar.built_until)
  where existing.account_id = build_calendar.account_id and existing.calendar_id = build_calendar.calendar_id
    and existing.starts_at = (
      select max(spans.starts_at) from ledger.calendar_spans as spans
      where spans.account_id = build_calendar.account_id and spans.calendar_id = build_calendar.calendar_id
        and spans.starts_at < v_since);
end
$$;
comment on function ledger.build_calendar is
  'Works out the spans of a calendar anew from since on.';

create function ledger.check_calendar(account_id bigint, calendar_id bigint, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_subject text := 'calendar:' || check_calendar.calendar_id;
begin
  if exists (
    select from ledger.calendar_spans as spans
    where spans.account_id = check_calendar.account_id and spans.calendar_id = check_calendar.calendar_id
      and spans.ends_at > check_calendar.as_of and spans.starts_at <= check_calendar.as_of + interval '9600 hours')
  then
    perform ops.resolve_alert(check_calendar.account_id, 'ledger.calendar_closed', v_subject, check_calendar.as_of);
  else
    perform ops.raise_alert(check_calendar.account_id, 'ledger.calendar_closed', v_subject,
      format('Calendar %s does not open within 400 days: nothing falls due by it.', check_calendar.calendar_id),
      'Give it hours with api.save_calendar, or use another calendar: api.use_calendar.', check_calendar.as_of);
  end if;
end
$$;
comment on function ledger.check_calendar is
  'Raises the alert ledger.calendar_closed when the calendar does not open within 400 days, and resolves it when it does.';

create function ledger.horizon(as_of timestamptz) returns timestamptz
-- About three years, in hours; never less from the real now, whatever moment a caller looks from.
language sql stable security invoker set search_path = ''
as $$ select greatest(horizon.as_of, now()) + interval '26304 hours' $$;
comment on function ledger.horizon is 'Until when a calendar is worked out at that moment: three years ahead.';

create function ledger.reach_calendar(account_id bigint, calendar_id bigint, since timestamptz, until timestamptz)
returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_calendar ledger.calendars;
begin
  select * into v_calendar from ledger.calendars as calendars
  where calendars.account_id = reach_calendar.account_id and calendars.calendar_id = reach_calendar.calendar_id;
  if not found or reach_calendar.since >= v_calendar.built_from and reach_calendar.until <= v_calendar.built_until then
    return;
  end if;
  -- A century either way is what a wrong year can cost; no conversation is older.
  if reach_calendar.since < '1970-01-01T00:00:00Z' or reach_calendar.until > '2100-01-01T00:00:00Z' then
    raise exception 'Calendar % cannot be worked out from % to %', v_calendar.calendar_id, reach_calendar.since,
      reach_calendar.until using errcode = 'OC422', hint = 'It can be from 1970 to 2100: look for a wrong year.';
  end if;
  select * into v_calendar from ledger.calendars as calendars
  where calendars.account_id = reach_calendar.account_id and calendars.calendar_id = reach_calendar.calendar_id
  for update;
  update ledger.calendars as existing
  set built_from = least(existing.built_from, reach_calendar.since),
    built_until = greatest(existing.built_until, reach_calendar.until)
  where existing.account_id = reach_calendar.account_id and existing.calendar_id = reach_calendar.calendar_id;
  perform ledger.build_calendar(reach_calendar.account_id, reach_calendar.calendar_id,
    case when reach_calendar.since < v_calendar.built_from then '-infinity' else v_calendar.built_until end);
end
$$;
comment on function ledger.reach_calendar is
  'Works a calendar out further where it does not reach from since to until; readings that could be taken before stay the same. Errors: OC422.';

create function ledger.extend_calendars(as_of timestamptz default now()) returns integer
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_calendar ledger.calendars;
  v_extended integer := 0;
begin
  for v_calendar in
    select * from ledger.calendars as calendars order by calendars.account_id, calendars.calendar_id
    -- One that somebody is changing is built by them.
    for update skip locked
  loop
    -- A month at a time, so that most days write nothing.
    if v_calendar.built_until < ledger.horizon(extend_calendars.as_of) - interval '720 hours' then
      update ledger.calendars as existing set built_until = ledger.horizon(extend_calendars.as_of)
      where existing.account_id = v_calendar.account_id and existing.calendar_id = v_calendar.calendar_id;
      -- From now on, not only at the end: governments change what lies ahead, and an upgrade of Postgres brings it.
      perform ledger.build_calendar(v_calendar.account_id, v_calendar.calendar_id,
        least(v_calendar.built_until, extend_calendars.as_of));
      v_extended := v_extended + 1;
    end if;
    perform ledger.check_calendar(v_calendar.account_id, v_calendar.calendar_id, extend_calendars.as_of);
  end loop;
  return v_extended;
end
$$;
comment on function ledger.extend_calendars is
  'Works every calendar out to three years ahead, with the zone rules of today, and looks which open no more; returns how many were extended. For cron, once a day.';

do $$
declare
  v_table text;
begin
  for v_table in select unnest(array['calendars', 'calendar_versions', 'calendar_uses', 'calendar_spans']) loop
    execute format('alter table ledger.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on ledger.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on ledger.%I for select to analyst using (true)', v_table);
    execute format('grant select on ledger.%I to authenticated, analyst, service_role', v_table);
  end loop;
end
$$;

revoke all on function ledger.business_clock, ledger.first_reading, ledger.business_seconds, ledger.business_due,
  ledger.longest_wait, ledger.calendar_for, ledger.build_calendar, ledger.check_calendar, ledger.horizon, ledger.reach_calendar,
  ledger.extend_calendars from public, anon, authenticated, service_role;
