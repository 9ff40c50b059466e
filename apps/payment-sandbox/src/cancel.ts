import { randomUUID } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { type Answer, refusal, success } from './answer.ts';
import { type Book, balanceOf } from './book.ts';
import { Amount, CURRENCY } from './fields.ts';
import type { Decision } from './ledger.ts';
import { paymentBody } from './payment.ts';

export const CancelBody = Type.Object(
  {
    cancelReason: Type.String({ minLength: 1, maxLength: 200 }),
    /** Absent: all that is left. */
    cancelAmount: Type.Optional(Amount),
    /** Refuses the cancel when the provider's balance is another. */
    refundableAmount: Type.Optional(Amount),
    currency: Type.Optional(Type.Literal(CURRENCY)),
    taxFreeAmount: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })),
    refundReceiveAccount: Type.Optional(
      Type.Object(
        { bank: Type.String(), accountNumber: Type.String(), holderName: Type.String() },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);

/** Decides a cancel now: gives back all or part of the balance, or says why not. Oldest capture first. */
export function cancel(
  book: Book,
  decision: Decision,
  paymentKey: string,
  request: Static<typeof CancelBody>,
  requestId: string | null,
): Answer {
  const payment = book.payment(paymentKey);
  if (payment === undefined) return refusal('NOT_FOUND_PAYMENT');
  if (payment.captures.length === 0) return refusal('NOT_CANCELABLE_PAYMENT');
  const balance = balanceOf(payment);
  if (balance === 0) return refusal('ALREADY_CANCELED_PAYMENT');
  const { cancelReason, cancelAmount = balance, refundableAmount = balance } = request;
  if (refundableAmount !== balance) return refusal('NOT_MATCHES_REFUNDABLE_AMOUNT');
  if (cancelAmount > balance) return refusal('NOT_CANCELABLE_AMOUNT');
  let left = cancelAmount;
  for (const capture of payment.captures) {
    const amount = Math.min(left, capture.amount - capture.refundedAmount);
    if (amount === 0) continue;
    left -= amount;
    decision.append({
      type: 'refund',
      refundId: `ref_${randomUUID()}`,
      captureId: capture.captureId,
      paymentKey,
      orderId: payment.session.orderId,
      amount,
      cancelReason,
      requestId,
    });
  }
  return success(paymentBody(payment, decision.atMs));
}
