// Whose waits were, what is open and how old it is, and rates with their intervals: on timelines told to the log.
import { describe, expect, test } from "vitest";
import {
  A,
  assigned,
  B,
  bot,
  created,
  customer,
  human,
  opened,
  PLAIN,
  resolved,
  says,
  timeline,
} from "../fixtures/ledger-fixtures.ts";
import { member, type Sql } from "../support/database.ts";
import { answered, calmZone, clock, opening, plain, useTimelines } from "./analytics-metrics.support.ts";

const { rolledBack, tell, walk } = useTimelines();

/** A change of team, of which the reference knows nothing. */
async function joins(sql: Sql, at: string, team: number, conversation = 1): Promise<void> {
  await sql.rows(
    `insert into ledger.events (account_id, display_id, kind, occurred_at, place, value, source, source_id, learnt_at)
    values (1, $1, 'team', $2, 900, $3, 'change', '900', now())`,
    [conversation, at, String(team)],
  );
}

describe("whose a wait was", () => {
  const credits = (columns: string) =>
    `select number, ${columns} from analytics.wait_credits order by display_id, number, holder`;

  test("each holder by the time held, the team by where it was when the wait began", () =>
    rolledBack(async (sql) => {
      await tell(plain(timeline(
        ["2026-11-16T09:00:00", created("open"), customer],
        ["2026-11-16T09:10:00", assigned("user:1")],
        ["2026-11-16T09:30:00", assigned("user:2")],
        ["2026-11-16T09:40:00", assigned("user:1")],
        ["2026-11-16T09:50:00", human(B)],
        ["2026-11-16T10:00:00", customer],
        ["2026-11-16T10:20:00", resolved],
      )));
      await joins(sql, "2026-11-16T09:00:00Z", 4);
      await joins(sql, "2026-11-16T09:15:00Z", 5);

      await sql.resultsEqual(
        credits("team_id::int as team, holder, seconds, share, closed_as, is_running, is_excluded"),
        [
          { number: 1, team: 4, holder: "", seconds: 600, share: 0.2, closed_as: "reply" },
          { number: 1, team: 4, holder: "user:1", seconds: 1800, share: 0.6, closed_as: "reply" },
          { number: 1, team: 4, holder: "user:2", seconds: 600, share: 0.2, closed_as: "reply" },
          { number: 2, team: 5, holder: "user:1", seconds: 1200, share: 1, closed_as: "resolved" },
        ].map((row) => ({ ...row, is_running: false, is_excluded: false })),
      );
    }));

  test("what waits while still resolved is with nobody, and a wait that goes on counts up to now", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(plain(timeline(
        [ago(9000), created("open"), assigned("user:1"), customer],
        [ago(8000), human(A), resolved],
        [ago(1000), customer],
        [ago(900), opened],
      )));

      const rows = await sql.rows(`${credits("team_id, holder, seconds, is_running, ended_at")} offset 1`);

      expect(rows).toMatchObject([
        { number: 2, team_id: null, holder: "", is_running: true, ended_at: null },
        { number: 2, team_id: null, holder: "user:1", is_running: true, ended_at: null },
      ]);
      expect(rows.map(({ seconds }) => Math.round(seconds))).toEqual([100, 900]);
    }));

  test("a wait of no length is all of whoever has it then; one that nobody knows of is of ?", () =>
    rolledBack(async (sql) => {
      await tell(plain(
        timeline(
          ["2026-11-16T08:00:00", created("open"), assigned("user:1"), human(A)],
          ["2026-11-16T09:00:00", customer, human(A)],
        ),
        timeline(["2026-11-16T09:00:00", created("open"), assigned("?"), customer], ["2026-11-16T09:10:00", human(A)]),
        timeline(["2026-11-16T09:00:00", created("open"), customer, human(A)]),
        timeline(["2026-11-16T09:00:00", created("open"), customer, human(A), assigned("user:2")]),
        timeline(
          ["2026-11-16T08:00:00", created("open"), assigned("user:1"), human(A), resolved],
          ["2026-11-16T09:00:00", customer, human(A)],
        ),
      ));

      await sql.resultsEqual(credits("holder, seconds, share"), [
        { number: 1, holder: "user:1", seconds: 0, share: 1 },
        { number: 1, holder: "?", seconds: 600, share: 1 },
        { number: 1, holder: "", seconds: 0, share: 1 },
        { number: 1, holder: "user:2", seconds: 0, share: 1 },
        { number: 1, holder: "", seconds: 0, share: 1 },
      ]);
    }));

  test("of each event whose it was at that instant, and null where nobody can say", () =>
    rolledBack(async (sql) => {
      await tell(plain(
        timeline(
          ["2026-11-16T09:00:00", created("open"), customer],
          ["2026-11-16T09:10:00", assigned("user:1")],
          ["2026-11-16T09:20:00", human(B)],
          ["2026-11-16T09:30:00", assigned(null), resolved],
        ),
        timeline(["2026-11-16T09:00:00", created("open"), customer, assigned("?")]),
      ));
      // What turned out not to be so counts no more.
      await sql.rows(
        `insert into ledger.events (account_id, display_id, kind, occurred_at, place, value, source, source_id, learnt_at, unlearnt_at)
        values (1, 1, 'assignee', '2026-11-16T09:15:00Z', 1, 'user:9', 'change', '9', now(), now())`,
      );

      await sql.resultsEqual(
        `select display_id::int as of, kind, class, assignee_at_event as whose from analytics.events
        order by display_id, occurred_at, event_id`,
        [
          { of: 1, kind: "created", class: null, whose: "" },
          { of: 1, kind: "message", class: "customer", whose: "" },
          { of: 1, kind: "assignee", class: null, whose: "user:1" },
          { of: 1, kind: "message", class: "human", whose: "user:1" },
          { of: 1, kind: "assignee", class: null, whose: "" },
          { of: 1, kind: "status", class: null, whose: "" },
          { of: 2, kind: "created", class: null, whose: null },
          { of: 2, kind: "message", class: "customer", whose: null },
          { of: 2, kind: "assignee", class: null, whose: null },
        ],
      );
    }));

  test("both are looked up by conversation and instant, however long the log is", () =>
    rolledBack(async (sql) => {
      await sql.rows("set local enable_seqscan = off");
      for (
        const query of [
          "select team_id from analytics.wait_credits where account_id = 1 and display_id = 1",
          "select assignee_at_event from analytics.events where account_id = 1 and display_id = 1",
        ]
      ) {
        const plan = JSON.stringify(await sql.rows(`explain (format json) ${query}`));
        expect(plan, query).toContain('"Index Name":"events_states_idx"');
      }
    }));
});

