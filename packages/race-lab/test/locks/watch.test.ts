import { describe, expect, test } from 'vitest';
import { until } from '../../../../test/barrier.ts';
import { newDatabase } from '../../../../test/stores.ts';
import { watchLocks } from '../../src/locks/watch.ts';
import { session, view, waitOf } from './sessions.ts';

const LOCK_ROW = `SELECT id FROM publish WHERE payment_key = 'secret-key' AND id = 7 FOR UPDATE`;

describe.each(['postgres', 'mariadb'] as const)('watching %s', (store) => {
  async function publishes() {
    const url = await newDatabase(store);
    const owner = await session(url);
    await owner.run('CREATE TABLE publish (id int PRIMARY KEY, payment_key varchar(20))');
    await owner.run(`INSERT INTO publish VALUES (7, 'secret-key')`);
    return url;
  }

  test('a wait is in the report, without the values of its statement', async () => {
    const url = await publishes();
    const [holder, waiter, locks] = [await session(url), await session(url), await view(url)];
    const watch = await watchLocks(url);
    await holder.run('BEGIN');
    await holder.run(LOCK_ROW);
    const waiting = waiter.run(LOCK_ROW);
    // What another view sees for long enough, the watch has had the time to see too.
    const first = await waitOf(locks, waiter);
    await until(async () => (await waitOf(locks, waiter)).waitedMs > first.waitedMs + 500);
    await holder.run('COMMIT');
    await waiting;

    const report = await watch.stop();

    expect(report).toMatchObject({
      seen: 1,
      mostAtOnce: 1,
      examples: [
        {
          waiter: 'SELECT id FROM publish WHERE payment_key = ? AND id = ? FOR UPDATE',
          holder: null,
          holderIdleInTransaction: true,
          table: 'publish',
          index: store === 'mariadb' ? 'PRIMARY' : null,
        },
      ],
      brokenBecause: null,
    });
    expect(report.samples).toBeGreaterThan(1);
    expect(report.longestMs).toBe(report.examples[0]?.waitedMs);
    expect(report.server === null).toBe(store === 'postgres');
    if (report.server !== null) {
      expect(report.server.waits).toBeGreaterThanOrEqual(1);
      expect(report.server.waitedMs).toBeGreaterThanOrEqual(report.longestMs ?? Number.NaN);
    }
    expect(JSON.stringify(report)).not.toContain('secret-key');
    expect(await watch.stop()).toBe(report);
  });

  test('where nobody waits nothing is seen', async () => {
    const watch = await watchLocks(await publishes());
    expect(await watch.stop()).toMatchObject({ seen: 0, longestMs: null, examples: [], brokenBecause: null });
  });

  test('a watch whose connection is ended says so in its report, and fails nobody', async () => {
    const url = await publishes();
    const watch = await watchLocks(url);
    const administrator = await session(url);
    const others =
      store === 'postgres'
        ? `SELECT pid AS id FROM pg_stat_activity WHERE application_name = 'race-lab locks' AND datname = current_database()`
        : `SELECT ID AS id FROM information_schema.PROCESSLIST
            WHERE DB = DATABASE() AND ID <> CONNECTION_ID() ORDER BY ID DESC LIMIT 1`;
    const [{ id } = {}] = await administrator.run(others);
    await administrator.run(store === 'postgres' ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`);
    await until(async () => (await administrator.run(others))[0]?.id !== id);
    expect((await watch.stop()).brokenBecause).toContain('the connection that watches the locks was lost');
  });
});

test('a database that cannot be watched is a sentence in the report', async () => {
  const watch = await watchLocks('mysql://lab:secret@127.0.0.1:1/x');
  const report = await watch.stop();
  expect(report).toMatchObject({ samples: 0, seen: 0, longestMs: null, server: null });
  expect(report.brokenBecause).toContain('cannot connect to mysql://127.0.0.1:1/x');
});
