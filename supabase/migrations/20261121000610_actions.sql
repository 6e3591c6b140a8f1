-- The outbox: everything this project does in Chatwoot. Whoever decides puts an action here in the transaction of the
-- decision, and nothing is sent in it: the files after this one do. Chatwoot has no idempotency key, so that each action
-- carries a mark of its own, and what was left in doubt is looked for before it is sent again.
create schema actions;
comment on schema actions is 'The outbox to Chatwoot: notes, replies, assignments, labels, status, priority and attributes, each done once.';
revoke all on schema actions from public;
grant usage on schema actions to authenticated, service_role;

create table actions.outbox (
  account_id bigint not null,
  action_id bigint generated always as identity,
  display_id bigint not null,
  kind text not null,
  arguments jsonb not null,
  source text,
  mark uuid not null default gen_random_uuid(),
  state text not null default 'pending',
  created_at timestamptz not null,
  created_by text not null,
  attempts smallint not null default 0,
  first_attempted_at timestamptz,
  last_attempted_at timestamptz,
  next_attempt_at timestamptz not null,
  lease integer not null default 0,
  leased_until timestamptz,
  doubt_since timestamptz,
  floor_message_id bigint not null,
  request jsonb,
  message_id bigint,
  last_status smallint,
  problem text,
  hint text,
  settled_at timestamptz,
  constraint outbox_pkey primary key (account_id, action_id),
  constraint outbox_mark_key unique (account_id, mark),
  constraint outbox_account_id_positive check (account_id > 0),
  constraint outbox_kind_known check (kind in ('note', 'reply', 'assign_agent', 'assign_team', 'add_labels',
    'remove_labels', 'set_status', 'set_priority', 'set_custom_attributes')),
  constraint outbox_arguments_bounded check (jsonb_typeof(arguments) = 'object' and octet_length(arguments::text) <= 1000000),
  constraint outbox_texts_bounded check (length(source) between 1 and 200 and length(created_by) between 1 and 200
    and length(problem) <= 1000 and length(hint) <= 1000),
  constraint outbox_state_known check (state in ('pending', 'sending', 'sent', 'dry_run', 'dead', 'cancelled')),
  constraint outbox_settled_iff_over check ((state in ('pending', 'sending')) = (settled_at is null)),
  constraint outbox_leased_while_sending check ((state = 'sending') = (leased_until is not null)),
  -- Twelve tries, and then perhaps a last look.
  constraint outbox_attempts_bounded check (attempts between 0 and 13)
);
comment on table actions.outbox is 'Each action in Chatwoot: waiting, under way, done, given up or withdrawn. Its arguments never change.';
comment on column actions.outbox.account_id is 'Chatwoot''s account id.';
comment on column actions.outbox.action_id is 'Number of the action.';
comment on column actions.outbox.display_id is 'The conversation''s number.';
comment on column actions.outbox.kind is 'note, reply, assign_agent, assign_team, add_labels, remove_labels, set_status, set_priority or set_custom_attributes.';
comment on column actions.outbox.arguments is 'What to do, by kind: content; agent_id; team_id; labels; status and snoozed_until; priority; custom_attributes.';
comment on column actions.outbox.source is 'What it comes from, such as draft:7; null where a person asked for it directly.';
comment on column actions.outbox.mark is 'Travels with a message as content_attributes.occ_action, so that it is recognised in Chatwoot.';
comment on column actions.outbox.state is 'pending, sending (leased by a dispatcher), sent, dry_run (recorded and not sent), dead (given up) or cancelled.';
comment on column actions.outbox.created_at is 'When it was put here (UTC).';
comment on column actions.outbox.created_by is 'Who put it here, as in the decision log.';
comment on column actions.outbox.attempts is 'Tries so far, of at most 12; 13 stands for a last look.';
comment on column actions.outbox.first_attempted_at is 'When it was first tried (UTC); null for never.';
comment on column actions.outbox.last_attempted_at is 'When it was last tried (UTC): the claim, and once that is known the end of its last request; null for never.';
comment on column actions.outbox.next_attempt_at is 'Not tried before this instant (UTC).';
comment on column actions.outbox.lease is 'Counts the leases: a dispatcher with an older one has lost it.';
comment on column actions.outbox.leased_until is 'Until when it is a dispatcher''s own (UTC); null unless sending.';
comment on column actions.outbox.doubt_since is 'Since when it may have arrived without our knowing (UTC); null when it certainly has not, or certainly has.';
comment on column actions.outbox.floor_message_id is 'Newest message known in the conversation when it was put here, 0 for none: its own message is newer.';
comment on column actions.outbox.request is 'What was sent, or in a dry run would have been: method, path and body; null before.';
comment on column actions.outbox.message_id is 'Chatwoot''s id of the message it became; null for other kinds and before.';
comment on column actions.outbox.last_status is 'HTTP status of the last answer; null for none.';
comment on column actions.outbox.problem is 'What went wrong last, with Chatwoot''s own words where it refused; null for nothing. Never a secret.';
comment on column actions.outbox.hint is 'What to do about the problem.';
comment on column actions.outbox.settled_at is 'When it was over (UTC); null while it is not.';
-- Only what is not over is ever looked for, so these stay small.
create index outbox_due_idx on actions.outbox (account_id, next_attempt_at) where state in ('pending', 'sending');
create index outbox_turn_idx on actions.outbox (account_id, action_id) where state in ('pending', 'sending');
create index outbox_waiting_idx on actions.outbox (account_id, display_id, action_id) where state in ('pending', 'sending');
-- What was given up lately, however long the history.
create index outbox_dead_idx on actions.outbox (account_id, settled_at) where state = 'dead';
create index outbox_conversation_idx on actions.outbox (account_id, display_id, action_id);
create index outbox_source_idx on actions.outbox (account_id, source) where source is not null;
create unique index outbox_message_key on actions.outbox (account_id, message_id) where message_id is not null;

