-- Operations, for people and monitors: how things stand, what to do about an alert, and the page that says it outside.
create function api.acknowledge_alert(account_id bigint, alert_id bigint) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select ops.acknowledge_alert(acknowledge_alert.account_id, acknowledge_alert.alert_id) $$;
comment on function api.acknowledge_alert is
  'Says that somebody is at it, which ends the escalation; false when somebody was before, or it is over; logged. Operators and above. Errors: OC403, OC404.';

create function api.snooze_alert(account_id bigint, alert_id bigint, until timestamptz) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select ops.snooze_alert(snooze_alert.account_id, snooze_alert.alert_id, snooze_alert.until) $$;
comment on function api.snooze_alert is
  'Tells nobody of the alert until then (30 days at most), and again if it still lasts; null ends it now. False when it is over; logged. Operators and above. Errors: OC403, OC404, OC422.';

create function api.set_alert_rule(account_id bigint, kind text, changes jsonb) returns jsonb
language sql volatile security invoker set search_path = ''
as $$ select ops.set_alert_rule(set_alert_rule.account_id, set_alert_rule.kind, set_alert_rule.changes) $$;
comment on function api.set_alert_rule is
  'Changes an alert of the account (an object of threshold, for_seconds, clear_threshold, clear_seconds, severity, channels, quiet_start_minute, quiet_end_minute, is_enabled), or takes it back to the default with null; returns it as it is now; logged. Admins only. Errors: OC403, OC404, OC422.';

create or replace view api.alerts with (security_invoker = true) as
select alerts.account_id, alerts.alert_id, alerts.kind, alerts.subject, alerts.message, alerts.hint, alerts.raised_at,
  alerts.last_raised_at, alerts.times, alerts.resolved_at, alerts.severity, alerts.acknowledged_at,
  alerts.acknowledged_by, alerts.snoozed_until, alerts.snoozed_by
from ops.alerts;
comment on column api.alerts.severity is 'info, warning or critical.';
comment on column api.alerts.acknowledged_at is 'When a person said that they are at it (UTC); null for not yet.';
comment on column api.alerts.acknowledged_by is 'Who; null for nobody yet.';
comment on column api.alerts.snoozed_until is 'Nobody is told of it until then (UTC); null for not snoozed.';
comment on column api.alerts.snoozed_by is 'Who wished so; null for nobody.';

create view api.alert_rules with (security_invoker = true) as
select accounts.account_id, rules.kind, rules.title, rules.description, rules.check_name, rules.threshold,
  rules.for_seconds, rules.clear_threshold, rules.clear_seconds, rules.severity, rules.channels,
  rules.quiet_start_minute, rules.quiet_end_minute, rules.is_enabled, rules.account_id = 0 as is_default, rules.changed_at, rules.changed_by
from (select members.account_id from access.members group by members.account_id) as accounts
cross join lateral (
  select distinct on (every.kind) every.* from ops.alert_rules as every
  where every.account_id in (0, accounts.account_id) order by every.kind, every.account_id desc
) as rules;
comment on view api.alert_rules is 'What there is an alert for in the accounts you belong to, as it is in force.';
comment on column api.alert_rules.account_id is 'Chatwoot''s account id.';
comment on column api.alert_rules.kind is 'Kind of the alert; it is told of as alert.<kind>.';
comment on column api.alert_rules.title is 'The alert in a few words.';
comment on column api.alert_rules.description is 'What it means, with the unit of its thresholds.';
comment on column api.alert_rules.check_name is 'The check whose value is looked at.';
comment on column api.alert_rules.threshold is 'The value from which on it is bad.';
comment on column api.alert_rules.for_seconds is 'For how long it must be bad before the alert is raised.';
comment on column api.alert_rules.clear_threshold is 'The value down to which it must fall to be over.';
comment on column api.alert_rules.clear_seconds is 'For how long it must stay there.';
comment on column api.alert_rules.severity is 'info, warning or critical.';
comment on column api.alert_rules.channels is 'Names of the notification endpoints that are told of it; null for all that want its kind.';
comment on column api.alert_rules.quiet_start_minute is 'Minute of the local day from which on nobody is told of it; null for never quiet.';
comment on column api.alert_rules.quiet_end_minute is 'Minute of the local day at which it is told if it still lasts; null for never quiet.';
comment on column api.alert_rules.is_enabled is 'Whether it is looked at.';
comment on column api.alert_rules.is_default is 'True while the account has chosen nothing else.';
comment on column api.alert_rules.changed_at is 'When it was last changed (UTC); null for never.';
comment on column api.alert_rules.changed_by is 'Who changed it last; null for never.';

create view api.health_checks with (security_invoker = true) as
select nullif(checks.account_id, 0) as account_id, checks.name, nullif(checks.subject, '') as subject, checks.state,
  checks.value, checks.unit, checks.message, checks.hint, checks.since, checks.checked_at
