// Alerts, with the clock as argument: that each is raised once and ends once, that nothing flaps, and that an ordinary
// month with its nights, weekends and holidays wakes nobody.
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import {
  addArrivals,
  addCrossings,
  addQueue,
  addReadings,
  KINDS,
  later,
  learn,
  live,
  lose,
  makeAccount,
  raised,
  read,
  told,
} from "./alerts.support.ts";
import { add } from "./notifications.support.ts";

const database = useDatabase();
const START = "2026-11-16T10:00:00Z";

const logged = (sql: Sql) =>
  sql.rows(
    "select action, evidence ->> 'why' as why from audit.decision_log where actor = 'rule:alerts' order by entry",
  );
/** As many times the same. */
const of = (value: number, times: number) => Array<number>(times).fill(value);

test(
  "an ordinary month with nights, weekends, a holiday and a bridge day that no calendar knows of: no alert",
  () =>
    database.rolledBack(async (sql) => {
      await makeAccount(sql);
      await addArrivals(sql, "2026-09-01T00:00:00Z", "2026-11-01T00:00:00Z", 0.3);
      await addQueue(sql, "2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z", "30 minutes");
      await learn(sql, "2026-10-01T00:00:00Z");
      for (let day = 0; day < 31; day++) {
        const since = later("2026-10-01T00:00:00Z", day * 1440);
        const until = later(since, 1440);
        await addCrossings(sql, since);
        await addReadings(sql, since, until);
        await addQueue(sql, since, until);

        await live(sql, since, until);
      }

      expect(await raised(sql)).toEqual([]);
      // Of each kind that waits, so often was it bad for less than it waits.
      await sql.resultsEqual(
        `select rules.kind, count(*) >= 62 as is_often from ops.alert_rules as rules
        join ops.health_history as history on history.name = rules.check_name and history.value >= rules.threshold
        where rules.account_id = 0 group by rules.kind order by rules.kind`,
        Object.keys(KINDS).filter((kind) => !["audit.broken", "deliveries.dead"].includes(kind)).sort()
          .map((kind) => ({ kind, is_often: true })),
      );
      const looked = "select count(*)::int from ops.health_history where value is not null and name = $1";
      for (const name of ["webhook_arrival", "queue_pressure", "service", "database_size"]) {
        expect(await sql.value(looked, [name])).toBeGreaterThan(31 * 280);
      }
      expect(await sql.value("select count(distinct kind)::int from ops.alert_states")).toBe(11);
    }),
  60_000,
);

test("the trouble of that month is one that those would be woken by who do not wait", () =>
  database.rolledBack(async (sql) => {
    await makeAccount(sql);
    await addArrivals(sql, "2026-09-01T00:00:00Z", "2026-10-07T00:00:00Z", 0.3);
    await learn(sql, "2026-10-06T00:00:00Z");
    const waiting = Object.keys(KINDS).filter((kind) => !["audit.broken", "deliveries.dead"].includes(kind)).sort();
    for (const kind of waiting) {
      await sql.rows("select ops.set_alert_rule(1, $1, '{\"for_seconds\": 0}')", [kind]);
    }
    await addCrossings(sql, "2026-10-06T00:00:00Z");
    await addReadings(sql, "2026-10-06T00:00:00Z", "2026-10-07T00:00:00Z");

    await live(sql, "2026-10-06T00:00:00Z", "2026-10-07T00:00:00Z");

    expect([...new Set((await raised(sql)).map(({ kind }) => kind))].sort()).toEqual(waiting);
  }));

