import { describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { twoStores } from '../../../../test/stores.ts';
import {
  auditOf,
  gate,
  type OrderRef,
  RECOVERING,
  type Shops,
  startProvider,
  startShops,
} from '../harness.ts';
import { drawRound, recordOf, untilStatus } from './records.ts';

const PAID = ['WAITING → PENDING', 'PENDING → COMPLETE'];
const GIVEN_BACK = ['COMPLETE → REFUNDING', 'REFUNDING → REFUNDED'];

type Provider = Awaited<ReturnType<typeof startProvider>>;

async function expectRefunded(provider: Provider, shops: Shops, order: OrderRef): Promise<void> {
  await untilStatus(shops, order, 'REFUNDED');
  expect([await provider.captures(), await provider.refunds()]).toEqual([1, 1]);
  const ledger = await provider.ledger();
  const moved = ledger.flatMap((event) =>
    event.type === 'capture' ? [event.amount] : event.type === 'refund' ? [-event.amount] : [],
  );
  expect(moved).toEqual([order.amount, -order.amount]);
}

const keysOf = async (provider: Provider) =>
  (await provider.cancels()).map(({ idempotencyKey }) => idempotencyKey);

describe.each(twoStores)('cancelling, raced on %s', (store) => {
  test.each(['durable', 'conditional-update'])(
    'an order paid by %s is refunded once, although five ask at once on two instances',
    async (strategy) => {
      const slow = gate();
      const provider = await startProvider({ clock: slow.clock });
      const shops = await startShops({ store, providerUrl: provider.url, instances: 2 });
      const order = await shops.order();
      slow.open();
      const paid = await shops.confirm(order, { headers: { 'x-purchase-strategy': strategy } });
      expect(paid.status).toBe(200);
      slow.close();
      let answered = 0;
      const racing = together(5, async (index) => {
        const reply = await shops.cancel(order, {}, index % 2);
        answered++;
        return reply;
      });
      await until(() => slow.waiting() === 1 && answered === 4);
      slow.open();
      const replies = await racing;
      expect(replies.map(({ status }) => status).toSorted()).toEqual([200, 202, 202, 202, 202]);
      for (const { status, headers, body } of replies) {
        if (status === 200) expect(body.data).toEqual({ orderId: order.orderId, status: 'REFUNDED' });
        else
          expect([headers.get('location'), body.data.status]).toEqual([
            `/api/orders/${order.orderId}`,
            'REFUNDING',
          ]);
      }
      await expectRefunded(provider, shops, order);
      expect(await auditOf(shops, order)).toEqual([...PAID, ...GIVEN_BACK]);
      expect(await keysOf(provider)).toEqual([`${order.orderId}:1:refund:1`]);
    },
  );

  test('a cancellation and a confirmation at once: one of them has the order', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url });
    const order = await shops.order();
    // Both wait for the row, and whoever gets it first leaves nothing for the other.
    const holder = await shops.hold('SELECT * FROM lotto_publish FOR UPDATE');
    const [confirming, canceling] = [shops.confirm(order), shops.cancel(order)];
    await until(async () => (await shops.waitingForLocks()) === 2);
    await holder.query('COMMIT');
    holder.release();
    const [confirmed, canceled] = await Promise.all([confirming, canceling]);
    const { status } = await shops.see(order);
    const net = (await provider.captures()) - (await provider.refunds());
    if (status === 'CANCELED') {
      expect([confirmed.body.code, canceled.status, net]).toEqual(['wrong-state', 200, 0]);
    } else if (status === 'COMPLETE') {
      expect([confirmed.status, canceled.body.code, net]).toEqual([200, 'in-progress', 1]);
    } else {
      // It was paid when the cancellation looked again.
      expect([status, confirmed.status, canceled.status, net]).toEqual(['REFUNDED', 200, 200, 0]);
    }
  });
});

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  async function startPaid(options: { strategy?: string; env?: Record<string, string> } = {}) {
    const { strategy = 'durable', env = {} } = options;
    const provider = await startProvider({ mode: 'toss', autoSession: true });
    const shops = await startShops({ store, providerUrl: provider.url, env: { ...RECOVERING, ...env } });
    const order = await shops.order();
    const paid = await shops.confirm(order, { headers: { 'x-purchase-strategy': strategy } });
    expect(paid.status).toBe(200);
    return { provider, shops, order, paid };
  }

  test('an order that waits is given up, for good, and the provider hears nothing', async () => {
    const provider = await startProvider();
    const shops = await startShops({ store, providerUrl: provider.url });
    const order = await shops.order();
    for (const reply of [await shops.cancel(order), await shops.cancel(order)]) {
      expect(reply.status).toBe(200);
      expect(reply.body.data).toEqual({ orderId: order.orderId, status: 'CANCELED' });
    }
    expect((await shops.confirm(order)).body).toMatchObject({ status: 400, code: 'wrong-state' });
    expect(await auditOf(shops, order)).toEqual(['WAITING → CANCELED']);
    expect(await provider.ledger()).toEqual([]);
  });

  test('an order that is being paid is not cancelled', async () => {
    const slow = gate();
    const provider = await startProvider({ clock: slow.clock });
    const shops = await startShops({ store, providerUrl: provider.url });
    const order = await shops.order();
    const paying = shops.confirm(order);
    await until(() => slow.waiting() === 1);
    expect((await shops.cancel(order)).body).toMatchObject({ status: 400, code: 'in-progress' });
    slow.open();
    expect((await paying).status).toBe(200);
    expect(await provider.cancels()).toEqual([]);
  });

  test('a paid order is refunded in full, its bill says so, and nothing more is paid', async () => {
    const { provider, shops, order, paid } = await startPaid();

    for (const reply of [await shops.cancel(order), await shops.cancel(order)]) {
      expect(reply.status).toBe(200);
      expect(reply.body.data).toEqual({ orderId: order.orderId, status: 'REFUNDED' });
    }

    await expectRefunded(provider, shops, order);
    expect(await shops.sql('SELECT status FROM purchase')).toEqual([{ status: 'REFUNDED' }]);
    const bill = await shops.call('GET', `/api/tickets/${paid.body.data.id}`);
    expect(bill.body.data).toMatchObject({
      purchase: { status: 'REFUNDED' },
      lottoPublish: { status: 'REFUNDED' },
    });
    const other = await shops.confirm(order, { paymentKey: 'pay-2' });
    expect(other.body).toMatchObject({ status: 400, code: 'wrong-state' });
    // What the member was answered with when he paid stays the answer to that request.
    expect((await shops.confirm(order)).text).toBe(paid.text);
    expect((await provider.confirms()).length).toBe(1);
    expect((await provider.cancels()).length).toBe(1);
  });

  test.each(['drawn_at', 'called_off_at'])(
    'once the round has its %s, tickets are not taken back',
    async (at) => {
      const { provider, shops, order } = await startPaid();
      await shops.sql(`UPDATE lotto_round_info SET ${at} = sales_open_at`);
      expect((await shops.cancel(order)).body).toMatchObject({ status: 400, code: 'not-open' });
      expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
      expect(await auditOf(shops, order)).toEqual(PAID);
      expect(await provider.cancels()).toEqual([]);
    },
  );

  test('another member’s order is not found, in the words of one that is not there', async () => {
    const { provider, shops, order } = await startPaid();
    const foreign = await shops.cancel(order, { 'x-member-id': '2' });
    const unknown = await shops.cancel({ ...order, orderId: 'no-such-order' });
    expect(foreign.body).toMatchObject({ status: 404, code: 'order-not-found' });
    expect(foreign.text).toBe(unknown.text);
    expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
    expect(await provider.cancels()).toEqual([]);
  });

  test('what is malformed is refused, and changes nothing', async () => {
    const { provider, shops, order } = await startPaid();
    const cancel = (orderId: string, body?: unknown, headers?: Record<string, string>) =>
      shops.call('POST', `/api/orders/${orderId}/cancel`, body, headers);
    const { orderId } = order;
    for (const reply of [
      ...(await Promise.all(
        ['x', 'o'.repeat(65), "x'%20OR%20'1'='1", `${orderId}%00`].map((id) => cancel(id)),
      )),
      ...(await Promise.all(
        [{ amount: 1 }, { orderId }, [], 7, '"all"', '{'].map((body) => cancel(orderId, body)),
      )),
      await cancel(orderId, undefined, { 'x-member-id': 'nobody' }),
    ]) {
      expect(reply.body).toMatchObject({ success: false, status: 400, code: 'invalid-request', data: null });
    }
    expect(await shops.see(order)).toMatchObject({ status: 'COMPLETE' });
    expect(await provider.cancels()).toEqual([]);
    expect((await cancel(orderId, {})).status).toBe(200);
  });

  test.each(['conditional-update', 'durable'])(
    '%s, captured when the round has been drawn meanwhile',
    async (strategy) => {
      const slow = gate();
      const provider = await startProvider({ clock: slow.clock });
      const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
      const order = await shops.order();
      const headers = { 'x-purchase-strategy': strategy };
      const paying = shops.confirm(order, { headers });
      await until(() => slow.waiting() === 1);
      await drawRound(shops);
      slow.open();
      const reply = await paying;
      if (strategy === 'conditional-update') {
        // It sells a ticket for numbers that are known by now.
        expect(reply.status).toBe(200);
        return;
      }
      expect(reply.body).toMatchObject({ status: 400, code: 'refunded' });
      await expectRefunded(provider, shops, order);
      expect(await auditOf(shops, order)).toEqual([
        'WAITING → PENDING',
        'PENDING → REFUNDING',
        'REFUNDING → REFUNDED',
      ]);
      expect(await shops.sql('SELECT id FROM bill')).toEqual([]);
      const again = await shops.confirm(order, { headers });
      expect([again.status, again.text]).toEqual([400, reply.text]);
      expect((await shops.confirm(order, { headers, paymentKey: 'pay-2' })).body.code).toBe('wrong-state');
      expect((await provider.confirms()).length).toBe(1);
    },
  );

  // An order that another strategy has paid has no record of its charge: one is made when it is cancelled.
  describe.each(['durable', 'conditional-update'])('the refund of an order paid by %s', (strategy) => {
    const lost = (when: 'before' | 'after') =>
      ({ operation: 'cancel', next: 1, when, fault: { kind: 'reset' } }) as const;

    test('whose answer is lost is looked up, and found to be done', async () => {
      const { provider, shops, order } = await startPaid({ strategy });
      await provider.fault(lost('after'));
      const reply = await shops.cancel(order);
      expect([reply.status, reply.headers.get('location')]).toEqual([202, `/api/orders/${order.orderId}`]);
      await expectRefunded(provider, shops, order);
      expect(await keysOf(provider)).toEqual([`${order.orderId}:1:refund:1`]);
    });

    test('that never arrived is sent again under the same key', async () => {
      const { provider, shops, order } = await startPaid({ strategy });
      await provider.fault(lost('before'));
      expect((await shops.cancel(order)).status).toBe(202);
      await expectRefunded(provider, shops, order);
      const key = `${order.orderId}:1:refund:1`;
      expect(await keysOf(provider)).toEqual([key, key]);
    });

    test('that was refused is tried under another key, since the refusal is recorded under the first', async () => {
      const { provider, shops, order } = await startPaid({ strategy });
      const fault = { kind: 'code', code: 'FAILED_REFUND_PROCESS' };
      await provider.fault({ operation: 'cancel', next: 1, when: 'before', fault });
      expect((await shops.cancel(order)).status).toBe(202);
      await expectRefunded(provider, shops, order);
      const key = `${order.orderId}:1:refund`;
      expect(await keysOf(provider)).toEqual([`${key}:1`, `${key}:2`]);
      expect(await recordOf(shops, order)).toMatchObject({ state: 'compensated' });
    });
  });
});
