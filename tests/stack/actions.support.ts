// A Chatwoot that answers over HTTP, a project whose outbox sends to it, and somebody between who can hold or spoil it.
import { createServer, request as send, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { migrate } from "../../local/migrate.ts";
import { readSettings } from "../../local/settings.ts";
import { useWorker } from "./worker.support.ts";

type Row = Record<string, unknown>;

export const START = new Date("2026-11-20T09:00:00Z");
export const later = (seconds: number, from = START) => new Date(from.getTime() + seconds * 1000);

/** What happens to a request on its way, by method and path. */
export interface Passing {
  method: string;
  path: string;
}
/** Waited for before the request is passed on, or before the answer is; "broken" ends the connection instead. */
export type Hook = (passing: Passing) => unknown;
/** Answers in Chatwoot's place and returns true, or leaves the request to it. */
type Answer = (passing: Passing, response: ServerResponse) => boolean;

export interface Action {
  action_id: string;
  display_id: string;
  kind: string;
  state: string;
  attempts: number;
  doubt_since: Date | null;
  next_attempt_at: Date | null;
  message_id: string | null;
  last_status: number | null;
  problem: string | null;
  hint: string | null;
  request: Row | null;
}

export interface Outbox {
  /** Empties the project, makes so many new conversations in the Chatwoot and tells the mirror of them. */
  begin(conversations?: number): Promise<Chatwoot>;
  chatwoot(): Chatwoot;
  /** The number of the test's first, second, third … conversation in Chatwoot. */
  id(number?: number): number;
  url(): string;
  log: string[];
  rows<Found extends Row = Row>(text: string, values?: unknown[]): Promise<Found[]>;
  enqueue(displayId: number, kind: string, args: Row, at?: Date): Promise<string>;
  dispatch(at?: Date, budget?: string): Promise<void>;
  actions(): Promise<Action[]>;
  set(name: string, value: unknown): Promise<void>;
  /** What Chatwoot holds of our notes and replies in the conversation, in order. */
  posted(displayId: number): { id: number; text: string | null; private: boolean }[];
  /** Requests that reached Chatwoot meanwhile. */
  during(work: () => Promise<unknown>): Promise<Passing[]>;
  before(hook: Hook | null): void;
  after(hook: Hook | null): void;
  answer(answer: Answer | null): void;
  /** A session of a dispatcher of its own, to be killed. */
  dispatcher(): Promise<
    { pid: number; dispatch(at: Date): Promise<void>; kill(): Promise<void>; end(): Promise<void> }
  >;
}

/** Starts the project before the file's tests. */
export function useOutbox(): Outbox {
  const worker = useWorker();
  let chatwoot: Chatwoot;
  let pool: pg.Pool;
  let before: Hook | null = null;
  let after: Hook | null = null;
  let answer: Answer | null = null;
  let origin = "";
  let tables = "";
  let base = 0;
  const passed: Passing[] = [];
  const rows: Outbox["rows"] = async (text, values = []) => (await pool.query(text, values)).rows;
  const between = createServer(async (request, response) => {
    const passing = { method: request.method ?? "", path: request.url ?? "/" };
    response.on("error", () => {});
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (answer?.(passing, response)) return;
    if (await before?.(passing) === "broken") return void response.destroy();
    passed.push(passing);
    const passedOn = send(
      chatwoot.url + passing.path,
      { method: passing.method, headers: request.headers },
      async (answered) => {
        const parts: Buffer[] = [];
        try {
          for await (const part of answered) parts.push(part as Buffer);
          if (await after?.(passing) === "broken") return void response.destroy();
          response.writeHead(answered.statusCode ?? 502, answered.rawHeaders);
          // In whole, so that a header that tells its length stays right.
          response.end(Buffer.concat(parts));
        } catch {
          response.destroy();
        }
      },
    );
    passedOn.on("error", () => response.destroy()).end(Buffer.concat(chunks));
  });
  beforeAll(async () => {
    await migrate(readSettings({}).projectRoot, { url: worker.url(), withSeed: false });
    pool = new pg.Pool({ connectionString: worker.url(), max: 8 });
    pool.on("error", () => {});
    await new Promise<void>((resolve) => between.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(between.address() as AddressInfo).port}`;
    // The tests are the clock.
    await rows("select cron.unschedule(jobid) from cron.job");
    [{ tables }] = await rows<{ tables: string }>(
      `select string_agg(oid::regclass::text, ', ') as tables from pg_class
        where relkind = 'r' and oid::regclass::text ~ '^(chatwoot|inbox|sync|actions|ledger.queue)\\M'`,
    );
    await rows("create database chatwoot");
    const database = new URL(worker.url());
    database.pathname = "/chatwoot";
    chatwoot = await startChatwoot({ url: database.href, seed: 1, start: later(-3600) });
  });
  afterAll(async () => {
    await pool?.end();
    between.closeAllConnections();
    await new Promise((resolve) => between.close(resolve));
    await chatwoot?.stop();
  });
  return {
    async begin(conversations = 1) {
      before = after = answer = null;
      chatwoot.turnFaults({ rate: 0, paths: /./, methods: ["GET", "HEAD", "POST"] });
      chatwoot.setNow(START);
      await rows(`truncate ${tables} cascade`);
      await rows("delete from ops.alerts where true");
      await rows("delete from ops.notifications where true");
      await rows("delete from ops.settings where true");
      await rows(
        "select ops.set_setting(1, 'sync_private_hosts', 'true'), ops.set_setting(1, 'actions_requests_per_minute', '600')",
      );
      await rows("select api.set_sync_token(1, $1)", [chatwoot.token]);
      await rows("select api.set_rest_source(1, $1)", [origin]);
      const { installation } = chatwoot;
      base = installation.nextNumber() - 1;
      for (let number = 1; number <= conversations; number++) {
        const contact = installation.newContact(START, { name: `Customer ${number}` }).id;
        const id = installation.newConversation(START, { contact, inbox: "website" }).id;
        const message = installation.customerWrites(START, id, { text: `Question ${number}` }).id;
        await rows(
          `with conversation as (
            insert into chatwoot.conversations (account_id, display_id, status, created_at, version_at)
            values (1, $1, 'open', $3, $3)
          ) insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, created_at, version_at)
          values (1, $2, $1, 'incoming', $3, $3)`,
          [id, message, START],
        );
      }
      await rows(
        `insert into chatwoot.agents (account_id, kind, agent_id, name, version_at)
        select 1, 'user', unnest($1::bigint[]), 'Agent', $2`,
        [installation.agents.map(({ id }) => id), START],
      );
      await rows(
        "insert into chatwoot.teams (account_id, team_id, name, version_at) select 1, unnest($1::bigint[]), 'Team', $2",
        [
          installation.teams.map(({ id }) => id),
          START,
        ],
      );
      await chatwoot.dispatch([]);
      return chatwoot;
    },
    id: (number = 1) => base + number,
    chatwoot: () => chatwoot,
    url: worker.url,
    log: worker.log,
    rows,
    async enqueue(displayId, kind, args, at = START) {
      const [{ id }] = await rows<{ id: string }>("select actions.enqueue(1, $1, $2, $3, null, $4) as id", [
        base + displayId,
        kind,
        args,
        at,
      ]);
      return id;
    },
    async dispatch(at = START, budget = "20 seconds") {
      chatwoot.setNow(at);
      await rows("call actions.dispatch($1, $2)", [at, budget]);
    },
    actions: () => rows("select * from api.actions order by action_id") as Promise<unknown> as Promise<Action[]>,
    set: async (name, value) => void await rows("select ops.set_setting(1, $1, $2)", [name, JSON.stringify(value)]),
    posted: (displayId) =>
      chatwoot.installation.conversation(base + displayId).messages
        .filter(({ type }) => type === "outgoing")
        .map(({ id, content, private: isPrivate }) => ({ id, text: content, private: isPrivate })),
    async during(work) {
      const first = passed.length;
      await work();
      return passed.slice(first);
    },
    before: (hook) => before = hook,
    after: (hook) => after = hook,
    answer: (given) => answer = given,
    async dispatcher() {
      const client = new pg.Client({ connectionString: worker.url() });
      client.on("error", () => {});
      await client.connect();
      const { processID: pid } = client as pg.Client & { processID: number };
      return {
        pid,
        dispatch: async (at) => {
          chatwoot.setNow(at);
          // It may be killed meanwhile.
          await client.query("call actions.dispatch($1, '20 seconds')", [at]).catch(() => {});
        },
        async kill() {
          await rows("select pg_terminate_backend($1)", [pid]);
          // Postgres itself would look only each tenth of a second whether it is gone.
          while ((await rows("select from pg_stat_activity where pid = $1", [pid])).length > 0) await sleep(2);
        },
        end: () => client.end().catch(() => {}),
      };
    },
  };
}
