// The stored clocks and the sweep: what is written down when, by whom, and that nothing waits for it.
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { policy, tell } from "./sla.support.ts";

const database = useDatabase();
const committing = useDatabase();
const DAY = "2026-11-16";
const at = (time: string) => `${DAY}T${time}Z`;
const HOUR = { first_response: { seconds: 3600, hours: "24x7" }, next_response: { seconds: 3600, hours: "24x7" } };

/** Walks account 1 and its clocks, as if it were then. */
const refresh = (sql: Sql, asOf: string, since = "-infinity") =>
  sql.rows(
    `select ledger.refresh(array(select row(account_id, display_id, null, null, $2, $1, 0, null, null)::ledger.queue
      from chatwoot.conversations where account_id = 1), $1)`,
    [asOf, since],
  );
const stored = (sql: Sql) =>
  sql.rows(
    `select display_id::int, clock, instance, state, outcome, due_at, breach_at, elapsed from sla.clocks where account_id = 1
    order by display_id, episode, clock, instance`,
  );
const breaches = (sql: Sql) =>
  sql.rows(
    `select display_id::int, clock, instance, to_char(breach_at at time zone 'UTC', 'HH24:MI:SS') as breach_at from sla.breaches
    where account_id = 1 order by display_id, clock, instance`,
  );
const notified = (sql: Sql) =>
  sql.rows("select kind, dedupe_key from ops.notifications where account_id = 1 order by dedupe_key");
const sweep = (sql: Sql, asOf: string) => sql.value("select sla.sweep($1)", [asOf]);

