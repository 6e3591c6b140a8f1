// Customers, agents, approvers, another maker, the outbox and cron at once, on a few conversations.
import type { Client } from "pg";
import { expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";
import { agentWrites, customerWrites, goldReply, REFUND } from "./drafting.support.ts";

const database = useDatabase();
const CONVERSATIONS = 5;

test("nobody deadlocks, nothing is lost, and every approval is one reply", async () => {
  const sql = await database.connect();
  await goldReply(sql);
  await sql.query("select ops.set_setting(1, 'draft_notes', 'true')");
  const until = Date.now() + 6000;
  const failures: string[] = [];
  let approvals = 0;
  let retries = 0;
  let id = 100_000;
  const over = async (work: (client: Client) => Promise<unknown>) => {
    const client = await database.connect();
    while (Date.now() < until) {
      await work(client).catch((error) => {
        // What is refused is refused for a reason, here all the time.
        if (error.code !== "OC409") failures.push(`${error.code}: ${error.message}`);
      });
    }
  };
  const said = () => {
    id += 1;
    const conversation = 1 + id % CONVERSATIONS;
    return { id, conversation, contact: conversation, content: `${REFUND} ${id}`, after: id - 100_000 };
  };
  const approve = async (client: Client, states: string[], override: boolean) => {
    const { rows: [found] } = await client.query(
      "select draft_id from replies.drafts where state = any ($1) order by random() limit 1",
      [states],
    );
    if (!found) return;
    await client.query("select api.approve_draft(1, $1, override => $2)", [found.draft_id, override]);
    approvals += 1;
  };
  const retry = async (client: Client) => {
    const { rows: [found] } = await client.query(
      "select action_id from actions.outbox where state = 'dead' and kind = 'reply' order by random() limit 1",
    );
    if (!found) return;
    await client.query("select api.retry_action(1, $1, override => true)", [found.action_id]);
    retries += 1;
  };

  await Promise.all([
    over((client) => customerWrites(client, said())),
    over((client) => customerWrites(client, said())),
    over(async (client) => {
      await agentWrites(client, said());
      await client.query("select pg_sleep(0.2)");
    }),
    over((client) => approve(client, ["open"], false)),
    over((client) => approve(client, ["open", "superseded", "expired"], true)),
    over((client) =>
      client.query(
        `with one as (select action_id from actions.outbox where state = 'pending' order by action_id limit 1
          for no key update skip locked)
        update actions.outbox as existing set state = 'sent', settled_at = now()
        from one where existing.account_id = 1 and existing.action_id = one.action_id`,
      )
    ),
    // What cannot be sent, and is sent again whatever has happened.
    over(async (client) => {
      await client.query(
        `with one as (select action_id from actions.outbox where state = 'pending' and kind = 'reply'
          order by action_id desc limit 1 for no key update skip locked)
        update actions.outbox as existing set state = 'dead', settled_at = now()
        from one where existing.account_id = 1 and existing.action_id = one.action_id`,
      );
    }),
    over((client) => retry(client)),
    over((client) => retry(client)),
    over(async (client) => {
      await client.query(
        `insert into ledger.queue (account_id, display_id, walk_since, queued_at)
        select 1, number, '-infinity', now() from generate_series(1, $1::bigint) as number on conflict do nothing`,
        [CONVERSATIONS],
      );
      await client.query("select ledger.work_off()");
      await client.query("select replies.expire_drafts(now() + interval '100 hours', 1)");
    }),
    over(async (client) => {
      const { rows: [asked] } = await client.query("select * from replies.questions('{1}', array[$1::bigint])", [
        1 + id % CONVERSATIONS,
      ]);
      if (!asked) return;
      await client.query("select api.propose_draft(1, $1, $2, 'model:writer', '1', 'Five days.', 0.9)", [
        ...[asked.display_id, asked.message_id],
      ]);
    }),
  ]);

  const one = async (text: string) => (await sql.query({ text, rowMode: "array" })).rows[0][0];
  expect(failures).toEqual([]);
  expect((await sql.query("select kind, message from ops.alerts")).rows).toEqual([]);
  expect(approvals).toBeGreaterThan(5);
  expect(retries).toBeGreaterThan(5);
  expect(await one("select count(*)::int from actions.outbox where kind = 'reply'")).toBe(approvals);
  expect(await one("select count(*)::int from replies.drafts where state in ('approved', 'sent', 'failed')")).toBe(
    approvals,
  );
  expect(await one("select count(*)::int from audit.decision_log where action = 'draft.approved'")).toBe(approvals);
  expect(await one("select first_broken_entry from audit.verify(1)")).toBeNull();
});
