import { setTimeout as sleep } from 'node:timers/promises';
import { LeaseLostError, MisuseError, StoreError } from './errors.ts';
import type { AnswerPolicy, Disposition } from './idempotency-answer.ts';
import type {
  Answer,
  IdempotencyMode,
  IdempotencyRecord,
  IdempotencyRecordId,
  StoredAnswer,
} from './idempotency-record.ts';
import type { IdempotentRequest } from './idempotency-request.ts';
import type { IdempotencyStore, SqlIdempotencyStore } from './idempotency-store.ts';
import { LeaseRenewal, RENEWALS_PER_LEASE } from './lease-renewal.ts';
import { happened, type Seen } from './observe.ts';
import { type Done, done, type Refused, refused, type Unknown, unknown } from './outcome.ts';
import type { SqlTransaction } from './ports.ts';

/** Pauses between tries to store an answer: the work has been done, so it is worth some patience. */
const FIRST_COMPLETION_PAUSE_MS = 20;
const COMPLETION_PAUSE_MS = 500;

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

/** Somebody else is at work under this key. */
export interface InProgress extends Refused<'in-progress'> {
  /** When to ask again at the latest, in milliseconds: the lease of whoever is at work is over then, or renewed. */
  readonly retryAfterMs: number;
}

/** How work may end, in the words of `outcome.ts`. With a `disposition` the policy is not asked about this answer. */
export type WorkOutcome =
  | (Done<Answer> & { readonly disposition?: Disposition })
  | Refused
  | { readonly outcome: 'unknown' };

export type IdempotentOutcome = Done<Answer> | InProgress | Refused<'payload-mismatch'> | Unknown<Answer>;

export interface RunSettings {
  readonly store: IdempotencyStore;
  readonly times: { readonly leaseMs: number; readonly renewForMs: number; readonly retentionMs: number };
  readonly stored: (answer: Answer) => StoredAnswer;
  readonly policy: AnswerPolicy;
  readonly onEvent: (event: IdempotencyEvent) => void;
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

export function inProgress(leaseLeftMs: number): InProgress {
  return { ...refused('in-progress'), retryAfterMs: Math.max(0, Math.ceil(leaseLeftMs)) };
}

interface Holding {
  readonly id: IdempotencyRecordId;
  readonly fingerprint: string;
  readonly owner: string;
  readonly attempt: number;
  readonly claimedAtMs: number;
}

/** A class for the sake of `signal`: an accessor of an object's own gives each object a shape of its own, which lives for long. */
class Lease implements SqlIdempotencyLease {
  readonly attempt: number;
  readonly #renewal: LeaseRenewal;
  readonly completeIn: SqlIdempotencyLease['completeIn'];

  constructor(attempt: number, renewal: LeaseRenewal, completeIn: SqlIdempotencyLease['completeIn']) {
    this.attempt = attempt;
    this.#renewal = renewal;
    this.completeIn = completeIn;
  }

  get signal(): AbortSignal {
    this.#renewal.look();
    return this.#renewal.signal;
  }
}

/** One run of the work, from its claim to its end. */
export class Running {
  readonly #settings: RunSettings;
  readonly #request: IdempotentRequest;
  readonly #holding: Holding;
  readonly #seen: Seen | undefined;
  /** A transaction of the caller's stores the answer, or has done so. */
  #completing = false;
  /** What was stored in it; whether that was committed is for the caller to say, by returning it. */
  #completed: Answer | undefined;
  #fenced = false;
  #toldOfLoss = false;

  constructor(settings: RunSettings, request: IdempotentRequest, holding: Holding, seen: Seen | undefined) {
    this.#settings = settings;
    this.#request = request;
    this.#holding = holding;
    this.#seen = seen;
  }

  async run<Ended extends WorkOutcome>(
    work: (lease: SqlIdempotencyLease) => Promise<Ended>,
  ): Promise<IdempotentOutcome | Exclude<Ended, Done<Answer>>> {
    const claimedAtMs = this.#isFresh() ? this.#holding.claimedAtMs : await this.#renewedLease();
    if (claimedAtMs === undefined) return this.#withoutEffect();
    const renewal = new LeaseRenewal({
      ...this.#settings.times,
      claimedAtMs,
      renew: () => this.#renew(),
      isFinishing: () => this.#completing,
      onFailed: (cause) => this.#tell('renewal-failed', cause),
      onLost: (reason) => this.#tellOfLoss(reason),
    });
    const lease = new Lease(this.#holding.attempt, renewal, (transaction, answer) =>
      this.#completeIn(transaction, answer),
    );
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

  /** Whether so much is left of the lease that no renewal is due. */
  #isFresh(sentMs = this.#holding.claimedAtMs): boolean {
    return performance.now() - sentMs <= this.#settings.times.leaseMs / RENEWALS_PER_LEASE;
  }

  /**
   * Since when the lease counts, of a claim that had to wait, for a connection say: it is renewed before the work begins, since it may
   * have been half over, or over, by the time that the store gave it.
   *
   * @returns undefined when it cannot be had; the work must not run.
   */
  async #renewedLease(): Promise<number | undefined> {
    const { store, times } = this.#settings;
    const { id, owner } = this.#holding;
    const sentMs = performance.now();
    if (!(await store.renew(id, owner, times))) return undefined;
    if (this.#isFresh(sentMs)) return sentMs;
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

  async #answered(ended: Done<Answer> & { readonly disposition?: Disposition }): Promise<IdempotentOutcome> {
    if (this.#completed !== undefined && this.#completed === ended.value) return ended;
    const { store, stored, times, policy } = this.#settings;
    const { id, owner } = this.#holding;
    const toStore = stored(ended.value);
    const disposition = ended.disposition ?? policy.answered(ended.value);
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
    happened('idempotency-key', { kind, cause }, this.#seen);
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
