-- Approvals: a person takes a draft in hand, and approves or rejects it. What is approved goes to the outbox in the same
-- transaction. Whoever decides, decides about what they saw: when something has happened since, they are told what, and
-- have to say that they go over it.
create view replies.draft_news with (security_invoker = true) as
select drafts.account_id, drafts.draft_id, drafts.display_id, drafts.state, drafts.waiting_since, drafts.customer_message_id,
  drafts.customer_message_at, drafts.created_at, drafts.maker, drafts.gold_reply_id, drafts.language, drafts.category,
  drafts.confidence, drafts.body, drafts.missing, drafts.claimed_by, drafts.claimed_until, news.news
from replies.drafts
-- Each kind looked up for one draft at a time: joined, a plan made while the tables were empty would read all of them.
cross join lateral (
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('kind', told.kind, 'at', told.happened_at,
    'message_id', told.message_id, 'agent_id', told.agent_id)) order by told.happened_at, told.kind) as news
  from (
    (select 'customer_wrote' as kind, later.created_at as happened_at, later.message_id, null::bigint as agent_id
    from chatwoot.messages as later
    where later.conversation_display_id = drafts.display_id and later.account_id = drafts.account_id
      and later.created_at >= drafts.customer_message_at
      -- By its number, since the instant of a message is told once to the second and later more finely.
      and later.message_id > drafts.customer_message_id
      and later.message_type = 'incoming' and later.private is not true and later.deleted_at is null
    order by later.created_at desc, later.message_id desc limit 1)
    union all
    (select 'answered', later.created_at, later.message_id, later.sender_id
    from chatwoot.messages as later
    where later.conversation_display_id = drafts.display_id and later.account_id = drafts.account_id
      and later.created_at >= drafts.customer_message_at
      and later.message_id > drafts.customer_message_id
      and later.message_type = 'outgoing' and later.private is not true and later.deleted_at is null
      and later.delivery_status is distinct from 'failed' and later.content_type is distinct from 'input_csat'
      and (later.sender_kind = 'user' or later.content_attributes ->> 'external_echo' = 'true')
      and later.content_attributes ->> 'automation_rule_id' is null
      and later.additional_attributes ->> 'campaign_id' is null
    order by later.created_at desc, later.message_id desc limit 1)
    union all
    (select 'answer_on_its_way', queued.created_at, queued.message_id, null
    from actions.outbox as queued
    where queued.account_id = drafts.account_id and queued.display_id = drafts.display_id and queued.kind = 'reply'
      and (queued.state in ('pending', 'sending')
        -- Sent, and the webhook that tells of it is still to come.
        or (queued.state = 'sent' and queued.settled_at >= drafts.created_at and (select true from chatwoot.messages as shown
          where shown.account_id = queued.account_id and shown.message_id = queued.message_id) is null))
    order by queued.created_at desc limit 1)
    union all
    (select held.kind, held.happened_at, null, null
    from chatwoot.conversations as mirrored
    cross join lateral (values
      ('deleted', mirrored.deleted_at, mirrored.deleted_at is not null),
      ('resolved', mirrored.last_activity_at, mirrored.deleted_at is null and mirrored.status = 'resolved'),
      ('blocked', null, (select contacts.blocked from chatwoot.contacts
        where contacts.account_id = mirrored.account_id and contacts.contact_id = mirrored.contact_id))
    ) as held (kind, happened_at, is_so)
    where mirrored.account_id = drafts.account_id and mirrored.display_id = drafts.display_id and held.is_so
    limit 3)
  ) as told
) as news;
comment on view replies.draft_news is 'Drafts with what has happened in their conversations since, and speaks against sending them.';
comment on column replies.draft_news.account_id is 'Chatwoot''s account id.';
comment on column replies.draft_news.draft_id is 'Number of the draft.';
comment on column replies.draft_news.display_id is 'The conversation''s number in its account.';
comment on column replies.draft_news.state is 'open (waits for a decision), approved (in the outbox), sent, rejected, superseded, expired, abstained (no draft, with the reason), held_out (made and shown to nobody, as the control), or failed (approved and not sent).';
comment on column replies.draft_news.waiting_since is 'Since when the customer was waiting, as known when it was made (UTC).';
comment on column replies.draft_news.customer_message_id is 'The customer''s newest message when it was made.';
comment on column replies.draft_news.customer_message_at is 'When that was written (UTC).';
comment on column replies.draft_news.created_at is 'When it was made (UTC).';
comment on column replies.draft_news.maker is 'What made it: retrieval, or the name that a maker gives itself, such as model:support.';
comment on column replies.draft_news.gold_reply_id is 'The gold reply that it was made from; null for none.';
comment on column replies.draft_news.language is 'ISO code of the language the customer wrote in; null when not known.';
comment on column replies.draft_news.category is 'Category of the conversation, or of the gold reply where it has none; null for none.';
comment on column replies.draft_news.confidence is 'How sure the maker is, 0 to 1.';
comment on column replies.draft_news.body is 'The text proposed, variables filled as far as known; null when there is none.';
comment on column replies.draft_news.missing is 'Names of the variables that are not filled.';
comment on column replies.draft_news.claimed_by is 'Who has it in hand, as in the decision log; counts until claimed_until.';
comment on column replies.draft_news.claimed_until is 'Until when (UTC).';
comment on column replies.draft_news.news is 'Array of {kind, at, message_id, agent_id}, null for nothing. kind: customer_wrote (again), answered (by a person), answer_on_its_way (another reply is in the outbox), resolved, deleted, or blocked (the customer).';
revoke all on replies.draft_news from public, anon, authenticated, service_role;
grant select on replies.draft_news to authenticated, analyst, service_role;

