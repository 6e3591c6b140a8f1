-- Settings: what an account may choose, with the limits of each choice. A value outside its limits never gets in, and
-- every change is in the decision log. And alerts: what somebody has to see, once while it lasts.
create schema ops;
comment on schema ops is 'Settings, alerts, the tidying of job runs; health checks belong here too.';
revoke all on schema ops from public;
grant usage on schema ops to authenticated, service_role;

create extension if not exists pg_cron;

create table ops.setting_definitions (
  name text not null,
  kind text not null,
  minimum numeric,
  maximum numeric,
  choices text[],
  default_value jsonb not null,
  is_for_project boolean not null default false,
  description text not null,
  constraint setting_definitions_pkey primary key (name),
  constraint setting_definitions_kind_known check (kind in ('integer', 'boolean', 'time_zone', 'choice')),
  constraint setting_definitions_integer_bounded check ((kind = 'integer') = (minimum is not null and maximum is not null)),
  constraint setting_definitions_choice_listed check ((kind = 'choice') = (choices is not null))
);
comment on table ops.setting_definitions is 'The settings there are: reference data, the same for every account.';
comment on column ops.setting_definitions.name is 'Name of the setting.';
comment on column ops.setting_definitions.kind is 'What a value must be: integer, boolean, time_zone (an IANA name), or choice (one of choices).';
comment on column ops.setting_definitions.minimum is 'Smallest integer allowed; null for other kinds.';
comment on column ops.setting_definitions.maximum is 'Largest integer allowed; null for other kinds.';
comment on column ops.setting_definitions.choices is 'The words to choose from; null for other kinds.';
comment on column ops.setting_definitions.default_value is 'The value where an account has chosen none.';
comment on column ops.setting_definitions.is_for_project is 'True where a choice reaches beyond the account, so that only the project''s backend may make it and no member.';
comment on column ops.setting_definitions.description is 'What the setting does, with its unit.';
alter table ops.setting_definitions enable row level security;

insert into ops.setting_definitions (name, kind, minimum, maximum, choices, default_value, is_for_project, description) values
  ('raw_retention_days', 'integer', 1, 3650, null, '35', false,
    'Days that the raw bytes and headers of a webhook delivery are kept; then only its outcome remains.'),
  ('reporting_time_zone', 'time_zone', null, null, null, '"UTC"', false,
    'The zone whose midnight parts one day from the next in the views of analytics.'),
  ('sync_requests_per_minute', 'integer', 10, 2000, null, '120', false,
    'Requests a minute that the sync may send to Chatwoot. Chatwoot itself refuses from 3000, in its sample configuration from 300.'),
  -- The database would fetch whatever stands in its own network for a member who names it.
  ('sync_private_hosts', 'boolean', null, null, null, 'false', true,
    'Whether the Chatwoot of this account may be at a private or loopback address, and reached without TLS.'),
  ('sending', 'choice', null, null, '{on,dry_run,off}', '"on"', false,
    'Whether what is approved is sent to Chatwoot: on; dry_run, which only notes what would be sent; or off, which holds everything back until it is turned on again.'),
  ('actions_requests_per_minute', 'integer', 1, 600, null, '60', false,
    'Requests a minute with which approved actions may be carried out in Chatwoot.'),
  ('draft_replies', 'boolean', null, null, null, 'true', false,
    'Whether a reply is drafted when a customer waits and the library has an answer.'),
  ('draft_notes', 'boolean', null, null, null, 'false', false,
    'Whether a draft is also posted into its conversation in Chatwoot, as a private note.'),
  ('draft_confidence_floor', 'integer', 0, 100, null, '40', false,
    'Percent of confidence below which no draft is shown.'),
  ('draft_hold_out_percent', 'integer', 0, 90, null, '0', false,
    'Percent of episodes, drawn by chance, in which no draft is shown: the control by which time saved is measured.'),
  ('draft_light_percent', 'integer', 1, 75, null, '40', false,
    'Percent of its characters from which on an edited draft counts as edited heavily, and no more as accepted.'),
  ('draft_claim_minutes', 'integer', 1, 120, null, '10', false,
    'Minutes for which a draft that a person has claimed is theirs.'),
  ('draft_expiry_hours', 'integer', 1, 720, null, '72', false,
    'Hours after which a draft that nobody decided on is withdrawn.');

