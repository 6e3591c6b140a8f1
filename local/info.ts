// npm run info: the addresses and keys of the running stack, for people or (--json) for programs.
import { demoToken } from "./demo.ts";
import { readKeys } from "./keys.ts";
import { readSettings, UserError } from "./settings.ts";
import { describeStack } from "./stack.ts";

async function main(): Promise<void> {
  const unknown = process.argv.slice(2).find((argument) => argument !== "--json");
  if (unknown !== undefined) {
    throw new UserError(`"${unknown}" is not known here: use npm run info, or npm run info -- --json.`);
  }
  const settings = readSettings(process.env);
  const isRunning = await fetch(`http://127.0.0.1:${settings.apiPort}/health`).then((answer) => answer.ok, () => false);
  if (!isRunning) {
    throw new UserError(
      `No stack answers on port ${settings.apiPort}: start it with npm start (or set OCC_API_PORT to its port).`,
    );
  }
  const info = await describeStack(settings, await readKeys(settings.home));
  const token = await demoToken(info.db_url);
  if (token !== null) info.demo.chatwoot_token = token;
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify(info, null, 2));
    return;
  }
  const lines = {
    ...info,
    demo: undefined,
    ...Object.fromEntries(Object.entries(info.demo).map(([key, value]) => [`demo.${key}`, value])),
  };
  for (const [name, value] of Object.entries(lines)) {
    if (value !== undefined) console.log(`${name.padEnd(24)} ${value}`);
  }
}

main().catch((error) => {
  console.error(error instanceof UserError ? error.message : error);
  process.exit(1);
});
