// What the REST API does to conversations. Each is a verb of the installation, so that its webhooks follow.
import type { Installation } from "./installation.ts";
import { type Agent, type Attributes, PRIORITIES } from "./records.ts";
import {
  type Answer,
  BROKEN,
  type Call,
  FORBIDDEN,
  found,
  invalid,
  isKeepable,
  NOT_FOUND,
  ok,
  refuse,
  UNKEEPABLE_MESSAGE,
} from "./rest-call.ts";

const CONTENT_LIMIT = 150_000;
const LABEL_LIMIT = 255;
// In bytes: more does not fit into the index on messages.source_id.
const SOURCE_ID_LIMIT = 2_600;
// The last second that has four digits for its year.
const LATEST_SECOND = 253_402_300_799;

function personOf(installation: Installation, id: number): Agent | null {
  const { administrator } = installation.state;
  return id === administrator.id ? administrator : installation.agents.find((agent) => agent.id === id) ?? null;
}

/** An object, or the JSON of one; null where it cannot be read or kept. */
function attributesOf(given: unknown): Attributes | null {
  if (typeof given !== "string") return typeof given === "object" && given !== null ? { ...given } : {};
  try {
    const value: unknown = JSON.parse(given);
    return typeof value === "object" && value !== null && isKeepable(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

/** What epoch seconds say; undefined where they say nothing that a column could hold. */
function instantOf(seconds: unknown): Date | undefined {
  const number = /^\d+$/.test(String(seconds)) ? Number(seconds) : Infinity;
  return number > LATEST_SECOND ? undefined : new Date(number * 1000);
}

export async function createMessage(call: Call): Promise<Answer> {
  const { input, installation, ids: [id], perform, now, caller, reader } = call;
  const type = input.message_type ?? "outgoing";
  if (type !== "outgoing" && type !== "incoming") return refuse(422, `'${type}' is not a valid message_type`);
  if (type === "incoming" && installation.conversation(id).inbox.channel !== "api") {
    return refuse(422, "Incoming messages are only allowed in Api inboxes");
  }
  const text = input.content === undefined || input.content === null ? null : String(input.content);
  if (text !== null && text.length > CONTENT_LIMIT) {
    return refuse(422, `Validation failed: Content is too long (maximum is ${CONTENT_LIMIT} characters)`);
  }
  const contentAttributes = attributesOf(input.content_attributes);
  if (contentAttributes === null) return UNKEEPABLE_MESSAGE;
  if (Buffer.byteLength(String(input.source_id ?? "")) > SOURCE_ID_LIMIT) {
    return refuse(422, `Validation failed: Source is too long (maximum is ${SOURCE_ID_LIMIT} bytes)`);
  }
  const sourceId = typeof input.source_id === "string" ? { sourceId: input.source_id } : {};
  const agent = personOf(installation, caller.id);
  const outcome = await perform(now, (shop, at) => {
    if (type === "incoming") return shop.customerWrites(at, id, { text, contentAttributes, ...sourceId });
    if (caller.kind === "AgentBot" || agent === null) return shop.botReplies(at, id, { text: text ?? "" });
    if (input.private === true || input.private === "true") {
      return shop.note(at, id, { agent, text: text ?? "", contentAttributes });
    }
    return shop.agentReplies(at, id, { agent, text, contentAttributes, ...sourceId });
  });
  const message = await reader.message(id, outcome.id);
  // Given back, and never stored: it identifies nothing.
  const echo = input.echo_id === undefined ? {} : { echo_id: input.echo_id };
  return found(message === null ? null : { ...message, ...echo });
}

export async function deleteMessage({ installation, ids: [id, message], perform, now, reader }: Call): Promise<Answer> {
  if (await reader.message(id, message) === null) return NOT_FOUND;
  if (installation.state.messages.get(message)?.type === "activity") return FORBIDDEN;
  await perform(now, (shop, at) => shop.deleteMessage(at, message));
  return found(await reader.message(id, message));
}

export async function deleteConversation({ ids: [id], perform, now }: Call): Promise<Answer> {
  await perform(now, (shop, at) => shop.deleteConversation(at, id));
  return ok();
}

export async function setLabels({ input, installation, ids: [id], perform, now }: Call): Promise<Answer> {
  const labels = Array.isArray(input.labels) ? input.labels.map(String) : [];
  if (labels.some((label) => label.length > LABEL_LIMIT)) {
    return invalid(`Name is too long (maximum is ${LABEL_LIMIT} characters)`, "name");
  }
  await perform(now, (shop, at) => shop.setLabels(at, id, labels));
  return ok({ payload: installation.conversation(id).labels });
}

// An id nobody has unassigns, with 200 and null. With assignee_id in the request, team_id is not looked at.
export async function assign({ input, installation, ids: [id], perform, now, reader }: Call): Promise<Answer> {
  if (input.assignee_type === "AgentBot") return refuse(501, "This Chatwoot cannot assign a bot: assign a person.");
  if ("assignee_id" in input || !("team_id" in input)) {
    const agent = personOf(installation, Number(input.assignee_id));
    await perform(now, (shop, at) => shop.assign(at, id, agent));
    return ok(agent === null ? null : await reader.agent(agent.id));
  }
  const team = installation.teams.find((known) => known.id === Number(input.team_id)) ?? null;
  await perform(now, (shop, at) => shop.assignTeam(at, id, team?.name ?? null));
  return ok(team === null ? null : await reader.teamRow(team.id));
}

export async function toggleStatus(
  { input, installation, ids: [id], perform, now, caller, reader }: Call,
): Promise<Answer> {
  const current = installation.conversation(id).status;
  const status = input.status === undefined ? current === "open" ? "resolved" : "open" : String(input.status);
  const isHandOff = caller.kind === "AgentBot" && current === "pending" && status === "open";
  const until = input.snoozed_until === undefined || input.snoozed_until === null
    ? null
    : instantOf(input.snoozed_until);
  if (until === undefined) return BROKEN;
  switch (status) {
    case "open":
      await perform(now, (shop, at) => isHandOff ? shop.handOff(at, id) : shop.reopen(at, id));
      // Whoever opens it without being an administrator has it.
      if (!caller.isAdministrator) {
        await perform(now, (shop, at) => shop.assign(at, id, personOf(installation, caller.id)));
      }
      break;
    case "resolved":
      await perform(now, (shop, at) => shop.resolve(at, id));
      break;
    case "pending":
      await perform(now, (shop, at) => shop.markPending(at, id));
      break;
    case "snoozed":
      await perform(now, (shop, at) => shop.snooze(at, id, until));
      break;
    default:
      return BROKEN;
  }
  const { status: current_status = status, snoozed_until = null } = await reader.conversation(id) ?? {};
  return ok({ payload: { success: isHandOff ? null : true, conversation_id: id, current_status, snoozed_until } });
}

export async function togglePriority({ input, ids: [id], perform, now }: Call): Promise<Answer> {
  const priority = PRIORITIES.find((name) => name === input.priority) ?? null;
  if (priority === null && input.priority !== null && input.priority !== undefined) return BROKEN;
  await perform(now, (shop, at) => shop.setPriority(at, id, priority));
  return ok();
}

export async function setCustomAttributes({ input, ids: [id], perform, now }: Call): Promise<Answer> {
  const attributes = attributesOf(input.custom_attributes);
  if (attributes === null) return BROKEN;
  await perform(now, (shop, at) => shop.setCustomAttributes(at, id, attributes));
  return ok({ custom_attributes: attributes });
}

export async function updateLastSeen({ installation, ids: [id], perform, now, caller, reader }: Call): Promise<Answer> {
  const agent = personOf(installation, caller.id) ?? undefined;
  await perform(now, (shop, at) => shop.agentOpens(at, id, { agent }));
  return found(await reader.conversation(id));
}
