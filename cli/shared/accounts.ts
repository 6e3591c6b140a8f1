// Which account a command is about.
import type { Database } from "./connection.ts";
import { readAccountId } from "./options.ts";
import { EXIT, Problem } from "./problem.ts";

/** The accounts this installation knows, as text. */
export async function knownAccounts(database: Database): Promise<string[]> {
  const rows = await database.rows<{ account_id: string }>(
    `select account_id::text from (select account_id from sync.sources union select account_id from access.members) as known
    order by known.account_id`,
  );
  return rows.map(({ account_id }) => account_id);
}

/** The account that was asked for, or the only one there is. */
export async function findAccount(asked: string | undefined, database: Database): Promise<string> {
  const accountId = asked === undefined ? null : readAccountId(asked);
  const known = await knownAccounts(database);
  if (accountId !== null) {
    const [{ is_known }] = await database.rows<{ is_known: boolean }>(
      "select exists (select from inbox.deliveries where account_id = $1::bigint) as is_known",
      [accountId],
    );
    if (is_known || known.includes(accountId)) return accountId;
    throw new Problem(
      EXIT.finding,
      `Account ${accountId} is not known here${known.length === 0 ? "" : `, but ${known.slice(0, 20).join(", ")}`}.`,
      `Check the number, or connect it: occ connect --account ${accountId}`,
    );
  }
  if (known.length === 1) return known[0];
  throw new Problem(
    EXIT.usage,
    known.length === 0
      ? "There is no account here yet."
      : `There are ${known.length} accounts here: ${known.slice(0, 20).join(", ")}.`,
    known.length === 0 ? "Connect one first: occ connect." : "Say which one with --account.",
  );
}

/** As findAccount, for work that a source must be there for. */
export async function findSourceAccount(asked: string | undefined, database: Database): Promise<string> {
  const accountId = await findAccount(asked, database);
  const sources = await database.rows("select from sync.sources where account_id = $1::bigint", [accountId]);
  if (sources.length > 0) return accountId;
  throw new Problem(
    EXIT.finding,
    `The sync has no source for account ${accountId}.`,
    `Connect it first: occ connect --account ${accountId}; or check the number.`,
  );
}
