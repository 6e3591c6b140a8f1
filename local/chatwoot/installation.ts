// A Chatwoot small enough to hold in memory. Each verb is what a customer, an agent, a bot or a timer does; it changes
// the records by the rules of Chatwoot's life cycle (facts/chatwoot.md §5) and gives back the webhooks that follow.
import { differences, inboxColumns } from "./changes.ts";
import { mailAttributes, messageSourceOf } from "./channels.ts";
import { createEngine, type OnWrite, type Writing } from "./engine.ts";
import { type Door, finalState, isSurvey } from "./final-state.ts";
import { BOT, type InboxKey } from "./furniture.ts";
import { conversationPayload, inboxPayload, webhookContact, webhookSender } from "./payloads.ts";
import type {
  Account,
  Agent,
  Attributes,
  Contact,
  Conversation,
  CsatResponse,
  DeliveryStatus,
  Message,
  Priority,
  Status,
  Team,
} from "./records.ts";
import { silentVerbs } from "./silent-verbs.ts";
import { newState, type State } from "./state.ts";

export type { ChatwootEvent, Outcome, Writing } from "./engine.ts";

export interface InstallationOptions {
  seed: number;
  /** No record is older than this. */
  start: Date;
  account?: Account;
  baseUrl?: string;
  /** How often the jobs of a verb run late, so that their payloads already show what followed. */
  lateJobs?: number;
  /** Is told what really happens to conversations; to measure by, since webhooks do not tell all of it. */
  onWrite?: OnWrite;
}

export interface ContactDetails {
  name: string;
  email?: string | null;
  phoneNumber?: string | null;
  identifier?: string | null;
  customAttributes?: Attributes;
  additionalAttributes?: Attributes;
}

export type Installation = ReturnType<typeof createInstallation>;

const isReply = (message: Message) => message.type === "outgoing" && !message.private;

const ACCOUNT: Account = { id: 1, name: "Acme Outdoor" };
const BASE_URL = "https://chat.acme-outdoor.example";

