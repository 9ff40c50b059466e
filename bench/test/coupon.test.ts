import { describe, expect, inject, onTestFinished, test } from 'vitest';
import { newDatabase, thorough } from '../../test/stores.ts';
import { openSqlBooks, wrongInSale } from '../src/groups/coupon/books.ts';
import { issueAlone, redisLock } from '../src/groups/coupon/contenders/redis-lock.ts';
import { contenders } from '../src/groups/coupon/contenders.ts';
import { measureCoupon, measureIssues } from '../src/groups/coupon/index.ts';
import { openDatabase } from '../src/groups/operations/contenders/database.ts';
import { askEach, drive } from '../src/groups/operations/load.ts';
import type { LoadOrder } from '../src/groups/operations/load-messages.ts';
import type { LoadProcess } from '../src/groups/operations/load-process.ts';
import { COMMITS, PER_SECOND, ROUND_TRIPS } from '../src/groups/operations/measure.ts';
import type { Operation } from '../src/groups/operations/operation.ts';
import type { ServerUrls } from '../src/servers.ts';

async function servers(): Promise<ServerUrls> {
  const [postgres, mariadb] = await Promise.all([newDatabase(), newDatabase('mariadb')]);
  return { redis: inject('redisUrl'), postgres, mariadb };
}

/** A load in this process. */
function loadOf(operation: Operation): Pick<LoadProcess, 'carryOut'> {
  return {
    carryOut: async (given) => {
      const order: LoadOrder = given;
      if (order.kind === 'drive') return (await drive(operation, order)) as never;
      if (order.kind === 'each') return (await askEach(operation, order)) as never;
      throw new TypeError(`not asked for: ${order.kind}`);
    },
  };
}

describe('a sale', () => {
  const told = (...words: [member: number, told: string][]) =>
    words.map(([member, word]) => ({ member, told: word }));
  const right = told([1, 'already-issued'], [1, 'done'], [2, 'sold-out'], [2, 'sold-out']);

  test('is right where everybody is told what is so', () => {
    expect(wrongInSale(right, 1, { remaining: 0, issued: 1 })).toEqual([]);
  });

  test.each([
    ['sold too many', right, { remaining: 0, issued: 2 }, 'of a stock of 1 it issued 2'],
    ['has some left', right, { remaining: 1, issued: 1 }, 'sold out, it has 1 left'],
    [
      'told a member twice that he has one',
      told([1, 'done'], [1, 'done'], [2, 'sold-out']),
      { remaining: 0, issued: 1 },
      'member 1 was told: done, done',
    ],
    [
      'told a member who has one that it is sold out',
      told([1, 'done'], [1, 'sold-out'], [2, 'sold-out']),
      { remaining: 0, issued: 1 },
      'member 1 was told: done, sold-out',
    ],
    [
      'told a member who has none that he has one already',
      told([1, 'done'], [1, 'already-issued'], [2, 'already-issued']),
      { remaining: 0, issued: 1 },
      'member 2 was told: already-issued',
    ],
    [
      'answered with an error',
      told([1, 'done'], [2, 'Error: lost']),
      { remaining: 0, issued: 1 },
      'member 2 was told: Error: lost',
    ],
  ])('is wrong where it %s', (_, asked, sold, sentence) => {
    expect(wrongInSale(asked, 1, sold)).toContain(sentence);
  });
});

describe('a transaction that relies on being alone', () => {
  const measured = async (operation: Operation, urls: ServerUrls) => {
    onTestFinished(() => operation.close());
    const books = await openSqlBooks(urls.postgres);
    const issuing = { spec: { row: 'row', tells: true }, load: loadOf(operation), books };
    return measureIssues(issuing, 16, 50, { first: true, roundTrips: null, servers: urls });
  };

  test('without its lock it is reported as wrong: it sells more than there are', async () => {
    const urls = await servers();
    const database = openDatabase('postgres', urls);
    const alone = { operate: (member: number) => issueAlone(database, member), close: database.close };
    const { wrong } = await measured(alone, urls);
    expect(wrong).toContainEqual(expect.stringMatching(/^of a stock of 40 it issued \d+$/));
  });

  test('with its lock it is right', async () => {
    const urls = await servers();
    const { wrong, firstError } = await measured(await redisLock('postgres')(urls), urls);
    expect({ wrong, firstError }).toEqual({ wrong: [], firstError: null });
  });
});

test('the group coupon measures what it is asked for, every row is right, and what a row costs is counted', {
  timeout: 120_000,
}, async () => {
  const { signal } = new AbortController();
  const context = { servers: await servers(), directory: '', rounds: 1, signal, progress: () => undefined };
  const few = ['redis counter', 'postgres one statement', 'postgres FOR UPDATE', 'mariadb insert + update'];
  const rows = thorough
    ? contenders.map(({ row }) => row)
    : ['load generator', ...few, 'pawl postgres', 'pawl mariadb'];
  const { parts, ratios } = await measureCoupon(context, { roundMs: 50, peers: true }, rows);

  expect(parts.map(({ part }) => part)).toEqual([
    'postgres, 64 callers',
    'mariadb, 64 callers',
    '512 callers',
    '1 caller',
  ]);
  expect(new Set(parts.flatMap((part) => part.rows.map(({ row }) => row)))).toEqual(new Set(rows));
  for (const { row, wrong, firstError, figures } of parts.flatMap((part) => part.rows)) {
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  const figuresOf = (row: string) => parts[0]?.rows.find((one) => one.row === row)?.figures;
  // Begin, lock, look, update, insert, commit.
  expect(figuresOf('postgres FOR UPDATE')?.[ROUND_TRIPS]?.median).toBeCloseTo(6, 1);
  // Others of the run may commit at the same time.
  expect(figuresOf('postgres FOR UPDATE')?.[COMMITS]?.median).toBeGreaterThanOrEqual(1);
  expect(figuresOf('pawl postgres')?.[ROUND_TRIPS]?.median).toBeLessThan(1);
  expect(Object.keys(ratios).toSorted()).toEqual([
    'hot-coupon-512-mariadb',
    'hot-coupon-512-postgres',
    'hot-coupon-mariadb',
    'hot-coupon-postgres',
  ]);
});
