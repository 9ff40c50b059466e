import type { SqlDialect } from '../ports.ts';
import { conditionalUpdate } from './conditional-update.ts';
import { classifyError } from './errors.ts';
import { limitLockWait, lockAvailableRows, lockRow, restoreLockWait } from './pessimistic-lock.ts';
import { claim, readClaim, releaseClaim } from './unique-claim.ts';

export const postgres: SqlDialect = {
  name: 'postgres',
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
