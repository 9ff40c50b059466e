import type { Purchases } from '../lotto/purchase/purchase.ts';
import type { Came, Operations } from './operations.ts';

/** The same purchases, each with its line in the log, and counted. */
export function observedPurchases(purchase: Purchases, operations: Operations): Purchases {
  return (confirmation) => {
    const { orderId, strategy, requestId } = confirmation;
    const about = { order: orderId, reqId: requestId };
    return operations.run({ strategy, about }, () => purchase(confirmation), cameOf);
  };
}

function cameOf(outcome: Awaited<ReturnType<Purchases>>): Came {
  switch (outcome.outcome) {
    case 'answered': {
      const { answer, replayed } = outcome;
      if (answer.status === 200) return { outcome: 'done', replayed };
      // The stored bytes are an envelope of ours, with a code of a closed set.
      const { code } = JSON.parse(Buffer.from(answer.body).toString()) as { code: string };
      return { outcome: 'refused', reason: code, replayed };
    }
    case 'pending':
      return { outcome: 'unknown' };
    case 'done':
      return { outcome: 'done', replayed: outcome.replayed };
    case 'objection':
      return { outcome: 'refused', reason: outcome.objection };
    case 'refused':
      return {
        outcome: 'refused',
        reason: outcome.reason,
        ...('code' in outcome && outcome.code !== undefined ? { code: outcome.code } : {}),
      };
    case 'unknown':
      return { outcome: 'unknown', code: outcome.code };
  }
}
