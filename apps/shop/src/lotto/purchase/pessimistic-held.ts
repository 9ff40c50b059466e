import { done, withRowLock } from 'pawl';
import type { PublishStatus } from '../../store/database.ts';
import { charge, claimOrder, recordCharge, recorded, refusalFor } from './steps.ts';
import type { PurchaseOutcome, PurchaseStrategy } from './strategy.ts';

/**
 * The row lock is held across the call to the provider.
 *
 * It is right, and it is here to show its price: while the provider takes its time, every racer sits on one of
 * the pool's connections, one waiting for the provider and the others for him, until none is left for anybody.
 * And when the process dies, the database rolls back to WAITING what the provider may have captured.
 */
export const pessimisticHeld: PurchaseStrategy = (tools) => async (purchase) => {
  let asked = false;
  const purchaseUnderLock = async (): Promise<PurchaseOutcome> => {
    const held = await withRowLock(
      tools.sql,
      {
        table: 'lotto_publish',
        key: { id: purchase.lottoPublishId },
        columns: ['status'],
        waitMs: tools.settings.lockWaitMs,
      },
      async (row, transaction) => {
        const status = row.status as PublishStatus;
        if (status !== 'WAITING') return refusalFor(status);
        await claimOrder(transaction, purchase);
        asked = true;
        const charged = await charge(tools, purchase);
        // Whatever came of it is committed: rolled back to WAITING, the next in line would charge again.
        return done(await recordCharge(transaction, purchase, charged));
      },
    );
    return held.outcome === 'done' ? held.value : held;
  };
  try {
    return await purchaseUnderLock();
  } catch (error) {
    if (!asked) throw error;
    return recorded(tools, purchase, () => Promise.reject(error));
  }
};
