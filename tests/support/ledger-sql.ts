// Timelines of the reference, told to the database as its event log; and what the database says of them, in the words of
// the reference.
import type { ClientBase } from "pg";
import type { ConversationMetrics, EpisodeMetrics, LedgerEvent, LedgerOptions } from "./ledger-reference.ts";

export interface Told {
  events: readonly LedgerEvent[];
  /** Where only a part is told: all of it, since only an answer tells that a message was a survey. */
  whole?: readonly LedgerEvent[];
  options: Omit<LedgerOptions, "businessClock">;
}

/** Writes conversations and their logs, one a timeline, numbered from 1; or more of the logs of those that are there. */
export async function tellTimelines(
  client: ClientBase,
  timelines: readonly Told[],
  account = 1,
  { isMore = false } = {},
): Promise<void> {
  const rules = new Map<string, number>();
  const conversations: unknown[] = [];
  const events: unknown[] = [];
  timelines.forEach(({ events: told, whole = told, options }, index) => {
    if (told.length === 0) return;
    const rule = JSON.stringify([options.episodeGap, options.durable, options.hasBot]);
    if (!rules.has(rule)) rules.set(rule, rules.size + 1);
    const display_id = index + 1;
    const version_at = new Date(told[0].at).toISOString();
    conversations.push({
      account_id: account,
      display_id,
      inbox_id: rules.get(rule),
      created_at: version_at,
      version_at,
    });
    const surveys = new Set(whole.map(({ surveyMessageId }) => surveyMessageId));
    for (const event of told) {
      const { at, kind, id, class: name, author, status, assignee, rating, surveyMessageId, question } = event;
      events.push({
        account_id: account,
        display_id,
        kind,
        occurred_at: new Date(at).toISOString(),
        place: id,
        class: name ?? null,
        value: status ?? (kind === "assignee" ? assignee ?? "" : null) ?? rating?.toString() ??
          (surveys.has(id) ? "survey" : question ? "question" : ""),
        actor_kind: author ? "user" : null,
        actor_id: author ?? null,
        source: kind === "message" ? "message" : kind === "csat" ? "csat_response" : "change",
        source_id: String(surveyMessageId ?? id),
      });
    }
  });
  for (const [rule, inbox] of isMore ? [] : rules) {
    const [gap, durable, hasBot] = JSON.parse(rule);
    await client.query(
      "insert into ledger.rules (account_id, inbox_id, episode_gap_seconds, durable_seconds, has_bot) values ($1, $2, $3, $4, $5)",
      [account, inbox, gap, durable, hasBot],
    );
  }
  if (!isMore) {
    await client.query(
      "insert into chatwoot.conversations select * from json_populate_recordset(null::chatwoot.conversations, $1)",
      [JSON.stringify(conversations)],
    );
  }
  // The log is told as it is: nothing is to be learnt from a mirror that is empty.
  await client.query("delete from ledger.queue where account_id = $1", [account]);
  for (let from = 0; from < events.length; from += 20_000) {
    await client.query(
      `insert into ledger.events (account_id, display_id, kind, occurred_at, place, class, value, actor_kind, actor_id,
          source, source_id, learnt_at)
        select account_id, display_id, kind, occurred_at, place, class, value, actor_kind, actor_id, source, source_id, now()
        from json_populate_recordset(null::ledger.events, $1)`,
      [JSON.stringify(events.slice(from, from + 20_000))],
    );
  }
}

/** What the reference and the view name alike. */
const SAME = [
  "episode is_outbound waiting reopens resolutions durable human_replies bot_replies customer_messages turns one_touch",
  "one_turn zero_touch replied closed_unreplied assignees stations reassignments first_reply_author ai_involved",
  "ai_answered",
].join(" ").split(" ");
const LENGTHS = [
  "frt frt_customer frt_any reply_time bot_reply_time wait_total wait_longest wait_current ttr_first ttr_full ttr_active",
  "ttr_human requester_wait agent_work agent_wait on_hold bot_phase handoff_s unassigned_s first_assignment_to_resolve",
  "last_assignment_to_resolve",
].join(" ").split(" ");
export const COMPARED = [...SAME, ...LENGTHS, ...LENGTHS.map((name) => `${name}_business`)];

