-- What is normal. Silence says nothing by itself: at four in the morning it is the rule, on Monday at ten it is an outage.
-- So it is learnt, hour of the week by hour of the week, in how many minutes something arrives, and silence is measured by
-- how many such minutes it swallowed. Minutes and not messages: one message makes three webhooks, and a newsletter a
-- hundred, but both in the same minute. Nothing here reads a history: a row a busy minute is kept, and forgotten once
-- learnt.
create table ops.arrivals (
  account_id bigint not null,
  subject text not null,
  minute timestamptz not null,
  constraint arrivals_pkey primary key (account_id, subject, minute),
  constraint arrivals_subject_bounded check (length(subject) between 1 and 100)
);
comment on table ops.arrivals is 'Minutes in which something arrived: one row a busy minute, for nine days.';
comment on column ops.arrivals.account_id is 'Chatwoot''s account id.';
comment on column ops.arrivals.subject is 'webhook (a delivery), or inbox:<id> (a customer''s message in that inbox).';
comment on column ops.arrivals.minute is 'Begin of the minute (UTC).';

create table ops.normal_hours (
  account_id bigint not null,
  subject text not null,
  hour_of_week smallint not null,
  samples real[] not null,
  learned_at timestamptz not null,
  constraint normal_hours_pkey primary key (account_id, subject, hour_of_week),
  constraint normal_hours_hour_of_week_known check (hour_of_week between 0 and 167),
  constraint normal_hours_samples_bounded check (cardinality(samples) between 1 and 8)
);
comment on table ops.normal_hours is 'What each hour of the week was like in the last eight weeks in which it was an ordinary one.';
comment on column ops.normal_hours.account_id is 'Chatwoot''s account id.';
comment on column ops.normal_hours.subject is 'webhook or inbox:<id>: minutes of the hour in which something arrived; queue: customers who waited, on average.';
comment on column ops.normal_hours.hour_of_week is '0 is Monday from midnight in the account''s zone, 167 Sunday from 23.';
comment on column ops.normal_hours.samples is 'What was counted in those hours, newest first, up to eight.';
comment on column ops.normal_hours.learned_at is 'When the newest was added (UTC).';

create function ops.hour_of_week(at timestamptz, time_zone text) returns smallint
language sql stable parallel safe security invoker set search_path = '' as $$
  select (extract(isodow from hour_of_week.at at time zone hour_of_week.time_zone) * 24 - 24
    + extract(hour from hour_of_week.at at time zone hour_of_week.time_zone))::smallint
$$;
comment on function ops.hour_of_week is 'Which hour of the week it is in that zone: 0 is Monday from midnight, 167 Sunday from 23.';

create function ops.holidays(account_id bigint) returns date[]
language sql stable security invoker set search_path = '' as $$
  select coalesce(array_agg(distinct (days.day ->> 'date')::date), '{}')
  from ledger.calendar_uses as uses
  join ledger.calendar_versions as versions on versions.account_id = uses.account_id
    and versions.calendar_id = uses.calendar_id
  cross join lateral jsonb_array_elements(versions.exceptions) as days (day)
  where uses.account_id = holidays.account_id and days.day ->> 'closed' = 'true'
    and (uses.scope = 'account' or not exists (select from ledger.calendar_uses as shared
      where shared.account_id = holidays.account_id and shared.scope = 'account' and shared.calendar_id is not null))
$$;
comment on function ops.holidays is
  'Local dates on which the account''s calendar is closed out of turn; where it has none, those of its inboxes'' calendars.';

create function ops.note_arrivals(account_id bigint, as_of timestamptz default now()) returns boolean
-- A day at most at a time: the first look goes back five weeks.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account ops.health_accounts;
  v_zone text := ops.setting(note_arrivals.account_id, 'reporting_time_zone') #>> '{}';
  v_since timestamptz;
  v_until timestamptz;
