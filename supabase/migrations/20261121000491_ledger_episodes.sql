-- Episodes and spans: what the walk through a conversation's events leaves behind, and the small steps it is made of. What
-- the walk needs to go on from where it ended stands in the episode's own row.
--
-- Every instant is read from two clocks: the calendar's and the business clock of the conversation, which stands still
-- outside opening hours. A length is the difference of two readings, in business hours as otherwise. So nothing here is a
-- length but the sums of what is over, and those can be taken again from the spans.
create table ledger.episodes (
  account_id bigint not null,
  display_id bigint not null,
  episode integer not null,
  calendar_id bigint,
  calendar_revision integer,
  inbox_id bigint,
  contact_id bigint,
  durable interval not null,
  is_outbound boolean,
  status text not null,
  state text not null,
  holder text not null,
  team text not null,
  priority text not null,
  labels text not null,
  started_at timestamptz not null,
  started_business_at timestamptz not null,
  last_event_at timestamptz not null,
  first_customer_at timestamptz,
  first_customer_business_at timestamptz,
  first_any_at timestamptz,
  first_any_business_at timestamptz,
  first_human_at timestamptz,
  first_human_business_at timestamptz,
  first_reply_author bigint,
  last_author bigint,
  bot_started_at timestamptz,
  bot_started_business_at timestamptz,
  handed_off_at timestamptz,
  handed_off_business_at timestamptz,
  is_clock_settled boolean not null,
  clock_started_at timestamptz,
  clock_started_business_at timestamptz,
  first_resolved_at timestamptz,
  first_resolved_business_at timestamptz,
  last_resolved_at timestamptz,
  last_resolved_business_at timestamptz,
  resolved_by_kind text,
  resolved_by_id bigint,
  reopened_at timestamptz,
  first_assigned_at timestamptz,
  first_assigned_business_at timestamptz,
  last_assigned_at timestamptz,
  last_assigned_business_at timestamptz,
  waiting_since timestamptz,
  waiting_since_business timestamptz,
  waiting_event bigint,
  bot_waiting_since timestamptz,
  bot_waiting_since_business timestamptz,
  bot_waiting_event bigint,
  state_since timestamptz not null,
  state_since_business timestamptz not null,
  state_event bigint,
  holder_since timestamptz,
  holder_since_business timestamptz,
  holder_event bigint,
  waits integer not null,
  bot_waits integer not null,
  states integer not null,
  holders integer not null,
  customer_messages integer not null,
  human_replies integer not null,
  bot_replies integer not null,
  notes integer not null,
  turns integer not null,
  is_in_turn boolean not null,
  is_replied boolean not null,
  had_person boolean not null,
  resolutions integer not null,
  reopens integer not null,
  resolutions_until integer not null,
  reopens_until integer not null,
  people bigint[] not null,
  stations integer not null,
  reassignments integer not null,
  last_station text,
  survey_message_id bigint,
  survey_author bigint,
  csat_rating smallint,
  csat_answered_at timestamptz,
  ai_is_eligible boolean not null,
  ai_is_involved boolean not null,
  ai_is_answered boolean not null,
  ai_ended_as text,
  wait_ended numeric,
  wait_ended_business numeric,
  wait_longest_ended numeric,
  wait_longest_ended_business numeric,
  open_ended numeric not null,
  open_ended_business numeric not null,
  third_party_ended numeric not null,
  third_party_ended_business numeric not null,
  snoozed_ended numeric not null,
  snoozed_ended_business numeric not null,
  bot_ended numeric not null,
  bot_ended_business numeric not null,
  resolved_ended numeric not null,
  resolved_ended_business numeric not null,
  unassigned_ended numeric not null,
  unassigned_ended_business numeric not null,
  unknown_holder_ended numeric not null,
  constraint episodes_pkey primary key (account_id, display_id, episode)
);
comment on table ledger.episodes is 'One row an episode: the instants that its numbers come from, by both clocks, and sums of the spans that are over.';
-- Neither begins with account_id, as with messages.
create index episodes_started_at_idx on ledger.episodes (started_at, account_id);
create index episodes_calendar_idx on ledger.episodes (calendar_id, account_id, last_event_at) where calendar_id is not null;
create index episodes_contact_idx on ledger.episodes (contact_id, account_id, started_at) where contact_id is not null;

