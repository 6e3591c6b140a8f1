-- How a gold reply comes to be and changes: proposed by anyone who may work, by the door or by an import; saved, approved
-- and retired by approvers. What is stored has been read and guarded first, so that no row and no log ever holds the
-- personal data that a text came with.

-- Which proposals were seen: a key is remembered also where the same text was there already under another one.
create table replies.proposal_keys (
  account_id bigint not null,
  origin_key text not null,
  content_hash bytea not null,
  gold_reply_id bigint not null,
  proposed_at timestamptz not null,
  constraint proposal_keys_pkey primary key (account_id, origin_key),
  constraint proposal_keys_gold_reply_fkey foreign key (account_id, gold_reply_id)
    references replies.gold_replies (account_id, gold_reply_id) on delete cascade
);
comment on table replies.proposal_keys is 'The keys under which gold replies were proposed, and what each one became.';
comment on column replies.proposal_keys.account_id is 'Chatwoot''s account id.';
comment on column replies.proposal_keys.origin_key is 'The key, with the door it came through before it.';
comment on column replies.proposal_keys.content_hash is 'SHA-256 of what came last under the key, after personal data was taken out.';
comment on column replies.proposal_keys.gold_reply_id is 'The gold reply it became.';
comment on column replies.proposal_keys.proposed_at is 'When it last came (UTC).';
create index proposal_keys_gold_reply_idx on replies.proposal_keys (account_id, gold_reply_id);
alter table replies.proposal_keys enable row level security;

create function replies.is_known_variable(name text) returns boolean
language sql stable security invoker set search_path = '' as $$
  select is_known_variable.name ~ '^custom\.[a-z0-9_]{1,100}$'
    or exists (select from replies.variables where variables.name = is_known_variable.name and variables.name not like '%<%')
$$;
comment on function replies.is_known_variable is 'Whether a variable of this name can ever be filled in.';

create function replies.read_text(given jsonb, place text, most integer, is_line boolean) returns text
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_text text;
begin
  if coalesce(jsonb_typeof(read_text.given), 'null') <> 'string' then
    raise exception '% must be text', read_text.place using errcode = 'OC422',
      hint = format('Give it as a JSON string of 1 to %s characters.', read_text.most);
  end if;
  v_text := read_text.given #>> '{}';
  -- Before anything looks at every character of it.
  if length(v_text) > read_text.most * 2 then
    raise exception '% is longer than % characters', read_text.place, read_text.most using errcode = 'OC422',
      hint = 'Shorten it.';
  end if;
  v_text := regexp_replace(normalize(replace(v_text, E'\r\n', E'\n'), nfc), '^\s+|\s+$', '', 'g');
  if length(v_text) not between 1 and read_text.most then
    raise exception '% must have 1 to % characters', read_text.place, read_text.most using errcode = 'OC422',
      hint = 'Space before and after it does not count.';
  end if;
  if v_text ~ replies.unwanted_characters() or (read_text.is_line and v_text ~ '[\n\t]') then
    raise exception '% holds a character that nobody sees, or that turns the direction of the text', read_text.place
      using errcode = 'OC422', hint = case when read_text.is_line then 'Remove control characters, line breaks and marks of direction.'
        else 'Remove control characters and marks of direction; line breaks and tabs may stay.' end;
  end if;
  return v_text;
end
$$;
comment on function replies.read_text is 'A text as it is kept: composed, trimmed, within its length, without invisible characters. Errors: OC422.';

create function replies.read_texts(given jsonb, place text, most integer, longest integer) returns text[]
language plpgsql immutable security invoker set search_path = '' as $$
declare
  v_texts text[] := '{}'::text[];
  v_entry jsonb;
