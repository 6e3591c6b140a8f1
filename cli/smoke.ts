// occ smoke: one event end to end through everything, against any installation, in under two minutes.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Command } from "commander";
import { backendHeaders } from "./doctor.ts";
import type { Finish } from "./program.ts";
import { findAccount } from "./shared/accounts.ts";
import { createClient, findServer, readBaseUrl } from "./shared/chatwoot.ts";
import {
  type Connection,
  type Database,
  findConnection,
  functionsUrl,
  knownWebhookSecrets,
  withDatabase,
} from "./shared/connection.ts";
import { readDatabaseUrl } from "./shared/database-url.ts";
import { askDoor, deliver, DOOR_FIX, harmless, leadsHere, SLUG } from "./shared/door.ts";
import { writeEvidence } from "./shared/evidence.ts";
import { checkGoldReplies } from "./shared/gold-replies.ts";
import { readHealth } from "./shared/health.ts";
import { parseJson, request } from "./shared/http.ts";
import { readAccountId, readWhole, withAccount, withConnection } from "./shared/options.ts";
import { type Context, type Finished, pathOf, pause, throwIfInterrupted, withoutCtrlC } from "./shared/outside.ts";
import { EXIT, Problem } from "./shared/problem.ts";
import { createSteps, type Found } from "./shared/steps.ts";

interface Options {
  account?: string;
  write?: boolean;
  conversation?: string;
  evidence?: string;
  dbUrl?: string;
  apiUrl?: string;
  secretKey?: string;
}

export function addSmoke(program: Command, finish: Finish): Command {
  const command = withAccount(withConnection(program.command("smoke")))
    .description("end to end: webhook, Data API, sync, cron, health; writes an evidence file")
    .option("--write", "also post a private note in a test conversation, and remove it")
    .option("--conversation <number>", "the test conversation for --write")
    .option("--evidence <folder>", "where the evidence goes; .occ/evidence unless given")
    .addHelpText("after", `\nExample:\n  npm run occ -- smoke --write --conversation 42`);
  command.action((options: Options) => finish((context) => smoke(options, context))());
  return command;
}

interface Source {
  base_url: string | null;
  state: string | null;
  token: string | null;
}

