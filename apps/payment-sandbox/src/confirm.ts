import { randomUUID } from 'node:crypto';
import { type Static, Type } from 'typebox';
import { type Answer, refusal, success } from './answer.ts';
import type { Book, Payment } from './book.ts';
import { Amount, CURRENCY, OrderId, PaymentKey } from './fields.ts';
import type { Decision } from './ledger.ts';
import type { Mode } from './options.ts';
import { hasEnded, paymentBody } from './payment.ts';
import { openSession } from './session.ts';

export const ConfirmBody = Type.Object(
  { paymentKey: PaymentKey, orderId: OrderId, amount: Amount },
  { additionalProperties: false },
);

export interface ConfirmRules {
  readonly mode: Mode;
  readonly autoSession: boolean;
  readonly sessionMs: number;
  readonly alreadyProcessedGuard: boolean;
}

/** Decides a confirm now: captures, or says why not. */
export function confirm(
  book: Book,
  rules: ConfirmRules,
  decision: Decision,
  request: Static<typeof ConfirmBody>,
  requestId: string | null,
): Answer {
  const { paymentKey, orderId, amount } = request;
  if (rules.autoSession && book.payment(paymentKey) === undefined)
    openSession(decision, request, rules.sessionMs);
  const payment = book.payment(paymentKey);
  if (payment === undefined) return refusal('NOT_FOUND_PAYMENT');
  const { session } = payment;
  if (session.orderId !== orderId || session.amount !== amount)
    return refusal('INVALID_REQUEST', 'The order id or the amount is not that of the payment key.');
  // Before the session's end, and not after it: the end says nothing about money that was already taken,
  // and NOT_FOUND_PAYMENT_SESSION would tell the caller that none was.
  const repeated = refusalOfRepeat(rules, payment);
  if (repeated !== undefined) return repeated;
  if (hasEnded(payment, decision.atMs)) return refusal('NOT_FOUND_PAYMENT_SESSION');
  decision.append({
    type: 'capture',
    captureId: `cap_${randomUUID()}`,
    paymentKey,
    orderId,
    amount,
    currency: CURRENCY,
    requestId,
  });
  return success(paymentBody(payment, decision.atMs));
}

function refusalOfRepeat(rules: ConfirmRules, { captures }: Payment): Answer | undefined {
  if (captures.length === 0 || rules.mode === 'generous') return undefined;
  if (rules.mode === 'as-published') return refusal('DUPLICATE_PAYMENT_KEY');
  return rules.alreadyProcessedGuard ? refusal('ALREADY_PROCESSED_PAYMENT') : undefined;
}