begin
  if coalesce(jsonb_typeof(read_texts.given), 'null') = 'null' then
    return v_texts;
  end if;
  if jsonb_typeof(read_texts.given) <> 'array' or jsonb_array_length(read_texts.given) > read_texts.most then
    raise exception '% must be an array of up to % texts', read_texts.place, read_texts.most
      using errcode = 'OC422', hint = format('Each one has 1 to %s characters.', read_texts.longest);
  end if;
  for v_entry in select entries.entry from jsonb_array_elements(read_texts.given) as entries (entry) loop
    v_texts := v_texts || replies.read_text(v_entry, format('%s, entry %s', read_texts.place, cardinality(v_texts) + 1),
      read_texts.longest, read_texts.longest < 1000);
  end loop;
  -- In their order, each once.
  return array(select texts.entry from unnest(v_texts) with ordinality as texts (entry, number)
    group by texts.entry order by min(texts.number));
end
$$;
comment on function replies.read_texts is 'An array of texts as it is kept, each once; null means none. Errors: OC422.';

create function replies.read_gold_reply(given jsonb, kept jsonb default null) returns jsonb
-- What is not given stays as kept has it. Everything comes out guarded.
language plpgsql stable security invoker set search_path = '' as $$
declare
  c_shape constant text := 'A gold reply is {"title": "…", "body": "…", "category": "order_status", "tags": [], "language": "en", "channels": {"Channel::Sms": "…"}, "questions": [], "source": {"display_id": 1, "message_id": 2, "author": "…"}}; title and body are required.';
  v_given jsonb := coalesce(read_gold_reply.kept, '{}') || read_gold_reply.given;
  v_unknown text;
  v_field text;
  v_name text;
  v_text text;
  v_number numeric;
  v_guarded record;
  v_findings jsonb[] := '{}'::jsonb[];
  v_texts text[];
  v_channels jsonb := '{}'::jsonb;
  v_read jsonb;
