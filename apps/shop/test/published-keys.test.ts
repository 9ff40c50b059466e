import { done, type RedisPort, refused } from 'pawl';
import { ioredisPort } from 'pawl/ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import { newRedis } from '../../../test/stores.ts';
import { publishedKeys } from '../src/lotto/purchase/published-keys.ts';

const { redis, prefix } = newRedis();
let port: RedisPort;

beforeAll(async () => {
  await redis.connect();
  port = ioredisPort(redis, { commandTimeoutMs: 5_000 });
});

afterAll(() => redis.quit());

function open(ttlMs = 60_000) {
  const notStored: { key: string; cause: unknown }[] = [];
  const keys = publishedKeys(port, { ttlMs, prefix, onOutcomeNotStored: (event) => notStored.push(event) });
  return { keys, notStored };
}

describe('published keys', () => {
  test('of 50 simultaneous requests one runs, 49 are refused, and a later one gets the stored result', async () => {
    const { keys } = open();
    let runs = 0;
    // The work ends only when the other 49 have had their answer.
    const everybodyElseAnswered = barrier(50);
    const work = async () => {
      runs++;
      await everybodyElseAnswered();
      return done('bill-7');
    };
    const outcomes = await together(50, async () => {
      const outcome = await keys.run('burst', work);
      if (outcome.outcome === 'refused') void everybodyElseAnswered();
      return outcome;
    });
    expect(runs).toBe(1);
    expect(outcomes.filter((one) => one.outcome === 'done')).toEqual([done('bill-7')]);
    expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
      Array(49).fill(refused('in-progress')),
    );
    expect(await keys.run('burst', work)).toEqual(done('bill-7', { replayed: true }));
    expect(runs).toBe(1);
  });

  test('without SET NX, everybody who looks first runs', async () => {
    const everybodyHasLooked = barrier(50);
    let runs = 0;
    await together(50, async () => {
      const found = await redis.get(`${prefix}unguarded`);
      await everybodyHasLooked();
      if (found !== null) return;
      await redis.set(`${prefix}unguarded`, 'IN_PROGRESS');
      runs++;
    });
    expect(runs).toBe(50);
  });

  test('a refusal gives the key back; unknown and thrown keep it', async () => {
    const { keys } = open();
    expect(await keys.run('refused', async () => refused('declined'))).toEqual(refused('declined'));
    expect(await keys.run('refused', async () => done('second'))).toEqual(done('second'));

    const lost = { outcome: 'unknown' as const };
    expect(await keys.run('unknown', async () => lost)).toEqual(lost);
    expect(await keys.run('unknown', async () => done('again'))).toEqual(refused('in-progress'));

    const crash = keys.run('thrown', () => Promise.reject(new TypeError('a bug')));
    await expect(crash).rejects.toThrow(TypeError);
    expect(await keys.run('thrown', async () => done('again'))).toEqual(refused('in-progress'));
  });

  test('the published limit: a key that expires before its work has ended lets a second one run', async () => {
    const { keys, notStored } = open(30);
    const firstRuns = barrier(2);
    const release = barrier(2);
    const first = keys.run('expires', async () => {
      await firstRuns();
      await release();
      return done('first');
    });
    await firstRuns();
    await until(async () => (await redis.exists(`${prefix}expires`)) === 0);
    const second = await open().keys.run('expires', async () => done('second'));
    await release();

    expect(second).toEqual(done('second'));
    expect(await first).toEqual(done('first'));
    // The one that came late does not overwrite its successor's result, and says so.
    expect(notStored).toEqual([{ key: 'expires', cause: 'the key had expired' }]);
    expect(await open().keys.run('expires', async () => done('third'))).toEqual(
      done('second', { replayed: true }),
    );
  });

  test('a late refusal does not give its successor’s key away', async () => {
    const { keys, notStored } = open(30);
    const firstRuns = barrier(2);
    const release = barrier(2);
    const first = keys.run('late', async () => {
      await firstRuns();
      await release();
      return refused('declined');
    });
    await firstRuns();
    await until(async () => (await redis.exists(`${prefix}late`)) === 0);
    const successorRuns = barrier(2);
    const successorEnds = barrier(2);
    const second = open().keys.run('late', async () => {
      await successorRuns();
      await successorEnds();
      return done('second');
    });
    await successorRuns();
    await release();
    await first;
    expect(notStored).toHaveLength(1);
    expect(await open().keys.run('late', async () => done('third'))).toEqual(refused('in-progress'));
    await successorEnds();
    expect(await second).toEqual(done('second'));
  });

  test('every key ends by itself', async () => {
    const { keys } = open();
    await keys.run('ends', async () => done('x'));
    const leftMs = await redis.pttl(`${prefix}ends`);
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
  });
});
