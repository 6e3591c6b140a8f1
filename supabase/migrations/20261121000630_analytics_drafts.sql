-- Drafts for analysts: each of them, how well they do, what they save against a control, and which gold replies people
-- keep rewriting. Of several drafts to one wait the last one counts: a customer who writes in three messages is answered
-- once, and the first two drafts had no chance.
create view analytics.drafts with (security_invoker = true) as
select
  drafts.account_id, drafts.draft_id, drafts.display_id, drafts.episode, told.inbox_id, drafts.customer_message_id,
  drafts.customer_message_at, drafts.waiting_since, drafts.created_at,
  fate.arm,
  drafts.maker, drafts.maker_version, drafts.state, drafts.reason,
  -- Who sees what is held out is no control any more.
  case when not fate.is_kept_back then drafts.gold_reply_id end as gold_reply_id,
  case when not fate.is_kept_back then library.title end as gold_reply_title,
  case when not fate.is_kept_back then drafts.gold_reply_version end as gold_reply_version,
  drafts.language, drafts.category, case when not fate.is_kept_back then drafts.confidence end as confidence,
  drafts.shown_at, drafts.shown_by, drafts.decided_at, drafts.decided_by, drafts.is_override,
  (drafts.grades ->> 'tone')::smallint as grade_tone, (drafts.grades ->> 'accuracy')::smallint as grade_accuracy,
  (drafts.grades ->> 'policy')::smallint as grade_policy,
  drafts.replied_at, drafts.reply_message_id, drafts.reply_agent_id as agent_id, agents.name as agent_name,
  drafts.outcome, drafts.outcome_at, drafts.is_final,
  drafts.replied_at is not null as is_eligible, fate.is_ready, fate.is_shown, fate.is_used, fate.is_accepted,
  drafts.edit_distance, drafts.edit_ratio, drafts.edit_method, drafts.draft_length, drafts.sent_length,
  date_part('epoch', drafts.created_at - drafts.customer_message_at) as seconds_to_draft,
  fate.seconds_to_approve, fate.seconds_to_approve < 3 as is_quick_approval,
  date_part('epoch', drafts.replied_at - drafts.customer_message_at) as reply_seconds,
  drafts.resolved_at, drafts.reopened_at,
  date_part('epoch', drafts.resolved_at - drafts.customer_message_at) as resolution_seconds,
  fate.is_reopened, drafts.csat_rating, drafts.excluded_as
from replies.drafts
left join ledger.episodes as told on told.account_id = drafts.account_id and told.display_id = drafts.display_id
  and told.episode = drafts.episode
left join replies.gold_replies as library on library.account_id = drafts.account_id
  and library.gold_reply_id = drafts.gold_reply_id
left join chatwoot.agents on agents.account_id = drafts.account_id and agents.kind = 'user'
  and agents.agent_id = drafts.reply_agent_id
cross join lateral (
  -- A maker abstains in either arm; counted in one of them, it would lower that one's coverage alone.
  select case when drafts.state = 'held_out'
      or (drafts.state = 'abstained' and (drafts.evidence ->> 'held_out')::boolean) then 'hold_out' else 'shown' end as arm,
    drafts.state = 'held_out' and drafts.outcome_at is null as is_kept_back,
    -- Chatwoot tells whole seconds at times.
    drafts.state <> 'abstained' and coalesce(drafts.created_at - drafts.replied_at < interval '1 second', false) as is_ready,
    drafts.outcome is not null and drafts.state not in ('abstained', 'held_out') and drafts.shown_at is not null
      and coalesce(drafts.shown_at - drafts.replied_at < interval '1 second', true) as is_shown,
    coalesce(drafts.outcome in ('verbatim', 'light', 'heavy', 'rewrite'), false) as is_used,
    coalesce(drafts.outcome in ('verbatim', 'light'), false) as is_accepted,
    case when drafts.state in ('approved', 'sent', 'failed') then date_part('epoch', drafts.decided_at
      - case when drafts.shown_by = 'decision' then drafts.created_at else drafts.shown_at end) end as seconds_to_approve,
    -- Who was reopened at once is known before who was not: so it is said of neither before three days.
    case when now() - drafts.resolved_at >= interval '72 hours'
      then coalesce(drafts.reopened_at - drafts.resolved_at <= interval '72 hours', false) end as is_reopened
  -- Worked out once, not once for each sum over it.
  offset 0
) as fate;
comment on view analytics.drafts is
  'One row a draft, also those not made (abstained) or kept back as the control: when it was ready, shown and decided, and what became of it. Its words are in api.drafts, those of the customer in analytics.messages.';

