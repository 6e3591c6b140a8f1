// The REST door from end to end: Chatwoot over HTTP, the tick in SQL, the mirror compared with the source.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { type Chatwoot, minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const START = new Date("2026-11-20T07:00:00Z");
const days = (at: Date, number: number) => minutes(at, number * 24 * 60);

/** Lets things happen; returns an instant after them. */
function happen(options: { seed: number; conversations: number; events: number; from?: Date }): Date {
  const { installation } = door.chatwoot();
  const { from = START, ...rest } = options;
  for (const _event of historyOf({ ...rest, start: from, longestGap: 5_000, installation }).events);
  return minutes(new Date(installation.state.clock / 1000), 1);
}

/** One conversation with so many messages of its customer, a minute apart. */
function converse({ installation }: Chatwoot, { from = START, messages = 1 } = {}): { id: number; now: Date } {
  let now = minutes(from, 1);
  const contact = installation.newContact(now, {
    name: "Dana",
    email: `dana-${installation.nextNumber()}@example.com`,
  });
  const { id } = installation.newConversation(now, { contact: contact.id, inbox: "website" });
  for (let i = 0; i < messages; i++) installation.customerWrites(now = minutes(now, 1), id, { text: `Message ${i}` });
  return { id, now: minutes(now, 1) };
}

const onlyReads = (asked: { path: string }[]) => asked.filter(({ path }) => path.includes("/messages"));

describe("a new source", () => {
  test("is read whole: people, teams, inboxes, labels, survey answers, and every conversation", async () => {
    await door.begin({ seed: 1 });
    const now = happen({ seed: 1, conversations: 60, events: 900 });

    const asked = await door.during(() => door.settle(now));

    expect(await door.differences()).toEqual([]);
    expect(onlyReads(asked)).toHaveLength(60);
    expect(asked[0]).toMatchObject({ method: "HEAD", hasToken: false });
    expect(await door.source()).toMatchObject({
      backfill: null,
      backfill_done: "60",
      backfill_total: "60",
      refusals: {},
    });
    const [{ has_secret }] = await door.rows(
      "select bool_or(to_jsonb(rows)::text like '%REDACT%' or to_jsonb(rows)::text like '%password%') as has_secret from chatwoot.inboxes as rows",
    );
    expect(has_secret).toBe(false);
  });

  test("sends no more requests a minute than it may, and comes to the end all the same", async () => {
    await door.begin({ seed: 2 });
    await door.rows("select ops.set_setting(1, 'sync_requests_per_minute', '20')");
    let now = happen({ seed: 2, conversations: 40, events: 400 });

    for (let minute = 0; minute < 2; minute++, now = minutes(now, 1)) {
      expect(await door.during(() => door.tick(now))).toHaveLength(20);
      expect(await door.during(() => door.tick(now))).toEqual([]);
    }
    await door.settle(now);
    expect(await door.differences()).toEqual([]);
  });

  test("does not begin again where it stopped, when it goes on", async () => {
    await door.begin({ seed: 3 });
    await door.rows("select ops.set_setting(1, 'sync_requests_per_minute', '30')");
    const now = days(happen({ seed: 3, conversations: 60, events: 600 }), 5);

    const asked = await door.during(() => door.settle(now));
    const pages = asked.filter(({ path }) => path.includes("created_at_asc")).map(({ path }) => path.split("page=")[1]);
    expect(pages).toEqual(["1", "2", "3"]);
    expect(new Set(onlyReads(asked).map(({ path }) => path)).size).toBe(60);
    expect(onlyReads(asked)).toHaveLength(60);
    expect(await door.differences()).toEqual([]);
  });

  test("is read page by page once more when nobody looked for over a week", async () => {
    await door.begin({ seed: 4 });
    const settled = await door.settle(days(happen({ seed: 4, conversations: 30, events: 300 }), 4));
    const now = happen({ seed: 5, conversations: 10, events: 100, from: days(settled, 9) });

    const asked = await door.during(() => door.settle(days(now, 8)));
    expect(asked.filter(({ path }) => path.includes("created_at_asc")).length).toBeGreaterThan(1);
    // The thirty of before have not changed since they were read.
    expect(onlyReads(asked)).toHaveLength(10);
    expect(await door.differences()).toEqual([]);
  });

  test("at another address starts from the beginning", async () => {
    const { url } = await door.begin({ seed: 6 });
    const now = await door.settle(happen({ seed: 6, conversations: 10, events: 100 }));
    await door.rows("select api.set_rest_source(1, $1)", [url]);
    // Another server, so another token.
    await door.tick(minutes(now, 1));
    expect(await door.source()).toMatchObject({ state: "stopped", requests: expect.any(String) });
    await door.rows("select api.set_sync_token(1, $1)", [door.chatwoot().token]);

    await door.tick(minutes(now, 2));
    expect(await door.source()).toMatchObject({ base_url: url, backfill_done: "10", state: "active" });
  });
});

