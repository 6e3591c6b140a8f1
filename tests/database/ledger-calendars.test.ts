import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import {
  CALENDARS,
  due,
  EVERY_DAY,
  NINE_TO_FIVE,
  save,
  seconds,
  spansOf,
  touches,
  week,
  withTouches,
  WORKDAYS,
} from "./ledger-calendars.support.ts";

const database = useDatabase();
const rolledBack = (work: (sql: Sql) => Promise<void>) => withTouches(database, work);

type Name = keyof typeof CALENDARS;
const saveFixture = (sql: Sql, name: Name) => save(sql, name, CALENDARS[name]);

/** The instant of a wall time in the calendar's zone. */
const instant = (sql: Sql, name: Name, wall: string) =>
  sql.value<string>("select ($1::timestamp at time zone $2)::text", [wall, CALENDARS[name].zone]);

describe("FX-08, elapsed", () => {
  test.each<[string, Name, string, string, number, number]>([
    ["a: the weekend is skipped", "A", "2026-11-20 16:30", "2026-11-23 09:45", 234_900, 4_500],
    ["b: lunch", "B", "2026-11-17 11:30", "2026-11-17 13:30", 7_200, 3_600],
    ["c: the spring jump inside the weekend", "A", "2026-03-27 16:00", "2026-03-30 10:00", 234_000, 7_200],
    ["d: the autumn one", "A", "2026-10-23 16:00", "2026-10-26 10:00", 241_200, 7_200],
    ["e: a day of 23 hours", "D", "2026-03-29 00:00", "2026-03-30 00:00", 82_800, 82_800],
    ["f: a day of 25 hours", "D", "2026-10-25 00:00", "2026-10-26 00:00", 90_000, 90_000],
    ["g: a night of 9 hours", "C", "2026-10-31 22:00", "2026-11-01 06:00", 32_400, 32_400],
    ["h: a night of 7 hours", "C", "2026-03-07 22:00", "2026-03-08 06:00", 25_200, 25_200],
    ["i: an ordinary night", "C", "2026-11-10 22:00", "2026-11-11 06:00", 28_800, 28_800],
    ["j: two nights in part", "C", "2026-11-10 23:30", "2026-11-12 01:00", 91_800, 34_200],
    ["k: half a day, a holiday, a weekend", "A′", "2026-12-23 16:00", "2026-12-28 10:00", 410_400, 21_600],
    ["l: outside hours it is 0, not null", "A", "2026-11-20 18:00", "2026-11-21 10:00", 57_600, 0],
  ])("%s", (_, name, from, until, wall, business) =>
    rolledBack(async (sql) => {
      const id = await saveFixture(sql, name);
      const ends = [await instant(sql, name, from), await instant(sql, name, until)] as const;

      expect(await seconds(sql, id, ...ends)).toBe(business);
      expect(await seconds(sql, null, ...ends)).toBe(wall);
    }));
});

describe("FX-09, due", () => {
  test.each<[string, Name, string, number, string]>([
    ["a", "A", "2026-11-20 15:30", 14_400, "2026-11-23T10:30:00Z"],
    ["b", "A′", "2026-12-23 15:00", 14_400, "2026-12-24T10:00:00Z"],
    ["c", "A′", "2026-12-23 15:00", 28_800, "2026-12-28T10:00:00Z"],
    ["d", "A", "2026-11-21 12:00", 3_600, "2026-11-23T09:00:00Z"],
    ["e: at closing it is the closing instant", "A", "2026-11-20 16:00", 3_600, "2026-11-20T16:00:00Z"],
    ["f: a second more is the next opening and a second", "A", "2026-11-20 16:00", 3_601, "2026-11-23T08:00:01Z"],
    ["g", "B", "2026-11-17 11:30", 3_600, "2026-11-17T12:30:00Z"],
    ["h", "C", "2026-10-31 23:00", 28_800, "2026-11-01T11:00:00Z"],
    ["i", "D", "2026-03-29 01:30", 3_600, "2026-03-29T01:30:00Z"],
    ["j: the second pass of 02:30", "D", "2026-10-25 01:30", 7_200, "2026-10-25T01:30:00Z"],
    ["k", "A", "2026-03-27 16:30", 3_600, "2026-03-30T07:30:00Z"],
  ])("%s", (_, name, from, target, expected) =>
    rolledBack(async (sql) => {
      const id = await saveFixture(sql, name);

      expect(await due(sql, id, await instant(sql, name, from), target)).toBe(expected);
    }));
});

