import type { Answer } from './answer.ts';
import type { CancelAnswer } from './cancel-answer.ts';
import type { LedgerEvent } from './ledger.ts';
import type { ShopRows } from './shop-rows.ts';

/**
 * Everything that a verdict is made from: what the clients were told, what the provider did, what the shop kept.
 *
 * All three speak of one run, whole: a ledger that begins after the run's first order, or rows without some of
 * its orders, would be read as the shop's fault. The orders of the run are those that `answers` name.
 */
export interface Evidence {
  answers: readonly Answer[];
  /** What members were told who took their orders back. */
  cancels: readonly CancelAnswer[];
  ledger: readonly LedgerEvent[];
  rows: ShopRows;
}

/**
 * The same evidence without the given orders: those of earlier runs on the same store.
 *
 * It takes away instead of keeping only the run's own orders, so that a capture or a bill of an order that
 * nobody knows stays in sight.
 */
export function withoutOrders(evidence: Evidence, orderIds: ReadonlySet<string>): Evidence {
  const remains = ({ orderId }: { orderId: string }) => !orderIds.has(orderId);
  const { answers, cancels, ledger, rows } = evidence;
  return {
    answers: answers.filter(remains),
    cancels: cancels.filter(remains),
    ledger: ledger.filter(
      (event) => !('orderId' in event) || event.orderId === null || !orderIds.has(event.orderId),
    ),
    rows: {
      orders: rows.orders.filter(remains),
      bills: rows.bills.filter(remains),
      audit: rows.audit.filter(remains),
    },
  };
}

/** The items of each order, in their given order. */
export function byOrder<Item extends { orderId: string }>(items: Iterable<Item>): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(item.orderId);
    if (group === undefined) groups.set(item.orderId, [item]);
    else group.push(item);
  }
  return groups;
}
