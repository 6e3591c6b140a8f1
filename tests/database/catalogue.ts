// Questions to the catalogue of Postgres, each row of whose answer is a fault.

export const ROOMS = [
  "access",
  "audit",
  "ops",
  "chatwoot",
  "inbox",
  "sync",
  "ledger",
  "sla",
  "actions",
  "replies",
  "analytics",
  "api",
];
const EXPOSED = ["analytics", "api"];

const list = (names: string[]) => names.map((name) => `'${name}'`).join(", ");
const ROOM = `nspname in (${list(ROOMS)})`;
const ROLES = list(["anon", "authenticated", "service_role", "analyst"]);

interface Fault {
  name: string;
  /** Columns do not matter: any row is a fault. */
  query: string;
  /** What brings the fault about, to see that the question can find it. */
  example: string;
}

export const FAULTS: Fault[] = [
  {
    name: "a schema without a comment",
    query: `select nspname from pg_namespace where ${ROOM} and obj_description(oid, 'pg_namespace') is null`,
    example: "comment on schema ops is null",
  },
  {
    name: "a table or view without a comment",
    query: `select oid::regclass from pg_class where relkind in ('r', 'p', 'v', 'm')
      and relnamespace in (select oid from pg_namespace where ${ROOM}) and obj_description(oid, 'pg_class') is null`,
    example: "create view ops.faulty with (security_invoker = true) as select 1 as one",
  },
  {
    name: "a column without a comment",
    query: `select attrelid::regclass, attname from pg_attribute join pg_class on pg_class.oid = attrelid
      join pg_namespace on pg_namespace.oid = relnamespace
      where relkind in ('r', 'p', 'v', 'm') and attnum > 0 and not attisdropped and ${ROOM}
      and col_description(attrelid, attnum) is null`,
    example: "alter table ops.settings add column faulty text",
  },
  {
    name: "a function without a comment",
    query: `select pg_proc.oid::regprocedure from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
      where ${ROOM} and obj_description(pg_proc.oid, 'pg_proc') is null`,
    example: "create function ops.faulty() returns integer language sql set search_path = '' return 1",
  },
  {
    name: "a type without a comment",
    query: `select typname from pg_type join pg_namespace on pg_namespace.oid = typnamespace
      where ${ROOM} and typtype in ('e', 'd', 'r') and obj_description(pg_type.oid, 'pg_type') is null`,
    example: "create type ops.faulty as enum ('a')",
  },
  {
    name: "a function without search_path = ''",
    query: `select pg_proc.oid::regprocedure from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
      where ${ROOM} and prokind <> 'p' and not coalesce(proconfig @> array['search_path=""'], false)`,
    example: "create function ops.faulty() returns integer language sql set search_path = public return 1",
  },
  {
    name: "a table without row level security",
    query: `select pg_class.oid::regclass from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where ${ROOM} and relkind in ('r', 'p') and not relrowsecurity`,
    example: "create table ops.faulty (account_id bigint primary key)",
  },
  {
    name: "a view with its owner's rights",
    query: `select pg_class.oid::regclass from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where ${ROOM} and (relkind = 'm' or (relkind = 'v' and not coalesce(reloptions && array['security_invoker=true', 'security_invoker=on'], false)))`,
    example: "create view ops.faulty as select 1 as one",
  },
  {
    name: "a foreign key without an index",
    query: `select conrelid::regclass, conname from pg_constraint join pg_namespace on pg_namespace.oid = connamespace
      where ${ROOM} and contype = 'f' and not exists (
        select from pg_index where indrelid = conrelid and indpred is null
        -- The columns of the key come first in the index, in whatever order.
        and (string_to_array(indkey::text, ' ')::smallint[])[1:cardinality(conkey)] @> conkey)`,
    example: "drop index ops.settings_name_idx",
  },
  {
    name: "a table in a schema that the Data API shows",
    query: `select pg_class.oid::regclass from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where nspname in (${list(EXPOSED)}) and relkind not in ('v', 'i', 'c')`,
    example: "create table api.faulty (id bigint)",
  },
  {
    name: "a function with its owner's rights in a schema that the Data API shows",
    query: `select pg_proc.oid::regprocedure from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
      where nspname in (${list(EXPOSED)}) and prosecdef`,
    example: "create function api.faulty() returns integer language sql security definer set search_path = '' return 1",
  },
  {
    name: "something in public",
    query: `select relname from pg_class where relnamespace = 'public'::regnamespace
      union all select proname from pg_proc where pronamespace = 'public'::regnamespace
      union all select typname from pg_type where typnamespace = 'public'::regnamespace`,
    example: "create table public.faulty ()",
  },
  {
    name: "a primary key that does not begin with the account",
    query: `select pg_class.oid::regclass from pg_class join pg_namespace on pg_namespace.oid = relnamespace
      where ${ROOM} and relkind in ('r', 'p')
      -- The settings, metrics, variables of replies and words for one thing there are, are the same for every account, and
      -- cron's jobs are the project's.
      and pg_class.oid not in ('ops.setting_definitions'::regclass, 'ledger.metric_definitions'::regclass,
        'replies.variables'::regclass, 'replies.concepts'::regclass, 'ops.job_runs'::regclass)
      and not exists (
        select from pg_index join pg_attribute on attrelid = indrelid and attnum = indkey[0]
        where indrelid = pg_class.oid and indisprimary and attname = 'account_id')`,
    example: "create table ops.faulty (id bigint primary key, account_id bigint)",
  },
  {
    name: "a timestamp that does not say of which zone",
    query: `select attrelid::regclass, attname from pg_attribute join pg_class on pg_class.oid = attrelid
      join pg_namespace on pg_namespace.oid = relnamespace
      where ${ROOM} and attnum > 0 and atttypid in ('timestamp'::regtype, 'timestamp[]'::regtype, 'time'::regtype)`,
    example: "alter table ops.settings add column faulty timestamp",
  },
  {
    name: "an update or delete of all rows, which pg_safeupdate refuses",
    // Strings and comments are taken out first: a sentence may begin with Update. What follows `on conflict do`,
    // `for`, `for no key` and `on` is no statement of its own.
    query: `select pg_proc.oid::regprocedure, statement[1] from pg_proc
      join pg_namespace on pg_namespace.oid = pronamespace
      cross join regexp_matches(regexp_replace(prosrc, '--[^\\n]*|''[^'']*''', '', 'g'),
        '(?<!do\\s)(?<!for\\s)(?<!key\\s)(?<!on\\s)\\m((?:update\\s+(?!of\\M)[a-z_.]+|delete\\s+from\\M)[^;]*)', 'gi') as statement
      where ${ROOM} and statement[1] !~* '\\mwhere\\M'`,
    example: `create function ops.faulty() returns void language plpgsql set search_path = '' as
      'begin update ops.settings set name = name; end'`,
  },
  {
    name: "a policy that asks who is signed in once a row",
    query: `select polname from pg_policy where pg_get_expr(polqual, polrelid) ~ 'auth\\.(uid|jwt|role)\\(\\)'
      and pg_get_expr(polqual, polrelid) !~* 'select auth\\.'`,
    example: "create policy faulty on ops.settings for select to authenticated using (changed_by = auth.uid()::text)",
  },
  {
    name: "a policy for everybody, or one that lets somebody write",
    query: `select polname, polrelid::regclass from pg_policy join pg_class on pg_class.oid = polrelid
      join pg_namespace on pg_namespace.oid = relnamespace
      where ${ROOM} and (polcmd <> 'r' or polroles && array[0::oid, 'anon'::regrole::oid])`,
    example: "create policy faulty on ops.settings for select to anon using (true)",
  },
];

