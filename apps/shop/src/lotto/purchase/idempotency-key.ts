import { done } from 'pawl';
import { chargeUnclaimed, lookWhetherWaiting } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * A key in Redis: `IN_PROGRESS` refuses, `SET NX` for two minutes lets one through, `DONE:<billId>` answers the
 * later ones with the first one's bill. The quickest of the published strategies.
 *
 * The limit: the key ends by itself. A payment that takes longer than the key lives is charged again, and so is
 * everything when Redis forgets.
 */
export const idempotencyKey: PurchaseStrategy = (tools) => {
  const { publishedKeys } = tools;
  if (publishedKeys === undefined) throw new Error('idempotency-key needs Redis');

  return async (purchase) => {
    const ran = await publishedKeys.run(`purchase:${purchase.orderId}`, async () => {
      const waiting = await lookWhetherWaiting(tools, purchase);
      const outcome = waiting.outcome === 'done' ? await chargeUnclaimed(tools, purchase) : waiting;
      return outcome.outcome === 'done' ? done(String(outcome.value.billId)) : outcome;
    });
    return ran.outcome === 'done' ? done({ billId: Number(ran.value) }, ran) : ran;
  };
};
