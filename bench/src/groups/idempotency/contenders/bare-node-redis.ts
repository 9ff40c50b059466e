import { createClient } from '@redis/client';
import type { OpenOperation } from '../../operations/operation.ts';
import { guarded } from './guarded.ts';

const RETENTION_MS = 86_400_000;

/** As `openBareSet`, over the other client. */
export const openBareNodeRedis: OpenOperation = async ({ redis: url }) => {
  const redis = createClient({ url });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  return guarded({
    async run(key, work) {
      const expiration = { type: 'PX', value: RETENTION_MS } as const;
      if ((await redis.set(key, '', { expiration, condition: 'NX' })) === null) {
        return (await redis.get(key)) || undefined;
      }
      const result = await work();
      await redis.set(key, result, { expiration });
      return result;
    },
    close: () => redis.close(),
  });
};