create function replies.lock_draft(account_id bigint, draft_id bigint) returns replies.drafts
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft replies.drafts;
begin
  perform replies.lock_drafts(drafts.account_id, drafts.display_id) from replies.drafts
  where drafts.account_id = lock_draft.account_id and drafts.draft_id = lock_draft.draft_id;
  -- As it is now that nobody else has it.
  select drafts.* into v_draft from replies.drafts
  where drafts.account_id = lock_draft.account_id and drafts.draft_id = lock_draft.draft_id;
  if not found then
    raise exception 'There is no draft % in account %', coalesce(lock_draft.draft_id::text, 'null'), lock_draft.account_id
      using errcode = 'OC404', hint = 'Those that wait for a decision: select draft_id from api.approval_queue.';
  end if;
  return v_draft;
end
$$;
comment on function replies.lock_draft is 'The draft, locked with the others of its conversation until the end of the transaction. Errors: OC404.';

create function replies.refuse_decided(draft replies.drafts) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  raise exception 'Draft % %', (draft).draft_id, case (draft).state
      when 'approved' then format('was approved at %s and is in the outbox', (draft).decided_at)
      when 'sent' then format('was approved at %s and is sent', (draft).decided_at)
      when 'failed' then format('was approved at %s and could not be sent', (draft).decided_at)
      when 'rejected' then format('was rejected at %s', (draft).decided_at)
      when 'abstained' then 'has no text: none was good enough'
      when 'held_out' then 'belongs to the control and is shown to nobody'
      else format('is %s since %s (%s)', (draft).state, (draft).closed_at, (draft).reason) end
    using errcode = 'OC409',
      detail = jsonb_strip_nulls(jsonb_build_object('state', (draft).state, 'reason', (draft).reason,
        'decided_at', (draft).decided_at, 'decided_by', (draft).decided_by, 'closed_at', (draft).closed_at))::text,
      hint = case
        -- What was withdrawn is not tried again.
        when (draft).state = 'failed' and exists (select from actions.outbox where outbox.account_id = (draft).account_id
          and outbox.action_id = (draft).action_id and outbox.state = 'cancelled')
        then format('It was withdrawn. To answer with other words: select api.enqueue_action(%s, %s, ''reply'', ''{"content": "…"}'').',
          (draft).account_id, (draft).display_id)
        when (draft).state = 'failed'
        then format('Try to send it again: select api.retry_action(%s, %s).', (draft).account_id, (draft).action_id)
        else format('What waits for a decision now: select * from api.approval_queue where account_id = %s.', (draft).account_id) end;
end
$$;
comment on function replies.refuse_decided is 'Raises OC409 with the state that a draft is in, since when and why.';

create function replies.refuse_claimed(draft replies.drafts, as_of timestamptz) returns void
language plpgsql stable security invoker set search_path = '' as $$
begin
  if (draft).claimed_by <> access.actor() and (draft).claimed_until > refuse_claimed.as_of then
    raise exception 'Draft % is in somebody else''s hands until %', (draft).draft_id, (draft).claimed_until
      using errcode = 'OC409',
        detail = jsonb_build_object('claimed_by', (draft).claimed_by, 'claimed_until', (draft).claimed_until)::text,
        hint = 'Wait until then, or ask them to release it: select api.release_draft(account_id, draft_id).';
  end if;
end
$$;
comment on function replies.refuse_claimed is 'Raises OC409 when somebody else has the draft in hand at as_of.';

create function replies.claim_draft(account_id bigint, draft_id bigint, as_of timestamptz default now()) returns timestamptz
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_draft replies.drafts;
  v_until timestamptz;