describe("what a tick costs", () => {
  test("with nothing new: one request, and no row of the mirror is written", async () => {
    await door.begin({ seed: 7 });
    const now = await door.settle(happen({ seed: 7, conversations: 30, events: 300 }));
    const written =
      "select sum(n_tup_ins + n_tup_upd + n_tup_del)::integer as n from pg_stat_user_tables where schemaname = 'chatwoot'";
    await door.rows("select pg_stat_force_next_flush()");
    const [before] = await door.rows(written);

    for (let minute = 1; minute <= 8; minute++) {
      const asked = await door.during(() => door.tick(minutes(now, minute)));
      expect(asked).toEqual([{ method: "GET", path: expect.stringContaining("updated_within=180"), hasToken: true }]);
    }
    expect(await door.rows(written)).toEqual([before]);
    expect(await door.rows("select outcome, requests from sync.runs order by run_id desc limit 8"))
      .toEqual(Array(8).fill({ outcome: "idle", requests: 1 }));
  });

  test("with 50 changed conversations: 60 requests at most", async () => {
    const { installation } = await door.begin({ seed: 8 });
    let now = await door.settle(happen({ seed: 8, conversations: 80, events: 800 }));
    for (const { displayId } of installation.conversations().slice(0, 50)) {
      installation.customerWrites(now = new Date(now.getTime() + 500), displayId, { text: "And one more thing" });
    }

    const asked = await door.during(async () => {
      for (let minute = 1; minute < 5; minute++) await door.tick(minutes(now, minute));
    });
    expect(await door.differences()).toEqual([]);
    expect(asked.length).toBeLessThanOrEqual(60);
  });
});

