// What is told, to whom, when and how often: everything of notifications but the requests themselves.
import { createHmac, randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { member, type Role, type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

const AS_OF = "2026-11-20T09:00:00Z";
const at = (seconds: number) => new Date(Date.parse(AS_OF) + seconds * 1000).toISOString();
const SLACK_URL = "https://hooks.slack.example/services/T0/B0/slack-path-secret";

type Options = Record<string, unknown>;

/** Adds an endpoint and returns its number and secret. */
async function add(sql: Sql, options: Options = {}): Promise<{ endpoint_id: string; signing_secret: string | null }> {
  const given: Options = {
    ...{ account_id: 1, name: `endpoint ${randomUUID()}`, url: SLACK_URL, format: "slack", as_of: AS_OF },
    ...options,
  };
  const names = Object.keys(given);
  const [row] = await sql.rows<{ endpoint_id: string; signing_secret: string | null }>(
    `select * from ops.add_notification_endpoint(${names.map((name, index) => `${name} => $${index + 1}`).join(", ")})`,
    names.map((name) => given[name]),
  );
  return row;
}

const notify = (
  sql: Sql,
  key: string,
  { severity = "warning", kind = "sla.breach", as_of = AS_OF, account = 1 } = {},
) =>
  sql.value<string | null>("select ops.notify($1, $2, $3, $4, $5, $6, $7)", [
    account,
    kind,
    key,
    `About ${key}`,
    { conversation: 7 },
    severity,
    as_of,
  ]);

interface Claim {
  account_id: string;
  endpoint_id: string;
  message_id: string;
}

const claim = async (sql: Sql, as_of = AS_OF): Promise<Claim | null> => {
  const [row] = await sql.rows<Claim>("select * from ops.claim_message($1)", [as_of]);
  return row.message_id === null ? null : row;
};

const keysOf = async (sql: Sql, { account_id, endpoint_id, message_id }: Claim) =>
  (await sql.rows<{ dedupe_key: string }>(
    `select notifications.dedupe_key from ops.notification_deliveries as deliveries
      join ops.notifications using (account_id, notification_id)
      where account_id = $1 and endpoint_id = $2 and message_id = $3 order by delivery_id`,
    [account_id, endpoint_id, message_id],
  )).map((row) => row.dedupe_key);

const settle = (sql: Sql, { account_id, endpoint_id, message_id }: Claim, as_of: string, kind: string | null = null) =>
  sql.rows("select ops.settle_message($1, $2, $3, $4, $5, 500, $6, 'Look there.', null)", [
    account_id,
    endpoint_id,
    message_id,
    as_of,
    kind,
    kind === null ? null : `It was ${kind}.`,
  ]);

/** Everything that goes out at that instant, as lists of keys, taken by every receiver. */
async function sendAll(sql: Sql, as_of: string): Promise<string[][]> {
  const messages: string[][] = [];
  for (let claimed = await claim(sql, as_of); claimed !== null; claimed = await claim(sql, as_of)) {
    messages.push(await keysOf(sql, claimed));
    await settle(sql, claimed, as_of);
  }
  return messages;
}

describe("telling", () => {
  test("the same key again does nothing and returns null; another account's key is another", () =>
    database.rolledBack(async (sql) => {
      await add(sql);

      expect(await notify(sql, "k")).toMatch(/^\d+$/);
      expect(await notify(sql, "k", { severity: "critical" })).toBeNull();
      expect(await notify(sql, "k", { account: 2 })).toMatch(/^\d+$/);

      await sql.resultsEqual(
        "select account_id, severity, title, body, state, created_at from ops.notifications order by account_id",
        ["1", "2"].map((account_id) => ({
          ...{ account_id, severity: "warning", title: "About k", body: { conversation: 7 }, state: "open" },
          created_at: new Date(AS_OF),
        })),
      );
      expect(await sql.value("select count(*)::int from ops.notification_deliveries")).toBe(1);
    }));

  test("two who tell the same at once: one row", async () => {
    const [one, other] = [await database.connect(), await database.connect()];
    const tell = "select ops.notify(77, 'sla.breach', 'race', 'x') as id";
    await one.query("begin");
    await other.query("begin");
    const first = await one.query(tell);
    const second = other.query(tell);
    await database.untilWaiting(other);
    await one.query("commit");

    expect(first.rows[0].id).not.toBeNull();
    expect((await second).rows[0].id).toBeNull();

    await other.query("commit");
    await one.query("delete from ops.notifications where account_id = 77");
  });

  test("what is too long, empty or of the wrong kind is cut, not refused: the caller's work goes on", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        "select ops.notify(1, 'a', repeat('k', 500), repeat('t', 500), jsonb_build_object('x', repeat('b', 9000)))",
      );
      await sql.rows("select ops.notify(1, 'a.b', repeat('k', 499) || 'x', E' two\\n\\tlines\\u0007 ', '[1]')");
      await sql.rows("select ops.notify(1, 'a.c', 'k3', null, null)");

      const rows = await sql.rows<{ title: string; body: Options; dedupe_key: string }>(
        "select title, body, dedupe_key from ops.notifications order by notification_id",
      );
      expect(rows.map(({ title }) => title)).toEqual(["t".repeat(300), "two lines", "a.c"]);
      expect(rows.map(({ body }) => Object.keys(body))).toEqual([["omitted"], [], []]);
      expect(new Set(rows.map(({ dedupe_key }) => dedupe_key)).size).toBe(3);
      expect(await sql.value("select ops.notify(1, 'a', repeat('k', 500), 'again')")).toBeNull();
    }));

  test.each([
    { filter: {}, told: ["info", "warning", "critical", "sla.warning", "sync.stopped"] },
    { filter: { minimum_severity: "warning" }, told: ["warning", "critical", "sla.warning", "sync.stopped"] },
    { filter: { kinds: ["sync.stopped"] }, told: ["sync.stopped"] },
    { filter: { kinds: ["sync.stopped", "sla.*"], minimum_severity: "critical" }, told: ["critical"] },
    { filter: { kinds: ["sla.*"] }, told: ["info", "warning", "critical", "sla.warning"] },
    { filter: { escalate_after_seconds: 60 }, told: [] },
  ])("the filter $filter lets through $told", ({ filter, told }) =>
    database.rolledBack(async (sql) => {
      await add(sql, filter);
      await add(sql, { account_id: 2 });
      for (const severity of ["info", "warning", "critical"]) await notify(sql, severity, { severity });
      await notify(sql, "sla.warning", { kind: "sla.warning" });
      await notify(sql, "sync.stopped", { kind: "sync.stopped" });

      expect((await sendAll(sql, AS_OF)).flat()).toEqual(told);
    }));

  test("a paused endpoint is told nothing of what happens meanwhile, and keeps what was on its way", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql);
      await notify(sql, "before");
      await sql.rows("select api.set_notification_endpoint_state(1, $1, 'paused')", [endpoint_id]);
      await notify(sql, "meanwhile");
      expect(await sendAll(sql, AS_OF)).toEqual([]);

      await sql.rows("select api.set_notification_endpoint_state(1, $1, 'active')", [endpoint_id]);

      expect(await sendAll(sql, AS_OF)).toEqual([["before"]]);
    }));
});

