-- What each number means, as rows: docs/metrics.md is written from them, and ledger.explain_metric goes by them. The
-- version rises with every change that moves a number.
create table ledger.metric_definitions (
  metric text not null,
  description text not null,
  unit text not null,
  null_rule text not null,
  conversation_rule text,
  version integer not null default 1,
  example text not null,
  constraint metric_definitions_pkey primary key (metric),
  constraint metric_definitions_unit_known check (unit in ('seconds', 'list of seconds', 'count', 'true or false', 'id of a person',
    'rating', 'class')),
  constraint metric_definitions_conversation_rule_known
    check (conversation_rule in ('first', 'last', 'sum', 'list', 'longest', 'distinct', 'only')),
  constraint metric_definitions_version_positive check (version > 0)
);
comment on table ledger.metric_definitions is 'What each metric of analytics.episodes and analytics.conversations means. Those in seconds have a twin with the suffix _business, of business hours alone.';
comment on column ledger.metric_definitions.metric is 'Its id, which is the name of its column.';
comment on column ledger.metric_definitions.description is 'What is measured, of an episode.';
comment on column ledger.metric_definitions.unit is 'seconds, list of seconds, count, true or false, id of a person, rating (1 to 5) or class.';
comment on column ledger.metric_definitions.null_rule is 'When it is null.';
comment on column ledger.metric_definitions.conversation_rule is 'What a conversation''s number is made of: its first or last episode, the sum, the list or the longest of all; distinct: each person of all once; only: conversations alone have it; null: only episodes have it.';
comment on column ledger.metric_definitions.version is 'Rises when the definition changes what a number is.';
comment on column ledger.metric_definitions.example is 'A worked example.';

insert into ledger.metric_definitions (metric, description, unit, conversation_rule, null_rule, example) values
('frt', 'First response time: from the customer''s first message, or from the hand-off when a bot had the conversation until then, to the first message of a person. Notes, automatic messages, bots and messages that could not be delivered are no response.',
  'seconds', 'first', 'while nobody has replied, when it was closed without a reply, and when we started it',
  'A customer writes at 09:00:00; at 09:10 an agent leaves a note, at 09:12 a rule confirms receipt, at 09:25:00 an agent answers: 1500.'),
('frt_customer', 'The wait for a person as the customer felt it: from the customer''s first message to the first message of a person, the time with a bot included.',
  'seconds', 'first', 'as frt', 'A customer writes at 10:00, the bot hands off at 10:04, an agent answers at 10:19: 1140, where frt is 900.'),
('frt_any', 'From the customer''s first message to the first answer of a bot or a person.',
  'seconds', 'first', 'while neither has answered, and when we started it', 'A customer writes at 10:00:00, the bot answers at 10:00:05: 5.'),
('reply_time', 'One length for each wait after the one that frt measures: from the first customer message of the wait to the reply of a person. Further messages in the same wait do not begin it anew.',
  'list of seconds', 'list', 'when there was no such reply',
  'After the first response the customer writes at 10:00 and again at 10:20, an agent replies at 10:45: {2700}.'),
('bot_reply_time', 'One length for each time a bot answered: from the first customer message not answered yet by anybody, to the bot''s message.',
  'list of seconds', 'list', 'when no bot answered', 'The customer writes at 10:00:00 and 10:01:00, the bot answers at 10:00:05 and 10:01:06: {5,6}.'),
('wait_total', 'All waits of the customer for a person together; one that goes on counts up to now, and one that a resolve ended counts too.',
  'seconds', 'sum', 'when the customer never waited', 'Waits of 1500 and 2700 seconds: 4200.'),
('wait_longest', 'The longest of those waits. The longest in business hours may be another one.',
  'seconds', 'longest', 'when the customer never waited', 'Waits of 1500 and 2700 seconds: 2700.'),
('wait_current', 'How long the customer has been waiting by now.',
  'seconds', 'last', 'while nobody waits', 'The customer wrote at 09:00 and it is 12:00: 10800.'),
('waiting', 'Whether the customer waits for a person now.', 'true or false', 'last', 'never', 'The customer wrote and nobody has replied: true.'),
('ttr_first', 'From the begin of the episode to the first time it was resolved.',
  'seconds', 'first', 'when it was never resolved', 'Begun at 09:00, resolved at 10:00, reopened, resolved again the next day: 3600.'),
('ttr_full', 'From the begin of the episode to the last time it was resolved.',
  'seconds', 'last', 'while it is not resolved', 'Begun on Monday at 09:00, resolved at 10:00, reopened, resolved on Tuesday at 09:00: 86400.'),
