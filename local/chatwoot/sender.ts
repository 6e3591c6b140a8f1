// Sends events as Chatwoot's workers do: each one a signed POST, tried once, ten at a time and in no promised order.
import { Agent, request } from "undici";
import { signatureHeaders } from "./sign.ts";
import { Buffer } from "node:buffer";

/** What the sender needs of an event; `body` is sent as it is, byte for byte. */
export interface Sendable {
  deliveryId: string | null;
  body: string | Uint8Array;
  /** Only looked at when the order is to be kept. */
  conversation?: number | null;
}

export interface SendOptions {
  url: string;
  /** null sends unsigned. */
  secret: string | null;
  /** The clock the timestamp is taken from, read once per request. */
  now?: () => Date;
  /** Requests in flight at once; Chatwoot's Sidekiq has ten workers. */
  concurrency?: number;
  /** Keeps the order within each conversation, which Chatwoot does not. */
  ordered?: boolean;
  /** Connecting and reading each get this long; Chatwoot's default is five seconds. */
  timeoutMilliseconds?: number;
  /** Called as each answer comes in, for progress. */
  onAnswer?: (answer: Answer) => void;
}

export interface Answer {
  deliveryId: string | null;
  /** The HTTP status; null when no answer came. */
  status: number | null;
  /** The answer's text, at most 64 KiB of it. */
  text: string;
  /** Why there was no answer; null when there was one. */
  error: string | null;
  milliseconds: number;
}

const ANSWER_LIMIT = 64 * 1024;

/** Where an event goes, and with which secret. */
export interface Receiver {
  url: string;
  secret: string | null;
}

/** Connections that are kept for the next event; each event is posted once, whatever comes of it. */
export function createSender({ now, timeoutMilliseconds = 5000 }: Pick<SendOptions, "now" | "timeoutMilliseconds">) {
  const agent = new Agent({
    connect: { timeout: timeoutMilliseconds },
    headersTimeout: timeoutMilliseconds,
    bodyTimeout: timeoutMilliseconds,
  });
  return {
    post: async (event: Sendable, { url, secret }: Receiver): Promise<Answer> =>
      await post(event, { ...readTarget(url), secret, now, agent }),
    close: () => agent.close(),
  };
}

/** Posts every event at most once; the answers come back in the order of the events. */
export async function send(events: Iterable<Sendable>, options: SendOptions): Promise<Answer[]> {
  const { concurrency = 10, ordered = false } = options;
  readTarget(options.url);
  const sender = createSender(options);
  const answers: Answer[] = [];
  const deliver = async (event: Sendable, position: number) => {
    const answer = await sender.post(event, options);
    answers[position] = answer;
    options.onAnswer?.(answer);
  };
  try {
    const work = ordered ? inLanes(events, concurrency) : sharedQueue(events, concurrency);
    await Promise.all(work.map(async (lane) => {
      for (const [position, event] of lane) await deliver(event, position);
    }));
  } finally {
    await sender.close();
  }
  return answers;
}

type Numbered = Iterable<[number, Sendable]>;

function* numbered(events: Iterable<Sendable>): Generator<[number, Sendable]> {
  let position = 0;
  for (const event of events) yield [position++, event];
}

// One queue that all workers draw from. Wrapped, so that one worker's end does not close it for the others.
function sharedQueue(events: Iterable<Sendable>, workers: number): Numbered[] {
  const queue = numbered(events);
  return Array.from({ length: workers }, () => ({ [Symbol.iterator]: () => ({ next: () => queue.next() }) }));
}

// One lane a worker, and a conversation always in the same lane.
function inLanes(events: Iterable<Sendable>, workers: number): Numbered[] {
  const lanes: [number, Sendable][][] = Array.from({ length: workers }, () => []);
  for (const [position, event] of numbered(events)) {
    lanes[(event.conversation ?? 0) % workers].push([position, event]);
  }
  return lanes;
}

interface Target {
  url: URL;
  authorization: string | null;
}

// A `user:password@` in the URL becomes a header, as Net::HTTP callers do; it must not stay in what errors print.
function readTarget(text: string): Target {
  if (!URL.canParse(text)) throw new TypeError("The webhook URL cannot be read: give a full http:// or https:// URL.");
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`A webhook URL begins with http:// or https://, not ${url.protocol}//.`);
  }
  const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  const authorization = user === ":" ? null : `Basic ${Buffer.from(user).toString("base64")}`;
  url.username = "";
  url.password = "";
  return { url, authorization };
}

interface Posting extends Target {
  secret: string | null;
  now?: () => Date;
  agent: Agent;
}

async function post(event: Sendable, options: Posting): Promise<Answer> {
  const body = typeof event.body === "string" ? Buffer.from(event.body) : event.body;
  const timestamp = Math.floor((options.now?.() ?? new Date()).getTime() / 1000);
  const headers = signatureHeaders(body, { secret: options.secret, timestamp, deliveryId: event.deliveryId });
  if (options.authorization !== null) headers["Authorization"] = options.authorization;
  const started = performance.now();
  const answer = (rest: Pick<Answer, "status" | "text" | "error">): Answer => ({
    deliveryId: event.deliveryId,
    ...rest,
    milliseconds: performance.now() - started,
  });
  try {
    const response = await request(options.url, { method: "POST", headers, body, dispatcher: options.agent });
    return answer({ status: response.statusCode, text: await readStart(response.body), error: null });
  } catch (error) {
    return answer({ status: null, text: "", error: error instanceof Error ? error.message : String(error) });
  }
}

async function readStart(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    parts.push(part);
    size += part.length;
    if (size >= ANSWER_LIMIT) break;
  }
  return Buffer.concat(parts).subarray(0, ANSWER_LIMIT).toString("utf8");
}
