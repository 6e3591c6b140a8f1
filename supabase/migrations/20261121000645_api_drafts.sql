-- Drafts, for people: what waits for a decision, and deciding.
create function api.claim_draft(account_id bigint, draft_id bigint) returns timestamptz
language sql volatile security invoker set search_path = ''
as $$ select replies.claim_draft(claim_draft.account_id, claim_draft.draft_id) $$;
comment on function api.claim_draft is
  'Takes an open draft in hand for draft_claim_minutes, or for as long again, and returns until when; logged. Nobody else can decide it meanwhile. Approvers and above. Errors: OC403, OC404, OC409.';

create function api.release_draft(account_id bigint, draft_id bigint) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select replies.release_draft(release_draft.account_id, release_draft.draft_id) $$;
comment on function api.release_draft is
  'Gives back a draft that you have in hand; logged. False when nobody had. Approvers and above. Errors: OC403, OC404, OC409.';

create function api.approve_draft(
  account_id bigint, draft_id bigint, final_text text default null, grades jsonb default null, override boolean default false
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select replies.approve_draft(approve_draft.account_id, approve_draft.draft_id, approve_draft.final_text,
    approve_draft.grades, approve_draft.override)
$$;
comment on function api.approve_draft is
  'Approves a draft: its text, or final_text in its place, goes to the customer as a public reply, from the outbox. Returns the action''s id (api.actions). Variables left are filled in, agent.name with your name in Chatwoot, else with that of the token''s owner; what cannot be is refused (OC422). grades: {tone, accuracy, policy}, whole numbers from 1 to 5. When the customer has written again, somebody has answered or it was resolved since, it is refused with the news in details (OC409), unless override. Logged. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function api.reject_draft(account_id bigint, draft_id bigint, reason text) returns void
language sql volatile security invoker set search_path = ''
as $$ select replies.reject_draft(reject_draft.account_id, reject_draft.draft_id, reject_draft.reason) $$;
comment on function api.reject_draft is
  'Rejects an open draft with a reason of 1 to 1000 characters; logged. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function api.propose_draft(
  account_id bigint, display_id bigint, message_id bigint, maker text, maker_version text, body text,
  confidence double precision, evidence jsonb default '{}'
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select replies.propose_draft(propose_draft.account_id, propose_draft.display_id, propose_draft.message_id,
    propose_draft.maker, propose_draft.maker_version, propose_draft.body, propose_draft.confidence, propose_draft.evidence)
$$;
comment on function api.propose_draft is
  'The door for another maker of drafts, such as a language model: proposes an answer to the newest message of a waiting customer, and returns the draft''s id. maker: model: and a name. It goes the way of every draft: kept back under the confidence floor, held out, noted, logged, and sent only when a person approves it. The project''s backend only. Errors: OC403, OC404, OC409, OC422.';

create view api.approval_queue with (security_invoker = true) as
select drafts.account_id, drafts.draft_id, drafts.display_id, drafts.waiting_since,
  extract(epoch from now() - drafts.waiting_since)::double precision as waiting_seconds,
  shown.customer, shown.inbox,
  (select left(asked.content, 500) from chatwoot.messages as asked
    where asked.account_id = drafts.account_id and asked.message_id = drafts.customer_message_id) as customer_words,
  drafts.customer_message_at, drafts.body as draft, drafts.missing, drafts.confidence, drafts.maker, drafts.language,
  drafts.category, drafts.gold_reply_id,
  (select gold_replies.title from replies.gold_replies where gold_replies.account_id = drafts.account_id
    and gold_replies.gold_reply_id = drafts.gold_reply_id) as gold_reply_title,
  drafts.created_at,
  case when drafts.claimed_until > now() then drafts.claimed_by end as claimed_by,
  case when drafts.claimed_until > now() then drafts.claimed_until end as claimed_until,
  due.clock as sla_clock, due.due_at as sla_due_at, due.due_at < now() as sla_breached,
  drafts.news
from replies.draft_news as drafts
left join lateral (
  select (select contacts.name from chatwoot.contacts
      where contacts.account_id = mirrored.account_id and contacts.contact_id = mirrored.contact_id) as customer,
    (select inboxes.name from chatwoot.inboxes
      where inboxes.account_id = mirrored.account_id and inboxes.inbox_id = mirrored.inbox_id) as inbox
  from chatwoot.conversations as mirrored
  where mirrored.account_id = drafts.account_id and mirrored.display_id = drafts.display_id limit 1
) as shown on true
left join lateral (
  select clocks.clock, clocks.due_at from sla.clocks
  where clocks.account_id = drafts.account_id and clocks.display_id = drafts.display_id and clocks.state <> 'stopped'
    and clocks.due_at is not null
  order by clocks.due_at limit 1
) as due on true
where drafts.state = 'open'
order by drafts.waiting_since, drafts.draft_id;
comment on view api.approval_queue is 'The drafts that wait for a decision, in the accounts you belong to, longest wait first.';
comment on column api.approval_queue.account_id is 'Chatwoot''s account id.';
comment on column api.approval_queue.draft_id is 'Number of the draft: what approving and rejecting take.';
comment on column api.approval_queue.display_id is 'The conversation''s number in its account.';
comment on column api.approval_queue.waiting_since is 'Since when the customer is waiting (UTC).';
comment on column api.approval_queue.waiting_seconds is 'For how many seconds.';
comment on column api.approval_queue.customer is 'The customer''s name; null when not known.';
comment on column api.approval_queue.inbox is 'The inbox it came in through.';
comment on column api.approval_queue.customer_words is 'The first 500 characters of the customer''s newest message; null for attachments alone.';
comment on column api.approval_queue.customer_message_at is 'When that was written (UTC).';
comment on column api.approval_queue.draft is 'The text proposed.';
comment on column api.approval_queue.missing is 'Variables in it that are not filled in: agent.name is with the approval, anything else has to be written as final_text.';
comment on column api.approval_queue.confidence is 'How sure the maker is, 0 to 1.';
comment on column api.approval_queue.maker is 'What made it: retrieval, or model: and a name.';
comment on column api.approval_queue.language is 'Language the customer wrote in, an ISO code; null when not known.';
comment on column api.approval_queue.category is 'What it is about; null for not known.';
comment on column api.approval_queue.gold_reply_id is 'The gold reply that it was made from; null for none.';
comment on column api.approval_queue.gold_reply_title is 'What that is called.';
comment on column api.approval_queue.created_at is 'When the draft was made (UTC).';
comment on column api.approval_queue.claimed_by is 'Who has it in hand now, as in the decision log; null for nobody.';
comment on column api.approval_queue.claimed_until is 'Until when (UTC).';
comment on column api.approval_queue.sla_clock is 'The service level clock that is due next; null for none.';
comment on column api.approval_queue.sla_due_at is 'When it is due (UTC).';
comment on column api.approval_queue.sla_breached is 'Whether that is past; null for no clock.';
comment on column api.approval_queue.news is 'What has happened since, so that approving takes an override: array of {kind, at, message_id, agent_id}; null for nothing.';

create view api.drafts with (security_invoker = true) as
select drafts.account_id, drafts.draft_id, drafts.display_id, drafts.episode, drafts.customer_message_id,
  drafts.customer_message_at, drafts.waiting_since, drafts.created_at, drafts.maker, drafts.maker_version, drafts.state,
  drafts.reason,
  -- Who sees what was held out is no control any more.
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.gold_reply_id end as gold_reply_id,
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.gold_reply_version end as gold_reply_version,
  drafts.language, drafts.category,
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.confidence end as confidence,
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.body end as body,
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.missing end as missing,
  case when drafts.state <> 'held_out' or drafts.replied_at is not null then drafts.evidence end as evidence,
  drafts.shown_at, drafts.shown_by, drafts.closed_at, drafts.decided_at, drafts.decided_by, drafts.is_override, drafts.grades,
  drafts.final_text, drafts.action_id, drafts.replied_at, drafts.reply_message_id, drafts.reply_agent_id, drafts.outcome,
  drafts.is_final, drafts.edit_distance, drafts.edit_ratio, drafts.edit_method, drafts.draft_length, drafts.sent_length,
  drafts.outcome_at
from replies.drafts;
comment on view api.drafts is 'Every draft of the accounts you belong to, also those not made (abstained) or not shown (held_out), and what became of it.';
comment on column api.drafts.account_id is 'Chatwoot''s account id.';
comment on column api.drafts.draft_id is 'Number of the draft.';
comment on column api.drafts.display_id is 'The conversation''s number in its account.';
comment on column api.drafts.episode is 'Number of the episode within the conversation (ledger.episodes).';
comment on column api.drafts.customer_message_id is 'The customer''s newest message when it was made.';
comment on column api.drafts.customer_message_at is 'When that was written (UTC).';
comment on column api.drafts.waiting_since is 'Since when the customer was waiting, as known when it was made (UTC).';
comment on column api.drafts.created_at is 'When it was made (UTC).';
comment on column api.drafts.maker is 'What made it: retrieval, or the name that a maker gives itself, such as model:support.';
comment on column api.drafts.maker_version is 'Version of the maker.';
comment on column api.drafts.state is 'open (waits for a decision), approved (in the outbox), sent, rejected, superseded, expired, abstained (no draft, with the reason), held_out (made and shown to nobody, as the control), or failed (approved and not sent).';
comment on column api.drafts.reason is 'Why it is in that state: nothing_written, no_gold_replies, low_confidence, unknown_language, error (abstained); customer_wrote, message_changed, answered, resolved, deleted, blocked, not_waiting, proposed_again, overridden (superseded); not_decided (expired); the words given (rejected) or found (failed).';
comment on column api.drafts.gold_reply_id is 'The gold reply that it was made from; null for none, and of one held out until the customer has been answered.';
comment on column api.drafts.gold_reply_version is 'The version of it.';
comment on column api.drafts.language is 'ISO code of the language the customer wrote in; null when not known.';
comment on column api.drafts.category is 'Category of the conversation, or of the gold reply where it has none; null for none.';
comment on column api.drafts.confidence is 'How sure the maker is, 0 to 1; of one held out null until the customer has been answered.';
comment on column api.drafts.body is 'The text proposed, variables filled as far as known; null when there is none, and of one held out until the customer has been answered.';
comment on column api.drafts.missing is 'Names of the variables that are not filled; of one held out null until the customer has been answered.';
comment on column api.drafts.evidence is 'What it rests on: candidates with the parts of their scores, length of the question; of one held out null until the customer has been answered.';
comment on column api.drafts.shown_at is 'When a person could first see it (UTC); null for never.';
comment on column api.drafts.shown_by is 'Through what: note, claim or decision.';
comment on column api.drafts.closed_at is 'When it stopped being open without a decision (UTC); null when it did not.';
comment on column api.drafts.decided_at is 'When it was approved or rejected (UTC); null while not.';
comment on column api.drafts.decided_by is 'By whom, as in the decision log.';
comment on column api.drafts.is_override is 'Whether it was approved although something had happened since; null while not approved.';
comment on column api.drafts.grades is 'The approver''s grades, whole numbers from 1 to 5: tone, accuracy, policy; null for none.';
comment on column api.drafts.final_text is 'The text approved; null while none is.';
comment on column api.drafts.action_id is 'The action that sends it (actions.outbox); null while not approved.';
comment on column api.drafts.replied_at is 'When a person''s reply to that customer really left (UTC), whatever it said; null while none did.';
comment on column api.drafts.reply_message_id is 'That reply; null while none.';
comment on column api.drafts.reply_agent_id is 'Who answered (chatwoot.agents of kind user): of a draft that was sent its approver, where known by e-mail address, else its author; null while none.';
comment on column api.drafts.outcome is 'What became of it: verbatim, light, heavy, rewrite (sent, by how much was changed), discarded, superseded, expired or abstained; null while not known.';
comment on column api.drafts.is_final is 'Whether it is the last of its wait. A later message of the customer, or another maker''s proposal, makes it false.';
comment on column api.drafts.edit_distance is 'Characters inserted, deleted or replaced between draft and reply; null while not measured.';
comment on column api.drafts.edit_ratio is 'That, divided by the longer of the two; null while not measured.';
comment on column api.drafts.edit_method is 'How it was measured; null while not.';
comment on column api.drafts.draft_length is 'Characters of the draft as measured.';
comment on column api.drafts.sent_length is 'Characters of the reply as measured.';
comment on column api.drafts.outcome_at is 'When the outcome was settled (UTC); null while it is not.';

revoke all on function api.claim_draft, api.release_draft, api.approve_draft, api.reject_draft, api.propose_draft
  from public, anon, authenticated, service_role;
grant execute on function api.claim_draft, api.release_draft, api.approve_draft, api.reject_draft
  to authenticated, service_role;
grant execute on function api.propose_draft to service_role;
grant select on api.approval_queue, api.drafts to authenticated, service_role;
