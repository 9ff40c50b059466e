import { type Percentiles, percentiles } from './percentiles.ts';

/** How long many answers took: their percentiles, and how they lie between them. */
export interface LatencyDistribution extends Percentiles {
  /** Bins by their beginning, without the empty ones. Absent in a report of an earlier version. */
  histogram?: readonly LatencyBin[];
}

/** Values from `fromMs` on and below `toMs`. */
export interface LatencyBin {
  fromMs: number;
  toMs: number;
  count: number;
}

/**
 * A tenfold takes so many bins: each ends an eighth after it begins, so that a millisecond and a second are told equally well. All
 * runs have the same bins, and can be added up.
 */
const BINS_A_TENFOLD = 20;
/** What is faster falls into the first bin. */
const LEAST_MS = 0.1;

/** Null when there are no values. */
export function latencyDistribution(valuesMs: readonly number[]): LatencyDistribution | null {
  const found = percentiles(valuesMs);
  return found && { ...found, histogram: histogram(valuesMs) };
}

function histogram(valuesMs: readonly number[]): LatencyBin[] {
  const counts = new Map<number, number>();
  for (const ms of valuesMs) {
    const bin = binOf(ms);
    counts.set(bin, (counts.get(bin) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([bin, count]) => ({ fromMs: bin === 0 ? 0 : edgeMs(bin), toMs: edgeMs(bin + 1), count }));
}

function binOf(ms: number): number {
  const near = Math.max(0, Math.floor(Math.log10(ms / LEAST_MS) * BINS_A_TENFOLD));
  // The edges are rounded, so that a value beside one may belong to a neighbour.
  if (ms >= edgeMs(near + 1)) return near + 1;
  return near > 0 && ms < edgeMs(near) ? near - 1 : near;
}

/** Rounded to four figures, since it is read in a file. */
function edgeMs(bin: number): number {
  return Number((LEAST_MS * 10 ** (bin / BINS_A_TENFOLD)).toPrecision(4));
}
