// Turns a request tree into one SQL statement. Pure. Values are always parameters, names are always quoted.
import { ApiError, unparsable } from "./errors.ts";
import type { Column, Embed, Field, Filter, Node, Order, Query, Tree } from "./request.ts";
import { type ForeignKey, quote, type Relation, type Routine, type SchemaCache } from "./schema-cache.ts";

export interface Statement {
  text: string;
  values: string[];
}
/** How the rows leave: as an array, as its only row, as CSV, or not at all. */
export type Shape = "array" | "object" | "csv" | "none";

export interface Options {
  shape: Shape;
  count: boolean;
  maxRows: number;
}

const OPERATORS: Record<string, string> = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  like: "~~",
  ilike: "~~*",
  match: "~",
  imatch: "~*",
  isdistinct: "is distinct from",
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-",
};
const SEARCHES: Record<string, string> = {
  fts: "to_tsquery",
  plfts: "plainto_tsquery",
  phfts: "phraseto_tsquery",
  wfts: "websearch_to_tsquery",
};

/** One relation's rows under the name they go by in the statement; a function's rows have no relation. */
interface Scope {
  alias: string;
  schema: string;
  name: string;
  relation: Relation | null;
}

class Builder {
  readonly values: string[] = [];
  readonly cache: SchemaCache;
  #aliases = 0;
  constructor(cache: SchemaCache) {
    this.cache = cache;
  }

  value(value: string | number): string {
    return `$${this.values.push(String(value))}`;
  }

  field(field: Field, scope: Scope): string {
    const column = `${quote(scope.alias)}.${quote(field.column)}`;
    if (field.path.length === 0) return column;
    const steps = field.path.map(({ arrow, key }) =>
      /^-?\d{1,9}$/.test(key) ? `${arrow}${this.value(key)}::int` : `${arrow}${this.value(key)}::text`
    );
    return `(to_jsonb(${column})${steps.join("")})`;
  }

  filter(filter: Filter, scope: Scope): string {
    const expression = this.condition(filter, this.field(filter.field, scope), scope);
    return filter.negated ? `not (${expression})` : expression;
  }

  condition({ operator, modifier, value, field }: Filter, left: string, scope: Scope): string {
    if (operator === "is") return `${left} is ${String(value).toLowerCase().replace("_", " ")}`;
    if (operator in SEARCHES) {
      const text = this.value(String(value));
      const type = scope.relation?.columns.find((column) => column.name === field.column)?.type;
      const plain = type !== undefined && type !== "tsvector" && field.path.length === 0;
      const configuration = modifier === null ? "" : `${this.value(modifier)}::regconfig, `;
      return `${plain ? `to_tsvector(${configuration}${left})` : left} @@ ${
        SEARCHES[operator]
      }(${configuration}${text})`;
    }
    // `*` stands for `%` in a URL, where a bare % would begin an escape.
    const adapt = (text: string) => operator === "like" || operator === "ilike" ? text.replaceAll("*", "%") : text;
    if (Array.isArray(value)) {
      const list = this.value(arrayLiteral(value.map(adapt)));
      return operator === "in" ? `${left} = any (${list})` : `${left} ${OPERATORS[operator]} ${modifier} (${list})`;
    }
    return `${left} ${OPERATORS[operator]} ${this.value(adapt(value))}`;
  }

  where(members: (Filter | Tree)[], scope: Scope): string[] {
    return members.map((member) => {
      if (member.kind === "filter") return this.filter(member, scope);
      const inner = this.where(member.members, scope).map((text) => `(${text})`).join(` ${member.kind} `);
      return member.negated ? `not (${inner})` : `(${inner})`;
    });
  }

  /** Every condition of a node: its filters, and for each inner embed that a related row exists. */
  conditions(node: Node, scope: Scope): string {
    const inner = embedsOf(node).filter((embed) => embed.inner).map((embed) => {
      const { scope: other, on } = this.join(embed, scope);
      const also = this.conditions(embed.node, other);
      return `exists (select 1 from ${source(other)} where ${on}${also === "" ? "" : ` and ${also}`})`;
    });
    return [...this.where(node.where, scope), ...inner].join(" and ");
  }

