import { byOrder } from '../history/evidence.ts';
import type { CaptureEvent } from '../history/ledger.ts';
import type { AuditRow } from '../history/shop-rows.ts';
import type { Checker } from './violation.ts';

/**
 * I7: who was definitely refused (4xx) caused nothing that stands. Nothing was captured under such a request's id that was
 * not given back, and it changed no status, except that it may have claimed the order and given it back
 * (WAITING → PENDING → WAITING), or given back the money (WAITING → PENDING → REFUNDING → REFUNDED).
 *
 * A request id may not have reached the provider, so there is a second rule: an order of which every request
 * was refused has no capture, no bill, and is not COMPLETE.
 */
export const checkRefusals: Checker = ({ answers, ledger, rows }) => {
  const refunds = Map.groupBy(
    ledger.filter((event) => event.type === 'refund'),
    ({ captureId }) => captureId,
  );
  const isKept = ({ captureId, amount }: CaptureEvent) =>
    (refunds.get(captureId) ?? []).reduce((left, refund) => left - refund.amount, amount) > 0;
  const captures = ledger.filter((event) => event.type === 'capture').filter(isKept);
  const orders = new Map(rows.orders.map((order) => [order.orderId, order]));
  const capturesBy = Map.groupBy(captures, ({ requestId }) => requestId);
  const changesBy = Map.groupBy(rows.audit, ({ requestId }) => requestId);
  const capturesOf = byOrder(captures);
  const billsOf = byOrder(rows.bills);

  return [...byOrder(answers)].flatMap(([orderId, ofOrder]) => {
    const details: string[] = [];
    const refused = ofOrder.filter(({ result }) => result === 'fail');
    for (const { requestId, status } of refused) {
      for (const { captureId, seq, orderId: charged } of capturesBy.get(requestId) ?? []) {
        details.push(
          `request ${requestId} was refused (${status}), but made capture ${captureId} of ${charged} (ledger #${seq})`,
        );
      }
      const changes = changesBy.get(requestId) ?? [];
      if (changes.length > 0 && !isUndone(changes)) {
        const path = changes.map(({ from, to, id }) => `${from} → ${to} (audit ${id})`).join(', ');
        details.push(`request ${requestId} was refused (${status}), but changed the status: ${path}`);
      }
    }
    if (refused.length === ofOrder.length) {
      const effects = [
        ...(capturesOf.get(orderId) ?? []).map(({ captureId }) => `capture ${captureId}`),
        ...(billsOf.get(orderId) ?? []).map(({ billId }) => `bill ${billId}`),
      ];
      if (orders.get(orderId)?.status === 'COMPLETE') effects.push('status COMPLETE');
      if (effects.length > 0) {
        details.push(`all ${ofOrder.length} requests were refused, but it has ${effects.join(', ')}`);
      }
    }
    return details.map((detail) => ({ invariant: 'I7', orderId, detail: `order ${orderId}: ${detail}` }));
  });
};

/** The ways on which one request leaves everything as it was. */
const UNDONE = [
  'WAITING → PENDING, PENDING → WAITING',
  'WAITING → PENDING, PENDING → REFUNDING, REFUNDING → REFUNDED',
];

function isUndone(changes: readonly AuditRow[]): boolean {
  const path = changes.map(({ from, to }) => `${from} → ${to}`).join(', ');
  const orders = new Set(changes.map(({ orderId }) => orderId));
  return UNDONE.includes(path) && orders.size === 1;
}
