import { Redis } from 'ioredis';

/** A connection as ioredis makes it by itself, which is what the peers expect. @throws the driver's error. */
export async function peerRedis(url: string): Promise<{ redis: Redis; close: () => Promise<void> }> {
  const redis = new Redis(url, { lazyConnect: true });
  redis.on('error', () => undefined); // What failed is told by the command.
  await redis.connect();
  return { redis, close: async () => void (await redis.quit()) };
}
