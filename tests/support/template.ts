// Once a run: a Postgres with a migrated template database, from which each test file clones its own.
import { Client } from "pg";
import type { TestProject } from "vitest/node";
import { migrate } from "../../local/migrate.ts";
import { freePort } from "../../local/ports.ts";
import { startPostgres } from "../../local/postgres/server.ts";
import { removeHome, temporaryHome } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The superuser's URL of the server; its database is not to be used. */
    adminUrl: string;
  }
}

export const TEMPLATE = "occ_template";
const QUICK = { fsync: "off", synchronous_commit: "off", full_page_writes: "off" };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const home = await temporaryHome();
  const port = await freePort();
  // The second tier: a Postgres of the system, with the real pg_cron.
  const binaries = process.env.OCC_POSTGRES_BIN;
  const options = { home, port, binaries, defaultPrivileges: "granted" as const };
  let postgres = await startPostgres({
    ...options,
    settings: { ...QUICK, ...(binaries ? { shared_preload_libraries: "pg_cron" } : {}) },
    // Debian's pg_cron is not trusted, so as on a hosted project the platform installs it.
    prepare: binaries ? "create extension pg_cron; grant usage on schema cron to postgres;" : undefined,
  });
  await migrate(readSettings({}).projectRoot, { url: postgres.url, withSeed: false });
  if (binaries) {
    // The launcher of pg_cron sits in its database, and a database somebody sits in cannot be cloned.
    await run(postgres.adminUrl, "create database cron_elsewhere");
    await postgres.stop();
    postgres = await startPostgres({
      ...options,
      settings: { ...QUICK, shared_preload_libraries: "pg_cron", "cron.database_name": "cron_elsewhere" },
    });
  }
  await run(postgres.adminUrl, `create database ${TEMPLATE} template postgres owner postgres is_template true`);
  project.provide("adminUrl", postgres.adminUrl);
  return async () => {
    await postgres.stop();
    await removeHome(home);
  };
}

async function run(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}
