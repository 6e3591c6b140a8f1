// What the ledger should say of one conversation, worked out from the metric definitions alone. It shares no code with
// the database and has another shape on purpose: first the episodes are cut, then each metric reads its episode anew.

export type Status = "open" | "resolved" | "pending" | "snoozed";
export type MessageClass = "customer" | "human" | "bot" | "auto" | "note" | "failed";

export interface LedgerEvent {
  /** Milliseconds since the epoch, UTC, whole. */
  at: number;
  kind: "created" | "message" | "status" | "assignee" | "csat";
  /** A message's id; for other kinds their order at their source. Settles ties within one instant. */
  id: number;
  class?: MessageClass;
  author?: number | null;
  /** A bot's message that asks something back instead of answering: it makes no answer for the outcome class. */
  question?: boolean;
  status?: Status;
  /** 'user:7', 'agent_bot:3' or null. */
  assignee?: string | null;
  rating?: number;
  surveyMessageId?: number;
}

export interface LedgerOptions {
  /** Seconds; a reopen later than this after the last resolve starts a new episode. */
  episodeGap: number;
  /** Seconds without a reopen that make a resolve durable. */
  durable: number;
  /** False makes every `pending` a wait for a third party; null is not known and read as true. */
  hasBot: boolean | null;
  /** Inclusive: an event at that very instant counts. */
  asOf: number;
  /** The reading of a second clock, in milliseconds; without one the business variants are those of the calendar. */
  businessClock?: (at: number) => number;
}

/** Everything measured in seconds, once on the calendar and once on the business clock. */
interface Durations {
  frt: number | null;
  frt_customer: number | null;
  frt_any: number | null;
  reply_time: number[];
  bot_reply_time: number[];
  wait_total: number | null;
  wait_longest: number | null;
  wait_current: number | null;
  ttr_first: number | null;
  ttr_full: number | null;
  ttr_active: number | null;
  ttr_human: number | null;
  requester_wait: number;
  agent_work: number;
  agent_wait: number;
  on_hold: number;
  bot_phase: number;
  handoff_s: number | null;
  unassigned_s: number;
  first_assignment_to_resolve: number | null;
  last_assignment_to_resolve: number | null;
  /** Seconds by holder, 'user:7' or 'agent_bot:3'. */
  held: Record<string, number>;
}

type Business<Measured> = { [Name in keyof Measured as `${Name & string}_business`]: Measured[Name] };

export type AiClass = "claimed_resolved" | "handed_off" | "assisted" | "abandoned" | "open";

interface Counts {
  episode: number;
  started_at: number;
  is_outbound: boolean;
  flags: string[];
  waiting: boolean;
  resolved: boolean;
  reopens: number;
  resolutions: number;
  durable: boolean | null;
  human_replies: number;
  bot_replies: number;
  customer_messages: number;
  turns: number;
  one_touch: boolean | null;
  one_turn: boolean | null;
  zero_touch: boolean | null;
  replied: boolean | null;
  closed_unreplied: boolean;
  assignees: number;
  stations: number;
  reassignments: number;
  first_reply_author: number | null;
  resolved_by: number | null;
  csat: number | null;
  csat_first: number | null;
  csat_author: number | null;
  ai_eligible: boolean;
  ai_involved: boolean;
  ai_answered: boolean;
  ai_class: AiClass | null;
}

export type EpisodeMetrics = Counts & Durations & Business<Durations>;

type FirstEpisode = "frt" | "frt_customer" | "frt_any" | "ttr_first" | "handoff_s";
type LastEpisode = "ttr_full" | "ttr_active" | "ttr_human" | "wait_current";
type Joined = "reply_time" | "bot_reply_time";
type Waits = "wait_total" | "wait_longest";
type Sums = "requester_wait" | "agent_work" | "agent_wait" | "on_hold" | "bot_phase";
type Folded = Pick<Durations, FirstEpisode | LastEpisode | Joined | Waits | Sums>;
type LastFacts = "durable" | "waiting" | "replied" | "closed_unreplied" | "one_touch" | "one_turn" | "zero_touch";
type LastCounts = { [Name in LastFacts]: Counts[Name] | null };
type Totals = Pick<Counts, "human_replies" | "bot_replies" | "customer_messages" | "turns" | "reopens">;

