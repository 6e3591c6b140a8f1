// Who is let in to the local Chatwoot's REST API, and what is answered to everybody.
import { beforeAll, describe, expect, test } from "vitest";
import { type Answered, converse, type Desk, type Json, minute, useChatwoots } from "./chatwoot-server.support.ts";

const open = useChatwoots();
const bad = ({ status, json }: Answered) => ({ status, json });

describe("who is let in", () => {
  let desk: Desk;
  let conversation: number;
  beforeAll(async () => {
    desk = await open();
    ({ id: conversation } = await converse(desk));
    await desk.rows("insert into accounts (id, name, created_at, updated_at) values (2, 'Other', now(), now())");
    await desk.rows(`insert into access_tokens (owner_type, owner_id, token, created_at, updated_at) values
      ('AgentBot', 7, 'bot-7', now(), now()), ('AgentBot', 99, 'bot-99', now(), now()),
      ('User', 99, 'nobody', now(), now()), ('PlatformApp', 1, 'platform', now(), now())`);
  });

  test.each(["api_access_token", "api-access-token"])("the header %s", async (header) => {
    expect((await desk.ask("agents", { header })).status).toBe(200);
  });

  test.each(["agents", "conversations", "conversations/1/messages", "webhooks", "/api/v1/profile"])(
    "without a token, %s is refused in a form of its own",
    async (path) => {
      expect(bad(await desk.ask(path, { token: null }))).toEqual({
        status: 401,
        json: { errors: ["You need to sign in or sign up before continuing."] },
      });
    },
  );

  test.each(["wrong", "platform"])("a token that is none: %s", async (token) => {
    const refusal = { status: 401, json: { error: "Invalid Access Token" } };
    expect(bad(await desk.ask("agents", { token }))).toEqual(refusal);
    expect(bad(await desk.ask("/api/v1/profile", { token }))).toEqual(refusal);
  });

  test.each([
    ["GET", "webhooks"],
    ["POST", "webhooks"],
    ["GET", "csat_survey_responses"],
    ["GET", "reporting_events"],
    ["DELETE", "conversations/1"],
  ])("%s %s is for administrators: an agent is answered 401, not 403", async (method, path) => {
    const token = await desk.agentToken();
    expect(bad(await desk.ask(path, { method, token }))).toEqual({
      status: 401,
      json: { error: "You are not authorized to do this action" },
    });
  });

  test("an account that is another's, and one that nobody has", async () => {
    expect(bad(await desk.ask("/api/v1/accounts/2/agents"))).toEqual({
      status: 401,
      json: { error: "You are not authorized to access this account" },
    });
    expect(bad(await desk.ask("agents", { token: "nobody" }))).toEqual({
      status: 401,
      json: { error: "You are not authorized to access this account" },
    });
    expect(bad(await desk.ask("/api/v1/accounts/3/agents"))).toEqual({
      status: 404,
      json: { error: "Resource could not be found" },
    });
    expect((await desk.ask("/api/v1/accounts/99999999999999999999/agents")).status).toBe(404);
  });

  test("an account that is suspended", async () => {
    await desk.rows("update accounts set status = 1 where id = 1");
    expect(bad(await desk.ask("agents"))).toEqual({ status: 401, json: { error: "Account is suspended" } });
    await desk.rows("update accounts set status = 0 where id = 1");
  });

  test("a bot may do a little, and list nothing", async () => {
    const notForBots = { status: 401, json: { error: "Access to this endpoint is not authorized for bots" } };
    for (const path of ["conversations", `conversations/${conversation}/messages`, "agents", "/api/v1/profile"]) {
      expect(bad(await desk.ask(path, { token: "bot-7" })), path).toEqual(notForBots);
    }
    expect((await desk.ask(`conversations/${conversation}`, { token: "bot-7" })).status).toBe(200);
    expect(bad(await desk.ask(`conversations/${conversation}`, { token: "bot-99" }))).toEqual({
      status: 401,
      json: { error: "Bot is not authorized to access this account" },
    });
  });

  test("an agent sees the conversations of their inboxes and of their teams", async () => {
    const token = await desk.agentToken();
    const [team] = desk.chatwoot.installation.teams;
    const other = await converse(desk, "email");
    await desk.rows("delete from inbox_members where user_id = 7 and inbox_id = 5");

    const numbers = async () =>
      (await desk.ask("conversations", { token })).json.data.payload.map(({ id }: Json) => id).sort();
    expect(await numbers()).toEqual([conversation]);
    expect(bad(await desk.ask(`conversations/${other.id}`, { token }))).toEqual({
      status: 401,
      json: { error: "You are not authorized to do this action" },
    });
    expect((await desk.ask(`conversations/${other.id}/messages`, { token })).status).toBe(401);

    await desk.chatwoot.perform(minute(1), (shop, at) => shop.assignTeam(at, other.id, team.name));
    expect((await desk.ask(`conversations/${other.id}`, { token })).status).toBe(200);
    expect(await numbers()).toEqual([conversation]);
  });

  test("the profile names the accounts and shows the token", async () => {
    expect((await desk.ask("/api/v1/profile")).json).toMatchObject({
      id: 1,
      access_token: desk.chatwoot.token,
      accounts: [{ id: 1, name: "Acme Outdoor", role: "administrator" }],
    });
    expect((await desk.ask("/api/v1/profile", { token: await desk.agentToken() })).json).toMatchObject({
      id: 7,
      available_name: "Ravi",
      accounts: [{ id: 1, role: "agent" }],
    });
  });
});

