export { type ConditionalUpdate, conditionalUpdate } from './conditional-update.ts';
export { InvalidKeyError, LeaseLostError, MisuseError, StoreError, type StoreErrorCode } from './errors.ts';
export {
  type AnswerPolicy,
  type Disposition,
  defaultAnswerPolicy,
  defaultStoredHeaders,
} from './idempotency-answer.ts';
export {
  defaultIdempotencyTimes,
  type IdempotencyEvent,
  type IdempotencyKeyOptions,
  type IdempotencyKeys,
  type IdempotencyLease,
  type IdempotentOutcome,
  type InProgress,
  idempotencyKeys,
  type SqlIdempotencyLease,
  type WorkOutcome,
} from './idempotency-key.ts';
export type {
  Answer,
  ClaimedRecord,
  IdempotencyClaim,
  IdempotencyMode,
  IdempotencyRecord,
  IdempotencyRecordId,
  StoredAnswer,
} from './idempotency-record.ts';
export type { IdempotentRequest } from './idempotency-request.ts';
export {
  type IdempotencyStore,
  type SqlIdempotencyStore,
  type SqlIdempotencyStoreOptions,
  sqlIdempotencyStore,
} from './idempotency-store.ts';
export {
  type TransactionalIdempotencyKeyOptions,
  type TransactionalIdempotencyKeys,
  type TransactionalOutcome,
  transactionalIdempotencyKeys,
} from './idempotency-transaction.ts';
export { type MemoryIdempotencyStoreOptions, memoryIdempotencyStore } from './memory/idempotency-key.ts';
export {
  type Migrated,
  MigrateError,
  type MigrateErrorCode,
  migrate,
  migrationStatements,
} from './migrate.ts';
export {
  type VersionCheck,
  type VersionedUpdate,
  verifyVersion,
  versionedUpdate,
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
export {
  type AvailableRows,
  lockAvailableRows,
  lockRow,
  type RowLock,
  withRowLock,
} from './pessimistic-lock.ts';
export type {
  ClaimExpiry,
  Columns,
  LockMode,
  Migration,
  PawlTables,
  RedisPort,
  Row,
  RowRef,
  Savepoint,
  SqlDialect,
  SqlMigrations,
  SqlPort,
  SqlResult,
  SqlSession,
  SqlStatement,
  SqlTransaction,
  SqlValue,
} from './ports.ts';
export { type RedisIdempotencyStoreOptions, redisIdempotencyStore } from './redis/idempotency-key.ts';
export { pawlTables, type TablesOptions } from './tables.ts';
export {
  type ConflictRetry,
  defaultConflictRetry,
  retryOnConflict,
  transact,
  transactWithRetry,
} from './transaction.ts';
export {
  type Claim,
  type ClaimHeld,
  type ClaimSweep,
  claimUnique,
  type OwnedClaim,
  releaseClaim,
  renewClaim,
  sweepClaims,
} from './unique-claim.ts';
export type { Version, VersionOf } from './version.ts';
