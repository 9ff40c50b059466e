import type { DistributedLocks, LockLease, Refused } from 'pawl';
import type { Trace } from './trace.ts';

/** As `locks.run`, and marks when the lock is there and when it has been given back. */
export async function whileLocked<Result>(
  locks: DistributedLocks,
  key: string,
  trace: Trace,
  work: (lease: LockLease) => Promise<Result>,
): Promise<Result | Refused<'lock-timeout'>> {
  let locked = false;
  try {
    return await locks.run(key, (lease) => {
      locked = true;
      trace.mark('locked');
      return work(lease);
    });
  } finally {
    if (locked) trace.mark('unlocked');
  }
}
