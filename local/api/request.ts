// Reads a Data API URL into a tree. Pure: knows neither the catalogue nor SQL. What it does not know it refuses.
import { ApiError, unparsable } from "./errors.ts";

/** A column, or a path into its JSON: `payload->a->>0`. */
export interface Field {
  column: string;
  path: { arrow: "->" | "->>"; key: string }[];
}
export interface Filter {
  kind: "filter";
  negated: boolean;
  field: Field;
  operator: string;
  /** `any` or `all` for list operators, a text search configuration for `fts` and its kin. */
  modifier: string | null;
  value: string | string[];
}
export interface Tree {
  kind: "and" | "or";
  negated: boolean;
  members: (Filter | Tree)[];
}
export interface Order {
  field: Field;
  descending: boolean;
  nulls: "first" | "last" | null;
}
export interface Column {
  kind: "column";
  field: Field;
  alias: string | null;
  cast: string | null;
}
export interface Embed {
  kind: "embed";
  relation: string;
  alias: string | null;
  hint: string | null;
  inner: boolean;
  node: Node;
}
/** What is asked of one relation, embedded or not. */
export interface Node {
  /** Null means every column. */
  select: (Column | Embed | "*")[];
  where: (Filter | Tree)[];
  order: Order[];
  limit: number | null;
  offset: number;
}
export interface Query {
  node: Node;
  /** Keys that belong to no relation: on_conflict, columns. */
  onConflict: string[];
  columns: string[] | null;
  /** Arguments of a function called by GET, in order; one name may come several times. */
  parameters: { name: string; value: string }[];
}

const MAX_DEPTH = 20;
const MAX_KEYS = 1000;
const COMPARISONS = ["eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "isdistinct"];
const SETS = ["cs", "cd", "ov", "sl", "sr", "nxl", "nxr", "adj"];
const QUANTIFIED = ["eq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch"];
const SEARCHES = ["fts", "plfts", "phfts", "wfts"];

/** Reads text from left to right; every grammar below is a few calls of it. */
class Reader {
  readonly text: string;
  readonly subject: string;
  at = 0;
  constructor(text: string, subject: string) {
    this.text = text;
    this.subject = subject;
  }
  get done(): boolean {
    return this.at >= this.text.length;
  }
  skip(token: string): boolean {
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }
  match(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found) this.at += found[0].length;
    return found;
  }
  expect(token: string): void {
    if (!this.skip(token)) this.fail(`expecting "${token}"`);
  }
  end(): void {
    if (!this.done) this.fail("unexpected text");
  }
  fail(why: string): never {
    throw unparsable(
      `failed to parse ${this.subject} (${shorten(this.text)})`,
      `${why} at column ${this.at + 1}`,
    );
  }
}

const shorten = (text: string): string => text.length > 200 ? `${text.slice(0, 200)}…` : text;

const QUOTED = /"((?:[^"\\]|\\.)*)"/suy;
const NAME = /(?:[\p{L}\p{N}_$ ]|-(?!>))+/uy;
const ALIAS = /((?:[\p{L}\p{N}_$ ]|-(?!>))+|"(?:[^"\\]|\\.)*"):(?!:)/suy;

const unescape = (text: string): string => text.replace(/\\(.)/gsu, "$1");

function readName(reader: Reader): string {
  const quoted = reader.match(QUOTED);
  if (quoted) return unescape(quoted[1]);
  const name = reader.match(NAME)?.[0].trim();
  return name || reader.fail("expecting a name");
}

function readField(reader: Reader): Field {
  const column = readName(reader);
  const path: Field["path"] = [];
  while (true) {
    const arrow = reader.skip("->>") ? "->>" : reader.skip("->") ? "->" : null;
    if (arrow === null) return { column, path };
    if (path.length >= MAX_DEPTH) reader.fail(`a JSON path may have ${MAX_DEPTH} steps`);
    path.push({ arrow, key: readName(reader) });
  }
}

/** Splits a query string without the leniency of URLSearchParams, which would turn broken bytes into U+FFFD. */
export function readPairs(queryString: string): [string, string][] {
  if (queryString === "") return [];
  const pairs = queryString.split("&").filter((part) => part !== "");
  if (pairs.length > MAX_KEYS) throw unparsable(`more than ${MAX_KEYS} query parameters`);
  return pairs.map((part) => {
    const cut = part.indexOf("=");
    const [key, value] = cut < 0 ? [part, ""] : [part.slice(0, cut), part.slice(cut + 1)];
    return [decode(key), decode(value)];
  });
}

/** Decodes one piece of a URL; broken percent-encoding and NUL are refused. */
export function decode(text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    throw unparsable("the URL holds invalid percent-encoding");
  }
  if (decoded.includes("\0")) throw unparsable("the URL holds a NUL character, which Postgres text cannot");
  return decoded;
}