describe("the sweep", () => {
  test("writes a breach that no event told of, at its true instant, and notifies once", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 3600, hours: "24x7", warn_at: [0.5, 0.75] } });
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      expect(await sweep(sql, at("09:10"))).toBe("0");
      // Two hours of downtime later.
      expect(await sweep(sql, at("12:00"))).toBe("1");
      expect(await breaches(sql)).toEqual([{
        display_id: 1,
        clock: "first_response",
        instance: 1,
        breach_at: "10:00:00",
      }]);
      expect(await sweep(sql, at("12:01"))).toBe("0");
      expect(await notified(sql)).toEqual([{
        kind: "sla.breach",
        dedupe_key: "sla.breach/1/1/first_response/1/2026-11-16T10:00:00Z",
      }]);
    }));

  test("warns once for each share, and no more once it is late", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 3600, hours: "24x7", warn_at: [0.5, 0.75] } });
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      await sweep(sql, at("09:31"));
      await sweep(sql, at("09:32"));
      // Refreshed in between, what was warned of is not forgotten.
      await refresh(sql, at("09:33"));
      await sweep(sql, at("09:34"));
      await sweep(sql, at("09:46"));
      await sweep(sql, at("09:47"));
      expect((await notified(sql)).map((row) => row.dedupe_key)).toEqual([
        "sla.warning/1/1/first_response/1/0.5/2026-11-16T09:00:00Z",
        "sla.warning/1/1/first_response/1/0.75/2026-11-16T09:00:00Z",
      ]);
      await sweep(sql, at("10:00:01"));
      expect((await notified(sql)).map((row) => row.kind)).toEqual(["sla.breach", "sla.warning", "sla.warning"]);
    }));

  test("with the clock set back and forth there is one breach, and one notification", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      const once = [{ display_id: 1, clock: "first_response", instance: 1, breach_at: "10:00:00" }];
      for (
        const [asOf, expected] of [["12:00", once], ["09:30", []], ["11:00", once], ["10:00", []], [
          "10:00:01",
          once,
        ]] as const
      ) {
        await refresh(sql, at(asOf));
        await sweep(sql, at(asOf));
        expect(await breaches(sql), asOf).toEqual(expected);
      }
      expect((await notified(sql)).map(({ kind }) => kind)).toEqual(["sla.breach", "sla.warning"]);
    }));

  test("what comes in piece by piece alarms nobody until all of it is counted", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("11:00"));
      expect(await breaches(sql)).toHaveLength(1);
      // More of it is known, and not counted yet.
      await sql.rows("insert into ledger.queue (account_id, display_id, queued_at) values (1, 1, now())");
      await sweep(sql, at("11:01"));
      expect(await notified(sql)).toEqual([]);
      await tell(sql, 1, [["09:30", "human"], ["10:00", "customer"]]);
      await refresh(sql, at("11:02"));
      await sweep(sql, at("11:03"));
      // The first was none; the second is one, at its own instant.
      expect(await notified(sql)).toEqual([
        { kind: "sla.breach", dedupe_key: "sla.breach/1/1/next_response/1/2026-11-16T11:00:00Z" },
      ]);
    }));

  test("a reply that comes to be known late undoes a breach that was none", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      await sweep(sql, at("11:00"));
      expect(await breaches(sql)).toHaveLength(1);
      await tell(sql, 1, [["09:30", "human"]]);
      await refresh(sql, at("11:05"));
      expect(await breaches(sql)).toEqual([]);
      expect(await stored(sql)).toMatchObject([{ outcome: "met", breach_at: null, elapsed: 1800 }]);
    }));

  test("two at once write one row", async () => {
    const [first, second] = [await committing.connect(), await committing.connect()];
    await first.query(
      `select sla.save_policy(1, 'All', '[]', '{"first_response": {"seconds": 60, "hours": "24x7"}}', 1, null, '-infinity')`,
    );
    await first.query(
      `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
      select 1, number, 1, now() - interval '1 hour', now() from generate_series(1, 500) as numbers (number)`,
    );
    await first.query(
      `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, source, source_id, learnt_at)
      select 1, number, 'message', now() - interval '1 hour', 1, 'customer', 'message', '1', now()
      from generate_series(1, 500) as numbers (number)`,
    );
    await first.query(
      `select ledger.refresh(array(select row(account_id, display_id, null, null, '-infinity', now() - interval '59 minutes 59 seconds',
        0, null, null)::ledger.queue from chatwoot.conversations), now() - interval '59 minutes 59 seconds')`,
    );
    await first.query("delete from ledger.queue");
    await Promise.all([
      first.query("call sla.tick()"),
      second.query("call sla.tick()"),
      first.query("select sla.sweep()"),
      second.query("select sla.sweep()"),
    ]);
    await first.query("call sla.tick()");
    const { rows } = await first.query(
      `select count(*)::int as breaches, count(distinct display_id)::int as conversations,
        (select count(*)::int from ops.notifications where kind = 'sla.breach') as notifications,
        bool_and(breach_at = due_at) as is_true from sla.breaches`,
    );
    expect(rows).toEqual([{ breaches: 500, conversations: 500, notifications: 500, is_true: true }]);
  });
});

test("10,000 breaches in one tick are written in bounded batches", async () => {
  const client = await committing.connect();
  await client.query(
    `insert into sla.clocks (account_id, display_id, episode, clock, instance, policy_id, version, state, started_at, applied_at,
      target_seconds, running_since, elapsed, due_at, warn_shares, warn_at, attention_at)
    select 2, number, 1, 'first_response', 1, 1, 1, 'running', at, at, 60, at, 0, at + interval '60 seconds', '{}', '{}',
      at + interval '60 seconds'
    from generate_series(1, 10000) as numbers (number), lateral (select now() - interval '1 hour' as at) as begun`,
  );
  let largest = 0;
  for (let looked = 1; looked > 0;) {
    looked = Number((await client.query("select sla.sweep()")).rows[0].sweep);
    largest = Math.max(largest, looked);
  }
  expect(largest).toBe(1000);
  const { rows } = await client.query("select count(*)::int as n from sla.breaches where account_id = 2");
  expect(rows).toEqual([{ n: 10_000 }]);
});

