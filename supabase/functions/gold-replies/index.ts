// Called by whoever collects good answers, with a token of its own: verify_jwt = false in config.toml.
import { createAdminClient } from "@supabase/server/core";
import type { SupabaseClient } from "@supabase/supabase-js";
import { timingSafeEqual } from "std/crypto/timing_safe_equal.ts";
import { receiveProposal, type Recording, sha256 } from "./handler.ts";
import { readSettings } from "./settings.ts";

const settings = readSettings({ GOLD_REPLIES_TOKEN: Deno.env.get("GOLD_REPLIES_TOKEN") });
const tokens = settings.tokens === null ? null : await Promise.all(settings.tokens.map(sha256));

// Once an isolate. Untyped, since a bigint is typed as number but travels as text.
const database: SupabaseClient = createAdminClient({ supabaseOptions: { db: { schema: "api" } } });

const DATABASE_MILLISECONDS = 8_000;

const record = ({ accountId, goldReply, idempotencyKey }: Recording) =>
  database.rpc("record_gold_reply", {
    account_id: accountId,
    gold_reply: goldReply,
    idempotency_key: idempotencyKey,
  }).abortSignal(AbortSignal.timeout(DATABASE_MILLISECONDS));

export default {
  fetch: (request) =>
    receiveProposal(request, {
      tokens,
      bodyMilliseconds: 10_000,
      discardMilliseconds: 1_000,
      record: async (recording) => await record(recording),
      log: (line) => console.error(line),
      timingSafeEqual,
    }),
} satisfies Deno.ServeDefaultExport;
