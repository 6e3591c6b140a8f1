// The REST door from end to end: Chatwoot over HTTP, the tick in SQL, the mirror compared with the source.
import { beforeAll, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
beforeAll(() => door.begin({ seed: 1 }));
let now = new Date("2026-11-20T12:00:00Z");

test("the first ticks bring everything there is", async () => {
  const { installation } = door.chatwoot();
  const history = historyOf({ conversations: 60, events: 900, seed: 1, longestGap: 10_000, installation });
  for (const _event of history.events);
  now = minutes(new Date(Math.floor(installation.state.clock / 1000)), 1);

  const requests = await door.during(async () => {
    now = await door.settle(now);
  });

  expect(await door.differences()).toEqual([]);
});

test("a tick with nothing new is one request", async () => {
  const requests = await door.during(() => door.tick(now = minutes(now, 1)));

  expect(requests).toHaveLength(1);
});
