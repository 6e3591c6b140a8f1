// Health over the whole stack: cron looks by itself, and whoever asks from outside is told when it no longer does.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { useStack } from "../support/stack.ts";

const { stack } = useStack();

let pool: pg.Pool;
beforeAll(async () => {
  pool = new pg.Pool({ connectionString: stack().postgres.url, max: 2 });
  pool.on("error", () => {});
  // The tests are the clock until one of them sets it going.
  await stand();
});
afterAll(() => pool?.end());

const rows = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> =>
  (await pool.query<Row>(text, values)).rows;

const schedule = (when: string) =>
  rows(`select cron.schedule('ops-check-health', '${when}', 'call ops.check_health()')`);
/** Not removed, since that would be found: once a year is never. */
const stand = () => schedule("0 0 1 1 *");

interface Status {
  status: string;
  checked_at: string | null;
  services: Record<string, string>;
}
/** Asked without any key, as a monitor does, once what was said before is forgotten. */
async function ask(): Promise<{ code: number; status: Status; text: string; headers: Headers }> {
  await sleep(5_100);
  const response = await fetch(`${stack().info.functions_url}/health`);
  const text = await response.text();
  return { code: response.status, status: JSON.parse(text), text, headers: response.headers };
}

test(
  "before anything was checked it is not well; once it was, it is; when nothing is checked any more, it says so",
  async () => {
    await rows("delete from ops.health_checks where true");
    const before = await ask();
    expect(before).toMatchObject({ code: 503, status: { status: "fail", checked_at: null } });
    expect(before.status.services).toMatchObject({ database: "ok", checks: "fail" });

    await rows("call ops.check_health()");
    const after = await ask();
    expect(after).toMatchObject({ code: 200, status: { status: "ok", services: { database: "ok", checks: "ok" } } });
    expect(Date.now() - Date.parse(after.status.checked_at ?? "")).toBeLessThan(60_000);
    expect(after.headers.get("content-type")).toMatch(/application\/json/);

    await rows(
      "update ops.health_checks set checked_at = checked_at - interval '3 minutes 1 second' where account_id = 0",
    );
    expect(await ask()).toMatchObject({ code: 503, status: { services: { checks: "fail" } } });
  },
  60_000,
);

test("by cron, with nobody connected, it is looked after, and the runs are written down", async () => {
  await schedule("2 seconds");
  const admin = new pg.Client({ connectionString: stack().postgres.adminUrl });
  await admin.connect();
  try {
    for (const deadline = Date.now() + 20_000;;) {
      const runs = await rows<{ job: string; state: string; seconds: number }>(
        "select job, state, seconds from ops.job_runs where job = 'ops-check-health' and state = 'succeeded'",
      );
      if (runs.length > 0) {
        expect(runs[0].seconds).toBeLessThan(10);
        break;
      }
      if (Date.now() > deadline) throw new Error("no run after 20 seconds");
      await sleep(500);
    }
    expect(await ask()).toMatchObject({ code: 200, status: { services: { checks: "ok" } } });

    // Cron stands still: it cannot read what there is to do.
    await admin.query("begin");
    await admin.query("lock table cron.job in access exclusive mode");
    await rows(
      "update ops.health_checks set checked_at = checked_at - interval '3 minutes 1 second' where account_id = 0",
    );
    expect(await ask()).toMatchObject({ code: 503, status: { status: "fail", services: { checks: "fail" } } });
    await admin.query("rollback");
    let answered = await ask();
    for (const deadline = Date.now() + 20_000; answered.code !== 200 && Date.now() < deadline;) answered = await ask();
    expect(answered).toMatchObject({ code: 200, status: { services: { checks: "ok" } } });
  } finally {
    await admin.end();
    await stand();
  }
}, 90_000);

test("a job that fails three times in a row is an alert, told of and over once it runs", async () => {
  interface Told {
    type: string;
    data: { severity: string; title: string; body: { news: string; subject: string; what_to_do?: string } };
  }
  const got: Told[] = [];
  const receiver = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    got.push(JSON.parse(Buffer.concat(chunks).toString()));
    response.end("ok");
  });
  await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  try {
    await rows(
      "insert into chatwoot.accounts (account_id, name, version_at) values (1, 'Shop', now()) on conflict do nothing",
    );
    await rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    await rows(
      "select ops.add_notification_endpoint(1, 'On call', $1, 'standard', kinds => '{alert.cron.stopped}')",
      [`http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`],
    );
    await rows("select cron.schedule('ops-fail', '1 seconds', 'select 1/0')");
    const broken = async () =>
      await rows<{ resolved_at: Date | null; message: string }>(
        "select resolved_at, message from ops.alerts where kind = 'cron.stopped' and subject = 'ops-fail'",
      );
    await rows("select ops.set_alert_rule(1, 'cron.stopped', '{\"for_seconds\": 0, \"clear_seconds\": 0}')");
    const until = async (satisfied: (found: Awaited<ReturnType<typeof broken>>) => boolean) => {
      for (const deadline = Date.now() + 20_000;;) {
        await rows("call ops.check_health()");
        await rows("call ops.deliver_notifications()");
        const found = await broken();
        if (satisfied(found)) return found;
        if (Date.now() > deadline) throw new Error(`still ${JSON.stringify(found)}`);
        await sleep(500);
      }
    };
    const [alert] = await until((found) => found.length > 0);
    expect(alert).toMatchObject({
      resolved_at: null,
      message: expect.stringMatching(/ops-fail has failed \d+ times in a row/),
    });

    await rows("select cron.schedule('ops-fail', '1 seconds', 'select 1')");
    await until((found) => found.length === 1 && found[0].resolved_at !== null && got.length >= 2);

    expect(got.map(({ type, data: { severity, body: { news, subject } } }) => [type, severity, news, subject])).toEqual(
      [
        ["alert.cron.stopped", "critical", "fired", "ops-fail"],
        ["alert.cron.stopped", "info", "cleared", "ops-fail"],
      ],
    );
    expect(got[0].data).toMatchObject({
      title: alert.message,
      body: { what_to_do: expect.stringMatching(/select message, \* from ops\.job_runs where job = 'ops-fail'/) },
    });
  } finally {
    await rows("select cron.unschedule('ops-fail')");
    receiver.close();
  }
}, 60_000);

test("the page holds no account, no number and no key, whatever is wrong", async () => {
  await rows(
    `select ops.record_checks(array(select row(4711, names.name, '', 'fail', 42, '', 'canary-words', 'canary-hint', now())::ops.health_sample
      from unnest('{service,webhook_arrival,sync_lag,outbox,ledger_lag}'::text[]) as names (name)))`,
  );
  await rows(
    "select ops.record_checks(array[row(4711, 'service', 'chatwoot', 'fail', 3, '', 'canary-words', null, now())::ops.health_sample])",
  );
  const { code, text, status } = await ask();

  expect(code).toBe(503);
  expect(status.services).toMatchObject({ chatwoot: "fail", webhooks: "fail", sync: "fail" });
  // The instant of the check, which may hold any digits, is checked_at's to tell.
  expect(text.replace(status.checked_at ?? "", "")).not.toMatch(/4711|42|canary/);
  expect(text).not.toContain(stack().info.secret_key);
  const posted = await fetch(`${stack().info.functions_url}/health`, { method: "POST", body: "x" });
  expect(posted.status).toBe(405);
}, 60_000);
