// What people decide about the counting: rules of inboxes, and merges of conversations.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NUMBERED } from "../fixtures/ledger-fixtures.ts";
import { at, created, customer, human, PLAIN, timeline } from "../fixtures/ledger-fixtures.ts";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { tellTimelines, type Told } from "../support/ledger-sql.ts";
import { timelines } from "../support/ledger-timelines.ts";

const database = useDatabase();
const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);

const plain = (events: Told["events"]): Told => ({ events, options: { ...PLAIN, asOf: 0 } });

/** Tells timelines to account 1, which `sql` is inside a transaction for, and walks through all of them. */
async function tell(sql: Sql, told: readonly Told[]): Promise<void> {
  const query = (text: string, values?: unknown[]) => sql.rows(text, values);
  await tellTimelines({ query } as never, told);
  await countAll(sql);
}

const countAll = (sql: Sql) =>
  sql.rows(`select ledger.refresh(array(select row(account_id, display_id, null, null, '-infinity', now(), 0, null,
    null)::ledger.queue from chatwoot.conversations where account_id = 1))`);

/** Everything the ledger has made of account 1, but when. */
const all = async (sql: Sql) => ({
  episodes: await sql.rows("select * from ledger.episodes where account_id = 1 order by display_id, episode"),
  spans: await sql.rows("select * from ledger.spans where account_id = 1 order by display_id, episode, kind, number"),
  conversations: await sql.rows(
    "select *, null as refreshed_at from ledger.conversations where account_id = 1 order by display_id",
  ),
});

const decisions = (sql: Sql) =>
  sql.rows("select action, subject, evidence from audit.decision_log where account_id = 1 order by entry");

describe("rules of an inbox", () => {
  const SET = "select api.set_inbox_rules($1, $2, $3, $4, $5)";
  const reopened = NUMBERED.find(({ name }) => name.startsWith("FX-03"))!.events;

  test("change what is counted, once what they touch is worked off", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(reopened)]);
      await sql.rows(
        "insert into chatwoot.inboxes (account_id, inbox_id, name, version_at) values (1, 1, 'Chat', now())",
      );
      expect(await sql.value("select episodes from analytics.conversations where display_id = 1")).toBe(2);

      await sql.rows(SET, [1, 1, 30 * 86_400, null, null]);

      expect(await sql.rows("select queued_conversations, problems from api.ledger_status where account_id = 1"))
        .toEqual([{ queued_conversations: "1", problems: "0" }]);
      await sql.rows("select ledger.work_off()");
      expect(await sql.rows("select episodes, reopens::integer from analytics.conversations where display_id = 1"))
        .toEqual([{ episodes: 1, reopens: 2 }]);
      expect(await sql.value("select count(*)::integer from ledger.queue where account_id = 1")).toBe(0);
    }));

  test("of the account hold where the inbox says nothing itself", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(reopened)]);
      await sql.rows("update ledger.rules set episode_gap_seconds = null where account_id = 1");

      await sql.rows(SET, [1, 0, 30 * 86_400, null, null]);

      await sql.rows("select ledger.work_off()");
      expect(await sql.value("select episodes from analytics.conversations where display_id = 1")).toBe(1);
    }));

  test("are logged with what was before, and said twice change nothing", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(SET, [1, 0, 3600, null, null]);
      await sql.rows(SET, [1, 0, 3600, null, null]);
      await sql.rows(SET, [1, 0, null, 7200, true]);

      const none = { episode_gap_seconds: null, durable_seconds: null, has_bot: null };
      expect(await decisions(sql)).toEqual([
        {
          action: "rules.changed",
          subject: "inbox:0",
          evidence: { before: none, after: { ...none, episode_gap_seconds: 3600 } },
        },
        {
          action: "rules.changed",
          subject: "inbox:0",
          evidence: {
            before: { ...none, episode_gap_seconds: 3600 },
            after: { ...none, durable_seconds: 7200, has_bot: true },
          },
        },
      ]);
    }));

  test.each([
    ["no account", "OC422", [null, 0, null, null, null], "account_id null"],
    ["account 0", "OC422", [0, 0, null, null, null], "account_id 0"],
    ["no inbox", "OC422", [1, null, null, null, null], "not null"],
    ["inbox -1", "OC422", [1, -1, null, null, null], "not -1"],
    ["an unknown inbox", "OC404", [1, 77, null, null, null], "There is no inbox 77"],
    ["a gap of -1", "OC422", [1, 0, -1, null, null], "episode_gap_seconds must be from 0 to 31536000"],
    ["a gap of more than a year", "OC422", [1, 0, 31_536_001, null, null], "not 31536001"],
    ["a durable window of -1", "OC422", [1, 0, null, -1, null], "durable_seconds must be from 0 to 31536000"],
  ])("are refused for %s", (_name, code, values, message) =>
    database.rolledBack(async (sql) => {
      const error = await sql.throws(code, SET, values);

      expect(error.message).toContain(message);
      expect(error.hint).toBeTruthy();
    }));

  test("are an admin's to set", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      const approver = await member(sql, 1, "approver");

      await sql.as("authenticated", admin, () => sql.rows(SET, [1, 0, 60, null, null]));
      await sql.as("authenticated", approver, () => sql.throws("OC403", SET, [1, 0, 61, null, null]));
    }));
});