export type ConversationMetrics =
  & { status: Status | null; episodes: number; resolutions: number; reopens_raw: number }
  & Folded
  & Business<Folded>
  & LastCounts
  & Totals;

export interface LedgerReading {
  episodes: EpisodeMetrics[];
  conversation: ConversationMetrics;
}

// The two meanings of `pending` are told apart here and nowhere later.
export type State = "open" | "snoozed" | "bot" | "third_party" | "resolved";

export type Step =
  | { kind: "message"; at: number; id: number; class: MessageClass; author: number | null; question: boolean }
  | { kind: "status"; at: number; from: State; to: State }
  | { kind: "assignee"; at: number; to: string | null }
  | { kind: "csat"; at: number; rating: number; surveyMessageId: number | null };

interface History {
  state: State;
  assignee: string | null;
  steps: Step[];
}

interface Survey {
  at: number;
  rating: number;
  author: number | null;
}

interface Episode {
  startedAt: number;
  /** What held just as it started; what came later is among the steps. */
  state: State;
  assignee: string | null;
  startedBy: MessageClass | "reopen";
  steps: Step[];
  nextStartedAt: number | null;
  surveys: Survey[];
}

interface Span {
  from: number;
  until: number;
}

/** An episode itself, for what else is measured on it. */
export interface ReadEpisode {
  startedAt: number;
  /** What held just as it started. */
  state: State;
  steps: readonly Step[];
  isOutbound: boolean;
  /** When the next one started. */
  nextStartedAt: number | null;
}

const KINDS = ["created", "message", "status", "assignee", "csat"] as const;
// A second rating counts as a change of mind this long after the first (facts §6.1), in milliseconds.
const RERATING = 604_800_000;

/** What the ledger says of one conversation as of an instant. The events may come in any order. */
export function readLedger(events: readonly LedgerEvent[], options: LedgerOptions): LedgerReading {
  const known = inOrder(events, options);
  const history = readHistory(known, options);
  const episodes = cutEpisodes(history, options);
  const metrics = episodes.map((episode, index) => measure(episode, index + 1, options));
  return { episodes: metrics, conversation: fold(metrics, history, known.length > 0) };
}

/** The episodes of one conversation as of an instant. */
export function readEpisodes(events: readonly LedgerEvent[], options: LedgerOptions): ReadEpisode[] {
  return cutEpisodes(readHistory(inOrder(events, options), options), options).map((episode) => ({
    ...episode,
    isOutbound: isOutbound(episode),
  }));
}

function inOrder(events: readonly LedgerEvent[], { asOf }: LedgerOptions): LedgerEvent[] {
  return events.filter((event) => event.at <= asOf).toSorted((one, other) =>
    one.at - other.at || KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind) || one.id - other.id
  );
}

/** Turns events into steps: a status that repeats the one before is none. */
function readHistory(known: readonly LedgerEvent[], { hasBot }: LedgerOptions): History {
  const pendingFrom = (from: State | null): State =>
    hasBot !== false && (from === null || from === "resolved") ? "bot" : "third_party";
  const stateOf = (status: Status, from: State | null): State => status === "pending" ? pendingFrom(from) : status;
  const created = known.find((event) => event.kind === "created");
  const first = { state: stateOf(created?.status ?? "open", null), assignee: created?.assignee ?? null };
  let { state } = first;
  const steps: Step[] = [];
  for (const event of known) {
    const { at } = event;
    if (event.kind === "message") {
      const { id, author = null, question = false } = event;
      if (event.class === undefined) throw new Error(`Message ${id} has no class.`);
      steps.push({ kind: "message", at, id, class: event.class, author, question });
    } else if (event.kind === "status") {
      if (event.status === undefined) throw new Error(`Status event ${event.id} has no status.`);
      if (statusOf(state) === event.status) continue;
      const to = stateOf(event.status, state);
      steps.push({ kind: "status", at, from: state, to });
      state = to;
    } else if (event.kind === "assignee") {
      steps.push({ kind: "assignee", at, to: event.assignee ?? null });
    } else if (event.kind === "csat") {
      if (event.rating === undefined) throw new Error(`Survey answer ${event.id} has no rating.`);
      steps.push({ kind: "csat", at, rating: event.rating, surveyMessageId: event.surveyMessageId ?? null });
    }
  }
  return { ...first, steps };
}

