import { expect, test } from 'vitest';
import { exitCodeOf, type LockReport, type RunReport } from '../../src/report/report.ts';
import { headingOf, remarksOf, tableOf } from '../../src/report/table.ts';

const latency = { p50: 10, p90: 20, p95: 30.4, p99: 40, max: 50 };

const lock: LockReport = {
  ...{ fault: 'waiter-killed', leaseMs: 500, did: 'lotto-back-2 was killed while it waited', attempts: 1 },
  ...{ requests: 80, refusals: { 'already-issued': 16, none: 20 }, damage: null },
  stock: { initial: 1000, issued: 44, remaining: 956 },
  ...{ sections: 60, overlaps: 0, resumedAfterMs: 3.4, standstillMs: 12.2, standstillLimitMs: 750 },
};

const good: RunReport = {
  ...{ schema: 'race-lab/1', experiment: 'lock', strategy: 'redis-lock-fenced', store: 'postgres' },
  ...{
    gateway: 'generous',
    instances: 4,
    frontDoor: 'rotate',
    orders: null,
    fanout: 2,
    seed: 42,
    commit: 'abc',
  },
  ...{ startedAt: '2026-01-01T00:00:00.000Z', durationMs: 3000, responses: { 200: 44, 400: 16, none: 20 } },
  ...{
    replays: 0,
    patterns: null,
    ledger: null,
    rows: {},
    coupon: null,
    lock,
    recovery: null,
    bystanders: null,
    database: null,
  },
  ...{ lockWaits: null, violations: [], latencyMs: { all: latency, ok: latency }, arrivalSpreadMs: null },
  control: {
    ...{ strategy: 'none', orders: null, ordersRequestedTwice: null, raced: true },
    showed: 'without a guard 73 were issued of 1000 and 996 are left',
  },
  ...{ verdict: 'pass', expected: 'holds', asExpected: true, skipped: null, unknownBecause: null },
};
const report = (change: Partial<RunReport>, ofLock: Partial<LockReport> = {}): RunReport => ({
  ...good,
  lock: { ...lock, ...ofLock },
  ...change,
});
const lines = (...reports: RunReport[]) => tableOf(reports).split('\n').slice(2);

test('there is one line for all runs of a strategy under a fault, from the least to the most', () => {
  const second = report(
    { responses: { 200: 64, 400: 16 } },
    {
      overlaps: 2,
      sections: 80,
      refusals: { 'already-issued': 16 },
      resumedAfterMs: null,
      standstillMs: 480,
    },
  );
  const missed = report(
    { verdict: 'unknown', asExpected: false, unknownBecause: 'it never found it' },
    { did: null },
  );
  expect(lines(good, second, missed)).toEqual([
    expect.stringMatching(
      /^redis-lock-fenced +waiter-killed +2\/3 +44–64 +already-issued ×16, none ×0–20 +1000 +60–80 +1\/3 +3 +12–480 \(≤ 750\) +10\/30 +holds +2 of 3 hold, 1 of 3 UNKNOWN$/,
    ),
  ]);
  expect(lines(good, report({}, { fault: 'redis-killed' }))).toHaveLength(2);
  expect(exitCodeOf([good, second])).toBe(0);
  expect(exitCodeOf([good, missed])).toBe(2);
});

test('of orders the captures are told, and no limit where the lock may be lost', () => {
  const ledger = { requests: 2, captures: 2, refunds: 0, ordersRequestedTwice: 1, ordersCapturedTwice: 1 };
  const twice = report(
    {
      ledger,
      violations: [{ invariant: 'I1a', count: 1, first: 'twice' }],
      verdict: 'fail',
      expected: 'breaks',
    },
    { fault: 'holder-stopped', stock: null, standstillLimitMs: null },
  );
  expect(lines(twice)[0]).toMatch(/none ×20 +2 +60 +0\/1 +3 +12 +10\/30 +breaks +breaks I1a×1$/);
});

test('the heading says how long a lease is and what each fault does', () => {
  expect(headingOf([good, good])).toEqual([
    'Locks under faults, 4 instances in rotation, without nginx, store postgres, gateway generous, seed 42, commit abc',
    'The settings of the database could not be read.',
    'A lock ends by itself after 500 ms.',
    'waiter-killed: an instance that waits for the lock is killed',
  ]);
});

test('the remarks tell the control, how damage came about, and what was not as expected', () => {
  const damaged = report(
    { strategy: 'redis-lock', verdict: 'fail', expected: 'either' },
    {
      fault: 'redis-flushed',
      did: 'Redis was flushed',
      damage: ['+0.0 ms lotto-back-1 read', 'both wrote serial 1'],
    },
  );
  const wrong = report({
    ...{ verdict: 'fail', asExpected: false },
    violations: [{ invariant: 'I14', count: 1, first: 'nobody had the lock for 900 ms' }],
  });
  expect(
    remarksOf([damaged, damaged, report({ strategy: 'redis-lock' }, { fault: 'redis-flushed' }), wrong]),
  ).toEqual([
    'The race is real: without a guard 73 were issued of 1000 and 996 are left.',
    'redis-lock, redis-flushed: damage in 2 of 3 runs; in the first Redis was flushed:',
    '  +0.0 ms lotto-back-1 read',
    '  both wrote serial 1',
    'redis-lock-fenced, waiter-killed: I14 was violated 1 times, first: nobody had the lock for 900 ms',
  ]);
  const held = report({ control: { ...(good.control as NonNullable<RunReport['control']>), raced: false } });
  expect(remarksOf([held])[0]).toMatch(/^THE CONTROL HELD: /);
});

test('without Redis there is one line for each strategy, and it says what is missing', () => {
  const skipped = { ...good, lock: null, skipped: 'Redis is not installed', control: null };
  const none = { ...skipped, latencyMs: { all: null, ok: null } };
  expect(lines(none, none)).toEqual([
    expect.stringMatching(/^redis-lock-fenced +–( +–){9} +holds +skipped$/),
  ]);
  expect(remarksOf([none, none])).toEqual(['redis-lock-fenced was skipped: Redis is not installed']);
});
