// The outbox but for the requests themselves: what gets in, whose turn it is, who may, and how long one waits.
import { describe, expect, test } from "vitest";
import { member, type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();
const START = new Date("2026-11-20T09:00:00Z");
const later = (seconds: number) => new Date(START.getTime() + seconds * 1000);

/** Account 1 with conversations 1 to 3, agent 7 and team 2. */
const inAccount = (work: (sql: Sql) => Promise<void>) =>
  database.rolledBack(async (sql) => {
    await sql.rows(
      `insert into chatwoot.conversations (account_id, display_id, labels, created_at, version_at)
      select 1, display_id, '{old}', $1, $1 from generate_series(1, 3) as display_id`,
      [START],
    );
    await sql.rows(
      `insert into chatwoot.agents (account_id, kind, agent_id, name, deleted_at, version_at) values
        (1, 'user', 7, 'Ada', null, $1), (1, 'user', 8, 'Gone', $1, $1), (1, 'agent_bot', 9, 'Bot', null, $1)`,
      [START],
    );
    await sql.rows("insert into chatwoot.teams (account_id, team_id, name, version_at) values (1, 2, 'Billing', $1)", [
      START,
    ]);
    await work(sql);
  });
const enqueue = (sql: Sql, kind = "reply", args: unknown = { content: "Hello" }, display = 1, at = START) =>
  sql.value<string>("select actions.enqueue(1, $1, $2, $3, null, $4)", [display, kind, JSON.stringify(args), at]);
interface Claim {
  action_id: string | null;
  lease: number | null;
  is_in_doubt: boolean | null;
}
const claim = async (sql: Sql, at = START) =>
  (await sql.rows<Claim>("select action_id, lease, is_in_doubt from actions.claim($1)", [at]))[0];
const settle = (sql: Sql, id: string | null, stage: string, kind: string | null, options: {
  at?: Date;
  doubt?: boolean | null;
  status?: number | null;
  message?: number | null;
} = {}) =>
  sql.rows(
    `select actions.settle((select outbox from actions.outbox where action_id = $1), $2, $3, $4, $5, $6,
      'It went wrong.', 'Do something.', null, null, $7)`,
    [
      id,
      options.doubt ?? false,
      options.at ?? START,
      stage,
      kind,
      options.status ?? null,
      options.message ?? null,
    ],
  );
const action = async (sql: Sql, id: string | null) =>
  (await sql.rows("select * from api.actions where action_id = $1", [id]))[0];

describe("into the outbox gets", () => {
  test.each([
    { kind: "note", args: { content: "Try {{order.number}}" } },
    { kind: "reply", args: { content: "{ } {1} <script>'; drop table" } },
    { kind: "assign_agent", args: { agent_id: 7 } },
    { kind: "assign_agent", args: { agent_id: null } },
    { kind: "assign_team", args: { team_id: 2 } },
    { kind: "assign_team", args: { team_id: null } },
    { kind: "add_labels", args: { labels: ["billing", "vip"] } },
    { kind: "remove_labels", args: { labels: ["größe"] } },
    { kind: "set_status", args: { status: "resolved" } },
    { kind: "set_status", args: { status: "snoozed", snoozed_until: "2026-12-01T09:00:00Z" } },
    { kind: "set_priority", args: { priority: "urgent" } },
    { kind: "set_priority", args: { priority: null } },
    { kind: "set_custom_attributes", args: { custom_attributes: { plan: "gold", seats: 4, late: true, gone: null } } },
  ])("$kind $args", ({ kind, args }) =>
    inAccount(async (sql) => {
      const id = await enqueue(sql, kind, args);

      expect(await action(sql, id)).toMatchObject({ kind, arguments: args, state: "pending", attempts: 0 });
    }));

  test("labels once each, and an instant in UTC", () =>
    inAccount(async (sql) => {
      const labels = await enqueue(sql, "add_labels", { labels: ["b", "a", "b"] });
      const snooze = await enqueue(sql, "set_status", {
        ...{ status: "snoozed", snoozed_until: "2026-12-01T10:00:00+01:00" },
      });

      expect((await action(sql, labels)).arguments).toEqual({ labels: ["b", "a"] });
      expect((await action(sql, snooze)).arguments).toEqual({
        ...{ status: "snoozed", snoozed_until: "2026-12-01T09:00:00Z" },
      });
    }));

  test.each([
    { code: "OC422", kind: "reply", args: null },
    { code: "OC422", kind: "reply", args: ["Hello"] },
    { code: "OC422", kind: "reply", args: {} },
    { code: "OC422", kind: "reply", args: { content: 1 } },
    { code: "OC422", kind: "reply", args: { content: " \n\t" } },
    { code: "OC422", kind: "reply", args: { content: "Hello", private: true } },
    { code: "OC422", kind: "reply", args: { content: "Dear {{contact.first_name}}," } },
    { code: "OC422", kind: "reply", args: { content: "Dear {{ Contact.Name }}," } },
    { code: "OC422", kind: "reply", args: { content: "Your level is {{custom.tier_2 | upcase}}" } },
    { code: "OC422", kind: "reply", args: { content: "Dear {{ {contact.name }}," } },
    { code: "OC422", kind: "reply", args: { content: "Dear {{ contact.name{ \n }}," } },
    { code: "OC422", kind: "reply", args: { content: "{% if vip %}Hello{% endif %}" } },
    { code: "OC422", kind: "reply", args: { content: "x".repeat(150_001) } },
    { code: "OC422", kind: "shout", args: { content: "Hello" } },
    { code: "OC422", kind: null, args: { content: "Hello" } },
    { code: "OC404", kind: "assign_agent", args: { agent_id: 77 } },
    { code: "OC404", kind: "assign_agent", args: { agent_id: 8 } },
    { code: "OC404", kind: "assign_agent", args: { agent_id: 9 } },
    { code: "OC422", kind: "assign_agent", args: { agent_id: 0 } },
    { code: "OC422", kind: "assign_agent", args: { agent_id: 7.5 } },
    { code: "OC422", kind: "assign_agent", args: { agent_id: "7" } },
    { code: "OC422", kind: "assign_agent", args: { agent_id: 1e30 } },
    { code: "OC404", kind: "assign_team", args: { team_id: 77 } },
    { code: "OC422", kind: "add_labels", args: { labels: [] } },
    { code: "OC422", kind: "add_labels", args: { labels: "vip" } },
    { code: "OC422", kind: "add_labels", args: { labels: [1] } },
    { code: "OC422", kind: "add_labels", args: { labels: ["a,b"] } },
    { code: "OC422", kind: "add_labels", args: { labels: ["a b"] } },
    { code: "OC422", kind: "add_labels", args: { labels: ["x".repeat(256)] } },
    { code: "OC422", kind: "add_labels", args: { labels: Array(51).fill(0).map((_, number) => `l${number}`) } },
    { code: "OC422", kind: "set_status", args: { status: "closed" } },
    { code: "OC422", kind: "set_status", args: { status: null } },
    { code: "OC422", kind: "set_status", args: { status: "open", snoozed_until: "2026-12-01T09:00:00Z" } },
    { code: "OC422", kind: "set_status", args: { status: "snoozed", snoozed_until: "2026-11-20T09:00:00Z" } },
    { code: "OC422", kind: "set_status", args: { status: "snoozed", snoozed_until: "tomorrow at nine" } },
    { code: "OC422", kind: "set_priority", args: { priority: "extreme" } },
    { code: "OC422", kind: "set_custom_attributes", args: { custom_attributes: {} } },
    { code: "OC422", kind: "set_custom_attributes", args: { custom_attributes: { a: { b: 1 } } } },
    { code: "OC422", kind: "set_custom_attributes", args: { custom_attributes: { a: "x".repeat(20_001) } } },
  ])("not $kind $args: $code", ({ code, kind, args }) =>
    inAccount(async (sql) => {
      await sql.throws(code, "select actions.enqueue(1, 1, $1, $2)", [kind, JSON.stringify(args)]);
      expect(await sql.value("select count(*)::int from actions.outbox")).toBe(0);
    }));

  test("not what is about a conversation that is not there, or is gone", () =>
    inAccount(async (sql) => {
      await sql.rows("update chatwoot.conversations set deleted_at = now() where display_id = 3");

      for (const [account, display] of [[1, 99], [2, 1], [1, null], [1, 3]]) {
        await sql.throws("OC404", `select actions.enqueue($1, $2, 'reply', '{"content": "Hello"}')`, [
          account,
          display,
        ]);
      }
    }));

  test("no hundred and first for one conversation", () =>
    inAccount(async (sql) => {
      await sql.rows(
        `select actions.enqueue(1, 1, 'reply', '{"content": "Hello"}') from generate_series(1, 100)`,
      );

      await sql.throws("OC409", `select actions.enqueue(1, 1, 'reply', '{"content": "Hello"}')`);
      await enqueue(sql, "reply", { content: "Hello" }, 2);
    }));

  test("with the newest message known, after which its own is looked for", () =>
    inAccount(async (sql) => {
      await sql.rows(
        `insert into chatwoot.messages (account_id, message_id, conversation_display_id, message_type, version_at)
        values (1, 40, 1, 'incoming', now()), (1, 41, 1, 'incoming', now()), (1, 50, 2, 'incoming', now())`,
      );
      await enqueue(sql);
      await enqueue(sql, "reply", { content: "Hello" }, 3);

      expect(await sql.rows("select floor_message_id from actions.outbox order by action_id")).toEqual([
        { floor_message_id: "41" },
        { floor_message_id: "0" },
      ]);
    }));
});

describe("whose turn it is", () => {
  test("the oldest first, and of a conversation only the oldest that is not over", () =>
    inAccount(async (sql) => {
      const ids = [];
      for (const display of [1, 1, 2]) ids.push(await enqueue(sql, "reply", { content: "Hello" }, display));

      expect(await claim(sql)).toEqual({ action_id: ids[0], lease: 1, is_in_doubt: false });
      expect((await claim(sql)).action_id).toBe(ids[2]);
      expect((await claim(sql)).action_id).toBe(null);
      await settle(sql, ids[0], "send", null, { message: 11 });
      expect((await claim(sql)).action_id).toBe(ids[1]);
    }));

  test("a lease lasts a minute; what it left is in doubt from the claim on", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await claim(sql);
      expect(await action(sql, id)).toMatchObject({ state: "sending", attempts: 1, doubt_since: START });

      expect((await claim(sql, later(59))).action_id).toBe(null);
      expect(await claim(sql, later(60))).toEqual({ action_id: id, lease: 2, is_in_doubt: true });
      expect(await action(sql, id)).toMatchObject({ attempts: 2, doubt_since: START });
    }));

  test("the accounts in turn, however much one of them has", () =>
    inAccount(async (sql) => {
      await sql.rows(
        "insert into chatwoot.conversations (account_id, display_id, version_at) values (2, 1, now())",
      );
      for (const display of [1, 2, 3]) await enqueue(sql, "reply", { content: "Hello" }, display);
      await sql.rows(`select actions.enqueue(2, 1, 'reply', '{"content": "Hello"}', null, $1)`, [START]);

      await claim(sql);

      expect((await sql.rows("select account_id from actions.claim($1)", [START]))[0].account_id).toBe("2");
    }));

  test("nobody's while the setting sending is off; a dry run needs no active account", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await sql.rows("select ops.set_setting(1, 'sending', '\"off\"')");
      expect((await claim(sql)).action_id).toBe(null);

      await sql.rows("select ops.set_setting(1, 'sending', '\"dry_run\"')");
      await sql.rows("update actions.accounts set state = 'stopped' where true");

      expect((await claim(sql)).action_id).toBe(id);
    }));

  test("nobody's while the account is stopped, rests, or has used up its requests", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      for (
        const change of [
          "state = 'stopped'",
          "retry_at = '2026-11-20T09:00:01Z'",
          "tokens = 0.9, refilled_at = '2026-11-20T09:00:00Z'",
        ]
      ) {
        await sql.rows("savepoint before_change");
        await sql.rows(`update actions.accounts set ${change} where true`);
        expect((await claim(sql)).action_id, change).toBe(null);
        await sql.rows("rollback to savepoint before_change");
      }
      expect((await claim(sql)).action_id).toBe(id);
    }));

  test("one at a time while the account is in trouble", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await enqueue(sql, "reply", { content: "Hello" }, 2);
      await sql.rows("update actions.accounts set failures = 1 where true");

      expect((await claim(sql)).action_id).toBe(id);
      expect((await claim(sql, later(59))).action_id).toBe(null);
    }));
});

