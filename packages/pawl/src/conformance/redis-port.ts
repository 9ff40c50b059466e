import assert from 'node:assert/strict';
import { StoreError } from '../errors.ts';
import type { RedisPort } from '../ports.ts';
import type { ConformanceCase } from './case.ts';
import { isRedisCommand } from './proxy.ts';
import { onRedisBench, type RedisBench, type RedisSubject } from './redis-bench.ts';
import { until } from './waiting.ts';

const LOST = { name: 'StoreError', code: 'CONNECTION_LOST', effect: 'unknown' };

/** Resolves when it takes commands again. */
async function isBack(redis: RedisPort): Promise<void> {
  const answers = async () => {
    try {
      return (await redis.command('PING')) === 'PONG';
    } catch (error) {
      if (error instanceof StoreError) return false;
      throw error;
    }
  };
  await until(answers, 'a port that has found back to its server');
}

/** What the guards rely on in every adapter: `RedisPort`. */
export function redisPortCases(subject: RedisSubject): readonly ConformanceCase[] {
  const onBench = (work: (bench: RedisBench) => Promise<void>) => onRedisBench(subject, work);
  return [
    {
      name: 'Redis port: replies are text, whole numbers, null, and arrays of them',
      run: () =>
        onBench(async ({ redis, prefix }) => {
          const key = `${prefix}k`;
          assert.equal(await redis.command('SET', key, '10'), 'OK');
          assert.equal(await redis.command('GET', key), '10');
          assert.equal(await redis.command('DECR', key), 9);
          assert.equal(await redis.command('GET', `${prefix}none`), null);
          assert.equal(await redis.command('SET', key, 1, 'NX'), null);
          const script = `return {1, 'zwölf ✓', false, {2, redis.call('GET', KEYS[1])}}`;
          assert.deepEqual(await redis.command('EVAL', script, 1, key), [1, 'zwölf ✓', null, [2, '9']]);
        }),
    },
    {
      name: 'Redis port: an error reply is told by its code, and by whether something may have been written',
      run: () =>
        onBench(async ({ redis, prefix }) => {
          const digest = '0'.repeat(40);
          await assert.rejects(redis.command('EVALSHA', digest, 0), {
            ...{ name: 'StoreError', code: 'UNKNOWN_SCRIPT', effect: 'none' },
          });
          await redis.command('SET', `${prefix}text`, 'no number');
          await assert.rejects(redis.command('INCR', `${prefix}text`), {
            ...{ name: 'StoreError', code: 'REJECTED', effect: 'none' },
          });
          const half = `redis.call('SET', KEYS[1], 'written'); return redis.call('INCR', KEYS[1])`;
          await assert.rejects(redis.command('EVAL', half, 1, `${prefix}half`), {
            ...{ name: 'StoreError', code: 'REJECTED', effect: 'unknown' },
          });
          assert.equal(await redis.command('GET', `${prefix}half`), 'written');
        }),
    },
    ...(['answer-lost', 'request-lost'] as const).map(
      (fate): ConformanceCase => ({
        name: `Redis port: a command ${fate === 'answer-lost' ? 'whose answer is lost' : 'that is lost on its way'} is unknown, and not sent again`,
        run: () =>
          onBench(async ({ redis, prefix, open, proxy }) => {
            const stock = `${prefix}stock`;
            await redis.command('SET', stock, 10);
            const { port, seen } = await proxy(isRedisCommand('DECR'), (request) =>
              request === 1 ? fate : 'passes',
            );
            const cut = await open(port);
            await assert.rejects(cut.command('DECR', stock), LOST);
            await isBack(cut);
            assert.equal(await cut.command('GET', stock), fate === 'answer-lost' ? '9' : '10');
            assert.equal(seen(), 1);
          }),
      }),
    ),
    {
      name: 'Redis port: a SET NX whose answer is lost has won, and the port does not say that it has lost',
      run: () =>
        onBench(async ({ redis, prefix, open, proxy }) => {
          const key = `${prefix}lock`;
          const { port } = await proxy(isRedisCommand('SET'), (request) =>
            request === 1 ? 'answer-lost' : 'passes',
          );
          const cut = await open(port);
          await assert.rejects(cut.command('SET', key, 'me', 'NX'), LOST);
          assert.equal(await redis.command('GET', key), 'me');
        }),
    },
    {
      name: 'Redis port: where nobody listens any more it is UNAVAILABLE, and what was sent then is not sent later',
      run: () =>
        onBench(async ({ redis, prefix, open, proxy }) => {
          const stock = `${prefix}stock`;
          await redis.command('SET', stock, 10);
          const { port, close } = await proxy(
            () => false,
            () => 'passes',
          );
          const alone = await open(port);
          await isBack(alone);
          await close();
          const unavailable = async () => {
            const error = await alone.command('DECR', stock).catch((error: unknown) => error);
            assert.ok(error instanceof StoreError, 'nobody listens, and it did not fail');
            // The first may be told of the connection that it was sent on.
            return error.code === 'UNAVAILABLE' && error.effect === 'none';
          };
          await until(unavailable, 'UNAVAILABLE');
          assert.equal(await redis.command('GET', stock), '10');
        }),
    },
  ];
}
