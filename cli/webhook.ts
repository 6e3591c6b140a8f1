// occ webhook sign | verify | send: what Chatwoot's signature is made of, and why one does not match.
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseEnv } from "node:util";
import type { Command } from "commander";
import { signatureHeaders } from "../local/chatwoot/sign.ts";
import { readKeys } from "../local/keys.ts";
import { readSettings } from "../local/settings.ts";
import { DEMO } from "../local/stack.ts";
import { isPrivateHost } from "../local/private-host.ts";
import type { Finish } from "./program.ts";
import { findConnection, functionsUrl, parseSecrets, secretsFile } from "./shared/connection.ts";
import { parseJson, request } from "./shared/http.ts";
import { readAccountId, readInstant, readWhole, withConnection } from "./shared/options.ts";
import { table } from "./shared/output.ts";
import { type Context, type Finished, pathOf, readInput, readSecret, throwIfInterrupted } from "./shared/outside.ts";
import { codeOf, EXIT, Problem } from "./shared/problem.ts";
import { EVENTS, samples } from "./shared/samples.ts";
import { explain, type NamedSecret, sign } from "./shared/signature.ts";

const BODY_LIMIT = 16 * 1024 * 1024;

interface SecretOptions {
  secret?: string[];
  secretStdin?: boolean;
  account?: string;
}

interface BodyOptions extends SecretOptions {
  file?: string;
}

interface VerifyOptions extends BodyOptions {
  signature?: string;
  timestamp?: string;
  headers?: string;
  tolerance: string;
  now?: string;
}

interface SendOptions extends SecretOptions {
  to?: string;
  event?: string[];
  yes?: boolean;
  dbUrl?: string;
  apiUrl?: string;
  secretKey?: string;
}

const collect = (value: string, before: string[] = []) => [...before, value];

const withSecret = (command: Command) =>
  command.option(
    "--secret <secret>",
    "the webhook's secret; again for a second one (better: OCC_WEBHOOK_SECRET)",
    collect,
  )
    .option("--secret-stdin", "read the secret from standard input")
    .option("--account <id>", "use only the known secrets of this account");

export function addWebhook(program: Command, finish: Finish): Command[] {
  const webhook = program.command("webhook").description("sign, verify and send webhooks as Chatwoot does")
    .addHelpText("after", `\nExample:\n  npm run occ -- webhook verify --file body.json --headers headers.txt`);
  const signing = withSecret(webhook.command("sign"))
    .description("print the headers with which Chatwoot would send a body")
    .option("--file <file>", "the body; standard input unless given")
    .option("--timestamp <seconds>", "seconds since 1970; now unless given")
    .addHelpText(
      "after",
      `
Example:
  printf '%s' '{"event":"message_created"}' | npm run --silent occ -- webhook sign > headers.txt`,
    );
  signing.action((options: BodyOptions & { timestamp?: string }) => finish((context) => signBody(options, context))());
  const verifying = withSecret(webhook.command("verify"))
    .description("say whether a signature matches, and if not, why")
    .option("--file <file>", "the body, byte for byte; standard input unless given")
    .option("--signature <text>", "the header X-Chatwoot-Signature")
    .option("--timestamp <text>", "the header X-Chatwoot-Timestamp")
    .option("--headers <file>", "a file with both headers, one a line")
    .option("--tolerance <seconds>", "how old a signature may be", "300")
    .option("--now <instant>", "when it was received; now unless given")
    .addHelpText(
      "after",
      `
Example:
  npm run occ -- webhook verify --file body.json --headers headers.txt`,
    );
  verifying.action((options: VerifyOptions) => finish((context) => verifyBody(options, context))());
  const sending = withConnection(withSecret(webhook.command("send")))
    .description("send a signed sample of every event type to a URL")
    .option("--to <url>", "where to; the project's own webhook function unless given")
    .option("--event <name>", "only this event; again for more", collect)
    .option("--yes", "send to a hosted project's own function, which keeps the samples as conversations")
    .addHelpText(
      "after",
      `
Example:
  npm run occ -- webhook send --to http://localhost:8000/hook --event message_created`,
    );
  sending.action((options: SendOptions) => finish((context) => sendSamples(options, context))());
  return [webhook, signing, verifying, sending];
}

