// How far a reply is from its draft: exact over characters, whatever the length and the script, and what is compared at all.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";

const database = useDatabase();

/** The table of the textbooks, row by row. */
function plainDistance(one: string, other: string): number {
  const left = [...one];
  const right = [...other];
  let row = right.map((_, index) => index + 1);
  left.forEach((symbol, rowIndex) => {
    let diagonal = rowIndex;
    let before = rowIndex + 1;
    row = right.map((candidate, index) => {
      const cost = Math.min(row[index] + 1, before + 1, diagonal + (symbol === candidate ? 0 : 1));
      diagonal = row[index];
      before = cost;
      return cost;
    });
  });
  return right.length === 0 ? left.length : row[right.length - 1];
}

// Few symbols, so that much is alike; of one, two, three and four bytes, joined and combining ones among them.
const symbol = fc.constantFrom(
  ..."aab ec",
  "é",
  "e\u0301",
  "م",
  "ر",
  "\u0651",
  "中",
  "😀",
  "👩\u200d👩\u200d👧",
  "\u200f",
  "\n",
  "%",
);
const text = (maxLength: number) => fc.array(symbol, { maxLength, size: "max" }).map((symbols) => symbols.join(""));
/** A text and the same text edited here and there, or another one. */
const pair = (maxLength: number) =>
  fc.oneof(
    fc.tuple(text(maxLength), text(maxLength)),
    fc.tuple(text(maxLength), fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), symbol), { maxLength: 9 }))
      .map(([given, edits]): [string, string] => {
        const symbols = [...given];
        for (const [where, put] of edits) symbols.splice(Math.floor(where * symbols.length), put === "a" ? 1 : 0, put);
        return [given, symbols.join("")];
      }),
  );
const pairs = (count: number, maxLength: number) => fc.sample(pair(maxLength), { numRuns: count, seed: 6 });

const DISTANCES = `select measured.distance, measured.method,
    replies.sequence_distance(string_to_array(pairs.pair ->> 0, null), string_to_array(pairs.pair ->> 1, null)) as by_vectors,
    (replies.edit_distance(pairs.pair ->> 1, pairs.pair ->> 0)).distance as backwards
  from jsonb_array_elements($1) with ordinality as pairs (pair, number)
  cross join lateral replies.edit_distance(pairs.pair ->> 0, pairs.pair ->> 1) as measured
  order by pairs.number`;

describe("distances", () => {
  test.each([{ count: 3000, length: 60 }, { count: 400, length: 300 }, { count: 60, length: 900 }])(
    "of $count pairs of up to $length characters are those of the textbook, both ways round",
    ({ count, length }) =>
      database.rolledBack(async (sql) => {
        const given = pairs(count, length);

        const told = await sql.rows(DISTANCES, [JSON.stringify(given)]);

        const expected = given.map(([one, other]) => plainDistance(one, other));
        expect(told.map((row) => row.distance)).toEqual(expected);
        expect(told.map((row) => row.by_vectors)).toEqual(expected);
        expect(told.map((row) => row.backwards)).toEqual(expected);
      }),
  );

  test("hold the inequality of the triangle, and a ratio is from 0 to 1", () =>
    database.rolledBack(async (sql) => {
      const given = fc.sample(fc.tuple(text(80), text(80), text(80)), { numRuns: 500, seed: 7 });

      const faults = await sql.rows(
        `select triples.triple
        from jsonb_array_elements($1) as triples (triple)
        cross join lateral (
          select (replies.edit_distance(triple ->> 0, triple ->> 1)).distance as ab,
            (replies.edit_distance(triple ->> 1, triple ->> 2)).distance as bc,
            (replies.edit_distance(triple ->> 0, triple ->> 2)).distance as ac,
            greatest(length(triple ->> 0), length(triple ->> 1)) as longer
        ) as told
        where told.ac > told.ab + told.bc or told.ab < 0 or told.ab > told.longer
          or (told.ab = 0) <> (triple ->> 0 = triple ->> 1)`,
        [JSON.stringify(given)],
      );

      expect(faults).toEqual([]);
    }));

  const letters = (length: number, seed: number) =>
    fc.sample(fc.constantFrom(..."etaoin shrdlu"), { numRuns: length, seed }).join("");
  test.each([
    { name: "255 characters left", one: letters(255, 1), other: letters(255, 2), method: "levenshtein" },
    { name: "256 characters left", one: letters(256, 1), other: letters(255, 2), method: "bit_parallel" },
    {
      name: "a long text with one word changed",
      one: letters(3000, 1) + "this" + letters(3000, 2),
      other: letters(3000, 1) +
        "that" + letters(3000, 2),
      method: "levenshtein",
    },
    { name: "10,000 characters against nothing", one: letters(10_000, 1), other: "", method: "bit_parallel" },
  ])("$name: $method", ({ one, other, method }) =>
    database.rolledBack(async (sql) => {
      const [told] = await sql.rows("select * from replies.edit_distance($1, $2)", [one, other]);

      expect(told).toEqual({ distance: plainDistance(one, other), method });
    }));

  test("over 10,000 characters words are compared, and the share that differs is told in characters", () =>
    database.rolledBack(async (sql) => {
      const words = (word: string) => Array(1500).fill(`different${word}`).join(" ");

      const [told] = await sql.rows(
        "select * from replies.edit_distance($1 || ' same same same', $2 || ' same same same')",
        [
          words("a"),
          words("b"),
        ],
      );

      expect(told).toEqual({ distance: Math.round(1500 * (1500 * 11 + 14) / 1503), method: "words" });
    }));

  test("of nothing at all is none", () =>
    database.rolledBack(async (sql) => {
      await sql.resultsEqual(
        "select (replies.edit_distance(null, '')).distance as none, (replies.edit_distance('', 'abc')).distance as three",
        [{ none: 0, three: 3 }],
      );
    }));
});

