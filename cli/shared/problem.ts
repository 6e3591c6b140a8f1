// What a command ends with when it cannot do its work: a sentence, a next step, and an exit code a script can tell apart.

/** Exit codes, as docs/operations.md documents them. */
export const EXIT = {
  fine: 0,
  /** Something is wrong with what was looked at, or the work failed. */
  finding: 1,
  usage: 2,
  unreachable: 3,
  notAllowed: 4,
  interrupted: 130,
} as const;
export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** A failure the person at the keyboard can mend. Neither text may hold a secret; the output hides those it knows all the same. */
export class Problem extends Error {
  readonly exit: Exit;
  /** What to do now. */
  readonly next: string;

  constructor(exit: Exit, message: string, next: string) {
    super(message);
    this.exit = exit;
    this.next = next;
  }
}

/** Ctrl-C, seen where work was under way. */
export class Interrupted extends Problem {
  constructor(message = "Stopped by Ctrl-C; nothing is left half-written.") {
    super(EXIT.interrupted, message, "Run the same command again to go on.");
  }
}

/** The error's code, such as ECONNREFUSED or 28P01; looks into causes and lists of errors. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  if ("code" in error && typeof error.code === "string") return error.code;
  if ("errors" in error && Array.isArray(error.errors)) return codeOf(error.errors[0]);
  return "cause" in error ? codeOf(error.cause) : "";
}

export const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error);
