// What the REST API reads. Everything comes from the tables at that moment, so that they are the one truth.
import type { Pool } from "pg";
import { type Attributes, STATUSES } from "./records.ts";
import {
  AGENT_COLUMNS,
  contactColumns,
  CONVERSATIONS,
  epoch,
  iso,
  LABELS,
  MESSAGES,
  pushContact,
  restAgent,
  restContact,
  restConversation,
  restMessage,
  restTeam,
  type Row,
} from "./rest-shapes.ts";
import { float } from "./serialise.ts";

export const PAGE = 25;
const CONTACTS_PAGE = 15;

/** Who asks. An administrator sees every inbox, an agent those they belong to. */
export interface Viewer {
  id: number;
  isAdministrator: boolean;
}

/** Text as Ruby's to_i reads it: what cannot be read is 0. */
export const integer = (text: string | null): number => Number.parseInt(text ?? "", 10) || 0;

/** Epoch seconds; null when not given. Anything but digits is Chatwoot's undoing too, and ends as 500. */
function seconds(text: string | null): number | null {
  if (text !== null && !/^\d+$/.test(text)) throw new RangeError(`"${text}" are no epoch seconds.`);
  return text === null ? null : Number(text);
}

const pageOf = (query: URLSearchParams) => Math.max(1, integer(query.get("page") ?? "1"));
const within = (page: number, size: number) => ` limit ${size} offset ${(page - 1) * size}`;

const SORTS: Record<string, string> = {
  last_activity_at_asc: "last_activity_at",
  last_activity_at_desc: "last_activity_at desc",
  created_at_asc: "created_at",
  created_at_desc: "created_at desc",
  priority_asc: "priority",
  priority_desc: "priority desc nulls last",
  waiting_since_asc: "waiting_since",
  waiting_since_desc: "waiting_since desc nulls last",
};

const CONTACT_SORTS = ["name", "email", "phone_number", "last_activity_at", "created_at"];

// An agent sees the conversations of their inboxes; a bot, which lists none, those of its account.
const visibleTo = (viewer: string) =>
  `conversations.inbox_id in (select inbox_id from inbox_members where user_id = ${viewer})`;

