import { Redis } from 'ioredis';
import { redisLockStore } from 'pawl';
import { ioredisPort, ioredisSubscriber } from 'pawl/ioredis';
import type { ServerUrls } from '../../../servers.ts';
import type { Contender } from '../contender.ts';
import { pawlLocks } from './pawl-locks.ts';

const COMMAND_TIMEOUT_MS = 2_000;

export async function openPawlRedis(urls: ServerUrls): Promise<Contender> {
  const redis = new Redis(urls.redis, {
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    lazyConnect: true,
  });
  const listener = redis.duplicate({ autoResubscribe: false });
  for (const client of [redis, listener]) client.on('error', () => undefined); // What failed is told by the command.
  const port = ioredisPort(redis, { commandTimeoutMs: COMMAND_TIMEOUT_MS });
  const store = redisLockStore(port, ioredisSubscriber(listener));
  await Promise.all([redis.connect(), listener.connect()]);
  return pawlLocks(store, async () => {
    await Promise.all([redis.quit(), listener.quit()]);
  });
}
