import { refused } from 'pawl';
import { chargeUnclaimed, lookWhetherWaiting } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * A flag in the memory of the process: whoever sets it first goes on, the others are refused.
 *
 * Right on one instance. On four there are four flags, so up to four requests go on: it depends on where the
 * balancer sends them, and so it fails at random.
 */
export const inMemory: PurchaseStrategy = (tools) => {
  const taken = new Set<number>();

  return async (purchase) => {
    const { lottoPublishId } = purchase;
    if (taken.has(lottoPublishId)) return refused('in-progress');
    taken.add(lottoPublishId);
    try {
      const waiting = await lookWhetherWaiting(tools, purchase);
      return waiting.outcome === 'done' ? await chargeUnclaimed(tools, purchase) : waiting;
    } finally {
      taken.delete(lottoPublishId);
    }
  };
};
