import { sql } from 'kysely';
import { done, refused } from 'pawl';
import type { ShopTransaction } from '../../../store/database.ts';
import { billOf, type ClaimedOrder, type PurchaseRows } from './rows.ts';
import { sharedRows } from './shared-rows.ts';

/** In one statement each: whatever it changes is told by the change itself. */
export const postgresRows: PurchaseRows<ShopTransaction> = {
  ...sharedRows,

  async claim({ trx }, { orderId, lottoPublishId, memberId, paymentKey, amount, actor }) {
    const { rows } = await sql<ClaimedOrder & { open: boolean }>`
      with moved as (
        update lotto_publish as p
           set status = 'PENDING', version = p.version + 1,
               payment_key = ${paymentKey}, payment_outcome = 'in-progress', payment_code = null
          from orders as o, lotto_round_info as r
         where p.order_id = ${orderId} and p.id = ${lottoPublishId} and p.status = 'WAITING'
           and o.order_id = p.order_id and o.member_id = ${memberId}
           and o.amount = coalesce(${amount ?? null}::bigint, o.amount)
           and r.id = p.lotto_round_info_id and r.drawn_at is null and r.called_off_at is null
           and r.sales_open_at <= clock_timestamp() and clock_timestamp() < r.sales_close_at
           and not exists (select from stray_capture where payment_key = ${paymentKey})
        returning p.attempt, r.id as round_id, o.amount, o.currency, clock_timestamp() < r.sales_close_at as open
      ), audited as (
        insert into order_status_audit (order_id, from_status, to_status, strategy, instance, request_id)
        select ${orderId}, 'WAITING', 'PENDING', ${actor.strategy}, ${actor.instance}, ${actor.requestId} from moved
      )
      select attempt, round_id as "lottoRoundInfoId", amount, currency, open from moved`.execute(trx);
    const [claimed] = rows;
    if (claimed === undefined) return refused('wrong-state');
    const { open, ...order } = claimed;
    // Looked at again when the row was changed: waiting for it takes its time.
    return open ? done(order) : refused('not-open');
  },

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
