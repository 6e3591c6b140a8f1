-- Which gold reply answers a customer. Words are brought to their stems in the language they are written in, words that
-- mean the same in a shop ("parcel", "package") to one concept, and each weighs the more the fewer gold replies hold it.
-- What was written is then compared with whole questions, since a reply that shares a few words with a long mail is no
-- answer to it. All of it runs on what is stored when a gold reply is saved, so that a customer waits for index lookups
-- alone; and nothing that a customer writes is ever read as a query, a pattern or a tag.

create table replies.concepts (
  language text not null,
  word text not null,
  concept text,
  constraint concepts_pkey primary key (language, word)
);
comment on table replies.concepts is 'Words that mean the same to a shop: reference data, the same for every account.';
comment on column replies.concepts.language is 'Language of the word, an ISO 639 code.';
comment on column replies.concepts.word is 'The stem of the word, or the stems of two words that follow one another.';
comment on column replies.concepts.concept is 'What it means, # and a word, or ! and a word where no reply at hand will do unless it speaks of that itself; null when it says nothing, such as a greeting.';
create index concepts_beginning_idx on replies.concepts (language, left(word, 1));
alter table replies.concepts enable row level security;

create table replies.term_frequencies (
  account_id bigint not null,
  language text not null,
  term text not null,
  documents integer not null,
  constraint term_frequencies_pkey primary key (account_id, language, term)
);
comment on table replies.term_frequencies is 'How many approved gold replies of a language hold a term, kept as they change: what is rare tells more.';
comment on column replies.term_frequencies.account_id is 'Chatwoot''s account id.';
comment on column replies.term_frequencies.language is 'Language of the gold replies.';
comment on column replies.term_frequencies.term is 'A stem or a concept; the empty text counts the gold replies themselves.';
comment on column replies.term_frequencies.documents is 'How many approved gold replies hold it.';
create index term_frequencies_term_idx on replies.term_frequencies using gin (term extensions.gin_trgm_ops);
alter table replies.term_frequencies enable row level security;

create function replies.ranker_version() returns text
language sql immutable parallel safe security invoker set search_path = '' as $$ select 'retrieval-1' $$;
comment on function replies.ranker_version is 'Version of the ranking: what a score meant when it was given.';

create function replies.stem_dictionary(language text) returns regdictionary
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case stem_dictionary.language
    when 'en' then 'pg_catalog.english_stem' when 'de' then 'pg_catalog.german_stem'
    when 'fr' then 'pg_catalog.french_stem' when 'es' then 'pg_catalog.spanish_stem'
    when 'ar' then 'pg_catalog.arabic_stem' when 'it' then 'pg_catalog.italian_stem'
    when 'pt' then 'pg_catalog.portuguese_stem' when 'nl' then 'pg_catalog.dutch_stem'
    when 'sv' then 'pg_catalog.swedish_stem' when 'da' then 'pg_catalog.danish_stem'
    when 'no' then 'pg_catalog.norwegian_stem' when 'fi' then 'pg_catalog.finnish_stem'
    when 'ru' then 'pg_catalog.russian_stem' when 'tr' then 'pg_catalog.turkish_stem'
    when 'hu' then 'pg_catalog.hungarian_stem' when 'ro' then 'pg_catalog.romanian_stem'
    else 'pg_catalog.simple'
  end::regdictionary
$$;
comment on function replies.stem_dictionary is 'The dictionary of a language''s own text search configuration; simple where there is none.';

create function replies.fold(language text, given text) returns text
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  -- Long enough for a whole mail, short enough that nobody makes the database work for minutes.
  c_most constant integer := 4000;
  -- And once more after it: there are single characters that are whole sentences when taken apart.
  v_text text := lower(left(normalize(left(fold.given, c_most), nfkc), c_most));
begin
  -- Marks of direction, tags and short vowels are not spoken.
  v_text := regexp_replace(v_text, '[\u00AD\u0640\u064B-\u065F\u0670\u200B-\u200F\u202A-\u202E\u2060-\u206F\uFEFF]', '', 'g');
  v_text := regexp_replace(v_text, '<[^<>]{0,200}>', ' ', 'g');
  v_text := regexp_replace(v_text, '\m(https?://|www\.)\S+|\S+@\S+', ' ', 'g');
  if fold.language = 'de' then
    -- Umlauts as they are typed on other keyboards.
    v_text := replace(replace(regexp_replace(v_text, '([^aeouqäöü])ue', '\1ü', 'g'), 'ae', 'ä'), 'oe', 'ö');
  end if;
  return v_text;
