// Why a webhook's signature does not match: by trying what people and proxies are known to do to body, secret and clock.
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import { parseJson } from "./http.ts";

export interface Signed {
  body: Uint8Array;
  /** X-Chatwoot-Timestamp, as it came. */
  timestamp: string;
  /** X-Chatwoot-Signature, as it came. */
  signature: string;
}

export interface NamedSecret {
  /** Which one it is, for people; never the secret itself. */
  name: string;
  secret: string;
}

export interface Verdict {
  /** Whether the signature is right and recent enough, by the first secret. */
  ok: boolean;
  /** A word for machines. */
  reason:
    | "valid"
    | "wrong_secret"
    | "wrong_clock"
    | "malformed_signature"
    | "malformed_timestamp"
    | "body_only"
    | "no_separator"
    | "trailing_newline"
    | "reserialised"
    | "re_encoded"
    | "secret_padded"
    | "secret_decoded"
    | "unknown";
  message: string;
  next: string;
}

/** `sha256=` and the HMAC over timestamp, a full stop and the raw body, as Chatwoot makes it. */
export function sign(body: Uint8Array, { secret, timestamp }: { secret: string; timestamp: number }): string {
  return `sha256=${createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest("hex")}`;
}

type Variant = [reason: Verdict["reason"], what: string, value: Uint8Array];

const text = (value: string): Uint8Array => Buffer.from(value);

/** Says whether the signature holds, and if not, why; the first secret is the one that should fit. */
export function explain(
  signed: Signed,
  secrets: NamedSecret[],
  clock: { now: Date; toleranceSeconds: number },
): Verdict {
  const no = (reason: Verdict["reason"], message: string, next: string): Verdict => ({
    ok: false,
    reason,
    message,
    next,
  });
  const { body } = signed;
  const signature = signed.signature.trim();
  const hex = /^(?:sha256=)?([0-9a-f]{64})$/i.exec(signature)?.[1].toLowerCase();
  if (hex === undefined) {
    return no(
      "malformed_signature",
      describeMalformed(signature),
      "Pass X-Chatwoot-Signature on exactly as it came: sha256= and 64 lower-case hexadecimal digits.",
    );
  }
  const timestamp = signed.timestamp.trim();
  if (!/^[1-9][0-9]{0,12}$/.test(timestamp)) {
    return no(
      "malformed_timestamp",
      timestamp === "" ? "There is no timestamp." : "The timestamp is no whole number of seconds since 1970.",
      "Pass X-Chatwoot-Timestamp on exactly as it came.",
    );
  }
  const wanted = Buffer.from(hex, "hex");
  const fits = (key: string | Uint8Array, prefix: string, content: Uint8Array) =>
    timingSafeEqual(createHmac("sha256", key).update(prefix).update(content).digest(), wanted);

  for (const [index, { name, secret }] of secrets.entries()) {
    if (!fits(secret, `${timestamp}.`, body)) continue;
    if (!/^sha256=[0-9a-f]{64}$/.test(signature) || signature !== signed.signature) {
      return no(
        "malformed_signature",
        "The hash is right, but the header is not in Chatwoot's form: sha256= and lower-case digits.",
        "Pass X-Chatwoot-Signature on exactly as it came.",
      );
    }
    if (timestamp.length > 11) {
      return no(
        "malformed_timestamp",
        "The hash is right, but the timestamp is in milliseconds and not in seconds.",
        "Sign with whole seconds since 1970, as Chatwoot does.",
      );
    }
    const age = Math.floor(clock.now.getTime() / 1000) - Number(timestamp);
    if (Math.abs(age) > clock.toleranceSeconds) {
      return no(
        "wrong_clock",
        `The signature is right, but ${Math.abs(age)} seconds ${
          age > 0 ? "old" : "in the future"
        }, and ${clock.toleranceSeconds} are allowed.`,
        age > 0
          ? "If it was just sent, set the clocks of both servers (NTP). An old recording: add --now with the time it was received."
          : "Set the clocks of both servers (NTP).",
      );
    }
    if (index > 0) {
      return no(
        "wrong_secret",
        `The signature was made with ${name}, not with ${secrets[0].name}.`,
        "Keep both in CHATWOOT_WEBHOOK_SECRETS until Chatwoot signs with the new one; occ connect reads which one it uses.",
      );
    }
    return { ok: true, reason: "valid", message: `The signature is right, made with ${name}.`, next: "Nothing to do." };
  }

  for (const { name, secret } of secrets) {
    const by = secrets.length > 1 ? ` (by ${name})` : "";
    if (fits(secret, "", body)) {
      return no(
        "body_only",
        `The hash is over the body alone${by}; the timestamp and a full stop come before it.`,
        'Sign "<timestamp>.<body>": the value of X-Chatwoot-Timestamp, a full stop, the raw body.',
      );
    }
    if (fits(secret, timestamp, body)) {
      return no(
        "no_separator",
        `The hash is over timestamp and body${by}, but without the full stop between them.`,
        'Sign "<timestamp>.<body>".',
      );
    }
    for (const [reason, what, variant] of bodiesLike(body)) {
      for (const prefix of [`${timestamp}.`, ""]) {
        if (!fits(secret, prefix, variant)) continue;
        return no(
          reason,
          `The signature fits another body than this one${by}: ${what}.`,
          reason === "trailing_newline"
            ? "Verify the bytes as they came; editors and echo add a line break at the end (printf '%s' does not)."
            : "Verify the raw bytes of the request before anything parses them, and not JSON written anew.",
        );
      }
    }
    for (const [reason, what, key] of keysLike(secret)) {
      if (!fits(key, `${timestamp}.`, body)) continue;
      return no(
        reason,
        `The signature fits the secret differently read${by}: ${what}.`,
        "The key is the secret as text, exactly as Chatwoot shows it, without a line break.",
      );
    }
  }
  return no(
    "unknown",
    secrets.length === 1
      ? `The signature fits neither this secret nor any known mishap with this body.${looksRewritten(body)}`
      : `The signature fits none of the ${secrets.length} secrets, nor any known mishap with this body.${
        looksRewritten(body)
      }`,
    "Most likely it is another webhook's secret: read this one's with occ connect (hmac_token and inbox secrets do not sign account webhooks).",
  );
}