describe("quiet hours", () => {
  const quiet = (sql: Sql, start: number, end: number, zone: string, instant: string) =>
    sql.value<Date | null>("select ops.quiet_until($1, $2, $3, $4)", [start, end, zone, instant]);

  test.each([
    { name: "overnight, before midnight", hours: [1320, 420], at: "2026-11-20T21:30Z", until: "2026-11-21T06:00Z" },
    { name: "overnight, after midnight", hours: [1320, 420], at: "2026-11-21T02:00Z", until: "2026-11-21T06:00Z" },
    { name: "overnight, on the first second", hours: [1320, 420], at: "2026-11-20T21:00Z", until: "2026-11-21T06:00Z" },
    { name: "overnight, on the last instant", hours: [1320, 420], at: "2026-11-21T06:00Z", until: null },
    { name: "overnight, by day", hours: [1320, 420], at: "2026-11-20T12:00Z", until: null },
    { name: "by day", hours: [720, 780], at: "2026-11-20T11:30Z", until: "2026-11-20T12:00Z" },
    { name: "a night of 23 hours", hours: [1320, 420], at: "2026-03-29T00:30Z", until: "2026-03-29T05:00Z" },
    { name: "a night of 25 hours", hours: [1320, 420], at: "2026-10-25T00:30Z", until: "2026-10-25T06:00Z" },
    { name: "an hour that is left out", hours: [120, 180], at: "2026-03-29T01:00Z", until: null },
    { name: "an end that is left out", hours: [60, 150], at: "2026-03-29T01:15Z", until: "2026-03-29T01:30Z" },
    { name: "an hour that comes twice, first", hours: [120, 180], at: "2026-10-25T00:30Z", until: null },
    { name: "an hour that comes twice, then", hours: [120, 180], at: "2026-10-25T01:30Z", until: "2026-10-25T02:00Z" },
  ])(
    "Berlin, $name: $at is quiet until $until",
    ({ hours: [start, end], at: instant, until }) =>
      database.rolledBack(async (sql) => {
        expect(await quiet(sql, start, end, "Europe/Berlin", instant)).toEqual(until === null ? null : new Date(until));
      }),
  );

  test("a zone with odd minutes, and no hours at all", () =>
    database.rolledBack(async (sql) => {
      expect(await quiet(sql, 0, 60, "Asia/Kathmandu", "2026-11-20T18:30Z")).toEqual(new Date("2026-11-20T19:15Z"));
      expect(await sql.value("select ops.quiet_until(null, null, 'UTC', now())")).toBeNull();
    }));

  test("what is told in them waits for their end; critical news does not, where the endpoint says so", () =>
    database.rolledBack(async (sql) => {
      const hours = { quiet_start_minute: 1320, quiet_end_minute: 420, time_zone: "Europe/Berlin" };
      await add(sql, { ...hours, critical_at_once: true });
      const night = "2026-11-20T23:00:00Z";
      await notify(sql, "usual", { as_of: night });
      await notify(sql, "urgent", { as_of: night, severity: "critical" });

      expect(await sendAll(sql, night)).toEqual([["urgent"]]);
      expect(await sendAll(sql, "2026-11-21T05:59:59Z")).toEqual([]);
      expect(await sendAll(sql, "2026-11-21T06:00:00Z")).toEqual([["usual"]]);
    }));

  test("critical news waits as well where the endpoint says so", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { quiet_start_minute: 0, quiet_end_minute: 1439, critical_at_once: false, time_zone: "UTC" });
      await notify(sql, "urgent", { severity: "critical" });

      expect(await sendAll(sql, at(60))).toEqual([]);
      expect(await sendAll(sql, "2026-11-20T23:59:00Z")).toEqual([["urgent"]]);
    }));

  test("a retry waits for their end too", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { quiet_start_minute: 541, quiet_end_minute: 600, time_zone: "UTC" });
      await notify(sql, "k");
      const claimed = await claim(sql);

      await settle(sql, claimed as Claim, AS_OF, "server_error");

      expect(await sendAll(sql, at(3599))).toEqual([]);
      expect(await sendAll(sql, at(3600))).toEqual([["k"]]);
    }));
});

