// http() against a real server: what is sent, what comes back, what raises, and that no request is ever stored.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { useWorker } from "./worker.support.ts";

interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  body: string;
}
interface Row {
  status: number;
  content_type: string | null;
  headers: { field: string; value: string }[];
  content: string | null;
}

describe("http", () => {
  const server = useWorker();
  const seen: Seen[] = [];
  const closed: string[] = [];
  let other: Server;
  let web: Server;
  let base: string;
  let otherBase: string;

  const routes: Record<string, (response: ServerResponse) => void> = {
    "/echo": (response) =>
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(seen.at(-1))),
    "/empty": (response) => response.writeHead(204).end(),
    "/missing": (response) => response.writeHead(404, { "Content-Type": "text/plain" }).end("nothing here"),
    "/latin1": (response) =>
      response.writeHead(200, { "Content-Type": "text/plain; charset=ISO-8859-1" }).end(Buffer.from([0xe9])),
    "/wrong-charset": (response) =>
      response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8" }).end(Buffer.from([0xe9])),
    "/bytes": (response) => response.writeHead(200).end(Buffer.from([0xe9, 0x41])),
    "/gzip": (response) => response.writeHead(200, { "Content-Encoding": "gzip" }).end(gzipSync("unpacked")),
    "/bomb": (response) =>
      response.writeHead(200, { "Content-Encoding": "gzip" }).end(gzipSync(Buffer.alloc(40 * 1024 * 1024))),
    "/huge": (response) => response.writeHead(200).end(Buffer.alloc(33 * 1024 * 1024, "x")),
    "/slow": () => {},
    "/cut": (response) => response.writeHead(200, { "Content-Length": "100" }).write("half", () => response.destroy()),
    "/ftp": (response) => response.writeHead(302, { Location: "ftp://127.0.0.1/" }).end(),
    "/away": (response) => response.writeHead(302, { Location: `${otherBase}/echo` }).end("moved"),
    "/away-307": (response) => response.writeHead(307, { Location: `${otherBase}/echo` }).end(),
  };

  const listen = async () => {
    const made = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request) body += chunk;
      const path = request.url ?? "";
      seen.push({ method: request.method ?? "", path, headers: request.headers, body });
      response.on("close", () => closed.push(path));
      const hops = /^\/hops\/(\d+)$/.exec(path);
      if (hops) {
        response.writeHead(302, { Location: Number(hops[1]) > 1 ? `/hops/${Number(hops[1]) - 1}` : "/echo" }).end();
      } else (routes[path.split("?")[0]] ?? routes["/missing"])(response);
    });
    await new Promise<void>((resolve) => made.listen(0, "127.0.0.1", resolve));
    return { made, url: `http://127.0.0.1:${(made.address() as AddressInfo).port}` };
  };
  const row = "select status, content_type, to_jsonb(headers) as headers, content from";
  const get = async (path: string) => (await server.run<Row>(`${row} extensions.http_get($1)`, [base + path]))[0];
  const send = async (
    method: string,
    path: string,
    headers: [string, string][] = [],
    type: string | null = null,
    content: string | null = null,
  ) =>
    (await server.run<Row>(
      `${row} extensions.http(($1, $2, (select array_agg(extensions.http_header(h ->> 0, h ->> 1))
       from jsonb_array_elements($3::jsonb) as h), $4, $5)::extensions.http_request)`,
      [method, base + path, JSON.stringify(headers), type, content],
    ))[0];

  beforeAll(async () => {
    ({ made: web, url: base } = await listen());
    ({ made: other, url: otherBase } = await listen());
    await server.run("create extension http with schema extensions");
  });
  beforeEach(() => {
    seen.length = 0;
    closed.length = 0;
  });
  afterAll(() => {
    for (const made of [web, other]) {
      made?.closeAllConnections();
      made?.close();
    }
  });

  test("get returns status, type, headers and content", async () => {
    const answer = await get("/echo?a=1");

    expect(answer).toMatchObject({ status: 200, content_type: "application/json" });
    expect(answer.headers).toContainEqual({ field: "Content-Type", value: "application/json" });
    expect(JSON.parse(answer.content ?? "")).toMatchObject({ method: "GET", path: "/echo?a=1", body: "" });
    expect(seen[0].headers).toMatchObject({ accept: "*/*", connection: "close" });
    expect(seen[0].headers["user-agent"]).toMatch(/^PostgreSQL/);
  });

  test.each([
    ["POST", "/echo", "text/plain", "hé"],
    ["PUT", "/echo", "application/json", "{}"],
    ["PATCH", "/echo", "application/json", "{}"],
    ["DELETE", "/echo", "text/plain", "gone"],
    ["DELETE", "/echo", null, null],
    ["OPTIONS", "/echo", null, null],
  ])("%s %s sends %s: %s", async (method, path, type, content) => {
    expect((await send(method, path, [["api_access_token", "t"], ["X-Own", "ü"]], type, content)).status).toBe(200);

    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ method, path, body: content ?? "", headers: { api_access_token: "t" } });
    expect(seen[0].headers["content-type"] ?? null).toBe(type);
    expect(Buffer.from(seen[0].headers["x-own"] as string, "latin1").toString()).toBe("ü");
  });

  test("the short forms send what their names say", async () => {
    await server.run('select extensions.http_get($1, \'{"q": "a b&c", "n": 1}\')', [`${base}/echo`]);
    await server.run('select extensions.http_post($1, \'{"q": "é"}\'::jsonb)', [`${base}/echo`]);
    await server.run("select extensions.http_post($1, 'x', 'text/plain')", [`${base}/echo`]);
    await server.run("select extensions.http_delete($1)", [`${base}/echo`]);
    await server.run("select extensions.http_head($1)", [`${base}/echo`]);

    expect(seen.map(({ method, path, body, headers }) => [method, path, body, headers["content-type"]])).toEqual([
      ["GET", "/echo?n=1&q=a+b%26c", "", undefined],
      ["POST", "/echo", "q=%C3%A9", "application/x-www-form-urlencoded"],
      ["POST", "/echo", "x", "text/plain"],
      ["DELETE", "/echo", "", undefined],
      ["HEAD", "/echo", "", undefined],
    ]);
  });

  test("an error status is an answer, and no content is null", async () => {
    expect(await get("/missing")).toMatchObject({ status: 404, content: "nothing here" });
    expect(await get("/empty")).toMatchObject({ status: 204, content: null, content_type: null });
  });

  test("content is read in the character set it names, and packed content unpacked", async () => {
    expect((await get("/latin1")).content).toBe("é");
    expect((await get("/gzip")).content).toBe("unpacked");
    await expect(get("/wrong-charset")).rejects.toMatchObject({ code: "22021" });
  });

  test("content without a character set comes unread, and the check the caller makes catches it", async () => {
    const bytes = "extensions.text_to_bytea((extensions.http_get($1)).content)";

    expect(await server.run(`select encode(${bytes}, 'hex') as hex`, [`${base}/bytes`])).toEqual([{ hex: "e941" }]);
    await expect(server.run(`select convert_from(${bytes}, 'UTF8')`, [`${base}/bytes`])).rejects.toMatchObject({
      code: "22021",
    });
  });

  test("redirects are followed with the caller's headers, other than credentials", async () => {
    const headers: [string, string][] = [["api_access_token", "t"], ["Authorization", "Bearer b"], ["Cookie", "c=1"]];
    const answer = await send("POST", "/away", headers, "text/plain", "body");

    expect(answer.status).toBe(200);
    expect(answer.headers.filter((header) => header.field === "Location")).toHaveLength(1);
    expect(seen.map(({ method, path, body }) => [method, path, body])).toEqual([["POST", "/away", "body"], [
      "GET",
      "/echo",
      "",
    ]]);
    expect(seen[0].headers).toMatchObject({ authorization: "Bearer b", cookie: "c=1" });
    expect(seen[1].headers).toMatchObject({ api_access_token: "t" });
    expect(seen[1].headers).not.toHaveProperty("authorization");
    expect(seen[1].headers).not.toHaveProperty("cookie");
  });

  test("a 307 keeps method and content, a HEAD stays where it is", async () => {
    await send("POST", "/away-307", [], "text/plain", "body");
    const head = await send("HEAD", "/away");

    expect(seen.slice(0, 2).map(({ method, body }) => [method, body])).toEqual([["POST", "body"], ["POST", "body"]]);
    expect(head.status).toBe(302);
    expect(seen).toHaveLength(3);
  });

  test("five redirects are followed, six are not", async () => {
    expect((await get("/hops/5")).status).toBe(200);
    await expect(get("/hops/6")).rejects.toThrow("Maximum (5) redirects followed");
  });

  test.each([
    ["nobody listens", () => "http://127.0.0.1:1/", "Failed to connect to 127.0.0.1 port 1"],
    ["a name nobody has", () => "http://nobody.invalid/", "Could not resolve host: nobody.invalid"],
    ["another protocol", () => "file:///etc/passwd", 'Protocol "file" not supported'],
    ["a redirect to another protocol", () => `${base}/ftp`, 'Protocol "ftp" not supported'],
    ["no URL", () => "http://", "URL using bad/illegal format"],
    ["a URL with a line break", () => `${base}/\r\nX: y`, "URL using bad/illegal format"],
    ["an answer cut short", () => `${base}/cut`, "closed the connection before the answer was complete"],
    ["an answer too large", () => `${base}/huge`, "more than 33554432 bytes"],
    ["an answer too large once unpacked", () => `${base}/bomb`, "more than 33554432 bytes"],
  ])("%s raises", async (_, url, words) => {
    const failure: Error & { code?: string } = await server.run("select extensions.http_get($1)", [url()]).then(
      () => expect.unreachable(),
      (error) => error,
    );

    expect(failure.message).toContain(words);
    expect(failure.code).toBe("XX000");
  });

  test.each([
    ["null", "null::extensions.http_request", "An http_request must be provided"],
    ["no method", "(null, 'http://x', null, null, null)::extensions.http_request", "http_request.method is NULL"],
    ["no uri", "('GET', null, null, null, null)::extensions.http_request", "http_request.uri is NULL"],
    [
      "no content",
      "('POST', 'http://x', null, 'text/plain', null)::extensions.http_request",
      "http_request.content is NULL",
    ],
    [
      "no content type",
      "('POST', 'http://x', null, null, 'x')::extensions.http_request",
      "http_request.content_type is NULL",
    ],
  ])("a request with %s raises", async (_, request, words) => {
    await expect(server.run(`select extensions.http(${request})`)).rejects.toThrow(words);
  });

  test("a header with a line break is not sent, and the error does not repeat it", async () => {
    await expect(send("GET", "/echo", [["X-Own", "secret\r\nX-Other: y"]])).rejects.toThrow(
      /^(?!.*secret)The request's method or a header/,
    );
    expect(seen).toEqual([]);
  });

  test("an answer that takes five seconds raises", async () => {
    const started = Date.now();

    await expect(get("/slow")).rejects.toThrow(/Operation timed out after 5\d\d\d milliseconds with 0 bytes received/);
    expect(Date.now() - started).toBeLessThan(7000);
  });

  test("options hold for the session and are forgotten when reset", async () => {
    const slow = `select extensions.http_get('${base}/slow')`;
    await expect(server.run(`select extensions.http_set_curlopt('CURLOPT_TIMEOUT_MS', '150'); ${slow}`))
      .rejects.toThrow(/timed out after [1-4]\d\d milliseconds/);
    await expect(server.run(`set http.timeout_msec = 150; ${slow}`)).rejects.toThrow(
      /timed out after [1-4]\d\d milliseconds/,
    );
    await server.run(`select extensions.http_set_curlopt('CURLOPT_USERAGENT', 'occ'),
      extensions.http_set_curlopt('CURLOPT_USERPWD', 'a:b'); select extensions.http_get('${base}/echo')`);

    expect(seen.at(-1)?.headers).toMatchObject({ "user-agent": "occ", authorization: `Basic ${btoa("a:b")}` });
    expect(
      await server.run(
        `select extensions.http_set_curlopt('curlopt_timeout', '9'); select * from extensions.http_list_curlopt()`,
      ),
    )
      .toEqual([{ curlopt: "CURLOPT_TIMEOUT", value: "9" }]);
    expect(
      await server.run(
        `select extensions.http_set_curlopt('curlopt_timeout', '9'); select extensions.http_reset_curlopt();
      select * from extensions.http_list_curlopt()`,
      ),
    ).toEqual([]);
    await expect(server.run("select extensions.http_set_curlopt('CURLOPT_URL', 'x')")).rejects.toThrow("not available");
  });

  test("cancelling the query ends the request, though the session lives on", async () => {
    const client = new Client({ connectionString: server.url() });
    await client.connect();
    try {
      await client.query("set statement_timeout = 300");
      await expect(client.query("select extensions.http_get($1)", [`${base}/slow`])).rejects.toMatchObject({
        code: "57014",
      });
      await expect.poll(() => closed, { timeout: 10_000 }).toEqual(["/slow"]);

      await client.query("set statement_timeout = 0");
      const { rows } = await client.query("select status from extensions.http_get($1)", [`${base}/echo`]);
      expect(rows).toEqual([{ status: 200 }]);
    } finally {
      await client.end();
    }
  });

  test("a failure can be caught, and the transaction goes on", async () => {
    await server.run("create table if not exists public.calls (outcome text)");
    await server.run(`do $$ begin
      perform extensions.http_get('http://127.0.0.1:1/');
    exception when others then
      insert into public.calls values (sqlerrm);
    end $$`);

    expect(
      await server.run("delete from public.calls where true returning outcome like 'Failed to connect%' as caught"),
    ).toEqual([{ caught: true }]);
  });

  test("it works in a procedure that commits between requests, at any isolation level", async () => {
    await server.run(`create table public.pages (status integer);
      create procedure public.fetch_pages(url text) language plpgsql as $$ begin
        for i in 1..3 loop
          insert into public.pages select status from extensions.http_get(url);
          commit;
        end loop;
        raise 'the end';
      end $$`);

    await expect(server.run(`call public.fetch_pages('${base}/echo')`)).rejects.toThrow("the end");
    expect(await server.run("select status from public.pages")).toEqual([{ status: 200 }, { status: 200 }, {
      status: 200,
    }]);
    expect(
      await server.run(
        `begin isolation level serializable read only; select status from extensions.http_get('${base}/echo')`,
      ),
    )
      .toEqual([{ status: 200 }]);
  });

  test("several sessions are served at once", async () => {
    const started = Date.now();
    const slow =
      `select extensions.http_set_curlopt('CURLOPT_TIMEOUT_MS', '1000'); select extensions.http_get('${base}/slow')`;
    await Promise.allSettled(Array.from({ length: 8 }, () => server.run(slow)));

    expect(Date.now() - started).toBeLessThan(3000);
    expect(seen).toHaveLength(8);
  });

  test("the token is in no table, large object, statistic or log, during the call or after it", async () => {
    const token = randomUUID();
    const call = send("GET", "/slow", [["api_access_token", token]]).catch(() => {});
    await expect.poll(() => seen.length).toBe(1);
    expect(seen[0].headers).toMatchObject({ api_access_token: token });
    for (const moment of ["during", "after"]) {
      if (moment === "after") await call;
      const relations = await server.run<{ name: string }>(
        `select format('%I.%I', nspname, relname) as name from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         where relkind in ('r', 'm', 'v') and nspname not in ('information_schema', 'pg_toast')
           and relname not in ('pg_statistic_ext_data', 'pg_hba_file_rules', 'pg_ident_file_mappings')`,
      );
      const searches = relations.map(({ name }) =>
        `select '${name}' as found where exists (select from ${name} as t where position(reverse('${
          [...token].reverse().join("")
        }') in t::text) > 0)`
      );
      expect(await server.run(searches.join(" union all "), [], "supabase_admin"), moment).toEqual([]);
    }
    expect(server.log.join()).not.toContain(token);
  });

  test.each([
    "select pg_read_file('http-worker')",
    "select extensions.http_worker_connect('a', 'host=127.0.0.1')",
    "select extensions.http_worker_send('a', 'b')",
  ])("postgres may not: %s", async (statement) => {
    await expect(server.run(statement)).rejects.toMatchObject({ code: "42501" });
  });

  test("the helpers convert", async () => {
    expect(
      await server.run(
        `select extensions.urlencode('a b&c=é~-._'::varchar) as text, extensions.urlencode('\\x00ff'::bytea) as bytes,
      extensions.urlencode('{"a": null, "b": true, "c": [1], "d": 1.50}'::jsonb) as object, extensions.bytea_to_text('\\x41') as letter`,
      ),
    )
      .toEqual([{ text: "a+b%26c%3D%C3%A9~-._", bytes: "%00%FF", object: "a=&b=true&d=1.50", letter: "A" }]);
  });

  // Last: it leaves the file without a worker for a moment.
  test("without a worker it says so at once, and works when there is one again", async () => {
    await server.stopWorker();
    await expect(get("/echo")).rejects.toThrow("the worker is not running");
    await server.restartWorker();

    expect((await get("/echo")).status).toBe(200);
  });
});