function statusOf(state: State): Status {
  return state === "bot" || state === "third_party" ? "pending" : state;
}

function cutEpisodes(history: History, { episodeGap }: LedgerOptions): Episode[] {
  const episodes: Episode[] = [];
  const homes = new Map<number, { episode: Episode; author: number | null }>();
  let { state, assignee } = history;
  let resolvedAt: number | null = null;
  let waiting = false;
  let author: number | null = null;

  const start = (startedAt: number, startedBy: Episode["startedBy"]) => {
    const last = episodes.at(-1);
    if (last) last.nextStartedAt = startedAt;
    episodes.push({ startedAt, startedBy, state, assignee, steps: [], nextStartedAt: null, surveys: [] });
    resolvedAt = null;
    waiting = false;
    author = null;
  };
  // Who still waits keeps the episode alive: the status event that follows a message may be late for the gap.
  const isOver = (at: number) => resolvedAt !== null && !waiting && at - resolvedAt > episodeGap * 1000;

  for (const step of history.steps) {
    const none = episodes.length === 0;
    const over = state === "resolved" && isOver(step.at);
    if (step.kind === "message") {
      if (step.class !== "note" && step.class !== "failed") {
        if (none || (over && step.class !== "auto")) start(step.at, step.class);
        episodes.at(-1)?.steps.push(step);
      }
      if (step.class === "customer") waiting = true;
      if (step.class === "human") {
        waiting = false;
        author = step.author ?? author;
      }
      const episode = episodes.at(-1);
      if (episode) homes.set(step.id, { episode, author });
    } else if (step.kind === "status") {
      state = step.to;
      if (over) {
        start(step.at, "reopen");
      } else {
        episodes.at(-1)?.steps.push(step);
        if (step.to === "resolved" && !none) {
          resolvedAt = step.at;
          waiting = false;
        }
      }
    } else if (step.kind === "assignee") {
      assignee = step.to;
      episodes.at(-1)?.steps.push(step);
    } else {
      const latest = episodes.at(-1);
      const home = homes.get(step.surveyMessageId ?? Number.NaN) ?? (latest ? { episode: latest, author } : undefined);
      home?.episode.surveys.push({ at: step.at, rating: step.rating, author: home.author });
    }
  }
  return episodes;
}

const isClass = (step: Step, ...classes: MessageClass[]) => step.kind === "message" && classes.includes(step.class);
const isResolve = (step: Step) => step.kind === "status" && step.to === "resolved";
const isHandOff = (step: Step) => step.kind === "status" && step.from === "bot" && step.to === "open";

/** The spans between two successive states of the episode, resolved time among them, up to the as-of instant. */
function statesOf(episode: Episode, asOf: number): (Span & { state: State })[] {
  const spans = [{ state: episode.state, from: episode.startedAt, until: episode.nextStartedAt ?? asOf }];
  for (const step of episode.steps) {
    if (step.kind !== "status") continue;
    const { until } = spans[spans.length - 1];
    spans[spans.length - 1].until = step.at;
    spans.push({ state: step.to, from: step.at, until });
  }
  return spans;
}

/** Who held the episode while it was not resolved; what changed hands while resolved shows at the reopen. */
function holdersOf(episode: Episode, asOf: number): (Span & { holder: string | null; isNew: boolean })[] {
  const holders: (Span & { holder: string | null; isNew: boolean })[] = [];
  const until = episode.nextStartedAt ?? asOf;
  let { state, assignee } = episode;
  let previous: string | null | undefined;
  const take = (at: number) => {
    if (state === "resolved") return;
    holders.push({ holder: assignee, from: at, until, isNew: assignee !== previous });
    previous = assignee;
  };
  const release = (at: number) => {
    const last = holders.at(-1);
    if (last && state !== "resolved") last.until = at;
  };
  take(episode.startedAt);
  for (const step of episode.steps) {
    if (step.kind === "status") {
      if (step.to !== "resolved" && state !== "resolved") {
        state = step.to;
      } else {
        release(step.at);
        state = step.to;
        take(step.at);
      }
    } else if (step.kind === "assignee") {
      release(step.at);
      assignee = step.to;
      take(step.at);
    }
  }
  return holders;
}

