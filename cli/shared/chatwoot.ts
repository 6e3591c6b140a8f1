// Chatwoot's REST API, as far as the command line asks it.
import { z } from "zod";
import { isAtLeast } from "../../local/chatwoot/server.ts";
import { isPrivateHost } from "../../local/private-host.ts";
import { type Answered, parseJson, request } from "./http.ts";
import { type Context, type Outside, withoutCtrlC } from "./outside.ts";
import { EXIT, Problem } from "./problem.ts";

export const SIGNS_SINCE = "4.11.2";
export const REFUSES_PRIVATE_SINCE = "4.14.0";
export const MAY_ALLOW_PRIVATE_SINCE = "4.14.1";

/** What the mirror has a use for: all there is but typing, which says nothing that lasts. */
export const WANTED_EVENTS = [
  "conversation_status_changed",
  "conversation_updated",
  "conversation_created",
  "contact_created",
  "contact_updated",
  "message_created",
  "message_updated",
  "webwidget_triggered",
  "inbox_created",
  "inbox_updated",
];
/** Those that every version knows. */
export const CLASSIC_EVENTS = WANTED_EVENTS.slice(0, 8);

const Version = z.looseObject({ version: z.string().max(50) });
const Id = z.number().int().positive();
const Profile = z.looseObject({
  id: Id,
  name: z.string().max(500),
  accounts: z.array(z.looseObject({
    id: Id,
    name: z.string().max(500),
    status: z.string().optional(),
    role: z.string().nullish(),
    permissions: z.array(z.string()).optional(),
  })).max(10_000),
});
export type Profile = z.infer<typeof Profile>;
const Webhook = z.looseObject({
  id: Id,
  name: z.string().nullish(),
  url: z.string(),
  subscriptions: z.array(z.string()).nullish(),
  secret: z.string().nullish(),
});
export type Webhook = z.infer<typeof Webhook>;
const Webhooks = z.looseObject({ payload: z.looseObject({ webhooks: z.array(Webhook).max(10_000) }) });
const OneWebhook = z.looseObject({ payload: z.looseObject({ webhook: Webhook }) });
const Message = z.looseObject({ id: Id });
const Refusal = z.looseObject({
  error: z.string().optional(),
  message: z.string().optional(),
  errors: z.array(z.string()).optional(),
});

export interface Server {
  url: string;
  version: string;
  /** The health endpoint this version has. */
  health: "/health" | "/api";
  milliseconds: number;
}

/** The address up to the first single slash, or a Problem that says which one it should be. */
export function readBaseUrl(text: string): string {
  const usage = (message: string, next: string) => new Problem(EXIT.usage, message, next);
  if (!URL.canParse(text)) {
    throw usage(`"${text}" is no URL.`, "Give Chatwoot's address as the browser shows it: https://chat.example.com");
  }
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw usage(`Chatwoot's URL begins with https://, not ${url.protocol}//.`, `Give https://${url.host || "…"}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw usage("Chatwoot's URL holds a user name or password.", `Give it without: ${url.protocol}//${url.host}`);
  }
  // A slash at the end means the same place; anything more is a page of the dashboard or an API path.
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    throw usage(
      `Chatwoot's URL goes on after the host (${url.pathname}).`,
      `Give only ${url.protocol}//${url.host}`,
    );
  }
  if (url.protocol === "http:" && !isPrivateHost(url.hostname)) {
    throw usage(
      "Chatwoot's URL begins with http://, so the token could be read on the way.",
      `Give https://${url.host}`,
    );
  }
  return `${url.protocol}//${url.host}`;
}

export { isAtLeast };

const isJson = (answer: Answered) => /^application\/json\b/i.test(answer.headers.get("content-type") ?? "");

