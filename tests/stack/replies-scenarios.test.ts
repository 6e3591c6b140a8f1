// Every scenario, from the customer's message to what is learnt from the reply: through the webhook, the draft, a person who
// decides over the Data API, the outbox that cron works off, and the webhook that comes back.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { playFrom } from "../../local/chatwoot/day.ts";
import { lastHourFolder, loadScenarios, type Scenario } from "../../local/chatwoot/scenarios.ts";
import { type Chatwoot, startChatwoot } from "../../local/chatwoot/server.ts";
import { useStack } from "../support/stack.ts";

const ACCOUNT = 1;
const run = useStack();
let chatwoot: Chatwoot;
let pool: pg.Pool;
let scenarios: Scenario[];
/** Which conversation each scenario became. */
const conversations = new Map<string, number>();
/** What came of them, for the page that tells it. */
let day: {
  customers: number;
  rejected: number;
  without: number;
  edited: number;
  approved: Scenario[];
  byHand: Scenario[];
} | undefined;

interface Draft {
  draft_id: number;
  display_id: number;
  state: string;
  reason: string | null;
  outcome: string | null;
  body: string | null;
  missing: string[];
  origin_key: string | null;
}

const rows = async <Row extends pg.QueryResultRow>(text: string, values: unknown[] = []) =>
  (await pool.query<Row>(text, values)).rows;

/** As the demo account's admin, over HTTP. */
async function call(path: string, body?: unknown): Promise<unknown> {
  const { info } = run.stack();
  const answer = await fetch(`${info.api_url}/rest/v1/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      apikey: info.publishable_key,
      authorization: `Bearer ${info.demo.access_token}`,
      "content-type": "application/json",
      [body === undefined ? "accept-profile" : "content-profile"]: "api",
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  const told: unknown = text === "" ? null : JSON.parse(text);
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${JSON.stringify(told)}`);
  return told;
}

// What cron does from its next minute on, and would share with this.
async function sendAll(): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    await rows("call actions.dispatch(budget => '10 seconds')");
    const left = await rows("select from api.actions where state in ('pending', 'sending')");
    if (left.length === 0) return;
    await sleep(500);
  }
  throw new Error("Something is left in the outbox after 30 seconds");
}

const firstReply = (scenario: Scenario) => scenario.steps.findIndex((step) => step.do === "agent_replies");

/** What the agent of the scenario would have written. */
function ownWords(scenario: Scenario): string {
  const step = scenario.steps[firstReply(scenario)];
  return step?.do === "agent_replies" && step.text !== undefined ? step.text : "I am looking into it.";
}

const drafts = () =>
  rows<Draft>(
    `select drafts.draft_id::int, drafts.display_id::int, drafts.state, drafts.reason, drafts.outcome, drafts.body,
      drafts.missing, gold_replies.origin_key
    from api.drafts left join replies.gold_replies using (account_id, gold_reply_id)
    where drafts.account_id = $1 and drafts.is_final order by drafts.draft_id`,
    [ACCOUNT],
  );

beforeAll(async () => {
  const { info, postgres } = run.stack();
  pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
  pool.on("error", () => {});
  const admin = new pg.Client({ connectionString: postgres.adminUrl });
  await admin.connect();
  await admin.query("create database shop");
  await admin.end();
  const url = new URL(postgres.adminUrl);
  url.pathname = "/shop";
  chatwoot = await startChatwoot({ url: url.href });
  await chatwoot.createWebhook({
    url: `${info.functions_url}/chatwoot-webhook`,
    secret: info.demo.webhook_secret,
  });
  await rows("select ops.set_setting($1, 'sync_private_hosts', 'true')", [ACCOUNT]);
  await rows("select ops.set_setting($1, 'actions_requests_per_minute', '600')", [ACCOUNT]);
  await rows("select ops.set_setting($1, 'draft_notes', 'true')", [ACCOUNT]);
  await rows("select api.set_sync_token($1, $2)", [ACCOUNT, chatwoot.token]);
  await rows("select api.set_rest_source($1, $2)", [ACCOUNT, chatwoot.url]);
  // Webhooks alone are to bring everything.
  await rows("select cron.unschedule('sync-rest')");
  scenarios = [...await loadScenarios(), ...await loadScenarios(lastHourFolder)].filter((one) =>
    one.id !== "correo-con-errata"
  );
}, 120_000);
afterAll(async () => {
  await pool?.end();
  await chatwoot?.stop();
});

