import { changedLocks } from './changed-locks.ts';

/** Broken: keys that differ in their case alone are one lock. */
export const open = changedLocks((store) => ({
  queue: (key, ask) => store.queue(key.toLowerCase(), ask),
}));
