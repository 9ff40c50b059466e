import type { OpenIdempotencyStore } from '../../src/conformance/index.ts';
import { open as openMemory } from './memory.ts';

/** Broken: whoever comes completes the record, whosever it is. */
export const open: OpenIdempotencyStore = async (which) => {
  const { store, close } = await openMemory(which);
  return {
    close,
    store: {
      ...store,
      async complete(id, owner, answer, retentionMs) {
        const record = await store.read(id);
        return store.complete(id, record?.owner ?? owner, answer, retentionMs);
      },
    },
  };
};
