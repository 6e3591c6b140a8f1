// The edge functions of this project, each in a Deno process of its own, behind one forward().
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { findDeno } from "./deno.ts";
import { forwardTo } from "./forward.ts";
import { findFunctions, type FunctionConfigurations, prepareImports, writeImportMap } from "./imports.ts";
import { type FunctionWorker, startWorker } from "./worker.ts";

export interface FunctionsOptions {
  projectRoot: string;
  /** OCC_HOME: import maps and Deno's cache are written below it. */
  home: string;
  /** [functions.<slug>] of supabase/config.toml, parsed. */
  configuration: FunctionConfigurations;
  /** What every function sees: SUPABASE_URL, its keys, and the function secrets. Nothing else reaches it. */
  env: Record<string, string>;
  /** One line a call, without line break, beginning with the slug. */
  log: (line: string) => void;
  /** Without an answer for so long, the process is ended. The platform's 150 seconds unless told. */
  responseSeconds?: number;
}

export interface Functions {
  slugs: Record<string, { verifyJwt: boolean }>;
  /** Passes a request whose path is /functions/v1/<slug>/… or /<slug>/… to the function; answers it in every case. */
  forward(slug: string, request: IncomingMessage, response: ServerResponse): Promise<void>;
  stop(): Promise<void>;
}

/** Starts every enabled function and waits until all listen; throws UserError for the first that does not. */
export async function startFunctions(options: FunctionsOptions): Promise<Functions> {
  const { projectRoot, log } = options;
  const responseMilliseconds = (options.responseSeconds ?? 150) * 1000;
  const folder = join(options.home, "functions");
  await prepareImports(projectRoot, folder);
  const deno = findDeno(projectRoot);
  const sources = await findFunctions(projectRoot, options.configuration);
  const started = await Promise.allSettled(sources.map(async (source) =>
    startWorker({
      slug: source.slug,
      deno,
      projectRoot,
      entry: source.entry,
      importMap: await writeImportMap(source, { projectRoot, folder }),
      denoFolder: join(options.home, "deno"),
      env: options.env,
      responseMilliseconds,
      log: (line) => log(`${source.slug}: ${line}`),
    })
  ));
  const workers = new Map<string, FunctionWorker>();
  started.forEach((result, index) => {
    if (result.status === "fulfilled") workers.set(sources[index].slug, result.value);
  });
  const stop = async () => {
    await Promise.all([...workers.values()].map((worker) => worker.stop()));
  };
  const failed = started.find((result) => result.status === "rejected");
  if (failed !== undefined) {
    await stop();
    throw failed.reason;
  }

  return {
    slugs: Object.fromEntries(sources.map(({ slug, verifyJwt }) => [slug, { verifyJwt }])),
    forward: (slug, request, response) => forwardTo(workers.get(slug), { slug, request, response, log }),
    stop,
  };
}
