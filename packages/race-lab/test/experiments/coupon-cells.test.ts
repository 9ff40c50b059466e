import { describe, expect, test } from 'vitest';
import { type CouponChoice, couponCells, leftOut } from '../../src/experiments/coupon-cells.ts';
import {
  type CouponHarm,
  couponStrategies,
  couponStrategyNames,
} from '../../src/experiments/coupon-strategies.ts';
import type { CouponReport } from '../../src/report/report.ts';

const everything: CouponChoice = {
  ...{ strategies: undefined, scenarios: undefined, runs: 3 },
  database: 'mysql',
};
const named = (choice: Partial<CouponChoice>) =>
  couponCells({ ...everything, ...choice }).map(
    ({ strategy, scenario, runs }) => `${strategy} ${scenario} ×${runs}`,
  );

describe('what is raced', () => {
  test('when nothing is chosen: every strategy in every scenario, the spin lock once, and one flood at the end', () => {
    const cells = named({});
    expect(cells).toHaveLength((couponStrategyNames.length - 1) * 5 + 1 + 1);
    expect(cells.filter((cell) => cell.startsWith('redis-spin-lock'))).toEqual([
      'redis-spin-lock workers-32 ×1',
    ]);
    expect(cells.filter((cell) => cell.includes('flood'))).toEqual(['conditional-update flood ×3']);
    expect(cells.at(-1)).toBe('conditional-update flood ×3');
  });

  test('of a chosen strategy: no flood, unless that is chosen too', () => {
    expect(named({ strategies: ['mutex'] })).toEqual(
      ['workers-5', 'workers-32', 'crowd', 'duplicates', 'opening'].map((scenario) => `mutex ${scenario} ×3`),
    );
    expect(named({ strategies: ['mutex'], scenarios: ['flood', 'crowd'] })).toEqual([
      'mutex crowd ×3',
      'mutex flood ×3',
    ]);
    expect(named({ scenarios: ['flood'] })).toEqual(['conditional-update flood ×3']);
    const crowd = { strategies: ['redis-spin-lock', 'mutex'], scenarios: ['crowd'] } as const;
    expect(named(crowd)).toEqual(['mutex crowd ×3']);
    expect(leftOut({ ...everything, ...crowd })).toEqual([
      'redis-spin-lock was left out: it is raced in workers-32 only.',
    ]);
  });

  test('on PostgreSQL what crawls there is raced only where it is named, and it is said', () => {
    const postgres = { ...everything, database: 'postgres' } as const;
    expect(named(postgres).filter((cell) => cell.startsWith('pessimistic-shared'))).toEqual([]);
    expect(leftOut(postgres).join('\n')).toContain('pessimistic-shared was left out: PostgreSQL takes');
    const chosen = { ...postgres, strategies: ['pessimistic-shared'] } as const;
    expect(named(chosen)).toEqual(['pessimistic-shared workers-5 ×3']);
    expect(named({ ...chosen, scenarios: ['crowd'] })).toEqual(['pessimistic-shared crowd ×3']);
    expect(leftOut(chosen)).toEqual([]);
    expect(leftOut(everything)).toEqual([]);
  });
});

describe('what is expected', () => {
  const coupon: CouponReport = {
    scenario: 'workers-32',
    ...{ initial: 1000, dailyQuota: null, issued: 100, remaining: 900, soldOut: 0, members: 100 },
    ...{ requests: 100, retries: 0, issuesPerSecond: 50, refusals: {}, membersWithSeveral: 0 },
    ...{ stockLooks: null, interleaving: null, flood: null },
  };
  const run = (change: Partial<CouponReport>, responses = {}): CouponHarm => ({
    coupon: { ...coupon, ...change },
    responses,
  });
  const { none, mutex, 'optimistic-retry-inside': inside } = couponStrategies;

  test('a mutex holds on one instance only', () => {
    expect(mutex.expected({ scenario: 'crowd', instances: 1 })).toBe('holds');
    expect(mutex.expected({ scenario: 'crowd', instances: 2 })).toBe('breaks');
  });

  test.each([
    ['workers-32', { issued: 100, remaining: 980 }],
    ['crowd', { initial: 100, issued: 137, remaining: 0 }],
    ['duplicates', { issued: 60, remaining: 940, membersWithSeveral: 10 }],
    ['opening', { dailyQuota: 50, issued: 61, remaining: 939 }],
    ['flood', { membersWithSeveral: 1 }],
  ] as const)('without a guard %s goes wrong in its own way', (scenario, harm) => {
    expect(none.brokeAsPublished?.(run({ scenario, ...harm }))).toBe(true);
    const right = { issued: 50, remaining: 950, dailyQuota: 50 };
    expect(none.brokeAsPublished?.(run({ scenario, ...right }))).toBe(false);
    expect(none.brokeAsPublished?.({ coupon: null, responses: {} })).toBe(false);
  });

  test('a retry inside the unit of work breaks by failures, not by selling too many', () => {
    expect(inside.brokeAsPublished?.(run({ remaining: 980 }, { 200: 100 }))).toBe(false);
    expect(inside.brokeAsPublished?.(run({}, { 200: 60, 500: 40 }))).toBe(true);
  });
});
