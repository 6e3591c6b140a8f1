// Plays scenarios as one day of support, all woven together by the clock.
import { AGENTS, type InboxKey, TIME_ZONE } from "./furniture.ts";
import { type ChatwootEvent, createInstallation, type Installation } from "./installation.ts";
import { localMidnight } from "./local-time.ts";
import { createRandom, type Random } from "./random.ts";
import type { Attributes } from "./records.ts";
import type { Scenario, Step } from "./scenarios.ts";

export interface DayOptions {
  /** The local day, as 2026-11-20. */
  date: string;
  scenarios: readonly Scenario[];
  seed: number;
  /** The zone of the shop's clock; Europe/Berlin unless told. */
  timeZone?: string;
  /** Where it happens; a new one unless told. */
  installation?: Installation;
}

export interface Day {
  /** In the order Chatwoot would send them. */
  events: ChatwootEvent[];
  installation: Installation;
  /** Which conversation each scenario became, by scenario id. */
  conversations: Map<string, number>;
}

const OPENS = 8 * 60;
const CLOSES = 18 * 60;
const LATEST_STEP = 23 * 60 + 30;

/** One support day: every scenario begins between 08:00 and 18:00 and ends before midnight. */
export function playDay(options: DayOptions): Day {
  const { date, scenarios, seed, timeZone = TIME_ZONE } = options;
  const midnight = localMidnight(date, timeZone);
  const random = createRandom(seed);
  const installationSeed = random.integer(1, 2 ** 31);
  const installation = options.installation ?? createInstallation({ seed: installationSeed, start: midnight });
  const minute = (minutes: number) => new Date(midnight.getTime() + minutes * 60_000);
  const casts = scenarios.map((scenario) => ({
    ...createCast(scenario, installation),
    // A little chance in the seconds, so that a day does not look like a timetable.
    wobble: random.integer(0, 40_000) / 60_000,
  }));
  const agenda = scenarios.flatMap((scenario, index) => {
    const { play, wobble } = casts[index];
    const begins = beginning(scenario, random);
    return scenario.steps.map((step) => ({ at: begins + step.at, wobble, step, play }));
  });
  // Sorting is stable, so steps at the same minute keep the order they are written in.
  agenda.sort((one, other) => one.at - other.at);
  const events = [
    ...installation.updateInbox(minute(7 * 60), "website", { csatSurveyEnabled: true }).events,
    ...agenda.flatMap(({ at, wobble, step, play }) => play(minute(at + wobble), step)),
  ];
  return {
    events,
    installation,
    conversations: new Map(casts.map((cast) => [cast.scenarioId, cast.conversation()])),
  };
}

/** Scenarios that all begin at one instant, to the second, in an installation that has nothing later behind it. */
export function playFrom(
  begin: Date,
  { scenarios, installation }: { scenarios: readonly Scenario[]; installation: Installation },
): ChatwootEvent[] {
  const agenda = scenarios.flatMap((scenario) => {
    const { play } = createCast(scenario, installation);
    return scenario.steps.map((step) => ({ step, play }));
  });
  agenda.sort((one, other) => one.step.at - other.step.at);
  return agenda.flatMap(({ step, play }) => play(new Date(begin.getTime() + step.at * 60_000), step));
}

function beginning(scenario: Scenario, random: Random): number {
  if (scenario.starts !== undefined) {
    const [hours, minutes] = scenario.starts.split(":").map(Number);
    return hours * 60 + minutes;
  }
  const lasts = scenario.steps[scenario.steps.length - 1].at;
  return random.integer(OPENS, Math.max(OPENS, Math.min(CLOSES, Math.floor(LATEST_STEP - lasts))));
}

const BROWSER: Attributes = {
  device_name: "Unknown",
  browser_name: "Firefox",
  platform_name: "Generic Linux",
  browser_version: "145.0",
  platform_version: "0",
};

