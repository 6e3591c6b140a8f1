// Whether the right gold reply is found, and what finding it costs as the library grows: language, category, ranking and
// the rendered text, which is what a customer's message waits for.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "pg";
import { createRandom, type Random } from "../local/chatwoot/random.ts";
import { lastHourFolder, loadScenarios, scenarioFolder } from "../local/chatwoot/scenarios.ts";
import { migrate } from "../local/migrate.ts";
import { freePort } from "../local/ports.ts";
import { startPostgres } from "../local/postgres/server.ts";
import { printTable } from "../local/print.ts";
import { removeHome, temporaryHome } from "../local/scratch.ts";
import { readSettings } from "../local/settings.ts";
import { askScenario, examine, type Question, readParaphrases } from "../tests/support/suggestions.ts";
import type { BenchOptions } from "./run.ts";

const LEAST_DRAFTED = 0.8;
const LEAST_ABSTAINED = 0.9;
const MOST_MILLISECONDS = 50;
/** Of which the percentile is judged. */
const JUDGED_SIZE = 5000;
const SIZES = { full: [50, 500, JUDGED_SIZE], quick: [50, 200] };
const ROUNDS = { full: 3, quick: 1 };

/** Account 1 is the demo shop; that of a size has its number. */
const DEMO_ACCOUNT = 1;
const accountOf = (size: number) => 1000 + size;

export async function suggest({ quick }: BenchOptions): Promise<boolean> {
  const kind = quick ? "quick" : "full";
  const progress = (step: string) => console.error(`… ${step}`);
  const home = await temporaryHome();
  const stops: (() => Promise<void>)[] = [];
  let ending: Promise<void> | null = null;
  const end = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
    await removeHome(home);
  };
  const stop = () => ending ??= end();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stop().finally(() => process.exit(1)));
  }
  try {
    const postgres = await startPostgres({
      home,
      port: await freePort(),
      progress,
      settings: { statement_timeout: "0" },
    });
    stops.push(postgres.stop);
    const { projectRoot } = readSettings({});
    await migrate(projectRoot, { url: postgres.url, withSeed: false });
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    stops.push(() => client.end());
    progress("the gold replies of the demo shop");
    await client.query(await readFile(join(projectRoot, "supabase", "seeds", "gold_replies.sql"), "utf8"));
    const sets = await questionSets();
    const { rows: [{ floor }] } = await client.query(
      "select (ops.setting($1, 'draft_confidence_floor') #>> '{}')::double precision / 100 as floor",
      [DEMO_ACCOUNT],
    );
    const quality = await measureQuality(client, sets, floor);
    const times: Times[] = [];
    for (const size of SIZES[kind]) {
      progress(`a library of ${size}`);
      await makeLibrary(client, size);
      times.push(await measureTimes(client, size, sets.flatMap(({ questions }) => questions), ROUNDS[kind]));
    }

    console.log(
      `\nQuality, with the floor at ${Math.round(floor * 100)} %: of those with a known answer, the right one\n`,
    );
    printTable(
      ["questions", "known", "ranks first", "is drafted", "unknown", "abstained", "drafts that are right"],
      quality.map(({ name, ...found }) => ({
        questions: name,
        known: found.known,
        "ranks first": percent(found.first / found.known),
        "is drafted": percent(found.drafted / found.known),
        unknown: found.unknown,
        abstained: percent(found.abstained / found.unknown),
        "drafts that are right": percent(found.drafted / found.offered),
      })),
    );
    console.log("\nMilliseconds of one suggestion: language, category, ranking, rendering\n");
    printTable(
      ["gold replies", "questions", "p50", "p95", "longest", "something found"],
      times.map(({ size, milliseconds, found }) => ({
        "gold replies": size,
        questions: milliseconds.length,
        p50: percentile(milliseconds, 0.5).toFixed(1),
        p95: percentile(milliseconds, 0.95).toFixed(1),
        longest: Math.max(...milliseconds).toFixed(1),
        "something found": percent(found / milliseconds.length),
      })),
    );
    console.log();
    const [scenarios] = quality;
    const largest = times[times.length - 1];
    const slowest = percentile(largest.milliseconds, 0.95);
    const findings = [
      {
        what: "scenarios with a known answer: the right gold reply is drafted",
        found: percent(scenarios.drafted / scenarios.known),
        target: `≥ ${percent(LEAST_DRAFTED)}`,
        reached: scenarios.drafted / scenarios.known >= LEAST_DRAFTED,
      },
      {
        what: "scenarios without one: abstained",
        found: percent(scenarios.abstained / scenarios.unknown),
        target: `≥ ${percent(LEAST_ABSTAINED)}`,
        reached: scenarios.abstained / scenarios.unknown >= LEAST_ABSTAINED,
      },
      {
        what: `p95 of a suggestion among ${largest.size}`,
        found: `${slowest.toFixed(1)} ms`,
        target: `≤ ${MOST_MILLISECONDS} ms`,
        reached: slowest <= MOST_MILLISECONDS,
      },
    ];
    printTable(
      ["", "what", "found", "target"],
      findings.map(({ reached, ...finding }) => ({ "": reached ? "reached" : "MISSED", ...finding })),
    );
    return findings.every(({ reached }) => reached);
  } finally {
    await stop();
  }
}

interface QuestionSet {
  name: string;
  questions: Question[];
}

