import { type CompensationFound, type CompensationSent, done } from 'pawl';
import Type, { type Static } from 'typebox';
import Value from 'typebox/value';
import { isNotFound, saysNothing } from './classify.ts';
import type { FoundPayment, PaymentRequest } from './provider.ts';

/** What makes a payment ours. */
export type Expected = Pick<PaymentRequest, 'paymentKey' | 'orderId' | 'amount' | 'currency'>;

const paymentSchema = Type.Object({
  status: Type.String(),
  paymentKey: Type.String(),
  orderId: Type.String(),
  totalAmount: Type.Integer(),
  currency: Type.String(),
  // It is stored and shown: a control character would be refused by the database, whoever settles.
  method: Type.Union([Type.String({ pattern: '^[^\\p{Cc}]{0,32}$' }), Type.Null()]),
});
type PaymentBody = Static<typeof paymentSchema>;

const notFound = { outcome: 'not-found' } as const;
const unknown = (code: string) => ({ outcome: 'unknown', code }) as const;

/**
 * What a payment, as the provider shows it, says about ours.
 *
 * Somebody may confirm his order with the payment key of another: a payment of another key, order, amount or currency is
 * none of ours, and so it is not found, be it captured or not.
 */
export function judgePayment(expected: Expected, body: unknown): FoundPayment {
  if (!Value.Check(paymentSchema, body)) return unknown('UNREADABLE_ANSWER');
  if (!isOurs(expected, body)) return notFound;
  // Half of the money is with us, and half is not: no rule settles that.
  if (body.status === 'PARTIAL_CANCELED') return unknown('PARTIAL_CANCELED');
  if (body.status !== 'DONE') return notFound;
  const { paymentKey, orderId, totalAmount, currency, method } = body;
  return done({ paymentKey, orderId, totalAmount, currency, method: method ?? 'UNKNOWN' });
}

/** What it says about giving ours back. */
export function judgeCanceled(expected: Expected, body: unknown): CompensationFound {
  if (!Value.Check(paymentSchema, body)) return unknown('UNREADABLE_ANSWER');
  if (!isOurs(expected, body)) return notFound;
  switch (body.status) {
    case 'CANCELED':
      return { outcome: 'done' };
    case 'DONE':
      return { outcome: 'standing' };
    case 'PARTIAL_CANCELED':
      return unknown('PARTIAL_CANCELED');
    default:
      return notFound;
  }
}

/** What an error code says when a payment was looked up. */
export function judgeLookUpError(code: string): typeof notFound | ReturnType<typeof unknown> {
  return isNotFound(code) ? notFound : unknown(code);
}

/** What an error code says when a payment was to be given back. */
export function judgeCancelError(code: string): CompensationSent {
  if (code === 'ALREADY_CANCELED_PAYMENT') return { outcome: 'done' };
  return { outcome: saysNothing(code) ? 'unknown' : 'refused', code };
}

function isOurs(expected: Expected, found: PaymentBody): boolean {
  return (
    found.paymentKey === expected.paymentKey &&
    found.orderId === expected.orderId &&
    found.totalAmount === expected.amount &&
    found.currency === expected.currency
  );
}
