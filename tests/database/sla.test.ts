// Service level clocks: the numbered fixtures and settled readings, by the policies of their day and as of any instant.
import { describe, expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";
import { calendarA, clocks, type Happening, policy, tell } from "./sla.support.ts";

const database = useDatabase();
const FIRST = {
  first_response: { seconds: 14_400, hours: "business", priorities: { urgent: { seconds: 1800, hours: "24x7" } } },
};

describe("FX-10: priority changes, and nothing happens at the breach", () => {
  const day = "2026-11-20";
  const story: Happening[] = [["14:30", "customer"], ["14:45", "priority urgent"], ["15:20", "human"]];

  test("due is worked out from the original start, and the breach needs no event", () =>
    database.rolledBack(async (sql) => {
      await calendarA(sql);
      await policy(sql, FIRST);
      await tell(sql, 1, [["14:30", "created open"], ...story], { day });
      const first = async (asOf: string) => (await clocks(sql, 1, asOf, day))["first_response 1"];
      expect(await first("14:40:00")).toMatchObject({ due_at: "2026-11-23T10:30:00", state: "running" });
      expect(await first("14:45:00")).toMatchObject({ due_at: "2026-11-20T15:00:00", target_seconds: 1800 });
      expect(await first("15:00:00")).toMatchObject({ outcome: null, breach_at: null });
      expect(await first("15:00:01")).toMatchObject({ outcome: "breached", breach_at: "2026-11-20T15:00:00" });
      expect(await first("15:20:00")).toMatchObject({
        state: "stopped",
        outcome: "breached",
        breach_at: "2026-11-20T15:00:00",
        elapsed: 3000,
        target_seconds: 1800,
      });
    }));

  test("nobody is late before the rule held", () =>
    database.rolledBack(async (sql) => {
      await calendarA(sql);
      await policy(sql, FIRST);
      await tell(sql, 1, [["14:30", "customer"], ["15:10", "priority urgent"], ["15:20", "human"]], { day });
      expect((await clocks(sql, 1, "16:00", day))["first_response 1"]).toMatchObject({
        due_at: "2026-11-20T15:00:00",
        breach_at: "2026-11-20T15:10:00",
        elapsed: 3000,
      });
    }));

  test("back to normal before it was late: met, in business hours", () =>
    database.rolledBack(async (sql) => {
      await calendarA(sql);
      await policy(sql, FIRST);
      await tell(sql, 1, [
        ["14:30", "customer"],
        ["14:45", "priority urgent"],
        ["14:55", "priority"],
        ["15:20", "human"],
      ], { day });
      expect((await clocks(sql, 1, "16:00", day))["first_response 1"]).toMatchObject({
        outcome: "met",
        target_seconds: 14_400,
        elapsed: 3000,
        breach_at: null,
      });
    }));
});

describe("FX-11: pause and resume", () => {
  test("in calendar time", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { resolution: { seconds: 14_400, hours: "24x7" } });
      await tell(sql, 1, [
        ["10:00", "customer"],
        ["11:00", "status snoozed"],
        ["15:00", "status open"],
        ["16:30", "status snoozed"],
        ["18:00", "status open"],
        ["19:40", "status resolved"],
      ]);
      const told = async (asOf: string) => (await clocks(sql, 1, asOf))["resolution 1"];
      expect(await told("10:00")).toMatchObject({ elapsed: 0, due_at: "2026-11-16T14:00:00", state: "running" });
      expect(await told("11:00")).toMatchObject({ elapsed: 3600, due_at: null, state: "paused" });
      expect(await told("15:00")).toMatchObject({ elapsed: 3600, due_at: "2026-11-16T18:00:00" });
      expect(await told("16:30")).toMatchObject({ elapsed: 9000, due_at: null });
      expect(await told("18:00")).toMatchObject({ elapsed: 9000, due_at: "2026-11-16T19:30:00" });
      expect(await told("19:00")).toMatchObject({ elapsed: 12_600, due_at: "2026-11-16T19:30:00", outcome: null });
      expect(await told("19:40")).toMatchObject({
        elapsed: 15_000,
        breach_at: "2026-11-16T19:30:00",
        outcome: "breached",
      });
    }));

  test("in business hours", () =>
    database.rolledBack(async (sql) => {
      await calendarA(sql);
      await policy(sql, { resolution: { seconds: 28_800, hours: "business" } });
      await tell(sql, 1, [
        ["2026-11-20T14:00:00", "customer"],
        ["2026-11-20T15:00:00", "status snoozed"],
        ["2026-11-23T10:00:00", "status open"],
        ["2026-11-23T11:30:00", "status snoozed"],
        ["2026-11-23T13:00:00", "status open"],
      ]);
      expect((await clocks(sql, 1, "2026-11-23T13:00:00"))["resolution 1"]).toMatchObject({
        elapsed: 9000,
        due_at: "2026-11-24T10:30:00",
      });
    }));
});