async function smoke(options: Options, context: Context): Promise<Finished> {
  const { output, outside } = context;
  if (options.account !== undefined) readAccountId(options.account);
  if (options.write && options.conversation === undefined) {
    throw new Problem(
      EXIT.usage,
      "--write needs a conversation to write into.",
      "Name a test conversation of yours: --conversation <number in its address>.",
    );
  }
  const conversation = options.conversation === undefined
    ? null
    : String(readWhole(options.conversation, "--conversation", { from: 1, to: Number.MAX_SAFE_INTEGER }));
  const connection = await findConnection(options, context, { api: true, secretKey: true });
  const startedAt = outside.now();
  const steps = createSteps(context);
  const door = `${functionsUrl(connection)}/${SLUG}`;
  let accountId = options.account ?? null;
  let source: Source = { base_url: null, state: null, token: null };
  let version: string | null = null;
  let secrets: string[] = [];
  const deliveryId = `occ-smoke-${randomUUID()}`;

  await withDatabase(connection.dbUrl, context, async (database) => {
    await steps.run("sql", "SQL answers", async () => {
      const account = await findAccount(options.account, database);
      accountId = account;
      [source] = await database.rows<Source>(
        `select sources.base_url, sources.state, sync.token($1::bigint) as token from (select 1) as one
        left join sync.sources on sources.account_id = $1::bigint and sources.door = 'rest'`,
        [account],
      );
      output.hide(source.token);
      return { message: `account ${account}` };
    });
    await steps.run("function", "The webhook function answers", async () => {
      const state = await askDoor(door, context);
      return state === "open"
        ? { message: "without asking for a key" }
        : { state: "fail", message: DOOR_FIX[state].message, next: DOOR_FIX[state].next };
    });
    await steps.run(
      "gold_replies",
      "The gold-reply function answers",
      () => checkGoldReplies(connection, context),
    );
    await steps.run("chatwoot", "Chatwoot answers", async () => {
      const told = await askChatwoot(source, { accountId: accountId ?? "" }, context);
      version = told.version;
      secrets = told.secret === null ? [] : [told.secret];
      return { message: `version ${told.version}, with a webhook that leads here` };
    }, { after: ["sql"] });
    // Where Chatwoot does not answer, what this machine knows tells whether the rest is well.
    if (version === null && accountId !== null) secrets = await knownWebhookSecrets(connection, accountId, context);
    await steps.run(
      "refused",
      "A webhook without proof is refused",
      () => checkRefusals(door, { accountId: accountId ?? "1", secret: secrets[0] ?? null }, context),
      { after: ["function"] },
    );
    await steps.run("accepted", "A signed webhook is accepted, and once only", async () => {
      if (secrets.length === 0) return { state: "skipped", message: "no secret is known here; Chatwoot has it" };
      return await checkAccepted(door, { accountId: accountId ?? "", secrets, deliveryId, connection }, context);
    }, { after: ["sql", "function"] });
    await steps.run("row_sql", "Its row is there, by SQL", async () => {
      const rows = await database.rows<{ outcome: string }>(
        "select outcome from inbox.deliveries where account_id = $1::bigint and delivery_id = $2",
        [accountId, deliveryId],
      );
      return rows.length === 1 ? { message: `outcome ${rows[0].outcome}` } : {
        state: "fail",
        message: "the function said it is stored, and it is not in this database",
        next: "OCC_API_URL and OCC_DB_URL lead to different projects: correct one of them.",
      };
    }, { after: ["accepted"] });
    await steps.run(
      "row_api",
      "Its row is there, by the Data API",
      () => checkRow(connection, { accountId: accountId ?? "", deliveryId }, context),
      { after: ["accepted"] },
    );
    await steps.run("sync", "The sync reaches Chatwoot", () => checkSync(accountId ?? "", source, database), {
      after: ["sql"],
    });
    await steps.run("cron", "Cron is alive", () => checkCron(database, connection, context), { after: ["sql"] });
    await steps.run("jobs", "The jobs end well", () => checkJobs(database), { after: ["cron"] });
    if (options.write && conversation !== null) {
      await steps.run("note", "A private note is posted and removed", async () => {
        const { base_url: url, token } = source;
        if (url === null || token === null || accountId === null) throw notConnected(accountId ?? "");
        return await checkNote(createClient({ url, token, accountId }, context), conversation, context);
      }, { after: ["chatwoot"] });
    }
    await steps.run("health", "Health is green", () => readHealth(accountId ?? "", database), { after: ["sql"] });
  }, { statementSeconds: 60 });

  throwIfInterrupted(context);
  const finishedAt = outside.now();
  const passed = steps.exit() === EXIT.fine;
  const evidence = {
    tool: "occ smoke",
    version: await readVersion(connection),
    started_at: startedAt.toISOString(),
    finished_at: finishedAt.toISOString(),
    passed,
    installation: {
      account: accountId,
      api: connection.apiUrl,
      database: readDatabaseUrl(connection.dbUrl).host,
      chatwoot: source.base_url,
      chatwoot_version: version,
      delivery: deliveryId,
    },
    steps: steps.steps,
  };
  const folder = options.evidence === undefined
    ? join(connection.settings.home, "evidence")
    : pathOf(outside, options.evidence);
  const files = await writeEvidence(folder, evidence, output);
  const seconds = (finishedAt.getTime() - startedAt.getTime()) / 1000;
  const failed = steps.steps.filter(({ state }) => state === "fail");
  output.line();
  output.line(
    passed
      ? `All is well, in ${seconds.toFixed(1)} seconds. Evidence: ${files.join(", ")}`
      : `${failed.length} of ${steps.steps.length} steps failed. Evidence: ${files.join(", ")}`,
  );
  return { exit: steps.exit(), data: { ...evidence, evidence: files } };
}

const notConnected = (accountId: string) =>
  new Problem(
    EXIT.finding,
    "The account has no Chatwoot address and token here.",
    `occ connect --account ${accountId}`,
  );

async function askChatwoot(
  { base_url, token }: Source,
  { accountId }: { accountId: string },
  context: Context,
): Promise<{ version: string; secret: string | null }> {
  if (base_url === null || token === null) throw notConnected(accountId);
  const server = await findServer(readBaseUrl(base_url), context);
  const webhooks = await createClient({ url: base_url, token, accountId }, context).webhooks();
  const webhook = webhooks.find(({ url }) => leadsHere(url));
  if (webhook === undefined) {
    throw new Problem(EXIT.finding, "Chatwoot has no webhook that leads here.", `occ connect --account ${accountId}`);
  }
  return { version: server.version, secret: webhook.secret ?? null };
}

