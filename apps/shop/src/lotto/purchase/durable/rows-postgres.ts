import { sql } from 'kysely';
import { done, refused } from 'pawl';
import type { ShopTransaction } from '../../../store/database.ts';
import { billOf, type PurchaseRows } from './rows.ts';
import { sharedRows } from './shared-rows.ts';

/** In one statement: whatever it changes is told by the change itself. */
export const postgresRows: PurchaseRows<ShopTransaction> = {
  ...sharedRows,

  async complete({ trx }, attempt, payment) {
    const { orderId, lottoPublishId, lottoRoundInfoId, memberId, actor } = attempt;
    const { rows } = await sql<{ id: number; created_at: Date }>`
      with undrawn as (
        select id from lotto_round_info
         where id = ${lottoRoundInfoId} and drawn_at is null and called_off_at is null
           for share
      ), moved as (
        update lotto_publish
           set status = 'COMPLETE', version = version + 1,
               payment_key = ${payment.paymentKey}, payment_outcome = 'captured', payment_code = null
         where id = ${lottoPublishId} and status = 'PENDING' and attempt = ${attempt.attempt}
           and exists (select from undrawn)
           and not exists (select from stray_capture where payment_key = ${payment.paymentKey})
        returning id
      ), audited as (
        insert into order_status_audit (order_id, from_status, to_status, strategy, instance, request_id)
        select ${orderId}, 'PENDING', 'COMPLETE', ${actor.strategy}, ${actor.instance}, ${actor.requestId} from moved
      ), bought as (
        insert into purchase (order_id, payment_key, total_amount, currency, status, provider, method)
        select ${orderId}, ${payment.paymentKey}, ${payment.totalAmount}, ${payment.currency}, 'SUCCESS', 'TOSS', ${payment.method}
          from moved
        returning id
      )
      insert into bill (member_id, purchase_id, lotto_publish_id)
      select ${memberId}, bought.id, moved.id from bought, moved
      returning id, created_at`.execute(trx);
    const [bill] = rows;
    return bill === undefined ? refused('not-open') : done(billOf(attempt, payment, bill));
  },
};
