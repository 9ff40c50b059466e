export interface Percentiles {
  p50: number;
  p90: number;
  p95: number;
  p99: number;
  max: number;
}

/**
 * Percentiles by nearest rank: p90 is the smallest value that at least 90 % of the values do not exceed, so each
 * is a value that occurred. Null when there are no values.
 */
export function percentiles(values: readonly number[]): Percentiles | null {
  const sorted = values.toSorted((a, b) => a - b);
  const max = sorted.at(-1);
  if (max === undefined) return null;
  const rank = (percent: number) => sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? max;
  return { p50: rank(50), p90: rank(90), p95: rank(95), p99: rank(99), max };
}
