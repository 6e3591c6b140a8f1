// A Chatwoot over HTTP in a database of its own, and somebody who asks it.
import { createHmac, randomUUID } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Client } from "pg";
import { afterAll, inject } from "vitest";
import { type Chatwoot, type ChatwootOptions, startChatwoot } from "../../local/chatwoot/server.ts";

export const START = new Date("2026-11-20T09:00:00Z");
export const minute = (minutes: number) => new Date(START.getTime() + minutes * 60_000);

// deno-lint-ignore no-explicit-any -- JSON, of which each test says what it must be.
export type Json = any;

export interface Answered {
  status: number;
  type: string | null;
  headers: Headers;
  text: string;
  /** undefined when it is none. */
  json: Json;
}

export interface Asking {
  method?: string;
  body?: unknown;
  /** null sends none. */
  token?: string | null;
  header?: string;
}

export interface Desk {
  chatwoot: Chatwoot;
  /** Of the account, unless the path begins with a slash. With the administrator's token, unless told. */
  ask(path: string, asking?: Asking): Promise<Answered>;
  /** Its tables. */
  rows(text: string, values?: unknown[]): Promise<Json[]>;
  /** A token of agent 7. */
  agentToken(): Promise<string>;
  /** Stops it and starts another on the same tables. */
  restart(options?: Partial<ChatwootOptions>): Promise<void>;
}

/** Makes the databases of a test file and removes them at its end. */
export function useChatwoots() {
  const ends: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const end of ends.reverse()) await end();
  });

  return async function open(options: Partial<ChatwootOptions> = {}): Promise<Desk> {
    const admin = new Client({ connectionString: inject("adminUrl") });
    await admin.connect();
    const name = `chatwoot_${randomUUID().replaceAll("-", "")}`;
    await admin.query(`create database ${name}`);
    const url = new URL(inject("adminUrl"));
    url.pathname = `/${name}`;
    const start = (more: Partial<ChatwootOptions> = {}) =>
      startChatwoot({ url: url.href, start: START, now: () => START, ...options, ...more });
    const client = new Client({ connectionString: url.href });
    ends.push(async () => {
      await desk.chatwoot.stop();
      await client.end();
      await admin.query(`drop database ${name} with (force)`);
      await admin.end();
    });
    await client.connect();
    const rows: Desk["rows"] = async (text, values = []) => (await client.query(text, values)).rows;
    const desk: Desk = {
      chatwoot: await start(),
      rows,
      async ask(path, { method = "GET", body, token = desk.chatwoot.token, header = "api_access_token" } = {}) {
        const response = await fetch(desk.chatwoot.url + (path.startsWith("/") ? path : `/api/v1/accounts/1/${path}`), {
          method,
          redirect: "manual",
          headers: {
            ...(token === null ? {} : { [header]: token }),
            ...(body === undefined ? {} : { "content-type": "application/json" }),
          },
          body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
        });
        const text = await response.text();
        let json: Json;
        try {
          json = JSON.parse(text);
        } catch {
          json = undefined;
        }
        return {
          status: response.status,
          type: response.headers.get("content-type"),
          headers: response.headers,
          text,
          json,
        };
      },
      async agentToken() {
        await rows(`insert into access_tokens (id, owner_type, owner_id, token, created_at, updated_at)
          values (100, 'User', 7, 'agent-7', now(), now()) on conflict do nothing`);
        return "agent-7";
      },
      async restart(more) {
        try {
          await desk.chatwoot.stop();
        } finally {
          desk.chatwoot = await start(more);
        }
      },
    };
    return desk;
  };
}

/** A customer and their conversation, told to the tables. */
export async function converse(
  { chatwoot }: Desk,
  inbox: Parameters<Chatwoot["installation"]["newConversation"]>[1]["inbox"] = "website",
  at = minute(0),
) {
  const { installation } = chatwoot;
  const contact = installation.newContact(at, {
    name: "Dana <&>",
    email: `dana-${installation.nextNumber()}@mail.example`,
  });
  const { id } = installation.newConversation(at, { contact: contact.id, inbox });
  await chatwoot.dispatch([]);
  return { id, contact: contact.id };
}

export interface Received {
  body: string;
  json: Json;
  headers: IncomingHttpHeaders;
  at: number;
}

export interface Receiver {
  url: string;
  received: Received[];
  /** Most requests that were open at once. */
  mostAtOnce(): number;
  stop(): Promise<void>;
}

/** A webhook's other end. It answers with this status, or never where there is none, after a pause. */
export async function startReceiver(
  { status = 202, pause = 0 }: { status?: number | null; pause?: number } = {},
): Promise<Receiver> {
  const received: Received[] = [];
  let open = 0;
  let most = 0;
  const server = createServer(async (request, response) => {
    most = Math.max(most, ++open);
    const at = performance.now();
    response.on("close", () => open--);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString("utf8");
    received.push({ body, json: JSON.parse(body), headers: request.headers, at });
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    if (status !== null) response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    mostAtOnce: () => most,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a webhook's signature must be. */
export const signatureOf = (secret: string, { body, headers }: Received): string =>
  `sha256=${createHmac("sha256", secret).update(`${headers["x-chatwoot-timestamp"]}.${body}`).digest("hex")}`;