describe("on the same history, silence is found where there should be none:", () => {
  const month = async (sql: Sql) => {
    await makeAccount(sql);
    await addArrivals(sql, "2026-09-01T00:00:00Z", "2026-10-10T00:00:00Z", 0.3);
    await learn(sql, "2026-10-06T00:00:00Z");
  };

  test("webhooks that stay out on a Tuesday morning: one alert within the hour, over when they are back; no channel is blamed", () =>
    database.rolledBack(async (sql) => {
      await month(sql);
      await lose(sql, "2026-10-06T08:00:00Z", "2026-10-06T11:00:00Z");

      await live(sql, "2026-10-06T00:00:00Z", "2026-10-07T00:00:00Z");

      const [alert, ...others] = await raised(sql);
      expect(others).toEqual([]);
      expect(alert).toMatchObject({ kind: "webhook.silent", subject: "webhook_arrival" });
      expect(alert.raised_at.getTime()).toBeGreaterThan(Date.parse("2026-10-06T08:14:00Z"));
      expect(alert.raised_at.getTime()).toBeLessThan(Date.parse("2026-10-06T08:40:00Z"));
      expect(alert.resolved_at?.getTime()).toBeGreaterThan(Date.parse("2026-10-06T11:00:00Z"));
      expect(alert.resolved_at?.getTime()).toBeLessThan(Date.parse("2026-10-06T11:20:00Z"));
      expect((await told(sql)).map(({ kind, news }) => [kind, news])).toEqual([
        ["alert.webhook.silent", "fired"],
        ["alert.webhook.silent", "cleared"],
      ]);
    }));

  test("one inbox that stays out while the others go on: that channel, and nothing else", () =>
    database.rolledBack(async (sql) => {
      await month(sql);
      await lose(sql, "2026-10-06T08:00:00Z", "2026-10-06T14:00:00Z", 2);

      await live(sql, "2026-10-06T00:00:00Z", "2026-10-07T00:00:00Z");

      const [alert, ...others] = await raised(sql);
      expect(others).toEqual([]);
      expect(alert).toMatchObject({ kind: "channel.outage", subject: "inbox:2" });
      expect(alert.raised_at.getTime()).toBeLessThan(Date.parse("2026-10-06T11:00:00Z"));
      expect(alert.resolved_at?.getTime()).toBeLessThan(Date.parse("2026-10-06T15:00:00Z"));
    }));

  test("the same silence at night: no alert", () =>
    database.rolledBack(async (sql) => {
      await month(sql);
      await lose(sql, "2026-10-05T23:00:00Z", "2026-10-06T04:30:00Z");

      await live(sql, "2026-10-05T22:00:00Z", "2026-10-06T12:00:00Z");

      expect(await raised(sql)).toEqual([]);
    }));

  test("with a door that works: no messages there, no alert; messages that no webhook told of, an alert at once", () =>
    database.rolledBack(async (sql) => {
      await month(sql);
      await sql.rows(
        `insert into sync.sources (account_id, door, base_url, last_success_at, changed_until)
        values (1, 'rest', 'https://chat.example.com', $1, $1)`,
        ["2026-10-06T12:00:00Z"],
      );
      await lose(sql, "2026-10-06T06:00:00Z", "2026-10-06T10:00:00Z");
      await sql.rows("delete from inbox.deliveries where received_at > '2026-10-06T10:00:00Z'");
      // No webhook tells of activity, so this is no message that got lost.
      await sql.rows(`insert into chatwoot.messages (account_id, message_id, conversation_display_id, inbox_id,
        message_type, created_at, version_at) values (1, 1, 1, 1, 'activity', '2026-10-06T07:30:00Z', now())`);

      await live(sql, "2026-10-06T00:00:00Z", "2026-10-06T12:00:00Z");

      const alerts = (await raised(sql)).filter(({ kind }) => kind === "webhook.silent");
      expect(alerts).toHaveLength(1);
      // The first message after ten, three minutes of patience, and two minutes to be sure at steps of five.
      expect(alerts[0].raised_at.getTime()).toBeGreaterThan(Date.parse("2026-10-06T10:03:00Z"));
      expect(alerts[0].raised_at.getTime()).toBeLessThan(Date.parse("2026-10-06T10:25:00Z"));
    }));

  test("before three weeks are known, nothing is claimed", () =>
    database.rolledBack(async (sql) => {
      await makeAccount(sql);
      await addArrivals(sql, "2026-09-21T00:00:00Z", "2026-10-06T08:00:00Z", 0.3);
      await learn(sql, "2026-10-06T00:00:00Z");

      await live(sql, "2026-10-06T00:00:00Z", "2026-10-07T00:00:00Z");

      expect(await raised(sql)).toEqual([]);
      expect(await sql.rows("select distinct state, value from ops.health_history")).toEqual([
        { state: "unknown", value: null },
      ]);
    }));
});