/** Reads the query string; `isParameter` tells a function's arguments from filters on what it returns. */
export function readQuery(pairs: [string, string][], isParameter: (name: string) => boolean = () => false): Query {
  const query: Query = {
    node: emptyNode(),
    onConflict: [],
    columns: null,
    parameters: [],
  };
  const root = query.node;
  const select = pairs.find(([key]) => key === "select");
  root.select = select ? readSelect(select[1]) : ["*"];
  for (const [key, value] of pairs) {
    if (key === "select") continue;
    if (isParameter(key)) query.parameters.push({ name: key, value });
    else if (key === "on_conflict") query.onConflict = readNames(value, key);
    else if (key === "columns") query.columns = readNames(value, key);
    else readClause(root, key, value);
  }
  return query;
}

const emptyNode = (): Node => ({ select: [], where: [], order: [], limit: null, offset: 0 });

function readNames(text: string, subject: string): string[] {
  const reader = new Reader(text, `${subject} parameter`);
  const names: string[] = [];
  do names.push(readName(reader)); while (reader.skip(","));
  reader.end();
  return names;
}

function readSelect(text: string): Node["select"] {
  const reader = new Reader(text, "select parameter");
  if (text === "") return [];
  const items = readItems(reader, 0);
  reader.end();
  return items;
}

function readItems(reader: Reader, depth: number): Node["select"] {
  if (depth > MAX_DEPTH) reader.fail(`relations may be nested ${MAX_DEPTH} deep`);
  const items: Node["select"] = [];
  do items.push(readItem(reader, depth)); while (reader.skip(","));
  return items;
}

function readItem(reader: Reader, depth: number): Column | Embed | "*" {
  if (reader.skip("*")) return "*";
  if (reader.skip("...")) reader.fail("spread embeds are not served locally");
  const alias = readAlias(reader);
  const start = reader.at;
  const name = readName(reader);
  if (/^!|^\((?!\))/u.test(reader.text.slice(reader.at, reader.at + 2))) {
    return readEmbed(reader, name, alias, depth);
  }
  if (reader.skip("()")) {
    if (name !== "count") return readEmptyEmbed(name, alias);
    throw aggregatesAreOff();
  }
  reader.at = start;
  const field = readField(reader);
  let cast: string | null = null;
  if (reader.skip("::")) cast = readCast(reader);
  if (reader.match(/\.(?:sum|avg|min|max|count)\(\)/y)) throw aggregatesAreOff();
  return { kind: "column", field, alias, cast };
}

const readEmptyEmbed = (relation: string, alias: string | null): Embed => ({
  kind: "embed",
  relation,
  alias,
  hint: null,
  inner: false,
  node: emptyNode(),
});

function readEmbed(reader: Reader, relation: string, alias: string | null, depth: number): Embed {
  const embed = readEmptyEmbed(relation, alias);
  while (reader.skip("!")) {
    const word = readName(reader);
    if (word === "inner") embed.inner = true;
    else if (word !== "left") embed.hint = word;
  }
  reader.expect("(");
  if (!reader.skip(")")) {
    embed.node.select = readItems(reader, depth + 1);
    reader.expect(")");
  }
  return embed;
}

function readAlias(reader: Reader): string | null {
  const found = reader.match(ALIAS);
  if (!found) return null;
  return found[1].startsWith('"') ? unescape(found[1].slice(1, -1)) : found[1].trim();
}

const readCast = (reader: Reader): string =>
  reader.match(/[a-z_][a-z0-9_ ]*(?:\[\])?/iy)?.[0] ?? reader.fail("expecting a type");

const aggregatesAreOff = () => new ApiError(400, "PGRST123", "Use of aggregate functions is not allowed");

/** One `key=value` that is neither select nor an argument: a filter, a tree, order, limit or offset, maybe of an embed. */
function readClause(root: Node, key: string, value: string): void {
  const reader = new Reader(key, "filter");
  let node = root;
  while (true) {
    const rest = key.slice(reader.at);
    if (rest === "order") return void node.order.push(...readOrder(value));
    if (rest === "limit") return void (node.limit = readCount(value, "limit"));
    if (rest === "offset") return void (node.offset = readCount(value, "offset"));
    const tree = /^(not\.)?(and|or)$/.exec(rest);
    if (tree) return void node.where.push(readTreeParameter(tree[2], tree[1] !== undefined, value));
    const start = reader.at;
    const name = readName(reader);
    if (!reader.skip(".")) {
      reader.at = start;
      const field = readField(reader);
      reader.end();
      return void node.where.push(readFilterValue(field, new Reader(value, "filter"), false));
    }
    node = findEmbed(node, name);
  }
}

