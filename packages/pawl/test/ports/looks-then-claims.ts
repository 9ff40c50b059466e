import type { OpenIdempotencyStore } from '../../src/conformance/index.ts';
import { open as openMemory } from './memory.ts';

/** Broken: a claim that finds nothing is written afterwards, over whatever has come in between. */
export const open: OpenIdempotencyStore = async (which) => {
  const { store, close } = await openMemory(which);
  return {
    close,
    store: {
      ...store,
      async claim(claim) {
        const record = await store.read(claim);
        await new Promise((resolve) => setImmediate(resolve));
        if (record !== undefined) return store.claim(claim);
        const found = await store.claim(claim);
        if (found.claimed) return found;
        await store.release(claim, found.record.owner);
        return store.claim(claim);
      },
    },
  };
};
