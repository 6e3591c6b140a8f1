// For tests of the views over many episodes: timelines are told to the event log, walked through, and read back through
// the views alone.
import type { ClientBase } from "pg";
import { beforeAll } from "vitest";
import { A, created, customer, human, PLAIN, timeline } from "../fixtures/ledger-fixtures.ts";
import { Sql, useDatabase } from "../support/database.ts";
import type { LedgerEvent } from "../support/ledger-reference.ts";
import { tellTimelines, type Told } from "../support/ledger-sql.ts";

export const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);

/** A database for the test file, and the ways to tell it timelines. */
export function useTimelines() {
  const database = useDatabase();
  let client: ClientBase;
  beforeAll(async () => {
    client = await database.connect();
  });

  const inZone = (zone: string, account = 1) =>
    client.query(
      `insert into ops.settings (account_id, name, value, changed_at, changed_by) values ($1, 'reporting_time_zone', to_jsonb($2::text), now(), 'test')
      on conflict (account_id, name) do update set value = excluded.value`,
      [account, zone],
    );

  /** Walks through every conversation of the account again. */
  const walk = (account = 1) =>
    client.query(
      `select ledger.refresh(array(select row(account_id, display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue
      from chatwoot.conversations where account_id = $1))`,
      [account],
    );

  return {
    inZone,
    walk,
    async rolledBack(work: (sql: Sql) => Promise<void>): Promise<void> {
      await client.query("begin");
      try {
        await work(new Sql(client as ConstructorParameters<typeof Sql>[0]));
      } finally {
        await client.query("rollback");
      }
    },
    /** Tells the timelines, numbered from 1, and walks through them. */
    async tell(told: Told[], { zone = "UTC", account = 1 } = {}): Promise<void> {
      await client.query("insert into chatwoot.accounts (account_id, version_at) values ($1, now())", [account]);
      await inZone(zone, account);
      await tellTimelines(client, told, account);
      await walk(account);
    },
  };
}

export const plain = (...conversations: LedgerEvent[][]): Told[] =>
  conversations.map((events) => ({ events, options: { ...PLAIN, asOf: 0 } }));

/** Seconds before the transaction's now(), so that what still runs has a known length. */
export async function clock(sql: Sql): Promise<(secondsAgo: number) => number> {
  const now = await sql.value<Date>("select now()");
  return (secondsAgo) => now.getTime() - secondsAgo * 1000;
}

/** A zone in which the last hours were one day, whenever the test runs. */
export const calmZone = () => new Date().getUTCHours() < 6 ? "America/New_York" : "UTC";

export const opening = (moment: string | number): LedgerEvent[] => timeline([moment, created("open"), customer]);
/** Asked at that moment, answered so many seconds later. */
export const answered = (moment: number, seconds: number, author = A): LedgerEvent[] =>
  timeline([moment, created("open"), customer], [moment + seconds * 1000, human(author)]);

/** Continuous, with linear interpolation. */
export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  const position = share * (sorted.length - 1);
  const lower = sorted[Math.floor(position)];
  return lower + (position - Math.floor(position)) * (sorted[Math.ceil(position)] - lower);
}
