-- What a client may call. Functions run with the caller's rights and hand on to the room that does the work; views
-- show what row security lets the caller see. Nothing here is for anon.
create schema api;
comment on schema api is 'Everything a client may do over the Data API: views and functions, never a table.';
revoke all on schema api from public;
grant usage on schema api to anon, authenticated, service_role;

create function api.record_webhook(
  account_id bigint, delivery_id text, body bytea, headers jsonb, proof text, signed_at timestamptz
) returns table (outcome text)
-- PL/pgSQL, as it is called for every event: an SQL function would be planned anew each time.
-- The Data API applies the timeout to the whole request. It is longer than the door's patience and Chatwoot's, which
-- sends nothing twice: an event that comes to its turn after the answer is stored all the same.
language plpgsql volatile security invoker set search_path = '' set statement_timeout = '8s' as $$
begin
  outcome := inbox.record(record_webhook.account_id, record_webhook.delivery_id, record_webhook.body,
    record_webhook.headers, record_webhook.proof, record_webhook.signed_at);
  return next;
end
$$;
comment on function api.record_webhook is
  'Stores a proven webhook delivery and applies it, in one transaction; one row. Outcome applied, ignored, dead, duplicate, or refused (another account''s payload; nothing stored). For the webhook function only.';

create function api.replay_deliveries(
  account_id bigint, since timestamptz default '-infinity', until timestamptz default 'infinity',
  outcomes text[] default array['dead']
) returns table (outcome text, deliveries bigint)
language sql volatile security invoker set search_path = '' as $$
  select replayed.outcome, replayed.deliveries
  from inbox.replay(replay_deliveries.account_id, replay_deliveries.since, replay_deliveries.until,
    replay_deliveries.outcomes) as replayed
$$;
comment on function api.replay_deliveries is
  'Reads kept deliveries again, by default the dead ones, and merges them; safe to repeat. Admins only. One row an outcome. Errors: OC403.';

create function api.set_setting(account_id bigint, name text, value jsonb) returns jsonb
language sql volatile security invoker set search_path = ''
as $$ select ops.set_setting(set_setting.account_id, set_setting.name, set_setting.value) $$;
comment on function api.set_setting is
  'Changes a setting of an account and returns its value; logged. Admins only. Errors: OC403, OC404, OC422.';

create function api.set_member(account_id bigint, user_id uuid, role access.member_role) returns void
language sql volatile security invoker set search_path = ''
as $$ select ops.set_member(set_member.account_id, set_member.user_id, set_member.role) $$;
comment on function api.set_member is
  'Gives a user a role in an account (viewer, operator, approver, admin), or takes it away with null; logged. Admins only. Errors: OC403, OC404, OC409.';

create function api.verify_decision_log(account_id bigint default null)
returns table (account_id bigint, entries bigint, first_broken_entry bigint, reason text)
language sql stable security invoker set search_path = '' as $$
  select verified.account_id, verified.entries, verified.first_broken_entry, verified.reason
  from audit.verify(verify_decision_log.account_id) as verified
$$;
comment on function api.verify_decision_log is
  'Checks the hash chain of the decision log of the accounts you may read, or of one. first_broken_entry is null when it is whole.';

create function api.set_rest_source(account_id bigint, base_url text) returns text
language sql volatile security invoker set search_path = ''
as $$ select sync.set_rest_source(set_rest_source.account_id, set_rest_source.base_url) $$;
comment on function api.set_rest_source is
  'Tells the sync where the account''s Chatwoot is and returns the URL in its normal form; another URL than before starts from the beginning; logged. Admins only. Errors: OC403, OC422.';

create function api.set_database_source(account_id bigint, source_schema text) returns text
language sql volatile security invoker set search_path = ''
as $$ select sync.set_database_source(set_database_source.account_id, set_database_source.source_schema) $$;
comment on function api.set_database_source is
  'Tells the sync which schema holds Chatwoot''s own tables; logged. With the secret key only. Errors: OC403, OC422.';

create function api.connect_foreign(account_id bigint, secret_name text default null) returns text
language sql volatile security invoker set search_path = ''
as $$ select sync.connect_foreign(connect_foreign.account_id, connect_foreign.secret_name) $$;
comment on function api.connect_foreign is
  'Reaches a Chatwoot in another Postgres through the URL in Vault (chatwoot_database_url_<account> unless named): makes foreign tables and returns their schema, for set_database_source; logged. With the secret key only. Errors: OC403, OC404, OC422.';

create function api.disconnect_foreign(account_id bigint) returns boolean
language sql volatile security invoker set search_path = ''
as $$ select sync.disconnect_foreign(disconnect_foreign.account_id) $$;
comment on function api.disconnect_foreign is
  'Takes away what connect_foreign made; true when there was anything; logged. With the secret key only. Errors: OC403, OC409, OC422.';