describe("the session's time zone changes nothing:", () => {
  test.each(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia"])("%s", (zone) =>
    rolledBack(async (sql) => {
      await sql.rows("select set_config('TimeZone', $1, true)", [zone]);
      const id = await saveFixture(sql, "D");

      expect(await seconds(sql, id, "2026-01-01T00:00Z", "2026-12-01T00:00Z")).toBe(334 * 86_400);
      expect(await due(sql, id, "2026-01-01T00:00Z", 334 * 86_400)).toBe("2026-12-01T00:00:00Z");
      expect(await due(sql, null, "2026-01-01T00:00Z", 334 * 86_400)).toBe("2026-12-01T00:00:00Z");
      await sql.resultsEqual(
        "select ledger.business_clock(1, $1, '2026-12-01T00:00Z') - ledger.business_clock(1, $1, '2026-01-01T00:00Z') = interval '334 days' as equal",
        [{ equal: true }],
        [id],
      );
    }));
});

describe("wall times that a jump leaves out, or shows twice", () => {
  test.each([
    {
      name: "02:30 in the Berlin spring is 01:30 UTC",
      zone: "Europe/Berlin",
      span: [150, 300],
      date: "2026-03-29",
      opens: "2026-03-29T01:30Z",
      closes: "2026-03-29T03:00Z",
    },
    {
      name: "02:30 in the Berlin autumn is its second pass",
      zone: "Europe/Berlin",
      span: [150, 300],
      date: "2026-10-25",
      opens: "2026-10-25T01:30Z",
      closes: "2026-10-25T04:00Z",
    },
    {
      name: "01:30 in the New York autumn is its second pass, as a closing too",
      zone: "America/New_York",
      span: [0, 90],
      date: "2026-11-01",
      opens: "2026-11-01T04:00Z",
      closes: "2026-11-01T06:30Z",
    },
    {
      name: "half an hour's jump at Lord Howe, back",
      zone: "Australia/Lord_Howe",
      span: [0, 360],
      date: "2026-04-05",
      opens: "2026-04-04T13:00Z",
      closes: "2026-04-04T19:30Z",
    },
    {
      name: "half an hour's jump at Lord Howe, ahead: 02:15 does not exist",
      zone: "Australia/Lord_Howe",
      span: [135, 360],
      date: "2026-10-04",
      opens: "2026-10-03T15:45Z",
      closes: "2026-10-03T19:00Z",
    },
    {
      name: "midnight does not exist in São Paulo's spring",
      zone: "America/Sao_Paulo",
      span: [0, 120],
      date: "2018-11-04",
      opens: "2018-11-04T03:00Z",
      closes: "2018-11-04T04:00Z",
    },
    {
      name: "Kathmandu is 5:45 ahead",
      zone: "Asia/Kathmandu",
      span: [540, 1020],
      date: "2026-11-20",
      opens: "2026-11-20T03:15Z",
      closes: "2026-11-20T11:15Z",
    },
  ])("$name", ({ zone, span, date, opens, closes }) =>
    rolledBack(async (sql) => {
      const id = await save(sql, "One day", {
        zone,
        weekly: [],
        exceptions: [{ date, start_minute: span[0], end_minute: span[1] }],
      });

      await sql.resultsEqual(
        "select starts_at = $2 as opens, ends_at = $3 as closes from ledger.calendar_spans where calendar_id = $1",
        [{ opens: true, closes: true }],
        [id, opens, closes],
      );
    }));

  test("a span that the jump turns around is nothing, and the ones beside it stay", () =>
    rolledBack(async (sql) => {
      // 02:45 is 01:45 UTC by the clocks before the jump, 03:15 is 01:15 UTC by those after it.
      const date = "2026-03-29";
      const id = await save(sql, "Turned around", {
        weekly: [],
        exceptions: [{ date, start_minute: 60, end_minute: 120 }, { date, start_minute: 165, end_minute: 195 }],
      });

      expect(await seconds(sql, id, "2026-03-28T00:00Z", "2026-03-31T00:00Z")).toBe(3600);
    }));

  test("the day that Apia skipped: its wall times are those of the next day, and count once", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "Samoa", { zone: "Pacific/Apia", weekly: week(EVERY_DAY, 540, 1020) });

      // Thursday the 29th 09:00 to Sunday 1 January 17:00: two workdays of three dates are one.
      expect(await seconds(sql, id, "2011-12-29T19:00Z", "2012-01-01T03:00Z")).toBe(3 * 8 * 3600);
      // Friday the 30th never was. By its rule 09:00 that Friday is 09:00 on Saturday.
      const workdays = await save(sql, "Samoa, workdays", { zone: "Pacific/Apia" });
      expect(await seconds(sql, workdays, "2011-12-30T10:00Z", "2012-01-01T10:00Z")).toBe(8 * 3600);
    }));
});

