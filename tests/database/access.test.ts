import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { member, useDatabase } from "../support/database.ts";

const database = useDatabase();

test("a member belongs to their accounts and to no other", () =>
  database.rolledBack(async (sql) => {
    const ada = await member(sql, 1, "operator");
    await member(sql, 2, "admin");

    await sql.as("authenticated", ada, async () => {
      await sql.resultsEqual("select * from access.my_account_ids() as id", [{ id: "1" }]);
      expect(await sql.value("select access.my_role(1)")).toBe("operator");
      expect(await sql.value("select access.my_role(2)")).toBeNull();
    });
  }));

test.each([
  { role: "viewer", minimum: "viewer", allowed: true },
  { role: "viewer", minimum: "operator", allowed: false },
  { role: "approver", minimum: "operator", allowed: true },
  { role: "approver", minimum: "admin", allowed: false },
  { role: "admin", minimum: "admin", allowed: true },
])("a $role may do what needs $minimum: $allowed", ({ role, minimum, allowed }) =>
  database.rolledBack(async (sql) => {
    const person = await member(sql, 1, role);

    await sql.as("authenticated", person, async () => {
      if (allowed) await sql.rows("select access.require_role(1, $1)", [minimum]);
      else {
        const error = await sql.throws("OC403", "select access.require_role(1, $1)", [minimum]);
        expect(error.message).toContain(minimum);
        expect(error.hint).toContain("admin");
      }
    });
  }));

test("who acts is named as the decision log writes it", () =>
  database.rolledBack(async (sql) => {
    const ada = await member(sql, 1, "viewer");

    expect(await sql.value("select access.actor()")).toBe("database:postgres");
    await sql.as("authenticated", ada, async () => {
      expect(await sql.value("select access.actor()")).toBe(`user:${ada}`);
    });
    await sql.as("service_role", null, async () => {
      expect(await sql.value("select access.actor()")).toBe("service_role");
    });
  }));

test("an admin gives and takes roles, and each change is in the decision log", () =>
  database.rolledBack(async (sql) => {
    const admin = await member(sql, 1, "admin");
    const other = await member(sql, 2, "viewer");

    await sql.as("authenticated", admin, async () => {
      await sql.rows("select api.set_member(1, $1, 'operator')", [other]);
      await sql.rows("select api.set_member(1, $1, 'operator')", [other]);
      await sql.rows("select api.set_member(1, $1, null)", [other]);
    });

    await sql.resultsEqual(
      "select actor, action, subject, evidence, outcome from audit.decision_log order by entry",
      [
        { before: null, after: "operator" },
        { before: "operator", after: null },
      ].map((evidence) => ({
        actor: `user:${admin}`,
        action: "member.changed",
        subject: `user:${other}`,
        evidence,
        outcome: "done",
      })),
    );
  }));

test("the last admin of an account stays, and nobody but an admin changes members", () =>
  database.rolledBack(async (sql) => {
    const admin = await member(sql, 1, "admin");
    const approver = await member(sql, 1, "approver");
    const stranger = await member(sql, 2, "admin");

    await sql.as("authenticated", admin, () => sql.throws("OC409", "select api.set_member(1, $1, 'viewer')", [admin]));
    await sql.as(
      "authenticated",
      admin,
      () => sql.throws("OC404", "select api.set_member(1, $1, 'viewer')", [randomUUID()]),
    );
    await sql.as(
      "authenticated",
      approver,
      () => sql.throws("OC403", "select api.set_member(1, $1, 'admin')", [approver]),
    );
    await sql.as(
      "authenticated",
      stranger,
      () => sql.throws("OC403", "select api.set_member(1, $1, 'admin')", [stranger]),
    );
    await sql.as("anon", null, () => sql.throws("42501", "select api.set_member(1, $1, 'admin')", [stranger]));
  }));

test.each([
  { table: "access.members", policies: ["Members see who else is in their accounts"] },
  { table: "audit.decision_log", policies: ["Members read their accounts' decisions"] },
  { table: "audit.chain_heads", policies: ["Members check their accounts' chains"] },
  { table: "ops.setting_definitions", policies: ["Everyone signed in reads what settings there are"] },
  { table: "ops.settings", policies: ["Members read their accounts' settings", "Analysts read all settings"] },
  {
    table: "inbox.deliveries",
    policies: ["Members see what became of their accounts' deliveries", "Analysts see what became of all deliveries"],
  },
  ...["accounts", "inboxes", "agents", "teams", "labels", "contacts", "conversations", "messages", "csat_responses"]
    .map(
      (name) => ({
        table: `chatwoot.${name}`,
        policies: ["Members read their accounts' rows", "Analysts read all rows"],
      }),
    ),
])("$table is there, with no other policies than these", ({ table, policies }) =>
  database.rolledBack(async (sql) => {
    await sql.hasRelation(table);

    await sql.policiesAre(table, policies);
  }));