do $$
declare
  v_columns text := $columns$
    count(*) filter (where counts.is_in) as n_included,
    count(*) filter (where not counts.is_in) as n_excluded,
    count(*) filter (where counts.is_in and drafts.outcome_at is null) as n_undecided,
    count(*) filter (where counts.is_in and drafts.state <> 'abstained') as drafts,
    count(*) filter (where counts.is_shown) as shown,
    count(*) filter (where counts.is_in and drafts.is_eligible) as eligible,
    count(*) filter (where counts.is_in and drafts.is_ready) as ready,
    count(*) filter (where counts.outcome = 'verbatim') as verbatim,
    count(*) filter (where counts.outcome = 'light') as light,
    count(*) filter (where counts.outcome = 'heavy') as heavy,
    count(*) filter (where counts.outcome = 'rewrite') as rewrite,
    count(*) filter (where counts.outcome = 'discarded') as discarded,
    count(*) filter (where counts.outcome = 'superseded') as superseded,
    count(*) filter (where counts.outcome = 'expired') as expired,
    count(*) filter (where counts.outcome = 'abstained') as abstained,
    count(*) filter (where counts.is_shown and counts.outcome = 'verbatim') as shown_verbatim,
    count(*) filter (where counts.is_shown and counts.is_accepted) as accepted,
    count(*) filter (where counts.is_shown and counts.is_used) as used,
    avg(drafts.edit_ratio) filter (where counts.is_used) as edit_ratio_mean,
    percentile_cont(0.5) within group (order by drafts.edit_ratio) filter (where counts.is_used) as edit_ratio_p50,
    sum(drafts.edit_distance) filter (where counts.is_used)::double precision
      / nullif(sum(greatest(drafts.draft_length, drafts.sent_length)) filter (where counts.is_used), 0) as edit_ratio_weighted,
    percentile_cont(0.5) within group (order by drafts.seconds_to_draft)
      filter (where counts.is_in and drafts.state <> 'abstained') as seconds_to_draft_p50,
    percentile_cont(0.5) within group (order by drafts.seconds_to_approve) filter (where counts.is_in) as seconds_to_approve_p50,
    count(drafts.seconds_to_approve) filter (where counts.is_in) as approved,
    count(*) filter (where counts.is_in and drafts.is_quick_approval) as approved_quickly,
    count(drafts.is_reopened) filter (where counts.is_accepted) as accepted_resolved,
    count(*) filter (where counts.is_accepted and drafts.is_reopened) as accepted_reopened,
    count(drafts.is_reopened) filter (where counts.is_own) as own_resolved,
    count(*) filter (where counts.is_own and drafts.is_reopened) as own_reopened,
    count(drafts.csat_rating) filter (where counts.is_accepted) as accepted_rated,
    count(*) filter (where counts.is_accepted and drafts.csat_rating >= 4) as accepted_positive,
    count(drafts.csat_rating) filter (where counts.is_own) as own_rated,
    count(*) filter (where counts.is_own and drafts.csat_rating >= 4) as own_positive$columns$;
  v_source text := $source$
  from analytics.drafts
  cross join lateral (
    select drafts.excluded_as is null as is_in, drafts.excluded_as is null and drafts.is_shown as is_shown,
      drafts.excluded_as is null and drafts.is_used as is_used,
      drafts.excluded_as is null and drafts.is_accepted as is_accepted,
      drafts.excluded_as is null and drafts.is_eligible and not drafts.is_used as is_own,
      case when drafts.excluded_as is null then drafts.outcome end as outcome
    offset 0
  ) as counts$source$;
  v_view text := '';
  v_rate record;
  v_by record;
  v_rates text := '';
