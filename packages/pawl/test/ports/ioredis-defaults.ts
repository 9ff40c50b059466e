import { once } from 'node:events';
import { Redis } from 'ioredis';
import type { OpenRedisPort } from '../../src/conformance/index.ts';

/** Broken: the client as it comes, which sends a command again whose answer was lost. */
export const open: OpenRedisPort = async ({ host, port, user, password }) => {
  const redis = new Redis({ host, port, username: user, password });
  redis.on('error', () => undefined);
  await once(redis, 'ready');
  return {
    redis: { command: (name, ...args) => redis.call(name, ...args) },
    async close() {
      redis.disconnect();
    },
  };
};
