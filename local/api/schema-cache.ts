// What the exposed schemas hold, read from the catalogue once and again when Postgres says it changed.
import type { ClientBase } from "pg";
import { z } from "zod";

const Relation = z.object({
  schema: z.string(),
  name: z.string(),
  /** In the catalogue's order; `type` is fully qualified SQL, `initial` the default expression. */
  columns: z.array(z.object({ name: z.string(), type: z.string(), initial: z.string().nullable() })),
  primary_key: z.array(z.string()),
  /** Column sets that are unique, the primary key among them: they tell one-to-one from one-to-many. */
  unique_keys: z.array(z.array(z.string())),
});
export type Relation = z.infer<typeof Relation>;

const ForeignKey = z.object({
  name: z.string(),
  schema: z.string(),
  relation: z.string(),
  columns: z.array(z.string()),
  foreign_schema: z.string(),
  foreign_relation: z.string(),
  foreign_columns: z.array(z.string()),
});
export type ForeignKey = z.infer<typeof ForeignKey>;

const Routine = z.object({
  schema: z.string(),
  name: z.string(),
  volatility: z.enum(["v", "s", "i"]),
  returns_set: z.boolean(),
  returns_void: z.boolean(),
  returns_composite: z.boolean(),
  settings: z.array(z.string()).nullable(),
  parameters: z.array(z.object({
    name: z.string(),
    type: z.string(),
    required: z.boolean(),
    variadic: z.boolean(),
  })),
});
export type Routine = z.infer<typeof Routine>;

const Catalogue = z.object({
  relations: z.array(Relation),
  foreign_keys: z.array(ForeignKey),
  routines: z.array(Routine),
  types: z.array(z.object({ schema: z.string(), name: z.string() })),
  role_settings: z.record(z.string(), z.array(z.object({ name: z.string(), value: z.string() }))),
});

export interface SchemaCache {
  relation(schema: string, name: string): Relation | undefined;
  routines(schema: string, name: string): Routine[];
  foreignKeys: ForeignKey[];
  /** The quoted SQL of a type a client named in a cast, or undefined. */
  type(schema: string, name: string): string | undefined;
  roleSettings(role: string): { name: string; value: string }[];
}

export const quote = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