begin
  for v_rate in
    select * from (values ('coverage', 'ready', 'eligible'), ('verbatim_rate', 'shown_verbatim', 'shown'),
      ('acceptance', 'accepted', 'shown'), ('use_rate', 'used', 'shown'),
      ('reopen_rate_accepted', 'accepted_reopened', 'accepted_resolved'), ('reopen_rate_own', 'own_reopened', 'own_resolved'),
      ('csat_accepted', 'accepted_positive', 'accepted_rated'), ('csat_own', 'own_positive', 'own_rated')) as rates (name, part, whole)
  loop
    v_rates := v_rates || format(E',\n  counted.%2$s::double precision / nullif(counted.%3$s, 0) as %1$s, '
      'analytics.wilson_lower(counted.%2$s, counted.%3$s) as %1$s_low, analytics.wilson_upper(counted.%2$s, counted.%3$s) as %1$s_high',
      v_rate.name, v_rate.part, v_rate.whole);
  end loop;
  for v_by in
    select * from (values ('account', '', 'null::text'), ('category', 'drafts.category collate "C"', 'null::text'),
      ('gold_reply', 'drafts.gold_reply_id', 'drafts.gold_reply_title'),
      ('agent', 'drafts.agent_id', 'drafts.agent_name'), ('language', 'drafts.language collate "C"', 'null::text'),
      ('maker', 'drafts.maker collate "C"', 'null::text')) as dimensions (name, value, title)
  loop
    -- One query for each, so that whoever asks for one of them runs that one alone.
    v_view := v_view || case when v_view <> '' then E'\nunion all\n' else '' end
      || format($query$select counted.account_id, %L as by, counted.value::text collate "default" as value, counted.name,
  case when counted.is_hold_out then 'hold_out' else 'shown' end as arm, %s%s
from (
  select drafts.account_id, %s as value, min(%s) as name, drafts.arm = 'hold_out' as is_hold_out,%s%s
  where drafts.is_final
  group by drafts.account_id%s, drafts.arm = 'hold_out'
) as counted$query$,
        v_by.name, (select string_agg('counted.' || names.name, ', ' order by names.number)
          from regexp_split_to_table('n_included n_excluded n_undecided drafts shown eligible ready verbatim light heavy rewrite discarded superseded expired abstained accepted used approved approved_quickly edit_ratio_mean edit_ratio_p50 edit_ratio_weighted seconds_to_draft_p50 seconds_to_approve_p50 accepted_resolved own_resolved accepted_rated own_rated', ' ')
            with ordinality as names (name, number)),
        v_rates, coalesce(nullif(v_by.value, ''), 'null::text'), v_by.title, v_columns, v_source,
        case when v_by.value <> '' then ', ' || v_by.value else '' end);
  end loop;
  execute 'create view analytics.draft_performance with (security_invoker = true) as ' || v_view;
end
$$;
comment on view analytics.draft_performance is
  'How drafts do, by account, category, gold_reply, agent (who answered), language or maker: name one in by. Only the last draft of each wait counts. Rates stand beside what they are divided by, with their 95 % interval (Wilson); rank by the low end.';

