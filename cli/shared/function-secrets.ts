// Where the webhook function's secrets are kept: the local stack's file, or a hosted project's, through the Supabase CLI.
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { supabase } from "../../local/migrate.ts";
import { UserError } from "../../local/settings.ts";
import { type Connection, knownWebhookSecrets, parseSecrets, secretsFile } from "./connection.ts";
import { readOrEmpty, setVariable, writeWhole } from "./env-file.ts";
import { parseJson } from "./http.ts";
import type { Context } from "./outside.ts";
import { EXIT, Problem } from "./problem.ts";

const NAME = "CHATWOOT_WEBHOOK_SECRETS";
// As many as an account can need while webhooks are exchanged; older ones fall off the end.
const MOST_PER_ACCOUNT = 10;

const Listed = z.array(
  z.looseObject({ name: z.string(), value: z.string().optional(), digest: z.string().optional() }),
);

export interface SecretStore {
  /** Where it is kept, for people. */
  place: string;
  /** Makes the secret the account's first one; false when it already was known. Only whole files and values are written. */
  keep(secret: string): Promise<boolean>;
}

/** Checks everything that could go wrong before anything is written. */
export async function openSecretStore(
  connection: Connection,
  { accountId, replace }: { accountId: string; replace: boolean },
  context: Context,
): Promise<SecretStore> {
  const file = secretsFile(connection, context);
  const text = await readOrEmpty(file);
  const value = parseEnv(text)[NAME];
  const before = parseSecrets(value);
  if (before === null) {
    throw new Problem(
      EXIT.finding,
      `${NAME} in ${file} is malformed.`,
      'Write {"<account id>": ["<secret>"]}, as in .env.example, then try again.',
    );
  }
  for (const secret of Object.values(before).flat()) context.output.hide(secret);
  // Tried now with a value of the same form, so that a file nobody can change is found before Chatwoot is changed.
  setVariable(text, NAME, quote(before), file);
  const remote = connection.isLocal ? null : projectReference(connection);
  const hosted = remote === null ? null : await hostedDigest(connection, remote);
  const isKnownHere = hosted === null || hosted === digest(value ?? "");
  const known = connection.isLocal ? await knownWebhookSecrets(connection, accountId, context) : [];

  return {
    place: remote === null ? file : `the secrets of project ${remote}`,
    async keep(secret) {
      context.output.hide(secret);
      const after = withSecret(before, { accountId, secret });
      const json = JSON.stringify(after);
      if (remote === null) {
        // The demo account's own is added by the stack itself.
        if (known.includes(secret)) return false;
        await writeWhole(file, setVariable(text, NAME, quote(after), file));
        return true;
      }
      if (hosted === digest(json)) {
        if (value !== json) await writeWhole(file, setVariable(text, NAME, quote(after), file));
        return false;
      }
      if (!isKnownHere && !replace) {
        throw new Problem(
          EXIT.finding,
          `Project ${remote} holds webhook secrets that ${file} does not know, and setting new ones would drop them.`,
          "Bring the file from the machine that set them; or add --replace-secrets if this account is the only one.",
        );
      }
      await setHosted(connection, remote, after);
      // After the project: should this be interrupted in between, the next run finds both equal.
      await writeWhole(file, setVariable(text, NAME, quote(after), file));
      return true;
    },
  };
}

const digest = (value: string) => createHash("sha256").update(value).digest("hex");

// In single quotes, in which no reader of such files expands anything; JSON can do without them.
const quote = (secrets: Record<string, string[]>) => `'${JSON.stringify(secrets).replaceAll("'", "\\u0027")}'`;

function withSecret(before: Record<string, string[]>, { accountId, secret }: { accountId: string; secret: string }) {
  const others = Object.entries(before).filter(([account]) => account !== accountId);
  if (others.some(([, secrets]) => secrets.includes(secret))) {
    throw new Problem(
      EXIT.finding,
      "Another account holds the same webhook secret.",
      `Delete it there in ${NAME}: a secret tells whose webhook it is.`,
    );
  }
  // "<the secret>" of .env.example is no secret.
  const kept = (before[accountId] ?? []).filter((known) => known !== secret && !/^<.*>$/.test(known));
  const isFirst = before[accountId]?.[0] === secret;
  return isFirst ? before : { ...before, [accountId]: [secret, ...kept].slice(0, MOST_PER_ACCOUNT) };
}

function projectReference({ apiUrl }: Connection): string {
  const reference = /^https:\/\/([a-z0-9]{15,30})\.supabase\.(co|com|red)$/.exec(apiUrl ?? "")?.[1];
  if (reference !== undefined) return reference;
  throw new Problem(
    EXIT.usage,
    "The API's address does not name a Supabase project, so its secrets cannot be set.",
    "Give the address https://<reference>.supabase.co, also where the project has a domain of its own.",
  );
}

async function callCli(connection: Connection, args: string[]): Promise<string> {
  try {
    return await supabase(connection.settings.projectRoot, args);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const isLogin = /access token|not logged in|login|unauthorized|401/i.test(error.message);
    throw new Problem(
      isLogin ? EXIT.notAllowed : EXIT.unreachable,
      isLogin
        ? "The Supabase CLI is not logged in, or may not touch this project."
        : `The Supabase CLI failed: ${error.message.split("\n").slice(1).join(" ").trim().slice(0, 300)}`,
      isLogin
        ? "npx supabase login, then try again (in CI: SUPABASE_ACCESS_TOKEN)."
        : "Check the network, then try again.",
    );
  }
}

async function hostedDigest(connection: Connection, remote: string): Promise<string | null> {
  const told = await callCli(connection, ["secrets", "list", `--remote=${remote}`, "--output", "json"]);
  const list = Listed.safeParse(parseJson(/\[[\s\S]*\]/.exec(told)?.[0] ?? ""));
  if (!list.success) {
    throw new Problem(
      EXIT.finding,
      "The Supabase CLI's list of secrets has an unknown form.",
      "Run npm ci, so that the CLI is the version this project was made for.",
    );
  }
  const found = list.data.find(({ name }) => name === NAME);
  return found === undefined ? null : found.digest ?? found.value ?? "";
}

async function setHosted(connection: Connection, remote: string, secrets: Record<string, string[]>): Promise<void> {
  // By a file of our own and not as an argument, which every user of the machine could read.
  const folder = await mkdtemp(join(tmpdir(), "occ-secrets-"));
  const file = join(folder, `${randomBytes(4).toString("hex")}.env`);
  try {
    await writeFile(file, `${NAME}=${quote(secrets)}\n`, { mode: 0o600 });
    await callCli(connection, ["secrets", "set", `--remote=${remote}`, "--env-file", file, "--yes"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
