import { setTimeout as sleep } from 'node:timers/promises';
import { done, refused } from 'pawl';
import { chargeClaimed, refusalFor } from './steps.ts';
import { ConcurrencyFailure, type PurchaseStrategy } from './strategy.ts';
import { unitOfWork } from './unit-of-work.ts';

/**
 * The version column again, with a retry.
 *
 * The mistake: the loop stands *inside* the unit of work. It wraps the read and the change, which never fail; the
 * conflict comes at the commit, after the loop is over, and nobody catches it.
 */
export const optimisticRetryInside: PurchaseStrategy = (tools) => async (purchase) => {
  const { retryAttempts, retryPauseMs } = tools.settings;
  const claimed = await unitOfWork(tools, purchase, async (unit) => {
    for (let attempt = 1; attempt <= retryAttempts; attempt++) {
      try {
        const publish = await unit.load();
        if (publish.status !== 'WAITING') return refusalFor(publish.status);
        publish.status = 'PENDING';
        return done(undefined);
      } catch (error) {
        if (!(error instanceof ConcurrencyFailure)) throw error;
        await sleep(retryPauseMs);
      }
    }
    return refused('contended');
  });
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
