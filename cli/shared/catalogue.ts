// What a database of this project consists of, in a form that can be kept in a file and compared. What differs between
// versions of Postgres, and what belongs to the platform, is left out.
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Database } from "./connection.ts";
import { EXIT, Problem } from "./problem.ts";

export const ROOMS = [
  "access",
  "audit",
  "ops",
  "chatwoot",
  "inbox",
  "sync",
  "ledger",
  "sla",
  "replies",
  "actions",
  "analytics",
  "api",
];
const ROLES = ["anon", "authenticated", "analyst", "service_role"];
const EXTENSIONS = ["http", "pg_cron", "pgcrypto", "supabase_vault"];

const Grants = z.record(z.string(), z.array(z.string()));
const Catalogue = z.strictObject({
  /** Name and schema; null where the platform chooses it. */
  extensions: z.record(z.string(), z.string().nullable()),
  roles: z.array(z.string()),
  jobs: z.record(z.string(), z.strictObject({ schedule: z.string(), command: z.string() })),
  settings: z.array(z.string()),
  /** Who may use each room. */
  schemas: Grants,
  relations: z.record(
    z.string(),
    z.strictObject({ kind: z.string(), shape: z.string(), protected: z.boolean(), grants: Grants }),
  ),
  functions: z.record(
    z.string(),
    z.strictObject({ kind: z.string(), body: z.string(), callers: z.array(z.string()) }),
  ),
  triggers: z.array(z.string()),
  /** What each is for: its condition is written otherwise by another version of Postgres, and one that is no condition is not. */
  policies: z.record(z.string(), z.string()),
  indexes: z.array(z.string()),
});
export type Catalogue = z.infer<typeof Catalogue>;

