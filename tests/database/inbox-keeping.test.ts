// What is kept of a delivery: by whom it can be read, how the mirror is rebuilt from it, when it goes, and that
// deliveries at the same moment do not get in each other's way.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  CANARY,
  contactEvent,
  contactUpdated,
  conversationEvent,
  messageEvent,
  START,
  story,
} from "../fixtures/webhooks.ts";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { deliver, kept, mirror } from "./deliver.ts";

const database = useDatabase();

async function deliverStory(sql: Sql): Promise<number> {
  const events = story();
  for (const [index, body] of events.entries()) {
    const outcome = await deliver(sql, { id: `story-${String(index).padStart(2, "0")}`, body });
    expect(outcome, JSON.stringify(body).slice(-200)).toBe("applied");
  }
  return events.length;
}

describe("who can read what was kept", () => {
  test("no credential of a payload reaches any table but the raw bytes", () =>
    database.rolledBack(async (sql) => {
      await deliverStory(sql);
      await deliver(sql, { id: "dead", body: conversationEvent("conversation_updated", { status: "closed" }) });
      await deliver(sql, { id: "ignored", body: { ...contactEvent("call_started"), token: `${CANARY}-top` } });
      expect(
        await sql.value("select bool_or(position(convert_to($1, 'UTF8') in body) > 0) from inbox.deliveries", [CANARY]),
      )
        .toBe(true);

      const tables = await sql.rows<{ name: string }>(
        `select format('%I.%I', nspname, relname) as name
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where relkind in ('r', 'p', 'm') and nspname !~ '^pg_' and nspname <> 'information_schema'
          and has_table_privilege(pg_class.oid, 'select')`,
      );
      expect(tables.length).toBeGreaterThan(15);
      for (const { name } of tables) {
        const leaks = await sql.rows(
          `select to_jsonb(rows) - 'body' as row from ${name} as rows
          where (to_jsonb(rows) - 'body')::text like any (array['%' || $1 || '%', '%' || encode(convert_to($1, 'UTF8'), 'hex') || '%'])`,
          [CANARY],
        );
        expect(leaks, name).toEqual([]);
      }
    }));

  test.each(["anon", "authenticated", "analyst", "service_role"] as const)(
    "%s reads neither bytes nor headers",
    (role) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, 1, "admin");
        await deliver(sql, { id: "d1", body: contactEvent("contact_created") });

        await sql.as(role, role === "authenticated" ? person : null, async () => {
          for (const column of ["body", "headers", "last_conflict_sha256", "*"]) {
            await sql.throws("42501", `select ${column} from inbox.deliveries`);
          }
          await sql.throws("42501", "update inbox.deliveries set outcome = 'applied' where true");
          await sql.throws("42501", "delete from inbox.deliveries where true");
        });
      }),
  );

  test("a member sees what became of their own account's deliveries", () =>
    database.rolledBack(async (sql) => {
      const person = await member(sql, 1, "viewer");
      await deliver(sql, { id: "mine", body: contactEvent("contact_created") });
      await deliver(sql, { account: 2, id: "theirs", body: contactEvent("contact_created", { account: { id: 2 } }) });

      await sql.as("authenticated", person, async () => {
        await sql.resultsEqual("select delivery_id, outcome from api.deliveries", [{
          delivery_id: "mine",
          outcome: "applied",
        }]);
      });
      await sql.as("anon", null, () => sql.throws("42501", "select * from api.deliveries"));
    }));
});

describe("trouble that passes", () => {
  test.each([
    { name: "a lock that is not given in time", setting: "lock_timeout", sqlstate: "55P03" },
    { name: "a statement that takes too long", setting: "statement_timeout", sqlstate: "57014" },
  ])("$name is the sender's to try again: raised, and nothing stored", async ({ setting, sqlstate }) => {
    const [holder, sender] = await Promise.all([database.connect(), database.connect()]);
    const account = sqlstate === "55P03" ? 31 : 32;
    const event = contactUpdated(10, { account: { id: account, name: "Acme Outdoor" } });
    await deliver(sender, { account, id: "first", body: event });
    await holder.query("begin");
    await holder.query("select from chatwoot.contacts where account_id = $1 for update", [account]);
    await sender.query(`set ${setting} = '150ms'`);
    const second = { account, id: "second", body: contactUpdated(20, { account: { id: account }, name: "Dana Wu" }) };

    await expect(deliver(sender, second)).rejects.toMatchObject({ code: sqlstate });
    await holder.query("rollback");

    expect(await kept(holder, "second")).toBeUndefined();
    expect(await deliver(sender, second)).toBe("applied");
    await sender.query("delete from inbox.deliveries where account_id = $1", [account]);
  });
});

