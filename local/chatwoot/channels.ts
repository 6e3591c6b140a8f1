// What differs from channel to channel: how it names a contact, and what a mail brings along.
import type { Attributes, Contact, Inbox } from "./records.ts";
import type { Random } from "./random.ts";
import { type Instant, isoTime } from "./serialise.ts";

/** The channel's own name for a contact; null where Chatwoot makes one up. */
export function sourceOf(contact: Contact, inbox: Inbox): string | null {
  switch (inbox.channel) {
    case "email":
      return contact.email;
    case "sms":
      return contact.phoneNumber;
    case "whatsapp":
      return contact.phoneNumber?.slice(1) ?? null;
    default:
      return null;
  }
}

/** The channel's own name for a message; null where it gives none. */
export function messageSourceOf(inbox: Inbox, random: Random): string | null {
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
}

/** The parsed mail that comes with an incoming message. */
export function mailAttributes(
  contact: Contact,
  mail: { subject: string; text: string; sourceId: string | null; at: Instant },
): Attributes {
  const html = `<div><p>${
    mail.text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("\n", "<br>")
  }</p></div>`;
  return {
    cc_email: null,
    bcc_email: null,
    email: {
      subject: mail.subject,
      from: [contact.email],
      to: ["help@acme-outdoor.example"],
      cc: null,
      bcc: null,
      date: isoTime(mail.at),
      message_id: mail.sourceId,
      in_reply_to: null,
      html_content: { full: html, reply: html, quoted: "" },
      text_content: { full: mail.text, reply: mail.text, quoted: mail.text },
      auto_reply: false,
    },
  };
}
