// Laws no ledger may break, on the database, each over thousands of random conversations: as doors tell them, through the
// mirror, the evidence and the real refresh; and as a log, as of random instants.
import fc from "fast-check";
import type { Client } from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { createRandom } from "../../local/chatwoot/random.ts";
import { useDatabase } from "../support/database.ts";
import { readLedger } from "../support/ledger-reference.ts";
import { fromReference, fromRow, tellTimelines } from "../support/ledger-sql.ts";
import { timelines } from "../support/ledger-timelines.ts";
import {
  type Difference,
  differing,
  disturb,
  type Evidence,
  evidenceOf,
  type Piece,
  refreshSome,
  tellPieces,
  workOff,
} from "./ledger-properties.support.ts";

const SEED = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
const RUNS = Number(process.env.OCC_LEDGER_RUNS ?? 2000);
const BASE = Date.parse("2018-01-08T08:00:00Z");
const WEEK = [1, 2, 3, 4, 5].map((weekday) => ({ weekday, start_minute: 540, end_minute: 1020 }));

const database = useDatabase();
let client: Client;

/** An account with a calendar. */
async function openAccount(id: number): Promise<void> {
  await client.query("insert into chatwoot.accounts (account_id, version_at) values ($1, now())", [id]);
  await client.query(
    "select ledger.use_calendar($1, 'account', 0, ledger.save_calendar($1, 'Office', 'Europe/Berlin', $2, '[]', null, $3))",
    [id, JSON.stringify(WEEK), new Date(BASE)],
  );
}

const rowsOf = async (text: string, values: unknown[] = []) => (await client.query(text, values)).rows;

/** That two queries of one column give the same rows, and how many; else some that only one of them gives. */
async function expectSame(one: string, other: string, values: unknown[] = []): Promise<number> {
  const [{ all, only_one, only_other }] = await rowsOf(
    `with one as materialized (${one}), other as materialized (${other})
    select (select count(*)::integer from one) as all,
      (select jsonb_agg(few) from (table one except all table other limit 2) as few) as only_one,
      (select jsonb_agg(few) from (table other except all table one limit 2) as few) as only_other`,
    values,
  );
  expect({ only_one, only_other }).toEqual({ only_one: null, only_other: null });
  return all;
}

/** P7 of rows of analytics.episodes. */
async function expectStatesAddUp(episodes: string): Promise<void> {
  const sum = (b: string) => `agent_work${b} + agent_wait${b} + on_hold${b} + bot_phase${b}`;
  const [{ wrong, resolved, mixed, reopened }] = await rowsOf(
    `with told as materialized (select * from ${episodes})
    select (select coalesce(jsonb_agg(few), '[]') from (select * from told
        where (ttr_active is null) <> (ttr_full is null) or abs(ttr_active - (${sum("")})) > 1e-6
          or abs(ttr_active_business - (${sum("_business")})) > 1e-6
          or abs(requester_wait - (agent_work + on_hold)) > 1e-6
          or abs(requester_wait_business - (agent_work_business + on_hold_business)) > 1e-6
          or ttr_active > ttr_full + 1e-6 or ttr_active_business > ttr_full_business + 1e-6
        order by resolutions limit 2) as few) as wrong,
      count(ttr_active)::integer as resolved, count(*) filter (where ttr_active < ttr_full)::integer as reopened,
      count(*) filter (where ttr_active > 0 and greatest(agent_work, agent_wait, on_hold, bot_phase) < ttr_active)::integer
        as mixed
    from told`,
  );
  expect(wrong).toEqual([]);
  // Well below the third and the tenth that these are of many, for a run of a few hundred.
  expect(resolved).toBeGreaterThan(RUNS / 5);
  expect(mixed).toBeGreaterThan(RUNS / 50);
  expect(reopened).toBeGreaterThan(RUNS / 50);
}