describe("a digest", () => {
  test.each([
    { minutes: 15, zone: "UTC", at: "2026-11-20T09:07:00Z", out: "2026-11-20T09:15:00Z" },
    { minutes: 60, zone: "Asia/Kathmandu", at: "2026-11-20T09:07:00Z", out: "2026-11-20T09:15:00Z" },
    { minutes: 15, zone: "UTC", at: "2026-11-20T09:15:00Z", out: "2026-11-20T09:30:00Z" },
    { minutes: 1440, zone: "Europe/Berlin", at: "2026-10-25T00:30:00Z", out: "2026-10-25T23:00:00Z" },
    { minutes: 70, zone: "UTC", at: "2026-11-20T23:59:59Z", out: "2026-11-21T00:00:00Z" },
    { minutes: 60, zone: "Europe/Berlin", at: "2026-10-25T00:30:00Z", out: "2026-10-25T02:00:00Z" },
    { minutes: 60, zone: "Europe/Berlin", at: "2026-03-29T00:30:00Z", out: "2026-03-29T01:00:00Z" },
  ])(
    "of $minutes minutes in $zone: what is told at $at goes out at $out",
    ({ minutes, zone, at: told, out }) =>
      database.rolledBack(async (sql) => {
        expect(await sql.value("select ops.digest_at($1, $2, $3)", [minutes, zone, told])).toEqual(new Date(out));
      }),
  );

  test("collects what was told meanwhile into one message; urgent news goes alone and at once", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { digest_minutes: 30 });
      await notify(sql, "a");
      await notify(sql, "b", { as_of: at(600) });
      await notify(sql, "urgent", { as_of: at(700), severity: "critical" });
      expect(await sendAll(sql, at(700))).toEqual([["urgent"]]);
      expect(await sendAll(sql, at(1799))).toEqual([]);
      await notify(sql, "next", { as_of: at(1800) });

      expect(await sendAll(sql, at(1800))).toEqual([["a", "b"]]);
      expect(await sendAll(sql, at(3600))).toEqual([["next"]]);
    }));

  test("is made of a flood without being asked for: 20 go one by one, 21 as one, thousands in bounded messages", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { format: "standard" });
      const tell = (count: number, prefix: string) =>
        sql.rows("select ops.notify(1, 'a', $2 || i, 'x', as_of => $3) from generate_series(1, $1) as i", [
          count,
          prefix,
          AS_OF,
        ]);
      await tell(20, "few ");
      expect((await sendAll(sql, AS_OF)).map((keys) => keys.length)).toEqual(Array(20).fill(1));
      await tell(21, "some ");
      expect((await sendAll(sql, AS_OF)).map((keys) => keys.length)).toEqual([21]);
      await tell(230, "many ");
      expect((await sendAll(sql, AS_OF)).map((keys) => keys.length)).toEqual([100, 100, 30]);

      await add(sql, { account_id: 2 });
      await sql.rows("select ops.notify(2, 'a', i::text, 'x', as_of => $1) from generate_series(1, 2500) as i", [
        AS_OF,
      ]);
      expect((await sendAll(sql, AS_OF)).map((keys) => keys.length)).toEqual([1000, 1000, 500]);
    }));

  test("that failed is sent again with the same id and the same news, and not with what came since", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { digest_minutes: 1 });
      await notify(sql, "a");
      await notify(sql, "b");
      const first = await claim(sql, at(60)) as Claim;
      await settle(sql, first, at(60), "timeout");
      await notify(sql, "c", { as_of: at(60) });

      const again = await claim(sql, at(120)) as Claim;

      expect(again.message_id).toBe(first.message_id);
      expect(await keysOf(sql, again)).toEqual(["a", "b"]);
      await settle(sql, again, at(120));
      expect(await sendAll(sql, at(120))).toEqual([["c"]]);
    }));
});

