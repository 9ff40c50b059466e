import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MisuseError, StoreError } from './errors.ts';
import {
  type AnswerPolicy,
  defaultAnswerPolicy,
  defaultStoredHeaders,
  storedAnswers,
} from './idempotency-answer.ts';
import type { Answer, ClaimedRecord } from './idempotency-record.ts';
import { fingerprintOf, type IdempotentRequest, recordIdOf } from './idempotency-request.ts';
import {
  type IdempotencyEvent,
  type IdempotencyLease,
  type IdempotentOutcome,
  inProgress,
  outcomeOf,
  Running,
  type RunSettings,
  type SqlIdempotencyLease,
  type WorkOutcome,
} from './idempotency-run.ts';
import type { IdempotencyStore, SqlIdempotencyStore } from './idempotency-store.ts';
import { observed, type Seen } from './observe.ts';
import { type Done, done } from './outcome.ts';
import { quiet } from './quiet.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';
import { defaultConflictRetry, isConflict, pauseMs, retried } from './transaction.ts';

export interface IdempotencyKeyOptions {
  /**
   * How long a key stays taken when nothing more is heard of who runs its work, in milliseconds. Then the next request
   * takes it over, and runs the work again. Default 10 s. Give the store connections of its own: where handlers hold all of
   * a pool for that long, no renewal gets through.
   */
  readonly leaseMs?: number;
  /** How long the lease is renewed while the work runs, in milliseconds; then it runs out. Default 5 min; 0 never renews. */
  readonly renewForMs?: number;
  /** How long an answer is replayed, in milliseconds; at least `leaseMs`. Afterwards the key is free. Default 24 h. */
  readonly retentionMs?: number;
  /**
   * How long a duplicate waits for the answer of the first, in milliseconds, before it is refused. It asks the store again
   * after a few milliseconds, at last every 100, and holds nothing meanwhile. Default 0.
   */
  readonly waitMs?: number;
  /** The headers that are stored and replayed with an answer; default `defaultStoredHeaders`. */
  readonly storedHeaders?: readonly string[];
  /** Which answers are stored, and what becomes of a key whose work threw; what is not given is `defaultAnswerPolicy`'s. */
  readonly policy?: Partial<AnswerPolicy>;
  /** Told of what the outcome does not say. */
  readonly onEvent?: (event: IdempotencyEvent) => void;
}

/** What the work holds, after the store: only records in a database can commit with the caller's rows. */
type LeaseOf<Store extends IdempotencyStore> = Store extends SqlIdempotencyStore
  ? SqlIdempotencyLease
  : IdempotencyLease;

export interface IdempotencyKeys<Lease extends IdempotencyLease = IdempotencyLease> {
  /**
   * Runs `work` unless a request with the same scope and key runs or has run.
   *
   * - Nobody has: `work` runs, and its answer is stored (`policy`). A refusal gives the key back. After an unknown outcome,
   *   and when `work` throws, the key stays taken until its lease is over, because the work may have had an effect.
   * - It has run: `done` with the stored answer, `replayed`: the same status and bytes, and the headers on the list.
   * - It runs: refused, `in-progress`, or what it answers within `waitMs`.
   * - Its lease is over: `work` runs again (`lease.attempt`).
   * - It was sent with another payload: refused, `payload-mismatch`.
   *
   * **What it does not promise:** work that stands still for longer than its lease may run beside its successor. One
   * of them stores its answer, and no other is ever replayed; the late one's caller is given it too, or `unknown` while
   * the successor is still at work. What they do in one transaction with `completeIn` happens once; what they do elsewhere may
   * happen twice, as after a crash. And the promise is the store's: see each store for when it forgets.
   *
   * Do not call it inside the transaction in which it completes: what it does to the record outside would wait for it.
   *
   * @throws InvalidKeyError, MisuseError  Nothing was sent.
   * @throws MisuseError  Also when the key is in use in the other mode: nothing ran. And when the work gives no answer that could
   *   be stored: it has run, and the key stays taken until its lease is over.
   * @throws StoreError  Before the work: it did not run; after `effect: 'unknown'` the key may be taken until its lease is
   *   over. Whatever `work` throws is thrown on.
   * @see Stripe, "Designing robust and predictable APIs with idempotency" (2017); the IETF draft "The Idempotency-Key HTTP
   *   Header Field"; Gray and Cheriton, "Leases" (1989)
   */
  run<Ended extends WorkOutcome>(
    request: IdempotentRequest,
    work: (lease: Lease) => Promise<Ended>,
  ): Promise<IdempotentOutcome | Exclude<Ended, Done<Answer>>>;
  /**
   * Forgets at most `limit` records whose retention is over. Call it now and then, on any instance, until it tells less
   * than `limit`; what is not swept yet is not replayed either.
   *
   * @returns how many.
   * @throws StoreError
   */
  sweep(limit?: number): Promise<number>;
}

export const defaultIdempotencyTimes = {
  leaseMs: 10_000,
  renewForMs: 300_000,
  retentionMs: 86_400_000,
  waitMs: 0,
};

