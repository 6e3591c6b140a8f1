// The REST door against what goes wrong: webhooks that never come, answers of every bad kind, jobs that are killed.
import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { type Interference, minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const START = new Date("2026-11-20T07:00:00Z");

interface Happening {
  conversations?: number;
  events?: number;
  /** The share of webhooks that never come. */
  drop?: number;
  /** The share that comes twice. */
  double?: number;
  /** Milliseconds at most between one happening and the next. */
  gap?: number;
  from?: Date;
}

/** Lets a history happen and delivers its webhooks as badly as told; returns an instant after all of it. */
async function happen(seed: number, happening: Happening = {}) {
  const { conversations = 25, events = 500, drop = 0.3, double = 0.1, gap = 10_000, from = minutes(START, 5) } =
    happening;
  const { installation } = door.chatwoot();
  const random = createRandom(seed * 7919);
  const history = historyOf({
    ...{ conversations, events, seed, longestGap: gap, start: from },
    silentChanges: true,
    installation,
  });
  const sent: { at: number; event: ChatwootEvent }[] = [];
  for (const event of history.events) {
    if (random.chance(drop)) continue;
    const late = () => event.at.getTime() + random.integer(0, 300_000);
    sent.push({ at: late(), event });
    if (random.chance(double)) sent.push({ at: late(), event });
  }
  for (const { event } of sent.sort((one, other) => one.at - other.at)) {
    const body = Buffer.from(event.body);
    await door.rows("select inbox.record(1, $1, $2, '{}', 'signature', $3, $3)", [event.deliveryId, body, event.at]);
  }
  return minutes(new Date(installation.state.clock / 1000), 6);
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

describe("four hours without a webhook", () => {
  test("and without a tick: everything is found within 15 minutes", async () => {
    await door.begin({ seed: 6, start: START });
    await door.settle(minutes(START, 1));
    let now = await happen(6, { drop: 1, gap: 57_000, conversations: 40, events: 900 });
    expect(now.getTime()).toBeGreaterThan(minutes(START, 4 * 60).getTime());

    for (let minute = 0; minute < 15; minute++) await door.tick(now = minutes(now, 1));

    expect(await door.differences()).toEqual([]);
  });

  test("while it ticks: everything is found within 15 minutes", async () => {
    await door.begin({ seed: 7, start: START });
    let now = await door.settle(minutes(START, 1));
    for (let part = 0; part < 12; part++) {
      now = await happen(70 + part, { drop: 1, gap: 57_000, conversations: 4, events: 40, from: now });
      await door.tick(now);
    }
    expect(now.getTime()).toBeGreaterThan(minutes(START, 4 * 60).getTime());

    for (let minute = 0; minute < 15; minute++) await door.tick(now = minutes(now, 1));

    expect(await door.differences()).toEqual([]);
  });
});

const answer = (response: ServerResponse, status: number, type: string, body: string | Buffer) => {
  response.writeHead(status, { "content-type": type, date: new Date(START).toUTCString() }).end(body);
};
const JSON_TYPE = "application/json; charset=utf-8";
const elsewhere: { path: string; hasToken: boolean }[] = [];

// What an answer may be instead of what was asked for, and as what it is counted.
const FAULTS: Record<string, { kind: string; spoil: (response: ServerResponse) => void }> = {
  "500": {
    kind: "server_error",
    spoil: (to) => answer(to, 500, JSON_TYPE, '{"status":500,"error":"Internal Server Error"}'),
  },
  "429": { kind: "throttled", spoil: (to) => answer(to, 429, "text/plain", "Retry later\n") },
  "401": { kind: "unauthorized", spoil: (to) => answer(to, 401, JSON_TYPE, '{"error":"Invalid Access Token"}') },
  "404": { kind: "missing", spoil: (to) => answer(to, 404, JSON_TYPE, '{"error":"Resource could not be found"}') },
  "422": { kind: "client_error", spoil: (to) => answer(to, 422, JSON_TYPE, '{"error":"No"}') },
  "no answer": { kind: "timeout", spoil: () => {} },
  "a broken connection": { kind: "transport", spoil: (to) => to.destroy() },
  "a page in HTML": {
    kind: "wrong_content_type",
    spoil: (to) => answer(to, 200, "text/html", "<html>Maintenance</html>"),
  },
  "JSON called text": { kind: "wrong_content_type", spoil: (to) => answer(to, 200, "text/plain", "[]") },
  "truncated JSON": { kind: "not_json", spoil: (to) => answer(to, 200, JSON_TYPE, '{"data":{"payload":[{"id":1,') },
  "an empty answer": { kind: "not_json", spoil: (to) => answer(to, 200, JSON_TYPE, "") },
  "more than 10 MB": {
    kind: "too_large",
    spoil: (to) => answer(to, 200, JSON_TYPE, `{"payload":["${"x".repeat(10_600_000)}"]}`),
  },
  "bytes that are no UTF-8": {
    kind: "invalid_utf8",
    spoil: (to) => answer(to, 200, "application/json", Buffer.from('{"a":"\xff\xfe"}', "latin1")),
  },
  "another shape": { kind: "wrong_shape", spoil: (to) => answer(to, 200, JSON_TYPE, '"fine"') },
  "values of another kind": {
    kind: "wrong_shape",
    spoil: (to) => answer(to, 200, JSON_TYPE, '{"id":{},"data":{"payload":[{"id":"x"}]},"payload":[{"id":"x"}]}'),
  },
  "a redirect": {
    kind: "redirected",
    spoil: (to) => to.writeHead(302, { location: "/elsewhere", "content-type": "text/html" }).end(),
  },
};

const toElsewhere: Interference = (request, response) => {
  if (request.url !== "/elsewhere") return false;
  elsewhere.push({ path: "/elsewhere", hasToken: "api-access-token" in request.headers });
  answer(response, 200, JSON_TYPE, "{}");
  return true;
};

describe("one bad answer", () => {
  test.each(Object.entries(FAULTS))(
    "%s is refused, counted, said and tried again later",
    async (name, { kind, spoil }) => {
      const chatwoot = await door.begin({ seed: 8, start: START });
      let now = await door.settle(minutes(START, 1));
      chatwoot.installation.newContact(minutes(now, 1), { name: "New here" });
      const { rows_changed: before } = await door.source();
      let isSpoilt = false;
      door.interfere((request, response) => {
        if (toElsewhere(request, response)) return true;
        if (isSpoilt || !request.url?.includes("updated_within")) return false;
        isSpoilt = true;
        spoil(response);
        return true;
      });

      await door.tick(now = minutes(now, 2), name === "no answer" ? "1 second" : "10 seconds");

      const source = await door.source();
      expect(source.refusals).toMatchObject({ [kind]: 1 });
      expect(source.rows_changed).toBe(before);
      expect(source.state).toBe("active");
      // A refused token is asked about once more before a person is called; too long a list is read page by page. All
      // else waits, and says why.
      if (kind !== "unauthorized" && kind !== "too_large") {
        expect(source).toMatchObject({ failures: 1, problem: expect.any(String), hint: expect.any(String) });
        expect((source.retry_at as Date).getTime() - now.getTime()).toBeGreaterThan(23_000);
        expect((source.retry_at as Date).getTime() - now.getTime()).toBeLessThan(37_000);
        expect(`${source.problem} ${source.hint}`).not.toMatch(/updated_within|Maintenance|Retry later|xxx/);
        expect(await door.during(() => door.tick(new Date(now.getTime() + 20_000)))).toEqual([]);
      }
      await door.tick(now = minutes(now, 1));
      expect(await door.source()).toMatchObject({ failures: 0, problem: null, retry_at: null });
    },
  );
});

test("10 % of the answers bad at random: it rests, goes on, and ends equal", async () => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`bad answers: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
  await door.begin({ seed, start: START });
  const random = createRandom(seed);
  const faults = Object.values(FAULTS);
  let spoilt = 0;
  door.interfere((request, response) => {
    if (toElsewhere(request, response)) return true;
    if (!random.chance(0.1)) return false;
    spoilt++;
    random.pick(faults).spoil(response);
    return true;
  });
  let now = await happen(seed, { conversations: 80, events: 1600 });
  let resumed = 0;
  let left: unknown[] | undefined;
  const asked = await door.during(async () => {
    // How many requests a calm day takes varies with the seed, so it goes on until enough of them were spoilt.
    for (let minute = 0; (left?.length !== 0 || spoilt <= 20) && minute < 240; minute++) {
      const { retry_at } = await door.source();
      const during = await door.during(() => door.tick(now = minutes(now, 1), "3 seconds"));
      if (retry_at !== null && (retry_at as Date) > now) expect(during).toEqual([]);
      const { state } = await door.source();
      if (state === "stopped") {
        resumed++;
        await door.rows("select api.resume_sync(1, 'rest')");
      }
      if (minute > 20) left = await door.differences();
    }
  });

  expect(left).toEqual([]);
  expect(spoilt).toBeGreaterThan(20);
  expect(Object.keys((await door.source()).refusals as object).length).toBeGreaterThan(5);
  // Nothing is asked in a loop: about what a calm day takes, and each spoilt answer once or twice more.
  expect(asked.length).toBeLessThan(80 * 5 + spoilt * 5 + 200);
  // Two 401 or two redirects in a row call a person; by chance that is rare.
  expect(resumed).toBeLessThan(4);
}, 400_000);

describe("a token that Chatwoot refuses", () => {
  const refuse: Interference = (_request, response) => {
    answer(response, 401, JSON_TYPE, '{"error":"Invalid Access Token"}');
    return true;
  };

  test.each(["resume_sync", "set_sync_token"])("stops the source and raises an alert, until %s", async (mend) => {
    const chatwoot = await door.begin({ seed: 10, start: START });
    const now = await door.settle(minutes(START, 1));
    door.interfere(refuse);

    // Asked once more, in case it was a mishap.
    const asked = await door.during(() => door.tick(minutes(now, 1)));
    expect(asked).toHaveLength(2);
    expect(await door.source()).toMatchObject({ state: "stopped", problem: expect.stringContaining("401") });
    expect(await door.rows("select kind, subject, message, hint from ops.alerts where resolved_at is null")).toEqual([{
      kind: "sync.stopped",
      subject: "rest",
      message: "The sync through the rest door has stopped: Chatwoot does not know the token (401).",
      hint: expect.stringContaining("api.set_sync_token"),
    }]);
    expect(await door.during(() => door.tick(minutes(now, 60)))).toEqual([]);

    door.interfere(null);
    await door.rows(
      mend === "resume_sync"
        ? "select api.resume_sync(1, 'rest')"
        : `select api.set_sync_token(1, '${chatwoot.token}')`,
    );
    const [probe] = await door.during(() => door.tick(minutes(now, 61)));
    expect(probe).toMatchObject({ method: "HEAD", hasToken: false });
    expect(await door.source()).toMatchObject({ state: "active", problem: null });
    expect(await door.rows("select from ops.alerts where resolved_at is null")).toEqual([]);
  });

  test("that is not there stops it before anything is asked", async () => {
    await door.begin({ seed: 10, start: START });
    await door.rows("delete from vault.secrets where true");

    expect(await door.during(() => door.tick(minutes(START, 1)))).toEqual([]);
    expect(await door.source()).toMatchObject({
      state: "stopped",
      problem: "There is no Chatwoot token for this account.",
    });
  });
});

describe("a base URL that leads elsewhere", () => {
  test("stops the source before the token was sent anywhere", async () => {
    await door.begin({ seed: 11, start: START });
    door.interfere((_request, response) => {
      response.writeHead(301, { location: "/elsewhere" }).end();
      return true;
    });

    const asked = await door.during(() => door.tick(minutes(START, 1)));
    expect(asked).toMatchObject([{ method: "HEAD", hasToken: false }]);
    expect(await door.source()).toMatchObject({
      state: "stopped",
      hint: expect.stringContaining("api.set_rest_source"),
    });
  });

  test("later and always stops it too, after one request that could not be held back", async () => {
    await door.begin({ seed: 11, start: START });
    const now = await door.settle(minutes(START, 1));
    elsewhere.length = 0;
    door.interfere((request, response) => {
      if (toElsewhere(request, response)) return true;
      response.writeHead(302, { location: "/elsewhere" }).end();
      return true;
    });

    for (let minute = 1; minute < 10; minute++) await door.tick(minutes(now, minute));
    expect(await door.source()).toMatchObject({ state: "stopped" });
    expect(elsewhere).toHaveLength(1);
  });

  test("is checked again when it is used", async () => {
    await door.begin({ seed: 11, start: START });
    await door.rows("select ops.set_setting(1, 'sync_private_hosts', 'false')");

    expect(await door.during(() => door.tick(minutes(START, 1)))).toEqual([]);
    expect(await door.source()).toMatchObject({ state: "stopped", problem: expect.stringMatching(/^The base URL/) });
  });
});

describe("one conversation that cannot be read", () => {
  const reads = (path: string | undefined, id: number) => path?.includes(`/conversations/${id}/messages`) === true;

  test("keeps no other waiting, rests longer each time, and is read once it can be", async () => {
    await door.begin({ seed: 12, start: START });
    let now = await happen(12, { conversations: 20, events: 300 });
    const [id] = door.chatwoot().installation.conversations().map(({ displayId }) => displayId);
    door.interfere((request, response) => {
      if (!reads(request.url, id)) return false;
      answer(response, 200, JSON_TYPE, '{"payload":[{"id":"x"}]}');
      return true;
    });
    await door.tick(now = minutes(now, 1));
    await door.tick(now = minutes(now, 2));

    const { messages, activities } = door.chatwoot().installation.conversation(id);
    const own = new Set([...messages, ...activities].map((message) => String(message.id)));
    const differences = await door.differences();
    expect(differences.length).toBeGreaterThan(0);
    expect(differences.filter(({ key }) => !own.has(key))).toEqual([]);
    expect(await door.rows("select display_id, problem from sync.conversation_reads where failures > 0")).toEqual([
      { display_id: String(id), problem: expect.stringContaining("22P02") },
    ]);
    const asked = await door.during(async () => {
      for (let minute = 0; minute < 30; minute++) await door.tick(now = minutes(now, 1));
    });
    expect(asked.filter(({ path }) => reads(path, id)).length).toBeLessThan(8);

    door.interfere(null);
    // It rests 18 minutes at most.
    for (let minute = 0; minute < 19; minute++) await door.tick(now = minutes(now, 1));
    expect(await door.differences()).toEqual([]);
  });

  test("at once, since its messages are too large, is read in small portions", async () => {
    const chatwoot = await door.begin({ seed: 13, start: START });
    const { installation } = chatwoot;
    const contact = installation.newContact(minutes(START, 1), { name: "Newsletter" });
    const { id } = installation.newConversation(minutes(START, 2), { contact: contact.id, inbox: "email" });
    for (let i = 0; i < 70; i++) installation.customerWrites(minutes(START, 3 + i), id, { text: `Letter ${i}` });
    door.interfere((request, response) => {
      if (!reads(request.url, id) || !request.url?.includes("after=")) return false;
      FAULTS["more than 10 MB"].spoil(response);
      return true;
    });

    await door.settle(minutes(START, 80));
    expect(await door.differences()).toEqual([]);
    expect(await door.rows("select from chatwoot.messages where conversation_display_id = $1", [id])).toHaveLength(70);
  });
});

test("killed at 50 random points, it goes on and ends equal", async () => {
  await door.begin({ seed: 14, start: START });
  let now = await happen(14, { conversations: 60, events: 1200 });
  const random = createRandom(14);
  let killed = 0;
  for (let point = 0; point < 50; point++) {
    const client = new pg.Client({ connectionString: door.url() });
    client.on("error", () => {});
    await client.connect();
    const { rows: [{ pid }] } = await client.query("select pg_backend_pid() as pid");
    now = minutes(now, 1);
    await door.save();
    door.chatwoot().setNow(now);
    const ticking = client.query("call sync.tick_rest($1)", [now]).then(() => false, () => true);
    await sleep(random.integer(0, 60));
    await door.rows("select pg_terminate_backend($1)", [pid]);
    if (await ticking) killed++;
    await client.end().catch(() => {});
  }
  expect(killed).toBeGreaterThan(20);

  now = await door.settle(minutes(now, 1));
  await door.tick(minutes(now, 12));
  expect(await door.differences()).toEqual([]);
});

test("what is answered after it was paused is not wanted any more", async () => {
  const chatwoot = await door.begin({ seed: 18, start: START });
  const now = await door.settle(minutes(START, 1));
  const { id: contact } = chatwoot.installation.newContact(minutes(now, 1), { name: "New here" });
  chatwoot.installation.newConversation(minutes(now, 1), { contact, inbox: "website" });
  door.interfere(async (request) => {
    if (request.url?.includes("updated_within")) await door.rows("select api.pause_sync(1, 'rest')");
    return false;
  });

  const asked = await door.during(() => door.tick(minutes(now, 2)));
  expect(asked.length).toBeLessThan(3);
  expect(await door.source()).toMatchObject({ state: "paused" });
  expect(await door.during(() => door.tick(minutes(now, 30)))).toEqual([]);
  door.interfere(null);
  await door.rows("select api.resume_sync(1, 'rest')");
  await door.tick(minutes(now, 31));
  expect(await door.differences()).toEqual([]);
});

describe("two ticks, two sources", () => {
  test("a tick that finds another at work ends at once", async () => {
    await door.begin({ seed: 15, start: START });
    let release = () => {};
    let isHeld: () => void = () => {};
    const held = new Promise<void>((resolve) => isHeld = resolve);
    door.interfere((_request, response) => {
      release = () => answer(response, 200, JSON_TYPE, "");
      isHeld();
      return true;
    });
    const first = door.tick(minutes(START, 1));
    await held;

    expect(await door.during(() => door.tick(minutes(START, 1)))).toEqual([]);
    expect(await door.rows("select from sync.runs")).toEqual([]);
    door.interfere(null);
    release();
    await first;
    expect(await door.source()).toMatchObject({ problem: null });
  });

  test("a source that answers nothing does not cost the other its turn", async () => {
    const chatwoot = await door.begin({ seed: 16, start: START });
    await door.rows("select ops.set_setting(2, 'sync_private_hosts', 'true')");
    await door.rows("select api.set_sync_token(2, $1)", [chatwoot.token]);
    await door.rows(
      "insert into sync.sources (account_id, door, base_url) select 2, 'rest', base_url from sync.sources",
    );
    await door.rows("update sync.sources set last_attempt_at = $1 where account_id = 1", [START]);
    door.interfere((request) => request.url?.includes("/accounts/2/") === true);

    await door.tick(minutes(START, 1), "12 seconds");
    expect(
      await door.rows(
        "select account_id, last_success_at is not null as is_well, refusals from sync.sources order by 1",
      ),
    )
      .toEqual([{ account_id: "1", is_well: true, refusals: {} }, {
        account_id: "2",
        is_well: false,
        refusals: { timeout: 1 },
      }]);
  });
});

test("the token is in no row, no log line and no error", async () => {
  const chatwoot = await door.begin({ seed: 17, start: START });
  const random = createRandom(17);
  const now = await happen(17, { conversations: 8, events: 80 });
  door.interfere((request, response) => {
    if (toElsewhere(request, response)) return true;
    if (!random.chance(0.3)) return false;
    random.pick(Object.values(FAULTS).filter(({ kind }) => kind !== "timeout")).spoil(response);
    return true;
  });
  for (let minute = 1; minute < 20; minute++) {
    await door.tick(minutes(now, minute * 15));
    await door.rows("select api.resume_sync(1, 'rest')");
  }
  const admin = new URL(door.url());
  admin.username = "supabase_admin";
  const client = new pg.Client({ connectionString: admin.href });
  await client.connect();
  try {
    const { rows: relations } = await client.query(
      `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
       where relkind in ('r', 'm', 'v') and nspname not in ('information_schema', 'pg_toast')
         and relname not in ('pg_statistic_ext_data', 'pg_hba_file_rules', 'pg_ident_file_mappings', 'decrypted_secrets')`,
    );
    const reversed = [...chatwoot.token].reverse().join("");
    const searches = relations.map(({ name }) =>
      `select '${name}' as found where exists (select from ${name} as t where position(reverse('${reversed}') in t::text) > 0)`
    );
    expect((await client.query(searches.join(" union all "))).rows).toEqual([]);
  } finally {
    await client.end();
  }
  expect(door.log.join("\n")).not.toContain(chatwoot.token);
});