/** From the customer's first unanswered message to the answer; `answeredBy` says whose message is one. */
function waitsOf(episode: Episode, answeredBy: MessageClass[]): { from: number; end: Step | null }[] {
  const waits: { from: number; end: Step | null }[] = [];
  let running: { from: number; end: Step | null } | null = null;
  for (const step of episode.steps) {
    if (isClass(step, "customer") && running === null) waits.push(running = { from: step.at, end: null });
    if (running && (isClass(step, ...answeredBy) || isResolve(step))) {
      running.end = step;
      running = null;
    }
  }
  return waits;
}

/** Whether we had the first word. A reopen says nothing: there the first message decides. */
function isOutbound(episode: Episode): boolean {
  if (episode.startedBy !== "reopen") return episode.startedBy !== "customer";
  const word = episode.steps.find((step) => isClass(step, "customer", "human", "bot"));
  return word !== undefined && isClass(word, "human", "bot");
}

interface FirstResponse {
  customerAt: number;
  clockStart: number;
  human: Extract<Step, { kind: "message" }> | null;
  anyAt: number | null;
}

/** The first customer message and what answered it; null where there is none. */
function firstResponseOf(episode: Episode): FirstResponse | null {
  const at = episode.steps.findIndex((step) => isClass(step, "customer"));
  if (at < 0) return null;
  const after = episode.steps.slice(at + 1);
  const customerAt = episode.steps[at].at;
  const human = after.find((step) => step.kind === "message" && step.class === "human");
  const anyAt = after.find((step) => isClass(step, "human", "bot"))?.at ?? null;
  // The state the first customer message met, then each state until the first human reply: the clock's start settles
  // with the first of them in which neither the bot nor nobody has the conversation.
  const before = episode.steps.slice(0, at).findLast((step) => step.kind === "status");
  const met = before?.kind === "status" ? before.to : episode.state;
  let clockStart = customerAt;
  if (met === "bot" || met === "resolved") {
    const unanswered = human === undefined ? after : after.slice(0, after.indexOf(human));
    const settling = unanswered.find((step) => step.kind === "status" && step.to !== "bot" && step.to !== "resolved");
    if (settling && isHandOff(settling)) clockStart = settling.at;
  }
  return { customerAt, clockStart, human: human?.kind === "message" ? human : null, anyAt };
}

