-- What a good answer leaves behind: it can become a gold reply, and a conversation can be read again from its first message
-- on with every draft, decision and action in between.
create function replies.without_names(given text, names jsonb) returns text
-- names: the variable by what is to be replaced. The longest first, since a first name stands in a whole one.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_text text := without_names.given;
  v_name record;
begin
  for v_name in
    select pairs.key, pairs.value from jsonb_each_text(without_names.names) as pairs
    where length(pairs.key) between 2 and 200 order by length(pairs.key) desc, pairs.key
  loop
    -- As a word of its own only: Ana is no part of Banana.
    v_text := regexp_replace(v_text, '(?<![[:alnum:]_])' || regexp_replace(v_name.key, '([^[:alnum:][:space:]])', '\\\1', 'g')
      || '(?![[:alnum:]_])', '{{' || v_name.value || '}}', 'gi');
  end loop;
  return v_text;
end
$$;
comment on function replies.without_names is
  'The text with known names in place of which their variables stand: names maps each name to a variable, such as {"Ana": "contact.first_name"}.';

create function replies.promote_to_gold(
  account_id bigint, message_id bigint default null, draft_id bigint default null, title text default null,
  category text default null, language text default null, tags text[] default '{}', as_of timestamptz default now(),
  out gold_reply_id bigint, out is_new boolean
)
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_draft replies.drafts;
  v_reply chatwoot.messages;
  v_contact chatwoot.contacts;
  v_agent chatwoot.agents;
  v_names jsonb;
  v_question text;
  v_body text;
