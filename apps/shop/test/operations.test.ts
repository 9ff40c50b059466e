import { createNoopMeter } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import type { Confirmation } from '../src/lotto/purchase/confirmation.ts';
import { type OperationLog, operations } from '../src/telemetry/operations.ts';
import { observedPurchases } from '../src/telemetry/purchases.ts';

const meter = createNoopMeter();
const confirmation = { orderId: 'o1', strategy: 'durable', requestId: 'r1' } as Confirmation;

/** A log that keeps what it is told, and where a line cannot be written unless `write` can. */
function logThat(write: OperationLog['write']) {
  const untold: unknown[] = [];
  const log: OperationLog = { write, untold: (details, name) => untold.push([name, details]) };
  return { log, untold };
}
const full = () => {
  throw new Error('the disk is full');
};

test('a purchase is answered as it came out, though its line cannot be written; that is logged', async () => {
  const { log, untold } = logThat(full);
  const paid = { outcome: 'done', replayed: false } as never;
  const purchases = observedPurchases(async () => paid, operations('purchase', meter, log));
  expect(await purchases(confirmation)).toBe(paid);
  expect(untold).toEqual([
    [
      'purchase',
      {
        order: 'o1',
        reqId: 'r1',
        strategy: 'durable',
        err: expect.objectContaining({ message: 'the disk is full' }),
      },
    ],
  ]);
});

test('a stored answer that nobody understands is given all the same', async () => {
  const { log, untold } = logThat(() => undefined);
  const body = Buffer.from('<html>');
  const stored = { outcome: 'answered', answer: { status: 400, body }, replayed: true } as never;
  const purchases = observedPurchases(async () => stored, operations('purchase', meter, log));
  expect(await purchases(confirmation)).toBe(stored);
  expect(untold).toEqual([['purchase', expect.objectContaining({ err: expect.any(SyntaxError) })]]);
});

test('a failure stays the one that it was', async () => {
  const { log, untold } = logThat(full);
  const failure = new Error('the store failed');
  const purchases = observedPurchases(() => Promise.reject(failure), operations('purchase', meter, log));
  await expect(purchases(confirmation)).rejects.toBe(failure);
  expect(untold).toHaveLength(1);
});
