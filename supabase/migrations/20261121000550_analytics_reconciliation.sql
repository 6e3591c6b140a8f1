-- Our numbers beside those of Chatwoot's own reports, row by row, and why they differ. Only where the database door reads
-- Chatwoot's reporting events.
create view analytics.reporting_reconciliation with (security_invoker = true) as
select
  paired.account_id, paired.display_id, paired.metric, paired.event_id, paired.episode, paired.ended_at, paired.written_at,
  paired.theirs, paired.ours, paired.ours - paired.theirs as difference,
  paired.theirs_business, paired.ours_business, paired.ours_business - paired.theirs_business as difference_business,
  paired.credited_to, paired.done_by,
  paired.cause,
  case
    when paired.ours_business is null or paired.ours_business = paired.theirs_business then paired.cause
    when paired.theirs_business is null then 'Chatwoot counts no business hours here'
    when paired.is_without_hours then 'business-hours zero: the inbox has none, and Chatwoot writes 0'
    when paired.cause is not null and paired.cause not like 'whole seconds%' then paired.cause
    when abs(paired.ours_business - paired.theirs_business) < 2 then 'whole seconds: Chatwoot cuts fractions'
    when paired.calendar_id is null then 'no calendar: ours counts around the clock'
    else 'unexplained'
  end as cause_business,
  case when paired.metric = 'reply_time' and paired.done_by is distinct from paired.credited_to and paired.ours is not null
    then 'assignee credit: Chatwoot credits the assignee, ours who replied' end as cause_credit,
  case when (paired.written_at at time zone 'UTC')::date <> (paired.ended_at at time zone 'UTC')::date
    then 'window: Chatwoot''s reports count it on the day the row was written' end as cause_window
