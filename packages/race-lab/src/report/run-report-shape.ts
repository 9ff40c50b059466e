import { couponScenarioNames } from '../experiments/coupon-scenario-names.ts';
import type { ProcessorUse } from '../experiments/processor-use.ts';
import type { LedgerSummary } from '../history/counts.ts';
import type { LatencyBin, LatencyDistribution } from '../history/latency-distribution.ts';
import type { Percentiles } from '../history/percentiles.ts';
import type { RecordedEvent, RecordedOrder } from '../history/recorded-order.ts';
import type { LockWaitExample, LockWaitsReport } from '../locks/watch.ts';
import { lockFaultNames } from '../nemesis/lock-fault-names.ts';
import type {
  BystandersReport,
  ControlReport,
  CouponReport,
  DatabaseReport,
  FloodReport,
  FloodRound,
  LockReport,
  RecoveryReport,
  RunReport,
} from './report.ts';
import { absent, amount, flag, list, nullable, number, object, oneOf, record, text, time } from './shape.ts';

const percentileFields = { p50: amount, p90: amount, p95: amount, p99: amount, max: amount };
const percentiles = object<Percentiles>(percentileFields);
const bin = object<LatencyBin>({ fromMs: amount, toMs: amount, count: amount });
const latency = object<LatencyDistribution>({ ...percentileFields, histogram: absent(list(bin)) });
const counts = record(amount);
const processors = object<ProcessorUse>({ mean: amount, peak: amount });

const recordedEvent = object<RecordedEvent>({
  atMs: number,
  uncertainMs: amount,
  by: oneOf('client', 'instance', 'provider'),
  lane: text,
  what: oneOf('sent', 'answered', 'unanswered', 'arrived', 'did', 'asked', 'captured', 'refunded', 'fault'),
  request: nullable(amount),
  status: nullable(amount),
  detail: nullable(text),
});

const floodRound = object<FloodRound>({
  unloaded: nullable(percentiles),
  loaded: nullable(percentiles),
  processors: object<FloodRound['processors']>({ unloaded: processors, loaded: processors }),
});

const flood = object<FloodReport>({
  connections: amount,
  asked: amount,
  refusals: counts,
  got: list(amount),
  rounds: list(floodRound),
  p99Ratio: nullable(object<NonNullable<FloodReport['p99Ratio']>>({ min: amount, median: amount })),
  limit: amount,
});

const coupon = object<CouponReport>({
  scenario: oneOf(...couponScenarioNames),
  initial: amount,
  dailyQuota: nullable(amount),
  issued: amount,
  // A wrong strategy sells what there is not.
  remaining: number,
  soldOut: amount,
  members: amount,
  requests: amount,
  retries: amount,
  issuesPerSecond: nullable(amount),
  refusals: counts,
  membersWithSeveral: amount,
  stockLooks: nullable(
    object<NonNullable<CouponReport['stockLooks']>>({ count: amount, brokenBecause: nullable(text) }),
  ),
  interleaving: nullable(list(text)),
  flood: nullable(flood),
});

const lock = object<LockReport>({
  fault: oneOf(...lockFaultNames),
  leaseMs: amount,
  did: nullable(text),
  attempts: amount,
  requests: amount,
  refusals: counts,
  stock: nullable(
    object<NonNullable<LockReport['stock']>>({
      initial: amount,
      issued: amount,
      remaining: nullable(number),
    }),
  ),
  sections: amount,
  overlaps: amount,
  resumedAfterMs: nullable(amount),
  standstillMs: nullable(amount),
  standstillLimitMs: nullable(amount),
  damage: nullable(list(text)),
});

const recovery = object<RecoveryReport>({
  kind: oneOf('failpoint', 'fault', 'standstill'),
  cell: text,
  path: text,
  struckAt: nullable(text),
  faults: amount,
  attempts: amount,
  completed: amount,
  released: amount,
  refunded: amount,
  tookMs: nullable(amount),
  // Whoever was late has less than nothing left.
  leftMs: nullable(number),
});

const bystanders = object<BystandersReport>({
  ping: nullable(percentiles),
  orders: nullable(percentiles),
  failed: object<BystandersReport['failed']>({ ping: amount, orders: amount }),
  purchasesInFlight: amount,
  limitMs: amount,
  processors,
  measured: amount,
});

/** The contract of a run's report; a field that is missing here does not compile. */
export const runReportShape = object<RunReport>({
  schema: oneOf('race-lab/1'),
  experiment: oneOf('purchase', 'bystanders', 'coupon', 'lock', 'recovery'),
  strategy: text,
  store: text,
  gateway: text,
  instances: amount,
  frontDoor: oneOf('nginx', 'rotate'),
  orders: nullable(amount),
  fanout: amount,
  seed: amount,
  commit: text,
  startedAt: time,
  again: absent(text),
  durationMs: amount,
  responses: counts,
  replays: amount,
  patterns: nullable(counts),
  ledger: nullable(
    object<LedgerSummary>({
      requests: amount,
      captures: amount,
      refunds: amount,
      ordersRequestedTwice: amount,
      ordersCapturedTwice: amount,
    }),
  ),
  rows: counts,
  coupon: nullable(coupon),
  lock: nullable(lock),
  recovery: nullable(recovery),
  bystanders: nullable(bystanders),
  database: nullable(
    object<DatabaseReport>({
      product: oneOf('PostgreSQL', 'MariaDB', 'MySQL'),
      version: text,
      settings: record(text),
      shopIsolation: nullable(text),
    }),
  ),
  lockWaits: nullable(
    object<LockWaitsReport>({
      samples: amount,
      seen: amount,
      longestMs: nullable(amount),
      mostAtOnce: amount,
      examples: list(
        object<LockWaitExample>({
          waitedMs: amount,
          table: nullable(text),
          index: nullable(text),
          mode: nullable(text),
          waiter: nullable(text),
          holder: nullable(text),
          holderIdleInTransaction: flag,
        }),
      ),
      server: nullable(object<NonNullable<LockWaitsReport['server']>>({ waits: amount, waitedMs: amount })),
      brokenBecause: nullable(text),
    }),
  ),
  violations: list(object<RunReport['violations'][number]>({ invariant: text, count: amount, first: text })),
  latencyMs: object<RunReport['latencyMs']>({ all: nullable(latency), ok: nullable(latency) }),
  arrivalSpreadMs: nullable(object<NonNullable<RunReport['arrivalSpreadMs']>>({ p50: amount, p99: amount })),
  recorded: absent(
    nullable(object<RecordedOrder>({ orderId: text, violated: list(text), events: list(recordedEvent) })),
  ),
  control: nullable(
    object<ControlReport>({
      strategy: text,
      orders: nullable(amount),
      ordersRequestedTwice: nullable(amount),
      raced: flag,
      showed: text,
    }),
  ),
  verdict: oneOf('pass', 'fail', 'unknown'),
  expected: oneOf('holds', 'breaks', 'either'),
  asExpected: flag,
  skipped: nullable(text),
  unknownBecause: nullable(text),
});
