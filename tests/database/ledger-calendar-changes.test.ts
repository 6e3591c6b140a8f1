import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { NINE_TO_FIVE, save, seconds, touches, week, withTouches, WORKDAYS } from "./ledger-calendars.support.ts";

const database = useDatabase();
const rolledBack = (work: (sql: Sql) => Promise<void>) => withTouches(database, work);

const decisions = (sql: Sql) =>
  sql.rows<{ action: string; subject: string; actor: string; evidence: Record<string, unknown> }>(
    "select action, subject, actor, evidence from audit.decision_log where action like 'calendar.%' order by entry",
  );

describe("a calendar is refused", () => {
  const SAVE = "select api.save_calendar($1, $2, $3, $4, $5, $6)";
  const fine = { account: 1, name: "A", zone: "UTC", weekly: "[]", exceptions: "[]", validFrom: null };
  const hours = (entry: object) => JSON.stringify([{ weekday: 1, start_minute: 540, end_minute: 1020, ...entry }]);
  const onDate = (...entries: object[]) => JSON.stringify(entries.map((entry) => ({ date: "2026-12-24", ...entry })));

  test.each<[string, Partial<Record<keyof typeof fine, unknown>>, string]>([
    ["for no account", { account: null }, "account_id null"],
    ["for account 0", { account: 0 }, "account_id 0"],
    ["without a name", { name: "" }, "1 to 100 characters"],
    ["with null for a name", { name: null }, "1 to 100 characters"],
    ["with a name of 101 characters", { name: "x".repeat(101) }, "1 to 100 characters"],
    ["in an unknown zone", { zone: "Mars/Olympus" }, '"Mars/Olympus"'],
    ["in an offset", { zone: "+02:00" }, '"+02:00"'],
    ["in an abbreviation", { zone: "EST5EDT" }, '"EST5EDT"'],
    ["in a file of the zone folder", { zone: "posix/Europe/Berlin" }, '"posix/Europe/Berlin"'],
    ["in lower case", { zone: "europe/berlin" }, '"europe/berlin"'],
    ["in no zone", { zone: null }, "not null"],
    ["from never on", { validFrom: "infinity" }, "valid_from"],
    ["without a week", { weekly: null }, "weekly must be an array"],
    ["with JSON null for a week", { weekly: "null" }, "weekly must be an array"],
    ["with an object for a week", { weekly: "{}" }, "weekly must be an array"],
    ["with a number in the week", { weekly: "[1]" }, "weekly, entry 1 must be an object"],
    ["with an unknown key", { weekly: hours({ ends: 5 }) }, 'weekly, entry 1 has the unknown key "ends"'],
    [
      "without an end",
      { weekly: hours({ end_minute: undefined }) },
      "end_minute must be a whole number from 1 to 2880, not missing",
    ],
    [
      "with a text for a minute",
      { weekly: hours({ start_minute: "09:00" }) },
      'start_minute must be a whole number from 0 to 1439, not "09:00"',
    ],
    ["with part of a minute", { weekly: hours({ start_minute: 540.5 }) }, "not 540.5"],
    ["with minute -1", { weekly: hours({ start_minute: -1 }) }, "not -1"],
    ["with a start on the next day", { weekly: hours({ start_minute: 1440, end_minute: 1500 }) }, "not 1440"],
    ["with minute 2881", { weekly: hours({ end_minute: 2881 }) }, "not 2881"],
    ["with an enormous minute", { weekly: '[{"weekday":1,"start_minute":0,"end_minute":1e400}]' }, "end_minute"],
    ["with weekday 7", { weekly: hours({ weekday: 7 }) }, "weekday must be a whole number from 0 to 6, not 7"],
    ["with an empty span", { weekly: hours({ end_minute: 540 }) }, "weekly, entry 1 ends (minute 540)"],
    [
      "with a reversed span",
      { weekly: hours({ start_minute: 1320, end_minute: 360 }) },
      "weekly, entry 1 ends (minute 360)",
    ],
    ["with a closed weekday", { weekly: hours({ closed: true }) }, 'unknown key "closed"'],
    [
      "with overlapping spans",
      { weekly: JSON.stringify([...NINE_TO_FIVE, ...week([2], 1019, 1100)]) },
      "weekly: entries 2 and 6 overlap",
    ],
    [
      "with the same span twice",
      { weekly: JSON.stringify([...NINE_TO_FIVE, ...NINE_TO_FIVE]) },
      "weekly: entries 1 and 6 overlap",
    ],
    [
      "with a span inside another",
      { weekly: JSON.stringify([...week([2], 600, 660), ...week([2], 540, 1020)]) },
      "entries 1 and 2 overlap",
    ],
    ["with a night into the next day's hours", {
      weekly: JSON.stringify([...week([2], 1320, 2000), ...week([3], 540, 1020)]),
    }, "entries 1 and 2 overlap"],
    ["with Saturday's night into Sunday", {
      weekly: JSON.stringify([...week([0], 300, 600), ...week([6], 1320, 1800)]),
    }, "entries 1 and 2 overlap"],
    ["with 51 spans", {
      weekly: JSON.stringify(Array.from({ length: 51 }, (_, index) => week([1], index, index + 1)[0])),
    }, "weekly has 51 entries, more than 50"],
    ["with an object for exceptions", { exceptions: "{}" }, "exceptions must be an array"],
    ["with an exception without a date", { exceptions: '[{"closed":true}]' }, "date must be a day"],
    ["with a day that does not exist", { exceptions: '[{"date":"2026-02-30","closed":true}]' }, "2026-02-30"],
    ["with a date in words", { exceptions: '[{"date":"tomorrow","closed":true}]' }, "tomorrow"],
    ["with an infinite date", { exceptions: '[{"date":"infinity","closed":true}]' }, "infinity"],
    ["with a date far away", { exceptions: '[{"date":"2200-01-01","closed":true}]' }, "2200-01-01"],
    ["with a number for a date", { exceptions: '[{"date":20261224,"closed":true}]' }, "20261224"],
    ["with closed = false", { exceptions: onDate({ closed: false }) }, "closed can only be true"],
    [
      "closed and open in one entry",
      { exceptions: onDate({ closed: true, start_minute: 1, end_minute: 2 }) },
      "closed can only be true",
    ],
    [
      "closed and open on one date",
      { exceptions: onDate({ start_minute: 1, end_minute: 2 }, { closed: true }) },
      "exceptions: entries 1 and 2 overlap",
    ],
    [
      "closed twice on one date",
      { exceptions: onDate({ closed: true }, { closed: true }) },
      "exceptions: entries 1 and 2 overlap",
    ],
    ["with overlapping spans on one date", {
      exceptions: onDate({ start_minute: 1, end_minute: 20 }, { start_minute: 19, end_minute: 30 }),
    }, "entries 1 and 2 overlap"],
    [
      "with a weekday on a date",
      { exceptions: onDate({ weekday: 1, start_minute: 1, end_minute: 2 }) },
      'unknown key "weekday"',
    ],
    [
      "with 1001 exceptions",
      { exceptions: JSON.stringify(Array.from({ length: 1001 }, () => ({ date: "2026-12-24", closed: true }))) },
      "exceptions has 1001 entries, more than 1000",
    ],
  ])("%s", (_, change, message) =>
    rolledBack(async (sql) => {
      const { account, name, zone, weekly, exceptions, validFrom } = { ...fine, ...change };

      const error = await sql.throws("OC422", SAVE, [account, name, zone, weekly, exceptions, validFrom]);

      expect(error.message).toContain(message);
      expect(error.hint).toBeTruthy();
      await sql.resultsEqual("select from ledger.calendars", []);
      expect(await decisions(sql)).toEqual([]);
    }));

  test("but not at the limits: 50 spans, 1000 exceptions, two whole days, spans that touch", () =>
    rolledBack(async (sql) => {
      const weekly = [...week([0], 0, 2880), ...week([2], 0, 1440), ...week([3], 0, 60)];
      for (let minute = 60; weekly.length < 50; minute += 2) weekly.push(...week([4], minute, minute + 1));
      const exceptions = Array.from({ length: 1000 }, (_, day) => ({
        date: new Date(Date.UTC(2026, 0, 1 + day)).toISOString().slice(0, 10),
        closed: true,
      }));

      const id = await save(sql, "x".repeat(100), { weekly, exceptions });

      await sql.resultsEqual(
        "select jsonb_array_length(weekly) as spans, jsonb_array_length(exceptions) as dates from ledger.calendar_versions where calendar_id = $1",
        [{ spans: 50, dates: 1000 }],
        [id],
      );
    }));
});

