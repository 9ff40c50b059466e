import { expect, inject, onTestFinished, test } from 'vitest';
import { startGuardian } from '../../packages/race-lab/src/cluster/guardian.ts';
import { newDatabase } from '../../test/stores.ts';
import { PLENTY } from '../src/groups/coupon/coupon.ts';
import { PER_SECOND } from '../src/groups/operations/measure.ts';
import { measureScale, wrongInScale } from '../src/groups/scale/index.ts';

test('the group scale has one and four processes, and as many are stored as were told', {
  timeout: 120_000,
}, async () => {
  const guardian = await startGuardian();
  onTestFinished(async () => void (await guardian.end()));
  const { signal } = new AbortController();
  const [postgres, mariadb] = await Promise.all([newDatabase(), newDatabase('mariadb')]);
  const servers = { redis: inject('redisUrl'), postgres, mariadb };
  const context = { servers, guardian, directory: '', rounds: 1, signal, progress: () => undefined };
  const { parts, ratios } = await measureScale(context, { roundMs: 60, shops: ['postgres'] });

  expect(parts.map(({ part, rows }) => [part, rows.map(({ row }) => row)])).toEqual([
    ['library, postgres', ['1 process', '4 processes']],
    ['library, mariadb', ['1 process', '4 processes']],
    ['shop, postgres', ['1 instance', '4 instances']],
  ]);
  for (const { row, wrong, firstError, figures } of parts.flatMap((part) => part.rows)) {
    expect({ row, wrong, firstError }).toEqual({ row, wrong: [], firstError: null });
    expect(figures[PER_SECOND]?.median, row).toBeGreaterThan(0);
  }
  expect(Object.keys(ratios)).toEqual(['scale-postgres', 'scale-mariadb', 'scale-shop-postgres']);
  for (const { value } of Object.values(ratios)) expect(value).toBeGreaterThan(0);
});

test('instances that told more than they stored, or stored more, are wrong', () => {
  const told = (done: number) => ({ outcomes: { done }, errors: 0 });
  expect(wrongInScale(told(2), { remaining: PLENTY - 2, issued: 2 })).toEqual([]);
  expect(wrongInScale(told(2), { remaining: PLENTY - 2 })).toEqual([]);
  expect(wrongInScale(told(2), { remaining: PLENTY - 1, issued: 2 })).toHaveLength(1);
  expect(wrongInScale(told(2), { remaining: PLENTY - 2, issued: 3 })).toHaveLength(1);
  expect(wrongInScale({ outcomes: { 'sold-out': 1 }, errors: 0 }, { remaining: PLENTY })).toEqual([
    'new members were told: sold-out',
  ]);
});