describe("a day's exceptions", () => {
  test("several spans stand instead of the weekday's", () =>
    rolledBack(async (sql) => {
      const date = "2026-11-18";
      const id = await save(sql, "Split", {
        exceptions: [{ date, start_minute: 480, end_minute: 540 }, { date, start_minute: 1200, end_minute: 1260 }],
      });

      expect(await seconds(sql, id, "2026-11-17T23:00Z", "2026-11-18T23:00Z")).toBe(7200);
      expect(await seconds(sql, id, "2026-11-18T07:00Z", "2026-11-18T08:00Z")).toBe(3600);
      expect(await seconds(sql, id, "2026-11-18T19:00Z", "2026-11-18T20:00Z")).toBe(3600);
    }));

  test("the night that began the day before goes on into a closed date", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "Nights", {
        weekly: week(EVERY_DAY, 1320, 1800),
        exceptions: [{ date: "2026-11-18", closed: true }],
      });

      // From the night of the 17th 6 hours, from that of the 18th none.
      expect(await seconds(sql, id, "2026-11-17T23:00Z", "2026-11-19T20:00Z")).toBe(6 * 3600);
    }));

  test("what overlaps the night before is open once", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "Nights", {
        weekly: week(EVERY_DAY, 1320, 1800),
        exceptions: [{ date: "2026-11-18", start_minute: 0, end_minute: 2880 }],
      });

      // Open without a break from the 17th 22:00 until the 20th 06:00, since the 19th has its own night.
      await sql.resultsEqual(
        "select ends_at - starts_at as length from ledger.calendar_spans where calendar_id = $1 and starts_at = '2026-11-17T21:00Z'",
        [{ length: { days: 2, hours: 8 } }],
        [id],
      );
    }));
});

describe("versions", () => {
  const TEN_TO_TWO = week(WORKDAYS, 600, 840);

  test("history keeps its old hours, and the change is cut at its instant", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      // Wednesday 11:00 in Berlin.
      await save(sql, "A", { weekly: TEN_TO_TWO, validFrom: "2026-11-18T10:00Z" });

      expect(await seconds(sql, id, "2026-11-17T00:00Z", "2026-11-18T00:00Z")).toBe(8 * 3600);
      expect(await seconds(sql, id, "2026-11-18T00:00Z", "2026-11-19T00:00Z")).toBe((2 + 3) * 3600);
      expect(await seconds(sql, id, "2026-11-19T00:00Z", "2026-11-20T00:00Z")).toBe(4 * 3600);
    }));

  test("another zone holds from its version on as well", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      await save(sql, "A", { zone: "America/New_York", validFrom: "2026-11-18T00:00Z" });

      expect(await seconds(sql, id, "2026-11-17T08:00Z", "2026-11-17T16:00Z")).toBe(8 * 3600);
      expect(await seconds(sql, id, "2026-11-19T14:00Z", "2026-11-19T22:00Z")).toBe(8 * 3600);
      await sql.resultsEqual("select time_zone, revision from ledger.calendars", [
        { time_zone: "America/New_York", revision: 2 },
      ]);
    }));

  test("a span of two days counts in a version that begins as it ends, in an hour that Newfoundland shows twice", () =>
    rolledBack(async (sql) => {
      // Friday the 5th and Saturday. Sunday 00:01 became Saturday 23:01, so its midnight came at 02:30 and 03:30 UTC.
      const id = await save(sql, "St. John's", {
        zone: "America/St_Johns",
        weekly: week([5], 0, 2880),
        validFrom: "2010-11-07T02:30:30Z",
      });

      expect(await seconds(sql, id, "2010-11-07T00:00Z", "2010-11-08T00:00Z")).toBe(3570);
    }));

  test("before the first version nothing is open", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "New", { validFrom: "2026-11-18T00:00Z" });

      expect(await seconds(sql, id, "2026-11-01T00:00Z", "2026-11-18T00:00Z")).toBe(0);
      expect(await due(sql, id, "2026-11-01T00:00Z", 60)).toBe("2026-11-18T08:01:00Z");
    }));

  test("one in between reaches to the next, whatever the order they were saved in", () =>
    rolledBack(async (sql) => {
      const first = { weekly: NINE_TO_FIVE };
      const second = { weekly: TEN_TO_TWO, validFrom: "2026-03-04T11:30:00.000001Z" };
      const third = { weekly: week(EVERY_DAY, 1320, 2000), validFrom: "2026-06-01T23:00Z" };
      const inOrder = await save(sql, "In order", first);
      await save(sql, "In order", second);
      await save(sql, "In order", third);

      const shuffled = await save(sql, "Shuffled", first);
      await save(sql, "Shuffled", third);
      await save(sql, "Shuffled", second);

      expect(await spansOf(sql, shuffled)).toEqual(await spansOf(sql, inOrder));
    }));

  test("saved without an instant, a new calendar holds since ever, another one from now on", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      await save(sql, "A", { weekly: TEN_TO_TWO, asOf: "2026-11-18T00:00Z" });

      await sql.resultsEqual(
        "select valid_from::text from ledger.calendar_versions where calendar_id = $1 order by valid_from",
        [{ valid_from: "-infinity" }, { valid_from: "2026-11-18 00:00:00+00" }],
        [id],
      );
    }));

  test("a change rebuilds what lies after it and leaves every earlier row as it was", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      const old =
        "select xmin::text, ctid::text, starts_at from ledger.calendar_spans where starts_at < '2026-11-16' and calendar_id = $1 order by starts_at";
      const before = await sql.rows(old, [id]);
      const other = await save(sql, "B");
      const others = await spansOf(sql, other);

      await save(sql, "A", { weekly: TEN_TO_TWO, validFrom: "2026-11-18T00:00Z" });

      expect((await sql.rows(old, [id])).length).toBe(before.length);
      expect((await sql.rows(old, [id])).slice(0, -1)).toEqual(before.slice(0, -1));
      expect(await spansOf(sql, other)).toEqual(others);
      const incremental = await spansOf(sql, id);
      await sql.rows("select ledger.build_calendar(1, $1, '-infinity')", [id]);
      expect(await spansOf(sql, id)).toEqual(incremental);
    }));
});