function describeMalformed(signature: string): string {
  if (signature === "") return "There is no signature: this sender does not sign, or a proxy took the header away.";
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(signature.replace(/^sha256=/, ""))) {
    return "The signature is in base64, and Chatwoot's is hexadecimal.";
  }
  if (signature.includes(",")) return "There are two signatures in one header: it was sent twice.";
  return "The signature is not sha256= and 64 hexadecimal digits.";
}

// What became of a body on its way: the one that was signed, guessed back from the one at hand.
function bodiesLike(body: Uint8Array): Variant[] {
  const content = Buffer.from(body).toString("utf8");
  const bare = content.replace(/[\r\n]+$/, "");
  const variants: Variant[] = [];
  const newline = "this one has a line break at its end that was not signed";
  if (bare !== content) variants.push(["trailing_newline", newline, text(bare)]);
  else {
    for (const ending of ["\n", "\r\n"]) {
      variants.push([
        "trailing_newline",
        "a line break at its end was signed, and is missing here",
        text(content + ending),
      ]);
    }
  }
  if (content.startsWith("\uFEFF")) {
    variants.push(["re_encoded", "this one begins with a byte order mark that was not signed", text(content.slice(1))]);
  }
  variants.push(
    ["re_encoded", "this one was read as Latin-1 and written as UTF-8", Buffer.from(bare, "latin1")],
    ["re_encoded", "line breaks were changed (CRLF)", text(bare.replaceAll("\r\n", "\n"))],
  );
  const value = parseJson(bare);
  if (value === undefined) return variants;
  const compact = JSON.stringify(value);
  // Rails escapes what HTML could trip over, and keeps the fraction of whole seconds.
  const rails = (json: string) =>
    json.replace(/[<>&\u2028\u2029]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const fractions = (json: string) => json.replace(/"updated_at":(\d+)(?=[,}])/g, '"updated_at":$1.0');
  const ascii = (json: string) =>
    json.replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const spaced = spacedOut(value);
  const rewritten = "this one was parsed and written anew";
  for (
    const candidate of [
      compact,
      rails(compact),
      fractions(compact),
      rails(fractions(compact)),
      rails(bare),
      rails(fractions(bare)),
      ascii(compact),
      JSON.stringify(value, null, 2),
      JSON.stringify(value, null, 4),
      spaced,
      ascii(spaced),
    ]
  ) {
    if (candidate !== content) variants.push(["reserialised", rewritten, text(candidate)]);
  }
  return variants;
}

// As Python's json.dumps writes: a space after each colon and comma.
function spacedOut(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spacedOut).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value).map(([key, part]) => `${JSON.stringify(key)}: ${spacedOut(part)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

function keysLike(secret: string): [Verdict["reason"], string, string | Uint8Array][] {
  const padded = "with a space or line break around it";
  const keys: [Verdict["reason"], string, string | Uint8Array][] = [
    ["secret_padded", "this one has a space or line break around it", secret.trim()],
    ["secret_padded", padded, `${secret}\n`],
    ["secret_padded", padded, `${secret}\r\n`],
    ["secret_padded", padded, `${secret} `],
    ["secret_padded", "with quotes around it", `"${secret}"`],
    ["secret_padded", "this one has quotes around it", secret.replace(/^["']|["']$/g, "")],
    ["secret_decoded", "decoded from base64", Buffer.from(secret, "base64")],
    ["secret_decoded", "encoded as base64", Buffer.from(secret).toString("base64")],
  ];
  if (/^([0-9a-f]{2})+$/i.test(secret)) {
    keys.push(["secret_decoded", "decoded from hexadecimal", Buffer.from(secret, "hex")]);
  }
  return keys.filter(([, , key]) => key.length > 0 && key !== secret);
}

function looksRewritten(body: Uint8Array): string {
  const content = Buffer.from(body).toString("utf8");
  if (parseJson(content) === undefined) return " The body is no JSON, so it is not what Chatwoot sent.";
  const isForeign = /[<>&]/.test(content) || /^\s|\s$/.test(content) || /"\s*:\s/.test(content) ||
    content.includes("\n");
  return isForeign
    ? " The body is not in the form in which Chatwoot writes JSON (one line, \\u003c for <): it has been written anew."
    : "";
}