test("FX-12: next responses, also those that a resolve ends and a reopen begins", () =>
  database.rolledBack(async (sql) => {
    await policy(sql, {
      first_response: { seconds: 3600, hours: "24x7" },
      next_response: { seconds: 3600, hours: "24x7" },
    });
    await tell(sql, 1, [
      ["09:00", "customer"],
      ["09:20", "human"],
      ["10:00", "customer"],
      ["10:30", "customer"],
      ["10:50", "human"],
      ["12:00", "customer"],
      ["12:40", "status resolved"],
      ["14:00", "customer"],
      ["14:00", "status open"],
    ]);
    expect(await clocks(sql, 1, "15:00:00")).toMatchObject({
      "first_response 1": { elapsed: 1200, outcome: "met" },
      "next_response 1": { elapsed: 3000, outcome: "met" },
      "next_response 2": { elapsed: 2400, outcome: "met", stopped_as: "resolved" },
      "next_response 3": { elapsed: 3600, outcome: null, state: "running" },
    });
    expect((await clocks(sql, 1, "15:00:01"))["next_response 3"]).toMatchObject({
      outcome: "breached",
      breach_at: "2026-11-16T15:00:00",
    });
  }));

test("FX-06: who never got an answer is late without an event, and a resolve cancels", () =>
  database.rolledBack(async (sql) => {
    await policy(sql, { first_response: { seconds: 3600, hours: "24x7" } });
    await tell(sql, 1, [["09:00", "customer"], ["09:05", "status resolved"]]);
    await tell(sql, 2, [["09:00", "customer"]]);
    await tell(sql, 3, [["10:00", "customer"], ["10:10", "human"]]);
    const first = async (display: number) => (await clocks(sql, display, "12:00"))["first_response 1"];
    expect(await first(1)).toMatchObject({ outcome: "cancelled", stopped_as: "resolved" });
    expect(await first(2)).toMatchObject({ outcome: "breached", breach_at: "2026-11-16T10:00:00", elapsed: 10_800 });
    expect(await first(3)).toMatchObject({ outcome: "met", elapsed: 600 });
  }));