create table ledger.spans (
  account_id bigint not null,
  display_id bigint not null,
  episode integer not null,
  kind text not null,
  number integer not null,
  value text not null,
  started_at timestamptz not null,
  started_business_at timestamptz not null,
  ended_at timestamptz,
  ended_business_at timestamptz,
  opened_by bigint,
  closed_by bigint,
  closed_as text,
  actor_id bigint,
  constraint spans_pkey primary key (account_id, display_id, episode, kind, number),
  constraint spans_kind_known check (kind in ('wait', 'bot_wait', 'state', 'holder')),
  constraint spans_end_whole check ((ended_at is null) = (ended_business_at is null) and (ended_at is null) = (closed_as is null))
);
comment on table ledger.spans is 'The intervals that numbers are made of: waits of customers, states, and who held the conversation.';
comment on column ledger.spans.account_id is 'Chatwoot''s account id.';
comment on column ledger.spans.display_id is 'The conversation''s number in its account.';
comment on column ledger.spans.episode is 'Number of the episode within the conversation, from 1.';
comment on column ledger.spans.kind is 'wait (from a customer''s message to a person''s reply or a resolve), bot_wait (to a bot''s answer), state, or holder.';
comment on column ledger.spans.number is 'Number within the episode and kind, from 1.';
comment on column ledger.spans.value is 'Of a wait: first when frt measures it, else later. Of a state: open, bot, third_party, snoozed or resolved. Of a holder: user:7, agent_bot:3, empty for nobody, ? for unknown.';
comment on column ledger.spans.started_at is 'Begin (UTC).';
comment on column ledger.spans.started_business_at is 'Reading of the business clock at the begin.';
comment on column ledger.spans.ended_at is 'End (UTC); null while it runs.';
comment on column ledger.spans.ended_business_at is 'Reading of the business clock at the end; null while it runs.';
comment on column ledger.spans.opened_by is 'The event that opened it; null where nothing in the log did.';
comment on column ledger.spans.closed_by is 'The event that closed it; null while it runs.';
comment on column ledger.spans.closed_as is 'What closed it: reply, resolved, bot or change; null while it runs.';
comment on column ledger.spans.actor_id is 'Of a wait, the person who replied; null for none or unknown.';

create type ledger.walk_request as (
  account_id bigint, display_id bigint, is_tail boolean, episode_gap interval, durable interval, has_bot boolean,
  calendar_id bigint, calendar_revision integer, inbox_id bigint, contact_id bigint
);
comment on type ledger.walk_request is
  'A conversation to walk through and how it is counted. is_tail goes on after the stored episode''s last_event_at, else from the beginning.';

create function ledger.take(this ledger.episodes, at timestamptz, business_at timestamptz, event_id bigint)
returns ledger.episodes
language plpgsql immutable security invoker set search_path = '' as $$
begin
  this.holder_since := take.at;
  this.holder_since_business := take.business_at;
  this.holder_event := take.event_id;
  if this.holder like 'user:%' and this.holder is distinct from this.last_station then
    this.stations := this.stations + 1;
    this.reassignments := this.reassignments + (coalesce(this.last_station, '') like 'user:%')::integer;
    this.last_assigned_at := take.at;
    this.last_assigned_business_at := take.business_at;
    if this.first_assigned_at is null then
      this.first_assigned_at := take.at;
      this.first_assigned_business_at := take.business_at;
    end if;
    if split_part(this.holder, ':', 2)::bigint <> all (this.people) then
      this.people := this.people || split_part(this.holder, ':', 2)::bigint;
    end if;
  end if;
  this.last_station := this.holder;
  return this;
end
$$;
comment on function ledger.take is 'An episode that its holder (a person, a bot or nobody) takes or goes on with at that instant.';

