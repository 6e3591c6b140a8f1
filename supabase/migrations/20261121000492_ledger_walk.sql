-- From events to episodes and spans: one walk through the events of a conversation in their order, by the definitions of
-- docs/metrics.md. A new event costs one step, however long the conversation is; an event from before the end is answered
-- by walking again from the beginning. Both ways end the same.
create function ledger.walk(
  asked ledger.walk_request[], as_of timestamptz default 'infinity', learnt_by timestamptz default null,
  out episodes ledger.episodes[], out spans ledger.spans[]
)
-- One query for all that is asked, and one loop: ten thousand conversations cost ten thousand times one. The plan is kept
-- from call to call, and one that was made while a table was empty must not read all of it later.
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_event record;
  v_number bigint := 0;
  v_now timestamptz;
  v_business timestamptz;
  v_request ledger.walk_request;
  v_this ledger.episodes;
  -- The conversation as it stands, also while it has no episode yet.
  v_status text;
  v_state text;
  v_holder text;
  v_team text;
  v_priority text;
  v_labels text;
  v_new_state text;
  v_is_over boolean;
  v_author bigint;
  v_is_changed boolean;
  v_resolutions integer;
  v_reopens integer;
begin
  episodes := '{}';
  spans := '{}';
  for v_event in
    with requests as materialized (
      select numbered.number, numbered.account_id, numbered.display_id, numbered.calendar_id, calendars.built_from,
        calendars.built_until, coalesce(stored.last_event_at, '-infinity') as since
      from unnest(walk.asked) with ordinality as numbered (account_id, display_id, is_tail, episode_gap, durable, has_bot,
        calendar_id, calendar_revision, inbox_id, contact_id, number)
      left join ledger.calendars
        on calendars.account_id = numbered.account_id and calendars.calendar_id = numbered.calendar_id
      left join lateral (
        select last_one.last_event_at from ledger.episodes as last_one
        where numbered.is_tail and last_one.account_id = numbered.account_id and last_one.display_id = numbered.display_id
        order by last_one.episode desc limit 1
      ) as stored on true
    ), sources as (
      select requests.*, requests.display_id as source_display_id, null as only_kind from requests
      union all
      -- Of what was merged into it the messages count here, and nothing else.
      select requests.*, merges.child_display_id, 'message' from requests
      join ledger.merges on merges.account_id = requests.account_id and merges.parent_display_id = requests.display_id
        and merges.merged_at <= walk.as_of
    )
    select sources.number, told.event_id, told.kind, told.class, told.value, told.occurred_at, told.actor_kind,
      told.actor_id, told.source_id,
      case when sources.calendar_id is null then told.occurred_at
        -- An instant decades off is a mistake of whoever wrote it, and must not stop the others.
        else ledger.business_clock(sources.account_id, sources.calendar_id,
          least(greatest(told.occurred_at, sources.built_from), sources.built_until)) end as business_at
    from sources
    join ledger.events as told on told.display_id = sources.source_display_id and told.account_id = sources.account_id
      and told.occurred_at > sources.since and told.occurred_at <= walk.as_of
    where told.class is distinct from 'failed' and (sources.only_kind is null or told.kind = sources.only_kind)
      and case when walk.learnt_by is null then told.unlearnt_at is null
        else told.learnt_at <= walk.learnt_by and (told.unlearnt_at is null or told.unlearnt_at > walk.learnt_by) end
    -- How it began comes first, also where a message of a merged conversation is older.
    order by sources.number, told.kind <> 'created', told.occurred_at, array_position(
      '{created,message,status,assignee,team,priority,labels,csat}'::text[], told.kind), told.place
  loop
    if v_event.number <> v_number then
      if v_this.episode > 0 then
        episodes := episodes || v_this;
        spans := spans || ledger.running_spans(v_this);
      end if;
      v_number := v_event.number;
      v_request := walk.asked[v_number];
      v_this := null;
      if v_request.is_tail then
        select last_one.* into v_this from ledger.episodes as last_one
        where last_one.account_id = v_request.account_id and last_one.display_id = v_request.display_id
        order by last_one.episode desc limit 1;
      end if;
      v_status := coalesce(v_this.status, 'open');
      v_state := coalesce(v_this.state, 'open');
      v_holder := coalesce(v_this.holder, '');
      v_team := coalesce(v_this.team, '');
      v_priority := coalesce(v_this.priority, '');
      v_labels := coalesce(v_this.labels, '[]');
      v_this.episode := coalesce(v_this.episode, 0);
      v_resolutions := coalesce(v_this.resolutions_until, 0);
      v_reopens := coalesce(v_this.reopens_until, 0);
    end if;
    continue when v_event.kind = 'created' and v_this.episode > 0;
    v_now := v_event.occurred_at;
    v_business := v_event.business_at;
    if v_event.kind = 'status' then
      v_resolutions := v_resolutions + (v_event.value = 'resolved' and v_status <> 'resolved')::integer;
      v_reopens := v_reopens + (v_event.value <> 'resolved' and v_status = 'resolved')::integer;
    end if;

    -- An episode begins with a message, when there is none or the last one has been over for longer than the gap; and
    -- when somebody reopens what has been over for so long.
    -- While a customer waits it is not over, however late the status follows the message.
    v_is_over := v_this.status = 'resolved' and v_this.waiting_since is null
      and v_this.last_resolved_at + v_request.episode_gap < v_now;
    if (v_event.kind = 'message' and v_event.class <> 'note'
        and (v_this.episode = 0 or (v_is_over and v_event.class <> 'auto')))
      or (v_event.kind = 'status' and v_event.value <> 'resolved' and v_this.episode > 0 and v_is_over)
    then
      if v_this.episode > 0 then
        v_this.reopened_at := coalesce(v_this.reopened_at, v_now);
        episodes := episodes || v_this;
      end if;
      if v_event.kind = 'status' then
        v_status := v_event.value;
        v_state := case v_event.value when 'pending' then
          case when v_request.has_bot is distinct from false then 'bot' else 'third_party' end else v_event.value end;
      end if;
      v_this := ledger.new_episode(v_request, v_this.episode + 1, v_now, v_business, v_event.event_id, v_status, v_state,
        v_holder, v_team, v_priority, v_labels);
      -- Who opened it again has said nothing yet: then the first word decides.
      v_this.is_outbound := case when v_event.kind = 'message' then v_event.class <> 'customer' end;
    end if;
    v_this.last_event_at := v_now;
    v_this.resolutions_until := v_resolutions;
    v_this.reopens_until := v_reopens;

    case v_event.kind
    when 'message' then
      case v_event.class
      when 'customer' then
        v_this.customer_messages := v_this.customer_messages + 1;
        v_this.is_in_turn := false;
        v_this.is_outbound := coalesce(v_this.is_outbound, false);
        if v_this.first_customer_at is null then
          v_this.first_customer_at := v_now;
          v_this.first_customer_business_at := v_business;
          v_this.is_clock_settled := v_state not in ('bot', 'resolved');
        end if;
        -- Whoever writes again while waiting has waited since the first of it.
        if v_this.waiting_since is null then
          v_this.waiting_since := v_now;
          v_this.waiting_since_business := v_business;
          v_this.waiting_event := v_event.event_id;
        end if;
        if v_this.bot_waiting_since is null then
          v_this.bot_waiting_since := v_now;
          v_this.bot_waiting_since_business := v_business;
          v_this.bot_waiting_event := v_event.event_id;
        end if;
      when 'human' then
        v_this.human_replies := v_this.human_replies + 1;
        v_this.had_person := true;
        v_this.is_outbound := coalesce(v_this.is_outbound, true);
        v_this.is_replied := v_this.is_replied or v_this.customer_messages > 0;
        v_author := case when v_event.actor_kind = 'user' then v_event.actor_id end;
        v_this.last_author := coalesce(v_author, v_this.last_author);
        v_this.ai_ended_as := coalesce(v_this.ai_ended_as, 'assisted');
        if not v_this.is_in_turn then
          v_this.turns := v_this.turns + 1;
          v_this.is_in_turn := true;
        end if;
        if v_this.waiting_since is not null then
          v_this.waits := v_this.waits + 1;
          spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'wait', v_this.waits,
            case when v_this.first_human_at is null and not v_this.is_outbound then 'first' else 'later' end,
            v_this.waiting_since, v_this.waiting_since_business, v_now, v_business, v_this.waiting_event,
            v_event.event_id, 'reply', v_author)::ledger.spans;
          v_this.waiting_since := null;
          v_this.waiting_since_business := null;
          v_this.waiting_event := null;
        end if;
        v_this.bot_waiting_since := null;
        v_this.bot_waiting_since_business := null;
        v_this.bot_waiting_event := null;
        if v_this.first_any_at is null then
          v_this.first_any_at := v_now;
          v_this.first_any_business_at := v_business;
        end if;
        if v_this.first_human_at is null then
          v_this.first_human_at := v_now;
          v_this.first_human_business_at := v_business;
          v_this.first_reply_author := v_author;
        end if;
      when 'bot' then
        v_this.bot_replies := v_this.bot_replies + 1;
        v_this.ai_is_involved := v_this.ai_is_involved or v_this.ai_is_eligible;
        v_this.ai_is_answered := v_this.ai_is_answered or (v_event.value <> 'question' and v_this.ai_ended_as is null);
        v_this.is_outbound := coalesce(v_this.is_outbound, true);
        if v_this.bot_waiting_since is not null then
          v_this.bot_waits := v_this.bot_waits + 1;
          spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'bot_wait', v_this.bot_waits, 'later',
            v_this.bot_waiting_since, v_this.bot_waiting_since_business, v_now, v_business, v_this.bot_waiting_event,
            v_event.event_id, 'bot', null)::ledger.spans;
          v_this.bot_waiting_since := null;
          v_this.bot_waiting_since_business := null;
          v_this.bot_waiting_event := null;
        end if;
        if v_this.first_any_at is null then
          v_this.first_any_at := v_now;
          v_this.first_any_business_at := v_business;
        end if;
      when 'note' then
        v_this.notes := v_this.notes + 1;
      else
        if v_event.value = 'survey' then
          v_this.survey_message_id := v_event.source_id::bigint;
          v_this.survey_author := v_this.last_author;
        end if;
      end case;

    when 'created', 'status' then
      v_new_state := case when v_event.value <> 'pending' then v_event.value
        -- Only a bot's inbox makes what is new, or comes back, pending; a person who does has a third party in mind.
        when v_request.has_bot is distinct from false and (v_event.kind = 'created' or v_status = 'resolved'
          or v_state = 'bot') then 'bot'
        else 'third_party' end;
      if v_this.episode > 0 and v_event.kind = 'status' and v_event.value <> v_this.status then
        v_this.states := v_this.states + 1;
        spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'state', v_this.states, v_state,
          v_this.state_since, v_this.state_since_business, v_now, v_business, v_this.state_event, v_event.event_id,
          'change', null)::ledger.spans;
        v_this.state_since := v_now;
        v_this.state_since_business := v_business;
        v_this.state_event := v_event.event_id;
        if v_state = 'bot' and v_new_state = 'open' then
          if v_this.handed_off_at is null then
            v_this.handed_off_at := v_now;
            v_this.handed_off_business_at := v_business;
          end if;
          -- Who waits already waits for a person from when the bot lets go, unless a person had it since.
          if not v_this.is_clock_settled and v_this.first_customer_at is not null and v_this.first_human_at is null then
            v_this.clock_started_at := v_now;
            v_this.clock_started_business_at := v_business;
          end if;
          v_this.ai_ended_as := coalesce(v_this.ai_ended_as, 'handed_off');
        elsif v_new_state = 'bot' then
          v_this.ai_is_involved := true;
          if v_this.handed_off_at is null then
            v_this.bot_started_at := v_now;
            v_this.bot_started_business_at := v_business;
          end if;
        end if;
        if v_new_state not in ('bot', 'resolved') then
          v_this.had_person := true;
          v_this.is_clock_settled := v_this.first_customer_at is not null;
        end if;
        if v_event.value = 'resolved' then
          v_this.resolutions := v_this.resolutions + 1;
          v_this.last_resolved_at := v_now;
          v_this.last_resolved_business_at := v_business;
          v_this.reopened_at := null;
          if v_this.ai_is_involved and v_this.ai_ended_as is null then
            v_this.ai_ended_as := case when v_this.ai_is_answered then 'claimed_resolved' else 'abandoned' end;
          end if;
          if v_this.first_resolved_at is null then
            v_this.first_resolved_at := v_now;
            v_this.first_resolved_business_at := v_business;
          end if;
          -- Nobody tells who resolved it: the last who wrote, else whose it was.
          v_this.resolved_by_id := coalesce(v_this.last_author, nullif(split_part(v_holder, ':', 2), '')::bigint);
          v_this.resolved_by_kind := case when v_this.last_author is not null then 'user'
            when v_holder like '%:%' then split_part(v_holder, ':', 1) end;
          if v_this.waiting_since is not null then
            v_this.waits := v_this.waits + 1;
            spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'wait', v_this.waits,
              'later', v_this.waiting_since, v_this.waiting_since_business, v_now, v_business, v_this.waiting_event,
              v_event.event_id, 'resolved', null)::ledger.spans;
            v_this.waiting_since := null;
            v_this.waiting_since_business := null;
            v_this.waiting_event := null;
          end if;
          v_this.bot_waiting_since := null;
          v_this.bot_waiting_since_business := null;
          v_this.bot_waiting_event := null;
          if v_this.holder_since is not null then
            v_this.holders := v_this.holders + 1;
            spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'holder', v_this.holders, v_holder,
              v_this.holder_since, v_this.holder_since_business, v_now, v_business, v_this.holder_event,
              v_event.event_id, 'resolved', null)::ledger.spans;
            v_this.holder_since := null;
            v_this.holder_since_business := null;
            v_this.holder_event := null;
          end if;
        elsif v_this.status = 'resolved' then
          if v_this.last_resolved_at is not null then
            v_this.reopens := v_this.reopens + 1;
            v_this.reopened_at := coalesce(v_this.reopened_at, v_now);
          end if;
          v_this := ledger.take(v_this, v_now, v_business, v_event.event_id);
        end if;
        v_this.status := v_event.value;
        v_this.state := v_new_state;
      end if;
      v_status := v_event.value;
      v_state := v_new_state;

    when 'assignee' then
      v_is_changed := v_event.value <> v_holder and v_this.holder_since is not null;
      if v_is_changed then
        v_this.holders := v_this.holders + 1;
        spans := spans || row(v_this.account_id, v_this.display_id, v_this.episode, 'holder', v_this.holders, v_holder,
          v_this.holder_since, v_this.holder_since_business, v_now, v_business, v_this.holder_event, v_event.event_id,
          'change', null)::ledger.spans;
      end if;
      v_holder := v_event.value;
      v_this.holder := v_holder;
      if v_is_changed then
        v_this := ledger.take(v_this, v_now, v_business, v_event.event_id);
      end if;

    when 'team' then
      v_team := v_event.value;
      v_this.team := v_team;
    when 'priority' then
      v_priority := v_event.value;
      v_this.priority := v_priority;
    when 'labels' then
      v_labels := v_event.value;
      v_this.labels := v_labels;

    else
      -- A rating belongs to the episode that its survey was sent in.
      if v_event.source_id = v_this.survey_message_id::text then
        v_this.csat_rating := v_event.value::smallint;
        v_this.csat_answered_at := v_now;
      else
        for v_index in 1..cardinality(episodes) loop
          if episodes[v_index].account_id = v_this.account_id and episodes[v_index].display_id = v_this.display_id
            and episodes[v_index].survey_message_id::text = v_event.source_id
          then
            episodes[v_index].csat_rating := v_event.value::smallint;
            episodes[v_index].csat_answered_at := v_now;
          end if;
        end loop;
      end if;
    end case;
  end loop;
  if v_this.episode > 0 then
    episodes := episodes || v_this;
    spans := spans || ledger.running_spans(v_this);
  end if;
  -- What was over before, and what ended on this walk.
  episodes := array(select ledger.add_ended(told, ended.sums) from unnest(episodes) as told
    left join (
      select closed.account_id, closed.display_id, closed.episode, array[
        sum(lengths.seconds) filter (where closed.kind = 'wait'), sum(lengths.business) filter (where closed.kind = 'wait'),
        max(lengths.seconds) filter (where closed.kind = 'wait'), max(lengths.business) filter (where closed.kind = 'wait'),
        sum(lengths.seconds) filter (where closed.kind = 'state' and closed.value = 'open'),
        sum(lengths.business) filter (where closed.kind = 'state' and closed.value = 'open'),
        sum(lengths.seconds) filter (where closed.kind = 'state' and closed.value = 'third_party'),
        sum(lengths.business) filter (where closed.kind = 'state' and closed.value = 'third_party'),
        sum(lengths.seconds) filter (where closed.kind = 'state' and closed.value = 'snoozed'),
        sum(lengths.business) filter (where closed.kind = 'state' and closed.value = 'snoozed'),
        sum(lengths.seconds) filter (where closed.kind = 'state' and closed.value = 'bot'),
        sum(lengths.business) filter (where closed.kind = 'state' and closed.value = 'bot'),
        sum(lengths.seconds) filter (where closed.kind = 'state' and closed.value = 'resolved'),
        sum(lengths.business) filter (where closed.kind = 'state' and closed.value = 'resolved'),
        sum(lengths.seconds) filter (where closed.kind = 'holder' and closed.value = ''),
        sum(lengths.business) filter (where closed.kind = 'holder' and closed.value = ''),
        sum(lengths.seconds) filter (where closed.kind = 'holder' and closed.value = '?')] as sums
      from unnest(spans) as closed
      cross join lateral (select extract(epoch from closed.ended_at - closed.started_at) as seconds,
        extract(epoch from closed.ended_business_at - closed.started_business_at) as business) as lengths
      where closed.ended_at is not null
      group by closed.account_id, closed.display_id, closed.episode
    ) as ended on ended.account_id = told.account_id and ended.display_id = told.display_id and ended.episode = told.episode);
end
$$;
comment on function ledger.walk is
  'Episodes and spans of conversations, from the events up to as_of (inclusive) that are known now, or were known at learnt_by. Of a tail only what is new: the stored episode as it becomes, episodes after it, spans that ended or run.';
