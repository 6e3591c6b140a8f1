// One Data API request: from method, headers and URL to a transaction, and from its result to an answer.
import { Buffer } from "node:buffer";
import type { IncomingHttpHeaders } from "node:http";
import { z } from "zod";
import type { Caller } from "./auth.ts";
import type { Database, Result, Transaction } from "./database.ts";
import { ApiError, fromDatabase, parseJson, unparsable } from "./errors.ts";
import { decode, type Query, readPairs, readQuery } from "./request.ts";
import type { Relation, Routine } from "./schema-cache.ts";
import { type Arguments, callStatement, readStatement, type Shape, type Write, writeStatement } from "./statement.ts";

export interface RestRequest {
  method: string;
  /** After /rest/v1/, still encoded. */
  path: string;
  query: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}
export interface RestAnswer {
  status: number;
  headers: [string, string][];
  body: string;
}
export interface RestSettings {
  database: Database;
  schemas: string[];
  maxRows: number;
}

/** What the request's headers ask for, apart from its URL. */
interface Wishes {
  shape: Exclude<Shape, "none">;
  count: boolean;
  representation: boolean;
  resolution: "merge-duplicates" | "ignore-duplicates" | null;
  missingAsDefault: boolean;
  maxAffected: number | null;
  applied: string[];
}

const MEDIA_TYPES: Record<string, Wishes["shape"]> = {
  "*/*": "array",
  "application/*": "array",
  "application/json": "array",
  "application/vnd.pgrst.array+json": "array",
  "application/vnd.pgrst.object+json": "object",
  "text/csv": "csv",
};
const CONTENT_TYPES: Record<Wishes["shape"], string> = {
  array: "application/json; charset=utf-8",
  object: "application/vnd.pgrst.object+json; charset=utf-8",
  csv: "text/csv; charset=utf-8",
};

export async function answerRest(request: RestRequest, caller: Caller, settings: RestSettings): Promise<RestAnswer> {
  const anonymous = caller.role === "anon";
  try {
    return await (request.path.startsWith("rpc/") ? callRoutine : useRelation)(request, caller, settings);
  } catch (error) {
    throw fromDatabase(error, anonymous);
  }
}

// ---- tables and views

async function useRelation(request: RestRequest, caller: Caller, settings: RestSettings): Promise<RestAnswer> {
  const { method } = request;
  if (!["GET", "HEAD", "POST", "PATCH", "DELETE"].includes(method)) throw unsupportedMethod(method);
  const schema = chooseSchema(request, settings.schemas);
  const name = readPath(request.path);
  const relation = await findRelation(settings.database, schema, name);
  const wishes = readWishes(request.headers);
  const query = readQuery(readPairs(request.query));
  if (method === "GET" || method === "HEAD") {
    return readRelation({ request, caller, settings, relation, wishes, query });
  }
  return writeRelation({ request, caller, settings, relation, wishes, query });
}

interface RelationRequest {
  request: RestRequest;
  caller: Caller;
  settings: RestSettings;
  relation: Relation;
  wishes: Wishes;
  query: Query;
}

async function readRelation(
  { request, caller, settings, relation, wishes, query }: RelationRequest,
): Promise<RestAnswer> {
  applyRange(request.headers, query);
  const statement = readStatement(settings.database.cache(), relation, query, {
    shape: request.method === "HEAD" ? "none" : wishes.shape,
    count: wishes.count,
    maxRows: settings.maxRows,
  });
  const transaction = transactionOf(request, caller, relation.schema);
  const result = await settings.database.run({ ...transaction, readOnly: true, statement });
  if (wishes.shape === "object") requireOne(result);
  return respond(result, wishes, pageOf(result, query));
}

async function writeRelation(
  { request, caller, settings, relation, wishes, query }: RelationRequest,
): Promise<RestAnswer> {
  const write = readWrite(request, { relation, query, wishes });
  const verb = write.kind === "update" ? "UPDATE" : "DELETE";
  // The hosted API preloads safeupdate, which refuses these before Postgres runs them.
  if (write.kind !== "insert" && query.node.where.length === 0) {
    throw new ApiError(400, "21000", `${verb} requires a WHERE clause`);
  }
  const nothing = write.kind !== "delete" && write.columns.length === 0 &&
    (write.kind === "update" || write.rows === "[]");
  const shape = wishes.representation ? wishes.shape : "none";
  const transaction = {
    ...transactionOf(request, caller, relation.schema),
    readOnly: false,
    check(result: Result) {
      if (wishes.representation && wishes.shape === "object") requireOne(result);
      requireAtMost(result, wishes.maxAffected);
    },
  };
  const result = nothing ? { ...EMPTY, body: shape === "none" ? "" : "[]" } : await settings.database.run({
    ...transaction,
    statement: writeStatement(settings.database.cache(), { relation, query, write, shape }),
  });
  const merged = write.kind === "insert" && write.conflict?.ignore === false && result.inserted === 0;
  const status = write.kind === "insert" ? (merged ? 200 : 201) : wishes.representation ? 200 : 204;
  const range = write.kind === "update" && result.rows > 0 ? `0-${result.rows - 1}` : "*";
  return respond(result, wishes, {
    status,
    contentRange: `${range}/${wishes.count ? result.rows : "*"}`,
    body: wishes.representation,
  });
}

