import { withDatabase } from '../../../../packages/race-lab/src/cluster/database-session.ts';
import { percentiles } from '../../../../packages/race-lab/src/history/percentiles.ts';
import type { Measurement } from '../../measurement.ts';
import { startCountingProxy } from '../../round-trips.ts';
import type { ServerUrls } from '../../servers.ts';
import type { DriveResult } from './load-messages.ts';
import { type LoadPlan, type LoadProcess, startLoad } from './load-process.ts';

export const PER_SECOND = 'operations/s';
export const P50 = 'p50 ms';
export const COMMITS = 'commits';
export const ROUND_TRIPS = 'round trips';

/** What one round of callers showed. Null figures: nobody was served. */
export function measurementOf(
  result: DriveResult,
  costs: { readonly commits: number | null; readonly roundTrips: number | null },
  wrong: readonly string[],
): Measurement {
  const served = result.latencyMs.length;
  const latency = percentiles([...result.latencyMs]);
  return {
    figures: {
      [PER_SECOND]: served === 0 ? null : (served * 1_000) / result.durationMs,
      [P50]: latency?.p50 ?? null,
      'p99 ms': latency?.p99 ?? null,
      [COMMITS]: costs.commits === null || served === 0 ? null : costs.commits / served,
      [ROUND_TRIPS]: costs.roundTrips,
    },
    failures: { errors: result.errors },
    wrong,
    firstError: result.firstError,
  };
}

const LIMIT_MS = 10_000;

/**
 * How many transactions that wrote something the databases have ended so far: each of PostgreSQL's has a number, and InnoDB counts
 * those that it commits.
 *
 * @throws the driver's error.
 */
export async function countWrites(urls: ServerUrls): Promise<number> {
  const [postgres, mariadb] = await Promise.all([
    oneNumber(urls.postgres, 'SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS n'),
    oneNumber(
      urls.mariadb,
      "SELECT count AS n FROM information_schema.innodb_metrics WHERE name = 'trx_rw_commits'",
    ),
  ]);
  return postgres + mariadb;
}

/** Has MariaDB count what `countWrites` reads; it does not by itself. @throws the driver's error. */
export async function haveWritesCounted({ mariadb }: ServerUrls): Promise<void> {
  await withDatabase(mariadb, LIMIT_MS, (query) =>
    query("SET GLOBAL innodb_monitor_enable = 'trx_rw_commits'"),
  );
}

function oneNumber(url: string, statement: string): Promise<number> {
  return withDatabase(url, LIMIT_MS, async (query) => Number((await query(statement))[0]?.n));
}

/**
 * Counts how often it is asked and answered between a process and all servers for one operation, whatever the machine does.
 *
 * @param warmUp  Has connections opened, statements prepared.
 * @param counted  Does what is counted. @returns how many operations that were.
 * @throws as startLoad does.
 */
export async function countRoundTrips(
  plan: LoadPlan,
  signal: AbortSignal,
  warmUp: (load: LoadProcess) => Promise<unknown>,
  counted: (load: LoadProcess) => Promise<number>,
): Promise<number> {
  const { redis, postgres, mariadb } = plan.urls;
  const proxies = await Promise.all([redis, postgres, mariadb].map(startCountingProxy));
  const [toRedis, toPostgres, toMariadb] = proxies.map(({ url }) => url) as [string, string, string];
  const count = () => proxies.reduce((sum, proxy) => sum + proxy.count(), 0);
  try {
    const urls = { redis: toRedis, postgres: toPostgres, mariadb: toMariadb };
    const load = await startLoad({ ...plan, urls }, signal);
    try {
      await warmUp(load);
      const before = count();
      const operations = await counted(load);
      return (count() - before) / operations;
    } finally {
      load.end();
    }
  } finally {
    for (const proxy of proxies) proxy.close();
  }
}