describe("a merge", () => {
  const MERGE = "select api.merge_conversations($1, $2, $3)";
  const UNMERGE = "select api.unmerge_conversation($1, $2)";
  const parent = timeline(["09:00:00", created("open"), customer], ["09:30:00", human()]);
  const childFrom = (time: string) =>
    timeline([time, created("open"), customer]).map((event) => ({ ...event, id: event.id + 1000 }));
  const on = (time: string) => new Date(at(time)).toISOString();
  const countedAt = (sql: Sql, time: string) =>
    sql.rows(
      `select display_id::integer, wait_current, frt from api.episodes_at(1, $1)
      where not flags @> '{merged_child}' order by display_id`,
      [on(time)],
    );

  test("lets the messages of one count in the other, from then on (FX-07)", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00"))]);

      await sql.rows("select ledger.merge(1, 2, 1, $1)", [on("09:20:00")]);

      expect(await countedAt(sql, "10:00:00")).toEqual([{ display_id: 1, wait_current: null, frt: 2400 }]);
      expect(await countedAt(sql, "09:10:00")).toEqual([
        { display_id: 1, wait_current: 600, frt: null },
        { display_id: 2, wait_current: 1200, frt: null },
      ]);
      // What is stored says so at once.
      expect(await sql.value("select frt from analytics.episodes where display_id = 1")).toBe(2400);
      expect(await sql.value("select count(*)::integer from ledger.queue where account_id = 1")).toBe(0);
    }));

  test("of a later one moves nothing (FX-07)", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("09:10:00"))]);

      await sql.rows("select ledger.merge(1, 2, 1, $1)", [on("09:20:00")]);

      expect(await countedAt(sql, "10:00:00")).toEqual([{ display_id: 1, wait_current: null, frt: 1800 }]);
    }));

  test("is explained by the child's own message", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00"))]);
      await sql.rows("select ledger.merge(1, 2, 1, $1)", [on("09:20:00")]);

      const parts = await sql.rows(
        `select seconds::integer, opened_by ->> 'display_id' as opener, closed_by ->> 'display_id' as closer
        from ledger.explain_metric(1, 1, 'frt', $1) where counted`,
        [on("10:00:00")],
      );

      expect(parts).toEqual([{ seconds: 2400, opener: "2", closer: "1" }]);
    }));

  test("taken back restores both, row for row (P14)", () =>
    database.rolledBack(async (sql) => {
      console.log(`ledger-rules: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
      const told = fc.sample(timelines(), { numRuns: 200, seed });
      await tell(sql, told);
      const before = await all(sql);

      await sql.rows("select ledger.merge(1, 2 * pair, 2 * pair - 1) from generate_series(1, 100) as pairs (pair)");
      const between = await all(sql);
      await sql.rows("select ledger.unmerge(1, 2 * pair) from generate_series(1, 100) as pairs (pair)");

      expect(between.episodes).not.toEqual(before.episodes);
      expect(await all(sql)).toEqual(before);
      expect(await sql.value("select count(*)::integer from ledger.queue")).toBe(0);
    }), 120_000);

  test("of a conversation too long for here is left to cron", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00"))]);
      await sql.rows("update ledger.conversations set events = 501 where account_id = 1 and display_id = 1");

      await sql.rows(MERGE, [1, 2, 1]);

      expect(await sql.rows("select display_id::integer, walk_since::text from ledger.queue")).toEqual([
        { display_id: 1, walk_since: "-infinity" },
      ]);
      await sql.rows("select ledger.work_off()");
      expect(await sql.value("select frt from analytics.conversations where display_id = 1")).toBe(2400);
    }));

  test("is logged, and said twice is no failure", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00"))]);

      await sql.rows(MERGE, [1, 2, 1]);
      await sql.rows(MERGE, [1, 2, 1]);
      await sql.rows(UNMERGE, [1, 2]);

      expect(await decisions(sql)).toEqual([
        { action: "conversation.merged", subject: "conversation:2", evidence: { parent: 1 } },
        { action: "conversation.unmerged", subject: "conversation:2", evidence: { parent: 1 } },
      ]);
    }));

  test.each([
    ["into itself", "OC422", 1, 1, "into itself"],
    ["into nothing", "OC422", 1, null, "into nothing"],
    ["of an unknown conversation", "OC404", 99, 1, "There is no conversation 99"],
    ["into an unknown conversation", "OC404", 1, 99, "There is no conversation 99"],
    ["of a part, into another", "OC409", 2, 3, "Conversation 2 is part of conversation 1 already"],
    ["into a part", "OC409", 3, 2, "Conversation 2 is part of conversation 1 already"],
    ["of one that has parts", "OC409", 1, 3, "Conversation 2 is part of conversation 1 already"],
  ])("%s is refused", (_name, code, child, into, message) =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00")), plain(childFrom("08:40:00"))]);
      await sql.rows(MERGE, [1, 2, 1]);

      const error = await sql.throws(code, MERGE, [1, child, into]);

      expect(error.message).toContain(message);
      expect(error.hint).toBeTruthy();
    }));

  test("that there is not cannot be taken back", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent)]);

      expect((await sql.throws("OC404", UNMERGE, [1, 1])).message).toContain("is part of no other");
    }));

  test("is an operator's to declare and to take back", () =>
    database.rolledBack(async (sql) => {
      await tell(sql, [plain(parent), plain(childFrom("08:50:00"))]);
      const operator = await member(sql, 1, "operator");
      const viewer = await member(sql, 1, "viewer");

      await sql.as("authenticated", viewer, () => sql.throws("OC403", MERGE, [1, 2, 1]));
      await sql.as("authenticated", operator, () => sql.rows(MERGE, [1, 2, 1]));
      await sql.as("authenticated", viewer, () => sql.throws("OC403", UNMERGE, [1, 2]));
      await sql.as("authenticated", operator, () => sql.rows(UNMERGE, [1, 2]));

      expect(await sql.value("select count(*)::integer from ledger.merges")).toBe(0);
    }));

  test("of two people at once makes no chain", async () => {
    const [one, other] = [await database.connect(), await database.connect()];
    await tellTimelines(one, [plain(parent), plain(childFrom("08:50:00")), plain(childFrom("08:40:00"))], 7);
    await one.query("begin");
    await one.query("select api.merge_conversations(7, 2, 1)");
    const second = other.query("select api.merge_conversations(7, 1, 3)").catch((error: { code: string }) =>
      error.code
    );
    await database.untilWaiting(other);

    await one.query("commit");

    expect(await second).toBe("OC409");
  });
});

describe("api.ledger_status", () => {
  test("tells a member how far behind the numbers are and what is wrong", () =>
    database.rolledBack(async (sql) => {
      const viewer = await member(sql, 1, "viewer");
      await sql.rows(`insert into ledger.queue (account_id, display_id, walk_since, queued_at, problem) values
        (1, 1, '-infinity', now() - interval '90 seconds', null), (1, 2, '-infinity', now(), 'out of range'),
        (2, 1, '-infinity', now(), null)`);

      const rows = await sql.as("authenticated", viewer, () => sql.rows("select * from api.ledger_status"));

      expect(rows).toMatchObject([{
        account_id: "1",
        queued_conversations: "2",
        lag_seconds: 90,
        problems: "1",
        first_problem: "out of range",
        first_problem_display_id: "2",
      }]);
    }));

  test("says nothing waits when nothing does", () =>
    database.rolledBack(async (sql) => {
      const viewer = await member(sql, 1, "viewer");

      const rows = await sql.as("authenticated", viewer, () => sql.rows("select * from api.ledger_status"));

      expect(rows).toMatchObject([{
        queued_conversations: "0",
        lag_seconds: null,
        problems: "0",
        first_problem: null,
      }]);
    }));
});
