import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Harness, manualClock, ORDER, startSandbox } from './harness.ts';

const RANGE = 'startDate=2000-01-01T00:00:00&endDate=2100-01-01T00:00:00';
const OTHER = { ...ORDER, paymentKey: 'pay_2', orderId: 'order-2' };
const lag = (lagMs: number, about: object = {}) => ({ ...about, fault: { kind: 'lag', lagMs } });

async function start(sessionMs = 600_000) {
  const clock = manualClock();
  const sandbox = await startSandbox({
    mode: 'toss',
    clock: { ...clock, sleep: async () => undefined },
  });
  for (const order of [ORDER, OTHER]) await sandbox.openSession({ ...order, sessionMs });
  return { sandbox, advance: clock.advance };
}

const byOrder = async (sandbox: Harness, orderId = ORDER.orderId) =>
  (await sandbox.call('GET', `/v1/payments/orders/${orderId}`)).body;
const listed = async (sandbox: Harness, query = '') => {
  const { text } = await sandbox.call('GET', `/v1/transactions?${RANGE}${query}`);
  return (JSON.parse(text) as Record<string, unknown>[]).map(({ paymentKey, status }) => [
    paymentKey,
    status,
  ]);
};

describe('a look-up that lags', () => {
  test('shows a payment as it was before its capture, until that is old enough', async () => {
    const { sandbox, advance } = await start();
    const waiting = await sandbox.lookUp();
    await sandbox.fault(lag(1000));
    // The answer of the confirm itself does not lag.
    expect((await sandbox.confirm()).body.status).toBe('DONE');
    advance(999);
    expect((await sandbox.lookUp()).text).toBe(waiting.text);
    expect(await byOrder(sandbox)).toEqual(waiting.body);
    expect(await listed(sandbox)).toEqual([]);
    advance(1);
    expect((await sandbox.lookUp()).body).toMatchObject({ status: 'DONE', balanceAmount: 1000 });
    expect((await byOrder(sandbox)).status).toBe('DONE');
    expect(await listed(sandbox)).toEqual([['pay_1', 'DONE']]);
  });

  test('shows it as captured until its refunds are old enough', async () => {
    const { sandbox, advance } = await start();
    await sandbox.fault(lag(1000));
    await sandbox.confirm();
    advance(1000);
    const captured = await sandbox.lookUp();
    expect(captured.body.status).toBe('DONE');
    await sandbox.cancel({ cancelAmount: 400 });
    advance(500);
    await sandbox.cancel();
    expect((await sandbox.lookUp()).text).toBe(captured.text);
    advance(500);
    expect((await sandbox.lookUp()).body).toMatchObject({ status: 'PARTIAL_CANCELED', balanceAmount: 600 });
    advance(500);
    expect((await sandbox.lookUp()).body).toMatchObject({ status: 'CANCELED', balanceAmount: 0 });
  });

  test('shows a new session at once, and its end too: EXPIRED, though it was captured', async () => {
    const { sandbox, advance } = await start(500);
    await sandbox.fault(lag(1000));
    expect((await sandbox.lookUp()).body.status).toBe('IN_PROGRESS');
    await sandbox.confirm();
    advance(500);
    expect((await sandbox.lookUp()).body.status).toBe('EXPIRED');
    advance(500);
    expect((await sandbox.lookUp()).body.status).toBe('DONE');
  });

  test('by order prefers the payment whose capture can be seen', async () => {
    const { sandbox, advance } = await start();
    await sandbox.fault(lag(1000));
    await sandbox.confirm();
    advance(1000);
    const second = { ...ORDER, paymentKey: 'pay_3' };
    await sandbox.openSession(second);
    await sandbox.confirm(second);
    expect((await byOrder(sandbox)).paymentKey).toBe('pay_1');
    advance(1000);
    expect((await byOrder(sandbox)).paymentKey).toBe('pay_3');
  });

  test('is one of that order, payment or operation only, if the rule says so', async () => {
    for (const [about, seen] of [
      [{ orderId: 'order-1' }, ['IN_PROGRESS', 'DONE', [['pay_2', 'DONE']]]],
      [{ paymentKey: 'pay_2' }, ['DONE', 'IN_PROGRESS', [['pay_1', 'DONE']]]],
      [
        { operation: 'lookup' },
        [
          'IN_PROGRESS',
          'IN_PROGRESS',
          [
            ['pay_1', 'DONE'],
            ['pay_2', 'DONE'],
          ],
        ],
      ],
      [{ operation: 'transactions' }, ['DONE', 'DONE', []]],
    ] as const) {
      const { sandbox } = await start();
      await sandbox.fault(lag(1000, about));
      await sandbox.confirm();
      await sandbox.confirm(OTHER);
      const statuses = [(await byOrder(sandbox)).status, (await byOrder(sandbox, 'order-2')).status];
      expect([...statuses, await listed(sandbox)]).toEqual(seen);
    }
  });

  test('fills a page of transactions with what can be seen', async () => {
    const { sandbox } = await start();
    await sandbox.fault(lag(1000, { orderId: 'order-1' }));
    await sandbox.confirm();
    await sandbox.confirm(OTHER);
    expect(await listed(sandbox, '&limit=1')).toEqual([['pay_2', 'DONE']]);
  });

  test('strikes only where it hides something, and is on record then', async () => {
    const { sandbox, advance } = await start();
    const id = await sandbox.fault(lag(1000, { next: 2 }));
    const struck = async () => JSON.parse((await sandbox.call('GET', '/sandbox/faults')).text)[0].struck;
    await sandbox.lookUp();
    expect(await struck()).toBe(0);
    await sandbox.confirm();
    await sandbox.lookUp(OTHER.paymentKey);
    expect(await struck()).toBe(0);
    expect((await sandbox.lookUp()).body.status).toBe('IN_PROGRESS');
    expect(await listed(sandbox)).toEqual([]);
    expect((await sandbox.lookUp()).body.status).toBe('DONE');
    advance(1000);
    await sandbox.lookUp();
    expect(await struck()).toBe(2);
    const faults = (await sandbox.ledger()).filter(({ type }) => type === 'fault');
    const one = { ruleId: id, kind: 'lag', when: null, requestId: null };
    expect(faults).toMatchObject([
      { ...one, operation: 'lookup', paymentKey: 'pay_1', orderId: 'order-1' },
      { ...one, operation: 'transactions', paymentKey: null, orderId: null },
    ]);
  });

  test('strikes a reading once, however much it hides, or not at all', async () => {
    const { sandbox } = await start();
    await sandbox.fault(lag(1000, { share: 0.5 }));
    await sandbox.confirm();
    await sandbox.cancel({ cancelAmount: 400 });
    await sandbox.cancel();
    const lengths: number[] = [];
    for (let index = 0; index < 40; index++) lengths.push((await listed(sandbox)).length);
    expect(new Set(lengths)).toEqual(new Set([0, 3]));
    expect(await sandbox.count('fault')).toBe(lengths.filter((length) => length === 0).length);
  });

  test('adds up with another, and with the fault of an answer', async () => {
    const { sandbox } = await start();
    await sandbox.fault(lag(1000, { orderId: 'order-1' }));
    await sandbox.fault(lag(1000, { orderId: 'order-2' }));
    await sandbox.confirm();
    await sandbox.confirm(OTHER);
    expect(await listed(sandbox)).toEqual([]);
    expect(await sandbox.count('fault')).toBe(2);
    await sandbox.fault({ operation: 'lookup', when: 'after', fault: { kind: 'status', status: 500 } });
    expect((await sandbox.lookUp()).status).toBe(500);
    expect(await sandbox.count('fault')).toBe(4);
  });
});

