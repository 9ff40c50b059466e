import { byMember } from '../history/campaign.ts';
import { byCampaign, type CouponEvidence } from '../history/coupon-evidence.ts';
import { checkGrants } from './coupons/grants.ts';
import { checkKeptAsTold } from './coupons/kept-as-told.ts';
import { checkOnceEach } from './coupons/once-each.ts';
import { checkOrder } from './coupons/order.ts';
import { checkStock } from './coupons/stock.ts';
import { type Judgement, runCheckers } from './judgement.ts';
import type { CouponChecker, CouponViolation } from './violation.ts';

/** What must hold in a race for coupons without faults. */
const faultlessCouponCheckers: readonly CouponChecker[] = [
  checkGrants,
  checkStock,
  checkOnceEach,
  checkKeptAsTold,
  checkOrder,
];

export interface JudgeCouponsOptions {
  checkers?: readonly CouponChecker[];
  /** Least share of the members who asked, up to 1, that must have been answered `ok` to pass; absent: none. */
  minGrantedShare?: number;
}

/**
 * Judges a race for coupons. `pass`: every checker ran and found nothing. `fail`: a violation. `unknown`: a checker could
 * not judge (also one search for an order that was given up), or the evidence shows no race: there is no campaign, or one of
 * which no request was answered `ok` and nothing was issued. Then the lab's own requests may be what is wrong, and a wrong
 * strategy must not pass for caught.
 *
 * Without faults it needs no least number of those who are granted one: everybody must be who could.
 */
export function judgeCoupons(
  evidence: CouponEvidence,
  { checkers = faultlessCouponCheckers, minGrantedShare = 0 }: JudgeCouponsOptions = {},
): Judgement<CouponViolation> {
  const { violations, crashes } = runCheckers(checkers, evidence);
  const unknown = (unknownBecause: string): Judgement<CouponViolation> => ({
    verdict: 'unknown',
    violations,
    unknownBecause,
  });
  if (crashes.length > 0) return unknown(crashes.join('; '));
  if (evidence.campaigns.length === 0) return unknown('there was no campaign');
  for (const { campaign, answers, issued } of byCampaign(evidence)) {
    if (issued.length > 0 || answers.some(({ result }) => result === 'ok')) continue;
    return unknown(
      `no request of ${answers.length} for coupon ${campaign.couponId} was answered 200, and nothing was issued`,
    );
  }
  if (violations.length > 0) return { verdict: 'fail', violations, unknownBecause: null };
  for (const { campaign, answers } of byCampaign(evidence)) {
    const asked = byMember(answers);
    const granted = [...asked.values()].filter((ofMember) =>
      ofMember.some(({ result }) => result === 'ok'),
    ).length;
    if (granted >= asked.size * minGrantedShare) continue;
    const share = `fewer than ${minGrantedShare * 100} %`;
    return unknown(`only ${granted} of ${asked.size} members got coupon ${campaign.couponId}, ${share}`);
  }
  return { verdict: 'pass', violations, unknownBecause: null };
}