describe("what must be computed again", () => {
  test("from the version's instant on; everything when the first is replaced; nothing for a name or the same again", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      await touches(sql);

      await save(sql, "A", { weekly: week(WORKDAYS, 600, 840), validFrom: "2026-11-18T00:00Z" });
      expect(await touches(sql)).toEqual([{ what: "calendar", id, since: "2026-11-18 00:00:00+00" }]);

      await save(sql, "A", { weekly: week(WORKDAYS, 600, 900), validFrom: "-infinity" });
      expect(await touches(sql)).toEqual([{ what: "calendar", id, since: "-infinity" }]);

      await save(sql, "A", { weekly: week(WORKDAYS, 600, 900), validFrom: "-infinity" });
      await save(sql, "Renamed", { calendarId: id, weekly: week(WORKDAYS, 600, 840) });
      expect(await touches(sql)).toEqual([]);
    }));

  test("a scope when it gets another calendar, and not when it has it already", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      await touches(sql);

      await sql.rows("select ledger.use_calendar(1, 'team', 4, $1)", [id]);
      await sql.rows("select ledger.use_calendar(1, 'team', 4, $1)", [id]);
      await sql.rows("select ledger.use_calendar(1, 'account', 0, $1)", [id]);
      await sql.rows("select ledger.use_calendar(1, 'team', 4, null)");

      expect((await touches(sql)).map(({ what, id }) => [what, id])).toEqual([["team", 4], ["account", 0], [
        "team",
        4,
      ]]);
    }));
});

describe("which calendar holds", () => {
  test("the team's, else the inbox's, else the account's, else none", () =>
    rolledBack(async (sql) => {
      const [team, inbox, account] = [await save(sql, "T"), await save(sql, "I"), await save(sql, "A")];
      await sql.rows("select ledger.use_calendar(1, 'team', 4, $1)", [team]);
      await sql.rows("select ledger.use_calendar(1, 'inbox', 3, $1)", [inbox]);
      await sql.rows("select ledger.use_calendar(1, 'account', null, $1)", [account]);
      const found = (accountId: number, teamId: number | null, inboxId: number | null) =>
        sql.value("select ledger.calendar_for($1, $2, $3)::integer", [accountId, teamId, inboxId]);

      expect(await found(1, 4, 3)).toBe(team);
      expect(await found(1, null, 3)).toBe(inbox);
      expect(await found(1, 5, 3)).toBe(inbox);
      expect(await found(1, 5, 6)).toBe(account);
      expect(await found(1, null, null)).toBe(account);
      expect(await found(2, 4, 3)).toBe(null);

      await sql.rows("select ledger.use_calendar(1, 'team', 4, null)");
      expect(await found(1, 4, 3)).toBe(inbox);
    }));
});