describe("health, unknown paths and the clock", () => {
  let desk: Desk;
  beforeAll(async () => {
    desk = await open();
  });

  test("/health and /api need no token, HEAD too", async () => {
    desk.chatwoot.setNow(new Date("2026-11-20T10:00:00.900Z"));
    expect(bad(await desk.ask("/health", { token: null }))).toEqual({ status: 200, json: { status: "woot" } });
    expect((await desk.ask("/api", { token: null })).json).toEqual({
      version: "4.16.2",
      timestamp: "2026-11-20 10:00:00",
      queue_services: "ok",
      data_services: "ok",
    });
    for (const path of ["/health", "/api"]) {
      expect(await desk.ask(path, { token: null, method: "HEAD" })).toMatchObject({ status: 200, text: "" });
    }
  });

  test.each(["/up", "/rails/health", "/api/v1/accounts/1/nothing", "/api/v1/accounts/x/agents", "/api/v2/accounts/1"])(
    "%s is nowhere, whoever asks",
    async (path) => {
      expect((await desk.ask(path)).status).toBe(404);
      expect((await desk.ask(path, { token: null })).status).toBe(404);
    },
  );

  test("the Date of an answer is the clock's", async () => {
    desk.chatwoot.setNow(new Date("2026-11-21T00:00:05.999Z"));
    expect((await desk.ask("agents")).headers.get("date")).toBe("Sat, 21 Nov 2026 00:00:05 GMT");
  });

  test("what was asked can be counted, with what was answered", async () => {
    const before = desk.chatwoot.requests.length;
    await desk.ask("labels?x=1");
    await desk.ask("nothing");
    expect(desk.chatwoot.requests.slice(before)).toEqual([
      { method: "GET", path: "/api/v1/accounts/1/labels?x=1", status: 200, problem: null },
      { method: "GET", path: "/api/v1/accounts/1/nothing", status: 404, problem: null },
    ]);
  });

  test("too many requests in a minute are answered 429 in plain text, without saying when to come back", async () => {
    await desk.restart({ rateLimitPerMinute: 2, now: () => minute(0) });
    await desk.ask("agents");
    await desk.ask("agents");
    const third = await desk.ask("agents");
    expect(third).toMatchObject({ status: 429, type: "text/plain", text: "Retry later\n" });
    expect(third.headers.has("retry-after")).toBe(false);
    expect((await desk.ask("/health")).status).toBe(200);

    desk.chatwoot.setNow(minute(1));
    expect((await desk.ask("agents")).status).toBe(200);
  });

  test("a body that is no JSON, and one that is too large", async () => {
    await desk.restart();
    const { id } = await converse(desk);
    expect((await desk.ask(`conversations/${id}/labels`, { method: "POST", body: "{" })).status).toBe(400);
    const large = await desk.ask(`conversations/${id}/labels`, { method: "POST", body: "x".repeat(2 ** 21) }).catch(
      () => null,
    );
    expect(large?.status ?? 500).toBe(500);
    expect(desk.chatwoot.requests.at(-1)).toMatchObject({
      status: 500,
      problem: expect.stringContaining("larger than"),
    });
  });
});