/** Who may execute which function; what Postgres lets everybody do counts as everybody. */
export const FUNCTION_GRANTS = `
  select pg_proc.oid::regprocedure::text as object, coalesce(nullif(grantee, 0)::regrole::text, 'public') as role
  from pg_proc join pg_namespace on pg_namespace.oid = pronamespace
  cross join aclexplode(coalesce(proacl, acldefault('f', proowner)))
  where ${ROOM} and grantee <> proowner order by 1, 2`;

/** Who may do what with which table, view or column. */
export const TABLE_GRANTS = `
  select object, role, string_agg(privilege, ', ' order by privilege) as privileges from (
    select pg_class.oid::regclass::text as object, coalesce(nullif(grantee, 0)::regrole::text, 'public') as role,
      lower(privilege_type) as privilege
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace
    cross join aclexplode(coalesce(relacl, acldefault('r', relowner)))
    where ${ROOM} and relkind in ('r', 'p', 'v', 'm', 'S') and grantee <> relowner
    union all
    select attrelid::regclass::text || ' (columns)', coalesce(nullif(grantee, 0)::regrole::text, 'public'),
      lower(privilege_type) || ' ' || attname
    from pg_attribute join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace
    cross join aclexplode(attacl) where ${ROOM} and grantee <> relowner
  ) as granted group by 1, 2 order by 1, 2`;

/** Who may name things in which room, and who may make them there. */
export const SCHEMA_GRANTS = `
  select nspname as object, coalesce(nullif(grantee, 0)::regrole::text, 'public') as role,
    string_agg(lower(privilege_type), ', ' order by privilege_type) as privileges
  from pg_namespace cross join aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
  where ${ROOM} and grantee <> nspowner group by 1, 2 order by 1, 2`;

/** Roles that may do more than they were granted, since they are members of others. */
export const MEMBERSHIPS = `
  select member::regrole::text as role, roleid::regrole::text as may_become from pg_auth_members
  where member::regrole::text in (${ROLES})`;
