// The Data API subset of supabase-js, through its real door: each row is a request and what must come of it.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ask, type Asked, KEYS, openShop, type Shop, signToken } from "./data-api.support.ts";

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
}, 60_000);
afterAll(() => shop?.stop());

const get = (path: string, asked?: Asked) => ask(shop.api, path, asked);
const ERROR_BODY = { code: expect.anything(), message: expect.any(String) };

describe("filters", () => {
  test.each([
    ["id=eq.1", [1]],
    ["id=neq.1", [2, 3]],
    ["id=gt.1&id=lt.3", [2]],
    ["id=gte.2", [2, 3]],
    ["id=lte.2", [1, 2]],
    ["id=not.eq.1", [2, 3]],
    ['name=eq.Bob, the "B"', [2]],
    ["name=like.*d*", [1, 3]],
    ["name=like.A%25", [1]],
    ["name=ilike.a*", [1]],
    ["name=match.^[AB]", [1, 2]],
    ["name=imatch.^[ab]", [1, 2]],
    ["name=like(any).{A*,C*}", [1, 3]],
    ["name=ilike(all).{*b*,*o*}", [2]],
    ["id=eq(any).{1,3}", [1, 3]],
    ["id=gt(all).{1,2}", [3]],
    ["email=is.null", [3]],
    ["email=not.is.null", [1, 2]],
    ["email=is.not_null", [1, 2]],
    ["email=isdistinct.ada@example.com", [2, 3]],
    ["id=in.(1,3)", [1, 3]],
    ["id=in.()", []],
    ["id=not.in.(1,3)", [2]],
    ['name=in.("Bob, the \\"B\\"",Ada)', [1, 2]],
    ["tags=cs.{x,y}", [1]],
    ["tags=cd.{x,y,z}", [1, 2, 3]],
    ["tags=ov.{y}", [1, 2]],
    ['profile=cs.{"city":{"name":"London"}}', [1]],
    ["period=sl.[5,9)", [1]],
    ["period=sr.[1,5)", [2]],
    ["period=nxr.[1,5)", [1]],
    ["period=nxl.[5,9)", [2]],
    ["period=adj.[5,9)", [1]],
    ["notes=fts.fox", [1]],
    ["notes=fts(english).foxes", [1]],
    ["notes=plfts(english).lazy dogs", [2]],
    ["notes=phfts(english).quick fox", [1]],
    ["notes=wfts(english).fox or dog", [1, 2]],
    ["profile->city->>name=eq.London", [1]],
    ["profile->scores->>-1=eq.8", [1]],
    ["or=(id.eq.1,email.is.null)", [1, 3]],
    ["and=(id.gt.1,id.lt.3)", [2]],
    ["not.or=(id.eq.1,email.is.null)", [2]],
    ["or=(and(id.eq.1,name.eq.Ada),not.and(id.lt.3,id.gt.0))", [1, 3]],
    ['or=(name.eq."Bob, the \\"B\\"",id.in.(3))', [2, 3]],
    ["or=(tags.cs.{x,y},id.not.in.(1,2))", [1, 3]],
    ["order=id.desc", [3, 2, 1]],
    ["order=email.asc.nullsfirst", [3, 1, 2]],
    ["order=email.desc.nullslast,id", [2, 1, 3]],
    ["order=profile->city->>name.asc", [1, 2, 3]],
    ["order=id&limit=1&offset=1", [2]],
    ["limit=0", []],
  ])("%s", async (query, ids) => {
    const encoded = query.replaceAll(" ", "%20").replaceAll('"', "%22").replaceAll("^", "%5E");

    const answer = await get(`customers?select=id&${query.includes("order=") ? "" : "order=id&"}${encoded}`);

    expect(answer.json, answer.text).toEqual(ids.map((id) => ({ id })));
    expect(answer.status).toBe(200);
  });
});

