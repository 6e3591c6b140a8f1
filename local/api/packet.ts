// Several statements in one packet and one answer. pg sends each statement with its own Sync and waits or queues; here
// Postgres runs them up to a single Sync, which makes them one transaction unless one of them began another.
import type { Connection, Submittable } from "pg";
import type { Statement } from "./statement.ts";

export interface Step extends Statement {
  /** Prepares the statement under this name; without one it is parsed each time. */
  name?: string;
}
/** The rows of each step, every field as Postgres's text. */
export type Rows = (string | null)[][];

/** What a connection has parsed, and which names it was just asked to parse, in order. */
interface Parsed {
  names: Set<string>;
  asked: string[];
}
const parsedBy = new WeakMap<Connection, Parsed>();

function parsedOn(connection: Connection): Parsed {
  const known = parsedBy.get(connection);
  if (known) return known;
  const parsed: Parsed = { names: new Set(), asked: [] };
  // After an error Postgres skips the rest, so only what it confirmed is there the next time.
  connection.on("parseComplete", () => {
    const name = parsed.asked.shift();
    if (name) parsed.names.add(name);
  });
  parsedBy.set(connection, parsed);
  return parsed;
}

/** Given to `client.query`; `rows` settles when the packet has been answered. */
export class Packet implements Submittable {
  readonly rows: Promise<Rows[]>;
  readonly #steps: Step[];
  readonly #answers: Rows[];
  #at = 0;
  #resolve: (rows: Rows[]) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(steps: Step[]) {
    this.#steps = steps;
    this.#answers = steps.map(() => []);
    this.rows = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  submit(connection: Connection): void {
    const parsed = parsedOn(connection);
    parsed.asked = [];
    connection.stream.cork();
    for (const { name = "", text, values } of this.#steps) {
      if (name === "" || !parsed.names.has(name)) {
        parsed.asked.push(name);
        connection.parse({ name, text, types: [] }, true);
      }
      connection.bind({ statement: name, values }, true);
      connection.execute(null, true);
    }
    connection.sync();
    connection.stream.uncork();
  }

  // What pg calls while the answer arrives.
  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    this.#answers[this.#at].push(fields);
  }
  handleCommandComplete(): void {
    this.#at++;
  }
  handleReadyForQuery(): void {
    this.#resolve(this.#answers);
  }
  handleError(error: Error): void {
    this.#reject(error);
  }
}
