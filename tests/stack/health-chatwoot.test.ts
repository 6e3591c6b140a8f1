// The checks that ask Chatwoot, against one that answers over HTTP and does what Chatwoots have been seen to do.
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { type Interference, minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const START = new Date("2026-11-20T09:00:00Z");

beforeAll(() => door.begin({ seed: 1 }));

interface Found {
  name: string;
  state: string;
  value: number | null;
  message: string;
  hint: string | null;
}
let now = START;
/** Looks once, a minute after the last time, and returns what was found of Chatwoot. */
async function look(interference: Interference | null = null): Promise<Record<string, Found>> {
  door.interfere(interference);
  now = minutes(now, 1);
  await door.rows("call ops.check_health($1)", [now]);
  door.interfere(null);
  const rows = await door.rows(
    "select name, state, value, message, hint from ops.health_checks where account_id = 1 and (name like 'chatwoot%' or name = 'service')",
  );
  return Object.fromEntries((rows as unknown as Found[]).map((row) => [row.name, row]));
}
const states = (found: Record<string, Found>) =>
  ["chatwoot_root", "chatwoot_api", "chatwoot_read", "service"].map((name) => found[name].state);

test("one that works: three requests, only one of them with the token, and how long each took", async () => {
  let found: Record<string, Found> = {};
  const asked = await door.during(async () => found = await look());

  expect(states(found)).toEqual(["ok", "ok", "ok", "ok"]);
  expect(asked).toEqual([
    { method: "HEAD", path: "/", hasToken: false },
    { method: "GET", path: "/api", hasToken: false },
    { method: "GET", path: "/api/v1/profile", hasToken: true },
  ]);
  expect(found.chatwoot_api.value).toBeGreaterThan(0);
  expect(found.chatwoot_api.message).toMatch(/^Answered in \d+ ms\.$/);
});

describe("what goes wrong is told, with what to do, and only what is Chatwoot's fault is downtime:", () => {
  const answer =
    (paths: RegExp, status: number, body: string, type = "application/json"): Interference => (request, response) => {
      if (!paths.test(request.url ?? "")) return false;
      response.writeHead(status, { "content-type": type }).end(request.method === "HEAD" ? undefined : body);
      return true;
    };
  const every = /./;

  test.each<[string, Interference, string[], RegExp]>([
    ["everything is 502", answer(every, 502, ""), ["fail", "fail", "fail", "fail"], /failed to answer \(502\)/],
    ["its database fails", answer(/^\/api$/, 200, '{"queue_services":"ok","data_services":"failing"}'), [
      "ok",
      "fail",
      "ok",
      "fail",
    ], /database is failing/],
    [
      "a page of a proxy",
      answer(/^\/api$/, 200, "<html>Back soon</html>", "text/html"),
      ["ok", "fail", "ok", "fail"],
      /not Chatwoot/,
    ],
    [
      "nothing of it is there any more",
      answer(every, 404, "no such app", "text/plain"),
      ["ok", "fail", "fail", "fail"],
      /not Chatwoot \(404\)/,
    ],
    [
      "the token is wrong",
      answer(/profile/, 401, '{"error":"Invalid Access Token"}'),
      ["ok", "ok", "fail", "ok"],
      /does not know the token/,
    ],
    ["too many requests", answer(/profile/, 429, ""), ["ok", "ok", "warn", "ok"], /refuses more requests/],
    ["the connection breaks", (_request, response) => Boolean(response.socket?.destroy()), [
      "fail",
      "fail",
      "fail",
      "fail",
    ], /could not be connected|broke/],
  ])("%s", async (_name, interference, expected, says) => {
    const found = await look(interference);

    expect(states(found)).toEqual(expected);
    const told = Object.values(found).filter(({ state }) => state !== "ok");
    expect(told.map(({ message }) => message).join(" ")).toMatch(says);
    expect(told.every(({ hint }) => hint !== null)).toBe(true);
  });

  test("a Chatwoot that hangs is asked once, and costs five seconds", async () => {
    const began = Date.now();
    let found: Record<string, Found> = {};
    const asked = await door.during(async () => found = await look(() => true));

    expect(states(found)).toEqual(["fail", "fail", "fail", "fail"]);
    expect(found.chatwoot_root.message).toMatch(/did not answer within 5 seconds/);
    expect(asked).toHaveLength(1);
    expect(Date.now() - began).toBeLessThan(9_000);
  });

  test("the downtime is one interval, the alert is raised once and ends once", async () => {
    await look();
    await door.rows("delete from ops.service_intervals where true");
    await door.rows("delete from ops.alerts where true");
    await door.rows("delete from ops.alert_states where true");
    const since = minutes(now, 1);
    for (let minute = 0; minute < 5; minute++) await look(answer(every, 503, ""));
    const until = minutes(now, 1);
    for (let minute = 0; minute < 4; minute++) await look();

    expect(await door.rows("select state, started_at, ended_at from ops.service_intervals where account_id = 1"))
      .toEqual([
        { state: "down", started_at: since, ended_at: until },
      ]);
    expect(
      await door.rows(
        "select kind, severity, resolved_at is not null as is_over, message from ops.alerts where kind = 'service.down'",
      ),
    )
      .toEqual([{
        kind: "service.down",
        severity: "critical",
        is_over: true,
        message: expect.stringMatching(/Chatwoot is down: Chatwoot failed to answer \(503\)/),
      }]);
  });
});

test("one that may not be asked at its address is neither up nor down", async () => {
  await door.rows("select ops.set_setting(1, 'sync_private_hosts', 'false')");
  const found = await look();
  await door.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");

  expect(states(found)).toEqual(["unknown", "unknown", "unknown", "unknown"]);
  expect(found.service).toMatchObject({ value: null, message: expect.stringMatching(/^Chatwoot cannot be asked: /) });
  expect(await door.rows("select from ops.service_intervals where account_id = 1 and ended_at is null")).toEqual([]);
});

test("without a token the rest is looked at all the same; the token is in no check, history or alert", async () => {
  const [{ token }] = await door.rows("select sync.token(1) as token");
  await door.rows("delete from vault.secrets where name = 'chatwoot_api_token_1'");
  const found = await look();

  expect(states(found)).toEqual(["ok", "ok", "unknown", "ok"]);
  expect(found.chatwoot_read.hint).toMatch(/set_sync_token/);
  for (const table of ["health_checks", "health_history", "alerts", "job_runs", "service_intervals"]) {
    const text = JSON.stringify(await door.rows(`select to_jsonb(kept) as row from ops.${table} as kept`));
    expect(text).not.toContain(String(token));
  }
});

test("a token that Vault cannot decrypt stops nobody's checks or alerts but the asking of that account's Chatwoot", async () => {
  await look();
  await door.rows("delete from ops.alerts where true");
  await door.rows("delete from ops.alert_states where true");
  const setToken = () => door.rows("select api.set_sync_token(2, $1)", [door.chatwoot().token]);
  await door.rows("select ops.set_setting(2, 'sync_private_hosts', 'true')");
  await setToken();
  await door.rows(
    "insert into sync.sources (account_id, door, base_url) select 2, door, base_url from sync.sources where account_id = 1",
  );
  const url = new URL(door.url());
  url.username = "supabase_admin";
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  await admin.query("update vault.secrets set secret = 'not base64' where name = 'chatwoot_api_token_2'");
  await admin.end();
  await expect(door.rows("select sync.token(2)")).rejects.toThrow();

  const down: Interference = (request, response) => {
    if (request.url === "/api/v1/profile") return false;
    response.writeHead(503).end();
    return true;
  };
  for (let minute = 0; minute < 4; minute++) await look(down);

  const told = await door.rows(
    `select account_id, name, subject, state, message, hint from ops.health_checks
    where checked_at = $1 and name in ('checks', 'service') and account_id in (1, 2)
      and (name = 'service' or subject = 'chatwoot') order by account_id, name`,
    [now],
  );
  expect(told).toMatchObject([
    { account_id: "1", name: "checks", subject: "chatwoot", state: "ok" },
    { account_id: "1", name: "service", subject: "chatwoot", state: "fail" },
    {
      ...{ account_id: "2", name: "checks", subject: "chatwoot", state: "fail" },
      ...{ message: "Chatwoot could not be asked (22023).", hint: expect.stringMatching(/set_sync_token/) },
    },
    { account_id: "2", name: "service", subject: "chatwoot", state: "unknown" },
  ]);
  expect(JSON.stringify(told)).not.toContain("not base64");
  expect(
    await door.rows("select account_id, kind from ops.alerts where kind = 'service.down' and resolved_at is null"),
  ).toEqual([{ account_id: "1", kind: "service.down" }]);
  expect((await door.rows("select ops.public_status($1) as status", [now]))[0].status).toMatchObject({
    services: { checks: "fail" },
  });

  await setToken();
  await look();
  expect(
    await door.rows(
      "select state from ops.health_checks where account_id = 2 and name = 'checks' and subject = 'chatwoot'",
    ),
  ).toEqual([{ state: "ok" }]);
});
