-- What people decide about the counting: how an inbox is counted, and which conversations are one. Each decision is
-- logged, can be taken back, and counts again what it touches.
create function ledger.set_rules(
  account_id bigint, inbox_id bigint, episode_gap_seconds integer default null, durable_seconds integer default null,
  has_bot boolean default null, as_of timestamptz default now()
) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_before ledger.rules;
begin
  perform access.require_role(set_rules.account_id, 'admin');
  if set_rules.account_id is null or set_rules.account_id < 1 then
    raise exception 'account_id % is no Chatwoot account', coalesce(set_rules.account_id::text, 'null')
      using errcode = 'OC422', hint = 'Give the number that stands in the address of your Chatwoot dashboard.';
  end if;
  if set_rules.inbox_id is null or set_rules.inbox_id < 0 then
    raise exception 'inbox_id must be the number of an inbox, or 0 for the account, not %',
      coalesce(set_rules.inbox_id::text, 'null')
      using errcode = 'OC422', hint = 'It stands in the address of its settings in Chatwoot.';
  end if;
  if set_rules.episode_gap_seconds not between 0 and 31536000 or set_rules.durable_seconds not between 0 and 31536000 then
    raise exception '% must be from 0 to 31536000 seconds (a year), not %',
      case when set_rules.episode_gap_seconds not between 0 and 31536000 then 'episode_gap_seconds' else 'durable_seconds' end,
      case when set_rules.episode_gap_seconds not between 0 and 31536000 then set_rules.episode_gap_seconds
        else set_rules.durable_seconds end
      using errcode = 'OC422', hint = 'Null takes the account''s, or the default: 259200 (72 hours) and 604800 (7 days).';
  end if;
  if set_rules.inbox_id > 0 and not exists (select from chatwoot.inboxes as inboxes
    where inboxes.account_id = set_rules.account_id and inboxes.inbox_id = set_rules.inbox_id)
  then
    raise exception 'There is no inbox % in account %', set_rules.inbox_id, set_rules.account_id
      using errcode = 'OC404', hint = 'The inboxes there are: select inbox_id, inbox_name from analytics.channel_breakdown.';
  end if;
  -- One change of an account's rules at a time, so that the log says what was before.
  perform pg_advisory_xact_lock(hashtextextended('ledger.rules', set_rules.account_id));
  select * into v_before from ledger.rules as rules
  where rules.account_id = set_rules.account_id and rules.inbox_id = set_rules.inbox_id;
  if (v_before.episode_gap_seconds, v_before.durable_seconds, v_before.has_bot)
    is not distinct from (set_rules.episode_gap_seconds, set_rules.durable_seconds, set_rules.has_bot)
  then
    return;
  end if;
  insert into ledger.rules (account_id, inbox_id, episode_gap_seconds, durable_seconds, has_bot)
  values (set_rules.account_id, set_rules.inbox_id, set_rules.episode_gap_seconds, set_rules.durable_seconds,
    set_rules.has_bot)
  on conflict on constraint rules_pkey do update set episode_gap_seconds = excluded.episode_gap_seconds,
    durable_seconds = excluded.durable_seconds, has_bot = excluded.has_bot;
  perform audit.log(set_rules.account_id, 'rules.changed', 'inbox:' || set_rules.inbox_id,
    jsonb_build_object('before', jsonb_build_object('episode_gap_seconds', v_before.episode_gap_seconds,
        'durable_seconds', v_before.durable_seconds, 'has_bot', v_before.has_bot),
      'after', jsonb_build_object('episode_gap_seconds', set_rules.episode_gap_seconds,
        'durable_seconds', set_rules.durable_seconds, 'has_bot', set_rules.has_bot)),
    'done', as_of => set_rules.as_of);
  perform ledger.touch_scope(set_rules.account_id, case set_rules.inbox_id when 0 then 'account' else 'inbox' end,
    set_rules.inbox_id);
end
$$;
comment on function ledger.set_rules is
  'Sets how an inbox is counted, or with inbox_id 0 the account (admins only), logged; null for each means as the account, or the default. What it touches is counted again. Errors: OC403, OC404, OC422.';

create function ledger.merge(account_id bigint, child bigint, parent bigint, as_of timestamptz default now())
returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_unknown bigint;
  v_known ledger.merges;
