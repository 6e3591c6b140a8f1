-- Alerts as data: which check, how bad, for how long before somebody is told, and how good for how long before it is over.
-- Two thresholds and two lengths, so that what swings around one of them is one alert and not twenty. The walk below reads
-- the history of the checks in the order in which it happened, so that a tick that was missed, a month that was generated
-- and the minute that has just passed are all the same to it.
create table ops.alert_rules (
  account_id bigint not null,
  kind text not null,
  check_name text not null,
  threshold double precision not null,
  for_seconds integer not null,
  clear_threshold double precision not null,
  clear_seconds integer not null,
  severity ops.notification_severity not null,
  channels text[],
  quiet_start_minute smallint,
  quiet_end_minute smallint,
  is_enabled boolean not null default true,
  title text not null,
  description text not null,
  changed_at timestamptz,
  changed_by text,
  constraint alert_rules_pkey primary key (account_id, kind),
  constraint alert_rules_account_id_known check (account_id >= 0),
  constraint alert_rules_kind_named check (length(kind) <= 90 and kind ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
  constraint alert_rules_clears_below check (clear_threshold < threshold),
  constraint alert_rules_lengths_bounded check (for_seconds between 0 and 86400 and clear_seconds between 0 and 86400),
  constraint alert_rules_quiet_hours_whole check (
    (quiet_start_minute is null) = (quiet_end_minute is null) and quiet_start_minute <> quiet_end_minute
    and quiet_start_minute between 0 and 1439 and quiet_end_minute between 0 and 1439)
);
comment on table ops.alert_rules is 'What there is an alert for: account 0 holds for every account that has chosen nothing else.';
comment on column ops.alert_rules.account_id is 'Chatwoot''s account id; 0 for the default.';
comment on column ops.alert_rules.kind is 'Kind of the alert; it is told of as alert.<kind>.';
comment on column ops.alert_rules.check_name is 'The check whose value is looked at.';
comment on column ops.alert_rules.threshold is 'The value from which on it is bad.';
comment on column ops.alert_rules.for_seconds is 'For how long without a break it must be bad before the alert is raised.';
comment on column ops.alert_rules.clear_threshold is 'The value down to which it must fall to be over.';
comment on column ops.alert_rules.clear_seconds is 'For how long without a break it must stay there.';
comment on column ops.alert_rules.severity is 'info, warning or critical.';
comment on column ops.alert_rules.channels is 'Names of the notification endpoints that are told of it; null for all that want its kind.';
comment on column ops.alert_rules.quiet_start_minute is 'Minute of the local day from which on nobody is told of it; null for never quiet.';
comment on column ops.alert_rules.quiet_end_minute is 'Minute of the local day at which it is told if it still lasts; null for never quiet.';
comment on column ops.alert_rules.is_enabled is 'Whether it is looked at.';
comment on column ops.alert_rules.title is 'The alert in a few words.';
comment on column ops.alert_rules.description is 'What it means, with the unit of its thresholds.';
comment on column ops.alert_rules.changed_at is 'When the account last changed it (UTC); null for the default.';
comment on column ops.alert_rules.changed_by is 'Who changed it; null for the default.';

insert into ops.alert_rules (account_id, kind, check_name, threshold, for_seconds, clear_threshold, clear_seconds, severity, title, description) values
  (0, 'service.down', 'service', 1, 120, 0, 120, 'critical', 'Chatwoot is down',
    'Requests of three a minute (root, /api, an authenticated read) that fail by Chatwoot''s own fault.'),
  (0, 'queue.high', 'queue_pressure', 2, 600, 1.3, 600, 'warning', 'Many customers wait',
    'Customers waiting for a reply, as a multiple of what is usual at this hour of the week (of 10 at least).'),
  (0, 'sla.breaches', 'breaches', 5, 60, 1, 900, 'warning', 'Promises are broken',
    'Service level clocks that were exceeded within the last hour; without a policy, first responses that took longer than the default target.'),
  (0, 'channel.outage', 'channel_arrival', 15, 120, 3, 120, 'critical', 'A channel is silent',
    'Minutes in which customers should have written in an inbox, by what is usual, since the last one did.'),
  (0, 'response.slow', 'first_response', 1800, 900, 1200, 900, 'warning', 'First replies are slow',
    'Median seconds of business hours to the first reply, over the last hour and those who wait.'),
  (0, 'webhook.silent', 'webhook_arrival', 15, 120, 3, 120, 'critical', 'No webhooks come',
    'Minutes in which webhooks should have come, by what is usual, since the last one did.'),
  (0, 'sync.stopped', 'sync_lag', 1800, 120, 600, 120, 'warning', 'The sync stands still',
    'Seconds since a door of the sync last worked.'),
  (0, 'cron.stopped', 'cron_alive', 3, 60, 0, 120, 'critical', 'A job does not run',
    'Runs of a job in a row that failed or did not take place; 3 where one of ours is missing or switched off.'),
  (0, 'deliveries.dead', 'dead_deliveries', 1, 0, 0, 300, 'warning', 'Something could not be delivered',
    'Webhooks that could not be read, or approved actions given up, within the last day.'),
  (0, 'audit.broken', 'audit_chain', 1, 0, 0, 0, 'critical', 'The decision log is broken',
    'Whether the hash chain of the decision log has a fault.'),
  (0, 'disk.full', 'database_size', 6500, 300, 6000, 3600, 'critical', 'The disk is nearly full',
    'Megabytes of the database. The default fits a disk of 8 GB: set it to four fifths of yours.');

create table ops.alert_states (
  account_id bigint not null,
  kind text not null,
  subject text not null,
  phase text not null,
  phase_since timestamptz not null,
  evaluated_until timestamptz not null,
  alert_id bigint,
  is_told boolean not null default false,
  constraint alert_states_pkey primary key (account_id, kind, subject),
  constraint alert_states_phase_known check (phase in ('fine', 'pending', 'firing', 'clearing')),
  constraint alert_states_alert_while_firing check ((phase in ('firing', 'clearing')) = (alert_id is not null))
);
comment on table ops.alert_states is 'Where each alert stands between fine and firing.';
comment on column ops.alert_states.account_id is 'Chatwoot''s account id.';
comment on column ops.alert_states.kind is 'Kind of the alert.';
comment on column ops.alert_states.subject is 'What it is about: the subject of the check, or the name of the check.';
comment on column ops.alert_states.phase is 'fine; pending (bad, not yet for long enough); firing; clearing (good, not yet for long enough).';
comment on column ops.alert_states.phase_since is 'Since when (UTC).';
comment on column ops.alert_states.evaluated_until is 'The last check that was looked at (UTC).';
comment on column ops.alert_states.alert_id is 'The alert while it lasts.';
comment on column ops.alert_states.is_told is 'Whether it was told to anybody: not in quiet hours, nor while snoozed.';

alter table ops.alerts add column severity ops.notification_severity not null default 'warning',
  add column acknowledged_at timestamptz, add column acknowledged_by text, add column snoozed_until timestamptz,
  add column snoozed_by text,
  add constraint alerts_acknowledged_by_somebody check ((acknowledged_at is null) = (acknowledged_by is null)),
  add constraint alerts_snoozed_by_somebody check ((snoozed_until is null) = (snoozed_by is null));
comment on column ops.alerts.severity is 'info, warning or critical.';
comment on column ops.alerts.acknowledged_at is 'When a person said that they are at it (UTC); null for not yet.';
comment on column ops.alerts.acknowledged_by is 'Who, as in the decision log.';
comment on column ops.alerts.snoozed_until is 'Nobody is told of it until then (UTC); null for not snoozed.';
comment on column ops.alerts.snoozed_by is 'Who wished so, as in the decision log.';

create function ops.rules_of(account_id bigint) returns setof ops.alert_rules
language sql stable security invoker set search_path = '' as $$
  select distinct on (rules.kind) rules.* from ops.alert_rules as rules
  where rules.account_id in (0, rules_of.account_id)
  order by rules.kind, rules.account_id desc
$$;
comment on function ops.rules_of is 'The rules in force for the account: its own, or else the default.';

create function ops.tell_alert(rule ops.alert_rules, alert ops.alerts, news text, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_channels text[] := rule.channels;
begin
  -- Whoever was told that it began hears that it is over, whatever the rule says by now.
  if tell_alert.news = 'cleared' then
    select case when bool_or(told.channels is null) then null else array_agg(distinct names.name) end into v_channels
    from ops.notifications as told
    left join lateral unnest(told.channels) as names (name) on true
    where told.account_id = alert.account_id and told.kind = 'alert.' || alert.kind and told.created_at >= alert.raised_at
      and (told.dedupe_key = format('alert:%s:fired', alert.alert_id)
        or starts_with(told.dedupe_key, format('alert:%s:still:', alert.alert_id)));
  end if;
  perform ops.notify(alert.account_id, 'alert.' || alert.kind,
    format('alert:%s:%s%s', alert.alert_id, tell_alert.news,
      case when tell_alert.news = 'still' then ':' || extract(epoch from tell_alert.as_of)::bigint else '' end),
    case tell_alert.news when 'cleared' then format('Over: %s (%s), after %s', lower(rule.title), alert.subject,
        ops.ago(alert.raised_at, tell_alert.as_of))
      when 'still' then format('Still: %s', alert.message)
      else alert.message end,
    jsonb_strip_nulls(jsonb_build_object('alert', rule.title, 'subject', alert.subject, 'since', alert.raised_at,
      'what_to_do', case when tell_alert.news <> 'cleared' then alert.hint end, 'alert_id', alert.alert_id,
      'news', tell_alert.news)),
    case when tell_alert.news = 'cleared' then 'info' else alert.severity end, tell_alert.as_of, v_channels);
end
$$;
comment on function ops.tell_alert is 'Tells the account''s endpoints of an alert: fired, still (after quiet hours or a snooze) or cleared.';

create function ops.stop_escalation(alert ops.alerts) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update ops.notifications as existing set next_escalation_at = null
  where existing.account_id = alert.account_id and existing.next_escalation_at is not null
    and (existing.dedupe_key = format('alert:%s:fired', alert.alert_id)
      or starts_with(existing.dedupe_key, format('alert:%s:still:', alert.alert_id)));
end
$$;
comment on function ops.stop_escalation is 'What was told of the alert so far is escalated no further.';

create function ops.log_alert(
  rule ops.alert_rules, alert ops.alerts, action text, since timestamptz, value double precision, why text,
  as_of timestamptz
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  perform audit.log(alert.account_id, log_alert.action, 'alert:' || alert.alert_id,
    jsonb_strip_nulls(jsonb_build_object('kind', alert.kind, 'subject', alert.subject, 'value', log_alert.value,
      'threshold', case when log_alert.value is not null then
        case log_alert.action when 'alert.raised' then rule.threshold else rule.clear_threshold end end,
      'severity', alert.severity, 'since', log_alert.since, 'why', log_alert.why)),
    'done', actor => 'rule:alerts', as_of => log_alert.as_of);
  -- Nobody need be called for what is over.
  if log_alert.action = 'alert.cleared' then
    perform ops.stop_escalation(log_alert.alert);
  end if;
end
$$;
comment on function ops.log_alert is 'Adds to the decision log that an alert was raised or is over, which ends its escalation: since when it was so, what was read and what that was compared with; why says what else ended it.';

create function ops.evaluate_alerts(account_id bigint, as_of timestamptz default now()) returns integer
language plpgsql volatile security invoker set search_path = '' set jit = off as $$
declare
  -- Longer than that nobody looked: what was bad before the gap need not have been bad in it.
  c_gap constant interval := interval '10 minutes';
  v_rule ops.alert_rules;
  v_look record;
  v_sample record;
  v_state ops.alert_states;
  v_alert ops.alerts;
  v_subject text;
  v_zone text := ops.setting(evaluate_alerts.account_id, 'reporting_time_zone') #>> '{}';
  v_changes integer := 0;
  v_quiet_until timestamptz;
begin
  -- One walk of an account at a time.
  perform pg_advisory_xact_lock(hashtextextended('ops.evaluate_alerts', evaluate_alerts.account_id));
  for v_rule in select * from ops.rules_of(evaluate_alerts.account_id) loop
    for v_look in
      select checks.account_id, checks.subject, checks.message, checks.hint, checks.checked_at
      from ops.health_checks as checks
      where checks.account_id in (0, evaluate_alerts.account_id) and checks.name = v_rule.check_name
      order by checks.subject
    loop
      v_subject := coalesce(nullif(v_look.subject, ''), v_rule.check_name);
      select * into v_state from ops.alert_states as states
      where states.account_id = evaluate_alerts.account_id and states.kind = v_rule.kind and states.subject = v_subject;
      if not found then
        -- What was long before anybody thought of this alert is no news.
        v_state := row(evaluate_alerts.account_id, v_rule.kind, v_subject, 'fine', '-infinity',
          evaluate_alerts.as_of - interval '25 hours', null, false)::ops.alert_states;
      end if;
      for v_sample in
        select history.checked_at as at, history.value from ops.health_history as history
        where v_rule.is_enabled and history.account_id = v_look.account_id and history.name = v_rule.check_name
          and history.subject = v_look.subject and history.checked_at > v_state.evaluated_until
          and history.checked_at <= evaluate_alerts.as_of
        order by history.checked_at
      loop
        if v_state.phase = 'fine' and coalesce(v_sample.value < v_rule.threshold, true) then
          v_state.evaluated_until := v_sample.at;
          continue;
        end if;
        if v_state.phase in ('pending', 'clearing') and v_sample.at - v_state.evaluated_until > c_gap then
          v_state.phase_since := v_sample.at;
        end if;
        v_state.evaluated_until := v_sample.at;
        -- Where nothing could be measured, nothing gets worse and nothing is over.
        if v_state.phase in ('fine', 'pending') then
          if v_sample.value >= v_rule.threshold then
            if v_state.phase = 'fine' then
              v_state.phase := 'pending';
              v_state.phase_since := v_sample.at;
            end if;
          else
            v_state.phase := 'fine';
            v_state.phase_since := v_sample.at;
          end if;
          if v_state.phase = 'pending' and v_sample.at - v_state.phase_since >= make_interval(secs => v_rule.for_seconds) then
            perform ops.raise_alert(evaluate_alerts.account_id, v_rule.kind, v_subject,
              case when v_look.checked_at = v_sample.at then v_look.message
                else format('%s: %s (%s, from %s on it is too much)', v_rule.title, v_subject,
                  round(v_sample.value::numeric, 1), v_rule.threshold) end
              || case when v_rule.for_seconds > 0 then format(' It has been so since %s.',
                  to_char(v_state.phase_since at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')) else '' end,
              v_look.hint, v_sample.at);
            update ops.alerts as existing set severity = v_rule.severity
            where existing.account_id = evaluate_alerts.account_id and existing.kind = v_rule.kind
              and existing.subject = v_subject and existing.resolved_at is null
            returning existing.* into v_alert;
            perform ops.log_alert(v_rule, v_alert, 'alert.raised', v_state.phase_since, v_sample.value, null, v_sample.at);
            v_state.phase := 'firing';
            v_state.phase_since := v_sample.at;
            v_state.alert_id := v_alert.alert_id;
            v_state.is_told := false;
            v_changes := v_changes + 1;
          end if;
        elsif v_sample.value <= v_rule.clear_threshold then
          if v_state.phase = 'firing' then
            v_state.phase := 'clearing';
            v_state.phase_since := v_sample.at;
          end if;
          if v_sample.at - v_state.phase_since >= make_interval(secs => v_rule.clear_seconds) then
            update ops.alerts as existing set resolved_at = coalesce(existing.resolved_at, v_sample.at)
            where existing.account_id = evaluate_alerts.account_id and existing.alert_id = v_state.alert_id
            returning existing.* into v_alert;
            perform ops.log_alert(v_rule, v_alert, 'alert.cleared', v_alert.raised_at, v_sample.value, null, v_sample.at);
            -- Whoever was not told that it began need not be told that it is over.
            if v_state.is_told then
              perform ops.tell_alert(v_rule, v_alert, 'cleared', v_sample.at);
            end if;
            v_state.phase := 'fine';
            v_state.phase_since := v_sample.at;
            v_state.alert_id := null;
            v_state.is_told := false;
            v_changes := v_changes + 1;
          end if;
        elsif v_state.phase = 'clearing' then
          v_state.phase := 'firing';
          v_state.phase_since := v_sample.at;
        end if;
        if v_state.alert_id is not null and not v_state.is_told then
          v_quiet_until := ops.quiet_until(v_rule.quiet_start_minute, v_rule.quiet_end_minute, v_zone, v_sample.at);
          select * into v_alert from ops.alerts as existing
          where existing.account_id = evaluate_alerts.account_id and existing.alert_id = v_state.alert_id;
          if v_alert.acknowledged_at is not null and v_alert.snoozed_until is null then
            -- Somebody is at it since the quiet hours: nothing to be told, and so no end of it either.
            null;
          elsif v_quiet_until is null and coalesce(v_alert.snoozed_until <= v_sample.at, true) then
            perform ops.tell_alert(v_rule, v_alert, case when v_alert.snoozed_until is null then 'fired' else 'still' end, v_sample.at);
            v_state.is_told := true;
          end if;
        end if;
      end loop;
      if not v_rule.is_enabled then
        -- What passed while nobody wished to know is not told of later.
        if v_state.alert_id is not null then
          update ops.alerts as existing set resolved_at = coalesce(existing.resolved_at, evaluate_alerts.as_of)
          where existing.account_id = evaluate_alerts.account_id and existing.alert_id = v_state.alert_id
          returning existing.* into v_alert;
          perform ops.log_alert(v_rule, v_alert, 'alert.cleared', v_alert.raised_at, null, 'The rule is switched off.',
            evaluate_alerts.as_of);
          v_changes := v_changes + 1;
        end if;
        v_state.phase := 'fine';
        v_state.phase_since := evaluate_alerts.as_of;
        v_state.alert_id := null;
        v_state.is_told := false;
        v_state.evaluated_until := greatest(v_state.evaluated_until, evaluate_alerts.as_of);
      end if;
      if v_state.alert_id is not null then
        update ops.alerts as existing set last_raised_at = greatest(existing.last_raised_at, v_state.evaluated_until),
          message = case when v_state.phase = 'firing' and v_look.checked_at = v_state.evaluated_until
              and existing.acknowledged_at is null then left(v_look.message, 1000) else existing.message end
        where existing.account_id = evaluate_alerts.account_id and existing.alert_id = v_state.alert_id
          and existing.resolved_at is null;
      end if;
      insert into ops.alert_states as existing values (v_state.*)
      on conflict on constraint alert_states_pkey do update set phase = excluded.phase, phase_since = excluded.phase_since,
        evaluated_until = excluded.evaluated_until, alert_id = excluded.alert_id, is_told = excluded.is_told;
    end loop;
  end loop;
  return v_changes + ops.end_orphans(evaluate_alerts.account_id, evaluate_alerts.as_of);
end
$$;
comment on function ops.evaluate_alerts is
  'Walks through what the checks of the account and the project found since the last walk, raises and ends alerts, logs it and tells of them. From SQL facts alone, with the clock as argument. Returns how many were raised or ended.';

create function ops.end_orphans(account_id bigint, as_of timestamptz) returns integer
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_state ops.alert_states;
  v_rule ops.alert_rules;
  v_alert ops.alerts;
  v_count integer := 0;
begin
  for v_state in
    select states.* from ops.alert_states as states
    where states.account_id = end_orphans.account_id and states.alert_id is not null and not exists (
      select from ops.rules_of(end_orphans.account_id) as rules
      join ops.health_checks as checks on checks.account_id in (0, end_orphans.account_id) and checks.name = rules.check_name
        and coalesce(nullif(checks.subject, ''), checks.name) = states.subject
      where rules.kind = states.kind and checks.checked_at > end_orphans.as_of - interval '1 hour')
  loop
    update ops.alerts as existing set resolved_at = coalesce(existing.resolved_at, end_orphans.as_of)
    where existing.account_id = v_state.account_id and existing.alert_id = v_state.alert_id
    returning existing.* into v_alert;
    select * into v_rule from ops.rules_of(v_state.account_id) as rules where rules.kind = v_state.kind;
    perform ops.log_alert(v_rule, v_alert, 'alert.cleared', v_alert.raised_at, null,
      'What it is about was not checked any more.', end_orphans.as_of);
    if v_state.is_told and v_rule.kind is not null then
      perform ops.tell_alert(v_rule, v_alert, 'cleared', end_orphans.as_of);
    end if;
    update ops.alert_states as existing set phase = 'fine', phase_since = end_orphans.as_of, alert_id = null, is_told = false,
      evaluated_until = greatest(existing.evaluated_until, end_orphans.as_of)
    where existing.account_id = v_state.account_id and existing.kind = v_state.kind and existing.subject = v_state.subject;
    v_count := v_count + 1;
  end loop;
  delete from ops.alert_states as old where old.account_id = end_orphans.account_id and old.alert_id is null
    and old.evaluated_until < end_orphans.as_of - interval '30 days';
  return v_count;
end
$$;
comment on function ops.end_orphans is 'Ends alerts about what was not checked for an hour while other things were, such as an inbox that was removed; returns how many.';

-- What people do. Definer, since nobody but these functions writes here.

create function ops.require_alert(account_id bigint, alert_id bigint) returns ops.alerts
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_alert ops.alerts;
begin
  perform access.require_role(require_alert.account_id, 'operator');
  select * into v_alert from ops.alerts as alerts
  where alerts.account_id = require_alert.account_id and alerts.alert_id = require_alert.alert_id for no key update;
  if not found then
    raise exception 'Account % has no alert %', coalesce(require_alert.account_id::text, 'null'),
      coalesce(require_alert.alert_id::text, 'null') using errcode = 'OC404',
      hint = 'Those that last: select alert_id, message from api.alerts where resolved_at is null.';
  end if;
  return v_alert;
end
$$;
comment on function ops.require_alert is 'The alert, locked, when the caller is an operator of the account (OC403) and there is one (OC404).';

create function ops.acknowledge_alert(account_id bigint, alert_id bigint, as_of timestamptz default now()) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_alert ops.alerts := ops.require_alert(acknowledge_alert.account_id, acknowledge_alert.alert_id);
begin
  if v_alert.acknowledged_at is not null or v_alert.resolved_at is not null then
    return false;
  end if;
  update ops.alerts as existing set acknowledged_at = acknowledge_alert.as_of, acknowledged_by = access.actor()
  where existing.account_id = v_alert.account_id and existing.alert_id = v_alert.alert_id;
  -- With it ends the escalation of what was told of it.
  perform ops.acknowledge_notification(told.account_id, told.notification_id, acknowledge_alert.as_of)
  from ops.notifications as told
  where told.account_id = v_alert.account_id and told.state = 'open'
    and told.dedupe_key in (format('alert:%s:fired', v_alert.alert_id), format('alert:%s:cleared', v_alert.alert_id));
  perform ops.acknowledge_notification(told.account_id, told.notification_id, acknowledge_alert.as_of)
  from ops.notifications as told
  where told.account_id = v_alert.account_id and told.state = 'open' and told.created_at >= v_alert.raised_at
    and starts_with(told.dedupe_key, format('alert:%s:still', v_alert.alert_id));
  perform audit.log(v_alert.account_id, 'alert.acknowledged', 'alert:' || v_alert.alert_id,
    jsonb_build_object('kind', v_alert.kind, 'subject', v_alert.subject), 'done', as_of => acknowledge_alert.as_of);
  return true;
end
$$;
comment on function ops.acknowledge_alert is
  'Says that a person is at it, which ends the escalation; false when somebody was before, or it is over. Operators and above; logged. Errors: OC403, OC404.';

create function ops.snooze_alert(account_id bigint, alert_id bigint, until timestamptz, as_of timestamptz default now())
returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_alert ops.alerts := ops.require_alert(snooze_alert.account_id, snooze_alert.alert_id);
begin
  if snooze_alert.until is not null and not coalesce(snooze_alert.until > snooze_alert.as_of
    and snooze_alert.until <= snooze_alert.as_of + interval '30 days', false)
  then
    raise exception 'An alert can be snoozed until some instant of the next 30 days, not until %', snooze_alert.until
      using errcode = 'OC422', hint = 'Such as now() + interval ''2 hours''; null ends it.';
  end if;
  if v_alert.resolved_at is not null then
    return false;
  end if;
  update ops.alerts as existing set snoozed_until = coalesce(snooze_alert.until,
      case when existing.snoozed_until is not null then snooze_alert.as_of end),
    snoozed_by = case when snooze_alert.until is not null or existing.snoozed_until is not null then access.actor() end
  where existing.account_id = v_alert.account_id and existing.alert_id = v_alert.alert_id;
  -- When the time is over, and it still lasts, it is told again.
  update ops.alert_states as existing set is_told = false
  where existing.account_id = v_alert.account_id and existing.alert_id = v_alert.alert_id
    and (snooze_alert.until is not null or v_alert.snoozed_until is not null);
  perform ops.stop_escalation(v_alert);
  perform audit.log(v_alert.account_id, 'alert.snoozed', 'alert:' || v_alert.alert_id,
    jsonb_build_object('kind', v_alert.kind, 'subject', v_alert.subject, 'until', snooze_alert.until), 'done',
    as_of => snooze_alert.as_of);
  return true;
end
$$;
comment on function ops.snooze_alert is
  'Tells nobody of the alert until then, and again if it still lasts; null ends it now. False when the alert is over. Operators and above; logged. Errors: OC403, OC404, OC422.';

create function ops.set_alert_rule(account_id bigint, kind text, changes jsonb, as_of timestamptz default now())
returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_rule ops.alert_rules;
  v_before jsonb;
  v_after jsonb;
  v_problem text;
  c_keys constant text[] := array['threshold', 'for_seconds', 'clear_threshold', 'clear_seconds', 'severity',
    'channels', 'quiet_start_minute', 'quiet_end_minute', 'is_enabled'];
begin
  perform sync.require_account(set_alert_rule.account_id);
  perform pg_advisory_xact_lock(hashtextextended('ops.alert_rules', set_alert_rule.account_id));
  select * into v_rule from ops.rules_of(set_alert_rule.account_id) as rules where rules.kind = set_alert_rule.kind;
  if not found then
    raise exception 'There is no alert rule %', coalesce(set_alert_rule.kind, 'null') using errcode = 'OC404',
      hint = 'Those there are: select kind, description from api.alert_rules.';
  end if;
  v_before := to_jsonb(v_rule) - array['account_id', 'kind', 'check_name', 'title', 'description', 'changed_at', 'changed_by'];
  if set_alert_rule.changes is null then
    delete from ops.alert_rules as existing
    where existing.account_id = set_alert_rule.account_id and existing.kind = set_alert_rule.kind;
    select * into v_rule from ops.rules_of(set_alert_rule.account_id) as rules where rules.kind = set_alert_rule.kind;
  else
    v_problem := case
      when jsonb_typeof(set_alert_rule.changes) <> 'object' then 'changes must be an object, or null for the default'
      when exists (select from jsonb_object_keys(set_alert_rule.changes) as given (key) where given.key <> all (c_keys))
        then format('changes may hold %s and nothing else', array_to_string(c_keys, ', '))
      when exists (select from jsonb_each(set_alert_rule.changes) as given
        where (given.key in ('threshold', 'clear_threshold') and jsonb_typeof(given.value) <> 'number')
          or (given.key in ('for_seconds', 'clear_seconds') and not (jsonb_typeof(given.value) = 'number'
            and given.value::text ~ '^\d{1,5}$' and given.value::text::integer <= 86400))
          or (given.key like 'quiet\_%' and not (jsonb_typeof(given.value) = 'null' or (jsonb_typeof(given.value) = 'number'
            and given.value::text ~ '^\d{1,4}$' and given.value::text::integer <= 1439)))
          or (given.key = 'channels' and not (jsonb_typeof(given.value) = 'null' or (jsonb_typeof(given.value) = 'array'
            and jsonb_array_length(given.value) between 1 and 50)))
          or (given.key = 'is_enabled' and jsonb_typeof(given.value) <> 'boolean')
          or (given.key = 'severity' and not coalesce(given.value #>> '{}' in ('info', 'warning', 'critical'), false)))
        then 'threshold and clear_threshold are numbers; for_seconds and clear_seconds whole seconds to 86400; quiet_start_minute and quiet_end_minute minutes of the day to 1439, or null; severity info, warning or critical; channels null or 1 to 50 names of notification endpoints; is_enabled true or false'
    end;
    if v_problem is null then
      v_after := v_before || set_alert_rule.changes;
      v_problem := case
        when (v_after ->> 'clear_threshold')::double precision >= (v_after ->> 'threshold')::double precision
          then 'clear_threshold must be below threshold, or the alert would come and go'
        when (v_after ->> 'threshold')::double precision > 1e12 or (v_after ->> 'clear_threshold')::double precision < -1e12
          then 'the thresholds must be numbers that can be reached'
        when (v_after ->> 'quiet_start_minute' is null) <> (v_after ->> 'quiet_end_minute' is null)
          or v_after ->> 'quiet_start_minute' = v_after ->> 'quiet_end_minute'
          then 'quiet_start_minute and quiet_end_minute must be two different minutes, or both null'
        else (
          select format('There is no notification endpoint %s that takes alert.%s', told.name, set_alert_rule.kind)
          from jsonb_array_elements(nullif(set_alert_rule.changes -> 'channels', 'null')) as told (name)
          where not exists (select from ops.notification_endpoints as endpoints
            where endpoints.account_id = set_alert_rule.account_id and to_jsonb(endpoints.name) = told.name
              and (endpoints.kinds is null or ops.wants_kind(endpoints.kinds, 'alert.' || set_alert_rule.kind)))
          limit 1) end;
      -- Whether those who are named are also told: what only escalates is not told at once, and some want only what is worse.
      if v_problem is null and v_after ->> 'channels' is not null and set_alert_rule.changes ?| '{channels,severity}'
        and not exists (select from ops.notification_endpoints as endpoints
          where endpoints.account_id = set_alert_rule.account_id and v_after -> 'channels' ? endpoints.name
            and ops.is_told(endpoints, 'alert.' || set_alert_rule.kind, (v_after ->> 'severity')::ops.notification_severity))
      then
        v_problem := format('Nobody would be told: of %s each only escalates or wants what is more severe than %s',
          array_to_string(array(select jsonb_array_elements_text(v_after -> 'channels')), ', '), v_after ->> 'severity');
      end if;
    end if;
    if v_problem is not null then
      raise exception '%', v_problem using errcode = 'OC422', hint = 'What each means: docs/alerts.md.';
    end if;
    v_rule := jsonb_populate_record(v_rule, set_alert_rule.changes);
    v_rule.account_id := set_alert_rule.account_id;
    v_rule.changed_at := set_alert_rule.as_of;
    v_rule.changed_by := access.actor();
    delete from ops.alert_rules as existing
    where existing.account_id = set_alert_rule.account_id and existing.kind = set_alert_rule.kind;
    insert into ops.alert_rules values (v_rule.*);
  end if;
  v_after := to_jsonb(v_rule) - array['account_id', 'kind', 'check_name', 'title', 'description', 'changed_at', 'changed_by'];
  if v_after <> v_before then
    perform audit.log(set_alert_rule.account_id, 'alert_rule.changed', 'alert_rule:' || set_alert_rule.kind,
      jsonb_build_object('before', v_before, 'after', v_after), 'done', as_of => set_alert_rule.as_of);
  end if;
  return v_after;
end
$$;
comment on function ops.set_alert_rule is
  'Changes an alert of the account (an object of threshold, for_seconds, clear_threshold, clear_seconds, severity, channels, quiet_start_minute, quiet_end_minute, is_enabled), or takes it back to the default with null; returns it as it is now. Admins only; logged. Errors: OC403, OC404, OC422.';

do $$
declare
  v_table text;
  v_function regprocedure;
begin
  foreach v_table in array array['health_checks', 'health_history', 'health_hours', 'service_intervals', 'health_accounts',
    'arrivals', 'normal_hours', 'alert_rules', 'alert_states']
  loop
    execute format('alter table ops.%I enable row level security', v_table);
    -- 0 is the whole project: whether its cron runs concerns everybody in it, and nobody who is in no account of it.
    execute format($policy$create policy "Members read their accounts' rows" on ops.%I for select to authenticated
      using (account_id = any (array(select access.my_account_ids() union all
        select 0 where exists (select access.my_account_ids()))))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on ops.%I for select to analyst using (true)', v_table);
    execute format('grant select on ops.%I to authenticated, analyst, service_role', v_table);
  end loop;
  alter table ops.job_runs enable row level security;
  grant select on ops.job_runs to service_role;
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'ops'::regnamespace and functions.proname in ('record_checks', 'copy_job_runs',
      'purge_health', 'hour_of_week', 'holidays', 'note_arrivals', 'learn_normal', 'low_of', 'high_of', 'normal_curve',
      'missed_arrivals', 'sample_arrivals', 'ago', 'probe_chatwoot', 'sample_chatwoot', 'outbox_backlog', 'verify_audit',
      'sample_queue', 'sample_database', 'job_seconds', 'sample_project', 'slowest_statement', 'watched_accounts', 'note_gap',
      'check_health', 'rules_of', 'tell_alert', 'stop_escalation', 'log_alert', 'evaluate_alerts', 'end_orphans', 'require_alert', 'acknowledge_alert',
      'snooze_alert', 'set_alert_rule')
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function ops.acknowledge_alert, ops.snooze_alert, ops.set_alert_rule to authenticated, service_role;
