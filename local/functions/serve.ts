// Runs inside Deno, one process a function: serves its default export on a free port of this machine and tells which.
// It ends when its parent does, however that ended: the parent holds the other end of standard input.
const [entry] = Deno.args;

let served: Deno.ServeDefaultExport;
try {
  served = (await import(entry)).default;
  if (typeof served?.fetch !== "function") throw new Error('index.ts has no "export default { fetch }".');
} catch (error) {
  // One line and no stack trace: the parent tells it to the person who starts the stack.
  console.error((error instanceof Error ? error.message : String(error)).split("\n")[0]);
  Deno.exit(1);
}

const server = Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(`listening on port ${port}`),
  onError: (error) => {
    console.error(error);
    return Response.json(
      { code: "WORKER_ERROR", message: "The function failed.", hint: "Its log says why." },
      { status: 500, headers: { "sb-error-code": "WORKER_ERROR" } },
    );
  },
}, served.fetch);

// Ctrl-C reaches every process of a terminal; the parent decides when this one ends.
Deno.addSignalListener("SIGINT", () => {});
const buffer = new Uint8Array(1);
while (await Deno.stdin.read(buffer) !== null);
const deadline = setTimeout(() => Deno.exit(0), 2_000);
await server.shutdown();
clearTimeout(deadline);
Deno.exit(0);