describe("saving", () => {
  test("finds the calendar by its name, else by its id, and logs what changed, once", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "Support", { zone: "UTC" });
      expect(await save(sql, "Support", { zone: "UTC" })).toBe(id);
      expect(await save(sql, "Service", { zone: "UTC", calendarId: id })).toBe(id);
      const other = await save(sql, "Support", { zone: "UTC" });
      expect(other).not.toBe(id);

      const hours = { time_zone: "UTC", weekly: NINE_TO_FIVE, exceptions: [], valid_from: "-infinity" };
      expect(await decisions(sql)).toEqual([
        {
          action: "calendar.saved",
          subject: `calendar:${id}`,
          actor: "database:postgres",
          evidence: { name: "Support", ...hours },
        },
        {
          action: "calendar.saved",
          subject: `calendar:${id}`,
          actor: "database:postgres",
          evidence: { name: "Service", name_before: "Support" },
        },
        {
          action: "calendar.saved",
          subject: `calendar:${other}`,
          actor: "database:postgres",
          evidence: { name: "Support", ...hours },
        },
      ]);
      expect(
        (await sql.throws("OC409", "select api.save_calendar(1, 'Service', 'UTC', '[]', calendar_id => $1)", [other]))
          .message,
      ).toContain("Service");
      await sql.throws("OC404", "select api.save_calendar(1, 'X', 'UTC', '[]', calendar_id => $1)", [other + 1000]);
      await sql.throws("OC404", "select api.save_calendar(2, 'X', 'UTC', '[]', calendar_id => $1)", [other]);
    }));

  test("keeps the hours in one order, so that the same hours are no change", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A", {
        exceptions: [{ date: "2026-12-25", closed: true }, { date: "2026-12-24", closed: true }],
      });
      await touches(sql);

      await save(sql, "A", {
        weekly: [...NINE_TO_FIVE].reverse(),
        exceptions: [{ date: "2026-12-24", closed: true }, { date: "2026-12-25", closed: true }],
      });

      await sql.resultsEqual("select revision from ledger.calendars where calendar_id = $1", [{ revision: 1 }], [id]);
      expect(await touches(sql)).toEqual([]);
    }));
});

