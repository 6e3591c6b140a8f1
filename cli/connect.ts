// occ connect: everything checked first, then the webhook, its secret, the token and the sync, and a delivery as proof.
import { createHash } from "node:crypto";
import type { Command } from "commander";
import { demoToken } from "../local/demo.ts";
import { isPrivateHost } from "../local/private-host.ts";
import type { Finish } from "./program.ts";
import {
  CLASSIC_EVENTS,
  createClient,
  findServer,
  isAtLeast,
  MAY_ALLOW_PRIVATE_SINCE,
  type Profile,
  readBaseUrl,
  REFUSES_PRIVATE_SINCE,
  type Server,
  SIGNS_SINCE,
  Unprocessable,
  WANTED_EVENTS,
  type Webhook,
} from "./shared/chatwoot.ts";
import { type Connection, type Database, findConnection, functionsUrl, withDatabase } from "./shared/connection.ts";
import { askDoor, deliver, DOOR_FIX, harmless, SLUG } from "./shared/door.ts";
import { openSecretStore } from "./shared/function-secrets.ts";
import { readAccountId, withConnection } from "./shared/options.ts";
import { ask, type Context, type Finished, needSecret, pause, throwIfInterrupted } from "./shared/outside.ts";
import { addDefaultPolicy, NO_PROMISE, readPolicies } from "./shared/policies.ts";
import { EXIT, Problem } from "./shared/problem.ts";

interface Options {
  chatwootUrl?: string;
  account?: string;
  token?: string;
  tokenStdin?: boolean;
  webhookUrl?: string;
  allowPrivate?: boolean;
  replaceSecrets?: boolean;
  slaPolicy: boolean;
  dbUrl?: string;
  apiUrl?: string;
  secretKey?: string;
}

export function addConnect(program: Command, finish: Finish): Command {
  const command = withConnection(program.command("connect"))
    .description("connect a Chatwoot account: webhook, secret, token and sync; repeating it changes nothing")
    .option("--chatwoot-url <url>", "where Chatwoot answers (OCC_CHATWOOT_URL)")
    .option("--account <id>", "the Chatwoot account (OCC_CHATWOOT_ACCOUNT)")
    .option("--token <token>", "an administrator's access token (better: OCC_CHATWOOT_TOKEN)")
    .option("--token-stdin", "read the token from standard input")
    .option(
      "--webhook-url <url>",
      "the address at which Chatwoot reaches the webhook function, where it is another one",
    )
    .option("--allow-private", "let the sync reach a Chatwoot in your own network")
    .option(
      "--replace-secrets",
      "hosted: set the function's secrets even where others are there that this machine lacks",
    )
    .option("--no-sla-policy", "leave an account without any SLA policy as it is, and promise nothing")
    .addHelpText(
      "after",
      `
On the local stack nothing needs to be given: it connects the Chatwoot of npm start.

Example:
  OCC_CHATWOOT_TOKEN=… npm run occ -- connect --chatwoot-url https://chat.example.com --account 1`,
    );
  command.action((options: Options) => finish((context) => connect(options, context))());
  return command;
}

const ADMINISTRATOR_ONLY = [
  "register the webhook (occ connect)",
  "read answers to satisfaction surveys (CSAT in analytics)",
  "read Chatwoot's reporting events",
  "see conversations of inboxes it does not belong to (the sync would miss them)",
];