describe("each of the eleven is raised once and ends once:", () => {
  test("and these are all there are", () =>
    database.rolledBack(async (sql) => {
      const rows = await sql.rows<{ kind: string }>(
        "select kind from ops.alert_rules where account_id = 0 order by kind",
      );

      expect(rows.map(({ kind }) => kind)).toEqual(Object.keys(KINDS).sort());
    }));

  test.each(Object.entries(KINDS))(
    "%s",
    (kind, { name, subject = "", account, bad, between }) =>
      database.rolledBack(async (sql) => {
        await add(sql, { kinds: ["alert.*"] });
        const [{ for_seconds, clear_seconds, severity }] = await sql.rows<
          { for_seconds: number; clear_seconds: number; severity: string }
        >("select for_seconds, clear_seconds, severity from ops.alert_rules where account_id = 0 and kind = $1", [
          kind,
        ]);
        const [longEnough, wellEnough] = [for_seconds / 60, clear_seconds / 60];
        const of1 = (values: number[], from: string) => read(sql, { name, subject, account, values, from });

        let now = await of1(of(0, 5), START);
        // Not long enough, and better again.
        if (longEnough > 0) now = await of1([...of(bad, longEnough), 0], now);
        expect(await raised(sql)).toEqual([]);
        const since = now;
        now = await of1(of(bad, longEnough + 1), now);
        const firing = await raised(sql);
        expect(firing).toEqual([{
          ...{ kind, subject: subject || name, resolved_at: null },
          raised_at: new Date(Date.parse(since) + for_seconds * 1000),
        }]);
        // Up and down, but never well for long enough.
        for (let swing = 0; swing < 3; swing++) {
          if (between !== undefined) now = await of1(of(between, wellEnough + 5), now);
          if (wellEnough > 0) now = await of1(of(0, wellEnough), now);
          now = await of1([bad], now);
        }
        expect(await raised(sql)).toEqual(firing);
        now = await of1(of(0, wellEnough + 1), now);

        expect((await raised(sql)).map(({ resolved_at }) => resolved_at)).toEqual([new Date(Date.parse(now) - 60_000)]);
        expect(await told(sql)).toEqual([
          expect.objectContaining({ kind: `alert.${kind}`, severity, news: "fired" }),
          expect.objectContaining({ kind: `alert.${kind}`, severity: "info", news: "cleared" }),
        ]);
        expect(await sql.value("select count(*)::int from ops.notification_deliveries")).toBe(2);
        const threshold = (column: string) =>
          sql.value(`select ${column} from ops.alert_rules where account_id = 0 and kind = $1`, [kind]);
        const entry = (action: string, decided_at: Date, evidence: unknown) => ({
          ...{ action, decided_at, actor: "rule:alerts", outcome: "done", is_of_alert: true },
          evidence: { kind, subject: subject || name, severity, ...evidence as object },
        });
        await sql.resultsEqual(
          `select action, decided_at, actor, outcome, log.subject = 'alert:' || alerts.alert_id as is_of_alert,
            evidence || jsonb_build_object('since', (evidence ->> 'since')::timestamptz = any (array[$1, alerts.raised_at])) as evidence
          from audit.decision_log as log cross join ops.alerts where action in ('alert.raised', 'alert.cleared') order by entry`,
          [
            entry("alert.raised", firing[0].raised_at, {
              ...{ value: bad, threshold: await threshold("threshold"), since: true },
            }),
            entry("alert.cleared", new Date(Date.parse(now) - 60_000), {
              ...{ value: 0, threshold: await threshold("clear_threshold"), since: true },
            }),
          ],
          [since],
        );
        const [alert] = await sql.rows("select message, hint from ops.alerts");
        expect(alert).toEqual({ message: expect.stringMatching(/It reads/), hint: "Do this." });
      }),
  );
});

