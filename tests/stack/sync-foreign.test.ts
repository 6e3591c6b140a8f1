// The database door to a Chatwoot in another database: postgres_fdw, set up from a URL in Vault.
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { type Memory, openMemory } from "../../local/chatwoot/memory.ts";
import { deliverBadly, differences, setSource, source, tick } from "../database/sync-database.support.ts";
import { member, Sql, useDatabase } from "../support/database.ts";

const database = useDatabase();
const START = new Date("2026-11-20T07:00:00Z");
const later = (instant: Date, seconds: number) => new Date(instant.getTime() + seconds * 1000);

const name = `chatwoot_${randomUUID().replaceAll("-", "")}`;
const reader = `reader_${randomUUID().slice(0, 8)}`;
// Everything that has a meaning of its own in a URL.
const PASSWORD = "p@ss:w/o?r#d% é";
const other = (role: string, password: string) => {
  const url = new URL(inject("adminUrl"));
  url.username = role;
  url.password = "";
  url.pathname = `/${name}`;
  return url.href.replace(`//${role}@`, `//${role}:${encodeURIComponent(password)}@`);
};
const readerUrl = () => `${other(reader, PASSWORD)}?sslmode=disable`;

let client: Client;
let memory: Memory;

async function onServer(...statements: string[]): Promise<void> {
  const admin = new Client({ connectionString: inject("adminUrl") });
  await admin.connect();
  try {
    for (const statement of statements) await admin.query(statement);
  } finally {
    await admin.end();
  }
}

async function keepSecret(url: string): Promise<void> {
  const { rows: [known] } = await client.query("select id from vault.secrets where name = 'chatwoot_database_url_1'");
  if (known === undefined) await client.query("select vault.create_secret($1, 'chatwoot_database_url_1')", [url]);
  else await client.query("select vault.update_secret($1, $2)", [known.id, url]);
}

const connectForeign = async () =>
  (await client.query("select sync.connect_foreign(1) as schema")).rows[0].schema as string;
const failure = (work: Promise<unknown>) =>
  work.then(() => null, (error: Error & { code?: string; hint?: string; detail?: string }) => error);

beforeAll(async () => {
  await onServer(
    `create database ${name}`,
    `create role ${reader} login password '${PASSWORD}'`,
  );
  memory = await openMemory({
    url: other("supabase_admin", "postgres"),
    installationOptions: { seed: 5, start: START },
  });
  await memory.save();
  const owner = new Client({ connectionString: other("supabase_admin", "postgres") });
  await owner.connect();
  await owner.query(
    `grant usage on schema public to ${reader}; grant select on all tables in schema public to ${reader}`,
  );
  await owner.end();
  const admin = await database.connect("supabase_admin");
  // What the platform does when postgres_fdw is enabled.
  await admin.query("create extension if not exists postgres_fdw with schema extensions");
  await admin.query("grant usage on foreign data wrapper postgres_fdw to postgres");
  client = await database.connect();
  await client.query("select ops.set_setting(1, 'sync_private_hosts', 'true')");
});

afterAll(async () => {
  await memory?.close();
  await onServer(`drop database if exists ${name} with (force)`, `drop role if exists ${reader}`);
});