function durationsOf(episode: Episode, asOf: number, clock: (at: number) => number): Durations {
  const between = (from: number, until: number) => clock(until) - clock(from);
  const seconds = (milliseconds: number) => milliseconds / 1000;
  const lasted = (from: number | null | undefined, until: number | null | undefined) =>
    from == null || until == null ? null : seconds(between(from, until));
  const total = (spans: readonly Span[]) =>
    seconds(spans.reduce((sum, { from, until }) => sum + between(from, until), 0));

  const states = statesOf(episode, asOf);
  const inState = (...wanted: State[]) => total(states.filter(({ state }) => wanted.includes(state)));
  const holders = holdersOf(episode, asOf);
  const response = isOutbound(episode) ? null : firstResponseOf(episode);
  const waits = waitsOf(episode, ["human"]);
  const waitSpans = waits.map(({ from, end }) => ({ from, until: end?.at ?? asOf }));
  const running = waits.find(({ end }) => end === null);
  const resolves = episode.steps.filter(isResolve);
  const last = isResolved(episode) ? resolves[resolves.length - 1].at : null;
  const resolvedBetween = states.filter(({ state, until }) => state === "resolved" && last !== null && until <= last);
  const full = lasted(episode.startedAt, last);
  const hadPerson = states.some(({ state }) => state !== "bot" && state !== "resolved") ||
    episode.steps.some((step) => isClass(step, "human"));
  // Every change of status begins a span, so the span before the hand-off's own is the bot's.
  const handOff = episode.steps.filter((step) => step.kind === "status").findIndex(isHandOff);
  const assignments = holders.filter(({ holder, isNew }) => isNew && isPerson(holder)).map(({ from }) => from);
  const names = new Set(holders.flatMap(({ holder }) => holder === null ? [] : [holder]));

  return {
    frt: lasted(response?.clockStart, response?.human?.at),
    frt_customer: lasted(response?.customerAt, response?.human?.at),
    frt_any: lasted(response?.customerAt, response?.anyAt),
    reply_time: waits.flatMap(({ from, end }) =>
      end && isClass(end, "human") && end !== response?.human ? [seconds(between(from, end.at))] : []
    ),
    bot_reply_time: waitsOf(episode, ["human", "bot"]).flatMap(({ from, end }) =>
      end && isClass(end, "bot") ? [seconds(between(from, end.at))] : []
    ),
    wait_total: waits.length === 0 ? null : total(waitSpans),
    wait_longest: waits.length === 0
      ? null
      : seconds(Math.max(...waitSpans.map(({ from, until }) => between(from, until)))),
    wait_current: lasted(running?.from, asOf),
    ttr_first: lasted(episode.startedAt, resolves[0]?.at),
    ttr_full: full,
    ttr_active: full === null ? null : full - total(resolvedBetween),
    ttr_human: full === null || !hadPerson ? null : full - inState("bot"),
    requester_wait: inState("open", "third_party"),
    agent_work: inState("open"),
    agent_wait: inState("snoozed"),
    on_hold: inState("third_party"),
    bot_phase: inState("bot"),
    handoff_s: handOff < 0 ? null : lasted(states[handOff].from, states[handOff].until),
    unassigned_s: total(holders.filter(({ holder }) => holder === null)),
    first_assignment_to_resolve: lasted(assignments[0], last),
    last_assignment_to_resolve: lasted(assignments.at(-1), last),
    held: Object.fromEntries([...names].map((name) => [name, total(holders.filter(({ holder }) => holder === name))])),
  };
}

const isPerson = (holder: string | null) => holder !== null && holder.startsWith("user:");

/** Whether the episode's last word on its status is a resolve of its own. */
function isResolved(episode: Episode): boolean {
  const last = episode.steps.findLast((step) => step.kind === "status");
  return last !== undefined && isResolve(last);
}

/** Reopens of this episode: each departure from a resolve of its own. */
function reopensOf(episode: Episode): Step[] {
  const first = episode.steps.findIndex(isResolve);
  if (first < 0) return [];
  return episode.steps.slice(first).filter((step) => step.kind === "status" && step.from === "resolved");
}

function durableOf(episode: Episode, { durable, asOf }: LedgerOptions): boolean | null {
  const last = episode.steps.findLastIndex(isResolve);
  if (last < 0) return null;
  const ripe = episode.steps[last].at + durable * 1000;
  const brokenAt = episode.steps.slice(last).find((step) => step.kind === "status" && step.from === "resolved")?.at ??
    episode.nextStartedAt;
  if (brokenAt !== null && brokenAt <= ripe) return false;
  return asOf >= ripe ? true : null;
}

function turnsOf(episode: Episode): number {
  let turns = 0;
  let isOurs = false;
  for (const step of episode.steps) {
    if (isClass(step, "customer")) isOurs = false;
    if (isClass(step, "human")) {
      if (!isOurs) turns++;
      isOurs = true;
    }
  }
  return turns;
}

/** The last human author up to the last resolve, else the person it was assigned to then. */
function resolvedByOf(episode: Episode): number | null {
  if (!isResolved(episode)) return null;
  const until = episode.steps.slice(0, episode.steps.findLastIndex(isResolve));
  const spoken = until.findLast((step) => step.kind === "message" && step.class === "human" && step.author !== null);
  if (spoken?.kind === "message") return spoken.author;
  const assigned = until.findLast((step) => step.kind === "assignee");
  const holder = assigned?.kind === "assignee" ? assigned.to : episode.assignee;
  return holder !== null && isPerson(holder) ? Number(holder.slice("user:".length)) : null;
}

