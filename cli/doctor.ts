// occ doctor: everything this project needs, compared with what is there; each finding with its fix.
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { parseEnv } from "node:util";
import type { Command } from "commander";
import { readSettings as readWebhookSettings } from "../supabase/functions/chatwoot-webhook/settings.ts";
import type { Finish } from "./program.ts";
import { knownAccounts } from "./shared/accounts.ts";
import { compare, type Difference, migrationFinder, readCatalogue, readExpected } from "./shared/catalogue.ts";
import { CLASSIC_EVENTS, createClient, findServer, isAtLeast, SIGNS_SINCE, WANTED_EVENTS } from "./shared/chatwoot.ts";
import {
  type Connection,
  type Database,
  findConnection,
  functionsUrl,
  knownWebhookSecrets,
  secretsFile,
  withDatabase,
} from "./shared/connection.ts";
import { askDoor, DOOR_FIX, leadsHere, SLUG } from "./shared/door.ts";
import { checkGoldReplies } from "./shared/gold-replies.ts";
import { parseJson, request } from "./shared/http.ts";
import { readAccountId, withAccount, withConnection } from "./shared/options.ts";
import type { Context, Finished } from "./shared/outside.ts";
import { addDefaultPolicy, NO_PROMISE, readPolicies } from "./shared/policies.ts";
import { EXIT, messageOf, Problem } from "./shared/problem.ts";
import { createSteps, type Found, type Steps } from "./shared/steps.ts";

interface Options {
  account?: string;
  dbUrl?: string;
  apiUrl?: string;
  secretKey?: string;
}

export function addDoctor(program: Command, finish: Finish): Command {
  const command = withAccount(withConnection(program.command("doctor")))
    .description("compare settings, extensions, jobs, roles, grants and versions with what is needed; changes nothing")
    .addHelpText("after", `\nExample:\n  npm run occ -- doctor --json`);
  command.action((options: Options) => finish((context) => doctor(options, context))());
  return command;
}

const SHOWN = 12;

async function doctor(options: Options, context: Context): Promise<Finished> {
  const { output } = context;
  if (options.account !== undefined) readAccountId(options.account);
  const connection = await findConnection(options, context);
  const steps = createSteps(context, { times: false });
  const findings: Difference[] = [];
  await withDatabase(connection.dbUrl, context, async (database) => {
    await steps.run("versions", "Postgres", () => checkVersions(database));
    await steps.run("migrations", "Migrations", () => checkMigrations(connection, database));
    const expected = await readExpected();
    const actual = await readCatalogue(database);
    findings.push(...compare(actual, expected, migrationFinder(await readMigrations(connection))));
    const counted = (part: object | string[]) => Array.isArray(part) ? part.length : Object.keys(part).length;
    tellDifferences(steps, findings, {
      extensions: ["Extensions", counted(expected.extensions)],
      roles: ["Roles", counted(expected.roles)],
      objects: ["Tables, views, triggers", counted(expected.relations) + expected.triggers.length],
      functions: ["Functions", counted(expected.functions)],
      grants: ["Grants", counted(expected.relations) + counted(expected.functions)],
      jobs: ["Jobs", counted(expected.jobs)],
      settings: ["Settings", expected.settings.length],
    });
    await steps.run("cron", "Cron", () => checkCron(database));
    await steps.run("vault", "Vault", () => checkVault(database));
    if (connection.apiUrl !== null) await checkApi(connection, steps, context);
    else steps.add({ name: "api", title: "Data API", state: "skipped", message: "OCC_API_URL is not set", next: null });
    const accounts = options.account === undefined
      ? await knownAccounts(database).catch(() => [])
      : [readAccountId(options.account)];
    if (accounts.length === 0) {
      steps.add({
        name: "accounts",
        title: "Accounts",
        state: "warn",
        message: "none is connected",
        next: "occ connect",
      });
    }
    for (const accountId of accounts.slice(0, 50)) {
      await checkAccount(accountId, { connection, database, steps, isAsked: options.account !== undefined }, context);
    }
  });
  const failed = steps.steps.filter(({ state }) => state === "fail").length;
  output.line();
  output.line(
    failed === 0
      ? "Nothing is missing."
      : `${failed} of ${steps.steps.length} lines are red; mend the first one first.`,
  );
  return { exit: steps.exit(), data: { lines: steps.steps, findings } };
}