  order(orders: Order[], scope: Scope): string {
    if (orders.length === 0) return "";
    const terms = orders.map(({ field, descending, nulls }) =>
      `${this.field(field, scope)}${descending ? " desc" : ""}${nulls === null ? "" : ` nulls ${nulls}`}`
    );
    return ` order by ${terms.join(", ")}`;
  }

  select(node: Node, scope: Scope): string {
    return node.select.map((item) => {
      if (item === "*") return `${quote(scope.alias)}.*`;
      if (item.kind === "embed") return this.embed(item, scope);
      const expression = this.field(item.field, scope);
      if (item.cast === null) return `${expression} as ${quote(nameOf(item))}`;
      const type = this.cache.type(scope.schema, item.cast);
      if (type === undefined) throw new ApiError(400, "42704", `type "${item.cast}" does not exist`);
      return `cast(${expression} as ${type}) as ${quote(nameOf(item))}`;
    }).join(", ");
  }

  embed(embed: Embed, scope: Scope): string {
    const { scope: other, on, many } = this.join(embed, scope);
    const { node } = embed;
    const also = this.conditions(node, other);
    const rows =
      `select ${this.select(node, other)} from ${source(other)} where ${on}${also === "" ? "" : ` and ${also}`}` +
      this.order(node.order, other) + this.page(many ? node.limit : 1, node.offset);
    const json = many ? "coalesce(json_agg(pgrst_row), '[]')" : "row_to_json(pgrst_row)";
    return `(select ${json} from (${rows}) pgrst_row) as ${quote(embed.alias ?? embed.relation)}`;
  }

  page(limit: number | null, offset: number): string {
    return (limit === null ? "" : ` limit ${this.value(limit)}`) +
      (offset === 0 ? "" : ` offset ${this.value(offset)}`);
  }

  /** Finds the one foreign key between two exposed relations, in either direction. */
  join(embed: Embed, scope: Scope): { scope: Scope; on: string; many: boolean } {
    const found = this.relationships(embed, scope);
    if (found.length === 0) throw noRelationship(embed, scope);
    if (found.length > 1) throw ambiguous(embed, scope, found.map(({ key }) => key));
    const { key, outward } = found[0];
    const [mine, theirs] = outward ? [key.columns, key.foreign_columns] : [key.foreign_columns, key.columns];
    const [schema, name] = outward ? [key.foreign_schema, key.foreign_relation] : [key.schema, key.relation];
    const relation = this.cache.relation(schema, name) ?? null;
    const other = { alias: `${name}_${++this.#aliases}`, schema, name, relation };
    const on = theirs.map((column, index) =>
      `${quote(other.alias)}.${quote(column)} = ${quote(scope.alias)}.${quote(mine[index])}`
    );
    const unique = relation?.unique_keys.some((columns) => sameMembers(columns, theirs)) ?? false;
    return { scope: other, on: on.join(" and "), many: !outward && !unique };
  }

  relationships({ relation, hint }: Embed, scope: Scope): { key: ForeignKey; outward: boolean }[] {
    const fits = (key: ForeignKey, columns: string[]) =>
      hint === null || key.name === hint || (columns.length === 1 && columns[0] === hint);
    return this.cache.foreignKeys.flatMap((key) => {
      const outward = key.schema === scope.schema && key.relation === scope.name &&
        key.foreign_schema === scope.schema && key.foreign_relation === relation && fits(key, key.columns);
      const inward = key.foreign_schema === scope.schema && key.foreign_relation === scope.name &&
        key.schema === scope.schema && key.relation === relation && fits(key, key.columns);
      return [...(outward ? [{ key, outward: true }] : []), ...(inward ? [{ key, outward: false }] : [])];
    });
  }
}

const source = (scope: Scope): string => `${quote(scope.schema)}.${quote(scope.name)} as ${quote(scope.alias)}`;
const sameMembers = (some: string[], others: string[]): boolean =>
  some.length === others.length && some.every((name) => others.includes(name));
const embedsOf = (node: Node): Embed[] =>
  node.select.flatMap((item) => item !== "*" && item.kind === "embed" ? [item] : []);

/** A JSON path goes by its last name, an index in it by the name before. */
function nameOf({ alias, field }: Column): string {
  if (alias !== null) return alias;
  return field.path.findLast(({ key }) => !/^-?\d+$/.test(key))?.key ?? field.column;
}