test("FX-13: what is at risk, what is paused, and what is late", () =>
  database.rolledBack(async (sql) => {
    const day = "2026-11-20";
    await calendarA(sql);
    const inboxes: [number, number, "24x7" | "business"][] = [[1, 3600, "24x7"], [2, 14_400, "business"]];
    for (const [inbox, seconds, hours] of inboxes) {
      await policy(sql, { first_response: { seconds, hours, pauses: ["snoozed"] } }, {
        name: `Inbox ${inbox}`,
        place: inbox,
        conditions: [{ attribute: "inbox_id", operator: "is", value: inbox }],
      });
    }
    await tell(sql, 1, [["14:30", "customer"]], { day });
    await tell(sql, 2, [["15:00", "customer"]], { day, inbox: 2 });
    await tell(sql, 3, [["14:10", "customer"]], { day });
    await tell(sql, 4, [["13:00", "customer"]], { day });
    await tell(sql, 5, [["11:30", "customer"]], { day, inbox: 2 });
    await tell(sql, 6, [["14:00", "customer"], ["14:55", "status snoozed"]], { day });
    const rows = await sql.rows<Record<string, unknown>>(
      `select display_id::int as id, class, elapsed, remaining, round(consumed::numeric, 4)::float8 as consumed,
        to_char(due_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI') as due,
        to_char(if_resumed_due_at at time zone 'UTC', 'HH24:MI') as resumed,
        to_char(breach_at at time zone 'UTC', 'HH24:MI') as breach
      from sla.at_risk(1, '2026-11-20T15:00:00Z')`,
    );
    expect(rows).toEqual([
      {
        id: 4,
        class: "breached",
        elapsed: 7200,
        remaining: -3600,
        consumed: 2,
        due: "2026-11-20T14:00",
        resumed: null,
        breach: "14:00",
      },
      {
        id: 3,
        class: "at_risk",
        elapsed: 3000,
        remaining: 600,
        consumed: 0.8333,
        due: "2026-11-20T15:10",
        resumed: null,
        breach: null,
      },
      {
        id: 1,
        class: "ok",
        elapsed: 1800,
        remaining: 1800,
        consumed: 0.5,
        due: "2026-11-20T15:30",
        resumed: null,
        breach: null,
      },
      {
        id: 5,
        class: "at_risk",
        elapsed: 12_600,
        remaining: 1800,
        consumed: 0.875,
        due: "2026-11-20T15:30",
        resumed: null,
        breach: null,
      },
      {
        id: 2,
        class: "ok",
        elapsed: 0,
        remaining: 14_400,
        consumed: 0,
        due: "2026-11-23T11:00",
        resumed: null,
        breach: null,
      },
      {
        id: 6,
        class: "paused",
        elapsed: 3300,
        remaining: 300,
        consumed: 0.9167,
        due: null,
        resumed: "15:05",
        breach: null,
      },
    ]);
  }));