/** Asks without the token whether Chatwoot answers there and nothing redirects, since a redirect would take the token along. */
export async function findServer(url: string, context: Context): Promise<Server> {
  const { outside } = context;
  const head = await request({ who: "Chatwoot", url: `${url}/api`, method: "HEAD", outside });
  if (head.status >= 300 && head.status < 400) {
    const location = head.headers.get("location") ?? "";
    const target = URL.canParse(location, url) ? new URL(location, url).origin : null;
    throw new Problem(
      EXIT.unreachable,
      `${url} redirects${
        target !== null && target !== url ? ` to ${target}` : ""
      }, and a redirect would take the token along.`,
      target !== null && target !== url
        ? `Give the address it leads to: ${target}`
        : "Give the address at which Chatwoot itself answers, without a proxy's login page before it.",
    );
  }
  const answer = await request({ who: "Chatwoot", url: `${url}/api`, outside });
  const version = Version.safeParse(parseJson(answer.text));
  if (answer.status !== 200 || !version.success) throw unexpected(answer, `${url}/api`);
  const health = await request({ who: "Chatwoot", url: `${url}/health`, outside });
  return {
    url,
    version: version.data.version,
    health: health.status === 200 && isJson(health) ? "/health" : "/api",
    milliseconds: answer.milliseconds,
  };
}

function unexpected(answer: Answered, url: string): Problem {
  const { host, origin } = new URL(url);
  if (answer.status >= 500) {
    return new Problem(
      EXIT.unreachable,
      `Chatwoot at ${host} answers with an error of its own (${answer.status}).`,
      "Look at Chatwoot's log, or wait until it is up again.",
    );
  }
  if (answer.status === 429) {
    return new Problem(
      EXIT.unreachable,
      `Chatwoot at ${host} refuses more requests for now (429).`,
      "Wait a minute, then try again.",
    );
  }
  if (/^\s*</.test(answer.text) || /html/i.test(answer.headers.get("content-type") ?? "")) {
    return new Problem(
      EXIT.unreachable,
      `${url} answered with a web page (${answer.status}) and not with JSON, so that is not Chatwoot's API.`,
      `Open ${origin}/api in a browser: a proxy, a login page or a maintenance page stands before Chatwoot, or the address is another's.`,
    );
  }
  if (answer.status >= 300 && answer.status < 400) {
    return new Problem(
      EXIT.unreachable,
      `${url} redirects (${answer.status}).`,
      "Give the address at which Chatwoot itself answers.",
    );
  }
  return new Problem(
    EXIT.unreachable,
    `${url} did not answer as Chatwoot does (${answer.status}).`,
    `Open ${origin}/api in a browser: it shows a version where Chatwoot answers.`,
  );
}

export interface Credentials {
  url: string;
  accountId: string;
  token: string;
}

