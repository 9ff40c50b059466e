import { describe, expect, test } from 'vitest';
import { purchaseStrategies } from '../../src/experiments/purchase-strategies.ts';
import type { LockWaitsReport } from '../../src/locks/watch.ts';
import { type ControlReport, exitCodeOf, isAsExpected, type RunReport } from '../../src/report/report.ts';
import { withoutCredentials } from '../../src/report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../../src/report/table.ts';

const control: ControlReport = {
  ...{ strategy: 'none', orders: 100, ordersRequestedTwice: 100, raced: true },
  showed: 'without a guard the provider was asked twice for 100 of 100 orders',
};
const latency = { p50: 10, p90: 20, p95: 30.4, p99: 40, max: 50 };

const good: RunReport = {
  schema: 'race-lab/1',
  experiment: 'purchase',
  strategy: 'conditional-update',
  store: 'postgres',
  gateway: 'generous',
  instances: 4,
  frontDoor: 'nginx',
  orders: 100,
  fanout: 5,
  seed: 42,
  commit: 'abc',
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 3000,
  responses: { 200: 100, 400: 400 },
  replays: 0,
  patterns: { '1/4/0': 100 },
  ledger: { requests: 100, captures: 100, refunds: 0, ordersRequestedTwice: 0, ordersCapturedTwice: 0 },
  rows: { orders: 100, bills: 100, audit: 200 },
  coupon: null,
  lock: null,
  recovery: null,
  bystanders: null,
  database: {
    product: 'MariaDB',
    version: '10.11.19',
    settings: { innodb_flush_log_at_trx_commit: '1', transaction_isolation: 'REPEATABLE-READ' },
    shopIsolation: 'read committed',
  },
  lockWaits: null,
  violations: [],
  latencyMs: { all: latency, ok: latency },
  arrivalSpreadMs: { p50: 1.5, p99: 4 },
  control,
  verdict: 'pass',
  expected: 'holds',
  asExpected: true,
  skipped: null,
  unknownBecause: null,
};
const report = (change: Partial<RunReport>): RunReport => ({ ...good, ...change });
const broken = report({
  verdict: 'fail',
  asExpected: false,
  violations: [{ invariant: 'I1a', count: 3, first: 'order x was captured twice' }],
});
const unknown = report({ verdict: 'unknown', asExpected: false, unknownBecause: 'a checker threw' });
const skipped = report({ verdict: 'unknown', skipped: 'it needs Redis' });
const unraced = report({ control: { ...control, ordersRequestedTwice: 3, raced: false } });

describe('the exit code', () => {
  test.each([
    ['0 when every run was as expected', [good, report({ verdict: 'fail', expected: 'breaks' })], 0],
    ['0 when what was skipped is all that is missing', [good, skipped], 0],
    ['1 when a right strategy broke', [good, broken], 1],
    ['1 rather than 2 when one broke and one is unknown', [broken, unknown], 1],
    ['2 when a verdict is unknown', [good, unknown], 2],
    ['2 when the control did not race', [unraced], 2],
    ['2 when there was no control', [report({ control: null })], 2],
    ['2 when everything was skipped', [skipped], 2],
    ['2 when nothing ran', [], 2],
  ] as const)('is %s', (_name, reports, code) => {
    expect(exitCodeOf(reports)).toBe(code);
  });
});

test.each([
  ['pass', 'holds', true],
  ['fail', 'holds', false],
  ['pass', 'breaks', false],
  ['fail', 'breaks', true],
  ['pass', 'either', true],
  ['fail', 'either', true],
  ['unknown', 'holds', false],
  ['unknown', 'breaks', false],
  ['unknown', 'either', false],
] as const)('%s where %s is expected is as expected: %s', (verdict, expected, asExpected) => {
  expect(isAsExpected(verdict, expected)).toBe(asExpected);
});