describe("using and deleting", () => {
  test.each([
    ["an unknown scope", ["policy", 1], "OC422", "policy"],
    ["no scope", [null, 1], "OC422", "null"],
    ["an account within the account", ["account", 2], "OC422", "must be 0"],
    ["inbox 0", ["inbox", 0], "OC422", "number of the inbox"],
    ["no team", ["team", null], "OC422", "number of the team"],
  ])("%s is refused", (_, scope, code, message) =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");

      const error = await sql.throws(code, "select api.use_calendar(1, $1, $2, $3)", [...scope, id]);

      expect(error.message).toContain(message);
      expect(error.hint).toBeTruthy();
    }));

  test("a calendar that is not there, or another account's, is refused", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A", { accountId: 2 });

      await sql.throws("OC404", "select api.use_calendar(1, 'inbox', 3, $1)", [id]);
      await sql.throws("OC404", "select api.delete_calendar(1, $1)", [id]);
      await sql.throws("OC404", "select api.delete_calendar(1, null)");
    }));

  test("each change is logged once", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "A");
      for (const calendar of [id, id, null]) await sql.rows("select api.use_calendar(1, 'inbox', 3, $1)", [calendar]);

      expect((await decisions(sql)).slice(1).map(({ action, subject, evidence }) => ({ action, subject, evidence })))
        .toEqual([
          { action: "calendar.used", subject: "inbox:3", evidence: { before: null, after: id } },
          { action: "calendar.used", subject: "inbox:3", evidence: { before: id, after: null } },
        ]);
    }));

  test("what is in use is not deleted; what is not leaves nothing but the log, and no alert", () =>
    rolledBack(async (sql) => {
      const id = await save(sql, "Closed", { weekly: [] });
      await sql.rows("select api.use_calendar(1, 'account', 0, $1)", [id]);
      await sql.rows("select api.use_calendar(1, 'inbox', 3, $1)", [id]);
      const error = await sql.throws("OC409", "select api.delete_calendar(1, $1)", [id]);
      expect(error.message).toContain("account, inbox 3");

      await sql.rows("select api.use_calendar(1, 'account', 0, null)");
      await sql.rows("select api.use_calendar(1, 'inbox', 3, null)");
      await sql.rows("select api.delete_calendar(1, $1)", [id]);

      await sql.resultsEqual(
        `select (select count(*)::integer from ledger.calendars) as calendars, (select count(*)::integer from ledger.calendar_versions) as versions,
          (select count(*)::integer from ledger.calendar_spans) as spans, (select count(*)::integer from ops.alerts where resolved_at is null) as alerts`,
        [{ calendars: 0, versions: 0, spans: 0, alerts: 0 }],
      );
      expect((await decisions(sql)).at(-1)).toMatchObject({ action: "calendar.deleted", evidence: { name: "Closed" } });
    }));
});

