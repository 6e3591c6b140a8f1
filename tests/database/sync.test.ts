// What both doors of the sync share: where a source is, who may say so, how it rests, stops and is told of.
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

const AS_OF = "2026-11-20T09:00:00Z";
const URL = "https://chat.acme.example";
const TOKEN = "Zk3vQ9mXy7RtB2nHc8LpWd4J";

const sources = (sql: Sql) => sql.rows("select account_id, door, state, base_url from sync.sources order by 1, 2");
const setRest = (sql: Sql, url: string, account = 1) => sql.value("select api.set_rest_source($1, $2)", [account, url]);

describe("the base URL", () => {
  test.each([
    ["https://chat.acme.example", "https://chat.acme.example"],
    ["https://Chat.Acme.Example/", "https://chat.acme.example"],
    ["HTTPS://chat.acme.example:8443/support//", "https://chat.acme.example:8443/support"],
    ["https://xn--caf-dma.example", "https://xn--caf-dma.example"],
    ["https://10-0-0-1.chat.example", "https://10-0-0-1.chat.example"],
  ])("%s is kept as %s", (url, kept) =>
    database.rolledBack(async (sql) => {
      expect(await setRest(sql, url)).toBe(kept);
    }));

  const PRIVATE = [
    "http://chat.acme.example",
    "https://localhost",
    "https://localhost.",
    "https://LOCALHOST:3000",
    "https://chat.localhost",
    "https://127.0.0.1",
    "https://127.1",
    "https://0.0.0.0",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.0.0.1",
    "https://0177.0.0.1",
    "https://017700000001",
    "https://10.0.0.8",
    "https://172.16.4.4:3000",
    "https://192.168.1.10",
    "https://169.254.169.254",
    "https://[::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[fe80::1]",
    "https://[fd00::1]:3000",
    "https://8.8.8.8",
    "https://chatwoot",
    "https://chat.internal",
    "https://metadata.google.internal",
    "https://chat.lan",
    "https://chat.local",
    "https://1.2.3.4.in-addr.arpa",
    "https://kubernetes.default.svc",
    "https://chat.service.consul",
    "https://chat.cluster",
    "https://router.fritz.box",
    "https://abcdefghij234567.onion",
  ];

  test.each(PRIVATE)(
    "%s is refused, and taken where the project allows private hosts",
    (url) =>
      database.rolledBack(async (sql) => {
        const error = await sql.throws("OC422", "select api.set_rest_source(1, $1)", [url]);
        expect(error.message).toMatch(/base URL/);
        expect(await sources(sql)).toEqual([]);

        await sql.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");

        expect(await setRest(sql, url)).toBe(url.toLowerCase());
      }),
  );

  test.each([
    "file:///etc/passwd",
    "ftp://chat.acme.example",
    "gopher://chat.acme.example",
    "chat.acme.example",
    "//chat.acme.example",
    "https://user@chat.acme.example",
    "https://user:secret@chat.acme.example",
    "https://chat.acme.example@127.0.0.1",
    "https://chat.acme.example:0",
    "https://chat.acme.example:99999",
    "https://chat.acme.example:80:80",
    "https://chat.acme.example/?redirect=1",
    "https://chat.acme.example/#top",
    "https://chat.acme .example",
    "https://chat.acme.example\r\nHost: other.example",
    "https://chat.acme.example/\u0001",
    "https://café.example",
    "https://",
    "https:///path",
    "",
    null,
    `https://${"a".repeat(500)}.example`,
  ])("%j is refused, private hosts allowed or not, and not repeated", (url) =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");

      const error = await sql.throws("OC422", "select api.set_rest_source(1, $1)", [url]);

      expect(error.message).not.toContain("secret");
      expect(error.hint).toMatch(/address of your Chatwoot/);
    }));

  test("private hosts are allowed by the project's backend and not by a member", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      const setting = "select api.set_setting(1, 'sync_private_hosts', 'true')";

      await sql.as("authenticated", admin, () => sql.throws("OC403", setting));
      await sql.as("service_role", null, () => sql.rows(setting));
      await sql.throws("OC422", "select api.set_setting(1, 'sync_private_hosts', '1')");

      expect(await sql.value("select sync.allows_private_hosts(1)")).toBe(true);
      expect(await sql.value("select sync.allows_private_hosts(2)")).toBe(false);
    }));
});

