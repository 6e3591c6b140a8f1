// The mirror ends the same in whatever order, however often and over however many connections its news arrive.
import { isDeepStrictEqual } from "node:util";
import type { Client } from "pg";
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { useDatabase } from "../support/database.ts";
import { differencesFrom } from "../support/mirror-rows.ts";
import { mirror } from "./deliver.ts";

const inOrder = useDatabase();
const shuffled = useDatabase();

const EVENTS = Number(process.env.OCC_SHUFFLE_EVENTS ?? 10_000);
const CONVERSATIONS = EVENTS / 50;
const CONNECTIONS = 4;

interface Sent {
  id: string;
  event: ChatwootEvent;
}

/** Each delivery is a transaction of its own, as at the webhook door. Returns how often each outcome came. */
async function send(client: Client, deliveries: readonly Sent[]): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  for (const { id, event } of deliveries) {
    const { rows } = await client.query({
      name: "record",
      text: "select inbox.record(1, $1, $2, '{}', 'signature', $3) as outcome",
      values: [id, Buffer.from(event.body), event.at],
    });
    outcomes[rows[0].outcome] = (outcomes[rows[0].outcome] ?? 0) + 1;
  }
  return outcomes;
}

const add = (all: Record<string, number>[]) => {
  const sum: Record<string, number> = {};
  for (const counts of all) for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
};

function shuffle<Item>(items: readonly Item[], seed: number): Item[] {
  const random = createRandom(seed);
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.integer(0, last);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

test(`${EVENTS} events of ${CONVERSATIONS} conversations, shuffled and doubled, end as in order and once`, async () => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`shuffle: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
  const history = historyOf({ conversations: CONVERSATIONS, events: EVENTS, seed });
  const events = [...history.events];
  const once = events.map((event) => ({ id: event.deliveryId, event }));
  // Half of the second copies come under their own id, as when Chatwoot sends the same news twice.
  const copies = once.map(({ id, event }, index) => ({ id: index % 2 === 0 ? id : `again-${id}`, event }));
  const [single, ...several] = await Promise.all([
    inOrder.connect(),
    ...Array.from({ length: CONNECTIONS }, () => shuffled.connect()),
  ]);
  const mixed = shuffle([...once, ...copies], seed);

  const [plain, ...parts] = await Promise.all([
    send(single, once),
    ...several.map((client, index) => send(client, mixed.filter((_, place) => place % CONNECTIONS === index))),
  ]);

  const ignored = events.filter(({ name }) => name.startsWith("conversation_typing")).length;
  expect(plain).toEqual({ applied: EVENTS - ignored, ...(ignored > 0 ? { ignored } : {}) });
  const mixedOutcomes = add(parts);
  expect(mixedOutcomes.duplicate).toBe(EVENTS / 2);
  expect(mixedOutcomes.dead).toBeUndefined();
  const expected = await mirror(single);
  const found = await mirror(several[0]);
  for (const [table, rows] of Object.entries(expected)) {
    expect(rows.length, `rows of ${table}`).toBeGreaterThan(0);
    expect(
      rows.map((row, index) => [row, found[table][index]]).filter((pair) => !isDeepStrictEqual(pair[0], pair[1])),
      table,
    ).toEqual([]);
  }

  const truth = history.installation.finalState("webhooks");
  for (const client of [single, several[0]]) {
    // When an answer was first there, webhooks only tell roughly.
    const without = { csat_responses: ["first_answered_at"] };
    expect(await differencesFrom(truth, client, { without })).toEqual([]);
  }
}, 400_000);
