import { changedLocks } from './changed-locks.ts';

/** Broken: it remembers every key. */
export const open = changedLocks((store) => {
  const used = new Set<string>();
  return {
    queue(key, ask) {
      used.add(key);
      return store.queue(key, ask);
    },
  };
});