describe("a source", () => {
  test("is set by an admin of the account alone, and each change is in the decision log", () =>
    database.rolledBack(async (sql) => {
      const [admin, approver, stranger] = [
        await member(sql, 1, "admin"),
        await member(sql, 1, "approver"),
        await member(sql, 2, "admin"),
      ];
      for (const user of [approver, stranger]) {
        await sql.as("authenticated", user, () => sql.throws("OC403", "select api.set_rest_source(1, $1)", [URL]));
      }
      await sql.as("anon", null, () => sql.throws("42501", "select api.set_rest_source(1, $1)", [URL]));

      await sql.as("authenticated", admin, () => setRest(sql, URL));
      await sql.as("authenticated", admin, () => setRest(sql, `${URL}/`));
      await sql.as("authenticated", admin, () => setRest(sql, "https://other.example"));

      expect(await sources(sql)).toEqual([
        { account_id: "1", door: "rest", state: "active", base_url: "https://other.example" },
      ]);
      await sql.resultsEqual("select actor, action, subject, evidence from audit.decision_log order by entry", [
        {
          actor: `user:${admin}`,
          action: "sync.source_set",
          subject: "sync:rest",
          evidence: { before: null, after: URL },
        },
        {
          actor: `user:${admin}`,
          action: "sync.source_set",
          subject: "sync:rest",
          evidence: { before: URL, after: "https://other.example" },
        },
      ]);
      for (const user of [admin, stranger]) {
        await sql.as("authenticated", user, async () => {
          expect(await sql.rows("select door from api.sync_status")).toHaveLength(user === admin ? 1 : 0);
        });
      }
    }));

  test("another URL starts from the beginning, the same one changes nothing", () =>
    database.rolledBack(async (sql) => {
      await setRest(sql, URL);
      await sql.rows(
        "update sync.sources set changed_until = $1, backfill_finished_at = $1, cursor = '{\"a\": 1}' where account_id = 1",
        [AS_OF],
      );
      const progress = "select changed_until, backfill_finished_at, cursor from sync.sources";
      const before = await sql.rows(progress);

      await setRest(sql, URL);
      expect(await sql.rows(progress)).toEqual(before);

      await setRest(sql, "https://other.example");
      expect(await sql.rows(progress)).toEqual([{ changed_until: null, backfill_finished_at: null, cursor: {} }]);
    }));

  test("a token goes with its server: another path keeps it, another scheme, host or port does not, and says so", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");
      for (const other of ["http://chat.acme.example", "https://chat.acme.example:8443", "https://other.example"]) {
        await setRest(sql, URL);
        await sql.rows("select api.set_sync_token(1, $1)", [TOKEN]);
        await setRest(sql, `${URL}/support`);
        expect(await sql.value("select sync.token(1)")).toBe(TOKEN);
        await sql.resultsEqual("select problem from api.sync_status", [{ problem: null }]);

        await setRest(sql, other);

        expect(await sql.value("select sync.token(1)"), other).toBe(null);
        await sql.resultsEqual("select problem, hint from api.sync_status", [{
          problem: "The token of the former address was deleted, since this one leads to another server.",
          hint: expect.stringContaining("api.set_sync_token"),
        }]);
      }
    }));

  test("a schema without Chatwoot's tables, or of our own, is no source", () =>
    database.rolledBack(async (sql) => {
      for (const schema of ["public", "chatwoot", "nowhere", 'pub"lic', null]) {
        await sql.throws("OC422", "select api.set_database_source(1, $1)", [schema]);
      }
    }));

  test("the database door is the project's, not a member's", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");

      await sql.as("authenticated", admin, () => sql.throws("OC403", "select api.set_database_source(1, 'public')"));
    }));

  test("is paused and resumed, logged each time", () =>
    database.rolledBack(async (sql) => {
      await setRest(sql, URL);
      await sql.rows("select sync.fail(1, 'rest', $1, 'timeout', 'No answer.', 'Wait.')", [AS_OF]);

      await sql.rows("select api.pause_sync(1, 'rest')");
      await sql.resultsEqual("select state, retry_at is not null as rests from sync.sources", [
        { state: "paused", rests: true },
      ]);
      await sql.rows("select api.resume_sync(1, 'rest'), api.resume_sync(1, 'rest')");

      await sql.resultsEqual("select state, retry_at is not null as rests, failures from sync.sources", [
        { state: "active", rests: false, failures: 0 },
      ]);
      await sql.resultsEqual(
        "select evidence from audit.decision_log where action = 'sync.state_set' order by entry",
        [{ evidence: { before: "active", after: "paused" } }, { evidence: { before: "paused", after: "active" } }],
      );
      await sql.throws("OC404", "select api.pause_sync(1, 'database')");
    }));

  test("that fails rests longer each time, to a quarter of an hour, and never exactly as long", () =>
    database.rolledBack(async (sql) => {
      await setRest(sql, URL);
      const rests: number[] = [];
      for (let failure = 0; failure < 9; failure++) {
        await sql.rows("select sync.fail(1, 'rest', $1, 'server_error', 'It answered 500.', 'Wait.')", [AS_OF]);
        rests.push(await sql.value("select extract(epoch from retry_at - $1)::float from sync.sources", [AS_OF]));
      }

      const expected = [30, 60, 120, 240, 480, 900, 900, 900, 900];
      rests.forEach((seconds, index) => {
        expect(seconds).toBeGreaterThanOrEqual(expected[index] * 0.8);
        expect(seconds).toBeLessThanOrEqual(expected[index] * 1.2);
      });
      expect(new Set(rests.slice(5)).size).toBeGreaterThan(1);
      await sql.resultsEqual("select failures, problem, hint, refusals from api.sync_status", [
        { failures: 9, problem: "It answered 500.", hint: "Wait.", refusals: { server_error: 9 } },
      ]);
      await sql.rows("select sync.succeed(1, 'rest', $1, 1, 3, 0)", [AS_OF]);
      await sql.resultsEqual("select failures, problem, retry_at, refusals from api.sync_status", [
        { failures: 0, problem: null, retry_at: null, refusals: { server_error: 9 } },
      ]);
      await sql.resultsEqual("select outcome, count(*)::int from sync.runs group by 1 order by 1", [
        { outcome: "failed", count: 9 },
        { outcome: "idle", count: 1 },
      ]);
    }));

  test("that stops raises one alert, which a resumption closes", () =>
    database.rolledBack(async (sql) => {
      const viewer = await member(sql, 1, "viewer");
      await setRest(sql, URL);

      await sql.rows("select sync.stop(1, 'rest', $1, 'The token is not valid.', 'Set another one.')", [AS_OF]);
      await sql.rows("select sync.stop(1, 'rest', $1, 'The token is not valid.', 'Set another one.')", [AS_OF]);

      await sql.as("authenticated", viewer, () =>
        sql.resultsEqual("select kind, subject, hint, times, resolved_at from api.alerts", [
          { kind: "sync.stopped", subject: "rest", hint: "Set another one.", times: 1, resolved_at: null },
        ]));
      await sql.resultsEqual("select actor, action from audit.decision_log where action = 'sync.stopped'", [
        { actor: "rule:sync", action: "sync.stopped" },
      ]);

      await sql.rows("select api.resume_sync(1, 'rest')");

      await sql.resultsEqual("select resolved_at is not null as is_resolved from api.alerts", [{ is_resolved: true }]);
      await sql.rows("select sync.stop(1, 'rest', $1, 'The token is not valid.', 'Set another one.')", [AS_OF]);
      expect(await sql.value("select count(*)::int from ops.alerts")).toBe(2);
    }));
});

