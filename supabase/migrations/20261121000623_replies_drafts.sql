-- Drafts: what a maker proposes to answer a waiting customer with, and what people make of it. A maker proposes, a person
-- decides, the outbox sends; nothing here writes to a customer by itself. The first maker looks for the approved gold reply
-- that fits best; whatever a second one uses, it ends in the same replies.take_proposal.
create table replies.drafts (
  account_id bigint not null,
  draft_id bigint generated always as identity,
  display_id bigint not null,
  episode integer not null,
  customer_message_id bigint not null,
  customer_message_at timestamptz not null,
  question_fingerprint uuid not null,
  waiting_since timestamptz not null,
  created_at timestamptz not null,
  maker text not null,
  maker_version text not null,
  state text not null,
  reason text,
  gold_reply_id bigint,
  gold_reply_version integer,
  language text,
  category text,
  confidence double precision,
  body text,
  missing text[] not null default '{}',
  evidence jsonb not null,
  note_action_id bigint,
  shown_at timestamptz,
  shown_by text,
  claimed_by text,
  claimed_until timestamptz,
  closed_at timestamptz,
  decided_at timestamptz,
  decided_by text,
  is_override boolean,
  grades jsonb,
  final_text text,
  action_id bigint,
  replied_at timestamptz,
  reply_message_id bigint,
  reply_agent_id bigint,
  outcome text,
  is_final boolean not null default true,
  edit_distance integer,
  edit_ratio double precision,
  edit_method text,
  draft_length integer,
  sent_length integer,
  outcome_at timestamptz,
  constraint drafts_pkey primary key (account_id, draft_id),
  -- A maker speaks once to what the customer wrote, however often the conversation is looked at again.
  constraint drafts_question_once unique (account_id, display_id, customer_message_id, maker, question_fingerprint),
  constraint drafts_state_known check (state in ('open', 'approved', 'sent', 'rejected', 'superseded', 'expired', 'abstained',
    'held_out', 'failed')),
  constraint drafts_texts_bounded check (length(maker) between 1 and 100 and length(maker_version) between 1 and 100
    and length(reason) between 1 and 1000 and length(body) between 1 and 10000 and length(final_text) between 1 and 10000),
  constraint drafts_body_unless_abstained check ((state = 'abstained') = (body is null)),
  constraint drafts_reason_given check (reason is not null or state in ('open', 'approved', 'sent', 'held_out')),
  constraint drafts_confidence_bounded check (confidence between 0 and 1),
  constraint drafts_evidence_is_object check (jsonb_typeof(evidence) = 'object'),
  constraint drafts_shown_whole check ((shown_at is null) = (shown_by is null) and shown_by in ('note', 'claim', 'decision')),
  constraint drafts_claim_whole check ((claimed_by is null) = (claimed_until is null)),
  constraint drafts_decision_whole check ((decided_at is null) = (decided_by is null)),
  constraint drafts_closed_where_undecided check (closed_at is null or state not in ('open', 'abstained', 'held_out', 'rejected')),
  constraint drafts_decided_where_needed check ((decided_at is not null) = (state in ('approved', 'sent', 'rejected', 'failed'))),
  constraint drafts_approval_whole check ((final_text is null) = (action_id is null)
    and (action_id is not null) = (state in ('approved', 'sent', 'failed'))),
  constraint drafts_grades_are_object check (jsonb_typeof(grades) = 'object'),
  constraint drafts_outcome_known check (outcome in ('verbatim', 'light', 'heavy', 'rewrite', 'discarded', 'superseded',
    'expired', 'abstained'))
);
comment on table replies.drafts is 'Every draft, also those that were not made (abstained) or shown (held out): what it rests on, who decided, and what became of it.';
comment on column replies.drafts.account_id is 'Chatwoot''s account id.';
comment on column replies.drafts.draft_id is 'Number of the draft.';
comment on column replies.drafts.display_id is 'The conversation''s number in its account.';
comment on column replies.drafts.episode is 'Number of the episode within the conversation (ledger.episodes).';
comment on column replies.drafts.customer_message_id is 'The customer''s newest message when it was made.';
comment on column replies.drafts.customer_message_at is 'When that was written (UTC).';
comment on column replies.drafts.question_fingerprint is 'Tells whether what the customer wrote in this wait is still the same: a message may be edited, deleted or come late.';
comment on column replies.drafts.waiting_since is 'Since when the customer was waiting, as known when it was made (UTC).';
comment on column replies.drafts.created_at is 'When it was made (UTC).';
comment on column replies.drafts.maker is 'What made it: retrieval, or the name that a maker gives itself, such as model:support.';
comment on column replies.drafts.maker_version is 'Version of the maker.';
comment on column replies.drafts.state is 'open (waits for a decision), approved (in the outbox), sent, rejected, superseded, expired, abstained (no draft, with the reason), held_out (made and shown to nobody, as the control), or failed (approved and not sent).';
comment on column replies.drafts.reason is 'Why it is in that state: nothing_written, no_gold_replies, low_confidence, unknown_language, error (abstained); customer_wrote, message_changed, answered, resolved, deleted, blocked, not_waiting, proposed_again, overridden (superseded); not_decided (expired); the words given (rejected) or found (failed).';
comment on column replies.drafts.gold_reply_id is 'The gold reply that it was made from; null for none.';
comment on column replies.drafts.gold_reply_version is 'The version of it.';
comment on column replies.drafts.language is 'ISO code of the language the customer wrote in; null when not known.';
comment on column replies.drafts.category is 'Category of the conversation, or of the gold reply where it has none; null for none.';
comment on column replies.drafts.confidence is 'How sure the maker is, 0 to 1.';
comment on column replies.drafts.body is 'The text proposed, variables filled as far as known; null when there is none.';
comment on column replies.drafts.missing is 'Names of the variables that are not filled.';
comment on column replies.drafts.evidence is 'What it rests on: candidates with the parts of their scores, length and language of the question.';
comment on column replies.drafts.note_action_id is 'The action that posts it as a private note; null for none.';
comment on column replies.drafts.shown_at is 'When a person could first see it (UTC); null for never.';
comment on column replies.drafts.shown_by is 'Through what: note, claim or decision.';
comment on column replies.drafts.claimed_by is 'Who has it in hand, as in the decision log; counts until claimed_until.';
comment on column replies.drafts.claimed_until is 'Until when (UTC).';
comment on column replies.drafts.closed_at is 'When it stopped being open without a decision (UTC); null when it did not.';
comment on column replies.drafts.decided_at is 'When it was approved or rejected (UTC); null while not.';
comment on column replies.drafts.decided_by is 'By whom, as in the decision log.';
comment on column replies.drafts.is_override is 'Whether it was approved although something had happened since; null while not approved.';
comment on column replies.drafts.grades is 'The approver''s grades, whole numbers from 1 to 5: tone, accuracy, policy; null for none.';
comment on column replies.drafts.final_text is 'The text approved; null while none is.';
comment on column replies.drafts.action_id is 'The action that sends it (actions.outbox); null while not approved.';
comment on column replies.drafts.replied_at is 'When a person''s reply to that customer really left (UTC), whatever it said; null while none did.';
comment on column replies.drafts.reply_message_id is 'That reply; null while none.';
comment on column replies.drafts.reply_agent_id is 'Who is shown as its author (chatwoot.agents of kind user); null while none.';
comment on column replies.drafts.outcome is 'What became of it: verbatim, light, heavy, rewrite (sent, by how much was changed), discarded, superseded, expired or abstained; null while not known.';
comment on column replies.drafts.is_final is 'Whether it is the last of its wait. A later message of the customer, or another maker''s proposal, makes it false.';
comment on column replies.drafts.edit_distance is 'Characters inserted, deleted or replaced between draft and reply; null while not measured.';
comment on column replies.drafts.edit_ratio is 'That, divided by the longer of the two; null while not measured.';
comment on column replies.drafts.edit_method is 'How it was measured; null while not.';
comment on column replies.drafts.draft_length is 'Characters of the draft as measured.';
comment on column replies.drafts.sent_length is 'Characters of the reply as measured.';
comment on column replies.drafts.outcome_at is 'When the outcome was settled (UTC); null while it is not.';
create unique index drafts_open_key on replies.drafts (account_id, display_id) where state = 'open';
-- The queue, longest wait first; not beginning with account_id, as with messages. And what is to be looked at when its
-- conversation moves on.
create index drafts_queue_idx on replies.drafts (waiting_since, account_id) where state = 'open';
create index drafts_unsettled_idx on replies.drafts (account_id, display_id) where outcome_at is null;
create index drafts_created_at_idx on replies.drafts (created_at) where state = 'open';
alter table replies.drafts enable row level security;
create policy "Members read their accounts' drafts" on replies.drafts
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all drafts" on replies.drafts for select to analyst using (true);
grant select on replies.drafts to authenticated, analyst, service_role;

