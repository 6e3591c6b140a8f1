// occ chatwoot-env: the variables with which a Chatwoot uses the project's database, from its URL however it is pasted.
import { spawn } from "node:child_process";
import type { Command } from "commander";
import type { Finish } from "./program.ts";
import { findConnection, withDatabase } from "./shared/connection.ts";
import {
  type DatabaseAddress,
  percentEncoded,
  readDatabaseUrl,
  type Route,
  routeOf,
  toDatabaseUrl,
} from "./shared/database-url.ts";
import { readOrEmpty, setVariable, writeWhole } from "./shared/env-file.ts";
import { type Context, type Finished, pathOf, readInput } from "./shared/outside.ts";
import { codeOf, EXIT, Interrupted, Problem } from "./shared/problem.ts";

interface Options {
  url?: string;
  passwordStdin?: boolean;
  format: string;
  set?: string;
  app?: string;
  offline?: boolean;
  dbUrl?: string;
}

const FORMATS = ["env", "fly", "docker"] as const;
type Format = (typeof FORMATS)[number];

export function addChatwootEnv(program: Command, finish: Finish): Command {
  const command = program.command("chatwoot-env")
    .description("the POSTGRES_* variables with which Chatwoot runs on the project's own database")
    .option("--url <url>", "the database URL, as the dashboard shows it (better: OCC_DB_URL)")
    .option("--db-url <url>", "the same")
    .option("--password-stdin", "read the password from standard input, as it is; it takes the place of the URL's")
    .option(
      "--format <format>",
      "env (a .env file), fly (fly secrets) or docker (--env-file, read without quotes)",
      "env",
    )
    .option("--set <file>", "write them into this file and leave its other lines as they are")
    .option("--app <name>", "with --format fly: set them on this app, through the fly command")
    .option("--offline", "do not look whether it is this project's database")
    .addHelpText(
      "after",
      `
What is printed never holds the password; --set and --app hand it over.

Example:
  OCC_DB_URL='postgresql://…' npm run occ -- chatwoot-env --format docker --set ./chatwoot.env`,
    );
  command.action((options: Options) => finish((context) => chatwootEnv(options, context))());
  return command;
}

async function chatwootEnv(options: Options, context: Context): Promise<Finished> {
  const { output, outside } = context;
  const format = FORMATS.find((known) => known === options.format);
  if (format === undefined) {
    throw new Problem(EXIT.usage, `There is no format "${options.format}".`, `Use one of ${FORMATS.join(", ")}.`);
  }
  if (options.app !== undefined && (format !== "fly" || !/^[a-z0-9][a-z0-9-]{0,62}$/.test(options.app))) {
    throw new Problem(
      EXIT.usage,
      "--app names no fly app, or the format is not fly.",
      "Give --format fly --app <name>.",
    );
  }
  if (options.url !== undefined || options.dbUrl !== undefined) {
    output.note("Note: a URL on the command line stays in your shell's history; better the variable OCC_DB_URL.");
  }
  const given = options.url ?? options.dbUrl ?? outside.env.OCC_DB_URL;
  const url = given ?? (await findConnection({}, context)).dbUrl;
  const address = await readAddress(url, options, context);
  output.hide(address.password);
  if (address.password === "") {
    throw new Problem(EXIT.usage, "The database URL holds no password.", "Pipe it in with --password-stdin.");
  }
  const unsafe = [address.user, address.password, address.database, address.host].some((part) => /[\r\n\0]/.test(part));
  if (unsafe) {
    throw new Problem(
      EXIT.usage,
      "The password holds a line break or a null character, which no file of variables can carry.",
      "Set another one: dashboard, Project Settings, Database, Reset password.",
    );
  }
  if (!options.offline) await refuseForeign(toDatabaseUrl(address), context);
  const route = routeOf(address);
  const variables = variablesOf(address, route);
  const warnings = warningsOf(address, { route, format });

  const lines = Object.entries(variables).map(([name, value]) => `${name}=${quoted(value, format)}`);
  if (options.app !== undefined) await setOnFly(options.app, lines, context);
  else if (options.set !== undefined) await setInFile(pathOf(outside, options.set), variables, format);
  else print(lines, format, context);
  for (const warning of warnings) output.line(`! ${warning}`);
  const place = options.app !== undefined ? `the fly app ${options.app}` : options.set;
  if (place !== undefined) output.line(`✔ ${Object.keys(variables).join(", ")} are set in ${place}.`);
  const shown = Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [name, hidden(name, value, address.password)]),
  );
  return { exit: EXIT.fine, data: { format, route, variables: shown, set: place ?? null, warnings } };
}

