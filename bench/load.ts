// The sender's side of a benchmark, as a process of its own: it must not wait for the event loop of what it measures.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { Pool } from "undici";
import { historyOf } from "../local/chatwoot/history.ts";
import { createRandom } from "../local/chatwoot/random.ts";
import { signatureHeaders } from "../local/chatwoot/sign.ts";

/**
 * Where deliveries are sent:
 * ceiling: one prepared insert of the bytes into a plain table; sql: inbox.record itself; rpc: the Data API;
 * gateway: /health, which does nothing; refused: the webhook with a wrong signature, so all but the database;
 * webhook: the whole way.
 */
export type Target = "ceiling" | "sql" | "rpc" | "gateway" | "refused" | "webhook";

export interface LoadOptions {
  databaseUrl: string;
  apiUrl: string;
  secretKey: string;
  accountId: string;
  webhookSecret: string;
  conversations: number;
  /** As many as will ever be drawn. */
  events: number;
  seed: number;
}

export type Order =
  | { kind: "open"; options: LoadOptions }
  /** Takes the next events of the history, to be sent by every run until the next draw. */
  | { kind: "draw"; events: number }
  | { kind: "run"; run: Run };

export interface Run {
  target: Target;
  connections: number;
  /** Sends what was drawn this many times over. */
  repeat?: number;
  /** Open loop: sends at random moments, this many a second on average. Without it each answer calls for the next. */
  perSecond?: number;
}

export interface Measured {
  events: number;
  seconds: number;
  /** From the moment it was due, so that waiting for its turn counts. Sorted. */
  milliseconds: number[];
  /** How often each answer came. */
  answers: Record<string, number>;
  cpuSeconds: number;
  bytes: number;
}

export type Reply = { kind: "done"; measured: Measured | null } | { kind: "failed"; message: string };

interface Delivery {
  id: string;
  body: Buffer;
}

interface Sender {
  /** Sends one delivery on one of the connections and tells how it was answered. */
  send(delivery: Delivery, connection: number): Promise<string>;
  close(): Promise<void>;
}

let options: LoadOptions;
let history: Iterator<{ deliveryId: string; body: string }>;
let drawn: Delivery[] = [];

async function follow(order: Order): Promise<Measured | null> {
  if (order.kind === "run") return await measure(order.run);
  if (order.kind === "draw") drawn = Array.from({ length: order.events }, draw);
  else {
    options = order.options;
    const { conversations, events, seed } = options;
    // At the pace of a busy hour, so that its clock runs about as fast as the one on the wall: at a slower pace every
    // event would be minutes later than the one before it, and the names it carries due to be stamped anew.
    const start = new Date(Date.now() - events * MILLISECONDS_AN_EVENT);
    history = historyOf({ conversations, events, seed, start, longestGap: 10 }).events;
  }
  return null;
}

const MILLISECONDS_AN_EVENT = 40;

function draw(): Delivery {
  const { done, value } = history.next();
  if (done) throw new Error("The history came to its end: ask for more events.");
  return { id: value.deliveryId, body: Buffer.from(value.body) };
}

async function measure(run: Run): Promise<Measured> {
  const sender = await openSender(run);
  const total = drawn.length * (run.repeat ?? 1);
  const milliseconds = new Float64Array(total);
  const answers: Record<string, number> = {};
  const deliver = async (position: number, dueAt: number, connection: number) => {
    const answer = await sender.send(drawn[position % drawn.length], connection)
      .catch((error: Error) => error.message.slice(0, 200));
    milliseconds[position] = performance.now() - dueAt;
    answers[answer] = (answers[answer] ?? 0) + 1;
  };
  try {
    const cpu = process.cpuUsage();
    const startedAt = performance.now();
    if (run.perSecond === undefined) await closedLoop(total, run.connections, deliver);
    else await openLoop(total, run.perSecond, deliver);
    const seconds = (performance.now() - startedAt) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    return {
      events: total,
      seconds,
      milliseconds: [...milliseconds.sort()],
      answers,
      cpuSeconds: (user + system) / 1e6,
      bytes: drawn.reduce((sum, { body }) => sum + body.length, 0) / drawn.length,
    };
  } finally {
    await sender.close();
  }
}

