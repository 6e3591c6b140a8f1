// Many made-up conversations at once, cheap and repeatable: for shuffle tests and benchmarks.
import { INBOX_KEYS } from "./furniture.ts";
import { type ChatwootEvent, createInstallation, type Installation, type Outcome } from "./installation.ts";
import { createRandom, type Random } from "./random.ts";
import { type Message, PRIORITIES } from "./records.ts";

export interface HistoryOptions {
  conversations: number;
  /** Exactly this many are given, and the last one is the last: nothing is cut off half told. */
  events: number;
  seed: number;
  start?: Date;
  /** Milliseconds at most between one happening and the next; a busy hour rather than quiet weeks when it is small. */
  longestGap?: number;
  /** Mixes in what no webhook tells of: looking, deleting, merging, and people and teams that go. Not unless told. */
  silentChanges?: boolean;
  /** Where it happens; a new one unless told. */
  installation?: Installation;
}

export interface History {
  events: Generator<ChatwootEvent, void, undefined>;
  /** Its final state holds once all events were drawn. */
  installation: Installation;
}

const SENTENCES = [
  "Where is my parcel?",
  "The zip of the tent is broken <again> & I leave on Friday.",
  "Danke, das hat geholfen!",
  "C'est toujours la même erreur sur la facture n° 4711.",
  "¿Puedo cambiar la talla?",
  "👍",
  "One moment, I am looking into it.",
  "Could you send a picture of the label?",
  "I have refunded the postage.\nIt takes three to five days.",
  "מתי זה יגיע?",
];
const LABELS = ["vip", "refund", "delivery", "defect", "size"];

// No verb gives more events than this; nearer to the end only verbs of a single event are used.
const MOST_EVENTS_OF_A_VERB = 8;

/** A long history of `conversations` conversations in exactly `events` events. */
export function historyOf(options: HistoryOptions): History {
  const { conversations, events, seed, start = new Date("2026-11-20T07:00:00Z"), longestGap = 90_000 } = options;
  const { silentChanges = false } = options;
  if (conversations < 1 || events < conversations * MOST_EVENTS_OF_A_VERB) {
    throw new RangeError(
      `${events} events are too few for ${conversations} conversations: ask for at least ${MOST_EVENTS_OF_A_VERB} each.`,
    );
  }
  const random = createRandom(seed);
  const installation = options.installation ?? createInstallation({ seed, start });

  function* play() {
    let ids: number[] = [];
    let begun = 0;
    let left = events;
    let now = start.getTime();
    const later = () => new Date(now += random.integer(Math.min(500, longestGap), longestGap));
    while (left > 0) {
      const quiet = left < MOST_EVENTS_OF_A_VERB && begun === conversations;
      // New conversations come up all along the way, so that old and young ones are mixed.
      const due = begun < conversations && (events - left) * conversations >= begun * events * 0.8;
      const outcomes: Outcome[] = [];
      if (due) {
        const number = installation.nextNumber();
        const contact = installation.newContact(later(), {
          name: `Customer ${number}`,
          email: `customer-${number}@mail.example`,
          phoneNumber: `+4930${String(5_000_000 + number)}`,
        });
        const conversation = installation.newConversation(later(), {
          contact: contact.id,
          inbox: INBOX_KEYS[number % INBOX_KEYS.length],
        });
        ids.push(conversation.id);
        begun++;
        outcomes.push(contact, conversation);
      } else if (quiet) {
        outcomes.push(changePriority(installation, { random, id: random.pick(ids), at: later() }));
      } else if (silentChanges && random.chance(0.06)) {
        outcomes.push(somethingHappensInSilence(installation, { random, ids, at: later() }));
        ids = ids.filter((id) => installation.has(id));
      } else {
        outcomes.push(somethingHappens(installation, { random, id: random.pick(ids), at: later() }));
      }
      for (const outcome of outcomes) {
        left -= outcome.events.length;
        yield* outcome.events;
      }
    }
  }
  return { events: play(), installation };
}

interface Moment {
  random: Random;
  id: number;
  at: Date;
}

