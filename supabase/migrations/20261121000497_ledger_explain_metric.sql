-- The other half: what decides a yes or no, and the door to all of it.
create function ledger.explain_answers(
  metric text, as_of timestamptz, episodes ledger.episodes[], spans ledger.spans[], events ledger.placed_event[]
) returns setof ledger.metric_part
-- What is yes or no, a person, a rating or a class: the events that decide it. One counted with sign -1 makes it false.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_this ledger.episodes;
  v_event ledger.placed_event;
  v_other ledger.placed_event;
  -- The events of the episode alone.
  v_own ledger.placed_event[];
  v_is_resolved boolean;
  v_is_found boolean;
  v_number bigint;
  v_rated record;
  v_later record;
  v_involved ledger.placed_event;
  v_ended ledger.placed_event;
  v_begin ledger.placed_event;
  v_resolve ledger.placed_event;
begin
  foreach v_this in array explain_answers.episodes loop
    v_own := array(select told from unnest(explain_answers.events) as told
      where told.episode = v_this.episode order by told.place);
    v_begin := v_own[1];
    v_resolve := (select told from unnest(v_own) as told where told.kind = 'status' and told.value = 'resolved'
      and told.value_before <> 'resolved' order by told.place desc limit 1);
    v_is_resolved := v_this.status = 'resolved' and v_this.last_resolved_at is not null;
    case
    when explain_answers.metric = 'durable' then
      if v_this.last_resolved_at is null then
        return next row(v_this.episode, 'resolve', false, 'was never resolved', null, null, null, null, null, null,
          1)::ledger.metric_part;
      else
        v_event := (select told from unnest(explain_answers.events) as told where told.place > v_resolve.place
          and (told.occurred_at = v_this.reopened_at and told.episode = v_this.episode and told.kind = 'status'
            and told.value_before = 'resolved' and told.value <> 'resolved' or told.episode > v_this.episode)
          order by told.place limit 1);
        v_is_found := v_this.reopened_at <= v_this.last_resolved_at + v_this.durable;
        return next row(v_this.episode, 'resolve', coalesce(v_is_found, false)
            or v_this.last_resolved_at + v_this.durable <= explain_answers.as_of,
          case when v_is_found then 'reopened within the durable window'
            when v_this.last_resolved_at + v_this.durable <= explain_answers.as_of then 'not reopened within the durable window'
            else format('not known before %s', v_this.last_resolved_at + v_this.durable) end,
          v_this.last_resolved_at, null, case when v_is_found then v_this.reopened_at
            when v_this.last_resolved_at + v_this.durable <= explain_answers.as_of
            then v_this.last_resolved_at + v_this.durable end, null,
          v_resolve.event_id, case when v_is_found then v_event.event_id end,
          case when v_is_found then -1 else 1 end)::ledger.metric_part;
      end if;

    when explain_answers.metric = 'fcr' then
      if not v_is_resolved or v_this.contact_id is null then
        return next row(v_this.episode, 'resolve', false,
          case when v_is_resolved then 'the customer is not known' else 'is not resolved' end,
          v_this.last_resolved_at, null, null, null, v_resolve.event_id, null, 1)::ledger.metric_part;
      else
        select later.display_id, later.episode, later.started_at into v_later from ledger.episodes as later
        where later.contact_id = v_this.contact_id and later.account_id = v_this.account_id
          and later.started_at > v_this.last_resolved_at
          and later.started_at <= least(v_this.last_resolved_at + interval '7 days', explain_answers.as_of)
          and not exists (select from ledger.merges as joined where joined.account_id = later.account_id
            and joined.child_display_id = later.display_id and joined.merged_at <= explain_answers.as_of)
        order by later.started_at, later.display_id, later.episode limit 1;
        v_is_found := v_later.started_at is not null;
        return next row(v_this.episode, 'resolve',
          v_is_found or v_this.last_resolved_at + interval '7 days' <= explain_answers.as_of,
          case when v_is_found then format('the customer began episode %s of conversation %s within 7 days', v_later.episode, v_later.display_id)
            when v_this.last_resolved_at + interval '7 days' <= explain_answers.as_of then 'no new episode of the customer within 7 days'
            else format('not known before %s', v_this.last_resolved_at + interval '7 days') end,
          v_this.last_resolved_at, null, case when v_is_found then v_later.started_at
            when v_this.last_resolved_at + interval '7 days' <= explain_answers.as_of
            then v_this.last_resolved_at + interval '7 days' end, null,
          v_resolve.event_id, null, case when v_is_found then -1 else 1 end)::ledger.metric_part;
      end if;

    when explain_answers.metric in ('one_touch', 'one_turn', 'zero_touch') then
      return next row(v_this.episode, 'resolve', v_is_resolved, case when v_is_resolved then 'is resolved'
          else 'is not resolved' end, v_this.last_resolved_at, null, v_this.last_resolved_at, null, v_resolve.event_id,
        v_resolve.event_id, 1)::ledger.metric_part;
      v_number := 0;
      for v_event in
        select (told).* from unnest(v_own) as told
        where told.class in ('human', 'customer') or explain_answers.metric = 'zero_touch' and told.class = 'bot'
        order by told.place
      loop
        if v_event.class = 'customer' then
          v_other := null;
          continue;
        end if;
        v_is_found := explain_answers.metric <> 'one_turn' or v_other.place is null;
        v_number := v_number + v_is_found::integer;
        v_other := v_event;
        return next row(v_this.episode, case v_event.class when 'bot' then 'message of a bot' else 'message of a person' end,
          v_is_resolved and v_is_found, case
            when not v_is_resolved then 'is not resolved' when not v_is_found then 'goes on with the turn'
            when explain_answers.metric = 'zero_touch' then case v_event.class when 'bot' then 'a bot answered'
              else 'a person wrote' end
            when v_number = 1 then 'the first' else 'one too many' end,
          v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_event.event_id,
          case when explain_answers.metric = 'zero_touch' then case v_event.class when 'bot' then 1 else -1 end
            when v_number = 1 then 1 else -1 end)::ledger.metric_part;
      end loop;
      if v_number = 0 then
        return next row(v_this.episode, 'no answer', v_is_resolved, case explain_answers.metric when 'zero_touch'
            then 'no bot answered' else 'no person wrote' end, null, null, null, null, null, null, -1)::ledger.metric_part;
      end if;
      v_other := null;

    when explain_answers.metric = 'replied' then
      v_other := (select told from unnest(v_own) as told where told.class = 'customer' order by told.place limit 1);
      v_event := (select told from unnest(v_own) as told where told.class = 'human' and told.place > v_other.place
        order by told.place limit 1);
      return next row(v_this.episode, 'reply', v_other.event_id is not null,
        case when v_other.event_id is null then 'the customer has written nothing'
          when v_event.event_id is null then 'no person wrote after the customer'
          else 'a person wrote after the customer' end,
        v_other.occurred_at, null, v_event.occurred_at, null, v_other.event_id, v_event.event_id,
        case when v_event.event_id is null then -1 else 1 end)::ledger.metric_part;

    when explain_answers.metric = 'closed_unreplied' then
      v_other := (select told from unnest(v_own) as told where told.class = 'customer' order by told.place limit 1);
      v_event := (select told from unnest(v_own) as told where told.class = 'human' order by told.place limit 1);
      return next row(v_this.episode, 'resolve', true, case when v_is_resolved then 'is resolved' else 'is not resolved' end,
        v_other.occurred_at, null, case when v_is_resolved then v_this.last_resolved_at end, null, v_other.event_id,
        case when v_is_resolved then v_resolve.event_id end, case when v_is_resolved then 1 else -1 end)::ledger.metric_part;
      if v_other.event_id is null or v_this.is_outbound is distinct from false then
        return next row(v_this.episode, 'begin', true, 'the customer did not begin it', v_begin.occurred_at, null,
          v_begin.occurred_at, null, v_begin.event_id, v_begin.event_id, -1)::ledger.metric_part;
      end if;
      if v_event.event_id is not null then
        return next row(v_this.episode, 'message of a person', true, 'a person wrote', v_event.occurred_at, null,
          v_event.occurred_at, null, v_event.event_id, v_event.event_id, -1)::ledger.metric_part;
      end if;

    when explain_answers.metric = 'is_outbound' then
      v_event := case when v_begin.kind = 'message' then v_begin
        else (select told from unnest(v_own) as told where told.class in ('customer', 'human', 'bot')
          order by told.place limit 1) end;
      return next row(v_this.episode, 'first word', true, case when v_event.event_id is null then 'nobody has spoken yet'
          when v_event.class = 'customer' then 'the customer had it' else 'we had it' end,
        v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_event.event_id,
        case when coalesce(v_event.class, 'customer') = 'customer' then -1 else 1 end)::ledger.metric_part;

    when explain_answers.metric in ('surveyed', 'csat_author', 'csat_rating') then
      v_event := (select told from unnest(v_own) as told where told.class = 'auto' and told.value = 'survey'
        order by told.place desc limit 1);
      if explain_answers.metric = 'surveyed' then
        return next row(v_this.episode, 'survey', true, case when v_event.event_id is null then 'none was sent'
            else 'was sent' end, v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_event.event_id,
          case when v_event.event_id is null then -1 else 1 end)::ledger.metric_part;
      elsif explain_answers.metric = 'csat_author' then
        v_other := (select told from unnest(v_own) as told where told.class = 'human' and told.actor_id is not null
          and told.place < v_event.place order by told.place desc limit 1);
        return next row(v_this.episode, 'author', v_other.event_id is not null, case
            when v_event.event_id is null then 'no survey was sent'
            when v_other.event_id is null then 'no person wrote before the survey'
            else 'the last person who wrote before the survey' end,
          v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_other.event_id, 1)::ledger.metric_part;
      else
        for v_rated in
          select sent, answers, row_number() over (order by answers.place desc) as number
          from unnest(explain_answers.events) as answers
          join unnest(v_own) as sent on sent.class = 'auto' and sent.value = 'survey' and sent.source_id = answers.source_id
            and sent.place < answers.place
          -- Of the survey that was the last by then.
          where answers.kind = 'csat' and not exists (select from unnest(v_own) as later where later.class = 'auto'
            and later.value = 'survey' and later.place > sent.place and later.place < answers.place)
          order by answers.place
        loop
          v_event := v_rated.sent;
          v_other := v_rated.answers;
          return next row(v_this.episode, 'rating', v_rated.number = 1, case when v_rated.number = 1
              then 'the answer to this survey' else 'replaced by a later answer' end, v_event.occurred_at, null,
            v_other.occurred_at, null, v_event.event_id, v_other.event_id, 1)::ledger.metric_part;
        end loop;
      end if;

    when explain_answers.metric in ('first_reply_author', 'last_author') then
      v_event := case explain_answers.metric
        when 'first_reply_author' then (select told from unnest(v_own) as told where told.class = 'human'
          and v_this.is_outbound is false order by told.place limit 1)
        else (select told from unnest(v_own) as told where told.class = 'human' and told.actor_id is not null
          order by told.place desc limit 1) end;
      return next row(v_this.episode, 'author', v_event.actor_id is not null, case
          when explain_answers.metric = 'first_reply_author' and v_this.is_outbound is distinct from false
            then 'the customer did not begin it, so there is no first response'
          when v_event.event_id is null then 'no person wrote' when v_event.actor_id is null then 'the message names nobody'
          else 'the author of the message, whoever it was assigned to' end,
        v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_event.event_id, 1)::ledger.metric_part;

    when explain_answers.metric = 'resolved_by_id' then
      v_event := (select told from unnest(v_own) as told where told.class = 'human' and told.actor_id is not null
        and told.place < v_resolve.place order by told.place desc limit 1);
      v_other := (select told from unnest(explain_answers.events) as told where told.kind = 'assignee'
        and told.place < v_resolve.place order by told.place desc limit 1);
      return next row(v_this.episode, case when v_event.event_id is null and v_other.value like '%:%' then 'holder'
          else 'author' end, v_this.resolved_by_id is not null, case
          when v_resolve.event_id is null then 'was never resolved'
          when v_event.event_id is not null then 'the last person who wrote before the resolve'
          when v_other.value like '%:%' then 'nobody had written; it was theirs'
          else 'nobody had written, and nobody had it' end,
        v_resolve.occurred_at, null, v_resolve.occurred_at, null, v_resolve.event_id,
        case when v_event.event_id is not null then v_event.event_id when v_other.value like '%:%' then v_other.event_id end,
        1)::ledger.metric_part;

    else
      -- The part of a bot.
      v_is_found := v_this.ai_is_eligible and v_this.is_outbound is false;
      v_involved := (select told from unnest(v_own) as told
        where v_this.ai_is_involved and (told.class = 'bot' and v_this.ai_is_eligible or exists (
          select from unnest(explain_answers.spans) as spans where spans.episode = v_this.episode and spans.kind = 'state'
            and spans.value = 'bot' and spans.opened_by = told.event_id))
        order by told.place limit 1);
      v_ended := (select told from unnest(v_own) as told
        where v_this.ai_ended_as is not null and (told.class = 'human'
          or told.kind = 'status' and told.value = 'open' and exists (
            select from unnest(explain_answers.spans) as spans where spans.episode = v_this.episode
              and spans.kind = 'state' and spans.value = 'bot' and spans.closed_by = told.event_id)
          or told.kind = 'status' and told.value = 'resolved' and told.value_before <> 'resolved'
            and told.place > v_involved.place)
        order by told.place limit 1);
      if not v_is_found then
        return next row(v_this.episode, 'not eligible', explain_answers.metric <> 'ai_class',
          case when v_this.is_outbound is distinct from false then 'the customer did not begin it'
            else 'the inbox has no bot' end, v_begin.occurred_at, null, v_begin.occurred_at, null, v_begin.event_id,
          v_begin.event_id, -1)::ledger.metric_part;
      elsif explain_answers.metric = 'ai_eligible' then
        return next row(v_this.episode, 'eligible', true, 'the customer began it, and the inbox may have a bot',
          v_begin.occurred_at, null, v_begin.occurred_at, null, v_begin.event_id, v_begin.event_id, 1)::ledger.metric_part;
      elsif v_involved.event_id is null then
        return next row(v_this.episode, 'not involved', explain_answers.metric <> 'ai_class',
          'no bot had it or wrote in it', null, null, null, null, null, null, -1)::ledger.metric_part;
      elsif explain_answers.metric = 'ai_involved' then
        return next row(v_this.episode, 'involved', true, case when v_involved.class = 'bot' then 'a bot wrote'
            else 'a bot had it' end, v_involved.occurred_at, null, v_involved.occurred_at, null, v_involved.event_id,
          v_involved.event_id, 1)::ledger.metric_part;
      elsif explain_answers.metric = 'ai_answered' then
        v_event := (select told from unnest(v_own) as told where told.class = 'bot' and told.value <> 'question'
          and (v_ended.place is null or told.place < v_ended.place) order by told.place limit 1);
        return next row(v_this.episode, 'answer', true, case when v_event.event_id is null
            then 'the bot gave no answer before its part was over' else 'a message of the bot that is no question' end,
          v_event.occurred_at, null, v_event.occurred_at, null, v_event.event_id, v_event.event_id,
          case when v_event.event_id is null then -1 else 1 end)::ledger.metric_part;
      else
        return next row(v_this.episode, coalesce(v_this.ai_ended_as, 'open'), true, case v_this.ai_ended_as
            when 'assisted' then 'a person wrote while the bot had not ended its part' when 'handed_off' then 'the bot handed it off'
            when 'claimed_resolved' then 'resolved after an answer of the bot'
            when 'abandoned' then 'resolved without an answer of the bot' else 'goes on' end,
          v_involved.occurred_at, null, v_ended.occurred_at, null, v_involved.event_id, v_ended.event_id,
          1)::ledger.metric_part;
      end if;
    end case;
  end loop;