describe("escalation", () => {
  const escalate = (sql: Sql, as_of: string) =>
    sql.value<string>("select ops.escalate_notifications($1)", [as_of]).then(Number);

  test("a critical notification nobody acknowledged is told again, so often and no more", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { escalate_after_seconds: 900, escalate_times: 2 });
      await notify(sql, "urgent", { severity: "critical" });
      await notify(sql, "usual", { severity: "warning" });
      expect(await sendAll(sql, AS_OF)).toEqual([]);

      expect(await escalate(sql, at(899))).toBe(0);
      expect(await escalate(sql, at(900))).toBe(1);
      expect(await sendAll(sql, at(900))).toEqual([["urgent"]]);
      expect(await escalate(sql, at(901))).toBe(0);
      expect(await escalate(sql, at(1800))).toBe(1);
      expect(await sendAll(sql, at(1800))).toEqual([["urgent"]]);
      expect(await escalate(sql, at(86_400))).toBe(0);
      await sql.resultsEqual(
        "select next_escalation_at from ops.notifications where next_escalation_at is not null",
        [],
      );
    }));

  test("ends when somebody acknowledges, also for what is on its way", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { escalate_after_seconds: 60 });
      const id = await notify(sql, "urgent", { severity: "critical" });
      expect(await escalate(sql, at(60))).toBe(1);
      const operator = await member(sql, 1, "operator");

      await sql.as("authenticated", operator, async () => {
        expect(await sql.value("select api.acknowledge_notification(1, $1)", [id])).toBe(true);
        expect(await sql.value("select api.acknowledge_notification(1, $1)", [id])).toBe(false);
        await sql.throws("OC404", "select api.acknowledge_notification(1, 999999)");
      });

      expect(await sendAll(sql, at(61))).toEqual([]);
      expect(await escalate(sql, at(3600))).toBe(0);
      await sql.resultsEqual(
        `select notifications.state, acknowledged_by, deliveries.state as delivery from ops.notifications
          join ops.notification_deliveries as deliveries using (account_id, notification_id)`,
        [{ state: "acknowledged", acknowledged_by: `user:${operator}`, delivery: "cancelled" }],
      );
      await sql.resultsEqual(
        "select actor, action, subject from audit.decision_log order by entry desc limit 1",
        [{ actor: `user:${operator}`, action: "notification.acknowledged", subject: `notification:${id}` }],
      );
    }));

  test("of an old one that waits in quiet hours is not told a second time beside it", () =>
    database.rolledBack(async (sql) => {
      const hours = { quiet_start_minute: 0, quiet_end_minute: 720, time_zone: "UTC", critical_at_once: false };
      await add(sql, { ...hours, escalate_after_seconds: 60 });
      await notify(sql, "urgent", { severity: "critical" });

      for (let minute = 1; minute < 180; minute += 20) await escalate(sql, at(minute * 60));

      expect(await sendAll(sql, "2026-11-20T12:00:00Z")).toEqual([["urgent"]]);
    }));

  test("several endpoints each keep their own time; after a long stop each is told once", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { escalate_after_seconds: 60 });
      await add(sql, { escalate_after_seconds: 600 });
      await notify(sql, "urgent", { severity: "critical" });
      expect(await escalate(sql, at(60))).toBe(1);
      expect(await escalate(sql, at(120))).toBe(0);
      await sendAll(sql, at(120));

      expect(await escalate(sql, at(7200))).toBe(2);
      expect((await sendAll(sql, at(7200))).flat()).toEqual(["urgent", "urgent"]);
    }));
});

