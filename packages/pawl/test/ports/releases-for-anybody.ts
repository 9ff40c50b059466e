import type { LockGrant } from '../../src/index.ts';
import { changed, changedGrants } from './changed-locks.ts';

const holders = new Map<string, LockGrant>();

/** Broken: whoever gives a lock back, it is given back, whosever it is. */
export const open = changedGrants((grant, key) => {
  holders.set(key, grant);
  return changed(grant, {
    async release() {
      const released = await grant.release();
      if (!released) await holders.get(key)?.release();
      return released;
    },
  });
});
