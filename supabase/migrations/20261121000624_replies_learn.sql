-- Learning what became of a draft. What was really sent comes back through the mirror, and is held against what was
-- proposed: how many characters had to be changed. Everything here is worked out anew from what is known, so it ends the
-- same in whatever order, and however often, message, delivery state and the outbox's own record come in.
create extension if not exists fuzzystrmatch with schema extensions;

create function replies.sequence_distance(one text[], other text[]) returns integer
-- Myers' bit vectors in blocks, as Hyyrö wrote them down: a column of the table of distances is kept as the differences
-- from row to row, 62 rows in one integer, so that a sum never reaches the sign. Block by block over the whole text; from
-- one block to the next goes, for each column, only whether its lowest row differs by 1, 0 or -1 from the column before.
language plpgsql immutable security invoker set search_path = '' as $$
declare
  -- As many steps as blocks of the one times symbols of the other: whichever way round there are fewer.
  v_is_swapped boolean := (cardinality(one) + 61) / 62 * cardinality(other) > (cardinality(other) + 61) / 62 * cardinality(one);
  v_rows text[] := case when v_is_swapped then other else one end;
  v_columns text[] := case when v_is_swapped then one else other end;
  v_row_codes integer[];
  v_column_codes integer[];
  v_masks bigint[];
  -- For each column what comes from the block above: 1 for one more than the column before, 2 for one less.
  v_carries bigint[];
  v_carry bigint;
  v_first integer;
  v_size integer;
  v_full bigint;
  v_same bigint;
  v_more bigint;
  v_less bigint;
  v_x bigint;
  v_more_across bigint;
  v_less_across bigint;
