// Chatwoot's own reporting events beside our numbers: every difference has a cause that has a name.
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import { openMemory } from "../../local/chatwoot/memory.ts";
import { member, type Sql, useDatabase } from "../support/database.ts";
import { drawSeeds, once, record } from "./ledger-doors.support.ts";
import { setSource, tick } from "./sync-database.support.ts";

const START = new Date("2026-11-20T07:00:00Z");

const VIEW = "analytics.reporting_reconciliation";

const HISTORIES = drawSeeds("ledger-reconciliation", 2).flatMap((seed, index) => [
  { name: `busy hours, told by webhooks and tables (${index + 1})`, seed, longestGap: 90_000, isTold: true },
  { name: `quiet weeks, read from tables alone (${index + 1})`, seed, longestGap: 3_600_000, isTold: false },
]);

for (const { name, seed, longestGap, isTold } of HISTORIES) {
  const database = useDatabase();

  test(`nothing stays unexplained: ${name}`, async () => {
    const client = await database.connect();
    const memory = await openMemory({ url: database.url, installationOptions: { seed, start: START } });
    const { events } = historyOf({
      conversations: 30,
      events: 1800,
      seed,
      start: START,
      longestGap,
      installation: memory.installation,
    });
    await setSource(client);
    const told = [...events];
    if (isTold) await record(client, once(told));
    await memory.save();
    await memory.close();
    const end = new Date(told.at(-1)!.at.getTime() + 60_000);
    await tick(client, end);
    await tick(client, new Date(end.getTime() + 60_000));
    await client.query("call ledger.tick()");

    const { rows: unexplained } = await client.query(
      `select * from ${VIEW} where 'unexplained' in (cause, cause_business) or (cause is null and difference is distinct from 0)
      limit 3`,
    );
    expect(unexplained).toEqual([]);
    const { rows: [{ rows, events: written, equal }] } = await client.query(
      `select count(*)::integer as rows, (select count(*)::integer from chatwoot.reporting_events) as events,
        count(*) filter (where abs(difference) < 1)::integer as equal from ${VIEW}`,
    );
    expect(rows).toBe(written);
    expect(equal).toBeGreaterThan(rows / 4);
    const { rows: causes } = await client.query(
      `select split_part(cause, ':', 1) as cause, count(*)::integer as number from ${VIEW} group by 1 order by 1`,
    );
    console.log(causes.map(({ cause, number }) => `${cause ?? "equal"} ${number}`).join(", "));
    expect(causes.length).toBeGreaterThan(4);
    // In a history only bots hand off.
    expect(causes.map(({ cause }) => cause)).not.toContain("no bot phase");
  });
}

const shared = useDatabase();

test("members see their account's rows, others none", async () => {
  await shared.rolledBack(async (sql: Sql) => {
    await sql.rows(
      `insert into chatwoot.conversations (account_id, display_id, inbox_id, created_at, version_at)
      values (1, 1, 3, '2026-11-20T09:00Z', now()), (2, 1, 3, '2026-11-20T09:00Z', now())`,
    );
    await sql.rows(
      `insert into chatwoot.reporting_events (account_id, event_id, name, conversation_display_id, value, event_started_at,
          event_ended_at, created_at)
        select account_id, account_id, 'conversation_captain_inference_resolved', 1, 60, created_at,
          created_at + interval '1 minute', created_at + interval '1 minute' from chatwoot.conversations`,
    );
    const user = await member(sql, 1, "viewer");
    await sql.as(
      "authenticated",
      user,
      () => sql.resultsEqual(`select account_id, cause from ${VIEW}`, [{ account_id: "1", cause: "not counted here" }]),
    );
    await sql.as("analyst", null, () => sql.resultsEqual(`select count(*)::integer from ${VIEW}`, [{ count: 2 }]));
  });
});
