-- Who may do what. This file comes first because it also sets the rule for all that follow: nothing is open until it
-- is granted by name. The API roles get no privilege by default, whichever default privileges a project was born with.
alter default privileges revoke execute on functions from public;

create schema access;
comment on schema access is 'Who belongs to which Chatwoot account, and with which role.';
revoke all on schema access from public;
grant usage on schema access to authenticated, service_role;

-- Reads the views of analytics and nothing else: it has no usage on any other room, so it cannot name their tables.
do $$
begin
  if not exists (select from pg_roles where rolname = 'analyst') then
    create role analyst nologin;
  end if;
  -- Granted to the migrating role, so that it may set role to it and hand it on to people's logins.
  execute format('grant analyst to %I', current_user);
end
$$;
comment on role analyst is 'Reads every account through the views of schema analytics, and nothing else.';

-- An enum, because the order means something: each role may do all that the ones before it may.
create type access.member_role as enum ('viewer', 'operator', 'approver', 'admin');
comment on type access.member_role is 'What a member may do, in rising order: viewer, operator, approver, admin.';

create table access.members (
  account_id bigint not null,
  user_id uuid not null,
  role access.member_role not null,
  created_at timestamptz not null default now(),
  constraint members_pkey primary key (account_id, user_id),
  constraint members_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint members_account_id_positive check (account_id > 0)
);
comment on table access.members is 'The people of each Chatwoot account who may sign in here, one row a person and account.';
comment on column access.members.account_id is 'Chatwoot''s account id.';
comment on column access.members.user_id is 'The person, a row of auth.users.';
comment on column access.members.role is 'What the person may do in this account.';
comment on column access.members.created_at is 'When the person was added (UTC).';
create index members_user_id_idx on access.members (user_id);
alter table access.members enable row level security;

create function access.my_account_ids() returns setof bigint
-- Definer: it reads memberships, which the caller may not. It takes no argument, so nobody can ask for another person.
language sql stable security definer set search_path = ''
as $$ select members.account_id from access.members where members.user_id = (select auth.uid()) $$;
-- Policies write `= any (array(select …))`: read once a query, like `in (select …)`, but an index can serve it.
comment on function access.my_account_ids is
  'The accounts of the signed-in user, for use in policies; no row when nobody is signed in.';
revoke all on function access.my_account_ids from public, anon, authenticated, service_role;
grant execute on function access.my_account_ids to authenticated, service_role;

create function access.my_role(account_id bigint) returns access.member_role
language sql stable security definer set search_path = ''
as $$
  select members.role from access.members
  where members.account_id = my_role.account_id and members.user_id = (select auth.uid())
$$;
comment on function access.my_role is 'The signed-in user''s role in the account; null when they are no member of it.';
revoke all on function access.my_role from public, anon, authenticated, service_role;
grant execute on function access.my_role to authenticated, service_role;

create function access.actor() returns text
-- A request of the Data API logs in as authenticator and carries claims; anything else is a database login of its own.
language sql stable security invoker set search_path = ''
as $$
  select case
    when session_user <> 'authenticator' and auth.role() is null then 'database:' || session_user
    when auth.role() = 'service_role' then 'service_role'
    when auth.uid() is not null then 'user:' || auth.uid()::text
    else 'anonymous'
  end
$$;
comment on function access.actor is
  'Who acts, as the decision log writes it: user:<uuid>, service_role, database:<login>, or anonymous.';
revoke all on function access.actor from public, anon, authenticated, service_role;
grant execute on function access.actor to authenticated, service_role;

create function access.require_role(account_id bigint, minimum access.member_role) returns void
language plpgsql stable security definer set search_path = '' as $$
declare
  v_actor text := access.actor();
  v_role access.member_role := access.my_role(require_role.account_id);
begin
  -- The project's own backend and its database logins stand above the accounts; they hold the keys to all of them.
  if v_actor = 'service_role' or v_actor like 'database:%' or v_role >= require_role.minimum then
    return;
  end if;
  raise exception 'This needs the role % in account %', require_role.minimum, require_role.account_id
    using errcode = 'OC403',
      detail = case when v_role is null then 'You are no member of that account.'
        else format('Your role there is %s.', v_role) end,
      hint = 'Ask an admin of the account to change your role.';
end
$$;
comment on function access.require_role is
  'Returns when the caller holds at least this role in the account, or is the project''s backend; else raises OC403.';
revoke all on function access.require_role from public, anon, authenticated, service_role;
grant execute on function access.require_role to authenticated, service_role;

create policy "Members see who else is in their accounts" on access.members
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
grant select on access.members to authenticated, service_role;
