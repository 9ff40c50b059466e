import { askEach, drive } from './load.ts';
import type { LoadAnswer, LoadOrder, LoadResults, OpenOrder } from './load-messages.ts';
import type { Operation, OperationSpec } from './operation.ts';

/** A process that does one row's operation as often as it is told to: see `startLoad`. */

// The bench has gone.
process.once('disconnect', () => process.exit());

let opened: Operation | undefined;

async function open({ contenders, row, urls }: OpenOrder): Promise<undefined> {
  const module: { contenderOf(row: string): OperationSpec } = await import(contenders);
  const openOperation = await module.contenderOf(row).load();
  opened = await openOperation(urls);
}

async function carryOut(order: LoadOrder): Promise<LoadResults[LoadOrder['kind']]> {
  if (order.kind === 'open') return open(order);
  if (opened === undefined) throw new TypeError('nothing was opened');
  switch (order.kind) {
    case 'drive':
      return drive(opened, order);
    case 'each':
      return askEach(opened, order);
    case 'close':
      await opened.close();
      return undefined;
  }
}

process.on('message', async (order: LoadOrder) => {
  process.send?.(
    await carryOut(order).then(
      (result): LoadAnswer => ({ done: true, result }),
      (error: unknown): LoadAnswer => ({
        done: false,
        why: error instanceof Error ? `${error.stack}` : String(error),
      }),
    ),
  );
});
