// Where the installation is: from flags, from the environment, else the local stack's, as npm run info finds it.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { Client, type QueryResultRow } from "pg";
import { readKeys } from "../../local/keys.ts";
import { readSettings, type Settings, UserError } from "../../local/settings.ts";
import { describeStack, type StackInfo } from "../../local/stack.ts";
import { isPrivateHost } from "../../local/private-host.ts";
import { readDatabaseUrl, routeOf } from "./database-url.ts";
import { type Context, pathOf } from "./outside.ts";
import { codeOf, EXIT, Interrupted, messageOf, Problem } from "./problem.ts";

export interface ConnectionOptions {
  dbUrl?: string;
  apiUrl?: string;
  secretKey?: string;
}

export interface Connection {
  /** Whether it runs on this machine. */
  isLocal: boolean;
  dbUrl: string;
  /** null where only the database was named. */
  apiUrl: string | null;
  secretKey: string | null;
  settings: Settings;
  /** Of npm start; null for any other. */
  stack: StackInfo | null;
}

export interface Needs {
  api?: boolean;
  secretKey?: boolean;
}

/** Finds the installation, or says what is missing; needs no network but for asking whether the local stack runs. */
export async function findConnection(
  options: ConnectionOptions,
  context: Context,
  needs: Needs = {},
): Promise<Connection> {
  const { output, outside: { env } } = context;
  const settings = readLocalSettings(env);
  if (options.secretKey !== undefined) {
    output.note("Note: --secret-key leaves the key in your shell's history; better the variable OCC_SECRET_KEY.");
  }
  const dbUrl = options.dbUrl ?? env.OCC_DB_URL;
  const apiUrl = options.apiUrl ?? env.OCC_API_URL ?? null;
  const secretKey = options.secretKey ?? env.OCC_SECRET_KEY ?? null;
  output.hide(secretKey);
  if (dbUrl !== undefined && dbUrl !== "") output.hide(readDatabaseUrl(dbUrl).password);
  const given = [dbUrl, apiUrl, secretKey].filter((value) => value !== undefined && value !== null && value !== "");
  if (given.length > 0) {
    if (dbUrl === undefined || dbUrl === "") {
      throw new Problem(
        EXIT.usage,
        "An installation is named, but not its database.",
        "Set OCC_DB_URL (or --db-url) to the project's connection string: dashboard, Connect, Session pooler.",
      );
    }
    if (needs.api && apiUrl === null) {
      throw new Problem(
        EXIT.usage,
        "This needs the project's API address.",
        "Set OCC_API_URL (or --api-url), such as https://<reference>.supabase.co.",
      );
    }
    if (needs.secretKey && secretKey === null) {
      throw new Problem(
        EXIT.usage,
        "This needs the project's secret key.",
        "Set OCC_SECRET_KEY: dashboard, Project Settings, API keys, sb_secret_….",
      );
    }
    const origin = readApiUrl(apiUrl);
    // Such as the stack of npx supabase start: its function reads the same file.
    const isLocal = origin !== null && isLoopback(new URL(origin).hostname) && isLoopback(readDatabaseUrl(dbUrl).host);
    return { isLocal, dbUrl, apiUrl: origin, secretKey, settings, stack: null };
  }
  return await findLocal(settings, context);
}

function readLocalSettings(env: Record<string, string | undefined>): Settings {
  try {
    return readSettings(env);
  } catch (error) {
    if (error instanceof UserError) {
      throw new Problem(EXIT.usage, error.message, "Correct the variable, then try again.");
    }
    throw error;
  }
}

