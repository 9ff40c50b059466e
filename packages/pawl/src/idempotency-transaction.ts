import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import { defaultStoredHeaders, storedAnswers } from './idempotency-answer.ts';
import { defaultIdempotencyTimes, type IdempotencyKeyOptions, sweepKeys } from './idempotency-key.ts';
import type { Answer } from './idempotency-record.ts';
import { fingerprintOf, type IdempotentRequest, recordIdOf } from './idempotency-request.ts';
import { type InProgress, outcomeOf, type WorkOutcome } from './idempotency-run.ts';
import { type SqlIdempotencyStoreOptions, sqlIdempotencyStore } from './idempotency-store.ts';
import { withinWait } from './lock-wait.ts';
import { observed, type Seen } from './observe.ts';
import { type Done, done, type Refused, refused } from './outcome.ts';
import type { SqlPort, SqlTransaction } from './ports.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';
import {
  type ConflictRetry,
  defaultConflictRetry,
  pauseMs,
  requireRetry,
  retried,
  transact,
} from './transaction.ts';

export interface TransactionalIdempotencyKeyOptions
  extends SqlIdempotencyStoreOptions,
    Pick<IdempotencyKeyOptions, 'retentionMs' | 'storedHeaders'> {
  /**
   * How long a duplicate waits for a transaction that is at work under its key, with a connection, in milliseconds; at least 1,
   * and InnoDB rounds up to whole seconds. Then it is refused. Where that one rolls back and another takes its place, it
   * waits anew. Default 2 s.
   */
  readonly waitMs?: number;
  /** After a deadlock, a serialization failure or a lost COMMIT the whole transaction is tried again. */
  readonly retry?: ConflictRetry;
}

export type TransactionalOutcome = Done<Answer> | InProgress | Refused<'payload-mismatch' | 'lock-timeout'>;

export interface TransactionalIdempotencyKeys<Transaction extends SqlTransaction = SqlTransaction> {
  /**
   * Runs `work` in a transaction that also stores its answer under the key: both commit, or neither. `done` commits;
   * a refusal, or an error, rolls everything back, and the key is as free as before.
   *
   * A duplicate waits for the first one's end, up to `waitMs` (refused: `lock-timeout`), and then gets its answer, or runs
   * when that was rolled back. A crash leaves nothing behind, and there is no lease to wait for. When the answer to the
   * COMMIT is lost, the request is run again: it finds its own answer, or nothing.
   *
   * There is no policy for answers: what is `done` is stored, whatever its status. An answer that shall not be given again is
   * returned with a refusal (`{ ...refused('declined'), answer }`), or thrown.
   *
   * **For work without outward effects only:** it runs again after every conflict, and a rollback does not take back what
   * it did elsewhere.
   *
   * Cost beside BEGIN and COMMIT: four statements (on MySQL five), and the COMMIT that the work needs anyway. A replay: three,
   * and no commit to wait for. Every duplicate that waits holds a connection.
   *
   * @throws InvalidKeyError, MisuseError  Nothing was sent. MisuseError also when the key is in use in leased mode.
   * @throws StoreError  `effect: 'unknown'`: the COMMIT's answer was lost, and it could not be learned what became of it.
   *   Send the request again.
   */
  run<Ended extends WorkOutcome>(
    request: IdempotentRequest,
    work: (transaction: Transaction) => Promise<Ended>,
  ): Promise<TransactionalOutcome | Refused<'contended'> | Exclude<Ended, Done<Answer>>>;
  /**
   * The same in a transaction of the caller's, who commits when this is `done`, and else rolls back: what is refused has
   * left half of its work in it, and after `lock-timeout` the transaction is of no further use.
   *
   * Under REPEATABLE READ a lost race is a `SERIALIZATION_FAILURE`.
   *
   * @throws StoreError  Also `DEADLOCK` on MySQL, where several waited for one that rolled back.
   */
  runIn<Ended extends WorkOutcome>(
    transaction: Transaction,
    request: IdempotentRequest,
    work: () => Promise<Ended>,
  ): Promise<TransactionalOutcome | Exclude<Ended, Done<Answer>>>;
  /** As that of `idempotencyKeys`. */
  sweep(limit?: number): Promise<number>;
}

const TRANSACT = { guard: 'idempotency-key', step: 'transact' } as const;
const RUN_IN = { guard: 'idempotency-key', step: 'run-in' } as const;

const WAIT_MS = 2_000;