create function api.missing_indexes(account_id bigint) returns table (relation text, statement text)
language sql stable security invoker set search_path = ''
as $$ select missing.relation, missing.statement from sync.missing_indexes(missing_indexes.account_id) as missing $$;
comment on function api.missing_indexes is
  'Indexes on Chatwoot''s tables that would let every tick find all changes of a large Chatwoot, as statements to run there; none when they are there. With the secret key only.';

create function api.open_relations(source_schema text default 'public')
returns table (kind text, name text, role text, privileges text, remedy text)
language sql stable security invoker set search_path = '' as $$
  select found.kind, found.name, found.role, found.privileges, found.remedy
  from sync.open_relations(open_relations.source_schema) as found
$$;
comment on function api.open_relations is
  'What in the schema of Chatwoot''s tables anon and authenticated may reach, and the statement that closes each; no row when all is closed. With the secret key only.';

create function api.set_sync_token(account_id bigint, token text) returns void
language sql volatile security invoker set search_path = ''
as $$ select sync.set_token(set_sync_token.account_id, set_sync_token.token) $$;
comment on function api.set_sync_token is
  'Keeps the account''s Chatwoot access token in Vault, from where it never comes back, and resumes a stopped REST source; logged. Admins only. Errors: OC403, OC422.';

create function api.pause_sync(account_id bigint, door text) returns void
language sql volatile security invoker set search_path = ''
as $$ select sync.set_state(pause_sync.account_id, pause_sync.door, 'paused') $$;
comment on function api.pause_sync is
  'Pauses a source (door rest or database) until it is resumed; logged. Admins only. Errors: OC403, OC404.';

create function api.resume_sync(account_id bigint, door text) returns void
language sql volatile security invoker set search_path = ''
as $$ select sync.set_state(resume_sync.account_id, resume_sync.door, 'active') $$;
comment on function api.resume_sync is
  'Resumes a paused or stopped source (door rest or database) and tries it at the next tick; logged. Admins only. Errors: OC403, OC404.';

create function api.verify_sync(account_id bigint, since timestamptz, until timestamptz)
returns table (
  verification_id bigint, door text, state text, problem text, finished_at timestamptz, day date, entity text,
  source_rows bigint, mirror_rows bigint, source_hash bigint, mirror_hash bigint, differing bigint, healed bigint,
  is_equal boolean
)
language sql volatile security invoker set search_path = '' as $$
  select verified.verification_id, verified.door, verified.state, verified.problem, verified.finished_at, verified.day,
    verified.entity, verified.source_rows, verified.mirror_rows, verified.source_hash, verified.mirror_hash,
    verified.differing, verified.healed, verified.is_equal
  from sync.verify(verify_sync.account_id, verify_sync.since, verify_sync.until) as verified
$$;
comment on function api.verify_sync is
  'Compares the mirror with each active source for conversations begun in [since, until) and heals what differs. One row a source, UTC day and entity; state says whether it is still at work (ask again with the same range), the hashes are of every fact before anything was healed, and is_equal says whether the day is right now. Three ranges at a time. Operators and above. Errors: OC403, OC404, OC409, OC422.';

create view api.settings with (security_invoker = true) as
select accounts.account_id, definitions.name, coalesce(settings.value, definitions.default_value) as value,
  settings.value is null as is_default, settings.changed_at, settings.changed_by, definitions.description
from (select members.account_id from access.members group by members.account_id) as accounts
cross join ops.setting_definitions as definitions
left join ops.settings on settings.account_id = accounts.account_id and settings.name = definitions.name;
comment on view api.settings is 'Each setting of each account you belong to, with its value in force.';
comment on column api.settings.account_id is 'Chatwoot''s account id.';
comment on column api.settings.name is 'Name of the setting.';
comment on column api.settings.value is 'The value in force.';
comment on column api.settings.is_default is 'True while the account has chosen none.';
comment on column api.settings.changed_at is 'When it was last changed (UTC); null for never.';
comment on column api.settings.changed_by is 'Who changed it last; null for never.';
comment on column api.settings.description is 'What the setting does, with its unit.';