async function checkVersions(database: Database): Promise<Found> {
  const [{ number, version, login, is_read_only, can_set }] = await database.rows<{
    number: number;
    version: string;
    login: string;
    is_read_only: boolean;
    can_set: boolean;
  }>(
    `select current_setting('server_version_num')::integer as number, current_setting('server_version') as version,
      current_user::text as login, current_setting('default_transaction_read_only')::boolean or pg_is_in_recovery() as is_read_only,
      pg_has_role('postgres', 'member') as can_set`,
  );
  if (number < 150000) {
    return {
      state: "fail",
      message: `version ${version}, and 15 is the oldest that will do`,
      next: "Upgrade: dashboard, Project Settings, Infrastructure.",
    };
  }
  if (is_read_only) {
    return {
      state: "fail",
      message: "the database is read-only, as a Supabase project becomes when its disk is nearly full",
      next: "Free space or enlarge the disk, then: set default_transaction_read_only = off (docs/runbooks).",
    };
  }
  if (!can_set) {
    return {
      state: "fail",
      message: `signed in as ${login}, who does not own the project`,
      next: "Connect as postgres.",
    };
  }
  return { message: `version ${version.split(" ")[0]}, signed in as ${login}` };
}

async function readMigrations({ settings }: Connection): Promise<Record<string, string>> {
  const folder = join(settings.projectRoot, "supabase", "migrations");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), "utf8")])),
  );
}

async function checkMigrations(connection: Connection, database: Database): Promise<Found> {
  const versions = Object.keys(await readMigrations(connection)).map((name) => name.split("_")[0]);
  const [{ is_there }] = await database.rows<{ is_there: boolean }>(
    "select to_regclass('supabase_migrations.schema_migrations') is not null as is_there",
  );
  const rows = is_there
    ? await database.rows<{ version: string }>("select version from supabase_migrations.schema_migrations")
    : [];
  const applied = new Set(rows.map(({ version }) => version));
  const missing = versions.filter((version) => !applied.has(version));
  if (missing.length > 0) {
    return {
      state: "fail",
      message: `${missing.length} of ${versions.length} are not applied, the first is ${missing[0]}`,
      next: connection.isLocal ? "Restart npm start; if it asks for it: npm run reset" : "npx supabase db push",
    };
  }
  const newer = [...applied].filter((version) => !versions.includes(version));
  if (newer.length > 0) {
    return {
      state: "warn",
      message: `all ${versions.length} are applied, and ${newer.length} this checkout does not have (${newer[0]})`,
      next: "git pull: the database is newer than this checkout.",
    };
  }
  return { message: `all ${versions.length} are applied` };
}

function tellDifferences(
  steps: Steps,
  findings: Difference[],
  titles: Record<Difference["what"], [title: string, count: number]>,
): void {
  for (const [what, [title, count]] of Object.entries(titles)) {
    const found = findings.filter((finding) => finding.what === what);
    if (found.length === 0) {
      steps.add({ name: what, title, state: "ok", message: `${count} as they should be`, next: null });
    }
    for (const { message, fix } of found.slice(0, SHOWN)) {
      steps.add({ name: what, title, state: "fail", message, next: fix });
    }
    if (found.length > SHOWN) {
      steps.add({
        name: what,
        title,
        state: "fail",
        message: `and ${found.length - SHOWN} more like these`,
        next: "All of them: occ doctor --json",
      });
    }
  }
}

