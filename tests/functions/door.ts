// The webhook door as a sender meets it: the function in its Deno process, behind HTTP, with a Data API to talk to.
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startFunctions } from "../../local/functions/runner.ts";
import { readSettings } from "../../local/settings.ts";

export const SECRET = "Zk3vQ9mXy7RtB2nHc8LpWd4J";
export const PREVIOUS_SECRET = "9fGhJkLmNpQrStUvWxYz1234";
export const OTHER_ACCOUNT_SECRET = "aBcDeFgHjKmNpQrStUvWx567";
export const URL_SECRET = "u7XwVtSrQpNmLkJhGfDsAq23";
export const LARGEST_ACCOUNT = "9223372036854775807";
export const SECRET_KEY = "sb_secret_of_the_door_test";

/** All that must never be seen in an answer, a log line or a call's arguments. */
export const CONFIDENTIAL = [SECRET, PREVIOUS_SECRET, OTHER_ACCOUNT_SECRET, URL_SECRET, SECRET_KEY];

export const ENVIRONMENT = {
  CHATWOOT_WEBHOOK_SECRETS: JSON.stringify({
    "1": [SECRET, PREVIOUS_SECRET],
    [LARGEST_ACCOUNT]: [OTHER_ACCOUNT_SECRET],
  }),
  CHATWOOT_WEBHOOK_URL_SECRETS: JSON.stringify({ "1": [URL_SECRET] }),
};

export const nowSeconds = () => Math.floor(Date.now() / 1000);

/** The headers Chatwoot would send with this body. */
export function signed(body: string | Uint8Array, { secret = SECRET, at = nowSeconds() } = {}): Record<string, string> {
  const hex = createHmac("sha256", secret).update(`${at}.`).update(body).digest("hex");
  return {
    "content-type": "application/json",
    "user-agent": "Ruby",
    "x-chatwoot-timestamp": String(at),
    "x-chatwoot-signature": `sha256=${hex}`,
  };
}

export interface Call {
  path: string;
  headers: IncomingMessage["headers"];
  arguments: Record<string, unknown>;
}

export type Answer = (call: Call, response: ServerResponse) => void;

/** What record_webhook answers when it has applied the event. */
export const applied: Answer = (_call, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify([{ outcome: "applied" }]));
};

export interface Door {
  url: string;
  port: number;
  log: string[];
  calls: Call[];
  /** How the Data API answers from now on. */
  answerWith(answer: Answer): void;
  stop(): Promise<void>;
}

export async function openDoor(): Promise<Door> {
  const home = await mkdtemp(join(tmpdir(), "occ-door-"));
  const calls: Call[] = [];
  const log: string[] = [];
  let answer = applied;
  const dataApi = await listen(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const call = {
      path: request.url ?? "",
      headers: request.headers,
      arguments: JSON.parse(Buffer.concat(chunks).toString()),
    };
    calls.push(call);
    answer(call, response);
  });
  const functions = await startFunctions({
    projectRoot: readSettings({}).projectRoot,
    home,
    configuration: { "chatwoot-webhook": { verify_jwt: false } },
    env: {
      SUPABASE_URL: `http://127.0.0.1:${dataApi.port}`,
      SUPABASE_SECRET_KEYS: JSON.stringify({ default: SECRET_KEY }),
      ...ENVIRONMENT,
    },
    log: (line) => log.push(line),
  });
  const gateway = await listen((request, response) => functions.forward("chatwoot-webhook", request, response));
  return {
    url: `http://127.0.0.1:${gateway.port}/functions/v1/chatwoot-webhook`,
    port: gateway.port,
    log,
    calls,
    answerWith: (next) => answer = next,
    async stop() {
      await gateway.close();
      await functions.stop();
      await dataApi.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

/** Serves on a free port of this machine. */
export async function listen(listener: RequestListener) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The server has no port.");
  return {
    port: address.port,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** Sends bytes as they are over TCP and returns the answer's status; 0 where the connection ends without one. */
export async function sendRaw(port: number, parts: (string | Uint8Array)[]): Promise<number> {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  const answered = new Promise<void>((resolve) => {
    socket.on("data", (data) => {
      answer += data.toString("latin1");
      if (/^HTTP\/1\.1 [0-9]{3}/.test(answer)) resolve();
    });
    socket.on("close", () => resolve());
    socket.on("error", () => resolve());
  });
  for (const part of parts) {
    if (socket.destroyed) break;
    socket.write(part);
  }
  await answered;
  socket.destroy();
  return Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? 0);
}

/** The head of a raw request to the door. */
export function rawHead(headers: Record<string, string | number>): string {
  const lines = Object.entries({ host: "door", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `POST /functions/v1/chatwoot-webhook HTTP/1.1\r\n${lines.join("")}\r\n`;
}
