-- Every job that runs by itself, in one place. A name makes a schedule an upsert, so that running this file again changes
-- nothing. Cron holds no logic: each command is one call, and what it calls ends at once when another one is at work.
-- pg_cron counts in UTC.
create or replace function ops.jobs() returns table (job text, schedule text, command text)
-- A function, so that whoever looks after the jobs knows of one that was removed.
language sql immutable parallel safe security invoker set search_path = '' as $$
  values
    -- Stays and looks each second, since what a person approved is not to wait for the next minute.
    ('actions-dispatch', '* * * * *', 'call actions.dispatch(budget => ''59 seconds'', linger => true)'),
    ('inbox-purge-bodies', '* * * * *', 'select inbox.purge_bodies()'),
    ('ledger-extend-calendars', '47 2 * * *', 'select ledger.extend_calendars()'),
    ('ledger-refresh', '* * * * *', 'call ledger.tick()'),
    ('ops-check-health', '* * * * *', 'call ops.check_health()'),
    ('ops-deliver-notifications', '* * * * *', 'call ops.deliver_notifications()'),
    ('ops-purge-health', '7 * * * *', 'select ops.purge_health()'),
    ('ops-purge-job-runs', '17 * * * *', 'select ops.purge_job_runs()'),
    ('ops-purge-notifications', '57 * * * *', 'select ops.purge_notifications()'),
    ('replies-fetch-canned', '* * * * *', 'call replies.fetch_canned()'),
    ('replies-tick', '* * * * *', 'call replies.tick()'),
    ('sla-learn-waits', '37 * * * *', 'select sla.learn_waits()'),
    ('sla-sweep', '* * * * *', 'call sla.tick()'),
    ('sync-database', '* * * * *', 'call sync.tick_database()'),
    ('sync-purge-runs', '27 * * * *', 'select sync.purge_runs()'),
    ('sync-purge-verifications', '37 4 * * *', 'select sync.purge_verifications()'),
    ('sync-request-verifications', '23 3 * * *', 'select sync.request_verifications()'),
    ('sync-rest', '* * * * *', 'call sync.tick_rest()')
$$;
comment on function ops.jobs is 'The jobs of cron that there must be, with their schedules and what they call.';
revoke all on function ops.jobs from public, anon, authenticated, service_role;

select cron.schedule(jobs.job, jobs.schedule, jobs.command) from ops.jobs() as jobs order by jobs.job;
