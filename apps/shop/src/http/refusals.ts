import type { RefusalReason } from 'pawl';
import type { CouponObjection } from '../coupons/issue/issue.ts';
import type { IssueRefusal } from '../coupons/issue/strategy.ts';
import type { Objection } from '../lotto/purchase/purchase.ts';

interface Refusal {
  readonly status: number;
  readonly message: string;
}

/** Somebody else may be asking for the same meanwhile, so it speaks of this request alone. */
const CROWDED = 'Others are busy with what this request needs. It had no effect; look before trying again.';

/** From the guards' reasons to the statuses of a purchase. The `code` of the answer is the reason itself. */
export const refusals: Readonly<Record<RefusalReason, Refusal>> = {
  'in-progress': {
    status: 400,
    message: 'This order is being paid already. Look at the order before trying again.',
  },
  'already-done': { status: 400, message: 'This order has been paid.' },
  'wrong-state': { status: 400, message: 'There is no such order waiting to be paid. Look at the order.' },
  'payload-mismatch': { status: 422, message: 'This key was used with another request.' },
  declined: {
    status: 400,
    message: 'The payment was declined and nothing was charged. Try another way to pay.',
  },
  'sold-out': { status: 400, message: 'None are left.' },
  'already-issued': { status: 400, message: 'You have one already.' },
  'not-eligible': { status: 400, message: 'This is not for you.' },
  'not-open': { status: 400, message: 'The sale is closed. Nothing was charged.' },
  'quota-reached': { status: 400, message: 'None are left for today.' },
  'lock-timeout': { status: 400, message: CROWDED },
  contended: { status: 400, message: CROWDED },
  fenced: {
    status: 400,
    message: 'Another request has taken over, and this one had no effect. Look before trying again.',
  },
  overloaded: {
    status: 503,
    message: 'No payment can be taken now. This request charged nothing; try again in a moment.',
  },
};

/** The same for cancelling an order. */
export const cancelRefusals: Readonly<Record<'in-progress' | 'not-open' | 'contended', Refusal>> = {
  'in-progress': refusals['in-progress'],
  'not-open': { status: 400, message: 'The round is over, and its tickets cannot be given back.' },
  contended: refusals.contended,
};

/** The same for coupons. */
export const couponRefusals: Readonly<Record<IssueRefusal, Refusal>> = {
  'not-open': { status: 400, message: 'This coupon is not handed out now.' },
  'not-eligible': { status: 400, message: 'This coupon is for other members.' },
  'already-issued': refusals['already-issued'],
  'sold-out': refusals['sold-out'],
  'quota-reached': refusals['quota-reached'],
  'in-progress': {
    status: 400,
    message: 'A coupon is being issued to you already. Look at your coupons before trying again.',
  },
  'lock-timeout': refusals['lock-timeout'],
  contended: refusals.contended,
  fenced: refusals.fenced,
  overloaded: {
    status: 503,
    message: 'Too many ask at once. Nothing came of this request; try again in a moment.',
  },
};

/** What the error handler answers to a `TooManyRequestsError`, and to a `ConcurrencyFailure`. */
export const TOO_MANY_REQUESTS = { 'too-many-requests': { status: 429 } } as const;
export const CONCURRENCY_FAILURE = { 'concurrency-failure': { status: 500 } } as const;

export const couponObjections: Readonly<Record<CouponObjection, Refusal>> = {
  'coupon-not-found': { status: 404, message: 'There is no such coupon.' },
  'strategy-unavailable': { status: 400, message: 'This strategy needs Redis, and the shop runs without.' },
};

export const objections: Readonly<Record<Objection, Refusal>> = {
  'order-not-found': { status: 404, message: 'There is no such order.' },
  'publish-mismatch': { status: 400, message: 'lottoPublishId does not belong to this order.' },
  'amount-mismatch': { status: 400, message: 'amount is not the amount of this order. Nothing was charged.' },
  'round-closed': { status: 400, message: 'The sale of this round is closed. Nothing was charged.' },
  'payment-given-back': {
    status: 400,
    message: 'This payment came without its order, and its money is given back. Use another payment.',
  },
  'strategy-unavailable': { status: 400, message: 'This strategy needs Redis, and the shop runs without.' },
};
