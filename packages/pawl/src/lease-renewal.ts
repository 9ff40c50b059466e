import { LeaseLostError } from './errors.ts';

export interface LeaseRenewalOptions {
  readonly leaseMs: number;
  /** Renews at most for so long after the beginning; then the lease runs out. */
  readonly renewForMs: number;
  /** `performance.now()` before the claim was sent: the store has counted the lease from then or later. */
  readonly claimedAtMs: number;
  /** @returns whether the lease is still ours. */
  renew(): Promise<boolean>;
  /** Whether somebody who is not the holder any more may be told so: not while the holder is letting go of it. */
  mayBeLost(): boolean;
  onFailed(cause: unknown): void;
  onLost(reason: LeaseLostError): void;
}

/** Renewals in one length of the lease, so that one that fails is made up for. */
const RENEWALS_PER_LEASE = 3;

/**
 * Renews a lease while work runs, and says when it is lost.
 *
 * The store alone decides who holds a lease; this tells its holder as soon as it can be known. The process may have stood
 * still for longer than the lease, or the store may be silent: then the lease counts as lost when it has not been
 * confirmed for `leaseMs`, counted from before the last confirmed renewal was sent.
 */
export class LeaseRenewal {
  readonly #options: LeaseRenewalOptions;
  readonly #lost = new AbortController();
  #leaseEndMs: number;
  #renewing = false;
  #stopped = false;
  #renewTimer: NodeJS.Timeout | undefined;
  #endTimer: NodeJS.Timeout | undefined;

  constructor(options: LeaseRenewalOptions) {
    this.#options = options;
    this.#leaseEndMs = options.claimedAtMs + options.leaseMs;
    this.#renewTimer = setInterval(() => this.#renew(), options.leaseMs / RENEWALS_PER_LEASE);
    this.#renewTimer.unref();
    this.#awaitEnd();
  }

  /** Aborted, with a `LeaseLostError`, when the lease is lost. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#renewTimer);
    clearTimeout(this.#endTimer);
  }

  async #renew(): Promise<void> {
    const { claimedAtMs, renewForMs, leaseMs, renew, mayBeLost, onFailed } = this.#options;
    const sentMs = performance.now();
    if (this.#renewing || sentMs - claimedAtMs > renewForMs) return;
    this.#renewing = true;
    try {
      const ours = await renew();
      if (ours) this.#leaseEndMs = sentMs + leaseMs;
      else if (!this.#stopped && mayBeLost())
        this.#lose('somebody else has taken it over, or the store has forgotten it');
    } catch (cause) {
      if (!this.#stopped && mayBeLost()) onFailed(cause);
    } finally {
      this.#renewing = false;
    }
  }

  #awaitEnd(): void {
    const { leaseMs, mayBeLost } = this.#options;
    const leftMs = this.#leaseEndMs - performance.now();
    if (leftMs <= 0 && mayBeLost()) {
      this.#lose('it could not be renewed in time');
      return;
    }
    this.#endTimer = setTimeout(() => this.#awaitEnd(), leftMs > 0 ? leftMs : leaseMs);
    this.#endTimer.unref();
  }

  #lose(why: string): void {
    this.stop();
    const reason = new LeaseLostError(`the lease is lost: ${why}`);
    this.#options.onLost(reason);
    this.#lost.abort(reason);
  }
}