/** P9 of rows of analytics.episodes. Returns how many are of each class. */
async function expectClassesPartition(episodes: string): Promise<Record<string, number>> {
  const [{ wrong, involved, uninvolved, classes }] = await rowsOf(
    `with told as materialized (select * from ${episodes})
    select (select coalesce(jsonb_agg(few), '[]') from (select * from told
        where ai_involved is null or (ai_class is not null) <> ai_involved
          or (ai_involved and not ai_eligible) or (ai_answered and not ai_involved) or (ai_eligible and is_outbound)
          -- What only one class can be.
          or (ai_class = 'claimed_resolved' and (not ai_answered or first_resolved_at is null))
          or (ai_class = 'abandoned' and (ai_answered or first_resolved_at is null))
          or (ai_class = 'handed_off' and handed_off_at is null)
          or (ai_class = 'assisted' and human_replies = 0)
          or (ai_class = 'open' and human_replies > 0)
        limit 2) as few) as wrong,
      count(*) filter (where ai_involved)::integer as involved,
      count(*) filter (where not ai_involved)::integer as uninvolved,
      (select jsonb_object_agg(ai_class, episodes) from (
        select ai_class, count(*)::integer as episodes from told where ai_class is not null group by ai_class) as counted)
        as classes
    from told`,
  );
  expect(wrong).toEqual([]);
  const every = ["abandoned", "assisted", "claimed_resolved", "handed_off", "open"];
  // The rarest is one in seventy.
  if (RUNS >= 1000) expect(Object.keys(classes).sort()).toEqual(every);
  else expect(every).toEqual(expect.arrayContaining(Object.keys(classes)));
  expect(Object.values<number>(classes).reduce((sum, one) => sum + one, 0)).toBe(involved);
  expect(uninvolved).toBeGreaterThan(0);
  return classes;
}

beforeAll(async () => {
  client = await database.connect();
  await client.query("set statement_timeout = 0");
  console.log(`ledger-properties: seed ${SEED} (OCC_TEST_SEED=${SEED} repeats it, OCC_LEDGER_RUNS=20000 runs long)`);
});

