// The secrets of a hosted project's function, set by the real Supabase CLI at a small server in the place of Supabase's.
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import type { Connection } from "../../cli/shared/connection.ts";
import { openSecretStore } from "../../cli/shared/function-secrets.ts";
import { createOutput } from "../../cli/shared/output.ts";
import type { Context } from "../../cli/shared/outside.ts";
import { readSettings } from "../../local/settings.ts";

const REF = "abcdefghijklmnopqrst";
const [OLD, NEW, OTHER] = ["CANARYoldSecretCANARY000", "CANARYnewSecretCANARY000", "CANARYotherAccounts00000"];
const line = (secrets: Record<string, string[]>) => `CHATWOOT_WEBHOOK_SECRETS='${JSON.stringify(secrets)}'\n`;

let folder: string;
let file: string;
let server: Server;
let printed = "";
/** What the project holds. */
let held: Record<string, string> = {};
let isRefusing = false;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-hosted-"));
  file = join(folder, "functions.env");
  server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const answer = (status: number, value?: unknown) =>
      response.writeHead(status, { "content-type": "application/json" }).end(
        value === undefined ? "" : JSON.stringify(value),
      );
    if (isRefusing) return void answer(401, { message: "Unauthorized" });
    if (!request.url?.endsWith("/secrets")) return void answer(200, { ref: REF, id: REF, name: "shop" });
    if (request.method === "POST") {
      for (const { name, value } of JSON.parse(body)) held[name] = value;
      return void answer(201);
    }
    answer(200, Object.entries(held).map(([name, value]) => ({ name, value: digest(value) })));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const profile = join(folder, "profile.yaml");
  await writeFile(
    profile,
    `name: test\napi_url: "${url}"\ndashboard_url: "${url}"\nproject_host: supabase.co\npooler_host: supabase.com\n`,
  );
  vi.stubEnv("SUPABASE_PROFILE", profile);
  vi.stubEnv("SUPABASE_ACCESS_TOKEN", `sbp_${"0123456789".repeat(4)}`);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  held = {};
  isRefusing = false;
  await rm(file, { force: true });
});

const digest = (value: string) => createHash("sha256").update(value).digest("hex");

async function keep(secret: string, { replace = false } = {}): Promise<boolean> {
  const take = (text: string) => void (printed += text);
  const context: Context = {
    output: createOutput({ out: take, error: take, isTerminal: false }, { json: false }),
    outside: {
      env: { OCC_FUNCTION_SECRETS_FILE: file },
      stdin: Readable.from([]),
      prompt: new Writable(),
      calledFrom: folder,
      signal: new AbortController().signal,
      now: () => new Date(),
      timeoutMilliseconds: 10_000,
    },
  };
  const connection: Connection = {
    isLocal: false,
    dbUrl: "",
    apiUrl: `https://${REF}.supabase.co`,
    secretKey: null,
    settings: readSettings({}),
    stack: null,
  };
  const store = await openSecretStore(connection, { accountId: "1", replace }, context);
  return await store.keep(secret);
}

const heldSecrets = () => JSON.parse(held.CHATWOOT_WEBHOOK_SECRETS ?? "null");

test("a first secret is set, kept in the file, and nothing is done when it is known", async () => {
  expect(await keep(NEW)).toBe(true);
  expect([heldSecrets(), await readFile(file, "utf8")]).toEqual([{ 1: [NEW] }, line({ 1: [NEW] })]);

  expect(await keep(NEW)).toBe(false);
});

test("a new secret comes first, and those of before and of other accounts stay", async () => {
  await writeFile(file, `A=1\n${line({ 1: [OLD], 2: [OTHER] })}B=2\n`);
  held.CHATWOOT_WEBHOOK_SECRETS = JSON.stringify({ 1: [OLD], 2: [OTHER] });

  expect(await keep(NEW)).toBe(true);

  expect(heldSecrets()).toEqual({ 1: [NEW, OLD], 2: [OTHER] });
  expect(await readFile(file, "utf8")).toBe(`A=1\n${line({ 1: [NEW, OLD], 2: [OTHER] })}B=2\n`);
});

test("secrets that this machine does not know are not dropped, unless that is meant", async () => {
  held.CHATWOOT_WEBHOOK_SECRETS = JSON.stringify({ 2: [OTHER] });

  await expect(keep(NEW)).rejects.toThrow(/would drop them/);

  expect([heldSecrets(), await readdir(folder)]).toEqual([{ 2: [OTHER] }, ["profile.yaml"]]);
  expect(await keep(NEW, { replace: true })).toBe(true);
  expect(heldSecrets()).toEqual({ 1: [NEW] });
});

test("a run that ended between project and file is completed by the next", async () => {
  await writeFile(file, line({ 1: [OLD] }));
  held.CHATWOOT_WEBHOOK_SECRETS = JSON.stringify({ 1: [NEW, OLD] });

  expect(await keep(NEW)).toBe(false);

  expect(await readFile(file, "utf8")).toBe(line({ 1: [NEW, OLD] }));
});

test("without a login nothing is written", async () => {
  await writeFile(file, line({ 1: [OLD] }));
  isRefusing = true;

  await expect(keep(NEW)).rejects.toMatchObject({ exit: 4, next: expect.stringContaining("npx supabase login") });

  expect([held, await readFile(file, "utf8")]).toEqual([{}, line({ 1: [OLD] })]);
});

test.each([
  { name: "malformed", text: "CHATWOOT_WEBHOOK_SECRETS=CANARYnoJson\n", says: /malformed/ },
  { name: "of another account with the same secret", text: line({ 2: [NEW] }), says: /Another account holds the same/ },
])("a file that is $name is left as it is", async ({ text, says }) => {
  await writeFile(file, text);
  if (says.source.startsWith("Another")) held.CHATWOOT_WEBHOOK_SECRETS = JSON.stringify({ 2: [NEW] });

  await expect(keep(NEW)).rejects.toThrow(says);

  expect(await readFile(file, "utf8")).toBe(text);
});

test("no secret was printed", () => expect(printed).not.toContain("CANARY"));
