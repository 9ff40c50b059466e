import { expect, inject, test } from 'vitest';
import { newDatabase } from '../../test/stores.ts';
import type { GroupContext } from '../src/groups/group.ts';
import { growth, measureGrowth } from '../src/groups/growth/index.ts';
import { PER_SECOND } from '../src/groups/operations/measure.ts';

const RATIOS = ['growth-postgres-64', 'growth-postgres-1', 'growth-mariadb-64', 'growth-mariadb-1'];

test('the group growth fills its tables, and issues from a small and a large one', {
  timeout: 120_000,
}, async () => {
  const { signal } = new AbortController();
  const [postgres, mariadb] = await Promise.all([newDatabase(), newDatabase('mariadb')]);
  const servers = { redis: inject('redisUrl'), postgres, mariadb };
  const context = { servers, directory: '', rounds: 1, signal, progress: () => undefined };
  const scale = { roundMs: 40, issued: { small: 1_000, large: 30_000 } };
  const { parts, ratios } = await measureGrowth(context, scale);

  expect(parts).toHaveLength(4);
  for (const { row, wrong, firstError, figures } of parts.flatMap((part) => part.rows)) {
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  expect(Object.keys(ratios)).toEqual(RATIOS);
  for (const { value } of Object.values(ratios)) expect(value).toBeGreaterThan(0);
});

test('a short run leaves it out, and says so', async () => {
  const { parts, ratios } = await growth({ quick: true } as GroupContext);
  expect(parts).toEqual([]);
  expect(Object.entries(ratios).map(([name, { holds }]) => [name, holds])).toEqual(
    RATIOS.map((name) => [name, null]),
  );
});
