import { judge } from '../checkers/judge.ts';
import { readShopRows } from '../checkers/read-shop-rows.ts';
import { summarise } from '../checkers/violation.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Answer, PurchaseRequest } from '../history/answer.ts';
import { ledgerSummary, patterns, replays, responses } from '../history/counts.ts';
import { type Evidence, withoutOrders } from '../history/evidence.ts';
import { latencyDistribution } from '../history/latency-distribution.ts';
import { type LedgerEvent, parseLedger } from '../history/ledger.ts';
import { recordedOrder } from '../history/recorded-order.ts';
import { wallAheadUs } from '../history/wall-clock.ts';
import type { Target } from '../racer/exchange.ts';
import type { RunReport } from '../report/report.ts';
import type { PurchaseStrategyName } from './purchase-strategies.ts';
import { emptyReport, type RunContext, type RunPlan } from './run-context.ts';
import { whyIncomplete } from './server-watch.ts';
import type { PreparedOrder } from './shop-client.ts';

/** One strategy's run of an experiment with purchases. */
export interface PurchaseRun extends RunPlan {
  strategy: PurchaseStrategyName;
  orders: number;
}

export interface PurchaseContext extends RunContext {
  /** Orders of earlier runs on the same store. */
  earlier: Set<string>;
}

/** When a run began, by both clocks. */
export interface RunStart {
  at: Date;
  /** See `wallAheadUs`: the provider's ledger has the wall clock, everything else the monotonic one. */
  wallAheadUs: number;
}

export function startRun(): RunStart {
  return { at: new Date(), wallAheadUs: wallAheadUs() };
}

/** How the `nth` request about an order is known to the shop. */
export function requestIdOf({ orderId }: Pick<PreparedOrder, 'orderId'>, nth: number): string {
  return `${orderId}-${nth}`;
}

/** The `nth` confirmation of an order. */
export function confirmation(
  order: PreparedOrder,
  nth: number,
  strategy: PurchaseStrategyName,
  target: Target,
): PurchaseRequest {
  const { orderId, paymentKey, lottoPublishId, memberId } = order;
  const requestId = requestIdOf(order, nth);
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

/** The evidence of one run, from the provider and the database. What it found there is earlier than the next run. */
export async function gather(
  cluster: Cluster,
  answers: readonly Answer[],
  earlier: Set<string>,
): Promise<Evidence> {
  const all = {
    answers,
    cancels: [],
    ledger: await readLedger(cluster),
    rows: await readShopRows(cluster.databaseUrl),
  };
  const evidence = withoutOrders(all, earlier);
  for (const { orderId } of evidence.rows.orders) earlier.add(orderId);
  return evidence;
}

/** All that the payment provider has seen and done. @throws LedgerFormatError, and when it does not answer */
export async function readLedger(cluster: Cluster): Promise<LedgerEvent[]> {
  const response = await fetch(`${cluster.sandbox.baseUrl}/sandbox/ledger`);
  if (!response.ok) throw new Error(`the sandbox answered ${response.status} when asked for its ledger`);
  return parseLedger(await response.text());
}

/** What the checkers say of a run, before anything is expected of it. */
export function judgedReport(
  cluster: Cluster,
  run: PurchaseRun,
  evidence: Evidence,
  ended: ReadonlySet<string>,
  start: RunStart,
): RunReport {
  const { answers, ledger, rows } = evidence;
  const judged = judge(evidence);
  const incomplete = whyIncomplete(cluster, ended, answers);
  const answered = answers.filter(({ status }) => status !== undefined);
  const latencies = (some: readonly Answer[]) => latencyDistribution(some.map(({ latencyMs }) => latencyMs));
  return {
    ...emptyReport(cluster, run, start.at),
    responses: responses(answers),
    replays: replays(answers),
    patterns: patterns(answers),
    ledger: ledgerSummary(ledger, new Set(answers.map(({ orderId }) => orderId))),
    rows: { orders: rows.orders.length, bills: rows.bills.length, audit: rows.audit.length },
    violations: summarise(judged.violations),
    latencyMs: { all: latencies(answered), ok: latencies(answered.filter(({ result }) => result === 'ok')) },
    recorded: recordedOrder(evidence, judged.violations, {
      began: start.wallAheadUs,
      ended: wallAheadUs(),
    }),
    verdict: incomplete === null ? judged.verdict : 'unknown',
    unknownBecause: incomplete ?? judged.unknownBecause,
  };
}
