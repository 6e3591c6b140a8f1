-- The REST door, last part: the step, which is one request and all that follows from it, and the tick, which takes steps.
-- How far everything is stands in tables and is written in the same transaction as what was read: a job may be killed
-- anywhere.

create function sync.rest_prepare(account_id bigint, as_of timestamptz) returns sync.sources
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_source sync.sources;
begin
  select * into v_source from sync.sources as existing
  where existing.account_id = rest_prepare.account_id and existing.door = 'rest';
  if coalesce(v_source.changed_until < rest_prepare.as_of - interval '7 days', true) then
    -- Never read, or so long ago that one list of all changes would be too long: page by page, from the beginning.
    if v_source.changed_until is null then
      delete from sync.conversation_reads as existing where existing.account_id = rest_prepare.account_id;
      delete from sync.contact_checks as existing where existing.account_id = rest_prepare.account_id;
    end if;
    update sync.sources as existing set changed_until = rest_prepare.as_of, backfill = '{"page": 1, "pass": 1}',
      backfill_started_at = rest_prepare.as_of, backfill_finished_at = null,
      -- Older survey answers are listed once their messages are there.
      cursor = existing.cursor || jsonb_build_object('csat', jsonb_build_object('done_at',
        floor(extract(epoch from rest_prepare.as_of)))),
      backfill_done = case when v_source.changed_until is null then 0 else existing.backfill_done end
    where existing.account_id = rest_prepare.account_id and existing.door = 'rest'
    returning * into v_source;
  elsif not v_source.backfill ? 'page' and not exists (
    select from sync.conversation_reads as reads
    where reads.account_id = rest_prepare.account_id and reads.priority = 2 and reads.due_at is not null
      and reads.failures < 5)
  then
    update sync.sources as existing set backfill = null, backfill_finished_at = rest_prepare.as_of,
      cursor = (existing.cursor - 'csat') #- '{lists,csat_survey_responses}'
    where existing.account_id = rest_prepare.account_id and existing.door = 'rest'
    returning * into v_source;
  end if;
  if not coalesce(v_source.cursor -> 'csat' ? 'page', false) then
    -- A day of overlap, since an answer is often given in two steps; and of Chatwoot's future, since clocks differ.
    v_source.cursor := v_source.cursor || jsonb_build_object('csat', coalesce(v_source.cursor -> 'csat', '{}')
      || jsonb_build_object('page', 1, 'since', greatest(coalesce((v_source.cursor #>> '{csat,done_at}')::bigint, 0) - 86400, 0),
        'until', floor(extract(epoch from rest_prepare.as_of))::bigint + 86400));
  end if;
  return v_source;
end
$$;
comment on function sync.rest_prepare is 'The source as it stands, with the reading of its history begun or ended where that is due.';

create function sync.rest_step(
  account_id bigint, tick_at timestamptz, as_of timestamptz, until timestamptz,
  out outcome text, out requests integer, out rows_read bigint, out rows_changed bigint,
  out kind text, out problem text, out hint text
)
-- One request and all that follows from it. No lock is held on any row while Chatwoot is waited for.
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_source sync.sources;
  v_now sync.sources;
  v_next record;
  v_answer record;
  v_applied record;
  v_token text := sync.token(rest_step.account_id);
  v_minute text := to_char(rest_step.as_of at time zone 'UTC', 'YYYY-MM-DD HH24:MI');
begin
  requests := 0;
  rows_read := 0;
  rows_changed := 0;
  if not pg_try_advisory_xact_lock(hashtextextended('sync.rest', rest_step.account_id)) then
    outcome := 'busy';
    return;
  end if;
  v_source := sync.rest_prepare(rest_step.account_id, rest_step.as_of);
  outcome := 'idle';
  if v_source.state is distinct from 'active' or (v_source.cursor ->> 'minute' = v_minute
    and (v_source.cursor ->> 'sent')::integer
      >= (ops.setting(rest_step.account_id, 'sync_requests_per_minute') #>> '{}')::integer)
  then
    return;
  end if;
  v_next := sync.rest_next(v_source, rest_step.tick_at, rest_step.as_of);
  if v_next.task is null then
    return;
  end if;
  v_answer := sync.rest_request(rest_step.account_id, case v_next.task when 'probe' then 'HEAD' else 'GET' end,
    v_next.path, v_next.query, v_next.array_at, rest_step.as_of, rest_step.until);
  kind := v_answer.kind;
  problem := v_answer.problem;
  hint := v_answer.hint;
  requests := (kind is null or kind not in ('no_token', 'base_url'))::integer;

  -- Meanwhile somebody may have paused it, or set another base URL or token; then the answer is not wanted any more.
  select * into v_now from sync.sources as existing
  where existing.account_id = rest_step.account_id and existing.door = 'rest' for update;
  if v_now.state is distinct from 'active' or v_now.base_url <> v_source.base_url or v_now.changed_until is null
    or sync.token(rest_step.account_id) is distinct from v_token
  then
    outcome := 'idle';
    return;
  end if;
  v_source.cursor := v_source.cursor || jsonb_build_object('minute', v_minute, 'sent', requests
    + case when v_source.cursor ->> 'minute' = v_minute then (v_source.cursor ->> 'sent')::integer else 0 end);

  if kind is null then
    outcome := 'more';
    begin
      case v_next.task
        when 'probe' then
          v_source.cursor := v_source.cursor || jsonb_build_object('probed_at', rest_step.as_of);
        when 'changes' then
          rows_changed := sync.rest_apply_conversations(rest_step.account_id, v_answer.body #> '{data,payload}',
            v_answer.read_at, 0::smallint, rest_step.as_of);
          v_source.changed_until := rest_step.as_of;
        when 'recent' then
          rows_changed := sync.rest_apply_recent(rest_step.account_id, v_answer.body, v_answer.read_at, rest_step.as_of, v_next.id);
          v_source.cursor := v_source.cursor || jsonb_build_object('swept_at', rest_step.as_of,
            'sweep_seconds', case when v_answer.bytes < 3000000 then least(v_next.id * 2, 172800) else v_next.id end);
        when 'history' then
          v_applied := sync.rest_apply_page(rest_step.account_id, v_answer.body, v_answer.read_at, rest_step.as_of, v_source.backfill);
          rows_changed := v_applied.changed;
          v_source.backfill := v_applied.backfill;
          v_source.backfill_total := v_applied.total;
        when 'read' then
          v_applied := sync.rest_apply_messages(rest_step.account_id, v_next.id, v_answer.body, v_answer.read_at, rest_step.as_of);
          rows_changed := v_applied.changed;
          v_source.backfill_done := v_source.backfill_done + v_applied.is_first::integer;
        when 'show' then
          rows_changed := sync.rest_apply_conversations(rest_step.account_id, jsonb_build_array(v_answer.body),
            v_answer.read_at, 1::smallint, rest_step.as_of);
          update sync.conversation_reads as existing set is_show_due = false, missing_since = null, failures = 0,
            problem = null, due_at = case
              when existing.read_updated_at >= existing.source_updated_at and existing.walk_after_message_id is null
                and existing.source_updated_at < v_answer.read_at - interval '2 days' then null
              else rest_step.as_of end
          where existing.account_id = rest_step.account_id and existing.display_id = v_next.id;
        when 'verify_page', 'verify_show', 'verify_messages' then
          rows_changed := sync.rest_verify_apply(rest_step.account_id, v_next.task, v_next.id, null, v_answer.body,
            v_answer.read_at, rest_step.as_of);
        when 'contact' then
          rows_changed := sync.rest_merge_person(rest_step.account_id, 'contact', v_next.id,
            inbox.contact_record(v_answer.body -> 'payload'), v_answer.read_at);
          delete from sync.contact_checks as existing
          where existing.account_id = rest_step.account_id and existing.contact_id = v_next.id;
        else
          v_applied := sync.rest_apply_list(rest_step.account_id, v_next.task, v_answer.body, v_answer.read_at,
            rest_step.as_of, v_source.cursor);
          rows_changed := v_applied.changed;
          v_source.cursor := v_applied.cursor;
      end case;
      rows_read := case jsonb_typeof(v_answer.body #> v_next.array_at)
        when 'array' then jsonb_array_length(v_answer.body #> v_next.array_at) else (v_next.task <> 'probe')::integer end;
      v_source.cursor := v_source.cursor - case when v_next.task = 'probe' then '{}'::text[] else array['unauthorized', 'redirected'] end;
    exception
      when transaction_rollback or lock_not_available then
        kind := 'conflict';
        problem := 'Somebody else was writing the same rows.';
        hint := 'It is tried again by itself.';
        rows_changed := 0;
      when others then
        kind := 'wrong_shape';
        problem := format('The answer is JSON, but a value in it is not what Chatwoot''s API has there (%s).', sqlstate);
        hint := 'It is tried again by itself. If it stays so, report it with the version of your Chatwoot.';
        rows_changed := 0;
    end;
  end if;

  if kind is not null then
    outcome := case when kind in ('no_token', 'base_url') then 'stopped'
      when kind in ('throttled', 'server_error', 'timeout', 'transport') then 'failed' else 'refused' end;
    case
      when outcome = 'stopped' then null;
      when kind = 'redirected' then
        outcome := case when v_next.task = 'probe' or v_source.cursor ? 'redirected' then 'stopped' else 'failed' end;
        -- The next request goes without the token.
        v_source.cursor := (v_source.cursor || '{"redirected": true}') - 'probed_at';
      when v_next.task = 'probe' then
        -- Without a token it is refused, and that is all right.
        if outcome = 'refused' then
          outcome := 'more';
          v_source.cursor := v_source.cursor || jsonb_build_object('probed_at', rest_step.as_of);
        end if;
      when kind in ('unauthorized', 'forbidden') then
        -- Asked twice before a person is called.
        outcome := case when v_source.cursor ? 'unauthorized' then 'stopped' else 'refused' end;
        v_source.cursor := v_source.cursor || '{"unauthorized": true}';
      when kind = 'missing' and v_next.task in ('read', 'show') then
        rows_changed := sync.rest_note_missing(rest_step.account_id, v_next.id, v_answer.read_at, rest_step.as_of);
        outcome := 'more';
      when kind = 'missing' and v_next.task = 'contact' then
        rows_changed := sync.rest_note_missing_contact(rest_step.account_id, v_next.id, v_answer.read_at, rest_step.as_of);
        outcome := 'more';
      when kind = 'missing' and v_next.task = 'agent_bots' then
        v_source.cursor := jsonb_set(v_source.cursor, '{lists,agent_bots}', to_jsonb(rest_step.as_of));
        outcome := 'more';
      when kind = 'throttled' then null;
      when v_next.task in ('verify_page', 'verify_show', 'verify_messages') then
        perform sync.rest_verify_apply(rest_step.account_id, v_next.task, v_next.id, kind, null, v_answer.read_at, rest_step.as_of);
        if kind in ('missing', 'too_large') then
          outcome := 'refused';
        end if;
      when v_next.task in ('read', 'show') then
        if kind = 'too_large' and v_next.task = 'read' and v_next.query like 'after=%' then
          update sync.conversation_reads as existing set walk_before_message_id = 0
          where existing.account_id = rest_step.account_id and existing.display_id = v_next.id;
        else
          perform sync.rest_note_failure(rest_step.account_id, v_next.id, rest_step.as_of, problem);
        end if;
      when v_next.task = 'contact' then
        update sync.contact_checks as existing set due_at = rest_step.as_of + interval '15 minutes'
        where existing.account_id = rest_step.account_id and existing.contact_id = v_next.id;
      when v_next.task = 'recent' and kind in ('too_large', 'timeout', 'server_error') then
        v_source.cursor := v_source.cursor || jsonb_build_object('sweep_seconds', greatest(v_next.id / 2, 900))
          || case when v_next.id <= 900 then jsonb_build_object('swept_at', rest_step.as_of) else '{}' end;
      when v_next.task = 'changes' and (kind = 'too_large' or (kind in ('timeout', 'server_error')
        and v_source.failures >= 3 and v_source.changed_until < rest_step.as_of - interval '1 hour'))
      then
        -- Too much at once: page by page instead, which reads the messages of those alone that changed.
        v_source.changed_until := rest_step.as_of;
        v_source.backfill := '{"page": 1, "pass": 1}';
        v_source.backfill_started_at := rest_step.as_of;
        v_source.backfill_finished_at := null;
        outcome := 'refused';
      else
        outcome := 'failed';
    end case;
    if outcome = 'stopped' then
      v_source.cursor := v_source.cursor - array['unauthorized', 'redirected', 'probed_at'];
    end if;
  end if;
  update sync.sources as existing set cursor = v_source.cursor, changed_until = v_source.changed_until,
    backfill = v_source.backfill, backfill_started_at = v_source.backfill_started_at,
    backfill_finished_at = v_source.backfill_finished_at, backfill_done = v_source.backfill_done,
    backfill_total = v_source.backfill_total
  where existing.account_id = rest_step.account_id and existing.door = 'rest';
end
$$;
comment on function sync.rest_step is
  'Sends the next request of a source and applies its answer. outcome: more, idle (nothing to do, or no request left this minute), busy (somebody else is at it), refused (counted, go on), failed (let it rest) or stopped (needs a person).';

create procedure sync.tick_rest(as_of timestamptz default null, budget interval default '45 seconds')
-- Commits after each request, so nothing is set for the whole of it and every name is written out.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + budget;
  v_tick_at timestamptz := coalesce(tick_rest.as_of, pg_catalog.clock_timestamp());
  v_accounts bigint[] := array(select sources.account_id from sync.sources
    where sources.door = 'rest' and sources.state = 'active'
      and (sources.retry_at is null or sources.retry_at <= v_tick_at)
    order by sources.last_attempt_at nulls first, sources.account_id);
  v_account bigint;
  v_sources_left integer := pg_catalog.cardinality(v_accounts);
  v_share_end timestamptz;
  v_begun_at timestamptz;
  v_step record;
  v_requests integer;
  v_rows_read bigint;
  v_rows_changed bigint;
  v_refused integer;
begin
  foreach v_account in array v_accounts loop
    exit when pg_catalog.clock_timestamp() >= v_end;
    -- Whoever comes first leaves the others their share.
    v_share_end := pg_catalog.clock_timestamp() + (v_end - pg_catalog.clock_timestamp()) / v_sources_left;
    v_sources_left := v_sources_left - 1;
    v_begun_at := coalesce(tick_rest.as_of, pg_catalog.clock_timestamp());
    v_requests := 0;
    v_rows_read := 0;
    v_rows_changed := 0;
    v_refused := 0;
    loop
      -- A Chatwoot that hangs costs its own share, or five seconds where many share.
      begin
        v_step := sync.rest_step(v_account, v_tick_at, coalesce(tick_rest.as_of, pg_catalog.clock_timestamp()),
          least(v_end, greatest(v_share_end, pg_catalog.clock_timestamp() + interval '5 seconds')));
      exception when others then
        -- Whatever one Chatwoot answers must not keep the others waiting. The error's own words might quote the answer.
        select 'failed' as outcome, 1 as requests, 0::bigint as rows_read, 0::bigint as rows_changed,
          'sqlstate_' || sqlstate as kind,
          pg_catalog.format('An answer, or how far the reading is, could not be dealt with (%s).', sqlstate) as problem,
          'It is tried again by itself. If it stays so, report it with the version of your Chatwoot.' as hint
        into v_step;
      end;
      if v_requests = 0 and v_step.outcome <> 'busy' then
        perform sync.begin(v_account, 'rest', v_begun_at);
      end if;
      v_requests := v_requests + v_step.requests;
      v_rows_read := v_rows_read + v_step.rows_read;
      v_rows_changed := v_rows_changed + v_step.rows_changed;
      v_refused := case v_step.outcome when 'refused' then v_refused + 1 else 0 end;
      if v_step.outcome = 'refused' and v_refused < 3 then
        perform sync.rest_count_refusals(v_account, v_step.kind, 1);
      end if;
      if v_step.outcome = 'stopped' then
        -- In the step's own transaction: what somebody mends meanwhile waits for it, and is not stopped again.
        perform sync.stop(v_account, 'rest', coalesce(tick_rest.as_of, pg_catalog.clock_timestamp()), v_step.problem, v_step.hint, v_requests, v_rows_read, v_rows_changed);
      end if;
      commit;
      exit when v_step.outcome not in ('more', 'refused') or v_refused >= 3
        or pg_catalog.clock_timestamp() >= v_share_end;
    end loop;
    if v_step.outcome = 'failed' or v_refused >= 3 then
      -- What went well before it ends a row of failures.
      update sync.sources as existing set failures = 0
      where existing.account_id = v_account and existing.door = 'rest' and existing.failures > 0 and v_rows_read > 0;
      perform sync.fail(v_account, 'rest', coalesce(tick_rest.as_of, pg_catalog.clock_timestamp()), v_step.kind, v_step.problem, v_step.hint, v_requests, v_rows_read,
        v_rows_changed);
    elsif v_step.outcome not in ('busy', 'stopped') then
      perform sync.succeed(v_account, 'rest', coalesce(tick_rest.as_of, pg_catalog.clock_timestamp()), v_requests, v_rows_read, v_rows_changed);
    end if;
    commit;
  end loop;
end
$$;
comment on procedure sync.tick_rest is
  'Reads every active REST source that is due, one request at a time, within the budget. as_of takes the place of the clock for all but the budget. A source that another tick is reading is left to it.';

do $$
declare
  v_routine regprocedure;
begin
  for v_routine in
    select routines.oid::regprocedure from pg_proc as routines
    where routines.pronamespace = 'sync'::regnamespace and (routines.proname like 'rest\_%' or routines.proname = 'tick_rest')
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_routine);
  end loop;
end
$$;
