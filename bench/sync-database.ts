// How long the database door takes for a long history, next to one plain statement a table that does the same reading
// and writes into tables without keys; what a tick costs when nothing is new; and whether memory stays flat meanwhile.
import { readFile } from "node:fs/promises";
import { arch, cpus, release, totalmem, type } from "node:os";
import { Client } from "pg";
import { migrate } from "../local/migrate.ts";
import { freePort } from "../local/ports.ts";
import { startPostgres } from "../local/postgres/server.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import type { BenchOptions } from "./run.ts";

const LEAST_RATIO = 0.25;
const MOST_IDLE_MILLISECONDS = 50;
const MOST_GROWTH = 1.25;
const MESSAGES_A_CONVERSATION = 10;

const TABLES = ["contacts", "conversations", "messages", "csat_responses", "reporting_events"] as const;

interface Size {
  conversations: number;
  rounds: number;
  idleTicks: number;
}
const FULL: Size = { conversations: 100_000, rounds: 3, idleTicks: 51 };
const QUICK: Size = { conversations: 2_000, rounds: 1, idleTicks: 5 };

export async function syncDatabase({ quick }: BenchOptions): Promise<boolean> {
  const size = quick ? QUICK : FULL;
  const progress = (step: string) => console.error(`… ${step}`);
  const home = await temporaryHome();
  const stops: (() => Promise<void>)[] = [];
  let ending: Promise<void> | null = null;
  const end = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await removeHome(home);
  };
  const stop = () => ending ??= end();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    const port = await freePort();
    const postgres = await startPostgres({
      home,
      port,
      progress,
      settings: { statement_timeout: "0", max_wal_size: "8GB" },
    });
    stops.push(postgres.stop);
    await migrate(readSettings({}).projectRoot, { url: postgres.url, withSeed: false });
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    stops.push(() => client.end());
    progress(`making ${size.conversations} conversations of ${MESSAGES_A_CONVERSATION} messages each`);
    await makeChatwoot(client, size);
    const admin = new Client({ connectionString: postgres.adminUrl });
    await admin.connect();
    stops.push(() => admin.end());
    await describeMachine(admin);
    if (quick) console.log("A quick run: too short for its numbers to mean anything.");

    const rounds: Round[] = [];
    for (let number = 0; number < size.rounds; number++) {
      progress(`round ${number + 1} of ${size.rounds}: plain statements`);
      const plain = await measurePlain(admin);
      progress(`round ${number + 1} of ${size.rounds}: back-fill`);
      const round = { plain, ...await measureBackfill(admin, client) };
      progress(`round ${number + 1} of ${size.rounds}: a copy of the finished rows`);
      rounds.push({ ...round, copy: await measureCopy(admin) });
    }
    printRounds(rounds);
    progress("ticks with nothing new");
    const idle = await measureIdle(admin, client, size);
    console.log(
      `\nA tick with nothing new: median ${idle.median.toFixed(1)} ms, longest ${idle.longest.toFixed(1)} ms`,
    );
    return judge(rounds, idle.median);
  } finally {
    await stop();
  }
}

async function makeChatwoot(client: Client, { conversations }: Size): Promise<void> {
  await client.query(await readFile(new URL("../local/chatwoot/schema.sql", import.meta.url), "utf8"));
  await client.query("alter table conversations disable trigger user");
  for (const statement of CHATWOOT) {
    await client.query(
      statement.replaceAll(":conversations", String(conversations))
        .replaceAll(":messages", String(conversations * MESSAGES_A_CONVERSATION)),
    );
  }
  await client.query("analyze");
  await client.query("select sync.set_database_source(1, 'public')");
}

interface Round {
  /** Seconds of the plain statements, of a copy of the finished rows, and of the back-fill. */
  plain: number;
  copy: number;
  backfill: number;
  rows: number;
  /** Private memory of the backend in MiB: at its highest in the first quarter of the back-fill, and in all of it. */
  early: number;
  peak: number;
}