describe("by the day of the reply", () => {
  const days = `select to_char(day, 'DD') as day, n_included::int as n, asked::int, replied::int, response_rate as rate,
    closed_unreplied::int as unreplied, frt_n::int, frt_p50, frt_any_p50, reply_time_n::int as replies, reply_time_p50
    from analytics.response_times_by_stop where day < '2026-11-20' order by day`;

  test("a reply counts when it is given, in the zone of the account, and what is closed unanswered when it is closed", () =>
    rolledBack(async (sql) => {
      await tell(
        plain(
          timeline(
            ["2026-11-16T22:00:00", created("open"), customer],
            ["2026-11-16T22:00:05", bot],
            ["2026-11-16T23:30:00", human(A)],
            ["2026-11-17T09:00:00", customer],
            ["2026-11-18T09:00:00", human(A)],
          ),
          timeline(["2026-11-16T08:00:00", created("open"), customer], ["2026-11-18T08:00:00", resolved]),
        ),
        { zone: "Europe/Berlin" },
      );

      await sql.resultsEqual(days, [
        {
          ...{ day: "16", n: 1, asked: 0, replied: 0, rate: null, unreplied: 0, frt_n: 0, frt_p50: null },
          ...{ frt_any_p50: 5, replies: 0, reply_time_p50: null },
        },
        {
          ...{ day: "17", n: 1, asked: 1, replied: 1, rate: 1, unreplied: 0, frt_n: 1, frt_p50: 5400 },
          ...{ frt_any_p50: null, replies: 0, reply_time_p50: null },
        },
        {
          ...{ day: "18", n: 2, asked: 1, replied: 0, rate: 0, unreplied: 1, frt_n: 0, frt_p50: null },
          ...{ frt_any_p50: null, replies: 1, reply_time_p50: 86_400 },
        },
      ]);
      // By their begin all of it is of the 16th.
      await sql.resultsEqual("select distinct to_char(day, 'DD') as day from analytics.response_times", [{
        day: "16",
      }]);
    }));

  test("who waits now counts today, once, and as not answered while no first reply is there", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      const waits = [...answered(ago(900_000), 60), ...timeline([ago(800_000), { ...customer, id: 9 }])];
      await tell(plain(opening(ago(1_000_000)), waits), { zone: calmZone() });

      const [today] = await sql.rows(
        `select n_included::int as n, asked::int, replied::int, response_rate as rate, n_waiting::int, longest_wait
        from analytics.response_times_by_stop where n_waiting > 0`,
      );
      expect(today).toMatchObject({ n: 2, asked: 1, replied: 0, rate: 0, n_waiting: 2 });
      expect(today.longest_wait).toBeCloseTo(1_000_000, 1);
      await sql.resultsEqual("select sum(n_waiting)::int as n from analytics.response_times_by_stop", [{ n: 2 }]);
    }));

  test("what is left out is in no number but n_excluded", () =>
    rolledBack(async (sql) => {
      await tell(
        plain(answered(Date.parse("2026-11-16T09:00:00Z"), 60), answered(Date.parse("2026-11-16T09:00:00Z"), 90)),
      );
      await sql.rows(`update ledger.episodes set labels = '["test"]' where display_id = 2`);

      await sql.resultsEqual(
        "select n_included::int as n, n_excluded::int as out, frt_n::int, frt_mean from analytics.response_times_by_stop where frt_n > 0",
        [{ n: 1, out: 1, frt_n: 1, frt_mean: 60 }],
      );
    }));
});

