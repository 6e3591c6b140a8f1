// How often the gold reply that ranks first is the right one, and how often none is offered where there is none: on the
// scenarios, which are the examination, and on questions of other people. The gold replies are those of the demo shop.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import type { Client } from "pg";
import { lastHourFolder, loadScenarios, scenarioFolder } from "../../local/chatwoot/scenarios.ts";
import { useDatabase } from "../support/database.ts";
import { askScenario, type Examination, examine, type Question, readParaphrases } from "../support/suggestions.ts";

const database = useDatabase();
const seed = fileURLToPath(new URL("../../supabase/seeds/gold_replies.sql", import.meta.url));

/** Percent, the default of the setting draft_confidence_floor. */
const FLOOR = 40;

let client: Client;
let scenarios: Question[];
let paraphrases: (Question & { set: string })[];
beforeAll(async () => {
  client = await database.connect();
  await client.query(await readFile(seed, "utf8"));
  scenarios = [...await loadScenarios(scenarioFolder), ...await loadScenarios(lastHourFolder)].map(askScenario);
  paraphrases = await readParaphrases();
}, 120_000);

/** Prints a table for whoever reads the log, and returns the figures. */
async function examined(name: string, questions: Question[]): Promise<Examination> {
  const found = await examine(client, questions, FLOOR / 100);
  const percent = (part: number, of: number) => `${part} of ${of} (${Math.round(part / of * 100)} %)`;
  console.info(
    `${name}: first and right ${percent(found.first, found.known)}, drafted and right ${
      percent(found.drafted, found.known)
    }, abstained where nothing is known ${percent(found.abstained, found.unknown)}`,
  );
  return found;
}

describe("the gold replies of the demo shop", () => {
  test("are all approved, and the seed may be loaded again", async () => {
    await client.query(await readFile(seed, "utf8"));

    const { rows } = await client.query(
      `select status, count(*)::integer as replies, count(distinct category)::integer as categories,
        count(distinct language)::integer as languages, sum(jsonb_array_length(findings))::integer as findings
      from replies.gold_replies group by status`,
    );

    expect(rows).toEqual([{ status: "approved", replies: 89, categories: 5, languages: 5, findings: 0 }]);
  });

  test("include each one that a scenario or a paraphrase names", async () => {
    const { rows } = await client.query("select origin_key from replies.gold_replies");
    const keys = rows.map(({ origin_key }) => origin_key);

    expect(keys).toEqual(
      expect.arrayContaining([...scenarios, ...paraphrases].flatMap(({ gold_reply }) => gold_reply ?? [])),
    );
  });

  test("hold no question copied from a scenario", async () => {
    const { rows } = await client.query("select unnest(questions) as question from replies.gold_replies");
    const asked = scenarios.map(({ text }) => text.toLowerCase());

    const copied = rows.filter(({ question }) => asked.some((text) => text.includes(question.toLowerCase())));

    expect(copied).toEqual([]);
  });
});

describe("of the scenarios", () => {
  test("the right gold reply is drafted for eight in ten, and none for nine in ten without an answer", async () => {
    const found = await examined("scenarios", scenarios);

    expect(found.known).toBeGreaterThanOrEqual(20);
    expect(found.drafted / found.known).toBeGreaterThanOrEqual(0.8);
    expect(found.abstained / found.unknown).toBeGreaterThanOrEqual(0.9);
  });
});

describe("of other people's questions", () => {
  test.each([
    { set: "tuning", drafted: 0.8, abstained: 0.85 },
    { set: "revision", drafted: 0.7, abstained: 0.85 },
    // Written after the last change to the ranking and never tuned to: what to expect of strangers.
    { set: "blind", drafted: 0.7, abstained: 0.9 },
  ])("the $set ones find theirs, and those without an answer find none", async ({ set, drafted, abstained }) => {
    const questions = paraphrases.filter((question) => question.set === set);

    const found = await examined(`paraphrases, ${set}`, questions);

    expect(questions.length).toBeGreaterThanOrEqual(30);
    expect(found.drafted / found.known).toBeGreaterThanOrEqual(drafted);
    expect(found.abstained / found.unknown).toBeGreaterThanOrEqual(abstained);
  });

  test("a draft that is offered is the right one in nine cases of ten", async () => {
    const found = await examined("all of them", [...scenarios, ...paraphrases]);

    expect(found.drafted / found.offered).toBeGreaterThanOrEqual(0.9);
  });
});
