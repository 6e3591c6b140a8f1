// analytics.live_status: six numbers that matter, from a small day that can be counted by hand.
import { expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { converse, count, makeDay } from "./live-status.support.ts";

const database = useDatabase();

interface Live {
  account_id: string;
  service_state: string;
  uptime_30d: number | null;
  service: {
    downtimes: { state: string; seconds: number; ended_at: string | null; reason: string }[];
    down_seconds: number;
  };
  response_times: {
    chatwoot_api: { n: number; median_ms: number | null; p90_ms: number | null };
    first_response: { n: number; median_seconds: number | null };
  };
  conversations: Record<string, number | null>;
  sla_compliance: number | null;
  sla: {
    measured_by: string;
    met_today: number;
    breached_today: number;
    overdue_now: number;
    breaches: Record<string, unknown>[];
  };
  channels: Record<string, unknown>[];
  agents: Record<string, unknown>[];
  alerts: Record<string, unknown>[];
}
const live = async (sql: Sql): Promise<Live> =>
  (await sql.rows<Live>("select * from analytics.live_status where account_id = 1"))[0];

test("an account of which nothing is known yet has its row, and claims nothing", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    const status = await live(sql);

    expect(status).toMatchObject({
      ...{ service_state: "unknown", uptime_30d: null, sla_compliance: null, alerts: [] },
      conversations: { open: 0, pending: 0, snoozed: 0, resolved_today: 0, waiting: 0, waiting_usual: null },
      response_times: { chatwoot_api: { n: 0, median_ms: null }, first_response: { n: 0, median_seconds: null } },
    });
    expect(status.channels).toHaveLength(2);
    expect(status.agents.map(({ name, open, waiting, is_active }) => [name, open, waiting, is_active])).toEqual([
      ["Robot", 0, 0, false],
      ["Ada", 0, 0, false],
    ]);
  }));

test("whether somebody is available is as Chatwoot's list says, also of who holds and writes nothing", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await sql.rows("update chatwoot.agents set availability = 'busy' where kind = 'user'");

    expect((await live(sql)).agents.map(({ name, availability }) => [name, availability])).toEqual([
      ["Robot", null],
      ["Ada", "busy"],
    ]);
  }));

test("a day: who waits where and for how long, what was answered in time and what was not, who holds what", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await converse(sql, 1, { assignee_kind: "'user'", assignee_id: "7" }, [[50, "customer"], [45, "us"], [
      20,
      "customer",
    ]]);
    await converse(sql, 2, { inbox_id: "2" }, [[40, "customer"], [10, "us"]]);
    await converse(sql, 3, { inbox_id: "2" }, [[30, "customer"]]);
    await converse(sql, 4, { status: "'pending'", assignee_kind: "'agent_bot'", assignee_id: "7" }, [[5, "customer"]]);
    await converse(sql, 5, { labels: "'{spam}'" }, [[25, "customer"]]);
    await converse(sql, 6, { deleted_at: "now()" }, [[25, "customer"]]);
    await count(sql);

    const status = await live(sql);

    expect(status.conversations).toMatchObject({ open: 3, pending: 1, snoozed: 0, waiting: 2, resolved_today: 0 });
    expect(status.conversations.waiting_longest_seconds).toBeCloseTo(1800, -1);
    // No policy: five minutes are in time, thirty are not, whether there is a reply by now or none.
    expect(status.sla).toMatchObject({
      measured_by: "15 minutes of business hours",
      ...{ met_today: 1, breached_today: 2, overdue_now: 1 },
      // Neither the one that is spam nor the one that was deleted.
      breaches: [
        { display_id: 3, clock: "first_response", answered_at: null, overdue_seconds: 900, inbox_id: 2, holder: null },
        { display_id: 2, clock: "first_response", target_seconds: 900, overdue_seconds: 900, inbox_id: 2 },
      ],
    });
    expect(status.sla_compliance).toBeCloseTo(1 / 3);
    expect(status.response_times.first_response).toMatchObject({ n: 2, median_seconds: 1050, p90_seconds: null });
    // Two inboxes in which as many wait: the one with more that is open comes first.
    expect(status.channels).toMatchObject([
      { inbox_id: 2, name: "Mail", open: 2, waiting: 1, started_today: 2, first_response_median_seconds: 1800 },
      {
        inbox_id: 1,
        name: "Shop",
        open: 1,
        waiting: 1,
        pending: 1,
        started_today: 2,
        first_response_median_seconds: 300,
      },
    ]);
    const agents = Object.fromEntries(status.agents.map((agent) => [`${agent.kind}:${agent.agent_id}`, agent]));
    expect(agents["user:7"]).toMatchObject({ name: "Ada", open: 1, waiting: 1, is_active: true });
    expect(agents["agent_bot:7"]).toMatchObject({ name: "Robot", open: 0, is_active: false });
    expect(agents["nobody:null"]).toMatchObject({
      open: 2,
      waiting: 1,
      longest_wait_seconds: expect.closeTo(1800, -1),
    });
  }));

