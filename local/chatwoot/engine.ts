// What all verbs are made of: the clock, the jobs that send webhooks, and the one way in which each record is saved.
import { columns, contactColumns, differences } from "./changes.ts";
import { sourceOf } from "./channels.ts";
import { conversationPayload, type Surroundings, webhookContact, webhookMessage } from "./payloads.ts";
import {
  type Agent,
  type Attachment,
  type Attributes,
  type Contact,
  type ContactInbox,
  type Conversation,
  fileKind,
  type Inbox,
  type Message,
  type Status,
} from "./records.ts";
import { createReporting } from "./reporting.ts";
import { type Instant, isoTime, serialise } from "./serialise.ts";
import type { State } from "./state.ts";

/** One webhook, ready to send. */
export interface ChatwootEvent {
  /** When Chatwoot would have built and sent it. */
  at: Date;
  deliveryId: string;
  name: string;
  /** The display id of the conversation it is about; null for contacts and inboxes. */
  conversation: number | null;
  payload: Attributes;
  /** The payload as Rails would write it. */
  body: string;
  /** The body as it would be if the job ran only now: the records of this moment, the changes of its own. */
  rebuild(): string;
  /** Whether the record it is about was deleted since; Chatwoot drops the job then. */
  isGone(): boolean;
}

/** What a verb did: the id of the contact, conversation (display id) or message it made or changed. */
export interface Outcome {
  id: number;
  events: ChatwootEvent[];
}

export interface Writing {
  text?: string | null;
  /** File names; jpg, png, ogg, mp4 and pdf. */
  attach?: readonly string[];
  inReplyTo?: number;
  contentAttributes?: Attributes;
  /** Of whoever writes through the API; such a reply is taken as already sent, and the channel gives it no other. */
  sourceId?: string;
}

interface Job {
  name: string;
  conversation: number | null;
  isGone(): boolean;
  build(surroundings: Surroundings): Attributes;
}

type Watched = Pick<
  Conversation,
  | "status"
  | "snoozedUntil"
  | "priority"
  | "waitingSince"
  | "firstReplyCreatedAt"
  | "assignee"
  | "team"
  | "labels"
  | "customAttributes"
>;

export type NewMessage = Pick<Message, "type" | "sender"> & Partial<Message>;

export type Engine = ReturnType<typeof createEngine>;

/** Told of each write that may have changed a conversation's columns, also of those that no webhook tells of. */
export type OnWrite = (conversation: Conversation, at: Instant) => void;