describe("replay", () => {
  const wipe = async (sql: Sql) => {
    // In the order in which rows refer to each other.
    const tables = [
      "csat_responses",
      "messages",
      "conversations",
      "contacts",
      "labels",
      "teams",
      "agents",
      "inboxes",
      "accounts",
    ];
    for (const table of tables) await sql.rows(`delete from chatwoot.${table} where account_id = 1`);
  };

  test("rebuilds the mirror from the bytes, equal to the live one, and changes nothing when done again", () =>
    database.rolledBack(async (sql) => {
      const count = await deliverStory(sql);
      const live = await mirror(sql);
      expect(Object.entries(live).filter(([, rows]) => rows.length === 0)).toEqual([]);

      await wipe(sql);
      expect(Object.values(await mirror(sql)).flat()).toEqual([]);
      await sql.resultsEqual("select * from inbox.replay(1)", [{ outcome: "applied", deliveries: String(count) }]);
      expect(await mirror(sql)).toEqual(live);

      const rebuilt = await mirror(sql, { whole: true });
      await sql.rows("select * from inbox.replay(1)");
      expect(await mirror(sql, { whole: true })).toEqual(rebuilt);
    }));

  test("holds no lock for each message until it ends, since the table of locks is everybody's", () =>
    database.rolledBack(async (sql) => {
      const locks = () =>
        sql.value<number>("select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()");
      for (let number = 0; number < 50; number++) {
        await deliver(sql, { id: `message-${number}`, body: messageEvent("message_created", { id: 9100 + number }) });
      }
      const before = await locks();
      expect(before).toBeGreaterThanOrEqual(100);
      await sql.rows(
        `update inbox.deliveries set body = convert_to(replace(convert_from(body, 'UTF8'), '"id":91', '"id":92'), 'UTF8')
        where account_id = 1`,
      );

      await sql.resultsEqual("select * from inbox.replay(1)", [{ outcome: "applied", deliveries: "50" }]);

      expect(await sql.value("select count(*)::int from chatwoot.messages where message_id >= 9200")).toBe(50);
      expect(await locks()).toBe(before);
    }));

  test("reads the dead again by default, and says what became of them", () =>
    database.rolledBack(async (sql) => {
      await deliver(sql, { id: "good", body: contactEvent("contact_created") });
      await deliver(sql, { id: "bad", body: contactEvent("contact_created", { id: "x" }) });
      await deliver(sql, { id: "typing", body: { event: "conversation_typing_on" } });
      // As if an older reading had failed on it.
      await sql.rows("update inbox.deliveries set outcome = 'dead', reason = 'old fault' where delivery_id = 'good'");

      await sql.resultsEqual("select * from api.replay_deliveries(1) order by outcome", [
        { outcome: "applied", deliveries: "1" },
        { outcome: "dead", deliveries: "1" },
      ]);

      await sql.resultsEqual(
        "select delivery_id, outcome, reason is null as readable, replayed_at is not null as replayed from inbox.deliveries order by 1",
        [
          { delivery_id: "bad", outcome: "dead", readable: false, replayed: true },
          { delivery_id: "good", outcome: "applied", readable: true, replayed: true },
          { delivery_id: "typing", outcome: "ignored", readable: false, replayed: false },
        ],
      );
    }));

  test("keeps to the account and to the time asked for", () =>
    database.rolledBack(async (sql) => {
      for (const hour of ["08", "09", "10"]) {
        const receivedAt = `2026-11-20T${hour}:00:00Z`;
        await deliver(sql, { id: `h${hour}`, body: contactEvent("contact_created"), receivedAt });
      }
      const other = contactEvent("contact_created", { account: { id: 2 } });
      await deliver(sql, { account: 2, id: "h09", body: other, receivedAt: "2026-11-20T09:00:00Z" });

      await sql.rows("select * from inbox.replay(1, '2026-11-20T09:00Z', '2026-11-20T10:00Z')");

      await sql.resultsEqual(
        "select account_id, delivery_id from inbox.deliveries where replayed_at is not null",
        [{ account_id: "1", delivery_id: "h09" }],
      );
    }));

  test.each([
    { who: "an operator", account: 1, role: "operator" },
    { who: "an approver", account: 1, role: "approver" },
    { who: "an admin of another account", account: 2, role: "admin" },
  ])("is not for $who", ({ account, role }) =>
    database.rolledBack(async (sql) => {
      const person = await member(sql, account, role);

      await sql.as("authenticated", person, async () => {
        await sql.throws("OC403", "select * from inbox.replay(1)");
        await sql.throws("OC403", "select * from api.replay_deliveries(1)");
      });
    }));

  test("is for admins and the project's backend, never for anon", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      await deliver(sql, { id: "d1", body: contactEvent("contact_created") });

      const replay = "select * from api.replay_deliveries(1, outcomes => array['applied'])";
      const expected = [{ outcome: "applied", deliveries: "1" }];
      await sql.as("authenticated", admin, () => sql.resultsEqual(replay, expected));
      await sql.as("service_role", null, () => sql.resultsEqual(replay, expected));
      await sql.as("anon", null, () => sql.throws("42501", replay));
    }));
});