begin
  if coalesce(jsonb_typeof(read_gold_reply.given), '') <> 'object' then
    raise exception 'A gold reply must be an object' using errcode = 'OC422', hint = c_shape;
  end if;
  -- A byte count is cheap, whatever it is of: all the limits below come to less.
  if pg_column_size(read_gold_reply.given) > 1000000 then
    raise exception 'The gold reply is larger than one megabyte' using errcode = 'OC422',
      hint = 'A body has up to 10000 characters, and there may be up to 50 questions of 1000.';
  end if;
  select keys.key into v_unknown from jsonb_object_keys(read_gold_reply.given) as keys (key)
  where keys.key not in ('title', 'body', 'category', 'tags', 'language', 'channels', 'questions', 'source') limit 1;
  if found then
    raise exception '% is no part of a gold reply', left(to_jsonb(v_unknown)::text, 50) using errcode = 'OC422', hint = c_shape;
  end if;
  v_read := '{}';
  foreach v_field in array array['title', 'body'] loop
    v_text := replies.read_text(v_given -> v_field, v_field, case v_field when 'title' then 200 else 10000 end, v_field = 'title');
    v_guarded := replies.guard_personal_data(v_text);
    v_read := v_read || jsonb_build_object(v_field, v_guarded.text);
    v_findings := v_findings || array(select jsonb_build_object('field', v_field) || entries.entry
      from jsonb_array_elements(v_guarded.findings) as entries (entry));
  end loop;
  if coalesce(jsonb_typeof(v_given -> 'category'), 'null') <> 'null' and not coalesce(jsonb_typeof(v_given -> 'category') = 'string'
    and length(v_given ->> 'category') <= 100 and v_given ->> 'category' ~ '^[a-z0-9]+([_-][a-z0-9]+)*$', false)
  then
    raise exception 'category must be a word in small letters' using errcode = 'OC422',
      hint = 'Up to 100 of a-z and 0-9, joined by _ or -, such as order_status; leave it out for none.';
  end if;
  if coalesce(jsonb_typeof(v_given -> 'language'), 'null') <> 'null' and not coalesce(jsonb_typeof(v_given -> 'language') = 'string'
    and v_given ->> 'language' ~ '^[a-z]{2,3}$', false)
  then
    raise exception 'language must be an ISO 639 code in small letters' using errcode = 'OC422',
      hint = 'Such as en, de or ar; leave it out to have it guessed.';
  end if;
  foreach v_field in array array['tags', 'questions'] loop
    v_texts := '{}';
    foreach v_text in array replies.read_texts(v_given -> v_field, v_field, case v_field when 'tags' then 20 else 50 end,
      case v_field when 'tags' then 50 else 1000 end)
    loop
      v_guarded := replies.guard_personal_data(v_text);
      v_texts := v_texts || v_guarded.text;
      v_findings := v_findings || array(select jsonb_build_object('field', v_field) || entries.entry
        from jsonb_array_elements(v_guarded.findings) as entries (entry));
    end loop;
    v_read := v_read || jsonb_build_object(v_field, v_texts);
  end loop;
  if coalesce(jsonb_typeof(v_given -> 'channels'), 'null') <> 'null' then
    if jsonb_typeof(v_given -> 'channels') <> 'object'
      or (select count(*) from jsonb_object_keys(v_given -> 'channels')) > 20
    then
      raise exception 'channels must be an object of up to 20 texts' using errcode = 'OC422',
        hint = 'By class of channel, such as {"Channel::Sms": "a shorter text"}.';
    end if;
    for v_name in select keys.key from jsonb_object_keys(v_given -> 'channels') as keys (key) order by keys.key loop
      if v_name !~ '^Channel::[A-Za-z]{1,50}$' then
        raise exception '% is no class of channel', left(to_jsonb(v_name)::text, 50) using errcode = 'OC422',
          hint = 'Such as Channel::WebWidget, Channel::Email, Channel::Sms, Channel::Whatsapp or Channel::Api.';
      end if;
      v_guarded := replies.guard_personal_data(
        replies.read_text(v_given -> 'channels' -> v_name, 'channels, ' || v_name, 10000, false));
      v_channels := v_channels || jsonb_build_object(v_name, v_guarded.text);
      v_findings := v_findings || array(select jsonb_build_object('field', 'channels.' || v_name) || entries.entry
        from jsonb_array_elements(v_guarded.findings) as entries (entry));
    end loop;
  end if;
  if coalesce(jsonb_typeof(v_given -> 'source'), 'null') <> 'null' then
    if jsonb_typeof(v_given -> 'source') <> 'object' or exists (
      select from jsonb_object_keys(v_given -> 'source') as keys (key)
      where keys.key not in ('display_id', 'message_id', 'author'))
    then
      raise exception 'source must be {"display_id", "message_id", "author"}' using errcode = 'OC422', hint = c_shape;
    end if;
    foreach v_field in array array['display_id', 'message_id'] loop
      continue when coalesce(jsonb_typeof(v_given #> array['source', v_field]), 'null') = 'null';
      if jsonb_typeof(v_given #> array['source', v_field]) = 'number' then
        v_number := (v_given #>> array['source', v_field])::numeric;
      end if;
      if jsonb_typeof(v_given #> array['source', v_field]) <> 'number' or v_number <> trunc(v_number)
        or v_number not between 1 and 9223372036854775807
      then
        raise exception 'source, % must be a positive whole number', v_field using errcode = 'OC422', hint = c_shape;
      end if;
      v_read := v_read || jsonb_build_object('source_' || v_field, v_number::bigint);
    end loop;
    if coalesce(jsonb_typeof(v_given #> '{source,author}'), 'null') <> 'null' then
      v_guarded := replies.guard_personal_data(replies.read_text(v_given #> '{source,author}', 'source, author', 200, true));
      v_read := v_read || jsonb_build_object('source_author', v_guarded.text);
    end if;
  end if;
  return v_read || jsonb_build_object('channels', v_channels, 'category', v_given -> 'category',
    'language', coalesce(v_given ->> 'language', replies.language_of(v_read ->> 'body')), 'findings', (
      select coalesce(jsonb_agg(summed.finding || jsonb_build_object('count', summed.count) order by summed.finding), '[]')
      from (
        select entries.entry - 'count' as finding, sum((entries.entry ->> 'count')::integer) as count
        from unnest(v_findings) as entries (entry) group by entries.entry - 'count'
      ) as summed));
end
$$;
comment on function replies.read_gold_reply is
  'A gold reply as it is kept, personal data taken out, and the findings. What given leaves out is taken from kept. Errors: OC422.';

create function replies.keep_version(account_id bigint, gold_reply_id bigint, actor text, as_of timestamptz) returns void
language sql volatile security invoker set search_path = '' as $$
  insert into replies.gold_reply_versions (account_id, gold_reply_id, version, title, body, category, tags, language,
    channels, questions, findings, changed_at, changed_by)
  select existing.account_id, existing.gold_reply_id, existing.version, existing.title, existing.body, existing.category,
    existing.tags, existing.language, existing.channels, existing.questions, existing.findings, keep_version.as_of,
    keep_version.actor
  from replies.gold_replies as existing
  where existing.account_id = keep_version.account_id and existing.gold_reply_id = keep_version.gold_reply_id
$$;
comment on function replies.keep_version is 'Keeps the newest version of a gold reply.';

create function replies.change_gold_reply(
  account_id bigint, gold_reply_id bigint, read jsonb, actor text, as_of timestamptz
) returns boolean
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_status text;
  v_version integer;
begin
  update replies.gold_replies as existing set version = existing.version + 1,
    title = change_gold_reply.read ->> 'title', body = change_gold_reply.read ->> 'body',
    category = change_gold_reply.read ->> 'category', language = change_gold_reply.read ->> 'language',
    tags = array(select jsonb_array_elements_text(change_gold_reply.read -> 'tags')),
    questions = array(select jsonb_array_elements_text(change_gold_reply.read -> 'questions')),
    channels = change_gold_reply.read -> 'channels', findings = change_gold_reply.read -> 'findings'
  where existing.account_id = change_gold_reply.account_id and existing.gold_reply_id = change_gold_reply.gold_reply_id
    and (existing.title, existing.body, existing.category, existing.language, existing.tags, existing.questions, existing.channels)
      is distinct from (change_gold_reply.read ->> 'title', change_gold_reply.read ->> 'body',
        change_gold_reply.read ->> 'category', change_gold_reply.read ->> 'language',
        array(select jsonb_array_elements_text(change_gold_reply.read -> 'tags')),
        array(select jsonb_array_elements_text(change_gold_reply.read -> 'questions')), change_gold_reply.read -> 'channels')
  returning existing.status, existing.version into v_status, v_version;
  if not found then
    return false;
  end if;
  perform replies.keep_version(change_gold_reply.account_id, change_gold_reply.gold_reply_id, change_gold_reply.actor,
    change_gold_reply.as_of);
  perform audit.log(change_gold_reply.account_id, 'gold_reply.changed', 'gold_reply:' || change_gold_reply.gold_reply_id,
    jsonb_build_object('title', change_gold_reply.read ->> 'title', 'version', v_version, 'status', v_status,
      'findings', change_gold_reply.read -> 'findings'),
    'done', change_gold_reply.actor, as_of => change_gold_reply.as_of);
  return true;
end
$$;
comment on function replies.change_gold_reply is 'Writes a new version, where it differs from the newest, and logs it; false where it does not.';

create function replies.proposal_hash(read jsonb, proposal jsonb, with_author boolean default false) returns bytea
-- Of the text as it is stored: of the one that came, a hash would be a way to try out card numbers. And of the language
-- as it came, since what is guessed may be guessed otherwise one day.
language sql immutable security invoker set search_path = '' as $$
  select sha256(convert_to((proposal_hash.read - 'findings'
    - case when proposal_hash.with_author then '{}' else '{source_author}' end::text[]
    || jsonb_build_object('language', proposal_hash.proposal -> 'language'))::text, 'UTF8'))
$$;
comment on function replies.proposal_hash is 'What the same text has the same of, or with its author the same proposal.';

create function replies.propose_gold_reply(
  account_id bigint, proposal jsonb, origin text, origin_key text default null, as_of timestamptz default now(),
  actor text default null, out gold_reply_id bigint, out is_new boolean
)
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_read jsonb := replies.read_gold_reply(propose_gold_reply.proposal);
  v_hash bytea := replies.proposal_hash(v_read, propose_gold_reply.proposal);
  -- Whoever sends from outside says who wrote it; elsewhere that is looked up, and a name may change.
  v_key_hash bytea := replies.proposal_hash(v_read, propose_gold_reply.proposal, propose_gold_reply.origin = 'door');
  v_actor text := coalesce(propose_gold_reply.actor, access.actor());
  v_key replies.proposal_keys;
begin
  if length(propose_gold_reply.origin_key) not between 1 and 300 or propose_gold_reply.origin_key ~ '[[:cntrl:]]' then
    raise exception 'The key of a proposal must have 1 to 300 visible characters' using errcode = 'OC422',
      hint = 'Any text that is yours for this proposal alone, such as a UUID.';
  end if;
  -- One proposal of an account at a time: two with the same key or text would both find nothing.
  perform pg_advisory_xact_lock(hashtextextended('replies.propose', propose_gold_reply.account_id));
  is_new := false;
  select * into v_key from replies.proposal_keys as existing
  where existing.account_id = propose_gold_reply.account_id and existing.origin_key = propose_gold_reply.origin_key;
  if found then
    if v_key.content_hash <> v_key_hash then
      raise exception 'Another text was proposed with this key' using errcode = 'OC409',
        detail = format('It became gold reply %s.', v_key.gold_reply_id),
        hint = 'Use a new key for a new proposal, or change that gold reply: select api.save_gold_reply(…).';
    end if;
    gold_reply_id := v_key.gold_reply_id;
    return;
  end if;
  select existing.gold_reply_id into gold_reply_id from replies.gold_replies as existing
  where existing.account_id = propose_gold_reply.account_id and existing.content_hash = v_hash
  order by existing.gold_reply_id limit 1;
  if not found then
    is_new := true;
    insert into replies.gold_replies as existing (account_id, title, body, category, tags, language, channels, questions, findings,
      origin, origin_key, content_hash, source_display_id, source_message_id, source_author, proposed_at, proposed_by)
    values (propose_gold_reply.account_id, v_read ->> 'title', v_read ->> 'body', v_read ->> 'category',
      array(select jsonb_array_elements_text(v_read -> 'tags')), v_read ->> 'language', v_read -> 'channels',
      array(select jsonb_array_elements_text(v_read -> 'questions')), v_read -> 'findings', propose_gold_reply.origin,
      propose_gold_reply.origin_key, v_hash, (v_read ->> 'source_display_id')::bigint,
      (v_read ->> 'source_message_id')::bigint, v_read ->> 'source_author', propose_gold_reply.as_of, v_actor)
    returning existing.gold_reply_id into gold_reply_id;
    perform replies.keep_version(propose_gold_reply.account_id, propose_gold_reply.gold_reply_id, v_actor,
      propose_gold_reply.as_of);
    perform audit.log(propose_gold_reply.account_id, 'gold_reply.proposed', 'gold_reply:' || propose_gold_reply.gold_reply_id,
      jsonb_build_object('title', v_read ->> 'title', 'version', 1, 'origin', propose_gold_reply.origin,
        'findings', v_read -> 'findings')
        || case when v_read ? 'source_display_id' then jsonb_build_object('display_id', v_read -> 'source_display_id')
          else '{}' end,
      'done', v_actor, as_of => propose_gold_reply.as_of);
  end if;
  if propose_gold_reply.origin_key is not null then
    insert into replies.proposal_keys (account_id, origin_key, content_hash, gold_reply_id, proposed_at)
    values (propose_gold_reply.account_id, propose_gold_reply.origin_key, v_key_hash, propose_gold_reply.gold_reply_id,
      propose_gold_reply.as_of);
  end if;
end
$$;
comment on function replies.propose_gold_reply is
  'Stores a gold reply as proposed, personal data taken out, and logs it. The same text again, or the same key, gives the same id. The caller has checked who may. Errors: OC409, OC422.';

create function replies.existing_gold_reply(account_id bigint, gold_reply_id bigint, version integer default null)
returns replies.gold_replies
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_gold_reply replies.gold_replies;
begin
  -- In the order in which an import takes its locks, which writes the log before it comes to the next row.
  perform pg_advisory_xact_lock(hashtextextended('replies.propose', existing_gold_reply.account_id));
  select * into v_gold_reply from replies.gold_replies as existing
  where existing.account_id = existing_gold_reply.account_id and existing.gold_reply_id = existing_gold_reply.gold_reply_id
  for no key update;
  if not found then
    raise exception 'There is no gold reply %', coalesce(existing_gold_reply.gold_reply_id::text, 'null')
      using errcode = 'OC404', hint = 'Those there are: select gold_reply_id, title from api.gold_replies.';
  end if;
  if existing_gold_reply.version <> v_gold_reply.version then
    raise exception 'Gold reply % is in version % by now', v_gold_reply.gold_reply_id, v_gold_reply.version
      using errcode = 'OC409', detail = format('You have seen version %s.', existing_gold_reply.version),
        hint = 'Read it again before you decide.';
  end if;
  return v_gold_reply;
end
$$;
comment on function replies.existing_gold_reply is
  'The gold reply, held until the end of the transaction; where a version is named, only in that one. Errors: OC404, OC409.';

create function replies.check_sendable(read jsonb, confirm_personal_data boolean) returns void
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_field text;
  v_text text;
  v_name text;
  v_flagged text;
begin
  for v_field, v_text in
    select 'body', check_sendable.read ->> 'body'
    union all
    select 'channels, ' || variants.channel, variants.body
    from jsonb_each_text(check_sendable.read -> 'channels') as variants (channel, body)
  loop
    select trim(found.match[1]) into v_name from regexp_matches(v_text, '\{\{([^{}]*)\}\}', 'g') as found (match)
    where not replies.is_known_variable(trim(found.match[1])) limit 1;
    if v_name is not null then
      raise exception '%: {{%}} is no variable', v_field, left(v_name, 100) using errcode = 'OC422',
        hint = 'There are ' || (select string_agg(variables.name, ', ' order by variables.name) from replies.variables)
          || ', where <key> is the key of a custom attribute.';
    end if;
    -- Chatwoot reads what is sent as a template as well.
    if regexp_replace(v_text, '\{\{[^{}]*\}\}', '', 'g') ~ '\{\{|\}\}|\{%|%\}' then
      raise exception '%: braces that are no variable', v_field using errcode = 'OC422',
        hint = 'A variable stands in two braces, such as {{contact.first_name}}; templates with {% … %} are not known here.';
    end if;
  end loop;
  if check_sendable.read ->> 'language' is null then
    raise exception 'The gold reply has no language' using errcode = 'OC422',
      hint = 'It could not be guessed. Set it: select api.save_gold_reply(account_id, ''{"language": "en"}'', gold_reply_id).';
  end if;
  select string_agg(distinct (entries.entry ->> 'kind') || ' in ' || (entries.entry ->> 'field'), ', ') into v_flagged
  from jsonb_array_elements(check_sendable.read -> 'findings') as entries (entry)
  where entries.entry ->> 'action' <> 'replaced';
  if v_flagged is not null and check_sendable.confirm_personal_data is not true then
    raise exception 'It may hold personal data' using errcode = 'OC422', detail = v_flagged || '.',
      hint = 'Look at the text. When it may be sent as it is: confirm_personal_data => true.';
  end if;
end
$$;
comment on function replies.check_sendable is
  'Returns when a gold reply could be sent: only known variables, a language, and no flagged personal data but with confirmation. Errors: OC422.';

create function replies.save_gold_reply(
  account_id bigint, gold_reply jsonb, gold_reply_id bigint default null, version integer default null,
  confirm_personal_data boolean default false, as_of timestamptz default now()
) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_gold_reply replies.gold_replies;
  v_read jsonb;
  v_proposed record;
begin
  perform access.require_role(save_gold_reply.account_id, 'approver');
  if save_gold_reply.gold_reply_id is null then
    v_proposed := replies.propose_gold_reply(save_gold_reply.account_id, save_gold_reply.gold_reply, 'person', null,
      save_gold_reply.as_of);
    return v_proposed.gold_reply_id;
  end if;
  if save_gold_reply.gold_reply ? 'source' then
    raise exception 'The source of a gold reply cannot be changed' using errcode = 'OC422',
      hint = 'It says where the text first came from. Leave it out.';
  end if;
  v_gold_reply := replies.existing_gold_reply(save_gold_reply.account_id, save_gold_reply.gold_reply_id, save_gold_reply.version);
  v_read := replies.read_gold_reply(save_gold_reply.gold_reply, jsonb_build_object('title', v_gold_reply.title,
    'body', v_gold_reply.body, 'category', v_gold_reply.category, 'tags', v_gold_reply.tags, 'language', v_gold_reply.language,
    'channels', v_gold_reply.channels, 'questions', v_gold_reply.questions));
  if v_gold_reply.status = 'approved' then
    perform replies.check_sendable(v_read, save_gold_reply.confirm_personal_data);
  end if;
  perform replies.change_gold_reply(save_gold_reply.account_id, save_gold_reply.gold_reply_id, v_read, access.actor(),
    save_gold_reply.as_of);
  return save_gold_reply.gold_reply_id;
end
$$;
comment on function replies.save_gold_reply is
  'Saves a new version of a gold reply, or a new gold reply as proposed; logged. Approvers only. Errors: OC403, OC404, OC409, OC422.';

create function replies.approve_gold_reply(
  account_id bigint, gold_reply_id bigint, confirm_personal_data boolean default false, version integer default null,
  as_of timestamptz default now()
) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_gold_reply replies.gold_replies;
begin
  perform access.require_role(approve_gold_reply.account_id, 'approver');
  v_gold_reply := replies.existing_gold_reply(approve_gold_reply.account_id, approve_gold_reply.gold_reply_id,
    approve_gold_reply.version);
  if v_gold_reply.status = 'approved' then
    return;
  end if;
  perform replies.check_sendable(to_jsonb(v_gold_reply), approve_gold_reply.confirm_personal_data);
  update replies.gold_replies as existing
  set status = 'approved', decided_at = approve_gold_reply.as_of, decided_by = access.actor()
  where existing.account_id = approve_gold_reply.account_id and existing.gold_reply_id = approve_gold_reply.gold_reply_id;
  perform audit.log(approve_gold_reply.account_id, 'gold_reply.approved', 'gold_reply:' || approve_gold_reply.gold_reply_id,
    jsonb_build_object('title', v_gold_reply.title, 'version', v_gold_reply.version, 'before', v_gold_reply.status,
      'findings', v_gold_reply.findings, 'personal_data_confirmed', coalesce(approve_gold_reply.confirm_personal_data, false)),
    'done', as_of => approve_gold_reply.as_of);
end
$$;
comment on function replies.approve_gold_reply is
  'Lets a gold reply be suggested from now on; logged. Approvers only. Errors: OC403, OC404, OC409, OC422.';

create function replies.retire_gold_reply(account_id bigint, gold_reply_id bigint, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_gold_reply replies.gold_replies;
begin
  perform access.require_role(retire_gold_reply.account_id, 'approver');
  v_gold_reply := replies.existing_gold_reply(retire_gold_reply.account_id, retire_gold_reply.gold_reply_id);
  if v_gold_reply.status = 'retired' then
    return;
  end if;
  update replies.gold_replies as existing
  set status = 'retired', decided_at = retire_gold_reply.as_of, decided_by = access.actor()
  where existing.account_id = retire_gold_reply.account_id and existing.gold_reply_id = retire_gold_reply.gold_reply_id;
  perform audit.log(retire_gold_reply.account_id, 'gold_reply.retired', 'gold_reply:' || retire_gold_reply.gold_reply_id,
    jsonb_build_object('title', v_gold_reply.title, 'version', v_gold_reply.version, 'before', v_gold_reply.status),
    'done', as_of => retire_gold_reply.as_of);
end
$$;
comment on function replies.retire_gold_reply is
  'Ends the suggesting of a gold reply; logged. Approvers only. Errors: OC403, OC404.';

create function replies.propose_by_person(account_id bigint, proposal jsonb, as_of timestamptz default now())
returns table (gold_reply_id bigint, is_new boolean)
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform access.require_role(propose_by_person.account_id, 'operator');
  return query
  select proposed.gold_reply_id, proposed.is_new
  from replies.propose_gold_reply(propose_by_person.account_id, propose_by_person.proposal, 'person', null,
    propose_by_person.as_of) as proposed;
end
$$;
comment on function replies.propose_by_person is 'Proposes a gold reply. Operators and above. Errors: OC403, OC422.';

create function replies.record_gold_reply(account_id bigint, proposal jsonb, idempotency_key text, as_of timestamptz default now())
returns table (gold_reply_id bigint, status text, findings jsonb, is_new boolean)
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_proposed record;
begin
  if record_gold_reply.account_id is null or not (
    exists (select from access.members where members.account_id = record_gold_reply.account_id)
    or exists (select from chatwoot.accounts where accounts.account_id = record_gold_reply.account_id))
  then
    raise exception 'There is no account %', coalesce(record_gold_reply.account_id::text, 'null') using errcode = 'OC404',
      hint = 'Give the number that stands in the address of your Chatwoot dashboard; it must have a member or a mirror here.';
  end if;
  if length(record_gold_reply.idempotency_key) not between 1 and 200 then
    raise exception 'An idempotency key must have 1 to 200 characters' using errcode = 'OC422',
      hint = 'Any text that is yours for this proposal alone, such as a UUID.';
  end if;
  -- As a hash, since somebody may take an address for a key.
  v_proposed := replies.propose_gold_reply(record_gold_reply.account_id, record_gold_reply.proposal, 'door',
    'door:' || encode(sha256(convert_to(record_gold_reply.idempotency_key, 'UTF8')), 'hex'), record_gold_reply.as_of);
  return query
  select existing.gold_reply_id, existing.status, existing.findings, v_proposed.is_new
  from replies.gold_replies as existing
  where existing.account_id = record_gold_reply.account_id and existing.gold_reply_id = v_proposed.gold_reply_id;
end
$$;
comment on function replies.record_gold_reply is 'What the gold-reply door stores. Errors: OC404, OC409, OC422.';

revoke all on routine replies.is_known_variable, replies.read_text, replies.read_texts, replies.read_gold_reply,
  replies.keep_version, replies.change_gold_reply, replies.proposal_hash, replies.propose_gold_reply,
  replies.existing_gold_reply, replies.check_sendable, replies.save_gold_reply, replies.approve_gold_reply,
  replies.retire_gold_reply, replies.propose_by_person, replies.record_gold_reply
  from public, anon, authenticated,
  service_role;
-- What the functions of api call; each asks for the caller's role itself.
grant execute on function replies.propose_by_person, replies.save_gold_reply, replies.approve_gold_reply,
  replies.retire_gold_reply to authenticated, service_role;
grant execute on function replies.record_gold_reply to service_role;
