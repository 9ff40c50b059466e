/** What several rounds showed of one figure. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Null when there are no values. The median of an even number of values lies halfway between the middle two. */
export function spreadOf(values: readonly number[]): Spread | null {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) return null;
  const upper = sorted[Math.floor(sorted.length / 2)] ?? max;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? min;
  return { median: (lower + upper) / 2, min, max };
}

/**
 * What one row reached of another in each round. A machine that is slower for a while is slower for both, so that this
 * drifts less than the quotient of their medians.
 *
 * @returns null where a round lacks one of the two, or there is none.
 */
export function quotients(
  of: readonly (number | null)[],
  to: readonly (number | null)[],
): readonly number[] | null {
  if (of.length === 0 || of.length !== to.length) return null;
  const found: number[] = [];
  for (const [round, value] of of.entries()) {
    const base = to[round];
    if (value === null || base === null || base === undefined || base === 0) return null;
    found.push(value / base);
  }
  return found;
}