const rounded = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(rounded)
    : typeof value === "number"
    ? Math.round(value * 1000) / 1000
    : value ?? null;

/** A row of analytics.episodes as the reference would say it. */
export function fromRow(row: Record<string, unknown>): Record<string, unknown> {
  const said = Object.fromEntries(COMPARED.map((name) => {
    const value = row[name];
    const isNumber = typeof value === "string" && /^-?[\d.]+$/.test(value);
    return [name, rounded(isNumber ? Number(value) : value)];
  }));
  for (const name of ["reply_time", "bot_reply_time", "reply_time_business", "bot_reply_time_business"]) {
    said[name] ??= [];
  }
  return {
    ...said,
    started_at: (row.started_at as Date).getTime(),
    csat: row.csat_rating === null ? null : Number(row.csat_rating),
    ai_class: row.ai_class,
    resolved_by: row.resolved_by_kind === "user" && row.status === "resolved" ? Number(row.resolved_by_id) : null,
  };
}

export function fromReference(episode: EpisodeMetrics): Record<string, unknown> {
  const told = episode as unknown as Record<string, unknown>;
  return {
    ...Object.fromEntries(COMPARED.map((name) => [name, rounded(told[name])])),
    started_at: episode.started_at,
    csat: episode.csat,
    ai_class: episode.ai_class,
    resolved_by: episode.resolved_by,
  };
}

const FOLDED = [
  "episodes resolutions reopens_raw reopens customer_messages human_replies bot_replies turns waiting durable replied",
  "closed_unreplied one_touch one_turn zero_touch",
].join(" ").split(" ");
const FOLDED_LENGTHS = [
  "frt frt_customer frt_any ttr_first handoff_s reply_time ttr_full ttr_active ttr_human wait_total wait_longest",
  "wait_current requester_wait agent_work agent_wait on_hold bot_phase",
].join(" ").split(" ");

/** What the reference says of a conversation beside what analytics.conversations does, to a second. */
export function toldConversation(
  reference: ConversationMetrics,
  row: Record<string, unknown>,
): [Record<string, unknown>, Record<string, unknown>] {
  const told = reference as unknown as Record<string, unknown>;
  // The database reads its clock to the microsecond, and the reference knows of milliseconds, of which its sums are short
  // by less than a thousandth: what is left of a millisecond is cut off before half a second is looked for.
  const coarse = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(coarse)
      : typeof value === "number"
      ? Math.round(Math.floor(value * 1000 + 0.001) / 1000)
      : value ?? null;
  const names = [...FOLDED_LENGTHS, ...FOLDED_LENGTHS.map((name) => `${name}_business`)];
  const lists = ["reply_time", "reply_time_business"];
  const sums = ["requester_wait", "agent_work", "agent_wait", "on_hold", "bot_phase"];
  const isSum = (name: string) => sums.includes(name.replace("_business", ""));
  const plain = (name: string, value: unknown) => {
    const isNumber = typeof value === "string" && /^-?[\d.]+$/.test(value);
    // Without an episode there is nothing to add up: null here, 0 there.
    if (value === null && lists.includes(name)) return [];
    if (value === null && isSum(name)) return 0;
    if (value === null && ["waiting", "closed_unreplied"].includes(name)) return false;
    return coarse(isNumber ? Number(value) : value);
  };
  // Of a conversation without a word nothing is counted, not even its resolves.
  const counted = Number(row.episodes) > 0
    ? FOLDED
    : FOLDED.filter((name) => !["resolutions", "reopens_raw"].includes(name));
  const read = (from: Record<string, unknown>) =>
    Object.fromEntries([...counted, ...names].map((name) => [name, plain(name, from[name] ?? null)]));
  return [read(told), read(row)];
}
