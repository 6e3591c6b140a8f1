// The generator process (load.ts) as seen from the benchmark: one order at a time, one answer each.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { LoadOptions, Measured, Order, Reply, Run } from "./load.ts";

export interface Generator {
  open(options: LoadOptions): Promise<void>;
  /** Makes the next events ready, so that making them costs nothing while they are measured. */
  draw(events: number): Promise<void>;
  run(run: Run): Promise<Measured>;
  stop(): Promise<void>;
}

export function startGenerator(): Generator {
  const child = fork(fileURLToPath(new URL("load.ts", import.meta.url)), { execArgv: ["--import", "tsx"] });
  const exited = once(child, "exit");

  async function order(order: Order): Promise<Measured | null> {
    child.send(order);
    const ended = exited.then(([code]): never => {
      throw new Error(`The generator ended with exit code ${code}.`);
    });
    const [reply]: Reply[] = await Promise.race([once(child, "message"), ended]);
    if (reply.kind === "failed") throw new Error(`The generator failed: ${reply.message}`);
    return reply.measured;
  }

  return {
    open: async (options) => void await order({ kind: "open", options }),
    draw: async (events) => void await order({ kind: "draw", events }),
    async run(run) {
      const measured = await order({ kind: "run", run });
      if (measured === null) throw new Error("The generator measured nothing.");
      return measured;
    },
    async stop() {
      if (child.connected) child.disconnect();
      await exited;
    },
  };
}