type Deliver = (position: number, dueAt: number, connection: number) => Promise<void>;

async function closedLoop(total: number, connections: number, deliver: Deliver): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: connections }, async (_, connection) => {
    while (next < total) await deliver(next++, performance.now(), connection);
  }));
}

// Independent senders: the gaps between their events are exponentially distributed.
async function openLoop(total: number, perSecond: number, deliver: Deliver): Promise<void> {
  const random = createRandom(options.seed);
  const sent: Promise<void>[] = [];
  let dueAt = performance.now();
  for (let position = 0; position < total; position++) {
    dueAt -= Math.log(1 - random.next()) * 1000 / perSecond;
    // The timer has whole milliseconds: what is due within the next half is sent now.
    if (dueAt - performance.now() > 0.5) await sleep(dueAt - performance.now());
    sent.push(deliver(position, dueAt, position));
  }
  await Promise.all(sent);
}

function openSender({ target, connections }: Run): Promise<Sender> | Sender {
  const now = () => Math.floor(Date.now() / 1000);
  const signed = (delivery: Delivery, secret: string) =>
    signatureHeaders(delivery.body, { secret, timestamp: now(), deliveryId: delivery.id });
  switch (target) {
    case "ceiling":
      return openSql(connections, ({ body }) => ({
        name: "ceiling",
        text: "insert into bench_ceiling (body) values ($1)",
        values: [body],
      }));
    case "sql":
      return openSql(connections, ({ id, body }) => ({
        name: "record",
        text: "select inbox.record($1, $2, $3, $4, $5, to_timestamp($6)) as answer",
        values: [options.accountId, id, body, HEADERS, "signature", now()],
      }));
    case "rpc":
      return openHttp(connections, "/rest/v1/rpc/record_webhook", ({ id, body }) => ({
        headers: { apikey: options.secretKey, "content-type": "application/json", "content-profile": "api" },
        body: JSON.stringify({
          account_id: options.accountId,
          delivery_id: id,
          body: `\\x${body.toString("hex")}`,
          headers: HEADERS,
          proof: "signature",
          signed_at: new Date(now() * 1000).toISOString(),
        }),
      }));
    case "gateway":
      return openHttp(connections, "/health", () => ({ headers: {} }));
    case "refused":
      return openHttp(connections, WEBHOOK, (delivery) => ({
        headers: signed(delivery, "nobody's secret"),
        body: delivery.body,
      }));
    case "webhook":
      return openHttp(connections, WEBHOOK, (delivery) => ({
        headers: signed(delivery, options.webhookSecret),
        body: delivery.body,
      }));
  }
}

const WEBHOOK = "/functions/v1/chatwoot-webhook";
const HEADERS = { "content-type": "application/json", "user-agent": "Ruby" };

// Kept from run to run, as the Data API keeps its own: a new connection is slow until it has its plans.
const clients: pg.Client[] = [];

async function openSql(connections: number, query: (delivery: Delivery) => pg.QueryConfig): Promise<Sender> {
  while (clients.length < connections) {
    const client = new pg.Client({ connectionString: options.databaseUrl });
    await client.connect();
    clients.push(client);
  }
  return {
    async send(delivery, connection) {
      const { rows } = await clients[connection].query(query(delivery));
      return rows[0]?.answer ?? "inserted";
    },
    close: () => Promise.resolve(),
  };
}

function openHttp(
  connections: number,
  path: string,
  request: (delivery: Delivery) => { headers: Record<string, string>; body?: string | Buffer },
): Sender {
  const pool = new Pool(options.apiUrl, { connections });
  return {
    async send(delivery) {
      const content = request(delivery);
      const method = content.body === undefined ? "GET" : "POST";
      const { statusCode, body } = await pool.request({ path, method, ...content });
      const text = await body.text();
      return /"outcome":"([a-z]+)"/.exec(text)?.[1] ?? `status ${statusCode}`;
    },
    close: () => pool.close(),
  };
}

process.on("message", (order: Order) => {
  follow(order).then(
    (measured): Reply => ({ kind: "done", measured }),
    (error: Error): Reply => ({ kind: "failed", message: error.stack ?? error.message }),
  ).then((reply) => process.send?.(reply));
});
// Its parent is gone, however that ended.
process.on("disconnect", () => process.exit(0));