create view analytics.draft_hold_out with (security_invoker = true) as
select
  compared.account_id, compared.category, compared.shown_n, compared.hold_out_n,
  compared.shown_reply_seconds_p50, compared.hold_out_reply_seconds_p50,
  compared.saved as seconds_saved, compared.saved - compared.margin as seconds_saved_low,
  compared.saved + compared.margin as seconds_saved_high,
  compared.shown_resolution_n, compared.hold_out_resolution_n, compared.shown_resolution_seconds_p50,
  compared.hold_out_resolution_seconds_p50, compared.since
from (
  select sides.*,
    case when sides.shown_n >= 30 and sides.hold_out_n >= 30
      then sides.hold_out_reply_seconds_p50 - sides.shown_reply_seconds_p50 end as saved,
    -- The error of a median from the values at the ends of its own interval (McKean and Schrader); of a difference, both.
    1.96 * sqrt(((sides.shown_replies[sides.shown_n - shown_end.at + 1] - sides.shown_replies[shown_end.at]) / 3.92) ^ 2
      + ((sides.hold_out_replies[sides.hold_out_n - hold_out_end.at + 1] - sides.hold_out_replies[hold_out_end.at]) / 3.92) ^ 2)
      as margin
  from (
    select cases.account_id, cases.category, min(cases.since) as since,
      count(cases.reply_seconds) filter (where cases.arm = 'shown') as shown_n,
      count(cases.reply_seconds) filter (where cases.arm = 'hold_out') as hold_out_n,
      array_agg(cases.reply_seconds order by cases.reply_seconds) filter (where cases.arm = 'shown' and cases.reply_seconds is not null)
        as shown_replies,
      array_agg(cases.reply_seconds order by cases.reply_seconds) filter (where cases.arm = 'hold_out' and cases.reply_seconds is not null)
        as hold_out_replies,
      percentile_cont(0.5) within group (order by cases.reply_seconds) filter (where cases.arm = 'shown') as shown_reply_seconds_p50,
      percentile_cont(0.5) within group (order by cases.reply_seconds) filter (where cases.arm = 'hold_out')
        as hold_out_reply_seconds_p50,
      count(cases.resolution_seconds) filter (where cases.arm = 'shown') as shown_resolution_n,
      count(cases.resolution_seconds) filter (where cases.arm = 'hold_out') as hold_out_resolution_n,
      percentile_cont(0.5) within group (order by cases.resolution_seconds) filter (where cases.arm = 'shown')
        as shown_resolution_seconds_p50,
      percentile_cont(0.5) within group (order by cases.resolution_seconds) filter (where cases.arm = 'hold_out')
        as hold_out_resolution_seconds_p50
    from (
      -- Of an episode one case, the first: what comes later hangs on how the first was answered.
      select distinct on (drafts.account_id, drafts.display_id, drafts.episode) drafts.account_id, drafts.category, drafts.arm,
        drafts.reply_seconds, drafts.resolution_seconds, running.since
      from analytics.drafts
      -- Only while there was a control: other months had other customers.
      join (
        select control.account_id, min(control.created_at) as since, max(control.created_at) as until
        from replies.drafts as control where control.state = 'held_out'
        group by control.account_id
      ) as running on running.account_id = drafts.account_id and drafts.created_at between running.since and running.until
      where drafts.is_final and drafts.excluded_as is null and drafts.state <> 'abstained'
      order by drafts.account_id, drafts.display_id, drafts.episode, drafts.draft_id
    ) as cases
    group by cases.account_id, cases.category
  ) as sides
  cross join lateral (select greatest(1, floor((sides.shown_n + 1) / 2.0 - 0.98 * sqrt(sides.shown_n)))::integer as at) as shown_end
  cross join lateral (select greatest(1, floor((sides.hold_out_n + 1) / 2.0 - 0.98 * sqrt(sides.hold_out_n)))::integer as at)
    as hold_out_end
) as compared;
comment on view analytics.draft_hold_out is
  'What drafts save, against episodes in which, by chance, none was shown (setting draft_hold_out_percent): medians of both sides by category, from the time in which there was such a control. All drafts that were made count on the one side, whether used or not. Null under 30 replies a side.';

