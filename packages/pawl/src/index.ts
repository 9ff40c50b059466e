export { type ConditionalUpdate, conditionalUpdate } from './conditional-update.ts';
export { MisuseError, StoreError, type StoreErrorCode } from './errors.ts';
export { type IdempotencyKeyOptions, type IdempotencyKeys, idempotencyKeys } from './idempotency-key.ts';
export {
  defaultOptimisticRetry,
  type OptimisticRetry,
  type VersionedUpdate,
  versionedUpdate,
  withOptimisticRetry,
} from './optimistic-lock.ts';
export {
  type Done,
  done,
  type Outcome,
  type RefusalReason,
  type Refused,
  refused,
  type Settled,
  type Unknown,
  unknown,
} from './outcome.ts';
export { lockRow, type RowLock, withRowLock } from './pessimistic-lock.ts';
export type {
  Columns,
  RedisPort,
  Row,
  RowRef,
  SqlDialect,
  SqlPort,
  SqlResult,
  SqlSession,
  SqlStatement,
  SqlTransaction,
  SqlValue,
} from './ports.ts';
export { transact } from './transaction.ts';
export { type Claim, type ClaimHeld, claimUnique, releaseClaim } from './unique-claim.ts';