async function checkCron(database: Database): Promise<Found> {
  const [{ is_there }] = await database.rows<{ is_there: boolean }>(
    "select to_regclass('cron.job_run_details') is not null as is_there",
  );
  if (!is_there) {
    return {
      state: "fail",
      message: "pg_cron is not there, so nothing runs by itself",
      next: "create extension pg_cron;",
    };
  }
  const [{ age }] = await database.rows<{ age: number | null }>(
    "select extract(epoch from now() - max(start_time))::float8 as age from cron.job_run_details",
  );
  if (age === null) return { state: "warn", message: "no job has run yet", next: "Wait a minute, then look again." };
  if (age > 180) {
    return {
      state: "fail",
      message: `no job has run for ${Math.round(age / 60)} minutes`,
      next: "Hosted: dashboard, Integrations, Cron; restart the project if it stays so. Local: restart npm start.",
    };
  }
  const failed = await database.rows<{ jobname: string; return_message: string | null }>(
    `select distinct on (jobs.jobname) jobs.jobname, runs.return_message, runs.status
    from cron.job as jobs join cron.job_run_details as runs on runs.jobid = jobs.jobid
    where runs.end_time is not null and runs.start_time > now() - interval '1 hour'
      -- Cut off as the server stopped, which is no fault of the job.
      and runs.return_message is distinct from 'server restarted'
    order by jobs.jobname, runs.start_time desc`,
  ).then((rows) => rows.filter((row) => (row as { status?: string }).status === "failed"));
  if (failed.length > 0) {
    return {
      state: "fail",
      message: `the last run of ${failed.map(({ jobname }) => jobname).join(", ")} failed: ${
        (failed[0].return_message ?? "").split("\n")[0].slice(0, 200)
      }`,
      next: `select * from cron.job_run_details where status = 'failed' order by start_time desc limit 5;`,
    };
  }
  return { message: `the last job ran ${Math.round(age)} seconds ago, and none failed in the last hour` };
}

async function checkVault(database: Database): Promise<Found> {
  const [{ secrets, unreadable }] = await database.rows<{ secrets: string; unreadable: string }>(
    "select count(*) as secrets, count(*) filter (where decrypted_secret is null) as unreadable from vault.decrypted_secrets",
  );
  return Number(unreadable) > 0
    ? {
      state: "fail",
      message: `${unreadable} of ${secrets} secrets cannot be read`,
      next: "Set them anew: occ connect.",
    }
    : { message: `${secrets} secrets, all readable` };
}

const Refusal = z.looseObject({ code: z.string().optional(), message: z.string().optional() });

/** Headers with which the Data API is asked as the project's backend. */
export function backendHeaders({ secretKey }: Connection, schema: string): Record<string, string> {
  return {
    "accept-profile": schema,
    ...(secretKey === null ? {} : { apikey: secretKey }),
    // The older kind of key is a token, and only counts as one.
    ...(secretKey?.startsWith("eyJ") ? { authorization: `Bearer ${secretKey}` } : {}),
  };
}