describe("how long one waits", () => {
  test("from half a minute to twenty hours: twelve tries in about three days", () =>
    inAccount(async (sql) => {
      const waits = (chance: number) =>
        sql.rows<{ seconds: number }>(
          `select extract(epoch from actions.back_off(attempts, $1))::float as seconds
          from generate_series(1, 11) as attempts`,
          [chance],
        );
      const [least, most] = [await waits(0), await waits(1)].map((rows) => rows.map(({ seconds }) => seconds));

      expect(least).toEqual([30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 72_000, 72_000]);
      expect(most).toEqual(least.map((seconds) => expect.closeTo(seconds * 1.2, 3)));
      const hours = (all: number[]) => all.reduce((sum, seconds) => sum + seconds) / 3600;
      expect(hours(least)).toBeGreaterThan(60);
      expect(hours(most)).toBeLessThan(76);
    }));

  test("requests come back evenly, and a quarter of a minute's worth is saved up", () =>
    inAccount(async (sql) => {
      const budget = (tokens: number, refilled: Date | null, perMinute: number, at: Date) =>
        sql.value("select actions.budget($1, $2, $3, $4)", [tokens, refilled, perMinute, at]);

      expect(await budget(0, null, 60, START)).toBe(15);
      expect(await budget(0, START, 60, START)).toBe(0);
      expect(await budget(0, START, 60, later(4))).toBe(4);
      expect(await budget(2, START, 60, later(600))).toBe(15);
      expect(await budget(2, later(60), 60, START)).toBe(2);
      expect(await budget(0, null, 1, START)).toBe(1);
      expect(await budget(0, START, 1, later(600))).toBe(3);
    }));
});

