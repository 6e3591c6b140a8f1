// One function's Deno process: started, watched, restarted, stopped.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Pool } from "undici";
import { UserError } from "../settings.ts";

const SERVE = fileURLToPath(new URL("serve.ts", import.meta.url));
const MEMORY_MEGABYTES = 256;
const START_MILLISECONDS = 60_000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** A process that lived this long did start: its next pause is short again. */
const HEALTHY_MILLISECONDS = 60_000;
const LOG_LINE_CHARACTERS = 10_000;

export interface WorkerOptions {
  slug: string;
  deno: string;
  projectRoot: string;
  entry: string;
  importMap: string;
  denoFolder: string;
  env: Record<string, string>;
  responseMilliseconds: number;
  log: (line: string) => void;
}

export interface FunctionWorker {
  /** The connections to the process; waits while it is being restarted, and rejects when that fails. */
  connections(): Promise<Pool>;
  /** Ends the process, as the platform does with one that does not answer; it starts again by itself. */
  kill(): Promise<void>;
  /** Waits until the process has ended, but not longer than this: it may only have broken one connection. */
  ended(milliseconds: number): Promise<void>;
  stop(): Promise<void>;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Starts the process and waits until it listens; throws UserError with the function's own words if it does not. */
export async function startWorker(options: WorkerOptions): Promise<FunctionWorker> {
  let stopping = false;
  let child: Child;
  let pause = 250;
  let pool: Promise<Pool> = boot();
  await pool;

  async function boot(): Promise<Pool> {
    const startedAt = Date.now();
    child = launch(options);
    const current = child;
    const exited = new Promise<string>((resolve) =>
      current.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`))
    );
    const { port, lastLine } = await listen(current, options);
    if (port === null) {
      current.kill("SIGKILL");
      throw new UserError(`The function ${options.slug} did not start: ${lastLine()}`);
    }
    const connections = new Pool(`http://127.0.0.1:${port}`, {
      // Many, so that senders who stall do not use up the connections of those who do not.
      connections: 1_024,
      headersTimeout: options.responseMilliseconds,
      bodyTimeout: options.responseMilliseconds,
    });
    exited.then((how) => {
      connections.destroy().catch(() => {});
      if (stopping) return;
      if (Date.now() - startedAt > HEALTHY_MILLISECONDS) pause = 250;
      options.log(`ended (${how}), starts again in ${pause} ms`);
      pool = restart();
      // Seen by whoever asks for connections; unasked, it must not end the parent.
      pool.catch(() => {});
    });
    return connections;
  }

  async function restart(): Promise<Pool> {
    for (;;) {
      await sleep(pause, undefined, { ref: false });
      pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
      if (stopping) throw new UserError(`The function ${options.slug} is stopping.`);
      try {
        return await boot();
      } catch (error) {
        options.log(error instanceof Error ? error.message : String(error));
      }
    }
  }

  return {
    connections: () => pool,
    async kill() {
      child.kill("SIGKILL");
      await exitOf(child);
    },
    async ended(milliseconds) {
      const waiting = new AbortController();
      const waited = sleep(milliseconds, undefined, { signal: waiting.signal, ref: false }).catch(() => {});
      await Promise.race([exitOf(child), waited]);
      waiting.abort();
    },
    async stop() {
      stopping = true;
      pool.then((connections) => connections.destroy(), () => {}).catch(() => {});
      child.stdin.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), 3_000);
      await exitOf(child);
      clearTimeout(timer);
    },
  };
}

async function exitOf(child: Child): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

function launch(options: WorkerOptions): Child {
  const child = spawn(options.deno, [
    "run",
    "--no-prompt",
    "--no-remote",
    "--no-lock",
    "--no-check",
    "--quiet",
    // The root's configuration says where the packages are; the map says what the function's names mean.
    `--config=${options.projectRoot}/deno.json`,
    `--import-map=${options.importMap}`,
    `--v8-flags=--max-old-space-size=${MEMORY_MEGABYTES}`,
    "--allow-net",
    "--allow-env",
    `--allow-read=${options.projectRoot},${dirname(options.importMap)}`,
    SERVE,
    pathToFileURL(options.entry).href,
  ], {
    cwd: options.projectRoot,
    // Only what the platform would give: nothing of the developer's own environment leaks into a function.
    env: { ...options.env, DENO_DIR: options.denoFolder, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  // Writing to a process that has just died is no failure of ours.
  child.stdin.on("error", () => {});
  return child;
}

/** Passes the process's lines to the log and waits for the one that names its port. */
async function listen(child: Child, options: WorkerOptions) {
  let last = "it said nothing.";
  let heard: (port: number | null) => void;
  const settled = new Promise<number | null>((resolve) => heard = resolve);
  const hear = (line: string) => {
    if (line.trim() === "") return;
    last = line.slice(0, LOG_LINE_CHARACTERS);
    options.log(last);
  };
  createInterface({ input: child.stderr }).on("line", hear);
  createInterface({ input: child.stdout }).on("line", (line) => {
    const port = /^listening on port ([0-9]+)$/.exec(line)?.[1];
    if (port === undefined) hear(line);
    else heard(Number(port));
  });
  child.on("error", (error) => {
    last = error.message;
    heard(null);
  });
  // "close", not "exit": by then its last line has been read.
  child.on("close", () => heard(null));
  const timer = setTimeout(() => {
    last = `it was not ready within ${START_MILLISECONDS / 1000} seconds.`;
    heard(null);
  }, START_MILLISECONDS);
  const port = await settled;
  clearTimeout(timer);
  return { port, lastLine: () => last };
}