from (
  select
    theirs.account_id, theirs.conversation_display_id as display_id, theirs.name as metric, theirs.event_id, episodes.episode,
    theirs.event_ended_at as ended_at, theirs.created_at as written_at, theirs.value as theirs, ours.seconds as ours,
    theirs.value_in_business_hours as theirs_business, episodes.calendar_id,
    case when ours.seconds is not null then ledger.business_seconds(theirs.account_id, episodes.calendar_id,
      ours.started_at, ours.ended_at) end as ours_business,
    theirs.user_id as credited_to, ours.agent_id as done_by,
    inboxes.working_hours_enabled is not true as is_without_hours,
    case
      when theirs.name not in ('first_response', 'reply_time', 'conversation_resolved', 'conversation_bot_resolved',
        'conversation_opened', 'conversation_bot_handoff') then 'not counted here'
      when exists (select from chatwoot.reporting_events as others
        where others.conversation_display_id = theirs.conversation_display_id and others.account_id = theirs.account_id
          and others.name = theirs.name and others.event_ended_at = theirs.event_ended_at
          and others.event_id < theirs.event_id) then 'duplicate row'
      when reply.class = 'failed' then 'failed message: it never reached the customer, so it answers nothing'
      when ours.seconds = theirs.value then null
      when abs(ours.seconds - theirs.value) < 1 then 'whole seconds: Chatwoot cuts fractions'
      when theirs.name in ('conversation_resolved', 'conversation_bot_resolved') then case
        when ours.seconds is null and episodes.episode is null then 'nothing written: a resolve before the first message ends nothing'
        when ours.seconds is null and 'resolved' = (
          select before.value from ledger.events as before
          where before.display_id = theirs.conversation_display_id and before.account_id = theirs.account_id
            and before.kind in ('created', 'status') and before.unlearnt_at is null
            and before.occurred_at <= theirs.event_ended_at
          order by before.occurred_at desc, before.kind = 'status' desc, before.place desc limit 1)
          then 'reopened unseen: Chatwoot has no row of the opening before, so to us it was resolved already'
        when ours.seconds is null then 'unexplained'
        when episodes.episode > 1 then 'reopen counted from creation: ours from the begin of the episode'
        when theirs.event_started_at < ours.started_at then 'counted from creation: ours from the first message'
        when abs(ours.seconds - theirs.value) < 60 then 'a moment late: the row was timed after the change'
        else 'unexplained' end
      when theirs.name = 'conversation_opened' then case
        when ours.seconds is null then 'opened, not reopened: out of pending or snoozed'
        when abs(ours.seconds - theirs.value) < 60 then 'a moment late: the row was timed after the change'
        when theirs.event_started_at < episodes.started_at
          then 'new episode: what was over for longer than the gap is not reopened'
        when theirs.value = 0 then 'resolved unseen: Chatwoot has no row of the resolve before'
        else 'unexplained' end
      when theirs.name = 'conversation_bot_handoff' then case
        when ours.seconds is null then 'no bot phase: a person made it pending, or it was open'
        when theirs.event_started_at < ours.started_at then 'counted from creation: ours from when the bot took it'
        when abs(ours.seconds - theirs.value) < 60 then 'a moment late: the row was timed after the change'
        else 'unexplained' end
      when episodes.is_outbound and ours.seconds is null then 'agent-initiated: nobody waited for a first answer'
      when ours.seconds is null and theirs.name = 'reply_time' and not exists (select from ledger.events as asked
        where asked.display_id = theirs.conversation_display_id and asked.account_id = theirs.account_id
          and asked.kind = 'message' and asked.class = 'customer' and asked.unlearnt_at is null
          and asked.occurred_at >= theirs.event_started_at - interval '1 second'
          and asked.occurred_at <= theirs.event_ended_at) then 'hand-off: it begins a wait though nobody wrote'
      when ours.seconds is null then 'unexplained'
      when abs(extract(epoch from theirs.event_started_at - ours.started_at)) < 1 and abs(ours.seconds - theirs.value) < 2
        then 'a moment late: the row was timed after the change'
      when theirs.event_started_at > ours.started_at then case
        when exists (select from ledger.events as answered
          where answered.display_id = theirs.conversation_display_id and answered.account_id = theirs.account_id
            and answered.kind = 'message' and answered.class = 'failed' and answered.unlearnt_at is null
            and answered.occurred_at between ours.started_at and theirs.event_started_at)
          then 'failed message: it never reached the customer, so it answers nothing'
        when theirs.name = 'first_response' then 'restart: Chatwoot''s clock begins anew at every opening, also after a snooze'
        when exists (select from ledger.events as answered
          where answered.display_id = theirs.conversation_display_id and answered.account_id = theirs.account_id
            and answered.kind = 'message' and answered.class = 'bot' and answered.unlearnt_at is null
            and answered.occurred_at between ours.started_at and theirs.event_started_at)
          then 'bot answer: it ends Chatwoot''s wait, not ours'
        else 'unexplained' end
      when theirs.name = 'first_response' and ours.is_after_bot then 'bot time: ours begins when the bot let go'
      when theirs.name = 'first_response' and theirs.event_started_at <= mirrored.created_at + interval '1 second'
        then 'counted from creation: ours from the first message'
      when theirs.name = 'first_response' then 'counted from an opening: ours from the message that came after it'
      when theirs.event_started_at <= mirrored.created_at + interval '1 second'
        then 'counted from creation: ours from the first message'
      when not exists (select from ledger.events as asked
        where asked.display_id = theirs.conversation_display_id and asked.account_id = theirs.account_id
          and asked.kind = 'message' and asked.class = 'customer' and asked.unlearnt_at is null
          and asked.occurred_at between theirs.event_started_at - interval '1 second'
            and theirs.event_started_at + interval '1 second') then 'hand-off: it begins a wait though nobody wrote'
      else 'unexplained'
    end as cause
  from chatwoot.reporting_events as theirs
  join chatwoot.conversations as mirrored
    on mirrored.account_id = theirs.account_id and mirrored.display_id = theirs.conversation_display_id
  left join chatwoot.inboxes on inboxes.account_id = theirs.account_id and inboxes.inbox_id = theirs.inbox_id
  left join lateral (
    -- What Chatwoot's row is about: the reply, or the change that it was written for.
    select events.event_id, events.class, events.occurred_at from ledger.events
    where events.display_id = theirs.conversation_display_id and events.account_id = theirs.account_id
      and events.unlearnt_at is null
      and case
        when theirs.name in ('first_response', 'reply_time') then events.kind = 'message' and events.class in ('human', 'failed')
          and events.occurred_at >= theirs.event_ended_at - interval '1 second'
        when theirs.name in ('conversation_resolved', 'conversation_bot_resolved')
          then events.kind = 'status' and events.value = 'resolved'
        else events.kind = 'status' and events.value = 'open' end
      and events.occurred_at between theirs.event_ended_at - interval '1 minute' and theirs.event_ended_at + interval '1 second'
    order by abs(extract(epoch from events.occurred_at - theirs.event_ended_at)), events.event_id limit 1
  ) as reply on true
  left join lateral (
    select begun.* from ledger.episodes as begun
    where begun.account_id = theirs.account_id and begun.display_id = theirs.conversation_display_id
      and begun.started_at <= coalesce(reply.occurred_at, theirs.event_ended_at)
    order by begun.episode desc limit 1
  ) as episodes on true
  left join lateral (
    select measured.started_at, measured.ended_at, measured.agent_id, measured.is_after_bot,
      extract(epoch from measured.ended_at - measured.started_at)::double precision as seconds
    from (
      select coalesce(episodes.clock_started_at, episodes.first_customer_at) as started_at,
        episodes.first_human_at as ended_at, episodes.first_reply_author as agent_id,
        episodes.clock_started_at is not null as is_after_bot, 1 as place
      where theirs.name = 'first_response' and episodes.is_outbound is false and episodes.first_human_at = reply.occurred_at
      union all
      select spans.started_at, spans.ended_at, spans.actor_id, false, 2 from ledger.spans
      where theirs.name in ('first_response', 'reply_time') and spans.account_id = theirs.account_id
        and spans.display_id = theirs.conversation_display_id and spans.episode = episodes.episode
        and spans.kind = 'wait' and spans.closed_by = reply.event_id
      union all
      select episodes.started_at, reply.occurred_at, null, false, 1
      where theirs.name in ('conversation_resolved', 'conversation_bot_resolved') and reply.event_id is not null
        and episodes.episode is not null
      union all
      select spans.started_at, spans.ended_at, null, false, 1 from ledger.spans
      where theirs.name in ('conversation_opened', 'conversation_bot_handoff') and spans.account_id = theirs.account_id
        and spans.display_id = theirs.conversation_display_id and spans.kind = 'state' and spans.closed_by = reply.event_id
        and spans.value = case theirs.name when 'conversation_opened' then 'resolved' else 'bot' end
    ) as measured
    order by measured.place limit 1
  ) as ours on true
) as paired;
comment on view analytics.reporting_reconciliation is
  'Each reporting event of Chatwoot beside our number of the same thing, with the difference and its cause. Only where the database door reads them.';