describe("what is stored", () => {
  test("is what any instant reads, event by event and all at once", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, {
        ...HOUR,
        resolution: { seconds: 14_400, hours: "24x7" },
        periodic_update: { seconds: 3600, hours: "24x7" },
      });
      const story: [string, string][] = [
        ["09:00", "customer"],
        ["09:30", "human"],
        ["10:00", "status snoozed"],
        ["11:00", "customer"],
        ["11:00", "status open"],
        ["13:30", "human"],
        ["13:40", "priority urgent"],
        ["14:00", "customer"],
        ["14:10", "status resolved"],
        ["15:00", "customer"],
        ["15:00", "status open"],
        ["16:30", "human"],
      ];
      const columns =
        `display_id, episode, clock, instance, span_number, policy_id, version, state, outcome, started_at, stopped_at,
        stopped_as, applied_at, target_seconds, calendar_id, running_since, elapsed, due_at, breach_at, warn_at`;
      for (const [index, step] of story.entries()) {
        await tell(sql, 1, [step]);
        await refresh(sql, at(step[0]), index === 0 ? "-infinity" : at(step[0]));
        const now = await sql.rows(`select ${columns} from sla.clocks where account_id = 1 order by clock, instance`);
        expect(await sql.rows(`select ${columns} from sla.clocks_at(1, $1) order by clock, instance`, [at(step[0])]))
          .toEqual(now);
      }
      const stepwise = await stored(sql);
      expect(stepwise.length).toBe(8);
      await sql.rows("delete from sla.clocks where account_id = 1");
      await refresh(sql, at("16:30"));
      expect(await stored(sql)).toEqual(stepwise);
    }));

  test("a policy edited while clocks run holds from then on, and what is over stays", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `select sla.save_policy(1, 'All', '[]', '{"first_response": {"seconds": 7200, "hours": "24x7"}}', 1, null, null, $1)`,
        [at("08:00")],
      );
      await tell(sql, 1, [["09:00", "customer"]]);
      await tell(sql, 2, [["08:30", "customer"], ["10:00", "human"], ["10:01", "status resolved"]]);
      await refresh(sql, at("10:05"));
      await sql.rows(
        `select sla.save_policy(1, 'All', '[]', '{"first_response": {"seconds": 1800, "hours": "24x7"}}', 1, null, null, $1)`,
        [at("10:30")],
      );
      expect(await sql.rows("select display_id::int as id, walk_since from ledger.queue where account_id = 1")).toEqual(
        [
          { id: 1, walk_since: new Date(at("10:30")) },
        ],
      );
      await sql.rows("select ledger.work_off(as_of => $1)", [at("10:31")]);
      await refresh(sql, at("10:32"));
      expect(
        await sql.rows(`select display_id::int as id, version, outcome, target_seconds,
        to_char(breach_at at time zone 'UTC', 'HH24:MI') as breach_at from sla.clocks where account_id = 1 order by 1`),
      ).toEqual([
        { id: 1, version: 2, outcome: "breached", target_seconds: 1800, breach_at: "10:30" },
        { id: 2, version: 1, outcome: "met", target_seconds: 7200, breach_at: null },
      ]);
    }));

  test("a customer who becomes a VIP has the VIP's clock from then on", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 60, hours: "24x7" } }, {
        name: "VIP",
        place: 1,
        conditions: [{ attribute: "contact.tier", operator: "is", value: "gold" }],
      });
      await policy(sql, HOUR, { name: "Others", place: 2 });
      await tell(sql, 1, [["09:00", "customer"]]);
      await sql.rows("insert into chatwoot.contacts (account_id, contact_id, version_at) values (1, 5, now())");
      await sql.rows("update chatwoot.conversations set contact_id = 5, status = 'open' where account_id = 1");
      await refresh(sql, at("09:00:30"));
      expect(await sql.rows("select target_seconds from sla.clocks")).toEqual([{ target_seconds: 3600 }]);
      await sql.rows("delete from ledger.queue where account_id = 1");
      await sql.rows(`update chatwoot.contacts set custom_attributes = '{"tier": "gold"}' where account_id = 1`);
      expect(await sql.rows("select display_id::int as id from ledger.queue where account_id = 1")).toEqual([{
        id: 1,
      }]);
      await refresh(sql, at("09:30"), at("09:30"));
      expect(
        await sql.rows(
          `select target_seconds, to_char(applied_at at time zone 'UTC', 'HH24:MI') as applied_at from sla.clocks`,
        ),
      )
        .toEqual([{ target_seconds: 60, applied_at: "09:30" }]);
      // Of a later instant the same is read, and of an earlier one what held then.
      expect(await sql.rows("select target_seconds from sla.clocks_at(1, $1)", [at("09:29")])).toEqual([{
        target_seconds: 3600,
      }]);
    }));

  test("language and attributes of the conversation are asked for, too", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 60, hours: "24x7" } }, {
        name: "German gold",
        place: 1,
        conditions: [
          { attribute: "language", operator: "in", values: ["de", "at"] },
          { attribute: "conversation.plan", operator: "is_not", value: "free" },
        ],
      });
      await tell(sql, 1, [["09:00", "customer"]]);
      await tell(sql, 2, [["09:00", "customer"]]);
      await sql.rows(`update chatwoot.conversations set additional_attributes = '{"browser_language": "de"}',
        custom_attributes = case display_id when 1 then '{"plan": "paid"}' else '{"plan": "free"}' end::jsonb where account_id = 1`);
      await refresh(sql, at("09:00:30"));
      expect(await sql.rows("select display_id::int as id from sla.clocks")).toEqual([{ id: 1 }]);
    }));

  test("a breach is seen the second it happens, whatever the sweep does", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await sql.rows(`insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
        values (1, 1, 1, now() - interval '2 hours', now())`);
      await sql.rows(
        `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, source, source_id, learnt_at)
        values (1, 1, 'message', now() - interval '2 hours', 1, 'customer', 'message', '1', now())`,
      );
      await sql.rows(
        `select ledger.refresh(array[row(1, 1, null, null, '-infinity', now(), 0, null, null)::ledger.queue],
        now() - interval '119 minutes')`,
      );
      expect(await sql.rows("select count(*)::int as n from sla.breaches")).toEqual([{ n: 0 }]);
      expect(
        await sql.rows(
          "select clock, outcome, round(overrun)::int as overrun, found_at from analytics.sla_breaches, lateral (select 'breached' as outcome) as o",
        ),
      )
        .toEqual([{ clock: "first_response", outcome: "breached", overrun: 3600, found_at: null }]);
      await sql.rows("insert into chatwoot.accounts (account_id, version_at) values (1, now())");
      expect(
        await sql.rows(
          `select clock, n_met::int, n_breached::int, attainment, conversations::int, conversation_attainment, n_excluded::int
          from analytics.sla_attainment`,
        ),
      ).toEqual([{
        clock: "first_response",
        n_met: 0,
        n_breached: 1,
        attainment: 0,
        conversations: 1,
        conversation_attainment: 0,
        n_excluded: 0,
      }]);
    }));
});

