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
import { LeaseRenewal } from './lease-renewal.ts';
import { type Done, done, type Refused, refused, type Unknown, unknown } from './outcome.ts';
import type { SqlTransaction } from './ports.ts';

export interface IdempotencyKeyOptions {
  /**
   * How long a key stays taken when nothing more is heard of who runs its work, in milliseconds. Then the next request
   * takes it over, and runs the work again. Default 10 s.
   */
  readonly leaseMs?: number;
  /** How long the lease is renewed while the work runs, in milliseconds; then it runs out. Default 5 min; 0 never renews. */
  readonly renewForMs?: number;
  /** How long an answer is replayed, in milliseconds; at least `leaseMs`. Afterwards the key is free. Default 24 h. */
  readonly retentionMs?: number;
  /**
   * How long a duplicate waits for the answer of the first, in milliseconds, before it is refused. It asks the store again
   * every 5 to 100 ms, and holds nothing meanwhile. Default 0.
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
 * - `not-stored`: the work has ended with an answer, which could not be stored; the next request runs the work again.
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
  /** Aborted, with a `LeaseLostError`, when somebody else may have taken over. */
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
   * `fenced`: somebody else has taken the key over. Roll back, as `transact` does.
   *
   * The last statement of the transaction is its place: others who ask for the row meanwhile are refused, but a renewal
   * waits for it with a connection.
   *
   * @throws StoreError
   * @throws MisuseError  It is no answer.
   */
  completeIn(transaction: SqlTransaction, answer: Answer): Promise<Done<Answer> | Refused<'fenced'>>;
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
   * @throws InvalidKeyError, MisuseError  Nothing was sent.
   * @throws MisuseError  Also when the key is in use in the other mode. Nothing ran.
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

/** Tries to store an answer, and the pause between them: the work has been done, so it is worth some patience. */
const COMPLETIONS = 3;
const COMPLETION_PAUSE_MS = 50;

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
  const times = checkedTimes({ ...defaultIdempotencyTimes, ...options });
  const { onEvent = () => undefined } = options;
  const settings: Settings = {
    store,
    times,
    stored: storedAnswers(options.storedHeaders ?? defaultStoredHeaders),
    policy: { ...defaultAnswerPolicy, ...options.policy },
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

/** Undefined: somebody holds the record's row, and so is at work on it. */
async function claimOrHeld(
  store: IdempotencyStore,
  claim: Parameters<IdempotencyStore['claim']>[0],
): Promise<ClaimedRecord | undefined> {
  try {
    return await store.claim(claim);
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

  constructor(settings: Settings, request: IdempotentRequest, holding: Holding) {
    this.#settings = settings;
    this.#request = request;
    this.#holding = holding;
  }

  async run<Ended extends WorkOutcome>(
    work: (lease: SqlIdempotencyLease) => Promise<Ended>,
  ): Promise<IdempotentOutcome | Exclude<Ended, Done<Answer>>> {
    const { store, times } = this.#settings;
    const { id, owner, attempt, claimedAtMs } = this.#holding;
    const renewal = new LeaseRenewal({
      ...times,
      claimedAtMs,
      renew: () => store.renew(id, owner, times),
      // Completed in a transaction that has just been committed, the record is not in progress any more.
      mayBeLost: () => !this.#completing,
      onFailed: (cause) => this.#tell('renewal-failed', cause),
      onLost: (reason) => this.#tell('lease-lost', reason),
    });
    const lease: SqlIdempotencyLease = {
      attempt,
      signal: renewal.signal,
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
    if (ended.outcome === 'refused') {
      if (this.#fenced && ended.reason === 'fenced') return this.#rolledBack();
      await this.#release();
    }
    return ended as Exclude<Ended, Done<Answer>>;
  }

  async #completeIn(transaction: SqlTransaction, answer: Answer): Promise<Done<Answer> | Refused<'fenced'>> {
    const { store, stored, times } = this.#settings;
    const { id, owner } = this.#holding;
    const toStore = stored(answer);
    // Before it is sent: from its arrival until the end of the transaction a renewal waits, and then finds it completed.
    this.#completing = true;
    try {
      const within = (store as SqlIdempotencyStore).within(transaction);
      if (await within.complete(id, owner, toStore, times.retentionMs)) {
        this.#completed = answer;
        return done(answer);
      }
    } catch (error) {
      this.#completing = false;
      throw error;
    }
    this.#completing = false;
    this.#fenced = true;
    return refused('fenced');
  }

  async #answered(ended: Done<Answer>): Promise<IdempotentOutcome> {
    if (this.#completed === ended.value) return ended;
    const { store, stored, times, policy } = this.#settings;
    const { id, owner } = this.#holding;
    const toStore = stored(ended.value);
    const disposition = policy.answered(ended.value);
    if (disposition === 'release') await this.#release();
    if (disposition !== 'store') return ended;
    let ours: boolean;
    try {
      ours = await patiently(() => store.complete(id, owner, toStore, times.retentionMs));
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
    // An earlier try to store it had succeeded, and its answer was lost.
    if (record?.owner === owner && record.answer !== undefined) return done(record.answer);
    if (record === undefined || record.fingerprint !== fingerprint) {
      this.#tell('not-stored', new LeaseLostError('the record is not there any more'));
      return done(answer);
    }
    this.#tell('lease-lost', new LeaseLostError('somebody else has taken the key over'));
    // One answer for all. While the successor is at work there is none yet.
    if (record.answer !== undefined) return done(record.answer, { replayed: true });
    return unknown(() => this.#overtaken(answer));
  }

  /** Somebody else has taken the key over, and what the work did was rolled back. */
  async #rolledBack(): Promise<Done<Answer> | InProgress | Refused<'payload-mismatch'>> {
    this.#tell('lease-lost', new LeaseLostError('somebody else has taken the key over'));
    const { id, fingerprint } = this.#holding;
    const record = await this.#settings.store.read(id).catch(() => undefined);
    return record === undefined ? inProgress(0) : outcomeOf(record, 'leased', fingerprint);
  }

  async #threw(error: unknown): Promise<Done<Answer>> {
    const answer = this.#completed;
    if (answer !== undefined && error instanceof StoreError && error.effect === 'unknown') {
      if (await this.#wasCommitted().catch(() => false)) return done(answer);
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
    if (await store.renew(id, owner, times)) return false;
    const record = await store.read(id);
    return record?.owner === owner && record.answer !== undefined;
  }

  async #release(): Promise<void> {
    const { id, owner } = this.#holding;
    try {
      if (await this.#settings.store.release(id, owner)) return;
      this.#tell('lease-lost', new LeaseLostError('the key was not ours any more'));
    } catch (cause) {
      this.#tell('not-released', cause);
    }
  }

  #tell(kind: IdempotencyEvent['kind'], cause: unknown): void {
    const { scope, key } = this.#request;
    this.#settings.onEvent({ kind, scope, key, cause });
  }
}

/** Again when the store could not be asked, or its answer was lost: storing twice is storing once. */
async function patiently(complete: () => Promise<boolean>): Promise<boolean> {
  for (let tried = 1; ; tried++) {
    try {
      return await complete();
    } catch (error) {
      if (tried === COMPLETIONS || !(error instanceof StoreError) || error.code === 'REJECTED') throw error;
      await sleep(COMPLETION_PAUSE_MS * tried);
    }
  }
}

/** Whoever listens must not change what happens. */
function quiet(onEvent: (event: IdempotencyEvent) => void): (event: IdempotencyEvent) => void {
  return (event) => {
    try {
      onEvent(event);
    } catch {
      // There is nobody to tell.
    }
  };
}

/** The longest that a timer of Node can wait. */
const LONGEST_MS = 2 ** 31 - 1;

function checkedTimes(given: typeof defaultIdempotencyTimes): typeof defaultIdempotencyTimes {
  const { leaseMs, renewForMs, retentionMs, waitMs } = given;
  checkedMs({ leaseMs, retentionMs }, 1);
  checkedMs({ renewForMs, waitMs }, 0);
  if (leaseMs > LONGEST_MS) throw new MisuseError(`leaseMs must be at most ${LONGEST_MS}, got ${leaseMs}`);
  if (retentionMs < leaseMs) throw new MisuseError('retentionMs must not be shorter than leaseMs');
  return { leaseMs, renewForMs, retentionMs, waitMs };
}

/** The stores count in microseconds. @throws MisuseError */
export function checkedMs(times: Readonly<Record<string, number>>, least: number): void {
  for (const [name, value] of Object.entries(times)) {
    if (!Number.isSafeInteger(value * 1_000) || !Number.isInteger(value) || value < least) {
      throw new MisuseError(`${name} must be a whole number of milliseconds ≥ ${least}, got ${value}`);
    }
  }
}