from ops.health_checks as checks;
comment on view api.health_checks is 'What each check of the project and of the accounts you belong to found last.';
comment on column api.health_checks.account_id is 'Chatwoot''s account id; null for the whole project.';
comment on column api.health_checks.name is 'Name of the check.';
comment on column api.health_checks.subject is 'What of it was looked at; null where there is only one.';
comment on column api.health_checks.state is 'ok, warn, fail or unknown.';
comment on column api.health_checks.value is 'What was measured, in unit; null where it could not be.';
comment on column api.health_checks.unit is 'Unit of the value.';
comment on column api.health_checks.message is 'What was found.';
comment on column api.health_checks.hint is 'What to do about it.';
comment on column api.health_checks.since is 'Since when the state is what it is (UTC).';
comment on column api.health_checks.checked_at is 'When somebody looked (UTC).';

create view api.job_runs with (security_invoker = true) as
select runs.run_id, runs.job, runs.started_at, runs.ended_at, runs.state, runs.seconds, runs.message from ops.job_runs as runs;
comment on view api.job_runs is 'Each run of each job of cron, for 30 days. With the secret key only.';
comment on column api.job_runs.run_id is 'pg_cron''s number of the run.';
comment on column api.job_runs.job is 'Name of the job.';
comment on column api.job_runs.started_at is 'When it began (UTC).';
comment on column api.job_runs.ended_at is 'When it ended (UTC); null while it runs.';
comment on column api.job_runs.state is 'running, succeeded or failed.';
comment on column api.job_runs.seconds is 'How long it took; null while it runs.';
comment on column api.job_runs.message is 'What pg_cron was told at the end.';

create function ops.public_status(as_of timestamptz default now()) returns jsonb
-- Definer, and a few words only: whoever asks is anybody. No account, no number, no reason.
language plpgsql stable security definer set search_path = '' as $$
declare
  v_checked_at timestamptz := (select checks.checked_at from ops.health_checks as checks
    where checks.account_id = 0 and checks.name = 'cron_alive' and checks.subject = '');
  v_is_fresh boolean := coalesce(v_checked_at > public_status.as_of - interval '3 minutes', false);
  -- An account whose checks or alerts break is watched by nobody.
  v_is_watched boolean := not exists (select from ops.health_checks as checks
    where checks.name = 'checks' and checks.state = 'fail' and checks.checked_at > public_status.as_of - interval '10 minutes');
  v_services jsonb;
begin
  -- That cron stands still is known by nobody but whoever asks from outside.
  select jsonb_build_object('database', 'ok', 'checks', case when v_is_fresh and v_is_watched then 'ok' else 'fail' end)
    || coalesce(jsonb_object_agg(told.service, case when told.is_down then 'fail' else 'ok' end), '{}')
  into v_services
  from (
    select case checks.name when 'service' then 'chatwoot' when 'webhook_arrival' then 'webhooks' when 'sync_lag' then 'sync'
        when 'cron_alive' then 'jobs' when 'outbox' then 'sending' when 'ledger_lag' then 'numbers' end as service,
      bool_or(checks.state = 'fail' and checks.checked_at > public_status.as_of - interval '10 minutes') as is_down
    from ops.health_checks as checks
    where checks.name in ('service', 'webhook_arrival', 'sync_lag', 'cron_alive', 'outbox', 'ledger_lag')
      -- Told of an hour ago and never again: what it was about is no more.
      and (checks.checked_at > public_status.as_of - interval '1 hour' or not v_is_fresh)
    group by 1
  ) as told;
  -- Numbers that lag and replies that wait are for those who run it; what is down is for everybody.
  return jsonb_build_object('status', case when exists (
      select from jsonb_each_text(v_services - array['sending', 'numbers']) as every where every.value = 'fail') then 'fail' else 'ok' end,
    'checked_at', v_checked_at, 'services', v_services);
end
$$;
comment on function ops.public_status is
  'How the project is, in words that anybody may read: status ok or fail, when it was last checked, and each service. checks is fail when nothing was checked for three minutes: cron stands still.';
revoke all on function ops.public_status from public, anon, authenticated, service_role;
grant execute on function ops.public_status to service_role;

create function api.public_status() returns jsonb
language sql stable security invoker set search_path = '' set statement_timeout = '2500ms'
as $$ select ops.public_status() $$;
comment on function api.public_status is
  'How the project is, in words that anybody may read, for the function health: status ok or fail, checked_at, and each service. For the health function only.';

revoke all on function api.acknowledge_alert, api.snooze_alert, api.set_alert_rule, api.public_status
  from public, anon, authenticated, service_role;
grant execute on function api.acknowledge_alert, api.snooze_alert, api.set_alert_rule to authenticated, service_role;
grant execute on function api.public_status to service_role;
grant select on api.alert_rules, api.health_checks to authenticated, service_role;
grant select on api.job_runs to service_role;
