// Which path does what, who may, and in which of Chatwoot's words it is refused.
import { AGENTS, TEAMS } from "./furniture.ts";
import type { Outcome } from "./engine.ts";
import type { Installation } from "./installation.ts";
import { type Attributes, PRIORITIES, type Priority } from "./records.ts";
import type { Reader } from "./rest-rows.ts";

export interface Answer {
  status: number;
  /** undefined is an empty body. */
  body?: unknown;
}

export interface RestRequest {
  method: string;
  url: URL;
  token: string | null;
  body: string;
  reader: Reader;
  installation: Installation;
  now: Date;
  perform(at: Date, verb: (installation: Installation, at: Date) => Outcome): Promise<Outcome>;
  newSecret(): string;
}

interface Caller {
  id: number;
  isAdministrator: boolean;
}

interface Call extends RestRequest {
  caller: Caller;
  /** The numbers and names in the path. */
  parts: string[];
  input: Attributes;
}

const ok = (body?: unknown): Answer => ({ status: 200, body });
const refuse = (status: number, error: string): Answer => ({ status, body: { error } });
const NOT_FOUND = refuse(404, "Resource could not be found");
const NO_TOKEN: Answer = {
  status: 401,
  body: { errors: ["You need to sign in or sign up before continuing."] },
};
const FORBIDDEN = refuse(401, "You are not authorized to do this action");

const found = (value: unknown): Answer => value === null ? NOT_FOUND : ok(value);
const number = (text: string) => Number(text);

type Route = [string, RegExp, (call: Call) => Promise<Answer> | Answer, "administrator"?];

// Under /api/v1/accounts/<id>.
const ROUTES: Route[] = [
  [
    "GET",
    /^$/,
    ({ installation }) =>
      ok({ id: installation.account.id, name: installation.account.name, locale: "en", features: {}, settings: {} }),
  ],
  ["GET", /^conversations$/, async ({ reader, url, now }) => ok(await reader.conversations(url.searchParams, now))],
  ["GET", /^conversations\/meta$/, async ({ reader, url, now }) => {
    const { data } = await reader.conversations(url.searchParams, now) as { data: { meta: Attributes } };
    return ok({ meta: data.meta });
  }],
  ["GET", /^conversations\/(\d+)$/, async ({ reader, parts: [id] }) => found(await reader.conversation(number(id)))],
  ["DELETE", /^conversations\/(\d+)$/, deleteConversation, "administrator"],
  [
    "GET",
    /^conversations\/(\d+)\/messages$/,
    async ({ reader, parts: [id], url }) => found(await reader.messages(number(id), url.searchParams)),
  ],
  ["POST", /^conversations\/(\d+)\/messages$/, createMessage],
  ["DELETE", /^conversations\/(\d+)\/messages\/(\d+)$/, deleteMessage],
  ["GET", /^conversations\/(\d+)\/labels$/, async ({ reader, parts: [id] }) => {
    const conversation = await reader.conversation(number(id));
    return conversation === null ? NOT_FOUND : ok({ payload: conversation.labels });
  }],
  ["POST", /^conversations\/(\d+)\/labels$/, setLabels],
  ["POST", /^conversations\/(\d+)\/assignments$/, assign],
  ["POST", /^conversations\/(\d+)\/toggle_status$/, toggleStatus],
  ["POST", /^conversations\/(\d+)\/toggle_priority$/, togglePriority],
  ["POST", /^conversations\/(\d+)\/custom_attributes$/, setCustomAttributes],
  ["POST", /^conversations\/(\d+)\/update_last_seen$/, updateLastSeen],
  ["GET", /^agents$/, async ({ reader }) => ok(await reader.agents())],
  ["GET", /^agent_bots$/, async ({ reader }) => ok(await reader.agentBots())],
  ["GET", /^teams$/, async ({ reader }) => ok(await reader.teams())],
  ["GET", /^labels$/, async ({ reader }) => ok({ payload: await reader.labels() })],
  ["GET", /^inboxes$/, async ({ reader, caller }) => {
    const inboxes = await reader.inboxes();
    const shown = caller.isAdministrator
      ? inboxes
      : inboxes.map(({ hmac_token: _token, secret: _secret, ...inbox }) => inbox);
    return ok({ payload: shown });
  }],
  ["GET", /^canned_responses$/, async ({ reader }) => ok(await reader.cannedResponses())],
  ["GET", /^contacts$/, async ({ reader, url }) => {
    const page = url.searchParams.get("page") ?? "1";
    const { count, payload } = await reader.contacts(Math.max(1, Number(page) || 1));
    return ok({ meta: { count, current_page: page }, payload });
  }],
  ["GET", /^contacts\/(\d+)$/, async ({ reader, parts: [id] }) => {
    const contact = await reader.contact(number(id));
    return contact === null ? NOT_FOUND : ok({ payload: contact });
  }],
  [
    "GET",
    /^csat_survey_responses$/,
    async ({ reader, url }) => ok(await reader.surveyAnswers(url.searchParams)),
    "administrator",
  ],
  [
    "GET",
    /^reporting_events$/,
    async ({ reader, url }) => ok(await reader.reportingEvents(url.searchParams)),
    "administrator",
  ],
  ["GET", /^webhooks$/, async ({ reader }) => ok({ payload: { webhooks: await webhooks(reader) } }), "administrator"],
  ["POST", /^webhooks$/, createWebhook, "administrator"],
  ["PATCH", /^webhooks\/(\d+)$/, updateWebhook, "administrator"],
  ["DELETE", /^webhooks\/(\d+)$/, async ({ reader, parts: [id] }) => {
    const gone = await reader.rows("delete from webhooks where id = $1 returning id", [number(id)]);
    return gone.length === 0 ? NOT_FOUND : ok();
  }, "administrator"],
];

