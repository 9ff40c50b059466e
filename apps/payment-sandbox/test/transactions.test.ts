import { expect, test } from 'vitest';
import { type Harness, manualClock, ORDER, startSandbox } from './harness.ts';

async function list(sandbox: Harness, query: Record<string, string>) {
  const reply = await sandbox.call('GET', `/v1/transactions?${new URLSearchParams(query)}`);
  return { ...reply, transactions: JSON.parse(reply.text) as Record<string, unknown>[] };
}

const ALWAYS = { startDate: '2000-01-01T00:00:00Z', endDate: '2100-01-01T00:00:00Z' };

test('pages hold every movement of money once, also when more happens between two pages', async () => {
  const sandbox = await startSandbox();
  const pay = (index: number) =>
    sandbox.confirm({ paymentKey: `pay_${index}`, orderId: `order-${index}`, amount: 1000 });
  for (let index = 0; index < 5; index++) await pay(index);
  await sandbox.cancel({ cancelAmount: 400 }, 'pay_0');
  await sandbox.cancel({}, 'pay_0');
  const seen: Record<string, unknown>[] = [];
  for (let page = 0; ; page++) {
    const last = seen.at(-1)?.transactionKey;
    const after = typeof last === 'string' ? { startingAfter: last } : {};
    const { transactions } = await list(sandbox, { ...ALWAYS, ...after, limit: '3' });
    if (transactions.length === 0) break;
    seen.push(...transactions);
    if (page === 0) await pay(5);
  }
  expect(seen.map(({ paymentKey, status, amount }) => [paymentKey, status, amount])).toEqual([
    ...[0, 1, 2, 3, 4].map((index) => [`pay_${index}`, 'DONE', 1000]),
    ['pay_0', 'PARTIAL_CANCELED', 400],
    ['pay_0', 'CANCELED', 600],
    ['pay_5', 'DONE', 1000],
  ]);
  expect(new Set(seen.map(({ transactionKey }) => transactionKey)).size).toBe(8);
});

test('the range includes both ends; a moment without a zone is Seoul’s', async () => {
  const clock = manualClock(Date.parse('2026-03-01T00:00:00Z'));
  const sandbox = await startSandbox({ clock: { ...clock, sleep: async () => undefined } });
  for (const paymentKey of ['pay_0', 'pay_1', 'pay_2']) {
    await sandbox.confirm({ ...ORDER, paymentKey });
    clock.advance(1000);
  }
  const keys = async (startDate: string, endDate: string) =>
    (await list(sandbox, { startDate, endDate })).transactions.map(({ paymentKey }) => paymentKey);
  expect(await keys('2026-03-01T00:00:01Z', '2026-03-01T00:00:02Z')).toEqual(['pay_1', 'pay_2']);
  expect(await keys('2026-03-01T00:00:00.001Z', '2026-03-01T00:00:01.999Z')).toEqual(['pay_1']);
  expect(await keys('2026-03-01T09:00:00', '2026-03-01T09:00:00')).toEqual(['pay_0']);
});

test.each([
  ['no range', {}, 'INVALID_REQUEST'],
  [
    'a range that ends before it starts',
    { startDate: ALWAYS.endDate, endDate: ALWAYS.startDate },
    'INVALID_REQUEST',
  ],
  ['a month 13', { ...ALWAYS, startDate: '2026-13-01T00:00:00Z' }, 'INVALID_REQUEST'],
  ['a limit of 0', { ...ALWAYS, limit: '0' }, 'INVALID_REQUEST'],
  ['a limit of 1.5', { ...ALWAYS, limit: '1.5' }, 'INVALID_REQUEST'],
  ['a limit of 5001', { ...ALWAYS, limit: '5001' }, 'INVALID_REQUEST'],
  ['an unknown key', { ...ALWAYS, startingAfter: 'cap_x' }, 'INVALID_TRANSACTION_KEY'],
])('%s is refused, and recorded', async (_what, query, code) => {
  const sandbox = await startSandbox();
  const refused = await list(sandbox, query as Record<string, string>);
  expect([refused.status, refused.body.code]).toEqual([400, code]);
  expect(await sandbox.ledger()).toMatchObject([{ type: 'request', operation: 'transactions' }]);
});
