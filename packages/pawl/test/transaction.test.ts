import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { barrier, together } from '../../../test/barrier.ts';
import {
  done,
  lockRow,
  MisuseError,
  refused,
  retryOnConflict,
  type SqlPort,
  type SqlTransaction,
  StoreError,
  transact,
  transactWithRetry,
  withRowLock,
} from '../src/index.ts';
import { pauseMs } from '../src/transaction.ts';
import { atIsolation, sqlStores } from './stores.ts';
import { count, FAST_RETRY, onTickets, run, sql, store, ticketRow } from './tickets.ts';

// The real timer, which also tells what it was set to.
vi.mock('node:timers/promises', async (original) => {
  const timers = await original<typeof import('node:timers/promises')>();
  return { ...timers, setTimeout: vi.fn(timers.setTimeout) };
});

describe('the pause between two attempts', () => {
  const retry = { attempts: 9, backoffMs: 10, maxBackoffMs: 100, jitter: 0 };

  test('doubles up to its limit', () => {
    const pauses = [2, 3, 4, 5, 6, 7].map((attempt) => pauseMs(retry, attempt, 0));
    expect(pauses).toEqual([10, 20, 40, 80, 100, 100]);
  });

  test('leaves its jitter to chance, and is never longer for it', () => {
    const jittered = { ...retry, jitter: 0.5 };
    expect([0, 0.5, 1].map((chance) => pauseMs(jittered, 4, chance))).toEqual([40, 30, 20]);
    expect(pauseMs({ ...retry, jitter: 1 }, 4, 0.75)).toBe(10);
  });

  test('stays a number after as many attempts as one likes', () => {
    expect(pauseMs(retry, 5_000, 0)).toBe(100);
    expect(pauseMs({ ...retry, backoffMs: 0 }, 5_000, 0)).toBe(0);
  });

  test('comes before each attempt but the first', async () => {
    vi.mocked(sleep).mockClear();
    const short = { attempts: 5, backoffMs: 1, maxBackoffMs: 3, jitter: 0 };
    expect(await retryOnConflict(async () => refused('contended'), short)).toEqual(refused('contended'));
    expect(vi.mocked(sleep).mock.calls).toEqual([[1], [2], [3], [3]]);
  });

  test.each([
    { attempts: 0 },
    { attempts: 1.5 },
    { backoffMs: -1 },
    { backoffMs: Number.NaN },
    { backoffMs: Infinity },
    { maxBackoffMs: -1 },
    { maxBackoffMs: Number.NaN },
    { maxBackoffMs: 2 ** 31 },
    { jitter: -0.1 },
    { jitter: 1.1 },
    { jitter: Number.NaN },
  ])('%o is refused before anything runs', async (setting) => {
    const work = vi.fn(async () => done(undefined));
    await expect(retryOnConflict(work, { ...retry, ...setting })).rejects.toThrow(MisuseError);
    expect(work).not.toHaveBeenCalled();
  });
});

