import type { OpenIdempotencyStore } from '../../src/conformance/index.ts';
import { type IdempotencyStore, memoryIdempotencyStore } from '../../src/index.ts';

/** One store for all of this process that name the same. */
const stores = new Map<string, IdempotencyStore>();

export const open: OpenIdempotencyStore = ({ namespace }) => {
  const store = stores.get(namespace) ?? memoryIdempotencyStore();
  stores.set(namespace, store);
  return {
    store,
    async close() {
      stores.delete(namespace);
    },
  };
};