begin
  insert into ops.health_accounts (account_id, began_at, time_zone)
  values (note_arrivals.account_id, note_arrivals.as_of, v_zone)
  on conflict on constraint health_accounts_pkey do nothing;
  select * into v_account from ops.health_accounts as accounts
  where accounts.account_id = note_arrivals.account_id for no key update;
  -- A history that was read in one go since then was not there to be learnt from; and of another zone the hours are others.
  if v_account.time_zone <> v_zone or exists (select from sync.sources
    where sources.account_id = note_arrivals.account_id
      and sources.backfill_finished_at between v_account.began_at and note_arrivals.as_of)
  then
    delete from ops.normal_hours as existing where existing.account_id = note_arrivals.account_id;
    update ops.health_accounts as existing set began_at = note_arrivals.as_of + interval '1 second', time_zone = v_zone,
      noted_until = null, learned_until = null
    where existing.account_id = note_arrivals.account_id;
    v_account.noted_until := null;
  end if;
  -- The last quarter of an hour again: a message may be told of late.
  v_since := date_trunc('minute', coalesce(v_account.noted_until - interval '15 minutes',
    note_arrivals.as_of - interval '35 days'));
  v_until := least(v_since + interval '1 day 15 minutes', note_arrivals.as_of);
  insert into ops.arrivals (account_id, subject, minute)
  select note_arrivals.account_id, 'webhook', minutes.minute
  from generate_series(v_since, v_until, interval '1 minute') as minutes (minute)
  -- One step through the index each, however many came: the order and the limit leave the planner no other way.
  cross join lateral (
    select deliveries.received_at from inbox.deliveries
    where deliveries.account_id = note_arrivals.account_id and deliveries.purged_at is null
      and deliveries.received_at >= minutes.minute and deliveries.received_at < minutes.minute + interval '1 minute'
      and deliveries.received_at <= note_arrivals.as_of
      -- Those that occ sends to try the way say nothing of Chatwoot's.
      and deliveries.delivery_id not like 'occ-%'
    order by deliveries.received_at limit 1
  ) as first_one
  on conflict on constraint arrivals_pkey do nothing;
  insert into ops.arrivals (account_id, subject, minute)
  select distinct messages.account_id, 'inbox:' || messages.inbox_id, date_trunc('minute', messages.created_at)
  from chatwoot.messages
  where messages.created_at >= v_since and messages.created_at <= v_until
    and messages.account_id = note_arrivals.account_id and messages.message_type = 'incoming'
    and messages.private is not true and messages.inbox_id is not null
  order by 2, 3
  on conflict on constraint arrivals_pkey do nothing;
  update ops.health_accounts as existing set noted_until = v_until
  where existing.account_id = note_arrivals.account_id;
  return v_until < note_arrivals.as_of;
end
$$;
comment on function ops.note_arrivals is
  'Notes the minutes in which webhooks and customers'' messages arrived, a day at most; true while there is more to note.';

create function ops.learn_normal(account_id bigint, as_of timestamptz default now()) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_zone text := ops.setting(learn_normal.account_id, 'reporting_time_zone') #>> '{}';
  v_holidays date[] := ops.holidays(learn_normal.account_id);
  v_noted_until timestamptz;
  v_since timestamptz;
  v_until timestamptz;
  v_count bigint;
begin
  select coalesce(accounts.learned_until, '-infinity'), accounts.noted_until into v_since, v_noted_until
  from ops.health_accounts as accounts where accounts.account_id = learn_normal.account_id;
  -- An hour is over once a message that was told of late would have come.
  v_until := date_trunc('hour', v_noted_until - interval '15 minutes', 'UTC');
  v_since := greatest(v_since, date_trunc('hour', learn_normal.as_of, 'UTC') - interval '56 days');
  if v_until is null or v_since >= v_until then
    return 0;
  end if;
  with counted as (
    select firsts.subject, hours.hour, coalesce(found.minutes, 0)::real as amount
    from (
      -- Before its first arrival there was no such thing, rather than silence.
      select every.subject, min(every.began_at) as began_at
      from (
        select arrivals.subject, min(arrivals.minute) as began_at from ops.arrivals
        where arrivals.account_id = learn_normal.account_id group by arrivals.subject
        union all
        select distinct normal.subject, v_since from ops.normal_hours as normal
        where normal.account_id = learn_normal.account_id and normal.subject <> 'queue'
      ) as every
      group by every.subject
    ) as firsts
    cross join lateral generate_series(
      greatest(v_since, date_trunc('hour', firsts.began_at, 'UTC') + interval '1 hour'),
      v_until - interval '1 hour', interval '1 hour') as hours (hour)
    left join lateral (
      select count(*) as minutes from ops.arrivals
      where arrivals.account_id = learn_normal.account_id and arrivals.subject = firsts.subject
        and arrivals.minute >= hours.hour and arrivals.minute < hours.hour + interval '1 hour'
    ) as found on true
    union all
    select 'queue', history.hour, (history.total / history.n_values)::real
    from ops.health_hours as history
    where history.account_id = learn_normal.account_id and history.name = 'queue' and history.subject = ''
      and history.hour >= v_since and history.hour < v_until and history.n_values > 0
  ), ordinary as (
    select counted.subject, ops.hour_of_week(counted.hour, v_zone) as hour_of_week, counted.hour, counted.amount
    from counted
    -- What was out of the ordinary must not become what is expected; what has lasted for days is how it is now.
    where (counted.hour at time zone v_zone)::date <> all (v_holidays)
      and not exists (select from ops.alerts
        where alerts.account_id = learn_normal.account_id
          and alerts.kind = case when counted.subject = 'webhook' then 'webhook.silent'
            when counted.subject = 'queue' then 'queue.high' else 'channel.outage' end
          and (counted.subject not like 'inbox:%' or alerts.subject = counted.subject)
          and alerts.raised_at < counted.hour + interval '1 hour'
          and alerts.raised_at > counted.hour - interval '3 days'
          and coalesce(alerts.resolved_at, 'infinity') > counted.hour)
  )
  insert into ops.normal_hours as existing (account_id, subject, hour_of_week, samples, learned_at)
  select learn_normal.account_id, ordinary.subject, ordinary.hour_of_week,
    (array_agg(ordinary.amount order by ordinary.hour desc))[1:8], learn_normal.as_of
  from ordinary group by ordinary.subject, ordinary.hour_of_week
  order by ordinary.subject, ordinary.hour_of_week
  on conflict on constraint normal_hours_pkey do update
  set samples = (excluded.samples || existing.samples)[1:8], learned_at = excluded.learned_at;
  get diagnostics v_count = row_count;
  update ops.health_accounts as existing set learned_until = v_until
  where existing.account_id = learn_normal.account_id;
  delete from ops.arrivals as old
  where old.account_id = learn_normal.account_id and old.minute < least(v_until, learn_normal.as_of - interval '9 days');
  return v_count;
