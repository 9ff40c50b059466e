export type {
  Compensating,
  Compensation,
  CompensationFound,
  CompensationSent,
} from './compensation.ts';
export { type ConditionalUpdate, conditionalUpdate } from './conditional-update.ts';
export {
  type DistributedLockOptions,
  type DistributedLocks,
  defaultLockTimes,
  distributedLocks,
} from './distributed-lock.ts';
export {
  type AdoptedEffect,
  type DurableCallOptions,
  type DurableCallRefusal,
  type DurableCalls,
  defaultDurableCallTimes,
  durableCalls,
} from './durable-call.ts';
export type { DurableCallDefinition } from './durable-call-definition.ts';
export type {
  ClaimLook,
  DecidedClaims,
  DecidedSettlements,
  GroupedCallClaims,
  GroupedCallSettlements,
  GroupedDurableCall,
  OptimisticClaims,
  OptimisticSettlements,
  Settlement,
} from './durable-call-group.ts';
export {
  type DurableCallList,
  defaultDurableCallList,
  inspectDurableCall,
  listDurableCalls,
  resolveDurableCall,
} from './durable-call-operator.ts';
export type {
  AttemptRef,
  ClaimedAttempt,
  DurableCall,
  DurableCallChange,
  DurableCallState,
  InspectedDurableCall,
  Json,
  ListedDurableCall,
  NewDurableCall,
  OutwardCall,
  Resolution,
  SettledState,
  UnsettledState,
  Verdict,
} from './durable-call-record.ts';
export {
  type DurableCallRules,
  durableCallRules,
  type Found,
  type Heard,
  type Holding,
  type Move,
  type ReleaseReason,
  type Repeat,
  type Sent,
} from './durable-call-rules.ts';
export type { DurableCallEvent, DurableCallOutcome, NotSentCall, UnknownCall } from './durable-call-run.ts';
export type {
  ClaimGrouped,
  ClaimItem,
  DurableCallGroups,
  DurableCallStore,
  Objected,
  SettleGrouped,
  SettleItem,
} from './durable-call-store.ts';
export { InvalidKeyError, LeaseLostError, MisuseError, StoreError, type StoreErrorCode } from './errors.ts';
export {
  type Fence,
  type FencedUpdate,
  type FenceRegistration,
  fencedUpdate,
  registerFence,
  verifyFence,
} from './fencing.ts';
export {
  type BatchDecision,
  defaultGroupCommit,
  type GroupCommit,
  type GroupCommitOptions,
  type GroupRefusal,
  type GroupWork,
  groupCommit,
  HELD,
  type InterimBatchDecision,
  type OptimisticDecision,
} from './group-commit.ts';
export { type GroupedClaims, groupedClaims } from './grouped-claims.ts';
export {
  type GroupedIdempotencyStoreOptions,
  groupedIdempotencyStore,
} from './grouped-idempotency-store.ts';
export { type GroupedUpdates, groupedUpdates } from './grouped-updates.ts';
export {
  type AnswerPolicy,
  type Disposition,
  defaultAnswerPolicy,
  defaultStoredHeaders,
} from './idempotency-answer.ts';
export {
  defaultIdempotencyTimes,
  type IdempotencyKeyOptions,
  type IdempotencyKeys,
  idempotencyKeys,
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
export type {
  IdempotencyEvent,
  IdempotencyLease,
  IdempotentOutcome,
  InProgress,
  SqlIdempotencyLease,
  WorkOutcome,
} from './idempotency-run.ts';
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
export type { LockEvent } from './lock-hold.ts';
export type { LockLease } from './lock-line.ts';
export {
  type LockAsk,
  type LockGrant,
  type LockPlace,
  type LockStore,
  type ReleasedPlace,
  TOKENS_PER_GRANT,
} from './lock-store.ts';
export { memoryLockStore } from './memory/distributed-lock.ts';
export { type MemoryIdempotencyStoreOptions, memoryIdempotencyStore } from './memory/idempotency-key.ts';
export {
  type Migrated,
  MigrateError,
  type MigrateErrorCode,
  migrate,
  migrationStatements,
} from './migrate.ts';
export { observe } from './observe.ts';
export type {
  Ending,
  FailureCode,
  GuardName,
  GuardStep,
  Observation,
  ObservedBatch,
  ObservedClaim,
  ObservedEvent,
  ObservedEventKind,
  ObservedReason,
  Observer,
  Operation,
  StoreKind,
} from './observer.ts';
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
  BatchStatements,
  ChangedRecord,
  ClaimExpiry,
  Columns,
  ColumnType,
  ColumnTypes,
  CompletedCall,
  Decision,
  DurableCallBatchStatements,
  DurableCallStatements,
  IdempotencyBatchStatements,
  IdempotencyChange,
  InterimDecision,
  LockMode,
  Migration,
  PawlTables,
  RecordCompletion,
  RedisListener,
  RedisPort,
  RedisSubscriber,
  RedisSubscription,
  Row,
  RowRef,
  Savepoint,
  SessionLock,
  SessionLockStatements,
  SqlDialect,
  SqlMigrations,
  SqlOwnSession,
  SqlPort,
  SqlResult,
  SqlSession,
  SqlSessions,
  SqlStatement,
  SqlTransaction,
  SqlValue,
} from './ports.ts';
export { type RedisLockStoreOptions, redisLockStore } from './redis/distributed-lock.ts';
export { type RedisIdempotencyStoreOptions, redisIdempotencyStore } from './redis/idempotency-key.ts';
export type { DurableCallGroupOptions } from './sql-durable-call-groups.ts';
export { type SqlDurableCallStoreOptions, sqlDurableCallStore } from './sql-durable-call-store.ts';
export { type SqlLockStoreOptions, sqlLockStore } from './sql-lock-store.ts';
export {
  type Stock,
  type StockDefinition,
  type StockKey,
  type StockOutcome,
  type StockRequest,
  type StockSeen,
  type StockTake,
  stock,
} from './stock.ts';
export { pawlTables, type TablesOptions } from './tables.ts';
export {
  type ConflictRetry,
  defaultConflictRetry,
  readThenWrite,
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
