// The clock on the wall of a time zone, and the working hours it shows.
import { CLOSING_HOUR, OPENING_HOUR, TIME_ZONE } from "./furniture.ts";
import { epochSeconds, type Instant } from "./serialise.ts";

const formats = new Map<string, Intl.DateTimeFormat>();

// The wall clock of an instant, in milliseconds as if it were UTC.
function wallClock(milliseconds: number, timeZone: string): number {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", { timeZone, dateStyle: "short", timeStyle: "medium" });
    formats.set(timeZone, format);
  }
  const part = Object.fromEntries(format.formatToParts(milliseconds).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
}

// The offset is looked up twice: a first guess may lie across a change of clocks.
function fromWallClock(wall: number, timeZone: string): number {
  const offset = (milliseconds: number) => wallClock(milliseconds, timeZone) - milliseconds;
  return wall - offset(wall - offset(wall));
}

/** The instant a local day begins. */
export function localMidnight(date: string, timeZone: string): Date {
  const wall = Date.parse(`${date}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(date) || Number.isNaN(wall)) {
    throw new RangeError(`"${date}" is no day: write it as 2026-11-20.`);
  }
  return new Date(fromWallClock(wall, timeZone));
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** How many seconds of working hours lie between two instants, in the shop's time zone. */
export function businessSeconds(from: Instant, to: Instant): number {
  const [start, end] = [epochSeconds(from) * 1000, epochSeconds(to) * 1000];
  let milliseconds = 0;
  const firstDay = Math.floor(wallClock(start, TIME_ZONE) / DAY) * DAY;
  for (let day = firstDay; day <= wallClock(end, TIME_ZONE); day += DAY) {
    const weekday = new Date(day).getUTCDay();
    if (weekday === 0 || weekday === 6) continue;
    const opens = fromWallClock(day + OPENING_HOUR * HOUR, TIME_ZONE);
    const closes = fromWallClock(day + CLOSING_HOUR * HOUR, TIME_ZONE);
    milliseconds += Math.max(0, Math.min(end, closes) - Math.max(start, opens));
  }
  return Math.round(milliseconds / 1000);
}
