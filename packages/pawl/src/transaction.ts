import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import { type Refused, refused, type Settled } from './outcome.ts';
import type { SqlPort, SqlTransaction } from './ports.ts';

class RolledBackWith<Result> extends Error {
  readonly result: Result;

  constructor(result: Result) {
    super('rolled back because the work was not done');
    this.result = result;
  }
}

/**
 * Runs `work` in a transaction, and commits only what was `done`: any other outcome rolls back whole, so a
 * refusal never leaves half of its work behind.
 *
 * @throws StoreError  As `SqlPort.transaction`. Whatever `work` throws rolls back and is thrown on.
 */
export async function transact<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  work: (transaction: Transaction) => Promise<Result>,
): Promise<Result> {
  try {
    return await sql.transaction(async (transaction) => {
      const result = await work(transaction);
      if (result.outcome !== 'done') throw new RolledBackWith(result);
      return result;
    });
  } catch (error) {
    if (error instanceof RolledBackWith) return error.result as Result;
    throw error;
  }
}

export interface ConflictRetry {
  /** Transactions to try in all, at least 1. */
  readonly attempts: number;
  /** Pause before the second attempt, in milliseconds; it doubles with every further one. */
  readonly backoffMs: number;
  /** Longest pause, in milliseconds. */
  readonly maxBackoffMs: number;
  /** Share of each pause that is left to chance, from 0 to 1, so that losers do not meet again. */
  readonly jitter: number;
}

export const defaultConflictRetry: ConflictRetry = {
  attempts: 5,
  backoffMs: 10,
  maxBackoffMs: 200,
  jitter: 0.5,
};

/**
 * Runs `work`, which is one transaction or ends with it, and again each time it met a conflict: a `contended` outcome, a
 * deadlock or a serialization failure, be it at the COMMIT (Galera, SERIALIZABLE).
 *
 * `work` must have no effect outside its transaction, since it runs up to `attempts` times. A refusal for any
 * other reason is final and is not repeated. After the last attempt the answer is `contended`, and nothing took
 * effect.
 *
 * @throws StoreError  Other than a conflict; `effect: 'unknown'` is never repeated.
 */
export async function retryOnConflict<Result extends Settled>(
  work: () => Promise<Result>,
  retry: ConflictRetry = defaultConflictRetry,
): Promise<Result | Refused<'contended'>> {
  if (!Number.isInteger(retry.attempts) || retry.attempts < 1) {
    throw new MisuseError(`attempts must be a whole number ≥ 1, got ${retry.attempts}`);
  }
  for (let attempt = 1; attempt <= retry.attempts; attempt++) {
    if (attempt > 1) await sleep(pauseMs(retry, attempt));
    try {
      const result = await work();
      if (result.outcome !== 'refused' || result.reason !== 'contended') return result;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
  return refused('contended');
}

/**
 * As `transact`, and again *around a fresh transaction* each time it met a conflict. Inside the same one a retry would be
 * of no use: under REPEATABLE READ it reads the same old row for ever, and conflicts that come at the COMMIT come after
 * it.
 *
 * @throws StoreError  As `retryOnConflict`.
 */
export function transactWithRetry<Transaction extends SqlTransaction, Result extends Settled>(
  sql: SqlPort<Transaction>,
  work: (transaction: Transaction) => Promise<Result>,
  retry: ConflictRetry = defaultConflictRetry,
): Promise<Result | Refused<'contended'>> {
  return retryOnConflict(() => transact(sql, work), retry);
}

function pauseMs(retry: ConflictRetry, attempt: number): number {
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
