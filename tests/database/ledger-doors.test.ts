// From the doors to the numbers: whatever the order, however often and by whichever door news come, the ledger ends the
// same, and as Chatwoot really was.
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { createInstallation } from "../../local/chatwoot/installation.ts";
import { openMemory } from "../../local/chatwoot/memory.ts";
import { useDatabase } from "../support/database.ts";
import {
  drawSeeds,
  type Field,
  FIELDS,
  ledger,
  logged,
  once,
  queued,
  record,
  refreshAll,
  shuffle,
  type Step,
  type Truth,
  unlike,
  watch,
} from "./ledger-doors.support.ts";
import { deliverBadly, setSource, source, tick } from "./sync-database.support.ts";

const START = new Date("2026-11-20T07:00:00Z");
const later = (instant: Date, seconds: number) => new Date(instant.getTime() + seconds * 1000);
const MILLISECOND = 1_000;
const SECOND = 1_000_000;

/**
 * Where the log is not as it was: other values, or other instants than that. Chatwoot's older assignment loses the
 * webhook of an opening; only the next payload shows it. `isUnseen` tells of openings whose next payload was lost as
 * well: those may be noticed at any time before the next change.
 */
function wrongSteps(
  truth: Truth,
  log: Truth,
  fields: readonly Field[],
  { tolerance, isUnseen = () => false }: {
    tolerance: number;
    isUnseen?: (conversation: string, at: number) => boolean;
  },
): unknown[] {
  const wrong: unknown[] = [];
  for (const [conversation, steps] of truth) {
    for (const field of fields) {
      const real = steps[field];
      const told = log.get(conversation)?.[field] ?? [];
      // What nothing is at the beginning is no event.
      const empty = field !== "status" && ["", "[]"].includes(real[0].value) ? 1 : 0;
      const expected = real.slice(empty);
      const isNear = ({ at, value }: Step, found: Step, index: number) => {
        const isOpening = field === "status" && value === "open";
        if (Math.abs(found.at - at) <= (index + empty === 0 || isOpening ? SECOND : tolerance)) return true;
        const next = expected[index + 1]?.at ?? Infinity;
        return isOpening && isUnseen(String(conversation), at) && found.at > at && found.at < next;
      };
      const isRight = expected.length === told.length &&
        expected.every((step, index) => step.value === told[index].value && isNear(step, told[index], index));
      if (!isRight) wrong.push({ conversation, field, real, told });
    }
  }
  return wrong.slice(0, 3);
}

