import type { SqlDialect } from '../ports.ts';
import * as batch from './batch.ts';
import { changeRows } from './change-rows.ts';
import { conditionalUpdate } from './conditional-update.ts';
import * as sessionLock from './distributed-lock.ts';
import * as durableCall from './durable-call.ts';
import * as durableCallBatch from './durable-call-batch.ts';
import { classifyError } from './errors.ts';
import { raiseFence } from './fencing.ts';
import * as idempotencyBatch from './idempotency-batch.ts';
import * as idempotencyKey from './idempotency-key.ts';
import { migrations } from './migrations.ts';
import { limitLockWait, lockAvailableRows, lockRow, restoreLockWait } from './pessimistic-lock.ts';
import { sweepExpired } from './sweep.ts';
import { claim, readClaim, releaseClaim, renewClaim, savepoint, takeOverClaim } from './unique-claim.ts';

/** MySQL 8 and MariaDB: nothing is used that one of them lacks. */
export const mysql: SqlDialect = {
  name: 'mysql',
  classifyError,
  migrations,
  conditionalUpdate,
  raiseFence,
  claim,
  readClaim,
  takeOverClaim,
  renewClaim,
  releaseClaim,
  sweepExpired,
  savepoint,
  idempotencyKey,
  idempotencyBatch,
  durableCall,
  durableCallBatch,
  batch: { ...batch, changeRows },
  limitLockWait,
  restoreLockWait,
  lockRow,
  lockAvailableRows,
  sessionLock,
};
