import type { Payment, Transaction } from '../book.ts';

/** The payment as it was before the hidden captures and refunds, its last ones, happened. */
export function shown(payment: Payment, hidden: (transaction: Transaction) => boolean): Payment {
  const transactions = payment.transactions.filter((transaction) => !hidden(transaction));
  if (transactions.length === payment.transactions.length) return payment;
  const left = new Set(transactions.map(({ transactionKey }) => transactionKey));
  const refunds = payment.refunds.filter(({ refundId }) => left.has(refundId));
  const refundedOf = (captureId: string) =>
    refunds.reduce((sum, refund) => (refund.captureId === captureId ? sum + refund.amount : sum), 0);
  const captures = payment.captures
    .filter(({ captureId }) => left.has(captureId))
    .map((capture) => ({ ...capture, refundedAmount: refundedOf(capture.captureId) }));
  return { session: payment.session, captures, refunds, transactions };
}
