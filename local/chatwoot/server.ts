// A Chatwoot to talk to: REST over tables of Chatwoot's own shape, verbs that change them, webhooks that follow. What it
// does not imitate is listed in local/README.md.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Pool, types } from "pg";
import { isPrivateHost } from "../private-host.ts";
import { UserError } from "../settings.ts";
import { type ChatwootEvent, type OnWrite, type Outcome } from "./engine.ts";
import { createFaults, type Fault, type FaultDial, isAfterwards } from "./faults.ts";
import type { Installation } from "./installation.ts";
import { openMemory } from "./memory.ts";
import { createRandom } from "./random.ts";
import { type Answer, answerRequest } from "./rest.ts";
import { BROKEN } from "./rest-call.ts";
import { createReader } from "./rest-rows.ts";
import { EVENTS } from "./rest-webhooks.ts";
import { serialise } from "./serialise.ts";
import { createDispatcher, type Target, type WebhookCounts, type WebhookDial } from "./webhooks.ts";

export interface ChatwootOptions {
  /** Of the database that holds its tables, or will. */
  url: string;
  /** 0, the standard, takes any free one. */
  port?: number;
  host?: string;
  /** The clock: what "now" means to updated_within, and the Date of answers. */
  now?: () => Date;
  seed?: number;
  /** No record is older than this. */
  start?: Date;
  /** Is told what really happens to conversations; to measure by. */
  onWrite?: OnWrite;
  webhooks?: Partial<WebhookDial>;
  faults?: Partial<FaultDial>;
  /** What it says to be, 4.16.2 unless told. Before 4.11.2 webhooks have no secret and are not signed. */
  version?: string;
  /** SAFE_FETCH_ALLOW_PRIVATE_NETWORK: without it 4.14.0 and newer call no private address. Here it is true unless told. */
  allowPrivateNetwork?: boolean;
  /** More are answered 429; none by default. */
  rateLimitPerMinute?: number;
}

/** One request, in the order in which they came. */
export interface Asked {
  method: string;
  /** With its query. */
  path: string;
  /** Of the answer; null while there is none, and for good where none was given. */
  status: number | null;
  /** What went wrong in here, where the answer was 500. */
  problem: string | null;
}

export interface Chatwoot {
  url: string;
  /** An administrator's access token. */
  token: string;
  installation: Installation;
  requests: Asked[];
  webhooks: WebhookCounts;
  /** How often each fault was given instead of an answer. */
  faults: Partial<Record<Fault, number>>;
  /** Does something in the shop, keeps it, and sends the webhooks that follow. */
  perform(at: Date, verb: (installation: Installation, at: Date) => Outcome): Promise<Outcome>;
  /** Keeps what verbs called directly have done, and sends their webhooks. */
  dispatch(events: readonly ChatwootEvent[]): Promise<void>;
  /** Waits until no webhook is on its way. */
  drain(): Promise<void>;
  /** Adds an account webhook, of all events unless told, or gives an existing one this secret. */
  createWebhook(webhook: { url: string; secret?: string; subscriptions?: readonly string[] }): Promise<Target>;
  setNow(now: Date | (() => Date)): void;
  turnWebhooks(dial: Partial<WebhookDial>): void;
  turnFaults(dial: Partial<FaultDial>): void;
  stop(): Promise<void>;
}

/** Whether the version is at least the other, by its numbers. */
export function isAtLeast(version: string, other: string): boolean {
  const [one, two] = [version, other].map((text) => text.split(/[.-]/).slice(0, 3).map((part) => parseInt(part) || 0));
  const differing = two.findIndex((part, index) => (one[index] ?? 0) !== part);
  return differing === -1 || (one[differing] ?? 0) > two[differing];
}

const BODY_LIMIT = 1024 * 1024;
const BIGINT = 20;