/** Reads of one account. */
export function createReader(pool: Pool, { accountId, baseUrl }: { accountId: number; baseUrl: string }) {
  const rows = async (text: string, values: unknown[] = []): Promise<Row[]> => (await pool.query(text, values)).rows;

  const conversationsWhere = async (tail: string, values: unknown[]): Promise<Attributes[]> => {
    const found = await rows(`${CONVERSATIONS} where conversations.account_id = ${accountId} and ${tail}`, values);
    const ids = found.flatMap((row) => [row.last_message_id, row.last_non_activity_message_id]).filter((id) =>
      id !== null
    );
    const nested = await rows(`${MESSAGES} where messages.id = any ($1)`, [ids]);
    const messages = new Map(nested.map((message) => [message.id, message]));
    return found.map((row) => restConversation(row, messages, baseUrl));
  };

  return {
    rows,

    /** Whether there is such a conversation and this user may see it: through its inbox, or through its team. */
    async access(id: number, viewer: Viewer): Promise<"missing" | "hidden" | "open"> {
      const [found] = await rows(
        `select ${visibleTo("$3")} or exists (select from team_members
          where team_members.team_id = conversations.team_id and team_members.user_id = $3) as is_seen
        from conversations where account_id = $1 and display_id = $2`,
        [accountId, id, viewer.id],
      );
      return found === undefined ? "missing" : viewer.isAdministrator || found.is_seen ? "open" : "hidden";
    },

    async conversation(id: number): Promise<Attributes | null> {
      return (await conversationsWhere("conversations.display_id = $1", [id]))[0] ?? null;
    },

    /** The list, its filters and its counts; without pages where updated_within is asked for. */
    async conversations(query: URLSearchParams, { now, viewer }: { now: Date; viewer: Viewer }): Promise<Attributes> {
      const values: unknown[] = [viewer.id];
      const value = (given: unknown) => `$${values.push(given)}`;
      // Named in every statement, so that its type is known.
      const conditions = ["$1::bigint is not null"];
      if (!viewer.isAdministrator) conditions.push(visibleTo("$1"));
      const statuses: string[] = query.has("status[]") ? query.getAll("status[]") : [query.get("status") ?? "open"];
      if (!statuses.includes("all")) {
        const known = STATUSES.flatMap((name, number) => statuses.includes(name) ? [number] : []);
        conditions.push(`conversations.status = any (${value(known)})`);
      }
      for (const column of ["inbox_id", "team_id"]) {
        if (query.has(column)) conditions.push(`conversations.${column} = ${value(integer(query.get(column)))}`);
      }
      if (query.has("labels[]")) {
        conditions.push(`exists (select from taggings join tags on tags.id = taggings.tag_id
          where taggings.taggable_id = conversations.id and taggings.taggable_type = 'Conversation'
            and taggings.context = 'labels' and tags.name = any (${value(query.getAll("labels[]"))}))`);
      }
      const updatedWithin = query.get("updated_within");
      if (updatedWithin !== null) {
        const since = new Date(now.getTime() - integer(updatedWithin) * 1000);
        conditions.push(`conversations.updated_at > ${value(since.toISOString().slice(0, -1))}`);
      }
      const all = conditions.join(" and ");
      const sides: Record<string, string> = {
        me: "conversations.assignee_id = $1",
        assigned: "conversations.assignee_id is not null",
        unassigned: "conversations.assignee_id is null",
      };
      const [meta] = await rows(
        `select count(*) filter (where ${sides.me}) as mine_count,
          count(*) filter (where ${sides.assigned}) as assigned_count,
          count(*) filter (where ${sides.unassigned}) as unassigned_count,
          count(*) as all_count
        from conversations where account_id = ${accountId} and ${all}`,
        values,
      );
      const side = sides[query.get("assignee_type") ?? ""] ?? "true";
      const order = SORTS[query.get("sort_by") ?? ""] ?? SORTS.last_activity_at_desc;
      const paging = updatedWithin === null ? within(pageOf(query), PAGE) : "";
      const payload = await conversationsWhere(
        `${all} and ${side} order by conversations.${order}, conversations.id${paging}`,
        values,
      );
      return { data: { meta, payload } };
    },

    /** Messages of a conversation by Chatwoot's rules of paging; null when there is no such conversation. */
    async messages(id: number, query: URLSearchParams): Promise<Attributes | null> {
      const [conversation] = await rows(
        `select conversations.id, conversations.assignee_id, conversations.additional_attributes,
          ${contactColumns("contacts")} as contact, ${LABELS} as labels,
          ${iso("agent_last_seen_at")} as agent_last_seen_at, ${iso("assignee_last_seen_at")} as assignee_last_seen_at
        from conversations left join contacts on contacts.id = conversations.contact_id
        where conversations.account_id = $1 and display_id = $2`,
        [accountId, id],
      );
      if (conversation === undefined) return null;
      const { id: databaseId, assignee_id, contact, labels, additional_attributes, ...seen } = conversation;
      const [after, before] = ["after", "before"].map((name) => query.has(name) ? integer(query.get(name)) : null);
      const found = await rows(
        ...messagePage(databaseId, { after, before, isInternal: !query.has("filter_internal_messages") }),
      );
      return {
        meta: {
          labels,
          additional_attributes,
          contact: pushContact(contact),
          ...(assignee_id === null ? {} : { assignee: { id: assignee_id, type: "user" } }),
          ...seen,
        },
        payload: found.map((message) => restMessage(message, baseUrl)),
      };
    },

    async message(conversation: number, id: number): Promise<Attributes | null> {
      const [found] = await rows(
        `${MESSAGES} where conversations.account_id = $1 and conversations.display_id = $2 and messages.id = $3`,
        [accountId, conversation, id],
      );
      return found === undefined ? null : restMessage(found, baseUrl);
    },

    async account(): Promise<Attributes> {
      const [account] = await rows(
        `select id, name, domain, support_email, 'en' as locale, settings, custom_attributes,
          ${iso("created_at")} as created_at from accounts where id = $1`,
        [accountId],
      );
      return { ...account, status: "active", features: {}, cache_keys: {}, latest_chatwoot_version: "4.16.2" };
    },

    /** Everybody of the account, or of one of its teams; null when there is no such team. */
    async agents(team: number | null = null): Promise<Attributes[] | null> {
      if (team !== null) {
        const known = await rows("select from teams where account_id = $1 and id = $2", [accountId, team]);
        if (known.length === 0) return null;
      }
      const found = await rows(
        `select ${AGENT_COLUMNS} from users join account_users on account_users.user_id = users.id
        where account_users.account_id = $1 and ($2::bigint is null or exists (select from team_members
          where team_members.user_id = users.id and team_members.team_id = $2)) order by users.id`,
        [accountId, team],
      );
      return found.map(restAgent);
    },

    async agent(id: number): Promise<Attributes | null> {
      const [found] = await rows(
        `select ${AGENT_COLUMNS} from users join account_users on account_users.user_id = users.id
        where account_users.account_id = $1 and users.id = $2`,
        [accountId, id],
      );
      return found === undefined ? null : restAgent(found);
    },

    async teams(viewer: Viewer): Promise<Attributes[]> {
      const found = await rows(
        `select teams.*, exists (select from team_members
          where team_members.team_id = teams.id and team_members.user_id = $2) as is_member
        from teams where account_id = $1 order by id`,
        [accountId, viewer.id],
      );
      return found.map(restTeam);
    },

    /** The row as it is, which is how assigning a team answers. */
    async teamRow(id: number): Promise<Attributes | null> {
      const [found] = await rows(
        `select id, name, description, allow_auto_assign, account_id, ${iso("created_at")} as created_at,
          ${iso("updated_at")} as updated_at, icon, icon_color from teams where account_id = $1 and id = $2`,
        [accountId, id],
      );
      return found ?? null;
    },

    async labels(): Promise<Attributes[]> {
      return await rows(
        "select id, title, description, color, show_on_sidebar from labels where account_id = $1 order by title",
        [accountId],
      );
    },

    async agentBots(): Promise<Attributes[]> {
      return await rows(
        `select id, name, description, outgoing_url, bot_type, account_id from agent_bots
        where account_id = $1 order by id`,
        [accountId],
      );
    },

    async cannedResponses(search: string): Promise<Attributes[]> {
      return await rows(
        `select id, account_id, short_code, content, ${iso("created_at")} as created_at,
          ${iso("updated_at")} as updated_at
        from canned_responses where account_id = $1
          and ($2 = '' or strpos(lower(short_code || ' ' || content), lower($2)) > 0) order by id`,
        [accountId, search],
      );
    },

    /** Inboxes with their working hours; an administrator is shown the secrets too. */
    async inboxes(viewer: Viewer): Promise<Attributes[]> {
      const found = await rows(
        `select inboxes.id, inboxes.name, inboxes.channel_id, inboxes.channel_type, inboxes.greeting_enabled,
          inboxes.greeting_message, inboxes.working_hours_enabled, inboxes.enable_email_collect,
          inboxes.csat_survey_enabled, inboxes.enable_auto_assignment, inboxes.auto_assignment_config,
          inboxes.out_of_office_message, inboxes.timezone, inboxes.allow_messages_after_resolved,
          inboxes.lock_to_single_conversation, inboxes.business_name, '' as avatar_url, 'friendly' as sender_name_type,
          (select coalesce(json_agg(json_build_object('day_of_week', working_hours.day_of_week,
              'closed_all_day', closed_all_day, 'open_hour', open_hour, 'open_minutes', open_minutes,
              'close_hour', close_hour, 'close_minutes', close_minutes, 'open_all_day', open_all_day)
              order by working_hours.day_of_week), '[]')
            from working_hours where working_hours.inbox_id = inboxes.id) as working_hours,
          channel_api.webhook_url, channel_api.identifier as inbox_identifier, channel_api.hmac_token, channel_api.secret
        from inboxes left join channel_api
          on channel_api.id = inboxes.channel_id and inboxes.channel_type = 'Channel::Api'
        where inboxes.account_id = $1
          and ($3 or inboxes.id in (select inbox_id from inbox_members where user_id = $2)) order by inboxes.id`,
        [accountId, viewer.id, viewer.isAdministrator],
      );
      return found.map(({ hmac_token, secret, ...inbox }) => ({
        ...inbox,
        ...(viewer.isAdministrator && inbox.channel_type === "Channel::Api" ? { hmac_token, secret } : {}),
      }));
    },

    async contact(id: number): Promise<Attributes | null> {
      const [found] = await rows(
        `select ${contactColumns("contacts")} as contact from contacts where account_id = $1 and id = $2`,
        [accountId, id],
      );
      return found === undefined ? null : restContact(found.contact);
    },

    /** 15 a page, and only those with an address of some kind. */
    async contacts(query: URLSearchParams): Promise<Attributes> {
      const identified = `account_id = $1 and (coalesce(email, '') <> '' or coalesce(phone_number, '') <> ''
        or coalesce(identifier, '') <> '')`;
      const [{ count }] = await rows(`select count(*) from contacts where ${identified}`, [accountId]);
      const sort = query.get("sort") ?? "";
      const column = CONTACT_SORTS.find((name) => name === sort.replace(/^-/, ""));
      const order = column === undefined ? "" : `${column}${sort.startsWith("-") ? " desc" : ""} nulls last, `;
      const found = await rows(
        `select ${contactColumns("contacts")} as contact from contacts where ${identified}
        order by ${order}id${within(pageOf(query), CONTACTS_PAGE)}`,
        [accountId],
      );
      return {
        // The page comes back as it was sent, as text.
        meta: { count, current_page: query.get("page") ?? 1 },
        payload: found.map(({ contact }) => restContact(contact)),
      };
    },

    /** Survey answers, 25 a page, a bare array. */
    async surveyAnswers(query: URLSearchParams): Promise<Attributes[]> {
      const found = await rows(
        `select answers.id, answers.rating, answers.feedback_message, answers.csat_review_notes,
          floor(extract(epoch from answers.review_notes_updated_at))::bigint as review_notes_updated_at,
          answers.account_id, answers.message_id, contacts.id as contact_id, ${contactColumns("contacts")} as contact,
          conversations.display_id as conversation_id,
          (select to_json(found) from (select ${AGENT_COLUMNS} from users left join account_users
            on account_users.user_id = users.id and account_users.account_id = answers.account_id
            where users.id = answers.assigned_agent_id) as found) as assigned_agent,
          ${epoch("answers.created_at")} as created_at
        from csat_survey_responses as answers
        join conversations on conversations.id = answers.conversation_id
        left join contacts on contacts.id = answers.contact_id
        where answers.account_id = $1
          and ($2::numeric is null or extract(epoch from answers.created_at) >= $2)
          and ($3::numeric is null or extract(epoch from answers.created_at) < $3)
        order by answers.created_at ${query.get("sort") === "created_at" ? "" : "desc"}, answers.id${
          within(pageOf(query), PAGE)
        }`,
        [accountId, seconds(query.get("since")), seconds(query.get("until"))],
      );
      return found.map(({ contact_id, contact, assigned_agent, created_at, conversation_id, ...answer }) => ({
        ...answer,
        ...(contact_id === null ? {} : { contact: restContact(contact) }),
        conversation_id,
        ...(assigned_agent === null ? {} : { assigned_agent: restAgent(assigned_agent) }),
        created_at,
      }));
    },

    /** What reports are counted from, newest first; conversation_id is the database's own here. */
    async reportingEvents(query: URLSearchParams): Promise<Attributes> {
      const page = pageOf(query);
      const matching = `from reporting_events where account_id = $1 and ($2::text is null or name = $2)
        and ($3::bigint is null or inbox_id = $3) and ($4::bigint is null or user_id = $4)
        and ($5::numeric is null or extract(epoch from created_at) >= $5)
        and ($6::numeric is null or extract(epoch from created_at) < $6)`;
      const number = (name: string) => query.has(name) ? integer(query.get(name)) : null;
      const values = [
        accountId,
        query.get("name"),
        number("inbox_id"),
        number("user_id"),
        seconds(query.get("since")),
        seconds(query.get("until")),
      ];
      const [{ count }] = await rows(`select count(*) ${matching}`, values);
      const found = await rows(
        `select id, name, value, value_in_business_hours, ${iso("event_start_time")} as event_start_time,
          ${iso("event_end_time")} as event_end_time, account_id, inbox_id, user_id, conversation_id,
          ${iso("created_at")} as created_at, ${iso("updated_at")} as updated_at ${matching}
        order by reporting_events.created_at desc, id desc${within(page, PAGE)}`,
        values,
      );
      return {
        payload: found.map((event) => ({
          ...event,
          value: float(event.value),
          value_in_business_hours: float(event.value_in_business_hours),
        })),
        meta: { count, current_page: page, total_pages: Math.ceil(count / PAGE) },
      };
    },
  };
}

export type Reader = ReturnType<typeof createReader>;

interface MessagePage {
  after: number | null;
  before: number | null;
  /** Whether private notes and activity are shown. */
  isInternal: boolean;
}

// Filtered by id, ordered by creation: the newest 20, 20 before an id, 100 after one, 1000 between two.
function messagePage(conversation: number, { after, before, isInternal }: MessagePage): [string, unknown[]] {
  const where = `${MESSAGES} where messages.conversation_id = $1
    ${isInternal ? "" : "and not messages.private and messages.message_type <> 2"}`;
  const forward = "order by messages.created_at, messages.id limit";
  if (after !== null && before !== null) {
    return [`${where} and messages.id >= $2 and messages.id < $3 ${forward} 1000`, [conversation, after, before]];
  }
  if (after !== null) return [`${where} and messages.id > $2 ${forward} 100`, [conversation, after]];
  return [
    `select * from (${where} and ($2::bigint is null or messages.id < $2)
      order by messages.created_at desc, messages.id desc limit 20) as newest order by created_order, id`,
    [conversation, before],
  ];
}
