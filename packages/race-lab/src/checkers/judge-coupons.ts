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

/**
 * Judges a race for coupons. `pass`: every checker ran and found nothing. `fail`: a violation. `unknown`: a checker could
 * not judge (also one search for an order that was given up), or the evidence shows no race: there is no campaign, or one of
 * which no request was answered `ok` and nothing was issued. Then the lab's own requests may be what is wrong, and a wrong
 * strategy must not pass for caught.
 *
 * Who is granted one needs no least number: everybody must be who could.
 */
export function judgeCoupons(evidence: CouponEvidence): Judgement<CouponViolation> {
  const { violations, crashes } = runCheckers(faultlessCouponCheckers, evidence);
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
  return { verdict: violations.length > 0 ? 'fail' : 'pass', violations, unknownBecause: null };
}