describe("select", () => {
  test.each([
    ["customers?select=*&id=eq.3", {
      id: 3,
      name: "Cyd",
      email: null,
      credit: null,
      tags: [],
      profile: null,
      period: null,
      notes: null,
      big: null,
      joined: "2026-01-02T03:04:05+00:00",
      tier: "basic",
    }],
    ["customers?select=who:name,id::text&id=eq.1", { who: "Ada", id: "1" }],
    ['customers?select="name",a-b:id&id=eq.1', { name: "Ada", "a-b": 1 }],
    ["customers?select=profile->city->>name,first:profile->scores->0&id=eq.1", { name: "London", first: 7 }],
    ["customers?select=tags->>1&id=eq.1", { tags: "y" }],
    ["customers?select=credit::float8&id=eq.1", { credit: 12.5 }],
    ["customers?select=name,orders(id,total)&id=eq.1&orders.order=id.desc&orders.total=gt.10", {
      name: "Ada",
      orders: [{ id: 2, total: 20 }],
    }],
    ["customers?select=id,orders(id)&id=eq.3", { id: 3, orders: [] }],
    ["customers?select=id,cards(code)&id=eq.1", { id: 1, cards: { code: "gold" } }],
    ["customers?select=id,cards(code)&id=eq.2", { id: 2, cards: null }],
    ["orders?select=id,buyer:customers!orders_customer_id_fkey(name)&id=eq.3", {
      id: 3,
      buyer: { name: 'Bob, the "B"' },
    }],
    ["customers?select=id,orders!inner(total)&orders.total=gt.25", { id: 2, orders: [{ total: 30 }] }],
  ])("%s", async (path, row) => {
    const answer = await get(path);

    expect(answer.json, answer.text).toEqual([row]);
  });

  test("a name is only ever a name", async () => {
    const alias = 'a", 7 as "b';

    const answer = await get(`customers?id=eq.1&select=${encodeURIComponent(`${JSON.stringify(alias)}:id`)}`);

    expect(answer.json).toEqual([{ [alias]: 1 }]);
  });

  test("numbers keep every digit", async () => {
    const answer = await get("customers?select=credit,big&id=in.(1,2)&order=id");

    expect(answer.text).toContain('"credit":12.50,"big":9007199254740993');
    expect(answer.text).toContain('"credit":12345678901234567890.5');
  });

  test("CSV begins with the columns' names", async () => {
    const answer = await get("customers?select=id,name&order=id&limit=2", { accept: "text/csv" });

    expect(answer.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect(answer.text).toBe('id,name\n1,Ada\n2,"Bob, the ""B"""');
  });

  test.each([
    ["customers?id=eq.1&select=id", 200, { id: 1 }],
    ["customers?select=id", 406, { code: "PGRST116", details: "The result contains 3 rows", hint: null }],
    ["customers?select=id&id=eq.9", 406, { code: "PGRST116", details: "The result contains 0 rows", hint: null }],
  ])("one object: %s", async (path, status, body) => {
    const answer = await get(path, { accept: "application/vnd.pgrst.object+json" });

    expect(answer).toMatchObject({ status, json: body });
  });
});

describe("pages", () => {
  test.each([
    { path: "customers?limit=2", prefer: "", status: 200, range: "0-1/*" },
    { path: "customers?limit=2", prefer: "count=exact", status: 206, range: "0-1/3" },
    { path: "customers", prefer: "count=exact", status: 200, range: "0-2/3" },
    { path: "customers?offset=1", prefer: "count=exact", status: 206, range: "1-2/3" },
    { path: "customers?id=eq.9", prefer: "", status: 200, range: "*/*" },
    { path: "customers?id=eq.9", prefer: "count=exact", status: 200, range: "*/0" },
    { path: "customers?offset=4", prefer: "", status: 200, range: "*/*" },
    { path: "customers?offset=4", prefer: "count=exact", status: 416, range: "*/3" },
    { path: "rpc/list_customers?limit=1", prefer: "count=exact", status: 206, range: "0-0/3" },
  ])("$path $prefer", async ({ path, prefer, status, range }) => {
    const answer = await get(path, { prefer });

    expect([answer.status, answer.headers.get("content-range")]).toEqual([status, range]);
    if (status === 416) expect(answer.json).toMatchObject({ code: "PGRST103" });
  });

  test("HEAD counts without a body", async () => {
    const answer = await get("customers?select=*", { method: "HEAD", prefer: "count=exact" });

    expect([answer.status, answer.headers.get("content-range"), answer.text]).toEqual([200, "0-2/3", ""]);
  });

  test("max_rows cuts tables and functions without a word", async () => {
    await shop.admin.query("insert into shop.events (a) select generate_series(1, 150)");

    const table = await get("events?select=a&limit=120");
    const routine = await get("rpc/numbers?until=150");
    await shop.reset();

    expect([table.json, routine.json]).toEqual([
      expect.objectContaining({ length: 100 }),
      expect.objectContaining({ length: 100 }),
    ]);
  });
});

describe("writes", () => {
  beforeEach(() => shop.reset());
  const representation = "return=representation";
  const customers = async () =>
    (await shop.admin.query("select id, name, tier from shop.customers order by id")).rows.map(Object.values);

  test.each([
    {
      name: "insert says nothing unless asked",
      path: "customers",
      asked: { body: { id: 4, name: "Dee" } },
      status: 201,
      json: undefined,
    },
    {
      name: "insert of several rows with columns",
      path: 'customers?columns="id","name","notes"&select=id,notes',
      asked: { body: [{ id: 4, name: "Dee" }, { id: 5, name: "Eve", notes: "n" }], prefer: representation },
      status: 201,
      json: [{ id: 4, notes: null }, { id: 5, notes: "n" }],
    },
    {
      name: "missing=default takes the column's default",
      path: 'customers?columns="id","name","tier"&select=id,tier',
      asked: {
        body: [{ id: 4, name: "Dee" }, { id: 5, name: "Eve", tier: "gold" }],
        prefer: `${representation},missing=default`,
      },
      status: 201,
      json: [{ id: 4, tier: "basic" }, { id: 5, tier: "gold" }],
    },
    {
      name: "insert of nothing",
      path: "customers?select=*",
      asked: { body: [], prefer: representation },
      status: 201,
      json: [],
    },
    {
      name: "insert of a row of defaults",
      path: "events?select=a",
      asked: { body: {}, prefer: representation },
      status: 201,
      json: [{ a: null }],
    },
    {
      name: "insert through a view, with an embed in the answer",
      path: "orders?select=id,customers(name)",
      asked: { body: { customer_id: 1, total: 5 }, prefer: representation },
      status: 201,
      json: [{ id: 4, customers: { name: "Ada" } }],
    },
    {
      name: "upsert that only updates",
      path: "customers?select=id,name",
      asked: { body: { id: 1, name: "Ada L" }, prefer: `resolution=merge-duplicates,${representation}` },
      status: 200,
      json: [{ id: 1, name: "Ada L" }],
    },
    {
      name: "upsert that also inserts",
      path: "customers?on_conflict=id&select=id,name",
      asked: {
        body: [{ id: 1, name: "Ada L" }, { id: 4, name: "Dee" }],
        prefer: `resolution=merge-duplicates,${representation}`,
      },
      status: 201,
      json: [{ id: 1, name: "Ada L" }, { id: 4, name: "Dee" }],
    },
    {
      name: "upsert that ignores duplicates",
      path: "customers?on_conflict=id&select=id",
      asked: {
        body: [{ id: 1, name: "x" }, { id: 4, name: "Dee" }],
        prefer: `resolution=ignore-duplicates,${representation}`,
      },
      status: 201,
      json: [{ id: 4 }],
    },
    {
      name: "update",
      path: "customers?id=eq.1",
      asked: { method: "PATCH", body: { name: "Ada L" } },
      status: 204,
      json: undefined,
    },
    {
      name: "update, with what it changed",
      path: "customer_names?id=lt.3&select=name&order=id.desc",
      asked: { method: "PATCH", body: { name: "Z" }, prefer: representation },
      status: 200,
      json: [{ name: "Z" }, { name: "Z" }],
    },
    {
      name: "update that matches nothing",
      path: "customers?id=eq.9",
      asked: { method: "PATCH", body: { name: "Z" }, prefer: representation },
      status: 200,
      json: [],
    },
    {
      name: "delete",
      path: "customers?id=eq.3",
      asked: { method: "DELETE" },
      status: 204,
      json: undefined,
    },
    {
      name: "delete, with what is gone",
      path: "customers?id=eq.3&select=id",
      asked: { method: "DELETE", prefer: representation },
      status: 200,
      json: [{ id: 3 }],
    },
  ])("$name", async ({ path, asked, status, json }) => {
    const answer = await get(path, asked);

    expect([answer.status, answer.json], answer.text).toEqual([status, json]);
  });

  test.each([
    { name: "no filter, update", path: "customers", asked: { method: "PATCH", body: { name: "Z" } }, code: "21000" },
    { name: "no filter, delete", path: "customers", asked: { method: "DELETE" }, code: "21000" },
    { name: "a column that is not", path: "customers", asked: { body: { id: 9, nope: 1 } }, code: "PGRST204" },
    { name: "rows of other keys", path: "customers", asked: { body: [{ id: 9 }, { name: "x" }] }, code: "PGRST102" },
    { name: "no JSON", path: "customers", asked: { body: "{" }, code: "PGRST102" },
    { name: "a number", path: "customers", asked: { body: 1 }, code: "PGRST102" },
    { name: "a null name", path: "customers", asked: { body: { id: 9, name: null } }, code: "23502" },
    { name: "a broken check", path: "orders", asked: { body: { total: -1 } }, code: "23514" },
    {
      name: "more rows than max-affected",
      path: "customers?id=gt.0",
      asked: { method: "PATCH", body: { name: "Z" }, prefer: "handling=strict, max-affected=2" },
      code: "PGRST124",
    },
    {
      name: "several rows where one was asked for",
      path: "customers?id=gt.0",
      asked: {
        method: "PATCH",
        body: { name: "Z" },
        prefer: representation,
        accept: "application/vnd.pgrst.object+json",
      },
      code: "PGRST116",
      status: 406,
    },
    { name: "a duplicate", path: "customers", asked: { body: { id: 1, name: "x" } }, code: "23505", status: 409 },
    {
      name: "an order of nobody",
      path: "orders",
      asked: { body: { customer_id: 9, total: 1 } },
      code: "23503",
      status: 409,
    },
  ])("refused and undone: $name", async ({ path, asked, code, status = 400 }) => {
    const before = await customers();

    const answer = await get(path, asked);

    expect(answer).toMatchObject({ status, json: { code } });
    expect(await customers()).toEqual(before);
  });
});

describe("functions", () => {
  test.each([
    { path: "rpc/add", asked: { body: { a: 1, b: 2 } }, status: 200, json: 3 },
    { path: "rpc/add", asked: { body: { a: 1 } }, status: 200, json: 11 },
    { path: "rpc/add?a=5&b=6", asked: {}, status: 200, json: 11 },
    { path: "rpc/echo", asked: { body: [1, "a"] }, status: 200, json: [1, "a"] },
    { path: "rpc/echo", asked: { body: { some: "object" } }, status: 200, json: { some: "object" } },
    {
      path: "rpc/shout",
      asked: { body: "loud é", headers: { "content-type": "text/plain" } },
      status: 200,
      json: "loud é!",
    },
    {
      path: "rpc/count_bytes",
      asked: { body: new Uint8Array([0, 255, 1]), headers: { "content-type": "application/octet-stream" } },
      status: 200,
      json: 3,
    },
    {
      path: "rpc/store",
      asked: { body: { account_id: "9007199254740993", body: "\\x00ff", headers: { a: "b" }, signed_at: null } },
      status: 200,
      json: [{ account_id: "9007199254740993", length: 2 }],
    },
    { path: "rpc/list_customers?select=id&id=gt.1&order=id.desc&limit=1", asked: {}, status: 200, json: [{ id: 3 }] },
    { path: "rpc/list_customers?select=id&id=eq.2", asked: { body: {} }, status: 200, json: [{ id: 2 }] },
    {
      path: "rpc/find_customer?select=id,name",
      asked: { body: { wanted: 1 } },
      status: 200,
      json: { id: 1, name: "Ada" },
    },
    { path: "rpc/numbers?limit=2&offset=1", asked: { body: { until: 9 } }, status: 200, json: [2, 3] },
    { path: "rpc/sum_all?numbers=1&numbers=2", asked: {}, status: 200, json: 3 },
    { path: "rpc/sum_all", asked: { body: { numbers: [1, 2, 3] } }, status: 200, json: 6 },
    { path: "rpc/do_nothing", asked: { body: {} }, status: 204, json: undefined },
    { path: "rpc/setting?name=search_path", asked: {}, status: 200, json: '"shop", "public", "extensions"' },
    { path: "rpc/setting?name=request.method", asked: {}, status: 200, json: "GET" },
    { path: "rpc/setting?name=request.path", asked: {}, status: 200, json: "/rpc/setting" },
    { path: "rpc/setting?name=transaction_read_only", asked: {}, status: 200, json: "on" },
    { path: "rpc/setting", asked: { body: { name: "transaction_read_only" } }, status: 200, json: "on" },
    { path: "rpc/write_event?label=x", asked: {}, status: 405, json: { code: "25006" } },
    { path: "rpc/write_though_stable", asked: { body: { label: "x" } }, status: 405, json: { code: "25006" } },
    { path: "rpc/nap", asked: { body: {} }, status: 500, json: { code: "57014" } },
    { path: "rpc/nope", asked: { body: { a: 1 } }, status: 404, json: { code: "PGRST202" } },
    { path: "rpc/add", asked: { body: { a: 1, c: 1 } }, status: 404, json: { code: "PGRST202" } },
    { path: "rpc/add", asked: { body: {} }, status: 404, json: { code: "PGRST202" } },
    { path: "rpc/same", asked: { body: { a: 1 } }, status: 300, json: { code: "PGRST203" } },
    { path: "rpc/owners_only", asked: { body: {} }, status: 403, json: { code: "42501" } },
    { path: "rpc/owners_only", asked: { body: {}, key: KEYS.publishableKey }, status: 401, json: { code: "42501" } },
    { path: "rpc/add?a=1", asked: { method: "DELETE" }, status: 405, json: { code: "PGRST117" } },
  ])("$path $asked.body", async ({ path, asked, status, json }) => {
    const answer = await get(path, asked);

    expect(answer.status, answer.text).toBe(status);
    if (status < 300) expect(answer.json).toEqual(json);
    else expect(answer.json).toEqual(expect.objectContaining(json));
  });

  test("request.headers holds lower-case names, request.cookies the cookies", async () => {
    const headers = { "X-Thing": "one", Cookie: "a=1; b=2" };

    const seen = await get("rpc/setting?name=request.headers", { headers });
    const cookies = await get("rpc/setting?name=request.cookies", { headers });

    expect(JSON.parse(String(seen.json))).toMatchObject({ "x-thing": "one", "x-forwarded-for": expect.any(String) });
    expect(JSON.parse(String(cookies.json))).toEqual({ a: "1", b: "2" });
  });

  test("response.status and response.headers are the function's, content-type is not", async () => {
    const headers = '[{"X-One":"1"},{"Set-Cookie":"a=b"},{"Content-Type":"text/html"}]';

    const answer = await get("rpc/answer_with", { body: { status: "418", headers } });

    expect([answer.status, answer.headers.get("x-one"), answer.headers.get("content-type")])
      .toEqual([418, "1", "application/json; charset=utf-8"]);
  });

  test.each([
    { status: "99", headers: "[]", code: "PGRST112" },
    { status: "200", headers: "{", code: "PGRST111" },
    { status: "200", headers: '[{"a":"b\\r\\nc: d"}]', code: "PGRST111" },
  ])("response settings that make no sense: $status $headers", async ({ code, ...body }) => {
    expect(await get("rpc/answer_with", { body })).toMatchObject({ status: 500, json: { code } });
  });
});

describe("errors", () => {
  test.each([
    ["08006", 503],
    ["09000", 500],
    ["0L000", 403],
    ["0P000", 403],
    ["21000", 500],
    ["22023", 400],
    ["22P02", 400],
    ["23502", 400],
    ["23503", 409],
    ["23505", 409],
    ["23514", 400],
    ["25006", 405],
    ["25001", 500],
    ["28000", 403],
    ["2D000", 500],
    ["38000", 500],
    ["39000", 500],
    ["3B000", 500],
    ["40001", 500],
    ["40P01", 500],
    ["42883", 404],
    ["42P01", 404],
    ["42P17", 500],
    ["42501", 403],
    ["42703", 400],
    ["53300", 503],
    ["53400", 500],
    ["54001", 500],
    ["55P03", 500],
    ["57014", 500],
    ["57P01", 503],
    ["58000", 500],
    ["F0000", 500],
    ["HV000", 500],
    ["P0001", 400],
    ["P0002", 500],
    ["XX000", 500],
    ["OC123", 400],
    ["PT409", 409],
    ["PT503", 503],
  ])("SQLSTATE %s is %i", async (code, status) => {
    const answer = await get("rpc/raise_code", { body: { code } });

    expect(answer.status).toBe(status);
    expect(answer.json).toEqual({ code, message: "raised", details: "some detail", hint: "a hint" });
    expect(answer.headers.get("proxy-status")).toBe(`PostgREST; error=${code}`);
  });

  test("safeupdate's message makes 21000 the caller's fault", async () => {
    const body = { code: "21000", message: "UPDATE requires a WHERE clause" };

    expect((await get("rpc/raise_code", { body })).status).toBe(400);
  });

  test("a PGRST raise chooses status, headers and body", async () => {
    const answer = await get("rpc/raise_pgrst", {
      body: {
        message: '{"code":"OC429","message":"too many","hint":"wait"}',
        detail: '{"status":429,"headers":{"Retry-After":"30"}}',
      },
    });

    expect([answer.status, answer.headers.get("retry-after")]).toEqual([429, "30"]);
    expect(answer.json).toEqual({ code: "OC429", message: "too many", details: null, hint: "wait" });
  });

  test.each([
    { message: "no json", detail: '{"status":429}' },
    { message: '{"code":"a","message":"b"}', detail: "no json" },
    { message: '{"code":"a","message":"b"}', detail: '{"status":429,"headers":{"a":"b\\r\\nc"}}' },
  ])("a PGRST raise that cannot be read: $message $detail", async (body) => {
    expect(await get("rpc/raise_pgrst", { body })).toMatchObject({ status: 500, json: { code: "PGRST121" } });
  });

  test.each([
    ["nope", 404, "PGRST205"],
    ["nope/more", 404, "PGRST125"],
    ["", 404, "PGRST125"],
    ["customers?select=nope", 400, "42703"],
    ["customers?nope=eq.1", 400, "42703"],
    ["customers?id=eq.abc", 400, "22P02"],
    ["customers?name=gt", 400, "PGRST100"],
    ["customers?name=bogus.1", 400, "PGRST100"],
    ["customers?name=like(some).{a}", 400, "PGRST100"],
    ["customers?name=is.maybe", 400, "PGRST100"],
    ["customers?id=in.(1", 400, "PGRST100"],
    ["customers?or=(id.eq.1", 400, "PGRST100"],
    ["customers?or=id.eq.1", 400, "PGRST100"],
    ["customers?or=()", 400, "PGRST100"],
    ["customers?order=id.sideways", 400, "PGRST100"],
    ["customers?limit=many", 400, "PGRST100"],
    ["customers?offset=-1", 400, "PGRST100"],
    ["customers?select=id,", 400, "PGRST100"],
    ["customers?select=id::nosuchtype", 400, "42704"],
    ["customers?select=count()", 400, "PGRST123"],
    ["customers?select=credit.sum()", 400, "PGRST123"],
    ["customers?select=id,nope(id)", 400, "PGRST200"],
    ["customer_names?select=id,orders(id)", 400, "PGRST200"],
    ["customers?select=id,...cards(code)", 400, "PGRST100"],
    ["customers?orders.id=eq.1", 400, "PGRST108"],
  ])("%s is %i %s", async (path, status, code) => {
    const answer = await get(path);

    expect(answer, answer.text).toMatchObject({ status, json: { ...ERROR_BODY, code } });
    expect(answer.headers.get("proxy-status")).toBe(`PostgREST; error=${code}`);
  });

  test.each([
    [{ accept: "application/vnd.pgrst.plan+json" }, 406, "PGRST107"],
    [{ prefer: "count=estimated" }, 400, "PGRST100"],
    [{ prefer: "handling=strict,bogus=1" }, 400, "PGRST122"],
    [{ headers: { "accept-profile": "hidden" } }, 406, "PGRST106"],
    [{ method: "PUT", body: {} }, 405, "PGRST117"],
    [{ method: "PROPFIND" }, 405, "PGRST117"],
  ])("%o is %i %s", async (asked, status, code) => {
    expect(await get("customers", asked)).toMatchObject({ status, json: { code } });
  });

  test("another exposed schema is reached by its profile", async () => {
    expect((await get("titles", { headers: { "accept-profile": "books" } })).json).toEqual([{ id: 1, title: "Emma" }]);
    expect((await get("titles")).status).toBe(404);
  });
});

describe("who is calling", () => {
  const now = Math.floor(Date.now() / 1000);
  const role = "rpc/setting?name=role";

  test.each([
    { name: "publishable", key: KEYS.publishableKey, expected: "anon" },
    { name: "secret", key: KEYS.secretKey, expected: "service_role" },
  ])("the $name key", async ({ key, expected }) => {
    expect((await get(role, { key })).json).toBe(expected);
  });

  test("legacy keys, signed with the stack's secret", async () => {
    for (const expected of ["anon", "service_role"]) {
      const key = await signToken({ role: expected, iss: "supabase" });

      expect((await get(role, { key })).json).toBe(expected);
    }
  });

  test("a user's token decides the role, and row security sees its claims", async () => {
    const token = await signToken({ role: "authenticated", sub: "2", exp: now + 60 });

    const rows = await get("customers?select=id", { key: KEYS.publishableKey, token });
    const claims = await get("rpc/setting?name=request.jwt.claims", { key: KEYS.publishableKey, token });

    expect(rows.json).toEqual([{ id: 2 }]);
    expect(JSON.parse(String(claims.json))).toMatchObject({ sub: "2", role: "authenticated" });
  });

  test("a role the API may not become, or that is not", async () => {
    const strange = await get(role, { token: await signToken({ role: "supabase_admin" }) });
    const unknown = await get(role, { token: await signToken({ role: "nobody'; drop table x; --" }) });

    expect([strange.status, unknown.status]).toEqual([403, 401]);
  });

  test.each([
    { name: "expired", claims: { role: "authenticated", exp: now - 60 }, code: "PGRST303" },
    { name: "not yet valid", claims: { role: "authenticated", nbf: now + 600 }, code: "PGRST303" },
    { name: "signed by another", claims: { role: "authenticated" }, secret: "x".repeat(32), code: "PGRST301" },
  ])("a token that is $name", async ({ claims, secret, code }) => {
    const answer = await get(role, { token: await signToken(claims, secret) });

    expect(answer).toMatchObject({ status: 401, json: { code } });
    expect(answer.headers.get("www-authenticate")).toContain("Bearer");
  });

  test("an unsigned token, half a token, another key as token", async () => {
    const unsigned = `${btoa('{"alg":"none"}')}.${btoa('{"role":"service_role"}')}.`.replaceAll("=", "");
    for (const token of [unsigned, "a.b", "abc", KEYS.secretKey]) {
      const answer = await get(role, { key: KEYS.publishableKey, token });

      expect(answer).toMatchObject({ status: 401, json: { code: "PGRST301" } });
    }
  });

  test("no key, a wrong key, a user's token as key, a secret key in a browser", async () => {
    const user = await signToken({ role: "authenticated" });
    for (
      const asked of [
        { key: null },
        { key: "sb_secret_wrong" },
        { key: user },
        { headers: { "user-agent": "Mozilla/5.0" } },
      ]
    ) {
      expect((await get(role, asked)).status, JSON.stringify(asked)).toBe(401);
    }
  });

  test("a verified token is forgotten when it expires", async () => {
    // Inside the tolerance of 30 s for one more second, so accepted first and refused after.
    const token = await signToken({ role: "authenticated", exp: Math.floor(Date.now() / 1000) - 28 });
    expect((await get(role, { token })).status).toBe(200);

    await expect.poll(async () => (await get(role, { token })).status, { timeout: 5000 }).toBe(401);
  });

  test("a missing grant is 401 for anon and 403 for others", async () => {
    const anonymous = await get("customers", { key: KEYS.publishableKey });
    const token = await signToken({ role: "authenticated" });
    const signedIn = await get("orders", { key: KEYS.publishableKey, token });

    expect(anonymous).toMatchObject({ status: 401, json: { code: "42501" } });
    expect(signedIn).toMatchObject({ status: 403, json: { code: "42501" } });
  });

  test("a schema's wall holds on connections where another role went through", async () => {
    const headers = { "accept-profile": "books" };
    const all = (key: string) => Promise.all(Array.from({ length: 40 }, () => get("titles", { key, headers })));
    await all(KEYS.secretKey);
    await all(KEYS.secretKey);

    const answers = await all(KEYS.publishableKey);

    expect(answers.filter(({ status }) => status !== 401)).toEqual([]);
  });

  test("browsers are answered: preflight without key, any origin", async () => {
    const preflight = await fetch(`${shop.api.url}/rest/v1/customers`, {
      method: "OPTIONS",
      headers: { origin: "http://web.example", "access-control-request-headers": "apikey,prefer" },
    });
    const answer = await get("customers", { key: null, headers: { origin: "http://web.example" } });

    expect([preflight.status, preflight.headers.get("access-control-allow-headers")]).toEqual([200, "apikey,prefer"]);
    expect(answer.headers.get("access-control-allow-origin")).toBe("*");
  });
});
