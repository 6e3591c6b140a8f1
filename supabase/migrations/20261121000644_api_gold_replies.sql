-- Gold replies, for people and for the gold-reply door.
create function api.propose_gold_reply(account_id bigint, gold_reply jsonb)
returns table (gold_reply_id bigint, is_new boolean)
language sql volatile security invoker set search_path = '' as $$
  select proposed.gold_reply_id, proposed.is_new
  from replies.propose_by_person(propose_gold_reply.account_id, propose_gold_reply.gold_reply) as proposed
$$;
comment on function api.propose_gold_reply is
  'Proposes a gold reply; logged. gold_reply: {title, body, category, tags, language, channels, questions, source}, title and body required. Personal data in it is replaced by variables or masked. The same text again gives the same id, and is_new false. Operators and above. Errors: OC403, OC422.';

create function api.save_gold_reply(
  account_id bigint, gold_reply jsonb, gold_reply_id bigint default null, version integer default null,
  confirm_personal_data boolean default false
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select replies.save_gold_reply(save_gold_reply.account_id, save_gold_reply.gold_reply, save_gold_reply.gold_reply_id,
    save_gold_reply.version, save_gold_reply.confirm_personal_data)
$$;
comment on function api.save_gold_reply is
  'Saves a gold reply as a new version, which takes the place of the old one at once, or without gold_reply_id a new one as proposed; logged; returns its id. gold_reply as in propose_gold_reply: what it leaves out stays, null empties. version: the one you have seen, so that nobody''s change is lost. An approved one must stay fit to be sent: see approve_gold_reply. Approvers only. Errors: OC403, OC404, OC409, OC422.';

create function api.approve_gold_reply(
  account_id bigint, gold_reply_id bigint, confirm_personal_data boolean default false, version integer default null
) returns void
language sql volatile security invoker set search_path = '' as $$
  select replies.approve_gold_reply(approve_gold_reply.account_id, approve_gold_reply.gold_reply_id,
    approve_gold_reply.confirm_personal_data, approve_gold_reply.version)
$$;
comment on function api.approve_gold_reply is
  'Lets a gold reply be suggested from now on; logged; nothing happens where it is already. Refused while it names an unknown variable, has no language, or holds flagged personal data that is not confirmed. version: the one you have seen. Approvers only. Errors: OC403, OC404, OC409, OC422.';

create function api.retire_gold_reply(account_id bigint, gold_reply_id bigint) returns void
language sql volatile security invoker set search_path = '' as $$
  select replies.retire_gold_reply(retire_gold_reply.account_id, retire_gold_reply.gold_reply_id)
$$;
comment on function api.retire_gold_reply is
  'Ends the suggesting of a gold reply, or turns a proposal down; logged. It can be approved again. Approvers only. Errors: OC403, OC404.';

create function api.import_canned_responses(account_id bigint, responses jsonb default null) returns jsonb
language sql volatile security invoker set search_path = '' as $$
  select replies.import_canned_responses(import_canned_responses.account_id, import_canned_responses.responses)
$$;
comment on function api.import_canned_responses is
  'Takes over Chatwoot''s canned responses as proposals; logged. responses: the array that Chatwoot''s API lists; returns {proposed, changed, unchanged, refused}. Without it they are fetched from Chatwoot within the next minutes: see api.canned_imports. What was approved is never changed. Approvers only. Errors: OC403, OC409, OC422.';

create function api.record_gold_reply(account_id bigint, gold_reply jsonb, idempotency_key text default null)
returns table (gold_reply_id bigint, status text, findings jsonb, is_new boolean)
language sql volatile security invoker set search_path = '' as $$
  select recorded.gold_reply_id, recorded.status, recorded.findings, recorded.is_new
  from replies.record_gold_reply(record_gold_reply.account_id, record_gold_reply.gold_reply,
    record_gold_reply.idempotency_key) as recorded
$$;
comment on function api.record_gold_reply is
  'Stores what came to the gold-reply door, once for each idempotency_key or text. For the secret key alone. Errors: OC404, OC409, OC422.';

create view api.gold_replies with (security_invoker = true) as
select gold_replies.account_id, gold_replies.gold_reply_id, gold_replies.status, gold_replies.version, gold_replies.title,
  gold_replies.body, gold_replies.category, gold_replies.tags, gold_replies.language, gold_replies.channels,
  gold_replies.questions, gold_replies.findings, gold_replies.origin, gold_replies.source_display_id,
  gold_replies.source_message_id, gold_replies.source_author, gold_replies.proposed_at, gold_replies.proposed_by,
  gold_replies.decided_at, gold_replies.decided_by, gold_replies.shown, gold_replies.used, gold_replies.edited,
  gold_replies.reopened
from replies.gold_replies;
comment on view api.gold_replies is 'The curated answers of the accounts you belong to, each in its newest version.';
comment on column api.gold_replies.account_id is 'Chatwoot''s account id.';
comment on column api.gold_replies.gold_reply_id is 'Number of the gold reply.';
comment on column api.gold_replies.status is 'proposed, approved (only these are suggested) or retired.';
comment on column api.gold_replies.version is 'Number of the newest version, from 1.';
comment on column api.gold_replies.title is 'What people call it.';
comment on column api.gold_replies.body is 'The answer, with variables such as {{contact.first_name}}.';
comment on column api.gold_replies.category is 'What it is about, as a slug; null for none.';
comment on column api.gold_replies.tags is 'Free tags.';
comment on column api.gold_replies.language is 'Language of the answer, an ISO 639 code; null when it is not known.';
comment on column api.gold_replies.channels is 'By class of channel, the text to send there in place of the body.';
comment on column api.gold_replies.questions is 'What customers write when this is the answer.';
comment on column api.gold_replies.findings is 'Personal data that was found: array of {field, kind, action (replaced, masked, kept), count}; never the data itself.';
comment on column api.gold_replies.origin is 'How it came: door, person, canned_response, promotion or seed.';
comment on column api.gold_replies.source_display_id is 'The conversation it was taken from; null for none.';
comment on column api.gold_replies.source_message_id is 'The message it was taken from; null for none.';
comment on column api.gold_replies.source_author is 'Who wrote it; null when not told.';
comment on column api.gold_replies.proposed_at is 'When it was first proposed (UTC).';
comment on column api.gold_replies.proposed_by is 'Who proposed it, as in the decision log.';
comment on column api.gold_replies.decided_at is 'When it was approved or retired (UTC); null while proposed.';
comment on column api.gold_replies.decided_by is 'Who approved or retired it; null while proposed.';
comment on column api.gold_replies.shown is 'How many drafts made of it a person has seen.';
comment on column api.gold_replies.used is 'How many of those were sent, as they were or changed.';
comment on column api.gold_replies.edited is 'How many of those were changed before they were sent.';
comment on column api.gold_replies.reopened is 'How many conversations it was sent in were opened again.';

create view api.gold_reply_versions with (security_invoker = true) as
select versions.account_id, versions.gold_reply_id, versions.version, versions.title, versions.body, versions.category,
  versions.tags, versions.language, versions.channels, versions.questions, versions.findings, versions.changed_at,
  versions.changed_by
from replies.gold_reply_versions as versions;
comment on view api.gold_reply_versions is 'Every version of every gold reply of the accounts you belong to.';
comment on column api.gold_reply_versions.account_id is 'Chatwoot''s account id.';
comment on column api.gold_reply_versions.gold_reply_id is 'Number of the gold reply.';
comment on column api.gold_reply_versions.version is 'Number of the version, from 1.';
comment on column api.gold_reply_versions.title is 'What people called it.';
comment on column api.gold_reply_versions.body is 'The answer, with variables.';
comment on column api.gold_reply_versions.category is 'What it was about; null for none.';
comment on column api.gold_reply_versions.tags is 'Free tags.';
comment on column api.gold_reply_versions.language is 'Language of the answer; null when it was not known.';
comment on column api.gold_reply_versions.channels is 'By class of channel, the text to send there in place of the body.';
comment on column api.gold_reply_versions.questions is 'What customers write when this is the answer.';
comment on column api.gold_reply_versions.findings is 'Personal data that was found in it; never the data itself.';
comment on column api.gold_reply_versions.changed_at is 'When it was saved (UTC).';
comment on column api.gold_reply_versions.changed_by is 'Who saved it, as in the decision log.';

create view api.reply_variables with (security_invoker = true) as
select variables.name, variables.type, variables.description, variables.example from replies.variables;
comment on view api.reply_variables is 'The variables that gold replies may hold.';
comment on column api.reply_variables.name is 'What stands between the braces; custom.<key> is any custom attribute.';
comment on column api.reply_variables.type is 'What a value must be to be put in: person_name, text, number, date, email or phone.';
comment on column api.reply_variables.description is 'What it stands for and where the value comes from.';
comment on column api.reply_variables.example is 'A value it may have.';

create view api.canned_imports with (security_invoker = true) as
select fetches.account_id, fetches.state, fetches.requested_at, fetches.requested_by, fetches.attempts,
  case when fetches.state = 'waiting' then fetches.next_attempt_at end as next_attempt_at, fetches.settled_at,
  fetches.problem, fetches.hint, fetches.result
from replies.canned_fetches as fetches;
comment on view api.canned_imports is 'What became of the last fetching of canned responses from Chatwoot, in the accounts you belong to.';
comment on column api.canned_imports.account_id is 'Chatwoot''s account id.';
comment on column api.canned_imports.state is 'waiting, done or failed.';
comment on column api.canned_imports.requested_at is 'When it was asked for (UTC).';
comment on column api.canned_imports.requested_by is 'Who asked, as in the decision log.';
comment on column api.canned_imports.attempts is 'How often Chatwoot was asked.';
comment on column api.canned_imports.next_attempt_at is 'When Chatwoot is asked next (UTC); null when it is over.';
comment on column api.canned_imports.settled_at is 'When it was over (UTC); null while it waits.';
comment on column api.canned_imports.problem is 'Why there is no answer; null for none.';
comment on column api.canned_imports.hint is 'What to do about it; null for nothing known.';
comment on column api.canned_imports.result is 'What was imported: {proposed, changed, unchanged, refused}; null while there is none.';

revoke all on function api.propose_gold_reply, api.save_gold_reply, api.approve_gold_reply, api.retire_gold_reply,
  api.import_canned_responses, api.record_gold_reply from public, anon, authenticated, service_role;
grant execute on function api.propose_gold_reply, api.save_gold_reply, api.approve_gold_reply, api.retire_gold_reply,
  api.import_canned_responses to authenticated, service_role;
grant execute on function api.record_gold_reply to service_role;
grant select on api.gold_replies, api.gold_reply_versions, api.reply_variables, api.canned_imports
  to authenticated, service_role;
