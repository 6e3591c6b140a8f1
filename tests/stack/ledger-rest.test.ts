// Through the REST door alone: each change of a status that Chatwoot went through stands in the log. REST shows instants of
// messages and of Chatwoot's own lines in whole seconds, so a change is known to the second.
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { startChatwoot } from "../../local/chatwoot/server.ts";
import { migrate } from "../../local/migrate.ts";
import { readSettings } from "../../local/settings.ts";
import { drawSeeds, FIELDS, ledger, logged, refreshAll, unlike, watch } from "../database/ledger-doors.support.ts";
import { useWorker } from "./worker.support.ts";

const START = new Date("2026-11-20T07:00:00Z");
const SECOND = 1_000_000;

const worker = useWorker();
let client: pg.Client;

beforeAll(async () => {
  await migrate(readSettings({}).projectRoot, { url: worker.url(), withSeed: false });
  client = new pg.Client({ connectionString: worker.url() });
  await client.connect();
  // The test is the clock.
  await client.query("select cron.unschedule(jobid) from cron.job");
});
afterAll(() => client?.end());

const minutes = (at: Date, number: number) => new Date(at.getTime() + number * 60_000);

test("the log's statuses are those that Chatwoot went through, to the second", async () => {
  const [seed] = drawSeeds("ledger-rest", 1);
  const { truth, onWrite } = watch();
  const shop = await startChatwoot({ url: worker.url(), seed, start: START, now: () => START, onWrite });
  try {
    await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    await client.query("select ops.set_setting(1, 'sync_requests_per_minute', '2000')");
    await client.query("select api.set_sync_token(1, $1), api.set_rest_source(1, $2)", [shop.token, shop.url]);
    const { events, installation } = historyOf({
      conversations: 15,
      events: 600,
      seed,
      start: START,
      installation: shop.installation,
    });
    let at = START;
    const read = async () => {
      await shop.dispatch([]);
      for (let minute = 0, isLeft = true; isLeft && minute < 40; minute++) {
        at = minutes(at, 1);
        shop.setNow(at);
        await client.query("call sync.tick_rest($1)", [at]);
        const { rows: [source] } = await client.query(
          `select backfill is not null or failures > 0 or exists (
              select from sync.conversation_reads where due_at <= $1) as is_left, problem
          from sync.sources where door = 'rest'`,
          [at],
        );
        expect(source.problem).toBeNull();
        isLeft = source.is_left;
      }
      await client.query("call ledger.tick($1)", [at]);
    };
    let number = 0;
    for (const event of events) {
      if (event.at > at) at = event.at;
      if (++number % 150 === 0) await read();
    }
    at = minutes(at, 30);
    await read();

    expect((await client.query("select * from ledger.queue")).rows).toEqual([]);
    const log = await logged(client);
    for (const [id, { status }] of truth) {
      // Where the older assignment swallows an opening, no line is written: it is seen when it is next read.
      const told = log.get(id)?.status ?? [];
      if (installation.conversation(id).inbox.autoAssignment) {
        expect(told.at(-1)?.value, `conversation ${id}`).toBe(status.at(-1)?.value);
        continue;
      }
      // How it began nobody can say who reads it later; only an opening tells that it was not open before.
      const values = (steps: { value: string }[]) => steps.slice(1).map(({ value }) => value);
      expect(values(told), `conversation ${id}`).toEqual(values(status));
      for (const [index, step] of status.entries()) {
        expect(Math.abs(told[index].at - step.at), `conversation ${id}, step ${index}`).toBeLessThanOrEqual(SECOND);
      }
    }
    for (const [id, steps] of truth) {
      for (const field of FIELDS) {
        expect(log.get(id)?.[field].at(-1)?.value || "[]", `${field} of ${id}`).toBe(
          steps[field].at(-1)?.value || "[]",
        );
      }
    }
    const before = await ledger(client, { isExact: true });
    await refreshAll(client);
    expect(unlike(before, await ledger(client, { isExact: true }))).toEqual([]);
  } finally {
    await shop.stop();
  }
}, 240_000);
