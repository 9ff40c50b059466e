import { describe, expect, test } from 'vitest';
import type { SandboxOptions } from '../src/index.ts';
import { manualClock, ORDER, sendRaw, startSandbox } from './harness.ts';

const KEY = { 'idempotency-key': 'order-1:1' };
const CONFIRM = '/v1/payments/confirm';

async function startWithRule(rule: object, options: Partial<SandboxOptions> = {}) {
  // Without the guard, nothing but the key keeps a repeat from capturing once more.
  const sandbox = await startSandbox({ mode: 'toss', alreadyProcessedGuard: false, ...options });
  await sandbox.openSession();
  await sandbox.fault(rule);
  return sandbox;
}

const errors = [
  { kind: 'code', code: 'PROVIDER_ERROR' },
  { kind: 'status', status: 500 },
] as const;
const silences = [{ kind: 'hang' }, { kind: 'reset' }, { kind: 'truncate' }, { kind: 'garble' }] as const;

describe('before the decision', () => {
  test.each(errors)('an error is kept under the key ($kind) …', async (fault) => {
    const sandbox = await startWithRule({ when: 'before', next: 1, fault });
    const first = await sandbox.confirm(ORDER, KEY);
    const again = await sandbox.confirm(ORDER, KEY);
    expect([again.status, again.text]).toEqual([first.status, first.text]);
    expect(await sandbox.count('capture')).toBe(0);
    expect((await sandbox.confirm(ORDER, { 'idempotency-key': 'order-1:2' })).status).toBe(200);
  });

  test.each(errors)('… but not where errors are decided anew ($kind)', async (fault) => {
    const sandbox = await startWithRule({ when: 'before', next: 1, fault }, { replayErrors: false });
    expect((await sandbox.confirm(ORDER, KEY)).status).toBeGreaterThanOrEqual(400);
    expect((await sandbox.confirm(ORDER, KEY)).status).toBe(200);
  });

  test.each(silences)('$kind leaves the key free', async (fault) => {
    const sandbox = await startWithRule({ when: 'before', next: 1, fault });
    sendRaw(sandbox.url, 'POST', CONFIRM, ORDER, KEY);
    await expect.poll(() => sandbox.count('fault')).toBe(1);
    expect(await sandbox.count('answer')).toBe(0);
    expect((await sandbox.confirm(ORDER, KEY)).status).toBe(200);
    expect(await sandbox.count('capture')).toBe(1);
  });

  test('a stored answer meets no rule', async () => {
    const sandbox = await startSandbox({ mode: 'toss', autoSession: true });
    const { text } = await sandbox.confirm(ORDER, KEY);
    await sandbox.fault({ when: 'before', fault: { kind: 'status', status: 500 } });
    expect((await sandbox.confirm(ORDER, KEY)).text).toBe(text);
    expect((await sandbox.confirm(ORDER)).status).toBe(500);
    expect(await sandbox.count('fault')).toBe(1);
  });
});

describe('after the decision', () => {
  test.each([...errors, ...silences])('the key keeps what was decided ($kind)', async (fault) => {
    const sandbox = await startWithRule({ when: 'after', next: 1, fault });
    sendRaw(sandbox.url, 'POST', CONFIRM, ORDER, KEY);
    await expect.poll(() => sandbox.count('fault')).toBe(1);
    const again = await sandbox.confirm(ORDER, KEY);
    expect([again.status, again.body.status, again.body.balanceAmount]).toEqual([200, 'DONE', 1000]);
    expect(await sandbox.count('capture')).toBe(1);
  });

  test('a stored answer is struck too, when it is given again', async () => {
    const sandbox = await startWithRule({ when: 'after', next: 2, fault: { kind: 'status', status: 500 } });
    const statuses: number[] = [];
    for (let index = 0; index < 3; index++) statuses.push((await sandbox.confirm(ORDER, KEY)).status);
    expect(statuses).toEqual([500, 500, 200]);
    expect(await sandbox.count('capture')).toBe(1);
    expect(await sandbox.count('fault')).toBe(2);
  });
});

test('what decides nothing uses up no rule', async () => {
  const clock = manualClock();
  const fault = { kind: 'status', status: 500 };
  const sandbox = await startWithRule({ when: 'after', next: 1, fault }, { clock });
  const first = sandbox.confirm(ORDER, KEY);
  await expect.poll(clock.sleeping).toBe(1);
  expect((await sandbox.confirm(ORDER, KEY)).body.code).toBe('IDEMPOTENT_REQUEST_PROCESSING');
  const long = { 'idempotency-key': 'k'.repeat(301) };
  expect((await sandbox.confirm(ORDER, long)).body.code).toBe('INVALID_IDEMPOTENCY_KEY');
  clock.advance(0);
  expect((await first).status).toBe(500);
});