begin
  perform access.require_role(promote_to_gold.account_id, 'approver');
  if (promote_to_gold.message_id is null) = (promote_to_gold.draft_id is null) then
    raise exception 'Give either message_id or draft_id' using errcode = 'OC422',
      hint = 'A reply that was sent, or the draft that it was sent from.';
  end if;
  select drafts.* into v_draft from replies.drafts
  where drafts.account_id = promote_to_gold.account_id
    and (drafts.draft_id = promote_to_gold.draft_id or drafts.reply_message_id = promote_to_gold.message_id)
  order by drafts.is_final desc, drafts.draft_id desc limit 1;
  if promote_to_gold.draft_id is not null and v_draft.draft_id is null then
    raise exception 'There is no draft % in account %', promote_to_gold.draft_id, promote_to_gold.account_id
      using errcode = 'OC404', hint = 'Those there are: select draft_id from api.drafts.';
  end if;
  if promote_to_gold.draft_id is not null and v_draft.reply_message_id is null then
    raise exception 'Draft % was not answered with', promote_to_gold.draft_id
      using errcode = 'OC409', hint = 'Only what has reached a customer is promoted. It is still on its way, or nobody replied.';
  end if;
  select messages.* into v_reply from chatwoot.messages
  where messages.account_id = promote_to_gold.account_id
    and messages.message_id = coalesce(v_draft.reply_message_id, promote_to_gold.message_id);
  if v_reply.message_id is null then
    raise exception 'There is no message % in account %', promote_to_gold.message_id, promote_to_gold.account_id
      using errcode = 'OC404', hint = 'Those there are: select message_id from analytics.messages.';
  end if;
  if v_reply.deleted_at is not null or coalesce(btrim(v_reply.content), '') = '' or v_reply.private
    or v_reply.message_type is distinct from 'outgoing' or v_reply.delivery_status = 'failed'
  then
    raise exception 'Message % is no reply that reached a customer', v_reply.message_id using errcode = 'OC409',
      hint = 'A public text that was sent by us and neither deleted nor refused.';
  end if;
  select contacts.* into v_contact from chatwoot.conversations as mirrored
  join chatwoot.contacts on contacts.account_id = mirrored.account_id and contacts.contact_id = mirrored.contact_id
  where mirrored.account_id = v_reply.account_id and mirrored.display_id = v_reply.conversation_display_id;
  select agents.* into v_agent from chatwoot.agents
  where agents.account_id = v_reply.account_id and agents.kind = 'user'
    and agents.agent_id = coalesce(v_draft.reply_agent_id, case when v_reply.sender_kind = 'user' then v_reply.sender_id end);
  -- Whose name it is, is known here; whatever else may be personal is looked for where every proposal ends.
  select coalesce(jsonb_object_agg(told.name, told.variable), '{}') into v_names
  from (
    select distinct on (lower(btrim(known.name))) btrim(known.name) as name, known.variable
    from (values (1, v_contact.name, 'contact.name'), (2, split_part(btrim(v_contact.name), ' ', 1), 'contact.first_name'),
      (3, v_contact.email, 'contact.email'), (4, v_contact.phone_number, 'contact.phone_number'),
      (5, v_agent.name, 'agent.name'), (6, v_agent.available_name, 'agent.name'),
      (7, split_part(btrim(v_agent.name), ' ', 1), 'agent.first_name')) as known (place, name, variable)
    where btrim(known.name) <> ''
    -- Of one word, a whole name is a first name.
    order by lower(btrim(known.name)), known.variable not like '%first_name', known.place
  ) as told;
  v_body := replies.without_names(regexp_replace(v_reply.content, replies.unwanted_characters(), '', 'g'), v_names);
  select messages.content into v_question from chatwoot.messages
  where messages.conversation_display_id = v_reply.conversation_display_id and messages.account_id = v_reply.account_id
    and messages.created_at <= v_reply.created_at and messages.message_type = 'incoming' and messages.private is not true
    and messages.deleted_at is null and btrim(coalesce(messages.content, '')) <> ''
  order by messages.created_at desc, messages.message_id desc limit 1;
  v_question := btrim(left(replies.without_names(regexp_replace(coalesce(v_question, ''), replies.unwanted_characters(), '', 'g'),
    v_names), 1000), E' \t\r\n');
  select proposed.gold_reply_id, proposed.is_new into gold_reply_id, is_new
  from replies.propose_gold_reply(promote_to_gold.account_id, jsonb_strip_nulls(jsonb_build_object(
      'title', coalesce(promote_to_gold.title, left(replies.normalise(v_body), 80)), 'body', v_body,
      'category', coalesce(promote_to_gold.category, v_draft.category,
        replies.category_of(v_reply.account_id, v_reply.conversation_display_id)),
      'language', promote_to_gold.language, 'tags', to_jsonb(coalesce(promote_to_gold.tags, '{}')),
      'questions', case when v_question = '' then '[]' else jsonb_build_array(v_question) end,
      'source', jsonb_strip_nulls(jsonb_build_object('display_id', v_reply.conversation_display_id,
        'message_id', v_reply.message_id, 'author', left(v_agent.name, 200))))),
    'promotion', 'message:' || v_reply.message_id, promote_to_gold.as_of) as proposed;
  if is_new then
    perform audit.log(promote_to_gold.account_id, 'gold_reply.promoted', 'gold_reply:' || promote_to_gold.gold_reply_id,
      jsonb_strip_nulls(jsonb_build_object('display_id', v_reply.conversation_display_id, 'message_id', v_reply.message_id,
        'draft_id', v_draft.draft_id, 'author', case when v_agent.agent_id is not null then 'user:' || v_agent.agent_id end,
        'grades', v_draft.grades, 'outcome', v_draft.outcome, 'edit_ratio', v_draft.edit_ratio)),
      'proposed', as_of => promote_to_gold.as_of);
  end if;
end
$$;
comment on function replies.promote_to_gold is
  'Proposes a reply that was sent as a gold reply, names and other personal data replaced by variables, with the customer''s words as a question; logged with the draft''s grades. The same reply again gives the same id. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function replies.conversation_history(
  account_id bigint, display_id bigint, most integer default 200, after text default null
)
returns table (at timestamptz, kind text, actor text, summary text, details jsonb, source text, place text)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_after text[] := string_to_array(conversation_history.after, '/');
  v_at timestamptz := '-infinity'::timestamptz;
  v_rank integer := 0;
  v_id bigint := 0;
