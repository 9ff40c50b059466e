import type { Row } from '../cluster/database-session.ts';
import type { ShopRows } from '../history/shop-rows.ts';
import { inSnapshot } from './snapshot.ts';

/**
 * Reads what the shop keeps, in one snapshot.
 *
 * @throws the driver's error.
 */
export function readShopRows(databaseUrl: string): Promise<ShopRows> {
  return inSnapshot(databaseUrl, async (query) => {
    const orders = await query(`
      SELECT orders.order_id, member_id, amount, currency, status
        FROM orders JOIN lotto_publish ON lotto_publish.order_id = orders.order_id`);
    const bills = await query(`
      SELECT bill.id, purchase.order_id, bill.member_id, purchase.payment_key, purchase.total_amount
        FROM bill JOIN purchase ON purchase.id = bill.purchase_id
       WHERE purchase.status <> 'REFUNDED'`);
    const audit = await query(`
      SELECT id, order_id, from_status, to_status, request_id, strategy, instance
        FROM order_status_audit ORDER BY id`);
    return { orders: orders.map(orderOf), bills: bills.map(billOf), audit: audit.map(auditOf) };
  });
}

// String() because MySQL keeps keys in columns of bytes, and a Buffer's text is that of its UTF-8.

function orderOf(row: Row): ShopRows['orders'][number] {
  return {
    orderId: String(row.order_id),
    memberId: String(row.member_id),
    amount: Number(row.amount),
    currency: String(row.currency),
    status: String(row.status),
  };
}

function billOf(row: Row): ShopRows['bills'][number] {
  return {
    billId: String(row.id),
    orderId: String(row.order_id),
    memberId: String(row.member_id),
    paymentKey: String(row.payment_key),
    amount: Number(row.total_amount),
  };
}

function auditOf(row: Row): ShopRows['audit'][number] {
  return {
    id: String(row.id),
    orderId: String(row.order_id),
    from: String(row.from_status),
    to: String(row.to_status),
    requestId: row.request_id === null ? null : String(row.request_id),
    strategy: String(row.strategy),
    instance: String(row.instance),
  };
}