function changePriority(installation: Installation, { random, id, at }: Moment): Outcome {
  const current = installation.conversation(id).priority;
  return installation.setPriority(at, id, random.pick(PRIORITIES.filter((priority) => priority !== current)));
}

// Weighted by how often it happens in a support day: mostly people writing to each other.
function somethingHappens(installation: Installation, moment: Moment): Outcome {
  const { random, id, at } = moment;
  const conversation = installation.conversation(id);
  const text = random.pick(SENTENCES);
  const agent = random.pick(installation.agents);
  const written = (message: Message) =>
    message.contentAttributes.deleted !== true && message.contentType !== "input_csat";
  const messages = conversation.messages.filter(written);
  const chance = random.integer(1, 100);
  if (messages.length === 0 || chance <= 28) {
    const attach = random.chance(0.1) ? ["picture.jpg"] : [];
    return installation.customerWrites(at, id, { text: attach.length > 0 ? null : text, attach });
  }
  if (chance <= 52) return installation.agentReplies(at, id, { agent, text });
  if (chance <= 56) return installation.note(at, id, { agent, text });
  if (chance <= 60) return installation.assign(at, id, random.chance(0.2) ? null : agent);
  if (chance <= 64) {
    return installation.assignTeam(at, id, random.chance(0.2) ? null : random.pick(installation.teams).name);
  }
  if (chance <= 69) return installation.addLabel(at, id, random.pick(LABELS));
  if (chance <= 72) return installation.removeLabel(at, id, random.pick(LABELS));
  if (chance <= 75) return changePriority(installation, moment);
  if (chance <= 78) return installation.editMessage(at, random.pick(messages).id, `${text} (corrected)`);
  if (chance <= 80) return installation.deleteMessage(at, random.pick(messages).id);
  if (chance <= 83) {
    return installation.updateContact(at, conversation.contact.id, { name: `Customer ${at.getTime()}` });
  }
  if (chance <= 85) return installation.typing(at, id, { who: agent, on: true });
  if (chance <= 88) return installation.snooze(at, id, new Date(at.getTime() + 3_600_000));
  if (chance <= 90) return installation.reopen(at, id);
  if (conversation.messages.some(({ type, private: hidden }) => type === "outgoing" && !hidden) && chance <= 94) {
    return installation.deliveryStatus(at, id, { status: random.pick(["delivered", "read", "failed"]) });
  }
  const surveyed = conversation.messages.some(({ contentType }) => contentType === "input_csat");
  if (surveyed && chance <= 97) return installation.rate(at, id, { rating: random.integer(1, 5), feedback: text });
  if (conversation.status === "pending") return installation.handOff(at, id);
  return installation.resolve(at, id, { survey: random.chance(0.7) });
}

// Enough is left of everything for the history to go on.
const FEWEST_LEFT = 3;

function somethingHappensInSilence(
  installation: Installation,
  { random, ids, at }: Omit<Moment, "id"> & { ids: readonly number[] },
): Outcome {
  const { agents, teams } = installation;
  const id = random.pick(ids);
  const conversation = installation.conversation(id);
  const chance = random.integer(1, 100);
  if (chance <= 2 && agents.length > FEWEST_LEFT) return installation.removeAgent(at, random.pick(agents).id);
  if (chance <= 4 && teams.length > FEWEST_LEFT) return installation.deleteTeam(at, random.pick(teams).name);
  if (chance <= 10 && conversation.labels.length > 0) {
    return installation.deleteLabel(at, random.pick(conversation.labels));
  }
  const owned = ids.filter((other) => installation.conversation(other).contact === conversation.contact);
  const others = installation.contacts().filter((contact) => contact !== conversation.contact);
  const isPlenty = ids.length - owned.length >= FEWEST_LEFT && others.length >= FEWEST_LEFT;
  if (chance <= 15 && isPlenty) return installation.deleteConversation(at, id);
  if (chance <= 20 && isPlenty) return installation.deleteContact(at, conversation.contact.id);
  if (chance <= 30 && isPlenty) {
    return installation.mergeContacts(at, { into: conversation.contact.id, from: random.pick(others).id });
  }
  return installation.agentOpens(at, id, { agent: random.pick(agents) });
}
