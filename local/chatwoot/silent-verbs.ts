// What people do in Chatwoot that no webhook tells of (facts/chatwoot.md §1.7). Only who reads the rows finds out.
import type { Engine, Outcome } from "./engine.ts";
import type { Agent, Contact, Conversation } from "./records.ts";
import type { State } from "./state.ts";

export function silentVerbs(state: State, engine: Engine) {
  const { conversations, contacts, messages, touched } = state;
  const { contactOf, conversationOf, find, perform, tick, touch, updateContact } = engine;

  const drop = (conversation: Conversation) => {
    for (const { id } of [...conversation.messages, ...conversation.activities]) {
      messages.delete(id);
      touched.messages.add(id);
      if (state.csatResponses.delete(id)) touched.csatResponses.add(id);
    }
    for (const { id } of conversation.reportingEvents) {
      state.reportingEvents.delete(id);
      touched.reportingEvents.add(id);
    }
    for (const { tag } of conversation.taggings) {
      tag.uses--;
      touched.tags.add(tag.id);
    }
    conversations.delete(conversation.displayId);
    touched.conversations.add(conversation.displayId);
  };
  const dropContact = (contact: Contact) => {
    contacts.delete(contact.id);
    touched.contacts.add(contact.id);
  };
  // A bulk statement in the table: no callbacks, and so neither a webhook nor a new version.
  const changeQuietly = (changes: Partial<Conversation>, isMeant: (conversation: Conversation) => boolean) => {
    for (const conversation of conversations.values()) {
      if (!isMeant(conversation)) continue;
      Object.assign(conversation, changes);
      engine.onWrite(conversation, state.clock);
      touched.conversations.add(conversation.displayId);
    }
  };

  return {
    agentOpens: (at: Date, id: number, { agent }: { agent?: Agent } = {}): Outcome =>
      perform(at, () => {
        const conversation = conversationOf(id);
        conversation.agentLastSeenAt = tick();
        if (conversation.assignee?.kind === "User" && conversation.assignee.id === agent?.id) {
          conversation.assigneeLastSeenAt = conversation.agentLastSeenAt;
        }
        return id;
      }),

    removeAgent: (at: Date, id: number): Outcome =>
      perform(at, () => {
        const agent = find(state.agents, id, "agent");
        state.agents.delete(id);
        state.formerAgents.set(id, agent);
        touched.agents.add(id);
        for (const inbox of Object.values(state.inboxes)) touched.inboxes.add(inbox.id);
        for (const team of state.teams.keys()) touched.teams.add(team);
        changeQuietly({ assignee: null }, ({ assignee }) => assignee?.kind === "User" && assignee.id === id);
        return id;
      }),

    deleteTeam: (at: Date, name: string): Outcome =>
      perform(at, () => {
        const team = [...state.teams.values()].find((known) => known.name === name);
        if (team === undefined) throw new RangeError(`There is no team "${name}".`);
        state.teams.delete(team.id);
        touched.teams.add(team.id);
        changeQuietly({ team: null }, (conversation) => conversation.team?.id === team.id);
        return team.id;
      }),

    deleteLabel: (at: Date, title: string): Outcome =>
      perform(at, () => {
        const label = [...state.labels.values()].find((known) => known.title === title);
        if (label === undefined) throw new RangeError(`There is no label "${title}".`);
        state.labels.delete(label.id);
        touched.labels.add(label.id);
        for (const conversation of conversations.values()) {
          if (!conversation.labels.includes(title)) continue;
          conversation.labels = conversation.labels.filter((other) => other !== title);
          engine.retag(conversation);
          engine.onWrite(conversation, state.clock);
          touched.conversations.add(conversation.displayId);
        }
        return label.id;
      }),

    deleteConversation: (at: Date, id: number): Outcome =>
      perform(at, () => {
        drop(conversationOf(id));
        return id;
      }),

    /** The contact's conversations go with it. */
    deleteContact: (at: Date, id: number): Outcome =>
      perform(at, () => {
        const contact = contactOf(id);
        for (const conversation of conversations.values()) if (conversation.contact === contact) drop(conversation);
        dropContact(contact);
        return id;
      }),

    /** Everything of the other contact becomes the first one's, who also learns what it did not know of itself. */
    mergeContacts: (at: Date, { into, from }: { into: number; from: number }): Outcome =>
      perform(at, () => {
        if (into === from) throw new RangeError(`Contact ${into} cannot be merged with itself.`);
        const [survivor, other] = [contactOf(into), contactOf(from)];
        for (const conversation of conversations.values()) {
          if (conversation.contact !== other) continue;
          conversation.contact = survivor;
          touch(conversation);
          touched.conversations.add(conversation.displayId);
        }
        for (const message of messages.values()) {
          if (message.sender !== other) continue;
          message.sender = survivor;
          message.updatedAt = tick();
          touched.messages.add(message.id);
        }
        for (const contactInbox of other.contactInboxes) contactInbox.contact = survivor;
        survivor.contactInboxes.push(...other.contactInboxes);
        other.contactInboxes = [];
        dropContact(other);
        // Replaced only where something is new, since values that are not the same object count as a change.
        const learns = (own: object, others: object) => Object.keys(others).some((key) => !(key in own));
        updateContact(survivor, {
          name: survivor.name || other.name,
          email: survivor.email ?? other.email,
          phoneNumber: survivor.phoneNumber ?? other.phoneNumber,
          identifier: survivor.identifier ?? other.identifier,
          ...(learns(survivor.customAttributes, other.customAttributes)
            ? { customAttributes: { ...other.customAttributes, ...survivor.customAttributes } }
            : {}),
          ...(learns(survivor.additionalAttributes, other.additionalAttributes)
            ? { additionalAttributes: { ...other.additionalAttributes, ...survivor.additionalAttributes } }
            : {}),
        });
        return into;
      }),
  };
}