/** Answers one request as Chatwoot would. */
export async function answerRequest(request: RestRequest): Promise<Answer> {
  const { method, url: { pathname }, installation } = request;
  const isRead = method === "GET" || method === "HEAD";
  if (isRead && pathname === "/health") return ok({ status: "woot" });
  if (isRead && pathname === "/api") {
    const timestamp = request.now.toISOString().slice(0, 19).replace("T", " ");
    return ok({ version: "4.16.2", timestamp, queue_services: "ok", data_services: "ok" });
  }
  if (pathname !== "/api/v1/profile" && !pathname.startsWith("/api/v1/accounts/")) return NOT_FOUND;
  if (request.token === null) return NO_TOKEN;
  const caller = await callerOf(request);
  if (caller === null) return refuse(401, "Invalid Access Token");
  if (pathname === "/api/v1/profile") return ok(await profile(request, caller));
  const [, account, rest = ""] = /^\/api\/v1\/accounts\/(\d+)(?:\/(.*))?$/.exec(pathname) ?? [];
  if (account === undefined || Number(account) !== installation.account.id) return NOT_FOUND;
  for (const [verb, pattern, answer, role] of ROUTES) {
    const match = pattern.exec(rest);
    if (match === null || (verb !== method && !(verb === "GET" && method === "HEAD"))) continue;
    if (role === "administrator" && !caller.isAdministrator) return FORBIDDEN;
    const input = readInput(request.body);
    if (input === null) return refuse(400, "There was a problem in the JSON you submitted");
    return await answer({ ...request, caller, parts: match.slice(1), input });
  }
  return NOT_FOUND;
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

async function callerOf({ reader, token, installation }: RestRequest): Promise<Caller | null> {
  const [owner] = await reader.rows(
    `select account_users.user_id, account_users.role from access_tokens
    join account_users on account_users.user_id = access_tokens.owner_id and account_users.account_id = $2
    where access_tokens.token = $1 and access_tokens.owner_type = 'User'`,
    [token, installation.account.id],
  );
  return owner === undefined ? null : { id: owner.user_id, isAdministrator: owner.role === 1 };
}

async function profile({ reader, token, installation }: RestRequest, caller: Caller): Promise<Attributes> {
  const [user] = await reader.rows("select id, name, email from users where id = $1", [caller.id]);
  const role = caller.isAdministrator ? "administrator" : "agent";
  return {
    access_token: token,
    ...user,
    available_name: user.name,
    provider: "email",
    role,
    account_id: installation.account.id,
    accounts: [{ ...installation.account, status: "active", role, permissions: [role], availability: "online" }],
  };
}

const agentOf = (id: number) => AGENTS.find((agent) => agent.id === id) ?? AGENTS[0];
const isThere = ({ installation, parts: [id] }: Call) => installation.has(number(id));

async function createMessage(call: Call): Promise<Answer> {
  const { input, parts: [id], perform, now, caller, reader } = call;
  if (!isThere(call)) return NOT_FOUND;
  const text = input.content === undefined || input.content === null ? "" : String(input.content);
  if (text.length > 150_000) {
    return refuse(422, "Validation failed: Content is too long (maximum is 150000 characters)");
  }
  const { inbox } = call.installation.conversation(number(id));
  if (input.message_type === "incoming" && inbox.channel !== "api") {
    return refuse(422, "Incoming messages are only allowed in Api inboxes");
  }
  const agent = agentOf(caller.id);
  const outcome = await perform(
    now,
    (installation, at) =>
      input.message_type === "incoming"
        ? installation.customerWrites(at, number(id), { text })
        : input.private === true || input.private === "true"
        ? installation.note(at, number(id), { agent, text })
        : installation.agentReplies(at, number(id), { agent, text }),
  );
  const message = await reader.message(outcome.id);
  return found(
    message === null ? null : { ...message, ...(input.echo_id === undefined ? {} : { echo_id: input.echo_id }) },
  );
}

async function deleteMessage({ installation, parts: [, message], perform, now, reader }: Call): Promise<Answer> {
  if (await reader.message(number(message)) === null) return NOT_FOUND;
  if (installation.state.messages.get(number(message))?.type === "activity") return FORBIDDEN;
  await perform(now, (shop, at) => shop.deleteMessage(at, number(message)));
  return found(await reader.message(number(message)));
}

async function deleteConversation(call: Call): Promise<Answer> {
  if (!isThere(call)) return NOT_FOUND;
  await call.perform(call.now, (shop, at) => shop.deleteConversation(at, number(call.parts[0])));
  return ok();
}

// The list takes the place of the one before; titles that no label has are taken too.
async function setLabels(call: Call): Promise<Answer> {
  const { input, installation, parts: [id], perform, now } = call;
  if (!isThere(call)) return NOT_FOUND;
  const wanted = Array.isArray(input.labels) ? input.labels.map(String) : [];
  const before = [...installation.conversation(number(id)).labels];
  for (const label of before.filter((title) => !wanted.includes(title))) {
    await perform(now, (shop, at) => shop.removeLabel(at, number(id), label));
  }
  for (const label of wanted.filter((title) => !before.includes(title))) {
    await perform(now, (shop, at) => shop.addLabel(at, number(id), label));
  }
  return ok({ payload: wanted });
}

// An id nobody has unassigns, with 200 and null. With assignee_id in the request, team_id is not looked at.
async function assign(call: Call): Promise<Answer> {
  const { input, parts: [id], perform, now, reader } = call;
  if (!isThere(call)) return NOT_FOUND;
  if ("assignee_id" in input || !("team_id" in input)) {
    const agents = await reader.agents();
    const wanted = agents.find((agent) => agent.id === Number(input.assignee_id)) ?? null;
    const agent = wanted === null ? null : AGENTS.find((one) => one.id === wanted.id) ?? null;
    await perform(now, (shop, at) => shop.assign(at, number(id), agent));
    return ok(agent === null ? null : wanted);
  }
  const team = TEAMS.find((one) => one.id === Number(input.team_id)) ?? null;
  await perform(now, (shop, at) => shop.assignTeam(at, number(id), team?.name ?? null));
  return ok(team);
}

async function toggleStatus(call: Call): Promise<Answer> {
  const { input, installation, parts: [id], perform, now, caller } = call;
  if (!isThere(call)) return NOT_FOUND;
  const current = installation.conversation(number(id)).status;
  const status = input.status === undefined ? (current === "open" ? "resolved" : "open") : String(input.status);
  const until = input.snoozed_until === undefined ? null : new Date(Number(input.snoozed_until) * 1000);
  switch (status) {
    case "open":
      await perform(now, (shop, at) => shop.reopen(at, number(id)));
      // Whoever opens it without being an administrator has it.
      if (!caller.isAdministrator) await perform(now, (shop, at) => shop.assign(at, number(id), agentOf(caller.id)));
      break;
    case "resolved":
      await perform(now, (shop, at) => shop.resolve(at, number(id)));
      break;
    case "snoozed":
      await perform(now, (shop, at) => shop.snooze(at, number(id), until));
      break;
    default:
      return { status: 500, body: { status: 500, error: "Internal Server Error" } };
  }
  return ok({
    payload: {
      success: true,
      conversation_id: number(id),
      current_status: status,
      snoozed_until: input.snoozed_until ?? null,
    },
  });
}

async function togglePriority(call: Call): Promise<Answer> {
  const { input, parts: [id], perform, now } = call;
  if (!isThere(call)) return NOT_FOUND;
  const priority = PRIORITIES.find((name) => name === input.priority) ?? null;
  if (priority === null && input.priority !== null && input.priority !== undefined) {
    return { status: 500, body: { status: 500, error: "Internal Server Error" } };
  }
  await perform(now, (shop, at) => shop.setPriority(at, number(id), priority as Priority | null));
  return ok();
}

async function setCustomAttributes(call: Call): Promise<Answer> {
  const { input, parts: [id], perform, now } = call;
  if (!isThere(call)) return NOT_FOUND;
  const given = input.custom_attributes;
  const attributes = typeof given === "object" && given !== null ? { ...given } : {};
  await perform(now, (shop, at) => shop.setCustomAttributes(at, number(id), attributes));
  return ok({ custom_attributes: attributes });
}

async function updateLastSeen(call: Call): Promise<Answer> {
  if (!isThere(call)) return NOT_FOUND;
  await call.perform(call.now, (shop, at) => shop.agentOpens(at, number(call.parts[0])));
  return found(await call.reader.conversation(number(call.parts[0])));
}

const EVENTS = [
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
  "conversation_typing_on",
  "conversation_typing_off",
];

const WEBHOOK = "id, name, url, account_id, subscriptions, secret";
const webhooks = (reader: Reader) => reader.rows(`select ${WEBHOOK} from webhooks order by id`);

// Model validation has a form of its own: "message", and which attributes.
const invalid = (message: string, attribute: string): Answer => ({
  status: 422,
  body: { message, attributes: [attribute] },
});

function webhookFault(given: Attributes): Answer | null {
  if (given.url !== undefined && !/^https?:\/\/\S+$/.test(String(given.url))) return invalid("Url is invalid", "url");
  if (given.subscriptions !== undefined) {
    const events = given.subscriptions;
    if (!Array.isArray(events) || events.length === 0 || events.some((event) => !EVENTS.includes(String(event)))) {
      return invalid("Subscriptions Invalid events", "subscriptions");
    }
  }
  return null;
}

const webhookInput = (input: Attributes): Attributes =>
  typeof input.webhook === "object" && input.webhook !== null ? { ...input.webhook } : input;

async function createWebhook({ input, reader, installation, now, newSecret }: Call): Promise<Answer> {
  const given = webhookInput(input);
  if (Object.keys(given).length === 0) return refuse(422, "param is missing or the value is empty: webhook");
  const fault = webhookFault({ url: "", ...given });
  if (fault !== null) return fault;
  const [webhook] = await reader.rows(
    `insert into webhooks (account_id, name, url, secret, subscriptions, created_at, updated_at)
    select $1, $2, $3, $4, coalesce($5::jsonb, '${JSON.stringify(EVENTS.slice(0, 8))}'), $6, $6
    on conflict (account_id, url) do nothing returning ${WEBHOOK}`,
    [
      installation.account.id,
      given.name ?? null,
      given.url,
      newSecret(),
      given.subscriptions === undefined ? null : JSON.stringify(given.subscriptions),
      now.toISOString().slice(0, -1),
    ],
  );
  return webhook === undefined ? invalid("Url has already been taken", "url") : ok({ payload: { webhook } });
}

// The secret is Chatwoot's own to make, so one that is sent along is not looked at.
async function updateWebhook({ input, reader, parts: [id], now }: Call): Promise<Answer> {
  const given = webhookInput(input);
  const fault = webhookFault(given);
  if (fault !== null) return fault;
  const [webhook] = await reader.rows(
    `update webhooks set name = coalesce($2, name), url = coalesce($3, url),
      subscriptions = coalesce($4::jsonb, subscriptions), updated_at = $5
    where id = $1 returning ${WEBHOOK}`,
    [
      number(id),
      given.name ?? null,
      given.url ?? null,
      given.subscriptions === undefined ? null : JSON.stringify(given.subscriptions),
      now.toISOString().slice(0, -1),
    ],
  );
  return webhook === undefined ? NOT_FOUND : ok({ payload: { webhook } });
}