describe("whose turn it is", () => {
  test("each endpoint in turn, those that fail after those that work, and none twice while it is leased", () =>
    database.rolledBack(async (sql) => {
      const ids = [];
      for (const name of ["a", "b", "c"]) ids.push((await add(sql, { name })).endpoint_id);
      for (const key of ["1", "2"]) await notify(sql, key);
      const first = await claim(sql) as Claim;
      await settle(sql, first, AS_OF, "timeout");

      const turns = [];
      for (let claimed = await claim(sql); claimed; claimed = await claim(sql)) {
        turns.push(claimed.endpoint_id);
        await settle(sql, claimed, AS_OF);
      }

      expect(first.endpoint_id).toBe(ids[0]);
      expect(turns).toEqual([ids[1], ids[2], ids[1], ids[2]]);
      // Half a minute on, the one that failed comes last, though it has waited longest.
      await notify(sql, "3", { as_of: at(40) });
      expect((await claim(sql, at(40)) as Claim).endpoint_id).toBe(ids[1]);
      expect((await claim(sql, at(40)) as Claim).endpoint_id).toBe(ids[2]);
      expect((await claim(sql, at(40)) as Claim).endpoint_id).toBe(ids[0]);
      expect(await claim(sql, at(40))).toBeNull();
      // Nobody came back from these three: a minute later they are tried again.
      expect((await claim(sql, at(101)) as Claim).endpoint_id).toBe(ids[1]);
    }));

  test("a message whose sending is broken off again and again is given up", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await notify(sql, "poison");
      await notify(sql, "next");
      for (let attempt = 0; attempt < 12; attempt++) {
        expect(await keysOf(sql, await claim(sql, at(attempt * 61)) as Claim)).toEqual(["poison"]);
      }

      expect(await keysOf(sql, await claim(sql, at(12 * 61)) as Claim)).toEqual(["next"]);

      await sql.resultsEqual("select state, attempts, problem from ops.notification_deliveries order by 1", [
        { state: "dead", attempts: 12, problem: expect.stringMatching(/broken off twelve times/) },
        { state: "pending", attempts: 1, problem: null },
      ]);
    }));

  test("what the receiver refuses as it is holds up nothing behind it and ends after three tries", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await notify(sql, "poison");
      await notify(sql, "good");
      await settle(sql, await claim(sql) as Claim, AS_OF, "refused");
      expect(await claim(sql)).toBeNull();

      const behind = await claim(sql, at(40)) as Claim;
      expect(await keysOf(sql, behind)).toEqual(["good"]);
      await settle(sql, behind, at(40));
      await settle(sql, await claim(sql, at(600)) as Claim, at(600), "refused");
      await settle(sql, await claim(sql, at(4000)) as Claim, at(4000), "refused");

      await sql.resultsEqual(
        "select state, attempts, last_status from ops.notification_deliveries order by delivery_id limit 1",
        [{ state: "dead", attempts: 3, last_status: 500 }],
      );
      await sql.resultsEqual("select state, failures from ops.notification_endpoints", [{
        state: "active",
        failures: 0,
      }]);
    }));
});