const HOUR_SECONDS = 3600;

async function checkRefusals(
  door: string,
  { accountId, secret }: { accountId: string; secret: string | null },
  context: Context,
): Promise<Found> {
  const body = harmless(accountId);
  const now = Math.floor(context.outside.now().getTime() / 1000);
  const attempts: [string, { secret: string | null; timestamp?: number }][] = [
    ["unsigned", { secret: null }],
    ["signed with a wrong secret", { secret: randomUUID() }],
    ...(secret === null ? [] : [
      ["an hour old", { secret, timestamp: now - HOUR_SECONDS }] as [string, { secret: string; timestamp: number }],
    ]),
  ];
  for (const [what, attempt] of attempts) {
    const { status, said } = await deliver(
      door,
      { ...attempt, body, deliveryId: `occ-smoke-${randomUUID()}` },
      context,
    );
    if (status === 401 && said === "OC401") continue;
    return {
      state: "fail",
      message: `one that is ${what} was answered ${status} ${said}, and not 401`,
      next: status >= 200 && status < 300
        ? "Whoever knows the address can write here: deploy the function of this checkout, npx supabase functions deploy chatwoot-webhook --use-api"
        : "Look at the function's log.",
    };
  }
  return { message: attempts.map(([what]) => what).join("; ") };
}

async function checkAccepted(
  door: string,
  about: { accountId: string; secrets: string[]; deliveryId: string; connection: Connection },
  context: Context,
): Promise<Found> {
  const { accountId, secrets, deliveryId, connection } = about;
  const send = (secret: string) => deliver(door, { secret, deliveryId, body: harmless(accountId) }, context);
  let [secret] = secrets;
  let first = await send(secret);
  // One, where Chatwoot told which; of those that this machine knows one may not be in force yet.
  for (const other of secrets.slice(1)) {
    if (first.status !== 401) break;
    secret = other;
    first = await send(other);
  }
  if (first.status === 401) {
    return {
      state: "fail",
      message: "the function does not know the secret with which Chatwoot signs",
      next: `occ connect --account ${accountId}${
        connection.isLocal ? ", then restart npm start" : ""
      }; why: occ webhook verify`,
    };
  }
  if (first.status !== 200) {
    return {
      state: "fail",
      message: `the function answered ${first.status} ${first.said}`,
      next: first.said === "OC503"
        ? "The database refused it: occ doctor, then the function's log."
        : "Look at the function's log.",
    };
  }
  const again = await send(secret);
  if (again.said !== "duplicate") {
    return { state: "fail", message: `a second copy was answered ${again.status} ${again.said}`, next: "occ doctor" };
  }
  return { message: `in ${Math.round(first.milliseconds)} ms` };
}

const Rows = z.array(z.looseObject({ outcome: z.string() }));

async function checkRow(
  connection: Connection,
  { accountId, deliveryId }: { accountId: string; deliveryId: string },
  context: Context,
): Promise<Found> {
  const answer = await request({
    who: "The stack",
    url:
      `${connection.apiUrl}/rest/v1/deliveries?select=outcome&account_id=eq.${accountId}&delivery_id=eq.${deliveryId}`,
    headers: backendHeaders(connection, "api"),
    outside: context.outside,
  });
  const rows = Rows.safeParse(parseJson(answer.text));
  if (answer.status === 200 && rows.success && rows.data.length === 1) {
    return { message: `outcome ${rows.data[0].outcome}` };
  }
  return answer.status === 401
    ? {
      state: "fail",
      message: "the Data API does not take the secret key",
      next: "Set OCC_SECRET_KEY to the project's secret key.",
    }
    : {
      state: "fail",
      message: `the Data API answered ${answer.status}`,
      next: "occ doctor: is api exposed, are all grants there?",
    };
}

