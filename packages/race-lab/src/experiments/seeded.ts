/**
 * The items in an order that the seed alone decides.
 *
 * @see mulberry32, of Tommy Ettinger, for the numbers; Fisher and Yates for the order
 */
export function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
  let state = seed >>> 0;
  const below = (limit: number) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit;
  };
  const left = [...items];
  return items.flatMap(() => left.splice(Math.floor(below(left.length)), 1));
}