describe("retention", () => {
  const AS_OF = "2026-12-31T12:00:00Z";
  const daysBefore = (days: number) => new Date(Date.parse(AS_OF) - days * 86_400_000).toISOString();
  const old = (sql: Sql, account: number, days: number) =>
    deliver(sql, {
      account,
      id: `${days}`,
      body: contactEvent("contact_created", { account: { id: account } }),
      headers: { "user-agent": "Chatwoot" },
      receivedAt: daysBefore(days),
    });
  const purged = (sql: Sql) =>
    sql.rows(
      "select account_id::integer as account, delivery_id as days from inbox.deliveries where purged_at is not null order by 1, 2",
    );

  test("keeps the bytes for as many days as each account has chosen, 35 by itself", () =>
    database.rolledBack(async (sql) => {
      for (const account of [1, 2, 3]) for (const days of [9, 11, 35, 36]) await old(sql, account, days);
      await sql.rows(
        "select ops.set_setting(2, 'raw_retention_days', '10'), ops.set_setting(3, 'raw_retention_days', '3650')",
      );

      expect(await sql.value("select inbox.purge_bodies($1)", [AS_OF])).toBe("4");

      expect(await purged(sql)).toEqual([
        { account: 1, days: "36" },
        { account: 2, days: "11" },
        { account: 2, days: "35" },
        { account: 2, days: "36" },
      ]);
    }));

  test("takes the oldest first, a batch at a time, until none is left", () =>
    database.rolledBack(async (sql) => {
      for (const days of [40, 41, 42]) await old(sql, 1, days);
      for (const days of [50, 51]) await old(sql, 2, days);

      const batches = [];
      for (let batch = 0; batch < 4; batch++) {
        batches.push(await sql.value("select inbox.purge_bodies($1, 2)", [AS_OF]));
        if (batch === 0) expect(await purged(sql)).toHaveLength(2);
      }

      expect(batches).toEqual(["2", "2", "1", "0"]);
    }));

  test("leaves the rest of the row: what it was, what became of it, and its hash", () =>
    database.rolledBack(async (sql) => {
      await old(sql, 1, 40);
      const row = "select to_jsonb(rows) - array['body', 'headers', 'purged_at'] from inbox.deliveries as rows";
      const before = await sql.value(row);

      await sql.rows("select inbox.purge_bodies($1)", [AS_OF]);

      expect(await sql.value(row)).toEqual(before);
      await sql.resultsEqual("select body, headers, purged_at from inbox.deliveries", [
        { body: null, headers: null, purged_at: new Date(AS_OF) },
      ]);
    }));

  test("a purged delivery is no more replayed, but still known when it comes again", () =>
    database.rolledBack(async (sql) => {
      await old(sql, 1, 40);
      await sql.rows("select inbox.purge_bodies($1)", [AS_OF]);

      await sql.resultsEqual("select * from inbox.replay(1)", []);
      expect(await old(sql, 1, 40)).toBe("duplicate");

      await sql.resultsEqual("select outcome, redeliveries, conflicts, body from inbox.deliveries", [
        { outcome: "applied", redeliveries: 1, conflicts: 0, body: null },
      ]);
    }));

  test("is run by cron, and by none of the API roles", () =>
    database.rolledBack(async (sql) => {
      await sql.resultsEqual("select jobname, command from cron.job where jobname like 'inbox%'", [
        { jobname: "inbox-purge-bodies", command: "select inbox.purge_bodies()" },
      ]);
      for (const role of ["anon", "authenticated", "service_role", "analyst"] as const) {
        await sql.as(role, null, () => sql.throws("42501", "select inbox.purge_bodies()"));
      }
    }));
});

