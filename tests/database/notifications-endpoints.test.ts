// Who may say where notifications go, and what is refused: addresses, options, roles, and secrets that stay secret.
import { describe, expect, test } from "vitest";
import { member, type Role, useDatabase } from "../support/database.ts";
import { add, AS_OF, notify, type Options, sendAll, SLACK_URL } from "./notifications.support.ts";

const database = useDatabase();

describe("adding an endpoint", () => {
  test("the secret comes once, the URL never; who did it is in the log", () =>
    database.rolledBack(async (sql) => {
      const admin = await member(sql, 1, "admin");
      const url = "https://Hooks.Example.com:8443/path-secret/?key=query-secret";

      const [added] = await sql.as("authenticated", admin, () =>
        sql.rows<{ endpoint_id: string; signing_secret: string }>(
          "select * from api.add_notification_endpoint(1, 'Pager', $1, 'standard', '{sla.*}', 'warning')",
          [url],
        ));
      const slack = await add(sql);

      expect(added.signing_secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
      expect(slack.signing_secret).toBeNull();
      const shown = await sql.as("authenticated", admin, () =>
        sql.rows("select * from api.notification_endpoints order by endpoint_id"));
      expect(shown[0]).toMatchObject({
        ...{ name: "Pager", origin: "https://hooks.example.com:8443", format: "standard", kinds: ["sla.*"] },
        ...{ minimum_severity: "warning", time_zone: "UTC", is_escalation: false, state: "active", pending: "0" },
      });
      const [log] = await sql.rows("select * from audit.decision_log order by entry limit 1");
      expect(log).toMatchObject({ actor: `user:${admin}`, action: "notification_endpoint.added", outcome: "done" });
      const everything = JSON.stringify([
        shown,
        await sql.rows("select * from audit.decision_log"),
        await sql.rows("select * from ops.notification_endpoints"),
      ]);
      expect(everything).not.toMatch(/path-secret|query-secret|whsec_/);
      expect(await sql.value("select ops.endpoint_secret(1, $1, 'url')", [added.endpoint_id])).toBe(url);
    }));

  test.each<{ fault: string; options: Options; says: RegExp }>([
    { fault: "a loopback address", options: { url: "https://127.0.0.1/secret-x" }, says: /public name/ },
    { fault: "a private name", options: { url: "https://hooks.internal/secret-x" }, says: /public name/ },
    { fault: "the metadata service", options: { url: "https://169.254.169.254/secret-x" }, says: /public name/ },
    { fault: "no TLS", options: { url: "http://hooks.example.com/secret-x" }, says: /https/ },
    { fault: "credentials", options: { url: "https://me:secret-x@hooks.example.com/" }, says: /user name or password/ },
    { fault: "a host hidden by a query", options: { url: "https://127.0.0.1?.example.com/secret-x" }, says: /public/ },
    {
      fault: "a line break in the query",
      options: { url: "https://a.example.com/?secret-x=1\r\nHost: b" },
      says: /spaces/,
    },
    { fault: "a fragment", options: { url: "https://a.example.com/?a=1#secret-x" }, says: /#/ },
    { fault: "another scheme", options: { url: "file:///etc/secret-x" }, says: /https/ },
    { fault: "too long a URL", options: { url: `https://a.example.com/?${"secret-x".repeat(300)}` }, says: /2000/ },
    { fault: "no URL", options: { url: null }, says: /given/ },
    { fault: "no name", options: { name: " " }, says: /name/ },
    { fault: "a URL for a name", options: { name: "https://a.example.com/secret-x" }, says: /name/ },
    { fault: "an unknown format", options: { format: "teams" }, says: /slack or standard/ },
    { fault: "an empty filter", options: { kinds: [] }, says: /kinds/ },
    { fault: "an odd kind", options: { kinds: ["sla.breach", "*"] }, says: /kinds/ },
    { fault: "half of quiet hours", options: { quiet_start_minute: 60 }, says: /quiet/ },
    { fault: "quiet hours of no length", options: { quiet_start_minute: 60, quiet_end_minute: 60 }, says: /quiet/ },
    { fault: "minutes beyond the day", options: { quiet_start_minute: 60, quiet_end_minute: 1440 }, says: /1439/ },
    { fault: "no zone", options: { time_zone: "Mars/Olympus" }, says: /IANA/ },
    { fault: "an offset for a zone", options: { time_zone: "+02:00" }, says: /IANA/ },
    { fault: "a digest of over a day", options: { digest_minutes: 1441 }, says: /1440/ },
    { fault: "an escalation at once", options: { escalate_after_seconds: 59 }, says: /60/ },
    { fault: "an endless escalation", options: { escalate_after_seconds: 60, escalate_times: 11 }, says: /10/ },
    { fault: "times without an escalation", options: { escalate_times: 3 }, says: /escalate_after_seconds/ },
  ])(
    "$fault is refused, with a way out and without repeating what was given",
    ({ options, says }) =>
      database.rolledBack(async (sql) => {
        const given: Options = { account_id: 1, name: "x", url: SLACK_URL, format: "slack", ...options };
        const names = Object.keys(given);

        const error = await sql.throws(
          "OC422",
          `select * from ops.add_notification_endpoint(${names.map((name, i) => `${name} => $${i + 1}`).join(", ")})`,
          names.map((name) => given[name]),
        );

        expect(error.message).toMatch(says);
        expect(error.hint).toBeTruthy();
        expect(JSON.stringify(error) + error.message).not.toContain("secret-x");
        await sql.resultsEqual("select * from ops.notification_endpoints", []);
        await sql.resultsEqual("select name from vault.secrets where name like 'notification%'", []);
      }),
  );

  test("a receiver in the own network is taken where the project allows it", () =>
    database.rolledBack(async (sql) => {
      await sql.rows("select ops.set_setting(1, 'sync_private_hosts', 'true')");

      await add(sql, { url: "http://127.0.0.1:9000/hook" });
      await sql.throws("OC422", "select ops.add_notification_endpoint(2, 'x', 'http://127.0.0.1:9000/hook', 'slack')");
    }));

  test("a name once, and fifty in all", () =>
    database.rolledBack(async (sql) => {
      await add(sql, { name: "one" });
      await sql.throws("OC409", `select api.add_notification_endpoint(1, 'one', '${SLACK_URL}', 'slack')`);
      await sql.rows(
        "select api.add_notification_endpoint(1, 'n' || i, $1, 'slack') from generate_series(2, 50) as i",
        [SLACK_URL],
      );

      const error = await sql.throws(
        "OC409",
        `select api.add_notification_endpoint(1, 'n51', '${SLACK_URL}', 'slack')`,
      );

      expect(error.hint).toContain("remove");
    }));

  test("removing it takes its deliveries and secrets along; testing a paused one is refused", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql, { format: "standard" });
      await notify(sql, "k");
      expect(await sql.value("select count(*)::int from vault.secrets where name like 'notification%'")).toBe(2);
      await sql.rows("select api.set_notification_endpoint_state(1, $1, 'paused')", [endpoint_id]);
      await sql.throws("OC409", "select api.test_notification(1, $1)", [endpoint_id]);
      await sql.throws("OC422", "select api.set_notification_endpoint_state(1, $1, 'dead')", [endpoint_id]);

      await sql.rows("select api.remove_notification_endpoint(1, $1)", [endpoint_id]);

      await sql.throws("OC404", "select api.remove_notification_endpoint(1, $1)", [endpoint_id]);
      await sql.resultsEqual("select * from ops.notification_deliveries", []);
      await sql.resultsEqual("select name from vault.secrets where name like 'notification%'", []);
      await sql.resultsEqual(
        "select action from audit.decision_log where action like 'notification%' order by entry",
        ["added", "state_set", "removed"].map((what) => ({ action: `notification_endpoint.${what}` })),
      );
    }));

  test("a test passes filters, quiet hours and digest", () =>
    database.rolledBack(async (sql) => {
      const { endpoint_id } = await add(sql, {
        ...{ minimum_severity: "critical", kinds: ["sla.breach"], digest_minutes: 60 },
        ...{ quiet_start_minute: 0, quiet_end_minute: 1439, critical_at_once: false },
      });

      await sql.rows("select ops.test_notification(1, $1, $2)", [endpoint_id, AS_OF]);

      expect((await sendAll(sql, AS_OF)).flat()).toEqual([expect.stringMatching(/^test:/)]);
    }));
});

