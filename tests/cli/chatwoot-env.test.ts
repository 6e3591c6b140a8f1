// occ chatwoot-env: whatever the password and however the address is pasted, Chatwoot gets it as it is.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import fc from "fast-check";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readDatabaseUrl, toDatabaseUrl } from "../../cli/shared/database-url.ts";
import { setVariable } from "../../cli/shared/env-file.ts";
import { useDatabase } from "../support/database.ts";
import { occ, printed } from "./occ.support.ts";

const database = useDatabase();
let folder: string;
let foreign: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "occ-env-"));
  const name = `${new URL(database.url).pathname.slice(1)}_foreign`;
  const admin = new Client({ connectionString: database.adminUrl });
  await admin.connect();
  await admin.query(`create database ${name}`).finally(() => admin.end());
  const url = new URL(database.url);
  url.pathname = `/${name}`;
  foreign = url.href;
});

afterAll(async () => {
  const admin = new Client({ connectionString: database.adminUrl });
  await admin.connect();
  await admin.query(`drop database if exists ${new URL(foreign).pathname.slice(1)}`).finally(() => admin.end());
  await rm(folder, { recursive: true, force: true });
});

// What a password may hold: all that some parser of URLs, files or YAML stumbles over.
const CHARACTERS = [..."aZ09 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~üß€👍"];
const REF = "abcdefghijklmnopqrst";

describe("reads an address", () => {
  test.each([
    {
      name: "direct",
      url: `postgresql://postgres:secret-word@db.${REF}.supabase.co:5432/postgres`,
      host: `db.${REF}.supabase.co`,
      password: "secret-word",
    },
    {
      name: "pooler",
      url: `postgres://postgres.${REF}:pw123456@aws-0-eu-central-1.pooler.supabase.com:6543/postgres`,
      port: 6543,
      user: `postgres.${REF}`,
      password: "pw123456",
    },
    {
      name: "IPv6",
      url: "postgresql://postgres:pw@[2600:1f18::1]:5432/postgres",
      host: "2600:1f18::1",
      password: "pw",
    },
    {
      name: "without port and database",
      url: "postgresql://postgres:pw@db.example.com",
      host: "db.example.com",
      password: "pw",
    },
    {
      name: "a password as it is, with everything",
      url: "postgresql://postgres:p@ss:w/o?r#d[1]%@db.example.com:5432/postgres",
      password: "p@ss:w/o?r#d[1]%",
    },
    {
      name: "a password percent-encoded",
      url: "postgresql://postgres:p%40ss%3Aw%2Fo%3Fr%23d%25@db.example.com:5432/postgres",
      password: "p@ss:w/o?r#d%",
    },
    { name: "options", url: "postgresql://postgres:pw@db.example.com:5432/postgres?sslmode=require", password: "pw" },
  ])("$name", ({ url, name: _, ...expected }) => {
    expect(readDatabaseUrl(url)).toMatchObject(expected);
  });

  test("and writes it so that it is read the same", () => {
    const word = fc.string({ minLength: 1, maxLength: 40, unit: fc.constantFrom(...CHARACTERS) });
    fc.assert(
      fc.property(word, (password) => {
        const address = {
          user: `postgres.${REF}`,
          password,
          host: "db.example.com",
          port: 5432,
          database: "postgres",
          parameters: new URLSearchParams(),
          isPasswordRaw: false,
        };

        expect(readDatabaseUrl(toDatabaseUrl(address)).password).toBe(password);
        expect(decodeURIComponent(new URL(toDatabaseUrl(address)).password)).toBe(password);
      }),
      { numRuns: 300 },
    );
  });
});

const direct = (password: string) => `postgresql://postgres:${password}@db.${REF}.supabase.co:5432/postgres`;
const run = (args: string[], input?: string) =>
  occ(["chatwoot-env", "--offline", ...args], {
    env: { OCC_DB_URL: direct("CANARYpassword") },
    calledFrom: folder,
    ...(input === undefined ? {} : { input }),
  });

