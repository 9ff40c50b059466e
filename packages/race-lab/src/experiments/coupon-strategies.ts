import type { DatabaseKind } from '../cluster/store.ts';
import type { Expectation, RunReport } from '../report/report.ts';
import type { CouponScenarioName } from './coupon-scenario-names.ts';

/** What an expectation depends on. */
export interface CouponRaceShape {
  scenario: CouponScenarioName;
  instances: number;
}

/** What a run showed, as far as it says how a strategy broke. */
export type CouponHarm = Pick<RunReport, 'coupon' | 'responses'>;

interface CouponStrategyUnderTest {
  needs: 'database' | 'redis';
  expected(shape: CouponRaceShape): Expectation;
  /** Its racers wait for each other's row lock, so the report shows who waited for whom. */
  waitsForLocks?: true;
  /** For a strategy that breaks: whether it broke in the way that it should, and not in some other. */
  brokeAsPublished?(run: CouponHarm): boolean;
  /** The only scenario that it is raced in, and that once; absent: all, as often as is asked for. */
  onceIn?: CouponScenarioName;
  /** Where it takes too long to be raced unless it is named, in which scenario it is raced then, and why. */
  crawlsOn?: { database: DatabaseKind; only: CouponScenarioName; because: string };
  /** How long an answer is waited for, in milliseconds, where that is longer than for the others. */
  answerLimitMs?: number;
}

/**
 * Somebody took what somebody else had taken: more were issued than were taken off, or more than there are of a day, or
 * one member got several.
 */
const tookTwice = ({ coupon }: CouponHarm) => {
  if (coupon === null) return false;
  const { scenario, initial, dailyQuota, issued, remaining, membersWithSeveral } = coupon;
  if (scenario === 'duplicates' || scenario === 'flood') return membersWithSeveral > 0;
  return issued > (dailyQuota ?? initial - remaining);
};
/** Losers saw their version conflict as a failure. */
const failures = ({ responses }: CouponHarm) => (responses['500'] ?? 0) > 0;

const holds = () => 'holds' as const;
const breaks = () => 'breaks' as const;
const either = () => 'either' as const;

/** The shop's coupon strategies, and what is published or promised of each. */
const strategies = {
  none: { needs: 'database', expected: breaks, brokeAsPublished: tookTwice },
  mutex: {
    needs: 'database',
    expected: ({ instances }) => (instances === 1 ? 'holds' : 'breaks'),
    brokeAsPublished: tookTwice,
  },
  'conditional-update': { needs: 'database', expected: holds },
  'group-commit': { needs: 'database', expected: holds },
  pessimistic: { needs: 'database', expected: holds, waitsForLocks: true },
  'pessimistic-shared': {
    needs: 'database',
    expected: either,
    waitsForLocks: true,
    crawlsOn: {
      database: 'postgres',
      only: 'workers-5',
      because:
        'PostgreSQL takes a second to notice each of its deadlocks; 100 requests took 5 minutes, and 7 got one',
    },
  },
  'pessimistic-force-increment': { needs: 'database', expected: holds, waitsForLocks: true },
  'optimistic-retry-inside': { needs: 'database', expected: breaks, brokeAsPublished: failures },
  'optimistic-retry': { needs: 'database', expected: holds },
  // Raced as it was published, and no more: it polls every two seconds.
  'redis-spin-lock': { needs: 'redis', expected: either, onceIn: 'workers-32', answerLimitMs: 280_000 },
  'redis-lock': { needs: 'redis', expected: either },
  'redis-lock-fenced': { needs: 'redis', expected: holds },
  // The lock is given back before the commit, so the next holder reads what is not written yet.
  'redis-lock-inside': { needs: 'redis', expected: breaks, brokeAsPublished: tookTwice },
  'redis-counter': { needs: 'redis', expected: holds },
} as const satisfies Record<string, CouponStrategyUnderTest>;

export type CouponStrategyName = keyof typeof strategies;

export const couponStrategies: Readonly<Record<CouponStrategyName, CouponStrategyUnderTest>> = strategies;

export const couponStrategyNames = Object.keys(couponStrategies) as CouponStrategyName[];

/** The strategy without a guard: a race in which it does not fail was none. */
export const COUPON_CONTROL: CouponStrategyName = 'none';
