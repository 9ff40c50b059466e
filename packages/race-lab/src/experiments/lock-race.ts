import type { Cluster } from '../cluster/cluster.ts';
import { type LockFaultName, lockFaultNames } from '../nemesis/lock-fault-names.ts';
import type { ControlReport, RunReport } from '../report/report.ts';
import { COUPON_CONTROL } from './coupon-strategies.ts';
import { couponUnderLock, REQUESTS_OF_ONE_MEMBER } from './lock-coupon.ts';
import { holdLoad } from './lock-load.ts';
import { CONFIRMATIONS_EACH, orderUnderLock } from './lock-order.ts';
import { isDamaged, type LockRun } from './lock-report.ts';
import { type LockRunContext, raceUnderFault } from './lock-run.ts';
import { expectedUnder, isOverCoupon, type LockStrategyName } from './lock-strategies.ts';
import type { LockRequest, LockSubject } from './lock-subject.ts';
import { CONTROL } from './purchase-strategies.ts';
import { type RunSetting, runContext, skippedReport } from './run-context.ts';
import { watchingServers } from './server-watch.ts';

/** How often the control is raced until it breaks: it is made to, and once is proof. */
const CONTROL_TRIES = 5;
const CONTROL_ANSWER_LIMIT_MS = 30_000;

export interface LockRaceOptions {
  strategies: readonly LockStrategyName[];
  faults: readonly LockFaultName[] | undefined;
  /** Of each strategy under each fault. */
  runs: number;
  setting: RunSetting;
  signal: AbortSignal;
  onProgress(run: LockRun): void;
}

/**
 * Races strategies that hang on a lock while faults strike it, one run after the other on one cluster, each for a coupon or an
 * order of its own. The same requests without a guard and without a fault are the control.
 *
 * @throws ServerLostError, PreparationError, NotHealedError, the signal's reason, and whatever keeps the evidence from being
 *   read.
 */
export async function raceLocks(cluster: Cluster, options: LockRaceOptions): Promise<RunReport[]> {
  const { signal } = options;
  return watchingServers(cluster, signal, async (ended, watch) => {
    const redis = cluster.faultyRedis;
    const context = await runContext(cluster, ended);
    if (redis === undefined) {
      return cellsOf(options).map((cell) => ({
        ...skippedReport(cluster, planOf(cluster, cell, options.setting, context.database)),
        expected: expectedUnder(cell.strategy, cell.fault),
      }));
    }
    let attempts = 0;
    const nextAttempt = () => ++attempts;
    return raceAll(cluster, options, { ...context, redis, earlier: new Set(), nextAttempt, watch, signal });
  });
}

async function raceAll(
  cluster: Cluster,
  options: LockRaceOptions,
  context: LockRunContext,
): Promise<RunReport[]> {
  const { runs, setting, onProgress } = options;
  const controls = new Map<boolean, ControlReport>();
  for (const strategy of options.strategies) {
    const overCoupon = isOverCoupon(strategy);
    if (!controls.has(overCoupon))
      controls.set(overCoupon, await raceControl(cluster, overCoupon, options, context));
  }
  const reports: RunReport[] = [];
  for (const cell of cellsOf(options)) {
    const control = controls.get(isOverCoupon(cell.strategy)) ?? null;
    for (let nth = 1; nth <= runs; nth++) {
      const run = { ...planOf(cluster, cell, setting, context.database), nth };
      onProgress(run);
      reports.push(withControl(await raceUnderFault(cluster, run, context), control));
    }
  }
  return reports;
}

interface LockCell {
  strategy: LockStrategyName;
  fault: LockFaultName;
}

function cellsOf({ strategies, faults = lockFaultNames }: LockRaceOptions): LockCell[] {
  return strategies.flatMap((strategy) => faults.map((fault) => ({ strategy, fault })));
}

function planOf(
  cluster: Cluster,
  { strategy, fault }: LockCell,
  setting: RunSetting,
  database: RunReport['database'],
): LockRun {
  const shape = isOverCoupon(strategy)
    ? { orders: null, fanout: REQUESTS_OF_ONE_MEMBER }
    : { orders: 1, fanout: CONFIRMATIONS_EACH * cluster.instances.length };
  return { experiment: 'lock', strategy, fault, nth: 1, setting, database, ...shape };
}

/** The same requests, without a guard and without a fault. */
async function raceControl(
  cluster: Cluster,
  overCoupon: boolean,
  { setting, signal }: LockRaceOptions,
  context: LockRunContext,
): Promise<ControlReport> {
  const strategy = overCoupon ? COUPON_CONTROL : CONTROL;
  for (let tries = 1; ; tries++) {
    const nth = context.nextAttempt();
    const seed = setting.seed + nth;
    const { earlier } = context;
    const control = overCoupon
      ? await controlOf(
          await couponUnderLock(cluster, { strategy: COUPON_CONTROL, nth, seed }, signal),
          signal,
        )
      : await controlOf(await orderUnderLock(cluster, { strategy: CONTROL, seed, earlier }, signal), signal);
    if (control.raced || tries === CONTROL_TRIES)
      return { strategy, orders: null, ordersRequestedTwice: null, ...control };
  }
}

async function controlOf<Request extends LockRequest>(
  subject: LockSubject<Request>,
  signal: AbortSignal,
): Promise<Pick<ControlReport, 'raced' | 'showed'>> {
  const load = await holdLoad(subject.requests, { answerTimeoutMs: CONTROL_ANSWER_LIMIT_MS, signal });
  load.release(subject.requests.length);
  const { stock, report } = await subject.judge(await load.exchanges, null);
  const showed =
    stock === null
      ? `without a guard an order was charged ${report.ledger?.captures} times`
      : `without a guard ${stock.issued} were issued of ${stock.initial} and ${stock.remaining} are left`;
  return { raced: isDamaged({ stock, ledger: report.ledger }), showed };
}

/** A run is worth what its control is: where that held, nothing was proved. */
function withControl(report: RunReport, control: ControlReport | null): RunReport {
  if (control === null || control.raced) return { ...report, control };
  return {
    ...report,
    ...{ control, verdict: 'unknown', asExpected: false },
    unknownBecause: `the control held: ${control.showed}`,
  };
}
