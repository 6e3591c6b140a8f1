// npm start: the stack, a Chatwoot beside it, and on the first run a day of support traffic between the two.
import { Client } from "pg";
import type { Chatwoot } from "./chatwoot/server.ts";
import { startDemo } from "./demo.ts";
import { printTable } from "./print.ts";
import { type News, type Receiver, startReceiver } from "./receiver.ts";
import { readSettings, UserError } from "./settings.ts";
import { DEMO, type Stack, startStack } from "./stack.ts";

const QUESTIONS = [
  {
    title: "What came in, by channel and inbox",
    sql: `select channel, inbox_name, conversations, open_conversations as open, waiting_conversations as waiting,
  resolved_conversations as resolved, round(share, 2) as share
from analytics.channel_breakdown where account_id = 1 order by conversations desc, inbox_name`,
  },
  {
    title: "The day in numbers",
    sql:
      `select day::text, conversations, incoming_messages as incoming, outgoing_messages as outgoing, private_notes as notes
from analytics.volume_by_day where account_id = 1 order by day desc limit 7`,
  },
  {
    title: "Who waits longest",
    sql: `select display_id as id, contact_name, inbox_name, priority, assignee_name, waiting_since
from analytics.conversations where account_id = 1 and waiting_since is not null order by waiting_since limit 5`,
  },
  {
    title: "Where one first response time comes from (frt, in seconds)",
    sql: `select chosen.display_id as id, chosen.frt, told.what, told.counted, round(told.seconds, 1) as seconds,
  to_char(told.started_at, 'HH24:MI:SS') as "from", to_char(told.ended_at, 'HH24:MI:SS') as until, told.why
from (select display_id, frt from analytics.conversations
  where account_id = 1 and frt is not null order by handoff_s desc nulls last, display_id limit 1) as chosen
cross join api.explain_metric(1, chosen.display_id, 'frt') as told order by told.part`,
  },
  {
    title: "Service levels, this second",
    sql: `select running, paused, breached_open, due_in_15_minutes,
  to_char(next_due_at, 'YYYY-MM-DD HH24:MI:SS') as next_due_at, to_char(as_of, 'YYYY-MM-DD HH24:MI:SS') as as_of
from api.sla_board where account_id = 1`,
  },
  {
    title: "Late, due next and paused (of each the two nearest to now)",
    sql: `select display_id as id, clock, nearest.class, nearest.priority, named.policy_name as policy,
  nearest.target_seconds as target, round(nearest.consumed::numeric, 2) as consumed,
  to_char(nearest.due_at, 'YYYY-MM-DD HH24:MI:SS') as due_at,
  to_char(nearest.if_resumed_due_at, 'YYYY-MM-DD HH24:MI:SS') as if_resumed_due_at
from (
  select *, row_number() over (partition by class order by abs(extract(epoch from coalesce(due_at, if_resumed_due_at) - now())))
    as place
  from api.sla_at_risk(1)
) as nearest
left join analytics.sla_clocks as named using (display_id, episode, clock, instance)
where nearest.place <= 2 and named.account_id = 1 order by nearest.due_at nulls last, nearest.display_id`,
  },
  {
    title: "Breaches, which no event brings (the newest)",
    sql: `select display_id as id, clock, policy_name as policy, to_char(due_at, 'YYYY-MM-DD HH24:MI:SS') as due_at,
  to_char(breach_at, 'YYYY-MM-DD HH24:MI:SS') as breach_at, to_char(found_at, 'YYYY-MM-DD HH24:MI:SS') as found_at,
  round(overrun) as overrun
from analytics.sla_breaches where account_id = 1 order by breach_at desc limit 3`,
  },
  {
    title: "Drafts that wait for a person",
    sql: `select draft_id as draft, display_id as id, customer, round(waiting_seconds) as waiting,
  to_char(sla_due_at, 'HH24:MI:SS') as due_at, round(confidence::numeric, 2) as confidence, gold_reply_title as gold_reply
from api.approval_queue where account_id = 1`,
  },
  {
    title: "How the webhooks arrived",
    sql: `select outcome, deliveries, redeliveries, conflicts, round(lag_seconds_p95::numeric, 1) as lag_seconds_p95,
  most_frequent_reason from analytics.inbox_health where account_id = 1 order by deliveries desc`,
  },
  {
    title: "How complete the mirror is",
    sql: `select door, state, lag_seconds, requests, rows_read, rows_changed, backfill_share, problem
from api.sync_status where account_id = 1`,
  },
];

/** The first of them, over REST. */
const FIRST_OVER_REST =
  "channel_breakdown?select=channel,inbox_name,conversations,share&account_id=eq.1&order=conversations.desc";

