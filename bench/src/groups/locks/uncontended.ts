import { percentiles } from '../../../../packages/race-lab/src/history/percentiles.ts';
import type { Measurement } from '../../measurement.ts';
import { startCountingProxy } from '../../round-trips.ts';
import type { ServerUrls } from '../../servers.ts';
import { type LoadProcess, startLoad } from './load-process.ts';

export const PAIRS_PER_SECOND = 'pairs/s';
export const ROUND_TRIPS = 'round trips';

/** Before round trips are counted: scripts are sent, connections opened. */
const UNCOUNTED_PAIRS = 20;
const COUNTED_PAIRS = 100;

/** Each caller takes a lock that nobody else wants, and gives it back, again and again. */
export async function measureUncontended(
  load: LoadProcess,
  callers: number,
  durationMs: number,
  prefix: string,
): Promise<Measurement> {
  const wrong = await load.carryOut({ kind: 'exclude', key: `${prefix}excluded` });
  const result = await load.carryOut({ kind: 'own-keys', prefix, callers, until: { ms: durationMs } });
  const { pairMs, notGranted, errors, firstError } = result;
  const latency = percentiles([...pairMs]);
  return {
    figures: {
      [PAIRS_PER_SECOND]: pairMs.length === 0 ? null : (pairMs.length * 1_000) / result.durationMs,
      'p50 ms': latency?.p50 ?? null,
      'p99 ms': latency?.p99 ?? null,
    },
    failures: { 'not granted': notGranted, errors },
    wrong: [
      ...wrong,
      // Nobody else wants these keys.
      ...(notGranted > 0 ? [`${notGranted} locks that nobody held were not granted`] : []),
    ],
    firstError,
  };
}

/**
 * Counts what one pair costs, whatever the machine does: how often it is asked and answered between the process and all
 * servers.
 *
 * @throws as startLoad does.
 */
export async function countRoundTrips(row: string, urls: ServerUrls, signal: AbortSignal): Promise<number> {
  const proxies = await Promise.all([urls.redis, urls.postgres, urls.mariadb].map(startCountingProxy));
  const [redis, postgres, mariadb] = proxies.map(({ url }) => url) as [string, string, string];
  const counted = () => proxies.reduce((sum, proxy) => sum + proxy.count(), 0);
  try {
    const load = await startLoad(row, { redis, postgres, mariadb }, signal);
    try {
      const order = { kind: 'own-keys', prefix: 'round-trips:', callers: 1 } as const;
      await load.carryOut({ ...order, until: { pairsEach: UNCOUNTED_PAIRS } });
      const before = counted();
      await load.carryOut({ ...order, until: { pairsEach: COUNTED_PAIRS } });
      return (counted() - before) / COUNTED_PAIRS;
    } finally {
      load.end();
    }
  } finally {
    for (const proxy of proxies) proxy.close();
  }
}
