import { setTimeout as sleep } from 'node:timers/promises';
import { done, refused } from 'pawl';
import { ConcurrencyFailure, unitOfWork } from '../../store/unit-of-work.ts';
import { managedPublish } from './managed-publish.ts';
import { chargeClaimed, refusalFor } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * The version column again, with a retry.
 *
 * The mistake: the loop stands *inside* the unit of work. It wraps the read and the change, which never fail; the
 * conflict comes at the commit, after the loop is over, and nobody catches it.
 */
export const optimisticRetryInside: PurchaseStrategy = (tools) => async (purchase) => {
  const { retryAttempts, retryPauseMs } = tools.settings;
  const claimed = await unitOfWork(tools.sql, managedPublish(purchase), async (load) => {
    for (let attempt = 1; attempt <= retryAttempts; attempt++) {
      try {
        const publish = await load();
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