describe("settled readings", () => {
  const HOUR = { first_response: { seconds: 3600, hours: "24x7" }, next_response: { seconds: 3600, hours: "24x7" } };

  test("the first response is not owed while the bot has it, and starts when it lets go", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "created pending"], ["09:00", "customer"], ["10:30", "status open"], [
        "11:00",
        "human",
      ]]);
      expect(await clocks(sql, 1, "10:15")).toEqual({});
      expect(await clocks(sql, 1, "11:00")).toMatchObject({ "first_response 1": { elapsed: 1800, outcome: "met" } });
    }));

  test("equality is met, and a second later is not", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"], ["10:00:00", "human"]]);
      await tell(sql, 2, [["09:00", "customer"], ["10:00:01", "human"]]);
      expect((await clocks(sql, 1, "12:00"))["first_response 1"]).toMatchObject({ outcome: "met", breach_at: null });
      expect((await clocks(sql, 2, "12:00"))["first_response 1"]).toMatchObject({
        outcome: "breached",
        breach_at: "2026-11-16T10:00:00",
        elapsed: 3601,
      });
    }));

  test("a target used up just at closing, and answered that night, was due at closing", () =>
    database.rolledBack(async (sql) => {
      await calendarA(sql);
      await policy(sql, { first_response: { seconds: 3600, hours: "business" } });
      await tell(sql, 1, [["15:00", "customer"], ["20:00", "human"]]);
      expect((await clocks(sql, 1, "21:00"))["first_response 1"]).toMatchObject({
        outcome: "breached",
        breach_at: "2026-11-16T16:00:00",
        elapsed: 3600,
      });
    }));

  test("a priority lowered after the breach leaves it, and the overrun may be negative", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, {
        first_response: { seconds: 14_400, hours: "24x7", priorities: { urgent: { seconds: 1800 } } },
      });
      await tell(sql, 1, [["09:00", "customer"], ["09:00", "priority urgent"], ["10:00", "priority low"], [
        "10:10",
        "human",
      ]]);
      expect((await clocks(sql, 1, "11:00"))["first_response 1"]).toMatchObject({
        outcome: "breached",
        breach_at: "2026-11-16T09:30:00",
        elapsed: 4200,
        target_seconds: 14_400,
      });
    }));

  test("resolved without a reply after it was due, it stays breached", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"], ["10:30", "status resolved"]]);
      expect((await clocks(sql, 1, "11:00"))["first_response 1"]).toMatchObject({
        outcome: "breached",
        breach_at: "2026-11-16T10:00:00",
        stopped_as: "resolved",
      });
    }));

  test("in a thread that we began every wait is a next response", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "human"], ["09:40", "customer"], ["09:50", "human"]]);
      expect(await clocks(sql, 1, "11:00")).toMatchObject({ "next_response 1": { elapsed: 600, outcome: "met" } });
      expect(Object.keys(await clocks(sql, 1, "11:00"))).toEqual(["next_response 1"]);
    }));

  test("merged and marked as spam, a clock is cancelled", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, HOUR);
      await tell(sql, 1, [["09:00", "customer"]]);
      await tell(sql, 2, [["09:00", "customer"], ["09:20", 'labels ["spam"]']]);
      await tell(sql, 3, [["08:00", "customer"]]);
      await sql.rows("select ledger.merge(1, 1, 3, '2026-11-16T09:30:00Z')");
      expect((await clocks(sql, 1, "12:00"))["first_response 1"]).toMatchObject({
        outcome: "cancelled",
        stopped_as: "merged",
      });
      expect((await clocks(sql, 2, "12:00"))["first_response 1"]).toMatchObject({
        outcome: "cancelled",
        stopped_as: "spam",
      });
    }));

  test("periodic updates run from reply to reply", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { periodic_update: { seconds: 3600, hours: "24x7" } });
      await tell(sql, 1, [
        ["09:00", "customer"],
        ["09:10", "human"],
        ["09:40", "human"],
        ["11:00", "human"],
        ["11:30", "status resolved"],
      ]);
      expect(await clocks(sql, 1, "12:00")).toMatchObject({
        "periodic_update 1": { elapsed: 1800, outcome: "met" },
        "periodic_update 2": { elapsed: 4800, outcome: "breached", breach_at: "2026-11-16T10:40:00" },
        "periodic_update 3": { elapsed: 1800, outcome: "met", stopped_as: "resolved" },
      });
    }));

  test("agent work also stands still for a third party, and a reopen within the gap goes on", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, {
        agent_work: { seconds: 7200, hours: "24x7" },
        requester_wait: { seconds: 7200, hours: "24x7" },
      });
      await sql.rows("insert into ledger.rules (account_id, inbox_id, has_bot) values (1, 1, false)");
      await tell(sql, 1, [
        ["08:00", "customer"],
        ["09:00", "status pending"],
        ["10:00", "status open"],
        ["10:30", "status resolved"],
        ["12:00", "status open"],
        ["12:10", "status resolved"],
      ]);
      expect(await clocks(sql, 1, "11:00")).toMatchObject({
        "agent_work 1": { elapsed: 5400, outcome: "met", state: "stopped" },
        "requester_wait 1": { elapsed: 9000, outcome: "breached", breach_at: "2026-11-16T10:00:00" },
      });
      expect(await clocks(sql, 1, "13:00")).toMatchObject({ "agent_work 1": { elapsed: 6000, outcome: "met" } });
    }));
});

