// What is told, to whom, when and how often: everything of notifications but the requests themselves.
import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import {
  add,
  AS_OF,
  at,
  type Claim,
  claim,
  keysOf,
  notify,
  type Options,
  sendAll,
  settle,
} from "./notifications.support.ts";

const database = useDatabase();

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
      await notify(sql, "0");
      expect(await sendAll(sql, AS_OF)).toEqual([["0"], ["0"], ["0"]]);
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

  test("a new endpoint shows first that it works: those that do go before it", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id: proven } = await add(sql);
      await notify(sql, "0");
      await sendAll(sql, AS_OF);
      const { endpoint_id: unproven } = await add(sql);
      for (const key of ["1", "2"]) await notify(sql, key);

      const turns = [];
      for (let claimed = await claim(sql); claimed; claimed = await claim(sql)) {
        turns.push(claimed.endpoint_id);
        await settle(sql, claimed, AS_OF);
      }

      expect(turns).toEqual([proven, proven, unproven, unproven]);
    }));

  test("a dead endpoint cannot be paused; removing or activating it ends the alert", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql);
      await notify(sql, "k");
      await settle(sql, await claim(sql) as Claim, AS_OF, "gone");
      await sql.resultsEqual("select state from api.notification_endpoints", [{ state: "dead" }]);

      const error = await sql.throws("OC409", "select api.set_notification_endpoint_state(1, $1, 'paused')", [
        endpoint_id,
      ]);
      await sql.rows("select api.remove_notification_endpoint(1, $1)", [endpoint_id]);

      expect(error.hint).toBeTruthy();
      await sql.resultsEqual("select kind from api.alerts where resolved_at is null", []);
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
