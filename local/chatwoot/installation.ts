// A Chatwoot small enough to hold in memory. Each verb is what a customer, an agent, a bot or a timer does; it changes
// the records by the rules of Chatwoot's life cycle (facts/chatwoot.md §5) and gives back the webhooks that follow.
import { columns, contactColumns, differences, inboxColumns } from "./changes.ts";
import { mailAttributes, sourceOf } from "./channels.ts";
import { finalState, isSurvey } from "./final-state.ts";
import { AGENTS, BOT, createInboxes, type InboxKey, TEAMS } from "./furniture.ts";
import { conversationPayload, inboxPayload, webhookContact, webhookMessage } from "./payloads.ts";
import { type Surroundings, webhookSender } from "./payloads.ts";
import { createRandom } from "./random.ts";
import {
  type Account,
  type Agent,
  type Attributes,
  type Contact,
  type ContactInbox,
  type Conversation,
  type DeliveryStatus,
  fileKind,
  type Inbox,
  type Message,
  type Priority,
  type Status,
} from "./records.ts";
import { type Instant, isoTime, serialise } from "./serialise.ts";

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
}

/** What a verb did: the id of the contact, conversation (display id) or message it made or changed. */
export interface Outcome {
  id: number;
  events: ChatwootEvent[];
}

export interface InstallationOptions {
  seed: number;
  /** No record is older than this. */
  start: Date;
  account?: Account;
  baseUrl?: string;
  /** How often the jobs of a verb run late, so that their payloads already show what followed. */
  lateJobs?: number;
}

export interface ContactDetails {
  name: string;
  email?: string | null;
  phoneNumber?: string | null;
  identifier?: string | null;
  customAttributes?: Attributes;
  additionalAttributes?: Attributes;
}

export interface Writing {
  text?: string | null;
  /** File names; jpg, png, ogg, mp4 and pdf. */
  attach?: readonly string[];
  inReplyTo?: number;
}

export type Installation = ReturnType<typeof createInstallation>;

const isReply = (message: Message) => message.type === "outgoing" && !message.private;

