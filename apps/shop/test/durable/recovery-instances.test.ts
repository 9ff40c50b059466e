import { describe, expect, inject, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { auditOf, RECOVERING, startProvider, startShops } from '../harness.ts';
import { startOwnProcess } from '../own-process.ts';
import { endSession, expectBilled, recordOf, untilStatus } from './records.ts';

const DAY_MS = 86_400_000;
const ONCE = ['WAITING → PENDING', 'PENDING → COMPLETE'];
const lookUpsFail = { operation: 'lookup', when: 'before', fault: { kind: 'status', status: 503 } } as const;

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  /** An instance in a process of its own, which strikes itself where it is told to, and an order that it is to be paid for. */
  async function startMortal(failpoint: string) {
    let aheadMs = 0;
    const clock = { nowMs: () => Date.now() + aheadMs, sleep: async () => undefined };
    const provider = await startProvider({ mode: 'toss', replayErrors: false, clock });
    const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
    const mortal = await startOwnProcess({
      ...RECOVERING,
      RECOVERY_EVERY_MS: '3600000',
      DATABASE_URL: shops.databaseUrl,
      REDIS_URL: inject('redisUrl'),
      PAYMENT_BASE_URL: provider.url,
      NODE_OPTIONS: '--conditions=failpoints',
      PAWL_FAILPOINT: failpoint,
    });
    const order = await shops.order();
    await provider.openSession({ ...order, paymentKey: 'pay-1' });
    const instance = shops.join(mortal.url);
    return {
      provider,
      shops,
      mortal,
      order,
      pay: (headers: Record<string, string> = {}) =>
        shops.confirm(order, { paymentKey: 'pay-1', instance, headers }),
      /** The payment window is over, at the provider and in our records. */
      async endSession() {
        aheadMs += DAY_MS;
        await endSession(shops, order);
      },
    };
  }

  test('an instance that dies between the charge and the bill: without recovery the order is PENDING for ever', async () => {
    const { provider, shops, mortal, order, pay } = await startMortal('');
    const paying = pay({ 'x-purchase-strategy': 'conditional-update', 'x-lab-stop-at': 'charged' });
    const failed = expect(paying).rejects.toThrow();
    await mortal.stopped(paying);
    await mortal.kill();
    await failed;
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });
    // Nobody knows that there is something to be finished.
    expect(await recordOf(shops, order)).toEqual({});
    expect(await provider.captures()).toBe(1);
    expect(await shops.sql('SELECT id FROM bill')).toEqual([]);
  });

  test('with it, another instance finishes the purchase', async () => {
    const { provider, shops, order, pay } = await startMortal('durable-call.settle.before');
    await expect(pay()).rejects.toThrow();
    await expectBilled(shops, order, 'pay-1');
    expect(await auditOf(shops, order)).toEqual(ONCE);
    expect((await provider.confirms()).length).toBe(1);
    expect(await provider.captures()).toBe(1);
  });

  test('one that dies before it has sent anything: another one charges, once, and finishes', async () => {
    const { provider, shops, order, pay } = await startMortal('durable-call.send.before');
    await expect(pay()).rejects.toThrow();
    await expectBilled(shops, order, 'pay-1');
    const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([`${order.orderId}:1`]);
    expect(await provider.captures()).toBe(1);
  });

  test('one that stands still before it sends, until its order has been declined, given back, and paid in another way', async () => {
    const { provider, shops, mortal, order, pay, ...of } = await startMortal('durable-call.send.before=stop');
    await provider.fault({ next: 1, when: 'before', fault: { kind: 'code', code: 'REJECT_CARD_PAYMENT' } });
    const paying = pay();
    await mortal.stopped(paying);
    // What stands still may still send, and this time it might be accepted: so the decline is not believed.
    await until(async () => (await recordOf(shops, order)).state === 'looking');
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });
    await of.endSession();
    await untilStatus(shops, order, 'WAITING');
    await provider.openSession({ ...order, paymentKey: 'pay-2' });
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).status).toBe(200);

    await mortal.goOn();

    const late = await paying;
    expect(late.body).toMatchObject({ status: 400, code: 'declined' });
    expect(late.text).toBe((await pay()).text);
    const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([1, 2, 1].map((attempt) => `${order.orderId}:${attempt}`));
    expect(await provider.captures()).toBe(1);
    await expectBilled(shops, order, 'pay-2');
  });

  test('one that stands still before the bill, while another writes it: one bill, and its client gets it', async () => {
    const { provider, shops, mortal, order, pay } = await startMortal('durable-call.settle.before=stop');
    const paying = pay();
    await mortal.stopped(paying);
    await expectBilled(shops, order, 'pay-1');
    await mortal.goOn();
    const late = await paying;
    expect(late.status).toBe(200);
    expect(late.text).toBe((await pay()).text);
    expect(await auditOf(shops, order)).toEqual(ONCE);
    expect(await shops.sql('SELECT id FROM bill')).toHaveLength(1);
    expect(await provider.captures()).toBe(1);
  });

  test('two instances recover forty orders, each once', async () => {
    const provider = await startProvider({ mode: 'toss', autoSession: true });
    const shops = await startShops({ store, providerUrl: provider.url, instances: 2, env: RECOVERING });
    const orders = await together(40, () => shops.order());
    // Half of them are captured, half are not, and nobody has heard of it.
    for (const [index, { orderId }] of orders.entries()) {
      const when = index % 2 === 0 ? 'before' : 'after';
      await provider.fault({ orderId, next: 1, when, fault: { kind: 'reset' } });
    }
    await provider.fault(lookUpsFail);
    const replies = await together(40, (index) =>
      shops.confirm(orders[index] as (typeof orders)[0], { instance: index % 2 }),
    );
    expect(replies.map(({ status }) => status)).toEqual(Array(40).fill(202));

    await provider.heal();

    await until(async () => (await shops.sql('SELECT id FROM bill')).length === 40);
    const audit = await shops.sql(
      'SELECT order_id, to_status, count(*) AS moves FROM order_status_audit GROUP BY order_id, to_status',
    );
    expect(audit).toHaveLength(80);
    expect(audit.every(({ moves }) => Number(moves) === 1)).toBe(true);
    expect(await provider.captures()).toBe(40);
    expect(await provider.refunds()).toBe(0);
    const instances = await shops.sql(
      `SELECT DISTINCT instance FROM order_status_audit WHERE to_status = 'COMPLETE'`,
    );
    expect(instances).toHaveLength(2);
  });

  test('a look-up that hangs holds up the recovery of its own order, and of no other', async () => {
    const provider = await startProvider({ mode: 'toss', autoSession: true });
    const shops = await startShops({
      store,
      providerUrl: provider.url,
      // The one that hangs does so for longer than the test takes.
      env: { ...RECOVERING, PAYMENT_TIMEOUT_MS: '60000', PURCHASE_LEASE_MS: '120000', RECOVERY_MOST: '2' },
    });
    const hung = await shops.order();
    const others = await together(4, () => shops.order());
    await provider.fault({
      operation: 'lookup',
      orderId: hung.orderId,
      when: 'before',
      fault: { kind: 'hang' },
    });
    await provider.fault({ when: 'after', next: 1, orderId: hung.orderId, fault: { kind: 'reset' } });
    expect((await shops.confirm(hung)).status).toBe(202);
    await until(async () =>
      (await provider.ledger()).some(
        ({ type, ...event }) => type === 'fault' && 'kind' in event && event.kind === 'hang',
      ),
    );

    for (const order of others) {
      await provider.fault({ when: 'after', next: 1, orderId: order.orderId, fault: { kind: 'reset' } });
      expect((await shops.confirm(order)).status).toBe(202);
      await untilStatus(shops, order, 'COMPLETE');
    }

    expect(await shops.see(hung)).toMatchObject({ status: 'PENDING' });
    // Or the shop waits for it when it ends.
    await provider.close();
  });
});