describe("without a calendar", () => {
  test("the business clock is the clock", () =>
    rolledBack(async (sql) => {
      await sql.resultsEqual(
        `select ledger.business_clock(1, null, '2026-11-20T10:00:00.123456Z') = '2026-11-20T10:00:00.123456Z' as clock,
          ledger.business_seconds(1, null, '2026-11-20T10:00Z', '2026-11-21T10:00:00.5Z') as seconds,
          ledger.business_seconds(1, null, '2026-11-21T10:00Z', '2026-11-20T10:00Z') as backwards,
          ledger.business_due(1, null, '2026-11-20T10:00Z', 60.25) = '2026-11-20T10:01:00.25Z' as due`,
        [{ clock: true, seconds: 86_400.5, backwards: 0, due: true }],
      );
    }));

  test("null in, null out", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      await sql.resultsEqual(
        `select ledger.business_clock(1, $1, null) as clock, ledger.business_seconds(1, $1, null, now()) as seconds,
          ledger.business_seconds(1, $1, now(), null) as until, ledger.business_due(1, $1, null, 1) as due,
          ledger.business_due(1, $1, now(), null) as target`,
        [{ clock: null, seconds: null, until: null, due: null, target: null }],
        [id],
      );
    }));
});

describe("a target that cannot be met", () => {
  test("is due never when nothing opens within 400 days, though it may later", () =>
    rolledBack(async (sql) => {
      const closed = await save(sql, "Closed", { weekly: [] });
      const late = await save(sql, "Late", {
        weekly: [],
        exceptions: [
          { date: "2026-01-01", start_minute: 0, end_minute: 60 },
          // 401 days from the closing, and 400 from the other one.
          { date: "2027-02-06", start_minute: 60, end_minute: 120 },
          { date: "2028-03-12", start_minute: 120, end_minute: 180 },
        ],
      });

      expect(await due(sql, closed, "2026-01-01T00:00Z", 1)).toBe(null);
      expect(await due(sql, closed, "2026-01-01T00:00Z", 0)).toBe("2026-01-01T00:00:00Z");
      // The wait counts from where it stands, which is the closing, and the start where that is later.
      expect(await due(sql, late, "2025-12-31T00:00Z", 3600)).toBe("2026-01-01T00:00:00Z");
      expect(await due(sql, late, "2025-12-31T00:00Z", 3601)).toBe(null);
      expect(await due(sql, late, "2026-01-02T00:00Z", 1)).toBe("2027-02-06T00:00:01Z");
      expect(await due(sql, late, "2026-01-02T00:00Z", 3601)).toBe("2028-03-12T01:00:01Z");
      expect(await due(sql, late, "2026-01-01T23:59:59Z", 3601)).toBe(null);
      expect(await due(sql, late, "2025-12-31T00:00Z", 7201)).toBe(null);
      expect(await due(sql, late, "2028-03-13T00:00Z", 1)).toBe(null);
    }));

  test("raises one alert when a calendar is saved that opens no more, and resolves it when it does", () =>
    rolledBack(async (sql) => {
      const alerts =
        "select kind, subject, resolved_at is null as is_open from ops.alerts where kind = 'ledger.calendar_closed'";
      const id = await save(sql, "A");
      await sql.resultsEqual(alerts, []);

      await save(sql, "A", { weekly: [], validFrom: "-infinity" });
      const alert = { kind: "ledger.calendar_closed", subject: `calendar:${id}` };
      await sql.resultsEqual(alerts, [{ ...alert, is_open: true }]);

      await save(sql, "A", { validFrom: "-infinity" });
      await sql.resultsEqual(alerts, [{ ...alert, is_open: false }]);
    }));

  test("is an error beyond what is worked out, and met after that was extended", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      // More than three years of workdays of eight hours.
      const target = 4 * 260 * 8 * 3600;

      const error = await sql.throws("OC422", "select ledger.business_due(1, $1, now(), $2)", [id, target]);
      expect(error.hint).toContain("ledger.reach_calendar");

      await sql.rows("select ledger.reach_calendar(1, $1, now(), now() + interval '5 years')", [id]);
      expect(await due(sql, id, "2026-11-20T00:00Z", target)).toMatch(/^2030-/);
    }));

  test.each(["NaN", "Infinity", "1e300"])("of %s seconds is refused", (target) =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      await sql.throws("OC422", "select ledger.business_due(1, $1, now(), $2)", [id, target]);
    }));
});

