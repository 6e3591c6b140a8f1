// Asked by uptime monitors, which hold no key of ours: verify_jwt = false in config.toml. It takes nothing from whoever
// asks, and what it says anybody may know.
import { createAdminClient } from "@supabase/server/core";
import type { SupabaseClient } from "@supabase/supabase-js";
import { answerHealth } from "./handler.ts";

const database: SupabaseClient = createAdminClient({
  supabaseOptions: { db: { schema: "api" } },
});

// Monitors give up after some seconds, and that there is no answer is an answer.
const DATABASE_MILLISECONDS = 3_000;

const answer = answerHealth({
  now: () => performance.now(),
  ask: async () =>
    await database.rpc("public_status").abortSignal(
      AbortSignal.timeout(DATABASE_MILLISECONDS),
    ),
  log: (line) => console.error(line),
});

export default { fetch: answer } satisfies Deno.ServeDefaultExport;
