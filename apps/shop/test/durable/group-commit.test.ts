import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { thorough, twoStores } from '../../../../test/stores.ts';
import type { Holder } from '../database.ts';
import { auditOf, gate, type OrderRef, startProvider, startShops } from '../harness.ts';
import { recordOf } from './records.ts';

/* Those who pay at the same time share transactions, and nobody waits for what is somebody else's. */

/** A row that is locked for longer than anybody here waits: whoever is done before it is given back has not waited for it. */
const PATIENT = { LOCK_WAIT_MS: '20000', RECOVERY_EVERY_MS: '3600000' };

const HELD_MS = 5_000;

describe.each(twoStores)('on %s', (store) => {
  async function startPaying(env: Record<string, string> = {}, clock?: ReturnType<typeof gate>['clock']) {
    const provider = await startProvider(clock === undefined ? {} : { clock });
    const shops = await startShops({ store, providerUrl: provider.url, env: { ...PATIENT, ...env } });
    return { provider, shops };
  }
  type Paying = Awaited<ReturnType<typeof startPaying>>;

  async function ordersOf({ shops }: Paying, count: number): Promise<readonly OrderRef[]> {
    return Promise.all(Array.from({ length: count }, () => shops.order()));
  }

  async function expectPaidOnce({ shops }: Paying, order: OrderRef): Promise<void> {
    expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
    expect(await auditOf(shops, order)).toEqual(['WAITING → PENDING', 'PENDING → COMPLETE']);
    const bills = await shops.sql('SELECT * FROM bill WHERE lotto_publish_id = ?', [order.lottoPublishId]);
    const purchases = await shops.sql('SELECT * FROM purchase WHERE order_id = ?', [order.orderId]);
    expect([bills.length, purchases.length]).toEqual([1, 1]);
    expect(bills[0]?.purchase_id).toBe(purchases[0]?.id);
    expect(await recordOf(shops, order)).toMatchObject({ state: 'done', attempt: 1 });
  }

  test('thirty pay at once, together or each alone: each has the bill of his own order', async () => {
    for (const env of [{}, { GROUP_COMMIT: '0' }]) {
      const paying = await startPaying(env);
      const orders = await ordersOf(paying, 30);
      const replies = await Promise.all(orders.map((order) => paying.shops.confirm(order)));
      expect(replies.map(({ status }) => status)).toEqual(orders.map(() => 200));
      for (const [index, order] of orders.entries()) {
        expect(replies[index]?.body.data).toMatchObject({
          purchase: { orderId: order.orderId, totalAmount: order.amount },
          lottoPublish: { id: order.lottoPublishId, status: 'COMPLETE' },
        });
        await expectPaidOnce(paying, order);
      }
      const ids = new Set(replies.map(({ body }) => body.data.id));
      expect(ids.size).toBe(30);
      expect(await paying.provider.captures()).toBe(30);
    }
  });

  test('while most are refused, each is told what he would be told alone, and whoever has not paid yet pays', async () => {
    const told: unknown[] = [];
    for (const env of [{}, { GROUP_COMMIT: '0' }]) {
      const paying = await startPaying(env);
      const { shops } = paying;
      const orders = await ordersOf(paying, 8);
      const [paid, canceled, closed, strange, other, ...fresh] = orders as [
        ...[OrderRef, OrderRef, OrderRef, OrderRef, OrderRef],
        ...OrderRef[],
      ];
      const again = (order: OrderRef, name: string, more: Record<string, string> = {}) =>
        shops.confirm(order, { headers: { 'idempotency-key': `${order.orderId}-${name}`, ...more } });
      const first = await shops.confirm(paid);
      expect((await shops.cancel(canceled)).status).toBe(200);
      const storm = async (name: string) => {
        for (let time = 0; time < 15; time++)
          expect((await again(paid, `${name}-${time}`)).body.code).toBe('already-done');
      };
      await storm('first');
      const replies = await Promise.all([
        shops.confirm(paid),
        again(paid, 'late'),
        again(canceled, 'late'),
        again(strange, 'strange', { 'x-member-id': '99' }),
        again({ ...other, lottoPublishId: other.lottoPublishId + 1_000 }, 'mixed'),
      ]);
      expect(replies[0]?.text).toBe(first.text);
      const paidLater = await Promise.all(fresh.map((order) => shops.confirm(order)));
      expect(paidLater.map(({ status }) => status)).toEqual(fresh.map(() => 200));
      for (const order of [paid, ...fresh]) await expectPaidOnce(paying, order);
      await storm('second');
      await shops.closeSales();
      replies.push(await again(closed, 'late'));
      told.push(replies.slice(1).map(({ status, body }) => [status, body.code]));
    }
    expect(told[0]).toEqual(told[1]);
  });

  test.each([
    ['claimed', 'its publish', 'lotto_publish'],
    ['settled', 'its publish', 'lotto_publish'],
    // Which the audit and the purchase refer to: whoever inserts these waits for it.
    ['claimed', 'the order', 'orders'],
    ['settled', 'the order', 'orders'],
  ])(
    'of an order that is to be %s somebody has locked %s: it delays only him who pays it',
    async (step, _what, table) => {
      const slow = gate();
      const paying = await startPaying({}, slow.clock);
      const { shops } = paying;
      const [held, ...others] = (await ordersOf(paying, 9)) as [OrderRef, ...OrderRef[]];
      const lock = () => shops.hold(`SELECT * FROM ${table} WHERE order_id = '${held.orderId}' FOR UPDATE`);
      let isAnswered = false;
      const pay = () =>
        shops.confirm(held).then((reply) => {
          isAnswered = true;
          return reply;
        });
      let holder: Holder;
      let waiting: ReturnType<typeof pay>;
      if (step === 'claimed') {
        holder = await lock();
        waiting = pay();
      } else {
        waiting = pay();
        await until(() => slow.waiting() === 1);
        holder = await lock();
      }
      slow.open();
      await until(async () => (await shops.waitingForLocks()) === 1);
      const replies = await Promise.all(others.map((order) => shops.confirm(order)));
      expect(replies.map(({ status }) => status)).toEqual(others.map(() => 200));
      expect(isAnswered).toBe(false);
      if (thorough) {
        await sleep(HELD_MS);
        expect((await shops.confirm((await ordersOf(paying, 1))[0] as OrderRef)).status).toBe(200);
        expect(isAnswered).toBe(false);
      }
      await holder.query('ROLLBACK');
      holder.release();
      expect((await waiting).status).toBe(200);
      await expectPaidOnce(paying, held);
    },
  );

  test.each([
    ['ROLLBACK', 200],
    ['COMMIT', 400],
  ])(
    'a round that is being drawn is waited for: after its %s the members are told %i',
    async (end, status) => {
      const slow = gate();
      const paying = await startPaying({}, slow.clock);
      const { shops, provider } = paying;
      const orders = await ordersOf(paying, 4);
      const payments = orders.map((order) => shops.confirm(order));
      await until(() => slow.waiting() === orders.length);
      const draw = await shops.hold('UPDATE lotto_round_info SET drawn_at = sales_open_at');
      slow.open();
      await until(async () => (await shops.waitingForLocks()) > 0);
      await draw.query(end);
      draw.release();
      const replies = await Promise.all(payments);
      expect(replies.map((reply) => reply.status)).toEqual(orders.map(() => status));
      for (const order of orders) {
        if (status === 200) await expectPaidOnce(paying, order);
        else expect(await shops.see(order)).toMatchObject({ status: 'REFUNDED' });
      }
      expect([await provider.captures(), await provider.refunds()]).toEqual([4, status === 200 ? 0 : 4]);
    },
  );
});