async function connect(options: Options, context: Context): Promise<Finished> {
  const { output, outside: { env } } = context;
  const steps: { step: string; state: "unchanged" | "changed" | "note"; message: string }[] = [];
  const tell = (step: string, message: string, state: "unchanged" | "changed" | "note" = "unchanged") => {
    steps.push({ step, state, message: output.clean(message) });
    output.line(`${state === "note" ? "!" : state === "changed" ? "+" : "✔"} ${message}`);
  };

  // Nothing is written before all of this holds.
  const chosenUrl = options.chatwootUrl ?? env.OCC_CHATWOOT_URL;
  if (chosenUrl !== undefined) readBaseUrl(chosenUrl);
  const chosenAccount = options.account ?? env.OCC_CHATWOOT_ACCOUNT;
  if (chosenAccount !== undefined) readAccountId(chosenAccount);
  const connection = await findConnection(options, context, { api: true });
  const isDemo = connection.stack !== null && chosenUrl === undefined;
  const url = readBaseUrl(
    chosenUrl ?? connection.stack?.demo.chatwoot_url ??
      await answered(context, "Chatwoot's address:", "--chatwoot-url"),
  );
  const accountId = readAccountId(
    chosenAccount ?? (isDemo ? connection.stack?.demo.account_id : undefined) ??
      await answered(context, "Account (the number in /app/accounts/<number>):", "--account"),
  );
  const isTokenGiven = options.token !== undefined || options.tokenStdin || Boolean(env.OCC_CHATWOOT_TOKEN);
  const token = isDemo && !isTokenGiven ? await findDemoToken(connection, url, context) : await needSecret(context, {
    name: "the access token",
    flag: { name: "--token", value: options.token },
    fromInput: options.tokenStdin,
    inputFlag: "--token-stdin",
    variable: "OCC_CHATWOOT_TOKEN",
  });
  const webhookUrl = readWebhookUrl(options.webhookUrl ?? `${functionsUrl(connection)}/${SLUG}`);
  const client = createClient({ url, accountId, token }, context);

  const server = await findServer(url, context);
  tell(
    "chatwoot",
    `Chatwoot ${server.version} answers at ${url} in ${Math.round(server.milliseconds)} ms; it has ${server.health}.`,
  );
  const profile = await client.profile();
  const account = checkProfile(profile, accountId);
  tell("token", `The token is ${profile.name}'s, administrator of account ${accountId} (${account.name}).`);
  if (!isAtLeast(server.version, SIGNS_SINCE)) throw unsigned(server);
  const before = await client.webhooks();
  const stored = await withDatabase(connection.dbUrl, context, (database) => readStored(database, accountId));
  checkPrivate({ url, connection, options, isAllowed: stored.allows_private });
  await checkDoor(connection, context, tell);
  const store = await openSecretStore(connection, { accountId, replace: options.replaceSecrets === true }, context);
  throwIfInterrupted(context);

  // From here on things change, each step whole, and each found as done when this is run again.
  const { webhook, change } = await saveWebhook(client, { before, url: webhookUrl });
  tell("webhook", change.message, change.isChanged ? "changed" : "unchanged");
  const secret = webhook.secret ?? null;
  if (secret === null || secret === "") throw unsigned(server);
  const isSecretNew = await store.keep(secret);
  tell(
    "secret",
    isSecretNew ? `Its secret is now in ${store.place}.` : "Its secret is known already.",
    isSecretNew ? "changed" : "unchanged",
  );
  throwIfInterrupted(context);
  const changes = await withDatabase(
    connection.dbUrl,
    context,
    (database) =>
      keepInDatabase(database, { accountId, url, token, mayAllow: mayAllowPrivate(url, connection, options) }),
  );
  tell(
    "token_kept",
    changes.token ? "The token is now in Vault." : "The token is in Vault already.",
    changes.token ? "changed" : "unchanged",
  );
  tell(
    "sync",
    changes.source ? `The sync now reads ${url}.` : `The sync reads ${url} already.`,
    changes.source ? "changed" : "unchanged",
  );
  if (changes.resumed) tell("resumed", "The sync had stopped, and goes on.", "changed");
  throwIfInterrupted(context);
  const promise = await withDatabase(
    connection.dbUrl,
    context,
    (database) => keepPromise(database, { accountId, isWanted: options.slaPolicy }),
  );
  tell("sla_policy", promise.message, promise.state);
  const note = privateNote(server, webhookUrl);
  if (note !== null) tell("private_address", note, "note");

  await proveDelivery({ connection, accountId, secret, isSecretNew, webhook }, context, tell);
  const changed = steps.filter(({ state }) => state === "changed").length;
  output.line();
  output.line(changed === 0 ? "Connected; nothing had to be changed." : "Connected. Next: npm run occ -- smoke");
  return { exit: EXIT.fine, data: { account_id: accountId, chatwoot_version: server.version, changed, steps } };
}

async function answered(context: Context, question: string, flag: string): Promise<string> {
  const answer = await ask(context, question);
  if (answer !== null && answer !== "") return answer;
  throw new Problem(EXIT.usage, `${flag} is missing.`, `Give ${flag}; see occ connect --help.`);
}