describe.each(sqlStores)('%s', (name) => {
  onTickets(name);

  describe('retry around the transaction', () => {
    test('a number of attempts that would never try is refused', async () => {
      for (const attempts of [0, -1, Number.NaN, 1.5]) {
        const retry = { ...FAST_RETRY, attempts };
        await expect(transactWithRetry(sql, async () => done(1), retry)).rejects.toThrow(MisuseError);
      }
    });

    test('it gives up after its attempts, and another refusal is final at once', async () => {
      const retry = { ...FAST_RETRY, attempts: 3 };
      let attempts = 0;
      const contended = async () => {
        attempts++;
        return refused('contended');
      };
      expect(await transactWithRetry(sql, contended, retry)).toEqual(refused('contended'));
      expect(attempts).toBe(3);
      const wrongState = async () => {
        attempts++;
        return refused('wrong-state');
      };
      expect(await transactWithRetry(sql, wrongState, retry)).toEqual(refused('wrong-state'));
      expect(attempts).toBe(4);
    });

    test('an outcome that is unknown, and an error that is no conflict, are never repeated', async () => {
      const failures = [
        new StoreError('CONNECTION_LOST', 'unknown', 'the answer to another store’s COMMIT was lost'),
        new StoreError('SERIALIZATION_FAILURE', 'unknown', 'nobody knows'),
        new StoreError('REJECTED', 'none', 'no'),
        new TypeError('a bug'),
      ];
      for (const failure of failures) {
        let attempts = 0;
        const attempt = transactWithRetry(sql, async () => {
          attempts++;
          throw failure;
        });
        await expect(attempt).rejects.toBe(failure);
        expect(attempts).toBe(1);
      }
    });

    /** Updates both tickets, each racer in another order, so that the first attempts are a deadlock. */
    async function lockBoth(transactions: number[], racer: number, transaction: SqlTransaction, met: Met) {
      const attempt = (transactions[racer] ?? 0) + 1;
      transactions[racer] = attempt;
      for (const id of racer === 0 ? [1, 2] : [2, 1]) {
        await run(transaction, 'UPDATE ticket SET version = version + 1 WHERE id = ?', id);
        if (attempt === 1) await met();
      }
      return done(undefined);
    }
    type Met = () => Promise<void>;

    test('without it, one of two that lock in opposite orders fails with a deadlock', async () => {
      const met = barrier(2);
      const results = await Promise.allSettled(
        [0, 1].map((racer) => transact(sql, (transaction) => lockBoth([0, 0], racer, transaction, met))),
      );
      const errors = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
      expect(errors).toMatchObject([{ code: 'DEADLOCK', effect: 'none' }]);
      expect(await ticketRow(1)).toMatchObject({ version: 1 });
      expect(await ticketRow(2)).toMatchObject({ version: 1 });
    });

    test('with it, both get through', async () => {
      const met = barrier(2);
      const transactions = [0, 0];
      const outcomes = await together(2, (racer) =>
        transactWithRetry(sql, (transaction) => lockBoth(transactions, racer, transaction, met)),
      );
      expect(count(outcomes, 'done')).toBe(2);
      expect(transactions.toSorted()).toEqual([1, 2]);
      expect(await ticketRow(1)).toMatchObject({ version: 2 });
      expect(await ticketRow(2)).toMatchObject({ version: 2 });
    });

    test('around a guard that has a transaction of its own, it does the same', async () => {
      const bothHoldOne = barrier(2);
      const attempts = [0, 0];
      const outcomes = await together(2, (racer) => {
        const lock = (id: number) => ({ table: 'ticket', key: { id }, columns: ['id'], waitMs: 10_000 });
        const [first, second] = racer === 0 ? [1, 2] : [2, 1];
        return retryOnConflict(() =>
          withRowLock(sql, lock(first), async (_row, transaction) => {
            attempts[racer] = (attempts[racer] ?? 0) + 1;
            if (attempts[racer] === 1) await bothHoldOne();
            await lockRow(transaction, lock(second));
            return done(undefined);
          }),
        );
      });
      expect(count(outcomes, 'done')).toBe(2);
      expect(attempts.toSorted()).toEqual([1, 2]);
    });

    /**
     * Each of two sells a ticket if none has been sold, and looks at both before: a write skew, which SERIALIZABLE
     * alone refuses. PostgreSQL does so at the COMMIT of the second, MySQL by a deadlock of its reads.
     */
    function sellIfNoneIsSold(atLeastOne: SqlPort, retry: number) {
      const bothHaveLooked = barrier(2);
      const bothHaveWritten = barrier(2);
      const attempts = [0, 0];
      return Promise.all(
        [0, 1].map((racer) =>
          transactWithRetry(
            atLeastOne,
            async (transaction) => {
              attempts[racer] = (attempts[racer] ?? 0) + 1;
              const first = attempts[racer] === 1;
              const { rows } = await run(transaction, `SELECT id FROM ticket WHERE status = 'sold'`);
              if (first) await bothHaveLooked();
              if (rows.length > 0) return refused('sold-out');
              await run(transaction, `UPDATE ticket SET status = 'sold' WHERE id = ?`, racer + 1);
              if (first && store.kind === 'postgres') await bothHaveWritten();
              return done(racer);
            },
            { ...FAST_RETRY, attempts: retry },
          ),
        ),
      );
    }

    test('at READ COMMITTED, two that look at each other’s row both sell', async () => {
      const outcomes = await sellIfNoneIsSold(sql, 5);
      expect(count(outcomes, 'done')).toBe(2);
    });

    test('at SERIALIZABLE one of them meets a conflict, and is refused when it looks again', async () => {
      const serializable = atIsolation(sql, 'SERIALIZABLE');
      const once = await sellIfNoneIsSold(serializable, 1);
      expect(once.map((one) => (one.outcome === 'refused' ? one.reason : one.outcome)).toSorted()).toEqual([
        'contended',
        'done',
      ]);
      await store.query(`UPDATE ticket SET status = 'free'`);
      const again = await sellIfNoneIsSold(serializable, 5);
      expect(again.map((one) => (one.outcome === 'refused' ? one.reason : one.outcome)).toSorted()).toEqual([
        'done',
        'sold-out',
      ]);
    });
  });
});