function findEmbed(node: Node, name: string): Node {
  for (const item of node.select) {
    if (item !== "*" && item.kind === "embed" && (item.alias ?? item.relation) === name) return item.node;
  }
  throw new ApiError(400, "PGRST108", `'${shorten(name)}' is not an embedded resource in this request`, {
    hint: `Verify that '${shorten(name)}' is included in the 'select' query parameter.`,
  });
}

function readCount(value: string, subject: string): number {
  if (!/^\d{1,15}$/.test(value)) {
    throw unparsable(`failed to parse ${subject} parameter (${shorten(value)})`, "expecting a whole number from 0 up");
  }
  return Number(value);
}

function readOrder(text: string): Order[] {
  const reader = new Reader(text, "order parameter");
  const orders: Order[] = [];
  do {
    const field = readField(reader);
    const direction = reader.match(/\.(asc|desc)(?![a-z])/y)?.[1];
    const nulls = reader.match(/\.nulls(first|last)(?![a-z])/y)?.[1];
    orders.push({
      field,
      descending: direction === "desc",
      nulls: nulls === "first" || nulls === "last" ? nulls : null,
    });
  } while (reader.skip(","));
  reader.end();
  return orders;
}

function readTreeParameter(kind: string, negated: boolean, value: string): Tree {
  const reader = new Reader(value, "logic tree");
  const tree = readTree(reader, kind === "or" ? "or" : "and", negated, 0);
  reader.end();
  return tree;
}

function readTree(reader: Reader, kind: "and" | "or", negated: boolean, depth: number): Tree {
  if (depth > MAX_DEPTH) reader.fail(`and() and or() may be nested ${MAX_DEPTH} deep`);
  reader.expect("(");
  const members: Tree["members"] = [];
  do {
    const inner = reader.match(/(not\.)?(and|or)(?=\()/y);
    if (inner) members.push(readTree(reader, inner[2] === "or" ? "or" : "and", inner[1] !== undefined, depth + 1));
    else {
      const field = readField(reader);
      reader.expect(".");
      members.push(readFilterValue(field, reader, true));
    }
  } while (reader.skip(","));
  reader.expect(")");
  return { kind, negated, members };
}

/** `not.op(modifier).value`; inside a tree the value ends at a comma or bracket unless it is quoted. */
function readFilterValue(field: Field, reader: Reader, nested: boolean): Filter {
  const negated = reader.skip("not.");
  const operator = reader.match(/[a-z]+/y)?.[0] ?? reader.fail("expecting an operator (eq, gt, in, ...)");
  const modifier = reader.match(/\(([\p{L}\p{N}_]{1,63})\)/uy)?.[1] ?? null;
  reader.expect(".");
  const filter = { kind: "filter" as const, negated, field, operator, modifier };
  if (operator === "in") {
    if (modifier !== null) reader.fail("in takes no modifier");
    const value = readList(reader, "(", ")");
    if (!nested) reader.end();
    return { ...filter, value };
  }
  if (modifier === "any" || modifier === "all") {
    if (!QUANTIFIED.includes(operator)) reader.fail(`${operator} does not take ${modifier}`);
    const value = readList(reader, "{", "}");
    if (!nested) reader.end();
    return { ...filter, value };
  }
  const known = SEARCHES.includes(operator) ||
    (modifier === null && (COMPARISONS.includes(operator) || SETS.includes(operator) || operator === "is"));
  if (!known) reader.fail(`unknown operator "${operator}"`);
  const value = nested ? readNestedValue(reader) : reader.text.slice(reader.at);
  if (operator === "is" && !["null", "not_null", "true", "false", "unknown"].includes(value.toLowerCase())) {
    reader.fail("is takes null, not_null, true, false or unknown");
  }
  return { ...filter, value };
}

function readNestedValue(reader: Reader): string {
  const start = reader.at;
  const quoted = reader.match(QUOTED);
  if (quoted && (reader.done || /[,)]/.test(reader.text[reader.at]))) return unescape(quoted[1]);
  reader.at = start;
  const array = reader.match(/\{[^{}]*\}(?=[,)]|$)/y);
  return array?.[0] ?? reader.match(/[^,)]*/y)?.[0] ?? "";
}

/** Elements between brackets; an element in double quotes may hold anything, with a backslash before quotes. */
function readList(reader: Reader, open: string, close: string): string[] {
  reader.expect(open);
  const values: string[] = [];
  if (reader.skip(close)) return values;
  const bare = close === ")" ? /[^,)]*/y : /[^,}]*/y;
  do {
    const start = reader.at;
    const quoted = reader.match(QUOTED);
    if (quoted && [",", close].includes(reader.text[reader.at])) values.push(unescape(quoted[1]));
    else {
      reader.at = start;
      values.push(reader.match(bare)?.[0] ?? "");
    }
  } while (reader.skip(","));
  reader.expect(close);
  return values;
}
