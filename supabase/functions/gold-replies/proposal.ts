// What may be proposed: the same limits as in the database, but every fault is told at once.
import { z } from "zod";

const LARGEST_BIGINT = 2n ** 63n - 1n;
// Control characters, and those that nobody sees or that turn the direction of what follows; lone surrogates as well,
// which are no text. As replies.unwanted_characters() has it.
const UNWANTED = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}]|\\p{Surrogate}",
  "u",
);

const text = (most: number, { isLine = false } = {}) =>
  z.string().superRefine((given, context) => {
    // Counted as the database counts; a surrogate pair is one.
    const length = [...given.replaceAll("\r\n", "\n").trim()].length;
    if (length < 1 || length > most) context.addIssue(`must have 1 to ${most} characters`);
    const looked = isLine ? given.trim() : given.replaceAll("\r\n", "\n");
    if (UNWANTED.test(looked)) {
      context.addIssue("holds a character that nobody sees, or that turns the direction of the text");
    }
    if (isLine && /[\n\t]/.test(looked)) context.addIssue("must be one line");
  });

const positive = "must be a positive whole number";
const isPositive = (number: number) => Number.isSafeInteger(number) && number > 0;
// As text too, since the largest ids of Postgres are beyond what JavaScript counts exactly.
const accountId = z.union([
  z.number().refine(isPositive).transform(String),
  z.string().refine((digits) => /^[1-9][0-9]{0,18}$/.test(digits) && BigInt(digits) <= LARGEST_BIGINT),
], positive);
const id = z.number().refine(isPositive, positive);

/** A proposal as it comes over the wire. */
export const Proposal = z.strictObject({
  account_id: accountId,
  title: text(200, { isLine: true }),
  body: text(10_000),
  category: z.string().max(100, "must have up to 100 characters")
    .regex(/^[a-z0-9]+([_-][a-z0-9]+)*$/, "must be small letters and digits, joined by _ or -").nullish(),
  tags: z.array(text(50, { isLine: true })).max(20, "must have up to 20 entries").nullish(),
  language: z.string().regex(/^[a-z]{2,3}$/, "must be an ISO 639 code in small letters, such as en").nullish(),
  channels: z.record(
    z.string().regex(/^Channel::[A-Za-z]{1,50}$/, "must be named by class of channel, such as Channel::Sms"),
    text(10_000),
  ).refine((variants) => Object.keys(variants).length <= 20, "must have up to 20 entries").nullish(),
  questions: z.array(text(1_000)).max(50, "must have up to 50 entries")
    .nullish(),
  source: z.strictObject({
    display_id: id.nullish(),
    message_id: id.nullish(),
    author: text(200, { isLine: true }).nullish(),
  }).nullish(),
});
export type Proposal = z.infer<typeof Proposal>;

const KNOWN = {
  "": Object.keys(Proposal.shape).join(", "),
  source: "display_id, message_id, author",
};

/** One fault of a proposal: where, and what must hold there. Never what stands there, which may be anybody's data. */
export interface Issue {
  path: string;
  message: string;
}

/** The faults in words of ours, since zod's own may quote the input. */
export function describe(issue: z.core.$ZodIssue): Issue {
  const [top, ...rest] = issue.path;
  if (issue.code === "invalid_key") return { path: "channels", message: issue.issues[0].message };
  const path = [top, ...rest].filter((part) => part !== undefined).map(String)
    .join(".");
  if (issue.code === "unrecognized_keys") {
    const known = path === "source" ? KNOWN.source : KNOWN[""];
    return {
      path,
      message: `holds what is not known here; there are ${known}`,
    };
  }
  if (issue.code === "invalid_type") {
    // Only the words tell what was received, once the input itself is left out of the issue.
    const missing = path !== "" && issue.message.endsWith("received undefined");
    return {
      path,
      message: missing ? "is required" : `must be ${NAMES[issue.expected] ?? issue.expected}`,
    };
  }
  return { path, message: issue.message };
}

const NAMES: Record<string, string> = {
  string: "text",
  number: "a positive whole number",
  array: "an array",
  object: "an object",
  record: "an object of texts by class of channel",
};

/** The part that goes to the database as it is. */
export function toGoldReply({ account_id: _, ...goldReply }: Proposal) {
  return goldReply;
}
