// The REST door against what goes wrong: webhooks that never come, answers of every bad kind, jobs that are killed.
import { describe, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { createRandom, type Random } from "../../local/chatwoot/random.ts";
import { deliver } from "../database/deliver.ts";
import { minutes, type RestDoor, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const START = new Date("2026-11-20T07:00:00Z");

/** Lets a history happen and delivers its webhooks as badly as told; returns the instant after all of it. */
async function happen(seed: number, { conversations = 25, events = 500, drop = 0.3, double = 0.1, gap = 10_000 } = {}) {
  const { installation } = door.chatwoot();
  const random = createRandom(seed * 7919);
  const history = historyOf({ conversations, events, seed, longestGap: gap, start: minutes(START, 5), silentChanges: true, installation });
  const sent: { at: number; event: ChatwootEvent }[] = [];
  for (const event of history.events) {
    if (random.chance(drop)) continue;
    const late = () => event.at.getTime() + random.integer(0, 300_000);
    sent.push({ at: late(), event });
    if (random.chance(double)) sent.push({ at: late(), event });
  }
  await deliverAll(sent.sort((one, other) => one.at - other.at).map(({ event }) => event));
  return minutes(new Date(installation.state.clock / 1000), 6);
}

async function deliverAll(events: ChatwootEvent[]) {
  for (const event of events) {
    const body = Buffer.from(event.body);
    await door.rows("select inbox.record(1, $1, $2, '{}', 'signature', $3, $3)", [event.deliveryId, body, event.at]);
  }
}

describe("30 % of the webhooks lost, 10 % doubled, all of them shuffled over minutes", () => {
  test.each([1, 2, 3, 4, 5])("seed %i: after two ticks the mirror is what Chatwoot holds", async (seed) => {
    await door.begin({ seed, start: START });
    await door.settle(minutes(START, 1));
    const now = await happen(seed);

    await door.tick(now);
    await door.tick(minutes(now, 2));

    expect(await door.differences()).toEqual([]);
  });
});
