// Processor time by process, as Linux counts it.
import { readdirSync, readFileSync } from "node:fs";
import { cpus } from "node:os";

/** What was spent between two readings. */
export interface Processors {
  /** By process; null where the system does not tell. */
  seconds: Record<string, number> | null;
  /** By everything on the machine. */
  busySeconds: number;
}

export interface Reading {
  seconds: Record<string, number>;
  busySeconds: number;
  /** What was spent since an earlier reading; `more` are processes that counted for themselves. */
  since(earlier: Reading, more: Record<string, number>): Processors;
}

// The kernel counts in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND = 100;

/** Reads the clocks of this process (which is the gateway), its Deno children and its Postgres. */
export function readProcessors(): Reading {
  const { user, system } = process.cpuUsage();
  const children = process.platform === "linux" ? readChildren() : null;
  const seconds: Record<string, number> = { gateway: (user + system) / 1e6, ...children };
  const busySeconds = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0) /
    1000;
  return {
    seconds,
    busySeconds,
    since: (earlier, more) => ({
      seconds: children === null ? null : {
        ...Object.fromEntries(Object.entries(seconds).map(([name, used]) => [name, used - earlier.seconds[name]])),
        ...more,
      },
      busySeconds: busySeconds - earlier.busySeconds,
    }),
  };
}

function readChildren(): Record<string, number> {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => readProcess(pid) ?? []);
  const mine = all.filter(({ parent }) => parent === process.pid);
  const postmasters = mine.filter(({ command }) => command === "postgres");
  const backends = all.filter(({ parent }) => postmasters.some(({ pid }) => pid === parent));
  const functions = mine.filter(({ command }) => command === "deno");
  return {
    function: sum(functions.map(({ own }) => own)),
    // A postmaster counts its ended backends too, so that nothing is lost when connections close.
    Postgres: sum([...backends.map(({ own }) => own), ...postmasters.map(({ own, ended }) => own + ended)]),
  };
}

const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);

function readProcess(pid: string) {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null; // It has just ended.
  }
  // The name stands in brackets and may hold anything, brackets included.
  const cut = text.lastIndexOf(")");
  const fields = text.slice(cut + 2).split(" ").map(Number);
  return {
    pid: Number(pid),
    command: text.slice(text.indexOf("(") + 1, cut),
    parent: fields[1],
    own: (fields[11] + fields[12]) / TICKS_PER_SECOND,
    ended: (fields[13] + fields[14]) / TICKS_PER_SECOND,
  };
}