('ttr_active', 'ttr_full without the time it was resolved in between.',
  'seconds', 'last', 'while it is not resolved', 'Resolved from Monday 10:00 to Tuesday 08:00 within a ttr_full of 86400: 86400 - 79200 = 7200.'),
('ttr_human', 'ttr_full without the time a bot had it.',
  'seconds', 'last', 'while it is not resolved, and when no person ever had it',
  'Resolved after 1800 seconds of which the bot had it for the first 240: 1560.'),
('requester_wait', 'Time in which something was to be done by others than the customer: open, or pending for a third party.',
  'seconds', 'sum', 'never', 'Open for 10800 seconds, pending for a third party for 7200: 18000.'),
('agent_work', 'Time in the status open.', 'seconds', 'sum', 'never', 'Open from 09:00 to 10:00 and from 14:00 to 15:30: 9000.'),
('agent_wait', 'Time in the status snoozed.', 'seconds', 'sum', 'never', 'Snoozed from 10:00 to 14:00: 14400.'),
('on_hold', 'Time in the status pending that was not a bot''s: waiting for a third party.',
  'seconds', 'sum', 'never', 'Set to pending by an agent from 15:30 to 17:30: 7200.'),
('bot_phase', 'Time in the status pending that was a bot''s: from the begin, or from a reopen, in an inbox that may have a bot.',
  'seconds', 'sum', 'never', 'Pending from 10:00 until the bot hands off at 10:04: 240.'),
('handoff_s', 'From the begin of the bot phase to the first hand-off to people.',
  'seconds', 'first', 'when no bot handed it off', 'The bot had it from 10:00 and handed it off at 10:04: 240.'),
('unassigned_s', 'Time in which nobody had it, while it was not resolved.',
  'seconds', 'sum', 'when for part of the time nobody can say whose it was', 'With nobody from 08:50 to 09:00 and from 10:20 to 10:30: 1200.'),
('first_assignment_to_resolve', 'From the first time a person got it to the last resolve.',
  'seconds', 'last', 'while it is not resolved, and when no person ever got it', 'First assigned at 09:00, resolved at 11:00: 7200.'),
('last_assignment_to_resolve', 'From the last time another person got it to the last resolve.',
  'seconds', 'last', 'while it is not resolved, and when no person ever got it', 'Last assigned at 10:30, resolved at 11:00: 1800.'),
('episodes', 'Episodes of the conversation. One begins with a first message when there is none, or none younger than the episode gap (72 hours unless the inbox says otherwise).',
  'count', 'only', 'never', 'Resolved on the 3rd, the customer writes again on the 12th: 2.'),
('resolutions', 'How often it was resolved. Of a conversation also before anybody had spoken.',
  'count', 'sum', 'never', 'Resolved, reopened, resolved: 2.'),
('resolutions_until', 'How often the conversation was resolved up to the end of this episode.',
  'count', null, 'never', 'Once in episode 1 and once in episode 2: 2 for episode 2.'),
('reopens', 'How often it was reopened within the episode gap.',
  'count', 'sum', 'never', 'Resolved, reopened the next day, resolved, reopened nine days later: 1; the second begins a new episode.'),
('reopens_raw', 'How often the conversation was reopened, after however long.',
  'count', 'only', 'never', 'Reopened the next day and again nine days later: 2.'),
('reopens_until', 'How often the conversation was reopened up to the end of this episode.',
  'count', null, 'never', 'Reopened in episode 1 and by what began episode 2: 2 for episode 2.'),
('durable', 'Whether the last resolve lasted for the durable window (7 days unless the inbox says otherwise).',
  'true or false', 'last', 'when it was never resolved, and until either the window is over or it is reopened',
  'Resolved on the 3rd at 09:00 and not reopened: null until the 10th at 09:00, true from then on.'),
('fcr', 'Whether the first contact settled it: resolved, and no new episode of the same customer within 7 days, in any conversation. What it was about is not known, so any episode counts, as far as it is known now.',
  'true or false', 'last', 'while not resolved, where the customer is not known, and until 7 days are over or the next episode begins',
  'Resolved on the 3rd; the same customer wrote to another inbox on the 5th: false.'),
('customer_messages', 'Messages of the customer.', 'count', 'sum', 'never', 'The customer wrote at 09:00, 09:02, 10:00 and 10:20: 4.'),
('human_replies', 'Messages of people to the customer. Notes, automatic messages and what could not be delivered do not count.',
  'count', 'sum', 'never', 'An agent wrote at 09:25:00, 09:26:30 and 10:45: 3.'),
