import type { Answer } from '../history/answer.ts';
import { byOrder } from '../history/evidence.ts';
import type { LedgerEvent } from '../history/ledger.ts';
import type { Step } from '../history/steps.ts';
import { stepLines } from './lost-updates.ts';

/**
 * How the first order came to be charged twice: what was done for the requests that charged it, one line a step, in the order
 * of time, relative to the first; and then which captures they made. Null when none was charged twice.
 *
 * @param stepsBy  What the instances say that they did, by request; what is not known is not told.
 */
export function doubleCharge(
  answers: readonly Answer[],
  ledger: readonly LedgerEvent[],
  stepsBy: ReadonlyMap<string, readonly Step[]>,
): string[] | null {
  const captures = byOrder(ledger.filter((event) => event.type === 'capture'));
  const twice = [...captures].find(([, made]) => made.length > 1);
  if (twice === undefined) return null;
  const [orderId, made] = twice;
  const charging = made.flatMap(
    ({ requestId }) => answers.find((answer) => answer.requestId === requestId) ?? [],
  );
  const steps = charging.flatMap((answer) =>
    (stepsBy.get(answer.requestId) ?? []).map((step) => ({ ...step, answer })),
  );
  const named = made.map(({ captureId, requestId }) => `${captureId} by request ${requestId ?? 'unknown'}`);
  return [...stepLines(steps), `order ${orderId} was charged ${made.length} times: ${named.join(', ')}`];
}