describe("simulation", () => {
  const simulate = (sql: Sql, targets: object) =>
    sql.rows(
      "select clock, decided_before::int, breached_before::int, decided_after::int, breached_after::int, newly_breached::int[], no_longer_breached::int[] from sla.simulate(1, $1, $2, $3, $4)",
      [JSON.stringify([{ targets }]), at("00:00"), at("23:00"), at("23:00")],
    );

  test("the same policy changes nothing, a stricter one names who would be late, and nothing is written", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"], ["09:20", "human"]]);
      await tell(sql, 2, [["09:00", "customer"], ["09:40", "human"]]);
      await tell(sql, 3, [["09:00", "customer"], ["10:40", "human"]]);
      await refresh(sql, at("22:00"));
      const before = await stored(sql);
      expect(await simulate(sql, HOUR)).toEqual([{
        clock: "first_response",
        decided_before: 3,
        breached_before: 1,
        decided_after: 3,
        breached_after: 1,
        newly_breached: [],
        no_longer_breached: [],
      }]);
      expect(await simulate(sql, { first_response: { seconds: 1800, hours: "24x7" } })).toMatchObject([{
        breached_after: 2,
        newly_breached: [2],
      }]);
      expect(await simulate(sql, { first_response: { seconds: 7200, hours: "24x7" } })).toMatchObject([{
        breached_after: 0,
        no_longer_breached: [3],
      }]);
      expect(await stored(sql)).toEqual(before);
    }));
});