end
$$;
comment on function ledger.explain_answers is
  'The parts of a metric that is yes or no, a person, a rating or a class: what decides it.';

create function ledger.explain_metric(
  account_id bigint, display_id bigint, metric text, as_of timestamptz default now(), learnt_by timestamptz default null
) returns table (
  episode integer, part bigint, what text, counted boolean, counted_in_conversation boolean, why text,
  started_at timestamptz, ended_at timestamptz, sign integer, seconds numeric, seconds_business numeric,
  calendar_seconds_clipped numeric, opened_by jsonb, closed_by jsonb, rule text, version integer
)
language plpgsql stable security definer set search_path = '' as $$
declare
  v_is_business boolean := explain_metric.metric like '%\_business';
  v_metric text := regexp_replace(explain_metric.metric, '_business$', '');
  v_definition ledger.metric_definitions;
  v_walked record;
  v_episodes ledger.episodes[];
  v_events ledger.placed_event[];
  v_parts ledger.metric_part[];
  v_business_at timestamptz;
  v_last integer;
begin
  perform access.require_role(explain_metric.account_id, 'viewer');
  select * into v_definition from ledger.metric_definitions as definitions where definitions.metric = v_metric;
  if not found or v_is_business and v_definition.unit not in ('seconds', 'list of seconds') then
    raise exception 'There is no metric %', coalesce('"' || left(explain_metric.metric, 50) || '"', 'null')
      using errcode = 'OC404', hint = (select format('The metrics there are: %s. Those in seconds also with _business.',
        string_agg(definitions.metric, ', ' order by definitions.metric)) from ledger.metric_definitions as definitions);
  end if;
  perform ledger.refuse_instant(explain_metric.as_of);
  if not exists (select from chatwoot.conversations as mirrored
    where mirrored.account_id = explain_metric.account_id and mirrored.display_id = explain_metric.display_id)
  then
    raise exception 'There is no conversation % in account %', coalesce(explain_metric.display_id::text, 'null'),
      explain_metric.account_id
      using errcode = 'OC404', hint = 'Its number stands in its address in Chatwoot, and in analytics.conversations as display_id.';
  end if;
  v_walked := ledger.walk(ledger.requests(array[row(explain_metric.account_id, explain_metric.display_id, null, null,
      '-infinity', now(), 0, null, null)::ledger.queue], explain_metric.as_of, explain_metric.learnt_by),
    explain_metric.as_of, explain_metric.learnt_by);
  v_episodes := v_walked.episodes;
  v_last := v_episodes[cardinality(v_episodes)].episode;
  v_business_at := ledger.business_clock(explain_metric.account_id, v_episodes[1].calendar_id, explain_metric.as_of);
  v_events := ledger.place_events(explain_metric.account_id, explain_metric.display_id, explain_metric.as_of,
    explain_metric.learnt_by, v_episodes, v_walked.spans);
  if v_metric in ('reply_time', 'bot_reply_time', 'wait_total', 'wait_longest', 'wait_current', 'waiting', 'requester_wait',
    'agent_work', 'agent_wait', 'on_hold', 'bot_phase', 'unassigned_s', 'assignees', 'stations', 'reassignments',
    'ttr_active', 'ttr_human')
  then
    v_parts := array(select parts from ledger.explain_spans(v_metric, v_is_business, explain_metric.as_of, v_business_at,
      v_episodes, v_walked.spans) as parts);
  end if;
  if v_metric in ('frt', 'frt_customer', 'frt_any', 'handoff_s', 'ttr_first', 'ttr_full', 'ttr_active', 'ttr_human',
    'first_assignment_to_resolve', 'last_assignment_to_resolve')
  then
    v_parts := v_parts || array(
      select parts from ledger.explain_lengths(v_metric, v_episodes, v_walked.spans, v_events) as parts);
  elsif v_definition.unit = 'count' and v_metric not in ('assignees', 'stations', 'reassignments') then
    v_parts := array(select parts from ledger.explain_counts(v_metric, v_episodes, v_events) as parts);
  elsif v_definition.unit in ('true or false', 'id of a person', 'rating', 'class') and v_metric <> 'waiting' then
    v_parts := array(select parts from ledger.explain_answers(v_metric, explain_metric.as_of, v_episodes,
      v_walked.spans, v_events) as parts);
  end if;
  return query
  with parts as (
    select told.*, extract(epoch from coalesce(told.ended_at, explain_metric.as_of) - told.started_at) as length,
      extract(epoch from coalesce(told.ended_business_at, v_business_at) - told.started_business_at) as business_length
    from unnest(v_parts) as told
    union all
    select told.episode, 'nothing', false, 'null: ' || v_definition.null_rule, null, null, null, null, null, null, 1,
      null, null
    from unnest(v_episodes) as told
    where not exists (select from unnest(v_parts) as others where others.episode = told.episode)
      and v_definition.unit <> 'count'
  ), ranked as (
    select parts.*, rank() over (partition by parts.is_counted order by case when v_is_business then parts.business_length
      else parts.length end desc, parts.episode) as length_rank
    from parts
  ), described as materialized (
    select events.event_id, jsonb_build_object('event_id', events.event_id, 'display_id', events.display_id,
      'kind', events.kind, 'class', events.class, 'value', events.value, 'actor_kind', events.actor_kind,
      'actor_id', events.actor_id, 'source', events.source, 'source_id', events.source_id,
      'occurred_at', events.occurred_at) as described
    from ledger.events
    where events.account_id = explain_metric.account_id
      and events.display_id = any (explain_metric.display_id || array(
        select merges.child_display_id from ledger.merges where merges.account_id = explain_metric.account_id
          and merges.parent_display_id = explain_metric.display_id))
      and events.event_id = any (array(
      select parts.opened_by from parts union select parts.closed_by from parts))
  )
  select ranked.episode,
    row_number() over (order by ranked.episode nulls first, ranked.sign desc, ranked.started_at, ranked.ended_at,
      ranked.opened_by, ranked.closed_by),
    ranked.what, ranked.is_counted and (ranked.episode is not null or v_definition.conversation_rule = 'only'),
    ranked.is_counted and v_last is not null and case v_definition.conversation_rule when 'first' then ranked.episode = 1
      when 'last' then ranked.episode = v_last when 'longest' then ranked.length_rank = 1
      -- Whoever counts in an earlier episode counts there.
      when 'distinct' then not exists (select from ranked as earlier
        where earlier.is_counted and earlier.what = ranked.what and earlier.episode < ranked.episode)
      else v_definition.conversation_rule is not null end,
    ranked.why, ranked.started_at, ranked.ended_at, ranked.sign, measured.seconds, measured.seconds_business,
    measured.seconds - measured.seconds_business,
    openers.described, closers.described, v_metric, v_definition.version
  from ranked
  cross join lateral (select case when ranked.started_business_at is not null then ranked.length end as seconds,
    case when ranked.started_business_at is not null then ranked.business_length end as seconds_business) as measured
  left join described as openers on openers.event_id = ranked.opened_by
  left join described as closers on closers.event_id = ranked.closed_by
  order by 2;
