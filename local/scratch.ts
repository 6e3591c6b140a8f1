// A migrated Postgres that lives for one piece of work: for checks and generated files.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate } from "./migrate.ts";
import { freePort } from "./ports.ts";
import { type Postgres, type PostgresOptions, removePostgres, startPostgres } from "./postgres/server.ts";

/** Does the work against a fresh database with all migrations applied, then removes it. */
export async function withScratchPostgres<Value>(
  projectRoot: string,
  work: (postgres: Postgres) => Promise<Value>,
  options: Pick<PostgresOptions, "binaries" | "settings" | "prepare"> = {},
): Promise<Value> {
  const home = await mkdtemp(join(tmpdir(), "occ-scratch-"));
  try {
    const postgres = await startPostgres({
      ...options,
      home,
      port: await freePort(),
      settings: { fsync: "off", ...options.settings },
    });
    try {
      await migrate(projectRoot, { url: postgres.url, withSeed: false });
      return await work(postgres);
    } finally {
      await postgres.stop();
    }
  } finally {
    await removePostgres(home);
    await rm(home, { recursive: true, force: true });
  }
}