const EMPTY: Result = { body: "", rows: 0, status: null, headers: null };

/** Not zod: it would copy every member of every body. */
function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readWrite(
  request: RestRequest,
  { relation, query, wishes }: { relation: Relation; query: Query; wishes: Wishes },
): Write {
  if (request.method === "DELETE") return { kind: "delete" };
  const body = readJsonBody(request);
  if (request.method === "PATCH") {
    const row = body.value;
    if (!isObject(row)) throw badBody("The body of a PATCH must be one JSON object");
    return { kind: "update", row: body.text, columns: checkColumns(relation, query.columns ?? Object.keys(row)) };
  }
  const rows: unknown[] = Array.isArray(body.value) ? body.value : [body.value];
  if (!rows.every(isObject)) throw badBody("The body of a POST must be a JSON object or an array of them");
  const columns = query.columns ?? sharedKeys(rows);
  if (columns.length === 0 && rows.length > 1) {
    throw badBody("Rows without any column can only be sent one by one");
  }
  return {
    kind: "insert",
    rows: rows.length === 0 ? "[]" : Array.isArray(body.value) ? body.text : `[${body.text}]`,
    columns: rows.length === 0 ? [] : checkColumns(relation, columns),
    conflict: wishes.resolution === null ? null : {
      columns: query.onConflict.length > 0 ? query.onConflict : relation.primary_key,
      ignore: wishes.resolution === "ignore-duplicates",
    },
    missingAsDefault: wishes.missingAsDefault,
  };
}

function sharedKeys(rows: Record<string, unknown>[]): string[] {
  const keys = Object.keys(rows[0] ?? {});
  const same = rows.every((row) => {
    const own = Object.keys(row);
    return own.length === keys.length && own.every((key) => keys.includes(key));
  });
  if (!same) throw badBody("All object keys must match");
  return keys;
}

function checkColumns(relation: Relation, columns: string[]): string[] {
  const unknown = columns.find((name) => !relation.columns.some((column) => column.name === name));
  if (unknown === undefined) return [...new Set(columns)];
  throw new ApiError(
    400,
    "PGRST204",
    `Could not find the '${unknown.slice(0, 200)}' column of '${relation.name}' in the schema cache`,
  );
}

// ---- functions

async function callRoutine(request: RestRequest, caller: Caller, settings: RestSettings): Promise<RestAnswer> {
  const { method } = request;
  if (!["GET", "HEAD", "POST"].includes(method)) throw unsupportedMethod(method);
  const schema = chooseSchema(request, settings.schemas);
  const name = readPath(request.path.slice("rpc/".length));
  const wishes = readWishes(request.headers);
  const pairs = readPairs(request.query);
  const body = method === "POST" ? readArguments(request) : null;
  const offered = body ?? { kind: "query" as const, names: [], value: "" };
  const find = () => chooseRoutine(settings.database.cache().routines(schema, name), { schema, name, pairs, offered });
  let chosen = find();
  if (chosen === null) {
    await settings.database.refresh();
    chosen = find();
  }
  if (chosen === null) throw noRoutine({ schema, name, offered, pairs });
  const { routine, given } = chosen;
  const isParameter = (key: string) =>
    given.kind === "query" && routine.parameters.some((parameter) => parameter.name === key);
  const query = readQuery(pairs, isParameter);
  applyRange(request.headers, query);
  const statement = callStatement(settings.database.cache(), {
    routine,
    query,
    given,
    options: {
      shape: method === "HEAD" ? "none" : wishes.shape,
      count: wishes.count,
      maxRows: settings.maxRows,
    },
  });
  const single = wishes.shape === "object" && routine.returns_composite;
  const result = await settings.database.run({
    ...transactionOf(request, caller, schema),
    readOnly: method !== "POST" || routine.volatility !== "v",
    hoisted: hoistedSettings(routine),
    statement,
    ...(single || wishes.maxAffected !== null
      ? {
        check(result: Result) {
          if (single) requireOne(result);
          requireAtMost(result, wishes.maxAffected);
        },
      }
      : {}),
  });
  return routine.returns_void
    ? respond(result, wishes, { status: 204, contentRange: null, body: false })
    : respond(result, wishes, pageOf(result, query));
}

