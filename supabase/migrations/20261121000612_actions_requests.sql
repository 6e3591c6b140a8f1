-- What is asked of Chatwoot for an action, and what the answers mean. Nothing here writes a row: the file before this one
-- notes what became of it.
create function actions.compose(action actions.outbox, shown jsonb, out path text, out content jsonb)
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_given jsonb := (compose.action).arguments;
begin
  path := format('/api/v1/accounts/%s/conversations/%s/', (compose.action).account_id, (compose.action).display_id)
    || case (compose.action).kind
      when 'note' then 'messages' when 'reply' then 'messages' when 'assign_agent' then 'assignments'
      when 'assign_team' then 'assignments' when 'add_labels' then 'labels' when 'remove_labels' then 'labels'
      when 'set_status' then 'toggle_status' when 'set_priority' then 'toggle_priority' else 'custom_attributes' end;
  content := case (compose.action).kind
    when 'note' then jsonb_build_object('content', v_given -> 'content', 'message_type', 'outgoing', 'private', true,
      'content_attributes', jsonb_build_object('occ_action', (compose.action).mark))
    when 'reply' then jsonb_build_object('content', v_given -> 'content', 'message_type', 'outgoing', 'private', false,
      'content_attributes', jsonb_build_object('occ_action', (compose.action).mark))
    when 'assign_agent' then jsonb_build_object('assignee_id', v_given -> 'agent_id')
    when 'assign_team' then v_given
    -- Chatwoot replaces the whole list, and the whole object.
    when 'add_labels' then jsonb_build_object('labels', (
      select jsonb_agg(each.label order by each.place) from (
        select wanted.label, min(wanted.place) as place
        from jsonb_array_elements(coalesce(compose.shown -> 'labels', '[]') || (v_given -> 'labels')) with ordinality
          as wanted (label, place)
        group by wanted.label) as each))
    when 'remove_labels' then jsonb_build_object('labels', coalesce((
      select jsonb_agg(each.label order by each.place)
      from jsonb_array_elements(coalesce(compose.shown -> 'labels', '[]')) with ordinality as each (label, place)
      where not (v_given -> 'labels') @> jsonb_build_array(each.label)), '[]'))
    when 'set_status' then jsonb_build_object('status', v_given -> 'status')
      || case when v_given ? 'snoozed_until' then jsonb_build_object('snoozed_until',
        extract(epoch from (v_given ->> 'snoozed_until')::timestamptz)::bigint) else '{}' end
    when 'set_priority' then v_given
    else jsonb_build_object('custom_attributes', coalesce(compose.shown -> 'custom_attributes', '{}')
      || (v_given -> 'custom_attributes')) end;
end
$$;
comment on function actions.compose is 'The request that does the action, where the conversation is as shown.';

