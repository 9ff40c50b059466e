import { readDatabaseSettings } from '../checkers/database-settings.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type LockWaitsReport, watchLocks } from '../locks/watch.ts';
import type { Target } from '../racer/exchange.ts';
import type { DatabaseReport, RunReport } from '../report/report.ts';
import { readShopIsolation } from './shop-client.ts';

/** Facts of a run that only its starter knows; they go into the report. */
export interface RunSetting {
  store: string;
  gateway: string;
  seed: number;
  commit: string;
}

/** What all runs on one cluster share. */
export interface RunContext {
  database: DatabaseReport | null;
  /** Servers that have ended by themselves. */
  ended: ReadonlySet<string>;
}

/** What is known of a run before it begins. */
export interface RunPlan {
  experiment: RunReport['experiment'];
  strategy: string;
  /** Null where nothing is paid. */
  orders: number | null;
  /** How many requests are sent at once for one order, or by one member. */
  fanout: number;
  setting: RunSetting;
  database: DatabaseReport | null;
}

export async function runContext(cluster: Cluster, ended: ReadonlySet<string>): Promise<RunContext> {
  // The heading says so when they could not be read; the race needs them for nothing else.
  const settings = await readDatabaseSettings(cluster.databaseUrl).catch(() => null);
  const [instance] = cluster.instances;
  const shopIsolation = instance === undefined ? null : await readShopIsolation(instance.baseUrl);
  return { database: settings && { ...settings, shopIsolation }, ended };
}

export function targetOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

/** The front doors, in turn. */
export function rotation(cluster: Cluster): () => Target {
  const targets = cluster.frontDoor.urls.map(targetOf);
  let turn = 0;
  return () => targets[turn++ % targets.length] ?? targetOf('');
}

/**
 * Runs `work` while the locks are watched, for a strategy whose racers wait for each other's; else null is seen. The
 * watching never fails the run.
 */
export async function withLocksWatched<T>(
  cluster: Cluster,
  { waitsForLocks }: { waitsForLocks?: true },
  work: () => Promise<T>,
): Promise<{ result: T; lockWaits: LockWaitsReport | null }> {
  if (waitsForLocks !== true) return { result: await work(), lockWaits: null };
  const watch = await watchLocks(cluster.databaseUrl);
  try {
    const result = await work();
    return { result, lockWaits: await watch.stop() };
  } finally {
    // It may have been stopped already, or `work` may have failed.
    await watch.stop();
  }
}

/** Whether a strategy cannot run on this cluster. */
export function isMissing(cluster: Cluster, { needs }: { needs: 'database' | 'redis' }): boolean {
  return needs === 'redis' && cluster.redisUrl === undefined;
}

/** The report of a run that cannot take place on this cluster. */
export function skippedReport(cluster: Cluster, plan: RunPlan): RunReport {
  return {
    ...emptyReport(cluster, plan, new Date()),
    // Nothing ran, so nothing was unexpected.
    asExpected: true,
    skipped: cluster.notes.find((note) => note.startsWith('Redis')) ?? 'it needs Redis',
  };
}

/** A report of a run of which nothing is known yet but where and when. */
export function emptyReport(cluster: Cluster, plan: RunPlan, startedAt: Date): RunReport {
  const { experiment, strategy, orders, fanout, setting, database } = plan;
  return {
    schema: 'race-lab/1',
    experiment,
    strategy,
    store: setting.store,
    gateway: setting.gateway,
    instances: cluster.instances.length,
    frontDoor: cluster.frontDoor.kind,
    orders,
    fanout,
    seed: setting.seed,
    commit: setting.commit,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    responses: {},
    replays: 0,
    patterns: null,
    ledger: null,
    rows: {},
    coupon: null,
    lock: null,
    recovery: null,
    bystanders: null,
    database,
    lockWaits: null,
    violations: [],
    latencyMs: { all: null, ok: null },
    arrivalSpreadMs: null,
    recorded: null,
    control: null,
    verdict: 'unknown',
    expected: 'either',
    asExpected: false,
    skipped: null,
    unknownBecause: null,
  };
}
