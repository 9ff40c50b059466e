import { expect, test } from 'vitest';
import type { StockWatchReport } from '../../src/checkers/coupon-stock-watch.ts';
import type { Cluster } from '../../src/cluster/cluster.ts';
import { type CouponRun, judgedReport } from '../../src/experiments/coupon-run.ts';
import {
  evidence,
  granted,
  type Story,
  snapshot,
  soldOut,
  story,
} from '../checkers/coupons/coupon-histories.ts';

const cluster = {
  instances: [{ name: 'lotto-back-1', baseUrl: 'http://127.0.0.1:1' }],
  frontDoor: { kind: 'rotate', urls: [] },
} as unknown as Cluster;

const run: CouponRun = {
  ...{ experiment: 'coupon', strategy: 'pessimistic', scenario: 'crowd', couponName: 'a', orders: null },
  ...{ fanout: 1, database: null },
  setting: { store: 'postgres', gateway: 'none', seed: 1, commit: 'c' },
};

function judged(told: Story, stockSeen: StockWatchReport | null) {
  return judgedReport(cluster, run, { evidence: evidence(told), stockSeen }, new Set(), new Date());
}

const looks = [snapshot(0, 3, 0), snapshot(100, 0, 3)];
const good = soldOut();
const oversold = story([granted(1, 0, 2), granted(2, 0, 2)]);

test('a stock that was watched to the end leaves the verdict to the checkers, and so does one that nobody meant to watch', () => {
  for (const stockSeen of [{ snapshots: looks, brokenBecause: null }, null]) {
    expect(judged(good, stockSeen)).toMatchObject({ verdict: 'pass', unknownBecause: null });
    expect(judged(oversold, stockSeen)).toMatchObject({ verdict: 'fail', unknownBecause: null });
  }
});

test.each<[string, StockWatchReport, string]>([
  [
    'broke',
    { snapshots: looks, brokenBecause: 'the server closed the connection' },
    'the stock was not watched to the end: the server closed the connection',
  ],
  [
    'never looked',
    { snapshots: [], brokenBecause: null },
    'the stock was looked at 0 times, not before and after the race',
  ],
  [
    'looked once',
    { snapshots: looks.slice(0, 1), brokenBecause: null },
    'the stock was looked at 1 times, not before and after the race',
  ],
])('a watch of the stock that %s makes the verdict unknown', (_, stockSeen, unknownBecause) => {
  expect(judged(good, stockSeen)).toMatchObject({ verdict: 'unknown', unknownBecause });
  const broken = judged(oversold, stockSeen);
  expect(broken).toMatchObject({ verdict: 'unknown', unknownBecause });
  expect(broken.violations).not.toEqual([]);
});
