import { setTimeout as sleep } from 'node:timers/promises';
import { withDatabase } from '../cluster/database-session.ts';
import type { StockSnapshot } from '../history/coupon-rows.ts';
import { reasonOf } from '../locks/errors.ts';
import { readStockSnapshot } from './read-coupon-rows.ts';

/** Between two looks. */
const EVERY_MS = 50;
const STATEMENT_LIMIT_MS = 10_000;

/** How a coupon's stock looked while something ran. */
export interface StockWatchReport {
  /** In the order in which they were taken. */
  snapshots: StockSnapshot[];
  /** Why the watch ended early or never began; null when it lasted to the end. */
  brokenBecause: string | null;
}

/** A race needs a look before it and one after it. */
const FEWEST_LOOKS = 2;

/** Why a watch does not show how the stock looked from the beginning to the end; null when it does. */
export function whyUnwatched({ snapshots, brokenBecause }: StockWatchReport): string | null {
  if (brokenBecause !== null) return `the stock was not watched to the end: ${brokenBecause}`;
  const looks = snapshots.length;
  return looks < FEWEST_LOOKS
    ? `the stock was looked at ${looks} times, not before and after the race`
    : null;
}

/**
 * Reads the stock of a coupon every 50 ms on a connection of its own until `stop` is called, any number of times; the last
 * time after `stop`. Resolves when it has looked once, or cannot.
 *
 * Neither it nor `stop` ever throws: what goes wrong is in the report, with the snapshots up to then.
 */
export async function watchStock(
  databaseUrl: string,
  couponId: string,
): Promise<{ stop(): Promise<StockWatchReport> }> {
  const snapshots: StockSnapshot[] = [];
  const stopped = new AbortController();
  const looked = Promise.withResolvers<void>();
  const watching = withDatabase(databaseUrl, STATEMENT_LIMIT_MS, async (query) => {
    for (;;) {
      const last = stopped.signal.aborted;
      snapshots.push(await readStockSnapshot(query, couponId));
      looked.resolve();
      if (last) return;
      await sleep(EVERY_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  }).then(() => null, reasonOf);
  await Promise.race([looked.promise, watching]);
  return {
    async stop() {
      stopped.abort();
      return { brokenBecause: await watching, snapshots };
    },
  };
}
