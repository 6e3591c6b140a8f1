// Who is calling: an opaque key of the stack, or a token signed with its secret.
import { Buffer } from "node:buffer";
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { errors, jwtVerify } from "jose";
import { z } from "zod";
import type { Keys } from "../keys.ts";
import { ApiError } from "./errors.ts";

export interface Caller {
  role: string;
  /** The token's claims as JSON text, for `request.jwt.claims`. */
  claims: string;
}

const ANONYMOUS = "anon";
const MAX_REMEMBERED = 1000;
// PostgREST allows the same, so that two machines' clocks need not agree.
const CLOCK_TOLERANCE_SECONDS = 30;
const KeyRole = z.enum(["anon", "service_role"]);

type Tokens = Pick<Keys, "jwtSecret" | "publishableKey" | "secretKey">;

export interface Authenticator {
  /** The caller of the Data API; throws the 401 to answer. */
  caller(request: IncomingMessage): Promise<Caller>;
  /** Whether a function that verifies tokens lets the request in; throws the 401 to answer. */
  admit(request: IncomingMessage): Promise<void>;
}

export function createAuthenticator(keys: Tokens): Authenticator {
  const secret = new TextEncoder().encode(keys.jwtSecret);
  const publishable = Buffer.from(keys.publishableKey);
  const service = Buffer.from(keys.secretKey);
  // Verified tokens until they expire: a signature is checked once, not with every request.
  const verified = new Map<string, Caller & { expiresAt: number }>();

  function keyRole(key: string): "anon" | "service_role" | null {
    const given = Buffer.from(key);
    if (equal(given, publishable)) return "anon";
    return equal(given, service) ? "service_role" : null;
  }

  async function verify(token: string): Promise<Caller> {
    const known = verified.get(token);
    if (known && known.expiresAt > Date.now()) return known;
    verified.delete(token);
    const parts = token.split(".").length;
    if (parts !== 3) throw badToken("PGRST301", `Expected 3 parts in JWT; got ${parts}`);
    const { payload } = await jwtVerify(token, secret, {
      algorithms: ["HS256"],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    }).catch((error: unknown) => {
      if (error instanceof errors.JWTExpired) throw badToken("PGRST303", "JWT expired");
      if (error instanceof errors.JWTClaimValidationFailed) throw badToken("PGRST303", "JWT claims are not valid now");
      throw badToken("PGRST301", "JWT is malformed or its signature is wrong");
    });
    const caller = {
      role: typeof payload.role === "string" && payload.role !== "" ? payload.role : ANONYMOUS,
      claims: JSON.stringify(payload),
    };
    // Text in Postgres holds no NUL, and neither does the name of a role.
    if (caller.role.includes("\0")) throw badToken("PGRST303", "JWT claims hold a role that cannot be");
    const expiresAt = payload.exp === undefined ? Infinity : (payload.exp + CLOCK_TOLERANCE_SECONDS) * 1000;
    if (verified.size >= MAX_REMEMBERED) {
      for (const oldest of [...verified.keys()].slice(0, 100)) verified.delete(oldest);
    }
    verified.set(token, { ...caller, expiresAt });
    return caller;
  }

  /** The role of an API key: opaque, or a legacy token that names one of the two key roles. */
  async function openedBy(key: string): Promise<Caller> {
    const role = keyRole(key);
    if (role !== null) return { role, claims: `{"role":"${role}"}` };
    const caller = await verify(key).catch(() => null);
    if (caller === null || !KeyRole.safeParse(caller.role).success) throw invalidKey();
    return caller;
  }

  async function caller(request: IncomingMessage): Promise<Caller> {
    const key = header(request, "apikey");
    if (key === "") throw missingKey();
    const opened = await openedBy(key);
    // A secret key in a web page is a leak: the hosted gateway refuses it too.
    if (opened.role === "service_role" && header(request, "user-agent").includes("Mozilla/")) throw secretInBrowser();
    const token = bearer(request);
    return token === "" || token === key ? opened : verify(token);
  }

  async function admit(request: IncomingMessage): Promise<void> {
    const candidates = [bearer(request), header(request, "apikey")].filter((text) => text !== "");
    if (candidates.length === 0) throw new ApiError(401, "UNAUTHORIZED_NO_AUTH_HEADER", "Missing authorization header");
    for (const candidate of candidates) {
      if (keyRole(candidate) !== null) return;
      if (await verify(candidate).then(() => true, () => false)) return;
    }
    throw new ApiError(401, "UNAUTHORIZED_INVALID_JWT_FORMAT", "Invalid JWT");
  }

  return { caller, admit };
}

function equal(given: Buffer, expected: Buffer): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value.trim() : "";
}

function bearer(request: IncomingMessage): string {
  return /^Bearer +(\S+)$/i.exec(header(request, "authorization"))?.[1] ?? "";
}

const badToken = (code: string, message: string): ApiError =>
  new ApiError(401, code, message, {
    headers: { "WWW-Authenticate": `Bearer error="invalid_token", error_description="${message}"` },
  });
const missingKey = (): ApiError =>
  new ApiError(401, null, "No API key found in request", { hint: "No `apikey` request header was found." });
const invalidKey = (): ApiError =>
  new ApiError(401, null, "Invalid API key", { hint: "`npm run info` prints this stack's keys." });
const secretInBrowser = (): ApiError =>
  new ApiError(401, null, "Forbidden use of secret API key in browser", {
    hint: "A browser sends the publishable key and the signed-in user's token.",
  });
