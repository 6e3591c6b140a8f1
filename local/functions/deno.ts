// Where the Deno that npm installed is: in a package of its own for each platform.
import process from "node:process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { UserError } from "../settings.ts";

/** The Deno binary among the project's packages. Not the `deno` package's own file: its install script may not run. */
export function findDeno(projectRoot: string): string {
  const platform = `${process.platform}-${process.arch}${process.platform === "linux" ? "-glibc" : ""}`;
  try {
    const manifest = createRequire(join(projectRoot, "package.json")).resolve(`@deno/${platform}/package.json`);
    const binary = join(dirname(manifest), "deno");
    if (existsSync(binary)) return binary;
  } catch {
    // Told below, with what to do.
  }
  throw new UserError(
    `Deno for ${platform} is not installed. Run "npm ci" (with optional dependencies), on Linux or macOS, x64 or arm64.`,
  );
}
