import { once } from 'node:events';
import { Redis } from 'ioredis';
import { ioredisPort } from '../../src/adapters/ioredis.ts';
import type { OpenRedisPort } from '../../src/conformance/index.ts';

export const open: OpenRedisPort = async ({ host, port, user, password }) => {
  const redis = new Redis({
    ...{ host, port, username: user, password },
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
  });
  redis.on('error', () => undefined);
  await once(redis, 'ready');
  return {
    redis: ioredisPort(redis, { commandTimeoutMs: 10_000 }),
    async close() {
      redis.disconnect();
    },
  };
};