describe("what became of it", () => {
  const claimed = async (sql: Sql) => {
    const id = await enqueue(sql);
    await claim(sql);
    return id;
  };

  test.each([
    { kind: "timeout", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "transport", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "server_error", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "wrong_content_type", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "not_json", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "wrong_shape", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "internal", state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "client_error", status: 408, state: "pending", attempts: 1, doubt: true, account: "active" },
    { kind: "redirected", state: "pending", attempts: 0, doubt: true, account: "stopped" },
    { kind: "unauthorized", state: "pending", attempts: 0, doubt: false, account: "stopped" },
    { kind: "forbidden", state: "pending", attempts: 0, doubt: false, account: "stopped" },
    { kind: "no_token", state: "pending", attempts: 0, doubt: false, account: "stopped" },
    { kind: "throttled", state: "pending", attempts: 0, doubt: false, account: "active" },
    { kind: "missing", state: "dead", attempts: 1, doubt: false, account: "active" },
    { kind: "client_error", status: 422, state: "dead", attempts: 1, doubt: false, account: "active" },
    { kind: "not_kept", state: "dead", attempts: 1, doubt: false, account: "active" },
  ])(
    "sent and answered with $kind: $state, doubt $doubt, account $account",
    ({ kind, status, ...expected }) =>
      inAccount(async (sql) => {
        const id = await claimed(sql);

        await settle(sql, id, "send", kind, { status });

        const found = await action(sql, id);
        const { state: account } = (await sql.rows("select state from actions.accounts"))[0];
        expect({ ...found, doubt: found.doubt_since !== null, account }).toMatchObject(expected);
        if (expected.doubt && expected.account === "active") {
          expect(Number(found.next_attempt_at) - START.getTime()).toBeGreaterThanOrEqual(30_000);
        }
        expect((await sql.rows("select action from audit.decision_log where action = 'action.failed'")).length)
          .toBe(expected.state === "dead" ? 1 : 0);
      }),
  );

  test("a look that fails leaves the doubt, and a conversation gone meanwhile is said with it", () =>
    inAccount(async (sql) => {
      const id = await claimed(sql);
      await settle(sql, id, "send", "timeout");
      await claim(sql, later(100));

      await settle(sql, id, "look", "missing", { at: later(100), doubt: true, status: 404 });

      expect(await action(sql, id)).toMatchObject({ state: "dead", doubt_since: START });
      expect((await action(sql, id)).problem).toMatch(/Whether an earlier try arrived could not be found out\.$/);
    }));

  test.each([true, false])(
    "sending switched off between the claim and the sending, in doubt before: %s",
    (doubt) =>
      inAccount(async (sql) => {
        const id = await claimed(sql);

        await settle(sql, id, "off", null, { doubt });

        expect(await action(sql, id)).toMatchObject({
          ...{ state: "pending", attempts: 0, doubt_since: doubt ? START : null },
        });
      }),
  );

  test("a source that does not answer costs the action no try; after three days it is given up", () =>
    inAccount(async (sql) => {
      const id = await claimed(sql);
      await settle(sql, id, "check", "timeout");
      expect(await action(sql, id)).toMatchObject({ state: "pending", attempts: 0, doubt_since: null });

      await claim(sql, later(72 * 3600 + 60));
      await settle(sql, id, "check", "timeout", { at: later(72 * 3600 + 60) });

      expect(await action(sql, id)).toMatchObject({ state: "dead", attempts: 1, doubt_since: null });
      expect((await action(sql, id)).problem).toMatch(/^Chatwoot could not be reached for three days\./);
    }));

  test("the first success after failures: what waited for Chatwoot falls due, what fails by itself does not", () =>
    inAccount(async (sql) => {
      const ids = [];
      for (const display of [1, 2, 3]) ids.push(await enqueue(sql, "reply", { content: "Hello" }, display));
      await sql.rows(
        `update actions.outbox set attempts = action_id - $1::bigint + 2, last_attempted_at = $2, next_attempt_at = $3
        where action_id <> $4`,
        [ids[0], START, later(9_000), ids[2]],
      );
      await sql.rows("update actions.outbox set attempts = 5 where action_id = $1", [ids[1]]);
      await sql.rows("update actions.accounts set failures = 4, problem = 'Down.', problem_at = $1 where true", [
        START,
      ]);
      await claim(sql, later(10));

      await settle(sql, ids[2], "send", null, { at: later(10), message: 5 });

      expect(
        (await sql.rows("select next_attempt_at from api.actions order by action_id")).map((row) =>
          row.next_attempt_at
        ),
      ).toEqual([later(30), later(9_000), null]);
      expect((await sql.rows("select failures, retry_at, problem from actions.accounts"))[0])
        .toEqual({ failures: 0, retry_at: null, problem: null });
    }));

  test("but what is in doubt not before half a minute after its request has ended, however long that took", () =>
    inAccount(async (sql) => {
      const slow = await enqueue(sql, "reply", { content: "Hello" }, 1);
      await claim(sql);
      const quick = await enqueue(sql, "reply", { content: "Hello" }, 2);
      await claim(sql, later(1));
      await settle(sql, slow, "send", "timeout", { at: later(45) });
      expect((await action(sql, slow)).last_attempted_at).toEqual(later(45));

      await settle(sql, quick, "send", null, { at: later(50), message: 5 });

      expect((await action(sql, slow)).next_attempt_at).toEqual(later(75));
    }));

  test("an hour of failures is an alert, and over with the first success", () =>
    inAccount(async (sql) => {
      await enqueue(sql);
      const fail = (seconds: number) =>
        sql.rows("select actions.note_failure(1, $1, true, 'Down.', 'Look.')", [later(seconds)]);
      await fail(0);
      await fail(899);
      expect(await sql.rows("select from ops.alerts")).toEqual([]);
      await fail(900);
      expect(await sql.rows("select kind from ops.alerts where resolved_at is null")).toEqual([
        { kind: "actions.failing" },
      ]);

      await sql.rows("select actions.note_success(1, $1)", [later(1000)]);

      expect(await sql.rows("select from ops.alerts where resolved_at is null")).toEqual([]);
    }));

  test("a stop is told, alerted and logged once, and resuming ends the alert", () =>
    inAccount(async (sql) => {
      await enqueue(sql);
      for (let times = 0; times < 2; times++) {
        await sql.rows("select actions.stop(1, $1, 'Chatwoot does not know the token (401).', 'Set it.')", [START]);
      }
      expect(await sql.rows("select kind, times from ops.alerts")).toEqual([{ kind: "actions.stopped", times: 1 }]);
      expect(await sql.value("select count(*)::int from ops.notifications where kind = 'actions.stopped'")).toBe(1);

      expect(await sql.value("select api.resume_sending(1)")).toBe(true);
      expect(await sql.value("select api.resume_sending(1)")).toBe(false);

      expect(await sql.rows("select from ops.alerts where resolved_at is null")).toEqual([]);
      expect((await sql.rows("select action from audit.decision_log where subject = 'sending' order by entry"))
        .map((row) => row.action)).toEqual(["sending.stopped", "sending.resumed"]);
    }));
});

