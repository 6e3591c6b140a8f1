-- The default privileges of projects since 30 October 2026: what used to be granted for reading, writing and calling
-- is not any more (TRUNCATE, REFERENCES and TRIGGER were left in place).
alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
