-- Service levels, for people: policies, what is at risk, what a stricter policy would have meant.
create function api.save_sla_policy(
  account_id bigint, name text, conditions jsonb, targets jsonb, place integer default null, policy_id bigint default null,
  valid_from timestamptz default null
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select sla.save_policy(save_sla_policy.account_id, save_sla_policy.name, save_sla_policy.conditions,
    save_sla_policy.targets, save_sla_policy.place, save_sla_policy.policy_id, save_sla_policy.valid_from)
$$;
comment on function api.save_sla_policy is
  'Saves a policy as a new version and returns its id; logged. It is the one with that id, else the one with that name, else a new one. conditions: array of {attribute, operator (in, not_in, exists, missing), values}; [] for every conversation. targets: by clock {seconds, hours (business, 24x7 or a calendar id), priorities, pauses, warn_at}. place: the smallest is asked first. It holds from now on, a new one from valid_from on (-infinity: since ever). Admins only. Errors: OC403, OC404, OC409, OC422.';

create function api.retire_sla_policy(account_id bigint, policy_id bigint) returns void
language sql volatile security invoker set search_path = ''
as $$ select sla.retire_policy(retire_sla_policy.account_id, retire_sla_policy.policy_id) $$;
comment on function api.retire_sla_policy is
  'Ends a policy from now on; logged. Its running clocks stop or follow the next policy, what was decided stays. Admins only. Errors: OC403, OC404.';

create function api.add_default_sla_policy(account_id bigint, valid_from timestamptz default null) returns bigint
language sql volatile security invoker set search_path = ''
as $$ select sla.add_default_policy(add_default_sla_policy.account_id, add_default_sla_policy.valid_from) $$;
comment on function api.add_default_sla_policy is
  'Saves the policy "Default" for every conversation that no other is for: first response in 15 minutes of business hours, next response in one hour, resolution in a day, urgent tighter. It holds from valid_from on (null: from now; -infinity: since ever). Admins only. Errors: OC403, OC409, OC422.';

create function api.sla_at_risk(account_id bigint, as_of timestamptz default null, most integer default 200)
returns table (
  display_id bigint, episode integer, clock text, instance integer, class text, inbox_id bigint, team_id bigint, holder text,
  priority text, policy_id bigint, started_at timestamptz, target_seconds integer, elapsed double precision,
  remaining double precision, consumed double precision, due_at timestamptz, if_resumed_due_at timestamptz,
  breach_at timestamptz, breach_probability double precision
)
language sql stable security invoker set search_path = '' as $$
  select * from sla.at_risk(sla_at_risk.account_id, sla_at_risk.as_of, sla_at_risk.most)
$$;
comment on function api.sla_at_risk is
  'The clocks that have not stopped, up to most of those late, most of those due soonest and most of those paused, by due_at, paused ones last with if_resumed_due_at: when they would be due if they went on now. class: breached, at_risk (a warning share used up, or due within 900 seconds), ok, paused. elapsed, remaining and target_seconds are seconds of the clock''s hours, consumed is the share used up. breach_probability, 0 to 1, of first and next responses: from how long customers waited before in that inbox at that sort of hour; null when fewer than 50 waited as long. as_of: at that instant, which is worked out and so slower. Viewers and above. Errors: OC403, OC422.';

create function api.sla_clocks_at(account_id bigint, as_of timestamptz default now(), display_ids bigint[] default null)
returns setof sla.clocks
language sql stable security invoker set search_path = ''
as $$ select told.* from sla.clocks_at(sla_clocks_at.account_id, sla_clocks_at.as_of, sla_clocks_at.display_ids) as told $$;
comment on function api.sla_clocks_at is
  'The clocks of the account, or of the conversations named, as they were at as_of (inclusive), by what is known now. Viewers and above. Errors: OC403, OC422.';

create function api.explain_sla(account_id bigint, display_id bigint, as_of timestamptz default now())
returns table (
  episode integer, clock text, instance integer, policy_id bigint, policy_name text, version integer, applied_at timestamptz,
  applied_until timestamptz, target_seconds integer, calendar_id bigint, part integer, state text, counted boolean, why text,
  started_at timestamptz, ended_at timestamptz, seconds double precision, due_at timestamptz, opened_by bigint, closed_by bigint
)
language sql stable security invoker set search_path = '' as $$
  select * from sla.explain(explain_sla.account_id, explain_sla.display_id, explain_sla.as_of)
$$;
comment on function api.explain_sla is
  'What the clocks of a conversation are made of: for each target that held (policy, version, applied_at to applied_until) every interval, counted or not and why. The counted seconds of the last target add up to elapsed. due_at stands in the interval in which the target was or will be used up. opened_by and closed_by are events of the wait (analytics.events). as_of: at that instant. Viewers and above. Errors: OC403, OC404, OC422.';

create function api.simulate_sla(account_id bigint, policies jsonb, since timestamptz, until timestamptz)
returns table (
  clock text, decided_before bigint, breached_before bigint, decided_after bigint, breached_after bigint,
  newly_breached bigint[], no_longer_breached bigint[]
)
-- Of the Data API's own limits the longest: a quarter of a year may take a minute.
language sql stable security invoker set search_path = '' set statement_timeout = '120s' as $$
  select * from sla.simulate(simulate_sla.account_id, simulate_sla.policies, simulate_sla.since, simulate_sla.until)
$$;
comment on function api.simulate_sla is
  'Counts the episodes begun in [since, until), at most 400 days, again under other policies: an array of {conditions, targets} in the order in which they are asked. One row a clock: how many were decided and breached, and would have been, and the conversations that differ. Nothing is written. Viewers and above. Errors: OC403, OC422.';

create view api.sla_policies with (security_invoker = true) as
select policies.account_id, policies.policy_id, policies.version, policies.name, policies.position as place,
  policies.conditions, policies.targets, nullif(policies.valid_from, '-infinity') as valid_from, policies.valid_until,
  policies.changed_at, policies.changed_by
from sla.policies;
comment on view api.sla_policies is 'Every version of every policy of the accounts you belong to; those in force have no valid_until.';
comment on column api.sla_policies.account_id is 'Chatwoot''s account id.';
comment on column api.sla_policies.policy_id is 'Number of the policy in its account.';
comment on column api.sla_policies.version is 'Number of the version, from 1.';
comment on column api.sla_policies.name is 'What people call it.';
comment on column api.sla_policies.place is 'Its place in the order; the smallest is asked first.';
comment on column api.sla_policies.conditions is 'What must hold, all of it; [] for every conversation.';
comment on column api.sla_policies.targets is 'By clock: pauses, warn_at, and by priority or default the seconds and hours.';
comment on column api.sla_policies.valid_from is 'From when on this version holds (UTC); null for since ever.';
comment on column api.sla_policies.valid_until is 'Until when it holds (UTC); null while it does.';
comment on column api.sla_policies.changed_at is 'When it was saved (UTC).';
comment on column api.sla_policies.changed_by is 'Who saved it, as in the decision log.';

create view api.sla_board with (security_invoker = true) as
select clocks.account_id,
  count(*) filter (where clocks.state = 'running' and clocks.outcome is null) as running,
  count(*) filter (where clocks.state = 'paused' and clocks.outcome is null) as paused,
  count(*) filter (where clocks.state <> 'stopped' and clocks.outcome = 'breached') as breached_open,
  min(clocks.due_at) filter (where clocks.state = 'running' and clocks.outcome is null) as next_due_at,
  count(*) filter (where clocks.state = 'running' and clocks.outcome is null and clocks.due_at <= now() + interval '15 minutes')
    as due_in_15_minutes,
  now() as as_of
from analytics.sla_clocks as clocks
where clocks.state <> 'stopped' and clocks.excluded_as is null
group by clocks.account_id;
comment on view api.sla_board is 'One row an account, for a page: how many clocks run, pause and are late this second, and when the next one is due.';
comment on column api.sla_board.account_id is 'Chatwoot''s account id.';
comment on column api.sla_board.running is 'Clocks that run and are in time.';
comment on column api.sla_board.paused is 'Clocks that pause and are in time.';
comment on column api.sla_board.breached_open is 'Clocks that are late and have not stopped.';
comment on column api.sla_board.next_due_at is 'When the next one is due (UTC); null for none.';
comment on column api.sla_board.due_in_15_minutes is 'How many are due within 900 seconds.';
comment on column api.sla_board.as_of is 'When this was read (UTC).';

revoke all on function api.save_sla_policy, api.retire_sla_policy, api.add_default_sla_policy, api.sla_at_risk,
  api.sla_clocks_at, api.explain_sla, api.simulate_sla from public, anon, authenticated, service_role;
grant execute on function api.save_sla_policy, api.retire_sla_policy, api.add_default_sla_policy, api.sla_at_risk,
  api.sla_clocks_at, api.explain_sla, api.simulate_sla to authenticated, service_role;
grant select on api.sla_policies, api.sla_board to authenticated, service_role;