const QUERY = `
with rooms as (
  select schemas.oid, schemas.nspname as name, schemas.nspacl from pg_catalog.pg_namespace as schemas
  where schemas.nspname = any ($1::text[])
), grantees as (
  select roles.oid, roles.rolname::text as name from pg_catalog.pg_roles as roles where roles.rolname = any ($2::text[])
  union all select 0, 'public'
), relation_grants as (
  select relations.oid, grantees.name as grantee, lower(acl.privilege_type) as privilege
  from pg_catalog.pg_class as relations join rooms on rooms.oid = relations.relnamespace
  cross join lateral aclexplode(relations.relacl) as acl join grantees on grantees.oid = acl.grantee
  where relations.relkind in ('r', 'v', 'p', 'm')
  union all
  select relations.oid, grantees.name,
    lower(acl.privilege_type) || '(' || string_agg(columns.attname::text, ', ' order by columns.attname) || ')'
  from pg_catalog.pg_class as relations join rooms on rooms.oid = relations.relnamespace
  join pg_catalog.pg_attribute as columns on columns.attrelid = relations.oid and columns.attacl is not null
  cross join lateral aclexplode(columns.attacl) as acl join grantees on grantees.oid = acl.grantee
  group by relations.oid, grantees.name, acl.privilege_type
)
select jsonb_build_object(
  'extensions', (select coalesce(jsonb_object_agg(extensions.extname,
      case when extensions.extname = 'pg_cron' then null else schemas.nspname end), '{}')
    from pg_catalog.pg_extension as extensions join pg_catalog.pg_namespace as schemas on schemas.oid = extensions.extnamespace
    where extensions.extname = any ($3::text[])),
  'roles', (select coalesce(jsonb_agg(roles.rolname order by roles.rolname), '[]') from pg_catalog.pg_roles as roles
    where roles.rolname = any ($2::text[] || array['authenticator'])),
  'schemas', (select coalesce(jsonb_object_agg(rooms.name, (
      select coalesce(jsonb_agg(grantees.name order by grantees.name), '[]')
      from aclexplode(rooms.nspacl) as acl join grantees on grantees.oid = acl.grantee
      where acl.privilege_type = 'USAGE')), '{}') from rooms),
  'relations', (select coalesce(jsonb_object_agg(rooms.name || '.' || relations.relname, jsonb_build_object(
      'kind', case relations.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
      'shape', (select md5(string_agg(format('%s %s', columns.attname, format_type(columns.atttypid, columns.atttypmod)),
          ',' order by columns.attnum)) from pg_catalog.pg_attribute as columns
        where columns.attrelid = relations.oid and columns.attnum > 0 and not columns.attisdropped),
      'protected', case when relations.relkind = 'v'
        then coalesce('security_invoker=true' = any (relations.reloptions), false) else relations.relrowsecurity end,
      'grants', (select coalesce(jsonb_object_agg(given.grantee, given.privileges), '{}') from (
          select relation_grants.grantee, jsonb_agg(relation_grants.privilege order by relation_grants.privilege) as privileges
          from relation_grants where relation_grants.oid = relations.oid group by relation_grants.grantee) as given))), '{}')
    from pg_catalog.pg_class as relations join rooms on rooms.oid = relations.relnamespace
    where relations.relkind in ('r', 'v', 'p', 'm')),
  'functions', (select coalesce(jsonb_object_agg(
      format('%s.%s(%s)', rooms.name, functions.proname, pg_get_function_identity_arguments(functions.oid)), jsonb_build_object(
      'kind', case functions.prokind when 'p' then 'procedure' else 'function' end || case when functions.prosecdef then ' as owner' else '' end,
      'body', md5(functions.prosrc || coalesce(array_to_string(functions.proconfig, ','), '')),
      'callers', (select coalesce(jsonb_agg(grantees.name order by grantees.name), '[]')
        from aclexplode(coalesce(functions.proacl, acldefault('f', functions.proowner))) as acl
        join grantees on grantees.oid = acl.grantee))), '{}')
    from pg_catalog.pg_proc as functions join rooms on rooms.oid = functions.pronamespace
    where functions.prokind in ('f', 'p')),
  'triggers', (select coalesce(jsonb_agg(format('%s.%s: %s%s', rooms.name, relations.relname, triggers.tgname,
        case when triggers.tgenabled = 'D' then ' (disabled)' else '' end)
      order by rooms.name, relations.relname, triggers.tgname), '[]')
    from pg_catalog.pg_trigger as triggers join pg_catalog.pg_class as relations on relations.oid = triggers.tgrelid
    join rooms on rooms.oid = relations.relnamespace where not triggers.tgisinternal),
  'policies', (select coalesce(jsonb_object_agg(format('%s.%s: %s', rooms.name, relations.relname, policies.polname),
      format('%s to %s%s', case policies.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update'
          when 'd' then 'delete' else 'all' end,
        (select string_agg(case when roles.oid = 0 then 'public' else pg_get_userbyid(roles.oid)::text end, ', ' order by roles.oid = 0,
          pg_get_userbyid(roles.oid)) from unnest(policies.polroles) as roles (oid)),
        case when coalesce(pg_get_expr(policies.polqual, policies.polrelid), 'true') = 'true' then ', every row' else '' end)), '{}')
    from pg_catalog.pg_policy as policies join pg_catalog.pg_class as relations on relations.oid = policies.polrelid
    join rooms on rooms.oid = relations.relnamespace),
  'indexes', (select coalesce(jsonb_agg(rooms.name || '.' || relations.relname order by rooms.name, relations.relname), '[]')
    from pg_catalog.pg_class as relations join rooms on rooms.oid = relations.relnamespace
    join pg_catalog.pg_index as indexes on indexes.indexrelid = relations.oid and indexes.indisvalid
    where relations.relkind in ('i', 'I'))
) as catalogue`;

/** What this database consists of. Never fails because something is missing: that is what is asked. */
export async function readCatalogue(database: Database): Promise<Catalogue> {
  const [{ catalogue }] = await database.rows<{ catalogue: Record<string, unknown> }>(QUERY, [
    ROOMS,
    ROLES,
    EXTENSIONS,
  ]);
  const [{ cron, definitions }] = await database.rows<{ cron: boolean; definitions: boolean }>(
    `select to_regclass('cron.job') is not null as cron, to_regclass('ops.setting_definitions') is not null as definitions`,
  );
  const jobs = cron
    ? await database.rows<{ jobname: string; schedule: string; command: string }>(
      "select jobname, schedule, command from cron.job where active and jobname is not null order by jobname",
    )
    : [];
  const settings = definitions
    ? await database.rows<{ name: string }>("select name from ops.setting_definitions order by name")
    : [];
  return Catalogue.parse({
    ...catalogue,
    jobs: Object.fromEntries(jobs.map(({ jobname, schedule, command }) => [jobname, { schedule, command }])),
    settings: settings.map(({ name }) => name),
  });
}

