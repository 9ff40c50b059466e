import type { Evidence } from '../history/evidence.ts';

/** The invariants of a purchase that a checker judges. */
export type Invariant = 'I0' | 'I1a' | 'I1b' | 'I2' | 'I3' | 'I6' | 'I7' | 'I13';

/** One way in which what happened is not what must always hold. */
export interface Violation {
  invariant: Invariant;
  orderId: string;
  /** One sentence with the numbers and the ids that somebody needs to look for the cause. */
  detail: string;
}

/** Judges one family of invariants. Pure; it throws only when the evidence cannot be judged at all. */
export type Checker = (evidence: Evidence) => Violation[];

export interface ViolationSummary {
  invariant: Invariant;
  count: number;
  /** The detail of the first one. */
  first: string;
}

/** The violations as the report has them: one line an invariant, in the order of their first violation. */
export function summarise(violations: readonly Violation[]): ViolationSummary[] {
  const summaries = new Map<Invariant, ViolationSummary>();
  for (const { invariant, detail } of violations) {
    const summary = summaries.get(invariant);
    if (summary === undefined) summaries.set(invariant, { invariant, count: 1, first: detail });
    else summary.count += 1;
  }
  return [...summaries.values()];
}
