import { sql } from 'kysely';
import { done, withRowLock } from 'pawl';
import type { ChargeOutcome } from '../../payment/provider.ts';
import type { PublishStatus, ShopTransaction } from '../../store/database.ts';
import { charge, claimOrder, noteNotRecorded, notRecorded, recordCharge, refusalFor } from './steps.ts';
import type { Purchase, PurchaseOutcome, PurchaseStrategy, PurchaseTools } from './strategy.ts';

/**
 * The row lock is held across the call to the provider.
 *
 * It is right, and it is here to show its price: while the provider takes its time, every racer sits on one of
 * the pool's connections, one waiting for the provider and the others for him, until none is left for anybody.
 * And when the process or its connection dies, or the COMMIT is refused, the database rolls back to WAITING what the
 * provider may have captured, and the next in line charges again.
 */
export const pessimisticHeld: PurchaseStrategy = (tools) => async (purchase) => {
  let charged: ChargeOutcome | undefined;
  try {
    const held = await withRowLock(
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
        if (status !== 'WAITING') return refusalFor(status);
        const claimed = await claimOrder(transaction, purchase);
        if (claimed.outcome !== 'done') return claimed;
        charged = await charge(tools, purchase);
        return done(await recordOrKeepPending(tools, transaction, purchase, charged));
      },
    );
    if (held.outcome !== 'done') return held;
    purchase.trace.mark('committed');
    return held.value;
  } catch (error) {
    if (charged === undefined) throw error;
    return notRecorded(tools, purchase, error);
  }
};

/** A record that fails must not take the claim with it: rolled back to WAITING, the order would be charged again. */
async function recordOrKeepPending(
  tools: PurchaseTools,
  transaction: ShopTransaction,
  purchase: Purchase,
  charged: ChargeOutcome,
): Promise<PurchaseOutcome> {
  await sql`savepoint charged`.execute(transaction.trx);
  try {
    return await recordCharge(transaction, purchase, charged);
  } catch (cause) {
    await sql`rollback to savepoint charged`.execute(transaction.trx);
    return noteNotRecorded(tools, transaction, purchase, cause);
  }
}
