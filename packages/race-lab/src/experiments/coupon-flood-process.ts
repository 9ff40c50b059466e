import { extname } from 'node:path';
import { startHelper } from '../cluster/helper-process.ts';
import type { CouponAnswer } from '../history/coupon-answer.ts';
import type { Target } from '../racer/exchange.ts';
import type { CouponStrategyName } from './coupon-strategies.ts';

/** Who floods which coupon. */
export interface FloodOrder {
  couponId: string;
  strategy: CouponStrategyName;
  memberId: number;
  /** The front doors, taken in turn. */
  targets: readonly Target[];
  connections: number;
}

export interface FloodResult {
  /** How many requests were sent. */
  asked: number;
  /** The answers that are no refusals: a coupon, or a failure that may have had an effect. */
  effects: CouponAnswer[];
  /** How many refusals there were of each code. */
  refusals: Record<string, number>;
}

export type ToFlood = { type: 'open'; order: FloodOrder } | { type: 'release' } | { type: 'stop' };
export type FromFlood = { type: 'open' } | { type: 'result'; result: FloodResult };

export interface Flood {
  /** All connections ask, in one tick; each asks again a second after its answer. */
  release(): void;
  /** Ends it, when what is under way has been answered. @throws Error  It broke down. */
  stop(): Promise<FloodResult>;
}

/** The process of a flood ended before it had told what was asked of it. */
export class FloodLostError extends Error {
  override readonly name = 'FloodLostError';
  readonly code = 'FLOOD_LOST';
}

/**
 * Opens the connections of one member who floods, in a process of his own, of the lowest priority: his requests must not
 * hold up the loop that measures how the others fare, nor the shop. It ends with `stop`, with `signal` and with the lab.
 *
 * @throws FloodLostError  A connection could not be opened; none is left.
 * @throws the signal's reason  Later too, from `stop`.
 */
export async function startFlood(order: FloodOrder, signal: AbortSignal): Promise<Flood> {
  const main = new URL(`./coupon-flood-main${extname(import.meta.url)}`, import.meta.url);
  const flood = startHelper<ToFlood, FromFlood>(
    main,
    signal,
    (why) => new FloodLostError(`the flood ended by itself (${why})`),
  );
  await flood.ask({ type: 'open', order });
  return {
    release: () => flood.tell({ type: 'release' }),
    async stop() {
      const answer = await flood.ask({ type: 'stop' });
      flood.kill();
      if (answer.type !== 'result') throw new FloodLostError(`the flood answered "${answer.type}"`);
      return answer.result;
    },
  };
}
