import type { CouponAnswer } from '../../history/coupon-answer.ts';
import { byCampaign, type CouponEvidence } from '../../history/coupon-evidence.ts';
import type { CouponViolation } from '../violation.ts';
import { searchMemberOrders } from './member-order.ts';
import { searchStockOrder } from './stock-order.ts';

/** It is not known whether answers have an order: the search was given up. */
class UndecidedOrderError extends Error {
  override readonly name = 'UndecidedOrderError';
  readonly code = 'UNDECIDED_ORDER';
}

/**
 * I10: the answers about one coupon have an order, in which whatever was answered before another was asked comes before it,
 * and in which the stock, giving out one after the other, says what they say: how many are left, that none is left, that the
 * day's quota is used up. The answers of each member have one, too: he is given one, and has one from then on.
 *
 * Of the rows only the days are used that the issues count for.
 *
 * @throws UndecidedOrderError  when a search was given up; what is found by the others was told before.
 */
export function* checkOrder(evidence: CouponEvidence): Generator<CouponViolation> {
  const undecided: string[] = [];
  for (const one of byCampaign(evidence)) {
    const { couponId } = one.campaign;
    const stock = { about: `the answers about coupon ${couponId}`, search: searchStockOrder(one) };
    const members = searchMemberOrders(one).map(({ memberId, search }) => ({
      about: `the answers to member ${memberId}`,
      search,
    }));
    for (const { about, search } of [stock, ...members]) {
      if (search.order === 'unknown') undecided.push(`${about}: no order after ${search.steps} steps`);
      if (search.order !== 'none') continue;
      const { stuck, placed, leaves } = search;
      const detail = `${about} have no order: after ${placed} of them ${leaves}, and ${told(stuck, one.answers)} does not fit`;
      yield { invariant: 'I10', couponId, detail: `coupon ${couponId}: ${detail}` };
    }
  }
  if (undecided.length > 0) throw new UndecidedOrderError(undecided.join('; '));
}

/** What a request was told, and when it was asked and answered: since the first request. */
function told(answer: CouponAnswer, answers: readonly CouponAnswer[]): string {
  const { requestId, memberId, releasedAtUs, answeredAtUs, code, remaining } = answer;
  const startUs = answers.reduce((first, one) => Math.min(first, one.releasedAtUs), releasedAtUs);
  const [asked, answered] = [releasedAtUs, answeredAtUs].map(
    (us) => `+${((us - startUs) / 1000).toFixed(1)} ms`,
  );
  const what = code ?? (remaining === undefined ? 'a success' : `${remaining} left`);
  return `${what} to request ${requestId} of member ${memberId} (asked ${asked}, answered ${answered})`;
}
