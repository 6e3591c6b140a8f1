// The commands and what all of them share: options, exit codes, and how a failure is told.
import { Command, CommanderError } from "commander";
import { addChatwootEnv } from "./chatwoot-env.ts";
import { addConnect } from "./connect.ts";
import { addDoctor } from "./doctor.ts";
import { addReplay } from "./replay.ts";
import { createOutput, type Streams } from "./shared/output.ts";
import type { Context, Finished, Outside } from "./shared/outside.ts";
import { EXIT, Interrupted, messageOf, Problem } from "./shared/problem.ts";
import { addSmoke } from "./smoke.ts";
import { addSync } from "./sync-backfill.ts";
import { addVerifySync } from "./verify-sync.ts";
import { addWebhook } from "./webhook.ts";

/** Runs one command line and returns its exit code. */
export async function run(args: readonly string[], outside: Outside, streams: Streams): Promise<number> {
  const output = createOutput(streams, { json: args.includes("--json") });
  const context: Context = { outside, output };
  let exit: number = EXIT.fine;
  const program = new Command("occ")
    .description("Connect Chatwoot, know that all is well, and prove it.")
    .configureHelp({ showGlobalOptions: false })
    .addHelpText("after", HELP);
  const finish = (work: (context: Context) => Promise<Finished>) => async () => {
    const finished = await work(context);
    output.result({ ok: finished.exit === EXIT.fine, exit: finished.exit, ...finished.data });
    exit = finished.exit;
  };
  const commands = [
    ...addWebhook(program, finish),
    addConnect(program, finish),
    addDoctor(program, finish),
    addSmoke(program, finish),
    addChatwootEnv(program, finish),
    addReplay(program, finish),
    addVerifySync(program, finish),
    addSync(program, finish),
  ];
  for (const command of [program, ...program.commands, ...commands]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => streams.out(text),
      writeErr: (text) => streams.error(output.clean(text)),
      // Told below, in the form of every other failure.
      outputError: () => {},
    });
  }
  for (const command of commands) command.option("--json", "the result as one JSON document on standard output");
  try {
    await program.parseAsync([...args], { from: "user" });
    return exit;
  } catch (error) {
    return tell(error, context, { args, known: program.commands.map((command) => command.name()) });
  }
}

function tell(
  error: unknown,
  { output, outside }: Context,
  { args, known }: { args: readonly string[]; known: string[] },
): number {
  if (error instanceof CommanderError) {
    if (/^commander\.(help|helpDisplayed|version)$/.test(error.code) && error.exitCode === 0) return EXIT.fine;
    // Bare `occ` shows the help, and is all the same no command.
    if (error.code === "commander.help") return EXIT.usage;
    const names = args.slice(0, 1).filter((name) => known.includes(name));
    output.failure({
      // A value behind a mistyped option may be a secret.
      message: error.message.replace(/^error: /, "").replace(/('-[^'=]*)=[^']*'/, "$1'").replace(
        /^./,
        (letter) => letter.toUpperCase(),
      ),
      next: `See occ ${[...names, "--help"].join(" ")}.`,
      exit: EXIT.usage,
    });
    return EXIT.usage;
  }
  const problem = error instanceof Problem
    ? outside.signal.aborted && error.exit !== EXIT.interrupted ? new Interrupted() : error
    : outside.signal.aborted
    ? new Interrupted()
    : new Problem(
      EXIT.finding,
      `Something unexpected happened: ${messageOf(error)}`,
      "That is a fault of this program: report it with what you typed.",
    );
  output.failure({ message: problem.message, next: problem.next, exit: problem.exit });
  return problem.exit;
}

export type Finish = (work: (context: Context) => Promise<Finished>) => () => Promise<void>;

const HELP = `
Examples:
  npm run occ -- doctor                       compare everything with what this project needs
  npm run occ -- connect --chatwoot-url https://chat.example.com --account 1
  npm run occ -- smoke                        end to end, with an evidence file

The installation is the local stack's, or what OCC_DB_URL, OCC_API_URL and OCC_SECRET_KEY name.
Exit codes: 0 fine, 1 a finding or a failure, 2 wrong usage, 3 not reachable, 4 not allowed, 130 Ctrl-C.
Everything else: docs/operations.md`;
