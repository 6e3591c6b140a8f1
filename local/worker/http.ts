// Performs what SQL asks of http(), as libcurl would. The database reaches it over a port that speaks enough of the
// Postgres protocol for dblink: one query (the request as JSON) and one row (the answer). Nothing is stored on the way.
import { randomBytes } from "node:crypto";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { Agent, request as send } from "undici";
import { z } from "zod";

const MAX_STARTUP_BYTES = 10_000;
const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
const MAX_CONTENT_BYTES = 32 * 1024 * 1024;
const MAX_REDIRECTS = 5;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const PROTOCOL_3 = 196608;

const Request = z.object({
  method: z.string().min(1),
  uri: z.string(),
  headers: z.array(z.tuple([z.string(), z.string()])).nullable(),
  contentType: z.string().nullable(),
  content: z.string().nullable().transform((base64) => base64 === null ? null : Buffer.from(base64, "base64")),
  userAgent: z.string(),
  credentials: z.string().nullable(),
  // 0 means no limit, as in libcurl; the statement's own timeout still ends the wait.
  timeoutMs: z.number().min(0),
  connectTimeoutMs: z.number().min(0),
});
type Request = z.infer<typeof Request>;
interface Answer {
  status: number;
  contentType: string | null;
  headers: [string, string][];
  content: Buffer;
}

/** What http() raises: the words of libcurl, since SQL may look for them. */
class TransportError extends Error {}

export interface HttpPerformer {
  /** How dblink connects; holds a secret, so that other local programs cannot send requests from here. */
  conninfo: string;
  stop(): Promise<void>;
}

/** Listens on a free local port for requests from http(). */
export async function startHttp(): Promise<HttpPerformer> {
  const secret = randomBytes(24).toString("hex");
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => socket.destroy());
    serve(socket, secret);
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    conninfo:
      `host=127.0.0.1 port=${port} user=${secret} dbname=http sslmode=disable gssencmode=disable connect_timeout=5`,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function serve(socket: Socket, secret: string): void {
  let started = false;
  let chunks: Buffer[] = [];
  let size = 0;
  const gone = new AbortController();
  socket.on("close", () => gone.abort());
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    for (;;) {
      const head = started ? 1 : 0;
      if (size < head + 4) return;
      if (chunks[0].length < head + 4) chunks = [Buffer.concat(chunks)];
      const length = head + chunks[0].readUInt32BE(head);
      if (length < head + 4 || length > (started ? MAX_REQUEST_BYTES : MAX_STARTUP_BYTES)) return void socket.destroy();
      if (size < length) return;
      const all = Buffer.concat(chunks);
      chunks = [all.subarray(length)];
      size -= length;
      const body = all.subarray(head + 4, length);
      if (!started) started = startUp(socket, body, secret);
      else if (all[0] === "Q".charCodeAt(0)) void answerQuery(socket, body, gone.signal);
      else return void socket.destroy();
    }
  });
}

function startUp(socket: Socket, body: Buffer, secret: string): boolean {
  const code = body.length >= 4 ? body.readUInt32BE(0) : 0;
  if (code === SSL_REQUEST || code === GSS_REQUEST) {
    socket.write("N");
    return false;
  }
  const parameters = body.subarray(4).toString().split("\0");
  if (code !== PROTOCOL_3 || parameters[parameters.indexOf("user") + 1] !== secret) {
    socket.destroy();
    return false;
  }
  socket.write(Buffer.concat([
    message("R", integer(0)),
    message("S", text("server_version"), text("17.0")),
    message("S", text("client_encoding"), text("UTF8")),
    message("Z", Buffer.from("I")),
  ]));
  return true;
}

