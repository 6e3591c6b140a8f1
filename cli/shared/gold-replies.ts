// The gold-reply function as a sender without a token sees it, who is refused before anything is read.
import { z } from "zod";
import { type Connection, functionsUrl } from "./connection.ts";
import { parseJson, request } from "./http.ts";
import type { Context } from "./outside.ts";
import type { Found } from "./steps.ts";

const SLUG = "gold-replies";
const Said = z.looseObject({ code: z.string().optional() });
const A_TOKEN = "GOLD_REPLIES_TOKEN=<a token of your own>";

/** Whether it is there, open to whoever has a token, and to nobody else. */
export async function checkGoldReplies(connection: Connection, context: Context): Promise<Found> {
  const answer = await request({
    who: "The stack",
    url: `${functionsUrl(connection)}/${SLUG}`,
    method: "POST",
    outside: context.outside,
  });
  const code = Said.safeParse(parseJson(answer.text)).data?.code;
  const deploy = `npx supabase functions deploy ${SLUG} --use-api`;
  const set = `Put ${A_TOKEN} into supabase/functions/.env (.env.example shows how to make one), then ${
    connection.isLocal ? "restart npm start" : "npx supabase secrets set --env-file supabase/functions/.env"
  }`;
  const red = (message: string, next: string): Found => ({ state: "fail", message, next });
  if (answer.status === 401 && code === "OC401") return { message: "it refuses who has no token" };
  // A team that sends none needs no token.
  if (answer.status === 503 && code === "OC503") {
    return { state: "warn", message: "GOLD_REPLIES_TOKEN is not set, so it takes nothing", next: set };
  }
  if (answer.status === 404) return red("it is not deployed", deploy);
  if (answer.status === 401 || answer.status === 403) {
    return red(
      "it asks for a Supabase key, which its senders have not (verify_jwt is on)",
      `Deploy it with this project's supabase/config.toml: ${deploy}`,
    );
  }
  if (answer.status >= 500) {
    return red(
      "it does not start: most likely GOLD_REPLIES_TOKEN is malformed",
      `${set}. Its log names what is wrong.`,
    );
  }
  return red(
    `what answers (${answer.status}) at its address is not this project's function`,
    "Check OCC_API_URL; it is the project's address, such as https://<reference>.supabase.co.",
  );
}
