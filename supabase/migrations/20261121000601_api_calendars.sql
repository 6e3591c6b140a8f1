-- Calendars of business hours, for people: to read, save, use and delete.
create function api.save_calendar(
  account_id bigint, name text, time_zone text, weekly jsonb, exceptions jsonb default '[]',
  valid_from timestamptz default null, calendar_id bigint default null
) returns bigint
language sql volatile security invoker set search_path = '' as $$
  select ledger.save_calendar(save_calendar.account_id, save_calendar.name, save_calendar.time_zone,
    save_calendar.weekly, save_calendar.exceptions, save_calendar.valid_from,
    calendar_id => save_calendar.calendar_id)
$$;
comment on function api.save_calendar is
  'Saves the business hours of a calendar and returns its id; logged. It is the one with that id (which also renames it), else the one with that name, else a new one. weekly: array of {weekday, start_minute, end_minute}, 0 is Sunday, minutes past 1440 are in the days after. exceptions: array of {date, closed: true} or {date, start_minute, end_minute}, which stand instead of the weekday''s hours. They hold from valid_from (-infinity: since ever) to the next version; null means since ever for a new calendar and from now on for another. Admins only. Errors: OC403, OC404, OC409, OC422.';

create function api.use_calendar(account_id bigint, scope text, scope_id bigint, calendar_id bigint) returns void
language sql volatile security invoker set search_path = '' as $$
  select ledger.use_calendar(use_calendar.account_id, use_calendar.scope, use_calendar.scope_id,
    use_calendar.calendar_id)
$$;
comment on function api.use_calendar is
  'Lets a calendar hold for the account (scope account, scope_id 0), an inbox or a team; null for none of its own; logged. The team''s goes before the inbox''s, the inbox''s before the account''s. Admins only. Errors: OC403, OC404, OC422.';

create function api.delete_calendar(account_id bigint, calendar_id bigint) returns void
language sql volatile security invoker set search_path = ''
as $$ select ledger.delete_calendar(delete_calendar.account_id, delete_calendar.calendar_id) $$;
comment on function api.delete_calendar is
  'Deletes a calendar that nothing uses; logged. Admins only. Errors: OC403, OC404, OC409.';

create view api.calendars with (security_invoker = true) as
select calendars.account_id, calendars.calendar_id, calendars.name, calendars.inbox_id,
  nullif(versions.valid_from, '-infinity') as valid_from,
  lead(versions.valid_from) over (
    partition by versions.account_id, versions.calendar_id order by versions.valid_from) as valid_until,
  versions.time_zone, versions.weekly, versions.exceptions,
  coalesce((
    select jsonb_agg(jsonb_build_object('scope', uses.scope, 'scope_id', uses.scope_id)
      order by uses.scope, uses.scope_id)
    from ledger.calendar_uses as uses
    where uses.account_id = calendars.account_id and uses.calendar_id = calendars.calendar_id
  ), '[]') as used_by,
  calendars.revision, calendars.changed_at, calendars.changed_by
from ledger.calendars
join ledger.calendar_versions as versions
  on versions.account_id = calendars.account_id and versions.calendar_id = calendars.calendar_id;
comment on view api.calendars is 'The business hours of the accounts you belong to, one row a version of a calendar.';
comment on column api.calendars.account_id is 'Chatwoot''s account id.';
comment on column api.calendars.calendar_id is 'Number of the calendar.';
comment on column api.calendars.name is 'What people call it.';
comment on column api.calendars.inbox_id is 'The inbox whose working hours it follows; null for a calendar that a person made.';
comment on column api.calendars.valid_from is 'From when on the version holds (UTC); null for ever since.';
comment on column api.calendars.valid_until is 'When the next version takes over (UTC); null for the newest.';
comment on column api.calendars.time_zone is 'IANA zone of the weekdays, dates and minutes.';
comment on column api.calendars.weekly is 'Array of {weekday, start_minute, end_minute}, weekday 0 is Sunday; minutes past 1440 are in the days after.';
comment on column api.calendars.exceptions is 'Array of {date, closed: true} or {date, start_minute, end_minute}, instead of the weekday''s hours.';
comment on column api.calendars.used_by is 'Array of {scope, scope_id}: where the calendar holds.';
comment on column api.calendars.revision is 'Rises with every change of the calendar''s hours.';
comment on column api.calendars.changed_at is 'When the calendar was last changed (UTC).';
comment on column api.calendars.changed_by is 'Who changed it last.';

revoke all on function api.save_calendar, api.use_calendar, api.delete_calendar
  from public, anon, authenticated, service_role;
grant execute on function api.save_calendar, api.use_calendar, api.delete_calendar to authenticated, service_role;
grant select on api.calendars to authenticated, service_role;