test("each customer gets the draft that fits, or none, and each reply is sent once and learnt from", async () => {
  const { installation } = chatwoot;
  // A minute of a scenario passes in a millisecond, one after the other, so that all of it was just now.
  let begin = Date.now() - 30_000;
  for (const scenario of scenarios) {
    const end = firstReply(scenario);
    const steps = scenario.steps.slice(0, end < 0 ? undefined : end).map((step) => ({ ...step, at: step.at / 60_000 }));
    const known = new Set(installation.state.conversations.keys());
    await chatwoot.dispatch(playFrom(new Date(begin), { scenarios: [{ ...scenario, steps }], installation }));
    begin += steps[steps.length - 1].at * 60_000 + 10;
    const [made] = [...installation.state.conversations.keys()].filter((id) => !known.has(id));
    conversations.set(scenario.id, made);
  }
  await chatwoot.drain();
  const scenarioOf = new Map([...conversations].map(([id, display]) => [display, id]));
  const byId = new Map(scenarios.map((scenario) => [scenario.id, scenario]));
  const waiting = (await rows<{ display_id: number }>(
    `select display_id::int from ledger.episodes where account_id = $1 and waiting_since is not null`,
    [ACCOUNT],
  )).map(({ display_id }) => display_id);

  // A row for each customer who waits, whether there is a draft or not.
  const made = await drafts();
  expect(made.map(({ display_id }) => display_id).sort()).toEqual(waiting.sort());
  for (const draft of made) expect(["open", "abstained"], JSON.stringify(draft)).toContain(draft.state);
  const scenarioFor = (draft: { display_id: number }) => byId.get(scenarioOf.get(draft.display_id) ?? "")!;
  const known = made.filter((draft) => scenarioFor(draft).known_answer);
  const unknown = made.filter((draft) => !scenarioFor(draft).known_answer);
  const right = known.filter((draft) => draft.state === "open" && draft.origin_key === scenarioFor(draft).gold_reply);
  expect(right.length / known.length).toBeGreaterThanOrEqual(0.8);
  expect(unknown.filter(({ state }) => state === "abstained").length / unknown.length).toBeGreaterThanOrEqual(0.9);

  // Each open draft is also in its conversation, for agents alone.
  await sendAll();
  const messages = (display: number) => installation.conversation(display).messages;
  for (const draft of made) {
    const notes = messages(draft.display_id).filter((message) =>
      message.private && message.content?.includes(`(draft ${draft.draft_id},`)
    );
    expect(notes.length, JSON.stringify(draft)).toBe(draft.state === "open" ? 1 : 0);
    if (draft.body !== null) {
      expect(notes[0].content).toContain(draft.body.replaceAll("{{", "‹").replaceAll("}}", "›"));
    }
  }

  // A person goes through the queue: what is right is approved, filled in where a fact is missing; what is not is rejected.
  const queue = await call("approval_queue?select=draft_id,display_id,draft,missing,waiting_seconds") as {
    draft_id: number;
    display_id: number;
    draft: string;
    missing: string[];
    waiting_seconds: number;
  }[];
  const open = made.filter(({ state }) => state === "open");
  expect(queue.map(({ draft_id }) => draft_id).sort()).toEqual(open.map(({ draft_id }) => draft_id).sort());
  expect(queue.map(({ waiting_seconds }) => waiting_seconds)).toEqual(
    queue.map(({ waiting_seconds }) => waiting_seconds).sort((one, other) => other - one),
  );
  const expected = new Map<number, string>();
  for (const entry of queue) {
    const decision = { account_id: ACCOUNT, draft_id: entry.draft_id };
    const isRight = right.some(({ draft_id }) => draft_id === entry.draft_id);
    if (!isRight) {
      await call("rpc/reject_draft", { ...decision, reason: "It answers another question." });
      expected.set(entry.display_id, "discarded");
    } else {
      // What is missing may have become known since; the approver's name is known now.
      await call("rpc/approve_draft", { ...decision, grades: { tone: 5, accuracy: 5, policy: 5 } })
        .then(() => expected.set(entry.display_id, "verbatim"), async (error: Error) => {
          expect(error.message, entry.draft).toMatch(/OC422.*Not filled in/);
          expect(entry.missing.filter((name) => !name.startsWith("agent."))).not.toEqual([]);
          const final_text = entry.draft.replaceAll(/\{\{(?!agent)[^}]*\}\}/g, "4711");
          await call("rpc/approve_draft", { ...decision, final_text, grades: { tone: 5, accuracy: 4 } });
        });
    }
  }
  // Who got no draft, or a wrong one, is answered by hand.
  for (const draft of made) {
    if (right.includes(draft)) continue;
    const agent = installation.agents[0];
    await chatwoot.perform(
      new Date(),
      (shop, at) => shop.agentReplies(at, draft.display_id, { agent, text: ownWords(scenarioFor(draft)) }),
    );
    if (draft.state === "abstained") expected.set(draft.display_id, "abstained");
  }

  await sendAll();
  await chatwoot.drain();
  await rows("call ledger.tick()");
  await rows("call replies.tick()");

  // One public reply each: nothing lost, nothing doubled.
  for (const draft of made) {
    const replies = messages(draft.display_id).filter((message) => !message.private && message.sender?.kind === "User");
    expect(replies.length, `conversation ${draft.display_id}`).toBe(1);
  }
  const learnt = await drafts();
  for (const draft of learnt) {
    const outcome = expected.get(draft.display_id);
    if (outcome !== undefined) expect(draft.outcome, JSON.stringify(draft)).toBe(outcome);
    else expect(["verbatim", "light"], JSON.stringify(draft)).toContain(draft.outcome);
  }

  // The report says what was done, no more and no less.
  const [report] = await rows(
    `select drafts::int, shown::int, eligible::int, coverage, acceptance from analytics.draft_performance
    where account_id = $1 and by = 'account' and arm = 'shown'`,
    [ACCOUNT],
  );
  expect(report).toEqual({
    drafts: open.length,
    shown: open.length,
    eligible: made.length,
    coverage: expect.closeTo(open.length / made.length, 9),
    acceptance: expect.closeTo(right.length / open.length, 9),
  });

  // And one conversation can be told from its beginning, decisions between the messages.
  const told = await rows<{ kind: string }>(
    "select kind, actor, summary from api.conversation_history($1, $2)",
    [ACCOUNT, right[0].display_id],
  );
  const kinds = told.map(({ kind }) => kind);
  expect(kinds.join(" ")).toMatch(
    /^created customer_message .*draft\.suggested .*draft\.approved .*reply/,
  );
  await rows("select * from audit.verify($1)", [ACCOUNT]).then(([verified]) =>
    expect(verified.first_broken_entry).toBeNull()
  );
  const [{ edited }] = await rows<{ edited: number }>(
    "select coalesce(sum(edit_distance), 0)::int as edited from analytics.drafts where is_used and is_final",
  );
  const taken = (list: Draft[]) => list.map((draft) => scenarioFor(draft));
  const byHand = made.filter((draft) => !right.includes(draft));
  day = {
    customers: made.length,
    rejected: open.length - right.length,
    without: made.length - open.length,
    edited,
    approved: taken(right),
    byHand: taken(byHand),
  };
}, 180_000);

