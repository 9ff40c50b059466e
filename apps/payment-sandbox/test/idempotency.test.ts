import { describe, expect, test } from 'vitest';
import { manualClock, ORDER, startSandbox } from './harness.ts';

const KEY = { 'idempotency-key': 'order-1:1' };
const DAY_MS = 24 * 60 * 60 * 1000;

describe('under an idempotency key', () => {
  test('the first is at work: 409; finished: the same bytes again, whatever the body', async () => {
    const clock = manualClock();
    const sandbox = await startSandbox({ mode: 'toss', latencyMinMs: 9, latencyMaxMs: 9, clock });
    await sandbox.openSession();
    const first = sandbox.confirm(ORDER, KEY);
    await expect.poll(clock.sleeping).toBe(1);
    const meanwhile = await sandbox.confirm(ORDER, KEY);
    expect([meanwhile.status, meanwhile.body.code]).toEqual([409, 'IDEMPOTENT_REQUEST_PROCESSING']);
    clock.advance(9);
    const { status, text } = await first;
    expect(status).toBe(200);
    expect(await sandbox.confirm({ ...ORDER, amount: 5 }, KEY)).toMatchObject({ status: 200, text });
    expect(await sandbox.count('capture')).toBe(1);
    expect(await sandbox.count('request')).toBe(3);
  });

  test('a cancel is replayed, and another payment under the same key is another request', async () => {
    const sandbox = await startSandbox({ mode: 'toss', autoSession: true });
    await sandbox.confirm();
    await sandbox.confirm({ ...ORDER, paymentKey: 'pay_2', orderId: 'order-2' });
    const first = await sandbox.cancel({ cancelAmount: 400 }, 'pay_1', KEY);
    const again = await sandbox.cancel({ cancelAmount: 400 }, 'pay_1', KEY);
    expect(again.text).toBe(first.text);
    expect(first.body.balanceAmount).toBe(600);
    expect((await sandbox.cancel({ cancelAmount: 400 }, 'pay_2', KEY)).body.paymentKey).toBe('pay_2');
    expect(await sandbox.count('refund')).toBe(2);
  });

  test('another API key is another caller', async () => {
    const first = await startSandbox({ mode: 'toss', autoSession: true });
    await first.confirm(ORDER, KEY);
    await first.close();
    const other = await startSandbox({
      mode: 'toss',
      autoSession: true,
      ledgerFile: first.ledgerFile,
      secretKey: 'test_sk_other',
    });
    const authorization = `Basic ${Buffer.from('test_sk_other:').toString('base64')}`;
    const reply = await other.confirm(ORDER, { ...KEY, authorization });
    expect(reply.body.code).toBe('ALREADY_PROCESSED_PAYMENT');
  });

  test('an error is replayed while that is the setting, and decided anew when it is not', async () => {
    for (const replayErrors of [true, false]) {
      const sandbox = await startSandbox({ mode: 'toss', replayErrors });
      expect((await sandbox.confirm(ORDER, KEY)).body.code).toBe('NOT_FOUND_PAYMENT');
      await sandbox.openSession();
      expect((await sandbox.confirm(ORDER, KEY)).status).toBe(replayErrors ? 404 : 200);
    }
  });

  test('a malformed request takes no key', async () => {
    const sandbox = await startSandbox({ mode: 'toss', autoSession: true });
    expect((await sandbox.confirm({ ...ORDER, amount: '1000' }, KEY)).status).toBe(400);
    expect((await sandbox.confirm(ORDER, KEY)).status).toBe(200);
  });

  test('300 characters are a key, 301 are not', async () => {
    const sandbox = await startSandbox({ mode: 'toss', autoSession: true });
    const refused = await sandbox.confirm(ORDER, { 'idempotency-key': 'k'.repeat(301) });
    expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_IDEMPOTENCY_KEY']);
    expect(await sandbox.count('capture')).toBe(0);
    expect((await sandbox.confirm(ORDER, { 'idempotency-key': 'k'.repeat(300) })).status).toBe(200);
  });

  test('a key is valid for 15 days', async () => {
    const clock = manualClock();
    const options = {
      mode: 'toss',
      autoSession: true,
      clock: { ...clock, sleep: async () => undefined },
    } as const;
    const sandbox = await startSandbox(options);
    const { text } = await sandbox.confirm(ORDER, KEY);
    clock.advance(15 * DAY_MS - 1);
    expect((await sandbox.confirm(ORDER, KEY)).text).toBe(text);
    clock.advance(1);
    expect((await sandbox.confirm(ORDER, KEY)).body.code).toBe('ALREADY_PROCESSED_PAYMENT');
  });

  test('the answer outlives the process', async () => {
    const first = await startSandbox({ mode: 'toss', autoSession: true, alreadyProcessedGuard: false });
    const { text } = await first.confirm(ORDER, KEY);
    await first.close();
    const second = await startSandbox({
      mode: 'toss',
      alreadyProcessedGuard: false,
      ledgerFile: first.ledgerFile,
    });
    expect((await second.confirm(ORDER, KEY)).text).toBe(text);
    expect(await second.count('capture')).toBe(1);
    // Without the key, the same confirm captures: it was the key that kept it from doing so.
    await second.confirm(ORDER);
    expect(await second.count('capture')).toBe(2);
  });
});
