import type { OpenLockStore } from '../../src/conformance/index.ts';
import { type LockGrant, type LockStore, memoryLockStore, type ReleasedPlace } from '../../src/index.ts';
import { oneForAll } from './memory-locks.ts';

/** Locks in memory, of which something is changed. */
export function changedLocks(changes: (store: LockStore) => Partial<LockStore>): OpenLockStore {
  return oneForAll(() => {
    const store = memoryLockStore();
    return changed(store, changes(store));
  });
}

type ChangeGrant = (grant: LockGrant, key: string) => LockGrant;

/** Locks in memory, of which every grant is changed. */
export function changedGrants(change: ChangeGrant): OpenLockStore {
  return changedLocks((store) => grantsChanged(store, change));
}

/** The same of a store. */
export function grantsChanged(store: LockStore, change: ChangeGrant): LockStore {
  return changed(store, {
    queue(key, ask) {
      function granted(grant: LockGrant | undefined): LockGrant | undefined {
        if (grant === undefined) return undefined;
        const again = (): ReleasedPlace => {
          const place = grant.releaseAndQueue();
          return changed(place, { granted: place.granted.then(granted) });
        };
        return change(changed(grant, { releaseAndQueue: again }), key);
      }
      const place = store.queue(key, ask);
      return changed(place, { granted: place.granted.then(granted) });
    },
  });
}

/** The same but for what stands in `changes`. */
export function changed<Any extends object>(one: Any, changes: Partial<Any>): Any {
  return new Proxy(one, {
    get(target, name) {
      const value = Reflect.get(name in changes ? changes : target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
