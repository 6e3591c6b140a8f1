// Chance that can be repeated: the same seed gives the same day, down to the delivery ids.

export interface Random {
  /** From 0 up to, but not, 1. */
  next(): number;
  /** A whole number, both ends included. */
  integer(least: number, most: number): number;
  pick<Item>(items: readonly Item[]): Item;
  chance(probability: number): boolean;
  /** A version 4 UUID, lower case. */
  uuid(): string;
  token(length: number): string;
  /** A seed that goes on from here. */
  state(): number;
}

const BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  // Mulberry32: 32 bits of state are plenty for made-up support traffic, and it is fast.
  const bits = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const next = () => bits() / 2 ** 32;
  const integer = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  const hex = () => bits().toString(16).padStart(8, "0");
  return {
    next,
    integer,
    pick: (items) => items[integer(0, items.length - 1)],
    chance: (probability) => next() < probability,
    uuid: () => {
      const digits = hex() + hex() + hex() + hex();
      const variant = "89ab"[integer(0, 3)];
      return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-${variant}${digits.slice(17, 20)}-${
        digits.slice(20)
      }`;
    },
    token: (length) => Array.from({ length }, () => BASE58[integer(0, 57)]).join(""),
    state: () => state,
  };
}
