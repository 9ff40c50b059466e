import { conditionalUpdate } from './conditional-update.ts';
import { groupCommit } from './group-commit.ts';
import { mutex } from './mutex.ts';
import { none } from './none.ts';
import { optimisticRetry } from './optimistic-retry.ts';
import { optimisticRetryInside } from './optimistic-retry-inside.ts';
import { pessimistic } from './pessimistic.ts';
import { pessimisticForceIncrement } from './pessimistic-force-increment.ts';
import { pessimisticShared } from './pessimistic-shared.ts';
import { redisCounter } from './redis-counter.ts';
import { redisLock } from './redis-lock.ts';
import { redisLockFenced } from './redis-lock-fenced.ts';
import { redisLockInside } from './redis-lock-inside.ts';
import { redisSpinLock } from './redis-spin-lock.ts';
import type { IssueStrategy, WholeStrategy } from './strategy.ts';

/** Every way to hand out a coupon, and what it needs besides the database. */
export const strategies = {
  none: { strategy: none, needs: 'database' },
  mutex: { strategy: mutex, needs: 'database' },
  'conditional-update': { strategy: conditionalUpdate, needs: 'database' },
  'group-commit': { whole: groupCommit, needs: 'database' },
  pessimistic: { strategy: pessimistic, needs: 'database' },
  'pessimistic-shared': { strategy: pessimisticShared, needs: 'database' },
  'pessimistic-force-increment': { strategy: pessimisticForceIncrement, needs: 'database' },
  'optimistic-retry-inside': { strategy: optimisticRetryInside, needs: 'database' },
  'optimistic-retry': { strategy: optimisticRetry, needs: 'database' },
  'redis-spin-lock': { strategy: redisSpinLock, needs: 'redis' },
  'redis-lock': { strategy: redisLock, needs: 'redis' },
  'redis-lock-fenced': { strategy: redisLockFenced, needs: 'redis' },
  'redis-lock-inside': { strategy: redisLockInside, needs: 'redis' },
  'redis-counter': { strategy: redisCounter, needs: 'redis' },
} as const satisfies Record<
  string,
  ({ strategy: IssueStrategy } | { whole: WholeStrategy }) & { needs: 'database' | 'redis' }
>;

export type CouponStrategyName = keyof typeof strategies;

export const couponStrategyNames = Object.keys(strategies) as CouponStrategyName[];
