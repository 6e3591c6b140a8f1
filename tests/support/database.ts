// A database of its own for a test file, and small assertions over the catalogue, named as pgTAP names them.
import { randomUUID } from "node:crypto";
import { Client, type QueryResultRow } from "pg";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { TEMPLATE } from "./template.ts";

export type Role = "anon" | "authenticated" | "service_role" | "analyst" | "postgres";

/** One connection inside a transaction that is rolled back at the end of the test. */
export class Sql {
  private readonly client: Client;

  constructor(client: Client) {
    this.client = client;
  }

  /** Runs a statement and returns its rows. */
  async rows<Row extends QueryResultRow = QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.client.query<Row>(text, values)).rows;
  }

  /** Runs a statement that returns one row and one column. */
  async value<Value = unknown>(text: string, values: unknown[] = []): Promise<Value> {
    const result = await this.client.query({ text, values, rowMode: "array" });
    expect(result.rows, `one row from: ${text}`).toHaveLength(1);
    return result.rows[0][0] as Value;
  }

  /** Does the work as that role, signed in as that user, as a request of the Data API would; then returns to postgres. */
  async as<Value>(role: Role, user: string | null, work: () => Promise<Value>): Promise<Value> {
    const claims = role === "analyst" || role === "postgres"
      ? ""
      : JSON.stringify({ role, ...(user ? { sub: user } : {}) });
    await this.client.query("select set_config('request.jwt.claims', $1, true)", [claims]);
    await this.client.query(`set local role ${role}`);
    try {
      return await work();
    } finally {
      await this.client.query("reset role").catch(() => {});
      await this.client.query("select set_config('request.jwt.claims', '', true)").catch(() => {});
    }
  }

  /** Asserts that the statement fails with this SQLSTATE, and leaves the transaction usable. Returns the error. */
  async throws(
    sqlstate: string,
    text: string,
    values: unknown[] = [],
  ): Promise<Error & { code?: string; hint?: string }> {
    await this.client.query("savepoint before_failure");
    try {
      const result = await this.client.query(text, values);
      throw new Error(`expected ${sqlstate} but it returned ${JSON.stringify(result.rows)}: ${text}`);
    } catch (error) {
      const failure = error as Error & { code?: string };
      await this.client.query("rollback to savepoint before_failure");
      expect(failure.code, failure.message).toBe(sqlstate);
      return failure;
    }
  }

  /** Asserts the rows of a query, in order. */
  async resultsEqual(text: string, expected: QueryResultRow[], values: unknown[] = []): Promise<void> {
    expect(await this.rows(text, values)).toEqual(expected);
  }

  /** Asserts that a table or view exists. */
  async hasRelation(name: string): Promise<void> {
    expect(await this.value("select to_regclass($1) is not null", [name]), `${name} exists`).toBe(true);
  }

  /** Asserts the names of a table's policies. */
  async policiesAre(table: string, names: string[]): Promise<void> {
    const rows = await this.rows<{ polname: string }>(
      "select polname from pg_policy where polrelid = $1::regclass order by polname",
      [table],
    );
    expect(rows.map((row) => row.polname)).toEqual([...names].sort());
  }
}

/** Signs up a person and gives them a role in the account. Returns their id. */
export async function member(sql: Sql, accountId: number, role: string): Promise<string> {
  const id = randomUUID();
  await sql.rows("insert into auth.users (id, email) values ($1, $2)", [id, `${id}@example.com`]);
  await sql.rows("insert into access.members (account_id, user_id, role) values ($1, $2, $3)", [accountId, id, role]);
  return id;
}

export interface TestDatabase {
  /** As postgres, the owner. */
  url: string;
  /** As supabase_admin, the superuser. */
  adminUrl: string;
  /** A test's work in a transaction that is rolled back. Postgres is the current role unless told otherwise. */
  rolledBack(work: (sql: Sql) => Promise<void>): Promise<void>;
  /** A further connection, for work that commits; closed at the end of the file. */
  connect(as?: "postgres" | "supabase_admin"): Promise<Client>;
  /** Whether that connection waits for a lock that another one holds. */
  isWaiting(client: Client): Promise<boolean>;
  /** Returns once it does. */
  untilWaiting(client: Client): Promise<void>;
}

/** Clones the template for this test file; to be called at the top of it. */
export function useDatabase(): TestDatabase {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const admin = inject("adminUrl");
  const urlAs = (role: string) => {
    const url = new URL(admin);
    url.username = role;
    url.pathname = `/${name}`;
    return url.href;
  };
  const clients: Client[] = [];
  const connect = async (as: "postgres" | "supabase_admin" = "postgres") => {
    // A test that fails inside a transaction leaves its locks behind: the next one must fail too, not wait for ever.
    const client = new Client({ connectionString: urlAs(as), lock_timeout: 10_000 });
    await client.connect();
    clients.push(client);
    return client;
  };
  const onServer = async (sql: string) => {
    const client = new Client({ connectionString: admin });
    await client.connect();
    await client.query(sql).finally(() => client.end());
  };
  let watcher: Client | undefined;
  const isWaiting = async (client: Client) => {
    // The number of a connection's process is not in the types of pg, yet documented.
    const { processID } = client as Client & { processID: number };
    watcher ??= await connect("supabase_admin");
    const waiting = "select from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
    return (await watcher.query(waiting, [processID])).rowCount !== 0;
  };
  let main: Client;
  beforeAll(async () => {
    await onServer(`create database ${name} template ${TEMPLATE} owner postgres`);
    main = await connect();
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.end()));
    await onServer(`drop database if exists ${name} with (force)`);
  });
  return {
    url: urlAs("postgres"),
    adminUrl: urlAs("supabase_admin"),
    connect,
    isWaiting,
    async untilWaiting(client) {
      while (!await isWaiting(client));
    },
    async rolledBack(work) {
      await main.query("begin");
      try {
        await work(new Sql(main));
      } finally {
        await main.query("rollback");
      }
    },
  };
}
