// How drafts do: what is counted and what is not, how well accepted ones last, what a control says they save, and which
// gold replies people keep changing.
import { describe, expect, test } from "vitest";
import { type Sql, useDatabase } from "../support/database.ts";
import { Story } from "./drafts.support.ts";

const database = useDatabase();
const TEXT = "Your parcel arrives on Monday.";

/** A conversation whose draft was sent, accepted or in own words, resolved, and perhaps opened again and rated. */
async function settled(
  sql: Sql,
  { own = false, reopened = false, rating = null as number | null, labels = [] as string[] } = {},
) {
  const story = await new Story(sql).begin();
  const draft = await story.draft("10:00:10", await story.customer("10:00:00", "Where?"), TEXT);
  if (own) {
    await story.claim("10:01:00", draft);
    await story.agent("10:05:00", "Which order number is it, and what is the postcode?", { agent: 8 });
  } else {
    await story.claim("10:01:00", draft);
    await story.send("10:02:00", draft, TEXT);
  }
  await story.status("10:10:00", "resolved");
  if (reopened) {
    await story.customer("11:00:00", "Still nothing");
    await story.status("11:00:01", "open");
  }
  if (rating) {
    const survey = await story.message("10:10:01", "template", "Please rate", null);
    await sql.rows(
      "update chatwoot.messages set content_type = 'input_csat' where account_id = 1 and message_id = $1",
      [survey],
    );
    await sql.rows(
      `insert into chatwoot.csat_responses (account_id, message_id, conversation_display_id, rating, first_answered_at, version_at)
      values (1, $1, $2, $3, '2026-11-10T10:30:00Z', now())`,
      [survey, story.display, rating],
    );
    await story.workOff("10:30:00");
  }
  if (labels.length > 0) {
    await sql.rows("update chatwoot.conversations set labels = $2 where account_id = 1 and display_id = $1", [
      story.display,
      labels,
    ]);
    await sql.rows(
      `select ledger.observe(array(select row(seen.*)::chatwoot.conversations from (
        select * from chatwoot.conversations where account_id = 1 and display_id = $1) as seen))`,
      [story.display],
    );
    await story.workOff("10:40:00");
  }
  return { story, draft };
}

const performance = async (sql: Sql, by: string, columns: string) =>
  await sql.rows(`select value, arm, ${columns} from analytics.draft_performance where by = $1 order by arm, value`, [
    by,
  ]);

