// npm run check: everything a tool can say about the project without running its tests. Each check is one line of the
// summary; `npm run check -- <name> …` runs only those.
import { join } from "node:path";
import { execa } from "execa";
import { Client } from "pg";
import { findDeno } from "./functions/deno.ts";
import { supabase } from "./migrate.ts";
import { withScratchPostgres } from "./scratch.ts";
import { readSettings, UserError } from "./settings.ts";

const { projectRoot } = readSettings(process.env);
const ROOMS = "access,audit,ops,chatwoot,inbox,sync,ledger,sla,actions,replies,analytics,api";

const CHECKS: Record<string, () => Promise<void>> = {
  "format": () => run(findDeno(projectRoot), ["fmt", "--check"]),
  "lint": () => run(findDeno(projectRoot), ["lint"]),
  "deno-check": () => node("local/functions/check.ts"),
  "tsc": () => run(join(projectRoot, "node_modules", ".bin", "tsc"), ["-p", "."]),
  // Generated types, the data dictionary and the metrics.
  "generated": () => node("docs/generate.ts", "--check"),
  "docs-examples": () => run(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "tests/docs"]),
  "advisors": () =>
    withScratchPostgres(projectRoot, async (postgres) => {
      // Else the advisor does not know which schemas are exposed, and looks at none.
      await admin(postgres.adminUrl, "alter role authenticator set pgrst.db_schemas = 'api, analytics'");
      const told = await supabase(projectRoot, ["db", "advisors", `--remote=${postgres.url}`, "--level", "warn"]);
      const findings = readFindings(told).filter((finding) => !isCommitting(finding));
      if (findings.length > 0) throw new UserError(`The advisors have found:\n${JSON.stringify(findings, null, 2)}`);
    }),
  // Needs a Postgres with plpgsql_check, so it is not part of a plain `npm run check`: OCC_POSTGRES_BIN names its folder.
  ...(process.env.OCC_POSTGRES_BIN
    ? {
      "db-lint": () =>
        withScratchPostgres(projectRoot, async (postgres) => {
          console.log(
            await supabase(projectRoot, [
              ...[
                "db",
                "lint",
                `--remote=${postgres.url}`,
                "--schema",
                ROOMS,
                "--level",
                "warning",
                "--fail-on",
                "warning",
              ],
            ]),
          );
        }, {
          binaries: process.env.OCC_POSTGRES_BIN,
          settings: { shared_preload_libraries: "pg_cron" },
          prepare:
            "create extension pg_cron; grant usage on schema cron to postgres; create extension plpgsql_check with schema extensions;",
        }),
    }
    : {}),
};

async function main(): Promise<void> {
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !Object.hasOwn(CHECKS, name));
  if (unknown !== undefined) {
    throw new UserError(`There is no check "${unknown}": use one of ${Object.keys(CHECKS).join(", ")}.`);
  }
  const names = asked.length > 0 ? asked : Object.keys(CHECKS);
  const failed: string[] = [];
  for (const name of names) {
    console.log(`── ${name}`);
    try {
      await CHECKS[name]();
    } catch (error) {
      failed.push(name);
      if (error instanceof UserError) console.error(error.message);
      else if (!(error instanceof Failure)) console.error(error);
    }
  }
  console.log(
    `\nChecks: ${names.length - failed.length} passed, ${failed.length} failed${
      failed.length > 0 ? `: ${failed.join(", ")}` : ""
    }`,
  );
  process.exitCode = failed.length > 0 ? 1 : 0;
}

// Has said on the terminal what is wrong.
class Failure extends Error {}

async function run(command: string, args: string[]): Promise<void> {
  const result = await execa(command, args, {
    cwd: projectRoot,
    stdio: ["ignore", "inherit", "inherit"],
    reject: false,
  });
  if (result.exitCode !== 0) throw new Failure();
}

const node = (...args: string[]) => run(process.execPath, ["--import", "tsx", ...args]);

interface Finding {
  name: string;
  detail: string;
}

// What stands around the list, such as a note that TLS is off, is no finding.
function readFindings(told: string): Finding[] {
  const list = /^\[$[\s\S]*?^\]$/m.exec(told);
  if (list !== null) return JSON.parse(list[0]);
  if (!/No issues found/.test(told)) throw new UserError(`The advisors answered something else than a list:\n${told}`);
  return [];
}

// A procedure that commits may have no SET clause, or Postgres refuses the commit. These write every name out.
const COMMITTING = [
  "sync.tick_rest",
  "sync.tick_database",
  "ledger.tick",
  "sla.tick",
  "ops.deliver_notifications",
  "ops.check_health",
  "actions.dispatch",
  "replies.tick",
  "replies.fetch_canned",
];
const isCommitting = ({ name, detail }: Finding) =>
  name === "function_search_path_mutable" && COMMITTING.some((procedure) => detail.includes(`\`${procedure}\``));

async function admin(url: string, sql: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}

main().catch((error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