const arrayLiteral = (values: string[]): string =>
  `{${values.map((value) => `"${value.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;

const noRelationship = (embed: Embed, scope: Scope): ApiError =>
  new ApiError(
    400,
    "PGRST200",
    `Could not find a relationship between '${scope.name}' and '${embed.relation}' in the schema cache`,
    {
      details: `Searched for a foreign key relationship between '${scope.name}' and '${embed.relation}'` +
        `${
          embed.hint === null ? "" : ` using the hint '${embed.hint}'`
        } in the schema '${scope.schema}', but no matches were found.`,
    },
  );

const ambiguous = (embed: Embed, scope: Scope, keys: ForeignKey[]): ApiError =>
  new ApiError(
    300,
    "PGRST201",
    `Could not embed because more than one relationship was found for '${scope.name}' and '${embed.relation}'`,
    { hint: `Try one of: ${keys.map((key) => `'${embed.relation}!${key.name}'`).join(", ")}.` },
  );

const BODIES: Record<Shape, string> = {
  array: "coalesce(json_agg(pgrst_row), '[]')::text",
  object: "coalesce(json_agg(pgrst_row) -> 0, 'null')::text",
  csv: "coalesce((select string_agg(name, ',') from (select json_object_keys(row_to_json(one)) as name from " +
    "(select * from pgrst_source limit 1) one) names), '') || E'\\n' || " +
    "coalesce(string_agg(substr(pgrst_row::text, 2, length(pgrst_row::text) - 2), E'\\n'), '')",
  none: "''",
};
const SETTINGS = "nullif(current_setting('response.status', true), '') as status, " +
  "nullif(current_setting('response.headers', true), '') as headers";

/** Selects the answer from what the statement's CTEs named pgrst_source; always these columns in this order. */
const answer = (ctes: string[], body: string, { total = "null", inserted = "null" } = {}): string =>
  `with ${ctes.join(", ")} select ${body} as body, count(*) as rows, ${SETTINGS}, ${total} as total, ` +
  `${inserted} as inserted from (select * from pgrst_source) pgrst_row`;

const counting = (rest: string, wanted: boolean): { total?: string } =>
  wanted ? { total: `(select count(*) from (select 1 ${rest}) counted)` } : {};

/** GET or HEAD of a table or view. */
export function readStatement(cache: SchemaCache, relation: Relation, query: Query, options: Options): Statement {
  const builder = new Builder(cache);
  const scope = { alias: relation.name, schema: relation.schema, name: relation.name, relation };
  const { node } = query;
  const conditions = builder.conditions(node, scope);
  const rest = `from ${source(scope)}${conditions === "" ? "" : ` where ${conditions}`}`;
  const page = builder.order(node.order, scope) +
    builder.page(Math.min(node.limit ?? options.maxRows, options.maxRows), node.offset);
  const ctes = [`pgrst_source as (select ${builder.select(node, scope)} ${rest}${page})`];
  const more = counting(rest, options.count);
  return { text: answer(ctes, BODIES[options.shape], more), values: builder.values };
}

export type Write =
  | {
    kind: "insert";
    /** A JSON array of objects, as text, so that no number passes through JavaScript. */
    rows: string;
    columns: string[];
    conflict: { columns: string[]; ignore: boolean } | null;
    missingAsDefault: boolean;
  }
  | { kind: "update"; row: string; columns: string[] }
  | { kind: "delete" };

/** POST, PATCH or DELETE of a table or view. */
export function writeStatement(
  cache: SchemaCache,
  { relation, query, write, shape }: { relation: Relation; query: Query; write: Write; shape: Shape },
): Statement {
  const builder = new Builder(cache);
  const scope = { alias: relation.name, schema: relation.schema, name: relation.name, relation };
  const { node } = query;
  if (node.limit !== null || node.offset !== 0) throw unparsable("limit and offset are not served for writes");
  const change = writing(builder, scope, { node, write });
  const inserted = write.kind === "insert" && write.conflict?.ignore === false
    ? { inserted: "nullif(current_setting('pgrst.inserted', true), '')" }
    : {};
  if (shape === "none") {
    const text = answer([`pgrst_source as (${change} returning 1)`], BODIES.none, inserted);
    return { text, values: builder.values };
  }
  // Rows come back through a second step, so that embeds see the relation's other rows and only what was asked for
  // needs the right to be read.
  const picked = `select ${builder.select(node, scope)} from pgrst_written as ${quote(scope.alias)}` +
    builder.order(node.order, scope);
  const ctes = [
    `pgrst_written as (${change} returning ${returning(builder, node, scope)})`,
    `pgrst_source as (${picked})`,
  ];
  return { text: answer(ctes, BODIES[shape], inserted), values: builder.values };
}

