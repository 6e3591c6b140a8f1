// occ replay: reads kept deliveries again, a window at a time, so that it can be watched and stopped.
import type { Command } from "commander";
import type { Finish } from "./program.ts";
import { findAccount } from "./shared/accounts.ts";
import { findConnection, withDatabase } from "./shared/connection.ts";
import { readInstant, withAccount, withConnection } from "./shared/options.ts";
import { bar, table } from "./shared/output.ts";
import { type Context, type Finished, throwIfInterrupted } from "./shared/outside.ts";
import { EXIT, Problem } from "./shared/problem.ts";

interface Options {
  account?: string;
  since?: string;
  until?: string;
  outcome?: string[];
  dryRun?: boolean;
  dbUrl?: string;
}

const OUTCOMES = ["applied", "ignored", "dead"];
const WINDOW = 500;

export function addReplay(program: Command, finish: Finish): Command {
  const command = withAccount(withConnection(program.command("replay"), { api: false }))
    .description("read kept deliveries again and merge them; safe to repeat")
    .option("--since <instant>", "received at or after: 2026-11-20, 2026-11-20T09:00Z, 24h")
    .option("--until <instant>", "received before")
    .option(
      "--outcome <outcome>",
      "those that ended so: applied, ignored or dead (the standard); again for more",
      (value: string, before: string[] = []) => [...before, value],
    )
    .option("--dry-run", "only count them")
    .addHelpText("after", `\nExample:\n  npm run occ -- replay --since 24h --outcome dead --outcome ignored`);
  command.action((options: Options) => finish((context) => replay(options, context))());
  return command;
}

async function replay(options: Options, context: Context): Promise<Finished> {
  const { output } = context;
  const outcomes = [...new Set(options.outcome ?? ["dead"])];
  const unknown = outcomes.find((outcome) => !OUTCOMES.includes(outcome));
  if (unknown !== undefined) {
    throw new Problem(EXIT.usage, `There is no outcome "${unknown}".`, `Use ${OUTCOMES.join(", ")}.`);
  }
  const now = context.outside.now();
  const since = options.since === undefined ? null : readInstant(options.since, "--since", now);
  const until = options.until === undefined ? null : readInstant(options.until, "--until", now);
  if (since !== null && until !== null && since >= until) {
    throw new Problem(EXIT.usage, "--until is not after --since.", "Give the earlier instant as --since.");
  }
  const connection = await findConnection(options, context);
  let done = 0;
  let total = 0;
  return await withDatabase(connection.dbUrl, context, async (database) => {
    const accountId = await findAccount(options.account, database);
    // Windows are cut between instants: what came at the same one stays together.
    const windows = await database.rows<{ starts_at: string; deliveries: string }>(
      `select min(received_at)::text as starts_at, count(*) as deliveries from (
        select received_at, (row_number() over (order by received_at, delivery_id) - 1) / $5 as part
        from inbox.deliveries
        where account_id = $1::bigint and purged_at is null and outcome = any ($4::text[])
          and received_at >= coalesce($2::timestamptz, '-infinity') and received_at < coalesce($3::timestamptz, 'infinity')
      ) as parts group by part order by part`,
      [accountId, since, until, outcomes, WINDOW],
    );
    total = windows.reduce((sum, { deliveries }) => sum + Number(deliveries), 0);
    const data = { account_id: accountId, outcomes, found: total };
    if (options.dryRun || total === 0) {
      output.line(`${total} deliveries of account ${accountId} would be read again (${outcomes.join(", ")}).`);
      return { exit: EXIT.fine, data };
    }
    const counts: Record<string, number> = {};
    for (const [index, { starts_at }] of windows.entries()) {
      throwIfInterrupted(context);
      const ends = windows[index + 1]?.starts_at ?? until?.toISOString() ?? "infinity";
      const rows = await database.rows<{ outcome: string; deliveries: string }>(
        "select outcome, deliveries from api.replay_deliveries($1::bigint, $2::timestamptz, $3::timestamptz, $4::text[])",
        [accountId, starts_at, ends, outcomes],
      );
      for (const row of rows) counts[row.outcome] = (counts[row.outcome] ?? 0) + Number(row.deliveries);
      // Of what came at one instant some may fall into the next window.
      done += rows.reduce((sum, row) => sum + Number(row.deliveries), 0);
      output.progress(`${bar(done / total)}  ${done} of ${total}`);
    }
    output.line(
      table(["outcome", "deliveries"], Object.entries(counts).map(([outcome, n]) => ({ outcome, deliveries: n }))),
    );
    const dead = counts.dead ?? 0;
    if (dead > 0) {
      output.line(`✘ Dead still: ${dead}.`);
      output.line(
        `→ Why: select reason, count(*) from api.deliveries where account_id = ${accountId} and outcome = 'dead' group by reason;`,
      );
    }
    return { exit: dead > 0 ? EXIT.finding : EXIT.fine, data: { ...data, counts } };
  }, {
    statementSeconds: 300,
    atCtrlC: () => `Stopped by Ctrl-C: ${done} of ${total} were read again, and all of those are kept.`,
  });
}
