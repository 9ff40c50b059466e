import { describe, expect, test } from 'vitest';
import { createFaultRules } from '../src/faults/rules.ts';
import { type Harness, ORDER, startSandbox } from './harness.ts';

const FAULT = { when: 'before', fault: { kind: 'status', status: 500 } } as const;

const RANGE = 'startDate=2000-01-01T00:00:00&endDate=2100-01-01T00:00:00';

const list = async (sandbox: Harness) => {
  const { text } = await sandbox.call('GET', '/sandbox/faults');
  return JSON.parse(text) as { id: string; struck: number; rule: unknown }[];
};

/** Whether each of so many confirms, of payments of their own, was struck. */
async function struckOf(sandbox: Harness, count: number): Promise<boolean[]> {
  const struck: boolean[] = [];
  for (let index = 0; index < count; index++)
    struck.push((await sandbox.confirm({ ...ORDER, paymentKey: `pay_${index}` })).status >= 500);
  return struck;
}

describe('the routes', () => {
  test('list what was given, in its order, and how often it struck', async () => {
    const sandbox = await startSandbox();
    const rules = [
      { operation: 'confirm', orderId: 'order-2', share: 0.5, next: 3, ...FAULT },
      { paymentKey: 'pay_1', when: 'after', fault: { kind: 'slow', delayMs: 1 } },
      { fault: { kind: 'lag', lagMs: 10 } },
    ];
    const ids: string[] = [];
    for (const rule of rules) ids.push(await sandbox.fault(rule));
    expect(new Set(ids).size).toBe(3);
    await sandbox.confirm();
    expect(await list(sandbox)).toEqual(
      rules.map((rule, index) => ({ id: ids[index], struck: index === 1 ? 1 : 0, rule })),
    );
  });

  test('take back one rule, or all', async () => {
    const sandbox = await startSandbox();
    const [first, second] = [await sandbox.fault(FAULT), await sandbox.fault(FAULT)];
    expect((await sandbox.call('DELETE', `/sandbox/faults/${first}`)).status).toBe(204);
    expect((await list(sandbox)).map(({ id }) => id)).toEqual([second]);
    const missing = await sandbox.call('DELETE', `/sandbox/faults/${first}`);
    expect([missing.status, missing.body.code]).toEqual([404, 'NOT_FOUND']);
    expect((await sandbox.confirm()).status).toBe(500);
    expect((await sandbox.call('DELETE', '/sandbox/faults')).status).toBe(204);
    expect(await list(sandbox)).toEqual([]);
    expect((await sandbox.confirm()).status).toBe(200);
  });

  test.each([
    ['no fault', { when: 'before' }, 'fault'],
    ['no moment', { fault: FAULT.fault }, 'when must be before or after'],
    ['another moment', { ...FAULT, when: 'during' }, 'when'],
    ['another operation', { ...FAULT, operation: 'pay' }, 'operation'],
    ['another kind', { when: 'after', fault: { kind: 'explode' } }, 'fault/kind'],
    ['a bad order id', { ...FAULT, orderId: 'o' }, 'orderId'],
    ['a share beyond 1', { ...FAULT, share: 1.1 }, 'share'],
    ['a share as text', { ...FAULT, share: '0.5' }, 'share'],
    ['the next 0', { ...FAULT, next: 0 }, 'next'],
    ['the next 1.5', { ...FAULT, next: 1.5 }, 'next'],
    ['an unknown field', { ...FAULT, count: 1 }, 'count'],
    ['a code that nobody knows', { when: 'after', fault: { kind: 'code', code: 'toString' } }, 'toString'],
    ['no code', { when: 'after', fault: { kind: 'code' } }, 'fault must have code'],
    ['a status of 400', { when: 'after', fault: { kind: 'status', status: 400 } }, 'status'],
    ['no status', { when: 'after', fault: { kind: 'status', code: 'COMMON_ERROR' } }, 'must have status'],
    ['no delay', { when: 'after', fault: { kind: 'slow' } }, 'fault must have delayMs'],
    ['a delay of an hour', { when: 'after', fault: { kind: 'slow', delayMs: 3_600_000 } }, 'delayMs'],
    ['a hang with a delay', { when: 'after', fault: { kind: 'hang', delayMs: 1 } }, 'must have nothing'],
    ['two details', { when: 'after', fault: { kind: 'slow', delayMs: 1, lagMs: 1 } }, 'at most one field'],
    ['no lag', { fault: { kind: 'lag' } }, 'fault must have lagMs'],
    ['a lag before', { when: 'before', fault: { kind: 'lag', lagMs: 1 } }, 'when must be absent'],
    ['a lag of confirms', { operation: 'confirm', fault: { kind: 'lag', lagMs: 1 } }, 'got confirm'],
    ['transactions of an order', { ...FAULT, operation: 'transactions', orderId: 'order-1' }, 'orderId'],
  ])('%s is refused, named, and leaves nothing behind', async (_what, rule, problem) => {
    const sandbox = await startSandbox();
    const refused = await sandbox.call('POST', '/sandbox/faults', rule);
    expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
    expect(refused.body.message).toContain(problem);
    expect(await list(sandbox)).toEqual([]);
    expect((await sandbox.confirm()).status).toBe(200);
    expect(await sandbox.count('fault')).toBe(0);
  });

  test('keep 10,000 rules, and refuse one more', async () => {
    const sandbox = await startSandbox();
    const add = () => sandbox.call('POST', '/sandbox/faults', { ...FAULT, orderId: 'order-2' });
    for (let added = 0; added < 10_000; added += 100)
      await Promise.all(Array.from({ length: 100 }, () => add()));
    const refused = await add();
    expect([refused.status, refused.body.code]).toEqual([409, 'TOO_MANY_FAULTS']);
    expect((await list(sandbox)).length).toBe(10_000);
    expect((await sandbox.confirm()).status).toBe(200);
  }, 60_000);

  test('forget everything with the process; the ledger remembers the strokes', async () => {
    const sandbox = await startSandbox();
    await sandbox.fault(FAULT);
    await sandbox.confirm();
    await sandbox.close();
    const after = await startSandbox({ ledgerFile: sandbox.ledgerFile });
    expect(await list(after)).toEqual([]);
    expect((await after.confirm()).status).toBe(200);
    expect(await after.count('fault')).toBe(1);
  });
});

