import { describe, expect, test } from "vitest";
import { member, type Role, type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

const logged = (sql: Sql) =>
  sql.rows(
    "select account_id::int as account, actor, subject, evidence from audit.decision_log where action = 'setting.changed' order by entry",
  );

describe("a setting", () => {
  test("has its default until an account chooses", () =>
    database.rolledBack(async (sql) => {
      await sql.resultsEqual(
        "select ops.setting(1, 'raw_retention_days') as days, ops.setting(1, 'reporting_time_zone') as zone, ops.setting(1, 'no_such') as none",
        [{ days: 35, zone: "UTC", none: null }],
      );
    }));

  test.each([
    { name: "raw_retention_days", value: "1" },
    { name: "raw_retention_days", value: "3650" },
    { name: "reporting_time_zone", value: '"Europe/Berlin"' },
    { name: "reporting_time_zone", value: '"Asia/Kathmandu"' },
    { name: "sending", value: '"dry_run"' },
    { name: "draft_replies", value: "false" },
  ])("takes $name = $value", ({ name, value }) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select api.set_setting(1, $1, $2)::text", [name, value])).toBe(value);

      expect(await sql.value("select ops.setting(1, $1)::text", [name])).toBe(value);
      expect(
        await sql.value("select ops.setting(2, $1) = default_value from ops.setting_definitions where name = $1", [
          name,
        ]),
      )
        .toBe(true);
    }));

  test.each([
    { fault: "of the wrong type", name: "raw_retention_days", value: '"35"' },
    { fault: "of another wrong type", name: "raw_retention_days", value: "true" },
    { fault: "that is a list", name: "raw_retention_days", value: "[35]" },
    { fault: "below the least", name: "raw_retention_days", value: "0" },
    { fault: "far below the least", name: "raw_retention_days", value: "-1e300" },
    { fault: "above the most", name: "raw_retention_days", value: "3651" },
    { fault: "with a fraction", name: "raw_retention_days", value: "35.5" },
    { fault: "that is JSON null", name: "raw_retention_days", value: "null" },
    { fault: "that is SQL null", name: "raw_retention_days", value: null },
    { fault: "that is no zone", name: "reporting_time_zone", value: '"Mars/Olympus"' },
    { fault: "that is an offset", name: "reporting_time_zone", value: '"+02:00"' },
    { fault: "that is an empty zone", name: "reporting_time_zone", value: '""' },
    { fault: "that is a number for a zone", name: "reporting_time_zone", value: "1" },
    { fault: "that is an object with a zone", name: "reporting_time_zone", value: '{"name": "UTC"}' },
    { fault: "that is null for a zone", name: "reporting_time_zone", value: null },
    { fault: "that is no choice", name: "sending", value: '"OFF"' },
    { fault: "that is a truth for a choice", name: "sending", value: "false" },
    { fault: "that is null for a choice", name: "sending", value: null },
  ])("refuses a value $fault: $name = $value", ({ name, value }) =>
    database.rolledBack(async (sql) => {
      const error = await sql.throws("OC422", "select api.set_setting(1, $1, $2)", [name, value]);

      expect(error.message).toContain(name);
      expect(error.hint).toBeTruthy();
      await sql.resultsEqual("select * from ops.settings", []);
      expect(await logged(sql)).toEqual([]);
    }));

  test.each(["retention", "RAW_RETENTION_DAYS", "", null])(
    "refuses the unknown name %j and says where the names are",
    (name) =>
      database.rolledBack(async (sql) => {
        const error = await sql.throws("OC404", "select api.set_setting(1, $1, '1')", [name]);

        expect(error.hint).toContain("api.settings");
      }),
  );

  test.each([0, -1, null])("refuses the account %j", (account) =>
    database.rolledBack(async (sql) => {
      await sql.throws("OC422", "select ops.set_setting($1, 'raw_retention_days', '10')", [account]);
    }));

  test("a change is logged once, with who and what; choosing the same again is not", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");

      await sql.as("authenticated", admin, async () => {
        await sql.rows("select api.set_setting(1, 'raw_retention_days', '35')");
        await sql.rows("select api.set_setting(1, 'raw_retention_days', '10')");
        await sql.rows("select api.set_setting(1, 'raw_retention_days', '10')");
        await sql.rows("select api.set_setting(1, 'raw_retention_days', '10.0')");
      });
      await sql.rows("select api.set_setting(1, 'raw_retention_days', '20')");

      const change = { account: 1, subject: "setting:raw_retention_days" };
      expect(await logged(sql)).toEqual([
        { ...change, actor: `user:${admin}`, evidence: { before: 35, after: 10 } },
        { ...change, actor: "database:postgres", evidence: { before: 10, after: 20 } },
      ]);
      await sql.resultsEqual("select value, changed_by from ops.settings", [{
        value: 20,
        changed_by: "database:postgres",
      }]);
    }));

  test.each([
    { role: "viewer", account: 1 },
    { role: "operator", account: 1 },
    { role: "approver", account: 1 },
    { role: "admin", account: 2 },
  ])(
    "is not for a $role of account $account to change in account 1",
    ({ role, account }) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, account, role);

        await sql.as("authenticated", person, async () => {
          const error = await sql.throws("OC403", "select api.set_setting(1, 'raw_retention_days', '10')");
          expect(error.hint).toContain("admin");
          await sql.throws("42501", "insert into ops.settings values (1, 'raw_retention_days', '10', now(), 'me')");
          await sql.throws("42501", "update ops.setting_definitions set maximum = 9 where name = 'raw_retention_days'");
        });
      }),
  );

  test.each<Role>(["anon", "analyst"])("cannot be changed by %s at all", (role) =>
    database.rolledBack(async (sql) => {
      await sql.as(role, null, async () => {
        await sql.throws("42501", "select api.set_setting(1, 'raw_retention_days', '10')");
        await sql.throws("42501", "select ops.set_setting(1, 'raw_retention_days', '10')");
      });
    }));

  test("of one's accounts are seen with their value in force, those of others are not", () =>
    database.rolledBack(async (sql) => {
      const ada = await member(sql, 1, "viewer");
      await member(sql, 2, "viewer");
      await sql.rows(
        "select ops.set_setting(1, 'raw_retention_days', '10'), ops.set_setting(2, 'raw_retention_days', '20')",
      );

      await sql.as(
        "authenticated",
        ada,
        () =>
          sql.resultsEqual(
            `select account_id, name, value, is_default, changed_by from api.settings
            where name like any (array['r%', 'sync%']) order by name`,
            [
              {
                account_id: "1",
                name: "raw_retention_days",
                value: 10,
                is_default: false,
                changed_by: "database:postgres",
              },
              { account_id: "1", name: "reporting_time_zone", value: "UTC", is_default: true, changed_by: null },
              { account_id: "1", name: "sync_private_hosts", value: false, is_default: true, changed_by: null },
              { account_id: "1", name: "sync_requests_per_minute", value: 120, is_default: true, changed_by: null },
            ],
          ),
      );
      await sql.as("anon", null, () => sql.throws("42501", "select * from api.settings"));
    }));
});

