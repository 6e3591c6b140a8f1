// The rows of Chatwoot's own statistics (facts/chatwoot.md §6.1), written as things happen.
import { businessSeconds } from "./local-time.ts";
import type { Agent, Bot, Conversation, Message, ReportingEvent } from "./records.ts";
import { epochSeconds, type Instant } from "./serialise.ts";
import type { State } from "./state.ts";

const userId = (person: Agent | Bot | null): number | null => person?.kind === "User" ? person.id : null;

export type Reporting = ReturnType<typeof createReporting>;

export function createReporting(state: State, tick: () => Instant) {
  type Details = { from: Instant; to: Instant; userId?: number | null; value?: number };
  const write = (name: string, conversation: Conversation, { from, to, ...details }: Details): void => {
    const value = details.value ?? epochSeconds(to) - epochSeconds(from);
    const event: ReportingEvent = {
      id: state.next.reportingEvent++,
      name,
      conversation,
      inboxId: conversation.inbox.id,
      userId: details.userId === undefined ? userId(conversation.assignee) : details.userId,
      value,
      valueInBusinessHours: conversation.inbox.workingHoursEnabled && value > 0 ? businessSeconds(from, to) : 0,
      startedAt: from,
      endedAt: to,
      // A job writes it, a moment later.
      createdAt: tick(),
    };
    conversation.reportingEvents.push(event);
    state.reportingEvents.set(event.id, event);
    state.touched.reportingEvents.add(event.id);
  };
  const last = ({ reportingEvents }: Conversation, ...names: string[]) =>
    reportingEvents.findLast(({ name }) => names.includes(name));

  return {
    /** A person replied; `waitedSince` is when the customer began to wait, null when nobody waited. */
    replied: (message: Message, { isFirst, waitedSince }: { isFirst: boolean; waitedSince: Instant | null }) => {
      const { conversation, createdAt, sender } = message;
      if (isFirst) {
        const start = last(conversation, "conversation_bot_handoff", "conversation_opened") ??
          last(conversation, "conversation_bot_resolved");
        const from = start?.endedAt ?? conversation.createdAt;
        write("first_response", conversation, { from, to: createdAt, userId: sender?.id ?? null });
      } else if (waitedSince !== null) {
        write("reply_time", conversation, { from: waitedSince, to: createdAt });
      }
    },

    opened: (conversation: Conversation) => {
      const resolved = last(conversation, "conversation_resolved");
      const to = tick();
      write("conversation_opened", conversation, {
        from: resolved?.endedAt ?? conversation.createdAt,
        to,
        ...(resolved === undefined ? { value: 0 } : {}),
      });
    },

    resolved: (conversation: Conversation) => {
      const span = { from: conversation.createdAt, to: tick() };
      write("conversation_resolved", conversation, span);
      const byPerson = ({ type, sender }: Message) => type === "outgoing" && sender?.kind === "User";
      if (conversation.inbox.bot !== null && !conversation.messages.some(byPerson)) {
        write("conversation_bot_resolved", conversation, span);
      }
    },

    /** Only the first of a conversation counts. */
    handedOff: (conversation: Conversation) => {
      if (last(conversation, "conversation_bot_handoff") !== undefined) return;
      write("conversation_bot_handoff", conversation, { from: conversation.createdAt, to: tick() });
    },
  };
}
