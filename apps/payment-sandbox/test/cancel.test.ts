import { expect, test } from 'vitest';
import { ORDER, startSandbox } from './harness.ts';

const modes = ['as-published', 'generous', 'toss'] as const;

test.each(modes)(
  '%s: a second full cancel is ALREADY_CANCELED_PAYMENT, and refunds nothing',
  async (mode) => {
    const sandbox = await startSandbox({ mode, autoSession: true });
    await sandbox.confirm();
    const canceled = await sandbox.cancel();
    expect(canceled.body).toMatchObject({ status: 'CANCELED', totalAmount: 1000, balanceAmount: 0 });
    expect(canceled.body.cancels).toEqual([
      {
        transactionKey: canceled.body.lastTransactionKey,
        cancelAmount: 1000,
        cancelReason: 'changed my mind',
        canceledAt: expect.any(String),
        cancelStatus: 'DONE',
      },
    ]);
    const again = await sandbox.cancel();
    expect([again.status, again.body.code]).toEqual([400, 'ALREADY_CANCELED_PAYMENT']);
    expect(await sandbox.count('refund')).toBe(1);
  },
);

test('partial cancels add up to the amount and no further, also when they race', async () => {
  const sandbox = await startSandbox();
  await sandbox.confirm();
  const replies = await Promise.all([1, 2, 3, 4, 5].map(() => sandbox.cancel({ cancelAmount: 300 })));
  expect(replies.map(({ status }) => status).sort()).toEqual([200, 200, 200, 403, 403]);
  expect((await sandbox.lookUp()).body).toMatchObject({ status: 'PARTIAL_CANCELED', balanceAmount: 100 });
  const tooMuch = await sandbox.cancel({ cancelAmount: 101 });
  expect([tooMuch.status, tooMuch.body.code]).toEqual([403, 'NOT_CANCELABLE_AMOUNT']);
  expect((await sandbox.cancel()).body).toMatchObject({ status: 'CANCELED', balanceAmount: 0 });
});

test('a cancel that expects another balance is refused', async () => {
  const sandbox = await startSandbox();
  await sandbox.confirm();
  const refused = await sandbox.cancel({ refundableAmount: 900 });
  expect([refused.status, refused.body.code]).toEqual([400, 'NOT_MATCHES_REFUNDABLE_AMOUNT']);
  expect((await sandbox.cancel({ refundableAmount: 1000 })).status).toBe(200);
});

test('what was never captured cannot be cancelled', async () => {
  const sandbox = await startSandbox();
  expect((await sandbox.cancel()).body.code).toBe('NOT_FOUND_PAYMENT');
  await sandbox.openSession();
  const refused = await sandbox.cancel();
  expect([refused.status, refused.body.code]).toEqual([403, 'NOT_CANCELABLE_PAYMENT']);
});

test('a cancel of several captures names each of them, the oldest first', async () => {
  const sandbox = await startSandbox({ mode: 'generous' });
  for (let index = 0; index < 3; index++) await sandbox.confirm();
  await sandbox.cancel({ cancelAmount: 1400 });
  await sandbox.cancel();
  const events = await sandbox.ledger();
  const captures = events.filter((event) => event.type === 'capture').map(({ captureId }) => captureId);
  const refunds = events.filter((event) => event.type === 'refund');
  expect(refunds.map(({ captureId, amount }) => [captures.indexOf(captureId), amount])).toEqual([
    [0, 1000],
    [1, 400],
    [1, 600],
    [2, 1000],
  ]);
  expect((await sandbox.lookUp()).body).toMatchObject({ status: 'CANCELED', balanceAmount: 0 });
});

test.each([
  ['no reason', { cancelReason: '' }],
  ['a long reason', { cancelReason: 'x'.repeat(201) }],
  ['an amount of 0', { cancelAmount: 0 }],
  ['an amount as text', { cancelAmount: '100' }],
  ['another currency', { currency: 'USD' }],
  ['an unknown field', { amount: 100 }],
])('%s is INVALID_REQUEST, and refunds nothing', async (_what, body) => {
  const sandbox = await startSandbox();
  await sandbox.confirm(ORDER);
  const refused = await sandbox.cancel(body);
  expect([refused.status, refused.body.code]).toEqual([400, 'INVALID_REQUEST']);
  expect(await sandbox.count('refund')).toBe(0);
});
