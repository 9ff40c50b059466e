import type { LockFaultName } from '../nemesis/lock-fault-names.ts';
import type { WatchedLock } from '../nemesis/nemesis.ts';
import type { Expectation } from '../report/report.ts';

interface LockStrategyUnderTest {
  /** What the lock keeps others away from. */
  over: 'coupon' | 'order';
  lock: WatchedLock['kind'];
  /** The database refuses whoever has lost the lock. */
  isFenced: boolean;
}

/** The shop's strategies that hang on a lock, and what the faults are done to. */
const strategies = {
  'redis-lock': { over: 'coupon', lock: 'published', isFenced: false },
  'redis-lock-fenced': { over: 'coupon', lock: 'pawl', isFenced: true },
  'distributed-lock': { over: 'order', lock: 'pawl', isFenced: false },
  'distributed-lock-fenced': { over: 'order', lock: 'pawl', isFenced: true },
} as const satisfies Record<string, LockStrategyUnderTest>;

export type LockStrategyName = keyof typeof strategies;

export type CouponLockStrategyName = {
  [Name in LockStrategyName]: (typeof strategies)[Name]['over'] extends 'coupon' ? Name : never;
}[LockStrategyName];

export const lockStrategies: Readonly<Record<LockStrategyName, LockStrategyUnderTest>> = strategies;

export const lockStrategyNames = Object.keys(strategies) as LockStrategyName[];

export function isOverCoupon(strategy: LockStrategyName): strategy is CouponLockStrategyName {
  return lockStrategies[strategy].over === 'coupon';
}

/** A lock alone is lost with whoever stands still; whether others come in when Redis fails hangs on the moment. */
export function expectedUnder(strategy: LockStrategyName, fault: LockFaultName): Expectation {
  if (lockStrategies[strategy].isFenced) return 'holds';
  return fault === 'holder-stopped' ? 'breaks' : 'either';
}
