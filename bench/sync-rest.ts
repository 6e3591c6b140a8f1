// What the REST door asks of a Chatwoot: requests a changed conversation, requests of a tick with nothing new, and the
// memory of the database session over a back-fill. Counts, and one ratio; no time is judged.
import { readFile } from "node:fs/promises";
import { Client } from "pg";
import { historyOf } from "../local/chatwoot/history.ts";
import { startChatwoot } from "../local/chatwoot/server.ts";
import { freePort } from "../local/ports.ts";
import { migrate } from "../local/migrate.ts";
import { startPostgres } from "../local/postgres/server.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import { startHttpClient } from "../local/worker/worker.ts";
import type { BenchOptions } from "./run.ts";

const MOST_REQUESTS_A_CHANGE = 1.2;
const MOST_IDLE_REQUESTS = 1;
const MOST_GROWTH = 1.25;
const START = new Date("2026-11-02T07:00:00Z");

interface Measured {
  what: string;
  conversations: number;
  requests: number;
  "requests a conversation": string;
  seconds: string;
}

export async function syncRest({ quick }: BenchOptions): Promise<boolean> {
  const total = quick ? 60 : 2000;
  const progress = (step: string) => console.error(`… ${step}`);
  const home = await temporaryHome();
  const stops: (() => Promise<unknown>)[] = [];
  try {
    const postgres = await startPostgres({ home, port: await freePort(), progress });
    stops.push(postgres.stop);
    await migrate(readSettings({}).projectRoot, { url: postgres.url, withSeed: false });
    const http = await startHttpClient({ adminUrl: postgres.adminUrl });
    stops.push(http.stop);
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    stops.push(() => client.end());
    await client.query("set statement_timeout = 0");
    await client.query("create database chatwoot");
    const url = new URL(postgres.url);
    url.pathname = "/chatwoot";
    const chatwoot = await startChatwoot({ url: url.href, seed: 11, start: START });
    stops.push(chatwoot.stop);
    progress(`making ${total} conversations`);
    const { events } = historyOf({
      conversations: total,
      events: total * 10,
      seed: 11,
      start: START,
      longestGap: 30_000,
      installation: chatwoot.installation,
    });
    let now = START;
    for (const { at } of events) now = at;
    await chatwoot.dispatch([]);
    // As autovacuum would have long done.
    const theirs = new Client({ connectionString: url.href });
    await theirs.connect();
    await theirs.query("analyze").finally(() => theirs.end());

    await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
    await client.query("select ops.set_setting(1, 'sync_requests_per_minute', '2000')");
    await client.query("select api.set_sync_token(1, $1)", [chatwoot.token]);
    await client.query("select api.set_rest_source(1, $1)", [chatwoot.url]);
    const { rows: [{ pid }] } = await client.query("select pg_backend_pid() as pid");
    const memory: number[] = [];
    const minute = () => now = new Date(now.getTime() + 60_000);
    const tick = async () => {
      chatwoot.setNow(now);
      await client.query("call sync.tick_rest($1)", [now]);
      memory.push(await residentKilobytes(pid));
    };
    const measured: Measured[] = [];
    const measure = async (what: string, conversations: number, work: () => Promise<void>) => {
      const before = chatwoot.requests.length;
      const began = performance.now();
      await work();
      const requests = chatwoot.requests.length - before;
      measured.push({
        what,
        conversations,
        requests,
        "requests a conversation": conversations === 0 ? "" : (requests / conversations).toFixed(2),
        seconds: ((performance.now() - began) / 1000).toFixed(1),
      });
      return requests;
    };

    await measure("back-fill", total, async () => {
      for (let tries = 0; tries < 500; tries++) {
        minute();
        await tick();
        const { rows: [{ is_done, problem }] } = await client.query(
          "select backfill_finished_at is not null as is_done, problem from sync.sources",
        );
        if (problem !== null) throw new Error(`The back-fill failed: ${problem}`);
        if (is_done) return;
      }
      throw new Error("The back-fill does not come to an end.");
    });
    // Until what is looked at again by the clock has been, so that only what changed is asked for.
    for (let tries = 0; tries < 5; tries++) {
      now = new Date(now.getTime() + 3 * 86_400_000);
      await tick();
    }
    minute();
    const idle = await measure("a tick with nothing new", 0, tick);
    const changing = quick ? 20 : 50;
    minute();
    for (let number = 1; number <= changing; number++) {
      await chatwoot.perform(now, (shop, at) => shop.customerWrites(at, number, { text: "Is there any news?" }));
    }
    minute();
    const changed = await measure(`a tick after ${changing} conversations changed`, changing, tick);

    printTable(Object.keys(measured[0]), measured as unknown as Record<string, unknown>[]);
    const grown = Math.max(...memory) / memory[Math.floor(memory.length / 10)];
    console.log(
      `\nMemory of the session over the back-fill: ${Math.round(memory[0] / 1024)} MiB after the first tick, ` +
        `${Math.round(Math.max(...memory) / 1024)} MiB at most.`,
    );
    const targets = [
      {
        target: `requests a changed conversation ≤ ${MOST_REQUESTS_A_CHANGE}`,
        reached: changed / changing <= MOST_REQUESTS_A_CHANGE,
      },
      { target: `requests of a tick with nothing new ≤ ${MOST_IDLE_REQUESTS}`, reached: idle <= MOST_IDLE_REQUESTS },
      { target: `greatest memory ÷ that of a tenth of the way ≤ ${MOST_GROWTH}`, reached: grown <= MOST_GROWTH },
    ];
    for (const { target, reached } of targets) console.log(`${reached ? "reached" : "MISSED "}  ${target}`);
    return targets.every(({ reached }) => reached);
  } finally {
    for (const stop of stops.reverse()) await stop().catch(() => {});
    await removeHome(home);
  }
}

async function residentKilobytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/RssAnon:\s+(\d+) kB/.exec(status)?.[1] ?? 0);
}
