import { AssertionError } from 'node:assert';
import { describe, expect, inject, test } from 'vitest';
import { newDatabase, newRedis, type SqlStore } from '../../../test/stores.ts';
import {
  type ConformanceCase,
  lockStoreConformance,
  redisLockConformance,
  sqlLockConformance,
} from '../src/conformance/index.ts';

const LIMIT_MS = 120_000;

const portsOf = (name: string) => new URL(`./ports/${name}.ts`, import.meta.url);

const adapters: { name: string; ports: string; on: SqlStore }[] = [
  { name: 'pg', ports: 'pg', on: 'postgres' },
  { name: 'mysql2', ports: 'mysql2', on: 'mariadb' },
];

for (const { name, ports, on } of adapters) {
  describe(name, async () => {
    const cases = sqlLockConformance({ module: portsOf(ports), url: await newDatabase(on) });
    for (const { name, run } of cases) test(name, run, LIMIT_MS);
  });
}

describe.each(['ioredis', 'node-redis'])('%s', (name) => {
  const cases = redisLockConformance({ module: portsOf(name), url: inject('redisUrl') });
  for (const { name, run } of cases) test(name, run, LIMIT_MS);

  test('nothing is left behind', async () => {
    const { redis } = newRedis();
    await redis.connect();
    expect(await redis.keys('pawl-c*')).toEqual([]);
    redis.disconnect();
  });
});

describe('memory', () => {
  const cases = lockStoreConformance({ module: portsOf('memory-locks'), processes: 1 });
  for (const { name, run } of cases) test(name, run, LIMIT_MS);
});

/** What proves that the suite can fail: stores that are wrong, and the cases that say so; those that wait in vain for it come first. */
describe.concurrent('the suite rejects', () => {
  async function rejected(cases: readonly ConformanceCase[], names: readonly string[]): Promise<void> {
    await Promise.all(
      names.map(async (begin) => {
        const those = cases.filter(({ name }) => name.startsWith(`distributed lock: ${begin}`));
        expect(those, begin).toHaveLength(1);
        for (const { run } of those) await expect(run(), begin).rejects.toThrow(AssertionError);
      }),
    );
  }

  test('a store whose locks outlive their leases', { timeout: LIMIT_MS }, async () => {
    const subject = { module: portsOf('outlives-its-lease'), url: inject('redisUrl') };
    await rejected(lockStoreConformance(subject), [
      'when its process is killed',
      'when its process stands still',
      'when the processes that wait stand still',
    ]);
  });

  test('a client of Redis that does not connect again', { timeout: LIMIT_MS }, async () => {
    const subject = { module: portsOf('never-reconnects'), url: inject('redisUrl') };
    await rejected(redisLockConformance(subject), ['who waits, and whose connection is cut']);
  });

  const brokenInMemory: {
    readonly what: string;
    readonly ports: string;
    readonly cases: readonly string[];
  }[] = [
    { what: 'never wakes who waits', ports: 'never-wakes', cases: ['who is no longer renewed'] },
    {
      what: 'keeps the place of who has left',
      ports: 'never-leaves',
      cases: ['who has waited for long enough', 'when it is closed'],
    },
    {
      what: 'grants a lock twice',
      ports: 'grants-twice',
      cases: ['with it', 'who does not want to wait', 'who works for longer than the lease'],
    },
    { what: 'releases for anybody', ports: 'releases-for-anybody', cases: ['who is no longer renewed'] },
    { what: 'repeats its tokens', ports: 'repeats-tokens', cases: ['with it', 'who is no longer renewed'] },
    { what: 'renews nothing', ports: 'renews-nothing', cases: ['who works for longer than the lease'] },
    {
      what: 'gives way seldom',
      ports: 'gives-way-seldom',
      cases: ['each of 64 workers', 'who joins waits for at most 16 sections'],
    },
    { what: 'folds case', ports: 'folds-case', cases: ['keys are told apart'] },
    { what: 'keeps keys', ports: 'keeps-keys', cases: ['of 1000 keys'] },
  ];

  test.each(brokenInMemory)('a store that $what', { timeout: LIMIT_MS }, async ({ ports, cases }) => {
    await rejected(lockStoreConformance({ module: portsOf(ports), processes: 1 }), cases);
  });
});
