import { byOrder } from '../history/evidence.ts';
import type { CaptureEvent, LedgerEvent, RefundEvent } from '../history/ledger.ts';
import type { Checker, Violation } from './violation.ts';

/** The events that moved money, in the order in which they happened. */
export function moneyMoves(ledger: readonly LedgerEvent[]): (CaptureEvent | RefundEvent)[] {
  return ledger.filter((event) => event.type === 'capture' || event.type === 'refund');
}

/**
 * I1a: at no moment does an order stand charged more than once (captures − refunds ≤ 1 at every prefix of the
 * ledger). I1b, stronger: it was never charged twice, not even with a refund in between.
 */
export const checkCaptures: Checker = ({ ledger }) =>
  [...byOrder(moneyMoves(ledger))].flatMap(([orderId, moves]) => {
    const violations: Violation[] = [];
    const captures: CaptureEvent[] = [];
    let standing = 0;
    let worst: { standing: number; seq: number } | undefined;
    for (const move of moves) {
      standing += move.type === 'capture' ? 1 : -1;
      if (move.type === 'capture') captures.push(move);
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
