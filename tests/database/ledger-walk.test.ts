// Episodes, spans and numbers as the database walks to them, against the reference: numbered fixtures, settled readings,
// corners, and random timelines, as of any instant and by both clocks.
import fc from "fast-check";
import type { Client } from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { CORNERS } from "../fixtures/ledger-corners.ts";
import { type LedgerFixture, NUMBERED, SETTLED } from "../fixtures/ledger-fixtures.ts";
import { OUTCOMES } from "../fixtures/ledger-outcomes.ts";
import { openSpans } from "../support/calendar-reference.ts";
import { useDatabase } from "../support/database.ts";
import { type LedgerEvent, readLedger } from "../support/ledger-reference.ts";
import { COMPARED, fromReference, fromRow, tellTimelines, toldConversation } from "../support/ledger-sql.ts";
import { timelines } from "../support/ledger-timelines.ts";

const SEED = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env.OCC_LEDGER_RUNS ?? 2000);
const FIXTURES = [...NUMBERED, ...SETTLED, ...CORNERS];
const WEEK = [1, 2, 3, 4, 5].map((weekday) => ({ weekday, start_minute: 540, end_minute: 1020 }));
const ZONE = "Europe/Berlin";

const database = useDatabase();
let client: Client;
beforeAll(async () => {
  client = await database.connect();
  await client.query("set statement_timeout = 0");
  console.log(`ledger: seed ${SEED} (OCC_TEST_SEED=${SEED} repeats it, OCC_LEDGER_RUNS=20000 runs long)`);
});