create type replies.asked as (
  account_id bigint, display_id bigint, episode integer, waiting_since timestamptz, message_id bigint, message_at timestamptz,
  question text, fingerprint uuid, channel text
);
comment on type replies.asked is 'What a waiting customer has written: the messages of the running wait in order, at most 4,000 characters.';

create function replies.questions(account_ids bigint[], display_ids bigint[]) returns setof replies.asked
language plpgsql stable security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query
  select last_one.account_id, last_one.display_id, last_one.episode, last_one.waiting_since, said.message_id,
    said.created_at, left(concat_ws(E'\n', nullif(btrim(mirrored.additional_attributes ->> 'mail_subject'), ''), said.words), 4000),
    said.fingerprint, coalesce(mirrored.channel, inboxes.channel)
  from (select distinct told.account_id, told.display_id
    from unnest(questions.account_ids, questions.display_ids) as told (account_id, display_id)) as given
  join ledger.conversations as known on known.account_id = given.account_id and known.display_id = given.display_id
  -- Not while a bot has it: then nobody would look at a draft, and the bot's next words may settle it.
  join ledger.episodes as last_one on last_one.account_id = known.account_id and last_one.display_id = known.display_id
    and last_one.episode = known.episodes and last_one.waiting_since is not null
    and last_one.status <> 'resolved' and last_one.state <> 'bot'
  join chatwoot.conversations as mirrored on mirrored.account_id = given.account_id
    and mirrored.display_id = given.display_id and mirrored.deleted_at is null and mirrored.status is distinct from 'resolved'
    and not coalesce(mirrored.labels @> '{spam}', false)
  left join chatwoot.inboxes on inboxes.account_id = mirrored.account_id and inboxes.inbox_id = mirrored.inbox_id
  cross join lateral (
    select (array_agg(newest.message_id order by newest.created_at desc, newest.message_id desc))[1] as message_id,
      max(newest.created_at) as created_at,
      string_agg(newest.content, E'\n' order by newest.created_at, newest.message_id) as words,
      md5(string_agg(newest.message_id || ':' || coalesce(newest.content, ''), '|'
        order by newest.created_at, newest.message_id))::uuid as fingerprint
    from (
      select messages.message_id, messages.created_at, messages.content from chatwoot.messages
      where messages.conversation_display_id = last_one.display_id and messages.account_id = last_one.account_id
        and messages.created_at >= last_one.waiting_since and messages.message_type = 'incoming'
        and messages.private is not true and messages.deleted_at is null
      -- Somebody may write without end.
      order by messages.created_at desc, messages.message_id desc limit 100
    ) as newest
  ) as said
  where said.message_id is not null
    -- What was merged into another is answered there.
    and not exists (select from ledger.merges where merges.account_id = given.account_id
      and merges.child_display_id = given.display_id)
    and not exists (select from chatwoot.contacts where contacts.account_id = mirrored.account_id
      and contacts.contact_id = mirrored.contact_id and contacts.blocked)
  order by last_one.account_id, last_one.display_id;
