import type { Contender } from '../contender.ts';

/** What a lock within one process costs at least: a chain of promises for each key. */
export async function openPromiseMutex(): Promise<Contender> {
  const last = new Map<string, Promise<unknown>>();
  return {
    async section(key, work) {
      const before = last.get(key);
      const mine = before === undefined ? work() : before.then(work, work);
      last.set(key, mine);
      try {
        await mine;
      } finally {
        if (last.get(key) === mine) last.delete(key);
      }
      return true;
    },
    close: async () => undefined,
  };
}