describe("what is compared", () => {
  test.each([
    ["white space", "  Your\trefund\n\n was\u00a0issued. ", "Your refund was issued."],
    ["a greeting on a line of its own", "Hi Ana,\n\nYour refund was issued.", "Your refund was issued."],
    ["a greeting with a title", "Sehr geehrte Frau Dr. Müller,\r\nes ist da.", "es ist da."],
    ["a greeting with a variable", "Dear {{contact.first_name}},\nDone.", "Done."],
    ["a greeting in Arabic", "مرحبا آنا،\nتم الإرسال.", "تم الإرسال."],
    ["a greeting within a sentence stays", "Hi Ana, please restart.", "Hi Ana, please restart."],
    ["a first line that says something stays", "Hello, your parcel is here\nBye.", "Hello, your parcel is here Bye."],
    ["a closing with name and firm", "Done.\n\nBest regards,\nMaria Costa\nDemo Shop", "Done."],
    ["a closing and a name on one line", "Done.\nKind regards, Maria", "Done."],
    ["thanks as a closing", "Done.\nThanks,\nMaria", "Done."],
    ["thanks as a sentence stay", "Done.\nThanks for your patience.", "Done. Thanks for your patience."],
    ["a closing with a question after it stays", "Done.\nRegards\nOr is it not?", "Done. Regards Or is it not?"],
    ["from two hyphens on", "Done.\n--\nDemo Shop, 1 Long Road\nIs this yours?", "Done."],
    ["the author's name alone on the last line", "Done.\n– Maria Costa", "Done."],
    ["another name on the last line stays", "Ask for\nBen Okafor", "Ask for Ben Okafor"],
    ["nothing but a greeting stays", "Hello!", "Hello!"],
    ["composed and combining are one", "Cafe\u0301", "Café"],
    ["nothing", "", ""],
  ])("%s", (_, given, expected) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select replies.normalise($1, '{Maria Costa}')", [given])).toBe(expected);
    }));

  test("comparing it again leaves it as it is", () =>
    database.rolledBack(async (sql) => {
      const line = fc.constantFrom(
        "Hi Ana,",
        "Hello",
        "Done.",
        "--",
        "Best regards,",
        "Maria Costa",
        "Thanks,",
        " ",
        "Is it?",
        "é ة",
      );
      const given = fc.sample(fc.array(line, { maxLength: 8 }).map((lines) => lines.join("\n")), {
        numRuns: 2000,
        seed: 8,
      });

      const faults = await sql.rows(
        `select given.text, told.once from jsonb_array_elements_text($1) as given (text)
        cross join lateral (select replies.normalise(given.text, '{Maria Costa}') as once) as told
        where replies.normalise(told.once, '{Maria Costa}') <> told.once or (told.once = '') <> (btrim(given.text, E' \\n') = '')`,
        [JSON.stringify(given)],
      );

      expect(faults).toEqual([]);
    }));

  test.each([
    [0, "verbatim"],
    [0.01, "verbatim"],
    [0.0101, "light"],
    [0.3999, "light"],
    [0.4, "heavy"],
    [0.7499, "heavy"],
    [0.75, "rewrite"],
    [1, "rewrite"],
    [null, null],
  ])("a ratio of %s is %s", (ratio, outcome) =>
    database.rolledBack(async (sql) => {
      expect(await sql.value("select replies.classify($1)", [ratio])).toBe(outcome);
    }));
});