describe("analytics.draft_performance", () => {
  test("holds reopens and ratings after accepted drafts beside those after own words", () =>
    database.rolledBack(async (sql) => {
      for (const reopened of [false, false, false, true]) await settled(sql, { reopened });
      for (const reopened of [false, true]) await settled(sql, { own: true, reopened });
      await settled(sql, { rating: 5 });
      await settled(sql, { rating: 4 });
      await settled(sql, { own: true, rating: 2 });

      const [row] = await performance(
        sql,
        "account",
        `shown::int, accepted::int, accepted_resolved::int, round(reopen_rate_accepted::numeric, 4)::float as reopen_accepted,
          own_resolved::int, round(reopen_rate_own::numeric, 4)::float as reopen_own, accepted_rated::int, csat_accepted,
          own_rated::int, csat_own, acceptance_low = analytics.wilson_lower(6, 9) as low, acceptance_high = analytics.wilson_upper(6, 9) as high`,
      );

      expect(row).toEqual({
        value: null,
        arm: "shown",
        shown: 9,
        accepted: 6,
        accepted_resolved: 6,
        reopen_accepted: 0.1667,
        own_resolved: 3,
        reopen_own: 0.3333,
        accepted_rated: 2,
        csat_accepted: 1,
        own_rated: 1,
        csat_own: 0,
        low: true,
        high: true,
      });
    }));

  test("a resolve of the last three days says nothing yet, though it was opened again", () =>
    database.rolledBack(async (sql) => {
      const { draft } = await settled(sql, { reopened: true });
      await sql.rows(
        "update replies.drafts set resolved_at = now() - interval '1 day', reopened_at = now() where account_id = 1 and draft_id = $1",
        [draft],
      );

      expect(await performance(sql, "account", "accepted_resolved::int, reopen_rate_accepted")).toEqual([
        { value: null, arm: "shown", accepted_resolved: 0, reopen_rate_accepted: null },
      ]);
    }));

  test.each([["spam"], ["test"], ["imported"]])(
    "leaves out conversations labelled %s, and says how many",
    (label) =>
      database.rolledBack(async (sql) => {
        await settled(sql);
        await settled(sql, { labels: [label] });

        expect(await performance(sql, "account", "n_included::int, n_excluded::int, shown::int, used::int")).toEqual([
          { value: null, arm: "shown", n_included: 1, n_excluded: 1, shown: 1, used: 1 },
        ]);
        expect(await sql.rows("select excluded_as from analytics.drafts where excluded_as is not null")).toEqual([
          { excluded_as: label },
        ]);
      }),
  );

  test("leaves out what was deleted", () =>
    database.rolledBack(async (sql) => {
      const { story } = await settled(sql);
      await sql.rows("update chatwoot.conversations set deleted_at = now() where account_id = 1 and display_id = $1", [
        story.display,
      ]);
      await story.workOff("12:00:00");

      expect(await performance(sql, "account", "n_included::int, n_excluded::int")).toEqual([
        { value: null, arm: "shown", n_included: 0, n_excluded: 1 },
      ]);
    }));

  test("an undecided draft is in no rate", () =>
    database.rolledBack(async (sql) => {
      await settled(sql);
      const story = await new Story(sql).begin();
      await story.claim("10:01:00", await story.draft("10:00:10", await story.customer("10:00:00", "Where?"), TEXT));

      expect(
        await performance(sql, "account", "n_included::int, n_undecided::int, shown::int, eligible::int, acceptance"),
      ).toEqual([
        { value: null, arm: "shown", n_included: 2, n_undecided: 1, shown: 1, eligible: 1, acceptance: 1 },
      ]);
    }));

  test("is told by category, gold reply, agent, language and maker, and adds up", () =>
    database.rolledBack(async (sql) => {
      for (const own of [false, false, true]) await settled(sql, { own });
      await sql.rows(
        `update replies.drafts set category = (array['billing', 'shipping'])[1 + draft_id % 2], language = 'en'
        where account_id = 1`,
      );

      for (const by of ["category", "gold_reply", "agent", "language", "maker"]) {
        expect(
          await sql.rows(
            "select sum(shown)::int as shown, sum(accepted)::int as accepted from analytics.draft_performance where by = $1",
            [by],
          ),
          by,
        ).toEqual([{ shown: 3, accepted: 2 }]);
      }
      expect(await performance(sql, "agent", "name, accepted::int")).toEqual([
        { value: "7", arm: "shown", name: "Maria Costa", accepted: 2 },
        { value: "8", arm: "shown", name: "Ben Okafor", accepted: 0 },
      ]);
      expect(
        await performance(
          sql,
          "maker",
          "seconds_to_draft_p50, seconds_to_approve_p50, approved::int, approved_quickly::int",
        ),
      )
        .toEqual([{
          value: "model:test",
          arm: "shown",
          seconds_to_draft_p50: 10,
          seconds_to_approve_p50: 60,
          approved: 2,
          approved_quickly: 0,
        }]);
    }));

  test("a draft that was not there before the reply covers nothing", () =>
    database.rolledBack(async (sql) => {
      const { draft } = await settled(sql, { own: true });
      await sql.rows(
        "update replies.drafts set created_at = '2026-11-10T10:06:00Z' where account_id = 1 and draft_id = $1",
        [draft],
      );

      expect(await performance(sql, "account", "eligible::int, ready::int, coverage")).toEqual([
        { value: null, arm: "shown", eligible: 1, ready: 0, coverage: 0 },
      ]);
    }));
});

describe("with a control", () => {
  test("what abstained in one of its episodes is the control's, so that coverage is that of either side", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'draft_hold_out_percent', '50')");
      const expected = { hold_out: { eligible: 0, ready: 0 }, shown: { eligible: 0, ready: 0 } };
      for (let number = 0; number < 24; number++) {
        const story = await new Story(sql).begin();
        const confidence = number % 2 === 0 ? 0.9 : 0.1;
        await story.draft("10:00:10", await story.customer("10:00:00", "Where?"), TEXT, confidence);
        await story.agent("10:05:00", "Which order number is it?");
        const side = await sql.value<boolean>("select replies.is_held_out(1, $1, 1)", [story.display]);
        expected[side ? "hold_out" : "shown"].eligible += 1;
        expected[side ? "hold_out" : "shown"].ready += confidence > 0.5 ? 1 : 0;
      }
      expect(expected.hold_out.eligible - expected.hold_out.ready).toBeGreaterThan(0);

      expect(await performance(sql, "account", "eligible::int, ready::int")).toEqual([
        { value: null, arm: "hold_out", ...expected.hold_out },
        { value: null, arm: "shown", ...expected.shown },
      ]);
    }));
});