('bot_replies', 'Messages of bots to the customer.', 'count', 'sum', 'never', 'The bot answered twice and handed off: 2.'),
('notes', 'Private notes.', 'count', 'sum', 'never', 'An agent left one note: 1.'),
('turns', 'Runs of messages of people that no customer message interrupts.',
  'count', 'sum', 'never', 'An agent wrote at 09:25:00 and 09:26:30, the customer at 10:00, the agent at 10:45: 2.'),
('one_touch', 'Whether it was resolved with exactly one message of a person.',
  'true or false', 'last', 'while it is not resolved', 'One answer, then resolved: true. Two bubbles: false.'),
('one_turn', 'Whether it was resolved with exactly one turn of people.',
  'true or false', 'last', 'while it is not resolved', 'Two bubbles in a row, then resolved: true.'),
('zero_touch', 'Whether it was resolved with an answer of a bot and without a message of a person.',
  'true or false', 'last', 'while it is not resolved', 'The bot answers and resolves: true.'),
('replied', 'Whether a person wrote after the customer had.',
  'true or false', 'last', 'when the customer has written nothing', 'A customer''s question that was closed unanswered: false.'),
('closed_unreplied', 'Whether it is resolved although no person ever replied to the customer who began it.',
  'true or false', 'last', 'never', 'The customer writes at 09:00, it is resolved at 09:05: true.'),
('is_outbound', 'Whether we had the first word.', 'true or false', null, 'never', 'An agent writes first and the customer answers: true.'),
('assignees', 'How many different people had it.', 'count', 'distinct', 'never', 'A, then B, then A, nobody, B: 2.'),
('stations', 'How often a person got it from somebody else or from nobody. Whoever has it when an episode begins got it then.', 'count', 'sum', 'never', 'A, then B, then A, nobody, B: 4.'),
('reassignments', 'How often it went from one person straight to another.', 'count', 'sum', 'never', 'A, then B, then A, nobody, B: 2.'),
('first_reply_author', 'Who wrote the first response, whoever it was assigned to.',
  'id of a person', 'first', 'as frt, and when the message names nobody', 'Assigned to A, answered by B: B.'),
('last_author', 'The last person who wrote.', 'id of a person', null, 'when no person wrote, or none is named', 'A answers, then B: B.'),
('resolved_by_id', 'Who is taken to have resolved it last: the last person who wrote, else whose it was.',
  'id of a person', 'last', 'when it was never resolved, or nobody wrote or had it', 'A answers, the automation unassigns and resolves: A.'),
('surveyed', 'Whether a satisfaction survey was sent.', 'true or false', null, 'never', 'Resolved, and Chatwoot asks for a rating: true.'),
('csat_rating', 'The customer''s answer to the survey of this episode, from 1 to 5.',
  'rating', null, 'when there was no answer', 'Asked in episode 1, answered 4 after episode 2 began: 4 for episode 1.'),
('csat_author', 'Whom the rating is about: the last person who wrote before the survey.',
  'id of a person', null, 'when no survey was sent, or no person had written', 'A answers, the survey goes out, B adds something: A.'),
('ai_eligible', 'Whether a bot could have had it: the customer began it, in an inbox of which it is not said that it has no bot.',
  'true or false', null, 'never', 'We wrote first: false.'),
('ai_involved', 'Whether a bot had it or wrote in it, of what was eligible.',
  'true or false', null, 'never', 'Pending at the begin, handed off at once: true.'),
('ai_answered', 'Whether the bot gave an answer, and not only asked back, before its part was over.',
  'true or false', null, 'never', 'The bot asks "Which order?" and the customer leaves: false.'),
('ai_class', 'How the bot''s part ended: claimed_resolved (it answered, then resolved, no person), handed_off, assisted (a person wrote uninvited), abandoned (resolved without an answer), or open.',
  'class', null, 'when no bot was involved', 'The bot answers, an agent jumps in, resolved: assisted.');

do $$
begin
  alter table ledger.metric_definitions enable row level security;
  create policy "Everybody signed in reads them" on ledger.metric_definitions for select to authenticated using (true);
  create policy "Analysts read them" on ledger.metric_definitions for select to analyst using (true);
  revoke all on ledger.metric_definitions from public, anon, authenticated, service_role;
  grant select on ledger.metric_definitions to authenticated, analyst, service_role;
end
$$;
