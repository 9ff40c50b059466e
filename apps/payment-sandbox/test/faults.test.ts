import { describe, expect, test } from 'vitest';
import type { SandboxOptions } from '../src/index.ts';
import { type Harness, manualClock, ORDER, sendRaw, startSandbox } from './harness.ts';

const CONFIRM = '/v1/payments/confirm';
const moments = ['before', 'after'] as const;

/** A paid-for window in toss mode, and one rule. */
async function startWithRule(rule: object, options: Partial<SandboxOptions> = {}) {
  const sandbox = await startSandbox({ mode: 'toss', ...options });
  await sandbox.openSession();
  const id = await sandbox.fault(rule);
  return { sandbox, id };
}

/** The money and the strokes, in their order. */
async function story(sandbox: Harness): Promise<string[]> {
  const events = await sandbox.ledger();
  return events.map(({ type }) => type).filter((type) => type !== 'session' && type !== 'answer');
}

const storyOf = (when: (typeof moments)[number]) =>
  when === 'before' ? ['request', 'fault'] : ['request', 'capture', 'fault'];

test('without a rule, and with rules for others only, nothing goes wrong', async () => {
  const sandbox = await startSandbox({ mode: 'toss' });
  await sandbox.openSession();
  const fault = { when: 'before', fault: { kind: 'status', status: 500 } };
  for (const aside of [
    { orderId: 'order-2' },
    { paymentKey: 'pay_2' },
    { orderId: ORDER.orderId, paymentKey: 'pay_2' },
    { operation: 'cancel' },
    { operation: 'lookup', orderId: 'order-2' },
    { share: 0 },
  ])
    await sandbox.fault({ ...fault, ...aside });
  await sandbox.call('DELETE', `/sandbox/faults/${await sandbox.fault(fault)}`);
  expect((await sandbox.confirm()).status).toBe(200);
  expect((await sandbox.lookUp()).body.status).toBe('DONE');
  expect(await sandbox.count('fault')).toBe(0);
});

