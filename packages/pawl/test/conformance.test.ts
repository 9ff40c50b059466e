import { AssertionError } from 'node:assert';
import { describe, expect, inject, test } from 'vitest';
import { newDatabase, newRedis, type SqlStore, thorough } from '../../../test/stores.ts';
import {
  type ConformanceCase,
  idempotencyStoreConformance,
  redisConformance,
  sqlConformance,
} from '../src/conformance/index.ts';
import { addressOf, openSql } from '../src/conformance/open.ts';

const LIMIT_MS = 120_000;
/** On the drivers alone; on what stands upon them the same is seen less often. */
const TRIALS = thorough ? 100 : 10;
const FEWER_TRIALS = thorough ? 10 : 3;
/**
 * What asks of a port only that it runs single statements, and of a database only its language: on what stands upon the drivers, and on
 * a MariaDB whose REPEATABLE READ is another, it is the same over again.
 */
const OF_THE_DRIVERS = /^(store|leased key): /;

const portsOf = (name: string) => new URL(`./ports/${name}.ts`, import.meta.url);

const adapters: { name: string; ports: string; on: SqlStore; trials: number; driver?: true }[] = [
  { name: 'pg', ports: 'pg', on: 'postgres', trials: TRIALS, driver: true },
  { name: 'mysql2', ports: 'mysql2', on: 'mariadb', trials: TRIALS, driver: true },
  { name: 'kysely on pg', ports: 'kysely-pg', on: 'postgres', trials: FEWER_TRIALS },
  { name: 'kysely on mysql2', ports: 'kysely-mysql2', on: 'mariadb', trials: FEWER_TRIALS },
  { name: 'mysql2 with snapshot isolation', ports: 'mysql2', on: 'mariadb-snapshot', trials: FEWER_TRIALS },
];

for (const { name, ports, on, trials, driver = thorough } of adapters) {
  describe(name, async () => {
    const url = await newDatabase(on);
    for (const { name, run } of sqlConformance({ module: portsOf(ports), url, trials })) {
      if (driver || !OF_THE_DRIVERS.test(name)) test(name, run, LIMIT_MS);
    }

    test('nothing is left behind', async () => {
      const { sql, close } = await openSql(portsOf(ports).href, { ...addressOf(url), connections: 1 });
      const here = on === 'postgres' ? 'current_schema()' : 'DATABASE()';
      const left = `SELECT table_name FROM information_schema.tables WHERE table_schema = ${here}`;
      expect((await sql.execute({ text: left, values: [] })).rows).toEqual([]);
      await close();
    });
  });
}

describe.each([
  { name: 'ioredis', trials: TRIALS },
  { name: 'node-redis', trials: FEWER_TRIALS },
])('$name', ({ name, trials }) => {
  const options = { module: portsOf(name), url: inject('redisUrl'), trials };
  for (const { name, run } of redisConformance(options)) test(name, run, LIMIT_MS);

  test('nothing is left behind', async () => {
    const { redis } = newRedis();
    await redis.connect();
    expect(await redis.keys('pawl-c*')).toEqual([]);
    redis.disconnect();
  });
});

describe('memory', () => {
  const options = { module: portsOf('memory'), processes: 1, trials: TRIALS } as const;
  for (const { name, run } of idempotencyStoreConformance(options)) test(name, run, LIMIT_MS);
});

describe.each(['postgres', 'mariadb'] as const)(
  'a store whose callers share transactions, on %s',
  async (on) => {
    const options = { module: portsOf('grouped-store'), url: await newDatabase(on), trials: FEWER_TRIALS };
    for (const { name, run } of idempotencyStoreConformance(options)) test(name, run, LIMIT_MS);
  },
);

/** What proves that the suite can fail: adapters and stores that are wrong, and the cases that say so. */
describe(
  'the suite rejects',
  () => {
    async function rejected(cases: readonly ConformanceCase[], names: readonly string[]): Promise<void> {
      for (const begin of names) {
        const those = cases.filter(({ name }) => name.startsWith(begin));
        expect(those, begin).toHaveLength(1);
        for (const { run } of those) await expect(run(), begin).rejects.toThrow(AssertionError);
      }
    }

    const sqlCases = async (ports: string, on: SqlStore) =>
      sqlConformance({ module: portsOf(ports), url: await newDatabase(on) });
    const storeCases = (ports: string) =>
      idempotencyStoreConformance({ module: portsOf(ports), processes: 1 });

    test('a port that commits what failed', async () => {
      await rejected(await sqlCases('keeps-what-failed', 'postgres'), [
        'SQL port: a transaction commits what its work has done, and rolls back',
        'conditional update: a racer that waits for one that rolls back',
        'row lock: a racer that waits for one that rolls back',
        'leased key, completed in a transaction: what a process had bought that was stopped',
        'transactional key: when the first rolls back',
      ]);
    });

    test('a port that sends again what may have been done', async () => {
      await rejected(await sqlCases('sends-again', 'postgres'), [
        'SQL port: a COMMIT whose answer is lost',
        'SQL port: a COMMIT that is lost on its way',
        'SQL port: a statement whose answer is lost',
        'conditional update: a COMMIT whose answer is lost',
      ]);
    });

    test('a port that reports changed rows, and commits the rest of what failed', async () => {
      await rejected(await sqlCases('changed-rows', 'mariadb'), [
        'SQL port: an update reports the rows that it found',
        'SQL port: a lock that is not granted within the wait limit',
        'SQL port: a COMMIT after a failure that was swallowed',
      ]);
    });

    test('a Redis client that sends again what may have been done', async () => {
      const cases = redisConformance({ module: portsOf('ioredis-defaults'), url: inject('redisUrl') });
      await rejected(cases, [
        'Redis port: an error reply is told by its code',
        'Redis port: a command whose answer is lost',
        'Redis port: a SET NX whose answer is lost',
      ]);
    });

    test('a store that completes for anybody', async () => {
      await rejected(storeCases('completes-for-anybody'), [
        'store: nobody but its owner',
        'leased key: a late completion is unknown while the successor is at work',
      ]);
    });

    test('a store that looks before it claims', async () => {
      await rejected(storeCases('looks-then-claims'), [
        'store: of 20 that claim a record at once',
        'leased key: 50 identical keys in one process run a handler of 50 ms once',
      ]);
    });
  },
  LIMIT_MS,
);
