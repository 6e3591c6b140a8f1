// The gold-reply door's rules, with all that lies outside as arguments.
import { timingSafeEqual } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  BODY_LIMIT_BYTES,
  type Outside,
  receiveProposal,
  type Recorded,
  type Recording,
  sha256,
} from "../../supabase/functions/gold-replies/handler.ts";
import { readSettings } from "../../supabase/functions/gold-replies/settings.ts";

const TOKEN = "vT7kq2LmX9pRw4ZcNs8YbHd3Jf6G";
const PREVIOUS_TOKEN = "a-token-that-is-on-its-way-out";
const PERSONAL = "henrike.aldinger@post.example";
const PROPOSAL = { account_id: 1, title: "Late parcel", body: `Hello {{contact.first_name}}, write to ${PERSONAL}.` };
const STORED = {
  gold_reply_id: 7,
  status: "proposed",
  findings: [{ field: "body", kind: "email", action: "replaced", count: 1 }],
  is_new: true,
};

const tokens = await Promise.all([TOKEN, PREVIOUS_TOKEN].map(sha256));

interface Attempt {
  body?: unknown;
  raw?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  headers?: Record<string, string>;
  method?: string;
  outside?: Partial<Outside>;
  answers?: Recorded[];
}

async function knock(attempt: Attempt = {}) {
  const recorded: Recording[] = [];
  const log: string[] = [];
  const method = attempt.method ?? "POST";
  const init: RequestInit & { duplex: "half" } = {
    method,
    headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}`, ...attempt.headers },
    duplex: "half",
  };
  if (method !== "GET" && method !== "HEAD") init.body = attempt.raw ?? JSON.stringify(attempt.body ?? PROPOSAL);
  const answers = attempt.answers ?? [{ data: [STORED], error: null, status: 200 }];
  const response = await receiveProposal(new Request("http://door/gold-replies", init), {
    tokens,
    bodyMilliseconds: 1_000,
    discardMilliseconds: 20,
    record: (recording) => {
      recorded.push(recording);
      return Promise.resolve(answers[Math.min(recorded.length, answers.length) - 1]);
    },
    log: (line) => log.push(line),
    timingSafeEqual: (one, other) => timingSafeEqual(new Uint8Array(one), new Uint8Array(other)),
    ...attempt.outside,
  });
  const text = await response.text();
  for (const secret of [TOKEN, PREVIOUS_TOKEN, PERSONAL]) expect(text + log.join("\n")).not.toContain(secret);
  return {
    status: response.status,
    headers: response.headers,
    answer: text === "" ? null : JSON.parse(text),
    recorded,
    log,
  };
}

test("a proposal is stored and answered with its id, its status and what was found in it", async () => {
  const { status, answer, recorded, headers } = await knock({ headers: { "idempotency-key": "evt-1" } });

  expect({ status, answer }).toEqual({
    status: 201,
    answer: { gold_reply_id: 7, status: "proposed", findings: STORED.findings },
  });
  expect(recorded).toEqual([{
    accountId: "1",
    goldReply: { title: PROPOSAL.title, body: PROPOSAL.body },
    idempotencyKey: "evt-1",
  }]);
  expect(headers.get("cache-control")).toBe("no-store, no-transform");
});

test("what was there already is answered with 200 and the same id", async () => {
  const { status, answer } = await knock({
    answers: [{ data: [{ ...STORED, is_new: false }], error: null, status: 200 }],
  });

  expect({ status, id: answer.gold_reply_id }).toEqual({ status: 200, id: 7 });
});

test("the largest account id arrives as it was sent", async () => {
  const { recorded } = await knock({ body: { ...PROPOSAL, account_id: "9223372036854775807" } });

  expect(recorded[0].accountId).toBe("9223372036854775807");
});

describe("who is let in", () => {
  test("the token that is being retired still opens the door", async () => {
    expect((await knock({ headers: { authorization: `bearer ${PREVIOUS_TOKEN}` } })).status).toBe(201);
  });

  test.each([
    ["no token", ""],
    ["another token", "Bearer vT7kq2LmX9pRw4ZcNs8YbHd3Jf6H"],
    ["a part of the token", `Bearer ${TOKEN.slice(0, -1)}`],
    ["an empty token", "Bearer "],
    ["another scheme", `Basic ${TOKEN}`],
    ["the token without scheme", TOKEN],
    ["both tokens at once", `Bearer ${TOKEN},${PREVIOUS_TOKEN}`],
  ])("%s is refused, and nothing of the body is read", async (_name, authorization) => {
    const { status, answer, headers, recorded } = await knock({ headers: { authorization }, raw: "{" });

    expect({ status, code: answer.code, recorded }).toEqual({ status: 401, code: "OC401", recorded: [] });
    expect(headers.get("www-authenticate")).toMatch(/^Bearer/);
  });

  test("every token is compared, whichever fits", async () => {
    for (const token of [TOKEN, PREVIOUS_TOKEN, "one that nobody knows, but long"]) {
      let compared = 0;
      await knock({
        headers: { authorization: `Bearer ${token}` },
        outside: {
          timingSafeEqual: (one, other) => {
            compared += 1;
            return timingSafeEqual(new Uint8Array(one), new Uint8Array(other));
          },
        },
      });
      expect(compared).toBe(2);
    }
  });

  test("without any token set the door says what to set", async () => {
    const { status, answer } = await knock({ outside: { tokens: null } });

    expect(status).toBe(503);
    expect(answer.message).toContain("GOLD_REPLIES_TOKEN");
  });
});

describe("what is refused before it is read as a proposal", () => {
  test.each<{ name: string; attempt: Attempt; status: number }>([
    { name: "another method", attempt: { method: "GET" }, status: 405 },
    { name: "another media type", attempt: { headers: { "content-type": "text/plain" } }, status: 415 },
    {
      name: "another character set",
      attempt: { headers: { "content-type": "application/json; charset=latin1" } },
      status: 415,
    },
    { name: "a compressed body", attempt: { headers: { "content-encoding": "gzip" } }, status: 415 },
    { name: "half a JSON", attempt: { raw: '{"account_id": 1,' }, status: 400 },
    { name: "bytes that are no UTF-8", attempt: { raw: new Uint8Array([0x22, 0xff, 0x22]) }, status: 400 },
    { name: "nothing", attempt: { raw: "" }, status: 400 },
    { name: "one byte too much", attempt: { raw: `"${"x".repeat(BODY_LIMIT_BYTES - 1)}"` }, status: 413 },
    { name: "brackets without end", attempt: { raw: "[".repeat(60_000) }, status: 400 },
  ])("$name: $status", async ({ attempt, status }) => {
    const refused = await knock(attempt);

    expect({ status: refused.status, recorded: refused.recorded }).toEqual({ status, recorded: [] });
    expect(refused.answer).toEqual({
      code: `OC${status}`,
      message: expect.stringMatching(/\.$/),
      hint: expect.stringMatching(/\.$/),
      details: null,
    });
  });

  test("a body that trickles in is given up: 408", async () => {
    const raw = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array([0x7b])) });

    expect((await knock({ raw, outside: { bodyMilliseconds: 30 } })).status).toBe(408);
  });
});

describe("what is no proposal", () => {
  const issuesOf = async (body: unknown, headers: Record<string, string> = {}) => {
    const { status, answer, recorded } = await knock({ body, headers });
    expect({ status, code: answer.code, recorded }).toEqual({ status: 422, code: "OC422", recorded: [] });
    return answer.details as { path: string; message: string }[];
  };

  test("all that is wrong is told at once, and none of it is quoted", async () => {
    const issues = await issuesOf({
      account_id: 0,
      title: `${PERSONAL}\n`.repeat(20),
      body: 5,
      category: "Order Status",
      tags: Array(21).fill("tag"),
      language: "English",
      channels: { [PERSONAL]: "x", "Channel::Sms": "" },
      questions: ["", `a\u0000${PERSONAL}`],
      source: { display_id: 1.5, [PERSONAL]: 1 },
      [PERSONAL]: true,
    }, { "idempotency-key": "x".repeat(201) });

    expect(issues.map(({ path }) => path).sort()).toEqual([
      "",
      "Idempotency-Key",
      "account_id",
      "body",
      "category",
      "channels",
      "channels.Channel::Sms",
      "language",
      "questions.0",
      "questions.1",
      "source",
      "source.display_id",
      "tags",
      "title",
      "title",
    ]);
    expect(issues).toContainEqual({ path: "body", message: "must be text" });
  });

  test("what is missing is named", async () => {
    expect(await issuesOf({ account_id: 1 })).toEqual([
      { path: "title", message: "is required" },
      { path: "body", message: "is required" },
    ]);
  });

  test.each([[[]], [null], ["text"], [1]])("%j is no object", async (body) => {
    expect(await issuesOf(body ?? "null")).toEqual([{ path: "", message: "must be an object" }]);
  });

  test.each([
    ["a null byte", "a\u0000b"],
    ["half a surrogate pair", "a\ud800b"],
    ["text turned round", "a\u202eb"],
    ["an escape sequence", "\u001b[31m"],
    ["a zero width space", "a\u200bb"],
  ])("%s in the body", async (_name, body) => {
    expect((await issuesOf({ ...PROPOSAL, body })).map(({ path }) => path)).toEqual(["body"]);
  });

  test.each([
    ["10,000 characters beyond the first plane", "😀".repeat(10_000), 201],
    ["one more", "😀".repeat(10_001), 422],
    ["a text in Arabic", "مرحبا {{contact.first_name}}", 201],
    ["nothing but space", " \n ", 422],
  ])("%s", async (_name, body, status) => {
    expect((await knock({ body: { ...PROPOSAL, body } })).status).toBe(status);
  });
});

describe("what the database says", () => {
  test.each(["OC404", "OC409", "OC422"])("%s is passed on in its words", async (code) => {
    const error = { code, message: "So it is.", hint: "Do this.", details: "It became gold reply 3." };

    const { status, answer } = await knock({ answers: [{ data: null, error, status: 400 }] });

    expect({ status, answer }).toEqual({ status: Number(code.slice(2)), answer: error });
  });

  test.each([
    ["is away", { data: null, error: { message: "fetch failed" }, status: 0 }],
    ["refuses with something else", {
      data: null,
      error: { code: "23505", message: `quotes ${PERSONAL}` },
      status: 409,
    }],
    ["answers in an unknown form", { data: [], error: null, status: 200 }],
  ])("a database that %s: 503, and nothing it said is told", async (_name, answered) => {
    const { status, answer, headers } = await knock({ answers: [answered as Recorded] });

    expect({ status, code: answer.code }).toEqual({ status: 503, code: "OC503" });
    expect(headers.get("retry-after")).toBe("10");
  });

  test("the victim of a deadlock is tried again", async () => {
    const { status, recorded } = await knock({
      answers: [{ data: null, error: { code: "40P01" }, status: 500 }, { data: [STORED], error: null, status: 200 }],
    });

    expect({ status, tries: recorded.length }).toEqual({ status: 201, tries: 2 });
  });

  test("a failure of our own is told by its kind alone", async () => {
    const { status, log } = await knock({ outside: { record: () => Promise.reject(new TypeError(PERSONAL)) } });

    expect({ status, log }).toEqual({ status: 503, log: ["OC503 unexpected TypeError"] });
  });
});

describe("settings", () => {
  test.each([
    ["nothing", undefined, null],
    ["one", TOKEN, [TOKEN]],
    ["two, with space between", `${TOKEN}, ${PREVIOUS_TOKEN}`, [TOKEN, PREVIOUS_TOKEN]],
  ])("%s", (_name, value, expected) => {
    expect(readSettings({ GOLD_REPLIES_TOKEN: value }).tokens).toEqual(expected);
  });

  test.each([
    ["too short", "short"],
    ["too long", "x".repeat(513)],
    ["a character no header carries", `${TOKEN}ü`],
    ["twice the same", `${TOKEN},${TOKEN}`],
    ["an empty one", `${TOKEN},`],
    ["too many", Array.from({ length: 6 }, (_, index) => TOKEN + index).join(",")],
  ])("%s is refused by name, and not shown", (_name, value) => {
    expect(() => readSettings({ GOLD_REPLIES_TOKEN: value })).toThrow(/^GOLD_REPLIES_TOKEN is malformed: (?!.*vT7kq)/);
  });
});