async function bareTables(admin: Client): Promise<void> {
  await admin.query("drop schema if exists bare cascade");
  await admin.query("create schema bare");
  for (const table of TABLES) await admin.query(`create table bare.${table} (like chatwoot.${table})`);
  await admin.query("checkpoint");
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function measurePlain(admin: Client): Promise<number> {
  await bareTables(admin);
  return await timed(async () => {
    for (const statement of PLAIN) await admin.query(statement);
  });
}

async function measureCopy(admin: Client): Promise<number> {
  await bareTables(admin);
  return await timed(async () => {
    for (const table of TABLES) await admin.query(`insert into bare.${table} select * from chatwoot.${table}`);
  });
}

async function measureBackfill(admin: Client, client: Client): Promise<Omit<Round, "plain" | "copy">> {
  await admin.query("drop schema if exists bare cascade");
  await admin.query(`truncate ${TABLES.map((table) => `chatwoot.${table}`).join(", ")} cascade`);
  await admin.query(`update sync.sources set backfill = null, backfill_started_at = null, backfill_finished_at = null,
    cursor = '{}' where true`);
  await admin.query("checkpoint");
  const { rows: [{ pid }] } = await client.query("select pg_backend_pid() as pid");
  const samples: number[] = [];
  const sampler = setInterval(() => void privateMemory(pid).then((memory) => memory && samples.push(memory)), 50);
  const seconds = await timed(async () => {
    // Ends with the last row of the history, before the first sweep.
    await client.query(BACKFILL_ONLY);
    await client.query("call bench_backfill()");
  });
  clearInterval(sampler);
  const { rows: [{ backfill_done: rows }] } = await admin.query("select backfill_done from sync.sources");
  return {
    backfill: seconds,
    rows: Number(rows),
    early: Math.max(...samples.slice(0, Math.ceil(samples.length / 4)), 0),
    peak: Math.max(...samples, 0),
  };
}

// The steps of a tick, without what comes after the history.
const BACKFILL_ONLY = `create or replace procedure bench_backfill() language plpgsql as $$
  declare
    v_plan jsonb;
    v_place jsonb := '{}';
    v_step record;
  begin
    v_step := sync.database_step(1, 'plan', clock_timestamp(), null, '{}');
    commit;
    v_plan := v_step.plan;
    while v_place is not null loop
      v_step := sync.database_step(1, 'backfill', clock_timestamp(), v_plan, v_place);
      commit;
      if v_step.problem is not null then
        raise exception '%', v_step.problem;
      end if;
      v_place := v_step.place;
    end loop;
  end
$$`;

/** What the process does not share, in MiB; 0 where the system does not tell. */
async function privateMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

async function measureIdle(
  admin: Client,
  client: Client,
  { idleTicks }: Size,
): Promise<{ median: number; longest: number }> {
  let now = Date.now();
  const tick = () => client.query("call sync.tick_database($1)", [new Date(now += 180_000)]);
  // Until every large table was once compared whole.
  for (let number = 0; number < 1000; number++) {
    await client.query("select pg_stat_force_next_flush()");
    await tick();
    const { rows: [{ is_settled }] } = await admin.query(`select not exists (
      select from jsonb_each(sources.cursor) as states (name, state)
      where jsonb_typeof(states.state) = 'object' and (states.state ? 'sweep' or states.state #> '{tail,newest}' is not null))
      as is_settled from sync.sources`);
    if (is_settled && number > 2) break;
  }
  await admin.query("vacuum analyze");
  const milliseconds: number[] = [];
  for (let number = 0; number < idleTicks; number++) milliseconds.push(await timed(tick) * 1000);
  const { rows: [{ problem }] } = await admin.query("select problem from sync.sources");
  if (problem !== null) throw new Error(problem);
  return { median: median(milliseconds), longest: Math.max(...milliseconds) };
}

function printRounds(rounds: Round[]): void {
  console.log(`\nA history of ${rounds[0].rows} rows: seconds, and how the back-fill compares\n`);
  printTable(
    [
      "round",
      "plain",
      "copy",
      "back-fill",
      "µs a row",
      "plain / back-fill",
      "copy / back-fill",
      "MiB early",
      "MiB peak",
    ],
    rounds.map((round, index) => ({
      round: index + 1,
      plain: round.plain.toFixed(2),
      copy: round.copy.toFixed(2),
      "back-fill": round.backfill.toFixed(2),
      "µs a row": (round.backfill * 1e6 / round.rows).toFixed(1),
      "plain / back-fill": (round.plain / round.backfill).toFixed(3),
      "copy / back-fill": (round.copy / round.backfill).toFixed(3),
      "MiB early": round.early.toFixed(0),
      "MiB peak": round.peak.toFixed(0),
    })),
  );
  console.log(
    "\nplain: one insert … select a table, from Chatwoot's tables into copies of the mirror's without keys or indexes." +
      "\ncopy: the finished rows of the mirror into such copies, nothing worked out.",
  );
}

async function describeMachine(admin: Client): Promise<void> {
  const { rows: [postgres] } = await admin.query(
    `select current_setting('server_version') as version, current_setting('fsync') as fsync,
      current_setting('shared_buffers') as shared_buffers`,
  );
  const [processor] = cpus();
  console.log(
    `Machine: ${cpus().length} × ${processor.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, ` +
      `${type()} ${release()} ${arch()}; Node ${process.versions.node}, Postgres ${postgres.version} ` +
      `(fsync ${postgres.fsync}, shared_buffers ${postgres.shared_buffers}).`,
  );
}

function judge(rounds: Round[], idle: number): boolean {
  const ratio = median(rounds.map(({ plain, backfill }) => plain / backfill));
  const growth = median(rounds.map(({ early, peak }) => early === 0 ? 1 : peak / early));
  const targets = [
    { what: `plain / back-fill ${ratio.toFixed(3)}, at least ${LEAST_RATIO}`, reached: ratio >= LEAST_RATIO },
    {
      what: `idle tick ${idle.toFixed(1)} ms, at most ${MOST_IDLE_MILLISECONDS}`,
      reached: idle <= MOST_IDLE_MILLISECONDS,
    },
    {
      what: `memory ${growth.toFixed(2)} × that of the first quarter, at most ${MOST_GROWTH}`,
      reached: growth <= MOST_GROWTH,
    },
  ];
  console.log();
  for (const { what, reached } of targets) console.log(`${reached ? "reached" : "MISSED "}  ${what}`);
  return targets.every(({ reached }) => reached);
}

function median(values: number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor((values.length - 1) / 2)];
}