end
$$;
comment on function ops.learn_normal is
  'Adds the hours that are over to what is normal, and forgets the arrivals they were counted from; hours of a holiday or an outage are left out. Returns how many hours of the week changed.';

create function ops.low_of(samples real[]) returns double precision
-- Two of eight weeks may have been quieter: a bridge day or a week of holidays is no reason to be woken up.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case when cardinality(low_of.samples) >= 3 then (
    select percentile_cont(0.25) within group (order by sample) from unnest(low_of.samples) as sample) end
$$;
comment on function ops.low_of is 'How little is still normal: the lower quartile of the weeks; null until there are three.';

create function ops.high_of(samples real[]) returns double precision
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case when cardinality(high_of.samples) >= 3 then (
    select percentile_cont(0.75) within group (order by sample) from unnest(high_of.samples) as sample) end
$$;
comment on function ops.high_of is 'How much is still normal: the upper quartile of the weeks; null until there are three.';

create function ops.normal_curve(account_id bigint, since timestamptz, until timestamptz)
returns table (subject text, hour timestamptz, rate double precision, before double precision)
-- The sum up to each hour: what was to be expected between two instants is then the difference of two readings.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_zone text := ops.setting(normal_curve.account_id, 'reporting_time_zone') #>> '{}';
  v_holidays date[] := ops.holidays(normal_curve.account_id);
begin
  return query
  with weekly as materialized (
    select normal.subject, normal.hour_of_week, ops.low_of(normal.samples) as low from ops.normal_hours as normal
    where normal.account_id = normal_curve.account_id and normal.subject <> 'queue'
  ), quietest as materialized (
    -- On a holiday as little is expected as on the quietest day of the week.
    select weekly.subject, weekly.hour_of_week % 24 as hour_of_day, min(weekly.low) as low from weekly group by 1, 2
  )
  select subjects.subject, hours.hour, rates.rate,
    sum(coalesce(rates.rate, 0)) over (partition by subjects.subject order by hours.hour) - coalesce(rates.rate, 0)
  from (select distinct weekly.subject from weekly) as subjects
  cross join generate_series(date_trunc('hour', normal_curve.since, 'UTC'), normal_curve.until, interval '1 hour')
    as hours (hour)
  left join weekly on weekly.subject = subjects.subject
    and weekly.hour_of_week = ops.hour_of_week(hours.hour, v_zone)
  left join quietest on quietest.subject = subjects.subject and quietest.hour_of_day = weekly.hour_of_week % 24
  cross join lateral (
    select case when (hours.hour at time zone v_zone)::date = any (v_holidays) then quietest.low else weekly.low end as rate
  ) as rates;
end
$$;
comment on function ops.normal_curve is
  'Minutes in which something arrives in a quiet but ordinary week: a row an hour, with what is expected in it (null for unknown) and in all hours before it.';

