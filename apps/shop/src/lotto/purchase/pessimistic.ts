import { retryOnConflict, withRowLock } from 'pawl';
import type { PublishStatus } from '../../store/database.ts';
import { chargeClaimed, claimOrder, refusalFor } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/** `SELECT … FOR UPDATE`, then look at the status. The lock is held for the claim alone, not for the charge. */
export const pessimistic: PurchaseStrategy = (tools) => async (purchase) => {
  const claimed = await retryOnConflict(() =>
    withRowLock(
      tools.sql,
      {
        table: 'lotto_publish',
        key: { id: purchase.lottoPublishId },
        columns: ['status'],
        waitMs: tools.settings.lockWaitMs,
      },
      async (row, transaction) => {
        purchase.trace.mark('locked');
        const status = row.status as PublishStatus;
        return status === 'WAITING' ? claimOrder(transaction, purchase) : refusalFor(status);
      },
    ),
  );
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