const CHATWOOT = [
  "insert into accounts (id, name, created_at, updated_at) values (1, 'Acme', now(), now())",
  `insert into inboxes (id, channel_id, account_id, name, channel_type, created_at, updated_at)
    select number, number, 1, 'Inbox ' || number, 'Channel::WebWidget', now(), now() from generate_series(1, 5) as numbers (number)`,
  `insert into working_hours (inbox_id, account_id, day_of_week, open_hour, open_minutes, close_hour, close_minutes,
      created_at, updated_at)
    select inbox, 1, day, 9, 0, 17, 0, now(), now() from generate_series(1, 5) as inboxes (inbox), generate_series(0, 6) as days (day)`,
  `insert into users (id, name, email, uid, created_at, updated_at)
    select number, 'Agent ' || number, 'agent-' || number || '@acme.example', 'agent-' || number, now(), now()
    from generate_series(1, 20) as numbers (number)`,
  "insert into account_users (account_id, user_id, created_at, updated_at) select 1, id, now(), now() from users",
  "insert into teams (id, account_id, name, created_at, updated_at) values (1, 1, 'support', now(), now()), (2, 1, 'billing', now(), now())",
  `insert into labels (account_id, title, created_at, updated_at)
    select 1, title, now(), now() from unnest(array['billing', 'bug', 'vip', 'refund']) as titles (title)`,
  "insert into tags (id, name) select row_number() over (order by title), title from labels",
  `insert into contacts (id, name, email, phone_number, account_id, created_at, updated_at, custom_attributes)
    select number, 'Customer ' || number, 'customer-' || number || '@mail.example', '+49305' || number, 1, at, at, '{"plan": "pro"}'
    from generate_series(1, :conversations) as numbers (number),
      lateral (select timestamp '2026-01-01' + number * interval '3 minutes' as at) as instants`,
  `insert into contact_inboxes (id, contact_id, inbox_id, source_id, created_at, updated_at)
    select id, id, 1 + id % 5, md5(id::text), created_at, updated_at from contacts`,
  `insert into conversations (id, account_id, inbox_id, status, assignee_id, created_at, updated_at, contact_id, display_id,
      contact_inbox_id, last_activity_at, team_id, first_reply_created_at, priority, agent_last_seen_at,
      contact_last_seen_at, waiting_since, additional_attributes, cached_label_list)
    select id, 1, 1 + id % 5, case when id % 20 = 0 then 0 else 1 end, 1 + id % 20, at, at + interval '1 hour', id, id, id,
      at + interval '1 hour', case when id % 3 = 0 then 1 + id % 2 end, at + interval '5 minutes', nullif(id % 6, 5) % 4,
      at + interval '1 hour', at + interval '1 hour', case when id % 20 = 0 then at end,
      '{"browser": {"browser_name": "Firefox", "platform_name": "Generic Linux"}, "referer": "https://acme.example/help"}',
      case when id % 2 = 0 then 'bug' end
    from contacts, lateral (select created_at + interval '0.654321 seconds' as at) as instants`,
  `insert into taggings (tag_id, taggable_type, taggable_id, context, created_at)
    select 1 + id % 4, 'Conversation', id, 'labels', created_at from conversations where id % 2 = 0`,
  // Half of the messages are long, a fifth has attributes, a twentieth a file.
  `insert into messages (id, content, account_id, inbox_id, conversation_id, message_type, created_at, updated_at, private,
      status, content_attributes, sender_type, sender_id)
    select number, 'Message ' || number || repeat(' and so on, until all is said', number % 2 * (number % 11)), 1,
      1 + conversation % 5, conversation, case number % 10 when 9 then 2 else number % 2 end, at, at, number % 17 = 0,
      number % 3, case when number % 5 = 0 then to_json('{"in_reply_to":' || number - 1 || '}') end,
      case number % 2 when 0 then 'Contact' else 'User' end,
      case number % 2 when 0 then conversation else 1 + conversation % 20 end
    from generate_series(1, :messages) as numbers (number),
      lateral (select 1 + (number - 1) / ${MESSAGES_A_CONVERSATION} as conversation) as parents,
      lateral (select timestamp '2026-01-01 00:00:00.654321' + conversation * interval '3 minutes'
        + number % ${MESSAGES_A_CONVERSATION} * interval '4 minutes' as at) as instants`,
  `insert into attachments (file_type, message_id, account_id, created_at, updated_at, extension)
    select 0, id, 1, created_at, created_at, 'jpg' from messages where id % 20 = 0`,
  `insert into csat_survey_responses (account_id, conversation_id, message_id, rating, contact_id, created_at, updated_at)
    select 1, id, id * ${MESSAGES_A_CONVERSATION}, 1 + id % 5, contact_id, updated_at, updated_at from conversations where id % 10 = 0`,
  `insert into reporting_events (name, value, account_id, inbox_id, user_id, conversation_id, created_at, updated_at,
      value_in_business_hours, event_start_time, event_end_time)
    select 'first_response', 300, 1, inbox_id, assignee_id, id, updated_at, updated_at, 0, created_at, first_reply_created_at
    from conversations`,
  "select setval('messages_id_seq', :messages), setval('conversations_id_seq', :conversations), setval('contacts_id_seq', :conversations)",
];

