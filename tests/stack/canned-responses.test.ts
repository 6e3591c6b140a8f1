// Canned responses, fetched from a Chatwoot that answers over HTTP.
import { beforeEach, expect, test } from "vitest";
import { CANNED_RESPONSES } from "../../local/chatwoot/furniture.ts";
import { minutes, useRestDoor } from "./sync-rest.support.ts";

const door = useRestDoor();
const AT = new Date("2026-11-20T09:00:00Z");

beforeEach(async () => {
  await door.begin({ seed: 1 });
  await door.rows(
    "truncate replies.gold_replies, replies.gold_reply_versions, replies.proposal_keys, replies.canned_fetches cascade",
  );
});

const request = () => door.rows("select replies.import_canned_responses(1, null, $1)", [AT]);
const fetchAt = (at: Date) => door.rows("call replies.fetch_canned($1)", [at]);
const imported = async () => (await door.rows("select * from api.canned_imports"))[0];

test("what Chatwoot lists is proposed, once", async () => {
  await request();
  const asked = await door.during(() => fetchAt(AT));

  expect(asked).toEqual([{ method: "GET", path: "/api/v1/accounts/1/canned_responses", hasToken: true }]);
  expect(await imported()).toMatchObject({
    ...{ state: "done", attempts: 1, problem: null, settled_at: AT },
    result: { proposed: CANNED_RESPONSES.length, changed: 0, unchanged: 0, refused: [] },
  });
  expect(await door.rows("select title, body, status, proposed_by from api.gold_replies order by gold_reply_id"))
    .toEqual(
      CANNED_RESPONSES.map(({ shortCode, content }) => ({
        ...{ title: shortCode, body: content, status: "proposed", proposed_by: "database:postgres" },
      })),
    );
  // Nobody asked for more.
  expect(await door.during(() => fetchAt(minutes(AT, 1)))).toEqual([]);

  await request();
  await fetchAt(AT);
  expect(await imported()).toMatchObject({ result: { proposed: 0, unchanged: CANNED_RESPONSES.length } });
});

test("a Chatwoot that fails is asked again, later each time", async () => {
  door.interfere((_request, response) => {
    response.writeHead(500).end();
    return true;
  });
  await request();
  await fetchAt(AT);
  expect(await imported()).toMatchObject({ state: "waiting", attempts: 1, next_attempt_at: minutes(AT, 1) });
  await fetchAt(minutes(AT, 1));
  expect(await imported()).toMatchObject({ state: "waiting", attempts: 2, next_attempt_at: minutes(AT, 3) });
  expect(await door.during(() => fetchAt(minutes(AT, 2)))).toEqual([]);

  door.interfere(null);
  await fetchAt(minutes(AT, 3));
  expect(await imported()).toMatchObject({ state: "done", attempts: 3, problem: null });
});

test("a token that Chatwoot does not know ends it, with what to do", async () => {
  await door.rows("select api.set_sync_token(1, 'a-token-that-is-not-one')");
  await request();
  await fetchAt(AT);

  const { state, problem, hint } = await imported();
  expect(state).toBe("failed");
  expect(problem).toContain("401");
  expect(hint).toContain("set_sync_token");
  expect(JSON.stringify(await door.rows("select * from replies.canned_fetches"))).not.toContain("a-token-that");
});

test.each([
  ["an object", "{}"],
  ["no JSON", "<html>"],
  ["rows that are none", '[1, null, {"id": "x"}, {"id": 5, "content": 7}]'],
])("an answer that is %s breaks nothing", async (name, body) => {
  door.interfere((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(body);
    return true;
  });
  await request();
  await fetchAt(AT);

  const { state, result, problem } = await imported();
  if (name === "rows that are none") {
    expect(result).toMatchObject({ proposed: 0, refused: Array(4).fill(expect.anything()) });
  } else expect({ state, told: typeof problem }).toEqual({ state: "waiting", told: "string" });
  expect(await door.rows("select from replies.gold_replies")).toEqual([]);
});
