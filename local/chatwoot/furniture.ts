// The shop every local conversation is with: its inboxes, people and teams. Fixed, so that ids can be quoted.
import type { Agent, Attributes, Bot, CannedResponse, Channel, Inbox, Team } from "./records.ts";
import { createRandom, type Random } from "./random.ts";
import type { Instant } from "./serialise.ts";

export const AGENTS: readonly Agent[] = [
  { kind: "User", id: 7, name: "Ravi Shah", availableName: "Ravi", email: "ravi@acme-outdoor.example" },
  { kind: "User", id: 8, name: "Mira Lindqvist", availableName: "Mira", email: "mira@acme-outdoor.example" },
  { kind: "User", id: 9, name: "Tomás Ferreira", availableName: "Tomás", email: "tomas@acme-outdoor.example" },
  { kind: "User", id: 10, name: "Aisha Bello", availableName: "Aisha", email: "aisha@acme-outdoor.example" },
];

/** Answers nobody, but holds the token by which everything can be read. */
export const ADMINISTRATOR: Agent = {
  kind: "User",
  id: 1,
  name: "Noor Haddad",
  availableName: "Noor",
  email: "noor@acme-outdoor.example",
};

// The same id as an agent's: people and bots are counted separately, and a receiver must not mix them up.
export const BOT: Bot = { kind: "AgentBot", id: 7, name: "Trail Guide" };

export const TEAMS: readonly Team[] = ["orders", "products", "accounts", "billing", "escalations"]
  .map((name, index) => ({ id: index + 1, name }));

export const CANNED_RESPONSES: readonly CannedResponse[] = [
  { id: 1, shortCode: "greeting", content: "Hello {{contact.name}}, thank you for writing to Acme Outdoor." },
  { id: 2, shortCode: "refund", content: "I have refunded the amount. It takes three to five days to arrive." },
  { id: 3, shortCode: "label", content: "Could you send a picture of the label?" },
];

/** Where the shop is; its working hours are Monday to Friday, from opening to closing hour. */
export const TIME_ZONE = "Europe/Berlin";
export const OPENING_HOUR = 9;
export const CLOSING_HOUR = 17;

/** Short names for the inboxes, used by scenarios and tests. */
export const INBOX_KEYS = ["website", "help_centre", "email", "sms", "whatsapp", "api"] as const;
export type InboxKey = (typeof INBOX_KEYS)[number];

type Features = { hasBot?: boolean; autoAssignment?: boolean; workingHours?: boolean };
const INBOXES: Record<InboxKey, { name: string; channel: Channel } & Features> = {
  website: { name: "Website", channel: "widget" },
  help_centre: { name: "Help centre", channel: "widget", hasBot: true },
  email: { name: "Support mail", channel: "email" },
  sms: { name: "Text messages", channel: "sms", autoAssignment: true },
  whatsapp: { name: "WhatsApp", channel: "whatsapp" },
  api: { name: "Point of sale", channel: "api", workingHours: false },
};

export type Inboxes = Record<InboxKey, Inbox>;

/** The inboxes as they stand when the installation begins. */
export function createInboxes({ accountId, at }: { accountId: number; at: Instant }): Inboxes {
  // Credentials do not come from the chance of the day, so that they are the same after a restart.
  const random = createRandom(accountId);
  const inbox = (key: InboxKey): Inbox => {
    const { name, channel, hasBot = false, autoAssignment = false, workingHours = true } = INBOXES[key];
    const id = INBOX_KEYS.indexOf(key) + 3;
    return {
      id,
      name,
      channel,
      bot: hasBot ? BOT : null,
      autoAssignment,
      workingHoursEnabled: workingHours,
      csatSurveyEnabled: false,
      greetingMessage: null,
      channelRow: { id, account_id: accountId, ...channelColumns(channel, random) },
      createdAt: at,
      updatedAt: at,
    };
  };
  return {
    website: inbox("website"),
    help_centre: inbox("help_centre"),
    email: inbox("email"),
    sms: inbox("sms"),
    whatsapp: inbox("whatsapp"),
    api: inbox("api"),
  };
}

// Chatwoot sends these rows whole. The credentials are made up, but present: a receiver has to strip them.
function channelColumns(channel: Channel, random: Random): Attributes {
  switch (channel) {
    case "widget":
      return {
        website_url: "https://acme-outdoor.example",
        website_token: random.token(24),
        widget_color: "#1f93ff",
        hmac_token: random.token(24),
      };
    case "email":
      return {
        email: "help@acme-outdoor.example",
        imap_enabled: true,
        imap_address: "imap.acme-outdoor.example",
        imap_password: random.token(24),
        smtp_enabled: true,
        smtp_password: random.token(24),
      };
    case "sms":
      return {
        phone_number: "+493055500100",
        medium: "sms",
        account_sid: "ACacmeoutdoor",
        auth_token: random.token(32),
      };
    case "whatsapp":
      return {
        phone_number: "+493055500200",
        provider: "whatsapp_cloud",
        provider_config: { api_key: random.token(48), webhook_verify_token: random.token(24) },
      };
    case "api":
      return {
        webhook_url: "https://till.acme-outdoor.example/chat",
        identifier: random.token(24),
        hmac_token: random.token(24),
        secret: random.token(24),
      };
  }
}
