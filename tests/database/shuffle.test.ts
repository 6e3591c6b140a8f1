// The mirror ends the same in whatever order, however often and over however many connections its news arrive.
import { isDeepStrictEqual } from "node:util";
import type { Client } from "pg";
import { expect, test } from "vitest";
import { historyOf } from "../../local/chatwoot/history.ts";
import type { ChatwootEvent } from "../../local/chatwoot/installation.ts";
import { createRandom } from "../../local/chatwoot/random.ts";
import { useDatabase } from "../support/database.ts";
import { mirror } from "./deliver.ts";

const inOrder = useDatabase();
const shuffled = useDatabase();

const EVENTS = 10_000;
const CONVERSATIONS = 200;
const CONNECTIONS = 4;

interface Sent {
  id: string;
  event: ChatwootEvent;
}

/** Each delivery is a transaction of its own, as at the webhook door. Returns how often each outcome came. */
async function send(client: Client, deliveries: readonly Sent[]): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {};
  for (const { id, event } of deliveries) {
    const { rows } = await client.query({
      name: "record",
      text: "select inbox.record(1, $1, $2, '{}', 'signature', $3) as outcome",
      values: [id, Buffer.from(event.body), event.at],
    });
    outcomes[rows[0].outcome] = (outcomes[rows[0].outcome] ?? 0) + 1;
  }
  return outcomes;
}

const add = (all: Record<string, number>[]) => {
  const sum: Record<string, number> = {};
  for (const counts of all) for (const [name, count] of Object.entries(counts)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
};

function shuffle<Item>(items: readonly Item[], seed: number): Item[] {
  const random = createRandom(seed);
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = random.integer(0, last);
    [result[last], result[other]] = [result[other], result[last]];
  }
  return result;
}

test(`${EVENTS} events of ${CONVERSATIONS} conversations, shuffled and doubled, end as in order and once`, async () => {
  const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`shuffle: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
  const history = historyOf({ conversations: CONVERSATIONS, events: EVENTS, seed });
  const events = [...history.events];
  const once = events.map((event) => ({ id: event.deliveryId, event }));
  // Half of the second copies come under their own id, as when Chatwoot sends the same news twice.
  const copies = once.map(({ id, event }, index) => ({ id: index % 2 === 0 ? id : `again-${id}`, event }));
  const [single, ...several] = await Promise.all([
    inOrder.connect(),
    ...Array.from({ length: CONNECTIONS }, () => shuffled.connect()),
  ]);
  const mixed = shuffle([...once, ...copies], seed);

  const [plain, ...parts] = await Promise.all([
    send(single, once),
    ...several.map((client, index) => send(client, mixed.filter((_, place) => place % CONNECTIONS === index))),
  ]);

  const ignored = events.filter(({ name }) => name.startsWith("conversation_typing")).length;
  expect(plain).toEqual({ applied: EVENTS - ignored, ...(ignored > 0 ? { ignored } : {}) });
  const mixedOutcomes = add(parts);
  expect(mixedOutcomes.duplicate).toBe(EVENTS / 2);
  expect(mixedOutcomes.dead).toBeUndefined();
  const expected = await mirror(single);
  const found = await mirror(several[0]);
  for (const [table, rows] of Object.entries(expected)) {
    expect(rows.length, `rows of ${table}`).toBeGreaterThan(0);
    expect(
      rows.map((row, index) => [row, found[table][index]]).filter((pair) => !isDeepStrictEqual(pair[0], pair[1])),
      table,
    ).toEqual([]);
  }

  const truth = history.installation.finalState();
  for (const client of [single, several[0]]) {
    expect(differences(await told(client, CONTACTS), truth.contacts)).toEqual([]);
    expect(differences(await told(client, MESSAGES), truth.messages.map(withoutSurveyLink))).toEqual([]);
    expect(differences(await told(client, STANDING), truth.conversations)).toEqual([]);
  }
}, 180_000);

/** The link is only in one of the two shapes of a message, and no part of what was written. */
function withoutSurveyLink<Row extends { content: string | null; content_type: string }>(row: Row): Row {
  const content = row.content_type === "input_csat" ? row.content?.replace(/ https:\S+$/, "") ?? null : row.content;
  return { ...row, content };
}

/** Only the rows that differ: thousands of equal ones would hide them. */
function differences(found: { id: number }[], expected: { id: number }[]): unknown[] {
  const rows = new Map(found.map((row) => [row.id, row]));
  const differing = expected.map((row) => ({ expected: row, found: rows.get(row.id) }))
    .filter((pair) => !isDeepStrictEqual(pair.found, pair.expected));
  const unexpected = found.filter(({ id }) => !expected.some((row) => row.id === id));
  return [...differing.slice(0, 5), ...unexpected.slice(0, 5)];
}

/** The mirror in the words of the Chatwoot that the news came from. */
async function told(client: Client, query: string): Promise<{ id: number }[]> {
  return (await client.query(query)).rows.map(({ row }) => row);
}

const KIND = "case %s when 'user' then 'User' when 'agent_bot' then 'AgentBot' when 'contact' then 'Contact' end";
const ISO = `to_char(%s at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
const kind = (column: string) => KIND.replace("%s", column);
const iso = (column: string) => ISO.replace("%s", column);

const CONTACTS = `select json_build_object('id', contact_id, 'name', name, 'email', email, 'phone_number', phone_number,
    'identifier', identifier, 'blocked', blocked, 'custom_attributes', custom_attributes) as row
  from chatwoot.contacts order by contact_id`;

const MESSAGES = `select json_build_object('id', message_id, 'conversation_id', conversation_display_id,
    'message_type', message_type, 'content_type', content_type, 'content', content, 'private', private,
    'sender_type', ${kind("sender_kind")}, 'sender_id', sender_id, 'source_id', source_id,
    'deleted', deleted_at is not null,
    'attachment_ids', array(select (elements.attachment ->> 'id')::bigint
      from jsonb_array_elements(attachments) with ordinality as elements (attachment, place) order by place),
    'delivery_status', delivery_status) as row
  from chatwoot.messages order by message_id`;

const STANDING = `select json_build_object('id', display_id, 'inbox_id', inbox_id, 'contact_id', contact_id,
    'status', status, 'assignee_type', ${kind("assignee_kind")}, 'assignee_id', assignee_id, 'team_id', team_id,
    'labels', array(select label from unnest(labels) as label order by label collate "C"), 'priority', priority,
    'waiting_since', extract(epoch from waiting_since)::bigint, 'snoozed_until', ${iso("snoozed_until")},
    'first_reply_created_at', ${iso("first_reply_created_at")},
    'csat', (select json_build_object('rating', rating, 'feedback', feedback_message) from chatwoot.csat_responses as answers
      where answers.conversation_display_id = conversations.display_id
      and answers.message_id = (select max(message_id) from chatwoot.messages
        where messages.conversation_display_id = conversations.display_id and messages.content_type = 'input_csat'))) as row
  from chatwoot.conversations order by display_id`;