type Offered =
  | { kind: "object"; names: string[]; value: string }
  | { kind: "body"; names: string[]; value: string; types: string[] }
  | { kind: "query"; names: string[]; value: string };

/** Reads a POST body: JSON names arguments; text and bytes can only be the single unnamed one. */
function readArguments(request: RestRequest): Offered {
  const type = mediaType(request.headers["content-type"] ?? "application/json");
  if (type === "application/octet-stream") {
    return { kind: "body", names: [], value: `\\x${request.body.toString("hex")}`, types: ["bytea"] };
  }
  if (type === "text/plain") return { kind: "body", names: [], value: utf8(request.body), types: ["text"] };
  if (request.body.length === 0) return { kind: "object", names: [], value: "{}" };
  const { text, value } = readJsonBody(request);
  return isObject(value)
    ? { kind: "object", names: Object.keys(value), value: text }
    : { kind: "body", names: [], value: text, types: ["json", "jsonb"] };
}

function chooseRoutine(
  routines: Routine[],
  { schema, name, pairs, offered }: { schema: string; name: string; pairs: [string, string][]; offered: Offered },
): { routine: Routine; given: Arguments } | null {
  const unnamed = (types: string[]) =>
    routines.find(({ parameters }) =>
      parameters.length === 1 && parameters[0].name === "" && types.includes(parameters[0].type)
    );
  if (offered.kind === "body") {
    const routine = unnamed(offered.types);
    return routine ? { routine, given: { kind: "body", value: offered.value } } : null;
  }
  const names = offered.kind === "object" ? offered.names : argumentNames(routines, pairs);
  const fitting = routines.filter(({ parameters }) =>
    parameters.every((parameter) => !parameter.required || parameter.variadic || names.includes(parameter.name)) &&
    names.every((given) => given !== "" && parameters.some((parameter) => parameter.name === given))
  );
  if (fitting.length > 1) throw ambiguousRoutine({ schema, name, routines: fitting });
  const [routine] = fitting;
  if (offered.kind === "object") {
    if (routine) return { routine, given: { kind: "object", names, body: offered.value } };
    const whole = unnamed(["json", "jsonb"]);
    return whole ? { routine: whole, given: { kind: "body", value: offered.value } } : null;
  }
  if (!routine) return null;
  const values = new Map<string, string[]>();
  for (const [key, value] of pairs) if (names.includes(key)) values.set(key, [...values.get(key) ?? [], value]);
  return { routine, given: { kind: "query", values } };
}

const RESERVED = /^(?:select|order|limit|offset|columns|on_conflict|(?:not\.)?(?:and|or))$/;
const FILTER =
  /^(?:not\.)?(?:eq|neq|gte?|lte?|i?like|i?match|isdistinct|in|is|cs|cd|ov|sl|sr|nxl|nxr|adj|fts|plfts|phfts|wfts)(?:\(\w+\))?\./;

/** In a GET a key is an argument if some overload has it, and otherwise too unless its value is a filter. */
function argumentNames(routines: Routine[], pairs: [string, string][]): string[] {
  const known = new Set(routines.flatMap(({ parameters }) => parameters.map((parameter) => parameter.name)));
  const names = pairs.filter(([key, value]) => known.has(key) || !(RESERVED.test(key) || FILTER.test(value)));
  return [...new Set(names.map(([key]) => key))];
}

/** Only these reach the transaction before the function's statement starts, as `db-hoisted-tx-settings` has it. */
function hoistedSettings(routine: Routine): { name: string; value: string }[] {
  return (routine.settings ?? []).flatMap((pair) => {
    const cut = pair.indexOf("=");
    const name = pair.slice(0, cut);
    return name === "statement_timeout" ? [{ name, value: pair.slice(cut + 1) }] : [];
  });
}

// ---- what both share

async function findRelation(database: Database, schema: string, name: string): Promise<Relation> {
  const known = database.cache().relation(schema, name);
  if (known) return known;
  await database.refresh();
  const fresh = database.cache().relation(schema, name);
  if (fresh) return fresh;
  throw new ApiError(404, "PGRST205", `Could not find the table '${schema}.${name}' in the schema cache`);
}

