import { changed, changedLocks } from './changed-locks.ts';

/** Broken: who does not wait any more keeps his place in the queue. */
export const open = changedLocks((store) => ({
  queue(key, ask) {
    const place = store.queue(key, ask);
    let left = false;
    return changed(place, {
      granted: place.granted.then((grant) => (left ? Promise.withResolvers<never>().promise : grant)),
      async leave() {
        left = true;
      },
    });
  },
}));
