import { adapterMutants } from './adapters.ts';
import { durableCallMutants } from './durable-calls.ts';
import { fencingMutants } from './fencing.ts';
import { idempotencyKeyMutants } from './idempotency-keys.ts';
import { idempotencyStoreMutants } from './idempotency-stores.ts';
import { redisLockMutants } from './lock-redis.ts';
import { lockStoreMutants } from './lock-stores.ts';
import { lockMutants } from './locks.ts';
import { migrationMutants } from './migrations.ts';
import type { Mutant } from './mutant.ts';
import { rowGuardMutants } from './row-guards.ts';

/** Everything that `npm run mutants` tries. A guard that comes to the library brings the lines that it hangs on. */
export const mutants: readonly Mutant[] = [
  ...rowGuardMutants,
  ...idempotencyKeyMutants,
  ...idempotencyStoreMutants,
  ...lockMutants,
  ...redisLockMutants,
  ...lockStoreMutants,
  ...fencingMutants,
  ...durableCallMutants,
  ...adapterMutants,
  ...migrationMutants,
];