/** A shop that opens today, or one that goes on from a state that was put away. */
export function createInstallation(options: InstallationOptions & { state?: State }) {
  const state = options.state ?? newState({
    seed: options.seed,
    start: options.start.getTime() * 1000,
    account: options.account ?? ACCOUNT,
    baseUrl: options.baseUrl ?? BASE_URL,
  });
  const { account, inboxes, random, next, contacts, conversations, messages, touched } = state;
  const engine = createEngine(state, {
    lateJobs: options.lateJobs ?? 0.25,
    onWrite: options.onWrite ?? (() => {}),
  });
  const { actor, activity, addMessage, attachments, changeMessage, contactInboxOf, contactOf, conversationEvent } =
    engine;
  const { conversationOf, enqueue, find, messageEvent, newest, nextAgent, perform, reporting, save, tick } = engine;

  const editable = (id: number): Message => {
    const message = find(messages, id, "message");
    if (message.type === "activity") {
      throw new RangeError(`Message ${id} is Chatwoot's own note: nobody can change it.`);
    }
    return message;
  };

  const keepAnswer = (message: Message, rating: number, feedback: string | null) => {
    const known = state.csatResponses.get(message.id);
    const at = tick();
    const { assignee } = message.conversation;
    const response: CsatResponse = {
      id: known?.id ?? next.csatResponse++,
      message,
      rating,
      feedback,
      contactId: known?.contactId ?? message.conversation.contact.id,
      assignedAgentId: known === undefined ? assignee?.kind === "User" ? assignee.id : null : known.assignedAgentId,
      createdAt: known?.createdAt ?? at,
      updatedAt: at,
    };
    state.csatResponses.set(message.id, response);
    touched.csatResponses.add(message.id);
  };

  const verbs = {
    newContact: (at: Date, details: ContactDetails) =>
      perform(at, () => {
        const createdAt = tick();
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
          createdAt,
          updatedAt: createdAt,
          contactInboxes: [],
        };
        contacts.set(contact.id, contact);
        touched.contacts.add(contact.id);
        engine.contactEvent("contact_created", contact);
        return contact.id;
      }),

    newConversation: (
      at: Date,
      details: { contact: number; inbox: InboxKey; additionalAttributes?: Attributes; customAttributes?: Attributes },
    ) =>
      perform(at, () => {
        const contact = contactOf(details.contact);
        const inbox = inboxes[details.inbox];
        const contactInbox = contactInboxOf(contact, inbox);
        const createdAt = tick();
        const status: Status = contact.blocked ? "resolved" : inbox.bot !== null ? "pending" : "open";
        const assigned = status === "open" && inbox.autoAssignment ? nextAgent() : null;
        const conversation: Conversation = {
          id: next.conversation++,
          displayId: next.displayId++,
          uuid: random.uuid(),
          inbox,
          contact,
          contactInbox,
          status,
          assignee: inbox.bot !== null ? inbox.bot : assigned,
          team: null,
          labels: [],
          taggings: [],
          priority: null,
          snoozedUntil: null,
          waitingSince: createdAt,
          firstReplyCreatedAt: null,
          agentLastSeenAt: null,
          assigneeLastSeenAt: null,
          contactLastSeenAt: null,
          lastActivityAt: createdAt,
          createdAt,
          updatedAt: tick(),
          customAttributes: details.customAttributes ?? {},
          additionalAttributes: details.additionalAttributes ?? {},
          messages: [],
          activities: [],
          reportingEvents: [],
        };
        conversations.set(conversation.displayId, conversation);
        touched.conversations.add(conversation.displayId);
        engine.onWrite(conversation, createdAt);
        conversationEvent("conversation_created", conversation);
        return conversation.displayId;
      }),

    customerWrites: (at: Date, id: number, writing: Writing & { subject?: string }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const { contact, inbox } = conversation;
        const sourceId = writing.sourceId ?? messageSourceOf(inbox, random);
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
            ...writing.contentAttributes,
            ...(writing.inReplyTo === undefined ? {} : { in_reply_to: writing.inReplyTo }),
            ...(isMail ? mailAttributes(contact, { ...mail, text: writing.text ?? "", at: state.clock }) : {}),
          },
          attachments: attachments(writing.attach ?? []),
        });
        if (inbox.channel === "widget") conversation.contactLastSeenAt = message.createdAt;
        if (!contact.blocked) {
          if (conversation.status === "resolved") {
            save(conversation, { status: inbox.bot === null ? "open" : "pending" }, { by: contact.name });
          }
          if (conversation.status === "snoozed") {
            save(conversation, { status: "open", snoozedUntil: null }, { by: contact.name });
          }
        }
        messageEvent("message_created", message);
        if (conversation.waitingSince === null) save(conversation, { waitingSince: message.createdAt });
        engine.updateContact(contact, { lastActivityAt: message.createdAt });
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
          contentAttributes: {
            ...writing.contentAttributes,
            ...(writing.inReplyTo === undefined ? {} : { in_reply_to: writing.inReplyTo }),
          },
          attachments: attachments(writing.attach ?? []),
          sourceId: writing.sourceId ?? null,
        });
        messageEvent("message_created", message);
        const { firstReplyCreatedAt, waitingSince } = conversation;
        save(conversation, { waitingSince: null, firstReplyCreatedAt: firstReplyCreatedAt ?? message.createdAt });
        reporting.replied(message, { isFirst: firstReplyCreatedAt === null, waitedSince: waitingSince });
        // The channel gives the message its id only after it was sent, and that is an update of its own.
        const sourceId = writing.sourceId === undefined ? messageSourceOf(conversation.inbox, random) : null;
        if (sourceId !== null) changeMessage(message, { sourceId });
        return message.id;
      }),

    note: (at: Date, id: number, note: { agent: Agent; text: string; contentAttributes?: Attributes }) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        conversation.agentLastSeenAt = tick();
        const message = addMessage(conversation, {
          type: "outgoing",
          sender: note.agent,
          content: note.text,
          contentAttributes: note.contentAttributes ?? {},
          private: true,
        });
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
        }, { by: BOT.name });
        reporting.handedOff(conversation);
        return id;
      }),

    assign: (at: Date, id: number, agent: Agent | null) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const by = actor(conversation);
        const content = agent === null ? `Conversation unassigned by ${by}` : `Assigned to ${agent.name} by ${by}`;
        save(conversation, { assignee: agent }, {
          afterwards: () => activity(conversation, content, { activity: { type: "assignee_changed" } }),
        });
        return id;
      }),

    assignTeam: (at: Date, id: number, team: string | null) =>
      perform(at, () => {
        const found = [...state.teams.values()].find(({ name }) => name === team) ?? null;
        if (team !== null && found === null) throw new RangeError(`There is no team "${team}".`);
        const conversation = conversationOf(id);
        const by = actor(conversation);
        const content = found === null
          ? `Unassigned from ${conversation.team?.name ?? "its team"} by ${by}`
          : `Assigned to ${found.name} by ${by}`;
        save(conversation, { team: found }, {
          afterwards: () => activity(conversation, content, { activity: { type: "team_changed" } }),
        });
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

    /** The whole list takes the place of the one before. */
    setLabels: (at: Date, id: number, labels: readonly string[]) =>
      perform(at, () => {
        const conversation = conversationOf(id);
        const { labels: before } = conversation;
        const kept = before.filter((title) => labels.includes(title));
        const added = [...new Set(labels)].filter((title) => !before.includes(title));
        if (added.length > 0 || kept.length < before.length) save(conversation, { labels: [...kept, ...added] });
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

    markPending: (at: Date, id: number) =>
      perform(at, () => {
        save(conversationOf(id), { status: "pending", snoozedUntil: null });
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
        save(conversation, { status: "resolved", snoozedUntil: null }, {
          afterwards: () => conversation.waitingSince = null,
        });
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
        const answer = (feedbackMessage: string | null) => {
          keepAnswer(prompt, rating, feedbackMessage);
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
        };
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
        changeMessage(editable(message), { content: text });
        return message;
      }),

    deleteMessage: (at: Date, message: number) =>
      perform(at, () => {
        changeMessage(editable(message), {
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
          isGone: () => conversations.get(id) !== conversation,
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
        const contact = contactOf(details.contact);
        const inbox = inboxes[details.inbox];
        const contactInbox = contactInboxOf(contact, inbox);
        const current = [...conversations.values()].findLast((conversation) =>
          conversation.contactInbox === contactInbox
        );
        enqueue({
          name: "webwidget_triggered",
          conversation: current?.displayId ?? null,
          isGone: () => contacts.get(contact.id) !== contact,
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
        engine.updateContact(contactOf(id), changes);
        return id;
      }),

    createInbox: (at: Date, key: InboxKey) =>
      perform(at, () => {
        const inbox = inboxes[key];
        enqueue({
          name: "inbox_created",
          conversation: null,
          isGone: () => false,
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
        changed.push(engine.touch(inbox));
        touched.inboxes.add(inbox.id);
        enqueue({
          name: "inbox_updated",
          conversation: null,
          isGone: () => false,
          build: () => ({ ...inboxPayload(inbox, account), event: "inbox_updated", changed_attributes: changed }),
        });
        return inbox.id;
      }),
  };

  return {
    account,
    inboxes,
    accessToken: state.accessToken,
    get agents(): readonly Agent[] {
      return [...state.agents.values()];
    },
    get teams(): readonly Team[] {
      return [...state.teams.values()];
    },
    ...verbs,
    ...silentVerbs(state, engine),
    conversation: (id: number) => find(conversations, id, "conversation"),
    has: (id: number): boolean => conversations.has(id),
    /** The number that the next conversation will have. */
    nextNumber: (): number => next.displayId,
    conversations: (): readonly Conversation[] => [...conversations.values()],
    contacts: (): readonly Contact[] => [...contacts.values()],
    finalState: (door: Door = "database") => finalState(state, door),
    /** What is to be put away; for nobody but the memory. */
    state,
  };
}
