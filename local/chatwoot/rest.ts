// Which path does what, who may, and in which of Chatwoot's words it is refused.
import type { Attributes } from "./records.ts";
import {
  assign,
  createMessage,
  deleteConversation,
  deleteMessage,
  setCustomAttributes,
  setLabels,
  togglePriority,
  toggleStatus,
  updateLastSeen,
} from "./rest-actions.ts";
import {
  type Answer,
  BROKEN,
  type Call,
  type Caller,
  FORBIDDEN,
  found,
  isKeepable,
  NOT_FOUND,
  ok,
  refuse,
  type RestRequest,
  UNKEEPABLE_MESSAGE,
} from "./rest-call.ts";
import { createWebhook, deleteWebhook, listWebhooks, updateWebhook } from "./rest-webhooks.ts";

export type { Answer, RestRequest } from "./rest-call.ts";

const NO_TOKEN: Answer = {
  status: 401,
  body: { errors: ["You need to sign in or sign up before continuing."] },
};
const INVALID_TOKEN = refuse(401, "Invalid Access Token");
const NOT_FOR_BOTS = refuse(401, "Access to this endpoint is not authorized for bots");

type Answering = (call: Call) => Promise<Answer> | Answer;
type Who = "administrators" | "users" | "users and bots";

// Under /api/v1/accounts/<id>/.
const ROUTES: [method: string, path: RegExp, who: Who, answer: Answering][] = [
  ["GET", /^$/, "users", async ({ reader }) => ok(await reader.account())],
  ["GET", /^conversations$/, "users", async (call) => ok(await conversations(call))],
  ["GET", /^conversations\/meta$/, "users", async (call) => {
    const { data } = await conversations(call) as { data: { meta: Attributes } };
    return ok({ meta: data.meta });
  }],
  [
    "GET",
    /^conversations\/(\d+)$/,
    "users and bots",
    async ({ reader, ids: [id] }) => found(await reader.conversation(id)),
  ],
  ["DELETE", /^conversations\/(\d+)$/, "administrators", deleteConversation],
  [
    "GET",
    /^conversations\/(\d+)\/messages$/,
    "users",
    async ({ reader, ids: [id], url }) => found(await reader.messages(id, url.searchParams)),
  ],
  ["POST", /^conversations\/(\d+)\/messages$/, "users and bots", createMessage],
  ["DELETE", /^conversations\/(\d+)\/messages\/(\d+)$/, "users", deleteMessage],
  ["GET", /^conversations\/(\d+)\/labels$/, "users and bots", async ({ reader, ids: [id] }) => {
    const conversation = await reader.conversation(id);
    return conversation === null ? NOT_FOUND : ok({ payload: conversation.labels });
  }],
  ["POST", /^conversations\/(\d+)\/labels$/, "users and bots", setLabels],
  ["POST", /^conversations\/(\d+)\/assignments$/, "users and bots", assign],
  ["POST", /^conversations\/(\d+)\/toggle_status$/, "users and bots", toggleStatus],
  ["POST", /^conversations\/(\d+)\/toggle_priority$/, "users and bots", togglePriority],
  ["POST", /^conversations\/(\d+)\/custom_attributes$/, "users and bots", setCustomAttributes],
  ["POST", /^conversations\/(\d+)\/update_last_seen$/, "users", updateLastSeen],
  ["GET", /^agents$/, "users", async ({ reader }) => ok(await reader.agents())],
  ["GET", /^agent_bots$/, "users", async ({ reader }) => ok(await reader.agentBots())],
  ["GET", /^teams$/, "users", async ({ reader, caller }) => ok(await reader.teams(caller))],
  ["GET", /^teams\/(\d+)\/team_members$/, "users", async ({ reader, ids: [id] }) => found(await reader.agents(id))],
  ["GET", /^labels$/, "users", async ({ reader }) => ok({ payload: await reader.labels() })],
  ["GET", /^inboxes$/, "users", async ({ reader, caller }) => ok({ payload: await reader.inboxes(caller) })],
  [
    "GET",
    /^canned_responses$/,
    "users",
    async ({ reader, url }) => ok(await reader.cannedResponses(url.searchParams.get("search") ?? "")),
  ],
  ["GET", /^contacts$/, "users", async ({ reader, url }) => ok(await reader.contacts(url.searchParams))],
  ["GET", /^contacts\/(\d+)$/, "users", async ({ reader, ids: [id] }) => {
    const contact = await reader.contact(id);
    return contact === null ? NOT_FOUND : ok({ payload: contact });
  }],
  [
    "GET",
    /^csat_survey_responses$/,
    "administrators",
    async ({ reader, url }) => ok(await reader.surveyAnswers(url.searchParams)),
  ],
  [
    "GET",
    /^reporting_events$/,
    "administrators",
    async ({ reader, url }) => ok(await reader.reportingEvents(url.searchParams)),
  ],
  ["GET", /^webhooks$/, "administrators", listWebhooks],
  ["POST", /^webhooks$/, "administrators", createWebhook],
  ["PATCH", /^webhooks\/(\d+)$/, "administrators", updateWebhook],
  ["DELETE", /^webhooks\/(\d+)$/, "administrators", deleteWebhook],
];

