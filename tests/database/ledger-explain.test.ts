// That an explanation adds up to the number it explains, exactly, for every metric, at any instant and by both clocks.
import fc from "fast-check";
import type { Client } from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { created, customer, human, NUMBERED, PLAIN, resolved, timeline } from "../fixtures/ledger-fixtures.ts";
import { member, useDatabase } from "../support/database.ts";
import { tellTimelines } from "../support/ledger-sql.ts";
import { timelines } from "../support/ledger-timelines.ts";
import { NINE_TO_FIVE } from "./ledger-calendars.support.ts";

const database = useDatabase();
const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const runs = Number(process.env.OCC_LEDGER_RUNS ?? 500);
/** Metrics asked of each timeline, in turn. */
const ASKED = 5;

interface Definition {
  metric: string;
  unit: string;
  conversation_rule: string | null;
}

/** What the counted parts of an explanation come to. */
interface Sum {
  metric: string;
  episode: number | null;
  parts: number;
  total: number | null;
  list: number[] | null;
  is_true: boolean | null;
  what: string | null;
  person: string | null;
  rating: string | null;
}

const UNMEASURED = {
  // Keys, and what an episode is, not how it went.
  episodes: "account_id display_id episode inbox_id team_id contact_id calendar_id".split(" "),
  conversations: "account_id display_id inbox_id contact_id assignee_id team_id calendar_id".split(" "),
};

/** Of each metric asked of a conversation: by episode, or of the whole conversation. */
const SUMS = `
  select asked.metric, explained.episode, count(*) filter (where is_counted)::integer as parts,
    (sum(sign * length) filter (where is_counted))::double precision as total,
    array_agg(length::double precision order by part) filter (where is_counted) as list,
    bool_and(sign = 1) filter (where is_counted) as is_true,
    (array_agg(what) filter (where is_counted))[1] as what,
    (array_agg(case when closed_by ->> 'kind' = 'assignee' then split_part(closed_by ->> 'value', ':', 2)
      else closed_by ->> 'actor_id' end) filter (where is_counted))[1] as person,
    (array_agg(closed_by ->> 'value') filter (where is_counted))[1] as rating
  from unnest($3::text[]) as asked (metric)
  cross join lateral (
    select case when not $5 then told.episode end as episode, told.part, told.what, told.sign, told.closed_by,
      case when $5 then told.counted_in_conversation else told.counted end as is_counted,
      case when asked.metric like '%\\_business' then told.seconds_business else told.seconds end as length
    from ledger.explain_metric($1, $2, asked.metric, $4) as told
  ) as explained
  group by asked.metric, explained.episode`;

/** The number that the counted parts say, as the definitions say to read them. */
function read(unit: string, sums: Sum | undefined): unknown {
  if (unit === "count") return sums?.parts ?? 0;
  if (sums === undefined || sums.parts === 0) return null;
  switch (unit) {
    case "seconds":
      return sums.total;
    case "list of seconds":
      return sums.list;
    case "true or false":
      return sums.is_true;
    case "class":
      return sums.what;
    default:
      return Number(unit === "rating" ? sums.rating : sums.person);
  }
}

const plain = (value: unknown): unknown => typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;

let client: Client;
let definitions: Map<string, Definition>;
let names: string[];
const told = [
  ...fc.sample(timelines(), { numRuns: runs, seed }),
  ...NUMBERED.map(({ events, options, readings }) => ({ events, options: { ...options, asOf: readings[0].asOf } })),
  // A night's wait, of which nothing is business time, and one of an hour in the morning.
  {
    events: timeline(
      ["2026-11-16T17:00:00", created("open"), customer],
      ["2026-11-17T06:00:00", human()],
      ["2026-11-17T09:00:00", customer],
      ["2026-11-17T10:00:00", human()],
    ),
    options: { ...PLAIN, asOf: Date.parse("2026-11-17T12:00:00Z") },
  },
];
// Long over, so that all of it lies before now.
const past = fc.sample(timelines({ base: Date.parse("2012-01-02T08:00:00Z"), longest: 30 }), {
  numRuns: Math.ceil(runs / 4),
  seed,
});
const fixtureNumber = (name: string) => runs + 1 + NUMBERED.findIndex((fixture) => fixture.name.startsWith(name));

beforeAll(async () => {
  client = await database.connect();
  await tellTimelines(client, told, 1);
  await tellTimelines(client, past, 2);
  for (const account of [1, 2]) {
    const { rows: [{ id }] } = await client.query(
      "select ledger.save_calendar($1, 'Day shift', 'Europe/Berlin', $2) as id",
      [account, JSON.stringify(NINE_TO_FIVE)],
    );
    await client.query("select ledger.use_calendar($1, 'account', 0, $2)", [account, id]);
  }
  const { rows } = await client.query<Definition>(
    "select metric, unit, conversation_rule from ledger.metric_definitions order by metric",
  );
  definitions = new Map(rows.flatMap((definition) => {
    const twin = `${definition.metric}_business`;
    return definition.unit.endsWith("seconds")
      ? [[definition.metric, definition], [twin, { ...definition, metric: twin }]]
      : [[definition.metric, definition]];
  }));
  names = [...definitions.keys()];
  await client.query("analyze");
}, 120_000);

