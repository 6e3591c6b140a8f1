// One webhook of every event type, as Chatwoot's version 4.16 writes it, from the same code that plays the local Chatwoot.
import { createInstallation } from "../../local/chatwoot/installation.ts";
import { EVENTS } from "../../local/chatwoot/rest-webhooks.ts";

export { EVENTS };

export interface Sample {
  event: string;
  body: string;
}

// Far above what an account has, so that a sample never takes the place of something real.
const HIGH = 900_000_000;

/** A sample of each event, in the order in which Chatwoot lists them. The number of the conversation is drawn from the clock. */
export function samples({ accountId, now }: { accountId: string; now: Date }): Sample[] {
  const start = new Date(now.getTime() - 600_000);
  const shop = createInstallation({
    seed: 1,
    start,
    account: { id: Number(accountId), name: "Sample account" },
    lateJobs: 0,
  });
  const { next, inboxes } = shop.state;
  const offset = HIGH + Math.floor(now.getTime() / 1000) % 90_000_000;
  for (const key of Object.keys(next) as (keyof typeof next)[]) next[key] += offset;
  for (const inbox of Object.values(inboxes)) inbox.id += HIGH;
  let minute = 0;
  const at = () => new Date(start.getTime() + ++minute * 30_000);
  const found = new Map<string, string>();
  const keep = <Done extends { id: number; events: { name: string; body: string }[] }>(
    { id, events }: Done,
  ): number => {
    for (const { name, body } of events) if (!found.has(name)) found.set(name, body);
    return id;
  };
  keep(shop.createInbox(at(), "website"));
  const contact = keep(shop.newContact(at(), { name: "Sample Customer", email: "sample@example.com" }));
  keep(shop.widgetOpened(at(), { contact, inbox: "website" }));
  const conversation = keep(shop.newConversation(at(), { contact, inbox: "website" }));
  keep(shop.typing(at(), conversation, { who: "customer", on: true }));
  const message = keep(shop.customerWrites(at(), conversation, { text: "Is 2 < 3? – ça marche 👍" }));
  keep(shop.typing(at(), conversation, { who: "customer", on: false }));
  keep(shop.editMessage(at(), message, "Is 2 < 3 & 4 > 3?"));
  keep(shop.updateContact(at(), contact, { name: "Sample Customer the Second" }));
  keep(shop.setPriority(at(), conversation, "high"));
  keep(shop.resolve(at(), conversation));
  keep(shop.updateInbox(at(), "website", { csatSurveyEnabled: true }));
  return EVENTS.flatMap((event) => {
    const body = found.get(event);
    return body === undefined ? [] : [{ event, body }];
  });
}