function chooseSchema({ method, headers }: RestRequest, schemas: string[]): string {
  const named = headers[method === "GET" || method === "HEAD" ? "accept-profile" : "content-profile"];
  if (named === undefined || named === "") return schemas[0];
  if (typeof named === "string" && schemas.includes(named)) return named;
  throw new ApiError(406, "PGRST106", `Invalid schema: ${String(named).slice(0, 63)}`, {
    hint: `Only the following schemas are exposed: ${schemas.join(", ")}`,
  });
}

function readPath(path: string): string {
  const name = decode(path.replaceAll("+", "%2B"));
  if (name !== "" && !name.includes("/")) return name;
  throw new ApiError(404, "PGRST125", "Invalid path specified in request URL");
}

function transactionOf(
  request: RestRequest,
  caller: Caller,
  schema: string,
): Omit<Transaction, "statement" | "readOnly" | "check"> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined && name !== "cookie") headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  const cookies = Object.fromEntries(
    (request.headers.cookie ?? "").split(";").flatMap((pair) => {
      const cut = pair.indexOf("=");
      return cut > 0 ? [[pair.slice(0, cut).trim(), pair.slice(cut + 1).trim()]] : [];
    }),
  );
  return {
    role: caller.role,
    claims: caller.claims,
    schema,
    method: request.method,
    path: `/${request.path}`,
    headers: JSON.stringify(headers),
    cookies: JSON.stringify(cookies),
    hoisted: [],
  };
}

function readWishes(headers: IncomingHttpHeaders): Wishes {
  const given = [headers.prefer ?? []].flat().join(",").split(",").map((text) => text.trim()).filter(Boolean);
  const strict = given.includes("handling=strict");
  const wishes: Wishes = {
    shape: readAccept(headers.accept),
    count: false,
    representation: false,
    resolution: null,
    missingAsDefault: false,
    maxAffected: null,
    applied: [],
  };
  const invalid: string[] = [];
  for (const preference of given) {
    const affected = /^max-affected=(\d{1,9})$/.exec(preference);
    if (preference === "count=exact") wishes.count = true;
    else if (preference === "return=representation") wishes.representation = true;
    else if (preference === "resolution=merge-duplicates") wishes.resolution = "merge-duplicates";
    else if (preference === "resolution=ignore-duplicates") wishes.resolution = "ignore-duplicates";
    else if (preference === "missing=default") wishes.missingAsDefault = true;
    else if (/^count=|^return=headers-only|^tx=|^timezone=|^params=/.test(preference)) {
      throw unparsable(`the preference "${preference.slice(0, 100)}" is not served locally`);
    } else if (affected) {
      // Only a strict request means it: a lenient one is told nothing was promised.
      if (!strict) continue;
      wishes.maxAffected = Number(affected[1]);
    } else if (!["return=minimal", "missing=null", "handling=strict", "handling=lenient"].includes(preference)) {
      invalid.push(preference);
      continue;
    }
    wishes.applied.push(preference);
  }
  if (strict && invalid.length > 0) {
    throw new ApiError(400, "PGRST122", "Invalid preferences given with handling=strict", {
      details: `Invalid preferences: ${invalid.join(", ").slice(0, 200)}`,
    });
  }
  return wishes;
}

function readAccept(accept: string | undefined): Wishes["shape"] {
  const types = (accept ?? "*/*").split(",").map(mediaType);
  const known = types.find((type) => type in MEDIA_TYPES);
  if (known !== undefined) return MEDIA_TYPES[known];
  throw new ApiError(
    406,
    "PGRST107",
    `None of these media types are available: ${types.join(", ").slice(0, 200)}`,
  );
}

const mediaType = (text: string): string => text.split(";")[0].trim().toLowerCase();

function readJsonBody(request: RestRequest): { text: string; value: unknown } {
  const type = mediaType(request.headers["content-type"] ?? "application/json");
  if (type !== "application/json") throw badBody(`Content-Type not acceptable: ${type.slice(0, 100)}`);
  const text = utf8(request.body);
  const value = parseJson(text);
  if (value === undefined) throw badBody("Empty or invalid json");
  return { text, value };
}

function utf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw badBody("The body is not valid UTF-8");
  }
}