create function ops.missed_arrivals(account_id bigint, instants timestamptz[])
returns table (
  subject text, at timestamptz, last_minute timestamptz, missed double precision, webhooks_missed double precision
)
language plpgsql stable security invoker set search_path = '' set jit = off as $$
declare
  v_first timestamptz := (select min(instant) from unnest(missed_arrivals.instants) as instant);
  v_last timestamptz := (select max(instant) from unnest(missed_arrivals.instants) as instant);
  v_noted_until timestamptz := (select accounts.noted_until from ops.health_accounts as accounts
    where accounts.account_id = missed_arrivals.account_id);
begin
  return query
  with curve as materialized (
    select * from ops.normal_curve(missed_arrivals.account_id, v_first - interval '80 hours', v_last)
  ), looked as materialized (
    select subjects.subject, instants.instant, arrived.last_minute,
      -- What was silent for three days is as silent as can be.
      greatest(arrived.last_minute, instants.instant - interval '72 hours') as since
    from (select curve.subject from curve union select 'webhook') as subjects
    cross join unnest(missed_arrivals.instants) as instants (instant)
    cross join lateral (
      select max(arrivals.minute) as last_minute from ops.arrivals
      where arrivals.account_id = missed_arrivals.account_id and arrivals.subject = subjects.subject
        and arrivals.minute <= instants.instant
    ) as arrived
  ), read as (
    select looked.subject, looked.instant, looked.last_minute, now_is.rate,
      readings.now_before - readings.since_before - coalesce(since_is.rate, 0) / 60 as expected,
      readings.since_before - before_is.before - coalesce(before_is.rate, 0)
        * extract(epoch from looked.since - since_is.hour) / 3600 as expected_before,
      readings.now_before - lately_is.before - coalesce(lately_is.rate, 0)
        * extract(epoch from looked.instant - now_is.hour) / 3600 as expected_lately,
      (select count(*) from ops.arrivals
        where arrivals.account_id = missed_arrivals.account_id and arrivals.subject = looked.subject
          and arrivals.minute > looked.since - interval '6 hours' and arrivals.minute <= looked.since) as counted_before,
      (select count(*) from ops.arrivals
        where arrivals.account_id = missed_arrivals.account_id and arrivals.subject = looked.subject
          and arrivals.minute > looked.instant - interval '3 hours' and arrivals.minute <= looked.instant) as counted_lately
    from looked
    left join curve as now_is on now_is.subject = looked.subject and now_is.hour = date_trunc('hour', looked.instant, 'UTC')
    left join curve as since_is on since_is.subject = looked.subject and since_is.hour = date_trunc('hour', looked.since, 'UTC')
    left join curve as before_is on before_is.subject = looked.subject and before_is.hour = since_is.hour - interval '6 hours'
    left join curve as lately_is on lately_is.subject = looked.subject and lately_is.hour = now_is.hour - interval '3 hours'
    cross join lateral (
      select now_is.before + coalesce(now_is.rate, 0) * extract(epoch from looked.instant - now_is.hour) / 3600 as now_before,
        since_is.before + coalesce(since_is.rate, 0) * extract(epoch from looked.since - since_is.hour) / 3600 as since_before
    ) as readings
  ), paced as (
    select read.subject, read.instant, read.last_minute,
      case when read.rate is not null and v_noted_until >= read.instant - interval '2 minutes' then
        greatest(read.expected, 0)
        -- A day that is slow as a whole, such as a holiday that no calendar knows of, is held to its own pace: that of the
        -- six hours before the silence, and that of the other inboxes. Until a day has shown that it is an ordinary one it
        -- is taken for a slow one: as if ten minutes had been expected and two had come.
        * least(1, greatest(0.2, least((read.counted_before + 2) / (greatest(read.expected_before, 0) + 10),
          case when read.subject like 'inbox:%' then
            (sum(read.counted_lately) filter (where read.subject like 'inbox:%') over of_instant - read.counted_lately + 2)
            / (greatest(sum(read.expected_lately) filter (where read.subject like 'inbox:%') over of_instant
              - read.expected_lately, 0) + 10) end))) end::double precision as missed
    from read
    window of_instant as (partition by read.instant)
  )
  select paced.subject, paced.instant, paced.last_minute, paced.missed,
    max(paced.missed) filter (where paced.subject = 'webhook') over (partition by paced.instant)
  from paced;
end
$$;
comment on function ops.missed_arrivals is
  'For each instant: since when nothing has arrived, and in how many minutes something should have since (null where that is not known yet), held to the pace of the day. One row a subject and instant.';

