-- The table, view and functions of supabase_vault 0.3.1. The key is a file in the data folder, which only a superuser
-- may read: in a table pg_read_all_data would show it, and a dump would carry it beside what it locks.
do $$ begin execute format('alter schema vault owner to %I', current_user); end $$;

-- pgcrypto's own functions under names of this extension, since `supabase db reset` may drop and re-create pgcrypto.
create function vault.encrypt_with_key(data bytea, key bytea, nonce bytea, cipher text) returns bytea
language c immutable strict as '$libdir/pgcrypto', 'pg_encrypt_iv';
create function vault.decrypt_with_key(data bytea, key bytea, nonce bytea, cipher text) returns bytea
language c immutable strict as '$libdir/pgcrypto', 'pg_decrypt_iv';
create function vault.random_bytes(length integer) returns bytea
language c volatile strict as '$libdir/pgcrypto', 'pg_random_bytes';

do $$
declare
  object oid;
begin
  -- An older key stays: secrets restored from a dump of this same database were locked with it.
  if pg_catalog.pg_read_binary_file('vault-key', 0, 32, true) is null then
    object := pg_catalog.lo_from_bytea(0, vault.random_bytes(32));
    perform pg_catalog.lo_export(object, 'vault-key');
    perform pg_catalog.lo_unlink(object);
  end if;
end
$$;

create function vault._crypto_aead_det_encrypt(
  message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea
language sql stable security definer set search_path = '' as $$
  select vault.encrypt_with_key(message, pg_catalog.pg_read_binary_file('vault-key', 0, 32, true), nonce, 'aes-cbc');
$$;
create function vault._crypto_aead_det_decrypt(
  message bytea, additional bytea, key_id bigint, context bytea default 'pgsodium', nonce bytea default null
) returns bytea
language sql stable security definer set search_path = '' as $$
  select vault.decrypt_with_key(message, pg_catalog.pg_read_binary_file('vault-key', 0, 32, true), nonce, 'aes-cbc');
$$;
create function vault._crypto_aead_det_noncegen() returns bytea
language sql volatile security definer set search_path = '' as $$ select vault.random_bytes(16); $$;

create table vault.secrets (
  id uuid primary key default gen_random_uuid(),
  name text,
  description text not null default '',
  secret text not null,
  key_id uuid,
  nonce bytea default vault._crypto_aead_det_noncegen(),
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
comment on table vault.secrets is 'Table with encrypted `secret` column for storing sensitive information on disk.';
create unique index secrets_name_idx on vault.secrets (name) where name is not null;
select pg_catalog.pg_extension_config_dump('vault.secrets', '');

create view vault.decrypted_secrets as
select id, name, description, secret,
  convert_from(
    vault._crypto_aead_det_decrypt(decode(secret, 'base64'), convert_to(id::text, 'utf8'), 0, 'pgsodium'::bytea, nonce),
    'utf8'
  ) as decrypted_secret,
  key_id, nonce, created_at, updated_at
from vault.secrets;

create function vault.create_secret(
  new_secret text, new_name text default null, new_description text default '', new_key_id uuid default null
) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  new_id uuid := pg_catalog.gen_random_uuid();
  new_nonce bytea := vault._crypto_aead_det_noncegen();
begin
  insert into vault.secrets (id, name, description, nonce, secret)
  values (new_id, new_name, new_description, new_nonce, encode(vault._crypto_aead_det_encrypt(
    message => convert_to(new_secret, 'utf8'), additional => convert_to(new_id::text, 'utf8'), key_id => 0,
    nonce => new_nonce
  ), 'base64'));
  return new_id;
end
$$;

create function vault.update_secret(
  secret_id uuid, new_secret text default null, new_name text default null, new_description text default null,
  new_key_id uuid default null
) returns void
language plpgsql security definer set search_path = '' as $$
declare
  new_nonce bytea := vault._crypto_aead_det_noncegen();
begin
  update vault.secrets set
    nonce = case when new_secret is null then nonce else new_nonce end,
    secret = case when new_secret is null then secret else encode(vault._crypto_aead_det_encrypt(
      message => convert_to(new_secret, 'utf8'), additional => convert_to(id::text, 'utf8'), key_id => 0,
      nonce => new_nonce
    ), 'base64') end,
    name = coalesce(new_name, name),
    description = coalesce(new_description, description),
    updated_at = now()
  where id = secret_id;
end
$$;

revoke all on schema vault from public;
revoke execute on all functions in schema vault from public;
do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'postgres' and not rolsuper) then
    grant usage on schema vault to postgres with grant option;
    grant select, delete on vault.secrets, vault.decrypted_secrets to postgres with grant option;
    grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
      to postgres with grant option;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = 'service_role') then
    grant usage on schema vault to service_role;
    grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
    grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt to service_role;
  end if;
end
$$;