describe("who may", () => {
  const CALLS = [
    ["select api.save_calendar(1, 'A', 'UTC', '[]')", "save"],
    ["select api.use_calendar(1, 'inbox', 3, null)", "use"],
    ["select api.delete_calendar(1, 1)", "delete"],
  ];

  test.each(CALLS)("%s: admins only", (call) =>
    rolledBack(async (sql) => {
      for (const role of ["viewer", "operator", "approver"]) {
        const person = await member(sql, 1, role);
        await sql.as("authenticated", person, () => sql.throws("OC403", call));
      }
      const elsewhere = await member(sql, 2, "admin");
      await sql.as("authenticated", elsewhere, () => sql.throws("OC403", call));
      await sql.as("authenticated", randomUUID(), () => sql.throws("OC403", call));
      await sql.as("anon", null, () => sql.throws("42501", call));
      await sql.as("analyst", null, () => sql.throws("42501", call));
    }));

  test("an admin saves, uses, reads and deletes; the service does too", () =>
    rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      for (const [role, user] of [["authenticated", admin], ["service_role", null]] as const) {
        await sql.as(role, user, async () => {
          const id = await sql.value<string>("select api.save_calendar(1, 'A', 'UTC', $1)", [
            JSON.stringify(NINE_TO_FIVE),
          ]);
          await sql.rows("select api.use_calendar(1, 'inbox', 3, $1)", [id]);
          await sql.resultsEqual(
            "select name, time_zone, valid_from, valid_until, weekly, exceptions, used_by, revision, changed_by from api.calendars",
            [{
              name: "A",
              time_zone: "UTC",
              valid_from: null,
              valid_until: null,
              weekly: NINE_TO_FIVE,
              exceptions: [],
              used_by: [{ scope: "inbox", scope_id: 3 }],
              revision: 1,
              changed_by: user === null ? "service_role" : `user:${user}`,
            }],
          );
          await sql.rows("select api.use_calendar(1, 'inbox', 3, null)");
          await sql.rows("select api.delete_calendar(1, $1)", [id]);
        });
      }
    }));

  test("a member reads their account's calendars and nothing of another's; an analyst names no table", () =>
    rolledBack(async (sql) => {
      await save(sql, "Ours");
      await save(sql, "Theirs", { accountId: 2 });
      await sql.rows(
        "select ledger.use_calendar(2, 'account', 0, (select calendar_id from ledger.calendars where account_id = 2))",
      );
      const tables = ["ledger.calendars", "ledger.calendar_versions", "ledger.calendar_uses", "ledger.calendar_spans"];
      const viewer = await member(sql, 1, "viewer");

      await sql.as("authenticated", viewer, async () => {
        for (const table of tables) await sql.resultsEqual(`select from ${table} where account_id <> 1`, []);
        await sql.resultsEqual("select name from api.calendars", [{ name: "Ours" }]);
        for (const table of tables) await sql.throws("42501", `delete from ${table} where account_id = 1`);
      });
      await sql.as("analyst", null, () => sql.throws("42501", "select from ledger.calendars"));
    }));
});

