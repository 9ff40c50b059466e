import { setTimeout as sleep } from 'node:timers/promises';
import { judge } from '../checkers/judge.ts';
import { readShopRows } from '../checkers/read-shop-rows.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { type Answer, answerOf, type PurchaseRequest } from '../history/answer.ts';
import { arrivalSpread } from '../history/arrival-spread.ts';
import { ledgerSummary, patterns, replays, responses } from '../history/counts.ts';
import { type Evidence, withoutOrders } from '../history/evidence.ts';
import { parseLedger } from '../history/ledger.ts';
import { percentiles } from '../history/percentiles.ts';
import type { Target } from '../racer/exchange.ts';
import { raceGroups } from '../racer/race.ts';
import { type ControlReport, isAsExpected, type RunReport } from '../report/report.ts';
import { CONTROL, type PurchaseStrategyName, purchaseStrategies } from './purchase-strategies.ts';
import { type PreparedOrder, prepareOrders } from './shop-client.ts';

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
/** How long the end of a server may take to be known, in milliseconds. */
const NEWS_LIMIT_MS = 500;
/** Orders of the control that goes with a race of single strategies. */
const CONTROL_ORDERS = 20;

export interface PurchaseRaceOptions {
  strategies: readonly PurchaseStrategyName[];
  orders: number;
  fanout: number;
  /** Facts of the run that only its starter knows; they go into the report. */
  setting: { store: string; gateway: string; seed: number; commit: string };
  signal: AbortSignal;
  onProgress(strategy: string, done: number, total: number): void;
}

/**
 * Races the strategies one after the other on one cluster, the control first.
 *
 * @throws ServerLostError, PreparationError, the signal's reason, and whatever keeps the evidence from being read.
 */
export async function racePurchases(cluster: Cluster, options: PurchaseRaceOptions): Promise<RunReport[]> {
  const ended = new Set<string>();
  for (const server of cluster.servers.values()) void server.exited.then(() => ended.add(server.name));
  try {
    return await raceAll(cluster, options, ended);
  } catch (error) {
    if (options.signal.aborted) throw error;
    // The news of a server's end may come after the error that it caused.
    await sleep(NEWS_LIMIT_MS);
    if (ended.size === 0) throw error;
    throw new ServerLostError([...ended], { cause: error });
  }
}

/** A server that the race needs has ended by itself. What was seen until then proves nothing. */
export class ServerLostError extends Error {
  override readonly name = 'ServerLostError';
  readonly code = 'SERVER_LOST';

  constructor(names: readonly string[], options: ErrorOptions) {
    super(`${names.join(' and ')} ended by itself, so the race was broken off`, options);
  }
}

async function raceAll(
  cluster: Cluster,
  options: PurchaseRaceOptions,
  ended: ReadonlySet<string>,
): Promise<RunReport[]> {
  const { strategies, orders } = options;
  const earlier = new Set<string>();
  const run = (strategy: PurchaseStrategyName, count: number) =>
    raceStrategy(cluster, { ...options, strategy, orders: count, earlier, ended });

  await run(CONTROL, WARM_UP_ORDERS);
  const asked = strategies.includes(CONTROL);
  const controlRun = await run(CONTROL, asked ? orders : Math.min(orders, CONTROL_ORDERS));
  const control = controlOf(controlRun);
  const reports: RunReport[] = [];
  for (const strategy of strategies) {
    if (strategy === CONTROL) reports.push(withControl(controlRun, control));
    else if (purchaseStrategies[strategy].needs === 'redis' && cluster.redisUrl === undefined) {
      reports.push(skipped(cluster, options, strategy, control));
    } else reports.push(withControl(await run(strategy, orders), control));
  }
  return reports;
}