create function ledger.new_episode(
  request ledger.walk_request, episode integer, started_at timestamptz, started_business_at timestamptz, event_id bigint,
  status text, state text, holder text, team text, priority text, labels text
) returns ledger.episodes
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_this ledger.episodes;
begin
  v_this.account_id := (new_episode.request).account_id;
  v_this.display_id := (new_episode.request).display_id;
  v_this.episode := new_episode.episode;
  v_this.calendar_id := (new_episode.request).calendar_id;
  v_this.calendar_revision := (new_episode.request).calendar_revision;
  v_this.inbox_id := (new_episode.request).inbox_id;
  v_this.contact_id := (new_episode.request).contact_id;
  v_this.durable := (new_episode.request).durable;
  v_this.status := new_episode.status;
  v_this.state := new_episode.state;
  v_this.holder := new_episode.holder;
  v_this.team := new_episode.team;
  v_this.priority := new_episode.priority;
  v_this.labels := new_episode.labels;
  v_this.started_at := new_episode.started_at;
  v_this.started_business_at := new_episode.started_business_at;
  v_this.last_event_at := new_episode.started_at;
  v_this.state_since := new_episode.started_at;
  v_this.state_since_business := new_episode.started_business_at;
  v_this.state_event := new_episode.event_id;
  v_this.waits := 0;
  v_this.bot_waits := 0;
  v_this.states := 0;
  v_this.holders := 0;
  v_this.customer_messages := 0;
  v_this.human_replies := 0;
  v_this.bot_replies := 0;
  v_this.notes := 0;
  v_this.turns := 0;
  v_this.is_in_turn := false;
  v_this.is_clock_settled := false;
  v_this.is_replied := false;
  v_this.had_person := new_episode.state not in ('bot', 'resolved');
  v_this.resolutions := 0;
  v_this.reopens := 0;
  v_this.resolutions_until := 0;
  v_this.reopens_until := 0;
  v_this.people := '{}';
  v_this.ai_is_eligible := (new_episode.request).has_bot is distinct from false;
  v_this.ai_is_involved := new_episode.state = 'bot';
  v_this.ai_is_answered := false;
  v_this.stations := 0;
  v_this.reassignments := 0;
  v_this.open_ended := 0;
  v_this.open_ended_business := 0;
  v_this.third_party_ended := 0;
  v_this.third_party_ended_business := 0;
  v_this.snoozed_ended := 0;
  v_this.snoozed_ended_business := 0;
  v_this.bot_ended := 0;
  v_this.bot_ended_business := 0;
  v_this.resolved_ended := 0;
  v_this.resolved_ended_business := 0;
  v_this.unassigned_ended := 0;
  v_this.unassigned_ended_business := 0;
  v_this.unknown_holder_ended := 0;
  if new_episode.state = 'bot' then
    v_this.bot_started_at := new_episode.started_at;
    v_this.bot_started_business_at := new_episode.started_business_at;
  end if;
  if new_episode.state <> 'resolved' then
    v_this := ledger.take(v_this, new_episode.started_at, new_episode.started_business_at, new_episode.event_id);
  end if;
  return v_this;
end
$$;
comment on function ledger.new_episode is 'An episode as it is at its first instant.';

create function ledger.running_spans(this ledger.episodes) returns ledger.spans[]
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_spans ledger.spans[] := '{}'::ledger.spans[];
begin
  if (this).waiting_since is not null then
    v_spans := v_spans || row((this).account_id, (this).display_id, (this).episode, 'wait', (this).waits + 1,
      case when (this).first_human_at is null and not (this).is_outbound then 'first' else 'later' end,
      (this).waiting_since, (this).waiting_since_business, null, null, (this).waiting_event, null, null, null)::ledger.spans;
  end if;
  if (this).status <> 'resolved' then
    v_spans := v_spans || row((this).account_id, (this).display_id, (this).episode, 'state', (this).states + 1, (this).state,
      (this).state_since, (this).state_since_business, null, null, (this).state_event, null, null, null)::ledger.spans;
  end if;
  if (this).holder_since is not null then
    v_spans := v_spans || row((this).account_id, (this).display_id, (this).episode, 'holder', (this).holders + 1,
      (this).holder, (this).holder_since, (this).holder_since_business, null, null, (this).holder_event, null, null,
      null)::ledger.spans;
  end if;
  return v_spans;
