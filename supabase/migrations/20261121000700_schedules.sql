-- Every job that runs by itself, in one place. A name makes a schedule an upsert, so that running this file again changes
-- nothing. Cron holds no logic: each command is one call, and what it calls ends at once when another one is at work.
-- pg_cron counts in UTC.
-- Stays and looks each second, since what a person approved is not to wait for the next minute.
select cron.schedule('actions-dispatch', '* * * * *',
  $$call actions.dispatch(budget => '59 seconds', linger => true)$$);
select cron.schedule('inbox-purge-bodies', '* * * * *', 'select inbox.purge_bodies()');
select cron.schedule('ledger-extend-calendars', '47 2 * * *', 'select ledger.extend_calendars()');
select cron.schedule('ledger-refresh', '* * * * *', 'call ledger.tick()');
select cron.schedule('ops-check-health', '* * * * *', 'call ops.check_health()');
select cron.schedule('ops-deliver-notifications', '* * * * *', 'call ops.deliver_notifications()');
select cron.schedule('ops-purge-health', '7 * * * *', 'select ops.purge_health()');
select cron.schedule('ops-purge-job-runs', '17 * * * *', 'select ops.purge_job_runs()');
select cron.schedule('ops-purge-notifications', '57 * * * *', 'select ops.purge_notifications()');
select cron.schedule('replies-fetch-canned', '* * * * *', 'call replies.fetch_canned()');
select cron.schedule('replies-tick', '* * * * *', 'call replies.tick()');
select cron.schedule('sla-learn-waits', '37 * * * *', 'select sla.learn_waits()');
select cron.schedule('sla-sweep', '* * * * *', 'call sla.tick()');
select cron.schedule('sync-database', '* * * * *', 'call sync.tick_database()');
select cron.schedule('sync-purge-runs', '27 * * * *', 'select sync.purge_runs()');
select cron.schedule('sync-purge-verifications', '37 4 * * *', 'select sync.purge_verifications()');
select cron.schedule('sync-request-verifications', '23 3 * * *', 'select sync.request_verifications()');
select cron.schedule('sync-rest', '* * * * *', 'call sync.tick_rest()');