async function readBody({ file, secretStdin }: BodyOptions, context: Context): Promise<Uint8Array> {
  if (file === undefined) {
    if (secretStdin) {
      throw new Problem(
        EXIT.usage,
        "Body and secret cannot both come from standard input.",
        "Give the body with --file.",
      );
    }
    if (context.outside.stdin.isTTY) {
      throw new Problem(EXIT.usage, "There is no body.", "Give it with --file, or pipe it in.");
    }
    return await readInput(context);
  }
  const path = pathOf(context.outside, file);
  try {
    if ((await stat(path)).size > BODY_LIMIT) {
      throw new Problem(
        EXIT.usage,
        `${file} is larger than 16 MiB, and no webhook is.`,
        "Give the body of one webhook.",
      );
    }
    return await readFile(path);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(EXIT.usage, `${file} cannot be read (${codeOf(error)}).`, "Check the name of the file.");
  }
}

// What was given; else every secret this machine knows, from the functions' file and of the demo account.
async function readSecrets(options: SecretOptions, context: Context): Promise<NamedSecret[]> {
  const { output, outside: { env } } = context;
  const given = options.secret ?? [];
  if (given.length > 0) {
    for (const secret of given) output.hide(secret);
    output.note("Note: --secret leaves the secret in your shell's history; better the variable OCC_WEBHOOK_SECRET.");
    return given.map((secret, index) => ({ name: given.length === 1 ? "the secret" : `secret ${index + 1}`, secret }));
  }
  if (options.secretStdin || env.OCC_WEBHOOK_SECRET) {
    const secret = await readSecret(context, {
      name: "the webhook's secret",
      fromInput: options.secretStdin,
      variable: "OCC_WEBHOOK_SECRET",
    });
    if (secret !== null && secret !== "") return [{ name: "the secret", secret }];
  }
  const only = options.account === undefined ? null : readAccountId(options.account);
  const settings = readSettings(env);
  const file = secretsFile({ settings }, context);
  const text = env.CHATWOOT_WEBHOOK_SECRETS ??
    parseEnv(await readFile(file, "utf8").catch(() => "")).CHATWOOT_WEBHOOK_SECRETS;
  const parsed = parseSecrets(text);
  if (parsed === null) {
    throw new Problem(
      EXIT.finding,
      "CHATWOOT_WEBHOOK_SECRETS is malformed.",
      'Write {"<account id>": ["<secret>"]}, as in .env.example.',
    );
  }
  const named = Object.entries(parsed).flatMap(([account, secrets]) =>
    secrets.map((secret, index) => ({
      account,
      name: `the ${["current", "previous"][index] ?? `${index + 1}.`} secret of account ${account}`,
      secret,
    }))
  );
  if (existsSync(join(settings.home, "keys.json"))) {
    const { demoWebhookSecret } = await readKeys(settings.home);
    if (!named.some(({ secret }) => secret === demoWebhookSecret)) {
      named.push({ account: DEMO.accountId, name: "the demo account's secret", secret: demoWebhookSecret });
    }
  }
  for (const { secret } of named) output.hide(secret);
  const found = named.filter(({ account }) => only === null || account === only);
  if (found.length > 0) return found;
  throw new Problem(
    EXIT.usage,
    only === null ? "There is no webhook secret to work with." : `There is no webhook secret of account ${only} here.`,
    "Set OCC_WEBHOOK_SECRET, pipe it in with --secret-stdin, or let occ connect read it from Chatwoot.",
  );
}

const nowSeconds = ({ outside }: Context) => Math.floor(outside.now().getTime() / 1000);

async function signBody(options: BodyOptions & { timestamp?: string }, context: Context): Promise<Finished> {
  const timestamp = options.timestamp === undefined
    ? nowSeconds(context)
    : readWhole(options.timestamp, "--timestamp", { from: 1, to: 99_999_999_999 });
  const [{ secret, name }] = await readSecrets(options, context);
  const body = await readBody(options, context);
  const signature = sign(body, { secret, timestamp });
  context.output.line("Content-Type: application/json");
  context.output.line(`X-Chatwoot-Timestamp: ${timestamp}`);
  context.output.line(`X-Chatwoot-Signature: ${signature}`);
  context.output.note(`Signed ${body.length} bytes with ${name}.`);
  return { exit: EXIT.fine, data: { timestamp, signature, bytes: body.length, secret: name } };
}

