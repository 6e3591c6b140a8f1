import { createServer } from "node:net";

const HOST = "127.0.0.1";

/** Whether something could listen there now. */
export async function isPortFree(port: number): Promise<boolean> {
  return await listen(port) !== null;
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const port = await listen(0);
  if (port === null) throw new Error("no port is free");
  return port;
}

function listen(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(null));
    probe.listen(port, HOST, () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : null));
    });
  });
}
