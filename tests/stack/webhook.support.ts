// The webhook door with all that stands behind it: what a sender is answered, and what the database then holds.
import { Buffer } from "node:buffer";
import pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { Stack, StackOptions } from "../../local/stack.ts";
import { MIRROR } from "../database/deliver.ts";
import { ENVIRONMENT, signed } from "../functions/door.ts";
import { useStack } from "../support/stack.ts";

export interface Answered {
  status: number;
  headers: Headers;
  text: string;
  answer: Record<string, unknown>;
}

export interface Posting {
  /** Those of a rightly signed webhook unless told. */
  headers?: Record<string, string>;
  /** What follows the door's address: an account's path, a query. */
  path?: string;
}

/** A row of inbox.deliveries, without times that depend on when the test runs. */
export interface Kept {
  account_id: string;
  delivery_id: string;
  proof: string;
  event: string | null;
  outcome: string;
  reason: string | null;
  note: string | null;
  redeliveries: number;
  conflicts: number;
  signed_at: Date | null;
  headers: Record<string, string>;
  body: Buffer;
}

export interface WebhookDoor {
  stack(): Stack;
  settings: ReturnType<typeof useStack>["settings"];
  logged: string[];
  /** A connection to hold a lock with; whoever asks for it releases it. */
  connect(): Promise<pg.PoolClient>;
  url(): string;
  port(): number;
  post(body: string | Uint8Array, posting?: Posting): Promise<Answered>;
  rows<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
  /** All deliveries, in order of account and id. */
  kept(): Promise<Kept[]>;
  /** How many rows the inbox and the whole mirror hold. */
  counts(): Promise<Record<string, number>>;
  /** Asserts that neither the inbox nor the mirror holds a row. */
  expectNothingStored(): Promise<void>;
  /** Empties the inbox and the mirror. */
  clear(): Promise<void>;
}

const TABLES = ["inbox.deliveries", ...MIRROR.map((table) => `chatwoot.${table}`)];
const NOTHING = Object.fromEntries(TABLES.map((table) => [table, 0]));

/** Starts a stack for the file's tests, with the accounts and secrets of tests/functions/door.ts. */
export function useWebhookDoor(options: StackOptions = {}): WebhookDoor {
  const running = useStack({ secrets: ENVIRONMENT, ...options });
  let pool: pg.Pool;
  beforeAll(() => {
    pool = new pg.Pool({ connectionString: running.stack().postgres.adminUrl, max: 4 });
    // A server that stops under a connection is what some tests are about.
    pool.on("error", () => {});
  });
  afterAll(() => pool?.end());
  const url = () => `${running.stack().info.functions_url}/chatwoot-webhook`;
  const rows: WebhookDoor["rows"] = async (text, values = []) => (await pool.query(text, values)).rows;
  const counts = async () => {
    const columns = TABLES.map((table) => `(select count(*) from ${table})::integer as "${table}"`);
    return (await rows<Record<string, number>>(`select ${columns.join(", ")}`))[0];
  };
  return {
    ...running,
    connect: () => pool.connect(),
    url,
    port: () => running.settings().apiPort,
    rows,
    counts,
    async post(body, { headers = signed(body), path = "" } = {}) {
      const response = await fetch(`${url()}${path}`, { method: "POST", body: Buffer.from(body), headers });
      const text = await response.text();
      return { status: response.status, headers: response.headers, text, answer: JSON.parse(text) };
    },
    kept: () =>
      rows<Kept>(
        `select account_id, delivery_id, proof, event, outcome, reason, note, redeliveries, conflicts, signed_at,
        headers, body from inbox.deliveries order by account_id, delivery_id`,
      ),
    async expectNothingStored() {
      expect(await counts()).toEqual(NOTHING);
    },
    async clear() {
      await pool.query(`truncate ${TABLES.join(", ")}`);
    },
  };
}
