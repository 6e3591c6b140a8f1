// Which account a request speaks for, and how it proves it: by signature, or by a secret in its URL.
import type { Bytes } from "../_shared/body.ts";
import type { AccountSecret } from "./settings.ts";

const encoder = new TextEncoder();

export interface SigningKey {
  accountId: string;
  key: CryptoKey;
}

export interface UrlSecret {
  accountId: string;
  digest: ArrayBuffer;
}

/** A signature that has the right form and age; whether it is right only the body tells. */
export interface Signature {
  timestamp: string;
  signedAt: Date;
  bytes: Bytes;
}

/** Imports each secret once, so that a request costs one HMAC and no key set-up. The key is the secret as text. */
export function importSigningKeys(secrets: AccountSecret[]): Promise<SigningKey[]> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return Promise.all(secrets.map(async ({ accountId, secret }) => ({
    accountId,
    key: await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["verify"]),
  })));
}

export function digestUrlSecrets(secrets: AccountSecret[]): Promise<UrlSecret[]> {
  return Promise.all(secrets.map(async ({ accountId, secret }) => ({ accountId, digest: await sha256(secret) })));
}

/**
 * Reads the signature headers; null where they have not exactly the form Chatwoot sends: decimal seconds within the
 * tolerance, and lower-case hex. A header sent twice arrives joined by a comma and so has not that form either.
 */
export function readSignature(headers: Headers, clock: { now: Date; toleranceSeconds: number }): Signature | null {
  const timestamp = headers.get("x-chatwoot-timestamp") ?? "";
  // At most eleven digits: seconds stay so for three thousand years, and milliseconds have thirteen.
  if (!/^[1-9][0-9]{0,10}$/.test(timestamp)) return null;
  const seconds = Number(timestamp);
  // Chatwoot cuts its clock to the second, so ours is cut as well: 300 seconds are 300 on both sides.
  const age = Math.floor(clock.now.getTime() / 1000) - seconds;
  if (Math.abs(age) > clock.toleranceSeconds) return null;

  const hex = /^sha256=([0-9a-f]{64})$/.exec(headers.get("x-chatwoot-signature") ?? "")?.[1];
  if (hex === undefined) return null;
  const bytes = Uint8Array.from({ length: 32 }, (_, index) => parseInt(hex.slice(index * 2, index * 2 + 2), 16));
  return { timestamp, signedAt: new Date(seconds * 1000), bytes };
}

/** The account whose key made this signature over timestamp, full stop and body; null if none did. */
export async function findSigner(signature: Signature, signed: { body: Bytes; keys: SigningKey[] }) {
  const prefix = encoder.encode(`${signature.timestamp}.`);
  const message = new Uint8Array(prefix.length + signed.body.length);
  message.set(prefix);
  message.set(signed.body, prefix.length);
  for (const { accountId, key } of signed.keys) {
    if (await crypto.subtle.verify("HMAC", key, signature.bytes, message)) return accountId;
  }
  return null;
}

/** The account whose secret stands in the URL; null if none does. */
export async function findUrlOwner(
  presented: string,
  known: { secrets: UrlSecret[]; timingSafeEqual: (one: ArrayBuffer, other: ArrayBuffer) => boolean },
) {
  // Digests have one length, and every secret is looked at, so the time taken says nothing about any of them.
  const digest = await sha256(presented);
  let owner: string | null = null;
  for (const secret of known.secrets) {
    if (known.timingSafeEqual(secret.digest, digest)) owner = secret.accountId;
  }
  return owner;
}

export function sha256(data: string | Bytes): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", typeof data === "string" ? encoder.encode(data) : data);
}
