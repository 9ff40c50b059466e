import { byOrder } from '../history/evidence.ts';
import type { Checker } from './violation.ts';

/**
 * I6: what a client was told has happened, has happened and stayed: an order of which a request was answered
 * 200 has a bill and is COMPLETE. (In a purchase race nobody cancels.) Without it, a shop that says yes and
 * neither charges nor bills would contradict nothing else.
 */
export const checkAcknowledged: Checker = ({ answers, rows }) => {
  const statusOf = new Map(rows.orders.map(({ orderId, status }) => [orderId, status]));
  const billed = new Set(rows.bills.map(({ orderId }) => orderId));
  return [...byOrder(answers)].flatMap(([orderId, ofOrder]) => {
    const paid = ofOrder.find(({ result }) => result === 'ok');
    const status = statusOf.get(orderId);
    if (paid === undefined || (billed.has(orderId) && status === 'COMPLETE')) return [];
    const found = `${billed.has(orderId) ? 'a bill' : 'no bill'} and status ${status ?? 'none, it is unknown to the shop'}`;
    const detail = `order ${orderId}: request ${paid.requestId} was answered 200, but it has ${found}`;
    return [{ invariant: 'I6', orderId, detail }];
  });
};