function surveyOf(episode: Episode): Pick<Counts, "csat" | "csat_first" | "csat_author"> {
  const [first] = episode.surveys;
  if (!first) return { csat: null, csat_first: null, csat_author: null };
  const valid = episode.surveys.filter(({ at }) => at - first.at <= RERATING);
  const latest = valid[valid.length - 1];
  return { csat: latest.rating, csat_first: first.rating, csat_author: latest.author };
}

/** The outcome class of facts §7.1. What ends the bot's part first decides, and a claim stays one when reopened. */
function outcomeOf(
  episode: Episode,
  { hasBot }: LedgerOptions,
): Pick<Counts, "ai_eligible" | "ai_involved" | "ai_answered" | "ai_class"> {
  const eligible = hasBot !== false && !isOutbound(episode) && episode.steps.some((step) => isClass(step, "customer"));
  const entry = episode.state === "bot"
    ? 0
    : episode.steps.findIndex((step) => (step.kind === "status" && step.to === "bot") || isClass(step, "bot"));
  const involved = eligible && entry >= 0;
  const end = episode.steps.findIndex((step, index) =>
    isClass(step, "human") || (index >= entry && (isHandOff(step) || isResolve(step)))
  );
  const answers = (steps: readonly Step[]) =>
    steps.some((step) => step.kind === "message" && step.class === "bot" && !step.question);
  const answered = answers(end < 0 ? episode.steps : episode.steps.slice(0, end));
  const classify = (): AiClass => {
    if (end < 0) return "open";
    const ending = episode.steps[end];
    if (isHandOff(ending)) return "handed_off";
    if (isClass(ending, "human")) return "assisted";
    return answered ? "claimed_resolved" : "abandoned";
  };
  return {
    ai_eligible: eligible,
    ai_involved: involved,
    ai_answered: involved && answered,
    ai_class: involved ? classify() : null,
  };
}

function measure(episode: Episode, number: number, options: LedgerOptions): EpisodeMetrics {
  const { asOf, businessClock = (at: number) => at } = options;
  const outbound = isOutbound(episode);
  const resolved = isResolved(episode);
  const count = (name: MessageClass) => episode.steps.filter((step) => isClass(step, name)).length;
  const customers = count("customer");
  const humans = count("human");
  const bots = count("bot");
  const turns = turnsOf(episode);
  const response = firstResponseOf(episode);
  const stations = holdersOf(episode, asOf).filter(({ isNew }) => isNew).map(({ holder }) => holder);
  const people = stations.filter(isPerson);
  const business = Object.entries(durationsOf(episode, asOf, businessClock));
  return {
    episode: number,
    started_at: episode.startedAt,
    is_outbound: outbound,
    flags: [...(outbound ? ["outbound_started"] : []), ...(customers === 0 ? ["no_customer_message"] : [])],
    waiting: waitsOf(episode, ["human"]).some(({ end }) => end === null),
    resolved,
    reopens: reopensOf(episode).length,
    resolutions: episode.steps.filter(isResolve).length,
    durable: durableOf(episode, options),
    human_replies: humans,
    bot_replies: bots,
    customer_messages: customers,
    turns,
    one_touch: resolved ? humans === 1 : null,
    one_turn: resolved ? turns === 1 : null,
    zero_touch: resolved ? humans === 0 && bots > 0 : null,
    replied: response === null ? null : response.human !== null,
    closed_unreplied: resolved && !outbound && customers > 0 && humans === 0,
    assignees: new Set(people).size,
    stations: people.length,
    reassignments: stations.filter((holder, index) => index > 0 && isPerson(holder) && isPerson(stations[index - 1]))
      .length,
    first_reply_author: outbound ? null : response?.human?.author ?? null,
    resolved_by: resolvedByOf(episode),
    ...surveyOf(episode),
    ...outcomeOf(episode, options),
    ...durationsOf(episode, asOf, (at) => at),
    ...Object.fromEntries(business.map(([name, value]) => [`${name}_business`, value])) as Business<Durations>,
  };
}