async function findDemoToken(connection: Connection, url: string, { output }: Context): Promise<string> {
  const token = await demoToken(connection.dbUrl);
  if (token === null) {
    throw new Problem(
      EXIT.unreachable,
      `The stack has no Chatwoot of its own at ${url}.`,
      "Name yours: --chatwoot-url, --account and OCC_CHATWOOT_TOKEN.",
    );
  }
  output.hide(token);
  return token;
}

function readWebhookUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) && new URL(text).username === "") return text;
  throw new Problem(EXIT.usage, "--webhook-url is no URL Chatwoot could call.", "Give a full https:// URL.");
}

function checkProfile(profile: Profile, accountId: string) {
  const account = profile.accounts.find(({ id }) => String(id) === accountId);
  if (account === undefined) {
    const known = profile.accounts.map(({ id, name }) => `${id} (${name})`).join(", ");
    throw new Problem(
      EXIT.notAllowed,
      `The token is ${profile.name}'s, who does not belong to account ${accountId}${
        known === "" ? "" : ` but to ${known}`
      }.`,
      "Give the account of the token with --account, or a token of somebody who belongs to it.",
    );
  }
  if (account.status === "suspended") {
    throw new Problem(EXIT.notAllowed, `Account ${accountId} is suspended in Chatwoot.`, "Have it reactivated there.");
  }
  if (account.role !== "administrator") {
    const permissions = account.permissions?.filter((permission) => permission !== account.role) ?? [];
    throw new Problem(
      EXIT.notAllowed,
      `The token is ${profile.name}'s, ${account.role ?? "without a role"} in account ${accountId}${
        permissions.length > 0 ? ` (${permissions.join(", ")})` : ""
      }, and may not: ${ADMINISTRATOR_ONLY.join("; ")}.`,
      "Use the access token of an administrator: Chatwoot, profile settings, Access token.",
    );
  }
  return account;
}

interface Stored {
  allows_private: boolean;
}

async function readStored(database: Database, accountId: string): Promise<Stored> {
  const [stored] = await database.rows<Stored>("select sync.allows_private_hosts($1::bigint) as allows_private", [
    accountId,
  ]);
  return stored;
}

// A Chatwoot beside the stack on this machine is nobody's to guard against.
const mayAllowPrivate = (url: string, { isLocal }: Connection, { allowPrivate }: Options): boolean =>
  isPrivateHost(new URL(url).hostname) && (isLocal || allowPrivate === true);

function checkPrivate(
  { url, connection, options, isAllowed }: {
    url: string;
    connection: Connection;
    options: Options;
    isAllowed: boolean;
  },
): void {
  if (!isPrivateHost(new URL(url).hostname) || isAllowed || mayAllowPrivate(url, connection, options)) return;
  throw new Problem(
    EXIT.notAllowed,
    `${url} is an address of a private network, and the sync reaches none by default.`,
    "Where the project's database is in that network too, add --allow-private (it sets sync_private_hosts).",
  );
}

type Tell = (step: string, message: string, state?: "unchanged" | "changed" | "note") => void;

async function checkDoor(connection: Connection, context: Context, tell: Tell): Promise<void> {
  const state = await askDoor(`${functionsUrl(connection)}/${SLUG}`, context);
  if (state === "open") return tell("function", "The webhook function answers.");
  // Without its secrets it cannot start, and this run brings them.
  if (state === "broken" && !connection.isLocal) {
    return tell("function", "The webhook function does not start yet; it has no secret.", "note");
  }
  throw new Problem(EXIT.finding, DOOR_FIX[state].message, DOOR_FIX[state].next);
}

const sameSet = (one: readonly string[], other: readonly string[]) =>
  one.length === other.length && one.every((item) => other.includes(item));