end $$;
comment on function replies.fold is 'A text in lower case without what nobody says aloud, cut to what is looked at.';

create function replies.terms_of(language text, given text)
returns table (segment integer, place integer, term text, is_asked boolean)
language plpgsql stable security invoker rows 60 set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  c_most_words constant integer := 700;
  v_dictionary constant regdictionary := replies.stem_dictionary(terms_of.language);
begin
  return query
  with words as materialized (
    select sentence.number::integer as segment, (row_number() over (order by sentence.number, word.number))::integer as place,
      sentence.text ~ '[?؟¿]' as is_asked,
      -- The elided article of French.
      regexp_replace(word.word, '^(l|d|j|n|m|t|s|c|qu)[''’]', '') as word
    from regexp_split_to_table(replies.fold(terms_of.language, terms_of.given), '(?<=[.!?؟;])\s+|\n')
        with ordinality as sentence(text, number)
      cross join lateral regexp_split_to_table(sentence.text, '[^[:alnum:]''’]+|[''’](?=s\M)') with ordinality as word(word, number)
    where word.word ~ '[[:alnum:]]'
    order by sentence.number, word.number
    limit c_most_words
  ), stems as materialized (
    select words.segment, words.place, words.is_asked, words.word, stem.stem is null as is_stop,
      translate(coalesce(stem.stem, words.word), 'àáâãäåçèéêëìíîïñòóôõöùúûüýÿ', 'aaaaaaceeeeiiiinooooouuuuyy') as stem
    from (select words.segment, words.place, words.is_asked, left(replace(replace(words.word, '''', ''), '’', ''), 60) as word from words) as words
      cross join lateral (select (ts_lexize(v_dictionary, words.word))[1] as stem) as stem
  ), pairs as materialized (
    -- With the next word, and with the next that is no stop word: "send back" is also in "send them back".
    select stems.*, stems.stem || ' ' || lead(stems.stem) over (partition by stems.segment order by stems.place) as pair,
      stems.stem || ' ' || case when not stems.is_stop then lead(stems.stem) over (
        partition by stems.segment, stems.is_stop order by stems.place
      ) end as wide_pair
    from stems
  )
  select pairs.segment, pairs.place, found.term, pairs.is_asked
  from pairs
    left join replies.concepts as of_word on of_word.language = terms_of.language and of_word.word = pairs.stem
    left join replies.concepts as of_pair on of_pair.language = terms_of.language and of_pair.word = pairs.pair
    left join replies.concepts as of_wide_pair on of_wide_pair.language = terms_of.language
      and of_wide_pair.word = pairs.wide_pair and pairs.wide_pair <> pairs.pair
    cross join lateral (
      -- A number as long as an order's speaks of an order, whichever it is.
      select '#order' as term where pairs.word ~ '^[0-9]{4,12}$' and pairs.word !~ '^(19|20)[0-9][0-9]$'
      union all
      select coalesce(of_word.concept, pairs.stem)
      where case when of_word.word is null then not pairs.is_stop and length(pairs.stem) between 2 and 40
          and pairs.word !~ '^[0-9]{4,}$' else of_word.concept is not null end
      union all
      select of_pair.concept where of_pair.concept is not null
      union all
      select of_wide_pair.concept where of_wide_pair.concept is not null
      union all
      -- German writes in one word what others write in two.
      select distinct parts.concept
      from replies.concepts as parts
      where terms_of.language = 'de' and of_word.word is null and length(pairs.stem) >= 8 and not pairs.is_stop
        and parts.language = 'de' and parts.concept is not null and parts.word = any (array(
          select part from generate_series(4, length(pairs.stem) - 1) as letters,
            lateral (values (left(pairs.stem, letters)), (right(pairs.stem, letters))) as parts(part)
        ))
    ) as found;
end $$;
comment on function replies.terms_of is 'The terms of a text, sentence by sentence: stems, or the concept they stand for; words that say nothing are left out.';

alter table replies.gold_replies
  add column search tsvector not null default '',
  add column question_vectors tsvector[] not null default '{}';
comment on column replies.gold_replies.search is 'Terms of the title and tags (A), of the questions (B) and of the text (D), kept by a trigger.';
comment on column replies.gold_replies.question_vectors is 'Terms of the title and of each question by itself, kept by a trigger.';
create index gold_replies_search_idx on replies.gold_replies using gin (search) where status = 'approved';
create index gold_replies_category_idx on replies.gold_replies (account_id, category) where status = 'approved';

create function replies.vector_of(language text, given text, weight text) returns tsvector
language sql stable security invoker set search_path = '' as $$
  -- A stem holds letters and digits alone, so that nothing in it can end the quotes.
  select coalesce(string_agg('''' || terms.term || ''':1' || vector_of.weight, ' ' order by terms.term), '')::tsvector
  from (select distinct found.term from replies.terms_of(vector_of.language, vector_of.given) as found) as terms
$$;
comment on function replies.vector_of is 'The terms of a text as a search vector, all with that weight.';

create function replies.tg_gold_reply_terms() returns trigger
language plpgsql security invoker set search_path = '' as $$
declare
  v_language constant text := coalesce(new.language, '');
  v_title constant text := new.title || E'.\n' || array_to_string(new.tags, ' ');
begin
  new.search := replies.vector_of(v_language, v_title, 'A')
    || replies.vector_of(v_language, array_to_string(new.questions, E'\n'), 'B')
    || replies.vector_of(v_language, regexp_replace(new.body, '\{\{[^{}]*\}\}', ' ', 'g'), 'D');
  new.question_vectors := array(
    select vector.vector
    from unnest(array[new.title] || new.questions) with ordinality as asked(text, number)
      cross join lateral (select replies.vector_of(v_language, asked.text, 'B') as vector) as vector
    where vector.vector <> ''::tsvector
    order by asked.number
  );
  return new;
end $$;
comment on function replies.tg_gold_reply_terms is 'Keeps the terms of a gold reply with it, so that ranking reads and never parses it.';
create trigger gold_reply_terms before insert or update of title, body, tags, questions, language on replies.gold_replies
for each row execute function replies.tg_gold_reply_terms();

create function replies.tg_count_terms() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
  insert into replies.term_frequencies as kept (account_id, language, term, documents)
  select changes.account_id, changes.language, terms.term, sum(changes.sign)
  from (
    select old.account_id, old.language, old.search, -1 as sign where old.status = 'approved'
    union all
    select new.account_id, new.language, new.search, 1 where new.status = 'approved'
  ) as changes
    cross join lateral unnest(array[''] || tsvector_to_array(changes.search)) as terms(term)
  group by changes.account_id, changes.language, terms.term
  having sum(changes.sign) <> 0
  -- In one order, so that two approvals at once wait for one another instead of locking each other out.
  order by changes.account_id, changes.language, terms.term
  on conflict (account_id, language, term) do update set documents = kept.documents + excluded.documents;
  return null;
end $$;
comment on function replies.tg_count_terms is 'Counts the terms of approved gold replies as they come, change and go.';
-- Not on every update: what counts how often a gold reply was used changes no term.
create trigger count_terms after insert or delete or update of title, body, tags, questions, language, status
on replies.gold_replies for each row execute function replies.tg_count_terms();

create function replies.language_of(given text) returns text
language plpgsql stable security invoker set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  c_languages constant text[] := '{en,de,fr,es,ar,it,pt,nl,sv,da,no,fi,tr,hu,ro}'::text[];
  v_text constant text := replies.fold('', language_of.given);
  v_words text[] := '{}'::text[];
  v_first text;
  v_first_points double precision;
  v_second_points double precision;
begin
  -- A script of its own tells a language sooner than words do.
  if v_text ~ '[\u3040-\u30FF]' then return 'ja'; end if;
  if v_text ~ '[\uAC00-\uD7AF]' then return 'ko'; end if;
  if v_text ~ '[\u4E00-\u9FFF]' then return 'zh'; end if;
  if length(regexp_replace(v_text, '[^\u0600-\u06FF]', '', 'g')) > length(regexp_replace(v_text, '[^a-zà-ÿ]', '', 'g')) then
    return 'ar';
  end if;
  if length(regexp_replace(v_text, '[^\u0400-\u04FF]', '', 'g')) > length(regexp_replace(v_text, '[^a-zà-ÿ]', '', 'g')) then
    return case when v_text ~ '[іїєґ]' then 'uk' else 'ru' end;
  end if;
  v_words := array(
    select word.word
    from regexp_split_to_table(left(v_text, 1000), '[^[:alpha:]]+') with ordinality as word(word, number)
    where length(word.word) between 1 and 40
    group by word.word
    order by min(word.number)
    limit 60
  );
  -- Words that only bind others, and the words of shops: each counts the more the fewer languages have it.
  with languages as materialized (
    select languages.language, replies.stem_dictionary(languages.language) as dictionary
    from unnest(c_languages) as languages(language)
  ), stems as materialized (
    select word.number, languages.language, ts_lexize(languages.dictionary, word.word) as stem
    from languages cross join unnest(v_words) with ordinality as word(word, number)
  ), heard as materialized (
    select stems.number, stems.language
    from stems
      left join replies.concepts on concepts.language = stems.language
        and concepts.word = translate(stems.stem[1], 'àáâãäåçèéêëìíîïñòóôõöùúûüýÿ', 'aaaaaaceeeeiiiinooooouuuuyy')
    where stems.stem = '{}'::text[] or concepts.word is not null
  ), points as (
    select heard.language, sum(1.0 / shared.languages) as points
    from heard join (select number, count(*) as languages from heard group by number) as shared using (number)
    group by heard.language
  )
  select points.language, points.points,
    coalesce(lead(points.points) over (order by points.points desc, points.language), 0)
  into v_first, v_first_points, v_second_points
  from points order by points.points desc, points.language limit 1;
  -- A guess among near equals is worth less than saying so.
  return case when v_first_points >= 1.1 * v_second_points and v_first_points > 0.3 then v_first end;
end $$;
comment on function replies.language_of is 'The language a text is written in, an ISO 639 code; null when that cannot be told.';

create function replies.category_of(account_id bigint, display_id bigint) returns text
language sql stable security invoker set search_path = '' as $$
  with recursive conversation as (
    select lower(conversations.custom_attributes ->> 'category') as told, conversations.labels,
      regexp_replace(lower(teams.name), '[^[:alnum:]]+', '_', 'g') as team
    from chatwoot.conversations
      left join chatwoot.teams on teams.account_id = conversations.account_id and teams.team_id = conversations.team_id
    where conversations.account_id = category_of.account_id and conversations.display_id = category_of.display_id
  ), categories as (
    -- From one category to the next over the index, however many gold replies each has.
    select (
      select min(gold_replies.category) from replies.gold_replies
      where gold_replies.account_id = category_of.account_id and gold_replies.status = 'approved'
    ) as category
    union all
    select (
      select min(gold_replies.category) from replies.gold_replies
      where gold_replies.account_id = category_of.account_id and gold_replies.status = 'approved'
        and gold_replies.category > categories.category
    )
    from categories where categories.category is not null
  )
  select categories.category
  from conversation, categories,
    lateral (
      select case
        when categories.category = conversation.told then 1
        when categories.category = any (conversation.labels) then 2
        -- A team is often called after what comes to it: "orders" for order_status.
        when conversation.team in (
          categories.category, split_part(categories.category, '_', 1), split_part(categories.category, '_', 1) || 's'
        ) then 3
      end as place
    ) as found
  where found.place is not null
  order by found.place, categories.category
  limit 1
$$;
comment on function replies.category_of is 'What a conversation is about, as a category that approved gold replies have: told by its custom attribute category, a label or its team; null when nothing tells.';

create function replies.terms_asked(account_id bigint, language text, question text)
returns table (term text, segment integer, is_asked boolean, weight double precision, documents integer)
language plpgsql stable security invoker rows 60 set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  -- Typing errors matter in a short message; a long one has words enough without them.
  c_most_mended constant integer := 8;
  v_total double precision;
  v_terms text[];
  v_segments integer[];
  v_asked boolean[];
begin
  -- Thirty more than there are, so that in a small library a word is not thought rare for being there once.
  select coalesce(max(term_frequencies.documents), 0) + 30 into v_total
  from replies.term_frequencies
  where term_frequencies.account_id = terms_asked.account_id and term_frequencies.language = terms_asked.language
    and term_frequencies.term = '';
  select array_agg(found.term), array_agg(found.segment), array_agg(found.is_asked)
  into v_terms, v_segments, v_asked
  from replies.terms_of(terms_asked.language, terms_asked.question) as found;
  return query
  with asked as materialized (
    select * from unnest(v_terms, v_segments, v_asked) as asked(term, segment, is_asked)
  ), counted as materialized (
    -- Through an array, so that each term is looked up by its key however many there are.
    select frequencies.term, frequencies.documents
    from replies.term_frequencies as frequencies
    where frequencies.account_id = terms_asked.account_id and frequencies.language = terms_asked.language
      and frequencies.term = any (v_terms) and frequencies.documents > 0
  ), vocabulary as materialized (
    select words.term, counted.documents
    from (select distinct asked.term from asked) as words left join counted on counted.term = words.term
  ), unknown as materialized (
    select vocabulary.term from vocabulary
    where vocabulary.documents is null and length(vocabulary.term) >= 4 and vocabulary.term !~ '[0-9#!]'
    order by length(vocabulary.term) desc, vocabulary.term
    limit c_most_mended
  ), mended as materialized (
    select unknown.term, nearest.term as meant, nearest.documents
    from unknown
      cross join lateral (
        select near.term, near.documents
        from (
          select frequencies.term, frequencies.term as word, frequencies.documents
          from replies.term_frequencies as frequencies
          where frequencies.account_id = terms_asked.account_id and frequencies.language = terms_asked.language
            and frequencies.term operator(extensions.%) unknown.term and frequencies.term !~ '[0-9#!]'
          union all
          select concepts.concept, concepts.word, frequencies.documents
          from replies.concepts
            join replies.term_frequencies as frequencies on frequencies.account_id = terms_asked.account_id
              and frequencies.language = terms_asked.language and frequencies.term = concepts.concept
          -- Few mistake the first letter.
          where concepts.language = terms_asked.language and left(concepts.word, 1) = left(unknown.term, 1)
            and concepts.word !~ ' '
        ) as near
        where near.documents > 0 and length(near.word) >= 4 and abs(length(near.word) - length(unknown.term)) <= 2
          and (
            extensions.similarity(near.word, unknown.term) >= 0.5
            -- Two letters in the wrong order leave few trigrams alone.
            or length(near.word) = length(unknown.term)
              and array(select letter from regexp_split_to_table(near.word, '') as letter order by letter)
                = array(select letter from regexp_split_to_table(unknown.term, '') as letter order by letter)
          )
        order by extensions.similarity(near.word, unknown.term) desc, near.term
        limit 1
      ) as nearest
  )
  select coalesce(mended.meant, asked.term), asked.segment, bool_or(asked.is_asked),
    ln(1 + (v_total - count.documents + 0.5) / (count.documents + 0.5)), count.documents
  from asked
    join vocabulary on vocabulary.term = asked.term
    left join mended on mended.term = asked.term
    cross join lateral (select coalesce(vocabulary.documents, mended.documents, 0) as documents) as count
  group by coalesce(mended.meant, asked.term), asked.segment, count.documents
  order by asked.segment, coalesce(mended.meant, asked.term);
end $$;
comment on function replies.terms_asked is 'The terms of a question, mended where only a typing error parts them from a known one, with what each weighs in that account.';

create function replies.rank(
  account_id bigint, question text, language text, channel text, category text, most integer default 5
) returns table (gold_reply_id bigint, version integer, confidence double precision, parts jsonb)
language plpgsql stable security invoker set search_path = ''
-- Each plan is made once a connection: making it takes longer than running it.
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  -- Found on the paraphrases of tests/fixtures and confirmed on the scenarios: see docs/rooms/replies.md.
  c_most_read constant integer := 800;
  c_most_compared constant integer := 40;
  c_unknown constant double precision := 0.6;  -- What a word that no gold reply has weighs, of what it would.
  c_enough constant double precision := 14;  -- A long mail need not be covered whole.
  c_least constant double precision := 5;  -- A single word alone is no sentence.
  c_certainty constant double precision := 0.8;  -- The less the words in common weigh, the less sure.
  v_language text := lower(split_part(rank.language, '-', 1));
  v_certain double precision := 1;
  v_total double precision;
  v_terms text[];
  v_segments integer[];
  v_asked boolean[];
  v_weights double precision[];
  v_documents integer[];
  v_rare tsquery[];
  v_rare_weights double precision[];
  v_query tsquery;
  v_candidates bigint[];
begin
  if v_language is null or v_language = '' then
    -- Unsure: as if it were the language most gold replies are in, and worth less.
    select frequencies.language into v_language
    from replies.term_frequencies as frequencies
    where frequencies.account_id = rank.account_id and frequencies.term = ''
    order by frequencies.documents desc, frequencies.language
    limit 1;
    v_certain := 0.8;
  end if;
  select array_agg(asked.term), array_agg(asked.segment), array_agg(asked.is_asked), array_agg(asked.weight),
    array_agg(asked.documents)
  into v_terms, v_segments, v_asked, v_weights, v_documents
  from replies.terms_asked(rank.account_id, v_language, rank.question) as asked;

  -- The rarest words choose whom to look at: what is in every gold reply would only choose them all.
  select array_agg(rarest.query order by rarest.weight desc, rarest.term),
    array_agg(rarest.weight order by rarest.weight desc, rarest.term),
    string_agg(rarest.query::text, ' | ')::tsquery
  into v_rare, v_rare_weights, v_query
  from (
    select asked.term, asked.weight, ('''' || asked.term || '''')::tsquery as query,
      sum(asked.documents) over (order by asked.weight desc, asked.term) as so_far,
      row_number() over (order by asked.weight desc, asked.term) as place
    from (
      select distinct term, weight, documents from unnest(v_terms, v_weights, v_documents) as asked(term, weight, documents)
      where documents > 0
    ) as asked
  ) as rarest
  where rarest.place = 1 or rarest.place <= 16 and rarest.so_far <= c_most_read;
  if v_query is null then return; end if;

  v_candidates := array(
    select candidates.gold_reply_id
    from (
      select gold_replies.gold_reply_id, gold_replies.search
      from replies.gold_replies
      where gold_replies.account_id = rank.account_id and gold_replies.status = 'approved'
        and gold_replies.language = v_language and gold_replies.search @@ v_query
    ) as candidates
      cross join lateral (
        select sum(rare.weight) as weight
        from unnest(v_rare, v_rare_weights) as rare(query, weight)
        where candidates.search @@ rare.query
      ) as shared
    order by shared.weight desc, candidates.gold_reply_id
    limit c_most_compared
  );

  select coalesce(max(term_frequencies.documents), 0) + 30 into v_total
  from replies.term_frequencies
  where term_frequencies.account_id = rank.account_id and term_frequencies.language = v_language
    and term_frequencies.term = '';

  return query
  with asked as materialized (
    select * from unnest(v_terms, v_segments, v_asked, v_weights, v_documents)
      as asked(term, segment, is_asked, weight, documents)
  ), words as materialized (
    select asked.term, min(asked.weight) as weight, bool_or(asked.documents > 0) as is_known, bool_or(asked.is_asked) as is_asked
    from asked group by asked.term
  ), sentences as materialized (
    -- Each by itself, and all as one with the number 0.
    select asked.segment, asked.term, asked.weight, asked.documents > 0 as is_known from asked
    union all
    select 0, words.term, words.weight, words.is_known from words
  ), sizes as materialized (
    select sentences.segment,
      sum(sentences.weight * case when sentences.is_known then 1 else c_unknown end) as size
    from sentences group by sentences.segment
  ), whole as materialized (
    select sizes.size, coalesce(asking.terms, 0) as asked_terms, coalesce(asking.size, 0) as asked_size
    from sizes
      cross join (
        select count(*) as terms, sum(words.weight * case when words.is_known then 1 else 0.5 end) as size
        from words where words.is_asked
      ) as asking
    where sizes.segment = 0
  ), candidates as materialized (
    select gold_replies.gold_reply_id, gold_replies.version, gold_replies.category, gold_replies.search,
      gold_replies.question_vectors, gold_replies.channels ? rank.channel as has_channel,
      (gold_replies.used + 3)::double precision / (gold_replies.shown + 5) as acceptance
    from replies.gold_replies
    where gold_replies.account_id = rank.account_id and gold_replies.gold_reply_id = any (v_candidates)
  ), texts as materialized (
    select candidates.gold_reply_id,
      sum(words.weight * case when lexeme.weights && '{A,B}'::text[] then 1 else 0.4 end) as shared,
      coalesce(sum(words.weight) filter (where words.is_asked), 0) as asked,
      jsonb_agg(words.term order by words.weight desc, words.term) as terms,
      coalesce(array_agg(words.term) filter (where starts_with(words.term, '!')), '{}'::text[]) as grave
    from candidates
      cross join lateral unnest(candidates.search) as lexeme
      join words on words.term = lexeme.lexeme
    group by candidates.gold_reply_id
  ), questions as materialized (
    select candidates.gold_reply_id, vector.number, term.term,
      ln(1 + (v_total - coalesce(frequencies.documents, 0) + 0.5) / (coalesce(frequencies.documents, 0) + 0.5)) as weight
    from candidates
      cross join lateral unnest(candidates.question_vectors) with ordinality as vector(vector, number)
      cross join lateral unnest(tsvector_to_array(vector.vector)) as term(term)
      left join replies.term_frequencies as frequencies on frequencies.account_id = rank.account_id
        and frequencies.language = v_language and frequencies.term = term.term
  ), question_sizes as materialized (
    select questions.gold_reply_id, questions.number, sum(questions.weight) as size
    from questions group by questions.gold_reply_id, questions.number
  ), meetings as materialized (
    select questions.gold_reply_id, questions.number, sentences.segment, sum(questions.weight) as shared
    from questions join sentences on sentences.term = questions.term
    group by questions.gold_reply_id, questions.number, sentences.segment
  ), comparisons as materialized (
    select distinct on (compared.gold_reply_id) compared.gold_reply_id, compared.number, compared.likeness
    from (
      select meetings.gold_reply_id, meetings.number,
        least(1, meetings.shared / (
          question_sizes.size ^ 0.6 * greatest(least(sizes.size, c_enough), least(whole.size, c_least)) ^ 0.4
        )) * meetings.shared / (meetings.shared + c_certainty)
        -- A title names a subject, a question is what was asked.
        * case when meetings.number = 1 then 0.9 else 1 end as likeness
      from meetings
        join question_sizes using (gold_reply_id, number)
        join sizes using (segment)
        cross join whole
    ) as compared
    order by compared.gold_reply_id, compared.likeness desc, compared.number
  ), judged as materialized (
    select candidates.gold_reply_id, candidates.version, texts.terms, comparisons.number,
      coalesce(comparisons.likeness, 0) as likeness,
      least(1, texts.shared / least(whole.size, c_enough)) * texts.shared / (texts.shared + c_certainty) as coverage,
      -- Of what stands in sentences with a question mark, as long as they hold enough words to tell.
      case when whole.asked_terms >= 3 then 0.5 + 0.5 * texts.asked / whole.asked_size else 1 end as asked,
      array(
        select words.term from words
        where starts_with(words.term, '!') and words.term <> all (texts.grave)
        order by words.term
      ) as grave,
      case when rank.category is null or candidates.category is null then 1
        when candidates.category = rank.category then 1.05 else 0.95 end as category,
      1 + 0.1 * (candidates.acceptance - 0.6) as acceptance,
      case when candidates.has_channel then 1.01 else 1 end as channel
    from candidates
      join texts using (gold_reply_id)
      left join comparisons using (gold_reply_id)
      cross join whole
  ), scored as (
    select judged.*,
      least(1, (0.65 * judged.likeness + 0.35 * judged.coverage) * judged.asked * v_certain * judged.category
        * judged.acceptance * judged.channel * case when judged.grave = '{}'::text[] then 1 else 0.35 end) as confidence
    from judged
  )
  select scored.gold_reply_id, scored.version, round(scored.confidence::numeric, 4)::double precision,
    jsonb_build_object(
      'question', round(scored.likeness::numeric, 4), 'question_number', nullif(scored.number, 1) - 1,
      'words', round(scored.coverage::numeric, 4), 'terms', scored.terms,
      'asked', round(scored.asked::numeric, 4), 'language', v_certain, 'category', scored.category,
      'acceptance', round(scored.acceptance::numeric, 4), 'channel', scored.channel,
      'grave', to_jsonb(array(select substr(grave.term, 2) from unnest(scored.grave) as grave(term)))
    )
  from scored
  order by round(scored.confidence::numeric, 4) desc, scored.gold_reply_id
  limit greatest(0, least(coalesce(rank.most, 5), 50));
end $$;
comment on function replies.rank is 'Approved gold replies in the language of the question, the likeliest answer first, each with a confidence of 0 to 1 and what it is made of.';

revoke all on function replies.ranker_version, replies.stem_dictionary, replies.fold, replies.terms_of, replies.vector_of,
  replies.tg_gold_reply_terms, replies.tg_count_terms, replies.language_of, replies.category_of, replies.terms_asked,
  replies.rank
  from public, anon, authenticated, service_role;
