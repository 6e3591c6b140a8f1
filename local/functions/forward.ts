// Carries one HTTP request to a function's process and its answer back, both as streams.
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { PassThrough } from "node:stream";
import { errors, type Pool } from "undici";
import type { FunctionWorker } from "./worker.ts";

/** How long a request waits for a process that is being started again. */
const RESTART_MILLISECONDS = 5_000;

// Connection-bound headers, and those undici sets itself or does not take. The public host travels as x-forwarded-host.
const NOT_FORWARDED = new Set([
  "connection",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

export interface Exchange {
  slug: string;
  request: IncomingMessage;
  response: ServerResponse;
  log: (line: string) => void;
}

const FAILURES = {
  NOT_FOUND: { status: 404, message: "No such function.", hint: "See supabase/functions for those there are." },
  BOOT_ERROR: { status: 503, message: "The function is not running.", hint: "Its log says why; it is started again." },
  IDLE_TIMEOUT: { status: 504, message: "The function did not answer in time.", hint: "Its process was ended." },
  WORKER_ERROR: { status: 500, message: "The function ended without an answer.", hint: "Its log says why." },
} as const;

/** Forwards the request; whatever happens the response ends, with the platform's error codes where it failed. */
export async function forwardTo(worker: FunctionWorker | undefined, exchange: Exchange): Promise<void> {
  if (worker === undefined) return fail("NOT_FOUND", exchange);
  // A plain timer: an aborted sleep throws, which costs a stack trace a request.
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<null>((resolve) => timer = setTimeout(resolve, RESTART_MILLISECONDS, null).unref());
  const pool = await Promise.race([worker.connections().catch(() => null), late]);
  clearTimeout(timer);
  if (pool === null) return fail("BOOT_ERROR", exchange);

  const { request, response, slug, log } = exchange;
  const abort = new EventEmitter();
  const onClose = () => void (response.writableFinished || abort.emit("abort"));
  response.once("close", onClose);
  try {
    await pass(pool, { exchange, abort });
  } catch (error) {
    if (response.destroyed || request.destroyed) return;
    if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError) {
      log(`${slug}: no answer in time, its process is ended`);
      await worker.kill();
      return fail("IDLE_TIMEOUT", exchange);
    }
    log(`${slug}: request failed, ${error instanceof Error ? error.message : String(error)}`);
    // So that the caller's next request already waits for the process that comes after.
    await worker.ended(200);
    fail("WORKER_ERROR", exchange);
  } finally {
    response.off("close", onClose);
  }
}

async function pass(pool: Pool, { exchange, abort }: { exchange: Exchange; abort: EventEmitter }) {
  const { request, response } = exchange;
  const hasBody = request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"]) > 0;
  // Not the request itself: undici destroys the body of a request answered early (413), and with it would go the
  // connection on which that answer is still to be written.
  const body = hasBody ? request.pipe(new PassThrough()) : null;
  request.once("close", () => {
    if (body !== null && !request.complete) body.destroy();
  });
  body?.on("error", () => {});
  await pool.stream({
    // Typed as a list of names; whatever Node's parser let in may be sent on.
    method: request.method as "POST",
    path: (request.url ?? "/").replace(/^\/functions\/v1(?=\/)/, ""),
    headers: publicHeaders(request),
    body,
    signal: abort,
  }, ({ statusCode, headers }) => {
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined && !NOT_FORWARDED.has(name)) response.setHeader(name, value);
    }
    // Answered before the body was read: the rest of it is not waited for.
    if (!request.complete) response.setHeader("connection", "close");
    response.writeHead(statusCode);
    return response;
  });
}

/** As they came, repetitions included: to a signature check a header sent twice is not the same as one. */
function publicHeaders(request: IncomingMessage): string[] {
  const headers: string[] = [];
  const raw = request.rawHeaders;
  const forwarded: string[] = [];
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index].toLowerCase();
    if (name === "x-forwarded-for") forwarded.push(raw[index + 1]);
    else if (!NOT_FORWARDED.has(name) && !name.startsWith("x-forwarded-")) headers.push(raw[index], raw[index + 1]);
  }
  forwarded.push(request.socket.remoteAddress ?? "");
  headers.push("x-forwarded-for", forwarded.join(", "), "x-forwarded-proto", "http");
  if (request.headers.host !== undefined) headers.push("x-forwarded-host", request.headers.host);
  return headers;
}

function fail(code: keyof typeof FAILURES, { response, request }: Exchange): void {
  if (response.headersSent) {
    // Half an answer must not look like a whole one.
    response.destroy();
    return;
  }
  const { status, message, hint } = FAILURES[code];
  response.writeHead(status, {
    "content-type": "application/json",
    "sb-error-code": code,
    ...(request.complete ? {} : { connection: "close" }),
  });
  response.end(JSON.stringify({ code, message, hint }));
}