describe.sequential("a Chatwoot in another database", () => {
  test("without a secret there is nothing to connect to", async () => {
    expect(await failure(connectForeign())).toMatchObject({
      code: "OC404",
      message: "There is no secret chatwoot_database_url_1 in Vault",
    });
  });

  test.each([
    ["not a url", "must look like"],
    ["postgresql://u:p@db.example.com/chatwoot?sslmode=require&options=-cfoo", "must look like"],
    ["postgresql://u@db.example.com/chatwoot", "must look like"],
    ["postgresql://u:p@db.example.com/", "must look like"],
    ["postgresql://u:p@one.example.com,two.example.com/chatwoot", "public host"],
    ["postgresql://u:p%4@db.example.com/chatwoot", "two hexadecimal digits"],
    ["postgresql://u:p%00@db.example.com/chatwoot", "two hexadecimal digits"],
    ["postgresql://u:p%ff@db.example.com/chatwoot", "not UTF-8"],
    ["postgresql://u:p@db.example.com:99999/chatwoot", "no valid port"],
    ["postgresql://u:p@db.example.com/chatwoot?sslmode=never", "sslmode"],
    ["postgresql://u:p@db.example.com/chatwoot?sslmode=disable", "must ask for TLS"],
    ["postgresql://u:p@127.0.0.1/chatwoot", "public host"],
    ["postgresql://u:p@2130706433/chatwoot", "public host"],
    ["postgresql://u:p@169.254.169.254/chatwoot", "public host"],
    ["postgresql://u:p@[::1]/chatwoot", "public host"],
    ["postgresql://u:p@localhost/chatwoot", "public host"],
    ["postgresql://u:p@db.internal/chatwoot", "public host"],
    ["postgresql://u:p@%2Fvar%2Frun/chatwoot", "public host"],
  ])("%s is refused", async (url, problem) => {
    const error = await failure(client.query("select sync.check_database_url($1, false)", [url]));

    expect(error).toMatchObject({ code: "OC422", message: expect.stringContaining(problem) });
    expect(`${error?.message} ${error?.hint} ${error?.detail}`).not.toContain("u:p");
  });

  test("a percent-encoded password is decoded, and TLS asked for where nothing else is said", async () => {
    const { rows } = await client.query("select * from sync.check_database_url($1, false)", [
      `postgres://chat%40woot:${encodeURIComponent(PASSWORD)}@db.example.com/chatwoot_production`,
    ]);

    expect(rows).toEqual([{
      host: "db.example.com",
      port: 5432,
      database: "chatwoot_production",
      login: "chat@woot",
      password: PASSWORD,
      sslmode: "require",
    }]);
  });

  test("a wrong password, an unreachable host and a database without Chatwoot are told apart, without the password", async () => {
    await keepSecret(readerUrl().replace(encodeURIComponent(PASSWORD), "wrong-secret"));
    const wrong = await failure(connectForeign());
    await keepSecret("postgresql://u:hidden-secret@127.0.0.1:1/chatwoot?sslmode=disable");
    const unreachable = await failure(connectForeign());
    await keepSecret(readerUrl().replace(`/${name}`, "/template1"));
    const without = await failure(connectForeign());

    expect(wrong).toMatchObject({ code: "OC422", message: expect.stringContaining("password authentication failed") });
    expect(unreachable).toMatchObject({ code: "OC422", message: expect.stringContaining("could not connect") });
    expect(without).toMatchObject({ code: "OC422", message: expect.stringMatching(/no tables of Chatwoot/) });
    for (const error of [wrong, unreachable, without]) {
      expect(JSON.stringify([error?.message, error?.hint, error?.detail])).not.toMatch(
        /secret(?!-)|hidden-secret|p%40ss/,
      );
    }
    expect((await client.query("select srvname from pg_foreign_server")).rows).toEqual([]);
  });

  test("connecting makes foreign tables without the columns nobody needs, and again changes nothing", async () => {
    await keepSecret(readerUrl());

    expect(await connectForeign()).toBe("chatwoot_source_1");

    const tables = async () =>
      (await client.query(
        "select oid, relname from pg_class where relnamespace = 'chatwoot_source_1'::regnamespace order by 2",
      ))
        .rows;
    const before = await tables();
    expect(before.map(({ relname }) => relname)).toEqual(
      expect.arrayContaining(["conversations", "messages", "users"]),
    );
    const { rows: columns } = await client.query(
      "select attname from pg_attribute where attrelid = 'chatwoot_source_1.users'::regclass and attnum > 0 and not attisdropped order by 1",
    );
    expect(columns.map(({ attname }) => attname)).toEqual(["display_name", "email", "id", "name"]);
    expect(await connectForeign()).toBe("chatwoot_source_1");
    expect(await tables()).toEqual(before);
    const { rows: decisions } = await client.query(
      "select evidence from audit.decision_log where action = 'sync.foreign_connected'",
    );
    expect(decisions).toHaveLength(1);
    expect(JSON.stringify(decisions)).not.toContain("p@ss");
  });

  test("no role of the Data API reads them, nor the password", async () => {
    for (const role of ["anon", "authenticated", "service_role"]) {
      await client.query("begin");
      await client.query(`set local role ${role}`);
      expect(await failure(client.query("select * from chatwoot_source_1.users"))).toMatchObject({ code: "42501" });
      await client.query("rollback");
      await client.query("begin");
      await client.query(`set local role ${role}`);
      const { rows } = await client.query("select umoptions from pg_user_mappings");
      expect(rows).toEqual([{ umoptions: null }]);
      await client.query("rollback");
    }
  });

  test("a member of the account may neither connect nor disconnect", () =>
    database.rolledBack(async (sql: Sql) => {
      const admin = await member(sql, 1, "admin");
      for (const call of ["sync.connect_foreign(1)", "sync.disconnect_foreign(1)"]) {
        await sql.as("postgres", null, async () => {
          await sql.rows("select set_config('request.jwt.claims', $1, true)", [
            JSON.stringify({ role: "authenticated", sub: admin }),
          ]);
          await sql.throws("OC403", `select ${call}`);
        });
      }
    }));

  test("with webhooks lost, two ticks make the mirror equal, silent changes included; a third writes nothing", async () => {
    const { events, installation } = historyOf({
      conversations: 20,
      events: 800,
      seed: 5,
      start: START,
      silentChanges: true,
      installation: memory.installation,
    });
    await setSource(client, "chatwoot_source_1");
    const drawn = [...events];
    const half = drawn.length / 2;
    let now = later(drawn[half].at, 30);
    await deliverBadly(client, drawn.slice(0, half), { seed: 5 });
    await memory.save();
    await tick(client, now);
    await deliverBadly(client, drawn.slice(half), { seed: 6 });
    now = later(drawn.at(-1)!.at, 30);
    await tick(client, now);

    expect(await source(client)).toMatchObject({ problem: null, changed_until: now });
    expect(await differences(client, installation.finalState("database"))).toEqual([]);
    await tick(client, later(now, 60));
    const { rows: runs } = await client.query("select rows_changed from sync.runs order by run_id desc limit 1");
    expect(runs).toEqual([{ rows_changed: "0" }]);
  });

  test("verifying finds what was changed behind both, and puts it right", async () => {
    const { rows: [first] } = await client.query(
      "select min(message_id)::integer as id from chatwoot.messages where deleted_at is null",
    );
    await client.query("update chatwoot.messages set content = 'never said' where message_id = $1", [first.id]);

    const { rows } = await client.query("select * from sync.verify(1, '2026-11-20', '2026-11-22')");

    expect(rows.filter(({ differing }) => differing !== "0")).toEqual([
      expect.objectContaining({ entity: "messages", differing: "1", healed: "1", is_equal: true, state: "done" }),
    ]);
    expect(await differences(client, memory.installation.finalState("database"))).toEqual([]);
  });

  test("an upgrade of Chatwoot is taken over by connecting again", async () => {
    const owner = new Client({ connectionString: other("supabase_admin", "postgres") });
    await owner.connect();
    await owner.query("alter table conversations drop column waiting_since");
    await owner.end();

    await tick(client, later(new Date("2026-11-25T00:00:00Z"), 0));
    expect((await source(client)).problem).toMatch(/waiting_since/);
    expect((await source(client)).hint).toMatch(/connect_foreign/);
    await connectForeign();
    await tick(client, later(new Date("2026-11-25T01:00:00Z"), 0));

    expect(await source(client)).toMatchObject({
      problem: null,
      cursor: expect.objectContaining({ drift: ["conversations.waiting_since is missing: read as null"] }),
    });
  });

  test("a database that is down is a problem with a hint, and no row is taken for deleted", async () => {
    await onServer(`alter role ${reader} nologin`);

    await tick(client, later(new Date("2026-11-25T02:00:00Z"), 0));

    expect((await source(client)).problem).toMatch(/^08001: could not connect/);
    expect((await source(client)).problem).not.toContain(PASSWORD);
    const { rows } = await client.query(
      "select count(*)::integer as living from chatwoot.conversations where deleted_at is null",
    );
    expect(rows[0].living).toBe(memory.installation.conversations().length);
    await onServer(`alter role ${reader} login`);
  });

  test("one whose tables are locked, or that is too slow, is that source's problem and ends no tick", async () => {
    await tick(client, later(new Date("2026-11-25T03:00:00Z"), 0));
    expect(await source(client)).toMatchObject({ problem: null });
    const migration = new Client({ connectionString: other("supabase_admin", "postgres") });
    await migration.connect();
    try {
      await migration.query("begin; lock table conversations in access exclusive mode");
      await tick(client, later(new Date("2026-11-25T04:00:00Z"), 0));
      expect(await source(client)).toMatchObject({ failures: 1, problem: expect.stringMatching(/^55P03/) });

      await client.query("alter server chatwoot_1 options (set options '-c statement_timeout=500')");
      await tick(client, later(new Date("2026-11-25T05:00:00Z"), 0));
      expect(await source(client)).toMatchObject({
        failures: 2,
        problem: expect.stringMatching(/^57014/),
        hint: expect.stringContaining("upgraded"),
      });
    } finally {
      await migration.end();
    }

    await connectForeign();
    const { rows: [{ options }] } = await client.query(
      "select srvoptions as options from pg_foreign_server where srvname = 'chatwoot_1'",
    );
    expect(options).toEqual(expect.arrayContaining([
      "options=-c lock_timeout=5000 -c statement_timeout=30000",
      "tcp_user_timeout=30000",
      "keepalives_idle=10",
    ]));
    await tick(client, later(new Date("2026-11-25T06:00:00Z"), 0));
    expect(await source(client)).toMatchObject({ failures: 0, problem: null });
  }, 60_000);

  test("disconnecting waits while another account reads the same tables", async () => {
    await client.query(
      "select sync.set_state(1, 'database', 'paused'), sync.set_database_source(2, 'chatwoot_source_1')",
    );

    expect(await failure(client.query("select sync.disconnect_foreign(1)"))).toMatchObject({
      code: "OC409",
      message: expect.stringContaining("account 2"),
    });
    await client.query("select sync.set_state(2, 'database', 'paused'), sync.set_state(1, 'database', 'active')");
  });

  test("disconnecting waits until the door is paused, and then leaves nothing", async () => {
    expect(await failure(client.query("select sync.disconnect_foreign(1)"))).toMatchObject({ code: "OC409" });
    await client.query("select sync.set_state(1, 'database', 'paused')");

    expect((await client.query("select sync.disconnect_foreign(1) as was_there")).rows).toEqual([{ was_there: true }]);

    expect((await client.query("select srvname from pg_foreign_server")).rows).toEqual([]);
    expect((await client.query("select to_regnamespace('chatwoot_source_1') as schema")).rows).toEqual([{
      schema: null,
    }]);
    expect((await client.query("select sync.disconnect_foreign(1) as was_there")).rows).toEqual([{ was_there: false }]);
  });
});
