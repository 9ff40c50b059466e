import { isFinal } from '../history/answer.ts';
import { isSettled } from '../history/durable-calls.ts';
import { byOrder } from '../history/evidence.ts';
import { deadlineOf, type RecoveryEvidence } from '../history/recovery-evidence.ts';
import type { Violation } from './violation.ts';

/** Where somebody has still to do something. */
const UNDER_WAY: readonly string[] = ['PENDING', 'REFUNDING'];

/**
 * I8, at quiescence: nothing is unknown or in progress any more, and nothing was for longer than was promised. Every order has
 * ended where it may, every attempt is settled, and was in time; and every client has heard a final answer: each `info` became
 * done or not done.
 */
export function checkSettled({ answers, rows, calls, promises }: RecoveryEvidence): Violation[] {
  const orders = new Map(rows.orders.map((order) => [order.orderId, order]));
  const callsOf = byOrder(calls);
  const answersOf = byOrder(answers);
  return [...promises].flatMap(([orderId, promise]) => {
    const details: string[] = [];
    const status = orders.get(orderId)?.status ?? 'unknown to the shop';
    if (UNDER_WAY.includes(status)) details.push(`it is still ${status}`);
    else if (!promise.ends.includes(status)) {
      details.push(`it is ${status}, and may end ${promise.ends.join(' or ')} only`);
    }
    for (const call of callsOf.get(orderId) ?? []) {
      const { subject, attempt, state, fence, changedAtMs } = call;
      const named = `attempt ${attempt} at ${subject}, taken over ${fence - 1} times,`;
      const lateMs = changedAtMs - deadlineOf(call, promise);
      if (!isSettled(call)) details.push(`${named} is still ${state}`);
      else if (lateMs > 0) {
        const afterMs = (changedAtMs - promise.healedAtMs).toFixed(0);
        details.push(
          `${named} was ${state} only ${afterMs} ms after the fault, ${lateMs.toFixed(0)} ms too late`,
        );
      }
    }
    for (const [paymentKey, same] of Map.groupBy(answersOf.get(orderId) ?? [], (one) => one.paymentKey)) {
      if (same.some(isFinal)) continue;
      const last = same.at(-1);
      const told = last?.status ?? last?.error ?? 'nothing';
      details.push(
        `none of ${same.length} requests with payment key ${paymentKey} got a final answer; the last got ${told}`,
      );
    }
    return details.map((detail) => ({
      invariant: 'I8' as const,
      orderId,
      detail: `order ${orderId}: ${detail}`,
    }));
  });
}
