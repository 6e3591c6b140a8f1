// Takes one proposal of a gold reply: checks who sends it and what it is, and answers only once it is stored.
import { discardBody, readBody } from "../_shared/body.ts";
import { describe, type Issue, Proposal, toGoldReply } from "./proposal.ts";
import { z } from "zod";

export const BODY_LIMIT_BYTES = 65_536;
// Far more than is read: whoever sends a whole export by mistake is to see why it was refused.
const DISCARD_LIMIT_BYTES = 16_777_216;
const MOST_ISSUES = 100;

/** A proposal as it goes to api.record_gold_reply. */
export interface Recording {
  accountId: string;
  goldReply: ReturnType<typeof toGoldReply>;
  idempotencyKey: string | null;
}

/** What the Data API said: its answer, or why there is none (status 0: nobody answered in time). */
export type Recorded =
  | { data: unknown; error: null; status: number }
  | {
    data: null;
    error: {
      code?: string;
      message?: string;
      hint?: string | null;
      details?: string | null;
    };
    status: number;
  };

/** All that lies outside: tokens, database, log, and what Deno's library does. */
export interface Outside {
  /** Digests of the tokens that open the door; null where none is set. */
  tokens: ArrayBuffer[] | null;
  bodyMilliseconds: number;
  discardMilliseconds: number;
  record: (recording: Recording) => Promise<Recorded>;
  log: (line: string) => void;
  timingSafeEqual: (one: ArrayBuffer, other: ArrayBuffer) => boolean;
}

const Stored = z.tuple([
  z.object({
    gold_reply_id: z.number(),
    status: z.enum(["proposed", "approved", "retired"]),
    findings: z.array(z.object({ field: z.string(), kind: z.string(), action: z.string(), count: z.number() })),
    is_new: z.boolean(),
  }),
]);

const REFUSALS = {
  broken: {
    status: 400,
    code: "OC400",
    message: "The request ended before its body did.",
    hint: "Send the proposal again.",
  },
  not_json: {
    status: 400,
    code: "OC400",
    message: "The body is not JSON in UTF-8.",
    hint: 'Send an object such as {"account_id": 1, "title": "…", "body": "…"}.',
  },
  unauthorised: {
    status: 401,
    code: "OC401",
    message: "The token is not one that opens this door.",
    hint: "Send the header Authorization: Bearer <token>, with a token of GOLD_REPLIES_TOKEN.",
    headers: { "www-authenticate": 'Bearer realm="gold-replies"' },
  },
  method: {
    status: 405,
    code: "OC405",
    message: "Gold replies are proposed by POST only.",
    hint: "To read them: select from api.gold_replies, or GET /rest/v1/gold_replies.",
    headers: { allow: "POST" },
  },
  too_slow: {
    status: 408,
    code: "OC408",
    message: "The body took too long to arrive.",
    hint: "Send the proposal again over a faster connection.",
  },
  too_large: {
    status: 413,
    code: "OC413",
    message: `The body is larger than ${BODY_LIMIT_BYTES} bytes.`,
    hint: "Propose it with fewer questions or channels; the rest is added with api.save_gold_reply.",
  },
  media_type: {
    status: 415,
    code: "OC415",
    message: "The body is not called JSON, or it is compressed.",
    hint: "Send it with Content-Type: application/json and without Content-Encoding.",
  },
  not_configured: {
    status: 503,
    code: "OC503",
    message: "The door is shut: GOLD_REPLIES_TOKEN is not set.",
    hint: "Set it to a token of at least 24 characters of your own making, as in .env.example.",
  },
  not_stored: {
    status: 503,
    code: "OC503",
    message: "The proposal could not be stored.",
    hint: "Send it again later: the same proposal is stored once, however often it arrives.",
    headers: { "retry-after": "10" },
  },
} as const;

/** Accepts one proposal: authorised, checked and stored; nothing is acknowledged before it is committed. */
export async function receiveProposal(request: Request, outside: Outside): Promise<Response> {
  const response = await receive(request, outside).catch((error) =>
    // The class alone: a message may quote what was being handled.
    refuse("not_stored", outside, `unexpected ${error instanceof Error ? error.name : typeof error}`)
  );
  response.headers.set("cache-control", "no-store, no-transform");
  if (!response.ok) {
    await discardBody(request, { bytes: DISCARD_LIMIT_BYTES, milliseconds: outside.discardMilliseconds });
  }
  return response;
}

