// Function code imports Deno std by URL, which a machine with npm alone cannot download. So each function is run and
// checked with an import map of its own imports in which std modules come from the same code in an npm package.
import { mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { UserError } from "../settings.ts";

const STD_URL = /^https:\/\/deno\.land\/std@[0-9.]+\/$/;

const FunctionConfiguration = z.looseObject({
  enabled: z.boolean().default(true),
  verify_jwt: z.boolean().default(true),
  import_map: z.string().optional(),
});
/** [functions.<slug>] of supabase/config.toml, as parsed from TOML: unknown keys are left alone. */
export const FunctionConfigurations = z.record(z.string(), FunctionConfiguration);
export type FunctionConfigurations = z.input<typeof FunctionConfigurations>;

export interface FunctionSource {
  slug: string;
  verifyJwt: boolean;
  entry: string;
  importsFile: string;
}

/** The functions to run: each enabled folder of supabase/functions that has an index.ts. */
export async function findFunctions(projectRoot: string, configured: FunctionConfigurations) {
  const configurations = FunctionConfigurations.safeParse(configured);
  if (!configurations.success) {
    const [{ path, message }] = configurations.error.issues;
    throw new UserError(`supabase/config.toml, [functions.${path.join(".")}]: ${message}.`);
  }
  const root = join(projectRoot, "supabase", "functions");
  const folders = await readdir(root, { withFileTypes: true });
  const found: FunctionSource[] = [];
  for (const folder of folders.filter((entry) => entry.isDirectory() && !entry.name.startsWith("_"))) {
    const slug = folder.name;
    const files = await readdir(join(root, slug));
    const configuration = configurations.data[slug];
    if (!files.includes("index.ts") || configuration?.enabled === false) continue;
    if (!/^[A-Za-z0-9_-]+$/.test(slug)) {
      throw new UserError(`supabase/functions/${slug} is no function name: use letters, digits, "-" and "_".`);
    }
    found.push({
      slug,
      verifyJwt: configuration?.verify_jwt ?? true,
      entry: join(root, slug, "index.ts"),
      importsFile: configuration?.import_map === undefined
        ? join(root, slug, "deno.json")
        : resolve(projectRoot, "supabase", configuration.import_map),
    });
  }
  return found.sort((one, other) => one.slug < other.slug ? -1 : 1);
}

/** Writes the function's import map for a machine without deno.land, into the folder given; returns its path. */
export async function writeImportMap(source: FunctionSource, place: { projectRoot: string; folder: string }) {
  const shown = relative(place.projectRoot, source.importsFile);
  const text = await readFile(source.importsFile, "utf8").catch(() => {
    throw new UserError(
      `The function ${source.slug} needs ${shown}, with the imports it uses: the file cannot be read.`,
    );
  });
  const parsed = z.looseObject({ imports: z.record(z.string(), z.string()).default({}) }).safeParse(parseJson(text));
  if (!parsed.success) throw new UserError(`${shown} is no JSON object with "imports" from name to address.`);

  const std = join(place.folder, "std");
  const imports: Record<string, string> = {};
  for (const [name, address] of Object.entries(parsed.data.imports)) {
    if (STD_URL.test(address)) Object.assign(imports, await mapStd(name, std));
    // Relative addresses are meant from the file they stand in, and the map is written elsewhere.
    else imports[name] = /^\.\.?\//.test(address) ? new URL(address, pathToFileURL(source.importsFile)).href : address;
  }
  const file = join(place.folder, `${source.slug}.imports.json`);
  await writeFile(file, JSON.stringify({ imports }, null, 2));
  return file;
}

/** Makes the folder of import maps, with std in it. */
export async function prepareImports(projectRoot: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const std = join(folder, "std");
  const target = join(projectRoot, "node_modules", "deno-std");
  if (await readlink(std).catch(() => null) === target) return;
  await rm(std, { recursive: true, force: true });
  // A link out of node_modules, since `deno check` refuses a package without types but infers those of plain modules.
  await symlink(target, std, "dir");
}

async function mapStd(name: string, folder: string): Promise<Record<string, string>> {
  const files = await readdir(join(folder, "/"), { recursive: true });
  const modules = files.map((file) => file.split(sep).join("/")).filter((file) => file.endsWith(".js"));
  const address = pathToFileURL(folder).href;
  return Object.fromEntries(modules.map((file) => [`${name}${file.replace(/js$/, "ts")}`, `${address}/${file}`]));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
