import { byOrder } from '../history/evidence.ts';
import type { Checker } from './violation.ts';

/**
 * I6: what a client was told has happened, has happened and stayed. An order of which a request was answered 200 is COMPLETE with
 * the bill that was shown, unless its member has taken it back since; and an order of which it was told that it is taken back, is.
 * Without it, a shop that says yes and neither charges nor bills would contradict nothing else.
 */
export const checkAcknowledged: Checker = ({ answers, cancels, rows }) => {
  const statusOf = new Map(rows.orders.map(({ orderId, status }) => [orderId, status]));
  const billsOf = byOrder(rows.bills);
  const takenBack = new Set(cancels.filter(({ result }) => result !== 'fail').map(({ orderId }) => orderId));

  const paid = [...byOrder(answers)].flatMap(([orderId, ofOrder]) => {
    const told = ofOrder.filter(({ result }) => result === 'ok');
    const [first] = told;
    const status = statusOf.get(orderId);
    if (first === undefined || (takenBack.has(orderId) && status === 'REFUNDED')) return [];
    const bills = (billsOf.get(orderId) ?? []).map(({ billId }) => billId);
    const lost = told.find(({ billId }) => billId !== undefined && !bills.includes(billId));
    if (bills.length > 0 && lost === undefined && status === 'COMPLETE') return [];
    const { requestId, billId } = lost ?? first;
    const shown = billId === undefined ? '' : ` with bill ${billId}`;
    const found = `${bills.length > 0 ? `bill ${bills.join(', ')}` : 'no bill'} and status ${status ?? 'none, it is unknown to the shop'}`;
    const detail = `order ${orderId}: request ${requestId} was answered 200${shown}, but it has ${found}`;
    return [{ invariant: 'I6' as const, orderId, detail }];
  });
  const canceled = cancels.flatMap(({ orderId, requestId, result, orderStatus }) => {
    const status = statusOf.get(orderId);
    if (result !== 'ok' || (status === orderStatus && (status === 'CANCELED' || status === 'REFUNDED')))
      return [];
    const detail = `order ${orderId}: cancel ${requestId} was answered 200 with status ${orderStatus}, but its status is ${status}`;
    return [{ invariant: 'I6' as const, orderId, detail }];
  });
  return [...paid, ...canceled];
};
