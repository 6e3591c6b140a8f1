// The whole stack for a test file: real Postgres, real Deno, real HTTP, on ports of its own.
import { afterAll, beforeAll } from "vitest";
import { freePort } from "../../local/ports.ts";
import { removeHome, temporaryHome } from "../../local/scratch.ts";
import { readSettings, type Settings } from "../../local/settings.ts";
import { type Stack, type StackOptions, startStack } from "../../local/stack.ts";

export interface TestStack {
  /** Settings of the running stack. */
  settings(): Settings;
  /** The running stack; only inside tests and hooks. */
  stack(): Stack;
  /** What was logged since the start, one line each. */
  logged: string[];
}

/** Starts a stack before the file's tests and stops it after them. */
export function useStack(options: StackOptions = {}): TestStack {
  const logged: string[] = [];
  let settings: Settings;
  let stack: Stack;
  beforeAll(async () => {
    const home = await temporaryHome();
    settings = {
      ...readSettings({}),
      home,
      apiPort: await freePort(),
      dbPort: await freePort(),
      chatwootPort: await freePort(),
    };
    stack = await startStack(settings, {
      postgresSettings: { fsync: "off", synchronous_commit: "off" },
      log: (line) => logged.push(line),
      ...options,
    });
  });
  afterAll(async () => {
    await stack?.stop();
    await removeHome(settings.home);
  });
  return { settings: () => settings, stack: () => stack, logged };
}
