// The receiver of npm start's notifications: takes webhooks in the Standard Webhooks form, and only those that are signed.
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { z } from "zod";

const HOST = "127.0.0.1";
const MOST_BYTES = 1_000_000;
const TOLERANCE_SECONDS = 300;

const Notification = z.object({
  type: z.string(),
  timestamp: z.string(),
  data: z.object({ title: z.string(), severity: z.string() }),
});
const Digest = z.object({ data: z.object({ notifications: z.array(Notification) }) });

export interface News {
  /** What sort of news, such as sla.breach. */
  kind: string;
  title: string;
  severity: string;
  /** When it was told, UTC. */
  at: string;
}

export interface Receiver {
  url: string;
  /** Everything that arrived, in order. */
  received: News[];
  /** What it must be signed with from now on; until then nothing is taken. */
  expectSignature(secret: string): void;
  /** Calls back for whatever arrives from now on. */
  follow(tell: (news: News) => void): void;
  stop(): Promise<void>;
}

/** Starts a receiver on a free port of this machine. */
export async function startReceiver(): Promise<Receiver> {
  const received: News[] = [];
  const seen = new Set<string>();
  let key: Buffer | null = null;
  let tell: (news: News) => void = () => {};
  const server = createServer((request, response) => {
    const answer = (status: number) => response.writeHead(status).end();
    readBody(request).then((body) => {
      if (body === null) return answer(413);
      if (key === null || !isSigned(body, { headers: request.headers, key })) return answer(401);
      const told = readNews(body.toString());
      if (told === null) return answer(422);
      // After doubt a message is sent again, under the same id.
      const id = String(request.headers["webhook-id"]);
      if (seen.has(id)) return answer(204);
      seen.add(id);
      for (const news of told) {
        received.push(news);
        tell(news);
      }
      answer(204);
    }, () => response.destroy());
  });
  server.listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the receiver has no port");
  return {
    url: `http://${HOST}:${address.port}`,
    received,
    expectSignature: (secret) => {
      key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    },
    follow: (callback) => {
      tell = callback;
    },
    stop: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    // The rest is read and thrown away, so that the sender hears why.
    if (size <= MOST_BYTES) parts.push(part);
  }
  return size > MOST_BYTES ? null : Buffer.concat(parts);
}

// The bytes as they came, before anything is made of them; and not an old message sent again.
function isSigned(body: Buffer, { headers, key }: { headers: IncomingMessage["headers"]; key: Buffer }): boolean {
  const [id, seconds, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    .map((name) => String(headers[name] ?? ""));
  if (!/^\d+$/.test(seconds) || Math.abs(Date.now() / 1000 - Number(seconds)) > TOLERANCE_SECONDS) return false;
  const right = createHmac("sha256", key).update(`${id}.${seconds}.`).update(body).digest();
  return signatures.split(" ").some((signature) => {
    const [version, given] = signature.split(",");
    const bytes = Buffer.from(given ?? "", "base64");
    return version === "v1" && bytes.length === right.length && timingSafeEqual(bytes, right);
  });
}

function readNews(text: string): News[] | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const digest = Digest.safeParse(value);
  const told = digest.success ? digest.data.data.notifications : Notification.array().safeParse([value]).data;
  return told?.map(({ type, timestamp, data }) => ({
    kind: type,
    title: data.title,
    severity: data.severity,
    at: timestamp,
  })) ?? null;
}