create view analytics.gold_reply_edits with (security_invoker = true) as
select
  edited.account_id, edited.gold_reply_id, library.title, edited.version, edited.version = library.version as is_current,
  edited.used, edited.edited, edited.rewritten,
  edited.rewritten::double precision / nullif(edited.used, 0) as rewritten_rate,
  analytics.wilson_lower(edited.rewritten, edited.used) as rewritten_rate_low,
  analytics.wilson_upper(edited.rewritten, edited.used) as rewritten_rate_high,
  edited.edit_ratio_p50, latest.edits
from (
  select drafts.account_id, drafts.gold_reply_id, drafts.gold_reply_version as version, count(*) as used,
    count(*) filter (where drafts.outcome <> 'verbatim') as edited,
    count(*) filter (where drafts.outcome in ('heavy', 'rewrite')) as rewritten,
    percentile_cont(0.5) within group (order by drafts.edit_ratio) as edit_ratio_p50
  from replies.drafts
  where drafts.outcome in ('verbatim', 'light', 'heavy', 'rewrite') and drafts.gold_reply_id is not null
  group by drafts.account_id, drafts.gold_reply_id, drafts.gold_reply_version
) as edited
join replies.gold_replies as library on library.account_id = edited.account_id and library.gold_reply_id = edited.gold_reply_id
left join lateral (
  select jsonb_agg(jsonb_build_object('draft_id', newest.draft_id, 'display_id', newest.display_id, 'replied_at', newest.replied_at,
    'outcome', newest.outcome, 'edit_ratio', newest.edit_ratio, 'draft', newest.body, 'sent', newest.sent)
    order by newest.replied_at desc, newest.draft_id desc) as edits
  from (
    select drafts.draft_id, drafts.display_id, drafts.replied_at, drafts.outcome, drafts.edit_ratio, drafts.body,
      case when messages.deleted_at is null then messages.content end as sent
    from replies.drafts
    left join chatwoot.messages on messages.account_id = drafts.account_id and messages.message_id = drafts.reply_message_id
    where drafts.account_id = edited.account_id and drafts.gold_reply_id = edited.gold_reply_id
      and drafts.gold_reply_version = edited.version and drafts.outcome in ('light', 'heavy', 'rewrite')
    order by drafts.replied_at desc, drafts.draft_id desc limit 10
  ) as newest
) as latest on true
where edited.edited > 0;
comment on view analytics.gold_reply_edits is
  'Gold replies that people change before sending, one row a version, with the ten latest edits. Those with the highest rewritten_rate_low want a new version most.';
create index drafts_edits_idx on replies.drafts (account_id, gold_reply_id, gold_reply_version, replied_at)
  where outcome in ('light', 'heavy', 'rewrite');
grant select on analytics.drafts, analytics.draft_performance, analytics.draft_hold_out, analytics.gold_reply_edits
  to authenticated, analyst, service_role;

do $$
declare
  v_comment record;
