import type { Contender, OpenContender } from './contender.ts';
import { type ContenderSpec, contenderOf } from './contenders.ts';
import { contend, exclude, takeOwnKeys } from './load.ts';
import type { LoadAnswer, LoadOrder, LoadResults, OpenOrder } from './load-messages.ts';

/** A process that takes locks as it is told to: see `startLoad`. */

// The bench has gone.
process.once('disconnect', () => process.exit());

interface Opened {
  readonly spec: ContenderSpec;
  readonly contender: Contender;
  /** Opens it once more. */
  again(): Promise<Contender>;
}

let opened: Opened | undefined;

async function open({ row, urls }: OpenOrder): Promise<undefined> {
  const spec = contenderOf(row);
  const openContender: OpenContender = await spec.load();
  const again = () => openContender(urls);
  opened = { spec, contender: await again(), again };
}

async function carryOut(order: LoadOrder): Promise<LoadResults[LoadOrder['kind']]> {
  if (order.kind === 'open') return open(order);
  if (opened === undefined) throw new TypeError('nothing was opened');
  const { spec, contender, again } = opened;
  switch (order.kind) {
    case 'contend':
      return contend(contender, order);
    case 'own-keys':
      return takeOwnKeys(contender, order);
    case 'exclude': {
      const second = spec.reach === 'process' ? contender : await again();
      try {
        return await exclude(contender, second, order);
      } finally {
        if (second !== contender) await second.close();
      }
    }
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
