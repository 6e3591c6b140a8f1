// npm run docs: the files that say what the migrations make, read from a database that has just been migrated.
// `npm run docs -- --check` writes nothing and fails when a file is stale.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Client } from "pg";
import { printCatalogue, readCatalogue } from "../cli/shared/catalogue.ts";
import { supabase } from "../local/migrate.ts";
import { withScratchPostgres } from "../local/scratch.ts";
import { readSettings, UserError } from "../local/settings.ts";

const EXPOSED = "api,analytics";
// In the order to read them in.
const ROOMS = [
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
const ROLES = ["anon", "authenticated", "analyst", "service_role"];

interface Relation {
  name: string;
  is_view: boolean;
  comment: string;
  readers: string[];
  is_by_column: boolean;
  columns: { name: string; type: string; may_be_null: boolean; is_key: boolean; comment: string; readers: string[] }[];
}

interface Room {
  name: string;
  comment: string;
  users: string[];
  types: { name: string; values: string[]; comment: string }[];
  relations: Relation[];
  functions: { name: string; arguments: string; returns: string; comment: string; callers: string[] }[];
}

interface Metric {
  metric: string;
  description: string;
  unit: string;
  null_rule: string;
  conversation_rule: string | null;
  version: number;
  example: string;
}

// In the order of the columns of the view.
const METRICS = `
select definitions.metric, definitions.description, definitions.unit, definitions.null_rule,
  definitions.conversation_rule, definitions.version, definitions.example
from ledger.metric_definitions as definitions
left join pg_attribute as columns
  on columns.attrelid = 'analytics.episodes'::regclass and columns.attname = definitions.metric
order by columns.attnum, definitions.metric`;

const ROOM = `
select schemas.nspname as name, obj_description(schemas.oid, 'pg_namespace') as comment,
  array(select role from unnest($2::text[]) as roles (role) where has_schema_privilege(role, schemas.oid, 'usage')) as users,
  coalesce((
    select jsonb_agg(jsonb_build_object('name', types.typname, 'comment', obj_description(types.oid, 'pg_type'),
      'values', (select jsonb_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = types.oid))
      order by types.typname)
    from pg_type as types where types.typnamespace = schemas.oid and types.typtype = 'e'), '[]') as types,
  coalesce((
    select jsonb_agg(jsonb_build_object('name', relations.relname, 'is_view', relations.relkind = 'v',
      'comment', obj_description(relations.oid, 'pg_class'),
      'readers', array(select role from unnest($2::text[]) as roles (role)
        where has_any_column_privilege(role, relations.oid, 'select')),
      'is_by_column', exists (select from unnest($2::text[]) as roles (role)
        where has_any_column_privilege(role, relations.oid, 'select')
        and not has_table_privilege(role, relations.oid, 'select')),
      'columns', (
        select jsonb_agg(jsonb_build_object('name', columns.attname,
          'type', format_type(columns.atttypid, columns.atttypmod), 'may_be_null', not columns.attnotnull,
          'is_key', exists (select from pg_index as indexes where indexes.indrelid = relations.oid
            and indexes.indisprimary and columns.attnum = any (indexes.indkey)),
          'comment', col_description(relations.oid, columns.attnum),
          'readers', array(select role from unnest($2::text[]) as roles (role)
            where has_column_privilege(role, relations.oid, columns.attnum, 'select'))) order by columns.attnum)
        from pg_attribute as columns
        where columns.attrelid = relations.oid and columns.attnum > 0 and not columns.attisdropped))
      order by relations.relkind = 'v', relations.relname)
    from pg_class as relations where relations.relnamespace = schemas.oid and relations.relkind in ('r', 'v', 'p')), '[]')
    as relations,
  coalesce((
    select jsonb_agg(jsonb_build_object('name', functions.proname,
      'arguments', pg_get_function_arguments(functions.oid), 'returns', pg_get_function_result(functions.oid),
      'comment', obj_description(functions.oid, 'pg_proc'),
      'callers', array(select role from unnest($2::text[]) as roles (role)
        where has_function_privilege(role, functions.oid, 'execute'))) order by functions.proname)
    from pg_proc as functions where functions.pronamespace = schemas.oid), '[]') as functions
from pg_namespace as schemas where schemas.nspname = $1`;

async function main(): Promise<void> {
  const unknown = process.argv.slice(2).find((argument) => argument !== "--check");
  if (unknown !== undefined) {
    throw new UserError(`"${unknown}" is not known here: use npm run docs, or npm run docs -- --check.`);
  }
  const { projectRoot } = readSettings(process.env);
  const files = await generate(projectRoot);
  const stale: string[] = [];
  for (const [file, text] of Object.entries(files)) {
    const path = join(projectRoot, file);
    if (await readFile(path, "utf8").catch(() => null) === text) continue;
    stale.push(file);
    if (process.argv.includes("--check")) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  if (!process.argv.includes("--check")) {
    console.log(stale.length > 0 ? `Written: ${stale.join(", ")}` : "Everything generated is fresh.");
  } else if (stale.length > 0) {
    throw new UserError(
      `Stale: ${stale.join(", ")}. The migrations have changed since: run "npm run docs" and commit what it writes.`,
    );
  }
}

async function generate(projectRoot: string): Promise<Record<string, string>> {
  return await withScratchPostgres(projectRoot, async (postgres) => {
    const types = await supabase(projectRoot, ["gen", "types", `--remote=${postgres.url}`, "--schema", EXPOSED]);
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    try {
      const rooms: Room[] = [];
      for (const name of ROOMS) {
        const { rows } = await client.query<Room>(ROOM, [name, ROLES]);
        if (rows.length === 0) throw new Error(`no migration makes schema ${name}`);
        rooms.push(rows[0]);
      }
      const { rows: metrics } = await client.query<Metric>(METRICS);
      const catalogue = await readCatalogue({ rows: async (text, values) => (await client.query(text, values)).rows });
      return {
        // What occ doctor compares an installation with.
        "cli/expected.json": printCatalogue(catalogue),
        "docs/data-dictionary.md": writeDictionary(rooms),
        "docs/metrics.md": writeMetrics(metrics),
        "supabase/functions/_shared/database.types.ts": `${types.trimEnd()}\n`,
      };
    } finally {
      await client.end();
    }
  });
}

function writeDictionary(rooms: Room[]): string {
  const head = `# Data dictionary

Written by \`npm run docs\` from the comments in the database. To change a line, change its \`comment on\` in
\`supabase/migrations/\` and run it again.

The roles: \`anon\` is nobody signed in, \`authenticated\` a signed-in person (who sees the accounts they are a member
of), \`analyst\` a database role that reads every account, \`service_role\` the project's own backend. All of it belongs
to \`postgres\`. A **key** column is part of the primary key.

${rooms.map((room) => `- [\`${room.name}\`](#${room.name}) ${room.comment}`).join("\n")}
`;
  return [head, ...rooms.map(writeRoom)].join("\n");
}

function writeRoom(room: Room): string {
  const parts = [`## ${room.name}\n\n${prose(room.comment)} May enter the schema: ${list(room.users)}.\n`];
  for (const type of room.types) {
    parts.push(`### Type ${room.name}.${type.name}\n\n${prose(type.comment)} Values: ${list(type.values)}.\n`);
  }
  for (const relation of room.relations) parts.push(writeRelation(room, relation));
  if (room.functions.length > 0) {
    const rows = room.functions.map((called) => [
      `\`${called.name}(${called.arguments.replaceAll(/\s+/g, " ")})\``,
      `\`${called.returns}\``,
      prose(called.comment),
      called.callers.length > 0 ? list(called.callers) : "the rooms' own functions",
    ]);
    parts.push(`### Functions of ${room.name}\n\n${table(["Function", "Returns", "What it does", "Called by"], rows)}`);
  }
  return parts.join("\n");
}

function writeRelation(room: Room, relation: Relation): string {
  const inside = relation.readers.filter((role) => room.users.includes(role));
  const outside = relation.readers.filter((role) => !room.users.includes(role));
  const readers = [
    ...(inside.length > 0
      ? [`Read by ${list(inside)}${relation.is_by_column ? ", where a column says so" : ""}.`]
      : []),
    // A grant without usage on the schema is for views elsewhere, which check the rights of whoever asks.
    ...(outside.length > 0 ? [`Through views elsewhere, read by ${list(outside)}.`] : []),
    ...(relation.readers.length === 0 ? ["Read by no API role."] : []),
  ];
  const columns = relation.columns.map((column) => [
    `\`${column.name}\`${column.is_key ? " **key**" : ""}`,
    `\`${column.type}\`${relation.is_view || !column.may_be_null ? "" : ", may be null"}`,
    prose(column.comment),
    ...(relation.is_by_column ? [column.readers.length > 0 ? list(column.readers) : "nobody"] : []),
  ]);
  const heads = ["Column", "Type", "Meaning", ...(relation.is_by_column ? ["Read by"] : [])];
  return `### ${room.name}.${relation.name}${relation.is_view ? " (view)" : ""}

${prose(relation.comment)} ${readers.join(" ")}

${table(heads, columns)}`;
}

const IN_A_CONVERSATION: Record<string, string> = {
  first: "the first episode's",
  last: "the last episode's",
  sum: "the sum of all episodes",
  list: "those of all episodes",
  longest: "the longest of all episodes",
  distinct: "each person of all episodes once",
  only: "conversations alone have it",
};

function writeMetrics(metrics: Metric[]): string {
  const whole = metrics.filter(({ conversation_rule }) => conversation_rule === "only").map(({ metric }) => metric);
  const head = `# Metrics

Written by \`npm run docs\` from \`ledger.metric_definitions\`, which clients read as \`api.metric_definitions\`. To change
a line, change it in \`supabase/migrations/20261121000495_ledger_metrics.sql\` and run it again.

Each is a column of \`analytics.episodes\`, and of \`analytics.conversations\` where it says so; of a conversation alone
are ${list(whole)}. Lengths are in seconds and have a twin with the suffix \`_business\`, of business
hours alone. Null means that there is nothing to measure, or not yet; it is never written as 0. What runs counts up to
now. What a number of a conversation is made of, with the events behind it:

\`\`\`sql
select episode, what, counted, why, started_at, ended_at, sign, seconds, opened_by, closed_by
from api.explain_metric(1, (select min(display_id) from analytics.conversations where account_id = 1), 'frt');
\`\`\`
`;
  return [head, ...metrics.map(writeMetric)].join("\n");
}

function writeMetric(metric: Metric): string {
  const rule = metric.conversation_rule;
  const twin = metric.unit.endsWith("seconds") ? `, with \`${metric.metric}_business\`` : "";
  return `## ${metric.metric}

${prose(metric.description)}

- Unit: ${metric.unit}${twin}.
- Null: ${prose(metric.null_rule)}.
- Of a conversation: ${rule === null ? "only episodes have it" : IN_A_CONVERSATION[rule]}.
- Example: ${prose(metric.example)}
- Version ${metric.version}.
`;
}

// Else a reader of Markdown takes <uuid> for a tag and shows nothing.
function prose(comment: string): string {
  return comment.replaceAll("<", "\\<");
}

function list(words: string[]): string {
  return words.length > 0 ? words.map((word) => `\`${word}\``).join(", ") : "nobody";
}

function table(heads: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
  return line(heads) + line(heads.map(() => "---")) + rows.map(line).join("");
}

main().catch((error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
