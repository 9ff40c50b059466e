import { spreadOf } from './statistics.ts';

/** What a ratio is held to. */
export interface Demand {
  readonly bound: 'at-least' | 'at-most';
  /** What it must reach. */
  readonly floor: number;
  /** What is aimed at; null where nothing more is. */
  readonly aim: number | null;
}

/** A ratio of one run, and whether it holds. */
export interface Ratio extends Demand {
  /** The median of the rounds; null when there is none to be had. */
  readonly value: number | null;
  readonly min: number | null;
  readonly max: number | null;
  /** Whether `value` reaches the floor. False also of what was measured and is wrong; null: it was not measured. */
  readonly holds: boolean | null;
}

/**
 * Judges what the rounds showed.
 *
 * @param rounds  Null: not to be had, as when the row that it is compared with did not come to its end.
 */
export function judge(rounds: readonly number[] | null, demand: Demand): Ratio {
  const spread = rounds === null ? null : spreadOf(rounds);
  if (spread === null) return { ...demand, value: null, min: null, max: null, holds: null };
  const { median, min, max } = spread;
  const holds = demand.bound === 'at-least' ? median >= demand.floor : median <= demand.floor;
  return { ...demand, value: median, min, max, holds };
}

/** More than this share of all processors was used by others before: what is measured beside them says nothing of speed. */
const MOST_BUSY = 0.5;

/** Ratios that miss what is demanded of them are not judged where the machine did something else; wrong results are. */
export function judgedOn(
  processorsBefore: number,
  ratios: Readonly<Record<string, Ratio>>,
): Record<string, Ratio> {
  if (processorsBefore <= MOST_BUSY) return { ...ratios };
  return Object.fromEntries(
    Object.entries(ratios).map(([name, ratio]) => [
      name,
      ratio.value === null || ratio.holds ? ratio : { ...ratio, holds: null },
    ]),
  );
}

/** Of what gave wrong results: how fast it did so says nothing. */
export function wrong(demand: Demand): Ratio {
  return { ...demand, value: null, min: null, max: null, holds: false };
}
