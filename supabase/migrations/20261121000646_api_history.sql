-- What was decided, for people: a conversation read again from its beginning, the approvals, and what is worth keeping.
create function api.promote_to_gold(
  account_id bigint, message_id bigint default null, draft_id bigint default null, title text default null,
  category text default null, language text default null, tags text[] default '{}'
) returns table (gold_reply_id bigint, is_new boolean)
language sql volatile security invoker set search_path = '' as $$
  select promoted.gold_reply_id, promoted.is_new
  from replies.promote_to_gold(promote_to_gold.account_id, promote_to_gold.message_id, promote_to_gold.draft_id,
    promote_to_gold.title, promote_to_gold.category, promote_to_gold.language, promote_to_gold.tags) as promoted
$$;
comment on function api.promote_to_gold is
  'Proposes a reply that reached a customer (message_id, or the draft_id it was sent from) as a gold reply; returns its id, and is_new false when it was promoted before. Names, addresses, phone and order numbers in it become variables, and the customer''s words a question that finds it. Without title its first words, without category that of the conversation. It is suggested once somebody approves it (api.approve_gold_reply). Logged with the grades of the draft. Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function api.conversation_history(
  account_id bigint, display_id bigint, most integer default 200, after text default null
)
returns table (at timestamptz, kind text, actor text, summary text, details jsonb, source text, place text)
language sql stable security invoker set search_path = '' as $$
  select * from replies.conversation_history(conversation_history.account_id, conversation_history.display_id,
    conversation_history.most, conversation_history.after)
$$;
comment on function api.conversation_history is
  'One conversation in order, decisions between the messages: messages and notes, changes of status, assignee, team, priority and labels, ratings, exceeded service levels, drafts, entries of the decision log, actions. kind says which, source the table it is from, details the particulars. Up to most rows (1 to 1000); the next page is asked for with after, the place of the last row. Viewers and above. Errors: OC403, OC404, OC422.';

create view api.approvals_history with (security_invoker = true) as
select drafts.account_id, drafts.draft_id, drafts.display_id, drafts.decided_at, drafts.decided_by,
  case when drafts.state = 'rejected' then 'rejected' else 'approved' end as decision,
  coalesce(drafts.is_override, false) as is_override,
  extract(epoch from drafts.decided_at - case when drafts.shown_by = 'decision' then drafts.created_at else drafts.shown_at end)
    ::double precision as seconds_to_decide,
  drafts.customer_message_id, drafts.gold_reply_id, library.title as gold_reply_title, drafts.body as draft, drafts.final_text,
  drafts.grades, case when drafts.state = 'rejected' then drafts.reason end as reason, drafts.action_id,
  sending.state as action_state, sending.settled_at as action_settled_at, sending.problem, sending.hint,
  drafts.reply_message_id, drafts.outcome, drafts.edit_ratio
from replies.drafts
left join replies.gold_replies as library on library.account_id = drafts.account_id
  and library.gold_reply_id = drafts.gold_reply_id
left join actions.outbox as sending on sending.account_id = drafts.account_id and sending.action_id = drafts.action_id
where drafts.decided_at is not null;
comment on view api.approvals_history is 'Every approval and rejection in the accounts you belong to, with what became of it.';
comment on column api.approvals_history.account_id is 'Chatwoot''s account id.';
comment on column api.approvals_history.draft_id is 'Number of the draft.';
comment on column api.approvals_history.display_id is 'The conversation''s number in its account.';
comment on column api.approvals_history.decided_at is 'When it was decided (UTC).';
comment on column api.approvals_history.decided_by is 'By whom, as in the decision log.';
comment on column api.approvals_history.decision is 'approved or rejected.';
comment on column api.approvals_history.is_override is 'Whether it was approved although something had happened since.';
comment on column api.approvals_history.seconds_to_decide is 'Seconds from when it could be seen (in the queue alone: was made) to the decision.';
comment on column api.approvals_history.customer_message_id is 'The customer''s message it answers.';
comment on column api.approvals_history.gold_reply_id is 'The gold reply it was made from; null for none.';
comment on column api.approvals_history.gold_reply_title is 'Title of that.';
comment on column api.approvals_history.draft is 'The text proposed.';
comment on column api.approvals_history.final_text is 'The text approved; null when rejected.';
comment on column api.approvals_history.grades is 'Grades given, 1 to 5: tone, accuracy, policy; null for none.';
comment on column api.approvals_history.reason is 'Why it was rejected; null when approved.';
comment on column api.approvals_history.action_id is 'The action that sends it (api.actions); null when rejected.';
comment on column api.approvals_history.action_state is 'pending, sending, sent, dry_run, dead or cancelled.';
comment on column api.approvals_history.action_settled_at is 'When that was over (UTC).';
comment on column api.approvals_history.problem is 'Why it could not be sent; null for no trouble.';
comment on column api.approvals_history.hint is 'What to do about it.';
comment on column api.approvals_history.reply_message_id is 'The reply that reached the customer; null while none did.';
comment on column api.approvals_history.outcome is 'What became of the draft (analytics.drafts).';
comment on column api.approvals_history.edit_ratio is 'How much of it was changed, 0 to 1; null while not measured.';

revoke all on function api.promote_to_gold, api.conversation_history from public, anon, authenticated, service_role;
grant execute on function api.promote_to_gold, api.conversation_history to authenticated, service_role;
grant select on api.approvals_history to authenticated, service_role;
