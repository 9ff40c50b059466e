import { createClient } from '@redis/client';
import { redisIdempotencyStore } from 'pawl';
import { nodeRedisPort } from 'pawl/node-redis';

export async function openNodeRedis(url: string) {
  const redis = createClient({
    url,
    // By default node-redis keeps commands while it is not connected, and sends them later.
    disableOfflineQueue: true,
  });
  redis.on('error', (error: Error) => console.error(`Redis: ${error.message}`));
  await redis.connect();
  const port = nodeRedisPort(redis, { commandTimeoutMs: 2_000 });
  return { store: redisIdempotencyStore(port), close: () => redis.close() };
}
