-- Service level policies: which conversations a promise holds for, and how long each clock may run. A policy is data. It is
-- never changed: each edit makes a new version that holds from then on, so that what finished under the old one stays as it
-- was, and any day can be counted again by the rules of that day.
create schema sla;
comment on schema sla is 'Policies, clocks and breaches.';
revoke all on schema sla from public;
grant usage on schema sla to authenticated, service_role;

create table sla.policies (
  account_id bigint not null,
  policy_id bigint not null,
  version integer not null,
  name text not null,
  position integer not null,
  conditions jsonb not null,
  targets jsonb not null,
  valid_from timestamptz not null,
  valid_until timestamptz,
  changed_at timestamptz not null,
  changed_by text not null,
  is_settled boolean not null default false,
  constraint policies_pkey primary key (account_id, policy_id, version),
  constraint policies_name_bounded check (length(name) between 1 and 100),
  constraint policies_position_bounded check (position between 1 and 1000000)
);
comment on table sla.policies is 'Every version of every policy. Of those that hold at an instant, the first by position whose conditions hold is the one.';
comment on column sla.policies.account_id is 'Chatwoot''s account id.';
comment on column sla.policies.policy_id is 'Number of the policy in its account; the same for all its versions.';
comment on column sla.policies.version is 'Number of the version, from 1.';
comment on column sla.policies.name is 'What people call it.';
comment on column sla.policies.position is 'Its place in the order; the smallest is asked first.';
comment on column sla.policies.conditions is 'What must hold, all of it: array of {attribute, operator, values}; empty for every conversation.';
comment on column sla.policies.targets is 'By clock: pauses, warn_at, and by priority or default the seconds and hours.';
comment on column sla.policies.valid_from is 'From when on this version holds (UTC); -infinity for since ever.';
comment on column sla.policies.valid_until is 'Until when it holds (UTC); null while it does.';
comment on column sla.policies.changed_at is 'When it was saved (UTC).';
comment on column sla.policies.changed_by is 'Who saved it, as in the decision log.';
comment on column sla.policies.is_settled is 'Whether what began while it was being saved has been looked after.';
create index policies_unsettled_idx on sla.policies (changed_at) where not is_settled;
create unique index policies_current_position_key on sla.policies (account_id, position) where valid_until is null;
create unique index policies_current_name_key on sla.policies (account_id, lower(name)) where valid_until is null;

create function sla.clock_names() returns text[]
language sql immutable parallel safe security invoker set search_path = '' as $$
  select '{first_response,next_response,resolution,requester_wait,agent_work,periodic_update}'::text[]
$$;
comment on function sla.clock_names is 'The clocks there are.';