for (const [index, seed] of drawSeeds("ledger-doors", 3).entries()) {
  // A busy hour, a day, and weeks: by the seed, so that a printed one repeats its own.
  const longestGap = [90_000, 900_000, 7_200_000][seed % 3];
  const inOrder = useDatabase();
  const shuffled = useDatabase();

  test(`shuffled and doubled ends as in order and once, and as it really was (${index + 1})`, async () => {
    const { truth, onWrite } = watch();
    const installation = createInstallation({ seed, start: START, onWrite });
    const events = [
      ...historyOf({ conversations: 20, events: 900, seed, start: START, longestGap, installation }).events,
    ];
    const copies = once(events).map((sent, place) =>
      place % 2 === 0 ? sent : { ...sent, deliveryId: `again-${sent.deliveryId}` }
    );
    const [plain, mixed] = await Promise.all([inOrder.connect(), shuffled.connect()]);
    await Promise.all([
      record(plain, once(events)),
      record(mixed, shuffle([...once(events), ...copies], seed)),
    ]);
    for (const client of [plain, mixed]) {
      expect((await queued(client)).filter(({ problem }) => problem !== null)).toEqual([]);
      await client.query("call ledger.tick()");
      expect(await queued(client)).toEqual([]);
    }
    const expected = await ledger(plain);
    expect(expected.events.length).toBeGreaterThan(300);
    expect(unlike(expected, await ledger(mixed))).toEqual([]);
    expect(wrongSteps(truth, await logged(plain), FIELDS, { tolerance: MILLISECOND })).toEqual([]);

    // Read again, or made again from the beginning, it stays what it is.
    for (const client of [plain, mixed]) {
      const before = await ledger(client, { isExact: true });
      await client.query("select inbox.replay(1)");
      expect(unlike(before, await ledger(client, { isExact: true }))).toEqual([]);
      await client.query("set timezone = 'Asia/Kathmandu'");
      await client.query("set datestyle = 'SQL, DMY'");
      await refreshAll(client);
      await client.query("reset timezone");
      await client.query("reset datestyle");
      expect(unlike(before, await ledger(client, { isExact: true }))).toEqual([]);
    }
  });

  const stepwise = useDatabase();

  test(`after every single delivery it is as if made from the beginning (${index + 1})`, async () => {
    const client = await stepwise.connect();
    const events = [...historyOf({ conversations: 4, events: 250, seed, start: START, longestGap }).events];
    for (const sent of shuffle(once(events), seed + 1)) {
      await record(client, [sent]);
      const { conversation } = sent.event;
      if (conversation === null) continue;
      const followed = await ledger(client, { conversation });
      await client.query("begin");
      await refreshAll(client, conversation);
      const again = await ledger(client, { conversation });
      await client.query("rollback");
      expect(unlike(followed, again), sent.event.body).toEqual([]);
    }
  });

  const behind = useDatabase();

  test(`with 30 % lost, the database door brings what is missing (${index + 1})`, async () => {
    const client = await behind.connect();
    const { truth, onWrite } = watch();
    const memory = await openMemory({ url: behind.url, installationOptions: { seed, start: START, onWrite } });
    const { events, installation } = historyOf({
      conversations: 15,
      events: 800,
      seed,
      start: START,
      longestGap,
      silentChanges: true,
      installation: memory.installation,
    });
    await setSource(client);
    let now = START;
    for (let isDone = false; !isDone;) {
      const drawn = [];
      while (drawn.length < 200 && !isDone) {
        const next = events.next();
        if (next.done) isDone = true;
        else drawn.push(next.value);
      }
      if (drawn.length > 0) now = later(drawn.at(-1)!.at, 30);
      await deliverBadly(client, drawn, { seed });
      await memory.save();
      await tick(client, now);
      now = later(now, 60);
      await client.query("call ledger.tick($1)", [now]);
    }
    await tick(client, now);
    await client.query("call ledger.tick($1)", [now]);
    await memory.close();
    expect(await source(client)).toMatchObject({ problem: null });
    expect(await queued(client)).toEqual([]);

    const log = await logged(client);
    for (const id of truth.keys()) if (!installation.has(id)) truth.delete(id);
    // Chatwoot notes every change of a status, a moment after it, but for an opening that its older assignment loses.
    const { rows: notes } = await client.query(
      `select conversation_display_id as conversation, (extract(epoch from created_at) * 1000000)::float8 as at
      from chatwoot.messages where message_type = 'activity' and content_attributes #>> '{activity,status}' = 'open'`,
    );
    const isUnseen = (conversation: string, at: number) =>
      !notes.some((note) => note.conversation === conversation && Math.abs(note.at - at) <= SECOND);
    expect(wrongSteps(truth, log, ["status"], { tolerance: SECOND, isUnseen })).toEqual([]);
    const ends = (steps: Record<Field, Step[]> | undefined) =>
      Object.fromEntries(FIELDS.map((field) => [field, steps?.[field].at(-1)?.value || "[]"]));
    for (const [id, steps] of truth) expect(ends(log.get(id)), `conversation ${id}`).toEqual(ends(steps));

    const before = await ledger(client, { isExact: true });
    await refreshAll(client);
    expect(unlike(before, await ledger(client, { isExact: true }))).toEqual([]);
  });
}
