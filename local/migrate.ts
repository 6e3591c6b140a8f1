// Migrations and seed, applied by the Supabase CLI itself: what works here is what `supabase db push` does elsewhere.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { UserError } from "./settings.ts";

/** Runs the Supabase CLI of this project against a database. */
export async function supabase(projectRoot: string, args: string[]): Promise<string> {
  const result = await execa(join(projectRoot, "node_modules", ".bin", "supabase"), args, {
    cwd: projectRoot,
    all: true,
    reject: false,
    stdin: "ignore",
    env: { SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", NO_COLOR: "1" },
  });
  if (result.exitCode !== 0) {
    throw new UserError(`supabase ${args[0]} ${args[1] ?? ""} failed:\n${result.all?.trim().slice(-2000)}`);
  }
  return result.stdout;
}

/** Applies what is not applied yet of supabase/migrations, and the seed. */
export async function migrate(projectRoot: string, options: { url: string; withSeed: boolean }): Promise<void> {
  await supabase(projectRoot, [
    ...["db", "push", `--remote=${options.url}`, "--yes"],
    ...(options.withSeed ? ["--include-seed"] : []),
  ]);
}

/** Refuses data made by migrations that have been edited since: until 1.0 they are edited in place. */
export async function refuseStaleData(projectRoot: string, home: string): Promise<void> {
  const made: Record<string, string> = JSON.parse(await readFile(join(home, RECORD), "utf8").catch(() => "{}"));
  const now = await hashes(projectRoot);
  const changed = Object.keys(made).filter((name) => now[name] !== made[name]);
  if (changed.length > 0) {
    throw new UserError(
      `The data in ${home} was made by other migrations than these (${
        changed[0]
      } has changed): run "npm run reset" to start with fresh data.`,
    );
  }
}

/** Remembers which migrations made the data. */
export async function recordMigrations(projectRoot: string, home: string): Promise<void> {
  await writeFile(join(home, RECORD), JSON.stringify(await hashes(projectRoot), null, 2));
}

const RECORD = "migrations.json";

async function hashes(projectRoot: string): Promise<Record<string, string>> {
  const folder = join(projectRoot, "supabase", "migrations");
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder)).filter((file) => file.endsWith(".sql")).sort()) {
    found[name] = createHash("sha256").update(await readFile(join(folder, name))).digest("hex");
  }
  return found;
}