test("a simulated policy may ask what no policy has asked before", () =>
  database.rolledBack(async (sql) => {
    await tell(sql, 1, [["09:00", "customer"], ["10:00", "human"]]);
    await sql.rows(
      `update chatwoot.conversations set additional_attributes = '{"browser_language": "de"}' where account_id = 1`,
    );
    await refresh(sql, at("22:00"));
    const asked = (language: string) =>
      sql.rows("select breached_after::int from sla.simulate(1, $1, $2, $3, $3)", [
        JSON.stringify([{
          conditions: [{ attribute: "language", operator: "is", value: language }],
          targets: { first_response: { seconds: 60, hours: "24x7" } },
        }]),
        at("00:00"),
        at("23:00"),
      ]);
    expect(await asked("de")).toEqual([{ breached_after: 1 }]);
    expect(await asked("en")).toEqual([]);
  }));

describe("what reviews broke", () => {
  const HOURLY = { first_response: { seconds: 3600, hours: "24x7" } };
  const first = (sql: Sql) => sql.rows("select outcome, stopped_as from sla.clocks where clock = 'first_response'");

  test("spam taken back revives the clock, told in pieces as told at once", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 900, hours: "24x7" } });
      const steps: [string, string][] = [
        ["09:00", "customer"],
        ["09:10", 'labels ["spam"]'],
        ["09:20", "human"],
        ["09:30", "labels []"],
      ];
      for (const [index, step] of steps.entries()) {
        await tell(sql, 1, [step]);
        await sql.rows("update ledger.events set previous = '[\"spam\"]' where value = '[]' and kind = 'labels'");
        await refresh(sql, at(step[0]), index === 0 ? "-infinity" : at(step[0]));
        if (index === 2) expect(await first(sql)).toEqual([{ outcome: "cancelled", stopped_as: "spam" }]);
      }
      expect(await first(sql)).toEqual([{ outcome: "breached", stopped_as: "reply" }]);
    }));

  test("a clock that takes the number of another is warned of by itself", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { next_response: { seconds: 3600, hours: "24x7", warn_at: [0.5] } });
      await tell(sql, 1, [["08:00", "human"], ["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      await sweep(sql, at("09:31"));
      // The message was none of the customer's after all; the next one is.
      await sql.rows("update ledger.events set unlearnt_at = now() where class = 'customer'");
      await tell(sql, 1, [["10:00", "customer"]]);
      await refresh(sql, at("10:00:01"));
      await sweep(sql, at("10:31"));
      expect((await notified(sql)).map(({ dedupe_key }) => dedupe_key)).toEqual([
        "sla.warning/1/1/next_response/1/0.5/2026-11-16T09:00:00Z",
        "sla.warning/1/1/next_response/1/0.5/2026-11-16T10:00:00Z",
      ]);
    }));

  test("what was promised was promised: an existing policy changes from now on", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOURLY);
      await sql.throws(
        "OC422",
        `select sla.save_policy(1, 'All', '[]', '{"first_response": {"seconds": 99999}}', 100, null, '-infinity')`,
      );
    }));

  test("what is long late does not hide what can still be kept", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `insert into sla.clocks (account_id, display_id, episode, clock, instance, policy_id, version, state, started_at, applied_at,
          target_seconds, running_since, elapsed, due_at, warn_shares, warn_at)
        select 1, number, 1, 'first_response', 1, 1, 1, 'running', begun, begun, 60, begun, 0, due, '{}', '{}'
        from (select number, now() - interval '1 day' as begun,
          case when number = 300 then now() + interval '5 minutes' else now() - interval '23 hours' end as due
          from generate_series(1, 300) as numbers (number)) as told`,
      );
      const rows = await sql.rows("select display_id::int as id, class from sla.at_risk(1, null, 200)");
      expect(rows).toContainEqual({ id: 300, class: "at_risk" });
      expect(rows).toHaveLength(201);
    }));

  test("what began while a policy was being saved is looked after", async () => {
    const [saving, other] = [await committing.connect(), await committing.connect()];
    await saving.query("begin");
    await saving.query(
      `select sla.save_policy(5, 'All', '[]', '{"first_response": {"seconds": 60, "hours": "24x7"}}', 1)`,
    );
    await other.query(
      `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at) values (5, 1, 1, now(), now())`,
    );
    await other.query(
      `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, source, source_id, learnt_at)
      values (5, 1, 'message', now(), 1, 'customer', 'message', '1', now())`,
    );
    await other.query("delete from ledger.queue where account_id = 5");
    await other.query(
      "select ledger.refresh(array[row(5, 1, null, null, '-infinity', now(), 0, null, null)::ledger.queue])",
    );
    await saving.query("commit");
    expect((await other.query("select from sla.clocks where account_id = 5")).rowCount).toBe(0);
    await other.query("call sla.tick(now() + interval '20 seconds')");
    await other.query("call ledger.tick()");
    expect((await other.query("select from sla.clocks where account_id = 5")).rowCount).toBe(1);
  });

  test("a target that a calendar never reaches raises an alert, which another version closes", () =>
    database.rolledBack(async (sql) => {
      const calendar = await sql.value(
        `select ledger.save_calendar(1, 'Rare', 'UTC', '[{"weekday": 1, "start_minute": 540, "end_minute": 541}]', '[]', '-infinity')`,
      );
      const seconds = (number: number) => ({ resolution: { seconds: number, hours: Number(calendar) } });
      await policy(sql, seconds(1_000_000));
      await tell(sql, 1, [["09:00", "customer"]]);
      await refresh(sql, at("09:00:01"));
      const alerts =
        "select kind, resolved_at is null as is_open from ops.alerts where account_id = 1 and kind like 'sla.%'";
      expect(await sql.rows(alerts)).toEqual([{ kind: "sla.never_due", is_open: true }]);
      await sql.rows("select sla.save_policy(1, 'All', '[]', $1, 100)", [JSON.stringify(seconds(60))]);
      expect(await sql.rows(alerts)).toEqual([{ kind: "sla.never_due", is_open: false }]);
    }));

  test("what goes to and fro very often is left to cron", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { resolution: { seconds: 3600, hours: "24x7" } });
      const flips = Array.from({ length: 80 }, (_, index): [string, string] => [
        `10:${String(Math.floor(index / 2)).padStart(2, "0")}:${index % 2 ? "30" : "00"}`,
        index % 2 ? "status open" : "status snoozed",
      ]);
      await tell(sql, 1, [["09:00", "customer"], ...flips]);
      await sql.rows(
        "insert into ledger.queue (account_id, display_id, walk_since, queued_at) values (1, 1, '-infinity', now())",
      );
      await sql.rows("select ledger.follow(1, 1, $1)", [at("11:00")]);
      expect(await sql.rows("select count(*)::int as n from sla.clocks")).toEqual([{ n: 0 }]);
      await sql.rows("select ledger.work_off(as_of => $1)", [at("11:01")]);
      expect(await sql.rows("select clock from sla.clocks")).toEqual([{ clock: "resolution" }]);
      expect(await sql.rows("select display_id from ledger.queue where account_id = 1")).toEqual([]);
    }));
});

