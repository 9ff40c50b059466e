import type { Deadlines, Watched } from './deadlines.ts';
import { Hold, type HoldSettings } from './lock-hold.ts';
import type { LockGrant, LockPlace, LockStore } from './lock-store.ts';
import type { Seen } from './observe.ts';

/** What the work holds. */
export interface LockLease {
  /**
   * The fencing token of this piece of work: a whole number that is greater than that of every earlier one under the same
   * key, be the store emptied or replaced meanwhile, as long as the clock of the store does not go back. Register it before
   * the first read, and check it with every write (`registerFence`, `fencedUpdate`): then it does not matter who believes to
   * hold the lock.
   */
  readonly token: number;
  /**
   * Aborted, with a `LeaseLostError`, when somebody else has the lock, or may have it: it could not be confirmed in time.
   * Look before every step that must not be taken twice, and each time through the lease
   * (`lease.signal.throwIfAborted()`): that compares the clock with the known end of the lease, while a signal that was kept
   * from before may stay as it was after a standstill until timers run. A process that stands still between the look and the
   * step is told by neither; the fence stops it.
   */
  readonly signal: AbortSignal;
}

export interface LineSettings extends HoldSettings {
  readonly store: LockStore;
  readonly times: HoldSettings['times'] & { readonly waitMs: number };
  /** Those who wait. */
  readonly patience: Deadlines<Waiter>;
}

/** Somebody of this process who waits for his turn. */
export interface Waiter {
  granted(turn: Turn): void;
  /** With a promise: once that has resolved. */
  refused(after?: Promise<void>): void;
  failed(error: unknown): void;
  tooLate(): void;
  patience: Watched<Waiter> | undefined;
  readonly seen: Seen | undefined;
}

/**
 * Those of this process who want one key, in their order, and what the process has in the store for all of them: a place in
 * the queue, or the lock. It is over when nobody wants the key any more; who comes then begins another.
 */
export class Line {
  readonly #key: string;
  readonly #settings: LineSettings;
  readonly #over: () => void;
  /** In the order of their coming. */
  readonly #waiters: Waiter[] = [];
  /** Where the process stands in the queue; undefined while it holds the lock. */
  #place: LockPlace | undefined;
  /** Until the lock serves somebody, or has been given back because nobody wanted it any more. */
  #begins: Promise<void> | undefined;
  #begun = false;

  constructor(key: string, settings: LineSettings, over: () => void) {
    this.#key = key;
    this.#settings = settings;
    this.#over = over;
  }

  /**
   * @param seen  Those who watch the work that waits.
   * @returns undefined when its turn has not come in time.
   * @throws StoreError
   */
  join(seen: Seen | undefined): Promise<Turn | undefined> {
    const { waitMs } = this.#settings.times;
    if (waitMs === 0 && this.#begun) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        granted: resolve,
        refused: (after) => resolve(after?.then(() => undefined)),
        failed: reject,
        tooLate: () => this.#tooLate(waiter),
        patience: undefined,
        seen,
      };
      this.#waiters.push(waiter);
      if (waitMs > 0) waiter.patience = this.#settings.patience.add(waiter);
      if (!this.#begun) this.#queue();
    });
  }

  /** Refuses everybody who waits. */
  dismiss(): void {
    const left = this.#leave();
    this.#dismiss((waiter) => waiter.refused(left));
  }

  /** Serves who is next in line; or gives the lock to the other processes, and queues behind them, or is over. */
  async serve(hold: Hold): Promise<void> {
    const [waiter] = this.#waiters;
    if (waiter === undefined) {
      this.#over();
      return hold.release();
    }
    if (!hold.mayServe()) return this.#giveAway(hold);
    this.#delete(waiter);
    waiter.granted(new Turn(this, hold, waiter.seen));
  }

  async #giveAway(hold: Hold): Promise<void> {
    if (this.#settings.times.waitMs > 0) return this.#await(hold.releaseAndQueue());
    // Who does not want to wait asks once.
    this.#over();
    await hold.release();
    this.#dismiss((waiter) => waiter.refused());
  }

  #queue(): void {
    this.#begun = true;
    const { store, times } = this.#settings;
    this.#await(
      store.queue(this.#key, { leaseMs: times.leaseMs, wait: times.waitMs > 0, waitMs: times.waitMs }),
    );
  }

  #await(place: LockPlace): void {
    this.#place = place;
    place.granted.then(
      (grant) => {
        // It was left in the same moment, and the lock given back with it.
        if (this.#place !== place) return;
        if (grant !== undefined) {
          this.#begins = this.#granted(grant);
          return;
        }
        this.#over();
        this.#dismiss((waiter) => waiter.refused());
      },
      (error: unknown) => {
        this.#over();
        this.#dismiss((waiter) => waiter.failed(error));
      },
    );
  }

  async #granted(grant: LockGrant): Promise<void> {
    this.#place = undefined;
    const hold = new Hold(this.#key, this.#settings, grant);
    // The lease may be half over, or be over, by the time that the process hears of it.
    if (!hold.isFresh()) await hold.confirm();
    await this.serve(hold);
  }

  #tooLate(waiter: Waiter): void {
    this.#delete(waiter);
    const trouble = this.#place?.trouble;
    const left = this.#waiters.length === 0 ? this.#leave() : undefined;
    if (trouble === undefined) waiter.refused(left);
    else waiter.failed(trouble);
  }

  #leave(): Promise<void> | undefined {
    const place = this.#place;
    if (place === undefined) return this.#begins;
    this.#place = undefined;
    this.#over();
    return place.leave();
  }

  #dismiss(tell: (waiter: Waiter) => void): void {
    for (const waiter of [...this.#waiters]) {
      this.#delete(waiter);
      tell(waiter);
    }
  }

  #delete(waiter: Waiter): void {
    if (waiter === this.#waiters[0]) this.#waiters.shift();
    else {
      const at = this.#waiters.indexOf(waiter);
      if (at > 0) this.#waiters.splice(at, 1);
    }
    if (waiter.patience !== undefined) this.#settings.patience.delete(waiter.patience);
  }
}

/** One piece of work, and what it holds. */
export class Turn implements LockLease {
  readonly token: number;
  readonly #line: Line;
  readonly #hold: Hold;

  constructor(line: Line, hold: Hold, seen: Seen | undefined) {
    this.#line = line;
    this.#hold = hold;
    this.token = hold.takeToken(seen);
  }

  get signal(): AbortSignal {
    return this.#hold.signal;
  }

  /** Never throws. Resolves when the lock is given back, where nobody else of this process wants it. */
  end(): Promise<void> {
    return this.#line.serve(this.#hold);
  }
}