async function checkApi(connection: Connection, steps: Steps, context: Context): Promise<void> {
  const { outside } = context;
  await steps.run("api", "Data API", async () => {
    if (connection.secretKey === null) return { state: "skipped", message: "OCC_SECRET_KEY is not set" };
    for (const [schema, view] of [["api", "settings"], ["analytics", "conversations"]]) {
      const answer = await request({
        who: "The stack",
        url: `${connection.apiUrl}/rest/v1/${view}?limit=0`,
        headers: backendHeaders(connection, schema),
        outside,
      });
      if (answer.status === 200 && Array.isArray(parseJson(answer.text))) continue;
      const refusal = Refusal.safeParse(parseJson(answer.text)).data;
      if (refusal?.code === "PGRST106") {
        return {
          state: "fail",
          message: `the schema ${schema} is not exposed`,
          next: "npx supabase config push; or Project Settings, Data API, Exposed schemas: api, analytics",
        };
      }
      if (answer.status === 401) {
        return {
          state: "fail",
          message: "it does not take the secret key",
          next: "Copy it again: dashboard, Project Settings, API keys; set it as OCC_SECRET_KEY.",
        };
      }
      if (refusal === undefined) {
        return {
          state: "fail",
          message: `what answers (${answer.status}) is no Data API`,
          next: "Check OCC_API_URL; it is the project's address, such as https://<reference>.supabase.co.",
        };
      }
      return {
        state: "fail",
        message: `it answers ${answer.status} ${refusal?.code ?? ""} for ${schema}.${view}: ${refusal?.message ?? ""}`,
        next: refusal?.code === "PGRST205" || refusal?.code === "PGRST002"
          ? "notify pgrst, 'reload schema';"
          : "See the lines on grants above.",
      };
    }
    return { message: "api and analytics are exposed, and the secret key is taken" };
  });
  if (connection.isLocal) await steps.run("secrets", "Function secrets", () => checkSecrets(connection, context));
  await steps.run("function", "Webhook function", async () => {
    const state = await askDoor(`${functionsUrl(connection)}/${SLUG}`, context);
    return state === "open"
      ? { message: "it answers, without asking for a key" }
      : { state: "fail", message: DOOR_FIX[state].message, next: DOOR_FIX[state].next };
  });
  await steps.run("gold_replies", "Gold-reply function", () => checkGoldReplies(connection, context));
  if (!existsSync(join(connection.settings.projectRoot, "supabase", "functions", "health"))) return;
  await steps.run("health_function", "Health function", async () => {
    const answer = await request({ who: "The stack", url: `${functionsUrl(connection)}/health`, outside });
    if (answer.status === 200) return { message: "it says that all is up" };
    if (answer.status === 503) {
      return {
        state: "warn",
        message: "it says that something is down, or that nobody has looked yet",
        next: "select name, subject, message, hint from ops.health_checks where state in ('fail', 'unknown');",
      };
    }
    return {
      state: "fail",
      message: `it answers ${answer.status}, and not 200 or 503`,
      next: "npx supabase functions deploy health --use-api",
    };
  });
}

// As the function reads them when it starts; what is wrong is told without their values.
async function checkSecrets(connection: Connection, context: Context): Promise<Found> {
  const file = secretsFile(connection, context);
  const text = await readFile(file, "utf8").catch(() => null);
  if (text === null) {
    return connection.stack === null
      ? { state: "fail", message: `${file} is not there`, next: "occ connect" }
      : { message: "those of the demo account, which npm start brings" };
  }
  try {
    const { signingSecrets, urlSecrets } = readWebhookSettings(parseEnv(text));
    return { message: `${signingSecrets.length} that sign and ${urlSecrets.length} for URLs, in the right form` };
  } catch (error) {
    return {
      state: "fail",
      message: messageOf(error),
      next: `Correct it in ${file} (.env.example shows the form), then restart the stack; or: occ connect`,
    };
  }
}

interface Account {
  state: string | null;
  base_url: string | null;
  problem: string | null;
  hint: string | null;
  token: string | null;
  door: string | null;
  deliveries: string;
  age: number | null;
}