end
$$;
comment on function ledger.running_spans is 'The spans of an episode that have not ended.';

create function ledger.add_ended(this ledger.episodes, sums numeric[]) returns ledger.episodes
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if sums is null then
    return this;
  end if;
  -- Null while nobody has waited.
  this.wait_ended := coalesce(this.wait_ended + sums[1], this.wait_ended, sums[1]);
  this.wait_ended_business := coalesce(this.wait_ended_business + sums[2], this.wait_ended_business, sums[2]);
  this.wait_longest_ended := greatest(this.wait_longest_ended, sums[3]);
  this.wait_longest_ended_business := greatest(this.wait_longest_ended_business, sums[4]);
  this.open_ended := this.open_ended + coalesce(sums[5], 0);
  this.open_ended_business := this.open_ended_business + coalesce(sums[6], 0);
  this.third_party_ended := this.third_party_ended + coalesce(sums[7], 0);
  this.third_party_ended_business := this.third_party_ended_business + coalesce(sums[8], 0);
  this.snoozed_ended := this.snoozed_ended + coalesce(sums[9], 0);
  this.snoozed_ended_business := this.snoozed_ended_business + coalesce(sums[10], 0);
  this.bot_ended := this.bot_ended + coalesce(sums[11], 0);
  this.bot_ended_business := this.bot_ended_business + coalesce(sums[12], 0);
  this.resolved_ended := this.resolved_ended + coalesce(sums[13], 0);
  this.resolved_ended_business := this.resolved_ended_business + coalesce(sums[14], 0);
  this.unassigned_ended := this.unassigned_ended + coalesce(sums[15], 0);
  this.unassigned_ended_business := this.unassigned_ended_business + coalesce(sums[16], 0);
  this.unknown_holder_ended := this.unknown_holder_ended + coalesce(sums[17], 0);
  return this;
end
$$;
comment on function ledger.add_ended is 'An episode with the lengths of spans that ended added to its sums.';

do $$
declare
  v_comment record;