describe(`${RUNS} random conversations as doors tell them`, () => {
  const told = fc.sample(timelines({ base: BASE, longest: 12 }), { numRuns: RUNS, seed: SEED });
  const rules = new Map<string, number>();
  const evidence = told.map((timeline, index): Evidence => {
    const { episodeGap, durable, hasBot } = timeline.options;
    const rule = JSON.stringify([episodeGap, durable, hasBot]);
    if (!rules.has(rule)) rules.set(rule, rules.size + 1);
    return evidenceOf(timeline, index + 1, rules.get(rule) as number, SEED + index);
  });

  async function openCounted(account: number): Promise<void> {
    await openAccount(account);
    for (const [rule, inbox] of rules) {
      await client.query("insert into ledger.rules values ($1, $2, $3, $4, $5)", [account, inbox, ...JSON.parse(rule)]);
    }
  }

  /** What differs, and the shortest conversation that does, with all that was told of it. */
  function expectNone(differences: Difference[], lists: readonly Piece[][]): void {
    const [first] = differences;
    if (first) expect({ ...first, pieces: lists[first.display_id - 1] }).toEqual({ ...first, one: first.other });
  }

  const inOrder = evidence.map(({ pieces }) => pieces);

  beforeAll(async () => {
    await openCounted(1);
    await tellPieces(client, 1, inOrder);
    await workOff(client);
  }, 240_000);

  test("are worth telling: they end as the reference says wherever all of it is told", async () => {
    const asOf = Date.parse("2018-03-01T12:00:00Z");
    const rows = await rowsOf("select * from ledger.episodes_at(1, $1) order by display_id, episode", [new Date(asOf)]);
    const byConversation = new Map<number, Record<string, unknown>[]>();
    // The reference is asked by the calendar's clock alone.
    const plain = (episode: Record<string, unknown>) =>
      Object.fromEntries(Object.entries(episode).filter(([name]) => !name.endsWith("_business")));
    for (const row of rows) {
      const display = Number(row.display_id);
      byConversation.set(display, [...byConversation.get(display) ?? [], plain(fromRow(row))]);
    }
    let whole = 0;
    for (const { display_id, truth, isWhole } of evidence) {
      if (!isWhole) continue;
      whole++;
      const { options } = told[display_id - 1];
      const episodes = readLedger(truth, { ...options, asOf }).episodes.map((episode) => plain(fromReference(episode)));
      expect({ truth, episodes: byConversation.get(display_id) ?? [] }).toEqual({ truth, episodes });
    }
    expect(whole).toBeGreaterThan(RUNS / 10);
  });

  describe("told in disorder", () => {
    const lists: Piece[][] = [];
    const then = { asOf: new Date(BASE + 40 * 86_400_000), learntBy: "", said: [] as unknown[] };
    // Asked in the past, what one ledger knew; fcr is asked of what is known now.
    const known = async (learntBy: string | null) =>
      (await rowsOf(
        `select to_jsonb(told) - 'fcr' as row from ledger.episodes_at(2, $1, $2) as told order by display_id, episode`,
        [then.asOf, learntBy],
      )).map(({ row }) => row);

    beforeAll(async () => {
      const random = createRandom(SEED);
      await openCounted(2);
      lists.push(...evidence.map(({ pieces }) => disturb(pieces, random)));
      const waiting = lists.map((list) => [...list]);
      for (let round = 1; waiting.some((list) => list.length > 0); round++) {
        await tellPieces(client, 2, waiting.map((list) => list.splice(0, random.integer(0, 8))));
        await refreshSome(client, 2, random);
        if (round === 3) {
          await workOff(client);
          then.said = await known(null);
          then.learntBy = (await rowsOf("select now()::text as now"))[0].now;
        }
      }
      await workOff(client);
    }, 240_000);

    test("P1: in any order and batches, with repeats and refreshes in between, they end as told once", async () => {
      expectNone(await differing(client, [1, 2]), lists);
      expect(await rowsOf("select * from ledger.queue")).toEqual([]);
      const [{ unlearnt, times }] = await rowsOf(
        `select count(*) filter (where unlearnt_at is not null)::integer as unlearnt,
          count(distinct learnt_at)::integer as times from ledger.events where account_id = 2`,
      );
      expect(unlearnt).toBeGreaterThan(RUNS / 4);
      expect(times).toBeGreaterThan(5);
    });

    test("P3: what was known at an instant can still be asked when more is known", async () => {
      const displays = new Set(then.said.map((row) => (row as { display_id: number }).display_id));
      const now = await known(then.learntBy);
      // Of a conversation whose own record came later nothing was said.
      const found = now.filter((row) => displays.has(row.display_id));
      expect(displays.size).toBeGreaterThan(RUNS / 4);
      const wrong = then.said.findIndex((row, index) => JSON.stringify(row) !== JSON.stringify(found[index]));
      expect(found[wrong]).toEqual(then.said[wrong]);
      expect(found).toHaveLength(then.said.length);
      expect(JSON.stringify(await known(null))).not.toBe(JSON.stringify(now));
    });
  });

  test("P2: told all over again, and refreshed again, nothing moves, not even in the log", async () => {
    const stored = () =>
      rowsOf(
        `select 'event ' || to_jsonb(rows)::text as row from ledger.events as rows where account_id = 1
        union all select 'episode ' || to_jsonb(rows)::text from ledger.episodes as rows where account_id = 1
        union all select 'span ' || to_jsonb(rows)::text from ledger.spans as rows where account_id = 1
        union all select 'conversation ' || (to_jsonb(rows) - 'refreshed_at')::text from ledger.conversations as rows
          where account_id = 1
        order by 1`,
      );
    const before = await stored();

    await tellPieces(client, 1, inOrder);
    await workOff(client);
    await client.query(
      `select ledger.mark(account_id, display_id, '-infinity', '-infinity', '-infinity')
      from chatwoot.conversations where account_id = 1`,
    );
    await workOff(client);

    const after = await stored();
    expect(before.length).toBeGreaterThan(RUNS * 5);
    const only = (these: { row: string }[], those: { row: string }[]) => {
      const known = new Set(those.map(({ row }) => row));
      return these.filter(({ row }) => !known.has(row)).map(({ row }) => row);
    };
    expect({ gone: only(before, after), come: only(after, before) }).toEqual({ gone: [], come: [] });
    expect(after).toHaveLength(before.length);
  }, 240_000);

  test("P13: a note, an activity line or a failed message anywhere changes no clock", async () => {
    const random = createRandom(SEED);
    await openCounted(3);
    const noisy = evidence.map(({ display_id, pieces, truth }) => {
      const from = truth[0].at;
      const added = Array.from({ length: random.integer(1, 3) }, (_, index): Piece => {
        // At the very instants of what happened, between them and after them.
        const at = random.chance(0.4)
          ? random.pick(truth).at
          : random.integer(from, truth[truth.length - 1].at + 86_400_000);
        const created_at = new Date(at).toISOString();
        // Before or after those of the same instant.
        const message_id = display_id * 1000 + random.pick([0, 900]) + index;
        const ours = { message_type: "outgoing", sender_kind: "user", sender_id: random.integer(1, 3), private: false };
        const told = random.pick([
          { ...ours, private: true },
          { ...ours, private: true, delivery_status: "failed", delivery_status_at: created_at },
          { ...ours, sender_kind: "agent_bot", private: true, content: "Shall I?" },
          { message_type: "incoming", private: true, sender_kind: "contact", sender_id: display_id },
          { ...ours, delivery_status: "failed", delivery_status_at: created_at },
          { ...ours, sender_kind: "agent_bot", delivery_status: "failed", delivery_status_at: created_at },
          { message_type: "activity", private: false },
          { message_type: "activity", private: false, content_attributes: { activity: { type: "assignee_changed" } } },
        ]);
        const shared = { message_id, conversation_display_id: display_id, content_type: "text", content: "Added" };
        return {
          kind: "message",
          key: message_id,
          at,
          told: { ...shared, created_at, version_at: created_at, ...told },
        };
      });
      return [...pieces, ...added];
    });
    // Half of it comes when all else is there.
    await tellPieces(client, 3, noisy.map((list, index) => index % 2 === 0 ? list : inOrder[index]));
    await workOff(client);
    await tellPieces(client, 3, noisy.map((list, index) => index % 2 === 0 ? [] : list));
    await workOff(client);

    const tables = ["episodes", "spans", "conversations", "numbers"] as const;
    expectNone(await differing(client, [1, 3], { tables: [...tables], without: ["notes", "last_event_at"] }), noisy);
    const [{ notes, failed }] = await rowsOf(
      `select count(*) filter (where class = 'note')::integer as notes,
        count(*) filter (where class = 'failed')::integer as failed from ledger.events where account_id = 3`,
    );
    expect(notes).toBeGreaterThan(RUNS / 2);
    expect(failed).toBeGreaterThan(RUNS / 4);
  }, 240_000);

  test("P7: state times, bot phase included, sum to ttr_active, and to ttr_full when never reopened", async () => {
    await expectStatesAddUp("analytics.episodes where account_id = 1");
    // And the sums are those of the spans, which a reader is shown.
    expect(
      await rowsOf(
        `select episodes.display_id, episodes.episode from analytics.episodes
        left join lateral (
          select sum(extract(epoch from ended_at - started_at)) as seconds,
            sum(extract(epoch from ended_business_at - started_business_at)) as business
          from ledger.spans where spans.account_id = 1 and spans.display_id = episodes.display_id
            and spans.episode = episodes.episode and spans.kind = 'state' and spans.value <> 'resolved'
        ) as states on true
        where account_id = 1 and ttr_active is not null
          and (abs(coalesce(states.seconds, 0) - ttr_active) > 1e-6 or abs(coalesce(states.business, 0) - ttr_active_business) > 1e-6)`,
      ),
    ).toEqual([]);
  });

  test(
    "P9: the classes of the AI's part are a partition of the episodes it had a part in, also when counted",
    async () => {
      const { open, ...classes } = await expectClassesPartition("analytics.episodes where account_id = 1");
      const [counted] = await rowsOf(
        `select sum(claimed_resolved)::integer as claimed_resolved, sum(handed_off)::integer as handed_off,
        sum(assisted)::integer as assisted, sum(abandoned)::integer as abandoned, sum(undecided)::integer as undecided,
        sum(involved)::integer as involved from analytics.ai_outcomes where account_id = 1`,
      );
      const involved = Object.values(classes).reduce((sum, one) => sum + one, open);
      expect(counted).toEqual({ ...classes, undecided: open, involved });
    },
    240_000,
  );

  test("a whole account asked at once is each conversation asked alone, and now it is what is stored", async () => {
    const past = "'2018-03-01T12:00:00Z'::timestamptz";
    const all = await expectSame(
      `select to_jsonb(told) as row from ledger.episodes_at(1, ${past}) as told`,
      // Every eighth alone, the others by name.
      `select to_jsonb(told) as row from (
        select array_agg(display_id) as named from chatwoot.conversations where account_id = 1
        group by case when display_id % 8 = 0 then display_id end
      ) as asked cross join lateral ledger.episodes_at(1, ${past}, null, asked.named) as told`,
    );
    expect(all).toBeGreaterThan(RUNS / 2);
    await expectSame(
      "select to_jsonb(told) as row from ledger.episodes_at(1, now()) as told",
      "select to_jsonb(told) as row from analytics.episodes as told where account_id = 1",
    );
  }, 240_000);
});

