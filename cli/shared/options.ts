// Options that several commands have, read and limited in one place.
import type { Command } from "commander";
import { EXIT, Problem } from "./problem.ts";

/** Where the installation is. */
export const withConnection = (command: Command, { api = true } = {}): Command => {
  command.option("--db-url <url>", "connection string of the project's database (OCC_DB_URL)");
  if (api) {
    command.option("--api-url <url>", "address of the project's API (OCC_API_URL)")
      .option("--secret-key <key>", "the project's secret key (better: OCC_SECRET_KEY)");
  }
  return command;
};

export const withAccount = (command: Command): Command =>
  command.option("--account <id>", "Chatwoot account; may be left out where there is only one");

/** A Chatwoot account id as text, or a Problem. */
export function readAccountId(text: string): string {
  if (/^[1-9][0-9]{0,18}$/.test(text) && BigInt(text) < 2n ** 63n) return text;
  throw new Problem(
    EXIT.usage,
    `"${text}" is no Chatwoot account.`,
    "Give the number in the address of the dashboard: /app/accounts/<number>.",
  );
}

export function readWhole(text: string, name: string, { from, to }: { from: number; to: number }): number {
  const value = Number(text);
  if (/^\d{1,15}$/.test(text) && value >= from && value <= to) return value;
  throw new Problem(EXIT.usage, `${name} is "${text}".`, `Give a whole number from ${from} to ${to}.`);
}

/** An instant: ISO 8601, a day, or a span back from now such as 24h or 7d. */
export function readInstant(text: string, name: string, now: Date): Date {
  const span = /^(\d{1,6})([mhd])$/.exec(text);
  if (span !== null) {
    return new Date(now.getTime() - Number(span[1]) * { m: 60_000, h: 3_600_000, d: 86_400_000 }[span[2] as "m"]);
  }
  if (text === "now") return now;
  const hasForm = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(text);
  // Without a zone it means UTC, as everywhere in this project.
  const instant = new Date(/T|:/.test(text) && !/(Z|[+-]\d\d:?\d\d)$/.test(text) ? `${text.replace(" ", "T")}Z` : text);
  if (hasForm && !Number.isNaN(instant.getTime())) return instant;
  throw new Problem(
    EXIT.usage,
    `${name} is "${text}", which is no instant.`,
    "Give 2026-11-20, 2026-11-20T09:00:00Z, or a span back from now: 30m, 24h, 7d.",
  );
}