begin
  if cardinality(v_rows) = 0 or cardinality(v_columns) = 0 then
    return greatest(cardinality(v_rows), cardinality(v_columns));
  end if;
  with symbols as materialized (
    select told.symbol, row_number() over () as code
    from (select distinct rows.symbol from unnest(v_rows) as rows (symbol)) as told
  )
  select
    (select array_agg(symbols.code order by rows.number) from unnest(v_rows) with ordinality as rows (symbol, number)
      join symbols on symbols.symbol = rows.symbol),
    -- What does not occur in the rows gets a code of its own, which no row has.
    (select array_agg(coalesce(symbols.code, cardinality(v_rows) + 1) order by columns.number)
      from unnest(v_columns) with ordinality as columns (symbol, number)
      left join symbols on symbols.symbol = columns.symbol)
  into v_row_codes, v_column_codes;
  v_masks := array_fill(0::bigint, array[cardinality(v_rows) + 1]);
  v_carries := array_fill(1::bigint, array[cardinality(v_columns)]);
  for v_block in 0..(cardinality(v_rows) - 1) / 62 loop
    v_first := v_block * 62;
    v_size := least(62, cardinality(v_rows) - v_first);
    v_full := (1::bigint << v_size) - 1;
    for v_row in 1..v_size loop
      v_masks[v_row_codes[v_first + v_row]] := v_masks[v_row_codes[v_first + v_row]] | (1::bigint << (v_row - 1));
    end loop;
    v_more := v_full;
    v_less := 0;
    for v_column in 1..cardinality(v_columns) loop
      v_carry := v_carries[v_column];
      v_same := v_masks[v_column_codes[v_column]];
      v_x := v_same | v_less;
      v_same := v_same | (v_carry >> 1);
      v_same := (((v_same & v_more) + v_more) # v_more) | v_same;
      v_more_across := v_less | (~(v_same | v_more) & v_full);
      v_less_across := v_more & v_same;
      v_carries[v_column] := ((v_more_across >> (v_size - 1)) & 1) | (((v_less_across >> (v_size - 1)) & 1) << 1);
      v_more_across := ((v_more_across << 1) | (v_carry & 1)) & v_full;
      v_more := ((v_less_across << 1) | (v_carry >> 1) | ~(v_x | v_more_across)) & v_full;
      v_less := v_more_across & v_x;
    end loop;
    for v_row in 1..v_size loop
      v_masks[v_row_codes[v_first + v_row]] := 0;
    end loop;
  end loop;
  return cardinality(v_rows) + (select count(*) filter (where carries.carry = 1) - count(*) filter (where carries.carry = 2)
    from unnest(v_carries) as carries (carry));
end
$$;
comment on function replies.sequence_distance is
  'Levenshtein distance of two sequences of any length, exactly: how many elements must be inserted, deleted or replaced.';

create function replies.common_beginning(one text, other text) returns integer
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_low integer := 0;
  v_high integer := least(length(common_beginning.one), length(common_beginning.other));
  v_middle integer;
begin
  -- By halves, since comparing long pieces is one instruction to the database and walking them is thousands.
  while v_low < v_high loop
    v_middle := (v_low + v_high + 1) / 2;
    if left(common_beginning.one, v_middle) = left(common_beginning.other, v_middle) then
      v_low := v_middle;
    else
      v_high := v_middle - 1;
    end if;
  end loop;
  return v_low;
end
$$;
comment on function replies.common_beginning is 'How many characters two texts begin with alike.';

create function replies.edit_distance(
  one text, other text, short_only boolean default false, out distance integer, out method text
)
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_one text := coalesce(edit_distance.one, '');
  v_other text := coalesce(edit_distance.other, '');
  v_longest integer := greatest(length(v_one), length(v_other));
  v_alike integer;
  v_words_one text[];
  v_words_other text[];
begin
  v_alike := replies.common_beginning(v_one, v_other);
  v_one := substr(v_one, v_alike + 1);
  v_other := substr(v_other, v_alike + 1);
  v_alike := replies.common_beginning(reverse(v_one), reverse(v_other));
  v_one := left(v_one, length(v_one) - v_alike);
  v_other := left(v_other, length(v_other) - v_alike);
  if greatest(length(v_one), length(v_other)) <= 255 then
    distance := extensions.levenshtein(v_one, v_other);
    method := 'levenshtein';
  elsif edit_distance.short_only then
    return;
  elsif greatest(length(v_one), length(v_other)) <= 10000 then
    distance := replies.sequence_distance(string_to_array(v_one, null), string_to_array(v_other, null));
    method := 'bit_parallel';
  else
    v_words_one := regexp_split_to_array(coalesce(edit_distance.one, ''), '\s+');
    v_words_other := regexp_split_to_array(coalesce(edit_distance.other, ''), '\s+');
    -- The share of words that differ, as characters: so that every distance is one of characters.
    distance := round(replies.sequence_distance(v_words_one, v_words_other)::numeric * v_longest
      / greatest(cardinality(v_words_one), cardinality(v_words_other)));
    method := 'words';
  end if;
end
$$;
comment on function replies.edit_distance is
  'Characters (code points) that must be inserted, deleted or replaced to make the one of the other. Exact while no more than 10000 remain between their common beginning and end: by Postgres'' own levenshtein up to 255 (method levenshtein), else by bit vectors (bit_parallel). Of longer ones words are compared and their share is counted in characters (words). short_only: null where it would take longer than a millisecond.';

create function replies.is_phrase(line text, phrase text, needs_name boolean default false) returns boolean
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_name text;
begin
  if length(is_phrase.line) > 60 or is_phrase.line !~* is_phrase.phrase then
    return false;
  end if;
  v_name := btrim(regexp_replace(is_phrase.line, is_phrase.phrase, '', 'i'), ' ,.!:،-–—');
  if v_name = '' then
    return not is_phrase.needs_name;
  end if;
  -- Names begin with a capital, or are of a script without; everything else on the line is something said.
  return v_name !~ '[0-9?؟!,;:،]' and cardinality(string_to_array(v_name, ' ')) <= 4 and not exists (
    select from unnest(string_to_array(v_name, ' ')) as words (word)
    where left(words.word, 1) <> upper(left(words.word, 1)) and words.word <> all (array['there', 'all', 'everyone', 'team',
      'again', 'customer', 'friend', 'sir', 'madam', 'or', 'and', 'und', 'zusammen', 'kunde', 'y', 'e', 'et', 'de', 'la', 'le',
      'von', 'van', 'der', 'den', 'da', 'dos', 'cliente', 'your', 'from', 'the']));
end
$$;
comment on function replies.is_phrase is
  'Whether a line says nothing but the phrase (a regular expression for its beginning), at most with a name after it.';

create function replies.normalise(given text, names text[] default '{}') returns text
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_blank constant text := '[\s\u0085\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]+';
  v_greeting constant text := '^(hi|hello|hey|dear|greetings|good (morning|afternoon|evening|day)|hallo|moin|servus|guten (tag|morgen|abend)|sehr geehrter?|liebe[rs]?|bonjour|bonsoir|salut|ch[eè]re?|hola|buenos días|buenas (tardes|noches)|estimad[oa]|querid[oa]|olá|bom dia|boa (tarde|noite)|prezad[oa]|ciao|buongiorno|buonasera|gentile|beste|geachte|goedemorgen|goedemiddag|مرحبًا|مرحبا|أهلاً|أهلا|السلام عليكم|عزيزتي|عزيزي)(?=[ ,!.:،]|$)';
  v_closing constant text := '^((with )?((best|kind|kindest|warm|warmest) )?regards|best wishes|all the best|(yours )?sincerely( yours)?|yours (faithfully|truly)|mit (freundlichen grüßen|freundlichem gruß)|(viele|beste|liebe|freundliche|herzliche) grüße|mfg|(bien )?cordialement|bien à vous|(un )?saludos?( cordiale?s?)?|atentamente|atenciosamente|(cordiali|distinti) saluti|met vriendelijke groet(en)?|مع خالص التحية|مع التحية|تحياتي)(?=[ ,!.،]|$)';
  -- These also stand within what is said: only where a comma and somebody's name follow.
  v_weak_closing constant text := '^(thanks( again)?|thank you|many thanks|cheers|best|danke|vielen dank|merci|gracias|obrigad[oa]|grazie|شكراً|شكرا)[,،]';
  -- What looks the same is the same.
  v_all text[] := array(
    select trimmed.line
    from regexp_split_to_table(normalize(coalesce(normalise.given, ''), nfc), '\r\n?|\n') with ordinality as lines (line, number)
    cross join lateral (select btrim(regexp_replace(lines.line, v_blank, ' ', 'g')) as line) as trimmed
    where trimmed.line <> '' order by lines.number);
  v_lines text[] := v_all;
  v_rest text[];
  v_from integer := array_position(v_all, '--');
begin
  -- The usual mark of a signature: two hyphens on a line of their own.
  if v_from is not null then
    v_lines := v_lines[:v_from - 1];
  end if;
  -- A closing, and at most four short lines after it: name, role, firm, telephone.
  for v_number in reverse cardinality(v_lines)..greatest(cardinality(v_lines) - 4, 2) loop
    v_rest := v_lines[v_number + 1:];
    if not exists (select from unnest(v_rest) as rest (line) where length(rest.line) > 60 or rest.line ~ '[?؟]')
      and (replies.is_phrase(v_lines[v_number], v_closing)
        or replies.is_phrase(v_lines[v_number], v_weak_closing, true)
        or (replies.is_phrase(v_lines[v_number], v_weak_closing) and replies.is_phrase(v_rest[1], '^', true)))
    then
      v_lines := v_lines[:v_number - 1];
      exit;
    end if;
  end loop;
  -- Whoever wrote it, alone on the last line.
  while cardinality(v_lines) > 1 and exists (
    select from unnest(normalise.names) as known (name)
    where known.name <> '' and lower(btrim(v_lines[cardinality(v_lines)], ' ,.-–—')) = lower(btrim(normalize(known.name, nfc))))
  loop
    v_lines := v_lines[:cardinality(v_lines) - 1];
  end loop;
  -- A greeting alone on the first line. Within a sentence it is part of what is said, and stays.
  if replies.is_phrase(v_lines[1], v_greeting) then
    v_lines := v_lines[2:];
  end if;
  -- What is nothing but greeting and signature is compared as it is.
  return array_to_string(case when cardinality(v_lines) = 0 then v_all else v_lines end, ' ');
end
$$;
comment on function replies.normalise is
  'A reply as it is compared: trimmed, white space collapsed, without a greeting that stands alone on the first line ("Hi Ana,") and without a signature (from "--" on, a closing such as "Best regards," with what follows, or one of the names alone on the last line).';

create function replies.classify(ratio double precision, light_below double precision default 0.40) returns text
language sql immutable security invoker set search_path = '' as $$
  select case when classify.ratio <= 0.01 then 'verbatim' when classify.ratio < classify.light_below then 'light'
    when classify.ratio < 0.75 then 'heavy' when classify.ratio >= 0.75 then 'rewrite' end
$$;
comment on function replies.classify is
  'verbatim up to 0.01, light below light_below (setting draft_light_percent), heavy below 0.75, else rewrite; null for no ratio.';

-- What became of it, beside what the room keeps of a draft anyway.
alter table replies.drafts
  add column resolved_at timestamptz,
  add column reopened_at timestamptz,
  add column csat_rating smallint,
  add column excluded_as text,
  add column measured_of uuid,
  -- As a number, so that what a gold reply's counters hold already is one number beside it.
  add column counts smallint generated always as (case when state = 'held_out' then 0 else
    (case when shown_at is not null then 1 else 0 end)
    + (case when outcome in ('verbatim', 'light', 'heavy', 'rewrite') then
      2 + (case when outcome <> 'verbatim' then 4 else 0 end) + (case when reopened_at is not null then 8 else 0 end) else 0 end)
    end) stored,
  add column counted smallint not null default 0;
comment on column replies.drafts.reply_agent_id is 'Who answered (chatwoot.agents of kind user): of a draft that was sent its approver, where the e-mail addresses agree, else the author of the reply; null while unknown.';
comment on column replies.drafts.resolved_at is 'First resolve after the reply in the same episode (UTC); null for none.';
comment on column replies.drafts.reopened_at is 'When that was first opened again (UTC); null for never.';
comment on column replies.drafts.csat_rating is 'Rating that the customer gave after the reply, 1 to 5; null for none.';
comment on column replies.drafts.excluded_as is 'Why it does not count: spam, test, imported, merged_child, deleted; null when it counts.';
comment on column replies.drafts.measured_of is 'Fingerprint of the two texts measured, so that the same are not measured twice; null for none.';
comment on column replies.drafts.counts is 'What it adds to its gold reply''s counters: 1 shown, 2 used, 4 edited, 8 opened again, as a sum.';
comment on column replies.drafts.counted is 'What of that the gold reply''s counters hold already.';
create index drafts_uncounted_idx on replies.drafts (account_id, gold_reply_id) where counts <> counted and gold_reply_id is not null;
-- Neither begins with account_id, and they are asked with account_id + 0: to a planner without statistics the primary key
-- looks as good, and then every look at one conversation would read all drafts of the account.
create index drafts_conversation_idx on replies.drafts (display_id, account_id, draft_id);
create index drafts_reply_idx on replies.drafts (reply_message_id, account_id) where reply_message_id is not null;

create table replies.measures_due (
  account_id bigint not null,
  draft_id bigint not null,
  display_id bigint not null,
  fingerprint uuid not null,
  draft_text text not null,
  sent_text text not null,
  due_since timestamptz not null,
  constraint measures_due_pkey primary key (account_id, draft_id),
  constraint measures_due_draft_fkey foreign key (account_id, draft_id)
    references replies.drafts (account_id, draft_id) on delete cascade
);
comment on table replies.measures_due is 'Long texts whose distance is yet to be measured: too much for the transaction of a webhook.';
comment on column replies.measures_due.account_id is 'Chatwoot''s account id.';
comment on column replies.measures_due.draft_id is 'Number of the draft.';
comment on column replies.measures_due.display_id is 'The conversation''s number in its account.';
comment on column replies.measures_due.fingerprint is 'Tells which two texts these are.';
comment on column replies.measures_due.draft_text is 'The draft as it is compared.';
comment on column replies.measures_due.sent_text is 'The reply as it is compared.';
comment on column replies.measures_due.due_since is 'When it was put here (UTC).';
create index measures_due_since_idx on replies.measures_due (due_since);
-- And no policy: only the room itself reads it.
alter table replies.measures_due enable row level security;

create function replies.agent_of(account_id bigint, actor text) returns bigint
language plpgsql stable security invoker set search_path = '' as $$
begin
  if agent_of.actor !~ '^user:[0-9a-f-]{36}$' then
    return null;
  end if;
  return (select agents.agent_id
    from auth.users
    join chatwoot.agents on agents.account_id = agent_of.account_id and agents.kind = 'user' and lower(agents.email) = lower(users.email)
    where users.id = substr(agent_of.actor, 6)::uuid
    order by agents.deleted_at is not null, agents.agent_id limit 1);
end
$$;
comment on function replies.agent_of is 'The agent in Chatwoot with the same e-mail address as this actor (user:<uuid>); null for none.';

create function replies.learn(account_id bigint, display_id bigint, as_of timestamptz default now()) returns integer
language plpgsql volatile security invoker set search_path = ''
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  v_light double precision;
  v_displays bigint[];
  v_told record;
  v_now replies.drafts;
  v_changed integer := 0;
  v_agent chatwoot.agents;
  v_names text[];
  v_is_over boolean;
  v_is_shown boolean;
  v_draft text;
  v_sent text;
  v_fingerprint uuid;
  v_conversation_excluded_as text;
begin
  -- Whoever comes second waits here, and then sees what the first one saw too.
  perform from replies.drafts where drafts.account_id + 0 = learn.account_id and drafts.display_id = learn.display_id
  order by drafts.draft_id for no key update;
  if not found then
    return 0;
  end if;
  v_light := (ops.setting(learn.account_id, 'draft_light_percent') #>> '{}')::double precision / 100;
  -- Of what was merged into it the messages count here.
  v_displays := array(select learn.display_id union all select merges.child_display_id from ledger.merges
    where merges.account_id = learn.account_id and merges.parent_display_id = learn.display_id);
  v_conversation_excluded_as := case
    when exists (select from ledger.merges where merges.account_id = learn.account_id
      and merges.child_display_id = learn.display_id and merges.merged_at <= learn.as_of) then 'merged_child'
    when exists (select from chatwoot.conversations as mirrored where mirrored.account_id = learn.account_id
      and mirrored.display_id = learn.display_id and mirrored.deleted_at is not null) then 'deleted' end;
  for v_told in
    with asked as materialized (
      select drafts as draft, drafts.account_id, drafts.display_id, drafts.draft_id, drafts.state, drafts.action_id,
        drafts.customer_message_id, coalesce(customers.created_at, drafts.customer_message_at) as asked_at
      from replies.drafts
      left join lateral (
        select messages.created_at from chatwoot.messages
        where messages.account_id = drafts.account_id and messages.message_id = drafts.customer_message_id limit 1
      ) as customers on true
      where drafts.account_id + 0 = learn.account_id and drafts.display_id = learn.display_id
      -- What lies further back in an endless thread has long been settled.
      order by drafts.draft_id desc limit 100
    ), placed as materialized (
      select asked.*, waits.episode as wait_episode, waits.number as wait_number, waits.ended_at, waits.closed_as,
        closing.message_id as own_message_id, closing.created_at as own_at, closing.content as own_content,
        closing.agent_id as own_agent_id, sent.message_id as sent_message_id, sent.created_at as sent_at,
        sent.content as sent_content, sent.agent_id as sent_agent_id
      from asked
      left join lateral (
        -- The wait that the customer's message is part of. Of one instant the ids say what came first.
        select spans.episode, spans.number, spans.ended_at, spans.closed_as, closings.place as closing_message_id
        from ledger.spans
        left join ledger.events as openings on openings.account_id = spans.account_id
          and openings.display_id = any (v_displays) and openings.event_id = spans.opened_by
        left join ledger.events as closings on closings.account_id = spans.account_id
          and closings.display_id = any (v_displays) and closings.event_id = spans.closed_by and closings.kind = 'message'
        where spans.account_id = asked.account_id and spans.display_id = asked.display_id and spans.kind = 'wait'
          and spans.started_at <= asked.asked_at and (spans.ended_at is null or spans.ended_at >= asked.asked_at)
          and not coalesce(spans.started_at = asked.asked_at and openings.place > asked.customer_message_id, false)
          and not coalesce(spans.ended_at = asked.asked_at and closings.place < asked.customer_message_id, false)
        order by spans.episode desc, spans.number desc limit 1
      ) as waits on true
      left join lateral (
        select messages.message_id, messages.created_at, case when messages.deleted_at is null then messages.content end as content,
          case when messages.sender_kind = 'user' then messages.sender_id end as agent_id
        from chatwoot.messages
        where messages.account_id = asked.account_id and messages.message_id = waits.closing_message_id limit 1
      ) as closing on true
      left join lateral (
        select told.mark, told.message_id, told.arguments from actions.outbox as told
        where told.account_id = asked.account_id and told.display_id = asked.display_id and told.action_id = asked.action_id limit 1
      ) as outbox on true
      left join lateral (
        select messages.message_id, messages.created_at,
          -- What was deleted since was sent all the same, and the outbox knows its words.
          case when messages.deleted_at is null then messages.content else outbox.arguments ->> 'content' end as content,
          case when messages.sender_kind = 'user' then messages.sender_id end as agent_id
        from (
          select told.* from chatwoot.messages as told
          where told.account_id = asked.account_id and told.message_id = outbox.message_id
          union all
          -- The message may be here before the dispatcher's own record of it.
          select told.* from chatwoot.messages as told
          where outbox.message_id is null and told.conversation_display_id = asked.display_id
            and told.account_id = asked.account_id and told.created_at >= asked.asked_at
            and told.content_attributes ->> 'occ_action' = outbox.mark::text
        ) as messages
        where messages.private is not true and messages.delivery_status is distinct from 'failed'
        order by messages.message_id limit 1
      ) as sent on true
    )
    select placed.*,
      placed.wait_number is null or row_number() over (
        partition by placed.wait_episode, placed.wait_number
        order by placed.sent_message_id is not null desc, placed.state in ('approved', 'sent') desc, placed.asked_at desc, placed.customer_message_id desc,
          -- What another one took the place of; then a maker that had nothing to say beside one that had.
          placed.state = 'superseded' and (placed.draft).reason in ('customer_wrote', 'message_changed', 'proposed_again', 'overridden'),
          placed.state = 'abstained', placed.draft_id desc) = 1 as is_last
    from placed
    order by placed.draft_id
  loop
    v_now := v_told.draft;
    v_is_over := v_told.sent_message_id is not null or v_told.ended_at is not null;
    v_now.is_final := v_told.is_last;
    v_now.reply_message_id := coalesce(v_told.sent_message_id, v_told.own_message_id);
    v_now.replied_at := case when v_told.sent_message_id is not null then v_told.sent_at
      when v_told.closed_as = 'reply' then coalesce(v_told.own_at, v_told.ended_at) end;
    v_now.reply_agent_id := case when v_told.sent_message_id is not null
      then coalesce(replies.agent_of(learn.account_id, v_now.decided_by), v_told.sent_agent_id) else v_told.own_agent_id end;
    -- Chatwoot tells whole seconds at times, cut and not rounded.
    v_is_shown := coalesce(v_now.shown_at - v_now.replied_at < interval '1 second', false);
    v_sent := case when v_now.state in ('abstained', 'held_out', 'rejected') then null
      when v_told.sent_message_id is not null then v_told.sent_content
      when v_now.is_final and v_is_shown then v_told.own_content end;

    v_now.edit_distance := null;
    v_now.edit_ratio := null;
    v_now.edit_method := null;
    v_now.draft_length := null;
    v_now.sent_length := null;
    v_now.measured_of := null;
    if v_sent is not null then
      v_agent := null;
      select agents.* into v_agent from chatwoot.agents
      where agents.account_id = learn.account_id and agents.kind = 'user' and agents.agent_id = v_now.reply_agent_id;
      v_names := array_remove(array[v_agent.name, v_agent.available_name], null);
      v_draft := v_now.body;
      -- What only became known with the answer, such as who gives it, is no edit.
      if v_now.missing <> '{}' then
        v_draft := (replies.render(learn.account_id, learn.display_id, v_draft, coalesce(v_agent.available_name, v_agent.name))).text;
      end if;
      v_fingerprint := md5(to_jsonb(array[v_draft, v_sent] || v_names)::text)::uuid;
      if v_fingerprint = (v_told.draft).measured_of and (v_told.draft).edit_ratio is not null then
        v_now.edit_distance := (v_told.draft).edit_distance;
        v_now.edit_ratio := (v_told.draft).edit_ratio;
        v_now.edit_method := (v_told.draft).edit_method;
        v_now.draft_length := (v_told.draft).draft_length;
        v_now.sent_length := (v_told.draft).sent_length;
        v_now.measured_of := v_fingerprint;
      else
        v_draft := replies.normalise(v_draft, v_names);
        -- A draft has at most 10,000 characters: what is five times as long is written anew, whatever the rest says.
        v_sent := replies.normalise(left(v_sent, 50000), v_names);
        select measured.distance, measured.method into v_now.edit_distance, v_now.edit_method
        from replies.edit_distance(v_draft, v_sent, true) as measured;
        if v_now.edit_distance is null then
          insert into replies.measures_due as existing (account_id, draft_id, display_id, fingerprint, draft_text, sent_text, due_since)
          values (learn.account_id, v_now.draft_id, learn.display_id, v_fingerprint, v_draft, v_sent, learn.as_of)
          on conflict on constraint measures_due_pkey do update
          set fingerprint = excluded.fingerprint, draft_text = excluded.draft_text, sent_text = excluded.sent_text
          where existing.fingerprint <> excluded.fingerprint;
        else
          v_now.measured_of := v_fingerprint;
          v_now.draft_length := length(v_draft);
          v_now.sent_length := length(v_sent);
          v_now.edit_ratio := v_now.edit_distance::double precision / greatest(length(v_draft), length(v_sent), 1);
        end if;
      end if;
    end if;

    v_now.outcome := case
      when v_now.state = 'held_out' then null
      when v_now.state = 'abstained' then 'abstained'
      when v_told.sent_message_id is not null then replies.classify(v_now.edit_ratio, v_light)
      when v_now.state = 'rejected' then 'discarded'
      when not v_now.is_final then 'superseded'
      when v_told.closed_as = 'reply' and not v_is_shown then 'superseded'
      when v_told.closed_as = 'reply' and v_sent is not null and v_now.edit_ratio is null then null
      -- Whoever saw it and wrote much the same has used it, copied from the note. Of replies that have nothing to do with
      -- each other one in ten differs by less than 0.75, one in five hundred by less than 0.65.
      when v_told.closed_as = 'reply' and v_now.edit_ratio < 0.65 then replies.classify(v_now.edit_ratio, v_light)
      when v_told.closed_as = 'reply' then 'discarded'
      when v_told.closed_as is not null then 'expired'
      when v_now.state in ('expired', 'superseded') then v_now.state end;
    -- Settled when nothing more is waited for; until then it is looked at whenever the conversation moves.
    v_now.outcome_at := case when not v_is_over or (v_now.outcome is null and v_now.state <> 'held_out') then null
      when v_now.outcome is not distinct from (v_told.draft).outcome then coalesce((v_told.draft).outcome_at, learn.as_of)
      else learn.as_of end;

    select case when episodes.last_resolved_at >= v_now.replied_at then episodes.last_resolved_at end,
      case when episodes.csat_answered_at > v_now.replied_at then episodes.csat_rating end,
      case when episodes.labels::jsonb ? 'spam' then 'spam' when episodes.labels::jsonb ? 'test' then 'test'
        when episodes.labels::jsonb ? 'imported' then 'imported' else v_conversation_excluded_as end
    into v_now.resolved_at, v_now.csat_rating, v_now.excluded_as
    from ledger.episodes
    where episodes.account_id = learn.account_id and episodes.display_id = learn.display_id
      and episodes.episode >= coalesce(v_told.wait_episode, v_now.episode)
    order by episodes.episode limit 1;
    v_now.excluded_as := coalesce(v_now.excluded_as, v_conversation_excluded_as);
    v_now.reopened_at := null;
    if v_now.resolved_at is not null then
      select least(v_now.resolved_at, min(states.started_at)), min(states.ended_at) into v_now.resolved_at, v_now.reopened_at
      from ledger.spans as states
      where states.account_id = learn.account_id and states.display_id = learn.display_id
        and states.episode = coalesce(v_told.wait_episode, v_now.episode) and states.kind = 'state'
        and states.value = 'resolved' and states.started_at >= v_now.replied_at;
    end if;

    update replies.drafts as existing set is_final = v_now.is_final, reply_message_id = v_now.reply_message_id,
      replied_at = v_now.replied_at, reply_agent_id = v_now.reply_agent_id, edit_distance = v_now.edit_distance,
      edit_ratio = v_now.edit_ratio, edit_method = v_now.edit_method, draft_length = v_now.draft_length,
      sent_length = v_now.sent_length, measured_of = v_now.measured_of, outcome = v_now.outcome, outcome_at = v_now.outcome_at,
      resolved_at = v_now.resolved_at, reopened_at = v_now.reopened_at, csat_rating = v_now.csat_rating,
      excluded_as = v_now.excluded_as
    where existing.account_id = learn.account_id and existing.draft_id = v_now.draft_id
      and (existing.is_final, existing.reply_message_id, existing.replied_at, existing.reply_agent_id, existing.edit_distance,
        existing.edit_ratio, existing.edit_method, existing.draft_length, existing.sent_length, existing.measured_of,
        existing.outcome, existing.outcome_at, existing.resolved_at, existing.reopened_at, existing.csat_rating, existing.excluded_as)
      is distinct from (v_now.is_final, v_now.reply_message_id, v_now.replied_at, v_now.reply_agent_id, v_now.edit_distance,
        v_now.edit_ratio, v_now.edit_method, v_now.draft_length, v_now.sent_length, v_now.measured_of, v_now.outcome,
        v_now.outcome_at, v_now.resolved_at, v_now.reopened_at, v_now.csat_rating, v_now.excluded_as);
    v_changed := v_changed + found::integer;
  end loop;
  return v_changed;
end
$$;
comment on function replies.learn is
  'Works out anew what became of the newest hundred drafts of a conversation, from the ledger, the outbox and the messages; returns how many changed. Long texts are left to replies.tick.';

create function replies.try_to_learn(account_id bigint, display_id bigint) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_problem text;
begin
  perform replies.learn(try_to_learn.account_id, try_to_learn.display_id);
exception when others then
  -- What is being told is kept, whatever becomes of the figures.
  get stacked diagnostics v_problem = message_text;
  perform ops.raise_alert(try_to_learn.account_id, 'replies.learn_failed', 'conversation ' || try_to_learn.display_id, v_problem,
    'Once mended: select replies.learn(account_id, display_id).');
end
$$;
comment on function replies.try_to_learn is 'replies.learn, with an alert in place of an error.';

create function replies.tg_reply_changed() returns trigger
-- A text that changes or is deleted moves no number of the ledger, so nobody else looks at the conversation.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from replies.drafts where drafts.account_id + 0 = new.account_id and drafts.reply_message_id = new.message_id) then
    perform replies.try_to_learn(new.account_id, new.conversation_display_id);
  end if;
  return null;
end
$$;
comment on function replies.tg_reply_changed is 'Trigger: learns again from a reply whose text was changed or deleted.';
create trigger learn_from_changed_replies after update on chatwoot.messages
for each row when (new.message_type = 'outgoing'
  and (old.content is distinct from new.content or (old.deleted_at is null) <> (new.deleted_at is null)))
execute function replies.tg_reply_changed();

create function replies.tg_conversation_refreshed() returns trigger
-- What is settled may be so no longer: an earlier reply comes in late, a delivery fails, the conversation is opened again.
language plpgsql volatile security invoker set search_path = '' as $$
begin
  if exists (select from replies.drafts where drafts.account_id + 0 = new.account_id and drafts.display_id = new.display_id
    and drafts.outcome_at is not null)
  then
    perform replies.try_to_learn(new.account_id, new.display_id);
  end if;
  return null;
end
$$;
comment on function replies.tg_conversation_refreshed is 'Trigger: learns again from a conversation whose spans were made anew.';
-- The last thing that a refresh writes of the ledger itself.
create trigger learn_from_refreshed after update of refreshed_at on ledger.conversations
for each row execute function replies.tg_conversation_refreshed();

create function replies.tg_action_settled() returns trigger
language plpgsql volatile security invoker set search_path = '' as $$
begin
  perform replies.try_to_learn(new.account_id, new.display_id);
  return null;
end
$$;
comment on function replies.tg_action_settled is 'Trigger: learns from what the outbox says of a draft, since its message may have come in before.';
-- Named so that it fires after what sets the state of the draft: triggers of one event fire by name.
create trigger then_learn_from_settled after update of state, message_id on actions.outbox
for each row when (new.source like 'draft:%' and (new.state, new.message_id) is distinct from (old.state, old.message_id))
execute function replies.tg_action_settled();

create function replies.count_drafts(batch_size integer default 1000) returns integer
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_counted integer;
begin
  with due as materialized (
    select drafts.account_id, drafts.draft_id, drafts.gold_reply_id, drafts.counts, drafts.counted from replies.drafts
    where drafts.counts <> drafts.counted and drafts.gold_reply_id is not null
    limit count_drafts.batch_size for no key update skip locked
  ), sums as (
    select due.account_id, due.gold_reply_id, sum((due.counts & 1) - (due.counted & 1)) as shown,
      sum((due.counts >> 1 & 1) - (due.counted >> 1 & 1)) as used, sum((due.counts >> 2 & 1) - (due.counted >> 2 & 1)) as edited,
      sum((due.counts >> 3 & 1) - (due.counted >> 3 & 1)) as reopened
    from due group by due.account_id, due.gold_reply_id
  ), added as (
    update replies.gold_replies as existing set shown = existing.shown + sums.shown, used = existing.used + sums.used,
      edited = existing.edited + sums.edited, reopened = existing.reopened + sums.reopened
    from sums where existing.account_id = sums.account_id and existing.gold_reply_id = sums.gold_reply_id
  )
  update replies.drafts as existing set counted = due.counts
  from due where existing.account_id = due.account_id and existing.draft_id = due.draft_id;
  get diagnostics v_counted = row_count;
  return v_counted;
end
$$;
comment on function replies.count_drafts is
  'Adds to the counters of gold replies what changed on a batch of drafts; returns how many. Each is counted once, however often this runs.';

create procedure replies.tick(as_of timestamptz default null, budget interval default '45 seconds')
-- No SET clause: a procedure that commits cannot have one.
language plpgsql as $$
declare
  v_end timestamptz := pg_catalog.clock_timestamp() + tick.budget;
  v_due replies.measures_due;
  v_measured record;
begin
  loop
    -- Of the transaction, since one of the session would outlive a tick that is stopped.
    exit when not pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('replies.tick', 0));
    select due.* into v_due from replies.measures_due as due order by due.due_since limit 1;
    exit when not found;
    -- Before anything is locked, since it may take a second and webhooks of the conversation must not wait for it.
    select told.distance, told.method into v_measured from replies.edit_distance(v_due.draft_text, v_due.sent_text) as told;
    perform replies.lock_drafts(v_due.account_id, v_due.display_id);
    update replies.drafts as existing set edit_distance = v_measured.distance, edit_method = v_measured.method,
      draft_length = pg_catalog.length(v_due.draft_text), sent_length = pg_catalog.length(v_due.sent_text),
      edit_ratio = v_measured.distance::double precision
        / greatest(pg_catalog.length(v_due.draft_text), pg_catalog.length(v_due.sent_text), 1),
      measured_of = v_due.fingerprint
    where existing.account_id = v_due.account_id and existing.draft_id = v_due.draft_id;
    delete from replies.measures_due as due where due.account_id = v_due.account_id and due.draft_id = v_due.draft_id
      and due.fingerprint = v_due.fingerprint;
    perform replies.learn(v_due.account_id, v_due.display_id, coalesce(tick.as_of, pg_catalog.now()));
    commit;
    exit when pg_catalog.clock_timestamp() >= v_end;
  end loop;
  commit;
  perform replies.expire_drafts(coalesce(tick.as_of, pg_catalog.now()));
  commit;
  loop
    exit when replies.count_drafts() = 0;
    commit;
    exit when pg_catalog.clock_timestamp() >= v_end;
  end loop;
end
$$;
comment on procedure replies.tick is
  'For cron: measures long texts, withdraws drafts that nobody decided on, counts for the gold replies; in batches, with a commit after each.';

do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select functions.oid::regprocedure from pg_proc as functions
    where functions.pronamespace = 'replies'::regnamespace
      and functions.proname = any (array['sequence_distance', 'common_beginning', 'edit_distance', 'is_phrase', 'normalise',
        'classify', 'agent_of', 'learn', 'try_to_learn', 'tg_reply_changed', 'tg_conversation_refreshed', 'tg_action_settled', 'count_drafts'])
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
  revoke all on procedure replies.tick from public, anon, authenticated, service_role;
end
$$;
