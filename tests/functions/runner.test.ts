// The local runner with functions of its own making: what it starts, what it lets through, and what ends.
import { execFileSync } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Functions, type FunctionsOptions, startFunctions } from "../../local/functions/runner.ts";
import { readSettings } from "../../local/settings.ts";
import { listen, sendRaw } from "./door.ts";

const ECHO = `
export default {
  fetch: async (request: Request) =>
    Response.json({
      method: request.method,
      url: request.url,
      headers: Object.fromEntries(request.headers),
      body: await request.text(),
      environment: Object.keys(Deno.env.toObject()).sort(),
    }, { status: 418, headers: { "x-made-by": "echo" } }),
};`;

let project: string;
let log: string[];
let functions: Functions | undefined;
let close: () => Promise<void>;

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), "occ-runner-"));
  log = [];
  await cp(join(readSettings({}).projectRoot, "deno.json"), join(project, "deno.json"));
  await writeFile(join(project, "package.json"), "{}");
  await symlink(join(readSettings({}).projectRoot, "node_modules"), join(project, "node_modules"), "dir");
  await mkdir(join(project, "supabase", "functions", "_shared"), { recursive: true });
});

afterEach(async () => {
  await close?.();
  await functions?.stop();
  functions = undefined;
  await rm(project, { recursive: true, force: true });
});

async function write(slug: string, code: string, denoJson: unknown = { imports: {} }) {
  const folder = join(project, "supabase", "functions", slug);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "index.ts"), code);
  await writeFile(join(folder, "deno.json"), JSON.stringify(denoJson));
}

async function start(options: Partial<FunctionsOptions> = {}) {
  const running = await startFunctions({
    projectRoot: project,
    home: join(project, ".occ"),
    configuration: {},
    env: { GREETING: "hello" },
    log: (line) => log.push(line),
    ...options,
  });
  functions = running;
  const gateway = await listen((request, response) =>
    running.forward((request.url ?? "").split(/[/?]/)[3] ?? "", request, response)
  );
  close = gateway.close;
  return { ...running, port: gateway.port, url: `http://127.0.0.1:${gateway.port}/functions/v1` };
}

test("a request reaches the function as the platform would hand it over, and nothing else does", async () => {
  await write("echo", ECHO);
  const { url, port } = await start();

  const response = await fetch(`${url}/echo/sub/path?a=1&b=%20`, {
    method: "PATCH",
    body: "über",
    headers: { "x-own": "1", "x-forwarded-for": "203.0.113.9", "x-forwarded-host": "forged" },
  });

  const { headers, ...seen } = await response.json();
  expect(response.status).toBe(418);
  expect(response.headers.get("x-made-by")).toBe("echo");
  expect(seen).toEqual({
    method: "PATCH",
    url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:[0-9]+\/echo\/sub\/path\?a=1&b=%20$/),
    body: "über",
    environment: ["DENO_DIR", "DENO_NO_UPDATE_CHECK", "GREETING", "NO_COLOR"],
  });
  expect(headers).toMatchObject({
    "x-own": "1",
    "x-forwarded-for": "203.0.113.9, 127.0.0.1",
    "x-forwarded-host": `127.0.0.1:${port}`,
  });
});

test("folders without index.ts, with a leading underscore or disabled are no functions", async () => {
  await write("echo", ECHO);
  await write("off", ECHO);
  await write("_helpers", ECHO);
  await mkdir(join(project, "supabase", "functions", "empty"));

  const { slugs, url } = await start({ configuration: { off: { enabled: false }, echo: { verify_jwt: false } } });

  expect(slugs).toEqual({ echo: { verifyJwt: false } });
  const response = await fetch(`${url}/off`);
  expect({ status: response.status, code: response.headers.get("sb-error-code") })
    .toEqual({ status: 404, code: "NOT_FOUND" });
});

test("a function asks for a token unless its configuration says otherwise", async () => {
  await write("echo", ECHO);

  expect((await start()).slugs).toEqual({ echo: { verifyJwt: true } });
});

test("Deno std imported by URL comes from the packages, shared files from their folder", async () => {
  await writeFile(join(project, "supabase", "functions", "_shared", "shout.ts"), "export const mark = '!';");
  await write(
    "std",
    `import { encodeHex } from "std/encoding/hex.ts";
     import { mark } from "../_shared/shout.ts";
     export default { fetch: () => new Response(encodeHex(new Uint8Array([202, 254])) + mark) };`,
    { imports: { "std/": "https://deno.land/std@0.224.0/" } },
  );
  const { url } = await start();

  expect(await (await fetch(`${url}/std`)).text()).toBe("cafe!");
});

test.each([
  { name: "throws as it loads", code: 'throw new Error("GREETING2 is not set.");', says: "GREETING2 is not set." },
  { name: "exports nothing to call", code: "export const a = 1;", says: 'no "export default { fetch }"' },
  { name: "does not parse", code: "export default {", says: "could not be parsed" },
  { name: "imports from the network", code: 'import "https://deno.land/std@0.224.0/fs/mod.ts";', says: "--no-remote" },
])("a function that $name stops the start, in its own words", async ({ code, says }) => {
  await write("bad", code);
  await write("echo", ECHO);

  await expect(start()).rejects.toThrow(/^The function bad did not start: /);
  await expect(start()).rejects.toThrow(says);
  expect(processesOf(project)).toEqual([]);
});

test("a function without deno.json is named, with the file to write", async () => {
  await write("bare", ECHO);
  await rm(join(project, "supabase", "functions", "bare", "deno.json"));

  await expect(start()).rejects.toThrow("supabase/functions/bare/deno.json");
});

