// Files of NAME=value lines: one variable is set, every other line stays byte for byte, and a reader never sees half of it.
import { randomBytes } from "node:crypto";
import { chmod, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseEnv } from "node:util";
import { codeOf, EXIT, Problem } from "./problem.ts";

/** Sets the variable in the text; quoted so that every reader of such files takes it as it is. */
export function setVariable(text: string, name: string, value: string, file: string): string {
  const line = `${name}=${value}`;
  const found = [...text.matchAll(new RegExp(`^[ \\t]*(?:export[ \\t]+)?${name}[ \\t]*=`, "gm"))];
  if (found.length > 1) {
    throw new Problem(
      EXIT.finding,
      `${file} sets ${name} twice.`,
      "Delete the line that does not count, then try again.",
    );
  }
  const before = parseEnv(text);
  const changed = found.length === 0
    ? `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${line}\n`
    : `${text.slice(0, found[0].index)}${line}${text.slice(endOfValue(text, found[0].index + found[0][0].length))}`;
  const { [name]: _old, ...othersBefore } = before;
  const { [name]: _new, ...othersAfter } = parseEnv(changed);
  if (JSON.stringify(othersBefore) !== JSON.stringify(othersAfter)) {
    throw new Problem(
      EXIT.finding,
      `${file} cannot be changed without touching other lines: a quote is left open somewhere.`,
      `Close the quote, or set ${name} by hand.`,
    );
  }
  return changed;
}

// A quoted value may go over several lines.
function endOfValue(text: string, from: number): number {
  const value = /^[ \t]*(["'`])/.exec(text.slice(from));
  const start = value === null ? from : from + value[0].length;
  const close = value === null ? -1 : text.indexOf(value[1], start);
  const lineEnd = text.indexOf("\n", close === -1 ? from : close);
  return lineEnd === -1 ? text.length : lineEnd;
}

export async function readOrEmpty(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw new Problem(EXIT.finding, `${file} cannot be read (${codeOf(error)}).`, "Check its owner and rights.");
  }
}

/** Writes beside the file and renames: there is the old file or the new one, never half of one. */
export async function writeWhole(file: string, text: string, mode = 0o600): Promise<void> {
  const target = await realpath(file).catch(() => file);
  const kept = await stat(target).then((found) => found.mode & 0o777, () => mode);
  const beside = join(dirname(target), `.${randomBytes(6).toString("hex")}.part`);
  try {
    const handle = await open(beside, "wx", kept);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await chmod(beside, kept);
    await rename(beside, target);
  } catch (error) {
    await rm(beside, { force: true });
    throw new Problem(
      EXIT.finding,
      `${file} could not be written (${codeOf(error)}); it is as it was.`,
      "Check the folder's rights and the space on the disk, then try again.",
    );
  }
}
