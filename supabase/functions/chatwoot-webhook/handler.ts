// Takes one Chatwoot webhook: proves whose it is, stores it, and answers only once it is committed.
import { z } from "zod";
import { type Bytes, discardBody, readBody } from "../_shared/body.ts";
import { findSigner, findUrlOwner, readSignature, sha256, type SigningKey, type UrlSecret } from "./proof.ts";

export const BODY_LIMIT_BYTES = 1_048_576;
const DISCARD_LIMIT_BYTES = 4 * BODY_LIMIT_BYTES;

/** A delivery as it goes to api.record_webhook. */
export interface Delivery {
  accountId: string;
  deliveryId: string;
  body: Bytes;
  headers: Record<string, string>;
  proof: "signature" | "url_secret";
  signedAt: Date | null;
}

/** What the Data API said: its answer, or why there is none (status 0: nobody answered in time). */
export type Recorded =
  | { data: unknown; error: null; status: number }
  | { data: null; error: { code?: string }; status: number };

/** All that lies outside: clock, keys, database, log, and what Deno's library does. */
export interface Outside {
  now: () => Date;
  toleranceSeconds: number;
  bodyMilliseconds: number;
  discardMilliseconds: number;
  signingKeys: SigningKey[];
  urlSecrets: UrlSecret[];
  record: (delivery: Delivery) => Promise<Recorded>;
  log: (line: string) => void;
  encodeHex: (bytes: ArrayBuffer) => string;
  timingSafeEqual: (one: ArrayBuffer, other: ArrayBuffer) => boolean;
}

const Stored = z.tuple([
  z.object({
    outcome: z.enum(["applied", "duplicate", "ignored", "dead", "refused"]),
  }),
]);

const REFUSALS = {
  broken: {
    status: 400,
    code: "OC400",
    message: "The request ended before its body did.",
    hint: "Send the webhook again.",
  },
  // One answer for every doubt: which part was wrong is for the log of the project's owner, not for a guesser.
  unproven: {
    status: 401,
    code: "OC401",
    message: "The webhook's origin could not be verified.",
    hint: "Compare the webhook's secret in Chatwoot with CHATWOOT_WEBHOOK_SECRETS, and the clocks of both servers.",
  },
  method: {
    status: 405,
    code: "OC405",
    message: "Webhooks arrive by POST only.",
    hint: "Enter this address as a webhook URL in Chatwoot.",
    headers: { allow: "POST" },
  },
  too_slow: {
    status: 408,
    code: "OC408",
    message: "The body took too long to arrive.",
    hint: "Send the webhook again over a faster connection.",
  },
  too_large: {
    status: 413,
    code: "OC413",
    message: `The body is larger than ${BODY_LIMIT_BYTES} bytes.`,
    hint: "Chatwoot does not send it again; the next event of the conversation brings its state up to date.",
  },
  encoded: {
    status: 415,
    code: "OC415",
    message: "The body is compressed.",
    hint: "Send it as it was signed, without Content-Encoding.",
  },
  // 503, so that whoever retries does: better told twice than never.
  not_stored: {
    status: 503,
    code: "OC503",
    message: "The webhook could not be stored in time.",
    hint: "Send it again later: the same delivery is stored once, however often it arrives.",
    headers: { "retry-after": "10" },
  },
} as const;

// Only what helps to understand a delivery later: never a credential or the query, which may hold the URL's secret.
const KEPT_HEADERS = [
  "content-type",
  "user-agent",
  "x-chatwoot-delivery",
  "x-chatwoot-signature",
  "x-chatwoot-timestamp",
];

/** Accepts one webhook: proven, stored and applied, and nothing acknowledged before it is committed. */
export async function receiveWebhook(request: Request, outside: Outside): Promise<Response> {
  const response = await receive(request, outside).catch((error) =>
    // The class alone: a message may quote what was being handled.
    refuse("not_stored", outside, `unexpected ${error instanceof Error ? error.name : typeof error}`)
  );
  // An answer of fifty bytes is not worth compressing, which Deno would otherwise do for every sender that offers it.
  response.headers.set("cache-control", "no-store, no-transform");
  if (!response.ok) {
    await discardBody(request, { bytes: DISCARD_LIMIT_BYTES, milliseconds: outside.discardMilliseconds });
  }
  return response;
}

