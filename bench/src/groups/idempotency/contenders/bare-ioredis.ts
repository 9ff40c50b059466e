import { Redis } from 'ioredis';
import type { OpenOperation } from '../../operations/operation.ts';
import { guarded } from './guarded.ts';

const RETENTION_MS = 86_400_000;

async function connect(url: string): Promise<Redis> {
  const redis = new Redis(url, { lazyConnect: true });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  return redis;
}

/** The least that a fresh key costs. It replays what it finds by one GET more, and never gives a key back. */
export const openBareSet: OpenOperation = async ({ redis: url }) => {
  const redis = await connect(url);
  return guarded({
    async run(key, work) {
      if ((await redis.set(key, '', 'PX', RETENTION_MS, 'NX')) === null) {
        return (await redis.get(key)) || undefined;
      }
      const result = await work();
      await redis.set(key, result, 'PX', RETENTION_MS);
      return result;
    },
    close: async () => void (await redis.quit()),
  });
};

/** The least that a replay costs: it looks first, so that it guards nothing. */
export const openBareGet: OpenOperation = async ({ redis: url }) => {
  const redis = await connect(url);
  return guarded({
    async run(key, work) {
      const stored = await redis.get(key);
      if (stored !== null) return stored;
      const result = await work();
      await redis.set(key, result, 'PX', RETENTION_MS);
      return result;
    },
    close: async () => void (await redis.quit()),
  });
};