async function checkSync(accountId: string, { base_url, state, token }: Source, database: Database): Promise<Found> {
  if (base_url === null || token === null) throw notConnected(accountId);
  const began = performance.now();
  const [answer] = await database.rows<{ kind: string | null; problem: string | null; hint: string | null }>(
    `select kind, problem, hint from sync.rest_request($1::bigint, 'GET', '/api/v1/profile', null, null,
      clock_timestamp(), clock_timestamp() + interval '15 seconds')`,
    [accountId],
  );
  if (answer.kind !== null) {
    return {
      state: "fail",
      message: answer.problem ?? answer.kind,
      next: answer.kind === "transport" || answer.kind === "timeout"
        ? `Look whether Chatwoot runs at ${base_url}; once it does, the sync goes on by itself.`
        : answer.hint ?? `occ connect --account ${accountId}`,
    };
  }
  if (state !== "active") {
    return {
      state: "fail",
      message: `it does, but the sync is ${state}`,
      next: `select api.resume_sync(${accountId}, 'rest');`,
    };
  }
  return { message: `from inside the database, in ${Math.round(performance.now() - began)} ms` };
}

const FRESH_SECONDS = 90;
const PROBE = "occ-smoke";
const PROBE_SECONDS = 10;

// Its runs tell; where there are none yet, as just after a start, a job of our own that runs each second does.
async function checkCron(database: Database, connection: Connection, context: Context): Promise<Found> {
  const last = async () => {
    const [{ age }] = await database.rows<{ age: number | null }>(
      "select extract(epoch from clock_timestamp() - max(start_time))::float8 as age from cron.job_run_details",
    );
    return age;
  };
  const dead: Found = {
    state: "fail",
    message: "no job is started any more",
    next: "Hosted: dashboard, Integrations, Cron; restart the project if it stays so. Local: restart npm start.",
  };
  const age = await last();
  if (age !== null && age < FRESH_SECONDS) return { message: `the last job started ${Math.round(age)} seconds ago` };
  try {
    await database.rows("select cron.schedule($1, '1 second', 'select 1')", [PROBE]);
  } catch {
    // Versions before 1.5 know no seconds; then a minute job is overdue.
    return dead;
  }
  try {
    for (let waited = 0; waited < PROBE_SECONDS; waited += 0.5) {
      await pause(500, context);
      const now = await last();
      if (now !== null && now < PROBE_SECONDS) return { message: "a job of each second was started" };
    }
    return dead;
  } finally {
    // Over a connection of its own, since Ctrl-C ends the other one.
    const outside = withoutCtrlC(context.outside);
    await withDatabase(
      connection.dbUrl,
      { ...context, outside },
      (own) => own.rows("select cron.unschedule($1) from cron.job where jobname = $1", [PROBE]),
    );
  }
}

async function checkJobs(database: Database): Promise<Found> {
  const rows = await database.rows<{ jobname: string; status: string | null; return_message: string | null }>(
    `select jobs.jobname, runs.status, runs.return_message
    from cron.job as jobs
    left join lateral (
      select details.status, details.return_message from cron.job_run_details as details
      where details.jobid = jobs.jobid and details.end_time is not null
        -- Cut off as the server stopped, which is no fault of the job.
        and details.return_message is distinct from 'server restarted'
      order by details.start_time desc limit 1
    ) as runs on true
    where jobs.active and jobs.jobname <> $1 order by jobs.jobname`,
    [PROBE],
  );
  const failed = rows.filter(({ status }) => status === "failed");
  if (failed.length > 0) {
    return {
      state: "fail",
      message: `${failed.map(({ jobname }) => jobname).join(", ")} failed: ${
        (failed[0].return_message ?? "").split("\n")[0].slice(0, 200)
      }`,
      next: "occ doctor",
    };
  }
  const run = rows.filter(({ status }) => status !== null).length;
  return { message: `${run} of ${rows.length} have run, the last time well` };
}

async function checkNote(
  client: ReturnType<typeof createClient>,
  conversation: string,
  context: Context,
): Promise<Found> {
  const id = await client.postNote(conversation, "A smoke test of the Operator Control Center; removed at once.");
  try {
    throwIfInterrupted(context);
  } finally {
    // Whatever happens: nothing stays in the conversation.
    await client.removeMessage(conversation, id);
  }
  return { message: `in conversation ${conversation}` };
}

async function readVersion({ settings }: Connection): Promise<string> {
  const text = await readFile(join(settings.projectRoot, "package.json"), "utf8").catch(() => "{}");
  return z.looseObject({ version: z.string() }).safeParse(parseJson(text)).data?.version ?? "unknown";
}
