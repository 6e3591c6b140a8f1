// Run by Deno, the functions' own runtime: what each kind of caller reads and may do over supabase-js.
import assert from "node:assert/strict";
import process from "node:process";
import { createClient } from "@supabase/supabase-js";

const {
  API_URL = "",
  PUBLISHABLE_KEY = "",
  SECRET_KEY = "",
  ADMIN_TOKEN = "",
  VIEWER_TOKEN = "",
  STRANGER_TOKEN = "",
} = process.env;
const OTHER_ACCOUNT = "9223372036854775807";
const VIEWS = ["conversations", "messages", "volume_by_day", "channel_breakdown", "inbox_health"];

const client = (key: string, token?: string) =>
  createClient(API_URL, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    ...(token === undefined ? {} : { global: { headers: { Authorization: `Bearer ${token}` } } }),
  });
const admin = client(PUBLISHABLE_KEY, ADMIN_TOKEN);
const viewer = client(PUBLISHABLE_KEY, VIEWER_TOKEN);
const stranger = client(PUBLISHABLE_KEY, STRANGER_TOKEN);
const nobody = client(PUBLISHABLE_KEY);
const service = client(SECRET_KEY);

async function check(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    console.log(`ok ${name}`);
  } catch (error) {
    console.error(`not ok ${name}: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}

/** The accounts whose rows this caller sees in a view; as text, which JSON numbers of that size are not. */
async function accountsIn(view: string, caller: ReturnType<typeof client>): Promise<string[]> {
  const { data, error } = await caller.schema("analytics").from(view).select("account_id::text");
  assert.equal(error, null, `${view}: ${error?.code} ${error?.message}`);
  return [...new Set((data as { account_id: string }[]).map((row) => row.account_id))].sort();
}

for (const view of VIEWS) {
  await check(`analytics.${view}: members see their account, the service sees both`, async () => {
    assert.deepEqual(await accountsIn(view, admin), ["1"]);
    assert.deepEqual(await accountsIn(view, viewer), ["1"]);
    assert.deepEqual(await accountsIn(view, stranger), [OTHER_ACCOUNT]);
    assert.deepEqual(await accountsIn(view, service), ["1", OTHER_ACCOUNT]);
  });
  await check(`analytics.${view}: the publishable key alone sees nothing`, async () => {
    const { data, error, status } = await nobody.schema("analytics").from(view).select();
    assert.deepEqual([data, error?.code, status], [null, "42501", 401]);
  });
}

await check("asking for another account by name gives nothing", async () => {
  const { data, error } = await viewer.schema("analytics").from("conversations").select().eq(
    "account_id",
    OTHER_ACCOUNT,
  );
  assert.deepEqual([data, error], [[], null]);
});

await check("a question with filters, order and count is answered", async () => {
  const { data, error, count } = await viewer.schema("analytics").from("conversations")
    .select("display_id, contact_name, inbox_name, labels, waiting_since", { count: "exact" })
    .eq("status", "open").not("waiting_since", "is", null).order("waiting_since").limit(5);
  assert.equal(error, null);
  assert.equal(count, 1);
  assert.deepEqual(data, [{
    display_id: 42,
    contact_name: "Dana",
    inbox_name: "Website",
    labels: ["billing"],
    waiting_since: "2026-11-20T09:00:00+00:00",
  }]);
});

await check("what became of deliveries is visible, never their bytes", async () => {
  const { data } = await viewer.schema("api").from("deliveries").select().limit(1).single();
  assert.equal(data.outcome, "applied");
  assert.ok(!("body" in data) && !("headers" in data));
  const asked = await service.schema("api").from("deliveries").select("body");
  assert.deepEqual([asked.status, asked.error?.code], [400, "42703"]);
});

for (
  const [room, table] of [["inbox", "deliveries"], ["chatwoot", "messages"], ["audit", "decision_log"], ["public", "x"]]
) {
  await check(`${room}.${table} is out of reach, even for the service`, async () => {
    for (const caller of [nobody, admin, service]) {
      const { error, status } = await caller.schema(room).from(table).select();
      assert.deepEqual([error?.code, status], ["PGRST106", 406]);
    }
  });
}

await check("the views take no writes", async () => {
  for (const caller of [admin, service]) {
    const { error } = await caller.schema("analytics").from("conversations").update({ status: "resolved" }).eq(
      "account_id",
      1,
    );
    assert.ok(error !== null);
  }
});

await check("an admin changes a setting, which is read back and logged", async () => {
  const { data, error } = await admin.schema("api")
    .rpc("set_setting", { account_id: 1, name: "raw_retention_days", value: 20 });
  assert.deepEqual([data, error], [20, null]);
  const settings = await viewer.schema("api").from("settings").select("value, is_default").eq(
    "name",
    "raw_retention_days",
  );
  assert.deepEqual(settings.data, [{ value: 20, is_default: false }]);
  const log = await viewer.schema("api").from("decision_log").select("account_id, action, actor");
  assert.ok(log.data?.some((entry) => String(entry.actor).startsWith("user:")), JSON.stringify(log.data));
  const verified = await admin.schema("api").rpc("verify_decision_log", { account_id: 1 });
  assert.equal(verified.error, null);
  assert.deepEqual(verified.data?.map((row: { first_broken_entry: unknown }) => row.first_broken_entry), [null]);
});

await check("nobody else does", async () => {
  const set = { account_id: 1, name: "raw_retention_days", value: 1 };
  const codes = [];
  for (const caller of [viewer, stranger, nobody]) {
    const { error } = await caller.schema("api").rpc("set_setting", set);
    codes.push(error?.code);
  }
  assert.deepEqual(codes, ["OC403", "OC403", "42501"]);
  const settings = await admin.schema("api").from("settings").select("value").eq("name", "raw_retention_days");
  assert.deepEqual(settings.data, [{ value: 20 }]);
});

await check("a webhook is recorded by the service alone", async () => {
  const delivery = {
    account_id: "1",
    delivery_id: "forged",
    body: "\\x7b7d",
    headers: {},
    proof: "signature",
    signed_at: null,
  };
  for (const caller of [nobody, viewer, admin]) {
    const { error } = await caller.schema("api").rpc("record_webhook", delivery);
    assert.equal(error?.code, "42501");
  }
  const { count } = await service.schema("api").from("deliveries").select("*", { count: "exact", head: true })
    .eq("delivery_id", "forged");
  assert.equal(count, 0);
});