begin
  for v_comment in
    with words (name, words) as (values
      ('account_id', 'Chatwoot''s account id.'), ('draft_id', 'Number of the draft.'),
      ('display_id', 'The conversation''s number in its account.'), ('episode', 'Number of the episode within the conversation.'),
      ('inbox_id', 'Inbox it came in through.'), ('customer_message_id', 'The customer''s newest message when it was made.'),
      ('customer_message_at', 'When that was written (UTC).'), ('waiting_since', 'Since when the customer was waiting (UTC).'),
      ('created_at', 'When it was made (UTC).'), ('arm', 'shown, or hold_out for the control, in which nobody sees drafts.'),
      ('maker', 'What made it.'), ('maker_version', 'Version of the maker.'),
      ('state', 'open, approved, sent, rejected, superseded, expired, abstained, held_out or failed.'),
      ('reason', 'Why it is in that state.'), ('gold_reply_id', 'The gold reply it was made from; null for none, and in the control until the wait is over.'),
      ('gold_reply_title', 'Title of that.'), ('gold_reply_version', 'Version of that.'),
      ('language', 'ISO code of the customer''s language; null when not known.'), ('category', 'Category; null for none.'),
      ('confidence', 'How sure the maker was, 0 to 1; null in the control until the wait is over.'), ('shown_at', 'When a person could first see it (UTC); null for never.'),
      ('shown_by', 'note, claim or decision.'), ('decided_at', 'When it was approved or rejected (UTC).'),
      ('decided_by', 'By whom, as in the decision log.'), ('is_override', 'Whether it was approved although something had happened since.'),
      ('grade_tone', 'The approver''s grade, 1 to 5; null for none.'), ('grade_accuracy', 'The approver''s grade, 1 to 5; null for none.'),
      ('grade_policy', 'The approver''s grade, 1 to 5; null for none.'), ('replied_at', 'When a person''s reply left (UTC); null while none did.'),
      ('reply_message_id', 'That reply.'), ('agent_id', 'Who answered: the approver of a draft that was sent, else the author.'),
      ('agent_name', 'Name of that agent.'),
      ('outcome', 'verbatim, light, heavy or rewrite (used, by how much was changed), discarded, superseded, expired, abstained; null while undecided, and in the control.'),
      ('outcome_at', 'When that was settled (UTC).'), ('is_final', 'Whether it is the last of its wait; only those are counted.'),
      ('is_eligible', 'Whether a person replied, so that a draft could have been used.'), ('is_ready', 'Whether it was there before the reply.'),
      ('is_shown', 'Whether a person could see it before the reply, and it is known what became of it.'),
      ('is_used', 'Whether it was sent, as it was or changed.'), ('is_accepted', 'Whether it was sent verbatim or lightly edited.'),
      ('edit_distance', 'Characters changed between draft and reply; null while not measured.'),
      ('edit_ratio', 'That, divided by the longer of the two.'), ('edit_method', 'How it was measured: levenshtein, bit_parallel or words.'),
      ('draft_length', 'Characters of the draft as measured.'), ('sent_length', 'Characters of the reply as measured.'),
      ('seconds_to_draft', 'From the customer''s message to the draft.'),
      ('seconds_to_approve', 'From when it could be seen (in the queue alone: was made) to its approval; null when not approved.'),
      ('is_quick_approval', 'Whether that was under three seconds: less than reading takes. Null when not approved.'),
      ('reply_seconds', 'From the customer''s message to the reply.'), ('resolved_at', 'First resolve after the reply (UTC); null for none.'),
      ('reopened_at', 'When that was opened again (UTC); null for never.'), ('resolution_seconds', 'From the customer''s message to that resolve.'),
      ('is_reopened', 'Whether it was opened again within 72 hours of the resolve; null until those are over.'),
      ('csat_rating', 'Rating given after the reply, 1 to 5; null for none.'),
      ('excluded_as', 'Why it does not count: spam, test, imported, merged_child, deleted; null when it counts.'),
      ('by', 'What the row is for: account, category, gold_reply, agent, language or maker.'),
      ('value', 'Which one: a category, an id, a language, a maker; null for the account, and for none.'),
      ('name', 'Title of the gold reply or name of the agent; null for others.'), ('n_included', 'Waits counted, with a draft or an abstention.'),
      ('n_excluded', 'Waits not counted; analytics.drafts says why in excluded_as.'), ('n_undecided', 'Of those counted, not settled yet.'),
      ('drafts', 'Drafts made.'), ('shown', 'Drafts a person could see before the reply, of which it is known what became of them.'),
      ('eligible', 'Waits that a person''s reply ended.'), ('ready', 'Of those, with a draft before the reply.'),
      ('verbatim', 'Sent as they were.'), ('light', 'Sent with few changes.'), ('heavy', 'Sent with many changes.'),
      ('rewrite', 'Sent, but written anew.'), ('discarded', 'Seen and not used, or rejected.'),
      ('superseded', 'Overtaken before anybody could use them.'), ('expired', 'Never answered.'), ('abstained', 'No draft made, for want of confidence.'),
      ('accepted', 'Shown, and sent verbatim or lightly edited.'), ('used', 'Shown, and sent, as they were or changed.'),
      ('approved', 'Approved here.'), ('approved_quickly', 'Approved within three seconds: less than reading takes.'),
      ('edit_ratio_mean', 'Mean edit ratio of those used.'), ('edit_ratio_p50', 'Median edit ratio of those used.'),
      ('edit_ratio_weighted', 'Characters changed of all characters used.'),
      ('seconds_to_draft_p50', 'Median seconds from the customer''s message to the draft.'),
      ('seconds_to_approve_p50', 'Median seconds from when it could be seen to its approval.'),
      ('accepted_resolved', 'Accepted, and resolved at least 72 hours ago.'), ('own_resolved', 'Answered in own words, and resolved at least 72 hours ago.'),
      ('accepted_rated', 'Accepted, and rated by the customer afterwards.'), ('own_rated', 'Answered in own words, and rated afterwards.'),
      ('coverage', 'ready ÷ eligible.'), ('verbatim_rate', 'Sent as they were ÷ shown.'), ('acceptance', 'accepted ÷ shown.'),
      ('use_rate', 'used ÷ shown.'), ('reopen_rate_accepted', 'Share opened again within 72 hours ÷ accepted_resolved.'),
      ('reopen_rate_own', 'Share opened again within 72 hours ÷ own_resolved.'), ('csat_accepted', 'Share rated 4 or 5 ÷ accepted_rated.'),
      ('csat_own', 'Share rated 4 or 5 ÷ own_rated.'),
      ('shown_n', 'Replies with drafts made.'), ('hold_out_n', 'Replies in the control.'),
      ('shown_reply_seconds_p50', 'Median seconds from the customer''s message to the reply, with drafts.'),
      ('hold_out_reply_seconds_p50', 'The same in the control.'), ('seconds_saved', 'Control less with drafts; null under 30 a side.'),
      ('seconds_saved_low', 'Low end of its 95 % interval.'), ('seconds_saved_high', 'High end of its 95 % interval.'),
      ('shown_resolution_n', 'Resolved with drafts.'), ('hold_out_resolution_n', 'Resolved in the control.'),
      ('shown_resolution_seconds_p50', 'Median seconds from the customer''s message to the resolve, with drafts.'),
      ('hold_out_resolution_seconds_p50', 'The same in the control.'), ('since', 'Since when there has been a control (UTC).'),
      ('title', 'Title of the gold reply.'), ('version', 'The version that was suggested.'), ('is_current', 'Whether it is still the newest version.'),
      ('edited', 'Of those, changed before they were sent.'), ('rewritten', 'Of those, changed heavily or written anew.'),
      ('rewritten_rate', 'rewritten ÷ used.'),
      ('edits', 'The ten latest edits, newest first: draft_id, display_id, replied_at, outcome, edit_ratio, draft, sent.')
    )
    select columns.attrelid::regclass as view_name, columns.attname as name,
      coalesce(words.words, case when columns.attname like '%\_low' then 'Low end of its 95 % interval.'
        when columns.attname like '%\_high' then 'High end of its 95 % interval.' end) as words
    from pg_attribute as columns
    left join words on words.name = columns.attname
    where columns.attnum > 0 and columns.attrelid in ('analytics.drafts'::regclass, 'analytics.draft_performance'::regclass,
      'analytics.draft_hold_out'::regclass, 'analytics.gold_reply_edits'::regclass)
  loop
    execute format('comment on column %s.%I is %L', v_comment.view_name, v_comment.name, v_comment.words);
  end loop;
end
$$;
