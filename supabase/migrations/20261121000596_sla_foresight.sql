-- What may come, and what would have been: how likely a running clock is to be exceeded, by how long customers waited in
-- the same inbox at the same sort of hour; and the past, counted again by other policies.
create table sla.past_waits (
  account_id bigint not null,
  inbox_id bigint not null,
  hour_class text not null,
  hours text not null,
  waits bigint not null,
  seconds double precision[] not null,
  learnt_at timestamptz not null,
  constraint past_waits_pkey primary key (account_id, inbox_id, hour_class, hours),
  constraint past_waits_hours_known check (hours in ('24x7', 'business'))
);
comment on table sla.past_waits is 'How long customers waited for a person in the last 90 days, by inbox and sort of hour: what sla.breach_probability reads.';
comment on column sla.past_waits.account_id is 'Chatwoot''s account id.';
comment on column sla.past_waits.inbox_id is 'The inbox.';
comment on column sla.past_waits.hour_class is 'When they began to wait, in the account''s zone: morning (6 to 12), afternoon (12 to 18), night, or weekend.';
comment on column sla.past_waits.hours is 'What their lengths are counted in: 24x7, or business for the business hours of the episode.';
comment on column sla.past_waits.waits is 'How many waits.';
comment on column sla.past_waits.seconds is 'Their lengths in seconds, ascending: all of them, or a thousand that stand for as many parts of them.';
comment on column sla.past_waits.learnt_at is 'When this was worked out (UTC).';
alter table sla.past_waits enable row level security;
create policy "Members read their accounts' rows" on sla.past_waits
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all rows" on sla.past_waits for select to analyst using (true);
grant select on sla.past_waits to authenticated, analyst, service_role;

create function sla.hour_class(at timestamptz, time_zone text) returns text
language sql stable parallel safe security invoker set search_path = '' as $$
  select case when extract(isodow from hour_class.at at time zone hour_class.time_zone) > 5 then 'weekend'
    when extract(hour from hour_class.at at time zone hour_class.time_zone) between 6 and 11 then 'morning'
    when extract(hour from hour_class.at at time zone hour_class.time_zone) between 12 and 17 then 'afternoon'
    else 'night' end
$$;
comment on function sla.hour_class is 'The sort of hour at an instant in a zone: morning, afternoon, night or weekend.';

