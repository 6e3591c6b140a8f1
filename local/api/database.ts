// One request, one transaction: a pool of connections as `authenticator`, and the schema cache they share.
import pg from "pg";
import { ApiError } from "./errors.ts";
import { Packet, type Rows, type Step } from "./packet.ts";
import { loadSchemaCache, type SchemaCache } from "./schema-cache.ts";
import type { Statement } from "./statement.ts";

export interface Transaction {
  role: string;
  claims: string;
  /** First in the search path. */
  schema: string;
  readOnly: boolean;
  method: string;
  path: string;
  /** JSON texts, for `request.headers` and `request.cookies`. */
  headers: string;
  cookies: string;
  /** Settings of the called function that hold for the whole transaction. */
  hoisted: { name: string; value: string }[];
  statement: Statement;
  /** Looks at the result before the commit and may throw to roll back. */
  check?: (result: Result) => void;
}

export interface Result {
  body: string;
  rows: number;
  /** Rows without limit and offset; undefined where nobody counted. */
  total?: number;
  /** Rows an upsert added; undefined where it was none. */
  inserted?: number;
  /** `response.status` and `response.headers` as the function left them. */
  status: string | null;
  headers: string | null;
}

export interface Database {
  run(transaction: Transaction): Promise<Result>;
  cache(): SchemaCache;
  /** Reads the catalogue again after something was not found in it; not more often than every half second. */
  refresh(): Promise<void>;
  stop(): Promise<void>;
}

const CONNECTIONS = 20;
const ACQUIRE_MILLISECONDS = 10_000;
const REFRESH_MILLISECONDS = 500;
// A statement is prepared when it comes a second time and there are not yet too many, so that odd requests, each of
// which comes once, neither fill Postgres's memory nor take the place of the usual ones.
const MAX_PREPARED = 500;

export async function openDatabase(
  { databaseUrl, schemas, log }: { databaseUrl: string; schemas: string[]; log: (line: string) => void },
): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    application_name: "data-api",
    max: CONNECTIONS,
    connectionTimeoutMillis: ACQUIRE_MILLISECONDS,
    idleTimeoutMillis: 60_000,
  });
  // A connection may break at any time, also while in use: an event nobody hears would end the process.
  pool.on("connect", (client) => client.on("error", () => {}));
  pool.on("error", (error) => log(`A database connection broke while idle: ${error.message}`));

  const names = new Map<string, string>();
  const seen = new Set<string>();
  // Shared by all roles: Postgres checks rights to relations and functions when a statement runs, and parses it anew
  // where the search path, which begins with the schema if the role may use it, is another.
  const prepared = (statement: Statement): Step => {
    const { text } = statement;
    const name = names.get(text);
    if (name !== undefined) return { name, ...statement };
    if (!seen.has(text)) {
      if (seen.size >= MAX_PREPARED) seen.clear();
      seen.add(text);
    } else if (names.size < MAX_PREPARED) names.set(text, `api_${names.size}`);
    return statement;
  };

  const load = async (): Promise<SchemaCache> => {
    const client = new pg.Client({ connectionString: databaseUrl, application_name: "data-api catalogue" });
    client.on("error", () => {});
    await client.connect();
    try {
      return await loadSchemaCache(client, schemas);
    } finally {
      await client.end();
    }
  };
  let cache = await load().catch(async (error: unknown) => {
    await pool.end();
    throw error;
  });
  let loadedAt = Date.now();
  let loading: Promise<void> | null = null;
  const reload = (): Promise<void> => {
    loading ??= load().then((fresh) => {
      cache = fresh;
      loadedAt = Date.now();
    }).finally(() => loading = null);
    return loading;
  };

  const listener = listen(databaseUrl, {
    // A load that had begun before the notice may have missed the change, so it is followed by another.
    changed: () => void Promise.resolve(loading).catch(() => {}).then(reload).catch((error: unknown) => report(error)),
    log,
  });
  const report = (error: unknown) =>
    log(`The schema cache could not be read again: ${error instanceof Error ? error.message : "unknown error"}`);

  async function run(transaction: Transaction): Promise<Result> {
    const client = await pool.connect().catch(unreachable);
    const send = (steps: Step[]): Promise<Rows[]> => client.query(new Packet(steps)).rows;
    let broken = false;
    try {
      const { statement, check } = transaction;
      const steps = [prepared(settingsOf(transaction, cache)), prepared(statement)];
      if (!check) return readResult((await send(steps))[1]);
      const [, , rows] = await send([BEGIN, ...steps]);
      const result = readResult(rows);
      check(result);
      await send([COMMIT]);
      return result;
    } catch (error) {
      broken = !(error instanceof ApiError) && !isFromPostgres(error);
      if (transaction.check && !broken) await send([ROLLBACK]);
      throw error;
    } finally {
      client.release(broken);
    }
  }

  return {
    run,
    cache: () => cache,
    async refresh() {
      if (loading === null && Date.now() - loadedAt < REFRESH_MILLISECONDS) return;
      await reload().catch((error: unknown) => {
        report(error);
        throw new ApiError(503, "PGRST002", "Could not query the database for the schema cache. Retrying.");
      });
    },
    async stop() {
      await listener.stop();
      await pool.end();
    },
  };
}

