// The documentation against what it describes: examples run, codes, variables and commands are named, links lead on.
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { parseEnv } from "node:util";
import { describe, expect, test } from "vitest";
import { readSettings as readWebhookSettings } from "../../supabase/functions/chatwoot-webhook/settings.ts";
import { readSettings } from "../../local/settings.ts";
import { deliver } from "../database/deliver.ts";
import { story } from "../fixtures/webhooks.ts";
import { type Sql, useDatabase } from "../support/database.ts";
import { anchors, type Example, filesBelow, projectRoot, readPage, readPages, readText } from "./pages.ts";

const pages = await readPages();
const page = (path: string) => pages.find((candidate) => candidate.path === path) ?? readPage(path, "");
const runnable = pages.flatMap(({ path, examples }) =>
  examples.filter(({ language, mark }) => language === "sql" && mark !== "no-run")
    .map((example) => ({ where: `${path}:${example.line}`, ...example }))
);

describe("SQL examples run", () => {
  const database = useDatabase();

  // What a reader has before trying: the demo member, a person who signed up, a day of events, one of them dead.
  async function prepare(sql: Sql): Promise<void> {
    await sql.rows(await readText("supabase/seed.sql"));
    await sql.rows("insert into auth.users (id, email) values (gen_random_uuid(), 'you@example.com')");
    for (const [index, body] of story().entries()) await deliver(sql, { id: `story-${index}`, body });
    await deliver(sql, { id: "dead", body: "{" });
  }

  test("there are examples to run", () => expect(runnable.length).toBeGreaterThan(20));

  test.each(runnable)("$where", (example: Example) =>
    database.rolledBack(async (sql) => {
      await prepare(sql);
      const fault = /^fails-with-(\w{5})$/.exec(example.mark)?.[1];
      if (fault === undefined) {
        expect(example.mark, "an example is plain, no-run, or fails-with-<sqlstate>").toBe("");
        await sql.rows(example.code);
      } else {
        await sql.throws(fault, example.code);
      }
    }));
});

describe("what the pages must name", () => {
  const sources = async (folder: string, ending: string) =>
    (await Promise.all((await filesBelow(folder, ending)).map(readText))).join("\n");
  const all = (text: string, pattern: RegExp) =>
    [...new Set([...text.matchAll(pattern)].map(([, found]) => found))].sort();

  test("every error code that is raised has a heading in docs/errors.md, and every heading a code", async () => {
    const raised = all(await sources("supabase/migrations", ".sql"), /errcode\s*=\s*'(OC\w{3})'/g);
    const answered = all(await sources("supabase/functions", ".ts"), /code: "(OC\w{3})"/g);

    expect(raised).toContain("OC403");
    expect(answered).toContain("OC401");
    expect(all(page("docs/errors.md").prose, /^### (OC\w+)$/gm)).toEqual([...new Set([...raised, ...answered])].sort());
  });

  test("every variable that is read is in .env.example, and every one there is read", async () => {
    const read = [
      ...all(await sources("supabase/functions", ".ts"), /Deno\.env\.get\("(\w+)"\)/g),
      ...all(await sources("local", ".ts"), /process\.env\.(\w+)/g).filter((name) => name.startsWith("OCC_")),
      ...all(await sources("tests", ".ts"), /process\.env\.(\w+)/g).filter((name) => name.startsWith("OCC_")),
      ...all(await sources("cli", ".ts"), /\benv\.(OCC_\w+)/g),
      ...all(await sources("cli", ".ts"), /variable: "(OCC_\w+)"/g),
      ...all(await readText("local/settings.ts"), /^ {2}(OCC_\w+):/gm),
    ];

    expect(read).toContain("OCC_HOME");
    expect(all(await readText(".env.example"), /^#?([A-Z_]+)=/gm)).toEqual([...new Set(read)].sort());
  });

  test("the placeholders of .env.example start nothing, and its defaults are the true ones", async () => {
    const text = await readText(".env.example");
    const all = parseEnv(text.replaceAll(/^#([A-Z_]+=)/gm, "$1"));

    // A placeholder that worked would be a secret everybody knows.
    expect(() => readWebhookSettings(parseEnv(text))).toThrow("CHATWOOT_WEBHOOK_SECRETS is malformed: a secret has");
    const secret = { CHATWOOT_WEBHOOK_SECRETS: '{"1": ["a-secret-that-is-long-enough"]}' };
    expect(
      readWebhookSettings({ ...secret, CHATWOOT_WEBHOOK_TOLERANCE_SECONDS: all.CHATWOOT_WEBHOOK_TOLERANCE_SECONDS }),
    )
      .toEqual(readWebhookSettings(secret));
    const { OCC_HOME, OCC_API_PORT, OCC_DB_PORT, OCC_CHATWOOT_PORT } = all;
    expect(readSettings({ OCC_HOME, OCC_API_PORT, OCC_DB_PORT, OCC_CHATWOOT_PORT })).toEqual(readSettings({}));
  });

  test("every npm script is in the README, and no page names one that does not exist", async () => {
    const names = Object.keys(JSON.parse(await readText("package.json")).scripts);
    const shown = (name: string) => ["start", "test"].includes(name) ? `npm ${name}` : `npm run ${name}`;

    for (const name of names) expect(page("README.md").text).toContain(`\`${shown(name)}`);
    for (const { path, text } of pages) {
      const unknown = all(text, /\bnpm run (?:--silent |-s )?([a-z]+)/g).filter((name) => !names.includes(name));
      expect(unknown, path).toEqual([]);
    }
  });

  test("every room has a page, and the page names its tables and views", async () => {
    for (const file of await filesBelow("supabase/migrations", ".sql")) {
      const sql = await readText(file);
      // A room may have several files; the schedules have none.
      for (const [, room, name] of sql.matchAll(/^create (?:table|view) (\w+)\.(\w+)/gm)) {
        expect(page(`docs/rooms/${room}.md`).text).toContain(`\`${name}\``);
        expect(page("docs/README.md").text).toContain(`rooms/${room}.md`);
      }
    }
  });

  test("every word of the glossary says what to avoid", () => {
    const entries = page("docs/glossary.md").prose.split("\n\n").filter((block) => block.startsWith("**"));

    expect(entries.length).toBeGreaterThan(20);
    expect(entries.filter((entry) => !entry.includes("_Avoid:_"))).toEqual([]);
    const words = entries.map((entry) => /^\*\*(.+?)\*\*/.exec(entry)?.[1].toLowerCase() ?? "");
    expect(words).toEqual([...words].sort());
  });
});

test("every link inside the project leads to a file and a heading that exist", () => {
  const broken = pages.flatMap(({ path, prose }) =>
    [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target)
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [file, anchor] = target.split("#");
        const found = file === "" ? path : normalize(join(dirname(path), file));
        if (!existsSync(join(projectRoot, found))) return true;
        return anchor !== undefined && !anchors(page(found)).includes(anchor);
      })
      .map((target) => `${path}: ${target}`)
  );

  expect(broken).toEqual([]);
});

test("the lists of pages are whole: no page that nothing leads to", () => {
  const linked = new Set(
    pages.flatMap(({ path, prose }) =>
      [...prose.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map(([, target]) => normalize(join(dirname(path), target)))
    ),
  );

  expect(
    pages.map(({ path }) => path).filter((path) =>
      path.startsWith("docs/") && !linked.has(path) && path !== "docs/README.md"
    ),
  )
    .toEqual([]);
});
