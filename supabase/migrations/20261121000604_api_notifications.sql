-- Notifications, for people: where they go to, what was told, what became of it, and the acknowledging.
create function api.add_notification_endpoint(
  account_id bigint, name text, url text, format text, kinds text[] default null,
  minimum_severity ops.notification_severity default 'info', quiet_start_minute integer default null,
  quiet_end_minute integer default null, time_zone text default null, critical_at_once boolean default true,
  digest_minutes integer default 0, escalate_after_seconds integer default null, escalate_times integer default null
) returns table (endpoint_id bigint, signing_secret text)
language sql volatile security invoker set search_path = '' as $$
  select added.endpoint_id, added.signing_secret
  from ops.add_notification_endpoint(add_notification_endpoint.account_id, add_notification_endpoint.name,
    add_notification_endpoint.url, add_notification_endpoint.format, add_notification_endpoint.kinds,
    add_notification_endpoint.minimum_severity, add_notification_endpoint.quiet_start_minute,
    add_notification_endpoint.quiet_end_minute, add_notification_endpoint.time_zone,
    add_notification_endpoint.critical_at_once, add_notification_endpoint.digest_minutes,
    add_notification_endpoint.escalate_after_seconds, add_notification_endpoint.escalate_times) as added
$$;
comment on function api.add_notification_endpoint is
  'Adds a webhook that notifications go to and returns its number and, for the format standard, the signing secret, which is never shown again; logged. format: slack (text and blocks) or standard (Standard Webhooks, signed). kinds: null for all, or such as {sla.breach, sla.*}. Quiet hours are minutes of the local day in time_zone (the account''s reporting zone by default). escalate_after_seconds makes it an escalation endpoint, told up to escalate_times (3) of critical notifications that nobody acknowledged. Admins only. Errors: OC403, OC409, OC422.';

create function api.set_notification_endpoint_state(account_id bigint, endpoint_id bigint, state text) returns void
language sql volatile security invoker set search_path = '' as $$
  select ops.set_notification_endpoint_state(set_notification_endpoint_state.account_id,
    set_notification_endpoint_state.endpoint_id, set_notification_endpoint_state.state)
$$;
comment on function api.set_notification_endpoint_state is
  'Pauses an endpoint (paused) or makes it active; a dead one is then told what it missed in the last day; logged. Admins only. Errors: OC403, OC404, OC409, OC422.';

create function api.remove_notification_endpoint(account_id bigint, endpoint_id bigint) returns void
language sql volatile security invoker set search_path = '' as $$
  select ops.remove_notification_endpoint(remove_notification_endpoint.account_id,
    remove_notification_endpoint.endpoint_id)
$$;
comment on function api.remove_notification_endpoint is
  'Removes an endpoint with its deliveries, URL and secret; logged. Admins only. Errors: OC403, OC404.';

create function api.test_notification(account_id bigint, endpoint_id bigint) returns bigint
language sql volatile security invoker set search_path = ''
as $$ select ops.test_notification(test_notification.account_id, test_notification.endpoint_id) $$;
comment on function api.test_notification is
  'Sends a notification of kind test to one endpoint at the next tick, past its filters, quiet hours and digest; returns its number; logged. Admins only. Errors: OC403, OC404, OC409.';

create function api.acknowledge_notification(account_id bigint, notification_id bigint) returns boolean
language sql volatile security invoker set search_path = '' as $$
  select ops.acknowledge_notification(acknowledge_notification.account_id, acknowledge_notification.notification_id)
$$;
comment on function api.acknowledge_notification is
  'Acknowledges a notification, which ends its escalation; false when it was acknowledged before; logged. Operators and above. Errors: OC403, OC404.';

create view api.notifications with (security_invoker = true) as
select notifications.account_id, notifications.notification_id, notifications.kind, notifications.severity,
  notifications.title, notifications.body, notifications.dedupe_key, notifications.state, notifications.created_at,
  notifications.acknowledged_at, notifications.acknowledged_by, notifications.next_escalation_at
from ops.notifications;
comment on view api.notifications is 'What the accounts you belong to were told, for 90 days.';
comment on column api.notifications.account_id is 'Chatwoot''s account id.';
comment on column api.notifications.notification_id is 'Number of the notification.';
comment on column api.notifications.kind is 'What sort of news, such as sla.breach.';
comment on column api.notifications.severity is 'info, warning or critical.';
comment on column api.notifications.title is 'The news in a line.';
comment on column api.notifications.body is 'The particulars.';
comment on column api.notifications.dedupe_key is 'What the news is about: the same key is told once.';
comment on column api.notifications.state is 'open, or acknowledged by a person.';
comment on column api.notifications.created_at is 'When it was told (UTC).';
comment on column api.notifications.acknowledged_at is 'When a person acknowledged it (UTC); null while open.';
comment on column api.notifications.acknowledged_by is 'Who acknowledged it; null while open.';
comment on column api.notifications.next_escalation_at is 'When it is told again unless acknowledged (UTC); null for never.';

