import { describe, expect, test } from "vitest";
import { member, type Role, type Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();

interface Verdict {
  account_id: string;
  entries: string;
  first_broken_entry: string | null;
  reason: string | null;
}

const log = (sql: Sql, account: number, subject: string, outcome = "done") =>
  sql.value<string>("select audit.log($1, 'test.decided', $2, jsonb_build_object('because', $2::text), $3)", [
    account,
    subject,
    outcome,
  ]);

const verify = (sql: Sql, account: number | null = null) =>
  sql.rows<Verdict & Record<string, unknown>>("select * from audit.verify($1)", [account]);

const whole = (account: number, entries: number) => ({
  account_id: String(account),
  entries: String(entries),
  first_broken_entry: null,
  reason: null,
});

describe("a decision", () => {
  test("is written with who, what, why and how it ended, and takes the next number of its account", () =>
    database.rolledBack(async (sql) => {
      await log(sql, 1, "one");
      await log(sql, 2, "other account");
      await sql.rows(
        `select audit.log(1, 'reply.approved', 'message:9001', '{"score": 0.9}', 'done', actor => 'rule:night', actor_version => '3',
          as_of => '2026-11-20T09:00:00.123456Z')`,
      );

      await sql.resultsEqual(
        `select account_id::int, entry::int, actor, actor_version, action, subject, evidence, outcome,
          previous_hash is null as is_first from audit.decision_log order by 1, 2`,
        [
          row(1, 1, { subject: "one", evidence: { because: "one" } }),
          row(1, 2, {
            actor: "rule:night",
            actor_version: "3",
            action: "reply.approved",
            subject: "message:9001",
            evidence: { score: 0.9 },
          }),
          row(2, 1, { subject: "other account", evidence: { because: "other account" } }),
        ],
      );
      expect(
        await sql.value(
          "select decided_at = '2026-11-20T09:00:00.123456Z' from audit.decision_log where account_id = 1 and entry = 2",
        ),
      )
        .toBe(true);
      expect(await verify(sql)).toEqual([whole(1, 2), whole(2, 1)]);
    }));

  function row(account_id: number, entry: number, rest: Record<string, unknown>) {
    const usual = { actor: "database:postgres", actor_version: null, action: "test.decided", outcome: "done" };
    return { account_id, entry, is_first: entry === 1, ...usual, ...rest };
  }

  test("cannot bring its own number or hashes along", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(
        `insert into audit.decision_log (account_id, entry, decided_at, actor, action, subject, evidence, outcome, previous_hash, hash)
        values (1, 99, now(), 'user:x', 'forged', 'x', '{}', 'done', 'abc', 'abc')`,
      );

      await sql.resultsEqual("select entry, previous_hash, length(hash) as bytes from audit.decision_log", [
        { entry: "1", previous_hash: null, bytes: 32 },
      ]);
      expect(await verify(sql, 1)).toEqual([whole(1, 1)]);
    }));

  test.each([
    { name: "evidence that is no object", call: "audit.log(1, 'a', 's', '[]', 'done')" },
    { name: "an empty action", call: "audit.log(1, '', 's', '{}', 'done')" },
    { name: "a subject of 501 characters", call: "audit.log(1, 'a', repeat('s', 501), '{}', 'done')" },
  ])("is refused with $name", ({ call }) =>
    database.rolledBack(async (sql) => {
      await sql.throws("23514", `select ${call}`);
      expect(await verify(sql, 1)).toEqual([]);
    }));
});