create function sla.learn_waits(as_of timestamptz default now()) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_count bigint;
begin
  insert into sla.past_waits as existing (account_id, inbox_id, hour_class, hours, waits, seconds, learnt_at)
  select sorted.account_id, sorted.inbox_id, sorted.hour_class, sorted.hours, max(sorted.waits),
    -- The middle of each of a thousand equal parts.
    array_agg(sorted.seconds order by sorted.seconds) filter (where sorted.waits <= 1000
      or (sorted.number * 1000 - 500) / sorted.waits > ((sorted.number - 1) * 1000 - 500) / sorted.waits),
    learn_waits.as_of
  from (
    select lengths.*, row_number() over (of_class order by lengths.seconds) as number, count(*) over of_class as waits
    from (
      select spans.account_id, episodes.inbox_id,
        sla.hour_class(spans.started_at, zones.time_zone) as hour_class,
        counted.hours, extract(epoch from counted.length)::double precision as seconds
      from (
        select distinct policies.account_id, coalesce(ops.setting(policies.account_id, 'reporting_time_zone') #>> '{}', 'UTC') as time_zone
        from sla.policies where policies.valid_until is null
      ) as zones
      join ledger.episodes on episodes.account_id = zones.account_id
      join ledger.spans on spans.account_id = episodes.account_id and spans.display_id = episodes.display_id
        and spans.episode = episodes.episode and spans.kind = 'wait' and spans.ended_at <= learn_waits.as_of
      -- A wait over the night is short in business hours and long in others: a clock is compared in its own.
      cross join lateral (values ('24x7', spans.ended_at - spans.started_at),
        ('business', spans.ended_business_at - spans.started_business_at)) as counted (hours, length)
      where episodes.started_at >= learn_waits.as_of - interval '90 days' and episodes.started_at <= learn_waits.as_of
        and episodes.inbox_id is not null
    ) as lengths
    window of_class as (partition by lengths.account_id, lengths.inbox_id, lengths.hour_class, lengths.hours)
  ) as sorted
  group by sorted.account_id, sorted.inbox_id, sorted.hour_class, sorted.hours
  on conflict on constraint past_waits_pkey do update
    set waits = excluded.waits, seconds = excluded.seconds, learnt_at = excluded.learnt_at;
  get diagnostics v_count = row_count;
  delete from sla.past_waits as old where old.learnt_at < learn_waits.as_of - interval '2 days';
  return v_count;
end
$$;
comment on function sla.learn_waits is 'Works out how long customers waited in the last 90 days; returns the number of inboxes times sorts of hours.';

create function sla.breach_probability(past sla.past_waits, age double precision, deadline double precision)
returns double precision
language sql immutable security invoker set search_path = '' as $$
  -- Of the waits that lasted as long as this one has, the share that went past the deadline.
  select case when (1 - shares.by_now) * (breach_probability.past).waits >= 50
    then least(1, greatest(0, (1 - shares.by_deadline) / (1 - shares.by_now))) end
  from (
    select width_bucket(breach_probability.age, (breach_probability.past).seconds)::double precision
        / cardinality((breach_probability.past).seconds) as by_now,
      width_bucket(greatest(breach_probability.age, breach_probability.deadline), (breach_probability.past).seconds)::double precision
        / cardinality((breach_probability.past).seconds) as by_deadline
    where (breach_probability.past).waits >= 50
  ) as shares
$$;
comment on function sla.breach_probability is
  'How likely a wait of age seconds goes on past deadline seconds, from those of the past that lasted at least as long; null when those are fewer than 50.';

create function sla.simulate(
  account_id bigint, policies jsonb, since timestamptz, until timestamptz, as_of timestamptz default now()
) returns table (
  clock text, decided_before bigint, breached_before bigint, decided_after bigint, breached_after bigint,
  newly_breached bigint[], no_longer_breached bigint[]
)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_policies sla.policies[];
  v_display_ids bigint[];
  v_from integer := 1;
  v_episodes ledger.episodes[];
  v_spans ledger.spans[];
  v_after sla.clocks[];
  v_row record;
  v_sums bigint[] := array_fill(0::bigint, array[24]);
  v_new bigint[];
  v_gone bigint[];
  v_lists jsonb := '{}'::jsonb;
begin
  perform access.require_role(simulate.account_id, 'viewer');
  perform ledger.refuse_instant(simulate.since);
  perform ledger.refuse_instant(simulate.until);
  if simulate.until - simulate.since > interval '400 days' or simulate.until <= simulate.since then
    raise exception 'since to until must be up to 400 days, not % to %', simulate.since, simulate.until
      using errcode = 'OC422', hint = 'Episodes that began in that time are counted again.';
  end if;
  if jsonb_typeof(simulate.policies) is distinct from 'array' or jsonb_array_length(simulate.policies) not between 1 and 50 then
    raise exception 'policies must be an array of 1 to 50 policies' using errcode = 'OC422',
      hint = 'Each is {"conditions": [], "targets": {…}}, in the order in which they are asked.';
  end if;
  v_policies := array(
    select row(simulate.account_id, given.number, 1, 'Simulated', given.number,
      sla.read_conditions(coalesce(given.policy -> 'conditions', '[]')),
      sla.read_targets(simulate.account_id, given.policy -> 'targets'), '-infinity', null, simulate.as_of, '', true)::sla.policies
    from jsonb_array_elements(simulate.policies) with ordinality as given (policy, number));
  v_display_ids := array(
    select distinct episodes.display_id from ledger.episodes
    where episodes.account_id = simulate.account_id and episodes.started_at >= simulate.since
      and episodes.started_at < simulate.until order by 1);
  while v_from <= cardinality(v_display_ids) loop
    v_episodes := array(
      select row(episodes.*)::ledger.episodes from unnest(v_display_ids[v_from:v_from + 499]) as asked (display_id)
      join ledger.episodes on episodes.account_id = simulate.account_id and episodes.display_id = asked.display_id
      where episodes.started_at >= simulate.since and episodes.started_at < simulate.until);
    v_spans := array(
      select row(spans.*)::ledger.spans from unnest(v_episodes) as told
      join ledger.spans on spans.account_id = told.account_id and spans.display_id = told.display_id
        and spans.episode = told.episode and spans.kind in ('wait', 'state'));
    v_after := sla.measure(array(select row(told.account_id, told.display_id, told.episode, '-infinity', null, null)::sla.asked
      from unnest(v_episodes) as told), v_episodes, v_spans, v_policies, simulate.as_of);
    for v_row in
      select compared.clock, array_position(sla.clock_names(), compared.clock) as number,
        count(*) filter (where compared.was is not null) as decided_before,
        count(*) filter (where compared.was = 'breached') as breached_before,
        count(*) filter (where compared.would is not null) as decided_after,
        count(*) filter (where compared.would = 'breached') as breached_after,
        array_agg(distinct compared.display_id) filter (where compared.would = 'breached' and compared.was is distinct from 'breached') as newly,
        array_agg(distinct compared.display_id) filter (where compared.was = 'breached' and compared.would is distinct from 'breached') as no_longer
      from (
        select clock, display_id, max(sides.outcome) filter (where sides.side = 'before') as was,
          max(sides.outcome) filter (where sides.side = 'after') as would
        from (
          select 'before' as side, stored.display_id, stored.episode, stored.clock, stored.instance,
            case when stored.outcome is null and stored.state = 'running' and stored.due_at < simulate.as_of then 'breached'
              else stored.outcome end as outcome
          from unnest(v_episodes) as told
          join sla.clocks as stored on stored.account_id = told.account_id and stored.display_id = told.display_id
            and stored.episode = told.episode
          union all
          select 'after', told.display_id, told.episode, told.clock, told.instance, told.outcome from unnest(v_after) as told
        ) as sides
        where sides.outcome in ('met', 'breached')
        group by sides.clock, sides.display_id, sides.episode, sides.instance
      ) as compared
      group by compared.clock
    loop
      for v_index in 0..3 loop
        v_sums[(v_row.number - 1) * 4 + v_index + 1] := v_sums[(v_row.number - 1) * 4 + v_index + 1]
          + (array[v_row.decided_before, v_row.breached_before, v_row.decided_after, v_row.breached_after])[v_index + 1];
      end loop;
      v_new := v_row.newly;
      v_gone := v_row.no_longer;
      v_lists := v_lists || jsonb_build_object(
        v_row.clock || ' new', coalesce(v_lists -> (v_row.clock || ' new'), '[]') || coalesce(to_jsonb(v_new), '[]'),
        v_row.clock || ' gone', coalesce(v_lists -> (v_row.clock || ' gone'), '[]') || coalesce(to_jsonb(v_gone), '[]'));
    end loop;
    v_from := v_from + 500;
  end loop;
  return query
  select named.clock, v_sums[named.number * 4 - 3], v_sums[named.number * 4 - 2], v_sums[named.number * 4 - 1],
    v_sums[named.number * 4],
    array(select entries.entry::bigint from jsonb_array_elements_text(coalesce(v_lists -> (named.clock || ' new'), '[]')) as entries (entry)),
    array(select entries.entry::bigint from jsonb_array_elements_text(coalesce(v_lists -> (named.clock || ' gone'), '[]')) as entries (entry))
  from unnest(sla.clock_names()) with ordinality as named (clock, number)
  where v_sums[named.number * 4 - 3] + v_sums[named.number * 4 - 1] > 0;
end
$$;
comment on function sla.simulate is
  'The clocks of the episodes begun in [since, until) under other policies, beside what they were: decided and breached by clock, and the conversations that would be late or no longer. Nothing is written. Viewers and above. Errors: OC403, OC422.';
revoke all on function sla.hour_class, sla.learn_waits, sla.breach_probability, sla.simulate
  from public, anon, authenticated, service_role;
grant execute on function sla.simulate to authenticated, service_role;