begin
  perform access.require_role(conversation_history.account_id, 'viewer');
  if coalesce(conversation_history.most, 0) not between 1 and 1000 then
    raise exception 'most must be from 1 to 1000, not %', coalesce(conversation_history.most::text, 'null')
      using errcode = 'OC422', hint = 'For more: ask again with after, the place of the last row.';
  end if;
  if conversation_history.after is not null then
    if conversation_history.after !~ '^-?\d{1,16}/\d/\d{1,18}$' then
      raise exception 'after must be the place of a row' using errcode = 'OC422', hint = 'Such as 1795165200000000/2/9001.';
    end if;
    v_at := 'epoch'::timestamptz + v_after[1]::bigint * interval '1 microsecond';
    v_rank := v_after[2]::integer;
    v_id := v_after[3]::bigint;
  end if;
  if not exists (select from chatwoot.conversations as mirrored where mirrored.account_id = conversation_history.account_id
    and mirrored.display_id = conversation_history.display_id)
  then
    raise exception 'There is no conversation % in account %', coalesce(conversation_history.display_id::text, 'null'),
      conversation_history.account_id
      using errcode = 'OC404', hint = 'Those there are: select display_id from analytics.conversations.';
  end if;
  return query
  select told.at, told.kind, told.actor, told.summary, told.details, told.source,
    format('%s/%s/%s', (extract(epoch from told.at) * 1000000)::bigint, told.rank, told.id)
  from (
    (select messages.created_at as at, 2 as rank, messages.message_id as id,
      case ledger.message_class(messages.message_type, messages.private, messages.content_type, messages.sender_kind,
          messages.delivery_status, messages.content_attributes, messages.additional_attributes)
        when 'customer' then 'customer_message' when 'human' then 'reply' when 'bot' then 'bot_message'
        when 'auto' then 'automatic_message' when 'note' then 'note' when 'failed' then 'failed_message' else 'activity' end
        as kind,
      coalesce(messages.sender_kind || ':' || messages.sender_id, 'chatwoot') as actor,
      case when messages.deleted_at is not null then 'deleted'
        else coalesce(left(regexp_replace(messages.content, '\s+', ' ', 'g'), 200), 'attachments') end as summary,
      jsonb_strip_nulls(jsonb_build_object('message_id', messages.message_id, 'name', coalesce(agents.name, contacts.name),
        'content', messages.content, 'delivery_status', messages.delivery_status, 'deleted_at', messages.deleted_at,
        'attachments', nullif(messages.attachments, '[]'),
        'draft_id', (select max(drafts.draft_id) from replies.drafts where drafts.account_id + 0 = messages.account_id
          and drafts.reply_message_id = messages.message_id and drafts.is_final))) as details,
      'chatwoot.messages' as source
    from chatwoot.messages
    left join chatwoot.agents on agents.account_id = messages.account_id and agents.kind = messages.sender_kind
      and agents.agent_id = messages.sender_id
    left join chatwoot.contacts on contacts.account_id = messages.account_id and messages.sender_kind = 'contact'
      and contacts.contact_id = messages.sender_id
    where messages.conversation_display_id = conversation_history.display_id
      and messages.account_id = conversation_history.account_id and messages.created_at >= v_at
      and (messages.created_at, 2, messages.message_id) > (v_at, v_rank, v_id)
    order by messages.created_at, messages.message_id limit conversation_history.most)
    union all
    (select events.occurred_at, case when events.kind = 'created' then 1 else 3 end, events.event_id,
      case when events.kind = 'csat' then 'rating' else events.kind end,
      case when events.actor_kind is not null then coalesce(events.actor_kind || ':' || events.actor_id, events.actor_kind) end,
      case when events.kind in ('created', 'csat') then events.value
        else format('%s → %s', coalesce(nullif(nullif(events.previous, ''), '[]'), 'none'),
          coalesce(nullif(nullif(events.value, ''), '[]'), 'none')) end,
      jsonb_build_object('event_id', events.event_id, 'previous', events.previous, 'value', events.value, 'told_by', events.source),
      'ledger.events'
    from ledger.events
    where events.display_id = conversation_history.display_id and events.account_id = conversation_history.account_id
      and events.kind <> 'message' and events.unlearnt_at is null and events.occurred_at >= v_at
      and (events.occurred_at, case when events.kind = 'created' then 1 else 3 end, events.event_id) > (v_at, v_rank, v_id)
    order by events.occurred_at, 2, events.event_id limit conversation_history.most)
    union all
    (select breaches.breach_at, 4, row_number() over (order by breaches.breach_at, breaches.episode, breaches.clock, breaches.instance),
      'sla_breach', 'rule:sla', format('%s was due at %s', breaches.clock, to_char(breaches.due_at at time zone 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
      to_jsonb(breaches) - array['account_id', 'display_id'], 'sla.breaches'
    from sla.breaches
    where breaches.account_id = conversation_history.account_id and breaches.display_id = conversation_history.display_id)
    union all
    (select drafts.created_at, 5, drafts.draft_id, 'draft', case when drafts.maker = 'retrieval' then 'rule:retrieval' else drafts.maker end,
      format('Draft %s: %s%s', drafts.draft_id, drafts.state, coalesce(' (' || drafts.reason || ')', '')),
      jsonb_strip_nulls(jsonb_build_object('draft_id', drafts.draft_id, 'state', drafts.state, 'reason', drafts.reason,
        'customer_message_id', drafts.customer_message_id,
        -- Who sees what was held out is no control any more.
        'body', case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.body end,
        'confidence', case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.confidence end,
        'gold_reply_id', case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.gold_reply_id end,
        'gold_reply_version', case when drafts.state <> 'held_out' or drafts.replied_at is not null
          then drafts.gold_reply_version end,
        'language', drafts.language, 'category', drafts.category, 'shown_at', drafts.shown_at, 'outcome', drafts.outcome,
        'edit_ratio', drafts.edit_ratio, 'is_final', drafts.is_final)),
      'replies.drafts'
    from replies.drafts
    where drafts.account_id + 0 = conversation_history.account_id and drafts.display_id = conversation_history.display_id
      and drafts.created_at >= v_at and (drafts.created_at, 5, drafts.draft_id) > (v_at, v_rank, v_id)
    order by drafts.created_at, drafts.draft_id limit conversation_history.most)
    union all
    (select decisions.decided_at, 6, decisions.entry, decisions.action, decisions.actor,
      format('%s: %s', decisions.subject, decisions.outcome),
      jsonb_strip_nulls(jsonb_build_object('entry', decisions.entry, 'subject', decisions.subject, 'outcome', decisions.outcome,
        'actor_version', decisions.actor_version, 'evidence', decisions.evidence - 'display_id')),
      'audit.decision_log'
    from audit.decision_log as decisions
    where left(decisions.evidence ->> 'display_id', 20) = conversation_history.display_id::text
      and decisions.account_id = conversation_history.account_id and decisions.decided_at >= v_at
      and (decisions.decided_at, 6, decisions.entry) > (v_at, v_rank, v_id)
    order by decisions.decided_at, decisions.entry limit conversation_history.most)
    union all
    (select queued.created_at, 7, queued.action_id, 'action', queued.created_by, format('%s: %s', queued.kind, queued.state),
      jsonb_strip_nulls(jsonb_build_object('action_id', queued.action_id, 'kind', queued.kind, 'arguments', queued.arguments,
        'from', queued.source, 'state', queued.state, 'attempts', queued.attempts, 'message_id', queued.message_id,
        'settled_at', queued.settled_at, 'problem', queued.problem, 'hint', queued.hint)),
      'actions.outbox'
    from actions.outbox as queued
    where queued.account_id = conversation_history.account_id and queued.display_id = conversation_history.display_id
      and queued.created_at >= v_at and (queued.created_at, 7, queued.action_id) > (v_at, v_rank, v_id)
    order by queued.created_at, queued.action_id limit conversation_history.most)
  ) as told
  where (told.at, told.rank, told.id) > (v_at, v_rank, v_id)
  order by told.at, told.rank, told.id
  limit conversation_history.most;
end
$$;
comment on function replies.conversation_history is
  'One conversation in order, a page at a time. Viewers and above. Errors: OC403, OC404, OC422.';

revoke all on function replies.without_names, replies.promote_to_gold, replies.conversation_history
  from public, anon, authenticated, service_role;
grant execute on function replies.promote_to_gold, replies.conversation_history to authenticated, service_role;
