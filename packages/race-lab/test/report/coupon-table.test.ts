import { describe, expect, test } from 'vitest';
import type { CouponReport, RunReport } from '../../src/report/report.ts';
import { exitCodeOf } from '../../src/report/report.ts';
import { headingOf, remarksOf, tableOf } from '../../src/report/table.ts';

const latency = { p50: 10, p90: 20, p95: 30.4, p99: 40, max: 50 };

const coupon: CouponReport = {
  scenario: 'crowd',
  initial: 100,
  dailyQuota: null,
  issued: 100,
  remaining: 0,
  soldOut: 897,
  members: 1000,
  requests: 1000,
  retries: 12,
  issuesPerSecond: 155.4,
  refusals: { 'sold-out': 897, contended: 3 },
  membersWithSeveral: 0,
  stockLooks: { count: 30, brokenBecause: null },
  interleaving: null,
  flood: null,
};

const good: RunReport = {
  schema: 'race-lab/1',
  experiment: 'coupon',
  strategy: 'optimistic-retry',
  store: 'postgres',
  gateway: 'as-published',
  instances: 4,
  frontDoor: 'nginx',
  orders: null,
  fanout: 1,
  seed: 42,
  commit: 'abc',
  startedAt: '2026-01-01T00:00:00.000Z',
  durationMs: 3000,
  responses: { 200: 100, 400: 900 },
  replays: 0,
  patterns: null,
  ledger: null,
  rows: { coupons: 1, issued: 100 },
  coupon,
  lock: null,
  recovery: null,
  bystanders: null,
  database: null,
  lockWaits: null,
  violations: [],
  latencyMs: { all: latency, ok: latency },
  arrivalSpreadMs: null,
  control: {
    ...{ strategy: 'none', orders: null, ordersRequestedTwice: null, raced: true },
    showed: 'without a guard 1000 were issued of 100',
  },
  verdict: 'pass',
  expected: 'holds',
  asExpected: true,
  skipped: null,
  unknownBecause: null,
};
const report = (change: Partial<RunReport>, ofCoupon: Partial<CouponReport> = {}): RunReport => ({
  ...good,
  coupon: { ...coupon, ...ofCoupon },
  ...change,
});
const broken = report({
  strategy: 'none',
  responses: { 200: 137, 500: 3, none: 1, 400: 859 },
  verdict: 'fail',
  expected: 'breaks',
  violations: [{ invariant: 'I4', count: 2, first: 'oversold: 137 of 100' }],
});
const lines = (...reports: RunReport[]) => tableOf(reports).split('\n').slice(2);

describe('the table of coupons', () => {
  test('has one line for each strategy in each scenario', () => {
    const [titles] = tableOf([good]).split('\n');
    expect(titles).toMatch(
      /^strategy +scenario +issued +left +sold out +other refusals +failed +retries +all p50\/p95 ms +issues\/s/,
    );
    expect(lines(good, broken)).toEqual([
      expect.stringMatching(
        /^optimistic-retry +crowd +100 +0 +897 +contended ×3 +0 +12 +10\/30 +155 +holds +holds$/,
      ),
      expect.stringMatching(
        /^none +crowd +100 +0 +897 +contended ×3 +4 +12 +10\/30 +155 +breaks +breaks I4×2$/,
      ),
    ]);
    expect(lines(good, report({}, { scenario: 'opening' }))).toHaveLength(2);
  });

  test('has one line for many runs, with the least and the most of each figure', () => {
    const slower = { ...latency, p50: 25, p95: 80 };
    const second = report(
      { latencyMs: { all: slower, ok: slower } },
      { issued: 98, issuesPerSecond: 90, refusals: { 'sold-out': 900, 'lock-timeout': 2 }, soldOut: 900 },
    );
    expect(lines(good, second)).toEqual([
      expect.stringMatching(
        /^optimistic-retry +crowd +98–100 +0 +897–900 +contended ×0–3, lock-timeout ×0–2 +0 +12 +10–25\/30–80 +90–155 +holds +2 of 2 hold$/,
      ),
    ]);
  });

  test('counts the runs that held, broke and are unknown, and marks what is not as expected', () => {
    const wrong = report({ verdict: 'fail', asExpected: false, violations: broken.violations });
    const unknown = report({ verdict: 'unknown', asExpected: false, unknownBecause: 'a checker threw' });
    expect(lines(broken, broken)[0]).toMatch(/breaks +2 of 2 break I4×4$/);
    expect(lines(good, wrong, unknown)[0]).toMatch(
      /holds +1 of 3 hold, 1 of 3 break I4×2, 1 of 3 UNKNOWN {2}← NOT AS EXPECTED$/,
    );
    expect(remarksOf([good, wrong, wrong, wrong])).toEqual([
      'The race is real in crowd: without a guard 1000 were issued of 100.',
      'optimistic-retry, crowd: I4 was violated 2 times, first: oversold: 137 of 100',
      'optimistic-retry, crowd: 2 more of its runs were not as expected.',
    ]);
    expect(exitCodeOf([good, unknown])).toBe(2);
    expect(exitCodeOf([good, wrong])).toBe(1);
  });

  test('a strategy that cannot run has one line, and one remark', () => {
    const skipped = { ...good, strategy: 'redis-lock', coupon: null, skipped: 'it needs Redis' };
    const none = { ...skipped, latencyMs: { all: null, ok: null } };
    expect(lines(none, none)).toEqual([
      expect.stringMatching(/^redis-lock +– +– +– +– +– +– +– +– +– +holds +skipped$/),
    ]);
    expect(remarksOf([good, none, none]).slice(1)).toEqual(['redis-lock was skipped: it needs Redis']);
  });

  test('the heading names no payment provider, and says what each scenario is', () => {
    expect(headingOf([good])).toEqual([
      'First-come coupons, 4 instances behind nginx, store postgres, seed 42, commit abc',
      'The settings of the database could not be read.',
      'crowd: 1000 members ask for 100 at the same instant',
    ]);
  });
});