const unitOf = (name: string) => definitions.get(name)?.unit ?? "";
const ruleOf = (name: string) => definitions.get(name)?.conversation_rule ?? null;
const seconds = (value: unknown) => typeof value === "number" ? Math.round(value * 1e6) / 1e6 : value;

describe("what is measured is defined:", () => {
  test.each(["episodes", "conversations"] as const)("%s", async (view) => {
    const { rows } = await client.query<{ name: string; type: string }>(
      `select attname as name, format_type(atttypid, null) as type from pg_attribute
      where attrelid = $1::regclass and attnum > 0`,
      [`analytics.${view}`],
    );
    const measured = rows.filter(({ name, type }) =>
      name === "ai_class" ||
      /^(bigint|integer|smallint|numeric|double precision|boolean)(\[\])?$/.test(type) &&
        !UNMEASURED[view].includes(name)
    ).map(({ name }) => name);
    const defined = names.filter((name) => view === "episodes" ? ruleOf(name) !== "only" : ruleOf(name) !== null);

    expect(measured.sort()).toEqual(defined.sort());
  });
});

describe(`what is counted adds up (seed ${seed}: OCC_TEST_SEED=${seed} repeats it):`, () => {
  test(`${runs} random timelines as of random instants, each episode`, async () => {
    const wrong: unknown[] = [];
    const seen = new Set<string>();
    for (const [index, { options }] of told.entries()) {
      const asOf = new Date(options.asOf);
      const asked = Array.from({ length: ASKED }, (_, turn) => names[(index * ASKED + turn) % names.length])
        .filter((name) => ruleOf(name) !== "only");
      const { rows: episodes } = await client.query(
        "select * from ledger.episodes_at(1, $1, null, array[$2::bigint])",
        [
          asOf,
          index + 1,
        ],
      );
      const { rows: sums } = await client.query<Sum>(SUMS, [1, index + 1, asked, asOf, false]);
      for (const episode of episodes) {
        for (const name of asked) {
          const found = read(unitOf(name), sums.find((sum) => sum.metric === name && sum.episode === episode.episode));
          const expected = plain(episode[name] ?? null);
          if (expected !== null && expected !== false && expected !== 0) seen.add(name);
          if (JSON.stringify(found) !== JSON.stringify(expected)) {
            wrong.push({ conversation: index + 1, name, episode: episode.episode, expected, found, asOf });
          }
        }
      }
    }

    expect(wrong).toEqual([]);
    // A short run may not meet everything.
    if (runs >= 2000) expect(names.filter((name) => !seen.has(name) && ruleOf(name) !== "only")).toEqual([]);
  }, 600_000);

  test(`${past.length} random timelines as they stand now, each conversation`, async () => {
    const wrong: unknown[] = [];
    const asked = names.filter((name) => ruleOf(name) !== null);
    await client.query("begin");
    await client.query(
      `select ledger.refresh(array(select row(account_id, display_id, null, null, '-infinity', now(), 0, null, null)::ledger.queue
        from chatwoot.conversations where account_id = 2))`,
    );
    const { rows: [{ now }] } = await client.query("select now()::text");
    for (const [index] of past.entries()) {
      const few = Array.from({ length: ASKED }, (_, turn) => asked[(index * ASKED + turn) % asked.length]);
      const { rows: [conversation] } = await client.query(
        "select * from analytics.conversations where account_id = 2 and display_id = $1",
        [index + 1],
      );
      const { rows: sums } = await client.query<Sum>(SUMS, [2, index + 1, few, now, true]);
      for (const name of few) {
        const found = seconds(read(unitOf(name), sums.find((sum) => sum.metric === name)));
        // What has no episode has no numbers at all.
        const expected = conversation.started_at === null ? found : seconds(plain(conversation[name] ?? null));
        if (JSON.stringify(found) !== JSON.stringify(expected)) {
          wrong.push({ conversation: index + 1, name, expected, found, events: past[index].events });
        }
      }
    }
    await client.query("rollback");

    expect(wrong).toEqual([]);
  }, 600_000);
});

