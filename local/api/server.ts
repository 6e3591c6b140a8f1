// The local gateway: one HTTP server for the Data API, the edge functions and /health.
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Keys } from "../keys.ts";
import { createAuthenticator } from "./auth.ts";
import { openDatabase } from "./database.ts";
import { ApiError, fromDatabase } from "./errors.ts";
import { answerRest } from "./rest.ts";

export interface FunctionsGateway {
  slugs: Record<string, { verifyJwt: boolean }>;
  /** Answers a request whose path begins with /<slug>, as the hosted runtime shows it. */
  forward(slug: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
}
export interface ApiOptions {
  /** 0 takes any free port. */
  port: number;
  host: string;
  /** As `authenticator`. */
  databaseUrl: string;
  keys: Pick<Keys, "jwtSecret" | "publishableKey" | "secretKey">;
  /** Exposed schemas; the first is used where a request names none. */
  schemas: string[];
  maxRows: number;
  functions?: FunctionsGateway;
  /** One line per failure worth reading; never a header, body or query string. */
  log?: (line: string) => void;
}
export interface Api {
  url: string;
  stop(): Promise<void>;
}

const MAX_BODY_BYTES = 10 * 1024 * 1024;
// Long `in.(...)` filters travel in the URL, so the limit is wider than Node's 16 KiB.
const MAX_HEADER_BYTES = 64 * 1024;

export async function startApi(options: ApiOptions): Promise<Api> {
  const { host, databaseUrl, keys, schemas, maxRows, functions, log = () => {} } = options;
  const authenticator = createAuthenticator(keys);
  const database = await openDatabase({ databaseUrl, schemas, log });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = request.url ?? "/";
    const cut = url.indexOf("?");
    const path = cut < 0 ? url : url.slice(0, cut);
    // What a client says here is not believed; it is the gateway that knows.
    request.headers["x-forwarded-for"] = request.socket.remoteAddress ?? "";
    if (path === "/health") return send(response, { status: 200, headers: [], body: "" });
    if (path.startsWith("/functions/v1/")) return serveFunction(request, response, path);
    if (!path.startsWith("/rest/v1/")) {
      throw new ApiError(404, null, "No such path", { hint: "Served here: /rest/v1, /functions/v1 and /health." });
    }
    allowBrowsers(request, response);
    if (request.method === "OPTIONS") return send(response, { status: 200, headers: [], body: "" });
    const caller = await authenticator.caller(request);
    const body = await readBody(request);
    const answer = await answerRest(
      {
        method: request.method ?? "GET",
        path: path.slice("/rest/v1/".length),
        query: cut < 0 ? "" : url.slice(cut + 1),
        headers: request.headers,
        body,
      },
      caller,
      { database, schemas, maxRows },
    );
    send(response, answer);
  }

  async function serveFunction(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const slug = /^\/functions\/v1\/([A-Za-z0-9_-]+)(?:\/|$)/.exec(path)?.[1] ?? "";
    const settings = functions && Object.hasOwn(functions.slugs, slug) ? functions.slugs[slug] : undefined;
    if (!functions || settings === undefined) {
      throw new ApiError(404, "NOT_FOUND", "Requested function was not found");
    }
    // A browser's preflight carries no token; the function answers it.
    if (settings.verifyJwt && request.method !== "OPTIONS") await authenticator.admit(request);
    request.url = (request.url ?? "").slice("/functions/v1".length);
    await functions.forward(slug, request, response);
  }

  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 60_000 }, (request, response) => {
    serve(request, response).catch((error: unknown) => {
      const refusal = fromDatabase(error, false);
      if (refusal.code === "PGRSTX00") log(`A request failed: ${error instanceof Error ? error.stack : "unknown"}`);
      else if (refusal.status >= 500) {
        log(`${request.method} ${request.url?.split("?")[0]} ended in ${refusal.status} ${refusal.code}`);
      }
      if (response.headersSent) return void response.destroy();
      // A body nobody read would be taken for the next request.
      if (!request.complete) response.setHeader("Connection", "close");
      const headers: [string, string][] = Object.entries(refusal.headers);
      if (refusal.code !== null) headers.push(["Proxy-Status", `PostgREST; error=${refusal.code}`]);
      headers.push(["Content-Type", "application/json; charset=utf-8"]);
      send(response, { status: refusal.status, headers, body: refusal.body() });
    });
  });
  server.keepAliveTimeout = 65_000;

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, host, resolve);
  }).catch(async (error: unknown) => {
    await database.stop();
    throw error;
  });
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return {
    url: `http://${host}:${port}`,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const impatience = setTimeout(() => server.closeAllConnections(), 2000);
      await closed;
      clearTimeout(impatience);
      await database.stop();
    },
  };
}

function send(
  response: ServerResponse,
  { status, headers, body }: { status: number; headers: [string, string][]; body: string },
): void {
  for (const [name, value] of headers) response.appendHeader(name, value);
  const bodiless = status === 204 || status === 304;
  if (!bodiless) response.setHeader("Content-Length", Buffer.byteLength(body));
  response.writeHead(status);
  response.end(bodiless ? undefined : body);
}

/** Cross-origin headers as the hosted gateway sends them: the key, not the origin, is what opens the API. */
function allowBrowsers(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("Access-Control-Allow-Origin", "*");
  response.setHeader(
    "Access-Control-Expose-Headers",
    "Content-Range, Content-Location, Preference-Applied, Proxy-Status",
  );
  if (request.method !== "OPTIONS") return;
  response.setHeader("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE, OPTIONS");
  const asked = request.headers["access-control-request-headers"];
  response.setHeader("Access-Control-Allow-Headers", asked ?? "apikey, authorization, content-type, x-client-info");
  response.setHeader("Access-Control-Max-Age", "3600");
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") throw new ApiError(415, null, "Content-Encoding is not served: send the body as it is");
  const tooLarge = () =>
    new ApiError(413, null, `The body is larger than ${MAX_BODY_BYTES} bytes`, {
      hint: "Send it in several requests.",
    });
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
