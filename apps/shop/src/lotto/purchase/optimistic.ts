import { done } from 'pawl';
import { unitOfWork } from '../../store/unit-of-work.ts';
import { managedPublish } from './managed-publish.ts';
import { chargeClaimed, refusalFor } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * A version column, checked when the unit of work commits.
 *
 * The mistake: nobody handles the conflict. Of five requests that load the same version one commits, and the
 * others fail at the commit, which the client sees as a 500.
 */
export const optimistic: PurchaseStrategy = (tools) => async (purchase) => {
  const claimed = await unitOfWork(tools.sql, managedPublish(purchase), async (load) => {
    const publish = await load();
    if (publish.status !== 'WAITING') return refusalFor(publish.status);
    publish.status = 'PENDING';
    return done(undefined);
  });
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
