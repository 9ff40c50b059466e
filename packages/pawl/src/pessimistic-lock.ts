import { MisuseError, StoreError } from './errors.ts';
import { type Done, done, type Refused, refused, type Settled } from './outcome.ts';
import type { Columns, Row, RowRef, SqlPort, SqlTransaction } from './ports.ts';
import { transact } from './transaction.ts';

export interface RowLock extends RowRef {
  /** The columns to read under the lock. */
  readonly columns: readonly string[];
  /**
   * What the row must hold to be locked at all. Whoever finds it otherwise gets no row and holds no lock.
   * Index these columns together with the key, where the database locks what it scans.
   */
  readonly expect?: Columns;
  /** How long to wait for another holder, in milliseconds; 0 does not wait. */
  readonly waitMs: number;
}

/**
 * Locks one row (`FOR UPDATE`) until the transaction ends, and reads it: what was read stays true until then.
 *
 * `wrong-state`: there is no such row, or it does not hold `expect`; nothing is locked. The wait limit holds
 * for the later statements of the transaction too.
 *
 * Keep the transaction short, and never wait for the network in it: everybody else waits with a connection
 * each.
 *
 * Cost: two statements (one with `waitMs: 0`).
 *
 * @throws StoreError  `LOCK_TIMEOUT`: not granted within `waitMs`. The transaction is of no further use.
 */
export async function lockRow(
  transaction: SqlTransaction,
  lock: RowLock,
): Promise<Done<Row> | Refused<'wrong-state'>> {
  const { dialect } = transaction;
  if (!Number.isInteger(lock.waitMs) || lock.waitMs < 0) {
    throw new MisuseError(`waitMs must be a whole number ≥ 0, got ${lock.waitMs}`);
  }
  const noWait = lock.waitMs === 0;
  if (!noWait) await transaction.execute(dialect.limitLockWait(lock.waitMs));
  const statement = dialect.lockRow({
    table: lock.table,
    key: lock.key,
    expect: lock.expect ?? {},
    columns: lock.columns,
    noWait,
  });
  const { rows } = await transaction.execute(statement);
  return rows[0] === undefined ? refused('wrong-state') : done(rows[0]);
}

/**
 * Runs `work` in a transaction that holds the row's lock, and commits if it was `done`; else rolls back.
 *
 * `lock-timeout`: the lock was not granted within `waitMs`, and `work` did not run.
 *
 * @throws StoreError  Also a `LOCK_TIMEOUT` of a statement of `work`.
 */
export async function withRowLock<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  lock: RowLock,
  work: (row: Row, transaction: Transaction) => Promise<Result>,
): Promise<Result | Refused<'wrong-state' | 'lock-timeout'>> {
  return transact<Transaction, Result | Refused<'wrong-state' | 'lock-timeout'>>(sql, async (transaction) => {
    const locked = await lockRow(transaction, lock).catch((error: unknown) => {
      // Of this lock alone: a later statement of `work` may time out after it has had an effect elsewhere.
      if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return refused('lock-timeout');
      throw error;
    });
    return locked.outcome === 'done' ? work(locked.value, transaction) : locked;
  });
}