async function answerQuery(socket: Socket, body: Buffer, gone: AbortSignal): Promise<void> {
  let reply: Buffer[];
  try {
    const answer = await perform(Request.parse(JSON.parse(body.subarray(0, -1).toString())), gone);
    const row = [
      Buffer.from(String(answer.status)),
      answer.contentType === null ? null : Buffer.from(answer.contentType),
      Buffer.from(JSON.stringify(answer.headers)),
      Buffer.from("\\x" + answer.content.toString("hex")),
    ];
    const column = (name: string) =>
      Buffer.concat([text(name), Buffer.alloc(6), integer(25), Buffer.from([255, 255, 255, 255, 255, 255, 0, 0])]);
    reply = [
      message("T", short(4), ...["status", "content_type", "headers", "content"].map(column)),
      message(
        "D",
        short(4),
        ...row.flatMap((value) => value === null ? [integer(-1)] : [integer(value.length), value]),
      ),
      message("C", text("SELECT 1")),
    ];
  } catch (error) {
    // Only our own words: those of another error might quote the request.
    const words = error instanceof TransportError ? error.message : "The HTTP request could not be performed.";
    reply = [message("E", text("SERROR"), text("VERROR"), text("CXX000"), text(`M${words}`), Buffer.alloc(1))];
  }
  if (socket.writable) socket.write(Buffer.concat([...reply, message("Z", Buffer.from("I"))]));
}

function integer(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function short(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function message(type: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), integer(body.length + 4), body]);
}

