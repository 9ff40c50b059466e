import { type ClaimHeld, claimUnique, refused, releaseClaim, transactWithRetry } from 'pawl';
import type { ShopTransaction } from '../../store/database.ts';
import { readStatus } from '../publish.ts';
import { chargeClaimed, claimOrder, refusalFor } from './steps.ts';
import type { Purchase, PurchaseStrategy } from './strategy.ts';

/**
 * The payment key is inserted *before* charging, into a table where it is unique: the second one is refused.
 *
 * Where several wait for a claim that is then given back, MySQL ends all but one of them with a deadlock: they try again,
 * and are refused.
 *
 * The order id is unique there too, so that two taps with two payment keys are one purchase. The claim of a paid
 * order stays for ever; that of a declined payment is given back together with the status.
 */
export const uniqueClaim: PurchaseStrategy = (tools) => async (purchase) => {
  const { paymentKey, orderId } = purchase;
  const claim = { table: 'purchase_key', key: { payment_key: paymentKey } };

  const claimed = await transactWithRetry(tools.sql, async (transaction) => {
    const won = await claimUnique(transaction, { ...claim, values: { order_id: orderId } });
    if (won.outcome !== 'done') return refusedBecause(transaction, purchase, won);
    // The status moves in the same transaction, so that an order which was paid in another way is refused too.
    return claimOrder(transaction, purchase);
  });
  if (claimed.outcome !== 'done') return claimed;

  return chargeClaimed(tools, purchase, (transaction) =>
    releaseClaim(transaction, { ...claim, owner: { order_id: orderId } }),
  );
};

/** A payment key that belongs to another order is no use here; else somebody is paying this order, or has. */
async function refusedBecause({ trx }: ShopTransaction, purchase: Purchase, { holder }: ClaimHeld) {
  if (holder !== undefined && holder.order_id !== purchase.orderId) return refused('payload-mismatch');
  const { status } = await readStatus(trx, purchase);
  return status === 'WAITING' ? refused('in-progress') : refusalFor(status);
}
