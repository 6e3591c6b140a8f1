// The first thing every npm script runs. It needs nothing but Node, so that a bare checkout works: it installs the
// packages when they are missing or not those of package-lock.json, and hands over.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const COMMANDS = {
  start: ["--import", "tsx", "local/start.ts"],
  info: ["--import", "tsx", "local/info.ts"],
  reset: ["--import", "tsx", "local/reset.ts"],
  check: ["--import", "tsx", "local/check.ts"],
  bench: ["--import", "tsx", "bench/run.ts"],
  docs: ["--import", "tsx", "docs/generate.ts"],
  occ: ["--import", "tsx", "cli/occ.ts"],
  test: ["node_modules/vitest/vitest.mjs", "run"],
};

function stop(sentence) {
  console.error(sentence);
  process.exit(1);
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  stop(`This is Node ${process.versions.node}, and 20.19 or newer is needed: install a newer Node and try again.`);
}
const [name, ...rest] = process.argv.slice(2);
if (!Object.hasOwn(COMMANDS, name)) {
  stop(`There is no command "${name}": use one of ${Object.keys(COMMANDS).join(", ")}.`);
}

const stamp = join(root, "node_modules", ".occ-installed");
const wanted = createHash("sha256").update(readFileSync(join(root, "package-lock.json")))
  .update(`${process.platform} ${process.arch}`).digest("hex");
if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  console.error("Installing packages (about a minute the first time) …");
  // No install script is needed: what they would do (links, binaries) happens at the start instead, and visibly.
  const installed = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  if (installed.status !== 0) {
    stop("The packages could not be installed (see above): check the network to your npm registry and try again.");
  }
  writeFileSync(stamp, wanted);
}

const child = spawn(process.execPath, [...COMMANDS[name], ...rest], {
  cwd: root,
  stdio: "inherit",
  // Files are named as seen from where the command was typed.
  env: { ...process.env, INIT_CWD: process.env.INIT_CWD ?? process.cwd() },
});
// Ctrl-C reaches the child by itself, as it is in the same group; this process only has to wait for it.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
// A terminated npm takes its shell with it but not this process: without a parent there is nobody left to serve.
const parent = process.ppid;
setInterval(() => process.ppid === parent || child.kill("SIGTERM"), 1000).unref();
child.on("exit", (code, signal) => process.exit(signal ? 1 : code ?? 1));