test("with a policy its clocks count, and each breach is named with who holds it", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await sql.rows("select sla.add_default_policy(1, timestamptz '2020-01-01')");
    await converse(sql, 1, { assignee_kind: "'user'", assignee_id: "7" }, [[50, "customer"], [45, "us"]]);
    await converse(sql, 2, { assignee_kind: "'user'", assignee_id: "7" }, [[40, "customer"], [10, "us"]]);
    await converse(sql, 3, {}, [[30, "customer"]]);
    await count(sql);

    const { sla, sla_compliance } = await live(sql);

    expect(sla).toMatchObject({ measured_by: "policies", met_today: 1, breached_today: 2, overdue_now: 1 });
    expect(sla_compliance).toBeCloseTo(1 / 3);
    expect(sla.breaches).toMatchObject([
      { display_id: 3, clock: "first_response", answered_at: null, holder: null },
      {
        ...{ display_id: 2, clock: "first_response", target_seconds: 900, overdue_seconds: 900, holder: "user:7" },
        inbox_id: 1,
      },
    ]);
  }));

test("without a policy the day counts as it would with the default one: those who wait, wait for a bot, were left or given up", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    const held = { assignee_kind: "'user'", assignee_id: "7" };
    await converse(sql, 1, held, [[50, "customer"], [45, "us"]]);
    await converse(sql, 2, held, [[40, "customer"], [10, "us"]]);
    await converse(sql, 3, {}, [[30, "customer"]]);
    await converse(sql, 4, { status: "'pending'", assignee_kind: "'agent_bot'", assignee_id: "7" }, [[50, "customer"]]);
    await converse(sql, 5, { labels: "'{spam}'" }, [[50, "customer"]]);
    await converse(sql, 7, { status: "'snoozed'" }, [[28, "customer"]]);
    await converse(sql, 8, {}, [[10, "customer"]]);
    // Late since yesterday, with an answer today and without one.
    await converse(sql, 9, {}, [[1500, "customer"], [60, "us"]]);
    await converse(sql, 10, { team_id: "3" }, [[1500, "customer"]]);
    await converse(sql, 11, {}, [[70, "us"], [50, "customer"]]);
    await converse(sql, 12, {}, [[55, "customer"]]);
    await count(sql);
    await sql.rows(
      `update chatwoot.conversations set status = 'resolved', last_activity_at = now() - interval '20 minutes',
      version_at = now() - interval '20 minutes' where display_id = 12`,
    );
    await sql.rows(`select ledger.observe(array(select row(mirrored.*)::chatwoot.conversations
      from chatwoot.conversations as mirrored where display_id = 12))`);
    await count(sql);

    const without = await live(sql);
    await sql.rows("select sla.add_default_policy(1, timestamptz '2020-01-01')");
    await sql.rows(
      "insert into ledger.queue (account_id, display_id, queued_at) select 1, n, now() from generate_series(1, 12) as n on conflict do nothing",
    );
    await count(sql);
    const promised = await live(sql);

    expect(without.sla).toMatchObject({ met_today: 1, breached_today: 4, overdue_now: 3 });
    // With a policy the other clocks and the days before are named, too.
    const named = ({ sla: { breaches, ...numbers } }: Live) => ({
      ...{ ...numbers, measured_by: null },
      breaches: breaches.filter(({ clock, due_at }) =>
        clock === "first_response" && Date.parse(String(due_at)) > Date.now() - 10 * 3_600_000
      ),
    });
    expect(named(without)).toEqual(named(promised));
    expect(without.sla_compliance).toBe(promised.sla_compliance);
    expect(without.sla.breaches.map(({ display_id }) => display_id)).toEqual([7, 3, 2, 12]);
    expect(without.sla.breaches.map(({ answered_at }) => answered_at !== null)).toEqual([false, false, true, false]);
    const viewer = await member(sql, 1, "viewer");
    await sql.rows("delete from sla.policies where account_id = 1");
    for (const [role, person] of [["authenticated", viewer], ["analyst", null]] as const) {
      expect((await sql.as(role, person, () => live(sql))).sla).toEqual(without.sla);
    }
  }));

