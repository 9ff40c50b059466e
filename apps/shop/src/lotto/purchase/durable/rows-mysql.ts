import { sql } from 'kysely';
import { done, refused } from 'pawl';
import type { ShopTransaction } from '../../../store/database.ts';
import { auditStatus } from '../../publish.ts';
import { billOf, type PurchaseRows } from './rows.ts';
import { sharedRows, whileUndrawn } from './shared-rows.ts';

/** MySQL has no statement that changes one table and tells what it found there, nor one that changes several. */
export const mysqlRows: PurchaseRows<ShopTransaction> = {
  ...sharedRows,

  async complete(transaction, attempt, payment) {
    const { trx } = transaction;
    const { orderId, lottoPublishId, memberId } = attempt;
    const { numUpdatedRows } = await trx
      .updateTable('lotto_publish')
      .set((row) => ({
        status: 'COMPLETE',
        version: row('version', '+', 1),
        payment_key: payment.paymentKey,
        payment_outcome: 'captured',
        payment_code: null,
      }))
      .where('id', '=', lottoPublishId)
      .where('status', '=', 'PENDING')
      .where('attempt', '=', attempt.attempt)
      .where(({ exists, not, selectFrom }) =>
        not(
          exists(
            selectFrom('stray_capture').select('payment_key').where('payment_key', '=', payment.paymentKey),
          ),
        ),
      )
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) return refused('not-open');
    const undrawn = await whileUndrawn(transaction, attempt);
    if (undrawn.outcome !== 'done') return undrawn;
    await auditStatus(transaction, attempt, 'PENDING', 'COMPLETE');
    const { insertId } = await trx
      .insertInto('purchase')
      .values({
        order_id: orderId,
        payment_key: payment.paymentKey,
        total_amount: payment.totalAmount,
        currency: payment.currency,
        status: 'SUCCESS',
        provider: 'TOSS',
        method: payment.method,
      })
      .executeTakeFirstOrThrow();
    const bill = await insertedBill(transaction, {
      member_id: memberId,
      purchase_id: Number(insertId),
      lotto_publish_id: lottoPublishId,
    });
    return done(billOf(attempt, payment, bill));
  },
};

/** MariaDB tells when it was made; MySQL has to be asked, and passes over the comment that is for MariaDB. */
async function insertedBill(
  { trx }: ShopTransaction,
  bill: { member_id: number; purchase_id: number; lotto_publish_id: number },
): Promise<{ id: number; created_at: Date }> {
  const { rows, insertId } = await sql<{ id: number; created_at: Date }>`
    insert into bill (member_id, purchase_id, lotto_publish_id)
    values (${bill.member_id}, ${bill.purchase_id}, ${bill.lotto_publish_id})
    /*M!100500 returning id, created_at */`.execute(trx);
  return (
    rows[0] ??
    trx
      .selectFrom('bill')
      .select(['id', 'created_at'])
      .where('id', '=', Number(insertId))
      .executeTakeFirstOrThrow()
  );
}
