// One request, one transaction: a pool of connections as `authenticator`, and the schema cache they share.
import { Socket } from "node:net";
import pg from "pg";
import { z } from "zod";
import { ApiError } from "./errors.ts";
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

const Result = z.object({
  body: z.string(),
  rows: z.coerce.number(),
  total: z.coerce.number().optional(),
  inserted: z.number().nullish(),
  status: z.string().nullable(),
  headers: z.string().nullable(),
});
export type Result = z.infer<typeof Result>;

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
// Beyond this many different statements the rest is parsed each time, so that odd requests fill no memory.
const MAX_PREPARED = 500;

/** A client that sends a whole transaction in one packet instead of one per message. */
class PackedClient extends pg.Client {
  readonly #socket: Socket;
  constructor(config?: pg.ClientConfig) {
    const socket = new Socket();
    super({ ...config, stream: () => socket });
    this.#socket = socket;
  }
  packed<Answers>(send: () => Answers): Answers {
    this.#socket.cork();
    try {
      return send();
    } finally {
      this.#socket.uncork();
    }
  }
}

export async function openDatabase(
  { databaseUrl, schemas, log }: { databaseUrl: string; schemas: string[]; log: (line: string) => void },
): Promise<Database> {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    application_name: "data-api",
    max: CONNECTIONS,
    connectionTimeoutMillis: ACQUIRE_MILLISECONDS,
    idleTimeoutMillis: 60_000,
    pipeline: true,
    Client: PackedClient,
  });
  // A connection may break at any time, also while in use: an event nobody hears would end the process.
  pool.on("connect", (client) => client.on("error", () => {}));
  pool.on("error", (error) => log(`A database connection broke while idle: ${error.message}`));

  const names = new Map<string, string>();
  const prepared = (role: string, text: string) => {
    // By role, because Postgres checks the right to use a schema when it parses, not when it runs.
    const key = `${role}\n${text}`;
    const known = names.get(key);
    if (known !== undefined) return { name: known, text };
    if (names.size >= MAX_PREPARED) return { text };
    const name = `api_${names.size}`;
    names.set(key, name);
    return { name, text };
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
    const client = await pool.connect();
    let broken = false;
    try {
      if (!(client instanceof PackedClient)) throw new Error("The pool made a client of another class.");
      const { statement, check, readOnly } = transaction;
      const settings = settingsOf(transaction, cache);
      const sent = client.packed(() => [
        client.query(readOnly ? "begin read only" : "begin"),
        client.query({ ...prepared(transaction.role, settings.text), values: settings.values }),
        client.query({ ...prepared(transaction.role, statement.text), values: statement.values }),
        // After a failure this commit rolls back: Postgres answers ROLLBACK to it.
        ...(check ? [] : [client.query("commit")]),
      ]);
      const outcomes = await Promise.allSettled(sent);
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      if (failed) {
        broken = !isFromPostgres(failed.reason);
        if (check && !broken) await client.query("rollback");
        throw failed.reason;
      }
      const [, , answered] = outcomes;
      const result = Result.parse(answered.status === "fulfilled" ? answered.value.rows[0] : undefined);
      if (check) {
        try {
          check(result);
        } catch (refusal) {
          await client.query("rollback");
          throw refusal;
        }
        await client.query("commit");
      }
      return result;
    } catch (error) {
      broken ||= !(error instanceof ApiError) && !isFromPostgres(error);
      throw error;
    } finally {
      client.release(broken);
    }
  }

  return {
    run,
    cache: () => cache,
    async refresh() {
      if (loading !== null || Date.now() - loadedAt >= REFRESH_MILLISECONDS) await reload();
    },
    async stop() {
      await listener.stop();
      await pool.end();
    },
  };
}

/** FATAL ends the connection, and what has no severity never came from Postgres. */
function isFromPostgres(error: unknown): boolean {
  return error instanceof Error && "severity" in error && error.severity === "ERROR";
}

function settingsOf(transaction: Transaction, cache: SchemaCache): Statement {
  const fixed = [
    { name: "role", value: transaction.role },
    { name: "search_path", value: [transaction.schema, "public", "extensions"].map(pg.escapeIdentifier).join(", ") },
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
