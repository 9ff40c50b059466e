import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseLostError, MisuseError, StoreError } from './errors.ts';
import {
  type AnswerPolicy,
  defaultAnswerPolicy,
  defaultStoredHeaders,
  storedAnswers,
} from './idempotency-answer.ts';
import type {
  Answer,
  ClaimedRecord,
  IdempotencyMode,
  IdempotencyRecord,
  IdempotencyRecordId,
  StoredAnswer,
} from './idempotency-record.ts';
import { fingerprintOf, type IdempotentRequest, recordIdOf } from './idempotency-request.ts';
import type { IdempotencyStore, SqlIdempotencyStore } from './idempotency-store.ts';
import { LeaseRenewal, RENEWALS_PER_LEASE } from './lease-renewal.ts';
import { type Done, done, type Refused, refused, type Unknown, unknown } from './outcome.ts';
import type { SqlTransaction } from './ports.ts';
import { quiet } from './quiet.ts';
import { LONGEST_TIMER_MS, requireMs } from './timers.ts';
import { retryOnConflict } from './transaction.ts';

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

/**
 * - `renewal-failed`: the store could not be asked; it is tried again until the lease is over.
 * - `lease-lost`: somebody else may be at work, or has been.
 * - `not-stored`: the work has ended with an answer, which could not be stored although it was tried for the length of a lease,
 *   or can never be; the next request runs the work again.
 * - `not-released`: the work was refused, and its key stays taken until its lease is over.
 */
export interface IdempotencyEvent {
  readonly kind: 'renewal-failed' | 'lease-lost' | 'not-stored' | 'not-released';
  readonly scope: readonly string[];
  readonly key: string;
  readonly cause: unknown;
}

/** What the one who runs the work holds. */
export interface IdempotencyLease {
  /**
   * 1 for the first. More: somebody before did not finish, and may have had effects outside the database. Look for them
   * before you cause them again.
   */
  readonly attempt: number;
  /**
   * Aborted, with a `LeaseLostError`, when somebody else has taken over, or may have: the lease could not be confirmed in
   * time. It is renewed all the same, as long as nobody has. Look at it through the lease: after a standstill a copy from
   * before is told later.
   */
  readonly signal: AbortSignal;
}

export interface SqlIdempotencyLease extends IdempotencyLease {
  /**
   * Stores the answer in the caller's transaction, so that it commits or vanishes with the business rows. Return what it
   * returns, from the transaction and from the work:
   *
   *     keys.run(request, (lease) => transact(sql, async (transaction) => {
   *       …
   *       return lease.completeIn(transaction, answer);
   *     }))
   *
   * The last statement of the transaction is its place: others who ask for the row meanwhile are refused, but a renewal
   * waits for it with a connection. It stores whatever it is given: the policy is not asked. Under REPEATABLE READ it is a
   * `SERIALIZATION_FAILURE` where a renewal came after the transaction's snapshot.
   *
   * @throws LeaseLostError  Somebody else has taken the key over. Let it pass: the transaction must roll back, and `run` gives
   *   its caller the other one's answer.
   * @throws StoreError
   * @throws MisuseError  It is no answer.
   */
  completeIn(transaction: SqlTransaction, answer: Answer): Promise<Done<Answer>>;
}

/** What the work holds, after the store: only records in a database can commit with the caller's rows. */
type LeaseOf<Store extends IdempotencyStore> = Store extends SqlIdempotencyStore
  ? SqlIdempotencyLease
  : IdempotencyLease;

/** Somebody else is at work under this key. */
export interface InProgress extends Refused<'in-progress'> {
  /** When to ask again at the latest, in milliseconds: the lease of whoever is at work is over then, or renewed. */
  readonly retryAfterMs: number;
}

/** How work may end, in the words of `outcome.ts`. */
export type WorkOutcome = Done<Answer> | Refused | { readonly outcome: 'unknown' };

export type IdempotentOutcome = Done<Answer> | InProgress | Refused<'payload-mismatch'> | Unknown<Answer>;

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

/** Records that one sweep forgets at most. */
export const SWEPT_AT_ONCE = 1_000;

/** Pauses of a duplicate that waits: short at first, for work that takes a moment. */
const FIRST_LOOK_MS = 5;
const LONGEST_LOOK_MS = 100;

