import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import { observed, type Seen } from './observe.ts';
import { type Refused, refused, type Settled } from './outcome.ts';
import type { Decision, InterimDecision, SqlPort, SqlResult, SqlStatement, SqlTransaction } from './ports.ts';
import { LONGEST_TIMER_MS } from './timers.ts';

const RETRY = { guard: 'optimistic-lock', step: 'retry' } as const;

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

/**
 * As `SqlPort.readThenWrite`, also where the port has none: then each statement is a round trip.
 *
 * @throws StoreError  As `SqlPort.transaction`; whatever `decide` throws is thrown on, and nothing was committed.
 */
export function readThenWrite<T>(
  sql: SqlPort,
  reads: readonly SqlStatement[],
  decide: (read: readonly SqlResult[]) => Decision<T> | InterimDecision<T>,
): Promise<T> {
  if (sql.readThenWrite !== undefined) return sql.readThenWrite(reads, decide);
  return sql.transaction(async (transaction) => {
    const inOrder = async (statements: readonly SqlStatement[]) => {
      const results: SqlResult[] = [];
      for (const statement of statements) results.push(await transaction.execute(statement));
      return results;
    };
    let decision = decide(await inOrder(reads));
    while ('next' in decision) decision = decision.next(await inOrder(decision.writes));
    return decision.result(await inOrder(decision.writes));
  });
}

export interface ConflictRetry {
  /** Transactions to try in all, at least 1. */
  readonly attempts: number;
  /** Pause before the second attempt, in milliseconds, at least 0; it doubles with every further one. */
  readonly backoffMs: number;
  /** Longest pause, in milliseconds, at least 0. */
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
 * @throws MisuseError  A setting of `retry`. `work` did not run.
 * @see Brooker, "Exponential Backoff And Jitter" (2015)
 */
export function retryOnConflict<Result extends Settled>(
  work: () => Promise<Result>,
  retry: ConflictRetry = defaultConflictRetry,
): Promise<Result | Refused<'contended'>> {
  return observed(RETRY, undefined, retried<Result>, work, retry);
}

/** As `retryOnConflict`, within an operation of a guard that is told of itself. */
export async function retried<Result extends Settled>(
  work: () => Promise<Result>,
  retry: ConflictRetry = defaultConflictRetry,
  seen?: Seen,
): Promise<Result | Refused<'contended'>> {
  if (retry !== defaultConflictRetry) requireRetry(retry);
  for (let attempt = 1; attempt <= retry.attempts; attempt++) {
    if (attempt > 1) await sleep(pauseMs(retry, attempt));
    seen?.tried(attempt);
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
  return observed(RETRY, sql.dialect.name, retried<Result>, () => transact(sql, work), retry);
}

/**
 * The pause before `attempt`, the second or a later one, in milliseconds. `chance`, from 0 to below 1, is how much of the
 * jitter it is shortened by.
 */
export function pauseMs(retry: ConflictRetry, attempt: number, chance = Math.random()): number {
  // Bounded before it is multiplied: 0 times a factor that has become infinite is not a number.
  const factor = Math.min(2 ** (attempt - 2), Number.MAX_SAFE_INTEGER);
  const pause = Math.min(retry.backoffMs * factor, retry.maxBackoffMs);
  return pause * (1 - retry.jitter * chance);
}

/** @throws MisuseError */
export function requireRetry({ attempts, backoffMs, maxBackoffMs, jitter }: ConflictRetry): void {
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw new MisuseError(`attempts must be a whole number ≥ 1, got ${attempts}`);
  }
  requireWithin({ backoffMs, maxBackoffMs }, LONGEST_TIMER_MS);
  requireWithin({ jitter }, 1);
}

function requireWithin(settings: Readonly<Record<string, number>>, most: number): void {
  for (const [name, value] of Object.entries(settings)) {
    if (!(value >= 0 && value <= most))
      throw new MisuseError(`${name} must be from 0 to ${most}, got ${value}`);
  }
}

/** A transaction that did nothing, and may do it when it is tried again. */
export function isConflict(error: unknown): boolean {
  return (
    error instanceof StoreError &&
    error.effect === 'none' &&
    (error.code === 'DEADLOCK' || error.code === 'SERIALIZATION_FAILURE')
  );
}