function returning(builder: Builder, node: Node, scope: Scope): string {
  if (node.select.includes("*")) return `${quote(scope.alias)}.*`;
  const names = new Set(node.order.map(({ field }) => field.column));
  for (const item of node.select) {
    if (item === "*") continue;
    if (item.kind === "column") names.add(item.field.column);
    else {
      const [found] = builder.relationships(item, scope);
      for (const name of found?.outward ? found.key.columns : found?.key.foreign_columns ?? []) names.add(name);
    }
  }
  return names.size === 0 ? "1" : [...names].map((name) => `${quote(scope.alias)}.${quote(name)}`).join(", ");
}

function writing(builder: Builder, scope: Scope, { node, write }: { node: Node; write: Write }): string {
  const target = source(scope);
  if (write.kind === "insert") return inserting(builder, scope, write);
  const conditions = builder.conditions(node, scope);
  if (write.kind === "delete") return `delete from ${target} where ${conditions}`;
  const body = `json_to_record(${builder.value(write.row)}::json) as pgrst_body (${recordOf(scope, write.columns)})`;
  const set = write.columns.map((name) => `${quote(name)} = pgrst_body.${quote(name)}`).join(", ");
  return `update ${target} set ${set} from ${body} where ${conditions}`;
}

function inserting(builder: Builder, scope: Scope, write: Extract<Write, { kind: "insert" }>): string {
  const { columns, conflict } = write;
  const target = `insert into ${source(scope)}`;
  if (columns.length === 0) return `${target} default values`;
  const names = columns.map(quote).join(", ");
  const rows = write.missingAsDefault
    ? `jsonb_to_recordset(${withDefaults(builder, scope, write)})`
    : `json_to_recordset(${builder.value(write.rows)}::json)`;
  const merging = conflict !== null && !conflict.ignore && conflict.columns.length > 0;
  // Postgres does not say how many rows of an upsert were new, so each proposed row counts up and each update down.
  const counted = merging ? ` where ${INSERTED("+ 1")}` : "";
  const values = `select ${names} from ${rows} as pgrst_body (${recordOf(scope, columns)})${counted}`;
  if (conflict === null || conflict.columns.length === 0) return `${target} (${names}) ${values}`;
  const set = columns.map((name) => `${quote(name)} = excluded.${quote(name)}`).join(", ");
  const action = conflict.ignore ? "do nothing" : `do update set ${set} where ${INSERTED("- 1")}`;
  return `${target} (${names}) ${values} on conflict (${conflict.columns.map(quote).join(", ")}) ${action}`;
}

const INSERTED = (step: string): string =>
  `set_config('pgrst.inserted', (coalesce(nullif(current_setting('pgrst.inserted', true), '')::int, 0) ${step})::text, ` +
  `true) <> ''`;

function withDefaults(builder: Builder, scope: Scope, write: Extract<Write, { kind: "insert" }>): string {
  const initial = write.columns.flatMap((name) => {
    const expression = scope.relation?.columns.find((column) => column.name === name)?.initial ?? null;
    return expression === null ? [] : [`${builder.value(name)}::text, ${expression}`];
  });
  const rows = `jsonb_array_elements(${builder.value(write.rows)}::jsonb) as pgrst_element (value)`;
  return `(select coalesce(jsonb_agg(jsonb_build_object(${
    initial.join(", ")
  }) || pgrst_element.value), '[]') from ${rows})`;
}

function recordOf(scope: Scope, names: string[]): string {
  return names.map((name) => {
    const column = scope.relation?.columns.find((column) => column.name === name);
    if (column) return `${quote(name)} ${column.type}`;
    throw new ApiError(
      400,
      "PGRST204",
      `Could not find the '${name}' column of '${scope.name}' in the schema cache`,
    );
  }).join(", ");
}

