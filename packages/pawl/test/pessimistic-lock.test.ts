import { beforeEach, describe, expect, test } from 'vitest';
import { barrier, together, until } from '../../../test/barrier.ts';
import {
  conditionalUpdate,
  done,
  lockAvailableRows,
  lockRow,
  MisuseError,
  type RowLock,
  refused,
  type SqlPort,
  type SqlSession,
  transactWithRetry,
  versionedUpdate,
  withRowLock,
} from '../src/index.ts';
import { SESSION_ID, sqlStores } from './stores.ts';
import { count, onTickets, RACERS, run, sql, store, TICKET, ticketRow } from './tickets.ts';

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

  describe('pessimistic lock', () => {
    const lock = { ...TICKET, columns: ['status'], waitMs: 10_000 } satisfies RowLock;
    const buy = (waitMs = 10_000, before = async (): Promise<void> => undefined) =>
      withRowLock(sql, { ...lock, waitMs }, async (row, transaction) => {
        if (row.status !== 'free') return refused('already-done');
        await before();
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return done(undefined);
      });

    test('50 racers look under the lock one after another: one buys', async () => {
      // Whoever is first stays until all others wait, or none might be there yet.
      const allOthersWait = () => until(async () => (await store.waitingForLocks()) === RACERS - 1, 5_000);
      const outcomes = await together(RACERS, () => buy(10_000, allOthersWait));
      expect(count(outcomes, 'done')).toBe(1);
      expect(outcomes.filter((one) => one.outcome === 'refused')).toEqual(
        Array(RACERS - 1).fill(refused('already-done')),
      );
    });

    test('it locks its own row and no other', async () => {
      await withRowLock(sql, lock, async () => {
        const other = { ...lock, key: { id: 2 }, waitMs: 0 };
        expect(await withRowLock(sql, other, async () => done('free'))).toEqual(done('free'));
        expect(await buy(0)).toEqual(refused('lock-timeout'));
        return done(undefined);
      });
    });

    test('with the status in the condition, a loser finds no row', async () => {
      await store.query(`UPDATE ticket SET status = 'sold'`);
      const locked = { ...lock, expect: { status: 'free' } };
      expect(await withRowLock(sql, locked, async () => done(undefined))).toEqual(refused('wrong-state'));
    });

    test('a racer that waited finds no row when the holder has changed the status', async () => {
      const locked = barrier(2);
      const commit = barrier(2);
      const free = { ...lock, expect: { status: 'free' } };
      const holder = withRowLock(sql, free, async (_row, transaction) => {
        await locked();
        await commit();
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return done(undefined);
      });
      await locked();
      const waiter = withRowLock(sql, free, async () => done(undefined));
      await until(async () => (await store.waitingForLocks()) === 1);
      await commit();
      expect(await holder).toEqual(done(undefined));
      expect(await waiter).toEqual(refused('wrong-state'));
    });

    test('a refusal inside rolls back what was written under the lock', async () => {
      const outcome = await withRowLock(sql, lock, async (_row, transaction) => {
        await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = 1`);
        return refused('declined');
      });
      expect(outcome).toEqual(refused('declined'));
      expect(await ticketRow()).toMatchObject({ status: 'free' });
    });
  });

  describe('the wait for a lock', () => {
    const lock = { ...TICKET, columns: ['status'] };

    const lockedElsewhere = async (id = 1) => {
      const holder = await store.connect();
      await holder.begin('READ COMMITTED');
      await holder.query('SELECT * FROM ticket WHERE id = ? FOR UPDATE', id);
      return holder;
    };

    const attempt = (waitMs: number, port = sql) =>
      withRowLock(port, { ...lock, waitMs }, async () => done(undefined));

    test.each([0, 50])('past a limit of %i ms it is refused, and holds nothing', async (waitMs) => {
      const holder = await lockedElsewhere();
      expect(await attempt(waitMs)).toEqual(refused('lock-timeout'));
      await holder.query('ROLLBACK');
      expect(await attempt(waitMs)).toEqual(done(undefined));
    });

    test('one that times out later, inside the work, is an error and not a refusal', async () => {
      await lockedElsewhere(2);
      const settings: Record<string, string> =
        store.kind === 'mysql' ? { innodb_lock_wait_timeout: '0' } : { lock_timeout: '50' };
      const late = withRowLock(
        store.open({ settings }),
        { ...lock, waitMs: 50 },
        async (_row, transaction) => {
          await run(transaction, 'UPDATE ticket SET version = 1 WHERE id = 2');
          return done(undefined);
        },
      );
      await expect(late).rejects.toMatchObject({ code: 'LOCK_TIMEOUT', effect: 'none' });
    });

    test('one that is not a whole number of milliseconds is refused', async () => {
      for (const waitMs of [-1, 0.5, Number.NaN]) {
        await expect(attempt(waitMs)).rejects.toThrow(MisuseError);
      }
    });

    /** How long the session waits for locks. */
    async function limits(session: SqlSession) {
      const text =
        store.kind === 'postgres'
          ? `SELECT current_setting('lock_timeout') AS row_lock`
          : 'SELECT @@SESSION.innodb_lock_wait_timeout AS row_lock, @@SESSION.lock_wait_timeout AS metadata';
      return (await run(session, text)).rows[0];
    }
    const id = async (session: SqlPort) => (await run(session, SESSION_ID[store.kind])).rows[0]?.id;

    test('inside the transaction the limit holds, or the twins below would prove nothing', async () => {
      const single = store.open({ connections: 1 });
      const before = await limits(single);
      await single.transaction(async (transaction) => {
        await transaction.execute(transaction.dialect.limitLockWait(3_000));
        expect(await limits(transaction)).toEqual(
          store.kind === 'postgres' ? { row_lock: '3s' } : { row_lock: '3', metadata: '3' },
        );
      });
      expect(await limits(single)).toEqual(before);
    });

    test('the limit is given back to the session with its transaction', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      expect(await attempt(3_000, single)).toEqual(done(undefined));
      expect(await limits(single)).toEqual(before);
      // Given back, and not merely gone with its connection.
      expect(await id(single)).toEqual(session);
    });

    test('it is given back after a time-out', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      await lockedElsewhere();
      expect(await attempt(50, single)).toEqual(refused('lock-timeout'));
      expect(await limits(single)).toEqual(before);
      expect(await id(single)).toEqual(session);
    });

    test('it is given back after a deadlock', async () => {
      const single = store.open({ connections: 1 });
      const [before, session] = [await limits(single), await id(single)];
      const other = await lockedElsewhere();
      // So that the other is not the victim: on MySQL it has written more, on PostgreSQL it looks for deadlocks later.
      await other.query(`INSERT INTO job VALUES (1, 'x'), (2, 'x'), (3, 'x')`);
      if (store.kind === 'postgres') await other.query(`SET deadlock_timeout = '1min'`);
      const victim = single.transaction(async (transaction) => {
        await run(transaction, 'UPDATE ticket SET version = 7 WHERE id = 2');
        const others = other.query('UPDATE ticket SET version = 8 WHERE id = 2');
        await until(async () => (await store.waitingForLocks()) === 1);
        await lockRow(transaction, { ...lock, waitMs: 10_000 }).finally(() => others);
      });
      await expect(victim).rejects.toMatchObject({ code: 'DEADLOCK', effect: 'none' });
      expect(await limits(single)).toEqual(before);
      expect(await id(single)).toEqual(session);
    });
  });

  describe('shared lock', () => {
    const share = { ...TICKET, columns: ['status'], mode: 'share', waitMs: 10_000 } satisfies RowLock;
    const sell = { ...TICKET, expect: { status: 'free' }, set: { status: 'sold' } };
    const holdUntil = (lock: RowLock, held: () => Promise<void>, end: () => Promise<void>) =>
      withRowLock(sql, lock, async (row) => {
        await held();
        await end();
        return done(row.status);
      });

    test('two share a row, which an exclusive lock would keep from the second', async () => {
      const bothHold = barrier(2);
      const outcomes = await together(2, () => holdUntil(share, bothHold, bothHold));
      expect(outcomes).toEqual([done('free'), done('free')]);

      const [held, end] = [barrier(2), barrier(2)];
      const exclusive = holdUntil({ ...share, mode: 'update' }, held, end);
      await held();
      const second = withRowLock(sql, { ...share, waitMs: 0 }, async () => done('shared'));
      expect(await second).toEqual(refused('lock-timeout'));
      await end();
      expect(await exclusive).toEqual(done('free'));
    });

    test('while it is shared, a writer waits, and nobody locks it for himself', async () => {
      const [held, end] = [barrier(3), barrier(3)];
      const sharers = together(2, () => holdUntil(share, held, end));
      await held();
      const exclusive = withRowLock(sql, { ...share, mode: 'update', waitMs: 0 }, async () => done('mine'));
      expect(await exclusive).toEqual(refused('lock-timeout'));
      const writer = conditionalUpdate(sql, sell);
      await until(async () => (await store.waitingForLocks()) === 1);
      await end();
      expect(await sharers).toEqual([done('free'), done('free')]);
      expect(await writer).toEqual(done(undefined));
    });

    test('without it, what was read is changed under the reader', async () => {
      const read = await sql.transaction(async (transaction) => {
        const before = (await run(transaction, 'SELECT status FROM ticket WHERE id = 1')).rows[0];
        expect(await conditionalUpdate(sql, sell)).toEqual(done(undefined));
        const after = (await run(transaction, 'SELECT status FROM ticket WHERE id = 1')).rows[0];
        return [before, after];
      });
      expect(read).toEqual([{ status: 'free' }, { status: 'sold' }]);
    });

    test('two sharers who both want to change it are a deadlock, which the retry gets through', async () => {
      const bothHold = barrier(2);
      const attempts = [0, 0];
      const outcomes = await together(2, (racer) =>
        transactWithRetry(sql, async (transaction) => {
          attempts[racer] = (attempts[racer] ?? 0) + 1;
          await lockRow(transaction, share);
          if (attempts[racer] === 1) await bothHold();
          await run(transaction, 'UPDATE ticket SET version = version + 1 WHERE id = 1');
          return done(undefined);
        }),
      );
      expect(count(outcomes, 'done')).toBe(2);
      // One gets through at once. The other may share the row again before the first has changed it, and meet a second one.
      expect(Math.min(...attempts)).toBe(1);
      expect(Math.max(...attempts)).toBeGreaterThan(1);
      expect(await ticketRow()).toMatchObject({ version: 2 });
    });
  });

  describe('lock that counts the version up', () => {
    const lock = { ...TICKET, columns: ['status', 'version'], waitMs: 10_000 } satisfies RowLock;
    const stale = { ...TICKET, version: { column: 'version', value: 0 }, set: { status: 'sold' } };

    test('without it, an optimistic reader does not notice that the row was locked', async () => {
      expect(await withRowLock(sql, lock, async () => done(undefined))).toEqual(done(undefined));
      expect(await versionedUpdate(sql, stale)).toEqual(done({ version: 1 }));
    });

    test('with it, he finds the row changed, although nothing else is', async () => {
      const forced = { ...lock, increment: 'version' };
      const row = await withRowLock(sql, forced, async (locked) => done(locked));
      expect(row).toEqual(done({ status: 'free', version: 1 }));
      expect(await versionedUpdate(sql, stale)).toEqual(refused('contended'));
      expect(await ticketRow()).toEqual({ status: 'free', version: 1, buyer: null });
      expect(await ticketRow(2)).toMatchObject({ version: 0 });
    });

    test('a refusal inside takes the count back', async () => {
      const forced = { ...lock, increment: 'version' };
      await withRowLock(sql, forced, async () => refused('declined'));
      expect(await ticketRow()).toMatchObject({ version: 0 });
    });

    test('a shared lock cannot', async () => {
      const shared = { ...lock, mode: 'share', increment: 'version' } satisfies RowLock;
      await expect(withRowLock(sql, shared, async () => done(undefined))).rejects.toThrow(MisuseError);
    });
  });

  describe('available rows', () => {
    const open = { table: 'job', expect: { status: 'open' }, columns: ['id'], orderBy: 'id', limit: 2 };
    const ids = (rows: readonly Readonly<Record<string, unknown>>[]) => rows.map(({ id }) => id);

    beforeEach(async () => {
      await store.query(
        `INSERT INTO job VALUES (5, 'open'), (4, 'open'), (3, 'open'), (2, 'done'), (1, 'open')`,
      );
    });

    test('without it, a second worker waits for the rows of the first', async () => {
      const text = `SELECT id FROM job WHERE status = 'open' ORDER BY id LIMIT 2 FOR UPDATE`;
      const first = await store.connect();
      await first.begin('READ COMMITTED');
      expect(ids((await first.query(text)).rows)).toEqual([1, 3]);
      const second = sql.transaction((transaction) => run(transaction, text));
      await until(async () => (await store.waitingForLocks()) === 1);
      await first.query('ROLLBACK');
      expect(ids((await second).rows)).toEqual([1, 3]);
    });

    test('two workers get rows of their own, in order and within the limit, and neither waits', async () => {
      const [first, second] = await sql.transaction(async (one) => {
        const mine = await lockAvailableRows(one, open);
        // Inside the first worker's transaction: if it had to wait, it would wait for ever.
        const others = await sql.transaction((two) => lockAvailableRows(two, open));
        return [mine, others];
      });
      expect(ids(first ?? [])).toEqual([1, 3]);
      expect(ids(second ?? [])).toEqual([4, 5]);
    });

    test('what is locked stays locked until the transaction ends', async () => {
      await sql.transaction(async (transaction) => {
        await lockAvailableRows(transaction, open);
        const one = { table: 'job', key: { id: 1 }, columns: ['id'], waitMs: 0 };
        expect(await withRowLock(sql, one, async () => done(undefined))).toEqual(refused('lock-timeout'));
        const third = await sql.transaction((two) => lockAvailableRows(two, { ...open, limit: 9 }));
        expect(ids(third)).toEqual([4, 5]);
      });
      const freed = await sql.transaction((transaction) => lockAvailableRows(transaction, open));
      expect(ids(freed)).toEqual([1, 3]);
    });

    test('a limit of no rows is refused', async () => {
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        const none = sql.transaction((transaction) => lockAvailableRows(transaction, { ...open, limit }));
        await expect(none).rejects.toThrow(MisuseError);
      }
    });
  });
});
