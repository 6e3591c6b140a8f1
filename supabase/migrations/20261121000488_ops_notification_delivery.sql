-- The sending of notifications. Each request has a claim before it and a record after it, each in a transaction of its
-- own: a job may be killed anywhere, and what it leaves in doubt is sent again under the same message id. No lock is
-- held while a receiver is waited for, and one that fails is left alone for the rest of the tick, longer each time.

create function ops.escalate_notifications(as_of timestamptz default now(), batch_size integer default 500)
returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_notification ops.notifications;
  v_next_at timestamptz;
  v_added bigint := 0;
  v_told bigint;
begin
  for v_notification in
    select notifications.* from ops.notifications
    where notifications.next_escalation_at <= escalate_notifications.as_of
    order by notifications.next_escalation_at limit escalate_notifications.batch_size for no key update skip locked
  loop
    with standing as materialized (
      select endpoints.endpoint_id, endpoints.critical_at_once, endpoints.digest_minutes, endpoints.time_zone,
        told.rounds, make_interval(secs => endpoints.escalate_after_seconds) as patience,
        coalesce(told.last_at, v_notification.created_at) + make_interval(secs => endpoints.escalate_after_seconds) as due_at,
        told.is_pending
      from ops.notification_endpoints as endpoints
      cross join lateral (
        select coalesce(max(deliveries.round), 0) as rounds, max(deliveries.created_at) as last_at,
          coalesce(bool_or(deliveries.state = 'pending'), false) as is_pending
        from ops.notification_deliveries as deliveries
        where deliveries.account_id = v_notification.account_id and deliveries.endpoint_id = endpoints.endpoint_id
          and deliveries.notification_id = v_notification.notification_id and deliveries.round > 0
      ) as told
      where endpoints.account_id = v_notification.account_id and endpoints.state = 'active'
        and told.rounds < endpoints.escalate_times and ops.wants_kind(endpoints.kinds, v_notification.kind)
        and (v_notification.channels is null or endpoints.name = any (v_notification.channels)
          or not ops.names_escalation(v_notification.account_id, v_notification.kind, v_notification.channels))
    ), added as (
      insert into ops.notification_deliveries (account_id, endpoint_id, notification_id, round, is_urgent,
        next_attempt_at, created_at)
      select v_notification.account_id, standing.endpoint_id, v_notification.notification_id, standing.rounds + 1,
        standing.critical_at_once,
        case when standing.digest_minutes = 0 or standing.critical_at_once then escalate_notifications.as_of
          else ops.digest_at(standing.digest_minutes, standing.time_zone, escalate_notifications.as_of) end,
        escalate_notifications.as_of
      from standing
      -- What has not arrived yet, as in quiet hours, is not told a second time beside it.
      where standing.due_at <= escalate_notifications.as_of and not standing.is_pending
      returning endpoint_id
    )
    select count(added.endpoint_id),
      min(case when standing.due_at > escalate_notifications.as_of then standing.due_at
        else escalate_notifications.as_of + standing.patience end)
    into v_told, v_next_at
    from standing left join added on added.endpoint_id = standing.endpoint_id;
    v_added := v_added + v_told;
    update ops.notifications as existing set next_escalation_at = v_next_at
    where existing.account_id = v_notification.account_id and existing.notification_id = v_notification.notification_id;
  end loop;
  return v_added;
end
$$;
comment on function ops.escalate_notifications is
  'Puts critical notifications that nobody acknowledged in time on their way to the escalation endpoints, one batch; returns how many deliveries it made.';

create function ops.claim_message(as_of timestamptz, out account_id bigint, out endpoint_id bigint, out message_id uuid)
-- The lease keeps others from the endpoint, and the attempt counts whatever becomes of this job.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_endpoint ops.notification_endpoints;
  v_is_quiet boolean;
  v_first ops.notification_deliveries;
  v_size integer;
