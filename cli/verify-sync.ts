// occ verify-sync: compares the mirror with Chatwoot, day by day, and waits for the answer.
import type { Command } from "commander";
import type { Finish } from "./program.ts";
import { findSourceAccount } from "./shared/accounts.ts";
import { findConnection, withDatabase } from "./shared/connection.ts";
import { readInstant, readWhole, withAccount, withConnection } from "./shared/options.ts";
import { bar, table } from "./shared/output.ts";
import { type Context, type Finished, pause, throwIfInterrupted } from "./shared/outside.ts";
import { EXIT, Problem } from "./shared/problem.ts";

interface Options {
  account?: string;
  since: string;
  until?: string;
  wait: string;
  dbUrl?: string;
}

interface Row {
  door: string;
  state: string;
  problem: string | null;
  day: string | null;
  entity: string | null;
  source_rows: string | null;
  mirror_rows: string | null;
  differing: string | null;
  healed: string | null;
  is_equal: boolean | null;
}

const DAY = 86_400_000;

export function addVerifySync(program: Command, finish: Finish): Command {
  const command = withAccount(withConnection(program.command("verify-sync"), { api: false }))
    .description("compare the mirror with Chatwoot, day by day, and heal what differs")
    .option("--since <instant>", "conversations begun at or after, rounded down to the day", "7d")
    .option("--until <instant>", "conversations begun before, rounded up to the day; now unless given")
    .option("--wait <seconds>", "how long to wait for the end", "3600")
    .addHelpText("after", `\nExample:\n  npm run occ -- verify-sync --since 2026-11-01 --until 2026-11-08`);
  command.action((options: Options) => finish((context) => verify(options, context))());
  return command;
}

async function verify(options: Options, context: Context): Promise<Finished> {
  const { output, outside } = context;
  const now = outside.now();
  // Whole days, so that asking again within the day is the same comparison, which then goes on.
  const since = new Date(Math.floor(readInstant(options.since, "--since", now).getTime() / DAY) * DAY);
  const until = new Date(Math.ceil(readInstant(options.until ?? "now", "--until", now).getTime() / DAY) * DAY);
  if (since >= until) {
    throw new Problem(EXIT.usage, "--until is not after --since.", "Give the earlier instant as --since.");
  }
  const milliseconds = readWhole(options.wait, "--wait", { from: 0, to: 86_400 }) * 1000;
  const days = (until.getTime() - since.getTime()) / DAY;
  const connection = await findConnection(options, context);
  return await withDatabase(connection.dbUrl, context, async (database) => {
    const accountId = await findSourceAccount(options.account, database);
    const began = performance.now();
    let rows: Row[] = [];
    let isDone = false;
    for (;;) {
      throwIfInterrupted(context);
      rows = await database.rows<Row>(
        `select door, state, problem, day::text, entity, source_rows, mirror_rows, differing, healed, is_equal
        from api.verify_sync($1::bigint, $2, $3)`,
        [accountId, since, until],
      );
      isDone = rows.every(({ state }) => state === "done" || state === "failed");
      if (isDone || performance.now() - began >= milliseconds) break;
      const seen = new Set(rows.map(({ day }) => day)).size;
      output.progress(`${bar(seen / (days + 1))}  ${seen} of ${days} days, ${rows[0]?.state ?? "queued"}`);
      // Cron would go on within the minute; whoever waits lends a hand.
      await database.rows("call sync.tick_rest(budget => '5 seconds')");
      await pause(500, context);
    }
    const told = rows.filter(({ day }) => day !== null);
    output.line(
      table(
        ["door", "day", "entity", "source", "mirror", "differing", "healed", "equal"],
        told.map((row) => ({
          ...row,
          source: row.source_rows,
          mirror: row.mirror_rows,
          equal: row.is_equal ? "yes" : "NO",
        })),
      ),
    );
    const failed = rows.find(({ state }) => state === "failed");
    const unequal = told.filter(({ is_equal }) => !is_equal).length;
    const verdict = failed !== undefined
      ? {
        message: `The comparison failed: ${failed.problem ?? "no reason given"}`,
        next: "occ doctor says whether the sync is well.",
      }
      : !isDone
      ? {
        message: "The comparison is still at work.",
        next: "Run the same command again later, or with a longer --wait.",
      }
      : unequal > 0
      ? {
        message: `${unequal} of ${told.length} rows are not equal.`,
        next:
          `Which: select entity, id, kind, fields from api.sync_differences where account_id = ${accountId} and not is_healed;`,
      }
      : null;
    const healed = told.reduce((sum, row) => sum + Number(row.healed ?? 0), 0);
    if (verdict === null) {
      output.line(`✔ All equal${healed > 0 ? ` now; rows put right: ${healed}` : ""}.`);
    } else {
      output.line(`✘ ${verdict.message}`);
      output.line(`→ ${verdict.next}`);
    }
    return {
      exit: verdict === null ? EXIT.fine : EXIT.finding,
      data: {
        account_id: accountId,
        since,
        until,
        state: isDone ? failed ? "failed" : "done" : "running",
        healed,
        days: told,
      },
    };
  }, { atCtrlC: () => "Stopped by Ctrl-C; the comparison goes on by cron, and the same command shows it." });
}
