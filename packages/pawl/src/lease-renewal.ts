import { LeaseLostError } from './errors.ts';

export interface LeaseRenewalOptions {
  readonly leaseMs: number;
  /** Renews at most for so long after the claim; then the lease runs out. */
  readonly renewForMs: number;
  /** `performance.now()` before the claim was sent: the store has counted the lease from then or later. */
  readonly claimedAtMs: number;
  /** @returns whether the work is still its holder's to finish. */
  renew(): Promise<boolean>;
  /** Whether the holder is finishing: renewals wait for its transaction then, and cannot confirm anything. */
  isFinishing(): boolean;
  onFailed(cause: unknown): void;
  onLost(reason: LeaseLostError): void;
}

/** Renewals in one length of the lease, so that one that fails is made up for. */
export const RENEWALS_PER_LEASE = 3;

/**
 * Renews a lease while work runs, and says when it is lost.
 *
 * The store alone decides who holds a lease; this tells its holder as soon as it can be known. The process may have stood
 * still for longer than the lease, or the store may be silent: then the lease counts as lost when it has not been
 * confirmed for `leaseMs`, counted from before the last confirmed renewal was sent. It is renewed all the same: as long as
 * nobody has taken it over, nobody need run beside the holder.
 */
export class LeaseRenewal {
  readonly #options: LeaseRenewalOptions;
  readonly #intervalMs: number;
  #leaseEndMs: number;
  /** When the next renewal is due. */
  #dueMs = 0;
  /** When the renewal was sent that has not been answered. */
  #sentMs: number | undefined;
  #stopped = false;
  #reason: LeaseLostError | undefined;
  /** Made for whoever asks: most work never does. */
  #lost: AbortController | undefined;
  #renewTimer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;

  constructor(options: LeaseRenewalOptions) {
    this.#options = options;
    this.#intervalMs = options.leaseMs / RENEWALS_PER_LEASE;
    this.#leaseEndMs = options.claimedAtMs + options.leaseMs;
    // The end is waited for from the first renewal on, since it lies after it, and most work is over before.
    this.#renewAfter(options.claimedAtMs);
  }

  /** Aborted, with a `LeaseLostError`, when the lease is lost, or cannot be confirmed. */
  get signal(): AbortSignal {
    this.#lost ??= new AbortController();
    if (this.#reason !== undefined) this.#lost.abort(this.#reason);
    return this.#lost.signal;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#renewTimer);
    clearTimeout(this.#endTimer);
  }

  /**
   * Counts as lost from now on where its end has passed and no renewal has been confirmed. Timers tell that late: after a
   * standstill they run when the work has gone on already.
   */
  look(): void {
    if (this.#stopped || this.#reason !== undefined) return;
    const over = performance.now() >= this.#leaseEndMs && !this.#options.isFinishing();
    if (over) this.#tell('it could not be renewed in time');
  }

  /** Sends the renewal that is due, where its timer has not run yet. */
  catchUp(): void {
    if (!this.#stopped && performance.now() >= this.#dueMs) void this.#renew();
  }

  #renewAfter(momentMs: number): void {
    clearTimeout(this.#renewTimer);
    this.#dueMs = momentMs + this.#intervalMs;
    const waitMs = Math.max(0, this.#dueMs - performance.now());
    this.#renewTimer = setTimeout(() => this.#renew(), waitMs);
    this.#renewTimer.unref();
  }

  async #renew(): Promise<void> {
    const { claimedAtMs, renewForMs, leaseMs, renew, onFailed } = this.#options;
    const sentMs = performance.now();
    if (this.#endTimer === undefined) this.#awaitEnd();
    if (sentMs - claimedAtMs > renewForMs) return this.look();
    this.#renewAfter(sentMs);
    if (this.#sentMs !== undefined && sentMs - this.#sentMs < leaseMs) return;
    this.#sentMs = sentMs;
    try {
      const ours = await renew();
      if (this.#stopped) return;
      if (ours) this.#leaseEndMs = Math.max(this.#leaseEndMs, sentMs + leaseMs);
      else this.lose('somebody else has taken it over, or the store has forgotten it');
    } catch (cause) {
      if (this.#stopped) return;
      onFailed(cause);
    } finally {
      if (this.#sentMs === sentMs) this.#sentMs = undefined;
    }
    if (!this.#stopped) this.#awaitEnd();
  }

  #awaitEnd(waitMs = Math.max(0, this.#leaseEndMs - performance.now())): void {
    clearTimeout(this.#endTimer);
    if (this.#reason !== undefined) return;
    this.#endTimer = setTimeout(() => this.#end(), waitMs);
    this.#endTimer.unref();
  }

  #end(): void {
    // After a standstill both timers are overdue, and either may run first: the renewal, once it is sent, will tell.
    this.catchUp();
    const answerMs = this.#sentMs === undefined ? 0 : this.#sentMs + this.#intervalMs;
    const leftMs = Math.max(this.#leaseEndMs, answerMs) - performance.now();
    if (leftMs <= 0) this.look();
    this.#awaitEnd(leftMs > 0 ? leftMs : this.#intervalMs);
  }

  /** It is known to be lost, from somewhere else than a renewal. */
  lose(why: string, options?: ErrorOptions): void {
    this.stop();
    if (this.#reason === undefined) this.#tell(why, options);
  }

  #tell(why: string, options?: ErrorOptions): void {
    this.#reason = new LeaseLostError(`the lease is lost: ${why}`, options);
    this.#options.onLost(this.#reason);
    this.#lost?.abort(this.#reason);
  }
}
