// A migrated Postgres that lives for one piece of work: for checks and generated files.
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { migrate } from "./migrate.ts";
import { freePort } from "./ports.ts";
import { type Postgres, type PostgresOptions, removePostgres, startPostgres } from "./postgres/server.ts";

/** A folder for a stack that will not stay. Open to pass through, so that Postgres reaches it when we are root. */
export async function temporaryHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "occ-"));
  await chmod(home, 0o711);
  return home;
}

/** Removes a stopped stack that will not be needed again, wherever it lies. */
export async function removeHome(home: string): Promise<void> {
  await removePostgres(home);
  await rm(home, { recursive: true, force: true });
}

/** Does the work against a fresh database with all migrations applied, then removes it. */
export async function withScratchPostgres<Value>(
  projectRoot: string,
  work: (postgres: Postgres) => Promise<Value>,
  options: Pick<PostgresOptions, "binaries" | "settings" | "prepare"> = {},
): Promise<Value> {
  const home = await temporaryHome();
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
    await removeHome(home);
  }
}