create function ops.sample_arrivals(account_id bigint, instants timestamptz[]) returns setof ops.health_sample
language plpgsql stable security invoker set search_path = '' set jit = off as $$
declare
  -- A door that works tells what there was to tell of.
  v_door_until timestamptz := (select max(least(sources.last_success_at + interval '5 minutes',
      sources.changed_until + interval '10 minutes'))
    from sync.sources where sources.account_id = sample_arrivals.account_id and sources.state = 'active');
begin
  return query
  with silence as materialized (
    select missed.subject, missed.at, missed.last_minute, missed.missed, missed.webhooks_missed,
      coalesce(v_door_until >= missed.at, false) as has_door
    from ops.missed_arrivals(sample_arrivals.account_id, sample_arrivals.instants) as missed
  ), judged as (
    select silence.subject, silence.at, inboxes.name, inboxes.reauthorization_required is true as is_locked_out,
      untold.is_there as is_certain,
      to_char(silence.last_minute at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as since,
      case when silence.subject = 'webhook' then
          case when untold.is_there then greatest(silence.missed, 60)
            when silence.has_door and silence.last_minute is not null then 0
            else silence.missed end
        when inboxes.reauthorization_required then greatest(silence.missed, 60)
        -- Where no webhook comes at all, no channel is to blame.
        when silence.webhooks_missed >= 5 and not silence.has_door then null
        else silence.missed end as missed
    from silence
    left join chatwoot.inboxes on silence.subject like 'inbox:%' and inboxes.account_id = sample_arrivals.account_id
      and inboxes.inbox_id = substring(silence.subject from '\d+$')::bigint
    left join lateral (
      select true as is_there
      where silence.subject = 'webhook' and silence.has_door and exists (select from chatwoot.messages
        where messages.created_at > silence.last_minute + interval '3 minutes'
          and messages.created_at <= silence.at - interval '3 minutes'
          and messages.account_id = sample_arrivals.account_id and messages.deleted_at is null
          -- Of activity Chatwoot tells nobody.
          and messages.message_type <> 'activity')
    ) as untold on true
    where silence.subject = 'webhook' or (inboxes.inbox_id is not null and inboxes.deleted_at is null)
  )
  select sample_arrivals.account_id, case judged.subject when 'webhook' then 'webhook_arrival' else 'channel_arrival' end,
    case judged.subject when 'webhook' then '' else judged.subject end,
    case when judged.missed is null then 'unknown' when judged.missed >= 15 then 'fail'
      when judged.missed >= 7 then 'warn' else 'ok' end,
    judged.missed, 'minutes missed',
    case when judged.subject = 'webhook' then case
        when judged.is_certain then format('No webhook since %s, yet the sync has found messages written after that: webhooks get lost.', judged.since)
        when judged.missed >= 7 then format('No webhook since %s; by now some should have come in %s different minutes, by what is usual at this hour of the week.', judged.since, round(judged.missed))
        when judged.missed is not null then 'Webhooks come as usual at this hour of the week.'
        when judged.since is null then 'No webhook has come in the last days, so it is not known when to expect one.'
        else 'What is normal at this hour of the week is learnt from three weeks, which have not passed yet.' end
      when judged.is_locked_out then format('%s has lost its authorisation: nothing can come in or go out.', coalesce(judged.name, judged.subject))
      when judged.missed >= 7 then format('No customer has written in %s since %s; by now somebody should have in %s different minutes, by what is usual at this hour of the week.', coalesce(judged.name, judged.subject), judged.since, round(judged.missed))
      when judged.missed is not null then format('Customers write in %s as usual at this hour of the week.', coalesce(judged.name, judged.subject))
      else format('%s cannot be judged now: what is normal is not known yet, or no webhook comes at all.', coalesce(judged.name, judged.subject)) end,
    case when judged.subject = 'webhook' then case
        when judged.missed >= 7 then 'Look in Chatwoot whether the webhook is there and what it answers (occ connect); then run occ smoke. What was missed, the sync brings.'
        when judged.missed is null then 'occ connect sets the webhook up; occ webhook send sends a sample.' end
      when judged.is_locked_out then 'Sign in again: in Chatwoot, settings, inboxes, this inbox.'
      when judged.missed >= 7 then 'Write to the channel yourself. If that does not arrive in Chatwoot either, look at the channel''s settings there and at its provider''s status page.' end,
    judged.at
  from judged;
end
$$;
comment on function ops.sample_arrivals is
  'The checks webhook_arrival and channel_arrival at any instants: how many minutes in which something should have arrived passed in silence.';
