// Type-checks every edge function with the Deno and the import map it runs with, without a network.
// Usage: tsx local/functions/check.ts
import { execa } from "execa";
import { join } from "node:path";
import process from "node:process";
import { readSettings, UserError } from "../settings.ts";
import { findDeno } from "./deno.ts";
import { findFunctions, prepareImports, writeImportMap } from "./imports.ts";

const { projectRoot, home } = readSettings(process.env);

async function check() {
  const folder = join(home, "functions");
  const deno = findDeno(projectRoot);
  await prepareImports(projectRoot, folder);
  const options = { cwd: projectRoot, stdio: "inherit", env: { DENO_DIR: join(home, "deno") }, reject: false } as const;
  const flags = ["check", "--quiet", "--no-remote", "--no-lock", `--config=${projectRoot}/deno.json`];
  // The part of the local runner that runs in Deno is out of reach of tsc.
  const runs = [["local/functions/serve.ts"]];
  for (const source of await findFunctions(projectRoot, {})) {
    runs.push([`--import-map=${await writeImportMap(source, { projectRoot, folder })}`, source.entry]);
  }
  let failed = 0;
  for (const run of runs) {
    if ((await execa(deno, [...flags, ...run], options)).exitCode !== 0) failed += 1;
  }
  console.log(`deno check: ${runs.length - failed} passed, ${failed} failed`);
  return failed === 0;
}

check().then((passed) => {
  process.exitCode = passed ? 0 : 1;
}, (error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exitCode = 1;
});