describe("analytics.draft_hold_out", () => {
  /** As many episodes on each side, with these seconds to the reply. */
  async function episodes(
    sql: Sql,
    arm: "shown" | "hold_out",
    seconds: number[],
    category = "shipping",
    day = "2026-11-10",
  ) {
    await sql.rows(
      `insert into replies.drafts (account_id, display_id, episode, customer_message_id, customer_message_at, waiting_since,
        question_fingerprint, created_at, maker, maker_version, state, reason, body, evidence, category, replied_at,
        resolved_at, outcome, outcome_at)
      select 1, base.first + number, 1, base.first + number, told.at, told.at, gen_random_uuid(), told.at + interval '2 seconds',
        'retrieval', '1', case $1 when 'hold_out' then 'held_out' else 'superseded' end,
        case $1 when 'hold_out' then null else 'answered' end, 'Text', '{}', $3, told.at + make_interval(secs => seconds),
        told.at + make_interval(secs => 10 * seconds), case $1 when 'shown' then 'superseded' end, told.at
      from unnest($2::double precision[]) with ordinality as given (seconds, number)
      cross join (select coalesce(max(display_id), 0) + 5000 as first from replies.drafts) as base
      cross join lateral (select $4::timestamptz + number * interval '1 minute' as at) as told`,
      [arm, seconds, category, `${day}T10:00:00Z`],
    );
  }
  const median = (values: number[]) => {
    const sorted = [...values].sort((one, other) => one - other);
    return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
  };
  const spread = (values: number[]) => {
    const sorted = [...values].sort((one, other) => one - other);
    const end = Math.max(1, Math.floor((sorted.length + 1) / 2 - 0.98 * Math.sqrt(sorted.length)));
    return (sorted[sorted.length - end] - sorted[end - 1]) / 3.92;
  };
  const numbers = (count: number, step: number, base: number) =>
    Array.from({ length: count }, (_, index) => base + (index * 37 % count) * step);

  test("medians, their difference and its interval", () =>
    database.rolledBack(async (sql) => {
      const shown = numbers(40, 5, 100);
      const held = numbers(35, 9, 200);
      await episodes(sql, "hold_out", held);
      await episodes(sql, "shown", shown.slice(0, 34));
      await episodes(sql, "shown", shown.slice(34));

      const [row] = await sql.rows("select * from analytics.draft_hold_out");

      const saved = median(held) - median(shown);
      const margin = 1.96 * Math.hypot(spread(held), spread(shown));
      expect(row).toMatchObject({
        category: "shipping",
        shown_n: "40",
        hold_out_n: "35",
        shown_reply_seconds_p50: median(shown),
        hold_out_reply_seconds_p50: median(held),
        seconds_saved: saved,
        shown_resolution_seconds_p50: median(shown) * 10,
        hold_out_resolution_seconds_p50: median(held) * 10,
      });
      expect(row.seconds_saved_low).toBeCloseTo(saved - margin, 6);
      expect(row.seconds_saved_high).toBeCloseTo(saved + margin, 6);
    }));

  test("says nothing of under thirty a side, nor of times without a control", () =>
    database.rolledBack(async (sql) => {
      await episodes(sql, "hold_out", numbers(29, 1, 100));
      await episodes(sql, "shown", numbers(28, 1, 100));
      await episodes(sql, "shown", numbers(50, 1, 100), "shipping", "2026-11-12");

      const [row] = await sql.rows(
        "select shown_n::int, hold_out_n::int, seconds_saved, seconds_saved_low from analytics.draft_hold_out",
      );

      expect(row).toEqual({ shown_n: 28, hold_out_n: 29, seconds_saved: null, seconds_saved_low: null });
    }));

  test("without a control there is no row", () =>
    database.rolledBack(async (sql) => {
      await episodes(sql, "shown", numbers(40, 1, 100));

      expect(await sql.rows("select from analytics.draft_hold_out")).toEqual([]);
    }));
});

describe("analytics.gold_reply_edits", () => {
  test("lists what people change, by version, newest edit first", () =>
    database.rolledBack(async (sql) => {
      const [{ gold_reply_id }] = await sql.rows(
        `insert into replies.gold_replies (account_id, title, body, language, status, version, origin, content_hash, proposed_at,
          proposed_by, decided_at, decided_by)
        values (1, 'Parcel', 'Text', 'en', 'approved', 2, 'seed', '', now(), 'x', now(), 'x') returning gold_reply_id`,
      );
      const sent = async (text: string, version: number) => {
        const story = await new Story(sql).begin();
        const draft = await story.draft("10:00:10", await story.customer("10:00:05", "Where?"), TEXT);
        await sql.rows("update replies.drafts set gold_reply_id = $2, gold_reply_version = $3 where draft_id = $1", [
          draft,
          gold_reply_id,
          version,
        ]);
        await story.send("10:02:00", draft, text, text);
        return draft;
      };
      await sent(TEXT, 1);
      const light = await sent("Your parcel arrives on Tuesday.", 1);
      const rewritten = await sent("It was lost, and I have sent another one today.", 1);
      await sent(TEXT, 2);

      const rows = await sql.rows(
        "select title, version, is_current, used::int, edited::int, rewritten::int, edits from analytics.gold_reply_edits",
      );

      expect(rows).toEqual([{
        title: "Parcel",
        version: 1,
        is_current: false,
        used: 3,
        edited: 2,
        rewritten: 1,
        edits: [
          expect.objectContaining({
            draft_id: rewritten,
            outcome: "heavy",
            draft: TEXT,
            sent: "It was lost, and I have sent another one today.",
          }),
          expect.objectContaining({ draft_id: light, outcome: "light", sent: "Your parcel arrives on Tuesday." }),
        ],
      }]);
    }));
});
