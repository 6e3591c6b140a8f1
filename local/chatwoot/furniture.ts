// The shop every local conversation is with: its inboxes, people and teams. Fixed, so that ids can be quoted.
import type { Agent, Attributes, Bot, Channel, Inbox, Team } from "./records.ts";
import type { Random } from "./random.ts";
import type { Instant } from "./serialise.ts";

export const AGENTS: readonly Agent[] = [
  { kind: "User", id: 7, name: "Ravi Shah", availableName: "Ravi", email: "ravi@acme-outdoor.example" },
  { kind: "User", id: 8, name: "Mira Lindqvist", availableName: "Mira", email: "mira@acme-outdoor.example" },
  { kind: "User", id: 9, name: "Tomás Ferreira", availableName: "Tomás", email: "tomas@acme-outdoor.example" },
  { kind: "User", id: 10, name: "Aisha Bello", availableName: "Aisha", email: "aisha@acme-outdoor.example" },
];

// The same id as an agent's: people and bots are counted separately, and a receiver must not mix them up.
export const BOT: Bot = { kind: "AgentBot", id: 7, name: "Trail Guide" };

export const TEAMS: readonly Team[] = ["orders", "products", "accounts", "billing", "escalations"]
  .map((name, index) => ({ id: index + 1, name }));

/** Short names for the inboxes, used by scenarios and tests. */
export const INBOX_KEYS = ["website", "help_centre", "email", "sms", "whatsapp", "api"] as const;
export type InboxKey = (typeof INBOX_KEYS)[number];

const INBOXES: Record<InboxKey, { name: string; channel: Channel; hasBot: boolean; autoAssignment: boolean }> = {
  website: { name: "Website", channel: "widget", hasBot: false, autoAssignment: false },
  help_centre: { name: "Help centre", channel: "widget", hasBot: true, autoAssignment: false },
  email: { name: "Support mail", channel: "email", hasBot: false, autoAssignment: false },
  sms: { name: "Text messages", channel: "sms", hasBot: false, autoAssignment: true },
  whatsapp: { name: "WhatsApp", channel: "whatsapp", hasBot: false, autoAssignment: false },
  api: { name: "Point of sale", channel: "api", hasBot: false, autoAssignment: false },
};

/** The inboxes as they stand when the installation begins. */
export function createInboxes(random: Random, { accountId, at }: { accountId: number; at: Instant }) {
  const inbox = (key: InboxKey): Inbox => {
    const { name, channel, hasBot, autoAssignment } = INBOXES[key];
    const id = INBOX_KEYS.indexOf(key) + 3;
    return {
      id,
      name,
      channel,
      bot: hasBot ? BOT : null,
      autoAssignment,
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
  } satisfies Record<InboxKey, Inbox>;
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
