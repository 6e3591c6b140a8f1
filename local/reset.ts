// npm run reset: deletes this stack's data, keys and binaries, so that the next start begins anew.
import { rm } from "node:fs/promises";
import { removePostgres } from "./postgres/server.ts";
import { readSettings, UserError } from "./settings.ts";
import { join } from "node:path";

async function main(): Promise<void> {
  const { home } = readSettings(process.env);
  await removePostgres(home);
  // By name, and not the whole folder: OCC_HOME may point at a place that holds other things too.
  for (const name of ["keys.json", "migrations.json", "functions", "deno"]) {
    await rm(join(home, name), { recursive: true, force: true });
  }
  console.log(`Cleared ${home}. npm start begins with fresh data and new keys.`);
}

main().catch((error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