describe(`${RUNS} random logs as of random instants`, () => {
  const told = fc.sample(timelines({ base: BASE, longest: 20 }), { numRuns: RUNS, seed: SEED + 1 });
  // Two conversations of a customer are asked for one instant, since the one's next episode is the other's fcr.
  const instants = told.map((_, index) => told[index - index % 2].options.asOf);
  const values = [told.map((_, index) => index + 1), instants.map((at) => new Date(at))];

  beforeAll(async () => {
    for (const account of [11, 12]) await openAccount(account);
    await tellTimelines(client, told, 11);
    const known = told.map(({ events, options }, index) => ({
      events: events.filter((event) => event.at <= instants[index]),
      whole: events,
      options,
    }));
    await tellTimelines(client, known, 12);
    // What is not told yet has no rules: both are counted by those of the whole.
    await client.query("delete from ledger.rules where account_id = 12");
    await client.query(
      `insert into ledger.rules select 12, inbox_id, episode_gap_seconds, durable_seconds, has_bot
      from ledger.rules where account_id = 11`,
    );
    await client.query(
      `update chatwoot.conversations as told set contact_id = (told.display_id + 1) / 2, inbox_id = whole.inbox_id
      from chatwoot.conversations as whole
      where told.account_id in (11, 12) and whole.account_id = 11 and whole.display_id = told.display_id`,
    );
    await client.query("delete from ledger.queue");
    await client.query(
      `select ledger.mark(account_id, display_id, walk_since => '-infinity')
      from chatwoot.conversations where account_id in (11, 12)`,
    );
    await workOff(client);
    for (const account of [11, 12]) {
      await client.query(
        `create temporary table answers_${account} as select told.*
        from unnest($1::bigint[], $2::timestamptz[]) as asked (display_id, as_of)
        cross join lateral ledger.episodes_at(${account}, asked.as_of, null, array[asked.display_id]) as told`,
        values,
      );
    }
  }, 240_000);

  test("P3: the result at an instant is that of a ledger that knows of nothing after it", async () => {
    const answers = (account: number) =>
      `select to_jsonb(told) - '{account_id,calendar_id}'::text[] as row from answers_${account} as told`;
    expect(await expectSame(answers(11), answers(12))).toBeGreaterThan(RUNS / 2);
    expect(await rowsOf("select distinct fcr from answers_11 where fcr is not null")).toHaveLength(2);
  });

  test("P3: what is stored of that ledger is what a walk of the whole log up to the instant makes", async () => {
    const row = `to_jsonb(told) - '{account_id,calendar_id,waiting_event,bot_waiting_event,state_event,holder_event,
      opened_by,closed_by}'::text[] as row`;
    const all = await expectSame(
      `with walked as materialized (
        select told.* from unnest($1::bigint[], $2::timestamptz[]) as asked (display_id, as_of)
        cross join lateral ledger.walk(ledger.requests(array[row(11, asked.display_id, null, null, '-infinity', now(), 0,
          null, null)::ledger.queue], asked.as_of), asked.as_of) as told
      )
      select ${row} from walked cross join lateral unnest(walked.episodes) as told
      union all select ${row} from walked cross join lateral unnest(walked.spans) as told`,
      `select ${row} from ledger.episodes as told where account_id = 12
      union all select ${row} from ledger.spans as told where account_id = 12`,
      values,
    );
    expect(all).toBeGreaterThan(RUNS);
  });

  test("P7: state times, bot phase included, sum to ttr_active at any instant", () => expectStatesAddUp("answers_11"));

  test("P9: the classes of the AI's part are a partition at any instant", async () => {
    await expectClassesPartition("answers_11");
  });
});
