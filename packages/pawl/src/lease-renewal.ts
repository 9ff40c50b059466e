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
  readonly #lost = new AbortController();
  readonly #intervalMs: number;
  #leaseEndMs: number;
  /** When the renewal was sent that has not been answered. */
  #sentMs: number | undefined;
  #stopped = false;
  #renewTimer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;

  constructor(options: LeaseRenewalOptions) {
    this.#options = options;
    this.#intervalMs = options.leaseMs / RENEWALS_PER_LEASE;
    this.#leaseEndMs = options.claimedAtMs + options.leaseMs;
    this.#renewAfter(options.claimedAtMs);
    this.#awaitEnd();
  }

  /** Aborted, with a `LeaseLostError`, when the lease is lost, or cannot be confirmed. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#renewTimer);
    clearTimeout(this.#endTimer);
  }

  #renewAfter(momentMs: number): void {
    const waitMs = Math.max(0, momentMs + this.#intervalMs - performance.now());
    this.#renewTimer = setTimeout(() => this.#renew(), waitMs);
    this.#renewTimer.unref();
  }

  async #renew(): Promise<void> {
    const { claimedAtMs, renewForMs, leaseMs, renew, onFailed } = this.#options;
    const sentMs = performance.now();
    if (sentMs - claimedAtMs > renewForMs) return;
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

  #awaitEnd(): void {
    clearTimeout(this.#endTimer);
    if (this.#lost.signal.aborted) return;
    const nowMs = performance.now();
    // After a standstill both timers are overdue: the renewal that has just been sent will tell.
    const answerMs = this.#sentMs === undefined ? 0 : this.#sentMs + this.#intervalMs;
    const endMs = Math.max(this.#leaseEndMs, answerMs);
    if (nowMs >= endMs && !this.#options.isFinishing()) {
      this.#tell('it could not be renewed in time');
      return;
    }
    const waitMs = nowMs >= endMs ? this.#intervalMs : endMs - nowMs;
    this.#endTimer = setTimeout(() => this.#awaitEnd(), waitMs);
    this.#endTimer.unref();
  }

  /** It is known to be lost, from somewhere else than a renewal. */
  lose(why: string, options?: ErrorOptions): void {
    this.stop();
    if (!this.#lost.signal.aborted) this.#tell(why, options);
  }

  #tell(why: string, options?: ErrorOptions): void {
    const reason = new LeaseLostError(`the lease is lost: ${why}`, options);
    this.#options.onLost(reason);
    this.#lost.abort(reason);
  }
}
