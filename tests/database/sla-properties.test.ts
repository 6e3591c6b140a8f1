// SLA clocks as the database works them out and as it stores them, against the reference: every fixture, and random
// conversations under random policies, as of many instants.
import fc from "fast-check";
import type { Client } from "pg";
import { beforeAll, expect, test } from "vitest";
import { SLA_CORNERS, SLA_NUMBERED, SLA_POLICIES, SLA_SETTLED } from "../fixtures/sla-fixtures.ts";
import { useDatabase } from "../support/database.ts";
import {
  compareSla,
  type Disagreement,
  fromRows,
  measuredClocks,
  type SlaAccount,
  smallest,
  storedClocks,
  tellAccount,
  tellMore,
  type ToldAccount,
} from "../support/sla-sql.ts";
import { CALENDAR_A, calendarUses, HOURS, policies, slaStories, type SlaStory } from "../support/sla-timelines.ts";

const SEED = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env.OCC_SLA_RUNS ?? 750);
const EACH = 50;
const FIRST_RANDOM = 1000;

const database = useDatabase();
let client: Client;
beforeAll(async () => {
  client = await database.connect();
  await client.query("set statement_timeout = 0");
  console.log(`sla: seed ${SEED} (OCC_TEST_SEED=${SEED} repeats it, OCC_SLA_RUNS=20000 runs long)`);
});

/** The smallest disagreement is the message. */
function expectNone(found: readonly Disagreement[]): void {
  const first = smallest(found);
  if (first === undefined) return;
  const { reference, database: said, ...about } = first;
  expect({ about, disagreements: found.length, clocks: said }).toEqual({
    about,
    disagreements: found.length,
    clocks: reference,
  });
}

test.each(
  [...SLA_NUMBERED, ...SLA_SETTLED, ...SLA_POLICIES, ...SLA_CORNERS].map((fixture, index) => ({ ...fixture, index })),
)(
  "$name",
  async ({ index, timeline, policies: versions, readings }) => {
    const account = index + 1;
    const { calendars } = await tellAccount(client, {
      account,
      policies: versions,
      calendars: { byId: new Map([[CALENDAR_A, HOURS.get(CALENDAR_A) ?? []]]), account: CALENDAR_A },
      stories: [{ timeline }],
    });
    for (const { asOf, clocks } of readings) {
      const found = fromRows((await measuredClocks(client, account, asOf)).get(1) ?? [], calendars);

      expect(found).toHaveLength(clocks.length);
      clocks.forEach((clock, place) => {
        const known = Object.entries(clock).filter(([name]) => name in found[place]);
        const expected = Object.fromEntries(known);
        if (expected.outcome === "closed_unanswered") expected.outcome = "met";
        expect(found[place]).toMatchObject(expected);
      });
    }
  },
);

interface RandomAccount extends SlaAccount {
  stories: SlaStory[];
}

const accounts: RandomAccount[] = fc.sample(
  fc.record({
    policies,
    calendars: calendarUses,
    stories: fc.array(slaStories(), { minLength: EACH, maxLength: EACH }),
  }),
  { numRuns: Math.max(1, Math.round(RUNS / EACH)), seed: SEED },
).map((told, index) => ({ account: FIRST_RANDOM + index, ...told }));
/** The instants at which its conversations are to be read, early ones first. */
const instantsOf = ({ stories }: RandomAccount) =>
  stories.map(({ asOf }) => asOf).toSorted((one, other) => one - other);
const told = new Map<SlaAccount, ToldAccount>();

test(`as of an instant the database says what the reference says of ${RUNS} random conversations`, async () => {
  const found: Disagreement[] = [];
  for (const account of accounts) {
    const known = await tellAccount(client, account);
    told.set(account, known);
    const instants = instantsOf(account);
    // Early, in the middle and late, so that most conversations are met unfinished at least once.
    for (const share of [0.1, 0.5, 0.95]) {
      const asOf = instants[Math.floor(share * instants.length)];
      found.push(...compareSla(account, known, await measuredClocks(client, account.account, asOf), asOf));
    }
  }
  expectNone(found);
}, 240_000);

/** After all that happens in an account. */
const endOf = ({ stories, policies: versions }: SlaAccount) =>
  86_400_000 + Math.max(
    ...stories.flatMap(({ timeline: { events, changes, mergedAt = 0 } }) => [
      mergedAt,
      ...events.map(({ at }) => at),
      ...changes.map(({ at }) => at),
    ]),
    ...versions.flatMap(({ validFrom, validUntil }) => [validFrom, validUntil ?? 0]),
  );

async function workOff(account: number, asOf: number, since: string): Promise<void> {
  await client.query(
    "select ledger.mark(account_id, display_id, walk_since => $2) from chatwoot.conversations where account_id = $1",
    [account, since],
  );
  while ((await client.query("select ledger.work_off(250, $1) as done", [new Date(asOf)])).rows[0].done > 0);
}

test("what is stored is what the reference says", async () => {
  const found: Disagreement[] = [];
  for (const account of accounts) {
    const known = told.get(account) ?? await tellAccount(client, account);
    const end = endOf(account);
    await workOff(account.account, end, "-infinity");
    found.push(...compareSla(account, known, await storedClocks(client, account.account, end), end));
  }
  expectNone(found);
}, 240_000);

test("gone on with in pieces, what is stored is the same", async () => {
  const found: Disagreement[] = [];
  for (const all of accounts.slice(0, Math.ceil(accounts.length / 2))) {
    const account = { ...all, account: all.account + FIRST_RANDOM };
    const instants = instantsOf(all);
    const cut = instants[Math.floor(instants.length / 3)];
    const end = endOf(account);
    const known = await tellAccount(client, account, cut);
    await workOff(account.account, cut, "-infinity");
    found.push(...compareSla(account, known, await storedClocks(client, account.account, cut), cut));
    await tellMore(client, account, cut);
    await workOff(account.account, end, new Date(cut + 1).toISOString());
    found.push(...compareSla(account, known, await storedClocks(client, account.account, end), end));
  }
  expectNone(found);
}, 240_000);
