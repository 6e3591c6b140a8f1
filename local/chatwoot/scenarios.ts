// Customer scenarios as data: read from tests/scenarios, checked whole, so that a slip names its file and its place.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { UserError } from "../settings.ts";
import { AGENTS, TEAMS } from "./furniture.ts";
import { fileKind, PRIORITIES } from "./records.ts";

export const CATEGORIES = ["order_status", "product_questions", "account_issues", "billing", "escalations"] as const;
export const URGENCIES = PRIORITIES;
export const SCENARIO_CHANNELS = ["widget", "email", "sms", "whatsapp"] as const;

const agentNames = AGENTS.map(({ availableName }) => availableName);
const teamNames = TEAMS.map(({ name }) => name);

const Agent = z.string().refine((name) => agentNames.includes(name), `must be one of ${agentNames.join(", ")}`);
const Team = z.string().refine((name) => teamNames.includes(name), `must be one of ${teamNames.join(", ")}`);
const Label = z.string().regex(/^[a-z0-9][a-z0-9_-]*$/, "must be lower case, as Chatwoot stores labels");
const File = z.string().max(100).refine((name) => fileKind(name) !== null, "must end in jpg, png, ogg, mp4 or pdf");
const Text = z.string().min(1).max(20_000);

const step = <Verb extends string, Shape extends z.ZodRawShape>(verb: Verb, shape: Shape) =>
  z.strictObject({ at: z.number().min(0).max(720), do: z.literal(verb), ...shape });

const writing = { text: Text.optional(), attach: z.array(File).min(1).max(15).optional() };
const saysSomething = (written: { text?: string; attach?: string[] }) =>
  written.text !== undefined || written.attach !== undefined;
const NOTHING_SAID = "needs a text, attachments or both";

const Step = z.discriminatedUnion("do", [
  step("open_widget", {}),
  step("customer_writes", { ...writing, subject: z.string().min(1).max(200).optional() }).refine(
    saysSomething,
    NOTHING_SAID,
  ),
  step("customer_types", {}),
  step("agent_writes_reply", { agent: Agent, private: z.boolean().optional() }),
  step("agent_replies", { agent: Agent, ...writing }).refine(saysSomething, NOTHING_SAID),
  step("note", { agent: Agent, text: Text }),
  step("bot_replies", { text: Text, items: z.array(z.string().min(1)).min(1).max(10).optional() }),
  step("hand_off", {}),
  step("assign", { agent: Agent.nullable() }),
  step("assign_team", { team: Team.nullable() }),
  step("add_label", { label: Label }),
  step("remove_label", { label: Label }),
  step("set_priority", { priority: z.enum(PRIORITIES).nullable() }),
  step("snooze", { minutes: z.number().int().min(1).max(7 * 24 * 60) }),
  step("snooze_ends", {}),
  step("reopen", {}),
  step("resolve", { survey: z.boolean().optional() }),
  step("rate", { rating: z.number().int().min(1).max(5), feedback: Text.optional() }),
  step("delivery", {
    status: z.enum(["delivered", "read", "failed"]),
    reason: z.string().min(1).max(500).optional(),
  }),
  step("edit_reply", { text: Text }),
  step("delete_message", { of: z.enum(["customer", "agent"]) }),
  step("update_contact", {
    name: z.string().min(1).max(200).optional(),
    email: z.email().optional(),
    phone_number: z.string().regex(/^\+[1-9]\d{6,14}$/).optional(),
    custom_attributes: z.record(z.string(), z.unknown()).optional(),
  }),
  step("set_custom_attributes", { custom_attributes: z.record(z.string(), z.unknown()) }),
]);
export type Step = z.infer<typeof Step>;