describe("who may", () => {
  const DOORS = [
    `select api.add_notification_endpoint(1, 'x', '${SLACK_URL}', 'slack')`,
    "select api.set_notification_endpoint_state(1, 1, 'paused')",
    "select api.remove_notification_endpoint(1, 1)",
    "select api.test_notification(1, 1)",
  ];
  const ACKNOWLEDGE = "select api.acknowledge_notification(1, 1)";

  test.each([
    { role: "viewer", account: 1, refused: [...DOORS, ACKNOWLEDGE] },
    { role: "operator", account: 1, refused: DOORS },
    { role: "approver", account: 1, refused: DOORS },
    { role: "admin", account: 2, refused: [...DOORS, ACKNOWLEDGE] },
  ])(
    "a $role of account $account may not change what is account 1's",
    ({ role, account, refused }) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, account, role);

        await sql.as("authenticated", person, async () => {
          for (const door of refused) await sql.throws("OC403", door);
        });
      }),
  );

  test.each<Role>(["anon", "analyst"])("%s may nothing", (role) =>
    database.rolledBack(async (sql) => {
      await sql.as(role, null, async () => {
        for (const door of [...DOORS, ACKNOWLEDGE, "select * from api.notifications"]) await sql.throws("42501", door);
      });
    }));

  test.each<Role>(["authenticated", "service_role"])(
    "%s reaches neither what sends nor what holds secrets",
    (role) =>
      database.rolledBack(async (sql) => {
        const person = await member(sql, 1, "admin");
        await sql.as(role, person, async () => {
          await sql.throws("42501", "select ops.endpoint_secret(1, 1, 'url')");
          await sql.throws("42501", "select ops.notify(1, 'a', 'k', 't')");
          await sql.throws("42501", "select ops.claim_message(now())");
          await sql.throws("42501", "call ops.deliver_notifications()");
          await sql.throws("42501", "update ops.notifications set state = 'open' where true");
        });
      }),
  );

  test("members see what is their accounts' and nothing else", () =>
    database.rolledBack(async (sql) => {
      for (const account_id of [1, 2]) {
        await add(sql, { account_id });
        await notify(sql, "k", { account: account_id });
      }
      const ada = await member(sql, 1, "viewer");

      for (const view of ["notifications", "notification_endpoints", "notification_deliveries"]) {
        await sql.as("authenticated", ada, () =>
          sql.resultsEqual(`select account_id from api.${view}`, [{ account_id: "1" }]));
        await sql.as("service_role", null, () =>
          sql.resultsEqual(`select account_id from api.${view} order by 1`, [{ account_id: "1" }, {
            account_id: "2",
          }]));
      }
    }));
});