create table ops.settings (
  account_id bigint not null,
  name text not null,
  value jsonb not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint settings_pkey primary key (account_id, name),
  constraint settings_name_fkey foreign key (name) references ops.setting_definitions (name),
  constraint settings_account_id_positive check (account_id > 0)
);
comment on table ops.settings is 'What accounts have chosen, where it is not the default.';
comment on column ops.settings.account_id is 'The Chatwoot account that chose.';
comment on column ops.settings.name is 'Name of the setting.';
comment on column ops.settings.value is 'The value chosen, valid for the setting''s kind and limits.';
comment on column ops.settings.changed_at is 'When it was last changed (UTC).';
comment on column ops.settings.changed_by is 'Who changed it last, as in the decision log.';
create index settings_name_idx on ops.settings (name);
alter table ops.settings enable row level security;

create function ops.setting(account_id bigint, name text) returns jsonb
language sql stable security invoker set search_path = '' as $$
  select coalesce(settings.value, definitions.default_value)
  from ops.setting_definitions as definitions
  left join ops.settings on settings.name = definitions.name and settings.account_id = setting.account_id
  where definitions.name = setting.name
$$;
comment on function ops.setting is 'The account''s value of the setting, or its default; null for a name that does not exist.';
revoke all on function ops.setting from public, anon, authenticated, service_role;
grant execute on function ops.setting to authenticated, service_role;

create function ops.set_setting(account_id bigint, name text, value jsonb, as_of timestamptz default now())
returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_definition ops.setting_definitions;
  v_before jsonb;
