import { byOrder } from '../history/evidence.ts';
import type { BillRow, OrderRow } from '../history/shop-rows.ts';
import { moneyMoves } from './captures.ts';
import type { Checker } from './violation.ts';

/**
 * I2, at quiescence: money, bills and statuses tell the same story. An order that stands charged once has
 * exactly one bill, which is its member's and names the payment, the provider kept exactly its amount in its
 * currency, and it is COMPLETE. An order that does not stand charged has no bill that stands, no money kept, and is not
 * COMPLETE; where money was given back it may be REFUNDED, and only there. Nobody paid for, and nothing was billed for, an order that the shop does not know.
 */
export const checkMoneyAndBills: Checker = ({ ledger, rows }) => {
  const orders = new Map(rows.orders.map((order) => [order.orderId, order]));
  const billsOf = byOrder(rows.bills);
  const movesOf = byOrder(moneyMoves(ledger));
  return [...new Set([...orders.keys(), ...billsOf.keys(), ...movesOf.keys()])].flatMap((orderId) => {
    const order = orders.get(orderId);
    const bills = billsOf.get(orderId) ?? [];
    const moves = movesOf.get(orderId) ?? [];
    const details = order === undefined ? strayDetails(bills, moves) : orderDetails(order, bills, moves);
    return details.map((detail) => ({ invariant: 'I2', orderId, detail: `order ${orderId}: ${detail}` }));
  });
};

type MoneyMoves = ReturnType<typeof moneyMoves>;

function strayDetails(bills: readonly BillRow[], moves: MoneyMoves): string[] {
  const details: string[] = [];
  if (bills.length > 0) details.push(`unknown to the shop, but billed (${ids(bills)})`);
  if (moves.length > 0) {
    const seqs = moves.map(({ type, seq }) => `${type} #${seq}`).join(', ');
    details.push(`unknown to the shop, but the provider moved money for it (ledger ${seqs})`);
  }
  return details;
}

function orderDetails(order: OrderRow, bills: readonly BillRow[], moves: MoneyMoves): string[] {
  const details: string[] = [];
  const captures = moves.filter((move) => move.type === 'capture');
  const refunds = moves.filter((move) => move.type === 'refund');
  const net = captures.length - refunds.length;
  const kept = sum(captures) - sum(refunds);
  const due = net === 0 ? 0 : order.amount;
  if (net !== 0 && net !== 1) {
    details.push(
      `${captures.length} captures and ${refunds.length} refunds leave ${net} payments, not 0 or 1`,
    );
  } else if (kept !== due) {
    details.push(`the provider kept ${kept}, not ${due}`);
  }
  for (const { captureId, currency } of captures) {
    if (currency !== order.currency) {
      details.push(`${captureId} was taken in ${currency}, the order is in ${order.currency}`);
    }
  }
  const owedBills = net === 0 ? 0 : 1;
  if (bills.length !== owedBills) {
    details.push(
      `${bills.length} bills for ${net} standing payments, not ${owedBills}${bills.length > 0 ? ` (${ids(bills)})` : ''}`,
    );
  }
  if ((order.status === 'COMPLETE') !== (net !== 0)) {
    details.push(`status ${order.status} with ${net} standing payments`);
  }
  if (order.status === 'REFUNDED' && refunds.length === 0) details.push('status REFUNDED without a refund');
  if (order.status === 'REFUNDING') details.push('status REFUNDING, so its money is on the way');
  const refunded = new Set(refunds.map(({ captureId }) => captureId));
  const standing = captures.filter(({ captureId }) => !refunded.has(captureId));
  for (const bill of bills) {
    if (bill.memberId !== order.memberId) {
      details.push(
        `bill ${bill.billId} is member ${bill.memberId}'s, the order is member ${order.memberId}'s`,
      );
    }
    if (bill.amount !== order.amount) {
      details.push(`bill ${bill.billId} says ${bill.amount}, the order's amount is ${order.amount}`);
    }
    if (!standing.some(({ paymentKey }) => paymentKey === bill.paymentKey)) {
      details.push(
        `bill ${bill.billId} names payment ${bill.paymentKey}, which does not stand for this order`,
      );
    }
  }
  return details;
}

function sum(moves: readonly { amount: number }[]): number {
  return moves.reduce((total, { amount }) => total + amount, 0);
}

function ids(bills: readonly BillRow[]): string {
  return bills.map(({ billId }) => billId).join(', ');
}
