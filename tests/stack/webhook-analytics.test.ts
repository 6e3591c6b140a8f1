// From the webhook to the analyst: two accounts' events go in by the door, and supabase-js reads them back.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { SignJWT } from "jose";
import { beforeAll, expect, test } from "vitest";
import { findDeno } from "../../local/functions/deno.ts";
import { inboxEvent, messageEvent, type Payload } from "../fixtures/webhooks.ts";
import { LARGEST_ACCOUNT, OTHER_ACCOUNT_SECRET, SECRET, signed } from "../functions/door.ts";
import { useWebhookDoor } from "./webhook.support.ts";

const door = useWebhookDoor();
const VIEWER = "00000000-0000-4000-8000-000000000002";
const STRANGER = "00000000-0000-4000-8000-000000000003";

/** The same events as another account's, which has an id that JavaScript cannot hold. */
const asOther = (payload: Payload) =>
  JSON.stringify(payload).replaceAll('"account":{"id":1,', `"account":{"id":${LARGEST_ACCOUNT},`)
    .replaceAll('"account_id":1,', `"account_id":${LARGEST_ACCOUNT},`);

async function signToken(user: string): Promise<string> {
  const { jwtSecret } = JSON.parse(await readFile(join(door.settings().home, "keys.json"), "utf8"));
  return await new SignJWT({ role: "authenticated", aud: "authenticated" }).setProtectedHeader({ alg: "HS256" })
    .setSubject(user).setIssuedAt().setExpirationTime("1h").sign(new TextEncoder().encode(jwtSecret));
}

beforeAll(async () => {
  await door.rows(
    `insert into auth.users (id, email) values ('${VIEWER}', 'v@example.com'), ('${STRANGER}', 's@example.com')`,
  );
  await door.rows(`insert into access.members (account_id, user_id, role)
    values (1, '${VIEWER}', 'viewer'), (${LARGEST_ACCOUNT}, '${STRANGER}', 'admin')`);
  for (const payload of [inboxEvent("inbox_created"), messageEvent("message_created")]) {
    const bodies = [[JSON.stringify(payload), SECRET], [asOther(payload), OTHER_ACCOUNT_SECRET]];
    for (const [body, secret] of bodies) {
      const { answer } = await door.post(body, { headers: signed(body, { secret }) });
      expect(answer.outcome).toBe("applied");
    }
  }
});

test("supabase-js under Deno: each caller reads and does what is theirs, and no more", async () => {
  const { info } = door.stack();
  const { projectRoot } = door.settings();
  const script = fileURLToPath(new URL("analytics.supabase-js.ts", import.meta.url));

  const { all, exitCode } = await execa(findDeno(projectRoot), [
    "run",
    "--node-modules-dir=manual",
    "--allow-net=127.0.0.1",
    "--allow-env",
    "--allow-read",
    script,
  ], {
    cwd: projectRoot,
    all: true,
    reject: false,
    env: {
      API_URL: info.api_url,
      PUBLISHABLE_KEY: info.publishable_key,
      SECRET_KEY: info.secret_key,
      ADMIN_TOKEN: info.demo.access_token,
      VIEWER_TOKEN: await signToken(VIEWER),
      STRANGER_TOKEN: await signToken(STRANGER),
      NO_COLOR: "1",
    },
  });

  expect(exitCode, all).toBe(0);
  expect(all?.match(/^ok /gm)).toHaveLength(21);
});

test("a token that has run out, or was signed by others, opens nothing", async () => {
  const { api_url, publishable_key } = door.stack().info;
  const forged = await new SignJWT({ role: "service_role", sub: STRANGER }).setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h").sign(new TextEncoder().encode("x".repeat(40)));
  const { jwtSecret } = JSON.parse(await readFile(join(door.settings().home, "keys.json"), "utf8"));
  const expired = await new SignJWT({ role: "authenticated", sub: STRANGER }).setProtectedHeader({ alg: "HS256" })
    .setExpirationTime(Math.floor(Date.now() / 1000) - 3_600).sign(new TextEncoder().encode(jwtSecret));

  for (const token of [forged, expired, "x.y.z"]) {
    const response = await fetch(`${api_url}/rest/v1/conversations`, {
      headers: { apikey: publishable_key, authorization: `Bearer ${token}`, "accept-profile": "analytics" },
    });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: expect.stringMatching(/^PGRST30[13]$/) });
  }
});
