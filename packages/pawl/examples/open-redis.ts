import { Redis } from 'ioredis';
import { redisIdempotencyStore } from 'pawl';
import { ioredisPort } from 'pawl/ioredis';

export async function openRedis(url: string) {
  const redis = new Redis(url, {
    // With its defaults ioredis sends a command again whose answer was lost.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  redis.on('error', (error) => console.error(`Redis: ${error.message}`));
  await redis.connect();
  const port = ioredisPort(redis, { commandTimeoutMs: 2_000 });
  return { store: redisIdempotencyStore(port), close: () => redis.quit() };
}