async function readAddress(url: string, options: Options, context: Context): Promise<DatabaseAddress> {
  if (!options.passwordStdin) return readDatabaseUrl(url);
  const password = new TextDecoder().decode(await readInput(context)).replace(/\r?\n$/, "");
  context.output.hide(password);
  // Whatever stands in its place, a placeholder too, does not count.
  const bare = url.replace(/^([a-z]+:\/\/[^:/@]*)(?::[\s\S]*)?@(?=[^@]*$)/i, "$1@");
  return { ...readDatabaseUrl(bare), password, isPasswordRaw: true };
}

async function refuseForeign(url: string, context: Context): Promise<void> {
  const [found] = await withDatabase(url, context, (database) =>
    database.rows<{ is_ours: boolean }>(
      `select to_regprocedure('api.record_webhook(bigint,text,bytea,jsonb,text,timestamptz)') is not null
        and to_regclass('inbox.deliveries') is not null as is_ours`,
    ));
  if (found.is_ours) return;
  throw new Problem(
    EXIT.finding,
    "That database is not this project's: it has no room inbox.",
    "Give the project's own URL; on a new project apply the migrations first: npx supabase db push.",
  );
}

/** What Chatwoot's config/database.yml reads; through a transaction pooler only DATABASE_URL can say what is needed. */
export function variablesOf(address: DatabaseAddress, route: Route): Record<string, string> {
  const variables: Record<string, string> = {
    POSTGRES_HOST: address.host,
    POSTGRES_PORT: String(address.port),
    POSTGRES_DATABASE: yaml(address.database),
    POSTGRES_USERNAME: yaml(address.user),
    POSTGRES_PASSWORD: yaml(address.password),
  };
  if (route !== "transaction pooler") return variables;
  const parameters = new URLSearchParams({ prepared_statements: "false" });
  return { ...variables, DATABASE_URL: toDatabaseUrl({ ...address, parameters }) };
}

// Chatwoot puts these into double quotes of a YAML file as they are.
const yaml = (text: string) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"');

export function warningsOf(
  address: DatabaseAddress,
  { route, format }: { route: Route; format: Format },
): string[] {
  const { password } = address;
  const warnings: string[] = [];
  if (route === "transaction pooler") {
    warnings.push(
      "Port 6543 pools by transaction: Rails' prepared statements, advisory locks of migrations and statement_timeout break there. Use port 5432 (session pooler). DATABASE_URL above at least turns prepared statements off.",
    );
  }
  if (route === "direct") {
    warnings.push(
      "The direct address is IPv6 only, unless the project has the IPv4 add-on: where Chatwoot's host has no IPv6 (Docker by default), use the session pooler.",
    );
  }
  if (/\.pooler\.supabase\./.test(address.host) && !/^[a-z_]+\.[a-z0-9]{15,}$/.test(address.user)) {
    warnings.push(
      "Through the pooler the user is postgres.<project reference>, or it answers: Tenant or user not found.",
    );
  }
  if (/["\\]/.test(password)) {
    warnings.push(
      'The password holds " or \\, which Chatwoot puts into its YAML as they are: they are escaped for that here, and only for that.',
    );
  }
  if (/^["'`]|["'`]$|^\s|\s$/.test(password) && format !== "env") {
    warnings.push(
      "The password begins or ends with a quote or a space, which some readers cut off: better set another one.",
    );
  }
  if (/[$`]/.test(password) && format === "docker") {
    warnings.push(
      "The password holds $ or `: docker run --env-file takes it as it is; in Compose use env_file with format: raw, not environment.",
    );
  }
  if (/<%/.test(password)) {
    warnings.push("The password holds <%, which Chatwoot's ERB could take for code: set another one.");
  }
  return warnings;
}

function quoted(value: string, format: Format): string {
  // Both take the rest of the line as it is.
  if (format !== "env") return value;
  if (/^[A-Za-z0-9_./:@%+,=?-]*$/.test(value)) return value;
  if (!value.includes("'")) return `'${value}'`;
  // In double quotes a backslash escapes, and $ would be expanded.
  return `"${value.replace(/[\\"$`]/g, "\\$&")}"`;
}