describe("what is worked out", () => {
  test("begins with 2010 and ends three years ahead; outside of it there is an error, never a wrong number", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      await sql.resultsEqual(
        `select built_from = '2010-01-01T00:00Z' as begins, built_until - now() between interval '1095 days' and interval '1097 days' as ends
        from ledger.calendars`,
        [{ begins: true, ends: true }],
      );
      expect(await seconds(sql, id, "2010-01-01T00:00Z", "2010-01-04T09:00Z")).toBe(9 * 3600);
      for (const at of ["2009-12-31T23:59:59Z", "2031-01-01T00:00Z", "infinity", "-infinity"]) {
        const error = await sql.throws("OC422", "select ledger.business_clock(1, $1, $2)", [id, at]);
        expect(error.hint).toContain("ledger.reach_calendar");
      }
    }));

  test("is one span where days touch, however many", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "D", CALENDARS.D);

      await sql.resultsEqual(
        `select spans.starts_at = built_from as begins, spans.ends_at = built_until as ends
        from ledger.calendar_spans as spans join ledger.calendars using (account_id, calendar_id) where calendar_id = $1`,
        [{ begins: true, ends: true }],
        [id],
      );
    }));

  test("can reach further both ways, and what was read before stays the same", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      const before = await sql.value("select ledger.business_clock(1, $1, '2026-11-20T12:00Z')::text", [id]);

      await sql.rows("select ledger.reach_calendar(1, $1, '2001-01-01', '2035-01-01')", [id]);

      expect(await sql.value("select ledger.business_clock(1, $1, '2026-11-20T12:00Z')::text", [id])).toBe(before);
      // A Monday, and a Friday.
      expect(await seconds(sql, id, "2001-01-08T00:00Z", "2001-01-09T00:00Z")).toBe(8 * 3600);
      expect(await seconds(sql, id, "2034-11-17T00:00Z", "2034-11-18T00:00Z")).toBe(8 * 3600);
      // 2009 has 261 workdays.
      expect(await seconds(sql, id, "2008-12-31T23:00Z", "2009-12-31T23:00Z")).toBe(261 * 8 * 3600);
      await sql.throws("OC422", "select ledger.reach_calendar(1, $1, '0203-01-01', now())", [id]);
    }));

  test("is extended as time goes by, once a month, to the same spans as if made anew", () =>
    rolledBack(async (sql) => {
      const ids = [await save(sql, "A"), await save(sql, "D", CALENDARS.D), await save(sql, "Closed", { weekly: [] })];

      expect(await sql.value("select ledger.extend_calendars(now() + interval '20 days')")).toBe(0);
      expect(await sql.value("select ledger.extend_calendars(now() + interval '40 days')")).toBe(3);
      expect(await sql.value("select ledger.extend_calendars(now() + interval '4000 days')")).toBe(3);

      for (const id of ids) {
        const extended = await spansOf(sql, id);
        await sql.rows("select ledger.build_calendar(1, $1, '-infinity')", [id]);
        expect(await spansOf(sql, id)).toEqual(extended);
        expect(await sql.value("select ledger.business_clock(1, $1, now() + interval '4000 days') is not null", [id]))
          .toBe(true);
      }
    }));

  test("and when time brings a calendar to its end, there is an alert", () =>
    rolledBack(async (sql) => {
      await save(sql, "Ends", { weekly: NINE_TO_FIVE });
      await save(sql, "Ends", { weekly: [], validFrom: "2028-01-01T00:00Z" });
      const open =
        "select count(*)::integer from ops.alerts where kind = 'ledger.calendar_closed' and resolved_at is null";
      expect(await sql.value(open)).toBe(0);

      await sql.rows("select ledger.extend_calendars('2027-12-30T00:00Z')");
      expect(await sql.value(open)).toBe(0);

      await sql.rows("select ledger.extend_calendars('2028-01-01T00:00Z')");
      expect(await sql.value(open)).toBe(1);
    }));

  test("a calendar that is not there is an error", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      await sql.throws("OC404", "select ledger.business_clock(1, $1, now())", [id + 1000]);
      await sql.throws("OC404", "select ledger.business_clock(2, $1, now())", [id]);
      await sql.throws("OC404", "select ledger.business_due(2, $1, now(), 5)", [id]);
    }));
});
