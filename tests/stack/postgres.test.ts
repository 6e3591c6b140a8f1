// The database a migration meets: roles, what they may do, and how long they may take.
import { expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";

const database = useDatabase();

test.each([
  { role: "postgres", login: true, superuser: false, bypasses: true, inherits: true },
  { role: "anon", login: false, superuser: false, bypasses: false, inherits: true },
  { role: "authenticated", login: false, superuser: false, bypasses: false, inherits: true },
  { role: "service_role", login: false, superuser: false, bypasses: true, inherits: true },
  { role: "authenticator", login: true, superuser: false, bypasses: false, inherits: false },
  { role: "supabase_admin", login: true, superuser: true, bypasses: true, inherits: true },
])("$role has the attributes of a hosted project", ({ role, ...attributes }) =>
  database.rolledBack(async (sql) => {
    await sql.resultsEqual(
      `select rolcanlogin as login, rolsuper as superuser, rolbypassrls as bypasses, rolinherit as inherits
       from pg_roles where rolname = $1`,
      [attributes],
      [role],
    );
  }));

test.each([
  { role: "anon", settings: ["statement_timeout=3s"] },
  { role: "authenticated", settings: ["statement_timeout=8s"] },
  { role: "authenticator", settings: ["lock_timeout=8s", "statement_timeout=8s"] },
  { role: "service_role", settings: [] },
])("$role has its own timeouts", ({ role, settings }) =>
  database.rolledBack(async (sql) => {
    const rows = await sql.rows<{ setting: string }>(
      `select unnest(setconfig) as setting from pg_db_role_setting
       where setrole = $1::regrole and setdatabase = 0 order by 1`,
      [role],
    );

    expect(rows.map((row) => row.setting)).toEqual(settings);
  }));

test("a statement of postgres ends after two minutes", () =>
  database.rolledBack(async (sql) => {
    expect(await sql.value("show statement_timeout")).toBe("2min");
  }));

test.each(["anon", "authenticated", "service_role"])(
  "postgres may become %s",
  (role) =>
    database.rolledBack(async (sql) => {
      await sql.rows(`set local role ${role}`);

      expect(await sql.value("select current_user::text")).toBe(role);
    }),
);

test.each(["supabase_admin", "supabase_auth_admin", "supabase_storage_admin"])(
  "postgres may not become %s",
  (role) =>
    database.rolledBack(async (sql) => {
      await sql.throws("42501", `set local role ${role}`);
    }),
);

test("postgres references auth.users and creates nothing beside it", () =>
  database.rolledBack(async (sql) => {
    await sql.rows("create schema scratch");
    await sql.rows("create table scratch.profiles (id uuid references auth.users)");

    await sql.throws("42501", "create table auth.mine (id integer)");
    await sql.throws("42501", "drop table auth.users");
  }));

const USER = "5f0c4a52-8d5e-4f0e-9d43-1b2a7f3c9e11";

test.each([
  { name: "no request", claims: null, uid: null },
  { name: "an earlier request on this connection", claims: "", uid: null },
  { name: "a signed-in user", claims: JSON.stringify({ sub: USER }), uid: USER },
  { name: "claims without a subject", claims: JSON.stringify({ role: "anon" }), uid: null },
])("auth.uid() with $name", ({ claims, uid }) =>
  database.rolledBack(async (sql) => {
    if (claims !== null) await sql.rows("select set_config('request.jwt.claims', $1, true)", [claims]);

    expect(await sql.value("select auth.uid()")).toBe(uid);
  }));

test("auth.uid() refuses a subject that is no UUID", () =>
  database.rolledBack(async (sql) => {
    await sql.rows(`set local "request.jwt.claims" = '{"sub":"user-1"}'`);

    await sql.throws("22P02", "select auth.uid()");
  }));

test("auth.role(), auth.email() and auth.jwt() read the claims", () =>
  database.rolledBack(async (sql) => {
    await sql.rows(`set local "request.jwt.claims" = '{"role":"authenticated","email":"ada@example.com"}'`);

    await sql.resultsEqual("select auth.role() as role, auth.email() as email, auth.jwt() ->> 'role' as claim", [
      { role: "authenticated", email: "ada@example.com", claim: "authenticated" },
    ]);
  }));