describe("at the same moment", () => {
  test("the same delivery on two connections is stored once: one is applied, the other a duplicate", async () => {
    const [one, two] = await Promise.all([database.connect(), database.connect()]);
    const delivery = { account: 41, id: randomUUID(), body: messageEvent("message_created", forAccount(41)) };

    await one.query("begin");
    expect(await deliver(one, delivery)).toBe("applied");
    const second = deliver(two, delivery);
    await database.untilWaiting(two);
    await one.query("commit");

    expect(await second).toBe("duplicate");
    expect(await kept(one, delivery.id)).toMatchObject({ outcome: "applied", redeliveries: 1, conflicts: 0 });
  });

  test("of two that differ under the same id only the one that is kept reaches the mirror", async () => {
    const [one, two] = await Promise.all([database.connect(), database.connect()]);
    const id = randomUUID();
    const of = (name: string, contact: number) =>
      contactUpdated(10, { account: { id: 44, name: "Acme Outdoor" }, name, id: contact });

    await one.query("begin");
    expect(await deliver(one, { account: 44, id, body: of("Dana", 205) })).toBe("applied");
    const second = deliver(two, { account: 44, id, body: of("Mallory", 206) });
    await database.untilWaiting(two);
    await one.query("commit");

    expect(await second).toBe("duplicate");
    expect(await kept(one, id)).toMatchObject({ redeliveries: 1, conflicts: 1 });
    expect((await mirror(one, { account: 44 })).contacts).toMatchObject([{ name: "Dana" }]);
  });

  test("when the first is rolled back, the second is applied", async () => {
    const [one, two] = await Promise.all([database.connect(), database.connect()]);
    const delivery = { account: 42, id: randomUUID(), body: messageEvent("message_created", forAccount(42)) };

    await one.query("begin");
    await deliver(one, delivery);
    const second = deliver(two, delivery);
    await database.untilWaiting(two);
    await one.query("rollback");

    expect(await second).toBe("applied");
    expect(await kept(one, delivery.id)).toMatchObject({ outcome: "applied", redeliveries: 0 });
  });

  test("1,000 repetitions on 50 connections are one row, applied once", async () => {
    const connections = await Promise.all(Array.from({ length: 50 }, () => database.connect()));
    const delivery = { account: 43, id: randomUUID(), body: messageEvent("message_created", forAccount(43)) };

    const outcomes = await Promise.all(connections.map(async (connection) => {
      const own = [];
      for (let times = 0; times < 20; times++) own.push(await deliver(connection, delivery));
      return own;
    }));

    expect(outcomes.flat().sort()).toEqual(["applied", ...Array(999).fill("duplicate")]);
    expect(await kept(connections[0], delivery.id)).toMatchObject({ redeliveries: 999, conflicts: 0 });
    await Promise.all(connections.map((connection) => connection.end()));
  });

  function forAccount(id: number) {
    const conversation = conversationEvent("x", { account: { id }, messages: [], created_at: START });
    return { account: { id, name: "Acme Outdoor" }, sender: null, conversation };
  }
});
