// The whole stack in the order its parts need each other: database, migrations, worker, functions, gateway.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { SignJWT } from "jose";
import { parse as parseToml } from "smol-toml";
import { z } from "zod";
import { startApi } from "./api/server.ts";
import { FunctionConfigurations } from "./functions/imports.ts";
import { startFunctions } from "./functions/runner.ts";
import { type Keys, readKeys } from "./keys.ts";
import { migrate, recordMigrations, refuseStaleData } from "./migrate.ts";
import { isPortFree } from "./ports.ts";
import { type Postgres, startPostgres } from "./postgres/server.ts";
import { type Settings, UserError } from "./settings.ts";
import { startWorker } from "./worker/worker.ts";

/** The account and the person that supabase/seed.sql puts into a development stack. */
export const DEMO = { accountId: "1", userId: "00000000-0000-4000-8000-000000000001" };

const HOST = "127.0.0.1";

/** What a client needs to know of a running stack, as `npm run info -- --json` prints it. */
export interface StackInfo {
  api_url: string;
  functions_url: string;
  db_url: string;
  publishable_key: string;
  secret_key: string;
  demo: {
    account_id: string;
    webhook_secret: string;
    gold_replies_token: string;
    access_token: string;
    chatwoot_url: string;
    chatwoot_token?: string;
  };
}

export interface Stack {
  info: StackInfo;
  postgres: Postgres;
  stop(): Promise<void>;
}

export interface StackOptions {
  /** Settings of Postgres beyond the standard ones. */
  postgresSettings?: Record<string, string>;
  /** Function secrets that take the place of those in supabase/functions/.env. */
  secrets?: Record<string, string>;
  /** Told of each step as it begins. */
  progress?: (step: string) => void;
  /** Told of failures, one line each. */
  log?: (line: string) => void;
}

const Configuration = z.object({
  api: z.object({ schemas: z.array(z.string()).min(1), max_rows: z.number().int().positive() }),
  functions: FunctionConfigurations,
});

/** Starts everything and returns once it serves; throws UserError for what a person can mend, with nothing left running. */
export async function startStack(settings: Settings, options: StackOptions = {}): Promise<Stack> {
  const { projectRoot, home, apiPort, dbPort } = settings;
  const { progress = () => {}, log = () => {} } = options;
  if (!await isPortFree(apiPort)) {
    throw new UserError(
      `Port ${apiPort} is taken, so the API cannot listen there: stop what uses it (perhaps another "npm start"), or set OCC_API_PORT to a free port.`,
    );
  }
  const configuration = Configuration.parse(
    parseToml(await readFile(join(projectRoot, "supabase", "config.toml"), "utf8")),
  );
  const keys = await readKeys(home);
  const secrets = options.secrets ?? await readFunctionSecrets(projectRoot, keys);
  const stops: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (const end of stops.splice(0).reverse()) await end().catch((error: Error) => log(`stopping: ${error.message}`));
  };
  try {
    progress("starting Postgres");
    const postgres = await startPostgres({ home, port: dbPort, settings: options.postgresSettings, progress });
    stops.push(postgres.stop);
    await refuseStaleData(projectRoot, home);
    progress("applying migrations");
    await migrate(projectRoot, { url: postgres.url, withSeed: true });
    await recordMigrations(projectRoot, home);
    const worker = await startWorker({ adminUrl: postgres.adminUrl, log });
    stops.push(worker.stop);
    progress("starting the edge functions");
    const info = await describeStack(settings, keys);
    const functions = await startFunctions({
      projectRoot,
      home,
      configuration: configuration.functions,
      env: { ...functionEnvironment(info, keys), ...secrets },
      log,
    });
    stops.push(functions.stop);
    progress("starting the Data API");
    const api = await startApi({
      port: apiPort,
      host: HOST,
      databaseUrl: postgres.authenticatorUrl,
      keys,
      schemas: configuration.api.schemas,
      maxRows: configuration.api.max_rows,
      functions,
      log,
    });
    stops.push(api.stop);
    return { info, postgres, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a client of the stack at these settings needs; the access token is good for twelve hours. */
export async function describeStack(settings: Settings, keys: Keys): Promise<StackInfo> {
  const origin = `http://${HOST}:${settings.apiPort}`;
  return {
    api_url: origin,
    functions_url: `${origin}/functions/v1`,
    db_url: `postgresql://postgres:postgres@${HOST}:${settings.dbPort}/postgres`,
    publishable_key: keys.publishableKey,
    secret_key: keys.secretKey,
    demo: {
      account_id: DEMO.accountId,
      webhook_secret: keys.demoWebhookSecret,
      gold_replies_token: keys.demoGoldRepliesToken,
      access_token: await new SignJWT({ role: "authenticated", aud: "authenticated" })
        .setProtectedHeader({ alg: "HS256", typ: "JWT" })
        .setSubject(DEMO.userId)
        .setIssuedAt()
        .setExpirationTime("12h")
        .sign(new TextEncoder().encode(keys.jwtSecret)),
      chatwoot_url: `http://${HOST}:${settings.chatwootPort}`,
    },
  };
}

// The names that Supabase itself gives every function.
function functionEnvironment(info: StackInfo, keys: Keys): Record<string, string> {
  return {
    SUPABASE_URL: info.api_url,
    SUPABASE_DB_URL: info.db_url,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishableKey }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secretKey }),
    SUPABASE_PUBLISHABLE_KEY: keys.publishableKey,
    SUPABASE_SECRET_KEY: keys.secretKey,
  };
}

// The file that `npx supabase start` reads too. Without it the demo's own secret and token are enough to begin.
async function readFunctionSecrets(projectRoot: string, keys: Keys): Promise<Record<string, string>> {
  const file = join(projectRoot, "supabase", "functions", ".env");
  const text = await readFile(file, "utf8").catch(() => null);
  const given = text === null ? {} : parseEnv(text) as Record<string, string>;
  const accounts = z.record(z.string(), z.array(z.string())).safeParse(
    parseJson(given.CHATWOOT_WEBHOOK_SECRETS ?? "{}"),
  );
  if (text !== null && given.CHATWOOT_WEBHOOK_SECRETS === undefined) {
    throw new UserError(
      `${file} does not set CHATWOOT_WEBHOOK_SECRETS: copy the line from .env.example and put your webhook's secret in.`,
    );
  }
  if (!accounts.success) {
    throw new UserError(
      `CHATWOOT_WEBHOOK_SECRETS in ${file} is malformed: write {"<account id>": ["<secret>"]}, as in .env.example.`,
    );
  }
  const demo = accounts.data[DEMO.accountId] ?? [];
  return {
    ...given,
    CHATWOOT_WEBHOOK_SECRETS: JSON.stringify({
      ...accounts.data,
      [DEMO.accountId]: [...new Set([...demo, keys.demoWebhookSecret])],
    }),
    GOLD_REPLIES_TOKEN: [given.GOLD_REPLIES_TOKEN ?? "", keys.demoGoldRepliesToken].filter(Boolean).join(","),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
