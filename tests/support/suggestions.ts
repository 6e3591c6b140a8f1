// Questions with the gold reply that answers them, and how the ranking does on them.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import { z } from "zod";
import type { Scenario } from "../../local/chatwoot/scenarios.ts";

export interface Question {
  text: string;
  language: string;
  channel: string;
  /** The key of the right gold reply; null where the shop has none. */
  gold_reply: string | null;
}

const CHANNELS = {
  widget: "Channel::WebWidget",
  email: "Channel::Email",
  sms: "Channel::Sms",
  whatsapp: "Channel::Whatsapp",
} as const;

/** What a customer has written until the first agent replies: what a draft is made from. */
export function askScenario({ steps, language, channel, gold_reply }: Scenario): Question {
  const replied = steps.findIndex(({ do: verb }) => verb === "agent_replies");
  const written = steps.slice(0, replied < 0 ? steps.length : replied).flatMap((step) =>
    step.do === "customer_writes" ? [step.subject, step.text].filter((text) => text !== undefined) : []
  );
  return { text: written.join("\n"), language, channel: CHANNELS[channel], gold_reply };
}

const Paraphrases = z.array(z.strictObject({
  /** tuning: written before the ranking was tuned on them; revision: led to one change; blind: never looked at for one. */
  set: z.enum(["tuning", "revision", "blind"]),
  language: z.string(),
  channel: z.string(),
  gold_reply: z.string().nullable(),
  text: z.string().min(1),
}));

export async function readParaphrases(): Promise<z.infer<typeof Paraphrases>> {
  const file = fileURLToPath(new URL("../fixtures/paraphrases.json", import.meta.url));
  return Paraphrases.parse(JSON.parse(await readFile(file, "utf8")));
}

export interface Examination {
  known: number;
  unknown: number;
  /** The right one ranks first. */
  first: number;
  /** The right one ranks first, with enough confidence to be shown. */
  drafted: number;
  /** Whichever ranks first has enough confidence to be shown. */
  offered: number;
  /** Nothing is shown, rightly. */
  abstained: number;
}

/** Asks as the drafts do, the language guessed from the text, in account 1. */
export async function examine(client: Client, questions: Question[], floor: number): Promise<Examination> {
  const found: Examination = { known: 0, unknown: 0, first: 0, drafted: 0, offered: 0, abstained: 0 };
  for (const { text, channel, gold_reply } of questions) {
    const { rows: [best] } = await client.query(
      `select origin_key, confidence from replies.rank(1, $1, replies.language_of($1), $2, null, 1)
        join replies.gold_replies on account_id = 1 and gold_replies.gold_reply_id = rank.gold_reply_id`,
      [text, channel],
    );
    const isOffered = best !== undefined && best.confidence >= floor;
    const isFirst = best !== undefined && best.origin_key === gold_reply;
    found.offered += Number(isOffered);
    if (gold_reply === null) {
      found.unknown++;
      found.abstained += Number(!isOffered);
    } else {
      found.known++;
      found.first += Number(isFirst);
      found.drafted += Number(isFirst && isOffered);
    }
  }
  return found;
}