describe("how old the backlog is", () => {
  const ages = `select n_included::int as n, n_excluded::int as out, round(age_p50::numeric)::int as age, age_p90,
    since_reply_n::int as replied, round(since_reply_p50::numeric)::int as since_reply from analytics.backlog_age`;

  test("since the begin, and since a person last wrote, also where no wait ended with that", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(plain(
        // Answered, and followed up by us an hour later.
        timeline([ago(10_000), created("open"), customer], [ago(9000), human(A)], [ago(5000), human(A)]),
        timeline([ago(4000), created("open"), customer], [ago(3000), says("note", { author: A })], [ago(2000), bot]),
        timeline([ago(7000), created("open"), customer], [ago(6000), human(A)], [ago(5500), says("failed")]),
        timeline([ago(9000), created("open"), customer], [ago(8000), human(A)], [ago(7000), resolved]),
      ));

      await sql.resultsEqual(ages, [{ n: 3, out: 0, age: 7000, age_p90: null, replied: 2, since_reply: 5500 }]);
      await sql.rows(`update ledger.episodes set labels = '["spam"]' where display_id = 1`);
      await sql.resultsEqual(ages, [{ n: 2, out: 1, age: 5500, age_p90: null, replied: 1, since_reply: 6000 }]);
    }));

  test("of a merged conversation our last word counts in the one it is part of", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(plain(
        timeline([ago(10_000), created("open"), customer]),
        timeline([ago(9000), created("open"), customer], [ago(3000), human(A)]),
      ));
      await sql.rows(
        `insert into ledger.merges (account_id, child_display_id, parent_display_id, merged_at)
        values (1, 2, 1, now() - interval '2500 seconds')`,
      );
      await walk();

      await sql.resultsEqual(ages, [{ n: 1, out: 1, age: 10_000, age_p90: null, replied: 1, since_reply: 3000 }]);
    }));

  test("p90 is shown from 20 values on", () =>
    rolledBack(async (sql) => {
      const ago = await clock(sql);
      await tell(plain(...Array.from({ length: 20 }, (_, index) => opening(ago((index + 1) * 100)))));

      const [row] = await sql.rows(
        "select age_p90, age_p95, since_reply_n::int, since_reply_p90 from analytics.backlog_age",
      );
      expect(row).toMatchObject({ age_p95: null, since_reply_n: 0, since_reply_p90: null });
      expect(row.age_p90).toBeCloseTo(1810, 0);
    }));
});