/** Minutes from the customer's first message to a person's first reply, where the scenario has one. */
function minutesToAnswer(scenario: Scenario): number[] {
  const reply = scenario.steps[firstReply(scenario)];
  const asked = scenario.steps.find((step) => step.do === "customer_writes");
  return reply === undefined || asked === undefined ? [] : [reply.at - asked.at];
}
const mean = (numbers: number[]) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;

test("docs/replies.md says of a day of a hundred conversations what came out here, and what the benchmarks measured", async () => {
  const page = (await readFile(new URL("../../docs/replies.md", import.meta.url), "utf8")).replaceAll(/\s+/g, " ");
  const benchmarks = await readFile(new URL("../../docs/benchmarks.md", import.meta.url), "utf8");
  const { customers, approved, byHand } = day!;
  const perHundred = (number: number) => Math.round(number * 100 / customers);
  const words = (scenario: Scenario) => minutesToAnswer(scenario).map(() => ownWords(scenario).length);
  const typed = (list: Scenario[]) => list.flatMap(words).reduce((sum, length) => sum + length, 0);
  const hours = (list: Scenario[]) => mean(list.flatMap(minutesToAnswer)) * perHundred(list.length) / 60;
  const before = hours(approved) + hours(byHand);
  const minutes = [...approved, ...byHand].flatMap(minutesToAnswer).sort((one, other) => one - other);
  const [, draftMedian, draftMost] = benchmarks.match(/^ {2}5000 +\d+ +([\d.]+) +([\d.]+)/m)!;
  const [, postedMedian] = benchmarks.match(/^ {2}200 +200 +([\d.]+) s/m)!;
  const table = [
    ["answered with an approved draft", "0", perHundred(approved.length)],
    ["a draft was wrong, and a person rejected it", "0", perHundred(day!.rejected)],
    ["no draft, since none fits", "0", perHundred(day!.without)],
    [
      "characters typed by hand",
      perHundred(typed([...approved, ...byHand])).toLocaleString("en"),
      perHundred(typed(byHand) + day!.edited).toLocaleString("en"),
    ],
    [
      "from the message to an answer a person can approve",
      "–",
      `${Math.round(+draftMedian)} to ${Math.round(+draftMost)} ms`,
    ],
    ["from the approval to the message in Chatwoot", "–", `${postedMedian} s`],
    [
      "waiting of all customers for their first answer, but for the looking at drafts",
      `${before.toFixed(1)} h`,
      `${hours(byHand).toFixed(1)} h`,
    ],
  ].map((row) => `| ${row.join(" | ")} |`);

  for (const row of table) expect(page).toContain(row);
  expect(page).toContain(`from its ${customers} waiting customers`);
  expect(page).toContain(`after ${Math.round(minutes[Math.floor(minutes.length / 2)])} minutes in the middle of them`);
  expect(page).toContain(`that of the ${100 - perHundred(approved.length)} who are answered by hand`);
  expect(page).toContain(
    `${Math.round(hours(approved) * 60 / perHundred(approved.length))} minutes for each draft approved`,
  );
  const added = perHundred(approved.length) * (+draftMost / 1000 + +postedMedian);
  expect(page).toContain("what the machine takes, a minute for all of them");
  expect(Math.ceil(added / 60)).toBe(1);
  expect(page).toContain("three times in four, and ten of ten without an answer were left to people");
  expect(benchmarks).toMatch(/^ {2}paraphrases, blind +20 +\d+ % +75 % +10 +100 %/m);
});
