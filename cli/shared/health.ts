// What the installation thinks of its own health.
import type { Database } from "./connection.ts";
import type { Found } from "./steps.ts";

interface Row {
  account_id: string;
  name: string;
  subject: string;
  state: "ok" | "warn" | "fail" | "unknown";
  message: string;
  hint: string | null;
}

/** The newest check of everything that concerns the account and the whole project; looked at anew where that is old. */
export async function readHealth(accountId: string, database: Database): Promise<Found> {
  const [{ is_there }] = await database.rows<{ is_there: boolean }>(
    "select to_regclass('ops.health_checks') is not null as is_there",
  );
  if (!is_there) {
    return { state: "warn", message: "this database has no health checks yet", next: "npx supabase db push" };
  }
  const [{ age, is_scheduled }] = await database.rows<{ age: number | null; is_scheduled: boolean }>(
    `select (select extract(epoch from now() - checked_at)::float8 from ops.health_checks
        where account_id = 0 and name = 'cron_alive' and subject = '') as age,
      exists (select from cron.job where jobname = 'ops-check-health' and active) as is_scheduled`,
  );
  if (!is_scheduled) {
    return {
      state: "fail",
      message: "nobody looks: the job ops-check-health is missing or switched off",
      next: "occ doctor",
    };
  }
  // Each minute by cron; where that just began, or begins again, now.
  if (age === null || age > 180) await database.rows("call ops.check_health()");
  // What was not looked at for an hour, such as a job that was removed, is no more.
  const rows = await database.rows<Row>(
    `select account_id::text, name, subject, state, message, hint from ops.health_checks
    where account_id in (0, $1::bigint) and checked_at > now() - interval '1 hour'
    order by state = 'fail' desc, name, subject`,
    [accountId],
  );
  const named = ({ name, subject, message }: Row) => `${name}${subject === "" ? "" : ` (${subject})`}: ${message}`;
  const failed = rows.filter(({ state }) => state === "fail");
  const warned = rows.filter(({ state }) => state === "warn");
  const all = `${rows.length} checks, ${rows.filter(({ state }) => state === "ok").length} ok`;
  if (failed.length > 0) {
    return {
      state: "fail",
      message: failed.map(named).join(" "),
      next: failed.find(({ hint }) => hint !== null)?.hint ?? "select * from ops.health_checks where state = 'fail';",
    };
  }
  if (warned.length > 0) {
    return { state: "warn", message: `${all}. ${warned.map(named).join(" ")}`, next: warned[0].hint ?? undefined };
  }
  return { message: `${all}.` };
}
