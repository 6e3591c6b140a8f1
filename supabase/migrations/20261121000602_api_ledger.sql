-- Numbers, for people: what they mean, what one is made of, what they were, and how they are counted.
create function api.explain_metric(
  account_id bigint, display_id bigint, metric text, as_of timestamptz default now(), learnt_by timestamptz default null
) returns table (
  episode integer, part bigint, what text, counted boolean, counted_in_conversation boolean, why text,
  started_at timestamptz, ended_at timestamptz, sign integer, seconds numeric, seconds_business numeric,
  calendar_seconds_clipped numeric, opened_by jsonb, closed_by jsonb, rule text, version integer
)
language sql stable security invoker set search_path = '' as $$
  select explained.episode, explained.part, explained.what, explained.counted, explained.counted_in_conversation,
    explained.why, explained.started_at, explained.ended_at, explained.sign, explained.seconds,
    explained.seconds_business, explained.calendar_seconds_clipped, explained.opened_by, explained.closed_by,
    explained.rule, explained.version
  from ledger.explain_metric(explain_metric.account_id, explain_metric.display_id, explain_metric.metric,
    explain_metric.as_of, explain_metric.learnt_by) as explained
$$;
comment on function api.explain_metric is
  'What a number of a conversation is made of: one row a part, counted or not and why, with the events that opened and closed it and their source rows. metric is a column of analytics.episodes or analytics.conversations (api.metric_definitions). The counted parts of an episode add up to its number: sum(sign * seconds), seconds_business of a metric with _business; the list of them; or their number. Of a yes or no, one counted with sign -1 makes it false. No counted part means null, of a count 0. counted_in_conversation likewise for the conversation. as_of: at that instant; learnt_by: as it was known then. Viewers and above. Errors: OC403, OC404, OC422.';

create function api.episodes_at(
  account_id bigint, as_of timestamptz, learnt_by timestamptz default null, display_ids bigint[] default null
) returns setof analytics.episodes
language sql stable security invoker set search_path = '' as $$
  select told.* from ledger.read_episodes_at(episodes_at.account_id, episodes_at.as_of, episodes_at.learnt_by,
    episodes_at.display_ids) as told
$$;
comment on function api.episodes_at is
  'The rows of analytics.episodes as they were at as_of (inclusive): of the whole account or of the conversations in display_ids; by what is known now, or by what was known at learnt_by (then fcr is null: it hangs on other conversations). Viewers and above. Errors: OC403, OC422.';

create function api.set_inbox_rules(
  account_id bigint, inbox_id bigint, episode_gap_seconds integer default null, durable_seconds integer default null,
  has_bot boolean default null
) returns void
language sql volatile security invoker set search_path = '' as $$
  select ledger.set_rules(set_inbox_rules.account_id, set_inbox_rules.inbox_id, set_inbox_rules.episode_gap_seconds,
    set_inbox_rules.durable_seconds, set_inbox_rules.has_bot)
$$;
comment on function api.set_inbox_rules is
  'Sets how an inbox is counted, or with inbox_id 0 all that say nothing themselves; logged. episode_gap_seconds: a reopen later than this begins a new episode (259200). durable_seconds: a resolve that lasts for this is durable (604800). has_bot: whether pending is a bot''s work (true), a wait for a third party (false), or told by how it came about (null). Null takes the account''s, or the default. What it touches is counted again by cron. Admins only. Errors: OC403, OC404, OC422.';

create function api.merge_conversations(account_id bigint, child bigint, parent bigint) returns void
language sql volatile security invoker set search_path = ''
as $$ select ledger.merge(merge_conversations.account_id, merge_conversations.child, merge_conversations.parent) $$;
comment on function api.merge_conversations is
  'Declares the conversation child part of parent from now on: its messages count there, and it is flagged merged_child; logged. Nothing changes in Chatwoot. Operators and above. Errors: OC403, OC404, OC409, OC422.';

create function api.unmerge_conversation(account_id bigint, child bigint) returns void
language sql volatile security invoker set search_path = ''
as $$ select ledger.unmerge(unmerge_conversation.account_id, unmerge_conversation.child) $$;
comment on function api.unmerge_conversation is
  'Takes a merge back; both conversations are as if it had never been; logged. Operators and above. Errors: OC403, OC404.';

create view api.metric_definitions with (security_invoker = true) as
select definitions.metric, definitions.description, definitions.unit, definitions.null_rule,
  definitions.conversation_rule, definitions.version, definitions.example
from ledger.metric_definitions as definitions;
comment on view api.metric_definitions is 'What each metric means. Those in seconds have a twin with the suffix _business, of business hours alone.';
comment on column api.metric_definitions.metric is 'Its id: the name of its column in analytics.episodes and analytics.conversations.';
comment on column api.metric_definitions.description is 'What is measured, of an episode.';
comment on column api.metric_definitions.unit is 'seconds, list of seconds, count, true or false, id of a person, rating (1 to 5) or class.';
comment on column api.metric_definitions.null_rule is 'When it is null.';
comment on column api.metric_definitions.conversation_rule is 'What a conversation''s number is made of: its first or last episode, the sum, the list or the longest of all; distinct: each person of all once; only: conversations alone have it; null: only episodes have it.';
comment on column api.metric_definitions.version is 'Rises when the definition changes what a number is.';
comment on column api.metric_definitions.example is 'A worked example.';

create view api.ledger_status with (security_invoker = true) as
select accounts.account_id, count(queued.display_id) as queued_conversations, min(queued.queued_at) as oldest_queued_at,
  extract(epoch from now() - min(queued.queued_at))::double precision as lag_seconds,
  count(queued.problem) as problems,
  (array_agg(queued.problem order by queued.queued_at, queued.display_id) filter (where queued.problem is not null))[1]
    as first_problem,
  (array_agg(queued.display_id order by queued.queued_at, queued.display_id) filter (where queued.problem is not null))[1]
    as first_problem_display_id
from (
  select members.account_id from access.members
  union
  select queue.account_id from ledger.queue
) as accounts
left join ledger.queue as queued on queued.account_id = accounts.account_id
group by accounts.account_id;
comment on view api.ledger_status is 'How far the numbers of the accounts you belong to are behind what is known.';
comment on column api.ledger_status.account_id is 'Chatwoot''s account id.';
comment on column api.ledger_status.queued_conversations is 'Conversations whose numbers do not show yet what is known.';
comment on column api.ledger_status.oldest_queued_at is 'Since when the first of them waits (UTC); null for none.';
comment on column api.ledger_status.lag_seconds is 'For how long the first of them has been waiting; null for none.';
comment on column api.ledger_status.problems is 'How many of them have failed and are tried again.';
comment on column api.ledger_status.first_problem is 'What went wrong with the first of those; null for none.';
comment on column api.ledger_status.first_problem_display_id is 'Which conversation that is; null for none.';

revoke all on function api.explain_metric, api.episodes_at, api.set_inbox_rules, api.merge_conversations,
  api.unmerge_conversation from public, anon, authenticated, service_role;
grant execute on function api.explain_metric, api.episodes_at, api.set_inbox_rules, api.merge_conversations,
  api.unmerge_conversation to authenticated, service_role;
grant select on api.metric_definitions, api.ledger_status to authenticated, service_role;