async function saveWebhook(
  client: ReturnType<typeof createClient>,
  { before, url }: { before: Webhook[]; url: string },
): Promise<{ webhook: Webhook; change: { isChanged: boolean; message: string } }> {
  const placeOf = (text: string) => URL.canParse(text) ? new URL(text).origin + new URL(text).pathname : text;
  // The account's number may follow, which narrows the search for its secret.
  const candidates = before.filter((webhook) => placeOf(webhook.url).replace(/\/\d+$/, "") === placeOf(url));
  const existing = candidates.find((webhook) => webhook.url === url) ?? candidates[0];
  const isAsked = (subscriptions: string[]) =>
    existing !== undefined && sameSet(existing.subscriptions ?? [], subscriptions);
  const extra = candidates.length > 1
    ? ` ${candidates.length} webhooks lead there, so each event comes as often: delete the others in Chatwoot.`
    : "";
  if (isAsked(WANTED_EVENTS)) {
    return {
      webhook: existing,
      change: { isChanged: false, message: `Webhook ${existing.id} is there with the events that are needed.${extra}` },
    };
  }
  const save = (subscriptions: string[]) =>
    client.saveWebhook(existing?.id ?? null, {
      ...(existing === undefined ? { name: "Operator Control Center" } : {}),
      url: existing?.url ?? url,
      subscriptions,
    });
  let webhook: Webhook;
  try {
    webhook = await save(WANTED_EVENTS);
  } catch (error) {
    if (!(error instanceof Unprocessable)) throw error;
    // Versions before 3.2 know no inbox events.
    if (isAsked(CLASSIC_EVENTS)) {
      return { webhook: existing, change: { isChanged: false, message: `Webhook ${existing.id} is there.${extra}` } };
    }
    webhook = await save(CLASSIC_EVENTS);
  }
  return {
    webhook,
    change: {
      isChanged: true,
      message: existing === undefined
        ? `Webhook ${webhook.id} is made, with ${webhook.subscriptions?.length ?? WANTED_EVENTS.length} events.`
        : `Webhook ${webhook.id} now has the events that are needed.${extra}`,
    },
  };
}

function unsigned(server: Server): Problem {
  return new Problem(
    EXIT.finding,
    isAtLeast(server.version, SIGNS_SINCE)
      ? "Chatwoot gives no secret for this webhook, so it would not be signed."
      : `Chatwoot ${server.version} does not sign webhooks; ${SIGNS_SINCE} is the first that does.`,
    isAtLeast(server.version, SIGNS_SINCE)
      ? "Delete the webhook in Chatwoot (Settings, Integrations, Webhooks) and run this again: a new one gets a secret."
      : "Upgrade Chatwoot; until then put a secret of your own into CHATWOOT_WEBHOOK_URL_SECRETS and add ?secret=<it> to the webhook's URL (README, Connect Chatwoot).",
  );
}

async function keepInDatabase(
  database: Database,
  { accountId, url, token, mayAllow }: { accountId: string; url: string; token: string; mayAllow: boolean },
): Promise<{ token: boolean; source: boolean; resumed: boolean }> {
  await database.rows("begin");
  if (mayAllow) await database.rows("select ops.set_setting($1::bigint, 'sync_private_hosts', 'true')", [accountId]);
  const [before] = await database.rows<{ base_url: string | null }>(
    "select (select base_url from sync.sources where account_id = $1::bigint and door = 'rest') as base_url",
    [accountId],
  );
  const [after] = await database.rows<{ base_url: string }>("select api.set_rest_source($1::bigint, $2) as base_url", [
    accountId,
    url,
  ]);
  // After the source, since another server deletes the token of the one before.
  const [{ is_known }] = await database.rows<{ is_known: boolean }>(
    "select coalesce(sync.token($1::bigint) = $2, false) as is_known",
    [accountId, token],
  );
  if (!is_known) await database.rows("select api.set_sync_token($1::bigint, $2)", [accountId, token]);
  // Whoever connects anew has mended what it stopped for; a person's pause stays.
  const [{ is_stopped }] = await database.rows<{ is_stopped: boolean }>(
    "select state = 'stopped' as is_stopped from sync.sources where account_id = $1::bigint and door = 'rest'",
    [accountId],
  );
  if (is_stopped) await database.rows("select api.resume_sync($1::bigint, 'rest')", [accountId]);
  await database.rows("commit");
  return { token: !is_known, source: before.base_url !== after.base_url, resumed: is_stopped };
}