describe("the last tries", () => {
  test("the twelfth is looked for half a minute later, and if it is not there the action is dead and not in doubt", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await sql.rows("update actions.outbox set attempts = 11 where true");
      await claim(sql);
      await settle(sql, id, "send", "timeout");
      expect(await action(sql, id)).toMatchObject({ state: "pending", attempts: 12 });
      expect(Number((await action(sql, id)).next_attempt_at) - START.getTime()).toBeLessThan(40_000);
      await claim(sql, later(40));

      await settle(sql, id, "look", "exhausted", { at: later(40), doubt: true });

      expect(await action(sql, id)).toMatchObject({ state: "dead", attempts: 13, doubt_since: null });
    }));

  test("and where the look fails too, it is dead and still in doubt", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await sql.rows("update actions.outbox set attempts = 12, doubt_since = $1 where true", [later(-60)]);
      await claim(sql);

      await settle(sql, id, "look", "timeout", { doubt: true });

      expect(await action(sql, id)).toMatchObject({ state: "dead", doubt_since: later(-60) });
    }));
});

describe("withdrawn", () => {
  test("is what waits; not what may have arrived, is being sent, or is over", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      const cancel = () => sql.value("select api.cancel_action(1, $1)", [id]);
      await claim(sql);
      expect(await cancel()).toBe(false);
      await settle(sql, id, "send", "timeout");
      expect(await cancel()).toBe(false);
      await sql.rows("update actions.outbox set doubt_since = null where true");

      expect(await cancel()).toBe(true);

      expect(await cancel()).toBe(false);
      expect(await action(sql, id)).toMatchObject({ state: "cancelled", settled_at: expect.any(Date) });
      expect((await claim(sql, later(9_000))).action_id).toBe(null);
      expect((await sql.rows("select evidence from audit.decision_log where action = 'action.cancelled'"))[0].evidence)
        .toMatchObject({ display_id: 1, kind: "reply" });
      await sql.throws("OC404", "select api.cancel_action(1, 0)");
    }));

  test("is not what a dispatcher holds at this moment, and nobody waits for it", async () => {
    const [one, other] = [await database.connect(), await database.connect()];
    await one.query("insert into chatwoot.conversations (account_id, display_id, version_at) values (5, 1, now())");
    const { rows: [{ id }] } = await one.query(`select actions.enqueue(5, 1, 'reply', '{"content": "Hello"}') as id`);
    await one.query("begin");
    await one.query("select from actions.outbox where account_id = 5 for no key update");

    expect((await other.query("select actions.cancel(5, $1, 'News.') as done", [id])).rows).toEqual([{ done: false }]);

    await one.query("rollback");
    await one.query("delete from actions.outbox where account_id = 5");
    await one.query("delete from actions.accounts where account_id = 5");
  });
});