/** What a function is called with: members of a JSON object, query parameters, or the whole body. */
export type Arguments =
  | { kind: "object"; names: string[]; body: string }
  | { kind: "query"; values: Map<string, string[]> }
  | { kind: "body"; value: string };

/** A call of a function by POST, GET or HEAD. */
export function callStatement(
  cache: SchemaCache,
  { routine, query, given, options }: { routine: Routine; query: Query; given: Arguments; options: Options },
): Statement {
  const builder = new Builder(cache);
  const { node } = query;
  const scope = { alias: routine.name, schema: routine.schema, name: routine.name, relation: null };
  const { from, call } = calling(builder, routine, given);
  const limit = routine.returns_set ? Math.min(node.limit ?? options.maxRows, options.maxRows) : node.limit;
  const conditions = builder.conditions(node, scope);
  const rest = `from pgrst_call as ${quote(scope.alias)}${conditions === "" ? "" : ` where ${conditions}`}`;
  const page = builder.order(node.order, scope) + builder.page(limit, node.offset);
  const more = counting(rest, options.count);
  if (routine.returns_composite) {
    const rows = `select pgrst_result.* from ${[...from, `lateral ${call} as pgrst_result`].join(", ")}`;
    const ctes = [
      `pgrst_call as materialized (${rows})`,
      `pgrst_source as (select ${builder.select(node, scope)} ${rest}${page})`,
    ];
    const shape = options.shape === "array" && !routine.returns_set ? "object" : options.shape;
    return { text: answer(ctes, BODIES[shape], more), values: builder.values };
  }
  if (node.select.some((item) => item !== "*") || node.where.length > 0 || node.order.length > 0) {
    throw unparsable(`${routine.name} returns no columns: select, filters and order do not apply`);
  }
  const one = from.length === 0 ? "" : ` from ${from.join(", ")}`;
  const ctes = [
    // Materialized, so that the function runs even where its result is not looked at.
    `pgrst_call as materialized (select ${call} as pgrst_scalar${one})`,
    `pgrst_source as (select * ${rest}${page})`,
  ];
  return { text: answer(ctes, scalarBody(routine, options.shape), more), values: builder.values };
}

function scalarBody(routine: Routine, shape: Shape): string {
  if (shape === "none" || routine.returns_void) return BODIES.none;
  if (shape === "csv") return BODIES.csv;
  return routine.returns_set && shape === "array"
    ? "coalesce(json_agg(pgrst_row.pgrst_scalar), '[]')::text"
    : "coalesce(json_agg(pgrst_row.pgrst_scalar) -> 0, 'null')::text";
}

function calling(builder: Builder, routine: Routine, given: Arguments): { from: string[]; call: string } {
  const name = `${quote(routine.schema)}.${quote(routine.name)}`;
  const named = (parameter: Routine["parameters"][number], value: string) =>
    `${parameter.variadic ? "variadic " : ""}${quote(parameter.name)} := ${value}`;
  if (given.kind === "body") {
    return { from: [], call: `${name}(${builder.value(given.value)}::${routine.parameters[0].type})` };
  }
  if (given.kind === "query") {
    const values = routine.parameters.filter((parameter) => given.values.has(parameter.name)).map((parameter) => {
      const texts = given.values.get(parameter.name) ?? [];
      const text = parameter.variadic ? arrayLiteral(texts) : texts[texts.length - 1];
      return named(parameter, `${builder.value(text)}::${parameter.type}`);
    });
    return { from: [], call: `${name}(${values.join(", ")})` };
  }
  const used = routine.parameters.filter((parameter) => given.names.includes(parameter.name));
  if (used.length === 0) return { from: [], call: `${name}()` };
  const record = used.map((parameter) => `${quote(parameter.name)} ${parameter.type}`).join(", ");
  return {
    from: [`json_to_record(${builder.value(given.body)}::json) as pgrst_body (${record})`],
    call: `${name}(${used.map((parameter) => named(parameter, `pgrst_body.${quote(parameter.name)}`)).join(", ")})`,
  };
}