export function createEngine(state: State, { lateJobs, onWrite }: { lateJobs: number; onWrite: OnWrite }) {
  const { account, baseUrl, random, next, touched } = state;

  // The clock never stands still and never goes back, by a millisecond at least: no two writes share an `updated_at`,
  // not even where only milliseconds are shown.
  const tick = (): Instant => state.clock += random.integer(1_000, 40_000);
  const reporting = createReporting(state, tick);

  let late = false;
  let waiting: Job[] = [];
  let done: ChatwootEvent[] = [];

  const run = ({ name, conversation, build, isGone }: Job) => {
    const payloadNow = () => build({ account, baseUrl, now: state.clock });
    const payload = payloadNow();
    done.push({
      at: new Date(Math.floor(state.clock / 1000)),
      deliveryId: random.uuid(),
      name,
      conversation,
      payload,
      body: serialise(payload),
      rebuild: () => serialise(payloadNow()),
      isGone,
    });
  };
  const enqueue = (job: Job) => late ? waiting.push(job) : run(job);

  /** Everything a verb does happens at its time, or as soon after as the work before it allows. */
  const perform = (at: Date, work: () => number): Outcome => {
    state.clock = Math.max(state.clock + 1_000, at.getTime() * 1000);
    late = random.chance(lateJobs);
    waiting = [];
    done = [];
    const id = work();
    for (const job of waiting) run(job);
    return { id, events: done };
  };

  const conversationEvent = (name: string, conversation: Conversation, changes?: Attributes[] | null) =>
    enqueue({
      name,
      conversation: conversation.displayId,
      isGone: () => state.conversations.get(conversation.displayId) !== conversation,
      build: (surroundings) => ({
        ...conversationPayload(conversation, surroundings),
        event: name,
        ...(changes === undefined ? {} : { changed_attributes: changes }),
      }),
    });

  const messageEvent = (name: "message_created" | "message_updated", message: Message) =>
    enqueue({
      name,
      conversation: message.conversation.displayId,
      isGone: () => state.messages.get(message.id) !== message,
      build: (surroundings) => ({ ...webhookMessage(message, surroundings), event: name }),
    });

  const contactEvent = (name: "contact_created" | "contact_updated", contact: Contact, changes?: Attributes[]) =>
    enqueue({
      name,
      conversation: null,
      isGone: () => state.contacts.get(contact.id) !== contact,
      build: () => ({
        ...webhookContact(contact, account),
        event: name,
        ...(changes === undefined ? {} : { changed_attributes: changes }),
      }),
    });

  // "Ravi resolved this": a message that no webhook shows, but that takes an id and counts as activity.
  const activity = (conversation: Conversation, content: string, contentAttributes: Attributes) =>
    addMessage(conversation, { type: "activity", sender: null, content, contentAttributes });

  const STATUS_TEXTS: Record<Status, string> = {
    open: "reopened",
    resolved: "marked resolved",
    pending: "marked as pending",
    snoozed: "snoozed",
  };
  const statusActivity = (conversation: Conversation, by: string) =>
    activity(conversation, `Conversation was ${STATUS_TEXTS[conversation.status]} by ${by}`, {
      activity: { type: "conversation_status_changed", status: conversation.status },
    });

  const actor = ({ assignee }: Conversation) => assignee?.kind === "User" ? assignee.name : state.administrator.name;

  /** One save of a conversation: works out what changed, then sends the status event and the update, in this order. */
  const save = (
    conversation: Conversation,
    changes: Partial<Watched>,
    { by = actor(conversation), afterwards = () => {} }: { by?: string; afterwards?: () => void } = {},
  ) => {
    const before = columns(conversation);
    Object.assign(conversation, changes);
    const changed = differences(before, columns(conversation));
    if (changed.length === 0) return;
    if (changes.labels !== undefined) retag(conversation);
    changed.push(touch(conversation));
    onWrite(conversation, conversation.updatedAt);
    afterwards();
    const opening = changes.status === "open" && before.status !== "open";
    const unassigned = conversation.assignee?.kind !== "User";
    if (opening && unassigned && conversation.inbox.autoAssignment) return loseOpening(conversation);
    // The model asks for its changes when they are already cleared, so this event never has any.
    if (before.status !== conversation.status) {
      statusActivity(conversation, by);
      if (opening) reporting.opened(conversation);
      if (conversation.status === "resolved") reporting.resolved(conversation);
      conversationEvent("conversation_status_changed", conversation, null);
    }
    conversationEvent("conversation_updated", conversation, changed);
    // Label changes are known to arrive twice, under two delivery ids.
    if (changes.labels !== undefined && random.chance(0.5)) {
      conversationEvent("conversation_updated", conversation, changed);
    }
  };

  // The older assignment engine saves again inside the save, and what was changed first is forgotten (§5.3).
  const loseOpening = (conversation: Conversation) => {
    const before = columns(conversation);
    conversation.assignee = nextAgent();
    const changed = differences(before, columns(conversation));
    const changes = [...changed, touch(conversation)];
    onWrite(conversation, conversation.updatedAt);
    conversationEvent("conversation_updated", conversation, changes);
  };

  const nextAgent = (): Agent | null => {
    const agents = [...state.agents.values()];
    return agents.length === 0 ? null : agents[next.agent++ % agents.length];
  };

  const touch = (record: { updatedAt: Instant }): Attributes => {
    const previous = record.updatedAt;
    record.updatedAt = tick();
    return { updated_at: { previous_value: isoTime(previous), current_value: isoTime(record.updatedAt) } };
  };

  /** Lets the taggings follow the labels: one for each, and a new one is the last. */
  const retag = (conversation: Conversation) => {
    const { labels, taggings } = conversation;
    for (const { tag } of taggings.filter(({ tag }) => !labels.includes(tag.name))) {
      tag.uses--;
      touched.tags.add(tag.id);
    }
    const kept = taggings.filter(({ tag }) => labels.includes(tag.name));
    const added = labels.filter((title) => !kept.some(({ tag }) => tag.name === title));
    conversation.taggings = [
      ...kept,
      ...added.map((title) => {
        const tag = tagNamed(title);
        tag.uses++;
        touched.tags.add(tag.id);
        return { id: next.tagging++, tag, createdAt: tick() };
      }),
    ];
  };

  const tagNamed = (name: string) => {
    let tag = [...state.tags.values()].find((known) => known.name === name);
    if (tag === undefined) {
      tag = { id: next.tag++, name, uses: 0 };
      state.tags.set(tag.id, tag);
    }
    // Whoever labels a conversation by hand picks a label of the account, or makes it first.
    if (![...state.labels.values()].some(({ title }) => title === name)) {
      const label = { id: next.label++, title: name, createdAt: tick() };
      state.labels.set(label.id, label);
      touched.labels.add(label.id);
    }
    return tag;
  };

  const find = <Record>(records: Map<number, Record>, id: number, kind: string): Record => {
    const record = records.get(id);
    if (record === undefined) throw new RangeError(`There is no ${kind} ${id} in this installation.`);
    return record;
  };
  // Whoever asks for one of these is about to change it.
  const conversationOf = (id: number): Conversation => {
    const conversation = find(state.conversations, id, "conversation");
    touched.conversations.add(id);
    return conversation;
  };
  const contactOf = (id: number): Contact => {
    const contact = find(state.contacts, id, "contact");
    touched.contacts.add(id);
    return contact;
  };

  const contactInboxOf = (contact: Contact, inbox: Inbox): ContactInbox => {
    const existing = contact.contactInboxes.find((contactInbox) => contactInbox.inbox === inbox);
    if (existing !== undefined) return existing;
    const made: ContactInbox = {
      id: next.contactInbox++,
      contact,
      inbox,
      sourceId: sourceOf(contact, inbox) ?? random.uuid(),
      pubsubToken: random.token(24),
      createdAt: tick(),
    };
    contact.contactInboxes.push(made);
    touched.contacts.add(contact.id);
    return made;
  };

  const updateContact = (contact: Contact, changes: Partial<Contact>) => {
    touched.contacts.add(contact.id);
    const before = contactColumns(contact);
    Object.assign(contact, changes);
    const changed = differences(before, contactColumns(contact));
    if (changed.length === 0) return;
    contactEvent("contact_updated", contact, [...changed, touch(contact)]);
  };

  const attachments = (names: readonly string[]): Attachment[] =>
    names.map((name) => {
      const kind = fileKind(name);
      if (kind === null) {
        throw new RangeError(`"${name}" is no file this Chatwoot can attach: use jpg, png, ogg, mp4 or pdf.`);
      }
      const isImage = kind.fileType === "image";
      return {
        id: next.attachment++,
        ...kind,
        key: random.token(32),
        fileName: name,
        fileSize: random.integer(20_000, 900_000),
        width: isImage ? 1200 : null,
        height: isImage ? 900 : null,
        createdAt: tick(),
      };
    });

  /** A new message makes a new version of its conversation; what happens to it later does not. */
  const addMessage = (conversation: Conversation, details: NewMessage): Message => {
    const createdAt = tick();
    const message: Message = {
      id: next.message++,
      conversation,
      contentType: "text",
      content: null,
      private: false,
      status: "sent",
      shownStatus: null,
      shown: null,
      sourceId: null,
      contentAttributes: {},
      additionalAttributes: {},
      attachments: [],
      createdAt,
      updatedAt: createdAt,
      ...details,
    };
    (message.type === "activity" ? conversation.activities : conversation.messages).push(message);
    state.messages.set(message.id, message);
    touched.messages.add(message.id);
    touched.conversations.add(conversation.displayId);
    conversation.lastActivityAt = createdAt;
    conversation.updatedAt = tick();
    return message;
  };

  const changeMessage = (message: Message, changes: Partial<Message>) => {
    Object.assign(message, changes);
    message.updatedAt = tick();
    touched.messages.add(message.id);
    messageEvent("message_updated", message);
  };

  const newest = (conversation: number, wanted: (message: Message) => boolean, what: string): Message => {
    const found = conversationOf(conversation).messages.findLast(wanted);
    if (found === undefined) throw new RangeError(`Conversation ${conversation} has no ${what} yet.`);
    return found;
  };

  return {
    actor,
    activity,
    addMessage,
    attachments,
    changeMessage,
    contactEvent,
    contactInboxOf,
    contactOf,
    conversationEvent,
    conversationOf,
    enqueue,
    find,
    messageEvent,
    newest,
    nextAgent,
    onWrite,
    perform,
    reporting,
    retag,
    save,
    tick,
    touch,
    updateContact,
  };
}
