import { listDurableCalls } from 'pawl';
import { describe, expect, test } from 'vitest';
import { together, until } from '../../../../test/barrier.ts';
import { openDatabase } from '../../src/store/database.ts';
import { auditOf, RECOVERING, startProvider, startShops } from '../harness.ts';
import { expectBilled, recordOf } from './records.ts';

const RECONCILING = { ...RECOVERING, RECONCILE_EVERY_MS: '20', RECONCILE_GRACE_MS: '0' };

type Provider = Awaited<ReturnType<typeof startProvider>>;

/** Resolves when the provider's records have been compared twice more, so once from beginning to end since now. */
async function untilReconciled(provider: Provider): Promise<void> {
  const { length } = await provider.listings();
  await until(async () => (await provider.listings()).length >= length + 3);
}

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  async function startReconciling(options: { instances?: number; env?: Record<string, string> } = {}) {
    const provider = await startProvider({ mode: 'toss', autoSession: true });
    const shops = await startShops({
      store,
      providerUrl: provider.url,
      instances: options.instances ?? 1,
      env: { ...RECONCILING, ...options.env },
    });
    const strays = () => shops.sql('SELECT payment_key FROM stray_capture WHERE refunded_at IS NOT NULL');
    return { provider, shops, strays };
  }

  test('a stray capture stays where nobody reconciles; two instances that do give it back once', async () => {
    const { provider, shops } = await startReconciling({ env: { RECONCILE_EVERY_MS: '0' } });
    const [waiting, paid] = [await shops.order(), await shops.order()];
    expect((await shops.confirm(paid)).status).toBe(200);
    for (const order of [waiting, paid])
      await provider.captureUnnoticed({ ...order, paymentKey: `stray-${order.orderId}` });
    expect([await provider.captures(), await provider.refunds()]).toEqual([3, 0]);
    await shops.close();

    const reconciling = await startShops({
      databaseUrl: shops.databaseUrl,
      providerUrl: provider.url,
      instances: 2,
      env: RECONCILING,
    });

    const given = () => shops.sql('SELECT payment_key FROM stray_capture WHERE refunded_at IS NOT NULL');
    await until(async () => (await given()).length === 2);
    await untilReconciled(provider);
    const refunded = (await provider.ledger()).flatMap((event) =>
      event.type === 'refund' ? [event.paymentKey] : [],
    );
    expect(refunded.toSorted()).toEqual([waiting, paid].map(({ orderId }) => `stray-${orderId}`).toSorted());
    // The orders themselves are left alone.
    expect(await auditOf(reconciling, waiting)).toEqual([]);
    expect(await reconciling.see(paid)).toMatchObject({ status: 'COMPLETE' });
    expect((await reconciling.confirm(waiting)).status).toBe(200);
    await untilReconciled(provider);
    expect([await provider.captures(), await provider.refunds()]).toEqual([4, 2]);
  });

  test('a capture of the attempt that is under way is left to it', async () => {
    const { provider, shops } = await startReconciling();
    const order = await shops.order();
    await provider.fault({ next: 1, when: 'after', fault: { kind: 'reset' } });
    await provider.fault({ operation: 'lookup', when: 'before', fault: { kind: 'status', status: 503 } });
    expect((await shops.confirm(order)).status).toBe(202);
    await untilReconciled(provider);
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });
    expect(await shops.sql('SELECT payment_key FROM stray_capture')).toEqual([]);
    await provider.heal();
    await expectBilled(shops, order, order.orderId);
    await untilReconciled(provider);
    expect(await provider.refunds()).toBe(0);
  });

  test('a capture for an order that nobody knows is listed for an operator, and not touched', async () => {
    const { provider, shops } = await startReconciling();
    await provider.captureUnnoticed({ orderId: 'of-nobody', amount: 1000, paymentKey: 'pay-1' });
    await until(async () => (await recordOf(shops, { orderId: 'stray:pay-1' })).state === 'stuck');
    await untilReconciled(provider);
    const { db, sql } = openDatabase({
      url: shops.databaseUrl,
      applicationName: 'operator',
      poolSize: 1,
      lockWaitMs: 1_000,
      statementTimeoutMs: 1_000,
      longestWaitMs: 0,
      onIdleError: () => undefined,
    });
    const listed = await listDurableCalls(sql, { stuck: true }).finally(() => db.destroy());
    expect(listed).toMatchObject([
      { name: 'purchase', subject: 'stray:pay-1', state: 'stuck', code: 'UNKNOWN_ORDER' },
    ]);
    expect(await provider.cancels()).toEqual([]);
  });

  test('so is one of an order that another strategy has left PENDING, because it may be a purchase', async () => {
    const { provider, shops } = await startReconciling();
    const order = await shops.order();
    await provider.fault({ next: 1, when: 'after', fault: { kind: 'reset' } });
    const headers = { 'x-purchase-strategy': 'conditional-update' };
    expect((await shops.confirm(order, { headers })).status).toBe(202);
    const stray = { orderId: `stray:${order.orderId}` };
    await until(async () => (await recordOf(shops, stray)).state === 'stuck');
    await untilReconciled(provider);
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING', payment: { outcome: 'unknown' } });
    expect(await provider.cancels()).toEqual([]);
  });

  test('money that is going back buys nothing: who confirms with it is refused, and pays with another key', async () => {
    const { provider, shops, strays } = await startReconciling();
    const order = await shops.order();
    await provider.fault({ operation: 'cancel', when: 'before', fault: { kind: 'status', status: 503 } });
    await provider.captureUnnoticed({ ...order, paymentKey: 'stray' });
    await until(async () => (await provider.cancels()).length > 0);

    expect((await shops.confirm(order, { paymentKey: 'stray' })).status).toBe(400);
    await provider.heal();
    await until(async () => (await strays()).length === 1);
    expect((await shops.confirm(order, { paymentKey: 'stray' })).body).toMatchObject({
      ...{ status: 400, code: 'payment-given-back' },
    });

    expect(await shops.see(order)).toMatchObject({ status: 'WAITING', payment: null });
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).status).toBe(200);
    await untilReconciled(provider);
    expect([await provider.captures(), await provider.refunds()]).toEqual([2, 1]);
  });

  test('nor does money that is found to be stray while somebody waits for the order to confirm with it', async () => {
    const { provider, shops } = await startReconciling({ env: { RECONCILE_EVERY_MS: '0' } });
    const order = await shops.order();
    const judging = await shops.hold('SELECT * FROM lotto_publish FOR UPDATE');
    const confirming = shops.confirm(order, { paymentKey: 'stray' });
    await until(async () => (await shops.waitingForLocks()) === 1);
    await judging.query(
      `INSERT INTO stray_capture (payment_key, order_id, attempt, transaction_key)
       VALUES ('stray', '${order.orderId}', 1, 'transaction-1')`,
    );
    await judging.query('COMMIT');
    judging.release();
    // The claim looks when it has the order, and not before.
    expect((await confirming).body).toMatchObject({ status: 400, code: 'payment-given-back' });
    expect(await shops.see(order)).toMatchObject({ status: 'WAITING' });
    expect(await provider.captures()).toBe(0);
    expect(await shops.sql('SELECT id FROM bill')).toEqual([]);
  });

  test('records that cannot be read are read in the next round', async () => {
    const { provider, shops, strays } = await startReconciling();
    const fault = { kind: 'status', status: 503 };
    await provider.fault({ operation: 'transactions', next: 3, when: 'before', fault });
    const order = await shops.order();
    await provider.captureUnnoticed({ ...order, paymentKey: 'stray' });
    await until(async () => (await strays()).length === 1);
    expect((await provider.listings()).length).toBeGreaterThan(3);
    expect(await provider.refunds()).toBe(1);
  });

  test('a stray capture is found behind pages of others', async () => {
    const provider = await startProvider({ mode: 'generous' });
    const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
    const [paid, order] = [await shops.order(), await shops.order()];
    expect((await shops.confirm(paid, { paymentKey: 'paid' })).status).toBe(200);
    // More than a page of what is accounted for, by its payment key.
    for (let sent = 0; sent < 510; sent += 51)
      await together(51, () => provider.captureUnnoticed({ ...paid, paymentKey: 'paid' }));
    await provider.captureUnnoticed({ ...order, paymentKey: 'stray' });
    await shops.close();

    const env = { ...RECONCILING, PAYMENT_TIMEOUT_MS: '2000', PURCHASE_LEASE_MS: '5000' };
    await startShops({ databaseUrl: shops.databaseUrl, providerUrl: provider.url, env });

    await until(async () => (await provider.refunds()) > 0);
    await untilReconciled(provider);
    const strays = await shops.sql('SELECT payment_key FROM stray_capture');
    expect(strays.map((row) => row.payment_key)).toEqual(['stray']);
    expect(await provider.refunds()).toBe(1);
  });
});
