-- Chatwoot's canned responses, taken over as proposals. They are given as Chatwoot's API lists them, or fetched from there.
create table replies.canned_fetches (
  account_id bigint not null,
  state text not null,
  requested_at timestamptz not null,
  requested_by text not null,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null,
  settled_at timestamptz,
  problem text,
  hint text,
  result jsonb,
  constraint canned_fetches_pkey primary key (account_id),
  constraint canned_fetches_state_known check (state in ('waiting', 'done', 'failed')),
  constraint canned_fetches_settled_iff_over check ((state = 'waiting') = (settled_at is null)),
  constraint canned_fetches_texts_bounded check (length(problem) <= 500 and length(hint) <= 500)
);
comment on table replies.canned_fetches is 'Where canned responses were asked for, and what became of it: one row an account, the last time.';
comment on column replies.canned_fetches.account_id is 'Chatwoot''s account id.';
comment on column replies.canned_fetches.state is 'waiting, done or failed.';
comment on column replies.canned_fetches.requested_at is 'When it was asked for (UTC).';
comment on column replies.canned_fetches.requested_by is 'Who asked, as in the decision log; they count as who proposed.';
comment on column replies.canned_fetches.attempts is 'How often Chatwoot was asked.';
comment on column replies.canned_fetches.next_attempt_at is 'When it is asked next (UTC).';
comment on column replies.canned_fetches.settled_at is 'When it was over (UTC); null while it waits.';
comment on column replies.canned_fetches.problem is 'Why there is no answer; null for none.';
comment on column replies.canned_fetches.hint is 'What to do about it; null for nothing known.';
comment on column replies.canned_fetches.result is 'What was imported: {proposed, changed, unchanged, refused}; null while there is none.';
create index canned_fetches_waiting_idx on replies.canned_fetches (next_attempt_at) where state = 'waiting';
alter table replies.canned_fetches enable row level security;

create function replies.translate_variables(body text) returns text
-- Chatwoot's variables that we have under another name. A default in a filter is dropped: without a value, the reply is
-- held back. All else stays as it is, and is refused at approval.
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  c_same constant text := '(contact\.(?:first_name|last_name|name|email)|conversation\.id|agent\.(?:first_name|name)|inbox\.name|account\.name)';
  c_rest constant text := '\s*(?:\|\s*default\s*:\s*(?:''[^''{}]*''|"[^"{}]*")\s*)?\}\}';
  v_body text := translate_variables.body;
begin
  v_body := regexp_replace(v_body, '\{\{\s*' || c_same || c_rest, '{{\1}}', 'g');
  v_body := regexp_replace(v_body, '\{\{\s*contact\.phone(?:_number)?' || c_rest, '{{contact.phone_number}}', 'g');
  v_body := regexp_replace(v_body, '\{\{\s*conversation\.display_id' || c_rest, '{{conversation.id}}', 'g');
  return regexp_replace(v_body, '\{\{\s*(?:contact|conversation)\.custom_attributes?\.([a-z0-9_]{1,100})' || c_rest,
    '{{custom.\1}}', 'g');
end
$$;
comment on function replies.translate_variables is 'The text with Chatwoot''s variables as ours, where we have the like.';

create function replies.import_canned_response(account_id bigint, response jsonb, actor text, as_of timestamptz) returns text
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_id numeric;
  v_proposal jsonb;
  v_read jsonb;
  v_hash bytea;
  v_key replies.proposal_keys;
  v_status text;
  v_origin_key text;
  v_proposed record;
