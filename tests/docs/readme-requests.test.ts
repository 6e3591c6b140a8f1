// The README's requests, sent as written to a running stack: by curl, and by supabase-js in Deno.
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { findDeno } from "../../local/functions/deno.ts";
import { messageEvent } from "../fixtures/webhooks.ts";
import { signed } from "../functions/door.ts";
import { useStack } from "../support/stack.ts";
import { projectRoot, readPage, readText } from "./pages.ts";

const { stack } = useStack();

async function example(language: string, holding: string): Promise<string> {
  const found = readPage("README.md", await readText("README.md")).examples
    .find((candidate) => candidate.language === language && candidate.code.includes(holding));
  if (found === undefined) throw new Error(`README.md has no ${language} example with ${holding}`);
  return found.code.replaceAll("http://127.0.0.1:54321", stack().info.api_url);
}

async function sendWebhook(): Promise<void> {
  const { functions_url, demo } = stack().info;
  const body = JSON.stringify(messageEvent("message_created"));
  const answer = await fetch(`${functions_url}/chatwoot-webhook`, {
    method: "POST",
    headers: signed(body, { secret: demo.webhook_secret }),
    body,
  });
  expect([answer.status, await answer.json()]).toEqual([
    200,
    expect.objectContaining({ outcome: expect.stringMatching(/applied|duplicate/) }),
  ]);
}

const waiting = [{ display_id: 42, contact_name: "Dana", waiting_since: expect.any(String) }];

// The one program here that a bare machine may lack.
const hasCurl = spawnSync("curl", ["--version"]).status === 0;

test.skipIf(!hasCurl)("curl, as the signed-in demo member", async () => {
  await sendWebhook();

  const { stdout } = await execa("bash", ["-c", await example("sh", "/rest/v1/conversations")], {
    env: { PUBLISHABLE_KEY: stack().info.publishable_key, ACCESS_TOKEN: stack().info.demo.access_token },
  });

  expect(JSON.parse(stdout)).toEqual(waiting);
});

test("supabase-js, as the signed-in demo member", async () => {
  await sendWebhook();
  const home = await mkdtemp(join(tmpdir(), "occ-readme-"));
  const { publishable_key, demo } = stack().info;
  const script = `const [PUBLISHABLE_KEY, ACCESS_TOKEN] = ${JSON.stringify([publishable_key, demo.access_token])};
${await example("js", "createClient")}
console.log(JSON.stringify({ data, error }));
`;
  // A reader's project has the package installed; here it is the checkout's.
  const map = { imports: { "@supabase/supabase-js": "npm:@supabase/supabase-js@2.119.0" } };
  await writeFile(join(home, "example.mjs"), script);
  await writeFile(join(home, "map.json"), JSON.stringify(map));

  const { stdout } = await execa(findDeno(projectRoot), [
    ...["run", "--allow-all", "--node-modules-dir=manual", "--import-map", join(home, "map.json")],
    join(home, "example.mjs"),
  ], { cwd: projectRoot, env: { DENO_DIR: join(home, "deno"), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" } })
    .finally(() => rm(home, { recursive: true, force: true }));

  expect(JSON.parse(stdout)).toEqual({ data: waiting, error: null });
});
