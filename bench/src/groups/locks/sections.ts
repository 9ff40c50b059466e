import { type Percentiles, percentiles } from '../../../../packages/race-lab/src/history/percentiles.ts';
import type { ContendResult } from './load-messages.ts';

/** A section that ran. Times in milliseconds from the start of the round. */
export interface Section {
  readonly worker: number;
  readonly askedMs: number;
  readonly enteredMs: number;
  readonly leftMs: number;
}

/** Those of all processes together. */
export function sectionsOf(results: readonly ContendResult[]): Section[] {
  return results.flatMap(({ workers, askedMs, enteredMs, leftMs }) =>
    Array.from(workers, (worker, index) => ({
      worker,
      askedMs: at(askedMs, index),
      enteredMs: at(enteredMs, index),
      leftMs: at(leftMs, index),
    })),
  );
}

function at(values: Float64Array, index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`there is no section ${index}`);
  return value;
}

/** How many sections began while another one was under way. */
export function overlapsOf(sections: readonly Section[]): number {
  let overlaps = 0;
  let lastLeftMs = Number.NEGATIVE_INFINITY;
  for (const { enteredMs, leftMs } of sections.toSorted((a, b) => a.enteredMs - b.enteredMs)) {
    if (enteredMs < lastLeftMs) overlaps++;
    lastLeftMs = Math.max(lastLeftMs, leftMs);
  }
  return overlaps;
}

/**
 * What was not as a lock must be, one sentence each.
 *
 * @param counted  The steps that the shared counter has made.
 */
export function wrongIn(sections: readonly Section[], counted: number): string[] {
  const overlaps = overlapsOf(sections);
  const lost = sections.length - counted;
  return [
    ...(overlaps > 0
      ? [`${overlaps} of ${sections.length} sections began while another one was under way`]
      : []),
    ...(lost !== 0 ? [`of ${sections.length} sections ${lost} lost what they had written`] : []),
  ];
}

/** Of each caller who was let in, how long he waited for it. */
export function waitsOf(sections: readonly Section[]): Percentiles | null {
  return percentiles(sections.map(({ askedMs, enteredMs }) => enteredMs - askedMs));
}

/** How evenly the workers were served: the sections of the one with the fewest, and with the most, divided by the mean. */
export function shareOf(
  sections: readonly Section[],
  workers: number,
): { readonly least: number; readonly most: number } | null {
  if (sections.length === 0) return null;
  const counts = new Array<number>(workers).fill(0);
  for (const { worker } of sections) counts[worker] = (counts[worker] ?? 0) + 1;
  const mean = sections.length / workers;
  return { least: Math.min(...counts) / mean, most: Math.max(...counts) / mean };
}
