// What an account promises its customers: without a service level policy nothing is due, and only first responses are
// measured, by the default target.
import type { Database } from "./connection.ts";

export interface Policies {
  /** That hold now. */
  inForce: number;
  /** That ever held; a team that retired all of its policies meant to. */
  ever: number;
}

export async function readPolicies(database: Database, accountId: string): Promise<Policies> {
  const [{ in_force: inForce, ever }] = await database.rows<{ in_force: number; ever: number }>(
    `select (count(*) filter (where valid_until is null))::integer as in_force,
      count(distinct policy_id)::integer as ever
    from sla.policies where account_id = $1::bigint`,
    [accountId],
  );
  return { inForce, ever };
}

/** The statement that makes the default promise. */
export const addDefaultPolicy = (accountId: string): string => `select api.add_default_sla_policy(${accountId});`;

export const NO_PROMISE = "no SLA policy was ever saved, so nothing is promised, and only first responses are measured";
