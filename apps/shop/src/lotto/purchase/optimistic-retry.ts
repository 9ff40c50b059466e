import { transactWithRetry, versionedUpdate } from 'pawl';
import { auditStatus, readStatus } from '../publish.ts';
import { chargeClaimed, refusalFor, underWay, whileOnSale } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * The version column with the retry where it belongs: *around* the transaction. A loser reads again in a new
 * transaction, sees PENDING, and is refused.
 */
export const optimisticRetry: PurchaseStrategy = (tools) => async (purchase) => {
  const { retryAttempts, retryPauseMs } = tools.settings;
  const claimed = await transactWithRetry(
    tools.sql,
    async (transaction) => {
      const { status, version } = await readStatus(transaction.trx, purchase);
      if (status !== 'WAITING') return refusalFor(status);
      const written = await versionedUpdate(transaction, {
        table: 'lotto_publish',
        key: { id: purchase.lottoPublishId },
        version: { column: 'version', value: version },
        set: { status: 'PENDING', ...underWay(purchase) },
      });
      if (written.outcome !== 'done') return written;
      await auditStatus(transaction, purchase, 'WAITING', 'PENDING');
      return whileOnSale(transaction, purchase);
    },
    { attempts: retryAttempts, backoffMs: retryPauseMs, maxBackoffMs: retryPauseMs * 4, jitter: 0.5 },
  );
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