create function sla.read_conditions(given jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
declare
  c_shape constant text := 'A condition is {"attribute": "priority", "operator": "in", "values": ["urgent", "high"]}.';
  v_entry jsonb;
  v_place text;
  v_number integer := 0;
  v_operator text;
  v_values jsonb;
  v_unknown text;
  v_read jsonb[] := '{}'::jsonb[];
begin
  if coalesce(jsonb_typeof(read_conditions.given), '') <> 'array' then
    raise exception 'conditions must be an array' using errcode = 'OC422', hint = c_shape;
  end if;
  if jsonb_array_length(read_conditions.given) > 20 then
    raise exception 'There are % conditions, more than 20', jsonb_array_length(read_conditions.given)
      using errcode = 'OC422', hint = 'One condition may name up to 100 values.';
  end if;
  for v_entry in select entries.entry from jsonb_array_elements(read_conditions.given) as entries (entry) loop
    v_number := v_number + 1;
    v_place := format('conditions, entry %s', v_number);
    if jsonb_typeof(v_entry) <> 'object' then
      raise exception '% must be an object', v_place using errcode = 'OC422', hint = c_shape;
    end if;
    select keys.key into v_unknown from jsonb_object_keys(v_entry) as keys (key)
    where keys.key not in ('attribute', 'operator', 'values', 'value') limit 1;
    if found then
      raise exception '%: % is not known', v_place, left(v_unknown, 50) using errcode = 'OC422', hint = c_shape;
    end if;
    if coalesce(v_entry ->> 'attribute', '') !~
      '^(inbox_id|channel|team_id|label|priority|language|(contact|conversation)\.[A-Za-z0-9_ -]{1,100})$'
    then
      raise exception '%: % is no attribute', v_place, coalesce(left((v_entry -> 'attribute')::text, 100), 'nothing')
        using errcode = 'OC422', hint = 'There are inbox_id, channel, team_id, label, priority, language, contact.<custom attribute> and conversation.<custom attribute>.';
    end if;
    v_operator := coalesce(v_entry ->> 'operator', 'in');
    if v_operator not in ('is', 'is_not', 'in', 'not_in', 'exists', 'missing') then
      raise exception '%: % is no operator', v_place, left(v_operator, 50)
        using errcode = 'OC422', hint = 'There are in, not_in, exists and missing; is and is_not mean in and not_in.';
    end if;
    v_operator := case v_operator when 'is' then 'in' when 'is_not' then 'not_in' else v_operator end;
    if v_operator in ('exists', 'missing') then
      v_read := v_read || jsonb_build_object('attribute', v_entry ->> 'attribute', 'operator', v_operator);
      continue;
    end if;
    v_values := coalesce(v_entry -> 'values', v_entry -> 'value');
    v_values := case when jsonb_typeof(v_values) = 'array' then v_values when v_values is null then '[]'
      else jsonb_build_array(v_values) end;
    if jsonb_array_length(v_values) not between 1 and 100 or exists (
      select from jsonb_array_elements(v_values) as entries (entry)
      where jsonb_typeof(entries.entry) not in ('string', 'number', 'boolean') or length(entries.entry #>> '{}') > 200)
    then
      raise exception '%: values must be 1 to 100 texts, numbers or booleans', v_place
        using errcode = 'OC422', hint = c_shape;
    end if;
    if v_entry ->> 'attribute' = 'priority' and not v_values <@ '["urgent", "high", "medium", "low"]' then
      raise exception '%: priority is urgent, high, medium or low, not %', v_place, left(v_values::text, 100)
        using errcode = 'OC422', hint = 'For conversations without a priority: {"attribute": "priority", "operator": "missing"}.';
    end if;
    v_read := v_read || jsonb_build_object('attribute', v_entry ->> 'attribute', 'operator', v_operator,
      'values', (select jsonb_agg(distinct entries.entry #>> '{}') from jsonb_array_elements(v_values) as entries (entry)));
  end loop;
  return to_jsonb(v_read);
end
$$;
comment on function sla.read_conditions is
  'Conditions in the form they are kept in: operators in, not_in, exists, missing; values texts. Errors: OC422.';

create function sla.read_targets(account_id bigint, given jsonb) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  c_shape constant text := 'A clock is {"seconds": 3600, "hours": "business", "priorities": {"urgent": {"seconds": 900, "hours": "24x7"}}, "pauses": ["snoozed"], "warn_at": [0.75]}.';
  v_clock text;
  v_entry jsonb;
  v_place text;
  v_unknown text;
  v_priority text;
  v_target jsonb;
  v_hours jsonb;
  v_of_priorities jsonb;
  v_read jsonb := '{}'::jsonb;
begin
  if coalesce(jsonb_typeof(read_targets.given), '') <> 'object' or read_targets.given = '{}' then
    raise exception 'targets must be an object with at least one clock' using errcode = 'OC422', hint = c_shape;
  end if;
  for v_clock, v_entry in select clocks.key, clocks.value from jsonb_each(read_targets.given) as clocks loop
    if v_clock <> all (sla.clock_names()) then
      raise exception '% is no clock', left(v_clock, 50)
        using errcode = 'OC422', hint = 'There are ' || array_to_string(sla.clock_names(), ', ') || '.';
    end if;
    v_place := 'targets, ' || v_clock;
    if jsonb_typeof(v_entry) <> 'object' then
      raise exception '% must be an object', v_place using errcode = 'OC422', hint = c_shape;
    end if;
    select keys.key into v_unknown from jsonb_object_keys(v_entry) as keys (key)
    where keys.key not in ('seconds', 'hours', 'priorities', 'pauses', 'warn_at') limit 1;
    if found then
      raise exception '%: % is not known', v_place, left(v_unknown, 50) using errcode = 'OC422', hint = c_shape;
    end if;
    if jsonb_typeof(coalesce(v_entry -> 'priorities', '{}')) <> 'object' then
      raise exception '%: priorities must be an object', v_place using errcode = 'OC422', hint = c_shape;
    end if;
    v_of_priorities := '{}'::jsonb;
    for v_priority, v_target in
      select entries.priority, entries.target from (
        select 'default' as priority, v_entry as target where v_entry ? 'seconds'
        union all
        select given_ones.key, given_ones.value from jsonb_each(coalesce(v_entry -> 'priorities', '{}')) as given_ones
      ) as entries
    loop
      if v_priority not in ('default', 'urgent', 'high', 'medium', 'low') then
        raise exception '%: % is no priority', v_place, left(v_priority, 50)
          using errcode = 'OC422', hint = 'Chatwoot has urgent, high, medium and low; seconds beside priorities is for all others.';
      end if;
      if jsonb_typeof(v_target) <> 'object' or coalesce(jsonb_typeof(v_target -> 'seconds'), '') <> 'number'
        or (v_target ->> 'seconds')::numeric not between 1 and 31536000
        or (v_target ->> 'seconds')::numeric <> trunc((v_target ->> 'seconds')::numeric)
      then
        raise exception '%, %: seconds must be a whole number from 1 to 31536000, not %', v_place, v_priority,
          coalesce(left((v_target -> 'seconds')::text, 50), 'nothing')
          using errcode = 'OC422', hint = 'Seconds of business hours, or of 24 hours on 7 days, as hours says. Leave the clock out for no target.';
      end if;
      v_hours := coalesce(v_target -> 'hours', v_entry -> 'hours', '"business"');
      if not (v_hours in ('"business"', '"24x7"') or (jsonb_typeof(v_hours) = 'number' and exists (
        select from ledger.calendars where calendars.account_id = read_targets.account_id
          and calendars.calendar_id::text = v_hours #>> '{}')))
      then
        raise exception '%, %: hours must be "business", "24x7" or the id of a calendar of the account, not %', v_place,
          v_priority, left(v_hours::text, 50)
          using errcode = 'OC422', hint = 'business is the calendar of the team, else of the inbox, else of the account. Calendars: select calendar_id, name from api.calendars.';
      end if;
      v_of_priorities := v_of_priorities || jsonb_build_object(v_priority,
        jsonb_build_object('seconds', (v_target ->> 'seconds')::numeric::integer, 'hours', v_hours));
    end loop;
    if v_of_priorities = '{}' then
      raise exception '% has no target', v_place using errcode = 'OC422', hint = c_shape;
    end if;
    if jsonb_typeof(coalesce(v_entry -> 'pauses', '[]')) <> 'array'
      or not coalesce(v_entry -> 'pauses', '[]') <@ '["snoozed", "third_party", "bot"]'
    then
      raise exception '%: pauses must be an array of states', v_place
        using errcode = 'OC422', hint = 'A clock can pause while snoozed, third_party (pending for somebody else) or bot (pending with a bot).';
    end if;
    if jsonb_typeof(coalesce(v_entry -> 'warn_at', '[]')) <> 'array'
      or jsonb_array_length(coalesce(v_entry -> 'warn_at', '[]')) > 5
      or exists (select from jsonb_array_elements(coalesce(v_entry -> 'warn_at', '[]')) as entries (entry)
        where not case when jsonb_typeof(entries.entry) = 'number'
          then (entries.entry #>> '{}')::numeric between 0.01 and 0.99 and scale((entries.entry #>> '{}')::numeric) <= 4
          else false end)
    then
      raise exception '%: warn_at must be an array of up to 5 shares of the target, each from 0.01 to 0.99', v_place
        using errcode = 'OC422', hint = '[0.75] warns when three quarters of the time are used up; [] never.';
    end if;
    v_read := v_read || jsonb_build_object(v_clock, jsonb_build_object(
      'priorities', v_of_priorities,
      'pauses', coalesce(v_entry -> 'pauses', case v_clock
        when 'resolution' then '["snoozed", "bot"]' when 'requester_wait' then '["snoozed", "bot"]'
        when 'agent_work' then '["snoozed", "third_party", "bot"]' else '[]' end::jsonb),
      'warn_at', coalesce((select jsonb_agg(distinct (entries.entry #>> '{}')::numeric order by (entries.entry #>> '{}')::numeric)
        from jsonb_array_elements(v_entry -> 'warn_at') as entries (entry)),
        case when v_entry ? 'warn_at' then '[]' else '[0.75]' end::jsonb)));
  end loop;
  return v_read;
end
$$;
comment on function sla.read_targets is
  'Targets in the form they are kept in: by clock its pauses, warn_at and priorities, each with seconds and hours. Errors: OC422.';

create function sla.implies(narrower jsonb, wider jsonb) returns boolean
language sql immutable security invoker set search_path = '' as $$
  -- Each wider condition follows from one of the narrower ones.
  select not exists (
    select from jsonb_array_elements(implies.wider) as asked (condition)
    where not exists (
      select from jsonb_array_elements(implies.narrower) as given (condition)
      where given.condition ->> 'attribute' = asked.condition ->> 'attribute'
        and case asked.condition ->> 'operator'
          when 'in' then given.condition ->> 'operator' = 'in'
            and given.condition -> 'values' <@ (asked.condition -> 'values')
          when 'not_in' then given.condition ->> 'operator' = 'missing' or (given.condition ->> 'operator' = 'not_in'
              and asked.condition -> 'values' <@ (given.condition -> 'values'))
            or (given.condition ->> 'operator' = 'in' and asked.condition ->> 'attribute' <> 'label' and not exists (
              select from jsonb_array_elements(given.condition -> 'values') as named (entry)
              where asked.condition -> 'values' @> named.entry))
          when 'exists' then given.condition ->> 'operator' in ('in', 'exists')
          else given.condition ->> 'operator' = 'missing' end))
$$;
comment on function sla.implies is 'Whether whatever the narrower conditions hold for, the wider ones surely hold for too.';

create function sla.matches(conditions jsonb, facts jsonb) returns boolean
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_condition jsonb;
  v_fact jsonb;
  v_is_in boolean;
begin
  for v_condition in select entries.entry from jsonb_array_elements(matches.conditions) as entries (entry) loop
    v_fact := matches.facts -> (v_condition ->> 'attribute');
    if v_fact is null or v_fact in ('null', '[]', '""') then
      if v_condition ->> 'operator' in ('in', 'exists') then
        return false;
      end if;
      continue;
    end if;
    case v_condition ->> 'operator'
    when 'exists' then
      null;
    when 'missing' then
      return false;
    else
      v_is_in := exists (
        select from jsonb_array_elements(case when jsonb_typeof(v_fact) = 'array' then v_fact else jsonb_build_array(v_fact) end)
          as entries (entry)
        where v_condition -> 'values' @> to_jsonb(entries.entry #>> '{}'));
      if v_is_in <> (v_condition ->> 'operator' = 'in') then
        return false;
      end if;
    end case;
  end loop;
  return true;
end
$$;
comment on function sla.matches is
  'Whether conditions (as kept) hold for facts: a value or an array of values by attribute. What is missing is in nothing.';

create function sla.save_policy(
  account_id bigint, name text, conditions jsonb, targets jsonb, place integer default null,
  policy_id bigint default null, valid_from timestamptz default null, as_of timestamptz default now()
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_conditions jsonb;
  v_targets jsonb;
  v_before sla.policies;
  v_position integer;
  v_policy_id bigint;
  v_valid_from timestamptz;
  v_other sla.policies;
begin
  perform access.require_role(save_policy.account_id, 'admin');
  if save_policy.account_id is null or save_policy.account_id < 1 then
    raise exception 'account_id % is no Chatwoot account', coalesce(save_policy.account_id::text, 'null')
      using errcode = 'OC422', hint = 'Give the number that stands in the address of your Chatwoot dashboard.';
  end if;
  perform ledger.refuse_instant(save_policy.as_of);
  if coalesce(length(trim(save_policy.name)), 0) not between 1 and 100 then
    raise exception 'A policy needs a name of 1 to 100 characters' using errcode = 'OC422', hint = 'Such as "VIP customers".';
  end if;
  if save_policy.place not between 1 and 1000000 then
    raise exception 'place must be from 1 to 1000000, not %', save_policy.place
      using errcode = 'OC422', hint = 'The policy with the smallest place is asked first; null for the last.';
  end if;
  -- No calendar is deleted while a policy that names it is being saved.
  perform pg_advisory_xact_lock(hashtextextended('ledger.calendars', save_policy.account_id));
  v_conditions := sla.read_conditions(save_policy.conditions);
  v_targets := sla.read_targets(save_policy.account_id, save_policy.targets);
  perform pg_advisory_xact_lock(hashtextextended('sla.policies', save_policy.account_id));
  -- The one with that id, else the one with that name, else a new one.
  select * into v_before from sla.policies
  where policies.account_id = save_policy.account_id and policies.valid_until is null
    and case when save_policy.policy_id is null then lower(policies.name) = lower(trim(save_policy.name))
      else policies.policy_id = save_policy.policy_id end;
  if not found and save_policy.policy_id is not null then
    raise exception 'There is no policy % in account %', save_policy.policy_id, save_policy.account_id
      using errcode = 'OC404', hint = 'Those there are: select policy_id, name from api.sla_policies.';
  end if;
  v_position := coalesce(save_policy.place, v_before.position, (
    select coalesce(max(policies.position), 0) + 10 from sla.policies
    where policies.account_id = save_policy.account_id and policies.valid_until is null));
  v_policy_id := coalesce(v_before.policy_id, (
    select coalesce(max(policies.policy_id), 0) + 1 from sla.policies where policies.account_id = save_policy.account_id));
  v_valid_from := coalesce(save_policy.valid_from, save_policy.as_of);
  if v_valid_from > save_policy.as_of then
    raise exception 'valid_from must not be after now, but is %', v_valid_from
      using errcode = 'OC422', hint = 'Null means from now on; -infinity, for a new policy, since ever.';
  end if;
  -- What was promised was promised.
  if v_before.policy_id is not null and v_valid_from < save_policy.as_of then
    raise exception 'The policy "%" exists, and changes from now on, not from %', v_before.name, v_valid_from
      using errcode = 'OC422', hint = 'Leave valid_from out. What another policy would have meant: api.simulate_sla.';
  end if;
  if (select count(*) from sla.policies where policies.account_id = save_policy.account_id and policies.valid_until is null) >= 100
    and v_before.policy_id is null
  then
    raise exception 'There are 100 policies already' using errcode = 'OC409',
      hint = 'Retire some first (api.retire_sla_policy), or join those with the same targets: a condition may name 100 values.';
  end if;
  if (select count(*) from sla.policies where policies.account_id = save_policy.account_id
    and policies.changed_at > save_policy.as_of - interval '1 day') >= 200
  then
    raise exception 'Policies were saved 200 times within a day' using errcode = 'OC409',
      hint = 'Each version is kept and asked. Try a policy with api.simulate_sla before it is saved.';
  end if;
  if (v_before.name, v_before.position, v_before.conditions, v_before.targets)
    = (trim(save_policy.name), v_position, v_conditions, v_targets)
  then
    return v_policy_id;
  end if;
  select * into v_other from sla.policies
  where policies.account_id = save_policy.account_id and policies.valid_until is null and policies.policy_id <> v_policy_id
    and (policies.position = v_position or lower(policies.name) = lower(trim(save_policy.name))
      or (policies.position < v_position and sla.implies(v_conditions, policies.conditions))
      or (policies.position > v_position and sla.implies(policies.conditions, v_conditions)))
  order by policies.position = v_position desc, lower(policies.name) = lower(trim(save_policy.name)) desc, policies.position
  limit 1;
  if v_other.position = v_position then
    raise exception 'Place % is that of the policy "%"', v_position, v_other.name
      using errcode = 'OC409', hint = 'Give another place: places need not follow each other.';
  elsif lower(v_other.name) = lower(trim(save_policy.name)) then
    raise exception 'There is another policy "%"', v_other.name using errcode = 'OC409', hint = 'Give another name.';
  elsif v_other.position < v_position then
    raise exception 'The policy "%" at place % would never be reached: whatever it is for, "%" at place % is for too',
      trim(save_policy.name), v_position, v_other.name, v_other.position
      using errcode = 'OC422', hint = 'Give it a smaller place, or conditions that the other does not have.';
  elsif v_other.position > v_position then
    raise exception 'The policy "%" at place % would never be reached any more: whatever it is for, "%" at place % is for too',
      v_other.name, v_other.position, trim(save_policy.name), v_position
      using errcode = 'OC422', hint = 'Give this one a larger place, or more conditions.';
  end if;
  if v_before.policy_id is not null then
    update sla.policies as existing set valid_until = v_valid_from
    where existing.account_id = v_before.account_id and existing.policy_id = v_before.policy_id
      and existing.version = v_before.version;
  end if;
  insert into sla.policies (account_id, policy_id, version, name, position, conditions, targets, valid_from, changed_at, changed_by)
  values (save_policy.account_id, v_policy_id, coalesce(v_before.version, 0) + 1, trim(save_policy.name), v_position,
    v_conditions, v_targets, v_valid_from, save_policy.as_of, access.actor());
  perform ops.resolve_alert(save_policy.account_id, 'sla.never_due', 'sla_policy:' || v_policy_id, save_policy.as_of);
  perform audit.log(save_policy.account_id, 'sla_policy.saved', 'sla_policy:' || v_policy_id,
    jsonb_build_object('version', coalesce(v_before.version, 0) + 1, 'name', trim(save_policy.name), 'place', v_position,
      'conditions', v_conditions, 'targets', v_targets, 'valid_from', v_valid_from), 'done', as_of => save_policy.as_of);
  perform sla.touch(save_policy.account_id, v_valid_from, save_policy.as_of);
  return v_policy_id;
end
$$;
comment on function sla.save_policy is
  'Saves a policy as a new version that holds from valid_from on (admins only), logged; returns its id. What runs is counted again. Errors: OC403, OC404, OC409, OC422.';

create function sla.retire_policy(account_id bigint, policy_id bigint, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(retire_policy.account_id, 'admin');
  perform ledger.refuse_instant(retire_policy.as_of);
  perform pg_advisory_xact_lock(hashtextextended('sla.policies', retire_policy.account_id));
  update sla.policies as existing set valid_until = greatest(retire_policy.as_of, existing.valid_from), is_settled = false
  where existing.account_id = retire_policy.account_id and existing.policy_id = retire_policy.policy_id
    and existing.valid_until is null;
  if not found then
    raise exception 'There is no policy % in account %', coalesce(retire_policy.policy_id::text, 'null'), retire_policy.account_id
      using errcode = 'OC404', hint = 'Those there are: select policy_id, name from api.sla_policies.';
  end if;
  perform audit.log(retire_policy.account_id, 'sla_policy.retired', 'sla_policy:' || retire_policy.policy_id, '{}', 'done',
    as_of => retire_policy.as_of);
  perform sla.touch(retire_policy.account_id, retire_policy.as_of, retire_policy.as_of);
end
$$;
comment on function sla.retire_policy is
  'Ends a policy from now on (admins only), logged. Its clocks stop, what was decided stays. Errors: OC403, OC404.';

create function sla.add_default_policy(
  account_id bigint, valid_from timestamptz default null, as_of timestamptz default now()
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select sla.save_policy(add_default_policy.account_id, 'Default', '[]', '{
    "first_response": {"seconds": 900, "hours": "business", "priorities": {"urgent": {"seconds": 300, "hours": "24x7"}}},
    "next_response": {"seconds": 3600, "hours": "business", "priorities": {"urgent": {"seconds": 900, "hours": "24x7"}}},
    "resolution": {"seconds": 86400, "hours": "24x7", "priorities": {"urgent": {"seconds": 14400, "hours": "24x7"}}}
  }', 1000000, valid_from => add_default_policy.valid_from, as_of => add_default_policy.as_of)
$$;
comment on function sla.add_default_policy is
  'Saves the policy "Default", asked last and for every conversation: first response in 15 minutes of business hours, next response in one hour, resolution in a day, urgent tighter. It holds from valid_from on; null for from now. Errors: OC403, OC409, OC422.';