// One statement, one JSON value. Run with an empty search_path, so that format_type qualifies every type.
const CATALOGUE = `
with exposed as (select oid, nspname from pg_namespace where nspname = any ($1::text[])),
classes as (
  select c.oid, s.nspname, c.relname, c.relkind from pg_class c join exposed s on s.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f')
),
keys as (
  select i.indrelid, i.indisprimary, (
    select json_agg(a.attname order by k.position) from unnest(i.indkey) with ordinality as k (number, position)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    where k.position <= i.indnkeyatts
  ) as columns
  from pg_index i join classes c on c.oid = i.indrelid
  where i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null
),
parameters as (
  select p.oid, json_agg(json_build_object(
    'name', coalesce(p.proargnames[n.position], ''),
    'type', format_type(n.type, null),
    'required', n.input_position <= p.pronargs - p.pronargdefaults,
    'variadic', n.mode = 'v'
  ) order by n.position) as list
  from pg_proc p
  join exposed s on s.oid = p.pronamespace
  cross join lateral (
    select a.type, a.position, coalesce(p.proargmodes[a.position]::text, 'i') as mode,
      row_number() over (order by a.position) as input_position
    from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) with ordinality as a (type, position)
    where coalesce(p.proargmodes[a.position]::text, 'i') in ('i', 'b', 'v')
  ) as n
  group by p.oid
)
select json_build_object(
  'relations', (select coalesce(json_agg(json_build_object(
      'schema', c.nspname, 'name', c.relname,
      'columns', (
        select coalesce(json_agg(json_build_object(
          'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'initial', case when a.attgenerated = '' then coalesce(pg_get_expr(d.adbin, d.adrelid), case
            when a.attidentity <> '' then (
              select format('nextval(%L)', q.objid::regclass) from pg_depend q
              where q.classid = 'pg_class'::regclass and q.refobjid = c.oid and q.refobjsubid = a.attnum
                and q.deptype = 'i' limit 1)
          end) end
        ) order by a.attnum), '[]')
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      ),
      'primary_key', coalesce((select k.columns from keys k where k.indrelid = c.oid and k.indisprimary), '[]'),
      'unique_keys', coalesce((select json_agg(k.columns) from keys k where k.indrelid = c.oid), '[]')
    )), '[]') from classes c),
  'foreign_keys', (select coalesce(json_agg(json_build_object(
      'name', f.conname, 'schema', c.nspname, 'relation', c.relname,
      'columns', (select json_agg(a.attname order by k.position)
        from unnest(f.conkey) with ordinality as k (number, position)
        join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.number),
      'foreign_schema', o.nspname, 'foreign_relation', o.relname,
      'foreign_columns', (select json_agg(a.attname order by k.position)
        from unnest(f.confkey) with ordinality as k (number, position)
        join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.number)
    )), '[]')
    from pg_constraint f join classes c on c.oid = f.conrelid join classes o on o.oid = f.confrelid
    where f.contype = 'f' and f.conparentid = 0),
  'routines', (select coalesce(json_agg(json_build_object(
      'schema', s.nspname, 'name', p.proname, 'volatility', p.provolatile::text,
      'returns_set', p.proretset, 'returns_void', p.prorettype = 'void'::regtype,
      -- With OUT or TABLE parameters even one column is a row.
      'returns_composite', t.typtype = 'c' or p.prorettype = 'record'::regtype
        or coalesce(p.proargmodes::text[] && '{t,b,o}', false),
      'settings', p.proconfig, 'parameters', coalesce(a.list, '[]')
    )), '[]')
    from pg_proc p join exposed s on s.oid = p.pronamespace join pg_type t on t.oid = p.prorettype
    left join parameters a on a.oid = p.oid
    where p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)),
  'types', (select json_agg(json_build_object('schema', s.nspname, 'name', t.typname))
    from pg_type t join pg_namespace s on s.oid = t.typnamespace
    where t.typtype in ('b', 'd', 'e', 'r', 'm') and t.typname not like '\\_%'
      and (s.nspname in ('pg_catalog', 'extensions', 'public') or s.nspname = any ($1::text[]))),
  'role_settings', (select coalesce(json_object_agg(r.rolname, r.settings), '{}') from (
    select r.rolname, json_agg(json_build_object('name', g.name, 'value', g.value)) as settings
    from pg_roles r
    cross join lateral (
      select split_part(c.pair, '=', 1) as name, substr(c.pair, strpos(c.pair, '=') + 1) as value
      from unnest(r.rolconfig) as c (pair)
    ) as g
    -- Only what any user may set: the API itself logs in as a plain user. search_path belongs to the request.
    join pg_settings p on p.name = g.name and p.context = 'user'
    where p.name not in ('search_path', 'role')
    group by r.rolname
  ) as r)
)::text as catalogue`;

const STANDARD_NAMES: Record<string, string> = {
  int: "int4",
  integer: "int4",
  smallint: "int2",
  bigint: "int8",
  real: "float4",
  float: "float8",
  "double precision": "float8",
  decimal: "numeric",
  boolean: "bool",
  "character varying": "varchar",
  "timestamp with time zone": "timestamptz",
  "timestamp without time zone": "timestamp",
  "time with time zone": "timetz",
  "time without time zone": "time",
};

/** Reads the catalogue of the exposed schemas. */
export async function loadSchemaCache(client: ClientBase, schemas: string[]): Promise<SchemaCache> {
  await client.query("begin read only; set local search_path = ''");
  let text: unknown;
  try {
    text = (await client.query(CATALOGUE, [schemas])).rows[0].catalogue;
  } finally {
    await client.query("rollback");
  }
  const catalogue = Catalogue.parse(JSON.parse(String(text)));
  const id = (schema: string, name: string) => JSON.stringify([schema, name]);
  const relations = new Map(catalogue.relations.map((relation) => [id(relation.schema, relation.name), relation]));
  const routines = new Map<string, Routine[]>();
  for (const routine of catalogue.routines) {
    const key = id(routine.schema, routine.name);
    routines.set(key, [...routines.get(key) ?? [], routine]);
  }
  const types = new Set(catalogue.types.map((type) => id(type.schema, type.name)));
  const roleSettings = new Map(Object.entries(catalogue.role_settings));
  return {
    relation: (schema, name) => relations.get(id(schema, name)),
    routines: (schema, name) => routines.get(id(schema, name)) ?? [],
    foreignKeys: catalogue.foreign_keys,
    type(schema, named) {
      const array = named.endsWith("[]");
      const bare = (array ? named.slice(0, -2) : named).trim();
      const name = STANDARD_NAMES[bare.toLowerCase()] ?? bare;
      const home = ["pg_catalog", schema, "public", "extensions"].find((place) => types.has(id(place, name)));
      return home === undefined ? undefined : `${quote(home)}.${quote(name)}${array ? "[]" : ""}`;
    },
    roleSettings: (role) => roleSettings.get(role) ?? [],
  };
}
