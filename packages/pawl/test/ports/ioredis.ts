import { once } from 'node:events';
import { Redis, type RedisOptions } from 'ioredis';
import { ioredisPort, ioredisSubscriber } from '../../src/adapters/ioredis.ts';
import type { OpenRedisPort, ServerAddress } from '../../src/conformance/index.ts';

export const open: OpenRedisPort = (server) => openIoredis(server);

export async function openIoredis(
  { host, port, user, password }: ServerAddress,
  reconnect: Pick<RedisOptions, 'retryStrategy'> = {},
) {
  const redis = new Redis({
    ...{ host, port, username: user, password },
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    ...reconnect,
  });
  const listening = redis.duplicate({ autoResubscribe: false });
  for (const client of [redis, listening]) client.on('error', () => undefined);
  await Promise.all([once(redis, 'ready'), once(listening, 'ready')]);
  return {
    redis: ioredisPort(redis, { commandTimeoutMs: 10_000 }),
    subscriber: ioredisSubscriber(listening),
    async close() {
      redis.disconnect();
      listening.disconnect();
    },
  };
}