create table actions.accounts (
  account_id bigint not null,
  state text not null default 'active',
  problem text,
  hint text,
  problem_at timestamptz,
  failures integer not null default 0,
  retry_at timestamptz,
  agent_id bigint,
  checked_at timestamptz,
  checked_with text,
  tokens double precision not null default 0,
  refilled_at timestamptz,
  served_at timestamptz,
  constraint accounts_pkey primary key (account_id),
  constraint accounts_account_id_positive check (account_id > 0),
  constraint accounts_state_known check (state in ('active', 'stopped')),
  constraint accounts_texts_bounded check (length(problem) <= 1000 and length(hint) <= 1000)
);
comment on table actions.accounts is 'How the sending to each account''s Chatwoot stands.';
comment on column actions.accounts.account_id is 'Chatwoot''s account id.';
comment on column actions.accounts.state is 'active, or stopped until a person mends something.';
comment on column actions.accounts.problem is 'Why it is stopped or rests; null while all is well. Never a secret.';
comment on column actions.accounts.hint is 'What to do about the problem.';
comment on column actions.accounts.problem_at is 'Since when it has been so (UTC).';
comment on column actions.accounts.failures is 'Requests without a proper answer since the last that had one.';
comment on column actions.accounts.retry_at is 'Nothing is sent before this instant (UTC); null for at once.';
comment on column actions.accounts.agent_id is 'Who sends: the token''s owner in Chatwoot; null before the first request.';
comment on column actions.accounts.checked_at is 'When the address and the token were last tried by themselves (UTC).';
comment on column actions.accounts.checked_with is 'Which address and which keeping of the token that was; another one is tried anew.';
comment on column actions.accounts.tokens is 'Requests left of the rate budget at refilled_at.';
comment on column actions.accounts.refilled_at is 'When tokens was counted (UTC).';
comment on column actions.accounts.served_at is 'When it last had its turn (UTC), so that each has one.';

create function actions.refuse(problem text, hint text) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  raise exception '%', refuse.problem using errcode = 'OC422', hint = refuse.hint;
end
$$;
comment on function actions.refuse is 'Raises OC422 with these words.';

create function actions.read_arguments(account_id bigint, kind text, arguments jsonb, as_of timestamptz) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_given jsonb := read_arguments.arguments;
  v_expected text[] := case read_arguments.kind
    when 'note' then '{content}' when 'reply' then '{content}' when 'assign_agent' then '{agent_id}'
    when 'assign_team' then '{team_id}' when 'add_labels' then '{labels}' when 'remove_labels' then '{labels}'
    when 'set_status' then '{status,snoozed_until}' when 'set_priority' then '{priority}'
    when 'set_custom_attributes' then '{custom_attributes}' end::text[];
  v_name text := v_expected[1];
  v_value jsonb := v_given -> v_name;
  v_found text;
  v_until timestamptz;
