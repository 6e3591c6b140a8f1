// The project's pages, as the tests of the documentation read them.
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { readSettings } from "../../local/settings.ts";

export const { projectRoot } = readSettings({});

export interface Page {
  /** Relative to the checkout. */
  path: string;
  text: string;
  /** The text without its code blocks. */
  prose: string;
  examples: Example[];
}

export interface Example {
  /** The first word after the fence, such as sql. */
  language: string;
  /** What follows it, such as no-run; empty for an ordinary example. */
  mark: string;
  code: string;
  line: number;
}

/** The files below a folder of the checkout with this ending, sorted; none where there is no such folder. */
export async function filesBelow(folder: string, ending: string): Promise<string[]> {
  const entries = await readdir(join(projectRoot, folder), { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(projectRoot, join(entry.parentPath, entry.name))).sort();
}

export async function readText(path: string): Promise<string> {
  return await readFile(join(projectRoot, path), "utf8");
}

/** Every page that is written for people. */
export async function readPages(): Promise<Page[]> {
  const paths = [
    "README.md",
    "CHANGELOG.md",
    ...await filesBelow("docs", ".md"),
    ...await filesBelow("local", ".md"),
    ...await filesBelow("tests", ".md"),
  ];
  return await Promise.all(paths.map(async (path) => readPage(path, await readText(path))));
}

export function readPage(path: string, text: string): Page {
  const examples: Example[] = [];
  const prose: string[] = [];
  let open: (Example & { fence: string }) | null = null;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^\s*(`{3,})\s*(\S*)\s*(.*)$/.exec(line);
    if (open === null && fence !== null) {
      open = { fence: fence[1], language: fence[2], mark: fence[3], code: "", line: index + 1 };
    } else if (open !== null && line.trim() === open.fence) {
      const { fence: _, ...example } = open;
      examples.push(example);
      open = null;
    } else if (open !== null) {
      open.code += `${line}\n`;
    } else {
      prose.push(line);
    }
  }
  if (open !== null) throw new Error(`${path}:${open.line} opens a code block that never ends`);
  return { path, text, prose: prose.join("\n"), examples };
}

/** What a link to each heading of the page ends in. */
export function anchors(page: Page): string[] {
  return page.prose.split("\n").flatMap((line) => {
    const heading = /^#{1,6} (.+)$/.exec(line)?.[1];
    if (heading === undefined) return [];
    return heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-");
  });
}
