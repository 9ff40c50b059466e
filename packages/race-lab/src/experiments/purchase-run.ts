import { readDatabaseSettings } from '../checkers/database-settings.ts';
import { judge } from '../checkers/judge.ts';
import { readShopRows } from '../checkers/read-shop-rows.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Answer, PurchaseRequest } from '../history/answer.ts';
import { ledgerSummary, patterns, replays, responses } from '../history/counts.ts';
import { type Evidence, withoutOrders } from '../history/evidence.ts';
import { parseLedger } from '../history/ledger.ts';
import { percentiles } from '../history/percentiles.ts';
import { type LockWaitsReport, watchLocks } from '../locks/watch.ts';
import type { Target } from '../racer/exchange.ts';
import type { DatabaseReport, RunReport } from '../report/report.ts';
import { type PurchaseStrategyName, purchaseStrategies } from './purchase-strategies.ts';
import { whyIncomplete } from './server-watch.ts';
import { type PreparedOrder, readShopIsolation } from './shop-client.ts';

/** Facts of a run that only its starter knows; they go into the report. */
export interface RunSetting {
  store: string;
  gateway: string;
  seed: number;
  commit: string;
}

/** One strategy's run of an experiment with purchases. */
export interface PurchaseRun {
  experiment: RunReport['experiment'];
  strategy: PurchaseStrategyName;
  orders: number;
  fanout: number;
  setting: RunSetting;
  database: DatabaseReport | null;
}

/** What all runs on one cluster share. */
export interface RunContext {
  database: DatabaseReport | null;
  /** Orders of earlier runs on the same store. */
  earlier: Set<string>;
  /** Servers that have ended by themselves. */
  ended: ReadonlySet<string>;
}

export async function runContext(cluster: Cluster, ended: ReadonlySet<string>): Promise<RunContext> {
  // The heading says so when they could not be read; the race needs them for nothing else.
  const settings = await readDatabaseSettings(cluster.databaseUrl).catch(() => null);
  const [instance] = cluster.instances;
  const shopIsolation = instance === undefined ? null : await readShopIsolation(instance.baseUrl);
  const database = settings && { ...settings, shopIsolation };
  return { database, earlier: new Set(), ended };
}

/** The `nth` confirmation of an order. */
export function confirmation(
  order: PreparedOrder,
  nth: number,
  strategy: PurchaseStrategyName,
  target: Target,
): PurchaseRequest {
  const { orderId, paymentKey, lottoPublishId, memberId } = order;
  const requestId = `${orderId}-${nth}`;
  return {
    target,
    method: 'POST',
    path: '/api/tickets',
    headers: {
      'content-type': 'application/json',
      'x-member-id': String(memberId),
      'x-request-id': requestId,
      'x-purchase-strategy': strategy,
    },
    body: JSON.stringify({ lottoPublishId, purchaseHttpRequest: { orderId, paymentKey } }),
    orderId,
    paymentKey,
    requestId,
  };
}

export function targetOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

/**
 * Runs `work` while the locks are watched, for a strategy whose racers wait for each other's; else null is seen. The
 * watching never fails the run.
 */
export async function withLocksWatched<T>(
  cluster: Cluster,
  strategy: PurchaseStrategyName,
  work: () => Promise<T>,
): Promise<{ result: T; lockWaits: LockWaitsReport | null }> {
  if (purchaseStrategies[strategy].waitsForLocks !== true) return { result: await work(), lockWaits: null };
  const watch = await watchLocks(cluster.databaseUrl);
  try {
    const result = await work();
    return { result, lockWaits: await watch.stop() };
  } finally {
    // It may have been stopped already, or `work` may have failed.
    await watch.stop();
  }
}

/** The evidence of one run, from the provider and the database. What it found there is earlier than the next run. */
export async function gather(
  cluster: Cluster,
  answers: readonly Answer[],
  earlier: Set<string>,
): Promise<Evidence> {
  const response = await fetch(`${cluster.sandbox.baseUrl}/sandbox/ledger`);
  if (!response.ok) throw new Error(`the sandbox answered ${response.status} when asked for its ledger`);
  const all = {
    answers,
    ledger: parseLedger(await response.text()),
    rows: await readShopRows(cluster.databaseUrl),
  };
  const evidence = withoutOrders(all, earlier);
  for (const { orderId } of evidence.rows.orders) earlier.add(orderId);
  return evidence;
}

/** What the checkers say of a run, before anything is expected of it. */
export function judgedReport(
  cluster: Cluster,
  run: PurchaseRun,
  evidence: Evidence,
  ended: ReadonlySet<string>,
  startedAt: Date,
): RunReport {
  const { answers, ledger, rows } = evidence;
  const judged = judge(evidence);
  const incomplete = whyIncomplete(cluster, ended, answers);
  const answered = answers.filter(({ status }) => status !== undefined);
  const latencies = (some: readonly Answer[]) => percentiles(some.map(({ latencyMs }) => latencyMs));
  return {
    ...emptyReport(cluster, run, startedAt),
    responses: responses(answers),
    replays: replays(answers),
    patterns: patterns(answers),
    ledger: ledgerSummary(ledger, new Set(answers.map(({ orderId }) => orderId))),
    rows: { orders: rows.orders.length, bills: rows.bills.length, audit: rows.audit.length },
    violations: summarise(judged.violations),
    latencyMs: { all: latencies(answered), ok: latencies(answered.filter(({ result }) => result === 'ok')) },
    verdict: incomplete === null ? judged.verdict : 'unknown',
    unknownBecause: incomplete ?? judged.unknownBecause,
  };
}

/** Whether the strategy cannot run on this cluster. */
export function isMissing(cluster: Cluster, strategy: PurchaseStrategyName): boolean {
  return purchaseStrategies[strategy].needs === 'redis' && cluster.redisUrl === undefined;
}

/** The report of a strategy that cannot run on this cluster. */
export function skippedReport(cluster: Cluster, run: PurchaseRun): RunReport {
  return {
    ...emptyReport(cluster, run, new Date()),
    // Nothing ran, so nothing was unexpected.
    asExpected: true,
    skipped: cluster.notes.find((note) => note.startsWith('Redis')) ?? 'it needs Redis',
  };
}

/** A report of a run of which nothing is known yet but where and when. */
function emptyReport(cluster: Cluster, run: PurchaseRun, startedAt: Date): RunReport {
  return {
    schema: 'race-lab/1',
    experiment: run.experiment,
    strategy: run.strategy,
    store: run.setting.store,
    gateway: run.setting.gateway,
    instances: cluster.instances.length,
    frontDoor: cluster.frontDoor.kind,
    orders: run.orders,
    fanout: run.fanout,
    seed: run.setting.seed,
    commit: run.setting.commit,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    responses: {},
    replays: 0,
    patterns: null,
    ledger: null,
    rows: {},
    coupon: null,
    bystanders: null,
    database: run.database,
    lockWaits: null,
    violations: [],
    latencyMs: { all: null, ok: null },
    arrivalSpreadMs: null,
    control: null,
    verdict: 'unknown',
    expected: 'either',
    asExpected: false,
    skipped: null,
    unknownBecause: null,
  };
}
