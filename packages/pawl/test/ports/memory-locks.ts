import type { OpenLockStore } from '../../src/conformance/index.ts';
import { type LockStore, memoryLockStore } from '../../src/index.ts';

export const open = oneForAll(memoryLockStore);

/** One store for all of this process that name the same. */
export function oneForAll(newStore: () => LockStore): OpenLockStore {
  const stores = new Map<string, LockStore>();
  return ({ namespace }) => {
    const store = stores.get(namespace) ?? newStore();
    stores.set(namespace, store);
    return {
      store,
      async close() {
        stores.delete(namespace);
      },
    };
  };
}
