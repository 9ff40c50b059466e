import { randomBytes } from 'node:crypto';
import { expect, inject, onTestFinished, test } from 'vitest';
import { openRedisSession } from '../../src/cluster/redis-session.ts';
import {
  isContended,
  isWakeUp,
  keyOf,
  lookAt,
  untilContended,
  waitersAmong,
} from '../../src/nemesis/lock-view.ts';
import type { WatchedLock } from '../../src/nemesis/nemesis.ts';

const TOKEN = '1795348800000016';

async function testLock(kind: WatchedLock['kind']) {
  const session = await openRedisSession(inject('redisUrl'), 10_000);
  onTestFinished(() => session.close());
  const lock: WatchedLock = { kind, name: `coupon:${randomBytes(6).toString('hex')}` };
  const key = keyOf(lock);
  onTestFinished(async () => void (await session.command('DEL', key, `${key}:queue`)));
  return { session, lock, key };
}

const proxyOf = (...channels: string[][]) => ({
  ports: channels.map(() => 0),
  channelsOf: (client: number) => new Set(channels[client]),
});

test('the library’s lock is held where its mark says so, and waited for by who stands in its queue', async () => {
  const { session, lock, key } = await testLock('pawl');
  const look = () => lookAt(lock, session);
  expect(await look()).toEqual({ holder: null, waiting: [] });

  await session.command('SET', key, `${TOKEN}0one:1`, 'PX', 60_000);
  expect(await look()).toEqual({ holder: null, waiting: [] });
  await session.command('SET', key, `${TOKEN}-one:1`, 'PX', 60_000);
  expect(isContended(await look())).toBe(false);

  await session.command('SET', key, `${TOKEN}+one:1`, 'PX', 60_000);
  await session.command('ZADD', `${key}:queue`, 1, 'two:7', 2, 'one:2');
  expect(await look()).toEqual({ holder: 'one:1', waiting: ['two:7', 'one:2'] });
  expect(isContended(await look())).toBe(true);

  // The holder waits as well, and the third has never waited.
  const proxy = proxyOf(['shop:distributed-lock:granted:one'], ['shop:distributed-lock:granted:two'], []);
  expect(waitersAmong(lock, await look(), proxy)).toEqual([1]);
  expect(isWakeUp(lock, 'shop:distributed-lock:granted:two')).toBe(true);
  expect(isWakeUp(lock, key)).toBe(false);
});

test('the published lock is held where there is its key, and waited for by who listens for it', async () => {
  const { session, lock, key } = await testLock('published');
  const listener = await openRedisSession(inject('redisUrl'), 10_000);
  onTestFinished(() => listener.close());
  expect(await lookAt(lock, session)).toEqual({ holder: null, waiting: 0 });
  await session.command('SET', key, 'owner', 'PX', 60_000);
  expect(isContended(await lookAt(lock, session))).toBe(false);
  await listener.command('SUBSCRIBE', key);
  const look = await lookAt(lock, session);
  expect(look).toEqual({ holder: 'owner', waiting: 1 });
  expect(isContended(look)).toBe(true);
  expect(waitersAmong(lock, look, proxyOf([], [key], ['another']))).toEqual([1]);
  expect(isWakeUp(lock, key)).toBe(true);
});

test('a look-out ends with the race', async () => {
  const { session, lock } = await testLock('pawl');
  expect(await untilContended(lock, session, AbortSignal.abort())).toBeNull();
});