/**
 * Idempotency keys, in transactional mode: the record is inserted in the transaction of the work, and nobody sees it
 * before that commits.
 *
 * @throws MisuseError  A bad option.
 * @see Helland, "Life beyond distributed transactions" (2007), on keeping what was done beside what it changed
 */
export function transactionalIdempotencyKeys<Transaction extends SqlTransaction>(
  sql: SqlPort<Transaction>,
  options: TransactionalIdempotencyKeyOptions = {},
): TransactionalIdempotencyKeys<Transaction> {
  const { retentionMs = defaultIdempotencyTimes.retentionMs, waitMs = WAIT_MS } = options;
  const { retry = defaultConflictRetry, storedHeaders = defaultStoredHeaders } = options;
  requireMs({ retentionMs, waitMs }, 1);
  if (waitMs > LONGEST_TIMER_MS)
    throw new MisuseError(`waitMs must be at most ${LONGEST_TIMER_MS}, got ${waitMs}`);
  requireRetry(retry);
  const store = sqlIdempotencyStore(sql, options);
  const stored = storedAnswers(storedHeaders);

  async function runAs<Ended extends WorkOutcome>(
    owner: string,
    transaction: SqlTransaction,
    request: IdempotentRequest,
    work: () => Promise<Ended>,
    onClaimed: () => void,
  ): Promise<TransactionalOutcome | Exclude<Ended, Done<Answer>>> {
    const id = recordIdOf(request);
    const fingerprint = fingerprintOf(request);
    const records = store.within(transaction);
    // No lease: as long as the transaction lives its lock is in the way, and afterwards the record is complete.
    // Nor does its retention begin before it is: work may take longer than that.
    const times = { leaseMs: 0, retentionMs: retentionMs + defaultIdempotencyTimes.retentionMs };
    const claim = { ...id, mode: 'transactional', fingerprint, owner, ...times } as const;
    const found = await withinWait(transaction, waitMs, () => records.claim(claim)).catch(
      (error: unknown) => {
        if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return undefined;
        throw error;
      },
    );
    if (found === undefined) return refused('lock-timeout');
    if (!found.claimed) {
      const outcome = outcomeOf(found.record, 'transactional', fingerprint);
      // Its own, of a COMMIT whose answer was lost.
      return outcome.outcome === 'done' && found.record.owner === owner ? done(outcome.value) : outcome;
    }
    onClaimed();
    const ended = await work();
    if (ended.outcome !== 'done') return ended as Exclude<Ended, Done<Answer>>;
    if (await records.complete(id, owner, stored(ended.value), retentionMs)) return done(ended.value);
    throw new MisuseError('the record of this key was changed by its own work');
  }

  async function run<Ended extends WorkOutcome>(
    request: IdempotentRequest,
    work: (transaction: Transaction) => Promise<Ended>,
    seen: Seen | undefined,
  ): Promise<TransactionalOutcome | Refused<'contended'> | Exclude<Ended, Done<Answer>>> {
    const owner = randomUUID();
    let lost: unknown;
    /** Whatever COMMIT was lost before, it was not carried out. */
    const isClaimed = () => {
      lost = undefined;
      seen?.claimed({});
    };
    for (let tried = 1; ; tried++) {
      let committing = false;
      try {
        const outcome = await retried(() => {
          committing = false;
          return transact(sql, async (transaction) => {
            const ended = await runAs(owner, transaction, request, () => work(transaction), isClaimed);
            committing = true;
            return ended;
          });
        }, retry);
        const undecided =
          outcome.outcome === 'refused' &&
          (outcome.reason === 'lock-timeout' || outcome.reason === 'contended');
        if (lost === undefined || !undecided) return outcome;
      } catch (error) {
        const isLost = committing && error instanceof StoreError && error.effect === 'unknown';
        if (isLost) lost = error;
        if (lost === undefined) throw error;
      }
      if (tried === retry.attempts) throw lost;
      await sleep(pauseMs(retry, tried + 1));
    }
  }

  async function runIn<Ended extends WorkOutcome>(
    transaction: Transaction,
    { request, work }: { request: IdempotentRequest; work: () => Promise<Ended> },
    seen: Seen | undefined,
  ): Promise<TransactionalOutcome | Exclude<Ended, Done<Answer>>> {
    return runAs(randomUUID(), transaction, request, work, () => seen?.claimed({}));
  }

  return {
    run: (request, work) => observed(TRANSACT, sql.dialect.name, run, request, work),
    runIn: (transaction, request, work) =>
      observed(RUN_IN, sql.dialect.name, runIn, transaction, { request, work }),
    sweep: (limit) => sweepKeys(store, limit),
  };
}
