// occ sync backfill: reads an account's history from Chatwoot now, and shows how far it is.
import type { Command } from "commander";
import type { Finish } from "./program.ts";
import { findSourceAccount } from "./shared/accounts.ts";
import { findConnection, withDatabase } from "./shared/connection.ts";
import { readWhole, withAccount, withConnection } from "./shared/options.ts";
import { bar, table } from "./shared/output.ts";
import { type Context, type Finished, pause, throwIfInterrupted } from "./shared/outside.ts";
import { EXIT } from "./shared/problem.ts";

interface Options {
  account?: string;
  wait: string;
  dbUrl?: string;
}

interface Row {
  door: string;
  state: string;
  problem: string | null;
  hint: string | null;
  retry_at: Date | null;
  backfill_share: string | null;
  backfill_done: string;
  backfill_total: string | null;
  backfill_finished_at: Date | null;
  backfill_expected_at: Date | null;
  rows_read: string;
  rows_changed: string;
}

const STATUS = `select door, state, problem, hint, retry_at, backfill_share, backfill_done, backfill_total,
  backfill_finished_at, backfill_expected_at, rows_read, rows_changed
from api.sync_status where account_id = $1::bigint order by door`;

export function addSync(program: Command, finish: Finish): Command {
  const sync = program.command("sync").description("read Chatwoot")
    .addHelpText("after", `\nExample:\n  npm run occ -- sync backfill --account 1`);
  const command = withAccount(withConnection(sync.command("backfill"), { api: false }))
    .description("read the whole history now instead of a part each minute, and show how far it is")
    .option("--wait <seconds>", "how long to go on", "86400")
    .addHelpText("after", `\nExample:\n  npm run occ -- sync backfill --account 1`);
  command.action((options: Options) => finish((context) => backfill(options, context))());
  sync.action(() => sync.help({ error: true }));
  return command;
}

async function backfill(options: Options, context: Context): Promise<Finished> {
  const { output } = context;
  const milliseconds = readWhole(options.wait, "--wait", { from: 0, to: 7 * 86_400 }) * 1000;
  const connection = await findConnection(options, context);
  return await withDatabase(connection.dbUrl, context, async (database) => {
    const accountId = await findSourceAccount(options.account, database);
    const began = performance.now();
    let rows: Row[] = [];
    const isOver = ({ state, backfill_finished_at }: Row) => state !== "active" || backfill_finished_at !== null;
    for (;;) {
      throwIfInterrupted(context);
      rows = await database.rows<Row>(STATUS, [accountId]);
      if (rows.every(isOver) || performance.now() - began >= milliseconds) break;
      output.progress(rows.map(progressOf).join("   "));
      // Short ticks, so that the picture moves; what cron has under way is left to it.
      await database.rows("call sync.tick_rest(budget => '3 seconds')");
      await database.rows("call sync.tick_database(budget => '3 seconds')");
      await pause(rows.some(({ retry_at }) => retry_at !== null) ? 2_000 : 200, context);
    }
    output.line(
      table(
        ["door", "state", "history", "read", "changed"],
        rows.map((row) => ({
          ...row,
          history: row.backfill_finished_at !== null ? "complete" : shareOf(row),
          read: row.rows_read,
          changed: row.rows_changed,
        })),
      ),
    );
    const open = rows.filter(({ backfill_finished_at }) => backfill_finished_at === null);
    for (const row of open) {
      output.line(
        `✘ ${row.door}: ${
          row.state === "active" ? row.problem ?? "not done yet." : `${row.state}. ${row.problem ?? ""}`
        }`,
      );
      output.line(
        `→ ${
          row.hint ?? (row.state === "paused"
            ? `select api.resume_sync(${accountId}, '${row.door}');`
            : "Run the same command again, or leave it to cron.")
        }`,
      );
    }
    if (open.length === 0) output.line("✔ The whole history is here.");
    return { exit: open.length === 0 ? EXIT.fine : EXIT.finding, data: { account_id: accountId, sources: rows } };
  }, {
    statementSeconds: 120,
    atCtrlC: () => "Stopped by Ctrl-C; cron goes on where it was, a part each minute.",
  });
}

const shareOf = ({ backfill_share }: Row) =>
  backfill_share === null ? "not known yet" : `${Math.floor(Number(backfill_share) * 100)} %`;

function progressOf(row: Row): string {
  const many = `${row.backfill_done} of ${row.backfill_total ?? "?"}`;
  const until = row.backfill_expected_at === null
    ? ""
    : `, until about ${row.backfill_expected_at.toISOString().slice(11, 16)} UTC`;
  const trouble = row.problem === null ? "" : ` (${row.problem})`;
  return `${row.door} ${bar(Number(row.backfill_share ?? 0))}  ${many}${until}${trouble}`;
}