create view api.sync_status with (security_invoker = true) as
select sources.account_id, sources.door, sources.state, coalesce(sources.base_url, sources.source_schema) as source,
  sources.last_success_at, sources.last_attempt_at,
  extract(epoch from now() - sources.changed_until)::bigint as lag_seconds,
  sources.rows_read, sources.rows_changed, sources.requests, sources.problem, sources.hint, sources.problem_at,
  sources.failures, sources.retry_at, sources.refusals,
  case when sources.backfill_finished_at is not null then 1
    when sources.backfill_total > 0 then least(sources.backfill_done::numeric / sources.backfill_total, 0.999) end
    as backfill_share,
  sources.backfill_done, sources.backfill_total, sources.backfill_started_at, sources.backfill_finished_at,
  -- At the pace so far; what would take over ten years is not known.
  case when sources.backfill_finished_at is null and sources.backfill_done > 0 and sources.state = 'active'
      and pace.seconds_left < 315360000 then now() + make_interval(secs => pace.seconds_left) end as backfill_expected_at,
  sources.cursor -> 'drift' as drift
from sync.sources
cross join lateral (
  select extract(epoch from coalesce(sources.last_attempt_at, now()) - sources.backfill_started_at)::double precision
    * greatest(sources.backfill_total - sources.backfill_done, 0) / nullif(sources.backfill_done, 0) as seconds_left
) as pace;
comment on view api.sync_status is 'How each source of the accounts you belong to stands: how far behind, what it brought, what is wrong and what to do.';
comment on column api.sync_status.account_id is 'Chatwoot''s account id.';
comment on column api.sync_status.door is 'rest or database.';
comment on column api.sync_status.state is 'active; paused by a person; or stopped until a person mends something.';
comment on column api.sync_status.source is 'Base URL (REST) or schema (database) that is read.';
comment on column api.sync_status.last_success_at is 'When a tick last ended well (UTC); null for never.';
comment on column api.sync_status.last_attempt_at is 'When it was last tried (UTC); null for never.';
comment on column api.sync_status.lag_seconds is 'Seconds since the instant up to which every change has been read; null until changes were read once.';
comment on column api.sync_status.rows_read is 'Rows read since the source was set up.';
comment on column api.sync_status.rows_changed is 'Rows of the mirror this door changed: what no webhook had told.';
comment on column api.sync_status.requests is 'Requests sent since the source was set up.';
comment on column api.sync_status.problem is 'What went wrong last; null when all is well.';
comment on column api.sync_status.hint is 'What to do about it.';
comment on column api.sync_status.problem_at is 'When it went wrong (UTC).';
comment on column api.sync_status.failures is 'Failed attempts in a row.';
comment on column api.sync_status.retry_at is 'When it is tried again (UTC); null for at the next tick.';
comment on column api.sync_status.refusals is 'Answers refused or failed since the source was set up, counted by kind.';
comment on column api.sync_status.backfill_share is 'How much of the history has been read, 0 to 1; null when unknown.';
comment on column api.sync_status.backfill_done is 'Conversations (REST) or rows (database) of the history read so far.';
comment on column api.sync_status.backfill_total is 'How many there are in all; null when unknown.';
comment on column api.sync_status.backfill_started_at is 'When the reading of the history began (UTC).';
comment on column api.sync_status.backfill_finished_at is 'When the whole history had been read (UTC); null until then.';
comment on column api.sync_status.backfill_expected_at is 'When it should be done at the pace so far (UTC); null when done or unknown.';
comment on column api.sync_status.drift is 'What this Chatwoot''s tables lack and how it was read instead; null for nothing.';

create view api.sync_differences with (security_invoker = true) as
select differences.account_id, differences.verification_id, verifications.door, verifications.requested_at,
  differences.entity, differences.id, differences.day, differences.kind, differences.fields, differences.is_healed
from sync.differences
join sync.verifications on verifications.account_id = differences.account_id
  and verifications.verification_id = differences.verification_id;
comment on view api.sync_differences is 'Each row that a comparison with a source found to differ, in the accounts you belong to.';
comment on column api.sync_differences.account_id is 'Chatwoot''s account id.';
comment on column api.sync_differences.verification_id is 'The comparison, as api.verify_sync names it.';
comment on column api.sync_differences.door is 'The source compared with: rest or database.';
comment on column api.sync_differences.requested_at is 'When the comparison was asked for (UTC).';
comment on column api.sync_differences.entity is 'contacts, conversations or messages.';
comment on column api.sync_differences.id is 'Contact id, conversation number or message id.';
comment on column api.sync_differences.day is 'UTC day on which the conversation began.';
comment on column api.sync_differences.kind is 'missing in the mirror, surplus in it, or different.';
comment on column api.sync_differences.fields is 'Columns that differed; null unless different.';
comment on column api.sync_differences.is_healed is 'Whether the mirror was then put right.';

create view api.alerts with (security_invoker = true) as
select alerts.account_id, alerts.alert_id, alerts.kind, alerts.subject, alerts.message, alerts.hint, alerts.raised_at,
  alerts.last_raised_at, alerts.times, alerts.resolved_at
