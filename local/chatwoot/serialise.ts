// JSON as Rails writes it. The signature covers these bytes, and the receiver must cope with them, so the differences
// from JSON.stringify are kept: escaped <, > and &, floats that keep their fraction, times cut to milliseconds.

/** A Ruby Float: written with a fraction even when it is whole, as `1795165200.0`. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export const float = (value: number): Float => new Float(value);

/** Microseconds since 1970, as Postgres keeps them for Rails. They stay exact in a number until the year 2255. */
export type Instant = number;

/** ISO 8601 in UTC with exactly three decimals: truncated, never rounded. */
export const isoTime = (instant: Instant): string => new Date(Math.floor(instant / 1000)).toISOString();
/** The same with all six decimals: an instant as a mirror keeps it, to the microsecond. */
export const microTime = (instant: Instant): string =>
  `${isoTime(instant).slice(0, -1)}${String(instant % 1000).padStart(3, "0")}Z`;
/** An instant from text, as Postgres writes a timestamp of UTC. */
export function readTime(text: string): Instant {
  const [, seconds, fraction = ""] = /^(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?$/.exec(text) ?? [];
  if (seconds === undefined) throw new RangeError(`"${text}" is no timestamp.`);
  return Date.parse(`${seconds.replace(" ", "T")}Z`) * 1000 + Number(fraction.padEnd(6, "0"));
}
export const epochSeconds = (instant: Instant): number => Math.floor(instant / 1_000_000);
export const epochFloat = (instant: Instant): Float => float(instant / 1_000_000);

const ESCAPES: Record<string, string> = {
  "<": "\\u003c",
  ">": "\\u003e",
  "&": "\\u0026",
  "\u2028": "\\u2028",
  "\u2029": "\\u2029",
};

/** One line of JSON, keys in insertion order, as ActiveSupport's `to_json` gives it. */
export function serialise(value: unknown): string {
  if (value === null) return "null";
  switch (typeof value) {
    case "string":
      return quote(value);
    case "boolean":
    case "bigint":
      return String(value);
    case "number":
      return Number.isFinite(value) ? String(value) : "null";
    case "object":
      break;
    default:
      // Chatwoot leaves a key out or writes null; `undefined` would hide which of the two was meant.
      throw new TypeError(`A webhook payload cannot hold a value of type ${typeof value}: use null or leave it out.`);
  }
  if (value instanceof Float) return serialiseFloat(value.value);
  if (value instanceof Date) return quote(value.toISOString());
  if (Array.isArray(value)) return `[${value.map(serialise).join(",")}]`;
  return `{${Object.entries(value).map(([key, item]) => `${quote(key)}:${serialise(item)}`).join(",")}}`;
}

const quote = (text: string) =>
  JSON.stringify(text).replace(/[<>&\u2028\u2029]/g, (character) => ESCAPES[character] ?? character);

// Ruby changes to the exponent form earlier than JavaScript, and pads the exponent to two digits.
function serialiseFloat(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [mantissa, exponent] = value.toExponential().split("e");
    const digits = exponent.slice(1).padStart(2, "0");
    return `${mantissa.includes(".") ? mantissa : `${mantissa}.0`}e${exponent[0]}${digits}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