test('a strategy that breaks in another way than published is not as expected', () => {
  expect(isAsExpected('fail', 'breaks', false)).toBe(false);
  const { none, optimistic } = purchaseStrategies;
  const run = { orders: 10, responses: { 200: 10, 400: 40 }, ledger: good.ledger };
  expect(none.brokeAsPublished?.(run)).toBe(false);
  expect(
    none.brokeAsPublished?.({ ...run, ledger: good.ledger && { ...good.ledger, ordersRequestedTwice: 5 } }),
  ).toBe(true);
  expect(optimistic.brokeAsPublished?.(run)).toBe(false);
  expect(optimistic.brokeAsPublished?.({ ...run, responses: { 200: 10, 500: 1 } })).toBe(true);
});

test.each([
  ['postgres', 'postgres'],
  ['postgres://me:secret@db.example:5432/shop?sslmode=require', 'postgres://db.example:5432/shop'],
  ['mysql://root:secret@', 'mysql://'],
])('the store %s is printed without credentials', (store, printed) => {
  expect(withoutCredentials(store)).toBe(printed);
});

describe('the table', () => {
  test('has one line a strategy with its patterns, requests, captures and latencies', () => {
    const [, , line] = tableOf([good]).split('\n');
    expect(line).toMatch(/^conditional-update +1\/4\/0 ×100 +100 +100 +10\/30 +10\/30 +holds +holds$/);
  });

  test('shows the commonest patterns and how many more there are', () => {
    const patterns = { '1/0/4': 50, '1/1/3': 20, '1/2/2': 15, '1/3/1': 10, '1/4/0': 4, '0/5/0': 1 };
    expect(tableOf([report({ patterns })])).toContain('1/0/4 ×50, 1/1/3 ×20, 1/2/2 ×15, 1/3/1 ×10, +2 more');
  });

  test('shows answers that are not known yet, which no pattern counts', () => {
    expect(tableOf([report({ patterns: { '1/0/0': 100 }, responses: { 200: 100, 202: 400 } })])).toContain(
      '1/0/0 ×100 (202 ×400)',
    );
  });

  test('marks what is not as expected, and the remarks say what went wrong first', () => {
    expect(tableOf([broken])).toContain('breaks I1a×3  ← NOT AS EXPECTED');
    expect(remarksOf([broken])).toContain(
      'conditional-update: I1a was violated 3 times, first: order x was captured twice',
    );
  });

  test('an unknown verdict says why, a skipped run how to have it, a control that it did not race', () => {
    expect(tableOf([unknown])).toContain('UNKNOWN');
    expect(remarksOf([unknown]).join('\n')).toContain('unknown, because a checker threw');
    expect(remarksOf([skipped])).toEqual(['conditional-update was skipped: it needs Redis']);
    expect(remarksOf([unraced]).join('\n')).toContain('THE CONTROL DID NOT RACE');
  });

  test('the heading says what would be needed to run it again', () => {
    expect(headingOf([good])).toEqual([
      '100 orders × 5 simultaneous confirmations, 4 instances behind nginx, store postgres, gateway generous, seed 42, commit abc',
      'MariaDB 10.11.19: innodb_flush_log_at_trx_commit=1, server default isolation REPEATABLE-READ; isolation of the shop READ COMMITTED',
    ]);
    expect(headingOf([report({ instances: 1, frontDoor: 'rotate' })])[0]).toContain(
      '1 instance in rotation, without nginx',
    );
    expect(headingOf([report({ database: null })])[1]).toBe(
      'The settings of the database could not be read.',
    );
  });
});

