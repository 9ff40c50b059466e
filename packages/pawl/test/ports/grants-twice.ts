import { memoryLockStore } from '../../src/index.ts';
import { oneForAll } from './memory-locks.ts';

/** Broken: of two who want a key, each is sent to another store. */
export const open = oneForAll(() => {
  const [one, other] = [memoryLockStore(), memoryLockStore()];
  let asked = 0;
  return {
    queue: (key, ask) => (++asked % 2 === 0 ? one : other).queue(key, ask),
    async close() {
      await Promise.all([one.close(), other.close()]);
    },
  };
});
