// The public page of health, with the clock and the database as arguments.
import { describe, expect, test } from "vitest";
import { answerHealth, type Asked } from "../../supabase/functions/health/handler.ts";

const GOOD = {
  status: "ok",
  checked_at: "2026-11-21T10:00:00+00:00",
  services: { database: "ok", checks: "ok", chatwoot: "ok" },
};

function door(answers: (() => Asked | Promise<Asked>)[]) {
  const clock = { now: 0 };
  const log: string[] = [];
  let asked = 0;
  const answer = answerHealth({
    now: () => clock.now,
    ask: async () => await answers[Math.min(asked++, answers.length - 1)](),
    log: (line) => log.push(line),
  });
  const get = (method = "GET") => answer(new Request("http://localhost/health", { method }));
  return { clock, log, get, asked: () => asked };
}
const told = (data: unknown): Asked => ({ data, error: null, status: 200 });

describe("the health function", () => {
  test("says what the database says, 200 when it is well and 503 when not, and for no longer than five seconds", async () => {
    const bad = { ...GOOD, status: "fail", services: { ...GOOD.services, chatwoot: "fail" } };
    const { get, clock, asked } = door([() => told(GOOD), () => told(bad)]);

    const first = await get();
    expect(first.status).toBe(200);
    expect(await first.json()).toEqual(GOOD);
    expect(first.headers.get("cache-control")).toBe("public, max-age=5");
    clock.now = 4_999;
    expect((await get()).status).toBe(200);
    expect(asked()).toBe(1);
    clock.now = 5_000;
    const next = await get();
    expect(next.status).toBe(503);
    expect(await next.json()).toEqual(bad);
  });

  test("a crowd that comes at once costs one question", async () => {
    const { get, asked } = door([async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return told(GOOD);
    }]);

    const answers = await Promise.all(Array.from({ length: 50 }, () => get()));

    expect(asked()).toBe(1);
    for (const answer of answers) expect(await answer.json()).toEqual(GOOD);
  });

  test.each<[string, () => Asked | Promise<Asked>]>([
    ["an error", () => ({ data: null, error: { code: "57014" }, status: 500 })],
    ["no answer", () => ({ data: null, error: { code: "" }, status: 0 })],
    ["a failure of the client", () => Promise.reject(new Error("secret words"))],
    ["another form", () => told([{ status: "ok" }])],
    ["a word it may not say", () => told({ ...GOOD, services: { chatwoot: "account 7 is down" } })],
  ])("with %s from the Data API it says 503 by itself, and nothing of it", async (_name, answer) => {
    const { get, log } = door([answer]);

    const response = await get();

    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "fail", checked_at: null, services: { database: "fail" } });
    expect(log).toEqual([expect.stringMatching(/^OC503 /)]);
    expect(log[0]).not.toMatch(/secret/);
  });

  test("what it was not told of it does not repeat", async () => {
    const { get } = door([() => told({ ...GOOD, accounts: [7], services: { ...GOOD.services, account_7: "fail" } })]);

    expect(await (await get()).json()).toEqual(GOOD);
  });

  test("HEAD has no body; a page of anywhere may read it; nothing else is taken", async () => {
    const { get, asked } = door([() => told(GOOD)]);

    const head = await get("HEAD");
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("access-control-allow-origin")).toBe("*");
    expect((await get("OPTIONS")).status).toBe(204);
    for (const method of ["POST", "PUT", "DELETE"]) {
      const refused = await get(method);
      expect([refused.status, refused.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
      expect(await refused.json()).toMatchObject({ code: "OC405" });
    }
    expect(asked()).toBe(1);
  });
});
