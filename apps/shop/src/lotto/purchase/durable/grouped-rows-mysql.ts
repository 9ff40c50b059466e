import { mysql } from 'pawl/mysql';
import type { GroupedStatements, NewBill } from './grouped-rows.ts';

/** Each server skips the comment that is for the other. */
const SHARED_SKIP_LOCKED = '/*M! lock in share mode skip locked */ /*!80001 for share skip locked */';

export const mysqlStatements: GroupedStatements = {
  readOrders: (publishIds) => ({
    text: `select p.id, p.order_id, p.status, o.member_id, o.amount, o.currency, r.id as round_id,
             (r.sales_open_at <= current_timestamp(6) and current_timestamp(6) < r.sales_close_at
              and r.drawn_at is null and r.called_off_at is null) as on_sale,
             (r.drawn_at is not null or r.called_off_at is not null) as is_over
        from lotto_publish as p
        join orders as o on o.order_id = p.order_id
        join lotto_round_info as r on r.id = p.lotto_round_info_id
       where p.id in (${marks(publishIds)})`,
    values: publishIds,
  }),

  lockOrders: (orderIds, wait) => ({
    text: `select order_id from orders where order_id in (${marks(orderIds)})
       order by order_id ${wait ? 'lock in share mode' : SHARED_SKIP_LOCKED}`,
    values: orderIds,
  }),

  lockRounds: (roundIds, wait) => ({
    text: `select id from lotto_round_info
       where id in (${marks(roundIds)}) and drawn_at is null and called_off_at is null
       order by id ${wait ? 'lock in share mode' : SHARED_SKIP_LOCKED}`,
    values: roundIds,
  }),

  /** A purchase is found again by its order and its payment: the newest, since the unguarded strategies make several. */
  insertBills: (bills) => {
    const publishIds = bills.map(({ lottoPublishId }) => lottoPublishId);
    return [
      mysql.batch.insertRows({ table: 'purchase', rows: bills.map(purchaseOf) }),
      {
        text: `insert into bill (member_id, purchase_id, lotto_publish_id)
          select o.member_id, max(u.id), p.id
            from lotto_publish as p
            join orders as o on o.order_id = p.order_id
            join purchase as u on u.order_id = p.order_id and u.payment_key = p.payment_key
           where p.id in (${marks(publishIds)})
           group by p.id, o.member_id`,
        values: publishIds,
      },
      {
        text: `select id, created_at, lotto_publish_id from bill where lotto_publish_id in (${marks(publishIds)}) order by id`,
        values: publishIds,
      },
    ];
  },
};

function purchaseOf({ orderId, paymentKey, totalAmount, currency, method }: NewBill) {
  return {
    order_id: orderId,
    payment_key: paymentKey,
    total_amount: totalAmount,
    currency,
    status: 'SUCCESS',
    provider: 'TOSS',
    method,
  };
}

function marks(values: readonly unknown[]): string {
  return values.map(() => '?').join(', ');
}