describe("a conversation", () => {
  test("of 350 messages is walked to its end", async () => {
    const chatwoot = await door.begin({ seed: 9 });
    const { id, now } = converse(chatwoot, { messages: 350 });

    const asked = await door.during(() => door.settle(now));
    expect(await door.rows("select from chatwoot.messages where conversation_display_id = $1", [id])).toHaveLength(350);
    expect(onlyReads(asked)).toHaveLength(4);
    expect(await door.differences()).toEqual([]);
  });

  test("that is quiet is looked at again less and less often, and not after two days", async () => {
    const chatwoot = await door.begin({ seed: 10 });
    const { now } = converse(chatwoot);
    await door.settle(now);
    const at: number[] = [];
    for (;;) {
      const [{ due }] = await door.rows<{ due: Date | null }>("select min(due_at) as due from sync.conversation_reads");
      if (due === null) break;
      expect(onlyReads(await door.during(() => door.tick(new Date(due.getTime() + 1000))))).toHaveLength(1);
      at.push((due.getTime() - now.getTime()) / 60_000);
    }

    expect(at.length).toBeGreaterThan(4);
    expect(at.length).toBeLessThan(9);
    expect(at[0]).toBeLessThan(16);
    expect(at.at(-1)).toBeGreaterThan(2 * 24 * 60 - 10);
    expect(at.at(-1)).toBeLessThan(2 * 24 * 60 + 10);
  });

  test("whose messages were edited, deleted and delivered in silence is put right", async () => {
    const chatwoot = await door.begin({ seed: 11 });
    const { installation } = chatwoot;
    const { id, now } = converse(chatwoot, { messages: 5 });
    const { id: reply } = installation.agentReplies(now, id, { agent: installation.agents[0], text: "One moment" });
    await door.settle(minutes(now, 1));
    const [first, second] = installation.conversation(id).messages;
    installation.editMessage(minutes(now, 2), first.id, "What I meant");
    installation.deleteMessage(minutes(now, 2), second.id);
    installation.deliveryStatus(minutes(now, 2), id, { status: "read" });

    for (let minute = 3; minute < 15; minute++) await door.tick(minutes(now, minute));
    expect(await door.differences()).toEqual([]);
    const rows = await door.rows(
      "select content, delivery_status, deleted_at from chatwoot.messages where message_id in ($1, $2) order by message_id",
      [second.id, reply],
    );
    expect(rows).toMatchObject([{ deleted_at: expect.any(Date) }, { delivery_status: "read" }]);
  });

  test("that is deleted is buried, a minute after it was first missed; one that answers again is not", async () => {
    const chatwoot = await door.begin({ seed: 12 });
    const { id } = converse(chatwoot);
    const other = converse(chatwoot, { from: minutes(START, 5) });
    const now = await door.settle(other.now);
    chatwoot.installation.deleteConversation(minutes(now, 1), id);
    let failures = 1;
    door.interfere((request, response) => {
      if (!request.url?.includes(`/conversations/${other.id}/messages`) || failures-- <= 0) return false;
      response.writeHead(404, { "content-type": "application/json", date: minutes(now, 12).toUTCString() }).end("{}");
      return true;
    });

    const buried = () =>
      door.rows("select display_id::integer, deleted_at from chatwoot.conversations where deleted_at is not null");
    await door.tick(minutes(now, 12));
    expect(await buried()).toEqual([]);
    await door.tick(minutes(now, 14));
    const [row] = await buried();
    expect(row).toMatchObject({ display_id: id });
    expect(Math.abs((row.deleted_at as Date).getTime() - minutes(now, 12).getTime())).toBeLessThan(2000);
    expect(failures).toBeLessThan(1);
    expect(await door.differences()).toEqual([]);
  });

  test("that was buried by mistake comes back", async () => {
    const chatwoot = await door.begin({ seed: 13 });
    const { id, now } = converse(chatwoot);
    await door.settle(now);
    await door.rows("select chatwoot.bury('conversation', 1, $1, $2)", [id, now]);

    await door.tick(minutes(now, 11));
    expect(await door.differences()).toEqual([]);
  });
});

describe("what no conversation tells of itself, however old it is", () => {
  test("an agent, a team and a label that go", async () => {
    const { installation } = await door.begin({ seed: 14 });
    const settled = await door.settle(days(happen({ seed: 14, conversations: 60, events: 900 }), 4));
    const assigned = installation.conversations().find(({ assignee }) => assignee?.kind === "User");
    const labelled = installation.conversations().find(({ labels }) => labels.length > 0);
    const inTeam = installation.conversations().find(({ team }) => team !== null);
    installation.removeAgent(minutes(settled, 1), assigned?.assignee?.id ?? 0);
    installation.deleteLabel(minutes(settled, 1), labelled?.labels[0] ?? "");
    installation.deleteTeam(minutes(settled, 1), inTeam?.team?.name ?? "");

    await door.tick(minutes(settled, 11));
    expect(await door.differences()).toEqual([]);
  });

  test("contacts that are merged: all messages are the other one's, and the first is gone", async () => {
    const chatwoot = await door.begin({ seed: 15 });
    const { installation } = chatwoot;
    const { id } = converse(chatwoot, { messages: 150 });
    const other = converse(chatwoot, { from: minutes(START, 200) });
    const settled = await door.settle(days(other.now, 4));
    const [from, into] = [id, other.id].map((display) => installation.conversation(display).contact.id);
    installation.mergeContacts(minutes(settled, 1), { into, from });

    await door.tick(minutes(settled, 2));
    await door.tick(minutes(settled, 4));
    expect(await door.differences()).toEqual([]);
    expect(await door.rows("select contact_id::integer from chatwoot.contacts where deleted_at is not null")).toEqual([{
      contact_id: from,
    }]);
  });

  test("a survey that is answered days later", async () => {
    const chatwoot = await door.begin({ seed: 16 });
    const { installation } = chatwoot;
    const { id, now } = converse(chatwoot);
    installation.resolve(now, id, { survey: true });
    const settled = await door.settle(days(now, 4));
    installation.rate(minutes(settled, 1), id, { rating: 4, feedback: "Quick" });

    await door.tick(minutes(settled, 11));
    expect(await door.differences()).toEqual([]);
    expect(await door.rows("select rating, feedback_message from chatwoot.csat_responses")).toEqual([{
      rating: 4,
      feedback_message: "Quick",
    }]);
  });
});

