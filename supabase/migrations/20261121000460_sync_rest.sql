-- The REST door, first part: one request and what may become of it, and the reading of answers. Chatwoot's REST API shows
-- the same records as its webhooks in a slightly different dress, so answers are dressed as webhooks and read by the
-- same functions.
--
-- Versions: a conversation and a message nested in it show their own updated_at; what shows none (the list of messages,
-- contacts, people) counts as true at the instant of the reading, by Chatwoot's own clock.
create table sync.conversation_reads (
  account_id bigint not null,
  display_id bigint not null,
  priority smallint not null,
  due_at timestamptz,
  source_updated_at timestamptz,
  read_updated_at timestamptz,
  read_until_message_id bigint,
  walk_after_message_id bigint,
  walk_before_message_id bigint,
  contact_id bigint,
  is_show_due boolean not null default false,
  missing_since timestamptz,
  failures integer not null default 0,
  problem text,
  constraint conversation_reads_pkey primary key (account_id, display_id),
  -- The three queues, in the order in which they are served.
  constraint conversation_reads_priority_known check (priority in (0, 1, 2))
);
comment on table sync.conversation_reads is 'What the REST door knows of each conversation''s reading, and when it is to be read again.';
comment on column sync.conversation_reads.account_id is 'Chatwoot''s account id.';
comment on column sync.conversation_reads.display_id is 'The conversation''s number.';
comment on column sync.conversation_reads.priority is '0 it changed, 1 it is looked at again, 2 it is history.';
comment on column sync.conversation_reads.due_at is 'When it is to be read (UTC); null when there is no more to read.';
comment on column sync.conversation_reads.source_updated_at is 'Its updated_at when Chatwoot last listed it (UTC).';
comment on column sync.conversation_reads.read_updated_at is 'Its updated_at when its messages were last read to the end (UTC); null for never.';
comment on column sync.conversation_reads.read_until_message_id is 'All its messages up to this one have been read; null for none.';
comment on column sync.conversation_reads.walk_after_message_id is 'Where the reading of its messages goes on; null when it is not in the middle.';
comment on column sync.conversation_reads.walk_before_message_id is 'Where the reading goes on backwards in small portions, since a large one was refused (0 from the newest); null otherwise.';
comment on column sync.conversation_reads.contact_id is 'Its contact when it was last listed.';
comment on column sync.conversation_reads.is_show_due is 'Whether the conversation itself is to be read, not only its messages.';
comment on column sync.conversation_reads.missing_since is 'When it was first not found, by Chatwoot''s clock (UTC); null while it is there.';
comment on column sync.conversation_reads.failures is 'Failed readings in a row.';
comment on column sync.conversation_reads.problem is 'What went wrong with the last reading; null for nothing.';
create index conversation_reads_due_idx on sync.conversation_reads (account_id, priority, due_at) where due_at is not null;

create table sync.contact_checks (
  account_id bigint not null,
  contact_id bigint not null,
  due_at timestamptz not null,
  missing_since timestamptz,
  constraint contact_checks_pkey primary key (account_id, contact_id)
);
comment on table sync.contact_checks is 'Contacts that may be gone, since a conversation of theirs has gone or has another contact now: the REST door asks.';
comment on column sync.contact_checks.account_id is 'Chatwoot''s account id.';
comment on column sync.contact_checks.contact_id is 'Chatwoot''s contact id.';
comment on column sync.contact_checks.due_at is 'When to ask (UTC).';
comment on column sync.contact_checks.missing_since is 'When it was first not found, by Chatwoot''s clock (UTC); null when not asked yet.';

do $$
declare
  v_table text;
begin
  foreach v_table in array array['conversation_reads', 'contact_checks'] loop
    execute format('alter table sync.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on sync.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on sync.%I for select to analyst using (true)', v_table);
    execute format('grant select on sync.%I to authenticated, analyst, service_role', v_table);
  end loop;
end
$$;

