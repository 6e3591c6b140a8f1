// A Chatwoot that answers over HTTP, a project whose REST door reads it, and the comparison of the two.
import { createServer, type IncomingMessage, request as send, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isDeepStrictEqual } from "node:util";
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { migrate } from "../../local/migrate.ts";
import { readSettings } from "../../local/settings.ts";
import { useWorker } from "./worker.support.ts";

export type { Chatwoot };
type Row = Record<string, unknown>;

/** Answers in Chatwoot's place and returns true, or leaves the request to it. */
export type Interference = (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

export interface Asked {
  method: string;
  path: string;
  hasToken: boolean;
}

export interface RestDoor {
  /** Empties the project and connects it with a new Chatwoot, which is returned. */
  begin(options: { seed: number; start?: Date }): Promise<Chatwoot>;
  chatwoot(): Chatwoot;
  log: string[];
  url(): string;
  rows<Found extends Row = Row>(text: string, values?: unknown[]): Promise<Found[]>;
  /** Puts away what verbs have done, so that REST shows it. A tick does so first. */
  save(): Promise<void>;
  /** One tick at this instant, by both clocks. */
  tick(at: Date, budget?: string): Promise<void>;
  /** Ticks each simulated minute until nothing is left to do at that minute; returns the last minute. */
  settle(at: Date, minutes?: number): Promise<Date>;
  source(): Promise<Row>;
  /** What was asked of Chatwoot meanwhile. */
  during(work: () => Promise<unknown>): Promise<Asked[]>;
  /** Stands between the two from now on; null steps aside. */
  interfere(interference: Interference | null): void;
  /** The living rows of the mirror, by table, without what only helps to merge. */
  mirror(): Promise<Record<string, Row[]>>;
  /** What Chatwoot holds now, as far as REST shows it. */
  truth(): Record<string, Row[]>;
  /** Every row in which the two differ; none is what they are to come to. */
  differences(): Promise<Difference[]>;
}

interface Difference {
  table: string;
  key: string;
  mirror: Row | null;
  truth: Row | null;
}

export const minutes = (at: Date, number: number) => new Date(at.getTime() + number * 60_000);

/** Starts the project before the file's tests. */
export function useRestDoor(): RestDoor {
  const worker = useWorker();
  let chatwoot: Chatwoot;
  let pool: pg.Pool;
  let between: Between;
  const rows: RestDoor["rows"] = async (text, values = []) => (await pool.query(text, values)).rows;
  beforeAll(async () => {
    await migrate(readSettings({}).projectRoot, { url: worker.url(), withSeed: false });
    pool = new pg.Pool({ connectionString: worker.url(), max: 4 });
    pool.on("error", () => {});
    between = await standBetween(() => chatwoot.url);
    // The tests are the clock.
    await rows("select cron.unschedule(jobid) from cron.job");
  });
  afterAll(async () => {
    await pool?.end();
    await between?.stop();
    await chatwoot?.stop();
  });
  const begin: RestDoor["begin"] = async ({ seed, start = new Date("2026-11-20T07:00:00Z") }) => {
    await chatwoot?.stop();
    const [{ tables }] = await rows<{ tables: string }>(
      `select string_agg(oid::regclass::text, ', ') as tables from pg_class
        where relkind = 'r' and relnamespace::regnamespace::text in ('chatwoot', 'inbox', 'sync')`,
    );
    await rows(`truncate ${tables}`);
    await rows("delete from ops.alerts where true");
    between.interfere(null);
    // No database is made inside a transaction, so each of these is a statement of its own.
    await rows("drop database if exists chatwoot with (force)");
    await rows("create database chatwoot");
    const database = new URL(worker.url());
    database.pathname = "/chatwoot";
    chatwoot = await startChatwoot({ url: database.href, seed, start });
    await rows(
      "select ops.set_setting(1, 'sync_private_hosts', 'true'), ops.set_setting(1, 'sync_requests_per_minute', '2000')",
    );
    await rows("select api.set_sync_token(1, $1)", [chatwoot.token]);
    await rows("select api.set_rest_source(1, $1)", [between.url]);
    return chatwoot;
  };
  const save = () => chatwoot.dispatch([]);
  const tick: RestDoor["tick"] = async (at, budget = "45 seconds") => {
    await save();
    chatwoot.setNow(at);
    await rows("call sync.tick_rest($1, $2)", [at, budget]);
  };
  return {
    begin,
    chatwoot: () => chatwoot,
    log: worker.log,
    url: worker.url,
    rows,
    save,
    tick,
    async settle(at, most = 60) {
      for (let minute = 0; minute < most; minute++, at = minutes(at, 1)) {
        await tick(at);
        const [left] = await rows(
          `select exists (select from sync.sources where backfill is not null or failures > 0)
            or exists (select from sync.conversation_reads where due_at <= $1) as is_left`,
          [at],
        );
        if (left.is_left === false) return at;
      }
      throw new Error(
        `still at work after ${most} minutes: ${JSON.stringify(await rows("select * from sync.sources"))}`,
      );
    },
    async source() {
      return (await rows("select * from sync.sources where door = 'rest'"))[0];
    },
    async during(work) {
      const before = between.asked.length;
      await work();
      return between.asked.slice(before);
    },
    interfere: (interference) => between.interfere(interference),
    mirror: () => mirrorOf(rows),
    truth: () => truthOf(chatwoot),
    differences: async () => differencesOf(await mirrorOf(rows), truthOf(chatwoot), chatwoot),
  };
}

interface Between {
  url: string;
  asked: Asked[];
  interfere(interference: Interference | null): void;
  stop(): Promise<void>;
}

// A proxy, so that any answer can be spoilt, whatever the Chatwoot behind it can do by itself.
async function standBetween(target: () => string): Promise<Between> {
  const asked: Asked[] = [];
  let interference: Interference | null = null;
  const server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    const hasToken = "api-access-token" in request.headers || "api_access_token" in request.headers;
    asked.push({ method: request.method ?? "", path, hasToken });
    response.on("error", () => {});
    if (await interference?.(request, response)) return;
    const passedOn = send(target() + path, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(response);
    });
    passedOn.on("error", () => response.destroy()).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    interfere: (given) => interference = given,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

// What the door cannot say is left out on both sides: when a message was deleted, how an instant of creation goes on
// after its seconds, and the additional attributes of messages that were never the last one.
const LEFT_OUT: Record<string, string[]> = {
  inboxes: ["created_at", "reauthorization_required"],
  messages: ["additional_attributes", "deleted_at"],
  // A webhook shows no instant of an answer; that of its conversation stands in for it and may be earlier.
  csat_responses: ["first_answered_at"],
};

const KEYS: Record<string, string[]> = {
  accounts: ["account_id"],
  inboxes: ["inbox_id"],
  agents: ["kind", "agent_id"],
  teams: ["team_id"],
  contacts: ["contact_id"],
  conversations: ["display_id"],
  messages: ["message_id"],
  csat_responses: ["message_id"],
};

function differencesOf(
  mirror: Record<string, Row[]>,
  truth: Record<string, Row[]>,
  { installation }: Chatwoot,
): Difference[] {
  const sourceIds = new Map(
    installation.conversations().map(({ displayId, contactInbox }) => [String(displayId), contactInbox.sourceId]),
  );
  return Object.entries(KEYS).flatMap(([table, names]) => {
    const byKey = (given: Row[]) => new Map(given.map((row) => [names.map((name) => row[name]).join(" "), row]));
    const [ours, theirs] = [byKey(mirror[table]), byKey(truth[table])];
    return [...new Set([...ours.keys(), ...theirs.keys()])].flatMap((key) => {
      const [one, other] = [ours.get(key) ?? null, theirs.get(key) ?? null];
      // REST says it only inside a message; of a conversation without one, a webhook may have told it or not.
      if (table === "conversations" && one && other && other.contact_source_id === null) {
        other.contact_source_id = one.contact_source_id === null ? null : sourceIds.get(key);
      }
      if (isDeepStrictEqual(one, other)) return [];
      // Only the columns that matter, where there is a row on both sides.
      const columns = one && other
        ? Object.keys({ ...one, ...other }).filter((name) => !isDeepStrictEqual(one[name], other[name]))
        : null;
      const cut = (row: Row | null) =>
        row && columns ? Object.fromEntries(columns.map((name) => [name, row[name]])) : row;
      return [{ table, key, mirror: cut(one), truth: cut(other) }];
    });
  });
}

async function mirrorOf(rows: RestDoor["rows"]): Promise<Record<string, Row[]>> {
  const state: Record<string, Row[]> = {};
  const tables: Record<string, string> = {
    accounts: "true",
    inboxes: "rows.deleted_at is null",
    agents: "rows.deleted_at is null",
    teams: "rows.deleted_at is null",
    contacts: `rows.deleted_at is null and exists (select from chatwoot.conversations as owned
      where owned.account_id = rows.account_id and owned.contact_id = rows.contact_id and owned.deleted_at is null)`,
    conversations: "rows.deleted_at is null",
    messages: `exists (select from chatwoot.conversations as living where living.account_id = rows.account_id
      and living.display_id = rows.conversation_display_id and living.deleted_at is null)`,
    csat_responses: `exists (select from chatwoot.conversations as living where living.account_id = rows.account_id
      and living.display_id = rows.conversation_display_id and living.deleted_at is null)`,
  };
  for (const [table, condition] of Object.entries(tables)) {
    const found = await rows<{ row: Row }>(
      `select to_jsonb(rows) as row from chatwoot.${table} as rows where ${condition} order by ${KEYS[table].join()}`,
    );
    state[table] = found.map(({ row }) => comparable(table, row));
  }
  return state;
}

function truthOf({ installation }: Chatwoot): Record<string, Row[]> {
  const truth = installation.finalState("rest");
  const owners = new Set(truth.conversations.map(({ contact_id }) => contact_id));
  const state: Record<string, Row[]> = {};
  for (
    const table of [
      "accounts",
      "inboxes",
      "agents",
      "teams",
      "contacts",
      "conversations",
      "messages",
      "csat_responses",
    ] as const
  ) {
    state[table] = (truth[table] as Row[])
      .filter((row) => table !== "contacts" || owners.has(row.contact_id as number))
      .map((row) => comparable(table, row));
  }
  return state;
}

function comparable(table: string, row: Row): Row {
  const kept = Object.entries(row).filter(([name]) =>
    !["version_at", "field_versions", "delivery_status_at", "database_id", ...(LEFT_OUT[table] ?? [])].includes(name) &&
    (name !== "deleted_at")
  );
  return Object.fromEntries(
    kept.map(([name, value]) => [name, /_(at|since|until)$/.test(name) ? instant(name, value) : value]),
  );
}

// By webhook an instant of creation may be known more finely than REST shows it.
function instant(name: string, value: unknown): unknown {
  if (typeof value !== "string") return value;
  const time = new Date(value).getTime();
  return /created_at|answered_at/.test(name) ? Math.floor(time / 1000) : time;
}
