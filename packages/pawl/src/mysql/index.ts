import type { SqlDialect } from '../ports.ts';
import { conditionalUpdate } from './conditional-update.ts';
import { classifyError } from './errors.ts';
import { limitLockWait, lockAvailableRows, lockRow, restoreLockWait } from './pessimistic-lock.ts';
import { claim, readClaim, releaseClaim } from './unique-claim.ts';

/** MySQL 8 and MariaDB: nothing is used that one of them lacks. */
export const mysql: SqlDialect = {
  name: 'mysql',
  classifyError,
  conditionalUpdate,
  claim,
  readClaim,
  releaseClaim,
  limitLockWait,
  restoreLockWait,
  lockRow,
  lockAvailableRows,
};
