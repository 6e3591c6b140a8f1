// Rightly signed webhooks with anything anywhere in them: each is answered and kept, and none makes the door fail.
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { Agent, request } from "undici";
import { afterAll, expect, test } from "vitest";
import {
  contactEvent,
  conversation,
  inboxEvent,
  type Payload,
  privateNote,
  story,
  typing,
  widgetTriggered,
} from "../fixtures/webhooks.ts";
import { signed } from "../functions/door.ts";
import { useWebhookDoor } from "./webhook.support.ts";

const CASES = 20_000;
const BATCH = 2_000;
const CONNECTIONS = 16;

const door = useWebhookDoor();
const agent = new Agent({ connections: CONNECTIONS, pipelining: 1 });
afterAll(() => agent.close());

const TEMPLATES: Payload[] = [
  ...story(),
  privateNote(),
  typing(),
  inboxEvent("inbox_created"),
  contactEvent("contact_created"),
  widgetTriggered({ current_conversation: conversation() }),
  { ...privateNote(), event: "automation_event.message_created" },
  { ...conversation(), event: "macro.executed" },
];

// What has broken readers of JSON, numbers and times before; the rest is up to fast-check.
const wrongValue = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -0,
    -1,
    1.5,
    1e300,
    -1e300,
    5e-324,
    2 ** 31,
    2 ** 53 + 2,
    2 ** 63,
    1e16,
  ),
  fc.constantFrom<unknown>(
    "",
    " ",
    "null",
    "NaN",
    "Infinity",
    "0x10",
    "1e3",
    "9223372036854775808",
    "-1",
    "1.5",
    "true",
  ),
  fc.constantFrom<unknown>(
    "now",
    "infinity",
    "-infinity",
    "2026-13-45T99:99:99Z",
    "0000-00-00T00:00:00Z",
    "294277-01-01",
    "10000-01-01T00:00:00Z",
  ),
  fc.constantFrom<unknown>(
    "\u0000",
    "\ud800",
    "\udfff\ud800",
    "\u202e",
    "\ufeff",
    "\uffff",
    "\\",
    "\\u0000",
    "👨‍👩‍👧‍👦",
    "é".normalize("NFD"),
    "x".repeat(5_000),
  ),
  fc.constantFrom<unknown>([], {}, [null], [[]], [{}], [[[[[]]]]], { id: null }, { id: "x" }, { id: {} }, [1, "a", {
    id: [],
  }], { "": {} }),
  fc.constantFrom<unknown>(
    { __proto__: null, toString: 1 },
    { constructor: { prototype: 1 } },
    Array.from({ length: 300 }, (_, id) => ({ id })),
  ),
  fc.jsonValue({ maxDepth: 4 }),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.double(),
  fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map((value) => `number:${value}`),
);

type ValueOf<Arbitrary> = Arbitrary extends fc.Arbitrary<infer Value> ? Value : never;

const mutation = fc.record({
  // Each number picks a key at the next level; the path ends where the numbers do, or where there are no more keys.
  path: fc.array(fc.nat(1_000), { minLength: 1, maxLength: 7 }),
  change: fc.oneof(
    { weight: 6, arbitrary: wrongValue.map((value) => ({ value })) },
    { weight: 1, arbitrary: fc.constant("remove" as const) },
    { weight: 1, arbitrary: fc.constant("wrap" as const) },
    { weight: 1, arbitrary: fc.string({ maxLength: 12 }).map((key) => ({ key })) },
  ),
});
type Mutation = ValueOf<typeof mutation>;

const rarely = <Value>(arbitrary: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 19, arbitrary: fc.constant(null) }, { weight: 1, arbitrary });

const hostileCase = fc.record({
  template: fc.nat(TEMPLATES.length - 1),
  mutations: fc.array(mutation, { minLength: 1, maxLength: 4 }),
  // Rarely, another account's id, which the mutations would seldom hit.
  account: rarely(fc.constantFrom<unknown>(2, "2", 0, "01", 1e20)),
  // Rarely, and last, a byte of the text itself: what is signed need not be JSON any more.
  brokenByte: rarely(fc.record({ place: fc.nat(), byte: fc.nat(255) })),
});
type HostileCase = ValueOf<typeof hostileCase>;