export function createInstallation(options: InstallationOptions) {
  const { account = { id: 1, name: "Acme Outdoor" }, baseUrl = "https://chat.acme-outdoor.example" } = options;
  const random = createRandom(options.seed);
  const start: Instant = options.start.getTime() * 1000;
  const inboxes = createInboxes(random, { accountId: account.id, at: start });
  const contacts = new Map<number, Contact>();
  const conversations = new Map<number, Conversation>();
  const messages = new Map<number, Message>();
  const next = { contact: 205, contactInbox: 310, message: 9001, attachment: 611, agent: 0 };
  let clock = start;

  // The clock never stands still and never goes back, by a millisecond at least: no two writes share an `updated_at`,
  // not even where only milliseconds are shown.
  const tick = (): Instant => clock += random.integer(1_000, 40_000);

  type Job = { name: string; conversation: number | null; build: (surroundings: Surroundings) => Attributes };
  let late = false;
  let waiting: Job[] = [];
  let done: ChatwootEvent[] = [];

  const run = ({ name, conversation, build }: Job) => {
    const payload = build({ account, baseUrl, now: clock });
    const at = new Date(Math.floor(clock / 1000));
    done.push({ at, deliveryId: random.uuid(), name, conversation, payload, body: serialise(payload) });
  };
  const enqueue = (job: Job) => late ? waiting.push(job) : run(job);

  // Everything a verb does happens at its time, or as soon after as the work before it allows.
  const perform = (at: Date, work: () => number): Outcome => {
    clock = Math.max(clock + 1_000, at.getTime() * 1000);
    late = random.chance(options.lateJobs ?? 0.25);
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
      build: (surroundings) => ({ ...webhookMessage(message, surroundings), event: name }),
    });

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

  /** One save of a conversation: works out what changed, then sends the status event and the update, in this order. */
  const save = (conversation: Conversation, changes: Partial<Watched>, afterwards: () => void = () => {}) => {
    const before = columns(conversation);
    Object.assign(conversation, changes);
    const changed = differences(before, columns(conversation));
    if (changed.length === 0) return;
    changed.push(touch(conversation));
    afterwards();
    const opening = changes.status === "open" && before.status !== "open";
    const unassigned = conversation.assignee?.kind !== "User";
    if (opening && unassigned && conversation.inbox.autoAssignment) return loseOpening(conversation);
    // The model asks for its changes when they are already cleared, so this event never has any.
    if (before.status !== conversation.status) {
      activity(conversation);
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
    conversationEvent("conversation_updated", conversation, [...changed, touch(conversation)]);
  };

  const nextAgent = () => AGENTS[next.agent++ % AGENTS.length];

  const touch = (record: { updatedAt: Instant }): Attributes => {
    const previous = record.updatedAt;
    record.updatedAt = tick();
    return { updated_at: { previous_value: isoTime(previous), current_value: isoTime(record.updatedAt) } };
  };

  // "Ravi resolved this": a message that no webhook shows, but that takes an id and counts as activity.
  const activity = (conversation: Conversation) => {
    next.message++;
    conversation.lastActivityAt = tick();
    conversation.updatedAt = tick();
  };

  const find = <Record>(records: Map<number, Record>, id: number, kind: string): Record => {
    const record = records.get(id);
    if (record === undefined) throw new RangeError(`There is no ${kind} ${id} in this installation.`);
    return record;
  };
  const conversationOf = (id: number) => find(conversations, id, "conversation");

  const contactInboxOf = (contact: Contact, inbox: Inbox): ContactInbox => {
    const existing = contact.contactInboxes.get(inbox.id);
    if (existing !== undefined) return existing;
    const made: ContactInbox = {
      id: next.contactInbox++,
      contact,
      inbox,
      sourceId: sourceOf(contact, inbox) ?? random.uuid(),
      pubsubToken: random.token(24),
      createdAt: tick(),
    };
    contact.contactInboxes.set(inbox.id, made);
    return made;
  };

  const updateContactRecord = (contact: Contact, changes: Partial<Contact>) => {
    const before = contactColumns(contact);
    Object.assign(contact, changes);
    const changed = differences(before, contactColumns(contact));
    if (changed.length === 0) return;
    changed.push(touch(contact));
    enqueue({
      name: "contact_updated",
      conversation: null,
      build: () => ({ ...webhookContact(contact, account), event: "contact_updated", changed_attributes: changed }),
    });
  };

  const attachments = (names: readonly string[]) =>
    names.map((name) => {
      const kind = fileKind(name);
      if (kind === null) {
        throw new RangeError(`"${name}" is no file this Chatwoot can attach: use jpg, png, ogg, mp4 or pdf.`);
      }
      const blob = `${baseUrl}/rails/active_storage`;
      const isImage = kind.fileType === "image";
      const token = random.token(32);
      return {
        id: next.attachment++,
        fileType: kind.fileType,
        extension: kind.extension,
        contentType: kind.contentType,
        dataUrl: `${blob}/blobs/redirect/${token}/${name}`,
        thumbUrl: isImage ? `${blob}/representations/redirect/${token}/${name}` : "",
        fileSize: random.integer(20_000, 900_000),
        width: isImage ? 1200 : null,
        height: isImage ? 900 : null,
      };
    });

  type NewMessage = Pick<Message, "type" | "sender"> & Partial<Message>;
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
      sourceId: null,
      contentAttributes: {},
      additionalAttributes: {},
      attachments: [],
      createdAt,
      updatedAt: createdAt,
      ...details,
    };
    conversation.messages.push(message);
    messages.set(message.id, message);
    conversation.lastActivityAt = createdAt;
    conversation.updatedAt = tick();
    return message;
  };

  const changeMessage = (message: Message, changes: Partial<Message>) => {
    Object.assign(message, changes);
    message.updatedAt = tick();
    message.conversation.updatedAt = tick();
    messageEvent("message_updated", message);
  };

  const sourceIdOf = (inbox: Inbox): string | null => {
    switch (inbox.channel) {
      case "whatsapp":
        return `wamid.${random.token(40)}`;
      case "sms":
        return `SM${random.uuid().replaceAll("-", "")}`;
      case "email":
        return `${random.uuid()}@acme-outdoor.example`;
      default:
        return null;
    }
  };

  const newest = (conversation: number, wanted: (message: Message) => boolean, what: string): Message => {
    const found = conversationOf(conversation).messages.findLast(wanted);
    if (found === undefined) throw new RangeError(`Conversation ${conversation} has no ${what} yet.`);
    return found;
  };

  const verbs = {
    newContact: (at: Date, details: ContactDetails) =>
      perform(at, () => {
        const contact: Contact = {
          kind: "Contact",
          id: next.contact++,
          name: details.name,
          email: details.email ?? null,
          phoneNumber: details.phoneNumber ?? null,
          identifier: details.identifier ?? null,
          blocked: false,
          customAttributes: details.customAttributes ?? {},
          additionalAttributes: details.additionalAttributes ?? {},
          lastActivityAt: null,
          updatedAt: tick(),
          contactInboxes: new Map(),
        };
        contacts.set(contact.id, contact);
        enqueue({
          name: "contact_created",
          conversation: null,
          build: () => ({ ...webhookContact(contact, account), event: "contact_created" }),
        });
        return contact.id;
      }),

    newConversation: (
      at: Date,
      details: { contact: number; inbox: InboxKey; additionalAttributes?: Attributes; customAttributes?: Attributes },
    ) =>
      perform(at, () => {
        const contact = find(contacts, details.contact, "contact");
        const inbox = inboxes[details.inbox];
        const contactInbox = contactInboxOf(contact, inbox);
        const createdAt = tick();
        const status: Status = contact.blocked ? "resolved" : inbox.bot !== null ? "pending" : "open";
        const assigned = status === "open" && inbox.autoAssignment ? nextAgent() : null;
        const conversation: Conversation = {
          displayId: conversations.size + 1,
          uuid: random.uuid(),
          inbox,
          contact,
          contactInbox,
          status,
          assignee: inbox.bot !== null ? inbox.bot : assigned,
          team: null,
          labels: [],
          priority: null,
          snoozedUntil: null,
          waitingSince: createdAt,
          firstReplyCreatedAt: null,
          agentLastSeenAt: null,
          contactLastSeenAt: null,
          lastActivityAt: createdAt,
          createdAt,
          updatedAt: tick(),
          customAttributes: details.customAttributes ?? {},
          additionalAttributes: details.additionalAttributes ?? {},
          csat: null,
          messages: [],
        };
        conversations.set(conversation.displayId, conversation);
        conversationEvent("conversation_created", conversation);
        return conversation.displayId;
      }),

    customerWrites: (at: Date, id: number, writing: Writing & { subject?: string }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const { contact, inbox } = conversation;
        const sourceId = sourceIdOf(inbox);
        const isMail = inbox.channel === "email";
        const mail = {
          subject: writing.subject ?? String(conversation.additionalAttributes.mail_subject ?? ""),
          sourceId,
        };
        const message = addMessage(conversation, {
          type: "incoming",
          sender: contact,
          content: writing.text ?? null,
          contentType: isMail ? "incoming_email" : "text",
          sourceId,
          contentAttributes: {
            ...(writing.inReplyTo === undefined ? {} : { in_reply_to: writing.inReplyTo }),
            ...(isMail ? mailAttributes(contact, { ...mail, text: writing.text ?? "", at: clock }) : {}),
          },
          attachments: attachments(writing.attach ?? []),
        });
        if (inbox.channel === "widget") conversation.contactLastSeenAt = message.createdAt;
        if (!contact.blocked) {
          if (conversation.status === "resolved") {
            save(conversation, { status: inbox.bot === null ? "open" : "pending" });
          }
          if (conversation.status === "snoozed") save(conversation, { status: "open", snoozedUntil: null });
        }
        messageEvent("message_created", message);
        if (conversation.waitingSince === null) save(conversation, { waitingSince: message.createdAt });
        updateContactRecord(contact, { lastActivityAt: message.createdAt });
        return message.id;
      }),

    agentReplies: (at: Date, id: number, writing: Writing & { agent: Agent }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        conversation.agentLastSeenAt = tick();
        const message = addMessage(conversation, {
          type: "outgoing",
          sender: writing.agent,
          content: writing.text ?? null,
          contentAttributes: writing.inReplyTo === undefined ? {} : { in_reply_to: writing.inReplyTo },
          attachments: attachments(writing.attach ?? []),
        });
        messageEvent("message_created", message);
        save(conversation, {
          waitingSince: null,
          firstReplyCreatedAt: conversation.firstReplyCreatedAt ?? message.createdAt,
        });
        // The channel gives the message its id only after it was sent, and that is an update of its own.
        const sourceId = sourceIdOf(conversation.inbox);
        if (sourceId !== null) changeMessage(message, { sourceId });
        return message.id;
      }),

    note: (at: Date, id: number, { agent, text }: { agent: Agent; text: string }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        conversation.agentLastSeenAt = tick();
        const message = addMessage(conversation, { type: "outgoing", sender: agent, content: text, private: true });
        messageEvent("message_created", message);
        return message.id;
      }),

    botReplies: (at: Date, id: number, { text, items }: { text: string; items?: readonly string[] }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const message = addMessage(conversation, {
          type: "outgoing",
          sender: conversation.inbox.bot ?? BOT,
          content: text,
          contentType: items === undefined ? "text" : "input_select",
          contentAttributes: items === undefined ? {} : { items: items.map((title) => ({ title, value: title })) },
        });
        messageEvent("message_created", message);
        save(conversation, { waitingSince: null });
        return message.id;
      }),

    /** The bot gives up: a person is to answer, and the wait starts now unless it already runs. */
    handOff: (at: Date, id: number) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        save(conversation, {
          status: "open",
          assignee: conversation.assignee?.kind === "AgentBot" ? null : conversation.assignee,
          waitingSince: conversation.waitingSince ?? tick(),
        });
        return id;
      }),

    assign: (at: Date, id: number, agent: Agent | null) =>
      perform(at, () => {
        save(conversationOf(id), { assignee: agent }, () => activity(conversationOf(id)));
        return id;
      }),

    assignTeam: (at: Date, id: number, team: string | null) =>
      perform(at, () => {
        const found = TEAMS.find(({ name }) => name === team) ?? null;
        if (team !== null && found === null) throw new RangeError(`There is no team "${team}".`);
        save(conversationOf(id), { team: found }, () => activity(conversationOf(id)));
        return id;
      }),

    addLabel: (at: Date, id: number, label: string) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        if (!conversation.labels.includes(label)) save(conversation, { labels: [...conversation.labels, label] });
        return id;
      }),

    removeLabel: (at: Date, id: number, label: string) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        save(conversation, { labels: conversation.labels.filter((title) => title !== label) });
        return id;
      }),

    setPriority: (at: Date, id: number, priority: Priority | null) =>
      perform(at, () => {
        save(conversationOf(id), { priority });
        return id;
      }),

    setCustomAttributes: (at: Date, id: number, customAttributes: Attributes) =>
      perform(at, () => {
        save(conversationOf(id), { customAttributes });
        return id;
      }),

    snooze: (at: Date, id: number, until: Date | null) =>
      perform(at, () => {
        save(conversationOf(id), { status: "snoozed", snoozedUntil: until === null ? null : until.getTime() * 1000 });
        return id;
      }),

    /** Opened by a person, or by the job that ends snoozes. */
    reopen: (at: Date, id: number) =>
      perform(at, () => {
        save(conversationOf(id), { status: "open", snoozedUntil: null });
        return id;
      }),

    resolve: (at: Date, id: number, { survey = false }: { survey?: boolean } = {}) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        // The wait ends without callbacks: it is in no list of changes, only in the body.
        save(conversation, { status: "resolved", snoozedUntil: null }, () => conversation.waitingSince = null);
        // One survey per conversation, ever.
        if (survey && !conversation.messages.some(isSurvey)) {
          const prompt = addMessage(conversation, {
            type: "template",
            sender: null,
            content: "How did we do? Please rate this conversation",
            contentType: "input_csat",
            contentAttributes: { display_type: "emoji" },
          });
          messageEvent("message_created", prompt);
        }
        return id;
      }),

    /** The customer answers the survey: first the face, then, where there is one, the comment. */
    rate: (at: Date, id: number, { rating, feedback = null }: { rating: number; feedback?: string | null }) =>
      perform(at, () => {
        const prompt = newest(id, isSurvey, "survey to answer");
        prompt.conversation.csat = { rating, feedback };
        const answer = (feedbackMessage: string | null) =>
          changeMessage(prompt, {
            contentAttributes: {
              ...prompt.contentAttributes,
              submitted_values: {
                csat_survey_response: {
                  // The widget posts a number; other clients have been seen to post text.
                  rating: prompt.conversation.inbox.channel === "widget" ? rating : String(rating),
                  feedback_message: feedbackMessage,
                },
              },
            },
          });
        answer(null);
        if (feedback !== null) answer(feedback);
        return prompt.id;
      }),

    /** What the channel reports about the newest reply. */
    deliveryStatus: (at: Date, id: number, { status, reason }: { status: DeliveryStatus; reason?: string }) =>
      perform(at, () => {
        const message = newest(id, isReply, "reply to report on");
        if (message.status === status || (message.status === "read" && status === "delivered")) return message.id;
        const contentAttributes = status === "failed"
          ? { ...message.contentAttributes, external_error: reason ?? "131026: Message undeliverable" }
          : message.contentAttributes;
        changeMessage(message, { status, contentAttributes });
        return message.id;
      }),

    editMessage: (at: Date, message: number, text: string) =>
      perform(at, () => {
        changeMessage(find(messages, message, "message"), { content: text });
        return message;
      }),

    deleteMessage: (at: Date, message: number) =>
      perform(at, () => {
        changeMessage(find(messages, message, "message"), {
          content: "This message was deleted",
          contentType: "text",
          contentAttributes: { deleted: true },
          attachments: [],
        });
        return message;
      }),

    typing: (at: Date, id: number, details: { who: Agent | "customer"; on: boolean; private?: boolean }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const name = details.on ? "conversation_typing_on" : "conversation_typing_off";
        const who = details.who === "customer" ? conversation.contact : details.who;
        enqueue({
          name,
          conversation: id,
          build: (surroundings) => ({
            event: name,
            user: webhookSender(who, account),
            conversation: conversationPayload(conversation, surroundings),
            is_private: details.private ?? false,
          }),
        });
        return id;
      }),

    widgetOpened: (at: Date, details: { contact: number; inbox: "website" | "help_centre"; info?: Attributes }) =>
      perform(at, () => {
        const contact = find(contacts, details.contact, "contact");
        const inbox = inboxes[details.inbox];
        const contactInbox = contactInboxOf(contact, inbox);
        const current = [...conversations.values()].findLast((conversation) =>
          conversation.contactInbox === contactInbox
        );
        enqueue({
          name: "webwidget_triggered",
          conversation: current?.displayId ?? null,
          build: (surroundings) => ({
            id: contactInbox.id,
            contact: webhookContact(contact, account),
            inbox: { id: inbox.id, name: inbox.name },
            account: { ...account },
            current_conversation: current === undefined ? null : conversationPayload(current, surroundings),
            source_id: contactInbox.sourceId,
            event: "webwidget_triggered",
            event_info: details.info ?? {},
          }),
        });
        return contact.id;
      }),

    updateContact: (at: Date, id: number, changes: Partial<ContactDetails> & { blocked?: boolean }) =>
      perform(at, () => {
        updateContactRecord(find(contacts, id, "contact"), changes);
        return id;
      }),

    createInbox: (at: Date, key: InboxKey) =>
      perform(at, () => {
        const inbox = inboxes[key];
        enqueue({
          name: "inbox_created",
          conversation: null,
          build: () => ({ ...inboxPayload(inbox, account), event: "inbox_created" }),
        });
        return inbox.id;
      }),

    updateInbox: (at: Date, key: InboxKey, changes: { csatSurveyEnabled?: boolean; greetingMessage?: string | null }) =>
      perform(at, () => {
        const inbox = inboxes[key];
        const before = inboxColumns(inbox);
        Object.assign(inbox, changes);
        const changed = differences(before, inboxColumns(inbox));
        if (changed.length === 0) return inbox.id;
        changed.push(touch(inbox));
        enqueue({
          name: "inbox_updated",
          conversation: null,
          build: () => ({ ...inboxPayload(inbox, account), event: "inbox_updated", changed_attributes: changed }),
        });
        return inbox.id;
      }),
  };

  return {
    account,
    inboxes,
    agents: AGENTS,
    teams: TEAMS,
    ...verbs,
    conversation: conversationOf,
    finalState: () => finalState({ contacts, conversations, messages, baseUrl }),
  };
}
