import { describe, expect, test } from 'vitest';
import { purchaseStrategies } from '../../src/experiments/purchase-strategies.ts';
import { type ControlReport, exitCodeOf, isAsExpected, type RunReport } from '../../src/report/report.ts';
import { withoutCredentials } from '../../src/report/store-name.ts';
import { headingOf, remarksOf, tableOf } from '../../src/report/table.ts';

const control: ControlReport = { strategy: 'none', orders: 100, ordersRequestedTwice: 100, raced: true };
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
    expect(headingOf(good)).toBe(
      '100 orders × 5 simultaneous confirmations, 4 instances behind nginx, store postgres, gateway generous, seed 42, commit abc',
    );
    expect(headingOf(report({ instances: 1, frontDoor: 'rotate' }))).toContain(
      '1 instance in rotation, without nginx',
    );
  });
});
