-- The record of every decision. It can be added to and read, never changed: not by an application bug, not by a role
-- with too many grants, not by the owner of the tables by accident. Each entry carries the hash of the one before it in
-- its account, so a change shows unless every later hash and the head are made anew with it; against the owner of the
-- schema, who could do that, a copy of the head kept elsewhere is the proof.
create schema audit;
comment on schema audit is 'The decision log: append only, hash chained per account.';
revoke all on schema audit from public;
grant usage on schema audit to authenticated, service_role;

create table audit.decision_log (
  account_id bigint not null,
  entry bigint not null,
  decided_at timestamptz not null,
  actor text not null,
  actor_version text,
  action text not null,
  subject text not null,
  evidence jsonb not null,
  outcome text not null,
  previous_hash bytea,
  hash bytea not null,
  constraint decision_log_pkey primary key (account_id, entry),
  constraint decision_log_texts_bounded check (
    length(actor) between 1 and 200 and length(actor_version) <= 200 and length(action) between 1 and 200
    and length(subject) between 1 and 500 and length(outcome) between 1 and 200
  ),
  constraint decision_log_evidence_is_object check (jsonb_typeof(evidence) = 'object'),
  constraint decision_log_first_has_no_previous check ((entry = 1) = (previous_hash is null))
);
comment on table audit.decision_log is 'Every decision: who, what, on which evidence, with which outcome. Append only.';
comment on column audit.decision_log.account_id is 'The Chatwoot account the decision belongs to; each has its own chain.';
comment on column audit.decision_log.entry is 'Place in the account''s chain: 1, 2, 3 … without a gap.';
comment on column audit.decision_log.decided_at is 'When it was decided (UTC, microseconds).';
comment on column audit.decision_log.actor is 'user:<uuid>, rule:<name>, model:<name>, service_role or database:<login>.';
comment on column audit.decision_log.actor_version is 'Version of the rule or model; null for people.';
comment on column audit.decision_log.action is 'What was done, such as setting.changed.';
comment on column audit.decision_log.subject is 'What it was done to, such as setting:raw_retention_days.';
comment on column audit.decision_log.evidence is 'What the decision rests on, an object; never a secret.';
comment on column audit.decision_log.outcome is 'How it ended, such as done or refused.';
comment on column audit.decision_log.previous_hash is 'Hash of the entry before; null for the first of an account.';
comment on column audit.decision_log.hash is 'SHA-256 over the previous hash and every other column.';
-- One conversation's decisions, in their order. Cut, since an index takes no long text and nobody can promise a number.
create index decision_log_conversation_idx on audit.decision_log
  (left(evidence ->> 'display_id', 20), account_id, decided_at) where evidence ->> 'display_id' is not null;
alter table audit.decision_log enable row level security;

-- Without it, cutting off the newest entries would leave a chain that is shorter but whole.
create table audit.chain_heads (
  account_id bigint not null,
  entry bigint not null,
  hash bytea not null,
  constraint chain_heads_pkey primary key (account_id)
);
comment on table audit.chain_heads is 'The newest entry of each account''s chain. Locked while an entry is added.';
comment on column audit.chain_heads.account_id is 'The Chatwoot account of the chain.';
comment on column audit.chain_heads.entry is 'Number of the newest entry.';
comment on column audit.chain_heads.hash is 'Hash of the newest entry.';
alter table audit.chain_heads enable row level security;