begin
  loop
    select endpoints.* into v_endpoint
    from ops.notification_endpoints as endpoints
    where endpoints.state = 'active' and (endpoints.retry_at is null or endpoints.retry_at <= claim_message.as_of)
      and (endpoints.leased_until is null or endpoints.leased_until <= claim_message.as_of)
      and exists (
        select from ops.notification_deliveries as deliveries
        where deliveries.account_id = endpoints.account_id and deliveries.endpoint_id = endpoints.endpoint_id
          and deliveries.state = 'pending' and deliveries.next_attempt_at <= claim_message.as_of
          and (deliveries.is_urgent or endpoints.quiet_start_minute is null or ops.quiet_until(
            endpoints.quiet_start_minute, endpoints.quiet_end_minute, endpoints.time_zone, claim_message.as_of) is null))
    -- First those that work, each in its turn; one that failed, or is so new that it has not shown yet that it works,
    -- comes after them, unless it has waited for long.
    order by (endpoints.failures > 0 or endpoints.last_success_at is null)
        and coalesce(endpoints.retry_at, endpoints.created_at) > claim_message.as_of - interval '10 minutes',
      endpoints.served_at nulls first, endpoints.account_id, endpoints.endpoint_id
    limit 1 for no key update of endpoints skip locked;
    if not found then
      return;
    end if;
    v_is_quiet := ops.quiet_until(v_endpoint.quiet_start_minute, v_endpoint.quiet_end_minute, v_endpoint.time_zone,
      claim_message.as_of) is not null;
    select deliveries.* into v_first from ops.notification_deliveries as deliveries
    where deliveries.account_id = v_endpoint.account_id and deliveries.endpoint_id = v_endpoint.endpoint_id
      and deliveries.state = 'pending' and deliveries.next_attempt_at <= claim_message.as_of
      and (deliveries.is_urgent or not v_is_quiet)
    order by deliveries.next_attempt_at, deliveries.delivery_id limit 1;
    -- Since the look at the endpoint somebody may have acknowledged the only one.
    if not found then
      return;
    end if;
    exit when v_first.attempts < 12;
    update ops.notification_deliveries as existing set state = 'dead', settled_at = claim_message.as_of,
      problem = 'The sending was broken off twelve times before its outcome could be noted.'
    where existing.account_id = v_first.account_id and existing.delivery_id = v_first.delivery_id;
  end loop;
  account_id := v_endpoint.account_id;
  endpoint_id := v_endpoint.endpoint_id;
  message_id := v_first.message_id;
  if message_id is null then
    message_id := gen_random_uuid();
    -- A digest where it is wished for, and also where so many came at once that one by one would be a flood. A list for
    -- people names the first ones only, so it may stand for more.
    v_size := case
      when (v_endpoint.digest_minutes = 0 or v_first.is_urgent) and 20 >= (
        select count(*) from (
          select from ops.notification_deliveries as deliveries
          where deliveries.account_id = v_endpoint.account_id and deliveries.endpoint_id = v_endpoint.endpoint_id
            and deliveries.state = 'pending' and deliveries.next_attempt_at <= claim_message.as_of
            and (deliveries.is_urgent or not v_is_quiet) and deliveries.message_id is null
          limit 21) as waiting)
        then 1
      when v_endpoint.format = 'slack' then 1000
      else 100 end;
    update ops.notification_deliveries as existing set message_id = claim_message.message_id
    -- An array, since a subquery might be run again for each row, where the table was small when it was planned.
    where existing.account_id = v_endpoint.account_id and existing.delivery_id = any (array(
      select deliveries.delivery_id from ops.notification_deliveries as deliveries
      where deliveries.account_id = v_endpoint.account_id and deliveries.endpoint_id = v_endpoint.endpoint_id
        and deliveries.state = 'pending' and deliveries.next_attempt_at <= claim_message.as_of
        and (deliveries.is_urgent or not v_is_quiet) and deliveries.message_id is null
      order by deliveries.next_attempt_at, deliveries.delivery_id limit v_size));
  end if;
  update ops.notification_deliveries as existing set attempts = least(existing.attempts + 1, 12)
  where existing.account_id = v_endpoint.account_id and existing.endpoint_id = v_endpoint.endpoint_id
    and existing.message_id = claim_message.message_id and existing.state = 'pending';
  update ops.notification_endpoints as existing set leased_until = claim_message.as_of + interval '1 minute',
    served_at = clock_timestamp()
  where existing.account_id = v_endpoint.account_id and existing.endpoint_id = v_endpoint.endpoint_id;
end
$$;
comment on function ops.claim_message is
  'Leases the endpoint whose turn it is for a minute and names the message to send it: one notification, or a digest. All null when nothing is due.';