begin
  if v_expected is null then
    perform actions.refuse(format('There is no action %s', coalesce(left(read_arguments.kind, 50), 'null')),
      'The kinds: note, reply, assign_agent, assign_team, add_labels, remove_labels, set_status, set_priority, set_custom_attributes.');
  end if;
  if coalesce(jsonb_typeof(v_given), '') <> 'object' or not v_given ? v_name
    or exists (select from jsonb_object_keys(v_given) as given (name) where given.name <> all (v_expected))
  then
    perform actions.refuse(format('The arguments of %s must be an object with %s', read_arguments.kind,
      array_to_string(v_expected, ' and perhaps ')), 'Such as {"content": "…"}, {"agent_id": 7} or {"labels": ["billing"]}.');
  end if;
  case read_arguments.kind
    when 'note', 'reply' then
      if jsonb_typeof(v_value) <> 'string' or length(v_value #>> '{}') > 150000 or (v_value #>> '{}') !~ '\S' then
        perform actions.refuse('content must be text of 1 to 150,000 characters', 'Chatwoot takes no more in one message.');
      end if;
      v_found := (select string_agg(distinct found.variable[1], ', ')
        -- Whatever else stands in such braces: Chatwoot takes it for a template of its own, and would leave a gap.
        from regexp_matches(v_value #>> '{}', '(\{\{[^{}]*\}\}|\{%)', 'g') as found (variable));
      -- Liquid also reads {{ {contact.name }}: whatever stands between two opening and two closing braces.
      if v_found is null and strpos(substr(v_value #>> '{}', nullif(strpos(v_value #>> '{}', '{{'), 0)), '}}') > 0 then
        v_found := '{{…}}';
      end if;
      -- A note stays inside, and may show what is still to be filled in.
      if v_found is not null and read_arguments.kind = 'reply' then
        perform actions.refuse(format('The reply still holds variables that nothing has filled: %s', left(v_found, 300)),
          'Write what is meant in their place.');
      end if;
    when 'assign_agent', 'assign_team' then
      if jsonb_typeof(v_value) <> 'null' and not (jsonb_typeof(v_value) = 'number'
        and v_value #>> '{}' ~ '^[1-9]\d{0,17}$')
      then
        perform actions.refuse(format('%s must be a whole number, or null for nobody', v_name), 'Chatwoot''s own id.');
      end if;
      -- Chatwoot takes an id that nobody has for nobody, and unassigns.
      if (v_name = 'agent_id' and jsonb_typeof(v_value) = 'number' and not exists (
          select from chatwoot.agents where agents.account_id = read_arguments.account_id and agents.kind = 'user'
            and agents.agent_id = (v_value #>> '{}')::bigint and agents.deleted_at is null))
        or (v_name = 'team_id' and jsonb_typeof(v_value) = 'number' and not exists (
          select from chatwoot.teams where teams.account_id = read_arguments.account_id
            and teams.team_id = (v_value #>> '{}')::bigint and teams.deleted_at is null))
      then
        raise exception 'Account % has no % %', read_arguments.account_id, replace(v_name, '_id', ''), v_value
          using errcode = 'OC404', hint = 'The ones there are: select * from analytics.agents, or analytics.teams.';
      end if;
    when 'add_labels', 'remove_labels' then
      if jsonb_typeof(v_value) <> 'array' or jsonb_array_length(v_value) not between 1 and 50 or exists (
        select from jsonb_array_elements(v_value) as labels (label)
        where jsonb_typeof(labels.label) <> 'string' or labels.label #>> '{}' !~ '^[^\s,[:cntrl:]]{1,255}$')
      then
        perform actions.refuse('labels must be 1 to 50 titles of 1 to 255 characters, without spaces and commas',
          'Such as ["billing", "vip"].');
      end if;
      v_given := jsonb_build_object('labels', (select jsonb_agg(labels.label order by labels.place)
        from (select elements.label, min(elements.place) as place
          from jsonb_array_elements(v_value) with ordinality as elements (label, place)
          group by elements.label) as labels));
    when 'set_status' then
      if coalesce(v_value #>> '{}', '') not in ('open', 'resolved', 'pending', 'snoozed') then
        perform actions.refuse('status must be open, resolved, pending or snoozed', 'As Chatwoot calls them.');
      end if;
      if coalesce(jsonb_typeof(v_given -> 'snoozed_until'), 'null') <> 'null' then
        begin
          v_until := (v_given ->> 'snoozed_until')::timestamptz;
        exception when data_exception then
          v_until := null;
        end;
        if v_value #>> '{}' <> 'snoozed' or v_until is null or v_until <= read_arguments.as_of
          or v_until > read_arguments.as_of + interval '10 years'
        then
          perform actions.refuse('snoozed_until must be an instant to come, within ten years, and goes with snoozed only',
            'Such as "2026-12-01T09:00:00Z".');
        end if;
      end if;
      v_given := jsonb_build_object('status', v_value) || case when v_until is null then '{}'
        else jsonb_build_object('snoozed_until', to_char(v_until at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) end;
    when 'set_priority' then
      if jsonb_typeof(v_value) <> 'null' and v_value #>> '{}' not in ('low', 'medium', 'high', 'urgent') then
        perform actions.refuse('priority must be low, medium, high, urgent or null', 'As Chatwoot calls them.');
      end if;
    else
      if jsonb_typeof(v_value) <> 'object' or octet_length(v_value::text) > 20000
        or (select count(*) from jsonb_object_keys(v_value)) not between 1 and 50 or exists (
          select from jsonb_each(v_value) as given (name, value)
          where jsonb_typeof(given.value) in ('object', 'array') or given.name !~ '^[^[:cntrl:]]{1,100}$')
      then
        perform actions.refuse('custom_attributes must be an object of 1 to 50 names with a text, number, boolean or null each',
          'Such as {"plan": "gold"}. All together at most 20,000 bytes.');
      end if;
  end case;
  return v_given;
end
$$;
comment on function actions.read_arguments is
  'The arguments of a kind of action in their normal form. Raises OC422 for what Chatwoot would not take, OC404 for agents and teams that are not there.';

create function actions.refuse_erased(account_id bigint, display_id bigint) returns void
-- Their words are gone: what was to be sent is, too, and what would be written now must not be kept.
language plpgsql stable security invoker set search_path = '' as $$
begin
  if exists (select from chatwoot.erased_conversations as erased
    where erased.account_id = refuse_erased.account_id and erased.display_id = refuse_erased.display_id)
  then
    raise exception 'The customer of conversation % was erased', refuse_erased.display_id using errcode = 'OC409',
      hint = 'Nothing is sent to them from here any more, whatever is overridden. Where they must be answered, write in Chatwoot.';
  end if;
end
$$;
comment on function actions.refuse_erased is 'Returns when the conversation is not of an erased customer (OC409).';

create function actions.enqueue(
  account_id bigint, display_id bigint, kind text, arguments jsonb, source text default null, as_of timestamptz default now()
) returns bigint
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_arguments jsonb;
  v_action_id bigint;
begin
  if not exists (
    select from chatwoot.conversations as mirrored where mirrored.account_id = enqueue.account_id
      and mirrored.display_id = enqueue.display_id and mirrored.deleted_at is null)
  then
    raise exception 'Account % has no conversation %', coalesce(enqueue.account_id::text, 'null'),
      coalesce(enqueue.display_id::text, 'null')
      using errcode = 'OC404', hint = 'The ones there are: select display_id from analytics.conversations.';
  end if;
  perform actions.refuse_erased(enqueue.account_id, enqueue.display_id);
  v_arguments := actions.read_arguments(enqueue.account_id, enqueue.kind, enqueue.arguments, enqueue.as_of);
  -- Something that goes round in circles must not fill a customer's screen.
  if (select count(*) from actions.outbox as waiting where waiting.account_id = enqueue.account_id
    and waiting.display_id = enqueue.display_id and waiting.state in ('pending', 'sending')) >= 100
  then
    raise exception 'A hundred actions already wait for conversation %', enqueue.display_id using errcode = 'OC409',
      hint = 'Look at what holds them up: select * from api.actions where state in (''pending'', ''sending'').';
  end if;
  insert into actions.accounts (account_id) values (enqueue.account_id) on conflict on constraint accounts_pkey do nothing;
  insert into actions.outbox (account_id, display_id, kind, arguments, source, created_at, created_by, next_attempt_at,
    floor_message_id)
  values (enqueue.account_id, enqueue.display_id, enqueue.kind, v_arguments, enqueue.source, enqueue.as_of,
    access.actor(), enqueue.as_of, coalesce((
      select max(messages.message_id) from chatwoot.messages where messages.account_id = enqueue.account_id
        and messages.conversation_display_id = enqueue.display_id), 0))
  returning outbox.action_id into v_action_id;
  perform audit.log(enqueue.account_id, 'action.enqueued', 'action:' || v_action_id, jsonb_build_object(
    'display_id', enqueue.display_id, 'kind', enqueue.kind, 'source', enqueue.source)
    || case when enqueue.kind in ('note', 'reply') then jsonb_build_object('characters', length(v_arguments ->> 'content'))
      when enqueue.kind = 'set_custom_attributes' then jsonb_build_object('names', (
        select jsonb_agg(given.name) from jsonb_object_keys(v_arguments -> 'custom_attributes') as given (name)))
      else v_arguments end, 'pending', as_of => enqueue.as_of);
  return v_action_id;
end
$$;
comment on function actions.enqueue is
  'Puts an action into the outbox and returns its number; logged. For other rooms, which check who may. Errors: OC404, OC409, OC422.';

create function actions.cancel(account_id bigint, action_id bigint, reason text, as_of timestamptz default now())
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_action actions.outbox;
begin
  -- Whoever sends it right now holds it, and it is too late.
  select * into v_action from actions.outbox as existing
  where existing.account_id = cancel.account_id and existing.action_id = cancel.action_id
    and existing.state = 'pending' and existing.doubt_since is null
  for no key update skip locked;
  if not found then
    return false;
  end if;
  update actions.outbox as existing set state = 'cancelled', settled_at = cancel.as_of, problem = left(cancel.reason, 500)
  where existing.account_id = cancel.account_id and existing.action_id = cancel.action_id;
  perform audit.log(cancel.account_id, 'action.cancelled', 'action:' || cancel.action_id, jsonb_build_object(
    'display_id', v_action.display_id, 'kind', v_action.kind, 'source', v_action.source, 'reason', left(cancel.reason, 500)),
    'cancelled', as_of => cancel.as_of);
  return true;
end
$$;
comment on function actions.cancel is
  'Withdraws an action that certainly has not reached Chatwoot; false when it is too late. Logged. For other rooms, which check who may.';

create function actions.is_mirrored(action actions.outbox) returns boolean
language sql stable security invoker set search_path = '' as $$
  select exists (select from chatwoot.messages as told
    where told.conversation_display_id = (is_mirrored.action).display_id and told.account_id = (is_mirrored.action).account_id
      and told.message_id > (is_mirrored.action).floor_message_id and told.deleted_at is null
      and told.content_attributes ->> 'occ_action' = (is_mirrored.action).mark::text)
$$;
comment on function actions.is_mirrored is 'Whether the message that the action became has been told by Chatwoot, whatever is known of its sending.';

create function actions.require_action(account_id bigint, action_id bigint) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  if not exists (select from actions.outbox as existing where existing.account_id = require_action.account_id
    and existing.action_id = require_action.action_id)
  then
    raise exception 'Account % has no action %', require_action.account_id, coalesce(require_action.action_id::text, 'null')
      using errcode = 'OC404', hint = 'The ones there are: select action_id, kind, state from api.actions.';
  end if;
end
$$;
comment on function actions.require_action is 'Returns when there is such an action (OC404).';

-- What people do. Definer, since nobody but these functions writes here.

create function actions.request(
  account_id bigint, display_id bigint, kind text, arguments jsonb, as_of timestamptz default now()
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(request.account_id, 'approver');
  return actions.enqueue(request.account_id, request.display_id, request.kind, request.arguments, null, request.as_of);
end
$$;
comment on function actions.request is
  'Puts an action into the outbox for a person and returns its number; logged. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function actions.withdraw(account_id bigint, action_id bigint, as_of timestamptz default now()) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(withdraw.account_id, 'approver');
  perform actions.require_action(withdraw.account_id, withdraw.action_id);
  return actions.cancel(withdraw.account_id, withdraw.action_id, 'Withdrawn by a person.', withdraw.as_of);
end
$$;
comment on function actions.withdraw is
  'Withdraws an action that certainly has not reached Chatwoot; false when it is too late. Logged. Approvers and above. Errors: OC403, OC404.';

create function actions.retry(account_id bigint, action_id bigint, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_action actions.outbox;
begin
  perform access.require_role(retry.account_id, 'approver');
  perform actions.require_action(retry.account_id, retry.action_id);
  -- Never waited for: whoever sends it may wait for what the caller holds, and then it is not over.
  select * into v_action from actions.outbox as existing
  where existing.account_id = retry.account_id and existing.action_id = retry.action_id for no key update skip locked;
  if not found or v_action.state not in ('dead', 'dry_run') then
    raise exception 'Action % is %, and only a dead one or one of a dry run is sent again', retry.action_id,
      coalesce(v_action.state, 'in somebody else''s hands at this moment')
      using errcode = 'OC409', hint = 'What is pending or sending goes on by itself.';
  end if;
  perform actions.refuse_erased(retry.account_id, v_action.display_id);
  -- What was left in doubt stays so, and what has come back from Chatwoot is: it is looked for first.
  update actions.outbox as existing set state = 'pending', settled_at = null, attempts = 0, first_attempted_at = null,
    next_attempt_at = retry.as_of, problem = null, hint = null, request = null,
    doubt_since = coalesce(existing.doubt_since, (select existing.created_at where actions.is_mirrored(existing)))
  where existing.account_id = retry.account_id and existing.action_id = retry.action_id;
  perform audit.log(retry.account_id, 'action.retried', 'action:' || retry.action_id, jsonb_build_object(
    'display_id', v_action.display_id, 'kind', v_action.kind, 'source', v_action.source, 'state', v_action.state,
    'problem', v_action.problem), 'pending', as_of => retry.as_of);
end
$$;
comment on function actions.retry is
  'Sends a dead action, or one of a dry run, again, with twelve new tries; logged. Approvers and above. Errors: OC403, OC404, OC409.';

create function actions.resume(account_id bigint, as_of timestamptz, actor text default null) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_before text;
begin
  select existing.state into v_before from actions.accounts as existing
  where existing.account_id = resume.account_id for no key update;
  update actions.accounts as existing set state = 'active', problem = null, hint = null, problem_at = null, failures = 0,
    retry_at = null, checked_at = null
  where existing.account_id = resume.account_id;
  if v_before is distinct from 'stopped' then
    return false;
  end if;
  perform ops.resolve_alert(resume.account_id, 'actions.stopped', 'sending', resume.as_of);
  perform audit.log(resume.account_id, 'sending.resumed', 'sending', '{}', 'done', actor => resume.actor,
    as_of => resume.as_of);
  return true;
end
$$;
comment on function actions.resume is 'Lets the sending go on at once; true when it was stopped, which is logged.';

create function actions.resume_sending(account_id bigint, as_of timestamptz default now()) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(resume_sending.account_id, 'admin');
  return actions.resume(resume_sending.account_id, resume_sending.as_of);
end
$$;
comment on function actions.resume_sending is
  'Lets a stopped sending go on, or ends its wait; true when it was stopped, which is logged. Admins only. Errors: OC403.';

do $$
declare
  v_table text;
  v_function regprocedure;
begin
  foreach v_table in array array['outbox', 'accounts'] loop
    execute format('alter table actions.%I enable row level security', v_table);
    execute format($policy$create policy "Members read their accounts' rows" on actions.%I
      for select to authenticated using (account_id = any (array(select access.my_account_ids())))$policy$, v_table);
    execute format('create policy "Analysts read all rows" on actions.%I for select to analyst using (true)', v_table);
    execute format('grant select on actions.%I to authenticated, analyst, service_role', v_table);
  end loop;
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions where functions.pronamespace = 'actions'::regnamespace
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function actions.request, actions.withdraw, actions.resume_sending to authenticated, service_role;