/** `Range: 0-9` is the older way to page; it gives way to limit and offset. */
function applyRange(headers: IncomingHttpHeaders, query: Query): void {
  if (headers.range === undefined || query.node.limit !== null || query.node.offset !== 0) return;
  const range = /^(?:items=)?(\d{1,15})-(\d{1,15})?$/.exec(headers.range);
  if (!range) throw unparsable(`failed to parse the Range header (${headers.range.slice(0, 100)})`);
  const first = Number(range[1]);
  const last = range[2] === undefined ? null : Number(range[2]);
  if (last !== null && last < first) {
    throw notSatisfiable("The lower boundary must be lower than or equal to the upper");
  }
  query.node.offset = first;
  query.node.limit = last === null ? null : last - first + 1;
}

interface Page {
  status: number;
  contentRange: string | null;
  body: boolean;
}

function pageOf(result: Result, query: Query): Page {
  const first = query.node.offset;
  const { rows, total } = result;
  if (total !== undefined && first > total) {
    throw notSatisfiable(
      `An offset of ${first} was requested, but there are only ${total} rows.`,
      { "Content-Range": `*/${total}` },
    );
  }
  const range = rows === 0 ? "*" : `${first}-${first + rows - 1}`;
  return {
    status: total !== undefined && rows < total ? 206 : 200,
    contentRange: `${range}/${total ?? "*"}`,
    body: true,
  };
}

function respond(result: Result, wishes: Wishes, page: Page): RestAnswer {
  const own = readResponseHeaders(result.headers);
  const status = readResponseStatus(result.status) ?? page.status;
  const headers: [string, string][] = [];
  if (page.body) headers.push(["Content-Type", CONTENT_TYPES[wishes.shape]]);
  if (page.contentRange !== null) headers.push(["Content-Range", page.contentRange]);
  if (wishes.applied.length > 0) headers.push(["Preference-Applied", wishes.applied.join(", ")]);
  return { status, headers: [...headers, ...own], body: page.body ? result.body : "" };
}

const ResponseHeaders = z.array(
  z.record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/), z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/))
    .refine((entry) => Object.keys(entry).length === 1),
);

function readResponseHeaders(text: string | null): [string, string][] {
  if (text === null) return [];
  const parsed = ResponseHeaders.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new ApiError(
      500,
      "PGRST111",
      "response.headers guc must be a JSON array composed of objects with a single key and a string value",
    );
  }
  // The platform's own: a function may not change how its answer is read or framed.
  const forbidden = ["content-type", "content-length", "transfer-encoding", "connection"];
  return parsed.data.flatMap((entry) => Object.entries(entry))
    .filter(([name]) => !forbidden.includes(name.toLowerCase()));
}

function readResponseStatus(text: string | null): number | null {
  if (text === null) return null;
  if (/^[2-5]\d\d$/.test(text)) return Number(text);
  throw new ApiError(500, "PGRST112", "response.status guc must be a valid status code");
}

function requireOne({ rows }: Result): void {
  if (rows === 1) return;
  throw new ApiError(406, "PGRST116", "Cannot coerce the result to a single JSON object", {
    details: `The result contains ${rows} rows`,
  });
}

function requireAtMost({ rows }: Result, limit: number | null): void {
  if (limit === null || rows <= limit) return;
  throw new ApiError(400, "PGRST124", "Query result exceeds max-affected preference constraint", {
    details: `The query affects ${rows} rows`,
  });
}

const badBody = (message: string): ApiError => new ApiError(400, "PGRST102", message);
const unsupportedMethod = (method: string): ApiError =>
  new ApiError(405, "PGRST117", `Unsupported HTTP method: ${method}`);
const notSatisfiable = (details: string, headers: Record<string, string> = {}): ApiError =>
  new ApiError(416, "PGRST103", "Requested range not satisfiable", { details, headers });

function ambiguousRoutine(
  { schema, name, routines }: { schema: string; name: string; routines: Routine[] },
): ApiError {
  const candidates = routines.map(({ parameters }) =>
    `${schema}.${name}(${parameters.map((parameter) => `${parameter.name} => ${parameter.type}`).join(", ")})`
  );
  return new ApiError(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${candidates.join(", ")}`,
    { hint: "Rename the parameters or the function in the database so that overloading can be resolved." },
  );
}

function noRoutine(
  { schema, name, offered, pairs }: { schema: string; name: string; offered: Offered; pairs: [string, string][] },
): ApiError {
  const names = offered.kind === "query" ? argumentNames([], pairs) : offered.names;
  const list = names.slice(0, 50).map((text) => text.slice(0, 63)).join(", ");
  return new ApiError(404, "PGRST202", `Could not find the function ${schema}.${name}(${list}) in the schema cache`, {
    details: `Searched for the function ${schema}.${name} ${
      list === "" ? "without parameters" : `with parameters ${list}`
    }, but no matches were found in the schema cache.`,
  });
}