create view api.notification_endpoints with (security_invoker = true) as
select endpoints.account_id, endpoints.endpoint_id, endpoints.name, endpoints.origin, endpoints.format,
  endpoints.kinds, endpoints.minimum_severity, endpoints.quiet_start_minute, endpoints.quiet_end_minute,
  endpoints.time_zone, endpoints.critical_at_once, endpoints.digest_minutes,
  endpoints.escalate_after_seconds is not null as is_escalation, endpoints.escalate_after_seconds,
  endpoints.escalate_times, endpoints.state, endpoints.failures, endpoints.retry_at, endpoints.problem, endpoints.hint,
  endpoints.problem_at, endpoints.last_success_at, endpoints.created_at,
  (select count(*) from ops.notification_deliveries as deliveries
    where deliveries.account_id = endpoints.account_id and deliveries.endpoint_id = endpoints.endpoint_id
      and deliveries.state = 'pending') as pending
from ops.notification_endpoints as endpoints;
comment on view api.notification_endpoints is 'The webhooks that notifications of your accounts go to, and how they stand; never a URL beyond its host, never a secret.';
comment on column api.notification_endpoints.account_id is 'Chatwoot''s account id.';
comment on column api.notification_endpoints.endpoint_id is 'Number of the endpoint.';
comment on column api.notification_endpoints.name is 'What people call it.';
comment on column api.notification_endpoints.origin is 'Scheme and host of its URL.';
comment on column api.notification_endpoints.format is 'slack or standard.';
comment on column api.notification_endpoints.kinds is 'Kinds it is told of; null for all.';
comment on column api.notification_endpoints.minimum_severity is 'What matters less is not sent to it.';
comment on column api.notification_endpoints.quiet_start_minute is 'Minute of the local day at which it falls quiet; null for never.';
comment on column api.notification_endpoints.quiet_end_minute is 'Minute of the local day at which it wakes; null for never quiet.';
comment on column api.notification_endpoints.time_zone is 'IANA zone of its quiet hours and digests.';
comment on column api.notification_endpoints.critical_at_once is 'Whether critical ones wait neither for the end of quiet hours nor for the digest.';
comment on column api.notification_endpoints.digest_minutes is 'Minutes for which notifications are collected into one; 0 for none.';
comment on column api.notification_endpoints.is_escalation is 'Whether it is told only of critical notifications that nobody acknowledged.';
comment on column api.notification_endpoints.escalate_after_seconds is 'Seconds after which it is told, and told again; null unless it is an escalation endpoint.';
comment on column api.notification_endpoints.escalate_times is 'How often at most it is told of one notification; null unless it is an escalation endpoint.';
comment on column api.notification_endpoints.state is 'active; paused by a person; or dead, since it failed for too long.';
comment on column api.notification_endpoints.failures is 'Failed requests since the last that worked.';
comment on column api.notification_endpoints.retry_at is 'Not tried again before this instant (UTC); null for at once.';
comment on column api.notification_endpoints.problem is 'What went wrong last; null when all is well.';
comment on column api.notification_endpoints.hint is 'What to do about it.';
comment on column api.notification_endpoints.problem_at is 'When it went wrong (UTC).';
comment on column api.notification_endpoints.last_success_at is 'When it last took a notification (UTC); null for never.';
comment on column api.notification_endpoints.created_at is 'When it was added (UTC).';
comment on column api.notification_endpoints.pending is 'Notifications on their way to it.';

create view api.notification_deliveries with (security_invoker = true) as
select deliveries.account_id, deliveries.delivery_id, deliveries.endpoint_id, deliveries.notification_id,
  deliveries.round, deliveries.state, deliveries.attempts, deliveries.next_attempt_at, deliveries.message_id,
  deliveries.last_status, deliveries.problem, deliveries.created_at, deliveries.settled_at
from ops.notification_deliveries as deliveries;
comment on view api.notification_deliveries is 'What became of each notification at each endpoint, in the accounts you belong to.';
comment on column api.notification_deliveries.account_id is 'Chatwoot''s account id.';
comment on column api.notification_deliveries.delivery_id is 'Number of the delivery.';
comment on column api.notification_deliveries.endpoint_id is 'The endpoint.';
comment on column api.notification_deliveries.notification_id is 'The notification.';
comment on column api.notification_deliveries.round is '0 for the first telling, then the number of the escalation.';
comment on column api.notification_deliveries.state is 'pending, sent, dead (given up), or cancelled (acknowledged before it was told again).';
comment on column api.notification_deliveries.attempts is 'Requests that tried to bring it.';
comment on column api.notification_deliveries.next_attempt_at is 'Not tried before this instant (UTC).';
comment on column api.notification_deliveries.message_id is 'The message it travelled in, as the header webhook-id has it after msg_ (without hyphens there).';
comment on column api.notification_deliveries.last_status is 'HTTP status of the last answer; null for none.';
comment on column api.notification_deliveries.problem is 'What went wrong last; null for nothing.';
comment on column api.notification_deliveries.created_at is 'When it was put on its way (UTC).';
comment on column api.notification_deliveries.settled_at is 'When it was sent, given up or cancelled (UTC); null while pending.';

revoke all on function api.add_notification_endpoint, api.set_notification_endpoint_state,
  api.remove_notification_endpoint, api.test_notification, api.acknowledge_notification
  from public, anon, authenticated, service_role;
grant execute on function api.add_notification_endpoint, api.set_notification_endpoint_state,
  api.remove_notification_endpoint, api.test_notification, api.acknowledge_notification to authenticated, service_role;
grant select on api.notifications, api.notification_endpoints, api.notification_deliveries
  to authenticated, service_role;
