// Payloads in which anything may stand anywhere: recording them never fails, and nothing but the right stays behind.
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  CANARY,
  conversation,
  type Payload,
  privateNote,
  story,
  typing,
  widgetTriggered,
} from "../fixtures/webhooks.ts";
import { useDatabase } from "../support/database.ts";

const database = useDatabase();

const CASES = 3_000;
const AT_A_TIME = 100;

const TEMPLATES = [...story(), privateNote(), typing(), widgetTriggered({ current_conversation: conversation() })];

// Values that have broken readers before, and then whatever fast-check comes up with.
const wrongValue = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    "",
    " ",
    "null",
    "x",
    0,
    -1,
    1.5,
    1e300,
    2 ** 53,
    2 ** 63,
    "9223372036854775808",
  ),
  fc.constantFrom<unknown>(
    "now",
    "infinity",
    "2026-13-45T99:99:99Z",
    "0000-00-00T00:00:00Z",
    1e15,
    "999999999999.5",
    "NaN",
  ),
  fc.constantFrom<unknown>(
    [],
    {},
    [null],
    [[]],
    [{}],
    { id: null },
    { id: "x" },
    { id: {} },
    [1, "a", { id: [] }],
    "x".repeat(5_000),
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

const mutation = fc.record({
  // Each number picks a key at the next level; the path ends where the numbers do, or where there are no more keys.
  path: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 7 }),
  change: fc.option(wrongValue, { nil: undefined, freq: 8 }),
});

const wrongPayload = fc
  .tuple(fc.nat(TEMPLATES.length - 1), fc.array(mutation, { minLength: 1, maxLength: 3 }))
  .map(([template, mutations]) => {
    const payload = structuredClone(TEMPLATES[template]);
    for (const { path, change } of mutations) mutate(payload, path, change);
    return payload;
  });

/** Puts the change where the path leads; undefined takes the key away. */
function mutate(payload: Payload, path: number[], change: unknown): void {
  let place: Record<string, unknown> = payload;
  for (const [depth, number] of path.entries()) {
    const keys = Object.keys(place);
    if (keys.length === 0) return;
    const key = keys[number % keys.length];
    const next = place[key];
    if (depth < path.length - 1 && typeof next === "object" && next !== null) {
      place = next as Record<string, unknown>;
    } else {
      if (change === undefined) delete place[key];
      else place[key] = structuredClone(change);
      return;
    }
  }
}

test(`${CASES.toLocaleString("en")} payloads with wrong types anywhere are kept, and dead with a reason where they cannot be applied`, async () => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`wrong types: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
  const payloads = fc.sample(wrongPayload, { numRuns: CASES, seed });
  const client = await database.connect();
  const outcomes: Record<string, number> = {};

  for (let from = 0; from < CASES; from += AT_A_TIME) {
    const batch = payloads.slice(from, from + AT_A_TIME);
    const bodies = batch.map((payload) => Buffer.from(JSON.stringify(payload)));
    const record = (bodies: Buffer[], from: number) =>
      client.query<{ outcome: string }>(
        `select inbox.record(1, given.id::text, given.body, '{}', 'signature', '2026-11-20T09:00:00Z') as outcome
        from unnest($1::bytea[], $2::bigint[]) as given (body, id)`,
        [bodies, bodies.map((_, index) => from + index)],
      );
    const recorded = await record(bodies, from).catch(async (error) => {
      // One of them was raised: find it, so that the failure shows it.
      for (const [index, body] of bodies.entries()) {
        await record([body], from + index).catch((error) => {
          throw new Error(`raised ${error.code} ${error.message} for: ${body}`);
        });
      }
      throw error;
    });
    for (const { outcome } of recorded.rows) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }

  // Each kind comes up, or the payloads are not as wrong, or as right, as they are meant to be.
  expect(Object.keys(outcomes).sort()).toEqual(["applied", "dead", "ignored", "refused"]);
  const { rows: [stored] } = await client.query("select count(*)::integer as count from inbox.deliveries");
  expect(stored.count).toBe(CASES - outcomes.refused);
  // A fault of class 42 (wrong SQL), P0 (wrong PL/pgSQL) or XX (inside Postgres) would be ours, not the payload's.
  const { rows: ours } = await client.query(
    "select reason, convert_from(body, 'UTF8') as body from inbox.deliveries where reason ~ '^(42|P0|XX)' limit 3",
  );
  expect(ours).toEqual([]);
  const { rows: unexplained } = await client.query(
    "select * from inbox.deliveries where outcome = 'dead' and reason !~ '^[0-9A-Z]{5}: .'",
  );
  expect(unexplained).toEqual([]);
  const { rows: leaks } = await client.query(
    "select * from chatwoot.conversations where conversations::text like '%' || $1 || '%'",
    [`${CANARY}-pubsub-token`],
  );
  expect(leaks).toEqual([]);
});
