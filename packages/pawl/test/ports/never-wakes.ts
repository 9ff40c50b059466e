import { changed, changedLocks } from './changed-locks.ts';

/** Broken: who has to wait for a lock is never told that it is his turn. */
export const open = changedLocks((store) => ({
  queue(key, ask) {
    const place = store.queue(key, { ...ask, wait: false });
    const granted = place.granted.then(
      (grant) => grant ?? (ask.wait ? Promise.withResolvers<never>().promise : grant),
    );
    return changed(place, { granted });
  },
}));
