-- Actions in Chatwoot, for people: what was asked for and what became of it, and how the sending stands.
create function api.enqueue_action(account_id bigint, display_id bigint, kind text, arguments jsonb) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select actions.request(enqueue_action.account_id, enqueue_action.display_id, enqueue_action.kind, enqueue_action.arguments)
$$;
comment on function api.enqueue_action is
  'Puts an action in Chatwoot into the outbox and returns its number; logged. kind and arguments: note {content}, reply {content}, assign_agent {agent_id or null}, assign_team {team_id or null}, add_labels {labels}, remove_labels {labels}, set_status {status, snoozed_until}, set_priority {priority or null}, set_custom_attributes {custom_attributes} (added to those there are). Approvers and above. Errors: OC403, OC404, OC409, OC422.';

create function api.retry_action(account_id bigint, action_id bigint, override boolean default false) returns void
language sql volatile security invoker set search_path = ''
as $$ select replies.retry_action(retry_action.account_id, retry_action.action_id, retry_action.override) $$;
comment on function api.retry_action is
  'Sends a dead action, or one of a dry run, again, with twelve new tries; what may have arrived is looked for first. An approved draft only when nothing has happened since it was made, or with override; the note of a draft only while that is open. Logged. Approvers and above. Errors: OC403, OC404, OC409.';

create function api.cancel_action(account_id bigint, action_id bigint) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select actions.withdraw(cancel_action.account_id, cancel_action.action_id) $$;
comment on function api.cancel_action is
  'Withdraws an action that certainly has not reached Chatwoot; false when it is too late. Logged. Approvers and above. Errors: OC403, OC404.';

create function api.resume_sending(account_id bigint) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select actions.resume_sending(resume_sending.account_id) $$;
comment on function api.resume_sending is
  'Lets a stopped sending go on, or ends its wait; true when it was stopped, which is logged. A new token does the same by itself. Admins only. Errors: OC403.';

create view api.actions with (security_invoker = true) as
select outbox.account_id, outbox.action_id, outbox.display_id, outbox.kind, outbox.arguments, outbox.source, outbox.state,
  outbox.created_at, outbox.created_by, outbox.attempts, outbox.first_attempted_at, outbox.last_attempted_at,
  case when outbox.settled_at is null then outbox.next_attempt_at end as next_attempt_at, outbox.doubt_since, outbox.request,
  outbox.message_id, outbox.last_status, outbox.problem, outbox.hint, outbox.settled_at
from actions.outbox;
comment on view api.actions is 'The actions in Chatwoot of the accounts you belong to, and what became of each.';
comment on column api.actions.account_id is 'Chatwoot''s account id.';
comment on column api.actions.action_id is 'Number of the action.';
comment on column api.actions.display_id is 'The conversation''s number.';
comment on column api.actions.kind is 'note, reply, assign_agent, assign_team, add_labels, remove_labels, set_status, set_priority or set_custom_attributes.';
comment on column api.actions.arguments is 'What to do, by kind: content; agent_id; team_id; labels; status and snoozed_until; priority; custom_attributes.';
comment on column api.actions.source is 'What it comes from, such as draft:7; null where a person asked for it directly.';
comment on column api.actions.state is 'pending, sending (a dispatcher has it), sent, dry_run (recorded and not sent), dead (given up) or cancelled.';
comment on column api.actions.created_at is 'When it was put into the outbox (UTC).';
comment on column api.actions.created_by is 'Who put it there, as in the decision log.';
comment on column api.actions.attempts is 'Tries so far, of at most 12; 13 stands for a last look.';
comment on column api.actions.first_attempted_at is 'When it was first tried (UTC); null for never.';
comment on column api.actions.last_attempted_at is 'When it was last tried (UTC): the claim, and once that is known the end of its last request; null for never.';
comment on column api.actions.next_attempt_at is 'Not tried before this instant (UTC); null when it is over.';
comment on column api.actions.doubt_since is 'Since when it may have arrived without our knowing (UTC); null when that is certain either way.';
comment on column api.actions.request is 'What was sent, or in a dry run would have been: method, path and body; null before.';
comment on column api.actions.message_id is 'Chatwoot''s id of the message it became; null for other kinds and before.';
comment on column api.actions.last_status is 'HTTP status of the last answer; null for none.';
comment on column api.actions.problem is 'What went wrong last, with Chatwoot''s own words where it refused; null for nothing.';
comment on column api.actions.hint is 'What to do about the problem.';
comment on column api.actions.settled_at is 'When it was over (UTC); null while it is not.';

create view api.sending_status with (security_invoker = true) as
select accounts.account_id, ops.setting(accounts.account_id, 'sending') #>> '{}' as sending, accounts.state, accounts.problem,
  accounts.hint, accounts.problem_at, accounts.failures, accounts.retry_at, accounts.agent_id, waiting.pending,
  waiting.in_doubt, waiting.oldest_at
from actions.accounts
cross join lateral (
  select count(*) as pending, count(*) filter (where outbox.doubt_since is not null) as in_doubt,
    min(outbox.created_at) as oldest_at
  from actions.outbox
  where outbox.account_id = accounts.account_id and outbox.state in ('pending', 'sending')
) as waiting;
comment on view api.sending_status is 'How the sending to Chatwoot stands, one row an account that has ever had an action.';
comment on column api.sending_status.account_id is 'Chatwoot''s account id.';
comment on column api.sending_status.sending is 'The setting sending: on, dry_run or off.';
comment on column api.sending_status.state is 'active, or stopped until a person mends something.';
comment on column api.sending_status.problem is 'Why it is stopped or rests; null while all is well.';
comment on column api.sending_status.hint is 'What to do about the problem.';
comment on column api.sending_status.problem_at is 'Since when it has been so (UTC).';
comment on column api.sending_status.failures is 'Requests without a proper answer since the last that had one.';
comment on column api.sending_status.retry_at is 'Nothing is sent before this instant (UTC); null for at once.';
comment on column api.sending_status.agent_id is 'Who sends: the token''s owner in Chatwoot; null before the first request.';
comment on column api.sending_status.pending is 'Actions that are not over.';
comment on column api.sending_status.in_doubt is 'Those among them that may have arrived without our knowing.';
comment on column api.sending_status.oldest_at is 'When the oldest of them was put into the outbox (UTC); null for none.';

revoke all on function api.enqueue_action, api.retry_action, api.cancel_action, api.resume_sending
  from public, anon, authenticated, service_role;
grant execute on function api.enqueue_action, api.retry_action, api.cancel_action, api.resume_sending
  to authenticated, service_role;
grant select on api.actions, api.sending_status to authenticated, service_role;