test.each([-3, 3])("clocks %i hours apart change nothing", async (hours) => {
  const { installation } = await door.begin({ seed: 17 });
  const ours = (at: Date) => minutes(at, hours * 60);
  let now = happen({ seed: 17, conversations: 20, events: 300 });
  const tick = async (at: Date) => {
    await door.save();
    door.chatwoot().setNow(at);
    await door.rows("call sync.tick_rest($1)", [ours(at)]);
  };
  await tick(now);
  for (let minute = 0; minute < 3; minute++) {
    for (const { displayId } of installation.conversations()) {
      installation.customerWrites(now = new Date(now.getTime() + 100), displayId, { text: `Again ${minute}` });
    }
    await tick(now = minutes(now, 1));
  }

  expect(await door.differences()).toEqual([]);
});

describe("a Chatwoot that means no good", () => {
  test("with a Date that is none keeps nobody waiting and loses nothing", async () => {
    await door.begin({ seed: 30 });
    const now = happen({ seed: 30, conversations: 5, events: 50 });
    door.interfere(async (request, response) => {
      const answer = await fetch(door.chatwoot().url + request.url, {
        method: request.method,
        headers: { "api-access-token": String(request.headers["api-access-token"] ?? "") },
      });
      response.writeHead(answer.status, {
        date: "Mon, 99 Foo 2026 10:00:00 GMT",
        "content-type": answer.headers.get("content-type") ?? "text/plain",
      }).end(Buffer.from(await answer.arrayBuffer()));
      return true;
    });

    await door.settle(now);

    expect(await door.source()).toMatchObject({ failures: 0, problem: null });
    expect(await door.differences()).toEqual([]);
  });

  test("learns nothing by redirects of what is open elsewhere", async () => {
    const seen: unknown[] = [];
    const open = createServer((_request, response) => response.end("ok"));
    await new Promise<void>((resolve) => open.listen(0, "127.0.0.1", resolve));
    const { port } = open.address() as AddressInfo;
    for (const target of [port, 1]) {
      await door.begin({ seed: 31 });
      door.interfere((request, response) => {
        if (request.method === "HEAD") response.writeHead(401).end();
        else response.writeHead(302, { location: `http://127.0.0.1:${target}/latest/meta-data/` }).end();
        return true;
      });
      await door.tick(minutes(START, 1));
      const { state, problem, hint, refusals } = await door.source();
      seen.push({ state, problem, hint, refusals });
    }
    open.close();

    expect(seen[0]).toMatchObject({ problem: expect.stringContaining("leads elsewhere") });
    expect(seen[1]).toEqual(seen[0]);
  });
});

test("a token that was set while the old one was refused is not stopped with it", async () => {
  const chatwoot = await door.begin({ seed: 32 });
  const now = await door.settle(minutes(START, 1));
  let refused = 0;
  door.interfere(async (request, response) => {
    if (request.headers["api-access-token"] === chatwoot.token) return false;
    if (++refused === 2) await door.rows("select api.set_sync_token(1, $1)", [chatwoot.token]);
    response.writeHead(401, { "content-type": "application/json" }).end('{"error":"Invalid Access Token"}');
    return true;
  });
  await door.rows("select api.set_sync_token(1, 'of-somebody-who-left')");

  await door.tick(minutes(now, 1));

  expect(refused).toBe(2);
  expect(await door.source()).toMatchObject({ state: "active" });
  await door.tick(minutes(now, 2));
  expect(await door.source()).toMatchObject({ state: "active", problem: null });
});
