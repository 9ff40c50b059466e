export { type ConditionalUpdate, conditionalUpdate } from './conditional-update.ts';
export { MisuseError, StoreError, type StoreErrorCode } from './errors.ts';
export { type IdempotencyKeyOptions, type IdempotencyKeys, idempotencyKeys } from './idempotency-key.ts';
export { type VersionedUpdate, versionedUpdate } from './optimistic-lock.ts';
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
export {
  type AvailableRows,
  lockAvailableRows,
  lockRow,
  type RowLock,
  withRowLock,
} from './pessimistic-lock.ts';
export type {
  Columns,
  LockMode,
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
export {
  type ConflictRetry,
  defaultConflictRetry,
  retryOnConflict,
  transact,
  transactWithRetry,
} from './transaction.ts';
export { type Claim, type ClaimHeld, claimUnique, releaseClaim } from './unique-claim.ts';