describe("rates with their intervals", () => {
  const told = plain(
    timeline(
      ["2026-10-01T09:00:00", created("open"), customer],
      ["2026-10-01T09:10:00", human(A)],
      ["2026-10-01T10:00:00", resolved],
      ["2026-10-02T10:00:00", customer, opened],
      ["2026-10-02T11:00:00", resolved],
    ),
    timeline(
      ["2026-10-01T09:00:00", created("open"), customer],
      ["2026-10-01T09:10:00", human(A)],
      ["2026-10-01T12:00:00", resolved],
    ),
  );
  // Wilson of 1 of 2, and of 2 of 2.
  const half = { low: 0.0945, high: 0.9055 };
  const both = { low: 0.3424, high: 1 };
  const bounds = (rate: string) =>
    `round(${rate}_low::numeric, 4)::float8 as low, round(${rate}_high::numeric, 4)::float8 as high`;

  test("of reopens and of what lasts", () =>
    rolledBack(async (sql) => {
      await tell(told);
      const first = "from analytics.reopen_rates where day = '2026-10-01'";

      await sql.resultsEqual(`select ${bounds("reopen_rate")} ${first}`, [half]);
      await sql.resultsEqual(`select ${bounds("durable_rate")} ${first}`, [half]);
      for (const from of ["resolution_times", "teams", "inboxes", "channels", "agents"]) {
        const where = from === "agents" ? `where agent_id = ${A}` : "";
        expect(await sql.rows(`select ${bounds("durable_rate")} from analytics.${from} ${where}`), from).toEqual([
          both,
        ]);
      }
      await sql.resultsEqual(
        `select ${bounds("durable_rate")} from analytics.metrics_by(1, '2026-10-01', '2026-10-02')`,
        [both],
      );
      await sql.rows("update ledger.episodes set labels = '[\"billing\"]'");
      await sql.resultsEqual(`select ${bounds("durable_rate")} from analytics.labels`, [both]);
    }));

  test("of a bot's claims that lasted", () =>
    rolledBack(async (sql) => {
      const claim = timeline(
        ["2026-09-01T09:00:00", created("pending"), customer],
        ["2026-09-01T09:00:10", bot],
        ["2026-09-01T09:10:00", resolved],
      );
      const came = timeline(["2026-09-02T09:00:00", { ...customer, id: 8 }, { ...opened, id: 9 }]);
      await tell(
        [claim, [...claim, ...came]].map((events) => ({ events, options: { ...PLAIN, hasBot: true, asOf: 0 } })),
      );

      await sql.resultsEqual(`select durable_share, ${bounds("durable_share")} from analytics.ai_outcomes`, [
        { durable_share: 0.5, ...half },
      ]);
    }));

  test("by agent there is no response rate: what nobody answered is nobody's", () =>
    rolledBack(async (sql) => {
      await tell(plain(answered(Date.parse("2026-10-01T09:00:00Z"), 60), opening("2026-10-01T09:00:00")));
      const by = (group: string) =>
        sql.rows(
          `select group_key, asked::int, replied::int, response_rate
          from analytics.metrics_by(1, '2026-10-01', '2026-10-01', '${group}')`,
        );

      expect(await by("agent")).toEqual([
        { group_key: String(A), asked: 1, replied: 1, response_rate: null },
        { group_key: null, asked: 1, replied: 0, response_rate: null },
      ]);
      expect(await by("account")).toEqual([{ group_key: "1", asked: 2, replied: 1, response_rate: 0.5 }]);
    }));
});

