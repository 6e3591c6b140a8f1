// The function's environment, parsed once as it loads. Messages name the variable and never show its value.
import { z } from "zod";

const LARGEST_BIGINT = 2n ** 63n - 1n;
// An unsigned stranger's request costs one HMAC for each secret, so their number is the price of a forged request.
const MOST_SECRETS = 200;
const EXAMPLE = `{"1": ["<current secret>", "<previous secret>"]}`;

const AccountId = z.string().refine(
  (text) => /^[1-9][0-9]{0,18}$/.test(text) && BigInt(text) <= LARGEST_BIGINT,
  "an account id is a positive whole number, written as text",
);
const Secret = z.string()
  .min(16, "a secret has at least 16 characters (Chatwoot makes 24 or 32)")
  .max(512, "a secret has at most 512 characters")
  .refine((text) => text.trim() === text, "a secret has no space before or after it");
const Secrets = z.record(AccountId, z.array(Secret).min(1, "an account has at least one secret"));

/** One secret and the one account it speaks for. */
export interface AccountSecret {
  accountId: string;
  secret: string;
}

export interface Settings {
  signingSecrets: AccountSecret[];
  /** Opt-in: secrets that stand in the URL of senders which never sign. */
  urlSecrets: AccountSecret[];
  toleranceSeconds: number;
}

/** Reads the webhook's settings; throws an Error whose message says which variable to set, and to what. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const signing = env.CHATWOOT_WEBHOOK_SECRETS;
  if (signing === undefined || signing === "") {
    throw new Error(`CHATWOOT_WEBHOOK_SECRETS is not set. Set it to your accounts' webhook secrets: ${EXAMPLE}`);
  }
  const url = env.CHATWOOT_WEBHOOK_URL_SECRETS;
  return {
    signingSecrets: parseSecrets("CHATWOOT_WEBHOOK_SECRETS", signing),
    urlSecrets: url === undefined || url === "" ? [] : parseSecrets("CHATWOOT_WEBHOOK_URL_SECRETS", url),
    toleranceSeconds: parseTolerance(env.CHATWOOT_WEBHOOK_TOLERANCE_SECONDS),
  };
}

function parseSecrets(name: string, text: string): AccountSecret[] {
  const fault = (what: string) => new Error(`${name} is malformed: ${what}. Example: ${EXAMPLE}`);
  const parsed = Secrets.safeParse(parseJson(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw fault(describe(issue));
  }
  const secrets = Object.entries(parsed.data).flatMap(([accountId, list]) =>
    list.map((secret) => ({ accountId, secret }))
  );
  if (secrets.length === 0) throw fault("it names no account");
  if (secrets.length > MOST_SECRETS) throw fault(`it holds ${secrets.length} secrets, and ${MOST_SECRETS} are allowed`);
  // The secret alone tells whose webhook it is.
  const owners = new Map<string, string>();
  for (const { accountId, secret } of secrets) {
    const owner = owners.get(secret);
    if (owner !== undefined) {
      throw fault(`accounts ${owner} and ${accountId} hold the same secret, or one holds it twice`);
    }
    owners.set(secret, accountId);
  }
  return secrets;
}

// Written by hand, since zod's own messages may quote the input, and the input is secret.
function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === "invalid_key") return "an account id is a positive whole number, written as text";
  if (issue.code === "invalid_type" && issue.path.length === 0) return "it is no JSON object";
  if (issue.code === "invalid_type" && issue.path.length === 1) return "each account id has an array of secrets";
  if (issue.code === "invalid_type") return "each secret is text in quotes";
  return issue.message;
}

function parseTolerance(text: string | undefined): number {
  if (text === undefined || text === "") return 300;
  const seconds = Number(text);
  if (/^[0-9]{1,5}$/.test(text) && seconds >= 1 && seconds <= 86_400) return seconds;
  throw new Error(
    "CHATWOOT_WEBHOOK_TOLERANCE_SECONDS is malformed: it is a whole number of seconds from 1 to 86400. Example: 300",
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