describe('of the matching requests', () => {
  test('the next n are struck', async () => {
    const sandbox = await startSandbox();
    await sandbox.fault({ next: 2, paymentKey: 'pay_9', ...FAULT });
    await sandbox.fault({ next: 2, ...FAULT });
    expect(await struckOf(sandbox, 4)).toEqual([true, true, false, false]);
    expect((await list(sandbox)).map(({ struck }) => struck)).toEqual([0, 2]);
  });

  test('the first rule that strikes forestalls the others', async () => {
    const sandbox = await startSandbox();
    await sandbox.fault({ next: 1, when: 'before', fault: { kind: 'status', status: 501 } });
    await sandbox.fault({ next: 1, when: 'after', fault: { kind: 'status', status: 502 } });
    const statuses: number[] = [];
    for (const paymentKey of ['pay_1', 'pay_2', 'pay_3'])
      statuses.push((await sandbox.confirm({ ...ORDER, paymentKey })).status);
    expect(statuses).toEqual([501, 502, 200]);
    expect(await sandbox.count('capture')).toBe(2);
  });

  test('a share is struck, the same with the same seed', async () => {
    const draw = async (seed: number, share = 0.5) => {
      const sandbox = await startSandbox({ seed });
      await sandbox.fault({ share, ...FAULT });
      const struck = await struckOf(sandbox, 40);
      const count = struck.filter(Boolean).length;
      expect((await list(sandbox)).map((rule) => rule.struck)).toEqual([count]);
      expect(await sandbox.count('fault')).toBe(count);
      return struck;
    };
    const first = await draw(1);
    expect(new Set(first)).toEqual(new Set([true, false]));
    expect(await draw(1)).toEqual(first);
    expect(await draw(2)).not.toEqual(first);
    expect(new Set(await draw(1, 1))).toEqual(new Set([true]));
    expect(new Set(await draw(1, 0))).toEqual(new Set([false]));
  });

  test('every rule draws a sequence of its own', async () => {
    const sandbox = await startSandbox();
    const drawn: boolean[][] = [];
    for (const operation of ['lookup', 'transactions']) {
      await sandbox.fault({ operation, share: 0.5, ...FAULT });
      const path = operation === 'lookup' ? '/v1/payments/pay_1' : `/v1/transactions?${RANGE}`;
      const statuses: number[] = [];
      for (let index = 0; index < 40; index++) statuses.push((await sandbox.call('GET', path)).status);
      drawn.push(statuses.map((status) => status === 500));
    }
    expect(drawn[0]).not.toEqual(drawn[1]);
  });

  test('of the next n a share is struck', async () => {
    const sandbox = await startSandbox({ seed: 1 });
    await sandbox.fault({ share: 0.5, next: 20, ...FAULT });
    const struck = await struckOf(sandbox, 40);
    expect(new Set(struck.slice(0, 20))).toEqual(new Set([true, false]));
    expect(new Set(struck.slice(20))).toEqual(new Set([false]));
  });

  test('a rule changes neither the waiting times nor the draws of another rule', async () => {
    const draw = async (...rules: object[]) => {
      const slept: number[] = [];
      const sandbox = await startSandbox({
        latencyMinMs: 0,
        latencyMaxMs: 1000,
        clock: {
          nowMs: Date.now,
          sleep: async (ms) => {
            slept.push(ms);
          },
        },
      });
      for (const rule of rules) await sandbox.fault(rule);
      await struckOf(sandbox, 20);
      return { slept, struck: (await list(sandbox)).map((rule) => rule.struck) };
    };
    const half = { share: 0.5, ...FAULT };
    const none = await draw();
    const one = await draw(half);
    const two = await draw(half, { operation: 'cancel', ...half });
    expect(one.slept).toEqual(none.slept);
    expect(two).toEqual({ slept: none.slept, struck: [...one.struck, 0] });
  });
});

test('a share is struck as often as it says', () => {
  const rules = createFaultRules(42);
  const body = { share: 0.3, ...FAULT };
  rules.add(body, { operation: 'confirm', ...FAULT });
  const target = { operation: 'confirm', paymentKey: 'pay_1', orderId: 'order-1', requestId: null } as const;
  let struck = 0;
  for (let index = 0; index < 10_000; index++) if (rules.strike(target) !== undefined) struck++;
  expect(struck).toBeGreaterThan(2_800);
  expect(struck).toBeLessThan(3_200);
});
