-- What each column of analytics means. Here and not beside the views, since most words serve several of them.
do $$
declare
  v_comment record;
begin
  for v_comment in
    with words (name, words) as (values
      ('account_id', 'Chatwoot''s account id.'), ('display_id', 'The conversation''s number in its account, as the dashboard shows it.'),
      ('inbox_id', 'Inbox it came in through.'), ('inbox_name', 'Name of the inbox; null until a payload says it.'),
      ('channel', 'Class name of the channel, such as Channel::WebWidget.'),
      ('status', 'open, resolved, pending or snoozed.'), ('priority', 'low, medium, high, urgent; null for none.'),
      ('labels', 'Titles of its labels.'), ('contact_id', 'The customer.'), ('contact_name', 'Name of the customer.'),
      ('assignee_kind', 'user or agent_bot; null when unassigned.'),
      ('assignee_id', 'Id of the assignee within its kind; null when unassigned.'), ('assignee_name', 'Name of the assignee.'),
      ('team_id', 'Team; null for none.'), ('team_name', 'Name of the team.'), ('created_at', 'When it began or was written (UTC).'),
      ('first_reply_created_at', 'When a person first replied (UTC); null until then.'),
      ('waiting_since', 'Since when the customer waits for a reply (UTC); null when nobody waits.'),
      ('snoozed_until', 'When a snooze ends (UTC); null when not snoozed or without end.'),
      ('last_activity_at', 'When something last happened (UTC).'), ('updated_at', 'Chatwoot''s own time of the last change (UTC).'),
      ('additional_attributes', 'Browser, referer, mail subject and the like.'),
      ('custom_attributes', 'What the shop keeps about the conversation.'),
      ('deleted_at', 'Earliest instant at which it is known to be deleted in Chatwoot (UTC); null while it is not.'),
      ('message_id', 'Chatwoot''s message id.'), ('message_type', 'incoming, outgoing, activity or template.'),
      ('content_type', 'text, input_csat, cards and so on.'), ('is_private', 'True for a note that only agents see.'),
      ('content', 'What was written; null for attachments alone.'),
      ('sender_kind', 'contact, user, agent_bot or captain_assistant; null when Chatwoot itself wrote.'),
      ('sender_id', 'Id of the sender within its kind.'), ('sender_name', 'Name of the sender.'),
      ('delivery_status', 'sent, delivered, read or failed; null until a payload says it.'),
      ('attachment_count', 'Number of attachments.'), ('attachments', 'Attachments as Chatwoot describes them.'),
      ('content_attributes', 'Reply reference, parsed e-mail, form values and so on.'),
      ('csat_rating', 'Rating given to this survey message, 1 (worst) to 5; null for none.'),
      ('csat_feedback', 'Words given with the rating; null for none.'),
      ('day', 'Local date in time_zone.'),
      ('incoming_messages', 'Messages of customers.'), ('outgoing_messages', 'Public replies of people and bots.'),
      ('automatic_messages', 'Greetings, surveys, and other templates.'), ('private_notes', 'Notes that only agents see.'),
      ('conversations', 'Number of conversations.'), ('open_conversations', 'Of these, open.'),
      ('pending_conversations', 'Of these, pending.'), ('snoozed_conversations', 'Of these, snoozed.'),
      ('resolved_conversations', 'Of these, resolved.'), ('waiting_conversations', 'Of these, with a customer waiting for a reply.'),
      ('longest_waiting_since', 'Since when the longest of them waits (UTC); null when none does.'),
      ('share', 'Share of the account''s conversations, 0 to 1.'), ('outcome', 'applied, ignored or dead.'),
      ('deliveries', 'Number of deliveries.'), ('redeliveries', 'How often one of them came again.'),
      ('conflicts', 'How often one came again with another body.'), ('last_received_at', 'When the newest arrived (UTC).'),
      ('seconds_since_last', 'Seconds since the newest arrived.'),
      ('lag_seconds_median', 'Median of the seconds from signing to arrival; null when none was signed.'),
      ('lag_seconds_p95', '95th percentile of the same.'),
      ('most_frequent_reason', 'The most frequent reason of this outcome; null when applied.'),
      ('time_zone', 'IANA zone of the days and hours: the account''s setting reporting_time_zone.'),
      ('month', 'First day of the local month.'), ('weekday', 'Day of the week, 0 is Sunday.'), ('hour', 'Local hour, 0 to 23.'),
      ('starts_at', 'First instant (UTC).'), ('ends_at', 'First instant after it (UTC).'),
      ('episode', 'Number of the episode within the conversation, from 1.'), ('episodes', 'Number of episodes.'),
      ('started_at', 'Begin (UTC).'), ('ended_at', 'End (UTC); null while it runs.'),
      ('as_of', 'The instant up to which what runs is counted (UTC).'),
      ('last_started_at', 'Begin of the last episode (UTC).'),
      ('flags', 'Why a report leaves it out (spam, test, imported, merged_child, deleted), or what is special: outbound_started, no_customer_message.'),
      ('holder', 'Whose it is, such as user:7; null for nobody, ? for unknown.'),
      ('calendar_id', 'Calendar of the business hours; null for none: then _business counts every hour.'),
      ('first_customer_at', 'First message of the customer (UTC).'),
      ('handed_off_at', 'First hand-off from a bot to people (UTC); null for none.'),
      ('first_human_at', 'First message of a person (UTC); null for none.'),
      ('first_resolved_at', 'First resolve (UTC); null for none.'), ('last_resolved_at', 'Last resolve (UTC); null for none.'),


      ('refreshed_at', 'When its numbers were last made (UTC).'),

      ('resolved_by_kind', 'Kind of who resolved it last: the last person who wrote, else the assignee.'),
      ('csat_answered_at', 'When the rating was given (UTC); null for none.'),

      ('n_included', 'Episodes counted.'),
      ('n_excluded', 'Episodes left out, for reasons that analytics.exclusions counts; they are in no other number.'),
      ('reason', 'The flag for which they are left out.'),
      ('kind', 'What it is.'), ('number', 'Number within the episode and kind, from 1.'),
      ('is_running', 'Whether it has not ended.'), ('seconds', 'Length in seconds, up to now while it runs.'),
      ('seconds_business', 'Length in seconds of business hours, up to now while it runs.'),
      ('opened_by', 'The event that opened it; null where nothing in the log did.'),
      ('closed_by', 'The event that closed it; null while it runs.'),
      ('closed_as', 'What closed it: reply, resolved, bot or change; null while it runs.'),
      ('actor_id', 'Id of who did it, within its kind; null for none or unknown.'),
      ('event_id', 'Number of the event.'), ('occurred_at', 'When it happened (UTC).'),
      ('place', 'Order among events of one kind and instant.'),
      ('class', 'Of a message: customer, human, bot, auto, note or failed; null for other kinds.'),
      ('value', 'What it became, or whose it is; empty for none.'), ('previous', 'What it was before; empty for none.'),
      ('actor_kind', 'Kind of who did it: user, contact, agent_bot and so on; null when nobody is named.'),
      ('source', 'Which row says so: message, csat_response, conversation, change, snapshot, reporting_event or activity.'),
      ('source_id', 'Key of that row within the conversation.'), ('learnt_at', 'When it was learnt (UTC).'),
      ('episodes_created', 'Episodes that began.'), ('outbound_started', 'Of these, begun by us.'),
      ('reopened', 'Episodes that were reopened within the gap.'), ('resolutions', 'Number of resolves.'),
      ('conversations_resolved', 'Different conversations among the resolves.'),
      ('contacts_helped', 'Different customers among the resolves; does not add up over inboxes or days.'),
      ('backlog_start', 'Not resolved when the day began.'), ('created', 'Episodes that began, each when it first was not resolved.'),
      ('resolved', 'Resolves.'), ('backlog_end', 'Not resolved when the day ended, or now.'),
      ('open_end', 'Of these, open.'), ('snoozed_end', 'Of these, snoozed.'), ('pending_end', 'Of these, pending: bot_end + third_party_end.'),
      ('bot_end', 'Of these, with a bot.'), ('third_party_end', 'Of these, waiting for a third party.'),
      ('open', 'Of these, open.'), ('snoozed', 'Of these, snoozed.'), ('pending', 'Of these, pending.'),
      ('unassigned', 'Of these, with nobody.'),
      ('longest_wait', 'Seconds that the customer who waits longest has waited; null when nobody waits.'),
      ('urgent_waiting', 'Of those who wait, urgent.'),
      ('load_points', '1 for each customer who waits, 2 for an urgent one, 0.25 for each of the others.'),
      ('agent_id', 'The agent.'), ('agent_name', 'Name of the agent.'), ('label', 'Title of the label.'),
      ('first_resolved', 'Episodes that were resolved for the first time.'),
      ('first_resolved_mature', 'The same, once the whole day is so long ago that no reopen can come any more; else 0.'),
      ('reopened_mature', 'Of these, reopened within the gap.'),
      ('reopen_rate', 'reopened_mature / first_resolved_mature; null before.'),
      ('resolutions_mature', 'All resolves, once the whole day is longer ago than the durable window; else 0.'),
      ('durable_rate', 'Share of the resolves that lasted; null while none can be judged.'),
      ('durable_known', 'Episodes of which it is known whether their last resolve lasted.'),
      ('n_replied', 'Episodes with a reply of a person.'), ('n_waiting', 'Episodes in which the customer waits now.'),
      ('n_closed', 'Episodes closed without a reply.'), ('n_resolved', 'Episodes that are resolved.'),
      ('n_open', 'Episodes that are not resolved yet.'),
      ('frt_median', 'Median seconds to the first reply, those who still wait counted as waiting at least so long (Kaplan and Meier); null while fewer than half have one.'),
      ('asked', 'Episodes with a message of the customer.'), ('response_rate', 'Answered divided by asked; null for none.'),
      ('first_replies', 'First replies the agent wrote.'), ('replies', 'Later waits of customers that the agent ended.'),
      ('held', 'Seconds assigned to the agent while not resolved.'), ('held_business', 'The same in business hours.'),
      ('hours', 'How many hours carried that name.'), ('episodes_per_hour', 'episodes_created / hours.'),
      ('surveyed_at', 'When the survey was sent (UTC); null when not mirrored.'),
      ('answered_at', 'When the customer first answered (UTC); null for no answer.'),
      ('rating', 'Rating, 1 to 5; null for no answer. Of several the last within 7 days.'),
      ('first_rating', 'The rating first given.'), ('is_positive', 'Whether it is 4 or 5; null for no answer.'),
      ('flip', 'improved or worsened, when a later rating crossed the line between 3 and 4; else null.'),
      ('author_id', 'The last agent who wrote before the survey; null for none.'), ('author_name', 'Name of that agent.'),
      ('answered_by', 'Who answered the customer: human, bot or mixed; null for nobody.'),
      ('is_excluded', 'Whether reports leave it out.'),
      ('delivered', 'Surveys that reached the customer.'), ('answered', 'Of these, answered.'),
      ('positive', 'Answers of 4 or 5.'), ('csat', 'positive / answered, 0 to 1; null for no answer.'),
      ('csat_low', 'Lower end of its Wilson 95 % interval.'), ('csat_high', 'Upper end of its Wilson 95 % interval.'),
      ('rating_sum', 'Sum of the ratings.'), ('rating_mean', 'Mean rating; null for no answer.'), ('neutral', 'Answers of 3.'),
      ('csat_without_neutral', 'positive / (answered - neutral); null for none.'),
      ('improved', 'Of the answers, those changed for the better.'), ('worsened', 'Of the answers, those changed for the worse.'),
      ('csat_answered', 'Ratings about the agent.'), ('csat_positive', 'Of these, 4 or 5.'),
      ('ai_answered', 'Whether it answered, and not only asked back, before its part ended.'),
      ('ai_class', 'claimed_resolved, handed_off, assisted, abandoned or open; null when none was involved.'),
      ('is_durable', 'Whether a claimed resolve lasted; null when not claimed or not known yet.'),
      ('is_confirmed', 'Whether the customer rated a claimed resolve 4 or 5; null when not claimed or not rated.'),
      ('close_reason', 'How a claimed or abandoned one was closed: customer_spoke_last, inactivity (an hour or more after our last word) or after_last_answer.'),
      ('silence_before_close', 'Seconds from the last word to that close.'),
      ('eligible', 'Episodes in which a bot could have had a part.'), ('involved', 'Of these, with a bot.'),
      ('claimed_resolved', 'Of the involved, answered by the bot and resolved without a person.'),
      ('handed_off', 'Of the involved, handed to a person.'), ('assisted', 'Of the involved, where a person stepped in.'),
      ('abandoned', 'Of the involved, closed without an answer.'), ('still_open', 'Of the involved, not decided yet.'),
      ('confirmed', 'Of the claimed, rated 4 or 5.'), ('not_durable', 'Of the claimed, reopened within the durable window.'),
      ('closed_by_inactivity', 'Of the claimed and abandoned, closed an hour or more after our last word.'),
      ('closed_customer_spoke_last', 'Of the claimed and abandoned, closed after a word of the customer.'),
      ('closed_after_last_answer', 'Of the claimed and abandoned, closed within an hour of our last word.'),
      ('involvement_rate', 'involved / eligible.'), ('answer_rate', 'answered / involved.'),
      ('claimed_rate', 'claimed_resolved / involved.'), ('confirmed_rate', 'confirmed / involved.'),
      ('automation_rate', 'claimed_resolved / eligible.'), ('durable_share', 'durable / (durable + not_durable): of the claimed, those that lasted.'),
      -- What is true or false of one episode, and is a number of many.
      ('durable', 'Resolves that lasted: no reopen within the durable window.'), ('replied', 'Episodes in which a person replied.'),
      ('closed_unreplied', 'Episodes closed without a reply of a person.'),
      ('agents.resolved', 'Episodes whose last resolve is the agent''s.'),
      ('agents.n_waiting', 'Episodes the agent holds in which the customer waits now.'),
      ('ai_outcomes.answered', 'Of the involved, answered by the bot.'),
      ('ai_outcomes.durable', 'Of the claimed, those that lasted.'),
      ('reopen_rates.reopened', 'Of these, reopened.'), ('reopen_rates.n_included', 'Resolves counted.'),
      ('reopen_rates.n_excluded', 'Resolves of episodes that are left out.'),
      ('reopen_rates.durable', 'Of these, without a reopen within the durable window.'),
      ('csat_by_month.response_rate', 'answered / delivered.'),
      ('backlog_now.waiting', 'Of these, with a customer who waits for a person.'),
      ('agent_load.waiting', 'Of these, with a customer who waits for a person.'),
      ('spans.kind', 'wait (from a customer''s message to a person''s reply or a resolve), bot_wait (to a bot''s answer), state or holder.'),
      ('spans.value', 'Of a wait: first when frt measures it, else later. Of a state: open, bot, third_party, snoozed or resolved. Of a holder: user:7, agent_bot:3, empty for nobody, ? for unknown.'),
      ('spans.actor_id', 'Of a wait, the agent who replied; null for none or unknown.'),
      ('events.kind', 'created, message, status, assignee, team, priority, labels or csat. Of one instant they count in this order.'),
      ('volume_by_hour.hours', 'How long the hour was: 2 where clocks went back, a part of 1 while it runs.'),
      ('months.starts_at', 'First instant of the month, or of the day of the first episode (UTC).')
    )
    select views.relname as view_name, columns.attname as column_name, coalesce(
      -- What a name means in this view, what the metric is of one episode, what the name means anywhere.
      (select words.words from words where words.name = views.relname || '.' || columns.attname),
      (select metrics.description || case when columns.attname like '%\_business' then ' In business hours.' else '' end
          || case metrics.null_rule when 'never' then '' else format(' Null %s.', metrics.null_rule) end
        from ledger.metric_definitions as metrics where views.relname in ('episodes', 'conversations')
          and metrics.metric = regexp_replace(columns.attname, '_business$', '')),
      (select words.words from words where words.name = columns.attname),
      -- Such as frt_business_p90.
      case statistic.parts[3]
        when 'n' then format('Number of values of %s.', statistic.parts[1])
        when 'mean' then format('Mean of %s; says little without n_waiting and the share answered.', statistic.parts[1])
        when 'p50' then format('Median of %s; null for none.', statistic.parts[1] || statistic.parts[2])
        else format('%s %% of the values of %s lie below it; null for %s.', substr(statistic.parts[3], 2),
          statistic.parts[1] || statistic.parts[2], case statistic.parts[3] when 'p90' then 'fewer than 20'
            when 'p95' then 'fewer than 40' else 'none' end) end) as words
    from pg_class as views
    join pg_attribute as columns on columns.attrelid = views.oid and columns.attnum > 0
    cross join lateral (
      select regexp_match(columns.attname, '^(.+?)(_business|)_(n|mean|p50|p75|p90|p95)$') as parts
    ) as statistic
    where views.relnamespace = 'analytics'::regnamespace and views.relkind = 'v'
  loop
    -- Without words the comment would be taken away, and the catalogue test names the column.
    execute format('comment on column analytics.%I.%I is %L', v_comment.view_name, v_comment.column_name, v_comment.words);
  end loop;
end
$$;