test("a source that was paused is not stopped by an answer that came later", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    await sql.rows("select api.pause_sync(1, 'rest')");

    await sql.rows("select sync.stop(1, 'rest', $1, 'The token is not valid.', null)", [AS_OF]);

    await sql.resultsEqual("select state, problem from sync.sources", [{ state: "paused", problem: null }]);
    expect(await sql.rows("select from ops.alerts")).toEqual([]);
  }));

describe("the token", () => {
  test("goes into Vault and comes back nowhere, and another one resumes a stopped source", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      await setRest(sql, URL);

      await sql.as("authenticated", admin, () => sql.rows("select api.set_sync_token(1, $1)", [TOKEN]));
      expect(await sql.value("select sync.token(1)")).toBe(TOKEN);
      await sql.rows("select sync.stop(1, 'rest', $1, 'The token is not valid.', null)", [AS_OF]);
      await sql.as("authenticated", admin, () => sql.rows("select api.set_sync_token(1, $1)", [`${TOKEN}2`]));

      expect(await sql.value("select sync.token(1)")).toBe(`${TOKEN}2`);
      await sql.resultsEqual("select state from sync.sources", [{ state: "active" }]);
      expect(await sql.value("select count(*)::int from vault.secrets where name = 'chatwoot_api_token_1'")).toBe(1);
      expect(JSON.stringify(await sql.rows("select * from audit.decision_log"))).not.toContain(TOKEN);
      await sql.as("authenticated", admin, () => sql.throws("42501", "select sync.token(1)"));
      await sql.as("service_role", null, () => sql.throws("42501", "select sync.token(1)"));
    }));

  test.each(["", "short", "with space inside", "line\r\nX-Other: 1", "ü".repeat(24), "a".repeat(201), null])(
    "%j is refused and not repeated",
    (token) =>
      database.rolledBack(async (sql) => {
        const error = await sql.throws("OC422", "select api.set_sync_token(1, $1)", [token]);
        expect(error.message).toBe("That is no Chatwoot access token");
      }),
  );
});

