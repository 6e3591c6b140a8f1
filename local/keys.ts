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
  /** Opens the gold-reply door. */
  demoGoldRepliesToken: z.string().min(24),
});
export type Keys = z.infer<typeof Keys>;

// A stack that is older than this key gets one, instead of losing its data to a reset.
const StoredKeys = Keys.partial({ demoGoldRepliesToken: true });

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const base58 = (length: number) => Array.from(randomBytes(length), (byte) => BASE58[byte % 58]).join("");
const token = () => randomBytes(24).toString("base64url");
const write = (file: string, keys: Keys) => writeFile(file, JSON.stringify(keys, null, 2), { mode: 0o600 });

/** Reads the stack's keys, making them first where there are none. */
export async function readKeys(home: string): Promise<Keys> {
  const file = join(home, "keys.json");
  const text = await readFile(file, "utf8").catch(() => null);
  if (text !== null) {
    const given = StoredKeys.safeParse(parseJson(text));
    if (given.success) {
      const kept = { ...given.data, demoGoldRepliesToken: given.data.demoGoldRepliesToken ?? token() };
      if (given.data.demoGoldRepliesToken === undefined) await write(file, kept);
      return kept;
    }
    throw new UserError(`${file} does not hold this stack's keys: run "npm run reset" to make new ones.`);
  }
  const keys: Keys = {
    jwtSecret: randomBytes(32).toString("base64url"),
    publishableKey: `sb_publishable_${randomBytes(18).toString("base64url")}`,
    secretKey: `sb_secret_${randomBytes(24).toString("base64url")}`,
    demoWebhookSecret: base58(24),
    demoGoldRepliesToken: token(),
  };
  await mkdir(home, { recursive: true });
  await write(file, keys);
  return keys;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
