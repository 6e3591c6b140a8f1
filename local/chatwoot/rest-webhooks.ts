// Account webhooks through REST. The secret is Chatwoot's own to make, so one that is sent along is not looked at.
import { DatabaseError } from "pg";
import type { Attributes } from "./records.ts";
import { type Answer, type Call, invalid, NOT_FOUND, ok, refuse } from "./rest-call.ts";

/** What may be subscribed to. */
export const EVENTS = [
  "conversation_status_changed",
  "conversation_updated",
  "conversation_created",
  "contact_created",
  "contact_updated",
  "message_created",
  "message_updated",
  "webwidget_triggered",
  "inbox_created",
  "inbox_updated",
  "conversation_typing_on",
  "conversation_typing_off",
];

// Those of a version that signs, and of one that does not.
const columns = ({ isSigning }: Call) => `id, name, url, account_id, subscriptions${isSigning ? ", secret" : ""}`;
const UNIQUE_VIOLATION = "23505";

const TAKEN = invalid("Url has already been taken", "url");

function fault(given: Attributes): Answer | null {
  if (given.url !== undefined && !/^https?:\/\/\S+$/.test(String(given.url))) return invalid("Url is invalid", "url");
  const { subscriptions } = given;
  if (subscriptions === undefined) return null;
  const isKnown = Array.isArray(subscriptions) && subscriptions.length > 0 &&
    subscriptions.every((event) => EVENTS.includes(event));
  return isKnown ? null : invalid("Subscriptions Invalid events", "subscriptions");
}

// Inside "webhook", or flat.
const parametersOf = (input: Attributes): Attributes =>
  typeof input.webhook === "object" && input.webhook !== null ? { ...input.webhook } : input;

const jsonOrNull = (value: unknown) => value === undefined ? null : JSON.stringify(value);

export async function listWebhooks(call: Call): Promise<Answer> {
  const { reader, installation } = call;
  const webhooks = await reader.rows(`select ${columns(call)} from webhooks where account_id = $1 order by id`, [
    installation.account.id,
  ]);
  return ok({ payload: { webhooks } });
}

export async function createWebhook(call: Call): Promise<Answer> {
  const { input, reader, installation, now, newSecret } = call;
  const given = parametersOf(input);
  if (Object.keys(given).length === 0) return refuse(422, "param is missing or the value is empty: webhook");
  const refusal = fault({ url: "", ...given });
  if (refusal !== null) return refusal;
  const named = given.subscriptions === undefined ? "" : ", subscriptions";
  const [webhook] = await reader.rows(
    `insert into webhooks (account_id, name, url, secret, created_at, updated_at${named})
    values ($1, $2, $3, $4, $5, $5${named === "" ? "" : ", $6"})
    on conflict (account_id, url) do nothing returning ${columns(call)}`,
    [
      installation.account.id,
      given.name ?? null,
      given.url,
      newSecret(),
      now.toISOString().slice(0, -1),
      ...(named === "" ? [] : [jsonOrNull(given.subscriptions)]),
    ],
  );
  return webhook === undefined ? TAKEN : ok({ payload: { webhook } });
}

export async function updateWebhook(call: Call): Promise<Answer> {
  const { input, reader, installation, ids: [id], now } = call;
  const given = parametersOf(input);
  const refusal = fault(given);
  if (refusal !== null) return refusal;
  try {
    const [webhook] = await reader.rows(
      `update webhooks set name = coalesce($3, name), url = coalesce($4, url),
        subscriptions = coalesce($5::jsonb, subscriptions), updated_at = $6
      where account_id = $1 and id = $2 returning ${columns(call)}`,
      [
        installation.account.id,
        id,
        given.name ?? null,
        given.url ?? null,
        jsonOrNull(given.subscriptions),
        now.toISOString().slice(0, -1),
      ],
    );
    return webhook === undefined ? NOT_FOUND : ok({ payload: { webhook } });
  } catch (error) {
    if (error instanceof DatabaseError && error.code === UNIQUE_VIOLATION) return TAKEN;
    throw error;
  }
}

export async function deleteWebhook({ reader, installation, ids: [id] }: Call): Promise<Answer> {
  const gone = await reader.rows("delete from webhooks where account_id = $1 and id = $2 returning id", [
    installation.account.id,
    id,
  ]);
  return gone.length === 0 ? NOT_FOUND : ok();
}