const BEGIN: Step = { name: "begin", text: "begin", values: [] };
const COMMIT: Step = { name: "commit", text: "commit", values: [] };
const ROLLBACK: Step = { name: "rollback", text: "rollback", values: [] };

/** The columns of every statement this API builds, in order. */
function readResult([row]: Rows): Result {
  const [body, rows, status, headers, total, inserted] = row;
  return {
    body: body ?? "",
    rows: Number(rows),
    total: total === null ? undefined : Number(total),
    inserted: inserted === null ? undefined : Number(inserted),
    status,
    headers,
  };
}

/** FATAL ends the connection, and what has no severity never came from Postgres. */
function isFromPostgres(error: unknown): boolean {
  return error instanceof Error && "severity" in error && error.severity === "ERROR";
}

/** Whatever Postgres says to a login (starting up, no such database, wrong password) is not the caller's business. */
function unreachable(error: unknown): never {
  if (!(error instanceof Error && "severity" in error)) throw error;
  throw new ApiError(503, "PGRST000", "Database connection error. Retrying the connection.");
}

function settingsOf(transaction: Transaction, cache: SchemaCache): Statement {
  const fixed = [
    { name: "role", value: transaction.role },
    { name: "search_path", value: [transaction.schema, "public", "extensions"].map(pg.escapeIdentifier).join(", ") },
    ...(transaction.readOnly ? [{ name: "transaction_read_only", value: "on" }] : []),
    ...cache.roleSettings(transaction.role),
    ...transaction.hoisted,
  ].map(({ name, value }) => `set_config(${pg.escapeLiteral(name)}, ${pg.escapeLiteral(value)}, true)`);
  const given = ["request.method", "request.path", "request.headers", "request.cookies", "request.jwt.claims"]
    .map((name, index) => `set_config('${name}', $${index + 1}, true)`);
  return {
    text: `select ${[...fixed, ...given].join(", ")}`,
    values: [transaction.method, transaction.path, transaction.headers, transaction.cookies, transaction.claims],
  };
}

/** Listens for `notify pgrst` and comes back by itself when the database goes away. */
function listen(databaseUrl: string, { changed, log }: { changed: () => void; log: (line: string) => void }) {
  let stopped = false;
  let client: pg.Client | null = null;
  let timer: NodeJS.Timeout | undefined;
  let lost = false;

  async function connect(): Promise<void> {
    client = new pg.Client({ connectionString: databaseUrl, application_name: "data-api listener" });
    client.on("error", () => {});
    client.on("end", again);
    client.on("notification", ({ payload }) => {
      if (payload === "" || payload === "reload schema" || payload === "reload config") changed();
    });
    try {
      await client.connect();
      await client.query("listen pgrst");
      if (lost) {
        log("The database is back.");
        changed();
      }
      lost = false;
    } catch {
      again();
    }
  }
  function again(): void {
    if (stopped) return;
    if (!lost) log("The database went away: trying again every second.");
    lost = true;
    clearTimeout(timer);
    timer = setTimeout(() => void connect(), 1000);
  }

  void connect();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await client?.end().catch(() => {});
    },
  };
}
