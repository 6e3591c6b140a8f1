-- What a Supabase project holds before its first migration: roles, schemas, grants, the helpers of auth. Run once, as
-- the superuser supabase_admin, in the database postgres. Valid on Postgres 15 and 17.
alter role supabase_admin set search_path = '$user', public, auth, extensions;

-- Not a superuser, as on a hosted project: what a migration may not do there, it may not do here.
create role postgres login createdb createrole replication bypassrls password 'postgres';
alter role postgres set search_path = '$user', public, extensions;
create role anon nologin;
alter role anon set statement_timeout = '3s';
create role authenticated nologin;
alter role authenticated set statement_timeout = '8s';
create role service_role nologin bypassrls;
create role authenticator login noinherit password 'postgres';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
create role dashboard_user nologin createdb createrole replication;
create role supabase_auth_admin login noinherit password 'postgres';
alter role supabase_auth_admin set search_path = 'auth';
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';
create role supabase_storage_admin login noinherit password 'postgres';
create role supabase_functions_admin login noinherit password 'postgres';
create role supabase_read_only_user login password 'postgres';

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, authenticator, pg_monitor, pg_read_all_data, pg_signal_backend
  to postgres with admin option;
grant pg_read_all_data to supabase_read_only_user;

do $$ begin execute format('grant create, temporary, connect on database %I to postgres', current_database()); end $$;
grant usage, create on schema public to postgres;
grant usage on schema public to anon, authenticated, service_role;

-- Only from Postgres 16 on.
do $$ begin
  if exists (select from pg_roles where rolname = 'pg_create_subscription') then
    grant pg_create_subscription to postgres with admin option;
  end if;
end $$;

create schema storage;
create schema realtime;
create schema graphql_public;
grant usage on schema storage, realtime, graphql_public to postgres, anon, authenticated, service_role;

create schema extensions;
grant all on schema extensions to postgres;
grant usage on schema extensions to anon, authenticated, service_role;

create schema auth;
grant all on schema auth to supabase_auth_admin;
grant usage on schema auth to postgres, dashboard_user, anon, authenticated, service_role;
create table auth.users (
  id uuid primary key default gen_random_uuid(),
  email text unique,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  created_at timestamptz not null default now(),
  updated_at timestamptz
);
alter table auth.users owner to supabase_auth_admin;
alter table auth.users enable row level security;
grant all on auth.users to postgres, dashboard_user;

create function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
create function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
$$;
create function auth.email() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')
$$;
create function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
alter function auth.uid() owner to supabase_auth_admin;
alter function auth.role() owner to supabase_auth_admin;
alter function auth.email() owner to supabase_auth_admin;
alter function auth.jwt() owner to supabase_auth_admin;

-- On a hosted project postgres may enable it and then owns the wrapper, which only a superuser can be given.
alter role postgres superuser;
set role postgres;
create extension if not exists postgres_fdw with schema extensions;
reset role;
alter role postgres nosuperuser;

-- Owned by postgres, as `supabase db reset` drops and re-creates what is installed.
set role postgres;
create extension if not exists pgcrypto with schema extensions;
create extension if not exists "uuid-ossp" with schema extensions;
do $$ begin
  -- Already there on a hosted project. A Postgres of the system may lack it.
  if exists (select from pg_available_extensions where name = 'supabase_vault') then
    create extension if not exists supabase_vault;
  end if;
end $$;
reset role;

-- The default privileges that projects were born with until 2026.
alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
  grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
  grant all on functions to postgres, anon, authenticated, service_role;