describe("adding an endpoint", () => {
  test("the secret comes once, the URL never; who did it is in the log", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      const url = "https://Hooks.Example.com:8443/path-secret/?key=query-secret";

      const [added] = await sql.as("authenticated", admin, () =>
        sql.rows<{ endpoint_id: string; signing_secret: string }>(
          "select * from api.add_notification_endpoint(1, 'Pager', $1, 'standard', '{sla.*}', 'warning')",
          [url],
        ));
      const slack = await add(sql);

      expect(added.signing_secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
      expect(slack.signing_secret).toBeNull();
      const shown = await sql.as("authenticated", admin, () =>
        sql.rows("select * from api.notification_endpoints order by endpoint_id"));
      expect(shown[0]).toMatchObject({
        ...{ name: "Pager", origin: "https://hooks.example.com:8443", format: "standard", kinds: ["sla.*"] },
        ...{ minimum_severity: "warning", time_zone: "UTC", is_escalation: false, state: "active", pending: "0" },
      });
      const [log] = await sql.rows("select * from audit.decision_log order by entry limit 1");
      expect(log).toMatchObject({ actor: `user:${admin}`, action: "notification_endpoint.added", outcome: "done" });
      const everything = JSON.stringify([
        shown,
        await sql.rows("select * from audit.decision_log"),
        await sql.rows("select * from ops.notification_endpoints"),
      ]);
      expect(everything).not.toMatch(/path-secret|query-secret|whsec_/);
      expect(await sql.value("select ops.endpoint_secret(1, $1, 'url')", [added.endpoint_id])).toBe(url);
    }));

  test.each<{ fault: string; options: Options; says: RegExp }>([
    { fault: "a loopback address", options: { url: "https://127.0.0.1/secret-x" }, says: /public name/ },
    { fault: "a private name", options: { url: "https://hooks.internal/secret-x" }, says: /public name/ },
    { fault: "the metadata service", options: { url: "https://169.254.169.254/secret-x" }, says: /public name/ },
    { fault: "no TLS", options: { url: "http://hooks.example.com/secret-x" }, says: /https/ },
    { fault: "credentials", options: { url: "https://me:secret-x@hooks.example.com/" }, says: /user name or password/ },
    { fault: "a host hidden by a query", options: { url: "https://127.0.0.1?.example.com/secret-x" }, says: /public/ },
    {
      fault: "a line break in the query",
      options: { url: "https://a.example.com/?secret-x=1\r\nHost: b" },
      says: /spaces/,
    },
    { fault: "a fragment", options: { url: "https://a.example.com/?a=1#secret-x" }, says: /#/ },
    { fault: "another scheme", options: { url: "file:///etc/secret-x" }, says: /https/ },
    { fault: "too long a URL", options: { url: `https://a.example.com/?${"secret-x".repeat(300)}` }, says: /2000/ },
    { fault: "no URL", options: { url: null }, says: /given/ },
    { fault: "no name", options: { name: " " }, says: /name/ },
    { fault: "a URL for a name", options: { name: "https://a.example.com/secret-x" }, says: /name/ },
    { fault: "an unknown format", options: { format: "teams" }, says: /slack or standard/ },
    { fault: "an empty filter", options: { kinds: [] }, says: /kinds/ },
    { fault: "an odd kind", options: { kinds: ["sla.breach", "*"] }, says: /kinds/ },
    { fault: "half of quiet hours", options: { quiet_start_minute: 60 }, says: /quiet/ },
    { fault: "quiet hours of no length", options: { quiet_start_minute: 60, quiet_end_minute: 60 }, says: /quiet/ },
    { fault: "minutes beyond the day", options: { quiet_start_minute: 60, quiet_end_minute: 1440 }, says: /1439/ },
    { fault: "no zone", options: { time_zone: "Mars/Olympus" }, says: /IANA/ },
    { fault: "an offset for a zone", options: { time_zone: "+02:00" }, says: /IANA/ },
    { fault: "a digest of over a day", options: { digest_minutes: 1441 }, says: /1440/ },
    { fault: "an escalation at once", options: { escalate_after_seconds: 59 }, says: /60/ },
    { fault: "an endless escalation", options: { escalate_after_seconds: 60, escalate_times: 11 }, says: /10/ },
    { fault: "times without an escalation", options: { escalate_times: 3 }, says: /escalate_after_seconds/ },
  ])(
    "$fault is refused, with a way out and without repeating what was given",
    ({ options, says }) =>
      database.rolledBack(async (sql) => {
        const given: Options = { account_id: 1, name: "x", url: SLACK_URL, format: "slack", ...options };
        const names = Object.keys(given);

        const error = await sql.throws(
          "OC422",
          `select * from ops.add_notification_endpoint(${names.map((name, i) => `${name} => $${i + 1}`).join(", ")})`,
          names.map((name) => given[name]),
        );

        expect(error.message).toMatch(says);
        expect(error.hint).toBeTruthy();
        expect(JSON.stringify(error) + error.message).not.toContain("secret-x");
        await sql.resultsEqual("select * from ops.notification_endpoints", []);
        await sql.resultsEqual("select name from vault.secrets where name like 'notification%'", []);
      }),
  );

  test("a receiver in the own network is taken where the project allows it", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");

      await add(sql, { url: "http://127.0.0.1:9000/hook" });
      await sql.throws("OC422", "select ops.add_notification_endpoint(2, 'x', 'http://127.0.0.1:9000/hook', 'slack')");
    }));

  test("a name once, and fifty in all", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { name: "one" });
      await sql.throws("OC409", `select api.add_notification_endpoint(1, 'one', '${SLACK_URL}', 'slack')`);
      await sql.rows(
        "select api.add_notification_endpoint(1, 'n' || i, $1, 'slack') from generate_series(2, 50) as i",
        [SLACK_URL],
      );

      const error = await sql.throws(
        "OC409",
        `select api.add_notification_endpoint(1, 'n51', '${SLACK_URL}', 'slack')`,
      );

      expect(error.hint).toContain("remove");
    }));

  test("removing it takes its deliveries and secrets along; testing a paused one is refused", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql, { format: "standard" });
      await notify(sql, "k");
      expect(await sql.value("select count(*)::int from vault.secrets where name like 'notification%'")).toBe(2);
      await sql.rows("select api.set_notification_endpoint_state(1, $1, 'paused')", [endpoint_id]);
      await sql.throws("OC409", "select api.test_notification(1, $1)", [endpoint_id]);
      await sql.throws("OC422", "select api.set_notification_endpoint_state(1, $1, 'dead')", [endpoint_id]);

      await sql.rows("select api.remove_notification_endpoint(1, $1)", [endpoint_id]);

      await sql.throws("OC404", "select api.remove_notification_endpoint(1, $1)", [endpoint_id]);
      await sql.resultsEqual("select * from ops.notification_deliveries", []);
      await sql.resultsEqual("select name from vault.secrets where name like 'notification%'", []);
      await sql.resultsEqual(
        "select action from audit.decision_log where action like 'notification%' order by entry",
        ["added", "state_set", "removed"].map((what) => ({ action: `notification_endpoint.${what}` })),
      );
    }));

  test("a test passes filters, quiet hours and digest", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql, {
        ...{ minimum_severity: "critical", kinds: ["sla.breach"], digest_minutes: 60 },
        ...{ quiet_start_minute: 0, quiet_end_minute: 1439, critical_at_once: false },
      });

      await sql.rows("select ops.test_notification(1, $1, $2)", [endpoint_id, AS_OF]);

      expect((await sendAll(sql, AS_OF)).flat()).toEqual([expect.stringMatching(/^test:/)]);
    }));
});

