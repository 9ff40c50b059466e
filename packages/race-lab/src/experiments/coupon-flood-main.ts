import { constants, setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { tally } from '../history/counts.ts';
import { type CouponAnswer, couponAnswerOf } from '../history/coupon-answer.ts';
import { type KeptConnection, keptConnection } from '../racer/kept-connection.ts';
import { couponRequest } from './coupon-campaign.ts';
import type { FloodOrder, FromFlood, ToFlood } from './coupon-flood-process.ts';

/** The process of one flooding member: see `startFlood`. */

/** Between an answer and the next request on the same connection. */
const ASK_AGAIN_MS = 1_000;
const ANSWER_LIMIT_MS = 30_000;
/** How many connections are opened at a time: fewer than a server lets wait to be accepted. */
const OPENING_AT_ONCE = 50;

// In life it comes from elsewhere: it must not take the processors from the shop.
setPriority(constants.priority.PRIORITY_LOW);
// The lab has gone.
process.once('disconnect', () => process.exit());

const effects: CouponAnswer[] = [];
const refusals: string[] = [];
const stopped = new AbortController();
let asked = 0;
let asking: Promise<unknown> = Promise.resolve();
let connections: KeptConnection[] = [];

async function open({ targets, connections: count }: FloodOrder): Promise<void> {
  connections = Array.from({ length: count }, (_, index) => {
    const target = targets[index % targets.length];
    if (target === undefined) throw new Error('the flood has no front door');
    return keptConnection(target);
  });
  const unopened = connections.values();
  const openSome = async () => {
    for (const connection of unopened) await connection.open();
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, openSome));
}

async function keepAsking(connection: KeptConnection, index: number, order: FloodOrder): Promise<void> {
  const { couponId, strategy, memberId, targets } = order;
  const target = targets[index % targets.length] ?? { host: '', port: 0 };
  while (!stopped.signal.aborted) {
    const request = couponRequest(couponId, strategy, target, memberId, ++asked);
    const answer = couponAnswerOf(await connection.send(request, ANSWER_LIMIT_MS));
    if (answer.result === 'fail') refusals.push(answer.code ?? String(answer.status));
    else effects.push(answer);
    await sleep(ASK_AGAIN_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
  }
}

function tell(message: FromFlood): void {
  process.send?.(message);
}

let order: FloodOrder | undefined;
process.on('message', async (message: ToFlood) => {
  switch (message.type) {
    case 'open':
      order = message.order;
      await open(order);
      return tell({ type: 'open' });
    case 'release': {
      const released = order;
      if (released === undefined) return;
      asking = Promise.all(connections.map((one, index) => keepAsking(one, index, released)));
      return;
    }
    case 'stop':
      stopped.abort();
      await asking;
      for (const connection of connections) connection.close();
      return tell({ type: 'result', result: { asked, effects, refusals: tally(refusals) } });
  }
});