end
$$;
comment on function replies.questions is
  'Of the given conversations those in which a customer waits for a person now, with what was asked.';

create function replies.lock_drafts(account_id bigint, display_id bigint) returns void
-- All of a conversation, and in their order: whoever decides about one touches others, and so does learning from them.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  perform from replies.drafts
  where drafts.account_id = lock_drafts.account_id and drafts.display_id = lock_drafts.display_id
  order by drafts.draft_id for no key update;
end
$$;
comment on function replies.lock_drafts is 'Locks the drafts of a conversation until the end of the transaction. To be called before any of them is changed or logged.';

create function replies.close_draft(account_id bigint, draft_id bigint, state text, reason text, as_of timestamptz)
returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft replies.drafts;
begin
  update replies.drafts as existing set state = close_draft.state, reason = close_draft.reason, closed_at = close_draft.as_of,
    claimed_by = null, claimed_until = null
  where existing.account_id = close_draft.account_id and existing.draft_id = close_draft.draft_id and existing.state = 'open'
  returning existing.* into v_draft;
  if not found then
    return false;
  end if;
  if v_draft.note_action_id is not null and v_draft.shown_at is null then
    perform actions.cancel(v_draft.account_id, v_draft.note_action_id, format('Draft %s was %s', v_draft.draft_id, v_draft.state),
      close_draft.as_of);
  end if;
  perform audit.log(v_draft.account_id, 'draft.' || v_draft.state, 'draft:' || v_draft.draft_id,
    jsonb_build_object('display_id', v_draft.display_id, 'message_id', v_draft.customer_message_id, 'reason', v_draft.reason),
    v_draft.state, 'rule:drafts', '1', close_draft.as_of);
  return true;
end
$$;
comment on function replies.close_draft is
  'Ends an open draft that nobody decided (superseded or expired), takes back its note where that has not left, and logs it; true when it was open.';

