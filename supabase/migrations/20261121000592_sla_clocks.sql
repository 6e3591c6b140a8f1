-- Clocks: what a policy promises, measured. A clock starts, pauses, goes on and stops with the spans of the ledger; here is
-- worked out when it is due, and whether it was exceeded. Nothing ticks: a due instant is stored when something changes,
-- and a breach is that this instant is past.
create table sla.clocks (
  account_id bigint not null,
  display_id bigint not null,
  episode integer not null,
  clock text not null,
  instance integer not null,
  span_number integer,
  policy_id bigint not null,
  version integer not null,
  state text not null,
  outcome text,
  started_at timestamptz not null,
  stopped_at timestamptz,
  stopped_as text,
  applied_at timestamptz not null,
  target_seconds integer not null,
  calendar_id bigint,
  running_since timestamptz,
  elapsed double precision not null,
  due_at timestamptz,
  breach_at timestamptz,
  warn_shares numeric[] not null,
  warn_at timestamptz[] not null,
  attention_at timestamptz,
  constraint clocks_pkey primary key (account_id, display_id, episode, clock, instance),
  constraint clocks_clock_known check (clock in ('first_response', 'next_response', 'resolution', 'requester_wait', 'agent_work',
    'periodic_update')),
  constraint clocks_state_known check (state in ('running', 'paused', 'stopped')),
  constraint clocks_outcome_known check (outcome in ('met', 'breached', 'cancelled')),
  constraint clocks_stop_whole check ((state = 'stopped') = (stopped_at is not null) and (stopped_at is null) = (stopped_as is null))
);
comment on table sla.clocks is 'One row an instance of a clock: what it was when something last changed. A running clock is breached once due_at is past.';
comment on column sla.clocks.account_id is 'Chatwoot''s account id.';
comment on column sla.clocks.display_id is 'The conversation''s number in its account.';
comment on column sla.clocks.episode is 'Number of the episode within the conversation, from 1.';
comment on column sla.clocks.clock is 'first_response, next_response, resolution, requester_wait, agent_work or periodic_update.';
comment on column sla.clocks.instance is 'Number within episode and clock, from 1.';
comment on column sla.clocks.span_number is 'Number of the wait that it measures; null for clocks of the whole episode.';
comment on column sla.clocks.policy_id is 'The policy in force last.';
comment on column sla.clocks.version is 'The version of it that set the target.';
comment on column sla.clocks.state is 'running, paused or stopped.';
comment on column sla.clocks.outcome is 'met, breached or cancelled (the customer needed no answer any more, or it does not count); null while undecided, also when due_at is past and the sweep has not come by.';
comment on column sla.clocks.started_at is 'Begin (UTC).';
comment on column sla.clocks.stopped_at is 'End (UTC); null while it runs or pauses.';
comment on column sla.clocks.stopped_as is 'reply, resolved, merged, deleted, spam, or policy when no target is left; null while it runs or pauses.';
comment on column sla.clocks.applied_at is 'From when on the target holds (UTC).';
comment on column sla.clocks.target_seconds is 'The target, in seconds of its hours.';
comment on column sla.clocks.calendar_id is 'The calendar of those hours; null for 24 hours on 7 days.';
comment on column sla.clocks.running_since is 'Since when it runs without a pause (UTC); null when it does not.';
comment on column sla.clocks.elapsed is 'Seconds used up at running_since, or altogether when it does not run.';
comment on column sla.clocks.due_at is 'When the target is used up (UTC); of a stopped one, when it would have been; null while paused, or when the calendar never opens.';
comment on column sla.clocks.breach_at is 'When it was exceeded (UTC), as far as found; null while not.';
comment on column sla.clocks.warn_shares is 'Shares of the target at which to warn.';
comment on column sla.clocks.warn_at is 'When those are reached (UTC), one for each share.';
comment on column sla.clocks.attention_at is 'When the sweep has to look at it next (UTC); null for never.';
create index clocks_attention_idx on sla.clocks (attention_at) where attention_at is not null;
-- Neither begins with account_id, as with messages.
create index clocks_breach_idx on sla.clocks (breach_at, account_id) where breach_at is not null;
create index clocks_settled_idx on sla.clocks (least(stopped_at, breach_at), account_id);
create index clocks_undecided_idx on sla.clocks (due_at, account_id) where state <> 'stopped';
create index clocks_calendar_idx on sla.clocks (calendar_id, account_id) where calendar_id is not null and state <> 'stopped';

create table sla.breaches (
  account_id bigint not null,
  display_id bigint not null,
  episode integer not null,
  clock text not null,
  instance integer not null,
  due_at timestamptz not null,
  breach_at timestamptz not null,
  found_at timestamptz not null,
  is_announced boolean not null,
  constraint breaches_pkey primary key (account_id, display_id, episode, clock, instance)
);
comment on table sla.breaches is 'Every breach once, as the sweep or a refresh found it. One that later knowledge undoes is taken out again.';
comment on column sla.breaches.account_id is 'Chatwoot''s account id.';
comment on column sla.breaches.display_id is 'The conversation''s number in its account.';
comment on column sla.breaches.episode is 'Number of the episode within the conversation.';
comment on column sla.breaches.clock is 'Which clock.';
comment on column sla.breaches.instance is 'Number within episode and clock.';
comment on column sla.breaches.due_at is 'When the target was used up (UTC).';
comment on column sla.breaches.breach_at is 'When it was exceeded (UTC): due_at, or later when the target came to hold only then.';
comment on column sla.breaches.found_at is 'When it was found (UTC).';
comment on column sla.breaches.is_announced is 'Whether the sweep has notified of it; also true of what was long past when it was found.';
create index breaches_unannounced_idx on sla.breaches (account_id, display_id) where not is_announced;

create table sla.warnings (
  account_id bigint not null,
  display_id bigint not null,
  episode integer not null,
  clock text not null,
  instance integer not null,
  share numeric not null,
  warned_at timestamptz not null,
  constraint warnings_pkey primary key (account_id, display_id, episode, clock, instance, share)
);
comment on table sla.warnings is 'Warnings given: one for each clock and share of its target.';
comment on column sla.warnings.account_id is 'Chatwoot''s account id.';
comment on column sla.warnings.display_id is 'The conversation''s number in its account.';
comment on column sla.warnings.episode is 'Number of the episode within the conversation.';
comment on column sla.warnings.clock is 'Which clock.';
comment on column sla.warnings.instance is 'Number within episode and clock.';
comment on column sla.warnings.share is 'The share of the target that was reached.';
comment on column sla.warnings.warned_at is 'When it was given (UTC).';

create table sla.facts (
  account_id bigint not null,
  display_id bigint not null,
  known_from timestamptz not null,
  facts jsonb not null,
  constraint facts_pkey primary key (account_id, display_id, known_from)
);
comment on table sla.facts is 'What policies ask of customer and conversation that has no history in Chatwoot, from when on it was known.';
comment on column sla.facts.account_id is 'Chatwoot''s account id.';
comment on column sla.facts.display_id is 'The conversation''s number in its account.';
comment on column sla.facts.known_from is 'From when on it was known (UTC); -infinity for the first.';
comment on column sla.facts.facts is 'Value by attribute, as in conditions.';