async function checkAccount(
  accountId: string,
  { connection, database, steps, isAsked }: {
    connection: Connection;
    database: Database;
    steps: Steps;
    /** By its number, and not because it is here. */
    isAsked: boolean;
  },
  context: Context,
): Promise<void> {
  const title = (what: string) => `Account ${accountId}, ${what}`;
  const name = (what: string) => `account_${accountId}_${what}`;
  let account: Account | undefined;
  await steps.run(name("sync"), title("sync"), async () => {
    [account] = await database.rows<Account>(
      `select sources.door, sources.state, sources.base_url, sources.problem, sources.hint, sync.token($1::bigint) as token,
        (select extract(epoch from now() - max(received_at))::float8 from inbox.deliveries where account_id = $1::bigint) as age
      from (select 1) as one
      left join sync.sources on sources.account_id = $1::bigint
      order by sources.door = 'rest' desc limit 1`,
      [accountId],
    );
    context.output.hide(account.token);
    if (account.door === null) {
      return {
        state: isAsked ? "fail" : "warn",
        message: "nothing reads this Chatwoot",
        next: `occ connect --account ${accountId}; or check the number`,
      };
    }
    if (account.state === "stopped") {
      return {
        state: "fail",
        message: `stopped: ${account.problem}`,
        next: account.hint ?? `occ connect --account ${accountId}`,
      };
    }
    if (account.state === "paused") {
      return {
        state: "warn",
        message: "paused by a person",
        next: `select api.resume_sync(${accountId}, '${account.door}');`,
      };
    }
    if (account.problem !== null) {
      return { state: "fail", message: account.problem, next: account.hint ?? "It is tried again." };
    }
    return { message: `active, over the ${account.door} door` };
  });
  await steps.run(name("sla_policy"), title("SLA policy"), async () => {
    const { inForce, ever } = await readPolicies(database, accountId);
    if (inForce > 0) return { message: `${inForce} in force` };
    if (ever > 0) return { message: "none is in force, since they were retired" };
    return { state: "warn", message: NO_PROMISE, next: addDefaultPolicy(accountId) };
  });
  if (account === undefined || account.door !== "rest") return;
  const { token, base_url: url } = account;
  await steps.run(name("chatwoot"), title("Chatwoot"), async () => {
    if (url === null) return { state: "skipped", message: "no address" };
    if (token === null) {
      return { state: "fail", message: "there is no token in Vault", next: `occ connect --account ${accountId}` };
    }
    const server = await findServer(url, context);
    const profile = await createClient({ url, accountId, token }, context).profile();
    const role = profile.accounts.find(({ id }) => String(id) === accountId)?.role;
    if (role !== "administrator") {
      throw new Problem(
        EXIT.notAllowed,
        `The token is ${profile.name}'s, ${
          role ?? "no member"
        } of account ${accountId}: what the owner may not see is missing in the mirror.`,
        `occ connect --account ${accountId}, with an administrator's token`,
      );
    }
    return isAtLeast(server.version, SIGNS_SINCE)
      ? { message: `version ${server.version}, the token is an administrator's` }
      : {
        state: "warn",
        message: `version ${server.version} does not sign webhooks`,
        next: `Upgrade Chatwoot to ${SIGNS_SINCE} or newer.`,
      };
  });
  if (connection.apiUrl === null) return;
  await steps.run(name("webhook"), title("webhook"), async () => {
    if (url === null || token === null) return { state: "skipped", message: "no token" };
    const webhooks = await createClient({ url, accountId, token }, context).webhooks();
    const ours = webhooks.filter((webhook) => leadsHere(webhook.url));
    const fix = `occ connect --account ${accountId}`;
    if (ours.length === 0) return { state: "fail", message: "Chatwoot has no webhook that leads here", next: fix };
    const [webhook] = ours;
    const missing = CLASSIC_EVENTS.filter((event) => !webhook.subscriptions?.includes(event));
    if (missing.length > 0) return { state: "fail", message: `it lacks ${missing.join(", ")}`, next: fix };
    if (connection.isLocal && webhook.secret) {
      const known = await knownWebhookSecrets(connection, accountId, context);
      if (!known.includes(webhook.secret)) {
        return { state: "fail", message: "Chatwoot signs with a secret that the function does not know", next: fix };
      }
    }
    if (ours.length > 1) {
      return {
        state: "warn",
        message: `${ours.length} webhooks lead here, so each event comes as often`,
        next: "Delete all but one in Chatwoot.",
      };
    }
    const last = account?.age ?? null;
    const extra = WANTED_EVENTS.every((event) => webhook.subscriptions?.includes(event))
      ? ""
      : ", without inbox events";
    return { message: `there${extra}; the last delivery came ${last === null ? "never" : `${age(last)} ago`}` };
  }, { after: [name("chatwoot")] });
}

const age = (seconds: number) =>
  seconds < 120
    ? `${Math.round(seconds)} seconds`
    : seconds < 7200
    ? `${Math.round(seconds / 60)} minutes`
    : `${Math.round(seconds / 3600)} hours`;
