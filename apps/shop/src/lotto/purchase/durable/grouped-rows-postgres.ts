import type { SqlStatement } from 'pawl';
import type { GroupedStatements } from './grouped-rows.ts';

/**
 * As the library's batches are: one parameter, JSON, so that a statement is prepared once for batches of every size; and LATERAL, so that
 * rows are found one after the other by an index.
 */
export const postgresStatements: GroupedStatements = {
  readOrders: (publishIds) =>
    statement(
      `select own.* from json_to_recordset($1::json) as given (id bigint) cross join lateral (
         select p.id, p.order_id, p.status, o.member_id, o.amount, o.currency, r.id as round_id,
                (r.sales_open_at <= clock_timestamp() and clock_timestamp() < r.sales_close_at
                 and r.drawn_at is null and r.called_off_at is null)::int as on_sale,
                (r.drawn_at is not null or r.called_off_at is not null)::int as is_over
           from lotto_publish as p
           join orders as o on o.order_id = p.order_id
           join lotto_round_info as r on r.id = p.lotto_round_info_id
          where p.id = given.id offset 0
       ) as own`,
      publishIds.map((id) => ({ id })),
    ),

  lockOrders: (orderIds, wait) =>
    statement(
      `select own.order_id from (select id from json_to_recordset($1::json) as given (id varchar) order by id) as given
       cross join lateral (
         select o.order_id from orders as o where o.order_id = given.id
            for key share${wait ? '' : ' skip locked'}
       ) as own`,
      orderIds.map((id) => ({ id })),
    ),

  lockRounds: (roundIds, wait) =>
    statement(
      `select own.id from (select id from json_to_recordset($1::json) as given (id bigint) order by id) as given
       cross join lateral (
         select r.id from lotto_round_info as r
          where r.id = given.id and r.drawn_at is null and r.called_off_at is null
            for share${wait ? '' : ' skip locked'}
       ) as own`,
      roundIds.map((id) => ({ id })),
    ),

  insertBills: (bills) => [
    statement(
      `with given as (
         select * from json_to_recordset($1::json) as given (
           "orderId" varchar, "lottoPublishId" bigint, "memberId" bigint, "paymentKey" varchar, "totalAmount" bigint,
           currency varchar, method varchar
         )
       ), bought as (
         insert into purchase (order_id, payment_key, total_amount, currency, status, provider, method)
         select "orderId", "paymentKey", "totalAmount", currency, 'SUCCESS', 'TOSS', method from given
         returning id, order_id
       )
       insert into bill (member_id, purchase_id, lotto_publish_id)
       select given."memberId", bought.id, given."lottoPublishId"
         from bought join given on given."orderId" = bought.order_id
       returning id, created_at, lotto_publish_id`,
      bills,
    ),
  ],
};

function statement(text: string, given: readonly object[]): SqlStatement {
  return { text, values: [JSON.stringify(given)], prepared: true };
}