function mutate(payload: Payload, { path, change }: Mutation): void {
  let place: Record<string, unknown> = payload;
  for (const [depth, number] of path.entries()) {
    const keys = Object.keys(place);
    if (keys.length === 0) return;
    const key = keys[number % keys.length];
    const next = place[key];
    if (depth < path.length - 1 && typeof next === "object" && next !== null) {
      place = next as Record<string, unknown>;
      continue;
    }
    if (change === "remove") delete place[key];
    else if (change === "wrap") place[key] = [place[key]];
    else if ("value" in change) place[key] = structuredClone(change.value);
    else place[change.key] = place[key];
    return;
  }
}

function bodyOf({ template, mutations, account, brokenByte }: HostileCase): Buffer {
  const payload = structuredClone(TEMPLATES[template]);
  if (account !== null) payload.account = { id: account };
  for (const one of mutations) mutate(payload, one);
  // Whole numbers of any size, which JSON.stringify cannot write.
  const body = Buffer.from(JSON.stringify(payload).replace(/"number:(-?\d+)"/g, "$1"));
  if (brokenByte !== null) body[brokenByte.place % body.length] = brokenByte.byte;
  return body;
}

interface Answered {
  id: string;
  status: number;
  outcome: string | undefined;
}

async function post(id: string, body: Buffer): Promise<Answered> {
  const headers = { ...signed(body), "x-chatwoot-delivery": id };
  const response = await request(door.url(), { method: "POST", headers, body, dispatcher: agent });
  const { outcome } = await response.body.json() as { outcome?: string };
  return { id, status: response.statusCode, outcome };
}

test(
  `${CASES} payloads with anything anywhere: never a 5xx, and every one is kept unless it names another account`,
  async () => {
    const seed = Number(process.env.OCC_TEST_SEED ?? Date.now() % 2 ** 31);
    console.log(`hostile webhooks: seed ${seed} (OCC_TEST_SEED=${seed} repeats it)`);
    const outcomes: Record<string, number> = {};

    for (let batch = 0; batch < CASES / BATCH; batch++) {
      const bodies = fc.sample(hostileCase, { numRuns: BATCH, seed: seed + batch }).map(bodyOf);
      const answers: Answered[] = [];
      let next = 0;
      await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
        while (next < BATCH) {
          const number = next++;
          answers.push(await post(`${batch}-${number}`, bodies[number]));
        }
      }));

      const kept = new Map((await door.kept()).map((row) => [row.delivery_id, row]));
      for (const { id, status, outcome } of answers) {
        const body = bodies[Number(id.split("-")[1])];
        const about = `seed ${seed}, delivery ${id}: ${body.toString().slice(0, 2_000)}`;
        const row = kept.get(id);
        outcomes[outcome ?? status] = (outcomes[outcome ?? status] ?? 0) + 1;
        expect([200, 401], about).toContain(status);
        // Refused is only what names another account somewhere, and of that nothing is kept.
        expect({ stored: row?.outcome, intact: row?.body.equals(body) }, about)
          .toEqual(status === 401 ? { stored: undefined, intact: undefined } : { stored: outcome, intact: true });
        // Dead for what the payload holds, never for a slip in our own SQL.
        expect(row?.reason ?? "", about).not.toMatch(/^(0A|42|P0|XX)/);
        if (status === 401) expect(namesAnother(body), about).toBe(true);
        else expect(["applied", "ignored", "dead"], about).toContain(outcome);
      }
      expect(kept.size, `seed ${seed}, batch ${batch}`).toBe(answers.filter(({ status }) => status === 200).length);
      await door.clear();
    }

    console.log(`hostile webhooks: ${JSON.stringify(outcomes)}`);
    // Else the payloads were too wild, or too tame, to say much.
    expect(Math.min(outcomes.applied, outcomes.dead, outcomes.ignored, outcomes[401])).toBeGreaterThan(20);
    expect(door.logged.filter((line) => !line.includes("OC401"))).toEqual([]);
  },
  400_000,
);

/** Whether an id of an account in it is not 1: at the top, or within whatever may carry one. */
function namesAnother(body: Buffer): boolean {
  const isAnother = (value: unknown) => value !== 1 && value !== "1" && value !== undefined && value !== null;
  const search = (value: unknown): boolean => {
    if (typeof value !== "object" || value === null) return false;
    const { account, account_id } = value as { account?: unknown; account_id?: unknown };
    if (isAnother(account_id)) return true;
    if (typeof account === "object" && account !== null && isAnother((account as { id?: unknown }).id)) return true;
    return Object.values(value).some(search);
  };
  try {
    return search(JSON.parse(body.toString()));
  } catch {
    // What is not JSON names nobody.
    return false;
  }
}
