// occ, started as a process: wires environment, terminal and Ctrl-C to the program.
import process from "node:process";
import { run } from "./program.ts";
import { readTimeout } from "./shared/outside.ts";

const interrupt = new AbortController();
let isAsked = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // The second time somebody means it: whatever is being tidied up is left.
    if (isAsked) process.exit(130);
    isAsked = true;
    interrupt.abort();
  });
}
// A reader that has seen enough, such as head, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => error.code === "EPIPE" && process.exit(0));

const exit = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  prompt: process.stderr,
  calledFrom: process.env.INIT_CWD ?? process.cwd(),
  signal: interrupt.signal,
  now: () => new Date(),
  timeoutMilliseconds: readTimeout(process.env),
}, {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
});
// Not before all is written: a pipe takes it piece by piece. And not later, though connections are still kept alive.
process.stdout.write("", () => process.stderr.write("", () => process.exit(exit)));