create function sync.rest_refusal(status integer, error text, out kind text, out problem text, out hint text)
-- In our own words: an answer's text may hold anything.
language plpgsql immutable security invoker set search_path = '' as $$
begin
  kind := case
    when status = 401 then 'unauthorized' when status = 403 then 'forbidden' when status = 404 then 'missing'
    when status = 429 then 'throttled' when status >= 500 then 'server_error'
    when status between 300 and 399 then 'redirected' else 'client_error' end;
  case kind
    when 'unauthorized' then
      case
        when error = 'Invalid Access Token' then
          problem := 'Chatwoot does not know the token (401).';
          hint := 'Copy the access token of an administrator from Chatwoot and set it: select api.set_sync_token(…).';
        when error like 'You need to sign in%' then
          problem := 'The token did not reach Chatwoot (401).';
          hint := 'Something in between drops the header api-access-token: look at the proxy before Chatwoot.';
        when error = 'Account is suspended' then
          problem := 'Chatwoot has suspended the account (401).';
          hint := 'Once it is open again: select api.resume_sync(…).';
        when error like 'You are not authorized to access this account%' or error like 'Bot is not authorized%'
          or error like '%not authorized for bots%'
        then
          problem := 'The token''s owner is no member of this account (401).';
          hint := 'The token must be that of an administrator of the account, not of a bot: select api.set_sync_token(…).';
        else
          problem := 'Chatwoot does not let the token''s owner read everything (401).';
          hint := 'The token must be that of an administrator of the account: select api.set_sync_token(…).';
      end case;
    when 'forbidden' then
      problem := 'Chatwoot does not allow this account to use its API (403).';
      hint := 'Chatwoot Cloud includes the API in some plans only; then: select api.resume_sync(…).';
    when 'missing' then
      problem := 'Chatwoot does not have what was asked for (404).';
      hint := 'Look whether the base URL and the account''s number are right.';
    when 'throttled' then
      problem := 'Chatwoot refuses more requests for now (429).';
      hint := 'If it stays so, lower the setting sync_requests_per_minute or raise RACK_ATTACK_LIMIT in Chatwoot.';
    when 'server_error' then
      problem := format('Chatwoot failed to answer (%s).', status);
      hint := 'It is tried again by itself. If it stays so, look at Chatwoot''s log.';
    when 'redirected' then
      problem := 'Chatwoot''s address leads elsewhere: a redirect would take the token along.';
      hint := 'Set the base URL to where Chatwoot really answers (select api.set_rest_source(…)), and if requests were redirected to a place you do not know, change the token.';
    else
      problem := format('Chatwoot refused the request (%s).', status);
      hint := 'Look at Chatwoot''s log for the reason.';
  end case;
end
$$;
comment on function sync.rest_refusal is 'What an answer''s status means: a kind to count by, the problem in words, and what to do.';

create function sync.rest_date(value text, as_of timestamptz) returns timestamptz
-- Versions come from it. By a clock that is wrong by more than a day, later truths would lose for long.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_date timestamptz;
begin
  if rest_date.value ~ '^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$' then
    begin
      v_date := rest_date.value::timestamptz;
    exception when data_exception then
      v_date := null;
    end;
  end if;
  return case when v_date between rest_date.as_of - interval '1 day' and rest_date.as_of + interval '1 day' then v_date
    else rest_date.as_of end;
end
$$;
comment on function sync.rest_date is 'The instant in the header Date; as_of where there is none, or one further than a day away.';

create function sync.rest_transport_failure(
  message text, base_url text, seconds integer, out kind text, out problem text, out hint text
)
-- In our own words, and only of the server that was asked for: libcurl follows redirects, and what it says of another
-- host would tell what is open in its network.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_base text[] := regexp_match(rest_transport_failure.base_url, '^(https?)://(\[[^\]]*\]|[^:/]+)(?::(\d+))?');
  v_named text[] := coalesce(regexp_match(rest_transport_failure.message, 'connect to \[?([^\s;,\]]+)\]? port (\d+)', 'i'),
    regexp_match(rest_transport_failure.message, 'resolve (?:host|proxy)(?: name)?:? ([^\s;,]+)', 'i'));
begin
  if lower(v_named[1]) <> trim(both '[]' from v_base[2])
    or v_named[2] <> coalesce(v_base[3], case v_base[1] when 'https' then '443' else '80' end)
  then
    select refusal.kind, refusal.problem, refusal.hint into kind, problem, hint
    from sync.rest_refusal(302, null) as refusal;
    return;
  end if;
  kind := case when rest_transport_failure.message ~* 'timed? ?out' then 'timeout' else 'transport' end;
  problem := case when kind = 'timeout'
      then format('Chatwoot did not answer within %s seconds.', rest_transport_failure.seconds)
    when v_named is not null then 'Chatwoot''s server could not be connected to.'
    else 'The connection to Chatwoot broke, or what came over it is not HTTP.' end;
  hint := 'It is tried again by itself. If it stays so, look whether Chatwoot runs and whether the base URL is right.';
