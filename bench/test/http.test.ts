import { expect, inject, test } from 'vitest';
import { measureHttp } from '../src/groups/http/index.ts';
import { storeNames } from '../src/groups/http/subjects.ts';

/* That they are measured, and right; how fast anything is depends on what else the machine does. */

test('the group http measures what it is asked for, and every row is right', {
  timeout: 60_000,
}, async () => {
  const { signal } = new AbortController();
  const servers = {
    redis: inject('redisUrl'),
    postgres: inject('postgresUrl'),
    mariadb: inject('mariadbUrl'),
  };
  const context = { servers, directory: '', rounds: 1, signal, progress: () => undefined };
  const rows = [
    ...storeNames.map((store) => `express, ${store}`),
    'fastify, redis',
    'hono, redis',
    'nestjs, redis',
  ];
  const { parts, ratios } = await measureHttp(context, { requests: 48, warmUp: 48 }, rows);
  expect(parts.map(({ part }) => part)).toEqual(['16 callers', '1 caller']);
  for (const part of parts) {
    expect(part.rows.map(({ row }) => row).toSorted()).toEqual(rows.toSorted());
    for (const { row, wrong, figures } of part.rows) {
      expect({ row, wrong }).toEqual({ row, wrong: [] });
      expect(figures['guarded ms']?.median, row).toBeGreaterThan(0);
    }
  }
  // On Redis the ratio is shown, and none is demanded.
  const onDatabases = rows.filter((row) => !row.endsWith('redis'));
  expect(Object.keys(ratios)).toHaveLength(2 * onDatabases.length);
});
