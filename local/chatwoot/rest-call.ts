// One request on its way through the REST API, and the answers that several paths share.
import type { Outcome } from "./engine.ts";
import type { Installation } from "./installation.ts";
import type { Attributes } from "./records.ts";
import type { Reader, Viewer } from "./rest-rows.ts";

export interface Answer {
  status: number;
  /** undefined is an empty body. */
  body?: unknown;
}

export interface RestRequest {
  method: string;
  url: URL;
  token: string | null;
  body: string;
  reader: Reader;
  installation: Installation;
  now: Date;
  perform(at: Date, verb: (installation: Installation, at: Date) => Outcome): Promise<Outcome>;
  newSecret(): string;
  version: string;
  /** Whether this version gives webhooks a secret. */
  isSigning: boolean;
}

/** The owner of the token. */
export interface Caller extends Viewer {
  kind: "User" | "AgentBot";
}

export interface Call extends RestRequest {
  caller: Caller;
  /** The numbers in the path. */
  ids: number[];
  input: Attributes;
}

export const ok = (body?: unknown): Answer => ({ status: 200, body });
export const refuse = (status: number, error: string): Answer => ({ status, body: { error } });
/** Model validation has a form of its own: "message", and which attributes. */
export const invalid = (message: string, attribute: string): Answer => ({
  status: 422,
  body: { message, attributes: [attribute] },
});
export const NOT_FOUND = refuse(404, "Resource could not be found");
/** Chatwoot says 401, and not 403, where rights are missing. */
export const FORBIDDEN = refuse(401, "You are not authorized to do this action");
export const BROKEN: Answer = { status: 500, body: { status: 500, error: "Internal Server Error" } };
/** Whatever is wrong with a message, it is 422. */
export const UNKEEPABLE_MESSAGE = refuse(422, "The message holds what cannot be kept, such as a null character");

export const found = (value: unknown): Answer => value === null ? NOT_FOUND : ok(value);

const NESTING_LIMIT = 100;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether Postgres takes it. What a verb changed and nobody could put away would stop every verb after it as well. */
export function isKeepable(value: unknown, nesting = NESTING_LIMIT): boolean {
  if (typeof value === "string") return !value.includes("\0") && !LONE_SURROGATE.test(value);
  if (typeof value !== "object" || value === null) return true;
  return nesting > 0 && Object.entries(value).flat().every((part) => isKeepable(part, nesting - 1));
}
