import { createClient } from '@redis/client';
import { nodeRedisPort } from '../../src/adapters/node-redis.ts';
import type { OpenRedisPort } from '../../src/conformance/index.ts';

export const open: OpenRedisPort = async ({ host, port, user, password }) => {
  const client = createClient({
    ...(user !== '' && { username: user }),
    ...{ password, disableOfflineQueue: true },
    socket: { host, port, reconnectStrategy: 20 },
  });
  client.on('error', () => undefined);
  await client.connect();
  return {
    redis: nodeRedisPort(client, { commandTimeoutMs: 10_000 }),
    async close() {
      client.destroy();
    },
  };
};
