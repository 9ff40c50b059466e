import { byOrder } from '../history/evidence.ts';
import type { CaptureEvent, LedgerEvent, RefundEvent } from '../history/ledger.ts';
import type { Checker, Violation } from './violation.ts';

/** The events that moved money, in the order in which they happened. */
export function moneyMoves(ledger: readonly LedgerEvent[]): (CaptureEvent | RefundEvent)[] {
  return ledger.filter((event) => event.type === 'capture' || event.type === 'refund');
}

/**
 * I1a: at no moment does an order stand charged more than once (captures − refunds ≤ 1 at every prefix of the
 * ledger, where a refund counts once it has given its capture back in full). I1b, stronger: it was never charged twice, not even with a refund in between.
 */
export const checkCaptures: Checker = ({ ledger }) =>
  [...byOrder(moneyMoves(ledger))].flatMap(([orderId, moves]) => {
    const violations: Violation[] = [];
    const captures: CaptureEvent[] = [];
    /** What is left of each capture; one stands until it is given back in full. */
    const left: { captureId: string; amount: number }[] = [];
    let worst: { standing: number; seq: number } | undefined;
    for (const move of moves) {
      const { captureId, amount } = move;
      const refunded = left.find((capture) => capture.captureId === captureId && capture.amount > 0);
      if (move.type === 'capture') {
        captures.push(move);
        left.push({ captureId, amount });
      } else if (refunded !== undefined) refunded.amount -= amount;
      const standing = left.filter((capture) => capture.amount > 0).length;
      if (standing > (worst?.standing ?? 1)) worst = { standing, seq: move.seq };
    }
    const named = captures
      .map(({ captureId, seq, requestId }) => `${captureId} #${seq} by ${requestId}`)
      .join(', ');
    if (worst !== undefined) {
      violations.push({
        invariant: 'I1a',
        orderId,
        detail: `order ${orderId}: ${worst.standing} captures stood at once after ledger #${worst.seq} (${named})`,
      });
    }
    if (captures.length > 1) {
      violations.push({
        invariant: 'I1b',
        orderId,
        detail: `order ${orderId}: charged ${captures.length} times (${named})`,
      });
    }
    return violations;
  });