begin
  perform access.require_role(claim_draft.account_id, 'approver');
  v_draft := replies.lock_draft(claim_draft.account_id, claim_draft.draft_id);
  if v_draft.state <> 'open' then
    perform replies.refuse_decided(v_draft);
  end if;
  perform replies.refuse_claimed(v_draft, claim_draft.as_of);
  v_until := claim_draft.as_of + make_interval(
    mins => (ops.setting(claim_draft.account_id, 'draft_claim_minutes') #>> '{}')::integer);
  update replies.drafts as existing set claimed_by = access.actor(), claimed_until = v_until,
    shown_at = coalesce(existing.shown_at, claim_draft.as_of), shown_by = coalesce(existing.shown_by, 'claim')
  where existing.account_id = claim_draft.account_id and existing.draft_id = claim_draft.draft_id;
  -- Renewed again and again it says no more than once.
  if v_draft.claimed_by is distinct from access.actor() or v_draft.claimed_until <= claim_draft.as_of then
    perform audit.log(v_draft.account_id, 'draft.claimed', 'draft:' || v_draft.draft_id,
      jsonb_build_object('display_id', v_draft.display_id, 'until', v_until), 'claimed', as_of => claim_draft.as_of);
  end if;
  return v_until;
end
$$;
comment on function replies.claim_draft is
  'Takes an open draft in hand for draft_claim_minutes, or for as long again; logged. Nobody else can decide it meanwhile. Returns until when. Approvers and above. Errors: OC403, OC404, OC409.';

create function replies.release_draft(account_id bigint, draft_id bigint, as_of timestamptz default now()) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_draft replies.drafts;
begin
  perform access.require_role(release_draft.account_id, 'approver');
  v_draft := replies.lock_draft(release_draft.account_id, release_draft.draft_id);
  if v_draft.state <> 'open' or v_draft.claimed_by is null then
    return false;
  end if;
  perform replies.refuse_claimed(v_draft, release_draft.as_of);
  update replies.drafts as existing set claimed_by = null, claimed_until = null
  where existing.account_id = release_draft.account_id and existing.draft_id = release_draft.draft_id;
  perform audit.log(v_draft.account_id, 'draft.released', 'draft:' || v_draft.draft_id,
    jsonb_build_object('display_id', v_draft.display_id), 'released', as_of => release_draft.as_of);
  return true;
end
$$;
comment on function replies.release_draft is
  'Gives back a draft that you have in hand; logged. False when nobody had. Approvers and above. Errors: OC403, OC404, OC409.';

create function replies.check_grades(grades jsonb) returns jsonb
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if check_grades.grades is null or check_grades.grades in ('null', '{}') then
    return null;
  end if;
  if jsonb_typeof(check_grades.grades) <> 'object' or exists (
    select from jsonb_each(check_grades.grades) as given
    where given.key not in ('tone', 'accuracy', 'policy') or jsonb_typeof(given.value) <> 'number'
      or case when jsonb_typeof(given.value) = 'number' then given.value::numeric not in (1, 2, 3, 4, 5) end)
  then
    raise exception 'grades must be an object of whole numbers from 1 to 5'
      using errcode = 'OC422', hint = 'Such as {"tone": 5, "accuracy": 4, "policy": 5}; one that is left out is not given.';
  end if;
  return (select jsonb_object_agg(given.key, given.value::numeric::integer) from jsonb_each(check_grades.grades) as given);
end
$$;
comment on function replies.check_grades is 'The grades as they are kept, null for none. Errors: OC422.';

create function replies.name_of_actor(account_id bigint) returns text
language sql stable security invoker set search_path = '' as $$
  select coalesce(nullif(btrim(agents.available_name), ''), agents.name)
  from chatwoot.agents
  where agents.account_id = name_of_actor.account_id and agents.kind = 'user' and agents.deleted_at is null
    and (lower(agents.email) = (select lower(users.email) from auth.users
        where access.actor() = 'user:' || users.id and users.id = auth.uid())
      -- Else whoever the token belongs to: that is whom customers will see.
      or agents.agent_id = (select accounts.agent_id from actions.accounts where accounts.account_id = name_of_actor.account_id))
  order by lower(agents.email) is not distinct from (select lower(users.email) from auth.users where users.id = auth.uid()) desc,
    agents.agent_id limit 1
$$;
comment on function replies.name_of_actor is 'The name to sign with, as customers see it in Chatwoot: of whoever is calling, found by e-mail address, else of the token''s owner; null when neither is known.';

create function replies.news_of(draft replies.drafts) returns jsonb
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_news jsonb;
  v_fingerprint uuid;
begin
  select coalesce(told.news, '[]'::jsonb) into v_news
  from replies.draft_news as told where told.account_id = (draft).account_id and told.draft_id = (draft).draft_id;
  -- The same kind of thing may have ended it earlier, before it showed here.
  if (draft).state in ('superseded', 'expired') and v_news = '[]' then
    v_news := jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('kind', (draft).reason, 'at', (draft).closed_at)));
  end if;
  if (draft).state in ('approved', 'failed') and exists (select from actions.outbox as own
    where own.account_id = (draft).account_id and own.action_id = (draft).action_id and actions.is_mirrored(own))
  then
    -- It did arrive, so that nothing more leaves: it is found, and what came after it is no news for it.
    return '[]'::jsonb;
  end if;
  if (draft).state in ('open', 'approved', 'failed') and v_news = '[]' then
    select now_asked.fingerprint into v_fingerprint
    from replies.questions(array[(draft).account_id], array[(draft).display_id]) as now_asked;
    v_news := case when v_fingerprint = (draft).question_fingerprint then '[]'::jsonb
      when v_fingerprint is null then '[{"kind": "not_waiting"}]'::jsonb else '[{"kind": "message_changed"}]'::jsonb end;
  end if;
  return v_news;
