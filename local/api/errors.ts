// What goes wrong, as PostgREST says it: one body shape, and the HTTP status of each SQLSTATE.
import { z } from "zod";

interface ErrorParts {
  details?: string | null;
  hint?: string | null;
  headers?: Record<string, string>;
}

/** A refusal that is ready to be sent. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly details: string | null;
  readonly hint: string | null;
  readonly headers: Record<string, string>;

  constructor(status: number, code: string | null, message: string, parts: ErrorParts = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = parts.details ?? null;
    this.hint = parts.hint ?? null;
    this.headers = parts.headers ?? {};
  }

  body(): string {
    return JSON.stringify({ code: this.code, message: this.message, details: this.details, hint: this.hint });
  }
}

/** A request this API does not understand: said so, never guessed at. */
export const unparsable = (message: string, details: string | null = null): ApiError =>
  new ApiError(400, "PGRST100", message, { details });

/** What Postgres or its driver threw; only these fields are ever looked at. */
const DatabaseFailure = z.object({
  code: z.string().optional(),
  message: z.string(),
  severity: z.string().optional(),
  detail: z.string().optional(),
  hint: z.string().optional(),
});

const BY_CODE: Record<string, number> = {
  "23503": 409,
  "23505": 409,
  "25006": 405,
  "42883": 404,
  "42P01": 404,
  "42P17": 500,
  "53400": 500,
  "57P01": 503,
  P0001: 400,
};
const BY_CLASS: Record<string, number> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57": 500,
  "58": 500,
  F0: 500,
  HV: 500,
  P0: 500,
  XX: 500,
};

/** The HTTP status of a SQLSTATE; `anonymous` because a missing right means "sign in" to one and "no" to the other. */
export function statusOf(code: string, message: string, anonymous: boolean): number {
  if (code === "42501") return anonymous ? 401 : 403;
  if (code === "21000") return message.endsWith("requires a WHERE clause") ? 400 : 500;
  if (code === "22023" && /^role ".*" does not exist$/s.test(message)) return 401;
  const chosen = /^PT([1-5]\d\d)$/.exec(code);
  if (chosen) return Number(chosen[1]);
  return BY_CODE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 400;
}

/** Turns whatever a query threw into an answer; what did not come from Postgres keeps its words to itself. */
export function fromDatabase(thrown: unknown, anonymous: boolean): ApiError {
  if (thrown instanceof ApiError) return thrown;
  const parsed = DatabaseFailure.safeParse(thrown);
  if (parsed.success && parsed.data.severity !== undefined && parsed.data.code !== undefined) {
    const { code, message, detail, hint } = parsed.data;
    if (code === "PGRST") return raisedByHand(message, detail);
    const status = statusOf(code, message, anonymous);
    const headers: Record<string, string> = status === 401 ? { "WWW-Authenticate": "Bearer" } : {};
    return new ApiError(status, code, message, { details: detail ?? null, hint: hint ?? null, headers });
  }
  const message = parsed.success ? parsed.data.message : "";
  if (message.includes("timeout exceeded when trying to connect")) {
    return new ApiError(504, "PGRST003", "Timed out acquiring connection from connection pool.");
  }
  if (message.startsWith("Connection terminated") || parsed.data?.code === "ECONNRESET") {
    return new ApiError(503, "PGRST001", "Database client error. Retrying the connection.");
  }
  if (["ECONNREFUSED", "ENOENT", "ETIMEDOUT", "EPIPE", "ENOTFOUND"].includes(parsed.data?.code ?? "")) {
    return new ApiError(503, "PGRST000", "Database connection error. Retrying the connection.");
  }
  return new ApiError(500, "PGRSTX00", "Something is wrong inside the local Data API: its log says what.");
}

const RaisedMessage = z.object({
  code: z.string(),
  message: z.string(),
  details: z.string().nullish(),
  hint: z.string().nullish(),
});
const RaisedDetail = z.object({
  status: z.int().min(100).max(599),
  headers: z.record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/), z.string().regex(/^[^\r\n\0]*$/)).default({}),
});

/** `raise sqlstate 'PGRST'`: the body is JSON in MESSAGE, status and headers are JSON in DETAIL. */
function raisedByHand(message: string, detail: string | undefined): ApiError {
  const body = RaisedMessage.safeParse(parseJson(message));
  const head = RaisedDetail.safeParse(parseJson(detail ?? ""));
  if (body.success && head.success) {
    return new ApiError(head.data.status, body.data.code, body.data.message, {
      details: body.data.details ?? null,
      hint: body.data.hint ?? null,
      headers: head.data.headers,
    });
  }
  const [part, value] = body.success ? ["DETAIL", detail ?? null] : ["MESSAGE", message];
  return new ApiError(500, "PGRST121", `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`, {
    details: `Invalid JSON value for ${part}: '${value}'`,
    hint: part === "MESSAGE"
      ? "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'."
      : "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'.",
  });
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
