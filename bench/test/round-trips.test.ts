import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test } from 'vitest';
import { startCountingProxy } from '../src/round-trips.ts';

test('what is sent together is one round trip, what waits for an answer is another, what comes unasked is none', async () => {
  const proxy = await startCountingProxy(inject('redisUrl'));
  onTestFinished(() => proxy.close());
  const [redis, subscriber] = [new Redis(proxy.url), new Redis(proxy.url)];
  onTestFinished(() => {
    redis.disconnect();
    subscriber.disconnect();
  });
  const channel = `bench-test-${process.pid}`;
  await subscriber.subscribe(channel);
  await redis.ping();

  const before = proxy.count();
  for (let sent = 1; sent <= 5; sent++) await redis.ping();
  expect(proxy.count() - before).toBe(5);
  await redis.pipeline().ping().ping().ping().exec();
  expect(proxy.count() - before).toBe(6);
  const heard = new Promise((resolve) => subscriber.once('message', resolve));
  await redis.publish(channel, 'x');
  await heard;
  expect(proxy.count() - before).toBe(7);
});
