import { describe, expect, test } from 'vitest';
import { manualClock, ORDER, startSandbox } from './harness.ts';

describe('a session', () => {
  test('is opened once, with a made key when none is given, and answers its end', async () => {
    const clock = manualClock(Date.parse('2026-03-01T10:00:00Z'));
    const sandbox = await startSandbox({ mode: 'toss', clock });
    const made = await sandbox.openSession({ orderId: 'order-1', amount: 1000 });
    expect(made.body).toEqual({
      paymentKey: expect.stringMatching(/^[A-Za-z0-9_-]+$/),
      orderId: 'order-1',
      amount: 1000,
      currency: 'KRW',
      expiresAt: '2026-03-01T10:10:00.000Z',
    });
    const again = await sandbox.openSession({
      ...ORDER,
      paymentKey: made.body.paymentKey,
      sessionMs: 86_400_000,
    });
    expect([again.status, again.body.code]).toEqual([409, 'DUPLICATE_PAYMENT_SESSION']);
    expect(await sandbox.count('session')).toBe(1);
  });

  test('is asked for in toss mode, and opened by the first confirm in the others', async () => {
    const toss = await startSandbox({ mode: 'toss' });
    const refused = await toss.confirm();
    expect([refused.status, refused.body.code]).toEqual([404, 'NOT_FOUND_PAYMENT']);
    const published = await startSandbox({ mode: 'as-published' });
    expect((await published.confirm()).status).toBe(200);
    const strict = await startSandbox({ mode: 'as-published', autoSession: false });
    expect((await strict.confirm()).status).toBe(404);
    const lenient = await startSandbox({ mode: 'toss', autoSession: true });
    expect((await lenient.confirm()).status).toBe(200);
  });

  test.each([
    ['order', { ...ORDER, orderId: 'order-2' }],
    ['amount', { ...ORDER, amount: 999 }],
  ])('of another %s captures nothing', async (_what, request) => {
    for (const mode of ['as-published', 'generous', 'toss'] as const) {
      const sandbox = await startSandbox({ mode });
      await sandbox.openSession();
      const refused = await sandbox.confirm(request);
      expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
      expect(await sandbox.count('capture')).toBe(0);
    }
  });

  test('ends at the capture, not at the arrival of the request', async () => {
    const clock = manualClock();
    const sandbox = await startSandbox({ mode: 'toss', latencyMinMs: 500, latencyMaxMs: 500, clock });
    await sandbox.openSession({ ...ORDER, sessionMs: 500 });
    await sandbox.openSession({ ...ORDER, paymentKey: 'pay_2', sessionMs: 501 });
    const late = sandbox.confirm();
    const inTime = sandbox.confirm({ ...ORDER, paymentKey: 'pay_2' });
    await expect.poll(clock.sleeping).toBe(2);
    expect((await sandbox.lookUp()).body.status).toBe('IN_PROGRESS');
    clock.advance(500);
    expect((await late).body.code).toBe('NOT_FOUND_PAYMENT_SESSION');
    expect((await late).status).toBe(404);
    expect((await inTime).status).toBe(200);
    expect((await sandbox.lookUp()).body.status).toBe('EXPIRED');
    expect(await sandbox.count('capture')).toBe(1);
  });

  test('that ended does not hide that its payment was captured', async () => {
    const clock = manualClock();
    const sandbox = await startSandbox({ mode: 'toss', clock: { ...clock, sleep: async () => undefined } });
    await sandbox.openSession();
    await sandbox.confirm();
    clock.advance(600_000);
    expect((await sandbox.confirm()).body.code).toBe('ALREADY_PROCESSED_PAYMENT');
    expect((await sandbox.lookUp()).body.status).toBe('DONE');
  });

  test('belongs to its order: the look-up by order prefers the payment that was captured', async () => {
    const sandbox = await startSandbox({ mode: 'toss' });
    const byOrder = async () => (await sandbox.call('GET', '/v1/payments/orders/order-1')).body.paymentKey;
    for (const paymentKey of ['pay_1', 'pay_2']) await sandbox.openSession({ ...ORDER, paymentKey });
    expect(await byOrder()).toBe('pay_2');
    await sandbox.confirm();
    await sandbox.openSession({ ...ORDER, paymentKey: 'pay_3' });
    expect(await byOrder()).toBe('pay_1');
  });
});