describe("Chatwoot's working hours", () => {
  type Day = Record<string, number | boolean | null>;
  const day = (day_of_week: number, change: Day = {}): Day => ({
    day_of_week,
    closed_all_day: false,
    open_all_day: false,
    open_hour: 9,
    open_minutes: 0,
    close_hour: 17,
    close_minutes: 30,
    ...change,
  });
  const CLOSED = { closed_all_day: true, open_hour: null, open_minutes: null, close_hour: null, close_minutes: null };
  const OPEN = { open_all_day: true, open_hour: 0, open_minutes: 0, close_hour: 23, close_minutes: 59 };
  const WEEK = [day(0, CLOSED), ...[1, 2, 3, 4, 5].map((weekday) => day(weekday)), day(6, OPEN)];

  const mirror = (
    sql: Sql,
    change: { enabled?: boolean | null; hours?: unknown; zone?: string | null; inbox?: number } = {},
  ) =>
    sql.rows(
      `insert into chatwoot.inboxes (account_id, inbox_id, working_hours_enabled, working_hours, time_zone, version_at)
      values (1, $1, $2, $3, $4, now()) on conflict (account_id, inbox_id) do update
      set working_hours_enabled = excluded.working_hours_enabled, working_hours = excluded.working_hours, time_zone = excluded.time_zone`,
      [
        change.inbox ?? 3,
        change.enabled === undefined ? true : change.enabled,
        change.hours === null ? null : JSON.stringify(change.hours ?? WEEK),
        change.zone === undefined ? "Europe/Berlin" : change.zone,
      ],
    );
  const calendarOf = (sql: Sql, inbox: number) =>
    sql.value<number | null>("select ledger.calendar_for(1, null, $1)::integer", [inbox]);
  const alerts = (sql: Sql) =>
    sql.rows(
      "select subject, message, resolved_at is null as is_open from ops.alerts where kind = 'ledger.working_hours'",
    );

  test("become the inbox's calendar: a closed day is closed, open all day is 24 hours", () =>
    rolledBack(async (sql) => {
      await mirror(sql);

      const id = await calendarOf(sql, 3);
      expect(id).not.toBe(null);
      expect(await calendarOf(sql, 4)).toBe(null);
      // Monday 16 to Sunday 22 November.
      expect(await seconds(sql, id, "2026-11-15T23:00Z", "2026-11-16T23:00Z")).toBe(8.5 * 3600);
      expect(await seconds(sql, id, "2026-11-20T23:00Z", "2026-11-21T23:00Z")).toBe(24 * 3600);
      expect(await seconds(sql, id, "2026-11-21T23:00Z", "2026-11-22T23:00Z")).toBe(0);
      expect(await seconds(sql, id, "2015-11-15T23:00Z", "2015-11-16T23:00Z")).toBe(8.5 * 3600);
      expect((await touches(sql)).map(({ what, id }) => ({ what, id }))).toEqual([
        { what: "calendar", id },
        { what: "inbox", id: 3 },
      ]);
      expect((await decisions(sql)).map(({ action, actor }) => ({ action, actor }))).toEqual([
        { action: "calendar.imported", actor: "rule:import_working_hours" },
        { action: "calendar.used", actor: "rule:import_working_hours" },
      ]);
    }));

  test("changed, hold from now on, and history keeps the old ones", () =>
    rolledBack(async (sql) => {
      await mirror(sql);
      const id = await calendarOf(sql, 3);
      await sql.rows("update chatwoot.inboxes set name = 'Renamed' where inbox_id = 3");
      await touches(sql);

      await mirror(sql, { hours: WEEK.map((hours, index) => index === 1 ? day(1, { close_hour: 12 }) : hours) });

      expect(await calendarOf(sql, 3)).toBe(id);
      expect(await seconds(sql, id, "2026-11-15T23:00Z", "2026-11-16T23:00Z")).toBe(8.5 * 3600);
      expect(
        await sql.value(
          `select ledger.business_seconds(1, $1, monday, monday + interval '24 hours')
          from (select date_trunc('week', now() + interval '21 days', 'Europe/Berlin') as monday) as later`,
          [id],
        ),
      ).toBe(3.5 * 3600);
      await sql.resultsEqual(
        "select valid_from = now() as now from ledger.calendar_versions order by valid_from",
        [{ now: false }, { now: true }],
      );
      expect((await touches(sql)).map(({ what, id, since }) => ({ what, id, ever: since === "-infinity" }))).toEqual([
        { what: "calendar", id, ever: false },
      ]);
    }));

  test("the same again change nothing, nor does an import of all inboxes", () =>
    rolledBack(async (sql) => {
      await mirror(sql);
      await touches(sql);
      const before = await sql.rows("select * from ledger.calendars");

      await mirror(sql);
      expect(await sql.value("select ledger.import_working_hours(1)")).toBe(0);

      expect(await sql.rows("select * from ledger.calendars")).toEqual(before);
      expect(await touches(sql)).toEqual([]);
    }));

  test.each([
    { name: "switched off", change: { enabled: false } },
    { name: "not known to be on", change: { enabled: null } },
    { name: "on, but not told yet", change: { hours: null } },
  ])("$name are no calendar", ({ change }) =>
    rolledBack(async (sql) => {
      await mirror(sql, change);

      expect(await calendarOf(sql, 3)).toBe(null);
      await sql.resultsEqual("select from ledger.calendars", []);
      expect(await alerts(sql)).toEqual([]);
    }));

  test("switched off later, the past keeps them and the future is open day and night; on again, they hold again", () =>
    rolledBack(async (sql) => {
      const inThreeWeeks = (id: number | null) =>
        sql.value(
          `select ledger.business_seconds(1, $1, sunday, sunday + interval '24 hours')
          from (select date_trunc('week', now() + interval '21 days', 'Europe/Berlin') - interval '24 hours' as sunday) as later`,
          [id],
        );
      await mirror(sql);
      const id = await calendarOf(sql, 3);

      await mirror(sql, { enabled: false });
      expect(await calendarOf(sql, 3)).toBe(id);
      expect(await seconds(sql, id, "2026-11-15T23:00Z", "2026-11-16T23:00Z")).toBe(8.5 * 3600);
      expect(await inThreeWeeks(id)).toBe(86_400);

      await mirror(sql);
      expect(await inThreeWeeks(id)).toBe(0);
    }));

  test("with no zone are in UTC, and with every day closed raise the alert of a closed calendar", () =>
    rolledBack(async (sql) => {
      await mirror(sql, { zone: null, hours: [1, 2, 3, 4, 5, 6, 0].map((weekday) => day(weekday, CLOSED)) });

      await sql.resultsEqual("select time_zone from ledger.calendars", [{ time_zone: "UTC" }]);
      await sql.resultsEqual("select kind from ops.alerts", [{ kind: "ledger.calendar_closed" }]);
    }));

  test("do not take away what a person chose, be it another calendar or none", () =>
    rolledBack(async (sql) => {
      const own = await save(sql, "Own");
      await sql.rows("select ledger.use_calendar(1, 'inbox', 3, $1)", [own]);
      await sql.rows("select ledger.use_calendar(1, 'inbox', 4, null)");

      await mirror(sql);
      await mirror(sql, { inbox: 4 });
      await mirror(sql, { hours: [day(1)] });

      expect(await calendarOf(sql, 3)).toBe(own);
      expect(await calendarOf(sql, 4)).toBe(null);
      const imported = await sql.value("select calendar_id::integer from ledger.calendars where inbox_id = 4");
      await sql.rows("select ledger.use_calendar(1, 'inbox', 4, $1)", [imported]);
      expect(await calendarOf(sql, 4)).toBe(imported);
    }));

  test("cannot be edited here", () =>
    rolledBack(async (sql) => {
      await mirror(sql);
      const id = await calendarOf(sql, 3);

      const error = await sql.throws("OC409", "select api.save_calendar(1, 'Mine', 'UTC', '[]', calendar_id => $1)", [
        id,
      ]);

      expect(error.message).toContain("inbox 3");
      expect(error.hint).toContain("api.use_calendar");
      // A calendar of a person may have the same name.
      expect(await save(sql, "Chatwoot inbox 3")).not.toBe(id);
    }));

  test.each<[string, unknown, string, string]>([
    ["an unknown zone", WEEK, "Mars/Olympus", "Mars/Olympus"],
    ["an hour that is none", [day(1, { open_hour: 24 })], "UTC", "open_hour"],
    ["no hours on an open day", [day(1, { ...CLOSED, closed_all_day: false })], "UTC", "open_hour"],
    ["a closing before the opening", [day(1, { close_hour: 8 })], "UTC", "ends"],
    ["a day twice", [day(1), day(1)], "UTC", "overlap"],
    ["no weekday", [{ open_all_day: true }], "UTC", "weekday"],
    ["no list", { monday: 9 }, "UTC", "array"],
    ["a list of numbers", [5], "UTC", "open_hour"],
  ])(
    "that cannot be read (%s) are an alert, keep those before, and stop no webhook",
    (_, hours, zone, message) =>
      rolledBack(async (sql) => {
        await mirror(sql, { inbox: 4, hours, zone });
        expect(await calendarOf(sql, 4)).toBe(null);

        await mirror(sql);
        const id = await calendarOf(sql, 3);
        await mirror(sql, { hours, zone });

        expect(await calendarOf(sql, 3)).toBe(id);
        await sql.resultsEqual("select revision from ledger.calendars", [{ revision: 1 }]);
        expect(await alerts(sql)).toEqual([
          { subject: "inbox:4", message: expect.stringContaining(message), is_open: true },
          { subject: "inbox:3", message: expect.stringContaining(message), is_open: true },
        ]);
        await mirror(sql);
        expect((await alerts(sql)).map(({ is_open }) => is_open)).toEqual([true, false]);
      }),
  );
});

