// Runs command lines as the process does, in this process: the same program, with an environment of its own.
import { PassThrough, Readable, Writable } from "node:stream";
import { run } from "../../cli/program.ts";

export interface Ran {
  exit: number;
  out: string;
  error: string;
  /** Everything that was printed. */
  all: string;
  /** The JSON document, where --json was given. */
  json(): Record<string, unknown>;
}

export interface Running {
  env?: Record<string, string | undefined>;
  input?: string | Uint8Array;
  /** Ctrl-C. */
  signal?: AbortSignal;
  now?: Date;
  calledFrom?: string;
  timeoutMilliseconds?: number;
  /** What a person types at a terminal, where standard input is one. */
  typed?: string;
  /** Told of each piece of output as it comes. */
  onOutput?: (text: string) => void;
}

/** Everything that any command printed in this test file, to be searched for secrets. */
export const printed: string[] = [];

export async function occ(args: string[], running: Running = {}): Promise<Ran> {
  let out = "";
  let error = "";
  const take = (text: string) => {
    printed.push(text);
    running.onOutput?.(text);
  };
  const terminal = new PassThrough();
  if (running.typed !== undefined) terminal.write(running.typed);
  const exit = await run(args, {
    env: running.env ?? {},
    stdin: running.typed === undefined
      ? Object.assign(Readable.from(running.input === undefined ? [] : [Buffer.from(running.input)]), { isTTY: false })
      : Object.assign(terminal, { isTTY: true }),
    prompt: new Writable({
      write: (chunk, _encoding, done) => {
        take(String(chunk));
        error += String(chunk);
        done();
      },
    }),
    calledFrom: running.calledFrom ?? process.cwd(),
    signal: running.signal ?? new AbortController().signal,
    now: () => running.now ?? new Date(),
    timeoutMilliseconds: running.timeoutMilliseconds ?? 10_000,
  }, {
    out: (text) => {
      out += text;
      take(text);
    },
    error: (text) => {
      error += text;
      take(text);
    },
    isTerminal: false,
  });
  return { exit, out, error, all: out + error, json: () => JSON.parse(out) };
}