begin
  if coalesce(jsonb_typeof(import_canned_response.response -> 'id'), '') = 'number' then
    v_id := (import_canned_response.response ->> 'id')::numeric;
  end if;
  if v_id is null or v_id <> trunc(v_id) or v_id not between 1 and 9223372036854775807 then
    raise exception 'A canned response must have an id' using errcode = 'OC422',
      hint = 'Give the rows as Chatwoot''s API lists them: {"id", "short_code", "content"}.';
  end if;
  if coalesce(jsonb_typeof(import_canned_response.response -> 'content'), '') <> 'string' then
    raise exception 'content must be text' using errcode = 'OC422',
      hint = 'Give the rows as Chatwoot''s API lists them: {"id", "short_code", "content"}.';
  end if;
  v_proposal := jsonb_build_object(
    'title', coalesce(nullif(left(trim(import_canned_response.response ->> 'short_code'), 200), ''), 'Canned response ' || v_id::bigint),
    'body', left(import_canned_response.response ->> 'content', 20001));
  -- Nobody is there to remove what nobody sees.
  v_proposal := jsonb_build_object(
    'title', regexp_replace(regexp_replace(v_proposal ->> 'title', replies.unwanted_characters(), '', 'g'), '\s+', ' ', 'g'),
    'body', replies.translate_variables(regexp_replace(v_proposal ->> 'body', replies.unwanted_characters(), '', 'g')));
  v_origin_key := 'canned_response:' || v_id::bigint;
  select * into v_key from replies.proposal_keys as existing
  where existing.account_id = import_canned_response.account_id and existing.origin_key = v_origin_key;
  if not found then
    v_proposed := replies.propose_gold_reply(import_canned_response.account_id, v_proposal, 'canned_response', v_origin_key,
      import_canned_response.as_of, import_canned_response.actor);
    return case when v_proposed.is_new then 'proposed' else 'unchanged' end;
  end if;
  v_read := replies.read_gold_reply(v_proposal);
  v_hash := replies.proposal_hash(v_read, v_proposal);
  if v_key.content_hash = v_hash then
    return 'unchanged';
  end if;
  select existing.status into v_status from replies.gold_replies as existing
  where existing.account_id = import_canned_response.account_id and existing.gold_reply_id = v_key.gold_reply_id
  for no key update;
  if v_status <> 'proposed' then
    -- What a person has decided about stays as it is: the new text is a proposal of its own.
    delete from replies.proposal_keys as existing
    where existing.account_id = import_canned_response.account_id and existing.origin_key = v_origin_key;
    v_proposed := replies.propose_gold_reply(import_canned_response.account_id, v_proposal, 'canned_response', v_origin_key,
      import_canned_response.as_of, import_canned_response.actor);
    return case when v_proposed.is_new then 'proposed' else 'unchanged' end;
  end if;
  perform replies.change_gold_reply(import_canned_response.account_id, v_key.gold_reply_id,
    -- What people have added meanwhile is kept.
    v_read || (select jsonb_build_object('category', existing.category, 'tags', existing.tags, 'questions', existing.questions,
        'channels', existing.channels, 'language', coalesce(v_read ->> 'language', existing.language))
      from replies.gold_replies as existing
      where existing.account_id = import_canned_response.account_id and existing.gold_reply_id = v_key.gold_reply_id),
    import_canned_response.actor, import_canned_response.as_of);
  update replies.gold_replies as existing set content_hash = v_hash
  where existing.account_id = import_canned_response.account_id and existing.gold_reply_id = v_key.gold_reply_id;
  update replies.proposal_keys as existing set content_hash = v_hash, proposed_at = import_canned_response.as_of
  where existing.account_id = import_canned_response.account_id and existing.origin_key = v_origin_key;
  return 'changed';
end
$$;
comment on function replies.import_canned_response is
  'Takes over one canned response: proposed, changed (a new version of what is still proposed) or unchanged. Errors: OC422.';

create function replies.take_canned_responses(account_id bigint, responses jsonb, actor text, as_of timestamptz) returns jsonb
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_response jsonb;
  v_outcome text;
  v_counts jsonb := '{"proposed": 0, "changed": 0, "unchanged": 0}'::jsonb;
  v_refused jsonb[] := '{}'::jsonb[];
  v_message text;
begin
  if coalesce(jsonb_typeof(take_canned_responses.responses), '') <> 'array'
    or jsonb_array_length(take_canned_responses.responses) > 5000
  then
    raise exception 'responses must be an array of up to 5000 canned responses' using errcode = 'OC422',
      hint = 'Give the rows as Chatwoot''s API lists them: [{"id": 1, "short_code": "refund", "content": "…"}].';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('replies.propose', take_canned_responses.account_id));
  for v_response in select elements.response from jsonb_array_elements(take_canned_responses.responses) as elements (response) loop
    begin
      v_outcome := replies.import_canned_response(take_canned_responses.account_id, v_response, take_canned_responses.actor,
        take_canned_responses.as_of);
      v_counts := v_counts || jsonb_build_object(v_outcome, (v_counts ->> v_outcome)::integer + 1);
    exception when sqlstate 'OC422' then
      -- One that cannot be kept must not keep the others out.
      get stacked diagnostics v_message = message_text;
      if cardinality(v_refused) < 100 then
        v_refused := v_refused || jsonb_build_object('id', case when jsonb_typeof(v_response -> 'id') = 'number'
          and length(v_response ->> 'id') < 20 then v_response -> 'id' end, 'message', v_message);
      end if;
    end;
  end loop;
  v_counts := v_counts || jsonb_build_object('refused', to_jsonb(v_refused));
  perform audit.log(take_canned_responses.account_id, 'canned_responses.imported', 'canned_responses', v_counts, 'done',
    take_canned_responses.actor, as_of => take_canned_responses.as_of);
  return v_counts;
end
$$;
comment on function replies.take_canned_responses is
  'Takes over canned responses and logs how many were proposed, changed, unchanged, and which were refused and why. Errors: OC422.';

