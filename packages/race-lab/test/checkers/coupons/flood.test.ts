import { expect, test } from 'vitest';
import { type FloodSeen, judgeFlood } from '../../../src/checkers/coupons/flood.ts';

const busy = (mean: number) => ({ processors: { unloaded: { mean } } });

const seen = (over: Partial<FloodSeen> = {}): FloodSeen => ({
  ...{
    connections: 1000,
    asked: 3000,
    got: [1, 1, 1],
    p99Ratio: { median: 1.99 },
    limit: 2,
  },
  rounds: [busy(0.1), busy(0.5), busy(0.2)],
  ...over,
});

test('one coupon of each round, and a wait under the limit: it holds', () => {
  expect(judgeFlood(seen())).toEqual({ verdict: 'pass', violations: [], unknownBecause: null });
});

test('several of one round, and none of another, are told of each', () => {
  expect(judgeFlood(seen({ got: [1, 3, 0] }))).toEqual({
    verdict: 'fail',
    violations: [
      {
        invariant: 'I5',
        detail: 'one member on 1000 connections has 3 coupons of round 2, where one is due',
      },
      {
        invariant: 'I0',
        detail: 'one member on 1000 connections has 0 coupons of round 3, where one is due',
      },
    ],
    unknownBecause: null,
  });
});

test('the others waited as long as is not allowed', () => {
  expect(judgeFlood(seen({ p99Ratio: { median: 2 } }))).toEqual({
    verdict: 'fail',
    violations: [
      {
        invariant: 'I14',
        detail:
          'beside one member on 1000 connections the others waited 2.00 times as long at p99, where less than 2 times is allowed',
      },
    ],
    unknownBecause: null,
  });
});

test.each<[string, Partial<FloodSeen>, RegExp]>([
  [
    'it was a trickle',
    { asked: 2999 },
    /^not every connection of the one member asked in every round, with 2999 /,
  ],
  [
    'others were at work',
    { rounds: [busy(0.1), busy(0.51)] },
    /^the processors were busy for 51 % of the time/,
  ],
  ['nobody else was measured', { p99Ratio: null }, /^nobody else was measured/],
])('when %s, the wait is not known, and neither held nor broken', (_, over, because) => {
  for (const p99Ratio of [{ median: 1 }, { median: 9 }]) {
    const judged = judgeFlood(seen({ p99Ratio, ...over }));
    expect(judged).toMatchObject({ verdict: 'unknown', violations: [] });
    expect(judged.unknownBecause).toMatch(because);
  }
  // What he has is known all the same.
  expect(judgeFlood(seen({ ...over, got: [2] })).verdict).toBe('fail');
});
