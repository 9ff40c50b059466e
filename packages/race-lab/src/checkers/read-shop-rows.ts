import pg from 'pg';
import type { ShopRows } from '../history/shop-rows.ts';

const STATEMENT_TIMEOUT_MS = 30_000;

/** Reads what the shop keeps, in one snapshot. */
export async function readShopRows(databaseUrl: string): Promise<ShopRows> {
  const client = new pg.Client({ connectionString: databaseUrl, statement_timeout: STATEMENT_TIMEOUT_MS });
  // A connection that breaks between two statements is told by the next one, not by a crash of the lab.
  client.on('error', () => undefined);
  await client.connect();
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const orders = await client.query(`
      SELECT orders.order_id AS "orderId", member_id::text AS "memberId", amount, currency, status
        FROM orders JOIN lotto_publish ON lotto_publish.order_id = orders.order_id`);
    const bills = await client.query(`
      SELECT bill.id::text AS "billId", purchase.order_id AS "orderId", bill.member_id::text AS "memberId",
             purchase.payment_key AS "paymentKey", purchase.total_amount AS amount
        FROM bill JOIN purchase ON purchase.id = bill.purchase_id`);
    const audit = await client.query(`
      SELECT id::text, order_id AS "orderId", from_status AS "from", to_status AS "to",
             request_id AS "requestId", strategy, instance
        FROM order_status_audit ORDER BY order_status_audit.id`);
    await client.query('COMMIT');
    return { orders: orders.rows, bills: bills.rows, audit: audit.rows };
  } finally {
    await client.end();
  }
}