create function replies.import_canned_responses(account_id bigint, responses jsonb default null, as_of timestamptz default now())
returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(import_canned_responses.account_id, 'approver');
  if import_canned_responses.responses is not null then
    return replies.take_canned_responses(import_canned_responses.account_id, import_canned_responses.responses, access.actor(),
      import_canned_responses.as_of);
  end if;
  if not exists (
    select from sync.sources where sources.account_id = import_canned_responses.account_id and sources.door = 'rest'
      and sources.base_url is not null)
  then
    raise exception 'It is not known where the Chatwoot of account % is', import_canned_responses.account_id
      using errcode = 'OC409', hint = 'Set it (select api.set_rest_source(…), api.set_sync_token(…)), or give the responses themselves.';
  end if;
  insert into replies.canned_fetches as existing (account_id, state, requested_at, requested_by, next_attempt_at)
  values (import_canned_responses.account_id, 'waiting', import_canned_responses.as_of, access.actor(),
    import_canned_responses.as_of)
  on conflict on constraint canned_fetches_pkey do update
  set state = 'waiting', requested_at = excluded.requested_at, requested_by = excluded.requested_by, attempts = 0,
    next_attempt_at = excluded.next_attempt_at, settled_at = null, problem = null, hint = null, result = null;
  return '{"state": "waiting"}'::jsonb;
end
$$;
comment on function replies.import_canned_responses is
  'Takes over the given canned responses, or has them fetched from Chatwoot; logged. Approvers only. Errors: OC403, OC409, OC422.';

create function replies.fetch_canned_of(account_id bigint, as_of timestamptz, until timestamptz) returns boolean
-- One request and all that follows from it. No row is held while Chatwoot is waited for.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_fetch replies.canned_fetches;
  v_answer record;
  v_result jsonb;
  v_is_final boolean;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('replies.fetch_canned', fetch_canned_of.account_id)) then
    return false;
  end if;
  select * into v_fetch from replies.canned_fetches as existing where existing.account_id = fetch_canned_of.account_id;
  if v_fetch.state is distinct from 'waiting' or v_fetch.next_attempt_at > fetch_canned_of.as_of then
    return false;
  end if;
  v_answer := sync.rest_request(fetch_canned_of.account_id, 'GET',
    format('/api/v1/accounts/%s/canned_responses', fetch_canned_of.account_id), null, '{}'::text[], fetch_canned_of.as_of,
    fetch_canned_of.until);
  if v_answer.kind is null then
    begin
      v_result := replies.take_canned_responses(fetch_canned_of.account_id, v_answer.body, v_fetch.requested_by,
        fetch_canned_of.as_of);
    exception when sqlstate 'OC422' then
      v_answer.kind := 'too_many';
      v_answer.problem := 'Chatwoot lists more than 5000 canned responses.';
      v_answer.hint := 'Give them in parts: select api.import_canned_responses(account_id, responses).';
    end;
  end if;
  v_is_final := v_answer.kind is null or v_fetch.attempts >= 11
    or v_answer.kind in ('no_token', 'base_url', 'unauthorized', 'forbidden', 'missing', 'redirected', 'too_many', 'too_large');
  update replies.canned_fetches as existing set attempts = existing.attempts + 1,
    state = case when v_answer.kind is null then 'done' when v_is_final then 'failed' else 'waiting' end,
    settled_at = case when v_is_final then fetch_canned_of.as_of end,
    next_attempt_at = fetch_canned_of.as_of + least(interval '1 minute' * 2 ^ v_fetch.attempts, interval '6 hours'),
    problem = left(v_answer.problem, 500), hint = left(v_answer.hint, 500), result = v_result
  where existing.account_id = fetch_canned_of.account_id
    -- Asked for anew meanwhile: that one is still to be done.
    and existing.requested_at = v_fetch.requested_at;
  return v_answer.kind is null;
end
$$;
comment on function replies.fetch_canned_of is 'Fetches and takes over the canned responses of an account, where they are asked for and due; true when it did.';

create procedure replies.fetch_canned(as_of timestamptz default null, budget interval default '20 seconds')
-- Commits after each account, so nothing is set for the whole of it and every name is written out.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_account bigint;
begin
  foreach v_account in array array(
    select fetches.account_id from replies.canned_fetches as fetches
    where fetches.state = 'waiting' and fetches.next_attempt_at <= coalesce(fetch_canned.as_of, pg_catalog.clock_timestamp())
    order by fetches.next_attempt_at, fetches.account_id)
  loop
    exit when pg_catalog.clock_timestamp() >= v_end;
    perform replies.fetch_canned_of(v_account, coalesce(fetch_canned.as_of, pg_catalog.clock_timestamp()), v_end);
    commit;
  end loop;
end
$$;
comment on procedure replies.fetch_canned is
  'Fetches the canned responses that are asked for, one account after the other, within the budget. as_of takes the place of the clock for all but the budget.';

create policy "Members read their accounts' imports" on replies.canned_fetches
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all imports" on replies.canned_fetches for select to analyst using (true);
grant select on replies.canned_fetches to authenticated, analyst, service_role;

revoke all on routine replies.translate_variables, replies.import_canned_response, replies.take_canned_responses,
  replies.import_canned_responses, replies.fetch_canned_of, replies.fetch_canned
  from public, anon, authenticated, service_role;
grant execute on function replies.import_canned_responses to authenticated, service_role;
