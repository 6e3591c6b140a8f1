-- The door to ledger.episodes_at: it reads whatever it is asked, so who asks is looked at here.
create function ledger.read_episodes_at(
  account_id bigint, as_of timestamptz, learnt_by timestamptz default null, display_ids bigint[] default null
) returns setof analytics.episodes
language plpgsql stable security definer set search_path = '' as $$
begin
  perform access.require_role(read_episodes_at.account_id, 'viewer');
  perform ledger.refuse_instant(read_episodes_at.as_of);
  return query
  select told.* from ledger.episodes_at(read_episodes_at.account_id, read_episodes_at.as_of, read_episodes_at.learnt_by,
    read_episodes_at.display_ids) as told;
end
$$;
comment on function ledger.read_episodes_at is
  'ledger.episodes_at for viewers of the account and above. Errors: OC403, OC422.';
revoke all on function ledger.read_episodes_at from public, anon, authenticated, service_role;
grant execute on function ledger.read_episodes_at to authenticated, service_role;
