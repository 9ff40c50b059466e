import { claimUnique, releaseClaim, transact } from 'pawl';
import { chargeClaimed, claimOrder } from './steps.ts';
import type { PurchaseStrategy } from './strategy.ts';

/**
 * The payment key is inserted *before* charging, into a table where it is unique: the second one is refused.
 *
 * The order id is unique there too, so that two taps with two payment keys are one purchase. The claim of a paid
 * order stays for ever; that of a declined payment is given back together with the status.
 */
export const uniqueClaim: PurchaseStrategy = (tools) => async (purchase) => {
  const { paymentKey, orderId } = purchase;
  const claim = { table: 'purchase_key', key: { payment_key: paymentKey } };

  const claimed = await transact(tools.sql, async (transaction) => {
    const won = await claimUnique(transaction, { ...claim, values: { order_id: orderId } });
    // The status moves in the same transaction, so that an order which was paid in another way is refused too.
    return won.outcome === 'done' ? claimOrder(transaction, purchase) : won;
  });
  if (claimed.outcome !== 'done') return claimed;

  return chargeClaimed(tools, purchase, (transaction) =>
    releaseClaim(transaction, { ...claim, owner: { order_id: orderId } }),
  );
};