/** A client for one account with one token. What it throws never quotes an answer, which holds tokens and secrets. */
export function createClient({ url, accountId, token }: Credentials, context: Context) {
  context.output.hide(token);
  if (!/^[\x21-\x7e]{8,200}$/.test(token)) {
    throw new Problem(
      EXIT.notAllowed,
      "That is no Chatwoot access token: it is too short or long, or holds spaces or line breaks.",
      "Copy it again from Chatwoot: profile settings, Access token.",
    );
  }

  const call = async (path: string, { method = "GET", body, outside = context.outside }: Call = {}) => {
    const answer = await request({
      who: "Chatwoot",
      url: `${url}${path}`,
      method,
      outside,
      // With hyphens, since proxies drop names with underscores.
      headers: {
        "api-access-token": token,
        "accept": "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (answer.status >= 200 && answer.status < 300) return answer;
    const refusal = isJson(answer) ? Refusal.safeParse(parseJson(answer.text)) : undefined;
    const said = refusal?.data?.error ?? refusal?.data?.message ?? refusal?.data?.errors?.join(" ") ?? "";
    if (answer.status === 401 || answer.status === 403) throw refused(said, accountId);
    if (answer.status === 404 && refusal?.success) {
      throw new Problem(
        EXIT.finding,
        path.includes("/conversations/")
          ? "Chatwoot does not know this conversation."
          : `Chatwoot does not know account ${accountId}.`,
        "The number stands in the address of the dashboard: /app/accounts/<account>/conversations/<conversation>.",
      );
    }
    if (answer.status === 422) throw new Unprocessable(said);
    throw unexpected(answer, `${url}${path}`);
  };
  const read = async <Value>(schema: z.ZodType<Value>, path: string, options: Call = {}): Promise<Value> => {
    const answer = await call(path, options);
    const parsed = schema.safeParse(parseJson(answer.text));
    if (!parsed.success) throw unexpected(answer, `${url}${path}`);
    return parsed.data;
  };
  const account = `/api/v1/accounts/${accountId}`;

  return {
    async profile(): Promise<Profile> {
      const profile = await read(Profile, "/api/v1/profile");
      // Some versions repeat the token, whoever reads it.
      if (typeof profile.access_token === "string") context.output.hide(profile.access_token);
      return profile;
    },
    async webhooks(): Promise<Webhook[]> {
      const { payload: { webhooks } } = await read(Webhooks, `${account}/webhooks`);
      for (const { secret } of webhooks) context.output.hide(secret);
      return webhooks;
    },
    async saveWebhook(id: number | null, webhook: { name?: string; url: string; subscriptions: string[] }) {
      const { payload } = await read(
        OneWebhook,
        id === null ? `${account}/webhooks` : `${account}/webhooks/${id}`,
        { method: id === null ? "POST" : "PATCH", body: { webhook } },
      );
      context.output.hide(payload.webhook.secret);
      return payload.webhook;
    },
    /** Goes through even after Ctrl-C, as without its number it could not be taken back. */
    async postNote(conversation: string, content: string): Promise<number> {
      const { id } = await read(Message, `${account}/conversations/${conversation}/messages`, {
        method: "POST",
        body: { content, message_type: "outgoing", private: true },
        outside: withoutCtrlC(context.outside),
      });
      return id;
    },
    /** Goes through even after Ctrl-C: what was posted is taken back. */
    async removeMessage(conversation: string, id: number): Promise<void> {
      await call(`${account}/conversations/${conversation}/messages/${id}`, {
        method: "DELETE",
        outside: withoutCtrlC(context.outside),
      });
    },
    /** Whether a path of the account may be read; throws for anything but a refusal. */
    async mayRead(path: string): Promise<boolean> {
      try {
        await call(`${account}${path}`);
        return true;
      } catch (error) {
        if (error instanceof Problem && error.exit === EXIT.notAllowed) return false;
        throw error;
      }
    },
  };
}

interface Call {
  method?: string;
  body?: unknown;
  outside?: Outside;
}

/** Chatwoot understood and will not: 422. */
export class Unprocessable extends Problem {
  constructor(said: string) {
    super(
      EXIT.finding,
      `Chatwoot refused what it was asked to keep${said === "" ? "" : `: ${said.slice(0, 200)}`}.`,
      "Mend what it names, then run the same command again.",
    );
  }
}

/** Chatwoot says 401 for a wrong token and for missing rights alike; only its words tell which. */
function refused(said: string, accountId: string): Problem {
  const known: [RegExp, string, string][] = [
    [
      /invalid access token/i,
      "Chatwoot does not know this access token (401).",
      "Copy it again from Chatwoot: profile settings, Access token, of an administrator.",
    ],
    [
      /for bots|bot is not/i,
      "This token is an agent bot's, and bots may read hardly anything (401).",
      "Use the access token of an administrator: Chatwoot, profile settings, Access token.",
    ],
    [
      /not authorized to access this account/i,
      `The owner of this token does not belong to account ${accountId} (401).`,
      "Give the number in the address of the dashboard (/app/accounts/<number>), or the token of somebody who belongs to it.",
    ],
    [/suspended/i, `Account ${accountId} is suspended in Chatwoot (401).`, "Have it reactivated in Chatwoot."],
    [
      /api access is not enabled/i,
      `The plan of account ${accountId} has no API access (403).`,
      "Choose a plan with API and webhooks in Chatwoot Cloud.",
    ],
    [
      /sign in or sign up/i,
      "The token did not reach Chatwoot (401).",
      "Let the proxy before Chatwoot pass the header api-access-token on.",
    ],
  ];
  for (const [pattern, message, next] of known) {
    if (pattern.test(said)) return new Problem(EXIT.notAllowed, message, next);
  }
  return new Problem(
    EXIT.notAllowed,
    `The owner of this token lacks the permission for it in account ${accountId} (401).`,
    "Use the token of an administrator of the account: Chatwoot, profile settings, Access token.",
  );
}