describe("what happens in between", () => {
  const down = (sql: Sql, values: (number | null)[], from: string) =>
    read(sql, { name: "service", subject: "chatwoot", values, from });

  test("evaluating again, and a tick that was missed, change nothing", () =>
    database.rolledBack(async (sql) => {
      const now = await down(sql, of(1, 5), START);
      expect(await sql.value("select ops.evaluate_alerts(1, $1)", [now])).toBe(0);
      expect(await raised(sql)).toHaveLength(1);
      expect(await told(sql)).toHaveLength(1);
    }));

  test("what cannot be measured makes nothing worse and ends nothing", () =>
    database.rolledBack(async (sql) => {
      let now = await down(sql, [1, 1, null, 1, 1, null], START);
      expect(await raised(sql)).toEqual([]);
      now = await down(sql, of(1, 3), now);
      expect(await raised(sql)).toHaveLength(1);
      now = await down(sql, Array(30).fill(null), now);
      expect((await raised(sql))[0].resolved_at).toBeNull();
      await down(sql, of(0, 3), now);
      expect((await raised(sql))[0].resolved_at).not.toBeNull();
    }));

  test("after a gap in which nobody looked, the waiting begins anew", () =>
    database.rolledBack(async (sql) => {
      await down(sql, of(1, 2), START);
      const now = await down(sql, of(1, 2), later(START, 60));
      expect(await raised(sql)).toEqual([]);
      await down(sql, [1], now);
      expect(await raised(sql)).toHaveLength(1);
    }));

  test("Chatwoot's downtimes are intervals, from the first failed check to the first good one", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `select ops.record_checks(array(select row(1, 'service', 'chatwoot', case when given.value > 0 then 'fail' else 'ok' end,
          given.value, '', 'Down', null, $1::timestamptz + given.place * interval '1 minute')::ops.health_sample
        from unnest('{0,1,1,1,0,0,1}'::double precision[]) with ordinality as given (value, place)))`,
        [START],
      );
      await sql.resultsEqual(
        "select state, started_at, ended_at, reason from ops.service_intervals order by started_at",
        [
          { state: "down", started_at: new Date(later(START, 2)), ended_at: new Date(later(START, 5)), reason: "Down" },
          { state: "down", started_at: new Date(later(START, 7)), ended_at: null, reason: "Down" },
        ],
      );
    }));

  test("what is checked no more is no alert any more", () =>
    database.rolledBack(async (sql) => {
      const now = await read(sql, { name: "sync_lag", subject: "rest", values: of(4000, 5), from: START });
      await sql.rows("delete from ops.health_checks where name = 'sync_lag'");
      await sql.rows("select ops.evaluate_alerts(1, $1)", [now]);

      expect((await raised(sql))[0].resolved_at).toEqual(new Date(now));
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired", "cleared"]);
      expect(await logged(sql)).toEqual([
        { action: "alert.raised", why: null },
        { action: "alert.cleared", why: "What it is about was not checked any more." },
      ]);
    }));
});

