// A Chatwoot with a memory: an installation whose rows stand in tables of Chatwoot's own shape, for whoever reads them.
import { readFile } from "node:fs/promises";
import { Pool, type PoolClient } from "pg";
import { UserError } from "../settings.ts";
import { createInstallation, type Installation, type InstallationOptions } from "./installation.ts";
import { readState } from "./table-reading.ts";
import { createArchive, type Saved } from "./table-writing.ts";

export type { Saved } from "./table-writing.ts";

export interface MemoryOptions {
  /** Of the database; where in it the tables stand, the search_path says. */
  url: string;
  /** How the shop begins. What the tables already hold counts for more. */
  installationOptions: InstallationOptions;
}

export interface Memory {
  installation: Installation;
  /** Writes what changed since the last time, in one transaction. What could not be written is kept for the next. */
  save(): Promise<Saved>;
  close(): Promise<void>;
}

/** Opens the tables, makes them where there are none, and goes on with the installation they hold or with a new one. */
export async function openMemory({ url, installationOptions }: MemoryOptions): Promise<Memory> {
  // One connection, made anew after Postgres went away; that it is lost while idle is noticed when it is next used.
  const pool = new Pool({ connectionString: url, max: 1 });
  pool.on("error", () => {});
  const using = async <Value>(work: (client: PoolClient) => Promise<Value>): Promise<Value> => {
    const client = await pool.connect();
    try {
      const value = await work(client);
      client.release();
      return value;
    } catch (error) {
      // Thrown away with the transaction it may still be in.
      client.release(true);
      throw error;
    }
  };

  try {
    const state = await using(async (client) => {
      await createTables(client);
      return await readState(client);
    });
    const installation = createInstallation({ ...installationOptions, ...(state === null ? {} : { state }) });
    const archive = createArchive(installation.state, { isWritten: state !== null });
    let last: Promise<unknown> = Promise.resolve();
    return {
      installation,
      save: () => {
        const saving = last.then(() => using((client) => archive.write(client)));
        last = saving.catch(() => {});
        return saving;
      },
      close: async () => {
        await last;
        await pool.end();
      },
    };
  } catch (error) {
    await pool.end();
    throw error;
  }
}

async function createTables(client: PoolClient): Promise<void> {
  const { rows: [found] } = await client.query<{ theirs: string | null; ours: string | null }>(
    "select to_regclass('accounts') as theirs, to_regclass('local_installation') as ours",
  );
  if (found.theirs !== null && found.ours === null) {
    throw new UserError(
      "The tables in this database belong to a Chatwoot that was not made here, and nothing will be written to them: give an empty database.",
    );
  }
  if (found.theirs !== null) return;
  // Several statements in one query are one transaction.
  await client.query(await readFile(new URL("schema.sql", import.meta.url), "utf8"));
}
