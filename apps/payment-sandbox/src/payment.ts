import { type Static, Type } from 'typebox';
import { balanceOf, type Payment, type Transaction } from './book.ts';

const Text = Type.String();
const Moment = Type.String({ format: 'date-time' });

/** The provider's payment object. All amounts are in won. */
export const PaymentBody = Type.Object({
  version: Text,
  paymentKey: Text,
  type: Type.Literal('NORMAL'),
  orderId: Text,
  orderName: Text,
  mId: Text,
  currency: Text,
  method: Type.Literal('CARD'),
  /** What the session asks for, however often it was captured. */
  totalAmount: Type.Integer(),
  /** What was captured and not given back, over all captures. */
  balanceAmount: Type.Integer(),
  status: Type.Union([
    Type.Literal('IN_PROGRESS'),
    Type.Literal('DONE'),
    Type.Literal('CANCELED'),
    Type.Literal('PARTIAL_CANCELED'),
    Type.Literal('EXPIRED'),
  ]),
  requestedAt: Moment,
  approvedAt: Type.Union([Moment, Type.Null()]),
  lastTransactionKey: Type.Union([Text, Type.Null()]),
  /** One entry for each refund; null, as the provider has it, while there is none. */
  cancels: Type.Union([
    Type.Array(
      Type.Object({
        transactionKey: Text,
        cancelAmount: Type.Integer(),
        cancelReason: Text,
        canceledAt: Moment,
        cancelStatus: Type.Literal('DONE'),
      }),
    ),
    Type.Null(),
  ]),
  failure: Type.Null(),
});

export const TransactionBody = Type.Object({
  mId: Text,
  transactionKey: Text,
  paymentKey: Text,
  orderId: Text,
  method: Type.Literal('CARD'),
  /** DONE is a capture. The others are refunds, named for what they left of the payment. */
  status: Type.Union([Type.Literal('DONE'), Type.Literal('CANCELED'), Type.Literal('PARTIAL_CANCELED')]),
  transactionAt: Moment,
  currency: Text,
  /** Positive for refunds too: the status says which way the money went. */
  amount: Type.Integer(),
});

const merchant = { mId: 'sandbox', method: 'CARD' } as const;

/** @param nowMs  Decides whether an unpaid session is still open. */
export function paymentBody(payment: Payment, nowMs: number): Static<typeof PaymentBody> {
  const { session, captures, refunds, transactions } = payment;
  return {
    version: '2022-11-16',
    paymentKey: session.paymentKey,
    type: 'NORMAL',
    orderId: session.orderId,
    orderName: `Order ${session.orderId}`,
    ...merchant,
    currency: session.currency,
    totalAmount: session.amount,
    balanceAmount: balanceOf(payment),
    status: statusOf(payment, nowMs),
    requestedAt: session.at,
    approvedAt: captures[0]?.at ?? null,
    lastTransactionKey: transactions.at(-1)?.transactionKey ?? null,
    cancels:
      refunds.length === 0
        ? null
        : refunds.map((refund) => ({
            transactionKey: refund.refundId,
            cancelAmount: refund.amount,
            cancelReason: refund.cancelReason,
            canceledAt: refund.at,
            cancelStatus: 'DONE',
          })),
    failure: null,
  };
}

export function transactionBody({ at, ...transaction }: Transaction): Static<typeof TransactionBody> {
  return { ...merchant, ...transaction, transactionAt: at };
}

export function hasEnded({ session }: Payment, nowMs: number): boolean {
  return nowMs >= Date.parse(session.expiresAt);
}

function statusOf(payment: Payment, nowMs: number): Static<typeof PaymentBody>['status'] {
  if (payment.captures.length === 0) return hasEnded(payment, nowMs) ? 'EXPIRED' : 'IN_PROGRESS';
  if (payment.refunds.length === 0) return 'DONE';
  return balanceOf(payment) === 0 ? 'CANCELED' : 'PARTIAL_CANCELED';
}