end
$$;
comment on function replies.news_of is 'What speaks against sending a draft as it is: array of {kind, at, message_id, agent_id}.';

create function replies.pass_news(draft replies.drafts, override boolean, again text, as_of timestamptz) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_news jsonb := replies.news_of(pass_news.draft);
begin
  perform actions.refuse_erased((draft).account_id, (draft).display_id);
  if v_news = '[]' then
    return false;
  end if;
  if v_news @> '[{"kind": "deleted"}]' then
    raise exception 'Conversation % has been deleted', (draft).display_id
      using errcode = 'OC409', detail = v_news::text, hint = 'There is nobody to answer any more.';
  end if;
  if not coalesce(pass_news.override, false) then
    raise exception 'Since draft % was made, this has happened in conversation %: %', (draft).draft_id, (draft).display_id,
      (select string_agg(case news.entry ->> 'kind'
          when 'customer_wrote' then 'the customer has written again'
          when 'message_changed' then 'the customer has changed or deleted a message'
          when 'answered' then 'somebody has answered'
          when 'answer_on_its_way' then 'another answer is on its way'
          when 'resolved' then 'it has been resolved'
          when 'blocked' then 'the customer has been blocked'
          when 'not_waiting' then 'no customer waits for a person any more'
          when 'not_decided' then 'the draft has expired'
          when 'proposed_again' then 'another draft has been made'
          else replace(news.entry ->> 'kind', '_', ' ') end || coalesce(' (' || (news.entry ->> 'at') || ')', ''), ', '
        order by news.place)
      from jsonb_array_elements(v_news) with ordinality as news (entry, place))
      using errcode = 'OC409', detail = v_news::text,
        hint = format('Read the conversation again; to send the draft all the same: %s.', pass_news.again);
  end if;
  perform audit.log((draft).account_id, 'draft.overridden', 'draft:' || (draft).draft_id,
    jsonb_build_object('display_id', (draft).display_id, 'news', v_news), 'overridden', as_of => pass_news.as_of);
  return true;
end
$$;
comment on function replies.pass_news is
  'Raises OC409 with what speaks against sending a draft, unless overridden, which is logged; true when it was. again: how to say so.';