begin
  for v_comment in
    select described.name, described.words
    from (values
      ('account_id', 'Chatwoot''s account id.'), ('display_id', 'The conversation''s number in its account.'),
      ('episode', 'Number of the episode within the conversation, from 1.'),
      ('calendar_id', 'Calendar of the business clock; null for none, then it reads as the other.'),
      ('calendar_revision', 'Revision of the calendar it was read from.'), ('inbox_id', 'Inbox it came in through.'),
      ('contact_id', 'The customer.'), ('durable', 'Time without a reopen after which a resolve counts as durable.'),
      ('is_outbound', 'Whether we had the first word; null while nobody has spoken.'),
      ('status', 'open, resolved, pending or snoozed, at its end or as it stands.'),
      ('state', 'The same, with pending told apart: bot or third_party.'),
      ('holder', 'Whose it is, such as user:7; empty for nobody, ? for unknown.'), ('team', 'Team id; empty for none.'),
      ('priority', 'Priority; empty for none.'), ('labels', 'JSON array of titles.'), ('started_at', 'Begin (UTC).'),
      ('last_event_at', 'Last event walked (UTC): a tail goes on after it.'),
      ('first_customer_at', 'First message of the customer (UTC).'), ('first_any_at', 'First answer of a bot or person (UTC).'),
      ('first_human_at', 'First message of a person (UTC).'), ('first_reply_author', 'Who wrote that; null when unknown.'),
      ('last_author', 'The last person who wrote; null for none known.'),
      ('bot_started_at', 'Begin of the bot phase that the first hand-off ended, or of the latest (UTC).'),
      ('handed_off_at', 'First hand-off from a bot to people (UTC).'),
      ('is_clock_settled', 'Whether it is settled that frt begins at the hand-off or at the first message.'),
      ('clock_started_at', 'The hand-off that frt is measured from (UTC); null when it is the first message.'),
      ('first_resolved_at', 'First resolve (UTC).'), ('last_resolved_at', 'Last resolve (UTC).'),
      ('resolved_by_kind', 'Kind of who resolved it last: the last person who wrote, else the assignee.'),
      ('resolved_by_id', 'Id of who resolved it last; null for nobody known.'),
      ('reopened_at', 'First reopen after the last resolve, or begin of the next episode (UTC).'),
      ('first_assigned_at', 'First time a person got it (UTC).'), ('last_assigned_at', 'Last time a person got it (UTC).'),
      ('waiting_since', 'Since when the customer waits for a person (UTC); null when not.'),
      ('waiting_event', 'The message that began it.'),
      ('bot_waiting_since', 'Since when the customer waits for any answer (UTC); null when not.'),
      ('bot_waiting_event', 'The message that began it.'), ('state_since', 'Since when the state lasts (UTC).'),
      ('state_event', 'The event that began it.'), ('holder_since', 'Since when the holder has it (UTC); null while resolved.'),
      ('holder_event', 'The event that began it.'), ('waits', 'Number of waits that ended.'),
      ('bot_waits', 'Number of waits that a bot ended.'), ('states', 'Number of states that ended.'),
      ('holders', 'Number of holdings that ended.'), ('customer_messages', 'Messages of the customer.'),
      ('human_replies', 'Messages of people.'), ('bot_replies', 'Messages of bots.'), ('notes', 'Private notes.'),
      ('turns', 'Runs of messages of people, ended by the customer.'), ('is_in_turn', 'Whether such a run goes on.'),
      ('is_replied', 'Whether a person wrote after the customer.'),
      ('had_person', 'Whether it was ever with people: out of the bot phase, or answered.'),
      ('resolutions', 'Resolves in this episode.'), ('reopens', 'Reopens in this episode.'),
      ('resolutions_until', 'Resolves of the conversation up to its end.'), ('reopens_until', 'Reopens of the conversation up to its end.'),
      ('people', 'Ids of the people who had it.'), ('stations', 'How often a person got it.'),
      ('reassignments', 'How often it went from person to person.'), ('last_station', 'Who had it last while not resolved.'),
      ('survey_message_id', 'The survey sent; null for none.'), ('survey_author', 'The last person who wrote before the survey.'),
      ('csat_rating', 'Rating, 1 to 5; null for none.'), ('csat_answered_at', 'When it was given (UTC).'),
      ('ai_is_eligible', 'Whether a bot could have had it.'), ('ai_is_involved', 'Whether one had it or answered.'),
      ('ai_is_answered', 'Whether it answered, and not only asked, before its part ended.'),
      ('ai_ended_as', 'How its part ended: claimed_resolved, handed_off, assisted, abandoned; null while open.'),
      ('wait_ended', 'Seconds of waits that ended; null for none.'), ('wait_longest_ended', 'The longest of them.'),
      ('open_ended', 'Seconds open, as far as over.'), ('third_party_ended', 'Seconds pending for a third party, as far as over.'),
      ('snoozed_ended', 'Seconds snoozed, as far as over.'), ('bot_ended', 'Seconds in the bot phase, as far as over.'),
      ('resolved_ended', 'Seconds resolved before a reopen.'), ('unassigned_ended', 'Seconds with nobody, as far as over.'),
      ('unknown_holder_ended', 'Seconds of which nobody knows whose it was.')
    ) as described (name, words)
  loop
    execute format('comment on column ledger.episodes.%I is %L', v_comment.name, v_comment.words);
  end loop;
  -- The same by the business clock.
  for v_comment in
    select columns.attname as name from pg_attribute as columns
    where columns.attrelid = 'ledger.episodes'::regclass and columns.attnum > 0 and columns.attname like '%business%'
  loop
    execute format('comment on column ledger.episodes.%I is %L', v_comment.name, case when v_comment.name like '%ended_business'
      then 'The same in business hours.' else 'The same by the business clock.' end);
  end loop;
end
$$;