describe("who may", () => {
  const DOORS = [
    `select api.add_notification_endpoint(1, 'x', '${SLACK_URL}', 'slack')`,
    "select api.set_notification_endpoint_state(1, 1, 'paused')",
    "select api.remove_notification_endpoint(1, 1)",
    "select api.test_notification(1, 1)",
  ];
  const ACKNOWLEDGE = "select api.acknowledge_notification(1, 1)";

  test.each([
    { role: "viewer", account: 1, refused: [...DOORS, ACKNOWLEDGE] },
    { role: "operator", account: 1, refused: DOORS },
    { role: "approver", account: 1, refused: DOORS },
    { role: "admin", account: 2, refused: [...DOORS, ACKNOWLEDGE] },
  ])(
    "a $role of account $account may not change what is account 1's",
    ({ role, account, refused }) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, account, role);

        await sql.as("authenticated", person, async () => {
          for (const door of refused) await sql.throws("OC403", door);
        });
      }),
  );

  test.each<Role>(["anon", "analyst"])("%s may nothing", (role) =>
    database.rolledBack(async (sql) => {
      await sql.as(role, null, async () => {
        for (const door of [...DOORS, ACKNOWLEDGE, "select * from api.notifications"]) await sql.throws("42501", door);
      });
    }));

  test.each<Role>(["authenticated", "service_role"])(
    "%s reaches neither what sends nor what holds secrets",
    (role) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, 1, "admin");
        await sql.as(role, person, async () => {
          await sql.throws("42501", "select ops.endpoint_secret(1, 1, 'url')");
          await sql.throws("42501", "select ops.notify(1, 'a', 'k', 't')");
          await sql.throws("42501", "select ops.claim_message(now())");
          await sql.throws("42501", "call ops.deliver_notifications()");
          await sql.throws("42501", "update ops.notifications set state = 'open' where true");
        });
      }),
  );

  test("members see what is their accounts' and nothing else", () =>
    database.rolledBack(async (sql) => {
      for (const account_id of [1, 2]) {
        await add(sql, { account_id });
        await notify(sql, "k", { account: account_id });
      }
      const ada = await member(sql, 1, "viewer");

      for (const view of ["notifications", "notification_endpoints", "notification_deliveries"]) {
        await sql.as("authenticated", ada, () =>
          sql.resultsEqual(`select account_id from api.${view}`, [{ account_id: "1" }]));
        await sql.as("service_role", null, () =>
          sql.resultsEqual(`select account_id from api.${view} order by 1`, [{ account_id: "1" }, {
            account_id: "2",
          }]));
      }
    }));
});