/** An explanation in short, with times of day. */
async function explain(conversation: number, metric: string, asOf: string) {
  const { rows } = await client.query(
    `select counted, what, why, sign, seconds::double precision, seconds_business::double precision as business,
      calendar_seconds_clipped::double precision as clipped, to_char(started_at at time zone 'UTC', 'HH24:MI:SS') as began,
      to_char(ended_at at time zone 'UTC', 'HH24:MI:SS') as ended, opened_by ->> 'source_id' as opener,
      closed_by ->> 'class' as closer
    from ledger.explain_metric(1, $1, $2, $3) order by part`,
    [conversation, metric, asOf],
  );
  return rows;
}

describe("an explanation", () => {
  test("of frt names what counts, what does not and why (FX-01)", async () => {
    const parts = await explain(fixtureNumber("FX-01"), "frt", "2026-11-16T11:00:00Z");

    expect(
      parts.map(({ counted, what, why, began, ended, seconds }) => ({ counted, what, why, began, ended, seconds })),
    )
      .toEqual([
        {
          counted: true,
          what: "response",
          why: "from the customer's first message to the first message of a person",
          began: "09:00:00",
          ended: "09:25:00",
          seconds: 1500,
        },
        {
          counted: false,
          what: "note",
          why: "the customer does not see it",
          began: "09:10:00",
          ended: "09:10:00",
          seconds: null,
        },
        {
          counted: false,
          what: "automatic message",
          why: "written by no one",
          began: "09:12:00",
          ended: "09:12:00",
          seconds: null,
        },
        {
          counted: false,
          what: "wait",
          why: "measured by reply_time, not by frt",
          began: "10:00:00",
          ended: "10:45:00",
          seconds: 2700,
        },
      ]);
  });

  test("of frt after a bot begins at the hand-off and says so (FX-02)", async () => {
    const parts = await explain(fixtureNumber("FX-02"), "frt", "2026-11-16T10:30:00Z");

    expect(parts.filter(({ counted }) => counted)).toMatchObject([
      { why: "from the hand-off to the first message of a person", began: "10:04:00", ended: "10:19:00", seconds: 900 },
    ]);
    expect(parts.map(({ what }) => what)).toContain("hand-off");
  });

  test("of ttr_active takes off what was resolved in between (FX-03)", async () => {
    const parts = await explain(fixtureNumber("FX-03"), "ttr_active", "2026-11-03T10:00:00Z");

    expect(parts).toMatchObject([
      { counted: true, what: "whole", sign: 1, seconds: 86_400 },
      { counted: true, what: "state resolved", sign: -1, seconds: 79_200, why: "resolved in between: taken off" },
    ]);
  });

  test("says what the calendar took away", async () => {
    // Berlin opens at 08:00 UTC and closes at 16:00 UTC.
    const parts = await explain(fixtureNumber("FX-04"), "agent_work", "2026-11-16T17:00:00Z");

    expect(
      parts.filter(({ counted }) => counted).map(({ seconds, business, clipped }) => ({ seconds, business, clipped })),
    )
      .toEqual([
        { seconds: 3600, business: 3600, clipped: 0 },
        { seconds: 5400, business: 5400, clipped: 0 },
        { seconds: 1800, business: 0, clipped: 1800 },
      ]);
  });

  test("of the longest wait in business hours may name another one", async () => {
    const longest = async (metric: string) =>
      (await explain(told.length, metric, "2026-11-17T12:00:00Z")).filter(({ counted }) => counted)
        .map(({ seconds, business }) => ({ seconds, business }));

    expect(await longest("wait_longest")).toEqual([{ seconds: 46_800, business: 0 }]);
    expect(await longest("wait_longest_business")).toEqual([{ seconds: 3600, business: 3600 }]);
  });

  test("of null says why", async () => {
    expect(await explain(fixtureNumber("FX-05"), "frt", "2026-11-16T10:00:00Z")).toMatchObject([
      { counted: false, why: "we started it, so there is no first response" },
      { counted: false, why: "measured by reply_time, not by frt" },
    ]);
    expect(await explain(fixtureNumber("FX-05"), "bot_reply_time", "2026-11-16T10:00:00Z")).toMatchObject([
      { counted: false, why: "null: when no bot answered" },
    ]);
  });

  test("of an author names the one who wrote, not the one it was assigned to (FX-30)", async () => {
    const { rows } = await client.query(
      `select why, closed_by ->> 'actor_id' as author from ledger.explain_metric(1, $1, 'first_reply_author', $2)`,
      [fixtureNumber("FX-30"), "2026-11-16T11:00:00Z"],
    );

    expect(rows).toEqual([{ why: "the author of the message, whoever it was assigned to", author: "2" }]);
  });

  test("of fcr names the next episode of the same customer, in whichever conversation", async () => {
    const settled = timeline(["09:00:00", created("open"), customer], ["09:10:00", human()], ["09:20:00", resolved]);
    const again = timeline(["2026-11-18T09:00:00", created("open"), customer]);
    await tellTimelines(
      client,
      [settled, again, settled].map((events) => ({ events, options: { ...PLAIN, asOf: 0 } })),
      21,
    );
    await client.query(
      "update chatwoot.conversations set contact_id = case display_id when 3 then 8 else 7 end where account_id = 21",
    );
    await client.query("delete from ledger.queue where account_id = 21");
    await client.query(
      "select ledger.mark(21, number, walk_since => '-infinity') from generate_series(1, 3) as number",
    );
    while ((await client.query("select ledger.work_off() as done")).rows[0].done > 0);
    const at = async (asOf: string) =>
      (await client.query("select display_id::integer as id, fcr from ledger.episodes_at(21, $1) order by 1", [asOf]))
        .rows;

    expect(await at("2026-11-17T00:00:00Z")).toEqual([{ id: 1, fcr: null }, { id: 3, fcr: null }]);
    // What was known of other conversations on a certain day is not worked out, and so not told.
    const known =
      "select bool_and(fcr is null) as is_untold from ledger.episodes_at(21, '2026-11-23T09:20:00Z', now())";
    expect((await client.query(known)).rows).toEqual([{ is_untold: true }]);
    expect(await at("2026-11-18T09:00:00Z")).toEqual([{ id: 1, fcr: false }, { id: 2, fcr: null }, {
      id: 3,
      fcr: null,
    }]);
    expect(await at("2026-11-23T09:20:00Z")).toEqual([{ id: 1, fcr: false }, { id: 2, fcr: null }, {
      id: 3,
      fcr: true,
    }]);
    const { rows: [told] } = await client.query(
      "select counted, sign, why from ledger.explain_metric(21, 1, 'fcr', '2026-11-19T00:00:00Z')",
    );
    expect(told).toEqual({
      counted: true,
      sign: -1,
      why: "the customer began episode 1 of conversation 2 within 7 days",
    });
  });

  test("carries the version of its definition", async () => {
    await client.query("begin");
    await client.query("update ledger.metric_definitions set version = 7 where metric = 'frt'");
    const { rows } = await client.query(
      "select distinct rule, version from ledger.explain_metric(1, $1, 'frt_business', '2026-11-16T11:00:00Z')",
      [
        fixtureNumber("FX-01"),
      ],
    );
    await client.query("rollback");

    expect(rows).toEqual([{ rule: "frt", version: 7 }]);
  });
});