describe("hands the password over and never prints it", () => {
  test("printed", async () => {
    const { exit, out } = await run([]);

    expect([exit, out.split("\n").slice(0, 5)]).toEqual([0, [
      `POSTGRES_HOST=db.${REF}.supabase.co`,
      "POSTGRES_PORT=5432",
      "POSTGRES_DATABASE=postgres",
      "POSTGRES_USERNAME=postgres",
      "POSTGRES_PASSWORD=[hidden]",
    ]]);
  });

  test("into a file, whose other lines stay", async () => {
    const file = join(folder, "chatwoot.env");
    const before = "# mine\nexport SECRET_KEY_BASE='a # b'\n\nPOSTGRES_PASSWORD=old\nLAST=1";
    await writeFile(file, before, { mode: 0o640 });

    const { exit } = await run(["--set", "chatwoot.env"]);

    const after = await readFile(file, "utf8");
    expect(exit).toBe(0);
    expect(after.startsWith("# mine\nexport SECRET_KEY_BASE='a # b'\n\nPOSTGRES_PASSWORD=CANARYpassword\nLAST=1\n"))
      .toBe(true);
    expect(parseEnv(after)).toMatchObject({ POSTGRES_HOST: `db.${REF}.supabase.co`, LAST: "1" });
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect(await readdir(folder)).toEqual(["chatwoot.env"]);
    await rm(file);
  });

  // As Ruby's dotenv reads them; Chatwoot then puts the value into double quotes of YAML.
  function asChatwootReads(line: string): string {
    const value = line.slice(line.indexOf("=") + 1);
    const bare = value.startsWith("'")
      ? value.slice(1, -1)
      : value.startsWith('"')
      ? value.slice(1, -1).replace(/\\([\\"$`])/g, "$1")
      : value;
    return bare.replace(/\\(["\\])/g, "$1");
  }

  test.each(["env", "docker", "fly"])("any password, in the format %s", async (format) => {
    const file = join(folder, `any.${format}`);
    const word = fc.string({
      minLength: 1,
      maxLength: 30,
      unit: fc.constantFrom(...CHARACTERS),
    });
    await fc.assert(
      fc.asyncProperty(word, async (password) => {
        await rm(file, { force: true });
        const { exit, all } = await run(["--format", format, "--set", file, "--password-stdin"], `${password}\n`);
        expect(exit, all).toBe(0);
        const line = (await readFile(file, "utf8")).split("\n").find((text) => text.startsWith("POSTGRES_PASSWORD=")) ??
          "";
        const read = format === "env" ? asChatwootReads(line) : line.slice(18).replace(/\\(["\\])/g, "$1");
        expect(read).toBe(password);
      }),
      { numRuns: 60 },
    );
    await rm(file);
  });
});

describe("warns", () => {
  const pooler = (port: number, user = `postgres.${REF}`) =>
    `postgresql://${user}:CANARYpassword@aws-0-eu-central-1.pooler.supabase.com:${port}/postgres`;

  test.each([
    { name: "of transaction pooling", url: pooler(6543), says: /Port 6543 pools by transaction/ },
    { name: "of a direct address without IPv6", url: direct("CANARYpassword"), says: /IPv6 only/ },
    { name: "of a pooler's user without the project", url: pooler(5432, "postgres"), says: /Tenant or user not found/ },
    { name: "of quotes that break Chatwoot's YAML", url: direct('CANARY"password'), says: /escaped for that here/ },
    { name: "of what ERB would run", url: direct("CANARY<%=password%>"), says: /ERB/ },
  ])("$name", async ({ url, says }) => {
    const { exit, out } = await occ(["chatwoot-env", "--offline"], { env: { OCC_DB_URL: url } });

    expect([exit, out]).toEqual([0, expect.stringMatching(says)]);
  });

  test("and turns prepared statements off where only a URL can say it", async () => {
    const { out } = await occ(["chatwoot-env", "--offline"], { env: { OCC_DB_URL: pooler(6543) } });

    expect(out).toContain(
      `DATABASE_URL=postgresql://postgres.${REF}:[hidden]@aws-0-eu-central-1.pooler.supabase.com:6543/postgres?prepared_statements=false`,
    );
  });

  test("of nothing through the session pooler", async () => {
    const { out } = await occ(["chatwoot-env", "--offline"], { env: { OCC_DB_URL: pooler(5432) } });

    expect(out).not.toMatch(/^!/m);
  });
});

test("takes the project's database, and refuses another one", async () => {
  const mine = await occ(["chatwoot-env"], { env: { OCC_DB_URL: database.url } });
  const other = await occ(["chatwoot-env", "--set", "other.env"], { env: { OCC_DB_URL: foreign }, calledFrom: folder });

  expect([mine.exit, other.exit]).toEqual([0, 1]);
  expect(other.error).toMatch(/not this project's[\s\S]*→ Give the project's own URL/);
  expect(await readdir(folder)).toEqual([]);
});

test.each([
  { name: "an unknown format", args: ["--format", "helm"], says: /no format "helm"/ },
  { name: "an app without fly", args: ["--app", "chat"], says: /format is not fly/ },
  { name: "an app that is an option", args: ["--format", "fly", "--app", "-x;rm"], says: /names no fly app/ },
])("$name is wrong usage", async ({ args, says }) => {
  const { exit, error } = await run(args);

  expect([exit, error]).toEqual([2, expect.stringMatching(says)]);
});

describe("a file of variables", () => {
  test.each([
    {
      name: "with a value over several lines",
      text: "A='1\n2'\nX=\"old\nolder\"\nB=2\n",
      after: "A='1\n2'\nX=new\nB=2\n",
    },
    { name: "with a comment behind the value", text: "X='old' # why\nB=2\n", after: "X=new\nB=2\n" },
    { name: "without an end of line", text: "B=2", after: "B=2\nX=new\n" },
    { name: "that is empty", text: "", after: "X=new\n" },
    { name: "with the name in a comment", text: "#X=old\nXX=1\n", after: "#X=old\nXX=1\nX=new\n" },
  ])("$name keeps its other lines", ({ text, after }) => {
    expect(setVariable(text, "X", "new", "file")).toBe(after);
  });

  test("that sets the variable twice is left alone", () => {
    expect(() => setVariable("X=1\nX=2\n", "X", "new", "file")).toThrow(/sets X twice/);
  });
});

test("no password was printed", () => expect(printed.join("\n")).not.toContain("CANARY"));
