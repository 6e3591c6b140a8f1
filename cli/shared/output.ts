// The one way out of the program: everything printed or written to a file passes here, and loses its secrets.
import { Buffer } from "node:buffer";

const HIDDEN = "[hidden]";

// Shorter ones would blank out ordinary words, and the local stack's password is no secret.
const SHORTEST = 8;
const PUBLIC = new Set(["postgres", "localhost"]);

// What looks like a credential is hidden even where nobody named it.
const PATTERNS: [RegExp, string][] = [
  [/\b(postgres(?:ql)?:\/\/[^\s:/@]*:)[^\s]+@(?=[^\s@]*)/gi, `$1${HIDDEN}@`],
  [/\bsb_secret_[A-Za-z0-9_-]+/g, HIDDEN],
  [/\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*/g, HIDDEN],
  [/([?&]secret=)[^\s&"']+/gi, `$1${HIDDEN}`],
];

// What steers a terminal or turns text around: names and errors come from servers of others.
const STEERING = /[^\P{Cc}\n\t]|[\u202A-\u202E\u2066-\u2069]/gu;

export interface Redactor {
  /** Remembers a secret, in the forms in which it may turn up. */
  hide(secret: string | null | undefined): void;
  /** The text without secrets, and without characters that do something to a terminal. */
  clean(text: string): string;
}

export function createRedactor(): Redactor {
  const forms = new Set<string>();
  return {
    hide(secret) {
      if (secret === null || secret === undefined || secret.length < SHORTEST || PUBLIC.has(secret)) return;
      const quoted = JSON.stringify(secret).slice(1, -1);
      const base64 = Buffer.from(secret).toString("base64").replace(/=+$/, "");
      for (const form of [secret, quoted, encodeURIComponent(secret), base64]) forms.add(form);
    },
    clean(text) {
      let cleaned = text.replace(STEERING, "\uFFFD");
      // The longest first: one secret may be a part of another.
      for (const form of [...forms].sort((one, other) => other.length - one.length)) {
        cleaned = cleaned.replaceAll(form, HIDDEN);
      }
      for (const [pattern, replacement] of PATTERNS) cleaned = cleaned.replace(pattern, replacement);
      return cleaned;
    },
  };
}

export interface Output extends Redactor {
  readonly json: boolean;
  /** A line for people; nothing where JSON was asked for. */
  line(text?: string): void;
  /** A line about how it goes, on the error stream, so that a pipe gets only what was asked for. */
  note(text: string): void;
  /** A line that replaces itself on a terminal, and elsewhere comes every few seconds. */
  progress(text: string): void;
  /** The result, for machines; nothing where text was asked for. */
  result(value: unknown): void;
  /** A failure, on the error stream; for machines it is the result. */
  failure(failure: { message: string; next: string; exit: number }): void;
}

export interface Streams {
  out: (text: string) => void;
  error: (text: string) => void;
  /** Whether a person watches the error stream. */
  isTerminal: boolean;
}

const PROGRESS_MILLISECONDS = 5_000;

export function createOutput(streams: Streams, { json }: { json: boolean }): Output {
  const redactor = createRedactor();
  let progressAt = -Infinity;
  let isProgressShown = false;
  const endProgress = () => {
    if (isProgressShown) streams.error("\r\x1b[K");
    isProgressShown = false;
  };
  const error = (text: string) => {
    endProgress();
    streams.error(`${redactor.clean(text)}\n`);
  };
  let isResultGiven = false;
  return {
    ...redactor,
    json,
    line(text = "") {
      if (json) return;
      endProgress();
      streams.out(`${redactor.clean(text)}\n`);
    },
    note: (text) => {
      if (!json) error(text);
    },
    progress(text) {
      if (json) return;
      if (streams.isTerminal) {
        streams.error(`\r\x1b[K${redactor.clean(text)}`);
        isProgressShown = true;
      } else if (performance.now() - progressAt >= PROGRESS_MILLISECONDS) {
        progressAt = performance.now();
        error(text);
      }
    },
    result(value) {
      if (!json || isResultGiven) return;
      isResultGiven = true;
      streams.out(`${redactor.clean(JSON.stringify(value, null, 2))}\n`);
    },
    failure({ message, next, exit }) {
      if (json) {
        if (!isResultGiven) {
          streams.out(`${redactor.clean(JSON.stringify({ ok: false, exit, problem: { message, next } }, null, 2))}\n`);
        }
        isResultGiven = true;
        return;
      }
      error(`${message}\n→ ${next}`);
    },
  };
}

/** A table for people, in the form of npm start's. */
export function table(columns: string[], rows: Record<string, unknown>[]): string {
  const text = (value: unknown) =>
    value === null || value === undefined
      ? ""
      : value instanceof Date
      ? value.toISOString().slice(0, 16)
      : String(value);
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => text(row[column]).length)));
  const line = (cells: string[]) => `  ${cells.map((cell, index) => cell.padEnd(widths[index])).join("  ")}`.trimEnd();
  return [
    line(columns),
    line(widths.map((width) => "─".repeat(width))),
    ...rows.map((row) => line(columns.map((column) => text(row[column])))),
  ].join("\n");
}

/** How far it is, such as "████░░░░ 50 %". */
export function bar(share: number, width = 24): string {
  const full = Math.round(Math.min(Math.max(share, 0), 1) * width);
  return `${"█".repeat(full)}${"░".repeat(width - full)} ${Math.floor(Math.min(Math.max(share, 0), 1) * 100)} %`;
}