create function actions.is_so(action actions.outbox, shown jsonb) returns boolean
language sql stable security invoker set search_path = '' as $$
  select coalesce(case (is_so.action).kind
    when 'assign_agent' then coalesce(is_so.shown #> '{meta,assignee,id}', 'null') = (is_so.action).arguments -> 'agent_id'
      and coalesce(is_so.shown #>> '{meta,assignee_type}', 'User') = 'User'
    when 'assign_team' then coalesce(is_so.shown #> '{meta,team,id}', 'null') = (is_so.action).arguments -> 'team_id'
    when 'add_labels' then is_so.shown -> 'labels' @> ((is_so.action).arguments -> 'labels')
    when 'remove_labels' then not exists (select from jsonb_array_elements(is_so.shown -> 'labels') as labels (label)
      where (is_so.action).arguments -> 'labels' @> jsonb_build_array(labels.label))
    when 'set_status' then is_so.shown -> 'status' = (is_so.action).arguments -> 'status'
      -- Until when, it may be told again.
      and is_so.shown ->> 'status' <> 'snoozed'
    when 'set_priority' then coalesce(is_so.shown -> 'priority', 'null') = (is_so.action).arguments -> 'priority'
    when 'set_custom_attributes' then is_so.shown -> 'custom_attributes' @> ((is_so.action).arguments -> 'custom_attributes')
  end, false)
$$;
comment on function actions.is_so is 'Whether the conversation, as REST shows it, already is as the action would make it.';

create function actions.is_own(action actions.outbox, agent_id bigint, message jsonb) returns boolean
language sql stable security invoker set search_path = '' as $$
  select coalesce(is_own.message #>> '{content_attributes,occ_action}' = (is_own.action).mark::text, false)
    -- A Chatwoot that does not keep the mark: the very text by the same agent, which no other action has become.
    or coalesce(is_own.message #>> '{content_attributes,occ_action}' is null
      and is_own.message ->> 'message_type' in ('1', 'outgoing')
      and is_own.message -> 'private' = to_jsonb((is_own.action).kind = 'note')
      and is_own.message #>> '{sender,type}' = 'user' and is_own.message #>> '{sender,id}' = is_own.agent_id::text
      and btrim(replace(is_own.message ->> 'content', E'\r\n', E'\n'), E' \t\n')
        = btrim(replace((is_own.action).arguments ->> 'content', E'\r\n', E'\n'), E' \t\n')
      and (is_own.message ->> 'created_at')::numeric >= extract(epoch from (is_own.action).doubt_since) - 300
      and not exists (select from actions.outbox as others where others.account_id = (is_own.action).account_id
        and others.message_id = (is_own.message ->> 'id')::bigint), false)
$$;
comment on function actions.is_own is 'Whether a message, as REST lists it, is what the action became.';

create function actions.look_for_message(
  action actions.outbox, agent_id bigint, as_of timestamptz, until timestamptz,
  out kind text, out status integer, out problem text, out hint text, out words text, out message_id bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_path text := format('/api/v1/accounts/%s/conversations/%s/messages', (look_for_message.action).account_id,
    (look_for_message.action).display_id);
  v_after bigint := (look_for_message.action).floor_message_id;
  v_answer record;
begin
  for v_page in 1..20 loop
    v_answer := sync.rest_request((look_for_message.action).account_id, 'GET', v_path, 'after=' || v_after, '{payload}',
      look_for_message.as_of, look_for_message.until);
    kind := v_answer.kind;
    status := v_answer.status;
    if kind is not null then
      problem := v_answer.problem;
      hint := v_answer.hint;
      words := v_answer.words;
      return;
    end if;
    select (messages.message ->> 'id')::bigint into message_id
    from jsonb_array_elements(v_answer.body -> 'payload') as messages (message)
    where actions.is_own(look_for_message.action, look_for_message.agent_id, messages.message)
    order by messages.message #>> '{content_attributes,occ_action}' is null, (messages.message ->> 'id')::bigint limit 1;
    exit when message_id is not null or jsonb_array_length(v_answer.body -> 'payload') < 100;
    v_after := (select max((messages.message ->> 'id')::bigint)
      from jsonb_array_elements(v_answer.body -> 'payload') as messages (message));
    if v_page = 20 then
      kind := 'too_large';
      problem := 'The conversation has had more than 2,000 messages since, too many to look through.';
      hint := 'Look in Chatwoot whether the message is there; if it is not: select api.retry_action(…).';
    end if;
  end loop;
end
$$;
comment on function actions.look_for_message is
  'Looks through the messages that came after the action was put into the outbox: message_id when it is there. kind and the rest when that could not be found out.';

create function actions.check_source(
  account_id bigint, as_of timestamptz, until timestamptz,
  out kind text, out status integer, out problem text, out hint text, out words text, out agent_id bigint
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_answer record;
begin
  -- Without the token first: a redirect would take it along.
  v_answer := sync.rest_request(check_source.account_id, 'HEAD', '/api/v1/profile', null, null, check_source.as_of,
    check_source.until);
  if coalesce(v_answer.kind, 'unauthorized') not in ('no_token', 'base_url', 'redirected', 'timeout', 'transport',
    'server_error', 'throttled')
  then
    v_answer := sync.rest_request(check_source.account_id, 'GET', '/api/v1/profile', null, null, check_source.as_of,
      check_source.until);
  end if;
  kind := v_answer.kind;
  status := v_answer.status;
  problem := v_answer.problem;
  hint := v_answer.hint;
  words := v_answer.words;
  agent_id := case when v_answer.body ->> 'id' ~ '^[1-9]\d{0,17}$' then (v_answer.body ->> 'id')::bigint end;
end
$$;
comment on function actions.check_source is
  'Tries the address without the token and then with it: agent_id is the token''s owner. kind and the rest when it does not work.';

create function actions.perform(
  action actions.outbox, is_in_doubt boolean, is_dry boolean, as_of timestamptz, until timestamptz,
  out stage text, out kind text, out status integer, out problem text, out hint text, out words text, out request jsonb,
  out message_id bigint, out agent_id bigint, out is_checked boolean, out version text
)
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_account actions.accounts;
  v_is_message boolean := (perform.action).kind in ('note', 'reply');
  v_found jsonb;
  v_answer record;
  v_request record;
  -- One that is given too little time only leaves doubt.
  c_least constant interval := interval '5 seconds';
  -- Whoever looks when the lease has ended must find what was sent under it, and Chatwoot may take fifteen seconds.
  c_last constant timestamptz := clock_timestamp() + ((perform.action).leased_until - perform.as_of) - interval '20 seconds';
begin
  is_checked := false;
  if is_dry and not is_in_doubt then
    stage := 'dry_run';
    -- As the mirror has it, since nothing is asked of Chatwoot.
    v_request := actions.compose(action, (
      select jsonb_build_object('labels', to_jsonb(coalesce(mirrored.labels, '{}'::text[])),
        'custom_attributes', coalesce(mirrored.custom_attributes, '{}'))
      from chatwoot.conversations as mirrored
      where mirrored.account_id = (perform.action).account_id and mirrored.display_id = (perform.action).display_id));
    request := jsonb_build_object('method', 'POST', 'path', v_request.path, 'body', v_request.content);
    return;
  end if;

  stage := 'check';
  version := actions.source_version((perform.action).account_id);
  select * into v_account from actions.accounts where accounts.account_id = (perform.action).account_id;
  agent_id := v_account.agent_id;
  if v_account.failures > 0 or v_account.checked_with is distinct from version
    or coalesce(v_account.checked_at < perform.as_of - interval '1 hour', true)
  then
    v_answer := actions.check_source((perform.action).account_id, perform.as_of,
      greatest(perform.until, clock_timestamp() + c_least));
    kind := v_answer.kind;
    status := v_answer.status;
    problem := v_answer.problem;
    hint := v_answer.hint;
    words := v_answer.words;
    if kind is not null then
      return;
    end if;
    is_checked := true;
    agent_id := v_answer.agent_id;
  end if;

  stage := 'look';
  if v_is_message and is_in_doubt then
    v_answer := actions.look_for_message(action, agent_id, perform.as_of,
      greatest(perform.until, clock_timestamp() + c_least));
    kind := v_answer.kind;
    status := v_answer.status;
    problem := v_answer.problem;
    hint := v_answer.hint;
    words := v_answer.words;
    message_id := v_answer.message_id;
    if kind is not null or message_id is not null then
      return;
    end if;
  elsif is_in_doubt or (perform.action).kind in ('add_labels', 'remove_labels', 'set_custom_attributes') then
    v_answer := sync.rest_request((perform.action).account_id, 'GET', format('/api/v1/accounts/%s/conversations/%s',
      (perform.action).account_id, (perform.action).display_id), null, null, perform.as_of,
      greatest(perform.until, clock_timestamp() + c_least));
    kind := v_answer.kind;
    status := v_answer.status;
    problem := v_answer.problem;
    hint := v_answer.hint;
    words := v_answer.words;
    v_found := v_answer.body;
    if kind is not null or actions.is_so(action, v_found) then
      return;
    end if;
    if jsonb_typeof(v_found -> 'labels') is distinct from 'array'
      or coalesce(jsonb_typeof(v_found -> 'custom_attributes'), 'null') not in ('object', 'null')
    then
      -- What is there would be lost.
      kind := 'wrong_shape';
      problem := 'Chatwoot shows the conversation without its labels or attributes, which may not be written over.';
      hint := 'It is tried again by itself. If it stays so, report it with the version of your Chatwoot.';
      return;
    end if;
    v_found := v_found || jsonb_build_object('custom_attributes',
      coalesce(nullif(v_found -> 'custom_attributes', 'null'), '{}'));
  end if;

  v_request := actions.compose(action, v_found);
  request := jsonb_build_object('method', 'POST', 'path', v_request.path, 'body', v_request.content);
  if is_dry then
    stage := 'dry_run';
    return;
  end if;
  if (perform.action).attempts > 12 then
    kind := 'exhausted';
    return;
  end if;

  if clock_timestamp() > c_last then
    kind := 'timeout';
    problem := 'After the claim and the looking too little of the lease was left to send: Chatwoot or the database is slow.';
    hint := 'It is tried again by itself. If it stays so, look at how the two servers are doing.';
    return;
  end if;
  -- Once more, as looking may have taken long.
  if ops.setting((perform.action).account_id, 'sending') <> '"on"' then
    stage := 'off';
    return;
  end if;
  stage := 'send';
  v_answer := sync.rest_request((perform.action).account_id, 'POST', v_request.path, null, null, perform.as_of,
    greatest(perform.until, clock_timestamp() + c_least), v_request.content);
  kind := v_answer.kind;
  status := v_answer.status;
  problem := v_answer.problem;
  hint := v_answer.hint;
  words := v_answer.words;
  if kind is not null then
    return;
  end if;
  if v_is_message then
    if coalesce(v_answer.body ->> 'id', '') !~ '^[1-9]\d{0,17}$' then
      kind := 'wrong_shape';
      problem := 'Chatwoot''s answer does not say which message it made.';
      hint := 'It is looked for by itself. If it stays so, open the base URL in a browser: is it Chatwoot that answers?';
    else
      message_id := (v_answer.body ->> 'id')::bigint;
    end if;
  elsif not actions.is_kept(action, v_answer.body) then
    kind := 'not_kept';
    problem := case (perform.action).kind
      when 'assign_agent' then 'Chatwoot does not know the agent and left the conversation to nobody.'
      when 'assign_team' then 'Chatwoot does not know the team and left the conversation to none.'
      else 'Chatwoot answered that the conversation is otherwise than it was told.' end;
    hint := 'Look at the conversation in Chatwoot.';
  end if;
end
$$;
comment on function actions.perform is
  'Does the action: tries the source where that is due, looks whether it is done already where that is in doubt, and sends. stage tells how far it came (dry_run, check, look, off, send), kind is null when all went well.';

create function actions.is_kept(action actions.outbox, answer jsonb) returns boolean
language sql stable security invoker set search_path = '' as $$
  select coalesce(case (is_kept.action).kind
    when 'assign_agent' then (is_kept.action).arguments -> 'agent_id' = 'null'
      or is_kept.answer -> 'id' = (is_kept.action).arguments -> 'agent_id'
    when 'assign_team' then (is_kept.action).arguments -> 'team_id' = 'null'
      or is_kept.answer -> 'id' = (is_kept.action).arguments -> 'team_id'
    -- Chatwoot writes titles its own way.
    when 'add_labels' then lower((is_kept.answer -> 'payload')::text)::jsonb
      @> lower(((is_kept.action).arguments -> 'labels')::text)::jsonb
    when 'remove_labels' then jsonb_typeof(is_kept.answer -> 'payload') = 'array'
      and not exists (select from jsonb_array_elements(is_kept.answer -> 'payload') as labels (label)
        where (is_kept.action).arguments -> 'labels' @> jsonb_build_array(labels.label))
    when 'set_status' then is_kept.answer #> '{payload,current_status}' = (is_kept.action).arguments -> 'status'
    when 'set_custom_attributes' then is_kept.answer -> 'custom_attributes' @> ((is_kept.action).arguments -> 'custom_attributes')
    else true end, false)
$$;
comment on function actions.is_kept is 'Whether Chatwoot''s answer to a change says what was asked for.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'actions'::regnamespace
      and functions.proname not in ('request', 'withdraw', 'retry', 'resume_sending')
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