describe("over the API", () => {
  const EXPLAIN = "select * from api.explain_metric(1, $1, $2, $3)";
  const asOf = "2026-11-16T11:00:00Z";

  test("a viewer may ask, of their own account alone", () =>
    database.rolledBack(async (sql) => {
      const viewer = await member(sql, 1, "viewer");
      const stranger = await member(sql, 2, "admin");

      const parts = await sql.as(
        "authenticated",
        viewer,
        () => sql.rows(EXPLAIN, [fixtureNumber("FX-01"), "frt", asOf]),
      );
      const episodes = await sql.as(
        "authenticated",
        viewer,
        () =>
          sql.rows("select frt from api.episodes_at(1, $1, null, array[$2::bigint])", [asOf, fixtureNumber("FX-01")]),
      );

      expect(parts.map(({ seconds }) => Number(seconds))).toContain(1500);
      expect(episodes).toEqual([{ frt: 1500 }]);
      await sql.as("authenticated", stranger, async () => {
        await sql.throws("OC403", EXPLAIN, [1, "frt", asOf]);
        await sql.throws("OC403", "select * from api.episodes_at(1, $1)", [asOf]);
      });
      await sql.as("anon", null, () => sql.throws("42501", EXPLAIN, [1, "frt", asOf]));
    }));

  test.each([
    ["an unknown metric", "OC404", [1, "speed", asOf], 'There is no metric "speed"'],
    ["no metric", "OC404", [1, null, asOf], "There is no metric null"],
    ["business hours of a count", "OC404", [1, "turns_business", asOf], "turns_business"],
    ["an unknown conversation", "OC404", [999_999_999, "frt", asOf], "There is no conversation 999999999"],
    ["no instant", "OC422", [1, "frt", null], "as_of must be an instant from 1970 to 2100, not null"],
    ["never", "OC422", [1, "frt", "infinity"], "not infinity"],
  ])("%s is refused", (_name, code, values, message) =>
    database.rolledBack(async (sql) => {
      const error = await sql.throws(code, EXPLAIN, values);

      expect(error.message).toContain(message);
      expect(error.hint).toBeTruthy();
    }));

  test("everybody signed in reads the definitions", () =>
    database.rolledBack(async (sql) => {
      const rows = await sql.as("authenticated", await member(sql, 9, "viewer"), () =>
        sql.rows("select metric, unit, version from api.metric_definitions where metric = 'frt'"));

      expect(rows).toEqual([{ metric: "frt", unit: "seconds", version: 1 }]);
    }));
});
