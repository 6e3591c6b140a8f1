// The keys of one local stack, made at its first start: random, so that a published default opens nobody's database.
import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { UserError } from "./settings.ts";

const Keys = z.object({
  /** Signs and verifies user tokens (HS256), as Supabase Auth would. */
  jwtSecret: z.string().min(32),
  /** Opens the Data API as role anon. */
  publishableKey: z.string().startsWith("sb_publishable_"),
  /** Opens the Data API as role service_role. */
  secretKey: z.string().startsWith("sb_secret_"),
  /** Signs the demo account's webhooks. */
  demoWebhookSecret: z.string().length(24),
});
export type Keys = z.infer<typeof Keys>;

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const base58 = (length: number) => Array.from(randomBytes(length), (byte) => BASE58[byte % 58]).join("");

/** Reads the stack's keys, making them first where there are none. */
export async function readKeys(home: string): Promise<Keys> {
  const file = join(home, "keys.json");
  const text = await readFile(file, "utf8").catch(() => null);
  if (text !== null) {
    const parsed = Keys.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw new UserError(`${file} does not hold this stack's keys: run "npm run reset" to make new ones.`);
  }
  const keys: Keys = {
    jwtSecret: randomBytes(32).toString("base64url"),
    publishableKey: `sb_publishable_${randomBytes(18).toString("base64url")}`,
    secretKey: `sb_secret_${randomBytes(24).toString("base64url")}`,
    demoWebhookSecret: base58(24),
  };
  await mkdir(home, { recursive: true });
  await writeFile(file, JSON.stringify(keys, null, 2), { mode: 0o600 });
  return keys;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
