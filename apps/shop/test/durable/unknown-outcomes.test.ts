import { describe, expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { auditOf, RECOVERING, startProvider, startShops } from '../harness.ts';
import { endSession, expectBilled, recordOf, untilStatus } from './records.ts';

const ONCE = ['WAITING → PENDING', 'PENDING → COMPLETE'];
const GIVEN_BACK = ['WAITING → PENDING', 'PENDING → WAITING'];

/** A confirmation whose answer is lost, with the connection. */
const lost = (orderId: string, when: 'before' | 'after') =>
  ({ orderId, next: 1, when, fault: { kind: 'reset' } }) as const;

describe.each(['postgres', 'mariadb'] as const)('on %s', (store) => {
  /** A shop that recovers fast, beside a provider with payment windows, and an order for which one is open. */
  async function startPaying(options: { paymentKey?: string; env?: Record<string, string> } = {}) {
    const { paymentKey = 'pay-1', env = {} } = options;
    const provider = await startProvider({ mode: 'toss' });
    const shops = await startShops({ store, providerUrl: provider.url, env: { ...RECOVERING, ...env } });
    const order = await shops.order();
    await provider.openSession({ ...order, paymentKey });
    return { provider, shops, order };
  }

  test('captured, and the answer lost: without recovery the order is PENDING for ever; with it, it is billed', async () => {
    const { provider, shops, order } = await startPaying();
    const unrecovered = await shops.order();
    await provider.openSession({ ...unrecovered, paymentKey: 'pay-2' });
    for (const { orderId } of [order, unrecovered]) await provider.fault(lost(orderId, 'after'));
    await provider.fault({ operation: 'lookup', when: 'before', fault: { kind: 'status', status: 503 } });
    const headers = { 'x-purchase-strategy': 'conditional-update' };
    expect((await shops.confirm(unrecovered, { paymentKey: 'pay-2', headers })).status).toBe(202);

    const first = await shops.confirm(order, { paymentKey: 'pay-1' });

    // While nobody has found it out, the same request is told so, and where to look.
    for (const reply of [first, await shops.confirm(order, { paymentKey: 'pay-1' })]) {
      expect(reply.status).toBe(202);
      expect(reply.headers.get('location')).toBe(`/api/orders/${order.orderId}`);
      expect(reply.body.message).toContain('Do not pay again');
    }
    expect(await shops.see(order)).toMatchObject({
      status: 'PENDING',
      payment: { outcome: 'in-progress' },
    });
    expect((await shops.confirm(order, { paymentKey: 'pay-3' })).body.code).toBe('in-progress');

    await provider.heal();

    await expectBilled(shops, order, 'pay-1');
    expect(await auditOf(shops, order)).toEqual(ONCE);
    expect(await shops.see(unrecovered)).toMatchObject({
      status: 'PENDING',
      payment: { outcome: 'unknown' },
    });
    expect(await recordOf(shops, unrecovered)).toEqual({});
    expect((await provider.confirms()).length).toBe(2);
  });

  test('not captured, and the answer lost: recovery asks again under the same key, and it is captured once', async () => {
    const { provider, shops, order } = await startPaying();
    await provider.fault(lost(order.orderId, 'before'));
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
    await expectBilled(shops, order, 'pay-1');
    const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(keys).toEqual([`${order.orderId}:1`, `${order.orderId}:1`]);
    expect(await provider.captures()).toBe(1);
    expect(await auditOf(shops, order)).toEqual(ONCE);
  });

  test('however an answer is spoilt, before or after the capture, each order is captured once and billed', async () => {
    const provider = await startProvider({ mode: 'toss', replayErrors: false });
    const shops = await startShops({ store, providerUrl: provider.url, env: RECOVERING });
    const faults = [
      ...['hang', 'reset', 'truncate', 'garble'].map((kind) => ({ kind })),
      { kind: 'status', status: 502 },
      { kind: 'code', code: 'PROVIDER_ERROR' },
      { kind: 'code', code: 'UNKNOWN_PAYMENT_ERROR' },
    ];
    const cases = faults.flatMap((fault) => (['before', 'after'] as const).map((when) => ({ fault, when })));
    await Promise.all(
      cases.map(async ({ fault, when }) => {
        const order = await shops.order();
        const paymentKey = `pay-${order.orderId}`;
        await provider.openSession({ ...order, paymentKey });
        await provider.fault({ orderId: order.orderId, next: 1, when, fault });
        expect((await shops.confirm(order, { paymentKey })).status, JSON.stringify(fault)).toBe(202);
        await expectBilled(shops, order, paymentKey);
        expect(await auditOf(shops, order)).toEqual(ONCE);
      }),
    );
    expect(await provider.captures()).toBe(cases.length);
    expect(await shops.sql('SELECT id FROM bill')).toHaveLength(cases.length);
  });

  test('a provider without idempotency is never asked twice: the order is given back after the session’s end', async () => {
    const sessionMs = 400;
    const provider = await startProvider({ mode: 'generous', autoSession: false });
    const shops = await startShops({
      store,
      providerUrl: provider.url,
      env: {
        ...RECOVERING,
        PAYMENT_IDEMPOTENCY: 'false',
        PAYMENT_SESSION_MS: String(sessionMs),
        PAYMENT_MARGIN_MS: '200',
      },
    });
    const order = await shops.order();
    await provider.openSession({ ...order, paymentKey: 'pay-1' }, sessionMs);
    await provider.fault(lost(order.orderId, 'before'));
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);

    await untilStatus(shops, order, 'WAITING');

    expect((await provider.confirms()).length).toBe(1);
    expect(await shops.see(order)).toMatchObject({ payment: { outcome: 'not-captured' } });
    const early = await shops.sql(
      `SELECT a.at FROM order_status_audit a JOIN pawl_durable_call c ON c.subject = a.order_id
        WHERE a.to_status = 'WAITING' AND a.at < c.final_after`,
    );
    expect(early).toEqual([]);
    const answer = await shops.confirm(order, { paymentKey: 'pay-1' });
    expect(answer.body).toMatchObject({ status: 400, code: 'declined' });
    await provider.openSession({ ...order, paymentKey: 'pay-2' }, 60_000);
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).status).toBe(200);
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).text).toBe(answer.text);
    expect(await provider.captures()).toBe(1);
    expect(await auditOf(shops, order)).toEqual([...GIVEN_BACK, ...ONCE]);
  });

  test('a decline after a takeover is noted and not believed: the order is given back when the session is over', async () => {
    const { provider, shops, order } = await startPaying();
    const { orderId } = order;
    await provider.fault(lost(orderId, 'before'));
    await provider.fault({
      orderId,
      when: 'before',
      fault: { kind: 'code', code: 'REJECT_CARD_PAYMENT' },
    });
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
    await until(async () => (await recordOf(shops, order)).state === 'looking');

    // Now it is only looked up, however often.
    const { fence = 0 } = await recordOf(shops, order);
    await until(async () => ((await recordOf(shops, order)).fence ?? 0) > fence + 2);
    expect((await provider.confirms()).length).toBe(2);
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).body.code).toBe('in-progress');

    await endSession(shops, order);

    await untilStatus(shops, order, 'WAITING');
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).body).toMatchObject({
      status: 400,
      code: 'declined',
      message: expect.stringContaining('REJECT_CARD_PAYMENT'),
    });
    await provider.heal();
    await provider.openSession({ ...order, paymentKey: 'pay-2' });
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).status).toBe(200);
    expect(await provider.captures()).toBe(1);
  });

  test('an error that is recorded under the key is given again for ever, and ends with the session', async () => {
    const { provider, shops, order } = await startPaying();
    const fault = { kind: 'code', code: 'FAILED_INTERNAL_SYSTEM_PROCESSING' };
    await provider.fault({ orderId: order.orderId, next: 1, when: 'before', fault });
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
    await until(async () => (await provider.confirms()).length > 3);
    expect(await shops.see(order)).toMatchObject({ status: 'PENDING' });

    await endSession(shops, order);

    await untilStatus(shops, order, 'WAITING');
    const keys = (await provider.confirms()).map(({ idempotencyKey }) => idempotencyKey);
    expect(new Set(keys)).toEqual(new Set([`${order.orderId}:1`]));
    await provider.openSession({ ...order, paymentKey: 'pay-2' });
    expect((await shops.confirm(order, { paymentKey: 'pay-2' })).status).toBe(200);
    expect((await provider.confirms()).at(-1)?.idempotencyKey).toBe(`${order.orderId}:2`);
    expect(await provider.captures()).toBe(1);
  });

  test('who confirms his order with the payment key of another’s gets nothing, and the other has his bill', async () => {
    const { provider, shops, order: paid } = await startPaying();
    const headers = { 'x-member-id': '2' };
    const order = await shops.order({}, headers);
    expect((await shops.confirm(paid, { paymentKey: 'pay-1' })).status).toBe(200);
    // What he hears is lost, so the other's payment, which is DONE, is found by the look-up.
    await provider.fault(lost(order.orderId, 'before'));

    expect((await shops.confirm(order, { paymentKey: 'pay-1', headers })).status).toBe(202);

    await until(async () => (await recordOf(shops, order)).state === 'looking');
    await endSession(shops, order);
    await until(async () => (await recordOf(shops, order)).state === 'released');
    const seen = await shops.call('GET', `/api/orders/${order.orderId}`, undefined, headers);
    expect(seen.body.data).toMatchObject({ status: 'WAITING', payment: { outcome: 'not-captured' } });
    expect(await auditOf(shops, order)).toEqual(GIVEN_BACK);
    await expectBilled(shops, paid, 'pay-1');
    expect(await shops.sql('SELECT id FROM bill')).toHaveLength(1);
    expect([await provider.captures(), await provider.refunds()]).toEqual([1, 0]);
  });

  test('a payment key that was sent with another order by mistake still pays its own', async () => {
    const { provider, shops, order } = await startPaying();
    const other = await shops.order();
    expect((await shops.confirm(other, { paymentKey: 'pay-1' })).body.code).toBe('declined');
    expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(200);
    expect(await provider.captures()).toBe(1);
  });

  test.each([
    ['another payment', { paymentKey: 'typo', orderId: 'x', totalAmount: 1, currency: 'USD', method: 'X' }],
    ['nothing that is a payment', 'bogus'],
    ['null', null],
  ])(
    'an operator’s word that it was captured bills what was asked for, though he gives %s',
    async (_what, value) => {
      const { provider, shops, order } = await startPaying({ env: { RECOVERY_EVERY_MS: '3600000' } });
      await provider.fault(lost(order.orderId, 'after'));
      expect((await shops.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
      await shops.sql(
        `UPDATE pawl_durable_call SET verdict = 'done', value = '${JSON.stringify(value)}' WHERE subject = ?`,
        [order.orderId],
      );
      const [instance] = shops.urls;
      const another = await startShops({
        databaseUrl: shops.databaseUrl,
        providerUrl: provider.url,
        env: RECOVERING,
      });
      expect(another.urls[0]).not.toBe(instance);
      await expectBilled(shops, order, 'pay-1');
      const [bill] = await shops.sql('SELECT payment_key, total_amount FROM purchase');
      expect(bill).toMatchObject({ payment_key: 'pay-1', total_amount: order.amount });
    },
  );

  test('wrong credentials on one of the instances: an instance with the right ones finishes it', async () => {
    const { provider, shops, order } = await startPaying();
    await shops.close();
    const settings = { databaseUrl: shops.databaseUrl, providerUrl: provider.url };
    const wrong = { ...RECOVERING, PAYMENT_SECRET_KEY: 'test_sk_of_somebody_else' };
    const deployed = await startShops({ ...settings, env: wrong });
    expect((await deployed.confirm(order, { paymentKey: 'pay-1' })).status).toBe(202);
    await until(async () => ((await recordOf(deployed, order)).fence ?? 0) > 2);
    expect(await recordOf(deployed, order)).toMatchObject({ state: 'unknown', code: 'UNAUTHORIZED_KEY' });
    expect(await deployed.see(order)).toMatchObject({ status: 'PENDING' });

    const right = await startShops({ ...settings, env: { ...RECOVERING, SERVER_NAME: 'right' } });

    await expectBilled(right, order, 'pay-1');
    expect(await provider.captures()).toBe(1);
    expect((await deployed.confirm(order, { paymentKey: 'pay-1' })).status).toBe(200);
  });
});