/** Pauses between tries to store an answer: the work has been done, so it is worth some patience. */
const FIRST_COMPLETION_PAUSE_MS = 20;
const COMPLETION_PAUSE_MS = 500;

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
  const settings: Settings = {
    store,
    times,
    stored: storedAnswers(options.storedHeaders ?? defaultStoredHeaders),
    policy: {
      answered: (answer) => options.policy?.answered?.(answer) ?? defaultAnswerPolicy.answered(answer),
      threw: (error) => options.policy?.threw?.(error) ?? defaultAnswerPolicy.threw(error),
    },
    onEvent: quiet(onEvent),
  };

  return {
    async run(request, work) {
      const id = recordIdOf(request);
      const fingerprint = fingerprintOf(request);
      const owner = randomUUID();
      const claim = { ...id, mode: 'leased', fingerprint, owner, ...times } as const;

      const endMs = performance.now() + times.waitMs;
      for (let lookMs = FIRST_LOOK_MS; ; lookMs = Math.min(2 * lookMs, LONGEST_LOOK_MS)) {
        const claimedAtMs = performance.now();
        const found = await claimOrHeld(store, claim);
        if (found?.claimed) {
          const { attempt } = found;
          const running = new Running(settings, request, { id, fingerprint, owner, attempt, claimedAtMs });
          return running.run(work as (lease: SqlIdempotencyLease) => ReturnType<typeof work>);
        }
        const outcome = found === undefined ? inProgress(0) : outcomeOf(found.record, 'leased', fingerprint);
        const leftMs = endMs - performance.now();
        if (outcome.outcome === 'done' || outcome.reason !== 'in-progress' || leftMs <= 0) return outcome;
        await sleep(Math.min(lookMs * (0.5 + Math.random() / 2), leftMs));
      }
    },
    sweep: (limit = SWEPT_AT_ONCE) => store.sweep(limit),
  };
}

/** Undefined: somebody holds the record's row, and so is at work on it, or many are. */
async function claimOrHeld(
  store: IdempotencyStore,
  claim: Parameters<IdempotencyStore['claim']>[0],
): Promise<ClaimedRecord | undefined> {
  try {
    // Where sessions are at REPEATABLE READ, whoever meets a claim that is being made is told of a conflict.
    const found = await retryOnConflict(async () => done(await store.claim(claim)));
    return found.outcome === 'done' ? found.value : undefined;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'LOCK_TIMEOUT') return undefined;
    throw error;
  }
}

/**
 * What a record of somebody else's means to a request.
 *
 * @throws MisuseError  It was written in the other mode.
 */
export function outcomeOf(
  record: IdempotencyRecord,
  mode: IdempotencyMode,
  fingerprint: string,
): Done<Answer> | InProgress | Refused<'payload-mismatch'> {
  if (record.mode !== mode) {
    throw new MisuseError(
      `this idempotency key is in use in ${record.mode} mode, and cannot be used in both`,
    );
  }
  if (record.fingerprint !== fingerprint) return refused('payload-mismatch');
  if (record.answer !== undefined) return done(record.answer, { replayed: true });
  return inProgress(record.leaseLeftMs);
}

function inProgress(leaseLeftMs: number): InProgress {
  return { ...refused('in-progress'), retryAfterMs: Math.max(0, Math.ceil(leaseLeftMs)) };
}

interface Settings {
  readonly store: IdempotencyStore;
  readonly times: typeof defaultIdempotencyTimes;
  readonly stored: (answer: Answer) => StoredAnswer;
  readonly policy: AnswerPolicy;
  readonly onEvent: (event: IdempotencyEvent) => void;
}

interface Holding {
  readonly id: IdempotencyRecordId;
  readonly fingerprint: string;
  readonly owner: string;
  readonly attempt: number;
  readonly claimedAtMs: number;
}

/** One run of the work, from its claim to its end. */
class Running {
  readonly #settings: Settings;
  readonly #request: IdempotentRequest;
  readonly #holding: Holding;
  /** A transaction of the caller's stores the answer, or has done so. */
  #completing = false;
  /** What was stored in it; whether that was committed is for the caller to say, by returning it. */
  #completed: Answer | undefined;
  #fenced = false;
  #toldOfLoss = false;

  constructor(settings: Settings, request: IdempotentRequest, holding: Holding) {
    this.#settings = settings;
    this.#request = request;
    this.#holding = holding;
  }