async function verifyBody(options: VerifyOptions, context: Context): Promise<Finished> {
  const toleranceSeconds = readWhole(options.tolerance, "--tolerance", { from: 1, to: 86_400 });
  const now = options.now === undefined
    ? context.outside.now()
    : readInstant(options.now, "--now", context.outside.now());
  const headers = options.headers === undefined ? "" : Buffer.from(
    await readBody({ file: options.headers }, context),
  ).toString("utf8");
  const header = (name: string) =>
    new RegExp(`^\\s*"?${name}"?\\s*[:=]\\s*"?([^"\\r\\n]*?)"?,?\\s*$`, "im").exec(headers)?.[1];
  const signature = options.signature ?? header("x-chatwoot-signature");
  const timestamp = options.timestamp ?? header("x-chatwoot-timestamp");
  if (signature === undefined || timestamp === undefined) {
    throw new Problem(
      EXIT.usage,
      `There is no ${signature === undefined ? "signature" : "timestamp"} to verify.`,
      "Give --signature and --timestamp, or --headers with a file that holds both headers.",
    );
  }
  const secrets = await readSecrets(options, context);
  const body = await readBody(options, context);
  const verdict = explain({ body, timestamp, signature }, secrets, { now, toleranceSeconds });
  context.output.line(`${verdict.ok ? "✔" : "✘"} ${verdict.message}`);
  if (!verdict.ok) context.output.line(`→ ${verdict.next}`);
  return { exit: verdict.ok ? EXIT.fine : EXIT.finding, data: { ...verdict, bytes: body.length } };
}

async function sendSamples(options: SendOptions, context: Context): Promise<Finished> {
  const { output, outside } = context;
  const asked = options.event ?? EVENTS;
  const unknown = asked.find((event) => !EVENTS.includes(event));
  if (unknown !== undefined) {
    throw new Problem(EXIT.usage, `There is no event "${unknown}".`, `The events: ${EVENTS.join(", ")}.`);
  }
  const accountId = readAccountId(options.account ?? DEMO.accountId);
  const to = await readTarget(options, context);
  const [{ secret, name }] = await readSecrets({ ...options, account: accountId }, context);
  output.note(`Sending ${asked.length} signed with ${name} to ${to.origin}${to.pathname}`);
  const rows: Record<string, unknown>[] = [];
  for (const { event, body } of samples({ accountId, now: outside.now() })) {
    if (!asked.includes(event)) continue;
    throwIfInterrupted(context, `Stopped by Ctrl-C after ${rows.length} of ${asked.length} samples.`);
    const bytes = Buffer.from(body);
    const answer = await request({
      who: "The receiver",
      url: to.href,
      method: "POST",
      headers: signatureHeaders(bytes, { secret, timestamp: nowSeconds(context), deliveryId: randomUUID() }),
      body: bytes,
      outside,
    });
    const said = parseJson(answer.text);
    const outcome = typeof said === "object" && said !== null
      ? "outcome" in said ? String(said.outcome) : "code" in said ? String(said.code) : ""
      : "";
    rows.push({ event, bytes: bytes.length, status: answer.status, outcome, ms: Math.round(answer.milliseconds) });
  }
  output.line(table(["event", "bytes", "status", "outcome", "ms"], rows));
  const refused = rows.filter(({ status }) => Number(status) < 200 || Number(status) > 299);
  const isFine = refused.length === 0;
  if (!isFine) {
    output.line(`✘ ${refused.length} of ${rows.length} were not accepted.`);
    output.line(
      refused.some(({ status }) => status === 401)
        ? "→ The receiver does not know this secret, or its clock is off: occ connect brings it the right one."
        : refused.some(({ status }) => status === 404)
        ? "→ Nothing is served at this address: npx supabase functions deploy chatwoot-webhook --use-api"
        : "→ Look at the receiver's log.",
    );
  } else output.line(rows.length === 1 ? "✔ It was accepted." : `✔ All ${rows.length} were accepted.`);
  return { exit: isFine ? EXIT.fine : EXIT.finding, data: { to: `${to.origin}${to.pathname}`, sent: rows } };
}

async function readTarget(options: SendOptions, context: Context): Promise<URL> {
  if (options.to === undefined) {
    const connection = await findConnection(options, context, { api: true });
    return check(new URL(`${functionsUrl(connection)}/chatwoot-webhook`), options);
  }
  if (!URL.canParse(options.to) || !/^https?:$/.test(new URL(options.to).protocol)) {
    throw new Problem(EXIT.usage, `"${options.to}" is no URL.`, "Give a full http:// or https:// URL with --to.");
  }
  return check(new URL(options.to), options);
}

function check(url: URL, { yes }: SendOptions): URL {
  if (yes || isPrivateHost(url.hostname) || !/\/functions\/v1\/|\/chatwoot-webhook/.test(url.pathname)) return url;
  throw new Problem(
    EXIT.usage,
    "That is a hosted project's own function: the samples would stay there as a conversation and a customer.",
    "Use occ smoke, which leaves no conversation; or add --yes if you mean it.",
  );
}