/** An account of the test's own, with or without calendar A, and the clock that the reference reads for it. */
async function account(id: number, calendar: "A" | null): Promise<((at: number) => number) | undefined> {
  if (calendar === null) return undefined;
  const { rows: [{ built_from, built_until }] } = await client.query(
    `with saved as (
      select ledger.use_calendar($1, 'account', 0, ledger.save_calendar($1, 'A', $2, $3)) as used
    ) select calendars.built_from, calendars.built_until from saved, ledger.calendars where account_id = $1`,
    [id, ZONE, JSON.stringify(WEEK)],
  ).then(async ({ rows }) =>
    rows.length > 0
      ? { rows }
      : await client.query("select built_from, built_until from ledger.calendars where account_id = $1", [id])
  );
  const spans = openSpans(
    [{ validFrom: -Infinity, timeZone: ZONE, weekly: WEEK, exceptions: [] }],
    Date.parse("2026-10-01") * 1000,
    built_until.getTime() * 1000,
  );
  const before: number[] = [];
  spans.reduce((sum, [opens, closes]) => (before.push(sum), sum + closes - opens), 0);
  return (at) => {
    const instant = Math.min(Math.max(at, built_from.getTime()), built_until.getTime()) * 1000;
    let low = 0;
    for (let high = spans.length; low < high;) {
      const middle = (low + high) >> 1;
      if (spans[middle][0] <= instant) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return 0;
    const [opens, closes] = spans[low - 1];
    return (before[low - 1] + Math.min(instant, closes) - opens) / 1000;
  };
}

async function episodesAt(account: number, display: number, asOf: number): Promise<Record<string, unknown>[]> {
  const { rows } = await client.query(
    "select * from ledger.episodes_at($1, $2, null, array[$3::bigint]) order by episode",
    [account, new Date(asOf), display],
  );
  return rows;
}

describe("fixtures", () => {
  const clocks = new Map<LedgerFixture, number>();
  beforeAll(async () => {
    for (const [number, calendar] of [[11, null], [12, "A"]] as const) {
      const those = FIXTURES.filter((fixture) => fixture.calendar === calendar);
      those.forEach((fixture) => clocks.set(fixture, number));
      await account(number, calendar);
      await tellTimelines(
        client,
        those.map(({ events, options }) => ({ events, options: { ...options, asOf: 0 } })),
        number,
      );
    }
  });

  test.each(FIXTURES)("$name", async (fixture) => {
    const number = clocks.get(fixture) as number;
    const display = FIXTURES.filter(({ calendar }) => calendar === fixture.calendar).indexOf(fixture) + 1;
    for (const { asOf, episodes } of fixture.readings) {
      const found = (await episodesAt(number, display, asOf)).map((row) => ({ ...fromRow(row), flags: row.flags }));
      expect(found).toHaveLength(episodes.length);
      episodes.forEach((expected, index) => {
        const comparable = Object.entries(expected).filter(([name]) => name in found[index]);
        expect(found[index]).toMatchObject(Object.fromEntries(comparable));
      });
    }
  });
});

test("FX-19: each outcome of the AI's part", async () => {
  await tellTimelines(
    client,
    OUTCOMES.map(({ events, options, asOf }) => ({ events, options: { ...options, asOf } })),
    13,
  );
  for (const [index, { outcome, eligible, involved, answered, claim, asOf }] of OUTCOMES.entries()) {
    const [found] = await episodesAt(13, index + 1, asOf);
    expect(found).toMatchObject({
      ai_class: outcome,
      ai_eligible: eligible,
      ai_involved: involved,
      ai_answered: involved && answered,
      ...(claim ? { durable: claim.durable } : {}),
    });
  }
});

describe(`${RUNS} random timelines`, () => {
  const told = fc.sample(timelines(), { numRuns: RUNS, seed: SEED });

  test.each([{ number: 1, calendar: null }, { number: 2, calendar: "A" as const }])(
    "as of an instant the database says what the reference says (calendar $calendar)",
    async ({ number, calendar }) => {
      const businessClock = await account(number, calendar);
      await tellTimelines(client, told, number);
      for (const [index, { events, options }] of told.entries()) {
        const expected = readLedger(events, { ...options, ...(businessClock ? { businessClock } : {}) }).episodes;
        const found = await episodesAt(number, index + 1, options.asOf);
        // Compared as text first: to compare thousands of objects deeply takes longer than to make them.
        const one = expected.map(fromReference);
        const other = found.map(fromRow);
        if (JSON.stringify(one) !== JSON.stringify(other)) {
          expect({ events, options, episodes: other }).toEqual({ events, options, episodes: one });
        }
      }
    },
    240_000,
  );

  test("folded into conversations, what is over is as the reference folds it", async () => {
    const past = fc.sample(timelines({ base: Date.parse("2018-01-08T08:00:00Z") }), { numRuns: RUNS, seed: SEED });
    await tellTimelines(client, past, 3);
    await client.query(
      "select ledger.mark(account_id, display_id, walk_since => '-infinity') from chatwoot.conversations where account_id = 3",
    );
    while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
    const { rows } = await client.query(
      "select * from analytics.conversations where account_id = 3 order by display_id",
    );
    expect(rows).toHaveLength(past.length);
    for (const [index, { events, options }] of past.entries()) {
      const { conversation } = readLedger(events, { ...options, asOf: rows[index].as_of.getTime() });
      const [one, other] = toldConversation(conversation, rows[index]);
      if (JSON.stringify(one) !== JSON.stringify(other)) {
        expect({ events, options, conversation: other }).toEqual({ events, options, conversation: one });
      }
    }
  }, 300_000);

  test("gone on with in pieces, everything stored is as when walked at once", async () => {
    const pieces = told.map(({ events }, index) => {
      const sorted = [...events].sort((one, other) => one.at - other.at);
      const cut = sorted[(index * 7) % sorted.length].at;
      return { first: sorted.filter(({ at }) => at <= cut), rest: sorted.filter(({ at }) => at > cut) };
    });
    const asTold = (part: (index: number) => LedgerEvent[]) =>
      told.map(({ events, options }, index) => ({ events: part(index), whole: events, options }));
    await tellTimelines(client, told, 4);
    await tellTimelines(client, asTold((index) => pieces[index].first), 5);
    const markAll = (since: string, number: number) =>
      client.query(
        `select ledger.mark(account_id, display_id, walk_since => $1) from chatwoot.conversations where account_id = $2`,
        [since, number],
      );
    const workOff = async () => {
      while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
    };
    await markAll("-infinity", 4);
    await markAll("-infinity", 5);
    await workOff();
    await tellTimelines(client, asTold((index) => pieces[index].rest), 5, { isMore: true });
    for (const [index, { rest }] of pieces.entries()) {
      if (rest.length === 0) continue;
      // An answer may be to a survey of long ago.
      const since = rest.some(({ kind }) => kind === "csat") ? "-infinity" : new Date(rest[0].at);
      await client.query("select ledger.mark(5, $1, walk_since => $2)", [index + 1, since]);
    }
    await workOff();

    const stored = async (table: string, without: string[], number: number) =>
      (await client.query(
        `select to_jsonb(${table}) - $2::text[] as row from ledger.${table} where account_id = $1
        order by ${table}.display_id, ${table}.episode ${table === "spans" ? ", kind, number" : ""}`,
        [number, ["account_id", ...without]],
      )).rows.map(({ row }) => JSON.stringify(row));
    const events = ["waiting_event", "bot_waiting_event", "state_event", "holder_event"];
    const tables = [["episodes", events], ["spans", ["opened_by", "closed_by"]]] as const;
    for (const [table, without] of tables) {
      const one = await stored(table, [...without], 5);
      const other = await stored(table, [...without], 4);
      expect(one).toHaveLength(other.length);
      const wrong = one.findIndex((row, index) => row !== other[index]);
      expect(JSON.parse(one[wrong] ?? "null")).toEqual(JSON.parse(other[wrong] ?? "null"));
    }
  }, 300_000);
});

test("the comparison notices each column", () => {
  const [{ events, options }] = fc.sample(timelines(), { numRuns: 1, seed: 1 });
  const [episode] = readLedger(events, { ...options, asOf: Infinity }).episodes.map(fromReference);
  expect(Object.keys(episode)).toEqual(expect.arrayContaining(COMPARED));
});
