import type { CouponEvidence } from '../history/coupon-evidence.ts';
import type { Evidence } from '../history/evidence.ts';

/** The invariants that a checker judges. */
export type Invariant =
  | 'I0'
  | 'I1a'
  | 'I1b'
  | 'I2'
  | 'I3'
  | 'I4'
  | 'I5'
  | 'I6'
  | 'I7'
  | 'I8'
  | 'I9'
  | 'I10'
  | 'I13'
  | 'I14';

/** One way in which what happened is not what must always hold. */
export interface Finding {
  invariant: Invariant;
  /** One sentence with the numbers and the ids that somebody needs to look for the cause. */
  detail: string;
}

/** A finding about an order. */
export interface Violation extends Finding {
  orderId: string;
}

/** A finding about a coupon. */
export interface CouponViolation extends Finding {
  couponId: string;
}

/** Judges one family of invariants. Pure; it throws only when the evidence cannot be judged at all. */
export type Checker = (evidence: Evidence) => Violation[];

/**
 * Judges one family of invariants of coupons. Pure; it throws only when something cannot be judged, and what it has found
 * by then counts.
 */
export type CouponChecker = (evidence: CouponEvidence) => Iterable<CouponViolation>;

export interface ViolationSummary {
  invariant: Invariant;
  count: number;
  /** The detail of the first one. */
  first: string;
}

/** The violations as the report has them: one line an invariant, in the order of their first violation. */
export function summarise(violations: readonly Finding[]): ViolationSummary[] {
  const summaries = new Map<Invariant, ViolationSummary>();
  for (const { invariant, detail } of violations) {
    const summary = summaries.get(invariant);
    if (summary === undefined) summaries.set(invariant, { invariant, count: 1, first: detail });
    else summary.count += 1;
  }
  return [...summaries.values()];
}