test("business hours count where there is a calendar: what was written at night is late a quarter of an hour after opening", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    const zone = await sql.value<string>("select ops.setting(1, 'reporting_time_zone') #>> '{}'");
    // Open from half an hour ago, by the account's own clock, and for the first time since yesterday evening.
    const minute = await sql.value<number>(
      "select (extract(hour from now() at time zone $1) * 60 + extract(minute from now() at time zone $1))::int - 30",
      [zone],
    );
    const week = [0, 1, 2, 3, 4, 5, 6].map((weekday) => ({ weekday, start_minute: minute, end_minute: 1440 }));
    const calendar = await sql.value("select ledger.save_calendar(1, 'Office', $1, $2, '[]', '-infinity')", [
      zone,
      JSON.stringify(week),
    ]);
    await sql.rows("select ledger.use_calendar(1, 'account', 0, $1)", [calendar]);
    await converse(sql, 1, {}, [[300, "customer"]]);
    await converse(sql, 2, {}, [[300, "customer"], [18, "us"]]);
    await converse(sql, 3, {}, [[300, "customer"], [5, "us"]]);
    await count(sql);

    const { sla } = await live(sql);

    expect(sla).toMatchObject({ met_today: 1, breached_today: 2, overdue_now: 1 });
    const due = await sql.value<Date>("select date_trunc('minute', now()) - interval '15 minutes'");
    expect(sla.breaches.map(({ due_at }) => Date.parse(String(due_at)))).toEqual([due.getTime(), due.getTime()]);
  }));

test("the default target is that of the default policy", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await sql.rows("select sla.add_default_policy(1)");
    expect(
      await sql.value(
        "select (targets #>> '{first_response,priorities,default,seconds}')::int from sla.policies where account_id = 1",
      ),
    ).toBe(await sql.value("select ops.default_target_seconds()"));
  }));

test("uptime is what was measured: downtimes count, hours in which nobody looked do not", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await sql.rows(
      `select ops.record_checks(array(select row(checks.account, checks.name, checks.subject, 'ok', 120, '', 'm', null,
        now() - hours * interval '1 hour')::ops.health_sample
      from generate_series(0, 100) as hours cross join (values (1, 'service', 'chatwoot'), (1, 'chatwoot_api', ''),
        (0, 'cron_alive', '')) as checks (account, name, subject)))`,
    );
    await sql.rows(`insert into ops.service_intervals (account_id, service, state, started_at, ended_at, reason) values
      (1, 'chatwoot', 'down', now() - interval '50 hours', now() - interval '49 hours', 'Chatwoot is down: 502'),
      (1, 'chatwoot', 'down', now() - interval '200 hours', now() - interval '199 hours', 'long ago'),
      (2, 'chatwoot', 'down', now() - interval '50 hours', null, 'of another account'),
      (0, 'checks', 'unmeasured', now() - interval '40 hours', now() - interval '20 hours', 'Nothing was checked')`);

    let status = await live(sql);

    expect(status.service_state).toBe("up");
    expect(status.uptime_30d).toBeCloseTo(1 - 1 / 80, 2);
    expect(status.service.downtimes.map(({ state, seconds, reason }) => [state, seconds, reason])).toEqual([
      ["unmeasured", 72_000, "Nothing was checked"],
      ["down", 3600, "Chatwoot is down: 502"],
    ]);
    expect(status.response_times.chatwoot_api).toMatchObject({ n: 24, median_ms: 120, p90_ms: 120 });

    await sql.rows(
      "select ops.record_checks(array[row(1, 'service', 'chatwoot', 'fail', 3, '', 'Chatwoot is down', 'Look.', now() + interval '1 second')::ops.health_sample])",
    );
    status = await live(sql);
    expect(status).toMatchObject({ service_state: "down", service: { downtimes: [{ ended_at: null }, {}, {}] } });

    await sql.rows("update ops.health_checks set checked_at = now() - interval '4 minutes' where account_id = 0");
    expect((await live(sql)).service_state).toBe("unknown");
  }));

test("the alerts that last, and only to members of the account; the analyst sees every account", () =>
  database.rolledBack(async (sql) => {
    await makeDay(sql);
    await sql.rows("select ops.raise_alert(1, 'webhook.silent', 'webhook_arrival', 'No webhook', 'Look.')");
    await sql.rows("select ops.raise_alert(2, 'queue.high', 'queue_pressure', 'Many wait')");
    const viewer = await member(sql, 1, "viewer");

    await sql.as("authenticated", viewer, async () => {
      const rows = await sql.rows<Live>("select * from analytics.live_status");
      expect(rows.map(({ account_id, alerts }) => [account_id, alerts.length, alerts[0].kind])).toEqual([
        ["1", 1, "webhook.silent"],
      ]);
    });
    await sql.as("analyst", null, async () => {
      expect((await sql.rows("select * from analytics.live_status")).length).toBe(2);
    });
    await sql.as("anon", null, () => sql.throws("42501", "select * from analytics.live_status"));
  }));