describe('waits for locks in the remarks', () => {
  const waits: LockWaitsReport = {
    samples: 120,
    seen: 40,
    longestMs: 471,
    mostAtOnce: 32,
    examples: [
      {
        waiter: 'SELECT status FROM publish WHERE id = ? FOR UPDATE',
        holder: null,
        holderIdleInTransaction: true,
        table: 'publish',
        index: 'PRIMARY',
        mode: 'X',
        waitedMs: 471,
      },
      {
        waiter: null,
        holder: 'COMMIT',
        holderIdleInTransaction: false,
        table: null,
        index: null,
        mode: null,
        waitedMs: 3,
      },
    ],
    server: { waits: 44, waitedMs: 9000 },
    brokenBecause: null,
  };

  test('say how many, how long, which statement, and what the server counted', () => {
    expect(remarksOf([report({ strategy: 'pessimistic', lockWaits: waits })]).slice(2)).toEqual([
      'pessimistic: 40 waits for locks were seen in 120 looks, at most 32 at once, the longest 471 ms. ' +
        'The server counted 44 row-lock waits of 9000 ms in all.',
      '  471 ms for X on publish, index PRIMARY: SELECT status FROM publish WHERE id = ? FOR UPDATE | holder: idle in transaction',
      '  3 ms for a lock on an unknown table: not known | holder: COMMIT',
    ]);
  });

  test('that were not seen are not claimed to be none where the view was lost', () => {
    const nothing = { ...waits, samples: 0, seen: 0, longestMs: null, examples: [], server: null };
    const lost = report({ strategy: 'pessimistic', lockWaits: { ...nothing, brokenBecause: 'it was lost' } });
    expect(remarksOf([lost]).slice(2)).toEqual(['pessimistic: the locks were not watched: it was lost']);
    const later = report({
      strategy: 'pessimistic',
      lockWaits: { ...nothing, samples: 9, brokenBecause: 'it was lost' },
    });
    expect(remarksOf([later]).slice(2)).toEqual([
      'pessimistic: no wait for a lock was seen in 9 looks.',
      'pessimistic: the locks were not watched to the end: it was lost',
    ]);
    expect(lost.verdict).toBe('pass');
  });
});

describe('bystanders', () => {
  const calm: RunReport = report({
    experiment: 'bystanders',
    orders: 2000,
    fanout: 1,
    responses: { 200: 2000 },
    patterns: { '1/0/0': 2000 },
    arrivalSpreadMs: null,
    bystanders: {
      ping: { p50: 1.2, p90: 4, p95: 5, p99: 9.6, max: 20 },
      orders: { p50: 3, p90: 9, p95: 12, p99: 24, max: 33 },
      failed: { ping: 0, orders: 0 },
      purchasesInFlight: 200,
      limitMs: 100,
      processors: { mean: 0.58, peak: 0.8 },
      measured: 1,
    },
    control: {
      ...{ strategy: 'pessimistic-held', orders: 210, ordersRequestedTwice: 0, raced: true },
      showed: 'with pessimistic-held the bystanders had to wait',
    },
  });

  test('have a table of their own', () => {
    const [titles, , line] = tableOf([calm]).split('\n');
    expect(titles).toMatch(/^strategy +paid\/all orders +200 p50\/p95 ms +GET \/ping p50\/p99\/max ms/);
    expect(line).toMatch(
      /^conditional-update +2000\/2000 +10\/30 +1\/10\/20 +3\/24\/33 +0\+0 +58 % +holds +holds$/,
    );
    expect(headingOf([calm])[0]).toContain('200 purchases under way at a provider that takes 1 s');
  });

  test('that were skipped leave their columns empty', () => {
    const line = tableOf([
      report({ ...calm, bystanders: null, latencyMs: { all: null, ok: null }, skipped: 'x' }),
    ]);
    expect(line.split('\n')[2]).toMatch(/ +– +– +– +– +– +holds +skipped$/);
  });

  test('say whether the control disturbed them, and how often was measured', () => {
    expect(remarksOf([calm])).toEqual([
      'The pool was under load: with pessimistic-held the bystanders had to wait.',
    ]);
    const control = calm.control && { ...calm.control, raced: false };
    expect(remarksOf([report({ ...calm, control })])).toEqual([
      'THE CONTROL HELD: with pessimistic-held the bystanders had to wait.',
    ]);
    const twice = calm.bystanders && { ...calm.bystanders, measured: 2 };
    expect(remarksOf([report({ ...calm, bystanders: twice })])).toContain(
      'conditional-update was measured 2 times, because bystanders were late.',
    );
  });
});