comment on column analytics.reporting_reconciliation.account_id is 'Chatwoot''s account id.';
comment on column analytics.reporting_reconciliation.display_id is 'The conversation''s number in its account.';
comment on column analytics.reporting_reconciliation.metric is 'Chatwoot''s name: first_response, reply_time, conversation_resolved and so on.';
comment on column analytics.reporting_reconciliation.event_id is 'Chatwoot''s id of the row.';
comment on column analytics.reporting_reconciliation.episode is 'The episode that ours is of; null for none.';
comment on column analytics.reporting_reconciliation.ended_at is 'When what it measures ended, as Chatwoot says (UTC).';
comment on column analytics.reporting_reconciliation.written_at is 'When Chatwoot wrote the row (UTC); its reports count it then.';
comment on column analytics.reporting_reconciliation.theirs is 'Chatwoot''s value in seconds.';
comment on column analytics.reporting_reconciliation.ours is 'Ours in seconds; null where we measure nothing.';
comment on column analytics.reporting_reconciliation.difference is 'Ours less theirs, in seconds.';
comment on column analytics.reporting_reconciliation.theirs_business is 'Chatwoot''s value in seconds of business hours.';
comment on column analytics.reporting_reconciliation.ours_business is 'Ours in seconds of business hours.';
comment on column analytics.reporting_reconciliation.difference_business is 'Ours less theirs, in seconds of business hours.';
comment on column analytics.reporting_reconciliation.credited_to is 'The person whom Chatwoot credits; null for none.';
comment on column analytics.reporting_reconciliation.done_by is 'The person who replied, by our count; null for none.';
comment on column analytics.reporting_reconciliation.cause is 'Why the values differ; null when they are equal, unexplained when nobody knows.';
comment on column analytics.reporting_reconciliation.cause_business is 'The same for business hours.';
comment on column analytics.reporting_reconciliation.cause_credit is 'Why it counts for different people; null when it does not.';
comment on column analytics.reporting_reconciliation.cause_window is 'Why it counts on different days (UTC); null when it does not.';
grant select on analytics.reporting_reconciliation to authenticated, analyst, service_role;
