-- A person to sign in as on a development stack: admin of the demo account 1. Not part of `supabase db push`.
insert into auth.users (id, email) values ('00000000-0000-4000-8000-000000000001', 'demo@example.com')
on conflict (id) do nothing;
insert into access.members (account_id, user_id, role) values (1, '00000000-0000-4000-8000-000000000001', 'admin')
on conflict (account_id, user_id) do nothing;
-- And a promise to its customers, so that there are clocks to look at. Since a week ago, as if somebody had thought of it
-- then: what is replayed of the days before today is measured too.
select sla.add_default_policy(1, as_of => now() - interval '7 days')
where not exists (select from sla.policies where account_id = 1);