const conversations = ({ reader, url, now, caller }: Call) =>
  reader.conversations(url.searchParams, { now, viewer: caller });

/** Answers one request as Chatwoot would. */
export async function answerRequest(request: RestRequest): Promise<Answer> {
  const { url: { pathname }, now, token } = request;
  const method = request.method === "HEAD" ? "GET" : request.method;
  if (method === "GET" && pathname === "/health") return ok({ status: "woot" });
  if (method === "GET" && pathname === "/api") {
    const timestamp = now.toISOString().slice(0, 19).replace("T", " ");
    return ok({ version: request.version, timestamp, queue_services: "ok", data_services: "ok" });
  }
  if (method === "GET" && pathname === "/api/v1/profile") {
    if (token === null) return NO_TOKEN;
    const owner = await ownerOf(request, token);
    return owner === null ? INVALID_TOKEN : owner.kind === "User" ? ok(await profile(request, owner)) : NOT_FOR_BOTS;
  }
  // A path that nobody serves is missing whoever asks.
  const [, account, path = ""] = /^\/api\/v1\/accounts\/(\d+)(?:\/(.*))?$/.exec(pathname) ?? [];
  const route = account === undefined ? undefined : ROUTES.find(([verb, form]) => verb === method && form.test(path));
  if (route === undefined) return NOT_FOUND;
  if (token === null) return NO_TOKEN;
  const owner = await ownerOf(request, token);
  if (owner === null) return INVALID_TOKEN;
  const caller = await callerOf(request, { owner, account: Number(account) });
  if ("status" in caller) return caller;

  const [, form, who, answer] = route;
  if (who !== "users and bots" && caller.kind === "AgentBot") return NOT_FOR_BOTS;
  if (who === "administrators" && !caller.isAdministrator) return FORBIDDEN;
  const ids = (form.exec(path) ?? []).slice(1).map(Number);
  if (ids.some((id) => !Number.isSafeInteger(id))) return NOT_FOUND;
  if (/^conversations\/\d/.test(path)) {
    const access = await request.reader.access(ids[0], caller);
    // The second while a verb's change is not put away yet.
    if (access === "missing" || !request.installation.has(ids[0])) return NOT_FOUND;
    if (access === "hidden") return FORBIDDEN;
  }
  const input = readInput(request.body);
  if (input === null) return { status: 400, body: { status: 400, error: "Bad Request" } };
  if (!isKeepable(input)) return answer === createMessage ? UNKEEPABLE_MESSAGE : BROKEN;
  return await answer({ ...request, caller, ids, input });
}

function readInput(body: string): Attributes | null {
  if (body === "") return {};
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

type Owner = Pick<Caller, "kind" | "id">;

async function ownerOf({ reader }: RestRequest, token: string): Promise<Owner | null> {
  const [owner] = await reader.rows(
    `select owner_type as kind, owner_id as id from access_tokens
    where token = $1 and owner_type in ('User', 'AgentBot')`,
    [token],
  );
  return owner ?? null;
}

/** Who this is in the account, or why they are nobody there. */
async function callerOf(
  { reader, installation }: RestRequest,
  { owner, account }: { owner: Owner; account: number },
): Promise<Caller | Answer> {
  if (!Number.isSafeInteger(account)) return NOT_FOUND;
  const [known] = await reader.rows(
    `select status,
      (select role from account_users where account_users.account_id = accounts.id and user_id = $2) as role,
      exists (select from agent_bots where agent_bots.account_id = accounts.id and agent_bots.id = $2) as has_bot
    from accounts where accounts.id = $1`,
    [account, owner.id],
  );
  if (known === undefined) return NOT_FOUND;
  const isServed = account === installation.account.id;
  if (owner.kind === "AgentBot") {
    if (!isServed || !known.has_bot) return refuse(401, "Bot is not authorized to access this account");
  } else if (!isServed || known.role === null) {
    return refuse(401, "You are not authorized to access this account");
  }
  if (known.status === 1) return refuse(401, "Account is suspended");
  // A bot sees every conversation of its account.
  return { ...owner, isAdministrator: owner.kind === "AgentBot" || known.role === 1 };
}

async function profile({ reader, token, installation }: RestRequest, { id }: Owner): Promise<Attributes> {
  const { account } = installation;
  const [{ role, ...user }] = await reader.rows(
    `select users.id, users.name, users.email, coalesce(nullif(display_name, ''), name) as available_name,
      (select case role when 1 then 'administrator' else 'agent' end from account_users
        where account_users.user_id = users.id and account_users.account_id = $2) as role
    from users where users.id = $1`,
    [id, account.id],
  );
  const accounts = role === null
    ? []
    : [{ ...account, status: "active", role, permissions: [role], availability: "online" }];
  return { access_token: token, ...user, provider: "email", role, account_id: accounts[0]?.id ?? null, accounts };
}
