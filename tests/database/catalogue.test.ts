import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { migrate } from "../../local/migrate.ts";
import { freePort } from "../../local/ports.ts";
import { type Postgres, startPostgres } from "../../local/postgres/server.ts";
import { removeHome, temporaryHome } from "../../local/scratch.ts";
import { readSettings } from "../../local/settings.ts";
import { useDatabase } from "../support/database.ts";
import { FAULTS, FUNCTION_GRANTS, MEMBERSHIPS, SCHEMA_GRANTS, TABLE_GRANTS } from "./catalogue.ts";

const database = useDatabase();

describe("there is not", () => {
  test.each(FAULTS)("$name", ({ query }) =>
    database.rolledBack(async (sql) => {
      expect(await sql.rows(query)).toEqual([]);
    }));
});

describe("were there one, it would be found:", () => {
  test.each(FAULTS)("$name", ({ query, example }) =>
    database.rolledBack(async (sql) => {
      await sql.rows(example);

      expect(await sql.rows(query)).not.toEqual([]);
    }));
});

// Everything that is granted in our rooms. What is not on these lists is a fault, whoever granted it.
const CALLERS: Record<string, string[]> = {
  "access.actor()": ["authenticated", "service_role"],
  "access.my_account_ids()": ["authenticated", "service_role"],
  "access.my_role(bigint)": ["authenticated", "service_role"],
  "access.require_role(bigint,access.member_role)": ["authenticated", "service_role"],
  "actions.request(bigint,bigint,text,jsonb,timestamp with time zone)": ["authenticated", "service_role"],
  "actions.resume_sending(bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "actions.withdraw(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "analytics.kaplan_meier_median(double precision[],boolean[])": ["analyst", "authenticated", "service_role"],
  "analytics.metrics_by(bigint,date,date,text)": ["analyst", "authenticated", "service_role"],
  "analytics.wilson_lower(bigint,bigint)": ["analyst", "authenticated", "service_role"],
  "analytics.wilson_upper(bigint,bigint)": ["analyst", "authenticated", "service_role"],
  "api.acknowledge_alert(bigint,bigint)": ["authenticated", "service_role"],
  "api.acknowledge_notification(bigint,bigint)": ["authenticated", "service_role"],
  "api.add_default_sla_policy(bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "api.add_notification_endpoint(bigint,text,text,text,text[],ops.notification_severity,integer,integer,text,boolean,integer,integer,integer)":
    [
      "authenticated",
      "service_role",
    ],
  "api.approve_draft(bigint,bigint,text,jsonb,boolean)": ["authenticated", "service_role"],
  "api.approve_gold_reply(bigint,bigint,boolean,integer)": ["authenticated", "service_role"],
  "api.claim_draft(bigint,bigint)": ["authenticated", "service_role"],
  "api.cancel_action(bigint,bigint)": ["authenticated", "service_role"],
  "api.connect_foreign(bigint,text)": ["service_role"],
  "api.conversation_history(bigint,bigint,integer,text)": ["authenticated", "service_role"],
  "api.delete_calendar(bigint,bigint)": ["authenticated", "service_role"],
  "api.disconnect_foreign(bigint)": ["service_role"],
  "api.enqueue_action(bigint,bigint,text,jsonb)": ["authenticated", "service_role"],
  "api.erase_account(bigint,text)": ["service_role"],
  "api.erase_contact(bigint,bigint,boolean)": ["authenticated", "service_role"],
  "api.episodes_at(bigint,timestamp with time zone,timestamp with time zone,bigint[])": [
    "authenticated",
    "service_role",
  ],
  "api.explain_metric(bigint,bigint,text,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "api.explain_sla(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "api.import_canned_responses(bigint,jsonb)": ["authenticated", "service_role"],
  "api.merge_conversations(bigint,bigint,bigint)": ["authenticated", "service_role"],
  "api.missing_indexes(bigint)": ["service_role"],
  "api.open_relations(text)": ["service_role"],
  "api.pause_sync(bigint,text)": ["authenticated", "service_role"],
  "api.public_status()": ["service_role"],
  "api.promote_to_gold(bigint,bigint,bigint,text,text,text,text[])": ["authenticated", "service_role"],
  "api.propose_draft(bigint,bigint,bigint,text,text,text,double precision,jsonb)": ["service_role"],
  "api.propose_gold_reply(bigint,jsonb)": ["authenticated", "service_role"],
  "api.record_gold_reply(bigint,jsonb,text)": ["service_role"],
  "api.record_webhook(bigint,text,bytea,jsonb,text,timestamp with time zone)": ["service_role"],
  "api.reject_draft(bigint,bigint,text)": ["authenticated", "service_role"],
  "api.release_draft(bigint,bigint)": ["authenticated", "service_role"],
  "api.remove_notification_endpoint(bigint,bigint)": ["authenticated", "service_role"],
  "api.replay_deliveries(bigint,timestamp with time zone,timestamp with time zone,text[])": [
    "authenticated",
    "service_role",
  ],
  "api.resume_sending(bigint)": ["authenticated", "service_role"],
  "api.resume_sync(bigint,text)": ["authenticated", "service_role"],
  "api.retire_gold_reply(bigint,bigint)": ["authenticated", "service_role"],
  "api.retire_sla_policy(bigint,bigint)": ["authenticated", "service_role"],
  "api.retry_action(bigint,bigint,boolean)": ["authenticated", "service_role"],
  "api.save_calendar(bigint,text,text,jsonb,jsonb,timestamp with time zone,bigint)": ["authenticated", "service_role"],
  "api.save_gold_reply(bigint,jsonb,bigint,integer,boolean)": ["authenticated", "service_role"],
  "api.save_sla_policy(bigint,text,jsonb,jsonb,integer,bigint,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "api.set_alert_rule(bigint,text,jsonb)": ["authenticated", "service_role"],
  "api.set_database_source(bigint,text)": ["authenticated", "service_role"],
  "api.set_inbox_rules(bigint,bigint,integer,integer,boolean)": ["authenticated", "service_role"],
  "api.set_member(bigint,uuid,access.member_role)": ["authenticated", "service_role"],
  "api.set_notification_endpoint_state(bigint,bigint,text)": ["authenticated", "service_role"],
  "api.set_rest_source(bigint,text)": ["authenticated", "service_role"],
  "api.set_setting(bigint,text,jsonb)": ["authenticated", "service_role"],
  "api.set_sync_token(bigint,text)": ["authenticated", "service_role"],
  "api.simulate_sla(bigint,jsonb,timestamp with time zone,timestamp with time zone)": ["authenticated", "service_role"],
  "api.sla_at_risk(bigint,timestamp with time zone,integer)": ["authenticated", "service_role"],
  "api.sla_clocks_at(bigint,timestamp with time zone,bigint[])": ["authenticated", "service_role"],
  "api.snooze_alert(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "api.test_notification(bigint,bigint)": ["authenticated", "service_role"],
  "api.unmerge_conversation(bigint,bigint)": ["authenticated", "service_role"],
  "api.use_calendar(bigint,text,bigint,bigint)": ["authenticated", "service_role"],
  "api.verify_decision_log(bigint)": ["authenticated", "service_role"],
  "api.verify_sync(bigint,timestamp with time zone,timestamp with time zone)": ["authenticated", "service_role"],
  "audit.entry_hash(audit.decision_log)": ["authenticated", "service_role"],
  "audit.verify(bigint)": ["authenticated", "service_role"],
  "inbox.record(bigint,text,bytea,jsonb,text,timestamp with time zone,timestamp with time zone)": ["service_role"],
  "inbox.replay(bigint,timestamp with time zone,timestamp with time zone,text[],timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "ledger.business_clock(bigint,bigint,timestamp with time zone)": ["analyst", "authenticated", "service_role"],
  "ledger.business_due(bigint,bigint,timestamp with time zone,double precision)": [
    "analyst",
    "authenticated",
    "service_role",
  ],
  "ledger.delete_calendar(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ledger.explain_metric(bigint,bigint,text,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "ledger.merge(bigint,bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ledger.read_episodes_at(bigint,timestamp with time zone,timestamp with time zone,bigint[])": [
    "authenticated",
    "service_role",
  ],
  "ledger.save_calendar(bigint,text,text,jsonb,jsonb,timestamp with time zone,timestamp with time zone,bigint)": [
    "authenticated",
    "service_role",
  ],
  "ledger.set_rules(bigint,bigint,integer,integer,boolean,timestamp with time zone)": ["authenticated", "service_role"],
  "ledger.unmerge(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ledger.use_calendar(bigint,text,bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.acknowledge_alert(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.acknowledge_notification(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.add_notification_endpoint(bigint,text,text,text,text[],ops.notification_severity,integer,integer,text,boolean,integer,integer,integer,timestamp with time zone)":
    [
      "authenticated",
      "service_role",
    ],
  "ops.default_target_seconds()": ["analyst", "authenticated", "service_role"],
  "ops.erase_account(bigint,text,timestamp with time zone)": ["service_role"],
  "ops.erase_contact(bigint,bigint,boolean,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.public_status(timestamp with time zone)": ["service_role"],
  "ops.remove_notification_endpoint(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.set_alert_rule(bigint,text,jsonb,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.set_member(bigint,uuid,access.member_role)": ["authenticated", "service_role"],
  "ops.set_notification_endpoint_state(bigint,bigint,text,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.set_setting(bigint,text,jsonb,timestamp with time zone)": ["authenticated", "service_role"],
  "ops.setting(bigint,text)": ["authenticated", "service_role"],
  "ops.snooze_alert(bigint,bigint,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "ops.test_notification(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.approve_draft(bigint,bigint,text,jsonb,boolean,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.approve_gold_reply(bigint,bigint,boolean,integer,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "replies.claim_draft(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.conversation_history(bigint,bigint,integer,text)": ["authenticated", "service_role"],
  "replies.import_canned_responses(bigint,jsonb,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.promote_to_gold(bigint,bigint,bigint,text,text,text,text[],timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "replies.propose_by_person(bigint,jsonb,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.propose_draft(bigint,bigint,bigint,text,text,text,double precision,jsonb,timestamp with time zone)": [
    "service_role",
  ],
  "replies.record_gold_reply(bigint,jsonb,text,timestamp with time zone)": ["service_role"],
  "replies.reject_draft(bigint,bigint,text,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.retry_action(bigint,bigint,boolean,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.release_draft(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.retire_gold_reply(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "replies.save_gold_reply(bigint,jsonb,bigint,integer,boolean,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "sla.add_default_policy(bigint,timestamp with time zone,timestamp with time zone)": ["authenticated", "service_role"],
  "sla.at_risk(bigint,timestamp with time zone,integer)": ["authenticated", "service_role"],
  "sla.clocks_at(bigint,timestamp with time zone,bigint[])": ["authenticated", "service_role"],
  "sla.explain(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "sla.retire_policy(bigint,bigint,timestamp with time zone)": ["authenticated", "service_role"],
  "sla.save_policy(bigint,text,jsonb,jsonb,integer,bigint,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "sla.simulate(bigint,jsonb,timestamp with time zone,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
  "sla.spent(bigint,bigint,timestamp with time zone,timestamp with time zone)": [
    "analyst",
    "authenticated",
    "service_role",
  ],
  "sync.connect_foreign(bigint,text,timestamp with time zone)": ["service_role"],
  "sync.disconnect_foreign(bigint,timestamp with time zone)": ["service_role"],
  "sync.missing_indexes(bigint)": ["service_role"],
  "sync.open_relations(text)": ["service_role"],
  "sync.set_database_source(bigint,text,timestamp with time zone)": ["authenticated", "service_role"],
  "sync.set_rest_source(bigint,text,timestamp with time zone)": ["authenticated", "service_role"],
  "sync.set_state(bigint,text,text,timestamp with time zone)": ["authenticated", "service_role"],
  "sync.set_token(bigint,text,timestamp with time zone)": ["authenticated", "service_role"],
  "sync.verify(bigint,timestamp with time zone,timestamp with time zone,timestamp with time zone)": [
    "authenticated",
    "service_role",
  ],
};

const READERS: Record<string, string[]> = {
  "access.members": ["authenticated", "service_role"],
  "actions.accounts": ["analyst", "authenticated", "service_role"],
  "actions.outbox": ["analyst", "authenticated", "service_role"],
  "analytics.agent_load": ["analyst", "authenticated", "service_role"],
  "analytics.agents": ["analyst", "authenticated", "service_role"],
  "analytics.ai_episodes": ["analyst", "authenticated", "service_role"],
  "analytics.ai_outcomes": ["analyst", "authenticated", "service_role"],
  "analytics.backlog_age": ["analyst", "authenticated", "service_role"],
  "analytics.backlog_by_day": ["analyst", "authenticated", "service_role"],
  "analytics.backlog_now": ["analyst", "authenticated", "service_role"],
  "analytics.channel_breakdown": ["analyst", "authenticated", "service_role"],
  "analytics.channels": ["analyst", "authenticated", "service_role"],
  "analytics.conversations": ["analyst", "authenticated", "service_role"],
  "analytics.csat": ["analyst", "authenticated", "service_role"],
  "analytics.csat_by_month": ["analyst", "authenticated", "service_role"],
  "analytics.days": ["analyst", "authenticated", "service_role"],
  "analytics.draft_hold_out": ["analyst", "authenticated", "service_role"],
  "analytics.draft_performance": ["analyst", "authenticated", "service_role"],
  "analytics.drafts": ["analyst", "authenticated", "service_role"],
  "analytics.episodes": ["analyst", "authenticated", "service_role"],
  "analytics.episodes_by_day": ["analyst", "authenticated", "service_role"],
  "analytics.events": ["analyst", "authenticated", "service_role"],
  "analytics.exclusions": ["analyst", "authenticated", "service_role"],
  "analytics.gold_reply_edits": ["analyst", "authenticated", "service_role"],
  "analytics.hour_of_week": ["analyst", "authenticated", "service_role"],
  "analytics.inbox_health": ["analyst", "authenticated", "service_role"],
  "analytics.inboxes": ["analyst", "authenticated", "service_role"],
  "analytics.labels": ["analyst", "authenticated", "service_role"],
  "analytics.live_status": ["analyst", "authenticated", "service_role"],
  "analytics.messages": ["analyst", "authenticated", "service_role"],
  "analytics.months": ["analyst", "authenticated", "service_role"],
  "analytics.reopen_rates": ["analyst", "authenticated", "service_role"],
  "analytics.reply_survival": ["analyst", "authenticated", "service_role"],
  "analytics.reporting_reconciliation": ["analyst", "authenticated", "service_role"],
  "analytics.resolution_times": ["analyst", "authenticated", "service_role"],
  "analytics.response_times": ["analyst", "authenticated", "service_role"],
  "analytics.response_times_by_stop": ["analyst", "authenticated", "service_role"],
  "analytics.sla_attainment": ["analyst", "authenticated", "service_role"],
  "analytics.sla_breaches": ["analyst", "authenticated", "service_role"],
  "analytics.sla_clocks": ["analyst", "authenticated", "service_role"],
  "analytics.sla_conversations": ["analyst", "authenticated", "service_role"],
  "analytics.spans": ["analyst", "authenticated", "service_role"],
  "analytics.teams": ["analyst", "authenticated", "service_role"],
  "analytics.time_zones": ["analyst", "authenticated", "service_role"],
  "analytics.volume_by_day": ["analyst", "authenticated", "service_role"],
  "analytics.volume_by_hour": ["analyst", "authenticated", "service_role"],
  "analytics.wait_credits": ["analyst", "authenticated", "service_role"],
  "api.alert_rules": ["authenticated", "service_role"],
  "api.actions": ["authenticated", "service_role"],
  "api.alerts": ["authenticated", "service_role"],
  "api.approval_queue": ["authenticated", "service_role"],
  "api.approvals_history": ["authenticated", "service_role"],
  "api.calendars": ["authenticated", "service_role"],
  "api.canned_imports": ["authenticated", "service_role"],
  "api.decision_log": ["authenticated", "service_role"],
  "api.deliveries": ["authenticated", "service_role"],
  "api.health_checks": ["authenticated", "service_role"],
  "api.job_runs": ["service_role"],
  "api.drafts": ["authenticated", "service_role"],
  "api.erasures": ["authenticated", "service_role"],
  "api.gold_replies": ["authenticated", "service_role"],
  "api.gold_reply_versions": ["authenticated", "service_role"],
  "api.ledger_status": ["authenticated", "service_role"],
  "api.members": ["authenticated", "service_role"],
  "api.metric_definitions": ["authenticated", "service_role"],
  "api.notification_deliveries": ["authenticated", "service_role"],
  "api.notification_endpoints": ["authenticated", "service_role"],
  "api.notifications": ["authenticated", "service_role"],
  "api.reply_variables": ["authenticated", "service_role"],
  "api.sending_status": ["authenticated", "service_role"],
  "api.settings": ["authenticated", "service_role"],
  "api.sla_board": ["authenticated", "service_role"],
  "api.sla_policies": ["authenticated", "service_role"],
  "api.sync_differences": ["authenticated", "service_role"],
  "api.sync_status": ["authenticated", "service_role"],
  "audit.chain_heads": ["authenticated", "service_role"],
  "audit.decision_log": ["authenticated", "service_role"],
  "chatwoot.accounts": ["analyst", "authenticated", "service_role"],
  "chatwoot.agents": ["analyst", "authenticated", "service_role"],
  "chatwoot.contacts": ["analyst", "authenticated", "service_role"],
  "chatwoot.conversations": ["analyst", "authenticated", "service_role"],
  "chatwoot.csat_responses": ["analyst", "authenticated", "service_role"],
  "chatwoot.erased_contacts": ["authenticated", "service_role"],
  "chatwoot.erased_conversations": ["authenticated", "service_role"],
  "chatwoot.inboxes": ["analyst", "authenticated", "service_role"],
  "chatwoot.labels": ["analyst", "authenticated", "service_role"],
  "chatwoot.messages": ["analyst", "authenticated", "service_role"],
  "chatwoot.reporting_events": ["analyst", "authenticated", "service_role"],
  "chatwoot.teams": ["analyst", "authenticated", "service_role"],
  "inbox.deliveries (columns)": ["analyst", "authenticated", "service_role"],
  "ledger.calendar_spans": ["analyst", "authenticated", "service_role"],
  "ledger.calendar_uses": ["analyst", "authenticated", "service_role"],
  "ledger.calendar_versions": ["analyst", "authenticated", "service_role"],
  "ledger.calendars": ["analyst", "authenticated", "service_role"],
  "ledger.changes": ["analyst", "authenticated", "service_role"],
  "ledger.conversations": ["analyst", "authenticated", "service_role"],
  "ledger.episodes": ["analyst", "authenticated", "service_role"],
  "ledger.events": ["analyst", "authenticated", "service_role"],
  "ledger.merges": ["analyst", "authenticated", "service_role"],
  "ledger.metric_definitions": ["analyst", "authenticated", "service_role"],
  "ledger.queue": ["analyst", "authenticated", "service_role"],
  "ledger.rules": ["analyst", "authenticated", "service_role"],
  "ledger.snapshots": ["analyst", "authenticated", "service_role"],
  "ledger.spans": ["analyst", "authenticated", "service_role"],
  "ops.alert_rules": ["analyst", "authenticated", "service_role"],
  "ops.alert_states": ["analyst", "authenticated", "service_role"],
  "ops.alerts": ["analyst", "authenticated", "service_role"],
  "ops.arrivals": ["analyst", "authenticated", "service_role"],
  "ops.erasures": ["authenticated", "service_role"],
  "ops.health_accounts": ["analyst", "authenticated", "service_role"],
  "ops.health_checks": ["analyst", "authenticated", "service_role"],
  "ops.health_history": ["analyst", "authenticated", "service_role"],
  "ops.health_hours": ["analyst", "authenticated", "service_role"],
  "ops.job_runs": ["service_role"],
  "ops.late_first_responses": ["analyst", "authenticated", "service_role"],
  "ops.normal_hours": ["analyst", "authenticated", "service_role"],
  "ops.notification_deliveries": ["analyst", "authenticated", "service_role"],
  "ops.notification_endpoints": ["analyst", "authenticated", "service_role"],
  "ops.notifications": ["analyst", "authenticated", "service_role"],
  "ops.service_intervals": ["analyst", "authenticated", "service_role"],
  "ops.setting_definitions": ["analyst", "authenticated", "service_role"],
  "ops.settings": ["analyst", "authenticated", "service_role"],
  "replies.canned_fetches": ["analyst", "authenticated", "service_role"],
  "replies.draft_news": ["analyst", "authenticated", "service_role"],
  "replies.drafts": ["analyst", "authenticated", "service_role"],
  "replies.gold_replies": ["analyst", "authenticated", "service_role"],
  "replies.gold_reply_versions": ["analyst", "authenticated", "service_role"],
  "replies.variables": ["analyst", "authenticated", "service_role"],
  "sla.breaches": ["analyst", "authenticated", "service_role"],
  "sla.clocks": ["analyst", "authenticated", "service_role"],
  "sla.facts": ["analyst", "authenticated", "service_role"],
  "sla.past_waits": ["analyst", "authenticated", "service_role"],
  "sla.policies": ["analyst", "authenticated", "service_role"],
  "sla.warnings": ["analyst", "authenticated", "service_role"],
  "sync.contact_checks": ["analyst", "authenticated", "service_role"],
  "sync.conversation_reads": ["analyst", "authenticated", "service_role"],
  "sync.differences": ["analyst", "authenticated", "service_role"],
  "sync.runs": ["analyst", "authenticated", "service_role"],
  "sync.sources": ["analyst", "authenticated", "service_role"],
  "sync.verifications": ["analyst", "authenticated", "service_role"],
  "sync.verified_days": ["analyst", "authenticated", "service_role"],
};

// Neither body nor headers.
const DELIVERY_COLUMNS = [
  "account_id",
  "body_sha256",
  "conflicts",
  "delivery_id",
  "event",
  "last_repeated_at",
  "note",
  "outcome",
  "proof",
  "purged_at",
  "reason",
  "received_at",
  "redeliveries",
  "replayed_at",
  "signed_at",
];

// Not in chatwoot, for anyone: its rows are read through the views of analytics alone.
const VISITORS: Record<string, string[]> = {
  access: ["authenticated", "service_role"],
  actions: ["authenticated", "service_role"],
  analytics: ["analyst", "authenticated", "service_role"],
  api: ["anon", "authenticated", "service_role"],
  audit: ["authenticated", "service_role"],
  inbox: ["authenticated", "service_role"],
  ledger: ["authenticated", "service_role"],
  ops: ["authenticated", "service_role"],
  replies: ["authenticated", "service_role"],
  sla: ["authenticated", "service_role"],
  sync: ["authenticated", "service_role"],
};

const pairs = (granted: Record<string, string[]>) =>
  Object.entries(granted).flatMap(([object, roles]) => roles.map((role) => ({ object, role })))
    .sort(byObjectAndRole);

const byObjectAndRole = (one: { object: string; role: string }, other: { object: string; role: string }) =>
  one.object === other.object ? compare(one.role, other.role) : compare(one.object, other.object);
const compare = (one: string, other: string) => one < other ? -1 : 1;

type Grant = { object: string; role: string; privileges: string };

async function expectOnlyWhatIsListed(query: (text: string) => Promise<Grant[]>): Promise<void> {
  const functions = await query(FUNCTION_GRANTS);
  expect(functions.sort(byObjectAndRole)).toEqual(pairs(CALLERS));

  const tables = await query(TABLE_GRANTS);
  expect(tables.sort(byObjectAndRole)).toEqual(
    pairs(READERS).map((grant) => ({
      ...grant,
      privileges: grant.object.endsWith("(columns)")
        ? DELIVERY_COLUMNS.map((column) => `select ${column}`).join(", ")
        : "select",
    })),
  );

  const schemas = await query(SCHEMA_GRANTS);
  expect(schemas.sort(byObjectAndRole)).toEqual(pairs(VISITORS).map((grant) => ({ ...grant, privileges: "usage" })));

  expect(await query(MEMBERSHIPS)).toEqual([]);
}

describe("only what is listed here is granted", () => {
  test("in a project born with open default privileges", () =>
    database.rolledBack((sql) => expectOnlyWhatIsListed((text) => sql.rows<Grant>(text))));

  describe("in a project born with closed ones", () => {
    let home: string;
    let postgres: Postgres | undefined;

    beforeAll(async () => {
      home = await temporaryHome();
      const binaries = process.env.OCC_POSTGRES_BIN;
      postgres = await startPostgres({
        home,
        port: await freePort(),
        binaries,
        defaultPrivileges: "revoked",
        settings: {
          fsync: "off",
          synchronous_commit: "off",
          full_page_writes: "off",
          ...(binaries ? { shared_preload_libraries: "pg_cron" } : {}),
        },
        prepare: binaries ? "create extension pg_cron; grant usage on schema cron to postgres;" : undefined,
      });
      await migrate(readSettings({}).projectRoot, { url: postgres.url, withSeed: false });
    });

    afterAll(async () => {
      await postgres?.stop();
      await removeHome(home);
    });

    test("it is the same", async () => {
      const client = new Client({ connectionString: postgres?.url });
      await client.connect();
      try {
        await expectOnlyWhatIsListed(async (text) => (await client.query<Grant>(text)).rows);
      } finally {
        await client.end();
      }
    });
  });

  test.each([
    { name: "a function given to everybody", example: "grant execute on function ops.purge_job_runs to public" },
    { name: "a table given to anon", example: "grant select on ops.settings to anon" },
    { name: "a right to write", example: "grant update on ops.settings to authenticated" },
    { name: "the bytes of deliveries", example: "grant select (body) on inbox.deliveries to service_role" },
    { name: "a room opened to the analyst", example: "grant usage on schema chatwoot to analyst" },
    { name: "a right to make things in a room", example: "grant create on schema api to service_role" },
    { name: "a role that may become another", example: "grant service_role to authenticated" },
  ])("were it more, it would be found: $name", ({ example }) =>
    database.rolledBack(async (sql) => {
      await sql.rows(example);

      await expect(expectOnlyWhatIsListed((text) => sql.rows<Grant>(text))).rejects.toThrow(/toEqual|deeply equal/);
    }));
});
