import { describe, expect, test } from "vitest";
import { readSettings } from "../../supabase/functions/chatwoot-webhook/settings.ts";
import { ENVIRONMENT, PREVIOUS_SECRET, SECRET, URL_SECRET } from "./door.ts";

const NAME = "CHATWOOT_WEBHOOK_SECRETS";

function messageOf(env: Record<string, string | undefined>): string {
  try {
    readSettings(env);
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  return "";
}

test("secrets are read in order, with their accounts, and the tolerance is 300 seconds unless set", () => {
  expect(readSettings({ [NAME]: JSON.stringify({ "1": [SECRET, PREVIOUS_SECRET] }) })).toEqual({
    signingSecrets: [{ accountId: "1", secret: SECRET }, { accountId: "1", secret: PREVIOUS_SECRET }],
    urlSecrets: [],
    toleranceSeconds: 300,
  });
});

test("secrets for URLs are opt-in", () => {
  expect(readSettings(ENVIRONMENT).urlSecrets).toEqual([{ accountId: "1", secret: URL_SECRET }]);
  expect(readSettings({ ...ENVIRONMENT, CHATWOOT_WEBHOOK_URL_SECRETS: "" }).urlSecrets).toEqual([]);
});

describe("a start is stopped, with the variable, what is wrong and an example, and without the value:", () => {
  test.each([
    { name: "not set", value: undefined, says: "is not set" },
    { name: "empty", value: "", says: "is not set" },
    { name: "the bare secret", value: SECRET, says: "it is no JSON object" },
    { name: "cut off", value: `{"1":["${SECRET}"`, says: "it is no JSON object" },
    { name: "an array", value: `["${SECRET}"]`, says: "it is no JSON object" },
    { name: "null", value: "null", says: "it is no JSON object" },
    { name: "no account", value: "{}", says: "it names no account" },
    { name: "a secret without array", value: `{"1":"${SECRET}"}`, says: "an array of secrets" },
    { name: "an empty array", value: '{"1":[]}', says: "at least one secret" },
    { name: "a number as secret", value: '{"1":[1234567890123456]}', says: "text in quotes" },
    { name: "a short secret", value: '{"1":["changeme"]}', says: "at least 16 characters" },
    { name: "a long secret", value: `{"1":["${SECRET.repeat(30)}"]}`, says: "at most 512 characters" },
    { name: "a secret with a line break", value: `{"1":["${SECRET}\\n"]}`, says: "no space before or after" },
    { name: "a name as account", value: `{"acme":["${SECRET}"]}`, says: "a positive whole number" },
    { name: "account zero", value: `{"0":["${SECRET}"]}`, says: "a positive whole number" },
    { name: "account beyond bigint", value: `{"9223372036854775808":["${SECRET}"]}`, says: "a positive whole number" },
    { name: "a prototype as account", value: `{"__proto__":["${SECRET}"]}`, says: "it names no account" },
    { name: "one secret twice", value: `{"1":["${SECRET}"],"2":["${SECRET}"]}`, says: "hold the same secret" },
    {
      name: "too many",
      value: JSON.stringify({ "1": Array.from({ length: 201 }, (_, index) => `${SECRET}${index}`) }),
      says: "201 secrets",
    },
  ])("$name", ({ value, says }) => {
    const message = messageOf({ [NAME]: value });

    expect(message).toContain(NAME);
    expect(message).toContain(says);
    expect(message).toContain('{"1": ["<current secret>", "<previous secret>"]}');
    expect(message).not.toContain(SECRET);
  });

  test.each(["five minutes", "0", "-300", "300.5", "86401", " 300", "1e2"])("a tolerance of %s", (value) => {
    const message = messageOf({ ...ENVIRONMENT, CHATWOOT_WEBHOOK_TOLERANCE_SECONDS: value });

    expect(message).toMatch(/^CHATWOOT_WEBHOOK_TOLERANCE_SECONDS is malformed: .*Example: 300$/);
  });

  test("secrets for URLs that are malformed", () => {
    const message = messageOf({ ...ENVIRONMENT, CHATWOOT_WEBHOOK_URL_SECRETS: URL_SECRET });

    expect(message).toMatch(/^CHATWOOT_WEBHOOK_URL_SECRETS is malformed/);
    expect(message).not.toContain(URL_SECRET);
  });
});
