import { expect, onTestFinished, test } from 'vitest';
import { type FaultyRedis, startFaultyRedis } from '../../src/cluster/faulty-redis.ts';
import { serverFinder } from '../../src/cluster/find-server.ts';
import { redisPackage } from '../../src/cluster/redis.ts';
import { openRedisSession, type RedisSession } from '../../src/cluster/redis-session.ts';
import { never, testGuardian } from './helpers.ts';

const found = await serverFinder(process.env.PATH ?? '')(redisPackage);

async function testRedis(): Promise<{ redis: FaultyRedis; started: string[] }> {
  const { guardian } = await testGuardian();
  const started: string[] = [];
  const redis = await startFaultyRedis(guardian, found.found ? found.path : '', {
    ...{ clients: 2, signal: never },
    onStarted: ({ name, port }) => void started.push(`${name} ${port}`),
  });
  onTestFinished(() => redis.close());
  return { redis, started };
}

/** A command of a client, on a connection of its own, as after a fault. */
async function ask(redis: FaultyRedis, ...command: string[]) {
  const session = await openRedisSession(redis.urls[1] ?? '', 5_000);
  try {
    return await session.command(...command);
  } finally {
    session.close();
  }
}

test.skipIf(!found.found)(
  'killed, it comes back on its port, with what it had or empty (skipped without Redis)',
  async () => {
    const { redis, started } = await testRedis();
    const client = await openRedisSession(redis.urls[0] ?? '', 5_000);
    await client.command('SET', 'lock', 'mine');
    await redis.killAndRestart('kept');
    await expect(client.command('GET', 'lock')).rejects.toMatchObject({ code: 'REDIS_LOST' });
    expect(await ask(redis, 'GET', 'lock')).toBe('mine');
    await redis.killAndRestart('lost');
    expect(await ask(redis, 'GET', 'lock')).toBeNull();
    expect(new Set(started).size).toBe(1);
    expect(started).toHaveLength(3);
  },
);

test.skipIf(!found.found)(
  'a replica has everything until its link is cut, and takes over with what it has; again and again (skipped without Redis)',
  async () => {
    const { redis } = await testRedis();
    const get = (session: RedisSession) => session.command('GET', 'lock');
    for (const round of ['first', 'second', 'third']) {
      await ask(redis, 'SET', 'lock', `before ${round}`);
      const replica = await redis.replicate();
      expect(await replica.withSession(get)).toBe(`before ${round}`);
      await replica.cutLink();
      await ask(redis, 'SET', 'lock', round);
      expect(await replica.withSession(get)).toBe(`before ${round}`);
      expect(await redis.withSession(get)).toBe(round);
      await replica.failOver();
      expect(await ask(redis, 'GET', 'lock')).toBe(`before ${round}`);
      expect(await ask(redis, 'SET', 'lock', 'writable')).toBe('OK');
    }
  },
);
