// Business hours a second time, slowly and in words: day by day, without anything worked out beforehand. It shares
// nothing with the SQL but the definitions, so that what both say is right for one reason only.

export interface WeeklySpan {
  weekday: number;
  start_minute: number;
  end_minute: number;
}

export interface CalendarException {
  date: string;
  closed?: true;
  start_minute?: number;
  end_minute?: number;
}

export interface CalendarVersion {
  /** Microseconds since 1970; -Infinity for ever since. */
  validFrom: number;
  timeZone: string;
  weekly: WeeklySpan[];
  exceptions: CalendarException[];
}

type Span = [from: number, until: number];

export const SECOND = 1_000_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const PATIENCE = 400 * DAY;

const formats = new Map<string, Intl.DateTimeFormat>();
const offsets = new Map<string, Map<number, number>>();

/** How far the clocks of the zone are ahead of UTC at that instant. */
export function offsetAt(instant: number, timeZone: string): number {
  // Since 2010 every zone has changed its clocks on a quarter of an hour only.
  const quarter = Math.floor(instant / (15 * MINUTE)) * 15 * MINUTE;
  let ofZone = offsets.get(timeZone);
  if (ofZone === undefined) offsets.set(timeZone, ofZone = new Map());
  const known = ofZone.get(quarter);
  if (known !== undefined) return known;
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
    formats.set(timeZone, format);
  }
  const shown = Object.fromEntries(format.formatToParts(quarter / 1000).map((part) => [part.type, Number(part.value)]));
  const wall = Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute, shown.second) * 1000;
  ofZone.set(quarter, wall - quarter);
  return wall - quarter;
}

/** The instant of a wall time: the later one of two, and by the clocks before the jump where the jump left it out. */
export function instantOf(wall: number, timeZone: string): number {
  const used = new Set<number>();
  for (let instant = wall - 15 * HOUR; instant <= wall + 15 * HOUR; instant += HOUR / 2) {
    used.add(offsetAt(instant, timeZone));
  }
  const shown = [...used].map((offset) => wall - offset).filter((instant) =>
    instant + offsetAt(instant, timeZone) === wall
  );
  if (shown.length > 0) return Math.max(...shown);
  // By the clocks after the jump the wall time would be before it, and there the clocks before the jump hold.
  return wall - offsetAt(wall - Math.max(...used), timeZone);
}

/** When the calendar is open from one instant to another: in order, apart from each other. */
export function openSpans(versions: CalendarVersion[], from: number, until: number): Span[] {
  const sorted = [...versions].sort((one, other) => one.validFrom - other.validFrom);
  const found: Span[] = [];
  sorted.forEach((version, index) => {
    const begins = Math.max(version.validFrom, from);
    const ends = Math.min(sorted[index + 1]?.validFrom ?? Infinity, until);
    if (begins >= ends) return;
    const dayOf = (instant: number) => Math.floor((instant + offsetAt(instant, version.timeZone)) / DAY);
    // Three days to spare on both sides: a span may take two, and a zone may skip one.
    for (let day = dayOf(begins) - 3; day <= dayOf(ends) + 1; day++) {
      for (const [start, end] of hoursOf(version, day)) {
        const opens = Math.max(instantOf(day * DAY + start * MINUTE, version.timeZone), begins);
        const closes = Math.min(instantOf(day * DAY + end * MINUTE, version.timeZone), ends);
        if (opens < closes) found.push([opens, closes]);
      }
    }
  });
  found.sort((one, other) => one[0] - other[0]);
  const merged: Span[] = [];
  for (const [opens, closes] of found) {
    const last = merged.at(-1);
    if (last !== undefined && opens <= last[1]) last[1] = Math.max(last[1], closes);
    else merged.push([opens, closes]);
  }
  return merged;
}

/** The minutes that are open on a local day, counted in days since 1970-01-01. */
function hoursOf(version: CalendarVersion, day: number): Span[] {
  const date = new Date(day * DAY / 1000);
  const instead = version.exceptions.filter((exception) => exception.date === date.toISOString().slice(0, 10));
  const open = instead.length > 0
    ? instead.filter((exception) => !exception.closed)
    : version.weekly.filter((span) => span.weekday === date.getUTCDay());
  return open.map((span) => [Number(span.start_minute), Number(span.end_minute)]);
}

/** Open time between two instants, in microseconds. */
export function elapsed(versions: CalendarVersion[], from: number, until: number): number {
  return openSpans(versions, from, until).reduce((sum, [opens, closes]) => sum + closes - opens, 0);
}

/** The instant by which so much open time has passed; null when it does not open for 400 days on end. */
export function due(versions: CalendarVersion[], from: number, target: number): number | null {
  if (target <= 0) return from;
  let left = target;
  let position = from;
  // A piece at a time, since a long target would otherwise list decades for a short one.
  for (let piece = from; piece - position <= PATIENCE; piece += 100 * DAY) {
    for (const [opens, closes] of openSpans(versions, piece, piece + 100 * DAY)) {
      if (opens - position > PATIENCE) return null;
      if (closes - opens >= left) return opens + left;
      left -= closes - opens;
      position = closes;
    }
  }
  return null;
}
