import { expect } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import type { OrderRef, Shops } from '../harness.ts';

/** The record of the latest durable call for an order, as it stands in its row. */
export async function recordOf(
  shops: Shops,
  { orderId }: Pick<OrderRef, 'orderId'>,
): Promise<{ state?: string; attempt?: number; code?: string | null; fence?: number }> {
  const [record = {}] = await shops.sql(
    'SELECT state, attempt, code, fence FROM pawl_durable_call WHERE subject = ? ORDER BY attempt DESC',
    [orderId],
  );
  return record;
}

/** Resolves when the order has this status. */
export async function untilStatus(shops: Shops, order: OrderRef, status: string): Promise<void> {
  let seen: unknown;
  const isThere = async () => {
    seen = [await shops.see(order), await recordOf(shops, order)];
    return (await shops.see(order)).status === status;
  };
  await until(isThere, 10_000, () => seen);
}

/** The payment window of the attempt is over, and so is the margin after it: nothing can come of it any more. */
export async function endSession(shops: Shops, { orderId }: OrderRef): Promise<void> {
  await shops.sql('UPDATE pawl_durable_call SET final_after = created_at WHERE subject = ?', [orderId]);
}

export const drawRound = (shops: Shops) => shops.sql('UPDATE lotto_round_info SET drawn_at = sales_open_at');

/** Paid once: one bill, which is what the member is answered with from now on. */
export async function expectBilled(shops: Shops, order: OrderRef, paymentKey: string): Promise<void> {
  await untilStatus(shops, order, 'COMPLETE');
  const again = await shops.confirm(order, { paymentKey });
  expect(again.status).toBe(200);
  expect(again.headers.get('idempotency-replayed')).toBe('true');
  const bills = await shops.sql('SELECT id FROM bill WHERE lotto_publish_id = ?', [order.lottoPublishId]);
  expect(bills.map(({ id }) => Number(id))).toEqual([again.body.data.id]);
  const read = await shops.call('GET', `/api/tickets/${again.body.data.id}`);
  expect(read.body.data).toEqual(again.body.data);
}