describe("what is sent", () => {
  test("the signature is that of Standard Webhooks", () =>
    database.rolledBack(async (sql) => {
      const key = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
      const body = '{"text":"grüße 🔔"}';

      const signature = await sql.value("select ops.webhook_signature($1, $2, $3, $4)", [
        ...["whsec_" + key, "msg_1", 1_763_630_400, body],
      ]);

      expect(signature).toBe(
        "v1," +
          createHmac("sha256", Buffer.from(key, "base64")).update(`msg_1.1763630400.${body}`).digest("base64"),
      );
    }));

  test("a customer's words call nobody and link nowhere in Slack, however long", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      const words = "<!channel> <@U1> @here @everyone & <https://evil.example|click>\n*x*";
      await sql.rows("select ops.notify(1, 'sla.breach', 'k', $1, $2, as_of => $3)", [
        words,
        { subject: words, [words]: "x".repeat(5000), nested: { a: 1 }, number: 7 },
        AS_OF,
      ]);
      const claimed = await claim(sql) as Claim;

      const message = JSON.parse(
        await sql.value<string>("select ops.notification_message($1, $2, $3)", Object.values(claimed)),
      );

      const text = JSON.stringify(message);
      expect(text).not.toMatch(/<|@here|@everyone|@U1/);
      expect(text).toContain("&lt;!channel&gt;");
      const lengths = JSON.stringify(message.blocks).match(/"text":"[^"]*"/g)?.map((found) => found.length) ?? [];
      expect(Math.max(...lengths)).toBeLessThan(2000);
      expect(message.blocks.map(({ type }: { type: string }) => type)).toEqual(["section", "section", "context"]);
    }));

  test("a digest for Slack names the worst first, counts the rest, and stays within Slack's limits", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await sql.rows(
        `select ops.notify(1, case when i % 2 = 0 then 'sla.breach' else 'sla.warning' end, i::text, repeat('&', 290) || i,
          severity => case when i = 300 then 'critical' else 'info' end::ops.notification_severity, as_of => $1)
          from generate_series(1, 300) as i`,
        [AS_OF],
      );
      const claimed = await claim(sql) as Claim;

      const message = JSON.parse(
        await sql.value<string>("select ops.notification_message($1, $2, $3)", Object.values(claimed)),
      );

      expect(message.blocks[0].text.text).toBe("*300 notifications:* 150 sla.breach, 150 sla.warning");
      expect(message.blocks[1].text.text).toContain("[critical]");
      expect(message.blocks).toHaveLength(22);
      expect(message.blocks.at(-1).text.text).toContain("280 more of account 1");
      for (const block of message.blocks) expect(block.text.text.length).toBeLessThanOrEqual(3000);
      expect(message.text.length).toBeLessThan(40_000);
    }));
});

test("what is over 90 days old is purged with its deliveries, a batch at a time", () =>
  database.rolledBack(async (sql) => {
    await add(sql);
    for (const key of ["1", "2", "3"]) await notify(sql, key);
    await notify(sql, "young", { as_of: at(86_400) });
    const purge = (batch: number) =>
      sql.value("select ops.purge_notifications($1, $2)::int", [at(90 * 86_400 + 1), batch]);

    expect([await purge(2), await purge(2), await purge(2)]).toEqual([2, 1, 0]);

    await sql.resultsEqual("select dedupe_key from ops.notifications", [{ dedupe_key: "young" }]);
    expect(await sql.value("select count(*)::int from ops.notification_deliveries")).toBe(1);
  }));