create function audit.entry_hash(entry audit.decision_log) returns bytea
-- An array keeps the borders between the fields; jsonb writes equal values equally on every version of Postgres.
language sql stable security invoker set search_path = '' as $$
  select sha256(coalesce(entry.previous_hash, '') || convert_to(jsonb_build_array(
    entry.account_id, entry.entry,
    to_char(entry.decided_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    entry.actor, entry.actor_version, entry.action, entry.subject, entry.evidence, entry.outcome
  )::text, 'UTF8'))
$$;
comment on function audit.entry_hash is 'The hash an entry must carry, from its other columns (32 bytes).';
revoke all on function audit.entry_hash from public, anon, authenticated, service_role;

create function audit.tg_chain() returns trigger
-- In a trigger, so that no way of inserting can skip the chain.
language plpgsql security invoker set search_path = '' as $$
declare
  v_head audit.chain_heads;
begin
  select * into v_head from audit.chain_heads where chain_heads.account_id = new.account_id for update;
  if not found then
    insert into audit.chain_heads (account_id, entry, hash) values (new.account_id, 0, '')
    on conflict (account_id) do nothing;
    select * into v_head from audit.chain_heads where chain_heads.account_id = new.account_id for update;
  end if;
  new.entry := v_head.entry + 1;
  new.previous_hash := case when v_head.entry > 0 then v_head.hash end;
  new.hash := audit.entry_hash(new);
  update audit.chain_heads set entry = new.entry, hash = new.hash where chain_heads.account_id = new.account_id;
  return new;
end
$$;
comment on function audit.tg_chain is 'Numbers a new entry and links it to the one before; one writer an account at a time.';
revoke all on function audit.tg_chain from public, anon, authenticated, service_role;
create trigger chain before insert on audit.decision_log for each row execute function audit.tg_chain();

create function audit.tg_refuse() returns trigger
language plpgsql security invoker set search_path = '' as $$
begin
  raise exception 'The decision log is append only: % is refused', tg_op
    using errcode = 'OC409', hint = 'Add an entry that corrects the earlier one: select audit.log(…).';
end
$$;
comment on function audit.tg_refuse is 'Refuses every change to the decision log but an insert (OC409).';
revoke all on function audit.tg_refuse from public, anon, authenticated, service_role;
create trigger refuse_change before update or delete on audit.decision_log
for each row execute function audit.tg_refuse();
create trigger refuse_truncate before truncate on audit.decision_log
for each statement execute function audit.tg_refuse();
-- Always: session_replication_role = replica would skip an ordinary trigger.
alter table audit.decision_log enable always trigger chain;
alter table audit.decision_log enable always trigger refuse_change;
alter table audit.decision_log enable always trigger refuse_truncate;

create function audit.log(
  account_id bigint, action text, subject text, evidence jsonb, outcome text,
  actor text default null, actor_version text default null, as_of timestamptz default clock_timestamp()
) returns bigint
-- Definer, and not granted to any API role: entries are written by the rooms that decide, never by a client.
language sql volatile security definer set search_path = '' as $$
  insert into audit.decision_log (account_id, decided_at, actor, actor_version, action, subject, evidence, outcome)
  values (log.account_id, log.as_of, coalesce(log.actor, access.actor()), log.actor_version, log.action, log.subject,
    log.evidence, log.outcome)
  returning entry
$$;
comment on function audit.log is
  'Adds a decision to the account''s chain and returns its number. actor null means whoever is calling.';
revoke all on function audit.log from public, anon, authenticated, service_role;

create function audit.verify(account_id bigint default null)
returns table (account_id bigint, entries bigint, first_broken_entry bigint, reason text)
language sql stable security invoker set search_path = '' as $$
  with linked as (
    select log.account_id, log.entry, log.hash, log.previous_hash, audit.entry_hash(log) as expected_hash,
      lag(log.hash) over chain as hash_before, row_number() over chain as expected_entry
    from audit.decision_log as log
    where log.account_id = verify.account_id or verify.account_id is null
    window chain as (partition by log.account_id order by log.entry)
  ), faults as (
    select linked.account_id, linked.entry, case
      when linked.entry <> linked.expected_entry then 'an entry before this one is missing'
      when linked.previous_hash is distinct from linked.hash_before then 'does not follow from the entry before'
      when linked.hash <> linked.expected_hash then 'was changed after it was written'
      -- No entry follows the last one, so the head vouches for it.
      when linked.entry = heads.entry and linked.hash <> heads.hash then 'is not the entry that was written last'
      when heads.entry is null then 'the head of the chain is missing'
    end as reason
    from linked left join audit.chain_heads as heads on heads.account_id = linked.account_id
  ), cut as (
    -- The head is one past the last entry it should follow when the end of the chain was cut off.
    select heads.account_id, coalesce(max(linked.entry), 0) + 1 as entry, 'entries at the end are missing' as reason
    from audit.chain_heads as heads left join linked on linked.account_id = heads.account_id
    where heads.account_id = verify.account_id or verify.account_id is null
    group by heads.account_id, heads.entry
    having coalesce(max(linked.entry), 0) <> heads.entry
  ), broken as (
    select distinct on (found.account_id) found.account_id, found.entry, found.reason
    from (select * from faults where faults.reason is not null union all select * from cut) as found
    order by found.account_id, found.entry
  ), counted as (
    select heads.account_id, count(linked.entry) as entries
    from (select accounts.account_id from audit.chain_heads as accounts
      where accounts.account_id = verify.account_id or verify.account_id is null
      union select linked.account_id from linked) as heads
    left join linked on linked.account_id = heads.account_id
    group by heads.account_id
  )
  select counted.account_id, counted.entries, broken.entry, broken.reason
  from counted left join broken on broken.account_id = counted.account_id
  order by counted.account_id
$$;
comment on function audit.verify is
  'One row an account (or only the given one): entries in its chain, and the first broken one with the reason; null when whole.';
revoke all on function audit.verify from public, anon, authenticated, service_role;
grant execute on function audit.verify to authenticated, service_role;

create policy "Members read their accounts' decisions" on audit.decision_log
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Members check their accounts' chains" on audit.chain_heads
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
grant select on audit.decision_log, audit.chain_heads to authenticated, service_role;
-- The hash is recomputed by whoever verifies.
grant execute on function audit.entry_hash to authenticated, service_role;