describe("people", () => {
  const fire = (sql: Sql) => read(sql, { name: "service", subject: "chatwoot", values: of(1, 4), from: START });
  const alertId = (sql: Sql) => sql.value<string>("select alert_id from ops.alerts");

  test("acknowledge, once, which ends the escalation; logged", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await add(sql, { escalate_after_seconds: 60 });
      const now = await fire(sql);
      const operator = await member(sql, 1, "operator");
      const id = await alertId(sql);
      expect(await sql.value("select count(*)::int from ops.notifications where next_escalation_at is not null")).toBe(
        1,
      );

      const acknowledge = () => sql.value("select api.acknowledge_alert(1, $1)", [id]);
      expect(await sql.as("authenticated", operator, acknowledge)).toBe(true);
      expect(await sql.as("authenticated", operator, acknowledge)).toBe(false);

      expect(await sql.value("select count(*)::int from ops.notifications where next_escalation_at is not null")).toBe(
        0,
      );
      await sql.resultsEqual("select acknowledged_by from api.alerts", [{ acknowledged_by: `user:${operator}` }]);
      await sql.resultsEqual("select actor, subject from audit.decision_log where action = 'alert.acknowledged'", [
        { actor: `user:${operator}`, subject: `alert:${id}` },
      ]);
      await read(sql, { name: "service", subject: "chatwoot", values: of(0, 3), from: now });
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired", "cleared"]);
    }));

  test("snooze: nobody is told until then; if it still lasts, once more", () =>
    database.rolledBack(async (sql) => {
      let now = await fire(sql);
      const id = await alertId(sql);
      await sql.rows("select ops.snooze_alert(1, $1, $2, $3)", [id, later(now, 30), now]);

      now = await read(sql, { name: "service", subject: "chatwoot", values: of(1, 29), from: now });
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired"]);
      now = await read(sql, { name: "service", subject: "chatwoot", values: of(1, 5), from: now });
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired", "still"]);
      await sql.rows("select ops.snooze_alert(1, $1, $2, $3)", [id, later(now, 30), now]);
      await read(sql, { name: "service", subject: "chatwoot", values: of(0, 5), from: now });

      expect((await raised(sql))[0].resolved_at).not.toBeNull();
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired", "still"]);
      expect(await sql.value("select count(*)::int from audit.decision_log where action = 'alert.snoozed'")).toBe(2);
    }));

  test("quiet hours of a rule: told when they are over, if it still lasts", () =>
    database.rolledBack(async (sql) => {
      // Ten o'clock, in UTC.
      await sql.rows("select ops.set_alert_rule(1, 'service.down', $1)", [{
        quiet_start_minute: 590,
        quiet_end_minute: 630,
      }]);
      const now = await fire(sql);
      expect(await raised(sql)).toHaveLength(1);
      expect(await told(sql)).toEqual([]);

      await read(sql, { name: "service", subject: "chatwoot", values: of(1, 40), from: now });
      expect(await told(sql)).toEqual([expect.objectContaining({ news: "fired" })]);
    }));

  test("acknowledged in quiet hours: nobody is told of it afterwards, nor of its end", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_alert_rule(1, 'service.down', $1)", [{
        quiet_start_minute: 590,
        quiet_end_minute: 630,
      }]);
      let now = await fire(sql);
      await sql.rows("select ops.acknowledge_alert(1, $1, $2)", [await alertId(sql), now]);

      now = await read(sql, { name: "service", subject: "chatwoot", values: of(1, 40), from: now });
      await read(sql, { name: "service", subject: "chatwoot", values: of(0, 5), from: now });

      expect((await raised(sql))[0].resolved_at).not.toBeNull();
      expect(await told(sql)).toEqual([]);
    }));

  test("over before anybody was called: nobody is called any more", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await add(sql, { escalate_after_seconds: 3600 });
      const now = await fire(sql);
      const escalating = () =>
        sql.value("select count(*)::int from ops.notifications where next_escalation_at is not null");
      expect(await escalating()).toBe(1);

      await read(sql, { name: "service", subject: "chatwoot", values: of(0, 5), from: now });

      expect((await raised(sql))[0].resolved_at).not.toBeNull();
      expect(await escalating()).toBe(0);
    }));

  test("snoozed a second time: what was told in between escalates no further either", () =>
    database.rolledBack(async (sql) => {
      await add(sql);
      await add(sql, { escalate_after_seconds: 60 });
      let now = await fire(sql);
      const escalating = () =>
        sql.value("select count(*)::int from ops.notifications where next_escalation_at is not null");
      const snooze = async () => {
        await sql.rows("select ops.snooze_alert(1, $1, $2, $3)", [await alertId(sql), later(now, 5), now]);
      };
      await snooze();
      expect(await escalating()).toBe(0);
      now = await read(sql, { name: "service", subject: "chatwoot", values: of(1, 8), from: now });
      expect(await escalating()).toBe(1);
      await snooze();
      expect(await escalating()).toBe(0);
    }));

  test("change a rule, within limits and logged; null is the default again; turned off, what lasts ends unsaid", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      const set = (changes: unknown) =>
        sql.as(
          "authenticated",
          admin,
          () =>
            sql.value<Record<string, unknown>>("select api.set_alert_rule(1, 'service.down', $1)", [
              JSON.stringify(changes),
            ]),
        );
      expect(await set({ threshold: 2, for_seconds: 0 })).toMatchObject({ threshold: 2, for_seconds: 0 });
      await read(sql, { name: "service", subject: "chatwoot", values: [1, 1, 1, 1], from: START });
      expect(await raised(sql)).toEqual([]);
      await read(sql, { name: "service", subject: "chatwoot", values: [2], from: later(START, 4) });
      expect(await raised(sql)).toHaveLength(1);

      await set({ is_enabled: false });
      await read(sql, { name: "service", subject: "chatwoot", values: [2, 2], from: later(START, 5) });
      expect((await raised(sql))[0].resolved_at).not.toBeNull();
      expect((await told(sql)).map(({ news }) => news)).toEqual(["fired"]);
      expect(await logged(sql)).toEqual([
        { action: "alert.raised", why: null },
        { action: "alert.cleared", why: "The rule is switched off." },
      ]);

      expect(
        await sql.as("authenticated", admin, () => sql.value("select api.set_alert_rule(1, 'service.down', null)")),
      ).toMatchObject({ threshold: 1, is_enabled: true });
      expect(await sql.value("select count(*)::int from audit.decision_log where action = 'alert_rule.changed'")).toBe(
        3,
      );
    }));

  describe("a rule with channels", () => {
    const named = (sql: Sql, channels: unknown, more: Record<string, unknown> = {}) =>
      sql.value<Record<string, unknown>>("select ops.set_alert_rule(1, 'service.down', $1)", [
        JSON.stringify({ channels, ...more }),
      ]);
    /** Who was told since the last time: the news and the name, a ! where it was told again since nobody answered. */
    const heard = async (sql: Sql, escalateAt?: string) => {
      if (escalateAt !== undefined) await sql.rows("select ops.escalate_notifications($1)", [escalateAt]);
      const rows = await sql.rows<{ told: string }>(
        `select body ->> 'news' || ' ' || endpoints.name || case when round > 0 then '!' else '' end as told
        from ops.notification_deliveries join ops.notification_endpoints as endpoints using (account_id, endpoint_id)
        join ops.notifications using (account_id, notification_id) order by told`,
      );
      await sql.rows("delete from ops.notification_deliveries where account_id = 1");
      await sql.rows("update ops.notifications set next_escalation_at = null where account_id = 1");
      return rows.map(({ told }) => told);
    };
    const remove = (sql: Sql, name: string) =>
      sql.rows(
        "select ops.remove_notification_endpoint(1, endpoint_id) from ops.notification_endpoints where name = $1",
        [name],
      );
    const begin = (sql: Sql, from: string) =>
      read(sql, { name: "service", subject: "chatwoot", values: of(1, 5), from });
    const end = (sql: Sql, from: string) => read(sql, { name: "service", subject: "chatwoot", values: of(0, 5), from });

    test("tells these and nobody else; when they are gone, everybody again", () =>
      database.rolledBack(async (sql) => {
        await add(sql, { name: "all" });
        await add(sql, { name: "night shift", kinds: ["alert.*"] });
        await add(sql, { name: "sales", kinds: ["sla.*"] });
        for (const name of ["nobody", "sales"]) {
          const { message } = await sql.throws(
            "OC422",
            `select ops.set_alert_rule(1, 'service.down', '{"channels": ["${name}"]}')`,
          );
          expect(message).toContain(`"${name}"`);
        }
        expect(await named(sql, ["night shift"])).toMatchObject({ channels: ["night shift"] });
        let now = await begin(sql, START);
        expect(await heard(sql)).toEqual(["fired night shift"]);
        now = await end(sql, now);
        expect(await heard(sql)).toEqual(["cleared night shift"]);

        await remove(sql, "night shift");
        await begin(sql, now);
        expect(await heard(sql)).toEqual(["fired all"]);
        expect(await named(sql, null)).toMatchObject({ channels: null });
      }));

    test("is refused where none of them would be told at its severity, also when its severity is changed later", () =>
      database.rolledBack(async (sql) => {
        await add(sql, { name: "on call", escalate_after_seconds: 60 });
        await add(sql, { name: "worst", minimum_severity: "critical" });
        await add(sql, { name: "bad", minimum_severity: "warning" });
        const refused = async (changes: unknown) =>
          (await sql.throws("OC422", "select ops.set_alert_rule(1, 'service.down', $1)", [JSON.stringify(changes)]))
            .message;

        expect(await refused({ channels: ["on call"] })).toBe(
          "Nobody would be told: of on call each only escalates or wants what is more severe than critical",
        );
        expect(await refused({ channels: ["on call", "worst"], severity: "warning" })).toMatch(/^Nobody would be told/);
        await named(sql, ["on call", "worst"]);
        expect(await refused({ severity: "warning" })).toMatch(/^Nobody would be told/);
        await named(sql, ["worst", "bad"], { severity: "warning" });
        expect(await refused({ severity: "info" })).toMatch(/^Nobody would be told/);
        // What was removed since hinders nobody who changes something else.
        await remove(sql, "worst");
        await remove(sql, "bad");
        expect(await sql.value("select ops.set_alert_rule(1, 'service.down', '{\"for_seconds\": 60}')")).toMatchObject({
          for_seconds: 60,
        });
      }));

    test("tells everybody where those named would not be told any more; but not of its end, which they may not care for", () =>
      database.rolledBack(async (sql) => {
        await add(sql, { name: "all" });
        await add(sql, { name: "chat", minimum_severity: "warning" });
        await add(sql, { name: "on call", escalate_after_seconds: 3600 });
        await named(sql, ["chat", "on call"]);
        let now = await begin(sql, START);
        expect(await heard(sql)).toEqual(["fired chat"]);
        // An end only informs, which is less than chat wants.
        now = await end(sql, now);
        expect(await heard(sql)).toEqual([]);

        await sql.rows("update ops.notification_endpoints set state = 'paused' where name = 'chat'");
        now = await begin(sql, now);
        expect(await heard(sql)).toEqual(["fired all"]);
        now = await end(sql, now);
        expect(await heard(sql)).toEqual(["cleared all"]);
        // Made anew under the same name, for other things.
        await remove(sql, "chat");
        await add(sql, { name: "chat", kinds: ["sla.*"] });
        now = await begin(sql, now);
        expect(await heard(sql)).toEqual(["fired all"]);
        now = await end(sql, now);
        await heard(sql);
        await sql.rows("select ops.set_alert_rule(1, 'service.down', null)");
        await remove(sql, "chat");
        await add(sql, { name: "chat" });
        await named(sql, ["chat"], { severity: "warning" });
        await remove(sql, "chat");
        await add(sql, { name: "chat", minimum_severity: "critical" });
        await begin(sql, now);
        expect(await heard(sql)).toEqual(["fired all"]);
      }));

    test("escalates to whom it names; where it names nobody who escalates, to all who do", () =>
      database.rolledBack(async (sql) => {
        await add(sql, { name: "night shift" });
        await add(sql, { name: "on call", escalate_after_seconds: 60 });
        await add(sql, { name: "boss", escalate_after_seconds: 120 });
        await named(sql, ["night shift", "boss"]);
        let now = await begin(sql, START);
        expect(await heard(sql, later(now, 5))).toEqual(["fired boss!", "fired night shift"]);
        now = await end(sql, now);
        await heard(sql);

        // Gone after it was told, or before.
        now = await begin(sql, now);
        await sql.rows("update ops.notification_endpoints set state = 'paused' where name = 'boss'");
        expect(await heard(sql, later(now, 5))).toEqual(["fired night shift", "fired on call!"]);
        now = await end(sql, now);
        await heard(sql);
        now = await begin(sql, now);
        expect(await heard(sql, later(now, 5))).toEqual(["fired night shift", "fired on call!"]);
        now = await end(sql, now);
        await heard(sql);

        await sql.rows("update ops.notification_endpoints set state = 'active' where name = 'boss'");
        await named(sql, ["night shift"]);
        now = await begin(sql, now);
        expect(await heard(sql, later(now, 5))).toEqual(["fired boss!", "fired night shift", "fired on call!"]);
      }));

    test("that was changed while it lasts: who was told that it began hears that it is over, and nobody else", () =>
      database.rolledBack(async (sql) => {
        for (const name of ["day shift", "night shift", "other"]) await add(sql, { name });
        await named(sql, ["day shift"]);
        let now = await begin(sql, START);
        await named(sql, ["night shift"]);
        expect(await heard(sql)).toEqual(["fired day shift"]);
        now = await end(sql, now);
        expect(await heard(sql)).toEqual(["cleared day shift"]);

        // Told a second time, to others: both.
        now = await begin(sql, now);
        await sql.rows(
          "select ops.snooze_alert(1, alert_id, $1, $2) from ops.alerts where resolved_at is null",
          [later(now, 2), now],
        );
        await named(sql, ["day shift"]);
        now = await begin(sql, now);
        expect(await heard(sql)).toEqual(["fired night shift", "still day shift"]);
        await named(sql, ["other"]);
        now = await end(sql, now);
        expect(await heard(sql)).toEqual(["cleared day shift", "cleared night shift"]);

        // Everybody was told.
        await named(sql, null);
        now = await begin(sql, now);
        await heard(sql);
        await named(sql, ["other"]);
        await end(sql, now);
        expect(await heard(sql)).toEqual(["cleared day shift", "cleared night shift", "cleared other"]);
      }));
  });

  test.each([
    [{ threshold: 0 }, /below threshold/],
    [{ channels: "night shift" }, /names of notification endpoints/],
    [{ channels: [] }, /names of notification endpoints/],
    [{ channels: [1] }, /no notification endpoint 1/],
    [{ threshold: "much" }, /numbers/],
    [{ for_seconds: 1.5 }, /whole seconds/],
    [{ for_seconds: 99_999 }, /whole seconds/],
    [{ severity: "loud" }, /severity/],
    [{ quiet_start_minute: 60 }, /both null/],
    [{ check_name: "breaches" }, /nothing else/],
    [[], /object/],
  ])("are refused %j", (changes, says) =>
    database.rolledBack(async (sql) => {
      const error = await sql.throws("OC422", "select ops.set_alert_rule(1, 'service.down', $1)", [
        JSON.stringify(changes),
      ]);
      expect(error.message).toMatch(says);
    }));

  test("who may not: viewers neither acknowledge nor snooze, operators change no rule, nobody another account's", () =>
    database.rolledBack(async (sql) => {
      await fire(sql);
      const id = await alertId(sql);
      const [viewer, operator, stranger] = [
        await member(sql, 1, "viewer"),
        await member(sql, 1, "operator"),
        await member(sql, 2, "admin"),
      ];
      for (const person of [viewer, stranger]) {
        await sql.as("authenticated", person, async () => {
          await sql.throws("OC403", "select api.acknowledge_alert(1, $1)", [id]);
          await sql.throws("OC403", "select api.snooze_alert(1, $1, now() + interval '1 hour')", [id]);
        });
      }
      await sql.as("authenticated", operator, async () => {
        await sql.throws("OC403", "select api.set_alert_rule(1, 'service.down', '{}')");
        await sql.throws("OC404", "select api.acknowledge_alert(1, 999999)");
        await sql.throws("OC422", "select api.snooze_alert(1, $1, now() - interval '1 hour')", [id]);
        await sql.throws("OC422", "select api.snooze_alert(1, $1, 'infinity')", [id]);
      });
      await sql.as("authenticated", stranger, async () => {
        expect(await sql.rows("select * from api.alerts")).toEqual([]);
        expect((await sql.rows("select name, account_id from api.health_checks")).map(({ account_id }) => account_id))
          .toEqual([]);
      });
    }));
});