/** As it is kept in cli/expected.json: one line an object, so that a change shows as one. */
export function printCatalogue(catalogue: Catalogue): string {
  const lines = (Object.keys(Catalogue.shape) as (keyof Catalogue)[]).map((part) => {
    const value: unknown = catalogue[part];
    const items = Array.isArray(value)
      ? [...value].sort().map((item) => JSON.stringify(item))
      : Object.entries(value as Record<string, unknown>).sort(([one], [other]) => one < other ? -1 : 1)
        .map(([name, item]) => `${JSON.stringify(name)}: ${JSON.stringify(item)}`);
    const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
    return `  ${JSON.stringify(part)}: ${open}${items.map((item) => `\n    ${item}`).join(",")}\n  ${close}`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}

/** What a database must consist of, as the migrations of this checkout make it. */
export async function readExpected(): Promise<Catalogue> {
  const text = await readFile(new URL("../expected.json", import.meta.url), "utf8").catch(() => "null");
  const parsed = Catalogue.safeParse(JSON.parse(text));
  if (parsed.success) return parsed.data;
  throw new Problem(
    EXIT.finding,
    "cli/expected.json is missing or not of this version.",
    "Write it anew: npm run docs.",
  );
}

export interface Difference {
  what: "extensions" | "roles" | "jobs" | "settings" | "objects" | "grants" | "functions";
  message: string;
  fix: string;
}

/** What is missing or not as it should be, each with its remedy. What there is beyond is no fault, but for rights. */
export function compare(actual: Catalogue, expected: Catalogue, files: MigrationFinder): Difference[] {
  const found: Difference[] = [];
  const add = (what: Difference["what"], message: string, fix: string) => void found.push({ what, message, fix });

  for (const [name, schema] of Object.entries(expected.extensions)) {
    const place = schema === null || name === "supabase_vault" ? "" : ` with schema ${schema}`;
    if (!Object.hasOwn(actual.extensions, name)) {
      add("extensions", `The extension ${name} is missing.`, `create extension if not exists ${name}${place};`);
    } else if (actual.extensions[name] !== schema) {
      add(
        "extensions",
        `The extension ${name} is in schema ${actual.extensions[name]} and not in ${schema}.`,
        `drop extension ${name}; create extension ${name}${place};`,
      );
    }
  }
  for (const role of expected.roles.filter((name) => !actual.roles.includes(name))) {
    add(
      "roles",
      `The role ${role} is missing.`,
      role === "analyst" ? "create role analyst nologin;" : "That is no Supabase project: check OCC_DB_URL.",
    );
  }
  for (const [name, { schedule, command }] of Object.entries(expected.jobs)) {
    const job = actual.jobs[name];
    const call = `cron.schedule('${name}', '${schedule}', '${command.replaceAll("'", "''")}')`;
    const fix = `select ${call};`;
    // Scheduling one that is switched off leaves it so.
    if (job === undefined) {
      add("jobs", `The job ${name} is missing or switched off.`, `select cron.alter_job(${call}, active => true);`);
    } else if (job.schedule !== schedule || job.command !== command) {
      add(
        "jobs",
        `The job ${name} runs "${job.command}" at ${job.schedule}, and not "${command}" at ${schedule}.`,
        fix,
      );
    }
  }
  const missing = (kind: string, name: string) =>
    add("objects", `The ${kind} ${name} is missing.`, `npx supabase db push; if it is applied already: ${files(name)}`);
  for (const name of expected.settings.filter((setting) => !actual.settings.includes(setting))) {
    add(
      "settings",
      `The setting ${name} is not defined.`,
      `npx supabase db push; if it is applied already: ${files(name)}`,
    );
  }
  for (const room of Object.keys(expected.schemas)) if (!Object.hasOwn(actual.schemas, room)) missing("schema", room);
  for (const [room, users] of Object.entries(expected.schemas)) {
    compareGrants(add, {
      on: `schema ${room}`,
      was: { usage: actual.schemas[room] ?? users },
      wanted: { usage: users },
    });
  }
  for (const [name, relation] of Object.entries(expected.relations)) {
    const there = actual.relations[name];
    if (there === undefined) {
      missing(relation.kind, name);
      continue;
    }
    if (there.shape !== relation.shape) {
      add(
        "objects",
        `The columns of ${name} are not those of this checkout.`,
        `npx supabase db push; else ${files(name)}`,
      );
    }
    if (relation.protected && !there.protected) {
      add(
        "grants",
        relation.kind === "view" ? `The view ${name} shows what its owner may see.` : `Row security of ${name} is off.`,
        relation.kind === "view"
          ? `alter view ${name} set (security_invoker = true);`
          : `alter table ${name} enable row level security;`,
      );
    }
    compareGrants(add, { on: name, was: byPrivilege(there.grants), wanted: byPrivilege(relation.grants) });
  }
  for (const [name, made] of Object.entries(expected.functions)) {
    const there = actual.functions[name];
    const kind = made.kind.split(" ")[0];
    if (there === undefined) {
      missing(kind, name);
      continue;
    }
    if (there.body !== made.body || there.kind !== made.kind) {
      add(
        "functions",
        `The ${kind} ${name} is another one than this checkout's.`,
        `npx supabase db push; else ${files(name)}`,
      );
    }
    compareGrants(add, { on: `${kind} ${name}`, was: { execute: there.callers }, wanted: { execute: made.callers } });
  }
  for (const part of ["triggers", "indexes"] as const) {
    for (const name of expected[part].filter((item) => !actual[part].includes(item))) {
      missing({ triggers: "trigger", indexes: "index" }[part], name);
    }
  }
  for (const name of Object.keys(expected.policies)) {
    if (!Object.hasOwn(actual.policies, name)) missing("policy", name);
  }
  // One too many, or one that asks nothing any more, is a right.
  for (const [name, allows] of Object.entries(actual.policies).sort()) {
    const wanted = expected.policies[name];
    const [table, policy] = name.split(/: (.*)/s);
    const drop = `drop policy "${policy.replaceAll('"', '""')}" on ${table};`;
    if (wanted === undefined) {
      add("grants", `The policy ${name} (${allows}) is none of this checkout's.`, drop);
    } else if (allows !== wanted) {
      add("grants", `The policy ${name} allows ${allows}, and not ${wanted}.`, `${drop} Then ${files(name)}`);
    }
  }
  return found;
}

const byPrivilege = (grants: Record<string, string[]>): Record<string, string[]> => {
  const turned: Record<string, string[]> = {};
  for (const [role, privileges] of Object.entries(grants)) {
    for (const privilege of privileges) (turned[privilege] ??= []).push(role);
  }
  return turned;
};

function compareGrants(
  add: (what: Difference["what"], message: string, fix: string) => void,
  { on, was, wanted }: { on: string; was: Record<string, string[]>; wanted: Record<string, string[]> },
): void {
  for (const privilege of new Set([...Object.keys(was), ...Object.keys(wanted)])) {
    const [has, needs] = [was[privilege] ?? [], wanted[privilege] ?? []];
    for (const role of needs.filter((name) => !has.includes(name))) {
      add("grants", `${role} lacks ${privilege} on ${on}.`, `grant ${privilege} on ${on} to ${role};`);
    }
    for (const role of has.filter((name) => !needs.includes(name))) {
      add("grants", `${role} has ${privilege} on ${on}, and should not.`, `revoke ${privilege} on ${on} from ${role};`);
    }
  }
}

/** Which migration makes an object, as a thing to do. */
export type MigrationFinder = (name: string) => string;

/** Looks through the migrations' text, given by file name. */
export const migrationFinder = (migrations: Record<string, string>): MigrationFinder => (name) => {
  const bare = name.replace(/\(.*$/s, "").replace(/^.*: /, "");
  const file = Object.entries(migrations).find(([, text]) =>
    new RegExp(
      `create (or replace )?(table|view|function|procedure|schema|unique index|index|trigger|policy)[^;]{0,5}\\s+"?${
        bare.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
      }\\b`,
    ).test(text)
  )?.[0];
  return file === undefined
    ? "apply the migrations of this checkout anew"
    : `run its part of supabase/migrations/${file} again`;
};
