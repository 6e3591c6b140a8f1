// The webhook function as a sender sees it: whether it is there, and what it says to one delivery.
import { Buffer } from "node:buffer";
import { z } from "zod";
import { signatureHeaders } from "../../local/chatwoot/sign.ts";
import { parseJson, request } from "./http.ts";
import type { Context } from "./outside.ts";

export const SLUG = "chatwoot-webhook";

const Said = z.looseObject({ code: z.string().optional(), outcome: z.string().optional() });

/** Whether a webhook's address leads to this function, by whatever name of the host; the account's id may follow. */
export const leadsHere = (url: string): boolean =>
  URL.canParse(url) && new RegExp(`/${SLUG}(/\\d+)?/?$`).test(new URL(url).pathname);

export type DoorState = "open" | "absent" | "guarded" | "broken" | "strange";

/** What to do where the function is not as it should be. */
export const DOOR_FIX: Record<Exclude<DoorState, "open">, { message: string; next: string }> = {
  absent: {
    message: "The webhook function is not deployed.",
    next: `npx supabase functions deploy ${SLUG} --use-api`,
  },
  guarded: {
    message: "The webhook function asks for a Supabase key, which Chatwoot has not (verify_jwt is on).",
    next: `Deploy it with this project's supabase/config.toml: npx supabase functions deploy ${SLUG} --use-api`,
  },
  broken: {
    message: "The webhook function does not start: most likely CHATWOOT_WEBHOOK_SECRETS is missing or malformed.",
    next: "Run occ connect, which sets it; the function's log names what is wrong.",
  },
  strange: {
    message: "What answers at the webhook function's address is not this project's function.",
    next: "Check OCC_API_URL; it is the project's address, such as https://<reference>.supabase.co.",
  },
};

/** Asks the function with GET, which it refuses in a way of its own. */
export async function askDoor(url: string, context: Context): Promise<DoorState> {
  const answer = await request({ who: "The stack", url, outside: context.outside });
  const said = Said.safeParse(parseJson(answer.text)).data;
  if (answer.status === 405 && said?.code === "OC405") return "open";
  if (answer.status === 404) return "absent";
  if (answer.status === 401 || answer.status === 403) return "guarded";
  return answer.status >= 500 ? "broken" : "strange";
}

export interface Delivering {
  secret: string | null;
  deliveryId: string;
  body: string;
  /** Seconds since 1970; now unless given. */
  timestamp?: number;
}

export interface Delivered {
  status: number;
  /** The function's outcome or code. */
  said: string;
  milliseconds: number;
}

/** Sends one delivery as Chatwoot does. */
export async function deliver(url: string, delivery: Delivering, context: Context): Promise<Delivered> {
  const body = Buffer.from(delivery.body);
  const answer = await request({
    who: "The stack",
    url,
    method: "POST",
    headers: signatureHeaders(body, {
      secret: delivery.secret,
      deliveryId: delivery.deliveryId,
      timestamp: delivery.timestamp ?? Math.floor(context.outside.now().getTime() / 1000),
    }),
    body,
    outside: context.outside,
  });
  const said = Said.safeParse(parseJson(answer.text)).data;
  return { status: answer.status, said: said?.outcome ?? said?.code ?? "", milliseconds: answer.milliseconds };
}

/** A webhook that is stored and changes nothing: typing says nothing that lasts. */
export const harmless = (accountId: string): string =>
  `{"account":{"id":${accountId}},"is_private":false,"event":"conversation_typing_off"}`;
