import { expect, inject, test } from 'vitest';
import { newDatabase, thorough } from '../../test/stores.ts';
import { askEach } from '../src/groups/operations/load.ts';
import { COMMITS, PER_SECOND } from '../src/groups/operations/measure.ts';
import type { Operation } from '../src/groups/operations/operation.ts';
import { openGateway } from '../src/groups/purchase/contenders/gateway.ts';
import { contenders } from '../src/groups/purchase/contenders.ts';
import { measurePurchase, wrongInRace } from '../src/groups/purchase/index.ts';
import { DONE, DUPLICATE } from '../src/groups/purchase/purchase.ts';

/** Looks whether an order is paid, and claims it before it pays, or not. */
function purchases({ claims }: { claims: boolean }): Operation {
  const taken = new Set<number>();
  const gateway = openGateway();
  return {
    async operate(order) {
      if (taken.has(order)) return DUPLICATE;
      if (claims) taken.add(order);
      await gateway.charge(order);
      taken.add(order);
      return DONE;
    },
    close: async () => undefined,
  };
}

async function raced(operation: Operation): Promise<string[]> {
  const numbers = [1, 1, 1, 2, 2, 2];
  const told = await askEach(operation, { callers: 6, numbers });
  return wrongInRace(numbers.map((order, index) => ({ order, told: told[index] ?? '' })));
}

test('a purchase that claims nothing before it pays is reported as wrong', async () => {
  expect(await raced(purchases({ claims: false }))).toEqual(['it told: Error: charged twice']);
});

test('a purchase that claims its order first is right', async () => {
  expect(await raced(purchases({ claims: true }))).toEqual([]);
});

test('an order that nobody, or more than one, has paid is wrong', () => {
  const asked = [DONE, DONE].map((told) => ({ order: 1, told }));
  expect(wrongInRace(asked)).toEqual(['of 2 requests for one order 2 paid it']);
  expect(wrongInRace([{ order: 1, told: DUPLICATE }])).toEqual(['of 1 requests for one order 0 paid it']);
});

test('the group purchase measures what it is asked for, and every row is right', {
  timeout: 120_000,
}, async () => {
  const { signal } = new AbortController();
  const [postgres, mariadb] = await Promise.all([newDatabase(), newDatabase('mariadb')]);
  const servers = { redis: inject('redisUrl'), postgres, mariadb };
  const context = { servers, directory: '', rounds: 1, signal, progress: () => undefined };
  const few = [
    'load generator',
    'postgres 2 statements',
    'mariadb 3 statements',
    'postgres 3 statements',
    'mariadb lock held',
  ];
  const rows = thorough
    ? contenders.map(({ row }) => row)
    : [...few, 'pawl postgres grouped', 'pawl mariadb grouped'];
  const { parts, ratios } = await measurePurchase(context, { warmUpMs: 40, roundMs: 40, peers: true }, rows);

  expect(new Set(parts.flatMap((part) => part.rows.map(({ row }) => row)))).toEqual(new Set(rows));
  for (const { row, wrong, firstError, figures } of parts.flatMap((part) => part.rows)) {
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  const busy = parts.find(({ part }) => part === 'postgres, 64 callers');
  const commitsOf = (row: string) => busy?.rows.find((one) => one.row === row)?.figures[COMMITS]?.median;
  // Others of the run may commit at the same time.
  expect(commitsOf('postgres 2 statements')).toBeGreaterThanOrEqual(2);
  expect(commitsOf('pawl postgres grouped')).toBeLessThan(1);
  expect(Object.keys(ratios).toSorted()).toEqual([
    'durable-purchase-dbos',
    'durable-purchase-mariadb',
    'durable-purchase-mariadb-latency',
    'durable-purchase-postgres',
    'durable-purchase-postgres-latency',
  ]);
});