async function questionSets(): Promise<QuestionSet[]> {
  const scenarios = [...await loadScenarios(scenarioFolder), ...await loadScenarios(lastHourFolder)];
  const paraphrases = await readParaphrases();
  const sets = [...new Set(paraphrases.map(({ set }) => set))];
  return [
    { name: "scenarios", questions: scenarios.map(askScenario) },
    ...sets.map((name) => ({
      name: `paraphrases, ${name}`,
      questions: paraphrases.filter(({ set }) => set === name),
    })),
  ];
}

async function measureQuality(client: Client, sets: QuestionSet[], floor: number) {
  const measured = [];
  for (const { name, questions } of sets) measured.push({ name, ...await examine(client, questions, floor) });
  return measured;
}

interface Times {
  size: number;
  milliseconds: number[];
  found: number;
}

/** One suggestion after another, as the refresh makes them. */
async function measureTimes(client: Client, size: number, questions: Question[], rounds: number): Promise<Times> {
  const milliseconds: number[] = [];
  let found = 0;
  const ask = async ({ text, channel }: Question) => {
    const start = performance.now();
    const { rows } = await client.query({
      name: "suggest",
      text: `with best as materialized (
          select * from replies.rank($1, $2, replies.language_of($2), $3, replies.category_of($1, 1), 5) limit 1
        )
        select best.confidence, rendered.text
        from best join replies.gold_replies on account_id = $1 and gold_replies.gold_reply_id = best.gold_reply_id
          cross join lateral replies.render($1, 1, gold_replies.body) as rendered`,
      values: [accountOf(size), text, channel],
    });
    milliseconds.push(performance.now() - start);
    found += rows.length;
  };
  // The first of a connection plans its statements.
  for (const question of questions.slice(0, 10)) await ask(question);
  milliseconds.length = 0;
  found = 0;
  for (let round = 0; round < rounds; round++) for (const question of questions) await ask(question);
  return { size, milliseconds, found };
}

interface Seeded {
  title: string;
  body: string;
  category: string;
  language: string;
  tags: string[];
  questions: string[];
}

/** Neighbours of the demo shop's gold replies: their words about other goods, in the share of languages of its customers. */
async function makeLibrary(client: Client, size: number): Promise<void> {
  const account = accountOf(size);
  const { rows: seeded } = await client.query<Seeded>(
    "select title, body, category, language, tags, questions from replies.gold_replies where account_id = $1 order by gold_reply_id",
    [DEMO_ACCOUNT],
  );
  const random = createRandom(size);
  const goods = Array.from({ length: Math.max(20, Math.floor(size / 8)) }, () => inventName(random));
  await client.query(
    `insert into chatwoot.contacts (account_id, contact_id, name, version_at) values ($1, 1, 'Ana Alves', now())`,
    [account],
  );
  await client.query(
    `insert into chatwoot.conversations (account_id, display_id, inbox_id, contact_id, status, labels, created_at, version_at)
    values ($1, 1, 1, 1, 'open', '{billing}', now(), now())`,
    [account],
  );
  // Its counts are written as one below: row by row in one transaction each would step over all that went before.
  await client.query("alter table replies.gold_replies disable trigger count_terms");
  for (let from = 0; from < size; from += 500) {
    const rows = Array.from({ length: Math.min(500, size - from) }, (_, index) => ({
      ...neighbour(random, seeded, goods),
      key: `neighbour-${from + index}`,
    }));
    await client.query(
      `insert into replies.gold_replies (account_id, status, title, body, category, tags, language, questions, origin,
        origin_key, content_hash, proposed_at, proposed_by, decided_at, decided_by, shown, used)
      select $1, 'approved', title, body, category, tags, language, questions, 'seed', key,
        sha256(convert_to(key, 'UTF8')), now(), 'bench', now(), 'bench', 20, hashtext(key) & 15
      from jsonb_to_recordset($2) as given(title text, body text, category text, tags text[], language text,
        questions text[], key text)`,
      [account, JSON.stringify(rows)],
    );
  }
  await client.query("alter table replies.gold_replies enable trigger count_terms");
  await client.query(
    `insert into replies.term_frequencies (account_id, language, term, documents)
    select account_id, language, term, count(*)
    from replies.gold_replies cross join lateral unnest(array[''] || tsvector_to_array(search)) as terms(term)
    where account_id = $1 group by account_id, language, term`,
    [account],
  );
  await client.query("vacuum (analyze) replies.gold_replies, replies.term_frequencies");
  await client.query("analyze replies.concepts, chatwoot.conversations, chatwoot.contacts");
}

function neighbour(random: Random, seeded: Seeded[], goods: string[]): Seeded {
  const base = random.pick(seeded);
  const sameLanguage = seeded.filter(({ language }) => language === base.language);
  const other = random.pick(sameLanguage);
  const good = random.pick(goods);
  const questions = [...base.questions, ...other.questions].slice(0, random.integer(2, 6)).map((question) => {
    const words = question.split(" ");
    words.splice(random.integer(0, words.length), 0, good);
    return words.join(" ");
  });
  return {
    ...base,
    title: `${good}: ${base.title}`.slice(0, 200),
    body: `${base.body}\n\n${good}. ${other.body}`,
    tags: [...base.tags.slice(1), good],
    questions,
  };
}

function inventName(random: Random): string {
  const syllables = ["ka", "lo", "mi", "ra", "ten", "vor", "sel", "du", "bri", "fen", "gor", "hal", "nu", "pex", "tri"];
  return Array.from({ length: 3 }, () => random.pick(syllables)).join("");
}

function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