test("an hour without a success is an alert, which the next success closes", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    const fail = (minutes: number) =>
      sql.rows(
        "select sync.fail(1, 'rest', $1::timestamptz + make_interval(mins => $2), 'timeout', 'No answer.', 'Wait.')",
        [AS_OF, minutes],
      );
    await sql.rows("select sync.succeed(1, 'rest', $1, 1, 0, 0)", [AS_OF]);

    for (const minutes of [1, 30, 59]) await fail(minutes);
    expect(await sql.rows("select from api.alerts")).toHaveLength(0);
    for (const minutes of [61, 90]) await fail(minutes);
    await sql.resultsEqual("select kind, times, resolved_at from ops.alerts", [
      { kind: "sync.failing", times: 2, resolved_at: null },
    ]);

    await sql.rows("select sync.succeed(1, 'rest', $1::timestamptz + interval '2 hours', 1, 0, 0)", [AS_OF]);
    await sql.resultsEqual("select resolved_at is not null as is_over from ops.alerts", [{ is_over: true }]);
  }));

test("so is an hour of failures of a source that never had one", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    for (const minutes of [0, 59, 61]) {
      expect(await sql.rows("select from ops.alerts")).toEqual([]);
      await sql.rows(
        "select sync.fail(1, 'rest', $1::timestamptz + make_interval(mins => $2), 'timeout', 'No answer.', 'Wait.')",
        [AS_OF, minutes],
      );
    }

    await sql.resultsEqual("select kind, resolved_at from ops.alerts", [{ kind: "sync.failing", resolved_at: null }]);
  }));

test("three comparisons at most are under way, however often somebody asks; the night's own goes on its own", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    await sql.rows("update sync.sources set backfill_finished_at = $1 where account_id = 1", [AS_OF]);
    const ask = (day: number) => [`2026-11-0${day}`, "2026-11-10"];
    for (const day of [1, 2, 3, 3]) await sql.rows("select * from api.verify_sync(1, $1, $2)", ask(day));

    const error = await sql.throws("OC409", "select * from api.verify_sync(1, $1, $2)", ask(4));

    expect(error.hint).toMatch(/2026-11-01/);
    for (let night = 0; night < 9; night++) {
      await sql.rows("select sync.request_verifications($1::timestamptz + make_interval(days => $2))", [AS_OF, night]);
    }
    await sql.resultsEqual(
      "select requested_by = 'rule:sync' as is_nightly, count(*)::int from sync.verifications group by 1 order by 1",
      [{ is_nightly: false, count: 3 }, { is_nightly: true, count: 3 }],
    );
    await sql.rows("select sync.finish_verification(1, min(verification_id), $1) from sync.verifications", [AS_OF]);
    await sql.rows("select * from api.verify_sync(1, $1, $2)", ask(4));
  }));

test("each night asks for the last three days, once, and old comparisons go after ninety", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    expect(await sql.value("select sync.request_verifications($1)::int", [AS_OF])).toBe(0);
    await sql.rows("update sync.sources set backfill_finished_at = $1 where account_id = 1", [AS_OF]);

    expect(await sql.value("select sync.request_verifications($1)::int", [AS_OF])).toBe(1);
    expect(await sql.value("select sync.request_verifications($1)::int", [AS_OF])).toBe(0);
    await sql.resultsEqual("select since, until, requested_by, state from sync.verifications", [{
      since: new Date("2026-11-17T00:00:00Z"),
      until: new Date("2026-11-20T00:00:00Z"),
      requested_by: "rule:sync",
      state: "queued",
    }]);

    await sql.rows("select sync.finish_verification(1, verification_id, $1) from sync.verifications", [AS_OF]);
    const purge = "select sync.purge_verifications($1::timestamptz + make_interval(days => $2))::int";
    expect(await sql.value(purge, [AS_OF, 89])).toBe(0);
    expect(await sql.value(purge, [AS_OF, 91])).toBe(1);
  }));

test("runs are kept for seven days", () =>
  database.rolledBack(async (sql) => {
    await setRest(sql, URL);
    await sql.rows("select sync.succeed(1, 'rest', $1::timestamptz - interval '8 days', 1, 0, 0)", [AS_OF]);
    await sql.rows("select sync.succeed(1, 'rest', $1::timestamptz - interval '6 days', 1, 0, 0)", [AS_OF]);

    expect(await sql.value("select sync.purge_runs($1)::int", [AS_OF])).toBe(1);
    expect(await sql.value("select count(*)::int from sync.runs")).toBe(1);
  }));

test("a range that cannot be verified, or an account without a source, is an error", () =>
  database.rolledBack(async (sql) => {
    await sql.throws("OC404", "select * from api.verify_sync(1, '2026-11-01', '2026-11-02')");
    for (const [since, until] of [["2026-11-02", "2026-11-02"], ["2026-11-02", null], ["-infinity", "2026-11-02"]]) {
      await sql.throws("OC422", "select * from api.verify_sync(1, $1, $2)", [since, until]);
    }
    const viewer = await member(sql, 1, "viewer");
    await sql.as(
      "authenticated",
      viewer,
      () => sql.throws("OC403", "select * from api.verify_sync(1, '2026-11-01', '2026-11-02')"),
    );
  }));