create function ops.slack_text(value text, most integer) returns text
-- What customers write must not become a mention, a link or a call to a whole channel, in Slack or in what imitates it.
language sql immutable security invoker set search_path = '' as $$
  select replace(replace(replace(replace(
    left(regexp_replace(slack_text.value, '[\s[:cntrl:]]+', ' ', 'g'), slack_text.most)
      || case when length(slack_text.value) > slack_text.most then '…' else '' end,
    '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '@', '@' || U&'\200B')
$$;
comment on function ops.slack_text is 'The text, cut and on one line, with nothing left in it that Slack would act upon.';

create function ops.slack_section(value text) returns jsonb
language sql immutable security invoker set search_path = '' as $$
  select jsonb_build_object('type', 'section', 'text', jsonb_build_object('type', 'mrkdwn', 'text', slack_section.value))
$$;
comment on function ops.slack_section is 'A section block of a Slack message; the text must have been through slack_text.';

create function ops.slack_message(items jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_count integer := jsonb_array_length(slack_message.items);
  v_first jsonb := slack_message.items -> 0;
  v_lines text[];
  v_fields jsonb;
  v_head text;
  v_foot text;
begin
  v_lines := array(
    select format('*[%s]* %s%s', listed.data ->> 'severity',
      case when (listed.data ->> 'escalation')::integer > 0 then 'Still not acknowledged: ' else '' end,
      ops.slack_text(listed.data ->> 'title', 300))
    from (select item.value -> 'data' as data, item.place from jsonb_array_elements(slack_message.items)
      with ordinality as item (value, place)) as listed
    order by (listed.data ->> 'severity')::ops.notification_severity desc, listed.place limit 20);
  if v_count = 1 then
    select jsonb_agg(format('*%s:* %s', ops.slack_text(field.key, 100), ops.slack_text(field.value #>> '{}', 300)) order by field.place)
    into v_fields
    from (
      select each.key, each.value, each.place
      from jsonb_each(v_first #> '{data,body}') with ordinality as each (key, value, place)
      where jsonb_typeof(each.value) in ('string', 'number', 'boolean') order by each.place limit 10
    ) as field;
    v_foot := format('%s · %s · notification %s of account %s', v_first ->> 'type', v_first ->> 'timestamp',
      v_first #>> '{data,notification_id}', v_first #>> '{data,account_id}');
    return jsonb_build_object(
      'text', concat_ws(E'\n', v_lines[1], (select string_agg(field.value, E'\n' order by field.place)
        from jsonb_array_elements_text(v_fields) with ordinality as field (value, place)), v_foot),
      'blocks', jsonb_build_array(ops.slack_section(v_lines[1]))
        || coalesce((select jsonb_build_array(jsonb_build_object('type', 'section', 'fields',
            jsonb_agg(jsonb_build_object('type', 'mrkdwn', 'text', field.value) order by field.place)))
          from jsonb_array_elements_text(v_fields) with ordinality as field (value, place)
          having count(*) > 0), '[]')
        || jsonb_build_array(jsonb_build_object('type', 'context', 'elements',
          jsonb_build_array(jsonb_build_object('type', 'mrkdwn', 'text', v_foot)))));
  end if;
  v_head := format('*%s notifications:* %s', v_count, (
    select string_agg(format('%s %s', counted.times, counted.kind), ', ' order by counted.times desc, counted.kind)
    from (select item ->> 'type' as kind, count(*) as times from jsonb_array_elements(slack_message.items) as item
      group by item ->> 'type' order by count(*) desc, item ->> 'type' limit 10) as counted));
  v_foot := case when v_count > 20 then format('… and %s more of account %s: select * from api.notifications', v_count - 20,
    v_first #>> '{data,account_id}') end;
  return jsonb_build_object(
    'text', concat_ws(E'\n', v_head, array_to_string(v_lines, E'\n'), v_foot),
    'blocks', (select jsonb_agg(ops.slack_section(line.value) order by line.place)
      from unnest(v_head || v_lines || v_foot) with ordinality as line (value, place) where line.value is not null));
end
$$;
comment on function ops.slack_message is 'A Slack-compatible message of one notification or of a digest.';

create function ops.notification_message(account_id bigint, endpoint_id bigint, message_id uuid) returns text
-- From what does not change, so that a second attempt carries the same bytes.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_format text;
  v_items jsonb;
begin
  select endpoints.format into v_format from ops.notification_endpoints as endpoints
  where endpoints.account_id = notification_message.account_id and endpoints.endpoint_id = notification_message.endpoint_id;
  select jsonb_agg(jsonb_build_object(
    'type', notifications.kind,
    'timestamp', to_char(notifications.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
    'data', jsonb_build_object('account_id', notifications.account_id,
      'notification_id', notifications.notification_id, 'severity', notifications.severity,
      'title', notifications.title, 'body', notifications.body, 'escalation', deliveries.round))
    order by notifications.created_at, notifications.notification_id, deliveries.round)
  into v_items
  from ops.notification_deliveries as deliveries
  join ops.notifications on notifications.account_id = deliveries.account_id
    and notifications.notification_id = deliveries.notification_id
  where deliveries.account_id = notification_message.account_id
    and deliveries.endpoint_id = notification_message.endpoint_id
    and deliveries.message_id = notification_message.message_id and deliveries.state = 'pending';
  return case
    when v_items is null then null
    when v_format = 'slack' then ops.slack_message(v_items)
    when jsonb_array_length(v_items) = 1 then v_items -> 0
    else jsonb_build_object('type', 'notifications.digest', 'timestamp', v_items #> '{-1,timestamp}',
      'data', jsonb_build_object('account_id', notification_message.account_id,
        'count', jsonb_array_length(v_items), 'notifications', v_items))
  end::text;
end
$$;
comment on function ops.notification_message is
  'The body of a message in its endpoint''s format; null when all of it was cancelled.';

create function ops.webhook_signature(secret text, message_id text, sent_at bigint, body text) returns text
language sql immutable security invoker set search_path = '' as $$
  select 'v1,' || encode(extensions.hmac(
    convert_to(format('%s.%s.%s', webhook_signature.message_id, webhook_signature.sent_at, webhook_signature.body), 'UTF8'),
    decode(substring(webhook_signature.secret from '^whsec_(.*)$'), 'base64'), 'sha256'), 'base64')
$$;
comment on function ops.webhook_signature is
  'The header webhook-signature as Standard Webhooks has it: HMAC-SHA256 of id, seconds and body with a secret that begins with whsec_.';

create function ops.delivery_problem(kind text, status integer, seconds integer, out problem text, out hint text)
-- In our own words: an answer's text may hold anything.
language sql immutable security invoker set search_path = '' as $$
  select case delivery_problem.kind
    when 'timeout' then format('The receiver did not answer within %s seconds.', delivery_problem.seconds)
    when 'transport' then 'The receiver could not be connected to, or the connection broke.'
    when 'redirected' then 'The receiver''s address leads elsewhere.'
    when 'page' then 'A page in HTML answered, not a receiver of webhooks.'
    when 'gone' then 'The receiver says that it is gone for good (410).'
    when 'throttled' then 'The receiver refuses more requests for now (429).'
    when 'refused' then format('The receiver refused the message as it is (%s).', delivery_problem.status)
    when 'server_error' then format('The receiver failed to answer (%s).', delivery_problem.status)
    when 'no_url' then 'The URL or the signing secret of the endpoint is no longer in Vault.'
    when 'wrong_url' then 'The URL of the endpoint may not be used any more.'
    when 'internal' then 'The message could not be made or its answer not be read.'
    else format('The receiver refused the request (%s).', delivery_problem.status)
  end, case delivery_problem.kind
    when 'timeout' then 'It is tried again by itself. A receiver should answer first and work afterwards.'
    when 'transport' then 'It is tried again by itself. If it stays so, look whether the receiver runs and its certificate is valid.'
    when 'redirected' then 'Add an endpoint with the address at which the receiver really is, and remove this one.'
    when 'page' then 'It is tried again by itself. If it stays so, look whether the URL is that of the webhook, or a proxy is in the way.'
    when 'gone' then 'Make a new webhook there, add it as an endpoint and remove this one.'
    when 'throttled' then 'It is tried again by itself. If it stays so, collect more into one: digest_minutes.'
    when 'refused' then 'If it happens often, look whether the format (slack or standard) fits the receiver.'
    when 'server_error' then 'It is tried again by itself. If it stays so, look at the receiver''s log.'
    when 'no_url' then 'Add the endpoint again and remove this one.'
    when 'wrong_url' then 'If it is in a private network, the project''s backend sets sync_private_hosts.'
    when 'internal' then 'It is tried again by itself. If it stays so, report it.'
    else 'It is tried again by itself. If it stays so, look whether the webhook still exists there.'
  end
$$;
comment on function ops.delivery_problem is 'What went wrong with a request, in words, and what to do.';

create function ops.send_message(
  account_id bigint, endpoint_id bigint, message_id uuid, as_of timestamptz, until timestamptz,
  out kind text, out status integer, out problem text, out hint text, out retry_after integer
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_milliseconds integer := least(5000, greatest(1000,
    (extract(epoch from send_message.until - clock_timestamp()) * 1000)::integer));
  v_url text := ops.endpoint_secret(send_message.account_id, send_message.endpoint_id, 'url');
  v_secret text := ops.endpoint_secret(send_message.account_id, send_message.endpoint_id, 'secret');
  v_message_id text := 'msg_' || replace(send_message.message_id::text, '-', '');
  v_seconds bigint := floor(extract(epoch from send_message.as_of));
  v_headers extensions.http_header[];
  v_body text;
  v_origin text;
  v_response extensions.http_response;
  v_message text;
  v_locations bigint;
  v_dates bigint;
begin
  begin
    v_body := ops.notification_message(send_message.account_id, send_message.endpoint_id, send_message.message_id);
    if v_body is null then
      kind := 'nothing';
      return;
    end if;
    if v_url is null or (v_secret is null and exists (
      select from ops.notification_endpoints as endpoints where endpoints.account_id = send_message.account_id
        and endpoints.endpoint_id = send_message.endpoint_id and endpoints.format = 'standard'))
    then
      kind := 'no_url';
    else
      -- Again each time: what was allowed when it was added may not be any more.
      v_origin := ops.endpoint_origin(send_message.account_id, v_url);
      if v_secret is not null then
        v_headers := array[extensions.http_header('webhook-id', v_message_id),
          extensions.http_header('webhook-timestamp', v_seconds::text),
          extensions.http_header('webhook-signature',
            ops.webhook_signature(v_secret, v_message_id, v_seconds, v_body))];
      end if;
    end if;
  exception
    when sqlstate 'OC422' then kind := 'wrong_url';
    when others then kind := 'internal';
  end;
  if kind is null then
    perform extensions.http_set_curlopt('CURLOPT_TIMEOUT_MS', v_milliseconds::text),
      -- In seconds: version 1.6 does not know the option in milliseconds.
      extensions.http_set_curlopt('CURLOPT_CONNECTTIMEOUT', ceil(v_milliseconds / 1000.0)::text);
    begin
      v_response := extensions.http(('POST', v_url, v_headers, 'application/json', v_body)::extensions.http_request);
      status := v_response.status;
      -- A redirect that was followed leaves the headers of each hop.
      select count(*) filter (where lower(headers.field) = 'location'), count(*) filter (where lower(headers.field) = 'date')
      into v_locations, v_dates from unnest(v_response.headers) as headers;
      kind := case
        -- An accepted request may say where its work can be looked up, and that is no redirect.
        when status between 300 and 399 or (v_locations > 0 and (status not in (201, 202) or v_dates > 1)) then 'redirected'
        when status between 200 and 299 then
          case when encode(substring(extensions.text_to_bytea(v_response.content) from 1 for 200), 'escape')
            ~* '^\s*<(!doctype html|html)' then 'page' end
        when status = 410 then 'gone'
        when status = 429 then 'throttled'
        when status in (400, 413, 415, 422) then 'refused'
        when status >= 500 then 'server_error'
        else 'rejected' end;
      if status in (429, 503) then
        retry_after := (select max(headers.value) from unnest(v_response.headers) as headers
          where lower(headers.field) = 'retry-after' and headers.value ~ '^\d{1,6}$')::integer;
      end if;
    exception when others then
      get stacked diagnostics v_message = message_text;
      -- The words of the HTTP client may name another server than the one that was asked for, so only their kind is kept.
      kind := case when v_message ~* 'redirects followed' then 'redirected'
        else (sync.rest_transport_failure(v_message, v_origin, 1)).kind end;
    end;
  end if;
  if kind is not null then
    select said.problem, said.hint into problem, hint
    from ops.delivery_problem(kind, status, ceil(v_milliseconds / 1000.0)::integer) as said;
  end if;
end
$$;
comment on function ops.send_message is
  'Sends a message, one request, and says what became of it: kind is null when the receiver took it.';

create function ops.settle_message(
  account_id bigint, endpoint_id bigint, message_id uuid, as_of timestamptz, kind text, status integer, problem text,
  hint text, retry_after integer
) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_endpoint ops.notification_endpoints;
  v_attempts integer;
  v_retry_at timestamptz;
begin
  select * into v_endpoint from ops.notification_endpoints as endpoints
  where endpoints.account_id = settle_message.account_id and endpoints.endpoint_id = settle_message.endpoint_id
  for no key update;
  -- Removed while it was sent to.
  if not found then
    return;
  end if;
  if settle_message.kind is null or settle_message.kind = 'nothing' then
    update ops.notification_deliveries as existing set state = 'sent', settled_at = settle_message.as_of,
      last_status = settle_message.status, problem = null
    where existing.account_id = settle_message.account_id and existing.endpoint_id = settle_message.endpoint_id
      and existing.message_id = settle_message.message_id and existing.state = 'pending'
      and settle_message.kind is null;
    update ops.notification_endpoints as existing set leased_until = null,
      failures = case when settle_message.kind is null then 0 else existing.failures end,
      retry_at = case when settle_message.kind is null then null else existing.retry_at end,
      problem = case when settle_message.kind is null then null else existing.problem end,
      hint = case when settle_message.kind is null then null else existing.hint end,
      problem_at = case when settle_message.kind is null then null else existing.problem_at end,
      last_success_at = case when settle_message.kind is null then settle_message.as_of else existing.last_success_at end
    where existing.account_id = settle_message.account_id and existing.endpoint_id = settle_message.endpoint_id;
    return;
  end if;
  -- What is wrong with one message says nothing of the next, so that the endpoint waits for the next tick only.
  if settle_message.kind <> 'refused' then
    v_endpoint.failures := v_endpoint.failures + 1;
  end if;
  v_retry_at := settle_message.as_of + case
    when settle_message.kind = 'refused' then sync.back_off(1)
    when settle_message.retry_after is not null
      then make_interval(secs => least(greatest(settle_message.retry_after, 30), 3600))
    -- Half a minute, then from two minutes doubling to an hour: twelve tries in about seven hours.
    when v_endpoint.failures = 1 then sync.back_off(1)
    else 4 * sync.back_off(v_endpoint.failures - 1) end;
  update ops.notification_endpoints as existing set failures = v_endpoint.failures, retry_at = v_retry_at,
    leased_until = null, problem = settle_message.problem, hint = settle_message.hint, problem_at = settle_message.as_of
  where existing.account_id = settle_message.account_id and existing.endpoint_id = settle_message.endpoint_id;
  select max(deliveries.attempts) into v_attempts from ops.notification_deliveries as deliveries
  where deliveries.account_id = settle_message.account_id and deliveries.endpoint_id = settle_message.endpoint_id
    and deliveries.message_id = settle_message.message_id and deliveries.state = 'pending';
  update ops.notification_deliveries as existing set last_status = settle_message.status, problem = settle_message.problem,
    state = case when v_attempts >= case settle_message.kind when 'refused' then 3 else 12 end then 'dead' else 'pending' end,
    settled_at = case when v_attempts >= case settle_message.kind when 'refused' then 3 else 12 end
      then settle_message.as_of end,
    next_attempt_at = greatest(v_retry_at, settle_message.as_of + case settle_message.kind
      when 'refused' then 4 * sync.back_off(v_attempts) else interval '0' end)
  where existing.account_id = settle_message.account_id and existing.endpoint_id = settle_message.endpoint_id
    and existing.message_id = settle_message.message_id and existing.state = 'pending';
  if v_endpoint.state = 'active'
    and (v_endpoint.failures >= 12 or settle_message.kind in ('redirected', 'gone', 'no_url', 'wrong_url'))
  then
    perform ops.give_up_endpoint(settle_message.account_id, settle_message.endpoint_id, settle_message.as_of,
      settle_message.problem, settle_message.hint);
  end if;
end
$$;
comment on function ops.settle_message is
  'Notes what became of a message: sent, to be tried again later, or dead after 12 tries (3 where the receiver refused its contents), and lets a failing endpoint rest.';

create function ops.give_up_endpoint(account_id bigint, endpoint_id bigint, as_of timestamptz, problem text, hint text)
returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_name text;
  v_failures integer;
begin
  update ops.notification_endpoints as existing set state = 'dead'
  where existing.account_id = give_up_endpoint.account_id and existing.endpoint_id = give_up_endpoint.endpoint_id
  returning existing.name, existing.failures into v_name, v_failures;
  update ops.notification_deliveries as existing set state = 'dead', settled_at = give_up_endpoint.as_of,
    problem = left('The endpoint was given up: ' || give_up_endpoint.problem, 500)
  where existing.account_id = give_up_endpoint.account_id and existing.endpoint_id = give_up_endpoint.endpoint_id
    and existing.state = 'pending';
  perform audit.log(give_up_endpoint.account_id, 'notification_endpoint.given_up',
    'notification_endpoint:' || give_up_endpoint.endpoint_id,
    jsonb_build_object('problem', give_up_endpoint.problem, 'failures', v_failures), 'done',
    actor => 'rule:notifications', as_of => give_up_endpoint.as_of);
  perform ops.raise_alert(give_up_endpoint.account_id, 'notifications.endpoint_dead', 'endpoint:' || give_up_endpoint.endpoint_id,
    format('Nothing is sent to the endpoint %s any more: %s', v_name, give_up_endpoint.problem),
    give_up_endpoint.hint || ' Then: select api.set_notification_endpoint_state(…).', give_up_endpoint.as_of);
  -- To the others.
  perform ops.notify(give_up_endpoint.account_id, 'notifications.endpoint_dead',
    format('notifications.endpoint_dead:%s:%s', give_up_endpoint.endpoint_id, extract(epoch from give_up_endpoint.as_of)),
    format('Nothing is sent to the endpoint %s any more', v_name),
    jsonb_build_object('endpoint_id', give_up_endpoint.endpoint_id, 'problem', give_up_endpoint.problem,
      'hint', give_up_endpoint.hint), 'warning', give_up_endpoint.as_of);
end
$$;
comment on function ops.give_up_endpoint is
  'Sends nothing more to the endpoint until a person makes it active again; logged, alerted, and told to the other endpoints.';

create procedure ops.deliver_notifications(as_of timestamptz default null, budget interval default '20 seconds')
-- Commits before and after each request, so nothing is set for the whole of it and every name is written out.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_claim record;
  v_sent record;
begin
  perform ops.escalate_notifications(coalesce(deliver_notifications.as_of, pg_catalog.clock_timestamp()));
  commit;
  loop
    exit when pg_catalog.clock_timestamp() >= v_end;
    v_claim := ops.claim_message(coalesce(deliver_notifications.as_of, pg_catalog.clock_timestamp()));
    commit;
    exit when v_claim.message_id is null;
    v_sent := ops.send_message(v_claim.account_id, v_claim.endpoint_id, v_claim.message_id,
      coalesce(deliver_notifications.as_of, pg_catalog.clock_timestamp()), v_end);
    perform ops.settle_message(v_claim.account_id, v_claim.endpoint_id, v_claim.message_id,
      coalesce(deliver_notifications.as_of, pg_catalog.clock_timestamp()), v_sent.kind, v_sent.status, v_sent.problem,
      v_sent.hint, v_sent.retry_after);
    commit;
  end loop;
end
$$;
comment on procedure ops.deliver_notifications is
  'Sends what is due, one request at a time, within the budget; for cron. Two at once share the work. After doubt a message is sent again under the same id.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'ops'::regnamespace and functions.proname in ('escalate_notifications',
      'claim_message', 'slack_text', 'slack_section', 'slack_message', 'notification_message', 'webhook_signature',
      'delivery_problem', 'send_message', 'settle_message', 'give_up_endpoint', 'deliver_notifications')
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