const isLoopback = (hostname: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(hostname);

function readApiUrl(text: string | null): string | null {
  if (text === null) return null;
  if (!URL.canParse(text)) {
    throw new Problem(
      EXIT.usage,
      `"${text}" is no URL.`,
      "Give the API's address, such as https://<reference>.supabase.co",
    );
  }
  const url = new URL(text);
  const isRoot = url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  if (!/^https?:$/.test(url.protocol) || !isRoot) {
    throw new Problem(
      EXIT.usage,
      `The API's address goes on after the host (${url.pathname}), or is no web address.`,
      `Give only ${/^https?:$/.test(url.protocol) ? url.protocol : "https:"}//${url.host}`,
    );
  }
  if (url.protocol === "http:" && !isPrivateHost(url.hostname)) {
    throw new Problem(
      EXIT.usage,
      "The API's address begins with http://, so keys could be read on the way.",
      `Give https://${url.host}`,
    );
  }
  return url.origin;
}

async function findLocal(settings: Settings, { output, outside }: Context): Promise<Connection> {
  const stopped = new Problem(
    EXIT.unreachable,
    `No stack answers on port ${settings.apiPort} of this machine.`,
    "Start it with npm start, or name an installation: OCC_DB_URL, OCC_API_URL, OCC_SECRET_KEY.",
  );
  // Looking must not make keys, as reading them does where there are none.
  if (!existsSync(join(settings.home, "keys.json"))) throw stopped;
  const signal = AbortSignal.any([outside.signal, AbortSignal.timeout(5_000)]);
  const isRunning = await fetch(`http://127.0.0.1:${settings.apiPort}/health`, { signal })
    .then((answer) => answer.ok, () => false);
  if (outside.signal.aborted) throw new Interrupted();
  if (!isRunning) throw stopped;
  const keys = await readKeys(settings.home);
  const stack = await describeStack(settings, keys);
  output.hide(keys.secretKey);
  output.hide(keys.jwtSecret);
  output.hide(keys.demoWebhookSecret);
  output.hide(stack.demo.access_token);
  return { isLocal: true, dbUrl: stack.db_url, apiUrl: stack.api_url, secretKey: stack.secret_key, settings, stack };
}

export const functionsUrl = ({ apiUrl }: Connection): string => `${apiUrl}/functions/v1`;

/** The local file with the function secrets. */
export const secretsFile = ({ settings }: Pick<Connection, "settings">, context: Context): string =>
  context.outside.env.OCC_FUNCTION_SECRETS_FILE === undefined
    ? join(settings.projectRoot, "supabase", "functions", ".env")
    : pathOf(context.outside, context.outside.env.OCC_FUNCTION_SECRETS_FILE);

/** The secrets of an account that this machine knows, newest first; each registered, so that it is never printed. */
export async function knownWebhookSecrets(connection: Connection, accountId: string, context: Context) {
  const text = await readFile(secretsFile(connection, context), "utf8").catch(() => "");
  const parsed = parseSecrets(parseEnv(text).CHATWOOT_WEBHOOK_SECRETS);
  const secrets = parsed?.[accountId] ?? [];
  const demo = connection.stack !== null && connection.stack.demo.account_id === accountId
    ? [connection.stack.demo.webhook_secret]
    : [];
  const all = [...new Set([...secrets, ...demo])];
  for (const secret of all) context.output.hide(secret);
  return all;
}

/** {"<account id>": ["<secret>", …]}, or null for anything else. */
export function parseSecrets(text: string | undefined): Record<string, string[]> | null {
  if (text === undefined || text === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    const entries = Object.entries(value);
    const isRight = entries.every(([, list]) => Array.isArray(list) && list.every((item) => typeof item === "string"));
    return isRight ? Object.fromEntries(entries) : null;
  } catch {
    return null;
  }
}

export interface Database {
  rows<Row extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
}

export interface DatabaseOptions {
  /** A statement that takes longer is ended; 30 unless told. */
  statementSeconds?: number;
  /** What stands when Ctrl-C ends it. */
  atCtrlC?: () => string;
}

/** Does the work over one connection; every way in which that fails is a Problem. Ctrl-C ends the statement under way. */
export async function withDatabase<Value>(
  url: string,
  context: Context,
  work: (database: Database) => Promise<Value>,
  { statementSeconds = 30, atCtrlC }: DatabaseOptions = {},
): Promise<Value> {
  const { outside: { signal }, output } = context;
  const address = readDatabaseUrl(url);
  output.hide(address.password);
  const mode = address.parameters.get("sslmode");
  const isPlain = mode === "disable" || (mode === null && isPrivateHost(address.host));
  const problemOf = (error: unknown) =>
    error instanceof Problem
      ? error
      : databaseProblem(error, { host: address.host, port: address.port, user: address.user });
  const client = new Client({
    host: address.host,
    port: address.port,
    user: address.user,
    password: address.password,
    database: address.database,
    application_name: "occ",
    connectionTimeoutMillis: context.outside.timeoutMilliseconds,
    // As libpq's sslmode=require: encrypted, and the certificate checked only where that is asked for.
    ssl: isPlain ? false : { rejectUnauthorized: mode === "verify-ca" || mode === "verify-full" },
  });
  client.on("error", () => {});
  const end = () => void client.end().catch(() => {});
  if (signal.aborted) throw new Interrupted();
  signal.addEventListener("abort", end, { once: true });
  try {
    await client.connect();
    // Not as the connection begins, which poolers refuse; nor where the next statement may be another session's.
    if (routeOf(address) !== "transaction pooler") {
      await client.query("select set_config('statement_timeout', $1, false)", [`${statementSeconds}s`]);
    }
    return await work({
      // Already here, since a step that fails is a line of its own and the next one is taken.
      rows: async (text, values = []) => {
        const result = await client.query(text, values).catch((error) => Promise.reject(problemOf(error)));
        return result.rows;
      },
    });
  } catch (error) {
    if (signal.aborted) throw new Interrupted(atCtrlC?.());
    throw problemOf(error);
  } finally {
    signal.removeEventListener("abort", end);
    await client.end().catch(() => {});
  }
}

const NETWORK: [RegExp, (at: string) => [string, string]][] = [
  [
    /^ECONNREFUSED$/,
    (at) => [`No database listens at ${at}.`, "Start the stack with npm start, or check host and port."],
  ],
  [/^(ENOTFOUND|EAI_NONAME)$/, (at) => [`The database's host at ${at} does not exist (DNS).`, "Check the spelling."]],
  [/^EAI_AGAIN$/, (at) => [`The database's host at ${at} could not be looked up.`, "Check this machine's network."]],
  [
    /^(ENETUNREACH|EHOSTUNREACH|ENETDOWN|EADDRNOTAVAIL)$/,
    (at) => [
      `There is no way from this machine to the database at ${at}.`,
      "The direct address of a Supabase project is IPv6 only: use the session pooler's (dashboard, Connect).",
    ],
  ],
  [
    /^(ETIMEDOUT|ECONNRESET|EPIPE)$/,
    (at) => [`The connection to the database at ${at} broke off.`, "Check network and firewall, then try again."],
  ],
];

/** What a failure of the database means. SQL errors of our own carry their hint. */
export function databaseProblem(error: unknown, login: { host: string; port: number; user: string }): Problem {
  const at = `${login.host}:${login.port}`;
  const code = codeOf(error);
  const message = messageOf(error);
  for (const [pattern, tell] of NETWORK) {
    if (pattern.test(code)) return new Problem(EXIT.unreachable, ...tell(at));
  }
  if (/timeout expired|Connection terminated/i.test(message)) {
    return new Problem(
      EXIT.unreachable,
      `The database at ${at} did not answer in time, or hung up.`,
      "Look whether it runs, then try again.",
    );
  }
  if (/does not support SSL/i.test(message)) {
    return new Problem(
      EXIT.unreachable,
      `The database at ${at} offers no TLS.`,
      "In a network of your own, add ?sslmode=disable to the database URL.",
    );
  }
  if (/certificate|SSL|TLS/i.test(message) && !/^[0-9A-Z]{5}$/.test(code)) {
    return new Problem(
      EXIT.unreachable,
      `The TLS connection to the database at ${at} failed (${code || "no code"}).`,
      "Check the host name, or use sslmode=require instead of verify-full.",
    );
  }
  if (code === "28P01" || code === "28000" || /password authentication failed/.test(message)) {
    return new Problem(
      EXIT.notAllowed,
      `The database at ${at} refuses the password of ${login.user}.`,
      "Check the password in OCC_DB_URL; special characters are percent-encoded in a URL.",
    );
  }
  if (/tenant or user not found/i.test(message)) {
    return new Problem(
      EXIT.notAllowed,
      `The pooler at ${at} knows no project for the user ${login.user}.`,
      "Through a pooler the user is postgres.<project reference>; copy the string from the dashboard, Connect.",
    );
  }
  if (code === "3D000") {
    return new Problem(
      EXIT.unreachable,
      `There is no such database at ${at}.`,
      "A Supabase project's is called postgres.",
    );
  }
  if (code === "42501" || code === "OC403") {
    return new Problem(EXIT.notAllowed, `${message}.`, hintOf(error) ?? "Connect as postgres, the project's owner.");
  }
  if (/^(42883|42P01|3F000|42703|42704|42P02)$/.test(code)) {
    return new Problem(
      EXIT.finding,
      `The database at ${at} lacks a part of this project (${message}).`,
      "Apply the migrations: npx supabase db push. Then look closer: occ doctor.",
    );
  }
  if (code === "57014") {
    return new Problem(
      EXIT.finding,
      "The database did not finish in time.",
      "Try again, over a shorter range of time.",
    );
  }
  if (code === "53300" || /too many (clients|connections)/i.test(message)) {
    return new Problem(
      EXIT.unreachable,
      `The database at ${at} has no free connection.`,
      "Wait a minute, then try again.",
    );
  }
  return new Problem(
    EXIT.finding,
    `The database says: ${message.slice(0, 500)}${code === "" ? "" : ` (${code})`}.`,
    hintOf(error) ?? "Look at its log, or run occ doctor.",
  );
}

function hintOf(error: unknown): string | null {
  return typeof error === "object" && error !== null && "hint" in error && typeof error.hint === "string"
    ? error.hint
    : null;
}
