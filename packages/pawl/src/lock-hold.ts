import type { Deadlines, Watched } from './deadlines.ts';
import { LeaseLostError } from './errors.ts';
import { LeaseRenewal, RENEWALS_PER_LEASE } from './lease-renewal.ts';
import { type LockGrant, type LockPlace, TOKENS_PER_GRANT } from './lock-store.ts';
import { happened, type Seen } from './observe.ts';

/**
 * - `renewal-failed`: the store could not be asked; it is tried again until the lease is over.
 * - `lease-lost`: somebody else may hold the lock while the work still runs.
 * - `not-released`: the work has ended, and the lock stays taken until its lease is over.
 */
export interface LockEvent {
  readonly kind: 'renewal-failed' | 'lease-lost' | 'not-released';
  readonly key: string;
  readonly cause: unknown;
}

export interface HoldSettings {
  readonly times: { readonly leaseMs: number; readonly renewForMs: number };
  readonly onEvent: (event: LockEvent) => void;
  /** What is held, until it has been held for so long that it must be renewed. */
  readonly watch: Deadlines<Hold>;
}

/** A grant of the store, for as long as this process has it: its lease, its renewals, its tokens. */
export class Hold {
  readonly #key: string;
  readonly #settings: HoldSettings;
  readonly #grant: LockGrant;
  #leasedAtMs: number;
  #tokensTaken = 0;
  /** Made when somebody looks at the signal, or after a while (`watch`): most locks are given back sooner. */
  #renewal: LeaseRenewal | undefined;
  /** Those who watch the work that it serves, or served last. */
  #seen: Seen | undefined;
  #lost = false;
  #ended = false;
  /** From the first piece of work on: before that nobody needs to be told of anything. */
  #watched: Watched<Hold> | undefined;

  constructor(key: string, settings: HoldSettings, grant: LockGrant) {
    this.#key = key;
    this.#settings = settings;
    this.#grant = grant;
    this.#leasedAtMs = grant.leasedAtMs;
    grant.onLost((cause) => {
      if (!this.#lost && !this.#ended) this.#renewed().lose('the store has told so', { cause });
    });
  }

  get signal(): AbortSignal {
    const renewal = this.#renewed();
    renewal.look();
    return renewal.signal;
  }

  /** Whether the lease has so much left that no renewal is due. */
  isFresh(): boolean {
    return performance.now() - this.#leasedAtMs <= this.#settings.times.leaseMs / RENEWALS_PER_LEASE;
  }

  /** Renews the lease before anything has been done under it; where that cannot be, it stays as old as it is. */
  async confirm(): Promise<void> {
    const sentMs = performance.now();
    try {
      if (await this.#grant.renew()) this.#leasedAtMs = sentMs;
    } catch (cause) {
      this.#tell('renewal-failed', cause);
    }
  }

  /**
   * For so many pieces of work, and for so long: then the other processes have their turn. In this time no standstill of
   * the process can have cost it the lock.
   */
  mayServe(): boolean {
    return !this.#lost && this.#tokensTaken < TOKENS_PER_GRANT && this.isFresh();
  }

  /** @param seen  Those who watch the work that begins. */
  takeToken(seen: Seen | undefined): number {
    this.#seen = seen;
    this.#watched ??= this.#settings.watch.add(this);
    return this.#grant.firstToken + this.#tokensTaken++;
  }

  async release(): Promise<void> {
    this.#end();
    await this.#given(this.#grant.release());
  }

  releaseAndQueue(): LockPlace {
    this.#end();
    const place = this.#grant.releaseAndQueue();
    void this.#given(place.released);
    return place;
  }

  renewFromNowOn(): void {
    this.#renewed().catchUp();
  }

  #renewed(): LeaseRenewal {
    this.#renewal ??= new LeaseRenewal({
      ...this.#settings.times,
      claimedAtMs: this.#leasedAtMs,
      renew: () => this.#grant.renew(),
      isFinishing: () => false,
      onFailed: (cause) => this.#tell('renewal-failed', cause),
      onLost: (reason) => this.#tellOfLoss(reason),
    });
    // Somebody looks at the signal of work that is over.
    if (this.#ended) this.#renewal.stop();
    return this.#renewal;
  }

  #end(): void {
    this.#ended = true;
    if (this.#watched !== undefined) this.#settings.watch.delete(this.#watched);
    this.#renewal?.stop();
  }

  async #given(released: Promise<boolean>): Promise<void> {
    try {
      if (!(await released)) this.#tellOfLoss(new LeaseLostError('the lock was not held any more'));
    } catch (cause) {
      if (this.#hasServed) this.#tell('not-released', cause);
    }
  }

  #tellOfLoss(reason: LeaseLostError): void {
    if (!this.#lost && this.#hasServed) this.#tell('lease-lost', reason);
    this.#lost = true;
  }

  /** Where nobody has worked under it, nobody need be told what became of it. */
  get #hasServed(): boolean {
    return this.#tokensTaken > 0;
  }

  #tell(kind: LockEvent['kind'], cause: unknown): void {
    happened('distributed-lock', { kind, cause }, this.#seen);
    this.#settings.onEvent({ kind, key: this.#key, cause });
  }
}
