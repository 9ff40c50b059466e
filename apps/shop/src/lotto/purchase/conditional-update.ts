import { transactWithRetry } from 'pawl';
import { chargeClaimed, claimOrder } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * `UPDATE … SET status = 'PENDING' WHERE id = ? AND status = 'WAITING'`: the database lets one through, and
 * tells the others that no row was changed.
 */
export const conditionalUpdate: PurchaseStrategy = (tools) => async (purchase) => {
  const claimed = await transactWithRetry(tools.sql, (transaction) => claimOrder(transaction, purchase));
  if (claimed.outcome !== 'done') return claimed;
  return chargeClaimed(tools, purchase);
};