describe.each(moments)('%s the capture', (when) => {
  test('a code is answered with its status', async () => {
    const rule = { when, fault: { kind: 'code', code: 'REJECT_CARD_PAYMENT' } };
    const { sandbox, id } = await startWithRule(rule);
    const reply = await sandbox.confirm(ORDER, { 'x-request-id': 'r-1' });
    expect([reply.status, reply.body.code]).toEqual([403, 'REJECT_CARD_PAYMENT']);
    expect(await story(sandbox)).toEqual(storyOf(when));
    const { paymentKey, orderId } = ORDER;
    expect((await sandbox.ledger()).find(({ type }) => type === 'fault')).toMatchObject({
      ruleId: id,
      operation: 'confirm',
      kind: 'code',
      when,
      paymentKey,
      orderId,
      requestId: 'r-1',
    });
    expect((await sandbox.lookUp()).body.status).toBe(when === 'before' ? 'IN_PROGRESS' : 'DONE');
  });

  test('a status is answered in the provider’s shape', async () => {
    const { sandbox } = await startWithRule({ when, fault: { kind: 'status', status: 503 } });
    const reply = await sandbox.confirm();
    expect([reply.status, reply.body.code]).toEqual([503, 'FAILED_INTERNAL_SYSTEM_PROCESSING']);
    expect(await story(sandbox)).toEqual(storyOf(when));
  });

  test('a reset is a reset, without a byte', async () => {
    const { sandbox } = await startWithRule({ when, fault: { kind: 'reset' } });
    const client = sendRaw(sandbox.url, 'POST', CONFIRM, ORDER);
    expect(await client.ended).toBe('ECONNRESET');
    expect(client.received()).toBe('');
    expect(await story(sandbox)).toEqual(storyOf(when));
  });

  test('a truncated answer says how long it would have been, and ends half-way', async () => {
    const { sandbox } = await startWithRule({ when, fault: { kind: 'truncate' } });
    const client = sendRaw(sandbox.url, 'POST', CONFIRM, ORDER);
    expect(await client.ended).toBe('end');
    const [head = '', body = ''] = client.received().split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    expect(length).toBeGreaterThan(20);
    expect(body.length).toBe(Math.floor(length / 2));
    expect(await story(sandbox)).toEqual(storyOf(when));
  });

  test('a garbled answer is whole, and no JSON', async () => {
    const { sandbox } = await startWithRule({ when, fault: { kind: 'garble' } });
    const response = await fetch(sandbox.url + CONFIRM, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa('test_sk_sandbox:')}`, 'content-type': 'application/json' },
      body: JSON.stringify(ORDER),
    });
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'application/json; charset=utf-8',
    ]);
    const text = await response.text();
    expect(text.length).toBeGreaterThan(20);
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    expect(await story(sandbox)).toEqual(storyOf(when));
  });

  test('a hanging client hears nothing until it goes, or the sandbox closes', async () => {
    const { sandbox } = await startWithRule({ when, next: 2, fault: { kind: 'hang' } });
    const stays = sendRaw(sandbox.url, 'POST', CONFIRM, ORDER);
    await expect.poll(() => sandbox.count('fault')).toBe(1);
    const goes = sendRaw(sandbox.url, 'POST', CONFIRM, ORDER);
    await expect.poll(() => sandbox.count('fault')).toBe(2);
    goes.leave();
    // Others are served meanwhile, so that an answer to it would have come by now.
    for (let index = 0; index < 10; index++) await sandbox.lookUp();
    expect([stays.open(), stays.received()]).toEqual([true, '']);
    await sandbox.close();
    await stays.ended;
    expect(stays.received()).toBe('');
    const after = await startSandbox({ mode: 'toss', ledgerFile: sandbox.ledgerFile });
    expect(await after.count('capture')).toBe(when === 'before' ? 0 : 1);
  });
});

describe('slow', () => {
  const rule = (when: string) => ({ when, fault: { kind: 'slow', delayMs: 5000 } });

  /** A confirm whose waiting time is over, and which the rule now keeps waiting. */
  async function confirmSlowly(when: string, sessionMs: number) {
    const clock = manualClock();
    const sandbox = await startSandbox({ mode: 'toss', latencyMinMs: 100, latencyMaxMs: 100, clock });
    await sandbox.openSession({ ...ORDER, sessionMs });
    await sandbox.fault(rule(when));
    const confirm = sandbox.confirm(ORDER, { 'idempotency-key': 'k' });
    // Awaited later, or not at all where the connection is to be lost.
    const lost = confirm.then(
      () => false,
      () => true,
    );
    await expect.poll(clock.sleeping).toBe(1);
    clock.advance(100);
    await expect.poll(() => sandbox.count('fault')).toBe(1);
    await expect.poll(clock.sleeping).toBe(1);
    return { clock, sandbox, confirm, lost };
  }

  test('after the capture: the money has moved, the answer comes late', async () => {
    const { clock, sandbox, confirm } = await confirmSlowly('after', 5100);
    expect(await story(sandbox)).toEqual(storyOf('after'));
    expect((await sandbox.lookUp()).body.status).toBe('DONE');
    clock.advance(5000);
    expect((await confirm).body.status).toBe('DONE');
  });

  test('before it: the capture comes late, and its key is at work until then', async () => {
    const { clock, sandbox, confirm } = await confirmSlowly('before', 5101);
    expect((await sandbox.lookUp()).body.status).toBe('IN_PROGRESS');
    const meanwhile = await sandbox.confirm(ORDER, { 'idempotency-key': 'k' });
    expect(meanwhile.body.code).toBe('IDEMPOTENT_REQUEST_PROCESSING');
    clock.advance(5000);
    expect((await confirm).body.status).toBe('DONE');
    expect(await story(sandbox)).toEqual(['request', 'fault', 'request', 'request', 'capture']);
    expect(await sandbox.count('fault')).toBe(1);
  });

  test('before it: the session’s end is that of the decision', async () => {
    const { clock, sandbox, confirm } = await confirmSlowly('before', 5100);
    clock.advance(5000);
    expect((await confirm).body.code).toBe('NOT_FOUND_PAYMENT_SESSION');
    expect(await sandbox.count('capture')).toBe(0);
  });

  test('before it: a client that went away is charged all the same', async () => {
    const clock = manualClock();
    const { sandbox } = await startWithRule(rule('before'), { clock });
    const client = sendRaw(sandbox.url, 'POST', CONFIRM, ORDER);
    await expect.poll(clock.sleeping).toBe(1);
    clock.advance(0);
    await expect.poll(() => sandbox.count('fault')).toBe(1);
    client.leave();
    await client.ended;
    await expect.poll(clock.sleeping).toBe(1);
    clock.advance(5000);
    await expect.poll(() => sandbox.count('capture')).toBe(1);
  });

  test.each(moments)('%s it: closing does not wait, and decides nothing more', async (when) => {
    const { sandbox, lost } = await confirmSlowly(when, 600_000);
    await sandbox.close();
    expect(await lost).toBe(true);
    const after = await startSandbox({ mode: 'toss', ledgerFile: sandbox.ledgerFile });
    expect(await after.count('capture')).toBe(when === 'before' ? 0 : 1);
  });
});

describe.each(moments)('%s', (when) => {
  test('a refund', async () => {
    const rule = {
      operation: 'cancel',
      orderId: ORDER.orderId,
      when,
      fault: { kind: 'status', status: 502 },
    };
    const { sandbox } = await startWithRule(rule);
    await sandbox.confirm();
    expect((await sandbox.cancel()).status).toBe(502);
    expect(await sandbox.count('refund')).toBe(when === 'before' ? 0 : 1);
    expect((await sandbox.ledger()).at(-1)).toMatchObject({
      type: 'fault',
      operation: 'cancel',
      paymentKey: ORDER.paymentKey,
      orderId: ORDER.orderId,
    });
  });

  test('a reading', async () => {
    const unauthorized = { when, fault: { kind: 'code', code: 'UNAUTHORIZED_KEY' } };
    const { sandbox } = await startWithRule({ operation: 'lookup', orderId: ORDER.orderId, ...unauthorized });
    await sandbox.fault({ operation: 'transactions', ...unauthorized });
    await sandbox.confirm();
    for (const path of [
      `/v1/payments/${ORDER.paymentKey}`,
      `/v1/payments/orders/${ORDER.orderId}`,
      '/v1/transactions?startDate=2000-01-01T00:00:00&endDate=2100-01-01T00:00:00',
    ])
      expect((await sandbox.call('GET', path)).status).toBe(401);
    expect(await sandbox.count('fault')).toBe(3);
  });
});

test('a malformed request is no business of a rule', async () => {
  const { sandbox } = await startWithRule({ when: 'after', next: 1, fault: { kind: 'status', status: 500 } });
  expect((await sandbox.confirm({ ...ORDER, amount: 0 })).status).toBe(400);
  expect((await sandbox.confirm()).status).toBe(500);
});