describe("sent again", () => {
  test("is what is dead, with twelve new tries; what was in doubt is looked for first", () =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await claim(sql);
      await sql.throws("OC409", "select api.retry_action(1, $1)", [id]);
      await sql.rows(
        "update actions.outbox set attempts = 13, doubt_since = $1 where true",
        [START],
      );
      await settle(sql, id, "look", "timeout", { doubt: true });
      expect((await action(sql, id)).state).toBe("dead");

      await sql.rows("select actions.retry(1, $1, $2)", [id, later(60)]);

      expect(await action(sql, id)).toMatchObject({ state: "pending", attempts: 0, problem: null, settled_at: null });
      expect(await claim(sql, later(3600))).toMatchObject({ action_id: id, is_in_doubt: true });
      expect(await sql.rows("select outcome from audit.decision_log where action = 'action.retried'")).toEqual([
        { outcome: "pending" },
      ]);
      await sql.throws("OC404", "select api.retry_action(1, 0)");
    }));
});

describe("who may", () => {
  const CALLS = [
    {
      name: "enqueue_action",
      text: `select api.enqueue_action(1, 1, 'reply', '{"content": "Hello"}')`,
      least: "approver",
    },
    {
      name: "cancel_action",
      text: "select api.cancel_action(1, (select max(action_id) from api.actions))",
      least: "approver",
    },
    {
      name: "retry_action",
      text: "select api.retry_action(1, (select max(action_id) from api.actions))",
      least: "approver",
    },
    { name: "resume_sending", text: "select api.resume_sending(1)", least: "admin" },
  ];
  const ROLES = ["viewer", "operator", "approver", "admin"];

  test.each(CALLS)("$name: $least and above, and the backend", ({ text, least }) =>
    inAccount(async (sql) => {
      const id = await enqueue(sql);
      await sql.rows("update actions.outbox set state = 'dead', settled_at = now() where true");
      for (const role of ROLES) {
        const person = await member(sql, 1, role);
        await sql.as("authenticated", person, async () => {
          if (ROLES.indexOf(role) < ROLES.indexOf(least)) await sql.throws("OC403", text);
          else {
            await sql.rows("savepoint before_call");
            await sql.rows(text);
            await sql.rows("rollback to savepoint before_call");
          }
        });
      }
      const stranger = await member(sql, 2, "admin");
      await sql.as("authenticated", stranger, async () => {
        await sql.throws("OC403", text.replace("(select max(action_id) from api.actions)", id));
      });
      await sql.as("anon", null, async () => {
        await sql.throws("42501", text);
      });
      await sql.as("analyst", null, async () => {
        await sql.throws("42501", text);
      });
      await sql.as("service_role", null, async () => {
        await sql.rows(text);
      });
    }));

  test("nobody calls what is the room's own, nor writes its tables", () =>
    inAccount(async (sql) => {
      expect(
        await sql.rows(
          `select routines.oid::regprocedure::text as routine, role
          from pg_proc as routines, unnest(array['anon', 'authenticated', 'service_role', 'analyst']) as role
          where routines.pronamespace = 'actions'::regnamespace
            and routines.proname not in ('request', 'withdraw', 'retry', 'resume_sending')
            and has_function_privilege(role, routines.oid, 'execute')`,
        ),
      ).toEqual([]);
      for (const role of ["authenticated", "service_role", "analyst", "anon"] as const) {
        await sql.as(role, null, async () => {
          await sql.throws("42501", "update actions.outbox set state = 'sent' where true");
          await sql.throws("42501", "insert into actions.accounts (account_id) values (1)");
        });
      }
    }));

  test("members read their own accounts' actions, nobody else's", () =>
    inAccount(async (sql) => {
      await enqueue(sql);
      const [ours, theirs] = [await member(sql, 1, "viewer"), await member(sql, 2, "admin")];
      const seen = (who: string) =>
        sql.as("authenticated", who, async () => [
          (await sql.rows("select from api.actions")).length,
          (await sql.rows("select from api.sending_status")).length,
        ]);

      expect(await seen(ours)).toEqual([1, 1]);
      expect(await seen(theirs)).toEqual([0, 0]);
    }));

  test("the log names the person who asked", () =>
    inAccount(async (sql) => {
      const person = await member(sql, 1, "approver");
      await sql.as("authenticated", person, () => sql.rows(CALLS[0].text));

      expect((await sql.rows("select created_by from api.actions"))[0].created_by).toBe(`user:${person}`);
      expect(
        (await sql.rows("select actor from audit.decision_log where account_id = 1 and action = 'action.enqueued'"))[0]
          .actor,
      )
        .toBe(`user:${person}`);
    }));
});

test("the status of sending: how much waits, how much of it is in doubt, since when", () =>
  inAccount(async (sql) => {
    await enqueue(sql);
    await enqueue(sql, "reply", { content: "Hello" }, 2, later(60));
    await claim(sql);

    expect((await sql.rows("select * from api.sending_status"))[0]).toMatchObject({
      ...{ account_id: "1", sending: "on", state: "active", problem: null, pending: "2", in_doubt: "1" },
      oldest_at: START,
    });
  }));