// What somebody would write who needs these rows once, in a hurry.
const PLAIN = [
  `insert into bare.contacts (account_id, contact_id, name, email, phone_number, identifier, blocked,
      additional_attributes, custom_attributes, version_at)
    select account_id, id, name, email, phone_number, identifier, blocked, additional_attributes, custom_attributes,
      updated_at at time zone 'UTC' from contacts where account_id = 1`,
  `insert into bare.conversations (account_id, display_id, database_id, inbox_id, contact_id, channel, status, priority,
      assignee_kind, assignee_id, team_id, labels, contact_source_id, additional_attributes, custom_attributes,
      snoozed_until, waiting_since, first_reply_created_at, agent_last_seen_at, contact_last_seen_at, last_activity_at,
      created_at, version_at)
    select conversations.account_id, display_id, conversations.id, conversations.inbox_id, conversations.contact_id, channel_type,
      (array['open', 'resolved', 'pending', 'snoozed'])[1 + status], (array['low', 'medium', 'high', 'urgent'])[1 + priority],
      case when assignee_id is not null then 'user' end, assignee_id, team_id, coalesce(titles, '{}'), source_id,
      additional_attributes, custom_attributes, snoozed_until at time zone 'UTC', waiting_since at time zone 'UTC',
      first_reply_created_at at time zone 'UTC', agent_last_seen_at at time zone 'UTC',
      contact_last_seen_at at time zone 'UTC', last_activity_at at time zone 'UTC',
      conversations.created_at at time zone 'UTC', conversations.updated_at at time zone 'UTC'
    from conversations
    left join inboxes on inboxes.id = conversations.inbox_id
    left join contact_inboxes on contact_inboxes.id = conversations.contact_inbox_id
    left join (select taggable_id, array_agg(tags.name::text order by tags.name) as titles from taggings
      join tags on tags.id = tag_id where taggable_type = 'Conversation' and context = 'labels' group by taggable_id
    ) as tagged on taggable_id = conversations.id
    where conversations.account_id = 1`,
  `insert into bare.messages (account_id, message_id, conversation_display_id, inbox_id, message_type, content_type, content,
      private, sender_kind, sender_id, source_id, attachments, content_attributes, additional_attributes, created_at,
      delivery_status, delivery_status_at, version_at)
    select messages.account_id, messages.id, display_id, messages.inbox_id,
      (array['incoming', 'outgoing', 'activity', 'template'])[1 + message_type],
      case content_type when 0 then 'text' else 'other' end, content, private, lower(sender_type), sender_id, source_id,
      coalesce(files, '[]'), coalesce((content_attributes #>> '{}')::jsonb, '{}'), messages.additional_attributes,
      messages.created_at at time zone 'UTC', (array['sent', 'delivered', 'read', 'failed'])[1 + messages.status],
      messages.updated_at at time zone 'UTC', messages.updated_at at time zone 'UTC'
    from messages
    join conversations on conversations.id = conversation_id
    left join (select message_id, jsonb_agg(jsonb_build_object('id', id, 'file_type', 'image', 'extension', extension)
      order by id) as files from attachments group by message_id) as attached on attached.message_id = messages.id
    where messages.account_id = 1`,
  `insert into bare.csat_responses (account_id, message_id, conversation_display_id, rating, feedback_message,
      first_answered_at, version_at)
    select answers.account_id, message_id, display_id, rating, feedback_message, answers.created_at at time zone 'UTC',
      answers.updated_at at time zone 'UTC'
    from csat_survey_responses as answers join conversations on conversations.id = conversation_id
    where answers.account_id = 1`,
  `insert into bare.reporting_events
    select events.account_id, events.id, name, display_id, events.inbox_id, user_id, value, value_in_business_hours,
      event_start_time at time zone 'UTC', event_end_time at time zone 'UTC', events.created_at at time zone 'UTC'
    from reporting_events as events left join conversations on conversations.id = conversation_id
    where events.account_id = 1`,
];
