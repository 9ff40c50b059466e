import { byOrder } from '../history/evidence.ts';
import type { Checker } from './violation.ts';

/** Where an order may go from each status. From a terminal one, nowhere. */
const NEXT: ReadonlyMap<string, readonly string[]> = new Map([
  ['WAITING', ['PENDING', 'CANCELED']],
  ['PENDING', ['COMPLETE', 'WAITING', 'REFUNDING']],
  ['COMPLETE', ['REFUNDING']],
  ['REFUNDING', ['REFUNDED']],
  ['REFUNDED', []],
  ['CANCELED', []],
]);

/**
 * I13: the audit of each order is one unbroken path along allowed edges. It starts at WAITING, each change
 * starts where the one before it ended, none leaves a terminal status, and the order is now where it ends.
 */
export const checkStatusChanges: Checker = ({ rows }) => {
  const orders = new Map(rows.orders.map((order) => [order.orderId, order]));
  const auditOf = byOrder(rows.audit);
  return [...new Set([...orders.keys(), ...auditOf.keys()])].flatMap((orderId) => {
    const details: string[] = [];
    let status = 'WAITING';
    for (const { id, from, to, requestId } of auditOf.get(orderId) ?? []) {
      const change = `audit ${id} (${from} → ${to}, request ${requestId})`;
      if (from !== status) details.push(`${change} does not start at ${status}, where the order was`);
      const allowed = NEXT.get(from);
      if (allowed?.length === 0) details.push(`${change} leaves a terminal status`);
      else if (!allowed?.includes(to)) details.push(`${change} is not an allowed change`);
      status = to;
    }
    const order = orders.get(orderId);
    if (order === undefined) details.push('its status was changed, but the shop does not know it');
    else if (order.status !== status) details.push(`status ${order.status}, but its audit ends at ${status}`);
    return details.map((detail) => ({ invariant: 'I13', orderId, detail: `order ${orderId}: ${detail}` }));
  });
};
