import type { SqlDialect } from '../ports.ts';
import { conditionalUpdate } from './conditional-update.ts';
import { classifyError } from './errors.ts';
import * as idempotencyKey from './idempotency-key.ts';
import { migrations } from './migrations.ts';
import { limitLockWait, lockAvailableRows, lockRow, restoreLockWait } from './pessimistic-lock.ts';
import {
  claim,
  readClaim,
  releaseClaim,
  renewClaim,
  savepoint,
  sweepClaims,
  takeOverClaim,
} from './unique-claim.ts';

/** MySQL 8 and MariaDB: nothing is used that one of them lacks. */
export const mysql: SqlDialect = {
  name: 'mysql',
  classifyError,
  migrations,
  conditionalUpdate,
  claim,
  readClaim,
  takeOverClaim,
  renewClaim,
  releaseClaim,
  sweepClaims,
  savepoint,
  idempotencyKey,
  limitLockWait,
  restoreLockWait,
  lockRow,
  lockAvailableRows,
};