describe("which policy holds", () => {
  test("the first whose conditions hold, at that instant", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 600, hours: "24x7" } }, {
        name: "VIP",
        place: 1,
        conditions: [{ attribute: "label", operator: "in", values: ["vip"] }],
      });
      await policy(sql, { first_response: { seconds: 3600, hours: "24x7" } }, { name: "Others", place: 2 });
      await tell(sql, 1, [["09:00", "customer"], ["09:30", 'labels ["vip"]'], ["09:50", "human"]]);
      expect((await clocks(sql, 1, "09:20"))["first_response 1"]).toMatchObject({
        target_seconds: 3600,
        outcome: null,
      });
      // Nobody is late before the rule held.
      expect((await clocks(sql, 1, "10:00"))["first_response 1"]).toMatchObject({
        target_seconds: 600,
        breach_at: "2026-11-16T09:30:00",
      });
    }));

  test("a policy that no longer has a target ends the clock", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { first_response: { seconds: 3600, hours: "24x7" } }, {
        name: "VIP",
        conditions: [{ attribute: "label", operator: "in", values: ["vip"] }],
      });
      await tell(sql, 1, [["09:00", "customer"], ["09:00", 'labels ["vip"]'], ["09:30", "labels []"]]);
      expect((await clocks(sql, 1, "12:00"))["first_response 1"]).toMatchObject({
        outcome: "cancelled",
        stopped_as: "policy",
      });
    }));

  const BAD: [string, object, object, RegExp][] = [
    [
      "an unknown attribute",
      [{ attribute: "colour", operator: "in", values: ["red"] }],
      {},
      /"colour" is no attribute/,
    ],
    ["a bad operator", [{ attribute: "priority", operator: "like", values: ["x"] }], {}, /like is no operator/],
    ["no values", [{ attribute: "priority", operator: "in", values: [] }], {}, /values must be 1 to 100/],
    [
      "an unknown priority asked for",
      [{ attribute: "priority", operator: "in", values: ["Urgent"] }],
      {},
      /priority is urgent, high/,
    ],
    ["a zero target", [], { first_response: { seconds: 0 } }, /seconds must be a whole number from 1/],
    ["a negative target", [], { first_response: { seconds: -5 } }, /seconds must be a whole number from 1/],
    ["an unknown clock", [], { reply: { seconds: 5 } }, /reply is no clock/],
    ["an unknown priority", [], { first_response: { priorities: { huge: { seconds: 5 } } } }, /huge is no priority/],
    ["an unknown calendar", [], { first_response: { seconds: 5, hours: 99 } }, /hours must be "business"/],
    ["a bad pause", [], { resolution: { seconds: 5, pauses: ["open"] } }, /pauses must be an array of states/],
    ["a tiny warning", [], { resolution: { seconds: 5, warn_at: [1e-300] } }, /warn_at must be an array/],
    ["a bad warning", [], { resolution: { seconds: 5, warn_at: [1.5] } }, /warn_at must be an array/],
    ["an unknown key", [], { resolution: { second: 5 } }, /second is not known/],
    ["no target", [], {}, /targets must be an object with at least one clock/],
  ];
  test.each(BAD)(
    "%s is refused with what to do",
    (_, conditions, targets, message) =>
      database.rolledBack(async (sql) => {
        const asked = policy(
          sql,
          Object.keys(targets).length > 0 || message.source.includes("targets")
            ? targets
            : { first_response: { seconds: 60 } },
          { conditions: conditions as object[] },
        );
        await expect(asked).rejects.toMatchObject({
          code: "OC422",
          message: expect.stringMatching(message),
          hint: expect.any(String),
        });
      }),
  );

  test("one that is never reached is refused, and one that makes another so", () =>
    database.rolledBack(async (sql) => {
      const target = { first_response: { seconds: 60 } };
      const urgent = [{ attribute: "priority", operator: "in", values: ["urgent", "high"] }];
      await policy(sql, target, { name: "Urgent", place: 10, conditions: urgent });
      await sql.rows("savepoint before");
      await expect(policy(sql, target, {
        name: "Very urgent",
        place: 20,
        conditions: [{ attribute: "priority", operator: "is", value: "urgent" }, {
          attribute: "team_id",
          operator: "exists",
        }],
      })).rejects.toMatchObject({ code: "OC422", message: expect.stringContaining("would never be reached") });
      await sql.rows("rollback to before");
      await expect(policy(sql, target, { name: "All", place: 5 })).rejects.toMatchObject({
        code: "OC422",
        message: expect.stringContaining("would never be reached any more"),
      });
      await sql.rows("rollback to before");
      await policy(sql, target, { name: "All", place: 20 });
    }));
});

