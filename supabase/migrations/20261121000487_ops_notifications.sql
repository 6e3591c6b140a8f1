-- Notifications: what the project tells people outside of it, by webhook. Here is what may be told, to whom it goes and
-- what people do with it; the file after this one sends. Telling is an insert, so that no receiver, however slow or
-- dead, ever holds up whoever has something to tell.
create extension if not exists pgcrypto with schema extensions;

-- An enum, because the order means something.
create type ops.notification_severity as enum ('info', 'warning', 'critical');
comment on type ops.notification_severity is 'How much a notification matters, in rising order: info, warning, critical.';

create table ops.notifications (
  account_id bigint not null,
  notification_id bigint generated always as identity,
  kind text not null,
  severity ops.notification_severity not null,
  title text not null,
  body jsonb not null,
  dedupe_key text not null,
  state text not null default 'open',
  created_at timestamptz not null,
  acknowledged_at timestamptz,
  acknowledged_by text,
  next_escalation_at timestamptz,
  channels text[],
  constraint notifications_pkey primary key (account_id, notification_id),
  constraint notifications_dedupe_key_key unique (account_id, dedupe_key),
  constraint notifications_account_id_positive check (account_id > 0),
  constraint notifications_kind_named check (length(kind) <= 100 and kind ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$'),
  constraint notifications_texts_bounded check (length(title) between 1 and 300
    and length(dedupe_key) between 1 and 200 and length(acknowledged_by) <= 200),
  constraint notifications_body_bounded check (jsonb_typeof(body) = 'object' and octet_length(body::text) <= 8000),
  constraint notifications_state_known check (state in ('open', 'acknowledged')),
  constraint notifications_acknowledged_by_somebody check ((state = 'acknowledged') = (acknowledged_at is not null)
    and (acknowledged_at is null) = (acknowledged_by is null)),
  constraint notifications_escalation_ends check (next_escalation_at is null or state = 'open')
);
comment on table ops.notifications is 'What people are told, once per dedupe key; kept for 90 days.';
comment on column ops.notifications.account_id is 'Chatwoot''s account id.';
comment on column ops.notifications.notification_id is 'Number of the notification.';
comment on column ops.notifications.kind is 'What sort of news, such as sla.breach.';
comment on column ops.notifications.severity is 'info, warning or critical.';
comment on column ops.notifications.title is 'The news in a line.';
comment on column ops.notifications.body is 'The particulars, an object of at most 8,000 bytes; never a secret.';
comment on column ops.notifications.dedupe_key is 'What the news is about: the same key is told once.';
comment on column ops.notifications.state is 'open, or acknowledged by a person.';
comment on column ops.notifications.created_at is 'When it was told (UTC).';
comment on column ops.notifications.acknowledged_at is 'When a person acknowledged it (UTC); null while open.';
comment on column ops.notifications.acknowledged_by is 'Who acknowledged it, as in the decision log; null while open.';
comment on column ops.notifications.next_escalation_at is 'When it is told again unless acknowledged (UTC); null for never.';
comment on column ops.notifications.channels is 'Names of the endpoints that are told, and of those that escalate where one is among them; null for all that want its kind.';
create index notifications_created_at_idx on ops.notifications (created_at);
create index notifications_escalation_idx on ops.notifications (next_escalation_at) where next_escalation_at is not null;

create table ops.notification_endpoints (
  account_id bigint not null,
  endpoint_id bigint generated always as identity,
  name text not null,
  format text not null,
  origin text not null,
  kinds text[],
  minimum_severity ops.notification_severity not null,
  time_zone text not null,
  quiet_start_minute smallint,
  quiet_end_minute smallint,
  critical_at_once boolean not null,
  digest_minutes smallint not null,
  escalate_after_seconds integer,
  escalate_times smallint,
  state text not null default 'active',
  failures integer not null default 0,
  retry_at timestamptz,
  problem text,
  hint text,
  problem_at timestamptz,
  last_success_at timestamptz,
  leased_until timestamptz,
  served_at timestamptz,
  created_at timestamptz not null,
  constraint notification_endpoints_pkey primary key (account_id, endpoint_id),
  constraint notification_endpoints_name_key unique (account_id, name),
  constraint notification_endpoints_account_id_positive check (account_id > 0),
  constraint notification_endpoints_format_known check (format in ('slack', 'standard')),
  constraint notification_endpoints_state_known check (state in ('active', 'paused', 'dead')),
  constraint notification_endpoints_texts_bounded check (length(name) between 1 and 100 and length(origin) <= 300
    and length(time_zone) <= 100 and length(problem) <= 500 and length(hint) <= 500),
  constraint notification_endpoints_kinds_bounded check (cardinality(kinds) between 1 and 50),
  constraint notification_endpoints_quiet_hours_whole check (
    (quiet_start_minute is null) = (quiet_end_minute is null) and quiet_start_minute <> quiet_end_minute
    and quiet_start_minute between 0 and 1439 and quiet_end_minute between 0 and 1439),
  constraint notification_endpoints_digest_bounded check (digest_minutes between 0 and 1440),
  constraint notification_endpoints_escalation_whole check (
    (escalate_after_seconds is null) = (escalate_times is null)
    and escalate_after_seconds between 60 and 86400 and escalate_times between 1 and 10)
);
comment on table ops.notification_endpoints is 'The webhooks that notifications go to. Each URL and signing secret is in Vault.';
comment on column ops.notification_endpoints.account_id is 'Chatwoot''s account id.';
comment on column ops.notification_endpoints.endpoint_id is 'Number of the endpoint.';
comment on column ops.notification_endpoints.name is 'What people call it.';
comment on column ops.notification_endpoints.format is 'slack (text and blocks) or standard (type, timestamp and data, signed).';
comment on column ops.notification_endpoints.origin is 'Scheme and host of its URL; the rest may be a secret and is in Vault.';
comment on column ops.notification_endpoints.kinds is 'Kinds it is told of, such as sla.breach, or sla.* for all that begin so; null for all.';
comment on column ops.notification_endpoints.minimum_severity is 'What matters less is not sent to it.';
comment on column ops.notification_endpoints.time_zone is 'IANA zone of its quiet hours and digests.';
comment on column ops.notification_endpoints.quiet_start_minute is 'Minute of the local day at which it falls quiet; null for never.';
comment on column ops.notification_endpoints.quiet_end_minute is 'Minute of the local day at which it wakes, of the next day where it is the smaller one; null for never quiet.';
comment on column ops.notification_endpoints.critical_at_once is 'Whether critical ones wait neither for the end of quiet hours nor for the digest.';
comment on column ops.notification_endpoints.digest_minutes is 'Minutes for which notifications are collected into one; 0 for none.';
comment on column ops.notification_endpoints.escalate_after_seconds is 'Not null for an escalation endpoint, which is told of critical notifications that nobody acknowledged for so long, and of no others.';
comment on column ops.notification_endpoints.escalate_times is 'How often at most it is told of one notification; null unless it is an escalation endpoint.';
comment on column ops.notification_endpoints.state is 'active; paused by a person; or dead, since it failed for too long.';
comment on column ops.notification_endpoints.failures is 'Failed requests since the last that worked.';
comment on column ops.notification_endpoints.retry_at is 'Not tried again before this instant (UTC); null for at once.';
comment on column ops.notification_endpoints.problem is 'What went wrong last; null when nothing has since the last success. Never a secret.';
comment on column ops.notification_endpoints.hint is 'What to do about the problem.';
comment on column ops.notification_endpoints.problem_at is 'When it went wrong (UTC).';
comment on column ops.notification_endpoints.last_success_at is 'When it last took a notification (UTC); null for never.';
comment on column ops.notification_endpoints.leased_until is 'A request is on its way to it until then at most (UTC); null for none.';
comment on column ops.notification_endpoints.served_at is 'When a request was last sent to it (UTC), so that each has its turn.';
comment on column ops.notification_endpoints.created_at is 'When it was added (UTC).';

create table ops.notification_deliveries (
  account_id bigint not null,
  delivery_id bigint generated always as identity,
  endpoint_id bigint not null,
  notification_id bigint not null,
  round smallint not null default 0,
  is_urgent boolean not null,
  state text not null default 'pending',
  attempts smallint not null default 0,
  next_attempt_at timestamptz not null,
  message_id uuid,
  last_status smallint,
  problem text,
  created_at timestamptz not null,
  settled_at timestamptz,
  constraint notification_deliveries_pkey primary key (account_id, delivery_id),
  constraint notification_deliveries_once_a_round unique (account_id, notification_id, endpoint_id, round),
  constraint notification_deliveries_endpoint_fkey foreign key (account_id, endpoint_id)
    references ops.notification_endpoints (account_id, endpoint_id) on delete cascade,
  -- No foreign key to the notification, which one function writes together with these: the plan of such a check is kept,
  -- and one that was made while the table was small reads all of it for each of ten thousand.
  constraint notification_deliveries_state_known check (state in ('pending', 'sent', 'dead', 'cancelled')),
  constraint notification_deliveries_settled_iff_over check ((state = 'pending') = (settled_at is null)),
  constraint notification_deliveries_attempts_bounded check (attempts between 0 and 12),
  constraint notification_deliveries_round_bounded check (round between 0 and 10),
  constraint notification_deliveries_problem_bounded check (length(problem) <= 500)
);
comment on table ops.notification_deliveries is 'Each notification on its way to each endpoint.';
comment on column ops.notification_deliveries.account_id is 'Chatwoot''s account id.';
comment on column ops.notification_deliveries.delivery_id is 'Number of the delivery.';
comment on column ops.notification_deliveries.endpoint_id is 'The endpoint.';
comment on column ops.notification_deliveries.notification_id is 'The notification.';
comment on column ops.notification_deliveries.round is '0 for the first telling, then the number of the escalation.';
comment on column ops.notification_deliveries.is_urgent is 'Whether it waits neither for the end of quiet hours nor for a digest.';
comment on column ops.notification_deliveries.state is 'pending, sent, dead (given up), or cancelled (acknowledged before it was told again).';
comment on column ops.notification_deliveries.attempts is 'Requests that tried to bring it.';
comment on column ops.notification_deliveries.next_attempt_at is 'Not tried before this instant (UTC).';
comment on column ops.notification_deliveries.message_id is 'The message it travels in, the same on every attempt and for all notifications in one digest; null before the first attempt.';
comment on column ops.notification_deliveries.last_status is 'HTTP status of the last answer; null for none.';
comment on column ops.notification_deliveries.problem is 'What went wrong last; null for nothing. Never a secret.';
comment on column ops.notification_deliveries.created_at is 'When it was put on its way (UTC).';
comment on column ops.notification_deliveries.settled_at is 'When it was sent, given up or cancelled (UTC); null while pending.';
-- Only what is on its way is ever looked for, so the index stays small.
create index notification_deliveries_due_idx
on ops.notification_deliveries (account_id, endpoint_id, next_attempt_at, delivery_id)
where state = 'pending';
create index notification_deliveries_message_idx on ops.notification_deliveries (account_id, endpoint_id, message_id);

do $$
declare
  v_table text;
begin
  foreach v_table in array array['notifications', 'notification_endpoints', 'notification_deliveries'] loop
    execute format('alter table ops.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on ops.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on ops.%I for select to analyst using (true)', v_table);
    execute format('grant select on ops.%I to authenticated, analyst, service_role', v_table);
  end loop;
end
$$;

create function ops.wants_kind(kinds text[], kind text) returns boolean
-- PL/pgSQL, as it is asked for every notification and endpoint: an SQL function would be planned anew each time.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return kinds is null or kind = any (kinds) or exists (
    select from unnest(kinds) as wanted where wanted like '%.*' and starts_with(kind, left(wanted, -1)));
end
$$;
comment on function ops.wants_kind is 'Whether the filter lets the kind through: null for all, else a kind by name, or by its beginning as sla.*.';

create function ops.quiet_until(start_minute integer, end_minute integer, time_zone text, at timestamptz)
returns timestamptz
-- Between two instants, not by what the clock on the wall shows: an hour that comes twice is quiet once or not at all.
language sql stable security invoker set search_path = '' as $$
  select max(ends.at)
  from generate_series(-1, 0) as days (before)
  cross join lateral (select (quiet_until.at at time zone quiet_until.time_zone)::date + days.before as day) as local
  cross join lateral (select (local.day + quiet_until.start_minute * interval '1 minute')
    at time zone quiet_until.time_zone as at) as starts
  cross join lateral (select (local.day + (quiet_until.end_minute
    + case when quiet_until.end_minute < quiet_until.start_minute then 1440 else 0 end) * interval '1 minute')
    at time zone quiet_until.time_zone as at) as ends
  where starts.at <= quiet_until.at and quiet_until.at < ends.at
$$;
comment on function ops.quiet_until is
  'The end of the quiet hours that the instant lies in; null when it lies in none. An end before the start is on the next day.';

create function ops.digest_at(minutes integer, time_zone text, at timestamptz) returns timestamptz
language sql stable security invoker set search_path = '' as $$
  select least(local.midnight + interval '1 day',
    date_bin(digest_at.minutes * interval '1 minute', local.clock, local.midnight) + digest_at.minutes * interval '1 minute')
    at time zone digest_at.time_zone
  from (select shown.clock, date_trunc('day', shown.clock) as midnight
    from (select digest_at.at at time zone digest_at.time_zone as clock) as shown) as local
$$;
comment on function ops.digest_at is 'When the digest goes out that collects what is told now: at full steps of so many minutes, counted from local midnight.';

create function ops.is_told(endpoint ops.notification_endpoints, kind text, severity ops.notification_severity) returns boolean
language plpgsql immutable security invoker set search_path = '' as $$
begin
  return endpoint.escalate_after_seconds is null and endpoint.minimum_severity <= is_told.severity
    and (endpoint.kinds is null or ops.wants_kind(endpoint.kinds, is_told.kind));
end
$$;
comment on function ops.is_told is 'Whether an endpoint is told of news of that kind and severity at once, while it is active.';

create function ops.names_escalation(account_id bigint, kind text, channels text[]) returns boolean
language sql stable security invoker set search_path = '' as $$
  select exists (select from ops.notification_endpoints as endpoints
    where endpoints.account_id = names_escalation.account_id and endpoints.state = 'active'
      and endpoints.escalate_after_seconds is not null and ops.wants_kind(endpoints.kinds, names_escalation.kind)
      and endpoints.name = any (names_escalation.channels))
$$;
comment on function ops.names_escalation is
  'Whether an active endpoint that escalates is among those names. Where none is, the names restrict no escalation: rather somebody is called than nobody.';

create function ops.notify(
  account_id bigint, kind text, dedupe_key text, title text, body jsonb default '{}',
  severity ops.notification_severity default 'warning', as_of timestamptz default now(), channels text[] default null
) returns bigint
-- Whatever is too long is cut and not refused: the one who tells may be in the middle of something more important.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_notification_id bigint;
  v_escalation_at timestamptz;
  v_body jsonb := case when jsonb_typeof(notify.body) = 'object' then notify.body else '{}' end;
  -- When none of those named would be told any more, rather everybody is than nobody. Of what only informs, such as the end
  -- of an alert, those named may wish not to hear, and that makes it no news for everybody else.
  v_channels text[] := case when exists (select from ops.notification_endpoints as endpoints
    where endpoints.account_id = notify.account_id and endpoints.state = 'active' and endpoints.name = any (notify.channels)
      and ops.is_told(endpoints, notify.kind, case when notify.severity = 'info' then 'critical' else notify.severity end))
    then notify.channels end;
begin
  if octet_length(v_body::text) > 8000 then
    v_body := jsonb_build_object('omitted', format('The particulars were too long: %s bytes.', octet_length(v_body::text)));
  end if;
  if notify.severity = 'critical' then
    select min(notify.as_of + make_interval(secs => endpoints.escalate_after_seconds)) into v_escalation_at
    from ops.notification_endpoints as endpoints
    where endpoints.account_id = notify.account_id and endpoints.state = 'active'
      and endpoints.escalate_after_seconds is not null
      and (endpoints.kinds is null or ops.wants_kind(endpoints.kinds, notify.kind))
      and (v_channels is null or endpoints.name = any (v_channels)
        or not ops.names_escalation(notify.account_id, notify.kind, v_channels));
  end if;
  insert into ops.notifications (account_id, kind, severity, title, body, dedupe_key, created_at, next_escalation_at,
    channels)
  values (notify.account_id, notify.kind, notify.severity,
    coalesce(nullif(left(trim(regexp_replace(notify.title, '[\s[:cntrl:]]+', ' ', 'g')), 300), ''), notify.kind), v_body,
    case when length(notify.dedupe_key) <= 200 then notify.dedupe_key
      else left(notify.dedupe_key, 136) || encode(sha256(convert_to(notify.dedupe_key, 'UTF8')), 'hex') end,
    notify.as_of, v_escalation_at, v_channels)
  on conflict on constraint notifications_dedupe_key_key do nothing
  returning notification_id into v_notification_id;
  if v_notification_id is null then
    return null;
  end if;
  insert into ops.notification_deliveries (account_id, endpoint_id, notification_id, is_urgent, next_attempt_at, created_at)
  select endpoints.account_id, endpoints.endpoint_id, v_notification_id,
    endpoints.critical_at_once and notify.severity = 'critical',
    case when endpoints.digest_minutes = 0 or (endpoints.critical_at_once and notify.severity = 'critical') then notify.as_of
      else ops.digest_at(endpoints.digest_minutes, endpoints.time_zone, notify.as_of) end,
    notify.as_of
  from ops.notification_endpoints as endpoints
  where endpoints.account_id = notify.account_id and endpoints.state = 'active'
    and ops.is_told(endpoints, notify.kind, notify.severity)
    and (v_channels is null or endpoints.name = any (v_channels));
  return v_notification_id;
end
$$;
comment on function ops.notify is
  'Tells the account''s endpoints something, once per dedupe key; sends nothing itself. channels: names of the endpoints that are told, null for all that want the kind; also all where none of those named would be. Returns the notification''s number, or null when the key was told before. Takes part in the caller''s transaction.';

-- What people do. Definer, since nobody but these functions and the sending writes here.

create function ops.endpoint_origin(account_id bigint, url text) returns text
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_problem text;
begin
  begin
    -- A query belongs to many webhook URLs and to no base URL; the rules for hosts are the same.
    perform sync.check_base_url(regexp_replace(endpoint_origin.url, '\?.*$', ''),
      sync.allows_private_hosts(endpoint_origin.account_id));
  exception when sqlstate 'OC422' then
    get stacked diagnostics v_problem = message_text;
  end;
  v_problem := case
    when v_problem is not null then replace(v_problem, 'The base URL', 'The URL of the endpoint')
    when length(endpoint_origin.url) > 2000 then 'The URL of the endpoint may have 2000 characters at most'
    when endpoint_origin.url !~ '^[\x21-\x7e]*$' or strpos(endpoint_origin.url, '#') > 0
      then 'The URL of the endpoint may hold no spaces, no # and no letters beyond ASCII'
  end;
  if v_problem is not null then
    -- The URL itself is a secret, so it is not repeated.
    raise exception '%', v_problem using errcode = 'OC422',
      hint = 'Copy the whole address from where the webhook was made. For a receiver in your own network, the project''s backend sets sync_private_hosts.';
  end if;
  return lower(substring(endpoint_origin.url from '^(https?://[^/?]+)'));
end
$$;
comment on function ops.endpoint_origin is
  'Scheme and host of a webhook''s URL. Raises OC422 for what could lead into a private network, by the rules of the sync, and for credentials.';

create function ops.endpoint_secret(account_id bigint, endpoint_id bigint, part text) returns text
-- Definer, and granted to nobody: only the sending reads it, inside the call that uses it.
language sql stable security definer set search_path = '' as $$
  select secrets.decrypted_secret from vault.decrypted_secrets as secrets
  where secrets.name = format('notification_%s_%s_%s', endpoint_secret.part, endpoint_secret.account_id,
    endpoint_secret.endpoint_id)
$$;
comment on function ops.endpoint_secret is 'The url or the signing secret (part url or secret) of an endpoint, from Vault; null when there is none.';

create function ops.require_endpoint(account_id bigint, endpoint_id bigint) returns ops.notification_endpoints
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_endpoint ops.notification_endpoints;
begin
  perform sync.require_account(require_endpoint.account_id);
  select * into v_endpoint from ops.notification_endpoints as endpoints
  where endpoints.account_id = require_endpoint.account_id and endpoints.endpoint_id = require_endpoint.endpoint_id
  -- Whoever puts a notification on its way to it meanwhile is not held up.
  for no key update;
  if not found then
    raise exception 'Account % has no notification endpoint %', require_endpoint.account_id,
      coalesce(require_endpoint.endpoint_id::text, 'null') using errcode = 'OC404',
      hint = 'The endpoints there are: select endpoint_id, name from api.notification_endpoints.';
  end if;
  return v_endpoint;
end
$$;
comment on function ops.require_endpoint is 'The endpoint, locked, when the caller is an admin of the account (OC403) and there is one (OC404).';

create function ops.add_notification_endpoint(
  account_id bigint, name text, url text, format text, kinds text[] default null,
  minimum_severity ops.notification_severity default 'info', quiet_start_minute integer default null,
  quiet_end_minute integer default null, time_zone text default null, critical_at_once boolean default true,
  digest_minutes integer default 0, escalate_after_seconds integer default null, escalate_times integer default null,
  as_of timestamptz default now(), out endpoint_id bigint, out signing_secret text
)
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_origin text;
  v_problem text;
begin
  perform sync.require_account(add_notification_endpoint.account_id);
  time_zone := coalesce(add_notification_endpoint.time_zone,
    ops.setting(add_notification_endpoint.account_id, 'reporting_time_zone') #>> '{}');
  if escalate_after_seconds is not null then
    escalate_times := coalesce(escalate_times, 3);
  end if;
  v_problem := case
    when trim(coalesce(name, '')) = '' or length(name) > 100 or name ~ '[[:cntrl:]]|://'
      then 'name must be given, with 100 characters at most, and is no URL'
    when format is null or format not in ('slack', 'standard') then 'format must be slack or standard'
    when cardinality(kinds) not between 1 and 50 or exists (
      select from unnest(kinds) as wanted
      where wanted is null or length(wanted) > 100 or wanted !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?$')
      then 'kinds must be null for all, or 1 to 50 of them such as sla.breach or sla.*'
    when minimum_severity is null then 'minimum_severity must be info, warning or critical'
    when critical_at_once is null then 'critical_at_once must be true or false'
    when (quiet_start_minute is null) <> (quiet_end_minute is null) or quiet_start_minute = quiet_end_minute
      or quiet_start_minute not between 0 and 1439 or quiet_end_minute not between 0 and 1439
      then 'quiet_start_minute and quiet_end_minute must be two different minutes of the day, 0 to 1439, or both null'
    when not exists (select from pg_timezone_names as zones where zones.name = add_notification_endpoint.time_zone
      and (zones.name = 'UTC' or zones.name ~ '^(?!posix/)[A-Z][A-Za-z_]+/'))
      then 'time_zone must be the IANA name of a time zone, such as Europe/Berlin'
    when coalesce(digest_minutes, -1) not between 0 and 1440 then 'digest_minutes must be from 0 (none) to 1440'
    when escalate_after_seconds not between 60 and 86400 then 'escalate_after_seconds must be from 60 to 86400, or null'
    when escalate_after_seconds is null and escalate_times is not null
      then 'escalate_times is for endpoints with escalate_after_seconds'
    when escalate_times not between 1 and 10 then 'escalate_times must be from 1 to 10'
  end;
  if v_problem is not null then
    raise exception '%', v_problem using errcode = 'OC422', hint = 'What each means: docs/notifications.md.';
  end if;
  v_origin := ops.endpoint_origin(add_notification_endpoint.account_id, url);
  -- One at a time, so that the count holds.
  perform pg_advisory_xact_lock(hashtextextended('ops.notification_endpoints', add_notification_endpoint.account_id));
  if (select count(*) from ops.notification_endpoints as endpoints
    where endpoints.account_id = add_notification_endpoint.account_id) >= 50
  then
    raise exception 'Account % has 50 notification endpoints already', add_notification_endpoint.account_id
      using errcode = 'OC409', hint = 'Remove one first: select api.remove_notification_endpoint(…).';
  end if;
  insert into ops.notification_endpoints (account_id, name, format, origin, kinds, minimum_severity, time_zone,
    quiet_start_minute, quiet_end_minute, critical_at_once, digest_minutes, escalate_after_seconds, escalate_times,
    created_at)
  values (add_notification_endpoint.account_id, trim(add_notification_endpoint.name), add_notification_endpoint.format,
    v_origin, add_notification_endpoint.kinds, add_notification_endpoint.minimum_severity,
    add_notification_endpoint.time_zone, add_notification_endpoint.quiet_start_minute,
    add_notification_endpoint.quiet_end_minute, add_notification_endpoint.critical_at_once,
    add_notification_endpoint.digest_minutes, add_notification_endpoint.escalate_after_seconds,
    add_notification_endpoint.escalate_times, add_notification_endpoint.as_of)
  on conflict on constraint notification_endpoints_name_key do nothing
  returning notification_endpoints.endpoint_id into endpoint_id;
  if endpoint_id is null then
    raise exception 'Account % has a notification endpoint of that name already', add_notification_endpoint.account_id
      using errcode = 'OC409', hint = 'Choose another name, or remove the other one: select api.remove_notification_endpoint(…).';
  end if;
  perform vault.create_secret(url, pg_catalog.format('notification_url_%s_%s', account_id, endpoint_id),
    'URL of a notification endpoint');
  if format = 'standard' then
    signing_secret := 'whsec_' || encode(extensions.gen_random_bytes(32), 'base64');
    perform vault.create_secret(signing_secret, pg_catalog.format('notification_secret_%s_%s', account_id, endpoint_id),
      'Signing secret of a notification endpoint');
  end if;
  perform audit.log(add_notification_endpoint.account_id, 'notification_endpoint.added',
    'notification_endpoint:' || endpoint_id, jsonb_build_object('name', trim(name), 'origin', v_origin, 'format', format,
      'kinds', kinds, 'minimum_severity', minimum_severity, 'quiet_start_minute', quiet_start_minute,
      'quiet_end_minute', quiet_end_minute, 'time_zone', time_zone, 'critical_at_once', critical_at_once,
      'digest_minutes', digest_minutes, 'escalate_after_seconds', escalate_after_seconds,
      'escalate_times', escalate_times), 'done', as_of => add_notification_endpoint.as_of);
end
$$;
comment on function ops.add_notification_endpoint is
  'Adds a webhook that notifications go to; its URL goes to Vault. Returns its number and, for the format standard and this once, the signing secret. Admins only; logged without either. Errors: OC403, OC409, OC422.';

create function ops.set_notification_endpoint_state(
  account_id bigint, endpoint_id bigint, state text, as_of timestamptz default now()
) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_before ops.notification_endpoints := ops.require_endpoint(set_notification_endpoint_state.account_id,
    set_notification_endpoint_state.endpoint_id);
begin
  if set_notification_endpoint_state.state is null or set_notification_endpoint_state.state not in ('active', 'paused') then
    raise exception 'state must be active or paused' using errcode = 'OC422',
      hint = 'dead is what the sending itself calls an endpoint that failed for too long.';
  end if;
  if v_before.state = 'dead' and set_notification_endpoint_state.state = 'paused' then
    raise exception 'Endpoint % is dead, nothing is sent to it anyway', v_before.endpoint_id using errcode = 'OC409',
      hint = 'Make it active once it is mended, or remove it: select api.remove_notification_endpoint(…).';
  end if;
  -- Activating also ends a wait: whoever asks wants it tried now.
  update ops.notification_endpoints as existing set state = set_notification_endpoint_state.state,
    failures = case when set_notification_endpoint_state.state = 'active' then 0 else existing.failures end,
    retry_at = case when set_notification_endpoint_state.state = 'active' then null else existing.retry_at end
  where existing.account_id = v_before.account_id and existing.endpoint_id = v_before.endpoint_id;
  if set_notification_endpoint_state.state = 'active' and v_before.state = 'dead' then
    update ops.notification_deliveries as existing set state = 'pending', settled_at = null, attempts = 0,
      next_attempt_at = set_notification_endpoint_state.as_of
    where existing.account_id = v_before.account_id and existing.endpoint_id = v_before.endpoint_id
      and existing.state = 'dead' and existing.created_at > set_notification_endpoint_state.as_of - interval '1 day';
    perform ops.resolve_alert(v_before.account_id, 'notifications.endpoint_dead', 'endpoint:' || v_before.endpoint_id,
      set_notification_endpoint_state.as_of);
  end if;
  if v_before.state <> set_notification_endpoint_state.state then
    perform audit.log(v_before.account_id, 'notification_endpoint.state_set',
      'notification_endpoint:' || v_before.endpoint_id,
      jsonb_build_object('before', v_before.state, 'after', set_notification_endpoint_state.state), 'done',
      as_of => set_notification_endpoint_state.as_of);
  end if;
end
$$;
comment on function ops.set_notification_endpoint_state is
  'Pauses an endpoint or makes it active again; one that was dead is then told what it missed in the last day. Admins only; logged. Errors: OC403, OC404, OC409, OC422.';

create function ops.remove_notification_endpoint(account_id bigint, endpoint_id bigint, as_of timestamptz default now())
returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_before ops.notification_endpoints := ops.require_endpoint(remove_notification_endpoint.account_id,
    remove_notification_endpoint.endpoint_id);
begin
  delete from ops.notification_endpoints as existing
  where existing.account_id = v_before.account_id and existing.endpoint_id = v_before.endpoint_id;
  delete from vault.secrets where secrets.name in (
    format('notification_url_%s_%s', v_before.account_id, v_before.endpoint_id),
    format('notification_secret_%s_%s', v_before.account_id, v_before.endpoint_id));
  perform ops.resolve_alert(v_before.account_id, 'notifications.endpoint_dead', 'endpoint:' || v_before.endpoint_id,
    remove_notification_endpoint.as_of);
  perform audit.log(v_before.account_id, 'notification_endpoint.removed', 'notification_endpoint:' || v_before.endpoint_id,
    jsonb_build_object('name', v_before.name, 'origin', v_before.origin), 'done',
    as_of => remove_notification_endpoint.as_of);
end
$$;
comment on function ops.remove_notification_endpoint is
  'Removes an endpoint with its deliveries, URL and secret. Admins only; logged. Errors: OC403, OC404.';

create function ops.test_notification(account_id bigint, endpoint_id bigint, as_of timestamptz default now())
returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_endpoint ops.notification_endpoints := ops.require_endpoint(test_notification.account_id, test_notification.endpoint_id);
  v_notification_id bigint;
begin
  if v_endpoint.state <> 'active' then
    raise exception 'Endpoint % is %, nothing is sent to it', v_endpoint.endpoint_id, v_endpoint.state
      using errcode = 'OC409', hint = 'Make it active first: select api.set_notification_endpoint_state(…).';
  end if;
  insert into ops.notifications (account_id, kind, severity, title, body, dedupe_key, created_at)
  values (v_endpoint.account_id, 'test', 'info', 'A test: notifications reach this place.',
    jsonb_build_object('endpoint', v_endpoint.name, 'asked_by', access.actor()), 'test:' || gen_random_uuid(),
    test_notification.as_of)
  returning notification_id into v_notification_id;
  -- Whatever the endpoint filters or waits for: whoever tests wants to see it now.
  insert into ops.notification_deliveries (account_id, endpoint_id, notification_id, is_urgent, next_attempt_at, created_at)
  values (v_endpoint.account_id, v_endpoint.endpoint_id, v_notification_id, true, test_notification.as_of,
    test_notification.as_of);
  perform audit.log(v_endpoint.account_id, 'notification_endpoint.tested', 'notification_endpoint:' || v_endpoint.endpoint_id,
    jsonb_build_object('notification_id', v_notification_id), 'done', as_of => test_notification.as_of);
  return v_notification_id;
end
$$;
comment on function ops.test_notification is
  'Puts a notification of kind test on its way to one endpoint, past its filters, quiet hours and digest; returns its number. Admins only; logged. Errors: OC403, OC404, OC409.';

create function ops.acknowledge_notification(account_id bigint, notification_id bigint, as_of timestamptz default now())
returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_is_open boolean;
begin
  perform access.require_role(acknowledge_notification.account_id, 'operator');
  select existing.state = 'open' into v_is_open from ops.notifications as existing
  where existing.account_id = acknowledge_notification.account_id
    and existing.notification_id = acknowledge_notification.notification_id for no key update;
  if not found then
    raise exception 'Account % has no notification %', coalesce(acknowledge_notification.account_id::text, 'null'),
      coalesce(acknowledge_notification.notification_id::text, 'null') using errcode = 'OC404',
      hint = 'Those that are open: select notification_id, title from api.notifications where state = ''open''.';
  end if;
  if not v_is_open then
    return false;
  end if;
  update ops.notifications as existing set state = 'acknowledged', acknowledged_at = acknowledge_notification.as_of,
    acknowledged_by = access.actor(), next_escalation_at = null
  where existing.account_id = acknowledge_notification.account_id
    and existing.notification_id = acknowledge_notification.notification_id;
  update ops.notification_deliveries as existing set state = 'cancelled', settled_at = acknowledge_notification.as_of,
    problem = 'Acknowledged before it was told again.'
  where existing.account_id = acknowledge_notification.account_id
    and existing.notification_id = acknowledge_notification.notification_id
    and existing.round > 0 and existing.state = 'pending';
  perform audit.log(acknowledge_notification.account_id, 'notification.acknowledged',
    'notification:' || acknowledge_notification.notification_id, '{}', 'done', as_of => acknowledge_notification.as_of);
  return true;
end
$$;
comment on function ops.acknowledge_notification is
  'Acknowledges a notification, which ends its escalation; false when it was acknowledged before. Operators and above; logged. Errors: OC403, OC404.';

create function ops.purge_notifications(as_of timestamptz default now(), batch_size integer default 5000) returns bigint
language sql volatile security invoker set search_path = '' as $$
  with old as materialized (
    select notifications.account_id, notifications.notification_id from ops.notifications
    where notifications.created_at < purge_notifications.as_of - interval '90 days'
    order by notifications.created_at limit purge_notifications.batch_size
  ), gone_deliveries as (
    delete from ops.notification_deliveries as existing using old
    where existing.account_id = old.account_id and existing.notification_id = old.notification_id
  ), gone as (
    delete from ops.notifications as existing using old
    where existing.account_id = old.account_id and existing.notification_id = old.notification_id
    returning existing.notification_id
  )
  select count(*) from gone
$$;
comment on function ops.purge_notifications is
  'Deletes notifications over 90 days old with their deliveries, one batch; returns how many.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'ops'::regnamespace and functions.proname in ('wants_kind', 'is_told', 'names_escalation', 'quiet_until', 'digest_at',
      'notify', 'endpoint_origin', 'endpoint_secret', 'require_endpoint', 'add_notification_endpoint',
      'set_notification_endpoint_state', 'remove_notification_endpoint', 'test_notification', 'acknowledge_notification',
      'purge_notifications')
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function ops.add_notification_endpoint, ops.set_notification_endpoint_state,
  ops.remove_notification_endpoint, ops.test_notification, ops.acknowledge_notification to authenticated, service_role;