create function replies.become_answer(draft replies.drafts, is_override boolean, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if (draft).state <> 'open' then
    -- It becomes the answer of this wait, and nobody has to decide about the later one.
    perform replies.close_draft(later.account_id, later.draft_id, 'superseded', 'overridden', become_answer.as_of)
    from replies.drafts as later
    where later.account_id = (draft).account_id and later.display_id = (draft).display_id and later.state = 'open';
    update replies.drafts as others set is_final = false
    where others.account_id = (draft).account_id and others.display_id = (draft).display_id and others.is_final
      and others.outcome_at is null and others.replied_at is null and others.draft_id <> (draft).draft_id;
  end if;
  update replies.drafts as existing set is_override = coalesce(existing.is_override, false) or become_answer.is_override,
    is_final = true, outcome = null, outcome_at = null, replied_at = null, reply_message_id = null, reply_agent_id = null,
    edit_distance = null, edit_ratio = null, edit_method = null, draft_length = null, sent_length = null
  where existing.account_id = (draft).account_id and existing.draft_id = (draft).draft_id;
end
$$;
comment on function replies.become_answer is
  'Makes a draft that is on its way, as it was before, the answer of its wait: later ones are closed, and what became of it is yet to be seen.';

create function replies.retry_action(
  account_id bigint, action_id bigint, override boolean default false, as_of timestamptz default now()
) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_draft replies.drafts;
  v_action actions.outbox;
  v_is_override boolean;
begin
  perform access.require_role(retry_action.account_id, 'approver');
  select drafts.* into v_draft from actions.outbox as queued
  join replies.drafts on drafts.account_id = queued.account_id
    and drafts.draft_id = (substring(queued.source from '^draft(?:_note)?:(\d{1,18})$'))::bigint
    and (queued.kind = 'note' or drafts.action_id = queued.action_id)
  where queued.account_id = retry_action.account_id and queued.action_id = retry_action.action_id;
  if not found then
    perform actions.retry(retry_action.account_id, retry_action.action_id, retry_action.as_of);
    return;
  end if;
  -- Both as they are now that nobody else decides about any draft of the conversation.
  v_draft := replies.lock_draft(v_draft.account_id, v_draft.draft_id);
  select queued.* into v_action from actions.outbox as queued
  where queued.account_id = retry_action.account_id and queued.action_id = retry_action.action_id;
  if v_action.state not in ('dead', 'dry_run') then
    perform actions.retry(retry_action.account_id, retry_action.action_id, retry_action.as_of);
    return;
  elsif v_action.kind = 'note' and v_draft.state <> 'open' then
    perform replies.refuse_decided(v_draft);
  elsif v_action.kind = 'note' and v_draft.note_action_id is distinct from v_action.action_id then
    raise exception 'Draft % has another note', v_draft.draft_id using errcode = 'OC409',
      hint = format('What became of that one: select * from api.actions where action_id = %s.', v_draft.note_action_id);
  elsif v_action.kind = 'reply' then
    -- Up to three days have passed since somebody approved it.
    v_is_override := replies.pass_news(v_draft, retry_action.override, 'api.retry_action(…, override => true)',
      retry_action.as_of);
  end if;
  perform actions.retry(retry_action.account_id, retry_action.action_id, retry_action.as_of);
  if v_action.kind = 'reply' then
    perform replies.become_answer(v_draft, v_is_override, retry_action.as_of);
  end if;
end
$$;
comment on function replies.retry_action is
  'Sends a dead action, or one of a dry run, again; an approved draft only when nothing has happened since it was made, or with override, and the note of a draft only while that is open. Approvers and above. Errors: OC403, OC404, OC409.';

create function replies.approve_draft(
  account_id bigint, draft_id bigint, final_text text default null, grades jsonb default null,
  override boolean default false, as_of timestamptz default now()
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_grades jsonb;
  v_draft replies.drafts;
  v_is_override boolean;
  v_text text;
  v_missing text[];
  v_action bigint;
begin
  perform access.require_role(approve_draft.account_id, 'approver');
  v_grades := replies.check_grades(approve_draft.grades);
  if approve_draft.final_text is not null and (btrim(approve_draft.final_text, E' \t\r\n') = ''
    or length(approve_draft.final_text) > 10000)
  then
    raise exception 'final_text must have 1 to 10000 characters' using errcode = 'OC422',
      hint = 'Leave it out to send the draft as it is.';
  end if;
  v_draft := replies.lock_draft(approve_draft.account_id, approve_draft.draft_id);
  if v_draft.state not in ('open', 'superseded', 'expired') then
    perform replies.refuse_decided(v_draft);
  end if;
  perform replies.refuse_claimed(v_draft, approve_draft.as_of);
  v_is_override := replies.pass_news(v_draft, approve_draft.override, 'api.approve_draft(…, override => true)', approve_draft.as_of);
  select rendered.text, rendered.missing into v_text, v_missing
  from replies.render(v_draft.account_id, v_draft.display_id, coalesce(approve_draft.final_text, v_draft.body),
    replies.name_of_actor(v_draft.account_id)) as rendered;
  if v_missing <> '{}' then
    raise exception 'Not filled in: %', array_to_string(v_missing, ', ')
      using errcode = 'OC422', detail = jsonb_build_object('missing', v_missing)::text,
        hint = 'Give the whole text with what is missing written out: api.approve_draft(account_id, draft_id, final_text => ''…'').'
          || case when exists (select from unnest(v_missing) as names (name) where names.name like 'agent.%')
            then ' agent.name is the name of the Chatwoot agent with your e-mail address, else of the token''s owner, once something has been sent.' else '' end;
  end if;
  -- What was proposed, told with the same names, is what the reply will be compared with.
  select left(rendered.text, 10000), rendered.missing into v_draft.body, v_draft.missing
  from replies.render(v_draft.account_id, v_draft.display_id, v_draft.body, replies.name_of_actor(v_draft.account_id)) as rendered;
  if length(v_text) > 10000 then
    raise exception 'The text has % characters when filled in, more than 10000', length(v_text)
      using errcode = 'OC422', hint = 'Give a shorter one as final_text.';
  end if;
  v_action := actions.enqueue(v_draft.account_id, v_draft.display_id, 'reply', jsonb_build_object('content', v_text),
    'draft:' || v_draft.draft_id, approve_draft.as_of);
  perform replies.become_answer(v_draft, v_is_override, approve_draft.as_of);
  if v_draft.state = 'open' and v_draft.note_action_id is not null and v_draft.shown_at is null then
    perform actions.cancel(v_draft.account_id, v_draft.note_action_id, format('Draft %s was approved', v_draft.draft_id),
      approve_draft.as_of);
  end if;
  update replies.drafts as existing set state = 'approved', reason = null, decided_at = approve_draft.as_of,
    body = v_draft.body, missing = v_draft.missing,
    decided_by = access.actor(), grades = v_grades, final_text = v_text, action_id = v_action,
    shown_at = coalesce(existing.shown_at, approve_draft.as_of), shown_by = coalesce(existing.shown_by, 'decision'),
    claimed_by = null, claimed_until = null
  where existing.account_id = v_draft.account_id and existing.draft_id = v_draft.draft_id;
  perform audit.log(v_draft.account_id, 'draft.approved', 'draft:' || v_draft.draft_id,
    jsonb_strip_nulls(jsonb_build_object('display_id', v_draft.display_id, 'message_id', v_draft.customer_message_id,
      'action_id', v_action, 'gold_reply_id', v_draft.gold_reply_id, 'gold_reply_version', v_draft.gold_reply_version,
      'is_changed', v_text is distinct from v_draft.body, 'is_override', v_is_override, 'grades', v_grades,
      'text_sha256', encode(sha256(convert_to(v_text, 'UTF8')), 'hex'))),
    'approved', as_of => approve_draft.as_of);
  return v_action;
end
$$;
comment on function replies.approve_draft is
  'Approves a draft and puts it, or final_text in its place, into the outbox; returns the action''s id. grades: {tone, accuracy, policy} from 1 to 5. When something has happened since, only with override. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function replies.reject_draft(account_id bigint, draft_id bigint, reason text, as_of timestamptz default now())
returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_draft replies.drafts;
  v_reason text := btrim(reject_draft.reason, E' \t\r\n');
begin
  perform access.require_role(reject_draft.account_id, 'approver');
  if coalesce(length(v_reason), 0) not between 1 and 1000 then
    raise exception 'reason must have 1 to 1000 characters'
      using errcode = 'OC422', hint = 'A few words: gold replies get better by them.';
  end if;
  v_draft := replies.lock_draft(reject_draft.account_id, reject_draft.draft_id);
  if v_draft.state <> 'open' then
    perform replies.refuse_decided(v_draft);
  end if;
  perform replies.refuse_claimed(v_draft, reject_draft.as_of);
  update replies.drafts as existing set state = 'rejected', reason = v_reason, decided_at = reject_draft.as_of,
    decided_by = access.actor(), shown_at = coalesce(existing.shown_at, reject_draft.as_of),
    shown_by = coalesce(existing.shown_by, 'decision'), claimed_by = null, claimed_until = null
  where existing.account_id = v_draft.account_id and existing.draft_id = v_draft.draft_id;
  if v_draft.note_action_id is not null and v_draft.shown_at is null then
    perform actions.cancel(v_draft.account_id, v_draft.note_action_id, format('Draft %s was rejected', v_draft.draft_id),
      reject_draft.as_of);
  end if;
  perform audit.log(v_draft.account_id, 'draft.rejected', 'draft:' || v_draft.draft_id,
    jsonb_strip_nulls(jsonb_build_object('display_id', v_draft.display_id, 'message_id', v_draft.customer_message_id,
      'gold_reply_id', v_draft.gold_reply_id, 'gold_reply_version', v_draft.gold_reply_version, 'reason', v_reason)),
    'rejected', as_of => reject_draft.as_of);
end
$$;
comment on function replies.reject_draft is
  'Rejects an open draft with a reason of 1 to 1000 characters; logged. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function replies.propose_draft(
  account_id bigint, display_id bigint, message_id bigint, maker text, maker_version text, body text,
  confidence double precision, evidence jsonb default '{}', as_of timestamptz default now()
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_asked replies.asked;
  v_draft replies.drafts;
  v_there replies.drafts;
begin
  if access.actor() like 'user:%' or access.actor() = 'anonymous' then
    raise exception 'Drafts are proposed by the project''s backend'
      using errcode = 'OC403', hint = 'A person writes in Chatwoot, or approves a draft with other words.';
  end if;
  if coalesce(propose_draft.maker, '') !~ '^model:[a-z0-9][a-z0-9_.-]{0,79}$' then
    raise exception 'maker must be model: and a name of small letters, digits, dots, dashes and underscores'
      using errcode = 'OC422', hint = 'Such as model:support-writer.';
  end if;
  if coalesce(length(btrim(propose_draft.maker_version)), 0) not between 1 and 100 then
    raise exception 'maker_version must have 1 to 100 characters'
      using errcode = 'OC422', hint = 'What tells one state of the model and its prompt from another.';
  end if;
  if btrim(coalesce(propose_draft.body, ''), E' \t\r\n') = '' or length(propose_draft.body) > 10000 then
    raise exception 'body must have 1 to 10000 characters'
      using errcode = 'OC422', hint = 'Propose nothing where there is nothing to say.';
  end if;
  if propose_draft.confidence is null or not propose_draft.confidence between 0 and 1 then
    raise exception 'confidence must be a number from 0 to 1'
      using errcode = 'OC422', hint = 'Under draft_confidence_floor (percent) the draft is kept back as abstained.';
  end if;
  if jsonb_typeof(propose_draft.evidence) is distinct from 'object' or length(propose_draft.evidence::text) > 16000 then
    raise exception 'evidence must be an object of at most 16000 characters'
      using errcode = 'OC422', hint = 'What the draft rests on, such as the passages that were read.';
  end if;
  if not exists (select from ledger.conversations as known
    where known.account_id = propose_draft.account_id and known.display_id = propose_draft.display_id)
  then
    raise exception 'There is no conversation % in account %', coalesce(propose_draft.display_id::text, 'null'),
      coalesce(propose_draft.account_id::text, 'null')
      using errcode = 'OC404', hint = 'Its number stands in its address in Chatwoot, and in analytics.conversations as display_id.';
  end if;
  perform actions.refuse_erased(propose_draft.account_id, propose_draft.display_id);
  perform replies.lock_drafts(propose_draft.account_id, propose_draft.display_id);
  select questions.* into v_asked
  from replies.questions(array[propose_draft.account_id], array[propose_draft.display_id]) as questions;
  if not found then
    raise exception 'In conversation % no customer waits for a person', propose_draft.display_id
      using errcode = 'OC409', hint = 'It may be answered, resolved, deleted, with a bot, or its customer blocked.';
  end if;
  if v_asked.message_id is distinct from propose_draft.message_id then
    raise exception 'Message % is not the customer''s newest in conversation %', coalesce(propose_draft.message_id::text, 'null'),
      propose_draft.display_id
      using errcode = 'OC409', detail = jsonb_build_object('message_id', v_asked.message_id)::text,
        hint = format('Read on to message %s, and propose again.', v_asked.message_id);
  end if;
  v_draft.account_id := v_asked.account_id;
  v_draft.display_id := v_asked.display_id;
  v_draft.episode := v_asked.episode;
  v_draft.customer_message_id := v_asked.message_id;
  v_draft.customer_message_at := v_asked.message_at;
  v_draft.question_fingerprint := v_asked.fingerprint;
  v_draft.waiting_since := v_asked.waiting_since;
  v_draft.maker := propose_draft.maker;
  v_draft.maker_version := btrim(propose_draft.maker_version);
  v_draft.confidence := propose_draft.confidence;
  v_draft.language := replies.language_of(v_asked.question);
  v_draft.category := replies.category_of(v_asked.account_id, v_asked.display_id);
  v_draft.evidence := propose_draft.evidence || jsonb_build_object('question_characters', length(v_asked.question),
    'body_sha256', encode(sha256(convert_to(propose_draft.body, 'UTF8')), 'hex'));
  select drafts.* into v_there from replies.drafts
  where drafts.account_id = v_draft.account_id and drafts.display_id = v_draft.display_id
    and drafts.customer_message_id = v_draft.customer_message_id
    and drafts.question_fingerprint = v_draft.question_fingerprint
    and (drafts.maker = v_draft.maker or drafts.state in ('approved', 'sent')
      or (drafts.state = 'open' and drafts.claimed_until > propose_draft.as_of))
  order by drafts.maker = v_draft.maker desc limit 1;
  if v_there.maker = v_draft.maker and v_there.evidence ->> 'body_sha256' = v_draft.evidence ->> 'body_sha256' then
    return v_there.draft_id;
  elsif v_there.draft_id is not null then
    raise exception 'To message % there is draft % already', v_draft.customer_message_id, v_there.draft_id
      using errcode = 'OC409', detail = jsonb_build_object('draft_id', v_there.draft_id, 'state', v_there.state,
        'maker', v_there.maker)::text,
        hint = 'A maker proposes once to what a customer wrote, and nobody to what is in somebody''s hands or approved.';
  end if;
  select rendered.text, rendered.missing into v_draft.body, v_draft.missing
  from replies.render(v_draft.account_id, v_draft.display_id, propose_draft.body) as rendered;
  if length(v_draft.body) > 10000 then
    raise exception 'The text has % characters when filled in, more than 10000', length(v_draft.body)
      using errcode = 'OC422', hint = 'Propose a shorter one.';
  end if;
  return coalesce(replies.take_proposal(v_draft, propose_draft.as_of),
    replies.take_proposal(v_draft, propose_draft.as_of));
end
$$;
comment on function replies.propose_draft is
  'Proposes a draft to the newest message of a waiting customer, as another maker than retrieval; returns its id. Variables are filled in. It takes the place of an open one of another maker. The project''s backend only. Errors: OC403, OC404, OC409, OC422.';

create function replies.expire_drafts(as_of timestamptz default now(), batch_size integer default 1000) returns bigint
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_old replies.drafts[];
begin
  v_old := array(
    select row(drafts.*)::replies.drafts from replies.drafts
    where drafts.state = 'open' and drafts.created_at < expire_drafts.as_of - interval '1 hour'
      and drafts.created_at < expire_drafts.as_of - make_interval(
        hours => (ops.setting(drafts.account_id, 'draft_expiry_hours') #>> '{}')::integer)
      -- One that somebody has in hand stays until they let go.
      and coalesce(drafts.claimed_until <= expire_drafts.as_of, true)
    order by drafts.created_at limit expire_drafts.batch_size);
  perform replies.lock_drafts(given.account_id, given.display_id) from (
    select distinct old.account_id, old.display_id from unnest(v_old) as old order by old.account_id, old.display_id) as given;
  return (
    select count(*) from unnest(v_old) as old
    -- Somebody may have taken it in hand before the lock was ours.
    where case when (select true from replies.drafts where drafts.account_id = old.account_id
        and drafts.draft_id = old.draft_id and coalesce(drafts.claimed_until <= expire_drafts.as_of, true))
      then replies.close_draft(old.account_id, old.draft_id, 'expired', 'not_decided', expire_drafts.as_of) end);
end
$$;
comment on function replies.expire_drafts is
  'Ends open drafts that nobody decided within draft_expiry_hours, at most a batch; returns how many.';

create function replies.follow_actions() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft_id bigint := (substring(new.source from '^draft(?:_note)?:(\d{1,18})$'))::bigint;
  v_state text := case when new.state = 'sent' then 'sent' when new.state in ('dead', 'cancelled') then 'failed'
    else 'approved' end;
begin
  if v_draft_id is null or (new.kind = 'note' and new.state <> 'sent') then
    return null;
  end if;
  perform replies.lock_drafts(new.account_id, new.display_id);
  if new.kind = 'note' then
    update replies.drafts as existing set shown_at = coalesce(new.settled_at, now()), shown_by = 'note'
    where existing.account_id = new.account_id and existing.draft_id = v_draft_id
      and existing.note_action_id = new.action_id and existing.shown_at is null;
  elsif new.kind = 'reply' then
    update replies.drafts as existing set state = v_state,
      reason = case when v_state = 'failed' then left(coalesce(nullif(new.problem, ''), new.state), 1000) end
    where existing.account_id = new.account_id and existing.draft_id = v_draft_id and existing.action_id = new.action_id
      and existing.state <> v_state;
    if found and v_state = 'failed' then
      perform audit.log(new.account_id, 'draft.failed', 'draft:' || v_draft_id, jsonb_strip_nulls(jsonb_build_object(
        'display_id', new.display_id, 'action_id', new.action_id, 'problem', new.problem, 'hint', new.hint)), 'failed',
        'rule:drafts', '1', coalesce(new.settled_at, now()));
    end if;
  end if;
  return null;
end
$$;
comment on function replies.follow_actions is 'Trigger: what became of the note or the reply of a draft in the outbox.';
create trigger follow_actions after update of state on actions.outbox
for each row when (old.state is distinct from new.state and new.source is not null) execute function replies.follow_actions();

revoke all on function replies.lock_draft, replies.refuse_decided, replies.refuse_claimed, replies.claim_draft,
  replies.release_draft, replies.check_grades, replies.name_of_actor, replies.news_of, replies.pass_news,
  replies.become_answer, replies.retry_action, replies.approve_draft, replies.reject_draft, replies.propose_draft,
  replies.expire_drafts, replies.follow_actions
  from public, anon, authenticated, service_role;
grant execute on function replies.claim_draft, replies.release_draft, replies.approve_draft, replies.reject_draft,
  replies.retry_action to authenticated, service_role;
grant execute on function replies.propose_draft to service_role;