// Only where there never was one: what a team saved or retired is its own.
async function keepPromise(
  database: Database,
  { accountId, isWanted }: { accountId: string; isWanted: boolean },
): Promise<{ message: string; state: "unchanged" | "changed" | "note" }> {
  const { inForce, ever } = await readPolicies(database, accountId);
  if (inForce > 0) {
    return { message: `The account has ${inForce} SLA ${inForce === 1 ? "policy" : "policies"}.`, state: "unchanged" };
  }
  if (ever > 0) return { message: "The account's SLA policies are retired, and stay so.", state: "unchanged" };
  if (!isWanted) {
    return {
      message: `Account ${accountId}: ${NO_PROMISE}. The default: ${addDefaultPolicy(accountId)}`,
      state: "note",
    };
  }
  await database.rows("select api.add_default_sla_policy($1::bigint)", [accountId]);
  return {
    message: `Account ${accountId} had no SLA policy, and now has the default one: first response in 15 minutes of ` +
      "business hours (docs/sla.md changes it, --no-sla-policy leaves it out).",
    state: "changed",
  };
}

/** What to do where Chatwoot will refuse to call the webhook's address; null where it will not. */
export function privateNote(server: Pick<Server, "version">, webhookUrl: string): string | null {
  if (!isPrivateHost(new URL(webhookUrl).hostname) || !isAtLeast(server.version, REFUSES_PRIVATE_SINCE)) return null;
  const remedy = isAtLeast(server.version, MAY_ALLOW_PRIVATE_SINCE)
    ? "set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in Chatwoot's environment and restart it"
    : `upgrade Chatwoot to ${MAY_ALLOW_PRIVATE_SINCE} and set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true`;
  return `Chatwoot ${server.version} refuses to call private addresses, as ${
    new URL(webhookUrl).hostname
  } is (since ${REFUSES_PRIVATE_SINCE}): ${remedy}. npm start's own Chatwoot does call it.`;
}

const HOSTED_TRIES = 15;

async function proveDelivery(
  about: { connection: Connection; accountId: string; secret: string; isSecretNew: boolean; webhook: Webhook },
  context: Context,
  tell: Tell,
): Promise<void> {
  const { connection, accountId, secret, isSecretNew } = about;
  const url = `${functionsUrl(connection)}/${SLUG}`;
  // The same each time, so that repeating it adds no row.
  const deliveryId = `occ-connect-${
    createHash("sha256").update(`${accountId} ${about.webhook.id} ${secret}`).digest("hex").slice(0, 24)
  }`;
  const send = () => deliver(url, { secret, deliveryId, body: harmless(accountId) }, context);
  let delivered = await send();
  // A hosted project hands new secrets over within seconds.
  for (let tries = 0; delivered.status !== 200 && isSecretNew && !connection.isLocal && tries < HOSTED_TRIES; tries++) {
    context.output.progress(`Waiting until the function has its new secret … (${delivered.status})`);
    await pause(2_000, context);
    delivered = await send();
  }
  if (delivered.status === 401) {
    throw new Problem(
      EXIT.finding,
      "The webhook function does not know the secret of Chatwoot's webhook yet.",
      connection.isLocal
        ? "Restart the stack, which reads the file when it starts (Ctrl-C in its terminal, then npm start); then run occ connect again."
        : "Wait a minute and run occ connect again; if it stays so: npx supabase functions deploy chatwoot-webhook --use-api",
    );
  }
  if (delivered.status !== 200) {
    throw new Problem(
      EXIT.finding,
      `The webhook function answered ${delivered.status} ${delivered.said} to a test delivery.`,
      "Look at its log, and run occ doctor.",
    );
  }
  const rows = await withDatabase(
    connection.dbUrl,
    context,
    (database) =>
      database.rows("select outcome from inbox.deliveries where account_id = $1::bigint and delivery_id = $2", [
        accountId,
        deliveryId,
      ]),
  );
  if (rows.length === 0) {
    throw new Problem(
      EXIT.finding,
      "The test delivery was accepted, but its row is not in this database.",
      "OCC_API_URL and OCC_DB_URL lead to different projects: correct one of them.",
    );
  }
  tell(
    "delivery",
    `A signed test delivery was accepted in ${Math.round(delivered.milliseconds)} ms, and its row is there.`,
  );
}
