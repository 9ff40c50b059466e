/**
 * Whole numbers that the seed alone decides: each call answers one from 0 to below `limit`, which is at least 1.
 *
 * @see mulberry32, of Tommy Ettinger
 */
export function seededNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/**
 * The items in an order that the seed alone decides.
 *
 * @see Fisher and Yates
 */
export function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
  const below = seededNumbers(seed);
  const left = [...items];
  return items.flatMap(() => left.splice(below(left.length), 1));
}