begin
  perform access.require_role(merge.account_id, 'operator');
  if merge.child is null or merge.parent is null or merge.child = merge.parent then
    raise exception 'A conversation cannot be merged into %', case when merge.child = merge.parent then 'itself' else 'nothing' end
      using errcode = 'OC422', hint = 'Give two different conversations: the one that counts no more, and the one it is part of.';
  end if;
  -- One at a time, or two merges could make a chain that neither sees.
  perform pg_advisory_xact_lock(hashtextextended('ledger.merges', merge.account_id));
  select given.display_id into v_unknown from unnest(array[merge.child, merge.parent]) as given (display_id)
  where not exists (select from chatwoot.conversations as mirrored
    where mirrored.account_id = merge.account_id and mirrored.display_id = given.display_id)
  limit 1;
  if found then
    raise exception 'There is no conversation % in account %', v_unknown, merge.account_id
      using errcode = 'OC404', hint = 'Its number stands in its address in Chatwoot, and in analytics.conversations as display_id.';
  end if;
  select * into v_known from ledger.merges as merges
  where merges.account_id = merge.account_id and (merges.child_display_id in (merge.child, merge.parent)
    or merges.parent_display_id = merge.child)
  order by merges.child_display_id <> merge.child limit 1;
  if v_known.child_display_id = merge.child and v_known.parent_display_id = merge.parent then
    return;
  end if;
  if found then
    raise exception 'Conversation % is part of conversation % already', v_known.child_display_id, v_known.parent_display_id
      using errcode = 'OC409', detail = 'A conversation is part of one other at most, and that of none.',
        hint = 'Take that apart first (api.unmerge_conversation), or merge into the other.';
  end if;
  insert into ledger.merges (account_id, child_display_id, parent_display_id, merged_at)
  values (merge.account_id, merge.child, merge.parent, merge.as_of);
  perform audit.log(merge.account_id, 'conversation.merged', 'conversation:' || merge.child,
    jsonb_build_object('parent', merge.parent), 'done', as_of => merge.as_of);
  perform ledger.count_again(merge.account_id, array[merge.child, merge.parent]);
end
$$;
comment on function ledger.merge is
  'Declares a conversation part of another from as_of on (operators and above), logged: its messages count there, and it counts no more by itself. Before as_of both are as they were. Errors: OC403, OC404, OC409, OC422.';

create function ledger.unmerge(account_id bigint, child bigint, as_of timestamptz default now()) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  v_parent bigint;
begin
  perform access.require_role(unmerge.account_id, 'operator');
  perform pg_advisory_xact_lock(hashtextextended('ledger.merges', unmerge.account_id));
  delete from ledger.merges as merges
  where merges.account_id = unmerge.account_id and merges.child_display_id = unmerge.child
  returning merges.parent_display_id into v_parent;
  if not found then
    raise exception 'Conversation % of account % is part of no other', coalesce(unmerge.child::text, 'null'),
      unmerge.account_id
      using errcode = 'OC404', hint = 'The merges there are: select display_id from analytics.conversations where ''merged_child'' = any (flags).';
  end if;
  perform audit.log(unmerge.account_id, 'conversation.unmerged', 'conversation:' || unmerge.child,
    jsonb_build_object('parent', v_parent), 'done', as_of => unmerge.as_of);
  perform ledger.count_again(unmerge.account_id, array[unmerge.child, v_parent]);
end
$$;
comment on function ledger.unmerge is
  'Takes a merge back (operators and above), logged: both conversations are as if it had never been. Errors: OC403, OC404.';

create function ledger.count_again(account_id bigint, display_ids bigint[], as_of timestamptz default now()) returns void
language plpgsql volatile security invoker set search_path = '' as $$
declare
  v_display_id bigint;
begin
  perform ledger.mark(count_again.account_id, given.display_id, walk_since => '-infinity', as_of => count_again.as_of)
  from (select ids.id as display_id from unnest(count_again.display_ids) as ids (id) order by ids.id) as given;
  -- In one order everywhere, so that two who do this wait for each other and not for ever.
  foreach v_display_id in array array(select given.display_id from unnest(count_again.display_ids) as given (display_id) order by 1) loop
    -- What is too long for here is left on the queue, to cron.
    perform ledger.follow(count_again.account_id, v_display_id, count_again.as_of);
  end loop;
end
$$;
comment on function ledger.count_again is 'Walks conversations anew, at once where that costs little, else by cron.';

revoke all on function ledger.set_rules, ledger.merge, ledger.unmerge, ledger.count_again
  from public, anon, authenticated, service_role;
grant execute on function ledger.set_rules, ledger.merge, ledger.unmerge to authenticated, service_role;
