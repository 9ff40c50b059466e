import { byOrder } from '../history/evidence.ts';
import { moneyMoves } from './captures.ts';
import type { Checker, Violation } from './violation.ts';

/**
 * I3: at every prefix of the ledger an order has no more refunds than captures, in number and in amount, and
 * every refund names an earlier capture of the same order and gives back no more than that capture took.
 */
export const checkRefunds: Checker = ({ ledger }) =>
  [...byOrder(moneyMoves(ledger))].flatMap(([orderId, moves]) => {
    const violations: Violation[] = [];
    const report = (detail: string) =>
      violations.push({ invariant: 'I3', orderId, detail: `order ${orderId}: ${detail}` });
    const left = new Map<string, number>();
    const count = { captures: 0, refunds: 0 };
    const amount = { captured: 0, refunded: 0 };
    for (const move of moves) {
      if (move.type === 'capture') {
        count.captures += 1;
        amount.captured += move.amount;
        left.set(move.captureId, (left.get(move.captureId) ?? 0) + move.amount);
        continue;
      }
      const { refundId, captureId, seq } = move;
      count.refunds += 1;
      amount.refunded += move.amount;
      const ofCapture = left.get(captureId);
      if (ofCapture === undefined) {
        report(
          `refund ${refundId} (ledger #${seq}) names ${captureId}, which is no earlier capture of the order`,
        );
      } else {
        left.set(captureId, ofCapture - move.amount);
        if (move.amount > ofCapture) {
          report(
            `refund ${refundId} (ledger #${seq}) gives back ${move.amount}, but ${ofCapture} is left of ${captureId}`,
          );
        }
      }
      if (count.refunds > count.captures) {
        report(`${count.refunds} refunds of ${count.captures} captures at ledger #${seq} (${refundId})`);
      }
      if (amount.refunded > amount.captured) {
        report(`${amount.refunded} refunded of ${amount.captured} captured at ledger #${seq} (${refundId})`);
      }
    }
    return violations;
  });
