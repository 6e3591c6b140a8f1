// Every schedule stands in one migration; running it again changes nothing.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readSettings } from "../../local/settings.ts";
import { useDatabase } from "../support/database.ts";

const database = useDatabase();
const folder = join(readSettings({}).projectRoot, "supabase", "migrations");
const FILE = "20261121000700_schedules.sql";

test("running the schedules again changes nothing", () =>
  database.rolledBack(async (sql) => {
    const jobs = "select jobid, jobname, schedule, command, active, username from cron.job order by jobid";
    const before = await sql.rows(jobs);
    expect(before.length).toBeGreaterThan(0);

    await sql.rows(await readFile(join(folder, FILE), "utf8"));

    expect(await sql.rows(jobs)).toEqual(before);
  }));

test("each is named after its room and is one call", () =>
  database.rolledBack(async (sql) => {
    const jobs = await sql.rows<{ jobname: string; command: string }>("select jobname, command from cron.job");
    for (const { jobname, command } of jobs) {
      expect(command).toMatch(/^(select|call) [a-z]+\.[a-z_]+\([^();]*\)$/);
      expect(jobname.split("-")[0]).toBe(/ ([a-z]+)\./.exec(command)?.[1]);
    }
  }));
