import { retryOnConflict, withRowLock } from 'pawl';
import { chargeClaimed, claimOrder } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * `SELECT … FOR UPDATE` with the status in the condition. The losers find no row once the winner has committed, and
 * hear that there is no such order to be paid. (The lock they do not hold either, but on MySQL, where the row that the
 * primary key names stays locked until their transaction has rolled back.)
 */
export const pessimisticStatus: PurchaseStrategy = (tools) => async (purchase) => {
  const claimed = await retryOnConflict(() =>
    withRowLock(
      tools.sql,
      {
        table: 'lotto_publish',
        key: { id: purchase.lottoPublishId },
        expect: { status: 'WAITING' },
        columns: ['id'],
        waitMs: tools.settings.lockWaitMs,
      },
      (_row, transaction) => {
        purchase.trace.mark('locked');
        return claimOrder(transaction, purchase);
      },
    ),
  );
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