async function receive(request: Request, outside: Outside): Promise<Response> {
  if (request.method !== "POST") return refuse("method", outside, "not POST");
  const encoding = request.headers.get("content-encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    return refuse("encoded", outside, "a content-encoding");
  }

  const url = new URL(request.url);
  // The path is /<slug> or /<slug>/<account id>; the id narrows the search to that account's secrets.
  const narrowedTo = url.pathname.split("/").slice(2).join("/");
  const isCandidate = (secret: { accountId: string }) => narrowedTo === "" || secret.accountId === narrowedTo;

  // A signature that is there must be right: no other proof makes up for a wrong one.
  const isSigned = request.headers.has("x-chatwoot-signature");
  const signature = readSignature(request.headers, { now: outside.now(), toleranceSeconds: outside.toleranceSeconds });
  const presented = url.searchParams.getAll("secret");
  // All that headers can tell is checked before a byte of the body is read or hashed.
  if (isSigned && signature === null) return refuse("unproven", outside, "malformed or stale signature headers");
  if (!isSigned && presented.length !== 1) return refuse("unproven", outside, "no signature");
  const urlOwner = isSigned ? null : await findUrlOwner(presented[0], {
    secrets: outside.urlSecrets.filter(isCandidate),
    timingSafeEqual: outside.timingSafeEqual,
  });
  if (!isSigned && urlOwner === null) {
    return refuse("unproven", outside, "no signature, and an unknown secret in the URL");
  }

  const body = await readBody(request, { bytes: BODY_LIMIT_BYTES, milliseconds: outside.bodyMilliseconds });
  if (body.error !== null) return refuse(body.error, outside, "the body was not read to its end");

  const accountId = signature !== null && isSigned
    ? await findSigner(signature, { body: body.data, keys: outside.signingKeys.filter(isCandidate) })
    : urlOwner;
  if (accountId === null) return refuse("unproven", outside, "the signature fits no secret");

  const deliveryId = await readDeliveryId(request.headers, { body: body.data, encodeHex: outside.encodeHex });
  const delivery: Delivery = {
    accountId,
    deliveryId,
    body: body.data,
    headers: keepHeaders(request.headers),
    proof: isSigned ? "signature" : "url_secret",
    signedAt: isSigned && signature !== null ? signature.signedAt : null,
  };
  let recorded = await outside.record(delivery);
  // Chosen as the victim of a deadlock, which is over now: Chatwoot would not send again, so we try again.
  if (recorded.error !== null && /^40(001|P01)$/.test(recorded.error.code ?? "")) {
    recorded = await outside.record(delivery);
  }
  return answer(recorded, { deliveryId, accountId, outside });
}

function answer(recorded: Recorded, about: { deliveryId: string; accountId: string; outside: Outside }): Response {
  const { deliveryId, accountId, outside } = about;
  const which = `account ${accountId}, delivery ${deliveryId}`;
  if (recorded.error !== null) {
    // Two copies at once: the other one was first, and is committed.
    if (recorded.error.code === "23505") {
      return Response.json({ delivery_id: deliveryId, outcome: "duplicate" });
    }
    // The code, not the message, which may quote the payload. Only what looks like a code: it comes from elsewhere.
    const code = /^[A-Za-z0-9]{1,20}$/.exec(recorded.error.code ?? "")?.[0] ?? "none";
    return refuse("not_stored", outside, `Data API status ${recorded.status}, code ${code}, ${which}`);
  }
  const stored = Stored.safeParse(recorded.data);
  if (!stored.success) return refuse("not_stored", outside, `record_webhook answered in an unknown form, ${which}`);
  const [{ outcome }] = stored.data;
  if (outcome === "refused") return refuse("unproven", outside, `the payload is another account's, ${which}`);
  return Response.json({ delivery_id: deliveryId, outcome });
}

function refuse(reason: keyof typeof REFUSALS, outside: Outside, why: string): Response {
  const { status, code, message, hint, ...rest } = REFUSALS[reason];
  outside.log(`${code} ${why}`);
  return Response.json({ code, message, hint }, { status, headers: "headers" in rest ? rest.headers : {} });
}

async function readDeliveryId(
  headers: Headers,
  content: { body: Bytes; encodeHex: Outside["encodeHex"] },
): Promise<string> {
  const sent = headers.get("x-chatwoot-delivery");
  if (sent !== null && /^[A-Za-z0-9._-]{1,128}$/.test(sent)) return sent;
  return `sha256:${content.encodeHex(await sha256(content.body))}`;
}

function keepHeaders(headers: Headers): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of KEPT_HEADERS) {
    const value = headers.get(name);
    if (value !== null) kept[name] = value.slice(0, 512);
  }
  return kept;
}