end
$$;
comment on function ledger.explain_metric is
  'What a number of a conversation is made of at as_of (inclusive), as known now or as it was known at learnt_by; viewers and above. One row a part, counted or not, with the rule that says so and the events that opened and closed it. Of an episode the counted parts add up: sum(sign * seconds), or the list of them, or their number; of a yes or no one with sign -1 makes it false; no counted part is null, or 0 of a count. counted_in_conversation does the same for the conversation''s number. With _business the parts are chosen by the business clock and seconds_business adds up. Errors: OC403, OC404, OC422.';

create function ledger.refuse_instant(as_of timestamptz) returns void
language plpgsql immutable security invoker set search_path = '' as $$
begin
  if refuse_instant.as_of is null or refuse_instant.as_of < '1970-01-01T00:00:00Z'
    or refuse_instant.as_of > '2100-01-01T00:00:00Z'
  then
    raise exception 'as_of must be an instant from 1970 to 2100, not %', coalesce(refuse_instant.as_of::text, 'null')
      using errcode = 'OC422', hint = 'Leave it out for now.';
  end if;
end
$$;
comment on function ledger.refuse_instant is 'Raises OC422 when as_of is no instant that can be asked about.';

revoke all on function ledger.explain_answers, ledger.explain_metric, ledger.refuse_instant
  from public, anon, authenticated, service_role;
grant execute on function ledger.explain_metric to authenticated, service_role;
