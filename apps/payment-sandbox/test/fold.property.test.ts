import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LedgerEvent, Mode } from '../src/index.ts';
import { newLedgerFile, startSandbox } from './harness.ts';

const KEYS = ['pay_1', 'pay_2', 'pay_3'];
const ORDERS = ['order-1', 'order-2'];

const payment = {
  paymentKey: fc.constantFrom(...KEYS),
  orderId: fc.constantFrom(...ORDERS),
  amount: fc.constantFrom(1000, 2000),
};
const idempotencyKey = fc.constantFrom('', 'key-1', 'key-2');
const step = fc.oneof(
  fc.record({ kind: fc.constant('session' as const), ...payment }),
  fc.record({ kind: fc.constant('confirm' as const), ...payment, idempotencyKey }),
  fc.record({
    kind: fc.constant('cancel' as const),
    paymentKey: payment.paymentKey,
    cancelAmount: fc.option(fc.integer({ min: 1, max: 2500 }), { nil: undefined }),
    idempotencyKey,
  }),
);
/** The steps of one group are sent at once. */
const groups = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 });

/** I3: at every prefix of the ledger, a refund names a capture that still holds its amount. */
function checkRefunds(events: readonly LedgerEvent[]): void {
  const left = new Map<string, number>();
  for (const event of events) {
    if (event.type === 'capture') left.set(event.captureId, event.amount);
    if (event.type !== 'refund') continue;
    const amount = (left.get(event.captureId) ?? -1) - event.amount;
    expect(amount).toBeGreaterThanOrEqual(0);
    left.set(event.captureId, amount);
  }
}

test.each<Mode>(['as-published', 'generous', 'toss'])(
  '%s: whatever was asked, a restart changes nothing, and refunds never exceed captures',
  async (mode) => {
    await fc.assert(
      fc.asyncProperty(groups, fc.boolean(), async (history, alreadyProcessedGuard) => {
        const options = {
          mode,
          alreadyProcessedGuard,
          autoSession: true,
          ledgerFile: await newLedgerFile(),
        };
        type Sandbox = Awaited<ReturnType<typeof startSandbox>>;
        const send = (sandbox: Sandbox, { kind, ...body }: (typeof history)[number][number]) => {
          if (kind === 'session') return sandbox.openSession(body);
          const { idempotencyKey: key, ...fields } = body as typeof body & { idempotencyKey: string };
          const headers: Record<string, string> = key === '' ? {} : { 'idempotency-key': key };
          if (kind === 'confirm') return sandbox.confirm(fields, headers);
          const { paymentKey, ...cancel } = fields;
          return sandbox.cancel(cancel, paymentKey, headers);
        };
        const view = async (sandbox: Sandbox) => {
          const paths = [
            ...KEYS.map((key) => `/v1/payments/${key}`),
            ...ORDERS.map((order) => `/v1/payments/orders/${order}`),
            '/v1/transactions?startDate=2000-01-01T00:00:00&endDate=2100-01-01T00:00:00',
          ];
          const replies = await Promise.all(paths.map((path) => sandbox.call('GET', path)));
          return replies.map(({ text }) => text);
        };

        const first = await startSandbox(options);
        for (const group of history) await Promise.all(group.map((one) => send(first, one)));
        const before = await view(first);
        const events = await first.ledger();
        await first.close();
        checkRefunds(events);

        const second = await startSandbox(options);
        expect(await view(second)).toEqual(before);
        expect((await second.ledger()).slice(0, events.length)).toEqual(events);
        await second.close();
      }),
      { numRuns: 25 },
    );
  },
);