  async run<Ended extends WorkOutcome>(
    work: (lease: SqlIdempotencyLease) => Promise<Ended>,
  ): Promise<IdempotentOutcome | Exclude<Ended, Done<Answer>>> {
    const claimedAtMs = await this.#freshLease();
    if (claimedAtMs === undefined) return this.#withoutEffect();
    const renewal = new LeaseRenewal({
      ...this.#settings.times,
      claimedAtMs,
      renew: () => this.#renew(),
      isFinishing: () => this.#completing,
      onFailed: (cause) => this.#tell('renewal-failed', cause),
      onLost: (reason) => this.#tellOfLoss(reason),
    });
    const lease: SqlIdempotencyLease = {
      attempt: this.#holding.attempt,
      get signal() {
        renewal.look();
        return renewal.signal;
      },
      completeIn: (transaction, answer) => this.#completeIn(transaction, answer),
    };
    let ended: Ended;
    try {
      ended = await work(lease);
    } catch (error) {
      renewal.stop();
      return this.#threw(error);
    }
    renewal.stop();
    if (ended.outcome === 'done') return this.#answered(ended);
    if (ended.outcome === 'refused') await this.#release();
    return ended as Exclude<Ended, Done<Answer>>;
  }

  /**
   * Since when the lease counts. A claim that had to wait, for a connection say, is renewed before the work begins: the
   * lease may be half over, or be over, by the time that the store gave it.
   *
   * @returns undefined when it cannot be had; the work must not run.
   */
  async #freshLease(): Promise<number | undefined> {
    const { store, times } = this.#settings;
    const { id, owner, claimedAtMs } = this.#holding;
    const enoughMs = times.leaseMs / RENEWALS_PER_LEASE;
    if (performance.now() - claimedAtMs <= enoughMs) return claimedAtMs;
    const sentMs = performance.now();
    if (!(await store.renew(id, owner, times))) return undefined;
    if (performance.now() - sentMs <= enoughMs) return sentMs;
    await this.#release();
    return undefined;
  }

  async #renew(): Promise<boolean> {
    const { store, times } = this.#settings;
    const { id, owner } = this.#holding;
    // Completed in a transaction that has just been committed, the record is not in progress any more, and ours.
    return (await store.renew(id, owner, times)) || (this.#completing && (await this.#isCompleted()));
  }

  async #isCompleted(): Promise<boolean> {
    const record = await this.#settings.store.read(this.#holding.id);
    return record?.owner === this.#holding.owner && record.answer !== undefined;
  }

  async #completeIn(transaction: SqlTransaction, answer: Answer): Promise<Done<Answer>> {
    const { store, stored, times } = this.#settings;
    const { id, owner } = this.#holding;
    const toStore = stored(answer);
    // Before it is sent: from its arrival until the end of the transaction a renewal waits, and then finds it completed.
    this.#completing = true;
    try {
      const records = (store as SqlIdempotencyStore).within(transaction);
      if (await records.complete(id, owner, toStore, times.retentionMs)) {
        this.#completed = answer;
        return done(answer);
      }
    } catch (error) {
      this.#completing = false;
      throw error;
    }
    this.#completing = false;
    this.#fenced = true;
    throw new LeaseLostError('somebody else has taken the key over: roll back');
  }

  async #answered(ended: Done<Answer>): Promise<IdempotentOutcome> {
    if (this.#completed !== undefined && this.#completed === ended.value) return ended;
    const { store, stored, times, policy } = this.#settings;
    const { id, owner } = this.#holding;
    const toStore = stored(ended.value);
    const disposition = policy.answered(ended.value);
    if (disposition === 'release') await this.#release();
    if (disposition !== 'store') return ended;
    let ours: boolean;
    try {
      ours = await patiently(times.leaseMs, () => store.complete(id, owner, toStore, times.retentionMs));
    } catch (cause) {
      // The work has had its effect, so its outcome stands.
      this.#tell('not-stored', cause);
      return ended;
    }
    return ours ? ended : this.#overtaken(ended.value);
  }

  /** The work has had its effect, and its record is not in progress, or not its own, any more. */
  async #overtaken(answer: Answer): Promise<IdempotentOutcome> {
    const { id, owner, fingerprint } = this.#holding;
    let record: IdempotencyRecord | undefined;
    try {
      record = await this.#settings.store.read(id);
    } catch {
      return unknown(() => this.#overtaken(answer));
    }
    if (record?.owner === owner && record.answer !== undefined) {
      // An earlier try to store it had succeeded, and its answer was lost; or a transaction has stored another.
      return done(this.#completed === undefined ? answer : record.answer);
    }
    if (record === undefined || record.fingerprint !== fingerprint) {
      this.#tell('not-stored', new LeaseLostError('the record is not there any more'));
      return done(answer);
    }
    this.#tellOfLoss(new LeaseLostError('somebody else has taken the key over'));
    // One answer for all. While the successor is at work there is none yet.
    if (record.answer !== undefined) return done(record.answer, { replayed: true });
    return unknown(() => this.#overtaken(answer));
  }

  /** The work did not run, or what it did was rolled back, because somebody else has the key. */
  async #withoutEffect(): Promise<IdempotentOutcome> {
    const { id, owner, fingerprint } = this.#holding;
    let record: IdempotencyRecord | undefined;
    try {
      record = await this.#settings.store.read(id);
    } catch {
      // It may be its own, of a transaction that was committed before it was tried again: then there was an effect.
      return unknown(() => this.#withoutEffect());
    }
    // Stored by a transaction that was tried again although it had been committed.
    if (record?.owner === owner && record.answer !== undefined) return done(record.answer);
    this.#tellOfLoss(new LeaseLostError('somebody else has taken the key over'));
    return record === undefined ? inProgress(0) : outcomeOf(record, 'leased', fingerprint);
  }

  async #threw(error: unknown): Promise<IdempotentOutcome> {
    if (this.#fenced && error instanceof LeaseLostError) return this.#withoutEffect();
    const answer = this.#completed;
    if (answer !== undefined && error instanceof StoreError && error.effect === 'unknown') {
      const { leaseMs } = this.#settings.times;
      if (await within(leaseMs, this.#wasCommitted()).catch(() => false)) return done(answer);
    }
    if (this.#settings.policy.threw(error) === 'release') await this.#release();
    throw error;
  }

  /**
   * Whether the transaction was committed whose COMMIT was not answered. Its lock on the record is held as long as the
   * server is at it, so a renewal waits for the end: it finds the record in progress only if that was rolled back.
   */
  async #wasCommitted(): Promise<boolean> {
    const { store, times } = this.#settings;
    const { id, owner } = this.#holding;
    return !(await store.renew(id, owner, times)) && (await this.#isCompleted());
  }

  async #release(): Promise<void> {
    const { store, times } = this.#settings;
    const { id, owner } = this.#holding;
    try {
      if (await within(times.leaseMs, store.release(id, owner))) return;
      if (await this.#isCompleted()) return;
      this.#tellOfLoss(new LeaseLostError('the key was not ours any more'));
    } catch (cause) {
      this.#tell('not-released', cause);
    }
  }

  #tellOfLoss(reason: LeaseLostError): void {
    if (!this.#toldOfLoss) this.#tell('lease-lost', reason);
    this.#toldOfLoss = true;
  }

  #tell(kind: IdempotencyEvent['kind'], cause: unknown): void {
    const { scope, key } = this.#request;
    this.#settings.onEvent({ kind, scope, key, cause });
  }
}

/**
 * The answer, if it comes in time. Whoever holds the row, a transaction whose client has gone or the caller's own, may hold it
 * for longer than anybody wants to wait.
 */
async function within<T>(limitMs: number, answer: Promise<T>): Promise<T> {
  const tooLate = Promise.withResolvers<never>();
  const message = `no answer within ${limitMs} ms`;
  const limit = setTimeout(
    () => tooLate.reject(new StoreError('CONNECTION_LOST', 'unknown', message)),
    limitMs,
  );
  try {
    return await Promise.race([answer, tooLate.promise]);
  } finally {
    clearTimeout(limit);
  }
}

/**
 * Again when the store could not be asked, or its answer was lost: storing twice is storing once. Until the lease must be over,
 * because then somebody else does the work again.
 */
async function patiently(leaseMs: number, complete: () => Promise<boolean>): Promise<boolean> {
  const endMs = performance.now() + leaseMs;
  for (let pauseMs = FIRST_COMPLETION_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, COMPLETION_PAUSE_MS)) {
    try {
      return await complete();
    } catch (error) {
      const isFinal = !(error instanceof StoreError) || error.code === 'REJECTED';
      if (isFinal || performance.now() + pauseMs > endMs) throw error;
      await sleep(pauseMs);
    }
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