describe("explained", () => {
  test("the counted parts under the last target add up to what is used up, and say where it was exceeded", () =>
    database.rolledBack(async (sql) => {
      await policy(sql, { resolution: { seconds: 14_400, hours: "24x7", priorities: { urgent: { seconds: 7200 } } } });
      await tell(sql, 1, [
        ["10:00", "customer"],
        ["11:00", "status snoozed"],
        ["15:00", "status open"],
        ["15:30", "priority urgent"],
        ["16:30", "status snoozed"],
        ["18:00", "status open"],
      ]);
      const rows = await sql.rows<Record<string, unknown>>(
        `select target_seconds, part, counted, why, seconds, to_char(due_at at time zone 'UTC', 'HH24:MI') as due
        from sla.explain(1, 1, $1) order by applied_at, part`,
        ["2026-11-16T19:00:00Z"],
      );
      const [{ elapsed }] = await sql.rows<{ elapsed: number }>(
        `select elapsed + extract(epoch from $1 - running_since)::float8 as elapsed from sla.clocks_at(1, $1)`,
        ["2026-11-16T19:00:00Z"],
      );
      const last = rows.filter((row) => row.target_seconds === 7200);
      expect(last.map(({ counted, seconds, due }) => [counted, seconds, due])).toEqual([
        [true, 3600, null],
        [false, 0, null],
        [true, 5400, "16:00"],
        [false, 0, null],
        [true, 3600, null],
      ]);
      expect(last.reduce((sum, row) => sum + Number(row.seconds), 0)).toBe(elapsed);
      expect(last[2].why).toBe("The target was used up in this part.");
      await sql.throws("OC404", "select * from sla.explain(1, 99)");
    }));
});

test("a calendar changed while clocks run moves what is due, and nothing that is over", () =>
  database.rolledBack(async (sql) => {
    const calendar = await calendarA(sql);
    await policy(sql, { first_response: { seconds: 14_400, hours: calendar } });
    const day = "2026-11-20";
    await tell(sql, 1, [["14:30", "customer"]], { day });
    await tell(sql, 2, [["12:00", "customer"], ["13:00", "human"]], { day });
    const refresh = (asOf: string) =>
      sql.rows(
        `select ledger.refresh(array(select row(account_id, display_id, null, null, '-infinity', $1, 0, null, null)::ledger.queue
          from chatwoot.conversations where account_id = 1), $1)`,
        [asOf],
      );
    await refresh("2026-11-20T14:31:00Z");
    const due = () => sql.rows("select display_id::int as id, due_at, outcome from sla.clocks order by 1");
    expect(await due()).toEqual([
      { id: 1, due_at: new Date("2026-11-23T10:30:00Z"), outcome: null },
      { id: 2, due_at: new Date("2026-11-20T16:00:00Z"), outcome: "met" },
    ]);
    // Open on Saturdays from now on.
    await sql.rows(
      `select ledger.save_calendar(1, 'A', 'Europe/Berlin', $1, '[]', '2026-11-20T15:00:00Z', as_of => '2026-11-20T15:00:00Z')`,
      [JSON.stringify([1, 2, 3, 4, 5, 6].map((weekday) => ({ weekday, start_minute: 540, end_minute: 1020 })))],
    );
    expect(await sql.rows("select display_id::int as id from ledger.queue order by 1")).toContainEqual({ id: 1 });
    await refresh("2026-11-20T15:01:00Z");
    expect(await due()).toEqual([
      { id: 1, due_at: new Date("2026-11-21T10:30:00Z"), outcome: null },
      { id: 2, due_at: new Date("2026-11-20T16:00:00Z"), outcome: "met" },
    ]);
    await sql.throws("OC409", "select ledger.delete_calendar(1, $1)", [calendar]);
  }));

test("what was written decades ago stops nobody's clock", () =>
  database.rolledBack(async (sql) => {
    await calendarA(sql);
    await policy(sql, {
      first_response: { seconds: 3600, hours: "business" },
      resolution: { seconds: 3600, hours: "business" },
    });
    await tell(sql, 1, [["1999-01-01T10:00:00", "customer"]]);
    expect((await clocks(sql, 1, "12:00"))["first_response 1"]).toMatchObject({ outcome: "breached" });
  }));