create function replies.is_held_out(account_id bigint, display_id bigint, episode integer) returns boolean
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_before boolean;
begin
  -- Who is in the control stays there to the end of the episode, whatever is chosen meanwhile.
  select (drafts.evidence ->> 'held_out')::boolean into v_before from replies.drafts
  where drafts.account_id = is_held_out.account_id and drafts.display_id = is_held_out.display_id
    and drafts.episode = is_held_out.episode and drafts.evidence ? 'held_out'
  order by drafts.draft_id limit 1;
  return coalesce(v_before,
    ('x' || left(md5(concat_ws('/', is_held_out.account_id, is_held_out.display_id, is_held_out.episode)), 8))::bit(32)::bigint
      % 100 < (ops.setting(is_held_out.account_id, 'draft_hold_out_percent') #>> '{}')::integer);
end
$$;
comment on function replies.is_held_out is
  'Whether the episode belongs to the control, in which drafts are made and shown to nobody: by lot, the same every time.';

create function replies.note_text(draft replies.drafts, title text) returns text
language sql immutable security invoker set search_path = '' as $$
  select concat(
    -- A gap is shown, and cannot be taken for a variable that somebody fills later: Chatwoot reads notes as templates too.
    replace(replace(replace(concat(
      format('**Suggested reply** (draft %s%s%s)', (draft).draft_id,
        case when (draft).confidence is not null then format(', %s %% sure', round((draft).confidence * 100)) end,
        case when note_text.title is not null then format(', from “%s”', note_text.title) end),
      E'\n\n', (draft).body, E'\n\n'), '{{', '‹'), '}}', '›'), '{%', '‹%'),
    case when (draft).missing <> '{}' then format(E'Still to be filled in: %s.\n', array_to_string((draft).missing, ', ')) end,
    format(E'Approve: `select api.approve_draft(%s, %s)`; with other words: `select api.approve_draft(%1$s, %2$s, ''…'')`; not at all: `select api.reject_draft(%1$s, %2$s, ''why'')`.',
      (draft).account_id, (draft).draft_id))
$$;
comment on function replies.note_text is 'A draft as a private note, with how to approve it.';

create function replies.enqueue_note(draft replies.drafts, as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_problem text;
begin
  if ops.setting((draft).account_id, 'draft_notes') <> 'true' then
    return;
  end if;
  begin
    update replies.drafts as existing set note_action_id = actions.enqueue((draft).account_id, (draft).display_id, 'note',
      jsonb_build_object('content', replies.note_text(draft, (select gold_replies.title from replies.gold_replies
        where gold_replies.account_id = (draft).account_id and gold_replies.gold_reply_id = (draft).gold_reply_id))),
      'draft_note:' || (draft).draft_id, enqueue_note.as_of)
    where existing.account_id = (draft).account_id and existing.draft_id = (draft).draft_id;
  exception when others then
    -- The draft stands in the queue without it.
    get stacked diagnostics v_problem = message_text;
    perform ops.raise_alert((draft).account_id, 'replies.note_failed', 'draft_notes',
      format('The note of draft %s could not be enqueued: %s', (draft).draft_id, v_problem),
      'The draft is in api.approval_queue all the same.', enqueue_note.as_of);
  end;
end
$$;
comment on function replies.enqueue_note is 'Puts a draft into the outbox as a private note, where the account wishes so.';

create function replies.take_proposal(proposal replies.drafts, as_of timestamptz) returns bigint
-- What every maker ends in, so that abstaining, the control, the note and the log are the same for all of them.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft replies.drafts := proposal;
  v_floor double precision := (ops.setting((proposal).account_id, 'draft_confidence_floor') #>> '{}')::double precision / 100;
begin
  select drafts.draft_id into v_draft.draft_id from replies.drafts
  where drafts.account_id = v_draft.account_id and drafts.display_id = v_draft.display_id
    and drafts.customer_message_id = v_draft.customer_message_id and drafts.maker = v_draft.maker
    and drafts.question_fingerprint = v_draft.question_fingerprint;
  if found then
    return v_draft.draft_id;
  end if;
  v_draft.evidence := coalesce(v_draft.evidence, '{}') || jsonb_build_object('floor', v_floor, 'held_out',
    replies.is_held_out(v_draft.account_id, v_draft.display_id, v_draft.episode));
  v_draft.missing := coalesce(v_draft.missing, '{}');
  if v_draft.body is not null and coalesce(v_draft.confidence, 0) < v_floor then
    v_draft.body := null;
    v_draft.missing := '{}';
    v_draft.reason := case when v_draft.language is null then 'unknown_language' else 'low_confidence' end;
  end if;
  v_draft.state := case when v_draft.body is null then 'abstained'
    when (v_draft.evidence ->> 'held_out')::boolean then 'held_out' else 'open' end;
  v_draft.reason := case when v_draft.body is null then coalesce(v_draft.reason, 'low_confidence') end;
  -- One that abstains has nothing to put in the place of what lies there for the same words.
  if v_draft.state <> 'abstained' then
    perform replies.close_draft(drafts.account_id, drafts.draft_id, 'superseded', 'proposed_again', take_proposal.as_of)
    from replies.drafts
    where drafts.account_id = v_draft.account_id and drafts.display_id = v_draft.display_id and drafts.state = 'open';
  end if;
  -- To the second, since the instant of a message is told so at first and later more finely.
  update replies.drafts as existing set is_final = false
  where existing.account_id = v_draft.account_id and existing.display_id = v_draft.display_id and existing.is_final
    and existing.outcome_at is null and existing.replied_at is null and existing.customer_message_at >= date_trunc('second', v_draft.waiting_since)
    and existing.state not in ('open', 'approved', 'sent');
  insert into replies.drafts as existing (account_id, display_id, episode, customer_message_id, customer_message_at,
    question_fingerprint, waiting_since, created_at, maker, maker_version, state, reason, gold_reply_id, gold_reply_version,
    language, category, confidence, body, missing, evidence, is_final)
  values (v_draft.account_id, v_draft.display_id, v_draft.episode, v_draft.customer_message_id, v_draft.customer_message_at,
    v_draft.question_fingerprint, v_draft.waiting_since, take_proposal.as_of, v_draft.maker, v_draft.maker_version,
    v_draft.state, v_draft.reason, v_draft.gold_reply_id, v_draft.gold_reply_version, v_draft.language, v_draft.category,
    v_draft.confidence, v_draft.body, v_draft.missing, v_draft.evidence,
    -- What is on its way, or lies there for the same words, is what the customer will be answered with.
    not exists (select from replies.drafts as beside where beside.account_id = v_draft.account_id
      and beside.display_id = v_draft.display_id and beside.outcome_at is null and beside.replied_at is null
      and beside.is_final and beside.state in ('open', 'approved', 'sent')
      and beside.customer_message_at >= date_trunc('second', v_draft.waiting_since)))
  on conflict do nothing
  returning existing.* into v_draft;
  if not found then
    -- Another maker was quicker by a moment: what it proposed stands, and this one may be proposed again.
    return null;
  end if;
  perform audit.log(v_draft.account_id,
    case v_draft.state when 'open' then 'draft.suggested' else 'draft.' || v_draft.state end, 'draft:' || v_draft.draft_id,
    jsonb_strip_nulls(jsonb_build_object('display_id', v_draft.display_id, 'message_id', v_draft.customer_message_id,
      'reason', v_draft.reason, 'language', v_draft.language, 'category', v_draft.category)
      -- Everybody reads the log, and who sees what was held out is no control any more: only that it can be proven later.
      || case when v_draft.state = 'held_out'
        then jsonb_build_object('evidence_sha256', encode(sha256(convert_to(v_draft.evidence::text, 'UTF8')), 'hex'))
        else jsonb_build_object('confidence', v_draft.confidence, 'gold_reply_id', v_draft.gold_reply_id,
          'gold_reply_version', v_draft.gold_reply_version, 'missing', nullif(to_jsonb(v_draft.missing), '[]')) end)
      || case when v_draft.state = 'held_out' then '{}' else jsonb_build_object('evidence', v_draft.evidence) end,
    v_draft.state, case when v_draft.maker = 'retrieval' then 'rule:retrieval' else v_draft.maker end, v_draft.maker_version,
    take_proposal.as_of);
  if v_draft.state = 'open' then
    perform replies.enqueue_note(v_draft, take_proposal.as_of);
  end if;
  return v_draft.draft_id;
end
$$;
comment on function replies.take_proposal is
  'Takes what a maker proposes for a customer''s words (body null: nothing): as an open draft, held out, or abstained under the confidence floor. Safe to repeat; returns the draft''s id, null when another maker proposed at the same moment.';

create function replies.retrieve(asked replies.asked, as_of timestamptz) returns replies.drafts
-- The first maker: the approved gold reply that fits best. It reads only, so that nothing is locked while it looks.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft replies.drafts;
  v_best record;
  v_candidates jsonb;
  v_problem text;
begin
  v_draft.account_id := (asked).account_id;
  v_draft.display_id := (asked).display_id;
  v_draft.episode := (asked).episode;
  v_draft.customer_message_id := (asked).message_id;
  v_draft.customer_message_at := (asked).message_at;
  v_draft.question_fingerprint := (asked).fingerprint;
  v_draft.waiting_since := (asked).waiting_since;
  v_draft.maker := 'retrieval';
  v_draft.maker_version := 'unknown';
  v_draft.evidence := jsonb_strip_nulls(jsonb_build_object('question_characters', length((asked).question),
    'channel', (asked).channel));
  begin
    v_draft.maker_version := replies.ranker_version();
    if coalesce(btrim((asked).question, E' \t\r\n'), '') = '' then
      v_draft.reason := 'nothing_written';
      return v_draft;
    end if;
    v_draft.language := replies.language_of((asked).question);
    v_draft.category := replies.category_of((asked).account_id, (asked).display_id);
    select jsonb_agg(jsonb_build_object('gold_reply_id', ranked.gold_reply_id, 'version', ranked.version,
      'confidence', ranked.confidence, 'parts', ranked.parts) order by ranked.place)
    into v_candidates
    from replies.rank((asked).account_id, (asked).question, v_draft.language, (asked).channel, v_draft.category, 5)
      with ordinality as ranked (gold_reply_id, version, confidence, parts, place);
    v_draft.evidence := v_draft.evidence || jsonb_build_object('candidates', coalesce(v_candidates, '[]'));
    if v_candidates is null then
      v_draft.reason := case when v_draft.language is null then 'unknown_language'
        when not exists (select from replies.gold_replies where gold_replies.account_id = (asked).account_id
          and gold_replies.status = 'approved' and gold_replies.language = v_draft.language) then 'no_gold_replies'
        else 'low_confidence' end;
      return v_draft;
    end if;
    select told.gold_reply_id, told.version, told.body, told.channels, told.category into strict v_best
    from replies.gold_replies as told
    where told.account_id = (asked).account_id
      and told.gold_reply_id = (v_candidates #>> '{0,gold_reply_id}')::bigint;
    v_draft.gold_reply_id := v_best.gold_reply_id;
    v_draft.gold_reply_version := v_best.version;
    v_draft.category := coalesce(v_draft.category, v_best.category);
    v_draft.confidence := (v_candidates #>> '{0,confidence}')::double precision;
    select rendered.text, rendered.missing into v_draft.body, v_draft.missing
    from replies.render((asked).account_id, (asked).display_id, coalesce(v_best.channels ->> (asked).channel, v_best.body))
      as rendered;
    if length(v_draft.body) not between 1 and 10000 then
      raise exception 'Gold reply % has % characters when filled in', v_best.gold_reply_id, length(v_draft.body);
    end if;
  exception when others then
    -- One that cannot be answered for keeps nobody else waiting, and is not tried again and again.
    get stacked diagnostics v_problem = message_text;
    v_draft.body := null;
    v_draft.reason := 'error';
    v_draft.evidence := v_draft.evidence || jsonb_build_object('problem', left(v_problem, 500));
    perform ops.raise_alert((asked).account_id, 'replies.suggest_failed', 'retrieval',
      format('No draft could be made for conversation %s: %s', (asked).display_id, v_problem),
      'Its customer waits without one; look at the message, and at api.drafts where reason is error.', retrieve.as_of);
  end;
  return v_draft;
end
$$;
comment on function replies.retrieve is 'What retrieval proposes for a customer''s words; body null where it abstains, with the reason.';

create function replies.reopen_drafts(waiting replies.asked[], as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_draft replies.drafts;
begin
  for v_draft in
    select latest.* from unnest(reopen_drafts.waiting) as asked
    cross join lateral (
      select drafts.* from replies.drafts where drafts.account_id = asked.account_id and drafts.display_id = asked.display_id
        and drafts.customer_message_id = asked.message_id and drafts.question_fingerprint = asked.fingerprint
      order by drafts.draft_id desc limit 1
    ) as latest
    where latest.state = 'superseded' and latest.reason not in ('proposed_again', 'overridden')
    order by latest.account_id, latest.display_id
  loop
    perform replies.lock_drafts(v_draft.account_id, v_draft.display_id);
    continue when exists (select from replies.drafts as beside where beside.account_id = v_draft.account_id
      and beside.display_id = v_draft.display_id and beside.state in ('open', 'approved'));
    update replies.drafts as others set is_final = false
    where others.account_id = v_draft.account_id and others.display_id = v_draft.display_id and others.is_final
      and others.replied_at is null and others.waiting_since >= date_trunc('second', v_draft.waiting_since) and others.draft_id <> v_draft.draft_id;
    update replies.drafts as existing set state = 'open', reason = null, closed_at = null, outcome = null, outcome_at = null,
      is_final = true, replied_at = null, reply_message_id = null, reply_agent_id = null, edit_distance = null,
      edit_ratio = null, edit_method = null, draft_length = null, sent_length = null
    where existing.account_id = v_draft.account_id and existing.draft_id = v_draft.draft_id and existing.state = 'superseded';
    perform audit.log(v_draft.account_id, 'draft.reopened', 'draft:' || v_draft.draft_id,
      jsonb_build_object('display_id', v_draft.display_id, 'message_id', v_draft.customer_message_id, 'reason', v_draft.reason),
      'open', 'rule:drafts', '1', reopen_drafts.as_of);
    if v_draft.shown_at is null then
      perform replies.enqueue_note(v_draft, reopen_drafts.as_of);
    end if;
  end loop;
end
$$;
comment on function replies.reopen_drafts is
  'Takes up again the drafts of customers who wait once more for an answer to the same words: a label was a slip, a reply did not arrive, a message came late.';

create function replies.follow(account_ids bigint[], display_ids bigint[], as_of timestamptz) returns void
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_asked replies.asked[];
  v_new replies.asked[];
  v_proposals replies.drafts[];
  v_unsettled replies.asked[] := '{}'::replies.asked[];
  v_one record;
begin
  -- First what may be slow and locks nothing, so that the log of an account is not held up by it.
  v_asked := array(select row(questions.*)::replies.asked
    from replies.questions(follow.account_ids, follow.display_ids) as questions);
  v_new := array(
    select asked from unnest(v_asked) as asked
    where asked.message_at > follow.as_of - interval '7 days'
      and ops.setting(asked.account_id, 'draft_replies') = 'true'
      and (select true from replies.gold_replies where gold_replies.account_id = asked.account_id
        and gold_replies.status = 'approved' limit 1)
      and (select true from replies.drafts where drafts.account_id = asked.account_id
        and drafts.display_id = asked.display_id and drafts.customer_message_id = asked.message_id
        and drafts.question_fingerprint = asked.fingerprint limit 1) is null);
  -- A whole history at once is taken in parts: each entry in the log costs more the more there are in one transaction.
  if cardinality(v_new) > 200 then
    perform ledger.mark(later.account_id, later.display_id, walk_since => follow.as_of, as_of => follow.as_of)
    from unnest(v_new[201:]) as later;
  end if;
  v_proposals := array(select replies.retrieve(asked, follow.as_of) from unnest(v_new[:200]) as asked);
  -- All of them before the first entry in the log: who approves one holds it and waits for the log.
  for v_one in
    select given.account_id, given.display_id
    from unnest(follow.account_ids, follow.display_ids) as given (account_id, display_id)
    where (select true from replies.drafts where drafts.account_id = given.account_id
        and drafts.display_id = given.display_id and drafts.outcome_at is null limit 1)
      -- What became of it may be known before it is over here: learning from a settled one looks at all of the conversation.
      or (select true from replies.drafts where drafts.account_id = given.account_id
        and drafts.display_id = given.display_id and drafts.state = 'open' limit 1)
    group by given.account_id, given.display_id
    order by given.account_id, given.display_id
  loop
    v_unsettled := v_unsettled || row(v_one.account_id, v_one.display_id, null, null, null, null, null, null, null)::replies.asked;
    perform replies.lock_drafts(v_one.account_id, v_one.display_id);
  end loop;
  if v_unsettled <> '{}' then
    perform replies.learn(unsettled.account_id, unsettled.display_id, follow.as_of) from unnest(v_unsettled) as unsettled;
    perform replies.close_draft(told.account_id, told.draft_id, 'superseded', told.reason, follow.as_of)
    from (
      select drafts.account_id, drafts.draft_id, case
        when asked.message_id <> drafts.customer_message_id and asked.message_at >= drafts.customer_message_at then 'customer_wrote'
        when asked.message_id is not null then 'message_changed'
        when mirrored.deleted_at is not null then 'deleted'
        when last_one.status = 'resolved' or mirrored.status = 'resolved' then 'resolved'
        when last_one.waiting_since is null then 'answered'
        when contacts.blocked then 'blocked'
        else 'not_waiting' end as reason
      from unnest(v_unsettled) as given
      cross join lateral (
        select opened.* from replies.drafts as opened where opened.account_id = given.account_id
          and opened.display_id = given.display_id and opened.state = 'open' limit 1
      ) as drafts
      left join unnest(v_asked) as asked on asked.account_id = drafts.account_id and asked.display_id = drafts.display_id
      left join chatwoot.conversations as mirrored on mirrored.account_id = drafts.account_id
        and mirrored.display_id = drafts.display_id
      left join chatwoot.contacts on contacts.account_id = mirrored.account_id and contacts.contact_id = mirrored.contact_id
      left join ledger.conversations as known on known.account_id = drafts.account_id and known.display_id = drafts.display_id
      left join ledger.episodes as last_one on last_one.account_id = known.account_id
        and last_one.display_id = known.display_id and last_one.episode = known.episodes
      where (asked.message_id, asked.fingerprint) is distinct from (drafts.customer_message_id, drafts.question_fingerprint)
      order by drafts.account_id, drafts.draft_id
    ) as told;
  end if;
  perform replies.take_proposal(proposals, follow.as_of) from unnest(v_proposals) as proposals;
  perform replies.reopen_drafts(v_asked, follow.as_of);
end
$$;
comment on function replies.follow is
  'Settles the drafts of conversations that changed, ends open ones whose question is no longer that, and lets retrieval propose where a customer waits without a draft.';

create function replies.refresh(account_ids bigint[], display_ids bigint[], as_of timestamptz default now()) returns void
-- Called for every webhook: where there is nothing to propose from and no draft to settle, it leaves after two looks.
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_problem text;
begin
  -- Looked up one by one and not joined: a plan made while there were no drafts must not read all of them later.
  if not exists (select from unnest(refresh.account_ids) as given (account_id)
      where (select true from replies.gold_replies where gold_replies.account_id = given.account_id
        and gold_replies.status = 'approved' limit 1))
    and not exists (select from unnest(refresh.account_ids, refresh.display_ids) as given (account_id, display_id)
      where (select true from replies.drafts where drafts.account_id = given.account_id
          and drafts.display_id = given.display_id and drafts.outcome_at is null limit 1)
        or (select true from replies.drafts where drafts.account_id = given.account_id
          and drafts.display_id = given.display_id and drafts.state = 'open' limit 1))
  then
    return;
  end if;
  begin
    perform replies.follow(refresh.account_ids, refresh.display_ids, refresh.as_of);
    return;
  exception when others then
    get stacked diagnostics v_problem = message_text;
  end;
  -- One of them is the trouble: one by one, so that it alone goes without. The webhook and its numbers are kept in any case.
  perform replies.lock_drafts(given.account_id, given.display_id) from (
    select distinct told.account_id, told.display_id
    from unnest(refresh.account_ids, refresh.display_ids) as told (account_id, display_id)
    order by told.account_id, told.display_id) as given;
  for v_place in 1..cardinality(refresh.display_ids) loop
    begin
      if cardinality(refresh.display_ids) > 1 then
        perform replies.follow(refresh.account_ids[v_place:v_place], refresh.display_ids[v_place:v_place], refresh.as_of);
        v_problem := null;
      end if;
    exception when others then
      get stacked diagnostics v_problem = message_text;
    end;
    if v_problem is not null then
      perform ops.raise_alert(refresh.account_ids[v_place], 'replies.suggest_failed', 'drafts',
        format('The drafts of conversation %s could not be brought up to date: %s', refresh.display_ids[v_place], v_problem),
        'They are looked at again with its next message. Until then compare a draft with its conversation before you approve it.',
        refresh.as_of);
    end if;
  end loop;
end
$$;
comment on function replies.refresh is
  'Brings the drafts of the given conversations (two arrays of one length) up to date with the ledger. Called by ledger.refresh; never fails.';

create function replies.follow_changed_words() returns trigger
-- Row by row with a condition, which costs an update of anything else nothing.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from replies.drafts where drafts.account_id = new.account_id
    and drafts.display_id = new.conversation_display_id and drafts.state = 'open')
  then
    perform ledger.mark(new.account_id, new.conversation_display_id, walk_since => new.created_at);
  end if;
  return null;
end
$$;
comment on function replies.follow_changed_words is 'Trigger: a draft for words that were edited or deleted is looked at again.';
create trigger follow_changed_words after update on chatwoot.messages
for each row when (new.message_type = 'incoming'
  and (old.content is distinct from new.content or (old.deleted_at is null) <> (new.deleted_at is null)))
execute function replies.follow_changed_words();

create function replies.follow_blocked() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
  perform ledger.mark(drafts.account_id, drafts.display_id, walk_since => now())
  from replies.drafts
  join chatwoot.conversations as mirrored on mirrored.account_id = drafts.account_id
    and mirrored.display_id = drafts.display_id and mirrored.contact_id = new.contact_id
  where drafts.account_id = new.account_id and drafts.state = 'open';
  return null;
end
$$;
comment on function replies.follow_blocked is 'Trigger: the drafts for a customer who was blocked are looked at again.';
create trigger follow_blocked after update on chatwoot.contacts
for each row when (new.blocked and old.blocked is not true) execute function replies.follow_blocked();

revoke all on function replies.questions, replies.lock_drafts, replies.close_draft, replies.is_held_out, replies.note_text, replies.take_proposal,
  replies.retrieve, replies.enqueue_note, replies.reopen_drafts, replies.follow, replies.refresh, replies.follow_changed_words, replies.follow_blocked
  from public, anon, authenticated, service_role;
