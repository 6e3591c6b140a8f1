// The proof through the REST door: what api.verify_sync finds in a mirror that was damaged, and that it is right afterwards.
import { describe, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const START = new Date("2026-11-10T07:00:00Z");
const days = (number: number) => minutes(START, number * 24 * 60);

/** A source whose history is read, long enough ago that nothing of it is looked at again by itself. */
async function quiet(seed: number, { conversations = 40, events = 500 } = {}): Promise<Date> {
  const { installation } = await door.begin({ seed, start: START });
  // Conversations come up all along the way: a few days' worth.
  for (
    const _event of historyOf({ conversations, events, seed, start: START, longestGap: 900_000, installation }).events
  );
  return await door.settle(days(10));
}

// What api.verify_sync calls, at an instant of the test's own.
const ask = (at: Date, since: Date, until: Date) =>
  door.rows("select * from sync.verify(1, $1, $2, $3) order by day, entity", [since, until, at]);

async function verified(now: Date, { since = START, until = days(10) } = {}) {
  await ask(now, since, until);
  let at = now;
  for (let minute = 0; minute < 60; minute++) {
    await door.tick(at = minutes(at, 1));
    const [{ is_left }] = await door.rows(
      "select exists (select from sync.verifications where finished_at is null) as is_left",
    );
    if (is_left === false) return await ask(at, since, until);
  }
  throw new Error(JSON.stringify(await door.rows("select * from sync.verifications")));
}

const total = (rows: Record<string, unknown>[], entity: string, column: string) =>
  rows.filter((row) => row.entity === entity).reduce((sum, row) => sum + Number(row[column]), 0);

describe("a comparison", () => {
  test("of a whole mirror finds it equal, every day, row for row", async () => {
    const now = await quiet(1);
    const { installation } = door.chatwoot();

    const rows = await verified(now);
    expect(rows.length).toBeGreaterThanOrEqual(6);
    expect(rows.every((row) => row.state === "done" && row.is_equal === true && row.differing === "0")).toBe(true);
    expect(total(rows, "conversations", "source_rows")).toBe(installation.conversations().length);
    expect(total(rows, "messages", "source_rows")).toBe(installation.finalState("rest").messages.length);
    expect(total(rows, "messages", "mirror_rows")).toBe(installation.finalState("rest").messages.length);
    expect(await door.rows("select from api.sync_differences")).toEqual([]);
  });

  test("of a damaged one lists each row, heals it, and is equal the next time", async () => {
    const now = await quiet(2);
    const { installation } = door.chatwoot();
    const [one, two, three, four] = installation.conversations().filter(({ messages }) => messages.length > 3);
    const gone = installation.conversations().find((other) => ![one, two, three, four].includes(other));
    installation.deleteConversation(now, gone?.displayId ?? 0);
    await door.rows("delete from chatwoot.messages where message_id = $1", [one.messages[1].id]);
    await door.rows(
      "update chatwoot.messages set content = 'Never said', delivery_status = 'failed' where message_id = $1",
      [two.messages[0].id],
    );
    await door.rows("update chatwoot.conversations set labels = '{stray}', status = 'pending' where display_id = $1", [
      three.displayId,
    ]);
    await door.rows("update chatwoot.contacts set name = 'Nobody', version_at = $2 where contact_id = $1", [
      four.contact.id,
      days(4000),
    ]);
    await door.rows("delete from chatwoot.csat_responses where conversation_display_id = $1", [four.displayId]);
    await door.rows("delete from chatwoot.messages where conversation_display_id = $1", [four.displayId]);
    await door.rows("delete from chatwoot.conversations where display_id = $1", [four.displayId]);

    const rows = await verified(now);
    expect(await door.differences()).toEqual([]);
    const found = await door.rows(
      "select entity, id::integer, kind, fields, is_healed from api.sync_differences order by entity, id",
    );
    expect(found.filter(({ is_healed }) => is_healed !== true)).toEqual([]);
    expect(found).toContainEqual({
      entity: "messages",
      id: one.messages[1].id,
      kind: "missing",
      fields: null,
      is_healed: true,
    });
    expect(found).toContainEqual({
      entity: "messages",
      id: two.messages[0].id,
      kind: "different",
      fields: ["content", "delivery_status"],
      is_healed: true,
    });
    expect(found).toContainEqual({
      entity: "conversations",
      id: three.displayId,
      kind: "different",
      fields: ["labels", "status"],
      is_healed: true,
    });
    expect(found).toContainEqual({
      entity: "contacts",
      id: four.contact.id,
      kind: "different",
      fields: ["name"],
      is_healed: true,
    });
    expect(found).toContainEqual({
      entity: "conversations",
      id: four.displayId,
      kind: "missing",
      fields: null,
      is_healed: true,
    });
    expect(found).toContainEqual({
      entity: "conversations",
      id: gone?.displayId,
      kind: "surplus",
      fields: null,
      is_healed: true,
    });
    expect(rows.some((row) => row.differing !== "0")).toBe(true);
    expect(rows.every((row) => row.is_equal === true)).toBe(true);

    const again = await verified(minutes(now, 120), { until: minutes(days(10), -1) });
    expect(again.every((row) => row.differing === "0")).toBe(true);
    expect(await door.rows("select from ops.alerts where resolved_at is null")).toEqual([]);
  });

  test("of a day in the middle asks for no more than it needs", async () => {
    const now = await quiet(3, { conversations: 120, events: 1000 });
    const { installation } = door.chatwoot();
    const began = installation.conversations().map(({ createdAt }) => createdAt / 1000).sort((a, b) => a - b);
    const [since, until] = [new Date(began[60]), new Date(began[70])];

    const asked = await door.during(() => verified(now, { since, until }));
    const pages = asked.filter(({ path }) => path.includes("created_at_asc"));
    expect(pages.length).toBeLessThan(4);
    expect(asked.filter(({ path }) => path.includes("/messages")).length).toBeLessThan(13);
  });

  test("is taken up again after a kill, and counts nothing twice", async () => {
    const now = await quiet(4);
    const random = createRandom(4);
    await ask(now, START, days(10));
    await door.rows("select ops.set_setting(1, 'sync_requests_per_minute', '10')");
    let minute = 0;
    for (; minute < 40; minute++) {
      const ticking = door.tick(minutes(now, minute)).catch(() => {});
      if (random.chance(0.5)) {
        await new Promise((resolve) => setTimeout(resolve, random.integer(0, 60)));
        await door.rows(
          "select pg_terminate_backend(pid) from pg_stat_activity where query like 'call sync.tick_rest%' and pid <> pg_backend_pid()",
        );
      }
      await ticking;
    }
    await door.rows("select ops.set_setting(1, 'sync_requests_per_minute', '2000')");

    const rows = await verified(minutes(now, minute));
    expect(total(rows, "conversations", "source_rows")).toBe(door.chatwoot().installation.conversations().length);
    expect(total(rows, "messages", "source_rows")).toBe(
      door.chatwoot().installation.finalState("rest").messages.length,
    );
    expect(rows.every((row) => row.differing === "0")).toBe(true);
  });

  test("that gets no usable answer ends and says so", async () => {
    const now = await quiet(5);
    door.interfere((request, response) => {
      if (!request.url?.includes("created_at_asc")) return false;
      response.writeHead(200, { "content-type": "text/html" }).end("<html>");
      return true;
    });
    let at = now;
    await ask(now, START, days(10));
    for (let minute = 0; minute < 120; minute++) await door.tick(at = minutes(at, 1));

    expect(await door.rows("select state, problem from sync.verifications")).toEqual([
      { state: "failed", problem: expect.stringContaining("wrong_content_type") },
    ]);
  });
});
