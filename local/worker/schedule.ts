// When a pg_cron schedule is due. The SQL side has checked the syntax; here it is put into croner's words.
import { Cron } from "croner";

export type Schedule =
  | { kind: "seconds"; seconds: number }
  | { kind: "reboot" }
  | {
    kind: "minutes";
    /** Whether the minute that starts at this moment is due, in UTC. */
    isDue(minute: Date): boolean;
    /** Every minute or every hour: made up once, not often, when the clock jumps. */
    isWildcard: boolean;
  };

const WORDS: Record<string, string> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
// Steps beyond a field's size mean "the first only" to Vixie's parser and are refused by croner.
const FIELD_SIZES = [60, 24, 31, 12, 7];

/** Reads a schedule that cron.schedule accepted; null for one it would not have. */
export function readSchedule(schedule: string): Schedule | null {
  const text = schedule.trim();
  const seconds = /^0*([1-9]|[1-5]\d)[ \t\n]+seconds?$/i.exec(text);
  if (seconds) return { kind: "seconds", seconds: Number(seconds[1]) };
  if (text === "@reboot" || text === "@restart") return { kind: "reboot" };
  const fields = (WORDS[text] ?? text).split(/[ \t\n]+/);
  if (fields.length !== 5) return null;
  const [minute, hour, day, , weekday] = fields;
  const pattern = fields.map((field, index) =>
    field === "$" ? "L" : field.replace(/\/(\d+)/g, (_, step) => `/${Math.min(Number(step), FIELD_SIZES[index])}`)
  );
  // Both days given means either; a field that begins with a star, stepped or not, does not count as given.
  const domAndDow = day.startsWith("*") || weekday.startsWith("*");
  try {
    const cron = new Cron(pattern.join(" "), { timezone: "UTC", domAndDow, mode: "5-part" });
    return {
      kind: "minutes",
      isDue: (start) => cron.match(start),
      isWildcard: minute.startsWith("*") || hour.startsWith("*"),
    };
  } catch {
    return null;
  }
}

/** How often a schedule fell due in the minutes after `last` up to and with `now`, both counted since 1970. */
export function dueBetween(schedule: Schedule & { kind: "minutes" }, last: number, now: number): number {
  const passed = now - last;
  // Asleep for hours, or the clock was moved: what was missed so long ago is not made up.
  const first = passed > 180 ? now : last + 1;
  let due = 0;
  for (let minute = first; minute <= now; minute++) if (schedule.isDue(new Date(minute * 60_000))) due++;
  return schedule.isWildcard && passed > 5 ? Math.min(due, 1) : due;
}
