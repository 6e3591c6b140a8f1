// All that a command reaches beyond its arguments: environment, terminal, clock, and the wish to stop.
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { resolve } from "node:path";
import type { Output } from "./output.ts";
import { EXIT, Interrupted, Problem } from "./problem.ts";

export interface Outside {
  env: Record<string, string | undefined>;
  stdin: Readable & { isTTY?: boolean; setRawMode?: (raw: boolean) => unknown };
  /** Where a prompt is written; a person sees it even if the output goes into a file. */
  prompt: Writable;
  /** The folder in which the command was called: npm changes to the checkout. */
  calledFrom: string;
  /** Aborted by Ctrl-C. */
  signal: AbortSignal;
  now: () => Date;
  /** How long a server may take to answer. */
  timeoutMilliseconds: number;
}

/** For what has to be tidied up even after Ctrl-C. */
export const withoutCtrlC = (outside: Outside): Outside => ({ ...outside, signal: new AbortController().signal });

/** OCC_TIMEOUT_SECONDS, or fifteen seconds. */
export function readTimeout(env: Record<string, string | undefined>): number {
  const text = env.OCC_TIMEOUT_SECONDS;
  return text !== undefined && /^[1-9]\d{0,2}$/.test(text) ? Number(text) * 1000 : 15_000;
}

/** What every command is handed. */
export interface Context {
  outside: Outside;
  output: Output;
}

export interface Finished {
  exit: number;
  /** For --json. */
  data: Record<string, unknown>;
}

export const pathOf = (outside: Outside, file: string): string => resolve(outside.calledFrom, file);

export function throwIfInterrupted({ outside }: Context, message?: string): void {
  if (outside.signal.aborted) throw new Interrupted(message);
}

/** Waits, or ends at once by Ctrl-C. */
export async function pause(milliseconds: number, context: Context): Promise<void> {
  const { signal } = context.outside;
  if (signal.aborted) throw new Interrupted();
  await new Promise<void>((done) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
  throwIfInterrupted(context);
}

const STDIN_LIMIT = 16 * 1024 * 1024;

/** Everything on standard input, as bytes. */
export async function readInput({ outside }: Context): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const stop = () => void outside.stdin.destroy(new Interrupted());
  outside.signal.addEventListener("abort", stop, { once: true });
  for await (const part of outside.stdin) {
    const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part as Uint8Array;
    size += bytes.length;
    if (size > STDIN_LIMIT) {
      throw new Problem(EXIT.usage, "Standard input holds more than 16 MiB.", "Give the file with --file instead.");
    }
    parts.push(bytes);
  }
  outside.signal.removeEventListener("abort", stop);
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export interface SecretSource {
  /** What it is, for people: "the access token". */
  name: string;
  /** The value of a flag, which stands in the shell's history and in the list of processes. */
  flag?: { name: string; value: string | undefined };
  /** Whether it is to be read from standard input. */
  fromInput?: boolean;
  inputFlag?: string;
  variable: string;
}

/** A secret from a flag, standard input, the environment or a prompt without echo; registered, so that it is never printed. */
export async function readSecret(context: Context, source: SecretSource): Promise<string | null> {
  const { outside, output } = context;
  const given = source.fromInput
    ? new TextDecoder().decode(await readInput(context)).replace(/\r?\n$/, "")
    : source.flag?.value ?? outside.env[source.variable];
  if (source.flag?.value !== undefined) {
    output.hide(given);
    output.note(
      `Note: ${source.flag.name} leaves ${source.name} in your shell's history; better ${
        source.inputFlag ?? `the variable ${source.variable}`
      }.`,
    );
  }
  const secret = given === undefined || given === ""
    ? outside.stdin.isTTY === true && !output.json ? await askSecretly(context, source.name) : null
    : given;
  output.hide(secret);
  return secret;
}

/** As readSecret; none is an error. */
export async function needSecret(context: Context, source: SecretSource): Promise<string> {
  const secret = await readSecret(context, source);
  if (secret !== null && secret !== "") return secret;
  throw new Problem(
    EXIT.usage,
    `There is no ${source.name.replace(/^(the|an?) /, "")} to work with.`,
    `Set ${source.variable}${source.inputFlag ? `, or pipe it in with ${source.inputFlag}` : ""}.`,
  );
}

/** Asks for a line; null where nobody can be asked. */
export async function ask({ outside, output }: Context, question: string): Promise<string | null> {
  if (outside.stdin.isTTY !== true || output.json) return null;
  const reader = createInterface({ input: outside.stdin, output: outside.prompt });
  try {
    return await new Promise<string>((done, fail) => {
      outside.signal.addEventListener("abort", () => fail(new Interrupted()), { once: true });
      reader.on("SIGINT", () => fail(new Interrupted()));
      reader.question(`${question} `, (answer) => done(answer.trim()));
    });
  } finally {
    reader.close();
  }
}

async function askSecretly({ outside }: Context, name: string): Promise<string | null> {
  outside.prompt.write(`${name[0].toUpperCase()}${name.slice(1)} (not shown): `);
  outside.stdin.setRawMode?.(true);
  outside.stdin.resume();
  try {
    return await new Promise<string>((done, fail) => {
      let typed = "";
      outside.stdin.on("data", function take(part: Uint8Array) {
        for (const character of new TextDecoder().decode(part)) {
          if (character === "\x03" || character === "\r" || character === "\n" || character === "\x04") {
            outside.stdin.off("data", take);
            outside.prompt.write("\n");
            return character === "\x03" ? fail(new Interrupted()) : done(typed.trim());
          }
          typed = character === "\x7f" ? typed.slice(0, -1) : typed + character;
        }
      });
    });
  } finally {
    outside.stdin.setRawMode?.(false);
    outside.stdin.pause();
  }
}