function hidden(name: string, value: string, password: string): string {
  if (name === "POSTGRES_PASSWORD") return "[hidden]";
  return name === "DATABASE_URL" ? value.replace(`:${percentEncoded(password)}@`, ":[hidden]@") : value;
}

function print(lines: string[], format: Format, { output }: Context): void {
  // The password is struck out by name, since a short one would not be known as a secret.
  for (const line of lines) {
    output.line(
      line.startsWith("POSTGRES_PASSWORD=")
        ? "POSTGRES_PASSWORD=[hidden]"
        : line.replace(/^(DATABASE_URL=.*:\/\/[^:]*:).*@/, "$1[hidden]@"),
    );
  }
  output.line(
    format === "fly"
      ? "→ To set them with the password: --app <name>; or --set <file>, then fly secrets import < <file>."
      : "→ To have them with the password: --set <file>.",
  );
}

async function setInFile(file: string, variables: Record<string, string>, format: Format): Promise<void> {
  let text = await readOrEmpty(file);
  for (const [name, value] of Object.entries(variables)) {
    text = format === "env" ? setVariable(text, name, quoted(value, format), file) : setRawLine(text, name, value);
  }
  await writeWhole(file, text);
}

// Without quotes a line is a variable, whatever it holds.
function setRawLine(text: string, name: string, value: string): string {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => line.startsWith(`${name}=`));
  if (at !== -1) lines[at] = `${name}=${value}`;
  else lines.splice(lines.at(-1) === "" ? lines.length - 1 : lines.length, 0, `${name}=${value}`);
  const joined = lines.join("\n");
  return joined.endsWith("\n") ? joined : `${joined}\n`;
}

async function setOnFly(app: string, lines: string[], { outside }: Context): Promise<void> {
  const code = await new Promise<number | string>((done) => {
    // By standard input, since arguments are for every user of the machine to read; what it prints is not passed on.
    const fly = spawn("fly", ["secrets", "import", "--app", app], {
      stdio: ["pipe", "ignore", "ignore"],
      signal: outside.signal,
      env: { ...process.env, ...outside.env },
    });
    fly.on("error", (error) => done(codeOf(error) || "failed"));
    fly.on("exit", (exit) => done(exit ?? "stopped"));
    fly.stdin.on("error", () => {});
    fly.stdin.end(`${lines.join("\n")}\n`);
  });
  if (outside.signal.aborted) throw new Interrupted("Stopped by Ctrl-C while fly was setting the secrets.");
  if (code === 0) return;
  throw new Problem(
    code === "ENOENT" ? EXIT.usage : EXIT.finding,
    code === "ENOENT" ? "The fly command is not installed here." : `fly secrets import failed (${code}).`,
    code === "ENOENT"
      ? "Install flyctl, or use --set <file>."
      : `Try fly status --app ${app}; are you logged in (fly auth login)?`,
  );
}