describe("the records of cron runs", () => {
  test("go a week after their end, a batch at a time; those that still run stay", async () => {
    // pg_cron writes these as its superuser.
    const client = await database.connect("supabase_admin");
    await client.query("begin");
    await client.query("delete from cron.job_run_details where true");
    await client.query(
      `insert into cron.job_run_details (runid, jobid, username, status, start_time, end_time)
      select age * 10 + copy, 1, 'postgres', 'succeeded', ended, ended
      from unnest(array[1, 6, 7, 8, 30]) as age, unnest(array[1, 2]) as copy,
        lateral (select '2026-11-20T12:00Z'::timestamptz - make_interval(days => age)) as runs (ended)
      union all select 999, 1, 'postgres', 'running', '2026-10-01T00:00Z', null`,
    );
    await client.query("set local role postgres");

    const batches = [];
    for (let batch = 0; batch < 3; batch++) {
      const { rows } = await client.query("select ops.purge_job_runs('2026-11-20T12:00:00Z', 3) as count");
      batches.push(rows[0].count);
    }
    const { rows: left } = await client.query("select runid::integer from cron.job_run_details order by 1");
    await client.query("rollback");

    expect(batches).toEqual(["3", "1", "0"]);
    expect(left.map(({ runid }) => runid)).toEqual([11, 12, 61, 62, 71, 72, 999]);
  });

  test("are purged by cron, and by none of the API roles", () =>
    database.rolledBack(async (sql) => {
      await sql.resultsEqual("select schedule, command from cron.job where jobname = 'ops-purge-job-runs'", [
        { schedule: "17 * * * *", command: "select ops.purge_job_runs()" },
      ]);
      for (const role of ["anon", "authenticated", "service_role", "analyst"] as const) {
        await sql.as(role, null, () => sql.throws("42501", "select ops.purge_job_runs()"));
      }
    }));
});