async function perform(request: Request, gone: AbortSignal): Promise<Answer> {
  const started = Date.now();
  let received = 0;
  const late = new AbortController();
  const timer = request.timeoutMs > 0 ? setTimeout(() => late.abort(), request.timeoutMs) : undefined;
  const agent = new Agent({
    // No proxy from the environment, no kept connections: each request stands alone, as in the real extension.
    connect: { timeout: request.connectTimeoutMs || 300_000 },
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  let url = readUrl(request.uri);
  try {
    const method = request.method.toUpperCase();
    // Body and method may change on a redirect.
    const current = { method, content: request.content };
    const firstOrigin = url.origin;
    const seen: [string, string][] = [];
    for (let redirects = 0;; redirects++) {
      const response = await send(url, {
        dispatcher: agent,
        method: current.method,
        headers: headersFor(request, url, url.origin === firstOrigin, current.content !== null).flat(),
        body: current.content,
        signal: AbortSignal.any([gone, late.signal]),
        responseHeaders: "raw",
      });
      const raw = response.headers as unknown as Buffer[] | string[];
      const headers: [string, string][] = [];
      for (let i = 0; i + 1 < raw.length; i += 2) headers.push([latin1(raw[i]), latin1(raw[i + 1])]);
      // Like the real one, which keeps the headers of every hop.
      seen.push(...headers);
      const location = find(headers, "location");
      if (location !== null && method !== "HEAD" && response.statusCode >= 300 && response.statusCode < 400) {
        if (redirects === MAX_REDIRECTS) throw new TransportError(`Maximum (${MAX_REDIRECTS}) redirects followed`);
        await response.body.dump();
        url = readUrl(new URL(location, url).href);
        const becomesGet = response.statusCode === 303
          ? current.method !== "HEAD"
          : current.method === "POST" && [301, 302].includes(response.statusCode);
        if (becomesGet) Object.assign(current, { method: "GET", content: null });
        continue;
      }
      const chunks: Buffer[] = [];
      for await (const chunk of response.body) {
        received += chunk.length;
        if (received > MAX_CONTENT_BYTES) {
          throw new TransportError(`The response holds more than ${MAX_CONTENT_BYTES} bytes: ask for less at a time.`);
        }
        chunks.push(chunk);
      }
      const content = decode(Buffer.concat(chunks), find(headers, "content-encoding"));
      return { status: response.statusCode, contentType: find(headers, "content-type"), headers: seen, content };
    }
  } catch (error) {
    if (late.signal.aborted) {
      throw new TransportError(
        `Operation timed out after ${Date.now() - started} milliseconds with ${received} bytes received`,
      );
    }
    throw describe(error, url, Date.now() - started);
  } finally {
    clearTimeout(timer);
    void agent.destroy();
  }
}

function readUrl(uri: string): URL {
  const absolute = /^[a-z][a-z0-9+.-]*:\/\//i.test(uri) ? uri : `http://${uri}`;
  if (/[\p{Cc}\s]/u.test(uri) || !URL.canParse(absolute)) {
    throw new TransportError("URL using bad/illegal format or missing URL");
  }
  const url = new URL(absolute);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TransportError(`Protocol "${url.protocol.slice(0, -1)}" not supported`);
  }
  return url;
}

function headersFor(request: Request, url: URL, sameOrigin: boolean, hasContent: boolean): [string, string][] {
  const credentials = sameOrigin
    ? request.credentials ?? (url.username ? decodeURIComponent(`${url.username}:${url.password}`) : null)
    : null;
  const own = (request.headers ?? []).filter(([field, value]) =>
    // libcurl leaves out a header without a value, and sends these two to the first host only.
    value !== "" && (sameOrigin || !["authorization", "cookie"].includes(field.toLowerCase()))
  );
  const given = new Set(own.map(([field]) => field.toLowerCase()));
  const standard: [string, string][] = [
    ["Accept", "*/*"],
    ["Accept-Encoding", "deflate, gzip, br"],
    ["User-Agent", request.userAgent],
    ["Connection", "close"],
    ["Charsets", "utf-8"],
  ];
  if (hasContent) standard.push(["Content-Type", request.contentType ?? ""]);
  if (credentials !== null) standard.push(["Authorization", `Basic ${Buffer.from(credentials).toString("base64")}`]);
  return [...standard.filter(([field]) => !given.has(field.toLowerCase())), ...own]
    .map(([field, value]) => [field, Buffer.from(value, "utf8").toString("latin1")]);
}

function latin1(value: Buffer | string): string {
  return typeof value === "string" ? value : value.toString("latin1");
}

function find(headers: [string, string][], name: string): string | null {
  return headers.find(([field]) => field.toLowerCase() === name)?.[1] ?? null;
}

function decode(content: Buffer, encoding: string | null): Buffer {
  const limits = { maxOutputLength: MAX_CONTENT_BYTES };
  try {
    if (content.length === 0) return content;
    if (encoding === "gzip" || encoding === "x-gzip") return gunzipSync(content, limits);
    if (encoding === "deflate") return inflateSync(content, limits);
    if (encoding === "br") return brotliDecompressSync(content, limits);
  } catch {
    throw new TransportError(
      `Error while processing content unencoding: not ${encoding}, or more than ${MAX_CONTENT_BYTES} bytes`,
    );
  }
  return content;
}

function describe(error: unknown, url: URL, elapsed: number): TransportError {
  if (error instanceof TransportError) return error;
  const { code, errors } = error as { code?: string; errors?: { code?: string }[] };
  const port = url.port || (url.protocol === "https:" ? "443" : "80");
  switch (code ?? errors?.[0]?.code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new TransportError(`Could not resolve host: ${url.hostname}`);
    case "ECONNREFUSED":
      return new TransportError(
        `Failed to connect to ${url.hostname} port ${port} after ${elapsed} ms: Couldn't connect to server`,
      );
    case "UND_ERR_CONNECT_TIMEOUT":
      return new TransportError(
        `Failed to connect to ${url.hostname} port ${port} after ${elapsed} ms: Timeout was reached`,
      );
    case "UND_ERR_SOCKET":
    case "UND_ERR_RES_CONTENT_LENGTH_MISMATCH":
    case "ECONNRESET":
    case "EPIPE":
      return new TransportError("Recv failure: the server closed the connection before the answer was complete");
    case "UND_ERR_INVALID_ARG":
    case "UND_ERR_NOT_SUPPORTED":
    case "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH":
      return new TransportError(
        "The request's method or a header cannot be sent: look for line breaks and reserved headers",
      );
    default:
      return new TransportError(`The request to ${url.hostname} port ${port} failed (${code ?? "unknown cause"})`);
  }
}