const step = fc.record({
  advanceMs: fc.integer({ min: 0, max: 3 }),
  paymentKey: fc.constantFrom('pay_1', 'pay_2', 'pay_3'),
  cancelAmount: fc.option(fc.integer({ min: 1, max: 1500 })),
});

test('whatever was asked, a lag shows what was to be seen that long ago', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), fc.nat(), async (steps, cut) => {
      const clock = manualClock();
      const sandbox = await startSandbox({
        mode: 'generous',
        clock: { ...clock, sleep: async () => undefined },
      });
      const orders = ['order-1', 'order-1', 'order-2'];
      for (const [index, orderId] of orders.entries())
        await sandbox.openSession({ ...ORDER, paymentKey: `pay_${index + 1}`, orderId });
      const take = async ({ advanceMs, paymentKey, cancelAmount }: (typeof steps)[number]) => {
        clock.advance(advanceMs);
        if (cancelAmount !== null) return await sandbox.cancel({ cancelAmount }, paymentKey);
        return await sandbox.confirm({
          ...ORDER,
          paymentKey,
          orderId: orders[Number(paymentKey.slice(4)) - 1],
        });
      };
      const view = async () => {
        const paths = [
          ...['pay_1', 'pay_2', 'pay_3', 'orders/order-1', 'orders/order-2'].map(
            (id) => `/v1/payments/${id}`,
          ),
          `/v1/transactions?${RANGE}`,
        ];
        const replies = await Promise.all(paths.map((path) => sandbox.call('GET', path)));
        return replies.map(({ text }) => text);
      };
      const early = cut % (steps.length + 1);
      for (const one of steps.slice(0, early)) await take(one);
      const then = await view();
      const thenMs = clock.nowMs();
      // What follows happens later than the first view, by the clock too.
      clock.advance(1);
      for (const one of steps.slice(early)) await take(one);
      await sandbox.fault(lag(clock.nowMs() - thenMs));
      expect(await view()).toEqual(then);
      await sandbox.call('DELETE', '/sandbox/faults');
      const moved = (await sandbox.ledger()).some(
        ({ type, at }) => (type === 'capture' || type === 'refund') && Date.parse(at) > thenMs,
      );
      expect((await view()).join() === then.join()).toBe(!moved);
      await sandbox.close();
    }),
    { numRuns: 40 },
  );
});
