import { LOOK_UP_LAG_MS } from '../clock.ts';
import type { Mutant } from '../mutant.ts';
import { keyOf } from '../store.ts';
import { instead, ofOrderA, plain, releaseAsNotFound } from './where.ts';

/** Rules of giving an order back because nothing was found. */

export const releaseInSession: Mutant = {
  name: 'release on not found while the session lives',
  harm: 'what was on its way is captured after the release',
  where: { ...plain, wishes: ofOrderA },
  seed: 1,
  rules: () =>
    instead((_, heard) =>
      heard.of === 'look-up' && heard.found.outcome === 'not-found' ? releaseAsNotFound : undefined,
    ),
};

export const lateLook: Mutant = {
  name: 'release on a look-up sent before the end',
  harm: 'the look-up saw nothing, the capture came after it, and then the end',
  where: { ...plain, lookUpLagMs: LOOK_UP_LAG_MS, wishes: ofOrderA },
  seed: 2206,
  store({ store, clock }) {
    return {
      ...store,
      async takeOver(name, limit, leaseMs) {
        const calls = await store.takeOver(name, limit, leaseMs);
        return calls.map((call) => {
          const finalAfter = store.records.get(keyOf(call.id))?.finalAfter;
          return Object.defineProperty({ ...call }, 'isFinal', {
            get: () => finalAfter !== undefined && finalAfter <= clock.now,
          });
        });
      },
    };
  },
};