const RUN = { guard: 'idempotency-key', step: 'run' } as const;
const SWEEP = { guard: 'idempotency-key', step: 'sweep' } as const;

/** Records that one sweep forgets at most. */
const SWEPT_AT_ONCE = 1_000;

/** Pauses of a duplicate that waits: short at first, for work that takes a moment. */
const FIRST_LOOK_MS = 5;
const LONGEST_LOOK_MS = 100;

/**
 * Idempotency keys, in leased mode: the claim of a key is a step of its own, which others see at once.
 *
 * @throws MisuseError  A time that is not a whole number of milliseconds, a retention shorter than the lease, or a header
 *   that must never be stored.
 */
export function idempotencyKeys<Store extends IdempotencyStore>(
  store: Store,
  options: IdempotencyKeyOptions = {},
): IdempotencyKeys<LeaseOf<Store>> {
  const times = checkedTimes(options);
  const { onEvent = () => undefined } = options;
  const settings: RunSettings = {
    store,
    times,
    stored: storedAnswers(options.storedHeaders ?? defaultStoredHeaders),
    policy: {
      answered: (answer) => options.policy?.answered?.(answer) ?? defaultAnswerPolicy.answered(answer),
      threw: (error) => options.policy?.threw?.(error) ?? defaultAnswerPolicy.threw(error),
    },
    onEvent: quiet(onEvent),
  };

  async function run<Ended extends WorkOutcome>(
    request: IdempotentRequest,
    work: (lease: LeaseOf<Store>) => Promise<Ended>,
    seen: Seen | undefined,
  ): Promise<IdempotentOutcome | Exclude<Ended, Done<Answer>>> {
    const id = recordIdOf(request);
    const fingerprint = fingerprintOf(request);
    const owner = randomUUID();
    const { scope, key } = id;
    const { leaseMs, retentionMs, waitMs } = times;
    const claim = { scope, key, mode: 'leased', fingerprint, owner, leaseMs, retentionMs } as const;

    let claimedAtMs = performance.now();
    const endMs = claimedAtMs + waitMs;
    for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(2 * lookMs, LONGEST_LOOK_MS)) {
      const found = await claimOrHeld(store, claim);
      if (found?.claimed) {
        const { attempt } = found;
        seen?.claimed({ attempt, takeover: attempt > 1 });
        const holding = { id, fingerprint, owner, attempt, claimedAtMs };
        const running = new Running(settings, request, holding, seen);
        return running.run(work as (lease: SqlIdempotencyLease) => ReturnType<typeof work>);
      }
      const outcome = found === undefined ? inProgress(0) : outcomeOf(found.record, 'leased', fingerprint);
      if (outcome.outcome === 'done' || outcome.reason !== 'in-progress') return outcome;
      const leftMs = endMs - performance.now();
      if (leftMs <= 0) return outcome;
      await sleep(Math.min(lookMs * (0.5 + Math.random() / 2), leftMs));
      claimedAtMs = performance.now();
    }
  }

  return {
    run: (request, work) => observed(RUN, store.kind, run, request, work),
    sweep: (limit) => sweepKeys(store, limit),
  };
}

/** As `sweep` of `idempotencyKeys`. */
export function sweepKeys(store: IdempotencyStore, limit: number = SWEPT_AT_ONCE): Promise<number> {
  return observed(SWEEP, store.kind, (_, most) => store.sweep(most), store, limit);
}

/** Undefined: somebody holds the record's row, and so is at work on it, or many are. */
function claimOrHeld(
  store: IdempotencyStore,
  claim: Parameters<IdempotencyStore['claim']>[0],
): Promise<ClaimedRecord | undefined> {
  // Made for the few that fail, and not around each.
  return store.claim(claim).catch((error: unknown) => claimedAfter(error, () => store.claim(claim)));
}

/** Where sessions are at REPEATABLE READ, whoever meets a claim that is being made is told of a conflict. */
async function claimedAfter(
  failure: unknown,
  claim: () => Promise<ClaimedRecord>,
): Promise<ClaimedRecord | undefined> {
  try {
    if (!isConflict(failure)) throw failure;
    await sleep(pauseMs(defaultConflictRetry, 2));
    const found = await retried(async () => done(await claim()));
    return found.outcome === 'done' ? found.value : undefined;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return undefined;
    throw error;
  }
}

function checkedTimes(options: IdempotencyKeyOptions): typeof defaultIdempotencyTimes {
  const defaults = defaultIdempotencyTimes;
  const { leaseMs = defaults.leaseMs, renewForMs = defaults.renewForMs } = options;
  const { retentionMs = defaults.retentionMs, waitMs = defaults.waitMs } = options;
  requireMs({ leaseMs, retentionMs }, 1);
  requireMs({ renewForMs, waitMs }, 0);
  if (leaseMs > LONGEST_TIMER_MS)
    throw new MisuseError(`leaseMs must be at most ${LONGEST_TIMER_MS}, got ${leaseMs}`);
  if (retentionMs < leaseMs) throw new MisuseError('retentionMs must not be shorter than leaseMs');
  return { leaseMs, renewForMs, retentionMs, waitMs };
}
