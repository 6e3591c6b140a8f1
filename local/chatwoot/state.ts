// All that an installation holds, and which of it was touched since it was last put away.
import { ADMINISTRATOR, AGENTS, CANNED_RESPONSES, createInboxes, type Inboxes, TEAMS } from "./furniture.ts";
import { createRandom, type Random } from "./random.ts";
import type {
  Account,
  Agent,
  CannedResponse,
  Contact,
  Conversation,
  CsatResponse,
  Label,
  Message,
  ReportingEvent,
  Tag,
  Team,
} from "./records.ts";
import type { Instant } from "./serialise.ts";

/** Each kind of record by its id: conversations by the number people see, answers by the survey they answer. */
export interface Records {
  agents: Map<number, Agent>;
  teams: Map<number, Team>;
  labels: Map<number, Label>;
  tags: Map<number, Tag>;
  contacts: Map<number, Contact>;
  conversations: Map<number, Conversation>;
  messages: Map<number, Message>;
  csatResponses: Map<number, CsatResponse>;
  reportingEvents: Map<number, ReportingEvent>;
}

/** What stands in rows of its own; "account" are the account's rows and all that never changes. */
export const KINDS = [
  "account",
  "inboxes",
  "agents",
  "teams",
  "labels",
  "tags",
  "contacts",
  "conversations",
  "messages",
  "csatResponses",
  "reportingEvents",
] as const satisfies (keyof Records | "account" | "inboxes")[];
export type Kind = (typeof KINDS)[number];
export type Touched = Record<Kind, Set<number>>;

/** The next id of everything that is counted, and whose turn it is to be assigned. */
export interface Counters {
  agent: number;
  attachment: number;
  contact: number;
  contactInbox: number;
  conversation: number;
  csatResponse: number;
  displayId: number;
  label: number;
  message: number;
  reportingEvent: number;
  tag: number;
  tagging: number;
}

export interface State extends Records {
  account: Account;
  /** Where attachments and surveys are reached. */
  baseUrl: string;
  /** No record is older than this. */
  start: Instant;
  administrator: Agent;
  /** The administrator's, with which everything may be read through REST. */
  accessToken: string;
  inboxes: Inboxes;
  cannedResponses: readonly CannedResponse[];
  /** Who was removed from the account; their messages still name them. */
  formerAgents: Map<number, Agent>;
  next: Counters;
  clock: Instant;
  random: Random;
  touched: Touched;
}

const byId = <Item extends { id: number }>(items: readonly Item[]) => new Map(items.map((item) => [item.id, item]));

/** Every record there is. */
export function everything(state: Omit<State, "touched">): Touched {
  return {
    account: new Set([state.account.id]),
    inboxes: new Set(Object.values(state.inboxes).map(({ id }) => id)),
    agents: new Set([...state.agents.keys(), ...state.formerAgents.keys()]),
    teams: new Set(state.teams.keys()),
    labels: new Set(state.labels.keys()),
    tags: new Set(state.tags.keys()),
    contacts: new Set(state.contacts.keys()),
    conversations: new Set(state.conversations.keys()),
    messages: new Set(state.messages.keys()),
    csatResponses: new Set(state.csatResponses.keys()),
    reportingEvents: new Set(state.reportingEvents.keys()),
  };
}

export interface Beginning {
  seed: number;
  start: Instant;
  account: Account;
  baseUrl: string;
}

/** A shop that opens today: its people, teams and inboxes, and nobody has written yet. */
export function newState({ seed, start, account, baseUrl }: Beginning): State {
  const state: Omit<State, "touched"> = {
    account,
    baseUrl,
    start,
    administrator: ADMINISTRATOR,
    accessToken: createRandom(account.id).token(24),
    inboxes: createInboxes({ accountId: account.id, at: start }),
    cannedResponses: CANNED_RESPONSES,
    agents: byId(AGENTS),
    formerAgents: new Map(),
    teams: byId(TEAMS),
    labels: new Map(),
    tags: new Map(),
    contacts: new Map(),
    conversations: new Map(),
    messages: new Map(),
    csatResponses: new Map(),
    reportingEvents: new Map(),
    next: {
      agent: 0,
      attachment: 611,
      contact: 205,
      contactInbox: 310,
      // The row's own id, far from the number that people see, as in any installation with several accounts.
      conversation: 18_233,
      csatResponse: 1,
      displayId: 1,
      label: 1,
      message: 9001,
      reportingEvent: 5001,
      tag: 1,
      tagging: 1,
    },
    clock: start,
    random: createRandom(seed),
  };
  return { ...state, touched: everything(state) };
}