describe("the log is append only", () => {
  const CHANGES = [
    "update audit.decision_log set outcome = 'other' where account_id = 1",
    "delete from audit.decision_log where account_id = 1",
    "truncate audit.decision_log",
  ];

  test.each(["owner", "superuser", "superuser as a replica"])("for the %s", async (who) => {
    const client = await database.connect(who === "owner" ? "postgres" : "supabase_admin");
    await client.query("begin");
    await client.query("select audit.log(1, 'a', 's', '{}', 'done')");
    if (who === "superuser as a replica") await client.query("set local session_replication_role = replica");

    for (const change of CHANGES) {
      await client.query("savepoint before_change");
      await expect(client.query(change), change).rejects.toMatchObject({
        code: "OC409",
        message: expect.stringContaining("append only"),
        hint: expect.stringContaining("audit.log"),
      });
      await client.query("rollback to savepoint before_change");
    }

    await client.query("rollback");
  });

  test.each<Role>(["anon", "authenticated", "service_role", "analyst"])(
    "for %s, who may not add to it either",
    (role) =>
      database.rolledBack(async (sql) => {
        await log(sql, 1, "one");
        const person = await member(sql, 1, "admin");

        await sql.as(role, role === "authenticated" ? person : null, async () => {
          for (const change of CHANGES) await sql.throws("42501", change);
          await sql.throws("42501", "select audit.log(1, 'a', 's', '{}', 'done')");
          await sql.throws(
            "42501",
            "insert into audit.decision_log (account_id, entry, decided_at, actor, action, subject, evidence, outcome, hash) values (1, 2, now(), 'x', 'x', 'x', '{}', 'x', '')",
          );
          await sql.throws("42501", "update audit.chain_heads set entry = 0 where account_id = 1");
        });
      }),
  );
});

describe("two writers at once", () => {
  test("wait for each other within an account, and the chain stays whole", async () => {
    const [one, two] = await Promise.all([database.connect(), database.connect()]);
    await one.query("begin");
    await one.query("select audit.log(51, 'a', 'first', '{}', 'done')");

    // Another account is not held up.
    await two.query("select audit.log(52, 'a', 'other account', '{}', 'done')");
    const waiting = two.query("select audit.log(51, 'a', 'second', '{}', 'done') as entry");
    await database.untilWaiting(two);
    await one.query("commit");

    expect((await waiting).rows).toEqual([{ entry: "2" }]);
    const { rows } = await one.query(
      "select account_id, entries, first_broken_entry from audit.verify() where account_id in (51, 52)",
    );
    expect(rows).toEqual([
      { account_id: "51", entries: "2", first_broken_entry: null },
      { account_id: "52", entries: "1", first_broken_entry: null },
    ]);
  });

  test("who keep writing to two accounts leave both chains whole and without a gap", async () => {
    const writers = await Promise.all(Array.from({ length: 4 }, () => database.connect()));

    await Promise.all(writers.map(async (writer, index) => {
      for (let times = 0; times < 25; times++) {
        await writer.query("select audit.log($1, 'a', $2, '{}', 'done')", [
          53 + ((times + index) % 2),
          `${index}:${times}`,
        ]);
      }
    }));

    const { rows } = await writers[0].query("select * from audit.verify() where account_id in (53, 54)");
    expect(rows).toEqual([whole(53, 50), whole(54, 50)]);
  });
});