begin
  perform access.require_role(set_setting.account_id, 'admin');
  if set_setting.account_id is null or set_setting.account_id < 1 then
    raise exception 'account_id % is no Chatwoot account', coalesce(set_setting.account_id::text, 'null')
      using errcode = 'OC422', hint = 'Give the number that stands in the address of your Chatwoot dashboard.';
  end if;
  select * into v_definition from ops.setting_definitions as definitions where definitions.name = set_setting.name;
  if not found then
    raise exception 'There is no setting %', coalesce(set_setting.name, 'null') using errcode = 'OC404',
      hint = 'The settings there are: select name, description from api.settings.';
  end if;
  if v_definition.is_for_project and access.actor() like 'user:%' then
    raise exception '% is chosen for the whole project, not by an account', v_definition.name
      using errcode = 'OC403', hint = 'Ask whoever runs the project: it takes the secret key or a database login.';
  end if;
  if v_definition.kind = 'boolean' and coalesce(jsonb_typeof(set_setting.value), '') <> 'boolean' then
    raise exception '% must be true or false', v_definition.name
      using errcode = 'OC422', hint = v_definition.description;
  end if;
  if v_definition.kind = 'choice'
    and not coalesce(jsonb_typeof(set_setting.value) = 'string' and set_setting.value #>> '{}' = any (v_definition.choices), false)
  then
    raise exception '% must be one of: %', v_definition.name, array_to_string(v_definition.choices, ', ')
      using errcode = 'OC422', hint = v_definition.description;
  end if;
  if v_definition.kind = 'integer' and not coalesce(
    jsonb_typeof(set_setting.value) = 'number' and set_setting.value::numeric = trunc(set_setting.value::numeric)
    and set_setting.value::numeric between v_definition.minimum and v_definition.maximum, false)
  then
    raise exception '% must be a whole number from % to %', v_definition.name, v_definition.minimum, v_definition.maximum
      using errcode = 'OC422', hint = v_definition.description;
  end if;
  if v_definition.kind = 'time_zone' and not exists (
    select from pg_timezone_names as zones where zones.name = set_setting.value #>> '{}'
      and (zones.name = 'UTC' or zones.name ~ '^(?!posix/)[A-Z][A-Za-z_]+/'))
  then
    raise exception '% must be the IANA name of a time zone', v_definition.name
      using errcode = 'OC422', hint = 'Such as "Europe/Berlin"; all of them: select name from pg_timezone_names.';
  end if;
  -- 37.0 is a whole number too, and is kept as one.
  if v_definition.kind = 'integer' then
    set_setting.value := to_jsonb(set_setting.value::numeric::bigint);
  end if;
  v_before := ops.setting(set_setting.account_id, set_setting.name);
  insert into ops.settings as existing (account_id, name, value, changed_at, changed_by)
  values (set_setting.account_id, set_setting.name, set_setting.value, set_setting.as_of, access.actor())
  on conflict on constraint settings_pkey do update
  set value = excluded.value, changed_at = excluded.changed_at, changed_by = excluded.changed_by
  where existing.value <> excluded.value;
  if v_before <> set_setting.value then
    perform audit.log(set_setting.account_id, 'setting.changed', 'setting:' || set_setting.name,
      jsonb_build_object('before', v_before, 'after', set_setting.value), 'done', as_of => set_setting.as_of);
  end if;
  return set_setting.value;
end
$$;
comment on function ops.set_setting is
  'Changes a setting of an account (admins only) and logs it; returns the value. Errors: OC403, OC404, OC422.';
revoke all on function ops.set_setting from public, anon, authenticated, service_role;
grant execute on function ops.set_setting to authenticated, service_role;

create policy "Everyone signed in reads what settings there are" on ops.setting_definitions
for select to authenticated, analyst using (true);
create policy "Members read their accounts' settings" on ops.settings
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all settings" on ops.settings for select to analyst using (true);
grant select on ops.setting_definitions, ops.settings to authenticated, analyst, service_role;

create function ops.set_member(account_id bigint, user_id uuid, role access.member_role)
returns void
-- Here and not in access, because it logs, and the log itself stands on access.
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_before access.member_role;
begin
  -- One change of an account's members at a time: two admins could otherwise remove each other.
  perform pg_advisory_xact_lock(hashtextextended('access.members', set_member.account_id));
  perform access.require_role(set_member.account_id, 'admin');
  if not exists (select from auth.users where users.id = set_member.user_id) then
    raise exception 'There is no user %', coalesce(set_member.user_id::text, 'null')
      using errcode = 'OC404', hint = 'People sign up first; their id stands in auth.users.';
  end if;
  select members.role into v_before from access.members
  where members.account_id = set_member.account_id and members.user_id = set_member.user_id;
  if v_before is not distinct from set_member.role then
    return;
  end if;
  if set_member.role is null then
    delete from access.members
    where members.account_id = set_member.account_id and members.user_id = set_member.user_id;
  else
    insert into access.members (account_id, user_id, role)
    values (set_member.account_id, set_member.user_id, set_member.role)
    on conflict on constraint members_pkey do update set role = excluded.role;
  end if;
  if v_before = 'admin' and not exists (
    select from access.members where members.account_id = set_member.account_id and members.role = 'admin')
  then
    raise exception 'Account % would be left without an admin', set_member.account_id
      using errcode = 'OC409', hint = 'Make another member admin first.';
  end if;
  perform audit.log(set_member.account_id, 'member.changed', 'user:' || set_member.user_id,
    jsonb_build_object('before', v_before, 'after', set_member.role), 'done');
end
$$;
comment on function ops.set_member is
  'Gives a user a role in an account, or takes it away with null (admins only); logged. Errors: OC403, OC404, OC409.';
revoke all on function ops.set_member from public, anon, authenticated, service_role;
grant execute on function ops.set_member to authenticated, service_role;

create function ops.purge_job_runs(as_of timestamptz default now(), batch_size integer default 5000) returns bigint
-- pg_cron never cleans up after itself.
language sql volatile security invoker set search_path = '' as $$
  with old as materialized (
    select runid from cron.job_run_details as runs
    where runs.end_time < purge_job_runs.as_of - interval '7 days'
    limit purge_job_runs.batch_size
  ), gone as (
    delete from cron.job_run_details as runs using old where runs.runid = old.runid returning runs.runid
  )
  select count(*) from gone
$$;
comment on function ops.purge_job_runs is 'Deletes records of cron runs that ended over 7 days ago, one batch; returns how many.';
revoke all on function ops.purge_job_runs from public, anon, authenticated, service_role;

create table ops.alerts (
  account_id bigint not null,
  alert_id bigint generated always as identity,
  kind text not null,
  subject text not null,
  message text not null,
  hint text,
  raised_at timestamptz not null,
  last_raised_at timestamptz not null,
  times integer not null default 1,
  resolved_at timestamptz,
  constraint alerts_pkey primary key (account_id, alert_id),
  constraint alerts_texts_bounded check (length(kind) between 1 and 100 and length(subject) between 1 and 200
    and length(message) between 1 and 1000 and length(hint) <= 1000)
);
comment on table ops.alerts is 'What somebody has to see. One row while it lasts, however often it is found again.';
comment on column ops.alerts.account_id is 'Chatwoot''s account id.';
comment on column ops.alerts.alert_id is 'Number of the alert.';
comment on column ops.alerts.kind is 'What sort of trouble, such as sync.stopped.';
comment on column ops.alerts.subject is 'What is in trouble, such as rest.';
comment on column ops.alerts.message is 'What happened and why.';
comment on column ops.alerts.hint is 'What to do about it; null for nothing known.';
comment on column ops.alerts.raised_at is 'When it was first found (UTC).';
comment on column ops.alerts.last_raised_at is 'When it was last found (UTC).';
comment on column ops.alerts.times is 'How often it was found.';
comment on column ops.alerts.resolved_at is 'When it was over (UTC); null while it lasts.';
create unique index alerts_open_key on ops.alerts (account_id, kind, subject) where resolved_at is null;
alter table ops.alerts enable row level security;
create policy "Members read their accounts' alerts" on ops.alerts
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all alerts" on ops.alerts for select to analyst using (true);
grant select on ops.alerts to authenticated, analyst, service_role;

create function ops.raise_alert(
  account_id bigint, kind text, subject text, message text, hint text default null, as_of timestamptz default now()
) returns void
language sql volatile security invoker set search_path = '' as $$
  insert into ops.alerts as existing (account_id, kind, subject, message, hint, raised_at, last_raised_at)
  values (raise_alert.account_id, raise_alert.kind, raise_alert.subject, left(raise_alert.message, 1000),
    left(raise_alert.hint, 1000), raise_alert.as_of, raise_alert.as_of)
  on conflict (account_id, kind, subject) where resolved_at is null
  do update set message = excluded.message, hint = excluded.hint, times = existing.times + 1,
    last_raised_at = greatest(existing.last_raised_at, excluded.last_raised_at)
$$;
comment on function ops.raise_alert is 'Raises an alert, or counts it up while it is open.';
revoke all on function ops.raise_alert from public, anon, authenticated, service_role;

create function ops.resolve_alert(account_id bigint, kind text, subject text, as_of timestamptz default now())
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
begin
  update ops.alerts as existing set resolved_at = resolve_alert.as_of
  where existing.account_id = resolve_alert.account_id and existing.kind = resolve_alert.kind
    and existing.subject = resolve_alert.subject and existing.resolved_at is null;
  return found;
end
$$;
comment on function ops.resolve_alert is 'Closes the open alert of that kind and subject; true when there was one.';
revoke all on function ops.resolve_alert from public, anon, authenticated, service_role;
