import { type DistributedLocks, distributedLocks, type LockStore } from 'pawl';
import type { Contender } from '../contender.ts';

/** The library's lock, as it comes. @param close  Ends what the store was given. */
export function pawlLocks(store: LockStore, close: () => Promise<void> = async () => undefined): Contender {
  const locks: DistributedLocks = distributedLocks(store);
  return {
    section: async (key, work) => (await locks.run(key, () => ran(work))) === 'ran',
    async close() {
      await locks.close();
      await close();
    },
  };
}

async function ran(work: () => Promise<void>): Promise<'ran'> {
  await work();
  return 'ran';
}