/** Opens the tables, goes on with what they hold, and listens. */
export async function startChatwoot(options: ChatwootOptions): Promise<Chatwoot> {
  const { host = "127.0.0.1", seed = 1, version = "4.16.2", allowPrivateNetwork = true } = options;
  const isSigning = isAtLeast(version, "4.11.2");
  const mayCall = (url: string) =>
    allowPrivateNetwork || !isAtLeast(version, "4.14.0") || !isPrivateHost(new URL(url).hostname);
  let now = options.now ?? (() => new Date());
  const memory = await openMemory({
    url: options.url,
    installationOptions: {
      seed,
      start: options.start ?? new Date(now().getTime() - 2 * 86_400_000),
      onWrite: options.onWrite,
    },
  });
  const { installation } = memory;
  await memory.save();
  const pool = new Pool({
    connectionString: options.url,
    max: 4,
    // Ids fit into a number here.
    types: { getTypeParser: (oid, format) => oid === BIGINT ? Number : types.getTypeParser(oid, format) },
  });
  pool.on("error", () => {});
  const dispatcher = createDispatcher(options.webhooks ?? {}, () => now());
  const faults = createFaults(options.faults ?? {});
  const requests: Asked[] = [];
  const sockets = createServer();
  const secrets = createRandom(seed + 7);

  const dispatch = async (events: readonly ChatwootEvent[]) => {
    await memory.save();
    const { rows } = await pool.query<Target>(
      "select url, secret, subscriptions from webhooks where account_id = $1 and webhook_type = 0 order by id",
      [installation.account.id],
    );
    const called = rows.filter(({ url }) => mayCall(url));
    // Refused before anything is sent, and only Chatwoot's log would tell.
    for (const { subscriptions } of rows.filter((row) => !called.includes(row))) {
      dispatcher.counts.refused += events.filter(({ name }) => subscriptions.includes(name)).length;
    }
    dispatcher.dispatch(events, isSigning ? called : called.map((target) => ({ ...target, secret: null })));
  };
  const perform: Chatwoot["perform"] = async (at, verb) => {
    const outcome = verb(installation, at);
    await dispatch(outcome.events);
    return outcome;
  };

  await new Promise<void>((resolve, reject) => {
    sockets.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        error.code === "EADDRINUSE"
          ? new UserError(
            `Port ${options.port} is taken, so Chatwoot cannot listen there: stop what uses it, or set OCC_CHATWOOT_PORT to a free port.`,
          )
          : error,
      ));
    sockets.listen(options.port ?? 0, host, resolve);
  }).catch(async (error) => {
    await dispatcher.stop();
    await pool.end();
    await memory.close();
    throw error;
  });
  const origin = `http://${host}:${(sockets.address() as AddressInfo).port}`;
  const reader = createReader(pool, { accountId: installation.account.id, baseUrl: origin });

  let minute = 0;
  let inMinute = 0;
  const isThrottled = () => {
    if (options.rateLimitPerMinute === undefined) return false;
    const current = Math.floor(now().getTime() / 60_000);
    inMinute = current === minute ? inMinute + 1 : 1;
    minute = current;
    return inMinute > options.rateLimitPerMinute;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse, asked: Asked) => {
    response.setHeader("date", now().toUTCString());
    const url = new URL(request.url ?? "/", origin);
    if (url.pathname !== "/health" && isThrottled()) {
      request.resume();
      asked.status = 429;
      return void response.writeHead(429, { "content-type": "text/plain" }).end("Retry later\n");
    }
    const fault = faults.next(request);
    const spoil = async (kind: Fault) => {
      await faults.answer(kind, response);
      asked.status = response.headersSent ? response.statusCode : null;
    };
    if (fault !== null && !isAfterwards(fault)) {
      request.resume();
      return await spoil(fault);
    }
    const answer: Answer = await answerRequest({
      method: request.method ?? "GET",
      url,
      token: String(request.headers["api_access_token"] ?? request.headers["api-access-token"] ?? "") || null,
      body: await readBody(request),
      reader,
      installation,
      now: now(),
      perform,
      newSecret: () => secrets.token(24),
      version,
      isSigning,
    });
    if (fault !== null) return await spoil(fault);
    asked.status = answer.status;
    response.writeHead(answer.status, { "content-type": "application/json; charset=utf-8" });
    response.end(answer.body === undefined ? "" : serialise(answer.body));
  };
  sockets.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const asked: Asked = { method: request.method ?? "", path: request.url ?? "", status: null, problem: null };
    requests.push(asked);
    handle(request, response, asked).catch((error: Error) => {
      asked.problem = error.message;
      if (response.headersSent) return void response.destroy();
      asked.status = 500;
      response.writeHead(500, { "content-type": "application/json; charset=utf-8" }).end(serialise(BROKEN.body));
    });
  });

  return {
    url: origin,
    token: installation.accessToken,
    installation,
    requests,
    webhooks: dispatcher.counts,
    faults: faults.counts,
    perform,
    dispatch,
    drain: dispatcher.drain,
    async createWebhook({ url, secret = secrets.token(24), subscriptions = EVENTS }) {
      const { rows: [webhook] } = await pool.query<Target>(
        `insert into webhooks (account_id, url, secret, subscriptions, created_at, updated_at)
        values ($1, $2, $3, $4, $5, $5)
        on conflict (account_id, url) do update set secret = excluded.secret, subscriptions = excluded.subscriptions
        returning url, secret, subscriptions`,
        [installation.account.id, url, secret, JSON.stringify(subscriptions), now().toISOString().slice(0, -1)],
      );
      return webhook;
    },
    setNow: (value) => {
      now = typeof value === "function" ? value : () => value;
    },
    turnWebhooks: dispatcher.turn,
    turnFaults: faults.turn,
    async stop() {
      sockets.closeAllConnections();
      await new Promise((resolve) => sockets.close(resolve));
      await dispatcher.stop();
      try {
        await memory.save();
      } finally {
        await pool.end();
        await memory.close();
      }
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > BODY_LIMIT) throw new RangeError(`The body is larger than ${BODY_LIMIT} bytes.`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