describe("what is left out of conversations and messages", () => {
  /** Four conversations of one day, each with one message: one to count, spam, deleted, and one merged into the first. */
  async function four(sql: Sql): Promise<void> {
    await tell(plain(...Array.from({ length: 4 }, () => opening("2026-10-01T09:00:00"))));
    await sql.rows(
      `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, private, created_at, version_at)
      select 1, number, number, 'incoming', false, '2026-10-01T09:00:00Z', now() from generate_series(1, 4) as numbers (number)`,
    );
    await sql.rows("update chatwoot.conversations set status = 'open' where account_id = 1");
    // What the fourth is labelled says nothing of the first, which its message is of now.
    await sql.rows("update chatwoot.conversations set labels = '{spam}' where display_id in (2, 4)");
    await sql.rows("update chatwoot.conversations set deleted_at = now() where display_id = 3");
    await sql.rows(
      "insert into ledger.merges (account_id, child_display_id, parent_display_id, merged_at) values (1, 4, 1, now())",
    );
  }

  test("volume_by_day: the messages of a merged conversation count, those of spam do not", () =>
    rolledBack(async (sql) => {
      await four(sql);

      await sql.resultsEqual(
        `select conversations::int, incoming_messages::int as messages, n_included::int as n, n_excluded::int as out
        from analytics.volume_by_day`,
        [{ conversations: 1, messages: 2, n: 1, out: 3 }],
      );
    }));

  test("channel_breakdown", () =>
    rolledBack(async (sql) => {
      await four(sql);

      await sql.resultsEqual(
        `select conversations::int, open_conversations::int as open, share::float8, n_included::int as n, n_excluded::int as out
        from analytics.channel_breakdown`,
        [{ conversations: 1, open: 1, share: 1, n: 1, out: 3 }],
      );
      await sql.rows("update chatwoot.conversations set labels = '{test}' where display_id = 1");
      await sql.resultsEqual(
        "select conversations::int, share, n_excluded::int as out from analytics.channel_breakdown",
        [
          { conversations: 0, share: null, out: 4 },
        ],
      );
    }));
});

test("a conversation is of its episodes: people once, hand-overs together, the last resolve of the last", () =>
  rolledBack(async (sql) => {
    await tell(plain(timeline(
      ["2026-09-01T09:00:00", created("open"), customer],
      ["2026-09-01T09:00:05", bot],
      ["2026-09-01T09:10:00", assigned("user:1")],
      ["2026-09-01T09:20:00", assigned("user:2")],
      ["2026-09-01T09:30:00", human(B), resolved],
      ["2026-09-12T09:00:00", customer, opened],
      ["2026-09-12T09:00:07", bot],
      ["2026-09-12T09:30:00", assigned("user:3")],
      ["2026-09-12T10:00:00", assigned("user:1")],
      ["2026-09-12T11:00:00", human(A), resolved],
    )));
    const columns =
      `assignees::int, stations::int, reassignments::int, bot_reply_time, first_assignment_to_resolve as first,
      last_assignment_to_resolve as last`;

    await sql.resultsEqual(`select episode, ${columns} from analytics.episodes order by episode`, [
      { episode: 1, assignees: 2, stations: 2, reassignments: 1, bot_reply_time: [5], first: 1200, last: 600 },
      { episode: 2, assignees: 3, stations: 3, reassignments: 2, bot_reply_time: [7], first: 7200, last: 3600 },
    ]);
    await sql.resultsEqual(`select ${columns} from analytics.conversations`, [
      { assignees: 3, stations: 5, reassignments: 3, bot_reply_time: [5, 7], first: 7200, last: 3600 },
    ]);
    const ada = await member(sql, 1, "viewer");
    await sql.as("authenticated", ada, async () => {
      for (const [metric, parts] of [["assignees", 3], ["stations", 5], ["reassignments", 3], ["bot_reply_time", 2]]) {
        await sql.resultsEqual(
          `select count(*) filter (where counted_in_conversation)::int as parts from api.explain_metric(1, 1, '${metric}')`,
          [{ parts }],
        );
      }
    });
  }));