// Everyone in one scenario: who is the contact, which conversation it is, and what each step means for them.
function createCast(scenario: Scenario, installation: Installation) {
  const inbox: InboxKey = scenario.channel === "widget" ? (scenario.bot ? "help_centre" : "website") : scenario.channel;
  let contact: number | null = null;
  let conversation: number | null = null;

  const theConversation = (): number => {
    if (conversation === null) throw new Error(`${scenario.id}: no conversation has begun yet.`);
    return conversation;
  };
  const agentNamed = (name: string) => {
    const agent = AGENTS.find(({ availableName }) => availableName === name);
    if (agent === undefined) throw new Error(`${scenario.id}: there is no agent ${name}.`);
    return agent;
  };
  const meet = (at: Date): ChatwootEvent[] => {
    if (contact !== null) return [];
    const made = installation.newContact(at, {
      name: scenario.contact.name,
      email: scenario.contact.email,
      phoneNumber: scenario.contact.phone_number,
      identifier: scenario.contact.identifier,
      customAttributes: scenario.contact.custom_attributes,
      additionalAttributes: scenario.contact.additional_attributes,
    });
    contact = made.id;
    return made.events;
  };
  const begin = (at: Date, subject: string | undefined): ChatwootEvent[] => {
    const events = meet(at);
    if (conversation !== null || contact === null) return events;
    const made = installation.newConversation(at, {
      contact,
      inbox,
      additionalAttributes: circumstances(scenario, { at, subject }),
    });
    conversation = made.id;
    return [...events, ...made.events];
  };
  const newestMessageOf = (side: "customer" | "agent"): number => {
    const found = installation.conversation(theConversation()).messages.findLast((message) =>
      !message.private && message.sender?.kind === (side === "customer" ? "Contact" : "User")
    );
    if (found === undefined) throw new Error(`${scenario.id}: the ${side} has written nothing yet.`);
    return found.id;
  };

  const play = (at: Date, step: Step): ChatwootEvent[] => {
    switch (step.do) {
      case "open_widget": {
        const events = meet(at);
        if (contact === null || (inbox !== "website" && inbox !== "help_centre")) return events;
        const info = { ...circumstances(scenario, { at }), widget_language: scenario.language };
        return [...events, ...installation.widgetOpened(at, { contact, inbox, info }).events];
      }
      case "customer_writes": {
        const events = begin(at, step.subject);
        return [...events, ...installation.customerWrites(at, theConversation(), step).events];
      }
      case "customer_types":
        return ["on", "off"].flatMap((state) =>
          installation.typing(at, theConversation(), { who: "customer", on: state === "on" }).events
        );
      case "agent_writes_reply":
        return ["on", "off"].flatMap((state) =>
          installation.typing(at, theConversation(), {
            who: agentNamed(step.agent),
            on: state === "on",
            private: step.private,
          }).events
        );
      case "agent_replies":
        return installation.agentReplies(at, theConversation(), { ...step, agent: agentNamed(step.agent) }).events;
      case "note":
        return installation.note(at, theConversation(), { agent: agentNamed(step.agent), text: step.text }).events;
      case "bot_replies":
        return installation.botReplies(at, theConversation(), step).events;
      case "hand_off":
        return installation.handOff(at, theConversation()).events;
      case "assign":
        return installation.assign(at, theConversation(), step.agent === null ? null : agentNamed(step.agent)).events;
      case "assign_team":
        return installation.assignTeam(at, theConversation(), step.team).events;
      case "add_label":
        return installation.addLabel(at, theConversation(), step.label).events;
      case "remove_label":
        return installation.removeLabel(at, theConversation(), step.label).events;
      case "set_priority":
        return installation.setPriority(at, theConversation(), step.priority).events;
      case "snooze":
        return installation.snooze(at, theConversation(), new Date(at.getTime() + step.minutes * 60_000)).events;
      case "snooze_ends":
      case "reopen":
        return installation.reopen(at, theConversation()).events;
      case "resolve":
        return installation.resolve(at, theConversation(), step).events;
      case "rate":
        return installation.rate(at, theConversation(), step).events;
      case "delivery":
        return installation.deliveryStatus(at, theConversation(), step).events;
      case "edit_reply":
        return installation.editMessage(at, newestMessageOf("agent"), step.text).events;
      case "delete_message":
        return installation.deleteMessage(at, newestMessageOf(step.of)).events;
      case "update_contact":
        return installation.updateContact(at, contact ?? 0, contactChanges(step)).events;
      case "set_custom_attributes":
        return installation.setCustomAttributes(at, theConversation(), step.custom_attributes).events;
    }
  };
  return { scenarioId: scenario.id, conversation: theConversation, play };
}

function contactChanges(step: Extract<Step, { do: "update_contact" }>) {
  return {
    ...(step.name === undefined ? {} : { name: step.name }),
    ...(step.email === undefined ? {} : { email: step.email }),
    ...(step.phone_number === undefined ? {} : { phoneNumber: step.phone_number }),
    ...(step.custom_attributes === undefined ? {} : { customAttributes: step.custom_attributes }),
  };
}

function circumstances(scenario: Scenario, { at, subject }: { at: Date; subject?: string }): Attributes {
  switch (scenario.channel) {
    case "widget":
      return {
        browser: BROWSER,
        referer: "https://acme-outdoor.example/",
        initiated_at: { timestamp: browserTime(at) },
        browser_language: scenario.language,
      };
    case "email":
      return { source: "email", in_reply_to: null, mail_subject: subject ?? scenario.title };
    default:
      return {};
  }
}

// As a browser in London would print it.
const browserTime = (at: Date) => at.toUTCString().replace(/^(\w+), (\d+) (\w+) (.+) GMT$/, "$1 $3 $2 $4 GMT+0000");