async function receive(request: Request, outside: Outside): Promise<Response> {
  if (request.method !== "POST") return refuse("method", outside, "not POST");
  if (outside.tokens === null) return refuse("not_configured", outside, "no token is set");
  // All that headers can tell is checked before a byte of the body is read.
  if (!await isAuthorised(request.headers, { ...outside, tokens: outside.tokens })) {
    return refuse("unauthorised", outside, request.headers.has("authorization") ? "an unknown token" : "no token");
  }
  const encoding = request.headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  const mediaType = request.headers.get("content-type") ?? "";
  if (encoding !== "identity" || !/^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(mediaType)) {
    return refuse("media_type", outside, "not plain JSON");
  }

  const body = await readBody(request, { bytes: BODY_LIMIT_BYTES, milliseconds: outside.bodyMilliseconds });
  if (body.error !== null) return refuse(body.error, outside, "the body was not read to its end");
  const given = parseJson(body.data);
  if (given === undefined) return refuse("not_json", outside, "not JSON");

  const issues: Issue[] = [];
  const idempotencyKey = request.headers.get("idempotency-key");
  if (idempotencyKey !== null && !/^[\x20-\x7e]{1,200}$/.test(idempotencyKey)) {
    issues.push({ path: "Idempotency-Key", message: "must have 1 to 200 visible ASCII characters" });
  }
  const proposal = Proposal.safeParse(given);
  if (!proposal.success) issues.push(...proposal.error.issues.map(describe));
  if (!proposal.success || issues.length > 0) return refuseAll(issues, outside);

  const recording = {
    accountId: proposal.data.account_id,
    goldReply: toGoldReply(proposal.data),
    idempotencyKey,
  };
  let recorded = await outside.record(recording);
  // Chosen as the victim of a deadlock, which is over now.
  if (recorded.error !== null && /^40(001|P01)$/.test(recorded.error.code ?? "")) {
    recorded = await outside.record(recording);
  }
  return answer(recorded, { accountId: recording.accountId, outside });
}

/** Digests have one length, and every token is looked at, so the time taken says nothing about any of them. */
async function isAuthorised(headers: Headers, { tokens, timingSafeEqual }: Outside & { tokens: ArrayBuffer[] }) {
  const presented = /^Bearer +([^ ]{1,1024})$/i.exec(headers.get("authorization") ?? "")?.[1] ??
    "";
  const digest = await sha256(presented);
  let known = false;
  for (const token of tokens) known = timingSafeEqual(token, digest) || known;
  return known && presented !== "";
}

function answer(recorded: Recorded, { accountId, outside }: { accountId: string; outside: Outside }): Response {
  if (recorded.error !== null) {
    const { error, status } = recorded;
    // The code, not the message, and only what looks like a code: it comes from elsewhere.
    const code = /^[A-Za-z0-9]{1,20}$/.exec(error.code ?? "")?.[0] ?? "none";
    if (code === "OC404" || code === "OC409" || code === "OC422") {
      outside.log(`${code} account ${accountId}`);
      const { message = "", hint = null, details = null } = error;
      return Response.json({ code, message, hint, details }, { status: Number(code.slice(2)) });
    }
    return refuse("not_stored", outside, `Data API status ${status}, code ${code}, account ${accountId}`);
  }
  const stored = Stored.safeParse(recorded.data);
  if (!stored.success) {
    return refuse("not_stored", outside, `record_gold_reply answered in an unknown form, account ${accountId}`);
  }
  const [{ gold_reply_id, status, findings, is_new }] = stored.data;
  return Response.json({ gold_reply_id, status, findings }, { status: is_new ? 201 : 200 });
}

function refuse(reason: keyof typeof REFUSALS, outside: Outside, why: string): Response {
  const { status, code, message, hint, ...rest } = REFUSALS[reason];
  outside.log(`${code} ${why}`);
  const headers = "headers" in rest ? rest.headers : {};
  return Response.json({ code, message, hint, details: null }, { status, headers });
}

function refuseAll(issues: Issue[], outside: Outside): Response {
  outside.log(`OC422 ${issues.length} issues`);
  return Response.json({
    code: "OC422",
    message: issues.length === 1
      ? "One thing is wrong with the proposal."
      : `${issues.length} things are wrong with it.`,
    hint: "Mend what details lists. Fields: docs/rooms/replies.md.",
    details: issues.slice(0, MOST_ISSUES),
  }, { status: 422 });
}

export function sha256(text: string): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
}

/** The value; undefined for what is no JSON, or no UTF-8. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