async function main(): Promise<void> {
  const settings = readSettings(process.env);
  let stack: Stack | null = null;
  let chatwoot: Chatwoot | null = null;
  let receiver: Receiver | null = null;
  let isStopping = false;
  const stop = async (code: number) => {
    if (isStopping) return;
    isStopping = true;
    console.log("\nStopping …");
    await chatwoot?.stop();
    await stack?.stop();
    await receiver?.stop();
    process.exit(code);
  };
  // Before the start, so that Ctrl-C in the middle of it leaves nothing behind either.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => void (stack === null ? (isStopping = true) : stop(0)));
  }
  stack = await startStack(settings, {
    progress: (step) => console.log(`… ${step}`),
    // Ctrl-C in a terminal reaches Postgres too, and what breaks off with it, a moment before our own turn, is no failure.
    log: (line) => void setTimeout(() => isStopping || console.error(line), 200),
  });
  if (isStopping) {
    isStopping = false;
    await stop(0);
    return;
  }
  const client = new Client({ connectionString: stack.postgres.url });
  client.on("error", () => {});
  try {
    receiver = await startReceiver();
    chatwoot = await startDemo(stack, settings, { receiver, say: (line) => console.log(line) });
    await client.connect();
    await showDay(stack, client);
    showNews(receiver);
    await showDraft(stack, client);
  } catch (error) {
    // Ctrl-C in the middle of the day takes the database away from under it, which is no failure.
    if (isStopping) return;
    await chatwoot?.stop();
    await stack.stop();
    await receiver?.stop();
    throw error;
  } finally {
    await client.end().catch(() => {});
  }
  console.log(
    `\nReady. API ${stack.info.api_url}, database ${stack.info.db_url}, Chatwoot ${stack.info.demo.chatwoot_url}`,
  );
  console.log("All addresses and keys: npm run info. Stop with Ctrl-C; the data stays, npm run reset clears it.");
  followReplies(stack).catch(() => {});
}

async function showDay(stack: Stack, client: Client): Promise<void> {
  for (const question of QUESTIONS) {
    const { rows, fields } = await client.query(question.sql);
    console.log(`\n${question.title}`);
    printTable(fields.map((field) => field.name), rows);
  }
  const [first] = QUESTIONS;
  console.log(`\nAsk again with psql:\n  psql "${stack.info.db_url}" -c "${first.sql.replaceAll(/\s+/g, " ")}"`);
  console.log("or over REST, as the signed-in demo member (the token is in npm run info):");
  console.log(
    `  curl "${stack.info.api_url}/rest/v1/${FIRST_OVER_REST}" -H "Accept-Profile: analytics" \\\n` +
      `    -H "apikey: $PUBLISHABLE_KEY" -H "Authorization: Bearer $ACCESS_TOKEN"`,
  );
}

// What came is shown in short, what comes is shown as it comes.
function showNews(receiver: Receiver): void {
  const line = ({ at, kind, title }: News) => `  ${at.slice(11, 19)}  ${kind.padEnd(11)}  ${title}`;
  const newest = receiver.received.slice(-4);
  const count = receiver.received.length;
  console.log(
    `\nA receiver at ${receiver.url} got ${count} notification${count === 1 ? "" : "s"}, each signed` +
      (count > newest.length ? `; the newest ${newest.length}:` : count > 0 ? ":" : "."),
  );
  for (const news of newest) console.log(line(news));
  receiver.follow((news) => console.log(line(news)));
}

// Whoever pastes the line sends the reply, and is shown that it went.
async function showDraft(stack: Stack, client: Client): Promise<void> {
  const { rows: [draft] } = await client.query(
    `select draft_id, display_id, customer, draft from api.approval_queue
    where account_id = $1 and missing <@ '{agent.name,agent.first_name}' order by waiting_since desc limit 1`,
    [DEMO.accountId],
  );
  if (draft === undefined) return;
  const { info } = stack;
  const approve = `select api.approve_draft(${DEMO.accountId}, ${draft.draft_id})`;
  // The keys are not printed: they are asked for by the line itself.
  const js = "const info = await new Response(Deno.stdin.readable).json(); " +
    "const supabase = createClient(info.api_url, info.publishable_key, { accessToken: async () => info.demo.access_token }); " +
    `console.log(await supabase.schema('api').rpc('approve_draft', ` +
    `{ account_id: ${DEMO.accountId}, draft_id: ${draft.draft_id} }))`;
  console.log(
    `\n${draft.customer} waits in conversation ${draft.display_id}, and draft ${draft.draft_id} has an answer:\n` +
      draft.draft.replaceAll(/^/gm, "  | ") +
      `\nApprove it, and it is sent:\n  psql "${info.db_url}" -c "${approve}"\n` +
      `or with supabase-js:\n  npm run --silent info -- --json | ` +
      `npx deno eval "import { createClient } from 'npm:@supabase/supabase-js'; ${js}"`,
  );
}

const PLACE_IN_REPORT = `select drafts, shown, accepted, acceptance, acceptance_low, acceptance_high
  from analytics.draft_performance
  where account_id = $1 and by = 'category' and arm = 'shown' and value is not distinct from $2`;

// What was approved, told as it goes out and with its place in the report. Ctrl-C ends the database first, and this with it.
async function followReplies(stack: Stack): Promise<void> {
  const client = new Client({ connectionString: stack.postgres.url });
  client.on("error", () => {});
  await client.connect();
  const began = new Date();
  const told = new Set<string>();
  for (;;) {
    const { rows } = await client.query(
      `select draft_id, display_id, category, outcome, round(extract(epoch from replied_at - decided_at), 1) as seconds
      from api.drafts where account_id = $1 and state = 'sent' and outcome_at > $2 order by outcome_at`,
      [DEMO.accountId, began],
    );
    for (const { draft_id, display_id, category, outcome, seconds } of rows) {
      if (told.has(draft_id)) continue;
      told.add(draft_id);
      const { rows: [place] } = await client.query(PLACE_IN_REPORT, [DEMO.accountId, category]);
      const percent = (share: number) => Math.round(share * 100);
      console.log(
        `  Draft ${draft_id} went to conversation ${display_id} ${seconds} s after its approval: ${outcome}.\n` +
          `  In analytics.draft_performance by category: ${
            category ?? "none"
          }, drafts ${place.drafts}, shown ${place.shown}, ` +
          `accepted ${place.accepted}, acceptance ${percent(place.acceptance)} % ` +
          `(${percent(place.acceptance_low)} to ${percent(place.acceptance_high)} %).`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

main().catch((error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