end
$$;
comment on function sync.rest_transport_failure is
  'What it means that a request got no answer, by the words of the HTTP client: timeout, transport, or redirected where they name another server.';

create function sync.rest_words(content text, token text) returns text
-- What another server says is shown to people, so it is cut, on one line, and without the token it may quote.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_answer jsonb;
begin
  if coalesce(octet_length(rest_words.content), 0) not between 2 and 10000 then
    return null;
  end if;
  v_answer := (inbox.read(extensions.text_to_bytea(rest_words.content))).payload;
  return nullif(btrim(left(regexp_replace(replace(
    coalesce(v_answer ->> 'error', v_answer ->> 'message', v_answer #>> '{errors,0}'), rest_words.token, '…'),
    '[\s[:cntrl:]]+', ' ', 'g'), 300)), '');
end
$$;
comment on function sync.rest_words is 'Chatwoot''s own words in an answer that refuses, at most 300 characters; null where there are none.';

create function sync.rest_request(
  account_id bigint, method text, path text, query text, array_at text[], as_of timestamptz, until timestamptz,
  content jsonb default null,
  out kind text, out problem text, out hint text, out body jsonb, out bytes integer, out read_at timestamptz,
  out status integer, out words text
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_base_url text;
  v_token text;
  v_milliseconds integer := least(15000, greatest(1000,
    (extract(epoch from rest_request.until - clock_timestamp()) * 1000)::integer));
  v_started_at timestamptz;
  v_response extensions.http_response;
  v_date text;
  v_read record;
  v_state text;
  v_message text;
begin
  begin
    v_base_url := sync.check_base_url(
      (select sources.base_url from sync.sources
        where sources.account_id = rest_request.account_id and sources.door = 'rest'),
      sync.allows_private_hosts(rest_request.account_id));
  exception when sqlstate 'OC422' then
    get stacked diagnostics problem = message_text, hint = pg_exception_hint;
    kind := 'base_url';
    return;
  end;
  v_token := sync.token(rest_request.account_id);
  if v_token is null then
    kind := 'no_token';
    problem := 'There is no Chatwoot token for this account.';
    hint := 'Copy the access token of an administrator from Chatwoot and set it: select api.set_sync_token(…).';
    return;
  end if;
  perform extensions.http_set_curlopt('CURLOPT_TIMEOUT_MS', v_milliseconds::text),
    -- In seconds: version 1.6 does not know the option in milliseconds.
    extensions.http_set_curlopt('CURLOPT_CONNECTTIMEOUT', least(ceil(v_milliseconds / 1000.0), 5)::text);
  v_started_at := clock_timestamp();
  begin
    v_response := extensions.http((rest_request.method, v_base_url || rest_request.path || coalesce('?' || rest_request.query, ''),
      -- With hyphens, since proxies drop names with underscores. And never to a place that was not tried without it.
      case when rest_request.method <> 'HEAD' then array[extensions.http_header('api-access-token', v_token),
        extensions.http_header('Accept', 'application/json')] end,
      case when rest_request.content is not null then 'application/json' end, rest_request.content::text)::extensions.http_request);
  exception when others then
    get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
    if v_state like '22%' then
      kind := 'invalid_utf8';
      problem := 'The answer holds characters that are not what it says they are.';
      hint := 'It is tried again by itself. If it stays so, open the base URL in a browser: is it Chatwoot that answers?';
    else
      select failure.kind, failure.problem, failure.hint into kind, problem, hint
      from sync.rest_transport_failure(v_message, v_base_url, ceil(v_milliseconds / 1000.0)::integer) as failure;
    end if;
    return;
  end;
  -- A redirect leaves the headers of each hop, so that one that was followed shows too. The last Date is the answer's.
  select max(headers.value) filter (where lower(headers.field) = 'location'),
    (array_agg(headers.value order by headers.place desc) filter (where lower(headers.field) = 'date'))[1]
  into v_state, v_date
  from unnest(v_response.headers) with ordinality as headers (field, value, place);
  read_at := sync.rest_date(v_date, rest_request.as_of) - (clock_timestamp() - v_started_at);
  status := case when v_state is not null then 302 else v_response.status end;
  if status not between 200 and 299 then
    if status between 400 and 499 then
      words := sync.rest_words(v_response.content, v_token);
    end if;
    select refusal.kind, refusal.problem, refusal.hint into kind, problem, hint
    from sync.rest_refusal(status,
      case when octet_length(v_response.content) < 10000
        then substring(v_response.content from '"errors?":\s*\[?\s*"([^"\\]{1,100})') end) as refusal;
    return;
  end if;
  bytes := coalesce(octet_length(v_response.content), 0);
  -- What is written is often answered with nothing.
  if rest_request.method = 'HEAD' or (rest_request.content is not null and bytes = 0) then
    return;
  end if;
  if bytes > 10485760 then
    kind := 'too_large';
    problem := 'The answer holds more than 10 MB.';
  elsif coalesce(v_response.content_type, '') !~* '^application/json\s*(;|$)' then
    kind := 'wrong_content_type';
    problem := 'The answer is not called JSON: perhaps a page of a proxy, or of a Chatwoot in maintenance.';
  else
    -- Read as the body of a webhook is; an answer may be an array as well.
    v_read := inbox.read('\x7b22616e73776572223a'::bytea
      || coalesce(extensions.text_to_bytea(v_response.content), ''::bytea) || '\x7d'::bytea);
    body := v_read.payload -> 'answer';
    if v_read.problem is not null then
      kind := case when v_read.problem like '%UTF-8%' then 'invalid_utf8' else 'not_json' end;
      problem := replace(v_read.problem, 'The body', 'The answer');
    elsif (rest_request.array_at is null and rest_request.content is null and jsonb_typeof(body) <> 'object')
      or (rest_request.array_at is not null and coalesce(jsonb_typeof(body #> rest_request.array_at), '') <> 'array')
    then
      kind := 'wrong_shape';
      problem := 'The answer is JSON, but not of the shape that Chatwoot''s API has.';
    end if;
  end if;
  if kind is not null then
    body := null;
    hint := 'It is tried again by itself. If it stays so, open the base URL in a browser: is it Chatwoot that answers?';
  end if;
end
$$;
comment on function sync.rest_request is
  'Sends one request to the account''s Chatwoot, within 15 seconds and until the given instant. Either body (an object, or with an array at array_at; any JSON or null where content was sent) and read_at, an instant by Chatwoot''s clock not after the reading; or kind, problem and hint. status, where there was an answer; words are Chatwoot''s own where it refused.';

create function sync.rest_conversation(conversation jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_meta jsonb := coalesce(rest_conversation.conversation -> 'meta', '{}');
  v_assignee jsonb := v_meta -> 'assignee';
  v_source_id jsonb := rest_conversation.conversation #> '{messages,0,conversation,contact_inbox,source_id}';
begin
  return (rest_conversation.conversation - 'contact_inbox')
    || jsonb_build_object('channel', v_meta -> 'channel',
      -- Absent means none here; and only bots tell what they are.
      'meta', (v_meta - 'assignee') || jsonb_build_object('team', v_meta -> 'team', 'assignee',
        case when v_assignee ->> 'id' is not null then v_assignee || jsonb_build_object('type',
          case v_meta ->> 'assignee_type' when 'AgentBot' then 'agent_bot' when 'Captain::Assistant' then 'captain_assistant'
            else coalesce(v_assignee ->> 'type', 'user') end) end))
    || case when v_source_id is not null
      then jsonb_build_object('contact_inbox', jsonb_build_object('source_id', v_source_id)) else '{}' end;
end
$$;
comment on function sync.rest_conversation is 'A conversation as REST shows it, in the shape of a webhook.';

create function sync.rest_merge_person(account_id bigint, kind text, id bigint, record jsonb, read_at timestamptz)
returns integer
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_is_changed boolean := false;
begin
  if rest_merge_person.kind = 'contact' then
    if chatwoot.is_news('chatwoot.contacts',
      jsonb_build_object('account_id', rest_merge_person.account_id, 'contact_id', rest_merge_person.id),
      rest_merge_person.record)
    then
      v_is_changed := chatwoot.merge_contact(rest_merge_person.account_id, rest_merge_person.id, rest_merge_person.record,
        rest_merge_person.read_at);
    end if;
    return (chatwoot.revive('contact', rest_merge_person.account_id, rest_merge_person.id, rest_merge_person.read_at)
      or v_is_changed)::integer;
  end if;
  if chatwoot.is_news('chatwoot.agents', jsonb_build_object('account_id', rest_merge_person.account_id,
    'kind', rest_merge_person.kind, 'agent_id', rest_merge_person.id), rest_merge_person.record)
  then
    v_is_changed := chatwoot.merge_agent(rest_merge_person.account_id, rest_merge_person.kind, rest_merge_person.id,
      rest_merge_person.record, rest_merge_person.read_at);
  end if;
  return v_is_changed::integer;
end
$$;
comment on function sync.rest_merge_person is 'Merges what REST showed of a contact or of somebody who answers; 1 when something changed, else 0.';

create function sync.rest_merge_message(account_id bigint, display_id bigint, message jsonb, read_at timestamptz)
returns integer
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_message_id bigint := (rest_merge_message.message ->> 'id')::bigint;
  -- Only the copy inside a conversation shows it.
  v_updated_at timestamptz := chatwoot.instant(rest_merge_message.message -> 'updated_at');
  v_status text := rest_merge_message.message ->> 'status';
  v_is_deleted boolean := coalesce(rest_merge_message.message #>> '{content_attributes,deleted}' = 'true', false);
begin
  if exists (
      select from chatwoot.messages as rows
      where rows.account_id = rest_merge_message.account_id and rows.message_id = v_message_id
        and (v_status is null or rows.delivery_status = v_status) and (rows.deleted_at is not null or not v_is_deleted))
    and not chatwoot.is_news('chatwoot.messages',
      jsonb_build_object('account_id', rest_merge_message.account_id, 'message_id', v_message_id),
      inbox.message_record(rest_merge_message.message, rest_merge_message.display_id, rest_merge_message.message -> 'inbox_id'))
  then
    return 0;
  end if;
  perform inbox.apply_message(rest_merge_message.account_id, rest_merge_message.message, rest_merge_message.display_id,
    rest_merge_message.message -> 'inbox_id',
    coalesce(chatwoot.read_version(v_updated_at, rest_merge_message.read_at), rest_merge_message.read_at),
    v_status, coalesce(v_updated_at, rest_merge_message.read_at), rest_merge_message.read_at);
  return 1;
end
$$;
comment on function sync.rest_merge_message is 'Merges a message as REST showed it, in a list or inside a conversation; 1 when it was news, else 0.';

create function sync.rest_merge_messages(account_id bigint, display_id bigint, answer jsonb, read_at timestamptz)
returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_changed bigint := 0;
  v_row record;
begin
  for v_row in
    select people.kind, people.id, people.record
    from inbox.people('{}', jsonb_build_object('messages', rest_merge_messages.answer -> 'payload',
      'meta', jsonb_build_object('sender', rest_merge_messages.answer #> '{meta,contact}'))) as people
  loop
    v_changed := v_changed + sync.rest_merge_person(rest_merge_messages.account_id, v_row.kind, v_row.id, v_row.record,
      rest_merge_messages.read_at);
  end loop;
  for v_row in
    select elements.message from jsonb_array_elements(rest_merge_messages.answer -> 'payload') as elements (message)
    order by (elements.message ->> 'id')::bigint
  loop
    v_changed := v_changed + sync.rest_merge_message(rest_merge_messages.account_id, rest_merge_messages.display_id,
      v_row.message, rest_merge_messages.read_at);
  end loop;
  return v_changed;
end
$$;
comment on function sync.rest_merge_messages is 'Merges a list of messages of a conversation that is there; returns how many rows changed.';

create function sync.rest_merge_conversations(account_id bigint, conversations jsonb[], read_at timestamptz)
returns bigint
-- Rows are taken in the order in which webhooks take them.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_given jsonb[] := array(select sync.rest_conversation(elements.conversation)
    from unnest(rest_merge_conversations.conversations) as elements (conversation));
  v_changed bigint := 0;
  v_whole chatwoot.conversations[];
  v_row record;
begin
  for v_row in
    select distinct (given.conversation #>> '{meta,team,id}')::bigint as team_id, given.conversation #> '{meta,team,name}' as name
    from unnest(v_given) as given (conversation)
    where given.conversation #>> '{meta,team,id}' is not null order by 1
  loop
    if chatwoot.is_news('chatwoot.teams',
      jsonb_build_object('account_id', rest_merge_conversations.account_id, 'team_id', v_row.team_id),
      jsonb_build_object('name', v_row.name))
    then
      v_changed := v_changed + chatwoot.merge_team(rest_merge_conversations.account_id, v_row.team_id,
        jsonb_build_object('name', v_row.name), rest_merge_conversations.read_at)::integer;
    end if;
  end loop;
  for v_row in
    select distinct people.kind, people.id, people.record, people.kind = 'contact' as is_contact
    from unnest(v_given) as given (conversation), inbox.people('{}', given.conversation) as people
    order by is_contact, people.kind, people.id, people.record
  loop
    v_changed := v_changed + sync.rest_merge_person(rest_merge_conversations.account_id, v_row.kind, v_row.id, v_row.record,
      rest_merge_conversations.read_at);
  end loop;
  v_whole := '{}';
  for v_row in
    select (given.conversation ->> 'id')::bigint as display_id, inbox.conversation_record(given.conversation) as record,
      chatwoot.instant(given.conversation -> 'updated_at') as updated_at
    from unnest(v_given) as given (conversation) order by 1
  loop
    if v_row.updated_at is not null and v_row.record ?& array['inbox_id', 'contact_id', 'channel', 'status', 'priority',
      'assignee_kind', 'assignee_id', 'team_id', 'labels', 'contact_source_id', 'additional_attributes',
      'custom_attributes', 'snoozed_until', 'waiting_since', 'first_reply_created_at', 'agent_last_seen_at',
      'contact_last_seen_at', 'last_activity_at', 'created_at']
    then
      v_whole := v_whole || jsonb_populate_record(null::chatwoot.conversations, v_row.record || jsonb_build_object(
        'account_id', rest_merge_conversations.account_id, 'display_id', v_row.display_id, 'version_at', v_row.updated_at));
    else
      if chatwoot.is_news('chatwoot.conversations', jsonb_build_object('account_id', rest_merge_conversations.account_id,
        'display_id', v_row.display_id), v_row.record)
      then
        v_changed := v_changed + chatwoot.merge_conversation(rest_merge_conversations.account_id, v_row.display_id,
          v_row.record, coalesce(chatwoot.read_version(v_row.updated_at, rest_merge_conversations.read_at),
            rest_merge_conversations.read_at))::integer;
      end if;
      v_changed := v_changed + chatwoot.revive('conversation', rest_merge_conversations.account_id, v_row.display_id,
        rest_merge_conversations.read_at)::integer;
    end if;
  end loop;
  v_changed := v_changed + chatwoot.merge_conversations(v_whole, rest_merge_conversations.read_at);
  -- The messages that come along are whole, which those of the list of messages are not.
  for v_row in
    select distinct on (nested.message_id) nested.message_id, nested.display_id, nested.message
    from (
      select (messages.message ->> 'id')::bigint as message_id, (given.conversation ->> 'id')::bigint as display_id,
        messages.message
      from unnest(v_given) as given (conversation), lateral (
        select elements.message
        from jsonb_array_elements(nullif(given.conversation -> 'messages', 'null')) as elements (message)
        union all
        select given.conversation -> 'last_non_activity_message'
      ) as messages
    ) as nested
    where nested.message_id is not null order by nested.message_id
  loop
    v_changed := v_changed + sync.rest_merge_message(rest_merge_conversations.account_id, v_row.display_id,
      v_row.message, rest_merge_conversations.read_at);
  end loop;
  perform chatwoot.merge_labels(rest_merge_conversations.account_id, (
    select jsonb_agg(distinct labels.title)
    from unnest(v_given) as given (conversation),
      jsonb_array_elements(nullif(given.conversation -> 'labels', 'null')) as labels (title)));
  return v_changed;
end
$$;
comment on function sync.rest_merge_conversations is 'Merges conversations as REST listed them, with the people and messages inside; returns how many rows changed.';

create function sync.rest_queue(account_id bigint, conversations jsonb[], priority smallint, as_of timestamptz)
returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  -- Perhaps merged into the other one.
  insert into sync.contact_checks (account_id, contact_id, due_at)
  select distinct rest_queue.account_id, reads.contact_id, rest_queue.as_of
  from unnest(rest_queue.conversations) as given (conversation)
  join sync.conversation_reads as reads on reads.account_id = rest_queue.account_id
    and reads.display_id = (given.conversation ->> 'id')::bigint
    and reads.contact_id <> (given.conversation #>> '{meta,sender,id}')::bigint
  order by 2
  on conflict do nothing;
  insert into sync.conversation_reads as existing
    (account_id, display_id, priority, due_at, source_updated_at, contact_id)
  select rest_queue.account_id, (given.conversation ->> 'id')::bigint, rest_queue.priority, rest_queue.as_of,
    -- Versions of Chatwoot before 4.0.2 show no updated_at.
    coalesce(chatwoot.instant(given.conversation -> 'updated_at'), chatwoot.instant(given.conversation -> 'last_activity_at')),
    (given.conversation #>> '{meta,sender,id}')::bigint
  from unnest(rest_queue.conversations) as given (conversation) order by 2
  on conflict on constraint conversation_reads_pkey do update set
    source_updated_at = greatest(existing.source_updated_at, excluded.source_updated_at),
    contact_id = excluded.contact_id, missing_since = null, is_show_due = false,
    priority = case when existing.due_at is null then excluded.priority else least(existing.priority, excluded.priority) end,
    due_at = case
      when excluded.source_updated_at > coalesce(existing.source_updated_at, '-infinity')
        or excluded.contact_id <> existing.contact_id or existing.missing_since is not null or existing.due_at is null
        then excluded.due_at
      else existing.due_at end,
    -- Contacts were merged, and every message of the one is now the other's.
    walk_after_message_id = case when excluded.contact_id <> existing.contact_id then 0
      else existing.walk_after_message_id end
  where excluded.source_updated_at > coalesce(existing.source_updated_at, '-infinity')
    or excluded.contact_id <> existing.contact_id or existing.missing_since is not null
    or (existing.due_at is null and excluded.source_updated_at > coalesce(existing.read_updated_at, '-infinity'));
end
$$;
comment on function sync.rest_queue is 'Notes that conversations were listed, and puts those that changed since they were read into the queue.';

create function sync.rest_apply_conversations(
  account_id bigint, conversations jsonb, read_at timestamptz, priority smallint, as_of timestamptz
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_given jsonb[] := array(select elements.conversation
    from jsonb_array_elements(rest_apply_conversations.conversations) as elements (conversation));
  v_changed bigint;
  v_one jsonb;
  v_refused integer := 0;
  v_state text;
begin
  begin
    v_changed := sync.rest_merge_conversations(rest_apply_conversations.account_id, v_given, rest_apply_conversations.read_at);
    perform sync.rest_queue(rest_apply_conversations.account_id, v_given, rest_apply_conversations.priority,
      rest_apply_conversations.as_of);
    return v_changed;
  exception when data_exception or integrity_constraint_violation then
    v_changed := 0;
  end;
  -- One that cannot be read must not keep the others out.
  foreach v_one in array v_given loop
    begin
      v_changed := v_changed + sync.rest_merge_conversations(rest_apply_conversations.account_id, array[v_one],
        rest_apply_conversations.read_at);
      perform sync.rest_queue(rest_apply_conversations.account_id, array[v_one], rest_apply_conversations.priority,
        rest_apply_conversations.as_of);
    exception when data_exception or integrity_constraint_violation then
      get stacked diagnostics v_state = returned_sqlstate;
      v_refused := v_refused + 1;
    end;
  end loop;
  if v_refused = cardinality(v_given) then
    raise exception 'None of the conversations can be read (%)', v_state using errcode = '22000';
  end if;
  perform sync.rest_count_refusals(rest_apply_conversations.account_id, 'wrong_shape', v_refused);
  return v_changed;
end
$$;
comment on function sync.rest_apply_conversations is
  'Merges listed conversations and queues those whose messages are to be read; returns how many rows changed. Raises when none can be read; those that cannot are counted.';

create function sync.rest_count_refusals(account_id bigint, kind text, number integer) returns void
language sql volatile security invoker set search_path = '' as $$
  update sync.sources as existing set refusals = existing.refusals || jsonb_build_object(rest_count_refusals.kind,
    coalesce((existing.refusals ->> rest_count_refusals.kind)::bigint, 0) + rest_count_refusals.number)
  where existing.account_id = rest_count_refusals.account_id and existing.door = 'rest'
$$;
comment on function sync.rest_count_refusals is 'Counts refused answers that do not make the source rest.';
