// Puts an installation away: of all that was touched, only the rows that differ from what stands in the tables.
import type { PoolClient } from "pg";
import { type Row, rowsOf, type Table, TABLES } from "./table-rows.ts";
import { everything, type Kind, KINDS, type State, type Touched } from "./state.ts";

/** How many rows a save wrote. */
export interface Saved {
  inserted: number;
  updated: number;
  deleted: number;
}

type Values = Row["values"];

interface Changes {
  inserted: Map<number, Values>;
  updated: Map<number, Values>;
  deleted: Set<number>;
}

/** The rows a record stands in, as they were last written. */
type Written = Map<string, { row: Row; text: string }>;

/** What is not in the rows, but needed to go on where the installation stopped. */
export const progressOf = ({ baseUrl, start, clock, next, random }: State): string =>
  JSON.stringify({ baseUrl, start, clock, next, random: random.state() });

/** `isWritten` says that all of it stands in the tables already, as after reading it from there. */
export function createArchive(state: State, { isWritten }: { isWritten: boolean }) {
  const written = new Map<string, Written>();
  let progress = "";
  let owed = new Map<string, [Kind, number]>();

  const namesOf = (touched: Touched) =>
    KINDS.flatMap((kind) => [...touched[kind]].map((id): [string, [Kind, number]] => [`${kind} ${id}`, [kind, id]]));
  const current = ([kind, id]: [Kind, number]): Written =>
    new Map(
      rowsOf(state, kind, id).map((row) => [
        `${row.table} ${row.values.id}`,
        { row, text: JSON.stringify(row.values) },
      ]),
    );
  const remember = (name: string, rows: Written) => {
    if (rows.size === 0) written.delete(name);
    else written.set(name, rows);
  };

  if (isWritten) {
    for (const [name, owner] of namesOf(everything(state))) remember(name, current(owner));
    progress = progressOf(state);
  }

  const write = async (client: PoolClient): Promise<Saved> => {
    // Taken before the first statement, so that what happens meanwhile is left to the next save; and kept until the last
    // one went well.
    owed = new Map([...owed, ...namesOf(state.touched)]);
    for (const kind of KINDS) state.touched[kind].clear();
    const found = new Map([...owed].map(([name, owner]) => [name, current(owner)]));
    const progressNow = progressOf(state);
    const changes = compare(found, written);
    const saved = { inserted: 0, updated: 0, deleted: 0 };
    for (const { inserted, updated, deleted } of changes.values()) {
      saved.inserted += inserted.size;
      saved.updated += updated.size;
      saved.deleted += deleted.size;
    }
    if (progressNow !== progress) {
      await client.query("begin");
      await writeChanges(client, changes);
      await client.query(
        `insert into local_installation (account_id, state) values ($1, $2)
        on conflict (account_id) do update set state = excluded.state`,
        [state.account.id, progressNow],
      );
      await client.query("commit");
    }
    for (const [name, rows] of found) remember(name, rows);
    owed = new Map();
    progress = progressNow;
    return saved;
  };
  return { write };
}

function compare(found: Map<string, Written>, written: Map<string, Written>): Map<Table, Changes> {
  const changes = new Map(TABLES.map((table): [Table, Changes] => [
    table,
    { inserted: new Map(), updated: new Map(), deleted: new Set() },
  ]));
  const of = (table: Table): Changes => {
    const known = changes.get(table);
    if (known === undefined) throw new RangeError(`There is no table ${table}.`);
    return known;
  };
  for (const [name, rows] of found) {
    const before = written.get(name);
    for (const [key, { row, text }] of rows) {
      const known = before?.get(key);
      if (known === undefined) of(row.table).inserted.set(row.values.id, row.values);
      else if (known.text !== text) of(row.table).updated.set(row.values.id, row.values);
    }
    for (const [key, { row }] of before ?? []) if (!rows.has(key)) of(row.table).deleted.add(row.values.id);
  }
  // A row can pass from one record to another, as a contact's inboxes do when contacts are merged.
  for (const { inserted, updated, deleted } of changes.values()) {
    for (const id of deleted) {
      const values = inserted.get(id);
      if (values === undefined) continue;
      deleted.delete(id);
      inserted.delete(id);
      updated.set(id, values);
    }
  }
  return changes;
}

// As many as make a statement worth its while, and few enough for one value of it.
const ROWS_A_STATEMENT = 5_000;

async function writeChanges(client: PoolClient, changes: Map<Table, Changes>): Promise<void> {
  // What goes makes room first, since e-mail addresses and the like are there only once.
  for (const [table, { deleted }] of changes) {
    if (deleted.size > 0) await client.query(`delete from ${table} where id = any ($1)`, [[...deleted]]);
  }
  for (const [table, { updated }] of changes) {
    await inParts([...updated.values()], (rows, columns) =>
      client.query(
        `update ${table} set ${columns.map((column) => `${column} = given.${column}`).join(", ")}
        from json_populate_recordset(null::${table}, $1) as given where ${table}.id = given.id`,
        [JSON.stringify(rows)],
      ));
  }
  for (const [table, { inserted }] of changes) {
    const runs = table === "conversations" ? numberedInARow([...inserted.values()]) : [[...inserted.values()]];
    for (const run of runs) {
      if (table === "conversations") await alignNumbers(client, run[0]);
      await inParts(run, (rows, columns) =>
        client.query(
          // An update where it is there: when a connection breaks at the commit, nobody knows whether it was done.
          `with written as (
            insert into ${table} (${columns.join(", ")}) select ${columns.join(", ")}
            from json_populate_recordset(null::${table}, $1) order by id
            on conflict (id) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(", ")}
            returning id)
          select setval(pg_get_serial_sequence('${table}', 'id')::regclass, max(id)) from written`,
          [JSON.stringify(rows)],
        ));
    }
  }
}

// The trigger numbers a conversation, whatever number it is given; and the sequence it takes the number from does not go
// back with a transaction that failed. So the sequence is set before each run of numbers that has no gap.
const alignNumbers = (client: PoolClient, first: Values) =>
  client.query("select setval(('conv_dpid_seq_' || $1)::regclass, $2, false)", [first.account_id, first.display_id]);

function numberedInARow(rows: Values[]): Values[][] {
  const runs: Values[][] = [];
  for (const row of rows) {
    const run = runs.at(-1);
    if (run !== undefined && Number(run.at(-1)?.display_id) + 1 === row.display_id) run.push(row);
    else runs.push([row]);
  }
  return runs;
}

async function inParts(rows: Values[], write: (rows: Values[], columns: string[]) => Promise<unknown>): Promise<void> {
  for (let start = 0; start < rows.length; start += ROWS_A_STATEMENT) {
    const part = rows.slice(start, start + ROWS_A_STATEMENT);
    await write(part, Object.keys(part[0]));
  }
}
