import { describe, expect, inject, test } from 'vitest';
import { newDatabase, thorough } from '../../test/stores.ts';
import { guarded } from '../src/groups/idempotency/contenders/guarded.ts';
import { contenders } from '../src/groups/idempotency/contenders.ts';
import { measureIdempotency, wrongOutcomes } from '../src/groups/idempotency/index.ts';
import { keyOf, RESULT_BYTES, resultOf } from '../src/groups/idempotency/result.ts';
import { askEach } from '../src/groups/operations/load.ts';
import { PER_SECOND } from '../src/groups/operations/measure.ts';

/** Looks, and stores when the work is done: nothing is kept from running beside it. */
function looksFirst() {
  const stored = new Map<string, string>();
  return guarded({
    async run(key, work) {
      const found = stored.get(key);
      if (found !== undefined) return found;
      const result = await work();
      stored.set(key, result);
      return result;
    },
    close: async () => undefined,
  });
}

/** Tells everybody who asks for a key the one promise of its work. */
function sharesWork() {
  const stored = new Map<string, Promise<string>>();
  return guarded({
    run(key, work) {
      const found = stored.get(key) ?? work();
      stored.set(key, found);
      return found;
    },
    close: async () => undefined,
  });
}

describe('many who ask with one key', () => {
  const raced = async (operation: ReturnType<typeof guarded>) => {
    const numbers = [1, 1, 1, 1, 2, 2, 2, 2];
    const told = await askEach(operation, { callers: 8, numbers });
    const again = await askEach(operation, { callers: 8, numbers });
    return wrongOutcomes(
      numbers.map((number, index) => ({ number, told: told[index] ?? '' })),
      again,
    );
  };

  test('a guard that looks first is reported as wrong: each of them runs the work', async () => {
    expect(await raced(looksFirst())).toEqual(['of 4 requests with one key 4 ran the work']);
  });

  test('a guard that lets one run it is right', async () => {
    expect(await raced(sharesWork())).toEqual([]);
  });

  test('a result of somebody else’s, an error, and a key that runs again are wrong', async () => {
    expect(wrongOutcomes([{ number: 1, told: 'ran' }], ['ran'])).toEqual([
      'of 1 requests after the work 1 were not replayed: ran',
    ]);
    const told = ['ran', 'in-progress', 'replayed', 'wrong result', 'Error: lost'];
    const some = told.map((word) => ({ number: 1, told: word }));
    expect(wrongOutcomes(some, ['replayed'])).toEqual(['it told: wrong result', 'it told: Error: lost']);
    const other = guarded({ run: async () => resultOf(keyOf(2)), close: async () => undefined });
    expect(await other.operate(1)).toBe('wrong result');
  });

  test('every result has the same size, whatever its key', () => {
    for (const number of [1, 4_711, 123_456_789]) {
      expect(Buffer.byteLength(resultOf(keyOf(number)))).toBe(RESULT_BYTES);
    }
  });
});

test('the group idempotency measures what it is asked for, and every row of ours is right', {
  timeout: 120_000,
}, async () => {
  const { signal } = new AbortController();
  const [postgres, mariadb] = await Promise.all([newDatabase(), newDatabase('mariadb')]);
  const servers = { redis: inject('redisUrl'), postgres, mariadb };
  const context = { servers, directory: '', rounds: 1, signal, progress: () => undefined };
  const few = [
    'load generator',
    'bare SET NX + SET',
    'bare GET',
    'node-idempotency',
    'postgres by hand',
    'mariadb by hand',
  ];
  const rows = thorough
    ? contenders.map(({ row }) => row)
    : [...few, 'pawl redis', 'pawl postgres grouped', 'pawl mariadb grouped'];
  const callers = thorough ? [64, 1] : [64];
  const { parts, ratios } = await measureIdempotency(
    context,
    { warmUpMs: 40, roundMs: 40, peers: true, callers },
    rows,
  );

  expect(parts.map(({ part }) => part)).toEqual(
    expect.arrayContaining(['fresh, 64 callers', 'replay, 64 callers']),
  );
  expect(new Set(parts.flatMap((part) => part.rows.map(({ row }) => row)))).toEqual(new Set(rows));
  const wrongByNature = ['express-idempotency', 'Powertools'];
  for (const { row, wrong, firstError, figures } of parts.flatMap((part) => part.rows)) {
    if (wrongByNature.includes(row)) continue;
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  expect(Object.keys(ratios)).toHaveLength(8);
});