test("a function cannot read, write or run beyond its project", async () => {
  await write(
    "nosy",
    `const attempt = async (f: () => unknown) => { try { await f(); return "done"; } catch (e) { return (e as Error).name; } };
     export default { fetch: async () => Response.json([
       await attempt(() => Deno.readTextFile("/etc/hostname")),
       await attempt(() => Deno.writeTextFile("x", "x")),
       await attempt(() => new Deno.Command("/bin/true").output()),
     ]) };`,
  );
  const { url } = await start();

  expect(await (await fetch(`${url}/nosy`)).json()).toEqual(["NotCapable", "NotCapable", "NotCapable"]);
});

test("a function that throws answers 500 and lives on", async () => {
  await write("moody", 'export default { fetch: () => { throw new Error("no"); } };');
  const { url } = await start();

  const [one, two] = [await fetch(url + "/moody"), await fetch(url + "/moody")];

  expect([one.status, two.status, one.headers.get("sb-error-code")]).toEqual([500, 500, "WORKER_ERROR"]);
});

test("a process that dies is started again, and the next request waits for it", async () => {
  await write(
    "mortal",
    'export default { fetch: (r: Request) => r.method === "POST" ? Deno.exit(3) : new Response("alive") };',
  );
  const { url } = await start();

  expect((await fetch(`${url}/mortal`, { method: "POST" })).status).toBe(500);
  const response = await fetch(`${url}/mortal`);

  expect(await response.text()).toBe("alive");
  expect(log).toContain("mortal: ended (exit code 3), starts again in 250 ms");
});

test("a process that needs more memory than the platform gives ends, and starts again", async () => {
  await write(
    "hungry",
    `const held: unknown[] = [];
     export default { fetch: (r: Request) => {
       while (r.method === "POST") held.push(Array.from({ length: 100_000 }, () => ({})));
       return new Response("alive");
     } };`,
  );
  const { url } = await start();

  expect((await fetch(`${url}/hungry`, { method: "POST" })).status).toBe(500);
  expect(await (await fetch(`${url}/hungry`)).text()).toBe("alive");
}, 60_000);

test("without an answer in time the caller gets 504 and the process is ended, even in an endless loop", async () => {
  await write(
    "stuck",
    'export default { fetch: (r: Request) => { while (r.method === "POST"); return new Response("alive"); } };',
  );
  const { url } = await start({ responseSeconds: 1 });

  const response = await fetch(`${url}/stuck`, { method: "POST" });

  expect({ status: response.status, code: response.headers.get("sb-error-code") })
    .toEqual({ status: 504, code: "IDLE_TIMEOUT" });
  expect(await (await fetch(`${url}/stuck`)).text()).toBe("alive");
}, 20_000);

test("bodies stream both ways: an answer begins before the request has ended", async () => {
  await write(
    "mirror",
    "export default { fetch: (request: Request) => new Response(request.body) };",
  );
  const { url } = await start();
  let send: (text: string | null) => void = () => {};
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      send = (text) => text === null ? controller.close() : controller.enqueue(new TextEncoder().encode(text));
    },
  });
  send("one");
  const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };

  const reader = (await fetch(`${url}/mirror`, init)).body?.pipeThrough(new TextDecoderStream()).getReader();

  expect(await reader?.read()).toEqual({ done: false, value: "one" });
  send("two");
  expect(await reader?.read()).toEqual({ done: false, value: "two" });
  send(null);
  expect((await reader?.read())?.done).toBe(true);
});

test("a caller that goes away ends the function's work for it", async () => {
  await write(
    "patient",
    `let gone = 0;
     export default { fetch: (request: Request) => {
       if (request.method === "GET") return new Response(String(gone));
       return new Promise((resolve) => request.signal.addEventListener("abort", () => { gone++; resolve(new Response()); }));
     } };`,
  );
  const { url } = await start();
  const abort = new AbortController();
  const call = fetch(`${url}/patient`, { method: "POST", signal: abort.signal });
  setTimeout(() => abort.abort(), 100);
  await expect(call).rejects.toThrow();

  await expect.poll(async () => await (await fetch(`${url}/patient`)).text()).toBe("1");
});

test("a request without a proper host reaches the function all the same", async () => {
  await write("echo", ECHO);
  const { port } = await start();

  expect(await sendRaw(port, ['GET /functions/v1/echo HTTP/1.1\r\nHost: "><\r\nConnection: close\r\n\r\n'])).toBe(418);
});

test("stop ends every process", async () => {
  await write("echo", ECHO);
  await write("second", ECHO);
  await start();
  expect(processesOf(project)).toHaveLength(2);

  await functions?.stop();

  expect(processesOf(project)).toEqual([]);
});

test("a process outlives a parent that is killed by no more than a moment", async () => {
  await write("echo", ECHO);
  const script = join(project, "parent.mts");
  await writeFile(
    script,
    `import { startFunctions } from ${JSON.stringify(join(readSettings({}).projectRoot, "local/functions/runner.ts"))};
     await startFunctions({ projectRoot: ${JSON.stringify(project)}, home: ${JSON.stringify(join(project, ".occ"))},
       configuration: {}, env: {}, log: () => {} });
     process.kill(process.pid, "SIGKILL");`,
  );

  expect(() => execFileSync(process.execPath, ["--import", "tsx", script], { cwd: readSettings({}).projectRoot }))
    .toThrow();

  await expect.poll(() => processesOf(project)).toEqual([]);
});

/** The processes whose command line names this folder. */
function processesOf(folder: string): string[] {
  const all = execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" }).split("\n");
  return all.filter((line) => line.includes(folder) && line.includes("serve.ts"));
}