const Scenario = z.strictObject({
  id: z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "must be words in lower case, joined by hyphens"),
  title: z.string().min(5).max(120),
  category: z.enum(CATEGORIES),
  urgency: z.enum(URGENCIES),
  handling: z.string().min(20).max(400),
  language: z.enum(["en", "de", "fr", "es", "ar"]),
  channel: z.enum(SCENARIO_CHANNELS),
  /** The widget of the help centre, where a bot answers first. */
  bot: z.boolean().default(false),
  tone: z.string().min(3).max(40),
  contact: z.strictObject({
    name: z.string().min(1).max(200),
    email: z.email().optional(),
    phone_number: z.string().regex(/^\+[1-9]\d{6,14}$/, "must look like +493012345678").optional(),
    identifier: z.string().min(1).optional(),
    custom_attributes: z.record(z.string(), z.unknown()).optional(),
    additional_attributes: z.record(z.string(), z.unknown()).optional(),
  }),
  /** Whether the shop has an answer ready: without one a good agent finds out first, and no draft should pretend. */
  known_answer: z.boolean(),
  /** The key of the answer in supabase/seeds/gold_replies.sql: what a good draft is made of. */
  gold_reply: z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "must be a key of supabase/seeds/gold_replies.sql")
    .nullable(),
  labels: z.array(Label).min(1),
  team: Team,
  /** The local time it begins at; without one, chance decides. */
  starts: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "must be a time such as 08:15").optional(),
  steps: z.array(Step).min(2),
}).superRefine((scenario, context) => {
  const complain = (message: string, path: (string | number)[] = []) =>
    context.addIssue({ code: "custom", message, path });
  scenario.steps.forEach((current, index) => {
    if (index > 0 && current.at < scenario.steps[index - 1].at) {
      complain("must not come before the step above it", ["steps", index, "at"]);
    }
  });
  if (!scenario.steps.some(({ do: verb }) => verb === "customer_writes")) {
    complain("must hold at least one customer_writes", ["steps"]);
  }
  if (scenario.known_answer !== (scenario.gold_reply !== null)) {
    complain("must name the gold reply where known_answer is true, and be null where it is false", ["gold_reply"]);
  }
  const opening = scenario.steps.find(({ do: verb }) => verb !== "open_widget");
  if (opening?.do !== "customer_writes") complain("must begin with the customer writing", ["steps"]);
  if (scenario.channel === "email") {
    if (scenario.contact.email === undefined) complain("needs an e-mail address on this channel", ["contact", "email"]);
    if (opening?.do === "customer_writes" && opening.subject === undefined) {
      complain("must begin with a mail that has a subject", ["steps", 0, "subject"]);
    }
  }
  if (["sms", "whatsapp"].includes(scenario.channel) && scenario.contact.phone_number === undefined) {
    complain("needs a phone number on this channel", ["contact", "phone_number"]);
  }
  if (scenario.bot && scenario.channel !== "widget") complain("is only possible on the widget", ["bot"]);
});
export type Scenario = z.infer<typeof Scenario>;

export const scenarioFolder = fileURLToPath(new URL("../../tests/scenarios", import.meta.url));

/** What happens in the last hour before the demo is shown; minute 60 of these is now. */
export const lastHourFolder = join(scenarioFolder, "last_hour");

/** Reads every scenario of a folder; throws UserError with each fault, its file and its place. */
export async function loadScenarios(folder: string = scenarioFolder): Promise<Scenario[]> {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
  const faults: string[] = [];
  const scenarios: Scenario[] = [];
  const homes = new Map<string, string>();
  for (const file of files) {
    const parsed = readList(await readFile(join(folder, file), "utf8"));
    if (typeof parsed === "string") {
      faults.push(`${file}: ${parsed}`);
      continue;
    }
    for (const [index, item] of parsed.entries()) {
      const result = Scenario.safeParse(item);
      if (!result.success) {
        const name = z.object({ id: z.string() }).safeParse(item).data?.id ?? `number ${index + 1}`;
        faults.push(
          ...result.error.issues.map((issue) => `${file}, ${name}: ${issue.path.join(".")} ${issue.message}`),
        );
        continue;
      }
      const home = homes.get(result.data.id);
      if (home !== undefined) faults.push(`${file}, ${result.data.id}: the id is already taken in ${home}`);
      homes.set(result.data.id, file);
      scenarios.push(result.data);
    }
  }
  if (faults.length > 0) throw new UserError(`The scenarios in ${folder} have faults to mend:\n${faults.join("\n")}`);
  if (scenarios.length === 0) throw new UserError(`There is no scenario in ${folder}: add at least one .json file.`);
  return scenarios;
}

function readList(text: string): unknown[] | string {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : "must be a list of scenarios";
  } catch (error) {
    return `is not JSON (${error instanceof Error ? error.message : String(error)})`;
  }
}