describe('the remarks on coupons', () => {
  test('tell the control of each scenario, and where it held', () => {
    const held = { ...good.control, showed: 'without a guard 100 were issued of 100', raced: false };
    const quiet = report({ control: held as RunReport['control'] }, { scenario: 'opening' });
    expect(remarksOf([good, broken, quiet])).toEqual([
      'The race is real in crowd: without a guard 1000 were issued of 100.',
      'THE CONTROL HELD in opening: without a guard 100 were issued of 100.',
    ]);
  });

  test('show how an update was lost, once for each strategy that lost one', () => {
    const lost = ['+0.0 ms lotto-back-1 read', '+1.0 ms lotto-back-2 read', 'both wrote serial 1'];
    const first = report({ ...broken, strategy: 'mutex' }, { interleaving: lost });
    const second = report(
      { ...broken, strategy: 'mutex' },
      { interleaving: ['another'], scenario: 'opening' },
    );
    expect(
      remarksOf([good, { ...first, coupon: { ...coupon, interleaving: lost } }, second]).slice(-4),
    ).toEqual(['mutex lost an update, crowd:', ...lost.map((line) => `  ${line}`)]);
  });

  test('say how close the requests came, and when the stock was not watched to the end', () => {
    const crowd = report(
      { arrivalSpreadMs: { p50: 12.34, p99: 12.34 } },
      { stockLooks: { count: 1, brokenBecause: 'the connection was lost' } },
    );
    const duplicates = report({ arrivalSpreadMs: { p50: 2, p99: 9 } }, { scenario: 'duplicates' });
    expect(remarksOf([crowd, duplicates])).toEqual([
      'In crowd all requests arrived within 12.3 ms at the median (worst run).',
      'In duplicates the requests of one member arrived within 2.0 ms at the median (worst run).',
      expect.stringContaining('in crowd'),
      expect.stringContaining('in duplicates'),
      'optimistic-retry, crowd: the stock was not watched to the end: the connection was lost',
    ]);
  });

  test('show the lock waits of the run that waited longest', () => {
    const waits = {
      ...{ samples: 9, seen: 4, longestMs: 30, mostAtOnce: 3, examples: [], server: null },
      brokenBecause: null,
    };
    const longer = { ...waits, longestMs: 900 };
    const told = remarksOf([
      report({ lockWaits: waits }),
      report({ lockWaits: longer }, { scenario: 'opening' }),
    ]);
    expect(told.filter((line) => line.includes('waits for locks'))).toEqual([
      'optimistic-retry, opening: 4 waits for locks were seen in 9 looks, at most 3 at once, the longest 900 ms.',
    ]);
  });

  test('tell what the flood got, and how the others fared', () => {
    const busy = { mean: 0.5, peak: 0.9 };
    const round = {
      unloaded: latency,
      loaded: { ...latency, p99: 60 },
      processors: { unloaded: { mean: 0.1, peak: 0.2 }, loaded: busy },
    };
    const flood = {
      ...{ connections: 1000, asked: 9000, got: [1, 1], limit: 2 },
      refusals: { 'too-many-requests': 8000 },
      rounds: [round, { ...round, loaded: null }],
      p99Ratio: { min: 1.2, median: 1.5 },
    };
    const flooded = report({}, { scenario: 'flood', flood });
    expect(lines(flooded)[0]).toContain('too-many-requests ×8000');
    expect(remarksOf([flooded]).slice(-2)).toEqual([
      'optimistic-retry, flood: one member asked 9000 times over 1000 connections and has 1, 1 of each round’s coupons.',
      '  p99 of the others without and beside it: 40.0 → 60.0 ms, 40.0 → – ms: ×1.50 at the median, ×1.20 at least (less than ×2 is allowed); the slowest answer beside it took 50 ms; processors busy for 50 %, 50 %.',
    ]);
  });
});