function controlOf({ orders, ledger }: RunReport): ControlReport {
  const ordersRequestedTwice = ledger?.ordersRequestedTwice ?? 0;
  return { strategy: CONTROL, orders, ordersRequestedTwice, raced: ordersRequestedTwice * 2 >= orders };
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

interface StrategyRace extends PurchaseRaceOptions {
  strategy: PurchaseStrategyName;
  /** Orders of the runs before this one on the same store; this one's are added. */
  earlier: Set<string>;
  /** Servers that have ended by themselves. */
  ended: ReadonlySet<string>;
}

async function raceStrategy(cluster: Cluster, race: StrategyRace): Promise<RunReport> {
  const { strategy, signal } = race;
  const startedAt = new Date();
  const prepared = await prepareOrders({
    shopUrls: cluster.frontDoor.urls,
    sandboxUrl: cluster.sandbox.baseUrl,
    orders: race.orders,
    openSessions: race.setting.gateway !== 'as-published',
    signal,
  });
  await sleep(PAYMENT_WINDOW_MS, undefined, { signal });

  const exchanges = await raceGroups(confirmations(cluster, race, prepared), {
    maxGroupsInFlight: ORDERS_IN_FLIGHT,
    spacingMs: ORDER_SPACING_MS,
    onProgress: (done, total) => race.onProgress(strategy, done, total),
    signal,
  });
  const answers = exchanges.flat().map(answerOf);
  const evidence = withoutOrders(await gather(cluster, answers), race.earlier);
  for (const { orderId } of prepared) race.earlier.add(orderId);
  return reportOf(cluster, race, evidence, startedAt);
}

/** For each order, the same confirmation as many times as the fan-out says. */
function confirmations(
  cluster: Cluster,
  { strategy, fanout }: StrategyRace,
  prepared: readonly PreparedOrder[],
): PurchaseRequest[][] {
  const targets = cluster.frontDoor.urls.map(targetOf);
  let turn = 0;
  return prepared.map((order) => {
    const { orderId, paymentKey, lottoPublishId, memberId } = order;
    const body = JSON.stringify({ lottoPublishId, purchaseHttpRequest: { orderId, paymentKey } });
    return Array.from({ length: fanout }, (_, index) => {
      const requestId = `${orderId}-${index + 1}`;
      return {
        target: targets[turn++ % targets.length] ?? targetOf(''),
        method: 'POST',
        path: '/api/tickets',
        headers: {
          'content-type': 'application/json',
          'x-member-id': String(memberId),
          'x-request-id': requestId,
          'x-purchase-strategy': strategy,
        },
        body,
        orderId,
        paymentKey,
        requestId,
      };
    });
  });
}

function targetOf(url: string): Target {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

async function gather(cluster: Cluster, answers: readonly Answer[]): Promise<Evidence> {
  const response = await fetch(`${cluster.sandbox.baseUrl}/sandbox/ledger`);
  if (!response.ok) throw new Error(`the sandbox answered ${response.status} when asked for its ledger`);
  return {
    answers,
    ledger: parseLedger(await response.text()),
    rows: await readShopRows(cluster.databaseUrl),
  };
}

function reportOf(cluster: Cluster, race: StrategyRace, evidence: Evidence, startedAt: Date): RunReport {
  const { answers, ledger, rows } = evidence;
  const judged = judge(evidence);
  const incomplete = whyIncomplete(cluster, race, answers);
  const verdict = incomplete === null ? judged.verdict : 'unknown';
  const { expected: expectedOf, brokeAsPublished } = purchaseStrategies[race.strategy];
  const expected = expectedOf({ instances: cluster.instances.length, orders: race.orders });
  const spread = percentiles([...arrivalSpread(answers).values()]);
  const answered = answers.filter(({ status }) => status !== undefined);
  const latencies = (some: readonly Answer[]) => percentiles(some.map(({ latencyMs }) => latencyMs));
  const harm = {
    orders: race.orders,
    responses: responses(answers),
    ledger: ledgerSummary(ledger, new Set(answers.map(({ orderId }) => orderId))),
  };
  return {
    ...frame(cluster, race, startedAt),
    ...harm,
    replays: replays(answers),
    patterns: patterns(answers),
    rows: { orders: rows.orders.length, bills: rows.bills.length, audit: rows.audit.length },
    violations: summarise(judged.violations),
    latencyMs: { all: latencies(answered), ok: latencies(answered.filter(({ result }) => result === 'ok')) },
    arrivalSpreadMs: spread && { p50: spread.p50, p99: spread.p99 },
    verdict,
    expected,
    asExpected: isAsExpected(verdict, expected, brokeAsPublished?.(harm)),
    unknownBecause: incomplete ?? judged.unknownBecause,
  };
}

/**
 * Why the run was not the race that its report names. A dead instance is easily overlooked: the balancer goes on to
 * the others, and the race on fewer instances looks like the one that was asked for.
 */
function whyIncomplete(cluster: Cluster, { ended }: StrategyRace, answers: readonly Answer[]): string | null {
  if (ended.size > 0) return `${[...ended].join(' and ')} had ended by itself`;
  const strangers = answers.filter(
    ({ instance, error }) => instance === undefined && error !== 'timeout',
  ).length;
  if (strangers > 0) return `${strangers} of ${answers.length} requests were answered by no instance`;
  const answering = new Set(answers.flatMap(({ instance }) => instance ?? []));
  const silent = cluster.instances.filter(({ name }) => !answering.has(name));
  // With so few requests, some instances may not have had their turn.
  const everybodyHadATurn = answers.length >= cluster.instances.length * 2;
  if (silent.length === 0 || !everybodyHadATurn) return null;
  return `${silent.map(({ name }) => name).join(' and ')} answered nothing`;
}

function skipped(
  cluster: Cluster,
  options: PurchaseRaceOptions,
  strategy: PurchaseStrategyName,
  control: ControlReport,
): RunReport {
  const { instances } = cluster;
  const expected = purchaseStrategies[strategy].expected({
    instances: instances.length,
    orders: options.orders,
  });
  return {
    ...frame(cluster, { ...options, strategy }, new Date()),
    control,
    expected,
    // Nothing ran, so nothing was unexpected.
    asExpected: true,
    skipped: cluster.notes.find((note) => note.startsWith('Redis')) ?? 'it needs Redis',
  };
}

/** A report of a run of which nothing is known yet but where and when. */
function frame(
  cluster: Cluster,
  race: PurchaseRaceOptions & { strategy: PurchaseStrategyName },
  startedAt: Date,
): RunReport {
  return {
    schema: 'race-lab/1',
    experiment: 'purchase',
    strategy: race.strategy,
    store: race.setting.store,
    gateway: race.setting.gateway,
    instances: cluster.instances.length,
    frontDoor: cluster.frontDoor.kind,
    orders: race.orders,
    fanout: race.fanout,
    seed: race.setting.seed,
    commit: race.setting.commit,
    startedAt: startedAt.toISOString(),
    durationMs: Date.now() - startedAt.getTime(),
    responses: {},
    replays: 0,
    patterns: null,
    ledger: null,
    rows: {},
    coupon: null,
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