/** For work that commits: what the change of a calendar calls, where nothing answers yet. */
async function createTouchesIn(client: Client): Promise<void> {
  await client.query(`do $$ begin
    if to_regprocedure('ledger.touch_calendar(bigint, bigint, timestamptz)') is null then
      create function ledger.touch_calendar(account_id bigint, calendar_id bigint, since timestamptz) returns void
      language sql set search_path = '' as 'select';
    end if;
  end $$`);
}

// The last one, since what it commits stays in the database of this file.
test("two changes at once make one calendar of that name", async () => {
  const [first, second] = [await database.connect(), await database.connect()];
  const saveAs = (client: Client, minute: number) =>
    client.query<{ id: string }>(
      "select ledger.save_calendar(9, 'Both', 'UTC', $1, valid_from => '-infinity') as id",
      [JSON.stringify(week(WORKDAYS, 540, minute))],
    );
  await createTouchesIn(first);
  await first.query("begin");
  const [one] = (await saveAs(first, 1020)).rows;
  const waiting = saveAs(second, 600);
  await database.untilWaiting(second);
  await first.query("commit");
  const [two] = (await waiting).rows;

  expect(two.id).toBe(one.id);
  const left =
    "select extract(epoch from sum(ends_at - starts_at))::integer as open from ledger.calendar_spans where account_id = 9 and starts_at between '2026-11-16' and '2026-11-21'";
  expect((await first.query(left)).rows).toEqual([{ open: 5 * 3600 }]);
  expect((await first.query("select revision from ledger.calendars where account_id = 9")).rows).toEqual([{
    revision: 2,
  }]);
});
