import { requireLimit } from './columns.ts';
import { MisuseError, StoreError } from './errors.ts';
import { withinWait } from './lock-wait.ts';
import { observed, type Seen } from './observe.ts';
import { type Done, done, type Refused, refused, type Settled } from './outcome.ts';
import type { Columns, LockMode, Row, RowRef, SqlPort, SqlTransaction } from './ports.ts';
import { transact } from './transaction.ts';
import { inTypeOf, type Version, wholeNumber } from './version.ts';

const LOCK = { guard: 'pessimistic-lock', step: 'lock' } as const;
const LOCK_AVAILABLE = { guard: 'pessimistic-lock', step: 'lock-available' } as const;
const RUN = { guard: 'pessimistic-lock', step: 'run' } as const;

export interface RowLock extends RowRef {
  /** The columns to read under the lock. */
  readonly columns: readonly string[];
  /**
   * What the row must hold. Whoever finds it otherwise gets no row.
   */
  readonly expect?: Columns;
  /**
   * `update` (the default) keeps everybody else from locking or changing the row. `share` lets others share it, and
   * keeps everybody from changing it: two sharers who then both want to change it are a deadlock.
   */
  readonly mode?: LockMode;
  /**
   * A column to count up by one as soon as the row is locked: the version, so that whoever read the row without a lock
   * finds it changed, also when nothing else is.
   */
  readonly increment?: string;
  /**
   * How long to wait for another holder, in milliseconds; InnoDB rounds up to whole seconds. 0 does not wait, but on
   * MySQL 8 for who changes the table itself.
   */
  readonly waitMs: number;
}

/**
 * Locks one row (`FOR UPDATE`, or `FOR SHARE`) until the transaction ends, and reads it: what was read stays true until
 * then.
 *
 * `wrong-state`: there is no such row, or it does not hold `expect`. It is not locked then, but on MySQL a row that its
 * key names and that does not hold `expect` stays locked until the transaction ends; so end it.
 *
 * Keep the transaction short, and never wait for the network in it: everybody else waits with a connection
 * each.
 *
 * Cost: three statements (one with `waitMs: 0`), and one for `increment`.
 *
 * @throws StoreError  `LOCK_TIMEOUT`: not granted within `waitMs`. `DEADLOCK`. The transaction is of no further use.
 * @see Jakarta Persistence, "Lock Modes", on PESSIMISTIC_READ, PESSIMISTIC_WRITE and PESSIMISTIC_FORCE_INCREMENT
 */
export function lockRow(
  transaction: SqlTransaction,
  lock: RowLock,
): Promise<Done<Row> | Refused<'wrong-state'>> {
  return observed(LOCK, transaction.dialect.name, lockedRow, transaction, lock);
}

async function lockedRow(
  transaction: SqlTransaction,
  lock: RowLock,
): Promise<Done<Row> | Refused<'wrong-state'>> {
  const { mode = 'update', increment, expect = {}, table, key } = lock;
  if (!Number.isInteger(lock.waitMs) || lock.waitMs < 0) {
    throw new MisuseError(`waitMs must be a whole number ≥ 0, got ${lock.waitMs}`);
  }
  if (mode === 'share' && increment !== undefined) {
    throw new MisuseError('a shared lock changes nothing, so it cannot count a version up');
  }
  const noWait = lock.waitMs === 0;
  const statement = transaction.dialect.lockRow({ table, key, expect, columns: lock.columns, mode, noWait });
  const locked = () => transaction.execute(statement);
  const { rows } = await (noWait ? locked() : withinWait(transaction, lock.waitMs, locked));
  const [row] = rows;
  if (row === undefined) return refused('wrong-state');
  if (increment === undefined) return done(row);
  await transaction.execute(
    transaction.dialect.conditionalUpdate({ table, key, expect: {}, set: {}, increment }),
  );
  if (!(increment in row)) return done(row);
  const value = row[increment] as Version;
  return done({ ...row, [increment]: inTypeOf(value, wholeNumber(increment, value) + 1n) });
}

export interface AvailableRows {
  readonly table: string;
  /** What the rows must hold. Index these columns, or the database looks at, and may lock, all the others too. */
  readonly expect: Columns;
  readonly columns: readonly string[];
  /** The column that says which come first. */
  readonly orderBy: string;
  /** Most rows to lock, at least 1. */
  readonly limit: number;
}

/**
 * Locks the first rows that hold `expect` and that nobody else has locked (`SKIP LOCKED`), until the transaction ends:
 * several workers share a queue without waiting for each other. It sees no queue that is whole, so nothing may be
 * concluded from a row that is not there. Row locks are skipped; who changes the table itself (ALTER TABLE) is waited for,
 * as long as the session allows.
 *
 * Cost: one statement.
 *
 * @throws StoreError
 */
export function lockAvailableRows(transaction: SqlTransaction, rows: AvailableRows): Promise<readonly Row[]> {
  return observed(LOCK_AVAILABLE, transaction.dialect.name, lockedAvailableRows, transaction, rows);
}

async function lockedAvailableRows(
  transaction: SqlTransaction,
  rows: AvailableRows,
): Promise<readonly Row[]> {
  requireLimit(rows.limit);
  const locked = await transaction.execute(transaction.dialect.lockAvailableRows(rows));
  return locked.rows;
}

/**
 * Runs `work` in a transaction that holds the row's lock, and commits if it was `done`; else rolls back.
 *
 * `lock-timeout`: the lock was not granted within `waitMs`, and `work` did not run.
 *
 * @throws StoreError  Also a `LOCK_TIMEOUT` of a statement of `work`.
 */
export function withRowLock<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  lock: RowLock,
  work: (row: Row, transaction: Transaction) => Promise<Result>,
): Promise<Result | Refused<'wrong-state' | 'lock-timeout'>> {
  return observed(RUN, sql.dialect.name, underRowLock<Transaction, Result>, sql, { lock, work });
}

interface LockedWork<Transaction, Result> {
  readonly lock: RowLock;
  readonly work: (row: Row, transaction: Transaction) => Promise<Result>;
}

async function underRowLock<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  { lock, work }: LockedWork<Transaction, Result>,
  seen: Seen | undefined,
): Promise<Result | Refused<'wrong-state' | 'lock-timeout'>> {
  return transact<Transaction, Result | Refused<'wrong-state' | 'lock-timeout'>>(sql, async (transaction) => {
    const locked = await lockedRow(transaction, lock).catch((error: unknown) => {
      // Of this lock alone: a later statement of `work` may time out after it has had an effect elsewhere.
      if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return refused('lock-timeout');
      throw error;
    });
    if (locked.outcome !== 'done') return locked;
    seen?.claimed({});
    return work(locked.value, transaction);
  });
}
