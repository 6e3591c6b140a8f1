// Database addresses as people paste them: any password, percent-encoded or not, IPv6, pooler or direct.
import { EXIT, Problem } from "./problem.ts";

export interface DatabaseAddress {
  user: string;
  password: string;
  host: string;
  port: number;
  database: string;
  parameters: URLSearchParams;
  /** Whether the password stood there as it is, and not percent-encoded as a URL needs it. */
  isPasswordRaw: boolean;
}

const EXAMPLE = "postgresql://postgres:<password>@db.<reference>.supabase.co:5432/postgres";

const usage = (message: string, next = `Give it in this form: ${EXAMPLE}`) => new Problem(EXIT.usage, message, next);

/** Reads an address; throws Problem that never quotes it, since it holds a password. */
export function readDatabaseUrl(text: string): DatabaseAddress {
  const address = text.trim();
  if (address.length > 2_000) throw usage("The database URL has more than 2,000 characters.");
  if (!/^postgres(ql)?:\/\//i.test(address)) throw usage("The database URL does not begin with postgresql://.");
  // The last @ that a host can follow, since a pasted password may hold any character.
  const parts =
    /^[a-z]+:\/\/([\s\S]*)@(\[[0-9a-fA-F:.%]+\]|[^\s:@/?#[\]]+)(?::(\d{1,5}))?(?:\/([^?#@]*))?(?:\?([^#]*))?$/i
      .exec(address);
  if (parts === null) throw usage("The database URL cannot be read: it lacks a user, a host, or both.");
  const [, login, host, port = "5432", database = "", query = ""] = parts;
  const colon = login.indexOf(":");
  const user = decode(colon === -1 ? login : login.slice(0, colon));
  const given = colon === -1 ? "" : login.slice(colon + 1);
  if (user === "") throw usage("The database URL names no user.");
  if (/^\[?YOUR-PASSWORD\]?$|^<.*>$/i.test(given)) {
    throw usage(
      "The database URL still has a placeholder where the password belongs.",
      "Put the database's password in, or pipe it in with --password-stdin; a new one: Project Settings, Database.",
    );
  }
  // A character that a URL cannot hold there, or a % that begins no code: then it was pasted as it is.
  const isPasswordRaw = /[@/?#[\]\s:"<>\\^`{|}]|[^\x21-\x7e]/.test(given) || !isEncoded(given);
  const number = Number(port);
  if (number < 1 || number > 65535) throw usage("The database URL names no valid port.");
  return {
    user,
    password: isPasswordRaw ? given : decodeURIComponent(given),
    host: host.replace(/^\[|\]$/g, ""),
    port: number,
    database: decode(database) || "postgres",
    parameters: new URLSearchParams(query),
    isPasswordRaw,
  };
}

function isEncoded(text: string): boolean {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return false;
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const decode = (text: string): string => isEncoded(text) ? decodeURIComponent(text) : text;

/** Everything but letters, digits and - . _ ~, so that no parser of URLs stumbles. */
export const percentEncoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** The address as a URL, percent-encoded where it has to be. */
export function toDatabaseUrl({ user, password, host, port, database, parameters }: DatabaseAddress): string {
  const query = parameters.toString();
  const shown = host.includes(":") ? `[${host}]` : host;
  return `postgresql://${percentEncoded(user)}:${percentEncoded(password)}@${shown}:${port}/${
    percentEncoded(database)
  }${query === "" ? "" : `?${query}`}`;
}

export type Route = "direct" | "session pooler" | "transaction pooler" | "elsewhere";

/** How this address leads to the database of a Supabase project. */
export function routeOf({ host, port }: Pick<DatabaseAddress, "host" | "port">): Route {
  if (/\.pooler\.supabase\.(com|co|red)$/i.test(host)) return port === 6543 ? "transaction pooler" : "session pooler";
  if (/^db\.[a-z0-9]+\.supabase\.(co|com|red)$/i.test(host)) return port === 6543 ? "transaction pooler" : "direct";
  return port === 6543 ? "transaction pooler" : "elsewhere";
}
