// Where a stack lives and listens. Four variables move it, so that two checkouts (or two tests) run side by side.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** A failure the person at the keyboard can mend: printed as one sentence, without a stack trace. */
export class UserError extends Error {}

const projectRoot = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

const port = (name: string, standard: number) =>
  z.string().default(String(standard)).transform((text, context) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= 1 && value <= 65535) return value;
    context.addIssue(`${name} is "${text}", which is no port: set it to a number from 1 to 65535, or unset it.`);
    return z.NEVER;
  });

const Environment = z.object({
  OCC_HOME: z.string().min(1).default(".occ"),
  OCC_API_PORT: port("OCC_API_PORT", 54321),
  OCC_DB_PORT: port("OCC_DB_PORT", 54322),
  OCC_CHATWOOT_PORT: port("OCC_CHATWOOT_PORT", 54330),
});

export interface Settings {
  /** The checkout, absolute. */
  projectRoot: string;
  /** Everything this stack writes: Postgres data, keys, logs. Absolute. */
  home: string;
  apiPort: number;
  dbPort: number;
  /** Where npm start runs the Chatwoot of the demo. */
  chatwootPort: number;
}

/** Reads OCC_HOME, OCC_API_PORT, OCC_DB_PORT and OCC_CHATWOOT_PORT; throws UserError naming the variable to mend. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const parsed = Environment.safeParse(env);
  if (!parsed.success) throw new UserError(parsed.error.issues.map((issue) => issue.message).join(" "));
  return {
    projectRoot,
    home: resolve(projectRoot, parsed.data.OCC_HOME),
    apiPort: parsed.data.OCC_API_PORT,
    dbPort: parsed.data.OCC_DB_PORT,
    chatwootPort: parsed.data.OCC_CHATWOOT_PORT,
  };
}
