import { adapterMutants } from './adapters.ts';
import { durableCallMutants } from './durable-calls.ts';
import { fencingMutants } from './fencing.ts';
import { groupCommitMutants } from './group-commit.ts';
import { groupedMutants } from './grouped.ts';
import { httpMutants } from './http.ts';
import { httpAnswerMutants } from './http-answers.ts';
import { idempotencyKeyMutants } from './idempotency-keys.ts';
import { idempotencyStoreMutants } from './idempotency-stores.ts';
import { redisLockMutants } from './lock-redis.ts';
import { lockStoreMutants } from './lock-stores.ts';
import { lockMutants } from './locks.ts';
import { migrationMutants } from './migrations.ts';
import type { Mutant } from './mutant.ts';
import { observeMutants } from './observe.ts';
import { rowGuardMutants } from './row-guards.ts';

/** Everything that `npm run mutants` tries. A guard that comes to the library brings the lines that it hangs on. */
export const mutants: readonly Mutant[] = [
  ...rowGuardMutants,
  ...idempotencyKeyMutants,
  ...idempotencyStoreMutants,
  ...groupedMutants,
  ...httpMutants,
  ...httpAnswerMutants,
  ...lockMutants,
  ...redisLockMutants,
  ...lockStoreMutants,
  ...fencingMutants,
  ...durableCallMutants,
  ...adapterMutants,
  ...migrationMutants,
  ...observeMutants,
  ...groupCommitMutants,
];
