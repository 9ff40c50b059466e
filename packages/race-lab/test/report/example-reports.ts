import { latencyDistribution } from '../../src/history/latency-distribution.ts';
import { recordedOrder } from '../../src/history/recorded-order.ts';
import type { RunReport } from '../../src/report/report.ts';
import { answer, capture, confirm } from '../checkers/histories.ts';

/** A violation that would be a script if the page took data for markup. */
export const HOSTILE = `order <script>window.ran = 1</script><img src=x onerror="window.ran = 1"> & 'more'`;

const instances = [1, 2, 3, 4, 1].map((nth) => `lotto-back-${nth}`);

/** An order with five requests, of which the third takes effect, or with failures instead of refusals. */
export const recorded = (loser: 400 | 500, violated: string[] = []) =>
  recordedOrder(
    {
      answers: instances.map((instance, index) => {
        const isWinner = index === 2;
        return answer('o1', `o1-${index + 1}`, {
          ...{ instance, status: isWinner ? 200 : loser, code: isWinner ? undefined : 'in-progress' },
          ...{ releasedAtUs: 1_000_000 + index * 10, arrivedAtUs: 1_002_000 + index * 700 },
          answeredAtUs: isWinner ? 1_400_000 : 1_012_000 + index * 9_000,
          steps: isWinner ? [{ name: 'claimed', atUs: 1_006_000 }] : [],
        });
      }),
      ledger: [
        { ...confirm('o1', 'o1-3'), at: '2026-01-01T00:00:01.008Z' },
        { ...capture('o1', { requestId: 'o1-3' }), at: '2026-01-01T00:00:01.380Z' },
      ],
    },
    violated.map((invariant) => ({ invariant, orderId: 'o1' })),
    { began: Date.UTC(2026, 0, 1) * 1000, ended: Date.UTC(2026, 0, 1) * 1000 },
  );

const latencies = (from: number, to: number) =>
  latencyDistribution(Array.from({ length: 100 }, (_, index) => from + ((to - from) * index) / 99));

/** A right strategy in a race for a purchase. */
export const good: RunReport = {
  ...{ schema: 'race-lab/1', experiment: 'purchase', strategy: 'conditional-update', store: 'postgres' },
  ...{ gateway: 'as-published', instances: 4, frontDoor: 'nginx', orders: 100, fanout: 5, seed: 42 },
  ...{ commit: 'abc', startedAt: '2026-01-01T00:00:00.000Z', durationMs: 3000 },
  again: 'npm run race -- --strategy none,conditional-update --seed 42',
  ...{ responses: { 200: 100, 400: 399, 202: 1 }, replays: 10, patterns: { '1/4/0': 89, '2/3/0': 1 } },
  ledger: { requests: 100, captures: 100, refunds: 0, ordersRequestedTwice: 0, ordersCapturedTwice: 0 },
  rows: { orders: 100, bills: 100, audit: 200 },
  ...{ coupon: null, lock: null, recovery: null, bystanders: null, lockWaits: null },
  database: {
    ...{ product: 'MariaDB', version: '10.11.19', shopIsolation: 'read committed' },
    settings: { innodb_flush_log_at_trx_commit: '1', transaction_isolation: 'REPEATABLE-READ' },
  },
  violations: [],
  latencyMs: { all: latencies(4, 500), ok: latencies(200, 500) },
  arrivalSpreadMs: { p50: 1.5, p99: 4 },
  recorded: recorded(400),
  control: {
    ...{ strategy: 'none', orders: 100, ordersRequestedTwice: 100, raced: true },
    showed: 'without a guard the provider was asked twice for 100 of 100 orders',
  },
  ...{ verdict: 'pass', expected: 'holds', asExpected: true, skipped: null, unknownBecause: null },
};

/** No strategy at all, which breaks as it must. */
export const unguarded: RunReport = {
  ...good,
  ...{ strategy: 'none', responses: { 200: 100, 500: 390, none: 10 }, replays: 0 },
  patterns: { '1/0/4': 100 },
  ledger: { requests: 500, captures: 150, refunds: 7, ordersRequestedTwice: 100, ordersCapturedTwice: 50 },
  violations: [{ invariant: 'I1a', count: 50, first: HOSTILE }],
  recorded: recorded(500, ['I1a']),
  ...{ verdict: 'fail', expected: 'breaks' },
};

export const skipped: RunReport = {
  ...good,
  ...{ strategy: 'idempotency-key', responses: {}, replays: 0, patterns: null, ledger: null, recorded: null },
  ...{ latencyMs: { all: null, ok: null }, verdict: 'unknown', skipped: 'Redis is not installed' },
};

const unpaid = { orders: null, patterns: null, ledger: null, recorded: null, replays: 0 };
const percentiles = { p50: 5, p90: 9, p95: 11, p99: 14.5, max: 30 };

/** A run of each other experiment, with a figure of its own that the page must show. */
export const others: readonly { report: RunReport; shows: string[] }[] = [
  {
    report: {
      ...{ ...good, ...unpaid, experiment: 'coupon', strategy: 'mutex' },
      ...{ responses: { 200: 351, 400: 649 }, verdict: 'fail', expected: 'breaks' },
      coupon: {
        ...{ scenario: 'crowd', initial: 100, dailyQuota: null, issued: 351, remaining: 0, soldOut: 649 },
        ...{ members: 1000, requests: 1000, retries: 12, issuesPerSecond: 438.2, membersWithSeveral: 3 },
        ...{ refusals: { 'sold-out': 649 }, stockLooks: null, flood: null },
        interleaving: ['+0.0 ms lotto-back-4 read', '+0.8 ms lotto-back-4 wrote'],
      },
    },
    shows: ['351 of 100', '438', '+0.8 ms lotto-back-4 wrote'],
  },
  {
    report: {
      ...{ ...good, ...unpaid, experiment: 'lock', strategy: 'redis-lock-fenced' },
      lock: {
        ...{ fault: 'waiter-killed', leaseMs: 500, did: 'lotto-back-2 was killed', attempts: 1 },
        ...{ requests: 80, refusals: {}, damage: null, stock: { initial: 9, issued: 4, remaining: 5 } },
        ...{ sections: 60, overlaps: 2, resumedAfterMs: 3.4, standstillMs: 312, standstillLimitMs: 750 },
      },
    },
    shows: ['312', 'redis-lock-fenced, waiter-killed', 'A lock ends by itself after 500 ms.'],
  },
  {
    report: {
      ...{ ...good, experiment: 'recovery', strategy: 'durable', recorded: null },
      recovery: {
        ...{ kind: 'failpoint', cell: 'durable-call.send.after', path: 'paid', struckAt: 'x', faults: 0 },
        ...{ attempts: 1, completed: 7, released: 2, refunded: 1, tookMs: 1234, leftMs: -20 },
      },
    },
    shows: ['7 paid', '2 released', '1 refunded', '1,234', '-20'],
  },
  {
    report: {
      ...{ ...good, experiment: 'bystanders', strategy: 'pessimistic-held' },
      bystanders: {
        ...{ ping: percentiles, orders: { ...percentiles, p99: 5001 }, failed: { ping: 0, orders: 17 } },
        ...{ purchasesInFlight: 200, limitMs: 100, processors: { mean: 0.4, peak: 0.6 }, measured: 1 },
      },
    },
    shows: ['5,001', '17'],
  },
];
