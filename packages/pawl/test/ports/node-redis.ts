import { createClient } from '@redis/client';
import { nodeRedisPort, nodeRedisSubscriber } from '../../src/adapters/node-redis.ts';
import type { OpenRedisPort } from '../../src/conformance/index.ts';

export const open: OpenRedisPort = async ({ host, port, user, password }) => {
  const client = createClient({
    ...(user !== '' && { username: user }),
    ...{ password, disableOfflineQueue: true },
    socket: { host, port, reconnectStrategy: 20 },
  });
  const listening = client.duplicate();
  for (const one of [client, listening]) one.on('error', () => undefined);
  await Promise.all([client.connect(), listening.connect()]);
  return {
    redis: nodeRedisPort(client, { commandTimeoutMs: 10_000 }),
    subscriber: nodeRedisSubscriber(listening),
    async close() {
      client.destroy();
      listening.destroy();
    },
  };
};