from ops.alerts;
comment on view api.alerts is 'What somebody has to see in the accounts you belong to; resolved_at is null while it lasts.';
comment on column api.alerts.account_id is 'Chatwoot''s account id.';
comment on column api.alerts.alert_id is 'Number of the alert.';
comment on column api.alerts.kind is 'What sort of trouble.';
comment on column api.alerts.subject is 'What is in trouble.';
comment on column api.alerts.message is 'What happened and why.';
comment on column api.alerts.hint is 'What to do about it.';
comment on column api.alerts.raised_at is 'When it was first found (UTC).';
comment on column api.alerts.last_raised_at is 'When it was last found (UTC).';
comment on column api.alerts.times is 'How often it was found.';
comment on column api.alerts.resolved_at is 'When it was over (UTC); null while it lasts.';

create view api.members with (security_invoker = true) as
select members.account_id, members.user_id, members.role, members.created_at from access.members;
comment on view api.members is 'The members of the accounts you belong to.';
comment on column api.members.account_id is 'Chatwoot''s account id.';
comment on column api.members.user_id is 'The person''s id in auth.users.';
comment on column api.members.role is 'viewer, operator, approver or admin.';
comment on column api.members.created_at is 'When the person was added (UTC).';

create view api.decision_log with (security_invoker = true) as
select log.account_id, log.entry, log.decided_at, log.actor, log.actor_version, log.action, log.subject, log.evidence,
  log.outcome, encode(log.previous_hash, 'hex') as previous_hash, encode(log.hash, 'hex') as hash
from audit.decision_log as log;
comment on view api.decision_log is 'The decisions of the accounts you belong to.';
comment on column api.decision_log.account_id is 'Chatwoot''s account id.';
comment on column api.decision_log.entry is 'Place in the account''s chain: 1, 2, 3 … without a gap.';
comment on column api.decision_log.decided_at is 'When it was decided (UTC).';
comment on column api.decision_log.actor is 'user:<uuid>, rule:<name>, model:<name>, service_role or database:<login>.';
comment on column api.decision_log.actor_version is 'Version of the rule or model; null for people.';
comment on column api.decision_log.action is 'What was done.';
comment on column api.decision_log.subject is 'What it was done to.';
comment on column api.decision_log.evidence is 'What the decision rests on.';
comment on column api.decision_log.outcome is 'How it ended.';
comment on column api.decision_log.previous_hash is 'Hash of the entry before, hex; null for the first.';
comment on column api.decision_log.hash is 'SHA-256 over the previous hash and every other column, hex.';

create view api.deliveries with (security_invoker = true) as
select deliveries.account_id, deliveries.delivery_id, deliveries.received_at, deliveries.signed_at, deliveries.proof,
  deliveries.event, deliveries.outcome, deliveries.reason, deliveries.note, deliveries.redeliveries,
  deliveries.conflicts, deliveries.last_repeated_at, deliveries.replayed_at, deliveries.purged_at
from inbox.deliveries;
comment on view api.deliveries is 'What became of each webhook delivery of the accounts you belong to; never its bytes.';
comment on column api.deliveries.account_id is 'Chatwoot''s account id.';
comment on column api.deliveries.delivery_id is 'X-Chatwoot-Delivery, or sha256: and the hash of the body.';
comment on column api.deliveries.received_at is 'When it first arrived (UTC).';
comment on column api.deliveries.signed_at is 'When Chatwoot signed it (UTC); null for senders that do not sign.';
comment on column api.deliveries.proof is 'signature, or url_secret (weaker).';
comment on column api.deliveries.event is 'The event it names; null when it cannot be read.';
comment on column api.deliveries.outcome is 'applied, ignored or dead.';
comment on column api.deliveries.reason is 'Why it was ignored or is dead; null when applied.';
comment on column api.deliveries.note is 'What had to be mended to read it; null for nothing.';
comment on column api.deliveries.redeliveries is 'How often it came again.';
comment on column api.deliveries.conflicts is 'How often it came again with another body.';
comment on column api.deliveries.last_repeated_at is 'When it last came again (UTC); null for never.';
comment on column api.deliveries.replayed_at is 'When it was last read again (UTC); null for never.';
comment on column api.deliveries.purged_at is 'When its bytes were deleted (UTC); null while they are there.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions where functions.pronamespace = 'api'::regnamespace
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;
grant execute on function api.record_webhook, api.connect_foreign, api.disconnect_foreign, api.missing_indexes,
  api.open_relations to service_role;
grant execute on function api.replay_deliveries, api.set_setting, api.set_member, api.verify_decision_log,
  api.set_rest_source, api.set_database_source, api.set_sync_token, api.pause_sync, api.resume_sync, api.verify_sync
  to authenticated, service_role;
grant select on all tables in schema api to authenticated, service_role;
