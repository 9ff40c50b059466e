import { setTimeout as sleep } from 'node:timers/promises';
import type { Cluster } from '../cluster/cluster.ts';
import { answerOf } from '../history/answer.ts';
import { arrivalSpread } from '../history/arrival-spread.ts';
import { percentiles } from '../history/percentiles.ts';
import { raceGroups } from '../racer/race.ts';
import { type ControlReport, isAsExpected, type RunReport } from '../report/report.ts';
import {
  confirmation,
  gather,
  judgedReport,
  type PurchaseContext,
  type PurchaseRun,
  startRun,
} from './purchase-run.ts';
import { CONTROL, type PurchaseStrategyName, purchaseStrategies } from './purchase-strategies.ts';
import {
  isMissing,
  type RunSetting,
  rotation,
  runContext,
  skippedReport,
  withLocksWatched,
} from './run-context.ts';
import { watchingServers } from './server-watch.ts';
import { prepareOrders } from './shop-client.ts';

/** The time that a person spends in the payment window, in milliseconds. */
const PAYMENT_WINDOW_MS = 800;
/**
 * How the orders follow each other. Close enough that they run beside each other as in a busy shop, and far
 * enough apart that two cores do not delay the five requests of one order against each other.
 */
const ORDERS_IN_FLIGHT = 20;
const ORDER_SPACING_MS = 15;
/** Orders that are raced before anything counts: a process that has just started answers its first requests late. */
const WARM_UP_ORDERS = 20;
/** Orders of the control that goes with a race of single strategies. */
const CONTROL_ORDERS = 20;

export interface PurchaseRaceOptions {
  strategies: readonly PurchaseStrategyName[];
  orders: number;
  fanout: number;
  setting: RunSetting;
  signal: AbortSignal;
  onProgress(strategy: string, done: number, total: number): void;
}

/**
 * Races the strategies one after the other on one cluster, the control first.
 *
 * @throws ServerLostError, PreparationError, the signal's reason, and whatever keeps the evidence from being read.
 */
export async function racePurchases(cluster: Cluster, options: PurchaseRaceOptions): Promise<RunReport[]> {
  return watchingServers(cluster, options.signal, async (ended) =>
    raceAll(cluster, options, { ...(await runContext(cluster, ended)), earlier: new Set() }),
  );
}

async function raceAll(
  cluster: Cluster,
  options: PurchaseRaceOptions,
  context: PurchaseContext,
): Promise<RunReport[]> {
  const { strategies, orders, fanout, setting } = options;
  const { database } = context;
  const runOf = (strategy: PurchaseStrategyName, count: number): PurchaseRun => {
    return { experiment: 'purchase', strategy, orders: count, fanout, setting, database };
  };
  const race = (strategy: PurchaseStrategyName, count: number) =>
    raceStrategy(cluster, options, runOf(strategy, count), context);

  await race(CONTROL, WARM_UP_ORDERS);
  const asked = strategies.includes(CONTROL);
  const controlRun = await race(CONTROL, asked ? orders : Math.min(orders, CONTROL_ORDERS));
  const control = controlOf(controlRun);
  const reports: RunReport[] = [];
  for (const strategy of strategies) {
    if (strategy === CONTROL) reports.push(withControl(controlRun, control));
    else if (isMissing(cluster, purchaseStrategies[strategy])) {
      const run = runOf(strategy, orders);
      reports.push({ ...skippedReport(cluster, run), control, expected: expectedOf(cluster, run) });
    } else reports.push(withControl(await race(strategy, orders), control));
  }
  return reports;
}

function controlOf({ orders, ledger }: RunReport): ControlReport {
  const ordersRequestedTwice = ledger?.ordersRequestedTwice ?? 0;
  return {
    strategy: CONTROL,
    orders,
    ordersRequestedTwice,
    raced: orders !== null && ordersRequestedTwice * 2 >= orders,
    showed: `without a guard the provider was asked twice for ${ordersRequestedTwice} of ${orders} orders`,
  };
}

/** A run is worth what its control is: where that did not race, nothing was proved. */
function withControl(report: RunReport, control: ControlReport): RunReport {
  if (control.raced) return { ...report, control };
  return {
    ...report,
    control,
    verdict: 'unknown',
    asExpected: false,
    unknownBecause: `the control asked the provider twice for only ${control.ordersRequestedTwice} of ${control.orders} orders`,
  };
}

async function raceStrategy(
  cluster: Cluster,
  { onProgress, signal }: PurchaseRaceOptions,
  run: PurchaseRun,
  { earlier, ended }: PurchaseContext,
): Promise<RunReport> {
  const { strategy, orders, fanout, setting } = run;
  const start = startRun();
  const prepared = await prepareOrders({
    shopUrls: cluster.frontDoor.urls,
    sandboxUrl: cluster.sandbox.baseUrl,
    orders,
    openSessions: setting.gateway !== 'as-published',
    signal,
  });
  await sleep(PAYMENT_WINDOW_MS, undefined, { signal });

  const nextTarget = rotation(cluster);
  const groups = prepared.map((order) =>
    Array.from({ length: fanout }, (_, index) => confirmation(order, index + 1, strategy, nextTarget())),
  );
  const { result: exchanges, lockWaits } = await withLocksWatched(cluster, purchaseStrategies[strategy], () =>
    raceGroups(groups, {
      maxGroupsInFlight: ORDERS_IN_FLIGHT,
      spacingMs: ORDER_SPACING_MS,
      onProgress: (done, total) => onProgress(strategy, done, total),
      signal,
    }),
  );
  const answers = exchanges.flat().map(answerOf);
  const evidence = await gather(cluster, answers, earlier);
  const report = judgedReport(cluster, run, evidence, ended, start);
  const spread = percentiles([...arrivalSpread(answers).values()]);
  const expected = expectedOf(cluster, run);
  return {
    ...report,
    arrivalSpreadMs: spread && { p50: spread.p50, p99: spread.p99 },
    lockWaits,
    expected,
    asExpected: isAsExpected(
      report.verdict,
      expected,
      purchaseStrategies[strategy].brokeAsPublished?.(report),
    ),
  };
}

function expectedOf(cluster: Cluster, { strategy, orders }: PurchaseRun) {
  return purchaseStrategies[strategy].expected({ instances: cluster.instances.length, orders });
}