test("members of another account see nothing, and only admins change policies", () =>
  database.rolledBack(async (sql) => {
    await policy(sql, HOUR);
    await tell(sql, 1, [["09:00", "customer"]]);
    await refresh(sql, at("09:00:01"));
    const [ours, stranger] = [await member(sql, 1, "viewer"), await member(sql, 9, "admin")];
    await sql.as("authenticated", ours, async () => {
      expect(await sql.rows("select count(*)::int as n from analytics.sla_clocks")).toEqual([{ n: 1 }]);
      await sql.throws("OC403", `select api.save_sla_policy(1, 'Mine', '[]', '{"resolution": {"seconds": 60}}')`);
      await sql.throws("OC403", "select api.retire_sla_policy(1, 1)");
    });
    await sql.as("authenticated", stranger, async () => {
      for (const view of ["analytics.sla_clocks", "analytics.sla_breaches", "api.sla_policies", "api.sla_board"]) {
        expect(await sql.rows(`select * from ${view}`), view).toEqual([]);
      }
      await sql.throws("OC403", "select * from api.sla_at_risk(1)");
      await sql.throws("OC403", "select * from api.sla_clocks_at(1)");
      await sql.throws("OC403", `select * from api.simulate_sla(1, '[]', now() - interval '1 day', now())`);
    });
  }));
