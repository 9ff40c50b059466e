import { conditionalUpdate } from './conditional-update.ts';
import { distributedLock } from './distributed-lock.ts';
import { distributedLockFenced } from './distributed-lock-fenced.ts';
import { idempotencyKey } from './idempotency-key.ts';
import { inMemory } from './in-memory.ts';
import { none } from './none.ts';
import { optimistic } from './optimistic.ts';
import { optimisticRetry } from './optimistic-retry.ts';
import { optimisticRetryInside } from './optimistic-retry-inside.ts';
import { pessimistic } from './pessimistic.ts';
import { pessimisticHeld } from './pessimistic-held.ts';
import { pessimisticStatus } from './pessimistic-status.ts';
import type { PurchaseStrategy } from './strategy.ts';
import { uniqueClaim } from './unique-claim.ts';

/** Every purchase strategy, and what it needs besides the database. */
export const strategies = {
  none: { strategy: none, needs: 'database' },
  'in-memory': { strategy: inMemory, needs: 'database' },
  'conditional-update': { strategy: conditionalUpdate, needs: 'database' },
  'unique-claim': { strategy: uniqueClaim, needs: 'database' },
  optimistic: { strategy: optimistic, needs: 'database' },
  'optimistic-retry-inside': { strategy: optimisticRetryInside, needs: 'database' },
  'optimistic-retry': { strategy: optimisticRetry, needs: 'database' },
  pessimistic: { strategy: pessimistic, needs: 'database' },
  'pessimistic-status': { strategy: pessimisticStatus, needs: 'database' },
  'pessimistic-held': { strategy: pessimisticHeld, needs: 'database' },
  'idempotency-key': { strategy: idempotencyKey, needs: 'redis' },
  'distributed-lock': { strategy: distributedLock, needs: 'database' },
  'distributed-lock-fenced': { strategy: distributedLockFenced, needs: 'database' },
  /** More than a strategy: it goes on after its request, on any instance (`durable/`). */
  durable: { strategy: undefined, needs: 'database' },
} as const satisfies Record<string, { strategy: PurchaseStrategy | undefined; needs: 'database' | 'redis' }>;

export type StrategyName = keyof typeof strategies;

export const strategyNames = Object.keys(strategies) as StrategyName[];
