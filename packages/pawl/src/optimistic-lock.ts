import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import { type Done, done, type Refused, refused, type Settled } from './outcome.ts';
import type { Columns, RowRef, SqlPort, SqlSession, SqlTransaction } from './ports.ts';
import { transact } from './transaction.ts';

export interface VersionedUpdate extends RowRef {
  /** The version that was read; the update adds one to it. */
  readonly version: { readonly column: string; readonly value: number };
  readonly set: Columns;
}

/**
 * Changes a row only if nobody has changed it since `version` was read, and counts the version up.
 *
 * `contended`: somebody has, or the row is gone. Whatever was computed from the old row is worthless then, so
 * roll back and read again: in a *new* transaction, because under REPEATABLE READ this one would go on seeing
 * the old row for ever (`withOptimisticRetry` does it).
 *
 * Cost: one statement.
 *
 * @throws StoreError
 * @see Kung and Robinson, "On optimistic methods for concurrency control" (1981)
 */
export async function versionedUpdate(
  sql: SqlSession,
  update: VersionedUpdate,
): Promise<Done<{ version: number }> | Refused<'contended'>> {
  const { column, value } = update.version;
  const statement = sql.dialect.conditionalUpdate({
    table: update.table,
    key: update.key,
    expect: { [column]: value },
    set: update.set,
    increment: column,
  });
  const { affectedRows } = await sql.execute(statement);
  return affectedRows === 0 ? refused('contended') : done({ version: value + 1 });
}

export interface OptimisticRetry {
  /** Transactions to try in all, at least 1. */
  readonly attempts: number;
  /** Pause before the second attempt, in milliseconds; it doubles with every further one. */
  readonly backoffMs: number;
  /** Longest pause, in milliseconds. */
  readonly maxBackoffMs: number;
  /** Share of each pause that is left to chance, from 0 to 1, so that losers do not meet again. */
  readonly jitter: number;
}

export const defaultOptimisticRetry: OptimisticRetry = {
  attempts: 5,
  backoffMs: 10,
  maxBackoffMs: 200,
  jitter: 0.5,
};

/**
 * Runs `work` in a transaction, and again *around a fresh one* each time it met a conflict: a `contended`
 * outcome, a deadlock or a serialization failure.
 *
 * `work` must have no effect outside its transaction, since it runs up to `attempts` times. A refusal for any
 * other reason is final and is not repeated. After the last attempt the answer is `contended`, and nothing took
 * effect.
 *
 * @throws StoreError  Other than a conflict; `effect: 'unknown'` is never repeated.
 */
export async function withOptimisticRetry<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  work: (transaction: Transaction) => Promise<Result>,
  retry: OptimisticRetry = defaultOptimisticRetry,
): Promise<Result | Refused<'contended'>> {
  if (!Number.isInteger(retry.attempts) || retry.attempts < 1) {
    throw new MisuseError(`attempts must be a whole number ≥ 1, got ${retry.attempts}`);
  }
  for (let attempt = 1; attempt <= retry.attempts; attempt++) {
    if (attempt > 1) await sleep(pauseMs(retry, attempt));
    try {
      const result = await transact(sql, work);
      if (result.outcome !== 'refused' || result.reason !== 'contended') return result;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
  return refused('contended');
}

function pauseMs(retry: OptimisticRetry, attempt: number): number {
  const pause = Math.min(retry.backoffMs * 2 ** (attempt - 2), retry.maxBackoffMs);
  return pause * (1 - retry.jitter * Math.random());
}

function isConflict(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    error.effect === 'none' &&
    (error.code === 'DEADLOCK' || error.code === 'SERIALIZATION_FAILURE')
  );
}