describe("audit.verify finds what someone with every right has done", () => {
  const TAMPERED = 2;

  test.each([
    {
      name: "evidence that was changed",
      change: 'update audit.decision_log set evidence = \'{"because": "money"}\' where account_id = 1 and entry = 3',
      broken: { first_broken_entry: "3", reason: "was changed after it was written" },
    },
    {
      name: "an actor that was changed",
      change: "update audit.decision_log set actor = 'user:somebody-else' where account_id = 1 and entry = 1",
      broken: { first_broken_entry: "1", reason: "was changed after it was written" },
    },
    {
      name: "a changed entry whose own hash was mended",
      change: `update audit.decision_log set outcome = 'refused' where account_id = 1 and entry = 3;
        update audit.decision_log as log set hash = audit.entry_hash(log) where account_id = 1 and entry = 3`,
      broken: { first_broken_entry: "4", reason: "does not follow from the entry before" },
    },
    {
      name: "a last entry that was changed and its own hash mended",
      change: `update audit.decision_log set outcome = 'refused' where account_id = 1 and entry = 5;
        update audit.decision_log as log set hash = audit.entry_hash(log) where account_id = 1 and entry = 5`,
      broken: { first_broken_entry: "5", reason: "is not the entry that was written last" },
    },
    {
      name: "an entry taken out of the middle",
      change: "delete from audit.decision_log where account_id = 1 and entry = 3",
      broken: { entries: "4", first_broken_entry: "4", reason: "an entry before this one is missing" },
    },
    {
      name: "the first entry taken away",
      change: "delete from audit.decision_log where account_id = 1 and entry = 1",
      broken: { entries: "4", first_broken_entry: "2", reason: "an entry before this one is missing" },
    },
    {
      name: "the last two entries cut off",
      change: "delete from audit.decision_log where account_id = 1 and entry >= 4",
      broken: { entries: "3", first_broken_entry: "4", reason: "entries at the end are missing" },
    },
    {
      name: "every entry taken away",
      change: "delete from audit.decision_log where account_id = 1",
      broken: { entries: "0", first_broken_entry: "1", reason: "entries at the end are missing" },
    },
    {
      name: "two entries whose links were swapped",
      change: `update audit.decision_log as log set previous_hash = other.previous_hash
        from audit.decision_log as other where log.account_id = 1 and other.account_id = 1
        and (log.entry, other.entry) in ((3, 4), (4, 3))`,
      broken: { first_broken_entry: "3", reason: "does not follow from the entry before" },
    },
    {
      name: "the head and its entries taken away together",
      change: `delete from audit.decision_log where account_id = 1 and entry = 5;
        delete from audit.chain_heads where account_id = 1`,
      broken: { entries: "4", first_broken_entry: "1", reason: "the head of the chain is missing" },
    },
  ])("$name", async ({ change, broken }) => {
    const client = await database.connect("supabase_admin");
    await client.query("begin");
    for (const account of [1, TAMPERED]) {
      for (let entry = 1; entry <= 5; entry++) {
        await client.query("select audit.log($1, 'a', $2, '{\"because\": \"reasons\"}', 'done')", [
          account,
          `s${entry}`,
        ]);
      }
    }
    await client.query("alter table audit.decision_log disable trigger user");

    await client.query(change);

    const { rows } = await client.query("select * from audit.verify() where account_id in (1, 2)");
    await client.query("rollback");
    expect(rows).toEqual([{ ...whole(1, 5), ...broken }, whole(2, 5)]);
  });
});

describe("who reads the log", () => {
  test("members read and verify their own accounts, through the API too", () =>
    database.rolledBack(async (sql) => {
      const ada = await member(sql, 1, "viewer");
      await log(sql, 1, "mine");
      await log(sql, 2, "theirs");

      await sql.as("authenticated", ada, async () => {
        await sql.resultsEqual("select subject from audit.decision_log", [{ subject: "mine" }]);
        await sql.resultsEqual("select subject, length(hash) as digits from api.decision_log", [{
          subject: "mine",
          digits: 64,
        }]);
        await sql.resultsEqual("select * from api.verify_decision_log()", [whole(1, 1)]);
        await sql.resultsEqual("select * from api.verify_decision_log(2)", []);
      });
      await sql.as("service_role", null, async () => {
        await sql.resultsEqual("select * from api.verify_decision_log() where account_id in (1, 2)", [
          whole(1, 1),
          whole(2, 1),
        ]);
      });
    }));

  test.each<Role>(["anon", "analyst"])("%s sees nothing of it", (role) =>
    database.rolledBack(async (sql) => {
      await log(sql, 1, "one");

      await sql.as(role, null, async () => {
        for (
          const from of [
            "audit.decision_log",
            "audit.chain_heads",
            "api.decision_log",
            "audit.verify()",
            "api.verify_decision_log()",
          ]
        ) {
          await sql.throws("42501", `select * from ${from}`);
        }
      });
    }));

  test("someone signed in who is no member sees nothing of it", () =>
    database.rolledBack(async (sql) => {
      const stranger = await member(sql, 3, "admin");
      await log(sql, 1, "one");

      await sql.as("authenticated", stranger, async () => {
        for (const from of ["audit.decision_log", "audit.chain_heads", "api.decision_log", "audit.verify()"]) {
          await sql.resultsEqual(`select * from ${from}`, []);
        }
      });
    }));
});
