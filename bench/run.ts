// npm run bench -- <name> [options]: one file a benchmark. Ends with code 1 when a target is missed.
import { parseArgs } from "node:util";
import { UserError } from "../local/settings.ts";
import { approve } from "./approve.ts";
import { ingest } from "./ingest.ts";
import { ledger } from "./ledger.ts";
import { live } from "./live.ts";
import { sla } from "./sla.ts";
import { suggest } from "./suggest.ts";
import { syncDatabase } from "./sync-database.ts";
import { syncRest } from "./sync-rest.ts";

export interface BenchOptions {
  /** A short run that proves the benchmark works; its timings are printed and judged by nobody. */
  quick: boolean;
  /** How long a history, where a benchmark can be told; null for its own. */
  conversations: number | null;
}

/** Each prints what it measured and tells whether every target was reached. */
const BENCHMARKS: Record<string, (options: BenchOptions) => Promise<boolean>> = {
  approve,
  ingest,
  ledger,
  live,
  sla,
  suggest,
  "sync-database": syncDatabase,
  "sync-rest": syncRest,
};

const USAGE = `npm run bench -- <name> [--quick], where <name> is one of: ${Object.keys(BENCHMARKS).join(", ")}; ` +
  "sla also takes --conversations <number>";
const LEAST_CONVERSATIONS = 2000;

async function main(): Promise<number> {
  const { name, ...options } = readArguments();
  const isReached = await BENCHMARKS[name](options);
  return isReached || options.quick || options.conversations !== null ? 0 : 1;
}

function readArguments(): { name: string } & BenchOptions {
  let parsed;
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: { quick: { type: "boolean", default: false }, conversations: { type: "string" } },
    });
  } catch (error) {
    throw new UserError(`${error instanceof Error ? error.message : String(error)}\nUsage: ${USAGE}`);
  }
  const { positionals: [name, ...rest], values: { quick, conversations } } = parsed;
  if (name === undefined || rest.length > 0 || !Object.hasOwn(BENCHMARKS, name)) {
    throw new UserError(`${name === undefined ? "Which benchmark?" : "No such benchmark."} Usage: ${USAGE}`);
  }
  if (conversations !== undefined && (name !== "sla" || !(Number(conversations) >= LEAST_CONVERSATIONS))) {
    throw new UserError(`--conversations is for sla, and a number from ${LEAST_CONVERSATIONS} on. Usage: ${USAGE}`);
  }
  return { name, quick, conversations: conversations === undefined ? null : Math.floor(Number(conversations)) };
}

main().then((code) => process.exit(code), (error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
