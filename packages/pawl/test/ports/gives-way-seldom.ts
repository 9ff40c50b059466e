import type { OpenLockStore } from '../../src/conformance/index.ts';
import { type LockGrant, TOKENS_PER_GRANT } from '../../src/index.ts';
import { changed, grantsChanged } from './changed-locks.ts';
import { open as openMemory } from './memory-locks.ts';

const IN_A_ROW = 8;

const preferred = new Set<string>();

/** Broken: the first who opens it has a lock again at once, most times, when he gives it back and queues. */
export const open: OpenLockStore = async (which) => {
  const opened = await openMemory(which);
  if (preferred.has(which.namespace)) return opened;
  preferred.add(which.namespace);
  return { ...opened, store: grantsChanged(opened.store, (grant) => takenAgain(grant, 1)) };
};

function takenAgain(grant: LockGrant, times: number): LockGrant {
  if (times === IN_A_ROW) return grant;
  const again = changed(grant, { firstToken: grant.firstToken + TOKENS_PER_GRANT });
  return changed(grant, {
    releaseAndQueue: () => ({
      granted: Promise.resolve(takenAgain(again, times + 1)),
      trouble: undefined,
      released: Promise.resolve(true),
      async leave() {
        await grant.release();
      },
    }),
  });
}