function fold(episodes: EpisodeMetrics[], history: History, isKnown: boolean): ConversationMetrics {
  const changes = history.steps.flatMap((step) => step.kind === "status" ? [step] : []);
  const first = episodes.at(0);
  const last = episodes.at(-1);
  const sum = (pick: (episode: EpisodeMetrics) => number) => episodes.reduce((all, one) => all + pick(one), 0);
  const present = (pick: (episode: EpisodeMetrics) => number | null) =>
    episodes.map(pick).filter((value) => value !== null);
  const addedUp = (values: number[]) => values.length === 0 ? null : values.reduce((all, one) => all + one, 0);
  const largest = (values: number[]) => values.length === 0 ? null : Math.max(...values);
  return {
    status: isKnown ? statusOf(changes.at(-1)?.to ?? history.state) : null,
    episodes: episodes.length,
    resolutions: changes.filter(({ to }) => to === "resolved").length,
    reopens_raw: changes.filter(({ from }) => from === "resolved").length,

    frt: first?.frt ?? null,
    frt_business: first?.frt_business ?? null,
    frt_customer: first?.frt_customer ?? null,
    frt_customer_business: first?.frt_customer_business ?? null,
    frt_any: first?.frt_any ?? null,
    frt_any_business: first?.frt_any_business ?? null,
    ttr_first: first?.ttr_first ?? null,
    ttr_first_business: first?.ttr_first_business ?? null,
    handoff_s: first?.handoff_s ?? null,
    handoff_s_business: first?.handoff_s_business ?? null,

    ttr_full: last?.ttr_full ?? null,
    ttr_full_business: last?.ttr_full_business ?? null,
    ttr_active: last?.ttr_active ?? null,
    ttr_active_business: last?.ttr_active_business ?? null,
    ttr_human: last?.ttr_human ?? null,
    ttr_human_business: last?.ttr_human_business ?? null,
    wait_current: last?.wait_current ?? null,
    wait_current_business: last?.wait_current_business ?? null,
    durable: last?.durable ?? null,
    waiting: last?.waiting ?? null,
    replied: last?.replied ?? null,
    closed_unreplied: last?.closed_unreplied ?? null,
    one_touch: last?.one_touch ?? null,
    one_turn: last?.one_turn ?? null,
    zero_touch: last?.zero_touch ?? null,

    reply_time: episodes.flatMap((episode) => episode.reply_time),
    reply_time_business: episodes.flatMap((episode) => episode.reply_time_business),
    bot_reply_time: episodes.flatMap((episode) => episode.bot_reply_time),
    bot_reply_time_business: episodes.flatMap((episode) => episode.bot_reply_time_business),

    wait_total: addedUp(present((episode) => episode.wait_total)),
    wait_total_business: addedUp(present((episode) => episode.wait_total_business)),
    wait_longest: largest(present((episode) => episode.wait_longest)),
    wait_longest_business: largest(present((episode) => episode.wait_longest_business)),

    requester_wait: sum((episode) => episode.requester_wait),
    requester_wait_business: sum((episode) => episode.requester_wait_business),
    agent_work: sum((episode) => episode.agent_work),
    agent_work_business: sum((episode) => episode.agent_work_business),
    agent_wait: sum((episode) => episode.agent_wait),
    agent_wait_business: sum((episode) => episode.agent_wait_business),
    on_hold: sum((episode) => episode.on_hold),
    on_hold_business: sum((episode) => episode.on_hold_business),
    bot_phase: sum((episode) => episode.bot_phase),
    bot_phase_business: sum((episode) => episode.bot_phase_business),

    human_replies: sum((episode) => episode.human_replies),
    bot_replies: sum((episode) => episode.bot_replies),
    customer_messages: sum((episode) => episode.customer_messages),
    turns: sum((episode) => episode.turns),
    reopens: sum((episode) => episode.reopens),
  };
}
